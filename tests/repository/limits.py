"""The expected content of docs/operate/limits.md: the numbers of each row, from the code, and the row of each bucket.

The key of a row is its first cell. A row that continues the one above has the key of that row and its own place. A
number has the form of the page: sizes in the unit of the page, `1_200` for "1,200". Statuses such as 503 and the /64 of
IPv6 are not counted.
"""

from collections.abc import Mapping
from typing import Final

from kiai import profiling, screenshots, server, shared_certificate, tracing
from kiai.accounts import credentials, passwords, picture_files, queries, web_sessions
from kiai.accounts.markup import parser as markup
from kiai.beatmaps import comments, fetching, ranking, set_comments, upstream
from kiai.chat import bot as chat_bot
from kiai.chat import filtering, mail, model
from kiai.chat import queries as chat_queries
from kiai.chat import service as chat
from kiai.clans import model as clan_model
from kiai.decoding import archives, decoder, evidence_decoder, page_decoder, pictures
from kiai.documents import service as documents
from kiai.documents import stored as stored_texts
from kiai.entry import passkeys, second_factors, security, tokens
from kiai.entry import registration as entry_registration
from kiai.entry.tokens import TokenKind
from kiai.faces import forms, guard_limits, single_write, streams
from kiai.faces.api import copies
from kiai.faces.api import gateway as api_gateway
from kiai.faces.api.v1 import account
from kiai.faces.api.v2 import events, paging
from kiai.faces.bancho import app as bancho
from kiai.faces.bancho import login, wire, work
from kiai.faces.bancho.handlers import maps as map_handlers
from kiai.faces.bancho.handlers import presence as presence_handlers
from kiai.faces.bancho.packets import ClientPacket
from kiai.faces.bot import ownership
from kiai.faces.client import (
    beatmap_info,
    client_signals,
    direct,
    favourites,
    gateway,
    map_pictures,
    osu_files,
    ratings,
    registration,
    replays,
    scoreboard,
    stars,
    static_endpoints,
    submission_form,
    submit,
)
from kiai.faces.client import comments as comment_pages
from kiai.faces.client import screenshots as screenshot_pages
from kiai.faces.irc import connection as irc_connection
from kiai.faces.irc import gateway as irc_gateway
from kiai.faces.irc import hub as irc_hub
from kiai.faces.irc import lines as irc_lines
from kiai.faces.irc import login as irc_login
from kiai.faces.irc import talking as irc_talking
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site import account_security, indexing, live, page, password_reset, profiles, static_files
from kiai.faces.site import beatmapsets as site_beatmapsets
from kiai.faces.site import clans as site_clans
from kiai.faces.site import gateway as site_gateway
from kiai.faces.site import login as site_login
from kiai.faces.site import pictures as site_pictures
from kiai.faces.site import registration as site_registration
from kiai.faces.site import reporting as site_reporting
from kiai.faces.site import scores as site_scores
from kiai.faces.site import search as site_search
from kiai.faces.site.admin import exports as admin_exports
from kiai.faces.site.admin import frame as admin_frame
from kiai.faces.site.admin import map_uploads, text_editing
from kiai.faces.site.settings import common as settings_common
from kiai.faces.site.settings import data as data_settings
from kiai.faces.site.settings import keys as key_settings
from kiai.faces.site.settings import name as name_settings
from kiai.faces.site.settings import profile as profile_settings
from kiai.files import cache, retiring
from kiai.files import store as file_store
from kiai.mailing import service as mailing
from kiai.multiplayer import service as multiplayer
from kiai.osu import beatmap_file, replay_file, replay_presses, stacking
from kiai.own_account import exports, overwriting
from kiai.presence import model as presence_model
from kiai.presence import service as presence
from kiai.realtime import changes, port
from kiai.scores import cards, performance, replay_analyses, replay_import, submission
from kiai.settings import load_settings
from kiai.spectating import service as spectating
from kiai.staff import (
    address_blocks,
    announcements,
    backups,
    hardware,
    job_runs,
    map_imports,
    map_requests,
    nominations,
    shutdown,
    switches,
    upgrades,
)
from kiai.staff import reports as staff_reports
from kiai.storage import postgres, slow_statements, sqlite, touched
from kiai.webhooks import addresses as webhook_addresses
from kiai.webhooks import model as webhooks
from kiai.webhooks import sending as webhook_sending

KIB: Final = 1024
MIB: Final = 1024 * KIB
GUARD: Final = guard_limits.GuardLimits()
DEFAULT: Final = load_settings()


def rate(limit: RateLimit) -> tuple[float, ...]:
    """Return `count`, and the burst of the limit where it is larger."""
    return (limit.count,) if limit.burst is None else (limit.count, limit.burst)


NUMBERS: Final[Mapping[str, tuple[float, ...]]] = {
    # The guard
    "reads of the database for challenges of ACME, per worker": (1 / shared_certificate.READ_EVERY_S,),
    "TLS handshakes at once, in all and per address": (GUARD.handshakes, GUARD.handshakes_per_address),
    "TLS handshake": (GUARD.handshake_s,),
    "request head": (GUARD.head_s,),
    "request head, 2": (GUARD.head_bytes / KIB,),
    "request head, 3": (GUARD.fields,),
    "path and query": (GUARD.target_bytes / KIB,),
    "request body": (GUARD.body_bytes / MIB,),
    "request body, 2": (
        GUARD.body_bytes_per_s / KIB,
        GUARD.body_grace_s,
        GUARD.reserved_bytes_per_s / KIB,
        GUARD.free_body_bytes / KIB,
    ),
    "request body, 3": (GUARD.body_s, GUARD.upload_s, GUARD.upload_bytes / MIB),
    f"memory for bodies above {GUARD.free_body_bytes // KIB} KiB, until the response is sent": (
        GUARD.bodies_bytes / MIB,
        GUARD.small_bodies_bytes / MIB,
        GUARD.upload_bytes / MIB,
        GUARD.bodies_bytes_per_address / MIB,
        GUARD.budget_wait_s,
    ),
    "transfer rate of such bodies of one address together, and of what follows a refusal": (
        GUARD.paced_bytes_per_s / MIB,
    ),
    "transfer rate of such a body while others wait": (GUARD.contended_bytes_per_s / KIB, GUARD.contended_s),
    f"files above {file_store.LARGE_BYTES // KIB} KiB that are in memory before their responses begin": (
        file_store.LARGE_READS,
    ),
    "chunks of streamed files that are read from a local folder at once": (
        file_store.CHUNK_READS,
        file_store.CHUNK_BYTES / KIB,
    ),
    f"memory for responses above {single_write.JOINED_MAX // KIB} KiB that clients have not read, without streams and "
    "polls": (
        GUARD.answers_bytes / MIB,
        GUARD.first_answers_bytes / MIB,
        GUARD.answers_bytes_per_address / MIB,
    ),
    "rate at which a client reads such a response": (GUARD.answer_bytes_per_s / KIB, GUARD.answer_grace_s),
    "missing or repeated `Host` header, contradictory lengths, malformed chunks": (),
    "path with `..`, an encoded slash, a backslash, NUL, or invalid UTF-8": (),
    "pipelined requests waiting on one connection": (GUARD.pipelined,),
    "idle connection": (GUARD.idle_s, GUARD.head_s, GUARD.shutdown_wait_s),
    "response that the client does not read": (GUARD.unread_s,),
    "open connections": (DEFAULT.connections_max,),
    "open connections per address": (DEFAULT.connections_per_address,),
    # Rate limits
    "API requests, v1 and v2 together": (DEFAULT.api_rate_per_minute,),
    "of these, `get_replay`": (DEFAULT.api_replays_per_minute,),
    "of these, `calculate_pp`": (DEFAULT.api_pp_per_minute,),
    "of these, acts of staff (v2)": rate(paging.STAFF_ACTS),
    "of these, `set_avatar` and icons of clans": (DEFAULT.avatar_uploads_per_hour,),
    "wrong API keys per address": (api_gateway.WRONG_KEYS.count,),
    # Game clients
    "comparison of the device of a login or play with other accounts": (queries.DEVICE_ROWS_MAX, queries.MATCHES_MAX),
    "logins per address": (login.LOG_INS_PER_MINUTE,),
    "wrong passwords per address, game and web together": (credentials.ADDRESS_GUESSES_PER_MINUTE,),
    "wrong passwords per name and address": (credentials.NAME_GUESSES_PER_MINUTE,),
    "wrong passwords per name, all addresses together": (credentials.NAME_GUESSES_PER_HOUR,),
    "wrong passwords per e-mail address, all addresses together": (credentials.EMAIL_GUESSES_PER_HOUR,),
    "delayed refusals of logins and wrong passwords": (
        credentials.REFUSAL_DELAY_S,
        credentials.REFUSALS_PER_S,
        credentials.DELAYED_MAX,
    ),
    "password verifications": (passwords.WAITING_MAX, passwords.WAITING_OF_CALLER_MAX, passwords.WAIT_S),
    "scores that a donor makes the best ones (`!overwrite`)": (int(overwriting.EVERY_S),),
    "wrong claim codes per player (`!claim`)": (ownership.FAILURES_PER_MINUTE, ownership.FAILURES_PER_HOUR),
    "unknown session tokens per address": (bancho.UNKNOWN_TOKENS_PER_MINUTE,),
    "packets in one request": (wire.PACKETS_MAX,),
    f"requests per session; every {bancho.BODY_BYTES_A_POLL // KIB} KiB of body count as another request": (
        bancho.POLLS_PER_S,
        bancho.POLLS_BURST,
    ),
    "cost of the packets of one player": (work.UNITS_PER_S, work.BURST, 20, work.APPENDING),
    "queued requests per session": (port.LOCK_WAITERS_MAX,),
    "body of a request; body of a login": (bancho.BODY_MAX / MIB, bancho.LOGIN_MAX / KIB),
    "one packet": (wire.PACKET_MAX_BYTES / KIB, wire.BEATMAP_INFO_MAX_BYTES / KIB),
    "one response": (port.POLL_BYTES_MAX / KIB,),
    "chat lines per player": (chat.FLOOD_LINES, chat.FLOOD_S, 2 * chat.FLOOD_LINES, chat.FLOOD_SILENCE_S / 60),
    "IRC connections, with those in a TLS handshake": (
        guard_limits.GuardLimits().connections,
        guard_limits.GuardLimits().connections_per_address,
    ),
    "wrong IRC passwords per address": (irc_login.WRONG_PASSWORDS, 464),
    "wrong IRC passwords per name": (irc_login.WRONG_PASSWORDS, 464),
    "IRC lines of a person": (irc_talking.PERSON_PER_S, irc_talking.PERSON_BURST),
    "IRC lines of a chat bot": (irc_talking.CHAT_BOT_PER_S, irc_talking.CHAT_BOT_BURST),
    "IRC lines that were not sent": (
        irc_talking.REFUSED_LINES,
        irc_talking.REFUSED_LINES_S,
        irc_talking.FLOOD_SILENCE_S / 60,
    ),
    "TLS handshake of an IRC connection": (irc_gateway.TLS_HANDSHAKE_S,),
    "lines that an IRC client has not read when its connection ends": (irc_hub.CLOSE_WITHIN_S,),
    "IRC commands and lines per connection": (
        irc_connection.COMMANDS_PER_S,
        irc_connection.COMMANDS_BURST,
        irc_connection.HEAVY,
    ),
    "line from an IRC client": (irc_lines.READ_MAX, irc_lines.UNENDED_MAX / KIB, 417),
    "lines that an IRC client does not read": (irc_connection.UNSENT_MAX / MIB,),
    "time for the IRC login": (irc_hub.LOG_IN_WITHIN_S,),
    "quiet IRC connection": (irc_hub.PING_AFTER_S, irc_hub.SILENT_MAX_S),
    "events for IRC that a worker has not read": (
        port.BOUNDS[port.IRC].entries,
        port.BOUNDS[port.IRC].bytes / MIB,
    ),
    "length of a chat line": (model.LINE_MAX,),
    "patterns of the word filter": (
        chat_queries.FILTER_RULES_MAX,
        filtering.PATTERN_MAX,
        filtering.PATTERN_WORDS_MAX,
        filtering.REPLACEMENT_MAX,
    ),
    "event streams of a key that was revoked": (events.KEYS_EVERY_S,),
    "streams of a blocked address, and of live pages during maintenance": (switches.RELOAD_EVERY_S,),
    "bot commands per player": (chat_bot.PER_SECOND, chat_bot.BURST, chat_bot.HEAVY_PER_MINUTE),
    "notifications of staff to all players (`!alert`)": (announcements.ALERT_EVERY_S,),
    "reports to the staff per player": (staff_reports.REPORTS_PER_HOUR,),
    "invitations from one player to another": (multiplayer.INVITES, multiplayer.INVITES_S),
    "map information requests in the game": (map_handlers.PER_SECOND, map_handlers.MAPS_AT_ONCE),
    "errors reported per client": (presence_handlers.REPORTS_PER_MINUTE, presence_handlers.REPORT_MAX),
    "unread mail": (chat_queries.WAITING_MAX, mail.FROM_ONE_SENDER_MAX),
    "replay frame bundles per spectated player": (
        work.UNITS_PER_S // work.PRICES[ClientPacket.SPECTATE_FRAMES],
        spectating.BUNDLE_MAX / KIB,
    ),
    "unread entries of a topic": (
        port.BOUNDS["user"].entries,
        port.BOUNDS[port.ONLINE].entries,
        port.BOUNDS["user"].bytes / MIB,
        port.BOUNDS[port.ONLINE].bytes / MIB,
    ),
    "time without a request from a client": (presence_model.IDLE_MAX_S, changes.SEEN_EVERY_S),
    "changes of topics and sessions that a worker remembers; that Redis lists": (changes.NAMES_MAX, changes.LOG_MAX),
    "devices of players that a process remembers as compared": (hardware.REMEMBERED_MAX, hardware.REMEMBERED_S // 60),
    "tournament clients per player": (presence.TOURNAMENT_SESSIONS_MAX,),
    "multiplayer matches": (port.MATCHES_MAX, 1, multiplayer.ROOMS_PER_HOUR, multiplayer.ROOMS_BURST),
    "streams of live pages; applies with rate limits off too": (
        streams.STREAMS_MAX,
        streams.STREAMS_OF_ONE_MAX,
        live.PARTS_MAX,
    ),
    "opened streams of live pages per address": (live.OPENING.count,),
    "event streams; applies with rate limits off too": (
        events.CLIENTS_MAX,
        events.CLIENTS_OF_ONE_MAX,
        events.BEHIND_MAX,
    ),
    "plays per player": (submission.PER_MINUTE, submission.BURST, submission.WAITING_MAX),
    "plays on unknown maps per player": (submission.UNKNOWN_MAPS_PER_MINUTE,),
    "plays whose pp cannot be computed because the .osu file is unavailable": (submission.PP_TRIES,),
    "flags for rejected plays per player": (submission.FLAGS_PER_HOUR,),
    "form data read before the password is verified": (forms.SMALL_MAX / KIB,),
    "form of a play submission": (
        submit.BODY_MAX / MIB,
        submission_form.SCORE_MAX / KIB,
        submission_form.REPLAY_MAX / MIB,
        submission_form.TEXT_MAX / KIB,
        gateway.PARTS_MAX,
    ),
    "odd forms of submissions per address: damaged, with a wrong password, of a player without a session or beyond the "
    "player's limits, or with more than 2 KiB to decrypt": (submit.ODD_FORMS_PER_MINUTE,),
    "decryption of forms with more than 2 KiB to decrypt": (
        1,
        submit.LONG_FORMS_WAITING,
        submit.LONG_FORMS_OF_CALLER,
        submit.LONG_FORM_WAIT_S,
    ),
    "replay of a play": (
        replay_file.FRAMES_MAX_BYTES / MIB,
        replay_file.LZMA_MEMORY_MAX_BYTES / MIB,
        decoder.FRAMES_CPU_S,
    ),
    "replay decoding": (
        decoder.REPLAY_PROCESSES,
        decoder.REPLAYS_OF_CALLER_RUNNING_MAX,
        decoder.WAITING_MAX,
        decoder.REPLAYS_OF_CALLER_MAX,
        decoder.WAIT_S,
    ),
    "decoding of replays that take more than 0.25 s of CPU time, and of all replays of a player who sent one within "
    "600 s": (
        decoder.LONG_PROCESSES,
        decoder.LONG_WAITING_MAX,
        decoder.LONG_OF_CALLER_MAX,
        decoder.WAIT_S,
    ),
    "analysis of a replay for pages and the API": (
        replay_presses.FRAMES_MAX,
        replay_presses.PRESSES_MAX,
        page_decoder.ANALYSIS_CPU_S,
    ),
    "search for evidence in a replay": (
        replay_presses.FRAMES_MAX,
        replay_presses.PRESSES_MAX,
        evidence_decoder.EVIDENCE_CPU_S,
        evidence_decoder.PROCESSES,
    ),
    "lines about [slow statements](health.md#slow-statements)": (
        slow_statements.LINE_EVERY_S,
        slow_statements.LINES_AT_ONCE,
        slow_statements.STATEMENTS_MAX,
    ),
    "profile of a process (`kiai profile`)": (
        profiling.SECONDS_MIN,
        profiling.SECONDS_MAX,
        profiling.THREADS_MAX,
        profiling.STACKS_MAX,
        profiling.FRAMES_MAX,
    ),
    "spans of [traces](health.md#traces)": (tracing.SPANS_MAX, tracing.QUEUE_MAX, tracing.ANSWER_S),
    "slow statements that wait for their line": (slow_statements.UNREPORTED_MAX,),
    "stacks in an osu! map, for hits in a replay": (stacking.LOOKS_MAX, stacking.PATH_POINTS_MAX),
    "analyses and pictures of scores": (
        page_decoder.PROCESSES,
        page_decoder.WAITING_MAX,
        page_decoder.OF_CALLER_MAX,
        page_decoder.WAIT_S,
    ),
    "stored analyses": (replay_analyses.DAYS, replay_analyses.PER_FOLDER, cache.FOLDERS),
    "stored pictures of scores": (cards.DAYS, cards.PER_FOLDER, cache.FOLDERS),
    "other web requests per player": rate(gateway.BROWSING),
    "song select requests for unknown maps per player": rate(scoreboard.UNKNOWN_MAPS),
    "replay downloads in the game per player": rate(replays.DOWNLOADS),
    "screenshots per player": (
        screenshots.SIZE_MAX / MIB,
        pictures.SCREENSHOT_WIDTH_MAX,
        pictures.SCREENSHOT_HEIGHT_MAX,
        screenshot_pages.UPLOADING.period_s,
        screenshot_pages.A_DAY.count,
    ),
    "comments per player": (comments.TEXT_MAX, comment_pages.COMMENTING.period_s, comment_pages.A_DAY.count),
    "favourites per player": (DEFAULT.favourites_max, *rate(favourites.MARKING)),
    "map ratings per player": rate(ratings.RATING),
    "open requests to rank sets per player, and per set": (map_requests.OPEN_MAX, ranking.OF_SET_MAX),
    "changes of statuses per nominator": (map_requests.CHANGES_A_DAY, map_requests.DAY_MS / 3_600_000),
    "nominations of sets that are not ranked yet per nominator": (nominations.OPEN_MAX,),
    "maps per beatmap info request": (100, beatmap_info.BODY_MAX / KIB, *rate(beatmap_info.REQUESTS)),
    "osu!direct": (*rate(direct.SEARCHES), *rate(direct.DOWNLOADS)),
    ".osu files per address": rate(osu_files.FILES),
    "map pictures, and medal pictures, per address": rate(map_pictures.REQUESTS),
    "login checks of the game's menu per player": rate(static_endpoints.LOG_INS),
    "star ratings per address": rate(stars.REQUESTS),
    "accounts created per address, in the game and on the website": (
        entry_registration.CREATIONS_PER_DAY,
        registration.CHECKS.count,
    ),
    "crash reports per address": (client_signals.CRASH_MAX / KIB, client_signals.CRASHES.count),
    "cheat reports from the game per player": rate(client_signals.FLAGS),
    # Website
    "pages per address": rate(page.BROWSING),
    "static files per address": rate(static_files.FILES),
    "pictures of players and sets per address": rate(site_pictures.PICTURES),
    "pictures of scores per address": rate(site_scores.CARDS),
    "analyses of replays on the website per address": rate(site_scores.ANALYSES),
    "replays from the website per address": (DEFAULT.api_replays_per_minute,),
    "text of a report on the website about a score or comment": (site_reporting.WORDS_MAX,),
    "friends added or removed on profiles per player": (profiles.FRIENDS.count,),
    "searches per address": (site_search.SEARCHING.count,),
    "suggestions of the search per address": (site_search.SUGGESTING.count,),
    "lists of clans per address": (site_clans.SEARCHING.count,),
    "wrong codes of clans per player": (clan_model.WRONG_CODES_PER_HOUR,),
    "acts of a player in clans that others see or get a message about": (
        clan_model.ACTS_PER_MINUTE,
        clan_model.ACTS_BURST,
    ),
    "members of a clan": (DEFAULT.clan_members_max,),
    "open invitations and open requests of a clan": (clan_model.INVITATIONS_MAX, clan_model.REQUESTS_MAX),
    "open requests of a player to join clans": (clan_model.REQUESTS_OF_ONE_MAX,),
    "sitemaps per address": (indexing.READING.count,),
    "forms per player, or per address without a session": (page.WRITING.count,),
    "plays that an address may calculate on the page of a map": rate(site_beatmapsets.CALCULATING),
    "comments on sets per player": (
        set_comments.TEXT_MAX,
        site_beatmapsets.COMMENTING.count,
        set_comments.OF_PLAYER_MAX,
    ),
    "size of a form without files": (page.FORM_MAX / KIB, site_gateway.PARTS_MAX),
    "sessions of browsers per account": (web_sessions.SESSIONS_MAX, web_sessions.SESSION_MS / 86_400_000),
    "logins on the website per address": rate(site_login.LOGINS),
    "registrations on the website per address": (site_registration.ATTEMPTS.count, site_registration.CHECKS.count),
    "requests for a reset link per address": rate(password_reset.REQUESTS),
    "opened links of mails per address": rate(password_reset.LINKS),
    "changes in the settings of security per player": rate(account_security.CHANGES),
    "wrong codes of a second factor per account": (second_factors.CODES_PER_MINUTE, second_factors.CODES_PER_HOUR),
    "mails with a reset link per account": (security.RESETS_PER_HOUR, security.RESETS_WAITING_MAX),
    "mails with a confirmation link per account": (security.VERIFICATIONS, security.VERIFICATION_S / 60),
    "links in mails": (
        tokens.OF_ONE_KIND_MAX,
        tokens.LIFETIME_MS[TokenKind.RESET] / 60_000,
        tokens.LIFETIME_MS[TokenKind.EMAIL] / 3_600_000,
        tokens.LIFETIME_MS[TokenKind.VERIFY] / 86_400_000,
    ),
    "time between a password and the second factor": (tokens.LIFETIME_MS[TokenKind.LOGIN] / 60_000,),
    "passkeys per account": (passkeys.PASSKEYS_MAX, passkeys.CEREMONY_S / 60),
    "recovery codes per account": (second_factors.RECOVERY_CODES,),
    "mails that wait for the mail server": (mailing.WAITING_MAX, mailing.GIVEN_UP_MS / 3_600_000),
    # Webhooks
    "webhooks": (webhooks.WEBHOOKS_MAX,),
    "messages that wait for one webhook": (webhooks.WAITING_MAX,),
    "answer of `upgrade_url`": (upgrades.TOTAL_S, upgrades.ANSWER_MAX / MIB),
    "answer of a webhook": (webhook_sending.TOTAL_S, webhook_sending.BODY_MAX / KIB),
    "tries of a message": tuple(
        seconds / unit for seconds, unit in zip(webhooks.RETRY_AFTER_S, (1, 1, 60, 60, 3_600, 3_600), strict=True)
    ),
    "URL of a webhook": (webhook_addresses.URL_MAX,),
    # Sizes
    "avatar, icon of a clan": (
        picture_files.UPLOAD_MAX / MIB,
        pictures.UPLOAD_SIDE_MAX,
        pictures.UPLOAD_SIDE_MAX,
        pictures.UPLOAD_PIXELS_MAX,
    ),
    "decoding of a picture, or of an archive for a picture or audio": (
        pictures.JPEG_SCANS_MAX,
        pictures.SCANNED_PIXELS_MAX,
        decoder.PICTURE_CPU_S,
    ),
    "picture and archive decoding": (
        decoder.PICTURE_PROCESSES,
        decoder.WAITING_MAX,
        decoder.PICTURES_OF_CALLER_MAX,
        decoder.WAIT_S,
    ),
    "pp calculation": (performance.CPU_S, performance.WAITING_MAX, performance.WAIT_S),
    "body of `set_player_info`": (account.CHANGES_MAX / KIB,),
    "API keys per account": (queries.KEYS_MAX,),
    "waiting and running jobs of one kind": (job_runs.QUEUED_MAX,),
    "shown runs of jobs": (job_runs.KEPT,),
    "blocked addresses": (address_blocks.BLOCKS_MAX,),
    "delay of `!shutdown`": (shutdown.DELAY_LEAST_S, shutdown.DELAY_MOST_S / 3_600),
    ".osz, .olz uploaded in the panel": (
        map_imports.UPLOAD_MAX / MIB,
        decoder.UNPACKED_MAX / MIB,
        decoder.PICTURE_CPU_S,
        map_imports.KEPT_MS / 3_600_000,
    ),
    "imported .osz, .olz": (
        archives.ARCHIVE_MAX / MIB,
        archives.ENTRIES_MAX,
        archives.INFLATED_MAX / MIB,
    ),
    "imported .osu": (
        beatmap_file.FILE_MAX_BYTES / MIB,
        beatmap_file.LINES_MAX,
        beatmap_file.LINE_MAX_CHARS / MIB,
        beatmap_file.OBJECTS_MAX,
        beatmap_file.TIMING_POINTS_MAX,
        beatmap_file.BREAKS_MAX,
        beatmap_file.CONTROL_POINTS_MAX,
    ),
    "text fields of a .osu file": (beatmap_file.TEXT_MAX, beatmap_file.TAGS_MAX),
    "imported .osr": (replay_import.FILE_MAX / MIB,),
    "response of an upstream or mirror": (
        upstream.JSON_MAX / MIB,
        fetching.TOTAL_S,
        fetching.REDIRECTS_MAX,
        fetching.AT_ONCE,
        fetching.WAITING_MAX,
        fetching.WAITING_OF_CALLER_MAX,
    ),
    "maps that the server does not have, asked for from the upstream per address": (upstream.ASKED_PER_MINUTE,),
    "transactions waiting on SQLite": (sqlite.WAITING_MAX, sqlite.WAIT_S),
    "one PostgreSQL statement of a request": (postgres.STATEMENT_MS / 1000,),
    "SQLite's write-ahead log (`kiai.db-wal`)": (sqlite.WAL_BYTES / MIB, server.CHECKPOINT_EVERY_S),
    "lifetime of a replaced avatar, cover or icon": (retiring.BACK_UP_MAX_S / 3_600,),
    "duration of a backup": (retiring.BACK_UP_MAX_S / 3_600,),
    "encoded answers of the API in memory, per worker, and the largest of them": (
        copies.BYTES_MAX // 1024**2,
        copies.COPY_MAX // 1024,
    ),
    "subjects (players and maps) whose last change an SQLite server remembers, for encoded answers": (
        touched.REMEMBERED_MAX,
    ),
    "unchanged files that a backup reads": (
        backups.CHECKED_PARTS,
        backups.CHECKED_FILES,
        backups.CHECKED_BYTES / 1024**3,
    ),
    "queued medium reads on SQLite (long leaderboards, comments, grades of many maps)": (
        sqlite.BOUNDED_WAITING,
        sqlite.BOUNDED_OF_CALLER,
        sqlite.WAIT_S,
    ),
    "duration of a slow read (searches, deep pages, filters, counted totals)": (sqlite.SLOW_S,),
    "concurrent slow reads": (1, postgres.SLOW_POOL_MAX),
    "reach of `page` on lists with a cursor": (paging.COUNTED_MAX,),
    "changes in the settings per player, without those of security": rate(settings_common.CHANGES),
    "acts in the admin panel per account": rate(admin_frame.ACTS),
    "uploads of beatmaps in the admin panel per account": rate(map_uploads.UPLOADS),
    "exports of the audit log and of lists of accounts, per account": (
        *rate(admin_exports.EXPORTS),
        admin_exports.EXPORTED_MAX,
    ),
    "previews of a userpage per player": rate(profile_settings.PREVIEWS),
    "userpage": (markup.SOURCE_MAX, markup.TAGS_MAX, markup.DEPTH_MAX),
    "checks of a new name per address": rate(name_settings.CHECKS),
    "new API keys and IRC passwords on the website per player": rate(key_settings.NEW_KEYS),
    "exports of a player's data": (
        data_settings.EXPORTS.count,
        exports.VALID_MS / 3_600_000,
        exports.REPLAY_BYTES_MAX / 1024**3,
    ),
    "downloads of exports per address": rate(data_settings.DOWNLOADS),
    "texts of the panel (news, pages)": (
        documents.BYTES_MAX // 1024,
        stored_texts.STORED_MAX,
        text_editing.FORM_BYTES // 1024,
    ),
    "texts of the operator (rules, news, incidents)": (documents.BYTES_MAX // 1024, documents.FILES_MAX),
    "queued slow reads": (sqlite.SLOW_WAITING, sqlite.SLOW_OF_CALLER, sqlite.SLOW_WAIT_S),
}
"""The numbers of each row."""

ROWS_OF_BUCKETS: Final[Mapping[str, str]] = {
    "irc-wrong": "wrong IRC passwords per address",
    "irc-wrong-for": "wrong IRC passwords per name",
    "irc-lines": "IRC lines of a person",
    "irc-bot-lines": "IRC lines of a chat bot",
    "settings-changes": "changes in the settings per player, without those of security",
    "admin-acts": "acts in the admin panel per account",
    "map-uploads": "uploads of beatmaps in the admin panel per account",
    "admin-exports": "exports of the audit log and of lists of accounts, per account",
    "userpage-previews": "previews of a userpage per player",
    "name-checks": "checks of a new name per address",
    "new-keys": "new API keys and IRC passwords on the website per player",
    "exports": "exports of a player's data",
    "export-downloads": "downloads of exports per address",
    "site-logins": "logins on the website per address",
    "register-attempts": "registrations on the website per address",
    "register-checks": "registrations on the website per address",
    "site-resets": "requests for a reset link per address",
    "site-links": "opened links of mails per address",
    "security-changes": "changes in the settings of security per player",
    "resets": "mails with a reset link per account",
    "verifications": "mails with a confirmation link per account",
    "codes": "wrong codes of a second factor per account",
    "codes-of-hour": "wrong codes of a second factor per account",
    "site": "pages per address",
    "site-files": "static files per address",
    "site-pictures": "pictures of players and sets per address",
    "live": "opened streams of live pages per address",
    "site-cards": "pictures of scores per address",
    "site-analyses": "analyses of replays on the website per address",
    "site-replays": "replays from the website per address",
    "site-pp": "plays that an address may calculate on the page of a map",
    "site-comments": "comments on sets per player",
    "site-friends": "friends added or removed on profiles per player",
    "site-search": "searches per address",
    "site-suggestions": "suggestions of the search per address",
    "site-clans": "lists of clans per address",
    "api-staff-acts": "of these, acts of staff (v2)",
    "clan-codes": "wrong codes of clans per player",
    "clan-acts": "acts of a player in clans that others see or get a message about",
    "sitemaps": "sitemaps per address",
    "site-writes": "forms per player, or per address without a session",
    "unknown-maps": "maps that the server does not have, asked for from the upstream per address",
    "api": "API requests, v1 and v2 together",
    "replays": "of these, `get_replay`",
    "pp": "of these, `calculate_pp`",
    "avatars": "of these, `set_avatar` and icons of clans",
    "wrong-keys": "wrong API keys per address",
    "login": "logins per address",
    "guesses": "wrong passwords per address, game and web together",
    "guesses-of": "wrong passwords per name, all addresses together",
    "guesses-of-email": "wrong passwords per e-mail address, all addresses together",
    "claim-failures": "wrong claim codes per player (`!claim`)",
    "claim-failures-hour": "wrong claim codes per player (`!claim`)",
    "poll": "requests per session; every 2 KiB of body count as another request",
    "work": "cost of the packets of one player",
    "bot": "bot commands per player",
    "bot-heavy": "bot commands per player",
    "report": "reports to the staff per player",
    "invite": "invitations from one player to another",
    "map-info": "map information requests in the game",
    "error-report": "errors reported per client",
    "rooms": "multiplayer matches",
    "submit": "plays per player",
    "submit-unknown": "plays on unknown maps per player",
    "pp-tries": "plays whose pp cannot be computed because the .osu file is unavailable",
    "flags": "flags for rejected plays per player",
    "web": "other web requests per player",
    "getscores-unknown": "song select requests for unknown maps per player",
    "getreplay": "replay downloads in the game per player",
    "screenshot": "screenshots per player",
    "screenshots-a-day": "screenshots per player",
    "comment": "comments per player",
    "comments-a-day": "comments per player",
    "favourite": "favourites per player",
    "rate": "map ratings per player",
    "beatmapinfo": "maps per beatmap info request",
    "direct": "osu!direct",
    "downloads": "osu!direct",
    "osu-files": ".osu files per address",
    "map-pictures": "map pictures, and medal pictures, per address",
    "medal-pictures": "map pictures, and medal pictures, per address",
    "osu-login": "login checks of the game's menu per player",
    "difficulty-rating": "star ratings per address",
    "users-checks": "accounts created per address, in the game and on the website",
    "creations": "accounts created per address, in the game and on the website",
    "osu-error": "crash reports per address",
    "lastfm": "cheat reports from the game per player",
}
"""The row of each bucket, by the part of its name before the colon."""

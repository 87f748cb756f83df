"""What docs/operate/limits.md must say: the numbers of each row as the code has them, and the row of each bucket.

A row is named by its first cell; one that continues the row above by that and its place. A number is given as the page
writes it: sizes in the unit of the page, `1_200` for "1,200". Statuses such as 503 and the /64 of IPv6 are not counted.
"""

from collections.abc import Mapping
from typing import Final

from kiai import app
from kiai.accounts import credentials, passwords, queries, screenshots
from kiai.beatmaps import comments, fetching, upstream
from kiai.chat import bot as chat_bot
from kiai.chat import mail, model
from kiai.chat import queries as chat_queries
from kiai.chat import service as chat
from kiai.decoding import archives, decoder, pictures
from kiai.faces import guard
from kiai.faces.api import operation
from kiai.faces.api.v1 import account
from kiai.faces.api.v2 import events, pages
from kiai.faces.bancho import app as bancho
from kiai.faces.bancho import login, wire, work
from kiai.faces.bancho.handlers import maps as map_handlers
from kiai.faces.bancho.handlers import presence as presence_handlers
from kiai.faces.bancho.packets import Client
from kiai.faces.bot import ownership
from kiai.faces.client import (
    beatmap_info,
    direct,
    door,
    favourites,
    fixed,
    map_pictures,
    osu_files,
    ratings,
    registration,
    replays,
    reports,
    scoreboard,
    stars,
    submission_form,
    submit,
)
from kiai.faces.client import comments as comment_pages
from kiai.faces.client import screenshots as screenshot_pages
from kiai.files import retiring
from kiai.multiplayer import service as multiplayer
from kiai.osu import beatmap_file, replay_file
from kiai.presence import model as presence_model
from kiai.presence import service as presence
from kiai.realtime import port
from kiai.scores import performance, replay_import, submission
from kiai.settings import Settings
from kiai.spectating import service as spectating
from kiai.staff import reports as staff_reports
from kiai.storage import postgres, sqlite

KIB: Final = 1024
MIB: Final = 1024 * KIB
GUARD: Final = guard.GuardLimits()
DEFAULT: Final = Settings()


def rate(haste: door.Haste) -> tuple[float, ...]:
    """`count`, and what may come at once where that is more."""
    return (haste.count,) if haste.burst is None else (haste.count, haste.burst)


NUMBERS: Final[Mapping[str, tuple[float, ...]]] = {
    # The guard
    "head of a request": (GUARD.head_s,),
    "head of a request, 2": (GUARD.head_bytes / KIB,),
    "head of a request, 3": (GUARD.fields,),
    "target (path and query)": (GUARD.target_bytes / KIB,),
    "body": (GUARD.body_bytes / MIB,),
    "body, 2": (
        GUARD.body_bytes_per_s / KIB,
        GUARD.body_grace_s,
        GUARD.room_bytes_per_s / KIB,
        GUARD.free_body_bytes / KIB,
    ),
    "body, 3": (GUARD.body_s, GUARD.upload_s, GUARD.upload_bytes / MIB),
    f"bodies above {GUARD.free_body_bytes // KIB} KiB, from there to their answer": (
        GUARD.bodies_bytes / MIB,
        GUARD.small_bodies_bytes / MIB,
        GUARD.upload_bytes / MIB,
        GUARD.bodies_bytes_per_address / MIB,
        GUARD.room_wait_s,
    ),
    "such a body while others wait": (GUARD.crowded_bytes_per_s / KIB, GUARD.crowded_s),
    "no or two `Host` headers, contradicting lengths, damaged chunks": (),
    "path with `..`, an encoded slash, a backslash, NUL, or not UTF-8": (),
    "requests waiting on one connection (pipelining)": (GUARD.pipelined,),
    "idle connection": (GUARD.idle_s, GUARD.head_s, GUARD.parting_s),
    "answer that nobody reads": (GUARD.unread_s,),
    "connections": (DEFAULT.connections_max,),
    "connections of one address; IPv6: of one /64": (DEFAULT.connections_per_address,),
    # Rate limits
    "requests to the API, v1 and v2 together": (DEFAULT.api_rate_per_minute,),
    "of these, `get_replay`": (DEFAULT.api_replays_per_minute,),
    "of these, `calculate_pp`": (DEFAULT.api_pp_per_minute,),
    "of these, `set_avatar`": (DEFAULT.avatar_uploads_per_hour,),
    "wrong API keys of one address": (operation.WRONG_KEYS.count,),
    # Game clients
    "log-ins from one address (loopback exempt; IPv6: one /64)": (login.TRIES_PER_MINUTE,),
    "wrong passwords from one address, in the game and on the web together (loopback exempt)": (
        credentials.ADDRESS_GUESSES_PER_MINUTE,
    ),
    "wrong passwords for one name from one address": (credentials.NAME_GUESSES_PER_MINUTE,),
    "wrong passwords for one name from all addresses": (credentials.ACCOUNT_GUESSES_PER_HOUR,),
    "passwords being verified": (passwords.WAITING_MAX, passwords.WAITING_OF_CALLER_MAX, passwords.WAIT_S),
    "wrong claim codes of one player (`!claim`)": (ownership.FAILURES_PER_MINUTE, ownership.FAILURES_PER_HOUR),
    "unknown session tokens from one address (loopback exempt)": (bancho.UNKNOWN_TOKENS_PER_MINUTE,),
    f"requests of one session; each {bancho.BODY_BYTES_A_POLL // KIB} KiB of body count as one more": (
        bancho.POLLS_PER_S,
        bancho.POLLS_BURST,
    ),
    "what the packets of one player cost": (work.UNITS_PER_S, work.BURST, 20, work.APPENDING),
    "requests of one session that wait for their turn": (port.TURNS_WAITING_MAX,),
    "body of a request; of a log-in": (bancho.BODY_MAX / MIB, bancho.LOGIN_MAX / KIB),
    "one packet": (wire.PACKET_MAX_BYTES / KIB, wire.BEATMAP_INFO_MAX_BYTES / KIB),
    "one answer": (port.POLL_BYTES_MAX / KIB,),
    "lines of one player": (chat.FLOOD_LINES, chat.FLOOD_S, 2 * chat.FLOOD_LINES, chat.FLOOD_SILENCE_S / 60),
    "one line": (model.LINE_MAX,),
    "commands of one player to the bot": (chat_bot.PER_SECOND, chat_bot.BURST, chat_bot.HEAVY_PER_MINUTE),
    "reports of one player to the staff": (staff_reports.AN_HOUR,),
    "invitations of one player to another": (multiplayer.INVITES, multiplayer.INVITES_S),
    "requests for map information in the game": (map_handlers.PER_SECOND, map_handlers.MAPS_AT_ONCE),
    "errors that one client reports": (presence_handlers.REPORTS_PER_MINUTE, presence_handlers.REPORT_MAX),
    "unread mail": (chat_queries.WAITING_MAX, mail.FROM_ONE_MAX),
    "frame bundles of one host": (
        work.UNITS_PER_S // work.PRICES[Client.SPECTATE_FRAMES],
        spectating.BUNDLE_MAX / KIB,
    ),
    "a topic's backlog": (
        port.BOUNDS["user"].entries,
        port.BOUNDS[port.ONLINE].entries,
        port.BOUNDS["user"].bytes / MIB,
        port.BOUNDS[port.ONLINE].bytes / MIB,
    ),
    "silence of a client": (presence_model.IDLE_MAX_S,),
    "tournament clients of one player": (presence.TOURNAMENT_SESSIONS_MAX,),
    "rooms": (port.MATCHES_MAX, 1, multiplayer.ROOMS_PER_HOUR, multiplayer.ROOMS_BURST),
    "event streams, with rate limits off as well": (events.CLIENTS_MAX, events.CLIENTS_OF_ONE_MAX, events.BEHIND_MAX),
    "plays of one player": (submission.PER_MINUTE, submission.BURST, submission.WAITING_MAX),
    "plays on unknown maps of one player": (submission.UNKNOWN_MAPS_PER_MINUTE,),
    "a play whose pp cannot be computed, because its map's file is away": (submission.PP_TRIES,),
    "flags for plays of one player that are not stored": (submission.FLAGS_PER_HOUR,),
    "form, before its caller is known": (door.SMALL_MAX / KIB,),
    "form of a play": (
        submit.BODY_MAX / MIB,
        submission_form.SCORE_MAX / KIB,
        submission_form.REPLAY_MAX / MIB,
        submission_form.TEXT_MAX / KIB,
        door.PARTS_MAX,
    ),
    "replay of a play": (
        replay_file.FRAMES_MAX_BYTES / MIB,
        replay_file.LZMA_MEMORY_MAX_BYTES / MIB,
        decoder.FRAMES_CPU_S,
    ),
    "replays being read": (
        decoder.REPLAY_PROCESSES,
        decoder.WAITING_MAX,
        decoder.REPLAYS_OF_CALLER_MAX,
        decoder.WAIT_S,
    ),
    "other web requests of one player": rate(door.BROWSING),
    "song select on unknown maps of one player": rate(scoreboard.UNKNOWN_MAPS),
    "replays watched": rate(replays.DOWNLOADS),
    "screenshots": (
        screenshots.SIZE_MAX / MIB,
        pictures.SCREENSHOT_WIDTH_MAX,
        pictures.SCREENSHOT_HEIGHT_MAX,
        screenshot_pages.UPLOADING.period_s,
        screenshot_pages.A_DAY.count,
    ),
    "comments": (comments.TEXT_MAX, comment_pages.COMMENTING.period_s, comment_pages.A_DAY.count),
    "favourites": (DEFAULT.favourites_max, *rate(favourites.MARKING)),
    "votes for maps": rate(ratings.RATING),
    "maps asked about at once": (100, beatmap_info.BODY_MAX / KIB, *rate(beatmap_info.ASKING)),
    "osu!direct": (*rate(direct.SEARCHES), *rate(direct.DOWNLOADS)),
    ".osu files of one address": rate(osu_files.FILES),
    "pictures of maps and of medals, each, of one address": rate(map_pictures.ASKED),
    "checks of the password in the menu, of one player": rate(fixed.LOG_INS),
    "star ratings": rate(stars.ASKED),
    "accounts made in the game": (registration.CREATIONS.count, registration.CHECKS.count),
    "crash reports": (reports.CRASH_MAX / KIB, reports.CRASHES.count),
    "signs of cheats reported by the game": rate(reports.FLAGS),
    # Sizes
    "avatar": (
        account.AVATAR_MAX / MIB,
        pictures.AVATAR_SIDE_MAX,
        pictures.AVATAR_SIDE_MAX,
        pictures.AVATAR_PIXELS_MAX,
    ),
    "a picture, or an archive looked through for one or for music": (pictures.JPEG_SCANS_MAX, decoder.PICTURE_CPU_S),
    "pictures and archives being read": (
        decoder.PICTURE_PROCESSES,
        decoder.WAITING_MAX,
        decoder.PICTURES_OF_CALLER_MAX,
        decoder.WAIT_S,
    ),
    "pp being computed": (performance.CPU_S, performance.WAITING_MAX, performance.WAIT_S),
    "body of `set_player_info`": (account.CHANGES_MAX / KIB,),
    "API keys of one account": (queries.KEYS_MAX,),
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
    "texts of a .osu file": (beatmap_file.TEXT_MAX, beatmap_file.TAGS_MAX),
    "imported .osr": (replay_import.FILE_MAX / MIB,),
    "answer of an upstream or mirror": (
        upstream.JSON_MAX / MIB,
        fetching.TOTAL_S,
        fetching.REDIRECTS_MAX,
        fetching.AT_ONCE,
        fetching.WAITING_MAX,
    ),
    "transactions waiting for SQLite": (sqlite.WAITING_MAX, sqlite.WAIT_S),
    "one statement on PostgreSQL on behalf of a request": (postgres.STATEMENT_MS / 1000,),
    "write-ahead log of SQLite (`kiai.db-wal`)": (sqlite.WAL_BYTES / MIB, app.CHECKPOINT_EVERY_S),
    "replaced avatars": (retiring.BACK_UP_MAX_S / 3_600,),
    "a back-up": (retiring.BACK_UP_MAX_S / 3_600,),
    "reads of some milliseconds (long boards, comments, grades of many maps) waiting on SQLite": (
        sqlite.ASIDES_WAITING,
        sqlite.ASIDES_OF_CALLER,
        sqlite.WAIT_S,
    ),
    "slow reads (searches, deep pages, filters, counted totals): time of one": (sqlite.SLOW_S,),
    "slow reads at once": (1, postgres.SLOW_POOL_MAX),
    "pages of lists with a cursor": (pages.COUNTED_MAX,),
    "slow reads waiting": (sqlite.SLOW_WAITING, sqlite.SLOW_OF_CALLER, sqlite.SLOW_WAIT_S),
}
"""By row."""

ROWS_OF_BUCKETS: Final[Mapping[str, str]] = {
    "api": "requests to the API, v1 and v2 together",
    "replays": "of these, `get_replay`",
    "pp": "of these, `calculate_pp`",
    "avatars": "of these, `set_avatar`",
    "wrong-keys": "wrong API keys of one address",
    "login": "log-ins from one address (loopback exempt; IPv6: one /64)",
    "guesses": "wrong passwords from one address, in the game and on the web together (loopback exempt)",
    "guesses-of": "wrong passwords for one name from all addresses",
    "claim-failures": "wrong claim codes of one player (`!claim`)",
    "claim-failures-hour": "wrong claim codes of one player (`!claim`)",
    "poll": "requests of one session; each 2 KiB of body count as one more",
    "work": "what the packets of one player cost",
    "bot": "commands of one player to the bot",
    "bot-heavy": "commands of one player to the bot",
    "report": "reports of one player to the staff",
    "invite": "invitations of one player to another",
    "map-info": "requests for map information in the game",
    "error-report": "errors that one client reports",
    "rooms": "rooms",
    "submit": "plays of one player",
    "submit-unknown": "plays on unknown maps of one player",
    "pp-tries": "a play whose pp cannot be computed, because its map's file is away",
    "flags": "flags for plays of one player that are not stored",
    "web": "other web requests of one player",
    "getscores-unknown": "song select on unknown maps of one player",
    "getreplay": "replays watched",
    "screenshot": "screenshots",
    "screenshots-a-day": "screenshots",
    "comment": "comments",
    "comments-a-day": "comments",
    "favourite": "favourites",
    "rate": "votes for maps",
    "beatmapinfo": "maps asked about at once",
    "direct": "osu!direct",
    "downloads": "osu!direct",
    "osu-files": ".osu files of one address",
    "map-pictures": "pictures of maps and of medals, each, of one address",
    "medal-pictures": "pictures of maps and of medals, each, of one address",
    "osu-login": "checks of the password in the menu, of one player",
    "difficulty-rating": "star ratings",
    "users-checks": "accounts made in the game",
    "users-creations": "accounts made in the game",
    "osu-error": "crash reports",
    "lastfm": "signs of cheats reported by the game",
}
"""By what stands before the colon of a bucket's name."""

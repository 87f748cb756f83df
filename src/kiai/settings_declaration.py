"""Declarations of all settings, from which the settings page and the sample file are generated.

`kiai.toml` is read from the current folder, or from the file in KIAI_CONFIG. `settings.py` reads the values.
"""

import os
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from kiai.osu.names import NAME_PATTERN
from kiai.redis_url import FORMS
from kiai.server_settings import HTTP_PORT, PLAIN_PORT, PREFIX, TLS_PORT, TLS_WORDS, config_file
from kiai.setting_types import (
    PLACE,
    Folder,
    Whole,
    backup_time,
    file_place,
    matching,
    no_flag,
    on_or_off,
    postgres_url,
    redis_url,
    rehearsal_time,
    retention,
    url_of,
    words,
)


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _setting(
    default: object,
    about: str,
    *,
    example: object,
    allowed: str = "",
    unit: str = "",
    shown_default: str = "",
    least: int | None = None,
    most: int | None = None,
) -> Any:
    """Declare a setting. `allowed` completes "must be"; if empty, the type describes it. `default` may be callable."""
    extra: JsonDict = {"allowed": allowed, "unit": unit, "shown_default": shown_default}
    source: dict[str, Any] = {"default_factory": default} if callable(default) else {"default": default}
    return Field(**source, description=about, examples=[example], ge=least, le=most, json_schema_extra=extra)


class SettingsDeclaration(BaseSettings):
    """Declares every setting. `load_settings` reads them and returns the typed `Settings`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    # --- the server
    title: Annotated[str, matching(r"[^\x00-\x1f\x7f]{1,64}")] = _setting(
        "kiai",
        "Name of the server, shown on its pages and by the bot.",
        allowed="1 to 64 characters",
        example="Kiai Club",
    )
    bot_name: Annotated[str, matching(NAME_PATTERN)] = _setting(
        "BanchoBot",
        "Name of the bot.",
        allowed="2 to 15 characters of A-Z, a-z, 0-9, space, _ [ ] and -",
        example="KiaiBot",
    )
    host: Annotated[str, matching(r"[A-Za-z0-9.:_-]{1,253}")] = _setting(
        "127.0.0.1",
        "Address to listen on; 0.0.0.0 listens on all addresses.",
        allowed="an address or a host name",
        example="0.0.0.0",  # noqa: S104 (an example)
    )
    tls: Annotated[str, matching(r"[^\x00-\x1f]{1,4096}")] = _setting(
        "off",
        "Where the certificate for https is from: a local authority for tests, an ACME authority, or a file.",
        allowed="off, self, auto, or the path of a PEM chain whose first certificate is the server's",
        example="/etc/kiai/fullchain.pem",
    )
    port: Whole = _setting(
        lambda data: PLAIN_PORT if data.get("tls", "off") == "off" else TLS_PORT,
        "Port on which players reach the server, by https unless tls is off; 0 selects a free port.",
        shown_default=f"{PLAIN_PORT}; with tls {TLS_PORT}",
        least=0,
        most=65_535,
        example=80,
    )
    domain: Annotated[str, matching(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")] = _setting(
        "localhost",
        "Domain under which players reach the server; used in all links.",
        allowed="a domain in lower case, without scheme or port",
        example="kiai.example",
    )
    public_url: Annotated[str, url_of("http", "https"), matching(r"https?://[a-z0-9.:\[\]-]+")] | None = _setting(
        None,
        "Address of the website in links and mails, without a path.",
        allowed="a URL like https://kiai.example, in lower case and without a path",
        shown_default="https:// and the domain; on localhost http://localhost and the port",
        example="https://kiai.example",
    )
    allow_any_proxy: bool = _setting(
        False,
        "Allow trusted_proxy to cover the whole internet, so that every client can claim any address.",
        example=True,
    )
    trusted_proxy: Annotated[tuple[str, ...], NoDecode, BeforeValidator(words)] = _setting(
        (),
        "Networks of proxies whose X-Forwarded-For is trusted; they can also read /metrics.",
        allowed="networks like 10.0.0.0/8, separated by commas",
        example=["10.0.0.0/8"],
    )

    # --- TLS (docs/operate/tls.md)
    tls_key: Annotated[str, matching(r"[^\x00-\x1f]{1,4096}")] | None = _setting(
        None,
        "File with the private key of the certificate, in PEM form.",
        allowed="a path, if tls is a path",
        shown_default="the key in the file of tls",
        example="/etc/kiai/privkey.pem",
    )
    http_port: Annotated[int, BeforeValidator(no_flag), Ge(0), Le(65_535)] | Literal["off"] | None = _setting(
        None,
        "With tls: port for plain http, which redirects to https and answers the challenges of http-01.",
        allowed="a whole number from 0 to 65535, or off",
        shown_default=f"{HTTP_PORT}",
        example=8080,
    )
    acme_directory: Annotated[str, url_of("https")] = _setting(
        "https://acme-v02.api.letsencrypt.org/directory",
        "With tls auto: address of the directory of the ACME authority.",
        allowed="a URL that begins with https://",
        example="https://acme-staging-v02.api.letsencrypt.org/directory",
    )
    acme_ca: str | None = _setting(
        None,
        "PEM file of the certificate that the https of the ACME authority is checked against.",
        allowed="a path",
        shown_default="the authorities of the system",
        example="/etc/kiai/authority.pem",
    )
    acme_email: Annotated[str, matching(r"[^@\s,]{1,64}@[^@\s,]{1,253}")] | None = _setting(
        None,
        "Address that the ACME authority may write to.",
        allowed="an e-mail address",
        example="admin@kiai.example",
    )
    acme_challenge: Literal["http-01", "dns-01"] = _setting(
        "http-01",
        "How the ACME authority checks the names: by a request to port 80, or by a record in the DNS.",
        example="dns-01",
    )
    acme_dns_hook: str | None = _setting(
        None,
        "Program that sets and removes records for dns-01: HOOK set NAME VALUE, HOOK unset NAME VALUE.",
        allowed="a path; required with acme_challenge dns-01",
        example="/etc/kiai/dns-hook",
    )

    # --- IRC
    irc: Annotated[str, BeforeValidator(str), matching(PLACE)] | None = _setting(
        None,
        "Port on which IRC clients connect without encryption.",
        allowed="a port, or an address and a port like 0.0.0.0:6667",
        shown_default="none; IRC is off. An address that is not given is that of the setting host",
        example="0.0.0.0:6667",
    )
    irc_tls: Annotated[str, BeforeValidator(str), matching(PLACE)] | None = _setting(
        None,
        "Port on which IRC clients connect with TLS; requires irc_tls_cert and irc_tls_key.",
        allowed="a port, or an address and a port like 0.0.0.0:6697",
        shown_default="none",
        example="0.0.0.0:6697",
    )
    irc_tls_cert: str | None = _setting(
        None,
        "File with the certificate chain for irc_tls, in PEM form.",
        allowed="a path",
        example="/etc/kiai/fullchain.pem",
    )
    irc_tls_key: str | None = _setting(
        None, "File with the private key for irc_tls, in PEM form.", allowed="a path", example="/etc/kiai/privkey.pem"
    )
    irc_links: Literal["official", "own"] = _setting(
        "official",
        "Host names and links in IRC: those of the official server, for which tools were written, or the server's own.",
        example="own",
    )
    irc_history: Whole = _setting(
        0,
        "Latest lines of a channel that a player gets who joins it through IRC. Chat bots get none.",
        least=0,
        most=25,
        example=25,
    )

    # --- storage
    data: Folder = _setting(
        Path("data"), "Folder for everything that the server stores.", allowed="a folder", example="/var/lib/kiai"
    )
    database: Annotated[str, BeforeValidator(postgres_url), url_of("postgresql")] | None = _setting(
        None,
        "PostgreSQL database to use instead of SQLite.",
        allowed="a URL like postgresql://user:password@host:5432/name",
        shown_default="SQLite, in the file kiai.db of the data folder",
        example="postgresql://kiai:secret@localhost:5432/kiai",
    )
    database_replica: Annotated[str, BeforeValidator(postgres_url), url_of("postgresql")] | None = _setting(
        None,
        "Streaming replica of the PostgreSQL database, for the reads of searches, boards and profiles.",
        allowed="a URL like postgresql://user:password@host:5432/name",
        shown_default="none, the database answers all reads",
        example="postgresql://kiai:secret@replica:5432/kiai",
    )
    state: Annotated[str, AfterValidator(redis_url)] | None = _setting(
        None,
        "Redis for live state: sessions, chat, matches and ranks. Required for several workers.",
        allowed=FORMS,
        shown_default="the memory of the process",
        example="redis://localhost:6379/0",
    )
    workers: Whole = _setting(
        1,
        "Number of worker processes; more than one require the settings database and state.",
        least=1,
        most=256,
        example=4,
    )
    files: Annotated[str, AfterValidator(file_place)] | None = _setting(
        None,
        "Folder or S3 bucket for replays, .osu files, archives, avatars and screenshots. A bucket requires "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        allowed="a folder, or a bucket like s3://bucket/prefix",
        shown_default="files, in the data folder",
        example="/srv/kiai-files",
    )
    backup_to: Annotated[str, AfterValidator(file_place)] | None = _setting(
        None,
        "Folder or S3 bucket for backups that the server makes itself or developers start; of its own for each server. "
        "A bucket requires AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        allowed="a folder, or a bucket like s3://bucket/prefix",
        example="/srv/backups",
    )
    backup_every: Annotated[str, AfterValidator(backup_time)] | None = _setting(
        None,
        "Time after which the server makes the next backup.",
        allowed="10m to 365d, like 12h or 1d, and backup_to, too",
        shown_default="never",
        example="1d",
    )
    backup_keep: Annotated[str, AfterValidator(retention)] = _setting(
        "last=3,daily=7,weekly=4,monthly=12",
        "Backups that stay in backup_to: the last N, and the newest one of each of the last N days, weeks and months.",
        allowed="one or more of last=N, daily=N, weekly=N and monthly=N with commas between them, at least one above 0",
        example="last=2,daily=14",
    )
    backup_key_file: Folder | None = _setting(
        None,
        "File with the key that encrypts backups, from `kiai backup-key`. Without the file they cannot be restored.",
        allowed="a file",
        shown_default="backups are not encrypted",
        example="/etc/kiai/backup.key",
    )

    backup_rehearse_every: Annotated[str, AfterValidator(rehearsal_time)] = _setting(
        "30d",
        "With backup_every: time after which the newest backup is restored into a temporary place and checked.",
        allowed="off, or 1d to 365d",
        example="7d",
    )

    upgrade_url: Annotated[str, url_of("http", "https"), matching(r"[^@\s]{1,500}")] | None = _setting(
        None,
        "URL that tells the newest release of kiai, which the server asks once a day and `kiai upgrade-check` at once.",
        allowed="a URL that begins with http:// or https://, without user and password",
        shown_default="none; nobody is asked",
        example="https://forge.example/api/v1/repos/kiai/kiai/releases/latest",
    )

    # --- logs
    log: Literal["json", "text"] = _setting(
        "json", "Format of the log on stderr: one JSON object per line, or text for people.", example="text"
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", "Lowest level that is logged.", example="debug"
    )
    log_polls: Annotated[str, matching(r"off|all|1/[1-9][0-9]{0,5}")] = _setting(
        "1/1000",
        "Share of the answered polls of game clients that is logged. Failed and slow ones always are.",
        allowed="off, all, or a share like 1/100, up to 1/999999",
        example="1/100",
    )
    slow_statement_ms: Whole = _setting(
        500,
        "Log statements of the database that take longer, with their plans; 0 turns this off.",
        unit="ms",
        least=0,
        most=3_600_000,
        example=100,
    )
    otlp_endpoint: Annotated[str, url_of("http", "https"), matching(r"[^@\s]{1,500}")] | None = _setting(
        None,
        "Collector of OpenTelemetry to which traces of requests are sent, by OTLP over HTTP.",
        allowed="a URL that begins with http:// or https://, without user and password",
        shown_default="none; requests are not traced",
        example="http://127.0.0.1:4318",
    )
    otlp_ratio: Annotated[float, Ge(0), Le(1)] = _setting(
        0.01,
        "Share of the requests that is traced.",
        allowed="a number from 0 to 1",
        example=0.1,
    )

    # --- the game
    bonus_pp: Literal["official", "legacy"] = _setting(
        "official",
        "Formula of the bonus pp for the number of ranked plays: the official one, or its predecessor with 0.9994^n.",
        example="legacy",
    )
    loved_counts: bool = _setting(
        False,
        "Count best scores on loved maps in ranked score and grades; they give no pp in either case.",
        example=True,
    )
    workers_pp: Whole = _setting(
        lambda: max(1, processors() - 1),
        "Number of processes that calculate pp and star ratings.",
        shown_default="the number of processors minus 1, at least 1",
        least=1,
        most=256,
        example=4,
    )

    # --- playing
    welcome: Annotated[str, matching(r"[^\x00-\x09\x0b-\x1f\x7f]{0,500}")] = _setting(
        "",
        "Message that the game shows after a login; empty for none.",
        allowed="a text of at most 500 characters",
        example="Welcome to Kiai Club!",
    )
    menu_icon: Annotated[str, url_of("http", "https")] | None = _setting(
        None,
        "URL of a picture for the game's main menu.",
        allowed="a URL that begins with http:// or https://",
        example="https://kiai.example/menu.png",
    )
    menu_link: Annotated[str, url_of("http", "https")] | None = _setting(
        None,
        "URL that a click on the picture opens.",
        allowed="a URL that begins with http:// or https://",
        example="https://kiai.example",
    )
    forum_url: Annotated[str, url_of("http", "https")] | None = _setting(
        None,
        "Forum of the community; links of the game to topics of a forum lead there.",
        allowed="a URL that begins with http:// or https://",
        shown_default="none",
        example="https://forum.kiai.example",
    )
    seasonal_backgrounds: Annotated[tuple[str, ...], NoDecode, BeforeValidator(words)] = _setting(
        (),
        "URLs of background pictures for the game's main menu.",
        allowed="URLs, separated by commas",
        example=["https://kiai.example/winter.jpg"],
    )
    maintenance: bool = _setting(False, "Allow only staff to log in with the game.", example=True)
    oldest_build: Whole = _setting(
        0,
        "Oldest accepted build of the game; older clients must update; 0 accepts all.",
        unit="(yyyymmdd)",
        least=0,
        most=99_991_231,
        example=20_250_101,
    )
    build_age_days: Whole = _setting(
        0,
        "Maximum age of the game's build; older clients must update; 0 accepts all.",
        unit="days",
        least=0,
        most=36_500,
        example=730,
    )
    registration: Annotated[Literal["on", "off", "invite"], BeforeValidator(on_or_off)] = _setting(
        "on",
        "Allow players to create accounts in the game and on the website: everybody, nobody, or only with an invite "
        "code, on the website.",
        example="invite",
    )
    first_user_is_owner: bool = _setting(
        True,
        "On the domain localhost, make the first player (id 3) the owner at the first login if there is no owner.",
        example=False,
    )
    staff_second_factor: Annotated[Literal["auto", "on", "off"], BeforeValidator(on_or_off)] = _setting(
        "auto",
        "Whether the admin panel needs a second factor from the last 12 hours. `auto`: unless the domain is localhost.",
        example="on",
    )
    name_change_days: Whole = _setting(
        30, "Time between two name changes of a player on the website.", unit="days", least=0, most=3_650, example=90
    )
    country_change_days: Whole = _setting(
        90,
        "Time between two changes of the country by a player on the website.",
        unit="days",
        least=0,
        most=3_650,
        example=365,
    )
    deletion_grace_days: Whole = _setting(
        14,
        "Time between a player's request to delete the account and the deletion. A login in this time cancels it.",
        unit="days",
        least=0,
        most=365,
        example=30,
    )

    # --- mail
    smtp: Annotated[str, url_of("smtp", "smtps")] | None = _setting(
        None,
        "Mail server; smtp:// uses STARTTLS if the server offers it. Without one the server sends no mail.",
        allowed="a URL like smtp://user:password@host:587 or smtps://user:password@host",
        shown_default="none; no mail is sent",
        example="smtp://kiai:secret@mail.example:587",
    )
    mail_from: Annotated[str, matching(r"[^@\s<>\x00-\x1f]{1,64}@[^@\s<>\x00-\x1f]{1,189}")] | None = _setting(
        None,
        "Sender of the mails.",
        allowed="an address like noreply@kiai.example",
        shown_default="noreply@ and the domain",
        example="noreply@kiai.example",
    )
    mail_verification: bool = _setting(
        False,
        "Let players comment, message and found clans on the website only after opening a mailed link; requires smtp.",
        example=True,
    )

    # --- scores
    submission_online: bool = _setting(
        True, "Accept plays only from players who are logged in with the game.", example=False
    )
    submission_checksum: Literal["reject", "flag"] = _setting(
        "reject",
        "How to handle a play whose checksum does not match: reject it, or store it and flag it for the staff.",
        example="flag",
    )
    pp_cap: Whole = _setting(
        0,
        "Flag plays above this many pp for the staff; 0 turns this off.",
        unit="pp",
        least=0,
        most=9_999,
        example=1_500,
    )
    evidence_similarity: Whole = _setting(
        75,
        "Flag a replay that is at least this similar to the replay of another player; 0 turns this off.",
        unit="percent",
        least=0,
        most=100,
        example=85,
    )
    evidence_frametime: Whole = _setting(
        12,
        "Flag a replay whose frames are closer together than this (a slowed-down game); 0 turns this off.",
        unit="ms",
        least=0,
        most=16,
        example=10,
    )
    evidence_unstable_rate: Whole = _setting(
        25,
        "Flag a replay whose unstable rate, without the effect of mods, is below this; 0 turns this off.",
        least=0,
        most=200,
        example=40,
    )
    evidence_same_hold: Whole = _setting(
        80,
        "Flag a replay in which this share of the key presses is equally long; 0 turns this off.",
        unit="percent",
        least=0,
        most=100,
        example=90,
    )
    evidence_exact_hits: Whole = _setting(
        50,
        "Flag a replay in which this share of the hits is within 1 ms of its object; 0 turns this off.",
        unit="percent",
        least=0,
        most=100,
        example=60,
    )
    evidence_snaps: Whole = _setting(
        8,
        "Flag a replay in which the cursor jumps to an object and back this often; 0 turns this off.",
        least=0,
        most=10_000,
        example=20,
    )
    evidence_score: Whole = _setting(
        110,
        "Flag a score above this share of what its counts allow; 0 turns this off.",
        unit="percent",
        least=0,
        most=1_000,
        example=150,
    )
    evidence_speed: Whole = _setting(
        70,
        "Flag a play that ends sooner after the one before than this share of its map takes; 0 turns this off.",
        unit="percent",
        least=0,
        most=100,
        example=50,
    )
    rank_medals: bool = _setting(
        False, "Award medals for global ranks; on a small server everybody would get them.", example=True
    )

    # --- where beatmaps come from
    upstream_url: Annotated[str, url_of("http", "https")] | None = _setting(
        None,
        "Server from which unknown beatmaps are fetched; it must serve the official API v1.",
        allowed="a URL that begins with http:// or https://",
        shown_default="none; nothing is fetched",
        example="https://mirror.example",
    )
    upstream_key: str | None = _setting(
        None, "API key for the upstream; prefer the environment variable to the file.", allowed="text", example="secret"
    )

    mirrors: Annotated[tuple[str, ...], NoDecode, BeforeValidator(words)] = _setting(
        (),
        "Mirrors that osu!direct uses, in this order, for sets that the server does not have.",
        allowed="URLs, separated by commas",
        example=["https://mirror.example"],
    )
    allow_private_upstream: bool = _setting(
        False, "Allow upstream and mirror addresses in private networks and on this machine.", example=True
    )
    allow_private_webhooks: bool = _setting(
        False, "Allow webhooks to addresses in private networks and on this machine.", example=True
    )
    map_pictures_url: Annotated[str, url_of("http", "https")] | None = _setting(
        None,
        "Server from which missing thumbnails and previews are fetched.",
        allowed="a URL that begins with http:// or https://",
        shown_default="none",
        example="https://b.mirror.example",
    )
    favourites_max: Whole = _setting(
        500, "Maximum number of favourite sets per player.", least=1, most=100_000, example=100
    )
    nomination_mode: bool = _setting(
        False, "Let several nominators rank a set together; off: one nominator sets the status.", example=True
    )
    nominations_needed: Whole = _setting(
        2, "Nominations that qualify a set in the nomination mode.", least=1, most=10, example=3
    )
    qualified_hours: Whole = _setting(
        72,
        "Hours that a nominated set stays qualified before it is ranked.",
        unit="hours",
        least=1,
        most=8_760,
        example=168,
    )
    announce_map_status: bool = _setting(
        True, "Announce maps that staff ranks, approves, qualifies or loves in #announce.", example=False
    )
    clan_members_max: Whole = _setting(
        25, "Maximum number of members of a clan, the owner included.", least=1, most=500, example=50
    )
    clan_cooldown_hours: Whole = _setting(
        24,
        "Hours that a player waits after leaving a clan before founding or joining another; 0: no wait.",
        unit="hours",
        least=0,
        most=8_760,
        example=0,
    )
    clan_invite_days: Whole = _setting(
        7, "Days after which an invitation to a clan ends.", unit="days", least=1, most=365, example=14
    )
    clan_rename_days: Whole = _setting(
        30,
        "Days between two changes of a clan's name by its owner; 0: no limit.",
        unit="days",
        least=0,
        most=3_650,
        example=7,
    )
    clan_pp: Literal["akatsuki", "weighted"] = _setting(
        "akatsuki",
        "Formula of a clan's pp: the sum of its members divided by their number plus 1, or the sum weighted by 0.8^n.",
        example="weighted",
    )

    # --- limits
    rate_limits: bool = _setting(
        True, "Apply rate limits; limits of size always apply. Turn them off for load tests only.", example=False
    )
    api_rate_per_minute: Whole = _setting(
        1_200,
        "Maximum requests to the public API, per key, or per address without a key.",
        unit="per minute",
        least=1,
        most=1_000_000,
        example=600,
    )
    api_replays_per_minute: Whole = _setting(
        60,
        "Maximum replay downloads through the API per caller.",
        unit="per minute",
        least=1,
        most=1_000_000,
        example=30,
    )
    api_pp_per_minute: Whole = _setting(
        240,
        "Maximum pp calculations through the API per caller.",
        unit="per minute",
        least=1,
        most=1_000_000,
        example=60,
    )
    avatar_uploads_per_hour: Whole = _setting(
        60,
        "Maximum uploads of avatars, covers and icons of clans per account.",
        unit="per hour",
        least=1,
        most=1_000_000,
        example=5,
    )
    connections_max: Whole = _setting(
        10_000, "Maximum number of open connections.", least=1, most=1_000_000, example=2_000
    )
    connections_per_address: Whole = _setting(
        200,
        "Maximum number of open connections per address; trusted proxies are exempt.",
        least=1,
        most=1_000_000,
        example=50,
    )

    @field_validator("mail_verification")
    @classmethod
    def _needs_smtp(cls, on: bool, info: ValidationInfo) -> bool:
        if on and not info.data.get("smtp"):
            raise PydanticCustomError("allowed", "off, unless smtp is set")
        return on

    @field_validator("database_replica")
    @classmethod
    def _needs_primary(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url and not info.data.get("database"):
            raise PydanticCustomError("allowed", "empty, unless database is set")
        return url

    @field_validator("backup_every")
    @classmethod
    def _needs_folder(cls, every: str | None, info: ValidationInfo) -> str | None:
        if every and not info.data.get("backup_to"):
            raise PydanticCustomError("allowed", "empty, unless backup_to is set")
        return every

    @field_validator("tls_key")
    @classmethod
    def _needs_chain(cls, key: str | None, info: ValidationInfo) -> str | None:
        if key and info.data.get("tls") in TLS_WORDS:
            raise PydanticCustomError("allowed", "a path, and tls the path of its certificate")
        return key

    @field_validator("irc_tls_key")
    @classmethod
    def _needs_certificate(cls, key: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("irc_tls") and not (key and info.data.get("irc_tls_cert")):
            raise PydanticCustomError("allowed", "a path, and irc_tls_cert, too, because irc_tls is set")
        return key

    @field_validator("trusted_proxy")
    @classmethod
    def _networks(cls, texts: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for text in texts:
            everybody = ip_network(text).prefixlen == 0
            if everybody and not info.data.get("allow_any_proxy"):
                raise PydanticCustomError(
                    "allowed", "networks smaller than the whole internet, unless allow_any_proxy is on"
                )
        return texts

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: flags, environment, file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=config_file())

"""The values of the settings, typed, as services and the server process use them.

`kiai.settings_declaration` declares each setting (default, range, help), and `kiai.settings` reads them;
`docs/operate/settings.md` lists them. This module does not import pydantic, which would take 9 MB of the server
process.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

PREFIX: Final = "KIAI_"
MASK: Final = "********"
LOCAL_DOMAIN: Final = "localhost"
PLAIN_PORT: Final = 8080  # without TLS
TLS_PORT: Final = 443
HTTP_PORT: Final = 80  # for plain http next to TLS
TLS_WORDS: Final = ("off", "self", "auto")
"""The values of the setting tls that are not paths."""
CONFIG_FILE: Final = "kiai.toml"

RegistrationState = Literal["on", "off", "invite"]
"""The people who may register: everybody, nobody, or those with an invite code."""


def config_file() -> Path:
    """Return the path of `kiai.toml`."""
    return Path(os.environ.get("KIAI_CONFIG") or CONFIG_FILE)


RETENTION: Final = ("last", "daily", "weekly", "monthly")
Source = Literal["flag", "environment", "file", "default", "panel"]


class SettingOrigin(msgspec.Struct, frozen=True):
    """Where the value of a setting comes from, and what the setting does. `unit` is empty for a setting without one.

    `place` is the flag, the environment variable or the file, and empty for a default.
    """

    name: str
    source: Source
    place: str
    description: str
    unit: str


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one server, from `kiai.settings.load_settings`. `repr` masks secrets.

    Each field except `origins` is a setting; `origins` has one element for each.
    """

    # --- the server
    title: str
    bot_name: str
    host: str
    port: int
    domain: str
    public_url: str | None
    allow_any_proxy: bool
    trusted_proxy: tuple[str, ...]

    # --- TLS
    tls: str
    tls_key: str | None
    http_port: int | Literal["off"] | None
    acme_directory: str
    acme_ca: str | None
    acme_email: str | None
    acme_challenge: Literal["http-01", "dns-01"]
    acme_dns_hook: str | None

    # --- IRC
    irc: str | None
    irc_tls: str | None
    irc_tls_cert: str | None
    irc_tls_key: str | None
    irc_links: Literal["official", "own"]
    irc_history: int

    # --- storage
    data: Path
    database: str | None
    database_replica: str | None
    state: str | None
    workers: int
    files: str | None
    backup_to: str | None
    backup_every: str | None
    backup_keep: str
    backup_key_file: Path | None
    backup_rehearse_every: str
    upgrade_url: str | None

    # --- logs
    log: Literal["json", "text"]
    log_level: Literal["debug", "info", "warning", "error"]
    log_polls: str
    slow_statement_ms: int
    otlp_endpoint: str | None
    otlp_ratio: float

    # --- the game
    bonus_pp: Literal["official", "legacy"]
    loved_counts: bool
    workers_pp: int

    # --- playing
    welcome: str
    menu_icon: str | None
    menu_link: str | None
    forum_url: str | None
    seasonal_backgrounds: tuple[str, ...]
    maintenance: bool
    oldest_build: int
    build_age_days: int
    registration: RegistrationState
    first_user_is_owner: bool
    staff_second_factor: Literal["auto", "on", "off"]
    name_change_days: int
    country_change_days: int
    deletion_grace_days: int

    # --- mail
    smtp: str | None
    mail_from: str | None
    mail_verification: bool

    # --- scores
    submission_online: bool
    submission_checksum: Literal["reject", "flag"]
    pp_cap: int
    evidence_similarity: int
    evidence_frametime: int
    evidence_unstable_rate: int
    evidence_same_hold: int
    evidence_exact_hits: int
    evidence_snaps: int
    evidence_score: int
    evidence_speed: int
    rank_medals: bool

    # --- where beatmaps come from
    upstream_url: str | None
    upstream_key: str | None
    mirrors: tuple[str, ...]
    allow_private_upstream: bool
    allow_private_webhooks: bool
    map_pictures_url: str | None
    favourites_max: int
    nomination_mode: bool
    nominations_needed: int
    qualified_hours: int
    announce_map_status: bool
    clan_members_max: int
    clan_cooldown_hours: int
    clan_invite_days: int
    clan_rename_days: int
    clan_pp: Literal["akatsuki", "weighted"]

    # --- limits
    rate_limits: bool
    api_rate_per_minute: int
    api_replays_per_minute: int
    api_pp_per_minute: int
    avatar_uploads_per_hour: int
    connections_max: int
    connections_per_address: int

    origins: tuple[SettingOrigin, ...]

    @property
    def is_local(self) -> bool:
        """Whether the domain is localhost, so that only players on this machine reach the server."""
        return self.domain == LOCAL_DOMAIN

    @property
    def has_irc(self) -> bool:
        """Whether the server accepts IRC connections."""
        return self.irc is not None or self.irc_tls is not None

    @property
    def site_url(self) -> str:
        """The address of the website, without a slash at the end."""
        if self.public_url:
            return self.public_url
        if self.has_tls:
            return f"https://{self.domain}" + ("" if self.port == TLS_PORT else f":{self.port}")
        return f"http://{self.domain}:{self.port}" if self.is_local else f"https://{self.domain}"

    @property
    def has_tls(self) -> bool:
        """Whether the server itself speaks https."""
        return self.tls != "off"

    @property
    def may_send_hsts(self) -> bool:
        """Whether answers may tell browsers to use only https for a year.

        Not with a certificate for tests, which ends sooner, and not on localhost, where HSTS would also apply to every
        other server of the machine.
        """
        return not self.has_tls or (self.tls != "self" and not self.is_local)

    @property
    def poll_every(self) -> int:
        """The number of polls of which one is logged: 1 for all, 0 for none."""
        if self.log_polls == "off":
            return 0
        return 1 if self.log_polls == "all" else int(self.log_polls.removeprefix("1/"))

    @property
    def mail_sender(self) -> str:
        """The sender of mails."""
        return self.mail_from or f"noreply@{self.domain}"

    @property
    def first_player_owns(self) -> bool:
        """Whether the first player who logs in becomes the owner."""
        return self.is_local and self.first_user_is_owner

    @property
    def demands_second_factor_of_staff(self) -> bool:
        """Whether the admin panel needs a recent second factor."""
        return not self.is_local if self.staff_second_factor == "auto" else self.staff_second_factor == "on"

    def __repr__(self) -> str:
        values = ((name, masked(name, getattr(self, name))) for name in SETTING_NAMES)
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in values)})"

    def to_json(self) -> bytes:
        """Return the settings as JSON with secrets, for the pipe to the server process. Never log it."""
        return msgspec.json.encode(self, enc_hook=str)  # a Path is the only type that JSON lacks

    @classmethod
    def from_json(cls, text: bytes) -> "Settings":
        """Return the settings from the JSON of `to_json`. Raises msgspec.ValidationError."""
        return msgspec.json.decode(text, type=cls, dec_hook=_decode_path)


SETTING_NAMES: Final = tuple(name for name in Settings.__struct_fields__ if name != "origins")


def _decode_path(kind: type, value: Any) -> Path:
    assert kind is Path
    return Path(value)


def retention_counts(text: str) -> dict[str, int]:
    """Return the numbers of a text like `last=3,daily=7`. Raises ValueError, also if nothing would stay."""
    counts: dict[str, int] = {}
    for part in text.split(","):
        found = re.fullmatch(r"\s*([a-z]+)\s*=\s*([0-9]{1,5})\s*", part, re.ASCII)
        if found is None or found[1] not in RETENTION or found[1] in counts:
            raise ValueError
        counts[found[1]] = int(found[2])
    if not any(counts.values()):
        raise ValueError
    return counts


def flag_of(name: str) -> str:
    """Return the flag of a setting."""
    return f"--{name.replace('_', '-')}"


def read_origins(
    about: Mapping[str, tuple[str, str]], flags: Mapping[str, object], path: Path
) -> tuple[SettingOrigin, ...]:
    """Return where each setting comes from: a flag, the environment, the file at `path`, or the default.

    `about` has the description and the unit of each setting. The file, if it exists, has been read before.
    """
    in_file = tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}
    variables = {name.upper(): name for name, text in os.environ.items() if text}
    origins = []
    for name, (description, unit) in about.items():
        variable = variables.get(PREFIX + name.upper())
        source: Source = "default"
        place = ""
        # A command reads KIAI_DATA as the value of its flag, so an equal value counts as that of the variable.
        if name in flags and (variable is None or os.environ[variable] != str(flags[name])):
            source, place = "flag", flag_of(name)
        elif variable is not None:
            source, place = "environment", variable
        elif name in in_file:
            source, place = "file", str(path)
        origins.append(SettingOrigin(name, source, place, description, unit))
    return tuple(origins)


def masked(key: str | None, value: object) -> object:
    """Return the value of a setting with its secrets replaced by `MASK`."""
    if value is None or key not in ("upstream_key", "database", "database_replica", "upstream_url", "state", "smtp"):
        return value
    # A malformed URL is masked as a whole, because its password cannot be located.
    if key == "upstream_key" or "://" not in str(value):
        return MASK
    # User and password are between the scheme and the last @: a password may contain an unescaped @.
    text = re.sub(r"(?<=://).*@", f"{MASK}@", str(value), flags=re.DOTALL)
    return re.sub(r"(?i)(?<=password=)[^&]*", MASK, text)

"""Every setting: type, default, unit, one sentence, example. Help, docs page and sample file are made from here.

    flags  >  KIAI_* environment  >  kiai.toml  >  defaults

`kiai.toml` is the one in the current folder, or the file that KIAI_CONFIG names. An empty variable counts as absent.
Nothing unknown is ignored: a misspelt key or variable is refused with the nearest one there is.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin
from urllib.parse import urlsplit

from annotated_types import Ge, Le
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from kiai.errors import KiaiError, shown
from kiai.osu.names import NAME_PATTERN

PREFIX: Final = "KIAI_"
CONFIG_FILE: Final = "kiai.toml"
# Variables with our prefix that are not settings of a server.
OTHER_VARIABLES: Final = frozenset(
    {"KIAI_CONFIG", "KIAI_FAILPOINTS", "KIAI_PYTHON", "KIAI_SHARED_DATA", "KIAI_TESTING"}
)
MASK: Final = "********"


class BadSettings(KiaiError):
    """Settings that cannot be used. Each of `problems` is one line that says what, where and what is allowed."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def processors() -> int:
    """How many processors this process may use."""
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
    """One declaration. `allowed` completes "must be"; without it the type says it. A callable default is computed."""
    extra: JsonDict = {"allowed": allowed, "unit": unit, "shown_default": shown_default}
    source: dict[str, Any] = {"default_factory": default} if callable(default) else {"default": default}
    return Field(**source, description=about, examples=[example], ge=least, le=most, json_schema_extra=extra)


def _no_flag(value: object) -> object:
    if isinstance(value, bool):  # pydantic would take true for 1
        raise ValueError
    return value


def _words(value: object) -> object:
    return tuple(re.split(r"[,\s]+", value.strip(" ,"))) if isinstance(value, str) else value


def _matching(pattern: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError
        return text

    return AfterValidator(check)


def _url_of(*schemes: str) -> AfterValidator:
    def check(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in schemes or not (parts.hostname or parts.query):
            raise ValueError
        return text

    return AfterValidator(check)


_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_BUCKET: Final = re.compile(r"s3://[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9](/[^?#\x00-\x1f]*)?")


def _folder(value: object) -> object:
    """Refuses a URL where a folder is meant: `Path` would make a folder called `s3:` of it."""
    if _SCHEME.match(str(value)) or "\0" in str(value):
        raise ValueError
    return value


def _file_place(text: str) -> str:
    return text if _BUCKET.fullmatch(text) else str(Path(str(_folder(text))))


def _postgres(value: object) -> object:
    """Many providers and tools write the scheme short."""
    if isinstance(value, str) and value.startswith("postgres://"):
        return value.replace("postgres://", "postgresql://", 1)
    return value


Whole = Annotated[int, BeforeValidator(_no_flag)]
Folder = Annotated[Path, BeforeValidator(_folder)]


class Settings(BaseSettings):
    """The settings of one server. Frozen; made with `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    # --- the server
    title: Annotated[str, _matching(r"[^\x00-\x1f\x7f]{1,64}")] = _setting(
        "kiai",
        "Name of the server, as its pages and the bot say it.",
        allowed="1 to 64 characters",
        example="Kiai Club",
    )
    bot_name: Annotated[str, _matching(NAME_PATTERN)] = _setting(
        "BanchoBot",
        "Name of the server's bot.",
        allowed="2 to 15 of A-Z, a-z, 0-9, spaces and _ [ ] -",
        example="KiaiBot",
    )
    host: Annotated[str, _matching(r"[A-Za-z0-9.:_-]{1,253}")] = _setting(
        "127.0.0.1",
        "Address to listen on; 0.0.0.0 listens on all.",
        allowed="an address or a host name",
        example="0.0.0.0",  # noqa: S104 (an example)
    )
    port: Whole = _setting(8080, "Port to listen on; 0 takes a free one.", least=0, most=65_535, example=80)
    domain: Annotated[str, _matching(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")] = _setting(
        "localhost",
        "Domain under which players reach the server; links are built from it, whatever a request says.",
        allowed="a domain in lower case, without scheme and port",
        example="kiai.example",
    )
    allow_any_proxy: bool = _setting(
        False, "Lets trusted_proxy name the whole internet, so that anybody may claim any address.", example=True
    )
    trusted_proxy: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)] = _setting(
        (),
        "Networks whose X-Forwarded-For is believed; they may also read /metrics.",
        allowed="networks like 10.0.0.0/8, separated by commas",
        example=["10.0.0.0/8"],
    )

    # --- storage
    data: Folder = _setting(
        Path("data"), "Folder that holds everything the server keeps.", allowed="a folder", example="/var/lib/kiai"
    )
    database: Annotated[str, BeforeValidator(_postgres), _url_of("postgresql")] | None = _setting(
        None,
        "A PostgreSQL database.",
        allowed="a URL like postgresql://user:password@host:5432/name",
        shown_default="SQLite, in the file kiai.db of the data folder",
        example="postgresql://kiai:secret@localhost:5432/kiai",
    )
    state: Annotated[str, _url_of("redis", "rediss")] | None = _setting(
        None,
        "A Redis for what is live: sessions, chat, matches, ranks. Several workers share it.",
        allowed="a URL like redis://host:6379/0",
        shown_default="kept in the process",
        example="redis://localhost:6379/0",
    )
    workers: Whole = _setting(
        1, "Processes that serve; more than one need a database and a state.", least=1, most=256, example=4
    )
    files: Annotated[str, AfterValidator(_file_place)] | None = _setting(
        None,
        "Folder or S3 bucket for replays, .osu files, archives, avatars and screenshots. A bucket needs "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        allowed="a folder, or a bucket like s3://bucket/prefix",
        shown_default="files, in the data folder",
        example="/srv/kiai-files",
    )

    # --- logs
    log: Literal["json", "text"] = _setting(
        "json", "How the log on stderr is written: a JSON object a line, or text for people.", example="text"
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", "The least important lines that are still logged.", example="debug"
    )

    # --- the game
    bonus_pp: Literal["official", "legacy"] = _setting(
        "official",
        "Bonus pp for the number of ranked plays: as the game gives it now, or by its older 0.9994^n.",
        example="legacy",
    )
    loved_counts: bool = _setting(
        False, "Counts best scores on loved maps in ranked score and grades; they give no pp.", example=True
    )
    workers_pp: Whole = _setting(
        lambda: max(1, processors() - 1),
        "Processes that compute pp and stars.",
        shown_default="one less than there are processors, at least 1",
        least=1,
        most=256,
        example=4,
    )

    # --- playing
    welcome: Annotated[str, _matching(r"[^\x00-\x09\x0b-\x1f\x7f]{0,500}")] = _setting(
        "",
        "What pops up in the game when a player has logged in; empty for nothing.",
        allowed="a text of at most 500 characters",
        example="Welcome to Kiai Club!",
    )
    menu_icon: Annotated[str, _url_of("http", "https")] | None = _setting(
        None,
        "Picture in the game's main menu.",
        allowed="a URL that begins with http:// or https://",
        example="https://kiai.example/menu.png",
    )
    menu_link: Annotated[str, _url_of("http", "https")] | None = _setting(
        None,
        "What a click on that picture opens.",
        allowed="a URL that begins with http:// or https://",
        example="https://kiai.example",
    )
    seasonal_backgrounds: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)] = _setting(
        (),
        "Pictures that the game's main menu shows as backgrounds.",
        allowed="URLs, separated by commas",
        example=["https://kiai.example/winter.jpg"],
    )
    maintenance: bool = _setting(False, "Lets only staff log in with the game.", example=True)
    oldest_build: Whole = _setting(
        0,
        "Game clients older than this are told to update; 0 lets every one in.",
        unit="(yyyymmdd)",
        least=0,
        most=99_991_231,
        example=20_250_101,
    )
    build_age_days: Whole = _setting(
        0,
        "Game clients older than this are told to update; 0 lets every one in.",
        unit="days",
        least=0,
        most=36_500,
        example=730,
    )
    registration: bool = _setting(True, "Lets players make accounts in the game.", example=False)
    first_user_is_owner: bool = _setting(
        True,
        "On the domain localhost, makes the first player (id 3) owner at its first log-in, while nobody else is.",
        example=False,
    )

    # --- scores
    submission_online: bool = _setting(
        True, "Takes plays only from players who are logged in with the game.", example=False
    )
    submission_checksum: Literal["reject", "flag"] = _setting(
        "reject",
        "What happens to a play whose checksum does not fit: it is refused, or stored with a flag for the staff.",
        example="flag",
    )
    pp_cap: Whole = _setting(
        0,
        "A play above this many pp is stored with a flag for the staff; 0 for no cap.",
        unit="pp",
        least=0,
        most=9_999,
        example=1_500,
    )
    rank_medals: bool = _setting(
        False, "Gives medals for global ranks, which on a small server everybody has.", example=True
    )

    # --- where beatmaps come from
    upstream_url: Annotated[str, _url_of("http", "https")] | None = _setting(
        None,
        "Where a beatmap that was never imported is fetched from.",
        allowed="a URL that begins with http:// or https://",
        shown_default="nowhere: the server asks nobody",
        example="https://mirror.example",
    )
    upstream_key: str | None = _setting(
        None, "Key for the upstream; better in the environment than in a file.", allowed="text", example="secret"
    )

    mirrors: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)] = _setting(
        (),
        "Mirrors that osu!direct searches and downloads from when nothing here fits, the first one first.",
        allowed="URLs, separated by commas",
        example=["https://mirror.example"],
    )
    allow_private_upstream: bool = _setting(
        False, "Lets the upstream and the mirrors lie in a private network or on this machine.", example=True
    )
    map_pictures_url: Annotated[str, _url_of("http", "https")] | None = _setting(
        None,
        "Where thumbnails and previews are looked for that are not here.",
        allowed="a URL that begins with http:// or https://",
        shown_default="nowhere",
        example="https://b.mirror.example",
    )
    favourites_max: Whole = _setting(500, "Favourite sets of one player.", least=1, most=100_000, example=100)

    # --- limits
    rate_limits: bool = _setting(
        True, "Whether rate limits hold; sizes stay bounded without them. Off is for load tests.", example=False
    )
    api_rate_per_minute: Whole = _setting(
        1_200,
        "Requests to the public API by one key, or one address without key.",
        unit="a minute",
        least=1,
        most=1_000_000,
        example=600,
    )
    api_replays_per_minute: Whole = _setting(
        60, "Replay downloads of one caller.", unit="a minute", least=1, most=1_000_000, example=30
    )
    api_pp_per_minute: Whole = _setting(
        240, "Computations of pp for one caller.", unit="a minute", least=1, most=1_000_000, example=60
    )
    avatar_uploads_per_hour: Whole = _setting(
        60, "Avatars one account may upload.", unit="an hour", least=1, most=1_000_000, example=5
    )
    connections_max: Whole = _setting(10_000, "Connections open at once.", least=1, most=1_000_000, example=2_000)
    connections_per_address: Whole = _setting(
        200,
        "Connections open at once from one address; trusted proxies are exempt.",
        least=1,
        most=1_000_000,
        example=50,
    )

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
        """Flags before environment before file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=config_file())

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """For `repr` and `str`: without secrets."""
        return [(name, _masked(name, value)) for name, value in super().__repr_args__()]


def load_settings(**flags: object) -> Settings:
    """The settings from flags (None and an empty list: not given), environment, file and defaults.

    Raises BadSettings.
    """
    given: dict[str, Any] = {
        name: value for name, value in flags.items() if value is not None and value not in ([], ())
    }
    path = config_file()
    if os.environ.get("KIAI_CONFIG") and not path.is_file():
        raise BadSettings(f"KIAI_CONFIG names {shown(str(path))}, which is no file")
    unknown = [_unknown_variable(name) for name in sorted(os.environ) if _is_unknown(name)]
    if unknown:
        raise BadSettings(*unknown)
    try:
        return Settings(**given)
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"{path} is not TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(f"{path} cannot be read: {error}") from None
    except ValidationError as error:
        # Its own words may hold a secret, so it is not kept as the cause.
        problems = [_problem(str(fault["loc"][0]), fault, given, path) for fault in error.errors()]
    raise BadSettings(*dict.fromkeys(problems))


def config_file() -> Path:
    """Where `kiai.toml` is looked for."""
    return Path(os.environ.get("KIAI_CONFIG") or CONFIG_FILE)


def _is_unknown(variable: str) -> bool:
    name = variable.upper()
    return name.startswith(PREFIX) and name not in OTHER_VARIABLES and _key_of(name) not in Settings.model_fields


def _key_of(variable: str) -> str:
    return variable[len(PREFIX) :].lower()


def _unknown_variable(variable: str) -> str:
    nearest = _nearest(_key_of(variable))
    return f"unknown environment variable {variable}" + (
        f"; did you mean {PREFIX}{nearest.upper()}?" if nearest else ""
    )


def _nearest(key: str) -> str | None:
    return next(iter(difflib.get_close_matches(key.lower().replace("-", "_"), Settings.model_fields, n=1)), None)


def _problem(key: str, fault: Mapping[str, Any], flags: Mapping[str, object], path: Path) -> str:
    """One fault of pydantic's in our words."""
    value, place = _found(key, flags, path)
    field = Settings.model_fields.get(key)
    if field is None:
        nearest = _nearest(key)
        return f"unknown setting {shown(key)} ({place})" + (f"; did you mean {nearest}?" if nearest else "")
    allowed = fault["msg"] if fault["type"] == "allowed" else _allowed(field)
    return f"{key} must be {allowed}, got {shown(_masked(key, value))} ({place})"


def _found(key: str, flags: Mapping[str, object], path: Path) -> tuple[object, str]:
    """The value that was given for a key, and where."""
    if key in flags:
        return flags[key], f"--{key.replace('_', '-')}"
    for variable, text in os.environ.items():
        if variable.upper() == PREFIX + key.upper() and text:
            return text, f"environment variable {variable}"
    text = path.read_text("utf-8")
    line = re.search(rf"^[ \t]*\[?[\"']?{re.escape(key)}\b", text, re.MULTILINE)
    where = f"{path}, line {text.count(chr(10), 0, line.start()) + 1}" if line else str(path)
    return tomllib.loads(text).get(key), where


def _masked(key: str | None, value: object) -> object:
    """The value without what is secret in it."""
    if value is None or key not in ("upstream_key", "database", "upstream_url", "state"):
        return value
    if key == "upstream_key" or "://" not in str(value):
        return MASK
    # What stands between the scheme and the last @ is who and with which password.
    text = re.sub(r"(?<=://).*@", f"{MASK}@", str(value), flags=re.DOTALL)
    return re.sub(r"(?i)(?<=password=)[^&]*", MASK, text)


# --- the pages that are made from the declarations ------------------------------------------------------------------


def _extra(field: FieldInfo, name: str) -> str:
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    return str(extra[name])


def _allowed(field: FieldInfo) -> str:
    """What a value must be, as words."""
    if declared := _extra(field, "allowed"):
        return declared
    if field.annotation is bool:
        return "on or off"
    if get_origin(field.annotation) is Literal:
        return "one of " + ", ".join(get_args(field.annotation))
    least = next(bound.ge for bound in field.metadata if isinstance(bound, Ge))
    most = next(bound.le for bound in field.metadata if isinstance(bound, Le))
    return f"a whole number from {least} to {most}"


def _default(field: FieldInfo) -> str:
    return _extra(field, "shown_default") or (_toml(field.default) if field.default not in (None, ()) else "none")


def _toml(value: object) -> str:
    """A value as kiai.toml holds it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return f'"{value}"'


def settings_reference() -> str:
    """The page `docs/operate/settings.md`."""
    rows = []
    for name, field in Settings.model_fields.items():
        unit = f" {_extra(field, 'unit')}" if _extra(field, "unit") else ""
        default = _default(field) if _extra(field, "shown_default") else f"`{_default(field)}`"
        example = f"`{_toml((field.examples or [])[0])}`"
        cells = (f"`{name}`", f"`{PREFIX}{name.upper()}`", _allowed(field) + unit, default, field.description, example)
        rows.append(f"| {' | '.join(map(str, cells))} |")
    others = ", ".join(f"`{name}`" for name in sorted(OTHER_VARIABLES - {"KIAI_CONFIG"}))
    return f"""# Settings

None is mandatory. A flag of a command wins over the environment, the environment over `kiai.toml`, and that over the
default. `kiai.toml` is looked for in the folder the command is started in, or where `KIAI_CONFIG` says;
[this one](kiai.toml) is a sample with everything in it. A flag is the setting's name with dashes: `--trusted-proxy`.

An unknown key or variable, or a value that is not allowed, stops the command with one line that says which, where, and
what is allowed. Folders are relative to where the command is started. In the environment a list is separated by
commas, and an empty variable counts as absent.

| setting | environment | allowed | default | what it does | example |
|---|---|---|---|---|---|
{chr(10).join(rows)}

{others} are for tests and scripts and mean nothing to a server.

This page is made from `src/kiai/settings.py`.
"""


def settings_sample() -> str:
    """The file `docs/operate/kiai.toml`: every setting, commented out, with its example."""
    lines = ["# A sample kiai.toml. Remove the # in front of what you want to change; the values are examples."]
    for name, field in Settings.model_fields.items():
        unit = f" {_extra(field, 'unit')}" if _extra(field, "unit") else ""
        lines += [
            "",
            f"# {field.description}",
            f"# Allowed: {_allowed(field)}{unit}. Default: {_default(field)}.",
            f"#{name} = {_toml((field.examples or [])[0])}",
        ]
    return "\n".join(lines) + "\n"


def write_pages(folder: Path) -> None:
    """Writes both pages into `folder` (docs/operate)."""
    (folder / "settings.md").write_text(settings_reference(), "utf-8")
    (folder / "kiai.toml").write_text(settings_sample(), "utf-8")

"""Reads the settings that `settings_declaration.py` declares.

    flags  >  KIAI_* environment  >  kiai.toml  >  defaults

An empty variable counts as not set. Unknown keys and variables are rejected, with the most similar known one.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from kiai.errors import KiaiError, quoted
from kiai.server_settings import (
    LOCAL_DOMAIN,
    PREFIX,
    SETTING_NAMES,
    TLS_WORDS,
    Settings,
    config_file,
    flag_of,
    masked,
    read_origins,
)
from kiai.setting_types import allowed_values, extra_of
from kiai.settings_declaration import SettingsDeclaration

# Variables with our prefix that are not settings of a server.
OTHER_VARIABLES: Final = frozenset(
    {"KIAI_CONFIG", "KIAI_FAILPOINTS", "KIAI_PYTHON", "KIAI_SHARED_DATA", "KIAI_TESTING"}
)


class BadSettings(KiaiError):
    """Invalid settings. Each of `problems` is one line with the setting, the place and the allowed values."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


FIELDS: Final = SettingsDeclaration.model_fields


class _WithoutFile(SettingsDeclaration):
    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource, **named: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return named["init_settings"], named["env_settings"]


def load_settings(**flags: object) -> Settings:
    """Load the settings from flags, environment, file and defaults. A flag that is None or an empty list is ignored.

    Raises BadSettings.
    """
    # A missing kiai.toml is normal, but a missing file that the operator has named is a mistake.
    if os.environ.get("KIAI_CONFIG") and not config_file().is_file():
        raise BadSettings(f"KIAI_CONFIG names {quoted(str(config_file()))}, which is not a file")
    return _load(SettingsDeclaration, config_file(), flags)


def load_without_file(**flags: object) -> Settings:
    """Like `load_settings`, without `kiai.toml`, for the command that writes it. Raises BadSettings."""
    return _load(_WithoutFile, Path(os.devnull), flags)


def _load(declaration: type[SettingsDeclaration], path: Path, flags: Mapping[str, object]) -> Settings:
    given: dict[str, Any] = {
        name: value for name, value in flags.items() if value is not None and value not in ([], ())
    }
    unknown = [_unknown_variable(name) for name in sorted(os.environ) if _is_unknown(name)]
    if unknown:
        raise BadSettings(*unknown)
    try:
        return _typed(declaration(**given), given, path)
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"{path} is not TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(f"{path} cannot be read: {error}") from None
    except ValidationError as error:
        # Its text may contain a secret, so it is not the cause of the new error.
        problems = [
            _problem(str(fault["loc"][0]), fault, given, path)
            for fault in error.errors()
            if fault["type"] != "default_factory_not_called"  # the default of port, after any other error
        ]
    raise BadSettings(*dict.fromkeys(problems))


def _typed(declared: SettingsDeclaration, flags: Mapping[str, object], path: Path) -> Settings:
    about = {name: (str(field.description), extra_of(field, "unit")) for name, field in FIELDS.items()}
    origins = read_origins(about, flags, path)
    values = {name: getattr(declared, name) for name in SETTING_NAMES}
    if declared.tls not in TLS_WORDS:
        # Absolute: `kiai tls` reads the path from the data folder, and may run in another folder.
        values["tls"], values["tls_key"] = _absolute(declared.tls), _absolute(declared.tls_key or declared.tls)
    if declared.tls == "auto":
        _check_acme(declared)
    return Settings(**values, origins=origins)


def _absolute(path: str) -> str:
    return str(Path(path).absolute())


def _check_acme(declared: SettingsDeclaration) -> None:
    """Raise BadSettings if an ACME authority could not issue a certificate with these settings."""
    if declared.domain == LOCAL_DOMAIN or "." not in declared.domain or _is_address(declared.domain):
        raise BadSettings(f"tls auto needs a public domain, got {quoted(declared.domain)}; set domain, or use tls self")
    if declared.acme_challenge == "dns-01" and not declared.acme_dns_hook:
        raise BadSettings("acme_challenge dns-01 needs acme_dns_hook, the path of a program")
    if declared.acme_challenge == "http-01" and declared.http_port == "off":
        raise BadSettings("acme_challenge http-01 needs http_port; set it to a port, or acme_challenge to dns-01")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_unknown(variable: str) -> bool:
    name = variable.upper()
    return name.startswith(PREFIX) and name not in OTHER_VARIABLES and _key_of(name) not in FIELDS


def _key_of(variable: str) -> str:
    return variable[len(PREFIX) :].lower()


def _unknown_variable(variable: str) -> str:
    nearest = _nearest(_key_of(variable))
    return f"unknown environment variable {variable}" + (
        f"; did you mean {PREFIX}{nearest.upper()}?" if nearest else ""
    )


def _nearest(key: str) -> str | None:
    return next(iter(difflib.get_close_matches(key.lower().replace("-", "_"), FIELDS, n=1)), None)


def _problem(key: str, fault: Mapping[str, Any], flags: Mapping[str, object], path: Path) -> str:
    """Describe an error of pydantic."""
    value, place = _found(key, flags, path)
    field = SettingsDeclaration.model_fields.get(key)
    if field is None:
        nearest = _nearest(key)
        return f"unknown setting {quoted(key)} ({place})" + (f"; did you mean {nearest}?" if nearest else "")
    allowed = fault["msg"] if fault["type"] == "allowed" else allowed_values(field)
    return f"{key} must be {allowed}, got {quoted(masked(key, value))} ({place})"


def _found(key: str, flags: Mapping[str, object], path: Path) -> tuple[object, str]:
    """Return the value of a key and the place where it was set."""
    # In the order of precedence, as in `settings_customise_sources`.
    if key in flags:
        return flags[key], flag_of(key)
    for variable, text in os.environ.items():
        if variable.upper() == PREFIX + key.upper() and text:
            return text, f"environment variable {variable}"
    text = path.read_text("utf-8")
    line = re.search(rf"^[ \t]*\[?[\"']?{re.escape(key)}\b", text, re.MULTILINE)
    where = f"{path}, line {text.count(chr(10), 0, line.start()) + 1}" if line else str(path)
    return tomllib.loads(text).get(key), where

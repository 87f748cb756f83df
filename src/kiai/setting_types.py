"""The types of settings: they validate a value, or turn a text of the environment into one.

The validators raise ValueError without a text: `settings.py` writes the message from the setting's `allowed`.
"""

import re
from pathlib import Path
from typing import Annotated, Final, Literal, get_args, get_origin
from urllib.parse import urlsplit

from annotated_types import Ge, Le
from pydantic import AfterValidator, BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from kiai.osu.durations import parse_duration
from kiai.redis_url import parse_redis_url
from kiai.server_settings import retention_counts


def no_flag(value: object) -> object:
    """Reject a flag where a number is expected."""
    if isinstance(value, bool):  # pydantic would accept true as 1
        raise ValueError
    return value


def words(value: object) -> object:
    """Split a text at commas and spaces."""
    return tuple(re.split(r"[,\s]+", value.strip(" ,"))) if isinstance(value, str) else value


def on_or_off(value: object) -> object:
    """Turn a flag into `on` or `off`: the setting was one in older versions."""
    text = str(value).lower()
    if text in ("true", "1", "yes"):
        return "on"
    return "off" if text in ("false", "0", "no") else text


def matching(pattern: str) -> AfterValidator:
    """Return a validator that accepts texts which match the pattern as a whole."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError
        return text

    return AfterValidator(check)


def url_of(*schemes: str) -> AfterValidator:
    """Return a validator that accepts URLs with one of the schemes."""

    def check(text: str) -> str:
        parts = urlsplit(text)
        # A URL for a Unix socket has its path in the query instead of a host: postgresql:///kiai?host=/run/postgresql
        if parts.scheme not in schemes or not (parts.hostname or parts.query):
            raise ValueError
        return text

    return AfterValidator(check)


def redis_url(text: str) -> str:
    """Accept the URL of a Redis server or of Sentinels."""
    try:
        parse_redis_url(text)
    except ValueError as error:
        raise PydanticCustomError("allowed", "{allowed}", {"allowed": str(error)}) from error
    return text


PLACE: Final = (
    r"(?:(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]{1,253}):)?"
    r"(?:[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
)
"""[HOST:]PORT; an IPv6 address has brackets."""

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_BUCKET: Final = re.compile(r"s3://[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9](/[^?#\x00-\x1f]*)?")


def folder_path(value: object) -> object:
    """Reject a URL: `Path` would turn it into a folder named `s3:`."""
    if _SCHEME.match(str(value)) or "\0" in str(value):
        raise ValueError
    return value


def file_place(text: str) -> str:
    """Accept a folder or an S3 bucket."""
    return text if _BUCKET.fullmatch(text) else str(Path(str(folder_path(text))))


def postgres_url(value: object) -> object:
    """Accept the short scheme, which many providers and tools use."""
    if isinstance(value, str) and value.startswith("postgres://"):
        return value.replace("postgres://", "postgresql://", 1)
    return value


BACKUP_LEAST_S: Final = 600
REHEARSAL_LEAST_S: Final = 86_400


def backup_time(text: str) -> str:
    """Accept the time between two backups."""
    if (parse_duration(text) or 0) < BACKUP_LEAST_S:
        raise ValueError
    return text


def rehearsal_time(text: str) -> str:
    """Accept the time between two rehearsals of a restore, or `off`."""
    if text != "off" and (parse_duration(text) or 0) < REHEARSAL_LEAST_S:
        raise ValueError
    return text


def retention(text: str) -> str:
    """Accept the numbers of backups that stay."""
    retention_counts(text)
    return text


Whole = Annotated[int, BeforeValidator(no_flag)]
Folder = Annotated[Path, BeforeValidator(folder_path)]


def extra_of(field: FieldInfo, name: str) -> str:
    """Return what the declaration of a setting was given under this name."""
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    return str(extra[name])


def allowed_values(field: FieldInfo) -> str:
    """Describe the allowed values."""
    if declared := extra_of(field, "allowed"):
        return declared
    if field.annotation is bool:
        return "on or off"
    if get_origin(field.annotation) is Literal:
        return "one of " + ", ".join(get_args(field.annotation))
    least = next(bound.ge for bound in field.metadata if isinstance(bound, Ge))
    most = next(bound.le for bound in field.metadata if isinstance(bound, Le))
    return f"a whole number from {least} to {most}"

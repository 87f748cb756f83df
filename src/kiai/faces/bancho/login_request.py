"""The parser of a login request, a text of three lines (docs/spec/sessions.md#login-request). Pure."""

import re
from datetime import date
from typing import Final

import msgspec

from kiai.errors import KiaiError
from kiai.staff.hardware import WINE

BODY_MAX: Final = 16 * 1024
NAME_MAX: Final = 64
OFFSET_MAX: Final = 24
HASH_FIELDS: Final = 5

_VERSION: Final = re.compile(r"b([0-9]{8})(?:\.([0-9]{1,8}))?(beta|cuttingedge|dev|tourney)?")
_PASSWORD: Final = re.compile(r"[0-9a-f]{32}")


class BadLogin(KiaiError):
    """An invalid login request. `word` is the `cho-token` header of the answer, `text` the player's notification."""

    def __init__(self, word: str, text: str) -> None:
        super().__init__(text)
        self.word = word
        self.text = text


class LoginRequest(msgspec.Struct, frozen=True):
    """A login request.

    `password_md5`: 32 lowercase hex digits, or "" if the client sent anything else. `build` is yyyymmdd. `utc_offset`
    is in hours. The hash fields are cut to 1,024 characters.
    """

    name: str
    password_md5: str
    version: str
    build: int
    stream: str
    utc_offset: int
    shows_city: bool
    client_hashes: str
    executable: str
    adapters: str
    adapters_md5: str
    uninstall_md5: str
    disk_md5: str
    friends_only_dms: bool

    @property
    def tournament(self) -> bool:
        """Whether the client is a tournament client."""
        return self.stream == "tourney"

    @property
    def wine(self) -> bool:
        """Whether the game runs under Wine, where all players have the same values in most hash fields."""
        return self.adapters == WINE


def read_login(body: bytes) -> LoginRequest:
    """Parse the body of a login request. Raises BadLogin."""
    if len(body) > BODY_MAX:
        raise BadLogin("invalid-request", "The login request is too long.")
    try:
        lines = body.decode().replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError:
        raise BadLogin("invalid-request", "The login request is invalid.") from None
    fields = lines[2].split("|") if len(lines) >= 3 else []
    if len(fields) < 5:
        raise BadLogin("invalid-request", "The login request is invalid.")
    version, offset, shows_city, hashes, friends_only = fields[:5]  # newer clients may append fields
    version_match = _VERSION.fullmatch(version) if len(version) <= NAME_MAX else None
    if version_match is None or not _is_date(version_match[1]):
        raise BadLogin("invalid-request", "Please restart your osu! and try again.")
    parts = hashes.removesuffix(":").split(":")
    if len(parts) != HASH_FIELDS:
        raise BadLogin("invalid-request", "Please restart your osu! and try again.")
    executable, adapters, adapters_md5, uninstall_md5, disk_md5 = (part[:1_024] for part in parts)
    # A real computer has a network adapter. Without one the hash would match all others without.
    if not any(adapters.split(".")):
        raise BadLogin("empty-adapters", "Please restart your osu! and try again.")
    return LoginRequest(
        name=lines[0],
        password_md5=lines[1] if _PASSWORD.fullmatch(lines[1]) else "",
        version=version,
        build=int(version_match[1]),
        stream=version_match[3] or "stable",
        utc_offset=_offset(offset),
        shows_city=shows_city == "1",
        client_hashes=hashes,
        executable=executable,
        adapters=adapters,
        adapters_md5=adapters_md5,
        uninstall_md5=uninstall_md5,
        disk_md5=disk_md5,
        friends_only_dms=friends_only == "1",
    )


def _is_date(digits: str) -> bool:
    try:
        date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return False
    return digits.isascii()


def _offset(text: str) -> int:
    """Return the offset in hours, -24 to 24, or 0 for a text that is not a number."""
    # One client sends ":" for UTC+10. The offset only decides what others see, so it must not prevent a login.
    if not re.fullmatch(r"[+-]?[0-9]{1,4}", text):
        return 0
    return max(-OFFSET_MAX, min(OFFSET_MAX, int(text)))

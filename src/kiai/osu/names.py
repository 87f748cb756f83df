"""The rules for new names, e-mail addresses and passwords (docs/spec/game-rules.md#names), and for names of clans.

Each `*_fault` returns None for a valid value. Otherwise it returns an English fragment that completes "must be", for
`Invalid`.
"""

import functools
import hashlib
import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

NAME_PATTERN: Final[str] = r"^[A-Za-z0-9_ \[\]-]{2,15}$"
"""The length and characters of a name, for `re.fullmatch` and JSON Schema; `name_fault` has the other rules."""

CLAN_NAME_PATTERN: Final[str] = r"^[A-Za-z0-9_ '\[\]-]{2,16}$"
CLAN_TAG_PATTERN: Final[str] = r"^[A-Za-z0-9_!-]{1,6}$"
"""The length and characters of a clan's name and tag; `clan_name_fault` has the other rules."""

EMAIL_MAX: Final = 254
PASSWORD_MIN: Final = 8
PASSWORD_MAX: Final = 32
"""The length of the password field in the client's login window."""

_NAME: Final = re.compile(NAME_PATTERN)
_NAME_CHARACTER: Final = re.compile(r"[A-Za-z0-9_ \[\]-]")
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+")
# Names that players would take for the server itself.
_RESERVED: Final = frozenset({"banchobot", "system", "everyone"})
_COMMON_PASSWORDS: Final = Path(__file__).with_name("common_passwords.bin")
_DIGEST_BYTES: Final = 8


def safe_name(name: str) -> str:
    """Return the form in which names are unique and looked up: lower case, with underscores for spaces."""
    return name.lower().replace(" ", "_")


def name_fault(name: str, *, reserved: Collection[str] = ()) -> str | None:
    """Return why a new account cannot have this name, or None. `reserved` are the safe names that the server adds."""
    if not 2 <= len(name) <= 15:
        return "2 to 15 characters long"
    if not _NAME.fullmatch(name):
        wrong = next(character for character in name if not _NAME_CHARACTER.fullmatch(character))
        return f"made of only A-Z, a-z, 0-9, spaces and _ [ ] -, without {_shown(wrong)}"
    if name.startswith(" ") or name.endswith(" ") or "  " in name:
        return "without spaces at the start or end and without two spaces in a row"
    if " " in name and "_" in name:  # as on the official server; IRC writes a space as `_`
        return "written with spaces or with underscores, not both"
    if name.isdigit():  # a text of digits is an id wherever a name or an id is accepted
        return "more than digits"
    safe = safe_name(name)
    # `deleteduser...` and `..._old` are the names of accounts that were deleted or lost their name.
    if safe in _RESERVED or safe in reserved or safe.startswith("deleteduser") or safe.endswith("_old"):
        return "a different name; this one is reserved"
    return None


def clan_name_fault(name: str) -> str | None:
    """Return why a clan cannot have this name, or None."""
    if not 2 <= len(name) <= 16:
        return "2 to 16 characters long"
    if not re.fullmatch(CLAN_NAME_PATTERN, name):
        return "made of only A-Z, a-z, 0-9, spaces and _ ' [ ] -"
    if name.startswith(" ") or name.endswith(" ") or "  " in name:
        return "without spaces at the start or end and without two spaces in a row"
    if " " in name and "_" in name:
        return "written with spaces or with underscores, not both"
    if safe_name(name) in _RESERVED:
        return "a different name; this one is reserved"
    return None


def clan_tag_fault(tag: str) -> str | None:
    """Return why a clan cannot have this tag, or None. Lower case is allowed, because tags are stored in upper case."""
    return None if re.fullmatch(CLAN_TAG_PATTERN, tag) else "1 to 6 characters out of A-Z, 0-9 and - _ !"


def _shown(character: str) -> str:
    """Return a character for a message: itself if it is visible, otherwise its code."""
    return f'"{character}"' if character.isprintable() and not character.isspace() else f"U+{ord(character):04X}"


def email_fault(email: str) -> str | None:
    """Return why this is not an e-mail address, or None. The caller checks that the address is not in use."""
    if len(email) > EMAIL_MAX:
        return f"at most {EMAIL_MAX} characters long"
    if not _EMAIL.fullmatch(email) or not email.isprintable():
        return "an address like name@example.com"
    return None


def password_fault(password: str, *, name: str, email: str) -> str | None:
    """Return why this password is too weak or cannot be typed into the client, or None."""
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        return f"{PASSWORD_MIN} to {PASSWORD_MAX} characters long"
    if not password.isprintable():
        return "without control characters"
    if len(set(password)) <= 3:
        return "made of more than 3 different characters"
    lowered = password.lower()
    if safe_name(password) == safe_name(name) or lowered == email.lower():
        return "different from the name and the e-mail address"
    if is_common_password(password):
        return "less common; this one is easy to guess"
    return None


def is_common_password(password: str) -> bool:
    """Return whether this is one of about 10,000 frequent passwords, in any case."""
    wanted = hashlib.sha256(password.lower().encode()).digest()[:_DIGEST_BYTES]
    return wanted in _common_digests()


@functools.cache
def _common_digests() -> frozenset[bytes]:
    """Return the first 8 bytes of the SHA-256 of each frequent password of 8 characters or more, in lower case.

    The list has the most frequent passwords of the project zxcvbn (MIT licence) and some with the name of the game. It
    is stored as hashes, because many of the words do not belong in a repository.
    """
    data = _COMMON_PASSWORDS.read_bytes()
    return frozenset(data[at : at + _DIGEST_BYTES] for at in range(0, len(data), _DIGEST_BYTES))


def password_md5(password: str) -> str:
    """Return the md5 in lower-case hex. The client sends this instead of the password."""
    return hashlib.md5(password.encode(), usedforsecurity=False).hexdigest()

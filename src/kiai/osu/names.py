"""What a new name, e-mail address and password must fulfil (docs/spec/game-rules.md#names).

Each `*_fault` answers None, or what is wrong as an English fragment that completes "must be" (as `Invalid` has it).
"""

import hashlib
import re
from collections.abc import Collection
from typing import Final

NAME_PATTERN: Final[str] = r"^[A-Za-z0-9_ \[\]-]{2,15}$"
"""Length and alphabet of a name, for `re.fullmatch` and JSON Schema; the other rules are in `name_fault`."""

EMAIL_MAX: Final = 254
PASSWORD_MIN: Final = 8
PASSWORD_MAX: Final = 32
"""What the client's login window takes."""

_NAME: Final = re.compile(NAME_PATTERN)
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+")
_RESERVED: Final = frozenset({"banchobot", "system", "everyone"})
_COMMON: Final = """
12345678 123456789 1234567890 0123456789 012345678 87654321 987654321 0987654321 123123123 12341234 11223344 123qweasd
1q2w3e4r 1q2w3e4r5t 1qaz2wsx 1qazxsw2 1qaz2wsx3edc q1w2e3r4 q1w2e3r4t5 qazwsxedc zaq12wsx qwer1234 1234qwer qwertyui
qwertyuiop qwerty12 qwerty123 qwerty1234 qwerty12345 123456qwerty qweasdzxc asdfghjk asdfghjkl zxcvbnm123 asdf1234
password password1 password12 password123 password1234 passw0rd p@ssw0rd p@ssword pa55word mypassword letmein1 changeme
abcd1234 abc12345 abcdefgh abcdefg1 a1b2c3d4 a1234567 a12345678 aa123456 aa12345678 test1234 welcome1 admin123 admin1234
iloveyou iloveyou1 sunshine princess princess1 football football1 baseball baseball1 superman starwars computer whatever
trustno1 internet michelle jennifer charlie1 dragon123 monkey123 master123 shadow123 liverpool chocolate butterfly
spiderman pokemon1 pokemon123 minecraft minecraft1 naruto123 administrator osu12345 osu123456 osugame1 osugame123
147258369 159357456 741852963 789456123 963852741 1029384756 135792468 19841984 19951995 qwe123qwe asd123asd zxc123zxc
"""
_COMMON_PASSWORDS: Final = frozenset(_COMMON.split())


def safe_name(name: str) -> str:
    """The form in which names are unique and looked up: lower case, spaces as underscores."""
    return name.lower().replace(" ", "_")


def name_fault(name: str, *, reserved: Collection[str] = ()) -> str | None:
    """Why nobody may newly take this name; None if it is fine. `reserved` holds further safe names of the house."""
    if not 2 <= len(name) <= 15:
        return "2 to 15 characters long"
    if not _NAME.fullmatch(name):
        return "made of A-Z, a-z, 0-9, spaces and _ [ ] - alone"
    if name.startswith(" ") or name.endswith(" ") or "  " in name:
        return "free of spaces at its ends and of two spaces in a row"
    if " " in name and "_" in name:
        return "written with spaces or with underscores, not both"
    if name.isdigit():
        return "more than digits"
    safe = safe_name(name)
    if safe in _RESERVED or safe in reserved or safe.startswith("deleteduser") or safe.endswith("_old"):
        return "another one, as this one is reserved"
    return None


def email_fault(email: str) -> str | None:
    """Why this cannot be an e-mail address; None if it can. Being unique, regardless of case, is the caller's rule."""
    if len(email) > EMAIL_MAX:
        return f"at most {EMAIL_MAX} characters long"
    if not _EMAIL.fullmatch(email) or not email.isprintable():
        return "an address like name@example.com"
    return None


def password_fault(password: str, *, name: str, email: str) -> str | None:
    """Why this password is too weak, or cannot be typed into the client; None if it is fine."""
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        return f"{PASSWORD_MIN} to {PASSWORD_MAX} characters long"
    if not password.isprintable():
        return "free of control characters"
    if len(set(password)) <= 3:
        return "made of more than 3 different characters"
    lowered = password.lower()
    if safe_name(password) == safe_name(name) or lowered == email.lower():
        return "something else than the name or the e-mail address"
    if lowered in _COMMON_PASSWORDS:
        return "less common: this one would be guessed"
    return None


def password_md5(password: str) -> str:
    """The md5 in lower-case hex, which is all that the client ever sends of a password."""
    return hashlib.md5(password.encode(), usedforsecurity=False).hexdigest()

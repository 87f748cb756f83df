"""The values of entry: where a request comes from, and what happens to the security of an account."""

import hashlib
from enum import StrEnum
from typing import Final

import msgspec

from kiai.errors import Refused

AGENT_MAX: Final = 256
ADDRESS_MAX: Final = 64


class Origin(msgspec.Struct, frozen=True):
    """Where an act comes from: the interface (`web`, `game`, `api`, `cli`), the address and the browser.

    `language` is that of the visitor on the website, otherwise empty.
    """

    source: str
    address: str = ""
    agent: str = ""
    language: str = ""


OPERATOR_ORIGIN: Final = Origin("cli")


class LoginEvent(StrEnum):
    """An entry of the login list of an account that is not a change."""

    LOGIN = "login"
    WRONG_PASSWORD = "wrong_password"  # noqa: S105 (the name of an event)
    WRONG_CODE = "wrong_code"  # the password was right, the second factor was not
    BANNED = "banned"


class Change(StrEnum):
    """A change of an account's security. The value is the action in the audit log."""

    REGISTERED = "register"
    PASSWORD = "password"  # noqa: S105 (the name of an action)
    PASSWORD_RESET = "password_reset"  # noqa: S105 (the name of an action)
    EMAIL = "email"
    EMAIL_VERIFIED = "email_verified"
    AUTHENTICATOR_ON = "authenticator_on"
    AUTHENTICATOR_OFF = "authenticator_off"
    RECOVERY_CODES = "recovery_codes"
    RECOVERY_CODE_USED = "recovery_code_used"
    PASSKEY_ADDED = "passkey_added"
    PASSKEY_REMOVED = "passkey_removed"
    SECOND_FACTOR_RESET = "second_factor_reset"
    API_KEY_CREATED = "api_key_created"
    API_KEY_REVOKED = "api_key_revoked"
    API_KEY_RESET = "apikey_reset"  # all keys were replaced by a new one
    IRC_PASSWORD = "irc_password"  # noqa: S105 (the name of an action)
    SESSIONS_ENDED = "sessions_ended"


class AccountBanned(Refused):
    """The account is banned. `reason` is the reason that staff gave, or an empty text."""


class WrongCode(Refused):
    """The code of the second factor is wrong, used or expired."""

    def __init__(self) -> None:
        super().__init__("the code is wrong, or it was used already")


class TooManyCodes(Refused):
    """Too many wrong codes were entered. The next one is allowed in `retry_s` seconds."""

    def __init__(self, retry_s: float) -> None:
        super().__init__(f"too many wrong codes; the next is allowed in {retry_s:.0f} s")
        self.retry_s = retry_s


def token_hash(token: str) -> bytes:
    """Return the hash under which a random token or code is stored."""
    # A plain hash is enough: a random text of 80 bits or more cannot be guessed, unlike a password.
    return hashlib.sha256(token.encode("utf-8", "backslashreplace")).digest()

"""The rows of the lists on the page of security: sessions, and logins with changes."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from kiai.accounts.geography import UNKNOWN
from kiai.accounts.model import GameLogin
from kiai.entry.history import AccountEvent
from kiai.entry.model import Change, LoginEvent
from kiai.faces.site.locale import Locale

ROWS_MAX: Final = 40

# In this order: Edge and Opera name Chrome, too, and Chrome names Safari.
_BROWSERS: Final = (
    ("Edge", re.compile(r"Edg(?:A|iOS)?/")),
    ("Opera", re.compile(r"OPR/|Opera")),
    ("Samsung Internet", re.compile(r"SamsungBrowser/")),
    ("Firefox", re.compile(r"Firefox/|FxiOS/")),
    ("Chrome", re.compile(r"Chrome/|CriOS/|Chromium/")),
    ("Safari", re.compile(r"Safari/")),
)
_SYSTEMS: Final = (
    ("Windows", re.compile(r"Windows")),
    ("Android", re.compile(r"Android")),
    ("iPhone", re.compile(r"iPhone")),
    ("iPad", re.compile(r"iPad")),
    ("macOS", re.compile(r"Macintosh|Mac OS X")),
    ("Linux", re.compile(r"Linux|X11")),
)


class Browser(msgspec.Struct, frozen=True):
    """A browser and its system, as far as the User-Agent tells. Empty texts are not known."""

    name: str
    system: str


class SessionRow(msgspec.Struct, frozen=True):
    """A session of the website. `current` is the session of the visitor."""

    id: str
    browser: Browser
    address: str
    country: str
    created_at_ms: int
    seen_at_ms: int
    current: bool


class LoginRow(msgspec.Struct, frozen=True):
    """A login, a failed one, or a change of security. `what` is a sentence; `source` is `web`, `game`, `api`, `cli`."""

    at_ms: int
    what: str
    failed: bool
    source: str
    address: str
    country: str
    browser: Browser

    @classmethod
    def merged(
        cls,
        events: Sequence[AccountEvent],
        logins: Sequence[GameLogin],
        countries: Mapping[str, str],
        text_of: Callable[[str], str],
    ) -> "list[LoginRow]":
        """Return the newest 40 rows of both lists, newest first."""
        rows = [
            cls(
                at_ms=event.at_ms,
                what=text_of(event.kind),
                failed=bool(event.failed),
                source=event.source,
                address=event.address,
                country=countries.get(event.address, UNKNOWN),
                browser=browser_of(event.agent),
            )
            for event in events
        ]
        rows += [
            cls(
                at_ms=login.at_ms,
                what=text_of(LoginEvent.LOGIN),
                failed=False,
                source="game",
                address=login.address,
                country=countries.get(login.address, UNKNOWN),
                browser=Browser("", ""),
            )
            for login in logins
        ]
        return sorted(rows, key=lambda row: row.at_ms, reverse=True)[:ROWS_MAX]


def browser_of(agent: str) -> Browser:
    """Return the browser and the system that a User-Agent names."""

    def first(known: Sequence[tuple[str, re.Pattern[str]]]) -> str:
        return next((name for name, pattern in known if pattern.search(agent)), "")

    return Browser(first(_BROWSERS), first(_SYSTEMS))


def kind_text(locale: Locale, kind: str) -> str:
    """Return the sentence for an event of the history."""
    text = locale.text
    sentences = {
        LoginEvent.LOGIN: text("Logged in"),
        LoginEvent.WRONG_PASSWORD: text("Wrong password"),
        LoginEvent.WRONG_CODE: text("Right password, wrong second factor"),
        LoginEvent.BANNED: text("Refused: the account is banned"),
        Change.REGISTERED: text("Account created"),
        Change.PASSWORD: text("Password changed"),
        Change.PASSWORD_RESET: text("New password set with a reset link"),
        Change.EMAIL: text("E-mail address changed"),
        Change.EMAIL_VERIFIED: text("E-mail address confirmed"),
        Change.AUTHENTICATOR_ON: text("Authenticator turned on"),
        Change.AUTHENTICATOR_OFF: text("Authenticator turned off"),
        Change.RECOVERY_CODES: text("New recovery codes created"),
        Change.RECOVERY_CODE_USED: text("Recovery code used"),
        Change.PASSKEY_ADDED: text("Passkey added"),
        Change.PASSKEY_REMOVED: text("Passkey removed"),
        Change.SECOND_FACTOR_RESET: text("Second factor removed by the staff"),
        Change.API_KEY_CREATED: text("API key created"),
        Change.API_KEY_RESET: text("API key created"),
        Change.API_KEY_REVOKED: text("API key revoked"),
        Change.IRC_PASSWORD: text("IRC password changed"),
        Change.SESSIONS_ENDED: text("Sessions ended"),
    }
    return sentences.get(kind, kind)  # type: ignore[call-overload,no-any-return]

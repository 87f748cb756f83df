"""The mails of entry, in the language of the account.

The texts are files in `letters/` and, in other languages, in `letters/{language}/`: a line with the subject, an empty
line, the text. `changes.txt` has a line for each change. A link has its own line, so that every mail program finds its
end.
"""

import functools
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Final

from kiai.accounts import Account
from kiai.entry.model import Change, Origin
from kiai.mailing import Message

FOLDER: Final = Path(__file__).with_name("letters")
LANGUAGES: Final = ("de", "es", "pl", "ja")
"""The languages of mails besides English."""
KINDS: Final = ("reset", "verify", "new_email", "changed")

WHAT_CHANGED: Final = frozenset(
    {
        Change.PASSWORD,
        Change.PASSWORD_RESET,
        Change.EMAIL,
        Change.EMAIL_VERIFIED,
        Change.AUTHENTICATOR_ON,
        Change.AUTHENTICATOR_OFF,
        Change.RECOVERY_CODES,
        Change.RECOVERY_CODE_USED,
        Change.PASSKEY_ADDED,
        Change.PASSKEY_REMOVED,
        Change.SECOND_FACTOR_RESET,
        Change.API_KEY_CREATED,
        Change.API_KEY_REVOKED,
        Change.IRC_PASSWORD,
    }
)
"""The changes that send a mail."""
BY_THE_SERVER: Final = "server"
"""The line of `changes.txt` for an act without an address."""


class Letters:
    """Writes the mails of one server."""

    def __init__(self, title: str, site_url: str) -> None:
        self._title = title
        self._site_url = site_url

    def reset(self, account: Account, token: str) -> Message:
        """Write the mail with the link for a new password."""
        return self._letter("reset", account, link=self.link(f"reset/{token}"))

    def verify(self, account: Account, token: str, *, email: str = "") -> Message:
        """Write the mail with the link that confirms an address: `email`, or that of the account."""
        return self._letter("verify", account, to=email, link=self.link(f"verify/{token}"))

    def new_email(self, account: Account, new: str) -> Message:
        """Write the mail to the old address when a player asks for another one."""
        return self._letter("new_email", account, new=new, link=self.link("settings/security"))

    def changed(self, account: Account, change: Change, origin: Origin, at_ms: int) -> Message:
        """Write the mail about a change of security."""
        at = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
        lines = changes(account.language)
        return self._letter(
            "changed",
            account,
            what=lines[change.value],
            at=at,
            address=origin.address or lines[BY_THE_SERVER],
            link=self.link("settings/security"),
        )

    def link(self, path: str) -> str:
        """Return the URL of a page of the website."""
        return f"{self._site_url}/{path}"

    def _letter(self, kind: str, account: Account, *, to: str = "", **values: str) -> Message:
        subject, text = _template(kind, account.language)
        values |= {"title": self._title, "name": account.name}
        return Message(to or account.email, subject.substitute(values), text.substitute(values))


@functools.cache
def _template(kind: str, language: str) -> tuple[Template, Template]:
    subject, _, text = _read(f"{kind}.txt", language).partition("\n\n")
    return Template(subject), Template(text)


@functools.cache
def changes(language: str) -> Mapping[str, str]:
    """Return the sentences about changes in a language, by the value of the change."""
    lines = _read("changes.txt", language).splitlines()
    return dict(line.split(": ", 1) for line in lines if line)


def _read(name: str, language: str) -> str:
    folder = FOLDER / language if language in LANGUAGES else FOLDER
    return (folder / name).read_text("utf-8")

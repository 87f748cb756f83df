"""The mails of entry. The texts are files in `letters/`: a line with the subject, an empty line, the text.

A link has its own line, so that every mail program finds its end.
"""

import functools
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Final

from kiai.entry.model import Change, Origin
from kiai.mailing import Message

FOLDER: Final = Path(__file__).with_name("letters")

WHAT_CHANGED: Final = {
    Change.PASSWORD: "The password was changed.",
    Change.PASSWORD_RESET: "A new password was set with a reset link.",
    Change.EMAIL: "The e-mail address was changed.",
    Change.EMAIL_VERIFIED: "The e-mail address was confirmed.",
    Change.AUTHENTICATOR_ON: "An authenticator app was turned on.",
    Change.AUTHENTICATOR_OFF: "The authenticator app was turned off.",
    Change.RECOVERY_CODES: "New recovery codes were created.",
    Change.RECOVERY_CODE_USED: "A recovery code was used to log in.",
    Change.PASSKEY_ADDED: "A passkey was added.",
    Change.PASSKEY_REMOVED: "A passkey was removed.",
    Change.SECOND_FACTOR_RESET: "The second factor was removed by the staff.",
    Change.API_KEY_CREATED: "An API key was created.",
    Change.API_KEY_REVOKED: "An API key was revoked.",
    Change.IRC_PASSWORD: "The IRC password was changed.",
}
"""The sentences of mails about changes. Other changes send no mail."""


class Letters:
    """Writes the mails of one server."""

    def __init__(self, title: str, site_url: str) -> None:
        self._title = title
        self._site_url = site_url

    def reset(self, name: str, email: str, token: str) -> Message:
        """Write the mail with the link for a new password."""
        return self._letter("reset", email, name=name, link=self.link(f"reset/{token}"))

    def verify(self, name: str, email: str, token: str) -> Message:
        """Write the mail with the link that confirms an address."""
        return self._letter("verify", email, name=name, link=self.link(f"verify/{token}"))

    def new_email(self, name: str, old: str, new: str) -> Message:
        """Write the mail to the old address when a player asks for another one."""
        return self._letter("new_email", old, name=name, new=new, link=self.link("settings/security"))

    def changed(self, name: str, email: str, change: Change, origin: Origin, at_ms: int) -> Message:
        """Write the mail about a change of security."""
        at = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return self._letter(
            "changed",
            email,
            name=name,
            what=WHAT_CHANGED[change],
            at=at,
            address=origin.address or "the server itself",
            link=self.link("settings/security"),
        )

    def link(self, path: str) -> str:
        """Return the URL of a page of the website."""
        return f"{self._site_url}/{path}"

    def _letter(self, kind: str, email: str, **values: str) -> Message:
        subject, text = _template(kind)
        values["title"] = self._title
        return Message(email, subject.substitute(values), text.substitute(values))


@functools.cache
def _template(kind: str) -> tuple[Template, Template]:
    subject, _, text = (FOLDER / f"{kind}.txt").read_text("utf-8").partition("\n\n")
    return Template(subject), Template(text)

"""A mail server for tests: it stores the mails that it receives, and refuses some on request."""

import contextlib
import email
import email.policy
import re
from collections.abc import Iterator
from email.message import EmailMessage

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from tests.patience import wait_until


class MailServer:
    """A mail server on a free port. `refusals` are the answers for the next mails, before it accepts again."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.refusals: list[str] = []
        self._controller = Controller(self, hostname="127.0.0.1", port=0)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Receive one mail. aiosmtpd calls this in a thread of its own."""
        if self.refusals:
            return self.refusals.pop(0)
        assert isinstance(envelope.content, bytes)
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"

    @property
    def url(self) -> str:
        """The value of the setting `smtp`."""
        return f"smtp://127.0.0.1:{self._controller.port}"

    @contextlib.contextmanager
    def running(self) -> Iterator["MailServer"]:
        """Run the server until the end of the block."""
        self._controller.port = _free_port()
        self._controller.start()
        try:
            yield self
        finally:
            self._controller.stop(no_assert=True)

    def wait_for(self, to: str, subject: str) -> EmailMessage:
        """Return the newest mail to this address whose subject contains a text; wait until it arrives."""
        wait_until(
            lambda: bool(self.to(to, subject)),
            within_s=15.0,
            what=lambda: f"no mail {subject!r} to {to}: {[(mail['To'], mail['Subject']) for mail in self.mails]}",
        )
        return self.to(to, subject)[-1]

    def to(self, address: str, subject: str = "") -> list[EmailMessage]:
        """Return the mails to this address whose subject contains a text."""
        return [mail for mail in self.mails if mail["To"] == address and subject in mail["Subject"]]


def link_in(mail: EmailMessage) -> str:
    """Return the link on its own line."""
    links = re.findall(r"^(https?://\S+)\s*$", mail.get_content(), re.MULTILINE)
    assert len(links) == 1, mail.get_content()
    return str(links[0])


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""The connection to the operator's SMTP server."""

from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import unquote, urlsplit

import msgspec

from kiai.errors import KiaiError, Unavailable
from kiai.networks import is_loopback

if TYPE_CHECKING:
    from aiosmtplib import SMTP

TIMEOUT_S: Final = 20.0
PORTS: Final = {"smtp": 587, "smtps": 465}
PERMANENT: Final = range(500, 600)


class MailRefused(KiaiError):
    """The mail server refused one mail. A retry does not help if the failure is `permanent`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the mail server answered {code} {reason}")
        self.permanent = code in PERMANENT


class SmtpAddress(msgspec.Struct, frozen=True):
    """Where mails are sent to, from a URL: `smtp://user:password@host:587` or `smtps://...`."""

    host: str
    port: int
    tls: bool  # from the first byte; otherwise STARTTLS if the server offers it
    user: str | None
    password: str | None

    @classmethod
    def of(cls, url: str) -> Self:
        """Parse a URL that the settings have checked."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        return cls(
            host=parts.hostname,
            port=parts.port or PORTS[parts.scheme],
            tls=parts.scheme == "smtps",
            user=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
        )


class SmtpConnection:
    """A connection for a batch of mails: `async with SmtpConnection(address, sender) as connection`.

    Raises Unavailable when the server cannot be reached or does not accept the login.
    """

    def __init__(self, address: SmtpAddress, sender: str) -> None:
        self._address = address
        self._sender = sender
        self._client: SMTP | None = None

    async def __aenter__(self) -> Self:
        # Imported at the first mail: many servers send none.
        from aiosmtplib import SMTP, SMTPException

        address = self._address
        client = SMTP(
            hostname=address.host,
            port=address.port,
            username=address.user,
            password=address.password,
            use_tls=address.tls,
            # A mail server on this machine rarely has a certificate for `localhost`, and nothing leaves the machine.
            validate_certs=not (address.host == "localhost" or is_loopback(address.host)),
            timeout=TIMEOUT_S,
        )
        try:
            await client.connect()
        except (SMTPException, OSError, ValueError) as error:
            raise Unavailable("mail server", str(error)) from error
        self._client = client
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._client is not None
        self._client.close()

    async def send(self, recipient: str, subject: str, text: str) -> None:
        """Send one mail. Raises MailRefused for this mail, and Unavailable when the connection is lost."""
        from aiosmtplib import SMTPException, SMTPRecipientsRefused, SMTPResponseException

        assert self._client is not None
        mail = EmailMessage()
        mail["From"] = self._sender
        mail["To"] = recipient
        mail["Subject"] = subject
        mail["Date"] = formatdate(usegmt=True)
        mail["Message-ID"] = make_msgid(domain=self._sender.rpartition("@")[2])
        mail["Auto-Submitted"] = "auto-generated"  # so that holiday notices do not answer
        mail.set_content(text, cte="8bit")
        try:
            await self._client.send_message(mail)
        except SMTPRecipientsRefused as error:
            first = error.recipients[0]
            raise MailRefused(first.code, first.message) from error
        except SMTPResponseException as error:
            raise MailRefused(error.code, error.message) from error
        except (SMTPException, OSError) as error:
            raise Unavailable("mail server", str(error)) from error

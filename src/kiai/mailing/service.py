"""The queue of mails: a request inserts a row in its transaction, and a job sends it.

So no page waits for the mail server, and a mail survives a restart. Rows are encrypted, because a mail contains an
address and may contain a link that is a secret.
"""

from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, func, insert, select, update

from kiai.clock import Clock
from kiai.logs import get_logger
from kiai.mailing.smtp import MailRefused, SmtpAddress, SmtpConnection
from kiai.secret_box import SecretBox
from kiai.storage.port import Command, Database, Query, Transaction, scalar
from kiai.storage.tables import outgoing_mails

WAITING_MAX: Final = 10_000
SENT_AT_ONCE: Final = 20  # over one connection
RETRY_MS: Final = 60_000  # after the first failure; doubles after each further one
RETRY_MAX_MS: Final = 3_600_000
GIVEN_UP_MS: Final = 24 * 3_600_000
PURPOSE: Final = "mail"

_WAITING = Query(
    select(func.count()).select_from(select(outgoing_mails.c.id).limit(WAITING_MAX).subquery()),
    scalar,
    scans="the table is bounded by WAITING_MAX",
)
_ADD = Command(
    insert(outgoing_mails).values({name: bindparam(name) for name in ("message", "created_at_ms", "retry_at_ms")})
)
_DUE = Query(
    select(outgoing_mails.c.id, outgoing_mails.c.message, outgoing_mails.c.created_at_ms, outgoing_mails.c.tries)
    .where(outgoing_mails.c.retry_at_ms <= bindparam("now_ms"))
    .order_by(outgoing_mails.c.retry_at_ms)
    .limit(SENT_AT_ONCE),
    lambda *row: row,
)
_REMOVE = Command(delete(outgoing_mails).where(outgoing_mails.c.id == bindparam("mail_id")))
_LATER = Command(
    update(outgoing_mails)
    .where(outgoing_mails.c.id == bindparam("mail_id"))
    .values(tries=outgoing_mails.c.tries + 1, retry_at_ms=bindparam("again_ms"))
)


class Message(msgspec.Struct, frozen=True):
    """A mail in plain text."""

    to: str
    subject: str
    text: str


class Mailing:
    """Queues and sends mails. Without `smtp` nothing is queued.

    `outcomes` counts mails by result, for the metrics: `sent`, `retried`, `refused`, `expired`, `dropped`.
    """

    def __init__(self, database: Database, clock: Clock, box: SecretBox, smtp: str | None, sender: str) -> None:
        self._database = database
        self._clock = clock
        self._box = box
        self._address = None if smtp is None else SmtpAddress.of(smtp)
        self._sender = sender
        self.outcomes: dict[str, int] = {}

    @property
    def is_on(self) -> bool:
        """Whether the operator has configured a mail server."""
        return self._address is not None

    async def enqueue(self, tx: Transaction, message: Message) -> bool:
        """Queue a mail in the caller's transaction, and return whether it will be sent.

        Without a mail server, and when 10,000 mails wait, the mail is dropped.
        """
        if self._address is None:
            return False
        if (await tx.one(_WAITING) or 0) >= WAITING_MAX:
            self._count("dropped")
            get_logger("mail").error("mail dropped", why=f"{WAITING_MAX} mails wait for the mail server")
            return False
        now = self._clock.now_ms()
        sealed = self._box.seal(msgspec.json.encode(message), PURPOSE)
        await tx.run(_ADD, message=sealed, created_at_ms=now, retry_at_ms=now)
        return True

    async def waiting(self) -> int:
        """Return the number of mails that wait, counted up to 10,000."""
        return await self._database.one(_WAITING) or 0

    async def deliver(self) -> int:
        """Send the mails that are due, and return their number. A job calls this.

        Raises Unavailable when the mail server cannot be reached; all mails then wait. A mail that is refused
        temporarily is tried again after 1, 2, 4 ... minutes, and is deleted after a day.
        """
        sent = 0
        while due := await self._database.all(_DUE, now_ms=self._clock.now_ms()):
            due = [row for row in due if not await self._is_expired(*row)]
            if due and self._address is not None:
                sent += await self._send(self._address, due)
            if self._address is None:
                break
        return sent

    async def _is_expired(self, mail_id: int, message: bytes, created_at_ms: int, tries: int) -> bool:
        if self._clock.now_ms() - created_at_ms < GIVEN_UP_MS:
            return False
        self._count("expired")
        get_logger("mail").error("mail given up", mail=mail_id, tries=tries)
        await self._remove(mail_id)
        return True

    async def _send(self, address: SmtpAddress, rows: list[tuple[int, bytes, int, int]]) -> int:
        sent = 0
        async with SmtpConnection(address, self._sender) as connection:
            for mail_id, sealed, _, tries in rows:
                plain = self._box.open(sealed, PURPOSE)
                if plain is None:  # the key file was replaced: no retry can read the mail
                    self._count("dropped")
                    get_logger("mail").error("mail cannot be read", mail=mail_id)
                    await self._remove(mail_id)
                    continue
                message = msgspec.json.decode(plain, type=Message)
                try:
                    await connection.send(message.to, message.subject, message.text)
                except MailRefused as error:
                    await self._on_refusal(mail_id, tries, error)
                    continue
                # A process that dies between the two lines sends the mail twice, which is better than not at all.
                await self._remove(mail_id)
                self._count("sent")
                sent += 1
        return sent

    async def _on_refusal(self, mail_id: int, tries: int, error: MailRefused) -> None:
        if error.permanent:
            self._count("refused")
            get_logger("mail").warning("mail refused", mail=mail_id, exc_info=error)
            await self._remove(mail_id)
            return
        self._count("retried")
        again_ms = self._clock.now_ms() + min(RETRY_MS * 2 ** min(tries, 10), RETRY_MAX_MS)

        async def body(tx: Transaction) -> None:
            await tx.run(_LATER, mail_id=mail_id, again_ms=again_ms)

        await self._database.transaction(body)

    async def _remove(self, mail_id: int) -> None:
        async def body(tx: Transaction) -> None:
            await tx.run(_REMOVE, mail_id=mail_id)

        await self._database.transaction(body)

    def _count(self, outcome: str) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

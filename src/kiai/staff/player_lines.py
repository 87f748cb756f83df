"""Lines of the bot to players whom an act concerns, delivered after the commit by whichever process serves the game.

A line about a state is lost if the player is offline, because the login and the website show the state. An `as_mail`
line becomes mail, which the player gets at the next login.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from kiai.accounts import Accounts, Viewer
from kiai.chat.mail import Mail
from kiai.errors import NotFound
from kiai.realtime.port import BOT_ID, Realtime
from kiai.storage.outbox import enqueue, enqueue_each
from kiai.storage.port import Transaction

KIND: Final = "bot_lines"
"""The kind of the rows in the outbox."""


class _Line(msgspec.Struct, frozen=True, array_like=True):
    user_id: int
    text: str
    as_mail: bool = False


async def enqueue_line(tx: Transaction, user_id: int, at_ms: int, text: str, *, as_mail: bool = False) -> None:
    """Send a line of the bot to a player after the commit."""
    await enqueue(tx, KIND, msgspec.json.encode(_Line(user_id, text, as_mail)).decode(), at_ms)


async def enqueue_lines(tx: Transaction, user_ids: Sequence[int], at_ms: int, text: str) -> None:
    """Send a line of the bot to several players after the commit."""
    payloads = [msgspec.json.encode(_Line(user_id, text)).decode() for user_id in user_ids]
    await enqueue_each(tx, KIND, payloads, at_ms)


class PlayerLines:
    """Delivers the lines. `notify` sends a text to (id, name) in the bot's name."""

    def __init__(
        self,
        accounts: Accounts,
        realtime: Realtime,
        mail: Mail,
        notify: Callable[[int, str, str], Awaitable[object]],
    ) -> None:
        self._accounts = accounts
        self._realtime = realtime
        self._mail = mail
        self._notify = notify

    async def deliver(self, payloads: Sequence[str]) -> None:
        """Send the lines. The outbox calls this, possibly twice."""
        for payload in payloads:
            line = msgspec.json.decode(payload, type=_Line)
            await self.send(line.user_id, line.text, as_mail=line.as_mail)

    async def send(self, user_id: int, text: str, *, as_mail: bool) -> None:
        """Send a line now. For a player who is offline, an `as_mail` line is stored as mail of the bot."""
        name = await self._name_of(user_id)
        if name is None:
            return
        if as_mail and not await self._realtime.sessions_of(user_id):
            await self._mail.store(BOT_ID, user_id, text, delivered=False)
        else:
            await self._notify(user_id, name, text)

    async def _name_of(self, user_id: int) -> str | None:
        try:
            user = await self._accounts.user(Viewer(user_id=user_id), id=user_id)
        except NotFound:
            return None
        return None if user.deleted_at_ms is not None else user.name

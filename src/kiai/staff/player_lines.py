"""Lines of the bot to the player whom an act concerns, delivered after the commit by whichever process serves the game.

They are lost if the player is offline: the login and the website show the state.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from kiai.accounts import Accounts, Viewer
from kiai.errors import NotFound
from kiai.storage.outbox import enqueue
from kiai.storage.port import Transaction

KIND: Final = "bot_lines"
"""The kind of the rows in the outbox."""


class _Line(msgspec.Struct, frozen=True, array_like=True):
    user_id: int
    text: str


async def enqueue_line(tx: Transaction, user_id: int, at_ms: int, text: str) -> None:
    """Send a line of the bot to a player after the commit."""
    await enqueue(tx, KIND, msgspec.json.encode(_Line(user_id, text)).decode(), at_ms)


class PlayerLines:
    """Delivers the lines. `notify` sends a text to (id, name) in the bot's name."""

    def __init__(self, accounts: Accounts, notify: Callable[[int, str, str], Awaitable[object]]) -> None:
        self._accounts = accounts
        self._notify = notify

    async def deliver(self, payloads: Sequence[str]) -> None:
        """Send the lines. The outbox calls this, possibly twice."""
        for payload in payloads:
            line = msgspec.json.decode(payload, type=_Line)
            try:
                user = await self._accounts.user(Viewer(user_id=line.user_id), id=line.user_id)
            except NotFound:
                continue
            await self._notify(user.id, user.name, line.text)

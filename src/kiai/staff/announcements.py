"""Texts of staff to players: notifications in the game, and lines in #announce."""

from typing import Final

from kiai.accounts import User
from kiai.chat.service import Chat
from kiai.clock import Clock
from kiai.errors import Refused
from kiai.presence import Presence
from kiai.realtime.port import Realtime
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.storage.port import Transaction

CHANNEL: Final = "#announce"
ALERTS: Final = "alerts.send"
POSTS: Final = "announce.post"
ALERT_EVERY_S: Final = 10.0
"""The time between two notifications to all players."""
REASON_MAX: Final = 500


class Announcements:
    """Sends texts, and writes an audit row for each. Every method raises NotAllowed."""

    def __init__(self, authority: Authority, realtime: Realtime, presence: Presence, chat: Chat, clock: Clock) -> None:
        self._authority = authority
        self._realtime = realtime
        self._presence = presence
        self._chat = chat
        self._clock = clock

    async def alert_all(self, actor: Actor, text: str) -> None:
        """Show a notification to all players online. Raises Refused within `ALERT_EVERY_S` of the last one."""
        await self._authority.require(actor, ALERTS)
        if not await self._realtime.once("alert", ALERT_EVERY_S):
            raise Refused("all players got a notification a moment ago; wait 10 seconds")
        await self._write(actor, ALERTS, "alert_all", "server", 0, text)
        await self._presence.alert(text)

    async def alert(self, actor: Actor, target: User, text: str) -> None:
        """Show a notification to a player. Raises NotATarget for the bot."""
        await self._authority.require(actor, ALERTS)
        self._authority.check_not_bot(target)
        await self._write(actor, ALERTS, "alert_user", "user", target.id, text)
        await self._presence.alert(text, target.id)

    async def post(self, actor: Actor, text: str) -> None:
        """Post a text in #announce, in the bot's name. Raises NotFound("channel") if the channel was removed."""
        await self._authority.require(actor, POSTS)
        self._chat.check_exists(CHANNEL)
        await self._write(actor, POSTS, "announce", "server", 0, text)
        await self._chat.post(CHANNEL, text)

    async def _write(self, actor: Actor, permission: str, action: str, kind: str, target_id: int, text: str) -> None:
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await audit.write(
                tx, actor, action, at_ms=now, target_kind=kind, target_id=target_id, reason=text[:REASON_MAX]
            )

        await self._authority.transaction(Requirement(actor, permission), body)

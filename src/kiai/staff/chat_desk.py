"""Acts of moderators on the lines of a channel."""

from kiai.accounts import User
from kiai.chat.history import ChannelHistory
from kiai.chat.model import is_instance
from kiai.chat.service import Chat
from kiai.clock import Clock
from kiai.errors import Refused
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.storage.port import Transaction


class ChatDesk:
    """Removes lines from the windows of players."""

    def __init__(self, authority: Authority, chat: Chat, history: ChannelHistory, clock: Clock) -> None:
        self._authority = authority
        self._chat = chat
        self._history = history
        self._clock = clock

    async def clear(self, actor: Actor, channel: str, target: User) -> None:
        """Remove a player's lines from the windows of everybody in a channel. The stored lines stay, for reports.

        Raises NotAllowed, and Refused for the bot and without a channel.
        """
        await self._authority.require(actor, "chat.moderate")
        self._authority.check_not_bot(target)
        if not channel:
            raise Refused("write this command in the channel whose lines you want to remove")
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            if not is_instance(channel):  # the others have no history
                # Not the row of the player: two moderators who clear each other's lines would wait for each other.
                await audit.lock(tx)
                await self._history.erase(tx, target.id, channel)
            await audit.write(
                tx,
                actor,
                "clear_messages",
                at_ms=now,
                target_kind="user",
                target_id=target.id,
                details={"channel": channel},
            )

        await self._authority.transaction(Requirement(actor, "chat.moderate"), body)
        await self._chat.erase_lines(channel, target.id)

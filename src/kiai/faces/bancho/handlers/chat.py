"""Channels and messages: packets 1, 25, 63, 78, 82 (docs/spec/chat.md)."""

from collections.abc import Callable, Mapping
from typing import Final

from kiai.chat.model import CHANNEL_NAME_MAX, LINE_MAX, Result, Spoken
from kiai.chat.service import Chat
from kiai.errors import NotFound
from kiai.faces.bancho import packets
from kiai.faces.bancho.packets import Client, Message
from kiai.faces.bancho.turn import Handlers, Turn
from kiai.osu.texts import chat_name, one_line
from kiai.realtime.port import BOT_ID

WAS_CUT: Final = packets.notification(f"Your message was cut to {LINE_MAX} characters.")


def _stored(spoken: Spoken) -> bytes:
    if spoken.noted:
        return b""
    return packets.notification(
        f"{chat_name(spoken.target)} is offline, and will receive your message on their next login."
    )


ANSWERS: Mapping[Result, Callable[[Spoken], bytes]] = {
    Result.SAID: lambda spoken: b"",
    Result.DROPPED: lambda spoken: b"",
    Result.SILENCED: lambda spoken: packets.silence_end(spoken.silence_s),
    Result.UNKNOWN: lambda spoken: packets.notification("There is no player with this name."),
    Result.BLOCKED: lambda spoken: packets.user_dm_blocked(spoken.target),
    Result.TARGET_SILENCED: lambda spoken: packets.target_is_silenced(spoken.target),
    Result.STORED: _stored,
    Result.NOT_STORED: lambda spoken: packets.notification(
        f"{chat_name(spoken.target)} is offline and has too many unread messages: yours was not kept."
    ),
}
"""What the speaker is told of a line's fate."""


class ChatHandlers:
    """The handlers of chat."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    async def say(self, turn: Turn, asked: Message) -> None:
        """1 SEND_PUBLIC_MESSAGE (docs/spec/chat.md#lines-in-a-channel)."""
        self._answer(turn, await self._chat.say(turn.session, asked.recipient, asked.text))

    async def whisper(self, turn: Turn, asked: Message) -> None:
        """25 SEND_PRIVATE_MESSAGE (docs/spec/chat.md#private-messages)."""
        self._answer(turn, await self._chat.whisper(turn.session, asked.recipient, asked.text))

    async def join(self, turn: Turn, shown: str) -> None:
        """63 CHANNEL_JOIN (docs/spec/chat.md#joining-and-leaving)."""
        try:
            joined = await self._chat.join(turn.session, shown)
        except NotFound:
            if len(shown) <= CHANNEL_NAME_MAX:
                turn.say(packets.channel_kick(shown))
            return
        if joined is not None:
            turn.session = joined.session
            turn.say(
                packets.channel_join_success(joined.shown),
                packets.channel_info(joined.shown, joined.topic, joined.users),
            )

    async def part(self, turn: Turn, shown: str) -> None:
        """78 CHANNEL_PART (docs/spec/chat.md#joining-and-leaving)."""
        turn.session = await self._chat.part(turn.session, shown)

    async def set_away(self, turn: Turn, asked: Message) -> None:
        """82 SET_AWAY_MESSAGE (docs/spec/chat.md#away)."""
        turn.session = await self._chat.set_away(turn.session, asked.text)
        away = turn.session.away
        self._from_bot(turn, f"You are away now: {one_line(away)}" if away else "You are no longer away.")

    def _answer(self, turn: Turn, spoken: Spoken) -> None:
        turn.session = spoken.session
        turn.say(ANSWERS[spoken.result](spoken))
        if spoken.cut:
            turn.say(WAS_CUT)
        if spoken.away:
            text = f"\x01ACTION is away: {one_line(spoken.away)}\x01"
            turn.say(packets.message(spoken.target, text, turn.session.name, spoken.target_id))
        for line in spoken.lines:
            self._from_bot(turn, line)

    def _from_bot(self, turn: Turn, text: str) -> None:
        turn.say(packets.message(self._chat.bot_name, text, turn.session.name, BOT_ID))

    def table(self) -> Handlers:
        """What this page handles."""
        return {
            Client.SEND_PUBLIC_MESSAGE: self.say,
            Client.SEND_PRIVATE_MESSAGE: self.whisper,
            Client.CHANNEL_JOIN: self.join,
            Client.CHANNEL_PART: self.part,
            Client.SET_AWAY_MESSAGE: self.set_away,
        }

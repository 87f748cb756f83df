"""Channels and messages: packets 1, 25, 63, 78, 82 (docs/spec/chat.md)."""

from collections.abc import Callable, Mapping
from typing import Final

from kiai.chat.model import CHANNEL_NAME_MAX, FILTERED_NOTICE, LINE_MAX, SendResult, SendStatus
from kiai.chat.service import Chat
from kiai.errors import NotFound
from kiai.faces.bancho import packets
from kiai.faces.bancho.packets import ClientMessage, ClientPacket
from kiai.faces.bancho.poll_context import Handlers, PollContext
from kiai.osu.texts import chat_name, one_line
from kiai.realtime.port import BOT_ID

WAS_CUT: Final = packets.notification(f"Your message was cut to {LINE_MAX} characters.")


def _stored_notice(result: SendResult) -> bytes:
    if result.already_notified:
        return b""
    return packets.notification(
        f"{chat_name(result.target)} is offline, and will receive your message on their next login."
    )


REPLIES: Mapping[SendStatus, Callable[[SendResult], bytes]] = {
    SendStatus.SAID: lambda result: b"",
    SendStatus.FILTERED: lambda result: packets.notification(FILTERED_NOTICE),
    SendStatus.DROPPED: lambda result: b"",
    SendStatus.SILENCED: lambda result: packets.silence_end(result.silence_s),
    SendStatus.UNKNOWN: lambda result: packets.notification("There is no player with this name."),
    SendStatus.BLOCKED: lambda result: packets.user_dm_blocked(result.target),
    SendStatus.TARGET_SILENCED: lambda result: packets.target_is_silenced(result.target),
    SendStatus.STORED: _stored_notice,
    SendStatus.NOT_STORED: lambda result: packets.notification(
        f"{chat_name(result.target)} is offline and has too many unread messages. Your message was not stored."
    ),
}
"""The packets for the author of a line, by its outcome."""


class ChatHandlers:
    """The handlers of chat."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    async def say(self, context: PollContext, message: ClientMessage) -> None:
        """1 SEND_PUBLIC_MESSAGE (docs/spec/chat.md#lines-in-a-channel)."""
        self._reply(context, await self._chat.say(context.session, message.recipient, message.text))

    async def whisper(self, context: PollContext, message: ClientMessage) -> None:
        """25 SEND_PRIVATE_MESSAGE (docs/spec/chat.md#private-messages)."""
        self._reply(context, await self._chat.whisper(context.session, message.recipient, message.text))

    async def join(self, context: PollContext, client_name: str) -> None:
        """63 CHANNEL_JOIN (docs/spec/chat.md#joining-and-leaving)."""
        try:
            joined = await self._chat.join(context.session, client_name)
        except NotFound:
            # The client has opened the tab already and waits. A longer name is not from a client, and is not echoed.
            if len(client_name) <= CHANNEL_NAME_MAX:
                context.reply(packets.channel_kick(client_name))
            return
        if joined is not None:
            context.session = joined.session
            context.reply(
                packets.channel_join_success(joined.client_name),
                packets.channel_info(joined.client_name, joined.topic, joined.users),
            )

    async def part(self, context: PollContext, client_name: str) -> None:
        """78 CHANNEL_PART (docs/spec/chat.md#joining-and-leaving)."""
        context.session = await self._chat.part(context.session, client_name)

    async def set_away(self, context: PollContext, message: ClientMessage) -> None:
        """82 SET_AWAY_MESSAGE (docs/spec/chat.md#away)."""
        context.session = await self._chat.set_away(context.session, message.text)
        away = context.session.away
        self._from_bot(context, f"You are away now: {one_line(away)}" if away else "You are no longer away.")

    def _reply(self, context: PollContext, result: SendResult) -> None:
        context.session = result.session
        context.reply(REPLIES[result.status](result))
        if result.cut:
            context.reply(WAS_CUT)
        if result.away:
            text = f"\x01ACTION is away: {one_line(result.away)}\x01"
            context.reply(packets.message(result.target, text, context.session.name, result.target_id))
        for line in result.lines:
            self._from_bot(context, line)

    def _from_bot(self, context: PollContext, text: str) -> None:
        context.reply(packets.message(self._chat.bot_name, text, context.session.name, BOT_ID))

    def table(self) -> Handlers:
        """Return the handlers by packet."""
        return {
            ClientPacket.SEND_PUBLIC_MESSAGE: self.say,
            ClientPacket.SEND_PRIVATE_MESSAGE: self.whisper,
            ClientPacket.CHANNEL_JOIN: self.join,
            ClientPacket.CHANNEL_PART: self.part,
            ClientPacket.SET_AWAY_MESSAGE: self.set_away,
        }

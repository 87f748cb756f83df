"""Lines and private lines from IRC: PRIVMSG, NOTICE and AWAY, and the limits on them."""

import collections
from typing import Final

from kiai.chat.model import FILTERED_NOTICE, SendResult, SendStatus
from kiai.chat.service import Chat
from kiai.faces.irc.channels import ChannelCommands
from kiai.faces.irc.connection import Connection
from kiai.faces.irc.hub import Hub
from kiai.faces.irc.names import BOT_NICK, room_of
from kiai.osu.durations import duration_text
from kiai.osu.names import safe_name
from kiai.osu.privileges import STAFF, effective
from kiai.realtime.port import Session
from kiai.realtime.rate_limiter import RateLimiter
from kiai.staff.silences import Silences

PERSON_PER_S: Final = 2
PERSON_BURST: Final = 20
CHAT_BOT_PER_S: Final = 5
CHAT_BOT_BURST: Final = 300
REFUSED_LINES: Final = 10
REFUSED_LINES_S: Final = 10.0
"""REFUSED_LINES refused lines within this time silence their author."""
FLOOD_SILENCE_S: Final = 300
TARGETS_MAX: Final = 4

_ACTION: Final = "\x01ACTION "


class Talking:
    """The commands that send texts."""

    def __init__(
        self,
        hub: Hub,
        channels: ChannelCommands,
        chat: Chat,
        silences: Silences,
        limiter: RateLimiter,
        *,
        limited: bool,
    ) -> None:
        self._hub = hub
        self._channels = channels
        self._chat = chat
        self._silences = silences
        self._limiter = limiter
        self._limited = limited

    async def send(self, connection: Connection, params: tuple[str, ...], *, for_bot: bool) -> None:
        """PRIVMSG, or NOTICE (not `for_bot`), which the bot does not answer."""
        text = params[1]
        if text.startswith("\x01") and not text.startswith(_ACTION):  # other CTCP
            return
        for target in [name for name in params[0].split(",") if name][:TARGETS_MAX]:
            if not await self._within_limits(connection):
                return
            session = await self._hub.refresh(connection)
            if target.startswith("#"):
                await self._say(connection, session, target, text, for_bot=for_bot)
            else:
                await self._whisper(connection, session, target, text, for_bot=for_bot)
        self._hub.wake()

    async def _within_limits(self, connection: Connection) -> bool:
        if not self._limited or effective(connection.known.priv) & STAFF:
            return True
        user_id = connection.user_id
        if connection.chat_bot:
            answer = await self._limiter.consume(
                f"irc-bot-lines:{user_id}", limit=CHAT_BOT_PER_S, period_s=1.0, burst=CHAT_BOT_BURST
            )
        else:
            answer = await self._limiter.consume(
                f"irc-lines:{user_id}", limit=PERSON_PER_S, period_s=1.0, burst=PERSON_BURST
            )
        if answer.granted:
            return True
        connection.notice("You are sending too fast. The line was not sent.")
        refused = connection.refused_lines
        if refused is None:
            refused = connection.refused_lines = collections.deque(maxlen=REFUSED_LINES)
        now = connection.now()
        refused.append(now)
        if len(refused) == REFUSED_LINES and now - refused[0] <= REFUSED_LINES_S:
            refused.clear()
            await self._silences.silence_by_server(user_id, FLOOD_SILENCE_S, "flood")
            self._hub.wake()
        return False

    # --- channels

    async def _say(self, connection: Connection, session: Session, target: str, text: str, *, for_bot: bool) -> None:
        channel = self._channels.joined_as(connection, target)
        if channel is None:
            if room_of(target) is None and self._channels.readable_row(session, target) is not None:
                connection.reply("404", target, text="Cannot send to channel")
            else:  # this numeric, as on the official server: tools look for it
                connection.reply("401", target[:64], text="No such nick")
            return
        result = await self._chat.say(session, channel, text, for_bot=for_bot)
        connection.session = result.session
        if result.status is SendStatus.DROPPED:
            connection.reply("404", target, text="Cannot send to channel")
        await self._answer(connection, result)

    # --- players

    async def _whisper(
        self, connection: Connection, session: Session, target: str, text: str, *, for_bot: bool
    ) -> None:
        to_bot = safe_name(target) in (safe_name(BOT_NICK), safe_name(self._chat.bot_name))
        if to_bot and not for_bot:
            return
        name = self._chat.bot_name if to_bot else target
        result = await self._chat.whisper(session, name, text)
        if result.status is SendStatus.DROPPED and safe_name(target) == safe_name(session.name):
            connection.message(session.user_id, session.name, connection.nick, text)
            return
        if result.status is SendStatus.UNKNOWN:
            connection.reply("401", target[:64], text="No such nick")
        if result.away:
            connection.reply("301", target, text=result.away)
        await self._answer(connection, result)

    async def _answer(self, connection: Connection, result: SendResult) -> None:
        """Tell the author what became of a line. A channel that the line has opened is joined first."""
        opened = self._channels.noticed(connection, result.session)
        name = result.target
        match result.status:
            case SendStatus.SILENCED:
                connection.notice(f"You are silenced for {duration_text(result.silence_s)}.")
            case SendStatus.FILTERED:
                connection.notice(FILTERED_NOTICE)
            case SendStatus.BLOCKED:
                connection.notice(f"{name} does not accept messages from you.")
            case SendStatus.TARGET_SILENCED:
                connection.notice(f"{name} is silenced.")
            case SendStatus.STORED if not result.already_notified:
                connection.notice(f"{name} is offline, and will receive your message on their next login.")
            case SendStatus.NOT_STORED:
                connection.notice(f"{name} is offline and has too many unread messages. Your message was not stored.")
            case _:
                pass
        if result.cut:
            connection.notice("Your message was too long and was cut.")
        for line in result.lines:
            connection.from_bot(line)
        await self._channels.show_new(connection, opened)

    async def away(self, connection: Connection, params: tuple[str, ...]) -> None:
        """AWAY."""
        text = params[0] if params else ""
        connection.session = await self._chat.set_away(connection.known, text)
        if connection.session.away:
            connection.reply("306", text="You have been marked as being away")
        else:
            connection.reply("305", text="You are no longer marked as being away")

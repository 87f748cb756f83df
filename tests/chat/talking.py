"""A chat with its dependencies: players online, the packets that they send, and the packets that they receive."""

from pathlib import Path
from typing import Any, Final

import msgspec
from tests.builders import NORMAL, NOW_MS, Run, World, a_player
from tests.contract.realtime.strict import strict

from kiai.accounts.visibility import is_public
from kiai.chat import BotReply, Channels, Chat, Journal, Mail
from kiai.chat.filtering import WordFilter
from kiai.chat.history import ChannelHistory
from kiai.faces.bancho import packets
from kiai.faces.bancho.announce import announcer
from kiai.faces.bancho.announce.chat import TABLE
from kiai.faces.bancho.handlers.chat import ChatHandlers
from kiai.faces.bancho.packets import ClientPacket, ServerPacket
from kiai.faces.bancho.poll_context import Handler, PollContext
from kiai.faces.bancho.wire import PayloadReader, packets_in
from kiai.presence.visible_entries import readable
from kiai.realtime.port import ONLINE, Session, SessionRule, chat_topic, user_topic
from kiai.staff.channel_desk import ChannelDesk
from kiai.staff.silences import Silences
from kiai.storage.port import Database
from kiai.storage.tables import chat_lines, mail

BOT: Final = "BanchoBot"
Reading = tuple[object, ...]

_TEXT: Final = (ServerPacket.NOTIFICATION, ServerPacket.CHANNEL_JOIN_SUCCESS, ServerPacket.CHANNEL_KICK)
_NUMBER: Final = (ServerPacket.SILENCE_END, ServerPacket.USER_SILENCED)
_MESSAGE: Final = (ServerPacket.SEND_MESSAGE, ServerPacket.USER_DM_BLOCKED, ServerPacket.TARGET_IS_SILENCED)


def line(sender: str, text: str, recipient: str, sender_id: int) -> Reading:
    """Return a chat line as `readings` decodes it."""
    return (7, sender, text, recipient, sender_id)


def readings(body: bytes) -> list[Reading]:
    """Decode the packets of a reply: the id of each, then its fields."""
    return [(packet_id, *_fields(packet_id, PayloadReader(payload))) for packet_id, payload in packets_in(body)]


def _fields(packet_id: int, reader: PayloadReader) -> Reading:
    if packet_id in _TEXT:
        return (reader.string(),)
    if packet_id in _NUMBER:
        return (reader.i32(),)
    if packet_id in _MESSAGE:
        return (reader.string(), reader.string(), reader.string(), reader.i32())
    assert packet_id == ServerPacket.CHANNEL_INFO, packet_id
    return (reader.string(), reader.string(), reader.u16())


async def _handle(handler: Handler, context: PollContext, payload: object) -> None:
    await handler(context, payload)


class Talk:
    """The chat of one server, with a bot that tests control.

    `bot_input`: the lines that the bot received, with author and channel. `answers`: its answers by line. `effects`:
    the changes of the author's session by line.
    """

    def __init__(self, database: Database, run: Run, folder: Path, *, limits_on: bool = True) -> None:
        self.world = World(database, run, folder)
        self.run = run
        self.clock = self.world.clock
        self.realtime = strict(self.world.realtime)
        self.channels = Channels(database)
        self.channel_desk = ChannelDesk(database, self.world.authority, self.clock, self.channels)
        self.mail = Mail(database, self.clock)
        self.journal = Journal(database, self.clock)
        self.history = ChannelHistory(database, self.journal, self.clock)
        self.word_filter = WordFilter(database)
        self.left_match: list[int] = []
        self.active: list[int] = []
        self.bot_input: list[tuple[str, str, str]] = []
        self.answers: dict[str, BotReply] = {}
        self.effects: dict[str, SessionRule] = {}
        self.referees: dict[int, set[int]] = {}
        self.removed_during_check = False
        announce = announcer(TABLE)
        self.silences = Silences(
            self.world.accounts,
            self.world.authority,
            self.realtime,
            self.clock,
            announce,
            on_silence=self._leave_match,
            history=self.history,
        )
        self.chat = Chat(
            database,
            self.realtime,
            self.channels,
            self.world.accounts,
            self.world.relationships,
            self.clock,
            announce,
            self._on_message,
            self.silences.silence_by_server,
            limits_on,
            mail=self.mail,
            journal=self.journal,
            bot_name=BOT,
            mark_active=self.active.append,
            may_refer=self._may_refer,
            is_private=self._is_private,
            word_filter=self.word_filter,
        )
        self.handlers = ChatHandlers(self.chat).table()
        run(self.channels.reload())

    def _is_private(self, session: Session, channel: str, text: str) -> bool:
        return text in self.answers and self.answers[text].hidden

    async def _may_refer(self, session: Session, match_id: int) -> bool:
        referees = self.referees.get(match_id, set())
        if self.removed_during_check:
            self.referees = {}
        return session.user_id in referees

    async def _leave_match(self, user_id: int) -> None:
        self.left_match.append(user_id)

    async def _on_message(self, session: Session, channel: str, text: str) -> BotReply | None:
        self.bot_input.append((session.name, channel, text))
        if text in self.effects:
            await self.realtime.change_session(session.token, self.effects[text])
        return self.answers.get(text)

    # --- players

    def account(self, name: str, *, priv: int = NORMAL) -> int:
        """Add an account and return its id."""
        return self.world.add_player(a_player(name, priv=priv))

    def online(self, name: str, *channels: str, priv: int = NORMAL, **fields: Any) -> Session:
        """Add an account and open a session that has joined these channels."""
        return self.log_in(self.account(name, priv=priv), *channels, **fields)

    def log_in(self, user_id: int, *channels: str, tournament: bool = False, **fields: Any) -> Session:
        """Open a session of an account that has joined these channels."""
        user = self.world.user(user_id)
        friends, blocked = self.run(self.world.relationships.relations_of(user_id))
        follows = {ONLINE, *map(chat_topic, channels)} | (set() if tournament else {user_topic(user_id)})
        session = Session(
            token=f"{user.name}-{len(self.run(self.realtime.sessions_of(user_id)))}",
            user_id=user_id,
            name=user.name,
            priv=user.priv,
            hidden=not is_public(user.priv),
            tournament=tournament,
            login_time_ms=NOW_MS,
            friends=friends,
            blocked=blocked,
            silenced_until_ms=user.silenced_until_ms,
            follows=frozenset(follows),
        )
        session = msgspec.structs.replace(session, **fields)
        self.run(self.realtime.open_session(session))
        return session

    def now(self, session: Session) -> Session:
        """Return the present state of the session."""
        return self.run(self.realtime.session(session.token))

    # --- packets

    def reads(self, session: Session) -> list[Reading]:
        """Poll, and return the packets."""
        now, entries = self.run(self.realtime.poll(session.token))
        return readings(b"".join(readable(now, entries)))

    def says(self, session: Session, channel: str, text: str, *, sender: str = "", sender_id: int = 0) -> list[Reading]:
        """Send a line to a channel, and return the replies to its author."""
        return self._send(
            session, ClientPacket.SEND_PUBLIC_MESSAGE, packets.ClientMessage(sender, text, channel, sender_id)
        )

    def whispers(self, session: Session, name: str, text: str) -> list[Reading]:
        """Send a line to a player, and return the replies to its author."""
        return self._send(session, ClientPacket.SEND_PRIVATE_MESSAGE, packets.ClientMessage("", text, name, 0))

    def joins(self, session: Session, channel: str) -> list[Reading]:
        """Join a channel, and return the replies."""
        return self._send(session, ClientPacket.CHANNEL_JOIN, channel)

    def parts(self, session: Session, channel: str) -> list[Reading]:
        """Leave a channel, and return the replies."""
        return self._send(session, ClientPacket.CHANNEL_PART, channel)

    def goes_away(self, session: Session, text: str) -> list[Reading]:
        """Set the away message, and return the replies."""
        return self._send(session, ClientPacket.SET_AWAY_MESSAGE, packets.ClientMessage("", text, "", 0))

    def _send(self, session: Session, packet_id: int, payload: object) -> list[Reading]:
        context = PollContext(self.now(session))
        self.run(_handle(self.handlers[packet_id], context, payload))
        assert context.session == self.now(session), "later packets of the poll would use an outdated session"
        return readings(b"".join(context.out))

    def channels_of(self, session: Session) -> set[str]:
        """Return the channels that a session has joined."""
        return {t.removeprefix("chat:") for t in self.now(session).follows if t.startswith("chat:")}

    # --- stored rows

    def lines(self) -> list[tuple[str, int, str]]:
        """Return the stored lines: channel, author, text."""
        self.run(self.journal.flush())
        rows = self.world.look(
            chat_lines.select()
            .with_only_columns(chat_lines.c.channel, chat_lines.c.user_id, chat_lines.c.text)
            .order_by(chat_lines.c.id)
        )
        return [(str(channel), int(user_id), str(text)) for channel, user_id, text in rows]

    def letters(self) -> list[tuple[int, int, str, bool]]:
        """Return the stored letters: sender, recipient, text, whether it was delivered."""
        rows = self.world.look(
            mail.select()
            .with_only_columns(mail.c.from_id, mail.c.to_id, mail.c.text, mail.c.delivered_at_ms)
            .order_by(mail.c.id)
        )
        return [(from_id, to_id, text, at is not None) for from_id, to_id, text, at in rows]

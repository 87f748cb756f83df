"""A chat with everything it needs: players who are online, what they send, and what their clients receive."""

from pathlib import Path
from typing import Any, Final

import msgspec
from tests.builders import NORMAL, NOW_MS, Run, World, a_player
from tests.contract.realtime.strict import strict

from kiai.accounts.visibility import is_public
from kiai.chat import Answer, Channels, Chat, Journal, Mail
from kiai.faces.bancho import packets
from kiai.faces.bancho.announce import announcer
from kiai.faces.bancho.announce.chat import TABLE
from kiai.faces.bancho.handlers.chat import ChatHandlers
from kiai.faces.bancho.packets import Client, Server
from kiai.faces.bancho.turn import Handler, Turn
from kiai.faces.bancho.wire import Reader, packets_in
from kiai.presence.reading import readable
from kiai.realtime.port import ONLINE, Session, SessionRule, chat_topic, user_topic
from kiai.staff.silences import Silences
from kiai.storage.port import Database
from kiai.storage.tables import chat_lines, mail

BOT: Final = "BanchoBot"
Told = tuple[object, ...]

_TEXT: Final = (Server.NOTIFICATION, Server.CHANNEL_JOIN_SUCCESS, Server.CHANNEL_KICK)
_NUMBER: Final = (Server.SILENCE_END, Server.USER_SILENCED)
_MESSAGE: Final = (Server.SEND_MESSAGE, Server.USER_DM_BLOCKED, Server.TARGET_IS_SILENCED)


def line(sender: str, text: str, recipient: str, sender_id: int) -> Told:
    """A chat line, as a client reads it."""
    return (7, sender, text, recipient, sender_id)


def readings(body: bytes) -> list[Told]:
    """The packets of a reply: each its id, and what it says."""
    return [(packet_id, *_says(packet_id, Reader(payload))) for packet_id, payload in packets_in(body)]


def _says(packet_id: int, reader: Reader) -> Told:
    if packet_id in _TEXT:
        return (reader.string(),)
    if packet_id in _NUMBER:
        return (reader.i32(),)
    if packet_id in _MESSAGE:
        return (reader.string(), reader.string(), reader.string(), reader.i32())
    assert packet_id == Server.CHANNEL_INFO, packet_id
    return (reader.string(), reader.string(), reader.u16())


async def _handled(handler: Handler, turn: Turn, asked: object) -> None:
    await handler(turn, asked)


class Talk:
    """The chat of one server. `heard` is what the bot was given; `answers` is what it says to a line, `does` what
    it makes of the speaker's session."""

    def __init__(self, database: Database, run: Run, folder: Path, *, limits_on: bool = True) -> None:
        self.world = World(database, run, folder)
        self.run = run
        self.clock = self.world.clock
        self.realtime = strict(self.world.realtime)
        self.channels = Channels(database)
        self.mail = Mail(database, self.clock)
        self.journal = Journal(database, self.clock)
        self.left_match: list[int] = []
        self.active: list[int] = []
        self.heard: list[tuple[str, str, str]] = []
        self.answers: dict[str, Answer] = {}
        self.does: dict[str, SessionRule] = {}
        self.referees: dict[int, set[int]] = {}
        self.removed_when_asked = False
        announce = announcer(TABLE)
        self.silences = Silences(
            database, self.world.accounts, self.realtime, self.clock, announce, on_silence=self._leave_match
        )
        self.chat = Chat(
            database,
            self.realtime,
            self.channels,
            self.world.accounts,
            self.world.relationships,
            self.clock,
            announce,
            self._hear,
            self.silences.flooded,
            limits_on,
            mail=self.mail,
            journal=self.journal,
            bot_name=BOT,
            note_active=self.active.append,
            may_refer=self._may_refer,
            is_private=self._is_private,
        )
        self.handlers = ChatHandlers(self.chat).table()
        run(self.channels.reload())

    def _is_private(self, session: Session, channel: str, text: str) -> bool:
        return text in self.answers and self.answers[text].hidden

    async def _may_refer(self, session: Session, match_id: int) -> bool:
        referees = self.referees.get(match_id, set())
        if self.removed_when_asked:
            self.referees = {}
        return session.user_id in referees

    async def _leave_match(self, user_id: int) -> None:
        self.left_match.append(user_id)

    async def _hear(self, session: Session, channel: str, text: str) -> Answer | None:
        self.heard.append((session.name, channel, text))
        if text in self.does:
            await self.realtime.change_session(session.token, self.does[text])
        return self.answers.get(text)

    # --- who is there

    def account(self, name: str, *, priv: int = NORMAL) -> int:
        """Registers; the account's id."""
        return self.world.add_player(a_player(name, priv=priv))

    def online(self, name: str, *channels: str, priv: int = NORMAL, **fields: Any) -> Session:
        """A new player whose client is in these channels."""
        return self.log_in(self.account(name, priv=priv), *channels, **fields)

    def log_in(self, user_id: int, *channels: str, tournament: bool = False, **fields: Any) -> Session:
        """Another session of an account."""
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
        """The session as it is now."""
        return self.run(self.realtime.session(session.token))

    # --- what clients send and receive

    def reads(self, session: Session) -> list[Told]:
        """What a poll brings."""
        now, entries = self.run(self.realtime.poll(session.token))
        return readings(b"".join(readable(now, entries)))

    def says(self, session: Session, channel: str, text: str, *, sender: str = "", sender_id: int = 0) -> list[Told]:
        """A line in a channel; what the speaker's client is answered at once."""
        return self._send(session, Client.SEND_PUBLIC_MESSAGE, packets.Message(sender, text, channel, sender_id))

    def whispers(self, session: Session, name: str, text: str) -> list[Told]:
        """A line to a player; what the speaker's client is answered at once."""
        return self._send(session, Client.SEND_PRIVATE_MESSAGE, packets.Message("", text, name, 0))

    def joins(self, session: Session, channel: str) -> list[Told]:
        """The answer to entering a channel."""
        return self._send(session, Client.CHANNEL_JOIN, channel)

    def parts(self, session: Session, channel: str) -> list[Told]:
        """The answer to leaving a channel."""
        return self._send(session, Client.CHANNEL_PART, channel)

    def goes_away(self, session: Session, text: str) -> list[Told]:
        """The answer to an away message."""
        return self._send(session, Client.SET_AWAY_MESSAGE, packets.Message("", text, "", 0))

    def _send(self, session: Session, packet_id: int, asked: object) -> list[Told]:
        turn = Turn(self.now(session))
        self.run(_handled(self.handlers[packet_id], turn, asked))
        assert turn.session == self.now(session), "the turn goes on with a session that is not the present one"
        return readings(b"".join(turn.out))

    def channels_of(self, session: Session) -> set[str]:
        """The channels that a session is in."""
        return {t.removeprefix("chat:") for t in self.now(session).follows if t.startswith("chat:")}

    # --- what is kept

    def lines(self) -> list[tuple[str, int, str]]:
        """What the journal wrote: channel, who, what."""
        self.run(self.journal.flush())
        rows = self.world.look(
            chat_lines.select()
            .with_only_columns(chat_lines.c.channel, chat_lines.c.user_id, chat_lines.c.text)
            .order_by(chat_lines.c.id)
        )
        return [(str(channel), int(user_id), str(text)) for channel, user_id, text in rows]

    def letters(self) -> list[tuple[int, int, str, bool]]:
        """What mail holds: from, to, what, whether it was delivered."""
        rows = self.world.look(
            mail.select()
            .with_only_columns(mail.c.from_id, mail.c.to_id, mail.c.text, mail.c.delivered_at_ms)
            .order_by(mail.c.id)
        )
        return [(from_id, to_id, text, at is not None) for from_id, to_id, text, at in rows]

"""The IRC connections of this process, and the reader of the topic IRC that passes events on to them.

A connection is a session of the realtime port. It follows the topics of its channels, which makes it a member of them,
but it reads none: each process reads the topic IRC once for all of its connections (docs/engineer/realtime.md).
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from kiai.chat.model import is_match_channel
from kiai.errors import Unavailable
from kiai.faces.irc import records
from kiai.faces.irc.connection import Connection
from kiai.faces.irc.names import nick_of
from kiai.logs import Outage
from kiai.osu.privileges import effective
from kiai.presence import Presence
from kiai.realtime.port import IRC, Realtime, Session, SessionGone

Key = TypeVar("Key", int, str)

READ_EVERY_S: Final = 0.08
READ_AT_ONCE: Final = 256
SWEEP_EVERY_S: Final = 1.0
BLOCKED: Final = "Your address is blocked on this server"
PING_AFTER_S: Final = 30.0
SILENT_MAX_S: Final = 180.0
LOG_IN_WITHIN_S: Final = 30.0
CLOSE_WITHIN_S: Final = 5.0
TOUCH_EVERY_S: Final = 60.0
TOUCHED_AT_ONCE: Final = 200
SESSION_FRESH_S: Final = 1.0
"""The age of a copy of a session up to which it decides whom the player blocks."""


class Hub:
    """The connections, by channel, player and token."""

    def __init__(self, realtime: Realtime, presence: Presence, is_blocked: Callable[[str], bool]) -> None:
        self._realtime = realtime
        self._presence = presence
        self.is_blocked = is_blocked
        self.connections: set[Connection] = set()
        self._by_channel: dict[str, set[Connection]] = {}
        self._by_user: dict[int, set[Connection]] = {}
        self._by_token: dict[str, Connection] = {}
        self._next: int | None = None
        self._wake = asyncio.Event()
        self._outage = Outage("irc", "events of IRC not read", "events of IRC are read again")

    # --- the connections

    def open(self, connection: Connection) -> None:
        """Add a connection that is not logged in."""
        self.connections.add(connection)

    def add(self, connection: Connection, session: Session) -> None:
        """Give a connection its session."""
        connection.session = session
        self._by_user.setdefault(session.user_id, set()).add(connection)
        self._by_token[session.token] = connection

    def join(self, connection: Connection, channel: str, shown: str) -> bool:
        """Add a connection to a channel, which IRC calls `shown`. Return False if it was there already."""
        if channel in connection.joined:
            return False
        connection.joined[channel] = shown
        self._by_channel.setdefault(channel, set()).add(connection)
        return True

    def leave(self, connection: Connection, channel: str) -> str | None:
        """Remove a connection from a channel. Return the channel's name in IRC, or None if it was not there."""
        shown = connection.joined.pop(channel, None)
        if shown is not None:
            _discard(self._by_channel, channel, connection)
        return shown

    async def remove(self, connection: Connection) -> None:
        """Remove a connection that has ended, and end its session."""
        self.connections.discard(connection)
        for channel in list(connection.joined):
            self.leave(connection, channel)
        session, connection.session = connection.session, None
        if session is not None:
            _discard(self._by_user, session.user_id, connection)
            self._by_token.pop(session.token, None)
            await self._presence.end(session.token)

    async def refresh(self, connection: Connection) -> Session:
        """Read the session of a connection again. Raises SessionGone."""
        session = await self._realtime.session(connection.known.token)
        connection.session, connection.session_read_at = session, connection.now()
        return session

    # --- the topic

    def wake(self) -> None:
        """Read the topic now, because this process has just appended to it."""
        self._wake.set()

    async def run(self) -> None:
        """Read the topic until the task is cancelled, and look after the connections once a second."""
        swept = 0.0
        now = asyncio.get_running_loop().time
        while True:
            try:
                await self.read()
                if now() - swept >= SWEEP_EVERY_S:
                    swept = now()
                    await self.sweep()
                self._outage.worked()
            except Unavailable as error:
                self._outage.failed(error)
            except Exception as error:
                self._outage.failed(error, trace=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(READ_EVERY_S):
                    await self._wake.wait()
            self._wake.clear()

    async def read(self) -> None:
        """Pass on what is new in the topic."""
        if self._next is None:
            self._next = await self._realtime.feed_end(IRC)
        while True:
            first, bodies = await self._realtime.feed_after(IRC, self._next, READ_AT_ONCE)
            if first > self._next:  # more events than the topic holds, or a state that was lost
                for connection in self._logged_in():
                    connection.notice("Some lines were lost because the server was busy.")
            self._next = first + len(bodies)
            found = [record for body in bodies if (record := records.record_of(body)) is not None]
            if found and self.connections:
                await self._refresh_readers(found)
                for record in found:
                    try:
                        self._deliver(record)
                    except Exception as error:  # the lines after it must arrive
                        self._outage.failed(error, trace=True)
            if len(bodies) < READ_AT_ONCE:
                return

    def _logged_in(self) -> Iterator[Connection]:
        return (connection for connection in list(self.connections) if connection.session is not None)

    async def _refresh_readers(self, found: list[records.Record]) -> None:
        """Read the sessions of the readers of these lines again, where the copies are old."""
        readers: set[Connection] = set()
        for record in found:
            if isinstance(record, records.ChannelLine):
                readers |= self._by_channel.get(record.channel, set())
        old = [
            connection
            for connection in readers
            if connection.session is not None and connection.now() - connection.session_read_at > SESSION_FRESH_S
        ]
        # The commands of all reads travel together; a session that has ended has a record of its own.
        await asyncio.gather(*(self._quietly_refreshed(connection) for connection in old))

    async def _quietly_refreshed(self, connection: Connection) -> None:
        with contextlib.suppress(SessionGone, Unavailable):  # the copy stays until the next line
            await self.refresh(connection)

    def _deliver(self, record: records.Record) -> None:
        match record:
            case records.ChannelLine():
                self._channel_line(record)
            case records.PrivateLine():
                self._private_line(record)
            case records.NoticeLine():
                for reader in self._of(record.user_id) if record.user_id else list(self._logged_in()):
                    reader.notice(record.text)
            case records.Entered():
                self._entered(record)
            case records.Departed():
                self._departed(record)
            case records.Removed():
                self._removed(record)
            case records.SessionEnded():
                if (ended := self._by_token.get(record.token)) is not None:
                    ended.close("Your session has ended: you connected again, or your account has changed")
            case records.RoomOpened():
                pass  # the connection joins after its own command

    def _of(self, user_id: int) -> Iterable[Connection]:
        return list(self._by_user.get(user_id, ()))

    def _channel_line(self, line: records.ChannelLine) -> None:
        for reader in list(self._by_channel.get(line.channel, ())):
            session = reader.session
            if session is None or line.user_id == session.user_id or not _may_read(session, line):
                continue
            reader.message(line.user_id, line.name, reader.joined[line.channel], line.text)

    def _private_line(self, line: records.PrivateLine) -> None:
        in_channel = line.to_name.startswith("#")
        for reader in self._of(line.to_id):
            target = reader.joined.get(line.to_name) if in_channel else reader.nick
            if target is not None:
                reader.message(line.from_id, line.from_name, target, line.text)

    def _entered(self, record: records.Entered) -> None:
        mask_of: dict[str, str] = {}
        for channel in record.channels:
            for reader in self._by_channel.get(channel, ()):
                if reader.user_id != record.user_id:
                    mask = mask_of.setdefault("", reader.names.mask(nick_of(record.name)))
                    reader.send(f":{mask} JOIN :{reader.joined[channel]}")

    def _departed(self, record: records.Departed) -> None:
        left: set[Connection] = set()
        for channel in record.channels:
            for reader in self._by_channel.get(channel, ()):
                if reader.user_id == record.user_id or reader in left:
                    continue
                mask = reader.names.mask(nick_of(record.name))
                if record.quits:  # once, whatever the number of channels
                    left.add(reader)
                    reader.send(f":{mask} QUIT :quit")
                else:
                    reader.send(f":{mask} PART :{reader.joined[channel]}")

    def _removed(self, record: records.Removed) -> None:
        for reader in self._of(record.user_id):
            # Of the channel of a clan, the event has the name that clients use.
            known = record.channel in reader.joined
            named = (channel for channel, shown in reader.joined.items() if shown == record.channel)
            shown = self.leave(reader, record.channel if known else next(named, record.channel))
            if shown is not None:
                reader.send(f":{reader.names.mask(reader.nick)} PART :{shown}")

    # --- time

    async def sweep(self) -> None:
        """Ping quiet connections, close silent and blocked ones, and mark the sessions as in use."""
        due: list[Connection] = []
        for connection in list(self.connections):
            now = connection.now()
            if connection.closing:
                if now - connection.closing_since > CLOSE_WITHIN_S:
                    connection.abort()
            elif self.is_blocked(connection.address):
                connection.close(BLOCKED)
            elif connection.session is None:
                if now - connection.opened_at > LOG_IN_WITHIN_S:
                    connection.close("You did not log in in time")
            elif now - connection.last_in > SILENT_MAX_S:
                connection.close("Ping timeout")
            else:
                if now - connection.last_io >= PING_AFTER_S:
                    connection.send(f"PING {connection.names.server}")
                if now - connection.last_touch > TOUCH_EVERY_S and len(due) < TOUCHED_AT_ONCE:
                    connection.last_touch = now
                    due.append(connection)
        await asyncio.gather(*map(self._touch, due))

    async def _touch(self, connection: Connection) -> None:
        try:
            # Marks the session as seen and reads nothing.
            await self._realtime.poll(connection.known.token, 0)
        except SessionGone:
            connection.close("Your session has ended")


def _discard(table: dict[Key, set[Connection]], key: Key, connection: Connection) -> None:
    found = table.get(key)
    if found is not None:
        found.discard(connection)
        if not found:
            del table[key]


def _may_read(session: Session, line: records.ChannelLine) -> bool:
    if line.needs and not line.needs & effective(session.priv):
        return False
    # Blocks have no effect in channels of matches, as in the game.
    return line.user_id not in session.blocked or is_match_channel(line.channel)

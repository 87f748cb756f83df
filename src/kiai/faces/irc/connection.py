"""One IRC connection: its state, what it sends, and the loop that reads its lines."""

import asyncio
import collections
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from kiai.errors import KiaiError, Unavailable
from kiai.faces.irc.lines import LineBuffer, NoLineEnd, encoded, message_lines, packed, parse_line
from kiai.faces.irc.names import BOT_NICK, IrcNames
from kiai.logs import get_logger
from kiai.realtime.port import BOT_ID, Session, SessionGone

READ_AT_ONCE: Final = 4_096
UNSENT_MAX: Final = 1 << 20
"""Bytes that wait for a client that does not read; beyond them the connection is cut."""
SENT_AT_ONCE: Final = 100
"""Lines of a long answer after which other tasks get their turn, and the client must have read most of them."""
# Commands are read at most this fast; further ones wait in the client's socket. The burst is larger than that of the
# lines of a chat bot, so that only their own limit bounds these.
COMMANDS_PER_S: Final = 20.0
COMMANDS_BURST: Final = 350.0
HEAVY: Final = 10.0
"""The price of a command that reads the members of a channel, in ordinary commands."""


class Connection:
    """The state of a connection. `session` is None before the login; afterwards it is the last one that was read.

    `joined`: the name in IRC of each channel, by the server's name of it.
    """

    __slots__ = (
        "_allowance",
        "_allowed_at",
        "_reader",
        "_writer",
        "address",
        "chat_bot",
        "closing",
        "closing_since",
        "joined",
        "last_in",
        "last_io",
        "last_touch",
        "names",
        "network",
        "nick",
        "now",
        "opened_at",
        "password",
        "refused_lines",
        "session",
        "session_read_at",
        "user_given",
    )

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        names: IrcNames,
        *,
        address: str,
        network: str,
        now: Callable[[], float],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self.names = names
        self.address = address
        self.network = network
        self.now = now
        self.opened_at = self.last_in = self.last_io = self.last_touch = now()
        self.nick = ""
        self.password: str | None = None
        self.user_given = False
        self.session: Session | None = None
        self.session_read_at = 0.0
        self.chat_bot = False
        self.joined: dict[str, str] = {}
        self.refused_lines: collections.deque[float] | None = None
        self.closing = False
        self.closing_since = 0.0
        self._allowance = COMMANDS_BURST
        self._allowed_at = self.opened_at

    @property
    def user_id(self) -> int:
        """The id of the player, 0 before the login."""
        return 0 if self.session is None else self.session.user_id

    @property
    def known(self) -> Session:
        """The session after the login. Raises SessionGone before it."""
        if self.session is None:
            raise SessionGone
        return self.session

    # --- what it sends

    def send(self, *lines: str) -> None:
        """Send lines. A client that does not read them is cut off, and nothing is sent to one that is gone."""
        if self.is_closing():
            return
        self._write(b"".join(map(encoded, lines)))

    def _write(self, data: bytes) -> None:
        self._writer.write(data)
        self.last_io = self.now()
        if self._writer.transport.get_write_buffer_size() > UNSENT_MAX:
            self.closing, self.closing_since = True, self.now()
            self._writer.transport.abort()

    async def send_all(self, lines: Iterable[str]) -> None:
        """Send an answer of any number of lines, as fast as the client reads them. Raises ConnectionError."""
        waiting: list[str] = []
        for line in lines:
            waiting.append(line)
            if len(waiting) == SENT_AT_ONCE:
                self.send(*waiting)
                waiting.clear()
                await self._writer.drain()
                await asyncio.sleep(0)  # drain does not wait while the buffer is short
        self.send(*waiting)

    def numeric(self, numeric: str, *params: str, text: str | None = None) -> str:
        """Return the line of a numeric of the server; its first parameter is the client's nick."""
        words = " ".join((f":{self.names.server}", numeric, self.nick or "*", *params))
        return words if text is None else f"{words} :{text}"

    def reply(self, numeric: str, *params: str, text: str | None = None) -> None:
        """Send a numeric of the server."""
        self.send(self.numeric(numeric, *params, text=text))

    def notice(self, text: str) -> None:
        """Send a text of the server, in as many lines as it needs."""
        head = f":{self.names.server} NOTICE {self.nick or '*'}"
        self.send(*message_lines(head, text))

    def message(self, user_id: int, name: str, target: str, text: str) -> None:
        """Send a line of a player or of the bot, to the client's nick or to a channel."""
        nick = self.names.nick(user_id, name)
        head = f":{self.names.mask(nick)} PRIVMSG {target}"
        self.send(*message_lines(head, self.names.text(user_id, text)))

    def from_bot(self, text: str) -> None:
        """Send a private line of the bot."""
        self.message(BOT_ID, BOT_NICK, self.nick, text)

    async def words(self, numeric: str, *params: str, words: Iterable[str], most: int = 400) -> None:
        """Send a list of words in as many numerics as it needs; each text ends in a blank. Raises ConnectionError."""
        await self.send_all(self.numeric(numeric, *params, text=f"{text} ") for text in packed(words, most))

    # --- what it reads

    async def run(self, handle: Callable[["Connection", str, tuple[str, ...]], Awaitable[float]]) -> None:
        """Read lines until the connection ends, and pass each to `handle`, which returns the price of the command."""
        buffer = LineBuffer()
        while not self.closing and (data := await self._reader.read(READ_AT_ONCE)):
            try:
                lines = buffer.feed(data)
            except NoLineEnd:
                self.close("Line too long")
                return
            for line in lines:
                if self.is_closing():
                    return
                self.last_in = self.last_io = self.now()
                if line is None:
                    self.reply("417", text="Input line was too long")
                elif (parsed := parse_line(line)) is not None:
                    await self._pace(await self._handled(handle, parsed.command, parsed.params))
            if not self.is_closing():  # else the session would last until the client has read the last lines
                await self._writer.drain()

    async def _handled(
        self,
        handle: Callable[["Connection", str, tuple[str, ...]], Awaitable[float]],
        command: str,
        params: tuple[str, ...],
    ) -> float:
        try:
            return await handle(self, command, params)
        except SessionGone:
            self.close("Your session has ended")
        except Unavailable as error:
            get_logger("irc").debug("command refused", why=str(error))
            self.notice("The server is busy. Please try again in a moment.")
        except KiaiError as error:
            self.notice(f"{error}.")
        except ConnectionError:  # the client is gone
            raise
        except Exception as error:  # a fault of the server loses this command, not the connection
            get_logger("irc").error("command failed", command=command[:32], exc_info=error)
            self.notice("Internal error.")
        return 1.0

    async def _pace(self, price: float) -> None:
        now = self.now()
        self._allowance = min(COMMANDS_BURST, self._allowance + (now - self._allowed_at) * COMMANDS_PER_S) - price
        self._allowed_at = now
        if self._allowance < 0:
            await asyncio.sleep(-self._allowance / COMMANDS_PER_S)

    # --- its end

    def is_closing(self) -> bool:
        """Return whether nothing more is sent or read, also because the client is gone."""
        return self.closing or self._writer.transport.is_closing()

    def close(self, reason: str = "") -> None:
        """Close the connection after what was sent; with a reason, an ERROR is the last line."""
        if self.closing:
            return
        if reason:
            self.send(f"ERROR :{reason}")
        self.closing, self.closing_since = True, self.now()
        self._writer.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self.closing = True
        self._writer.transport.abort()

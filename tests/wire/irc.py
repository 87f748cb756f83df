"""A client of IRC that sends and reads raw lines."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from tests import stores
from tests.patience import Deadline, patiently
from tests.wire.kit import Server
from tests.wire.test_bancho_bad_input import PASSWORD

from kiai.app import open_services
from kiai.staff import OPERATOR

WITHIN_S: Final = 10.0
QUIET_S: Final = 0.6
"""Time in which a line that must not come would have come."""


class IrcClient:
    """One connection. `heard` has every line that was read and not yet taken."""

    def __init__(self, port: int, *, tls: ssl.SSLContext | None = None, source: str = "127.0.0.1") -> None:
        raw = socket.create_connection(("127.0.0.1", port), patiently(WITHIN_S), source_address=(source, 0))
        self.socket = raw if tls is None else tls.wrap_socket(raw, server_hostname="localhost")
        self.heard: list[str] = []
        self.nick = ""
        self.ended = False
        self._held = b""

    def __enter__(self) -> "IrcClient":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection without a QUIT."""
        self.socket.close()

    def send(self, *lines: str) -> None:
        """Send lines."""
        self.send_bytes(b"".join(f"{line}\r\n".encode() for line in lines))

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def _read(self, within_s: float) -> None:
        self.socket.settimeout(max(0.01, within_s))
        try:
            data = self.socket.recv(65_536)
        except TimeoutError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self.ended = True
            return
        *lines, self._held = (self._held + data).split(b"\r\n")
        for line in lines:
            assert len(line) <= 510, line
            assert not set(line) & set(b"\r\n\x00"), line
            self.heard.append(line.decode())

    def wait(self, holds: Callable[[str], bool] | str) -> str:
        """Return the first line that holds, or that contains this text. Forgets it and the lines before it."""
        deadline = Deadline(WITHIN_S)
        seen: list[str] = []
        while True:
            while self.heard:
                line = self.heard.pop(0)
                seen.append(line)
                if holds in line if isinstance(holds, str) else holds(line):
                    return line
            assert not self.ended, ("closed", holds, seen)
            assert not deadline.passed(), (holds, seen)
            self._read(deadline.left_s())

    def until(self, text: str) -> list[str]:
        """Return the lines up to the first that contains this text."""
        lines: list[str] = []

        def keep(line: str) -> bool:
            lines.append(line)
            return text in line

        self.wait(keep)
        return lines

    def quiet(self) -> list[str]:
        """Return the lines that come within a moment, after all earlier commands were answered."""
        self.send("PING :so far")
        lines = self.until(":so far")[:-1]
        deadline = Deadline(QUIET_S)
        while not deadline.passed():
            self._read(deadline.left_s())
        lines += self.heard
        self.heard = []
        return lines

    def until_end(self) -> list[str]:
        """Return all lines up to the end of the connection."""
        deadline = Deadline(WITHIN_S)
        while not self.ended:
            assert not deadline.passed(), self.heard
            self._read(deadline.left_s())
        lines, self.heard = self.heard, []
        return lines

    def log_in(self, name: str, password: str) -> list[str]:
        """Log in and return the lines of the welcome."""
        self.nick = name.replace(" ", "_")
        self.send(f"PASS {password}", f"NICK {self.nick}", f"USER {self.nick} 0 * :{name}")
        return self.until(" 376 ")

    def join(self, channel: str) -> list[str]:
        """Join a channel and return the lines up to the end of the list of names."""
        self.send(f"JOIN {channel}")
        return self.until(" 366 ")


def connect(server: Server, name: str, password: str) -> IrcClient:
    """Connect to a server and log in."""
    client = IrcClient(server.irc_ports["irc"])
    client.log_in(name, password)
    return client


def add_players(data: Path, names: Sequence[str], *, bots: Sequence[str] = ()) -> dict[str, str]:
    """Create players of a server that has not started. Return their IRC passwords by name."""

    async def scenario() -> dict[str, str]:
        passwords = {}
        async with open_services(stores.settings(data)) as services:
            for name in names:
                user_id = await services.accounts.register(
                    name=name,
                    email=f"{name.replace(' ', '.')}@example.org",
                    password=PASSWORD.format(name),
                    priv=3,
                    country="nl",
                )
                passwords[name] = await services.site.irc_passwords.create(user_id)
            for name in bots:
                await services.site.chat_bots.set(OPERATOR, name, on=True)
        return passwords

    return asyncio.run(scenario())

"""Raw HTTP for the benchmarks that watch single requests: keep-alive connections, one request at a time on each."""

import asyncio
import contextlib
from typing import Final, NamedTuple

ANSWER_S: Final = 60.0
HEAD_MAX: Final = 64 * 1024


class Answer(NamedTuple):
    """An answer. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def request(
    method: str, host: str, target: str, address: str, headers: dict[str, str] | None = None, body: bytes = b""
) -> bytes:
    """A whole request that a proxy passes on for `address`."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", f"X-Forwarded-For: {address}", "User-Agent: osu!"]
    lines += [f"{name}: {text}" for name, text in (headers or {}).items()]
    if method != "GET":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Connections:
    """As many connections to one server as requests are under way, used again and again."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, raw: bytes) -> Answer:
        """Sends one request. Raises OSError, IncompleteReadError and TimeoutError."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                break
            writer.close()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=HEAD_MAX)
        try:
            async with asyncio.timeout(ANSWER_S):
                writer.write(raw)
                with contextlib.suppress(ConnectionError):  # refused before it was read whole: the answer is there
                    await writer.drain()
                answer = await read_answer(reader)
        except BaseException:
            writer.close()
            raise
        if answer.headers.get("connection") == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        return answer

    def close(self) -> None:
        """Closes what is open."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """The next answer of a connection. Its length must be declared. Raises IncompleteReadError."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {}
    for line in head[1:]:
        name, _, text = line.partition(":")
        headers[name.lower()] = text.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Answer(int(head[0].split(" ")[1]), headers, body)

"""A raw HTTP client for benchmarks that measure single requests: keep-alive connections with one request at a time."""

import asyncio
import contextlib
from typing import Final, NamedTuple

TIMEOUT_S: Final = 60.0
HEAD_MAX: Final = 64 * 1024


class Response(NamedTuple):
    """A response. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def request(
    method: str, host: str, target: str, address: str, headers: dict[str, str] | None = None, body: bytes = b""
) -> bytes:
    """Return a complete request, as forwarded by a proxy for `address`."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", f"X-Forwarded-For: {address}", "User-Agent: osu!"]
    lines += [f"{name}: {text}" for name, text in (headers or {}).items()]
    if method != "GET":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Connections:
    """A pool of connections to one server, which grows with the number of concurrent requests."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, raw: bytes) -> Response:
        """Send a request and return the response. Raises OSError, IncompleteReadError and TimeoutError."""
        # The server may have closed an idle connection.
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                break
            writer.close()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=HEAD_MAX)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                writer.write(raw)
                with contextlib.suppress(ConnectionError):  # a server that rejects a body closes without reading it all
                    await writer.drain()
                answer = await read_response(reader)
        except BaseException:
            writer.close()
            raise
        if answer.headers.get("connection") == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        return answer

    def close(self) -> None:
        """Close all idle connections."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()


async def read_response(reader: asyncio.StreamReader) -> Response:
    """Read a response with a Content-Length from a connection. Raises IncompleteReadError."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {}
    for line in head[1:]:
        name, _, text = line.partition(":")
        headers[name.lower()] = text.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Response(int(head[0].split(" ")[1]), headers, body)

"""A front that accepts TLS and passes the bytes on: the Redis of the tests cannot speak TLS itself."""

import asyncio
import contextlib
import functools
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

from tests.patience import patiently

PIECE_BYTES = 65_536


@contextlib.contextmanager
def tls_front(context: ssl.SSLContext, port: int) -> Iterator[int]:
    """Accept TLS with `context` on a free port of 127.0.0.1 and pass it on to `port`. Yield the free port."""
    ready: Future[tuple[int, Callable[[], object]]] = Future()

    async def serve() -> None:
        server = await asyncio.start_server(lambda *streams: _pass_on(port, *streams), "127.0.0.1", 0, ssl=context)
        ended = asyncio.Event()
        end = functools.partial(asyncio.get_running_loop().call_soon_threadsafe, ended.set)
        ready.set_result((server.sockets[0].getsockname()[1], end))
        await ended.wait()
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    opened, end = ready.result(patiently(5.0))
    try:
        yield opened
    finally:
        end()
        thread.join(patiently(5.0))


async def _pass_on(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(asyncio.CancelledError):  # the front ends
        await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()
        await writer.wait_closed()

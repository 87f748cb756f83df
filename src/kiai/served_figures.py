"""The figures of the running server, for `kiai top`: a Unix socket in the data folder sends them to each connection.

The workers of a server share it, and each sends the sums of all of them.

    connection opened -> one JSON object (`ServerFigures`) -> connection closed by the server
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import msgspec

from kiai.errors import Refused, Unavailable
from kiai.measuring import P99, Reading, quantile
from kiai.private_socket import opened_socket, short_path

FILE: Final = "kiai.sock"
ANSWER_S: Final = 5.0
BYTES_MAX: Final = 1 << 20


class StoreFigures(msgspec.Struct, frozen=True):
    """A store: `ok` or the reason why it does not work, and its calls since the start by duration.

    `durations` are as in `Reading`, with the bounds `call_bounds_s` of `ServerFigures`; empty without calls.
    """

    status: str
    durations: tuple[float, ...] = ()


class SlowStatement(msgspec.Struct, frozen=True):
    """A slow statement of the database: its slowest run of the last five minutes, and its slow runs since the start."""

    statement: str
    ms: float
    times: int


class ServerFigures(msgspec.Struct, frozen=True):
    """The sums of all workers. `at_s` is a clock that only differences of are of use."""

    at_s: float
    reading: Reading
    bounds_ms: tuple[float, ...]
    rss_bytes: int
    workers: int
    stores: dict[str, StoreFigures]
    call_bounds_s: tuple[float, ...]
    slow: list[SlowStatement] = []


class StoreRates(msgspec.Struct, frozen=True):
    """A store between two readings. `p99_ms` is None without calls."""

    status: str
    calls_per_s: float
    p99_ms: float | None


class Rates(msgspec.Struct, frozen=True):
    """A server between two readings.

    `p99_ms` is None without requests, `loop_lag_ms` (the largest of the last minute) and `online` while unknown. `slow`
    has the slowest statements of the last five minutes.
    """

    online: int | None
    requests_per_s: float
    p99_ms: float | None
    loop_lag_ms: float | None
    rss_bytes: int
    workers: int
    stores: dict[str, StoreRates]
    slow: list[SlowStatement] = []


def rates_between(before: ServerFigures, now: ServerFigures) -> Rates:
    """Return the rates from an earlier to a later reading of one server."""
    seconds = max(now.at_s - before.at_s, 0.001)
    durations = _increase(before.reading.durations, now.reading.durations)
    stores = {}
    for name, store in now.stores.items():
        earlier = before.stores.get(name)
        calls = _increase(() if earlier is None else earlier.durations, store.durations)
        p99_s = quantile(now.call_bounds_s, calls, P99)
        stores[name] = StoreRates(
            store.status, round(sum(calls) / seconds, 1), None if p99_s is None else round(p99_s * 1000, 2)
        )
    p99_ms = quantile(now.bounds_ms, durations, P99)
    return Rates(
        online=now.reading.online,
        requests_per_s=round(max(0, now.reading.requests - before.reading.requests) / seconds, 1),
        p99_ms=None if p99_ms is None else round(p99_ms, 2),
        loop_lag_ms=now.reading.lag_ms,
        rss_bytes=now.rss_bytes,
        workers=now.workers,
        stores=stores,
        slow=now.slow,
    )


def _increase(before: tuple[float, ...], now: tuple[float, ...]) -> list[float]:
    # Counters become smaller when the server is started again between the readings, perhaps with other bounds.
    if len(before) != len(now):
        return list(now)
    return [max(0.0, count - earlier) for count, earlier in zip(now, before, strict=True)]


# --- the server's side


def opened_figures_socket(data: Path) -> AbstractContextManager[socket.socket | None]:
    """Open the socket, and close and remove it at the end of the block. See `opened_socket`."""
    return opened_socket(data, FILE)


class FiguresSender:
    """Sends the figures of `read` to each connection to the socket. One process of several may get a connection."""

    def __init__(self, listening: socket.socket, read: Callable[[], Awaitable[ServerFigures]]) -> None:
        self._listening = listening
        self._read = read
        self._sending: set[asyncio.Task[None]] = set()  # the event loop has only weak references to tasks

    def start(self) -> None:
        """Accept connections."""
        asyncio.get_running_loop().add_reader(self._listening.fileno(), self._accept)

    def stop(self) -> None:
        """Accept no further connection."""
        asyncio.get_running_loop().remove_reader(self._listening.fileno())

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except OSError:  # another worker was faster, or no file descriptor is left
            return
        connection.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._send(connection), name="figures")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                answer = msgspec.json.encode(await self._read())
                await asyncio.get_running_loop().sock_sendall(connection, answer)


# --- the side of `kiai top`


def read_figures(data: Path) -> ServerFigures:
    """Return the figures of the server that runs on this data folder.

    Raises Refused if no server runs, Unavailable if it does not answer in time.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_S)
        try:
            with short_path(data, FILE) as path:
                connection.connect(path)
            answer = b""
            while len(answer) < BYTES_MAX and (part := connection.recv(1 << 16)):
                answer += part
            return msgspec.json.decode(answer, type=ServerFigures)
        except (FileNotFoundError, ConnectionRefusedError):
            raise Refused(f"no server runs on {data}; start one with `kiai serve`, or choose another --data") from None
        except PermissionError:
            raise Refused(
                f"{data / FILE} belongs to another account; run the command as the account of the server"
            ) from None
        except (OSError, msgspec.DecodeError) as error:
            raise Unavailable("the server", f"{error or 'no answer'}; SIGUSR1 writes what it does to its log") from None

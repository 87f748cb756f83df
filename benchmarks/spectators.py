"""`scripts/bench spectators`: the cost of a bundle of frames with 1,000 spectators, as a ratio to one spectator.

The cost must not grow with the number of spectators. Both adapters of shared state are measured in this process:
memory, and a Redis on this machine.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final

from rich.console import Console
from rich.table import Table
from tests.redises import RedisServer

from kiai.clock import SystemClock
from kiai.faces.bancho.announce import spectate
from kiai.realtime.memory import MemoryRealtime
from kiai.realtime.port import Entry, Realtime, Session
from kiai.realtime.redis import RedisRealtime
from kiai.spectating.events import FramesReceived
from kiai.spectating.service import Spectating, spectator_topics

HOST: Final = 3
LONE_HOST: Final = 4
SPECTATORS: Final = 1_000
BUNDLES: Final = 300
ROUNDS: Final = 7
BUDGET: Final = 1.5
BUNDLE: Final = b"frames" * 100


def a_session(user_id: int, *, host: int = 0) -> Session:
    """Return a session; with a host, one that spectates the host."""
    return Session(
        token=f"token{user_id}",
        user_id=user_id,
        login_time_ms=user_id,
        spectating=host,
        follows=spectator_topics(host) if host else frozenset(),
    )


async def seconds(work: Callable[[], Awaitable[object]]) -> float:
    """Return the duration of `BUNDLES` sequential calls in seconds."""
    began = time.perf_counter()
    for _ in range(BUNDLES):
        await work()
    return time.perf_counter() - began


async def ratio(realtime: Realtime) -> float:
    """Return the median ratio: a bundle for 1,000 spectators against encoding and appending one for one spectator."""
    host = a_session(HOST)
    lone = a_session(1_000_000, host=LONE_HOST)
    await realtime.open_session(host)
    await realtime.open_session(lone)
    for number in range(SPECTATORS):
        await realtime.open_session(a_session(100 + number, host=HOST))

    def announce(fact: object) -> list[Entry]:
        return list(spectate.TABLE[type(fact)](fact))

    spectating = Spectating(realtime, announce)
    ratios = []
    for _ in range(ROUNDS):
        floor = await seconds(lambda: realtime.append(announce(FramesReceived(LONE_HOST, BUNDLE))))
        ratios.append(await seconds(lambda: spectating.frames(host, BUNDLE)) / floor)
    return statistics.median(ratios)


async def measure() -> dict[str, float]:
    """Return the ratio of each adapter."""
    found = {"memory": await ratio(MemoryRealtime(SystemClock()))}
    server = RedisServer()
    realtime = RedisRealtime.connect(server.url, SystemClock())
    try:
        found["redis"] = await ratio(realtime)
    finally:
        await realtime.close()
        server.close()
    return found


def main() -> int:
    """Measure and print a table. Return 1 if the budget is missed, otherwise 0."""
    figures = asyncio.run(measure())
    table = Table(title=f"A bundle of frames with {SPECTATORS:,} spectators, against one spectator")
    for column in ("state", "ratio", "budget", "verdict"):
        table.add_column(column)
    for name, figure in figures.items():
        table.add_row(name, f"{figure:.2f}", f"<= {BUDGET}", "ok" if figure <= BUDGET else "MISSED")
    Console().print(table)
    return 0 if max(figures.values()) <= BUDGET else 1


if __name__ == "__main__":
    sys.exit(main())

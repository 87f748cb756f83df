"""`scripts/bench spectators`: what one bundle of frames costs with 1,000 spectators, as a ratio to one for one reader.

The cost must not grow with the number of spectators. Both adapters of the realtime state are measured in this process:
memory, and a real Redis on this machine.
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
from kiai.spectating.service import Framed, Spectating, topics_of

HOST: Final = 3
LONE_HOST: Final = 4
SPECTATORS: Final = 1_000
BUNDLES: Final = 300
ROUNDS: Final = 7
BUDGET: Final = 1.5
BUNDLE: Final = b"frames" * 100


def a_session(user_id: int, *, host: int = 0) -> Session:
    """A session, watching the host if there is one."""
    return Session(
        token=f"token{user_id}",
        user_id=user_id,
        login_time_ms=user_id,
        spectating=host,
        follows=topics_of(host) if host else frozenset(),
    )


async def seconds(work: Callable[[], Awaitable[object]]) -> float:
    """How long `BUNDLES` runs of this take, one after another."""
    began = time.perf_counter()
    for _ in range(BUNDLES):
        await work()
    return time.perf_counter() - began


async def ratio(realtime: Realtime) -> float:
    """The median over the rounds of a bundle for 1,000 spectators against encoding and appending one for one reader."""
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
        floor = await seconds(lambda: realtime.append(announce(Framed(LONE_HOST, BUNDLE))))
        ratios.append(await seconds(lambda: spectating.frames(host, BUNDLE)) / floor)
    return statistics.median(ratios)


async def measure() -> dict[str, float]:
    """The ratio of each adapter."""
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
    """Measures, prints a table, and returns 1 when the budget is missed."""
    figures = asyncio.run(measure())
    table = Table(title=f"A bundle of frames with {SPECTATORS:,} spectators, against one for one reader")
    for column in ("state", "ratio", "budget", "held"):
        table.add_column(column)
    for name, figure in figures.items():
        table.add_row(name, f"{figure:.2f}", f"<= {BUDGET}", "yes" if figure <= BUDGET else "no")
    Console().print(table)
    return 0 if max(figures.values()) <= BUDGET else 1


if __name__ == "__main__":
    sys.exit(main())

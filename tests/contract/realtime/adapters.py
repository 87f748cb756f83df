"""The adapters that must keep the promises of the realtime port: each once as it is, and once made strict."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from redis.asyncio import Redis
from tests.contract.realtime.strict import strict
from tests.redises import a_redis

from kiai.clock import Clock
from kiai.realtime.memory import MemoryRealtime
from kiai.realtime.port import Realtime
from kiai.realtime.redis import RedisRealtime

Adapter = Callable[[Clock], AbstractAsyncContextManager[Realtime]]
"""Opens an empty state that takes its time from the clock, and clears it away at the end."""


@asynccontextmanager
async def memory(clock: Clock) -> AsyncIterator[Realtime]:
    """The state in the process."""
    yield MemoryRealtime(clock)


def strictly(adapter: Adapter) -> Adapter:
    """The same adapter behind the strict wrapper."""

    @asynccontextmanager
    async def opened(clock: Clock) -> AsyncIterator[Realtime]:
        async with adapter(clock) as realtime:
            yield strict(realtime)

    return opened


@asynccontextmanager
async def redis(clock: Clock) -> AsyncIterator[Realtime]:
    """The state in a real Redis from a wheel, one for all tests of a process and emptied for each."""
    client: Redis = Redis.from_url(a_redis().url)
    await client.flushall()
    realtime = RedisRealtime(client, clock, now=clock.monotonic)
    try:
        yield realtime
    finally:
        await realtime.close()


PLAIN: Final[dict[str, Adapter]] = {"memory": memory, "redis": redis}
ADAPTERS: Final[dict[str, Adapter]] = PLAIN | {f"strict {name}": strictly(adapter) for name, adapter in PLAIN.items()}

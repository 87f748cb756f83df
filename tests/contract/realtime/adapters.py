"""The adapters of the realtime port under test: each one plain, and once behind the strict wrapper."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from redis.asyncio import Redis
from tests.contract.realtime.strict import strict
from tests.redis_clusters import a_redis_cluster
from tests.redises import RedisServer, a_redis, a_valkey

from kiai.clock import Clock
from kiai.realtime.connecting import connect
from kiai.realtime.memory import MemoryRealtime
from kiai.realtime.port import POLL_BYTES_MAX, Entry, Realtime, Session
from kiai.realtime.redis import RedisRealtime

Adapter = Callable[[Clock], AbstractAsyncContextManager[Realtime]]
"""Opens an empty state that uses the given clock, and clears it at the end."""


@asynccontextmanager
async def memory(clock: Clock) -> AsyncIterator[Realtime]:
    """Open a state in the process."""
    yield MemoryRealtime(clock)


class _MemoryAtOnce(MemoryRealtime):
    """Polls as quick answers do: without waiting, where the session is ready."""

    async def poll(self, token: str, most_bytes: int = POLL_BYTES_MAX) -> tuple[Session, list[Entry]]:
        session = self.ready_session(token) if most_bytes == POLL_BYTES_MAX else None
        return await super().poll(token, most_bytes) if session is None else (session, self.poll_at_once(token))


@asynccontextmanager
async def memory_at_once(clock: Clock) -> AsyncIterator[Realtime]:
    """Open a state in the process, and poll it at once."""
    yield _MemoryAtOnce(clock)


class _RedisAtOnce(RedisRealtime):
    """Reads the changes before each poll and answers it without Redis where the session is ready, as workers do."""

    async def poll(self, token: str, most_bytes: int = POLL_BYTES_MAX) -> tuple[Session, list[Entry]]:
        await self.read_changes()
        session = self.ready_session(token) if most_bytes == POLL_BYTES_MAX else None
        return await super().poll(token, most_bytes) if session is None else (session, self.poll_at_once(token))

    async def idle_s(self, token: str) -> float:
        await self.read_changes()
        return await super().idle_s(token)

    async def idle_sessions(self, idle_s: float, most: int = 1_000) -> list[str]:
        await self.read_changes()
        return await super().idle_sessions(idle_s, most)


@asynccontextmanager
async def redis_at_once(clock: Clock) -> AsyncIterator[Realtime]:
    """Open a state in a real Redis, and poll it as a worker does that follows the changes."""
    client: Redis = Redis.from_url(a_redis().url)
    await client.flushall()
    realtime = _RedisAtOnce(client, clock, now=clock.monotonic)
    try:
        yield realtime
    finally:
        await realtime.close()


def strictly(adapter: Adapter) -> Adapter:
    """Wrap an adapter with the strict wrapper."""

    @asynccontextmanager
    async def opened(clock: Clock) -> AsyncIterator[Realtime]:
        async with adapter(clock) as realtime:
            yield strict(realtime)

    return opened


def redis(clock: Clock) -> AbstractAsyncContextManager[Realtime]:
    """Open a state in a real Redis, which all tests of a process share and each test empties."""
    return _emptied(a_redis(), clock)


def valkey(clock: Clock) -> AbstractAsyncContextManager[Realtime]:
    """Open a state in a real Valkey, which all tests of a process share and each test empties."""
    return _emptied(a_valkey(), clock)


@asynccontextmanager
async def cluster(clock: Clock) -> AsyncIterator[Realtime]:
    """Open a state in a real Redis Cluster of three nodes, which all tests of a process share and each test empties."""
    servers = a_redis_cluster()
    servers.empty()
    client = connect(servers.url)
    realtime = RedisRealtime(client, clock, now=clock.monotonic)
    try:
        yield realtime
    finally:
        await realtime.close()


@asynccontextmanager
async def _emptied(server: RedisServer, clock: Clock) -> AsyncIterator[Realtime]:
    client: Redis = Redis.from_url(server.url)
    await client.flushall()
    realtime = RedisRealtime(client, clock, now=clock.monotonic)
    try:
        yield realtime
    finally:
        await realtime.close()


PLAIN: Final[dict[str, Adapter]] = {"memory": memory, "redis": redis}
AT_ONCE: Final[dict[str, Adapter]] = {"memory at once": memory_at_once, "redis at once": redis_at_once}
ADAPTERS: Final[dict[str, Adapter]] = (
    PLAIN
    | AT_ONCE
    | {f"strict {name}": strictly(adapter) for name, adapter in PLAIN.items()}
    | {"valkey": valkey, "cluster": cluster}
)

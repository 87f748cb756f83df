"""Reads from a streaming replica of PostgreSQL that still see everything committed before the call.

A read asks the primary for the end of its log, and runs on the replica as soon as that has replayed the log up to
there. So no cache is filled with old rows, and players see their own plays. A replica that does not catch up within
`CATCH_UP_S`, is gone or was promoted is left alone for `AWAY_S`, and the primary answers.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic
from typing import Any, Final

import asyncpg

from kiai.errors import Unavailable
from kiai.logs import get_logger

CATCH_UP_S: Final = 0.1
ASK_AGAIN_S: Final = 0.005
AWAY_S: Final = 1.0
REPLY_TIMEOUT_S: Final = 0.5
END_OF_LOG: Final = """SELECT ((CASE current_setting('synchronous_commit')
WHEN 'off' THEN pg_current_wal_insert_lsn() ELSE pg_current_wal_flush_lsn() END) - '0/0')::bigint"""
"""Every committed transaction is before it. Without `off`, a commit waits until the log is on the disk."""
REPLAYED: Final = "SELECT (pg_last_wal_replay_lsn() - '0/0')::bigint WHERE pg_is_in_recovery()"
_FAILED: Final = (
    OSError,
    TimeoutError,
    Unavailable,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


class Replica:
    """A replica. `ask_primary` returns the end of the primary's log; `pool` has connections to the replica."""

    def __init__(self, pool: Any, ask_primary: Callable[[], Awaitable[int]]) -> None:
        self._pool = pool
        self._ask_primary = ask_primary
        self._asking: asyncio.Task[int] | None = None
        self._away_until = 0.0
        self._caught_up_at = monotonic()
        self._is_used = True
        self._lag_s = 0.0

    @property
    def lag_s(self) -> float:
        """The seconds for which the last read waited; without a usable replica, the seconds since the last use."""
        return self._lag_s if self._is_used else monotonic() - self._caught_up_at

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Any | None]:
        """Use a connection whose reads see everything committed before the call, or None if the replica cannot serve.

        Raises Unavailable if the primary does not answer.
        """
        connection = None
        if monotonic() >= self._away_until:
            if not self._is_used:
                self._away_until = monotonic() + AWAY_S  # only this read tries it
            began, end = monotonic(), await self._end_of_log()
            connection = await self._caught_up(end, began)
        try:
            yield connection
        finally:
            if connection is not None:
                with contextlib.suppress(*_FAILED):
                    await self._pool.release(connection)

    async def _end_of_log(self) -> int:
        """Return the end of the log at or after the call. The calls of one turn of the loop share a question."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> int:
        await asyncio.sleep(0)  # lets the callers of this turn join
        self._asking = None  # those of later turns need a newer answer
        return await self._ask_primary()

    async def _caught_up(self, end: int, began: float) -> Any | None:
        connection = None
        try:
            connection = await self._pool.acquire(timeout=REPLY_TIMEOUT_S)
            while (replayed := await connection.fetchval(REPLAYED, timeout=REPLY_TIMEOUT_S)) is not None:
                if replayed >= end:
                    self._use(monotonic() - began)
                    return connection
                if monotonic() - began > CATCH_UP_S:
                    break
                await asyncio.sleep(ASK_AGAIN_S)
            self.leave("it is behind" if replayed is not None else "it is not a replica")
        except _FAILED as error:
            if connection is not None:
                connection.terminate()
            self.leave(str(error) or type(error).__name__)
        except BaseException:  # the caller was cancelled
            if connection is not None:
                connection.terminate()
                with contextlib.suppress(*_FAILED):
                    await self._pool.release(connection)
            raise
        if connection is not None:
            with contextlib.suppress(*_FAILED):
                await self._pool.release(connection)
        return None

    def _use(self, waited_s: float) -> None:
        self._caught_up_at, self._lag_s = monotonic(), waited_s
        if not self._is_used:
            self._is_used = True
            get_logger("database").info("the replica answers reads again")

    def leave(self, why: str) -> None:
        """Leave the replica alone for a while. Logs the first time."""
        self._away_until = monotonic() + AWAY_S
        if self._is_used:
            self._is_used = False
            get_logger("database").warning("the primary answers all reads", why=f"replica: {why}")

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()

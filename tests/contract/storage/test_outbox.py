"""The outbox delivers every row, in whatever order their transactions end."""

import asyncio
from collections.abc import Sequence

import asyncpg
from tests import engines
from tests.conftest import Run

from kiai.clock import ManualClock
from kiai.storage.outbox import COUNTED_MAX, Backlog, Outbox, tell
from kiai.storage.port import Database, Transaction


async def told(database: Database, payload: str, at_ms: int = 0) -> None:
    async def body(tx: Transaction) -> None:
        await tell(tx, "news", payload, at_ms)

    await database.transaction(body)


def test_each_row_is_delivered_once_and_gone(database: Database, run: Run) -> None:
    async def story() -> list[str]:
        heard: list[str] = []

        async def hear(payloads: Sequence[str]) -> None:
            heard.extend(payloads)

        outbox = Outbox(database, ManualClock(0))
        outbox.to("news", hear)
        for number in range(3):
            await told(database, str(number))
        await outbox.deliver()
        await outbox.deliver()
        return heard

    assert run(story()) == ["0", "1", "2"]


def test_the_backlog_is_how_many_wait_and_since_when(database: Database, run: Run) -> None:
    async def story() -> list[Backlog]:
        outbox = Outbox(database, ManualClock(0))
        seen = [await outbox.backlog()]
        for number in range(5):
            await told(database, str(number), at_ms=1_000 + number)
        seen.append(await outbox.backlog())
        await outbox.deliver()
        return [*seen, await outbox.backlog()]

    assert run(story()) == [Backlog(0, None, {}), Backlog(5, 1_000, {}), Backlog(0, None, {})]


def test_a_backlog_without_end_is_counted_to_a_bound(database: Database, run: Run) -> None:
    async def story() -> Backlog:
        async def body(tx: Transaction) -> None:
            for number in range(COUNTED_MAX + 100):
                await tell(tx, "news", number, 5)

        await database.transaction(body, long=True)
        return await Outbox(database, ManualClock(0)).backlog()

    assert run(story()) == Backlog(COUNTED_MAX, 5, {})


def test_a_row_that_is_committed_while_later_ones_are_delivered_is_not_lost() -> None:
    """PostgreSQL numbers rows when they are written, not when they are committed."""

    async def story(url: str) -> list[str]:
        heard: list[str] = []
        slow = await asyncpg.connect(url)
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute("INSERT INTO outbox (at_ms, kind, payload) VALUES (0, 'news', 'slow')")

        async def hear(payloads: Sequence[str]) -> None:
            heard.extend(payloads)
            if heard == ["quick"]:
                await transaction.commit()

        async with engines.opened(url) as database:
            outbox = Outbox(database, ManualClock(0))
            outbox.to("news", hear)
            await told(database, "quick")
            await outbox.deliver()
            await outbox.deliver()
        await slow.close()
        return heard

    with engines.postgres_database() as url:
        assert asyncio.run(story(url)) == ["quick", "slow"]

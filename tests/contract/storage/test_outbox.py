"""The outbox delivers every row, in whatever order their transactions end."""

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest
from tests import engines
from tests.conftest import Run

from kiai.clock import ManualClock
from kiai.errors import Unavailable
from kiai.storage.outbox import COUNTED_MAX, TRIES_MAX, WAIT_MS, Backlog, Outbox, revive, tell
from kiai.storage.port import Database, Transaction


async def told(database: Database, payload: str, at_ms: int = 0, kind: str = "news") -> None:
    async def body(tx: Transaction) -> None:
        await tell(tx, kind, payload, at_ms)

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


class Receiver:
    """Takes payloads, but not those in `poison`, and none while `fails` lasts."""

    def __init__(self, *poison: str, fails: int = 0, error: Exception | None = None) -> None:
        self.heard: list[str] = []
        self.poison = set(poison)
        self.fails = fails
        self.error = error or RuntimeError("a receiver is broken")

    async def __call__(self, payloads: Sequence[str]) -> None:
        if self.fails or self.poison & set(payloads):
            self.fails = max(0, self.fails - 1)
            raise self.error
        self.heard += payloads


def test_what_failed_once_is_delivered_again_although_nobody_commits(database: Database, run: Run) -> None:
    async def story() -> list[str]:
        clock, receiver = ManualClock(0), Receiver(fails=2)  # all together, and alone
        outbox = Outbox(database, clock)
        outbox.to("news", receiver)
        await told(database, "one")
        assert await outbox.deliver() == 0
        assert await outbox.deliver() == 0, "its time has not come"
        clock.advance(WAIT_MS / 1000)
        assert await outbox.deliver() == 1
        assert await outbox.deliver() == 0
        return receiver.heard

    assert run(story()) == ["one"]


def test_a_kind_whose_receiver_always_fails_holds_up_no_other(database: Database, run: Run) -> None:
    async def story() -> list[str]:
        broken, sound = Receiver(fails=10**9), Receiver()
        outbox = Outbox(database, ManualClock(0))
        outbox.to("broken", broken)
        outbox.to("news", sound)

        async def body(tx: Transaction) -> None:
            for number in range(600):  # more than are read at once, all in front
                await tell(tx, "broken", number, 0)
            await tell(tx, "news", "after them", 0)

        await database.transaction(body)
        assert await outbox.deliver() == 1
        return sound.heard

    assert run(story()) == ["after them"]


def test_a_row_that_cannot_be_delivered_costs_itself_alone(database: Database, run: Run) -> None:
    async def story() -> tuple[list[str], list[str]]:
        picky, sound = Receiver("bad"), Receiver()
        outbox = Outbox(database, ManualClock(0))
        outbox.to("news", picky)
        outbox.to("news", sound)
        for payload in ("first", "bad", "last"):
            await told(database, payload)
        assert await outbox.deliver() == 2
        return picky.heard, sound.heard

    assert run(story()) == (["first", "last"], ["first", "bad", "last"])


def test_a_row_is_parked_after_its_last_try_and_revived(database: Database, run: Run) -> None:
    async def story() -> list[Backlog]:
        clock, receiver = ManualClock(0), Receiver("bad")
        outbox = Outbox(database, clock)
        outbox.to("news", receiver)
        await told(database, "bad")
        for tries in range(TRIES_MAX - 1):
            await outbox.deliver()
            clock.advance(WAIT_MS * 2**tries / 1000)
        seen = [await outbox.backlog()]
        await outbox.deliver()
        seen.append(await outbox.backlog())
        clock.advance(10**6)
        receiver.poison.clear()
        assert await outbox.deliver() == 0
        assert await database.transaction(revive) == 1
        assert await outbox.deliver() == 1
        return [*seen, await outbox.backlog()]

    assert run(story()) == [Backlog(1, 0, {}), Backlog(0, None, {"news": 1}), Backlog(0, None, {})]


def test_a_store_that_is_away_costs_no_try_and_holds_up_no_other_kind(database: Database, run: Run) -> None:
    async def story() -> tuple[list[str], list[str]]:
        away, sound = Receiver(fails=TRIES_MAX + 1, error=Unavailable("state", "away")), Receiver()
        outbox = Outbox(database, ManualClock(0))
        outbox.to("first", away)
        outbox.to("second", sound)
        await told(database, "one", kind="first")
        await told(database, "two", kind="second")
        for _ in range(TRIES_MAX + 1):
            with pytest.raises(Unavailable):
                await outbox.deliver()
        assert await outbox.deliver() == 1
        return away.heard, sound.heard

    assert run(story()) == (["one"], ["two"])

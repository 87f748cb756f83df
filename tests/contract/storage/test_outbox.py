"""The outbox delivers all rows, in any order of their commits."""

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest
from tests import engines
from tests.conftest import Run
from tests.patience import patiently

from kiai.clock import ManualClock
from kiai.errors import Unavailable
from kiai.storage.outbox import COUNTED_MAX, TRIES_MAX, WAIT_MS, Backlog, Outbox, enqueue, retry_parked
from kiai.storage.port import Database, Transaction

HANGS_S = 15.0


async def add_row(database: Database, payload: str, at_ms: int = 0, kind: str = "news") -> None:
    async def body(tx: Transaction) -> None:
        await enqueue(tx, kind, payload, at_ms)

    await database.transaction(body)


def test_each_row_is_delivered_once_and_deleted(database: Database, run: Run) -> None:
    async def scenario() -> list[str]:
        received: list[str] = []

        async def receive(payloads: Sequence[str]) -> None:
            received.extend(payloads)

        outbox = Outbox(database, ManualClock(0))
        outbox.subscribe("news", receive)
        for number in range(3):
            await add_row(database, str(number))
        await outbox.deliver()
        await outbox.deliver()
        return received

    assert run(scenario()) == ["0", "1", "2"]


def test_backlog_has_the_number_of_waiting_rows_and_the_oldest_time(database: Database, run: Run) -> None:
    async def scenario() -> list[Backlog]:
        outbox = Outbox(database, ManualClock(0))
        seen = [await outbox.backlog()]
        for number in range(5):
            await add_row(database, str(number), at_ms=1_000 + number)
        seen.append(await outbox.backlog())
        await outbox.deliver()
        return [*seen, await outbox.backlog()]

    assert run(scenario()) == [Backlog(0, None, {}), Backlog(5, 1_000, {}), Backlog(0, None, {})]


def test_backlog_is_counted_up_to_a_limit(database: Database, run: Run) -> None:
    async def scenario() -> Backlog:
        async def body(tx: Transaction) -> None:
            for number in range(COUNTED_MAX + 100):
                await enqueue(tx, "news", number, 5)

        await database.transaction(body, long=True)
        return await Outbox(database, ManualClock(0)).backlog()

    assert run(scenario()) == Backlog(COUNTED_MAX, 5, {})


def test_row_committed_during_the_delivery_of_later_ones_is_not_lost() -> None:
    """PostgreSQL numbers rows when they are written, not when they are committed."""

    async def scenario(url: str) -> list[str]:
        received: list[str] = []
        slow = await asyncpg.connect(url)
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute("INSERT INTO outbox (at_ms, kind, payload) VALUES (0, 'news', 'slow')")

        async def receive(payloads: Sequence[str]) -> None:
            received.extend(payloads)
            if received == ["quick"]:
                await transaction.commit()

        async with engines.opened(url) as database:
            outbox = Outbox(database, ManualClock(0))
            outbox.subscribe("news", receive)
            await add_row(database, "quick")
            await outbox.deliver()
            await outbox.deliver()
        await slow.close()
        return received

    with engines.postgres_database() as url:
        assert asyncio.run(scenario(url)) == ["quick", "slow"]


class Receiver:
    """A receiver that fails on the payloads in `poison`, and at its first `fails` calls."""

    def __init__(self, *poison: str, fails: int = 0, error: Exception | None = None) -> None:
        self.received: list[str] = []
        self.poison = set(poison)
        self.fails = fails
        self.error = error or RuntimeError("a receiver is broken")

    async def __call__(self, payloads: Sequence[str]) -> None:
        if self.fails or self.poison & set(payloads):
            self.fails = max(0, self.fails - 1)
            raise self.error
        self.received += payloads


def test_failed_row_is_delivered_again_without_a_new_commit(database: Database, run: Run) -> None:
    async def scenario() -> list[str]:
        clock, receiver = ManualClock(0), Receiver(fails=2)  # all together, and alone
        outbox = Outbox(database, clock)
        outbox.subscribe("news", receiver)
        await add_row(database, "one")
        assert await outbox.deliver() == 0
        assert await outbox.deliver() == 0, "its time has not come"
        clock.advance(WAIT_MS / 1000)
        assert await outbox.deliver() == 1
        assert await outbox.deliver() == 0
        return receiver.received

    assert run(scenario()) == ["one"]


def test_failing_receiver_does_not_delay_other_kinds(database: Database, run: Run) -> None:
    async def scenario() -> list[str]:
        broken, sound = Receiver(fails=10**9), Receiver()
        outbox = Outbox(database, ManualClock(0))
        outbox.subscribe("broken", broken)
        outbox.subscribe("news", sound)

        async def body(tx: Transaction) -> None:
            for number in range(600):  # more than are read at once, all in front
                await enqueue(tx, "broken", number, 0)
            await enqueue(tx, "news", "after them", 0)

        await database.transaction(body)
        assert await outbox.deliver() == 1
        return sound.received

    assert run(scenario()) == ["after them"]


@pytest.mark.parametrize("raises_first", [False, True])
def test_hanging_receiver_does_not_delay_other_kinds(database: Database, run: Run, raises_first: bool) -> None:
    async def scenario() -> tuple[list[str], Backlog]:
        async def hang(payloads: Sequence[str]) -> None:
            if raises_first and len(payloads) > 1:
                raise RuntimeError("a receiver is broken")
            await asyncio.Event().wait()

        clock, sound = ManualClock(0), Receiver()
        outbox = Outbox(database, clock, receiver_s=0.01)
        outbox.subscribe("hangs", hang)
        outbox.subscribe("news", sound)
        for payload in ("one", "two"):
            await add_row(database, payload, kind="hangs")
        async with asyncio.timeout(patiently(HANGS_S)):
            for tries in range(TRIES_MAX):
                await add_row(database, f"news {tries}")
                assert await outbox.deliver() == 1
                clock.advance(WAIT_MS * 2**tries / 1000)
        return sound.received, await outbox.backlog()

    received, backlog = run(scenario())

    assert received == [f"news {tries}" for tries in range(TRIES_MAX)]
    assert backlog == Backlog(0, None, {"hangs": 2})


def test_undeliverable_row_does_not_fail_the_others(database: Database, run: Run) -> None:
    async def scenario() -> tuple[list[str], list[str]]:
        picky, sound = Receiver("bad"), Receiver()
        outbox = Outbox(database, ManualClock(0))
        outbox.subscribe("news", picky)
        outbox.subscribe("news", sound)
        for payload in ("first", "bad", "last"):
            await add_row(database, payload)
        assert await outbox.deliver() == 2
        return picky.received, sound.received

    assert run(scenario()) == (["first", "last"], ["first", "bad", "last"])


def test_row_is_parked_after_its_last_try_and_can_be_retried(database: Database, run: Run) -> None:
    async def scenario() -> list[Backlog]:
        clock, receiver = ManualClock(0), Receiver("bad")
        outbox = Outbox(database, clock)
        outbox.subscribe("news", receiver)
        await add_row(database, "bad")
        for tries in range(TRIES_MAX - 1):
            await outbox.deliver()
            clock.advance(WAIT_MS * 2**tries / 1000)
        seen = [await outbox.backlog()]
        await outbox.deliver()
        seen.append(await outbox.backlog())
        clock.advance(10**6)
        receiver.poison.clear()
        assert await outbox.deliver() == 0
        assert await database.transaction(retry_parked) == 1
        assert await outbox.deliver() == 1
        return [*seen, await outbox.backlog()]

    assert run(scenario()) == [Backlog(1, 0, {}), Backlog(0, None, {"news": 1}), Backlog(0, None, {})]


def test_unavailable_store_costs_no_try_and_does_not_delay_other_kinds(database: Database, run: Run) -> None:
    async def scenario() -> tuple[list[str], list[str]]:
        away, sound = Receiver(fails=TRIES_MAX + 1, error=Unavailable("state", "away")), Receiver()
        outbox = Outbox(database, ManualClock(0))
        outbox.subscribe("first", away)
        outbox.subscribe("second", sound)
        await add_row(database, "one", kind="first")
        await add_row(database, "two", kind="second")
        for _ in range(TRIES_MAX + 1):
            with pytest.raises(Unavailable):
                await outbox.deliver()
        assert await outbox.deliver() == 1
        return away.received, sound.received

    assert run(scenario()) == (["one"], ["two"])

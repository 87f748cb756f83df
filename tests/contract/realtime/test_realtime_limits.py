"""Promises of the realtime port about `once`, `lease`, `consume` and `refund`."""

import asyncio
from collections.abc import Awaitable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract.realtime.adapters import ADAPTERS, Adapter
from tests.contract.realtime.conftest import Run

from kiai.at_once import ends_at_once
from kiai.clock import ManualClock
from kiai.realtime.port import FEED, Entry, RankEntry, Realtime


def test_once_is_true_for_one_of_many_concurrent_callers(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        answers = await asyncio.gather(*(realtime.once("nightly", 60) for _ in range(20)))

        assert sorted(answers) == [False] * 19 + [True]

    run(scenario)


def test_once_is_true_again_only_after_its_period(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        first = await realtime.once("nightly", 60)

        clock.advance(59.5)
        within = await realtime.once("nightly", 60)
        clock.advance(0.5)
        after = await realtime.once("nightly", 60)
        clock.advance(59.5)
        within_the_next = await realtime.once("nightly", 60)

        assert (first, within, after, within_the_next) == (True, False, True, False)

    run(scenario)


def test_once_appends_only_the_entries_of_the_first_caller(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        answers = [await realtime.once("notice:7", 60, [Entry(FEED, body)]) for body in (b"first", b"again")]

        assert answers == [True, False]
        assert await realtime.feed_after(FEED, 0) == (0, [b"first"])

    run(scenario)


def test_lease_has_one_holder_until_it_expires(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        assert await realtime.lease("job", "one", 10)
        assert not await realtime.lease("job", "other", 10)
        assert await realtime.lease("another job", "other", 10)

        clock.advance(9)
        assert not await realtime.lease("job", "other", 10)
        clock.advance(1)
        assert await realtime.lease("job", "other", 10)
        assert not await realtime.lease("job", "one", 10)

    run(scenario)


def test_lease_holder_can_extend_or_shorten_it(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.lease("job", "one", 10)
        clock.advance(9)

        assert await realtime.lease("job", "one", 10)
        clock.advance(9)
        assert not await realtime.lease("job", "other", 10)
        assert await realtime.lease("job", "one", 0.5)
        clock.advance(0.5)
        assert await realtime.lease("job", "other", 10)

    run(scenario)


def test_one_of_many_concurrent_callers_gets_the_lease(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        answers = await asyncio.gather(*(realtime.lease("job", str(number), 60) for number in range(20)))

        assert sorted(answers) == [False] * 19 + [True]

    run(scenario)


def test_refused_call_of_once_does_not_extend_the_period(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.once("nightly", 10)
        clock.advance(9)
        await realtime.once("nightly", 1_000)

        clock.advance(1)

        assert await realtime.once("nightly", 10)

    run(scenario)


def test_once_keys_are_independent(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        answers = [await realtime.once(key, for_s) for key, for_s in (("a", 1), ("b", 5), ("c", 60), ("a", 1))]

        clock.advance(5)
        later = [await realtime.once(key, 60) for key in ("a", "b", "c")]

        assert answers == [True, True, True, False]
        assert later == [True, True, False]

    run(scenario)


def test_once_keys_with_the_same_end_can_be_set_again_in_any_order(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        keys = [f"key-{number}" for number in range(10)]
        for key in keys:
            await realtime.once(key, 1)
        clock.advance(1)

        again = [await realtime.once(key, 60) for key in reversed(keys)]
        in_vain = [await realtime.once(key, 60) for key in keys]

        assert (again, in_vain) == ([True] * 10, [False] * 10)

    run(scenario)


def test_a_thousand_unexpired_once_keys_are_all_stored(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        first = [await realtime.once(f"key-{number}", 1 + number % 7) for number in range(1_000)]

        clock.advance(0.5)
        second = [await realtime.once(f"key-{number}", 1) for number in range(1_000)]

        assert all(first)
        assert not any(second)

    run(scenario)


def test_bucket_grants_exactly_its_limit(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        answers = [await realtime.consume("api:3", limit=7, period_s=60) for _ in range(9)]

        assert [result.granted for result in answers] == [True] * 7 + [False] * 2
        assert [result.remaining for result in answers] == [6, 5, 4, 3, 2, 1, 0, 0, 0]
        assert {result.limit for result in answers} == {7}

    run(scenario)


def test_bucket_grants_exactly_its_limit_to_concurrent_callers(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        answers = await asyncio.gather(*(realtime.consume("api:3", limit=10, period_s=60) for _ in range(30)))

        assert sum(result.granted for result in answers) == 10

    run(scenario)


def test_bucket_refills_continuously(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        for _ in range(60):
            await realtime.consume("api:3", limit=60, period_s=60)

        clock.advance(0.9)
        too_early = await realtime.consume("api:3", limit=60, period_s=60)
        clock.advance(0.1)
        in_time = await realtime.consume("api:3", limit=60, period_s=60)
        clock.advance(3.5)
        with_more = await realtime.consume("api:3", limit=60, period_s=60)

        assert [too_early.granted, in_time.granted, with_more.granted] == [False, True, True]
        assert with_more.remaining == 2

    run(scenario)


def test_bucket_never_exceeds_its_capacity(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.consume("api:3", limit=5, period_s=1)
        clock.advance(3_600)

        answers = [await realtime.consume("api:3", limit=5, period_s=1) for _ in range(6)]

        assert [result.granted for result in answers] == [True] * 5 + [False]

    run(scenario)


@pytest.mark.parametrize("burst", [2, 10, 30])
def test_burst_sets_the_capacity_and_limit_the_refill(run: Run, burst: int) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        at_once = [await realtime.consume("web:3", limit=10, period_s=1, burst=burst) for _ in range(burst + 1)]
        clock.advance(0.2)
        later = [await realtime.consume("web:3", limit=10, period_s=1, burst=burst) for _ in range(3)]

        assert [result.granted for result in at_once] == [True] * burst + [False]
        assert [result.granted for result in later] == [True, True, False]
        assert {result.limit for result in at_once} == {10}

    run(scenario)


def test_cost_is_consumed_completely_or_not_at_all(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        first = await realtime.consume("api:3", limit=10, period_s=10, cost=6)
        too_much = await realtime.consume("api:3", limit=10, period_s=10, cost=5)
        the_rest = await realtime.consume("api:3", limit=10, period_s=10, cost=4)

        assert [result.granted for result in (first, too_much, the_rest)] == [True, False, True]
        assert [result.remaining for result in (first, too_much, the_rest)] == [4, 4, 0]
        assert [result.reset_s for result in (first, too_much, the_rest)] == pytest.approx([6.0, 1.0, 10.0])

    run(scenario)


def test_same_cost_is_granted_after_the_time_that_a_refusal_names(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.consume("replays:3", limit=7, period_s=60, cost=5)
        refused = await realtime.consume("replays:3", limit=7, period_s=60, cost=4)

        clock.advance(refused.reset_s - 0.05)
        early = await realtime.consume("replays:3", limit=7, period_s=60, cost=4)
        clock.advance(early.reset_s)
        in_time = await realtime.consume("replays:3", limit=7, period_s=60, cost=4)

        assert [refused.granted, early.granted, in_time.granted] == [False, False, True]
        assert early.reset_s == pytest.approx(0.05)

    run(scenario)


def test_buckets_are_independent(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        answers = [
            await realtime.consume(bucket, limit=1, period_s=60) for bucket in ("api:3", "api:4", "api:3", "web:3")
        ]

        assert [result.granted for result in answers] == [True, True, False, True]

    run(scenario)


def test_buckets_in_use_are_kept_while_thousands_are_added(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.consume("api:3", limit=1, period_s=600)
        for number in range(3_000):
            await realtime.consume(f"web:{number}", limit=10, period_s=1)
            clock.advance(0.01)

        refused = await realtime.consume("api:3", limit=1, period_s=600)

        assert not refused.granted

    run(scenario)


def test_change_of_the_wall_clock_refills_no_bucket_and_ends_no_period(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.consume("api:3", limit=1, period_s=60)
        await realtime.once("nightly", 60)

        clock.set_now_ms(clock.now_ms() + 24 * 3_600_000)
        after = await realtime.consume("api:3", limit=1, period_s=60), await realtime.once("nightly", 60)
        clock.set_now_ms(0)
        clock.advance(60)
        in_time = await realtime.consume("api:3", limit=1, period_s=60), await realtime.once("nightly", 60)

        assert (after[0].granted, after[1]) == (False, False)
        assert (in_time[0].granted, in_time[1]) == (True, True)

    run(scenario)


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS.keys())
@settings(max_examples=60, deadline=None)
@given(
    limit=st.integers(1, 50),
    period_s=st.sampled_from([1.0, 3.0, 60.0]),
    burst=st.one_of(st.none(), st.integers(1, 80)),
    waits=st.lists(st.one_of(st.just(0.0), st.floats(0, 2)), max_size=120),
)
def test_grants_never_exceed_burst_plus_refill_in_any_time(
    adapter: Adapter, limit: int, period_s: float, burst: int | None, waits: list[float]
) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        capacity = limit if burst is None else burst
        granted_at: list[float] = []
        async with adapter(clock) as realtime:
            for wait in waits:
                clock.advance(wait)
                answer = await realtime.consume("api:3", limit=limit, period_s=period_s, burst=burst)
                if answer.granted:
                    granted_at.append(clock.monotonic())

        for start, since in enumerate(granted_at):
            for end in range(start, len(granted_at)):
                granted = end - start + 1
                assert granted <= capacity + (granted_at[end] - since) * limit / period_s + 0.01

    asyncio.run(scenario())


def test_refunded_units_can_be_consumed_again(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        for _ in range(3):
            await realtime.consume("guesses:3", limit=3, period_s=60)
        await realtime.refund("guesses:3", limit=3, period_s=60, cost=2)

        answers = [await realtime.consume("guesses:3", limit=3, period_s=60) for _ in range(3)]

        assert [result.granted for result in answers] == [True, True, False]

    run(scenario)


def test_refund_never_exceeds_the_capacity(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.refund("unused", limit=2, period_s=60)
        await realtime.consume("used", limit=2, period_s=60)
        await realtime.refund("used", limit=2, period_s=60, cost=2)

        for bucket in ("unused", "used"):
            answers = [await realtime.consume(bucket, limit=2, period_s=60) for _ in range(3)]
            assert [result.granted for result in answers] == [True, True, False]

    run(scenario)


def test_an_adapter_tells_whether_its_calls_end_without_waiting(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        async def ignore(call: Awaitable[object]) -> None:
            await call

        calls = [
            realtime.consume("plays", limit=2, period_s=60),
            realtime.sessions_of(3),
            realtime.rank_of(3, 0),
            realtime.ranks_of(3),
            realtime.set_ranks([RankEntry(user_id=3, mode=0, country="nl", pp=100)]),
            realtime.forget_ranks(3),
            realtime.once("published:1", 60, [Entry(FEED, b"{}")]),
        ]

        ended = {ends_at_once(ignore(call)) for call in calls}

        assert ended == {realtime.answers_at_once}

    run(scenario)

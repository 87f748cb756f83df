"""What the realtime port promises about `once`, `hold` and `take`."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract.realtime.adapters import ADAPTERS, Adapter
from tests.contract.realtime.conftest import Run

from kiai.clock import ManualClock
from kiai.realtime.port import FEED, Entry, Realtime


def test_once_is_true_for_exactly_one_of_many_at_once(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        answers = await asyncio.gather(*(realtime.once("nightly", 60) for _ in range(20)))

        assert sorted(answers) == [False] * 19 + [True]

    run(scenario)


def test_once_is_true_again_after_its_period_and_not_before(run: Run) -> None:
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


def test_what_goes_with_once_is_appended_by_the_one_who_was_first_and_by_nobody_else(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        answers = [await realtime.once("told:7", 60, [Entry(FEED, body)]) for body in (b"first", b"again")]

        assert answers == [True, False]
        assert await realtime.feed_after(FEED, 0) == (0, [b"first"])

    run(scenario)


def test_what_is_held_is_held_by_one_until_its_time_is_over(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        assert await realtime.hold("job", "one", 10)
        assert not await realtime.hold("job", "other", 10)
        assert await realtime.hold("another job", "other", 10)

        clock.advance(9)
        assert not await realtime.hold("job", "other", 10)
        clock.advance(1)
        assert await realtime.hold("job", "other", 10)
        assert not await realtime.hold("job", "one", 10)

    run(scenario)


def test_whoever_holds_it_may_hold_it_longer_or_shorter(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.hold("job", "one", 10)
        clock.advance(9)

        assert await realtime.hold("job", "one", 10)
        clock.advance(9)
        assert not await realtime.hold("job", "other", 10)
        assert await realtime.hold("job", "one", 0.5)
        clock.advance(0.5)
        assert await realtime.hold("job", "other", 10)

    run(scenario)


def test_of_many_who_reach_for_it_at_once_one_holds_it(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        answers = await asyncio.gather(*(realtime.hold("job", str(number), 60) for number in range(20)))

        assert sorted(answers) == [False] * 19 + [True]

    run(scenario)


def test_asking_in_vain_does_not_lengthen_the_period(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.once("nightly", 10)
        clock.advance(9)
        await realtime.once("nightly", 1_000)

        clock.advance(1)

        assert await realtime.once("nightly", 10)

    run(scenario)


def test_keys_of_once_do_not_know_each_other(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        answers = [await realtime.once(key, for_s) for key, for_s in (("a", 1), ("b", 5), ("c", 60), ("a", 1))]

        clock.advance(5)
        later = [await realtime.once(key, 60) for key in ("a", "b", "c")]

        assert answers == [True, True, True, False]
        assert later == [True, True, False]

    run(scenario)


def test_keys_that_ended_together_may_begin_again_in_any_order(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        keys = [f"key-{number}" for number in range(10)]
        for key in keys:
            await realtime.once(key, 1)
        clock.advance(1)

        again = [await realtime.once(key, 60) for key in reversed(keys)]
        in_vain = [await realtime.once(key, 60) for key in keys]

        assert (again, in_vain) == ([True] * 10, [False] * 10)

    run(scenario)


def test_a_thousand_living_keys_are_all_remembered(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        first = [await realtime.once(f"key-{number}", 1 + number % 7) for number in range(1_000)]

        clock.advance(0.5)
        second = [await realtime.once(f"key-{number}", 1) for number in range(1_000)]

        assert all(first)
        assert not any(second)

    run(scenario)


def test_a_bucket_grants_its_limit_and_no_more(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        answers = [await realtime.take("api:3", limit=7, period_s=60) for _ in range(9)]

        assert [one.granted for one in answers] == [True] * 7 + [False] * 2
        assert [one.remaining for one in answers] == [6, 5, 4, 3, 2, 1, 0, 0, 0]
        assert {one.limit for one in answers} == {7}

    run(scenario)


def test_a_bucket_grants_no_more_to_many_at_once(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        answers = await asyncio.gather(*(realtime.take("api:3", limit=10, period_s=60) for _ in range(30)))

        assert sum(one.granted for one in answers) == 10

    run(scenario)


def test_a_bucket_refills_continuously(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        for _ in range(60):
            await realtime.take("api:3", limit=60, period_s=60)

        clock.advance(0.9)
        too_early = await realtime.take("api:3", limit=60, period_s=60)
        clock.advance(0.1)
        in_time = await realtime.take("api:3", limit=60, period_s=60)
        clock.advance(3.5)
        with_more = await realtime.take("api:3", limit=60, period_s=60)

        assert [too_early.granted, in_time.granted, with_more.granted] == [False, True, True]
        assert with_more.remaining == 2

    run(scenario)


def test_a_bucket_never_holds_more_than_its_capacity(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.take("api:3", limit=5, period_s=1)
        clock.advance(3_600)

        answers = [await realtime.take("api:3", limit=5, period_s=1) for _ in range(6)]

        assert [one.granted for one in answers] == [True] * 5 + [False]

    run(scenario)


@pytest.mark.parametrize("burst", [2, 10, 30])
def test_a_burst_is_the_capacity_and_the_limit_is_the_refill(run: Run, burst: int) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        at_once = [await realtime.take("web:3", limit=10, period_s=1, burst=burst) for _ in range(burst + 1)]
        clock.advance(0.2)
        later = [await realtime.take("web:3", limit=10, period_s=1, burst=burst) for _ in range(3)]

        assert [one.granted for one in at_once] == [True] * burst + [False]
        assert [one.granted for one in later] == [True, True, False]
        assert {one.limit for one in at_once} == {10}

    run(scenario)


def test_a_cost_is_taken_whole_or_not_at_all(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        first = await realtime.take("api:3", limit=10, period_s=10, cost=6)
        too_much = await realtime.take("api:3", limit=10, period_s=10, cost=5)
        the_rest = await realtime.take("api:3", limit=10, period_s=10, cost=4)

        assert [one.granted for one in (first, too_much, the_rest)] == [True, False, True]
        assert [one.remaining for one in (first, too_much, the_rest)] == [4, 4, 0]
        assert [one.reset_s for one in (first, too_much, the_rest)] == pytest.approx([6.0, 1.0, 10.0])

    run(scenario)


def test_after_the_time_a_refusal_names_the_same_cost_is_granted(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.take("replays:3", limit=7, period_s=60, cost=5)
        refused = await realtime.take("replays:3", limit=7, period_s=60, cost=4)

        clock.advance(refused.reset_s - 0.05)
        early = await realtime.take("replays:3", limit=7, period_s=60, cost=4)
        clock.advance(early.reset_s)
        in_time = await realtime.take("replays:3", limit=7, period_s=60, cost=4)

        assert [refused.granted, early.granted, in_time.granted] == [False, False, True]
        assert early.reset_s == pytest.approx(0.05)

    run(scenario)


def test_buckets_do_not_know_each_other(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        answers = [await realtime.take(bucket, limit=1, period_s=60) for bucket in ("api:3", "api:4", "api:3", "web:3")]

        assert [one.granted for one in answers] == [True, True, False, True]

    run(scenario)


def test_buckets_in_use_are_remembered_while_thousands_of_others_come(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.take("api:3", limit=1, period_s=600)
        for number in range(3_000):
            await realtime.take(f"web:{number}", limit=10, period_s=1)
            clock.advance(0.01)

        refused = await realtime.take("api:3", limit=1, period_s=600)

        assert not refused.granted

    run(scenario)


def test_setting_the_wall_clock_refills_no_bucket_and_ends_no_period(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.take("api:3", limit=1, period_s=60)
        await realtime.once("nightly", 60)

        clock.set_now_ms(clock.now_ms() + 24 * 3_600_000)
        after = await realtime.take("api:3", limit=1, period_s=60), await realtime.once("nightly", 60)
        clock.set_now_ms(0)
        clock.advance(60)
        in_time = await realtime.take("api:3", limit=1, period_s=60), await realtime.once("nightly", 60)

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
def test_in_any_time_no_more_is_granted_than_was_in_the_bucket_and_flowed_in(
    adapter: Adapter, limit: int, period_s: float, burst: int | None, waits: list[float]
) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        capacity = limit if burst is None else burst
        taken_at: list[float] = []
        async with adapter(clock) as realtime:
            for wait in waits:
                clock.advance(wait)
                answer = await realtime.take("api:3", limit=limit, period_s=period_s, burst=burst)
                if answer.granted:
                    taken_at.append(clock.monotonic())

        for start, since in enumerate(taken_at):
            for end in range(start, len(taken_at)):
                granted = end - start + 1
                assert granted <= capacity + (taken_at[end] - since) * limit / period_s + 0.01

    asyncio.run(scenario())


def test_refunded_units_can_be_taken_again(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        for _ in range(3):
            await realtime.take("guesses:3", limit=3, period_s=60)
        await realtime.refund("guesses:3", limit=3, period_s=60, cost=2)

        answers = [await realtime.take("guesses:3", limit=3, period_s=60) for _ in range(3)]

        assert [one.granted for one in answers] == [True, True, False]

    run(scenario)


def test_a_refund_never_overfills_a_bucket(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.refund("never asked", limit=2, period_s=60)
        await realtime.take("asked", limit=2, period_s=60)
        await realtime.refund("asked", limit=2, period_s=60, cost=2)

        for bucket in ("never asked", "asked"):
            answers = [await realtime.take(bucket, limit=2, period_s=60) for _ in range(3)]
            assert [one.granted for one in answers] == [True, True, False]

    run(scenario)

"""What the realtime port promises about the turns of a session's requests."""

import asyncio
from collections.abc import Callable

import pytest
from tests.contract.realtime.builders import a_session
from tests.contract.realtime.conftest import Run
from tests.patience import patiently

from kiai.clock import ManualClock
from kiai.realtime.port import TURNS_WAITING_MAX, Realtime, TooMany


class Door:
    """Notes who is in a turn, and lets nobody out before it is opened."""

    def __init__(self, realtime: Realtime) -> None:
        self._realtime = realtime
        self.open = asyncio.Event()
        self.inside = 0
        self.most_inside = 0
        self.order: list[object] = []

    async def take(self, who: object, token: str = "token-a") -> None:
        async with self._realtime.turn(token):
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
            self.order.append(who)
            await self.open.wait()
            self.inside -= 1


async def settle() -> None:
    """Lets everybody run until they wait."""
    for _ in range(30):
        await asyncio.sleep(0.01)  # a store beyond a socket answers in its own time


async def until(condition: Callable[[], bool]) -> None:
    """Waits for what must come, 5 s at most."""
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("what must come did not come in 5 s")


def test_one_session_has_one_turn_at_a_time_in_the_order_of_asking(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a"))
        door = Door(realtime)
        tasks = [asyncio.create_task(door.take(number)) for number in range(TURNS_WAITING_MAX + 1)]
        await settle()
        first_alone = list(door.order)

        door.open.set()
        await asyncio.gather(*tasks)

        assert first_alone == [0]
        assert door.order == list(range(TURNS_WAITING_MAX + 1))
        assert door.most_inside == 1

    run(scenario)


def test_sessions_do_not_wait_for_each_other(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        door = Door(realtime)
        for token in ("token-a", "token-b"):
            await realtime.open_session(a_session(token))
        tasks = [asyncio.create_task(door.take(token, token)) for token in ("token-a", "token-b")]

        await until(lambda: door.inside == 2)
        door.open.set()
        await asyncio.gather(*tasks)

    run(scenario)


def test_past_the_bound_nobody_waits_any_more(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a"))
        door = Door(realtime)
        tasks = [asyncio.create_task(door.take(number)) for number in range(TURNS_WAITING_MAX + 1)]
        await settle()

        with pytest.raises(TooMany) as refused:
            await door.take("one too many")
        door.open.set()
        await asyncio.gather(*tasks)
        await door.take("later")

        assert refused.value.bound == TURNS_WAITING_MAX
        assert door.order == [*range(TURNS_WAITING_MAX + 1), "later"]

    run(scenario)


def test_those_who_come_as_a_turn_passes_on_are_counted_too(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a"))
        door = Door(realtime)
        tasks = [asyncio.create_task(door.take(number)) for number in range(TURNS_WAITING_MAX + 1)]
        await settle()

        door.open.set()
        late = [asyncio.create_task(door.take("late")) for _ in range(5 * TURNS_WAITING_MAX)]
        answers = await asyncio.gather(*late, return_exceptions=True)
        await asyncio.gather(*tasks)

        assert sum(isinstance(answer, TooMany) for answer in answers) >= 3 * TURNS_WAITING_MAX
        assert door.order[: TURNS_WAITING_MAX + 1] == list(range(TURNS_WAITING_MAX + 1))
        assert door.most_inside == 1

    run(scenario)


def test_a_turn_ends_with_what_is_raised_in_it(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a"))

        with pytest.raises(ZeroDivisionError):
            async with realtime.turn("token-a"):
                raise ZeroDivisionError

        async with asyncio.timeout(patiently(5)), realtime.turn("token-a"):
            pass

    run(scenario)


def test_who_is_cancelled_in_its_turn_lets_the_next_one_in(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a"))
        door = Door(realtime)
        first, second = (asyncio.create_task(door.take(number)) for number in (1, 2))
        await settle()

        first.cancel()
        await until(lambda: door.order == [1, 2])
        door.open.set()
        await second

    run(scenario)


def test_who_is_cancelled_while_waiting_leaves_its_place_free(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a"))
        door = Door(realtime)
        tasks = [asyncio.create_task(door.take(number)) for number in range(TURNS_WAITING_MAX + 1)]
        await settle()

        for number in (1, 3, TURNS_WAITING_MAX):
            tasks[number].cancel()
        await settle()
        late = [asyncio.create_task(door.take(number)) for number in ("a", "b", "c")]
        await settle()
        with pytest.raises(TooMany):
            await door.take("one too many")
        door.open.set()
        await asyncio.gather(*tasks, *late, return_exceptions=True)

        assert door.order == [0, 2, *range(4, TURNS_WAITING_MAX), "a", "b", "c"]

    run(scenario)


def test_a_turn_that_is_free_again_is_given_at_once(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a"))

        for _ in range(3 * TURNS_WAITING_MAX):
            async with asyncio.timeout(patiently(5)), realtime.turn("token-a"):
                await realtime.poll("token-a")

    run(scenario)

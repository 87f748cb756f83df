"""Promises of the realtime port about the lock of a session."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.contract.realtime.builders import a_session
from tests.contract.realtime.conftest import Run
from tests.patience import patiently

from kiai.clock import ManualClock
from kiai.realtime.port import LOCK_WAITERS_MAX, Realtime, Session, TooMany


class Requests:
    """Requests that acquire the lock and release it when `open` is set. Records their order."""

    def __init__(self, realtime: Realtime) -> None:
        self._realtime = realtime
        self.open = asyncio.Event()
        self.inside = 0
        self.most_inside = 0
        self.order: list[object] = []

    async def acquire(self, who: object, token: str = "token-a") -> None:
        async with self._realtime.session_lock(token):
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
            self.order.append(who)
            await self.open.wait()
            self.inside -= 1


async def run_until_waiting() -> None:
    """Let all tasks run until they wait."""
    for _ in range(30):
        await asyncio.sleep(0.01)  # Redis answers over a socket


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, at most 5 s."""
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("the condition is still false after 5 s")


def test_session_lock_serves_requests_one_by_one_in_order_of_arrival(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a"))
        requests = Requests(realtime)
        tasks = [asyncio.create_task(requests.acquire(number)) for number in range(LOCK_WAITERS_MAX + 1)]
        await run_until_waiting()
        first_alone = list(requests.order)

        requests.open.set()
        await asyncio.gather(*tasks)

        assert first_alone == [0]
        assert requests.order == list(range(LOCK_WAITERS_MAX + 1))
        assert requests.most_inside == 1

    run(scenario)


def test_session_locks_are_independent(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        requests = Requests(realtime)
        for token in ("token-a", "token-b"):
            await realtime.open_session(a_session(token))
        tasks = [asyncio.create_task(requests.acquire(token, token)) for token in ("token-a", "token-b")]

        await until(lambda: requests.inside == 2)
        requests.open.set()
        await asyncio.gather(*tasks)

    run(scenario)


def test_request_beyond_the_bound_of_waiters_is_refused(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a"))
        requests = Requests(realtime)
        tasks = [asyncio.create_task(requests.acquire(number)) for number in range(LOCK_WAITERS_MAX + 1)]
        await run_until_waiting()

        with pytest.raises(TooMany) as refused:
            await requests.acquire("one too many")
        requests.open.set()
        await asyncio.gather(*tasks)
        await requests.acquire("later")

        assert refused.value.bound == LOCK_WAITERS_MAX
        assert requests.order == [*range(LOCK_WAITERS_MAX + 1), "later"]

    run(scenario)


def test_bound_of_waiters_holds_while_the_lock_passes_on(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a"))
        requests = Requests(realtime)
        tasks = [asyncio.create_task(requests.acquire(number)) for number in range(LOCK_WAITERS_MAX + 1)]
        await run_until_waiting()

        requests.open.set()
        late = [asyncio.create_task(requests.acquire("late")) for _ in range(5 * LOCK_WAITERS_MAX)]
        answers = await asyncio.gather(*late, return_exceptions=True)
        await asyncio.gather(*tasks)

        assert sum(isinstance(answer, TooMany) for answer in answers) >= 3 * LOCK_WAITERS_MAX
        assert requests.order[: LOCK_WAITERS_MAX + 1] == list(range(LOCK_WAITERS_MAX + 1))
        assert requests.most_inside == 1

    run(scenario)


def test_session_lock_is_released_after_an_exception(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a"))

        with pytest.raises(ZeroDivisionError):
            async with realtime.session_lock("token-a"):
                raise ZeroDivisionError

        async with asyncio.timeout(patiently(5)), realtime.session_lock("token-a"):
            pass

    run(scenario)


def test_cancelled_holder_releases_the_session_lock(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a"))
        requests = Requests(realtime)
        first, second = (asyncio.create_task(requests.acquire(number)) for number in (1, 2))
        await run_until_waiting()

        first.cancel()
        await until(lambda: requests.order == [1, 2])
        requests.open.set()
        await second

    run(scenario)


def test_cancelled_waiter_frees_its_place(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a"))
        requests = Requests(realtime)
        tasks = [asyncio.create_task(requests.acquire(number)) for number in range(LOCK_WAITERS_MAX + 1)]
        await run_until_waiting()

        for number in (1, 3, LOCK_WAITERS_MAX):
            tasks[number].cancel()
        await run_until_waiting()
        late = [asyncio.create_task(requests.acquire(number)) for number in ("a", "b", "c")]
        await run_until_waiting()
        with pytest.raises(TooMany):
            await requests.acquire("one too many")
        requests.open.set()
        await asyncio.gather(*tasks, *late, return_exceptions=True)

        assert requests.order == [0, 2, *range(4, LOCK_WAITERS_MAX), "a", "b", "c"]

    run(scenario)


def test_released_session_lock_is_acquired_at_once(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a"))

        for _ in range(3 * LOCK_WAITERS_MAX):
            async with asyncio.timeout(patiently(5)), realtime.session_lock("token-a"):
                await realtime.poll("token-a")

    run(scenario)


def test_session_is_not_ready_while_one_of_its_requests_has_the_lock(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a"))

        async with realtime.session_lock("token-a"):
            meanwhile = await _ready(realtime, "token-a")

        assert meanwhile is None

    run(scenario)


def test_session_that_has_ended_is_not_ready(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a"))
        await realtime.poll("token-a")
        await realtime.close_session("token-a")

        assert await _ready(realtime, "token-a") is None

    run(scenario)


async def _ready(realtime: Realtime, token: str) -> Session | None:
    ready: object = realtime.ready_session(token)
    found = await ready if isinstance(ready, Awaitable) else ready  # the strict wrapper makes every method a coroutine
    assert found is None or isinstance(found, Session)
    return found

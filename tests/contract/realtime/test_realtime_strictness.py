"""The strict wrapper detects impure rules and mutable values; the port's methods and errors have the expected types."""

import asyncio
import inspect
import itertools
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from tests.contract.realtime.builders import a_session, an_entry
from tests.contract.realtime.strict import strict

from kiai.clock import ManualClock
from kiai.errors import KiaiError, Unavailable
from kiai.realtime.memory import MemoryRealtime
from kiai.realtime.port import (
    Contended,
    FellBehind,
    MatchGone,
    Realtime,
    RealtimeError,
    SessionGone,
    StateUnavailable,
    TooMany,
)

NO_COROUTINE = {"session_lock", "ready_session", "poll_at_once", "consume_at_once"}  # a context manager; no waiting


class Match(msgspec.Struct, frozen=True):
    """A match. The port accepts any frozen Struct."""

    name: str
    seed: int = 0


class Mutable(msgspec.Struct):
    """A Struct that is not frozen."""

    seats: int


def play(scenario: Callable[[Realtime], Awaitable[None]]) -> None:
    async def on_empty_state() -> None:
        await scenario(strict(MemoryRealtime(ManualClock())))

    asyncio.run(on_empty_state())


def test_strict_adapter_rejects_an_impure_rule() -> None:
    async def scenario(realtime: Realtime) -> None:
        seeds = itertools.count()
        match_id = await realtime.open_match(Match("a match"))
        await realtime.open_session(a_session("token-a"))

        with pytest.raises(AssertionError, match="not pure"):
            await realtime.change_match(match_id, Match, lambda match: (Match(match.name, next(seeds)), ()))
        with pytest.raises(AssertionError, match="not pure"):
            await realtime.change_session("token-a", lambda session: (session, [an_entry("lobby", next(seeds))]))

    play(scenario)


def test_strict_adapter_rejects_a_mutable_value() -> None:
    async def scenario(realtime: Realtime) -> None:
        with pytest.raises(AssertionError, match="not frozen"):
            await realtime.open_match(Mutable(seats=1))

    play(scenario)


def test_strict_adapter_never_returns_the_given_match() -> None:
    async def scenario(realtime: Realtime) -> None:
        opened = Match("a match")

        read = await realtime.match(await realtime.open_match(opened), Match)

        assert read == opened
        assert read is not opened

    play(scenario)


def test_strict_adapter_never_returns_the_given_session() -> None:
    async def scenario(realtime: Realtime) -> None:
        opened = a_session("token-a", 3, "lobby", friends=frozenset({4}))
        await realtime.open_session(opened)

        read = [
            await realtime.session("token-a"),
            *await realtime.sessions_of(3),
            *(await realtime.sessions_among([3])).values(),
            *await realtime.following("lobby"),
            (await realtime.poll("token-a"))[0],
        ]

        assert read == [opened] * 5
        assert all(one is not opened for one in read)

    play(scenario)


def test_strict_adapter_yields_around_and_inside_a_session_lock() -> None:
    async def scenario(realtime: Realtime) -> None:
        await realtime.open_session(a_session("token-a"))
        turns: list[str] = []

        async def other() -> None:
            for turn in ("before", "in it", "after"):
                turns.append(turn)
                await asyncio.sleep(0)

        running = asyncio.create_task(other())
        async with realtime.session_lock("token-a"):
            inside = list(turns)

        assert inside == ["before", "in it"]
        assert turns == ["before", "in it", "after"]
        await running

    play(scenario)


def test_strict_adapter_yields_before_and_after_each_method() -> None:
    async def scenario(realtime: Realtime) -> None:
        turns: list[str] = []

        async def other() -> None:
            for turn in ("first", "second"):
                turns.append(turn)
                await asyncio.sleep(0)

        running = asyncio.create_task(other())
        await realtime.online_count()

        assert turns == ["first", "second"]
        await running

    play(scenario)


def test_every_method_of_the_port_is_asynchronous() -> None:
    methods = [
        method for name, method in vars(Realtime).items() if inspect.isfunction(method) and not name.startswith("_")
    ]

    assert methods
    assert {method.__name__ for method in methods if not inspect.iscoroutinefunction(method)} == NO_COROUTINE


def test_every_method_of_the_port_has_a_docstring() -> None:
    methods = [
        method for name, method in vars(Realtime).items() if inspect.isfunction(method) and not name.startswith("_")
    ]

    assert [method.__name__ for method in methods if not method.__doc__] == []


@pytest.mark.parametrize(
    ("error", "later"),
    [
        (SessionGone(), False),
        (FellBehind("lobby"), False),
        (MatchGone(7), False),
        (TooMany("matches", 1_000), False),
        (Contended("match 7"), True),
        (StateUnavailable("connection refused"), True),
    ],
)
def test_port_errors_are_kiai_errors_and_temporary_ones_are_unavailable(error: KiaiError, later: bool) -> None:
    assert isinstance(error, RealtimeError)
    assert isinstance(error, Unavailable) is later
    assert str(error)

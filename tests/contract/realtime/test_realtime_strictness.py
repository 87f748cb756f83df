"""That the strict wrapper notices what it is there to notice, and that errors are the answers faces have words for."""

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

NO_COROUTINE = {"turn"}  # is held, not awaited


class Match(msgspec.Struct, frozen=True):
    """A match as the port sees one."""

    name: str
    seed: int = 0


class Loose(msgspec.Struct):
    """A Struct that can be changed."""

    seats: int


def play(scenario: Callable[[Realtime], Awaitable[None]]) -> None:
    async def on_empty_state() -> None:
        await scenario(strict(MemoryRealtime(ManualClock())))

    asyncio.run(on_empty_state())


def test_a_rule_that_is_not_pure_is_caught() -> None:
    async def scenario(realtime: Realtime) -> None:
        seeds = itertools.count()
        match_id = await realtime.open_match(Match("a room"))
        await realtime.open_session(a_session("token-a"))

        with pytest.raises(AssertionError, match="not pure"):
            await realtime.change_match(match_id, Match, lambda match: (Match(match.name, next(seeds)), ()))
        with pytest.raises(AssertionError, match="not pure"):
            await realtime.change_session("token-a", lambda session: (session, [an_entry("lobby", next(seeds))]))

    play(scenario)


def test_a_value_that_can_be_changed_is_caught() -> None:
    async def scenario(realtime: Realtime) -> None:
        with pytest.raises(AssertionError, match="not frozen"):
            await realtime.open_match(Loose(seats=1))

    play(scenario)


def test_what_comes_out_is_never_the_object_that_went_in() -> None:
    async def scenario(realtime: Realtime) -> None:
        opened = Match("a room")

        read = await realtime.match(await realtime.open_match(opened), Match)

        assert read == opened
        assert read is not opened

    play(scenario)


def test_a_session_that_comes_out_is_never_the_object_that_went_in() -> None:
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


def test_others_run_before_and_after_a_turn_and_while_it_is_taken() -> None:
    async def scenario(realtime: Realtime) -> None:
        await realtime.open_session(a_session("token-a"))
        turns: list[str] = []

        async def other() -> None:
            for turn in ("before", "in it", "after"):
                turns.append(turn)
                await asyncio.sleep(0)

        running = asyncio.create_task(other())
        async with realtime.turn("token-a"):
            inside = list(turns)

        assert inside == ["before", "in it"]
        assert turns == ["before", "in it", "after"]
        await running

    play(scenario)


def test_others_run_before_and_after_a_verb() -> None:
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


def test_every_verb_is_asynchronous() -> None:
    verbs = [verb for name, verb in vars(Realtime).items() if inspect.isfunction(verb) and not name.startswith("_")]

    assert verbs
    assert {verb.__name__ for verb in verbs if not inspect.iscoroutinefunction(verb)} == NO_COROUTINE


def test_every_verb_states_its_promise() -> None:
    verbs = [verb for name, verb in vars(Realtime).items() if inspect.isfunction(verb) and not name.startswith("_")]

    assert [verb.__name__ for verb in verbs if not verb.__doc__] == []


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
def test_errors_are_the_domains_and_those_that_pass_are_unavailable(error: KiaiError, later: bool) -> None:
    assert isinstance(error, RealtimeError)
    assert isinstance(error, Unavailable) is later
    assert str(error)

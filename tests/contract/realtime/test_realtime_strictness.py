"""That the strict wrapper notices what it is there to notice, and that errors are the answers faces have words for."""

import asyncio
import inspect
import itertools
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from tests.contract.realtime.strict import strict

from kiai.clock import ManualClock
from kiai.errors import KiaiError, Unavailable
from kiai.multiplayer import Match
from kiai.realtime.memory import MemoryRealtime
from kiai.realtime.port import Contended, MatchGone, Realtime, RealtimeError, SessionGone, StateUnavailable, TooMany


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
        match_id = await realtime.open_match(Match(name="a room", host_id=3, host_name="Host"))

        with pytest.raises(AssertionError, match="not pure"):
            await realtime.change_match(match_id, Match, lambda match: msgspec.structs.replace(match, seed=next(seeds)))

    play(scenario)


def test_a_value_that_can_be_changed_is_caught() -> None:
    async def scenario(realtime: Realtime) -> None:
        with pytest.raises(AssertionError, match="not frozen"):
            await realtime.open_match(Loose(seats=1))

    play(scenario)


def test_what_comes_out_is_never_the_object_that_went_in() -> None:
    async def scenario(realtime: Realtime) -> None:
        opened = Match(name="a room", host_id=3, host_name="Host")

        read = await realtime.match(await realtime.open_match(opened), Match)

        assert read == opened
        assert read is not opened

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
    assert [verb.__name__ for verb in verbs if not inspect.iscoroutinefunction(verb)] == []


def test_every_verb_states_its_promise() -> None:
    verbs = [verb for name, verb in vars(Realtime).items() if inspect.isfunction(verb) and not name.startswith("_")]

    assert [verb.__name__ for verb in verbs if not verb.__doc__] == []


@pytest.mark.parametrize(
    ("error", "later"),
    [
        (SessionGone(), False),
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

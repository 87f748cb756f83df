"""What the realtime port promises about matches."""

import asyncio

import msgspec
import pytest
from tests.contract.realtime.conftest import Run

from kiai.clock import ManualClock
from kiai.multiplayer import Match, Slot
from kiai.realtime.port import MATCHES_MAX, MatchGone, Realtime, TooMany


class Full(Exception):
    """What a rule of these tests raises."""


def a_match(name: str = "a room", *, seed: int = 0) -> Match:
    seated = Slot(status=4, team=1, mods=8, player_id=3, player_name="Host", loaded=True)
    slots = (seated, *[Slot()] * 15)
    return Match(name=name, host_id=3, host_name="Host", referees=((5, "Ref"),), slots=slots, seed=seed)


def one_more(match: Match) -> Match:
    return msgspec.structs.replace(match, seed=match.seed + 1)


def test_a_match_is_kept_as_it_was_opened(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        opened = a_match()

        match_id = await realtime.open_match(opened)

        assert await realtime.match(match_id, Match) == opened

    run(scenario)


def test_there_is_no_match_under_an_id_nobody_has(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        match_id = await realtime.open_match(a_match())

        found = [await realtime.match(asked, Match) for asked in (0, -1, match_id + 1, 2**40)]

        assert found == [None] * 4

    run(scenario)


def test_a_new_match_gets_the_lowest_free_id(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        first = [await realtime.open_match(a_match()) for _ in range(4)]
        await realtime.close_match(3)
        await realtime.close_match(2)

        then = [await realtime.open_match(a_match()) for _ in range(3)]

        assert (first, then) == ([1, 2, 3, 4], [2, 3, 5])

    run(scenario)


def test_matches_opened_at_once_get_different_ids(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        ids = await asyncio.gather(*(realtime.open_match(a_match()) for _ in range(20)))

        assert sorted(ids) == list(range(1, 21))

    run(scenario)


def test_past_the_bound_no_match_is_opened_until_one_is_closed(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        match = a_match()
        for _ in range(MATCHES_MAX):
            await realtime.open_match(match)

        with pytest.raises(TooMany) as refused:
            await realtime.open_match(match)
        await realtime.close_match(7)

        assert refused.value.bound == MATCHES_MAX
        assert await realtime.open_match(match) == 7

    run(scenario)


def test_a_rule_makes_a_match_what_it_becomes(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        match_id = await realtime.open_match(a_match(seed=1))
        other_id = await realtime.open_match(a_match(seed=1))

        became = await realtime.change_match(match_id, Match, one_more)

        assert became == a_match(seed=2)
        assert await realtime.match(match_id, Match) == became
        assert await realtime.match(other_id, Match) == a_match(seed=1)

    run(scenario)


def test_no_change_is_lost_when_many_come_at_once(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        match_id = await realtime.open_match(a_match(seed=0))

        became = await asyncio.gather(*(realtime.change_match(match_id, Match, one_more) for _ in range(30)))

        assert sorted(one.seed for one in became) == list(range(1, 31))
        assert await realtime.match(match_id, Match) == a_match(seed=30)

    run(scenario)


def test_a_rule_that_refuses_leaves_the_match_as_it_was(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        def refuse(match: Match) -> Match:
            raise Full

        match_id = await realtime.open_match(a_match())

        with pytest.raises(Full):
            await realtime.change_match(match_id, Match, refuse)

        assert await realtime.match(match_id, Match) == a_match()

    run(scenario)


def test_a_closed_match_is_gone_and_may_be_closed_again(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        match_id = await realtime.open_match(a_match())

        await realtime.close_match(match_id)
        await realtime.close_match(match_id)

        with pytest.raises(MatchGone) as gone:
            await realtime.change_match(match_id, Match, one_more)
        assert gone.value.match_id == match_id
        assert await realtime.match(match_id, Match) is None
        assert await realtime.matches(Match) == []

    run(scenario)


def test_matches_are_listed_by_id(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        for name in ("one", "two", "three"):
            await realtime.open_match(a_match(name))
        await realtime.close_match(1)
        await realtime.open_match(a_match("four"))

        listed = await realtime.matches(Match)

        assert listed == [(1, a_match("four")), (2, a_match("two")), (3, a_match("three"))]

    run(scenario)


def test_a_match_once_read_does_not_change(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        match_id = await realtime.open_match(a_match(seed=1))
        read = await realtime.match(match_id, Match)

        await realtime.change_match(match_id, Match, one_more)

        assert read == a_match(seed=1)

    run(scenario)

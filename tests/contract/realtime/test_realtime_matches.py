"""Promises of the realtime port about matches."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
import pytest
from tests.contract.realtime.builders import a_session, an_entry, read
from tests.contract.realtime.conftest import Run

from kiai.clock import ManualClock
from kiai.realtime.port import LOBBY, MATCHES_MAX, Entry, MatchGone, Realtime, TooMany, match_topic


class Full(Exception):
    """The exception that rules of these tests raise."""


class Slot(msgspec.Struct, frozen=True):
    """A nested Struct of a match."""

    status: int = 1
    mods: int = 0
    player_id: int = 0
    player_name: str = ""


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A match. The port accepts any frozen Struct."""

    name: str
    host_id: int
    referees: tuple[tuple[int, str], ...] = ()
    slots: tuple[Slot, ...] = (Slot(),) * 16
    map_md5: str | None = None
    beaten: frozenset[int] = frozenset()
    seed: int = 0


ROOM: Final = match_topic(1)


def a_match(name: str = "a match", *, seed: int = 0) -> Match:
    seated = Slot(status=4, mods=8, player_id=3, player_name="Host")
    slots = (seated, *[Slot()] * 15)
    return Match(name=name, host_id=3, referees=((5, "Ref"),), slots=slots, beaten=frozenset({4}), seed=seed)


def one_more(match: Match) -> tuple[Match, Sequence[Entry]]:
    return msgspec.structs.replace(match, seed=match.seed + 1), ()


def one_more_said(match: Match) -> tuple[Match, Sequence[Entry]]:
    after, _ = one_more(match)
    return after, [an_entry(ROOM, after.seed), an_entry(LOBBY, after.seed)]


def closed(match: Match) -> tuple[None, Sequence[Entry]]:
    return None, [an_entry(ROOM, f"closed at {match.seed}")]


def test_opened_match_is_stored_unchanged(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        opened = a_match()

        match_id = await realtime.open_match(opened)

        assert await realtime.match(match_id, Match) == opened

    run(scenario)


def test_unknown_match_id_gives_none(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        match_id = await realtime.open_match(a_match())

        found = [await realtime.match(unknown, Match) for unknown in (0, -1, match_id + 1, 2**40)]

        assert found == [None] * 4

    run(scenario)


def test_new_match_gets_the_lowest_free_id(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        first = [await realtime.open_match(a_match()) for _ in range(4)]
        await realtime.close_match(3)
        await realtime.close_match(2)

        then = [await realtime.open_match(a_match()) for _ in range(3)]

        assert (first, then) == ([1, 2, 3, 4], [2, 3, 5])

    run(scenario)


def test_concurrently_opened_matches_get_different_ids(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        ids = await asyncio.gather(*(realtime.open_match(a_match()) for _ in range(20)))

        assert sorted(ids) == list(range(1, 21))

    run(scenario)


def test_match_beyond_the_bound_is_refused_until_one_is_closed(run: Run) -> None:
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


def test_change_match_stores_the_result_of_the_rule(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        match_id = await realtime.open_match(a_match(seed=1))
        other_id = await realtime.open_match(a_match(seed=1))

        became = await realtime.change_match(match_id, Match, one_more)

        assert became == a_match(seed=2)
        assert await realtime.match(match_id, Match) == became
        assert await realtime.match(other_id, Match) == a_match(seed=1)

    run(scenario)


def test_concurrent_changes_of_a_match_are_all_applied(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        match_id = await realtime.open_match(a_match(seed=0))

        became = await asyncio.gather(*(realtime.change_match(match_id, Match, one_more) for _ in range(30)))

        assert sorted(one.seed for one in became if one is not None) == list(range(1, 31))
        assert await realtime.match(match_id, Match) == a_match(seed=30)

    run(scenario)


def test_match_is_unchanged_after_its_rule_raised(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        def refuse(match: Match) -> tuple[Match, Sequence[Entry]]:
            raise Full

        match_id = await realtime.open_match(a_match())
        await realtime.open_session(a_session("token-a", 3, ROOM))

        with pytest.raises(Full):
            await realtime.change_match(match_id, Match, refuse)

        assert await realtime.match(match_id, Match) == a_match()
        assert await read(realtime, "token-a") == []

    run(scenario)


def test_closed_match_is_gone_and_can_be_closed_again(run: Run) -> None:
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


def test_match_value_does_not_change_after_it_was_read(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        match_id = await realtime.open_match(a_match(seed=1))
        read = await realtime.match(match_id, Match)

        await realtime.change_match(match_id, Match, one_more)

        assert read == a_match(seed=1)

    run(scenario)


def test_match_change_and_its_entries_are_atomic(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        match_id = await realtime.open_match(a_match(seed=0))
        await realtime.open_session(a_session("seated", 3, ROOM))
        await realtime.open_session(a_session("in the lobby", 4, LOBBY))

        await asyncio.gather(*(realtime.change_match(match_id, Match, one_more_said) for _ in range(30)))

        appended = [str(number).encode() for number in range(1, 31)]
        assert await read(realtime, "seated") == appended
        assert await read(realtime, "in the lobby") == appended

    run(scenario)


def test_entries_of_a_match_change_never_precede_the_change(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        match_id = await realtime.open_match(a_match(seed=0))
        await realtime.open_session(a_session("token-a", 3, ROOM))
        ahead: list[tuple[int, int]] = []

        async def look() -> None:
            for _ in range(60):
                announced = await read(realtime, "token-a")
                found = await realtime.match(match_id, Match)
                assert found is not None
                if announced and int(announced[-1]) > found.seed:
                    ahead.append((int(announced[-1]), found.seed))

        await asyncio.gather(look(), *(realtime.change_match(match_id, Match, one_more_said) for _ in range(30)))

        assert ahead == []

    run(scenario)


def test_rule_that_returns_none_closes_the_match_and_appends_its_entries(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        match_id = await realtime.open_match(a_match(seed=7))
        await realtime.open_session(a_session("token-a", 3, ROOM))

        became = await realtime.change_match(match_id, Match, closed)

        assert became is None
        assert await realtime.match(match_id, Match) is None
        assert await realtime.matches(Match) == []
        assert await read(realtime, "token-a") == [b"closed at 7"]
        with pytest.raises(MatchGone):
            await realtime.change_match(match_id, Match, one_more)
        assert await realtime.open_match(a_match()) == match_id

    run(scenario)


def test_one_of_many_concurrent_closing_rules_closes_the_match(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        match_id = await realtime.open_match(a_match())
        await realtime.open_session(a_session("token-a", 3, ROOM))

        answers = await asyncio.gather(
            *(realtime.change_match(match_id, Match, closed) for _ in range(10)), return_exceptions=True
        )

        assert [answer for answer in answers if not isinstance(answer, MatchGone)] == [None]
        assert await read(realtime, "token-a") == [b"closed at 0"]

    run(scenario)

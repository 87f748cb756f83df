"""Promises of the realtime port about ranks."""

import asyncio
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract.realtime.adapters import ADAPTERS, Adapter
from tests.contract.realtime.builders import in_pages
from tests.contract.realtime.conftest import Run

from kiai.clock import ManualClock
from kiai.realtime.port import Rank, RankEntry, Realtime

UNRANKED = Rank(0, 0)


def entry(user_id: int, pp: int, country: str = "jp", mode: int = 0) -> RankEntry:
    return RankEntry(user_id=user_id, mode=mode, country=country, pp=pp)


def test_user_with_more_pp_ranks_higher_in_world_and_country(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.set_ranks([entry(3, 100, "jp"), entry(4, 300, "de"), entry(5, 200, "jp")])

        ranks = [await realtime.rank_of(user_id, 0) for user_id in (3, 4, 5)]

        assert ranks == [Rank(3, 2), Rank(1, 1), Rank(2, 1)]

    run(scenario)


def test_smaller_user_id_ranks_higher_with_equal_pp(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.set_ranks([entry(9, 100), entry(10, 100), entry(2_000_000_000, 100), entry(3, 100)])

        order = await realtime.ranked_ids(0)

        assert order == [3, 9, 10, 2_000_000_000]

    run(scenario)


def test_user_without_pp_has_rank_zero(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.set_ranks([entry(3, 100, mode=0)])

        in_another_mode = await realtime.rank_of(3, 4)
        unknown = await realtime.rank_of(99, 0)

        assert (in_another_mode, unknown) == (UNRANKED, UNRANKED)

    run(scenario)


def test_new_pp_moves_the_user_and_those_it_passes(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.set_ranks([entry(3, 300), entry(4, 200), entry(5, 100)])

        await realtime.set_ranks([entry(5, 250)])

        assert await realtime.ranked_ids(0) == [3, 5, 4]
        assert await realtime.rank_of(4, 0) == Rank(3, 3)
        assert await realtime.ranked_count(0) == 3

    run(scenario)


def test_ranks_of_all_entries_are_returned_when_they_are_set(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.set_ranks([entry(3, 300, "jp"), entry(4, 200, "de")])

        found = await realtime.set_ranks(
            [entry(5, 250, "de"), entry(5, 10, "de", mode=4), entry(3, 0, "jp"), entry(6, 100, "de")]
        )

        assert found == [Rank(1, 1), Rank(1, 1), UNRANKED, Rank(3, 3)]
        assert await realtime.set_ranks([]) == []

    run(scenario)


def test_setting_the_same_rank_entry_again_changes_nothing(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.set_ranks([entry(3, 300), entry(4, 200)])

        await realtime.set_ranks([entry(4, 200)])

        assert await realtime.ranked_ids(0) == [3, 4]
        assert await realtime.ranked_count(0, "jp") == 2

    run(scenario)


def test_zero_pp_removes_the_user_from_the_lists_of_the_mode(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.set_ranks([entry(3, 300, mode=0), entry(3, 300, mode=4), entry(4, 200, mode=0)])

        await realtime.set_ranks([entry(3, 0, mode=0)])

        assert await realtime.ranks_of(3) == {4: Rank(1, 1)}
        assert await realtime.rank_of(4, 0) == Rank(1, 1)
        assert await realtime.ranked_count(0) == await realtime.ranked_count(0, "jp") == 1

    run(scenario)


def test_new_country_moves_the_user_between_country_lists(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.set_ranks([entry(3, 300, "jp"), entry(4, 200, "jp"), entry(5, 100, "de")])

        await realtime.set_ranks([entry(3, 300, "de")])

        assert await realtime.ranked_ids(0, country="jp") == [4]
        assert await realtime.ranked_ids(0, country="de") == [3, 5]
        assert [await realtime.rank_of(user_id, 0) for user_id in (3, 4, 5)] == [Rank(1, 1), Rank(2, 1), Rank(3, 2)]

    run(scenario)


def test_later_of_two_entries_for_a_user_and_mode_counts(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        twice = [entry(3, 300, "jp"), entry(4, 200, "jp"), entry(3, 100, "de"), entry(5, 50), entry(5, 0)]

        await realtime.set_ranks(twice)
        after_set = (
            await realtime.ranked_ids(0),
            await realtime.ranked_ids(0, country="de"),
            await realtime.rank_of(5, 0),
        )
        await realtime.replace_ranks(in_pages(twice))
        after_replace = (
            await realtime.ranked_ids(0),
            await realtime.ranked_ids(0, country="de"),
            await realtime.rank_of(5, 0),
        )

        assert after_set == after_replace == ([4, 3], [3], UNRANKED)

    run(scenario)


def test_forgotten_user_is_in_no_list_and_others_move_up(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.set_ranks([entry(user_id, 500 - user_id, mode=mode) for user_id in (3, 4) for mode in (0, 8)])

        await realtime.forget_ranks(3)
        await realtime.forget_ranks(3)

        assert await realtime.ranks_of(3) == {}
        assert await realtime.ranks_of(4) == {0: Rank(1, 1), 8: Rank(1, 1)}
        assert [await realtime.ranked_count(mode, country) for mode in (0, 8) for country in (None, "jp")] == [1] * 4

    run(scenario)


def test_ranks_of_returns_exactly_the_modes_with_a_rank(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.set_ranks([entry(3, 100, mode=0), entry(3, 50, mode=8), entry(4, 200, "de", mode=0)])
        await realtime.set_ranks([entry(4, 10, "de", mode=3)])

        ranks = await realtime.ranks_of(3)

        assert ranks == {0: Rank(2, 1), 8: Rank(1, 1)}
        assert ranks == {mode: await realtime.rank_of(3, mode) for mode in (0, 8)}

    run(scenario)


def test_page_of_a_rank_list_starts_after_its_offset(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.set_ranks(
            [entry(user_id, 1_000 - user_id, "jp" if user_id % 2 else "de") for user_id in range(3, 90)]
        )

        world = await realtime.ranked_ids(0, offset=10, limit=5)
        country = await realtime.ranked_ids(0, country="jp", offset=40, limit=50)
        past_the_end = await realtime.ranked_ids(0, offset=87)

        assert world == [13, 14, 15, 16, 17]
        assert country == [83, 85, 87, 89]
        assert past_the_end == []
        assert len(await realtime.ranked_ids(0)) == 50

    run(scenario)


def test_rank_list_without_users_is_empty(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.set_ranks([entry(3, 100, "jp", mode=0)])

        empty = await realtime.ranked_ids(5), await realtime.ranked_ids(0, country="de")
        counts = (
            await realtime.ranked_count(5),
            await realtime.ranked_count(0, "de"),
            await realtime.ranked_count(5, "jp"),
        )

        assert empty == ([], [])
        assert counts == (0, 0, 0)

    run(scenario)


def test_replaced_ranks_contain_only_the_new_entries(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.set_ranks(
            [entry(3, 300, "jp", mode=0), entry(3, 300, "jp", mode=1), entry(4, 200, "de", mode=0)]
        )

        await realtime.replace_ranks(in_pages([entry(4, 100, "jp"), entry(5, 150, "jp"), entry(6, 0, "jp")]))

        assert await realtime.ranked_ids(0) == [5, 4]
        assert await realtime.ranked_ids(0, country="de") == []
        assert await realtime.ranks_of(3) == {}
        assert await realtime.ranks_of(4) == {0: Rank(2, 2)}
        assert await realtime.ranked_count(1) == 0

    run(scenario)


def test_replaced_ranks_contain_the_entries_of_all_pages(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        pages = [[entry(3, 300, "jp")], [], [entry(4, 500, "jp"), entry(5, 100, "de", mode=4)]]

        await realtime.replace_ranks(in_pages(*pages))

        assert await realtime.ranked_ids(0) == [4, 3]
        assert await realtime.ranked_ids(4) == [5]
        assert await realtime.rank_of(3, 0) == Rank(2, 2)

    run(scenario)


def test_version_differs_after_each_change_of_a_list_or_is_unknown(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        versions = [await realtime.ranks_version()]
        await realtime.set_ranks([entry(3, 300), entry(4, 200)])
        versions.append(await realtime.ranks_version())
        await realtime.forget_ranks(3)
        versions.append(await realtime.ranks_version())
        await realtime.replace_ranks(in_pages([entry(3, 100)]))
        versions.append(await realtime.ranks_version())

        await realtime.ranks_of(3)

        assert versions[-1] == await realtime.ranks_version()
        assert versions == [None] * 4 or len(set(versions)) == 4

    run(scenario)


def test_readers_never_see_partly_filled_lists_during_a_replacement(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        entries = [entry(user_id, user_id) for user_id in range(3, 2_003)]
        before, after = list(range(2_002, 1_002, -1)), list(range(1_002, 2, -1))
        await realtime.set_ranks(entries)

        replacing = asyncio.create_task(realtime.replace_ranks(in_pages(entries[:1_000])))
        seen = [await realtime.ranked_ids(0, limit=1_000)]
        while not replacing.done():
            await asyncio.sleep(0)  # methods of the memory adapter may return without yielding to other tasks
            seen.append(await realtime.ranked_ids(0, limit=1_000))
        seen.append(await realtime.ranked_ids(0, limit=1_000))

        assert seen[-1] == after
        assert all(one in (before, after) for one in seen)

    run(scenario)


USERS = st.integers(3, 9)
MODES = st.sampled_from([0, 4])
COUNTRIES = st.sampled_from(["jp", "de"])
ENTRIES = st.lists(st.builds(RankEntry, user_id=USERS, mode=MODES, country=COUNTRIES, pp=st.integers(0, 3)), max_size=6)
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), ENTRIES), st.tuples(st.just("forget"), USERS), st.tuples(st.just("replace"), ENTRIES)
    ),
    max_size=12,
)


class NaiveRanks:
    """The model: one dict of entries, which is sorted again for each question."""

    def __init__(self) -> None:
        self.entries: dict[tuple[int, int], RankEntry] = {}

    def act(self, what: str, given: list[RankEntry] | int) -> None:
        if isinstance(given, int):
            self.entries = {key: one for key, one in self.entries.items() if one.user_id != given}
            return
        if what == "replace":
            self.entries = {}
        self.entries |= {(one.user_id, one.mode): one for one in given}
        self.entries = {key: one for key, one in self.entries.items() if one.pp}

    def order(self, mode: int, country: str | None) -> list[int]:
        listed = [one for one in self.entries.values() if one.mode == mode and country in (None, one.country)]
        return [one.user_id for one in sorted(listed, key=lambda one: (-one.pp, one.user_id))]

    def ranks_of(self, user_id: int) -> dict[int, Rank]:
        return {
            mode: Rank(self.order(mode, None).index(user_id) + 1, self.order(mode, one.country).index(user_id) + 1)
            for (whose, mode), one in self.entries.items()
            if whose == user_id
        }


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS.keys())
@settings(max_examples=60, deadline=None)
@given(acts=ACTS)
def test_ranks_equal_those_of_a_newly_sorted_list(
    adapter: Adapter, acts: list[tuple[str, list[RankEntry] | int]]
) -> None:
    async def scenario() -> None:
        model = NaiveRanks()
        async with adapter(ManualClock()) as realtime:
            for what, given_ in acts:
                model.act(what, given_)
                if isinstance(given_, int):
                    await realtime.forget_ranks(given_)
                elif what == "set":
                    await realtime.set_ranks(given_)
                else:
                    await realtime.replace_ranks(in_pages(given_))

            for mode in (0, 4):
                for country in (None, "jp", "de"):
                    order = model.order(mode, country)
                    assert await realtime.ranked_ids(mode, country=country) == order
                    assert await realtime.ranked_ids(mode, country=country, offset=2, limit=2) == list(
                        islice(order, 2, 4)
                    )
                    assert await realtime.ranked_count(mode, country) == len(order)
            for user_id in range(3, 10):
                ranks = model.ranks_of(user_id)
                assert await realtime.ranks_of(user_id) == ranks
                assert await realtime.rank_of(user_id, 0) == ranks.get(0, UNRANKED)

    asyncio.run(scenario())

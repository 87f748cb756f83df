"""Medals: each is earned by its condition and by no other play."""

import math
import random
import re
from typing import Any

import msgspec
import pytest

from kiai.beatmaps.model import MapStatus
from kiai.osu.mods import DT, EZ, FL, HD, HR, HT, NC, NF, PF, SD, SO
from kiai.scores.medals import (
    BY_ID,
    MEDALS,
    RANK_MEDALS,
    DayPlay,
    MedalPlay,
    earned_by,
    needs_day_plays,
    needs_fails,
    needs_other_maps,
)

PLAIN = MedalPlay(
    map_key=1,
    mode=0,
    mods=0,
    stars=0.5,
    score=123_457,
    max_combo=10,
    acc=95.0,
    grade="B",
    perfect=False,
    status=int(MapStatus.RANKED),
    length_s=100,
    artist="Artist",
    title="Title",
    creator="Mapper",
)
ALWAYS = {110}  # the first pass of all


def earned(**fields: Any) -> set[int]:
    """Return the medals that a plain pass with these changes earns."""
    play = msgspec.structs.replace(PLAIN, **fields)
    found = earned_by(play, frozenset(), with_day=False) + earned_by(play, frozenset(), with_day=True)
    assert len(found) == len(set(found))
    return set(found) - ALWAYS


def test_all_medals_are_defined() -> None:
    assert [medal.id for medal in MEDALS] == list(range(1, 116))
    assert len({medal.file for medal in MEDALS}) == 115
    assert len({medal.name for medal in MEDALS}) == 115
    for medal in MEDALS:
        assert re.fullmatch(r"[a-z0-9-]+", medal.file), medal.file
        assert medal.description.endswith("."), medal.name
        assert not re.search(r"[/+|\n]", medal.name + medal.description), medal.name


def test_plain_pass_earns_only_the_first_medal() -> None:
    assert earned() == set()
    assert earned_by(PLAIN, frozenset(), with_day=False) == [110]
    assert earned_by(PLAIN, frozenset(ALWAYS), with_day=False) == [], "a medal is earned once"


@pytest.mark.parametrize(
    ("mode", "stars", "passes", "combos"),
    [(0, 1.0, 1, 11), (0, 10.99, 10, 20), (1, 1.5, 25, 33), (1, 8.0, 32, 40), (2, 4.2, 44, 52), (3, 8.9, 64, 72)],
)
def test_skill_medals_use_whole_stars(mode: int, stars: float, passes: int, combos: int) -> None:
    assert earned(mode=mode, stars=stars) == {passes}
    assert earned(mode=mode, stars=stars, perfect=True) == {passes, combos}
    assert earned(mode=mode, stars=stars, mods=NF) == {80}, "No Fail gives no medal for a pass"


def test_no_medal_above_the_highest_stars() -> None:
    assert earned(stars=11.0) == set()
    assert earned(stars=0.99) == set()
    assert earned(mode=1, stars=9.0) == set()


def test_long_combo_also_earns_the_medals_for_shorter_combos() -> None:
    assert earned(max_combo=499) == set()
    assert earned(max_combo=750) == {21, 22}
    assert earned(max_combo=2_000) == {21, 22, 23, 24}
    assert earned(max_combo=2_000, mode=3) == set()


@pytest.mark.parametrize(
    ("mods", "medals"),
    [
        (SD, {73}),
        (SD | PF, {75}),
        (HD, {74}),
        (HR, {76}),
        (DT, {77}),
        (DT | NC, {81}),
        (FL, {78}),
        (EZ, {79}),
        (NF, {80}),
        (HT, {82}),
        (SO, {83}),
        (HD | HR, {74, 76}),
    ],
)
def test_mods_earn_their_medals(mods: int, medals: set[int]) -> None:
    assert earned(mods=mods) == medals


def test_numbers_of_plays_and_hits_earn_medals() -> None:
    assert earned(plays=(5_000, 0, 0, 0)) == {84}
    assert earned(plays=(50_000, 0, 0, 0)) == {84, 85, 86, 87}
    assert earned(mode=1, hits=(0, 30_000, 0, 0)) == {88}
    assert earned(mode=2, hits=(0, 0, 20_000_000, 0)) == {92, 93, 94, 95}
    assert earned(mode=3, hits=(0, 0, 0, 400_000)) == {96, 97}
    assert earned(mode=0, hits=(0, 30_000, 0, 0)) == set(), "hits count in their own mode"
    assert earned(plays=(5_000, 5_000, 5_000, 5_000)) == {84, 113}


def test_ranks_earn_their_medals() -> None:
    assert earned(rank=1_000) == set(RANK_MEDALS)
    assert earned(rank=5_001) == {100, 101}
    assert earned(rank=0) == set()


def a_day(*plays: tuple[int, str]) -> list[DayPlay]:
    return [DayPlay(map_key, grade, int(grade != "F")) for map_key, grade in plays]


def test_five_s_ranks_within_a_day_earn_a_medal() -> None:
    day = a_day(*((n, "S") for n in range(5)))
    assert earned(day=day, grade="S") == {104}
    assert earned(day=day[:4] + day[:1], grade="S") == set()


def test_a_after_d_on_the_same_day_earns_a_medal() -> None:
    assert earned(grade="A", day=a_day((1, "D"), (1, "A"))) == {105}
    assert earned(grade="A", day=a_day((2, "D"), (1, "A"))) == set()
    assert earned(grade="B", day=a_day((1, "D"), (1, "B"))) == set()


def test_a_hundred_plays_of_a_map_within_a_day_earn_a_medal() -> None:
    assert earned(day=a_day(*[(1, "F")] * 99, (1, "B"))) == {111}
    assert earned(day=a_day(*[(1, "F")] * 98, (1, "B"))) == set()


def test_other_secret_medals() -> None:
    assert earned(grade="D", score=100_001) == {106}
    assert earned(grade="D", score=100_001, mods=EZ) == {79}
    assert earned(status=int(MapStatus.APPROVED), grade="A") == {107}
    assert earned(perfect=True, acc=84.99) == {108}
    assert earned(score=777_777) == {109}
    assert earned(score=77_777) == set()
    assert earned(perfect=True, length_s=521) == {112}
    assert earned(perfect=True, artist="Chatmonchy", title="Make Up! Make Up!", creator="peppy") == {114}
    assert earned(artist="Yoko Ishida", title="paraparaMAX I", score=3_000_001) == {115}
    assert BY_ID[115].file == "osu-secret-dancer"


def test_medals_of_the_day_read_the_plays_of_other_maps_only_for_the_one_that_counts_them() -> None:
    day_medals = {medal.id for medal in MEDALS if medal.needs_day}
    day = a_day(*[(n, "S") for n in range(5)], (1, "D"), *[(1, "F")] * 99)
    same_map = [other for other in day if other.map_key == 1]
    play = msgspec.structs.replace(PLAIN, grade="S", day=day)

    assert needs_other_maps(frozenset())
    assert not needs_other_maps(frozenset({104}))
    assert set(earned_by(play, frozenset(), with_day=True)) == day_medals == {104, 105, 111}
    on_this_map = msgspec.structs.replace(play, day=same_map)
    assert set(earned_by(on_this_map, frozenset({104}), with_day=True)) == day_medals - {104}


def test_fails_are_read_only_for_a_map_with_a_hundred_plays() -> None:
    assert needs_fails(frozenset(), 100)
    assert not needs_fails(frozenset(), 99)
    assert not needs_fails(frozenset({111}), 100)


def test_no_medal_is_left_out_whose_condition_holds() -> None:
    chance = random.Random(1)
    seen: set[int] = set()
    for _ in range(3_000):
        play = msgspec.structs.replace(
            PLAIN,
            mode=chance.randrange(4),
            mods=chance.choice((0, HD, NF, EZ | HD, chance.getrandbits(31))),
            stars=chance.choice((-1.0, 0.99, chance.uniform(0, 13), float(chance.randrange(13)), math.nan, math.inf)),
            score=chance.choice((111_111, 200_000, 4_000_000)),
            max_combo=chance.choice((10, 500, 2_500)),
            acc=chance.uniform(70, 100),
            grade=chance.choice(("D", "B", "A", "S", "XH")),
            perfect=chance.random() < 0.5,
            status=int(chance.choice((MapStatus.RANKED, MapStatus.APPROVED, MapStatus.LOVED))),
            length_s=chance.choice((100, 600)),
            artist=chance.choice(("chatmonchy", "Yoko Ishida")),
            title=chance.choice(("Make Up! Make Up!", "paraparaMAX I")),
            creator="peppy",
            plays=[chance.choice((0, 5_000, 60_000)) for _ in range(4)],
            hits=[chance.choice((0, 50_000, 50_000_000)) for _ in range(4)],
            rank=chance.choice((0, 1, 700, 60_000)),
            day=[
                DayPlay(chance.randrange(1, 8), chance.choice(("D", "A", "S")), chance.randrange(2))
                for _ in range(chance.choice((0, 20, 150)))
            ],
        )
        held = frozenset(chance.sample(range(1, 116), chance.choice((0, 30))))
        true = {medal.id for medal in MEDALS if medal.id not in held and medal.earned(play)}
        found = earned_by(play, held, with_day=False) + earned_by(play, held, with_day=True)
        assert sorted(found) == sorted(true)
        seen |= true
    assert seen >= set(range(1, 104)) | {110, 115}, "the plays are varied enough"


@pytest.mark.parametrize(
    ("grade", "missing", "needs"), [("A", {105}, True), ("A", set(), False), ("F", {104, 105, 111}, False)]
)
def test_plays_of_the_day_are_needed_only_for_a_missing_medal(grade: str, missing: set[int], needs: bool) -> None:
    play = msgspec.structs.replace(PLAIN, grade=grade)

    assert needs_day_plays(play, frozenset(range(1, 116)) - missing) == needs

"""The medals and their conditions (docs/spec/game-rules.md#medals). Pure.

Ids 1 to 83 are the same as on other servers, so that an import keeps the medals of players. Ids from 84 on are defined
here. A condition is a function of a `MedalPlay`: a passed play of a visible player on a map with a board, and the
profile after it.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, reduce
from operator import or_
from typing import Final

import msgspec

from kiai.beatmaps.model import MapStatus
from kiai.osu.grades import GRADES
from kiai.osu.mods import DT, EZ, FL, HD, HR, HT, NC, NF, PF, SD, SO


class DayPlay(msgspec.Struct, frozen=True):
    """A play of the same player in the last 24 hours, in the same mode."""

    map_key: int
    grade: str
    passed: int


class MedalPlay(msgspec.Struct, frozen=True):
    """A passed play and the profile after it.

    `mode` is a vanilla mode (0 to 3). `stars` are computed with the play's mods. `plays` and `hits` have a total for
    each vanilla mode. `rank` is the global rank before the play, 0 without one. `day` has the plays of the last 24
    hours, including this one.
    """

    map_key: int
    mode: int
    mods: int
    stars: float
    score: int
    max_combo: int
    acc: float
    grade: str
    perfect: bool
    status: int
    length_s: int
    artist: str
    title: str
    creator: str
    plays: Sequence[int] = (0, 0, 0, 0)
    hits: Sequence[int] = (0, 0, 0, 0)
    rank: int = 0
    day: Sequence[DayPlay] = ()

    def at_least(self, grade: str) -> bool:
        """Whether the play has this grade or a better one."""
        return GRADES.index(self.grade) >= GRADES.index(grade)


class Medal(msgspec.Struct, frozen=True):
    """A medal. `file` names its picture, without extension. `needs_day`: its condition reads `MedalPlay.day`.

    The condition holds only in the `mode` (None: in all), for a map of `star` up to `star + 1` stars (0: of any), and
    with one of the `mods` (0: with or without).
    """

    id: int
    file: str
    name: str
    description: str
    earned: Callable[[MedalPlay], bool]
    needs_day: bool = False
    mode: int | None = None
    star: int = 0
    mods: int = 0


DAY_MS: Final = 86_400_000
STARS_MAX: Final = 12
"""More than the stars of any medal."""


def _stars(mode: int, star: int, condition: Callable[[MedalPlay], bool]) -> Callable[[MedalPlay], bool]:
    return lambda play: play.mode == mode and star <= play.stars < star + 1 and condition(play)


def _skill(first_id: int, mode: int, word: str, passes: Sequence[str], combos: Sequence[str]) -> list[Medal]:
    """Return the medals for a pass on a map of each number of stars, then those for a full combo."""
    found = [
        Medal(
            first_id + index,
            f"{word}-skill-pass-{index + 1}",
            name,
            f"Pass a map of {index + 1} {'star' if not index else 'stars'} without No Fail.",
            _stars(mode, index + 1, lambda play: not play.mods & NF),
            mode=mode,
            star=index + 1,
        )
        for index, name in enumerate(passes)
    ]
    return found + [
        Medal(
            first_id + len(passes) + index,
            f"{word}-skill-fc-{index + 1}",
            name,
            f"Get a full combo on a map of {index + 1} {'star' if not index else 'stars'}.",
            _stars(mode, index + 1, lambda play: play.perfect),
            mode=mode,
            star=index + 1,
        )
        for index, name in enumerate(combos)
    ]


def _combo(id_: int, combo: int) -> Medal:
    return Medal(
        id_,
        f"osu-combo-{combo}",
        f"{combo} Combo",
        f"Reach a combo of {combo} in osu!.",
        lambda play: play.mode == 0 and play.max_combo >= combo,
        mode=0,
    )


def _mod(id_: int, word: str, name: str, description: str, has: int, without: int = 0) -> Medal:
    return Medal(
        id_,
        f"all-intro-{word}",
        name,
        description,
        lambda play: bool(play.mods & has) and not play.mods & without,
        mods=has,
    )


def _hits(first_id: int, mode: int, word: str, unit: str, steps: Sequence[int], names: Sequence[str]) -> list[Medal]:
    def medal(index: int, step: int) -> Medal:
        return Medal(
            first_id + index,
            f"{word}-hits-{step}",
            names[index],
            f"Hit {step:,} {unit} in all.".replace(",", " "),
            lambda play: play.mode == mode and play.hits[mode] >= step,
            mode=mode,
        )

    return [medal(index, step) for index, step in enumerate(steps)]


def _plays(id_: int, count: int) -> Medal:
    return Medal(
        id_,
        f"osu-plays-{count}",
        f"{count:,} Plays".replace(",", " "),
        f"Play osu! {count:,} times.".replace(",", " "),
        lambda play: play.mode == 0 and play.plays[0] >= count,
        mode=0,
    )


def _rank(id_: int, rank: int) -> Medal:
    return Medal(
        id_,
        f"osu-rank-{rank}",
        f"Top {rank}",
        f"Be among the first {rank} of the osu! ranking.",
        lambda play: play.mode == 0 and 1 <= play.rank <= rank,
        mode=0,
    )


def _secret(
    id_: int, word: str, name: str, description: str, earned: Callable[[MedalPlay], bool], **more: bool
) -> Medal:
    return Medal(id_, f"all-secret-{word}", name, description, earned, **more)


def _same_digits(score: int) -> bool:
    return score >= 100_000 and len(set(str(score))) == 1


def _is_map(play: MedalPlay, artist: str, title: str, creator: str = "") -> bool:
    return (
        play.artist.lower() == artist
        and play.title.lower() == title
        and (not creator or play.creator.lower() == creator)
    )


OBSESSED_PLAYS: Final = 100
"""Plays of a map within a day that earn a medal."""
_S_OR_BETTER: Final = frozenset(GRADES[GRADES.index("S") :])


def _s_ranks(play: MedalPlay) -> bool:
    # PERF: without calls for each play; a day has up to 1,000.
    return len({other.map_key for other in play.day if other.passed and other.grade in _S_OR_BETTER}) >= 5


def _improved(play: MedalPlay) -> bool:
    return play.at_least("A") and any(other.map_key == play.map_key and other.grade == "D" for other in play.day)


def _obsessed(play: MedalPlay) -> bool:
    return (
        len(play.day) >= OBSESSED_PLAYS and sum(other.map_key == play.map_key for other in play.day) >= OBSESSED_PLAYS
    )


MEDALS: Final[tuple[Medal, ...]] = (
    *_skill(
        1,
        0,
        "osu",
        (
            "Rising Star",
            "Constellation Prize",
            "Building Confidence",
            "Insanity Approaches",
            "These Clarion Skies",
            "Above and Beyond",
            "Supremacy",
            "Absolution",
            "Event Horizon",
            "Phantasm",
        ),
        (
            "Totality",
            "Business As Usual",
            "Building Steam",
            "Moving Forward",
            "Paradigm Shift",
            "Anguish Quelled",
            "Never Give Up",
            "Aberration",
            "Chosen",
            "Unfathomable",
        ),
    ),
    _combo(21, 500),
    _combo(22, 750),
    _combo(23, 1000),
    _combo(24, 2000),
    *_skill(
        25,
        1,
        "taiko",
        (
            "My First Don",
            "Katsu Katsu Katsu",
            "Not Even Trying",
            "Face Your Demons",
            "The Demon Within",
            "Drumbreaker",
            "The Godfather",
            "Rhythm Incarnate",
        ),
        (
            "Keeping Time",
            "To Your Own Beat",
            "Big Drums",
            "Adversity Overcome",
            "Demonslayer",
            "Rhythm's Call",
            "Time Everlasting",
            "The Drummer's Throne",
        ),
    ),
    *_skill(
        41,
        2,
        "fruits",
        (
            "A Slice Of Life",
            "Dashing Ever Forward",
            "Zesty Disposition",
            "Hyperdash ON!",
            "It's Raining Fruit",
            "Fruit Ninja",
            "Dreamcatcher",
            "Lord of the Catch",
        ),
        (
            "Sweet And Sour",
            "Reaching The Core",
            "Clean Platter",
            "Between The Rain",
            "Addicted",
            "Quickening",
            "Supersonic",
            "Dashing Scarlet",
        ),
    ),
    *_skill(
        57,
        3,
        "mania",
        (
            "First Steps",
            "No Normal Player",
            "Impulse Drive",
            "Hyperspeed",
            "Ever Onwards",
            "Another Surpassed",
            "Extra Credit",
            "Maniac",
        ),
        (
            "Keystruck",
            "Keying In",
            "Hyperflow",
            "Breakthrough",
            "Everything Extra",
            "Level Breaker",
            "Step Up",
            "Behind The Veil",
        ),
    ),
    _mod(73, "suddendeath", "Finality", "Pass a map with Sudden Death.", SD, PF),
    _mod(74, "hidden", "Blindsight", "Pass a map with Hidden.", HD),
    _mod(75, "perfect", "Perfectionist", "Pass a map with Perfect.", PF),
    _mod(76, "hardrock", "Rock Around The Clock", "Pass a map with Hard Rock.", HR),
    _mod(77, "doubletime", "Time And A Half", "Pass a map with Double Time.", DT, NC),
    _mod(78, "flashlight", "Are You Afraid Of The Dark?", "Pass a map with Flashlight.", FL),
    _mod(79, "easy", "Dial It Right Back", "Pass a map with Easy.", EZ),
    _mod(80, "nofail", "Risk Averse", "Pass a map with No Fail.", NF),
    _mod(81, "nightcore", "Sweet Rave Party", "Pass a map with Nightcore.", NC),
    _mod(82, "halftime", "Slowboat", "Pass a map with Half Time.", HT),
    _mod(83, "spunout", "Burned Out", "Pass a map with Spun Out.", SO),
    _plays(84, 5_000),
    _plays(85, 15_000),
    _plays(86, 25_000),
    _plays(87, 50_000),
    *_hits(
        88,
        1,
        "taiko",
        "drum beats",
        (30_000, 300_000, 3_000_000, 30_000_000),
        ("Drummer", "Steady Hands", "Thunder", "Ten Thousand Drums"),
    ),
    *_hits(
        92,
        2,
        "fruits",
        "fruits",
        (20_000, 200_000, 2_000_000, 20_000_000),
        ("Full Basket", "Greengrocer", "Orchard", "Harvest Moon"),
    ),
    *_hits(
        96,
        3,
        "mania",
        "keys",
        (40_000, 400_000, 4_000_000, 40_000_000),
        ("Typist", "Pianist", "Concert Hall", "Keys To The City"),
    ),
    _rank(100, 50_000),
    _rank(101, 10_000),
    _rank(102, 5_000),
    _rank(103, 1_000),
    _secret(104, "sranker", "On A Roll", "Get an S or better on five maps within a day.", _s_ranks, needs_day=True),
    _secret(105, "improved", "Second Wind", "Get an A on a map that gave you a D today.", _improved, needs_day=True),
    _secret(
        106,
        "consolation",
        "At Least It Counts",
        "Get a D with 100 000 points, without Easy and No Fail.",
        lambda play: play.grade == "D" and play.score >= 100_000 and not play.mods & (EZ | NF),
    ),
    _secret(
        107,
        "challenge",
        "Seal Of Approval",
        "Get an A or better on an approved map.",
        lambda play: play.status == MapStatus.APPROVED and play.at_least("A"),
    ),
    _secret(
        108,
        "stumbler",
        "Held Together",
        "Get a full combo with an accuracy below 85 percent.",
        lambda play: play.perfect and play.acc < 85,
    ),
    _secret(
        109,
        "jackpot",
        "Jackpot",
        "Get a score of six or more digits that are all the same.",
        lambda play: _same_digits(play.score),
    ),
    _secret(110, "quickdraw", "Hello World", "Pass a map that has a leaderboard.", lambda play: True),
    _secret(
        111, "obsessed", "Once More", "Play a map a hundred times within a day and pass it.", _obsessed, needs_day=True
    ),
    _secret(
        112,
        "nonstop",
        "Long Breath",
        "Get a full combo on a map of 8 minutes 41 seconds or more.",
        lambda play: play.perfect and play.length_s >= 521,
    ),
    _secret(
        113,
        "jackofalltrades",
        "All Rounder",
        "Play each of the four modes 5 000 times.",
        lambda play: min(play.plays) >= 5_000,
    ),
    _secret(
        114,
        "bunny",
        "Bunny Hop",
        "Get a full combo on the song that started it all.",
        lambda play: play.perfect and _is_map(play, "chatmonchy", "make up! make up!", "peppy"),
    ),
    Medal(
        115,
        "osu-secret-dancer",
        "Dance Floor",
        "Pass the dance of the festival with more than 3 000 000 points, without No Fail.",
        lambda play: (
            play.mode == 0
            and not play.mods & NF
            and play.score > 3_000_000
            and _is_map(play, "yoko ishida", "paraparamax i")
        ),
        mode=0,
    ),
)
RANK_MEDALS: Final = frozenset(range(100, 104))
"""Off unless the operator switches them on: on a small server every player would get them."""
ON_A_ROLL: Final = 104
OBSESSED: Final = 111
BY_ID: Final = {medal.id: medal for medal in MEDALS}
_WITH_DAY: Final = tuple(medal for medal in MEDALS if medal.needs_day)
_WITHOUT_DAY: Final = tuple(medal for medal in MEDALS if not medal.needs_day)
_IDS_WITH_DAY: Final = frozenset(medal.id for medal in _WITH_DAY)
_MODS: Final = reduce(or_, (medal.mods for medal in MEDALS))


def earned_by(play: MedalPlay, held: frozenset[int], *, with_day: bool) -> list[int]:
    """Return the ids of the medals that this play earns and that are not in `held`.

    `with_day` selects the medals whose conditions read `MedalPlay.day`; otherwise the other medals are checked.
    """
    # NaN and infinity are no stars of any medal.
    star = int(play.stars) if 0 <= play.stars < STARS_MAX else 0
    possible = _WITH_DAY if with_day else _possible(play.mode, star, play.mods & _MODS)
    return [medal.id for medal in possible if medal.id not in held and medal.earned(play)]


@lru_cache(maxsize=512)
def _possible(mode: int, star: int, mods: int) -> tuple[Medal, ...]:
    """Return the medals that a play in this mode, on a map of `star` up to `star + 1` stars, with these mods may earn.

    PERF: 25 instead of all 115. The medals of a play take 11 us instead of 28.
    """
    return tuple(
        medal
        for medal in _WITHOUT_DAY
        if medal.mode in (None, mode) and medal.star in (0, star) and (not medal.mods or medal.mods & mods)
    )


def needs_other_maps(held: frozenset[int]) -> bool:
    """Whether a medal that is not held depends on the day's plays of other maps, too, and not only of this one."""
    return ON_A_ROLL not in held


def needs_fails(held: frozenset[int], plays_on_map: int) -> bool:
    """Whether a medal that is not held depends on the day's failed plays of this map, too, and not only on its passes.

    `plays_on_map` are all plays of the map by the player, of any day, including this one.
    """
    return OBSESSED not in held and plays_on_map >= OBSESSED_PLAYS


def needs_day_plays(play: MedalPlay, held: frozenset[int]) -> bool:
    """Whether this play could earn a medal that depends on the plays of the day, so that they have to be read."""
    return play.grade != "F" and not held >= _IDS_WITH_DAY

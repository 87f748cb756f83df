"""Invents players and their plays: plausible counts, combos, scores and times that fit the maps they are played on.

Everything comes from one seeded stream of numbers and a fixed end of time, never from the clock, so that the same
arguments give the same plays. A play's id order is its order in time.
"""

import hashlib
import itertools
import math
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Final

import msgspec

from kiai.beatmaps.model import Beatmap
from kiai.osu.accuracy import Counts, accuracy
from kiai.osu.grades import grade
from kiai.osu.modes import mode_of
from kiai.osu.mods import AP, DT, EZ, FI, FL, HD, HR, HT, NC, NF, RX, clock_rate
from kiai.scores.model import Play

EPOCH_MS: Final = 1_767_225_600_000
"""2026-01-01: when the made-up world ends."""
SPAN_MS: Final = 2 * 365 * 86_400_000
CLIENT_VERSION: Final = 20_251_001

_OSU: Final = 0
_TAIKO: Final = 1
_CATCH: Final = 2
_MANIA: Final = 3
_FAVOURITE_MODES: Final = (0, 0, 0, 0, 0, 0, 1, 2, 3, 3)
_KEEPS_TO_FAVOURITE: Final = 0.85
# What one star of osu! is in the other modes, roughly: skill is one number for all of them.
_STARS_OF_OSU: Final = (1.0, 0.62, 0.48, 0.4)
_PERFECT_COMBO: Final = 0.6  # of osu! plays without a miss that drop no slider either


class DemoPlayer(msgspec.Struct, frozen=True):
    """A player as far as plays depend on them; `skill` is the osu! star rating they can just manage."""

    skill: float
    mode: int


class PlayableMap(msgspec.Struct, frozen=True):
    """An imported map with what a whole play of it is judged on."""

    beatmap: Beatmap
    judged: int
    tiny_droplets: int


class _Choice(msgspec.Struct, frozen=True):
    """A set of mods as players pick it: what it does to score, speed and difficulty (in stars of osu!)."""

    mods: int
    mode: int
    multiplier: float
    rate: float
    harder: float


_PICKED: Final = (
    # osu!
    (
        *((30, 0), (18, HD), (7, HR), (8, DT), (3, DT | NC), (8, HD | DT), (6, HD | HR), (4, NF), (2, EZ), (1, FL)),
        *((1, HD | FL), (1, HT), (4, RX), (2, RX | HD), (2, RX | DT), (2, RX | HD | DT), (1, AP), (1, AP | HD)),
    ),
    # taiko
    ((30, 0), (12, HD), (6, HR), (6, DT), (3, HD | DT), (3, HD | HR), (3, NF), (1, EZ), (1, FL), (3, RX), (1, RX | DT)),
    # catch
    ((30, 0), (12, HD), (10, HR), (5, DT), (4, HD | HR), (3, NF), (2, EZ), (1, FL), (3, RX), (1, RX | HD)),
    # mania
    ((40, 0), (8, DT), (3, DT | NC), (3, HT), (4, NF), (2, EZ), (3, HD), (2, FI)),
)
_MULTIPLIERS: Final = ((NF, 0.5), (EZ, 0.5), (HT, 0.3), (HD, 1.06), (HR, 1.06), (DT, 1.12), (FL, 1.12))
_MULTIPLIERS_IN_MANIA: Final = ((NF, 0.5), (EZ, 0.5), (HT, 0.5))
_HARDER: Final = ((EZ, -0.3), (HT, -0.8), (HD, 0.1), (HR, 0.4), (DT, 1.2), (FL, 0.9), (RX, -0.9), (AP, -0.7))


def _choice(mods: int, vanilla_mode: int) -> _Choice:
    multipliers = _MULTIPLIERS_IN_MANIA if vanilla_mode == _MANIA else _MULTIPLIERS
    return _Choice(
        mods=mods,
        mode=mode_of(vanilla_mode, mods),
        multiplier=math.prod(factor for bit, factor in multipliers if mods & bit),
        rate=clock_rate(mods),
        harder=sum(stars for bit, stars in _HARDER if mods & bit),
    )


def compose_player(rng: Random) -> DemoPlayer:
    """A player with some skill and a mode they mostly play."""
    return DemoPlayer(skill=rng.gauss(4.9, 1.2), mode=rng.choice(_FAVOURITE_MODES))


def checksum(seed: int, number: int) -> bytes:
    """The 16 bytes that name the play with this number."""
    return hashlib.blake2b(f"{seed} {number}".encode(), digest_size=16).digest()


def compose_plays(
    seed: int, players: Sequence[tuple[int, DemoPlayer]], maps: Sequence[PlayableMap], count: int
) -> Iterator[Play]:
    """`count` plays in the order of time, by `players` (with their user ids), without pp: 0, calculator 0.

    A few players are much more active than the rest, and a few maps much more popular, as a power law has it.
    """
    if not players or not maps:
        return
    rng = Random(f"{seed} plays")
    random = rng.random
    player_weights = _powers(rng, len(players), shift=6.0, power=0.8)
    boards = [_Board(rng, [one for one in maps if one.beatmap.mode == mode]) for mode in range(4)]
    all_maps = _Board(rng, maps)
    picks = [_Picks(mode) for mode in range(4)]
    apart_ms = SPAN_MS / max(count, 1)
    for number in range(count):
        user_id, player = players[bisect(player_weights, random() * player_weights[-1])]
        board = boards[player.mode]
        if not board.maps or random() > _KEEPS_TO_FAVOURITE:
            board = all_maps
        on = board.maps[bisect(board.weights, random() * board.weights[-1])]
        pick = picks[on.beatmap.mode]
        choice = pick.choices[bisect(pick.weights, random() * pick.weights[-1])]
        yield compose_play(
            rng,
            user_id,
            player.skill,
            on,
            choice,
            at_ms=int(EPOCH_MS - SPAN_MS + (number + random()) * apart_ms),
            checksum=checksum(seed, number),
        )


class _Board:
    """Maps to choose from, by popularity."""

    def __init__(self, rng: Random, maps: Sequence[PlayableMap]) -> None:
        self.maps = maps
        self.weights = _powers(rng, len(maps), shift=3.0, power=0.9)


class _Picks:
    """Mods to choose from, by popularity."""

    def __init__(self, vanilla_mode: int) -> None:
        self.choices = [_choice(mods, vanilla_mode) for _, mods in _PICKED[vanilla_mode]]
        self.weights = list(itertools.accumulate(weight for weight, _ in _PICKED[vanilla_mode]))


def _powers(rng: Random, count: int, *, shift: float, power: float) -> list[float]:
    """Running sums of `count` weights that fall like a power of their place, places shuffled."""
    places = list(range(count))
    rng.shuffle(places)
    return list(itertools.accumulate((place + shift) ** -power for place in places))


def compose_play(
    rng: Random, user_id: int, skill: float, on: PlayableMap, choice: _Choice, *, at_ms: int, checksum: bytes
) -> Play:
    """One play of a map with these mods, as well as the player's skill lets it be."""
    random = rng.random
    beatmap = on.beatmap
    vanilla_mode = beatmap.mode
    edge = skill - beatmap.diff / _STARS_OF_OSU[vanilla_mode] - choice.harder + 3.0 * (random() + random() - 1.0)
    quality = 1.0 / (1.0 + math.exp(-0.9 * edge))
    passed = bool(choice.mods & NF) or random() < 0.25 + 0.75 * math.sqrt(quality)
    played = 1.0 if passed else 0.06 + 0.9 * random()
    counts = _counts(random, on, quality, passed, played)
    combo = _combo(random, beatmap.max_combo, vanilla_mode, counts, passed, played)
    length_ms = 1_000 * beatmap.total_length
    return Play(
        user_id=user_id,
        beatmap=beatmap,
        mode=choice.mode,
        mods=choice.mods,
        counts=counts,
        score=_score(random, on, counts, combo, choice.multiplier, played),
        max_combo=combo,
        acc=accuracy(counts, vanilla_mode, choice.mods),
        pp=0.0,
        grade=grade(counts, vanilla_mode, choice.mods, passed=passed),
        passed=passed,
        perfect=passed and combo == beatmap.max_combo,
        play_time_ms=at_ms,
        time_elapsed=int(length_ms * played / choice.rate),
        checksum=checksum,
        calculator=0,
        client_version=CLIENT_VERSION,
    )


def _counts(random: Callable[[], float], on: PlayableMap, quality: float, passed: bool, played: float) -> Counts:
    """Judgements of the played part of a map. A fail has a few misses at least."""
    faults = 1.0 - quality
    droplets = int(on.tiny_droplets * played)
    judged = max(int(on.judged * played) - droplets, 2)
    bad = min(int(judged * (0.02 * random() + 0.3 * faults * math.sqrt(faults) * (0.4 + 1.2 * random()))), judged // 2)
    missed = int(bad * (0.06 + 0.25 * faults) * (0.2 + 2.2 * random()))
    if not passed:
        missed = min(missed + 1 + int(judged * 0.15 * random()), judged // 2)
        bad = max(bad, missed)
    good = judged - bad
    bad -= missed
    match on.beatmap.mode:
        case 0:
            n50 = int(bad * 0.15 * random())
            n100 = bad - n50
            katu = int(n100 * 0.4 * random())
            return Counts(good, n100, n50, max(good // 5 - n100, 0), katu, missed)
        case 1:
            return Counts(good, bad, 0, good // 12, bad // 12, missed)
        case 2:  # what is not missed is caught; lost droplets are counted as katu
            lost = int(droplets * 0.2 * faults * random())
            return Counts(good + bad, 0, droplets - lost, 0, lost, missed)
        case _:
            n50 = int(bad * 0.1 * random())
            n100 = int((bad - n50) * 0.3 * random())
            n300 = int(good * (0.15 + 0.5 * faults) * (0.5 + random() / 2))
            return Counts(n300, n100, n50, good - n300, bad - n50 - n100, missed)


def _combo(
    random: Callable[[], float], most: int, vanilla_mode: int, counts: Counts, passed: bool, played: float
) -> int:
    """The longest run between the misses; in osu! a dropped slider breaks a run without one."""
    reached = most if passed else int(most * played)
    breaks = counts.nmiss
    if breaks == 0:
        if vanilla_mode != _OSU or random() < _PERFECT_COMBO:
            return reached
        breaks = 1
    unbroken = max(reached - breaks, 1)
    shortest = -(-unbroken // (breaks + 1))
    return shortest + int((unbroken - shortest) * random() ** 2)


def _score(
    random: Callable[[], float], on: PlayableMap, counts: Counts, combo: int, multiplier: float, played: float
) -> int:
    """About what the game would count: each hit grows with the combo it stands in."""
    beatmap = on.beatmap
    if beatmap.mode == _MANIA:
        judged = counts.n300 + counts.n100 + counts.n50 + counts.ngeki + counts.nkatu + counts.nmiss
        worth = 320 * counts.ngeki + 300 * counts.n300 + 200 * counts.nkatu + 100 * counts.n100 + 50 * counts.n50
        return int(1_000_000 * multiplier * played * (worth / (320 * judged)) ** 1.5) + 1
    hits = counts.n300 + counts.n100 + counts.n50
    worth = 300 * counts.n300 + 100 * counts.n100 + 50 * counts.n50
    if beatmap.mode == _CATCH:
        worth = 300 * counts.n300 + 10 * counts.n50
    if beatmap.mode == _TAIKO:
        return int(worth * multiplier * (1.0 + 0.8 * min(combo / 100, 1.0))) + 300 * int(40 * random())
    rest = max(int(beatmap.max_combo * played) - combo, 0)
    combos = (combo * combo + rest * rest / (counts.nmiss + 1)) / (2 * (combo + rest))
    density = min(beatmap.objects / max(beatmap.hit_length, 1) * 8, 16.0)
    difficulty = round((beatmap.hp + beatmap.cs + beatmap.od + density) / 38 * 5)
    return int(worth * (1.0 + combos * difficulty * multiplier / 25)) + 100 * int(30 * random()) + 10 * hits

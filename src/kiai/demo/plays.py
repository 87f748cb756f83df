"""Generates players and plays, with plausible counts, combos, scores and times for each map.

The values come from seeded generators and a fixed end date, not from the clock, so equal arguments give equal plays.
Those of a small world are generated in the order of time, from one generator. Those of a large one are generated player
by player, so that several processes can share the work.
"""

import hashlib
import itertools
import math
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from random import Random
from typing import Final

import msgspec

from kiai.beatmaps.model import Beatmap
from kiai.osu.accuracy import HitCounts, accuracy
from kiai.osu.grades import grade
from kiai.osu.modes import mode_of
from kiai.osu.mods import AP, DT, EZ, FI, FL, HD, HR, HT, NC, NF, RX, clock_rate
from kiai.scores.model import Play

EPOCH_MS: Final = 1_767_225_600_000
"""2026-01-01, the end of the period of the plays."""
SPAN_MS: Final = 2 * 365 * 86_400_000  # the length of the period
CLIENT_VERSION: Final = 20_251_001

_OSU: Final = 0
_TAIKO: Final = 1
_CATCH: Final = 2
_MANIA: Final = 3
_FAVOURITE_MODES: Final = (0, 0, 0, 0, 0, 0, 1, 2, 3, 3)
_FAVOURITE_SHARE: Final = 0.85
# One star of osu! in stars of each mode, approximately: a player has one skill for all modes.
_STARS_OF_OSU: Final = (1.0, 0.62, 0.48, 0.4)
_PERFECT_COMBO: Final = 0.6  # share of osu! plays without a miss that also drop no slider


class DemoPlayer(msgspec.Struct, frozen=True):
    """A player. `skill` is the osu! star rating that the player can just pass; `mode` is the favourite mode."""

    skill: float
    mode: int


class PlayableMap(msgspec.Struct, frozen=True):
    """An imported map with the number of judgements in a complete play."""

    beatmap: Beatmap
    judged: int
    tiny_droplets: int


class _Choice(msgspec.Struct, frozen=True):
    """A mod set with its effect on score, speed and difficulty (in stars of osu!)."""

    mods: int
    mode: int
    multiplier: float
    rate: float
    harder: float


# By mode: how often players choose a mod set, relative to the others.
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
    """Return a player with a random skill and favourite mode."""
    return DemoPlayer(skill=rng.gauss(4.9, 1.2), mode=rng.choice(_FAVOURITE_MODES))


def checksum(seed: int, number: int) -> bytes:
    """Return the 16 bytes that identify the play with this number."""
    return hashlib.blake2b(f"{seed} {number}".encode(), digest_size=16).digest()


def checksum_by_time(seed: int, number: int, at_ms: int) -> bytes:
    """Return 16 bytes that identify the play with this number, in the order of time."""
    # PERF: with checksums in the order of insertion, a bulk load changes only the last page of their unique index.
    return at_ms.to_bytes(6, "big") + hashlib.blake2b(f"{seed} {number}".encode(), digest_size=10).digest()


def compose_plays(
    seed: int, players: Sequence[tuple[int, DemoPlayer]], maps: Sequence[PlayableMap], count: int
) -> Iterator[Play]:
    """Yield `count` plays of `players` (user id, player) in order of time. Their pp and calculator are 0.

    The activity of players and the popularity of maps follow a power law.
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
        if not board.maps or random() > _FAVOURITE_SHARE:
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


class PlaysComposer:
    """Generates the plays of `players` players on the maps, together `count` plays, player by player.

    Activity and popularity are as in `compose_plays`, but the plays of a player do not depend on those of others.
    """

    def __init__(self, seed: int, players: int, maps: Sequence[PlayableMap], count: int) -> None:
        self._seed = seed
        self._count = count
        rng = Random(f"{seed} plays")
        self._activity = _powers(rng, players, shift=6.0, power=0.8)
        self._boards = [_Board(rng, [one for one in maps if one.beatmap.mode == mode]) for mode in range(4)]
        self._all_maps = _Board(rng, maps)
        self._picks = [_Picks(mode) for mode in range(4)]

    def plays_before(self, index: int) -> int:
        """Return the number of plays of the first `index` players."""
        # Rounded running sums: together the shares are exactly `count`.
        return round(self._count * self._activity[index - 1] / self._activity[-1]) if index else 0

    def plays_of(self, index: int, user_id: int, player: DemoPlayer) -> list[Play]:
        """Return the plays of the player with this index, in order of time. Their pp and calculator are 0."""
        rng = Random(f"{self._seed} plays of {index}")
        random = rng.random
        favourite = self._boards[player.mode]
        plays = []
        for number in range(self.plays_before(index), self.plays_before(index + 1)):
            board = self._all_maps if not favourite.maps or random() > _FAVOURITE_SHARE else favourite
            on = board.maps[bisect(board.weights, random() * board.weights[-1])]
            pick = self._picks[on.beatmap.mode]
            choice = pick.choices[bisect(pick.weights, random() * pick.weights[-1])]
            at_ms = int(EPOCH_MS - SPAN_MS * random()) - 1
            own = checksum_by_time(self._seed, number, at_ms)
            plays.append(compose_play(rng, user_id, player.skill, on, choice, at_ms=at_ms, checksum=own))
        plays.sort(key=_checksum_of)
        return plays


_checksum_of = attrgetter("checksum")


class _Board:
    """Maps with the running sums of their popularity."""

    def __init__(self, rng: Random, maps: Sequence[PlayableMap]) -> None:
        self.maps = maps
        self.weights = _powers(rng, len(maps), shift=3.0, power=0.9)


class _Picks:
    """Mod sets with the running sums of their popularity."""

    def __init__(self, vanilla_mode: int) -> None:
        self.choices = [_choice(mods, vanilla_mode) for _, mods in _PICKED[vanilla_mode]]
        self.weights = list(itertools.accumulate(weight for weight, _ in _PICKED[vanilla_mode]))


def _powers(rng: Random, count: int, *, shift: float, power: float) -> list[float]:
    """Return the running sums of `count` weights that follow a power law in random order."""
    # PERF: `bisect` on running sums chooses an item in logarithmic time, a million times.
    places = list(range(count))
    rng.shuffle(places)
    return list(itertools.accumulate((place + shift) ** -power for place in places))


def compose_play(
    rng: Random, user_id: int, skill: float, on: PlayableMap, choice: _Choice, *, at_ms: int, checksum: bytes
) -> Play:
    """Return a play of a map with a mod set. Its quality depends on skill and difficulty."""
    random = rng.random
    beatmap = on.beatmap
    vanilla_mode = beatmap.mode
    # The margin in stars, with the form of the day; a logistic curve turns it into a quality of 0-1.
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


def _counts(random: Callable[[], float], on: PlayableMap, quality: float, passed: bool, played: float) -> HitCounts:
    """Return the judgements of the played part of a map. A fail has at least one miss."""
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
            return HitCounts(good, n100, n50, max(good // 5 - n100, 0), katu, missed)
        case 1:
            return HitCounts(good, bad, 0, good // 12, bad // 12, missed)
        case 2:  # catch has no inaccurate hits; missed droplets count as katu
            lost = int(droplets * 0.2 * faults * random())
            return HitCounts(good + bad, 0, droplets - lost, 0, lost, missed)
        case _:
            n50 = int(bad * 0.1 * random())
            n100 = int((bad - n50) * 0.3 * random())
            n300 = int(good * (0.15 + 0.5 * faults) * (0.5 + random() / 2))
            return HitCounts(n300, n100, n50, good - n300, bad - n50 - n100, missed)


def _combo(
    random: Callable[[], float], most: int, vanilla_mode: int, counts: HitCounts, passed: bool, played: float
) -> int:
    """Return the maximum combo. In osu! a dropped slider can break the combo without a miss."""
    reached = most if passed else int(most * played)
    breaks = counts.nmiss
    if breaks == 0:
        if vanilla_mode != _OSU or random() < _PERFECT_COMBO:
            return reached
        breaks = 1
    unbroken = max(reached - breaks, 1)
    shortest = -(-unbroken // (breaks + 1))  # rounded up: the longest run when all runs are equally long
    return shortest + int((unbroken - shortest) * random() ** 2)


def _score(
    random: Callable[[], float], on: PlayableMap, counts: HitCounts, combo: int, multiplier: float, played: float
) -> int:
    """Return a score close to that of the game, where the value of a hit grows with the combo."""
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

"""The difficulty of a map with the mods of a play, and the pp of the same play with fewer faults.

The results of the most recently asked plays stay in memory, so that a page costs no calculation twice. The calculator's
process keeps the parsed map and its difficulty, so that another play on the same map takes microseconds.
"""

import asyncio
from collections import OrderedDict
from typing import Final

import msgspec

from kiai.errors import Unavailable
from kiai.in_flight import InFlight
from kiai.osu.accuracy import HitCounts, accuracy
from kiai.osu.modes import vanilla
from kiai.scores.calculator import CalculatorPlay, CalculatorResult
from kiai.scores.details import ScoreDetails
from kiai.scores.performance import CannotCalculate, Performance, stored_pp

ACCURACIES: Final = (95.0, 97.0, 98.0, 99.0, 100.0)
TABLES_MAX: Final = 2_048
"""Tables in the cache, about 1 KB each."""


class PpTable(msgspec.Struct, frozen=True):
    """Stars and pp. `calculator.CalculatorResult` describes the values, which are None where the mode has none.

    `if_fc` is the pp of the play with its misses made hits, at the maximum combo; `at` has the pp of plays without a
    miss for each of `ACCURACIES`.
    """

    stars: float
    max_combo: int
    aim: float | None
    speed: float | None
    flashlight: float | None
    slider_factor: float | None
    speed_note_count: float | None
    stamina: float | None
    color: float | None
    rhythm: float | None
    peak: float | None
    if_fc: float
    if_fc_accuracy: float
    at: tuple[float, ...]


_Key = tuple[str, int, int, HitCounts]


class PpTables:
    """Computes and caches tables. `calculator` names the version of the calculator."""

    def __init__(self, performance: Performance) -> None:
        self._performance = performance
        self._known: OrderedDict[_Key, PpTable | str] = OrderedDict()
        self._in_flight: InFlight[_Key, PpTable] = InFlight()
        self.calculator = performance.calculator

    async def of(self, found: ScoreDetails, *, wait_s: float | None = None) -> PpTable:
        """Return the table of a score.

        Raises CannotCalculate and Unavailable. With `wait_s`, it raises Unavailable after that time; the calculation
        continues, and a later call finds its result.
        """
        score = found.score
        counts = HitCounts(score.n300, score.n100, score.n50, score.ngeki, score.nkatu, score.nmiss)
        key = (found.beatmap.md5, vanilla(score.mode), score.mods, counts)
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            if isinstance(known, str):
                raise CannotCalculate(known)
            return known
        try:
            async with asyncio.timeout(wait_s):
                return await self._in_flight.run(key, lambda: self._computed(key))
        except TimeoutError as error:
            raise Unavailable("performance", "the pp of this map is being calculated") from error

    async def _computed(self, key: _Key) -> PpTable:
        md5, mode, mods, counts = key
        fixed = without_misses(counts, mode)
        fc_accuracy = accuracy(fixed, mode, mods)
        plays = [_full_combo(fixed, mode, mods, fc_accuracy)]
        plays += [CalculatorPlay(mods=mods, accuracy=percent, nmiss=0) for percent in ACCURACIES]
        try:
            results = await self._performance.plays(md5, mode, plays)
        except CannotCalculate as error:
            self._remember(key, error.reason)
            raise
        table = _table(results, fc_accuracy)
        self._remember(key, table)
        return table

    def _remember(self, key: _Key, value: PpTable | str) -> None:
        self._known[key] = value
        if len(self._known) > TABLES_MAX:
            self._known.popitem(last=False)


def without_misses(counts: HitCounts, vanilla_mode: int) -> HitCounts:
    """Return the judgements with every miss made a 300; in catch, also with every missed droplet caught."""
    if vanilla_mode == 2:
        return HitCounts(counts.n300 + counts.nmiss, counts.n100, counts.n50 + counts.nkatu, counts.ngeki, 0, 0)
    return HitCounts(counts.n300 + counts.nmiss, counts.n100, counts.n50, counts.ngeki, counts.nkatu, 0)


def _full_combo(counts: HitCounts, mode: int, mods: int, percent: float) -> CalculatorPlay:
    if mode == 2:
        # A missed droplet is a miss, like a missed fruit, so the counts do not tell which of them became hits.
        return CalculatorPlay(mods=mods, accuracy=percent, nmiss=0)
    return CalculatorPlay(
        mods=mods,
        n300=counts.n300,
        n100=counts.n100,
        n50=counts.n50,
        ngeki=counts.ngeki,
        nkatu=counts.nkatu,
        nmiss=0,
    )


def _table(results: list[CalculatorResult], fc_accuracy: float) -> PpTable:
    first, *rest = results
    return PpTable(
        stars=first.stars,
        max_combo=first.max_combo,
        aim=first.aim,
        speed=first.speed,
        flashlight=first.flashlight,
        slider_factor=first.slider_factor,
        speed_note_count=first.speed_note_count,
        stamina=first.stamina,
        color=first.color,
        rhythm=first.rhythm,
        peak=first.peak,
        if_fc=stored_pp(first.pp),
        if_fc_accuracy=fc_accuracy,
        at=tuple(stored_pp(one.pp) for one in rest),
    )

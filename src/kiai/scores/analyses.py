"""Analyses of maps: objects by kind, tempo range and strain over time, with mods (`calculator.py` computes them).

The strain is that of the mode's skills together, in `POINTS_MAX` points at most. Results stay in memory, the most
recently used ones, and are computed again after a restart.
"""

import asyncio
from collections import OrderedDict
from typing import Final

from kiai.beatmaps import Beatmap
from kiai.osu.mods import difficulty_mods
from kiai.scores.calculator import MapAnalysis
from kiai.scores.performance import Performance

STORED_MAX: Final = 1_024
"""Results in memory, about 1.5 KB each."""
_Key = tuple[str, int, int]


class Analyses:
    """Computes and remembers analyses of maps."""

    def __init__(self, performance: Performance) -> None:
        self._performance = performance
        self._known: OrderedDict[_Key, MapAnalysis] = OrderedDict()
        self._running: dict[_Key, asyncio.Task[MapAnalysis]] = {}

    async def of(self, beatmap: Beatmap, mode: int, mods: int) -> MapAnalysis:
        """Return the analysis of a map in a vanilla mode with mods. Raises the errors of `Performance.analysis`.

        Requests for the same map at the same time share one computation, which continues if a caller gives up.
        """
        key = (beatmap.md5, mode, difficulty_mods(mods))
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._compute(key))
            task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    async def _compute(self, key: _Key) -> MapAnalysis:
        found = await self._performance.analysis(*key)
        self._known[key] = found
        if len(self._known) > STORED_MAX:
            self._known.popitem(last=False)
        return found

    def _forget(self, key: _Key, done: asyncio.Task[MapAnalysis]) -> None:
        self._running.pop(key, None)
        if not done.cancelled():
            done.exception()  # retrieved, so that asyncio does not warn if all callers have left

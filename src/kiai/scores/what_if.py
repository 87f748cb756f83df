"""pp of plays that nobody has made: by accuracy, combo and misses, or by judgements. For the API and the website."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from kiai.beatmaps import Beatmap
from kiai.errors import Invalid, Refused
from kiai.osu.modes import vanilla
from kiai.scores.calculator import CalculatorPlay, CalculatorResult
from kiai.scores.performance import CannotCalculate, Difficulties, Performance

COUNT_MAX: Final = 65_535  # judgements are 16-bit numbers in scores and replays
JUDGEMENTS: Final = ("n300", "n100", "n50", "ngeki", "nkatu")


class WhatIf(msgspec.Struct, frozen=True):
    """Plays to compute. `counts` gives one play; otherwise there is one for each of `accuracies`, in percent.

    `mode` is vanilla. `combo` None is the maximum.
    """

    mode: int
    mods: int = 0
    combo: int | None = None
    misses: int = 0
    accuracies: Sequence[float] = ()
    counts: Mapping[str, int] | None = None


class WhatIfs:
    """Computes the pp of hypothetical plays."""

    def __init__(self, performance: Performance, difficulties: Difficulties) -> None:
        self._performance = performance
        self._difficulties = difficulties

    async def calculate(self, beatmap: Beatmap, wanted: WhatIf, *, caller: str) -> list[CalculatorResult]:
        """Return the results in the order of the plays. Raises Invalid or Refused for a play that the map excludes.

        Raises Unavailable if the file of the map cannot be obtained. `caller` shares the workers fairly with others.
        """
        mods, combo, misses = wanted.mods, wanted.combo, wanted.misses
        if wanted.counts is not None:
            counts = dict.fromkeys(JUDGEMENTS, 0) | dict(wanted.counts)
            plays = [CalculatorPlay(mods=mods, combo=combo, nmiss=misses, **counts)]
        else:
            plays = [CalculatorPlay(mods=mods, combo=combo, nmiss=misses, accuracy=acc) for acc in wanted.accuracies]
        # Before any computation, so that impossible plays cost no time of a worker.
        check_possible(beatmap, wanted)
        try:
            # The maximum combo depends on mode and mods, so the file is computed. Requests without a combo skip this.
            if combo is not None:
                reachable = (await self._difficulties.of(beatmap.key, beatmap.md5, wanted.mode, mods)).max_combo
                if combo > reachable:
                    raise Invalid("combo", f"a whole number from 0 to {reachable}, the map's maximum", combo)
            return await self._performance.plays(beatmap.md5, wanted.mode, plays, caller=caller)
        except CannotCalculate as error:
            raise Refused(f"The pp of this map cannot be computed: {error}.") from error


def mode_on(beatmap: Beatmap, mode: int) -> int:
    """Return the vanilla mode in which a map is played in `mode`. Raises Invalid: only osu! maps have converts."""
    if beatmap.mode not in (0, vanilla(mode)):
        raise Invalid("mode", f"{beatmap.mode}, the mode of the map (only osu! maps have converts)", mode)
    return vanilla(mode)


def check_possible(beatmap: Beatmap, wanted: WhatIf) -> None:
    """Check that the map has enough objects for the judgements. Raises Invalid or Refused."""
    # Only osu! has one judgement per object. The other modes also count ticks, droplets and tails.
    if wanted.mode != 0:
        return
    if wanted.misses > beatmap.objects:
        raise Invalid("misses", f"a whole number from 0 to {beatmap.objects}, the map's objects", wanted.misses)
    counts = wanted.counts or {}
    hits = wanted.misses + sum(counts.get(name, 0) for name in ("n300", "n100", "n50"))
    if hits > beatmap.objects:
        raise Refused(f"The hit counts add up to {hits}; the map has {beatmap.objects} objects.")

"""Updates of stored sets from upstream: statuses, changed files, and removed sets.

The interval is 2 hours, and 5 hours more for each year since the last update of the set. It is four times as long for a
set with an official board, and at most a day.

See docs/spec/beatmaps.md#keeping-sets-up-to-date.
"""

from collections.abc import AsyncIterator
from typing import Final

from kiai.beatmaps import queries
from kiai.beatmaps.model import BOARD_STATUSES, OWN_ID_FIRST, Beatmap
from kiai.beatmaps.upstream import Upstream
from kiai.clock import Clock
from kiai.errors import Unavailable
from kiai.logs import get_logger
from kiai.storage.port import Database, Transaction

AT_ONCE: Final = 20  # sets in one run of the job
HOUR_MS: Final = 3_600_000
YEAR_MS: Final = 365 * 24 * HOUR_MS
EACH_MS: Final = 2 * HOUR_MS
PER_YEAR_MS: Final = 5 * HOUR_MS
LONGEST_MS: Final = 24 * HOUR_MS
OFFICIAL_FACTOR: Final = 4
AGAIN_MS: Final = HOUR_MS // 4  # after a failure of upstream


def interval_ms(age_ms: int, *, official: bool) -> int:
    """Return the time between two checks of a set whose last update was `age_ms` ago."""
    once = EACH_MS + PER_YEAR_MS * max(0, age_ms) // YEAR_MS
    return min(once * OFFICIAL_FACTOR if official else once, LONGEST_MS)


class BeatmapRefresher:
    """The job that checks sets when they are due."""

    def __init__(self, database: Database, upstream: Upstream, clock: Clock) -> None:
        self._database = database
        self._upstream = upstream
        self._clock = clock

    async def schedule(self) -> None:
        """Schedule the official sets that have no time for a check yet, e.g. sets imported before upstream was set."""
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await tx.run(queries.SCHEDULE_REFRESH, below=OWN_ID_FIRST, at_ms=now)

        await self._database.transaction(body)

    async def refresh_due(self) -> int:
        """Check at most 20 sets that are due, and return the number that succeeded. A job calls this."""
        now = self._clock.now_ms()
        done = 0
        for set_id in await self._database.all(queries.DUE, now_ms=now, limit=AT_ONCE):
            done += not await self._refresh(set_id, now)
        return done

    async def count(self) -> int:
        """Return the number of official sets."""
        return await self._database.one(queries.OFFICIAL_COUNT, below=OWN_ID_FIRST) or 0

    async def refresh_after(self, set_id: int) -> AsyncIterator[tuple[int, str]]:
        """Check all official sets with ids above `set_id` now, and yield each id with the fault or an empty text."""
        while found := await self._database.all(queries.OFFICIAL_AFTER, after=set_id, below=OWN_ID_FIRST):
            for set_id in found:
                now = self._clock.now_ms()
                fault = await self._refresh(set_id, now)
                yield set_id, fault

    async def _refresh(self, set_id: int, now: int) -> str:
        """Check a set, and schedule the next check. Return the fault of upstream, or an empty text."""
        beatmaps = await self._database.all(queries.OF_SET, set_id=set_id)
        try:
            if beatmaps:
                await self._upstream.refresh(beatmaps)
        except Unavailable as error:
            get_logger("upstream").info("set not refreshed", set_id=set_id, why=str(error))
            # Later, not next: sets that fail must not keep the others from their turn.
            await self._note(set_id, now, now + AGAIN_MS)
            return str(error)
        await self._note(set_id, now, now + await self._wait_ms(set_id, beatmaps, now))
        return ""

    async def _wait_ms(self, set_id: int, beatmaps: list[Beatmap], now_ms: int) -> int:
        updated = await self._database.one(queries.SET_UPDATED, id=set_id) or now_ms
        return interval_ms(now_ms - updated, official=any(beatmap.status in BOARD_STATUSES for beatmap in beatmaps))

    async def _note(self, set_id: int, at_ms: int, next_at_ms: int) -> None:
        async def body(tx: Transaction) -> None:
            await tx.run(queries.CHECKED, of_set=set_id, at_ms=at_ms, next_at_ms=next_at_ms)

        await self._database.transaction(body)

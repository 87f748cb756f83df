"""Keeping sets up to date with upstream: statuses, changed files, sets that are gone.

A set is looked at every two hours, and five hours more for each year since its last update; four times as rarely when
it has an official board; once a day at least.

See docs/spec/beatmaps.md#keeping-sets-up-to-date.
"""

from typing import Final

from kiai.beatmaps import queries
from kiai.beatmaps.model import OWN_ID_FIRST, Beatmap, has_board
from kiai.beatmaps.upstream import Upstream
from kiai.clock import Clock
from kiai.errors import Unavailable
from kiai.logs import get_logger
from kiai.storage.port import Database, Transaction

AT_ONCE: Final = 20
HOUR_MS: Final = 3_600_000
YEAR_MS: Final = 365 * 24 * HOUR_MS
EACH_MS: Final = 2 * HOUR_MS
PER_YEAR_MS: Final = 5 * HOUR_MS
LONGEST_MS: Final = 24 * HOUR_MS
OFFICIAL_FACTOR: Final = 4
AGAIN_MS: Final = HOUR_MS // 4  # after an upstream that could not be asked


def interval_ms(age_ms: int, *, official: bool) -> int:
    """How long a set is left alone that was last updated so long ago."""
    once = EACH_MS + PER_YEAR_MS * max(0, age_ms) // YEAR_MS
    return min(once * OFFICIAL_FACTOR if official else once, LONGEST_MS)


class Refreshing:
    """The job."""

    def __init__(self, database: Database, upstream: Upstream, clock: Clock) -> None:
        self._database = database
        self._upstream = upstream
        self._clock = clock

    async def enlist(self) -> None:
        """Puts every official set on the list that is on none: imported before there was an upstream, or just now."""
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await tx.run(queries.ENLIST, below=OWN_ID_FIRST, at_ms=now)

        await self._database.transaction(body)

    async def refresh_due(self) -> int:
        """Looks at the sets whose time has come, 20 at most; how many were refreshed. A job's work."""
        now = self._clock.now_ms()
        done = 0
        for set_id in await self._database.all(queries.DUE, now_ms=now, limit=AT_ONCE):
            beatmaps = await self._database.all(queries.OF_SET, set_id=set_id)
            try:
                if beatmaps:
                    await self._upstream.refresh(beatmaps)
            except Unavailable as error:
                get_logger("upstream").info("set not refreshed", set_id=set_id, why=str(error))
                await self._note(set_id, now, now + AGAIN_MS)
                continue
            await self._note(set_id, now, now + await self._wait_ms(set_id, beatmaps, now))
            done += 1
        return done

    async def _wait_ms(self, set_id: int, beatmaps: list[Beatmap], now_ms: int) -> int:
        updated = await self._database.one(queries.SET_UPDATED, id=set_id) or now_ms
        return interval_ms(now_ms - updated, official=any(has_board(one.status) for one in beatmaps))

    async def _note(self, set_id: int, at_ms: int, next_at_ms: int) -> None:
        async def body(tx: Transaction) -> None:
            await tx.run(queries.CHECKED, of_set=set_id, at_ms=at_ms, next_at_ms=next_at_ms)

        await self._database.transaction(body)

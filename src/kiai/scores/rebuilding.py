"""Everything that follows from score rows, computed again from the rows: flags, stats, counters, first places.

Used by bulk loads, recalculation, status changes and `kiai doctor`. A range of players is one transaction, so no
profile is ever visible half-updated; maps follow, because a first place needs everybody's flags.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from kiai.scores import statements
from kiai.scores.model import Stats
from kiai.scores.recording import Rules, totals
from kiai.storage.port import Database, Query, Reader, Transaction

ROWS_AT_ONCE: Final = 20_000  # about half a second of work


class Rebuilder:
    """Recomputes derived rows."""

    def __init__(self, database: Database, rules: Rules) -> None:
        self._database = database
        self._rules = rules

    async def users(self, first: int, last: int) -> None:
        """Flags, play counters and stats of the players in this range of ids, with the new pp that waits for them."""

        async def body(tx: Transaction) -> None:
            await tx.all(statements.LOCK_USERS, first=first, last=last)  # plays recorded meanwhile wait
            await tx.run(statements.TAKE_RECOMPUTED, first=first, last=last)
            await tx.run(statements.DROP_RECOMPUTED, first=first, last=last)
            await tx.run(statements.DROP_STALE_TOTALS_BETWEEN, first=first, last=last)
            for clear in statements.CLEAR_FLAGS:
                await tx.run(clear, first=first, last=last)
            await tx.run(statements.SET_FLAGS, first=first, last=last)
            await tx.run(statements.DROP_PLAY_COUNTS, first=first, last=last)
            await tx.run(statements.WRITE_PLAY_COUNTS, first=first, last=last)
            await tx.run(statements.SET_COUNTRIES, first=first, last=last)
            countries = dict(await tx.all(statements.COUNTRIES, first=first, last=last))
            recounted = await self.recount(tx, first, last)
            await tx.run(statements.DROP_STATS, first=first, last=last)
            await tx.many(
                statements.WRITE_STATS,
                [msgspec.structs.asdict(one) | {"country": countries[one.user_id]} for one in recounted],
            )

        await self._database.transaction(body, long=True)

    async def recount(self, reader: Reader, first: int, last: int) -> list[Stats]:
        """The stats that the rows of these players give, without writing them."""
        recounted = await reader.all(
            statements.RECOUNTED, first=first, last=last, loved_counts=int(self._rules.loved_counts)
        )
        complete = []
        for one in recounted:
            rows = await reader.all(statements.WEIGHTED, user_id=one.user_id, mode=one.mode)
            pp, acc = totals(rows, one.bests, self._rules)
            complete.append(msgspec.structs.replace(one, pp=pp, acc=acc))
        return complete

    async def maps(self, first: int, last: int) -> None:
        """Play counters and first places of the map revisions in this range of keys."""

        async def body(tx: Transaction) -> None:
            await tx.all(statements.LOCK_MAPS, first=first, last=last)  # plays recorded meanwhile wait
            counted = await tx.all(statements.MAP_COUNTERS, first=first, last=last)
            await tx.run(statements.CLEAR_MAP_COUNTERS, first=first, last=last)
            await tx.many(
                statements.SET_MAP_COUNTERS,
                [{"map_key": key, "new_plays": plays, "new_passes": passes} for key, plays, passes in counted],
            )
            await tx.run(statements.DROP_FIRST_PLACES, first=first, last=last)
            await tx.run(statements.WRITE_FIRST_PLACES, first=first, last=last)

        await self._database.transaction(body, long=True)

    async def everything(self, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """All players and all maps, in ranges of bounded size."""
        users = await self._ranges(statements.PLAYS_BY_USER)
        maps = await self._ranges(statements.PLAYS_BY_MAP)
        total = len(users) + len(maps)
        for done, (first, last) in enumerate(users):
            progress(done, total)
            await self.users(first, last)
        for done, (first, last) in enumerate(maps, start=len(users)):
            progress(done, total)
            await self.maps(first, last)
        progress(total, total)

    async def _ranges(self, query: Query[tuple[int, int]]) -> list[tuple[int, int]]:
        """Ranges of ids that hold about ROWS_AT_ONCE scores each and together cover every id."""
        ranges: list[tuple[int, int]] = []
        first, held = 0, 0
        for key, rows in await self._database.all(query):
            held += rows
            if held >= ROWS_AT_ONCE:
                ranges.append((first, key))
                first, held = key + 1, 0
        ranges.append((first, 2**31 - 1))
        return ranges

"""Rebuilding: computes all rows that derive from scores again (best flags, stats, counters, first places).

Bulk loads, recalculation, status changes and `kiai doctor` use it. A range of players is one transaction, so a reader
never sees a profile that is half-updated. Maps follow after all players, because a first place depends on the best
flags of all players on the map.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

from kiai.accounts.visibility import BOARDS_LOOK_CHANGED
from kiai.scores import records, statements
from kiai.scores.model import Stats
from kiai.scores.months import month_of
from kiai.scores.recording import TotalsOptions, totals
from kiai.storage.port import Database, Query, RowReader, Transaction

ROWS_AT_ONCE: Final = 20_000  # about half a second of work
DAY_MS: Final = 86_400_000


class Rebuilder:
    """Computes derived rows again, for ranges of players or of maps."""

    def __init__(self, database: Database, rules: TotalsOptions) -> None:
        self._database = database
        self._rules = rules

    async def users(self, first: int, last: int) -> None:
        """Compute best flags, play counts, months and stats of the players from `first` to `last`, in one transaction.

        It first applies the new pp that a recalculation has stored for these players.
        """

        async def body(tx: Transaction) -> None:
            # Recording locks the player's row first, too: plays of these players wait until the commit, and a play that
            # holds the lock is committed before the scores are read here.
            await tx.all(statements.reconciling.LOCK_USERS, first=first, last=last)
            # pp before flags, flags before stats: each step reads what the one before it has written.
            await tx.run(statements.rebuilding.APPLY_RECOMPUTED, first=first, last=last)
            await tx.run(statements.rebuilding.DROP_RECOMPUTED, first=first, last=last)
            # The stats below are complete, so the reconciler has nothing left to do for these players.
            await tx.run(statements.reconciling.DROP_STALE_TOTALS_BETWEEN, first=first, last=last)
            for clear in statements.rebuilding.CLEAR_FLAGS:
                await tx.run(clear, first=first, last=last)
            await tx.run(statements.rebuilding.SET_FLAGS, first=first, last=last)
            await tx.run(statements.rebuilding.DROP_PLAY_COUNTS, first=first, last=last)
            await tx.run(statements.rebuilding.WRITE_PLAY_COUNTS, first=first, last=last)
            counted = await self.count_months(tx, first, last)
            await tx.run(statements.rebuilding.DROP_MONTHS, first=first, last=last)
            await tx.run_many(
                statements.plays.INSERT_MONTH,
                [
                    {"user_id": user_id, "mode": mode, "month": month, "plays": plays}
                    for (user_id, mode, month), plays in counted.items()
                ],
            )
            await tx.run(statements.reconciling.SET_COUNTRIES, first=first, last=last)
            countries = dict(await tx.all(statements.rebuilding.COUNTRIES, first=first, last=last))
            # Read before the old rows are deleted. Stats are replaced, not updated: a mode without scores has no row.
            recounted = await self.recount(tx, first, last)
            await tx.run(statements.rebuilding.DROP_STATS, first=first, last=last)
            await tx.run_many(
                statements.rebuilding.WRITE_STATS,
                [msgspec.structs.asdict(profile) | {"country": countries[profile.user_id]} for profile in recounted],
            )
            # Boards show pp and flags of these players.
            await tx.run(BOARDS_LOOK_CHANGED)

        await self._database.transaction(body, long=True)

    async def recount(self, reader: RowReader, first: int, last: int) -> list[Stats]:
        """Return the stats that follow from the scores of these players, without writing them."""
        recounted = await reader.all(
            statements.rebuilding.RECOUNTED, first=first, last=last, loved_counts=int(self._rules.loved_counts)
        )
        complete = []
        for profile in recounted:
            rows = await reader.all(statements.plays.WEIGHTED, user_id=profile.user_id, mode=profile.mode)
            pp, acc = totals(rows, profile.bests, self._rules)
            complete.append(msgspec.structs.replace(profile, pp=pp, acc=acc))
        return complete

    async def count_months(self, reader: RowReader, first: int, last: int) -> Counter[tuple[int, int, int]]:
        """Return the plays of these players by (player, mode, month), as their scores give them, without writing."""
        counted: Counter[tuple[int, int, int]] = Counter()
        for user_id, mode, day, plays in await reader.all(statements.rebuilding.PLAYS_BY_DAY, first=first, last=last):
            counted[user_id, mode, month_of(day * DAY_MS)] += plays
        return counted

    async def maps(self, first: int, last: int) -> None:
        """Compute counters and first places of the map revisions with keys from `first` to `last`, in one transaction.

        The best flags of all players must be right.
        """

        async def body(tx: Transaction) -> None:
            # Recording locks the map's row last: plays on these maps wait with their last step.
            await tx.all(statements.reconciling.LOCK_MAPS, first=first, last=last)
            counted = await tx.all(statements.rebuilding.MAP_COUNTERS, first=first, last=last)
            # `counted` has no row for a map without visible plays.
            await tx.run(statements.rebuilding.CLEAR_MAP_COUNTERS, first=first, last=last)
            await tx.run_many(
                statements.rebuilding.SET_MAP_COUNTERS,
                [{"map_key": key, "new_plays": plays, "new_passes": passes} for key, plays, passes in counted],
            )
            await tx.run(statements.rebuilding.DROP_FIRST_PLACES, first=first, last=last)
            await tx.run(statements.rebuilding.WRITE_FIRST_PLACES, first=first, last=last)

        await self._database.transaction(body, long=True)

    async def highlights(self) -> None:
        """Compute the record of each mode. The best flags and the first places must be right.

        After a bulk load, also list the newest first places, whose former holders are not known.
        """

        async def body(tx: Transaction) -> None:
            await records.recompute(tx)
            if await tx.one(statements.first_places.ANY_CHANGE) is None:
                await tx.run(statements.first_places.ADD_NEWEST_CHANGES)

        await self._database.transaction(body, long=True)

    async def everything(self, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Rebuild all players, then all maps, in ranges of bounded size. `progress` gets (done, total) ranges."""
        users = await self._ranges(statements.rebuilding.PLAYS_BY_USER)
        # As many steps for the maps as for the players: the ranges of both have about as many scores.
        for done, (first, last) in enumerate(users):
            progress(done, 2 * len(users))
            await self.users(first, last)
        await self.all_maps(lambda done, total: progress((total + done) * len(users), 2 * total * len(users)))
        await self.highlights()

    async def all_maps(self, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Rebuild all maps, in ranges of bounded size. `progress` gets (done, total) ranges."""
        maps = await self._ranges(statements.rebuilding.PLAYS_BY_MAP)
        for done, (first, last) in enumerate(maps):
            progress(done, len(maps))
            await self.maps(first, last)
        progress(len(maps), len(maps))

    async def _ranges(self, query: Query[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return ranges with about `ROWS_AT_ONCE` scores each that together cover all ids.

        A range ends only between two players or maps, so a single one with more scores is a range of its own.
        """
        ranges: list[tuple[int, int]] = []
        first, row_count = 0, 0
        for key, rows in await self._database.all(query):
            row_count += rows
            if row_count >= ROWS_AT_ONCE:
                ranges.append((first, key))
                first, row_count = key + 1, 0
        # Up to the largest id: also players and maps without scores, whose derived rows must be removed.
        ranges.append((first, 2**31 - 1))
        return ranges

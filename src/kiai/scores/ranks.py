"""Ranks of players (docs/spec/game-rules.md#ranks): a cache of the committed stats behind the realtime port.

It is rebuilt when a server starts and kept up by the outbox: whoever changes what a rank depends on (a recorded play, a
restriction, a recalculation, in this process or in a command beside it) leaves a row in that same transaction, and
it is applied when delivered. Rows are applied from what is committed now, so applying one twice or late is harmless.
While the port's store is away, ranks are counted in the rows: slower, but no less true.
"""

from collections.abc import Sequence
from typing import Final, TypeVar

from kiai.accounts.visibility import is_public
from kiai.errors import Unavailable
from kiai.realtime.port import Rank, RankEntry, Realtime
from kiai.scores import statements
from kiai.storage.outbox import Outbox
from kiai.storage.port import Database, Query, Value

R = TypeVar("R")

LOADED_AT_ONCE: Final = 2_000
COUNTED_AT_ONCE: Final = 4  # counting in the rows is for hard times, and must not make them harder


class Ranks:
    """Keeps the realtime port's rank lists equal to the rows."""

    def __init__(self, database: Database, realtime: Realtime, outbox: Outbox) -> None:
        self._database = database
        self._realtime = realtime
        self._counting = 0
        outbox.to("ranks", self._refresh_all)
        outbox.to("ranks_all", self._rebuild)

    async def of(self, user_id: int) -> dict[int, Rank]:
        """A player's ranks by mode; none in a mode without pp, or for who is hidden. Raises Unavailable."""
        try:
            return await self._realtime.ranks_of(user_id)
        except Unavailable:
            rows = await self._counted(statements.RANKS_COUNTED, user_id=user_id)
            return {mode: Rank(rank, country_rank) for mode, rank, country_rank in rows}

    async def of_mode(self, user_id: int, mode: int) -> Rank:
        """A player's rank in a mode; zeros without one. Raises Unavailable."""
        try:
            return await self._realtime.rank_of(user_id, mode)
        except Unavailable:
            return (await self.of(user_id)).get(mode, Rank())

    async def count(self, mode: int, country: str | None = None) -> int:
        """How many players have a rank in a mode, in one country or all. Raises Unavailable."""
        try:
            return await self._realtime.ranked_count(mode, country)
        except Unavailable:
            if country is None:
                return int((await self._counted(statements.RANKED_COUNTED, mode=mode))[0])
            return int((await self._counted(statements.RANKED_IN_COUNTRY_COUNTED, mode=mode, country=country))[0])

    async def _counted(self, query: Query[R], **values: Value) -> list[R]:
        if self._counting >= COUNTED_AT_ONCE:
            raise Unavailable("ranks", f"{COUNTED_AT_ONCE} are being counted")
        self._counting += 1
        try:
            return await self._database.all(query, **values)
        finally:
            self._counting -= 1

    async def rebuild(self) -> None:
        """Loads every visible player with pp. What is committed meanwhile is in the outbox and comes after."""
        entries: list[RankEntry] = []
        after = 0
        while rows := await self._database.all(statements.RANK_ENTRIES, after=after, limit=LOADED_AT_ONCE):
            if len(rows) == LOADED_AT_ONCE:  # the last player's modes may be cut: leave them to the next page
                cut = rows[-1][0]
                rows = [row for row in rows if row[0] != cut]
            after = rows[-1][0]
            entries += [RankEntry(user_id=u, mode=m, country=c, pp=pp) for u, m, c, pp in rows]
        await self._realtime.replace_ranks(entries)

    async def refresh(self, user_id: int) -> None:
        """Sets one player's entries to what the rows say now."""
        rows = await self._database.all(statements.RANK_ENTRIES_OF, user_id=user_id)
        if not rows or not is_public(rows[0][4]):
            await self._realtime.forget_ranks(user_id)
            return
        await self._realtime.set_ranks([RankEntry(user_id=u, mode=m, country=c, pp=pp) for u, m, c, pp, _ in rows])

    async def _refresh_all(self, user_ids: Sequence[str]) -> None:
        for user_id in user_ids:
            await self.refresh(int(user_id))

    async def _rebuild(self, _: Sequence[str]) -> None:
        await self.rebuild()

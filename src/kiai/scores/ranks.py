"""Ranks of players (docs/spec/game-rules.md#ranks): a cache of the committed stats in shared state.

The cache is rebuilt when a server starts, and updated by the outbox. A transaction that changes stats or visibility
(a recorded play, a restriction, a recalculation, also in a command next to a running server) adds an outbox row, and
the delivery sets the ranks. It sets them from the rows that are committed at that time, so a delivery that is late or
repeated does no harm. While shared state is unavailable, ranks are counted in the database, which is slower.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, TypeVar

from kiai.accounts.visibility import is_public
from kiai.errors import Unavailable
from kiai.realtime.port import Rank, RankEntry, Realtime
from kiai.scores import statements
from kiai.storage.outbox import Outbox
from kiai.storage.port import Database, Query, Read, Value
from kiai.together import in_pieces, together

R = TypeVar("R")

RANKS_PER_CALL: Final = 500
# While shared state is unavailable, each login and profile counts ranks in the database. More at once would take the
# database down too; the other callers get Unavailable.
COUNTED_AT_ONCE: Final = 4
BY_RANKED_SCORE: Final = 100
"""Shared state names its lists by numbers: a mode names the list by pp, this plus a mode the list by ranked score."""


def is_mode(number: int) -> bool:
    """Return whether the number of a list in shared state is a mode, so that the list is sorted by pp."""
    return number < BY_RANKED_SCORE


def _entries(user_id: int, mode: int, country: str, pp: int, rscore: int) -> tuple[RankEntry, RankEntry]:
    """Return the places of a profile in the two lists of its mode."""
    return (
        RankEntry(user_id=user_id, mode=mode, country=country, pp=pp),
        RankEntry(user_id=user_id, mode=BY_RANKED_SCORE + mode, country=country, pp=rscore),
    )


def _is_shown(rows: Sequence[Any]) -> bool:
    """Return whether the player of these rows of `RANK_ENTRIES_OF` has ranks."""
    return bool(rows) and is_public(rows[0][5])


class Ranks:
    """Keeps the rank lists in shared state equal to the committed stats."""

    def __init__(self, database: Database, realtime: Realtime, outbox: Outbox) -> None:
        self._database = database
        self._realtime = realtime
        self._counting = 0
        outbox.subscribe("ranks", self._refresh_all)
        outbox.subscribe("ranks_all", self._rebuild)

    async def of(self, user_id: int) -> dict[int, Rank]:
        """Return a player's ranks by mode. Modes without pp are missing; a hidden player has no ranks.

        Raises Unavailable.
        """
        try:
            ranks = await self._realtime.ranks_of(user_id)
            return {mode: rank for mode, rank in ranks.items() if is_mode(mode)}
        except Unavailable:
            rows = await self._counted(statements.ranks.RANKS_COUNTED, user_id=user_id)
            return {mode: Rank(rank, country_rank) for mode, rank, country_rank in rows}

    async def version(self) -> int | None:
        """Return a number that differs after every change of a rank, or None if that is unknown."""
        return await self._realtime.ranks_version()

    async def in_both_lists(self, user_id: int) -> tuple[dict[int, Rank], dict[int, Rank]]:
        """Return a player's ranks by mode in the lists by pp and in those by ranked score. Raises Unavailable.

        The latter are empty while shared state is unavailable.
        """
        try:
            ranks = await self._realtime.ranks_of(user_id)
        except Unavailable:
            return await self.of(user_id), {}
        by_pp = {number: rank for number, rank in ranks.items() if is_mode(number)}
        return by_pp, {number - BY_RANKED_SCORE: rank for number, rank in ranks.items() if not is_mode(number)}

    async def of_mode(self, user_id: int, mode: int) -> Rank:
        """Return a player's rank in a mode, zeros without one. Raises Unavailable."""
        try:
            return await self._realtime.rank_of(user_id, mode)
        except Unavailable:
            return (await self.of(user_id)).get(mode, Rank())

    async def of_many(self, user_ids: Sequence[int], mode: int) -> list[Rank]:
        """Return the ranks of several players in a mode, in the same order; zeros without one.

        They are not counted in the database: while shared state is unavailable, all are zeros.
        """
        try:
            return await together(
                *[self._realtime.rank_of(user_id, mode) for user_id in user_ids],
                at_once=self._realtime.answers_at_once,
            )
        except Unavailable:
            return [Rank() for _ in user_ids]

    async def by_ranked_score(self, user_id: int, mode: int) -> Rank:
        """Return a player's rank by ranked score in a mode, zeros without ranked score.

        It is not counted in the database: while shared state is unavailable, there is no such rank.
        """
        try:
            return await self._realtime.rank_of(user_id, BY_RANKED_SCORE + mode)
        except Unavailable:
            return Rank()

    async def count(self, mode: int, country: str | None = None) -> int:
        """Return the number of players with a rank in a mode, worldwide or in one country. Raises Unavailable."""
        try:
            return await self._realtime.ranked_count(mode, country)
        except Unavailable:
            if country is None:
                return int((await self._counted(statements.ranks.RANKED_COUNTED, mode=mode))[0])
            return int((await self._counted(statements.ranks.RANKED_IN_COUNTRY_COUNTED, mode=mode, country=country))[0])

    async def _counted(self, query: Query[R], **values: Value) -> list[R]:
        if self._counting >= COUNTED_AT_ONCE:
            raise Unavailable("ranks", f"{COUNTED_AT_ONCE} are being counted")
        self._counting += 1
        try:
            return await self._database.all(query, **values)
        finally:
            self._counting -= 1

    async def rebuild(self) -> None:
        """Load the ranks of all visible players with pp into shared state.

        Commits during the load are not lost: their outbox rows are delivered after it.
        """
        await self._realtime.replace_ranks(self._pages())

    async def _pages(self) -> AsyncIterator[list[RankEntry]]:
        after = 0
        while rows := await self._database.all(statements.ranks.RANK_ENTRIES, after=after, limit=RANKS_PER_CALL):
            if len(rows) == RANKS_PER_CALL:
                # The page may end in the middle of a player's modes: leave that player to the next page.
                cut = rows[-1][0]
                rows = [row for row in rows if row[0] != cut]
            after = rows[-1][0]
            yield [entry for row in rows for entry in _entries(*row)]

    async def refresh(self, user_id: int) -> None:
        """Set a player's ranks from the committed stats, or remove them if the player is hidden or has none."""
        query, params = self.read_of(user_id)
        await self.set_from(user_id, await self._database.all(query, **params))

    @staticmethod
    def read_of(user_id: int) -> Read:
        """Return the read of the rows for `set_from`."""
        return statements.ranks.RANK_ENTRIES_OF, {"user_id": user_id}

    async def set_from(self, user_id: int, rows: Sequence[Any]) -> dict[int, Rank]:
        """Like `refresh`, from rows that have just been read. Return the player's ranks by pp, by mode."""
        if not _is_shown(rows):
            await self._realtime.forget_ranks(user_id)
            return {}
        entries = [entry for row in rows for entry in _entries(*row[:5])]
        ranks = await self._realtime.set_ranks(entries)
        return {entry.mode: rank for entry, rank in zip(entries, ranks, strict=True) if is_mode(entry.mode)}

    async def _refresh_all(self, user_ids: Sequence[str]) -> None:
        for ids in in_pieces([int(user_id) for user_id in user_ids]):
            found = await self._database.several(*[self.read_of(user_id) for user_id in ids])
            # In one call: all readers of the lists wait for each.
            shown = [entry for rows in found if _is_shown(rows) for row in rows for entry in _entries(*row[:5])]
            hidden = [user_id for user_id, rows in zip(ids, found, strict=True) if not _is_shown(rows)]
            await together(
                self._realtime.set_ranks(shown),
                *[self._realtime.forget_ranks(one) for one in hidden],
                at_once=self._realtime.answers_at_once,
            )

    async def _rebuild(self, _: Sequence[str]) -> None:
        await self.rebuild()

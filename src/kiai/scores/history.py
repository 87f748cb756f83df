"""What a profile remembers: ranks day by day, medals."""

from datetime import UTC, datetime
from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, insert, select

from kiai.clock import Clock
from kiai.errors import Unavailable
from kiai.realtime.port import Realtime
from kiai.scores import statements
from kiai.storage.port import Command, Database, Query, Transaction, only
from kiai.storage.tables import medals, progress, rank_history

DAYS: Final = 90
MEDALS_MAX: Final = 500
DAY_MS: Final = 86_400_000
AT_ONCE: Final = 2_000
JOB: Final = "rank-history"


class Day(msgspec.Struct, frozen=True):
    """A player's standing at the start of a day; `day` counts from 1970-01-01, UTC."""

    day: int
    rank: int
    country_rank: int
    pp: int

    @property
    def date(self) -> str:
        """The day as YYYY-MM-DD."""
        return datetime.fromtimestamp(self.day * 86_400, UTC).date().isoformat()


_DAYS = Query(
    select(*[rank_history.c[name] for name in Day.__struct_fields__])
    .where(
        rank_history.c.user_id == bindparam("user_id"),
        rank_history.c.mode == bindparam("mode"),
        rank_history.c.day >= bindparam("since"),
    )
    .order_by(rank_history.c.day)
    .limit(DAYS),
    Day,
)
_MEDALS = Query(
    select(medals.c.medal_id, medals.c.unlocked_at_ms, medals.c.score_id)
    .where(medals.c.user_id == bindparam("user_id"))
    .order_by(medals.c.unlocked_at_ms, medals.c.medal_id)
    .limit(MEDALS_MAX),
    lambda *row: row,
)
_WRITE = Command(
    insert(rank_history).values(
        {name: bindparam(name) for name in ("user_id", "mode", "day", "rank", "country_rank", "pp")}
    )
)
_NOTED = Query(select(progress.c.state).where(progress.c.job == bindparam("job")), only)
_FORGET = Command(delete(progress).where(progress.c.job == bindparam("job")))
_MARK = Command(insert(progress).values({name: bindparam(name) for name in ("job", "state", "at_ms")}))
_CLEAR = Command(
    delete(rank_history).where(
        rank_history.c.day == bindparam("day"),
        rank_history.c.user_id.between(bindparam("first"), bindparam("last")),
    )
)


class History:
    """Reads what was, and notes once a day what is."""

    def __init__(self, database: Database, realtime: Realtime, clock: Clock) -> None:
        self._database = database
        self._realtime = realtime
        self._clock = clock

    async def days(self, user_id: int, mode: int) -> list[Day]:
        """The last 90 days of a player in a mode, oldest first."""
        since = self._clock.now_ms() // DAY_MS - DAYS + 1
        return await self._database.all(_DAYS, user_id=user_id, mode=mode, since=since)

    async def medals(self, user_id: int) -> list[tuple[int, int, int | None]]:
        """(medal, unlocked at unix ms, score) in the order they were unlocked."""
        return await self._database.all(_MEDALS, user_id=user_id)

    async def note_day(self) -> None:
        """Writes today's standing of every ranked player, once a day; a call after that does nothing.

        The day is marked when all of it is written. Until then each call writes it from the front, over what a call
        that failed has left. Raises Unavailable where the ranks cannot be read.
        """
        day = self._clock.now_ms() // DAY_MS
        if await self._database.one(_NOTED, job=JOB) == str(day):
            return
        after = 0
        while rows := await self._database.all(statements.RANK_ENTRIES, after=after, limit=AT_ONCE):
            if len(rows) == AT_ONCE:
                cut = rows[-1][0]
                rows = [row for row in rows if row[0] != cut]
            first, after = after + 1, rows[-1][0]
            await self._write(day, first, after, rows)

        async def done(tx: Transaction) -> None:
            await tx.run(_FORGET, job=JOB)
            await tx.run(_MARK, job=JOB, state=str(day), at_ms=self._clock.now_ms())

        await self._database.transaction(done)

    async def _write(self, day: int, first: int, last: int, rows: list[tuple[int, int, str, int]]) -> None:
        standings = []
        for user_id in dict.fromkeys(row[0] for row in rows):
            ranks = await self._realtime.ranks_of(user_id)
            standings += [
                {
                    "user_id": user_id,
                    "mode": mode,
                    "day": day,
                    "rank": ranks[mode].rank,
                    "country_rank": ranks[mode].country_rank,
                    "pp": pp,
                }
                for _, mode, _, pp in (row for row in rows if row[0] == user_id)
                if mode in ranks
            ]
        if not standings:  # players with pp have ranks, unless the lists were just lost
            raise Unavailable("ranks", "they are being loaded")

        async def body(tx: Transaction) -> None:
            await tx.run(_CLEAR, day=day, first=first, last=last)
            await tx.many(_WRITE, standings)

        await self._database.transaction(body)

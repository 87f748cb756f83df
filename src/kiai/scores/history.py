"""The history of a profile: its rank on each day, and its medals."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
from sqlalchemy import and_, bindparam, delete, exists, insert, literal_column, select, update

from kiai.clock import Clock
from kiai.errors import Unavailable
from kiai.realtime.port import Rank, Realtime
from kiai.scores import statements
from kiai.scores.peaks import Peaks, RankNow
from kiai.storage.port import Command, Database, Lane, Query, Transaction, scalar
from kiai.storage.tables import medal_holders, medals, progress, rank_history, scores

DAYS: Final = 90
MEDALS_MAX: Final = 500
DAY_MS: Final = 86_400_000
AT_ONCE: Final = 2_000
JOB: Final = "rank-history"
THINNING_JOB: Final = "rank-thinning"
STEPS_MAX: Final = 100
"""Transactions of one call of `History.thin`."""
PLAYERS_AT_ONCE: Final = 100
DELETED_AT_ONCE: Final = 2_000
_DONE: Final = -1  # as the player of a position: all rows before its day are thinned


class Day(msgspec.Struct, frozen=True):
    """A player's ranks and pp on a day. `day` is the number of days since 1970-01-01, UTC."""

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
AMONG_MAX: Final = 100
# One lookup of the primary key for each player.
RANKS_ON_DAY = Query(
    select(rank_history.c.user_id, rank_history.c.rank, rank_history.c.country_rank)
    .where(
        rank_history.c.user_id.in_([bindparam(f"id{n}", type_=rank_history.c.user_id.type) for n in range(AMONG_MAX)]),
        rank_history.c.mode == bindparam("mode"),
        rank_history.c.day == bindparam("day"),
    )
    .limit(AMONG_MAX),
    lambda user_id, rank, country_rank: (user_id, Rank(rank, country_rank)),
)
# Without the id of a hidden score.
_MEDALS = Query(
    select(medals.c.medal_id, medals.c.unlocked_at_ms, scores.c.id)
    .select_from(
        medals.outerjoin(scores, and_(scores.c.id == medals.c.score_id, scores.c.hidden == literal_column("0")))
    )
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
_NOTED = Query(select(progress.c.state).where(progress.c.job == bindparam("job")), scalar)
_FORGET = Command(delete(progress).where(progress.c.job == bindparam("job")))
_MARK = Command(insert(progress).values({name: bindparam(name) for name in ("job", "state", "at_ms")}))
_CLEAR = Command(
    delete(rank_history).where(
        rank_history.c.day == bindparam("day"),
        rank_history.c.user_id.between(bindparam("first"), bindparam("last")),
    )
)

_PLAYERS = Query(
    select(rank_history.c.user_id)
    .where(rank_history.c.user_id > bindparam("after"))
    .group_by(rank_history.c.user_id)
    .order_by(rank_history.c.user_id)
    .limit(bindparam("limit")),
    scalar,
    lane=Lane.JOB,
)
_earlier = rank_history.alias("earlier")
# The rows before a day that are not the first of their player, mode and week. Weeks begin on Monday, and day 4 was one.
_SURPLUS = Query(
    select(rank_history.c.user_id, rank_history.c.mode, rank_history.c.day)
    .where(
        rank_history.c.user_id.between(bindparam("first"), bindparam("last")),
        rank_history.c.day < bindparam("until"),
        exists(literal_column("1")).where(
            _earlier.c.user_id == rank_history.c.user_id,
            _earlier.c.mode == rank_history.c.mode,
            _earlier.c.day < rank_history.c.day,
            _earlier.c.day >= rank_history.c.day - (rank_history.c.day + 3) % 7,
        ),
    )
    .order_by(rank_history.c.user_id, rank_history.c.mode, rank_history.c.day)
    .limit(DELETED_AT_ONCE),
    lambda user_id, mode, day: {"of": user_id, "in_mode": mode, "on": day},
    lane=Lane.JOB,
)
_DELETE = Command(
    delete(rank_history).where(
        rank_history.c.user_id == bindparam("of"),
        rank_history.c.mode == bindparam("in_mode"),
        rank_history.c.day == bindparam("on"),
    )
)
_POSITION = Query(select(progress.c.state).where(progress.c.job == bindparam("job")).with_for_update(), scalar)
_MOVE = Command(
    update(progress)
    .where(progress.c.job == bindparam("of_job"))
    .values(state=bindparam("to"), at_ms=bindparam("now_ms"))
)


_HOLDERS = Query(
    select(medal_holders.c.medal_id, medal_holders.c.holders).order_by(medal_holders.c.medal_id).limit(MEDALS_MAX),
    lambda medal_id, holders: (medal_id, holders),
)


class History:
    """Reads rank history and medals, saves the present ranks once a day, and thins old rows."""

    def __init__(self, database: Database, realtime: Realtime, clock: Clock, peaks: Peaks) -> None:
        self._database = database
        self._peaks = peaks
        self._realtime = realtime
        self._clock = clock

    async def days(self, user_id: int, mode: int) -> list[Day]:
        """Return the last 90 days of a player in a mode, oldest first. Days without a rank are missing."""
        since = self._clock.now_ms() // DAY_MS - DAYS + 1
        return await self._database.all(_DAYS, user_id=user_id, mode=mode, since=since)

    async def yesterday(self, user_ids: Sequence[int], mode: int) -> dict[int, Rank]:
        """Return the ranks of yesterday (UTC) by player, for at most 100 players. Players without one are missing."""
        ids = {f"id{n}": user_ids[n] if n < len(user_ids) else 0 for n in range(AMONG_MAX)}
        day = self._clock.now_ms() // DAY_MS - 1
        return dict(await self._database.all(RANKS_ON_DAY, mode=mode, day=day, **ids))

    async def medals(self, user_id: int) -> list[tuple[int, int, int | None]]:
        """Return a player's medals in the order of unlocking: (medal id, unix ms, score id)."""
        return await self._database.all(_MEDALS, user_id=user_id)

    async def medal_holders(self) -> dict[int, int]:
        """Return how many visible players have each medal, by id of the medal."""
        return dict(await self._database.all(_HOLDERS))

    async def save_day(self) -> None:
        """Save the ranks of all ranked players for today (UTC). Do nothing if today is already saved.

        The day is marked as saved after the last player. A call that fails leaves it unmarked, and the next call writes
        the whole day again. Raises Unavailable if the ranks cannot be read.
        """
        day = self._clock.now_ms() // DAY_MS
        if await self._database.one(_NOTED, job=JOB) == str(day):
            return
        after = 0
        while rows := await self._database.all(statements.ranks.RANK_ENTRIES, after=after, limit=AT_ONCE):
            if len(rows) == AT_ONCE:
                # The page may end in the middle of a player's modes: leave that player to the next page.
                cut = rows[-1][0]
                rows = [row for row in rows if row[0] != cut]
            first, after = after + 1, rows[-1][0]
            await self._write(day, first, after, rows)

        async def done(tx: Transaction) -> None:
            await tx.run(_FORGET, job=JOB)
            await tx.run(_MARK, job=JOB, state=str(day), at_ms=self._clock.now_ms())

        await self._database.transaction(done)

    async def thin(self) -> None:
        """Reduce the rows of weeks that ended over 90 days ago to the first of each player, mode and week.

        A call takes at most 100 steps, each in a transaction that also stores the position. The next call continues
        there, on any worker. When all rows are thinned, calls do nothing until the next week is old enough.
        """
        for _ in range(STEPS_MAX):
            if not await self._database.transaction(self._thin_step):
                return

    async def _thin_step(self, tx: Transaction) -> bool:
        """Thin the rows of the next players. Return False if there is nothing left to do."""
        now_ms = self._clock.now_ms()
        since = now_ms // DAY_MS - DAYS + 1
        due = since - (since + 3) % 7  # the Monday of the first week of the graph
        state = await tx.one(_POSITION, job=THINNING_JOB)
        if state is None:
            until, after = due, 0
            await tx.run(_MARK, job=THINNING_JOB, state=f"{until} {after}", at_ms=now_ms)
        else:
            until, after = map(int, state.split())
        if after == _DONE:
            if until >= due:
                return False
            until, after = due, 0
        players = await tx.all(_PLAYERS, after=after, limit=PLAYERS_AT_ONCE)
        surplus = await tx.all(_SURPLUS, first=players[0], last=players[-1], until=until) if players else []
        await tx.run_many(_DELETE, surplus)
        if len(surplus) < DELETED_AT_ONCE:
            after = players[-1] if players else _DONE
        await tx.run(_MOVE, of_job=THINNING_JOB, to=f"{until} {after}", now_ms=now_ms)
        return True

    async def _write(self, day: int, first: int, last: int, rows: list[tuple[int, int, str, int, int]]) -> None:
        by_player: dict[int, list[tuple[int, int]]] = {}
        for user_id, mode, _, pp, _ in rows:
            if pp > 0:
                by_player.setdefault(user_id, []).append((mode, pp))
        if not by_player:
            return
        standings = []
        for user_id, modes in by_player.items():
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
                for mode, pp in modes
                if mode in ranks
            ]
        # Every player of the page has pp and so a rank. If none has one, Redis has lost the lists and they are being
        # rebuilt: saving now would leave a gap in every profile.
        if not standings:
            raise Unavailable("ranks", "they are being loaded")

        async def body(tx: Transaction) -> None:
            # Also the rows of a call that failed half-way.
            await tx.run(_CLEAR, day=day, first=first, last=last)
            await tx.run_many(_WRITE, standings)

        await self._database.transaction(body)
        await self._peaks.note([RankNow(row["user_id"], row["mode"], row["rank"]) for row in standings])

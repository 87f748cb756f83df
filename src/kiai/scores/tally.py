"""Counts plays for the start page: the plays of each map in a week, and all plays ever.

A job counts in ranges of score ids, after the commits, so that plays do not wait for each other at a counter. An id is
counted one run after it was first seen: a transaction that took a lower id has ended by then. The first run of a server
starts from the counters of the maps.
"""

import contextlib
from typing import Final

from sqlalchemy import BigInteger, bindparam, cast, delete, func, insert, select, update

from kiai.accounts.visibility import visible
from kiai.clock import Clock
from kiai.scores.listing_parts import NOT_HIDDEN
from kiai.scores.rules import MAP_HAS_BOARD
from kiai.storage.batches import delete_in_batches
from kiai.storage.port import Command, Database, Lane, Query, Transaction, UniqueViolation, scalar
from kiai.storage.tables import counters, first_place_changes, maps, progress, scores, users, week_plays

JOB: Final = "tally"
AT_ONCE: Final = 5_000  # ids in one transaction
WEEK_MS: Final = 7 * 86_400_000
MONDAY_MS: Final = 3 * 86_400_000  # 1970-01-01 was a Thursday
DELETED_AT_ONCE: Final = 1_000
CHANGES_STORED_MS: Final = 90 * 86_400_000

_POSITION: Final = Query(select(progress.c.state).where(progress.c.job == JOB).with_for_update(), scalar)
_MOVE: Final = Command(
    update(progress).where(progress.c.job == JOB).values(state=bindparam("to_state"), at_ms=bindparam("now_ms"))
)
_LAST_ID: Final = Query(
    select(func.coalesce(func.max(scores.c.id), 0)), scalar, scans="it reads the last entry of the primary key"
)
_PLAYS: Final = Query(
    select(scores.c.map_key, scores.c.play_time_ms)
    .select_from(scores.join(users, users.c.id == scores.c.user_id))
    .where(scores.c.id > bindparam("after"), scores.c.id <= bindparam("last"), NOT_HIDDEN, visible()),
    lambda map_key, at_ms: (map_key, at_ms),
    lane=Lane.JOB,
)
_ADD: Final = Command(
    update(week_plays)
    .where(week_plays.c.week == bindparam("in_week"), week_plays.c.map_key == bindparam("on_map"))
    .values(plays=week_plays.c.plays + bindparam("by", type_=week_plays.c.plays.type))
)
_FIRST: Final = Command(insert(week_plays).values({name: bindparam(name) for name in ("week", "map_key", "plays")}))
_COUNT: Final = Command(
    update(counters)
    .where(counters.c.name == "plays")
    .values(value=counters.c.value + bindparam("by", type_=counters.c.value.type))
)
_SET_BOARDS: Final = Command(update(counters).where(counters.c.name == "boards").values(value=bindparam("boards")))
_BOARDS: Final = Query(
    select(func.count()).select_from(maps).where(maps.c.current == 1, MAP_HAS_BOARD), scalar, lane=Lane.JOB
)
_PLAYS_OF_MAPS: Final = Query(
    select(cast(func.coalesce(func.sum(maps.c.plays), 0), BigInteger)),
    scalar,
    lane=Lane.JOB,
    scans="it reads the counters of all maps once, when the server counts for the first time",
)
_ADD_COUNTER: Final = Command(insert(counters).values({name: bindparam(name) for name in ("name", "value")}))
_BEGIN: Final = Command(insert(progress).values({name: bindparam(name) for name in ("job", "state", "at_ms")}))
_OLD_WEEKS: Final = Command(
    delete(week_plays).where(
        week_plays.c.week < bindparam("week"),
        week_plays.c.map_key.in_(
            select(week_plays.c.map_key)
            .where(week_plays.c.week < bindparam("week"))
            .order_by(week_plays.c.week, week_plays.c.map_key)
            .limit(DELETED_AT_ONCE)
        ),
    )
)
_OLD_CHANGES: Final = Command(
    delete(first_place_changes).where(
        first_place_changes.c.id.in_(
            select(first_place_changes.c.id)
            .where(first_place_changes.c.at_ms < bindparam("before_ms"))
            .order_by(first_place_changes.c.at_ms)
            .limit(DELETED_AT_ONCE)
        )
    )
)


def week_of(at_ms: int) -> int:
    """Return the number of the week, from Monday to Sunday (UTC), that contains a time in unix ms."""
    return (at_ms + MONDAY_MS) // WEEK_MS


class Tally:
    """The counting job."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def prepare(self) -> None:
        """Count what was never counted, and the maps with a board, so that the first request finds right numbers.

        The server calls this before the first request, possibly in several processes at once.
        """
        last = await self._database.one(_LAST_ID) or 0
        boards = await self._database.one(_BOARDS) or 0

        async def body(tx: Transaction) -> None:
            if await tx.one(_POSITION) is None:
                await self._begin(tx, last)
            else:
                await tx.run(_SET_BOARDS, boards=boards)

        with contextlib.suppress(UniqueViolation):  # another process began at the same moment
            await self._database.transaction(body)

    async def run(self) -> None:
        """Count the plays up to the last id of the run before. A job calls this about twice a minute."""
        last = await self._database.one(_LAST_ID) or 0
        while await self._database.transaction(lambda tx: self._count(tx, last)):
            pass

    async def _count(self, tx: Transaction, last: int) -> bool:
        """Count one range of ids. Return whether ids that may be counted remain."""
        state = await tx.one(_POSITION)
        if state is None:
            await self._begin(tx, last)
            return False
        counted, seen = map(int, state.split())
        upto = min(counted + AT_ONCE, seen)
        now = self._clock.now_ms()
        if upto <= counted:
            if seen != last:
                await tx.run(_MOVE, to_state=f"{counted} {last}", now_ms=now)
            return False
        plays = await tx.all(_PLAYS, after=counted, last=upto)
        await tx.run(_COUNT, by=len(plays))
        by_map: dict[tuple[int, int], int] = {}
        oldest = week_of(now) - 1
        for map_key, at_ms in plays:
            if (week := week_of(at_ms)) >= oldest:  # not an imported play of long ago
                by_map[week, map_key] = by_map.get((week, map_key), 0) + 1
        for (week, map_key), count in sorted(by_map.items()):
            if not await tx.run(_ADD, in_week=week, on_map=map_key, by=count):
                await tx.run(_FIRST, week=week, map_key=map_key, plays=count)
        await tx.run(_MOVE, to_state=f"{upto} {max(seen, last) if upto == seen else seen}", now_ms=now)
        return upto < seen

    async def _begin(self, tx: Transaction, last: int) -> None:
        await tx.run(_ADD_COUNTER, name="plays", value=await tx.one(_PLAYS_OF_MAPS) or 0)
        await tx.run(_ADD_COUNTER, name="boards", value=await tx.one(_BOARDS) or 0)
        await tx.run(_BEGIN, job=JOB, state=f"{last} {last}", at_ms=self._clock.now_ms())

    async def clean(self) -> None:
        """Count the maps with a board, and delete rows that are no longer shown. A job calls this each hour."""
        boards = await self._database.one(_BOARDS) or 0

        async def body(tx: Transaction) -> None:
            await tx.run(_SET_BOARDS, boards=boards)

        await self._database.transaction(body)
        now = self._clock.now_ms()
        await delete_in_batches(self._database, _OLD_WEEKS, DELETED_AT_ONCE, week=week_of(now) - 1)
        await delete_in_batches(self._database, _OLD_CHANGES, DELETED_AT_ONCE, before_ms=now - CHANGES_STORED_MS)

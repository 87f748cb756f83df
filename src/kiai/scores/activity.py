"""Recent activity: first places won and lost, medals and milestones of rank, for 30 days.

The rows are written in the transaction that causes them. A player who is hidden later vanishes from the activity of
others when it is read.
"""

from typing import Any, Final

import msgspec
from sqlalchemy import and_, bindparam, delete, insert, literal_column, or_, select

from kiai.accounts.visibility import visible
from kiai.clock import Clock
from kiai.scores.statements.expressions import named
from kiai.storage.port import Command, Database, Query, Transaction
from kiai.storage.tables import activity, maps, scores, users

KEPT_MS: Final = 30 * 86_400_000
SHOWN_MAX: Final = 100
DELETED_AT_ONCE: Final = 1_000

WON: Final = "first_place"
LOST: Final = "first_place_lost"
MEDAL: Final = "medal"
RANK: Final = "rank"
MILESTONES: Final = (1, 10, 50, 100)
"""Ranks whose reaching is an activity, best first."""


class ActivityEntry(msgspec.Struct, frozen=True):
    """Something that a player achieved or lost.

    `kind` is `first_place`, `first_place_lost`, `medal` or `rank`. `number` is the medal's id or the milestone. The
    score and its map are None for a rank. `other_id` and `other_name` are the player from or by whom a first place was
    taken; None without one, and if that player is hidden.
    """

    id: int
    at_ms: int
    kind: str
    mode: int
    number: int
    score_id: int | None
    other_id: int | None
    other_name: str | None
    map_id: int | None
    set_id: int | None
    artist: str | None
    title: str | None
    version: str | None


_INSERT = Command(insert(activity).values(named("user_id", "at_ms", "kind", "mode", "number", "score_id", "other_id")))
# By `ix_activity_of`. A first place that was lost to a hidden player says nothing without that player.
ACTIVITY_OF = Query(
    select(
        activity.c.id,
        activity.c.at_ms,
        activity.c.kind,
        activity.c.mode,
        activity.c.number,
        activity.c.score_id,
        users.c.id,
        users.c.name,
        maps.c.id,
        maps.c.set_id,
        maps.c.artist,
        maps.c.title,
        maps.c.version,
    )
    .select_from(
        activity.outerjoin(scores, scores.c.id == activity.c.score_id)
        .outerjoin(maps, maps.c.key == scores.c.map_key)
        .outerjoin(users, and_(users.c.id == activity.c.other_id, visible()))
    )
    .where(
        activity.c.user_id == bindparam("user_id"),
        activity.c.id < bindparam("before"),
        activity.c.at_ms >= bindparam("since_ms"),
        or_(activity.c.score_id.is_(None), scores.c.hidden == literal_column("0")),
        or_(activity.c.kind != LOST, users.c.id.is_not(None)),
    )
    .order_by(activity.c.id.desc())
    .limit(bindparam("limit")),
    ActivityEntry,
)
_old = select(activity.c.id).where(activity.c.at_ms < bindparam("before_ms")).limit(DELETED_AT_ONCE)
_DELETE_OLD = Command(delete(activity).where(activity.c.id.in_(_old)))


async def add_first_place(tx: Transaction, user_id: int, holder: int, *, mode: int, score_id: int, at_ms: int) -> None:
    """Note that a score took a first place, for its player and for the previous holder (0 without one)."""
    common: dict[str, Any] = {"at_ms": at_ms, "mode": mode, "number": 0, "score_id": score_id}
    await tx.later(_INSERT, user_id=user_id, kind=WON, other_id=holder, **common)
    if holder:
        await tx.later(_INSERT, user_id=holder, kind=LOST, other_id=user_id, **common)


async def add_medal(tx: Transaction, user_id: int, medal_id: int, *, mode: int, score_id: int, at_ms: int) -> None:
    """Note that a score unlocked a medal."""
    await tx.run(
        _INSERT,
        user_id=user_id,
        kind=MEDAL,
        at_ms=at_ms,
        mode=mode,
        number=medal_id,
        score_id=score_id,
        other_id=0,
    )


async def add_milestone(tx: Transaction, user_id: int, rank: int, *, mode: int, at_ms: int) -> None:
    """Note that a player reached one of `MILESTONES`."""
    await tx.run(_INSERT, user_id=user_id, kind=RANK, at_ms=at_ms, mode=mode, number=rank, score_id=None, other_id=0)


class ActivityLog:
    """Reads recent activity and deletes what is older."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def of(self, user_id: int, *, limit: int, before: int = 2**63 - 1) -> list[ActivityEntry]:
        """Return a player's activity of the last 30 days in all modes, newest first, with ids below `before`."""
        return await self._database.all(
            ACTIVITY_OF,
            user_id=user_id,
            before=before,
            since_ms=self._clock.now_ms() - KEPT_MS,
            limit=min(limit, SHOWN_MAX + 1),
        )

    async def delete_older(self) -> None:
        """Delete activity older than 30 days. A job calls this."""
        before_ms = self._clock.now_ms() - KEPT_MS

        async def body(tx: Transaction) -> int:
            return await tx.run(_DELETE_OLD, before_ms=before_ms)

        while await self._database.transaction(body) == DELETED_AT_ONCE:
            pass

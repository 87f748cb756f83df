"""Players' requests to rank sets, and how nominators answer them (docs/spec/beatmaps.md#requests).

Owns the table `map_requests`, which has open requests only: an answered request is deleted.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, func, insert, select

from kiai.beatmaps import Beatmap, Beatmaps, MapStatus
from kiai.clock import Clock
from kiai.errors import NotFound, Refused, WrongState
from kiai.osu.privileges import ADMINISTRATOR, effective
from kiai.osu.texts import chat_text
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority
from kiai.staff.service import Staff
from kiai.storage.port import Command, Database, Query, Transaction, UniqueViolation, scalar
from kiai.storage.tables import audit_log, map_requests, sets, users

SETS_STATUS: Final = "beatmaps.set_status"
SEES_REQUESTS: Final = "beatmaps.requests"
OPEN_MAX: Final = 10
"""Open requests of one player."""
CHANGES_A_DAY: Final = 50
"""Changes of statuses by one nominator in 24 hours; administrators have no limit."""
PAGE: Final = 5
REQUESTERS_MAX: Final = 1_000
NAMED_MAX: Final = 3
DAY_MS: Final = 86_400_000

Notify = Callable[[int, str, str], Awaitable[None]]
"""Sends a line of the bot to a player: id, name, text."""


class RequestedSet(msgspec.Struct, frozen=True):
    """A set with open requests. `map_id` is the map of the first request."""

    set_id: int
    artist: str
    title: str
    map_id: int
    count: int
    since_ms: int


class Requester(msgspec.Struct, frozen=True):
    """A player with an open request for a set."""

    user_id: int
    name: str


_ADD = Command(
    insert(map_requests).values({name: bindparam(name) for name in ("user_id", "set_id", "map_id", "at_ms")})
)
_COUNT_OF = Query(
    select(func.count()).select_from(map_requests).where(map_requests.c.user_id == bindparam("of_user")), scalar
)
_grouped = (
    select(
        map_requests.c.set_id,
        func.min(map_requests.c.map_id).label("map_id"),
        func.count().label("count"),
        func.min(map_requests.c.at_ms).label("since_ms"),
    )
    .group_by(map_requests.c.set_id)
    .order_by(func.min(map_requests.c.at_ms), map_requests.c.set_id)
    .limit(PAGE)
    .offset(bindparam("offset"))
    .subquery()
)
_SCANS: Final = "open requests only, which nominators answer; up to 10 per player"
_QUEUE = Query(
    select(_grouped.c.set_id, sets.c.artist, sets.c.title, _grouped.c.map_id, _grouped.c.count, _grouped.c.since_ms)
    .select_from(_grouped.join(sets, sets.c.id == _grouped.c.set_id))
    .order_by(_grouped.c.since_ms, _grouped.c.set_id),
    RequestedSet,
    scans=_SCANS,
)
_SETS = Query(select(func.count(map_requests.c.set_id.distinct())), scalar, scans=_SCANS)
_REQUESTERS = Query(
    select(users.c.id, users.c.name)
    .select_from(map_requests.join(users, users.c.id == map_requests.c.user_id))
    .where(map_requests.c.set_id == bindparam("of_set"))
    .order_by(map_requests.c.id)
    .limit(REQUESTERS_MAX),
    Requester,
)
_CLOSE = Command(delete(map_requests).where(map_requests.c.set_id == bindparam("of_set")))
_NTH_CHANGE = Query(
    select(audit_log.c.at_ms)
    .where(audit_log.c.actor_id == bindparam("actor_id"), audit_log.c.action == "beatmap_status")
    .order_by(audit_log.c.id.desc())
    .limit(1)
    .offset(CHANGES_A_DAY - 1),
    scalar,
)


class MapRequests:
    """Stores requests, and changes statuses as nominators decide."""

    def __init__(
        self,
        database: Database,
        authority: Authority,
        staff: Staff,
        beatmaps: Beatmaps,
        clock: Clock,
        notify: Notify,
    ) -> None:
        self._database = database
        self._authority = authority
        self._staff = staff
        self._beatmaps = beatmaps
        self._clock = clock
        self._notify = notify

    async def request(self, user_id: int, beatmap: Beatmap) -> None:
        """Store a request for the set of a map.

        Raises Refused for a map that is not pending and at the limit of open requests, and WrongState for a second
        request for the same set.
        """
        if beatmap.status != MapStatus.PENDING:
            raise Refused("only pending beatmaps can be requested")
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            # Two requests at once may exceed the bound by one, which is harmless.
            if (await tx.one(_COUNT_OF, of_user=user_id) or 0) >= OPEN_MAX:
                raise Refused(f"you have {OPEN_MAX} open requests; wait until one is answered")
            await tx.run(_ADD, user_id=user_id, set_id=beatmap.set_id, map_id=beatmap.id, at_ms=now)

        try:
            await self._database.transaction(body)
        except UniqueViolation as violation:
            raise WrongState("you have already requested this beatmap set") from violation

    async def queue(self, actor: Actor, page: int) -> tuple[Sequence[RequestedSet], int]:
        """Return a page of requested sets, the oldest first, and the number of sets. Raises NotAllowed."""
        await self._authority.require(actor, SEES_REQUESTS)
        rows = await self._database.all(_QUEUE, offset=(page - 1) * PAGE)
        return rows, await self._database.one(_SETS) or 0

    async def requesters(self, set_id: int) -> list[Requester]:
        """Return the players with an open request for a set, at most 1,000, the first one first."""
        return await self._database.all(_REQUESTERS, of_set=set_id)

    async def close(self, actor: Actor, beatmap: Beatmap, reason: str) -> int:
        """Close the requests for a set without a change of status, and return their number.

        The players get the reason. Raises NotAllowed, and NotFound without open requests.
        """
        await self._authority.require(actor, SEES_REQUESTS)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> list[Requester]:
            waiting = await tx.all(_REQUESTERS, of_set=beatmap.set_id)
            if not await tx.run(_CLOSE, of_set=beatmap.set_id):
                raise NotFound("open request for this beatmap set")
            await audit.write(
                tx,
                actor,
                "request_close",
                at_ms=now,
                target_kind="beatmap",
                target_id=beatmap.id,
                reason=reason,
                details={"set_id": beatmap.set_id, "requests": len(waiting)},
            )
            return waiting

        waiting = await self._database.transaction(body)
        await self._notify_each(waiting, beatmap, f"was closed: {chat_text(reason)}")
        return len(waiting)

    async def set_status(self, actor: Actor, beatmaps: list[Beatmap], status: MapStatus) -> None:
        """Set and freeze the status of maps of one set, and answer the requests for it.

        Raises NotAllowed, WrongState if all maps have the status, and Refused beyond a nominator's daily limit.
        """
        priv = await self._authority.require(actor, SETS_STATUS)
        changed = [beatmap for beatmap in beatmaps if beatmap.status != status or not beatmap.frozen]
        if all(beatmap.status == status for beatmap in beatmaps):
            raise WrongState(f"the status is already {status.name.lower()}")
        if actor.user_id and not effective(priv) & ADMINISTRATOR:
            nth = await self._database.one(_NTH_CHANGE, actor_id=actor.user_id)
            if nth is not None and nth > self._clock.now_ms() - DAY_MS:
                raise Refused(f"you have changed {CHANGES_A_DAY} statuses today; ask an administrator")
        await self._staff.set_map_status(actor, changed, status)
        if status == MapStatus.PENDING:
            return

        async def body(tx: Transaction) -> list[Requester]:
            waiting = await tx.all(_REQUESTERS, of_set=beatmaps[0].set_id)
            await tx.run(_CLOSE, of_set=beatmaps[0].set_id)
            return waiting

        waiting = await self._database.transaction(body)
        await self._notify_each(waiting, beatmaps[0], f"was answered: it is {status.name.lower()} now.")

    async def set_frozen(self, actor: Actor, beatmaps: list[Beatmap], frozen: bool) -> None:
        """Freeze the status of maps, so that upstream does not change it, or leave it to upstream again.

        Raises NotAllowed, and WrongState if nothing would change.
        """
        await self._authority.require(actor, SETS_STATUS)
        changed = [beatmap for beatmap in beatmaps if bool(beatmap.frozen) != frozen]
        if not changed:
            raise WrongState(f"the status is already {'frozen' if frozen else 'not frozen'}")
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            for beatmap in changed:
                await self._beatmaps.set_frozen(tx, beatmap, frozen)
                await audit.write(
                    tx,
                    actor,
                    "beatmap_status",
                    at_ms=now,
                    target_kind="beatmap",
                    target_id=beatmap.id,
                    details={"before": beatmap.status, "after": beatmap.status, "frozen": frozen},
                )

        await self._database.transaction(body)

    async def record_refresh(self, actor: Actor, beatmap: Beatmap) -> None:
        """Write the audit row of a request to upstream for the set of a map. Raises NotAllowed."""
        await self._authority.require(actor, SETS_STATUS)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await audit.write(
                tx,
                actor,
                "beatmap_refresh",
                at_ms=now,
                target_kind="beatmap",
                target_id=beatmap.id,
                details={"set_id": beatmap.set_id},
            )

        await self._database.transaction(body)

    async def _notify_each(self, waiting: Sequence[Requester], beatmap: Beatmap, outcome: str) -> None:
        title = chat_text(f"{beatmap.artist} - {beatmap.title}")
        for requester in waiting:
            await self._notify(requester.user_id, requester.name, f"Your request for {title} {outcome}")

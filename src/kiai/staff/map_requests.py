"""Players' requests to rank sets, and how nominators answer them (docs/spec/beatmaps.md#requests).

`beatmaps/ranking.py` has the rows: the table has open requests only, an answered request is deleted.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import Integer, bindparam, case, cast, func, select

from kiai.accounts import BOT_ID
from kiai.accounts.visibility import visible
from kiai.beatmaps import Beatmap, Beatmaps, MapStatus, ranking
from kiai.clock import Clock
from kiai.errors import NotFound, Refused, WrongState
from kiai.osu.privileges import ADMINISTRATOR, effective
from kiai.osu.texts import chat_text
from kiai.staff import audit, map_statuses
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.staff.reasons import checked_reason
from kiai.storage.port import Database, Query, Transaction, scalar
from kiai.storage.tables import audit_log, map_requests, sets, users

SETS_STATUS: Final = "beatmaps.set_status"
INSPECTS: Final = "beatmaps.inspect"
SEES_REQUESTS: Final = "beatmaps.requests"
OPEN_MAX: Final = 10
"""Open requests of one player."""
CHANGES_A_DAY: Final = 50
"""Maps whose status one nominator sets, freezes or unfreezes in 24 hours; administrators have no limit."""
PAGE: Final = 5
NAMED_MAX: Final = 3
DAY_MS: Final = 86_400_000
NOMINATED_STATUSES: Final = (MapStatus.QUALIFIED, MapStatus.RANKED, MapStatus.APPROVED)
"""The statuses that only nominations and administrators give in the nomination mode."""


class NominationRules(msgspec.Struct, frozen=True):
    """The settings of the nomination mode. Without `on`, the simple mode is in effect: one nominator sets a status."""

    on: bool = False
    needed: int = 2
    qualified_hours: int = 72


class RequestedSet(msgspec.Struct, frozen=True):
    """A set with open requests. `map_id` is the map of the first request, `count` the number of players.

    `changed` is 1 if the server itself requests a review, because upstream has replaced a file of the set.
    """

    set_id: int
    artist: str
    title: str
    map_id: int
    count: int
    changed: int
    since_ms: int


class Requester(msgspec.Struct, frozen=True):
    """A player with an open request for a set."""

    user_id: int
    name: str


_COUNT_OF = Query(
    select(func.count()).select_from(map_requests).where(map_requests.c.user_id == bindparam("of_user")), scalar
)
# Requests of hidden players count for nobody. The bot is not a visible player.
_shown = map_requests.join(
    users, (users.c.id == map_requests.c.user_id) & (visible() | (map_requests.c.user_id == BOT_ID))
)
_is_bot = case((map_requests.c.user_id == BOT_ID, 1), else_=0)
_grouped = (
    select(
        map_requests.c.set_id,
        func.min(map_requests.c.map_id).label("map_id"),
        cast(func.sum(1 - _is_bot), Integer).label("count"),
        func.max(_is_bot).label("changed"),
        func.min(map_requests.c.at_ms).label("since_ms"),
    )
    .select_from(_shown)
    .group_by(map_requests.c.set_id)
    .order_by(func.min(map_requests.c.at_ms), map_requests.c.set_id)
    .limit(PAGE)
    .offset(bindparam("offset"))
    .subquery()
)
_SCANS: Final = "open requests only, which nominators answer; up to 10 per player"
_QUEUE = Query(
    select(
        _grouped.c.set_id,
        sets.c.artist,
        sets.c.title,
        _grouped.c.map_id,
        _grouped.c.count,
        _grouped.c.changed,
        _grouped.c.since_ms,
    )
    .select_from(_grouped.join(sets, sets.c.id == _grouped.c.set_id))
    .order_by(_grouped.c.since_ms, _grouped.c.set_id),
    RequestedSet,
    scans=_SCANS,
)
_SETS = Query(select(func.count(map_requests.c.set_id.distinct())).select_from(_shown), scalar, scans=_SCANS)
_SHOWN_OF_SET = Query(
    select(func.count()).select_from(
        select(map_requests.c.id)
        .select_from(_shown)
        .where(map_requests.c.set_id == bindparam("of_set"))
        .limit(ranking.OF_SET_MAX + 1)
        .subquery()
    ),
    scalar,
)
_REQUESTERS = Query(
    select(users.c.id, users.c.name)
    .select_from(map_requests.join(users, users.c.id == map_requests.c.user_id))
    .where(map_requests.c.set_id == bindparam("of_set"), visible())
    .order_by(map_requests.c.id)
    .limit(NAMED_MAX + 1),
    Requester,
)
# The newest rows by id, which the index of actors has in order. Older ones matter only to those who have no limit.
_changes = (
    select(audit_log.c.at_ms)
    .where(audit_log.c.actor_id == bindparam("actor_id"), audit_log.c.action == "beatmap_status")
    .order_by(audit_log.c.id.desc())
    .limit(CHANGES_A_DAY)
    .subquery()
)
_CHANGES_SINCE = Query(
    select(func.count()).select_from(_changes).where(_changes.c.at_ms > bindparam("since_ms")),
    scalar,
)


class MapRequests:
    """Stores requests, and changes statuses as nominators decide."""

    def __init__(
        self, database: Database, authority: Authority, beatmaps: Beatmaps, clock: Clock, rules: NominationRules
    ) -> None:
        self._database = database
        self._authority = authority
        self._beatmaps = beatmaps
        self._clock = clock
        self._rules = rules

    async def request(self, user_id: int, beatmap: Beatmap) -> None:
        """Store a request for the set of a map.

        Raises Refused for a map that is not pending and at the limits of open requests, and WrongState for a second
        request for the same set.
        """
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            # Under the lock, so that no request is left when a nominator sets the status at the same time.
            of_set = await ranking.lock(tx, beatmap.set_id)
            if not any(one.id == beatmap.id and one.status == MapStatus.PENDING for one in of_set):
                raise Refused("only pending beatmaps can be requested")
            if await tx.one(ranking.HAS_REQUEST, by_id=user_id, of_set=beatmap.set_id) is not None:
                raise WrongState("you have already requested this beatmap set")
            # Requests for two sets at once may exceed the bound by one, which is harmless.
            if (await tx.one(_COUNT_OF, of_user=user_id) or 0) >= OPEN_MAX:
                raise Refused(f"you have {OPEN_MAX} open requests; wait until one is answered")
            if (await tx.one(ranking.REQUESTS_OF_SET, of_set=beatmap.set_id) or 0) >= ranking.OF_SET_MAX:
                raise Refused("enough players have requested this beatmap set")
            await tx.run(ranking.ADD_REQUEST, user_id=user_id, set_id=beatmap.set_id, map_id=beatmap.id, at_ms=now)

        await self._database.transaction(body)

    async def has_requested(self, user_id: int, set_id: int) -> bool:
        """Return whether the player has an open request for the set."""
        return await self._database.one(ranking.HAS_REQUEST, by_id=user_id, of_set=set_id) is not None

    async def queue(self, actor: Actor, page: int) -> tuple[Sequence[RequestedSet], int]:
        """Return a page of requested sets, the oldest first, and the number of sets. Raises NotAllowed.

        Requests of hidden players are left out.
        """
        await self._authority.require(actor, SEES_REQUESTS)
        rows = await self._database.all(_QUEUE, offset=(page - 1) * PAGE)
        return rows, await self._database.one(_SETS) or 0

    async def requesters(self, actor: Actor, set_id: int) -> list[Requester]:
        """Return the visible players with an open request for a set, the first ones first, one more than `NAMED_MAX`.

        Raises NotAllowed.
        """
        await self._authority.require(actor, SEES_REQUESTS)
        return await self._database.all(_REQUESTERS, of_set=set_id)

    async def close(self, actor: Actor, beatmap: Beatmap, reason: str) -> int:
        """Close the requests for a set without a change of status, and return the number of those that are shown.

        The players get the reason, at the next login if they are offline. Requests of hidden players are closed, too.
        Raises NotAllowed, Invalid, and NotFound without open requests that are shown.
        """
        await self._authority.require(actor, SEES_REQUESTS)
        reason = checked_reason(reason)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            await ranking.lock(tx, beatmap.set_id)
            # Else nominators could find out who is hidden.
            shown = await tx.one(_SHOWN_OF_SET, of_set=beatmap.set_id) or 0
            if not shown:
                raise NotFound("open request for this beatmap set")
            closed = await ranking.close_requests(tx, beatmap.set_id, f"was closed: {chat_text(reason)}", now)
            await audit.write(
                tx,
                actor,
                "request_close",
                at_ms=now,
                target_kind="beatmap",
                target_id=beatmap.id,
                reason=reason,
                details={"set_id": beatmap.set_id, "requests": closed},
            )
            return shown

        return await self._authority.transaction(Requirement(actor, SEES_REQUESTS), body)

    async def set_status(
        self, actor: Actor, beatmaps: Sequence[Beatmap], status: MapStatus, *, reason: str = ""
    ) -> None:
        """Set and freeze the status of maps of one set, and answer the requests for it. The reason may be empty.

        Raises NotAllowed, Invalid, WrongState if all maps have the status, and Refused beyond a nominator's daily
        limit. In the nomination mode it raises Refused for a status that nominations give, unless the actor is an
        administrator.
        """
        priv = await self._authority.require(actor, SETS_STATUS)
        reason = checked_reason(reason, optional=True)
        is_bound = actor.user_id and not effective(priv) & ADMINISTRATOR
        if is_bound and self._rules.on and status in NOMINATED_STATUSES:
            raise Refused("the nomination mode is on: use !nominate, or ask an administrator")
        now = self._clock.now_ms()
        wanted = {beatmap.id for beatmap in beatmaps}

        async def body(tx: Transaction) -> None:
            found = [beatmap for beatmap in await ranking.lock(tx, beatmaps[0].set_id) if beatmap.id in wanted]
            if all(beatmap.status == status for beatmap in found):
                raise WrongState(f"the status is already {status.name.lower()}")
            changed = [beatmap for beatmap in found if beatmap.status != status or not beatmap.frozen]
            if is_bound:
                await self.check_daily_limit(tx, actor, len(changed))
            await self._beatmaps.set_statuses(tx, changed, status, now)
            await map_statuses.record(tx, actor, changed, status, now, reason=reason)

        await self._authority.transaction(Requirement(actor, SETS_STATUS), body)

    async def check_daily_limit(self, tx: Transaction, actor: Actor, maps: int) -> None:
        """Raise Refused if the actor would have changed more than `CHANGES_A_DAY` maps in the last 24 hours.

        `maps` is the number of maps that the act changes. The transaction has locked the account of the actor, so that
        acts at once do not pass together.
        """
        since_ms = self._clock.now_ms() - DAY_MS
        left = CHANGES_A_DAY - (await tx.one(_CHANGES_SINCE, actor_id=actor.user_id, since_ms=since_ms) or 0)
        if maps > left:
            raise Refused(
                f"nominators change up to {CHANGES_A_DAY} maps in 24 hours, you {max(left, 0)} more; "
                "ask an administrator"
            )

    async def set_frozen(self, actor: Actor, beatmaps: Sequence[Beatmap], frozen: bool, *, reason: str = "") -> None:
        """Freeze the status of maps, so that upstream does not change it, or leave it to upstream again.

        The reason may be empty. Raises NotAllowed, Invalid, WrongState if nothing would change, and Refused beyond a
        nominator's daily limit.
        """
        priv = await self._authority.require(actor, SETS_STATUS)
        reason = checked_reason(reason, optional=True)
        now = self._clock.now_ms()
        wanted = {beatmap.id for beatmap in beatmaps}

        async def body(tx: Transaction) -> None:
            found = [one for one in await ranking.lock(tx, beatmaps[0].set_id) if one.id in wanted]
            changed = [beatmap for beatmap in found if bool(beatmap.frozen) != frozen]
            if not changed:
                raise WrongState(f"the status is already {'frozen' if frozen else 'not frozen'}")
            if actor.user_id and not effective(priv) & ADMINISTRATOR:
                await self.check_daily_limit(tx, actor, len(changed))
            for beatmap in changed:
                await self._beatmaps.set_frozen(tx, beatmap, frozen)
            for beatmap in changed:
                await audit.write(
                    tx,
                    actor,
                    "beatmap_status",
                    at_ms=now,
                    target_kind="beatmap",
                    target_id=beatmap.id,
                    reason=reason,
                    details={"before": beatmap.status, "after": beatmap.status, "frozen": frozen},
                )

        await self._authority.transaction(Requirement(actor, SETS_STATUS), body)

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

        await self._authority.transaction(Requirement(actor, SETS_STATUS), body)

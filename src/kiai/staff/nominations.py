"""The nomination mode: several nominators qualify a set, and a job ranks it later (docs/spec/beatmaps.md#nominations).

    pending --enough nominations--> qualified --some days--> ranked
       ^                                |
       +------- reset, new file --------+

`beatmaps/ranking.py` has the rows. Nominations are for whole sets: they qualify the maps that are pending then.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, and_, bindparam, func, or_, select

from kiai.accounts import BOT_ID, Accounts, Viewer
from kiai.accounts.visibility import visible
from kiai.beatmaps import Beatmap, Beatmaps, MapStatus, ranking
from kiai.beatmaps.importing import NewFile
from kiai.beatmaps.model import OWN_ID_FIRST
from kiai.clock import Clock
from kiai.errors import NotFound, Refused, Unavailable, WrongState
from kiai.logs import get_logger
from kiai.osu.privileges import ADMINISTRATOR, STAFF, effective
from kiai.osu.texts import chat_text
from kiai.staff import audit, map_statuses
from kiai.staff.audit import JOB, Actor
from kiai.staff.authority import Authority, Requirement
from kiai.staff.map_requests import SETS_STATUS, MapRequests, NominationRules
from kiai.staff.map_statuses import News, enqueue_news
from kiai.staff.player_lines import enqueue_line
from kiai.staff.reasons import checked_reason
from kiai.storage.port import Database, Query, Transaction, scalar
from kiai.storage.tables import audit_log, maps, nominations, qualified_sets, users

OPEN_MAX: Final = 100
"""Sets that one nominator has nominated and that are not ranked yet."""
RANKED_AT_ONCE: Final = 100
"""Sets that the job reads at once."""
ACTS_MAX: Final = 20
HOUR_MS: Final = 3_600_000
MAP_CHANGED: Final = "map changed"
NOMINATE: Final = "nominate"
RESET: Final = "nominate_reset"
_ANYBODY: Final = Viewer(priv=STAFF)


class Nominator(msgspec.Struct, frozen=True):
    """A visible player who has nominated a set."""

    user_id: int
    name: str
    at_ms: int


class Nominations(msgspec.Struct, frozen=True):
    """The nominations of a set by visible players. Those of hidden players count again when they are visible again.

    `ranks_at_ms` is the time at which a qualified set becomes ranked, None for other sets.
    """

    set_id: int
    count: int
    needed: int
    ranks_at_ms: int | None
    nominators: Sequence[Nominator] = ()


class DueSet(msgspec.Struct, frozen=True):
    """A qualified set that becomes ranked."""

    ranks_at_ms: int
    set_id: int


class NominationAct(msgspec.Struct, frozen=True):
    """A nomination or a reset in the history of a set. `by` is None for the server and hidden players."""

    at_ms: int
    action: str
    by_id: int | None
    by: str | None


_BY = Query(
    select(nominations.c.set_id).where(
        nominations.c.set_id == bindparam("of_set"), nominations.c.user_id == bindparam("by_id")
    ),
    scalar,
)
_OPEN_OF = Query(
    select(func.count()).select_from(
        select(nominations.c.set_id).where(nominations.c.user_id == bindparam("by_id")).limit(OPEN_MAX).subquery()
    ),
    scalar,
)
_COUNT = Query(
    select(func.count())
    .select_from(nominations.join(users, users.c.id == nominations.c.user_id))
    .where(nominations.c.set_id == bindparam("of_set"), visible()),
    scalar,
)
_SHOWN = Query(
    select(users.c.id, users.c.name, nominations.c.at_ms)
    .select_from(nominations.join(users, users.c.id == nominations.c.user_id))
    .where(nominations.c.set_id == bindparam("of_set"), visible())
    .order_by(nominations.c.at_ms, nominations.c.user_id)
    .limit(ACTS_MAX),
    Nominator,
)
_after_ms: Final[Any] = bindparam("after_ms", type_=BigInteger())
_DUE = Query(
    select(qualified_sets.c.ranks_at_ms, qualified_sets.c.set_id)
    .where(
        qualified_sets.c.ranks_at_ms <= bindparam("now_ms"),
        or_(
            qualified_sets.c.ranks_at_ms > _after_ms,
            and_(qualified_sets.c.ranks_at_ms == _after_ms, qualified_sets.c.set_id > bindparam("after_id")),
        ),
    )
    .order_by(qualified_sets.c.ranks_at_ms, qualified_sets.c.set_id)
    .limit(RANKED_AT_ONCE),
    DueSet,
)
_ACTS = Query(
    select(audit_log.c.at_ms, audit_log.c.action, users.c.id, users.c.name)
    .select_from(
        audit_log.join(maps, (maps.c.id == audit_log.c.target_id) & (maps.c.current == 1)).outerjoin(
            users, (users.c.id == audit_log.c.actor_id) & visible()
        )
    )
    .where(
        maps.c.set_id == bindparam("of_set"),
        audit_log.c.target_kind == "beatmap",
        audit_log.c.action.in_((NOMINATE, RESET)),
    )
    .order_by(audit_log.c.id.desc())
    .limit(ACTS_MAX),
    NominationAct,
)


class NominationMode:
    """Nominates and resets sets, and ranks those that stayed qualified long enough."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        authority: Authority,
        beatmaps: Beatmaps,
        requests: MapRequests,
        clock: Clock,
        rules: NominationRules,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._authority = authority
        self._beatmaps = beatmaps
        self._requests = requests
        self._clock = clock
        self.rules = rules

    # --- acts of nominators

    async def nominate(self, actor: Actor, beatmap: Beatmap, reason: str = "") -> Nominations:
        """Nominate the set of a map, and qualify its pending maps with the last nomination that is needed.

        Raises NotAllowed, Invalid, Refused in the simple mode, for the mapper of a set that was uploaded here and at
        the limits of a nominator, and WrongState for a second nomination and for a set without pending maps.
        """
        priv = await self._require(actor)
        if not actor.user_id:
            raise Refused("only players nominate; set the status instead")
        reason = checked_reason(reason, optional=True)
        await self._check_not_mapper(actor, beatmap.set_id)
        now, set_id = self._clock.now_ms(), beatmap.set_id

        async def body(tx: Transaction) -> Nominations:
            pending = [one for one in await ranking.lock(tx, set_id) if one.status == MapStatus.PENDING]
            before = await tx.one(_COUNT, of_set=set_id) or 0
            await self._check_open(tx, actor, set_id, has_pending=bool(pending))
            if not effective(priv) & ADMINISTRATOR:
                qualified = len(pending) if before + 1 >= self.rules.needed else 0
                await self._requests.check_daily_limit(tx, actor, max(qualified, 1))
            await tx.run(ranking.NOMINATE, set_id=set_id, user_id=actor.user_id, at_ms=now)
            count, ranks_at = before + 1, None
            if count >= self.rules.needed:
                ranks_at = now + self.rules.qualified_hours * HOUR_MS
                await tx.run(ranking.QUALIFY, set_id=set_id, ranks_at_ms=ranks_at)
                await self._beatmaps.set_statuses(tx, pending, MapStatus.QUALIFIED, now)
            details = {"set_id": set_id, "before": before, "after": count, "needed": self.rules.needed}
            await self._record(tx, actor, NOMINATE, beatmap.id, reason, details, now)
            if ranks_at is not None:
                await map_statuses.record(tx, actor, pending, MapStatus.QUALIFIED, now)
            return Nominations(set_id, count, self.rules.needed, ranks_at)

        return await self._authority.transaction(Requirement(actor, SETS_STATUS), body)

    async def reset(self, actor: Actor, beatmap: Beatmap, reason: str) -> int:
        """Delete the nominations of a set and make a set that they qualified pending again. Return their number.

        The number is that of visible nominators, but all nominators get the reason. Raises NotAllowed, Invalid, Refused
        in the simple mode, and WrongState for a set that is not qualified and has no nomination of a visible player.
        """
        await self._require(actor)
        reason = checked_reason(reason)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            await ranking.lock(tx, beatmap.set_id)
            count = await tx.one(_COUNT, of_set=beatmap.set_id) or 0
            if not count and await tx.one(ranking.RANKS_AT, of_set=beatmap.set_id) is None:
                raise WrongState("this beatmap set has no nominations")
            await self._reset(tx, actor, beatmap, reason, now)
            return count

        return await self._authority.transaction(Requirement(actor, SETS_STATUS), body)

    async def _require(self, actor: Actor) -> int:
        priv = await self._authority.require(actor, SETS_STATUS)
        if not self.rules.on:
            raise Refused("the simple mode is on: one nominator sets the status with !map")
        return priv

    async def _check_not_mapper(self, actor: Actor, set_id: int) -> None:
        if set_id < OWN_ID_FIRST:
            return
        # The text of a set that was uploaded here is the only record of its mapper. Former names of the account count,
        # too.
        for creator in sorted({one.creator for one in await self._beatmaps.of_set(set_id)}):
            try:
                mapper = await self._accounts.user(_ANYBODY, name=creator)
            except NotFound:
                continue
            if mapper.id == actor.user_id:
                raise Refused("you cannot nominate your own beatmap set")

    async def _check_open(self, tx: Transaction, actor: Actor, set_id: int, *, has_pending: bool) -> None:
        if await tx.one(ranking.RANKS_AT, of_set=set_id) is not None:
            raise WrongState("this beatmap set is already qualified")
        if not has_pending:
            raise WrongState("no map of this beatmap set is pending")
        if await tx.one(_BY, of_set=set_id, by_id=actor.user_id) is not None:
            raise WrongState("you have already nominated this beatmap set")
        if (await tx.one(_OPEN_OF, by_id=actor.user_id) or 0) >= OPEN_MAX:
            raise Refused(f"you have nominated {OPEN_MAX} sets that are not ranked yet")

    async def _reset(self, tx: Transaction, actor: Actor, beatmap: Beatmap, reason: str, now: int) -> None:
        """Reset the set of a map that is locked, if there is something to reset."""
        nominators, was_qualified = await ranking.end_nominations(tx, beatmap.set_id)
        if not nominators and not was_qualified:
            return
        # Read after the imports and changes of this transaction.
        of_set = await ranking.lock(tx, beatmap.set_id) if was_qualified else []
        back = [one for one in of_set if one.status == MapStatus.QUALIFIED]
        if back:
            await self._beatmaps.set_statuses(tx, back, MapStatus.PENDING, now)
        title = chat_text(f"{beatmap.artist} - {beatmap.title}")
        for user_id in nominators:
            if user_id != actor.user_id:
                text = f"Your nomination of {title} was reset: {chat_text(reason)}"
                await enqueue_line(tx, user_id, now, text, as_mail=True)
        details = {"set_id": beatmap.set_id, "before": len(nominators), "after": 0}
        await self._record(tx, actor, RESET, beatmap.id, reason, details, now)
        await map_statuses.record(tx, actor, back, MapStatus.PENDING, now, reason=reason)

    async def _record(
        self, tx: Transaction, actor: Actor, action: str, map_id: int, reason: str, details: dict[str, int], now: int
    ) -> None:
        await audit.write(
            tx, actor, action, at_ms=now, target_kind="beatmap", target_id=map_id, reason=reason, details=details
        )

    # --- what pages show

    async def of_set(self, set_id: int) -> Nominations:
        """Return the nominations of a set, the first ones first."""
        return Nominations(
            set_id,
            await self._database.one(_COUNT, of_set=set_id) or 0,
            self.rules.needed,
            await self._database.one(ranking.RANKS_AT, of_set=set_id),
            await self._database.all(_SHOWN, of_set=set_id),
        )

    async def history(self, set_id: int) -> list[NominationAct]:
        """Return the latest 20 nominations and resets of a set, newest first, without reasons."""
        return await self._database.all(_ACTS, of_set=set_id)

    # --- what follows without a nominator

    async def rank_due(self) -> int:
        """Rank the sets that were qualified long enough. Return their number. A job calls this, in both modes.

        A set that fails stays qualified, for the next run. Raises Unavailable.
        """
        now = self._clock.now_ms()
        ranked = 0
        after = DueSet(0, 0)
        # In the order of the times, so that a set that fails does not hold up those behind it.
        while due := await self._database.all(_DUE, now_ms=now, after_ms=after.ranks_at_ms, after_id=after.set_id):
            for one in due:
                try:
                    ranked += await self._rank(one.set_id, now)
                except Unavailable:
                    raise
                except Exception as error:
                    get_logger("staff").error("a set could not be ranked", set_id=one.set_id, exc_info=error)
            after = due[-1]
        return ranked

    async def _rank(self, set_id: int, now: int) -> bool:
        async def body(tx: Transaction) -> bool:
            qualified = [one for one in await ranking.lock(tx, set_id) if one.status == MapStatus.QUALIFIED]
            ranks_at = await tx.one(ranking.RANKS_AT, of_set=set_id)
            if ranks_at is None or ranks_at > now:  # reset or ranked in the meantime
                return False
            await ranking.end_nominations(tx, set_id)
            await self._beatmaps.set_statuses(tx, qualified, MapStatus.RANKED, now)
            await map_statuses.record(tx, JOB, qualified, MapStatus.RANKED, now)
            return True

        return await self._database.transaction(body)

    async def on_new_files(self, tx: Transaction, files: Sequence[NewFile], now_ms: int) -> None:
        """Reset the nominations of sets with new files, and request the review of those whose status staff had set.

        The importer calls this in its transaction (docs/spec/beatmaps.md#status-set-by-staff).
        """
        for set_id in sorted({file.set_id for file in files}):
            # PERF: an import of thousands of new sets has nothing to reset or review.
            if not any(file.unreviewed for file in files) and not await ranking.has_nominations(tx, set_id):
                continue
            of_set = {one.id: one for one in await ranking.lock(tx, set_id)}
            new = [file for file in files if file.set_id == set_id and file.map_id in of_set]
            if new:
                await self._reset(tx, JOB, of_set[new[0].map_id], MAP_CHANGED, now_ms)
            for file in new:
                if file.unreviewed:
                    await self._request_review(tx, of_set[file.map_id], file, now_ms)

    async def _request_review(self, tx: Transaction, beatmap: Beatmap, file: NewFile, now: int) -> None:
        if await tx.one(ranking.HAS_REQUEST, by_id=BOT_ID, of_set=file.set_id) is None:
            await tx.run(ranking.ADD_REQUEST, user_id=BOT_ID, set_id=file.set_id, map_id=file.map_id, at_ms=now)
        await enqueue_news(tx, News(now, beatmap.id, 1, int(MapStatus.PENDING), 0, changed=True))
        if file.before != file.status:
            details = {"before": file.before, "after": file.status, "md5": file.md5}
            await audit.write(
                tx,
                JOB,
                "beatmap_status",
                at_ms=now,
                target_kind="beatmap",
                target_id=file.map_id,
                reason=MAP_CHANGED,
                details=details,
            )

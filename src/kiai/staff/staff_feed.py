"""Events for staff in the feed: acts of staff on players, reports, and flags.

    commit --outbox row with an id--> StaffFeed --event--> FEED --only to keys of moderators--> /v2/events

The audit log, the reports and the flags are read after the commit, so that an event has the names of that moment.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy import bindparam, select

from kiai.clock import Clock
from kiai.errors import NotFound
from kiai.realtime.feed import FeedEvent, StaffEventType, feed_entry
from kiai.realtime.port import Realtime
from kiai.scores.flags import OUTBOX_KIND as FLAG_KIND
from kiai.scores.flags import Flags, flag_object
from kiai.staff.act_events import until_of
from kiai.staff.audit import SANCTION_KIND
from kiai.staff.reports import OUTBOX_KIND as REPORT_KIND
from kiai.staff.reports import Reports
from kiai.storage.outbox import Outbox
from kiai.storage.port import Database, Query
from kiai.storage.tables import audit_log, users

ReadEvent = Callable[[int], Awaitable[tuple[int, dict[str, Any]]]]
"""Return the player whom an event is about and its data, by the id in the outbox. Raises NotFound."""


class _Act(msgspec.Struct, frozen=True):
    """An audit row about a player, with the present names."""

    id: int
    action: str
    actor_id: int
    actor: str | None
    target_id: int
    target: str
    reason: str
    details: str


_actor, _target = users.alias("actor"), users.alias("target")
_ACT = Query(
    select(
        audit_log.c.id,
        audit_log.c.action,
        audit_log.c.actor_id,
        _actor.c.name,
        audit_log.c.target_id,
        _target.c.name,
        audit_log.c.reason,
        audit_log.c.details,
    )
    .select_from(
        audit_log.join(_target, _target.c.id == audit_log.c.target_id).outerjoin(
            _actor, _actor.c.id == audit_log.c.actor_id
        )
    )
    .where(audit_log.c.id == bindparam("audit_id"), audit_log.c.target_kind == "user")
    .limit(1),
    _Act,
)


class StaffFeed:
    """Appends the events of staff to the feed, at least once each."""

    def __init__(
        self, database: Database, realtime: Realtime, reports: Reports, flags: Flags, outbox: Outbox, clock: Clock
    ) -> None:
        self._database = database
        self._realtime = realtime
        self._reports = reports
        self._flags = flags
        self._outbox = outbox
        self._clock = clock
        self.subscribe(SANCTION_KIND, "sanction", self._sanction)
        self.subscribe(REPORT_KIND, "report", self._report)
        self.subscribe(FLAG_KIND, "flag", self._flag)

    def subscribe(self, outbox_kind: str, event_type: StaffEventType, read: ReadEvent) -> None:
        """Publish each row of a kind of the outbox, whose payload is an id, as an event for staff."""

        async def publish(ids: Sequence[str]) -> None:
            entries = []
            for row_id in map(int, ids):
                try:
                    user_id, data = await read(row_id)
                except NotFound:  # deleted since
                    continue
                entries.append(feed_entry(FeedEvent(event_type, self._clock.now_ms(), user_id, None, data)))
            await self._realtime.append(entries)

        self._outbox.subscribe(outbox_kind, publish)

    async def _sanction(self, audit_id: int) -> tuple[int, dict[str, Any]]:
        act = await self._database.one(_ACT, audit_id=audit_id)
        if act is None:
            raise NotFound("audit row")
        details = msgspec.json.decode(act.details)
        return act.target_id, {
            "audit_id": act.id,
            "action": act.action,
            "actor": None if act.actor is None else {"id": act.actor_id, "name": act.actor},
            "target": {"id": act.target_id, "name": act.target},
            "reason": act.reason,
            "until": until_of(act.action, details),
        }

    async def _report(self, report_id: int) -> tuple[int, dict[str, Any]]:
        report = await self._reports.report(report_id)
        return report.target.id, msgspec.to_builtins(report)

    async def _flag(self, flag_id: int) -> tuple[int, dict[str, Any]]:
        flag = await self._flags.find(flag_id)
        if flag is None:
            raise NotFound("flag")
        return flag.user_id, msgspec.to_builtins(flag_object(flag))

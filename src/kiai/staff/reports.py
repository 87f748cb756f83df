"""Reports of players about players, each with the reported player's latest lines in public channels.

Owns the table `reports`. A player can send 5 reports per hour and have one open report about each other player. All
reports, open and closed ones, are deleted after a year. A new report adds a row `report` with its id to the outbox.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, get_args

import msgspec
from sqlalchemy import bindparam, delete, func, insert, literal_column, select, update

from kiai import webhooks
from kiai.accounts import BOT_ID, User
from kiai.chat.journal import Journal
from kiai.clock import Clock
from kiai.errors import Conflict, Invalid, NotATarget, NotFound, TooOften, WrongState
from kiai.osu.numbers import whole_number
from kiai.osu.privileges import UNRESTRICTED, VERIFIED
from kiai.realtime.port import Realtime
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.storage.batches import delete_in_batches
from kiai.storage.outbox import enqueue
from kiai.storage.port import Command, Database, Query, Transaction, UniqueViolation, scalar
from kiai.storage.tables import channels, chat_lines, reports, users

REPORTS_PER_HOUR: Final = 5
HOUR_S: Final = 3_600.0
OTHER: Final = "Other"
KIND_MAX: Final = 32
TEXT_MAX: Final = 500
LINES_STORED: Final = 20
LINE_MAX: Final = 500
PAGE: Final = 5
PAGE_MAX: Final = 100
COUNTED_MAX: Final = 1_000
RETENTION_DAYS: Final = 365
DAY_MS: Final = 86_400_000
DELETED_AT_ONCE: Final = 1_000
ID_MAX: Final = 2**63 - 1
PERMISSION: Final = "reports.handle"
OUTBOX_KIND: Final = "report"
OPERATOR_NAME: Final = "operator"

State = Literal["open", "closed"]
ListedState = Literal["open", "closed", "all"]
STATES: Final[tuple[str, ...]] = get_args(ListedState)


class ReportedLine(msgspec.Struct, frozen=True):
    """A line of the reported player in a channel; `at` is in unix seconds."""

    at: int
    channel: str
    text: str


class ReportPerson(msgspec.Struct, frozen=True):
    """A player or a member of staff in a report. Id 0 is the operator."""

    id: int
    name: str


class Report(msgspec.Struct, frozen=True):
    """A report as the API, the command line and events show it; times are in unix seconds.

    `lines` are the target's latest public lines before the report, oldest first. `closed_by` and `verdict` are null
    while the report is open.
    """

    id: int
    at: int
    reporter: ReportPerson
    target: ReportPerson
    kind: str
    text: str
    lines: list[ReportedLine]
    state: State
    closed_by: ReportPerson | None
    closed_at: int | None
    verdict: str | None


_lines_of: Final = msgspec.json.Decoder(list[ReportedLine]).decode


def _report(
    report_id: int,
    at_ms: int,
    by: tuple[int, str],
    target: tuple[int, str],
    said: tuple[str, str, str],
    closed: tuple[int | None, int | None, str | None, str],
) -> Report:
    kind, text, lines = said
    closed_at_ms, closed_by, closer, verdict = closed
    is_open = closed_at_ms is None
    return Report(
        report_id,
        at_ms // 1000,
        ReportPerson(*by),
        ReportPerson(*target),
        kind,
        text,
        _lines_of(lines),
        "open" if is_open else "closed",
        None if is_open else ReportPerson(closed_by or 0, closer or OPERATOR_NAME),
        None if closed_at_ms is None else closed_at_ms // 1000,
        None if is_open else verdict,
    )


_FIELDS: Final = ("at_ms", "by_id", "target_id", "kind", "text", "lines")
_ADD = Query(insert(reports).values({name: bindparam(name) for name in _FIELDS}).returning(reports.c.id), scalar)
_LATEST_LINES = Query(
    select(chat_lines.c.at_ms, chat_lines.c.channel, chat_lines.c.text)
    .select_from(chat_lines.join(channels, channels.c.name == chat_lines.c.channel))
    .where(
        chat_lines.c.user_id == bindparam("user_id"),
        # Channels that every player may read. Those of staff, matches, spectators and clans are not public.
        (channels.c.read_priv == literal_column("0"))
        | (channels.c.read_priv.op("&")(literal_column(str(UNRESTRICTED | VERIFIED))) != literal_column("0")),
    )
    .order_by(chat_lines.c.id.desc())
    .limit(LINES_STORED),
    lambda at_ms, channel, text: ReportedLine(at_ms // 1000, channel, text[:LINE_MAX]),
)
_by, _target, _closer = users.alias("by"), users.alias("target"), users.alias("closer")
_reports = (
    select(
        reports.c.id,
        reports.c.at_ms,
        reports.c.by_id,
        _by.c.name,
        reports.c.target_id,
        _target.c.name,
        reports.c.kind,
        reports.c.text,
        reports.c.lines,
        reports.c.closed_at_ms,
        reports.c.closed_by,
        _closer.c.name,
        reports.c.verdict,
    )
    .select_from(
        reports.join(_by, _by.c.id == reports.c.by_id)
        .join(_target, _target.c.id == reports.c.target_id)
        .outerjoin(_closer, _closer.c.id == reports.c.closed_by)
    )
    .limit(bindparam("size"))
)


def _from_row(*row: Any) -> Report:
    return _report(row[0], row[1], row[2:4], row[4:6], row[6:9], row[9:13])


_CONDITIONS: Final[Mapping[str, Any]] = {
    "open": reports.c.closed_at_ms.is_(None),
    "closed": reports.c.closed_at_ms.is_not(None),
    "all": reports.c.id > 0,
}
_SCANS: Final = "it reads the newest rows, and rows are deleted after a year"


def _page_of(state: str, *, about: bool) -> Query[Report]:
    # Open reports oldest first, because the staff works on them in that order; the others newest first.
    order = reports.c.id if state == "open" else reports.c.id.desc()
    statement = _reports.where(_CONDITIONS[state]).order_by(order).offset(bindparam("offset"))
    if about:
        return Query(statement.where(reports.c.target_id == bindparam("target_id")), _from_row)
    return Query(statement, _from_row, scans=None if state == "open" else _SCANS)


def _count_of(state: str, *, about: bool) -> Query[int]:
    # Counting stops, so that the price of a page does not grow with the queue.
    some = select(reports.c.id).where(_CONDITIONS[state]).limit(COUNTED_MAX)
    if about:
        some = some.where(reports.c.target_id == bindparam("target_id"))
    scans = None if about or state == "open" else f"it stops at {COUNTED_MAX} rows that fit"
    return Query(select(func.count()).select_from(some.subquery()), scalar, scans=scans)


_PAGES: Final = {(state, about): _page_of(state, about=about) for state in STATES for about in (False, True)}
_COUNTS: Final = {(state, about): _count_of(state, about=about) for state in STATES for about in (False, True)}
_SENT_BY = Query(_reports.where(reports.c.by_id == bindparam("by_id")).order_by(reports.c.id.desc()), _from_row)
_ONE = Query(_reports.where(reports.c.id == bindparam("report_id")), _from_row)
_OPEN_OF = Query(
    select(reports.c.id)
    .where(
        reports.c.by_id == bindparam("by_id"),
        reports.c.target_id == bindparam("target_id"),
        reports.c.closed_at_ms.is_(None),
    )
    .limit(1),
    scalar,
)
_CLOSE = Command(
    update(reports)
    .where(reports.c.id == bindparam("report_id"), reports.c.closed_at_ms.is_(None))
    .values(closed_at_ms=bindparam("at_ms"), closed_by=bindparam("by"), verdict=bindparam("words"))
)
# Ids grow with time, so the primary key finds the oldest rows and the time needs no index.
_oldest = select(reports.c.id).order_by(reports.c.id).limit(DELETED_AT_ONCE)
_DELETE_OLD = Command(
    delete(reports).where(reports.c.id.in_(_oldest), reports.c.at_ms < bindparam("before_ms")),
    scans="it reads only the rows with the lowest ids",
)


class Reports:
    """Stores reports, lists them for the staff and closes them. `limited` turns the rate limit on."""

    def __init__(
        self,
        database: Database,
        authority: Authority,
        journal: Journal,
        realtime: Realtime,
        clock: Clock,
        *,
        limited: bool,
    ) -> None:
        self._database = database
        self._authority = authority
        self._journal = journal
        self._realtime = realtime
        self._clock = clock
        self._limited = limited

    async def send(self, by_id: int, target: User, kind: str, text: str, *, source: str = "game") -> int:
        """Store a report and return its id.

        Raises Invalid for a kind or text that is too long, and for the kind Other without a text. Raises NotATarget for
        a report about the sender or the bot, and TooOften beyond the rate limit. Raises Conflict while an earlier
        report about the same player is open.
        """
        kind, text = kind.strip(), text.strip()
        if not 0 < len(kind) <= KIND_MAX:
            raise Invalid("kind", f"1 to {KIND_MAX} characters", kind)
        if len(text) > TEXT_MAX or (not text and kind.lower() == OTHER.lower()):
            raise Invalid("text", f"what happened, in 1 to {TEXT_MAX} characters", text)
        if target.id == BOT_ID:
            raise NotATarget("you can't do that to the bot")
        if target.id == by_id:
            raise NotATarget("you can't do that to yourself")
        # Before the limit: a second report about the same player does not count.
        if await self._database.one(_OPEN_OF, by_id=by_id, target_id=target.id) is not None:
            raise Conflict("report")
        if self._limited:
            limit = await self._realtime.consume(f"report:{by_id}", limit=REPORTS_PER_HOUR, period_s=HOUR_S)
            if not limit.granted:
                raise TooOften(f"you can send {REPORTS_PER_HOUR} reports per hour", limit.reset_s)
        # Chat lines are written in batches. A report is usually about a line that is still in the queue.
        await self._journal.flush()
        oldest_first = (await self._database.all(_LATEST_LINES, user_id=target.id))[::-1]
        lines = msgspec.json.encode(oldest_first).decode()
        now = self._clock.now_ms()
        event = {
            "at": now // 1000,
            "reporter": by_id,
            "target": target.id,
            "kind": kind,
            "text": text,
            "lines": oldest_first,
            "state": "open",
            "closed_by": None,
            "verdict": "",
        }

        async def body(tx: Transaction) -> int:
            report_id = await tx.one(
                _ADD, at_ms=now, by_id=by_id, target_id=target.id, kind=kind, text=text, lines=lines
            )
            assert report_id is not None
            await enqueue(tx, OUTBOX_KIND, report_id, now)
            await webhooks.enqueue(tx, "report", event | {"id": report_id}, now)
            await audit.write(
                tx,
                Actor(by_id, source),
                "report",
                at_ms=now,
                target_kind="user",
                target_id=target.id,
                reason=text,
                details={"report": report_id, "kind": kind},
            )
            return int(report_id)

        try:
            return await self._database.transaction(body)
        except UniqueViolation as violation:  # the unique index on open reports decides between concurrent ones
            raise Conflict("report") from violation

    async def listed(
        self, actor: Actor, state: ListedState = "open", *, about: int | None = None, page: int = 1, size: int = PAGE
    ) -> tuple[Sequence[Report], int]:
        """Return a page of reports and their number, counted up to 1,000. Pages start at 1 and have at most 100.

        Open reports come oldest first, the others newest first. `about` is the id of the reported player.
        Raises NotAllowed.
        """
        await self._authority.require(actor, PERMISSION)
        key = (state, about is not None)
        target: dict[str, int] = {} if about is None else {"target_id": about}
        size = min(size, PAGE_MAX)
        rows = await self._database.all(_PAGES[key], offset=(page - 1) * size, size=size, **target)
        return rows, await self._database.one(_COUNTS[key], **target) or 0

    async def sent_by(self, actor: Actor, user_id: int, *, size: int = PAGE) -> Sequence[Report]:
        """Return the newest reports that a player has sent, open and closed ones, at most 100. Raises NotAllowed."""
        await self._authority.require(actor, PERMISSION)
        return await self._database.all(_SENT_BY, by_id=user_id, size=min(size, PAGE_MAX))

    async def report(self, report_id: int) -> Report:
        """Return a report, for staff. Raises NotFound."""
        report = await self._database.one(_ONE, report_id=report_id, size=1)
        if report is None:
            raise NotFound("report")
        return report

    async def close(self, actor: Actor, report_id: int, verdict: str) -> Report:
        """Close an open report and return it.

        Raises NotAllowed, Invalid without a verdict, NotFound, and WrongState for a closed report.
        """
        await self._authority.require(actor, PERMISSION)
        verdict = verdict.strip()
        if not 0 < len(verdict) <= TEXT_MAX:
            raise Invalid("text", f"the outcome, in 1 to {TEXT_MAX} characters", verdict)
        if not 0 < report_id <= ID_MAX:  # PostgreSQL raises an error for a larger number
            raise NotFound("report")
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            report = await tx.one(_ONE, report_id=report_id, size=1)
            if report is None:
                raise NotFound("report")
            # The condition of the statement decides between two at once.
            if not await tx.run(_CLOSE, report_id=report_id, at_ms=now, by=actor.user_id, words=verdict):
                raise WrongState("the report is already closed")
            await audit.write(
                tx,
                actor,
                "report_close",
                at_ms=now,
                target_kind="user",
                target_id=report.target.id,
                reason=verdict,
                details={"report": report_id, "before": "open", "after": "closed"},
            )

        await self._authority.transaction(Requirement(actor, PERMISSION), body)
        return await self.report(report_id)

    async def delete_older(self, days: int = RETENTION_DAYS) -> int:
        """Delete reports that are older than `days` and return their number. A job calls this."""
        before = self._clock.now_ms() - days * DAY_MS
        return await delete_in_batches(self._database, _DELETE_OLD, DELETED_AT_ONCE, before_ms=before)


def report_id_of(text: str) -> int:
    """Return the id in a text, or 0, which is not the id of a report."""
    return whole_number(text, ID_MAX) or 0

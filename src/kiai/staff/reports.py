"""Reports of players about players: kept for the staff, with what the reported player said last in public.

Owns the table `reports`. A player may send a few an hour and have one open about each other player; reports are
forgotten after a year, open or closed.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, func, insert, select, update

from kiai.accounts import BOT_ID, User
from kiai.chat.journal import Journal
from kiai.chat.model import is_instance
from kiai.clock import Clock
from kiai.errors import Conflict, Invalid, NotFound, Refused
from kiai.osu.numbers import whole_number
from kiai.realtime.port import Realtime
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.storage.port import Command, Database, Query, Taken, Transaction, only
from kiai.storage.tables import chat_lines, reports, users

AN_HOUR: Final = 5
HOUR_S: Final = 3_600.0
OTHER: Final = "Other"
KIND_MAX: Final = 32
TEXT_MAX: Final = 500
LINES_KEPT: Final = 20
LINES_READ: Final = 200
"""Of the target's latest lines, among which those of ordinary channels are looked for."""
LINE_MAX: Final = 500
PAGE: Final = 5
KEPT_DAYS: Final = 365
DAY_MS: Final = 86_400_000
FORGOTTEN_AT_ONCE: Final = 1_000
ID_MAX: Final = 2**63 - 1


class SaidLine(msgspec.Struct, frozen=True):
    """A line that the reported player said in a channel; `at` in unix s."""

    at: int
    channel: str
    text: str


class Report(msgspec.Struct, frozen=True):
    """An open report as the queue shows it; `lines` is JSON, a list of `SaidLine`."""

    id: int
    at_ms: int
    by: str
    target: str
    kind: str
    text: str
    lines: str


_FIELDS: Final = ("at_ms", "by_id", "target_id", "kind", "text", "lines")
_ADD = Query(insert(reports).values({name: bindparam(name) for name in _FIELDS}).returning(reports.c.id), only)
_SAID = Query(
    select(chat_lines.c.at_ms, chat_lines.c.channel, chat_lines.c.text)
    .where(chat_lines.c.user_id == bindparam("user_id"))
    .order_by(chat_lines.c.id.desc())
    .limit(LINES_READ),
    lambda at_ms, channel, text: SaidLine(at_ms // 1000, channel, text[:LINE_MAX]),
)
_by, _target = users.alias("by"), users.alias("target")
_OPEN = Query(
    select(
        reports.c.id,
        reports.c.at_ms,
        _by.c.name,
        _target.c.name,
        reports.c.kind,
        reports.c.text,
        reports.c.lines,
    )
    .select_from(reports.join(_by, _by.c.id == reports.c.by_id).join(_target, _target.c.id == reports.c.target_id))
    .where(reports.c.closed_at_ms.is_(None))
    .order_by(reports.c.id)
    .limit(PAGE)
    .offset(bindparam("offset")),
    Report,
)
_some_open = select(reports.c.id).where(reports.c.closed_at_ms.is_(None)).limit(1_000).subquery()
_OPEN_COUNT = Query(select(func.count()).select_from(_some_open), only)
_TARGET = Query(select(reports.c.target_id).where(reports.c.id == bindparam("id")), only)
_CLOSE = Command(
    update(reports)
    .where(reports.c.id == bindparam("report_id"), reports.c.closed_at_ms.is_(None))
    .values(closed_at_ms=bindparam("at_ms"), closed_by=bindparam("by"), verdict=bindparam("words"))
)
# Ids grow with time: the oldest rows are found without an index on the time.
_oldest = select(reports.c.id).order_by(reports.c.id).limit(FORGOTTEN_AT_ONCE)
_FORGET = Command(
    delete(reports).where(reports.c.id.in_(_oldest), reports.c.at_ms < bindparam("before_ms")),
    scans="it reads the first ids alone",
)


class Reports:
    """Taking reports, and what the staff does with them."""

    def __init__(
        self, database: Database, journal: Journal, realtime: Realtime, clock: Clock, *, limited: bool
    ) -> None:
        self._database = database
        self._journal = journal
        self._realtime = realtime
        self._clock = clock
        self._limited = limited

    async def send(self, by_id: int, target: User, kind: str, text: str) -> int:
        """Keeps a report; its id.

        Raises Invalid for a kind or text that is too long, or a report of kind Other without a text; Refused for
        oneself, the bot, or one too many in an hour; Conflict while an earlier report about the same player is open.
        """
        kind, text = kind.strip(), text.strip()
        if target.id == by_id:
            raise Refused("nobody reports themselves")
        if target.id == BOT_ID:
            raise Refused("the bot cannot be reported")
        if not 0 < len(kind) <= KIND_MAX:
            raise Invalid("kind", f"1 to {KIND_MAX} characters", kind)
        if len(text) > TEXT_MAX or (not text and kind.lower() == OTHER.lower()):
            raise Invalid("text", f"what happened, in 1 to {TEXT_MAX} characters", text)
        if self._limited:
            taken = await self._realtime.take(f"report:{by_id}", limit=AN_HOUR, period_s=HOUR_S)
            if not taken.granted:
                raise Refused(f"you may send {AN_HOUR} reports an hour")
        await self._journal.flush()  # what was just said is what is reported
        said = [one for one in await self._database.all(_SAID, user_id=target.id) if not is_instance(one.channel)]
        lines = msgspec.json.encode(said[LINES_KEPT - 1 :: -1] if len(said) >= LINES_KEPT else said[::-1]).decode()
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            report_id = await tx.one(
                _ADD, at_ms=now, by_id=by_id, target_id=target.id, kind=kind, text=text, lines=lines
            )
            assert report_id is not None
            await audit.write(
                tx,
                Actor(by_id, "game"),
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
        except Taken as taken:
            raise Conflict("report") from taken

    async def open(self, page: int) -> tuple[Sequence[Report], int]:
        """A page of open reports from 1 on, the oldest first, and how many there are, counted up to 1,000."""
        found = await self._database.all(_OPEN, offset=(page - 1) * PAGE)
        return found, await self._database.one(_OPEN_COUNT) or 0

    async def close(self, actor: Actor, report_id: int, verdict: str) -> None:
        """Takes a report out of the queue. Raises Invalid without a verdict, NotFound("report") for none that is open.

        Whether the actor may do so is the caller's rule.
        """
        if not 0 < len(verdict) <= TEXT_MAX:
            raise Invalid("verdict", f"1 to {TEXT_MAX} characters", verdict)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            target_id = await tx.one(_TARGET, id=report_id)
            closed = await tx.run(_CLOSE, report_id=report_id, at_ms=now, by=actor.user_id, words=verdict)
            if target_id is None or not closed:
                raise NotFound("report")
            await audit.write(
                tx,
                actor,
                "report_close",
                at_ms=now,
                target_kind="user",
                target_id=target_id,
                reason=verdict,
                details={"report": report_id},
            )

        if not 0 < report_id <= ID_MAX:
            raise NotFound("report")
        await self._database.transaction(body)

    async def forget_older(self, days: int = KEPT_DAYS) -> int:
        """Deletes reports that were sent longer ago; how many. A job's work."""
        before = self._clock.now_ms() - days * DAY_MS
        forgotten = 0
        while True:

            async def body(tx: Transaction) -> int:
                return await tx.run(_FORGET, before_ms=before)

            gone = await self._database.transaction(body)
            forgotten += gone
            if gone < FORGOTTEN_AT_ONCE:
                return forgotten


def report_id_of(text: str) -> int:
    """The id that a text writes; 0, which no report has, for anything else."""
    return whole_number(text, ID_MAX) or 0

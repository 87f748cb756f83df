"""Statements that took longer than a limit: lines in the log with their plans, and the slowest of the last minutes.

The adapters add each slow run, in whichever thread it ran. A job writes the lines, so the plan is read apart from
requests and transactions. Plans are read without the statements of this port, so a plan is never slow itself. Values
of parameters are never recorded.
"""

import sys
import textwrap
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from kiai.logs import get_logger
from kiai.storage.port import Command, Query

SlowLane = Literal["loop", "bounded", "slow", "job", "write"]
"""Where a statement ran: the lane of a read, `write` in a transaction, `job` also in a long transaction."""

REPORT_EVERY_S: Final = 1.0
LINE_EVERY_S: Final = 60.0
"""The shortest time between two lines about one statement, in seconds."""
LINES_AT_ONCE: Final = 10  # each needs a plan, and the job should end soon
UNREPORTED_MAX: Final = 1_000
STATEMENTS_MAX: Final = 200
SHOWN_MAX: Final = 20
SHOWN_MINUTES: Final = 5
MINUTE_S: Final = 60.0
WIDTH: Final = 180  # characters; a line of the log cuts each text of a list at 200
ROWS_MAX: Final = 40  # of a statement or a plan; a line of the log cuts lists at 50
OTHERS: Final = "other"
"""The name under which statements beyond `STATEMENTS_MAX` are counted."""


class SlowRun(NamedTuple):
    """One slow run. `took_s` excludes `waited_s`, the wait for the connection, which a whole transaction shares."""

    statement: Query[Any] | Command
    text: str
    lane: SlowLane
    took_s: float
    waited_s: float


class _Record:
    """A statement: its runs since its last line, and its slowest run of each recent minute."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.runs = 0
        self.slowest: SlowRun | None = None
        self.line_at = float("-inf")
        self.minutes: deque[tuple[int, float]] = deque(maxlen=SHOWN_MINUTES)

    def add(self, run: SlowRun, minute: int) -> None:
        """Add a run that ended in this minute."""
        self.runs += 1
        if self.slowest is None or run.took_s > self.slowest.took_s:
            self.slowest = run
        if self.minutes and self.minutes[-1][0] == minute:
            self.minutes[-1] = (minute, max(self.minutes[-1][1], run.took_s))
        else:
            self.minutes.append((minute, run.took_s))


class SlowStatements:
    """The slow statements of one process. A limit of 0 ms records none. `now` is a monotonic clock in seconds."""

    def __init__(self, limit_ms: int = 0, now: Callable[[], float] = time.monotonic) -> None:
        self.limit_s: float = limit_ms / 1000 if limit_ms else float("inf")
        self.counts: dict[str, int] = {}
        """The number of slow runs since the start, by name of the statement."""
        self._now = now
        self._unreported: deque[SlowRun] = deque(maxlen=UNREPORTED_MAX)
        self._records: dict[str, _Record] = {}

    @property
    def is_on(self) -> bool:
        """Whether slow statements are recorded."""
        return self.limit_s != float("inf")

    def add(
        self, statement: Query[Any] | Command, text: str, lane: SlowLane, took_s: float, waited_s: float = 0.0
    ) -> None:
        """Add a run that took longer than `limit_s`. May be called in any thread."""
        self._unreported.append(SlowRun(statement, text, lane, took_s, waited_s))

    def slowest(self) -> dict[str, float]:
        """Return the slowest run of the last minutes by name of the statement, in seconds, the slowest first."""
        oldest = int(self._now() // MINUTE_S) - SHOWN_MINUTES
        found: dict[str, float] = {}
        for record in self._records.values():
            took_s = max((took_s for minute, took_s in record.minutes if minute > oldest), default=0.0)
            if took_s > found.get(record.name, 0.0):
                found[record.name] = took_s
        return dict(sorted(found.items(), key=lambda one: -one[1])[:SHOWN_MAX])

    async def report(self, explain: Callable[[str], Awaitable[list[str]]]) -> None:
        """Write the lines that are due. A job calls this. `explain` returns the plan of a statement."""
        while self._unreported:
            self._record(self._unreported.popleft())
        now = self._now()
        due = [one for one in self._records.values() if one.runs and now - one.line_at >= LINE_EVERY_S]
        for record in due[:LINES_AT_ONCE]:
            run, runs = record.slowest, record.runs
            assert run is not None
            record.runs, record.slowest, record.line_at = 0, None, now
            plan: dict[str, object] = {}
            try:
                plan["plan"] = await explain(run.text)
            except Exception as error:  # the line is worth more than its plan
                plan["no_plan"] = f"{type(error).__name__}: {error}"
            log = get_logger("database")
            # Statements of jobs read whole tables on purpose.
            (log.info if run.lane == "job" else log.warning)(
                "slow statement",
                statement=record.name,
                lane=run.lane,
                times=runs,
                ms=round(run.took_s * 1000, 1),
                waited_ms=round(run.waited_s * 1000, 1),
                sql=shown(run.text),
                **plan,
            )

    def _record(self, run: SlowRun) -> None:
        record = self._records.get(run.text)
        if record is None:
            if len(self._records) >= STATEMENTS_MAX:
                self._forget_one()
            record = self._records[run.text] = _Record(name_of(run.statement))
        record.add(run, int(self._now() // MINUTE_S))
        name = record.name if record.name in self.counts or len(self.counts) < STATEMENTS_MAX else OTHERS
        self.counts[name] = self.counts.get(name, 0) + 1

    def _forget_one(self) -> None:
        """Forget the statement whose last line is the oldest."""
        del self._records[min(self._records, key=lambda text: self._records[text].line_at)]


def shown(text: str) -> list[str]:
    """Return a statement or a row of a plan as rows that fit into a line of the log."""
    return textwrap.wrap(" ".join(text.split()), WIDTH)[:ROWS_MAX]


def shown_plan(rows: list[str]) -> list[str]:
    """Return the rows of a plan, cut to what fits into a line of the log. Indentation stays."""
    return [row.rstrip()[:WIDTH] for row in rows[:ROWS_MAX]]


def name_of(statement: Query[Any] | Command) -> str:
    """Return the module and variable of a statement, or its module and line when a function builds it."""
    module = sys.modules.get(statement.module)
    for name, value in list(vars(module).items()) if module is not None else ():
        for path, one in _statements_in(value, name):
            if one.statement is statement.statement:
                return f"{statement.module}.{path}"
    return f"{statement.module}:{statement.line}"


def _statements_in(value: object, path: str) -> Iterator[tuple[str, Query[Any] | Command]]:
    if isinstance(value, Query | Command):
        yield path, value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _statements_in(one, f"{path}[{key}]")
    elif isinstance(value, tuple | list):
        for at, one in enumerate(value):
            yield from _statements_in(one, f"{path}[{at}]")
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from _statements_in(getattr(value, field), f"{path}.{field}")

"""Pages of the audit log: filters by time find their rows by halving the log, and exports are read page by page."""

import pytest
from tests.builders import World, a_player

from kiai.errors import NotAllowed
from kiai.osu.privileges import ADMINISTRATOR, MODERATOR
from kiai.staff import OPERATOR, Actor, audit
from kiai.staff.audit_csv import COLUMNS, csv_head, csv_lines
from kiai.staff.audit_reading import CLOCKS_MS, AuditEntry, AuditFilter, AuditReading
from kiai.storage.port import Transaction

HOUR_MS = 3_600_000
ROWS = 40


class Log:
    """A log with a row an hour by two members of staff in turn, and its reader."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.moder = world.add_player(a_player("moder", priv=3 | MODERATOR))
        self.admin = world.add_player(a_player("admin", priv=3 | ADMINISTRATOR))
        self.alice = world.add_player(a_player("alice"))
        self.reading = AuditReading(world.database, world.authority)
        self.first = world.run(self.reading.newest_id()) + 1
        self.write(*((number * HOUR_MS, self.moder if number % 2 else self.admin) for number in range(ROWS)))

    def write(self, *acts: tuple[int, int], reason: str = "") -> None:
        """Write a row for each time and actor."""

        async def body(tx: Transaction) -> None:
            for at_ms, actor_id in acts:
                actor, target = Actor(actor_id, "web"), self.alice
                await audit.write(tx, actor, "kick", at_ms=at_ms, target_kind="user", target_id=target, reason=reason)

        self.world.run(self.world.database.transaction(body))

    def rows(self, wanted: AuditFilter, *, actor: Actor = OPERATOR, before: int | None = None) -> list[AuditEntry]:
        return self.world.run(self.reading.rows(actor, wanted, limit=100, before=before))

    def hours(self, wanted: AuditFilter, *, actor: Actor = OPERATOR) -> list[int]:
        return [row.at_ms // HOUR_MS for row in self.rows(wanted, actor=actor) if row.id >= self.first]


@pytest.fixture
def log(world: World) -> Log:
    return Log(world)


@pytest.mark.parametrize(
    ("since_h", "until_h", "expected"),
    [
        (0, None, list(range(ROWS))),
        (30, None, list(range(30, ROWS))),
        (None, 3, list(range(4))),
        (10, 12, [10, 11, 12]),
        (ROWS, None, []),
        (12, 10, []),
    ],
)
def test_time_bounds_the_rows(log: Log, since_h: int | None, until_h: int | None, expected: list[int]) -> None:
    wanted = AuditFilter(action="kick")
    if since_h is not None:
        wanted = AuditFilter(action="kick", since_ms=since_h * HOUR_MS)
    if until_h is not None:
        wanted = AuditFilter(action="kick", since_ms=wanted.since_ms, until_ms=until_h * HOUR_MS)

    assert log.hours(wanted) == expected[::-1]
    [_, total] = log.world.run(log.reading.page(OPERATOR, wanted, limit=1))
    assert total == len(expected)


def test_row_of_a_slow_clock_is_found_by_its_time(log: Log) -> None:
    log.write((ROWS * HOUR_MS, log.admin), (ROWS * HOUR_MS - CLOCKS_MS, log.admin))

    found = log.rows(AuditFilter(action="kick", until_ms=ROWS * HOUR_MS - 1))

    assert found[0].at_ms == ROWS * HOUR_MS - CLOCKS_MS


def test_other_staff_reads_only_its_own_acts(log: Log) -> None:
    moder = Actor(log.moder, "web")

    assert log.hours(AuditFilter(target_id=log.alice), actor=moder) == list(range(ROWS - 1, 0, -2))
    assert log.hours(AuditFilter(actor_id=log.moder), actor=moder) == list(range(ROWS - 1, 0, -2))
    with pytest.raises(NotAllowed):
        log.rows(AuditFilter(actor_id=log.admin), actor=moder)
    with pytest.raises(NotAllowed):
        log.rows(AuditFilter(), actor=Actor(log.alice, "web"))


def test_cursor_continues_below_the_last_row(log: Log) -> None:
    newest = log.rows(AuditFilter(action="kick"))

    rest = log.rows(AuditFilter(action="kick", until_ms=30 * HOUR_MS), before=newest[20].id)

    assert [row.id for row in rest] == [row.id for row in newest[21:]]


def test_csv_quotes_and_does_not_start_a_formula(log: Log) -> None:
    log.write((ROWS * HOUR_MS, log.admin), reason='=1+1, "x"')

    text = csv_head() + csv_lines(log.rows(AuditFilter())[:1])

    head, line = text.split("\r\n")[:2]
    assert head == ",".join(COLUMNS)
    assert ',"\'=1+1, ""x""",' in line
    assert text.endswith("\r\n")

"""The server's own figures: a row a minute, several workers and servers, gaps, and the rows of 90 days."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from time import process_time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select
from tests.builders import Run, World
from tests.patience import patiently

from kiai.errors import Unavailable
from kiai.measuring import Reading, quantile
from kiai.samples import (
    DAY_MINUTES,
    DAYS,
    KEPT_MINUTES,
    MINUTE_MS,
    POINTS,
    POINTS_MAX,
    SETTLED_MS,
    STEPS,
    THINNED_MINUTES,
    WAITING_MAX,
    Sample,
    Sampler,
    Samples,
    finest_step,
)
from kiai.storage.port import Command, Database, Transaction
from kiai.storage.tables import samples as table

BOUNDS_MS = (10.0, 100.0)
FIRST = 28_333_440
"""The first minute of a day."""
CPU_S = 0.005


@pytest.fixture
def world(database: Database, run: Run, tmp_path: Path) -> World:
    """All domain services, with each engine."""
    world = World(database, run, tmp_path)
    world.clock.set_now_ms(FIRST * MINUTE_MS)
    return world


@pytest.fixture
def samples(world: World) -> Samples:
    return Samples(world.database, world.clock)


class Server:
    """The counters of a server, which its workers share."""

    def __init__(self, world: World, name: str = "one:8080") -> None:
        self._world = world
        self.name = name
        self.reading = Reading(0, 0, 0, (0.0, 0.0, 0.0), None, None)

    def worker(self, samples: Samples | None = None) -> Sampler:
        """Return a worker that has read the counters."""
        world = self._world
        samples = samples or Samples(world.database, world.clock)
        worker = Sampler(samples, self.name, lambda: self.reading, BOUNDS_MS, world.clock)
        world.run(worker.run())
        return worker

    def answer(self, requests: int, *, errors: int = 0, submissions: int = 0, slow: int = 0) -> None:
        """Answer requests in up to 10 ms, and `slow` of them in up to 100 ms."""
        before = self.reading
        fast, middle, slower = before.durations
        self.reading = msgspec.structs.replace(
            before,
            requests=before.requests + requests,
            errors=before.errors + errors,
            submissions=before.submissions + submissions,
            durations=(fast + requests - slow, middle + slow, slower),
        )


def a_sample(minute: int, **values: float | None) -> Sample:
    """Return a sample of a whole minute."""
    zeros = {"seconds": 60, "requests": 0, "errors": 0, "submissions": 0}
    unknown = {"p99_ms": None, "lag_ms": None, "online": None}
    return msgspec.convert({"minute": minute, **zeros, **unknown, **values}, Sample)


def add(world: World, added: Iterable[Sample], server: str = "one:8080") -> None:
    samples = Samples(world.database, world.clock)
    for sample in added:
        world.run(samples.add(server, sample))


def set_minute(world: World, minute: int) -> None:
    """Set the clock to a minute whose predecessor is complete."""
    world.clock.set_now_ms(minute * MINUTE_MS + SETTLED_MS)


def see(world: World, samples: Samples, *, until: int, minutes: int = 15, step: int | None = 1) -> list[Sample]:
    """Return the samples before a minute."""
    set_minute(world, until)
    return world.run(samples.last(minutes, step)).samples


def rows(world: World) -> int:
    return len(world.look(select(table.c.minute)))


# --- writing


def test_row_of_a_minute_has_the_figures_of_that_minute(world: World, samples: Samples) -> None:
    server = Server(world)
    server.answer(1_000, errors=1_000)
    worker = server.worker()

    server.answer(120, errors=3, submissions=7, slow=60)
    server.reading = msgspec.structs.replace(server.reading, lag_ms=12.5, online=42)
    world.clock.advance(60)
    world.run(worker.run())

    found = see(world, samples, until=FIRST + 1)[-1]
    assert (found.minute, found.seconds, found.requests, found.errors, found.submissions) == (FIRST, 60, 120, 3, 7)
    assert (found.requests_per_s, found.lag_ms, found.online) == (2, 12.5, 42)
    assert found.p99_ms == pytest.approx(10 + 90 * (0.99 * 120 - 60) / 60)


def test_nothing_is_written_before_the_minute_ends(world: World) -> None:
    worker = Server(world).worker()

    for _ in range(59):
        world.clock.advance(1)
        world.run(worker.run())

    assert rows(world) == 0


def test_minute_without_requests_is_no_gap_and_has_no_p99(world: World, samples: Samples) -> None:
    worker = Server(world).worker()
    world.clock.advance(60)
    world.run(worker.run())

    found = see(world, samples, until=FIRST + 1)[-1]

    assert (found.is_gap, found.requests_per_s, found.p99_ms) == (False, 0, None)


def test_two_workers_that_write_the_same_minute_leave_one_row(world: World, samples: Samples) -> None:
    server = Server(world)
    one, other = server.worker(), server.worker()
    for _ in range(3):
        server.answer(60)
        world.clock.advance(60)
        world.run(one.run())
        server.answer(1)  # between the readings of the two
        world.run(other.run())

    found = see(world, samples, until=FIRST + 3)

    assert rows(world) == 3
    assert [sample.requests for sample in found[-3:]] == [60, 61, 61]
    assert sum(sample.requests for sample in found) == server.reading.requests - 1


def test_worker_that_began_later_does_not_replace_a_row_that_covers_more(world: World, samples: Samples) -> None:
    server = Server(world)
    old = server.worker()
    server.answer(30)
    world.clock.advance(40)
    young = server.worker()
    server.answer(10)
    world.clock.advance(20)

    for order in ((old, young), (young, old)):
        for worker in order:
            world.run(worker.run())
        found = see(world, samples, until=FIRST + 1)[-1]
        assert (found.requests, found.seconds) == (40, 60)


def test_row_that_covers_more_replaces_the_one_of_a_younger_worker(world: World, samples: Samples) -> None:
    add(world, [a_sample(FIRST, seconds=20, requests=10), a_sample(FIRST, seconds=60, requests=40)])

    [found] = [sample for sample in see(world, samples, until=FIRST + 1) if not sample.is_gap]

    assert (rows(world), found.requests, found.seconds) == (1, 40, 60)


def test_restart_leaves_no_hole_and_no_counts_from_before(world: World, samples: Samples) -> None:
    before = Server(world)
    stopping = before.worker()
    before.answer(90)
    world.clock.advance(30)
    world.run(stopping.finish())

    after = Server(world)  # its counters begin at 0 again
    started = after.worker()
    after.answer(15)
    world.clock.advance(30)
    world.run(started.run())
    after.answer(120)
    world.clock.advance(60)
    world.run(started.run())

    found = see(world, samples, until=FIRST + 2)
    assert [(sample.requests, sample.seconds) for sample in found[-2:]] == [(90, 30), (120, 60)]
    assert [sample.requests_per_s for sample in found[-2:]] == [3, 2]


def test_counts_of_a_server_that_started_at_the_end_of_a_minute_are_in_the_next_one(
    world: World, samples: Samples
) -> None:
    world.clock.advance(57)
    server = Server(world)
    worker = server.worker()
    server.answer(25)
    world.clock.advance(3)
    world.run(worker.run())
    server.answer(101)
    world.clock.advance(60)
    world.run(worker.run())

    found = see(world, samples, until=FIRST + 2)[-2:]

    assert [(sample.requests, sample.seconds) for sample in found] == [(0, 0), (126, 63)]


def test_minutes_of_a_server_that_is_down_are_gaps_and_not_zeros(world: World, samples: Samples) -> None:
    add(world, [a_sample(FIRST, online=3), a_sample(FIRST + 4, online=5)])

    found = see(world, samples, until=FIRST + 5)[-5:]

    assert [sample.is_gap for sample in found] == [False, True, True, True, False]
    assert [(sample.requests_per_s, sample.online) for sample in found[1:4]] == [(None, None)] * 3


def test_rows_wait_while_the_database_is_away(world: World, samples: Samples) -> None:
    away = AwayNowAndThen(world)
    server = Server(world)
    worker = server.worker(Samples(away, world.clock))  # type: ignore[arg-type]
    away.is_away = True
    for _ in range(3):
        server.answer(60, errors=60)
        world.clock.advance(60)
        with pytest.raises(Unavailable):
            world.run(worker.run())

    away.is_away = False
    world.run(worker.run())

    assert [sample.errors for sample in see(world, samples, until=FIRST + 3)[-3:]] == [60, 60, 60]


def test_only_an_hour_waits_for_the_database(world: World) -> None:
    away = AwayNowAndThen(world)
    worker = Server(world).worker(Samples(away, world.clock))  # type: ignore[arg-type]
    away.is_away = True
    for _ in range(WAITING_MAX + 9):
        world.clock.advance(60)
        with pytest.raises(Unavailable):
            world.run(worker.run())

    away.is_away = False
    world.run(worker.run())

    assert rows(world) == WAITING_MAX


class AwayNowAndThen:
    """A database that can be away."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.is_away = False

    async def transaction(self, body: object) -> object:
        if self.is_away:
            raise Unavailable("database")
        return await self._world.database.transaction(body)  # type: ignore[arg-type]


def test_counters_that_could_not_be_read_are_read_again(world: World, samples: Samples) -> None:
    server = Server(world)
    server.answer(100)
    worker = server.worker()
    server.answer(60)
    complete, server.reading = server.reading, Reading(0, 0, 0, (0.0, 0.0, 0.0), None, None)
    world.clock.advance(60)
    world.run(worker.run())
    assert rows(world) == 0

    server.reading = complete
    world.clock.advance(1)
    world.run(worker.run())

    assert see(world, samples, until=FIRST + 1)[-1].requests == 60


def test_server_that_stood_still_for_minutes_has_one_row_with_the_true_rate(world: World, samples: Samples) -> None:
    server = Server(world)
    worker = server.worker()
    server.answer(360)
    world.clock.advance(180)
    world.run(worker.run())

    found = see(world, samples, until=FIRST + 3)[-3:]

    assert [sample.requests_per_s for sample in found] == [2, None, None]


def test_laptop_that_slept_has_a_gap(world: World, samples: Samples) -> None:
    worker = Server(world).worker()
    world.clock.advance(20)
    world.clock.set_now_ms((FIRST + 500) * MINUTE_MS)
    world.run(worker.run())
    world.clock.advance(60)
    world.run(worker.run())

    found = see(world, samples, until=FIRST + 501, minutes=501)

    assert [sample.seconds for sample in found] == [20, *[0] * 499, 60]


def test_clock_that_is_set_back_writes_no_minute_twice(world: World, samples: Samples) -> None:
    server = Server(world)
    worker = server.worker()
    for minute in (1, 2, 1, 2, 3):
        server.answer(60)
        world.clock.advance(60)
        world.clock.set_now_ms((FIRST + minute) * MINUTE_MS)
        world.run(worker.run())

    assert [sample.requests for sample in see(world, samples, until=FIRST + 3)[-3:]] == [60, 60, 60]


# --- several servers


def test_servers_that_share_a_database_are_one_sample(world: World, samples: Samples) -> None:
    one = {"requests": 60, "errors": 1, "submissions": 2, "p99_ms": 20.0, "lag_ms": 9.0, "online": 50}
    other = {"requests": 30, "errors": 4, "submissions": 8, "p99_ms": 80.0, "lag_ms": 1.0, "online": 51}
    add(world, [a_sample(FIRST, **one)], "one:8080")
    add(world, [a_sample(FIRST, **other)], "other:8080")

    found = see(world, samples, until=FIRST + 1)[-1]

    assert found == a_sample(FIRST, requests=90, errors=5, submissions=10, p99_ms=80.0, lag_ms=9.0, online=51)
    assert found.requests_per_s == 1.5


# --- reading


def test_day_is_240_points_that_end_with_the_last_complete_minute(world: World, samples: Samples) -> None:
    add(world, [a_sample(FIRST + at, requests=60, p99_ms=float(at)) for at in range(DAY_MINUTES - 8, DAY_MINUTES)])

    set_minute(world, FIRST + DAY_MINUTES)
    series = world.run(samples.last())

    assert (series.step, len(series.samples)) == (6, POINTS)
    assert series.samples[0].minute == FIRST
    assert [sample.seconds for sample in series.samples[-3:]] == [0, 2 * 60, 6 * 60]
    assert (series.samples[-1].requests_per_s, series.samples[-1].p99_ms) == (1, DAY_MINUTES - 1)


@given(st.integers(15, DAYS * DAY_MINUTES))
def test_chart_of_any_time_is_bounded(minutes: int) -> None:
    step = finest_step(minutes)

    assert step in STEPS
    assert minutes <= step * POINTS_MAX
    assert minutes <= DAY_MINUTES or step % THINNED_MINUTES == 0


def fill(world: World, minutes: Iterable[int], servers: int = 1) -> None:
    """Write rows of a whole day at once."""
    empty = Command(delete(table))
    added = Command(table.insert())

    async def body(tx: Transaction) -> None:
        await tx.run(empty)
        await tx.run_many(
            added,
            [
                {
                    "minute": minute,
                    "server": f"server{server}:8080",
                    "minutes": 1,
                    "seconds": 60,
                    "requests": 6_000 + minute % 7,
                    "errors": minute % 3,
                    "submissions": minute % 11,
                    "p99_ms": 20.0 + minute % 50,
                    "lag_ms": 1.0 + minute % 9,
                    "online": minute % 500,
                }
                for minute in minutes
                for server in range(servers)
            ],
        )

    world.run(world.database.transaction(body))


def test_day_takes_five_milliseconds(world: World, samples: Samples) -> None:
    fill(world, range(FIRST - 2 * 60, FIRST + DAY_MINUTES), servers=2)
    set_minute(world, FIRST + DAY_MINUTES)
    world.run(samples.last())

    took = []
    for _ in range(9):
        began = process_time()
        series = world.run(samples.last())
        took.append(process_time() - began)

    assert not any(sample.is_gap for sample in series.samples)
    assert min(took) < patiently(CPU_S)


# --- thinning

Row = tuple[int, int, int, int | None]
"""Minute after the first, server, requests, online."""
some_rows = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 1), st.integers(0, 500), st.none() | st.integers(0, 50)),
    unique_by=lambda row: row[:2],
    max_size=25,
)


@pytest.mark.parametrize("step", [15, 60])
def test_combined_rows_say_the_same_as_the_rows_of_minutes(world: World, samples: Samples, step: int) -> None:
    @settings(max_examples=10, deadline=None)
    @given(some_rows)
    def check(stored: list[Row]) -> None:
        fill(world, [])
        for at, server, requests, online in stored:
            add(world, [a_sample(FIRST + at, requests=requests, online=online, p99_ms=requests / 7)], f"{server}:1")

        before = see(world, samples, until=FIRST + DAY_MINUTES, minutes=DAY_MINUTES, step=step)
        expected = model(stored, step)
        assert {sample.minute: sample for sample in before if not sample.is_gap} == expected

        set_minute(world, FIRST + KEPT_MINUTES + 75)
        world.run(samples.thin())
        assert rows(world) == len({at // THINNED_MINUTES for at, *_ in stored})
        after = see(world, samples, until=FIRST + DAY_MINUTES, minutes=DAY_MINUTES, step=step)
        assert after == before

    check()


def model(stored: list[Row], step: int) -> dict[int, Sample]:
    """Return the samples of rows, combined here: counts are added, of the rest the largest value counts."""
    by_span: defaultdict[int, list[Row]] = defaultdict(list)
    for row in stored:
        by_span[FIRST + row[0] - row[0] % step].append(row)
    return {
        minute: a_sample(
            minute,
            seconds=60 * len({at for at, *_ in found}),
            requests=sum(requests for _, _, requests, _ in found),
            p99_ms=max(requests for _, _, requests, _ in found) / 7,
            online=max((online for *_, online in found if online is not None), default=None),
        )
        for minute, found in by_span.items()
    }


def test_rows_of_the_last_day_stay(world: World, samples: Samples) -> None:
    fill(world, range(FIRST, FIRST + KEPT_MINUTES))
    set_minute(world, FIRST + KEPT_MINUTES)
    before = world.run(samples.last(step=1))

    world.run(samples.thin())

    assert rows(world) == KEPT_MINUTES
    assert world.run(samples.last(step=1)) == before


def test_thinning_again_changes_nothing(world: World, samples: Samples) -> None:
    fill(world, range(FIRST, FIRST + 60))
    set_minute(world, FIRST + 3 * DAY_MINUTES)
    world.run(samples.thin())
    before = world.look(select(table))

    world.run(samples.thin())

    assert len(before) == 4
    assert world.look(select(table)) == before


def test_thinning_that_was_interrupted_is_continued(world: World, samples: Samples) -> None:
    fill(world, range(FIRST, FIRST + 90))
    set_minute(world, FIRST + 3 * DAY_MINUTES)
    expected = world.run(samples.last(4 * DAY_MINUTES, 15))
    stopping = StopsAfter(world, transactions=4)
    with pytest.raises(Unavailable):
        world.run(Samples(stopping, world.clock).thin())  # type: ignore[arg-type]
    assert 6 < rows(world) < 90
    assert world.run(samples.last(4 * DAY_MINUTES, 15)) == expected

    world.run(samples.thin())

    assert rows(world) == 6
    assert world.run(samples.last(4 * DAY_MINUTES, 15)) == expected


class StopsAfter:
    """A database that fails after some transactions."""

    def __init__(self, world: World, transactions: int) -> None:
        self._world = world
        self._left = transactions

    async def transaction(self, body: object) -> object:
        self._left -= 1
        if self._left < 0:
            raise Unavailable("database")
        return await self._world.database.transaction(body)  # type: ignore[arg-type]


def test_table_keeps_ninety_days(world: World, samples: Samples) -> None:
    fill(world, range(FIRST, FIRST + (DAYS + 3) * DAY_MINUTES, DAY_MINUTES))
    set_minute(world, FIRST + (DAYS + 2) * DAY_MINUTES)

    world.run(samples.thin())

    assert world.look(select(table.c.minute).order_by(table.c.minute))[0][0] == FIRST + 2 * DAY_MINUTES
    assert rows(world) == DAYS + 1


def test_server_that_was_off_for_a_year_forgets_everything(world: World, samples: Samples) -> None:
    fill(world, range(FIRST, FIRST + 2 * DAY_MINUTES, 5))
    set_minute(world, FIRST + 365 * DAY_MINUTES)

    world.run(samples.thin())

    assert rows(world) == 0


# --- the value that most do not exceed


@given(st.lists(st.floats(0, 1_000), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99]))
def test_quantile_lies_in_the_bucket_of_the_true_one(values: list[float], share: float) -> None:
    bounds = (1.0, 5.0, 25.0, 100.0, 1_000.0)
    counts = [0.0] * (len(bounds) + 1)
    for value in values:
        counts[next(at for at, bound in enumerate(bounds) if value <= bound)] += 1
    ordered = sorted(values)
    true = next(value for at, value in enumerate(ordered, start=1) if at >= share * len(values))

    found = quantile(bounds, counts, share)

    assert found is not None
    upper = next(bound for bound in bounds if true <= bound)
    assert max((bound for bound in bounds if bound < upper), default=0.0) <= found <= upper


def test_quantile_of_nothing_is_none_and_of_values_above_all_bounds_the_last_bound() -> None:
    assert quantile((1.0, 2.0), (0, 0, 0), 0.99) is None
    assert quantile((1.0, 2.0), (0, 0, 5), 0.99) == 2.0

"""The figures of a minute sample, from the metrics of two workers in one memory."""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.builders import Run, World

from kiai import shared_memory
from kiai.faces.metrics import LAG_EVERY_S, Aggregation, Metrics
from kiai.faces.sampling import BOUNDS_MS, read_metrics
from kiai.samples import MINUTE_MS, SETTLED_MS, Sampler, Samples
from kiai.shared_memory import SharedMemory
from kiai.storage.port import Database
from kiai.storage.tables import samples as table

SLOTS = 4
OUTCOMES = {"pass": 5, "fail": 2, "checksum": 9, "unavailable": 1}


@pytest.fixture
def memory() -> Iterator[int]:
    """The memory that the workers of one server share."""
    descriptor = shared_memory.create(SLOTS)
    yield descriptor
    os.close(descriptor)


def a_worker(memory: int, slot: int, outcomes: dict[str, int], online: int | None = 7) -> Metrics:
    metrics = Metrics(SharedMemory(memory, SLOTS, slot))
    metrics.counter("submissions", "Plays.", "result", lambda: outcomes)
    metrics.gauge("players_online", "Players.", lambda: online, Aggregation.MAX)
    return metrics


def test_reading_is_the_sum_of_the_workers(memory: int) -> None:
    one, other = a_worker(memory, 0, OUTCOMES), a_worker(memory, 1, {"pass": 10}, online=None)
    for status in (200, 404, 499, 500, 503):
        one.request("api", "/x", status, 3.0)
        other.request("site", "/y", status, 30.0)
    other.request("api", "/v2/events", 200, 3_600_000.0, timed=False)

    one.publish_once()
    other.publish_once()

    assert read_metrics(one) == read_metrics(other)
    found = read_metrics(one)
    assert (found.requests, found.errors, found.submissions, found.online) == (11, 4, 17, 7)
    assert sum(found.durations) == 10
    assert found.durations[BOUNDS_MS.index(5)] == 5
    assert found.durations[BOUNDS_MS.index(50)] == 5


def test_values_that_are_not_known_are_none(memory: int) -> None:
    found = read_metrics(a_worker(memory, 0, {}, online=None))

    assert (found.lag_ms, found.online) == (None, None)


def test_lag_is_the_largest_of_the_last_minute_of_any_worker(memory: int) -> None:
    one, other = a_worker(memory, 0, {}), a_worker(memory, 1, {})

    async def watch(metrics: Metrics) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * LAG_EVERY_S):
                await metrics.watch_loop()

    asyncio.run(watch(other))
    other.publish_once()

    lag_ms = read_metrics(one).lag_ms
    assert lag_ms is not None
    assert lag_ms >= 0
    assert lag_ms == read_metrics(other).lag_ms


def test_two_workers_of_a_server_write_one_row_of_both(
    memory: int, database: Database, run: Run, tmp_path: Path
) -> None:
    world = World(database, run, tmp_path)
    world.clock.set_now_ms(28_333_440 * MINUTE_MS)
    samples = Samples(database, world.clock)
    workers = [a_worker(memory, slot, {}) for slot in (0, 1)]
    samplers = [
        Sampler(samples, "one:8080", lambda metrics=metrics: read_metrics(metrics), BOUNDS_MS, world.clock)  # type: ignore[misc]
        for metrics in workers
    ]
    for sampler in samplers:
        world.run(sampler.run())

    for metrics in workers:
        for _ in range(30):
            metrics.request("api", "/x", 200, 3.0)
        metrics.publish_once()
    SharedMemory(memory, SLOTS).mark_free(1)  # the second worker was killed; its counts stay
    world.clock.advance(60)
    for sampler in samplers:
        world.run(sampler.run())

    assert len(world.look(select(table.c.minute))) == 1
    world.clock.advance(SETTLED_MS / 1000)
    assert world.run(samples.last(step=1)).samples[-1].requests == 60

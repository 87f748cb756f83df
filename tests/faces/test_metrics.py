"""Metrics of several workers: shared memory, aggregation, and counters that survive a worker."""

import asyncio
import contextlib
import itertools
import os
import re
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from kiai import faces, shared_memory
from kiai.faces.metrics import LOOK_EVERY_S, PUBLISH_EVERY_S, SERIES_MAX, Aggregation, Metrics
from kiai.measuring import PoolUsage, Timings
from kiai.shared_memory import SharedMemory

SLOTS = 4


@pytest.fixture
def memory() -> Iterator[int]:
    """The memory that the workers of one server share."""
    descriptor = shared_memory.create(SLOTS)
    yield descriptor
    os.close(descriptor)


def a_worker(memory: int, slot: int) -> Metrics:
    return Metrics(SharedMemory(memory, SLOTS, slot))


def series_of(metrics: Metrics) -> dict[str, float]:
    """Return the series of the text format with their values."""
    lines = [line for line in metrics.text().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def requests(metrics: Metrics) -> float:
    return series_of(metrics).get('kiai_http_requests_total{face="api",route="/x",status="200"}', 0.0)


def answer(metrics: Metrics, count: int, ms: float = 3.0) -> None:
    for _ in range(count):
        metrics.request("api", "/x", 200, ms)


def test_every_worker_reports_the_sum_of_all_workers(memory: int) -> None:
    one, other = a_worker(memory, 0), a_worker(memory, 1)
    answer(one, 5, ms=0.5)
    answer(other, 7, ms=2_000)

    one.publish_once()
    other.publish_once()

    assert requests(one) == requests(other) == 12
    times = {name: value for name, value in series_of(one).items() if name.startswith("kiai_http_seconds")}
    assert times['kiai_http_seconds_bucket{face="api",le="0.001",route="/x"}'] == 5
    assert times['kiai_http_seconds_bucket{face="api",le="5.0",route="/x"}'] == 12
    assert times['kiai_http_seconds_count{face="api",route="/x"}'] == 12
    assert times['kiai_http_seconds_sum{face="api",route="/x"}'] == pytest.approx(5 * 0.0005 + 7 * 2)


@contextlib.asynccontextmanager
async def publishing(metrics: Metrics) -> AsyncIterator[list[float]]:
    """Run the job that publishes. The list gets the time of each publication."""
    published: list[float] = []
    publish_once = metrics.publish_once

    def publish_and_record() -> None:
        published.append(time.monotonic())
        publish_once()

    metrics.publish_once = publish_and_record  # type: ignore[method-assign]
    job = asyncio.create_task(metrics.publish_to_slot())
    try:
        yield published
    finally:
        job.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await job


def test_scrape_includes_what_another_worker_answered_just_before(memory: int) -> None:
    one, other = a_worker(memory, 0), a_worker(memory, 1)
    name = 'kiai_http_requests_total{face="api",route="/x",status="200"} '

    async def scenario() -> None:
        async with publishing(other), publishing(one):
            await asyncio.sleep(0)
            for answered in range(1, 6):
                answer(other, 1)

                assert f"{name}{answered}.0" in (await one.render()).decode()

    asyncio.run(scenario())


@pytest.mark.parametrize(("happens", "counted"), [("publishes", 8), ("ends", 3), ("hangs", 3)])
def test_scrape_waits_for_a_busy_worker_but_not_for_one_that_has_ended(
    memory: int, happens: str, counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, slots = a_worker(memory, 0), a_worker(memory, 1), SharedMemory(memory, SLOTS, 1)
    monkeypatch.setattr(faces.metrics, "ANSWER_S", 1.0 if happens == "hangs" else 600.0)
    answer(other, 3)
    other.publish_once()
    answer(other, 5)

    async def later() -> None:
        await asyncio.sleep(6 * LOOK_EVERY_S)
        assert slots.asked() == 1
        if happens == "publishes":
            other.publish_once()
        elif happens == "ends":
            slots.mark_free(1)

    async def scenario() -> str:
        scraped, _ = await asyncio.gather(one.render(), later())
        return scraped.decode()

    assert f'kiai_http_requests_total{{face="api",route="/x",status="200"}} {counted}.0' in asyncio.run(scenario())


def test_worker_that_nobody_scrapes_publishes_once_in_a_period(memory: int) -> None:
    one = a_worker(memory, 0)

    async def scenario() -> list[float]:
        async with publishing(one) as published:
            await asyncio.sleep(2.5 * PUBLISH_EVERY_S)
            return published

    published = asyncio.run(scenario())

    assert 1 <= len(published) <= 3
    assert all(late - early >= PUBLISH_EVERY_S for early, late in itertools.pairwise(published))


def test_worker_sees_each_question_of_the_others_and_none_of_its_own(memory: int) -> None:
    one, other, third = (SharedMemory(memory, SLOTS, slot) for slot in range(3))
    before = one.asked()

    other.ask()
    third.ask()
    one.ask()

    assert one.asked() - before == 2
    assert other.asked() == 2  # of the third and the first
    other.write(b"figures")
    SharedMemory(memory, SLOTS).mark_free(1)
    assert one.asked() - before == 2


def test_counters_survive_a_dead_worker_but_gauges_do_not(memory: int) -> None:
    one, other = a_worker(memory, 0), a_worker(memory, 1)
    other.gauge("connections", "Open.", lambda: 3)
    one.gauge("connections", "Open.", lambda: 4)
    answer(other, 7)
    other.publish_once()
    before = series_of(one)

    SharedMemory(memory, SLOTS).mark_free(1)

    assert (before["kiai_connections"], before["kiai_workers"]) == (7, 2)
    assert requests(one) == 7
    assert (series_of(one)["kiai_connections"], series_of(one)["kiai_workers"]) == (4, 1)


def test_count_that_a_scrape_has_shown_survives_its_worker(memory: int) -> None:
    one = a_worker(memory, 0)
    answer(one, 3)

    asyncio.run(one.render())

    assert requests(a_worker(memory, 0)) == 3  # the successor of a killed worker


def test_successor_continues_the_counters_after_any_number_of_replacements(memory: int) -> None:
    one, watching = a_worker(memory, 0), SharedMemory(memory, SLOTS)
    one.publish_once()
    for _ in range(200):
        other = a_worker(memory, 1)
        answer(other, 3)
        other.publish_once()
        watching.mark_free(1)

    assert requests(one) == 600
    assert sum(1 for left in watching.read_others() if left.data) == 2


def test_latest_time_survives_its_worker(memory: int) -> None:
    one, other = a_worker(memory, 0), a_worker(memory, 1)
    for worker, done_at in ((one, {"early": 5.0}), (other, {"early": 3.0, "late": 9.0})):
        worker.gauges("job_done", "When.", "job", lambda done_at=done_at: done_at, Aggregation.LATEST)  # type: ignore[misc]
    other.publish_once()

    SharedMemory(memory, SLOTS).mark_free(1)

    assert series_of(one)['kiai_job_done{job="early"}'] == 5
    assert series_of(one)['kiai_job_done{job="late"}'] == 9


@pytest.mark.parametrize(
    ("across", "expected"), [(Aggregation.SUM, 5), (Aggregation.MAX, 3), (Aggregation.MIN, 2), (Aggregation.LATEST, 3)]
)
def test_gauge_of_several_workers_follows_its_aggregation(memory: int, across: Aggregation, expected: float) -> None:
    one, other = a_worker(memory, 0), a_worker(memory, 1)
    one.gauge("figure", "A figure.", lambda: 2, across)
    other.gauge("figure", "A figure.", lambda: 3, across)

    other.publish_once()

    assert series_of(one)["kiai_figure"] == expected


def test_gauge_without_a_value_is_omitted() -> None:
    metrics = Metrics()
    metrics.gauge("figure", "A figure.", lambda: None)

    assert "kiai_figure" not in series_of(metrics)


def test_stream_is_counted_but_not_timed() -> None:
    metrics = Metrics()

    metrics.request("api", "/v2/events", 200, 3_600_000.0, timed=False)

    assert series_of(metrics)['kiai_http_requests_total{face="api",route="/v2/events",status="200"}'] == 1
    assert not [name for name in series_of(metrics) if name.startswith("kiai_http_seconds")]


def test_stores_and_pools_are_reported_by_name() -> None:
    metrics, timings = Metrics(), Timings()
    metrics.stores({"database": timings})
    metrics.pools(lambda: {"database": PoolUsage(3, 20, waiting=7, refused=5)})

    timings.add("read", 0.0007)
    timings.add("read", 60.0)

    found = series_of(metrics)
    assert found['kiai_store_seconds_bucket{le="0.0005",op="read",store="database"}'] == 0
    assert found['kiai_store_seconds_bucket{le="0.001",op="read",store="database"}'] == 1
    assert found['kiai_store_seconds_bucket{le="5.0",op="read",store="database"}'] == 1
    assert found['kiai_store_seconds_bucket{le="+Inf",op="read",store="database"}'] == 2
    assert found['kiai_store_seconds_sum{op="read",store="database"}'] == pytest.approx(60.0007)
    names = ("in_use", "size", "waiting", "refused_total")
    assert [found[f'kiai_pool_{name}{{pool="database"}}'] for name in names] == [3, 20, 7, 5]


def test_process_metrics_equal_those_of_prometheus_client() -> None:
    found = series_of(Metrics())

    assert found["process_resident_memory_bytes"] > 1_000_000
    assert found["process_start_time_seconds"] > 1_600_000_000
    assert found["process_open_fds"] > 0
    assert "process_cpu_seconds_total" in found


def test_maximum_number_of_series_fits_into_a_slot(memory: int) -> None:
    worker, other = a_worker(memory, 0), a_worker(memory, 1)
    for number in range(SERIES_MAX + 50):
        for _ in range(3):
            worker.request("client", f"/a/rather/long/route/{{of}}/a/page/{number}", 200, float(number))

    worker.publish_once()

    found = [name for name in series_of(other) if name.startswith("kiai_http_requests_total")]
    assert len(found) == SERIES_MAX


def test_last_complete_write_survives_a_kill_during_a_write(memory: int) -> None:
    worker, watching = SharedMemory(memory, SLOTS, 1), SharedMemory(memory, SLOTS)
    worker.write(b"whole" * 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "getpid", lambda: 1 / 0)  # called in the last step, after the bytes and before the head
        with pytest.raises(ZeroDivisionError):
            worker.write(b"half written")

    [left] = watching.read_others()

    assert (left.data, left.alive) == (b"whole" * 100, True)


def test_write_that_is_too_large_leaves_the_previous_one(memory: int) -> None:
    worker, watching = SharedMemory(memory, SLOTS, 1), SharedMemory(memory, SLOTS)
    worker.write(b"small")

    with pytest.raises(ValueError, match="do not fit"):
        worker.write(bytes(shared_memory.HALF_BYTES))

    assert [left.data for left in watching.read_others()] == [b"small"]


def test_text_format_has_each_family_once_with_its_description(memory: int) -> None:
    one, other = a_worker(memory, 0), a_worker(memory, 1)
    answer(one, 1)
    answer(other, 1)
    other.publish_once()

    text = one.text().decode()

    names = re.findall(r"(?m)^# TYPE (\S+)", text)
    assert len(names) == len(set(names))
    assert set(re.findall(r"(?m)^# HELP (\S+) \S", text)) == set(names)

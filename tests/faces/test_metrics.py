"""What several workers leave for each other, and the one sum that any of them shows."""

import os
import re
from collections.abc import Iterator

import pytest

from kiai import slots
from kiai.faces.metrics import SERIES_MAX, Across, Metrics
from kiai.measuring import Pool, Timings
from kiai.slots import Slots

SLOTS = 4


@pytest.fixture
def memory() -> Iterator[int]:
    """The memory that the workers of one server share."""
    descriptor = slots.make(SLOTS)
    yield descriptor
    os.close(descriptor)


def a_worker(memory: int, slot: int) -> Metrics:
    return Metrics(Slots(memory, SLOTS, slot))


def shown(metrics: Metrics) -> dict[str, float]:
    """Each line of the text: series and value."""
    lines = [line for line in metrics.text().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def requests(metrics: Metrics) -> float:
    return shown(metrics).get('kiai_http_requests_total{face="api",route="/x",status="200"}', 0.0)


def answer(metrics: Metrics, count: int, ms: float = 3.0) -> None:
    for _ in range(count):
        metrics.request("api", "/x", 200, ms)


def test_whoever_is_asked_shows_the_sum_of_all_workers(memory: int) -> None:
    one, other = a_worker(memory, 0), a_worker(memory, 1)
    answer(one, 5, ms=0.5)
    answer(other, 7, ms=2_000)

    one.leave()
    other.leave()

    assert requests(one) == requests(other) == 12
    times = {name: value for name, value in shown(one).items() if name.startswith("kiai_http_seconds")}
    assert times['kiai_http_seconds_bucket{face="api",le="0.001",route="/x"}'] == 5
    assert times['kiai_http_seconds_bucket{face="api",le="5.0",route="/x"}'] == 12
    assert times['kiai_http_seconds_count{face="api",route="/x"}'] == 12
    assert times['kiai_http_seconds_sum{face="api",route="/x"}'] == pytest.approx(5 * 0.0005 + 7 * 2)


def test_what_a_dead_worker_counted_is_kept_and_its_gauges_are_not(memory: int) -> None:
    one, other = a_worker(memory, 0), a_worker(memory, 1)
    other.gauge("connections", "Open.", lambda: 3)
    one.gauge("connections", "Open.", lambda: 4)
    answer(other, 7)
    other.leave()
    before = shown(one)

    Slots(memory, SLOTS).freed(1)

    assert (before["kiai_connections"], before["kiai_workers"]) == (7, 2)
    assert requests(one) == 7
    assert (shown(one)["kiai_connections"], shown(one)["kiai_workers"]) == (4, 1)


def test_a_successor_counts_on_from_there_however_often_workers_are_replaced(memory: int) -> None:
    one, watching = a_worker(memory, 0), Slots(memory, SLOTS)
    one.leave()
    for _ in range(200):
        other = a_worker(memory, 1)
        answer(other, 3)
        other.leave()
        watching.freed(1)

    assert requests(one) == 600
    assert sum(1 for left in watching.others() if left.data) == 2


def test_a_time_is_still_true_when_the_worker_that_told_it_is_gone(memory: int) -> None:
    one, other = a_worker(memory, 0), a_worker(memory, 1)
    for worker, done_at in ((one, {"early": 5.0}), (other, {"early": 3.0, "late": 9.0})):
        worker.gauges("job_done", "When.", "job", lambda done_at=done_at: done_at, Across.LATEST)  # type: ignore[misc]
    other.leave()

    Slots(memory, SLOTS).freed(1)

    assert shown(one)['kiai_job_done{job="early"}'] == 5
    assert shown(one)['kiai_job_done{job="late"}'] == 9


@pytest.mark.parametrize(
    ("across", "expected"), [(Across.SUM, 5), (Across.MAX, 3), (Across.MIN, 2), (Across.LATEST, 3)]
)
def test_a_gauge_of_several_workers_is_what_it_says(memory: int, across: Across, expected: float) -> None:
    one, other = a_worker(memory, 0), a_worker(memory, 1)
    one.gauge("figure", "A figure.", lambda: 2, across)
    other.gauge("figure", "A figure.", lambda: 3, across)

    other.leave()

    assert shown(one)["kiai_figure"] == expected


def test_what_is_not_known_is_not_shown() -> None:
    metrics = Metrics()
    metrics.gauge("figure", "A figure.", lambda: None)

    assert "kiai_figure" not in shown(metrics)


def test_a_stream_is_counted_and_not_timed() -> None:
    metrics = Metrics()

    metrics.request("api", "/v2/events", 200, 3_600_000.0, timed=False)

    assert shown(metrics)['kiai_http_requests_total{face="api",route="/v2/events",status="200"}'] == 1
    assert not [name for name in shown(metrics) if name.startswith("kiai_http_seconds")]


def test_stores_and_pools_are_shown_by_name() -> None:
    metrics, timings = Metrics(), Timings()
    metrics.stores({"database": timings})
    metrics.pools(lambda: {"database": Pool(3, 20)})

    timings.add("read", 0.0007)
    timings.add("read", 60.0)

    found = shown(metrics)
    assert found['kiai_store_seconds_bucket{le="0.0005",op="read",store="database"}'] == 0
    assert found['kiai_store_seconds_bucket{le="0.001",op="read",store="database"}'] == 1
    assert found['kiai_store_seconds_bucket{le="5.0",op="read",store="database"}'] == 1
    assert found['kiai_store_seconds_bucket{le="+Inf",op="read",store="database"}'] == 2
    assert found['kiai_store_seconds_sum{op="read",store="database"}'] == pytest.approx(60.0007)
    assert (found['kiai_pool_in_use{pool="database"}'], found['kiai_pool_size{pool="database"}']) == (3, 20)


def test_the_figures_of_the_process_are_those_of_prometheus_own_client() -> None:
    found = shown(Metrics())

    assert found["process_resident_memory_bytes"] > 1_000_000
    assert found["process_start_time_seconds"] > 1_600_000_000
    assert found["process_open_fds"] > 0
    assert "process_cpu_seconds_total" in found


def test_as_many_series_as_there_may_be_fit_into_a_slot(memory: int) -> None:
    worker, other = a_worker(memory, 0), a_worker(memory, 1)
    for number in range(SERIES_MAX + 50):
        for _ in range(3):
            worker.request("client", f"/a/rather/long/route/{{of}}/a/page/{number}", 200, float(number))

    worker.leave()

    found = [name for name in shown(other) if name.startswith("kiai_http_requests_total")]
    assert len(found) == SERIES_MAX


def test_a_worker_that_dies_while_it_writes_leaves_what_it_had_left_before(memory: int) -> None:
    worker, watching = Slots(memory, SLOTS, 1), Slots(memory, SLOTS)
    worker.leave(b"whole" * 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "getpid", lambda: 1 / 0)  # the last step: after the bytes, before the word that they count
        with pytest.raises(ZeroDivisionError):
            worker.leave(b"half written")

    [left] = watching.others()

    assert (left.data, left.alive) == (b"whole" * 100, True)


def test_what_does_not_fit_into_a_slot_leaves_the_last(memory: int) -> None:
    worker, watching = Slots(memory, SLOTS, 1), Slots(memory, SLOTS)
    worker.leave(b"small")

    with pytest.raises(ValueError, match="do not fit"):
        worker.leave(bytes(slots.HALF_BYTES))

    assert [left.data for left in watching.others()] == [b"small"]


def test_the_text_names_each_family_once_with_its_words(memory: int) -> None:
    one, other = a_worker(memory, 0), a_worker(memory, 1)
    answer(one, 1)
    answer(other, 1)
    other.leave()

    text = one.text().decode()

    names = re.findall(r"(?m)^# TYPE (\S+)", text)
    assert len(names) == len(set(names))
    assert set(re.findall(r"(?m)^# HELP (\S+) \S", text)) == set(names)

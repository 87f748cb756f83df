"""The figures of minute samples (`kiai.samples`), pools and periodic jobs, from the metrics of all workers."""

import time
from collections.abc import Mapping
from typing import Final

from kiai.faces.metrics import BUCKETS_MS, Labels, Metrics
from kiai.measuring import CALL_BUCKETS_S, PoolUsage, Reading
from kiai.served_figures import ServerFigures, SlowStatement, StoreFigures
from kiai.staff.job_runs import PeriodicState

BOUNDS_MS: Final[tuple[float, ...]] = BUCKETS_MS
STORED: Final = ("pass", "fail")
"""The results of submissions whose play was stored."""

SLOW_MAX: Final = 20  # statements

_Series = dict[Labels, float | list[float]]


def read_metrics(metrics: Metrics) -> Reading:
    """Return the sum of all workers of this server."""
    found = metrics.of_all_workers()
    requests = _numbers(found["kiai_http_requests"])
    submissions = _numbers(found["kiai_submissions"])
    lag_s = _numbers(found["kiai_loop_lag_minute_seconds"]).get(())
    online = _numbers(found["kiai_players_online"]).get(())
    durations = [0.0] * (len(BOUNDS_MS) + 1)
    for counts in found["kiai_http_seconds"].values():
        assert isinstance(counts, list)
        for at, count in enumerate(counts[:-1]):  # the last one is the sum in seconds
            durations[at] += count
    return Reading(
        requests=round(sum(requests.values())),
        errors=round(sum(count for (_, _, status), count in requests.items() if status >= "500")),
        submissions=round(sum(count for (result,), count in submissions.items() if result in STORED)),
        durations=tuple(durations),
        lag_ms=None if lag_s is None else round(lag_s * 1000, 3),
        online=None if online is None else round(online),
    )


def read_pools(metrics: Metrics) -> dict[str, PoolUsage]:
    """Return the usage of all pools by name, summed over all workers of this server."""
    found = metrics.of_all_workers()
    figures = [_numbers(found[f"kiai_pool_{figure}"]) for figure in ("in_use", "size", "waiting", "refused")]
    return {
        labels[0]: PoolUsage(*(round(figure.get(labels, 0)) for figure in figures)) for labels in sorted(figures[1])
    }


def read_periodic_jobs(metrics: Metrics) -> list[PeriodicState]:
    """Return the jobs that this server runs by itself, over all its workers, by name."""
    found = metrics.of_all_workers()
    failures = _numbers(found["kiai_job_failures"])
    worked = _numbers(found["kiai_job_last_success_timestamp_seconds"])
    return [
        PeriodicState(labels[0], worked.get(labels, 0.0), round(failures.get(labels, 0)))
        for labels in sorted({*failures, *worked})
    ]


def read_slow_statements(metrics: Metrics) -> list[SlowStatement]:
    """Return the slowest statements of the last minutes, over all workers of this server, the slowest first."""
    found = metrics.of_all_workers()
    runs = _numbers(found["kiai_slow_statements"])
    slowest = sorted(_numbers(found["kiai_slow_statement_seconds"]).items(), key=lambda one: -one[1])
    return [
        SlowStatement(labels[0], round(took_s * 1000, 1), round(runs.get(labels, 1)))
        for labels, took_s in slowest[:SLOW_MAX]
    ]


def read_server(metrics: Metrics, states: Mapping[str, str]) -> ServerFigures:
    """Return the sum of all workers of this server, for `kiai top`. `states` are those of the stores, by name."""
    found = metrics.of_all_workers()
    calls: dict[str, list[float]] = {}
    for (store, _), counts in found["kiai_store_seconds"].items():
        assert isinstance(counts, list)
        sums = calls.setdefault(store, [0.0] * (len(counts) - 1))
        for at, count in enumerate(counts[:-1]):
            sums[at] += count
    return ServerFigures(
        at_s=time.monotonic(),
        reading=read_metrics(metrics),
        bounds_ms=BOUNDS_MS,
        rss_bytes=round(_numbers(found["kiai_rss_bytes"])[()]),
        workers=round(_numbers(found["kiai_workers"])[()]),
        stores={name: StoreFigures(state, tuple(calls.get(name, ()))) for name, state in states.items()},
        call_bounds_s=CALL_BUCKETS_S,
        slow=read_slow_statements(metrics),
    )


def _numbers(series: _Series) -> dict[Labels, float]:
    return {labels: value for labels, value in series.items() if not isinstance(value, list)}

"""Figures about the process in Prometheus' format.

Requests are counted in plain dicts, because a labelled counter costs more than the answer to a small request; they
become Prometheus families only when somebody asks.
"""

import asyncio
import bisect
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from kiai import __version__

BUCKETS_MS: Final = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000)
LAG_EVERY_S: Final = 0.25
SERIES_MAX: Final = 1_000


class Metrics:
    """What is counted. `gauges` and `counters` are asked for when somebody reads."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str, int], int] = {}
        self._times: dict[tuple[str, str], list[int]] = {}
        self._sums: dict[tuple[str, str], float] = {}
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self._counters: dict[str, tuple[str, str, Callable[[], Mapping[str, int]]]] = {}
        self._lag_s = 0.0
        self._lag_max_s = 0.0
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(self._collect))

    def request(self, face: str, route: str, status: int, ms: float) -> None:
        """Counts one answered request."""
        key = (face, route, status)
        self._requests[key] = self._requests.get(key, 0) + 1
        place = (face, route)
        times = self._times.get(place)
        if times is None:
            if len(self._times) >= SERIES_MAX:
                return
            times = self._times[place] = [0] * (len(BUCKETS_MS) + 1)
            self._sums[place] = 0.0
        times[bisect.bisect_left(BUCKETS_MS, ms)] += 1
        self._sums[place] += ms

    def gauge(self, name: str, about: str, read: Callable[[], float]) -> None:
        """Adds a figure that is read when asked for."""
        self._gauges[name] = (about, read)

    def counter(self, name: str, about: str, label: str, read: Callable[[], Mapping[str, int]]) -> None:
        """Adds counts by one label that are read when asked for."""
        self._counters[name] = (about, label, read)

    async def watch_loop(self) -> None:
        """Measures for ever how late the event loop runs."""
        while True:
            before = time.perf_counter()
            await asyncio.sleep(LAG_EVERY_S)
            self._lag_s = max(0.0, time.perf_counter() - before - LAG_EVERY_S)
            self._lag_max_s = max(self._lag_max_s, self._lag_s)

    def text(self) -> bytes:
        """Everything, in the text format."""
        return generate_latest(self._registry)

    def _collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily("kiai_http_requests", "Answered requests.", labels=("face", "route", "status"))
        for (face, route, status), count in self._requests.items():
            requests.add_metric((face, route, str(status)), count)
        yield requests
        seconds = HistogramMetricFamily("kiai_http_seconds", "Time to answer.", labels=("face", "route"))
        for place, counts in self._times.items():
            reached, buckets = 0, []
            for bound, count in zip((*BUCKETS_MS, None), counts, strict=True):
                reached += count
                buckets.append(("+Inf" if bound is None else str(bound / 1000), float(reached)))
            seconds.add_metric(place, buckets, self._sums[place] / 1000)
        yield seconds
        yield GaugeMetricFamily("kiai_loop_lag_seconds", "How late the event loop ran last.", self._lag_s)
        yield GaugeMetricFamily("kiai_loop_lag_max_seconds", "How late it ever ran.", self._lag_max_s)
        yield GaugeMetricFamily("kiai_rss_bytes", "Resident memory.", rss_bytes())
        build = GaugeMetricFamily("kiai_build_info", "The running version.", labels=("version",))
        build.add_metric((__version__,), 1)
        yield build
        for name, (about, read) in self._gauges.items():
            yield GaugeMetricFamily(f"kiai_{name}", about, read())
        for name, (about, label, read_counts) in self._counters.items():
            family = CounterMetricFamily(f"kiai_{name}", about, labels=(label,))
            for value, count in read_counts().items():
                family.add_metric((value,), count)
            yield family


class _Collector:
    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self.collect = collect


def rss_bytes() -> int:
    """Resident memory of this process; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0

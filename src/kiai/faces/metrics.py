"""The metrics of the server in Prometheus' format.

Requests are counted in plain dicts, because a labelled counter of `prometheus_client` costs more than the answer to a
small request. Prometheus families are built only for a scrape.

Several workers report one set of metrics. Each writes its values to shared memory (`shared_memory.py`), and the worker
that answers a scrape adds them up. Counters survive a worker: its successor starts from their last values.
"""

import asyncio
import bisect
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from kiai.measuring import CALL_BUCKETS_S, PoolUsage, Timings
from kiai.shared_memory import SharedMemory
from kiai.version import VERSION

BUCKETS_MS: Final = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000)
LAG_EVERY_S: Final = 0.25
LAGS_OF_A_MINUTE: Final = 240
SERIES_MAX: Final = 2_000  # per metric; the labels come from routes, but a bug must not fill the memory of Prometheus
PUBLISH_EVERY_S: Final = 1.0
"""The maximum age of another worker's figures without a scrape, and the period whose counts a killed worker loses."""
LOOK_EVERY_S: Final = 0.05
"""The time between two looks whether another worker is scraped. If it is, this one publishes at once."""
ANSWER_S: Final = 1.0
"""The longest wait of a scrape for the figures of the other workers."""
PROCESS_EVERY_S: Final = 1.0

Labels = tuple[str, ...]
Figures = dict[str, list[tuple[Labels, float | list[float]]]]
"""The series of each family. The value of a histogram is a list: the count of each bucket, the count above the last
bucket, and the sum."""


class Aggregation(Enum):
    """How the values of a gauge from several workers become one."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"
    LATEST = "latest"
    """The maximum, including workers that have ended. For points in time."""


class _Family(msgspec.Struct, frozen=True):
    """A metric: its description, and the function that reads its values in this process."""

    name: str  # without the _total of a counter
    about: str
    labels: Labels
    kind: type[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]
    read: Callable[[], Mapping[Labels, float | list[float]]]
    across: Aggregation = Aggregation.SUM
    buckets: Sequence[float] = ()

    @property
    def survives_worker(self) -> bool:
        """Whether the value still counts after its worker has ended."""
        return self.kind is not GaugeMetricFamily or self.across is Aggregation.LATEST


class Metrics:
    """The metrics of one worker. `slots` is the memory that the workers of one server share."""

    def __init__(self, slots: SharedMemory | None = None) -> None:
        self._requests: dict[tuple[str, str, int], int] = {}
        self._times: dict[Labels, list[float]] = {}
        self._lag_s = 0.0
        self._lag_max_s = 0.0
        self._lags_s: deque[float] = deque(maxlen=LAGS_OF_A_MINUTE)
        self._process = _Process()
        self._families: dict[str, _Family] = {}
        self._slots = slots
        predecessor = slots.previous() if slots is not None else b""
        self._before: Figures = _DECODER.decode(predecessor) if predecessor else {}
        self._declare_own()

    # --- recording

    def request(self, face: str, route: str, status: int, ms: float, *, timed: bool = True) -> None:
        """Count one answered request that took `ms` milliseconds.

        `timed` is False for a stream: its duration depends on the client only.
        """
        # PERF: this runs for each request. A dict takes 0.3 us, a labelled counter 1.5 us.
        key, requests = (face, route, status), self._requests
        try:  # only the first request of a series is missing
            requests[key] += 1
        except KeyError:
            if len(requests) >= SERIES_MAX:
                return
            requests[key] = 1
        if not timed:
            return
        place = (face, route)
        times = self._times.get(place)
        if times is None:
            if len(self._times) >= SERIES_MAX:
                return
            times = self._times[place] = [0.0] * (len(BUCKETS_MS) + 2)
        times[bisect.bisect_left(BUCKETS_MS, ms)] += 1
        times[-1] += ms / 1000

    def gauge(
        self, name: str, about: str, read: Callable[[], float | None], across: Aggregation = Aggregation.SUM
    ) -> None:
        """Declare a gauge. `read` is called at each scrape and returns None while the value is unknown."""

        def series() -> dict[Labels, float]:
            value = read()
            return {} if value is None else {(): value}

        self._add(_Family(f"kiai_{name}", about, (), GaugeMetricFamily, series, across))

    def gauges(
        self,
        name: str,
        about: str,
        label: str,
        read: Callable[[], Mapping[str, float]],
        across: Aggregation = Aggregation.SUM,
    ) -> None:
        """Declare a gauge with one label. `read` is called at each scrape."""
        self._add(_Family(f"kiai_{name}", about, (label,), GaugeMetricFamily, lambda: _by_one_label(read()), across))

    def counter(self, name: str, about: str, label: str, read: Callable[[], Mapping[str, int]]) -> None:
        """Declare a counter with one label. `read` is called at each scrape."""
        self._add(_Family(f"kiai_{name}", about, (label,), CounterMetricFamily, lambda: _by_one_label(read())))

    def pools(self, read: Callable[[], Mapping[str, PoolUsage]]) -> None:
        """Declare the metrics of the thread, process and connection pools, by name."""
        self.gauges(
            "pool_in_use", "Busy members.", "pool", lambda: {name: pool.in_use for name, pool in read().items()}
        )
        self.gauges("pool_size", "Maximum members.", "pool", lambda: {name: pool.size for name, pool in read().items()})
        self.gauges(
            "pool_waiting", "Queued jobs.", "pool", lambda: {name: pool.waiting for name, pool in read().items()}
        )
        self.counter(
            "pool_refused",
            "Jobs refused because the queue was full or the wait took too long.",
            "pool",
            lambda: {name: pool.refused for name, pool in read().items()},
        )

    def stores(self, timings: Mapping[str, Timings]) -> None:
        """Declare the histogram of calls to the stores, by name of the store."""

        def series() -> dict[Labels, list[float]]:
            return {(store, op): counts for store, timing in timings.items() for op, counts in timing.by_op.items()}

        self._add(
            _Family(
                "kiai_store_seconds",
                "Duration of calls to the stores.",
                ("store", "op"),
                HistogramMetricFamily,
                series,
                buckets=CALL_BUCKETS_S,
            )
        )

    def _add(self, family: _Family) -> None:
        assert family.name not in self._families, family.name
        self._families[family.name] = family

    def _declare_own(self) -> None:
        def requests() -> dict[Labels, float]:
            return {(face, route, str(status)): count for (face, route, status), count in self._requests.items()}

        def times() -> dict[Labels, float | list[float]]:
            return {**self._times}

        self._add(
            _Family(
                "kiai_http_requests", "Answered requests.", ("face", "route", "status"), CounterMetricFamily, requests
            )
        )
        self._add(
            _Family(
                "kiai_http_seconds",
                "Duration of requests.",
                ("face", "route"),
                HistogramMetricFamily,
                times,
                buckets=[bound / 1000 for bound in BUCKETS_MS],
            )
        )
        self.gauge("loop_lag_seconds", "Latest delay of the event loop.", lambda: self._lag_s, Aggregation.MAX)
        self.gauge("loop_lag_max_seconds", "Largest delay since the start.", lambda: self._lag_max_s, Aggregation.MAX)
        self.gauge(
            "loop_lag_minute_seconds",
            "Largest delay of the last minute.",
            lambda: max(self._lags_s, default=None),
            Aggregation.MAX,
        )
        self.gauge("rss_bytes", "Resident memory.", rss_bytes)
        self.gauge("workers", "Running worker processes.", lambda: 1)
        self.gauges("build_info", "The running version.", "version", lambda: {VERSION: 1}, Aggregation.MAX)
        for name, (about, kind, across) in PROCESS.items():
            self._add(_Family(name, about, (), kind, self._process.reader(name), across))

    async def watch_loop(self) -> None:
        """Measure the delay of the event loop until cancelled."""
        while True:
            before = time.perf_counter()
            await asyncio.sleep(LAG_EVERY_S)
            self._lag_s = max(0.0, time.perf_counter() - before - LAG_EVERY_S)
            self._lag_max_s = max(self._lag_max_s, self._lag_s)
            self._lags_s.append(self._lag_s)

    # --- scraping

    @property
    def labels(self) -> dict[str, Labels]:
        """The labels of every metric, by its name in the exposition format."""
        return {
            family.name + ("_total" if family.kind is CounterMetricFamily else ""): family.labels
            for family in self._families.values()
        }

    async def render(self) -> bytes:
        """Return the metrics of all workers in the text format.

        They include every request that any worker answered before this call, except those of a worker that does not
        publish its figures within `ANSWER_S`.
        """
        if self._slots is not None:
            late, until = self._slots.written(), time.monotonic() + ANSWER_S
            self._slots.ask()
            while late and time.monotonic() < until:
                await asyncio.sleep(LOOK_EVERY_S / 2)
                late &= self._slots.written()
            self.publish_once()  # a count that a scrape has shown survives this worker
        return self.text()

    def text(self) -> bytes:
        """Return the metrics like `render`, with the last published values of the other workers."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collected(self._metric_families()))
        return generate_latest(registry)

    async def publish_to_slot(self) -> None:
        """Write this worker's figures to shared memory periodically and when another one asks, until cancelled."""
        assert self._slots is not None
        asked, due = self._slots.asked(), 0.0
        while True:
            before, asked = asked, self._slots.asked()
            if asked != before or time.monotonic() >= due:
                self.publish_once()
                due = time.monotonic() + PUBLISH_EVERY_S
            # PERF: a look takes 10 us, a publication 700 us.
            await asyncio.sleep(LOOK_EVERY_S)

    def publish_once(self) -> None:
        """Write the figures to shared memory now. A worker calls this when it ends."""
        if self._slots is not None:
            self._slots.write(_ENCODER.encode(self._figures()))

    def _figures(self) -> Figures:
        """Return this process's figures, with the counts of its predecessors in the same slot."""
        found = {name: _Series(family) for name, family in self._families.items()}
        for name, family in self._families.items():
            for labels, value in family.read().items():
                found[name].add(labels, value)
        self._merge(found, self._before, alive=False)
        return {name: list(series.values.items()) for name, series in found.items()}

    def _merge(self, into: dict[str, "_Series"], figures: Figures, *, alive: bool) -> None:
        for name, series in figures.items():
            # A slot may come from another version of kiai after an upgrade: metrics unknown here are dropped.
            if name in into and (alive or self._families[name].survives_worker):
                for labels, value in series:
                    into[name].add(labels, value)

    def of_all_workers(self) -> dict[str, dict[Labels, float | list[float]]]:
        """Return the series of each metric, with the last published values of the other workers."""
        return {name: series.values for name, series in self._sums().items()}

    def _sums(self) -> "dict[str, _Series]":
        found = {name: _Series(family) for name, family in self._families.items()}
        self._merge(found, self._figures(), alive=True)
        for slot in self._slots.read_others() if self._slots is not None else ():
            self._merge(found, _DECODER.decode(slot.data), alive=slot.alive)
        return found

    def _metric_families(self) -> Iterator[Metric]:
        for series in self._sums().values():
            yield series.metric()


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Figures)


_ACROSS: Final[dict[Aggregation, Callable[[float, float], float]]] = {
    Aggregation.SUM: lambda mine, theirs: mine + theirs,
    Aggregation.MAX: max,
    Aggregation.MIN: min,
    Aggregation.LATEST: max,
}


class _Series:
    """The values of a family, aggregated over processes."""

    def __init__(self, family: _Family) -> None:
        self._family = family
        self.values: dict[Labels, float | list[float]] = {}

    def add(self, labels: Labels, value: float | list[float]) -> None:
        """Aggregate the value of one process."""
        present = self.values.get(labels)
        if isinstance(value, list):
            if isinstance(present, list):
                value = [mine + theirs for mine, theirs in zip(present, value, strict=True)]
        elif isinstance(present, int | float):
            value = _ACROSS[self._family.across](present, value)
        self.values[labels] = value

    def metric(self) -> Metric:
        """Return the family in the form of `prometheus_client`."""
        family = self._family
        metric = family.kind(family.name, family.about, labels=family.labels)
        for labels, value in self.values.items():
            if isinstance(value, list):
                assert isinstance(metric, HistogramMetricFamily)
                # Buckets are stored separately and reported cumulatively, as the format requires.
                cumulative, buckets = 0.0, []
                for bound, count in zip((*family.buckets, None), value[:-1], strict=True):
                    cumulative += count
                    buckets.append(("+Inf" if bound is None else str(bound), cumulative))
                metric.add_metric(labels, buckets, value[-1])
            else:
                assert isinstance(metric, CounterMetricFamily | GaugeMetricFamily)
                metric.add_metric(labels, value)
        return metric


class _Collected:
    """A collector of `prometheus_client` over families that exist already."""

    def __init__(self, families: Iterator[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Return the families."""
        return self._families


# The standard process metrics with their standard names and texts, so that common dashboards work.
# fmt: off
PROCESS: Final[dict[str, tuple[str, type[CounterMetricFamily | GaugeMetricFamily], Aggregation]]] = {
    "process_virtual_memory_bytes": ("Virtual memory size in bytes.", GaugeMetricFamily, Aggregation.SUM),
    "process_resident_memory_bytes": ("Resident memory size in bytes.", GaugeMetricFamily, Aggregation.SUM),
    "process_start_time_seconds": ("Start time since unix epoch in seconds.", GaugeMetricFamily, Aggregation.MAX),
    "process_cpu_seconds": ("Total user and system CPU time spent in seconds.", CounterMetricFamily, Aggregation.SUM),
    "process_open_fds": ("Number of open file descriptors.", GaugeMetricFamily, Aggregation.SUM),
    "process_max_fds": ("Maximum number of open file descriptors.", GaugeMetricFamily, Aggregation.MIN),
}
# fmt: on


class _Process:
    """The process metrics of `prometheus_client`, read at most once in `PROCESS_EVERY_S`."""

    def __init__(self) -> None:
        self._collector = ProcessCollector(registry=None)
        self._values: dict[str, float] = {}
        self._read_at = float("-inf")

    def reader(self, name: str) -> Callable[[], dict[Labels, float | list[float]]]:
        """Return the function that reads one metric. It returns no series on a system without /proc."""

        def read() -> dict[Labels, float | list[float]]:
            # PERF: `publish_once` reads each metric separately; one pass over /proc takes 50 us.
            if time.monotonic() - self._read_at >= PROCESS_EVERY_S:
                self._read_at = time.monotonic()
                self._values = {
                    family.name: family.samples[0].value for family in self._collector.collect() if family.samples
                }
            return {(): self._values[name]} if name in self._values else {}

        return read


def _by_one_label(values: Mapping[str, float]) -> dict[Labels, float | list[float]]:
    return {(label,): value for label, value in values.items()}


def rss_bytes() -> int:
    """Return the resident memory of this process, or 0 on a system without /proc."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0

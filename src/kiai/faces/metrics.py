"""Figures about the server in Prometheus' format.

Requests are counted in plain dicts, because a labelled counter costs more than the answer to a small request; figures
become Prometheus families only when somebody asks.

Several workers show one sum. Each leaves its figures in memory that they share (`slots.py`), and whoever is asked adds
up all of them. What a worker counted outlives it: its successor goes on from there.
"""

import asyncio
import bisect
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from kiai import __version__
from kiai.measuring import CALL_BUCKETS_S, Pool, Timings
from kiai.slots import Slots

BUCKETS_MS: Final = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000)
LAG_EVERY_S: Final = 0.25
SERIES_MAX: Final = 1_000
LEFT_EVERY_S: Final = 0.05
"""How old the figures of another worker are at most, and what is lost of them when it is killed."""
PROCESS_EVERY_S: Final = 1.0

Labels = tuple[str, ...]
Figures = dict[str, list[tuple[Labels, float | list[float]]]]
"""By family: the value of each series. A histogram's is how many fell into each bucket, above the last, and the sum."""


class Across(Enum):
    """What a gauge of several workers is."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"
    LATEST = "latest"
    """The greatest, also of workers that are gone: a time."""


class _Family(msgspec.Struct, frozen=True):
    """A metric: how it is read in this process, and shown."""

    name: str  # without the _total of a counter
    about: str
    labels: Labels
    kind: type[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]
    read: Callable[[], Mapping[Labels, float | list[float]]]
    across: Across = Across.SUM
    buckets: Sequence[float] = ()

    @property
    def lasts(self) -> bool:
        """Whether it is still true when the worker that said so is gone."""
        return self.kind is not GaugeMetricFamily or self.across is Across.LATEST


class Metrics:
    """What is counted. `slots`: where the workers of one server leave their figures for each other."""

    def __init__(self, slots: Slots | None = None) -> None:
        self._requests: dict[tuple[str, str, int], int] = {}
        self._times: dict[Labels, list[float]] = {}
        self._lag_s = 0.0
        self._lag_max_s = 0.0
        self._process = _Process()
        self._families: dict[str, _Family] = {}
        self._slots = slots
        left = slots.before() if slots is not None else b""
        self._before: Figures = _DECODER.decode(left) if left else {}
        self._declare_own()

    # --- what is counted

    def request(self, face: str, route: str, status: int, ms: float, *, timed: bool = True) -> None:
        """Counts one answered request. `timed`: False for a stream, which lasts as long as its listener likes."""
        key = (face, route, status)
        if key not in self._requests and len(self._requests) >= SERIES_MAX:
            return
        self._requests[key] = self._requests.get(key, 0) + 1
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

    def gauge(self, name: str, about: str, read: Callable[[], float | None], across: Across = Across.SUM) -> None:
        """Adds a figure that is read when asked for; None while it is unknown."""

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
        across: Across = Across.SUM,
    ) -> None:
        """Adds figures by one label."""
        self._add(_Family(f"kiai_{name}", about, (label,), GaugeMetricFamily, lambda: _by_one_label(read()), across))

    def counter(self, name: str, about: str, label: str, read: Callable[[], Mapping[str, int]]) -> None:
        """Adds counts by one label that are read when asked for."""
        self._add(_Family(f"kiai_{name}", about, (label,), CounterMetricFamily, lambda: _by_one_label(read())))

    def pools(self, read: Callable[[], Mapping[str, Pool]]) -> None:
        """Adds the pools of this process, by name."""
        self.gauges(
            "pool_in_use", "Members that work.", "pool", lambda: {name: one.in_use for name, one in read().items()}
        )
        self.gauges(
            "pool_size", "Members there may be.", "pool", lambda: {name: one.size for name, one in read().items()}
        )

    def stores(self, timings: Mapping[str, Timings]) -> None:
        """Adds how long the stores take, by name."""

        def series() -> dict[Labels, list[float]]:
            return {(store, op): counts for store, one in timings.items() for op, counts in one.by_op.items()}

        self._add(
            _Family(
                "kiai_store_seconds",
                "Time a store took.",
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
                "Time to answer.",
                ("face", "route"),
                HistogramMetricFamily,
                times,
                buckets=[bound / 1000 for bound in BUCKETS_MS],
            )
        )
        self.gauge("loop_lag_seconds", "How late the event loop ran last.", lambda: self._lag_s, Across.MAX)
        self.gauge("loop_lag_max_seconds", "How late it ever ran.", lambda: self._lag_max_s, Across.MAX)
        self.gauge("rss_bytes", "Resident memory.", rss_bytes)
        self.gauge("workers", "Processes that serve.", lambda: 1)
        self.gauges("build_info", "The running version.", "version", lambda: {__version__: 1}, Across.MAX)
        for name, (about, kind, across) in PROCESS.items():
            self._add(_Family(name, about, (), kind, self._process.reader(name), across))

    async def watch_loop(self) -> None:
        """Measures for ever how late the event loop runs."""
        while True:
            before = time.perf_counter()
            await asyncio.sleep(LAG_EVERY_S)
            self._lag_s = max(0.0, time.perf_counter() - before - LAG_EVERY_S)
            self._lag_max_s = max(self._lag_max_s, self._lag_s)

    # --- what is shown

    @property
    def names(self) -> list[str]:
        """Every metric, as it is called in the text."""
        return [
            family.name + ("_total" if family.kind is CounterMetricFamily else "") for family in self._families.values()
        ]

    async def show(self) -> bytes:
        """Everything, of all workers, in the text format: whatever was answered before this call is in it."""
        if self._slots is not None:
            await asyncio.sleep(2 * LEFT_EVERY_S)
        return self.text()

    def text(self) -> bytes:
        """The same with the figures of the other workers as they left them last."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collected(self._shown()))
        return generate_latest(registry)

    async def leave_for_others(self) -> None:
        """Leaves this worker's figures where the others find them, for ever."""
        while True:
            await asyncio.sleep(LEFT_EVERY_S)
            self.leave()

    def leave(self) -> None:
        """Leaves them once: when the worker ends, say."""
        if self._slots is not None:
            self._slots.leave(_ENCODER.encode(self._figures()))

    def _figures(self) -> Figures:
        """This process's, and what its predecessors in the same slot counted."""
        found = {name: _Series(family) for name, family in self._families.items()}
        for name, family in self._families.items():
            for labels, value in family.read().items():
                found[name].take(labels, value)
        self._take(found, self._before, alive=False)
        return {name: list(series.values.items()) for name, series in found.items()}

    def _take(self, into: dict[str, "_Series"], figures: Figures, *, alive: bool) -> None:
        for name, series in figures.items():
            if name in into and (alive or self._families[name].lasts):
                for labels, value in series:
                    into[name].take(labels, value)

    def _shown(self) -> Iterator[Metric]:
        found = {name: _Series(family) for name, family in self._families.items()}
        self._take(found, self._figures(), alive=True)
        for left in self._slots.others() if self._slots is not None else ():
            self._take(found, _DECODER.decode(left.data), alive=left.alive)
        for series in found.values():
            yield series.shown()


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Figures)


_ACROSS: Final[dict[Across, Callable[[float, float], float]]] = {
    Across.SUM: lambda mine, theirs: mine + theirs,
    Across.MAX: max,
    Across.MIN: min,
    Across.LATEST: max,
}


class _Series:
    """A family's values, added up over processes."""

    def __init__(self, family: _Family) -> None:
        self._family = family
        self.values: dict[Labels, float | list[float]] = {}

    def take(self, labels: Labels, value: float | list[float]) -> None:
        """Adds a process's value."""
        have = self.values.get(labels)
        if isinstance(value, list):
            if isinstance(have, list):
                value = [mine + theirs for mine, theirs in zip(have, value, strict=True)]
        elif isinstance(have, int | float):
            value = _ACROSS[self._family.across](have, value)
        self.values[labels] = value

    def shown(self) -> Metric:
        """As Prometheus' library takes it."""
        family = self._family
        shown = family.kind(family.name, family.about, labels=family.labels)
        for labels, value in self.values.items():
            if isinstance(value, list):
                assert isinstance(shown, HistogramMetricFamily)
                reached, buckets = 0.0, []
                for bound, count in zip((*family.buckets, None), value[:-1], strict=True):
                    reached += count
                    buckets.append(("+Inf" if bound is None else str(bound), reached))
                shown.add_metric(labels, buckets, value[-1])
            else:
                assert isinstance(shown, CounterMetricFamily | GaugeMetricFamily)
                shown.add_metric(labels, value)
        return shown


class _Collected:
    """Families that were read already."""

    def __init__(self, families: Iterator[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Them."""
        return self._families


# fmt: off
PROCESS: Final[dict[str, tuple[str, type[CounterMetricFamily | GaugeMetricFamily], Across]]] = {
    "process_virtual_memory_bytes": ("Virtual memory size in bytes.", GaugeMetricFamily, Across.SUM),
    "process_resident_memory_bytes": ("Resident memory size in bytes.", GaugeMetricFamily, Across.SUM),
    "process_start_time_seconds": ("Start time since unix epoch in seconds.", GaugeMetricFamily, Across.MAX),
    "process_cpu_seconds": ("Total user and system CPU time spent in seconds.", CounterMetricFamily, Across.SUM),
    "process_open_fds": ("Number of open file descriptors.", GaugeMetricFamily, Across.SUM),
    "process_max_fds": ("Maximum number of open file descriptors.", GaugeMetricFamily, Across.MIN),
}
# fmt: on


class _Process:
    """What prometheus-client tells of a process, looked up once a second at most."""

    def __init__(self) -> None:
        self._collector = ProcessCollector(registry=None)
        self._values: dict[str, float] = {}
        self._read_at = float("-inf")

    def reader(self, name: str) -> Callable[[], dict[Labels, float | list[float]]]:
        """How one of its figures is read; there is none where the system has no /proc."""

        def read() -> dict[Labels, float | list[float]]:
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
    """Resident memory of this process; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0

"""Counters that parts of the server keep about themselves, for metrics."""

from bisect import bisect_left
from collections.abc import Sequence
from time import perf_counter
from typing import Final, NamedTuple, TypeVar

import msgspec

T = TypeVar("T")

CALL_BUCKETS_S: Final = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
P99: Final = 0.99


class PoolUsage(NamedTuple):
    """Usage of a pool of connections, threads or processes: `in_use` of `size`.

    `waiting` is the number of jobs in the queue, `refused` the number of jobs that it has rejected since the start.
    """

    in_use: int
    size: int
    waiting: int = 0
    refused: int = 0


class Reading(msgspec.Struct, frozen=True):
    """Counters of all workers of a server, since any moment, and its present values.

    `durations` are numbers of requests by duration: one for each of the bounds of the metrics, then that of longer
    ones.
    `lag_ms` is the largest delay of an event loop in the last minute. `online` is None while it is unknown.
    """

    requests: int
    errors: int
    submissions: int
    durations: tuple[float, ...]
    lag_ms: float | None
    online: int | None

    def has_counters_of(self, earlier: "Reading") -> bool:
        """Whether no counter is smaller than in an earlier reading."""
        return (
            self.requests >= earlier.requests
            and self.errors >= earlier.errors
            and self.submissions >= earlier.submissions
            and all(mine >= theirs for mine, theirs in zip(self.durations, earlier.durations, strict=True))
        )


class Timings:
    """Histograms of the durations of calls, one for each operation.

    A list in `by_op` has the number of calls in each bucket, the number of longer calls, and the sum in seconds.
    """

    __slots__ = ("_buckets", "by_op")

    def __init__(self, buckets: Sequence[float] = CALL_BUCKETS_S) -> None:
        self._buckets = buckets
        self.by_op: dict[str, list[float]] = {}

    def since(self, began: float, op: str, about: object = None) -> float:
        """Count a call that began at `began`, by `time.perf_counter`, and ends now. Return its seconds.

        `about` is the statement of the call, for traces.
        """
        seconds = perf_counter() - began
        self.add(op, seconds)
        return seconds

    def add(self, op: str, seconds: float) -> None:
        """Count one call."""
        try:  # PERF: the operation is missing only at its first call
            counts = self.by_op[op]
        except KeyError:
            counts = self.by_op[op] = [0.0] * (len(self._buckets) + 2)
        counts[bisect_left(self._buckets, seconds)] += 1
        counts[-1] += seconds


def quantile(bounds: Sequence[float], counts: Sequence[float], share: float) -> float | None:
    """Return the value that `share` (0 to 1) of the values do not exceed, or None without values.

    `counts` are the numbers of values up to each of `bounds`, without those up to the bound before, and then the number
    of larger values. Within a bucket the values are taken as evenly spread. The result is at most the last bound.
    """
    wanted = share * sum(counts)
    if wanted <= 0:
        return None
    below, lower = 0.0, 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if count and below + count >= wanted:
            return lower + (bound - lower) * (wanted - below) / count
        below, lower = below + count, bound
    return lower

"""What parts of the server count about themselves, for whoever shows it."""

from bisect import bisect_left
from collections.abc import Sequence
from time import perf_counter
from typing import Final, NamedTuple, TypeVar

T = TypeVar("T")

CALL_BUCKETS_S: Final = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)


class Pool(NamedTuple):
    """A bounded number of connections, threads or processes, and how many of them work."""

    in_use: int
    size: int


class Timings:
    """How long calls took, by what they did: for each bucket how many, then how many took longer, then the sum in s."""

    __slots__ = ("_buckets", "by_op")

    def __init__(self, buckets: Sequence[float] = CALL_BUCKETS_S) -> None:
        self._buckets = buckets
        self.by_op: dict[str, list[float]] = {}

    def since(self, began: float, op: str) -> None:
        """Counts a call that began then, by `time.perf_counter`, and ends now."""
        self.add(op, perf_counter() - began)

    def add(self, op: str, seconds: float) -> None:
        """Counts one call."""
        try:
            counts = self.by_op[op]
        except KeyError:
            counts = self.by_op[op] = [0.0] * (len(self._buckets) + 2)
        counts[bisect_left(self._buckets, seconds)] += 1
        counts[-1] += seconds

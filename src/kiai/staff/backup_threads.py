"""Reads and writes of backups in threads of their own, several at once: a bucket answers each after a while."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

AT_ONCE: Final = 16
"""Files in memory at a time."""

S = TypeVar("S")
T = TypeVar("T")


def in_order(work: Callable[[S], T], inputs: Iterable[S]) -> Iterator[tuple[S, T]]:
    """Yield each input with its result, in the order of the inputs. Raises what `work` raises, at its place."""
    running: deque[tuple[S, Future[T]]] = deque()
    with ThreadPoolExecutor(AT_ONCE, "backup") as threads:
        try:
            for one in inputs:
                if len(running) == AT_ONCE:
                    given, done = running.popleft()
                    yield given, done.result()
                running.append((one, threads.submit(work, one)))
            while running:
                given, done = running.popleft()
                yield given, done.result()
        finally:
            for _, waiting in running:
                waiting.cancel()

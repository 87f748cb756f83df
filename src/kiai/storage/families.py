"""Families of statements: one for each order, or for each combination of filters."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Family(Mapping[K, V]):
    """A mapping from a fixed set of keys to statements. Each statement is built when it is first used, and then stored.

    PERF: a server uses few of the hundreds of combinations. Building all of them took a fifth of the time of its start.
    Adapters compile by identity, so each key has one object as long as the process runs.
    """

    def __init__(self, keys: Iterable[K], build: Callable[[K], V]) -> None:
        self._keys = dict.fromkeys(keys)
        self._build = build
        self._built: dict[K, V] = {}

    def __getitem__(self, key: K) -> V:
        """Return the statement of this key."""
        if key not in self._built:
            if key not in self._keys:
                raise KeyError(key)
            self._built[key] = self._build(key)
        return self._built[key]

    def __iter__(self) -> Iterator[K]:
        """Return the keys in order."""
        return iter(self._keys)

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._keys)

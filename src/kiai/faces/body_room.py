"""Memory for the bodies of requests that are being received or answered: one budget a server (see `guard.py`).

A body of at most `free_body_bytes` costs nothing. When a larger one passes that size, it asks for room for all of its
declared length, and its connection is not read until there is some. Room for the rest at once, and not for each piece
as it comes: senders that each hold a half could wait for each other for ever.

Bodies above `upload_bytes` leave `small_bodies_bytes` to smaller ones, so that a few large uploads never stop ordinary
ones. One network has a share. While somebody waits, whoever sends more slowly than `crowded_bytes_per_s` is refused.
"""

from collections import Counter
from typing import Protocol


class Limits(Protocol):
    """Those of `GuardLimits` that matter here; sizes in bytes."""

    @property
    def bodies_bytes(self) -> int:
        """All bodies together."""

    @property
    def bodies_bytes_per_address(self) -> int:
        """The bodies of one network."""

    @property
    def small_bodies_bytes(self) -> int:
        """What bodies above `upload_bytes` leave free."""

    @property
    def upload_bytes(self) -> int:
        """The largest of the small ones."""


class Waiting(Protocol):
    """A connection that asked for room."""

    def room_given(self) -> None:
        """There is room now: the body may come."""


class BodyRoom:
    """Who has how much of the budget, and who waits. `network` is None for callers that have no share of their own."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._given: dict[Waiting, tuple[int, str | None]] = {}
        self._by_network: Counter[str | None] = Counter()
        self._waiting: dict[Waiting, tuple[int, str | None]] = {}
        self.used = 0

    @property
    def crowded(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    def ask(self, connection: Waiting, size: int, network: str | None) -> bool:
        """Room for `size` bytes; without it the connection waits until `room_given` is called or it leaves."""
        if self._fits(size, network):
            self._give(connection, size, network)
            return True
        self._waiting[connection] = (size, network)
        return False

    def leave(self, connection: Waiting) -> None:
        """Gives back what the connection has, and no longer waits."""
        self._waiting.pop(connection, None)
        size, network = self._given.pop(connection, (0, None))
        if not size:
            return
        self.used -= size
        self._by_network[network] -= size
        if not self._by_network[network]:
            del self._by_network[network]
        for other, (wanted, of_network) in tuple(self._waiting.items()):
            if self._fits(wanted, of_network):
                del self._waiting[other]
                self._give(other, wanted, of_network)
                other.room_given()

    def _fits(self, size: int, network: str | None) -> bool:
        limits = self._limits
        most = limits.bodies_bytes - (limits.small_bodies_bytes if size > limits.upload_bytes else 0)
        if self.used + size > most:
            return False
        return network is None or self._by_network[network] + size <= limits.bodies_bytes_per_address

    def _give(self, connection: Waiting, size: int, network: str | None) -> None:
        held, _ = self._given.get(connection, (0, None))
        self._given[connection] = (held + size, network)
        self._by_network[network] += size
        self.used += size

"""The memory budget for request bodies that are being received or answered. Each server has one (see `guard.py`).

A body of at most `free_body_bytes` needs no reservation. A larger one reserves its declared length when it passes that
size, and its connection is not read until the budget grants it. The reservation covers the whole body at once: with
one for each piece, two senders that each have half of the budget would wait for each other forever.

Bodies above `upload_bytes` leave `small_bodies_bytes` to smaller ones, so that a few large uploads never stop score
submissions. Each network has a limit of its own. All large bodies of a network together are read at most at
`paced_bytes_per_s`: fifty uploads at full speed would keep the event loop busy. While a body waits, the guard refuses
senders that are slower than `contended_bytes_per_s`.
"""

from collections import Counter
from typing import Final, Protocol

PAUSE_MIN_S: Final = 0.05


class BodyLimits(Protocol):
    """The limits of `GuardLimits` that the budget uses; sizes in bytes."""

    @property
    def bodies_bytes(self) -> int:
        """The maximum for all bodies together."""

    @property
    def bodies_bytes_per_address(self) -> int:
        """The maximum for the bodies of one network."""

    @property
    def small_bodies_bytes(self) -> int:
        """The part of `bodies_bytes` that bodies above `upload_bytes` cannot use."""

    @property
    def upload_bytes(self) -> int:
        """The largest size of a small body."""

    @property
    def paced_bytes_per_s(self) -> int:
        """The rate at which the large bodies of one network are read."""


class BudgetWaiter(Protocol):
    """A connection with a reservation."""

    def on_budget_granted(self) -> None:
        """Resume reading the body. Called once, when a reservation that had to wait is granted."""


class BodyBudget:
    """The reservations by connection and the connections that wait.

    A `network` of None has no limit of its own, e.g. loopback.
    """

    def __init__(self, limits: BodyLimits) -> None:
        self._limits = limits
        self._granted: dict[BudgetWaiter, tuple[int, str | None]] = {}
        self._by_network: Counter[str | None] = Counter()
        self._waiting: dict[BudgetWaiter, tuple[int, str | None]] = {}
        self._read_until_s: dict[str, float] = {}
        self.used = 0
        self.pauses = 0
        """The number of pauses so far."""

    @property
    def is_contended(self) -> bool:
        """Whether a connection waits."""
        return bool(self._waiting)

    def reserve(self, connection: BudgetWaiter, size: int, network: str | None) -> bool:
        """Reserve `size` bytes and return True, or return False and call `on_budget_granted` later.

        `release` cancels a reservation that waits.
        """
        if self._is_free(size, network):
            self._grant(connection, size, network)
            return True
        self._waiting[connection] = (size, network)
        return False

    def pause_s(self, network: str | None, size: int, now_s: float) -> float:
        """Return for how many seconds a connection pauses after it has read `size` bytes of a large body.

        `now_s` is the time of the event loop. A pause below `PAUSE_MIN_S` is 0: the rate is held over that time.
        """
        if network is None:
            return 0.0
        until_s = max(self._read_until_s.get(network, 0.0), now_s) + size / self._limits.paced_bytes_per_s
        self._read_until_s[network] = until_s
        if until_s - now_s < PAUSE_MIN_S:
            return 0.0
        self.pauses += 1
        return until_s - now_s

    def forget_rates(self, now_s: float) -> None:
        """Forget the networks that may be read at once again. `now_s` is the time of the event loop."""
        for network in [name for name, until_s in self._read_until_s.items() if until_s <= now_s]:
            del self._read_until_s[network]

    def release(self, connection: BudgetWaiter) -> None:
        """Release what the connection has reserved, or cancel its wait, and grant what fits now."""
        self._waiting.pop(connection, None)
        size, network = self._granted.pop(connection, (0, None))
        if not size:
            return
        self.used -= size
        self._by_network[network] -= size
        if not self._by_network[network]:
            del self._by_network[network]
        # In order of arrival, but a body that does not fit does not block the ones behind it: a large upload would
        # otherwise hold up small ones that have memory of their own. `guard.py` bounds the wait by `budget_wait_s`.
        for other, (wanted, of_network) in tuple(self._waiting.items()):
            if self._is_free(wanted, of_network):
                del self._waiting[other]
                self._grant(other, wanted, of_network)
                other.on_budget_granted()

    def _is_free(self, size: int, network: str | None) -> bool:
        limits = self._limits
        allowed = limits.bodies_bytes - (limits.small_bodies_bytes if size > limits.upload_bytes else 0)
        if self.used + size > allowed:
            return False
        return network is None or self._by_network[network] + size <= limits.bodies_bytes_per_address

    def _grant(self, connection: BudgetWaiter, size: int, network: str | None) -> None:
        # A pipelined request may reserve before the answer to the one before it has left.
        reserved, _ = self._granted.get(connection, (0, None))
        self._granted[connection] = (reserved + size, network)
        self._by_network[network] += size
        self.used += size

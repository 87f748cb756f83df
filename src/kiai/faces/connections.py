"""The open connections of one server: their number by network, TLS handshakes, and the sweep that times them out.

`guard.py` enters each connection here, and `handshakes.py` those whose TLS handshake runs.
"""

import asyncio
from collections import Counter
from typing import Protocol

from kiai.faces.answer_budget import REFUSED as ANSWER_REFUSED
from kiai.faces.answer_budget import AnswerBudget
from kiai.faces.body_budget import BodyBudget
from kiai.faces.guard_limits import GuardLimits
from kiai.faces.refusals import HANDSHAKE_SLOW, HANDSHAKES, REFUSALS, UNANSWERED, UNREAD
from kiai.networks import Network, is_within, network_of


class GuardedConnection(Protocol):
    """A connection of the guard, a `GuardedProtocol`."""

    loop: asyncio.AbstractEventLoop
    client: tuple[str, int] | None

    def on_budget_granted(self) -> None:
        """See `body_budget.BudgetWaiter`."""

    def check_timeouts(self) -> None:
        """End the connection or its request if it has taken too long."""


def address_key(address: str, exempt: tuple[Network, ...]) -> str | None:
    """Return the network that an address counts toward (`networks.network_of`), or None for an exempt address."""
    return None if is_within(address, exempt) else network_of(address)


class Ledger:
    """The open connections of one server and the number of refusals by reason."""

    def __init__(self, limits: GuardLimits) -> None:
        self.refused: Counter[str] = Counter(dict.fromkeys((*REFUSALS, *UNANSWERED), 0))
        self.limits = limits
        self._exempt = (*limits.loopback, *limits.trusted)
        self._open: dict[GuardedConnection, str | None] = {}
        # Connections above the limit that wait for their refusal to leave, with the network of each.
        self.surplus: dict[GuardedConnection, str | None] = {}
        self._by_address: Counter[str] = Counter()
        self._handshakes: dict[GuardedConnection, str | None] = {}
        self._handshakes_by_address: Counter[str] = Counter()
        self.bodies = BodyBudget(limits)
        self.answers = AnswerBudget(limits)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """The number of open connections, with TLS handshakes and without the surplus."""
        return len(self._open) + len(self._handshakes)

    def enter(self, connection: GuardedConnection) -> str | None:
        """Register a new connection. Return the reason for refusal when it exceeds a limit, else None."""
        # The sweep runs only while there are connections, so an idle server does not wake up.
        if self._timer is None:
            self._timer = connection.loop.call_later(self.limits.sweep_s, self._sweep, connection.loop)
        # A Unix socket has no address to count.
        name = address_key(connection.client[0], self._exempt) if connection.client else None
        crowded = name is not None and self._by_address[name] >= self.limits.connections_per_address
        if crowded or len(self._open) >= self.limits.connections:
            self.surplus[connection] = name
            return "address" if crowded else "connections"
        self._open[connection] = name
        if name is not None:
            self._by_address[name] += 1
        return None

    def begin_handshake(self, connection: GuardedConnection, address: str | None) -> bool:
        """Register a connection whose TLS handshake begins. Return False if there are too many handshakes."""
        name = None if address is None else address_key(address, self._exempt)
        crowded = name is not None and self._handshakes_by_address[name] >= self.limits.handshakes_per_address
        if crowded or len(self._handshakes) >= self.limits.handshakes:
            self.refused[HANDSHAKES] += 1
            return False
        self._handshakes[connection] = name
        if name is not None:
            self._handshakes_by_address[name] += 1
        return True

    def end_handshake(self, connection: GuardedConnection) -> None:
        """Remove a connection whose handshake has ended."""
        name = self._handshakes.pop(connection, None)
        if name is not None:
            self._handshakes_by_address[name] -= 1
            if not self._handshakes_by_address[name]:
                del self._handshakes_by_address[name]

    def count_failed_handshake(self, error: OSError) -> None:
        """Count a handshake that took too long. Others fail because of the client, which is not counted."""
        if isinstance(error, TimeoutError | ConnectionAbortedError):
            self.refused[HANDSHAKE_SLOW] += 1

    def key_of(self, connection: GuardedConnection) -> str | None:
        """Return the network that a connection counts toward; None if it is exempt."""
        return self._open.get(connection) or self.surplus.get(connection)

    def leave(self, connection: GuardedConnection) -> None:
        """Remove a closed connection. The last one stops the sweep."""
        self.bodies.release(connection)
        self.surplus.pop(connection, None)
        name = self._open.pop(connection, None)
        if name is not None:
            self._by_address[name] -= 1
            # A Counter keeps zeros: without this, it would have an entry for each address ever seen.
            if not self._by_address[name]:
                del self._by_address[name]
        if self._timer is not None and not self._open and not self.surplus:
            self._timer.cancel()
            self._timer = None

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(self.limits.sweep_s, self._sweep, loop)
        self.bodies.forget_rates(loop.time())
        for transport in self.answers.find_slow_readers(self.limits.sweep_s):
            self.refused[UNREAD] += 1
            transport.abort()
        self.refused[ANSWER_REFUSED] = self.answers.refused
        # A copy: a check may close its connection, which changes both collections.
        for connection in (*self._open, *self.surplus):
            connection.check_timeouts()

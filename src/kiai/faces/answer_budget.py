"""The memory budget for answers that clients have not read yet. Each server has one (see `guard.py`).

An answer that is one large body is in memory until its client has read it. A client that reads slowly, on many
connections at once, would otherwise hold hundreds of megabytes. So a new large answer gets 503 while unread ones of the
same network, or of all networks together, take as much as they may. A client that reads such an answer too slowly is
disconnected. Streams need no place: they produce the next piece when the client has read the last one.
"""

import asyncio
import sys
from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from kiai.networks import Network, is_within, network_of

if sys.platform == "linux":
    from fcntl import ioctl
    from termios import TIOCOUTQ

REFUSED: Final = "answer_budget"
RETRY_AFTER_S: Final = 5
_V2_PATHS: Final = ("/v2/", "/api/v2/")
_KEPT: Final = (b"x-request-id", b"access-control-allow-origin", b"vary")
"""Headers of an answer that also belong to the refusal in its place."""


class AnswerLimits(Protocol):
    """The limits of `GuardLimits` that the budget uses; sizes in bytes, times in seconds."""

    @property
    def answers_bytes(self) -> int:
        """The maximum for all unread answers together."""

    @property
    def first_answers_bytes(self) -> int:
        """The additional maximum for answers of networks without another unread answer."""

    @property
    def answers_bytes_per_address(self) -> int:
        """The maximum for the unread answers of one network."""

    @property
    def answer_bytes_per_s(self) -> int:
        """The rate at which a client reads a large answer at least."""

    @property
    def answer_grace_s(self) -> float:
        """The period over which the rate is measured."""

    @property
    def loopback(self) -> tuple[Network, ...]:
        """Addresses without a limit of their own."""

    @property
    def trusted(self) -> tuple[Network, ...]:
        """Proxies, which have no limit of their own either."""


class _Unread:
    """A large answer that its client has not read yet.

    `before` is what was left on its connection `measured_s` seconds ago; None until it is measured for the first time.
    """

    __slots__ = ("before", "measured_s", "network")

    def __init__(self, network: str | None) -> None:
        self.network = network
        self.before: int | None = None
        self.measured_s = 0.0


class AnswerBudget:
    """The large answers that were written and have not been read, by their transports."""

    def __init__(self, limits: AnswerLimits) -> None:
        self._limits = limits
        self._unread: dict[asyncio.Transport, _Unread] = {}
        self.refused = 0
        """The number of refused answers so far."""

    def admits(self, transport: asyncio.Transport, size: int, scope: Mapping[str, Any]) -> bool:
        """Return whether an answer of `size` bytes fits, and count it from now on if so. Call it before the write.

        An answer that cannot be repeated (`kiai.unrepeatable` in the scope) always fits: the poll of a game client
        moves the cursors of its session, so a refusal would lose messages.
        """
        limits = self._limits
        address = scope.get("kiai.address") or (scope.get("client") or ("",))[0]
        exempt = not address or is_within(address, (*limits.loopback, *limits.trusted))
        network = None if exempt else network_of(address)
        everybody = own = 0
        for other, unread in tuple(self._unread.items()):
            left = other.get_write_buffer_size()
            if not left:
                del self._unread[other]
                continue
            everybody += left
            own += left if unread.network == network else 0
        # One answer is always admitted, however large it is.
        too_much = network is not None and own > 0 and own + size > limits.answers_bytes_per_address
        # A few slow addresses can fill the budget for minutes. The others still get one answer each.
        most = limits.answers_bytes + (0 if own else limits.first_answers_bytes)
        if everybody and everybody + size > most:
            too_much = True
        if too_much and "kiai.unrepeatable" not in scope:
            self.refused += 1
            return False
        self._unread[transport] = _Unread(network)
        return True

    def find_slow_readers(self, passed_s: float) -> list[asyncio.Transport]:
        """Return the connections that read too slowly. Called every `passed_s` seconds."""
        limits, slow = self._limits, []
        for transport, unread in tuple(self._unread.items()):
            if not transport.get_write_buffer_size():
                del self._unread[transport]
                continue
            if unread.before is None:
                # Not the size of the answer: the system may still send an earlier answer of this connection.
                unread.before = unread_bytes(transport)
                continue
            unread.measured_s += passed_s
            if unread.measured_s < limits.answer_grace_s:
                continue
            left = unread_bytes(transport)
            if unread.before - left < unread.measured_s * limits.answer_bytes_per_s:
                slow.append(transport)
            unread.before, unread.measured_s = left, 0.0
        return slow


def busy(scope: Mapping[str, Any], head: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return head and body of the 503 that replaces an answer with this head."""
    text = "Earlier answers to this address wait to be read."
    error: dict[str, str | None] = {"status": text}
    if scope["path"].startswith(_V2_PATHS):  # this API has its own error format
        request_id = scope.get("kiai.request_id", "")
        error = {"status": "error", "error": text, "code": "unavailable", "param": None, "request_id": request_id}
    headers = [
        *((name, value) for name, value in head.get("headers", ()) if name in _KEPT),
        (b"content-type", b"application/json; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"retry-after", b"%d" % RETRY_AFTER_S),
    ]
    return {"status": 503, "headers": headers}, msgspec.json.encode(error)


def unread_bytes(transport: asyncio.Transport) -> int:
    """Return the number of written bytes that the client has not received."""
    waiting = transport.get_write_buffer_size()
    if waiting and sys.platform == "linux":
        # Linux accepts more bytes only when a third of its send buffer is free. With a slow reader that takes minutes,
        # during which our own buffer does not shrink although the client reads. So the system's buffer is added.
        socket = transport.get_extra_info("socket")
        waiting += int.from_bytes(ioctl(socket.fileno(), TIOCOUTQ, bytes(4)), sys.byteorder)
    return waiting

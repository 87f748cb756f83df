"""The request guard: limits on heads, bodies, targets, time and connections, below all faces.

`GuardedProtocol` subclasses uvicorn's protocol for one connection, because uvicorn has no setting for these limits
(docs/decisions/013). A connection is in one of four phases:

    QUIET --first byte--> HEAD --blank line--> BODY --last byte--> QUIET ...      OVER: refused, input is discarded

Time: one periodic sweep visits all open connections. It compares the age of the phase with its limit, then adds
`sweep_s` to the age. A limit can fire up to one sweep late and never fires early. A slow event loop delays it; a change
of the system clock has no effect. Only the wait of a body for memory has a timer of its own. The age does not grow
while the guard itself does not read: when the application is slow to consume the body, or has not yet sent
`100 Continue` to a client that waits for it.

Bytes: `unfinished_bytes` counts the input since the last complete element (a head, a piece of body, a message). It
bounds incomplete heads, chunk lines and trailers, which the parser would otherwise collect without limit.

Memory: `body_budget.py` bounds all bodies together. A large body reserves its whole length before the guard reads the
rest, and releases it when its answer has left.

`answer_budget.py` bounds the large answers that clients have not read.

Rate: the guard reads large bodies at a rate per network. This includes input that nobody uses: the rest of a body whose
answer has left, and what follows a refusal. At full speed, uvloop would read up to 8 MB of a connection in one turn.

Refusals: the guard answers a refused request once, after all earlier answers of the connection, and never inside an
answer that has begun. It then closes its sending side and discards input for `linger_s`. If it closed the socket with
unread input, the system would reset the connection and the client would lose the answer.

Answers: a complete request on an idle connection may get a quick answer (`quick.py`). All others get a cycle of uvicorn
and a task.

See docs/spec/security.md#requests.
"""

import asyncio
import re
import secrets
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final
from urllib.parse import unquote, unquote_to_bytes

import httptools
import msgspec
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from kiai.faces.answer_budget import REFUSED as ANSWER_REFUSED
from kiai.faces.answer_budget import AnswerBudget
from kiai.faces.answer_budget import unread_bytes as unread_bytes_of
from kiai.faces.asgi import Scope
from kiai.faces.body_budget import BodyBudget
from kiai.faces.quick import BODY_MAX as QUICK_BODY_MAX
from kiai.faces.quick import Encoder, QuickAnswer
from kiai.faces.single_write import SingleWriteCycle, write_large
from kiai.networks import Network, forwarded_address, is_within, network_of

KIB: Final = 1024
MIB: Final = 1024 * KIB
LENGTH_DIGITS_MAX: Final = 20  # 2**64 has 20 digits; int() of a longer number costs more than linear time
SURPLUS_MAX: Final = 1_000  # refused connections that may linger at once; more are closed without an answer
QUIET, HEAD, BODY, OVER = range(4)


class GuardLimits(msgspec.Struct, frozen=True):
    """The limits of the guard: sizes in bytes, times in seconds, rates in bytes per second.

    docs/operate/limits.md#the-guard explains each of them.
    """

    head_s: float = 10.0
    head_bytes: int = 16 * KIB
    fields: int = 100
    target_bytes: int = 8 * KIB
    body_bytes: int = 20 * MIB
    body_s: float = 60.0
    upload_s: float = 300.0
    upload_bytes: int = MIB  # a body with a larger Content-Length has `upload_s` instead of `body_s`
    body_bytes_per_s: int = KIB
    reserved_bytes_per_s: int = 8 * KIB  # the minimum for a body that has reserved memory (`body_budget.py`)
    body_grace_s: float = 10.0  # the period over which the rate is measured
    free_body_bytes: int = 64 * KIB  # a body up to this size reserves nothing
    bodies_bytes: int = 80 * MIB
    small_bodies_bytes: int = 16 * MIB  # the part of `bodies_bytes` for bodies of at most `upload_bytes`
    bodies_bytes_per_address: int = 24 * MIB
    paced_bytes_per_s: int = 16 * MIB  # at which the bodies of one address above `free_body_bytes` are read together
    budget_wait_s: float = 5.0
    contended_bytes_per_s: int = 32 * KIB  # the minimum rate while other bodies wait for memory
    answers_bytes: int = 160 * MIB
    first_answers_bytes: int = 40 * MIB  # in addition, for networks without another unread answer
    answers_bytes_per_address: int = 24 * MIB
    answer_bytes_per_s: int = 8 * KIB  # the minimum at which a client reads an answer above 64 KiB
    answer_grace_s: float = 10.0
    contended_s: float = 3.0  # a sender may be slower than `contended_bytes_per_s` for this time
    pipelined: int = 100
    idle_s: float = 75.0
    unread_s: float = 30.0
    linger_s: float = 2.0
    shutdown_wait_s: float = 1.0
    sweep_s: float = 1.0
    handshake_s: float = 10.0
    handshakes: int = 1_000  # of TLS, at once
    handshakes_per_address: int = 50
    connections: int = 10_000
    connections_per_address: int = 200
    trusted: tuple[Network, ...] = ()
    loopback: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


# By reason (the label of `kiai_guard_refused`): the status, and the text with fields of GuardLimits.
REFUSALS: Final[dict[str, tuple[int, str]]] = {
    "malformed": (400, "This is not a well-formed HTTP/1.1 request."),
    "host": (400, "A request has exactly one Host header."),
    "path": (400, "A path has no '..' segment, encoded slash, backslash or NUL, and is UTF-8 once decoded."),
    "upgrade": (400, "A request with a body cannot ask for an Upgrade."),
    "head_slow": (408, "The head of the request was not complete within {head_s:g} s."),
    "body_slow": (408, "The body of the request came slower than {body_bytes_per_s} bytes/s."),
    "upload_slow": (408, "A body above {free_body_bytes} bytes came slower than {reserved_bytes_per_s} bytes/s."),
    "body_contended": (
        408,
        "Other requests wait for memory, and this body came slower than {contended_bytes_per_s} bytes/s.",
    ),
    "body_late": (408, "The body was not complete within {body_s:g} s (above {upload_bytes} bytes: {upload_s:g} s)."),
    "body_large": (413, "The body of the request is larger than {body_bytes} bytes."),
    "target_large": (414, "The target of the request is longer than {target_bytes} bytes."),
    "head_large": (431, "The head of the request is larger than {head_bytes} bytes."),
    "fields": (431, "The request has more than {fields} header fields."),
    "body_budget": (503, "No memory for the body of the request was free within {budget_wait_s:g} s."),
    "pipelined": (503, "More than {pipelined} requests are waiting on this connection."),
    "address": (503, "There are already {connections_per_address} connections from this address."),
    "connections": (503, "There are already {connections} connections."),
}
UNREAD: Final = "unread"
HANDSHAKE_SLOW: Final = "handshake_slow"
HANDSHAKES: Final = "handshakes"
UNANSWERED: Final = (UNREAD, HANDSHAKE_SLOW, HANDSHAKES, ANSWER_REFUSED)
"""Reasons without an answer of the guard: the connection is closed, or the cycle answers."""
RETRY_AFTER_S: Final = 5


class RequestRejected(Exception):
    """Raised inside a callback to stop the parser. `reason` is a key of REFUSALS."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


AnswerAtOnce = Callable[[Scope, bytes], QuickAnswer | None]
"""Returns the quick answer to a request with this body, or None. See `Front.answer_at_once`."""


def guarded_protocol(limits: GuardLimits, at_once: AnswerAtOnce | None = None) -> type["GuardedProtocol"]:
    """Return the protocol class of one server, for `uvicorn.Config(http=...)`. Its `ledger` has the metrics."""

    # uvicorn instantiates the class itself and passes no arguments of ours, so they are bound to a subclass.

    class Guarded(GuardedProtocol):
        ledger = Ledger(limits)
        answer_at_once = None if at_once is None else staticmethod(at_once)
        encoder = Encoder()

    return Guarded


def address_key(address: str, exempt: tuple[Network, ...]) -> str | None:
    """Return the network that an address counts toward (`networks.network_of`), or None for an exempt address."""
    return None if is_within(address, exempt) else network_of(address)


class Ledger:
    """The open connections of one server and the number of refusals by reason."""

    def __init__(self, limits: GuardLimits) -> None:
        self.refused: Counter[str] = Counter(dict.fromkeys((*REFUSALS, *UNANSWERED), 0))
        self.limits = limits
        self._exempt = (*limits.loopback, *limits.trusted)
        self._open: dict[GuardedProtocol, str | None] = {}
        # Connections above the limit that wait for their refusal to leave, with the network of each.
        self.surplus: dict[GuardedProtocol, str | None] = {}
        self._by_address: Counter[str] = Counter()
        self._handshakes: dict[GuardedProtocol, str | None] = {}
        self._handshakes_by_address: Counter[str] = Counter()
        self.bodies = BodyBudget(limits)
        self.answers = AnswerBudget(limits)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """The number of open connections, with TLS handshakes and without the surplus."""
        return len(self._open) + len(self._handshakes)

    def enter(self, connection: "GuardedProtocol") -> str | None:
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

    def begin_handshake(self, connection: "GuardedProtocol", address: str | None) -> bool:
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

    def end_handshake(self, connection: "GuardedProtocol") -> None:
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

    def key_of(self, connection: "GuardedProtocol") -> str | None:
        """Return the network that a connection counts toward; None if it is exempt."""
        return self._open.get(connection) or self.surplus.get(connection)

    def leave(self, connection: "GuardedProtocol") -> None:
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


class _Flow(FlowControl):
    """Flow control that does not resume reading while the body waits for memory or pauses.

    uvicorn resumes whenever the application consumes a piece of the body.
    """

    waits_for_budget = False
    pauses = False

    def resume_reading(self) -> None:
        if not self.waits_for_budget and not self.pauses:
            super().resume_reading()


class GuardedProtocol(HttpToolsProtocol):
    """One connection under the limits of its server."""

    # PERF: uvicorn's 28 attributes and these exceed the 30 that CPython stores inline without a dict for each instance.
    __slots__ = (
        "age_s",
        "answering",
        "body_bytes",
        "body_limit_s",
        "closing_s",
        "counted_bytes",
        "counted_s",
        "declared_bytes",
        "deferred",
        "deferred_body",
        "had_request",
        "has_reservation",
        "leaving",
        "limits",
        "phase",
        "slow_s",
        "swept_bytes",
        "unfinished_bytes",
        "unread_bytes",
        "unread_s",
        "waiting",
    )
    ledger: Ledger
    flow: _Flow
    answer_at_once: AnswerAtOnce | None
    encoder: Encoder

    # --- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport)  # replaces the one that uvicorn has just made, before anything has used it
        self.limits = self.ledger.limits
        self.phase = QUIET
        self.age_s = 0.0
        self.unfinished_bytes = 0
        self.body_bytes = 0
        self.body_limit_s = 0.0
        self.declared_bytes = 0
        self.has_reservation = False
        self.waiting: asyncio.TimerHandle | None = None  # the end of the wait for memory
        self.counted_bytes = 0  # `body_bytes` when the rate was last measured
        self.counted_s = 0.0  # time since then
        self.swept_bytes = 0  # `body_bytes` at the last sweep
        self.slow_s = 0.0  # time that the body has been slower than `contended_bytes_per_s`
        self.leaving = False  # the server is shutting down
        self.deferred = False  # the request has no cycle yet, because it may get a quick answer
        self.deferred_body = b""
        self.had_request = False
        # The request that is being answered. uvicorn's `cycle` is the one that was read last, which differs when the
        # client pipelines.
        self.answering: RequestResponseCycle | None = None
        self.unread_bytes = 0
        self.unread_s = 0.0
        self.closing_s = 0.0  # time since everything was sent on a connection that closes
        reason = self.ledger.enter(self)
        if reason is not None:
            self._refuse(reason)
            if len(self.ledger.surplus) > SURPLUS_MAX:
                transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_wait()
        self.ledger.leave(self)
        super().connection_lost(exc)
        # uvicorn disconnects its `cycle`, the last request read. With pipelining another one may be in progress.
        if self.answering is not None:
            _disconnect(self.answering)

    def data_received(self, data: bytes) -> None:
        if self.phase == OVER:
            self._pace(len(data))
            return
        self.unfinished_bytes += len(data)
        rest: bytes | memoryview = data
        while rest:
            try:
                self.parser.feed_data(rest)
                break
            except httptools.HttpParserUpgrade as upgrade:
                # kiai supports no other protocol: it answers the request as usual and parses the bytes after it.
                rest = memoryview(rest)[upgrade.args[0] :]
            except httptools.HttpParserError as error:
                # httptools wraps what a callback raises: RequestRejected is the context of a HttpParserCallbackError.
                cause = error.__context__
                if not isinstance(cause, RequestRejected | httptools.HttpParserError | None):
                    raise  # a bug in a callback, not malformed input
                self._refuse(cause.reason if isinstance(cause, RequestRejected) else "malformed")
                return
        if self.deferred:  # the rest of the body is still to come
            self._begin_deferred()
        if self.unfinished_bytes > self.limits.head_bytes:
            self._refuse("head_large")

    # --- callbacks of the parser

    def on_message_begin(self) -> None:
        # PERF: does not call uvicorn's method, which makes the scope: `on_headers_complete` does, with all its keys.
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self.phase = HEAD
        self.age_s = 0.0

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self.limits.target_bytes:
            raise RequestRejected("target_large")

    def on_header(self, name: bytes, value: bytes) -> None:
        # PERF: repeats the body of uvicorn's method, because calling it costs 0.5 us a request.
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        if len(self.headers) >= self.limits.fields:
            raise RequestRejected("fields")
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        limits = self.limits
        # `unfinished_bytes` includes what arrived behind the head in the same read. Only when that exceeds the limit is
        # the head itself measured.
        if self.unfinished_bytes > limits.head_bytes and _head_bytes(self.url, self.headers) > limits.head_bytes:
            raise RequestRejected("head_large")
        hosts = length = 0
        chunked = False
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
            elif name == b"content-length":
                # The parser has already rejected a second length and a length that is not a number.
                length = int(value) if len(value) <= LENGTH_DIGITS_MAX else limits.body_bytes + 1
            elif name == b"transfer-encoding":
                chunked = True
        if hosts != 1 and (hosts or self.parser.get_http_version() != "1.0"):
            raise RequestRejected("host")
        if not _ORDINARY(self.url):
            _check_path(self.url.partition(b"?")[0])
        if length > limits.body_bytes:
            raise RequestRejected("body_large")
        if (length or chunked) and self.parser.should_upgrade():
            raise RequestRejected("upgrade")  # the parser would read the body as the next request: request smuggling
        if len(self.pipeline) >= limits.pipelined:
            raise RequestRejected("pipelined")
        scope, keep_alive = self._new_scope(self.parser.get_http_version())
        self.phase = BODY
        self.age_s = 0.0
        self.unfinished_bytes = 0
        self.body_bytes = 0
        self.body_limit_s = limits.upload_s if length > limits.upload_bytes else limits.body_s
        self.declared_bytes = length or limits.body_bytes  # a chunked body may reach the limit, so it reserves that
        self.has_reservation = False
        self.counted_bytes = self.swept_bytes = 0
        self.counted_s = self.slow_s = 0.0
        self.had_request = True
        if (
            self.answer_at_once is not None
            and keep_alive
            and not chunked
            and length <= QUICK_BODY_MAX
            and (self.cycle is None or self.cycle.response_complete)
            and not (self.flow.write_paused or self.leaving or self.expect_100_continue)
            and not (self.parser.should_upgrade() or self.transport.is_closing())
        ):
            self.deferred = True
            self.deferred_body = b""
        else:
            self._begin_cycle(scope, keep_alive=keep_alive)

    def _new_scope(self, http_version: str) -> tuple[Scope, bool]:
        """Return the ASGI scope of the request whose head is complete, and whether the client keeps the connection."""
        url = self.url
        if url == b"/":  # PERF: every poll; parsing it takes 0.5 us
            raw_path, query, path = url, b"", "/"
        else:
            parsed = httptools.parse_url(url)
            raw_path, query = parsed.path, parsed.query or b""
            path = raw_path.decode("ascii")
            if "%" in path:
                path = unquote(path)
        # The scope owns the list of headers. `on_message_begin` makes a new one, and trailers are kept out of it.
        headers, self.headers = self.headers, []
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": http_version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": "",
            "headers": headers,
            "method": self.parser.get_method().decode("ascii"),
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
        }
        self.scope = scope  # type: ignore[assignment]
        return scope, http_version != "1.0" and self.parser.should_keep_alive()

    def _begin_cycle(self, scope: Scope, *, keep_alive: bool) -> None:
        """Answer the request the ordinary way: with a cycle, and a task as soon as the earlier answers are complete."""
        before = self.cycle
        self.cycle = cycle = SingleWriteCycle(
            scope=scope,  # type: ignore[arg-type]
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.answers = self.ledger.answers
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _begin_deferred(self) -> None:
        """Answer the ordinary way after all, with the body that has come so far."""
        self.deferred = False
        self._begin_cycle(self.scope, keep_alive=True)  # type: ignore[arg-type]
        if self.deferred_body:
            super().on_body(self.deferred_body)
            self.deferred_body = b""

    def _answer_deferred(self) -> bool:
        """Write the quick answer to the request, which is complete. Return whether it has one."""
        assert self.answer_at_once is not None
        answer = self.answer_at_once(self.scope, self.deferred_body)  # type: ignore[arg-type]
        if answer is None:
            return False
        for piece in self.encoder.pieces(answer, self.server_state.default_headers):
            write_large(self.transport, piece)
        self.deferred = False
        self.deferred_body = b""
        # PERF: ten objects per connection. With 10,000 idle connections, each collection of garbage met them as new
        # ones and took 140 ms, now 65.
        self.scope = None  # type: ignore[assignment]
        self.server_state.total_requests += 1
        return True

    def on_body(self, body: bytes) -> None:
        self.unfinished_bytes = 0
        self.body_bytes += len(body)
        if self.deferred:  # at most QUICK_BODY_MAX bytes
            self.deferred_body += body
            return
        if self.body_bytes > self.limits.body_bytes:
            raise RequestRejected("body_large")
        super().on_body(body)
        if self.body_bytes > self.limits.free_body_bytes:
            self._pace(len(body))
            # uvicorn discards the rest of a body whose answer has left.
            if not self.has_reservation and not self.cycle.response_complete:
                self._reserve_body()

    def on_message_complete(self) -> None:
        if not self.deferred or not self._answer_deferred():
            if self.deferred:
                self._begin_deferred()
            # PERF: repeats the body of uvicorn's method without its check for upgrades, which kiai does not support.
            if not self.cycle.response_complete:
                self.cycle.more_body = False
                self.cycle.message_event.set()
        self.phase = QUIET
        self.age_s = 0.0
        self.unfinished_bytes = 0

    # --- memory for the body

    def _pace(self, size: int) -> None:
        """Pause reading if the network has sent more than its rate, with these `size` bytes."""
        pause_s = self.ledger.bodies.pause_s(self._budget_key(), size, self.loop.time())
        if pause_s and not self.flow.pauses:
            self.flow.pauses = True
            self.flow.pause_reading()
            self.loop.call_later(pause_s, self._end_pause)

    def _reserve_body(self) -> None:
        self.has_reservation = True
        if not self.ledger.bodies.reserve(self, self.declared_bytes, self._budget_key()):
            self.flow.waits_for_budget = True
            self.flow.pause_reading()
            # Not the sweep: it would refuse all at once, and their clients would send again at once.
            self.waiting = self.loop.call_later(self.limits.budget_wait_s, self._refuse, "body_budget")

    def _budget_key(self) -> str | None:
        """Return the network whose share of the budget the body uses.

        Behind a trusted proxy it is the network of the forwarded address, else that of the connection.
        """
        limits = self.limits
        if limits.trusted and self.client is not None and is_within(self.client[0], limits.trusted):
            if self.answering is None:  # the first head of the connection was refused
                return None
            forwarded = forwarded_address(self.cycle.scope["headers"], limits.trusted)
            return None if forwarded is None else address_key(forwarded, limits.loopback)
        return self.ledger.key_of(self)

    def on_budget_granted(self) -> None:
        """Resume reading the body. See `body_budget.BudgetWaiter`."""
        self._end_wait()
        self._resume_body()

    def _end_wait(self) -> None:
        self.flow.waits_for_budget = False
        if self.waiting is not None:
            self.waiting.cancel()
            self.waiting = None

    def _end_pause(self) -> None:
        self.flow.pauses = False
        if not self.transport.is_closing():
            self._resume_body()

    def _resume_body(self) -> None:
        # Above the mark, the application's next read resumes the flow, as in uvicorn. After an answer it reads none.
        if self.phase == OVER or self.cycle.response_complete or len(self.cycle.body) <= HIGH_WATER_LIMIT:
            self.flow.resume_reading()

    def _release_body(self) -> None:
        if self.has_reservation:
            self.has_reservation = False
            self._end_wait()
            self.ledger.bodies.release(self)

    # --- overrides of uvicorn

    def _should_upgrade(self) -> bool:
        return False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        cycle.scope["kiai.wire"] = cycle  # type: ignore[typeddict-unknown-key]
        self.answering = cycle
        if self.leaving and not self.pipeline:
            cycle.keep_alive = False
        super()._start_asgi_task(cycle, app)

    def shutdown(self) -> None:
        """Stop the connection after the requests that it has already received.

        uvicorn closes every connection that has no request in progress. A connection may be newly accepted, with its
        request in the system's buffer and not yet read: closing it then resets it and fails a request that another
        worker could have answered. So an idle connection has `shutdown_wait_s` more.
        """
        self.leaving = True
        if self.answering is not None and not self.answering.response_complete:
            # uvicorn prepends to `pipeline`, so index 0 is the last request received.
            (self.pipeline[0][0] if self.pipeline else self.answering).keep_alive = False
        else:
            self.loop.call_later(self.limits.shutdown_wait_s, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self.phase == QUIET and (self.answering is None or self.answering.response_complete):
            self.transport.close()

    def on_response_complete(self) -> None:
        # PERF: does not call uvicorn's method, which sets a keep-alive timer after each request. The sweep replaces it.
        self.server_state.total_requests += 1
        # The reservation belongs to `cycle`, the last request read, which is not always the one that was answered.
        if self.cycle.response_complete:
            self._release_body()
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self.flow.resume_reading()

    # --- time

    def check_timeouts(self) -> None:
        """End the connection or its request if it has taken too long. The sweep calls this."""
        limits = self.limits
        if self._is_client_stalled():
            self.ledger.refused[UNREAD] += 1
            self.transport.abort()
        elif self.transport.is_closing():
            # Only TLS: the transport waits until the client has closed its side, too.
            self.closing_s = 0.0 if self.unread_bytes else self.closing_s + limits.sweep_s
            if self.closing_s > limits.linger_s:
                self.transport.abort()
        elif self.phase == HEAD:
            if self.age_s >= limits.head_s:
                self._refuse("head_slow")
            elif not self.flow.read_paused:
                self.age_s += limits.sweep_s
        elif self.phase == BODY:
            if self.age_s >= self.body_limit_s:
                self._refuse("body_late")
            elif not self.flow.read_paused and not self.cycle.waiting_for_100_continue:
                self._check_body_rate()
                self.age_s += limits.sweep_s
        elif self.answering is None or self.answering.response_complete or self.answering.disconnected:
            # A connection without any request closes early and without an answer: browsers open spare connections and
            # would take a 408 for the answer to their next request.
            timeout_s = limits.idle_s if self.had_request else limits.head_s
            if self.age_s >= (limits.linger_s if self.phase == OVER else timeout_s):
                self.transport.close()
            self.age_s += limits.sweep_s

    def _check_body_rate(self) -> None:
        """Refuse a body that was too slow in the last period.

        Each period is measured separately: a sender that starts fast cannot be slow afterwards.
        """
        limits = self.limits
        if self.counted_s >= limits.body_grace_s:
            bytes_per_s = limits.reserved_bytes_per_s if self.has_reservation else limits.body_bytes_per_s
            if self.body_bytes - self.counted_bytes < self.counted_s * bytes_per_s:
                self._refuse("upload_slow" if self.has_reservation else "body_slow")
                return
            self.counted_s, self.counted_bytes = 0.0, self.body_bytes
        self.counted_s += limits.sweep_s
        # A body without a reservation holds no memory that others wait for.
        if not self.has_reservation:
            return
        fast = self.body_bytes - self.swept_bytes >= limits.contended_bytes_per_s * limits.sweep_s
        self.swept_bytes = self.body_bytes
        self.slow_s = 0.0 if fast else self.slow_s + limits.sweep_s
        if self.slow_s > limits.contended_s and self.ledger.bodies.is_contended:
            self._refuse("body_contended")

    def _is_client_stalled(self) -> bool:
        # The backlog has not shrunk since the last sweep: the client read nothing, or less than the answer added.
        unread_bytes = unread_bytes_of(self.transport)
        if unread_bytes and 0 < self.unread_bytes <= unread_bytes:
            self.unread_s += self.limits.sweep_s
        else:
            self.unread_s = 0.0
        self.unread_bytes = unread_bytes
        return self.unread_s >= self.limits.unread_s

    # --- refusals

    def _refuse(self, reason: str) -> None:
        if self.transport.is_closing():
            return
        self.ledger.refused[reason] += 1
        self._release_body()
        # In the phase HEAD the refused request has no cycle yet: `cycle` is still the request before it.
        faulty = self.cycle if self.phase == BODY else None
        self.phase = OVER
        self.age_s = 0.0
        answering = self.answering
        if answering is not None and answering is not faulty and not answering.response_complete:
            # Earlier requests come first. A refusal written now would be read as the answer to one of them, so the
            # connection closes after the last of them without it.
            if faulty is not None:
                self.pipeline.popleft()  # the refused request, which is the newest
            last = self.pipeline[0][0] if self.pipeline else answering
            last.keep_alive = False
            return
        if faulty is None or not faulty.response_started:
            self._answer(*REFUSALS[reason])
            if isinstance(faulty, SingleWriteCycle):
                faulty.answered_by_guard(REFUSALS[reason][0])
        else:
            _disconnect(faulty)
        if not self.transport.can_write_eof():
            # TLS has no half-closed state. The client sees the end of the answer by its length; the sweep closes.
            self.flow.resume_reading()
            return
        try:
            self.transport.write_eof()
        except OSError:  # the client has closed the connection meanwhile
            self.transport.abort()
        else:
            self.flow.resume_reading()

    def _answer(self, status: int, sentence: str) -> None:
        request_id = f"guard-{secrets.token_hex(6)}"
        text = sentence.format_map(msgspec.structs.asdict(self.limits))
        answer: dict[str, str | None] = {"status": text}
        # The v2 API has its own error format. uvicorn sets `url` at the first request only.
        if getattr(self, "url", b"").startswith(_V2_PATHS):
            answer = {
                "status": "error",
                "error": text,
                "code": _V2_CODES[status],
                "param": None,
                "request_id": request_id,
            }
        body = msgspec.json.encode(answer)
        headers = [
            *self.server_state.default_headers,
            (b"x-request-id", request_id.encode()),
            (b"access-control-allow-origin", b"*"),  # lets a web page that uses the API read the reason
            (b"content-type", b"application/json; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            *([(b"retry-after", b"%d" % RETRY_AFTER_S)] if status == 503 else ()),
        ]
        self.transport.write(
            b"%b%b\r\n%b" % (STATUS_LINE[status], b"".join(b"%b: %b\r\n" % header for header in headers), body)
        )


_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}
_V2_PATHS: Final = (b"/v2/", b"/api/v2/")
_V2_CODES: Final = {
    400: "bad_request",
    408: "bad_request",
    413: "too_large",
    414: "too_large",
    431: "too_large",
    503: "unavailable",
}

# PERF: recognises in 0.2 us a path without escapes, backslashes and segments that start with a dot, which needs no
# further check.
_ORDINARY: Final = re.compile(rb"(?:/(?!\.)[^/?%\\]*+)++(?:\?|\Z)").match


def _disconnect(cycle: RequestResponseCycle) -> None:
    """Report to the application that its client has gone. The cycle discards what the application still sends."""
    if not cycle.response_complete:
        cycle.disconnected = True
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()


def _head_bytes(target: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    return len(target) + sum(len(name) + len(value) + len(": \r\n") for name, value in headers)


def _check_path(path: bytes) -> None:
    # The target may be absolute (http://host/path, sent to proxies). The target of CONNECT has no path.
    if not path.startswith(b"/") and httptools.parse_url(path).path is None:
        raise RequestRejected("malformed")
    plain = unquote_to_bytes(path)
    if b"\0" in plain or b"\\" in plain or b"%2f" in path.lower() or b".." in plain.split(b"/"):
        raise RequestRejected("path")
    try:
        plain.decode()
    except UnicodeDecodeError as error:
        raise RequestRejected("path") from error

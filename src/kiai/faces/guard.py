"""The request guard: limits on heads, bodies, targets, time and connections, below all faces.

uvicorn's protocol answers whoever speaks; this subclass of it decides who is spoken to. What one connection has been
sent is in one of four phases:

    QUIET --first byte--> HEAD --blank line--> BODY --last byte--> QUIET ...      OVER: refused, nothing more is read

Time is counted by one sweep a server over all open connections, not by timers and not by a clock: a phase's age grows
by `sweep_s` at each sweep and is judged before it grows. A limit is thus up to one sweep late and never early; a loop
that lags makes it later, and a clock that jumps does not matter. While we do not read (the app is slow to take the
body, or has not yet asked an `Expect: 100-continue` client to go on) the age stands still.

Bytes are counted by `unfinished_bytes`: what was fed since something was last complete (a head, a piece of body, a
message). It bounds incomplete heads, chunk lines and trailers alike, all of which the parser would collect for ever.

Memory that bodies take is bounded by `body_room.py`: a large one has its whole length reserved before it is read on,
until its answer has left.

A refusal is answered once, after every earlier answer of the connection, and never into an answer that has begun. Then
we stop sending but read on for `linger_s`: closing on unread bytes would make the system throw the answer away.

See docs/spec/security.md#requests.
"""

import asyncio
import re
import secrets
import sys
from collections import Counter
from ipaddress import IPv4Network, IPv6Network
from typing import Final
from urllib.parse import unquote_to_bytes

import httptools
import msgspec
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from kiai.faces.body_room import BodyRoom
from kiai.faces.one_write import AnswerCycle
from kiai.networks import Network, is_within, network_of

if sys.platform == "linux":
    from fcntl import ioctl
    from termios import TIOCOUTQ

KIB: Final = 1024
MIB: Final = 1024 * KIB
LENGTH_DIGITS_MAX: Final = 20
SURPLUS_MAX: Final = 1_000  # refused connections that may linger at once; more are dropped without an answer
QUIET, HEAD, BODY, OVER = range(4)


class GuardLimits(msgspec.Struct, frozen=True):
    """Every number of the guard: sizes in bytes, times in seconds.

    See docs/operate/limits.md#the-guard.
    """

    head_s: float = 10.0
    head_bytes: int = 16 * KIB
    fields: int = 100
    target_bytes: int = 8 * KIB
    body_bytes: int = 20 * MIB
    body_s: float = 60.0
    upload_s: float = 300.0
    upload_bytes: int = MIB  # a Content-Length above it has `upload_s`
    body_bytes_per_s: int = KIB
    room_bytes_per_s: int = 8 * KIB  # of a body that has room (`body_room.py`)
    body_grace_s: float = 10.0  # so often the rate is looked at
    free_body_bytes: int = 64 * KIB  # up to here a body needs no room
    bodies_bytes: int = 80 * MIB
    small_bodies_bytes: int = 16 * MIB  # of these, for bodies of at most `upload_bytes`
    bodies_bytes_per_address: int = 24 * MIB
    room_wait_s: float = 5.0
    crowded_bytes_per_s: int = 32 * KIB  # asked for while others wait for room
    crowded_s: float = 3.0  # so long a sender may be slower than that
    pipelined: int = 100
    idle_s: float = 75.0
    unread_s: float = 30.0
    linger_s: float = 2.0
    parting_s: float = 1.0
    sweep_s: float = 1.0
    connections: int = 10_000
    connections_per_address: int = 200
    trusted: tuple[Network, ...] = ()
    loopback: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


# Why, the status, and a sentence whose names are those of GuardLimits.
REFUSALS: Final[dict[str, tuple[int, str]]] = {
    "malformed": (400, "This is not a well-formed HTTP/1.1 request."),
    "host": (400, "A request has exactly one Host header."),
    "path": (400, "A path has no '..' segment, encoded slash, backslash or NUL, and is UTF-8 once decoded."),
    "upgrade": (400, "A request with a body cannot ask for an Upgrade."),
    "head_slow": (408, "The head of the request was not complete within {head_s:g} s."),
    "body_slow": (408, "The body of the request came slower than {body_bytes_per_s} bytes/s."),
    "upload_slow": (408, "A body above {free_body_bytes} bytes came slower than {room_bytes_per_s} bytes/s."),
    "crowded": (408, "Other bodies wait for room, and this one came slower than {crowded_bytes_per_s} bytes/s."),
    "body_late": (408, "The body was not complete within {body_s:g} s (above {upload_bytes} bytes: {upload_s:g} s)."),
    "body_large": (413, "The body of the request is larger than {body_bytes} bytes."),
    "target_large": (414, "The target of the request is longer than {target_bytes} bytes."),
    "head_large": (431, "The head of the request is larger than {head_bytes} bytes."),
    "fields": (431, "The request has more than {fields} header fields."),
    "no_room": (503, "There was no room for the body of the request within {room_wait_s:g} s."),
    "pipelined": (503, "More than {pipelined} requests are waiting on this connection."),
    "address": (503, "There are already {connections_per_address} connections from this address."),
    "connections": (503, "There are already {connections} connections."),
}
UNREAD: Final = "unread"
RETRY_AFTER_S: Final = 5


class Refused(Exception):
    """Stops the parser in the middle of a request. `reason` is a key of REFUSALS."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def guarded_protocol(limits: GuardLimits) -> type["GuardedProtocol"]:
    """The protocol of one server, for `uvicorn.Config(http=...)`; its `ledger` tells the figures for metrics."""

    class Guarded(GuardedProtocol):
        ledger = Ledger(limits)

    return Guarded


def counted_as(address: str, exempt: tuple[Network, ...]) -> str | None:
    """Under which name an address is counted (`networks.network_of`); None for one in the exempt networks."""
    return None if is_within(address, exempt) else network_of(address)


class Ledger:
    """The connections of one server, and how often what was refused."""

    def __init__(self, limits: GuardLimits) -> None:
        self.refused: Counter[str] = Counter(dict.fromkeys((*REFUSALS, UNREAD), 0))
        self.limits = limits
        self._exempt = (*limits.loopback, *limits.trusted)
        self._open: dict[GuardedProtocol, str | None] = {}
        self.surplus: set[GuardedProtocol] = set()  # refused as they came, and not gone yet
        self._by_address: Counter[str] = Counter()
        self.room = BodyRoom(limits)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """How many are open, those of the surplus not counted."""
        return len(self._open)

    def enter(self, connection: "GuardedProtocol") -> str | None:
        """Takes a new connection in; the reason when it is one too many."""
        if self._timer is None:
            self._timer = connection.loop.call_later(self.limits.sweep_s, self._sweep, connection.loop)
        # A Unix socket has no address to count.
        name = counted_as(connection.client[0], self._exempt) if connection.client else None
        crowded = name is not None and self._by_address[name] >= self.limits.connections_per_address
        if crowded or len(self._open) >= self.limits.connections:
            self.surplus.add(connection)
            return "address" if crowded else "connections"
        self._open[connection] = name
        if name is not None:
            self._by_address[name] += 1
        return None

    def name_of(self, connection: "GuardedProtocol") -> str | None:
        """Under which name an open connection is counted."""
        return self._open.get(connection)

    def leave(self, connection: "GuardedProtocol") -> None:
        """Lets a lost connection go; the last one stops the sweep."""
        self.room.leave(connection)
        self.surplus.discard(connection)
        name = self._open.pop(connection, None)
        if name is not None:
            self._by_address[name] -= 1
            if not self._by_address[name]:
                del self._by_address[name]
        if self._timer is not None and not self._open and not self.surplus:
            self._timer.cancel()
            self._timer = None

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(self.limits.sweep_s, self._sweep, loop)
        for connection in (*self._open, *self.surplus):
            connection.grow_older()


class _Flow(FlowControl):
    """uvicorn's, which goes on reading when the app wants more; not while the body waits for room."""

    waits_for_room = False

    def resume_reading(self) -> None:
        if not self.waits_for_room:
            super().resume_reading()


class GuardedProtocol(HttpToolsProtocol):
    """One connection under the limits of its server."""

    # PERF: slots, because uvicorn's own 28 attributes and ours together are more than the 30 Python keeps compact.
    __slots__ = (
        "age_s",
        "answering",
        "body_bytes",
        "body_limit_s",
        "counted_bytes",
        "counted_s",
        "declared_bytes",
        "has_room",
        "leaving",
        "limits",
        "phase",
        "slow_s",
        "swept_bytes",
        "unfinished_bytes",
        "unread_bytes",
        "unread_s",
        "waited_s",
    )
    ledger: Ledger
    flow: _Flow

    # --- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport)
        self.limits = self.ledger.limits
        self.phase = QUIET
        self.age_s = 0.0
        self.unfinished_bytes = 0
        self.body_bytes = 0
        self.body_limit_s = 0.0
        self.declared_bytes = 0
        self.has_room = False
        self.waited_s = 0.0  # for room
        self.counted_bytes = 0  # of the body, when the rate was last judged
        self.counted_s = 0.0
        self.swept_bytes = 0  # of the body, at the last sweep
        self.slow_s = 0.0  # for so long it has been too slow for a crowded server
        self.leaving = False
        # The request that is being answered; uvicorn's `cycle` is the one that was read last.
        self.answering: RequestResponseCycle | None = None
        self.unread_bytes = 0
        self.unread_s = 0.0
        one_too_many = self.ledger.enter(self)
        if one_too_many is not None:
            self._refuse(one_too_many)
            if len(self.ledger.surplus) > SURPLUS_MAX:
                transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ledger.leave(self)
        super().connection_lost(exc)
        if self.answering is not None:
            _forget(self.answering)

    def data_received(self, data: bytes) -> None:
        if self.phase == OVER:
            return
        self.unfinished_bytes += len(data)
        rest: bytes | memoryview = data
        while rest:
            try:
                self.parser.feed_data(rest)
                break
            except httptools.HttpParserUpgrade as upgrade:
                # We switch to no protocol: the request is answered like any other, and what follows it is read on.
                rest = memoryview(rest)[upgrade.args[0] :]
            except httptools.HttpParserError as error:
                cause = error.__context__
                if not isinstance(cause, Refused | httptools.HttpParserError | None):
                    raise  # our own fault, not the client's
                self._refuse(cause.reason if isinstance(cause, Refused) else "malformed")
                return
        if self.unfinished_bytes > self.limits.head_bytes:
            self._refuse("head_large")

    # --- what the parser finds

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.phase = HEAD
        self.age_s = 0.0

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self.limits.target_bytes:
            raise Refused("target_large")

    def on_header(self, name: bytes, value: bytes) -> None:
        # PERF: says again what the method above it says; calling that one costs 0.5 us a request.
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        if len(self.headers) >= self.limits.fields:
            raise Refused("fields")
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        limits = self.limits
        if self.unfinished_bytes > limits.head_bytes and _head_bytes(self.url, self.headers) > limits.head_bytes:
            raise Refused("head_large")
        hosts = length = 0
        chunked = False
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
            elif name == b"content-length":
                # The parser has seen to it that there is one, and that it is a number.
                length = int(value) if len(value) <= LENGTH_DIGITS_MAX else limits.body_bytes + 1
            elif name == b"transfer-encoding":
                chunked = True
        if hosts != 1 and (hosts or self.parser.get_http_version() != "1.0"):
            raise Refused("host")
        if not _ORDINARY(self.url):
            _judge(self.url.partition(b"?")[0])
        if length > limits.body_bytes:
            raise Refused("body_large")
        if (length or chunked) and self.parser.should_upgrade():
            raise Refused("upgrade")  # the parser would take the body for the next request
        if len(self.pipeline) >= limits.pipelined:
            raise Refused("pipelined")
        super().on_headers_complete()
        self.headers = []  # the request has its own by now: trailers must not become headers
        self.phase = BODY
        self.age_s = 0.0
        self.unfinished_bytes = 0
        self.body_bytes = 0
        self.body_limit_s = limits.upload_s if length > limits.upload_bytes else limits.body_s
        self.declared_bytes = length or limits.body_bytes
        self.has_room = False
        self.counted_bytes = self.swept_bytes = 0
        self.counted_s = self.slow_s = 0.0

    def on_body(self, body: bytes) -> None:
        self.unfinished_bytes = 0
        self.body_bytes += len(body)
        if self.body_bytes > self.limits.body_bytes:
            raise Refused("body_large")
        super().on_body(body)
        if self.body_bytes > self.limits.free_body_bytes and not self.has_room and not self.cycle.response_complete:
            self._ask_for_room()

    def on_message_complete(self) -> None:
        # PERF: says again what the method above it says, without asking for the upgrades we do not do.
        if not self.cycle.response_complete:
            self.cycle.more_body = False
            self.cycle.message_event.set()
        self.phase = QUIET
        self.age_s = 0.0
        self.unfinished_bytes = 0

    # --- room for the body

    def _ask_for_room(self) -> None:
        self.has_room = True
        if not self.ledger.room.ask(self, self.declared_bytes, self.ledger.name_of(self)):
            self.waited_s = 0.0
            self.flow.waits_for_room = True
            self.flow.pause_reading()

    def room_given(self) -> None:
        """Implements `body_room.Waiting`."""
        self.flow.waits_for_room = False
        if len(self.cycle.body) <= HIGH_WATER_LIMIT:
            self.flow.resume_reading()

    def _leave_room(self) -> None:
        if self.has_room:
            self.has_room = False
            self.flow.waits_for_room = False
            self.ledger.room.leave(self)

    # --- what uvicorn does

    def _should_upgrade(self) -> bool:
        return False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        # uvicorn names the class of its cycles in no setting; the two have the same layout.
        cycle.__class__ = AnswerCycle
        cycle.scope["kiai.wire"] = cycle  # type: ignore[typeddict-unknown-key]
        self.answering = cycle
        if self.leaving and not self.pipeline:
            cycle.keep_alive = False
        super()._start_asgi_task(cycle, app)

    def shutdown(self) -> None:
        """The server stops: what is on its way here is answered still, as the last of this connection.

        uvicorn closes whoever it is not answering. But a connection may just have been accepted, its request in the
        system's buffer and not yet read: closing it then resets it, and a request that somebody else could have
        answered has failed.
        """
        self.leaving = True
        if self.answering is not None and not self.answering.response_complete:
            (self.pipeline[0][0] if self.pipeline else self.answering).keep_alive = False
        else:
            self.loop.call_later(self.limits.parting_s, self._part)

    def _part(self) -> None:
        if self.phase == QUIET and (self.answering is None or self.answering.response_complete):
            self.transport.close()

    def on_response_complete(self) -> None:
        # PERF: not the method above it, which sets a keep-alive timer after each request: the sweep does that.
        self.server_state.total_requests += 1
        if self.cycle.response_complete:
            self._leave_room()
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self.flow.resume_reading()

    # --- time

    def grow_older(self) -> None:
        """Called at each sweep: ends what has taken too long."""
        limits = self.limits
        if self._nobody_reads():
            self.ledger.refused[UNREAD] += 1
            self.transport.abort()
        elif self.phase == HEAD:
            if self.age_s >= limits.head_s:
                self._refuse("head_slow")
            elif not self.flow.read_paused:
                self.age_s += limits.sweep_s
        elif self.phase == BODY:
            if self.age_s >= self.body_limit_s:
                self._refuse("body_late")
            elif self.flow.waits_for_room:
                if self.waited_s >= limits.room_wait_s:
                    self._refuse("no_room")
                self.waited_s += limits.sweep_s
            elif not self.flow.read_paused and not self.cycle.waiting_for_100_continue:
                self._judge_rate()
                self.age_s += limits.sweep_s
        elif self.answering is None or self.answering.response_complete or self.answering.disconnected:
            # Who has never said anything goes early, but without an answer: browsers open connections ahead of need.
            patience_s = limits.head_s if self.answering is None else limits.idle_s
            if self.age_s >= (limits.linger_s if self.phase == OVER else patience_s):
                self.transport.close()
            self.age_s += limits.sweep_s

    def _judge_rate(self) -> None:
        """Refuses a body that came too slowly since it was judged last: a fast beginning is no credit for later."""
        limits = self.limits
        if self.counted_s >= limits.body_grace_s:
            least = limits.room_bytes_per_s if self.has_room else limits.body_bytes_per_s
            if self.body_bytes - self.counted_bytes < self.counted_s * least:
                self._refuse("upload_slow" if self.has_room else "body_slow")
                return
            self.counted_s, self.counted_bytes = 0.0, self.body_bytes
        self.counted_s += limits.sweep_s
        if not self.has_room:
            return
        fast = self.body_bytes - self.swept_bytes >= limits.crowded_bytes_per_s * limits.sweep_s
        self.swept_bytes = self.body_bytes
        self.slow_s = 0.0 if fast else self.slow_s + limits.sweep_s
        if self.slow_s > limits.crowded_s and self.ledger.room.crowded:
            self._refuse("crowded")

    def _nobody_reads(self) -> bool:
        unread_bytes = _unread_bytes(self.transport)
        if unread_bytes and 0 < self.unread_bytes <= unread_bytes:
            self.unread_s += self.limits.sweep_s
        else:
            self.unread_s = 0.0
        self.unread_bytes = unread_bytes
        return self.unread_s >= self.limits.unread_s

    # --- refusing

    def _refuse(self, reason: str) -> None:
        if self.transport.is_closing():
            return
        self.ledger.refused[reason] += 1
        self._leave_room()
        faulty = self.cycle if self.phase == BODY else None
        self.phase = OVER
        self.age_s = 0.0
        answering = self.answering
        if answering is not None and answering is not faulty and not answering.response_complete:
            if faulty is not None:
                self.pipeline.popleft()  # the newest
            last = self.pipeline[0][0] if self.pipeline else answering
            last.keep_alive = False
            return
        if faulty is None or not faulty.response_started:
            self._answer(*REFUSALS[reason])
            if isinstance(faulty, AnswerCycle):
                faulty.answered_above(REFUSALS[reason][0])
        else:
            _forget(faulty)
        if not self.transport.can_write_eof():  # TLS
            self.transport.close()
            return
        try:
            self.transport.write_eof()
        except OSError:  # the client has gone meanwhile
            self.transport.abort()
        else:
            self.flow.resume_reading()

    def _answer(self, status: int, sentence: str) -> None:
        request_id = f"guard-{secrets.token_hex(6)}"
        said = sentence.format_map(msgspec.structs.asdict(self.limits))
        answer: dict[str, str | None] = {"status": said}
        if getattr(self, "url", b"").startswith(
            _V2_PATHS
        ):  # the errors of the API's version 2 have a form of their own
            answer = {
                "status": "error",
                "error": said,
                "code": _V2_CODES[status],
                "param": None,
                "request_id": request_id,
            }
        body = msgspec.json.encode(answer)
        headers = [
            *self.server_state.default_headers,
            (b"x-request-id", request_id.encode()),
            (b"access-control-allow-origin", b"*"),  # a page that asks the API may read why it was refused
            (b"content-type", b"application/json; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            *([(b"retry-after", b"%d" % RETRY_AFTER_S)] if status == 503 else ()),
        ]
        self.transport.write(
            b"%b%b\r\n%b" % (STATUS_LINE[status], b"".join(b"%b: %b\r\n" % header for header in headers), body)
        )


_V2_PATHS: Final = (b"/v2/", b"/api/v2/")
_V2_CODES: Final = {
    400: "bad_request",
    408: "bad_request",
    413: "too_large",
    414: "too_large",
    431: "too_large",
    503: "unavailable",
}

# PERF: tells in 0.2 us that there is nothing to decode, nor a segment that begins with a dot.
_ORDINARY: Final = re.compile(rb"(?:/(?!\.)[^/?%\\]*+)++(?:\?|\Z)").match


def _forget(cycle: RequestResponseCycle) -> None:
    """Lets the app know that its client is gone; what it still sends goes nowhere."""
    if not cycle.response_complete:
        cycle.disconnected = True
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()


def _unread_bytes(transport: asyncio.Transport) -> int:
    unread_bytes = transport.get_write_buffer_size()
    if unread_bytes and sys.platform == "linux":
        # The system takes more from us only when a third of its own buffer is free: with a slow reader, minutes.
        socket = transport.get_extra_info("socket")
        unread_bytes += int.from_bytes(ioctl(socket.fileno(), TIOCOUTQ, bytes(4)), sys.byteorder)
    return unread_bytes


def _head_bytes(target: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    return len(target) + sum(len(name) + len(value) + len(": \r\n") for name, value in headers)


def _judge(path: bytes) -> None:
    # A path may stand behind http://host, the form for proxies; the target of CONNECT has none.
    if not path.startswith(b"/") and httptools.parse_url(path).path is None:
        raise Refused("malformed")
    plain = unquote_to_bytes(path)
    if b"\0" in plain or b"\\" in plain or b"%2f" in path.lower() or b".." in plain.split(b"/"):
        raise Refused("path")
    try:
        plain.decode()
    except UnicodeDecodeError as error:
        raise Refused("path") from error

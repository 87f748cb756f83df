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

`guard_limits.py` has the limits, `request_head.py` the checks of a complete head, `refusals.py` the answers to refused
requests, and `connections.py` the number of connections and the sweep.

See docs/spec/security.md#requests.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from kiai.faces.answer_budget import unread_bytes as unread_bytes_of
from kiai.faces.asgi import Scope
from kiai.faces.connections import Ledger, address_key
from kiai.faces.guard_limits import GuardLimits
from kiai.faces.quick import BODY_MAX as QUICK_BODY_MAX
from kiai.faces.quick import Encoder, QuickAnswer
from kiai.faces.refusals import REFUSALS, UNREAD, RequestRejected, refusal
from kiai.faces.request_head import check_head
from kiai.faces.single_write import SingleWriteCycle
from kiai.networks import forwarded_address, is_within

SURPLUS_MAX: Final = 1_000  # refused connections that may linger at once; more are closed without an answer
QUIET, HEAD, BODY, OVER = range(4)


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
        length, chunked = check_head(self.url, self.headers, self.parser, limits, self.unfinished_bytes)
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
            self.transport.write(piece)
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
            # uvicorn sets `url` at the first request only.
            target: bytes = getattr(self, "url", b"")
            self.transport.write(refusal(reason, self.limits, target, self.server_state.default_headers))
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


_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


def _disconnect(cycle: RequestResponseCycle) -> None:
    """Report to the application that its client has gone. The cycle discards what the application still sends."""
    if not cycle.response_complete:
        cycle.disconnected = True
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()

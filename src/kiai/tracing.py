"""Traces of requests, sent to a collector by OTLP over HTTP (OpenTelemetry). Off unless `otlp_endpoint` is set.

While traces are off, no package of OpenTelemetry is imported, and requests run no code of this module. While they are
on, a share of the requests is traced: calls to stores and calculations of pp are noted during the request, and become
spans at its end. A thread of OpenTelemetry sends them from a bounded queue, which drops spans while the collector does
not answer. Spans have routes, statuses and names of statements. They have no paths, query strings, values or names of
players.
"""

import asyncio
import logging
import os
import random
import socket
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from urllib.parse import urlsplit

from kiai.errors import Refused, Unavailable
from kiai.logs import Outage
from kiai.measuring import Timings
from kiai.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

SPANS_MAX: Final = 200
"""The calls of one request that become spans."""
QUEUE_MAX: Final = 2_048
BATCH_MAX: Final = 256
SEND_EVERY_MS: Final = 1_000
ANSWER_S: Final = 5.0
PATH: Final = "/v1/traces"
UNKNOWN_STATUS: Final = 499
"""The status of a request whose client disconnected before the answer left."""

CHOSEN: Final = "kiai.traced"
"""The key of the scope that says whether a request is traced."""

App = Callable[[Any, Any, Any], Any]
AnswerAtOnce = Callable[[Any, bytes], Any]


class Call(NamedTuple):
    """A call during a request. Both times are of `perf_counter`."""

    name: str
    began: float
    ended: float
    statement: str = ""


TRACE: Final[ContextVar[list[Call] | None]] = ContextVar("trace", default=None)
"""The calls of the present request, None if it is not traced."""


def add_call(name: str, began: float, statement: str = "") -> None:
    """Add a call that began at `began`, by `perf_counter`, and ends now, to the trace of the present request."""
    calls = TRACE.get()
    if calls is not None and len(calls) < SPANS_MAX:
        calls.append(Call(name, began, perf_counter(), statement))


class TracedTimings(Timings):
    """Durations of calls to a store that also add each call to the trace. `name_of` names the statement of a call."""

    __slots__ = ("_name_of", "_store")

    def __init__(self, store: str, name_of: Callable[[Any], str] = lambda about: "") -> None:
        super().__init__()
        self._store = store
        self._name_of = name_of

    def since(self, began: float, op: str, about: object = None) -> float:
        """Count a call as `Timings.since`, and add it to the trace."""
        seconds = super().since(began, op)
        if TRACE.get() is not None:
            add_call(f"{self._store} {op}", began, "" if about is None else self._name_of(about))
        return seconds


class Tracing:
    """Traces a share of the requests, `ratio` from 0 to 1."""

    def __init__(self, provider: "TracerProvider", ratio: float) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        self._provider = provider
        self._ratio = ratio
        self._tracer = provider.get_tracer("kiai", VERSION)
        self._server, self._failed, self._within = SpanKind.SERVER, Status(StatusCode.ERROR), set_span_in_context

    def app(self, front: App) -> App:
        """Return an ASGI application that traces the requests to `front`."""

        async def traced(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http" or not self._chooses(scope):
                await front(scope, receive, send)
                return
            calls: list[Call] = []
            TRACE.set(calls)  # of the task of this request
            wire, began = scope["kiai.wire"], perf_counter()
            try:
                await front(scope, receive, send)
            finally:
                self._record(scope, wire.status_sent or UNKNOWN_STATUS, began, calls)

        return traced

    def at_once(self, answer: AnswerAtOnce) -> AnswerAtOnce:
        """Return a function for quick answers (`faces/quick.py`) that leaves traced requests to the application."""

        def untraced(scope: Any, body: bytes) -> Any:
            return None if self._chooses(scope) else answer(scope, body)

        return untraced

    def _chooses(self, scope: Any) -> bool:
        """Return whether the request is traced. The answer for one request is always the same."""
        chosen: bool | None = scope.get(CHOSEN)
        if chosen is None:
            chosen = scope[CHOSEN] = random.random() < self._ratio
        return chosen

    def _record(self, scope: Any, status: int, began: float, calls: list[Call]) -> None:
        """Create the spans of a request that ends now."""
        ended = perf_counter()
        offset_ns = time.time_ns() - int(ended * 1e9)

        def ns(seconds: float) -> int:
            return int(seconds * 1e9) + offset_ns

        route = scope.get("kiai.route", "other")
        attributes = {"http.request.method": scope["method"], "http.route": route, "http.response.status_code": status}
        span = self._tracer.start_span(
            f"{scope['method']} {route}", kind=self._server, start_time=ns(began), attributes=attributes
        )
        if status >= 500:
            span.set_status(self._failed)
        context = self._within(span)
        for call in calls:
            named = {"kiai.statement": call.statement} if call.statement else {}
            self._tracer.start_span(call.name, context, start_time=ns(call.began), attributes=named).end(ns(call.ended))
        span.end(ns(ended))

    async def close(self) -> None:
        """Send the spans that wait. May take as long as the collector; cancel it to give them up."""
        await asyncio.to_thread(self._provider.force_flush)


def open_tracing(endpoint: str, ratio: float) -> Tracing:
    """Start the thread that sends spans to the collector. Raises Refused if the packages are not installed.

    `endpoint` is a URL; without a path, `/v1/traces` is added.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON
    except ImportError as error:
        raise Refused(
            f"otlp_endpoint needs {error.name}; install it with `pip install 'kiai[otlp]'`, or unset otlp_endpoint"
        ) from error
    url = endpoint if urlsplit(endpoint).path.strip("/") else endpoint.rstrip("/") + PATH
    resource = {
        "service.name": "kiai",
        "service.version": VERSION,
        "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
    }
    provider = TracerProvider(resource=Resource(resource), sampler=ALWAYS_ON, shutdown_on_exit=False)
    exporter = cast("SpanExporter", _LoggedOnce(OTLPSpanExporter(endpoint=url, timeout=ANSWER_S)))
    provider.add_span_processor(
        BatchSpanProcessor(
            exporter,
            max_queue_size=QUEUE_MAX,
            schedule_delay_millis=SEND_EVERY_MS,
            max_export_batch_size=BATCH_MAX,
        )
    )
    return Tracing(provider, ratio)


class _LastMessage(logging.Handler):
    """Remembers the last message of OpenTelemetry, which logs each failure."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


class _LoggedOnce:
    """An exporter whose failures are logged once per outage of the collector."""

    def __init__(self, exporter: "SpanExporter") -> None:
        self._exporter = exporter
        self._last = _LastMessage()
        theirs = logging.getLogger("opentelemetry")
        theirs.handlers[:] = [self._last]
        theirs.propagate = False
        self._outage = Outage("traces", "traces not sent", "traces are sent again")

    def export(self, spans: "Sequence[ReadableSpan]") -> "SpanExportResult":
        """Send spans. Never raises."""
        self._last.text = ""
        try:
            result = self._exporter.export(spans)
        except Exception as error:
            self._last.text = str(error)
            result = self._failure()
        if result is self._failure():
            self._outage.failed(Unavailable("the collector", self._last.text or "it refused the spans"))
        else:
            self._outage.worked()
        return result

    @staticmethod
    def _failure() -> "SpanExportResult":
        from opentelemetry.sdk.trace.export import SpanExportResult

        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Give up what is being sent."""
        self._exporter.shutdown()

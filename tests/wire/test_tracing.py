"""Traces of a running server: what a collector receives, and what happens without one."""

import gzip
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.patience import join, patiently
from tests.wire.kit import Server, eventually

from kiai.errors import Refused
from kiai.measuring import Timings
from kiai.tracing import SPANS_MAX, TRACE, TracedTimings, add_call, open_tracing

SECRET = "only-for-me"


class Collector:
    """A receiver of OTLP over HTTP on loopback. `status` is what it answers."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.paths: set[str] = set()
        self.status = 200
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.paths.add(self.path)
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.bodies.append(body)
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def spans(self) -> list[Any]:
        found = []
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    found += scope.spans
        return found


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        collector.server.shutdown()
        collector.server.server_close()
        join(thread)


@contextmanager
def traced(data: Path, endpoint: str) -> Iterator[Server]:
    server = Server(data, OTLP_ENDPOINT=endpoint, OTLP_RATIO="1").start()
    try:
        yield server
        server.stop()
    finally:
        server.kill()


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def test_collector_gets_requests_with_routes_and_their_statements_and_nothing_private(
    collector: Collector, tmp_path: Path
) -> None:
    with traced(tmp_path / "data", collector.url) as server:
        server.cli("users", "add", "Anna", "--email", "anna@example.org", "--password", SECRET + " 1")
        assert server.get(f"/v2/players/search?q={SECRET}").status == 200
        polls = [
            server.ask("POST", "/", host="c.localhost", headers={"User-Agent": "osu!", "osu-token": SECRET})
            for _ in range(3)
        ]
        assert {poll.status for poll in polls} == {200}

    spans = collector.spans()
    [request] = [span for span in spans if span.name == "GET /v2/players/search"]
    calls = [span for span in spans if span.parent_span_id == request.span_id]
    assert collector.paths == {"/v1/traces"}
    assert attributes(request) == {
        "http.request.method": "GET",
        "http.route": "/v2/players/search",
        "http.response.status_code": 200,
    }
    assert not request.parent_span_id
    reads = [call for call in calls if call.name == "database read"]
    assert all(attributes(read)["kiai.statement"].startswith("kiai.") for read in reads)
    assert reads
    assert all(request.start_time_unix_nano <= call.start_time_unix_nano for call in calls)
    assert all(call.end_time_unix_nano <= request.end_time_unix_nano for call in calls)
    assert len([span for span in spans if span.name == "POST poll"]) == 3
    assert not any(word in body for body in collector.bodies for word in (SECRET.encode(), b"Anna", b"127.0.0.1"))


@pytest.mark.parametrize("failure", ["refused", "failing"])
def test_failing_collector_is_logged_once_and_hurts_no_request(
    collector: Collector, tmp_path: Path, failure: str
) -> None:
    collector.status = 400
    endpoint = collector.url if failure == "failing" else "http://127.0.0.1:9"
    with traced(tmp_path / "data", endpoint) as server:
        for _ in range(2):
            assert server.get("/get_player_count").status == 200
            eventually(lambda: any(line["event"] == "traces not sent" for line in server.log_lines))

        lines = [line for line in server.log_lines if line["event"] == "traces not sent"]
        assert len(lines) == 1
        assert lines[0]["why"]
        assert [line for line in server.log_lines if line.get("level") == "error"] == []


def test_server_without_a_collector_imports_nothing_of_opentelemetry_and_has_no_layer() -> None:
    code = (
        "import sys, kiai.server_process\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'requests', 'google'))])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=patiently(120)
    )

    assert done.stdout.strip() == "[]"


def test_missing_package_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)

    with pytest.raises(Refused, match=r"pip install 'kiai\[otlp\]'"):
        open_tracing("http://127.0.0.1:4318", 1.0)


def test_calls_outside_of_a_traced_request_are_counted_only() -> None:
    plain, timings = Timings(), TracedTimings("database", str)

    for one in (plain, timings):
        one.since(0.0, "read", "statement")

    assert timings.by_op["read"][:-1] == plain.by_op["read"][:-1]
    assert TRACE.get() is None


def test_spans_of_a_request_are_bounded() -> None:
    before = TRACE.set([])
    try:
        for _ in range(2 * SPANS_MAX):
            add_call("pp", 0.0)
        assert len(TRACE.get() or ()) == SPANS_MAX
    finally:
        TRACE.reset(before)

"""`/metrics` of a running server: requests, streams, stores, disks and backups."""

import contextlib
import http.client
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.patience import patiently
from tests.wire.kit import API, Server, eventually

PROMISED: Final = {
    "counter": """kiai_http_requests_total kiai_guard_refused_total kiai_logins_total kiai_packets_refused_total
        kiai_submissions_total kiai_integrity_flags_total kiai_dropped_total kiai_job_failures_total
        process_cpu_seconds_total""",
    "histogram": "kiai_http_seconds kiai_store_seconds",
    "gauge": """kiai_loop_lag_seconds kiai_loop_lag_max_seconds kiai_rss_bytes kiai_build_info kiai_connections
        kiai_players_online kiai_rooms kiai_disk_free_bytes kiai_outbox_rows kiai_outbox_oldest_seconds
        kiai_outbox_parked kiai_job_last_success_timestamp_seconds kiai_pp_waiting kiai_pool_in_use kiai_pool_size
        kiai_event_streams kiai_backup_last_success_timestamp_seconds kiai_backup_last_bytes
        kiai_tls_not_after_timestamp_seconds kiai_workers process_virtual_memory_bytes process_resident_memory_bytes
        process_start_time_seconds process_open_fds process_max_fds""",
}
"""The metrics whose names never change, by type: dashboards of operators depend on them."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("metrics") / "data").start()
    try:
        yield server
        server.stop()
    finally:
        server.kill()


def figures(server: Server) -> dict[str, float]:
    """Return the series of `/metrics` with their values."""
    reply = server.get("/metrics", host="localhost")
    assert reply.status == 200
    lines = [line for line in reply.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def missing(server: Server) -> set[tuple[str, str]]:
    """Return the metrics of `PROMISED` that `/metrics` does not declare, with their types."""
    text = server.get("/metrics", host="localhost").body.decode()
    declared = {(name, kind) for name, kind in re.findall(r"(?m)^# TYPE (\S+) (\S+)$", text)}
    return {(name, kind) for kind, names in PROMISED.items() for name in names.split()} - declared


@contextlib.contextmanager
def listening(server: Server) -> Iterator[http.client.HTTPResponse]:
    """A client of the event stream."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=patiently(20))
    connection.request("GET", "/v2/events", headers={"Host": API})
    answer = connection.getresponse()
    try:
        yield answer
    finally:
        answer.close()
        connection.close()


def test_every_promised_metric_is_declared_with_its_type(server: Server) -> None:
    assert missing(server) == set()


def test_event_stream_is_counted_but_not_timed(server: Server) -> None:
    with listening(server) as answer:
        assert answer.readline().startswith(b":")
        during = figures(server)

    eventually(lambda: figures(server)["kiai_event_streams"] == 0)
    # The request is counted a moment after its stream has ended.
    eventually(lambda: any("kiai_http_requests_total" in name and "/v2/events" in name for name in figures(server)))
    after = figures(server)
    assert during["kiai_event_streams"] == 1
    assert not [name for name in after if name.startswith("kiai_http_seconds") and "/v2/events" in name]
    assert [name for name in after if name.startswith("kiai_http_seconds") and "/metrics" in name]


def test_error_of_the_event_stream_is_timed(server: Server) -> None:
    assert server.get("/v2/events?types=nothing").status == 422

    assert figures(server)['kiai_http_seconds_count{face="api",route="/v2/events"}'] == 1


def test_server_that_is_ready_has_the_figures_of_its_stores(tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    try:
        found = figures(server)
    finally:
        server.kill()

    assert found["kiai_players_online"] == found["kiai_rooms"] == found["kiai_outbox_rows"] == 0
    assert found['kiai_disk_free_bytes{place="data"}'] > 1_000_000


def test_outbox_disks_pools_stores_and_jobs_have_metrics(server: Server) -> None:
    server.get("/readyz", host="localhost")
    eventually(lambda: 'kiai_job_last_success_timestamp_seconds{job="outbox"}' in figures(server), within_s=20)

    found = figures(server)

    assert found["kiai_outbox_rows"] == found["kiai_outbox_oldest_seconds"] == 0
    assert found['kiai_disk_free_bytes{place="data"}'] > 1_000_000
    assert found['kiai_pool_size{pool="database"}'] >= 1
    assert found['kiai_pool_in_use{pool="pp"}'] == found["kiai_pp_waiting"] == 0
    assert found['kiai_store_seconds_count{op="read",store="database"}'] > 0
    assert found['kiai_store_seconds_count{op="put",store="files"}'] > 0
    assert found['kiai_job_failures_total{job="outbox"}'] == 0
    assert found['kiai_job_last_success_timestamp_seconds{job="outbox"}'] > 1_600_000_000
    assert found["kiai_workers"] == 1


def test_running_server_reports_a_back_up(server: Server, tmp_path: Path) -> None:
    before = figures(server)

    made = server.cli("backup", str(tmp_path / "copy"))

    eventually(lambda: "kiai_backup_last_bytes" in figures(server), within_s=20)
    after = figures(server)
    assert "kiai_backup_last_success_timestamp_seconds" not in before
    assert after["kiai_backup_last_success_timestamp_seconds"] == made["made_at_ms"] / 1000
    assert after["kiai_backup_last_bytes"] == made["bytes"] + sum(part["size"] for part in made["database"])
    assert (server.data / "last-backup.json").stat().st_mode & 0o077 == 0


def test_failed_back_up_leaves_the_metrics_of_the_last_one(server: Server, tmp_path: Path) -> None:
    server.cli("backup", str(tmp_path / "copy"))
    told = (server.data / "last-backup.json").read_bytes()

    with pytest.raises(AssertionError, match="is not empty"):
        server.cli("backup", str(tmp_path / "copy"))

    assert (server.data / "last-backup.json").read_bytes() == told
    assert set(json.loads(told)) == {"at_ms", "bytes"}


def test_sigusr1_writes_tasks_and_stacks_and_the_server_continues(server: Server) -> None:
    with listening(server) as answer:
        assert answer.readline().startswith(b":")
        os.kill(server.process_id, signal.SIGUSR1)

        def lines(event: str) -> list[str]:
            text = (server.data.with_suffix(".stderr")).read_text("utf-8")
            return [line for line in text.splitlines() if f'"event":"{event}"' in line]

        eventually(lambda: any("kiai/jobs.py" in line for line in lines("task")))
        assert len(lines("stacks")) == 1
        assert any('"thread":"MainThread"' in line for line in lines("thread"))
    assert server.get("/healthz").status == 200

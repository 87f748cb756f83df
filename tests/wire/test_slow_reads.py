"""Forty connections of slow reads with rate limits on: they do not delay the reads of others."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import text
from tests import stores
from tests.patience import join, patiently
from tests.wire.kit import Reply, Server, eventually

ATTACKER: Final = "203.0.113.7"
OTHER_CLIENT: Final = "198.51.100.1"
CONNECTIONS: Final = 40
CROWD: Final = 150_000
NAME: Final = "Anna"
PASSWORD: Final = "long enough 1"
SLOW: Final = "/v2/players/search?q=nowhere"  # it looks at every name
QUICK: Final = ("/v2/players/3", "/v2/players/3/stats", "/v2/players/3/scores", "/get_player_info?scope=info&id=3")
QUICK_S: Final = 1.0
FILL: Final = f"""
    INSERT INTO users (name, safe_name, email, priv, created_at_ms, active_at_ms)
    WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {CROWD})
    SELECT 'crowd' || n, 'crowd' || n, 'crowd' || n || '@example.org', 3, 0, 0 FROM n
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with many players, behind a proxy on this machine, so that requests come from addresses of their own."""
    data: Path = tmp_path_factory.mktemp("slow") / "data"
    server = Server(data, TRUSTED_PROXY="127.0.0.1/32", SLOW_STATEMENT_MS="1")
    server.start()
    server.cli("users", "add", NAME, "--email", "anna@example.org", "--password", PASSWORD)
    engine = stores.engine(data)
    with engine.begin() as connection:
        connection.execute(text(FILL))
    engine.dispose()
    try:
        yield server
        server.stop()
    finally:
        server.kill()


@contextmanager
def attack(server: Server) -> Iterator[list[Reply]]:
    """Send slow reads on forty connections until the end of the block. Yield the list of their answers."""
    answers: list[Reply] = []
    stopped = threading.Event()

    def ask() -> None:
        while not stopped.is_set():
            answers.append(server.get(SLOW, X_Forwarded_For=ATTACKER))

    threads = [threading.Thread(target=ask) for _ in range(CONNECTIONS)]
    for one in threads:
        one.start()
    try:
        yield answers
    finally:
        stopped.set()
        for one in threads:
            join(one)


def test_other_clients_are_served_during_forty_connections_of_slow_reads(server: Server) -> None:
    durations: list[float] = []
    replies: list[Reply] = []

    with attack(server) as attacked:
        eventually(lambda: any(one.status == 503 for one in attacked), within_s=30)
        before = len(attacked)
        for _ in range(5):
            for path in QUICK:
                began = time.monotonic()
                replies.append(server.get(path, X_Forwarded_For=OTHER_CLIENT))
                durations.append(time.monotonic() - began)
            replies.append(server.get(SLOW, X_Forwarded_For=OTHER_CLIENT))
        meanwhile = len(attacked) - before

    assert [one.status for one in replies] == [200] * len(replies)
    assert max(durations) < patiently(QUICK_S), durations
    assert meanwhile > 0
    assert {one.status for one in attacked} <= {200, 429, 503}


def test_refused_slow_read_has_retry_after(server: Server) -> None:
    with attack(server) as attacked:
        eventually(lambda: any(one.status == 503 for one in attacked), within_s=30)

    refused = next(one for one in attacked if one.status == 503)
    assert int(refused.headers["retry-after"]) > 0
    assert refused.json["code"] == "unavailable"
    metrics = server.get("/metrics", host="localhost", X_Forwarded_For="127.0.0.1").body.decode()
    assert 'kiai_pool_refused_total{pool="slow_reads"}' in metrics
    assert 'kiai_pool_refused_total{pool="slow_reads"} 0' not in metrics


def test_page_after_10000_entries_is_refused_in_favour_of_the_cursor(server: Server) -> None:
    last = server.get("/v2/players?page=101&page_size=100", X_Forwarded_For=OTHER_CLIENT)
    beyond = server.get("/v2/players?page=102&page_size=100", X_Forwarded_For=OTHER_CLIENT)
    behind = server.get(f"/v2/players?page_size=100&cursor={last.json['meta']['cursor']}", X_Forwarded_For=OTHER_CLIENT)

    assert (last.status, len(last.json["data"])) == (200, 100)
    assert (beyond.status, beyond.json["param"]) == (422, "page")
    assert "cursor" in beyond.json["error"]
    assert (behind.status, len(behind.json["data"])) == (200, 100)


def test_slow_statement_is_in_the_log_with_its_plan_in_the_metrics_and_in_top(server: Server) -> None:
    assert server.get(SLOW).status == 200
    eventually(lambda: any(line["lane"] == "slow" for line in slow_statements(server)))
    line = next(line for line in slow_statements(server) if line["lane"] == "slow")
    shown = server.cli("top", "--once")["slow"]

    assert line["statement"].startswith("kiai.")
    assert line["plan"]
    assert "nowhere" not in str(line)
    assert line["statement"] in [one["statement"] for one in shown]
    metrics = server.get("/metrics", host="localhost", X_Forwarded_For="127.0.0.1").body.decode()
    assert f'kiai_slow_statement_seconds{{statement="{line["statement"]}"}} 0.' in metrics


def slow_statements(server: Server) -> list[Any]:
    return [line for line in server.log_lines if line["event"] == "slow statement"]

"""Stores that hang, cut connections, crash or are full: requests are answered in time, and recover afterwards."""

import contextlib
import itertools
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import pytest
import redis
from sqlalchemy import NullPool, create_engine, make_url, text
from tests import engines
from tests.builders import a_map
from tests.cluster.kit import Cluster, running
from tests.cluster.test_workers import RESTART, line, log_in_again
from tests.faults.submitting import insist
from tests.patience import patiently
from tests.wire.submitting import Played, password_md5, submit, web

NAMES = ["alice", "bob", "carla"]
SONGS = [a_map(100 + n, objects=100, title=f"Song {n}") for n in range(2)]
PAUSE_S: Final = 10.0
AFTER_S: Final = 3.0
CUTS: Final = 3
TIMEOUT_S: Final = 8.0
"""Time limit of each request, in seconds, also when a store hangs."""

_score = itertools.count(10_000)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    # Limits off: the few players ask and play as fast as they can.
    with running(tmp_path_factory.mktemp("paused"), NAMES, SONGS, RATE_LIMITS="off") as cluster:
        yield cluster
        cluster.stop()
        assert '"unhandled"' not in cluster.stderr
        assert cluster.cli("doctor")["problems"] == []


@contextlib.contextmanager
def paused(pids: Sequence[int]) -> Iterator[None]:
    """Stop these processes with SIGSTOP, and continue them afterwards."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            with contextlib.suppress(ProcessLookupError):  # it would have ended by itself
                os.kill(pid, signal.SIGCONT)


class Asker(threading.Thread):
    """Sends one request repeatedly, and records the statuses and the longest time."""

    def __init__(self, ask: Callable[[], int]) -> None:
        super().__init__(daemon=True)
        self.statuses: Counter[int] = Counter()
        self.longest_s = 0.0
        self.stopping = threading.Event()
        self.failure: BaseException | None = None
        self._ask = ask

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                began = time.monotonic()
                self.statuses[self._ask()] += 1
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                time.sleep(0.1)
        except BaseException as error:
            self.failure = error


def redis_processes(cluster: Cluster) -> list[int]:
    assert cluster.redis.process is not None
    return [cluster.redis.process.pid]


def run_with_trouble(cluster: Cluster, trouble: Callable[[], None]) -> dict[str, Counter[int]]:
    """Send all kinds of requests during `trouble` and check that the server recovers. Return the statuses by kind.

    Each request must be answered within the time limit, normally or with 503.
    """
    tokens = {name: log_in_again(cluster, name) for name in NAMES}
    insist(cluster, "alice", Played(SONGS[0].md5, "alice", score=next(_score)).sealed())
    status_of = poll_status(cluster, tokens)
    board = {"us": "alice", "ha": password_md5(), "c": SONGS[0].md5, "m": 0, "v": 1, "s": 0}
    played = iter([Played(SONGS[n % 2].md5, "carla", score=next(_score)).sealed() for n in range(300)])
    askers = {
        "poll": Asker(lambda: status_of("alice", b"")),
        "line": Asker(lambda: status_of("bob", line("said."))),
        "board": Asker(lambda: web(cluster, "/web/osu-osz2-getscores.php", **board).status),
        "player": Asker(lambda: cluster.get("/get_player_info?name=alice&scope=all").status),
        "page": Asker(lambda: cluster.get("/v2/leaderboards/0").status),
        "play": Asker(lambda: submit(cluster, next(played)).status),
        "alive": Asker(lambda: cluster.get("/healthz").status),
    }

    for asker in askers.values():
        asker.start()
    time.sleep(0.5)
    trouble()
    time.sleep(AFTER_S)
    for asker in askers.values():
        asker.stopping.set()
    for asker in askers.values():
        asker.join(patiently(15))

    report = {name: (dict(asker.statuses), round(asker.longest_s, 2)) for name, asker in askers.items()}
    assert {name: asker.failure for name, asker in askers.items() if asker.failure} == {}, report
    assert all(asker.longest_s < patiently(TIMEOUT_S) for asker in askers.values()), report
    assert all(set(asker.statuses) <= {200, 503} for asker in askers.values()), report
    for name, token in tokens.items():
        answer = cluster.ask(
            "POST", "/", host="c.localhost", headers={"User-Agent": "osu!", "osu-token": token}, body=b""
        )
        assert (answer.status, RESTART in answer.body) == (200, False), f"{name}'s session is still there"
    for path in ("/get_player_info?name=alice&scope=all", "/v2/leaderboards/0", "/get_player_count"):
        assert cluster.get(path).status == 200
    submitted = insist(cluster, "bob", Played(SONGS[1].md5, "bob", score=next(_score)).sealed())
    assert cluster.get(f"/get_score_info?id={submitted.score_id}").status == 200
    return {name: asker.statuses for name, asker in askers.items()}


@pytest.mark.parametrize("store", ["redis", "postgresql"])
def test_requests_wait_for_a_paused_store_within_their_limit(cluster: Cluster, store: str) -> None:
    def trouble() -> None:
        with paused(redis_processes(cluster) if store == "redis" else engines.postgres_processes()):
            time.sleep(PAUSE_S)

    statuses = run_with_trouble(cluster, trouble)

    assert statuses["poll" if store == "redis" else "board"][503] > 0, "it was felt"
    assert statuses["alive"][503] == 0


@pytest.mark.parametrize("store", ["redis", "postgresql"])
def test_cut_connections_to_a_store_are_opened_again(cluster: Cluster, store: str) -> None:
    def trouble() -> None:
        for _ in range(CUTS):
            if store == "redis":
                with redis.Redis(port=cluster.redis.port) as client:
                    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            else:
                engines.execute(
                    engines.postgres_url(),
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' "
                    "AND pid <> pg_backend_pid()",
                )
            time.sleep(1.0)

    statuses = run_with_trouble(cluster, trouble)

    assert all(answers[200] > answers[503] for answers in statuses.values()), statuses


def test_nothing_is_lost_when_postgresql_crashes_and_recovers(cluster: Cluster) -> None:
    def trouble() -> None:
        [backend, *_] = rows(
            cluster, "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        os.kill(int(backend[0]), signal.SIGKILL)  # PostgreSQL then ends all others, and recovers

    before = rows(cluster, "SELECT id FROM scores ORDER BY id")
    run_with_trouble(cluster, trouble)

    after = rows(cluster, "SELECT id FROM scores ORDER BY id")
    assert len(after) > len(before)
    assert after[: len(before)] == before


def test_full_redis_fails_polls_but_loses_no_plays(cluster: Cluster) -> None:
    def trouble() -> None:
        with redis.Redis(port=cluster.redis.port) as client:
            client.config_set("maxmemory", 1_000_000)
            try:
                time.sleep(3.0)
            finally:
                client.config_set("maxmemory", 0)

    statuses = run_with_trouble(cluster, trouble)

    assert statuses["poll"][503] > 0, "it was felt"
    for untouched in ("play", "board", "player", "page", "alive"):
        assert set(statuses[untouched]) == {200}, untouched


def rows(cluster: Cluster, sql: str) -> list[Any]:
    engine = create_engine(make_url(cluster.database).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]


def poll_status(cluster: Cluster, tokens: dict[str, str]) -> Callable[[str, bytes], int]:
    def ask(name: str, body: bytes) -> int:
        headers = {"User-Agent": "osu!", "osu-token": tokens[name]}
        return cluster.ask("POST", "/", host="c.localhost", headers=headers, body=body).status

    return ask

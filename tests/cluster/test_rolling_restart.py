"""All workers are replaced several times under load: no request fails."""

import functools
import http.client
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.builders import a_map
from tests.cluster.kit import Cluster, running
from tests.cluster.test_workers import RESTART, log_in_again
from tests.patience import patiently
from tests.wire.kit import API, eventually
from tests.wire.submitting import Played, password_md5, submit, web

NAMES: Final = [f"player{number}x" for number in range(8)]
SONGS: Final = [a_map(100 + n, objects=100, title=f"Song {n}") for n in range(2)]
REPLACEMENTS: Final = 4


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    # Limits off: the few players ask and play as fast as they can.
    with running(tmp_path, NAMES, SONGS, RATE_LIMITS="off") as cluster:
        yield cluster
        cluster.stop()
        assert '"unhandled"' not in cluster.stderr


class Asker(threading.Thread):
    """Sends one request repeatedly, and records the statuses and failures."""

    def __init__(self, name: str, ask: Callable[[], int]) -> None:
        super().__init__(name=name, daemon=True)
        self.statuses: Counter[int] = Counter()
        self.failures: list[str] = []
        self.stopping = threading.Event()
        self._ask = ask

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                self.statuses[self._ask()] += 1
            except Exception as error:
                self.failures.append(f"{self.name}: {error!r}")


class KeptAlive:
    """A client with a keep-alive connection, as a proxy has: when it was closed while idle, a new one is opened."""

    def __init__(self, cluster: Cluster, path: str) -> None:
        self._cluster = cluster
        self._path = path
        self._connection: http.client.HTTPConnection | None = None

    def ask(self) -> int:
        """Send the request. Return the status."""
        if self._connection is not None:
            try:
                return self._send(self._connection)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                self._connection.close()
        self._connection = http.client.HTTPConnection("127.0.0.1", self._cluster.port, timeout=patiently(10))
        return self._send(self._connection)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _send(self, connection: http.client.HTTPConnection) -> int:
        connection.request("GET", self._path, headers={"Host": API})
        answer = connection.getresponse()
        answer.read()
        return answer.status


def are_replaced(cluster: Cluster, before: set[int]) -> bool:
    """Return whether these workers have ended and two others are running."""
    now = set(cluster.workers())
    return len(now) == 2 and not now & before


def test_rolling_restart_under_load_fails_no_request(
    cluster: Cluster, record_property: Callable[[str, object], None]
) -> None:
    tokens = {name: log_in_again(cluster, name) for name in NAMES}
    restarted: list[str] = []

    def poll(name: str) -> int:
        headers = {"User-Agent": "osu!", "osu-token": tokens[name]}
        answer = cluster.ask("POST", "/", host="c.localhost", headers=headers, body=b"")
        if RESTART in answer.body:
            restarted.append(name)
        return answer.status

    plays = iter([Played(SONGS[n % 2].md5, NAMES[6], score=1_000 + n).sealed() for n in range(600)])
    board = {"us": NAMES[7], "ha": password_md5(), "c": SONGS[0].md5, "m": 0, "v": 1, "s": 0}
    kept_alive = KeptAlive(cluster, "/get_player_count")
    askers = [
        *(Asker(f"poll of {name}", functools.partial(poll, name)) for name in NAMES[:4]),
        Asker("board", lambda: web(cluster, "/web/osu-osz2-getscores.php", **board).status),
        Asker("profile", lambda: cluster.get(f"/get_player_info?name={NAMES[0]}&scope=all").status),
        Asker("kept alive", kept_alive.ask),
        Asker("play", lambda: submit(cluster, next(plays)).status),
    ]
    for asker in askers:
        asker.start()
    for _ in range(REPLACEMENTS):
        before = set(cluster.workers())
        cluster.signal(signal.SIGHUP)
        eventually(functools.partial(are_replaced, cluster, before), within_s=60)
    for asker in askers:
        asker.stopping.set()
    for asker in askers:
        asker.join(patiently(30))
    kept_alive.close()

    counted = {asker.name: dict(asker.statuses) for asker in askers}
    record_property("counts", f"rolling restart, {REPLACEMENTS} times all workers: {counted}, 0 failures wanted")
    assert [failure for asker in askers for failure in asker.failures] == []
    assert all(set(statuses) == {200} for statuses in counted.values()), counted
    assert restarted == [], "every session is still there"

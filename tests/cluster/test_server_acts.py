"""Maintenance, registration, blocked addresses and a planned stop: each of two workers follows within seconds."""

import math
import time
from collections.abc import Callable, Iterator

import pytest
from tests.builders import a_map
from tests.cluster.kit import Cluster, running
from tests.faces.bancho.client_bytes import whole
from tests.patience import Deadline, patiently
from tests.wire.kit import BEHIND_PROXY, Reply
from tests.wire.submitting import log_in, password_md5, poll
from tests.wire.test_bot import lines

from kiai.faces.bancho import packets
from kiai.faces.bancho.packets import ClientMessage, ClientPacket

NAMES = ["root", "alice", "bob"]
CONNECTIONS = 24
"""With this many requests both workers answer some, except once in eight million runs."""
OUTSIDE = "203.0.113.9"
WITHIN_S = 5.0
PAUSE_S = 0.2
BLOCKED_S = 8.0
BLOCKED_MAX_S = 59


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    # Limits off: one address opens many pages.
    with running(tmp_path_factory.mktemp("acts"), NAMES, [a_map(100)], 2, RATE_LIMITS="off", **BEHIND_PROXY) as cluster:
        cluster.address = "198.51.100.7"
        cluster.cli("users", "grant", "root", "developer")
        yield cluster
        assert '"command failed"' not in cluster.stderr
        assert '"job failed"' not in cluster.stderr


@pytest.fixture(scope="module")
def root(cluster: Cluster) -> str:
    """The session of a developer."""
    return log_in(cluster, "root")


def page(cluster: Cluster, address: str | None = None) -> Reply:
    return cluster.ask("GET", "/", host="localhost", headers={"Accept": "text/html"}, address=address)


def everywhere(holds: Callable[[], bool], within_s: float = WITHIN_S) -> None:
    """Wait until this holds in each of many requests, so on both workers."""
    deadline = Deadline(within_s)
    while not all(holds() for _ in range(CONNECTIONS)):
        assert not deadline.passed(), "a worker does not follow"
        time.sleep(PAUSE_S)


def says(cluster: Cluster, token: str, text: str) -> list[str]:
    line = whole(ClientPacket.SEND_PRIVATE_MESSAGE, ClientMessage("", text, "BanchoBot", 0))
    return [text for sender, text, _ in lines(poll(cluster, token, line)) if sender == "BanchoBot"]


def test_maintenance_reaches_both_workers(cluster: Cluster, root: str) -> None:
    alice = log_in(cluster, "alice")
    everywhere(lambda: page(cluster).status == 200)

    assert "Maintenance is on" in says(cluster, root, "!maintenance on")[0]

    everywhere(lambda: page(cluster).status == 503)
    seen, deadline = b"", Deadline(WITHIN_S)
    while packets.restart(0) not in seen:
        assert not deadline.passed(), seen
        seen += poll(cluster, alice)
        time.sleep(0.1)
    assert seen.count(b"is under maintenance now") == 1
    body = f"bob\n{password_md5()}\nb20260711|0|0|{'x' * 32}:1.:{'y' * 32}:bob:bob:|0\n".encode()
    login = {"host": "c.localhost", "headers": {"User-Agent": "osu!"}, "body": body}
    everywhere(lambda: packets.login_reply(-5) in cluster.ask("POST", "/", **login).body)  # type: ignore[arg-type]

    assert cluster.cli("maintenance", "off") == {"maintenance": False}

    everywhere(lambda: page(cluster).status == 200)


def test_registration_is_closed_on_both_workers(cluster: Cluster, root: str) -> None:
    def form() -> bytes:
        return cluster.ask("GET", "/register", host="localhost", headers={"Accept": "text/html"}).body

    everywhere(lambda: b'name="username"' in form())

    assert says(cluster, root, "!registration off") == ["Registration is closed."]

    everywhere(lambda: b'name="username"' not in form())
    assert cluster.cli("registration", "setting") == {"registration": "on"}
    everywhere(lambda: b'name="username"' in form())


def test_a_blocked_address_is_refused_by_both_workers_until_the_block_ends(cluster: Cluster, root: str) -> None:
    blocked_s = min(BLOCKED_MAX_S, math.ceil(patiently(BLOCKED_S)))  # both workers are asked before it ends
    said = says(cluster, root, f"!blockip 203.0.113.0/24 {blocked_s}s spam")
    assert said == [f"203.0.113.0/24 is blocked for {blocked_s} seconds: spam"]

    everywhere(lambda: page(cluster, OUTSIDE).status == 403)
    everywhere(lambda: page(cluster).status == 200)
    everywhere(lambda: page(cluster, OUTSIDE).status == 200, within_s=blocked_s + WITHIN_S)

    actions = [(row["action"], row["source"]) for row in cluster.cli("audit", "--limit", "2")["rows"]]
    assert actions == [("ip_unblock", "job"), ("ip_block", "game")]


def test_a_planned_stop_stops_the_supervisor_with_all_workers(cluster: Cluster, root: str) -> None:
    [asked] = says(cluster, root, "!shutdown 15s")
    assert "stops in 15 seconds" in says(cluster, root, "!" + asked.split("Type !")[1].split(" within")[0])[0]
    workers = cluster.workers()
    assert len(workers) == 2

    process = cluster._process
    assert process is not None
    assert process.wait(patiently(60)) == 0, cluster.stderr

    assert cluster.workers() == []

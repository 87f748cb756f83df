"""IRC on two workers: lines reach connections of the other worker, also after a worker was killed."""

import os
import signal
from collections.abc import Iterator

import pytest
from tests.builders import a_map
from tests.cluster.kit import Cluster, running
from tests.faces.bancho.client_bytes import whole
from tests.patience import wait_until
from tests.wire.irc import IrcClient
from tests.wire.submitting import log_in, poll

from kiai.faces.bancho.packets import ClientMessage, ClientPacket

NAMES = ["alice", "bob", "carla", "dora"]
CONNECTIONS = 12
"""With this many connections of a player, both workers have some, except once in 2,000 runs."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("irc")
    # Limits off: one address connects many times.
    with running(folder, NAMES, [a_map(100)], IRC="127.0.0.1:0", RATE_LIMITS="off") as cluster:
        yield cluster
        cluster.stop()
        assert '"command failed"' not in cluster.stderr


@pytest.fixture(scope="module")
def passwords(cluster: Cluster) -> dict[str, str]:
    return {name: cluster.cli("users", "irc-password", name)["irc_password"] for name in NAMES}


def connect(cluster: Cluster, passwords: dict[str, str], name: str) -> IrcClient:
    client = IrcClient(cluster.irc_ports["irc"])
    client.log_in(name, passwords[name])
    return client


def test_lines_reach_the_connections_of_both_workers(cluster: Cluster, passwords: dict[str, str]) -> None:
    token = log_in(cluster, "alice")
    with connect(cluster, passwords, "bob") as bob, connect(cluster, passwords, "carla") as carla:
        bob.join("#osu")
        carla.join("#osu")
        for number in range(CONNECTIONS):
            private = ClientMessage("", f"private {number}.", "bob", 0)
            public = ClientMessage("", f"public {number}.", "#osu", 0)
            poll(cluster, token, whole(ClientPacket.SEND_PRIVATE_MESSAGE, private))
            poll(cluster, token, whole(ClientPacket.SEND_PUBLIC_MESSAGE, public))
            assert bob.wait("private") == f":alice!cho@ppy.sh PRIVMSG bob :private {number}."
            assert bob.wait("public") == f":alice!cho@ppy.sh PRIVMSG #osu :public {number}."
            assert carla.wait("public") == f":alice!cho@ppy.sh PRIVMSG #osu :public {number}."
            bob.send(f"PRIVMSG carla :from bob {number}.")
            assert carla.wait("from bob") == f":bob!cho@ppy.sh PRIVMSG carla :from bob {number}."


def test_newer_connection_takes_over_on_any_worker(cluster: Cluster, passwords: dict[str, str]) -> None:
    older = connect(cluster, passwords, "dora")
    for _ in range(CONNECTIONS):
        newer = connect(cluster, passwords, "dora")
        assert older.until_end()[-1].startswith("ERROR :")
        older.close()
        older = newer
    older.send("PING :last")
    older.wait(":last")
    older.close()


def test_client_comes_back_after_its_worker_was_killed(cluster: Cluster, passwords: dict[str, str]) -> None:
    clients = [connect(cluster, passwords, name) for name in ("bob", "carla", "dora")]
    for worker in cluster.workers():
        os.kill(worker, signal.SIGKILL)
    for client in clients:
        client.until_end()
        client.close()

    def comes_back() -> bool:
        try:
            connect(cluster, passwords, "bob").close()
        except (TimeoutError, OSError, AssertionError):
            return False
        return True

    wait_until(comes_back, within_s=30.0)

"""IRC on two workers: lines reach connections of the other worker, also after a worker was killed."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import pytest
from tests.builders import a_map
from tests.cluster.kit import Cluster, running
from tests.faces.bancho.client_bytes import whole
from tests.patience import patiently, wait_until
from tests.wire.irc import IrcClient
from tests.wire.submitting import log_in, poll
from tests.wire.test_events import Client as Stream

from kiai.faces.bancho.packets import ClientMessage, ClientPacket

NAMES = ["alice", "bob", "carla", "dora"]
CONNECTIONS = 12
"""With this many connections or requests of a player, both workers have some, except once in 2,000 runs."""

STREAMS = 8
"""Streams of one account; one worker has all of them once in 128 runs."""


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


def test_changes_of_the_word_filter_reach_both_workers(cluster: Cluster, passwords: dict[str, str]) -> None:
    token = log_in(cluster, "carla")
    with connect(cluster, passwords, "bob") as bob:
        bob.join("#osu")
        cluster.cli("filter", "set", "darn", "--replace", "***")

        def is_replaced() -> bool:
            line = ClientMessage("", "darn it", "#osu", 0)
            poll(cluster, token, whole(ClientPacket.SEND_PUBLIC_MESSAGE, line))
            return bob.wait(" it").endswith(" :*** it")

        wait_until(lambda: all(is_replaced() for _ in range(CONNECTIONS)), within_s=5.0)
    cluster.cli("filter", "remove", "darn")


def test_connections_of_revoked_passwords_end_on_both_workers(cluster: Cluster, passwords: dict[str, str]) -> None:
    clients = {name: connect(cluster, passwords, name) for name in NAMES}
    for name, client in clients.items():
        began = time.monotonic()
        passwords[name] = cluster.cli("users", "irc-password", name)["irc_password"]

        assert client.until_end()[-1].startswith("ERROR :")
        assert time.monotonic() - began < patiently(5.0)
        client.close()


def test_streams_of_a_revoked_key_end_on_both_workers(cluster: Cluster, passwords: dict[str, str]) -> None:
    key = cluster.cli("users", "apikey", "alice")["key"]
    with contextlib.ExitStack() as stack:
        streams = [
            stack.enter_context(contextlib.closing(Stream(cluster.port, Authorization=f"Bearer {key}")))
            for _ in range(STREAMS)
        ]
        for stream in streams:
            assert stream.line().startswith(b": live events")
        began = time.monotonic()
        with connect(cluster, passwords, "alice") as alice:
            alice.send("PRIVMSG BanchoBot :!apikey revoke")
            alice.wait("revoked")

        for stream in streams:
            while line := stream.line():
                last = line
            assert last == b": the API key was revoked\n"
        assert time.monotonic() - began < patiently(5.0)


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

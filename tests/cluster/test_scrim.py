"""A scrim that is refereed wholly from IRC, on two workers, of which one is killed during each play."""

import os
import signal
from pathlib import Path

from tests.builders import a_map
from tests.clients.scrim import MAP, NAMES, OWLS, REFEREE, WOLVES, referee_a_scrim
from tests.clients.test_osu_py import Player
from tests.cluster.kit import running
from tests.patience import wait_until
from tests.wire.irc import IrcClient
from tests.wire.submitting import PASSWORD


def test_scrim_is_refereed_from_irc_while_a_worker_is_killed(tmp_path: Path) -> None:
    with running(tmp_path, list(NAMES), [a_map(MAP)], IRC="127.0.0.1:0") as cluster:
        password = cluster.cli("users", "irc-password", REFEREE)["irc_password"]

        def connect() -> IrcClient:
            client = IrcClient(cluster.irc_ports["irc"])
            client.log_in(REFEREE, password)
            return client

        first_workers = cluster.workers()

        def kill_a_worker() -> None:
            killed = first_workers.pop()
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda: len(cluster.workers()) == 2 and killed not in cluster.workers(), within_s=30.0)

        players = [Player(cluster, name, PASSWORD) for name in (*OWLS, *WOLVES)]
        for player in players:
            player.bancho.connect()
        connections = referee_a_scrim(connect, players, during_each_play=kill_a_worker)

        # One of the two workers had the connection of the referee.
        assert connections > 1
        for player in players:
            player.close()
        cluster.stop()
        assert '"command failed"' not in cluster.stderr

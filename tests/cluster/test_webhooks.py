"""Two workers deliver each message once, also while one of them is killed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.builders import a_map
from tests.cluster.kit import running
from tests.webhooks import receiver as receivers
from tests.webhooks.receiver import Receiver
from tests.wire.kit import cli, eventually


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receivers.running() as found:
        yield found


def test_messages_arrive_while_a_worker_is_killed(tmp_path: Path, receiver: Receiver) -> None:
    with running(tmp_path, ["alice"], [a_map(100)], ALLOW_PRIVATE_WEBHOOKS="on") as cluster:
        stores = {"DATABASE": cluster.database, "ALLOW_PRIVATE_WEBHOOKS": "on"}
        cli(cluster.data, "webhooks", "add", receiver.url, "--events", "sanction,server_start,server_stop", **stores)
        for number in range(3):
            cluster.cli("users", "restrict", "alice", "--reason", str(number))
            cluster.cli("users", "unrestrict", "alice")
            if number == 0:
                cluster.kill_worker()
        eventually(lambda: len({got.headers["x-kiai-delivery"] for got in receiver.received}) == 6, within_s=40)
        cluster.stop()

        # A worker that starts again after the kill is not a start of the server.
        assert receiver.events()[-1] == "server_stop"
        assert "server_start" not in receiver.events()
        cluster.start()
        eventually(lambda: receiver.events()[-1] == "server_start")
        assert receiver.events().count("server_start") == 1
        reasons = [got.data["reason"] for got in receiver.received if got.json["event"] == "sanction"]
        assert [reason for reason in dict.fromkeys(reasons) if reason] == ["0", "1", "2"]

"""Webhooks of a real server and of the command line."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import stores
from tests.webhooks import receiver as receivers
from tests.webhooks.receiver import Receiver
from tests.wire.kit import Server, eventually
from typer.testing import CliRunner

from kiai.cli.main import app

PRIVATE = {"ALLOW_PRIVATE_WEBHOOKS": "on"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("webhooks") / "data", **PRIVATE).start()
    yield server
    server.kill()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receivers.running() as found:
        yield found


def command(data: Path, *arguments: str, code: int = 0, private: bool = True) -> tuple[Any, str]:
    """Run a command in this process, which takes a tenth of the time. Return its JSON object and stderr."""
    unset = dict.fromkeys((name for name in os.environ if name.startswith("KIAI_")), None)
    env = {f"KIAI_{name}": value for name, value in (stores.variables(data) | (PRIVATE if private else {})).items()}
    done = CliRunner().invoke(app, [*arguments, "--data", str(data), "--json"], env=unset | env)
    assert done.exit_code == code, done.output
    return json.loads(done.stdout), done.stderr


def test_running_server_delivers_to_a_new_webhook_until_it_is_removed(server: Server, receiver: Receiver) -> None:
    added, _ = command(server.data, "webhooks", "add", receiver.url, "--events", "sanction, player_new")
    assert (set(added), len(added["secret"])) == ({"id", "secret"}, 64)
    webhook_id = str(added["id"])

    command(server.data, "users", "add", "alice", "--email", "alice@example.org", "--password", "correct horse 7")
    command(server.data, "users", "restrict", "alice", "--reason", "because")
    eventually(lambda: len(receiver.received) == 2)
    assert receiver.events() == ["player_new", "sanction"]
    assert receiver.received[1].data["target"]["name"] == "alice"

    [listed] = command(server.data, "webhooks", "list")[0]["webhooks"]
    assert listed["events"] == ["player_new", "sanction"]
    assert (listed["id"], listed["url"], listed["format"]) == (added["id"], receiver.url, "json")
    assert (listed["state"], listed["failures"], listed["last_error"]) == ("ok", 0, "")
    assert command(server.data, "webhooks", "remove", webhook_id)[0]["removed"]
    command(server.data, "users", "unrestrict", "alice")
    assert command(server.data, "webhooks", "list")[0] == {"webhooks": []}
    assert len(receiver.received) == 2


def test_test_says_whether_it_was_delivered(server: Server, receiver: Receiver) -> None:
    webhook_id = str(command(server.data, "webhooks", "add", receiver.url, "--events", "report")[0]["id"])
    receiver.answers = [410]

    failed, stderr = command(server.data, "webhooks", "test", webhook_id, code=1)
    assert (failed["delivered"], failed["status"]) == (False, 410)
    assert stderr == "kiai: not delivered: answered 410\n"
    worked, _ = command(server.data, "webhooks", "test", webhook_id)
    assert (worked["delivered"], worked["status"]) == (True, 204)
    refused, stderr = command(server.data, "webhooks", "test", webhook_id, code=1, private=False)
    assert (refused["delivered"], refused["status"]) == (False, 0)
    assert "private" in stderr
    command(server.data, "webhooks", "remove", webhook_id)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("add", "http://127.0.0.1:9/", "--events", "report"), "private"),
        (("add", "http://[::ffff:10.0.0.1]/", "--events", "report"), "private"),
        (("add", "gopher://example.org/", "--events", "report"), "url must be"),
        (("add", "http://127.0.0.1:9/", "--events", "nothing"), "event must be"),
        (("add", "http://127.0.0.1:9/", "--events", "report", "--format", "xml"), "format must be"),
        (("remove", "999"), "webhook not found"),
        (("test", "999"), "webhook not found"),
    ],
)
def test_wrong_arguments_are_refused_in_one_sentence(server: Server, arguments: tuple[str, ...], says: str) -> None:
    error, stderr = command(server.data, "webhooks", *arguments, code=1, private=False)

    assert says in error["error"]
    assert stderr.count("\n") == 1


def test_start_and_stop_are_events_and_a_restart_loses_nothing(tmp_path: Path, receiver: Receiver) -> None:
    server = Server(tmp_path / "data", **PRIVATE).start()
    command(server.data, "webhooks", "add", receiver.url, "--events", "server_start,server_stop,player_new")
    server.stop()
    assert receiver.events() == ["server_stop"]

    command(server.data, "users", "add", "alice", "--email", "alice@example.org", "--password", "correct horse 7")
    receiver.answers = [503]
    server.start()
    eventually(lambda: len(receiver.received) >= 2)
    server.kill()
    server.start()
    eventually(lambda: len(receiver.received) >= 5, within_s=30)
    server.stop()

    assert receiver.events()[:5] == ["server_stop", "player_new", "player_new", "server_start", "server_start"]
    assert receiver.events()[-1] == "server_stop"
    first, second = receiver.received[1:3]
    assert first.headers["x-kiai-delivery"] == second.headers["x-kiai-delivery"]

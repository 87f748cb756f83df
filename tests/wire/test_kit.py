"""The servers of the tests, and their HTTP client."""

import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests import stores, warm
from tests.builders import PASSWORD
from tests.patience import patiently
from tests.wire.kit import Server, cli

from kiai.storage.tables import users

pytestmark = pytest.mark.any_store


def test_a_connection_that_is_reset_while_it_opens_is_an_error_of_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reset(*_: Any, **__: Any) -> Any:
        raise ConnectionResetError

    monkeypatch.setattr(socket, "create_connection", reset)

    with pytest.raises(ConnectionResetError):
        Server(tmp_path / "data").get("/get_player_count")


def hash_of(name: str, data: Path) -> str:
    cli(data, "users", "add", name, "--email", f"{name}@example.org", "--password", PASSWORD)
    with stores.engine(data).connect() as connection:
        return str(connection.scalar(select(users.c.password_hash).where(users.c.safe_name == name)))


@pytest.mark.skipif(warm.COLD, reason="COLD=1 starts every process as a shell does")
def test_a_hash_of_a_command_is_small(tmp_path: Path) -> None:
    """Real hashes took a third of the time of a run."""
    assert hash_of("alice", tmp_path / "data").startswith("$argon2id$v=19$m=64,t=2,p=1$")


def test_a_hash_of_a_command_is_real_where_a_test_wants_it(real_hashes: None, tmp_path: Path) -> None:
    assert hash_of("alice", tmp_path / "data").startswith("$argon2id$v=19$m=19456,t=2,p=1$")


@pytest.mark.skipif(warm.COLD, reason="COLD=1 starts every process as a shell does")
def test_a_server_is_a_fork_of_the_process_that_has_imported_kiai(tmp_path: Path) -> None:
    """A run starts hundreds of servers. To import kiai for each one took a third of the time of a run."""
    server = Server(tmp_path / "data").start()
    try:
        command = ["ps", "-ww", "-o", "args=", "-p", str(server.process_id)]
        shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=patiently(10))
        assert shown.stdout.split()[1:3] == ["-m", warm.PROGRAM]
        server.stop()
    finally:
        server.kill()

"""Streams and IRC connections end soon after the key or password that opened them was revoked."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec
import pytest
from tests.patience import patiently
from tests.wire.irc import IrcClient, add_players, connect
from tests.wire.kit import Server
from tests.wire.test_bancho_bad_input import Bancho
from tests.wire.test_bot import Player
from tests.wire.test_events import Client

WITHIN_S: Final = 5.0
NAMES: Final = ("anna", "boris", "carla")


class Access(msgspec.Struct):
    """A server with IRC, and the IRC passwords of its players."""

    server: Server
    passwords: dict[str, str]

    def stream(self, key: str) -> Client:
        client = Client(self.server.port, Authorization=f"Bearer {key}")
        assert client.status == 200
        assert client.line().startswith(b": live events")
        return client

    def key(self, name: str) -> str:
        return str(self.server.cli("users", "apikey", name)["key"])


@pytest.fixture(scope="module")
def access(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    data: Path = tmp_path_factory.mktemp("revoked") / "data"
    passwords = add_players(data, NAMES)
    server = Server(data, IRC="127.0.0.1:0").start()
    try:
        yield Access(server, passwords)
        assert '"unhandled"' not in server.stderr
        server.stop()
    finally:
        server.kill()


def assert_ends(client: Client, began: float) -> None:
    lines = []
    while line := client.line():
        lines.append(line)
    assert lines[-1] == b": the API key was revoked\n"
    assert time.monotonic() - began < patiently(WITHIN_S)


def read_to_the_end(client: Client) -> None:
    while client.line():
        pass


def test_stream_ends_when_its_key_is_revoked_from_the_game(access: Access) -> None:
    player = Player(Bancho(access.server), "anna")
    with closing(access.stream(access.key("anna"))) as mine, closing(access.stream(access.key("boris"))) as other:
        began = time.monotonic()
        player.write_to_bot("!apikey revoke")

        assert_ends(mine, began)
        other.connection.sock.settimeout(1.0)
        with pytest.raises(TimeoutError):
            read_to_the_end(other)


def test_stream_ends_when_its_player_is_banned(access: Access) -> None:
    with closing(access.stream(access.key("carla"))) as client:
        began = time.monotonic()
        access.server.cli("users", "ban", "carla", "--reason", "a test")

        assert_ends(client, began)


def test_connection_of_a_revoked_password_ends(access: Access) -> None:
    with connect(access.server, "anna", access.passwords["anna"]) as client:
        began = time.monotonic()
        access.server.cli("users", "irc-password", "anna", "--revoke")

        assert client.until_end()[-1].startswith("ERROR :Your session has ended")
        assert time.monotonic() - began < patiently(WITHIN_S)


def test_connection_of_a_replaced_password_ends_and_that_of_the_new_one_stays(access: Access) -> None:
    with connect(access.server, "boris", access.passwords["boris"]) as old:
        new_password = access.server.cli("users", "irc-password", "boris")["irc_password"]
        with IrcClient(access.server.irc_ports["irc"]) as new:
            new.log_in("boris", new_password)

            assert old.until_end()[-1].startswith("ERROR :")
            assert new.quiet() == []
            new.send("PING :still here")
            new.wait(":still here")

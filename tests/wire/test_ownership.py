"""The owner of a new server: the printed claim code, `kiai users claim-code`, `!claim CODE`, and the first player."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import engines
from tests.cluster.kit import Cluster
from tests.faces.bancho.client_bytes import whole
from tests.redises import RedisServer
from tests.wire.kit import Server, cli, eventually, run_kiai
from tests.wire.test_bancho_bad_input import PASSWORD, Bancho

from kiai.faces.bancho.packets import ClientMessage, ClientPacket
from kiai.osu.privileges import OWNER

NAMES = ("anna", "boris")
PUBLIC_DOMAIN = "kiai.example"


def with_players(data: Path) -> Path:
    cli(data, "migrate")
    for name in NAMES:
        cli(data, "users", "add", name, "--email", f"{name}@example.org", "--password", PASSWORD.format(name))
    return data


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server on a public domain with two players and no owner."""
    server = Server(with_players(tmp_path / "data"), DOMAIN=PUBLIC_DOMAIN, LOG_LEVEL="debug").start()
    try:
        yield server
        server.stop()
    finally:
        server.kill()


def priv(server: Server, name: str) -> int:
    return int(server.cli("users", "show", name)["priv"])


def say(bancho: Bancho, token: str, text: str, where: str = "BanchoBot") -> bytes:
    """Send a message and return the packets that the player receives."""
    packet = ClientPacket.SEND_PUBLIC_MESSAGE if where.startswith("#") else ClientPacket.SEND_PRIVATE_MESSAGE
    return bytes(bancho.post(whole(packet, ClientMessage("", text, where, 0)), token).body)


def claim_code(server: Server, *arguments: str, exit_code: int = 0) -> Any:
    done = run_kiai(server.data, "users", "claim-code", *arguments, "--json", settings={"DOMAIN": PUBLIC_DOMAIN})
    assert done.returncode == exit_code, done
    return json.loads(done.stdout)


def test_printed_claim_code_makes_one_owner(server: Server) -> None:
    bancho = Bancho(server)
    anna, boris = bancho.new_session("anna"), bancho.new_session("boris")
    code = server.claim_code
    printed = claim_code(server)
    assert (set(printed), printed["code"]) == ({"code", "expires_at"}, code)
    assert priv(server, "anna") == 3, "on a public domain the first login makes no owner"

    wrong = say(bancho, boris, "!claim 0000-0000-0000-0000")
    right = say(bancho, boris, f"!claim {code.lower()}")
    late = say(bancho, anna, f"!claim {code}")

    assert b"code is not valid" in wrong
    assert b"You are now the owner" in right
    assert b"code is not valid" in late
    assert (priv(server, "anna"), priv(server, "boris")) == (3, OWNER)
    eventually(lambda: b"alert" in say(bancho, boris, "!help alert"))
    assert "already has an owner" in claim_code(server, exit_code=1)["error"]
    assert code not in server.stderr
    assert code.replace("-", "") not in server.stderr.upper().replace("-", "")


def test_claim_command_in_a_channel_is_hidden(server: Server) -> None:
    bancho = Bancho(server)
    anna, boris = bancho.new_session("anna"), bancho.new_session("boris")
    bancho.post(b"", anna)

    say(bancho, boris, f"!claim {server.claim_code}", where="#osu")

    assert server.claim_code.encode() not in bancho.post(b"", anna).body
    assert priv(server, "boris") == OWNER


def test_restart_prints_the_same_code_until_a_new_one_is_created(server: Server) -> None:
    first = server.claim_code
    server.stop()
    server.start()
    assert server.claim_code == first

    second = claim_code(server, "--new")["code"]
    bancho = Bancho(server)
    boris = bancho.new_session("boris")

    assert second != first
    assert b"code is not valid" in say(bancho, boris, f"!claim {first}")
    assert b"You are now the owner" in say(bancho, boris, f"!claim {second}")
    server.stop()
    server.claim_code = ""
    server.start()
    assert server.claim_code == "", "there is an owner"


def test_first_player_on_localhost_becomes_owner_at_first_login(tmp_path: Path) -> None:
    server = Server(with_players(tmp_path / "data"), FIRST_USER_IS_OWNER="on").start()
    try:
        bancho = Bancho(server)
        assert server.claim_code == ""
        assert priv(server, "anna") == 3

        bancho.new_session("boris")
        bancho.new_session("anna")

        assert (priv(server, "anna"), priv(server, "boris")) == (OWNER, 3)
        server.stop()
    finally:
        server.kill()


def test_workers_print_one_code_that_all_accept(tmp_path: Path) -> None:
    redis = RedisServer()
    try:
        with engines.postgres_database() as url:
            data = tmp_path / "data"
            for arguments in (("migrate",), ("users", "add", "boris", "--email", "b@example.org", "--password",
                                             PASSWORD.format("boris"))):  # fmt: skip
                cli(data, *arguments, "--database", url)
            cluster = Cluster(data, url, redis, DOMAIN=PUBLIC_DOMAIN)
            cluster.start()
            try:
                bancho = Bancho(cluster)
                assert b"You are now the owner" in say(
                    bancho, bancho.new_session("boris"), f"!claim {cluster.claim_code}"
                )
                cluster.stop()
                assert cluster.claim_code not in cluster.stderr
            finally:
                cluster.kill()
    finally:
        redis.close()

"""The owner of a new server: `claim CODE` on stdout, `kiai users claim-code`, `!claim CODE`, and the first player."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import engines, stores
from tests.cluster.kit import Cluster
from tests.faces.bancho.client_bytes import whole
from tests.redises import RedisServer
from tests.wire.kit import KIAI, Server, cli, environment, eventually
from tests.wire.test_bancho_bad_input import PASSWORD, Bancho

from kiai.faces.bancho.packets import Client, Message
from kiai.osu.privileges import OWNER

NAMES = ("anna", "boris")
PUBLIC = "kiai.example"


def with_players(data: Path) -> Path:
    cli(data, "migrate")
    for name in NAMES:
        cli(data, "users", "add", name, "--email", f"{name}@example.org", "--password", PASSWORD.format(name))
    return data


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that others can reach, with two players and no owner."""
    server = Server(with_players(tmp_path / "data"), DOMAIN=PUBLIC, LOG_LEVEL="debug").start()
    try:
        yield server
        server.stop()
    finally:
        server.kill()


def priv(server: Server, name: str) -> int:
    return int(server.cli("users", "show", name)["priv"])


def ask(bancho: Bancho, token: str, text: str, where: str = "BanchoBot") -> bytes:
    """What a player who says this gets to read."""
    packet = Client.SEND_PUBLIC_MESSAGE if where.startswith("#") else Client.SEND_PRIVATE_MESSAGE
    return bytes(bancho.post(whole(packet, Message("", text, where, 0)), token).body)


def claim_code(server: Server, *arguments: str, exit_code: int = 0) -> Any:
    done = subprocess.run(
        [*KIAI, "users", "claim-code", *arguments, "--json", "--data", str(server.data)],
        env=environment({**stores.variables(server.data), "DOMAIN": PUBLIC}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == exit_code, done
    return json.loads(done.stdout)


def test_a_code_printed_at_the_start_makes_an_owner_once(server: Server) -> None:
    bancho = Bancho(server)
    anna, boris = bancho.fresh("anna"), bancho.fresh("boris")
    code = server.claim_code
    shown = claim_code(server)
    assert (set(shown), shown["code"]) == ({"code", "expires_at"}, code)
    assert priv(server, "anna") == 3, "logging in makes nobody owner here"

    wrong = ask(bancho, boris, "!claim 0000-0000-0000-0000")
    right = ask(bancho, boris, f"!claim {code.lower()}")
    late = ask(bancho, anna, f"!claim {code}")

    assert b"wrong or no longer valid" in wrong
    assert b"You are the owner" in right
    assert b"wrong or no longer valid" in late
    assert (priv(server, "anna"), priv(server, "boris")) == (3, OWNER)
    eventually(lambda: b"alert" in ask(bancho, boris, "!help alert"))
    assert "owner already" in claim_code(server, exit_code=1)["error"]
    assert code not in server.stderr
    assert code.replace("-", "") not in server.stderr.upper().replace("-", "")


def test_a_code_said_in_a_channel_is_seen_by_nobody(server: Server) -> None:
    bancho = Bancho(server)
    anna, boris = bancho.fresh("anna"), bancho.fresh("boris")
    bancho.post(b"", anna)

    ask(bancho, boris, f"!claim {server.claim_code}", where="#osu")

    assert server.claim_code.encode() not in bancho.post(b"", anna).body
    assert priv(server, "boris") == OWNER


def test_a_restart_prints_the_same_code_until_a_new_one_is_made(server: Server) -> None:
    first = server.claim_code
    server.stop()
    server.start()
    assert server.claim_code == first

    second = claim_code(server, "--new")["code"]
    bancho = Bancho(server)
    boris = bancho.fresh("boris")

    assert second != first
    assert b"wrong or no longer valid" in ask(bancho, boris, f"!claim {first}")
    assert b"You are the owner" in ask(bancho, boris, f"!claim {second}")
    server.stop()
    server.claim_code = ""
    server.start()
    assert server.claim_code == "", "there is an owner"


def test_on_localhost_the_first_player_becomes_the_owner_at_the_first_login(tmp_path: Path) -> None:
    server = Server(with_players(tmp_path / "data"), FIRST_USER_IS_OWNER="on").start()
    try:
        bancho = Bancho(server)
        assert server.claim_code == ""
        assert priv(server, "anna") == 3

        bancho.fresh("boris")
        bancho.fresh("anna")

        assert (priv(server, "anna"), priv(server, "boris")) == (OWNER, 3)
        server.stop()
    finally:
        server.kill()


def test_several_workers_print_one_code_and_any_of_them_takes_it(tmp_path: Path) -> None:
    redis = RedisServer()
    try:
        with engines.postgres_database() as url:
            data = tmp_path / "data"
            for arguments in (("migrate",), ("users", "add", "boris", "--email", "b@example.org", "--password",
                                             PASSWORD.format("boris"))):  # fmt: skip
                cli(data, *arguments, "--database", url)
            cluster = Cluster(data, url, redis, DOMAIN=PUBLIC)
            cluster.start()
            try:
                bancho = Bancho(cluster)
                assert b"You are the owner" in ask(bancho, bancho.fresh("boris"), f"!claim {cluster.claim_code}")
                cluster.stop()
                assert cluster.claim_code not in cluster.stderr
            finally:
                cluster.kill()
    finally:
        redis.close()

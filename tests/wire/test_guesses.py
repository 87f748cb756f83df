"""Guesses at passwords, API keys and session tokens over a real socket, with limits on."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from tests.wire.kit import BEHIND_PROXY, Reply, Server

NAME = "Anna"
PASSWORD = "long enough 1"
ADDRESS = "203.0.113.7"
OTHER_ADDRESS = "198.51.100.1"
GUESSES_AT_ONCE = 60
PER_NAME = 10
SLACK = 2  # units that come back while the guesses are on their way


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server behind a proxy on this machine, so that requests come from addresses of their own."""
    server = Server(tmp_path / "data", **BEHIND_PROXY)
    server.start()
    server.cli("users", "add", NAME, "--email", "anna@example.org", "--password", PASSWORD)
    try:
        yield server
        server.stop()
    finally:
        server.kill()


def song_select(server: Server, name: str, password_md5: str, address: str = ADDRESS) -> Reply:
    path = f"/web/osu-getfriends.php?u={name}&h={password_md5}"
    return server.ask("GET", path, host="osu.localhost", address=address)


def log_in(server: Server, name: str, password_md5: str, address: str = ADDRESS) -> Reply:
    hashes = ":".join(("a" * 32, "1.2.", "b" * 32, "c" * 32, "d" * 32))
    body = f"{name}\n{password_md5}\nb20260601|0|0|{hashes}|0\n".encode()
    return server.ask("POST", "/", host="c.localhost", headers={"User-Agent": "osu!"}, body=body, address=address)


def at_once(calls: list[Callable[[], Reply]]) -> list[Reply]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(lambda call: call(), calls))


def test_sixty_guesses_at_once_are_not_all_checked(server: Server) -> None:
    replies = at_once([partial(song_select, server, NAME, f"{n:032x}") for n in range(GUESSES_AT_ONCE)])

    statuses = [one.status for one in replies]
    assert PER_NAME <= statuses.count(401) <= PER_NAME + SLACK
    assert set(statuses) <= {401, 429, 503}  # 503: more at once than may wait to be verified


def test_the_game_and_the_web_share_the_guesses_of_an_address(server: Server) -> None:
    # As many at once as may wait to be verified: a guess that finds the queue full is given back.
    waves = (at_once([partial(song_select, server, f"nobody{w}x{n}", "0" * 32) for n in range(8)]) for w in range(50))
    used_up = any(reply.status == 429 for wave in waves for reply in wave)

    by_game = at_once([partial(log_in, server, f"somebody{n}", "0" * 32) for n in range(3)])
    by_web = at_once([partial(song_select, server, f"somebody{n}", "0" * 32) for n in range(3)])
    from_elsewhere = song_select(server, "somebody", "0" * 32, OTHER_ADDRESS)

    assert used_up
    assert "login-failed" in [one.headers["cho-token"] for one in by_game]
    assert 429 in [one.status for one in by_web]
    assert from_elsewhere.status == 401


def test_wrong_api_keys_of_an_address_are_limited(server: Server) -> None:
    def ask(address: str) -> int:
        return server.ask("GET", "/get_friends", key="wrong", address=address).status

    statuses = [ask(ADDRESS) for _ in range(60)]
    refused = any(ask(ADDRESS) == 429 for _ in range(500))

    assert set(statuses) == {401}
    assert refused
    assert ask(OTHER_ADDRESS) == 401


def test_unknown_session_tokens_of_an_address_are_limited(server: Server) -> None:
    numbers = count()

    def poll(address: str) -> int:
        headers = {"User-Agent": "osu!", "osu-token": f"unknown{next(numbers)}"}
        return server.ask("POST", "/", host="c.localhost", headers=headers, body=b"", address=address).status

    statuses = [poll(ADDRESS) for _ in range(300)]
    refused = any(poll(ADDRESS) == 429 for _ in range(2_000))

    assert set(statuses) == {200}
    assert refused
    assert poll(OTHER_ADDRESS) == 200


def test_an_address_with_an_ipv6_zone_logs_in(server: Server) -> None:
    reply = log_in(server, "somebody", "0" * 32, "fe80::1%eth0")

    assert reply.headers["cho-token"] == "incorrect-credentials"

"""Rate limits on guesses of passwords, API keys and session tokens."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from tests.wire.kit import BEHIND_PROXY, Reply, Server
from tests.wire.submitting import SUBMIT, Played, multipart

from kiai.faces.client.submit import ODD_FORMS_PER_MINUTE

NAME = "Anna"
PASSWORD = "long enough 1"
ADDRESS = "203.0.113.7"
OTHER_ADDRESS = "198.51.100.1"
GUESSES_AT_ONCE = 60
PER_NAME = 10
SLACK = 2  # units that come back while the guesses are on their way


@pytest.fixture
def server(real_hashes: None, tmp_path: Path) -> Iterator[Server]:
    """A server behind a trusted proxy, so that each request can name its address."""
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


def test_concurrent_guesses_do_not_exceed_the_limit_of_a_name(server: Server) -> None:
    replies = at_once([partial(song_select, server, NAME, f"{n:032x}") for n in range(GUESSES_AT_ONCE)])

    statuses = [reply.status for reply in replies]
    assert PER_NAME <= statuses.count(401) <= PER_NAME + SLACK
    assert set(statuses) <= {401, 429, 503}  # 503: the queue for verification is full


def test_log_in_and_web_endpoints_share_the_limit_of_an_address(server: Server) -> None:
    # As many at once as may wait for verification. A guess that finds the queue full is refunded.
    waves = (at_once([partial(song_select, server, f"nobody{w}x{n}", "0" * 32) for n in range(8)]) for w in range(50))
    exhausted = any(reply.status == 429 for wave in waves for reply in wave)

    by_game = at_once([partial(log_in, server, f"other{n}", "0" * 32) for n in range(3)])
    by_web = at_once([partial(song_select, server, f"other{n}", "0" * 32) for n in range(3)])
    from_elsewhere = song_select(server, "nobody", "0" * 32, OTHER_ADDRESS)

    assert exhausted
    assert "login-failed" in [reply.headers["cho-token"] for reply in by_game]
    assert 429 in [reply.status for reply in by_web]
    assert from_elsewhere.status == 401


def test_wrong_api_keys_of_an_address_are_limited(server: Server) -> None:
    def request(address: str) -> int:
        return server.ask("GET", "/get_friends", key="wrong", address=address).status

    statuses = [request(ADDRESS) for _ in range(60)]
    limited = any(request(ADDRESS) == 429 for _ in range(500))

    assert set(statuses) == {401}
    assert limited
    assert request(OTHER_ADDRESS) == 401


def test_unknown_session_tokens_of_an_address_are_limited(server: Server) -> None:
    numbers = count()

    def poll(address: str) -> int:
        headers = {"User-Agent": "osu!", "osu-token": f"unknown{next(numbers)}"}
        return server.ask("POST", "/", host="c.localhost", headers=headers, body=b"", address=address).status

    statuses = [poll(ADDRESS) for _ in range(300)]
    limited = any(poll(ADDRESS) == 429 for _ in range(2_000))

    assert set(statuses) == {200}
    assert limited
    assert poll(OTHER_ADDRESS) == 200


def test_invalid_submissions_of_an_address_are_limited(server: Server) -> None:
    names = ("score", "s", "iv", "osuver", "pass")
    damaged, kind = multipart([(name, None, b"nothing that can be decrypted") for name in names])

    def submit(address: str) -> tuple[int, bytes]:
        headers = {"Content-Type": kind}
        reply = server.ask("POST", SUBMIT, host="osu.localhost", headers=headers, body=damaged, address=address)
        return reply.status, reply.body

    answers = [submit(ADDRESS) for _ in range(60)]
    limited = any(submit(ADDRESS)[0] == 503 for _ in range(500))

    assert set(answers) == {(200, b"error: no")}
    assert limited
    assert submit(OTHER_ADDRESS) == (200, b"error: no")


def test_submissions_without_a_session_are_limited_by_address(server: Server) -> None:
    play = Played("f" * 32, NAME, password=PASSWORD, at="261128120000")
    body, kind = multipart(play.parts())
    damaged, damaged_kind = multipart(
        [(name, None, b"not encrypted") for name in ("score", "s", "iv", "osuver", "pass")]
    )

    def submit(form: bytes, form_kind: str, address: str = ADDRESS) -> int:
        headers = {"Content-Type": form_kind, "Token": "x"}
        return server.ask("POST", SUBMIT, host="osu.localhost", headers=headers, body=form, address=address).status

    without_session = {submit(body, kind) for _ in range(ODD_FORMS_PER_MINUTE)}

    assert without_session == {503}
    # On a slow machine, the limit has let another form through meanwhile.
    assert any(submit(damaged, damaged_kind) == 503 for _ in range(ODD_FORMS_PER_MINUTE)), "refused before decryption"
    assert submit(damaged, damaged_kind, OTHER_ADDRESS) == 200


def test_address_with_an_ipv6_zone_is_accepted(server: Server) -> None:
    reply = log_in(server, "nobody", "0" * 32, "fe80::1%eth0")

    assert reply.headers["cho-token"] == "incorrect-credentials"

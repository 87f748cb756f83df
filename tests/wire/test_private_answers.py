"""Cache-Control of private and public answers, and addresses with a zone id."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.builders import a_map
from tests.wire.kit import Reply, Server

NAME = "anna"
PASSWORD = "long enough 1"
MD5 = hashlib.md5(PASSWORD.encode()).hexdigest()
PRIVATE = "private, no-store"


class ServerWithAccount:
    """A server behind a proxy on this machine, with one account and its key."""

    def __init__(self, server: Server) -> None:
        self.server = server
        server.cli("users", "add", NAME, "--email", "anna@example.org", "--password", PASSWORD)
        self.key = server.cli("users", "apikey", NAME)["key"]

    def web(self, path: str, address: str = "203.0.113.7") -> Reply:
        return self.server.ask("GET", path, host="osu.localhost", headers={"X-Forwarded-For": address})

    def log_in(self, address: str) -> Reply:
        hashes = ":".join(("a" * 32, "1.2.", "b" * 32, "c" * 32, "d" * 32))
        body = f"{NAME}\n{MD5}\nb20260601|0|0|{hashes}|0\n".encode()
        headers = {"User-Agent": "osu!", "X-Forwarded-For": address}
        return self.server.ask("POST", "/", host="c.localhost", headers=headers, body=body)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerWithAccount]:
    server = Server(tmp_path_factory.mktemp("owners") / "data", TRUSTED_PROXY="127.0.0.1/32,fe80::/10")
    server.start()
    try:
        yield ServerWithAccount(server)
        server.stop()
    finally:
        server.kill()


@pytest.mark.parametrize(
    "path",
    ["/v2/me", "/get_friends", "/get_player_info?id=3&scope=all", "/v2/players/3", "/get_leaderboard", "/v2/maps"],
)
def test_answer_to_a_request_with_a_key_is_private(served: ServerWithAccount, path: str) -> None:
    reply = served.server.get(path, key=served.key)

    assert reply.status == 200
    assert reply.headers["cache-control"] == PRIVATE
    assert "authorization" in reply.headers["vary"].lower()


def test_private_answer_can_be_revalidated_by_its_etag(served: ServerWithAccount, tmp_path: Path) -> None:
    osu_file = tmp_path / "song.osu"
    osu_file.write_bytes(a_map(7).data)
    served.server.cli("beatmaps", "import", str(osu_file))
    first = served.server.get("/get_map_info?id=7", key=served.key)

    again = served.server.get("/get_map_info?id=7", key=served.key, If_None_Match=first.headers["etag"])

    assert again.status == 304
    assert again.headers["cache-control"] == PRIVATE


def test_answer_without_a_key_varies_by_authorization(served: ServerWithAccount) -> None:
    reply = served.server.get("/get_player_info?id=3&scope=all")

    assert reply.headers["cache-control"] == "no-cache"
    assert "authorization" in reply.headers["vary"].lower()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/web/osu-getfriends.php?u={NAME}&h={MD5}", 200),
        (f"/web/osu-getfavourites.php?u={NAME}&h={MD5}", 200),
        (f"/web/osu-getfriends.php?u={NAME}&h={'0' * 32}", 401),
    ],
)
def test_answer_to_a_request_with_a_password_is_private(served: ServerWithAccount, path: str, status: int) -> None:
    reply = served.web(path)

    assert reply.status == status
    assert reply.headers["cache-control"] == PRIVATE


def test_public_pictures_are_cacheable(served: ServerWithAccount) -> None:
    reply = served.server.get("/1", host="a.localhost")

    assert reply.headers["cache-control"].startswith("public")


@pytest.mark.parametrize("address", ["fd00::1%eth0", "2001:db8::1%25wlan0", "fe80::1%eth0"])
def test_address_with_a_zone_id_is_accepted_by_every_face(served: ServerWithAccount, address: str) -> None:
    game = served.log_in(address)
    friends = served.web(f"/web/osu-getfriends.php?u={NAME}&h={MD5}", address)
    me = served.server.get("/v2/me", key=served.key, X_Forwarded_For=address)

    assert (game.status, friends.status, me.status) == (200, 200, 200)
    # A login shortly after another one of the same account is refused with this token.
    assert len(game.headers["cho-token"]) == 36 or game.headers["cho-token"] == "user-already-logged-in"

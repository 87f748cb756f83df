"""What only the owner of an account may see stays out of caches; and an address with a zone id is one like others."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.builders import a_map
from tests.wire.kit import Reply, Server

NAME = "anna"
PASSWORD = "long enough 1"
MD5 = hashlib.md5(PASSWORD.encode()).hexdigest()
OWNERS_ALONE = "private, no-store"


class House:
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
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    server = Server(tmp_path_factory.mktemp("owners") / "data", TRUSTED_PROXY="127.0.0.1/32,fe80::/10")
    server.start()
    try:
        yield House(server)
        server.stop()
    finally:
        server.kill()


@pytest.mark.parametrize(
    "path",
    ["/v2/me", "/get_friends", "/get_player_info?id=3&scope=all", "/v2/players/3", "/get_leaderboard", "/v2/maps"],
)
def test_an_answer_to_a_request_with_a_key_is_for_nobody_else(house: House, path: str) -> None:
    reply = house.server.get(path, key=house.key)

    assert reply.status == 200
    assert reply.headers["cache-control"] == OWNERS_ALONE
    assert "authorization" in reply.headers["vary"].lower()


def test_it_may_still_be_asked_for_anew_by_its_tag(house: House, tmp_path: Path) -> None:
    osu_file = tmp_path / "song.osu"
    osu_file.write_bytes(a_map(7).data)
    house.server.cli("beatmaps", "import", str(osu_file))
    first = house.server.get("/get_map_info?id=7", key=house.key)

    again = house.server.get("/get_map_info?id=7", key=house.key, If_None_Match=first.headers["etag"])

    assert again.status == 304
    assert again.headers["cache-control"] == OWNERS_ALONE


def test_an_answer_without_a_key_tells_caches_that_a_key_makes_another(house: House) -> None:
    reply = house.server.get("/get_player_info?id=3&scope=all")

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
def test_what_the_game_is_told_for_a_password_is_for_nobody_else(house: House, path: str, status: int) -> None:
    reply = house.web(path)

    assert reply.status == status
    assert reply.headers["cache-control"] == OWNERS_ALONE


def test_pictures_for_everybody_may_be_kept(house: House) -> None:
    reply = house.server.get("/1", host="a.localhost")

    assert reply.headers["cache-control"].startswith("public")


@pytest.mark.parametrize("address", ["fd00::1%eth0", "2001:db8::1%25wlan0", "fe80::1%eth0"])
def test_an_address_with_a_zone_id_logs_in_everywhere(house: House, address: str) -> None:
    game = house.log_in(address)
    friends = house.web(f"/web/osu-getfriends.php?u={NAME}&h={MD5}", address)
    me = house.server.get("/v2/me", key=house.key, X_Forwarded_For=address)

    assert (game.status, friends.status, me.status) == (200, 200, 200)
    # The second log-in of an account while its session is a moment old is refused by a word of its own.
    assert len(game.headers["cho-token"]) == 36 or game.headers["cho-token"] == "user-already-logged-in"

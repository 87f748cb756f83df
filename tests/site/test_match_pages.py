"""The pages of rooms and matches, with clients that play a match over the wire."""

from collections.abc import Iterator
from typing import Final

import pytest
from tests.faces.bancho.client_bytes import score_frame, whole
from tests.site.kit import PageReply, a_browser
from tests.site.live_kit import LiveStream
from tests.wire.kit import BEHIND_PROXY, Server, eventually, use_new_address
from tests.wire.submitting import log_in, poll, prepare

from kiai.faces.bancho.packets import ClientPacket, JoinMatch, MatchForm, SlotForm

ALICE, BOB, CARLA, DORA = 3, 4, 5, 6
NAMES: Final = {"alice": ALICE, "bob": BOB, "carla": CARLA, "dora": DORA}
TEAM_VS: Final = 2
FRAME: Final = {
    "time": 90_000,
    "id": 0,
    "n300": 90,
    "n100": 8,
    "n50": 1,
    "geki": 20,
    "katu": 5,
    "miss": 1,
    "max_combo": 150,
    "current_combo": 3,
    "perfect": False,
    "hp": 200,
    "tag": 0,
    "score_v2": False,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("matches") / "data"
    assert prepare(data, list(NAMES), vector_maps=False) == NAMES
    # Limits off: the clients of all tests poll more often than real ones, and open more matches in an hour.
    server = Server(data, RATE_LIMITS="off", **BEHIND_PROXY).start()
    server.address = "198.51.100.11"
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _new_address(server: Server) -> None:
    use_new_address(server)


@pytest.fixture(scope="module")
def tokens(server: Server) -> dict[str, str]:
    return {name: log_in(server, name) for name in NAMES}


class PlayedMatch:
    """A match whose players are clients of a server."""

    def __init__(
        self, server: Server, tokens: dict[str, str], name: str, *, password: str = "", team_type: int = TEAM_VS
    ) -> None:
        self._server = server
        self._tokens = tokens
        self._password = password
        form = MatchForm(
            id=0,
            in_progress=False,
            mods=0,
            name=name,
            password=password,
            map_name="Artist - Title [Hard]",
            map_id=75,
            map_md5="0" * 32,
            slots=(SlotForm(1, 0, 0, 0),) * 16,
            host_id=ALICE,
            mode=0,
            win_condition=0,
            team_type=team_type,
            free_mods=False,
            seed=0,
        )
        self.send("alice", ClientPacket.CREATE_MATCH, form)
        listed = [one for one in server.get("/v2/matches").json["data"] if one["name"] == name]
        self.id: int = listed[0]["id"] if listed else 0
        self.number: int = listed[0]["room"] if listed else 1

    def send(self, name: str, packet: ClientPacket, value: object = None) -> None:
        poll(self._server, self._tokens[name], whole(packet, value))

    def join(self, *names: str) -> None:
        for name in names:
            self.send(name, ClientPacket.JOIN_MATCH, JoinMatch(self.number, self._password.removesuffix("//private")))

    def play(self, scores: dict[str, int], failed: tuple[str, ...] = ()) -> None:
        """Play a map with these results."""
        for name in scores:
            self.send(name, ClientPacket.MATCH_READY)
        self.send("alice", ClientPacket.MATCH_START)
        for name in scores:
            self.send(name, ClientPacket.MATCH_LOAD_COMPLETE)
        for name, score in scores.items():
            frame = score_frame(FRAME | {"total_score": score, "hp": 254 if name in failed else 200})
            self.send(name, ClientPacket.MATCH_SCORE_UPDATE, frame)
        for name in scores:
            self.send(name, ClientPacket.MATCH_COMPLETE)

    def leave(self, *names: str) -> None:
        for name in names:
            self.send(name, ClientPacket.PART_MATCH)


def page_of(server: Server, match: PlayedMatch) -> PageReply:
    return a_browser(server).get(f"/community/matches/{match.id}")


def rows(page: PageReply) -> list[list[str]]:
    return [[cell.text(strip=True) for cell in row.css("td")] for row in page.css("[data-game] tbody tr")]


def test_open_room_is_listed_with_its_seats_and_never_with_its_password(server: Server, tokens: dict[str, str]) -> None:
    match = PlayedMatch(server, tokens, "locked <room>", password="open sesame")
    match.join("bob")

    page = a_browser(server).get("/multiplayer")

    assert page.h1 == "Multiplayer"
    assert {"Rooms now", "Past matches"} <= set(page.headings())
    room = page.one(f'[data-match-id="{match.id}"]')
    text = " ".join(room.text().split())
    assert text.startswith("locked <room>")
    assert "2/16 seats" in text
    assert "Host: alice" in text
    assert room.css('[aria-label="Locked by a password"]')
    assert b"sesame" not in page.body
    match.leave("alice", "bob")
    eventually(lambda: not a_browser(server).get("/multiplayer").css(f'.room[data-match-id="{match.id}"]'))


def test_private_room_is_seen_by_its_players_only(server: Server, tokens: dict[str, str]) -> None:
    match = PlayedMatch(server, tokens, "secret room", password="pw//private")
    assert match.id == 0, "the API does not list it either"

    assert "secret room" not in a_browser(server).get("/multiplayer").text
    own = a_browser(server, user_id=ALICE).get("/multiplayer")
    assert "secret room" in own.text
    path = own.link("secret room") or ""
    match.leave("alice")

    assert a_browser(server).get(path).status == a_browser(server, user_id=BOB).get(path).status == 404
    assert a_browser(server, user_id=ALICE).get(path).h1 == "secret room"
    with LiveStream(server, f"match.{path.rsplit('/', 1)[1]}") as stream:
        assert stream.status == 404
    assert "secret room" not in a_browser(server).get("/multiplayer").text


def test_page_of_a_match_has_results_teams_totals_and_the_margin(server: Server, tokens: dict[str, str]) -> None:
    match = PlayedMatch(server, tokens, "team match")
    match.join("bob", "carla")
    match.play({"alice": 100_000, "bob": 300_000, "carla": 900_000}, failed=("carla",))
    eventually(lambda: len(rows(page_of(server, match))) == 3)

    page = page_of(server, match)

    assert page.h1 == "team match"
    assert "Events" in page.headings()
    assert [node.attributes["data-game"] for node in page.css("[data-game]")] == ["1"]
    found = rows(page)
    assert [row[1] for row in found] == ["bob", "alice", "carla"]
    assert {row[0] for row in found} == {"Red", "Blue"}
    assert "Failed" in found[2][3]
    assert found[0][4] == "300,000"
    assert page.text.count("wins by") == 1
    assert "Maps won" in page.text
    match.leave("alice", "bob", "carla")


def test_open_page_follows_the_match_within_two_seconds(server: Server, tokens: dict[str, str]) -> None:
    match = PlayedMatch(server, tokens, "live match")
    page = page_of(server, match)
    assert page.one("[data-live]").attributes["data-live"] == f"match.{match.id}"

    with LiveStream(server, f"match.{match.id}") as stream:
        newest = [stream.part()]

        def until(text: str) -> None:
            while text not in newest[-1].html:
                newest.append(stream.part(2.0))

        until("alice")
        match.join("bob")
        until("bob")
        match.send("bob", ClientPacket.MATCH_READY)
        until(">Ready")
        match.play({"alice": 10, "bob": 20})
        until('data-game="1"')
        until("wins by")
        match.leave("alice", "bob")
        until("Ended")


def test_player_who_is_restricted_becomes_a_hidden_player(server: Server, tokens: dict[str, str]) -> None:
    match = PlayedMatch(server, tokens, "hiding match", team_type=0)
    match.join("dora")
    match.play({"alice": 10, "dora": 20})
    match.leave("dora", "alice")
    eventually(lambda: len(rows(page_of(server, match))) == 2)
    assert "dora" in page_of(server, match).text

    server.cli("users", "restrict", "dora", "--reason", "a test")

    page = page_of(server, match)
    assert "dora" not in page.text
    assert "Hidden player" in page.text
    assert page.css(f'[data-user-id="{DORA}"]') == []
    assert "has played no public match" in a_browser(server).get("/multiplayer?player=dora").text


def test_past_matches_are_filtered_by_player(server: Server, tokens: dict[str, str]) -> None:
    with_carla = PlayedMatch(server, tokens, "with carla")
    with_carla.join("carla")
    with_carla.leave("carla", "alice")
    without = PlayedMatch(server, tokens, "without carla")
    without.leave("alice")

    def past(query: str = "") -> list[str]:
        page = a_browser(server).get(f"/multiplayer{query}")
        return [node.attributes["data-match-id"] or "" for node in page.css("#past-list tr")]

    eventually(lambda: {str(with_carla.id), str(without.id)} <= set(past()))
    assert str(with_carla.id) in past("?player=carla")
    assert str(without.id) not in past("?player=carla")
    assert past("?player=nobody") == []


def test_page_is_not_found_for_other_matches(server: Server) -> None:
    for path in ("/community/matches/999999", "/community/matches/x", "/mp/x"):
        assert a_browser(server).get(path).status == 404


@pytest.mark.parametrize("path", ["/mp/1", "/matches/1", "/multiplayer/rooms/1"])
def test_old_addresses_of_a_match_move(server: Server, path: str) -> None:
    moved = a_browser(server).get(path, follow=False)

    assert (moved.status, moved.location) == (301, "/community/matches/1")


@pytest.mark.parametrize("path", ["/matches", "/multiplayer/rooms"])
def test_old_addresses_of_the_list_move(server: Server, path: str) -> None:
    moved = a_browser(server).get(path, follow=False)

    assert (moved.status, moved.location) == (301, "/multiplayer")

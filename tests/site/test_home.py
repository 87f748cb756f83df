"""The start page: what it shows, and how it changes while it is open."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from tests.builders import a_map
from tests.patience import Deadline
from tests.site.kit import PageReply, a_browser
from tests.site.live_kit import LiveStream
from tests.wire.kit import BEHIND_PROXY, Server, eventually, use_new_address
from tests.wire.submitting import Played, log_in, prepare, submit

SONG = a_map(100, objects=100, title="Song <b>", version="Hard")
WITHIN_S = 3.0

_score = itertools.count(200_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a ranked map and three players who are logged in."""
    data = tmp_path_factory.mktemp("home") / "data"
    prepare(data, ["alice", "bob", "carla"], vector_maps=False)
    folder = data.parent / "maps"
    folder.mkdir()
    (folder / f"{SONG.id}.osu").write_bytes(SONG.data)
    server = Server(data, **BEHIND_PROXY).start()
    server.address = "198.51.100.9"
    server.cli("beatmaps", "import", str(folder), "--status", "ranked")
    assert a_browser(server).get("/").one(".empty p").text(strip=True) == "Nobody has played yet."
    for name in ("alice", "bob", "carla"):
        log_in(server, name)
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _new_address(server: Server) -> None:
    use_new_address(server)


def play(server: Server, name: str, **fields: Any) -> int:
    """Submit a play and return the id of its score."""
    reply = submit(server, Played(SONG.md5, name, score=next(_score), **fields).sealed())
    assert b"onlineScoreId:" in reply.body, reply.body
    return int(reply.body.split(b"onlineScoreId:")[1].split(b"|")[0])


def listed(server: Server) -> list[int]:
    page = a_browser(server).get("/")
    return [int(node.attributes["data-score-id"] or 0) for node in page.css('[data-live^="plays"] [data-score-id]')]


def test_submitted_play_is_on_the_page_and_arrives_on_open_pages_within_three_seconds(server: Server) -> None:
    with LiveStream(server, "plays.all") as stream:
        stream.part()
        deadline = Deadline(WITHIN_S)
        score_id = play(server, "alice")

        part = stream.part()
        while score_id not in part.ids("data-score-id"):
            part = stream.part()

        assert not deadline.passed()
        assert part.ids("data-score-id")[0] == score_id
        assert "Song &lt;b&gt;" in part.html
        assert part.summary == "1 new play"
    eventually(lambda: listed(server)[0] == score_id)  # the page may be a second old


def test_plays_a_moment_after_one_another_all_arrive_on_open_pages(server: Server) -> None:
    with LiveStream(server, "plays.all") as stream:
        for name in ("alice", "bob", "alice"):
            score_id = play(server, name)

            while score_id not in stream.part().ids("data-score-id"):
                pass


def test_page_has_the_parts_and_numbers(server: Server) -> None:
    score_id = play(server, "bob")
    eventually(lambda: listed(server)[:1] == [score_id])

    page = a_browser(server).get("/")

    assert page.h1 == page.one(".brand").text(strip=True)
    for part in ("Latest plays", "First places", "Records", "Online now", "Rooms now", "Newest ranked", "News"):
        assert part in page.headings()
    assert (page.stat("online"), page.stat("registered")) == ("3", "3")
    assert page.css('[aria-labelledby="online-now"] [data-user-id]')
    first = page.one('[aria-labelledby="first-places"] [data-score-id]')
    assert first.attributes["data-score-id"] == str(score_id)
    assert "taken from alice" in " ".join(first.text().split())
    assert page.css('[aria-labelledby="records"] [data-score-id]')
    assert page.css('[aria-labelledby="newest-ranked"] [data-map-id="100"]')


def test_variants_are_links_with_lists_of_their_own(server: Server) -> None:
    play(server, "alice")
    relax = a_browser(server).get("/").follow("Relax")

    assert relax.path == "/?variant=relax"
    assert "Nobody has played yet." in relax.text
    assert a_browser(server).get("/?variant=lazer").status == 400


def test_page_of_a_player_has_own_figures(server: Server) -> None:
    page = a_browser(server, user_id=3).get("/")

    assert {"Your pp", "Unread messages", "Friends online"} <= {node.text(strip=True) for node in page.css("dt")}
    assert page.link("How to connect") is None


def test_restricted_player_is_gone_from_the_page_and_from_open_pages_at_once(server: Server) -> None:
    score_id = play(server, "carla")
    eventually(lambda: score_id in listed(server))
    with LiveStream(server, "plays.all,online") as stream:
        stream.part()
        stream.part()

        server.cli("users", "restrict", "carla", "--reason", "a test")

        page = a_browser(server).get("/")
        assert page.css('[data-user-id="5"]') == []
        assert "carla" not in page.text
        part = stream.part()
        while part.part != "online" or 5 in part.ids("data-user-id"):
            part = stream.part()


def test_anonymous_page_is_not_modified_while_nothing_happens(server: Server) -> None:
    def two_requests() -> tuple[PageReply, PageReply]:
        first = a_browser(server).get("/")
        return first, a_browser(server).get("/", headers={"If-None-Match": first.headers["etag"]})

    # The page has times in words. They can change between two requests, but not every time.
    pairs = [two_requests() for _ in range(3)]

    first, again = next((pair for pair in pairs if pair[1].status != 200), pairs[0])
    assert (first.status, first.headers["cache-control"]) == (200, "no-cache")
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])


@pytest.mark.parametrize(
    "parts", ["", "nothing", "plays", "plays.lazer", "rooms.all", "online.3", "a,b,c,d,e", "match.999", "client.3"]
)
def test_wrong_parts_are_refused(server: Server, parts: str) -> None:
    with LiveStream(server, parts) as stream:
        assert stream.status in (400, 404)


def test_address_has_a_limited_number_of_streams(server: Server) -> None:
    streams = [LiveStream(server, "figures") for _ in range(11)]

    assert [stream.status for stream in streams] == [200] * 10 + [429]
    for stream in streams:
        stream.__exit__(None, None, None)

    def has_place() -> bool:
        with LiveStream(server, "figures") as stream:
            return stream.status == 200

    eventually(has_place)


def test_old_address_moves(server: Server) -> None:
    moved = a_browser(server).get("/home", follow=False)

    assert (moved.status, moved.location) == (301, "/")

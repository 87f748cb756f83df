"""The page of a score: what it shows, its picture, its replay, and the forms about it."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest
from PIL import Image
from tests.builders import NewMap, a_map, a_replay
from tests.osu.playing import played
from tests.site.kit import a_browser
from tests.wire.kit import BEHIND_PROXY, Server, cli, eventually, use_new_address

from kiai.beatmaps import Beatmap
from kiai.osu.accuracy import HitCounts
from kiai.osu.mods import DT, HD, RX
from kiai.osu.replay_file import read_replay, write_replay

SONG: Final = a_map(1, objects=20, title="<script>alert(1)</script>")
ALICE, BOB, CAROL = 3, 4, 5
OFFSETS: Final = [-8.0, 6.0] * 10


def a_beatmap(of: NewMap) -> Beatmap:
    """The fields of the map that a replay needs."""
    return msgspec.convert(
        {
            **dict.fromkeys(Beatmap.__struct_fields__[:28], 0),
            **dict.fromkeys(("artist", "title", "version", "creator", "filename"), ""),
            "md5": of.md5,
            "objects": 20,
            "max_combo": 20,
        },
        Beatmap,
    )


def an_osr(
    player: str, *, score: int, misses: int = 0, mods: int = 0, seed: int = 1, life_bar: str = "0|1,1000|0.5"
) -> bytes:
    offsets: list[float | None] = [*OFFSETS]
    for index in range(misses):
        offsets[5 + index] = None
    replay = a_replay(
        of=a_beatmap(SONG),
        player=player,
        counts=HitCounts(20 - misses, 0, 0, 4, 0, misses),
        score=score,
        combo=20 - misses,
        mods=mods,
        stream=played(SONG.data, [None if o is None else o + seed / 100 for o in offsets], mods=mods),
        at_ms=1_700_000_000_000 + seed * 60_000,
    )
    return write_replay(msgspec.structs.replace(replay, life_bar=life_bar))


class Site(msgspec.Struct):
    """A server with scores; ids by name."""

    server: Server
    ids: dict[str, int]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Alice leads the board of a map, bob has two scores on it; all have replays."""
    folder: Path = tmp_path_factory.mktemp("scores")
    data = folder / "data"
    cli(data, "migrate")
    for name in ("alice", "bob", "carol", "dave"):
        account = ("--email", f"{name}@example.org", "--password", f"correct horse {name}", "--country", "nl")
        cli(data, "users", "add", name, *account)
    (folder / "song.osu").write_bytes(SONG.data)
    cli(data, "beatmaps", "import", str(folder / "song.osu"), "--status", "ranked")
    plays = {
        "first": an_osr("alice", score=900_000, seed=1),
        "shown": an_osr("bob", score=800_000, misses=2, seed=2),
        "worse": an_osr("bob", score=300_000, mods=HD | DT, seed=3),
        "carols": an_osr("carol", score=100_000, seed=4),
        "daves": an_osr("dave", score=50_000, seed=5, life_bar=""),
        "relaxed": an_osr("dave", score=40_000, mods=RX, seed=6),
    }
    ids = {}
    for number, (name, osr) in enumerate(plays.items()):
        path = folder / f"{name}.osr"
        path.write_bytes(osr)
        cli(data, "replays", "import", str(path))
        ids[name] = number + 1
    server = Server(data, **BEHIND_PROXY).start()
    server.address = "198.51.100.7"
    yield Site(server, ids)
    server.stop()


@pytest.fixture(autouse=True)
def new_address(site: Site) -> None:
    use_new_address(site.server)


def api(site: Site, path: str) -> dict[str, object]:
    reply = site.server.ask("GET", path)
    assert reply.status == 200, reply.body
    data = json.loads(reply.body)["data"]
    assert isinstance(data, dict)
    return data


def test_page_shows_what_the_api_says(site: Site) -> None:
    score_id = site.ids["shown"]
    # The API waits for the calculation. The page shows the stored stars of the map while it takes longer than a moment.
    score, difficulty = api(site, f"/v2/scores/{score_id}"), api(site, f"/v2/scores/{score_id}/performance")
    page = a_browser(site.server).get(f"/scores/{score_id}")

    assert page.status == 200
    for figure, field in (
        ("score", "score"),
        ("pp", "pp"),
        ("acc", "acc"),
        ("max_combo", "max_combo"),
        ("n300", "n300"),
        ("n100", "n100"),
        ("n50", "n50"),
        ("ngeki", "ngeki"),
        ("nkatu", "nkatu"),
        ("nmiss", "nmiss"),
        ("mods", "mods"),
        ("grade", "grade"),
        ("place", "place"),
    ):
        assert page.stat(figure) == str(score[field]), figure
    assert score["place"] == 2
    settings = difficulty["settings"]
    assert isinstance(settings, dict)
    for figure in ("cs", "ar", "od", "hp", "bpm", "length"):
        assert page.stat(figure) == str(settings[figure]), figure
    assert isinstance(difficulty["difficulty"], dict)
    assert page.stat("stars") == str(difficulty["difficulty"]["stars"])


def test_page_names_map_and_player_and_has_its_parts(site: Site) -> None:
    page = a_browser(site.server).get(f"/scores/{site.ids['shown']}")

    assert page.h1 == "Artist - <script>alert(1)</script> [Normal]"
    assert b"<script>alert" not in page.body
    assert {"Performance", "Hits", "Difficulty", "Replay", "Compare"} <= set(page.headings())
    assert page.link("bob") == "/users/4"
    assert page.link("Go to the map") == "/beatmapsets/1?map=1"
    assert page.title.startswith("bob · Artist - ")
    head = {node.attributes.get("property"): node.attributes.get("content") for node in page.css("meta")}
    assert str(head["og:image"]).endswith(f"/scores/{site.ids['shown']}/card.png")
    assert head["og:image:width"] == "1200"


def test_page_compares_with_the_first_and_the_players_other_scores(site: Site) -> None:
    page = a_browser(site.server).get(f"/scores/{site.ids['shown']}")

    rows = {node.attributes["data-score-id"] for node in page.css("li[data-score-id]")}
    assert rows == {str(site.ids["first"]), str(site.ids["worse"])}
    assert all(row.css_first("img.flag") is not None for row in page.css("li[data-score-id]"))
    assert "First place" in page.text
    assert "Personal best" in page.text


def test_visitor_sees_his_own_best(site: Site) -> None:
    page = a_browser(site.server, user_id=CAROL).get(f"/scores/{site.ids['shown']}")

    [own] = page.css("li[data-self]")
    assert own.attributes["data-score-id"] == str(site.ids["carols"])
    assert "Your best" in page.text


def test_analysis_loads_apart_and_is_part_of_the_page_when_it_is_cached(site: Site) -> None:
    browser = a_browser(site.server)
    path = f"/scores/{site.ids['daves']}"
    before = browser.get(path)
    [link] = before.css("a[data-load=analysis]")

    part = browser.get(link.attributes["href"] or "", headers={"X-Fragment": "1"})
    after = browser.get(path)

    assert "Hit errors" not in before.text
    assert part.css("header") == []
    assert part.one("#analysis dd").text() == "70.00"
    assert len(after.css("section#analysis figure.chart svg")) == 2
    assert after.css("a[data-load]") == []
    assert after.one("#analysis dd").text() == "70.00"


def test_analysis_is_a_page_without_script(site: Site) -> None:
    page = a_browser(site.server).get(f"/scores/{site.ids['shown']}/analysis")

    assert page.status == 200
    assert "Key presses" in page.text
    assert [node.text() for node in page.css("section#analysis th[scope=row]")] == ["K1", "K2", "M1", "M2"]
    table = page.css("section#analysis details table")
    assert len(table) == 2, "each chart has a table"


def test_life_is_drawn_from_the_replay_and_named_only_if_the_replay_has_it(site: Site) -> None:
    browser = a_browser(site.server)
    with_life = browser.get(f"/scores/{site.ids['shown']}/analysis")
    without = browser.get(f"/scores/{site.ids['daves']}/analysis")

    analysis = api(site, f"/v2/scores/{site.ids['shown']}/analysis")
    assert analysis["life"] == [{"at_ms": 0, "life": 1.0}, {"at_ms": 1000, "life": 0.5}]
    end_ms = analysis["end_ms"]
    assert isinstance(end_ms, int)
    # In a box of 100 x 100, with 4 free at the top.
    assert with_life.one("#analysis polyline.life").attributes["points"] == f"0.00,4.00 {100_000 / end_ms:.2f},52.00"
    assert "thin line: life" in with_life.text
    assert without.css("#analysis polyline.line") != []
    assert without.css("#analysis polyline.life") == []
    assert "thin line: life" not in without.text


def test_life_of_a_play_without_known_hits_is_drawn_alone(site: Site) -> None:
    page = a_browser(site.server).get(f"/scores/{site.ids['relaxed']}/analysis")

    assert api(site, f"/v2/scores/{site.ids['relaxed']}/analysis")["timeline"] == []
    chart = page.one("#analysis figure.chart svg")
    assert chart.attributes["aria-label"] == "Life over time"
    assert [len(chart.css(selector)) for selector in ("polyline.life", "polyline.line", "path.missed")] == [1, 0, 0]
    assert "combo up to" not in page.text
    assert page.css("#analysis figure details") == []


def test_unstable_rate_is_the_one_of_the_replay(site: Site) -> None:
    analysis = api(site, f"/v2/scores/{site.ids['worse']}/analysis")

    errors = analysis["errors"]
    assert isinstance(errors, dict)
    assert errors["unstable_rate_as_played"] == pytest.approx(70, abs=0.1)
    assert errors["unstable_rate"] == pytest.approx(70 / 1.5, abs=0.1)
    assert analysis["life"] != []


def test_picture_is_a_png_of_the_size_of_link_previews(site: Site) -> None:
    reply = site.server.ask("GET", f"/scores/{site.ids['shown']}/card.png", host="localhost")

    assert reply.status == 200
    assert reply.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(reply.body), formats=("PNG",)).size == (1200, 630)


def test_replay_download_counts_a_view_unless_it_is_the_players_own(site: Site) -> None:
    score_id = site.ids["shown"]

    def views() -> object:
        return api(site, f"/v2/scores/{score_id}")["replay_views"]

    before = views()
    assert isinstance(before, int)
    a_browser(site.server, user_id=BOB).get(f"/scores/{score_id}/replay")
    assert views() == before

    page = a_browser(site.server).get(f"/scores/{score_id}")
    reply = page.follow("Replay")
    assert reply.status == 200
    assert reply.headers["content-disposition"].startswith("attachment")
    assert read_replay(reply.body).score == 800_000
    assert views() == before + 1
    a_browser(site.server).get(f"/scores/{score_id}/replay")
    assert views() == before + 1, "the same address counts once a minute"


def test_player_pins_and_unpins_an_own_score(site: Site) -> None:
    browser = a_browser(site.server, user_id=BOB)
    page = browser.get(f"/scores/{site.ids['shown']}")

    pinned = page.button("Pin").press()
    assert pinned.message == "The score is pinned to your profile."
    unpinned = pinned.button("Unpin").press()
    assert unpinned.message == "The score is no longer pinned."
    assert unpinned.button("Pin")


def test_score_of_another_player_cannot_be_pinned(site: Site) -> None:
    browser = a_browser(site.server, user_id=BOB)
    page = browser.get(f"/scores/{site.ids['first']}")
    token = str(page.one('input[name="csrf_token"]').attributes["value"])

    assert browser.post(f"/scores/{site.ids['first']}/pin", {"csrf_token": token}).status == 404


def test_visitor_without_an_account_has_no_forms(site: Site) -> None:
    browser = a_browser(site.server)
    page = browser.get(f"/scores/{site.ids['shown']}")

    assert [node.attributes.get("action") for node in page.css('main form[method="post"]')] == []
    assert browser.post(f"/scores/{site.ids['shown']}/report", {"reason": "x"}, follow=False).status == 303


@pytest.mark.parametrize("part", ["", "/card.png", "/analysis", "/replay"])
@pytest.mark.parametrize("score", ["999999", "0", "x", "9" * 30, "-1"])
def test_unknown_scores_are_not_found(site: Site, score: str, part: str) -> None:
    assert a_browser(site.server).get(f"/scores/{score}{part}").status == 404


def test_addresses_with_a_mode_lead_to_the_score(site: Site) -> None:
    browser = a_browser(site.server)
    reply = browser.get("/scores/osu/2", follow=False)

    assert (reply.status, reply.location) == (301, "/scores/2")
    assert browser.get("/scores/fruits/007", follow=False).location == "/scores/7"
    assert browser.get("/scores/other/2", follow=False).status == 404
    assert browser.get("/scores/osu/x", follow=False).status == 404


def test_unknown_message_is_a_bad_request(site: Site) -> None:
    assert a_browser(site.server).get(f"/scores/{site.ids['shown']}?done=other").status == 400


def test_restricted_player_vanishes_at_once(site: Site) -> None:
    score_id = site.ids["daves"]
    browser = a_browser(site.server)
    assert browser.get(f"/scores/{score_id}/card.png").status == 200

    site.server.cli("users", "restrict", "dave", "--reason", "test")

    eventually(lambda: browser.get(f"/scores/{score_id}").status == 404)
    for part in ("/card.png", "/analysis", "/replay"):
        assert browser.get(f"/scores/{score_id}{part}").status == 404
    own = a_browser(site.server, user_id=6)
    page = own.get(f"/scores/{score_id}")
    assert page.status == 200
    assert "Your account is restricted." in page.text
    # A shared cache would give it to everybody.
    assert own.get(f"/scores/{score_id}/card.png").headers["cache-control"] == "private, no-store"

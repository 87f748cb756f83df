"""The search of sets and the page of a set, as a visitor without script sees them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from tests import stores
from tests.builders import a_map
from tests.site.kit import Browser, a_browser
from tests.wire.kit import BEHIND_PROXY, Server, cli

from kiai.storage import tables

SETS = 25


def songs(folder: Path) -> Path:
    """Write .osu files: set 1 has two difficulties and an odd title; the others have one."""
    hostile = a_map(11, set_id=1, title='<b>Blue & "Zenith"', version="Insane", objects=200)
    files = {"insane": hostile, "easy": a_map(10, set_id=1, title='<b>Blue & "Zenith"', version="Easy", objects=60)}
    for number in range(2, SETS + 1):
        files[str(number)] = a_map(number * 100, set_id=number, title=f"Song {number}", objects=100 + number)
    folder.mkdir()
    for name, one in files.items():
        (folder / f"{name}.osu").write_bytes(one.data)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with 25 sets and the players alice (3) and bob (4)."""
    folder: Path = tmp_path_factory.mktemp("sets")
    data = folder / "data"
    cli(data, "migrate")
    for name in ("alice", "bob"):
        cli(data, "users", "add", name, "--email", f"{name}@example.org", "--password", f"correct horse {name}")
    cli(data, "beatmaps", "import", str(songs(folder / "songs")))
    add_scores(data)
    server = Server(data, **BEHIND_PROXY).start()
    server.address = "198.51.100.21"
    yield server
    server.stop()


def add_scores(data: Path) -> None:
    """Give alice and bob a best score each on the map 2000: 900,000 with HD, and 800,000."""
    with stores.engine(data).begin() as connection:
        key = connection.execute(select(tables.maps.c.key).where(tables.maps.c.id == 2000)).scalar_one()
        for user_id, score, mods in ((3, 900_000, 8), (4, 800_000, 0)):
            connection.execute(
                tables.scores.insert().values(
                    **dict.fromkeys(("n100", "n50", "nmiss", "ngeki", "nkatu", "mode"), 0),
                    **dict.fromkeys(("passed", "perfect", "best_pp", "best_score", "best_mods"), 1),
                    user_id=user_id,
                    map_key=key,
                    mods=mods,
                    mods_key=mods,
                    score=score,
                    pp=100.5 - user_id,
                    acc=100.0,
                    max_combo=120,
                    n300=120,
                    grade="X",
                    country="xx",
                    play_time_ms=1_700_000_000_000,
                    time_elapsed=60_000,
                    checksum=bytes([user_id] * 16),
                )
            )


def visitor(server: Server, user_id: int | None = None) -> Browser:
    return a_browser(server, user_id=user_id)


# --- the search


def test_search_lists_cards_in_pages(server: Server) -> None:
    first = visitor(server).get("/beatmapsets")

    assert (first.status, first.h1) == (200, "Beatmaps")
    assert len(first.css("li[data-set-id]")) == 20
    assert "25 sets" in first.text
    second = first.follow("Next")
    assert len(second.css("li[data-set-id]")) == 5
    assert second.link("Next") is None
    back = second.follow("Previous")
    assert [node.attributes["data-set-id"] for node in back.css("li[data-set-id]")] == [
        node.attributes["data-set-id"] for node in first.css("li[data-set-id]")
    ]


def test_words_and_controls_say_the_same(server: Server) -> None:
    page = visitor(server).get("/beatmapsets?q=song+length%3E%3D55+length%3C57&mode=0")

    assert len(page.css("li[data-set-id]")) == 4
    form = page.form("Search beatmaps")
    assert form.values["length_from"] == "55"
    assert form.values["mode"] == "0"

    narrower = form.set("Length from", "56").press("Search")
    assert len(narrower.css("li[data-set-id]")) == 2
    assert "length%3E%3D56" in narrower.path
    assert "was=" not in narrower.path


def test_words_that_are_typed_come_before_the_controls(server: Server) -> None:
    page = visitor(server).get("/beatmapsets?q=length%3E55")

    found = page.form("Search beatmaps").set("Words", "song length>61 mode=osu").press("Search")

    assert len(found.css("li[data-set-id]")) == 3
    assert found.form("Search beatmaps").values["mode"] == "0"


def test_wrong_words_are_explained(server: Server) -> None:
    page = visitor(server).get("/beatmapsets?q=song+colour%3Dred")

    assert page.alert is not None
    assert "colour=red" in page.alert
    assert "there is no field colour" in page.alert
    assert page.css("li[data-set-id]")


def test_empty_search_names_the_filter_to_drop(server: Server) -> None:
    page = visitor(server).get("/beatmapsets?q=song&mode=3")

    assert "No set matches this search." in page.text
    assert len(page.follow("Search without Mode").css("li[data-set-id]")) == 20
    assert page.link("Search without Words") is None


@pytest.mark.parametrize(
    "query", ["mode=4", "sort=best", "status=x", "cursor=nonsense", "reverse=2", "was=&stars_from=x"]
)
def test_wrong_parameters_of_the_search_are_named(server: Server, query: str) -> None:
    page = visitor(server).get(f"/beatmapsets?{query}")

    assert page.status == 400
    assert query.rpartition("&")[2].partition("=")[0] in page.text


def test_favourites_are_a_filter_for_players(server: Server) -> None:
    browser = visitor(server, 4)
    browser.get("/beatmapsets/7").button("Favourite").press()

    page = browser.get("/beatmapsets?status=favourites")

    assert [node.attributes["data-set-id"] for node in page.css("li[data-set-id]")] == ["7"]


# --- the page of a set


def test_page_shows_the_set_and_the_hardest_difficulty(server: Server) -> None:
    page = visitor(server).get("/beatmapsets/1")

    assert page.status == 200
    assert "Artist" in page.h1
    assert '<b>Blue & "Zenith"' in page.h1
    assert page.link("Insane") == "/beatmapsets/1?map=11"
    assert page.link("Easy") == "/beatmapsets/1?map=10"
    assert page.stat("status") == "2"
    assert page.stat("max_combo") == "200"
    assert page.stat("length") == "100"
    assert (page.stat("ar"), page.stat("od"), page.stat("cs"), page.stat("hp")) == ("9.0", "8.0", "4.0", "5.0")
    assert float(page.stat("stars") or 0) > 0
    assert page.stat("bpm") == "120.0"
    assert "Leaderboard" in page.headings()
    assert "Nobody has a score on this map in this mode yet." in page.text
    assert page.css("svg.spark")
    assert page.link("Download") is None  # no archive is stored
    assert len(page.body) <= 60_000


def test_mods_change_the_figures(server: Server) -> None:
    plain = visitor(server).get("/beatmapsets/1?map=11")
    page = visitor(server).get("/beatmapsets/1?map=11&mods=DT")

    assert page.stat("bpm") == "180.0"
    assert page.stat("length") == "67"
    assert float(page.stat("stars") or 0) > float(plain.stat("stars") or 0)
    assert "Nobody has a score with exactly these mods." in page.text


def test_converts_and_variants_are_tabs(server: Server) -> None:
    page = visitor(server).get("/beatmapsets/1?map=11&mode=5")

    assert [node.text(strip=True) for node in page.css('[aria-label="Mode"] [aria-current]')] == ["taiko"]
    assert [node.text(strip=True) for node in page.css('[aria-label="Variant"] [aria-current]')] == ["Relax"]
    assert [node.text(strip=True) for node in page.css('[aria-label="Variant"] [aria-disabled]')] == ["Autopilot"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/beatmapsets/9999", 404),
        ("/beatmapsets/x", 404),
        ("/beatmapsets/99999999999", 404),
        ("/beatmapsets/1?map=200", 404),
        ("/beatmapsets/1?map=x", 400),
        ("/beatmapsets/1?mode=9", 400),
        ("/beatmapsets/1?mods=QQ", 400),
        ("/beatmapsets/1?scope=world", 400),
        ("/b/9999", 404),
        ("/b/x", 404),
        ("/s/x", 404),
    ],
)
def test_wrong_addresses_have_error_pages(server: Server, path: str, status: int) -> None:
    assert visitor(server).get(path).status == status


@pytest.mark.parametrize(
    ("path", "status", "target"),
    [
        ("/s/1", 301, "/beatmapsets/1"),
        ("/b/11", 302, "/beatmapsets/1?map=11"),
        ("/beatmaps/10", 302, "/beatmapsets/1?map=10"),
        ("/beatmaps", 301, "/beatmapsets"),
    ],
)
def test_addresses_of_old_clients_are_redirected(server: Server, path: str, status: int, target: str) -> None:
    page = visitor(server).get(path, follow=False)

    assert (page.status, page.location) == (status, target)


def test_scopes_that_need_a_player_ask_to_log_in(server: Server) -> None:
    for scope in ("country", "friends"):
        page = visitor(server).get(f"/beatmapsets/1?scope={scope}")
        assert "Log in to see the scores" in page.text
    assert "None of your friends" in visitor(server, 3).get("/beatmapsets/1?scope=friends").text


def test_leaderboard_lists_scores_by_scope_and_marks_the_own_row(server: Server) -> None:
    page = visitor(server, 4).get("/beatmapsets/20")

    assert [row.attributes["data-user-id"] for row in page.css("tr[data-score-id]")] == ["3", "4"]
    assert page.stats("place") == ["1", "2"]
    assert page.stats("score") == ["900000", "800000"]
    assert page.stats("acc") == ["100.0", "100.0"]
    assert page.one("tr[data-self]").attributes["data-user-id"] == "4"
    assert page.link("alice") == "/users/3"

    with_hidden = visitor(server).get("/beatmapsets/20?mods=HD")
    assert [row.attributes["data-user-id"] for row in with_hidden.css("tr[data-score-id]")] == ["3"]


def test_row_of_a_restricted_player_vanishes_from_the_leaderboard(server: Server) -> None:
    cli(server.data, "users", "restrict", "alice", "--reason", "test")
    try:
        page = visitor(server).get("/beatmapsets/20")
        own = visitor(server, 3).get("/beatmapsets/20")
    finally:
        cli(server.data, "users", "unrestrict", "alice")

    assert [row.attributes["data-user-id"] for row in page.css("tr[data-score-id]")] == ["4"]
    assert page.stats("place") == ["1"]
    assert [row.attributes["data-user-id"] for row in own.css("tr[data-score-id]")] == ["3", "4"]


# --- calculator


def test_calculator_is_a_form_and_an_answer_for_script(server: Server) -> None:
    browser = visitor(server)
    page = browser.get("/beatmapsets/1?map=11&mods=HD").form("Calculator").fill(Accuracy="98.5", Misses="2").press()

    assert page.status == 200
    assert " pp" in page.one("[data-result]").text()

    query = "map=11&mods=HD&accuracy=98.5&misses=2&combo="
    reply = browser.request("GET", f"/beatmapsets/1/calculate?{query}", headers={"X-Fragment": "1"})
    result = json.loads(reply.body)
    assert reply.status == 200
    assert result["pp"] > 0
    assert result["pp_text"] in page.one("[data-result]").text()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Accuracy", "101"),
        ("Accuracy", "many"),
        ("Accuracy", "nan"),
        ("Combo", "201"),
        ("Misses", "-1"),
        ("Misses", "201"),
    ],
)
def test_impossible_plays_are_explained_at_the_field(server: Server, field: str, value: str) -> None:
    page = visitor(server).get("/beatmapsets/1?map=11").form("Calculator").set(field, value).press()

    assert page.status == 422
    assert "Must be" in (page.form("Calculator").error(field) or "")


# --- favourite and comments


def test_favourite_is_a_button_that_stays_pressed(server: Server) -> None:
    browser = visitor(server, 3)
    page = browser.get("/beatmapsets/3")
    assert page.one("button[aria-pressed][type=submit]").attributes["aria-pressed"] == "false"

    page = page.button("Favourite").press()
    assert page.message == "The set is one of your favourites now."
    assert page.one("button[aria-pressed][type=submit]").attributes["aria-pressed"] == "true"
    assert page.stat("favourites") == "1"

    page = page.button("Favourite").press()
    assert page.stat("favourites") == "0"


def test_comments_are_posted_shown_and_deleted(server: Server) -> None:
    alice, bob = visitor(server, 3), visitor(server, 4)
    text = "<script>alert(1)</script>\nsecond line"
    page = alice.get("/beatmapsets/4").form("Comment").fill(Comment=text).press("Post comment")

    assert page.message == "Your comment is posted."
    assert page.one(".comment-text").text() == text
    [row] = page.css("[data-comment-id]")
    assert "data-self" in row.attributes

    seen = bob.get("/beatmapsets/4")
    comment = seen.one("[data-comment-id]").attributes["data-comment-id"]
    token = {"csrf_token": str(seen.form("Comment").values["csrf_token"])}
    assert bob.post(f"/beatmapsets/4/comments/{comment}/delete", token).status == 403
    assert bob.post(f"/beatmapsets/5/comments/{comment}/delete", token).status == 404

    page = alice.get("/beatmapsets/4").button("Delete").press()
    assert page.message == "The comment is deleted."
    assert page.css("[data-comment-id]") == []


def test_moderator_reads_older_comments_and_removes_one(server: Server) -> None:
    rows = [{"set_id": 7, "user_id": 3, "text": f"line {n}", "at_ms": n} for n in range(41)]
    with stores.engine(server.data).begin() as connection:
        connection.execute(tables.set_comments.insert(), rows)
        connection.execute(tables.users.update().where(tables.users.c.id == 4).values(priv=3 | 4096))
    bob = a_browser(server, user_id=4, second_factor_h=0)
    try:
        first = bob.get("/beatmapsets/7")
        second = first.follow("Older comments")
        third = second.follow("Older comments")
        shown = [comment.text() for page in (first, second, third) for comment in page.css(".comment-text")]
        after = second.button("Delete").press()
    finally:
        with stores.engine(server.data).begin() as connection:
            connection.execute(tables.users.update().where(tables.users.c.id == 4).values(priv=3))

    assert shown == [f"line {n}" for n in range(41)][::-1]
    assert third.css('[rel="next"]') == []
    assert third.link("Newest comments")
    assert after.message == "The comment is deleted."
    assert [comment.text() for comment in after.css(".comment-text")][:2] == ["line 19", "line 18"]


def test_empty_comment_is_refused_at_the_field(server: Server) -> None:
    page = visitor(server, 3).get("/beatmapsets/5").form("Comment").fill(Comment="  ").press("Post comment")

    assert page.status == 422
    assert (page.form("Comment").error("Comment") or "").startswith("Must be a text of 1 to 1000")


def test_comments_of_a_restricted_player_vanish_and_the_forms_with_them(server: Server) -> None:
    alice = visitor(server, 3)
    alice.get("/beatmapsets/6").form("Comment").fill(Comment="soon hidden").press("Post comment")
    assert "soon hidden" in visitor(server).get("/beatmapsets/6").text

    cli(server.data, "users", "restrict", "alice", "--reason", "test")
    try:
        assert "soon hidden" not in visitor(server).get("/beatmapsets/6").text
        own = alice.get("/beatmapsets/6")
        assert "soon hidden" in own.text
        assert own.css('form[aria-label="Comment"]') == []
        token = {"csrf_token": str(own.one('input[name="csrf_token"]').attributes["value"]), "comment": "x"}
        assert alice.post("/beatmapsets/6/comments", token).status == 403
    finally:
        cli(server.data, "users", "unrestrict", "alice")


def test_forms_need_a_session_and_its_token(server: Server) -> None:
    nobody, alice = visitor(server), visitor(server, 3)

    for path in ("/beatmapsets/1/favourite", "/beatmapsets/1/comments", "/beatmapsets/1/comments/1/delete"):
        assert nobody.post(path, {"comment": "x"}, follow=False).status in (303, 403)
        assert alice.post(path, {"comment": "x"}).status == 403

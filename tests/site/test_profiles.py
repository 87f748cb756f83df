"""Profiles and leaderboards: what they show equals the API, also without plays, and hidden players vanish."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from tests import stores
from tests.patience import wait_until
from tests.site.kit import a_browser
from tests.wire.kit import BEHIND_PROXY, Server, cli

from kiai.accounts.model import Privacy
from kiai.osu.modes import MODES
from kiai.storage import tables

PLAYERS = 60
_addresses = itertools.count(1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the sample world of `kiai demo`."""
    data: Path = tmp_path_factory.mktemp("profiles") / "data"
    cli(data, "demo", "--players", str(PLAYERS), "--maps", "30", "--scores", "4000")
    server = Server(data, **BEHIND_PROXY).start()
    server.address = "198.51.100.9"
    wait_until(lambda: rows_of(server, "country_totals"), within_s=15)
    wait_until(lambda: rows_of(server, "clan_totals"), within_s=15)
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def own_address(world: Server, server: Server) -> None:
    """Give each test addresses of its own: the limits of pages are on."""
    number = next(_addresses)
    world.address, server.address = f"198.51.100.{number}", f"203.0.113.{number}"


def rows_of(server: Server, table: str) -> list[Any]:
    with stores.engine(server.data).connect() as connection:
        return list(connection.execute(select(tables.metadata.tables[table])))


def change(server: Server, statement: Any) -> None:
    with stores.engine(server.data).begin() as connection:
        connection.execute(statement)


def api(server: Server, path: str) -> Any:
    return json.loads(server.ask("GET", f"/v2{path}", host="api.localhost").body)["data"]


def best_player(server: Server, mode: int = 0) -> int:
    return int(api(server, f"/leaderboards/{mode}?page_size=1")[0]["player_id"])


# --- the profile


def test_figures_of_a_profile_equal_those_of_the_api(world: Server) -> None:
    browser, player = a_browser(world), best_player(world)

    for mode in MODES:
        page = browser.get(f"/users/{player}?mode={mode}")
        figures = api(world, f"/players/{player}/stats/{mode}")

        assert page.status == 200
        for name in ("pp", "plays", "playtime", "rscore", "tscore", "max_combo", "total_hits", "replay_views", "level"):
            assert page.stat(name) == str(figures[name]), (mode, name)
        assert float(page.stat("acc") or 0) == figures["acc"]
        for name in ("rank", "country_rank", "rscore_rank"):
            assert page.stat(name) == ("" if figures[name] is None else str(figures[name])), (mode, name)
        for name in ("xh", "x", "sh", "s", "a"):
            assert page.stat(name) == str(figures[f"{name}_count"])


def test_profile_has_its_parts_and_lists_equal_those_of_the_api(world: Server) -> None:
    player = best_player(world)

    page = a_browser(world).get(f"/users/{player}?mode=0")

    assert page.h1 == api(world, f"/players/{player}")["name"]
    parts = {"Best scores", "Recent scores", "First places", "Most played", "Medals", "Rank history"}
    assert parts <= set(page.headings())
    for list_, scope in (("best", "best"), ("firsts", "firsts"), ("recent", "recent")):
        shown = [row.attributes["data-score-id"] for row in page.css(f"#{list_}-rows > li")]
        assert shown == [
            str(score["id"]) for score in api(world, f"/players/{player}/scores?scope={scope}&mode=0&limit=5")
        ]
    maps = [row.attributes["data-map-id"] for row in page.css("#most-played-rows > li")]
    assert maps == [str(one["id"]) for one in api(world, f"/players/{player}/most_played?mode=0&limit=5")]


def test_mode_and_variant_are_links_and_pairs_that_do_not_exist_are_not(world: Server) -> None:
    page = a_browser(world).get(f"/users/{best_player(world)}?mode=3")

    modes = page.css('nav[aria-label="Mode"] a')
    variants = page.css('nav[aria-label="Variant"] > *')
    assert [link.text(strip=True) for link in modes] == ["osu!", "taiko", "catch", "mania"]
    assert [link.text(strip=True) for link in modes if link.attributes.get("aria-current")] == ["mania"]
    assert [node.text(strip=True) for node in variants] == ["Vanilla", "Relax", "Autopilot"]
    assert [node.tag for node in variants] == ["a", "span", "span"]


def test_show_more_continues_where_the_profile_ends(world: Server) -> None:
    browser, player = a_browser(world), best_player(world)
    page = browser.get(f"/users/{player}?mode=0")

    for list_, scope in (("best", "best"), ("recent", "recent")):
        more = page.one(f'a[data-more="{list_}-rows"]').attributes["href"]
        rest = browser.get(more or "", headers={"X-Fragment": "1"})
        ids = [row.attributes["data-score-id"] for row in rest.css(f"#{list_}-rows > li")]
        wanted = api(world, f"/players/{player}/scores?scope={scope}&mode=0&limit=100")
        assert ids == [str(score["id"]) for score in wanted[5:55]]
        assert rest.css("header") == []
        assert browser.get(more or "").css("header") != []


@pytest.mark.parametrize("name", ["best", "recent", "firsts", "most-played", "pinned", "scores", "medals", "matches"])
def test_each_list_is_a_page_of_its_own(world: Server, name: str) -> None:
    browser, player = a_browser(world), best_player(world)

    page = browser.get(f"/users/{player}/{name}?mode=0")

    assert page.status == 200
    assert page.css(f'nav[aria-label="Lists"] a[href="/users/{player}/{name}?mode=0"][aria-current]')
    assert browser.get(f"/users/{PLAYERS + 1000}/{name}").status == 404


def test_all_scores_are_filtered_and_paged(world: Server) -> None:
    browser, player = a_browser(world), best_player(world)

    page = browser.get(f"/users/{player}/scores?mode=0&sort=pp&status=2")
    ids = [row.attributes["data-score-id"] for row in page.css("#scores-rows > li")]
    wanted = api(world, f"/players/{player}/plays?mode=0&sort=pp&status=2&page_size=50")

    assert ids == [str(score["id"]) for score in wanted]
    assert page.form("Filter").values["sort"] == "pp"
    nothing = browser.get(f"/users/{player}/scores?mode=0&q=no+such+map")
    assert "No score matches these filters." in nothing.text
    for wrong in ("sort=x", "grade=Z", "year=1", "mods=QQ", "status=3", "mode=9", "cursor=x"):
        assert browser.get(f"/users/{player}/scores?{wrong}").status == 400


def test_player_without_plays_has_dashes_and_sentences(server: Server) -> None:
    page = a_browser(server).get("/users/3?mode=4")

    assert page.status == 200
    assert page.stat("pp") == page.stat("plays") == "0"
    assert page.stat("rank") == ""
    assert "The graph begins tomorrow." in page.text
    assert "No first place in this mode yet." in page.text


def test_default_mode_is_the_preferred_one(server: Server) -> None:
    change(server, update(tables.users).where(tables.users.c.id == 4).values(preferred_mode=2))

    page = a_browser(server).get("/users/4")

    current = page.css('nav[aria-label="Mode"] a[aria-current]')
    assert [link.text(strip=True) for link in current] == ["catch"]


def test_privacy_hides_when_a_player_was_last_seen(server: Server) -> None:
    assert "Last seen" in a_browser(server).get("/users/4").text

    change(server, update(tables.users).where(tables.users.c.id == 4).values(privacy=int(Privacy.HIDE_LAST_SEEN)))

    assert "Last seen" not in a_browser(server).get("/users/4").text
    assert "Last seen" in a_browser(server, user_id=4).get("/users/4").text


def test_userpage_is_shown_as_markup_and_never_as_html(server: Server) -> None:
    assert "About me" not in a_browser(server).get("/users/4").headings()
    text = "[b]bold[/b] <script>alert(1)</script>"

    change(server, update(tables.users).where(tables.users.c.id == 4).values(userpage_content=text))
    page = a_browser(server).get("/users/4")

    assert "About me" in page.headings()
    assert [node.text() for node in page.css(".userpage strong")] == ["bold"]
    assert page.css(".userpage script") == []


def test_bot_has_a_short_page(server: Server) -> None:
    page = a_browser(server).get("/users/1")

    assert page.status == 200
    assert page.h1 == "BanchoBot"
    assert page.css("ol, table") == []


def test_unverified_player_sees_what_to_do_and_others_see_nothing(server: Server) -> None:
    cli(server.data, "users", "add", "newcomer", "--email", "n@example.org", "--password", "correct horse new")
    change(server, update(tables.users).where(tables.users.c.safe_name == "newcomer").values(priv=1))
    with stores.engine(server.data).connect() as connection:
        user_id = connection.execute(select(tables.users.c.id).where(tables.users.c.safe_name == "newcomer")).scalar()
    assert user_id is not None

    own = a_browser(server, user_id=user_id).get(f"/users/{user_id}")

    assert "Log in with the game once and your profile becomes public." in own.text
    assert a_browser(server).get(f"/users/{user_id}").status == 404


def test_restricted_player_vanishes_except_for_the_player(world: Server) -> None:
    player = best_player(world)
    name = api(world, f"/players/{player}")["name"]
    browser = a_browser(world)
    before = [row.attributes["data-user-id"] for row in browser.get("/leaderboard").css("tbody tr")]
    assert before[0] == str(player)

    cli(world.data, "users", "restrict", name, "--reason", "a test")
    try:
        for path in (f"/users/{player}", f"/users/{player}/best", f"/u/{name}", f"/users/{name}"):
            assert browser.get(path).status == 404, path
        after = [row.attributes["data-user-id"] for row in browser.get("/leaderboard").css("tbody tr")]
        assert after[: len(before) - 1] == before[1:]
        assert name not in browser.get("/leaderboard/plays").text
        own = a_browser(world, user_id=player).get(f"/users/{player}")
        assert own.status == 200
        assert "Your account is restricted" in own.text
    finally:
        cli(world.data, "users", "unrestrict", name)


# --- old addresses


def test_old_addresses_lead_to_profiles(world: Server) -> None:
    browser, player = a_browser(world), best_player(world)
    name = api(world, f"/players/{player}")["name"]

    for old, target in (
        (f"/u/{player}", f"/users/{player}"),
        (f"/u/{name.upper()}", f"/users/{player}"),
        (f"/users/{name}", f"/users/{player}"),
        (f"/u/{player}?mode=2", f"/users/{player}?mode=2"),
        (f"/users/{player}/fruits", f"/users/{player}?mode=2"),
        (f"/users/{name}/mania", f"/users/{player}?mode=3"),
        (f"/rx/u/{player}", f"/users/{player}?mode=4"),
        (f"/users/{player}?rx=2", f"/users/{player}?mode=8"),
        (f"/u/{player}?mode=1&rx=1", f"/users/{player}?mode=5"),
    ):
        page = browser.get(old)
        assert (page.status, page.path) == (200, target), old
    for unknown in ("/u/nobody%20here", f"/users/{player}/tetris", "/users/0", "/users/99999999999999999999"):
        assert browser.get(unknown).status == 404, unknown


def test_former_name_leads_to_the_profile(server: Server) -> None:
    change(
        server,
        tables.old_names.insert().values(user_id=3, name="Old Alice", safe_name="old_alice", released_at_ms=1_000),
    )
    change(server, update(tables.users).where(tables.users.c.id == 3).values(renamed_at_ms=1_000))

    assert a_browser(server).get("/users/old_alice", follow=False).location == "/users/3"
    assert "Formerly known as Old Alice" in a_browser(server).get("/users/3").text


def test_old_addresses_lead_to_leaderboards(world: Server) -> None:
    browser = a_browser(world)

    for old, target in (
        ("/lb", "/leaderboard"),
        ("/rankings", "/leaderboard"),
        ("/rankings/taiko/performance", "/leaderboard?mode=1"),
        ("/rankings/fruits/score", "/leaderboard?mode=2&sort=rscore"),
        ("/rankings/mania/country", "/leaderboard/countries?mode=3"),
        ("/leaderboard/std/score/rx", "/leaderboard?mode=4&sort=rscore"),
        ("/p/playerranking", "/leaderboard"),
        ("/p/countryranking", "/leaderboard/countries"),
        ("/leaderboard?rx=1&mode=1", "/leaderboard?mode=5"),
    ):
        page = browser.get(old)
        assert (page.status, page.path) == (200, target), old
    for unknown in ("/rankings/tetris", "/leaderboard/mania/pp/rx", "/rankings/osu/charts"):
        assert browser.get(unknown).status == 404, unknown


# --- friends and pins


def test_friend_button_adds_and_removes(world: Server) -> None:
    first, second = (int(row["player_id"]) for row in api(world, "/leaderboards/0?page_size=2"))
    browser = a_browser(world, user_id=first)
    followers = api(world, f"/players/{second}/followers")["followers"]
    already = bool(browser.get(f"/users/{second}").css('button:has(use[href$="#user-check"])'))
    if already:
        browser.get(f"/users/{second}").button("Remove friend").press()
        followers -= 1

    page = browser.get(f"/users/{second}").button("Add friend").press()
    assert page.path.startswith(f"/users/{second}")
    assert page.button("Remove friend")
    assert api(world, f"/players/{second}/followers")["followers"] == followers + 1
    page = page.button("Remove friend").press()

    assert page.button("Add friend")
    assert api(world, f"/players/{second}/followers")["followers"] == followers
    for own in (a_browser(world).get(f"/users/{second}"), browser.get(f"/users/{first}")):
        assert own.css('form[aria-label="Friend"]') == []


def test_forms_need_a_session_and_pins_the_own_profile(world: Server) -> None:
    first, second = (int(row["player_id"]) for row in api(world, "/leaderboards/0?page_size=2"))

    for path in (f"/users/{second}/friend", f"/users/{second}/pins"):
        assert (a_browser(world).post(path, {}, follow=False).location or "").startswith("/login")
    other = a_browser(world, user_id=first)
    token = other.get(f"/users/{second}").one('input[name="csrf_token"]').attributes["value"] or ""
    score = str(api(world, f"/players/{second}/scores?scope=best&limit=1")[0]["id"])
    stolen = {"csrf_token": token, "score_id": score, "action": "pin"}
    assert other.post(f"/users/{second}/pins", stolen, follow=False).status == 403
    assert other.post(f"/users/{first}/pins", stolen, follow=False).status == 404
    assert rows_of(world, "pinned_scores") == []


def test_player_pins_scores_and_orders_them(world: Server) -> None:
    player = best_player(world)
    browser = a_browser(world, user_id=player)
    ids = [score["id"] for score in api(world, f"/players/{player}/scores?scope=best&mode=0&limit=2")]
    for score_id in ids:
        forms = browser.get(f"/users/{player}/best?mode=0").css(f'li[data-score-id="{score_id}"] form')
        assert len(forms) == 1
        token = browser.get(f"/users/{player}/best").one('input[name="csrf_token"]').attributes["value"] or ""
        fields = {"csrf_token": token, "score_id": str(score_id), "action": "pin"}
        browser.post(f"/users/{player}/pins?mode=0", fields)

    pinned = browser.get(f"/users/{player}/pinned?mode=0")
    assert [row.attributes["data-score-id"] for row in pinned.css("#pinned-rows > li")] == [str(id_) for id_ in ids]
    fields = {"csrf_token": token, "score_id": str(ids[1]), "action": "up"}
    browser.post(f"/users/{player}/pins?mode=0", fields)
    assert [score["id"] for score in api(world, f"/players/{player}/scores?scope=pinned&mode=0")] == ids[::-1]
    assert "Pinned scores" in a_browser(world).get(f"/users/{player}?mode=0").headings()
    for score_id in ids:
        fields = {"csrf_token": token, "score_id": str(score_id), "action": "unpin"}
        browser.post(f"/users/{player}/pins?mode=0", fields)
    assert rows_of(world, "pinned_scores") == []
    wrong = {"csrf_token": token, "score_id": "x", "action": "pin"}
    assert browser.post(f"/users/{player}/pins", wrong).status == 422


# --- leaderboards


@pytest.mark.parametrize("sort", ["pp", "rscore", "tscore", "plays"])
def test_leaderboard_equals_the_api(world: Server, sort: str) -> None:
    browser = a_browser(world)

    for parameters in ("", "&country=us", "&filter=active"):
        page = browser.get(f"/leaderboard?mode=0&sort={sort}{parameters}")
        wanted = api(world, f"/leaderboards/0?sort={sort}{parameters}&page_size=50")
        rows = page.css("tbody tr")
        assert page.h1 == "Leaderboard"
        assert [row.attributes["data-user-id"] for row in rows] == [str(one["player_id"]) for one in wanted]
        shown = [row.css(f'data[data-stat="{sort}"]')[0].attributes["value"] for row in rows]
        assert shown == [str(one[sort]) for one in wanted]
    assert page.form("Country").values["country"] == ""


def test_leaderboard_marks_and_repeats_the_own_row(world: Server) -> None:
    everyone = api(world, "/leaderboards/0?page_size=100")
    first, last = everyone[0]["player_id"], everyone[-1]["player_id"]

    page = a_browser(world, user_id=first).get("/leaderboard?mode=0")
    assert page.one("tbody tr[data-self]").attributes["data-user-id"] == str(first)
    assert page.css("tfoot") == []
    if len(everyone) > 50:
        page = a_browser(world, user_id=last).get("/leaderboard?mode=0")
        assert page.one("tfoot tr[data-self]").attributes["data-user-id"] == str(last)
        jumped = page.follow("Jump to my place")
        assert jumped.one("tbody tr[data-self]").attributes["data-user-id"] == str(last)


def test_leaderboard_of_friends_needs_a_session(world: Server) -> None:
    player = best_player(world)

    assert (a_browser(world).get("/leaderboard?filter=friends", follow=False).location or "").startswith("/login")
    page = a_browser(world, user_id=player).get("/leaderboard?mode=0&filter=friends")
    assert str(player) in [row.attributes["data-user-id"] for row in page.css("tbody tr")]


def test_page_beyond_the_last_is_missing_and_wrong_parameters_are_named(world: Server) -> None:
    browser = a_browser(world)

    beyond = browser.get("/leaderboard?page=150")
    assert beyond.status == 404
    assert beyond.link("Go to the last page") is not None
    for wrong in ("mode=9", "mode=x", "sort=acc", "country=usa", "filter=me", "page=0", "page=x", "rx=3"):
        assert browser.get(f"/leaderboard?{wrong}").status == 400, wrong
    assert browser.get("/leaderboard?unknown=1").status == 200
    assert browser.get("/leaderboard?mode=7").css('nav[aria-label="Variant"] a[aria-current]')


def test_boards_of_countries_and_clans_equal_the_api(world: Server) -> None:
    browser = a_browser(world)

    countries = browser.get("/leaderboard/countries?mode=0")
    clans = browser.get("/leaderboard/clans?mode=0")

    wanted = api(world, "/leaderboards/countries?mode=0")
    assert wanted
    assert [row.attributes["data-country"] for row in countries.css("tbody tr")] == [one["country"] for one in wanted]
    assert countries.stats("pp") == [str(one["pp"]) for one in wanted]
    board = api(world, "/leaderboards/clans?mode=0")
    assert board
    assert [row.attributes["data-clan-id"] for row in clans.css("tbody tr")] == [str(one["id"]) for one in board]
    assert clans.stats("pp") == [str(one["pp"]) for one in board]


def test_top_plays_equal_the_api_and_are_paged(world: Server) -> None:
    browser = a_browser(world)
    wanted = api(world, "/top-plays?mode=0&page_size=100")

    page = browser.get("/leaderboard/plays?mode=0")
    rest = page.follow("Next")

    shown = [row.attributes["data-score-id"] for one in (page, rest) for row in one.css("tbody tr")]
    assert shown == [str(play["id"]) for play in wanted]
    unique = browser.get("/leaderboard/plays?mode=0&unique=1")
    maps = [row.attributes["data-map-id"] for row in unique.css("tbody tr")]
    assert len(maps) == len(set(maps)) > 0
    assert browser.get("/leaderboard/plays?mods=QQ").status == 400


def test_empty_server_has_sentences(server: Server) -> None:
    browser = a_browser(server)

    for path in ("/leaderboard", "/leaderboard/countries"):
        assert "No ranked players in this mode yet." in browser.get(path).text
    assert "No clan has a ranked member in this mode yet." in browser.get("/leaderboard/clans").text
    assert "Nobody has set a play with pp in this mode yet." in browser.get("/leaderboard/plays").text
    assert "No player matches these filters." in browser.get("/leaderboard?country=de").text
    friends = a_browser(server, user_id=3).get("/leaderboard?filter=friends")
    assert "None of your friends has played this mode." in friends.text

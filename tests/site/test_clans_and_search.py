"""Clans, the search over players, beatmaps, clans and matches, and its suggestions."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.site.kit import PageReply, a_browser
from tests.wire.kit import BEHIND_PROXY, Server, cli, eventually


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the demo world, which has clans, maps and scores."""
    data: Path = tmp_path_factory.mktemp("search") / "data"
    cli(data, "demo", "--players", "60", "--maps", "12", "--scores", "600")
    server = Server(data, **BEHIND_PROXY).start()
    server.address = "198.51.100.9"
    # A job computes the totals of the clans after the start.
    eventually(lambda: bool(server.ask("GET", "/v2/leaderboards/clans?mode=0", host="api.localhost").json["data"]))
    yield server
    server.stop()


def names(page: PageReply) -> list[str]:
    """Return the names of the players that a page lists."""
    return [node.text(strip=True) for node in page.css("li[data-user-id] a.name")]


def a_name(server: Server) -> str:
    return names(a_browser(server).get("/search?q=a"))[0]


def test_empty_search_says_what_to_do(server: Server) -> None:
    page = a_browser(server).get("/search")

    assert page.h1 == "Search"
    assert page.headings()[:2] == ["Players", "Beatmaps"]
    assert "Type a name above." in page.text


def test_search_finds_players_by_a_part_of_the_name(demo: Server) -> None:
    name = a_name(demo)
    browser = a_browser(demo)

    whole = browser.get(f"/search?q={name.upper().replace(' ', '+')}")
    part = browser.get(f"/search?q={name[1:].replace(' ', '+')}")

    assert names(whole)[0] == name
    assert name in names(part)
    assert whole.title.startswith(f"{name.upper()} - Search · ")
    assert whole.one('meta[name="robots"]').attributes["content"] == "noindex"


def test_old_address_leads_to_the_search(demo: Server) -> None:
    reply = a_browser(demo).get("/users?q=a+b", follow=False)

    assert (reply.status, reply.location) == (301, "/search?q=a+b")


def test_suggestions_are_at_most_eight_links_after_two_characters(demo: Server) -> None:
    browser = a_browser(demo)

    found = browser.get(f"/search/suggest?q={a_name(demo)[:2]}")
    short = browser.get("/search/suggest?q=a")

    links = found.css("a")
    assert 0 < len(links) <= 8
    assert all((link.attributes["href"] or "").startswith(("/users/", "/beatmapsets/", "/clans/")) for link in links)
    assert short.css("a") == []


def test_clans_and_beatmaps_are_found(demo: Server) -> None:
    browser = a_browser(demo)
    clan = browser.get("/search?q=a").css("li[data-clan-id] a")

    page = browser.get("/search?q=the")

    assert page.status == 200
    assert clan
    assert browser.get(clan[0].attributes["href"] or "").status == 200


@pytest.mark.parametrize(
    "query",
    ["%00", "%ff%fe", "%27%20OR%201=1--", "%25%25", "_", "%F4%8F%BF%BF", "%ED%A0%80", "..%2f", "a" * 100, "%3Cb%3E"],
)
def test_hostile_text_is_answered_and_escaped(demo: Server, query: str) -> None:
    for path in ("/search?q=", "/search/suggest?q=", "/clans?q=", "/users?q="):
        page = a_browser(demo).get(path + query[:32])
        assert page.status in (200, 400), path
        assert page.css("main b") == []


def test_too_long_text_and_pages_behind_the_last_are_refused(demo: Server) -> None:
    browser = a_browser(demo)

    assert browser.get("/search?q=" + "a" * 101).status == 400
    assert browser.get("/search?q=a&page=99").status == 404
    assert browser.get("/search?q=a&page=x").status == 400


def rows(page: PageReply, kind: str) -> list[str]:
    return [node.attributes[f"data-{kind}-id"] or "" for node in page.css(f"tr[data-{kind}-id]")]


def test_list_of_clans_has_the_figures_of_the_api(demo: Server) -> None:
    page = a_browser(demo).get("/clans?mode=0")
    api = demo.ask("GET", "/v2/leaderboards/clans?mode=0", host="api.localhost").json["data"]

    assert page.status == 200, page.text
    assert (page.h1, page.headings()[:1]) == ("Clans", ["Clans"]), page.text
    assert rows(page, "clan") == [str(clan["id"]) for clan in api]
    assert page.stats("pp") == [str(clan["pp"]) for clan in api]
    assert page.stats("members") == [str(clan["members"]) for clan in api]
    assert page.stats("rank") == [str(place + 1) for place in range(len(api))]


def test_clans_without_ranked_members_are_listed_without_a_place(demo: Server) -> None:
    page = a_browser(demo).get("/clans?mode=8")
    ranked = demo.ask("GET", "/v2/leaderboards/clans?mode=8", host="api.localhost").json["data"]
    everyone = demo.ask("GET", "/v2/clans", host="api.localhost").json["data"]

    assert len(ranked) < len(everyone)
    assert sorted(rows(page, "clan")) == sorted(str(clan["id"]) for clan in everyone)
    assert len(page.stats("rank")) == len(ranked)


def test_page_of_a_clan_has_its_place_its_figures_and_its_members(demo: Server) -> None:
    browser = a_browser(demo)
    [first, *_] = rows(browser.get("/clans"), "clan")
    clan = demo.ask("GET", f"/v2/clans/{first}", host="api.localhost").json["data"]
    standing = demo.ask("GET", f"/v2/clans/{first}/leaderboard?mode=0", host="api.localhost").json["data"]
    members = demo.ask("GET", f"/v2/clans/{first}/members?mode=0", host="api.localhost").json["data"]

    page = browser.get(f"/clans/{first}?mode=0")

    assert clan["name"] in page.h1
    assert "Members" in page.headings()
    assert "Recent first places" in page.headings()
    assert page.css(".scores li .sub a.name")
    assert b"&lt;" not in page.body
    assert page.stat("rank") == "1"
    assert page.stat("pp") == str(standing["pp"])
    assert page.stat("members") == str(standing["members"])
    assert rows(page, "user") == [str(member["id"]) for member in members]
    assert page.one('link[rel="canonical"]').attributes["href"] == f"http://localhost:{demo.port}/clans/{first}"


def test_clan_is_found_by_its_tag_and_by_old_addresses(demo: Server) -> None:
    browser = a_browser(demo)
    clan = demo.ask("GET", "/v2/clans/1", host="api.localhost").json["data"]

    for path in (f"/clans/{clan['tag']}", f"/clans/{clan['tag'].lower()}", "/c/1", "/clan/1"):
        reply = browser.get(path, follow=False)
        assert (reply.status, reply.location) == (301, "/clans/1"), path
    assert browser.get("/clans/999").status == browser.get("/clans/NOPE").status == 404


def test_mode_of_a_clan_is_a_link_and_a_mode_without_plays_says_so(demo: Server) -> None:
    page = a_browser(demo).get("/clans/1?mode=8")

    assert page.one('nav[aria-label="Variant"] [aria-current]').text(strip=True) == "Autopilot"
    assert "No member holds a first place in this mode." in page.text
    assert a_browser(demo).get("/clans?mode=9").status == 400


def test_own_clan_and_own_row_are_marked(demo: Server) -> None:
    [member, *_] = demo.ask("GET", "/v2/clans/1/members", host="api.localhost").json["data"]
    browser = a_browser(demo, user_id=member["id"])

    page = browser.get("/clans/1")

    assert [node.attributes["data-user-id"] for node in page.css("tr[data-self]")] == [str(member["id"])]
    assert [node.attributes["data-clan-id"] for node in browser.get("/clans?mode=0").css("tr[data-self]")] in (
        [],
        ["1"],
    )


def test_restricted_member_is_gone_at_once(demo: Server) -> None:
    members = demo.ask("GET", "/v2/clans/1/members", host="api.localhost").json["data"]
    gone = members[-1]
    before = rows(a_browser(demo).get("/clans/1"), "user")

    demo.cli("users", "restrict", gone["name"], "--reason", "a test")

    assert rows(a_browser(demo).get("/clans/1"), "user") == [user for user in before if user != str(gone["id"])]
    assert gone["name"] not in names(a_browser(demo).get(f"/search?q={gone['name'].replace(' ', '+')}"))

"""Pages about the server: texts of the operator, news, status, medals."""

import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from tests.patience import wait_until
from tests.site.kit import a_browser
from tests.wire.kit import Server

HOSTILE = "<script>alert(1)</script>"


def write(server: Server, name: str, text: str) -> Path:
    """Write a text of the operator, and wait until the server shows it."""
    path = server.data / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def wait_for(server: Server, path: str, shown: str) -> None:
    wait_until(lambda: shown in a_browser(server).get(path).text, within_s=10, what=f"{path} does not show {shown!r}")


@pytest.mark.parametrize(("slug", "title"), [("rules", "Rules"), ("privacy", "Privacy"), ("about", "About")])
def test_server_without_texts_shows_sensible_ones(server: Server, slug: str, title: str) -> None:
    page = a_browser(server).get(f"/{slug}")

    assert (page.status, page.h1) == (200, title)
    assert page.title.startswith(f"{title} · ")
    assert (page.one('link[rel="canonical"]').attributes["href"] or "").endswith(f"/{slug}")
    assert len(page.text) > 300


def test_text_of_the_operator_is_shown_without_a_restart_and_its_html_is_text(server: Server) -> None:
    write(
        server,
        "pages/rules.md",
        f"# House rules {HOSTILE}\n\n## Fair play\n\n# Again\n\nNo *bots*. {HOSTILE} [site](https://example.org)"
        " [bad](javascript:x)\n\n![cat](https://example.org/cat.png) ![own](/static/own.png)\n\n| a | b |"
        "\n|---|--:|\n| 1 | 2 |\n",
    )
    wait_for(server, "/rules", "House rules")

    page = a_browser(server).get("/rules")

    assert page.h1 == f"House rules {HOSTILE}"
    assert page.headings() == ["Fair play", "Again"]
    assert page.one("article em").text() == "bots"
    assert [node.attributes.get("src") for node in page.css("article img")] == ["/static/own.png"]
    assert page.link("cat") == "https://example.org/cat.png"
    assert page.link("bad") is None
    assert page.css("article script") == []
    assert page.css("[style]") == []
    (server.data / "pages" / "rules.md").unlink()


def test_news_are_listed_read_and_syndicated(server: Server) -> None:
    assert "There is no news yet." in a_browser(server).get("/news").text
    write(server, "news/2026-01-02-season.md", "# First <season>\n\nIt *begins*.\n")
    write(server, "news/2026-02-03-season.md", "# Second season\n\nIt begins again.\n")
    wait_for(server, "/news", "Second season")
    browser = a_browser(server)

    page = browser.get("/news")
    item = page.follow("First <season>")
    feed = ET.fromstring(browser.request("GET", "/news.atom").body)

    assert page.headings() == ["Second season", "First <season>"]
    assert (item.h1, item.path) == ("First <season>", "/news/2026-01-02-season")
    assert browser.get("/news/2026-02-03-season").path == "/news/season"
    assert browser.get("/news/season").h1 == "Second season"
    atom = "{http://www.w3.org/2005/Atom}"
    assert [entry.findtext(f"{atom}title") for entry in feed.iter(f"{atom}entry")] == [
        "Second season",
        "First <season>",
    ]
    assert browser.get("/news/unknown").status == 404
    assert browser.get("/news?page=2").status == 404


def test_status_shows_the_parts_the_uptime_and_incidents(server: Server) -> None:
    write(server, "incidents/2020-01-01-old.md", "# Too old")
    today = time.strftime("%Y-%m-%d", time.gmtime())
    write(server, f"incidents/{today}-disk.md", "# Disk full\n\nScores were **refused**.")
    wait_for(server, "/status", "Disk full")

    page = a_browser(server).get("/status")

    assert page.h1 == "Status"
    assert {node.attributes["data-component"]: node.text(strip=True) for node in page.css("[data-component]")} == {
        "database": "Works",
        "state": "Works",
        "files": "Works",
    }
    assert len(page.css(".uptime rect")) == 90
    assert "All parts of the server work." in page.text
    assert "Too old" not in page.text
    assert str(server.data) not in page.text


def test_medals_show_their_holders_and_the_own_ones(server: Server) -> None:
    anonymous = a_browser(server).get("/medals")
    own = a_browser(server, user_id=3).get("/medals")

    assert anonymous.h1 == "Medals"
    assert len(anonymous.css("[data-medal-id]")) == 115
    assert len(anonymous.css(".medal.locked")) == 0
    assert "You have 0 of 115 medals." in own.text
    assert len(own.css(".medal.locked")) == 115


def test_robots_and_sitemaps_name_the_pages(server: Server) -> None:
    browser = a_browser(server)

    robots = browser.request("GET", "/robots.txt").body.decode()
    index = ET.fromstring(browser.request("GET", "/sitemap.xml").body)
    files = [node.text or "" for node in index.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")]

    assert "Disallow: /settings/" in robots
    assert any(line.startswith("Sitemap: http") and line.endswith("/sitemap.xml") for line in robots.splitlines())
    assert [name.rpartition("/")[2] for name in files] == ["pages.xml", "players.xml"]
    for name in files:
        reply = browser.request("GET", "/" + name.partition("://")[2].partition("/")[2])
        assert reply.status == 200
        ET.fromstring(reply.body)
    for name in ("sets-0.xml", "sets-00.xml", "sets-x.xml", "sets-9999999.xml", "other.xml"):
        assert browser.request("GET", f"/sitemaps/{name}").status == 404

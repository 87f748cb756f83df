"""The frame of every page: landmarks, language, theme, headers, caching, sessions, and refused requests."""

import gzip

import pytest
from tests.site.kit import a_browser
from tests.wire.kit import Server


def test_page_has_the_landmarks_and_the_main_navigation(server: Server) -> None:
    page = a_browser(server).get("/")

    assert page.status == 200
    assert page.one("html").attributes["lang"] == "en"
    assert page.one("body > a").attributes["href"] == "#content"
    assert page.one("main").attributes["id"] == "content"
    assert [node.text() for node in page.css('nav[aria-label="Main"] a')] == [
        "Leaderboard",
        "Beatmaps",
        "Multiplayer",
        "Clans",
    ]
    assert page.link("Log in") == "/login"
    assert page.link("Register") == "/register"
    assert "data-user-id" not in page.one("body").attributes


def test_player_sees_the_links_of_the_account(server: Server) -> None:
    page = a_browser(server, user_id=3).get("/")

    assert page.one("body").attributes["data-user-id"] == "3"
    assert page.link("Profile") == "/users/3"
    assert page.link("Settings") == "/settings/profile"
    assert page.link("Log in") is None
    assert page.button("Log out").node.attributes["action"] == "/logout"


@pytest.mark.parametrize(
    ("language", "path", "shown"),
    [
        ("de", "/", "de"),
        ("fr, de;q=0.5, pl;q=0.9", "/", "pl"),
        ("fr", "/", "en"),
        ("ja-JP", "/", "ja"),
        ("de", "/?lang=es", "es"),
        ("x;q=, de;q=9, , pl", "/", "pl"),
    ],
)
def test_language_follows_the_header_and_the_parameter(server: Server, language: str, path: str, shown: str) -> None:
    page = a_browser(server, language=language).get(path)

    assert page.one("html").attributes["lang"] == shown


def test_choice_of_language_and_theme_is_remembered(server: Server) -> None:
    browser = a_browser(server, language="de")
    start = browser.get("/?x=1")

    page = start.form(start.one("form.preferences").attributes["aria-label"] or "").press()
    assert page.path == "/?x=1"
    browser.get("/preferences?lang=pl&theme=dark")

    page = browser.get("/")
    assert page.one("html").attributes["lang"] == "pl"
    assert page.one("html").attributes["data-theme"] == "dark"
    browser.get("/preferences?theme=system")
    assert "data-theme" not in browser.get("/").one("html").attributes


@pytest.mark.parametrize("target", ["//evil.example", "/\\evil.example", "https://evil.example", "/a b", "x"])
def test_preferences_lead_only_to_own_paths(server: Server, target: str) -> None:
    page = a_browser(server).get(f"/preferences?theme=dark&next={target.replace(' ', '%20')}", follow=False)

    assert (page.status, page.location) == (303, "/")


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/%09/evil.example/", "/%09/evil.example"),
        ("/users/%0D%0ASet-Cookie:%20x=1/", "/users/%0D%0ASet-Cookie:%20x=1"),
        ("/users/%C3%BC/?mode=4", "/users/%C3%BC?mode=4"),
    ],
)
def test_redirect_of_a_path_with_unusual_characters_keeps_them_quoted(server: Server, path: str, target: str) -> None:
    """Browsers drop tabs: to them, a decoded `/<tab>/evil.example` is the address of another host."""
    page = a_browser(server).get(path, follow=False)

    assert (page.status, page.location) == (301, target)


def test_page_has_the_security_headers(server: Server) -> None:
    headers = a_browser(server).get("/").headers

    assert "unsafe" not in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "strict-origin-when-cross-origin"
    assert "permissions-policy" in headers
    assert "strict-transport-security" not in headers
    assert "set-cookie" not in headers, "a visitor who only reads gets no cookie"


def test_site_with_tls_has_hsts(server: Server) -> None:
    page = a_browser(server).get("/", headers={"X-Forwarded-Proto": "https"})

    assert page.headers["strict-transport-security"].startswith("max-age=")


def test_page_of_a_visitor_is_revalidated_and_page_of_a_player_is_private(server: Server) -> None:
    browser = a_browser(server)
    page = browser.get("/rules-that-do-not-exist")
    assert "etag" not in page.headers

    page = browser.get("/")
    assert page.headers["cache-control"] == "no-cache"
    assert browser.get("/", headers={"If-None-Match": page.headers["etag"]}).status == 304
    assert a_browser(server, user_id=3).get("/").headers["cache-control"] == "private, no-store"


def test_page_is_compressed(server: Server) -> None:
    page = a_browser(server).get("/", headers={"Accept-Encoding": "gzip"})

    assert page.headers["content-encoding"] == "gzip"
    assert b"<h1>" in gzip.decompress(page.body)


def test_static_file_has_a_hash_in_its_name_and_is_immutable(server: Server) -> None:
    browser = a_browser(server)
    path = browser.get("/").one('link[rel="stylesheet"]').attributes["href"] or ""

    style = browser.get(path)
    assert style.status == 200
    assert style.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert style.headers["content-type"] == "text/css; charset=utf-8"
    assert browser.get("/static/site.css").status == 404
    assert browser.request("GET", "/static/../app.py").status == 400


def test_unknown_page_and_method_have_pages_of_their_own(server: Server) -> None:
    browser = a_browser(server)

    missing = browser.get("/no-such-page")
    assert (missing.status, missing.h1) == (404, "Not found")
    refused = browser.post("/preferences", {})
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")
    assert browser.request("DELETE", "/preferences").status == 405


def test_unknown_value_of_a_parameter_names_it(server: Server) -> None:
    page = a_browser(server).get("/preferences?theme=pink")

    assert (page.status, page.h1) == (400, "Bad request")
    assert page.alert == "The parameter theme must be one of system, dark, light."


def test_session_ends_with_a_ban_and_unknown_tokens_are_visitors(server: Server) -> None:
    browser = a_browser(server, user_id=4)
    assert browser.get("/").css("body[data-user-id]")

    browser.cookies["kiai"] = "x" * 43
    assert not browser.get("/").css("body[data-user-id]")
    browser.cookies["kiai"] = "x" * 5_000
    assert browser.get("/").status == 200

"""Static files: kept forever, compressed, and complete; pages load nothing from another host."""

import gzip
import re
from collections.abc import Iterator

import brotli
import pytest
from tests.site.kit import a_browser
from tests.wire.kit import Server


@pytest.fixture
def stylesheet(server: Server) -> str:
    return a_browser(server).get("/").one('link[rel="stylesheet"]').attributes["href"] or ""


def test_a_file_is_kept_forever_under_the_hash_of_its_content(server: Server, stylesheet: str) -> None:
    browser = a_browser(server)

    first = browser.request("GET", stylesheet)
    again = browser.request("GET", stylesheet, headers={"If-None-Match": first.headers["etag"]})

    assert re.fullmatch(r"/static/site\.[0-9a-f]{8}\.css", stylesheet)
    assert first.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [("gzip, deflate, br", "br"), ("gzip", "gzip"), ("br;q=0, gzip", "gzip"), ("identity", None), ("", None)],
)
def test_a_text_has_the_best_coding_that_the_browser_accepts(
    server: Server, stylesheet: str, accepted: str, coding: str | None
) -> None:
    browser = a_browser(server)
    plain = browser.request("GET", stylesheet, headers={"Accept-Encoding": "identity"}).body

    reply = browser.request("GET", stylesheet, headers={"Accept-Encoding": accepted})

    decode = {"br": brotli.decompress, "gzip": gzip.decompress, None: bytes}[coding]
    assert reply.headers.get("content-encoding") == coding
    assert reply.headers["vary"] == "Accept-Encoding"
    assert decode(reply.body) == plain


def test_fonts_are_not_compressed_again(server: Server) -> None:
    browser = a_browser(server)
    font = browser.get("/").one('link[rel="preload"]').attributes["href"] or ""

    reply = browser.request("GET", font, headers={"Accept-Encoding": "br"})

    assert reply.headers["content-type"] == "font/woff2"
    assert "content-encoding" not in reply.headers


@pytest.mark.parametrize("path", ["/static/site.css", "/static/site.000000000000.css", "/static/../app.py"])
def test_other_names_are_not_found(server: Server, path: str) -> None:
    assert a_browser(server).request("GET", path).status in (400, 404)


def test_everything_that_a_page_loads_is_on_this_server(server: Server) -> None:
    browser = a_browser(server)
    page = browser.get("/")
    loaded = [node.attributes.get(name) or "" for name in ("src", "href") for node in page.css(f"[{name}]")]
    loaded = [path for path in loaded if "/static/" in path]

    for path in {path.partition("#")[0] for path in loaded}:
        assert browser.request("GET", path).status == 200, path


def test_every_import_of_a_script_is_a_script(server: Server) -> None:
    browser = a_browser(server)
    entry = browser.get("/").one("script").attributes["src"] or ""

    def imported(path: str, seen: set[str]) -> Iterator[str]:
        if path in seen:
            return
        seen.add(path)
        reply = browser.request("GET", path)
        assert (reply.status, reply.headers["content-type"]) == (200, "text/javascript; charset=utf-8"), path
        yield path
        for other in re.findall(r"""(?:from|import)\s*\(?\s*["']([^"']+)["']""", reply.body.decode()):
            yield from imported(other, seen)

    names = {re.sub(r"\.[0-9a-f]{8}\.", ".", path.rpartition("/")[2]) for path in imported(entry, set())}
    assert {"site.js", "theme.js", "uPlot.js"} <= names


def test_a_page_has_no_script_or_style_of_its_own(server: Server) -> None:
    page = a_browser(server).get("/")

    assert page.css("style, [style]") == []
    assert [node.text() for node in page.css("script") if node.text().strip()] == []

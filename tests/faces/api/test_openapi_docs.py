"""The page /docs: complete, usable without scripts, and correct for changed settings."""

import asyncio
import contextlib
import itertools
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.in_process import asgi

from kiai.app import open_services
from kiai.faces.api.docs import CHAPTERS, site_of
from kiai.faces.api.examples import Example, load_examples
from kiai.faces.api.snippets import curl, javascript, python
from kiai.faces.front import Front
from kiai.logs import AccessLog
from kiai.server import HttpServer
from kiai.settings import load_settings

BASE = "http://api.example.org"
ELEMENTS_WITHOUT_END = {"input", "link", "meta", "br"}


class Page(HTMLParser):
    """The elements and the text of an HTML page. Fails if an element is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert self._open == [], self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ELEMENTS_WITHOUT_END:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> in line {self.getpos()[0]}"

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


class Docs:
    """A server whose documentation is read."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self._settings = load_settings(data=folder / "data", **settings)
        self._runner = asyncio.Runner()
        self._opened = contextlib.AsyncExitStack()
        self._front = self._runner.run(self._open())

    async def _open(self) -> Front:
        services = await self._opened.enter_async_context(open_services(self._settings))
        return HttpServer(services, AccessLog("json", "error")).front

    def get(self, path: str, host: str = "api.example.org", **headers: str) -> httpx.Response:
        """Send a GET. In the names of `headers`, _ stands for -."""

        async def main() -> httpx.Response:
            transport = httpx.ASGITransport(asgi(self._front), client=("192.0.2.7", 1))
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
                return await client.get(path, headers={name.replace("_", "-"): text for name, text in headers.items()})

        return self._runner.run(main())

    def close(self) -> None:
        self._runner.run(self._opened.aclose())
        self._runner.close()


OpenDocs = Callable[..., Docs]


@pytest.fixture(scope="module")
def open_docs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenDocs]:
    """Return a function that opens a server with other settings."""
    with contextlib.ExitStack() as stack:

        def open_docs(**settings: Any) -> Docs:
            docs = Docs(tmp_path_factory.mktemp("docs"), **settings)
            stack.callback(docs.close)
            return docs

        yield open_docs


@pytest.fixture(scope="module")
def docs(open_docs: OpenDocs) -> Docs:
    return open_docs()


@pytest.fixture(scope="module")
def response(docs: Docs) -> httpx.Response:
    return docs.get("/docs")


@pytest.fixture(scope="module")
def page(response: httpx.Response) -> Page:
    return Page(response.text)


@pytest.fixture(scope="module")
def operations(docs: Docs) -> list[str]:
    paths = docs.get("/openapi.json").json()["paths"].values()
    return [operation["operationId"] for methods in paths for operation in methods.values()]


def test_every_operation_has_an_entry_with_examples_in_three_languages(page: Page, operations: list[str]) -> None:
    articles = [one["id"] for one in page.all("article")]
    radios = Counter(one["name"] for one in page.all("input") if one["type"] == "radio")

    assert sorted(articles) == sorted(operations)
    assert radios == {f"{name}-language": 3 for name in operations}
    assert page.text.count("Example response") == len(operations)


def test_curl_is_the_selected_example_language(page: Page) -> None:
    checked = [one for one in page.all("input") if "checked" in one]

    assert {one["value"] for one in checked} == {"curl"}


def test_every_chapter_exists_and_is_in_the_contents(page: Page) -> None:
    sections = [one["id"] for one in page.all("section") if "id" in one]

    assert sections == [id_ for id_, _ in CHAPTERS]
    assert {id_ for id_, _ in CHAPTERS} <= {one["data-for"] for one in page.all("li") if "data-for" in one}


def test_every_link_and_label_has_a_target(page: Page) -> None:
    ids = Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)
    targets = {one["href"].removeprefix("#") for one in page.all("a") if one["href"].startswith("#")}
    targets |= {one["for"] for one in page.all("label")}
    targets |= {one["data-for"] for one in page.all("li") if "data-for" in one}

    assert targets - set(ids) == set()
    assert [name for name, count in ids.items() if count > 1] == []


def test_every_field_has_a_label_and_every_table_header_a_scope(page: Page) -> None:
    labelled = {one["for"] for one in page.all("label")}

    assert {one["id"] for one in page.all("input")} <= labelled
    assert all(one["scope"] in ("col", "row") for one in page.all("th"))
    scrolled = [one for one in page.all("pre") if one.get("class") == "long"]
    assert scrolled
    assert all("tabindex" in one and "aria-label" in one for one in scrolled), "a keyboard cannot scroll it"


def test_heading_levels_are_contiguous(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]

    assert levels.count(1) == 1
    in_main = levels[levels.index(1) :]
    assert all(after - before <= 1 for before, after in itertools.pairwise(in_main))


def test_page_complies_with_its_content_security_policy(response: httpx.Response, page: Page) -> None:
    policy = response.headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert [one["src"] for one in page.all("script")] == ["docs.js"], "no script within the page"
    assert page.all("style") == []
    for _, attributes in page.elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")], attributes


@pytest.mark.parametrize(("path", "kind"), [("/docs.js", "text/javascript"), ("/docs.css", "text/css")])
@pytest.mark.parametrize("host", ["api.example.org", "example.org"])
def test_style_and_script_are_served_with_an_etag(docs: Docs, path: str, kind: str, host: str) -> None:
    found = docs.get(path, host)

    assert (found.status_code, found.headers["content-type"]) == (200, f"{kind}; charset=utf-8")
    assert docs.get(path, host, If_None_Match=found.headers["etag"]).status_code == 304


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("api.example.org", "http://api.example.org"),
        ("api.localhost:8080", "http://api.localhost:8080"),
        ("example.org", "http://example.org/api"),
        ("[::1]:8080", "http://[::1]:8080/api"),
    ],
)
def test_examples_use_the_host_of_the_request(docs: Docs, host: str, address: str) -> None:
    page = Page(docs.get("/docs", host).text)

    assert f"curl '{address}/get_player_count'" in page.text
    assert "kiai.invalid" not in page.text


@pytest.fixture(scope="module")
def named(open_docs: OpenDocs) -> Docs:
    """A server whose operator has named it."""
    return open_docs(domain="example.org")


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("api.example.org", "http://api.example.org"),
        ("API.Example.org:8443", "http://API.Example.org:8443"),
        ("osu.example.org", "http://osu.example.org/api"),
        ("localhost:8080", "http://localhost:8080/api"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080/api"),
        ("[::1]:8080", "http://[::1]:8080/api"),
        ("evil.example", "https://example.org/api"),
        ("api.evil.example", "https://api.example.org"),
        ("example.org.evil.example", "https://example.org/api"),
        ("evilexample.org", "https://example.org/api"),
        ("203.0.113.9", "https://example.org/api"),
    ],
)
def test_page_of_a_named_server_has_only_its_own_addresses(named: Docs, host: str, address: str) -> None:
    text = named.get("/docs", Host=host).text

    assert f"curl '{address}/get_player_count'" in Page(text).text
    assert "evil" not in text


def test_forwarded_host_of_another_name_is_ignored(open_docs: OpenDocs) -> None:
    docs = open_docs(domain="example.org", trusted_proxy=["192.0.2.0/24"])
    own = docs.get("/docs", X_Forwarded_Host="api.example.org", X_Forwarded_For="198.51.100.1")
    forged = docs.get("/docs", X_Forwarded_Host="evil.example", X_Forwarded_For="198.51.100.1")

    assert "curl 'https://api.example.org/get_player_count'" in Page(own.text).text
    assert "evil" not in forged.text


@pytest.mark.parametrize("host", ["evil host", "x'><script>", "x" * 300, "example.org/evil", ""])
def test_invalid_host_is_replaced_by_localhost(docs: Docs, host: str) -> None:
    page = docs.get("/docs", Host=host)

    assert page.status_code == 200
    assert not host or host not in page.text
    assert "http://localhost" in page.text


@pytest.mark.parametrize(("trusted", "scheme"), [(["192.0.2.0/24"], "https"), ([], "http")])
def test_only_a_trusted_proxy_makes_the_address_https(open_docs: OpenDocs, trusted: list[str], scheme: str) -> None:
    docs = open_docs(trusted_proxy=trusted)

    page = Page(docs.get("/docs", X_Forwarded_Proto="https", X_Forwarded_For="198.51.100.1").text)

    assert f"curl '{scheme}://api.example.org/get_player_count'" in page.text


def test_limits_follow_the_settings(open_docs: OpenDocs, page: Page) -> None:
    changed = open_docs(api_rate_per_minute=77, api_replays_per_minute=7, avatar_uploads_per_hour=3)

    words = " ".join(Page(changed.get("/docs").text).text.split())

    assert "all requests together77 per minute" in words
    assert "/get_replay, /v2/scores/{id}/replay7 per minute" in words
    assert "/set_avatar, /v2/clans/{id}/icon3 per hour" in words
    assert "all requests together1,200 per minute" in " ".join(page.text.split())


def test_page_states_that_rate_limits_are_off(open_docs: OpenDocs) -> None:
    docs = open_docs(rate_limits=False)

    assert "turned rate limits off" in Page(docs.get("/docs").text).text


def test_allowed_values_are_described_in_words(page: Page) -> None:
    assert "one of best, recent" in page.text
    assert "a game mode: 0 to 6 or 8" in page.text
    assert "a text of 0 to 64 characters or null" in page.text
    assert "any value" not in page.text
    assert "[0-9a-fA-F]" not in page.text
    assert "^" not in page.text


# --- snippets


EXAMPLES = load_examples().operations


@pytest.mark.parametrize("name", EXAMPLES)
def test_curl_command_sends_the_example_request(name: str) -> None:
    example = EXAMPLES[name]

    # `&` and the like end a word for a shell unless they are quoted.
    shell = shlex.shlex(curl(example, BASE), posix=True, punctuation_chars=True)
    shell.whitespace_split = True
    words = list(shell)

    assert words[0] == "curl"
    assert words[-1] == BASE + example.target
    assert ("-H" in words and "Authorization: Bearer YOUR_KEY" in words) == example.needs_key
    method = words[words.index("-X") + 1] if "-X" in words else "POST" if {"-d", "-F"} & set(words) else "GET"
    assert method == example.method


@pytest.mark.parametrize("name", EXAMPLES)
def test_code_has_short_lines_and_python_compiles(name: str) -> None:
    code = python(EXAMPLES[name], BASE)

    compile(code, name, "exec")
    for text in (code, javascript(EXAMPLES[name], BASE), curl(EXAMPLES[name], BASE)):
        assert max(map(len, text.splitlines())) <= 140, text


def test_text_is_quoted_for_each_language() -> None:
    example = Example(
        method="POST", target="/x?q=it%27s", status=200, answer={}, json={"name": 'it\'s "x"\\'}, needs_key=True
    )

    assert shlex.split(curl(example, BASE))[-3] == '{"name": "it\'s \\"x\\"\\\\"}'
    assert '"it\'s \\"x\\"\\\\"' in javascript(example, BASE)
    compile(python(example, BASE), "example", "exec")
    assert '"q": "it\'s"' in python(example, BASE)


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("http://api.localhost:8080", "http://localhost:8080"),
        ("http://localhost:8080/api", "http://localhost:8080"),
        ("https://api.kiai.example", "https://kiai.example"),
        ("https://kiai.example/api", "https://kiai.example"),
    ],
)
def test_page_links_to_the_website_on_the_same_host_and_port(address: str, site: str) -> None:
    assert site_of(address) == site

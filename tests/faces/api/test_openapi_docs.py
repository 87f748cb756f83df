"""The page /docs: complete, readable without scripts, and right where the operator changed a setting."""

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

from kiai.app import Server, open_services
from kiai.faces.api.docs import CHAPTERS
from kiai.faces.api.examples import Example, load_examples
from kiai.faces.api.snippets import curl, javascript, python
from kiai.faces.front import Front
from kiai.logs import AccessLog
from kiai.settings import Settings

BASE = "http://api.example.org"
ELEMENTS_WITHOUT_END = {"input", "link", "meta", "br"}


class Page(HTMLParser):
    """An HTML page as its elements and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words = ""
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
        self.words += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


class Docs:
    """A server that answers about itself."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self._settings = Settings(data=folder / "data", **settings)
        self._runner = asyncio.Runner()
        self._opened = contextlib.AsyncExitStack()
        self._front = self._runner.run(self._open())

    async def _open(self) -> Front:
        services = await self._opened.enter_async_context(open_services(self._settings))
        return Server(services, AccessLog("json", "error")).front

    def get(self, path: str, host: str = "api.example.org", **headers: str) -> httpx.Response:
        """A GET; `headers` with _ for -."""

        async def main() -> httpx.Response:
            transport = httpx.ASGITransport(asgi(self._front), client=("192.0.2.7", 1))
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
                return await client.get(path, headers={name.replace("_", "-"): text for name, text in headers.items()})

        return self._runner.run(main())

    def close(self) -> None:
        self._runner.run(self._opened.aclose())
        self._runner.close()


Opens = Callable[..., Docs]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opens]:
    """Opens a server with settings of its own."""
    with contextlib.ExitStack() as stack:

        def opens(**settings: Any) -> Docs:
            docs = Docs(tmp_path_factory.mktemp("docs"), **settings)
            stack.callback(docs.close)
            return docs

        yield opens


@pytest.fixture(scope="module")
def docs(opened: Opens) -> Docs:
    return opened()


@pytest.fixture(scope="module")
def answer(docs: Docs) -> httpx.Response:
    return docs.get("/docs")


@pytest.fixture(scope="module")
def page(answer: httpx.Response) -> Page:
    return Page(answer.text)


@pytest.fixture(scope="module")
def operations(docs: Docs) -> list[str]:
    paths = docs.get("/openapi.json").json()["paths"].values()
    return [operation["operationId"] for methods in paths for operation in methods.values()]


def test_every_operation_has_its_entry_with_examples_in_three_languages(page: Page, operations: list[str]) -> None:
    articles = [one["id"] for one in page.all("article")]
    radios = Counter(one["name"] for one in page.all("input") if one["type"] == "radio")

    assert sorted(articles) == sorted(operations)
    assert radios == {f"{name}-language": 3 for name in operations}
    assert page.words.count("Example answer") == len(operations)


def test_the_curl_example_is_shown_without_scripts(page: Page) -> None:
    checked = [one for one in page.all("input") if "checked" in one]

    assert {one["value"] for one in checked} == {"curl"}


def test_every_chapter_is_there_and_in_the_contents(page: Page) -> None:
    sections = [one["id"] for one in page.all("section") if "id" in one]

    assert sections == [id_ for id_, _ in CHAPTERS]
    assert {id_ for id_, _ in CHAPTERS} <= {one["data-for"] for one in page.all("li") if "data-for" in one}


def test_every_link_and_label_leads_to_something(page: Page) -> None:
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


def test_headings_skip_no_level(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]

    assert levels.count(1) == 1
    in_main = levels[levels.index(1) :]
    assert all(after - before <= 1 for before, after in itertools.pairwise(in_main))


def test_the_page_runs_under_its_own_policy(answer: httpx.Response, page: Page) -> None:
    policy = answer.headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert [one["src"] for one in page.all("script")] == ["docs.js"], "no script within the page"
    assert page.all("style") == []
    for _, attributes in page.elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")], attributes


@pytest.mark.parametrize(("path", "kind"), [("/docs.js", "text/javascript"), ("/docs.css", "text/css")])
@pytest.mark.parametrize("host", ["api.example.org", "example.org"])
def test_its_files_are_served_beside_it(docs: Docs, path: str, kind: str, host: str) -> None:
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
def test_examples_ask_the_host_that_shows_them(docs: Docs, host: str, address: str) -> None:
    page = Page(docs.get("/docs", host).text)

    assert f"curl '{address}/get_player_count'" in page.words
    assert "kiai.invalid" not in page.words


@pytest.mark.parametrize("host", ["evil host", "x'><script>", "x" * 300, "example.org/evil", ""])
def test_a_host_that_is_none_is_not_repeated(docs: Docs, host: str) -> None:
    page = docs.get("/docs", Host=host)

    assert page.status_code == 200
    assert not host or host not in page.text
    assert "http://localhost" in page.text


@pytest.mark.parametrize(("trusted", "scheme"), [(["192.0.2.0/24"], "https"), ([], "http")])
def test_only_a_trusted_proxy_says_that_the_address_is_https(opened: Opens, trusted: list[str], scheme: str) -> None:
    docs = opened(trusted_proxy=trusted)

    page = Page(docs.get("/docs", X_Forwarded_Proto="https", X_Forwarded_For="198.51.100.1").text)

    assert f"curl '{scheme}://api.example.org/get_player_count'" in page.words


def test_limits_are_those_of_the_settings(opened: Opens, page: Page) -> None:
    changed = opened(api_rate_per_minute=77, api_replays_per_minute=7, avatar_uploads_per_hour=3)

    words = " ".join(Page(changed.get("/docs").text).words.split())

    assert "all requests together77 per minute" in words
    assert "/get_replay, /v2/scores/{id}/replay7 per minute" in words
    assert "/set_avatar3 per hour" in words
    assert "all requests together1,200 per minute" in " ".join(page.words.split())


def test_limits_that_are_off_are_said_to_be_off(opened: Opens) -> None:
    docs = opened(rate_limits=False)

    assert "turned rate limits off" in Page(docs.get("/docs").text).words


def test_allowed_values_are_words(page: Page) -> None:
    assert "one of best, recent" in page.words
    assert "a game mode: 0 to 6 or 8" in page.words
    assert "a text of 0 to 64 characters or null" in page.words
    assert "any value" not in page.words
    assert "[0-9a-fA-F]" not in page.words
    assert "^" not in page.words


# --- code that readers copy


EXAMPLES = load_examples().operations


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_curl_line_is_the_request(name: str) -> None:
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
def test_code_is_short_enough_to_read_and_python_compiles(name: str) -> None:
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

"""The start page in Chromium: a play appears while the page is open, and focus and quiet are kept."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect
from tests.browser.kit import a_visitor, open_live
from tests.builders import a_map
from tests.patience import patiently
from tests.wire.kit import Server
from tests.wire.submitting import Played, log_in, prepare, submit

SONG = a_map(100, objects=100, title="Song")
APPEARS_S = 3.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("live") / "data"
    prepare(data, ["alice", "bob"], vector_maps=False)
    folder = data.parent / "maps"
    folder.mkdir()
    (folder / f"{SONG.id}.osu").write_bytes(SONG.data)
    # Limits off: the browser loads the static files of a page at once, again for each visitor.
    server = Server(data, RATE_LIMITS="off").start()
    server.cli("beatmaps", "import", str(folder), "--status", "ranked")
    for name in ("alice", "bob"):
        log_in(server, name)
    yield server
    server.stop()


def play(server: Server, name: str, score: int) -> int:
    body = submit(server, Played(SONG.md5, name, score=score).sealed()).body
    return int(body.split(b"onlineScoreId:")[1].split(b"|")[0])


def test_play_appears_on_the_open_page_without_a_reload(server: Server, chromium: Browser) -> None:
    first = play(server, "alice", 100_000)
    context = a_visitor(chromium)
    page = context.new_page()
    open_live(page, f"http://localhost:{server.port}/", "plays")
    plays = page.locator('[data-live^="plays"]')
    expect(plays.locator(f'[data-score-id="{first}"]')).to_be_visible()
    page.evaluate("window.marked = true")
    profile = plays.locator(f'[data-score-id="{first}"] a[href="/users/3"]').first
    profile.focus()

    second = play(server, "bob", 200_000)

    row = plays.locator(f'[data-score-id="{second}"]')
    expect(row).to_be_visible(timeout=patiently(APPEARS_S) * 1_000)
    expect(row).to_have_class("score arrived")
    assert plays.locator("[data-score-id]").first.get_attribute("data-score-id") == str(second)
    expect(page.locator('[data-live-summary^="plays"]')).to_have_text("1 new play")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "/users/3"
    assert page.evaluate("window.marked") is True, "the page was not loaded again"
    context.close()

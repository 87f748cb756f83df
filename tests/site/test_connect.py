"""How to connect: instructions for each system, the shortcut, and the line about the player's own client."""

from collections.abc import Iterator

import pytest
from tests.site.kit import a_browser
from tests.site.live_kit import LiveStream
from tests.wire.kit import BEHIND_PROXY, Server
from tests.wire.submitting import log_in, prepare


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("connect") / "data"
    prepare(data, ["alice"], vector_maps=False)
    server = Server(data, **BEHIND_PROXY).start()
    server.address = "198.51.100.10"
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("system", "line"),
    [
        ("windows", "osu!.exe -devserver localhost"),
        ("macos", "-devserver localhost"),
        ("linux", "osu-wine -devserver localhost"),
    ],
)
def test_each_system_has_its_line_with_the_domain(server: Server, system: str, line: str) -> None:
    page = a_browser(server).get(f"/connect?os={system}")

    assert "Connect" in page.h1
    assert line in page.text
    assert page.one('nav [aria-current="page"]').text(strip=True).lower() == system


def test_shortcut_starts_the_game_with_the_domain(server: Server) -> None:
    page = a_browser(server).get("/connect")

    shortcut = a_browser(server).get(page.link("Download shortcut") or "")

    assert shortcut.status == 200
    assert shortcut.headers["content-disposition"] == 'attachment; filename="osu! on localhost.cmd"'
    lines = shortcut.body.decode("ascii").split("\r\n")
    assert lines[0] == "@echo off"
    assert 'start "" "%GAME%" -devserver localhost' in lines


def test_page_without_a_session_has_no_line_about_a_client(server: Server) -> None:
    page = a_browser(server).get("/connect")

    assert page.css("[data-client]") == []
    assert {node.text(strip=True) for node in page.css("tbody th")} >= {
        "Failed to connect",
        "Your account is restricted",
    }


def test_line_changes_when_the_game_logs_in(server: Server) -> None:
    browser = a_browser(server, user_id=3)
    assert browser.get("/connect").one("[data-client]").attributes["data-client"] == "waiting"
    with LiveStream(server, "client.3", browser=browser) as stream:
        assert 'data-client="waiting"' in stream.part().html

        log_in(server, "alice")

        assert 'data-client="connected"' in stream.part().html
    page = browser.get("/connect")
    assert page.one("[data-client]").attributes["data-client"] == "connected"
    assert "Your game client has logged in" in page.text


@pytest.mark.parametrize("path", ["/doc/connection_guide", "/home/download", "/p/verify", "/wiki/Connection"])
def test_old_addresses_move(server: Server, path: str) -> None:
    moved = a_browser(server).get(path, follow=False)

    assert (moved.status, moved.location) == (301, "/connect")

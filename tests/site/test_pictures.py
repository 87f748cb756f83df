"""Pictures of players and sets on the site: uploaded ones, and generated ones in their place."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.site.kit import a_browser
from tests.wire.kit import BEHIND_PROXY, Reply, Server, cli
from tests.wire.rows import Rows
from tests.wire.world import circles

SET = 7


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a player (3) and a set without an archive."""
    folder: Path = tmp_path_factory.mktemp("pictures")
    data = folder / "data"
    cli(data, "migrate")
    Rows(data).player(3, "ada")
    cli(data, "beatmaps", "import", str(circles(folder, set_id=SET)), "--status", "ranked")
    server = Server(data, **BEHIND_PROXY).start()
    server.address = "198.51.100.8"
    yield server
    server.stop()


def get(server: Server, path: str, **headers: str) -> Reply:
    return a_browser(server).request("GET", path, headers=headers)


def test_player_without_an_avatar_has_the_initial(server: Server) -> None:
    reply = get(server, "/pictures/avatars/3-A")

    assert (reply.status, reply.headers["content-type"]) == (200, "image/svg+xml")
    assert b">A</text>" in reply.body


@pytest.mark.parametrize(("kind", "size"), [("card", (400, 140)), ("slimcover", (1920, 360)), ("list", (150, 150))])
def test_set_without_an_archive_has_a_generated_cover(server: Server, kind: str, size: tuple[int, int]) -> None:
    reply = get(server, f"/pictures/sets/{SET}/{kind}")

    assert (reply.status, reply.headers["content-type"]) == (200, "image/svg+xml")
    assert f'viewBox="0 0 {size[0]} {size[1]}"'.encode() in reply.body


def test_profile_has_a_cover(server: Server) -> None:
    assert get(server, "/pictures/players/3-A").headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize("path", ["/pictures/avatars/3-A", "/pictures/players/3-A", f"/pictures/sets/{SET}/cover"])
def test_a_picture_runs_no_script_and_is_not_sent_twice(server: Server, path: str) -> None:
    reply = get(server, path)
    again = get(server, path, **{"If-None-Match": reply.headers["etag"]})

    assert reply.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert "unsafe" not in reply.headers["content-security-policy"]
    assert re.fullmatch(r"public, max-age=[0-9]+", reply.headers["cache-control"])
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/pictures/avatars/3",
        "/pictures/avatars/3-a",
        "/pictures/avatars/3-<",
        "/pictures/avatars/0-A",
        "/pictures/avatars/9999999999-A",
        "/pictures/avatars/x-A",
        "/pictures/players/3-AB",
        "/pictures/sets/999/card",
        f"/pictures/sets/{SET}/huge",
        "/pictures/sets/0/card",
        "/pictures/sets/x/card",
    ],
)
def test_other_pictures_are_not_found(server: Server, path: str) -> None:
    assert get(server, path).status == 404


def test_an_uploaded_avatar_is_shown_at_once(server: Server) -> None:
    key = Rows(server.data).api_key(3, "the key of ada")
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "PNG")

    uploaded = server.ask("POST", "/set_avatar", key=key, body=picture.getvalue())
    reply = get(server, "/pictures/avatars/3-A")

    assert uploaded.status < 300, uploaded.body
    assert reply.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(reply.body)) as shown:
        assert shown.convert("RGB").getpixel((5, 5)) == (255, 0, 0)

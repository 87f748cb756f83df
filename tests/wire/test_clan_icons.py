"""Icons of clans by the API and the command line, over a real server."""

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests import stores
from tests.wire.kit import Reply, Server, run_kiai

from kiai.accounts.picture_files import UPLOAD_MAX
from kiai.app import open_services
from kiai.osu.privileges import Privilege

NORMAL = int(Privilege.UNRESTRICTED | Privilege.VERIFIED)
PLAYERS = {"olga": NORMAL, "otto": NORMAL, "adam": NORMAL | int(Privilege.ADMINISTRATOR)}


def png(side: int = 300, colour: tuple[int, int, int] = (200, 90, 10)) -> bytes:
    """Return a picture."""
    out = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(out, "PNG")
    return out.getvalue()


def form(picture: bytes, field: str = "icon") -> tuple[bytes, str]:
    """Return a multipart form with a picture, and its content type."""
    head = f'--limit\r\nContent-Disposition: form-data; name="{field}"; filename="x.png"\r\n\r\n'
    return head.encode() + picture + b"\r\n--limit--\r\n", "multipart/form-data; boundary=limit"


class IconServer:
    """A server whose player olga owns a clan."""

    def __init__(self, server: Server, keys: dict[str, str], clan_id: int) -> None:
        self.server = server
        self.keys = keys
        self.path = f"/v2/clans/{clan_id}"

    def set(self, by: str, body: bytes, content_type: str = "image/png") -> Reply:
        """Send an icon."""
        headers = {"Content-Type": content_type}
        return self.server.ask("POST", f"{self.path}/icon", key=self.keys.get(by), headers=headers, body=body)

    def remove(self, by: str) -> Reply:
        """Remove the icon."""
        return self.server.ask("DELETE", f"{self.path}/icon", key=self.keys.get(by))

    def shown(self) -> Image.Image | None:
        """Return the icon at the address that the API names."""
        address = self.server.get(self.path).json["data"]["icon_url"]
        if address is None:
            return None
        reply = self.server.get(address[address.index("/pictures/") :], host="localhost")
        assert (reply.status, reply.headers["content-type"]) == (200, "image/png")
        return Image.open(io.BytesIO(reply.body))

    def audit(self) -> list[str]:
        """Return the actions of the audit log about clans, the newest first."""
        log = self.server.ask("GET", "/v2/audit?action=clan_edit", key=self.keys["adam"])
        return [row["source"] for row in log.json["data"]]


async def _prepare(data: Path) -> tuple[dict[str, str], int]:
    async with open_services(stores.settings(data)) as services:
        ids = {
            name: await services.accounts.register(
                name=name, email=f"{name}@example.org", password="a long password", priv=priv, country="nl"
            )
            for name, priv in PLAYERS.items()
        }
        keys = {name: await services.api_keys.issue(user_id) for name, user_id in ids.items()}
        return keys, await services.community.clans.found(ids["olga"], "OWL", "Night Owls")


@pytest.fixture
def owls(tmp_path: Path) -> Iterator[IconServer]:
    data = tmp_path / "data"
    keys, clan_id = asyncio.run(_prepare(data))
    server = Server(data).start()
    try:
        yield IconServer(server, keys, clan_id)
        assert '"unhandled"' not in server.stderr
        server.stop()
    finally:
        server.kill()


def test_owner_sets_and_removes_the_icon_with_a_key(owls: IconServer) -> None:
    by_form = owls.set("olga", *form(png()))
    assert by_form.status == 200, by_form.body
    first = by_form.json["data"]["icon_url"]
    assert owls.shown() is not None

    by_body = owls.set("olga", png(500, (1, 2, 200)))
    second = by_body.json["data"]["icon_url"]
    shown = owls.shown()
    assert second != first
    assert shown is not None
    assert (shown.size, shown.getpixel((5, 5))) == ((256, 256), (1, 2, 200, 255))

    removed = owls.remove("olga")
    assert (removed.status, removed.json["data"]["icon_url"]) == (200, None)
    assert owls.shown() is None
    assert owls.remove("olga").status == 409


def test_refused_icons_change_nothing(owls: IconServer) -> None:
    answers = {
        "no key": owls.set("", png()),
        "a stranger": owls.set("otto", png()),
        "removal by a stranger": owls.remove("otto"),
        "not a picture": owls.set("olga", b"<svg/>"),
        "half a picture": owls.set("olga", png()[:100]),
        "too many pixels": owls.set("olga", png(4_097)),
        "too many bytes": owls.set("olga", bytes(UPLOAD_MAX + 1)),
        "another field": owls.set("olga", *form(png(), "avatar")),
        "a broken form": owls.set("olga", b"--limi", "multipart/form-data; boundary=limit"),
        "nothing": owls.set("olga", b""),
    }

    assert {why: answer.status for why, answer in answers.items()} == {
        "no key": 401,
        "a stranger": 403,
        "removal by a stranger": 409,
        "not a picture": 415,
        "half a picture": 422,
        "too many pixels": 422,
        "too many bytes": 413,
        "another field": 400,
        "a broken form": 400,
        "nothing": 415,
    }
    assert owls.shown() is None


def test_staff_changes_the_icon_with_a_key_and_on_the_command_line(owls: IconServer, tmp_path: Path) -> None:
    assert owls.set("adam", png()).status == 200
    file = tmp_path / "icon.png"
    file.write_bytes(png(64, (9, 200, 9)))
    owls.server.cli("clans", "icon", "OWL", str(file))
    shown = owls.shown()
    assert shown is not None
    assert shown.size == (64, 64)

    owls.server.cli("clans", "icon", "owl")
    assert owls.shown() is None
    assert owls.audit() == ["cli", "cli", "api"]


def test_file_that_cannot_be_used_is_refused_with_the_reason(owls: IconServer, tmp_path: Path) -> None:
    large, text = tmp_path / "large.png", tmp_path / "text.txt"
    large.write_bytes(bytes(UPLOAD_MAX + 1))
    text.write_text("not a picture")

    def refusal(file: Path) -> str:
        done = run_kiai(owls.server.data, "clans", "icon", "OWL", str(file))
        assert done.returncode == 1
        return done.stderr

    assert "No such file or directory; correct the path" in refusal(tmp_path / "nothing.png")
    assert f"has more than {UPLOAD_MAX} bytes" in refusal(large)
    assert "must be a PNG, JPEG, GIF or WebP file" in refusal(text)

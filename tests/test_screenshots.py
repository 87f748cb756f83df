import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin
from sqlalchemy import select
from tests.builders import NOW_MS, Run, World, a_player
from tests.decoders import DECODER

from kiai.decoding.pictures import SCREENSHOT_HEIGHT_MAX as HEIGHT_MAX
from kiai.decoding.pictures import SCREENSHOT_WIDTH_MAX as WIDTH_MAX
from kiai.decoding.pictures import screenshot as encode
from kiai.errors import Invalid, Unavailable
from kiai.files.store import FileStore
from kiai.screenshots import SIZE_MAX, Screenshots, kind_of
from kiai.storage.port import Database
from kiai.storage.tables import screenshots

PNG_TAIL = b"\x00\x00\x00\x00IEND\xaeB`\x82"


@pytest.fixture
def world(database: Database, run: Run, tmp_path: Path) -> World:
    """Every domain service, on each engine in turn."""
    return World(database, run, tmp_path)


class FixedIds:
    """Returns the given ids, in order."""

    def __init__(self, *wanted: str) -> None:
        self._wanted: Iterator[str] = iter(wanted)

    def token(self, bytes_: int = 27) -> str:
        assert bytes_ == 6
        return next(self._wanted)

    def session_token(self) -> str:
        raise NotImplementedError

    def request_id(self) -> str:
        raise NotImplementedError


class FullDisk(FileStore):
    """A files store without free space."""

    async def put(self, key: str, data: bytes) -> None:
        raise Unavailable("files", "the disk is full")


def a_picture(kind: str = "PNG", size: tuple[int, int] = (64, 48), **how: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (250, 90, 150)).save(out, kind, **how)
    return out.getvalue()


def a_png_claiming(width: int, height: int) -> bytes:
    """Return a small PNG whose header claims another size."""
    whole = bytearray(a_picture())
    whole[16:24] = struct.pack(">II", width, height)
    whole[29:33] = struct.pack(">I", zlib.crc32(bytes(whole[12:29])))
    return bytes(whole)


@pytest.fixture
def alice(world: World) -> int:
    return world.add_player(a_player())


def shots(world: World, *ids: str) -> Screenshots:
    return Screenshots(world.database, world.files, DECODER, world.clock, FixedIds(*(ids or ("aB-_0189",))))


async def found_by(service: Screenshots, screenshot_id: str) -> tuple[str, bytes] | None:
    """Return the kind and the data of a screenshot, or None."""
    found = await service.find(screenshot_id)
    if found is None:
        return None
    data = b"".join([chunk async for chunk in found.chunks])
    assert len(data) == found.size
    return found.kind, data


def stored(world: World) -> list[str]:
    async def keys() -> list[str]:
        return [one.key async for one in world.files.keys("screenshots/")]

    return sorted(world.run(keys()))


@pytest.mark.parametrize(("kind", "extension"), [("PNG", "png"), ("JPEG", "jpeg")])
def test_picture_is_found_under_its_name(world: World, alice: int, kind: str, extension: str) -> None:
    service = shots(world)

    name = world.run(service.save(alice, a_picture(kind)))
    found = world.run(found_by(service, "aB-_0189"))

    assert name == f"aB-_0189.{extension}"
    assert found is not None
    assert found[0] == extension
    with Image.open(io.BytesIO(found[1])) as picture:
        assert (picture.format, picture.size) == (kind, (64, 48))
    assert world.look(select(screenshots)) == [("aB-_0189", alice, extension, len(found[1]), NOW_MS)]


def test_ids_that_differ_by_case_are_two_pictures(world: World, alice: int) -> None:
    service = shots(world, "aaaaaaaa", "AAAAAAAA")
    world.run(service.save(alice, a_picture(size=(10, 10))))
    world.run(service.save(alice, a_picture(size=(20, 20))))

    keys = stored(world)

    assert len({key.lower() for key in keys}) == 2
    assert world.run(found_by(service, "aaaaaaaa")) != world.run(found_by(service, "AAAAAAAA"))


def test_existing_id_is_not_assigned_again(world: World, alice: int) -> None:
    service = shots(world, "aaaaaaaa", "aaaaaaaa", "bbbbbbbb")
    world.run(service.save(alice, a_picture(size=(10, 10))))
    before = world.run(found_by(service, "aaaaaaaa"))

    second = world.run(service.save(alice, a_picture(size=(20, 20))))

    assert second == "bbbbbbbb.png"
    assert world.run(found_by(service, "aaaaaaaa")) == before


def test_metadata_is_removed(world: World, alice: int) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Where", "my house")
    service = shots(world, "png00000", "jpeg0000")

    world.run(service.save(alice, a_picture(pnginfo=text)))
    world.run(service.save(alice, a_picture("JPEG", comment=b"my house")))

    for one in ("png00000", "jpeg0000"):
        found = world.run(found_by(service, one))
        assert found is not None
        assert b"my house" not in found[1]


def test_transparency_is_preserved(world: World, alice: int) -> None:
    out = io.BytesIO()
    Image.new("RGBA", (4, 4), (1, 2, 3, 77)).save(out, "PNG")
    service = shots(world)

    world.run(service.save(alice, out.getvalue()))

    found = world.run(found_by(service, "aB-_0189"))
    assert found is not None
    with Image.open(io.BytesIO(found[1])) as picture:
        assert picture.getpixel((0, 0)) == (1, 2, 3, 77)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"<html><script>alert(1)</script></html>", id="HTML"),
        pytest.param(b'<svg xmlns="http://www.w3.org/2000/svg"/>', id="SVG"),
        pytest.param(a_picture("GIF"), id="GIF"),
        pytest.param(a_picture() + b"<html></html>", id="PNG with an HTML tail"),
        pytest.param(a_picture("JPEG") + b"PK\x05\x06", id="JPEG with a ZIP tail"),
        pytest.param(a_picture()[:40] + PNG_TAIL, id="PNG without pixels"),
        pytest.param(b"\x89PNG\r\n\x1a\n<html></html>" + PNG_TAIL, id="HTML between PNG's ends"),
        pytest.param(b"\xff\xd8\xff<html></html>\xff\xd9", id="HTML between JPEG's ends"),
        pytest.param(a_picture("JPEG")[:300] + b"\xff\xd9", id="JPEG cut short"),
        pytest.param(a_png_claiming(0, 0), id="no size"),
        pytest.param(a_picture()[:-12] + b"\x00" * SIZE_MAX + PNG_TAIL, id="too many bytes"),
    ],
)
def test_invalid_picture_is_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        encode(data, kind_of(data))


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (7_681, 100), (100, 4_321), (2**31 - 1, 2**31 - 1)])
def test_picture_is_refused_by_the_size_in_its_header(width: int, height: int) -> None:
    with pytest.raises(Invalid, match=r"pixels|damaged"):
        encode(a_png_claiming(width, height), "png")


def test_picture_of_the_largest_size_is_accepted() -> None:
    whole = io.BytesIO()
    Image.new("L", (WIDTH_MAX, HEIGHT_MAX)).save(whole, "PNG")

    encoded = encode(whole.getvalue(), "png")

    with Image.open(io.BytesIO(encoded)) as picture:
        assert picture.size == (WIDTH_MAX, HEIGHT_MAX)


def test_refused_picture_leaves_nothing_stored(world: World, alice: int) -> None:
    with pytest.raises(Invalid):
        world.run(shots(world).save(alice, a_png_claiming(20_000, 20_000)))

    assert stored(world) == []
    assert world.look(select(screenshots.c.id)) == []


def test_full_disk_leaves_no_row(world: World, alice: int) -> None:
    full = FullDisk.local(world.folder / "full")
    service = Screenshots(world.database, full, DECODER, world.clock, FixedIds("aB-_0189"))

    with pytest.raises(Unavailable):
        world.run(service.save(alice, a_picture()))

    assert world.look(select(screenshots.c.id)) == []


def test_invalid_names_are_not_found(world: World, alice: int) -> None:
    service = shots(world)
    world.run(service.save(alice, a_picture()))

    for name in ("", "aB-_018", "aB-_01899", "AB-_0189", "../../..", "aB-_018\x00", "aB-_018é"):
        assert world.run(found_by(service, name)) is None, name


def test_pictures_of_a_hidden_player_are_stored_but_not_served(world: World) -> None:
    hidden = world.add_player(a_player("hidden", priv=2))
    service = shots(world)

    world.run(service.save(hidden, a_picture()))

    assert len(stored(world)) == 1
    assert world.run(found_by(service, "aB-_0189")) is None

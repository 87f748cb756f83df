"""Pictures and previews from archives: the background of a set, and damaged archives."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.builders import Run, World, a_map
from tests.decoders import DECODER
from tests.faces.client.kit import Site, sqlite_world

from kiai.beatmaps.pictures import MapPictures
from kiai.faces.client.map_pictures import MapPictureEndpoints


@pytest.fixture
def world(run: Run, tmp_path: Path) -> Iterator[World]:
    with sqlite_world(run, tmp_path) as world:
        yield world


def a_damaged_archive(packed: int) -> bytes:
    """Return an archive with a valid map, whose background and music cannot be decompressed."""
    song = a_map(1, set_id=7).data.replace(b"[TimingPoints]", b'[Events]\r\n0,0,"bg.png",0,0\r\n[TimingPoints]')
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.osu", song, zipfile.ZIP_DEFLATED)
        for name in ("bg.png", "audio.mp3"):
            archive.writestr(name, bytes(range(256)) * 20, packed)
        entries = archive.infolist()
    data = bytearray(out.getvalue())
    for entry in entries[1:]:
        begin = entry.header_offset + 30 + len(entry.filename)
        for at in range(begin + 10, begin + entry.compress_size):  # behind the properties of LZMA
            data[at] ^= 0x5A
    return bytes(data)


@pytest.mark.parametrize(
    "packed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=str
)
def test_damaged_archive_entry_counts_as_missing(world: World, packed: int) -> None:
    path = world.folder / "set.osz"
    path.write_bytes(a_damaged_archive(packed))
    assert world.run(world.importer.import_paths([path])).maps == 1
    site = Site(world, [MapPictureEndpoints(MapPictures(world.database, world.files, DECODER), None)])

    for picture in ("/thumb/7.jpg", "/thumb/7l.jpg", "/preview/7.mp3"):
        assert site.get(picture).status_code == 404


def a_picture(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(out, "PNG")
    return out.getvalue()


def a_map_with(events: str, *, id: int = 1, set_id: int = 7) -> bytes:  # noqa: A002
    return a_map(id, set_id=set_id).data.replace(b"[TimingPoints]", f"[Events]\r\n{events}\r\n[TimingPoints]".encode())


RED, BLUE = a_picture("red"), a_picture("blue")


@pytest.mark.parametrize(
    "entries",
    [
        {"a.osu": a_map_with('0,0,"bg.png"'), "bg.png": RED},
        {"a.osu": a_map_with('0,0,"BG.PNG"'), "Bg.png": RED},
        {"a.osu": a_map_with('0,0,"img\\\\bg.png"'), "img/bg.png": RED},
        {"a.osu": a_map_with('0,0,"img/bg.png"'), "IMG\\bg.png": RED},
        {"set/a.osu": a_map_with('0,0,"bg.png"'), "set/bg.png": RED, "bg.png": BLUE},
        {"a.osu": a_map_with('0,0,"bg, x.png"'), "bg, x.png": RED},
        {"a.osu": a_map_with('0,0,"背景.png"'), "背景.png": RED},
        {"a.osu": a_map_with('4,0,1,"bg.png",320,240'), "bg.png": RED},
        {"a.osu": a_map_with('1,0,"bg.png"'), "bg.png": RED},
        {"a.osu": a_map_with('0,0,"bg.png"\r\nVideo,0,"v.mp4"'), "bg.png": RED, "v.mp4": b"film"},
        {"a.osu": a_map_with(""), "b.osu": a_map_with('0,0,"bg.png"', id=2), "bg.png": RED},
        {"a.osu": a_map_with('0,0,"gone.png"'), "b.osu": a_map_with('0,0,"bg.png"', id=2), "bg.png": RED},
        {"__MACOSX/._a.osu": b"x", "._bg.png": BLUE, "a.osu": a_map_with('0,0,"bg.png"'), "bg.png": RED},
        {
            "a.osu": a_map_with('0,0,"other.png"', id=2, set_id=8),
            "b.osu": a_map_with('0,0,"bg.png"'),
            "other.png": BLUE,
            "bg.png": RED,
        },
    ],
    ids=[
        "beside the map",
        "other case",
        "backslashes",
        "backslashes in the archive",
        "in the map's folder",
        "a comma",
        "not ASCII",
        "a sprite",
        "a video that is none",
        "a video beside it",
        "named by the second map",
        "there for the second map",
        "what macOS adds",
        "that of this set among two",
    ],
)
def test_background_of_a_set_is_found(world: World, entries: dict[str, bytes]) -> None:
    path = world.folder / "set.osz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    assert world.run(world.importer.import_paths([path])).skipped == []
    site = Site(world, [MapPictureEndpoints(MapPictures(world.database, world.files, DECODER), None)])

    answer = site.get("/thumb/7.jpg")

    assert answer.status_code == 200
    with Image.open(io.BytesIO(answer.content)) as picture:
        pixel = picture.convert("RGB").getpixel((40, 30))
    assert isinstance(pixel, tuple)
    assert pixel[0] > 200 > 100 > pixel[2], "it is the red one"

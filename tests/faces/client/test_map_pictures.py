"""Pictures and previews out of archives that are damaged, whatever they are packed with."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.builders import Run, World, a_map
from tests.faces.client.kit import Site, sqlite_world

from kiai.beatmaps.pictures import MapPictures
from kiai.faces.client.map_pictures import MapPicturePages


@pytest.fixture
def world(run: Run, tmp_path: Path) -> Iterator[World]:
    with sqlite_world(run, tmp_path) as world:
        yield world


def a_damaged_archive(packed: int) -> bytes:
    """An archive whose map is fine, and whose background and music do not unpack."""
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
def test_a_damaged_entry_is_a_picture_that_is_not_here(world: World, packed: int) -> None:
    path = world.folder / "set.osz"
    path.write_bytes(a_damaged_archive(packed))
    assert world.run(world.importer.import_paths([path])).maps == 1
    site = Site(world, [MapPicturePages(MapPictures(world.database, world.files), None)])

    for picture in ("/thumb/7.jpg", "/thumb/7l.jpg", "/preview/7.mp3"):
        assert site.get(picture).status_code == 404

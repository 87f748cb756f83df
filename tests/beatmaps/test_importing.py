import asyncio
import io
import os
import stat
import struct
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from tests.builders import NewMap, World, a_map, a_play, a_player

from kiai.beatmaps import ImportReport, MapStatus, osu_key
from kiai.beatmaps.importing import SETS_STORED_MAX, FormerRevision, archive_key
from kiai.beatmaps.model import OWN_ID_FIRST
from kiai.decoding.archives import ENTRIES_MAX, OLDEST_UPDATE_S, OSU_MAX, Archive, BadArchive, BadEntry
from kiai.errors import Unavailable
from kiai.storage.tables import maps, sets

FILES: Final = Path(__file__).parent / "files"


def write(folder: Path, name: str, new: NewMap) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(new.data)
    return path


def an_osz(path: Path, entries: Mapping[str, bytes], link: zipfile.ZipInfo | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
        if link is not None:
            archive.writestr(link, b"/etc/passwd")
    return path


def import_(world: World, *paths: Path, status: MapStatus | None = None) -> ImportReport:
    report = world.run(world.importer.import_paths(paths, status=status))
    assert isinstance(report, ImportReport)
    return report


def notes(report: ImportReport) -> list[tuple[str, str]]:
    """Return the notes of a report, with file names instead of paths."""
    return [(one.path.replace("\\", "/").rpartition("/")[2], one.what) for one in report.notes]


def reasons(report: ImportReport) -> list[str]:
    return [one.why for one in report.skipped]


def ids(world: World) -> list[int]:
    return [one.id for one in world.run(world.beatmaps.revisions())]


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    folder = tmp_path / "songs"
    folder.mkdir()
    return folder


# --- files, folders and ids


def test_folder_is_imported_at_any_depth_with_its_archives(world: World, songs: Path) -> None:
    write(songs, "1 first/normal.osu", a_map(id=1, set_id=10))
    write(songs, "1 first/hard.OSU", a_map(id=2, set_id=10, version="Hard"))
    write(songs, "deep/er/other.osu", a_map(id=3, set_id=20))
    an_osz(songs / "third.osz", {"a.osu": a_map(id=4, set_id=30).data, "audio.mp3": b"noise"})
    (songs / "readme.txt").write_text("not a map")

    report = import_(world, songs)

    assert (report.sets, report.maps, report.skipped, report.changed) == (3, 4, [], [])
    assert sorted(ids(world)) == [1, 2, 3, 4]
    assert [one.id for one in world.run(world.beatmaps.of_set(10))] == [1, 2]


def test_single_file_gives_all_fields_of_its_map(world: World, songs: Path) -> None:
    new = a_map(id=75, set_id=7, objects=61, title="A: B", version="Ex/tra")
    path = write(songs, "x.osu", new)
    os.utime(path, (1_600_000_000, 1_600_000_000))

    report = import_(world, path)

    found = world.map(new.md5)
    assert (report.sets, report.maps) == (1, 1)
    assert (found.id, found.set_id, found.status, found.frozen, found.current) == (75, 7, MapStatus.RANKED, 0, 1)
    assert (found.objects, found.max_combo, found.diff, found.total_length, found.hit_length) == (61, 61, 0.61, 31, 30)
    assert (found.bpm, found.cs, found.od, found.ar, found.hp) == (120, 4, 8, 9, 5)
    assert found.filename == "Artist - A B (Mapper) [Extra].osu"
    assert found.last_update_ms == 1_600_000_000_000
    assert world.run(world.beatmaps.osu_file(found)) == new.data


def test_importing_again_changes_nothing(world: World, songs: Path) -> None:
    write(songs, "a.osu", a_map(id=1))
    write(songs, "own.osu", a_map(id=0, set_id=0, title="Own"))
    an_osz(songs / "b.osz", {"b.osu": a_map(id=2).data})
    import_(world, songs)
    before = world.look(select(maps)), world.look(select(sets))

    report = import_(world, songs)

    assert (world.look(select(maps)), world.look(select(sets))) == before
    assert (report.maps, report.sets, report.changed, report.skipped) == (3, 2, [], [])


def test_import_with_a_status_sets_it_and_one_without_keeps_it(world: World, songs: Path) -> None:
    path = write(songs, "a.osu", a_map())

    import_(world, path, status=MapStatus.LOVED)
    given = world.map(a_map().md5)
    import_(world, path)

    assert (given.status, given.frozen) == (MapStatus.LOVED, 1)
    assert world.map(a_map().md5) == given


def test_importing_a_known_map_with_a_status_sets_it(world: World, songs: Path) -> None:
    path = write(songs, "a.osu", a_map())
    import_(world, path)

    import_(world, path, status=MapStatus.LOVED)

    found = world.map(a_map().md5)
    assert (found.status, found.frozen) == (MapStatus.LOVED, 1)


def test_totals_follow_a_status_set_by_an_import(world: World, songs: Path) -> None:
    path = write(songs, "a.osu", a_map())
    alice = world.add_player(a_player())
    world.record(a_play(by=alice, on=world.add_map(a_map())))

    import_(world, path, status=MapStatus.PENDING)
    world.reconcile()

    assert world.stats(alice).pp == 0
    assert world.problems() == []


def test_maps_without_ids_get_new_ones_and_share_a_set_within_a_folder(world: World, songs: Path) -> None:
    write(songs, "one/a.osu", a_map(id=0, set_id=0, version="A"))
    write(songs, "one/b.osu", a_map(id=0, set_id=0, version="B"))
    write(songs, "two/c.osu", a_map(id=0, set_id=0, version="C"))

    report = import_(world, songs)

    found = world.run(world.beatmaps.revisions())
    assert [one.id for one in found] == [OWN_ID_FIRST, OWN_ID_FIRST + 1, OWN_ID_FIRST + 2]
    assert [one.set_id for one in found] == [OWN_ID_FIRST, OWN_ID_FIRST, OWN_ID_FIRST + 1]
    assert report.sets == 2


def test_map_without_a_set_joins_the_set_of_its_folder(world: World, songs: Path) -> None:
    an_osz(
        songs / "a.osz",
        {"a.osu": a_map(id=5, set_id=50).data, "b.osu": a_map(id=0, set_id=0, version="New").data},
    )

    import_(world, songs)

    assert [one.id for one in world.run(world.beatmaps.of_set(50))] == [5, OWN_ID_FIRST]


def test_file_that_claims_an_unofficial_id_gets_the_next_one(world: World, songs: Path) -> None:
    write(songs, "a.osu", a_map(id=OWN_ID_FIRST + 7, set_id=OWN_ID_FIRST + 7))

    import_(world, songs)

    assert ids(world) == [OWN_ID_FIRST]


# --- files with the same content or id: nothing is lost, and the report has a note


def test_two_files_of_a_set_with_one_id_are_both_current(world: World, songs: Path) -> None:
    first, second = a_map(id=7, version="First"), a_map(id=7, version="Second")
    an_osz(songs / "a.osz", {"1.osu": first.data, "2.osu": second.data})

    report = import_(world, songs)
    again = import_(world, songs)

    assert [(world.map(one.md5).id, world.map(one.md5).current) for one in (first, second)] == [
        (7, 1),
        (OWN_ID_FIRST, 1),
    ]
    assert (report.maps, report.skipped, again.notes) == (2, [], report.notes)
    what = f"stored as map {OWN_ID_FIRST}: another file of its set also claims the id 7"
    assert notes(report) == [("a.osz:2.osu", what)]


def test_known_file_keeps_its_id(world: World, songs: Path) -> None:
    copy, known = a_map(id=7, version="Copy"), a_map(id=7, version="Known")
    other = a_map(id=7, version="Other")
    world.add_map(known)
    an_osz(songs / "a.osz", {"1.osu": copy.data, "2.osu": known.data, "3.osu": other.data})

    report = import_(world, songs)

    assert [world.map(one.md5).id for one in (copy, known, other)] == [OWN_ID_FIRST, 7, OWN_ID_FIRST + 1]
    assert [path for path, _ in notes(report)] == ["a.osz:1.osu", "a.osz:3.osu"]
    assert report.changed == []


def test_file_with_the_same_id_in_a_later_folder_updates_the_map(world: World, songs: Path) -> None:
    old, new = a_map(id=7, version="Old"), a_map(id=7, version="New")
    write(songs, "1/old.osu", old)
    write(songs, "2/new.osu", new)

    report = import_(world, songs)

    assert (world.map(old.md5).current, world.map(new.md5).current) == (0, 1)
    [(path, what)] = notes(report)
    assert path == "old.osu"
    assert what.startswith("is no longer the current file of map 7: ")
    assert what.endswith("new.osu has the same id and was imported later")


def test_identical_files_are_one_map(world: World, songs: Path) -> None:
    write(songs, "a.osu", a_map(id=7))
    write(songs, "b.osu", a_map(id=7))
    an_osz(songs / "c.osz", {"c.osu": a_map(id=7).data})

    report = import_(world, songs)

    assert (report.maps, report.sets, ids(world), report.skipped) == (1, 1, [7], [])
    assert [what.partition(" as ")[0] for _, what in notes(report)] == ["the same file", "the same file"]


def test_identical_files_without_an_id_are_one_map(world: World, songs: Path) -> None:
    write(songs, "1/a.osu", a_map(id=0, set_id=0))
    write(songs, "2/a.osu", a_map(id=0, set_id=0))

    report = import_(world, songs)

    assert (report.maps, report.sets, ids(world)) == (1, 1, [OWN_ID_FIRST])
    assert len(report.notes) == 1


def test_an_archive_of_two_sets_is_the_download_of_both(world: World, songs: Path) -> None:
    path = an_osz(songs / "a.osz", {"1.osu": a_map(id=1, set_id=10).data, "2.osu": a_map(id=2, set_id=20).data})

    report = import_(world, path)

    assert (report.sets, report.maps) == (2, 2)
    assert [world.run(world.files.get(archive_key(one))) for one in (10, 20)] == [path.read_bytes()] * 2
    assert world.look(select(sets.c.osz_size)) == [(path.stat().st_size,)] * 2
    assert notes(report) == [("a.osz", "the download of 2 sets: 10, 20")]


def test_archive_with_too_many_sets_is_not_stored_and_noted(world: World, songs: Path) -> None:
    many = {f"{n}.osu": a_map(id=n, set_id=n).data for n in range(1, SETS_STORED_MAX + 2)}

    report = import_(world, an_osz(songs / "a.osz", many))

    assert report.maps == SETS_STORED_MAX + 1
    assert world.run(world.files.size(archive_key(1))) is None
    assert notes(report) == [("a.osz", "not stored for downloads: it has 9 sets; at most 8 are allowed")]


def test_two_archives_of_one_set_leave_the_later_one_and_a_note(world: World, songs: Path) -> None:
    an_osz(songs / "1.osz", {"1.osu": a_map(id=1, set_id=10).data})
    later = an_osz(songs / "2.osz", {"2.osu": a_map(id=2, set_id=10).data})

    report = import_(world, songs)

    assert world.run(world.files.get(archive_key(10))) == later.read_bytes()
    [(path, what)] = notes(report)
    assert path == "1.osz"
    assert what.startswith("no longer the download of set 10: ")
    assert sorted(ids(world)) == [1, 2]


# --- several imports at once


@pytest.mark.parametrize(
    "files",
    [
        [a_map(id=0, set_id=0, version=str(n)) for n in range(8)],
        [a_map(id=n + 1, set_id=7) for n in range(8)],
        [a_map(id=1, set_id=7)] * 8,
        [a_map(id=1, set_id=7, version=str(n)) for n in range(8)],
    ],
    ids=["without ids", "maps of one set", "the same file", "revisions of one map"],
)
def test_concurrent_imports_lose_nothing(world: World, files: list[NewMap]) -> None:
    async def all_at_once() -> list[ImportReport]:
        return await asyncio.gather(
            *(world.importer.import_file(one.data, name=str(n), status=None) for n, one in enumerate(files))
        )

    reports = world.run(all_at_once())

    assert [(one.maps, one.skipped) for one in reports] == [(1, [])] * len(files)
    stored = world.run(world.beatmaps.revisions())
    assert {one.md5 for one in stored} == {one.md5 for one in files}
    current = [one.id for one in stored if one.current]
    assert len(current) == len(set(current))
    assert current


# --- a map by the name of its file


@pytest.mark.parametrize(
    ("title", "name", "found"),
    [
        ("AC/DC", "Artist - ACDC (Mapper) [Normal].osu", True),
        ("AC/DC", "Artist - AC_DC (Mapper) [Normal].osu", True),
        ("What?*", "Artist - What__ (Mapper) [Normal].osu", True),
        ("a_b/c", "Artist - a_b_c (Mapper) [Normal].osu", True),
        ("a_b", "Artist - a_b (Mapper) [Normal].osu", True),
        ("ab", "Artist - a_b (Mapper) [Normal].osu", False),
        ("AC/DC", "Artist - A_CDC (Mapper) [Normal].osu", False),
        ("AC/DC", "_" * 255, False),
        ("AC/DC", "_", False),
        ("AC/DC", "_\x00", False),
        ("AC/DC", "", False),
        ("x" * 300, f"Artist - {'x' * 300} (Mapper) [Normal].osu", False),  # too long for any file system
    ],
)
def test_a_map_is_found_by_the_name_of_its_file(world: World, title: str, name: str, found: bool) -> None:
    beatmap = world.add_map(a_map(title=title))

    assert world.run(world.beatmaps.named(name)) == (beatmap if found else None)


# --- ids from upstream


def test_given_ids_override_those_in_the_file(world: World, songs: Path) -> None:
    nameless, other = a_map(id=0, set_id=0), a_map(id=5, set_id=50)

    for new, known in ((nameless, (75, 7)), (other, (76, 7))):
        world.run(world.importer.import_file(new.data, name="x", status=None, ids=known))

    assert [(one.id, one.set_id) for one in world.run(world.beatmaps.revisions())] == [(75, 7), (76, 7)]


def test_known_map_keeps_its_official_id_if_its_file_has_no_id(world: World, songs: Path) -> None:
    new = a_map(id=0, set_id=0)
    world.run(world.importer.import_file(new.data, name="x", status=None, ids=(75, 7)))

    import_(world, write(songs, "a.osu", new))

    assert [(one.id, one.set_id) for one in world.run(world.beatmaps.revisions())] == [(75, 7)]


# --- another file for the same map


def test_changed_file_becomes_current_and_the_old_revision_keeps_its_scores(world: World, songs: Path) -> None:
    old, new = a_map(id=1, version="Old"), a_map(id=1, version="New")
    alice = world.add_player(a_player())
    import_(world, write(songs, "a.osu", old))
    recorded = world.record(a_play(by=alice, on=world.map(old.md5)))

    report = import_(world, write(songs, "a.osu", new))
    world.reconcile()

    before, after = world.map(old.md5), world.map(new.md5)
    assert (before.current, before.status) == (0, MapStatus.UPDATE_AVAILABLE)
    assert (after.current, after.status) == (1, MapStatus.RANKED)
    assert report.changed == [FormerRevision(before.key, 1, MapStatus.RANKED)]
    assert world.run(world.beatmaps.find(id=1)) == after
    assert world.board(before) == [recorded.score_id]
    assert (world.stats(alice).plays, world.stats(alice).pp) == (1, 0)
    assert world.problems() == []


def test_a_changed_file_keeps_the_status_of_the_map(world: World, songs: Path) -> None:
    world.add_map(a_map(id=1, version="Old"), MapStatus.LOVED)

    import_(world, write(songs, "a.osu", a_map(id=1, version="New")))

    now = world.run(world.beatmaps.find(id=1))
    assert (now.version, now.status, now.frozen) == ("New", MapStatus.LOVED, 1)


def test_old_revision_that_is_imported_again_becomes_current(world: World, songs: Path) -> None:
    old, new = a_map(id=1, version="Old"), a_map(id=1, version="New")
    alice = world.add_player(a_player())
    world.record(a_play(by=alice, on=world.add_map(old)))
    before = world.stats(alice)
    import_(world, write(songs, "a.osu", new))
    world.reconcile()

    import_(world, write(songs, "a.osu", old))
    world.reconcile()

    assert (world.map(old.md5).current, world.map(new.md5).current) == (1, 0)
    assert world.stats(alice) == before
    assert world.problems() == []


# --- forms of archives and folders


@pytest.mark.parametrize("name", ["a.osz", "a.OSZ", "a.olz", "a.Olz"])
def test_archive_may_have_any_of_its_endings(world: World, songs: Path, name: str) -> None:
    path = an_osz(songs / name, {"A.OSU": a_map(id=1).data})

    report = import_(world, songs, path)

    assert (ids(world), report.skipped) == ([1], [])
    assert world.run(world.files.get(archive_key(1))) == path.read_bytes()


def test_macos_metadata_files_are_ignored(world: World, songs: Path) -> None:
    shadow = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "
    an_osz(songs / "a.osz", {"a.osu": a_map(id=1).data, "__MACOSX/._a.osu": shadow, "sub/._b.osu": shadow})
    for name in ("._c.osu", "__MACOSX/d.osu", "__MACOSX/deep/e.osu", "._f.osz"):
        (songs / name).parent.mkdir(parents=True, exist_ok=True)
        (songs / name).write_bytes(shadow)

    report = import_(world, songs)

    assert (ids(world), report.skipped) == ([1], [])


def test_archive_with_only_macos_metadata_has_no_map(world: World, songs: Path) -> None:
    an_osz(songs / "a.osz", {"__MACOSX/._a.osu": b"x"})

    assert reasons(import_(world, songs)) == ["the archive has no .osu file"]


def test_folder_with_the_name_of_a_map_file_is_searched(world: World, songs: Path) -> None:
    write(songs, "x.osu/y.osz/real.osu", a_map(id=1))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("x.osu/", b"")
        archive.writestr("x.osu/real.osu", a_map(id=2).data)
    (songs / "a.osz").write_bytes(stream.getvalue())

    report = import_(world, songs, songs / "x.osu")

    assert (sorted(ids(world)), report.skipped) == ([1, 2], [])


def test_special_files_are_skipped_without_being_opened(world: World, songs: Path) -> None:
    os.mkfifo(songs / "pipe.osu")
    (songs / "gone.osu").symlink_to(songs / "nowhere")

    report = import_(world, songs, songs / "pipe.osu", write(songs.parent, "a.osu", a_map(id=1)))

    assert (ids(world), reasons(report)) == ([1], ["not a regular file"] * 3)


def test_file_name_that_is_not_utf_8_is_reported_as_text(world: World, songs: Path) -> None:
    named = os.fsencode(songs) + b"/\x83e.osu"
    with open(named, "wb") as file:
        file.write(b"hello")

    [skipped] = import_(world, songs).skipped

    assert skipped.path.encode().endswith("/\N{REPLACEMENT CHARACTER}e.osu".encode())


def test_entries_are_read_at_any_depth(world: World, songs: Path) -> None:
    maps_ = {"a/b/c.osu": a_map(id=1, set_id=9).data, "d\\e.osu": a_map(id=2, set_id=9).data, "./f.osu": a_map(3).data}

    report = import_(world, an_osz(songs / "a.osz", maps_))

    assert (sorted(ids(world)), report.skipped) == ([1, 2, 3], [])


def test_two_entries_of_one_name_are_both_read(world: World, songs: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.osu", a_map(id=1, set_id=9).data)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.osu", a_map(id=2, set_id=9).data)
    (songs / "a.osz").write_bytes(stream.getvalue())

    report = import_(world, songs)

    assert (sorted(ids(world)), report.skipped) == ([1, 2], [])


def a_flagged_osz(path: Path, names: Mapping[bytes, bytes], *, prefix: bytes = b"", comment: bytes = b"") -> Path:
    """Write an archive whose entries all have the flag for UTF-8 names."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number, data in enumerate(names.values()):
            archive.writestr(f"\u00e9{number}.osu", data)  # two bytes, and flagged
        archive.comment = comment
    written = prefix + stream.getvalue()
    for number, name in enumerate(names):
        assert len(name) == len(f"\u00e9{number}.osu".encode())
        written = written.replace(f"\u00e9{number}.osu".encode(), name)
    path.write_bytes(written)
    return path


@pytest.mark.parametrize("prefix", [b"", b"something in front"])
@pytest.mark.parametrize("comment", [b"", b"a comment"])
def test_entry_name_that_is_not_valid_utf_8_is_read(world: World, songs: Path, prefix: bytes, comment: bytes) -> None:
    names = {
        b"\x8b\xc8.x.osu"[:7]: b"noise",
        b"\xc3\xa91.osu": a_map(id=1, set_id=9).data,
        b"\x83e2.osu": a_map(id=2, set_id=9).data,
    }
    a_flagged_osz(songs / "a.osz", names, prefix=prefix, comment=comment)

    report = import_(world, songs)

    assert (sorted(ids(world)), report.skipped) == ([1, 2], [])


@pytest.mark.parametrize("encoding", ["utf-8", "cp932"])
def test_entry_name_without_the_utf_8_flag_is_decoded_from_its_bytes(encoding: str) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("x" * len("\u66f2".encode(encoding)) + ".jpg", b"noise")
    name = "\u66f2".encode(encoding)

    archive_ = Archive(stream.getvalue().replace(b"x" * len(name), name))

    assert [entry.name for entry in archive_.entries] == ["\u66f2.jpg"]
    assert archive_.find("\u66f2.JPG") is archive_.entries[0]


def test_a_zip64_archive_is_read(world: World, songs: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, archive.open("a.osu", "w", force_zip64=True) as entry:
        entry.write(a_map(id=1).data)
    (songs / "a.osz").write_bytes(stream.getvalue())

    assert (import_(world, songs).skipped, ids(world)) == ([], [1])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_entry_is_packed_by_any_method(world: World, songs: Path, method: int) -> None:
    with zipfile.ZipFile(songs / "a.osz", "w", method) as archive:
        archive.writestr("a.osu", a_map(id=1).data)

    assert (import_(world, songs).skipped, ids(world)) == ([], [1])


def test_an_entry_packed_by_an_unknown_method_is_skipped(world: World, songs: Path) -> None:
    path = an_osz(songs / "a.osz", {"a.osu": a_map(id=1).data, "b.osu": a_map(id=2).data})
    data = bytearray(path.read_bytes())
    struct.pack_into("<H", data, data.index(b"PK\x01\x02") + 10, 93)
    path.write_bytes(data)

    report = import_(world, songs)

    assert (ids(world), len(report.skipped)) == ([2], 1)
    assert reasons(report)[0].startswith("the entry is damaged: ")


def test_an_empty_archive_holds_no_map(world: World, songs: Path) -> None:
    an_osz(songs / "a.osz", {})

    assert reasons(import_(world, songs)) == ["the archive has no .osu file"]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ((2024, 3, 10, 2, 30, 0), 1_710_037_800),
        ((2024, 3, 31, 2, 30, 0), 1_711_852_200),
        ((1980, 1, 1, 0, 0, 0), OLDEST_UPDATE_S),
        ((2107, 12, 31, 23, 59, 58), 4_354_819_198),
    ],
)
@pytest.mark.parametrize("zone", ["America/St_Johns", "Europe/Berlin", "UTC", "Asia/Kathmandu"])
def test_the_time_of_an_entry_is_utc_in_every_zone(
    monkeypatch: pytest.MonkeyPatch, written: tuple[int, int, int, int, int, int], seconds: int, zone: str
) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.osu", written), b"")
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        [entry] = Archive(stream.getvalue()).entries
    finally:
        monkeypatch.undo()
        time.tzset()

    assert entry.modified_s == seconds


def test_invalid_time_of_an_entry_becomes_the_earliest_time() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.osu", (2024, 3, 10, 2, 30, 0)), b"")
    data = bytearray(stream.getvalue())
    struct.pack_into("<HH", data, data.index(b"PK\x01\x02") + 12, 0, 0)

    assert Archive(bytes(data)).entries[0].modified_s == OLDEST_UPDATE_S


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 2_000), st.integers(0, 60), st.binary(max_size=60))
def test_damaged_archive_is_read_or_skipped_with_a_reason(start: int, cut: int, put: bytes) -> None:
    whole = (FILES / "utf-8-flag-bad-name.osz").read_bytes()
    start = min(start, len(whole))
    try:
        archive = Archive(whole[:start] + put + whole[start + cut :])
    except BadArchive:
        return
    for entry in archive.entries:
        try:
            assert len(archive.read(entry, OSU_MAX)) <= OSU_MAX
        except BadEntry:
            continue


# --- skipped files, while the others are imported


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "the file is empty"),
        (b"\x00\x01\x02", "no section"),
        (b"hello", "no section"),
        (a_map().data.split(b"[HitObjects]")[0], "no objects"),
        (a_map().data.replace(b",1,0,0:0", b",0,0,0:0"), "no objects"),
        (b"x" * (OSU_MAX + 1), "larger than 10 MiB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_file_is_skipped_with_its_reason(world: World, songs: Path, data: bytes, why: str) -> None:
    (songs / "broken.osu").write_bytes(data)
    write(songs, "good.osu", a_map(id=5))

    report = import_(world, songs)

    assert ids(world) == [5]
    [skipped] = report.skipped
    assert skipped.path.endswith("broken.osu")
    assert why in skipped.why


def test_map_that_cannot_be_rated_is_skipped_and_its_file_is_not_stored(world: World, songs: Path) -> None:
    bad, good = a_map(id=1), a_map(id=2)
    world.performance.cannot.add(bad.md5)
    write(songs, "bad.osu", bad)
    write(songs, "good.osu", good)

    report = import_(world, songs)

    assert (ids(world), reasons(report)) == ([2], ["its stars cannot be computed: the fake was told so"])
    assert world.run(world.files.size(osu_key(bad.md5))) is None


def test_an_import_without_a_rating_leaves_the_file_that_another_import_has_stored(
    world: World, songs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    song = a_map(id=1)
    write(songs, "song.osu", song)
    rate = world.performance.rate

    async def rate_after_another_import(md5: str, mode: int) -> tuple[float, int]:
        monkeypatch.setattr(world.performance, "rate", rate)
        await world.importer.import_paths((songs,), status=None)
        raise Unavailable("pp", "no worker")

    monkeypatch.setattr(world.performance, "rate", rate_after_another_import)
    report = import_(world, songs)

    assert reasons(report) == ["its stars cannot be computed: pp is not available: no worker"]
    assert ids(world) == [1]
    assert world.run(world.files.get(osu_key(song.md5))) == song.data


@pytest.mark.parametrize(
    "name", ["../evil.osu", "a/../../evil.osu", "/etc/evil.osu", "..\\evil.osu", "C:\\evil.osu", "C:/evil.osu"]
)
def test_an_entry_whose_path_leaves_the_archive_is_skipped(world: World, songs: Path, name: str) -> None:
    an_osz(songs / "a.osz", {name: a_map(id=1).data, "good.osu": a_map(id=2).data})

    report = import_(world, songs)

    assert (ids(world), reasons(report)) == ([2], ["the entry's path leaves the archive"])
    assert not list(songs.parent.rglob("evil*"))


@pytest.mark.parametrize("name", ["Re: Zero.osu", "a:b.osu", "..hidden.osu", "a..b/c.osu", "12:34 - x.osu"])
def test_entry_with_an_unusual_name_is_imported(world: World, songs: Path, name: str) -> None:
    an_osz(songs / "a.osz", {name: a_map(id=1).data})

    report = import_(world, songs)

    assert (ids(world), report.skipped) == ([1], [])


def test_a_symbolic_link_in_an_archive_is_skipped(world: World, songs: Path) -> None:
    link = zipfile.ZipInfo("link.osu")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    an_osz(songs / "a.osz", {"good.osu": a_map(id=2).data}, link)

    report = import_(world, songs)

    assert (ids(world), reasons(report)) == ([2], ["the entry is a symbolic link"])


def test_an_encrypted_entry_is_skipped(world: World, songs: Path) -> None:
    path = an_osz(songs / "a.osz", {"secret.osu": a_map(id=1).data, "good.osu": a_map(id=2).data})
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\x01\x02")
    struct.pack_into("<H", data, central + 8, 1)  # the flag for encryption, in the central directory
    path.write_bytes(data)

    report = import_(world, songs)

    assert (ids(world), reasons(report)) == ([2], ["the entry is encrypted"])


def test_an_archive_of_too_many_entries_is_skipped(world: World, songs: Path) -> None:
    an_osz(songs / "a.osz", {f"{n}.txt": b"" for n in range(ENTRIES_MAX)} | {"a.osu": a_map(id=1).data})
    an_osz(songs / "b.osz", {f"{n}.txt": b"" for n in range(ENTRIES_MAX - 1)} | {"a.osu": a_map(id=2).data})

    report = import_(world, songs)

    assert (ids(world), reasons(report)) == ([2], ["the archive has 501 entries; 500 are allowed"])


def test_archive_that_inflates_beyond_the_limit_is_skipped(world: World, songs: Path) -> None:
    bomb = songs / "bomb.osz"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("a.osu", a_map(id=1).data)
        with archive.open("zeros.mp3", "w") as stream:
            for _ in range(301):
                stream.write(bytes(1024 * 1024))
    write(songs, "good.osu", a_map(id=2))

    report = import_(world, songs)

    assert bomb.stat().st_size < 10 * 1024 * 1024
    assert (ids(world), reasons(report)) == ([2], ["the archive inflates to more than 300 MiB"])


def test_entry_that_inflates_beyond_its_stated_size_is_skipped(world: World, songs: Path) -> None:
    path = an_osz(songs / "a.osz", {"liar.osu": bytes(OSU_MAX + 1), "good.osu": a_map(id=2).data})
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, 1_000)  # the stated size after decompression
    path.write_bytes(data)

    report = import_(world, songs)

    assert ids(world) == [2]
    assert len(report.skipped) == 1


def test_a_damaged_entry_is_skipped(world: World, songs: Path) -> None:
    path = an_osz(songs / "a.osz", {"bad.osu": a_map(id=1).data, "good.osu": a_map(id=2).data})
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)

    report = import_(world, songs)

    assert ids(world) == [2]
    [why] = reasons(report)
    assert why.startswith("the entry is damaged")


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04" + bytes(40), b"PK\x05\x06" + bytes(10)])
def test_file_that_is_not_an_archive_is_skipped(world: World, songs: Path, data: bytes) -> None:
    (songs / "a.osz").write_bytes(data)
    write(songs, "good.osu", a_map(id=2))

    report = import_(world, songs)

    assert (ids(world), reasons(report)) == ([2], ["not a ZIP archive, or a damaged one"])


def test_truncated_archive_does_not_stop_the_import(world: World, songs: Path) -> None:
    whole = an_osz(songs / "whole.osz", {"a.osu": a_map(id=1, objects=3).data}).read_bytes()
    for size in range(0, len(whole), 7):
        (songs / f"cut{size}.osz").write_bytes(whole[:size])

    report = import_(world, songs)

    assert ids(world) == [1]
    assert len(report.skipped) == len(range(0, len(whole), 7))


def test_an_archive_without_maps_is_skipped(world: World, songs: Path) -> None:
    path = an_osz(songs / "a.osz", {"audio.mp3": b"noise"})

    report = import_(world, path)

    assert (report.maps, reasons(report)) == (0, ["the archive has no .osu file"])


def test_missing_path_and_other_file_types_are_skipped(world: World, songs: Path) -> None:
    (songs / "song.mp3").write_bytes(b"noise")
    (songs / "empty").mkdir()

    report = import_(world, songs / "gone", songs / "song.mp3", songs / "empty", write(songs, "a.osu", a_map()))

    assert report.maps == 1
    assert reasons(report) == [
        "there is no such file or folder",
        "neither a folder nor an .osz, .olz or .osu file",
        "the folder has no .osz, .olz or .osu file",
    ]


def test_entry_names_may_have_any_encoding(world: World, songs: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("\u66f2 \U0001f3b5.osu", a_map(id=1).data)
        archive.writestr("xx.osu", a_map(id=2).data)
    (songs / "a.osz").write_bytes(stream.getvalue().replace(b"xx.osu", b"\xff\xfe.osu"))

    report = import_(world, songs)

    assert (sorted(ids(world)), report.skipped) == ([1, 2], [])


def test_progress_is_reported_from_zero_to_the_total(world: World, songs: Path) -> None:
    for n in (1, 2, 3):
        write(songs, f"{n}/a.osu", a_map(id=n))
    seen: list[tuple[int, int]] = []

    world.run(world.importer.import_paths([songs], progress=lambda done, total: seen.append((done, total))))

    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]

import io
import os
import stat
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.builders import NewMap, World, a_map, a_play, a_player

from kiai.beatmaps import ImportReport, MapStatus, osu_key
from kiai.beatmaps.importing import ENTRIES_MAX, OSU_MAX
from kiai.beatmaps.model import OWN_ID_FIRST
from kiai.storage.tables import maps, sets


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


def reasons(report: ImportReport) -> list[str]:
    return [one.why for one in report.skipped]


def ids(world: World) -> list[int]:
    return [one.id for one in world.run(world.beatmaps.revisions())]


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    folder = tmp_path / "songs"
    folder.mkdir()
    return folder


# --- what is imported


def test_a_folder_is_imported_at_any_depth_with_its_archives(world: World, songs: Path) -> None:
    write(songs, "1 first/normal.osu", a_map(id=1, set_id=10))
    write(songs, "1 first/hard.OSU", a_map(id=2, set_id=10, version="Hard"))
    write(songs, "deep/er/other.osu", a_map(id=3, set_id=20))
    an_osz(songs / "third.osz", {"a.osu": a_map(id=4, set_id=30).data, "audio.mp3": b"noise"})
    (songs / "readme.txt").write_text("not a map")

    report = import_(world, songs)

    assert (report.sets, report.maps, report.skipped, report.changed) == (3, 4, [], [])
    assert sorted(ids(world)) == [1, 2, 3, 4]
    assert [one.id for one in world.run(world.beatmaps.of_set(10))] == [1, 2]


def test_a_single_file_tells_all_about_its_map(world: World, songs: Path) -> None:
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


def test_a_status_is_given_to_all_and_kept_by_an_import_without_one(world: World, songs: Path) -> None:
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


def test_totals_follow_a_status_that_an_import_gives_to_a_known_map(world: World, songs: Path) -> None:
    path = write(songs, "a.osu", a_map())
    alice = world.add_player(a_player())
    world.record(a_play(by=alice, on=world.add_map(a_map())))

    report = import_(world, path, status=MapStatus.PENDING)
    world.run(world.standing.rejudged(report.changed))

    assert world.stats(alice).pp == 0
    assert world.problems() == []


def test_maps_without_ids_get_our_own_and_share_a_set_within_a_folder(world: World, songs: Path) -> None:
    write(songs, "one/a.osu", a_map(id=0, set_id=0, version="A"))
    write(songs, "one/b.osu", a_map(id=0, set_id=0, version="B"))
    write(songs, "two/c.osu", a_map(id=0, set_id=0, version="C"))

    report = import_(world, songs)

    found = world.run(world.beatmaps.revisions())
    assert [one.id for one in found] == [OWN_ID_FIRST, OWN_ID_FIRST + 1, OWN_ID_FIRST + 2]
    assert [one.set_id for one in found] == [OWN_ID_FIRST, OWN_ID_FIRST, OWN_ID_FIRST + 1]
    assert report.sets == 2


def test_a_map_without_a_set_joins_its_neighbours(world: World, songs: Path) -> None:
    an_osz(
        songs / "a.osz",
        {"a.osu": a_map(id=5, set_id=50).data, "b.osu": a_map(id=0, set_id=0, version="New").data},
    )

    import_(world, songs)

    assert [one.id for one in world.run(world.beatmaps.of_set(50))] == [5, OWN_ID_FIRST]


def test_a_file_that_claims_one_of_our_ids_gets_the_next(world: World, songs: Path) -> None:
    write(songs, "a.osu", a_map(id=OWN_ID_FIRST + 7, set_id=OWN_ID_FIRST + 7))

    import_(world, songs)

    assert ids(world) == [OWN_ID_FIRST]


# --- another file for the same map


def test_a_changed_file_becomes_current_and_the_old_one_keeps_its_scores(world: World, songs: Path) -> None:
    old, new = a_map(id=1, version="Old"), a_map(id=1, version="New")
    alice = world.add_player(a_player())
    import_(world, write(songs, "a.osu", old))
    recorded = world.record(a_play(by=alice, on=world.map(old.md5)))

    report = import_(world, write(songs, "a.osu", new))
    world.run(world.standing.rejudged(report.changed))

    before, after = world.map(old.md5), world.map(new.md5)
    assert (before.current, before.status) == (0, MapStatus.UPDATE_AVAILABLE)
    assert (after.current, after.status) == (1, MapStatus.RANKED)
    assert report.changed == [before.key]
    assert world.run(world.beatmaps.find(id=1)) == after
    assert world.board(before) == [recorded.score_id]
    assert (world.stats(alice).plays, world.stats(alice).pp) == (1, 0)
    assert world.problems() == []


def test_a_changed_file_keeps_the_status_of_the_map(world: World, songs: Path) -> None:
    world.add_map(a_map(id=1, version="Old"), MapStatus.LOVED)

    import_(world, write(songs, "a.osu", a_map(id=1, version="New")))

    now = world.run(world.beatmaps.find(id=1))
    assert (now.version, now.status, now.frozen) == ("New", MapStatus.LOVED, 1)


def test_an_old_file_that_comes_back_counts_again(world: World, songs: Path) -> None:
    old, new = a_map(id=1, version="Old"), a_map(id=1, version="New")
    alice = world.add_player(a_player())
    world.record(a_play(by=alice, on=world.add_map(old)))
    before = world.stats(alice)
    world.run(world.standing.rejudged(import_(world, write(songs, "a.osu", new)).changed))

    report = import_(world, write(songs, "a.osu", old))
    world.run(world.standing.rejudged(report.changed))

    assert (world.map(old.md5).current, world.map(new.md5).current) == (1, 0)
    assert world.stats(alice) == before
    assert world.problems() == []


# --- what is skipped, while the rest is imported


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "the file is empty"),
        (b"\x00\x01\x02", "the file is binary"),
        (b"hello", "the first line"),
        (a_map().data.split(b"[HitObjects]")[0], "no objects"),
        (a_map().data.replace(b"Mode: 0", b"Mode: 9"), "no mode 9"),
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


def test_a_map_that_cannot_be_rated_is_skipped_and_its_file_not_kept(world: World, songs: Path) -> None:
    bad, good = a_map(id=1), a_map(id=2)
    world.performance.cannot.add(bad.md5)
    write(songs, "bad.osu", bad)
    write(songs, "good.osu", good)

    report = import_(world, songs)

    assert (ids(world), reasons(report)) == ([2], ["the fake was told so"])
    assert world.run(world.files.size(osu_key(bad.md5))) is None


@pytest.mark.parametrize(
    "name", ["../evil.osu", "a/../../evil.osu", "/etc/evil.osu", "..\\evil.osu", "C:\\evil.osu", "C:/evil.osu"]
)
def test_an_entry_whose_path_leaves_the_archive_is_skipped(world: World, songs: Path, name: str) -> None:
    an_osz(songs / "a.osz", {name: a_map(id=1).data, "good.osu": a_map(id=2).data})

    report = import_(world, songs)

    assert (ids(world), reasons(report)) == ([2], ["the entry's path leaves the archive"])
    assert not list(songs.parent.rglob("evil*"))


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
    struct.pack_into("<H", data, central + 8, 1)  # the flag that says so, in the archive's directory
    path.write_bytes(data)

    report = import_(world, songs)

    assert (ids(world), reasons(report)) == ([2], ["the entry is encrypted"])


def test_an_archive_of_too_many_entries_is_skipped(world: World, songs: Path) -> None:
    an_osz(songs / "a.osz", {f"{n}.txt": b"" for n in range(ENTRIES_MAX)} | {"a.osu": a_map(id=1).data})
    an_osz(songs / "b.osz", {f"{n}.txt": b"" for n in range(ENTRIES_MAX - 1)} | {"a.osu": a_map(id=2).data})

    report = import_(world, songs)

    assert (ids(world), reasons(report)) == ([2], ["the archive has 501 entries; 500 are allowed"])


def test_an_archive_that_inflates_too_far_is_skipped(world: World, songs: Path) -> None:
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


def test_an_entry_that_inflates_further_than_it_says_is_skipped(world: World, songs: Path) -> None:
    path = an_osz(songs / "a.osz", {"liar.osu": bytes(OSU_MAX + 1), "good.osu": a_map(id=2).data})
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, 1_000)  # the size once inflated
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
def test_what_is_no_archive_is_skipped(world: World, songs: Path, data: bytes) -> None:
    (songs / "a.osz").write_bytes(data)
    write(songs, "good.osu", a_map(id=2))

    report = import_(world, songs)

    assert (ids(world), reasons(report)) == ([2], ["not a ZIP archive, or a damaged one"])


def test_an_archive_cut_at_any_byte_never_stops_the_import(world: World, songs: Path) -> None:
    whole = an_osz(songs / "whole.osz", {"a.osu": a_map(id=1, objects=3).data}).read_bytes()
    for size in range(0, len(whole), 7):
        (songs / f"cut{size}.osz").write_bytes(whole[:size])

    report = import_(world, songs)

    assert ids(world) == [1]
    assert len(report.skipped) == len(range(0, len(whole), 7))


def test_an_archive_without_maps_is_skipped(world: World, songs: Path) -> None:
    path = an_osz(songs / "a.osz", {"audio.mp3": b"noise"})

    report = import_(world, path)

    assert (report.maps, reasons(report)) == (0, ["the archive holds no .osu file"])


def test_a_path_that_is_nothing_or_something_else_is_skipped(world: World, songs: Path) -> None:
    (songs / "song.mp3").write_bytes(b"noise")
    (songs / "empty").mkdir()

    report = import_(world, songs / "gone", songs / "song.mp3", songs / "empty", write(songs, "a.osu", a_map()))

    assert report.maps == 1
    assert reasons(report) == [
        "there is no such file or folder",
        "neither a folder nor an .osz or .osu file",
        "the folder holds no .osu or .osz file",
    ]


def test_names_of_entries_in_any_encoding_are_fine(world: World, songs: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("\u66f2 \U0001f3b5.osu", a_map(id=1).data)
        archive.writestr("xx.osu", a_map(id=2).data)
    (songs / "a.osz").write_bytes(stream.getvalue().replace(b"xx.osu", b"\xff\xfe.osu"))

    report = import_(world, songs)

    assert (sorted(ids(world)), report.skipped) == ([1, 2], [])


def test_progress_goes_from_nothing_to_all(world: World, songs: Path) -> None:
    for n in (1, 2, 3):
        write(songs, f"{n}/a.osu", a_map(id=n))
    seen: list[tuple[int, int]] = []

    world.run(world.importer.import_paths([songs], progress=lambda done, total: seen.append((done, total))))

    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]

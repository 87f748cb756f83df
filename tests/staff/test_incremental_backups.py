"""Backups that copy only what is new: in a folder and in a bucket, plain and encrypted."""

import asyncio
import gzip
import itertools
import json
import os
import random
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from obstore.store import MemoryStore

from kiai.clock import ManualClock
from kiai.errors import Refused, Unavailable
from kiai.files.bucket_place import BucketPlace
from kiai.files.folder_place import FolderPlace
from kiai.files.places import BackupPlace
from kiai.files.port import StoredFile
from kiai.files.store import FileStore
from kiai.staff import backups
from kiai.staff.backup_folder import BackupFolder
from kiai.staff.backup_keys import BackupKey, make_key, read_key
from kiai.staff.backup_model import FILES, LIST, MANIFEST, BackedUpFile, Manifest
from kiai.staff.backup_reading import BackupReader
from kiai.staff.backup_retention import PARTIAL, Retention, backup_name
from kiai.staff.backups import CHECKED_PARTS, BackupSource, BackupWriter

DAY_MS = 86_400_000
REPLAY = "replays/3f/3f0c{:028x}"


class CountedFiles(FileStore):
    """A files store that remembers which files were read."""

    def __init__(self, folder: Path) -> None:
        store = FileStore.local(folder)
        super().__init__(store._store, store._writes)
        self.folder = folder
        self.read: list[str] = []

    async def get(self, key: str) -> bytes | None:
        self.read.append(key)
        return await super().get(key)


class Nightly:
    """A files store, and a place with its backups of each night."""

    def __init__(self, tmp_path: Path, place: BackupPlace, key: BackupKey | None) -> None:
        self.clock = ManualClock(1_800_000_000_000)
        self.files = CountedFiles(tmp_path / "files")
        self.place = place
        self.key = key
        self.folder = BackupFolder(place, None, Retention(last=100), self.clock, key)
        self.held: dict[str, dict[str, bytes]] = {}
        self._work = tmp_path

    def put(self, key: str, data: bytes, age_ms: int = DAY_MS) -> None:
        """Store a file that was written some time before now."""
        asyncio.run(self.files.put(key, data))
        at = (self.clock.now_ms() - age_ms) / 1000
        os.utime(self.files.folder / key, (at, at))

    def delete(self, key: str) -> None:
        asyncio.run(self.files.delete(key))

    def back_up(self) -> Manifest:
        """Write and verify the backup of the next night."""
        self.clock.advance(DAY_MS / 1000)
        self.files.read.clear()

        async def dump(into: Path) -> None:
            (into / "kiai.db").write_bytes(b"the database")

        async def write() -> Manifest:
            name = backup_name(self.clock.now_ms())
            work = self._work / name
            work.mkdir()
            source = BackupSource("sqlite", "1", dump, self.files, lambda: [("secret.key", b"secret")])
            chain = await self.folder.chain()
            writer = BackupWriter(self.place, name, source, work, self.clock, key=self.key, chain=chain)
            manifest = await writer.write(lambda path: None)
            self.held[name] = {one.key: (self.files.folder / one.key).read_bytes() async for one in self.files.keys("")}
            return manifest

        return asyncio.run(write())

    def prune(self, last: int) -> list[str]:
        self.folder._keep = Retention(last=last)
        removed = asyncio.run(self.folder.prune())
        for name in removed:
            self.held.pop(name, None)
        return removed

    def names(self) -> list[str]:
        return sorted(one.name for one in asyncio.run(self.folder.backups()) if one.ok)

    def reader(self, name: str) -> BackupReader:
        return BackupReader(self.place, name, self.key, self._work)

    def check_all(self) -> None:
        """Prove that each backup contains exactly the files of its night."""
        assert self.names() == sorted(self.held)
        for name, held in self.held.items():
            with self.reader(name) as reader:
                manifest = reader.manifest(engine="sqlite", schema="1")
                assert list(reader.faults(manifest)) == []
                assert {one.key: reader.read(reader.path_of(one)) for one in reader.listed()} == held


class Interrupted:
    """A place whose user is killed at an operation, the first of which is 0. A folder may have half of a file then."""

    def __init__(self, place: BackupPlace, at: int) -> None:
        self._place = place
        self._left = at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._place, name)

    def write(self, path: str, data: bytes) -> None:
        self._end(path, data)
        self._place.write(path, data)

    def upload(self, path: str, source: Path) -> None:
        self._end(path, source.read_bytes())
        self._place.upload(path, source)

    def sync(self, name: str) -> None:
        self._end()
        self._place.sync(name)

    def _end(self, path: str = "", data: bytes = b"") -> None:
        self._left -= 1
        if self._left < 0:
            if path and self._place.links:
                self._place.write(path, data[: len(data) // 2])
            raise Killed


class Killed(BaseException):
    """The end of a process that has no chance to clean up."""


KINDS = ("folder", "folder, encrypted", "bucket", "bucket, encrypted")


def nightly_of(kind: str, tmp_path: Path) -> Nightly:
    place: BackupPlace = BucketPlace(MemoryStore(), "s3://bucket/kiai")
    if kind.startswith("folder"):
        place = FolderPlace(tmp_path / "to")
    return Nightly(tmp_path, place, make_key(tmp_path / "key") if "encrypted" in kind else None)


@pytest.fixture(params=KINDS)
def nightly(request: pytest.FixtureRequest, tmp_path: Path) -> Nightly:
    return nightly_of(request.param, tmp_path)


def objects(nightly: Nightly) -> set[str]:
    """Return the paths of all files in all backups of a bucket."""
    place = nightly.place
    assert isinstance(place, BucketPlace)
    return {one["path"] for found in place._store.list() for one in found if f"/{FILES}/" in one["path"]}


def test_second_back_up_reads_and_writes_only_what_is_new(nightly: Nightly) -> None:
    for number in range(50):
        nightly.put(REPLAY.format(number), b"frames" * 1_000)
    nightly.put("avatars/3-abc.png", b"old")
    nightly.put("osz/7.osz", b"fresh", age_ms=-DAY_MS)  # while the backup runs: it may change once more
    first = nightly.back_up()
    nightly.put(REPLAY.format(50), b"new")
    nightly.put("avatars/3-abc.png", b"neu", age_ms=DAY_MS // 2)

    second = nightly.back_up()

    assert (first.new_files, second.new_files, second.files) == (52, 3, 53)
    assert sorted(nightly.files.read) == ["avatars/3-abc.png", "osz/7.osz", REPLAY.format(50)]
    assert first.new_bytes is not None
    assert second.new_bytes is not None
    assert second.new_bytes < first.new_bytes / 10
    assert second.base == nightly.names()[0]
    nightly.check_all()
    if nightly.place.links:
        held = [Path(nightly.place.shown, name, FILES, REPLAY.format(1)) for name in nightly.names()]
        assert held[0].samefile(held[1])
    listed = asyncio.run(nightly.folder.backups())
    assert [one.new_bytes for one in listed] == [second.new_bytes, first.new_bytes]


def test_removal_of_backups_never_damages_the_others(nightly: Nightly) -> None:
    chance = random.Random(7)
    keys = [REPLAY.format(number) for number in range(12)]
    for night in range(14):
        for key in keys:
            if chance.random() < 0.3:
                nightly.delete(key)
            elif chance.random() < 0.4:  # a deleted file may come back, with the same content
                nightly.put(key, key.encode())
        nightly.back_up()
        if night % 3 == 2:
            nightly.prune(chance.randint(1, 4))
            nightly.check_all()
        elif night == 4:  # an operator removes one in the middle
            gone = nightly.names()[1]
            asyncio.run(nightly.folder.discard(gone))
            del nightly.held[gone]
            nightly.check_all()
    nightly.prune(1)
    nightly.check_all()
    if not nightly.place.links:
        with nightly.reader(nightly.names()[0]) as reader:
            reader.manifest(engine="sqlite", schema="1")
            assert objects(nightly) == {reader.path_of(one) for one in reader.listed()}, "nothing unused stays"


def test_damaged_file_is_found_within_thirty_backups_and_copied_again(nightly: Nightly) -> None:
    key = REPLAY.format(1)
    nightly.put(key, b"frames")
    nightly.back_up()
    first = nightly.names()[0]
    path = f"{first}/{FILES}/{key}"
    if nightly.place.links:
        nightly.place.delete([path])  # not the inode of later backups
    nightly.place.write(path, b"frumes")

    copied = [nightly.back_up().new_files for _ in range(CHECKED_PARTS)]

    assert copied.count(1) == 1
    del nightly.held[first]
    newest = nightly.names()[-1]
    with nightly.reader(newest) as reader:
        assert list(reader.faults(reader.manifest(engine=None, schema="1"))) == []


def test_file_that_is_deleted_during_a_back_up_is_left_out_or_kept(nightly: Nightly) -> None:
    old, new = REPLAY.format(1), REPLAY.format(2)
    nightly.put(old, b"old")
    nightly.back_up()
    nightly.put(new, b"new")
    listing = nightly.files.keys

    async def keys(prefix: str) -> AsyncIterator[StoredFile]:
        found = [one async for one in listing(prefix)]
        for key in (old, new):  # the server deletes both after they were listed
            await nightly.files.delete(key)
        for one in found:
            yield one

    nightly.files.keys = keys  # type: ignore[method-assign]
    manifest = nightly.back_up()

    assert (manifest.files, manifest.new_files) == (1, 0)
    name = backup_name(nightly.clock.now_ms())
    with nightly.reader(name) as reader:
        assert list(reader.faults(reader.manifest(engine=None, schema="1"))) == []


def test_interrupted_back_up_and_removal_are_ended_by_the_next_run(
    nightly: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        nightly.put(REPLAY.format(number), b"frames")
    nightly.back_up()
    nightly.put(REPLAY.format(5), b"frames")
    with monkeypatch.context() as broken:
        broken.setattr(nightly.place, "sync", lambda name: (_ for _ in ()).throw(Unavailable("place", "killed")))
        with pytest.raises(Unavailable):
            nightly.back_up()
    partial = backup_name(nightly.clock.now_ms())
    nightly.check_all()

    nightly.delete(REPLAY.format(0))
    nightly.back_up()
    first = nightly.names()[0]
    with monkeypatch.context() as broken:
        broken.setattr(nightly.place, "remove", lambda name, but="": (_ for _ in ()).throw(Unavailable("p", "killed")))
        assert nightly.prune(1) == []
    del nightly.held[first]
    nightly.check_all()
    nightly.clock.advance(2 * DAY_MS / 1000)
    removed = set(nightly.prune(1))
    if nightly.place.links:
        assert removed == {first + PARTIAL}
    else:
        assert {name.removesuffix(PARTIAL) for name in removed} == {first, partial}
    nightly.check_all()


@pytest.mark.parametrize("kind", KINDS)
def test_backups_after_a_first_one_that_was_killed_anywhere_are_whole(tmp_path: Path, kind: str) -> None:
    complete: list[int] = []
    for operation in itertools.count():
        folder = tmp_path / str(operation)
        folder.mkdir()
        nightly = nightly_of(kind, folder)
        for number in range(4):
            nightly.put(REPLAY.format(number), b"frames")
        place: Any = nightly.place
        nightly.place = Interrupted(place, operation)
        try:
            nightly.back_up()
            break  # it has fewer operations
        except Killed:
            nightly.place = place
        first = nightly.names()
        complete.append(len(first))
        nightly.held |= {name: {REPLAY.format(number): b"frames" for number in range(4)} for name in first}

        second = nightly.back_up()
        nightly.put(REPLAY.format(4), b"new")
        third = nightly.back_up()

        assert (second.base, second.files, second.new_files) == ("".join(first), 4, 0 if first else 4)
        assert (third.base, third.files, third.new_files) == (nightly.names()[-2], 5, 1)
        nightly.check_all()
        nightly.prune(1)
        nightly.check_all()
    assert complete == [0] * 9 + [1], "the last operation comes after the manifest"


def test_nothing_is_removed_from_a_bucket_with_a_damaged_backup(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path, BucketPlace(MemoryStore(), "s3://bucket/kiai"), None)
    nightly.put(REPLAY.format(1), b"frames")
    for _ in range(3):
        nightly.back_up()
    names = nightly.names()
    whole = nightly.place.read(f"{names[2]}/{MANIFEST}")
    nightly.place.write(f"{names[2]}/{MANIFEST}", b"{")

    assert nightly.prune(1) == []
    fourth = nightly.back_up()
    assert fourth.passed_over == (names[2],)
    nightly.place.write(f"{names[2]}/{MANIFEST}", whole)
    nightly.check_all()
    assert nightly.prune(1) == names
    nightly.check_all()


def test_another_key_or_none_begins_a_new_full_backup(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path, BucketPlace(MemoryStore(), "s3://bucket/kiai"), make_key(tmp_path / "one"))
    nightly.put(REPLAY.format(1), b"frames")
    nightly.back_up()
    old = nightly.names()[0]
    nightly.key = nightly.folder.key = make_key(tmp_path / "two")

    manifest = nightly.back_up()

    assert (manifest.new_files, manifest.base, manifest.sequence) == (1, "", 2)
    assert nightly.prune(1) == [old]
    nightly.check_all()
    assert not any(path.startswith(old) for path in objects(nightly))


def test_wrong_or_missing_key_is_one_sentence(tmp_path: Path) -> None:
    made = make_key(tmp_path / "key")
    nightly = Nightly(tmp_path, FolderPlace(tmp_path / "to"), made)
    nightly.put(REPLAY.format(1), b"frames")
    nightly.back_up()
    [name] = nightly.names()
    other = make_key(tmp_path / "other")

    with pytest.raises(Refused, match="the backup is encrypted; name its key with --key FILE"):
        BackupReader(nightly.place, name).manifest(engine=None, schema="1")
    with pytest.raises(Refused, match=f"encrypted with the key {made.id}, but .*other contains the key {other.id}"):
        BackupReader(nightly.place, name, other).manifest(engine=None, schema="1")
    for text in ("", "AGE-SECRET-KEY-1NONSENSE", "age1public"):
        (tmp_path / "bad").write_text(text)
        with pytest.raises(Refused, match="must have one line that starts with AGE-SECRET-KEY-1"):
            read_key(tmp_path / "bad")
    with pytest.raises(Refused, match="No such file or directory; make it with `kiai backup-key FILE`"):
        read_key(tmp_path / "absent")
    with pytest.raises(Refused, match="exists; a new key would make the backups of the old one unreadable"):
        make_key(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert read_key(tmp_path / "key").id == made.id


def test_encrypted_backup_contains_nothing_in_the_clear(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path, FolderPlace(tmp_path / "to"), make_key(tmp_path / "key"))
    nightly.put(REPLAY.format(1), b"frames of a replay")
    nightly.back_up()

    found = {path: path.read_bytes() for path in (tmp_path / "to").rglob("*") if path.is_file()}
    sealed = {path.name for path, data in found.items() if data.startswith(b"age-encryption.org/v1")}
    assert sealed == {"kiai.db", LIST, "secret.key", REPLAY.format(1).rpartition("/")[2]}
    assert {path.name for path in found} - sealed == {MANIFEST}
    for data in found.values():
        assert b"frames" not in data
        assert b"the database" not in data
        assert b"replays/" not in data


def test_long_list_is_compressed_and_read_like_a_plain_one(nightly: Nightly, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(200):
        nightly.put(REPLAY.format(number), b"frames")
    plain = nightly.back_up()
    monkeypatch.setattr(backups, "COMPRESSED_FROM", 1)
    nightly.put(REPLAY.format(200), b"new")

    second = nightly.back_up()
    nightly.delete(REPLAY.format(3))
    third = nightly.back_up()

    assert (plain.format, second.format, third.format) == (2, 3, 3)
    assert (second.new_files, second.files, third.new_files, third.files) == (1, 201, 0, 200)
    assert second.base == nightly.names()[0]
    assert third.base == nightly.names()[1]
    sizes = [nightly.place.size(f"{name}/{LIST}") or 0 for name in nightly.names()]
    assert sizes[1] < sizes[0] / 1.5
    nightly.check_all()
    nightly.prune(last=1)
    nightly.check_all()


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[:9] + b"\0" * 9 + data[18:]])
def test_damaged_compressed_list_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(backups, "COMPRESSED_FROM", 1)
    nightly = Nightly(tmp_path, BucketPlace(MemoryStore(), "s3://bucket/kiai"), None)
    nightly.put(REPLAY.format(1), b"frames")
    nightly.back_up()
    [name] = nightly.names()
    path = f"{name}/{LIST}"
    nightly.place.write(path, damage(nightly.place.read(path)))

    with nightly.reader(name) as reader, pytest.raises(Refused, match="is damaged"):
        list(reader.listed())


def test_line_without_an_end_takes_little_memory(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path, BucketPlace(MemoryStore(), "s3://bucket/kiai"), None)
    nightly.back_up()
    [name] = nightly.names()
    nightly.place.write(f"{name}/{LIST}", gzip.compress(b" " * (64 << 20)))

    tracemalloc.start()
    with nightly.reader(name) as reader, pytest.raises(Refused, match=r"line 1, is damaged"):
        list(reader.listed())
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 8 << 20


def test_list_cannot_name_a_place_outside(tmp_path: Path) -> None:
    nightly = Nightly(tmp_path, BucketPlace(MemoryStore(), "s3://bucket/kiai"), None)
    nightly.back_up()
    [name] = nightly.names()
    nightly.place.write(f"{name}/{LIST}", json.dumps({"key": "a", "size": 1, "sha256": "", "within": "../x"}).encode())

    with nightly.reader(name) as reader, pytest.raises(Refused, match="is not the name of a backup"):
        list(reader.listed())


def test_files_have_the_content_of_their_listed_checksum(nightly: Nightly) -> None:
    nightly.put("osz/7.osz", b"archive")
    nightly.back_up()
    [name] = nightly.names()
    with nightly.reader(name) as reader:
        [listed] = [one for one in _listed(reader) if one.key == "osz/7.osz"]
        nightly.place.write(reader.path_of(listed), b"archivf")
        with pytest.raises(Refused, match=r"osz/7\.osz of the backup is damaged"):
            reader.content(reader.path_of(listed), listed)


def _listed(reader: BackupReader) -> list[BackedUpFile]:
    reader.manifest(engine=None, schema="1")
    return list(reader.listed())

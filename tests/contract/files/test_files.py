"""The guarantees of `kiai.files.port` for all adapters, and those of the local folder."""

import asyncio
import errno
import os
import resource
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from obstore.store import MemoryStore, ObjectStore
from tests.buckets import an_s3

from kiai.errors import Unavailable
from kiai.files import store
from kiai.files.port import Files, StoredFile, is_key
from kiai.files.store import CHUNK_BYTES, LARGE_BYTES, LARGE_READS, LEFT_OVER_S, WAITING_MAX, FileStore

KEY = "replays/3f/3f0c"


@pytest.fixture(params=["local", "memory", "s3"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    """Each adapter, empty."""
    if request.param == "local":
        return FileStore.local(tmp_path / "files")
    if request.param == "s3":
        return FileStore.s3(*an_s3().bucket())
    return FileStore(MemoryStore())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the local store."""
    return tmp_path / "files"


async def collected(stream: AsyncIterator[bytes] | None) -> bytes | None:
    return None if stream is None else b"".join([chunk async for chunk in stream])


async def listed(files: Files, prefix: str) -> dict[str, StoredFile]:
    return {file.key: file async for file in files.keys(prefix)}


# --- on every adapter -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"frames", bytes(range(256)) * 8_192])
def test_put_file_is_returned_unchanged(files: Files, data: bytes) -> None:
    async def scenario() -> tuple[bytes | None, int | None, bytes | None]:
        await files.put(KEY, data)
        return await files.get(KEY), await files.size(KEY), await collected(await files.stream(KEY))

    assert asyncio.run(scenario()) == (data, len(data), data)


@pytest.mark.parametrize("size", [0, 1, 12 * 1024 * 1024])
def test_copy_of_a_local_file_is_returned_unchanged_and_replaces_the_last_one(
    files: Files, tmp_path: Path, size: int
) -> None:
    source = tmp_path / "export.zip"
    source.write_bytes(os.urandom(size))

    async def scenario() -> bytes | None:
        await files.put(KEY, b"old")
        await files.put_file(KEY, source)
        return await files.get(KEY)

    assert asyncio.run(scenario()) == source.read_bytes()


def test_calls_are_timed_by_operation(files: Files) -> None:
    async def scenario() -> None:
        await files.put(KEY, b"frames")
        await files.get(KEY)
        await files.get("replays/3f/other")
        await files.size(KEY)
        await files.delete(KEY)

    asyncio.run(scenario())

    calls = {op: sum(counts[:-1]) for op, counts in files.timings.by_op.items()}
    assert calls == {"put": 1, "get": 2, "size": 1, "delete": 1}


def test_missing_file_is_none(files: Files) -> None:
    async def scenario() -> list[object]:
        await files.put(KEY, b"frames")
        return [await ask("replays/3f/other") for ask in (files.get, files.size, files.stream)]

    assert asyncio.run(scenario()) == [None, None, None]


def test_folder_is_not_a_file(files: Files) -> None:
    async def scenario() -> list[object]:
        await files.put(KEY, b"frames")
        return [await ask("replays/3f") for ask in (files.get, files.size, files.stream)]

    assert asyncio.run(scenario()) == [None, None, None]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, None, b"0123456789"),
        (3, None, b"3456789"),
        (0, 4, b"0123"),
        (3, 7, b"3456"),
        (3, 3, b""),
        (9, 10, b"9"),
        (7, 99, b"789"),
        (10, None, b""),
        (11, 99, b""),
    ],
)
def test_stream_returns_the_existing_part_of_a_range(
    files: Files, start: int, end: int | None, expected: bytes
) -> None:
    async def scenario() -> bytes | None:
        await files.put(KEY, b"0123456789")
        return await collected(await files.stream(KEY, start, end))

    assert asyncio.run(scenario()) == expected


def test_second_put_replaces_the_first(files: Files) -> None:
    async def scenario() -> tuple[bytes | None, int | None, int]:
        await files.put(KEY, b"a long first text")
        await files.put(KEY, b"short")
        return await files.get(KEY), await files.size(KEY), len(await listed(files, ""))

    assert asyncio.run(scenario()) == (b"short", 5, 1)


def test_reader_sees_only_complete_files_during_many_writes(files: Files) -> None:
    versions = [bytes([number]) * 100_000 for number in range(20)]

    async def scenario() -> set[bytes]:
        await files.put(KEY, versions[0])
        writing = asyncio.gather(*(files.put(KEY, version) for version in versions))
        seen: set[bytes] = set()
        while not writing.done():
            seen.add(await files.get(KEY) or b"")
        await writing
        seen.add(await files.get(KEY) or b"")
        assert list(await listed(files, "")) == [KEY]
        return seen

    assert asyncio.run(scenario()) <= set(versions)


def test_deleted_file_is_gone_and_can_be_deleted_again(files: Files) -> None:
    async def scenario() -> tuple[bytes | None, int]:
        await files.put(KEY, b"frames")
        await files.delete(KEY)
        await files.delete(KEY)
        return await files.get(KEY), len(await listed(files, ""))

    assert asyncio.run(scenario()) == (None, 0)


def test_keys_lists_the_files_below_a_prefix(files: Files) -> None:
    async def scenario() -> list[set[str]]:
        for key in ("replays/3f/3f0c", "replays/40/4011", "replays2/3f", "osu/3f.osu", "top"):
            await files.put(key, b"x")
        return [set(await listed(files, prefix)) for prefix in ("replays/", "replays/3f/", "nothing/", "")]

    assert asyncio.run(scenario()) == [
        {"replays/3f/3f0c", "replays/40/4011"},
        {"replays/3f/3f0c"},
        set(),
        {"replays/3f/3f0c", "replays/40/4011", "replays2/3f", "osu/3f.osu", "top"},
    ]


def test_keys_has_sizes_and_times(files: Files) -> None:
    before_ms = time.time() * 1000

    async def scenario() -> StoredFile:
        await files.put(KEY, b"frames")
        return (await listed(files, "replays/"))[KEY]

    file = asyncio.run(scenario())
    assert (file.key, file.size) == (KEY, 6)
    assert before_ms - 2_000 <= file.modified_ms <= time.time() * 1000 + 2_000


def test_keys_lists_more_than_one_page(files: Files) -> None:
    async def scenario() -> int:
        for first in range(0, 1_000, 20):
            await asyncio.gather(*(files.put(f"avatars/{number}", b"x") for number in range(first, first + 20)))
        await files.put("avatars/last", b"x")
        return len(await listed(files, "avatars/"))

    assert asyncio.run(scenario()) == 1_001


def test_working_store_passes_repeated_checks(files: Files) -> None:
    async def scenario() -> bytes | None:
        await asyncio.gather(*(files.check() for _ in range(5)))
        await files.check()
        return await files.get("check")

    assert asyncio.run(scenario()) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        "..",
        "a/../b",
        "a/./b",
        ".hidden",
        "a/.b",
        "A",
        "a b",
        "a\\b",
        "a\0",
        "ä",
        "a#1",
        "a\n",
    ],
)
def test_every_method_rejects_invalid_keys(files: Files, text: str) -> None:
    async def scenario() -> None:
        for verb in (files.get, files.size, files.stream, files.delete):
            with pytest.raises(ValueError):
                await verb(text)
        with pytest.raises(ValueError):
            await files.put(text, b"x")

    assert not is_key(text)
    asyncio.run(scenario())


# --- the local folder -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", [None, errno.EOPNOTSUPP, errno.EACCES])
def test_put_syncs_the_file_before_it_has_its_name_and_the_folder_before_it_returns(
    folder: Path, monkeypatch: pytest.MonkeyPatch, refusal: int | None
) -> None:
    files = FileStore.local(folder)
    happened: list[str] = []
    fsync, replace, link = os.fsync, os.replace, os.link

    def noted_fsync(handle: int) -> None:
        fsync(handle)
        inode = os.fstat(handle).st_ino
        named = [str(p.relative_to(folder)) for p in [folder, *folder.rglob("*")] if p.stat().st_ino == inode]
        happened.append(named[0] if named else "unnamed")

    def noted_link(source: str, target: str, **options: Any) -> None:
        if refusal is not None:
            raise OSError(refusal, "unnamed files get no name here")
        link(source, target, **options)
        happened.append(f"link {target}")

    def noted_replace(source: str, target: str) -> None:
        replace(source, target)
        happened.append(f"rename {Path(target).relative_to(folder)}")

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    monkeypatch.setattr(os, "link", noted_link)
    asyncio.run(files.put(KEY, b"frames"))
    first, happened[:] = list(happened), []
    asyncio.run(files.put(KEY, b"more frames"))
    assert asyncio.run(files.get(KEY)) == b"more frames"

    renamed = [KEY, f"rename {KEY}", "replays/3f"]
    assert first[:2] == [".", "replays"], "the entries of new folders"
    if refusal is None:
        assert first[2:] == ["unnamed", "link 3f0c", "replays/3f"]
    else:
        assert first[2] == "unnamed"
        assert [first[3].partition("#")[0], *first[4:]] == renamed
    assert [happened[0].partition("#")[0], *happened[1:]] == renamed


def test_without_proc_only_the_first_file_is_written_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = FileStore.local(folder)
    written: list[bytes] = []
    write = os.write

    def noted_write(handle: int, data: bytes) -> int:
        written.append(bytes(data))
        return write(handle, data)

    monkeypatch.setattr(store, "_DESCRIPTORS", str(folder / "no-proc"))
    asyncio.run(files.put("replays/3f0c", b"first"))
    monkeypatch.setattr(os, "write", noted_write)

    asyncio.run(files.put("replays/4a1d", b"second"))

    assert written == [], "no unnamed file"
    assert asyncio.run(files.get("replays/4a1d")) == b"second"


def test_large_file_is_streamed_in_chunks(folder: Path) -> None:
    files = FileStore.local(folder)

    async def scenario() -> list[int]:
        await files.put(KEY, bytes(3_000_000))
        stream = await files.stream(KEY, 1)
        assert stream is not None
        return [len(chunk) async for chunk in stream]

    sizes = asyncio.run(scenario())
    assert sum(sizes) == 2_999_999
    assert max(sizes) <= 2 * CHUNK_BYTES


class HeldStore:
    """A store whose files have their size as key, and whose data comes when the test allows it."""

    def __init__(self) -> None:
        self.allowed = asyncio.Event()
        self.reads: list[int] = []  # the size of each file whose data was asked for

    async def get_async(self, key: str) -> "HeldFile":
        return HeldFile(self, int(key))


class HeldFile:
    """A file of a `HeldStore`."""

    def __init__(self, store: HeldStore, size: int) -> None:
        self.meta = {"size": size}
        self._store = store

    async def bytes_async(self) -> bytes:
        self._store.reads.append(self.meta["size"])
        await self._store.allowed.wait()
        return bytes(self.meta["size"])


def test_only_a_few_large_files_are_in_memory_at_once() -> None:
    async def scenario() -> tuple[list[int], list[int], list[bytes | None]]:
        store = HeldStore()
        files = FileStore(cast(ObjectStore, store))
        large = [asyncio.create_task(files.get(str(LARGE_BYTES + 1))) for _ in range(3 * LARGE_READS)]
        small = [asyncio.create_task(files.get(str(LARGE_BYTES))) for _ in range(3 * LARGE_READS)]
        for _ in range(10):  # turns of the event loop: nothing here waits for anything else
            await asyncio.sleep(0)
        before = store.reads.copy()
        store.allowed.set()
        return before, store.reads, await asyncio.gather(*large, *small)

    before, after, found = asyncio.run(scenario())

    assert before.count(LARGE_BYTES) == 3 * LARGE_READS
    assert before.count(LARGE_BYTES + 1) == LARGE_READS
    assert after.count(LARGE_BYTES + 1) == 3 * LARGE_READS
    assert len([one for one in found if one]) == 6 * LARGE_READS


def test_full_disk_raises_unavailable_and_damages_no_file(folder: Path, small_files_only: Callable[[], None]) -> None:
    files = FileStore.local(folder)
    asyncio.run(files.put(KEY, b"the old frames"))

    small_files_only()
    with pytest.raises(Unavailable) as refusal:
        asyncio.run(files.put(KEY, bytes(5 * 2**20)))

    assert refusal.value.part == "files"
    assert refusal.value.reason
    assert asyncio.run(files.get(KEY)) == b"the old frames"
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["3f0c"]


@pytest.fixture
def small_files_only() -> Iterator[Callable[[], None]]:
    """Limit files to 4 MiB. This resembles a full disk and needs no privileges."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4 * 2**20, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_check_fails_while_the_store_cannot_write(folder: Path) -> None:
    files = FileStore.local(folder)
    asyncio.run(files.put(KEY, b"frames"))
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.write_text("not a folder")

    for verb in (files.check(), files.put("replays/3f/new", b"x"), files.get(KEY), files.size(KEY), files.delete(KEY)):
        with pytest.raises(Unavailable):
            asyncio.run(verb)

    folder.unlink()
    aside.rename(folder)
    asyncio.run(files.check())
    assert asyncio.run(files.get(KEY)) == b"frames"


def test_folder_that_cannot_be_created_raises_unavailable(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")

    with pytest.raises(Unavailable, match="files"):
        FileStore.local(tmp_path / "data" / "files")


def test_removed_folder_is_created_again(folder: Path) -> None:
    files = FileStore.local(folder)
    asyncio.run(files.put(KEY, b"frames"))
    (folder / KEY).unlink()
    (folder / "replays/3f").rmdir()

    with pytest.raises(Unavailable):
        asyncio.run(files.put(KEY, b"frames"))
    asyncio.run(files.put(KEY, b"frames"))

    assert asyncio.run(files.get(KEY)) == b"frames"


def test_file_of_a_cancelled_put_is_complete_or_absent(folder: Path) -> None:
    files = FileStore.local(folder)
    data = bytes(4 * 2**20)

    async def scenario() -> bytes | None:
        task = asyncio.create_task(files.put(KEY, data))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await files.get(KEY)

    assert asyncio.run(scenario()) in (None, data)


def test_full_queue_of_writes_rejects_at_once(folder: Path) -> None:
    files = FileStore.local(folder)

    async def scenario() -> list[BaseException | None]:
        puts = (files.put(f"osu/{number}", b"") for number in range(WAITING_MAX + 5))
        answers = await asyncio.gather(*puts, return_exceptions=True)
        await files.put("osu/after", b"")
        return answers

    refused = [answer for answer in asyncio.run(scenario()) if answer is not None]
    assert len(refused) == 5
    assert all(isinstance(answer, Unavailable) for answer in refused)


def test_foreign_files_in_the_folder_are_not_listed(folder: Path) -> None:
    files = FileStore.local(folder)
    asyncio.run(files.put(KEY, b"frames"))
    for name in ("3f0c#12", ".DS_Store", "READ ME.txt"):
        (folder / "replays/3f" / name).write_text("x")

    assert list(asyncio.run(listed(files, "replays/"))) == [KEY]


def test_sweep_deletes_only_old_temporary_files(folder: Path) -> None:
    files = FileStore.local(folder)
    asyncio.run(files.put(KEY, b"frames"))
    old, young = (folder / "replays/3f" / f"3f0c#{number}" for number in (1, 2))
    for path in (old, young, folder / KEY):
        path.write_text("x")
    long_ago = time.time() - LEFT_OVER_S - 60
    for path in (old, folder / KEY):
        os.utime(path, (long_ago, long_ago))

    assert asyncio.run(files.sweep()) == 1
    assert {path.name for path in (folder / "replays/3f").iterdir()} == {"3f0c", "3f0c#2"}


def test_sweep_of_an_object_store_does_nothing() -> None:
    assert asyncio.run(FileStore(MemoryStore()).sweep()) == 0

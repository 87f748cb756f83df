"""Files of a bucket are read and written many at once: each waits for the network."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from obstore.store import MemoryStore
from tests import engines
from tests.patience import patiently

from kiai.backup_stores import restore
from kiai.clock import ManualClock
from kiai.errors import Unavailable
from kiai.files.bucket_place import BucketPlace
from kiai.files.store import FileStore
from kiai.settings import load_settings
from kiai.staff.backup_reading import BackupReader
from kiai.staff.backup_retention import NextBackup
from kiai.staff.backup_threads import AT_ONCE, in_order
from kiai.staff.backups import BackupSource, BackupWriter
from kiai.storage.dumping import SQLITE_FILE
from kiai.storage.migrating import newest

FILES = 2 * AT_ONCE
NAMES = ("kiai-20270101T000000Z", "kiai-20270102T000000Z")
WAIT_S = 10.0


class FarBucket(BucketPlace):
    """A bucket that answers a read or a write of a file when `AT_ONCE` of its kind have been asked."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(), "s3://far")
        self._kinds = {kind: threading.Barrier(AT_ONCE) for kind in ("read", "write")}

    def read(self, path: str) -> bytes:
        self._arrive("read", path)
        return super().read(path)

    def write(self, path: str, data: bytes) -> None:
        self._arrive("write", path)
        super().write(path, data)

    def _arrive(self, kind: str, path: str) -> None:
        if "/files/" in path:
            self._kinds[kind].wait(patiently(WAIT_S))


def test_backup_check_and_restore_use_a_bucket_many_times_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, clock = FarBucket(), ManualClock(1_800_000_000_000)
    # Every unchanged file is compared with its checksum.
    monkeypatch.setattr("kiai.staff.backups.CHECKED_PARTS", 1)
    files = FileStore.local(tmp_path / "files")
    keys = [f"replays/3f/3f0c{number:028x}" for number in range(FILES)]

    async def dump(into: Path) -> None:
        (into / SQLITE_FILE).write_bytes(engines.sqlite_template().read_bytes())

    async def write(name: str, chain: NextBackup) -> int | None:
        work = tmp_path / name
        work.mkdir()
        source = BackupSource("sqlite", newest(), dump, files)
        manifest = await BackupWriter(place, name, source, work, clock, chain=chain).write(lambda path: None)
        return manifest.new_files

    async def work() -> None:
        for number, key in enumerate(keys):
            await files.put(key, b"replay %d" % number)

        assert await write(NAMES[0], NextBackup()) == FILES
        assert await write(NAMES[1], NextBackup(base=NAMES[0], sequence=1)) == 0
        with BackupReader(place, NAMES[1], None, tmp_path) as reader:
            assert list(reader.faults(reader.described())) == []
            restored = load_settings(data=tmp_path / "restored", files=str(tmp_path / "restored files"))
            assert (await restore(restored, reader)).files == FILES
        other = FileStore.local(tmp_path / "restored files")
        assert [await other.get(key) for key in keys] == [await files.get(key) for key in keys]

    asyncio.run(work())


def test_results_are_in_order_and_an_error_is_raised_at_its_place() -> None:
    later = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            later.wait(patiently(WAIT_S))
        if number == 1:
            later.set()
        if number == AT_ONCE:
            raise Unavailable("bucket", "gone")
        return number * number

    results = in_order(work, range(100))

    assert [next(results) for _ in range(AT_ONCE)] == [(number, number * number) for number in range(AT_ONCE)]
    with pytest.raises(Unavailable):
        next(results)


def test_inputs_are_taken_as_they_are_needed() -> None:
    taken = []

    def inputs() -> Iterator[int]:
        for number in range(1_000):
            taken.append(number)
            yield number

    results = in_order(str, inputs())
    assert next(results) == (0, "0")
    results.close()  # type: ignore[attr-defined]

    assert len(taken) == AT_ONCE + 1

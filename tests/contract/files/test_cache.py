"""The cache of files that can be made again: its age and its number of files are bounded."""

import asyncio
import time
from pathlib import Path

from kiai.clock import ManualClock
from kiai.errors import Unavailable
from kiai.files.cache import FOLDERS, FileCache
from kiai.files.store import FileStore

NOW_MS = time.time_ns() // 1_000_000


def test_files_beyond_the_number_of_a_folder_are_deleted_oldest_first(tmp_path: Path) -> None:
    async def scenario() -> None:
        files = FileStore.local(tmp_path)
        cache = FileCache(files, ManualClock(NOW_MS), "cards", days=7, per_folder=1)
        for n in range(600):
            await cache.put(f"{n}.png", b"x")

        deleted = sum([await cache.sweep() for _ in range(FOLDERS)])

        left = [stored.key async for stored in files.keys("cards/")]
        assert len(left) <= FOLDERS
        assert deleted == 600 - len(left)
        assert len({key.split("/")[1] for key in left}) == len(left), "one in each folder"

    asyncio.run(scenario())


def test_old_files_are_deleted(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = ManualClock(NOW_MS)
        cache = FileCache(FileStore.local(tmp_path), clock, "cards", days=7, per_folder=100)
        await cache.put("a.png", b"x")

        assert sum([await cache.sweep() for _ in range(FOLDERS)]) == 0
        clock.advance(8 * 86_400)
        assert sum([await cache.sweep() for _ in range(FOLDERS)]) == 1
        assert await cache.get("a.png") is None

    asyncio.run(scenario())


def test_store_that_cannot_write_does_not_fail_the_caller(tmp_path: Path) -> None:
    class Full(FileStore):
        async def put(self, key: str, data: bytes) -> None:
            raise Unavailable("files", "full")

    async def scenario() -> None:
        local = FileStore.local(tmp_path)
        local.__class__ = Full
        cache = FileCache(local, ManualClock(NOW_MS), "cards", days=7, per_folder=100)

        await cache.put("a.png", b"x")

        assert await cache.get("a.png") is None

    asyncio.run(scenario())

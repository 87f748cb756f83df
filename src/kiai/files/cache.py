"""Files that can be made again at any time, with a bound on their number and age.

The files are in 256 folders, and a job sweeps one folder at a time. A backup may contain them, but nothing is lost
without them.
"""

import hashlib
from typing import Final

from kiai.clock import Clock
from kiai.errors import Unavailable
from kiai.files.port import Files, StoredFile
from kiai.logs import Outage

FOLDERS: Final = 256
DAY_MS: Final = 86_400_000


class FileCache:
    """Caches files below the folder `folder`. Names must be keys without a slash (`files/port.py`).

    A file is deleted `days` days after it was made. Of more than `per_folder` files in one of the 256 folders, the
    oldest are deleted at the next sweep.
    """

    def __init__(self, files: Files, clock: Clock, folder: str, *, days: int, per_folder: int) -> None:
        self._files = files
        self._clock = clock
        self._folder = folder
        self._days = days
        self._per_folder = per_folder
        self._swept = FOLDERS - 1
        self._not_stored = Outage(folder, "not stored", "stored again")

    async def get(self, name: str) -> bytes | None:
        """Return a file, or None. Raises Unavailable."""
        return await self._files.get(self._key(name))

    async def put(self, name: str, data: bytes) -> None:
        """Store a file. A failure is logged and not raised: the file is made again by the next request."""
        try:
            await self._files.put(self._key(name), data)
            self._not_stored.worked()
        except Unavailable as error:
            self._not_stored.failed(error, name=name)

    async def sweep(self) -> int:
        """Delete the files of one folder that are too old or too many, and return their number. A job calls this."""
        self._swept = (self._swept + 1) % FOLDERS
        oldest_ms = self._clock.now_ms() - self._days * DAY_MS
        left: list[StoredFile] = []
        deleted = 0
        async for stored in self._files.keys(f"{self._folder}/{self._swept:02x}/"):
            if stored.modified_ms < oldest_ms:
                await self._files.delete(stored.key)
                deleted += 1
            else:
                left.append(stored)
        left.sort(key=lambda stored: stored.modified_ms)
        for stored in left[: max(len(left) - self._per_folder, 0)]:
            await self._files.delete(stored.key)
            deleted += 1
        return deleted

    def _key(self, name: str) -> str:
        return f"{self._folder}/{hashlib.blake2b(name.encode(), digest_size=1).hexdigest()}/{name}"

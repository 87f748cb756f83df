"""Files that no row names any more, kept for as long as a back-up may last.

A back-up copies the database first and the files after it. A file that a row named when the database was copied must
still be there when its turn comes, so nothing deletes such a file at once. It is retired: an empty file of the name
`retired/KEY` says since when nothing names KEY. A later sweep deletes both.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from kiai.clock import Clock
from kiai.files.port import Files

BACK_UP_MAX_S: Final = 86_400
"""How long a back-up may take, in seconds. One that takes longer fails (`staff/backups.py`)."""
RETIRED: Final = "retired/"


class Retired:
    """Retires files and deletes them when their time has come. Keys are never used again once they are retired."""

    def __init__(self, files: Files, clock: Clock) -> None:
        self._files = files
        self._clock = clock

    async def add(self, key: str) -> None:
        """Nothing names this file from now on. Raises Unavailable."""
        await self._files.put(f"{RETIRED}{key}", b"")

    async def sweep(self, is_named: Callable[[str], Awaitable[bool]]) -> int:
        """Deletes files that were retired more than BACK_UP_MAX_S ago; how many. Raises Unavailable.

        `is_named` tells whether a row names the key after all, because the change of the row failed after `add`: such
        a file stays. A job's work.
        """
        before = self._clock.now_ms() - BACK_UP_MAX_S * 1000
        deleted = 0
        async for note in self._files.keys(RETIRED):
            if note.modified_ms >= before:
                continue
            key = note.key.removeprefix(RETIRED)
            if not await is_named(key):
                await self._files.delete(key)
                deleted += 1
            await self._files.delete(note.key)
        return deleted

"""Delayed deletion of files, so that a running backup finds every file that its copy of the database refers to.

A backup copies the database first and the files afterwards. A file that no row refers to any longer is therefore
retired, not deleted: an empty file `retired/KEY` records the time, and a later sweep deletes both.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from kiai.clock import Clock
from kiai.files.port import Files

BACK_UP_MAX_S: Final = 86_400
"""Time limit of a backup, in seconds. A longer one fails (`staff/backups.py`)."""
RETIRED: Final = "retired/"


class RetiredFiles:
    """Retires files and deletes them later. A key must not be used again after it was retired."""

    def __init__(self, files: Files, clock: Clock) -> None:
        self._files = files
        self._clock = clock

    async def add(self, key: str) -> None:
        """Retire a file. Raises Unavailable."""
        # The marker needs no content: its modification time is the time of retirement.
        await self._files.put(f"{RETIRED}{key}", b"")

    async def sweep(self, is_referenced: Callable[[str], Awaitable[bool]]) -> int:
        """Delete the files retired more than BACK_UP_MAX_S ago. Return their number. A job calls this.

        `is_referenced` returns whether a row still refers to a key, which happens when the change of the row failed
        after `add`; such a file is not deleted. Raises Unavailable.
        """
        before = self._clock.now_ms() - BACK_UP_MAX_S * 1000
        deleted = 0
        async for marker in self._files.keys(RETIRED):
            if marker.modified_ms >= before:
                continue
            key = marker.key.removeprefix(RETIRED)
            if not await is_referenced(key):
                await self._files.delete(key)
                deleted += 1
            # The marker last: a sweep that dies in between finds the file again.
            await self._files.delete(marker.key)
        return deleted

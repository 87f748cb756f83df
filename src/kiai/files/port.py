"""The `Files` port: bytes under keys.

A key is a relative path that the server generates from ids and hashes, e.g. `replays/3f/3f0c...`. It never contains
text from a client.

All adapters guarantee the following (tests/contract/files):
- A reader sees the complete data of one `put`, never a part of it. `keys` does not list unfinished files.
- When `put` returns, the data survives the end of the process and a power cut. With an object store, the durability is
  that of the service.
- A missing file reads as None, and deleting it is not an error.
- A store that fails raises `Unavailable("files", reason)` and leaves the previous data under the key.
"""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, Protocol

import msgspec

from kiai.measuring import PoolUsage, Timings

_KEY: Final = re.compile(r"(?:[a-z0-9_-][a-z0-9_.-]*/)*[a-z0-9_-][a-z0-9_.-]*")


def is_key(text: str) -> bool:
    """Return whether `text` is a key: segments of `[a-z0-9_.-]` between slashes, not empty, not starting with a dot."""
    # No dot at the start excludes `..`. No upper case: some stores do not distinguish `A` from `a`.
    return _KEY.fullmatch(text) is not None


class StoredFile(msgspec.Struct, frozen=True):
    """A file in a listing. `size` is in bytes, `modified_ms` is unix time."""

    key: str
    size: int
    modified_ms: int


class Files(Protocol):
    """The port; the adapter is `store.FileStore`. Keys must satisfy `is_key`.

    `timings` has the durations of `put`, `get` (for a stream: of opening it), `size` and `delete`.
    """

    timings: Timings

    def pool(self) -> PoolUsage | None:
        """Return the usage of the threads that write; None for a store without such threads."""
        ...

    async def put(self, key: str, data: bytes) -> None:
        """Store `data` under `key` and replace an existing file, atomically and durably. Raises Unavailable."""
        ...

    async def put_file(self, key: str, path: Path) -> None:
        """Store a copy of a local file under `key`, as `put` does, in constant memory. Raises Unavailable."""
        ...

    async def get(self, key: str) -> bytes | None:
        """Return the whole file, or None. Raises Unavailable."""
        ...

    async def stream(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes] | None:
        """Return the bytes from `start` up to, but not including, `end` in chunks, or None without such a file.

        `end` of None means the end of the file. A range past the end is cut; one that starts there is empty. Raises
        Unavailable, also from the iterator.
        """
        ...

    async def size(self, key: str) -> int | None:
        """Return the size of the file in bytes, or None. Raises Unavailable."""
        ...

    async def delete(self, key: str) -> None:
        """Delete the file if it exists. Raises Unavailable."""
        ...

    def keys(self, prefix: str) -> AsyncIterator[StoredFile]:
        """Return all files below `prefix`: a folder with its slash (`replays/`), or "". Raises Unavailable.

        The order is not defined.
        """
        ...

    async def sweep(self) -> int:
        """Delete unfinished files of dead processes that are older than a day. Return their number."""
        ...

    async def check(self) -> None:
        """Write and read a small file, `check`. Raises Unavailable when that fails."""
        ...

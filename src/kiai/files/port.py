"""The files store as the subjects see it: bytes under keys.

A key is a relative path of our own making, from ids and hashes (`replays/3f/3f0c...`), never from a client's text.

Promises, the same on every adapter (tests/contract/files holds them):
- a reader sees the whole of one `put` or the whole of another, never a part, and never an unfinished one in `keys`;
- when `put` returns, the bytes survive the end of the process and a power cut (an object store: what the service says);
- what is not there is None, and deleting it is no error;
- a store that cannot do its work raises `Unavailable("files", reason)`; whatever was under the key is still there.
"""

import re
from collections.abc import AsyncIterator
from typing import Final, Protocol

import msgspec

from kiai.measuring import Pool, Timings

_KEY: Final = re.compile(r"(?:[a-z0-9_-][a-z0-9_.-]*/)*[a-z0-9_-][a-z0-9_.-]*")


def is_key(text: str) -> bool:
    """Whether this is a key: `[a-z0-9_.-]` in segments between slashes, none of them empty or beginning with a dot."""
    return _KEY.fullmatch(text) is not None


class StoredFile(msgspec.Struct, frozen=True):
    """What a listing tells of a file. `size` in bytes, `modified_ms` as unix time."""

    key: str
    size: int
    modified_ms: int


class Files(Protocol):
    """The port; the adapter is `store.FileStore`. Keys must satisfy `is_key`.

    `timings`: how long it took to `put`, `get` (a stream: to open it), ask for the `size` and `delete`.
    """

    timings: Timings

    def pool(self) -> Pool | None:
        """The threads that write; None for a store that has none."""
        ...

    async def put(self, key: str, data: bytes) -> None:
        """Stores `data` under `key`, replacing what is there; atomic and durable. Raises Unavailable."""
        ...

    async def get(self, key: str) -> bytes | None:
        """The whole file, or None. Raises Unavailable."""
        ...

    async def stream(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes] | None:
        """The bytes from `start` up to, not including, `end` (None: the file's end), in chunks; None for no file.

        A range that reaches past the end is cut, one that begins there is empty. Raises Unavailable, from the iterator
        too.
        """
        ...

    async def size(self, key: str) -> int | None:
        """The file's size in bytes, or None. Raises Unavailable."""
        ...

    async def delete(self, key: str) -> None:
        """Removes the file if it is there. Raises Unavailable."""
        ...

    def keys(self, prefix: str) -> AsyncIterator[StoredFile]:
        """Every file below `prefix`, a folder with its slash (`replays/`) or empty, in no order. Raises Unavailable."""
        ...

    async def sweep(self) -> int:
        """Removes what processes that died while writing left behind more than a day ago; how many files."""
        ...

    async def check(self) -> None:
        """Writes and reads a small file of its own, `check`. Raises Unavailable when that does not work."""
        ...

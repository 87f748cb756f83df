"""The `BackupPlace` port: a folder or bucket that contains backups.

A path is `NAME/KEY`: the name of a backup and a key inside it. All methods block, so call them in a thread. They raise
Unavailable with a sentence that says what to do, and Missing for an object that does not exist.

The adapters are `folder_place.FolderPlace` and `bucket_place.BucketPlace`.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from kiai.errors import Unavailable


class Missing(Unavailable):
    """The place has no object with this path."""


class BackupPlace(Protocol):
    """The port.

    - `shown`: the place as the operator wrote it.
    - `links`: whether `link` works and `rename` is atomic. Otherwise the backups share files: see
      `staff/backup_removal.py`.
    """

    shown: str
    links: bool

    def shown_as(self, name: str) -> str:
        """Return a backup as commands take it: the path of its folder, or its URL."""
        ...

    def entries(self) -> Mapping[str, int]:
        """Return the first segments of all paths, with the unix ms of their last change, 0 if it is not known.

        Empty for a place that does not exist.
        """
        ...

    def prepare(self, name: str) -> None:
        """Create a place for a new backup. Raises Refused if it has objects already."""
        ...

    def read(self, path: str) -> bytes:
        """Return an object."""
        ...

    def chunks(self, path: str) -> Iterator[bytes]:
        """Return an object of any size in parts."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Store an object durably."""
        ...

    def upload(self, path: str, source: Path) -> None:
        """Store a copy of a local file durably, in constant memory. It may be the file itself (`local`)."""
        ...

    def size(self, path: str) -> int | None:
        """Return the size of an object in bytes, None if it does not exist."""
        ...

    def link(self, path: str, existing: str) -> bool:
        """Make a second name for an object. Return False if the place cannot, or it does not exist."""
        ...

    def sync(self, name: str) -> None:
        """Make the names of all objects of a backup durable."""
        ...

    def rename(self, name: str, new: str) -> None:
        """Rename a backup, durably."""
        ...

    def delete(self, paths: Iterable[str]) -> None:
        """Delete objects, as far as they exist."""
        ...

    def remove(self, name: str, *, but: str = "\0") -> None:
        """Delete all objects of a backup except those whose key starts with `but`."""
        ...

    def local(self, name: str) -> Path | None:
        """Return the folder of a backup if it is on this machine."""
        ...

    def writing(self) -> AbstractContextManager[None]:
        """Exclude other processes that write here, as far as the place can. Raises WrongState if one does."""
        ...

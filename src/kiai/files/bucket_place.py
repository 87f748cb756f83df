"""Backups in an S3 bucket. A file that did not change is stored once, under the backup that has copied it first."""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import ObjectStore

from kiai.errors import Refused, Unavailable
from kiai.files.places import Missing

CHUNK_BYTES: Final = 4 * 1_048_576
DELETED_AT_ONCE: Final = 1_000
_STATUS: Final = re.compile(r"status code: (\d{3})")


class BucketPlace:
    """The `BackupPlace` port over the objects below a URL `s3://BUCKET/PREFIX`."""

    links: bool = False

    def __init__(self, store: ObjectStore, url: str) -> None:
        self._store = store
        self.shown = url.rstrip("/")

    def shown_as(self, name: str) -> str:
        """Return the URL of a backup."""
        return f"{self.shown}/{name}"

    def local(self, name: str) -> Path | None:
        """Return None."""
        return None

    def entries(self) -> Mapping[str, int]:
        """Return the first segments of all paths."""
        with self._translated():
            found = self._store.list_with_delimiter(None)
        return {path.rpartition("/")[2]: 0 for path in found["common_prefixes"]}

    def prepare(self, name: str) -> None:
        """Raise Refused if the backup has objects already."""
        with self._translated():
            if any(self._store.list(f"{name}/", chunk_size=1)):
                raise Refused(f"{self.shown_as(name)} is not empty; use a separate place for each backup")

    def read(self, path: str) -> bytes:
        """Return an object."""
        with self._translated(path):
            return bytes(self._store.get(path).bytes())

    def chunks(self, path: str) -> Iterator[bytes]:
        """Return an object in parts of 4 MiB."""
        with self._translated(path):
            for chunk in self._store.get(path).stream(CHUNK_BYTES):
                yield bytes(chunk)

    def write(self, path: str, data: bytes) -> None:
        """Store an object."""
        with self._translated():
            self._store.put(path, data)

    def upload(self, path: str, source: Path) -> None:
        """Store a copy of a local file, in parts."""
        with self._translated():
            self._store.put(path, source)

    def size(self, path: str) -> int | None:
        """Return the size of an object in bytes, None if it does not exist."""
        try:
            with self._translated(path):
                return self._store.head(path)["size"]
        except Missing:
            return None

    def link(self, path: str, existing: str) -> bool:
        """Return False: an object has one name."""
        return False

    def sync(self, name: str) -> None:
        """Do nothing: an object is durable when it is stored."""

    def rename(self, name: str, new: str) -> None:
        """Raise NotImplementedError: a caller asks for `links` first."""
        raise NotImplementedError

    def delete(self, paths: Iterable[str]) -> None:
        """Delete objects."""
        with self._translated():
            rest = iter(paths)
            while some := list(islice(rest, DELETED_AT_ONCE)):
                # A list of a missing object is no error in S3, and is one elsewhere.
                with contextlib.suppress(FileNotFoundError):
                    self._store.delete(some)

    def remove(self, name: str, *, but: str = "\0") -> None:
        """Delete all objects of a backup except those whose key starts with `but`."""
        kept = f"{name}/{but}"
        with self._translated():
            for found in self._store.list(f"{name}/", chunk_size=DELETED_AT_ONCE):
                self.delete([one["path"] for one in found if not one["path"].startswith(kept)])

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Exclude nobody: the lease on the job keeps other workers away."""
        yield

    @contextlib.contextmanager
    def _translated(self, path: str | None = None) -> Iterator[None]:
        """Turn errors of the store into sentences. With `path`, a missing object raises Missing."""
        try:
            yield
        except (BaseError, OSError) as error:
            text = str(error).partition("\n")[0]
            found = _STATUS.search(text)
            status = found[1] if found else ""
            part = f"backup bucket {self.shown}"
            if "NoSuchBucket" in str(error):
                reason = "the bucket does not exist; create it, or name another with backup_to"
                raise Unavailable(part, reason) from error
            if isinstance(error, FileNotFoundError) and path is not None:
                raise Missing(part, f"there is no object {path}") from error
            if isinstance(error, (PermissionDeniedError, UnauthenticatedError)) or status in ("401", "403"):
                raise Unavailable(
                    part,
                    "the service refuses the credentials; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION"
                    ", and that they may list, read, write and delete in the bucket",
                ) from error
            if status == "507":
                text = "the service has no space left; free some, or name another place with backup_to"
            raise Unavailable(part, text) from error

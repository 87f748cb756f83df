"""Backups in a local folder. A backup is a folder of its own; files that did not change are hard links."""

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from kiai.errors import Refused, Unavailable, WrongState
from kiai.files.places import Missing

LOCK: Final = ".writing.lock"
OWNER_ONLY: Final = 0o700
CHUNK_BYTES: Final = 1_048_576

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_CLOSED: Final = (errno.EACCES, errno.EPERM, errno.EROFS)
# No hard links here, too many of one file, or no such file.
_NO_LINK: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV, errno.ENOENT, errno.ENOSYS)


class FolderPlace:
    """The `BackupPlace` port over the folder `root`, which `prepare` and `writing` create."""

    links: bool = True

    def __init__(self, root: Path) -> None:
        self.root = root
        self.shown = str(root)
        # Folders that this object has created. Bounded by the folders of one backup: `sync` clears it.
        self._made: set[str] = set()

    def shown_as(self, name: str) -> str:
        """Return the path of the folder of a backup."""
        return str(self.root / name)

    def local(self, name: str) -> Path | None:
        """Return the folder of a backup."""
        return self.root / name

    def entries(self) -> Mapping[str, int]:
        """Return the names of all folders, with the time of their last change. Symbolic links are not followed."""
        found = {}
        try:
            with os.scandir(self.root) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        with contextlib.suppress(FileNotFoundError):  # a run has just renamed it
                            found[entry.name] = int(entry.stat(follow_symlinks=False).st_mtime * 1000)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._failure(self.root, error) from error
        return found

    def prepare(self, name: str) -> None:
        """Create the folder of a backup, which only its owner can read. Raises Refused if it is not empty."""
        folder = self.root / name
        try:
            folder.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise Refused(f"{folder} is not empty; use a separate folder for each backup")
            folder.chmod(OWNER_ONLY)  # the folder may exist already; the database contains passwords and keys
        except OSError as error:
            raise self._failure(folder, error) from error

    def read(self, path: str) -> bytes:
        """Return a file."""
        try:
            return (self.root / path).read_bytes()
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
            raise self._failure(self.root / path, error) from error

    def chunks(self, path: str) -> Iterator[bytes]:
        """Return a file in parts of 1 MiB."""
        try:
            with open(self.root / path, "rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
        except (OSError, ValueError) as error:
            raise self._failure(self.root / path, error) from error

    def write(self, path: str, data: bytes) -> None:
        """Write a file and its content to the disk. `sync` writes the names of files."""
        target = os.path.join(self.root, path)
        try:
            self._make_parent(target)
            with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise self._failure(target, error) from error

    def upload(self, path: str, source: Path) -> None:
        """Copy a file, or write its content to the disk if it is here already."""
        target = self.root / path
        try:
            if source != target:
                self._make_parent(str(target))
                with (
                    open(source, "rb") as read,
                    open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file,
                ):
                    shutil.copyfileobj(read, file, CHUNK_BYTES)
            with open(target, "rb+") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise self._failure(target, error) from error

    def size(self, path: str) -> int | None:
        """Return the size of a file, None without it."""
        try:
            return (self.root / path).stat().st_size
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        except OSError as error:
            raise self._failure(self.root / path, error) from error

    def link(self, path: str, existing: str) -> bool:
        """Make a hard link. Return False if the file system has none, or the file does not exist."""
        target = os.path.join(self.root, path)
        try:
            self._make_parent(target)
            os.link(os.path.join(self.root, existing), target, follow_symlinks=False)
        except OSError as error:
            if error.errno in _NO_LINK:
                return False
            raise self._failure(target, error) from error
        return True

    def sync(self, name: str) -> None:
        """Write the names of all files of a backup to the disk."""
        folder = str(self.root / name)
        try:
            for made in sorted(self._made):
                if made.startswith(folder):
                    _sync(made)
            self._made.clear()
            _sync(folder)
        except OSError as error:
            raise self._failure(folder, error) from error

    def rename(self, name: str, new: str) -> None:
        """Rename the folder of a backup."""
        try:
            os.replace(self.root / name, self.root / new)
            _sync(str(self.root))
        except OSError as error:
            raise self._failure(self.root / new, error) from error

    def delete(self, paths: Iterable[str]) -> None:
        """Delete files."""
        for path in paths:
            try:
                (self.root / path).unlink(missing_ok=True)
            except OSError as error:
                raise self._failure(self.root / path, error) from error

    def remove(self, name: str, *, but: str = "\0") -> None:
        """Delete the folder of a backup. `but` is not used: the files of a folder are its own."""
        try:
            shutil.rmtree(self.root / name)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._failure(self.root / name, error) from error

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Lock the folder against other processes, e.g. a worker that has lost its lease without noticing."""
        try:
            self.root.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
            descriptor = os.open(self.root / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._failure(self.root, error) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise WrongState(f"another process writes a backup to {self.root}") from error
            yield
        finally:
            os.close(descriptor)

    def _make_parent(self, target: str) -> None:
        """Create the parent folders of a file. PERF: texts, because a backup may link a million files."""
        parent = os.path.dirname(target)
        if parent not in self._made:
            os.makedirs(parent, mode=OWNER_ONLY, exist_ok=True)
            while parent not in self._made and len(parent) > len(self.shown):
                self._made.add(parent)
                parent = os.path.dirname(parent)

    def _failure(self, path: Path | str, error: OSError | ValueError) -> Unavailable:
        code = getattr(error, "errno", None)
        reason = getattr(error, "strerror", None) or str(error)
        if code in (errno.ENOENT, errno.ENOTDIR):
            return Missing(f"backup folder {path}", reason)
        if code in _FULL:
            reason += "; free space there, or name another place with backup_to"
        elif code in _CLOSED:
            reason += "; let the account of the server write there, or name another place with backup_to"
        return Unavailable(f"backup folder {path}", reason)


def _sync(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

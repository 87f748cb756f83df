"""The file store over obstore: a local folder or an S3 bucket.

The local `put` of obstore renames without fsync (traced with version 0.12), so an acknowledged replay could be an empty
file after a power cut. This module therefore writes local files itself. A new one has no name until its data is on the
disk: O_TMPFILE, fsync, link, fsync of the folder. One that replaces another, and every one where the system has no
O_TMPFILE, begins as a temporary file in the same folder: fsync, rename, fsync of the folder. A temporary file has the
name `name#digits`, as those of obstore, so listings omit it.
"""

import asyncio
import contextlib
import errno
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, S3Store

from kiai.errors import Refused, Unavailable
from kiai.files.port import StoredFile, is_key
from kiai.measuring import PoolUsage, Timings

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config

CHUNK_BYTES: Final = 64 * 1024
LARGE_BYTES: Final = 64 * 1024
LARGE_READS: Final = 8
"""The number of files above `LARGE_BYTES` that are read into memory at once."""
CHUNK_READS: Final = 4
"""The number of chunks that are read from a local folder at once."""
LISTED_AT_ONCE: Final = 1_000
WRITERS: Final = 4
WAITING_MAX: Final = 1_000
LEFT_OVER_S: Final = 24 * 3600  # much longer than any write takes

# The defaults of obstore (30 s for each try, 10 retries) would block a submission for minutes.
S3_ANSWER: Final = timedelta(seconds=10)
S3_CONNECT: Final = timedelta(seconds=3)
S3_RETRIES: Final = timedelta(seconds=8)

_S3_VARIABLES: Final = {
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
}
_S3_KEYS: Final = (_S3_VARIABLES["access_key_id"], _S3_VARIABLES["secret_access_key"])
_CHECK_KEY: Final = "check"
_CHECK_DATA: Final = b"kiai\n"
_UNNAMED: Final = os.O_TMPFILE | os.O_WRONLY if hasattr(os, "O_TMPFILE") else None
_DESCRIPTORS: Final = "/proc/self/fd"
_NO_UNNAMED: Final = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.EPERM, errno.EXDEV)
_TEMPORARY: Final = re.compile(r".+#[0-9]+")


def open_bucket(url: str, environment: Mapping[str, str]) -> S3Store:
    """Return the store of an existing bucket, `s3://BUCKET/PREFIX`, of any service with the S3 protocol.

    Credentials, region and the address of the service come from the variables of S3 tools: AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL. Raises Refused without credentials, Unavailable for an
    invalid address.
    """
    parts = urlsplit(url)
    missing = [name for name in _S3_KEYS if not environment.get(name)]
    if missing:
        # Without credentials, the library asks the network for some, and each upload fails minutes later.
        raise Refused(f"files in {url} need credentials; set {' and '.join(missing)}")
    endpoint = environment.get("AWS_ENDPOINT_URL")
    config: S3Config = {"region": environment.get("AWS_REGION", "us-east-1")}
    for name, variable in _S3_VARIABLES.items():
        if environment.get(variable):
            config[name] = environment[variable]  # type: ignore[literal-required]
    if endpoint:  # self-hosted services rarely have a host name for each bucket
        config |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
    options: ClientConfig = {"timeout": S3_ANSWER, "connect_timeout": S3_CONNECT}
    if endpoint and endpoint.startswith("http://"):
        options["allow_http"] = True
    with _translated():
        return S3Store(
            parts.netloc,
            prefix=parts.path.strip("/") or None,
            config=config,
            client_options=options,
            retry_config={"max_retries": 2, "retry_timeout": S3_RETRIES},
        )


class FileStore:
    """The `Files` port over a store of obstore. Create it with `FileStore.local` or `FileStore.s3`."""

    def __init__(self, store: ObjectStore, writes: "_LocalWrites | None" = None) -> None:
        self._store = store
        self._writes = writes
        self._large_reads = asyncio.Semaphore(LARGE_READS)
        # An object store that hangs must not hold up all streams.
        self._chunk_reads = contextlib.nullcontext() if writes is None else asyncio.Semaphore(CHUNK_READS)
        self.timings = Timings()

    def pool(self) -> PoolUsage | None:
        """Return the usage of the threads that write into a local folder, else None."""
        return None if self._writes is None else self._writes.pool()

    @classmethod
    def local(cls, folder: Path) -> "FileStore":
        """Return a store in a folder, and create the folder if it is missing. Raises Unavailable."""
        folder = folder.absolute()
        with _translated():
            folder.mkdir(parents=True, exist_ok=True)
            _sync(folder.parent)
            return cls(LocalStore(folder), _LocalWrites(folder))

    @classmethod
    def s3(cls, url: str, environment: Mapping[str, str]) -> "FileStore":
        """Return a store in an existing bucket, `s3://BUCKET/PREFIX`, of any service with the S3 protocol.

        Raises like `open_bucket`.
        """
        return cls(open_bucket(url, environment))

    async def put(self, key: str, data: bytes) -> None:
        """Store `data` under `key` and replace an existing file, atomically and durably."""
        _must_be_key(key)
        began = time.perf_counter()
        # PERF: without context managers, which take 4 us.
        try:
            if self._writes is None:
                await self._store.put_async(key, data)
            else:
                await self._writes.put(key, data)
        except (OSError, BaseError) as error:
            raise _unavailable(error) from error
        finally:
            self.timings.since(began, "put")

    async def put_file(self, key: str, path: Path) -> None:
        """Store a copy of a local file under `key`, atomically and durably."""
        _must_be_key(key)
        with _timed(self.timings, "put"), _translated():
            if self._writes is None:
                await self._store.put_async(key, path)  # in parts
            else:
                await self._writes.put(key, path)

    async def get(self, key: str) -> bytes | None:
        """Return the whole file, or None."""
        _must_be_key(key)
        with _timed(self.timings, "get"), _translated():
            try:
                found = await self._store.get_async(key)
            except FileNotFoundError:
                return None
            if found.meta["size"] <= LARGE_BYTES:
                return bytes(await found.bytes_async())
            # One address may ask for as many files at once as it has connections. Without this limit all of them would
            # be in memory before the first one is written to its client.
            async with self._large_reads:
                return bytes(await found.bytes_async())

    async def stream(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes] | None:
        """Return the bytes from `start` up to, but not including, `end` in chunks, or None without such a file."""
        if not 0 <= start <= (start if end is None else end):
            raise ValueError(f"invalid range: {start} to {end}")
        # The size first: without it, a missing file would only show in the iterator, after the response has begun.
        size = await self.size(key)
        if size is None:
            return None
        return self._chunks(key, start, size if end is None else min(end, size))

    async def _chunks(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        if start >= end:  # obstore rejects an empty range
            return
        with _translated():
            with _timed(self.timings, "get"):
                found = await self._store.get_async(key, options={"range": (start, end)})
            chunks = aiter(found.stream(CHUNK_BYTES))
            while True:
                # A disk answers at once. Without this limit, the chunks of thirty downloads would be written in one
                # turn of the event loop, for which everybody else waits.
                async with self._chunk_reads:
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                yield chunk

    async def size(self, key: str) -> int | None:
        """Return the size of the file in bytes, or None."""
        _must_be_key(key)
        with _timed(self.timings, "size"), _translated():
            try:
                return (await self._store.head_async(key))["size"]
            except FileNotFoundError:
                return None

    async def delete(self, key: str) -> None:
        """Delete the file if it exists."""
        _must_be_key(key)
        with _timed(self.timings, "delete"), _translated(), contextlib.suppress(FileNotFoundError):
            await self._store.delete_async(key)

    async def keys(self, prefix: str) -> AsyncIterator[StoredFile]:
        """Return all files below `prefix`: a folder with its slash (`replays/`), or ""."""
        if prefix:
            _must_be_key(prefix.removesuffix("/") if prefix.endswith("/") else "")
        with _translated():
            async for found in self._store.list(prefix or None, chunk_size=LISTED_AT_ONCE):
                for file in found:
                    if is_key(file["path"]):  # skip files that kiai did not write
                        yield StoredFile(file["path"], file["size"], round(file["last_modified"].timestamp() * 1000))

    async def check(self) -> None:
        """Write and read a small file."""
        # The file is not deleted: another process may be between its own write and read.
        await self.put(_CHECK_KEY, _CHECK_DATA)
        if await self.get(_CHECK_KEY) != _CHECK_DATA:
            raise Unavailable("files", "a test file was read back with other data")

    async def sweep(self) -> int:
        """Delete unfinished files of dead processes that are older than a day. Return their number.

        Walks through a local folder in a thread. Object stores discard unfinished uploads themselves.
        """
        with _translated():
            return 0 if self._writes is None else await asyncio.to_thread(self._writes.sweep)


class _LocalWrites:
    """Durable writes into a folder, in at most `WRITERS` threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._threads = ThreadPoolExecutor(max_workers=WRITERS, thread_name_prefix="files")
        self._waiting = 0
        self._creating = threading.Lock()
        # PERF: Folders whose entries are known to be on disk, so that most writes sync only the file and its folder.
        # Bounded by the number of folders in our keys.
        self._created = {self._folder}
        self._can_link = True  # until it fails

    def pool(self) -> PoolUsage:
        """Return the number of threads and how many of them are writing."""
        return PoolUsage(min(self._waiting, WRITERS), WRITERS)

    async def put(self, key: str, data: bytes | Path) -> None:
        """Return when the file would survive a power cut. Raises OSError, and Unavailable when too many writes wait."""
        if self._waiting >= WAITING_MAX:
            raise Unavailable("files", f"{WAITING_MAX} writes are waiting")
        loop = asyncio.get_running_loop()
        # PERF: a future of the loop. One of the thread pool, wrapped and shielded from cancellation, took 80 us more.
        done: asyncio.Future[None] = loop.create_future()
        self._threads.submit(self._run, loop, done, f"{self._folder}/{key}", data)
        self._waiting += 1
        await done  # the thread writes the file even when the caller is cancelled

    def _resolve(self, done: asyncio.Future[None], error: BaseException | None) -> None:
        self._waiting -= 1
        if done.done():  # the caller is gone
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    # --- in a thread

    def _run(self, loop: asyncio.AbstractEventLoop, done: asyncio.Future[None], path: str, data: bytes | Path) -> None:
        error: BaseException | None = None
        try:
            self._write(path, data)
        except BaseException as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._resolve, done, error)

    def _write(self, path: str, data: bytes | Path) -> None:
        folder = path.rpartition("/")[0]
        if folder not in self._created:
            # The lock: another thread must not use a folder that exists but whose entry is not on disk yet.
            with self._creating:
                self._create(folder)
        if isinstance(data, bytes) and self._write_new(folder, path, data):
            return
        # A random name: two writes of the same key do not share a temporary file.
        temporary = f"{path}#{secrets.randbits(63)}"
        try:
            with open(temporary, "xb") as file:
                if isinstance(data, Path):
                    with open(data, "rb") as source:
                        shutil.copyfileobj(source, file, CHUNK_BYTES)
                else:
                    file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException as error:
            if isinstance(error, FileNotFoundError):
                self._created = {self._folder}  # an operator removed the folder: the next write creates it again
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _sync(folder)

    def _write_new(self, folder: str, path: str, data: bytes) -> bool:
        """Store a new file, and return whether that was possible: not if it exists, nor on some file systems."""
        # PERF: 260 us of CPU time instead of 400, and 5 ms instead of 8 on a disk: the folder changes once.
        if _UNNAMED is None or not self._can_link or os.path.exists(path):
            return False
        name = path.rpartition("/")[2]
        try:
            in_folder = os.open(folder, os.O_RDONLY)
            try:
                handle = os.open(".", _UNNAMED, 0o666, dir_fd=in_folder)
                try:
                    rest = memoryview(data)
                    while rest:
                        rest = rest[os.write(handle, rest) :]
                    os.fsync(handle)
                    os.link(f"{_DESCRIPTORS}/{handle}", name, dst_dir_fd=in_folder, follow_symlinks=True)
                finally:
                    os.close(handle)
                os.fsync(in_folder)
            finally:
                os.close(in_folder)
        except FileExistsError:
            return False
        except OSError as error:
            # Without O_TMPFILE or /proc no later write can do this either, and would write its data twice.
            if error.errno in _NO_UNNAMED or (error.errno == errno.ENOENT and not os.path.isdir(_DESCRIPTORS)):
                self._can_link = False
                return False
            # ENOENT: an operator removed the folder. EACCES: AppArmor and SELinux may forbid links.
            if error.errno in (errno.ENOENT, errno.EACCES):
                return False
            raise
        return True

    def _create(self, folder: str) -> None:
        """Create a folder and its parents, and sync their entries."""
        if folder in self._created:
            return
        parent = folder.rpartition("/")[0]
        self._create(parent)
        Path(folder).mkdir(exist_ok=True)
        # Also for a folder that existed: another process may have created it just now, without a sync yet.
        _sync(parent)
        self._created.add(folder)

    def sweep(self) -> int:
        """Delete temporary files that are older than a day. Return their number."""
        oldest = time.time() - LEFT_OVER_S
        removed = 0
        for folder, _, names in os.walk(self._folder):
            for name in names:
                if _TEMPORARY.fullmatch(name):
                    path = Path(folder, name)
                    with contextlib.suppress(FileNotFoundError):
                        if path.stat().st_mtime < oldest:
                            path.unlink()
                            removed += 1
        return removed


def _must_be_key(text: str) -> None:
    """Raise ValueError for a text that is not a key and could be a path out of the folder."""
    # ValueError, because only a fault in our code can produce such a key.
    if not is_key(text):
        raise ValueError(f"{text!r} is not the key of a file")


def _sync(folder: str | Path) -> None:
    """Write the entries of a folder to disk: fsync of a file does not include its name."""
    if os.name == "nt":  # Windows cannot open a folder; NTFS journals renames
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _timed(timings: Timings, op: str) -> Iterator[None]:
    began = time.perf_counter()
    try:
        yield
    finally:
        timings.since(began, op)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OSError, BaseError) as error:
        raise _unavailable(error) from error


def _unavailable(error: OSError | BaseError) -> Unavailable:
    # The path without the number of the error; texts of obstore have their details in further lines.
    if isinstance(error, OSError) and error.filename:
        return Unavailable("files", f"{error.strerror}: {error.filename}")
    return Unavailable("files", str(error).partition("\n")[0])

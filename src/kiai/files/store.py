"""The files store over obstore: a local folder now, object stores behind the same calls.

obstore's own local `put` renames without any fsync (traced with 0.12), so after a power cut an acknowledged replay
could be an empty file. Local writes are therefore done here: temporary file in the same folder, fsync, rename, fsync of
the folder. A temporary file is named `name#digits`, as obstore names its own: no listing shows it.
"""

import asyncio
import contextlib
import os
import re
import secrets
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
from kiai.measuring import Pool, Timings

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config

CHUNK_BYTES: Final = 256 * 1024
LISTED_AT_ONCE: Final = 1_000
WRITERS: Final = 4
WAITING_MAX: Final = 1_000
LEFT_OVER_S: Final = 24 * 3600

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
_TEMPORARY: Final = re.compile(r".+#[0-9]+")


class FileStore:
    """The `Files` port over any store of obstore; a local one is made with `FileStore.local`."""

    def __init__(self, store: ObjectStore, writes: "_LocalWrites | None" = None) -> None:
        self._store = store
        self._writes = writes
        self.timings = Timings()

    def pool(self) -> Pool | None:
        """The threads that write into a local folder."""
        return None if self._writes is None else self._writes.pool()

    @classmethod
    def local(cls, folder: Path) -> "FileStore":
        """A store in a folder, which is made if it is missing. Raises Unavailable."""
        folder = folder.absolute()
        with _translated():
            folder.mkdir(parents=True, exist_ok=True)
            _sync(folder.parent)
            return cls(LocalStore(folder), _LocalWrites(folder))

    @classmethod
    def s3(cls, url: str, environment: Mapping[str, str]) -> "FileStore":
        """A store in a bucket, `s3://BUCKET/PREFIX`, of any service that speaks S3. The bucket must be there.

        Keys, region and the address of the service are where every S3 tool looks for them: AWS_ACCESS_KEY_ID,
        AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL. Raises Refused without keys: the library would go and ask
        the network for some, and every upload would fail minutes later. Raises Unavailable for an address that is none.
        """
        parts = urlsplit(url)
        lacking = [one for one in _S3_KEYS if not environment.get(one)]
        if lacking:
            raise Refused(f"files in {url} need credentials; set {' and '.join(lacking)}")
        endpoint = environment.get("AWS_ENDPOINT_URL")
        config: S3Config = {"region": environment.get("AWS_REGION", "us-east-1")}
        for name, variable in _S3_VARIABLES.items():
            if environment.get(variable):
                config[name] = environment[variable]  # type: ignore[literal-required]
        if endpoint:  # one's own service mostly knows no bucket by host name
            config |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
        options: ClientConfig = {"timeout": S3_ANSWER, "connect_timeout": S3_CONNECT}
        if endpoint and endpoint.startswith("http://"):
            options["allow_http"] = True
        with _translated():
            store = S3Store(
                parts.netloc,
                prefix=parts.path.strip("/") or None,
                config=config,
                client_options=options,
                retry_config={"max_retries": 2, "retry_timeout": S3_RETRIES},
            )
        return cls(store)

    async def put(self, key: str, data: bytes) -> None:
        """Stores `data` under `key`, replacing what is there; atomic and durable."""
        _must_be_key(key)
        with _timed(self.timings, "put"), _translated():
            if self._writes is None:
                await self._store.put_async(key, data)
            else:
                await self._writes.put(key, data)

    async def get(self, key: str) -> bytes | None:
        """The whole file, or None."""
        _must_be_key(key)
        with _timed(self.timings, "get"), _translated():
            try:
                found = await self._store.get_async(key)
            except FileNotFoundError:
                return None
            return bytes(await found.bytes_async())

    async def stream(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes] | None:
        """The bytes from `start` up to, not including, `end` (None: the file's end), in chunks; None for no file."""
        if not 0 <= start <= (start if end is None else end):
            raise ValueError(f"no range: {start} to {end}")
        size = await self.size(key)
        if size is None:
            return None
        return self._chunks(key, start, size if end is None else min(end, size))

    async def _chunks(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        if start >= end:  # obstore refuses an empty range
            return
        with _translated():
            with _timed(self.timings, "get"):
                found = await self._store.get_async(key, options={"range": (start, end)})
            async for chunk in found.stream(CHUNK_BYTES):
                yield chunk

    async def size(self, key: str) -> int | None:
        """The file's size in bytes, or None."""
        _must_be_key(key)
        with _timed(self.timings, "size"), _translated():
            try:
                return (await self._store.head_async(key))["size"]
            except FileNotFoundError:
                return None

    async def delete(self, key: str) -> None:
        """Removes the file if it is there."""
        _must_be_key(key)
        with _timed(self.timings, "delete"), _translated(), contextlib.suppress(FileNotFoundError):
            await self._store.delete_async(key)

    async def keys(self, prefix: str) -> AsyncIterator[StoredFile]:
        """Every file below `prefix`, a folder with its slash (`replays/`) or empty, in no order."""
        if prefix:
            _must_be_key(prefix.removesuffix("/") if prefix.endswith("/") else "")
        with _translated():
            async for found in self._store.list(prefix or None, chunk_size=LISTED_AT_ONCE):
                for file in found:
                    if is_key(file["path"]):  # what others left in the folder is not ours to show
                        yield StoredFile(file["path"], file["size"], round(file["last_modified"].timestamp() * 1000))

    async def check(self) -> None:
        """Writes and reads a small file of its own. It is left there: two processes may check at the same moment."""
        await self.put(_CHECK_KEY, _CHECK_DATA)
        if await self.get(_CHECK_KEY) != _CHECK_DATA:
            raise Unavailable("files", "what was written is not what is read")

    async def sweep(self) -> int:
        """Removes what processes that died while writing left behind more than a day ago; how many files.

        Looks at every file of a local folder, beside the event loop. An object store does this by itself.
        """
        with _translated():
            return 0 if self._writes is None else await asyncio.to_thread(self._writes.sweep)


class _LocalWrites:
    """Durable writes into a folder, a few at a time, in threads of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads = ThreadPoolExecutor(max_workers=WRITERS, thread_name_prefix="files")
        self._waiting = 0
        self._making = threading.Lock()
        # Folders whose own entries are known to be on the disk; as many as our keys have folders.
        self._made = {folder}

    def pool(self) -> Pool:
        """The threads, and how many of them write."""
        return Pool(min(self._waiting, WRITERS), WRITERS)

    async def put(self, key: str, data: bytes) -> None:
        """Returns when the file would survive a power cut. Raises OSError, and Unavailable when too many wait."""
        if self._waiting >= WAITING_MAX:
            raise Unavailable("files", f"{WAITING_MAX} writes are waiting")
        self._waiting += 1
        running = asyncio.get_running_loop().run_in_executor(self._threads, self._write, self._folder / key, data)
        running.add_done_callback(self._left)
        await asyncio.shield(running)

    def _left(self, _: object) -> None:
        self._waiting -= 1

    def _write(self, path: Path, data: bytes) -> None:
        folder = path.parent
        if folder not in self._made:
            with self._making:  # one at a time: nobody may find a folder that is made but not yet on the disk
                self._make(folder)
        temporary = path.with_name(f"{path.name}#{secrets.randbits(63)}")
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException as error:
            if isinstance(error, FileNotFoundError):
                self._made = {self._folder}  # somebody removed the folder: the next write makes it again
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        _sync(folder)

    def _make(self, folder: Path) -> None:
        """Makes a folder and those above it, and puts their entries on the disk; even those that exist, because
        another process may have made them a moment ago."""
        if folder in self._made:
            return
        self._make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)
        self._made.add(folder)

    def sweep(self) -> int:
        """Removes temporary files older than a day; how many."""
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
    """What is no key may be a path to anywhere. Raises ValueError: our own code made it."""
    if not is_key(text):
        raise ValueError(f"{text!r} is no key of a file")


def _sync(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder; its renames are journalled
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
    except OSError as error:
        reason = f"{error.strerror}: {error.filename}" if error.filename else str(error).partition("\n")[0]
        raise Unavailable("files", reason) from error
    except BaseError as error:
        raise Unavailable("files", str(error).partition("\n")[0]) from error

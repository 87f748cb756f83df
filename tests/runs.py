"""A run of the tests: a folder that all of its processes share, and setup that they do once.

Failed setup is not repeated for each test: the first test that needs it shows the whole error, and the others fail
immediately and name the first one.
"""

import atexit
import contextlib
import fcntl
import functools
import os
import shutil
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from tests.patience import patiently, wait_until

T = TypeVar("T")

FOLDER: Final = "TESTS_RUN_FOLDER"
MEMORY: Final = Path("/dev/shm")
LOCK_S: Final = 400.0
"""Longer than any shared setup takes; see `client_tools.INSTALL_S`."""
WATCHER_S: Final = 60.0
ROOM_BYTES: Final = 2 << 30
ROOM_FOR_ALL_BYTES: Final = 6 << 30


class SetUpFailedBefore(Exception):
    """Shared setup failed before. The first test that needed it shows the error."""


def start() -> Path:
    """Return the folder of this run. The first process creates it; the processes that it starts inherit it."""
    if FOLDER not in os.environ:
        # A PostgreSQL database is hundreds of small files: creating them in memory takes a tenth of the time.
        roomy = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM_BYTES
        folder = Path(tempfile.mkdtemp(prefix="kiai-test-", dir=MEMORY if roomy else None))
        folder.chmod(0o711)  # PostgreSQL runs as another user where the tests run as root
        os.environ[FOLDER] = str(folder)
        when_this_process_ends('rm -rf "$1"', str(folder))
    return Path(os.environ[FOLDER])


def has_room(folder: Path) -> bool:
    """Return whether the folder of the run is in memory that is large enough for the files of all tests."""
    return folder.is_relative_to(MEMORY) and shutil.disk_usage(folder).free >= ROOM_FOR_ALL_BYTES


def when_this_process_ends(script: str, *arguments: str) -> None:
    """Run a shell script when this process has ended, even if it was killed: the script waits for the end of a pipe."""
    watcher = subprocess.Popen(
        ["sh", "-c", f"read _; {script}", "watcher", *arguments], stdin=subprocess.PIPE, start_new_session=True
    )
    atexit.register(lambda: watcher.communicate(timeout=patiently(WATCHER_S)))


@contextlib.contextmanager
def exclusive_lock(name: str) -> Iterator[None]:
    """Acquire a lock that the processes of this run share."""
    with open(start() / f"{name}.lock", "w", encoding="ascii") as lock:

        def acquired() -> bool:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        wait_until(acquired, within_s=LOCK_S, what=f"another process does not release the lock {name}")
        yield


def once(name: str, make: Callable[[Path], None]) -> Path:
    """Return the path that `make` has written. Only one process of a run calls `make`; the others wait for it.

    Raises the error of `make` the first time, and SetUpFailedBefore afterwards, in every process.
    """
    path, failed = start() / name, start() / f"{name}.failed"
    with exclusive_lock(name):
        if failed.exists():
            raise SetUpFailedBefore(failed.read_text("utf-8"))
        if not path.exists():
            unfinished = start() / f"{name}.unfinished"
            try:
                make(unfinished)
            except Exception:
                failed.write_text(_failure_message(name), "utf-8")
                raise
            unfinished.rename(path)
    return path


def remembered(make: Callable[[], T]) -> Callable[[], T]:
    """Return a function that calls `make` once in a process. After a failure, each call raises SetUpFailedBefore."""
    failed: list[str] = []

    @functools.cache
    def made() -> T:
        if failed:
            raise SetUpFailedBefore(failed[0])
        try:
            return make()
        except SetUpFailedBefore as error:
            failed.append(str(error))
            raise
        except Exception:
            failed.append(_failure_message(make.__name__.strip("_").replace("_", " ")))
            raise

    return made


def _failure_message(name: str) -> str:
    error = traceback.format_exc().strip().rpartition("\n")[2][:200]
    first_test = os.environ.get("PYTEST_CURRENT_TEST", "the first test that needed it").partition(" ")[0]
    return f"{name} could not be set up, see {first_test}: {error}"

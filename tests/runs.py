"""One run of the tests: a folder that all of its processes share, and what is set up once for all of them.

Set-up that fails is not tried again for each of a thousand tests: the first one that needs it tells everything, every
other one fails at once and names the first.
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

T = TypeVar("T")

FOLDER: Final = "TESTS_RUN_FOLDER"
MEMORY: Final = Path("/dev/shm")
ROOM_BYTES: Final = 2 << 30


class SetUpFailedBefore(Exception):
    """Something that many tests need could not be made; the test that asked first says why."""


def start() -> Path:
    """The folder of this run, made by the first process that asks; the processes that it starts inherit it."""
    if FOLDER not in os.environ:
        # A database is some hundred small files: made in memory in a tenth of the time.
        roomy = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM_BYTES
        folder = Path(tempfile.mkdtemp(prefix="kiai-test-", dir=MEMORY if roomy else None))
        folder.chmod(0o711)  # PostgreSQL runs as another user where the tests run as root
        os.environ[FOLDER] = str(folder)
        when_this_process_ends('rm -rf "$1"', str(folder))
    return Path(os.environ[FOLDER])


def when_this_process_ends(script: str, *arguments: str) -> None:
    """Runs a shell script when this process is gone, however it went: a pipe to the script's shell then closes."""
    watcher = subprocess.Popen(
        ["sh", "-c", f"read _; {script}", "watcher", *arguments], stdin=subprocess.PIPE, start_new_session=True
    )
    atexit.register(watcher.communicate)


@contextlib.contextmanager
def alone(name: str) -> Iterator[None]:
    """Holds a lock against the other processes of this run."""
    with open(start() / f"{name}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def once(name: str, make: Callable[[Path], None]) -> Path:
    """The path that `make` wrote, once a run, whichever processes need it at the same time.

    Raises whatever `make` raises the first time, and SetUpFailedBefore afterwards, in every process.
    """
    path, failed = start() / name, start() / f"{name}.failed"
    with alone(name):
        if failed.exists():
            raise SetUpFailedBefore(failed.read_text("utf-8"))
        if not path.exists():
            unfinished = start() / f"{name}.unfinished"
            try:
                make(unfinished)
            except Exception:
                failed.write_text(_told(name), "utf-8")
                raise
            unfinished.rename(path)
    return path


def remembered(make: Callable[[], T]) -> Callable[[], T]:
    """`make`, called once a process. When it failed, every later call raises SetUpFailedBefore at once."""
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
            failed.append(_told(make.__name__.strip("_").replace("_", " ")))
            raise

    return made


def _told(name: str) -> str:
    error = traceback.format_exc().strip().rpartition("\n")[2][:200]
    who = os.environ.get("PYTEST_CURRENT_TEST", "the first that asked").partition(" ")[0]
    return f"{name} could not be set up, see {who}: {error}"

"""Unix sockets in the data folder, for commands that talk to the running server.

The folder is private, so only the account of the server and root can connect. A socket needs no port, address or
certificate.
"""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kiai.logs import get_logger

BACKLOG: Final = 16
MODE: Final = 0o600


@contextlib.contextmanager
def opened_socket(data: Path, file: str) -> Iterator[socket.socket | None]:
    """Open the socket `file` in the data folder, and close and remove it at the end of the block.

    Yield None, and log why, where the folder cannot contain a socket; the commands that need it then do not work. A
    socket that a killed server left, or that of an earlier server on the same folder, is replaced.
    """
    listening = _open(data, file)
    if listening is None:
        yield None
        return
    mine = _file_id(data / file)
    try:
        yield listening
    finally:
        listening.close()
        if _file_id(data / file) == mine:  # else a later server has replaced it
            with contextlib.suppress(OSError):
                (data / file).unlink()


def _open(data: Path, file: str) -> socket.socket | None:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_path(data, file) as path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            listening.bind(path)
            os.chmod(path, MODE)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        get_logger("serve").warning("no socket for commands", file=file, why=str(error))
        return None
    listening.setblocking(False)
    return listening


def _file_id(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


@contextlib.contextmanager
def short_path(data: Path, file: str) -> Iterator[str]:
    """Yield a path of the socket that is short enough: that of a Unix socket has at most 107 bytes."""
    path = str(data / file)
    if len(os.fsencode(path)) <= 100 or not os.path.isdir("/proc/self/fd"):
        yield path
        return
    folder = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{file}"
    finally:
        os.close(folder)

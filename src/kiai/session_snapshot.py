"""Saves sessions over a restart of an embedded server, so that players stay logged in.

On SIGTERM the server writes the state of the memory adapter to a file in the data folder, and restores it at the next
start. The file contains session tokens, so only the server's account may read it, and it is used once. A file that is
too old, incomplete or from another version is discarded: clients then log in again automatically.
"""

import os
import time
from pathlib import Path
from typing import Final

import msgspec

from kiai.logs import get_logger
from kiai.multiplayer.match import Match
from kiai.realtime.memory import MemoryRealtime
from kiai.realtime.port import Realtime

FILE: Final = "sessions.snapshot"
OLDEST_S: Final = 3_600  # after that time few of the clients still run


def save(realtime: Realtime, data: Path) -> None:
    """Write the sessions of this process to a file in the data folder.

    A failure is logged and does not stop the shutdown. Does nothing if the sessions are in Redis.
    """
    if not isinstance(realtime, MemoryRealtime):
        return
    path = data / FILE
    # Write a second file and rename it: a process that is killed while writing leaves no half snapshot.
    unfinished = path.with_suffix(".half")
    try:
        # The mode is set at creation. With chmod afterwards, the file would be readable for a moment.
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(realtime.snapshot())
        unfinished.replace(path)
    except OSError as error:
        get_logger("sessions").warning("sessions not saved", why=str(error))


def restore(realtime: Realtime, data: Path) -> int:
    """Restore the saved sessions, remove their file and return the number of sessions.

    Does nothing if the sessions are in Redis.
    """
    if not isinstance(realtime, MemoryRealtime):
        return 0
    path = data / FILE
    try:
        is_old = time.time() - path.stat().st_mtime > OLDEST_S
        snapshot = path.read_bytes()
        # Before it is used: a snapshot that crashes the server must not crash the next start, too, and after a crash
        # the sessions in it would be out of date.
        path.unlink()
    except FileNotFoundError:
        return 0
    except OSError as error:
        get_logger("sessions").warning("sessions not restored", why=str(error))
        return 0
    if is_old:
        return 0
    try:
        return realtime.restore(snapshot, Match)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        get_logger("sessions").warning("sessions not restored", why=str(error))
        return 0

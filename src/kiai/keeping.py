"""Sessions over a restart of an embedded server: `kiai serve` stopped and started keeps everybody logged in.

What the memory adapter holds goes into a file of the data folder on SIGTERM and comes back from it at start. The file
holds tokens, so nobody but the server's own account may read it, and it is used once. A file that is too old, cut or
of another version is no loss: clients are told to log in again, and do so by themselves.
"""

import os
import time
from pathlib import Path
from typing import Final

import msgspec

from kiai.logs import get_logger
from kiai.multiplayer.match import Match
from kiai.realtime.memory import MemoryRealtime

FILE: Final = "sessions.kept"
OLDEST_S: Final = 3_600


def keep(realtime: MemoryRealtime, data: Path) -> None:
    """Writes what the adapter holds; a failure is logged, since a stop must not fail for it."""
    path = data / FILE
    half = path.with_suffix(".half")
    try:
        with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(realtime.snapshot())
        half.replace(path)
    except OSError as error:
        get_logger("sessions").warning("sessions not kept", why=str(error))


def restore(realtime: MemoryRealtime, data: Path) -> int:
    """Brings back what was kept; how many sessions. The file is gone afterwards."""
    path = data / FILE
    try:
        old = time.time() - path.stat().st_mtime > OLDEST_S
        kept = path.read_bytes()
        path.unlink()
    except FileNotFoundError:
        return 0
    except OSError as error:
        get_logger("sessions").warning("sessions not restored", why=str(error))
        return 0
    if old:
        return 0
    try:
        return realtime.restore(kept, Match)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        get_logger("sessions").warning("sessions not restored", why=str(error))
        return 0

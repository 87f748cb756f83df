"""The port of the server that runs on a data folder, for links that commands print on localhost and with TLS.

A server may be started with `--port`, which a command such as `kiai users reset-link` does not know.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from kiai.osu.numbers import whole_number

FILE: Final = "kiai.port"
PORT_MAX: Final = 65_535


def write_port(data: Path, port: int) -> None:
    """Store the port of this server. Without a writable folder, links have the port of the settings."""
    temporary = data / f"{FILE}.{os.getpid()}"
    with contextlib.suppress(OSError):
        temporary.write_text(f"{port}\n", "ascii")
        temporary.replace(data / FILE)


def read_port(data: Path) -> int | None:
    """Return the port of the server that was last started on this folder, or None."""
    try:
        port = whole_number((data / FILE).read_text("ascii").strip())
    except (OSError, UnicodeDecodeError):
        return None
    return port if port is not None and 0 < port <= PORT_MAX else None

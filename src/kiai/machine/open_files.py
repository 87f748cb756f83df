"""The limit of open files of a process: each connection is one. Shells allow 1,024 unless a program asks for more."""

import resource
from pathlib import Path
from typing import Final

UNLIMITED: Final = 1 << 30
SPARE_FILES: Final = 256
"""Open files besides connections: the database, logs, pipes to worker processes."""


def needed_files(connections: int) -> int:
    """Return the number of open files for this number of connections."""
    return connections + SPARE_FILES


def open_files_limit(process: int | None) -> int:
    """Return the limit of a running server or, without one, the limit that a server can set for itself."""
    if process is not None:
        try:
            limits = Path(f"/proc/{process}/limits").read_text("ascii")
            [line] = [line for line in limits.splitlines() if line.startswith("Max open files")]
            return int(line.split()[3])
        except (OSError, ValueError):
            pass  # a process of another account, a system without /proc, or no limit
    return _number(resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def allow_open_files(needed: int) -> None:
    """Raise the limit of this process to `needed`, as far as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _number(soft) < needed:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, _number(hard)), hard))
        except (OSError, ValueError):
            return  # `kiai doctor --network` reports the limit


def _number(limit: int) -> int:
    return UNLIMITED if limit == resource.RLIM_INFINITY else limit

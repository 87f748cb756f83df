"""How `kiai serve` becomes the server's own process."""

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from kiai.settings import Settings

SETTINGS_FROM: Final = "--settings-from-fd="
DEMO_FIRST: Final = "--demo"
LISTEN_ON: Final = "--listen-on-fd="
"""A worker among several gets the port that the process above it has opened."""
FIGURES_IN: Final = "--figures-in-fd="
"""Where it leaves its figures for the others: file descriptor, slot, slots."""
SUPERVISOR: Final = "--supervisor="
"""The process above it, without which a worker ends."""


def hand_over(settings: "Settings", *, demo: bool) -> NoReturn:
    """Replaces this process by the server: same id, same signals, without the command line in memory.

    The settings go through a pipe: in the arguments or the environment others could read their secrets.
    """
    out, into = os.pipe()
    os.write(into, settings.model_dump_json().encode())
    os.close(into)
    os.set_inheritable(out, True)
    arguments = [f"{SETTINGS_FROM}{out}", *([DEMO_FIRST] if demo else [])]
    os.execv(sys.executable, [sys.executable, "-m", "kiai.serving", *arguments])  # noqa: S606


def announce(line: str) -> None:
    """Writes a line to stdout, for whoever started the server; nothing happens when nobody reads there any more."""
    with contextlib.suppress(OSError):
        os.write(sys.stdout.fileno(), f"{line}\n".encode())

"""Replaces the process of `kiai serve` by the next one, and names the arguments between them.

kiai serve -> server_process, which serves
kiai serve --workers N -> server_process, which prepares the start -> supervisor_process -> N times server_process
"""

import contextlib
import os
import sys
from collections.abc import Mapping
from typing import Final, NoReturn

from kiai.server_settings import Settings

SETTINGS_FROM: Final = "--settings-from-fd="
DEMO_FIRST: Final = "--demo"
LISTEN_ON: Final = "--listen-on-fd="
"""The listening socket that a worker inherits from its supervisor."""
HTTP_ON: Final = "--http-on-fd="
"""The listening socket for plain http next to https, that a worker inherits from its supervisor."""
IRC_ON: Final = "--irc-on-fd="
IRC_TLS_ON: Final = "--irc-tls-on-fd="
"""The listening sockets for IRC, plain and encrypted, that a worker inherits from its supervisor."""
FIGURES_IN: Final = "--figures-in-fd="
"""The shared memory for the metrics of all workers: file descriptor, slot of this worker, number of slots."""
TOP_ON: Final = "--top-on-fd="
"""The socket of `kiai top` that a worker inherits from its supervisor."""
SUPERVISOR: Final = "--supervisor="
"""The process id of the supervisor. A worker ends when its supervisor has ended."""
MALLOC: Final = {"MALLOC_ARENA_MAX": "1"}
"""Settings of the C library's memory, which is read once at the start of a process. The operator's own come first.

PERF: by default every thread of the server gets its own arenas, which keep what it has freed. That took 4.6 MB of 82 at
the start. Threads rarely allocate at the same time, because most of them hold the interpreter's lock meanwhile.
"""
STARTED_AT: Final = "--started-at-ms="
"""The start of the supervisor. A worker that is started again later still belongs to that start of the server."""


def exec_server(settings: Settings, *, demo: bool) -> NoReturn:
    """Replace this process by the server process. Process id and signal handlers set to ignore stay the same.

    The command line, its parser and pydantic are then no longer in memory. The settings go through a pipe, because
    other users of the machine can read the arguments of a process.
    """
    _exec("kiai.server_process", settings.to_json(), [DEMO_FIRST] if demo else [])


def exec_supervisor(settings_json: bytes, inherited: Mapping[str, int]) -> NoReturn:
    """Replace this process by the supervisor of several workers, which inherits file descriptors, each by its flag.

    The services that prepared the start, and their libraries, are then no longer in memory.
    """
    for descriptor in inherited.values():
        os.set_inheritable(descriptor, True)
    _exec("kiai.supervisor_process", settings_json, [f"{flag}{opened}" for flag, opened in inherited.items()])


def settings_pipe(settings_json: bytes) -> int:
    """Return the end of a pipe from which another process reads the settings. The caller closes it."""
    out, into = os.pipe()
    os.write(into, settings_json)  # smaller than the pipe's buffer of 64 KiB, so it does not block
    os.close(into)
    return out


def read_settings(arguments: list[str]) -> tuple[Settings, bytes]:
    """Return the settings from the pipe of `settings_pipe`, and their JSON for further processes."""
    [source] = [argument for argument in arguments if argument.startswith(SETTINGS_FROM)]
    with open(int(source.removeprefix(SETTINGS_FROM)), "rb") as pipe:
        settings_json = pipe.read()
    return Settings.from_json(settings_json), settings_json


def number_after(flag: str, arguments: list[str]) -> int | None:
    """Return the number that an argument gives, or None without this argument."""
    found = [int(argument.removeprefix(flag)) for argument in arguments if argument.startswith(flag)]
    return found[0] if found else None


def _exec(module: str, settings_json: bytes, arguments: list[str]) -> NoReturn:
    out = settings_pipe(settings_json)
    os.set_inheritable(out, True)
    command = [sys.executable, "-P", "-m", module, f"{SETTINGS_FROM}{out}", *arguments]
    os.execve(sys.executable, command, {**MALLOC, **os.environ})  # noqa: S606


def announce(line: str) -> None:
    """Write a line to stdout for the process that started the server. A closed stdout is ignored."""
    with contextlib.suppress(OSError):
        os.write(sys.stdout.fileno(), f"{line}\n".encode())

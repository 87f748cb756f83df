"""Profiles of the running server for `kiai profile`: each process has a Unix socket in the data folder.

    connection opened -> seconds and a line break -> one JSON object (`ProfileAnswer`) -> closed by the server

The end of the connection ends the profile. A process makes one profile at a time.
"""

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Final

import msgspec

from kiai.errors import Refused, Unavailable
from kiai.private_socket import opened_socket, short_path
from kiai.profiling import SECONDS_MAX, SECONDS_MIN, Profile, StackTime, profile

PREFIX: Final = "profile-"
SUFFIX: Final = ".sock"
ASK_S: Final = 5.0
ASK_BYTES_MAX: Final = 16
ANSWER_S: Final = 10.0  # after the end of the profile
BYTES_MAX: Final = 1 << 26


class ProfileAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A profile, or the reason why the process has made no profile."""

    profile: Profile | None = None
    error: str = ""


# --- the server's side


@contextlib.contextmanager
def opened_profile_socket(data: Path) -> Iterator[socket.socket | None]:
    """Open the socket of this process, and close and remove it at the end of the block. See `opened_socket`."""
    for path in _paths(data):  # of processes that were killed
        if not _runs(_pid_of(path)):
            with contextlib.suppress(OSError):
                path.unlink()
    with opened_socket(data, f"{PREFIX}{os.getpid()}{SUFFIX}") as listening:
        yield listening


class ProfileSender:
    """Answers the connections to the socket of this process."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._answering: set[asyncio.Task[None]] = set()  # the event loop has only weak references to tasks
        self._profiles = threading.Lock()

    def start(self) -> None:
        """Accept connections."""
        asyncio.get_running_loop().add_reader(self._listening.fileno(), self._accept)

    def stop(self) -> None:
        """Accept no further connection, and end the profile that is being made."""
        asyncio.get_running_loop().remove_reader(self._listening.fileno())
        for task in self._answering:
            task.cancel()

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except OSError:  # no file descriptor is left
            return
        connection.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._answer(connection), name="profile")
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with connection, contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(ASK_S):
                asked = await loop.sock_recv(connection, ASK_BYTES_MAX)
            answer = await self._profile(connection, asked)
            async with asyncio.timeout(ANSWER_S):
                await loop.sock_sendall(connection, msgspec.json.encode(answer))

    async def _profile(self, connection: socket.socket, asked: bytes) -> ProfileAnswer:
        text = asked.strip()
        if not text.isdigit() or not SECONDS_MIN <= int(text) <= SECONDS_MAX:
            return ProfileAnswer(error=f"the duration must be {SECONDS_MIN} to {SECONDS_MAX} seconds")
        if not self._profiles.acquire(blocking=False):
            return ProfileAnswer(error="another profile is being made; try again when it has ended")
        try:
            return ProfileAnswer(await self._sampled(connection, int(text)))
        finally:
            self._profiles.release()

    async def _sampled(self, connection: socket.socket, seconds: int) -> Profile:
        """Make a profile in a thread of its own, and stop it when the command has closed the connection."""
        loop, stopped = asyncio.get_running_loop(), threading.Event()
        done: Future[Profile] = Future()
        done.set_running_or_notify_cancel()  # else the thread could not set its result when this task is cancelled

        def sample() -> None:
            try:
                done.set_result(profile(os.getpid(), seconds, stopped))
            except BaseException as error:
                done.set_exception(error)

        threading.Thread(target=sample, name="profile", daemon=True).start()
        gone = loop.create_task(loop.sock_recv(connection, 1))
        gone.add_done_callback(lambda _: stopped.set())
        try:
            return await asyncio.wrap_future(done)
        finally:
            stopped.set()
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)


# --- the side of `kiai profile`


def read_profiles(data: Path, seconds: int, pid: int | None = None) -> list[Profile]:
    """Return the profiles of all processes of the server that runs on this data folder, or of the one with this `pid`.

    All are made at the same time. A process that ends meanwhile has none. Raises Refused if no server runs or another
    profile is being made, Unavailable if no process answers in time.
    """
    connections = dict(_connected(data, pid))
    if not connections:
        which = f"no server runs on {data}" if pid is None else f"no process {pid} of the server runs on {data}"
        raise Refused(f"{which}; start one with `kiai serve`, or choose another --data")
    until = time.monotonic() + seconds + ANSWER_S
    try:
        for connection in connections.values():
            with contextlib.suppress(OSError):
                connection.sendall(b"%d\n" % seconds)
        answers = [_read(connection, until) for connection in connections.values()]
    finally:
        for connection in connections.values():
            connection.close()
    found = [one.profile for one in answers if one is not None and one.profile is not None]
    errors = [one.error for one in answers if one is not None and one.error]
    if errors:
        raise Refused(errors[0])
    if not found:
        raise Unavailable("the server", "no profile; SIGUSR1 writes what it does to its log")
    return found


def _connected(data: Path, pid: int | None) -> Iterator[tuple[int, socket.socket]]:
    """Yield a connection to each process."""
    for path in _paths(data):
        if pid is not None and _pid_of(path) != pid:
            continue
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(ASK_S)
        try:
            with short_path(data, path.name) as short:
                connection.connect(short)
        except PermissionError:
            connection.close()
            raise Refused(f"{path} belongs to another account; run the command as the account of the server") from None
        except OSError:  # of a process that was killed
            connection.close()
        else:
            yield _pid_of(path), connection


def _read(connection: socket.socket, until: float) -> ProfileAnswer | None:
    parts, size = [], 0
    try:
        while size < BYTES_MAX:
            connection.settimeout(max(0.1, until - time.monotonic()))
            if not (part := connection.recv(1 << 16)):
                break
            parts.append(part)
            size += len(part)
        return msgspec.json.decode(b"".join(parts), type=ProfileAnswer)
    except (OSError, msgspec.DecodeError):
        return None


def _paths(data: Path) -> list[Path]:
    return sorted(path for path in data.glob(f"{PREFIX}*{SUFFIX}") if _pid_of(path))


def _pid_of(path: Path) -> int:
    number = path.name.removeprefix(PREFIX).removesuffix(SUFFIX)
    return int(number) if number.isdigit() else 0


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


# --- formats


def speedscope(profiles: list[Profile]) -> dict[str, object]:
    """Return the profiles in the file format of speedscope.app, one for each thread."""
    numbers: dict[str, int] = {}
    shown = []
    for one in profiles:
        by_thread: dict[str, list[StackTime]] = {}
        for stack in one.stacks:
            by_thread.setdefault(stack.thread, []).append(stack)
        for thread, stacks in by_thread.items():
            shown.append(
                {
                    "type": "sampled",
                    "name": f"{one.pid} {thread}",
                    "unit": "milliseconds",
                    "startValue": 0,
                    "endValue": round(sum(stack.ms for stack in stacks), 3),
                    "samples": [
                        [numbers.setdefault(frame, len(numbers)) for frame in stack.frames] for stack in stacks
                    ],
                    "weights": [stack.ms for stack in stacks],
                }
            )
    return {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": "kiai",
        "shared": {"frames": [{"name": name} for name in numbers]},
        "profiles": shown,
    }

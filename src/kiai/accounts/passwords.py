"""Password hashes: argon2id over the md5 hex that the game client sends, off the event loop and bounded.

The md5 is a password in every respect and is treated as one everywhere. bcrypt hashes are only accepted because
imported accounts have them; `verify` then gives the caller a new one to store.

See docs/spec/security.md#log-in-and-passwords.
"""

import asyncio
import functools
import hashlib
import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from kiai.clock import Clock
from kiai.fair_queue import FairQueue
from kiai.measuring import Pool

if TYPE_CHECKING:
    from pwdlib import PasswordHash

T = TypeVar("T")

WAITING_MAX: Final = 64
WAITING_OF_CALLER_MAX: Final = 8
WAIT_S: Final = 5.0
MEMORY_KIB: Final = 19 * 1024
REMEMBERED_MAX: Final = 20_000
REMEMBERED_S: Final = 3600.0

_NO_PASSWORD: Final = "0" * 32


class Passwords:
    """Hashes and verifies in a small thread pool.

    Callers, usually networks, take turns (`fair_queue.py`): a storm of guesses from one address waits or is refused,
    and the others log in meanwhile.
    """

    def __init__(self, threads: int = os.cpu_count() or 1, wait_s: float = WAIT_S) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="passwords")
        self._queue = FairQueue(
            "login",
            running_max=threads,
            waiting_max=WAITING_MAX,
            per_caller_max=WAITING_OF_CALLER_MAX,
            wait_s=wait_s,
        )
        self._threads = threads

    def pool(self) -> Pool:
        """The threads that hash."""
        return Pool(self._queue.running, self._threads)

    @functools.cached_property
    def _hasher(self) -> "PasswordHash":
        # 2 MB that a server without a login yet does not need.
        from pwdlib import PasswordHash
        from pwdlib.hashers.argon2 import Argon2Hasher
        from pwdlib.hashers.bcrypt import BcryptHasher

        return PasswordHash((Argon2Hasher(memory_cost=MEMORY_KIB, time_cost=2, parallelism=1), BcryptHasher()))

    async def hash(self, password_md5: str, caller: str = "") -> str:
        """The text to store for a password md5. Raises Unavailable when too many wait, or one waits for 5 s."""
        return await self._run(caller, self._hasher.hash, password_md5)

    async def verify(self, password_md5: str, stored: str, caller: str = "") -> tuple[bool, str | None]:
        """Whether the password is right, and a new hash to store if `stored` is of an old kind. Raises Unavailable."""
        return await self._run(caller, self._verified, password_md5, stored)

    async def pretend(self, caller: str = "") -> None:
        """Takes as long as `verify`, for an account that does not exist. Raises Unavailable."""
        await self.hash(_NO_PASSWORD, caller)

    def _verified(self, password_md5: str, stored: str) -> tuple[bool, str | None]:
        from pwdlib.exceptions import UnknownHashError

        try:
            return self._hasher.verify_and_update(password_md5, stored)
        except UnknownHashError:  # no password fits; the time it takes must not tell
            self._hasher.hash(_NO_PASSWORD)
            return False, None

    async def _run(self, caller: str, work: Callable[..., T], *args: str) -> T:
        await self._queue.enter(caller)
        job = self._pool.submit(work, *args)
        loop = asyncio.get_running_loop()
        # A caller that gives up does not stop its thread: the place is free when the thread is.
        job.add_done_callback(lambda _: _call_soon(loop, self._queue.leave))
        return await asyncio.wrap_future(job)

    def close(self) -> None:
        """Lets running hashes finish."""
        self._pool.shutdown()


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)


class Remembered:
    """Which passwords were right within the last hour, so that logging in again is not paid for again.

    Holds neither passwords nor hashes, only a digest of both under a key that dies with the process. The stored hash
    is part of it: a new password makes every answer about the old one useless.
    """

    def __init__(self, clock: Clock, most: int = REMEMBERED_MAX) -> None:
        self._clock = clock
        self._most = most
        self._key = secrets.token_bytes(32)
        self._until: dict[bytes, float] = {}  # oldest first

    def add(self, password_md5: str, stored: str) -> None:
        """This password was right for this hash."""
        digest = self._digest(password_md5, stored)
        self._until.pop(digest, None)
        while len(self._until) >= self._most:
            del self._until[next(iter(self._until))]
        self._until[digest] = self._clock.monotonic() + REMEMBERED_S

    def has(self, password_md5: str, stored: str) -> bool:
        """Whether this password was right for this hash within the last hour."""
        digest = self._digest(password_md5, stored)
        until = self._until.get(digest)
        if until is None:
            return False
        if self._clock.monotonic() < until:
            return True
        del self._until[digest]
        return False

    def _digest(self, password_md5: str, stored: str) -> bytes:
        return hashlib.blake2b(f"{password_md5} {stored}".encode(), key=self._key, digest_size=32).digest()

"""Password hashes: argon2id of the md5 that the game client sends, computed in a bounded thread pool.

The md5 is sufficient to log in, so it is treated as a password everywhere. bcrypt hashes come from imported accounts;
`verify` returns a new hash to replace them.

See docs/spec/security.md#login-and-passwords.
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
from kiai.errors import Unavailable
from kiai.fair_queue import FairQueue
from kiai.measuring import PoolUsage

if TYPE_CHECKING:
    from pwdlib import PasswordHash

T = TypeVar("T")

WAITING_MAX: Final = 64
WAITING_OF_CALLER_MAX: Final = 8
WAIT_S: Final = 5.0
MEMORY_KIB: Final = 19 * 1024  # with time_cost=2 and parallelism=1, the recommendation of OWASP
REMEMBERED_MAX: Final = 20_000  # entries of about 200 bytes
REMEMBERED_S: Final = 3600.0

_NO_PASSWORD: Final = "0" * 32


class Passwords:
    """Hashes and verifies passwords in a thread pool.

    Callers, usually networks, take turns (`fair_queue.py`): many guesses from one address do not delay the logins of
    others.
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
        self._closed = False

    def pool(self) -> PoolUsage:
        """Return the number of busy threads and of waiting passwords."""
        return self._queue.pool()

    @functools.cached_property
    def _hasher(self) -> "PasswordHash":
        # Imported at the first login: 2 MB that an idle server does not need.
        from pwdlib import PasswordHash
        from pwdlib.hashers.argon2 import Argon2Hasher
        from pwdlib.hashers.bcrypt import BcryptHasher

        return PasswordHash((Argon2Hasher(memory_cost=MEMORY_KIB, time_cost=2, parallelism=1), BcryptHasher()))

    async def hash(self, password_md5: str, caller: str = "") -> str:
        """Return the hash to store for a password md5. Raises Unavailable when the queue is full or after 5 s."""
        return await self._run(caller, self._hasher.hash, password_md5)

    async def verify(self, password_md5: str, stored: str, caller: str = "") -> tuple[bool, str | None]:
        """Return whether the password is right, and a new hash if `stored` has an old format. Raises Unavailable."""
        return await self._run(caller, self._verified, password_md5, stored)

    async def dummy_verify(self, caller: str = "") -> None:
        """Take as long as `verify`, for an account that does not exist. Raises Unavailable."""
        # Otherwise the time of the answer would reveal whether an account exists.
        await self.hash(_NO_PASSWORD, caller)

    def _verified(self, password_md5: str, stored: str) -> tuple[bool, str | None]:
        from pwdlib.exceptions import UnknownHashError

        try:
            return self._hasher.verify_and_update(password_md5, stored)
        except UnknownHashError:  # e.g. a damaged row: no password is right, and it takes as long as a wrong one
            self._hasher.hash(_NO_PASSWORD)
            return False, None

    async def _run(self, caller: str, work: Callable[..., T], *args: str) -> T:
        await self._queue.enter(caller)
        if self._closed:
            self._queue.leave(caller)
            raise Unavailable("login", "the server stops")
        job = self._pool.submit(work, *args)
        loop = asyncio.get_running_loop()
        # By callback: when the caller is cancelled, its thread still runs, and the turn ends with the thread.
        job.add_done_callback(lambda _: _call_soon(loop, lambda: self._queue.leave(caller)))
        return await asyncio.wrap_future(job)

    async def close(self) -> None:
        """Wait for running hashes and end the threads. Waiting callers raise Unavailable."""
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown)


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    if not loop.is_closed():  # a hash may finish after the server has stopped
        loop.call_soon_threadsafe(call)


class VerifiedPasswords:
    """The passwords that were right within the last hour, so that a repeated login needs no hash.

    Stores a digest of password and hash with a key that exists only in this process. Because the digest covers the
    stored hash, a new password invalidates the entries of the old one.
    """

    def __init__(self, clock: Clock, size_max: int = REMEMBERED_MAX) -> None:
        self._clock = clock
        self._size_max = size_max
        self._key = secrets.token_bytes(32)
        self._until: dict[bytes, float] = {}  # by digest, in seconds of the monotonic clock; oldest first

    def add(self, password_md5: str, stored: str) -> None:
        """Record that this password is right for this hash."""
        digest = self._digest(password_md5, stored)
        self._until.pop(digest, None)  # so that the entry moves to the end
        while len(self._until) >= self._size_max:
            del self._until[next(iter(self._until))]
        self._until[digest] = self._clock.monotonic() + REMEMBERED_S

    def has(self, password_md5: str, stored: str) -> bool:
        """Return whether this password was right for this hash within the last hour."""
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

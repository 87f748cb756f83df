"""Password hashes: argon2id over the md5 hex that the game client sends, off the event loop and bounded.

The md5 is a password in every respect and is treated as one everywhere. bcrypt hashes are only accepted because
imported accounts have them; `needs_rehash` then tells the caller to store a new one.
"""

import asyncio
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from kiai.errors import Unavailable

if TYPE_CHECKING:
    from pwdlib import PasswordHash

T = TypeVar("T")

WAITING_MAX: Final = 64
MEMORY_KIB: Final = 19 * 1024


class Passwords:
    """Hashes and verifies in a small thread pool: a storm of logins waits or is refused, nobody else is slowed."""

    def __init__(self, threads: int = os.cpu_count() or 1) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="passwords")
        self._waiting = 0

    @functools.cached_property
    def _hasher(self) -> "PasswordHash":
        # 2 MB that a server without a login yet does not need.
        from pwdlib import PasswordHash
        from pwdlib.hashers.argon2 import Argon2Hasher
        from pwdlib.hashers.bcrypt import BcryptHasher

        return PasswordHash((Argon2Hasher(memory_cost=MEMORY_KIB, time_cost=2, parallelism=1), BcryptHasher()))

    async def hash(self, password_md5: str) -> str:
        """The text to store for a password md5. Raises Unavailable when too many wait."""
        return await self._run(self._hasher.hash, password_md5)

    async def verify(self, password_md5: str, stored: str) -> tuple[bool, str | None]:
        """Whether the password is right, and a new hash to store if `stored` is of an old kind."""
        return await self._run(self._hasher.verify_and_update, password_md5, stored)

    async def _run(self, work: Callable[..., T], *args: str) -> T:
        if self._waiting >= WAITING_MAX:
            raise Unavailable("login", f"{WAITING_MAX} passwords are waiting")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Lets running hashes finish."""
        self._pool.shutdown()

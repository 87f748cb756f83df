"""Password hashes in the tests take little memory, because each hash of a real server takes 30 ms of processor time.

That was a third of the time of the tests. The algorithm and everything around it are the same. Tests of guesses, of
attacks and of the hash itself use the fixture `real_hashes`. Servers and commands that start as from a shell have real
hashes, too.
"""

import os
from typing import Final

from kiai.accounts import passwords

REAL_KIB: Final = passwords.MEMORY_KIB
SMALL_KIB: Final = 64
REAL: Final = "TESTS_REAL_HASHES"
"""An environment variable of this process, and of the servers and commands that it starts."""


def choose_memory() -> None:
    """Let the hashes of this process take little memory, unless its environment wants real ones."""
    passwords.MEMORY_KIB = REAL_KIB if REAL in os.environ else SMALL_KIB  # type: ignore[misc]

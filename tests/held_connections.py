"""Connections that a program of its own holds open, and the memory that each of them takes in this process."""

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

HELD: Final = 150


async def kb_of_a_connection(program: str, port: int, root: Path) -> float:
    """Return the memory in KB that each of `HELD` connections takes.

    `program` gets a port, the file of a root certificate and the number of connections. It opens them, writes the line
    `held`, and keeps them until it is killed.
    """

    @contextlib.asynccontextmanager
    async def held(number: int) -> AsyncIterator[None]:
        command = (sys.executable, "-c", program, str(port), str(root), str(number))
        holding = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
        assert holding.stdout is not None
        try:
            assert await holding.stdout.readline() == b"held\n"
            yield
        finally:
            holding.kill()
            await holding.wait()

    async with held(10):  # what the process needs once
        before_kb = _anonymous_kb()
        async with held(HELD):
            return (_anonymous_kb() - before_kb) / HELD


def _anonymous_kb() -> int:
    """Return the memory of this process without that of files."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return int(text.partition("Anonymous:")[2].split()[0])

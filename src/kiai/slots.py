"""Memory that the workers of one server share: each leaves bytes in a slot of its own, and reads those of the others.

What a worker left last stays whole and readable when it is killed, even while it writes. The memory has no name in any
file system: it is gone when the last process that holds it is gone, and a restart finds nothing of the one before.
"""

import mmap
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

HALF_BYTES: Final = 1 << 20
"""The most that fits into a slot. Pages that nobody wrote to take no memory."""
SLOT_BYTES: Final = 2 * HALF_BYTES + mmap.PAGESIZE
_HEAD: Final = struct.Struct("<Q?")  # the process that owns the slot, 0 for none; which half counts
_BLOB: Final = struct.Struct("<II")  # length, checksum
TRIES: Final = 3


class Left(NamedTuple):
    """What lies in a slot, and whether whoever left it still runs."""

    data: bytes
    alive: bool


def make(count: int) -> int:
    """Memory for `count` slots: its file descriptor."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("kiai-figures")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, count * SLOT_BYTES)
    return descriptor


class Slots:
    """The slots behind a file descriptor. `mine` is the one that this process writes; None: it only watches."""

    def __init__(self, descriptor: int, count: int, mine: int | None = None) -> None:
        self.count = count
        self._memory = mmap.mmap(descriptor, count * SLOT_BYTES)
        self._mine = mine

    def before(self) -> bytes:
        """What the last owner of this process's slot left; empty for the first one."""
        assert self._mine is not None
        return self._read(self._mine).data

    def leave(self, data: bytes) -> None:
        """Replaces what lies in this process's slot. Raises ValueError for more than HALF_BYTES."""
        assert self._mine is not None
        if len(data) > HALF_BYTES - _BLOB.size:
            raise ValueError(f"{len(data)} bytes do not fit into a slot")
        start = self._mine * SLOT_BYTES
        _, second = _HEAD.unpack_from(self._memory, start)
        at = self._half(self._mine, not second)
        _BLOB.pack_into(self._memory, at, len(data), zlib.crc32(data))
        self._memory[at + _BLOB.size : at + _BLOB.size + len(data)] = data
        _HEAD.pack_into(self._memory, start, os.getpid(), not second)

    def others(self) -> Iterator[Left]:
        """What lies in every other slot in which anything lies."""
        for slot in range(self.count):
            if slot != self._mine and (found := self._read(slot)).data:
                yield found

    def freed(self, slot: int) -> None:
        """Says that the owner of a slot is gone. What it left stays."""
        start = slot * SLOT_BYTES
        _, second = _HEAD.unpack_from(self._memory, start)
        _HEAD.pack_into(self._memory, start, 0, second)

    def _half(self, slot: int, second: bool) -> int:
        return slot * SLOT_BYTES + mmap.PAGESIZE + (HALF_BYTES if second else 0)

    def _read(self, slot: int) -> Left:
        for _ in range(TRIES):  # its owner may have written twice since the head was read
            owner, second = _HEAD.unpack_from(self._memory, slot * SLOT_BYTES)
            at = self._half(slot, second)
            length, checksum = _BLOB.unpack_from(self._memory, at)
            if length <= HALF_BYTES - _BLOB.size:
                data = self._memory[at + _BLOB.size : at + _BLOB.size + length]
                if zlib.crc32(data) == checksum:
                    return Left(data, alive=owner != 0)
        return Left(b"", alive=False)

"""Memory that the workers of one server share: each writes bytes to its own slot and reads the slots of the others.

A slot has two halves and a head that says which half is valid. A write goes to the other half and then changes the
head, so the last complete write stays readable when a worker is killed during a write. Layout of a slot:

    page 0: the head (`_HEAD`), the number of calls of `ask` and that of `write` (`_COUNT` each)
    then:   half 0, half 1, each a length and a checksum (`_BLOB`) and the bytes

A worker asks the others for a write by a number in its own slot, so that they write when it reads. It sees in theirs
when they have done so.

The memory has no name in a file system. It ends with the last process that has it open, so a restart begins with empty
slots.
"""

import mmap
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

HALF_BYTES: Final = 1 << 20
"""The size of a half, in bytes, and so the maximum of a write. Pages that were never written take no memory."""
SLOT_BYTES: Final = 2 * HALF_BYTES + mmap.PAGESIZE
_HEAD: Final = struct.Struct("<Q?")  # the process id of the owner, 0 for no owner; whether the second half is valid
_COUNT: Final = struct.Struct("<Q")
_ASKED_AT: Final = 16  # bytes from the start of the slot
_WRITTEN_AT: Final = 24
_BLOB: Final = struct.Struct("<II")  # length, checksum
TRIES: Final = 3


class SlotContents(NamedTuple):
    """The contents of a slot. `alive` is whether the worker that wrote them still runs."""

    data: bytes
    alive: bool


def create(count: int) -> int:
    """Create memory for `count` slots and return its file descriptor."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("kiai-figures")
    else:  # not Linux: an open file without a name
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, count * SLOT_BYTES)
    return descriptor


class SharedMemory:
    """The slots of a file descriptor. `mine` is the slot that this process writes, or None for a reader."""

    def __init__(self, descriptor: int, count: int, mine: int | None = None) -> None:
        self.count = count
        self._memory = mmap.mmap(descriptor, count * SLOT_BYTES)
        self._mine = mine

    def previous(self) -> bytes:
        """Return the last contents of this process's slot, written by its predecessor; empty if it has none."""
        assert self._mine is not None
        return self._read(self._mine).data

    def write(self, data: bytes) -> None:
        """Replace the contents of this process's slot. Raises ValueError if they do not fit into HALF_BYTES."""
        assert self._mine is not None
        if len(data) > HALF_BYTES - _BLOB.size:
            raise ValueError(f"{len(data)} bytes do not fit into a slot")
        start = self._mine * SLOT_BYTES
        _, second = _HEAD.unpack_from(self._memory, start)
        at = self._half(self._mine, not second)
        _BLOB.pack_into(self._memory, at, len(data), zlib.crc32(data))
        self._memory[at + _BLOB.size : at + _BLOB.size + len(data)] = data
        # Last, so that readers see either the old or the new half.
        _HEAD.pack_into(self._memory, start, os.getpid(), not second)
        self._count(_WRITTEN_AT)

    def read_others(self) -> Iterator[SlotContents]:
        """Yield the contents of all other slots that are not empty."""
        for slot in range(self.count):
            if slot != self._mine and (found := self._read(slot)).data:
                yield found

    def ask(self) -> None:
        """Ask the other workers to write their slots soon."""
        self._count(_ASKED_AT)

    def asked(self) -> int:
        """Return how often the other workers have asked. A higher number than before is a new call of `ask`."""
        slots = (slot * SLOT_BYTES for slot in range(self.count) if slot != self._mine)
        return sum(_COUNT.unpack_from(self._memory, start + _ASKED_AT)[0] for start in slots)

    def written(self) -> set[tuple[int, int]]:
        """Return the slot of each other running worker, with the number of its writes."""
        starts = {slot: slot * SLOT_BYTES for slot in range(self.count) if slot != self._mine}
        return {
            (slot, _COUNT.unpack_from(self._memory, start + _WRITTEN_AT)[0])
            for slot, start in starts.items()
            if _HEAD.unpack_from(self._memory, start)[0] != 0
        }

    def mark_free(self, slot: int) -> None:
        """Record that the owner of a slot has ended. The contents stay, for counters."""
        start = slot * SLOT_BYTES
        _, second = _HEAD.unpack_from(self._memory, start)
        _HEAD.pack_into(self._memory, start, 0, second)

    def _count(self, at: int) -> None:
        """Add 1 to a number in this process's slot."""
        assert self._mine is not None
        at += self._mine * SLOT_BYTES
        [count] = _COUNT.unpack_from(self._memory, at)
        _COUNT.pack_into(self._memory, at, count + 1)

    def _half(self, slot: int, second: bool) -> int:
        return slot * SLOT_BYTES + mmap.PAGESIZE + (HALF_BYTES if second else 0)

    def _read(self, slot: int) -> SlotContents:
        # There is no lock between processes, because a killed worker would never release it. If the owner writes twice
        # during a read, the checksum does not match and the read is repeated.
        for _ in range(TRIES):
            owner, second = _HEAD.unpack_from(self._memory, slot * SLOT_BYTES)
            at = self._half(slot, second)
            length, checksum = _BLOB.unpack_from(self._memory, at)
            if length <= HALF_BYTES - _BLOB.size:
                data = self._memory[at + _BLOB.size : at + _BLOB.size + length]
                if zlib.crc32(data) == checksum:
                    return SlotContents(data, alive=owner != 0)
        return SlotContents(b"", alive=False)

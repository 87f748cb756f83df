"""Decoding without processes, for tests of what is done with what was decoded."""

from collections.abc import Callable
from typing import Final, TypeVar

from kiai.decoding import process
from kiai.decoding.decoder import Decoder
from kiai.measuring import Pool
from kiai.workers import Load

T = TypeVar("T")


class InProcess:
    """Does each job at once, with the code of the processes."""

    async def ask(
        self, caller: str, head: bytes, read: Callable[[bytes], T], *, cpu_s: float, load: Load | None = None
    ) -> T:
        return read(process.answer(head, b"" if load is None else await load()))

    def pool(self) -> Pool:
        return Pool(0, 1)

    async def close(self) -> None:
        pass


DECODER: Final = Decoder(InProcess(), InProcess())

"""Decoding in the test process, for tests that are not about worker processes."""

from collections.abc import Callable
from typing import Final, TypeVar

from kiai.decoding import process
from kiai.decoding.decoder import Decoder
from kiai.decoding.page_decoder import PageDecoder
from kiai.measuring import PoolUsage
from kiai.process_pool import Load

T = TypeVar("T")


class InProcess:
    """Runs each job immediately, with the code of the worker processes."""

    async def run_job(
        self, caller: str, head: bytes, read: Callable[[bytes], T], *, cpu_s: float, load: Load | None = None
    ) -> T:
        return read(process.answer(head, b"" if load is None else await load()))

    def pool(self) -> PoolUsage:
        return PoolUsage(0, 1)

    async def close(self) -> None:
        pass


DECODER: Final = Decoder(InProcess(), InProcess(), InProcess())
PAGES: Final = PageDecoder(InProcess())

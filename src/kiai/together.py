"""Work on many things that is done at the same time, a few things at once."""

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

AT_ONCE: Final = 8
"""The reads that go to the database in one round trip, or the calls that share one to Redis.

Each number of reads is a statement of its own, of which a connection prepares a bounded number.
"""


def in_pieces(items: Sequence[T], most: int = AT_ONCE) -> Iterator[Sequence[T]]:
    """Yield the items in order, at most `most` in each piece."""
    for start in range(0, len(items), most):
        yield items[start : start + most]


async def together(*work: Awaitable[T]) -> list[T]:
    """Do all work at the same time and return the results in order.

    Waits until all of it has ended. Then raises the first error, if any.
    """
    # PERF: calls of Redis that begin in one turn of the event loop share a round trip, which costs more than they do.
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results  # type: ignore[return-value]  # none is an error

"""The hook that records a change of an account in the transaction of the change."""

from collections.abc import Awaitable, Callable, Mapping

from kiai.storage.port import Transaction

Record = Callable[[Transaction, int, Mapping[str, object], Mapping[str, object]], Awaitable[object]]
"""Called with the time of the change (unix ms), and the changed values before and after. Not called without a change.

The caller of a change passes it to write an audit row.
"""


async def no_record(tx: Transaction, at_ms: int, before: Mapping[str, object], after: Mapping[str, object]) -> None:
    """Record nothing."""

"""A verdict that restricts: the player of a flag is restricted, and the flag is closed as cheating, in one act."""

import unicodedata
from typing import Final

from kiai.accounts import User
from kiai.clock import Clock
from kiai.scores.flags import FlagObject
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority
from kiai.staff.flag_queue import FlagQueue
from kiai.staff.reasons import REASON_MAX, checked_reason
from kiai.staff.restrictions import Restrictions, Sanction
from kiai.storage.port import Transaction

PERMISSION: Final = "users.restrict"
VERDICT: Final = "cheating"


class FlagVerdicts:
    """Restricts players because of flags."""

    def __init__(self, authority: Authority, queue: FlagQueue, restrictions: Restrictions, clock: Clock) -> None:
        self._authority = authority
        self._queue = queue
        self._restrictions = restrictions
        self._clock = clock

    async def restrict(self, actor: Actor, flag_id: int, reason: str, *, seconds: int | None = None) -> Sanction:
        """Restrict the player of an open flag, and close the flag with the same reason, in one transaction.

        It writes the audit rows `restrict` and `flag_close`. Raises as `Restrictions.restrict`, NotFound("flag"), and
        WrongState if the flag is closed already; then neither is done.
        """
        await self._authority.require(actor, PERMISSION)
        reason = checked_reason(reason)
        flag = await self._queue.find(actor, flag_id)

        async def close(tx: Transaction, user: User) -> None:
            # The restriction has checked its permission again in this transaction. It implies that for flags.
            await self._queue.close_within(tx, actor, flag_id, VERDICT, reason, self._clock.now_ms())

        return await self._restrictions.restrict(actor, flag.player.id, reason, seconds=seconds, also=close)


def reason_of(flag: FlagObject) -> str:
    """Return the reason that a restriction because of a flag begins with: its kind, its evidence and its id."""
    evidence = " ".join(flag.details.split())
    text = f"{flag.kind.replace('_', ' ')}{': ' if evidence else ''}{evidence}"
    printable = "".join(char for char in text if char == " " or not unicodedata.category(char).startswith(("C", "Z")))
    end = f" (flag {flag.id})"
    return printable[: REASON_MAX - len(end)] + end

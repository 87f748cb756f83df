"""`!claim`: the operator's way from a claim code to the owner's account."""

import asyncio
from collections.abc import Sequence
from typing import Final

from kiai.chat.bot import Argument, Asker, Command, Kind
from kiai.errors import NotFound
from kiai.logs import get_logger
from kiai.realtime.port import Realtime
from kiai.staff.ownership import Ownership

FAILURES_PER_MINUTE: Final = 10
FAILURES_PER_HOUR: Final = 100
SLOWED_S: Final = 1.0
CODE_MAX: Final = 64  # no spelling of a code is longer


class OwnershipCommands:
    """Claiming a server that has no owner."""

    def __init__(self, ownership: Ownership, realtime: Realtime, *, limited: bool) -> None:
        self._ownership = ownership
        self._realtime = realtime
        self._limited = limited

    async def claim(self, asker: Asker, code: str) -> Sequence[str]:
        """`!claim`. Wrong codes are counted like wrong passwords: ten a minute, and slower after a hundred an hour."""
        user_id = asker.session.user_id
        soon, late = f"claim-failures:{user_id}", f"claim-failures-hour:{user_id}"
        if self._limited:
            left = await self._realtime.take(soon, limit=FAILURES_PER_MINUTE, period_s=60.0, cost=0)
            if not left.remaining:
                return ("Too many wrong codes; try again in a minute.",)
            hour = await self._realtime.take(late, limit=FAILURES_PER_HOUR, period_s=3600.0, cost=0)
            if not hour.remaining:
                await asyncio.sleep(SLOWED_S)
        try:
            await self._ownership.claim(user_id, code[:CODE_MAX])
        except NotFound:
            get_logger("ownership").warning("claim refused", user_id=user_id)
            if self._limited:
                await self._realtime.take(soon, limit=FAILURES_PER_MINUTE, period_s=60.0)
                await self._realtime.take(late, limit=FAILURES_PER_HOUR, period_s=3600.0)
            return ("This code is wrong or no longer valid; `kiai users claim-code` shows the right one.",)
        get_logger("ownership").info("server claimed", user_id=user_id)
        return ("You are the owner of this server now. !help lists what you can do.",)

    def commands(self) -> list[Command]:
        """What this page declares."""
        return [
            Command(
                name="claim",
                handler=self.claim,
                help="Makes you the owner of a server that has none.",
                arguments=(Argument("code", Kind.TEXT),),
                hidden=True,  # in a channel, too: a code that others see is theirs
            )
        ]

"""`!claim`: makes the account that has a claim code the owner of the server."""

import asyncio
from collections.abc import Sequence
from typing import Final

from kiai.chat.bot import Argument, ArgumentKind, BotCommand, CommandContext
from kiai.errors import NotFound
from kiai.logs import get_logger
from kiai.realtime.port import Realtime
from kiai.staff.ownership import Ownership

# The same limits as for wrong passwords of a name (docs/operate/limits.md).
FAILURES_PER_MINUTE: Final = 10
FAILURES_PER_HOUR: Final = 100
SLOWED_S: Final = 1.0
CODE_MAX: Final = 64  # a code with dashes and spaces is shorter


class OwnershipCommands:
    """The handler of `!claim`."""

    def __init__(self, ownership: Ownership, realtime: Realtime, *, limited: bool) -> None:
        self._ownership = ownership
        self._realtime = realtime
        self._limited = limited

    async def claim(self, context: CommandContext, code: str) -> Sequence[str]:
        """`!claim`. A player may send 10 wrong codes per minute; after 100 per hour each attempt takes a second."""
        user_id = context.session.user_id
        minute_key, hour_key = f"claim-failures:{user_id}", f"claim-failures-hour:{user_id}"
        if self._limited:
            # Cost 0 only reads the limits. Wrong codes consume them below.
            minute = await self._realtime.consume(minute_key, limit=FAILURES_PER_MINUTE, period_s=60.0, cost=0)
            if not minute.remaining:
                return ("Too many wrong codes. Try again in a minute.",)
            hour = await self._realtime.consume(hour_key, limit=FAILURES_PER_HOUR, period_s=3600.0, cost=0)
            if not hour.remaining:
                await asyncio.sleep(SLOWED_S)
        try:
            await self._ownership.claim(user_id, code[:CODE_MAX])
        except NotFound:
            get_logger("ownership").warning("claim refused", user_id=user_id)
            if self._limited:
                await self._realtime.consume(minute_key, limit=FAILURES_PER_MINUTE, period_s=60.0)
                await self._realtime.consume(hour_key, limit=FAILURES_PER_HOUR, period_s=3600.0)
            return ("This code is not valid. `kiai users claim-code` shows the current code.",)
        get_logger("ownership").info("server claimed", user_id=user_id)
        return ("You are now the owner of this server. Type !help for a list of commands.",)

    def commands(self) -> list[BotCommand]:
        """Return the declaration of `!claim`."""
        return [
            BotCommand(
                name="claim",
                handler=self.claim,
                help="Makes you the owner of a server without an owner.",
                arguments=(Argument("code", ArgumentKind.TEXT),),
                audit="claim_owner",
                hidden=True,  # also in a channel, because any player who sees the code can use it
            )
        ]

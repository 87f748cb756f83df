"""The builds of the clients of other players, for staff who help with an outdated or modified client."""

from kiai.accounts import User
from kiai.realtime.port import Realtime
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, check_not_bot


class Clients:
    """Reads the builds of clients that are logged in."""

    def __init__(self, authority: Authority, realtime: Realtime) -> None:
        self._authority = authority
        self._realtime = realtime

    async def builds_of(self, actor: Actor, player: User) -> list[str]:
        """Return the builds of the player's sessions, each once and as the clients wrote them.

        Raises NotAllowed, and Refused for the bot.
        """
        await self._authority.require(actor, "users.client")
        check_not_bot(player.id)
        sessions = await self._realtime.sessions_of(player.id)
        return list(dict.fromkeys(session.client for session in sessions))

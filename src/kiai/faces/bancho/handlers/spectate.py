"""Watching a player: packets 16, 17, 18, 21 (docs/spec/spectating.md)."""

from kiai.errors import NotFound, Refused
from kiai.faces.bancho import packets
from kiai.faces.bancho.announce import presence as shown
from kiai.faces.bancho.announce.spectate import SHOWN, channel_info
from kiai.faces.bancho.packets import Client
from kiai.faces.bancho.turn import Handlers, Turn
from kiai.spectating import Spectating


class SpectateHandlers:
    """The handlers of spectating."""

    def __init__(self, spectating: Spectating) -> None:
        self._spectating = spectating

    async def start(self, turn: Turn, host_id: int) -> None:
        """16 START_SPECTATING."""
        try:
            watching = await self._spectating.start(turn.session, host_id)
        except Refused:
            turn.say(packets.notification("The bot does not play."))
            return
        except NotFound:
            turn.say(packets.user_logout(host_id), packets.notification("This player is no longer online."))
            return
        turn.session = watching.session
        if watching.host is not None:
            turn.say(packets.channel_join_success(SHOWN), channel_info(len(watching.fellows) + 2))
            turn.say(*(packets.fellow_spectator_joined(fellow) for fellow in watching.fellows))
            turn.say(shown.presence(watching.host), shown.stats_for(turn.session, watching.host))

    async def stop(self, turn: Turn, _: None) -> None:
        """17 STOP_SPECTATING."""
        if turn.session.spectating:
            turn.session = await self._spectating.stop(turn.session)
            turn.say(packets.channel_kick(SHOWN))

    async def frames(self, turn: Turn, bundle: bytes) -> None:
        """18 SPECTATE_FRAMES."""
        await self._spectating.frames(turn.session, bundle)

    async def cannot_watch(self, turn: Turn, _: None) -> None:
        """21 CANT_SPECTATE."""
        await self._spectating.cannot_watch(turn.session)

    def table(self) -> Handlers:
        """What this page handles."""
        return {
            Client.START_SPECTATING: self.start,
            Client.STOP_SPECTATING: self.stop,
            Client.SPECTATE_FRAMES: self.frames,
            Client.CANT_SPECTATE: self.cannot_watch,
        }

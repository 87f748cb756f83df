"""Spectating: packets 16, 17, 18, 21 (docs/spec/spectating.md)."""

from kiai.chat.model import SPECTATOR
from kiai.errors import NotFound, Refused
from kiai.faces.bancho import packets
from kiai.faces.bancho.announce import presence as presence_packets
from kiai.faces.bancho.announce.spectate import channel_info
from kiai.faces.bancho.packets import ClientPacket
from kiai.faces.bancho.poll_context import Handlers, PollContext
from kiai.spectating import Spectating


class SpectateHandlers:
    """The handlers of spectating."""

    def __init__(self, spectating: Spectating) -> None:
        self._spectating = spectating

    async def start(self, context: PollContext, host_id: int) -> None:
        """16 START_SPECTATING."""
        try:
            watching = await self._spectating.start(context.session, host_id)
        except Refused:
            context.reply(packets.notification("The bot does not play."))
            return
        except NotFound:
            # The client's list is outdated: USER_LOGOUT removes the player from it.
            context.reply(packets.user_logout(host_id), packets.notification("This player is no longer online."))
            return
        context.session = watching.session
        if watching.host is not None:
            # The fellow spectators, the host and this player.
            context.reply(packets.channel_join_success(SPECTATOR), channel_info(len(watching.fellows) + 2))
            context.reply(*(packets.fellow_spectator_joined(fellow) for fellow in watching.fellows))
            context.reply(
                presence_packets.presence(watching.host), presence_packets.stats_for(context.session, watching.host)
            )

    async def stop(self, context: PollContext, _: None) -> None:
        """17 STOP_SPECTATING."""
        if context.session.spectating:
            context.session = await self._spectating.stop(context.session)
            context.reply(packets.channel_kick(SPECTATOR))

    async def frames(self, context: PollContext, bundle: bytes) -> None:
        """18 SPECTATE_FRAMES."""
        await self._spectating.frames(context.session, bundle)

    async def cannot_watch(self, context: PollContext, _: None) -> None:
        """21 CANT_SPECTATE."""
        await self._spectating.cannot_watch(context.session)

    def table(self) -> Handlers:
        """Return the handlers by packet."""
        return {
            ClientPacket.START_SPECTATING: self.start,
            ClientPacket.STOP_SPECTATING: self.stop,
            ClientPacket.SPECTATE_FRAMES: self.frames,
            ClientPacket.CANT_SPECTATE: self.cannot_watch,
        }

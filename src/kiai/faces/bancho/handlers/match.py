"""The lobby and matches: packets 29-33, 38-60, 70, 77, 87, 90, 93, 108, 109 (docs/spec/multiplayer.md)."""

from collections.abc import Callable

from kiai.chat.model import MATCH, silence_left_s
from kiai.clock import Clock
from kiai.errors import Invalid, KiaiError, NotFound, Refused
from kiai.faces.bancho import packets
from kiai.faces.bancho.announce.match import LOBBY_CHAT, seat_packets
from kiai.faces.bancho.packets import ClientPacket, JoinMatch, MatchForm
from kiai.faces.bancho.poll_context import Handler, Handlers, PollContext
from kiai.multiplayer import commands
from kiai.multiplayer.model import LOCKED
from kiai.multiplayer.service import Matches, SeatedSession
from kiai.osu.texts import chat_text
from kiai.realtime.port import MatchGone, SessionGone, chat_topic


class MatchHandlers:
    """The handlers of multiplayer."""

    def __init__(self, matches: Matches, clock: Clock) -> None:
        self._matches = matches
        self._clock = clock

    def _remind_of_silence(self, context: PollContext) -> int:
        """Return the remaining seconds of a silence, and send them to the player (docs/spec/game-rules.md#silence)."""
        seconds = silence_left_s(context.session.silenced_until_ms, self._clock.now_ms())
        if seconds:
            context.reply(packets.silence_end(seconds))
        return seconds

    async def enter_lobby(self, context: PollContext, _: None) -> None:
        """30 JOIN_LOBBY."""
        context.session, matches = await self._matches.enter_lobby(context.session)
        # Once per poll: a body that enters and leaves 20 times would otherwise get 20 lists, of up to 1 MB each.
        if not context.lobby_listed:
            context.lobby_listed = True
            context.reply(*(packets.match_new(match_id, match) for match_id, match in matches))

    async def leave_lobby(self, context: PollContext, _: None) -> None:
        """29 PART_LOBBY."""
        context.session = await self._matches.leave_lobby(context.session)

    async def create(self, context: PollContext, form: MatchForm) -> None:
        """31 CREATE_MATCH (docs/spec/multiplayer.md#create)."""
        self._remind_of_silence(context)
        try:
            if form.host_id != context.session.user_id:
                raise Refused("the host must be you")
            seated = await self._matches.create(
                context.session,
                name=form.name,
                password=form.password,
                map_id=form.map_id,
                map_md5=form.map_md5,
                map_name=form.map_name,
                mode=form.mode,
                mods=form.mods,
                win_condition=form.win_condition,
                team_type=form.team_type,
                free_mods=form.free_mods,
                seed=form.seed,
                locked=[seat for seat, slot in enumerate(form.slots) if slot.status == LOCKED],
            )
        except SessionGone:
            raise
        except (Refused, Invalid) as error:
            context.reply(
                packets.match_join_fail(), packets.notification(f"The match was not created: {chat_text(str(error))}.")
            )
            return
        self._reply_seated(context, seated)

    async def join(self, context: PollContext, request: JoinMatch) -> None:
        """32 JOIN_MATCH (docs/spec/multiplayer.md#join)."""
        self._remind_of_silence(context)
        try:
            seated = await self._matches.join(context.session, request.match_id, request.password)
        except SessionGone:
            raise
        except MatchGone:
            # The client's list may still have the match.
            context.reply(packets.match_dispose(request.match_id), packets.match_join_fail())
            return
        except KiaiError:  # the client waits for one of two answers, whatever the reason
            context.reply(packets.match_join_fail())
            return
        self._reply_seated(context, seated)

    def _reply_seated(self, context: PollContext, seated: SeatedSession) -> None:
        # Read from the session before the change: a seated player has left the lobby.
        was_in_lobby = chat_topic(LOBBY_CHAT) in context.session.follows
        context.session = seated.session
        context.reply(seat_packets(seated.match_id, seated.match, seated.users, was_in_lobby=was_in_lobby))

    async def leave(self, context: PollContext, _: None) -> None:
        """33 PART_MATCH (docs/spec/multiplayer.md#leave)."""
        if context.session.match_id:
            context.session = await self._matches.leave(context.session)
            context.reply(packets.channel_kick(MATCH))

    def _command_handler(self, command: Callable[..., commands.MatchCommand], *names: str) -> Handler:
        """Return the handler of a packet whose payload is empty or the command's only field."""

        async def handle(context: PollContext, payload: object) -> None:
            await self._matches.act(context.session, command, **dict.fromkeys(names, payload))

        return handle

    async def change_settings(self, context: PollContext, form: MatchForm) -> None:
        """41 MATCH_CHANGE_SETTINGS (docs/spec/multiplayer.md#settings)."""
        # Clients send the whole form. An outdated one, from before the host was passed on, names the old host.
        if form.host_id == context.session.user_id:
            await self._matches.change_settings(
                context.session,
                name=form.name,
                mods=form.mods,
                map_id=form.map_id,
                map_md5=form.map_md5,
                map_name=form.map_name,
                mode=form.mode,
                win_condition=form.win_condition,
                team_type=form.team_type,
                free_mods=form.free_mods,
                seed=form.seed,
            )

    async def change_password(self, context: PollContext, form: MatchForm) -> None:
        """90 MATCH_CHANGE_PASSWORD."""
        await self._matches.act(context.session, commands.ChangePassword, password=form.password)

    async def score_frame(self, context: PollContext, payload: bytes) -> None:
        """47 MATCH_SCORE_UPDATE (docs/spec/multiplayer.md#scores)."""
        await self._matches.score_frame(context.session, payload)

    async def invite(self, context: PollContext, user_id: int) -> None:
        """87 MATCH_INVITE (docs/spec/multiplayer.md#invitations)."""
        if self._remind_of_silence(context):
            return
        try:
            await self._matches.invite(context.session, context.session.match_id, user_id)
        except Refused as refused:
            context.reply(packets.notification(f"The invitation was not sent: {chat_text(str(refused))}."))

    async def tournament_info(self, context: PollContext, match_id: int) -> None:
        """93 TOURNAMENT_MATCH_INFO_REQUEST (docs/spec/multiplayer.md#tournament-clients)."""
        try:
            match = await self._matches.match_for_viewer(context.session, match_id)
        except NotFound:
            context.reply(packets.match_dispose(match_id))
            return
        context.reply(packets.match_update(match_id, match, hide_password=True))

    async def view(self, context: PollContext, match_id: int) -> None:
        """108 TOURNAMENT_JOIN_MATCH_CHANNEL."""
        context.session = await self._matches.view(context.session, match_id)
        context.reply(packets.channel_join_success(MATCH))

    async def stop_viewing(self, context: PollContext, match_id: int) -> None:
        """109 TOURNAMENT_LEAVE_MATCH_CHANNEL."""
        # A seated player also has `room_id`, but leaves its channel only with its seat.
        if context.session.room_id == match_id and not context.session.match_id:
            context.session = await self._matches.stop_viewing(context.session)
            context.reply(packets.channel_kick(MATCH))

    def table(self) -> Handlers:
        """Return the handlers by packet."""
        return {
            ClientPacket.PART_LOBBY: self.leave_lobby,
            ClientPacket.JOIN_LOBBY: self.enter_lobby,
            ClientPacket.CREATE_MATCH: self.create,
            ClientPacket.JOIN_MATCH: self.join,
            ClientPacket.PART_MATCH: self.leave,
            ClientPacket.MATCH_CHANGE_SLOT: self._command_handler(commands.ChangeSlot, "slot"),
            ClientPacket.MATCH_READY: self._command_handler(commands.Ready),
            ClientPacket.MATCH_LOCK: self._command_handler(commands.LockSlot, "slot"),
            ClientPacket.MATCH_CHANGE_SETTINGS: self.change_settings,
            ClientPacket.MATCH_START: self._command_handler(commands.Start),
            ClientPacket.MATCH_SCORE_UPDATE: self.score_frame,
            ClientPacket.MATCH_COMPLETE: self._command_handler(commands.Complete),
            ClientPacket.MATCH_CHANGE_MODS: self._command_handler(commands.ChangeMods, "mods"),
            ClientPacket.MATCH_LOAD_COMPLETE: self._command_handler(commands.LoadComplete),
            ClientPacket.MATCH_NO_BEATMAP: self._command_handler(commands.NoMap),
            ClientPacket.MATCH_NOT_READY: self._command_handler(commands.NotReady),
            ClientPacket.MATCH_FAILED: self._command_handler(commands.Fail),
            ClientPacket.MATCH_HAS_BEATMAP: self._command_handler(commands.HasMap),
            ClientPacket.MATCH_SKIP_REQUEST: self._command_handler(commands.Skip),
            ClientPacket.MATCH_TRANSFER_HOST: self._command_handler(commands.TransferHost, "slot"),
            ClientPacket.MATCH_CHANGE_TEAM: self._command_handler(commands.ChangeTeam),
            ClientPacket.MATCH_INVITE: self.invite,
            ClientPacket.MATCH_CHANGE_PASSWORD: self.change_password,
            ClientPacket.TOURNAMENT_MATCH_INFO_REQUEST: self.tournament_info,
            ClientPacket.TOURNAMENT_JOIN_MATCH_CHANNEL: self.view,
            ClientPacket.TOURNAMENT_LEAVE_MATCH_CHANNEL: self.stop_viewing,
        }

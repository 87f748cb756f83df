"""The lobby and rooms: packets 29-33, 38-60, 70, 77, 87, 90, 93, 108, 109 (docs/spec/multiplayer.md)."""

from collections.abc import Callable
from typing import Final

from kiai.chat.model import silence_left_s
from kiai.clock import Clock
from kiai.errors import Invalid, KiaiError, NotFound, Refused
from kiai.faces.bancho import packets
from kiai.faces.bancho.packets import Client, JoinMatch, MatchForm
from kiai.faces.bancho.turn import Handler, Handlers, Turn
from kiai.multiplayer import commands
from kiai.multiplayer.model import LOCKED
from kiai.multiplayer.service import Matches, Seated
from kiai.osu.texts import chat_text
from kiai.realtime.port import MatchGone, SessionGone, chat_topic

CHAT: Final = "#multiplayer"
TOPIC: Final = "Those who play in this match."
LOBBY_CHAT: Final = "#lobby"


class MatchHandlers:
    """The handlers of multiplayer."""

    def __init__(self, matches: Matches, clock: Clock) -> None:
        self._matches = matches
        self._clock = clock

    def _remind(self, turn: Turn) -> int:
        """Tells a silenced player for how long it still is (docs/spec/game-rules.md#silence); the seconds."""
        seconds = silence_left_s(turn.session.silenced_until_ms, self._clock.now_ms())
        if seconds:
            turn.say(packets.silence_end(seconds))
        return seconds

    async def enter_lobby(self, turn: Turn, _: None) -> None:
        """30 JOIN_LOBBY."""
        turn.session, rooms = await self._matches.enter_lobby(turn.session)
        turn.say(*(packets.match_new(match_id, match) for match_id, match in rooms))

    async def leave_lobby(self, turn: Turn, _: None) -> None:
        """29 PART_LOBBY."""
        turn.session = await self._matches.leave_lobby(turn.session)

    async def create(self, turn: Turn, form: MatchForm) -> None:
        """31 CREATE_MATCH (docs/spec/multiplayer.md#create)."""
        self._remind(turn)
        try:
            if form.host_id != turn.session.user_id:
                raise Refused("the host is somebody else")
            seated = await self._matches.create(
                turn.session,
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
            turn.say(packets.match_join_fail(), packets.notification(f"No room was made: {chat_text(str(error))}."))
            return
        self._seated(turn, seated)

    async def join(self, turn: Turn, asked: JoinMatch) -> None:
        """32 JOIN_MATCH (docs/spec/multiplayer.md#join)."""
        self._remind(turn)
        try:
            seated = await self._matches.join(turn.session, asked.match_id, asked.password)
        except SessionGone:
            raise
        except MatchGone:
            turn.say(packets.match_dispose(asked.match_id), packets.match_join_fail())
            return
        except KiaiError:
            turn.say(packets.match_join_fail())
            return
        self._seated(turn, seated)

    def _seated(self, turn: Turn, seated: Seated) -> None:
        was_in_lobby_chat = chat_topic(LOBBY_CHAT) in turn.session.follows
        turn.session = seated.session
        turn.say(packets.channel_join_success(CHAT), packets.channel_info(CHAT, TOPIC, seated.users))
        if was_in_lobby_chat:
            turn.say(packets.channel_kick(LOBBY_CHAT))
        turn.say(packets.match_join_success(seated.match_id, seated.match))

    async def leave(self, turn: Turn, _: None) -> None:
        """33 PART_MATCH (docs/spec/multiplayer.md#leave)."""
        if turn.session.match_id:
            turn.session = await self._matches.leave(turn.session)
            turn.say(packets.channel_kick(CHAT))

    def _asks(self, command: Callable[..., commands.Command], *names: str) -> Handler:
        """A packet whose payload is the command's only field, or nothing."""

        async def handle(turn: Turn, payload: object) -> None:
            await self._matches.act(turn.session, command, **dict.fromkeys(names, payload))

        return handle

    async def change_settings(self, turn: Turn, form: MatchForm) -> None:
        """41 MATCH_CHANGE_SETTINGS (docs/spec/multiplayer.md#settings)."""
        if form.host_id == turn.session.user_id:
            await self._matches.change_settings(
                turn.session,
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

    async def change_password(self, turn: Turn, form: MatchForm) -> None:
        """90 MATCH_CHANGE_PASSWORD."""
        await self._matches.act(turn.session, commands.ChangePassword, password=form.password)

    async def score_frame(self, turn: Turn, payload: bytes) -> None:
        """47 MATCH_SCORE_UPDATE (docs/spec/multiplayer.md#scores)."""
        await self._matches.score_frame(turn.session, payload)

    async def invite(self, turn: Turn, user_id: int) -> None:
        """87 MATCH_INVITE (docs/spec/multiplayer.md#invitations)."""
        if self._remind(turn):
            return
        try:
            await self._matches.invite(turn.session, turn.session.match_id, user_id)
        except Refused as refused:
            turn.say(packets.notification(f"Not invited: {chat_text(str(refused))}."))

    async def tournament_info(self, turn: Turn, match_id: int) -> None:
        """93 TOURNAMENT_MATCH_INFO_REQUEST (docs/spec/multiplayer.md#tournament-clients)."""
        try:
            match = await self._matches.shown_to_viewer(turn.session, match_id)
        except NotFound:
            turn.say(packets.match_dispose(match_id))
            return
        turn.say(packets.match_update(match_id, match, hide_password=True))

    async def view(self, turn: Turn, match_id: int) -> None:
        """108 TOURNAMENT_JOIN_MATCH_CHANNEL."""
        turn.session = await self._matches.view(turn.session, match_id)
        turn.say(packets.channel_join_success(CHAT))

    async def stop_viewing(self, turn: Turn, match_id: int) -> None:
        """109 TOURNAMENT_LEAVE_MATCH_CHANNEL."""
        if turn.session.room_id == match_id and not turn.session.match_id:
            turn.session = await self._matches.stop_viewing(turn.session)
            turn.say(packets.channel_kick(CHAT))

    def table(self) -> Handlers:
        """What this page handles."""
        return {
            Client.PART_LOBBY: self.leave_lobby,
            Client.JOIN_LOBBY: self.enter_lobby,
            Client.CREATE_MATCH: self.create,
            Client.JOIN_MATCH: self.join,
            Client.PART_MATCH: self.leave,
            Client.MATCH_CHANGE_SLOT: self._asks(commands.ChangeSlot, "slot"),
            Client.MATCH_READY: self._asks(commands.Ready),
            Client.MATCH_LOCK: self._asks(commands.LockSlot, "slot"),
            Client.MATCH_CHANGE_SETTINGS: self.change_settings,
            Client.MATCH_START: self._asks(commands.Start),
            Client.MATCH_SCORE_UPDATE: self.score_frame,
            Client.MATCH_COMPLETE: self._asks(commands.Complete),
            Client.MATCH_CHANGE_MODS: self._asks(commands.ChangeMods, "mods"),
            Client.MATCH_LOAD_COMPLETE: self._asks(commands.LoadComplete),
            Client.MATCH_NO_BEATMAP: self._asks(commands.NoMap),
            Client.MATCH_NOT_READY: self._asks(commands.NotReady),
            Client.MATCH_FAILED: self._asks(commands.Fail),
            Client.MATCH_HAS_BEATMAP: self._asks(commands.HasMap),
            Client.MATCH_SKIP_REQUEST: self._asks(commands.Skip),
            Client.MATCH_TRANSFER_HOST: self._asks(commands.TransferHost, "slot"),
            Client.MATCH_CHANGE_TEAM: self._asks(commands.ChangeTeam),
            Client.MATCH_INVITE: self.invite,
            Client.MATCH_CHANGE_PASSWORD: self.change_password,
            Client.TOURNAMENT_MATCH_INFO_REQUEST: self.tournament_info,
            Client.TOURNAMENT_JOIN_MATCH_CHANNEL: self.view,
            Client.TOURNAMENT_LEAVE_MATCH_CHANNEL: self.stop_viewing,
        }

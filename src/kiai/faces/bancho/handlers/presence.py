"""Who one is and what one does, friends, and whom one asks about: packets 0, 2, 3, 20, 68, 73, 74, 79, 85, 97-99."""

from collections.abc import Sequence
from typing import Final

from kiai.accounts import BOT_ID, Accounts, Relationships
from kiai.clock import Clock
from kiai.errors import NotFound, Refused
from kiai.faces.bancho import packets
from kiai.faces.bancho.announce import presence as shown
from kiai.faces.bancho.packets import ChangeAction, Client
from kiai.faces.bancho.turn import Handlers, Turn
from kiai.logs import get_logger
from kiai.presence import Presence
from kiai.presence.model import status_of
from kiai.realtime.port import MANY_ONLINE, Realtime

STALE_LOGOUT_MS: Final = 1_000
REPORT_MAX: Final = 2_048
REPORTS_PER_MINUTE: Final = 5


class PresenceHandlers:
    """The handlers of presence."""

    def __init__(
        self,
        presence: Presence,
        accounts: Accounts,
        relationships: Relationships,
        realtime: Realtime,
        clock: Clock,
        bot_name: str,
    ) -> None:
        self._presence = presence
        self._accounts = accounts
        self._relationships = relationships
        self._realtime = realtime
        self._clock = clock
        self._bot = shown.bot(bot_name)

    async def change_action(self, turn: Turn, asked: ChangeAction) -> None:
        """0 CHANGE_ACTION (docs/spec/sessions.md#status)."""
        if asked.mode > 3:
            return
        status = status_of(
            action=asked.action,
            info_text=asked.info_text,
            map_md5=asked.map_md5,
            map_id=asked.map_id,
            mods=asked.mods,
            mode=asked.mode,
        )
        turn.session = await self._presence.set_status(turn.session, status)
        turn.say(shown.stats_for(turn.session, turn.session))

    async def log_out(self, turn: Turn, _: int) -> None:
        """2 LOGOUT. A client tends to send a stale one right after it logged in, with the new token."""
        if 0 <= self._clock.now_ms() - turn.session.login_time_ms < STALE_LOGOUT_MS:
            return
        await self._presence.end(turn.session.token)
        turn.ended = True
        turn.out.clear()

    async def refresh(self, turn: Turn, _: None) -> None:
        """3 REQUEST_STATUS_UPDATE: the own figures, read again."""
        turn.session = await self._presence.refresh(turn.session)
        turn.say(shown.stats_for(turn.session, turn.session))

    async def error_report(self, turn: Turn, text: str) -> None:
        """20 ERROR_REPORT."""
        allowed = await self._realtime.take(
            f"error-report:{turn.session.user_id}", limit=REPORTS_PER_MINUTE, period_s=60.0
        )
        if allowed.granted:
            get_logger("bancho").info("client error", user_id=turn.session.user_id, report=text[:REPORT_MAX])

    async def add_friend(self, turn: Turn, user_id: int) -> None:
        """73 FRIEND_ADD (docs/spec/game-rules.md#friends-and-blocks)."""
        session = turn.session
        if user_id == BOT_ID or user_id in session.friends:
            return
        try:
            await self._relationships.befriend(session.user_id, user_id)
        except (NotFound, Refused):
            return
        turn.session = await self._presence.change(
            session, friends=session.friends | {user_id}, blocked=session.blocked - {user_id}
        )

    async def remove_friend(self, turn: Turn, user_id: int) -> None:
        """74 FRIEND_REMOVE."""
        session = turn.session
        if user_id not in session.friends:
            return
        await self._relationships.forget(session.user_id, user_id)
        turn.session = await self._presence.change(session, friends=session.friends - {user_id})

    async def receive_updates(self, turn: Turn, wanted: int) -> None:
        """79 RECEIVE_UPDATES (docs/spec/sessions.md#filter): whose statuses are pushed."""
        if wanted not in (0, 1, 2):
            return
        turn.session = await self._presence.change(turn.session, presence_filter=wanted)
        if wanted:
            ids = await self._presence.others(turn.session)
            if wanted == 2:
                ids = [one for one in ids if one in turn.session.friends]
            if ids:
                turn.say(packets.user_presence_bundle(ids))

    async def stats_request(self, turn: Turn, user_ids: Sequence[int]) -> None:
        """85 USER_STATS_REQUEST (docs/spec/sessions.md#requests-about-others)."""
        turn.session, online = await self._presence.watch(turn.session, user_ids)
        for user_id in user_ids:
            if user_id == turn.session.user_id or user_id == BOT_ID:
                continue
            found = online.get(user_id)
            turn.say(packets.user_logout(user_id) if found is None else shown.stats_for(turn.session, found))

    async def presence_request(self, turn: Turn, user_ids: Sequence[int]) -> None:
        """97 USER_PRESENCE_REQUEST."""
        online = await self._realtime.sessions_among(user_ids)
        for user_id in user_ids:
            if user_id == BOT_ID:
                turn.say(self._bot)
            elif user_id == turn.session.user_id:
                turn.say(shown.presence(turn.session))
            elif (found := online.get(user_id)) is not None:
                turn.say(shown.presence(found))
            else:
                turn.say(packets.user_logout(user_id))

    async def presence_request_all(self, turn: Turn, _: int) -> None:
        """98 USER_PRESENCE_REQUEST_ALL."""
        ids = await self._presence.others(turn.session)
        turn.say(self._bot)
        if len(ids) > MANY_ONLINE:
            turn.say(packets.user_presence_bundle(ids))
            return
        turn.say(*(shown.presence(other) for other in (await self._realtime.sessions_among(ids)).values()))

    async def friends_only(self, turn: Turn, value: int) -> None:
        """99 TOGGLE_BLOCK_NON_FRIEND_DMS."""
        wanted = value != 0
        if wanted != turn.session.friends_only_dms:
            turn.session = await self._presence.change(turn.session, friends_only_dms=wanted)
            await self._accounts.set_friends_only_dms(turn.session.user_id, wanted)

    def table(self) -> Handlers:
        """What this page handles."""
        return {
            Client.CHANGE_ACTION: self.change_action,
            Client.LOGOUT: self.log_out,
            Client.REQUEST_STATUS_UPDATE: self.refresh,
            Client.ERROR_REPORT: self.error_report,
            Client.FRIEND_ADD: self.add_friend,
            Client.FRIEND_REMOVE: self.remove_friend,
            Client.RECEIVE_UPDATES: self.receive_updates,
            Client.USER_STATS_REQUEST: self.stats_request,
            Client.USER_PRESENCE_REQUEST: self.presence_request,
            Client.USER_PRESENCE_REQUEST_ALL: self.presence_request_all,
            Client.TOGGLE_BLOCK_NON_FRIEND_DMS: self.friends_only,
        }

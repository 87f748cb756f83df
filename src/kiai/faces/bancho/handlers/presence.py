"""Statuses, log-out, friends and requests about players: packets 0, 2, 3, 20, 73, 74, 79, 85, 97-99."""

from collections.abc import Sequence
from typing import Final

from kiai.accounts import BOT_ID, Accounts, Relationships
from kiai.clock import Clock
from kiai.errors import NotFound, Refused
from kiai.faces.bancho import packets
from kiai.faces.bancho.announce import presence as presence_packets
from kiai.faces.bancho.packets import ChangeAction, ClientPacket
from kiai.faces.bancho.poll_context import Handlers, PollContext
from kiai.logs import get_logger
from kiai.presence import Presence
from kiai.presence.model import status_of
from kiai.realtime.port import CROWDED_ABOVE, Realtime

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
        self._bot = presence_packets.bot(bot_name)

    async def change_action(self, context: PollContext, change: ChangeAction) -> None:
        """0 CHANGE_ACTION (docs/spec/sessions.md#status)."""
        if change.mode > 3:
            return
        status = status_of(
            action=change.action,
            info_text=change.info_text,
            map_md5=change.map_md5,
            map_id=change.map_id,
            mods=change.mods,
            mode=change.mode,
        )
        context.session = await self._presence.set_status(context.session, status)
        context.reply(presence_packets.stats_for(context.session, context.session))

    async def log_out(self, context: PollContext, _: int) -> None:
        """2 LOGOUT. Ignored within a second after the login."""
        # A client that logs in again may send the LOGOUT of its old session with the new token.
        if 0 <= self._clock.now_ms() - context.session.login_time_ms < STALE_LOGOUT_MS:
            return
        await self._presence.end(context.session.token)
        context.ended = True
        context.out.clear()  # the client does not read the reply

    async def refresh(self, context: PollContext, _: None) -> None:
        """3 REQUEST_STATUS_UPDATE: reads the player's stats again."""
        context.session = await self._presence.refresh(context.session)
        context.reply(presence_packets.stats_for(context.session, context.session))

    async def error_report(self, context: PollContext, text: str) -> None:
        """20 ERROR_REPORT: logs a report of the client."""
        # A client in an error loop would otherwise fill the log.
        allowed = await self._realtime.consume(
            f"error-report:{context.session.user_id}", limit=REPORTS_PER_MINUTE, period_s=60.0
        )
        if allowed.granted:
            get_logger("bancho").info("client error", user_id=context.session.user_id, report=text[:REPORT_MAX])

    async def add_friend(self, context: PollContext, user_id: int) -> None:
        """73 FRIEND_ADD (docs/spec/game-rules.md#friends-and-blocks)."""
        session = context.session
        if user_id == BOT_ID or user_id in session.friends:
            return
        # The rows first: a failure leaves the session with what the database has.
        try:
            await self._relationships.befriend(session.user_id, user_id)
        except (NotFound, Refused):
            return
        context.session = await self._presence.change(
            session, friends=session.friends | {user_id}, blocked=session.blocked - {user_id}
        )

    async def remove_friend(self, context: PollContext, user_id: int) -> None:
        """74 FRIEND_REMOVE."""
        session = context.session
        if user_id not in session.friends:
            return
        await self._relationships.forget(session.user_id, user_id)
        context.session = await self._presence.change(session, friends=session.friends - {user_id})

    async def receive_updates(self, context: PollContext, presence_filter: int) -> None:
        """79 RECEIVE_UPDATES (docs/spec/sessions.md#filter): sets whose statuses are pushed."""
        if presence_filter not in (0, 1, 2):
            return
        # The filter first: a player who comes online after the list is read is then in the topics.
        context.session = await self._presence.change(context.session, presence_filter=presence_filter)
        if presence_filter:
            ids = await self._presence.other_players(context.session)
            if presence_filter == 2:
                ids = [user_id for user_id in ids if user_id in context.session.friends]
            if ids:
                context.reply(packets.user_presence_bundle(ids))

    async def stats_request(self, context: PollContext, user_ids: Sequence[int]) -> None:
        """85 USER_STATS_REQUEST (docs/spec/sessions.md#requests-about-others)."""
        context.session, online = await self._presence.request_stats(context.session, user_ids)
        for user_id in user_ids:
            if user_id == context.session.user_id or user_id == BOT_ID:
                continue
            other = online.get(user_id)
            # USER_LOGOUT of a player who is offline or hidden: the client removes it from its list.
            context.reply(
                packets.user_logout(user_id) if other is None else presence_packets.stats_for(context.session, other)
            )

    async def presence_request(self, context: PollContext, user_ids: Sequence[int]) -> None:
        """97 USER_PRESENCE_REQUEST."""
        # One read for all ids. It omits hidden sessions, so the player's own presence is handled separately.
        online = await self._realtime.sessions_among(user_ids)
        for user_id in user_ids:
            if user_id == BOT_ID:
                context.reply(self._bot)
            elif user_id == context.session.user_id:
                context.reply(presence_packets.presence(context.session))
            elif (other := online.get(user_id)) is not None:
                context.reply(presence_packets.presence(other))
            else:
                context.reply(packets.user_logout(user_id))

    async def presence_request_all(self, context: PollContext, _: int) -> None:
        """98 USER_PRESENCE_REQUEST_ALL."""
        # One of the two packets with the highest price in `work.PRICES`.
        ids = await self._presence.other_players(context.session)
        context.reply(self._bot)
        if len(ids) > CROWDED_ABOVE:  # the presences of thousands of players would be megabytes
            context.reply(packets.user_presence_bundle(ids))
            return
        context.reply(
            *(presence_packets.presence(other) for other in (await self._realtime.sessions_among(ids)).values())
        )

    async def friends_only(self, context: PollContext, value: int) -> None:
        """99 TOGGLE_BLOCK_NON_FRIEND_DMS."""
        enabled = value != 0
        if enabled != context.session.friends_only_dms:  # the client repeats the packet; most need no write
            # The database first: the player may have chosen the stricter setting on the website.
            holds = await self._accounts.set_friends_only_dms(context.session.user_id, enabled)
            if holds != context.session.friends_only_dms:
                context.session = await self._presence.change(context.session, friends_only_dms=holds)

    def table(self) -> Handlers:
        """Return the handlers by packet."""
        return {
            ClientPacket.CHANGE_ACTION: self.change_action,
            ClientPacket.LOGOUT: self.log_out,
            ClientPacket.REQUEST_STATUS_UPDATE: self.refresh,
            ClientPacket.ERROR_REPORT: self.error_report,
            ClientPacket.FRIEND_ADD: self.add_friend,
            ClientPacket.FRIEND_REMOVE: self.remove_friend,
            ClientPacket.RECEIVE_UPDATES: self.receive_updates,
            ClientPacket.USER_STATS_REQUEST: self.stats_request,
            ClientPacket.USER_PRESENCE_REQUEST: self.presence_request,
            ClientPacket.USER_PRESENCE_REQUEST_ALL: self.presence_request_all,
            ClientPacket.TOGGLE_BLOCK_NON_FRIEND_DMS: self.friends_only,
        }

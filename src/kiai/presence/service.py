"""The service of presence: start and end of sessions, statuses, stats.

Every session ends in `end`: after a log-out, a timeout, a second login or a kick. The port returns the closed session
to exactly one caller. That caller passes it to the listeners, which remove it from their state, and then announces the
log-out to all players.
"""

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from kiai.accounts import Accounts, User
from kiai.accounts.last_seen import LastSeen
from kiai.accounts.model import Privacy
from kiai.accounts.visibility import Viewer, is_public
from kiai.at_once import needs_task
from kiai.clock import Clock
from kiai.errors import KiaiError, NotFound, Refused, Unavailable
from kiai.logs import Outage
from kiai.presence.events import (
    AlertSent,
    CameOnline,
    IrcSessionEnded,
    OnlineHidden,
    OnlineShown,
    OnlyIrcRemains,
    OwnStatsChanged,
    PresenceChanged,
    StatsChanged,
    WentOffline,
)
from kiai.presence.model import IDLE_MAX_S, STATS_REQUEST_S
from kiai.realtime.port import (
    CROWDED_ABOVE,
    ONLINE,
    STATUS,
    Announce,
    Entry,
    Realtime,
    Session,
    SessionGone,
    SessionStats,
    Status,
    user_topic,
)
from kiai.together import in_pieces, together

EXPIRED_AT_ONCE: Final = 500
TOURNAMENT_SESSIONS_MAX: Final = 18  # one for each of 16 seats, and 2 managers
LIVE_WITHIN_S: Final = 10.0  # a running client polls about once a second

StatsOf = Callable[[int, int], Awaitable[SessionStats]]
Reread = Callable[[], Awaitable[User | None]]
"""Reads the account of a login again, by its credential. None if the credential is not valid any more."""
SessionEndListener = Callable[[Session], Awaitable[object]]


class AlreadyOnline(Refused):
    """The account's session has polled in the last seconds, so its client is running."""

    def __init__(self) -> None:
        super().__init__("the account is already logged in")


class AccountChanged(KiaiError):
    """The account has changed during the login: the session that was opened has ended, and the login starts again."""


class Presence:
    """Sessions with their statuses and stats. `stats_of` reads the stats of a user in a mode."""

    def __init__(
        self, realtime: Realtime, accounts: Accounts, clock: Clock, announce: Announce, stats_of: StatsOf
    ) -> None:
        self._realtime = realtime
        self._accounts = accounts
        self._clock = clock
        self._announce = announce
        self._stats_of = stats_of
        self._session_end_listeners: list[tuple[SessionEndListener, Outage]] = []
        self.last_seen = LastSeen(accounts, clock)

    def subscribe_to_session_end(self, *listeners: SessionEndListener) -> None:
        """Add listeners. Each ended session is passed to them in this order, before the log-out is announced."""
        for listener in listeners:
            outage = Outage("presence", "session end failed", "session ends work again")
            self._session_end_listeners.append((listener, outage))

    async def is_crowded(self) -> bool:
        """Return whether more than CROWDED_ABOVE players are online, so that statuses are pushed by interest."""
        return await self._realtime.online_count() > CROWDED_ABOVE

    # --- start and end

    async def end_replaced_sessions(self, user_id: int, *, tournament: bool) -> None:
        """End the sessions that a new session of the account replaces (docs/spec/sessions.md#order-of-checks).

        Raises AlreadyOnline if the game's session has polled within 10 s. An account may have 18 tournament clients in
        addition; the oldest one ends if there are more.
        """
        sessions = [
            session
            for session in await self._realtime.sessions_of(user_id)
            if not session.irc and session.tournament == tournament
        ]
        if tournament:
            for session in sessions[: max(0, len(sessions) - TOURNAMENT_SESSIONS_MAX + 1)]:
                await self.end(session.token)
            return
        for session in sessions:
            try:
                if await self._realtime.idle_s(session.token) < LIVE_WITHIN_S:
                    raise AlreadyOnline
            except SessionGone:
                continue
            await self.end(session.token)

    async def open_session(
        self, session: Session, *, also_follows: Sequence[str] = (), reread: Reread | None = None
    ) -> Session:
        """Open the session with its stats and topics, and announce the player.

        The caller reads the list of players afterwards and misses nobody: the session's topics have all later changes.
        An IRC connection follows none of these topics: it reads the events of the topic IRC.

        Logins pass `reread`. Raises AccountChanged if the account is not that of the session any more: banned, with
        another name, other privileges, another silence or password.
        """
        follows = {*also_follows} if session.irc else {ONLINE, STATUS, *also_follows}
        if session.is_game:
            follows.add(user_topic(session.user_id))
        session = msgspec.structs.replace(
            session,
            stats=await self._stats_of(session.user_id, session.status.mode or 0),
            follows=frozenset(follows),
        )
        if session.irc:
            # Clients that connect again do so within a millisecond, and the later login decides which session stays.
            others = [other.login_time_ms for other in await self._realtime.sessions_of(session.user_id) if other.irc]
            if others and max(others) >= session.login_time_ms:
                session = msgspec.structs.replace(session, login_time_ms=max(others) + 1)
        now = self._clock.now_ms()
        events = [] if session.hidden else [CameOnline(session, crowded=await self.is_crowded(), at_ms=now)]
        entries = self._entries(events)
        await self._realtime.open_session(session, arrival=entries)
        self.last_seen.mark_active(session.user_id)
        if not session.tournament:
            # Two logins at the same moment both pass `end_replaced_sessions`. Both see the same order here, so the
            # last session stays and exactly one is left.
            every = await self._realtime.sessions_of(session.user_id)
            if session.is_game and len(every) > 1 and all(other.irc for other in every if other.token != session.token):
                await self._realtime.append(entries)  # other clients show the player as in the game now
            same = [other for other in every if not other.tournament and other.irc == session.irc]
            for other in same[:-1]:
                await self.end(other.token)
        if reread is not None:
            await self._check_current(session, reread)
        return session

    async def _check_current(self, session: Session, reread: Reread) -> None:
        """End the session if its account has changed since it was read.

        The session is open at the time of this read. So a change is either committed by now and seen here, or its
        delivery finds the session (`on_privileges_change`, `end_sessions`).
        """
        try:
            is_current = _is_of(session, await reread())
        except Unavailable:
            await self.end(session.token)
            raise
        if not is_current:
            await self.end(session.token)
            raise AccountChanged

    async def end(self, token: str) -> Session | None:
        """End a session and return it, or None if another caller ended it first.

        See docs/spec/sessions.md#end-of-a-session.
        """
        # First: from here on no poll or handler changes the session, so the listeners see its last state.
        session = await self._realtime.close_session(token)
        if session is None:
            return None
        self.last_seen.mark_offline(session.user_id)
        for listener, outage in self._session_end_listeners:
            try:
                await listener(session)
            except Exception as error:
                # The other listeners still run. Otherwise a fault in chat would leave a seat of a match occupied.
                outage.failed(error, trace=True, user_id=session.user_id)
            else:
                outage.worked()
        if not session.hidden:
            offline = self._entries([WentOffline(session.user_id, self._clock.now_ms(), session.hides_online)])
            # The account may have another session, or a new one since. Clients would remove the player from their list.
            await self._realtime.append(offline, unless_online=session.user_id)
            await self._announce_what_remains(session)
        return session

    async def _announce_what_remains(self, ended: Session) -> None:
        if ended.irc:
            await self._realtime.append(self._entries([IrcSessionEnded(ended.token)]))
            return
        rest = await self._realtime.sessions_of(ended.user_id)
        if rest and all(other.irc for other in rest):
            await self._realtime.append(self._entries([OnlyIrcRemains(rest[-1])]))

    async def end_sessions_of(self, user_id: int) -> int:
        """End all sessions of an account and return their number. Its clients log in again and get its new state."""
        sessions = await self._realtime.sessions_of(user_id)
        for session in sessions:
            await self.end(session.token)
        return len(sessions)

    async def expire(self) -> None:
        """End the sessions without a poll for 300 s, up to EXPIRED_AT_ONCE. A job calls this."""
        for token in await self._realtime.idle_sessions(IDLE_MAX_S, EXPIRED_AT_ONCE):
            await self.end(token)

    # --- statuses and stats

    async def set_status(self, session: Session, status: Status) -> Session:
        """Set the session's status and publish it. Raises SessionGone."""
        stats = session.stats
        if status.mode != session.status.mode:
            stats = await self._stats_of(session.user_id, status.mode or 0)

        def rule(now: Session) -> Session:
            # If the session has the new mode already, its stats may be newer than those read above.
            return msgspec.structs.replace(
                now, status=status, stats=now.stats if now.status.mode == status.mode else stats
            )

        return await self._publish_stats(session.token, rule)

    async def switch_mode(self, user_id: int, mode: int) -> None:
        """Set the mode of the player's game sessions, after the client opened a board of this mode."""
        for session in await self._realtime.sessions_of(user_id):
            if not session.is_game or session.status.mode == mode:
                continue
            await needs_task()
            with contextlib.suppress(SessionGone):
                now = await self.set_status(session, msgspec.structs.replace(session.status, mode=mode))
                await self._realtime.append(self._entries([OwnStatsChanged(now)]))

    async def refresh(self, session: Session) -> Session:
        """Read the session's stats again and publish them if they have changed. Raises SessionGone."""
        return await self._set_stats(session, await self._stats_of(session.user_id, session.status.mode or 0))

    async def _set_stats(self, session: Session, stats: SessionStats, *, notify: bool = False) -> Session:
        """Publish stats that have changed, with `notify` to the player, too. Raises SessionGone."""
        if stats == session.stats:
            return session

        def rule(now: Session) -> Session:
            # If the mode has changed since the read, `set_status` has set the stats of the new mode.
            return msgspec.structs.replace(now, stats=stats) if now.status.mode == session.status.mode else now

        return await self._publish_stats(session.token, rule, notify_unless=session.stats if notify else None)

    async def refresh_players(self, user_ids: Sequence[str]) -> None:
        """Refresh all sessions of these players, and notify them. The outbox calls this after a score, maybe twice."""
        for ids in in_pieces([int(user_id) for user_id in user_ids]):
            at_once = self._realtime.answers_at_once
            found = await together(*[self._realtime.sessions_of(user_id) for user_id in ids], at_once=at_once)
            for sessions in in_pieces([session for some in found for session in some]):
                # Step by step for all of them, so that they share round trips to shared state in each step.
                read = [self._stats_of(session.user_id, session.status.mode or 0) for session in sessions]
                pairs = zip(sessions, await together(*read), strict=True)
                await together(*[self._notify_of_stats(session, stats) for session, stats in pairs], at_once=at_once)

    async def _notify_of_stats(self, session: Session, stats: SessionStats) -> None:
        with contextlib.suppress(SessionGone):
            await self._set_stats(session, stats, notify=True)

    async def _publish_stats(
        self, token: str, change: Callable[[Session], Session], *, notify_unless: SessionStats | None = None
    ) -> Session:
        # Read before the rule, which must be pure.
        crowded = await self.is_crowded()
        at_ms = self._clock.now_ms()

        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            after = change(now)
            events: list[object] = []
            if not after.hidden and not after.irc:
                events.append(StatsChanged(after, crowded=crowded, at_ms=at_ms))
            if notify_unless is not None and after.stats != notify_unless:
                events.append(OwnStatsChanged(after))
            return after, self._entries(events)

        return await self._realtime.change_session(token, rule)

    async def change(self, session: Session, **fields: object) -> Session:
        """Set fields of the session that no other player sees. Raises SessionGone."""
        return await self._realtime.change_session(
            session.token, lambda now: (msgspec.structs.replace(now, **fields), ())
        )

    async def show_ranks(self, session: Session, *, by_score: bool) -> None:
        """Let the session's client show ranks by ranked score or by pp, until it logs out. Raises SessionGone."""
        now = await self.change(session, ranks_by_score=by_score)
        await self._realtime.append(self._entries([OwnStatsChanged(now)]))

    async def on_privileges_change(self, user_ids: Sequence[str]) -> None:
        """Apply the privileges of these accounts to their sessions. The outbox calls this, possibly twice.

        Ends sessions whose visibility changed: the client logs in again and gets its new state. Other sessions continue
        with the new privileges.
        """
        for user_id in map(int, user_ids):
            for session in await self._realtime.sessions_of(user_id):
                priv = await self._priv_of(user_id)
                if priv is None or session.hidden == is_public(priv):
                    await self.end(session.token)
                elif priv != session.priv:
                    await self._set_privileges(session, priv)

    async def on_profile_change(self, user_ids: Sequence[str]) -> None:
        """Apply the country and the privacy of these accounts to their sessions. The outbox calls this, possibly twice.

        Other clients see the new country at once.
        """
        for user_id in map(int, user_ids):
            for session in await self._realtime.sessions_of(user_id):
                try:
                    user = await self._accounts.user(Viewer(user_id=user_id), id=user_id)
                except NotFound:
                    continue
                with contextlib.suppress(SessionGone):
                    await self._apply_profile(session.token, user)

    async def _apply_profile(self, token: str, user: User) -> None:
        friends_only = bool(user.friends_only_dms) or bool(user.privacy & Privacy.FRIENDS_ONLY)
        hides = bool(user.privacy & Privacy.HIDE_ONLINE)
        at_ms = self._clock.now_ms()

        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            after = msgspec.structs.replace(
                now, country=user.country, friends_only_dms=friends_only, hides_online=hides
            )
            events: list[object] = []
            if not now.hidden and user.country != now.country:
                events.append(PresenceChanged(after))
            if not now.hidden and hides != now.hides_online:
                events.append(OnlineHidden(now.user_id, at_ms) if hides else OnlineShown(after, at_ms))
            return after, self._entries(events)

        await self._realtime.change_session(token, rule)

    async def set_relations(self, user_id: int, friends: frozenset[int], blocked: frozenset[int]) -> None:
        """Give the sessions of a player the friends and blocked players that were changed elsewhere."""
        for session in await self._realtime.sessions_of(user_id):
            with contextlib.suppress(SessionGone):
                await self.change(session, friends=friends, blocked=blocked)

    async def end_sessions(self, user_ids: Sequence[str]) -> None:
        """End all sessions of these accounts. The outbox calls this, possibly twice."""
        for user_id in map(int, user_ids):
            await self.end_sessions_of(user_id)

    async def end_irc_sessions(self, revocations: Sequence[str]) -> None:
        """End the IRC connections of players whose IRC password ended. The outbox calls this, possibly twice.

        Those that were opened after the end of the password have another one.
        """
        for revocation in revocations:
            user_id, _, at_ms = revocation.partition(" ")
            for session in await self._realtime.sessions_of(int(user_id)):
                if session.irc and session.login_time_ms <= int(at_ms):
                    await self.end(session.token)

    async def _priv_of(self, user_id: int) -> int | None:
        try:
            user = await self._accounts.user(Viewer(user_id=user_id), id=user_id)
        except NotFound:
            return None
        return None if user.banned_at_ms is not None else user.priv

    async def _set_privileges(self, session: Session, priv: int) -> None:
        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            after = msgspec.structs.replace(now, priv=priv)
            return after, self._entries([] if after.hidden else [PresenceChanged(after)])

        try:
            await self._realtime.change_session(session.token, rule)
        except SessionGone:
            return

    async def alert(self, text: str, user_id: int = 0) -> None:
        """Show a notification to one player, or to everybody online (0)."""
        await self._realtime.append(self._entries([AlertSent(text, user_id)]))

    # --- other players

    async def request_stats(self, session: Session, user_ids: Sequence[int]) -> tuple[Session, dict[int, Session]]:
        """Return the sessions of those players who are online, and push their statuses for the next minute."""
        until = self._clock.now_ms() + STATS_REQUEST_S * 1000
        # The interest before the read: a status that changes in between arrives twice rather than never.
        session = await self.change(session, watched=frozenset(user_ids), watched_until_ms=until)
        return session, await self._realtime.sessions_among(user_ids)

    async def other_players(self, session: Session) -> list[int]:
        """Return the ids of all other players online, without the bot."""
        ids = await self._realtime.online_ids()
        with contextlib.suppress(ValueError):  # a hidden player is not in the list
            ids.remove(session.user_id)
        return ids

    def _entries(self, events: Sequence[object]) -> list[Entry]:
        return [entry for event in events for entry in self._announce(event)]


def _is_of(session: Session, user: User | None) -> bool:
    """Return whether the session has the present state of its account."""
    if user is None or user.banned_at_ms is not None:
        return False
    return (session.name, session.priv, session.country, session.silenced_until_ms, session.hides_online) == (
        user.name,
        user.priv,
        user.country,
        user.silenced_until_ms,
        bool(user.privacy & Privacy.HIDE_ONLINE),
    )

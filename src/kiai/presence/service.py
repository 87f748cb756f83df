"""The verbs of presence: arriving, changing what one does, leaving.

A session ends in one place, `end`, whatever the reason: log-out, time-out, a second log-in, a kick. Whoever closes it
(the port lets exactly one) tells the other subjects, which clear what they hold of it, and then everybody else.
"""

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from kiai.accounts import Accounts
from kiai.accounts.visibility import Viewer, is_public
from kiai.clock import Clock
from kiai.errors import NotFound, Refused
from kiai.logs import Outage
from kiai.presence.model import (
    IDLE_MAX_S,
    WATCHED_S,
    Alerted,
    Arrived,
    Left,
    OwnFigures,
    PresenceChanged,
    StatsChanged,
)
from kiai.realtime.port import (
    MANY_ONLINE,
    ONLINE,
    STATUS,
    Announce,
    Entry,
    Realtime,
    Session,
    SessionGone,
    ShownStats,
    Status,
    user_topic,
)

EXPIRED_AT_ONCE: Final = 500
TOURNAMENT_SESSIONS_MAX: Final = 18  # 16 seats and 2 managers
GHOST_S: Final = 10.0

StatsOf = Callable[[int, int], Awaitable[ShownStats]]
Departed = Callable[[Session], Awaitable[object]]


class AlreadyOnline(Refused):
    """The account's session was heard of a moment ago: it is no ghost."""

    def __init__(self) -> None:
        super().__init__("the account is logged in already")


class Presence:
    """Who is online and what they do."""

    def __init__(
        self, realtime: Realtime, accounts: Accounts, clock: Clock, announce: Announce, stats_of: StatsOf
    ) -> None:
        self._realtime = realtime
        self._accounts = accounts
        self._clock = clock
        self._announce = announce
        self._stats_of = stats_of
        self._departed: list[tuple[Departed, Outage]] = []
        # user id -> when it was last active, unix ms; not written yet. Those who left are asked about at once.
        self._active: dict[int, int] = {}
        self._gone: dict[int, int] = {}

    def when_somebody_left(self, *told: Departed) -> None:
        """Who is given each ended session, in this order, before everybody else hears of it."""
        for one in told:
            self._departed.append((one, Outage("presence", "departure failed", "departures work again")))

    async def many(self) -> bool:
        """Whether so many are online that statuses go only to those who want them."""
        return await self._realtime.online_count() > MANY_ONLINE

    # --- coming and going

    async def make_room(self, user_id: int, *, tournament: bool) -> None:
        """Ends the sessions that the account's new one replaces. Raises AlreadyOnline.

        A session that was heard of within 10 s is no ghost and stays. Tournament clients live beside it, 18 at most:
        the oldest makes room.

        See docs/spec/sessions.md#order-of-checks.
        """
        theirs = [one for one in await self._realtime.sessions_of(user_id) if one.tournament == tournament]
        if tournament:
            for one in theirs[: max(0, len(theirs) - TOURNAMENT_SESSIONS_MAX + 1)]:
                await self.end(one.token)
            return
        for one in theirs:
            try:
                if await self._realtime.idle_s(one.token) < GHOST_S:
                    raise AlreadyOnline
            except SessionGone:
                continue
            await self.end(one.token)

    async def arrive(self, session: Session, *, also_follows: Sequence[str] = ()) -> Session:
        """Opens the session with its figures and its topics, and tells everybody who may know.

        Who reads the list of players after this misses nobody: what comes later is in the session's topics.
        """
        follows = {ONLINE, STATUS, *also_follows}
        if not session.tournament:
            follows.add(user_topic(session.user_id))
        session = msgspec.structs.replace(
            session,
            stats=await self._stats_of(session.user_id, session.status.mode or 0),
            follows=frozenset(follows),
        )
        now = self._clock.now_ms()
        facts = [] if session.hidden else [Arrived(session, many=await self.many(), at_ms=now)]
        await self._realtime.open_session(session, arrival=self._entries(facts))
        self.note_active(session.user_id)
        if not session.tournament:
            # Of two that logged in at the same moment the last stays; both see the same order.
            games = [one for one in await self._realtime.sessions_of(session.user_id) if not one.tournament]
            for one in games[:-1]:
                await self.end(one.token)
        return session

    async def end(self, token: str) -> Session | None:
        """Ends a session and clears up behind it; what it was, or None when somebody else ended it first.

        See docs/spec/sessions.md#end-of-a-session.
        """
        session = await self._realtime.close_session(token)
        if session is None:
            return None
        self._gone[session.user_id] = self._clock.now_ms()
        for told, outage in self._departed:
            try:
                await told(session)
            except Exception as error:
                # One subject's fault must not leave the session standing in the others.
                outage.failed(error, trace=True, user_id=session.user_id)
            else:
                outage.worked()
        if not session.hidden:
            left = self._entries([Left(session.user_id, at_ms=self._clock.now_ms())])
            await self._realtime.append(left, unless_online=session.user_id)
        return session

    async def end_sessions_of(self, user_id: int) -> int:
        """Ends every session of an account: its clients log in again with what is true now. How many."""
        sessions = await self._realtime.sessions_of(user_id)
        for session in sessions:
            await self.end(session.token)
        return len(sessions)

    async def expire(self) -> None:
        """Ends the sessions that nobody polled for 300 s. A job's work."""
        for token in await self._realtime.idle_sessions(IDLE_MAX_S, EXPIRED_AT_ONCE):
            await self.end(token)

    def note_active(self, user_id: int) -> None:
        """The account does something now. Written to its row within a minute."""
        self._active[user_id] = self._clock.now_ms()

    async def write_active(self) -> None:
        """Writes who was active since the last time. A job's work, and the last act before a stop."""
        active, self._active = self._active, {}
        if active:
            await self._accounts.touch(active)
        await self.write_gone()

    async def write_gone(self) -> None:
        """As `write_active`, for those who left only: the API says when they were last seen. A job's work."""
        gone, self._gone = self._gone, {}
        if gone:
            await self._accounts.touch(gone)

    # --- what they do

    async def set_status(self, session: Session, status: Status) -> Session:
        """The session does something else now; everybody who wants to know is told. Raises SessionGone."""
        stats = session.stats
        if status.mode != session.status.mode:
            stats = await self._stats_of(session.user_id, status.mode or 0)

        def rule(now: Session) -> Session:
            # Figures of this mode that are there by now stay: they may have been read anew meanwhile.
            return msgspec.structs.replace(
                now, status=status, stats=now.stats if now.status.mode == status.mode else stats
            )

        return await self._show(session.token, rule)

    async def look_at(self, user_id: int, mode: int) -> None:
        """The player looks at boards of this mode now: its figures of that mode are shown."""
        for session in await self._realtime.sessions_of(user_id):
            if session.tournament or session.status.mode == mode:
                continue
            with contextlib.suppress(SessionGone):
                now = await self.set_status(session, msgspec.structs.replace(session.status, mode=mode))
                await self._realtime.append(self._entries([OwnFigures(now)]))

    async def refresh(self, session: Session) -> Session:
        """Reads the session's figures again; the others are told when they changed. Raises SessionGone."""
        stats = await self._stats_of(session.user_id, session.status.mode or 0)
        if stats == session.stats:
            return session

        def rule(now: Session) -> Session:
            # Whoever looks at another mode by now has been shown the figures of that one.
            return msgspec.structs.replace(now, stats=stats) if now.status.mode == session.status.mode else now

        return await self._show(session.token, rule)

    async def refresh_players(self, user_ids: Sequence[str]) -> None:
        """As `refresh`, for every session of these players, after a score for example: an outbox's receiver."""
        for user_id in map(int, user_ids):
            for session in await self._realtime.sessions_of(user_id):
                try:
                    now = await self.refresh(session)
                except SessionGone:
                    continue
                if now.stats != session.stats:
                    await self._realtime.append(self._entries([OwnFigures(now)]))

    async def _show(self, token: str, change: Callable[[Session], Session]) -> Session:
        many = await self.many()
        at_ms = self._clock.now_ms()

        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            after = change(now)
            told: list[object] = [] if after.hidden else [StatsChanged(after, many=many, at_ms=at_ms)]
            return after, self._entries(told)

        return await self._realtime.change_session(token, rule)

    async def change(self, session: Session, **fields: object) -> Session:
        """Sets fields of the session that only its own packets depend on. Raises SessionGone."""
        return await self._realtime.change_session(
            session.token, lambda now: (msgspec.structs.replace(now, **fields), ())
        )

    async def follow_privileges(self, user_ids: Sequence[str]) -> None:
        """Brings the sessions of these accounts in line with their rows: an outbox's receiver.

        Who is hidden now, or no longer, is logged off and logs in again as what it is; everybody else keeps playing
        with the new privileges.
        """
        for user_id in map(int, user_ids):
            for session in await self._realtime.sessions_of(user_id):
                priv = await self._priv_of(user_id)
                if priv is None or session.hidden == is_public(priv):
                    await self.end(session.token)
                elif priv != session.priv:
                    await self._set_privileges(session, priv)

    async def end_sessions(self, user_ids: Sequence[str]) -> None:
        """Ends every session of these accounts: an outbox's receiver."""
        for user_id in map(int, user_ids):
            await self.end_sessions_of(user_id)

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
        """Shows a text to one player, or to everybody online."""
        await self._realtime.append(self._entries([Alerted(text, user_id)]))

    # --- who is there

    async def watch(self, session: Session, user_ids: Sequence[int]) -> tuple[Session, dict[int, Session]]:
        """Those of these players who are online; their statuses are pushed to the session for the next minute."""
        until = self._clock.now_ms() + WATCHED_S * 1000
        session = await self.change(session, watched=frozenset(user_ids), watched_until_ms=until)
        return session, await self._realtime.sessions_among(user_ids)

    async def others(self, session: Session) -> list[int]:
        """Every player online but this one; the bot is none of them."""
        ids = await self._realtime.online_ids()
        with contextlib.suppress(ValueError):  # a hidden player is not among them
            ids.remove(session.user_id)
        return ids

    def _entries(self, facts: Sequence[object]) -> list[Entry]:
        return [entry for fact in facts for entry in self._announce(fact)]

"""The sessions of the game, hidden ones too, and the open matches, for staff."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from kiai.accounts import User
from kiai.accounts.visibility import Viewer
from kiai.multiplayer.rooms import Room, Rooms
from kiai.osu.privileges import STAFF
from kiai.realtime.port import Realtime, Session, SessionGone, spectate_topic
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority
from kiai.staff.user_search import UserSearch

PERMISSION: Final = "users.kick"
SESSIONS_SHOWN: Final = 100
MATCHES_SHOWN: Final = 100
FOUND_MAX: Final = 50
_STAFF: Final = Viewer(priv=STAFF)


class LiveSession(msgspec.Struct, frozen=True):
    """A session, the seconds since its last packet, the name of the host that it watches, and its spectators.

    `watches` is empty for a session that watches nobody. `spectators` counts the visible ones.
    """

    session: Session
    idle_s: float
    watches: str
    spectators: int


class LiveSessions(msgspec.Struct, frozen=True):
    """A part of the sessions. `more`: there are others. `online` counts the visible players online."""

    sessions: list[LiveSession]
    more: bool
    online: int


class LiveMatches(msgspec.Struct, frozen=True):
    """The newest open matches, private ones too, and the number of all."""

    rooms: list[Room]
    total: int


class LiveDesk:
    """Reads sessions and matches for accounts with the permission."""

    def __init__(self, authority: Authority, search: UserSearch, realtime: Realtime) -> None:
        self._authority = authority
        self._search = search
        self._realtime = realtime
        self._rooms = Rooms(realtime)

    async def sessions(self, actor: Actor, text: str = "") -> LiveSessions:
        """Return up to 100 sessions, the longest idle ones first, or those of the accounts that `text` finds.

        Raises NotAllowed and StateUnavailable.
        """
        await self._authority.require(actor, PERMISSION)
        online = await self._realtime.online_count()
        if text:
            found = (await self._search.named(actor, text)).users[:FOUND_MAX]
            of_each = await asyncio.gather(*[self._realtime.sessions_of(user.id) for user in found])
            sessions = [session for some in of_each for session in some]
        else:
            tokens = await self._realtime.idle_sessions(0.0, SESSIONS_SHOWN + 1)
            read = await asyncio.gather(*[self._session(token) for token in tokens])
            sessions = [session for session in read if session is not None]
        shown = await self._described(sessions[:SESSIONS_SHOWN])
        return LiveSessions(shown, len(sessions) > SESSIONS_SHOWN, online)

    async def of_account(self, actor: Actor, user: User) -> list[LiveSession]:
        """Return the sessions of an account. Raises NotAllowed and StateUnavailable."""
        await self._authority.require(actor, PERMISSION)
        return await self._described((await self._realtime.sessions_of(user.id))[:SESSIONS_SHOWN])

    async def matches(self, actor: Actor) -> LiveMatches:
        """Return the newest 100 open matches. Raises NotAllowed and StateUnavailable."""
        await self._authority.require(actor, PERMISSION)
        rooms = await self._rooms.visible_to(_STAFF)
        return LiveMatches(rooms[:MATCHES_SHOWN], len(rooms))

    async def _session(self, token: str) -> Session | None:
        try:
            return await self._realtime.session(token)
        except SessionGone:
            return None

    async def _described(self, sessions: Sequence[Session]) -> list[LiveSession]:
        hosts = sorted({session.spectating for session in sessions if session.spectating})
        names = {session.user_id: session.name for session in sessions}
        unknown = [host for host in hosts if host not in names]
        if unknown:
            names |= {id_: one.name for id_, one in (await self._realtime.sessions_among(unknown)).items()}
        spectators = await self._realtime.followers([spectate_topic(session.user_id) for session in sessions])
        idle = await asyncio.gather(*[self._idle_s(session.token) for session in sessions])
        return [
            LiveSession(
                session,
                idle_s,
                names.get(session.spectating, f"player {session.spectating}") if session.spectating else "",
                count,
            )
            for session, idle_s, count in zip(sessions, idle, spectators, strict=True)
            if idle_s is not None
        ]

    async def _idle_s(self, token: str) -> float | None:
        try:
            return await self._realtime.idle_s(token)
        except SessionGone:
            return None

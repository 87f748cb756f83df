"""The verbs of spectating (docs/spec/spectating.md).

A session watches one host at most: `session.spectating`. Its spectators are those who follow the host's topic, so
there is no second list that could disagree. Frames are bytes: they are relayed, never read.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from kiai.errors import NotFound, Refused
from kiai.realtime.port import (
    BOT_ID,
    Announce,
    Entry,
    Realtime,
    Session,
    SessionGone,
    chat_topic,
    frames_topic,
    spectate_topic,
)

BUNDLE_MAX: Final = 64 * 1024


class SpectatorJoined(msgspec.Struct, frozen=True):
    """Somebody watches, or watches on with the map it lacked before."""

    host_id: int
    user_id: int


class SpectatorLeft(msgspec.Struct, frozen=True):
    """Somebody no longer watches."""

    host_id: int
    user_id: int


class CannotWatch(msgspec.Struct, frozen=True):
    """A spectator lacks the map."""

    host_id: int
    user_id: int


class Framed(msgspec.Struct, frozen=True):
    """A bundle of frames, as the host's client wrote it."""

    host_id: int
    bundle: bytes


class ChannelOpened(msgspec.Struct, frozen=True):
    """The host is in the channel of its spectators now; `users` are in it."""

    host_id: int
    users: int


class ChannelClosed(msgspec.Struct, frozen=True):
    """A player is out of the channel of spectators: of its own, or of the host it watched."""

    user_id: int


class Watching(msgspec.Struct, frozen=True):
    """What a new spectator is told: whom it watches, and who else does. `host` None: it watched on."""

    session: Session
    host: Session | None = None
    fellows: Sequence[int] = ()


def channel_of(host_id: int) -> str:
    """The channel of a host and its spectators."""
    return f"#spec_{host_id}"


def topics_of(host_id: int) -> frozenset[str]:
    """What a spectator follows."""
    return frozenset((spectate_topic(host_id), frames_topic(host_id), chat_topic(channel_of(host_id))))


class Spectating:
    """Who watches whom."""

    def __init__(self, realtime: Realtime, announce: Announce) -> None:
        self._realtime = realtime
        self._announce = announce

    async def start(self, session: Session, host_id: int) -> Watching:
        """The session watches the host, and nobody else any more.

        Raises Refused for the bot and NotFound for a host who is not online; whoever was watched before is then no
        longer. Oneself and ids that are nobody's change nothing.
        """
        if host_id < 0:
            return Watching(await self.stop(session))
        if host_id in (0, session.user_id):
            return Watching(session)
        if host_id == BOT_ID:
            raise Refused("the bot plays nothing")
        host = (await self._realtime.sessions_among([host_id])).get(host_id)
        if session.spectating and (host is None or session.spectating != host_id):
            session = await self.stop(session)
        if host is None:
            raise NotFound("player")
        joined = SpectatorJoined(host_id, session.user_id)
        if session.spectating == host_id:
            await self._tell(joined)
            return Watching(session)

        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            after = msgspec.structs.replace(now, spectating=host_id, follows=now.follows | topics_of(host_id))
            return after, self._announce(joined)

        session = await self._realtime.change_session(session.token, rule)
        fellows = [one for one in await self._spectators(host_id) if one != session.user_id]
        await self._host_channel(host, opened=True)
        return Watching(session, host, fellows)

    async def stop(self, session: Session) -> Session:
        """The session watches nobody. Raises SessionGone."""
        host_id = session.spectating
        if not host_id:
            return session

        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            after = msgspec.structs.replace(now, spectating=0, follows=now.follows - topics_of(host_id))
            return after, self._announce(SpectatorLeft(host_id, now.user_id))

        session = await self._realtime.change_session(session.token, rule)
        await self._close_channel_when_empty(host_id)
        return session

    async def cannot_watch(self, session: Session) -> None:
        """The session lacks the map that its host plays."""
        if session.spectating:
            await self._tell(CannotWatch(session.spectating, session.user_id))

    async def frames(self, session: Session, bundle: bytes) -> None:
        """Relays a bundle to the session's spectators. A bundle above 64 KiB, or one that nobody watches, is dropped.

        PERF: one append, which a topic without followers ignores. How often a host may send is bounded by the budget of
        its packets (`faces/bancho/work.py`).
        """
        if len(bundle) <= BUNDLE_MAX:
            await self._tell(Framed(session.user_id, bundle))

    async def depart(self, session: Session) -> None:
        """Clears up behind an ended session: it watches nobody, and is watched by nobody unless it logged in anew."""
        if session.spectating:
            await self._tell(SpectatorLeft(session.spectating, session.user_id))
            await self._close_channel_when_empty(session.spectating)
        if session.tournament or await self._realtime.sessions_of(session.user_id):
            return
        for spectator in await self._realtime.following(spectate_topic(session.user_id)):
            await self._release(spectator, session.user_id)

    async def _release(self, spectator: Session, host_id: int) -> None:
        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            if now.spectating != host_id:
                return now, ()
            after = msgspec.structs.replace(now, spectating=0, follows=now.follows - topics_of(host_id))
            return after, self._announce(ChannelClosed(now.user_id))

        await self._change(spectator, rule)

    async def _spectators(self, host_id: int) -> list[int]:
        sessions = await self._realtime.following(spectate_topic(host_id))
        return list(dict.fromkeys(one.user_id for one in sessions if not one.hidden))

    async def _close_channel_when_empty(self, host_id: int) -> None:
        if not await self._realtime.is_followed(spectate_topic(host_id)):  # it may be by now: judged again below
            for host in await self._realtime.sessions_of(host_id):
                await self._host_channel(host, opened=False)

    async def _host_channel(self, host: Session, *, opened: bool) -> None:
        topic = chat_topic(channel_of(host.user_id))
        [users] = await self._realtime.followers([topic])

        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            if (topic in now.follows) == opened:
                return now, ()
            if opened:
                told: object = ChannelOpened(now.user_id, users + 1)
                return msgspec.structs.replace(now, follows=now.follows | {topic}), self._announce(told)
            told = ChannelClosed(now.user_id)
            return msgspec.structs.replace(now, follows=now.follows - {topic}), self._announce(told)

        await self._change(host, rule, unless_followed="" if opened else spectate_topic(host.user_id))

    async def _change(
        self,
        session: Session,
        rule: Callable[[Session], tuple[Session, Sequence[Entry]]],
        *,
        unless_followed: str = "",
    ) -> None:
        try:
            await self._realtime.change_session(session.token, rule, unless_followed=unless_followed)
        except SessionGone:
            return

    async def _tell(self, fact: object) -> None:
        await self._realtime.append(self._announce(fact))

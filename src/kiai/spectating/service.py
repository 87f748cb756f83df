"""The service of spectating (docs/spec/spectating.md).

A session watches at most one host, `session.spectating`. The spectators of a host are the sessions that follow its
topic; there is no second list that could differ. Frames are relayed as bytes and never decoded.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from kiai.chat.model import spectator_channel
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
from kiai.spectating.events import (
    FramesReceived,
    SpectatorChannelClosed,
    SpectatorChannelOpened,
    SpectatorJoined,
    SpectatorLacksMap,
    SpectatorLeft,
)

# Far above any bundle of a client, and a small part of the 2 MiB of the topic, so that one bundle cannot empty it.
BUNDLE_MAX: Final = 64 * 1024


class SpectatingStarted(msgspec.Struct, frozen=True):
    """The result of `start`: the spectator's session, the host, and the ids of the host's other spectators.

    `host` is None if the session watches nobody, or if it watched this host before.
    """

    session: Session
    host: Session | None = None
    fellows: Sequence[int] = ()


def spectator_topics(host_id: int) -> frozenset[str]:
    """Return the topics that a spectator of the host follows."""
    return frozenset((spectate_topic(host_id), frames_topic(host_id), chat_topic(spectator_channel(host_id))))


class Spectating:
    """Starts and ends watching, and relays frames."""

    def __init__(self, realtime: Realtime, announce: Announce) -> None:
        self._realtime = realtime
        self._announce = announce

    async def start(self, session: Session, host_id: int) -> SpectatingStarted:
        """Watch a host instead of the present one.

        A negative id stops watching; 0 and the session's own id change nothing. Raises Refused for the bot. Raises
        NotFound for a host who is offline, after the session has stopped watching the present one.
        """
        if host_id < 0:
            return SpectatingStarted(await self.stop(session))
        if host_id in (0, session.user_id):
            return SpectatingStarted(session)
        if host_id == BOT_ID:
            raise Refused("the bot does not play")
        host = (await self._realtime.sessions_among([host_id])).get(host_id)
        if host is not None and host.irc:  # nothing to watch
            host = None
        if session.spectating and (host is None or session.spectating != host_id):
            session = await self.stop(session)
        if host is None:
            raise NotFound("player")
        joined = SpectatorJoined(host_id, session.user_id)
        if session.spectating == host_id:
            # A client repeats the packet when it has downloaded the map that it lacked.
            await self._publish(joined)
            return SpectatingStarted(session)

        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            after = msgspec.structs.replace(now, spectating=host_id, follows=now.follows | spectator_topics(host_id))
            return after, self._announce(joined)

        # Follow first, then read the others: a spectator who joins in between may come twice, but never gets lost.
        session = await self._realtime.change_session(session.token, rule)
        fellows = [user_id for user_id in await self._spectators(host_id) if user_id != session.user_id]
        await self._host_channel(host, opened=True)
        return SpectatingStarted(session, host, fellows)

    async def stop(self, session: Session) -> Session:
        """Stop watching. Does nothing if the session watches nobody. Raises SessionGone."""
        host_id = session.spectating
        if not host_id:
            return session

        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            after = msgspec.structs.replace(now, spectating=0, follows=now.follows - spectator_topics(host_id))
            return after, self._announce(SpectatorLeft(host_id, now.user_id))

        session = await self._realtime.change_session(session.token, rule)
        await self._close_channel_when_empty(host_id)
        return session

    async def cannot_watch(self, session: Session) -> None:
        """Announce that the session does not have the map that its host plays."""
        if session.spectating:
            await self._publish(SpectatorLacksMap(session.spectating, session.user_id))

    async def frames(self, session: Session, bundle: bytes) -> None:
        """Relay a bundle to the session's spectators. Drops a bundle above 64 KiB.

        The budget of packets limits how often a host may send (`faces/bancho/work.py`).
        """
        # PERF: one append without a lookup of spectators. The port drops entries of a topic without followers.
        if len(bundle) <= BUNDLE_MAX:
            await self._publish(FramesReceived(session.user_id, bundle))

    async def on_session_end(self, session: Session) -> None:
        """Remove an ended session: as a spectator, and as a host unless the player has another session."""
        if session.spectating:
            await self._publish(SpectatorLeft(session.spectating, session.user_id))
            await self._close_channel_when_empty(session.spectating)
        # Spectators stay after a second login: the host's topic is named after the player, not the session.
        if not session.is_game:
            return
        if any(not other.irc for other in await self._realtime.sessions_of(session.user_id)):
            return
        for spectator in await self._realtime.following(spectate_topic(session.user_id)):
            await self._detach(spectator, session.user_id)

    async def _detach(self, spectator: Session, host_id: int) -> None:
        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            if now.spectating != host_id:  # it has switched to another host since the list was read
                return now, ()
            after = msgspec.structs.replace(now, spectating=0, follows=now.follows - spectator_topics(host_id))
            return after, self._announce(SpectatorChannelClosed(now.user_id))

        await self._change(spectator, rule)

    async def _spectators(self, host_id: int) -> list[int]:
        sessions = await self._realtime.following(spectate_topic(host_id))
        return list(dict.fromkeys(session.user_id for session in sessions if not session.hidden))

    async def _close_channel_when_empty(self, host_id: int) -> None:
        # PERF: usually other spectators remain, which this check finds in one step. A spectator may join right after
        # it, so `change_session` checks again atomically (`unless_followed`).
        if not await self._realtime.is_followed(spectate_topic(host_id)):
            for host in await self._realtime.sessions_of(host_id):
                await self._host_channel(host, opened=False)

    async def _host_channel(self, host: Session, *, opened: bool) -> None:
        topic = chat_topic(spectator_channel(host.user_id))
        [users] = await self._realtime.followers([topic])

        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            if (topic in now.follows) == opened:
                return now, ()
            if opened:
                # The host joins in this step, so the count read above lacks it.
                event: object = SpectatorChannelOpened(now.user_id, users + 1)
                return msgspec.structs.replace(now, follows=now.follows | {topic}), self._announce(event)
            event = SpectatorChannelClosed(now.user_id)
            return msgspec.structs.replace(now, follows=now.follows - {topic}), self._announce(event)

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

    async def _publish(self, event: object) -> None:
        await self._realtime.append(self._announce(event))

"""Rooms: the pure match behind the realtime port, its players' sessions, and who is told.

A change is `apply` run by the port: the new match and what is said about it are one act. A session points to its room
before the room seats it and is unpointed when there is no seat, so a session that ends at any moment is found by its
departure. Score frames pass by the machine: they are most of the traffic and change no rule.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from kiai.beatmaps import Beatmaps
from kiai.beatmaps.model import full_title
from kiai.chat.model import MATCH, aside_topic, match_channel
from kiai.clock import Clock
from kiai.errors import NotFound, Refused
from kiai.multiplayer import commands, facts
from kiai.multiplayer.history import MatchHistory
from kiai.multiplayer.lines import counting_down, lines_about
from kiai.multiplayer.match import Match, apply, is_leader, is_referee, opened, seat_of
from kiai.multiplayer.match import may as may_lead
from kiai.multiplayer.model import COUNTDOWN, PLAYING, START, Timer
from kiai.osu.privileges import STAFF, effective, may
from kiai.realtime.port import (
    BOT_ID,
    LOBBY,
    Announce,
    Entry,
    MatchGone,
    Realtime,
    Session,
    SessionGone,
    TooMany,
    chat_topic,
    match_topic,
)
from kiai.realtime.rate_limiter import RateLimiter

INVITES: Final = 10
INVITES_S: Final = 20.0
FRAME_MAX: Final = 128
MADE_MAX: Final = 4
ROOMS_PER_HOUR: Final = 30
ROOMS_BURST: Final = 10
SETTLED_S: Final = 5.0
"""Longer than any verb of this module takes."""
SAID_AT_S: Final = (30, 10, 5, 4, 3, 2, 1)
LOBBY_CHAT: Final = chat_topic("#lobby")


class Told(msgspec.Struct, frozen=True):
    """What happened to a match, in one act, and what it is afterwards."""

    match_id: int
    match: Match
    facts: tuple[facts.Fact, ...]
    at_ms: int


class Opened(msgspec.Struct, frozen=True):
    """There is a new room."""

    match_id: int
    match: Match


class ScoreFrame(msgspec.Struct, frozen=True):
    """A player's score frame, as its client wrote it."""

    match_id: int
    slot: int
    payload: bytes


class Invited(msgspec.Struct, frozen=True):
    """Somebody is asked to join."""

    match_id: int
    match: Match
    by_id: int
    by_name: str
    user_id: int
    name: str


class PutOut(msgspec.Struct, frozen=True):
    """Somebody who heard a room without a seat in it hears it no more, under this name of its channel."""

    user_id: int
    channel: str


class LetIn(msgspec.Struct, frozen=True):
    """A referee without a seat hears the room from now on."""

    user_id: int
    match_id: int
    users: int


class SeatGiven(msgspec.Struct, frozen=True):
    """Somebody who did not ask for a seat in as many words has one: the client is to open the room."""

    user_id: int
    match_id: int
    match: Match
    users: int
    was_in_lobby: bool


class Led(msgspec.Struct, frozen=True):
    """What came of a command: the match afterwards, and what happened."""

    match: Match
    facts: tuple[facts.Fact, ...]


class Seated(msgspec.Struct, frozen=True):
    """A session with a seat, and its room."""

    session: Session
    match_id: int
    match: Match
    users: int


def topics_of(match_id: int) -> frozenset[str]:
    """What everybody in a room follows."""
    return frozenset((match_topic(match_id), chat_topic(match_channel(match_id))))


def actor_of(session: Session) -> commands.Actor:
    """Who asks, with what the account may do in any room."""
    return commands.Actor(
        session.user_id,
        session.name,
        referee_any=may(session.priv, "matches.referee_any"),
        staff=effective(session.priv) & STAFF != 0,
    )


class RoomsFull(Refused):
    """Somebody has as many rooms made by command as one may have."""

    def __init__(self) -> None:
        super().__init__(f"you have {MADE_MAX} rooms already")


class AlreadySeated(Refused):
    """Who is invited sits in the room."""

    def __init__(self) -> None:
        super().__init__("this player is here already")


class Matches:
    """The verbs of multiplayer."""

    def __init__(
        self,
        realtime: Realtime,
        beatmaps: Beatmaps,
        clock: Clock,
        announce: Announce,
        history: MatchHistory,
        post: Callable[[str, str], Awaitable[None]],
        stop_spectating: Callable[[Session], Awaitable[Session]],
        domain: str,
        limiter: RateLimiter | None = None,
    ) -> None:
        """`limiter` is None when the operator switched rate limits off."""
        self._realtime = realtime
        self._limiter = limiter
        self._beatmaps = beatmaps
        self._clock = clock
        self._announce = announce
        self._history = history
        self._post = post
        self._stop_spectating = stop_spectating
        self._domain = domain

    # --- the lobby

    async def enter_lobby(self, session: Session) -> tuple[Session, list[tuple[int, Match]]]:
        """The session looks at the lobby; the rooms there are."""
        session = await self._change(session, in_lobby=True, follows=session.follows | {LOBBY})
        return session, await self._realtime.matches(Match)

    async def leave_lobby(self, session: Session) -> Session:
        """The session looks at the lobby no more."""
        return await self._change(session, in_lobby=False, follows=session.follows - {LOBBY})

    # --- in and out

    async def create(self, session: Session, **wanted: Any) -> Seated:
        """A new room with the session in its first seat (docs/spec/multiplayer.md#create). Raises Refused, Invalid."""
        self._check(session)
        await self._count_room(session)
        session = await self._away_from_elsewhere(session)
        wanted |= await self._known_map(wanted["map_id"], wanted["map_md5"])
        match = opened(by=actor_of(session), at_ms=self._clock.now_ms(), **wanted)
        match_id, match = await self._open(match)
        session = await self._enter(session, match_id)
        await self._realtime.append(self._announce(Opened(match_id, match)))
        return await self._seated(session, match_id, match)

    async def _count_room(self, session: Session) -> None:
        """Counts a room against what a player may open. Raises Refused."""
        if self._limiter is None or may(session.priv, "matches.unlimited"):
            return
        taken = await self._limiter.take(
            f"rooms:{session.user_id}", limit=ROOMS_PER_HOUR, period_s=3_600.0, burst=ROOMS_BURST
        )
        if not taken.granted:
            raise Refused(f"you have opened too many rooms; the next one may be opened in {taken.reset_s:.0f} s")

    async def _open(self, match: Match) -> tuple[int, Match]:
        """Keeps a new match, in the history too; its id, and it with its id there. Raises Refused."""
        match = msgspec.structs.replace(match, history_id=await self._history.open(match))
        try:
            match_id = await self._realtime.open_match(match)
        except TooMany as full:
            raise Refused("there are too many rooms already") from full
        await self._history.opened(match, match_id)
        await self._everybody_out(match_id)  # of the room that had this number, whose worker died as it closed
        return match_id, match

    async def _everybody_out(self, match_id: int) -> None:
        for session in await self._realtime.following(match_topic(match_id)):
            await self._release(session, match_id)
        for session in await self._realtime.following(aside_topic(match_channel(match_id))):
            await self._close_aside(session, match_id)

    async def join(self, session: Session, match_id: int, password: str, *, force: bool = False) -> Seated:
        """The session takes a seat (docs/spec/multiplayer.md#join). Raises Refused, MatchGone.

        The seat comes first and the room's topics second: nobody reads a room that would not have them. What happens in
        between is in the match that is read at the end.
        """
        self._check(session)
        match = await self._realtime.match(match_id, Match)
        if match is None:
            raise MatchGone(match_id)
        by, at_ms = actor_of(session), self._clock.now_ms()
        leave = commands.Leave(by=by, at_ms=at_ms)  # frees a seat that a dead session of this player still holds
        join = commands.Join(by=by, at_ms=at_ms, password=password, force=force)
        apply(apply(match, leave)[0], join)  # who is refused keeps the seat that they have elsewhere
        session = await self._away_from_elsewhere(session)
        await self._act(match_id, leave)
        await self._act(match_id, join)
        try:
            session = await self._enter(session, match_id)
        except SessionGone:
            await self._depart(session, match_id)
            raise
        seated = await self._realtime.match(match_id, Match)
        if seated is None or seat_of(seated, session.user_id) is None:  # put out, or the room closed, meanwhile
            await self._outside(session, match_id)
            raise Refused("the seat was lost again")
        return await self._seated(session, match_id, seated)

    async def _seated(self, session: Session, match_id: int, match: Match) -> Seated:
        [users] = await self._realtime.followers([chat_topic(match_channel(match_id))])
        return Seated(session, match_id, match, users)

    async def leave(self, session: Session) -> Session:
        """The session gets up (docs/spec/multiplayer.md#leave); without a seat nothing happens."""
        match_id = session.match_id
        if not match_id:
            return session
        session = await self._outside(session, match_id)
        await self._depart(session, match_id)
        match = await self._realtime.match(match_id, Match)
        if match is not None and match.by_command and is_referee(match, actor_of(session)):
            # A referee leads on without a seat: docs/spec/multiplayer.md#leave.
            session = await self._hear_aside(session, match_id)
        return session

    async def depart(self, session: Session) -> None:
        """Clears up behind an ended session."""
        if session.match_id:
            await self._depart(session, session.match_id)

    async def clear_up(self) -> int:
        """Ends what workers left half done when they died; how much it was.

        Seats whose players are not here, sessions in rooms that have no seat for them, histories of rooms that are
        gone. What is just being done looks the same, so only what is still so after `SETTLED_S` counts.
        """
        seats, strays = await self._half_done()
        if seats or strays:
            await asyncio.sleep(SETTLED_S)
            seats_now, strays_now = await self._half_done()
            seats &= seats_now
            strays &= strays_now
        for match_id, user_id, name in seats:
            gone = commands.Leave(by=commands.Actor(user_id, name), at_ms=self._clock.now_ms())
            with contextlib.suppress(MatchGone, Refused):
                await self._act(match_id, gone)
        for match_id, token in strays:
            with contextlib.suppress(SessionGone):
                await self._release(await self._realtime.session(token), match_id)
        live = {match.history_id for _, match in await self._realtime.matches(Match)}
        return len(seats) + len(strays) + await self._history.end_abandoned(live, self._clock.now_ms())

    async def _half_done(self) -> tuple[set[tuple[int, int, str]], set[tuple[int, str]]]:
        """Seats (room, user id, name) without a session, and sessions (room, token) without a seat."""
        seats: set[tuple[int, int, str]] = set()
        strays: set[tuple[int, str]] = set()
        for match_id, match in await self._realtime.matches(Match):
            here = [one for one in await self._realtime.following(match_topic(match_id)) if one.match_id == match_id]
            seated = {slot.player_id: slot.player_name for slot in match.slots if slot.occupied}
            absent = seated.keys() - {one.user_id for one in here}
            seats.update((match_id, user_id, seated[user_id]) for user_id in absent)
            strays.update((match_id, one.token) for one in here if one.user_id not in seated)
        return seats, strays

    async def on_silence(self, user_id: int) -> None:
        """A silenced player leaves its room."""
        for session in await self._realtime.sessions_of(user_id):
            if session.match_id:
                kick = commands.Kick(by=commands.SERVER, at_ms=self._clock.now_ms(), user_id=user_id)
                try:
                    await self._act(session.match_id, kick)
                except (MatchGone, Refused):
                    # It is just sitting down: it loses its room, and `clear_up` frees the seat.
                    await self._release(session, session.match_id)

    async def _depart(self, session: Session, match_id: int) -> None:
        try:
            await self._act(match_id, commands.Leave(by=actor_of(session), at_ms=self._clock.now_ms()))
        except (MatchGone, Refused):
            return

    def _check(self, session: Session) -> None:
        if session.hidden or session.tournament:
            raise Refused("this account cannot play with others")
        if session.silenced_until_ms > self._clock.now_ms():
            raise Refused("silenced players cannot play with others")

    async def _away_from_elsewhere(self, session: Session) -> Session:
        session = await self.stop_viewing(await self.leave(session))
        if session.spectating:
            session = await self._stop_spectating(session)
        return session

    async def _enter(self, session: Session, match_id: int) -> Session:
        channel = match_channel(match_id)
        aside = aside_topic(channel)

        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            follows = (now.follows - {LOBBY, LOBBY_CHAT, aside}) | topics_of(match_id)
            after = msgspec.structs.replace(now, match_id=match_id, room_id=match_id, in_lobby=False, follows=follows)
            return after, self._announce(PutOut(now.user_id, channel)) if aside in now.follows else ()

        return await self._realtime.change_session(session.token, rule)

    async def _outside(self, session: Session, match_id: int) -> Session:
        """The session has no more to do with the room: no seat, no chat. A viewer's client is told so."""

        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            if match_id not in (now.match_id, now.room_id):
                return now, ()
            after = msgspec.structs.replace(now, match_id=0, room_id=0, follows=now.follows - topics_of(match_id))
            return after, () if now.match_id else self._announce(PutOut(now.user_id, MATCH))

        return await self._realtime.change_session(session.token, rule)

    # --- referees without a seat

    async def may_refer(self, session: Session, match_id: int) -> bool:
        """Whether the session may be in a room's channel without a seat: as a referee, or as one of every room."""
        match = await self._realtime.match(match_id, Match)
        if match is None or session.hidden or session.tournament:
            return False
        return is_referee(match, actor_of(session))

    async def _hear_aside(self, session: Session, match_id: int) -> Session:
        channel = match_channel(match_id)
        [users] = await self._realtime.followers([chat_topic(channel)])

        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            after = msgspec.structs.replace(now, follows=now.follows | {aside_topic(channel)})
            return after, self._announce(LetIn(now.user_id, match_id, users))

        return await self._realtime.change_session(session.token, rule)

    async def _close_aside(self, session: Session, match_id: int) -> None:
        channel = match_channel(match_id)
        topic = aside_topic(channel)

        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            after = msgspec.structs.replace(now, follows=now.follows - {topic})
            return after, self._announce(PutOut(now.user_id, channel)) if topic in now.follows else ()

        with contextlib.suppress(SessionGone):
            await self._realtime.change_session(session.token, rule)

    async def _release(self, session: Session, match_id: int) -> None:
        try:
            await self._outside(session, match_id)
        except SessionGone:
            return

    async def _change(self, session: Session, **fields: object) -> Session:
        return await self._realtime.change_session(
            session.token, lambda now: (msgspec.structs.replace(now, **fields), ())
        )

    # --- everything else is a command

    async def act(self, session: Session, command_of: Callable[..., commands.Command], **fields: object) -> None:
        """The session, seated or as a referee, asks for something in its room. Raises Refused, MatchGone."""
        match_id = session.match_id or session.room_id
        if not match_id:
            raise Refused("you are in no match")
        await self._act(match_id, command_of(by=actor_of(session), at_ms=self._clock.now_ms(), **fields))

    async def change_settings(self, session: Session, **wanted: Any) -> None:
        """SETTINGS (41): as the host's client wants it, but a map we know is as we know it. Raises Refused."""
        choice = await self._known_map(wanted["map_id"], wanted["map_md5"])
        await self.act(session, commands.ChangeSettings, **(wanted | choice))

    async def _known_map(self, map_id: int, md5: str) -> dict[str, Any]:
        if map_id <= 0:
            return {}
        try:
            found = await (self._beatmaps.find(md5=md5.lower()) if md5 else self._beatmaps.find(id=map_id))
        except NotFound:
            return {}
        return {
            "map_id": found.id,
            "map_md5": found.md5,
            "map_name": full_title(found),
        } | ({"mode": found.mode} if found.mode else {})  # a map of osu! may be played in any mode

    async def lead(
        self, session: Session, match_id: int, command_of: type[commands.Command], **fields: Any
    ) -> Led | None:
        """As `act`, in a room that the session leads; None when it has no right to. Raises Refused, MatchGone."""
        match = await self._realtime.match(match_id, Match)
        if match is None:
            raise MatchGone(match_id)
        if not may_lead(match, actor_of(session), command_of):
            return None
        if command_of is commands.Close:
            await self._post(match_channel(match_id), "Closed the match")  # while somebody is there to hear it
        return await self._acted(match_id, command_of(by=actor_of(session), at_ms=self._clock.now_ms(), **fields))

    async def make(self, session: Session, name: str, password: str, *, private: bool) -> tuple[Session, int]:
        """A room made by command (docs/spec/multiplayer.md#made-by-command); its id. Raises Refused, RoomsFull.

        Without a seat elsewhere the session sits down in it, without being its host. Else it stays where it is, and
        hears and leads the room from there.
        """
        self._check(session)
        if not may(session.priv, "matches.unlimited"):
            own = [one for _, one in await self._realtime.matches(Match) if one.created_by == session.user_id]
            if len([one for one in own if one.by_command]) >= MADE_MAX:
                raise RoomsFull
        await self._count_room(session)
        match = opened(
            by=actor_of(session),
            at_ms=self._clock.now_ms(),
            name=name,
            password=password,
            by_command=True,
            private=private,
            seated=not session.match_id,
        )
        match_id, match = await self._open(match)
        if session.match_id:
            await self._realtime.append(self._announce(Opened(match_id, match)))
            return await self._hear_aside(session, match_id), match_id
        was_in_lobby = LOBBY_CHAT in session.follows
        session = await self._enter(await self._away_from_elsewhere(session), match_id)
        [users] = await self._realtime.followers([chat_topic(match_channel(match_id))])
        given = SeatGiven(session.user_id, match_id, match, users, was_in_lobby)
        await self._realtime.append([*self._announce(Opened(match_id, match)), *self._announce(given)])
        return session, match_id

    async def _act(self, match_id: int, command: commands.Command) -> Match:
        return (await self._acted(match_id, command)).match

    async def _acted(self, match_id: int, command: commands.Command) -> Led:
        told: tuple[facts.Fact, ...] = ()
        after: Match | None = None

        def rule(match: Match) -> tuple[Match | None, Sequence[Entry]]:
            nonlocal told, after
            after, told = apply(match, command)
            entries: Sequence[Entry] = ()
            if told:
                said = self._announce(Told(match_id, after, told, command.at_ms))
                after, notes = self._history.noted(after, command, told)
                entries = [*said, *notes]
            return (None if after.closed else after), entries

        await self._realtime.change_match(match_id, Match, rule)
        assert after is not None
        results = await self._results(after, told)
        await self._follow_up(match_id, command, after, told)
        if results is not None:
            with contextlib.suppress(MatchGone, Refused):
                await self._act(match_id, results)
        return Led(after, told)

    async def _results(self, match: Match, told: Sequence[facts.Fact]) -> commands.RoundScored | None:
        """What a play that just ended is worth in a scrim: by the last frames of those who played to the end."""
        finished = next((fact for fact in told if isinstance(fact, facts.Finished)), None)
        if finished is None or match.scrim is None or not finished.players:
            return None
        values = await self._history.values(match, [seat.user_id for seat in finished.players])
        results = tuple(
            commands.Result(seat.user_id, seat.name, seat.team, values[seat.user_id]) for seat in finished.players
        )
        return commands.RoundScored(
            by=commands.SERVER,
            at_ms=self._clock.now_ms(),
            started_at_ms=finished.started_at_ms,
            results=results,
        )

    async def _follow_up(
        self, match_id: int, command: commands.Command, match: Match, told: Sequence[facts.Fact]
    ) -> None:
        scores: dict[int, int] = {}
        for fact in told:
            if isinstance(fact, facts.Left) and fact.why != "left":
                for session in await self._realtime.sessions_of(fact.user_id):
                    await self._release(session, match_id)
            elif isinstance(fact, facts.RefereeRemoved):
                for session in await self._realtime.sessions_of(fact.user_id):
                    await self._close_aside(session, match_id)
            elif isinstance(fact, facts.PlayerCompleted):
                scores[fact.user_id] = await self._history.score_of(match, fact.user_id)
        if not match.closed:
            for line in lines_about(command, match, told, scores=scores, link=self._link):
                await self._post(match_channel(match_id), line)
        if match.closed:
            await self._everybody_out(match_id)

    async def score_frame(self, session: Session, payload: bytes) -> None:
        """Relays a frame of somebody who plays (docs/spec/multiplayer.md#scores); from others it is dropped."""
        match = await self._realtime.match(session.match_id, Match) if session.match_id else None
        seat = None if match is None else seat_of(match, session.user_id)
        if match is None or seat is None or match.slots[seat].status != PLAYING or len(payload) > FRAME_MAX:
            return
        await asyncio.gather(
            self._history.frame(match, session.user_id, payload),
            self._realtime.append(self._announce(ScoreFrame(session.match_id, seat, payload))),
        )

    async def leads(self, session: Session, match_id: int) -> bool:
        """Whether the session leads a room, as its host or a referee."""
        match = await self._realtime.match(match_id, Match)
        return match is not None and is_leader(match, actor_of(session))

    async def invite(self, session: Session, match_id: int, user_id: int) -> None:
        """Asks a player to join a room. Raises Refused when the player is not asked, AlreadySeated.

        See docs/spec/multiplayer.md#invitations.
        """
        match = await self._realtime.match(match_id, Match) if match_id else None
        if match is None:
            raise Refused("you are in no match")
        if user_id == session.user_id:
            raise Refused("nobody invites themselves")
        if user_id == BOT_ID:
            raise Refused("the bot is too busy")
        target = (await self._realtime.sessions_among([user_id])).get(user_id)
        if target is None or target.tournament:
            raise Refused("this player is not online")
        if seat_of(match, user_id) is not None:
            raise AlreadySeated
        allowed = await self._realtime.take(
            f"invite:{session.user_id}:{user_id}", limit=INVITES, period_s=INVITES_S, burst=INVITES
        )
        if not allowed.granted:
            raise Refused("this player was invited often enough for now")
        wanted = session.user_id in target.friends or not target.friends_only_dms
        if session.user_id in target.blocked or not wanted or user_id in session.blocked:
            raise Refused("this player takes no messages from you")
        invited = Invited(match_id, match, session.user_id, session.name, user_id, target.name)
        await self._realtime.append(self._announce(invited))

    # --- tournament clients (docs/spec/multiplayer.md#tournament-clients)

    async def shown_to_viewer(self, session: Session, match_id: int) -> Match:
        """A room, for a tournament client or manager. Raises Refused, NotFound("match")."""
        if not session.tournament and not may(session.priv, "matches.referee_any"):
            raise Refused("this is for tournament clients")
        match = await self._realtime.match(match_id, Match)
        if match is None:
            raise NotFound("match")
        return match

    async def view(self, session: Session, match_id: int) -> Session:
        """The session hears a room in which it has no seat. Raises Refused, NotFound("match")."""
        await self.shown_to_viewer(session, match_id)
        if session.match_id:
            raise Refused("you sit in a match")
        session = await self.stop_viewing(session)
        return await self._change(session, room_id=match_id, follows=session.follows | topics_of(match_id))

    async def stop_viewing(self, session: Session) -> Session:
        """The session hears that room no more."""
        if session.match_id or not session.room_id:
            return session
        return await self._change(session, room_id=0, follows=session.follows - topics_of(session.room_id))

    async def ring(self) -> None:
        """Rings the timers whose time has come. A job's work."""
        now = self._clock.now_ms()
        for match_id, match in await self._realtime.matches(Match):
            for timer in match.timers:
                await self._count_down(match_id, match, timer, now)
                if timer.rings_at_ms <= now:
                    try:
                        await self._act(match_id, commands.TimerRang(by=commands.SERVER, at_ms=now, timer_id=timer.id))
                    except (MatchGone, Refused):
                        break

    async def _count_down(self, match_id: int, match: Match, timer: Timer, now_ms: int) -> None:
        left_s = -(-(timer.rings_at_ms - now_ms) // 1000)
        if timer.kind not in (START, COUNTDOWN) or not 0 < left_s < timer.seconds:
            return  # the answer to the command has said the whole time
        if left_s not in SAID_AT_S and left_s % 60:
            return
        if await self._realtime.once(f"countdown:{match.history_id}:{timer.id}:{left_s}", 5.0):
            await self._post(match_channel(match_id), counting_down(timer.kind, left_s))

    def _link(self, path: str) -> str:
        return f"https://osu.{self._domain}/{path}"

"""Matches in shared state: runs the commands, moves sessions in and out, publishes events and the bot's lines.

The realtime port runs `match.apply` as a change: it stores the new match and appends the entries about it atomically.
Match and session are separate values, so a worker that dies between two changes can leave a seat without a session or
a session without a seat; `Matches.clean_up` repairs both. Score frames do not go through the rules: they are most of
the traffic and change no match.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

import msgspec

from kiai.beatmaps import Beatmaps
from kiai.beatmaps.model import full_title
from kiai.chat.model import MATCH, match_channel, referee_topic
from kiai.clock import Clock
from kiai.errors import NotFound, Refused, Unavailable
from kiai.multiplayer import commands, events
from kiai.multiplayer.events import (
    MatchChanged,
    MatchOpened,
    PlayerInvited,
    RefereeChannelOpened,
    RoomChannelClosed,
    ScoreFrame,
    SeatAssigned,
)
from kiai.multiplayer.history import MatchHistory, WithinTransaction
from kiai.multiplayer.lines import countdown_line, event_lines
from kiai.multiplayer.match import Match, apply, is_leader, is_referee, new_match, seat_of
from kiai.multiplayer.match import may as may_lead
from kiai.multiplayer.model import COUNTDOWN, OPEN, PLAYING, START, Timer
from kiai.multiplayer.round_values import RoundResults, SubmittedScores
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

# Invitations of one player to another (docs/spec/multiplayer.md#invitations).
INVITES: Final = 10
INVITES_S: Final = 20.0
# Bytes. A score frame has 29, and 45 with ScoreV2 (docs/spec/protocol.md#score-frame).
FRAME_MAX: Final = 128
# Open matches made by command, as on the official server.
COMMAND_ROOMS_MAX: Final = 4
# An awaited result may be refused, e.g. when the scrim has too many sides. It is not tried for longer.
UNSCORED_MS: Final = 60_000
# Each new match is a row of the history and a packet to the whole lobby.
ROOMS_PER_HOUR: Final = 30
ROOMS_BURST: Final = 10
CLEAN_UP_GRACE_S: Final = 5.0
"""Time in seconds after which an inconsistency is not an operation in progress. Every method takes less."""
# Referee tools expect these marks and each full minute (docs/spec/multiplayer.md#commands-of-referees).
COUNTDOWN_LINES_AT_S: Final = (30, 10, 5, 4, 3, 2, 1)
LOBBY_CHAT: Final = chat_topic("#lobby")


class CommandOutcome(msgspec.Struct, frozen=True):
    """The match after a command, and the events of the command."""

    match: Match
    events: tuple[events.Event, ...]


class SeatedSession(msgspec.Struct, frozen=True):
    """A session with a seat, and its match. `users` is the number of users in the match's channel."""

    session: Session
    match_id: int
    match: Match
    users: int


def room_topics(match_id: int) -> frozenset[str]:
    """Return the topics that the session of a seated player follows."""
    return frozenset((match_topic(match_id), chat_topic(match_channel(match_id))))


def issuer_of(session: Session) -> commands.Issuer:
    """Return the issuer for the commands of a session, with the rights that its account has in every match."""
    return commands.Issuer(
        session.user_id,
        session.name,
        referee_any=may(session.priv, "matches.referee_any"),
        staff=effective(session.priv) & STAFF != 0,
    )


class TooManyRooms(Refused):
    """The player has the largest allowed number of open matches made by command."""

    def __init__(self) -> None:
        super().__init__(f"you can have at most {COMMAND_ROOMS_MAX} open matches")


class AlreadySeated(Refused):
    """The invited player already has a seat in the match."""

    def __init__(self) -> None:
        super().__init__("this player is already in the match")


class BotLines(Protocol):
    """Sends lines in the bot's name."""

    async def post(self, channel: str, text: str) -> None:
        """Send a line to a channel."""
        ...

    async def notify(self, user_id: int, name: str, text: str) -> None:
        """Send a line to one player, to the player's name or in a channel."""
        ...


class Matches:
    """Operations on matches. They take the session of the caller and return its new state where it changes."""

    def __init__(
        self,
        realtime: Realtime,
        beatmaps: Beatmaps,
        clock: Clock,
        announce: Announce,
        history: MatchHistory,
        bot: BotLines,
        stop_spectating: Callable[[Session], Awaitable[Session]],
        scores: SubmittedScores,
        domain: str,
        limiter: RateLimiter | None = None,
    ) -> None:
        """`scores` decide scrims by pp. `limiter` is None if the operator disabled rate limits."""
        self._realtime = realtime
        self._limiter = limiter
        self._beatmaps = beatmaps
        self._clock = clock
        self._announce = announce
        self._history = history
        self._results = RoundResults(history, scores)
        self._post, self._notify = bot.post, bot.notify
        self._stop_spectating = stop_spectating
        self._domain = domain

    # --- the lobby

    async def enter_lobby(self, session: Session) -> tuple[Session, list[tuple[int, Match]]]:
        """Open the lobby for a session. Return the session and the open matches by id."""
        # Follow first, read second: a match that is created in between arrives twice rather than not at all.
        session = await self._change(session, in_lobby=True, follows=session.follows | {LOBBY})
        return session, await self._realtime.matches(Match)

    async def leave_lobby(self, session: Session) -> Session:
        """Close the lobby for a session."""
        return await self._change(session, in_lobby=False, follows=session.follows - {LOBBY})

    async def count(self) -> int:
        """Return the number of open matches."""
        return len(await self._realtime.matches(Match))

    async def channel_id(self, match_id: int) -> int:
        """Return the number by which tournament clients name the channel of a match, 0 if the match does not exist."""
        found = await self._realtime.match(match_id, Match)
        return 0 if found is None else match_id

    # --- in and out

    async def create(self, session: Session, **settings: Any) -> SeatedSession:
        """Create a match with the session in slot 0 (docs/spec/multiplayer.md#create). Raises Refused, Invalid.

        `settings` are parameters of `new_match`.
        """
        self._check(session)
        await self._count_new_match(session)
        session = await self._leave_other_matches(session)
        settings |= await self._known_map(settings["map_id"], settings["map_md5"])
        match = new_match(by=issuer_of(session), at_ms=self._clock.now_ms(), **settings)
        match_id, match = await self._open(match)
        session = await self._follow_match(session, match_id)
        # Last: the lobby shows the match only when its creator follows it.
        await self._realtime.append(self._announce(MatchOpened(match_id, match)))
        return await self._seated_session(session, match_id, match)

    async def _count_new_match(self, session: Session) -> None:
        """Count a new match against the limit of the player. Raises Refused."""
        if self._limiter is None or may(session.priv, "matches.unlimited"):
            return
        limit = await self._limiter.consume(
            f"rooms:{session.user_id}", limit=ROOMS_PER_HOUR, period_s=3_600.0, burst=ROOMS_BURST
        )
        if not limit.granted:
            raise Refused(f"you have created too many matches; you can create the next one in {limit.reset_s:.0f} s")

    async def _open(self, match: Match, also: WithinTransaction | None = None) -> tuple[int, Match]:
        """Store a new match, also in the history. Return its id, and the match with its history id. Raises Refused."""
        # The row comes first: no event of the match may be recorded without its history id. If the process dies here,
        # `MatchHistory.end_abandoned` ends the row.
        match = msgspec.structs.replace(match, history_id=await self._history.open(match, also))
        try:
            match_id = await self._realtime.open_match(match)
        except TooMany as error:
            raise Refused("there are too many open matches") from error
        await self._history.record_opened(match, match_id)
        # Match ids are reused. Sessions of the former match with this id may be left if its worker died.
        await self._detach_all(match_id)
        return match_id, match

    async def _detach_all(self, match_id: int, last_line: str = "") -> None:
        for session in await self._realtime.following(match_topic(match_id)):
            await self._detach(session, match_id)
        channel = match_channel(match_id)
        referees = await self._realtime.following(referee_topic(channel))
        if last_line:
            # To each referee, not to the channel: they no longer follow it when they read the line.
            for user_id in dict.fromkeys(session.user_id for session in referees):
                await self._notify(user_id, channel, last_line)
        for session in referees:
            await self._close_referee_channel(session, match_id)

    async def join(self, session: Session, match_id: int, password: str, *, force: bool = False) -> SeatedSession:
        """Seat the session in a match (docs/spec/multiplayer.md#join). Raises Refused, MatchGone.

        The player gets the seat first and follows the topics of the match second, so that a refused player reads
        nothing of it. The match that is returned was read last and includes events that happened in between.
        """
        self._check(session)
        match = await self._realtime.match(match_id, Match)
        if match is None:
            raise MatchGone(match_id)
        by, at_ms = issuer_of(session), self._clock.now_ms()
        leave = commands.Leave(by=by, at_ms=at_ms)  # frees the seat of a former session of this player
        join = commands.Join(by=by, at_ms=at_ms, password=password, force=force)
        # Raises Refused before anything changes, so that a refused player keeps the seat in another match.
        apply(apply(match, leave)[0], join)
        session = await self._leave_other_matches(session)
        await self._run(match_id, leave)
        await self._run(match_id, join)
        try:
            session = await self._follow_match(session, match_id)
        except SessionGone:
            # `on_session_end` did not know of this seat.
            await self._leave_seat(session, match_id)
            raise
        seated = await self._realtime.match(match_id, Match)
        if seated is None or seat_of(seated, session.user_id) is None:
            # A referee kicked the player, or closed the match, after `join` and before the session followed it.
            await self._unfollow_match(session, match_id)
            raise Refused("you were removed from the match while joining it")
        return await self._seated_session(session, match_id, seated)

    async def _seated_session(self, session: Session, match_id: int, match: Match) -> SeatedSession:
        [users] = await self._realtime.followers([chat_topic(match_channel(match_id))])
        return SeatedSession(session, match_id, match, users)

    async def leave(self, session: Session) -> Session:
        """Leave the match of the session (docs/spec/multiplayer.md#leave). Without a seat there is no effect."""
        match_id = session.match_id
        if not match_id:
            return session
        # The client has closed the match already, so the session must get no more of its packets.
        session = await self._unfollow_match(session, match_id)
        await self._leave_seat(session, match_id)
        match = await self._realtime.match(match_id, Match)
        if match is not None and match.by_command and is_referee(match, issuer_of(session)):
            # A referee keeps the role without a seat: docs/spec/multiplayer.md#leave.
            session = await self._open_referee_channel(session, match_id)
        return session

    async def on_session_end(self, session: Session) -> None:
        """Free the seat of a session that has ended."""
        if session.match_id:
            await self._leave_seat(session, session.match_id)

    async def clean_up(self) -> int:
        """Repair what dead workers left inconsistent. Return the number of repairs. A job calls this.

        It frees seats without a session, detaches sessions without a seat, and ends the history of matches that no
        longer exist. An operation in progress looks the same, so only inconsistencies that last for `CLEAN_UP_GRACE_S`
        count.
        """
        seats, sessions = await self._inconsistencies()
        if seats or sessions:
            await asyncio.sleep(CLEAN_UP_GRACE_S)
            seats_now, sessions_now = await self._inconsistencies()
            seats &= seats_now
            sessions &= sessions_now
        for match_id, user_id, name in seats:
            leave = commands.Leave(by=commands.Issuer(user_id, name), at_ms=self._clock.now_ms())
            with contextlib.suppress(MatchGone, Refused):
                await self._run(match_id, leave)
        for match_id, token in sessions:
            with contextlib.suppress(SessionGone):
                await self._detach(await self._realtime.session(token), match_id)
        live = {match.history_id for _, match in await self._realtime.matches(Match)}
        return len(seats) + len(sessions) + await self._history.end_abandoned(live, self._clock.now_ms())

    async def _inconsistencies(self) -> tuple[set[tuple[int, int, str]], set[tuple[int, str]]]:
        """Return seats (match id, user id, name) without a session, and sessions (match id, token) without a seat."""
        seats: set[tuple[int, int, str]] = set()
        sessions: set[tuple[int, str]] = set()
        for match_id, match in await self._realtime.matches(Match):
            followers = await self._realtime.following(match_topic(match_id))
            # Tournament clients follow the topic, too, with `room_id` only.
            present = [session for session in followers if session.match_id == match_id]
            seated = {slot.player_id: slot.player_name for slot in match.slots if slot.occupied}
            absent = seated.keys() - {session.user_id for session in present}
            seats.update((match_id, user_id, seated[user_id]) for user_id in absent)
            sessions.update((match_id, session.token) for session in present if session.user_id not in seated)
        return seats, sessions

    async def on_silence(self, user_id: int) -> None:
        """Remove a silenced player from the match."""
        for session in await self._realtime.sessions_of(user_id):
            if session.match_id:
                kick = commands.Kick(by=commands.SERVER, at_ms=self._clock.now_ms(), user_id=user_id)
                try:
                    await self._run(session.match_id, kick)
                except (MatchGone, Refused):
                    # The match has closed, or the seat was lost, at the same moment. `clean_up` frees a seat that is
                    # assigned after this.
                    await self._detach(session, session.match_id)

    async def _leave_seat(self, session: Session, match_id: int) -> None:
        # The match may have closed at the same time.
        with contextlib.suppress(MatchGone, Refused):
            await self._run(match_id, commands.Leave(by=issuer_of(session), at_ms=self._clock.now_ms()))

    def _check(self, session: Session) -> None:
        if session.hidden or session.tournament:
            # The same text for both: a restricted player must not read the restriction from it.
            raise Refused("you can't use multiplayer")
        if session.silenced_until_ms > self._clock.now_ms():
            raise Refused("you can't use multiplayer while you are silenced")

    async def _leave_other_matches(self, session: Session) -> Session:
        session = await self.stop_viewing(await self.leave(session))
        if session.spectating:
            session = await self._stop_spectating(session)
        return session

    async def _follow_match(self, session: Session, match_id: int) -> Session:
        channel = match_channel(match_id)
        # A referee without a seat follows the channel under another name. With both, lines would arrive twice.
        referees = referee_topic(channel)

        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            follows = (now.follows - {LOBBY, LOBBY_CHAT, referees}) | room_topics(match_id)
            after = msgspec.structs.replace(now, match_id=match_id, room_id=match_id, in_lobby=False, follows=follows)
            return after, self._announce(RoomChannelClosed(now.user_id, channel)) if referees in now.follows else ()

        return await self._realtime.change_session(session.token, rule)

    async def _unfollow_match(self, session: Session, match_id: int) -> Session:
        """Detach the session from a match and its chat. A tournament client without a seat is notified."""

        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            # The session may have joined another match since the caller read it.
            if match_id not in (now.match_id, now.room_id):
                return now, ()
            # Players get CHANNEL_KICK with the events of the match, so only sessions without a seat are notified here.
            after = msgspec.structs.replace(now, match_id=0, room_id=0, follows=now.follows - room_topics(match_id))
            return after, () if now.match_id else self._announce(RoomChannelClosed(now.user_id, MATCH))

        return await self._realtime.change_session(session.token, rule)

    # --- referees without a seat

    async def may_refer(self, session: Session, match_id: int) -> bool:
        """Whether the session may follow a match's channel without a seat: as its referee, or as one of all matches."""
        match = await self._realtime.match(match_id, Match)
        if match is None or session.hidden or session.tournament:
            return False
        # Staff reads along by IRC, where no seat is needed.
        return is_referee(match, issuer_of(session)) or (session.irc and effective(session.priv) & STAFF != 0)

    async def _open_referee_channel(self, session: Session, match_id: int) -> Session:
        channel = match_channel(match_id)
        [users] = await self._realtime.followers([chat_topic(channel)])

        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            after = msgspec.structs.replace(now, follows=now.follows | {referee_topic(channel)})
            return after, self._announce(RefereeChannelOpened(now.user_id, match_id, users))

        return await self._realtime.change_session(session.token, rule)

    async def _close_referee_channel(self, session: Session, match_id: int) -> None:
        channel = match_channel(match_id)
        topic = referee_topic(channel)

        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            after = msgspec.structs.replace(now, follows=now.follows - {topic})
            return after, self._announce(RoomChannelClosed(now.user_id, channel)) if topic in now.follows else ()

        with contextlib.suppress(SessionGone):
            await self._realtime.change_session(session.token, rule)

    async def _detach(self, session: Session, match_id: int) -> None:
        with contextlib.suppress(SessionGone):
            await self._unfollow_match(session, match_id)

    async def _change(self, session: Session, **fields: object) -> Session:
        return await self._realtime.change_session(
            session.token, lambda now: (msgspec.structs.replace(now, **fields), ())
        )

    # --- commands

    async def act(self, session: Session, command_of: Callable[..., commands.MatchCommand], **fields: object) -> None:
        """Run a command on the match of the session. Raises Refused, MatchGone.

        `command_of` is the type of the command, `fields` are its fields without issuer and time.
        """
        match_id = session.match_id or session.room_id
        if not match_id:
            raise Refused("you are not in a match")
        await self._run(match_id, command_of(by=issuer_of(session), at_ms=self._clock.now_ms(), **fields))

    async def change_settings(self, session: Session, **settings: Any) -> None:
        """Run the packet SETTINGS (41). Id, md5, name and mode of a known map replace those of the packet.

        Raises Refused, MatchGone.
        """
        choice = await self._known_map(settings["map_id"], settings["map_md5"])
        await self.act(session, commands.ChangeSettings, **(settings | choice))

    async def _known_map(self, map_id: int, md5: str) -> dict[str, Any]:
        if map_id <= 0:
            return {}
        # Only from the database: a packet must not wait for upstream. Unknown maps are allowed.
        try:
            found = await (self._beatmaps.find(md5=md5.lower()) if md5 else self._beatmaps.find(id=map_id))
        except NotFound:
            return {}
        return {
            "map_id": found.id,
            "map_md5": found.md5,
            "map_name": full_title(found),
        } | ({"mode": found.mode} if found.mode else {})  # maps of osu! can be played in every mode

    async def act_as_leader(
        self, session: Session, match_id: int, command_of: type[commands.MatchCommand], **fields: Any
    ) -> CommandOutcome | None:
        """Run a command on a match in whose channel the session wrote it. Raises Refused, MatchGone.

        Return None if the session lacks the right: the bot does not answer such commands.
        """
        match = await self._realtime.match(match_id, Match)
        if match is None:
            raise MatchGone(match_id)
        if not may_lead(match, issuer_of(session), command_of):
            return None
        return await self._run_for_outcome(
            match_id, command_of(by=issuer_of(session), at_ms=self._clock.now_ms(), **fields)
        )

    async def close(self, issuer: commands.Issuer, match_id: int) -> None:
        """Close a match for an issuer without a session, whose right the caller has checked. Raises MatchGone."""
        await self._run(match_id, commands.Close(by=issuer, at_ms=self._clock.now_ms()))

    async def create_by_command(
        self, session: Session, name: str, password: str, *, private: bool, also: WithinTransaction | None = None
    ) -> tuple[Session, int]:
        """Create a match by command (docs/spec/multiplayer.md#made-by-command). Return the session and the match's id.

        The session gets slot 0 but is not the host. A session with a seat in another match stays there and follows only
        the channel of the new match, as does an IRC connection. Raises Refused, TooManyRooms.
        """
        self._check(session)
        if not may(session.priv, "matches.unlimited"):
            # Not atomic with opening the match. The rate limit below bounds what a player gains from two at once.
            open_matches = [match for _, match in await self._realtime.matches(Match)]
            own = [match for match in open_matches if match.by_command and match.created_by == session.user_id]
            if len(own) >= COMMAND_ROOMS_MAX:
                raise TooManyRooms
        await self._count_new_match(session)
        match = new_match(
            by=issuer_of(session),
            at_ms=self._clock.now_ms(),
            name=name,
            password=password,
            by_command=True,
            private=private,
            seated=not (session.match_id or session.irc),
        )
        match_id, match = await self._open(match, also)
        if session.match_id or session.irc:
            await self._realtime.append(self._announce(MatchOpened(match_id, match)))
            return await self._open_referee_channel(session, match_id), match_id
        was_in_lobby = LOBBY_CHAT in session.follows  # read before `_follow_match` removes it
        session = await self._follow_match(await self._leave_other_matches(session), match_id)
        [users] = await self._realtime.followers([chat_topic(match_channel(match_id))])
        seat = SeatAssigned(session.user_id, match_id, match, users, was_in_lobby)
        await self._realtime.append([*self._announce(MatchOpened(match_id, match)), *self._announce(seat)])
        return session, match_id

    async def _run(self, match_id: int, command: commands.MatchCommand) -> Match:
        return (await self._run_for_outcome(match_id, command)).match

    async def _run_for_outcome(self, match_id: int, command: commands.MatchCommand) -> CommandOutcome:
        emitted: tuple[events.Event, ...] = ()
        after: Match | None = None

        # The port runs the rule again if another worker changed the match, so the rule only assigns.
        def rule(match: Match) -> tuple[Match | None, Sequence[Entry]]:
            nonlocal emitted, after
            after, emitted = apply(match, command)
            entries: Sequence[Entry] = ()
            if emitted:
                packets = self._announce(MatchChanged(match_id, after, emitted, command.at_ms))
                after, records = self._history.record_events(after, command, emitted)
                entries = [*packets, *records]
            return (None if after.closed else after), entries  # None deletes the match

        await self._realtime.change_match(match_id, Match, rule)
        assert after is not None
        # The lines of the play ("The match has finished!") come before those of the scrim.
        await self._follow_up(match_id, command, after, emitted)
        if any(isinstance(event, events.RoundPlayed) for event in emitted):
            with contextlib.suppress(Unavailable):  # the timers try again
                await self._score_rounds(match_id, after)
        return CommandOutcome(after, emitted)

    async def _score_rounds(self, match_id: int, match: Match) -> None:
        """Score the plays of the scrim that have ended, oldest first, up to the first one whose results are awaited."""
        for played in match.scrim.unscored if match.scrim else ():
            now = self._clock.now_ms()
            if now > played.until_ms + UNSCORED_MS:
                continue  # refused each time, as by a scrim with too many sides
            found = await self._results.of(match, played, final=now >= played.until_ms)
            if found is None:
                return
            scored = commands.RoundScored(
                by=commands.SERVER,
                at_ms=now,
                started_at_ms=played.started_at_ms,
                results=tuple(
                    commands.RoundResult(player.user_id, player.name, player.team, found.values[player.user_id])
                    for player in played.players
                ),
                missing=found.missing,
            )
            # The match may have closed, or the scrim ended, or another worker scored the play, in the meantime.
            with contextlib.suppress(MatchGone, Refused):
                await self._run(match_id, scored)

    async def _follow_up(
        self, match_id: int, command: commands.MatchCommand, match: Match, emitted: Sequence[events.Event]
    ) -> None:
        """Do what an event requires outside the match: detach sessions, and post the bot's lines."""
        scores: dict[int, int] = {}
        for event in emitted:
            if isinstance(event, events.Left) and event.why != "left":
                # A player who left was detached by `leave`. One who was removed still follows the match.
                for session in await self._realtime.sessions_of(event.user_id):
                    await self._detach(session, match_id)
            elif isinstance(event, events.RefereeRemoved):
                for session in await self._realtime.sessions_of(event.user_id):
                    await self._close_referee_channel(session, match_id)
            elif isinstance(event, events.PlayerCompleted):
                scores[event.user_id] = await self._history.score_of(match, event.user_id)
        if not match.closed:
            for line in event_lines(command, match, emitted, scores=scores, link=self._link):
                await self._post(match_channel(match_id), line)
        if match.closed:
            # Also viewers and referees without a seat, who have no `Left` event.
            by_referee = any(isinstance(event, events.Closed) and event.why == "referee" for event in emitted)
            await self._detach_all(match_id, "Closed the match" if by_referee else "")

    async def score_frame(self, session: Session, payload: bytes) -> None:
        """Relay a score frame of a playing player (docs/spec/multiplayer.md#scores). Frames of others are dropped."""
        # PERF: the most frequent packet of a match, several per second and player. It reads the match and changes none.
        match = await self._realtime.match(session.match_id, Match) if session.match_id else None
        seat = None if match is None else seat_of(match, session.user_id)
        if match is None or seat is None or match.slots[seat].status != PLAYING or len(payload) > FRAME_MAX:
            return
        await asyncio.gather(
            self._history.stash_frame(match, session.user_id, payload),
            self._realtime.append(self._announce(ScoreFrame(session.match_id, seat, payload))),
        )

    async def leads(self, session: Session, match_id: int) -> bool:
        """Whether the session leads a match, as its host or a referee."""
        match = await self._realtime.match(match_id, Match)
        return match is not None and is_leader(match, issuer_of(session))

    async def invite(self, session: Session, match_id: int, user_id: int) -> None:
        """Invite a player to a match (docs/spec/multiplayer.md#invitations).

        Raises AlreadySeated, and Refused if the player cannot be invited.
        """
        match = await self._realtime.match(match_id, Match) if match_id else None
        if match is None:
            raise Refused("you are not in a match")
        target = await self._check_invitation(session, match, user_id)
        invited = PlayerInvited(match_id, match, session.user_id, session.name, user_id, target.name)
        await self._realtime.append(self._announce(invited))

    async def check_force(self, session: Session, match: Match, user_id: int) -> Session:
        """Return the session of a player whom staff may seat in a match: one who accepts invitations of the session.

        Raises AlreadySeated and Refused.
        """
        target = await self._check_invitation(session, match, user_id)
        if target.match_id:
            raise Refused("this player is in another match")
        if user_id in match.banned:
            raise Refused("this player is banned from the match")
        if target.silenced_until_ms > self._clock.now_ms():
            raise Refused("this player is silenced")
        if all(slot.status != OPEN for slot in match.slots):
            raise Refused("the match is full")
        return target

    async def seat_by_force(self, target: Session, match_id: int) -> None:
        """Seat the player of `check_force`. Raises Refused, MatchGone."""
        was_in_lobby = LOBBY_CHAT in target.follows  # read before `join` removes it
        seated = await self.join(target, match_id, "", force=True)
        seat = SeatAssigned(target.user_id, match_id, seated.match, seated.users, was_in_lobby)
        await self._realtime.append(self._announce(seat))

    async def _check_invitation(self, session: Session, match: Match, user_id: int) -> Session:
        """Return the session of a player who accepts an invitation. Raises AlreadySeated and Refused."""
        if user_id == session.user_id:
            raise Refused("you can't invite yourself")
        if user_id == BOT_ID:
            raise Refused("you can't invite the bot")
        target = (await self._realtime.sessions_among([user_id])).get(user_id)
        if target is None or target.tournament or target.irc:
            raise Refused("this player is not online")
        if seat_of(match, user_id) is not None:
            raise AlreadySeated
        allowed = await self._realtime.consume(
            f"invite:{session.user_id}:{user_id}", limit=INVITES, period_s=INVITES_S, burst=INVITES
        )
        if not allowed.granted:
            raise Refused("you're inviting this player too often")
        accepts = session.user_id in target.friends or not target.friends_only_dms
        # One text for all three: it does not reveal who has blocked the player.
        if session.user_id in target.blocked or not accepts or user_id in session.blocked:
            raise Refused("this player doesn't accept messages from you")
        return target

    # --- tournament clients (docs/spec/multiplayer.md#tournament-clients)

    async def match_for_viewer(self, session: Session, match_id: int) -> Match:
        """Return a match for a tournament client or a tournament manager. Raises Refused, NotFound("match")."""
        if not session.tournament and not may(session.priv, "matches.referee_any"):
            raise Refused("only tournament clients can do that")
        match = await self._realtime.match(match_id, Match)
        if match is None:
            raise NotFound("match")
        return match

    async def view(self, session: Session, match_id: int) -> Session:
        """Follow a match without a seat. Raises Refused, NotFound("match").

        A session follows one match at a time, so this ends following another one.
        """
        await self.match_for_viewer(session, match_id)
        if session.match_id:
            raise Refused("you are already in a match")
        session = await self.stop_viewing(session)
        return await self._change(session, room_id=match_id, follows=session.follows | room_topics(match_id))

    async def stop_viewing(self, session: Session) -> Session:
        """Stop following a match without a seat."""
        if session.match_id or not session.room_id:
            return session
        return await self._change(session, room_id=0, follows=session.follows - room_topics(session.room_id))

    async def fire_timers(self) -> None:
        """Ring the timers that have run out, post the lines of countdowns, and score plays whose results were awaited.

        A job calls this.
        """
        now = self._clock.now_ms()
        # PERF: every tick reads all matches, at most 1,000. An index of timers would have to change with each match.
        for match_id, match in await self._realtime.matches(Match):
            for timer in match.timers:
                await self._count_down(match_id, match, timer, now)
                if timer.rings_at_ms <= now:
                    try:
                        await self._run(match_id, commands.TimerRang(by=commands.SERVER, at_ms=now, timer_id=timer.id))
                    except (MatchGone, Refused):
                        # Another worker rang it, or the match has changed: its other timers wait for the next tick.
                        break
            if match.scrim is not None and match.scrim.unscored:
                # The results may be unavailable for a moment. The timers of the other matches must not wait for them.
                with contextlib.suppress(Unavailable):
                    await self._score_rounds(match_id, match)

    async def _count_down(self, match_id: int, match: Match, timer: Timer, now_ms: int) -> None:
        left_s = -(-(timer.rings_at_ms - now_ms) // 1000)  # rounded up
        if timer.kind not in (START, COUNTDOWN) or not 0 < left_s < timer.seconds:
            return  # the answer to the command has announced the full time
        if left_s not in COUNTDOWN_LINES_AT_S and left_s % 60:
            return
        # Several ticks, and several workers, see the same second.
        if await self._realtime.once(f"countdown:{match.history_id}:{timer.id}:{left_s}", 5.0):
            await self._post(match_channel(match_id), countdown_line(timer.kind, left_s))

    def _link(self, path: str) -> str:
        return f"https://osu.{self._domain}/{path}"

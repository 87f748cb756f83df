"""The changes of a match, as events. Only events change a match: the events of a command, applied in order to the match
before it, give the match after it.

Events are not packets. `in_room` means that the players of the match get MATCH_UPDATE, and `in_lobby` that the lobby
gets it (docs/spec/multiplayer.md#lobby). All other packets follow from the type of the event. An event contains the
users whom it concerns, so that packets can be made without the match before it. The command contains issuer and time.
"""

from typing import ClassVar, Final, Literal

import msgspec
from msgspec.structs import replace

from kiai.multiplayer.model import (
    COMPLETE,
    IN_PLAY,
    LOCKED,
    NOT_READY,
    OPEN,
    PLAYING,
    MapChoice,
    Match,
    Scrim,
    Slot,
    Timer,
    UnscoredRound,
)

UNSCORED_MAX: Final = 4

LeftWhy = Literal["left", "kicked", "banned", "closed"]
CloseWhy = Literal["empty", "referee", "idle"]


class Seat(msgspec.Struct, frozen=True):
    """A player of a play. `mods` are the mods of the match together with the player's own.

    `completed`: the client reported the end of the map. `failed`: the player failed during the play.
    """

    slot: int
    user_id: int
    name: str
    team: int
    mods: int
    completed: bool = False
    failed: bool = False


class Event(msgspec.Struct, frozen=True, tag=True):
    """The base class of the events of a match."""

    in_room: ClassVar[bool] = False
    in_lobby: ClassVar[bool] = False

    def apply_to(self, match: Match) -> Match:
        """Return the match after this event."""
        # Some events change nothing that later commands depend on; they exist for history and lines.
        return match


def apply_events(match: Match, *events: Event) -> Match:
    """Return the match after several events, in order."""
    for event in events:
        match = event.apply_to(match)
    return match


def reaches_room(event: Event) -> bool:
    """Whether the players of the match get MATCH_UPDATE after the event."""
    return event.in_room


def reaches_lobby(event: Event) -> bool:
    """Whether the lobby gets MATCH_UPDATE after the event."""
    return event.in_lobby


def _with_slot(match: Match, seat: int, slot: Slot) -> Match:
    return replace(match, slots=(*match.slots[:seat], slot, *match.slots[seat + 1 :]))


# --- seats and referees ----------------------------------------------------------------------------------------------


class Joined(Event, frozen=True):
    """A player took a seat."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    user_id: int
    name: str
    slot: int
    team: int

    def apply_to(self, match: Match) -> Match:
        return _with_slot(match, self.slot, Slot(NOT_READY, self.team, 0, self.user_id, self.name))


class Left(Event, frozen=True):
    """A player left or was removed. `locked`: the host kicked the player by locking the slot.

    `was_playing`: the player took part in the running play.
    """

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    user_id: int
    name: str
    slot: int
    why: LeftWhy
    locked: bool = False
    was_playing: bool = False

    def apply_to(self, match: Match) -> Match:
        return _with_slot(match, self.slot, Slot(LOCKED if self.locked else OPEN))


class SlotMoved(Event, frozen=True):
    """A player moved to another slot."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    user_id: int
    from_slot: int
    to_slot: int

    def apply_to(self, match: Match) -> Match:
        return _with_slot(_with_slot(match, self.to_slot, match.slots[self.from_slot]), self.from_slot, Slot())


class SlotLocked(Event, frozen=True):
    """An empty slot was locked or opened."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    slot: int
    locked: bool

    def apply_to(self, match: Match) -> Match:
        return _with_slot(match, self.slot, Slot(LOCKED if self.locked else OPEN))


class StatusChanged(Event, frozen=True):
    """The status of a player changed to `NOT_READY`, `READY` or `NO_MAP`."""

    # The lobby does not show the status, and in a full match it changes often.
    in_room: ClassVar[bool] = True

    user_id: int
    slot: int
    status: int

    def apply_to(self, match: Match) -> Match:
        return _with_slot(match, self.slot, replace(match.slots[self.slot], status=self.status))


class Unreadied(Event, frozen=True):
    """The players in these slots are no longer ready, because map, mods, win condition or team type changed."""

    in_room: ClassVar[bool] = True

    slots: tuple[int, ...]

    def apply_to(self, match: Match) -> Match:
        for seat in self.slots:
            match = _with_slot(match, seat, replace(match.slots[seat], status=NOT_READY))
        return match


class TeamChanged(Event, frozen=True):
    """A player changed to another team: 1 blue, 2 red."""

    in_room: ClassVar[bool] = True

    user_id: int
    slot: int
    team: int

    def apply_to(self, match: Match) -> Match:
        return _with_slot(match, self.slot, replace(match.slots[self.slot], team=self.team))


class HostPassed(Event, frozen=True):
    """Another player became host, or the match has no host (`user_id` 0)."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    user_id: int
    name: str

    def apply_to(self, match: Match) -> Match:
        return replace(match, host_id=self.user_id, host_name=self.name)


class SeatsLocked(Event, frozen=True):
    """A referee locked or unlocked the seats."""

    locked: bool

    def apply_to(self, match: Match) -> Match:
        return replace(match, seats_locked=self.locked)


class PlayerBanned(Event, frozen=True):
    """A user was banned from the match."""

    user_id: int

    def apply_to(self, match: Match) -> Match:
        return replace(match, banned=(*match.banned, self.user_id))


class PlayerUnbanned(Event, frozen=True):
    """The ban of a user was lifted."""

    user_id: int

    def apply_to(self, match: Match) -> Match:
        return replace(match, banned=tuple(user_id for user_id in match.banned if user_id != self.user_id))


class RefereeAdded(Event, frozen=True):
    """A referee was added."""

    user_id: int
    name: str

    def apply_to(self, match: Match) -> Match:
        return replace(match, referees=(*match.referees, (self.user_id, self.name)))


class RefereeRemoved(Event, frozen=True):
    """A user is no longer a referee: removed, or left a match that was not made by command."""

    user_id: int
    name: str

    def apply_to(self, match: Match) -> Match:
        referees = tuple(referee for referee in match.referees if referee[0] != self.user_id)
        return replace(match, referees=referees)


# --- settings --------------------------------------------------------------------------------------------------------


class NameChanged(Event, frozen=True):
    """The match was renamed."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    name: str

    def apply_to(self, match: Match) -> Match:
        return replace(match, name=self.name)


class PasswordChanged(Event, frozen=True):
    """The password was set, changed or removed (empty)."""

    # The lobby shows whether a match has a password.
    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    password: str

    def apply_to(self, match: Match) -> Match:
        return replace(match, password=self.password)


class MapChoosing(Event, frozen=True):
    """The host is choosing a map. The match has no map meanwhile."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    def apply_to(self, match: Match) -> Match:
        # If the host leaves before choosing, the former map returns.
        previous = MapChoice(match.map_id, match.map_md5, match.map_name)
        return replace(match, map_id=-1, map_md5="", map_name="", previous=previous)


class MapChanged(Event, frozen=True):
    """A map was selected. `another`: it differs from the former map. `restored`: it returned because the host left."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    map_id: int
    map_md5: str
    map_name: str
    another: bool = True
    restored: bool = False

    def apply_to(self, match: Match) -> Match:
        return replace(match, map_id=self.map_id, map_md5=self.map_md5, map_name=self.map_name, previous=None)


class ModeChanged(Event, frozen=True):
    """The mode changed, 0-3."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    mode: int

    def apply_to(self, match: Match) -> Match:
        return replace(match, mode=self.mode)


class ModsChanged(Event, frozen=True):
    """The mods of the match changed."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    mods: int

    def apply_to(self, match: Match) -> Match:
        return replace(match, mods=self.mods)


class SlotModsChanged(Event, frozen=True):
    """A player's own mods changed."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    user_id: int
    slot: int
    mods: int

    def apply_to(self, match: Match) -> Match:
        return _with_slot(match, self.slot, replace(match.slots[self.slot], mods=self.mods))


class FreeModsChanged(Event, frozen=True):
    """Free mods were turned on or off. The match gets `mods`, and each seated player gets `slot_mods`."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    on: bool
    mods: int
    slot_mods: int

    def apply_to(self, match: Match) -> Match:
        slots = tuple(replace(slot, mods=self.slot_mods) if slot.occupied else slot for slot in match.slots)
        return replace(match, free_mods=self.on, mods=self.mods, slots=slots)


class TeamTypeChanged(Event, frozen=True):
    """The team type changed. `teams` has the team of each of the 16 slots."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    team_type: int
    teams: tuple[int, ...]

    def apply_to(self, match: Match) -> Match:
        slots = tuple(replace(slot, team=team) for slot, team in zip(match.slots, self.teams, strict=True))
        return replace(match, team_type=self.team_type, slots=slots)


class TeamTypeRejected(Event, frozen=True):
    """The host requested another team type during a scrim. Only `!mp teams` can change it, which resets the points."""

    # The match is unchanged, but the client of the host already shows the other team type.
    in_room: ClassVar[bool] = True

    team_type: int


class WinConditionChanged(Event, frozen=True):
    """The win condition changed, 0-3."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    win_condition: int

    def apply_to(self, match: Match) -> Match:
        return replace(match, win_condition=self.win_condition)


class SeedChanged(Event, frozen=True):
    """The seed of the mod Random changed."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    seed: int

    def apply_to(self, match: Match) -> Match:
        return replace(match, seed=self.seed)


# --- a play ----------------------------------------------------------------------------------------------------------


class Started(Event, frozen=True):
    """A play started. `players` excludes those who lack the map."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    players: tuple[Seat, ...]
    at_ms: int

    def apply_to(self, match: Match) -> Match:
        seats = {seat.slot for seat in self.players}
        slots = tuple(
            replace(slot, status=PLAYING, loaded=False, skipped=False, failed=False) if seat in seats else slot
            for seat, slot in enumerate(match.slots)
        )
        return replace(
            match,
            slots=slots,
            in_progress=True,
            all_loaded=False,
            all_skipped=False,
            started_at_ms=self.at_ms,
            game_id=0,  # the row of the new play is written later
        )


class CouldNotStart(Event, frozen=True):
    """The start timer rang, but no play could start. `reason` is an English sentence fragment."""

    reason: str


class PlayerLoaded(Event, frozen=True):
    """A player has loaded the map."""

    user_id: int
    slot: int

    def apply_to(self, match: Match) -> Match:
        return _with_slot(match, self.slot, replace(match.slots[self.slot], loaded=True))


class AllLoaded(Event, frozen=True):
    """These players begin the play. A player who loads later gets an event of their own."""

    user_ids: tuple[int, ...]

    def apply_to(self, match: Match) -> Match:
        return replace(match, all_loaded=True)


class PlayerSkipped(Event, frozen=True):
    """A player requested to skip the intro."""

    user_id: int
    slot: int

    def apply_to(self, match: Match) -> Match:
        return _with_slot(match, self.slot, replace(match.slots[self.slot], skipped=True))


class AllSkipped(Event, frozen=True):
    """All players requested to skip, so the intro is skipped."""

    def apply_to(self, match: Match) -> Match:
        return replace(match, all_skipped=True)


class PlayerFailed(Event, frozen=True):
    """A player failed. The player continues to play."""

    user_id: int
    slot: int

    def apply_to(self, match: Match) -> Match:
        return _with_slot(match, self.slot, replace(match.slots[self.slot], failed=True))


class PlayerCompleted(Event, frozen=True):
    """A player reached the end of the map. Clients get a packet only when the play ends."""

    user_id: int
    slot: int
    failed: bool = False

    def apply_to(self, match: Match) -> Match:
        return _with_slot(match, self.slot, replace(match.slots[self.slot], status=COMPLETE))


def _after_play(match: Match) -> Match:
    slots = tuple(
        replace(slot, status=NOT_READY, loaded=False, skipped=False, failed=False) if slot.status & IN_PLAY else slot
        for slot in match.slots
    )
    return replace(match, slots=slots, in_progress=False, all_loaded=False, all_skipped=False)


class Finished(Event, frozen=True):
    """The play ended. `players` are those who are still seated. `forced`: not all of them had completed."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    players: tuple[Seat, ...]
    started_at_ms: int
    forced: bool = False

    def apply_to(self, match: Match) -> Match:
        return _after_play(match)


class Aborted(Event, frozen=True):
    """The play was aborted and has no result. `players` are those who took part and are still seated."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    players: tuple[Seat, ...]
    started_at_ms: int

    def apply_to(self, match: Match) -> Match:
        return _after_play(match)


# --- timers, history, end --------------------------------------------------------------------------------------------


class TimerSet(Event, frozen=True):
    """A timer was set. The service sends `TimerRang` at `rings_at_ms` (unix ms).

    `kind` is `START`, `COUNTDOWN`, `LOAD`, `FINISH` or `IDLE`.
    """

    timer_id: int
    kind: str
    rings_at_ms: int
    seconds: int = 0

    def apply_to(self, match: Match) -> Match:
        timer = Timer(self.timer_id, self.kind, self.rings_at_ms, self.seconds)
        return replace(match, timers=(*match.timers, timer), next_timer_id=self.timer_id + 1)


class TimerCleared(Event, frozen=True):
    """A timer was cleared. `rang`: it ran out."""

    timer_id: int
    kind: str
    rang: bool = False

    def apply_to(self, match: Match) -> Match:
        return replace(match, timers=tuple(timer for timer in match.timers if timer.id != self.timer_id))


class HistoryIdsSet(Event, frozen=True):
    """The database ids of the match and of its current play are known."""

    history_id: int
    game_id: int

    def apply_to(self, match: Match) -> Match:
        return replace(match, history_id=self.history_id, game_id=self.game_id)


class Closed(Event, frozen=True):
    """The match closed. Its players were removed by earlier events of the same command."""

    why: CloseWhy

    def apply_to(self, match: Match) -> Match:
        return replace(match, closed=True)


# --- scrims and pools ------------------------------------------------------------------------------------------------

Values = tuple[tuple[int, float], ...]
"""(side, value) of each side, highest value first."""
Points = tuple[tuple[int, int], ...]
"""(side, points) of each side with points."""


def _scrim(match: Match) -> Scrim:
    assert match.scrim is not None, "a scrim runs"
    return match.scrim


def _after_round(scrim: Scrim, started_at_ms: int) -> Scrim:
    unscored = tuple(played for played in scrim.unscored if played.started_at_ms > started_at_ms)
    return replace(scrim, scored_ms=started_at_ms, unscored=unscored)


def _with_points(points: Points, side: int, count: int) -> Points:
    by_side = dict(points) | {side: count}
    # Without zeros and in a fixed order, so that equal scores are equal values.
    return tuple(sorted(pair for pair in by_side.items() if pair[1]))


class ScrimBegan(Event, frozen=True):
    """A scrim started, or restarted without points."""

    best_of: int
    at_ms: int

    def apply_to(self, match: Match) -> Match:
        scrim = Scrim(self.best_of, self.at_ms)
        return replace(match, scrimming=True, scrim=scrim, last_best_of=self.best_of)


class PpScoring(Event, frozen=True):
    """The value that decides the points of the scrim changed: pp, or the win condition."""

    on: bool

    def apply_to(self, match: Match) -> Match:
        return replace(match, scrim=replace(_scrim(match), by_pp=self.on))


class RoundPlayed(Event, frozen=True):
    """A play of the scrim ended and waits for its results."""

    played: UnscoredRound

    def apply_to(self, match: Match) -> Match:
        scrim = _scrim(match)
        # The results of a play arrive before the second play after it ends; the bound is for a job that stands still.
        return replace(match, scrim=replace(scrim, unscored=(*scrim.unscored, self.played)[-UNSCORED_MAX:]))


class PointWon(Event, frozen=True):
    """A side won a play and now has `points`. `values` decided the play. `missing`: the players without a result."""

    side: int
    name: str
    points: int
    values: Values
    started_at_ms: int
    missing: tuple[str, ...] = ()

    def apply_to(self, match: Match) -> Match:
        scrim = _after_round(_scrim(match), self.started_at_ms)
        return replace(
            match,
            scrim=replace(
                scrim,
                points=_with_points(scrim.points, self.side, self.points),
                # `!mp points` can lower points, so a side can win more plays than the scrim is long.
                winners=(*scrim.winners, self.side)[-scrim.best_of :],
            ),
        )


class RoundTied(Event, frozen=True):
    """Two sides shared the highest value, or no player has a value. No side gets the point."""

    values: Values
    started_at_ms: int
    missing: tuple[str, ...] = ()

    def apply_to(self, match: Match) -> Match:
        return replace(match, scrim=_after_round(_scrim(match), self.started_at_ms))


class PointTaken(Event, frozen=True):
    """The last point was taken back. Its side now has `points`."""

    side: int
    name: str
    points: int

    def apply_to(self, match: Match) -> Match:
        scrim = _scrim(match)
        points = _with_points(scrim.points, self.side, self.points)
        return replace(match, scrim=replace(scrim, points=points, winners=scrim.winners[:-1]))


class PointsSet(Event, frozen=True):
    """A referee corrected the points of a side."""

    side: int
    name: str
    points: int

    def apply_to(self, match: Match) -> Match:
        scrim = _scrim(match)
        return replace(match, scrim=replace(scrim, points=_with_points(scrim.points, self.side, self.points)))


class ScrimWon(Event, frozen=True):
    """A side reached the points that win the scrim. `ScrimEnded` follows."""

    side: int
    name: str
    points: Points


class ScrimEnded(Event, frozen=True):
    """The scrim ended with these points. Bans and picks are cleared."""

    best_of: int
    points: Points

    def apply_to(self, match: Match) -> Match:
        return replace(match, scrimming=False, scrim=None, banned_picks=(), used_picks=())


class PoolLoaded(Event, frozen=True):
    """A mappool was loaded. The bans and picks of the former pool are cleared."""

    pool_id: int
    name: str

    def apply_to(self, match: Match) -> Match:
        return replace(match, pool_id=self.pool_id, pool_name=self.name, banned_picks=(), used_picks=())


class PoolUnloaded(Event, frozen=True):
    """The mappool was unloaded."""

    name: str

    def apply_to(self, match: Match) -> Match:
        return replace(match, pool_id=0, pool_name="", banned_picks=(), used_picks=())


class PickUsed(Event, frozen=True):
    """A pick of the pool was selected. The changes of map and mods follow as separate events."""

    pick: str

    def apply_to(self, match: Match) -> Match:
        # `!mp pick NAME force` selects a pick again.
        used = match.used_picks if self.pick in match.used_picks else (*match.used_picks, self.pick)
        return replace(match, used_picks=used)


class PickBanned(Event, frozen=True):
    """A pick of the pool was banned."""

    pick: str

    def apply_to(self, match: Match) -> Match:
        return replace(match, banned_picks=(*match.banned_picks, self.pick))


class PickUnbanned(Event, frozen=True):
    """The ban of a pick was lifted."""

    pick: str

    def apply_to(self, match: Match) -> Match:
        return replace(match, banned_picks=tuple(pick for pick in match.banned_picks if pick != self.pick))


# --- events of the service: they concern sessions and do not change a match ------------------------------------------


class MatchChanged(msgspec.Struct, frozen=True):
    """The events of one command, and the match after it."""

    match_id: int
    match: Match
    events: tuple[Event, ...]
    at_ms: int


class MatchOpened(msgspec.Struct, frozen=True):
    """A match was created."""

    match_id: int
    match: Match


class ScoreFrame(msgspec.Struct, frozen=True):
    """A score frame of a player. `payload` is the body of the client's packet."""

    match_id: int
    slot: int
    payload: bytes


class PlayerInvited(msgspec.Struct, frozen=True):
    """A player was invited to join."""

    match_id: int
    match: Match
    by_id: int
    by_name: str
    user_id: int
    name: str


class RoomChannelClosed(msgspec.Struct, frozen=True):
    """A user without a seat no longer follows a match's channel. `channel` is the name that their client uses."""

    user_id: int
    channel: str


class RefereeChannelOpened(msgspec.Struct, frozen=True):
    """A referee without a seat follows a match's channel. `users` is the number of users in the channel."""

    user_id: int
    match_id: int
    users: int


class SeatAssigned(msgspec.Struct, frozen=True):
    """A player got a seat without having sent JOIN_MATCH or CREATE_MATCH. The client must open the match.

    `users` is the number of users in the match's channel.
    """

    user_id: int
    match_id: int
    match: Match
    users: int
    was_in_lobby: bool

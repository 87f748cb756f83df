"""What happened to a match. Each fact knows what it changes, and a match changes by nothing else: folding the facts of
a command into the match as it was gives the match as it is.

They are not packets. `in_room` says that the room is to be shown the whole match again, `in_lobby` that the lobby is
(docs/spec/multiplayer.md#lobby); everything else that clients hear follows from the fact itself. Whom it concerns is in
the fact, so nobody has to look at the match as it was before. Who did it and when is in the command.
"""

from typing import ClassVar, Literal

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
)

LeftWhy = Literal["left", "kicked", "banned", "closed"]
CloseWhy = Literal["empty", "referee", "idle"]


class Seat(msgspec.Struct, frozen=True):
    """Somebody who plays or played. `mods` are all that count for them: the room's and their own.

    `completed`: reached the end by itself. `failed`: failed on the way.
    """

    slot: int
    user_id: int
    name: str
    team: int
    mods: int
    completed: bool = False
    failed: bool = False


class Fact(msgspec.Struct, frozen=True, tag=True):
    """The base of all of them."""

    in_room: ClassVar[bool] = False
    in_lobby: ClassVar[bool] = False

    def into(self, match: Match) -> Match:
        """The match after this."""
        return match


def folded(match: Match, *facts: Fact) -> Match:
    """The match after all of them, in order."""
    for fact in facts:
        match = fact.into(match)
    return match


def reaches_room(fact: Fact) -> bool:
    """Whether the room is shown the match again after it."""
    return fact.in_room


def reaches_lobby(fact: Fact) -> bool:
    """Whether the lobby is shown the match again after it."""
    return fact.in_lobby


def _seated(match: Match, seat: int, slot: Slot) -> Match:
    return replace(match, slots=(*match.slots[:seat], slot, *match.slots[seat + 1 :]))


# --- who sits where --------------------------------------------------------------------------------------------------


class Joined(Fact, frozen=True):
    """Somebody took a seat."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    user_id: int
    name: str
    slot: int
    team: int

    def into(self, match: Match) -> Match:
        return _seated(match, self.slot, Slot(NOT_READY, self.team, 0, self.user_id, self.name))


class Left(Fact, frozen=True):
    """Somebody is out. `locked`: the slot is locked now (a kick by the lock), so that client is to be shown it."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    user_id: int
    name: str
    slot: int
    why: LeftWhy
    locked: bool = False
    was_playing: bool = False

    def into(self, match: Match) -> Match:
        return _seated(match, self.slot, Slot(LOCKED if self.locked else OPEN))


class SlotMoved(Fact, frozen=True):
    """Somebody sits elsewhere now."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    user_id: int
    from_slot: int
    to_slot: int

    def into(self, match: Match) -> Match:
        return _seated(_seated(match, self.to_slot, match.slots[self.from_slot]), self.from_slot, Slot())


class SlotLocked(Fact, frozen=True):
    """An empty slot was locked or opened."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    slot: int
    locked: bool

    def into(self, match: Match) -> Match:
        return _seated(match, self.slot, Slot(LOCKED if self.locked else OPEN))


class StatusChanged(Fact, frozen=True):
    """A player is ready, not ready, or without the map: one of `NOT_READY`, `READY`, `NO_MAP`."""

    in_room: ClassVar[bool] = True

    user_id: int
    slot: int
    status: int

    def into(self, match: Match) -> Match:
        return _seated(match, self.slot, replace(match.slots[self.slot], status=self.status))


class Unreadied(Fact, frozen=True):
    """The players of these slots are not ready any more, because what is played has changed."""

    in_room: ClassVar[bool] = True

    slots: tuple[int, ...]

    def into(self, match: Match) -> Match:
        for seat in self.slots:
            match = _seated(match, seat, replace(match.slots[seat], status=NOT_READY))
        return match


class TeamChanged(Fact, frozen=True):
    """A player is on another team: 1 blue, 2 red."""

    in_room: ClassVar[bool] = True

    user_id: int
    slot: int
    team: int

    def into(self, match: Match) -> Match:
        return _seated(match, self.slot, replace(match.slots[self.slot], team=self.team))


class HostPassed(Fact, frozen=True):
    """There is another host, or none: 0."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    user_id: int
    name: str

    def into(self, match: Match) -> Match:
        return replace(match, host_id=self.user_id, host_name=self.name)


class SeatsLocked(Fact, frozen=True):
    """Players may not, or may again, change slot and team."""

    locked: bool

    def into(self, match: Match) -> Match:
        return replace(match, seats_locked=self.locked)


class PlayerBanned(Fact, frozen=True):
    """Somebody may not come back."""

    user_id: int

    def into(self, match: Match) -> Match:
        return replace(match, banned=(*match.banned, self.user_id))


class PlayerUnbanned(Fact, frozen=True):
    """Somebody may come back."""

    user_id: int

    def into(self, match: Match) -> Match:
        return replace(match, banned=tuple(one for one in match.banned if one != self.user_id))


class RefereeAdded(Fact, frozen=True):
    """There is one more referee."""

    user_id: int
    name: str

    def into(self, match: Match) -> Match:
        return replace(match, referees=(*match.referees, (self.user_id, self.name)))


class RefereeRemoved(Fact, frozen=True):
    """Somebody is no referee any more: removed, or gone from an ordinary room."""

    user_id: int
    name: str

    def into(self, match: Match) -> Match:
        return replace(match, referees=tuple(one for one in match.referees if one[0] != self.user_id))


# --- what is played --------------------------------------------------------------------------------------------------


class NameChanged(Fact, frozen=True):
    """The room has another name."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    name: str

    def into(self, match: Match) -> Match:
        return replace(match, name=self.name)


class PasswordChanged(Fact, frozen=True):
    """The room has another password, or none."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    password: str

    def into(self, match: Match) -> Match:
        return replace(match, password=self.password)


class MapChoosing(Fact, frozen=True):
    """The host is choosing a map; until then there is none."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    def into(self, match: Match) -> Match:
        previous = MapChoice(match.map_id, match.map_md5, match.map_name)
        return replace(match, map_id=-1, map_md5="", map_name="", previous=previous)


class MapChanged(Fact, frozen=True):
    """A map is chosen. `another`: not the one before, so it is worth a line; `restored`: the host did not choose."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    map_id: int
    map_md5: str
    map_name: str
    another: bool = True
    restored: bool = False

    def into(self, match: Match) -> Match:
        return replace(match, map_id=self.map_id, map_md5=self.map_md5, map_name=self.map_name, previous=None)


class ModeChanged(Fact, frozen=True):
    """Another of the game's modes, 0-3."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    mode: int

    def into(self, match: Match) -> Match:
        return replace(match, mode=self.mode)


class ModsChanged(Fact, frozen=True):
    """The room's mods are these."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    mods: int

    def into(self, match: Match) -> Match:
        return replace(match, mods=self.mods)


class SlotModsChanged(Fact, frozen=True):
    """A player's own mods are these."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    user_id: int
    slot: int
    mods: int

    def into(self, match: Match) -> Match:
        return _seated(match, self.slot, replace(match.slots[self.slot], mods=self.mods))


class FreeModsChanged(Fact, frozen=True):
    """Everybody chooses, or no longer: the room's mods are `mods`, those of everybody who sits here `slot_mods`."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    on: bool
    mods: int
    slot_mods: int

    def into(self, match: Match) -> Match:
        slots = tuple(replace(slot, mods=self.slot_mods) if slot.occupied else slot for slot in match.slots)
        return replace(match, free_mods=self.on, mods=self.mods, slots=slots)


class TeamTypeChanged(Fact, frozen=True):
    """Another team type; `teams` of all sixteen slots."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    team_type: int
    teams: tuple[int, ...]

    def into(self, match: Match) -> Match:
        slots = tuple(replace(slot, team=team) for slot, team in zip(match.slots, self.teams, strict=True))
        return replace(match, team_type=self.team_type, slots=slots)


class TeamTypeKept(Fact, frozen=True):
    """The host wanted another team type, but a scrim runs: only `!mp teams` changes it, and the points are lost."""

    wanted: int


class WinConditionChanged(Fact, frozen=True):
    """Another win condition, 0-3."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    win_condition: int

    def into(self, match: Match) -> Match:
        return replace(match, win_condition=self.win_condition)


class SeedChanged(Fact, frozen=True):
    """Another seed for Random."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    seed: int

    def into(self, match: Match) -> Match:
        return replace(match, seed=self.seed)


# --- a play ----------------------------------------------------------------------------------------------------------


class Started(Fact, frozen=True):
    """A play began for these; who lacks the map sits out."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    players: tuple[Seat, ...]
    at_ms: int

    def into(self, match: Match) -> Match:
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
            game_id=0,
        )


class CouldNotStart(Fact, frozen=True):
    """The start timer rang and nothing could be started; `reason` is an English sentence fragment."""

    reason: str


class PlayerLoaded(Fact, frozen=True):
    """A player has loaded the map."""

    user_id: int
    slot: int

    def into(self, match: Match) -> Match:
        return _seated(match, self.slot, replace(match.slots[self.slot], loaded=True))


class AllLoaded(Fact, frozen=True):
    """These wait for nobody any more. A latecomer is told alone."""

    user_ids: tuple[int, ...]

    def into(self, match: Match) -> Match:
        return replace(match, all_loaded=True)


class PlayerSkipped(Fact, frozen=True):
    """A player wants to skip the intro."""

    user_id: int
    slot: int

    def into(self, match: Match) -> Match:
        return _seated(match, self.slot, replace(match.slots[self.slot], skipped=True))


class AllSkipped(Fact, frozen=True):
    """Everybody who plays wants to skip."""

    def into(self, match: Match) -> Match:
        return replace(match, all_skipped=True)


class PlayerFailed(Fact, frozen=True):
    """A player failed, and plays on."""

    user_id: int
    slot: int

    def into(self, match: Match) -> Match:
        return _seated(match, self.slot, replace(match.slots[self.slot], failed=True))


class PlayerCompleted(Fact, frozen=True):
    """A player reached the end, having `failed` on the way or not; no client is told before the play is over."""

    user_id: int
    slot: int
    failed: bool = False

    def into(self, match: Match) -> Match:
        return _seated(match, self.slot, replace(match.slots[self.slot], status=COMPLETE))


def _over(match: Match) -> Match:
    slots = tuple(
        replace(slot, status=NOT_READY, loaded=False, skipped=False, failed=False) if slot.status & IN_PLAY else slot
        for slot in match.slots
    )
    return replace(match, slots=slots, in_progress=False, all_loaded=False, all_skipped=False)


class Finished(Fact, frozen=True):
    """The play is over for these: who played and still sits here. `forced`: some did not say so themselves."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    players: tuple[Seat, ...]
    started_at_ms: int
    forced: bool = False

    def into(self, match: Match) -> Match:
        return _over(match)


class Aborted(Fact, frozen=True):
    """The play was called off; these played. It counts for nothing."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    players: tuple[Seat, ...]
    started_at_ms: int

    def into(self, match: Match) -> Match:
        return _over(match)


# --- time and the room -----------------------------------------------------------------------------------------------


class TimerSet(Fact, frozen=True):
    """`TimerRang` is to come at `rings_at_ms`; `kind` is one of `START`, `COUNTDOWN`, `LOAD`, `FINISH`, `IDLE`."""

    timer_id: int
    kind: str
    rings_at_ms: int
    seconds: int = 0

    def into(self, match: Match) -> Match:
        timer = Timer(self.timer_id, self.kind, self.rings_at_ms, self.seconds)
        return replace(match, timers=(*match.timers, timer), next_timer_id=self.timer_id + 1)


class TimerCleared(Fact, frozen=True):
    """A timer runs no more. `rang`: because its time had come."""

    timer_id: int
    kind: str
    rang: bool = False

    def into(self, match: Match) -> Match:
        return replace(match, timers=tuple(timer for timer in match.timers if timer.id != self.timer_id))


class HistoryKnown(Fact, frozen=True):
    """The database's ids of the match and of its play."""

    history_id: int
    game_id: int

    def into(self, match: Match) -> Match:
        return replace(match, history_id=self.history_id, game_id=self.game_id)


class Closed(Fact, frozen=True):
    """There is no match any more. Everybody is out already."""

    why: CloseWhy

    def into(self, match: Match) -> Match:
        return replace(match, closed=True)


# --- scrims and pools ------------------------------------------------------------------------------------------------

Values = tuple[tuple[int, float], ...]
"""(side, value) of every side, best first."""
Points = tuple[tuple[int, int], ...]
"""(side, points) of every side that has any."""


def _scrim(match: Match) -> Scrim:
    assert match.scrim is not None, "a scrim runs"
    return match.scrim


def _pointed(points: Points, side: int, count: int) -> Points:
    return tuple(sorted(((dict(points) | {side: count}) if count else _without(points, side)).items()))


def _without(points: Points, side: int) -> dict[int, int]:
    return {one: count for one, count in points if one != side}


class ScrimBegan(Fact, frozen=True):
    """A best-of begins, or begins again from nothing."""

    best_of: int
    at_ms: int

    def into(self, match: Match) -> Match:
        scrim = Scrim(self.best_of, self.at_ms)
        return replace(match, scrimming=True, scrim=scrim, last_best_of=self.best_of)


class PpScoring(Fact, frozen=True):
    """The points of the scrim go by pp, or by the win condition again."""

    on: bool

    def into(self, match: Match) -> Match:
        return replace(match, scrim=replace(_scrim(match), by_pp=self.on))


class PointWon(Fact, frozen=True):
    """A side won the play and has `points` now; `values` are what decided."""

    side: int
    name: str
    points: int
    values: Values
    started_at_ms: int

    def into(self, match: Match) -> Match:
        scrim = _scrim(match)
        return replace(
            match,
            scrim=replace(
                scrim,
                points=_pointed(scrim.points, self.side, self.points),
                winners=(*scrim.winners, self.side)[-scrim.best_of :],
                scored_ms=self.started_at_ms,
            ),
        )


class RoundTied(Fact, frozen=True):
    """Nobody was better than all others: no point."""

    values: Values
    started_at_ms: int

    def into(self, match: Match) -> Match:
        return replace(match, scrim=replace(_scrim(match), scored_ms=self.started_at_ms))


class PointTaken(Fact, frozen=True):
    """The last point is taken back; its side has `points` now."""

    side: int
    name: str
    points: int

    def into(self, match: Match) -> Match:
        scrim = _scrim(match)
        points = _pointed(scrim.points, self.side, self.points)
        return replace(match, scrim=replace(scrim, points=points, winners=scrim.winners[:-1]))


class PointsSet(Fact, frozen=True):
    """A referee corrected the points of a side."""

    side: int
    name: str
    points: int

    def into(self, match: Match) -> Match:
        scrim = _scrim(match)
        return replace(match, scrim=replace(scrim, points=_pointed(scrim.points, self.side, self.points)))


class ScrimWon(Fact, frozen=True):
    """A side has the points it needs. `ScrimEnded` follows."""

    side: int
    name: str
    points: Points


class ScrimEnded(Fact, frozen=True):
    """The scrim is over with these points; bans and picks are forgotten."""

    best_of: int
    points: Points

    def into(self, match: Match) -> Match:
        return replace(match, scrimming=False, scrim=None, banned_picks=(), used_picks=())


class PoolLoaded(Fact, frozen=True):
    """Maps are picked from this pool now."""

    pool_id: int
    name: str

    def into(self, match: Match) -> Match:
        return replace(match, pool_id=self.pool_id, pool_name=self.name, banned_picks=(), used_picks=())


class PoolUnloaded(Fact, frozen=True):
    """Maps are picked from no pool any more."""

    name: str

    def into(self, match: Match) -> Match:
        return replace(match, pool_id=0, pool_name="", banned_picks=(), used_picks=())


class PickUsed(Fact, frozen=True):
    """A map of the pool was picked; what it set follows as facts of its own."""

    pick: str

    def into(self, match: Match) -> Match:
        used = match.used_picks if self.pick in match.used_picks else (*match.used_picks, self.pick)
        return replace(match, used_picks=used)


class PickBanned(Fact, frozen=True):
    """A map of the pool may not be picked."""

    pick: str

    def into(self, match: Match) -> Match:
        return replace(match, banned_picks=(*match.banned_picks, self.pick))


class PickUnbanned(Fact, frozen=True):
    """A map of the pool may be picked again."""

    pick: str

    def into(self, match: Match) -> Match:
        return replace(match, banned_picks=tuple(one for one in match.banned_picks if one != self.pick))

"""The commands of a match (docs/spec/multiplayer.md).

Each command states its issuer and its time; `right` states who may send it. Slots are 0-15, user and map ids are those
of the database, times are unix ms, mods are bits (docs/spec/game-rules.md#mods).
"""

from enum import Enum
from typing import ClassVar, Final

import msgspec


class Issuer(msgspec.Struct, frozen=True):
    """The user who sends a command.

    `referee_any`: may referee every match. `staff`: may join every match. Both follow from the privileges of the
    account, because the rules cannot look them up.
    """

    user_id: int
    name: str
    referee_any: bool = False
    staff: bool = False


SERVER: Final = Issuer(0, "", referee_any=True, staff=True)
"""The issuer of commands that the server sends."""


class Right(Enum):
    """The users who may send a command (docs/spec/multiplayer.md#who-may-do-what). Error texts contain the values.

    The creator, and users who may referee every match, count as referees.
    """

    ANYBODY = "anybody"
    SEATED = "a player in the match"
    HOST = "the host"
    LEADER = "the host or a referee"
    REFEREE = "a referee"
    CREATOR = "the creator"
    SERVER = "the server"


class MatchCommand(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The base class of the commands. `at_ms` is the time of the command."""

    right: ClassVar[Right] = Right.SEATED

    by: Issuer
    at_ms: int


# --- players ---------------------------------------------------------------------------------------------------------


class Join(MatchCommand, frozen=True, kw_only=True):
    """Seat `by` in the lowest open slot. `force` skips the check of the password."""

    right: ClassVar[Right] = Right.ANYBODY

    password: str = ""
    force: bool = False


class Leave(MatchCommand, frozen=True, kw_only=True):
    """Remove `by` from the match, also during a play. Without a seat the command has no effect."""

    right: ClassVar[Right] = Right.ANYBODY


class ChangeSlot(MatchCommand, frozen=True, kw_only=True):
    """CHANGE_SLOT (38): move to an open slot."""

    slot: int


class Ready(MatchCommand, frozen=True, kw_only=True):
    """READY (39)."""


class NotReady(MatchCommand, frozen=True, kw_only=True):
    """NOT_READY (55)."""


class NoMap(MatchCommand, frozen=True, kw_only=True):
    """NO_MAP (54): the client does not have the map."""


class HasMap(MatchCommand, frozen=True, kw_only=True):
    """HAS_MAP (59)."""


class LockSlot(MatchCommand, frozen=True, kw_only=True):
    """LOCK (40): open a locked slot, lock an open slot, or kick the player of a slot and lock it."""

    right: ClassVar[Right] = Right.HOST

    slot: int


class ChangeSettings(MatchCommand, frozen=True, kw_only=True):
    """SETTINGS (41). A `map_id` of 0 or less means that the host is choosing a map.

    The service replaces the fields of a known map before it sends the command.
    """

    right: ClassVar[Right] = Right.HOST

    name: str
    mods: int
    map_id: int
    map_md5: str
    map_name: str
    mode: int
    win_condition: int
    team_type: int
    free_mods: bool
    seed: int


class ChangePassword(MatchCommand, frozen=True, kw_only=True):
    """PASSWORD (90). An empty password removes the password."""

    right: ClassVar[Right] = Right.HOST

    password: str


class ChangeMods(MatchCommand, frozen=True, kw_only=True):
    """MODS (51): set the mods of the match, as the host. With free mods, set the player's own mods."""

    mods: int


class Start(MatchCommand, frozen=True, kw_only=True):
    """START (44) or `!mp start`. Without `force`, a host who is not a referee can start only if no player is unready.

    The game's button reads `Force Start Game` while players are not ready, so the packet always means `force`.
    """

    right: ClassVar[Right] = Right.LEADER

    force: bool = True


class LoadComplete(MatchCommand, frozen=True, kw_only=True):
    """LOAD_COMPLETE (52)."""


class Skip(MatchCommand, frozen=True, kw_only=True):
    """SKIP (60)."""


class Fail(MatchCommand, frozen=True, kw_only=True):
    """FAILED (56)."""


class Complete(MatchCommand, frozen=True, kw_only=True):
    """COMPLETE (49)."""


class TransferHost(MatchCommand, frozen=True, kw_only=True):
    """TRANSFER_HOST (70)."""

    right: ClassVar[Right] = Right.HOST

    slot: int


class ChangeTeam(MatchCommand, frozen=True, kw_only=True):
    """CHANGE_TEAM (77)."""


# --- hosts and referees: `!mp` ----------------------------------------------------------------------------------------


class SetName(MatchCommand, frozen=True, kw_only=True):
    """`!mp name`."""

    right: ClassVar[Right] = Right.REFEREE

    name: str


class SetPassword(MatchCommand, frozen=True, kw_only=True):
    """`!mp password`, `!mp randpw`. An empty password removes the password."""

    right: ClassVar[Right] = Right.REFEREE

    password: str


class Move(MatchCommand, frozen=True, kw_only=True):
    """`!mp move`: move a player to an open slot."""

    right: ClassVar[Right] = Right.REFEREE

    user_id: int
    slot: int


class SetHost(MatchCommand, frozen=True, kw_only=True):
    """`!mp host`: make a seated player the host."""

    right: ClassVar[Right] = Right.LEADER

    user_id: int


class ClearHost(MatchCommand, frozen=True, kw_only=True):
    """`!mp clearhost`: remove the host. Unless the match was made by command, a referee must be seated."""

    right: ClassVar[Right] = Right.REFEREE


class SetSize(MatchCommand, frozen=True, kw_only=True):
    """`!mp size`, 1-16: lock the slots above, move their players down, and open locked slots below."""

    right: ClassVar[Right] = Right.REFEREE

    size: int


class SetRoom(MatchCommand, frozen=True, kw_only=True):
    """`!mp set`. None leaves a setting unchanged."""

    right: ClassVar[Right] = Right.REFEREE

    team_type: int
    win_condition: int | None = None
    size: int | None = None


class SetTeamType(MatchCommand, frozen=True, kw_only=True):
    """`!mp teams`. A running scrim restarts without points."""

    right: ClassVar[Right] = Right.LEADER

    team_type: int


class SetWinCondition(MatchCommand, frozen=True, kw_only=True):
    """`!mp condition`: 0-3, or `model.PP` during a scrim."""

    right: ClassVar[Right] = Right.LEADER

    win_condition: int


class SetMap(MatchCommand, frozen=True, kw_only=True):
    """`!mp map`. `mode` is the mode of the play, 0-3."""

    right: ClassVar[Right] = Right.LEADER

    map_id: int
    map_md5: str
    map_name: str
    mode: int


class SetMods(MatchCommand, frozen=True, kw_only=True):
    """`!mp mods`: replace all mods. With `free_mods`, the match gets the speed mods and each player the others."""

    right: ClassVar[Right] = Right.LEADER

    mods: int
    free_mods: bool = False


class SetFreeMods(MatchCommand, frozen=True, kw_only=True):
    """`!mp freemods`."""

    right: ClassVar[Right] = Right.LEADER

    on: bool


class SetTeam(MatchCommand, frozen=True, kw_only=True):
    """`!mp team`: 1 blue, 2 red. Allowed in team modes only."""

    right: ClassVar[Right] = Right.REFEREE

    user_id: int
    team: int


class SetSeatsLocked(MatchCommand, frozen=True, kw_only=True):
    """`!mp lock`, `!mp unlock`: prevent players from changing slot and team, or allow it again."""

    right: ClassVar[Right] = Right.REFEREE

    on: bool


class SetSlotsLocked(MatchCommand, frozen=True, kw_only=True):
    """`!mp lock slots`, `!mp unlock slots`: lock or open all empty slots."""

    right: ClassVar[Right] = Right.REFEREE

    on: bool


class Kick(MatchCommand, frozen=True, kw_only=True):
    """`!mp kick`. `target_staff`: the target is staff. Only the server can kick staff and referees."""

    right: ClassVar[Right] = Right.LEADER

    user_id: int
    target_staff: bool = False


class BanPlayer(MatchCommand, frozen=True, kw_only=True):
    """`!mp ban`: kick a seated player and prevent them from joining again."""

    right: ClassVar[Right] = Right.REFEREE

    user_id: int
    target_staff: bool = False


class UnbanPlayer(MatchCommand, frozen=True, kw_only=True):
    """`!mp unban`."""

    right: ClassVar[Right] = Right.REFEREE

    user_id: int


class AddReferee(MatchCommand, frozen=True, kw_only=True):
    """`!mp addref`, for one user."""

    right: ClassVar[Right] = Right.CREATOR

    user_id: int
    name: str


class RemoveReferee(MatchCommand, frozen=True, kw_only=True):
    """`!mp removeref`, for one user. The creator cannot be removed."""

    right: ClassVar[Right] = Right.CREATOR

    user_id: int


class StartAfter(MatchCommand, frozen=True, kw_only=True):
    """`!mp start <1-300>`: start after a number of seconds. Replaces a queued start."""

    right: ClassVar[Right] = Right.LEADER

    seconds: int


class StartTimer(MatchCommand, frozen=True, kw_only=True):
    """`!mp timer <1-900>`: a countdown in seconds, without a start. Replaces a running countdown."""

    right: ClassVar[Right] = Right.LEADER

    seconds: int


class CancelTimers(MatchCommand, frozen=True, kw_only=True):
    """`!mp aborttimer`, `!mp start cancel`, `!mp timer cancel`: cancel timers of kind `START` or `COUNTDOWN`."""

    right: ClassVar[Right] = Right.LEADER

    kinds: tuple[str, ...] = ("start", "countdown")


class Abort(MatchCommand, frozen=True, kw_only=True):
    """`!mp abort`: end the running play without a result."""

    right: ClassVar[Right] = Right.LEADER


class Close(MatchCommand, frozen=True, kw_only=True):
    """`!mp close`: remove all players and end the match."""

    right: ClassVar[Right] = Right.CREATOR


# --- scrims and pools ------------------------------------------------------------------------------------------------


class BeginScrim(MatchCommand, frozen=True, kw_only=True):
    """`!mp scrim`. `best_of` is an odd number from 1 to 15."""

    right: ClassVar[Right] = Right.REFEREE

    best_of: int


class EndScrim(MatchCommand, frozen=True, kw_only=True):
    """`!mp endscrim`."""

    right: ClassVar[Right] = Right.REFEREE


class Rematch(MatchCommand, frozen=True, kw_only=True):
    """`!mp rematch`: take back the last point of the running scrim, or start the last scrim again."""

    right: ClassVar[Right] = Right.REFEREE


class SetPoints(MatchCommand, frozen=True, kw_only=True):
    """`!mp points`: set the points of sides, as (side, points). See `model.Scrim` for sides."""

    right: ClassVar[Right] = Right.REFEREE

    points: tuple[tuple[int, int], ...]


class LoadPool(MatchCommand, frozen=True, kw_only=True):
    """`!mp loadpool`."""

    right: ClassVar[Right] = Right.REFEREE

    pool_id: int
    name: str


class UnloadPool(MatchCommand, frozen=True, kw_only=True):
    """`!mp unloadpool`."""

    right: ClassVar[Right] = Right.REFEREE


class PickMap(MatchCommand, frozen=True, kw_only=True):
    """`!mp pick`: select a map of the pool with the mods of the pick. `force` allows a pick that was played before."""

    right: ClassVar[Right] = Right.REFEREE

    pick: str
    map_id: int
    map_md5: str
    map_name: str
    mode: int
    mods: int
    free_mods: bool = False
    force: bool = False


class BanPick(MatchCommand, frozen=True, kw_only=True):
    """`!mp banpick`."""

    right: ClassVar[Right] = Right.REFEREE

    pick: str


class UnbanPick(MatchCommand, frozen=True, kw_only=True):
    """`!mp unbanpick`."""

    right: ClassVar[Right] = Right.REFEREE

    pick: str


# --- the server ------------------------------------------------------------------------------------------------------


class RoundResult(msgspec.Struct, frozen=True):
    """The value that a player reached, by the metric of the scrim; 0 without a score frame.

    `team` is the team during the play (`Finished.players`). The player may have changed team or left since.
    """

    user_id: int
    name: str
    team: int
    value: float


class RoundScored(MatchCommand, frozen=True, kw_only=True):
    """The results of the play that started at `started_at_ms`, at most one for each slot.

    The time identifies the play: a result that arrives late must not count for the next play. `missing` has the names
    of players without a result, whose value is 0.
    """

    right: ClassVar[Right] = Right.SERVER

    started_at_ms: int
    results: tuple[RoundResult, ...]
    missing: tuple[str, ...] = ()


class TimerRang(MatchCommand, frozen=True, kw_only=True):
    """A timer has run out. Refused if the timer was cleared, or if the command is too early."""

    right: ClassVar[Right] = Right.SERVER

    timer_id: int


class SetHistoryIds(MatchCommand, frozen=True, kw_only=True):
    """The database ids of the match and of its current play. None leaves an id unchanged."""

    right: ClassVar[Right] = Right.SERVER

    history_id: int | None = None
    game_id: int | None = None

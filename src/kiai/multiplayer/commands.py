"""What can be asked of a match (docs/spec/multiplayer.md). Every command says by whom and when; `right` says who may. A
command of somebody without that right is refused, and so is one that a rule forbids.

Slots are 0-15, user ids and map ids the database's, times unix ms, mods bits (docs/spec/game-rules.md#mods).
"""

from enum import Enum
from typing import ClassVar, Final

import msgspec


class Actor(msgspec.Struct, frozen=True):
    """Who asks. `referee_any`: may lead any match, `staff`: may enter any; both are rights of the account."""

    user_id: int
    name: str
    referee_any: bool = False
    staff: bool = False


SERVER: Final = Actor(0, "", referee_any=True, staff=True)
"""The server itself."""


class Right(Enum):
    """Who may give a command. A referee is the creator too, and whoever may lead any match.

    See docs/spec/multiplayer.md#who-may-do-what.
    """

    ANYBODY = "anybody"
    SEATED = "whoever sits here"
    HOST = "the host"
    LEADER = "the host or a referee"
    REFEREE = "a referee"
    CREATOR = "the creator"
    SERVER = "the server"


class Command(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The base of all of them."""

    right: ClassVar[Right] = Right.SEATED

    by: Actor
    at_ms: int


# --- players ---------------------------------------------------------------------------------------------------------


class Join(Command, frozen=True, kw_only=True):
    """`by` takes the lowest open slot. `force` (`!mp force`; `by` is who is seated): no password, no ban counts."""

    right: ClassVar[Right] = Right.ANYBODY

    password: str = ""
    force: bool = False


class Leave(Command, frozen=True, kw_only=True):
    """`by` is gone, for whatever reason and at any time. Nothing happens if it does not sit here."""

    right: ClassVar[Right] = Right.ANYBODY


class ChangeSlot(Command, frozen=True, kw_only=True):
    """CHANGE_SLOT (38)."""

    slot: int


class Ready(Command, frozen=True, kw_only=True):
    """READY (39)."""


class NotReady(Command, frozen=True, kw_only=True):
    """NOT_READY (55)."""


class NoMap(Command, frozen=True, kw_only=True):
    """NO_MAP (54): the client does not have the map."""


class HasMap(Command, frozen=True, kw_only=True):
    """HAS_MAP (59)."""


class LockSlot(Command, frozen=True, kw_only=True):
    """LOCK (40): opens, locks, or kicks and locks."""

    right: ClassVar[Right] = Right.HOST

    slot: int


class ChangeSettings(Command, frozen=True, kw_only=True):
    """SETTINGS (41). `map_id` <= 0: the host is choosing. Whose map it is, is for the service to look up before."""

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


class ChangePassword(Command, frozen=True, kw_only=True):
    """PASSWORD (90)."""

    right: ClassVar[Right] = Right.HOST

    password: str


class ChangeMods(Command, frozen=True, kw_only=True):
    """MODS (51): the room's, from the host; with free mods everybody's own."""

    mods: int


class Start(Command, frozen=True, kw_only=True):
    """START (44). Without `force` (`!mp start`) a host who is no referee needs everybody with the map to be ready."""

    right: ClassVar[Right] = Right.LEADER

    force: bool = True


class LoadComplete(Command, frozen=True, kw_only=True):
    """LOAD_COMPLETE (52)."""


class Skip(Command, frozen=True, kw_only=True):
    """SKIP (60)."""


class Fail(Command, frozen=True, kw_only=True):
    """FAILED (56)."""


class Complete(Command, frozen=True, kw_only=True):
    """COMPLETE (49)."""


class TransferHost(Command, frozen=True, kw_only=True):
    """TRANSFER_HOST (70)."""

    right: ClassVar[Right] = Right.HOST

    slot: int


class ChangeTeam(Command, frozen=True, kw_only=True):
    """CHANGE_TEAM (77)."""


# --- leading a match: `!mp` -------------------------------------------------------------------------------------------


class SetName(Command, frozen=True, kw_only=True):
    """`!mp name`."""

    right: ClassVar[Right] = Right.REFEREE

    name: str


class SetPassword(Command, frozen=True, kw_only=True):
    """`!mp password`, `!mp randpw`; empty: none."""

    right: ClassVar[Right] = Right.REFEREE

    password: str


class Move(Command, frozen=True, kw_only=True):
    """`!mp move`: to an open slot."""

    right: ClassVar[Right] = Right.REFEREE

    user_id: int
    slot: int


class SetHost(Command, frozen=True, kw_only=True):
    """`!mp host`: somebody who sits here."""

    right: ClassVar[Right] = Right.LEADER

    user_id: int


class ClearHost(Command, frozen=True, kw_only=True):
    """`!mp clearhost`: no host. An ordinary room needs a referee in a seat for that."""

    right: ClassVar[Right] = Right.REFEREE


class SetSize(Command, frozen=True, kw_only=True):
    """`!mp size`, 1-16: slots above are locked, who sits there moves down, slots below are opened."""

    right: ClassVar[Right] = Right.REFEREE

    size: int


class SetRoom(Command, frozen=True, kw_only=True):
    """`!mp set`; None leaves as it is."""

    right: ClassVar[Right] = Right.REFEREE

    team_type: int
    win_condition: int | None = None
    size: int | None = None


class SetTeamType(Command, frozen=True, kw_only=True):
    """`!mp teams`. A scrim starts again from nothing."""

    right: ClassVar[Right] = Right.LEADER

    team_type: int


class SetWinCondition(Command, frozen=True, kw_only=True):
    """`!mp condition`: 0-3, or `model.PP` during a scrim."""

    right: ClassVar[Right] = Right.LEADER

    win_condition: int


class SetMap(Command, frozen=True, kw_only=True):
    """`!mp map`. `mode` is what it is played in, 0-3."""

    right: ClassVar[Right] = Right.LEADER

    map_id: int
    map_md5: str
    map_name: str
    mode: int


class SetMods(Command, frozen=True, kw_only=True):
    """`!mp mods`: replaces all. With `free_mods` the speed mods are the room's and the rest goes to every slot."""

    right: ClassVar[Right] = Right.LEADER

    mods: int
    free_mods: bool = False


class SetFreeMods(Command, frozen=True, kw_only=True):
    """`!mp freemods`."""

    right: ClassVar[Right] = Right.LEADER

    on: bool


class SetTeam(Command, frozen=True, kw_only=True):
    """`!mp team`: 1 blue, 2 red; team modes only."""

    right: ClassVar[Right] = Right.REFEREE

    user_id: int
    team: int


class SetSeatsLocked(Command, frozen=True, kw_only=True):
    """`!mp lock`, `!mp unlock`: players cannot change slot or team themselves."""

    right: ClassVar[Right] = Right.REFEREE

    on: bool


class SetSlotsLocked(Command, frozen=True, kw_only=True):
    """`!mp lock slots`, `!mp unlock slots`: all that nobody sits in."""

    right: ClassVar[Right] = Right.REFEREE

    on: bool


class Kick(Command, frozen=True, kw_only=True):
    """`!mp kick`. `target_staff`: the target is staff, whom only the server puts out, as it does referees."""

    right: ClassVar[Right] = Right.LEADER

    user_id: int
    target_staff: bool = False


class BanPlayer(Command, frozen=True, kw_only=True):
    """`!mp ban`: out, and not back in. Somebody who does not sit here can be banned too."""

    right: ClassVar[Right] = Right.REFEREE

    user_id: int
    target_staff: bool = False


class UnbanPlayer(Command, frozen=True, kw_only=True):
    """`!mp unban`."""

    right: ClassVar[Right] = Right.REFEREE

    user_id: int


class AddReferee(Command, frozen=True, kw_only=True):
    """`!mp addref`, one user."""

    right: ClassVar[Right] = Right.CREATOR

    user_id: int
    name: str


class RemoveReferee(Command, frozen=True, kw_only=True):
    """`!mp removeref`, one user; not the creator."""

    right: ClassVar[Right] = Right.CREATOR

    user_id: int


class StartAfter(Command, frozen=True, kw_only=True):
    """`!mp start <1-300>`: in so many seconds; an earlier one is forgotten."""

    right: ClassVar[Right] = Right.LEADER

    seconds: int


class StartTimer(Command, frozen=True, kw_only=True):
    """`!mp timer <1-900>`: a countdown that starts nothing."""

    right: ClassVar[Right] = Right.LEADER

    seconds: int


class CancelTimers(Command, frozen=True, kw_only=True):
    """`!mp aborttimer`, `!mp start cancel`, `!mp timer cancel`: those of the given kinds (`START`, `COUNTDOWN`)."""

    right: ClassVar[Right] = Right.LEADER

    kinds: tuple[str, ...] = ("start", "countdown")


class Abort(Command, frozen=True, kw_only=True):
    """`!mp abort`."""

    right: ClassVar[Right] = Right.LEADER


class Close(Command, frozen=True, kw_only=True):
    """`!mp close`: everybody out, and the match is gone."""

    right: ClassVar[Right] = Right.CREATOR


# --- scrims and pools ------------------------------------------------------------------------------------------------


class BeginScrim(Command, frozen=True, kw_only=True):
    """`!mp scrim`: odd, 1-15."""

    right: ClassVar[Right] = Right.REFEREE

    best_of: int


class EndScrim(Command, frozen=True, kw_only=True):
    """`!mp endscrim`."""

    right: ClassVar[Right] = Right.REFEREE


class Rematch(Command, frozen=True, kw_only=True):
    """`!mp rematch`: starts the last scrim again, or takes back the last point of the running one."""

    right: ClassVar[Right] = Right.REFEREE


class SetPoints(Command, frozen=True, kw_only=True):
    """`!mp points`: (side, points) each; a side is a team (1 blue, 2 red) in team modes, else a user id."""

    right: ClassVar[Right] = Right.REFEREE

    points: tuple[tuple[int, int], ...]


class LoadPool(Command, frozen=True, kw_only=True):
    """`!mp loadpool`."""

    right: ClassVar[Right] = Right.REFEREE

    pool_id: int
    name: str


class UnloadPool(Command, frozen=True, kw_only=True):
    """`!mp unloadpool`."""

    right: ClassVar[Right] = Right.REFEREE


class Pick(Command, frozen=True, kw_only=True):
    """`!mp pick`: a map of the pool, with the mods its name means. `force`: although it was picked before."""

    right: ClassVar[Right] = Right.REFEREE

    pick: str
    map_id: int
    map_md5: str
    map_name: str
    mode: int
    mods: int
    free_mods: bool = False
    force: bool = False


class BanPick(Command, frozen=True, kw_only=True):
    """`!mp banpick`."""

    right: ClassVar[Right] = Right.REFEREE

    pick: str


class UnbanPick(Command, frozen=True, kw_only=True):
    """`!mp unbanpick`."""

    right: ClassVar[Right] = Right.REFEREE

    pick: str


# --- the server ------------------------------------------------------------------------------------------------------


class Result(msgspec.Struct, frozen=True):
    """What somebody who played reached, by the metric of the scrim; 0 if nothing was submitted.

    `team` is the one of the play (`Finished.players`), whatever became of the player since.
    """

    user_id: int
    name: str
    team: int
    value: float


class RoundScored(Command, frozen=True, kw_only=True):
    """The results of the play that started at `started_at_ms` are known. At most one result a slot."""

    right: ClassVar[Right] = Right.SERVER

    started_at_ms: int
    results: tuple[Result, ...]


class TimerRang(Command, frozen=True, kw_only=True):
    """A timer's time has come. Refused if it was cleared meanwhile, or if it is too early."""

    right: ClassVar[Right] = Right.SERVER

    timer_id: int


class Recorded(Command, frozen=True, kw_only=True):
    """The database's ids of the match and of its present play; None leaves as it is."""

    right: ClassVar[Right] = Right.SERVER

    history_id: int | None = None
    game_id: int | None = None

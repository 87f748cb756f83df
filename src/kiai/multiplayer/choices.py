"""What is played, and how: name, password, map, mods, team type, win condition.

See docs/spec/multiplayer.md#settings and docs/spec/multiplayer.md#mods.
"""

import re
import unicodedata
from typing import Final

from kiai.errors import Invalid, Refused
from kiai.multiplayer.commands import (
    ChangeMods,
    ChangePassword,
    ChangeSettings,
    SetFreeMods,
    SetMap,
    SetMods,
    SetName,
    SetPassword,
    SetRoom,
    SetTeamType,
    SetWinCondition,
)
from kiai.multiplayer.facts import (
    FreeModsChanged,
    MapChanged,
    MapChoosing,
    ModeChanged,
    ModsChanged,
    NameChanged,
    PasswordChanged,
    PpScoring,
    ScrimBegan,
    SeedChanged,
    SlotModsChanged,
    TeamTypeChanged,
    TeamTypeKept,
    WinConditionChanged,
)
from kiai.multiplayer.model import NEUTRAL, PP, TAG_TYPES, MapChoice, Match, seat_of
from kiai.multiplayer.seats import default_team, resize
from kiai.multiplayer.turn import Rules, Turn, between_plays, is_host, not_playing, own_seat, unready, within
from kiai.osu.mods import ALL, AP, EZ, FI, FL, HD, HR, KEYS, NF, PF, RX, SD, SO, SPEED, TP, V2, Mods, normalise

NAME_MAX: Final = 50
PASSWORD_MAX: Final = 50
MAP_NAME_MAX: Final = 256
PRIVATE: Final = "//private"

# ScoreV2 is a win condition; the others play by themselves or play something else.
_NEVER: Final = TP | V2 | int(Mods.AU | Mods.CN)
_OWN: Final = NF | EZ | HD | HR | SD | FL | FI | RX | AP | SO | PF | KEYS | int(Mods.MR)
"""What a player may choose for itself (docs/spec/multiplayer.md#mods)."""
_MD5: Final = re.compile(r"[0-9a-f]{32}")
_UNSEEN: Final = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def named(text: str) -> str:
    """The text as a name of a room: one line of at most NAME_MAX characters. Raises Refused if nothing is left."""
    name = _one_line(text, NAME_MAX)
    if not name:
        raise Refused("a match needs a name")
    return name


def password_of(text: str) -> tuple[str, bool]:
    """The password that a client means, and whether the history is to be private."""
    return _one_line(text.removesuffix(PRIVATE), PASSWORD_MAX), text.endswith(PRIVATE)


def chosen(map_id: int, map_md5: str, map_name: str) -> MapChoice | None:
    """The map that a client means; None: it is choosing. Some clients do not say its md5. Raises Invalid."""
    if map_id <= 0:
        return None
    within("map_id", map_id, 2**31 - 1)
    if map_md5 and not _MD5.fullmatch(map_md5):
        raise Invalid("map_md5", "32 hexadecimal digits, or empty", map_md5)
    return MapChoice(map_id, map_md5, _one_line(map_name, MAP_NAME_MAX))


def _is_another(before: Match, choice: MapChoice) -> bool:
    if before.map_md5 or choice.map_md5:
        return before.map_md5 != choice.map_md5
    return before.map_id != choice.map_id


def room_mods(mods: int, *, free_mods: bool) -> int:
    """The part of what a client sent that is the room's. Raises Invalid."""
    within("mods", mods, ALL)
    return mods & (SPEED if free_mods else ~_NEVER)


def own_mods(mods: int) -> int:
    """The part of what a client sent that is a player's own. Raises Invalid."""
    within("mods", mods, ALL)
    return mods & _OWN


def checked(*, mode: int, win_condition: int, team_type: int, seed: int) -> None:
    """Raises Invalid for what no client can mean."""
    within("mode", mode, 3)
    within("win_condition", win_condition, 3)
    within("team_type", team_type, 3)
    within("seed", seed, 2**31 - 1, -(2**31))


def choose_map(turn: Turn, choice: MapChoice, mode: int) -> None:
    """This map is played next."""
    within("mode", mode, 3)
    match = turn.match
    before = match.previous.map_md5 if match.previous else match.map_md5
    turn.tell(MapChanged(choice.map_id, choice.map_md5, choice.map_name, another=before != choice.map_md5))
    if match.mode != mode:
        turn.tell(ModeChanged(mode))
    unready(turn, new_map=True)


def choose_mods(turn: Turn, mods: int, *, free_mods: bool) -> None:
    """These mods are played, in the room's mode; with free mods, everybody may choose from here on."""
    within("mods", mods, ALL)
    mods = normalise(mods, turn.match.mode)
    room = room_mods(mods, free_mods=free_mods)
    if free_mods or turn.match.free_mods:
        turn.tell(FreeModsChanged(free_mods, room, own_mods(mods) if free_mods else 0))
    else:
        turn.tell(ModsChanged(room))
    unready(turn)


def _change_settings(turn: Turn, command: ChangeSettings) -> None:
    before = turn.match
    between_plays(turn)
    checked(mode=command.mode, win_condition=command.win_condition, team_type=command.team_type, seed=command.seed)
    name = named(command.name)
    choice = chosen(command.map_id, command.map_md5, command.map_name)
    kept = before.scrimming and command.team_type != before.team_type
    team_type = before.team_type if kept else command.team_type

    free_mods = command.free_mods and team_type not in TAG_TYPES
    if free_mods != before.free_mods:
        _free(turn, free_mods)
    else:
        mods = room_mods(command.mods, free_mods=free_mods)
        if mods != before.mods:
            turn.tell(ModsChanged(mods))
    if choice is None:
        if before.map_id > 0:
            turn.tell(MapChoosing())
    elif before.map_id <= 0 or _is_another(before, choice):
        choose_map(turn, choice, command.mode)
    if turn.match.mode != command.mode:
        turn.tell(ModeChanged(command.mode))
    if kept:
        turn.tell(TeamTypeKept(command.team_type))
    else:
        _team_type(turn, team_type)
    _win_condition(turn, command.win_condition)
    if name != before.name:
        turn.tell(NameChanged(name))
    if command.seed != before.seed:
        turn.tell(SeedChanged(command.seed))
    if _play(before) != _play(turn.match):
        unready(turn)


def _play(match: Match) -> tuple[object, ...]:
    """What is played: when it changes, nobody is ready for it."""
    return match.mods, match.map_id, match.map_md5, match.win_condition, match.team_type, match.free_mods


def _change_password(turn: Turn, command: ChangePassword) -> None:
    turn.tell(PasswordChanged(password_of(command.password)[0]))


def _change_mods(turn: Turn, command: ChangeMods) -> None:
    seat, slot = own_seat(turn, command)
    match, host = turn.match, is_host(turn.match, command.by)
    if match.free_mods:
        not_playing(slot)
        own = own_mods(command.mods)
        if own != slot.mods:
            turn.tell(SlotModsChanged(slot.player_id, seat, own))
        if not host or match.in_progress:
            return
    elif not host:
        raise Refused("only the host changes the mods")
    else:
        between_plays(turn)
    mods = room_mods(command.mods, free_mods=match.free_mods)
    if mods != match.mods:
        turn.tell(ModsChanged(mods))
        unready(turn)


def _set_name(turn: Turn, command: SetName) -> None:
    turn.tell(NameChanged(named(command.name)))


def _set_password(turn: Turn, command: SetPassword) -> None:
    password = _one_line(command.password, PASSWORD_MAX + 1)
    if len(password) > PASSWORD_MAX:
        raise Refused(f"a password has at most {PASSWORD_MAX} characters")
    turn.tell(PasswordChanged(password))


def _set_room(turn: Turn, command: SetRoom) -> None:
    _set_team_type(turn, SetTeamType(by=command.by, at_ms=command.at_ms, team_type=command.team_type))
    if command.win_condition is not None:
        within("win_condition", command.win_condition, 3)
        _win_condition(turn, command.win_condition)
        _no_pp(turn)
        unready(turn)
    if command.size is not None:
        resize(turn, command.size)


def _set_team_type(turn: Turn, command: SetTeamType) -> None:
    within("team_type", command.team_type, 3)
    between_plays(turn)
    if command.team_type == turn.match.team_type:
        return
    _team_type(turn, command.team_type)
    unready(turn)
    scrim = turn.match.scrim
    if scrim is not None:
        turn.tell(ScrimBegan(scrim.best_of, command.at_ms))
        if scrim.by_pp:
            turn.tell(PpScoring(True))


def _set_win_condition(turn: Turn, command: SetWinCondition) -> None:
    within("win_condition", command.win_condition, PP)
    between_plays(turn)
    if command.win_condition != PP:
        _win_condition(turn, command.win_condition)
        _no_pp(turn)
        unready(turn)
    elif turn.match.scrim is None:
        raise Refused("pp counts only during a scrim")
    else:
        turn.tell(PpScoring(True))


def _set_map(turn: Turn, command: SetMap) -> None:
    between_plays(turn)
    choice = chosen(command.map_id, command.map_md5, command.map_name)
    if choice is None:
        raise Invalid("map_id", "a map's id", command.map_id)
    choose_map(turn, choice, command.mode)


def _set_mods(turn: Turn, command: SetMods) -> None:
    between_plays(turn)
    if command.free_mods:
        _free_mods_possible(turn)
    choose_mods(turn, command.mods, free_mods=command.free_mods)


def _set_free_mods(turn: Turn, command: SetFreeMods) -> None:
    between_plays(turn)
    if command.on:
        _free_mods_possible(turn)
    if command.on != turn.match.free_mods:
        _free(turn, command.on)
        unready(turn)


def _free_mods_possible(turn: Turn) -> None:
    if turn.match.team_type in TAG_TYPES:
        raise Refused("in tag modes everybody plays the same mods")


def _free(turn: Turn, on: bool) -> None:
    """Everybody gets what the room had, but for speed; or the room gets what the host had."""
    match = turn.match
    if on:
        turn.tell(FreeModsChanged(True, match.mods & SPEED, own_mods(match.mods)))
        return
    seat = seat_of(match, match.host_id)
    hosts = match.slots[seat].mods if seat is not None else 0
    turn.tell(FreeModsChanged(False, (match.mods & SPEED) | hosts, 0))


def _team_type(turn: Turn, team_type: int) -> None:
    """Another team type, with its teams and without what it does not have."""
    match = turn.match
    if team_type == match.team_type:
        return
    if match.free_mods and team_type in TAG_TYPES:
        _free(turn, False)
    teams = tuple(default_team(team_type, seat) if slot.occupied else NEUTRAL for seat, slot in enumerate(match.slots))
    turn.tell(TeamTypeChanged(team_type, teams))


def _win_condition(turn: Turn, win_condition: int) -> None:
    if win_condition != turn.match.win_condition:
        turn.tell(WinConditionChanged(win_condition))
        _no_pp(turn)


def _no_pp(turn: Turn) -> None:
    scrim = turn.match.scrim
    if scrim is not None and scrim.by_pp:
        turn.tell(PpScoring(False))


def _one_line(text: str, longest: int) -> str:
    seen = "".join(one for one in text if unicodedata.category(one) not in _UNSEEN)
    return seen.strip()[:longest].strip()


RULES: Final[Rules] = {
    ChangeSettings: _change_settings,
    ChangePassword: _change_password,
    ChangeMods: _change_mods,
    SetName: _set_name,
    SetPassword: _set_password,
    SetRoom: _set_room,
    SetTeamType: _set_team_type,
    SetWinCondition: _set_win_condition,
    SetMap: _set_map,
    SetMods: _set_mods,
    SetFreeMods: _set_free_mods,
}

"""The settings of a match: name, password, map, mods, team type, win condition.

See docs/spec/multiplayer.md#settings and docs/spec/multiplayer.md#mods.
"""

import re
import unicodedata
from typing import Final

from kiai.errors import Invalid, Refused
from kiai.multiplayer.command_run import (
    CommandRun,
    Rules,
    check_no_play,
    check_not_playing,
    check_range,
    is_host,
    own_seat,
    unready,
)
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
from kiai.multiplayer.events import (
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
    TeamTypeRejected,
    WinConditionChanged,
)
from kiai.multiplayer.model import NEUTRAL, PP, TAG_TYPES, MapChoice, Match, seat_of
from kiai.multiplayer.seats import default_team, resize
from kiai.osu.mods import ALL, AP, EZ, FI, FL, HD, HR, KEYS, NF, PF, RX, SD, SO, SPEED, TP, V2, Mods, normalise

# In characters. The lobby gets the whole match after each change, so its texts are short.
NAME_MAX: Final = 50
PASSWORD_MAX: Final = 50
MAP_NAME_MAX: Final = 256
# The packet CREATE_MATCH has no field for a private history. Players know this suffix from other servers.
PRIVATE: Final = "//private"

# ScoreV2 is a win condition. Autoplay and Cinema play by themselves, and Target Practice replaces the map.
_NEVER: Final = TP | V2 | int(Mods.AU | Mods.CN)
# Speed mods are missing here because all players hear the same song (docs/spec/multiplayer.md#mods).
_OWN: Final = NF | EZ | HD | HR | SD | FL | FI | RX | AP | SO | PF | KEYS | int(Mods.MR)
"""The mods that players choose for themselves with free mods."""
_MD5: Final = re.compile(r"[0-9a-f]{32}")
# Unicode categories without a visible character: controls, formats, surrogates, private use, unassigned, line and
# paragraph separators. In the lobby they could hide a name or break it into lines.
_INVISIBLE: Final = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def clean_name(text: str) -> str:
    """Return a text as the name of a match: one line of at most NAME_MAX characters. Raises Refused if it is empty."""
    name = _one_line(text, NAME_MAX)
    if not name:
        raise Refused("a match needs a name")
    return name


def parse_password(text: str) -> tuple[str, bool]:
    """Return the password in a packet without the suffix `//private`, and whether it had the suffix."""
    return _one_line(text.removesuffix(PRIVATE), PASSWORD_MAX), text.endswith(PRIVATE)


def map_choice(map_id: int, map_md5: str, map_name: str) -> MapChoice | None:
    """Return the map in a packet, or None if the host is choosing one. Raises Invalid.

    The md5 may be empty, because some clients leave it out.
    """
    if map_id <= 0:
        return None
    check_range("map_id", map_id, 2**31 - 1)
    if map_md5 and not _MD5.fullmatch(map_md5):
        raise Invalid("map_md5", "32 hexadecimal digits, or empty", map_md5)
    return MapChoice(map_id, map_md5, _one_line(map_name, MAP_NAME_MAX))


def _is_another(before: Match, choice: MapChoice) -> bool:
    # The md5 decides if one is known: an updated map has the same id as before.
    if before.map_md5 or choice.map_md5:
        return before.map_md5 != choice.map_md5
    return before.map_id != choice.map_id


def room_mods(mods: int, *, free_mods: bool) -> int:
    """Return those mods of a packet that belong to the match: with free mods only the speed mods. Raises Invalid."""
    check_range("mods", mods, ALL)
    return mods & (SPEED if free_mods else ~_NEVER)


def own_mods(mods: int) -> int:
    """Return those mods of a packet that a player may choose with free mods. Raises Invalid."""
    check_range("mods", mods, ALL)
    return mods & _OWN


def check_settings(*, mode: int, win_condition: int, team_type: int, seed: int) -> None:
    """Raise Invalid if a number of the packet is out of range."""
    check_range("mode", mode, 3)
    check_range("win_condition", win_condition, 3)
    check_range("team_type", team_type, 3)
    check_range("seed", seed, 2**31 - 1, -(2**31))


def choose_map(run: CommandRun, choice: MapChoice, mode: int) -> None:
    """Select a map and the mode of the next play. Raises Invalid."""
    check_range("mode", mode, 3)
    match = run.match
    # While the host is choosing, the match has no map. To choose the former map again is not a change.
    before = match.previous.map_md5 if match.previous else match.map_md5
    run.emit(MapChanged(choice.map_id, choice.map_md5, choice.map_name, another=before != choice.map_md5))
    if match.mode != mode:
        run.emit(ModeChanged(mode))
    unready(run, new_map=True)


def choose_mods(run: CommandRun, mods: int, *, free_mods: bool) -> None:
    """Set the mods, without those that the mode does not have. Turns free mods on or off. Raises Invalid."""
    check_range("mods", mods, ALL)
    mods = normalise(mods, run.match.mode)
    room = room_mods(mods, free_mods=free_mods)
    if free_mods or run.match.free_mods:
        # FreeModsChanged also when free mods stay on: every slot gets the mods of the command.
        run.emit(FreeModsChanged(free_mods, room, own_mods(mods) if free_mods else 0))
    else:
        run.emit(ModsChanged(room))
    unready(run)


def _change_settings(run: CommandRun, command: ChangeSettings) -> None:
    before = run.match
    check_no_play(run)
    check_settings(
        mode=command.mode, win_condition=command.win_condition, team_type=command.team_type, seed=command.seed
    )
    name = clean_name(command.name)
    choice = map_choice(command.map_id, command.map_md5, command.map_name)
    # The sides of a scrim depend on the team type, so a click of the host would lose the points. `!mp teams` can.
    rejected = before.scrimming and command.team_type != before.team_type
    team_type = before.team_type if rejected else command.team_type

    # The packet contains all settings, and clients send it for each change. Only differences become events, because
    # players lose "ready" by some of them.
    free_mods = command.free_mods and team_type not in TAG_TYPES
    if free_mods != before.free_mods:
        # The switch decides the mods. The mods of the packet do not apply.
        _switch_free_mods(run, free_mods)
    else:
        mods = room_mods(command.mods, free_mods=free_mods)
        if mods != before.mods:
            run.emit(ModsChanged(mods))
    if choice is None:
        if before.map_id > 0:
            run.emit(MapChoosing())
    elif before.map_id <= 0 or _is_another(before, choice):
        choose_map(run, choice, command.mode)
    if run.match.mode != command.mode:
        run.emit(ModeChanged(command.mode))
    if rejected:
        # An event, so that the history shows the attempt.
        run.emit(TeamTypeRejected(command.team_type))
    else:
        _switch_team_type(run, team_type)
    _switch_win_condition(run, command.win_condition)
    if name != before.name:
        run.emit(NameChanged(name))
    if command.seed != before.seed:
        run.emit(SeedChanged(command.seed))
    if _ready_for(before) != _ready_for(run.match):
        unready(run)


def _ready_for(match: Match) -> tuple[object, ...]:
    """Return the settings that a ready player has agreed to. A change of one of them ends "ready"."""
    return match.mods, match.map_id, match.map_md5, match.win_condition, match.team_type, match.free_mods


def _change_password(run: CommandRun, command: ChangePassword) -> None:
    # Whether the history is private was decided when the match was created; a later suffix is only removed.
    run.emit(PasswordChanged(parse_password(command.password)[0]))


def _change_mods(run: CommandRun, command: ChangeMods) -> None:
    seat, slot = own_seat(run, command)
    match, host = run.match, is_host(run.match, command.by)
    if match.free_mods:
        check_not_playing(slot)
        own = own_mods(command.mods)
        if own != slot.mods:
            run.emit(SlotModsChanged(slot.player_id, seat, own))
        # The host sends the speed mods of the match and their own mods in one packet. A host who sits out the play may
        # change their own mods, but not the speed of the running play.
        if not host or match.in_progress:
            return
    elif not host:
        raise Refused("only the host can change the mods")
    else:
        check_no_play(run)
    mods = room_mods(command.mods, free_mods=match.free_mods)
    if mods != match.mods:
        run.emit(ModsChanged(mods))
        unready(run)


def _set_name(run: CommandRun, command: SetName) -> None:
    run.emit(NameChanged(clean_name(command.name)))


def _set_password(run: CommandRun, command: SetPassword) -> None:
    # Refused rather than cut, unlike in a packet: a referee sees the answer and can choose a shorter password.
    password = _one_line(command.password, PASSWORD_MAX + 1)
    if len(password) > PASSWORD_MAX:
        raise Refused(f"a password has at most {PASSWORD_MAX} characters")
    run.emit(PasswordChanged(password))


def _set_room(run: CommandRun, command: SetRoom) -> None:
    _set_team_type(run, SetTeamType(by=command.by, at_ms=command.at_ms, team_type=command.team_type))
    if command.win_condition is not None:
        check_range("win_condition", command.win_condition, 3)
        _switch_win_condition(run, command.win_condition)
        _stop_pp_scoring(run)
        unready(run)
    if command.size is not None:
        resize(run, command.size)


def _set_team_type(run: CommandRun, command: SetTeamType) -> None:
    check_range("team_type", command.team_type, 3)
    check_no_play(run)
    if command.team_type == run.match.team_type:
        return
    _switch_team_type(run, command.team_type)
    unready(run)
    scrim = run.match.scrim
    if scrim is not None:
        # The points belong to teams or to players; neither can be carried over to the other.
        run.emit(ScrimBegan(scrim.best_of, command.at_ms))
        if scrim.by_pp:
            run.emit(PpScoring(True))


def _set_win_condition(run: CommandRun, command: SetWinCondition) -> None:
    check_range("win_condition", command.win_condition, PP)
    check_no_play(run)
    if command.win_condition != PP:
        _switch_win_condition(run, command.win_condition)
        _stop_pp_scoring(run)
        unready(run)
    elif run.match.scrim is None:
        raise Refused("pp can decide only a scrim")
    else:
        # Clients know no such win condition: the match keeps its own, and only the points of the scrim change.
        run.emit(PpScoring(True))


def _set_map(run: CommandRun, command: SetMap) -> None:
    check_no_play(run)
    choice = map_choice(command.map_id, command.map_md5, command.map_name)
    if choice is None:
        raise Invalid("map_id", "the id of a map", command.map_id)
    choose_map(run, choice, command.mode)


def _set_mods(run: CommandRun, command: SetMods) -> None:
    check_no_play(run)
    if command.free_mods:
        _check_free_mods_possible(run)
    choose_mods(run, command.mods, free_mods=command.free_mods)


def _set_free_mods(run: CommandRun, command: SetFreeMods) -> None:
    check_no_play(run)
    if command.on:
        _check_free_mods_possible(run)
    if command.on != run.match.free_mods:
        _switch_free_mods(run, command.on)
        unready(run)


def _check_free_mods_possible(run: CommandRun) -> None:
    if run.match.team_type in TAG_TYPES:
        raise Refused("the tag team modes have no free mods")


def _switch_free_mods(run: CommandRun, on: bool) -> None:
    """Turn free mods on: each player gets the match's mods without speed. Off: the match gets the host's mods."""
    match = run.match
    if on:
        run.emit(FreeModsChanged(True, match.mods & SPEED, own_mods(match.mods)))
        return
    seat = seat_of(match, match.host_id)
    host_mods = match.slots[seat].mods if seat is not None else 0
    run.emit(FreeModsChanged(False, (match.mods & SPEED) | host_mods, 0))


def _switch_team_type(run: CommandRun, team_type: int) -> None:
    """Change the team type and assign the teams. Turns free mods off if the team type has none."""
    match = run.match
    if team_type == match.team_type:
        return
    # First: the players' mods must go to the match before the tag team type applies.
    if match.free_mods and team_type in TAG_TYPES:
        _switch_free_mods(run, False)
    teams = tuple(default_team(team_type, seat) if slot.occupied else NEUTRAL for seat, slot in enumerate(match.slots))
    run.emit(TeamTypeChanged(team_type, teams))


def _switch_win_condition(run: CommandRun, win_condition: int) -> None:
    if win_condition != run.match.win_condition:
        run.emit(WinConditionChanged(win_condition))
        _stop_pp_scoring(run)


def _stop_pp_scoring(run: CommandRun) -> None:
    scrim = run.match.scrim
    if scrim is not None and scrim.by_pp:
        run.emit(PpScoring(False))


def _one_line(text: str, longest: int) -> str:
    visible = "".join(character for character in text if unicodedata.category(character) not in _INVISIBLE)
    # Again after the cut, which may leave a blank at the end.
    return visible.strip()[:longest].strip()


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

"""Best-of series, and picks from a mappool (docs/spec/multiplayer.md#scrims)."""

import math
import re
from collections import defaultdict
from typing import Final

from kiai.errors import Invalid, Refused
from kiai.multiplayer.command_run import CommandRun, Rules, check_no_play, check_range
from kiai.multiplayer.commands import (
    BanPick,
    BeginScrim,
    EndScrim,
    LoadPool,
    PickMap,
    Rematch,
    RoundResult,
    RoundScored,
    SetPoints,
    UnbanPick,
    UnloadPool,
)
from kiai.multiplayer.events import (
    PickBanned,
    PickUnbanned,
    PickUsed,
    PointsSet,
    PointTaken,
    PointWon,
    PoolLoaded,
    PoolUnloaded,
    RoundTied,
    ScrimBegan,
    ScrimEnded,
    ScrimWon,
    Values,
)
from kiai.multiplayer.model import BLUE, RED, SLOTS, TAG_TYPES, Match, Scrim, has_teams, players, seat_of
from kiai.multiplayer.room_settings import choose_map, choose_mods, map_choice

# The final of a large tournament is a best of 13.
BEST_OF_MAX: Final = 15
# Four times the slots: players without teams may leave and be replaced, and their points stay.
SIDES_MAX: Final = 64
"""Largest number of sides with points."""
# A pool has at most as many picks (`pools.PICKS_MAX`).
PICKS_MAX: Final = 200
"""Largest number of banned picks, and of used picks."""

# `ACRONYM: (Red Pandas) vs (Blue Whales)`: the naming convention of tournaments. The first team is blue.
_TEAMS: Final = re.compile(r"[^:]+:\s*\(([^()]+)\)\s*vs\.?\s*\(([^()]+)\)", re.IGNORECASE)
_PICK: Final = re.compile(r"(?:[A-Za-z]{2}){1,4}[0-9]{1,3}")


def team_names(match: Match) -> tuple[str, str]:
    """Return the names of the blue and the red team: those in the name of the match, otherwise Blue and Red."""
    found = _TEAMS.fullmatch(match.name)
    return (found[1].strip(), found[2].strip()) if found else ("Blue", "Red")


def side_name(match: Match, side: int) -> str:
    """Return the name of a side: of the team or of the player. For a player who left, return the user id."""
    if has_teams(match):
        blue, red = team_names(match)
        return blue if side == BLUE else red
    seat = seat_of(match, side)
    return str(side) if seat is None else match.slots[seat].player_name


def pick_name(text: str) -> str:
    """Return the name of a pick in capitals: `HD2` for `hd2`. Raises Invalid."""
    if not _PICK.fullmatch(text):
        raise Invalid("pick", "mods and a number such as HD2", text)
    return text.upper()


def _begin(run: CommandRun, command: BeginScrim) -> None:
    check_range("best_of", command.best_of, BEST_OF_MAX, 1)
    if command.best_of % 2 == 0:
        raise Invalid("best_of", "odd", command.best_of)  # an even number could end in a draw
    if run.match.scrim is not None:
        raise Refused("a scrim is already running")
    run.emit(ScrimBegan(command.best_of, command.at_ms))


def _end(run: CommandRun, command: EndScrim) -> None:
    scrim = _running_scrim(run)
    run.emit(ScrimEnded(scrim.best_of, scrim.points))


def _rematch(run: CommandRun, command: Rematch) -> None:
    match = run.match
    if match.scrim is None:
        if not match.last_best_of:
            raise Refused("this match has had no scrim")
        run.emit(ScrimBegan(match.last_best_of, command.at_ms))
        return
    if not match.scrim.winners:
        raise Refused("there is no point to take back")
    side = match.scrim.winners[-1]
    # Not below 0: `!mp points` may have corrected the side since it won.
    run.emit(PointTaken(side, side_name(match, side), max(0, match.scrim.points_of(side) - 1)))


def _set_points(run: CommandRun, command: SetPoints) -> None:
    scrim = _running_scrim(run)
    if not 1 <= len(command.points) <= SLOTS:
        raise Invalid("points", f"the points of 1-{SLOTS} sides", len(command.points))
    # A player who left keeps their points, so those can still be corrected.
    known = {BLUE, RED} if has_teams(run.match) else {*players(run.match), *(side for side, _ in scrim.points)}
    for side, points in command.points:
        if side not in known:
            raise Refused("that side does not take part in the scrim")
        check_range("points", points, scrim.needed)
        run.emit(PointsSet(side, side_name(run.match, side), points))
    # Checked after all of them: the events so far are discarded if this raises.
    _check_sides(run)
    winners = [side for side, points in _running_scrim(run).points if points >= scrim.needed]
    if len(winners) > 1:
        raise Refused("only one side can win")
    for side in winners:
        _win(run, side, side_name(run.match, side))


def _round_scored(run: CommandRun, command: RoundScored) -> None:
    scrim = _running_scrim(run)
    # The results of a play arrive after its end. Meanwhile the scrim may have restarted, or another worker may have
    # sent them already.
    if command.started_at_ms < scrim.began_at_ms or command.started_at_ms <= scrim.scored_ms:
        raise Refused("that play does not count")
    if len(command.results) > SLOTS:
        raise Invalid("results", f"at most {SLOTS}", len(command.results))
    values = _values(run.match, command.results)
    best = values[0][1] if values else 0
    if best <= 0 or (len(values) > 1 and values[1][1] == best):
        run.emit(RoundTied(values, command.started_at_ms, command.missing))
        return
    side = values[0][0]
    # A winner without a team may have left since, so the name comes from the results.
    names = {result.user_id: result.name for result in command.results}
    name = side_name(run.match, side) if has_teams(run.match) else names[side]
    points = scrim.points_of(side) + 1
    run.emit(PointWon(side, name, points, values, command.started_at_ms, command.missing))
    _check_sides(run)
    if points >= scrim.needed:
        _win(run, side, name)


def _values(match: Match, results: tuple[RoundResult, ...]) -> Values:
    """Return (side, sum of values) for each side, highest first."""
    parts: defaultdict[int, list[float]] = defaultdict(list)
    for result in results:
        side = result.team if has_teams(match) else result.user_id
        if side:  # not neutral: the team type may have changed since the play
            # nan has no order, so it must not reach the sort below.
            parts[side].append(result.value if math.isfinite(result.value) else 0)
    # fsum is exact: the sums of two teams with the same values are equal whatever their order, so ties are ties.
    values = [(side, math.fsum(value)) for side, value in parts.items()]
    return tuple(sorted(values, key=lambda pair: (-pair[1], pair[0])))


def _win(run: CommandRun, side: int, name: str) -> None:
    scrim = _running_scrim(run)
    run.emit(ScrimWon(side, name, scrim.points))
    # Second: it removes the scrim, and `ScrimWon` is announced with the points.
    run.emit(ScrimEnded(scrim.best_of, scrim.points))


def _check_sides(run: CommandRun) -> None:
    if len(_running_scrim(run).points) > SIDES_MAX:
        raise Refused("too many players have points")


def _running_scrim(run: CommandRun) -> Scrim:
    if run.match.scrim is None:
        raise Refused("no scrim is running")
    return run.match.scrim


def _load_pool(run: CommandRun, command: LoadPool) -> None:
    check_range("pool_id", command.pool_id, 2**31 - 1, 1)
    run.emit(PoolLoaded(command.pool_id, command.name))


def _unload_pool(run: CommandRun, command: UnloadPool) -> None:
    _check_pool_loaded(run)
    run.emit(PoolUnloaded(run.match.pool_name))


def _pick(run: CommandRun, command: PickMap) -> None:
    _check_pool_loaded(run)
    check_no_play(run)
    pick = pick_name(command.pick)
    if pick in run.match.banned_picks:
        raise Refused("that pick is banned")
    if pick in run.match.used_picks:
        if not command.force:
            raise Refused("that map was already picked")
    elif len(run.match.used_picks) >= PICKS_MAX:
        raise Refused(f"a match has at most {PICKS_MAX} picks")
    choice = map_choice(command.map_id, command.map_md5, command.map_name)
    if choice is None:
        raise Invalid("map_id", "the id of a map", command.map_id)
    run.emit(PickUsed(pick))
    choose_map(run, choice, command.mode)
    # A pick with free mods must not fail in a tag team mode, which has none: the map is played without them.
    choose_mods(run, command.mods, free_mods=command.free_mods and run.match.team_type not in TAG_TYPES)


def _ban_pick(run: CommandRun, command: BanPick) -> None:
    _check_pool_loaded(run)
    pick = pick_name(command.pick)
    if pick in run.match.banned_picks:
        raise Refused("that pick is already banned")
    if len(run.match.banned_picks) >= PICKS_MAX:
        raise Refused(f"a match has at most {PICKS_MAX} banned picks")
    run.emit(PickBanned(pick))


def _unban_pick(run: CommandRun, command: UnbanPick) -> None:
    _check_pool_loaded(run)
    pick = pick_name(command.pick)
    if pick not in run.match.banned_picks:
        raise Refused("that pick is not banned")
    run.emit(PickUnbanned(pick))


def _check_pool_loaded(run: CommandRun) -> None:
    if not run.match.pool_id:
        raise Refused("no mappool is loaded")


RULES: Final[Rules] = {
    BeginScrim: _begin,
    EndScrim: _end,
    Rematch: _rematch,
    SetPoints: _set_points,
    RoundScored: _round_scored,
    LoadPool: _load_pool,
    UnloadPool: _unload_pool,
    PickMap: _pick,
    BanPick: _ban_pick,
    UnbanPick: _unban_pick,
}

"""Best-of series and picks from a pool (docs/spec/multiplayer.md#scrims)."""

import math
import re
from collections import defaultdict
from typing import Final

from kiai.errors import Invalid, Refused
from kiai.multiplayer.choices import choose_map, choose_mods, chosen
from kiai.multiplayer.commands import (
    BanPick,
    BeginScrim,
    EndScrim,
    LoadPool,
    Pick,
    Rematch,
    Result,
    RoundScored,
    SetPoints,
    UnbanPick,
    UnloadPool,
)
from kiai.multiplayer.facts import (
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
from kiai.multiplayer.turn import Rules, Turn, between_plays, within

BEST_OF_MAX: Final = 15
SIDES_MAX: Final = 64
"""With points; more than sit here, because players come and go."""
PICKS_MAX: Final = 200
"""Banned or picked, each."""

_TEAMS: Final = re.compile(r"[^:]+:\s*\(([^()]+)\)\s*vs\.?\s*\(([^()]+)\)", re.IGNORECASE)
_PICK: Final = re.compile(r"(?:[A-Za-z]{2}){1,4}[0-9]{1,3}")


def team_names(match: Match) -> tuple[str, str]:
    """What blue and red are called: the teams in a name such as `ACRONYM: (Team 1) vs (Team 2)`, else Blue and Red."""
    found = _TEAMS.fullmatch(match.name)
    return (found[1].strip(), found[2].strip()) if found else ("Blue", "Red")


def side_name(match: Match, side: int) -> str:
    """What a side of a scrim is called: a team's name, or the player's (the id of one who is gone)."""
    if has_teams(match):
        blue, red = team_names(match)
        return blue if side == BLUE else red
    seat = seat_of(match, side)
    return str(side) if seat is None else match.slots[seat].player_name


def pick_name(text: str) -> str:
    """How a pick such as `hd2` is written: `HD2`. Raises Invalid."""
    if not _PICK.fullmatch(text):
        raise Invalid("pick", "mods and a number such as HD2", text)
    return text.upper()


def _begin(turn: Turn, command: BeginScrim) -> None:
    within("best_of", command.best_of, BEST_OF_MAX, 1)
    if command.best_of % 2 == 0:
        raise Invalid("best_of", "odd", command.best_of)
    if turn.match.scrim is not None:
        raise Refused("a scrim runs already")
    turn.tell(ScrimBegan(command.best_of, command.at_ms))


def _end(turn: Turn, command: EndScrim) -> None:
    scrim = _running(turn)
    turn.tell(ScrimEnded(scrim.best_of, scrim.points))


def _rematch(turn: Turn, command: Rematch) -> None:
    match = turn.match
    if match.scrim is None:
        if not match.last_best_of:
            raise Refused("there was no scrim")
        turn.tell(ScrimBegan(match.last_best_of, command.at_ms))
        return
    if not match.scrim.winners:
        raise Refused("there is no point to take back")
    side = match.scrim.winners[-1]
    turn.tell(PointTaken(side, side_name(match, side), max(0, match.scrim.points_of(side) - 1)))


def _set_points(turn: Turn, command: SetPoints) -> None:
    scrim = _running(turn)
    if not 1 <= len(command.points) <= SLOTS:
        raise Invalid("points", f"those of 1-{SLOTS} sides", len(command.points))
    known = {BLUE, RED} if has_teams(turn.match) else {*players(turn.match), *(side for side, _ in scrim.points)}
    for side, points in command.points:
        if side not in known:
            raise Refused("no such side plays")
        within("points", points, scrim.needed)
        turn.tell(PointsSet(side, side_name(turn.match, side), points))
    _few_sides(turn)
    winners = [side for side, points in _running(turn).points if points >= scrim.needed]
    if len(winners) > 1:
        raise Refused("only one side can win")
    for side in winners:
        _win(turn, side, side_name(turn.match, side))


def _round_scored(turn: Turn, command: RoundScored) -> None:
    scrim = _running(turn)
    if command.started_at_ms < scrim.began_at_ms or command.started_at_ms <= scrim.scored_ms:
        raise Refused("that play does not count")
    if len(command.results) > SLOTS:
        raise Invalid("results", f"at most {SLOTS}", len(command.results))
    values = _values(turn.match, command.results)
    best = values[0][1] if values else 0
    if best <= 0 or (len(values) > 1 and values[1][1] == best):
        turn.tell(RoundTied(values, command.started_at_ms))
        return
    side = values[0][0]
    names = {result.user_id: result.name for result in command.results}
    name = side_name(turn.match, side) if has_teams(turn.match) else names[side]
    points = scrim.points_of(side) + 1
    turn.tell(PointWon(side, name, points, values, command.started_at_ms))
    _few_sides(turn)
    if points >= scrim.needed:
        _win(turn, side, name)


def _values(match: Match, results: tuple[Result, ...]) -> Values:
    """(side, sum) of every side, best first."""
    parts: defaultdict[int, list[float]] = defaultdict(list)
    for result in results:
        side = result.team if has_teams(match) else result.user_id
        if side:
            parts[side].append(result.value if math.isfinite(result.value) else 0)
    values = [(side, math.fsum(value)) for side, value in parts.items()]
    return tuple(sorted(values, key=lambda one: (-one[1], one[0])))


def _win(turn: Turn, side: int, name: str) -> None:
    scrim = _running(turn)
    turn.tell(ScrimWon(side, name, scrim.points))
    turn.tell(ScrimEnded(scrim.best_of, scrim.points))


def _few_sides(turn: Turn) -> None:
    if len(_running(turn).points) > SIDES_MAX:
        raise Refused("too many players have points")


def _running(turn: Turn) -> Scrim:
    if turn.match.scrim is None:
        raise Refused("no scrim runs")
    return turn.match.scrim


def _load_pool(turn: Turn, command: LoadPool) -> None:
    within("pool_id", command.pool_id, 2**31 - 1, 1)
    turn.tell(PoolLoaded(command.pool_id, command.name))


def _unload_pool(turn: Turn, command: UnloadPool) -> None:
    _loaded(turn)
    turn.tell(PoolUnloaded(turn.match.pool_name))


def _pick(turn: Turn, command: Pick) -> None:
    _loaded(turn)
    between_plays(turn)
    pick = pick_name(command.pick)
    if pick in turn.match.banned_picks:
        raise Refused("that pick is banned")
    if pick in turn.match.used_picks:
        if not command.force:
            raise Refused("that was picked already")
    elif len(turn.match.used_picks) >= PICKS_MAX:
        raise Refused("too many were picked")
    choice = chosen(command.map_id, command.map_md5, command.map_name)
    if choice is None:
        raise Invalid("map_id", "a map's id", command.map_id)
    turn.tell(PickUsed(pick))
    choose_map(turn, choice, command.mode)
    # Tag modes have no free mods; the pick's map is played there without.
    choose_mods(turn, command.mods, free_mods=command.free_mods and turn.match.team_type not in TAG_TYPES)


def _ban_pick(turn: Turn, command: BanPick) -> None:
    _loaded(turn)
    pick = pick_name(command.pick)
    if pick in turn.match.banned_picks:
        raise Refused("that pick is banned already")
    if len(turn.match.banned_picks) >= PICKS_MAX:
        raise Refused("too many are banned")
    turn.tell(PickBanned(pick))


def _unban_pick(turn: Turn, command: UnbanPick) -> None:
    _loaded(turn)
    pick = pick_name(command.pick)
    if pick not in turn.match.banned_picks:
        raise Refused("that pick is not banned")
    turn.tell(PickUnbanned(pick))


def _loaded(turn: Turn) -> None:
    if not turn.match.pool_id:
        raise Refused("no pool is loaded")


RULES: Final[Rules] = {
    BeginScrim: _begin,
    EndScrim: _end,
    Rematch: _rematch,
    SetPoints: _set_points,
    RoundScored: _round_scored,
    LoadPool: _load_pool,
    UnloadPool: _unload_pool,
    Pick: _pick,
    BanPick: _ban_pick,
    UnbanPick: _unban_pick,
}

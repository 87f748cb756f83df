"""The results of games: rows in order, totals of teams, the winner, and the standing of a match. Pure functions."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from kiai.multiplayer.history import ACCURACY, COMBO, Game, GameScore, MatchEvent
from kiai.multiplayer.model import BLUE, RED, TEAM_TYPES_WITH_TEAMS
from kiai.osu.accuracy import HitCounts, accuracy
from kiai.osu.grades import grade

SCRIM_EVENTS: Final = ("scrim_began", "scrim_won", "scrim_ended", "point_won", "point_taken", "points_set")
"""The kinds of events from which `scrim_standing` follows."""


class PlayerResult(msgspec.Struct, frozen=True):
    """A player's result in a game. `value` is what the win condition compares. `acc` is in percent."""

    score: GameScore
    acc: float
    grade: str
    value: float


class TeamTotal(msgspec.Struct, frozen=True):
    """The sum of the values of the players of a team who passed. `team` is `BLUE` or `RED`."""

    team: int
    value: float
    passed: int


class GameResult(msgspec.Struct, frozen=True):
    """A game with its rows, best first, those who failed last.

    `teams` is empty in modes without teams. `winner` is a team or, without teams, a user id; it is 0 after a tie
    and while the game runs. `margin` is the difference to the second side.
    """

    game: Game
    rows: list[PlayerResult]
    teams: list[TeamTotal]
    winner: int
    margin: float


class ScrimStanding(msgspec.Struct, frozen=True):
    """The last scrim of a match. A side is a team or a user id. `winner` is 0 while it runs, or without a winner."""

    best_of: int
    points: dict[int, int]
    winner: int
    running: bool


def result_of(game: Game, scores: Iterable[GameScore]) -> GameResult:
    """Return the result of a game. Aborted games have no winner (docs/spec/multiplayer.md#scrims)."""
    rows = sorted(
        (_row(game, score) for score in scores), key=lambda row: (not row.score.passed, -row.value, row.score.slot)
    )
    passed = [row for row in rows if row.score.passed]
    if game.team_type in TEAM_TYPES_WITH_TEAMS:
        teams = [_total(team, passed) for team in (BLUE, RED)]
        sides = [(team.value, team.team) for team in teams]
    else:
        teams = []
        sides = [(row.value, row.score.user_id) for row in passed]
    sides.sort(reverse=True)
    winner, margin = 0, 0.0
    if not game.aborted and game.ended_at_ms is not None and len(sides) > 1 and sides[0][0] > sides[1][0]:
        winner, margin = sides[0][1], sides[0][0] - sides[1][0]
    return GameResult(game, rows, teams, winner, margin)


def _row(game: Game, score: GameScore) -> PlayerResult:
    counts = HitCounts(score.n300, score.n100, score.n50, score.ngeki, score.nkatu, score.nmiss)
    acc = accuracy(counts, game.mode, score.mods)
    value = acc if game.win_condition == ACCURACY else score.max_combo if game.win_condition == COMBO else score.score
    return PlayerResult(score, acc, grade(counts, game.mode, score.mods, passed=bool(score.passed)), float(value))


def _total(team: int, passed: Sequence[PlayerResult]) -> TeamTotal:
    values = [row.value for row in passed if row.score.team == team]
    # fsum is exact, so that two teams with the same values tie whatever their order.
    return TeamTotal(team, math.fsum(values), len(values))


def maps_won(results: Iterable[GameResult]) -> dict[int, int]:
    """Return the number of games that each team has won: {BLUE: n, RED: m}, {} without games of teams."""
    with_teams = [result for result in results if result.teams]
    won = Counter(result.winner for result in with_teams)
    return {team: won[team] for team in (BLUE, RED)} if with_teams else {}


def scrim_standing(events: Iterable[MatchEvent]) -> ScrimStanding | None:
    """Return the last scrim of a match from its events, oldest first, or None without a scrim."""
    standing: ScrimStanding | None = None
    for event in events:
        details = msgspec.json.decode(event.details, type=dict[str, object])
        if event.kind == "scrim_began":
            best_of = details["best_of"]
            assert isinstance(best_of, int)
            standing = ScrimStanding(best_of, {}, 0, running=True)
        elif standing is None:
            continue  # the events before were not recorded
        elif event.kind == "scrim_ended":
            standing = msgspec.structs.replace(standing, running=False)
        else:
            side, points = details["side"], details["points"]
            assert isinstance(side, int)
            if event.kind == "scrim_won":
                standing = msgspec.structs.replace(standing, winner=side)
            else:
                assert isinstance(points, int)
                standing = msgspec.structs.replace(standing, points={**standing.points, side: points})
    return standing

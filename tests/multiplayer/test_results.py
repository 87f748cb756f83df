"""The results of games: order, totals, winners, and the last scrim."""

from typing import Any

import msgspec

from kiai.multiplayer.history import Game, GameScore, MatchEvent
from kiai.multiplayer.model import BLUE, RED, TEAM_VS
from kiai.multiplayer.results import maps_won, result_of, scrim_standing

SCORE, ACCURACY, COMBO = 0, 1, 2


def a_game(**fields: Any) -> Game:
    values = {
        "id": 1,
        "map_id": 75,
        "map_md5": "0" * 32,
        "map_name": "A - B [C]",
        "mode": 0,
        "mods": 0,
        "win_condition": SCORE,
        "team_type": TEAM_VS,
        "free_mods": 0,
        "started_at_ms": 1,
        "ended_at_ms": 2,
        "aborted": 0,
    }
    return msgspec.convert(values | fields, Game)


def a_score(user_id: int, **fields: Any) -> GameScore:
    values = {
        "game_id": 1,
        "user_id": user_id,
        "slot": user_id,
        "team": BLUE,
        "mods": 0,
        "score": 1_000,
        "max_combo": 10,
        "n300": 10,
        "n100": 0,
        "n50": 0,
        "ngeki": 0,
        "nkatu": 0,
        "nmiss": 0,
        "passed": 1,
        "perfect": 0,
    }
    return msgspec.convert(values | fields, GameScore)


def an_event(kind: str, **details: Any) -> MatchEvent:
    return MatchEvent(1, 0, kind, 0, msgspec.json.encode(details).decode())


def test_players_who_failed_come_last_and_do_not_count_for_their_team() -> None:
    found = result_of(
        a_game(),
        [a_score(3, score=100), a_score(4, score=900, passed=0), a_score(5, score=300, team=RED)],
    )

    assert [row.score.user_id for row in found.rows] == [5, 3, 4]
    assert [(total.team, total.value, total.passed) for total in found.teams] == [(BLUE, 100, 1), (RED, 300, 1)]
    assert (found.winner, found.margin) == (RED, 200)
    assert [row.grade for row in found.rows] == ["X", "X", "F"]


def test_win_condition_decides_the_order() -> None:
    scores = [a_score(3, score=900, max_combo=5, n100=5), a_score(4, score=100, max_combo=9, team=RED)]

    by_combo = result_of(a_game(win_condition=COMBO), scores)
    by_accuracy = result_of(a_game(win_condition=ACCURACY), scores)

    assert (by_combo.winner, by_combo.margin) == (RED, 4)
    assert by_accuracy.winner == RED
    assert [row.score.user_id for row in by_accuracy.rows] == [4, 3]


def test_player_wins_where_there_are_no_teams() -> None:
    found = result_of(a_game(team_type=0), [a_score(3, score=1), a_score(4, score=5)])

    assert (found.teams, found.winner, found.margin) == ([], 4, 4)


def test_tie_abort_and_running_game_have_no_winner() -> None:
    scores = [a_score(3), a_score(4, team=RED)]

    assert result_of(a_game(), scores).winner == 0
    assert result_of(a_game(aborted=1), [a_score(3), a_score(4, team=RED, score=5)]).winner == 0
    assert result_of(a_game(ended_at_ms=None), []).winner == 0


def test_maps_won_are_counted_for_games_of_teams() -> None:
    red = result_of(a_game(), [a_score(3, score=1), a_score(4, team=RED, score=5)])
    alone = result_of(a_game(team_type=0), [a_score(3, score=1), a_score(4, score=5)])

    assert maps_won([red, red, alone]) == {BLUE: 0, RED: 2}
    assert maps_won([alone]) == {}


def test_last_scrim_follows_from_its_events() -> None:
    found = scrim_standing(
        [
            an_event("scrim_began", best_of=3, at_ms=1),
            an_event("scrim_ended", best_of=3, points=[]),
            an_event("scrim_began", best_of=5, at_ms=2),
            an_event("point_won", side=BLUE, name="Blue", points=1),
            an_event("point_won", side=RED, name="Red", points=1),
            an_event("point_taken", side=RED, name="Red", points=0),
            an_event("points_set", side=BLUE, name="Blue", points=3),
            an_event("scrim_won", side=BLUE, name="Blue", points=[[BLUE, 3]]),
            an_event("scrim_ended", best_of=5, points=[[BLUE, 3]]),
        ]
    )

    assert found is not None
    assert (found.best_of, found.points, found.winner, found.running) == (5, {BLUE: 3, RED: 0}, BLUE, False)
    assert scrim_standing([an_event("point_won", side=BLUE, name="Blue", points=1)]) is None

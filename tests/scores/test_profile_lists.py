"""Lists of profiles and rankings: plays by month, all scores, top plays, countries, filters and places."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select, update
from tests.builders import NOW_MS, World, a_map, a_play, a_player

from kiai.beatmaps import MapStatus
from kiai.osu.mods import DT, HD, HR, NC, board_key
from kiai.scores.countries import ACTIVE_MS, CountryTotals
from kiai.scores.history import DAY_MS, RANKS_ON_DAY
from kiai.scores.months import month_of, month_text
from kiai.scores.player_scores import SORTS, ScoreFilters
from kiai.scores.rankings import SORTS as RANKING_SORTS
from kiai.staff import OPERATOR
from kiai.storage.port import Command
from kiai.storage.tables import month_plays, stats


def at(year: int, month: int, day: int = 1) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp() * 1000)


# --- months


def test_months_end_with_the_present_one_and_have_no_gaps(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    for when in (at(2020, 1), at(2022, 5), at(2022, 5, 31), at(2023, 12)):
        world.record(a_play(by=alice, on=song, at_ms=when))

    found = world.run(world.profiles.months_of(alice, 0, at(2023, 12, 31)))

    assert len(found) == 24
    assert month_text(found[0][0]) == "2022-01"
    assert month_text(found[-1][0]) == "2023-12"
    assert {month_text(month): plays for month, plays in found if plays} == {"2022-05": 2, "2023-12": 1}
    assert world.run(world.profiles.months_of(alice, 1, NOW_MS)) == []


def test_rebuild_counts_the_same_months(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    for when in (at(2022, 1) - 1, at(2022, 1), at(2022, 1, 31), at(2024, 2, 29), at(2024, 3)):
        world.record(a_play(by=alice, on=song, at_ms=when, passed=when % 2 == 0))
    recorded = sorted(world.look(select(month_plays)))
    assert [(month, plays) for _, _, month, plays in recorded] == [
        (month_of(at(2021, 12)), 1),
        (month_of(at(2022, 1)), 2),
        (month_of(at(2024, 2)), 1),
        (month_of(at(2024, 3)), 1),
    ]

    world.run(world.database.transaction(lambda tx: tx.run(WRONG_MONTHS)))
    assert any("2024-02" in problem for problem in world.problems())
    world.run(world.rebuilder.everything())

    assert sorted(world.look(select(month_plays))) == recorded
    assert world.problems() == []


WRONG_MONTHS = Command(update(month_plays).values(plays=9))


# --- all scores of a player


@pytest.fixture
def played(world: World) -> tuple[int, list[int]]:
    """A player and the ids of scores on two maps."""
    alice = world.add_player(a_player())
    songs = [world.add_map(a_map(n + 1)) for n in range(2)]
    plays = (
        {"on": songs[0], "score": 5_000, "pp": 10, "at_ms": at(2021, 3)},
        {"on": songs[0], "score": 4_000, "pp": 30, "mods": HD, "n100": 40, "at_ms": at(2021, 6)},
        {"on": songs[1], "score": 9_000, "pp": 20, "mods": NC | DT, "at_ms": at(2022, 1)},
        {"on": songs[1], "score": 9_000, "pp": 20, "passed": False, "at_ms": at(2022, 2)},
    )
    return alice, [world.record(a_play(by=alice, **play)).score_id for play in plays]  # type: ignore[arg-type]


@pytest.mark.parametrize("sort", SORTS)
def test_scores_are_sorted_and_read_in_pages(world: World, played: tuple[int, list[int]], sort: str) -> None:
    alice, ids = played
    read = world.showcase.player_scores.page
    everything = [row.score for row in world.run(read(alice, 0, sort=sort, limit=50))]
    column = {"date": "id", "pp": "pp", "score": "score", "acc": "acc"}[sort]

    paged: list[int] = []
    while rows := world.run(read(alice, 0, sort=sort, limit=1, cursor=paged[-1] if paged else 0)):
        paged += [row.score.id for row in rows]

    values = [(getattr(score, column), score.id) for score in everything]
    assert values == sorted(values, reverse=True)
    assert paged == [score.id for score in everything]
    assert sorted(paged) == ids


@pytest.mark.parametrize(
    ("filters", "places"),
    [
        (ScoreFilters(grade="F"), [3]),
        (ScoreFilters(mods_key=board_key(HD)), [1]),
        (ScoreFilters(mods_key=board_key(DT)), [2]),
        (ScoreFilters(mods_key=0), [0, 3]),
        (ScoreFilters(status=0), [3]),
        (ScoreFilters(status=2), [0, 1, 2]),
        (ScoreFilters(year=2021), [0, 1]),
        (ScoreFilters(year=2022, status=2), [2]),
        (ScoreFilters(text="no such title"), []),
        (ScoreFilters(text="100%"), []),
        (ScoreFilters(text="\0"), []),
    ],
)
def test_filters_select_scores(
    world: World, played: tuple[int, list[int]], filters: ScoreFilters, places: list[int]
) -> None:
    alice, ids = played

    for sort in SORTS:
        rows = world.run(world.showcase.player_scores.page(alice, 0, sort=sort, filters=filters, limit=50))
        assert sorted(row.score.id for row in rows) == [ids[place] for place in places]


def test_text_finds_a_part_of_the_title_in_any_case(world: World, played: tuple[int, list[int]]) -> None:
    alice, ids = played
    title = world.run(world.showcase.player_scores.page(alice, 0, limit=1))[0].beatmap.title

    rows = world.run(
        world.showcase.player_scores.page(alice, 0, filters=ScoreFilters(text=title[1:].upper()), limit=50)
    )

    assert set(ids[2:]) <= {row.score.id for row in rows}


# --- top plays


def top(world: World, **more: object) -> list[int]:
    found = world.run(world.showcase.top_plays.page(0, limit=50, **more))  # type: ignore[arg-type]
    paged: list[int] = []
    while rows := world.run(world.showcase.top_plays.page(0, limit=1, cursor=paged[-1] if paged else 0, **more)):  # type: ignore[arg-type]
        paged += [row.score.id for row in rows]
    assert paged == [row.score.id for row in found]
    return paged


def test_top_plays_are_best_plays_on_maps_that_give_pp(world: World) -> None:
    songs = [world.add_map(a_map(n + 1)) for n in range(2)]
    loved = world.add_map(a_map(8), MapStatus.LOVED)
    alice, bob = world.add_player(a_player()), world.add_player(a_player("bob", country="de"))
    worse = world.record(a_play(by=alice, on=songs[0], pp=100)).score_id
    best = world.record(a_play(by=alice, on=songs[0], pp=300, mods=HD)).score_id
    second = world.record(a_play(by=bob, on=songs[0], pp=200, mods=HD)).score_id
    equal = world.record(a_play(by=bob, on=songs[1], pp=200, mods=HR)).score_id
    world.record(a_play(by=bob, on=loved, pp=900))

    assert top(world) == [best, second, equal]
    assert worse not in top(world)
    assert top(world, country="de") == [second, equal]
    assert top(world, mods_key=board_key(HD)) == [best, second]
    assert top(world, mods_key=board_key(HD), country="de") == [second]
    assert top(world, unique=True) == [best, equal]
    assert top(world, unique=True, country="de") == [equal]
    row = world.run(world.showcase.top_plays.page(0, limit=1))[0]
    assert (row.player.name, row.beatmap.id) == ("alice", songs[0].id)

    world.run(world.restrictions.restrict(OPERATOR, "alice", "because"))
    assert top(world) == [second, equal]
    assert top(world, unique=True) == [second, equal]


# --- countries


def test_totals_of_countries_count_visible_ranked_players(world: World) -> None:
    song = world.add_map(a_map())
    names = (("alice", "nl"), ("bob", "nl"), ("carl", "de"), ("dora", "fr"))
    ids = {name: world.add_player(a_player(name, country=country)) for name, country in names}
    for name, pp, when in (("alice", 100, NOW_MS), ("bob", 50, NOW_MS - ACTIVE_MS - 1), ("carl", 10, NOW_MS)):
        world.record(a_play(by=ids[name], on=song, score=1_000, pp=pp, at_ms=when))
    total = {name: world.stats(ids[name]).pp for name in ("alice", "bob", "carl")}

    world.run(world.showcase.countries.refresh())
    assert world.run(world.showcase.countries.board(0)) == [
        CountryTotals("nl", 2, 1, 2, 2_000, total["alice"] + total["bob"]),
        CountryTotals("de", 1, 1, 1, 1_000, total["carl"]),
    ]
    assert world.run(world.showcase.countries.board(1)) == []

    world.run(world.restrictions.restrict(OPERATOR, "carl", "because"))
    world.run(world.showcase.countries.refresh())

    assert [row.country for row in world.run(world.showcase.countries.board(0))] == ["nl"]


# --- rankings


def test_active_ranking_leaves_out_old_players(world: World) -> None:
    song = world.add_map(a_map())
    players = [world.add_player(a_player(f"player{n}", country="de" if n % 2 else "nl")) for n in range(6)]
    for n, player in enumerate(players):
        age_ms = ACTIVE_MS + 1 if n in (0, 3) else 0
        world.record(a_play(by=player, on=song, pp=100 - n, score=9_000 - n, at_ms=NOW_MS - age_ms))
    since = NOW_MS - ACTIVE_MS

    for sort in RANKING_SORTS:
        for country in (None, "de"):
            rows = world.run(world.rankings.page(0, sort, country=country, active_since_ms=since, limit=50)).read()
            expected = [p for n, p in enumerate(players) if n not in (0, 3) and (country is None or n % 2)]
            assert [row.player_id for row in rows] == expected
            assert world.run(world.rankings.count(0, sort, country, since)) == len(expected)
            for place, player in enumerate(expected, 1):
                found = world.rankings.place_of(player, 0, sort, country=country, active_since_ms=since)
                assert world.run(found) == place


def test_place_is_the_position_in_the_page(world: World) -> None:
    song = world.add_map(a_map())
    players = [world.add_player(a_player(f"player{n}", country="de" if n % 2 else "nl")) for n in range(5)]
    for n, player in enumerate(players):
        world.record(a_play(by=player, on=song, pp=100 - n // 2, score=9_000 - n // 2))
    world.run(world.restrictions.restrict(OPERATOR, "player1", "because"))

    for sort in RANKING_SORTS:
        for country in (None, "nl", "de"):
            rows = world.run(world.rankings.page(0, sort, country=country, limit=50)).read()
            places = [world.run(world.rankings.place_of(row.player_id, 0, sort, country=country)) for row in rows]
            assert places == list(range(1, len(rows) + 1))
            assert [world.run(world.rankings.line_of(row.player_id, 0, sort, country=country)) for row in rows] == rows
    assert world.run(world.rankings.line_of(players[1], 0, "pp")) is None
    assert world.run(world.rankings.line_of(players[0], 0, "pp", country="de")) is None
    assert world.run(world.rankings.line_of(players[0], 1, "pp")) is None


def test_ranking_of_friends_contains_the_player(world: World) -> None:
    song = world.add_map(a_map())
    players = [world.add_player(a_player(f"player{n}", country="de" if n % 2 else "nl")) for n in range(5)]
    for n, player in enumerate(players):
        world.record(a_play(by=player, on=song, pp=100 - n, score=9_000 - n))
    for friend in (players[0], players[3], players[4]):
        world.run(world.relationships.befriend(players[2], friend))
    world.run(world.relationships.block(players[2], players[1]))
    world.run(world.restrictions.restrict(OPERATOR, "player4", "because"))

    for sort in RANKING_SORTS:
        rows = world.run(world.rankings.among_friends(players[2], 0, sort))
        assert [row.player_id for row in rows] == [players[0], players[2], players[3]]
    abroad = world.run(world.rankings.among_friends(players[2], 0, "pp", country="de"))
    assert [row.player_id for row in abroad] == [players[3]]


def test_rank_by_ranked_score_is_not_the_rank_by_pp(world: World) -> None:
    song = world.add_map(a_map())
    alice, bob = world.add_player(a_player()), world.add_player(a_player("bob"))
    world.record(a_play(by=alice, on=song, pp=90, score=1_000))
    world.record(a_play(by=bob, on=song, pp=10, score=2_000))
    world.run(world.outbox.deliver())

    assert world.run(world.ranks.of_mode(alice, 0)).rank == 1
    assert world.run(world.ranks.by_ranked_score(alice, 0)).rank == 2
    assert set(world.run(world.ranks.of(alice))) == {0}
    by_pp, by_score = world.run(world.ranks.in_both_lists(bob))
    assert (by_pp[0].rank, by_score[0].rank) == (2, 1)
    world.run(world.restrictions.restrict(OPERATOR, "bob", "because"))
    world.run(world.outbox.deliver())
    assert world.run(world.ranks.by_ranked_score(alice, 0)).rank == 1
    assert world.run(world.ranks.by_ranked_score(bob, 0)).rank == 0


def test_ranks_of_yesterday_are_those_of_one_day(world: World) -> None:
    song = world.add_map(a_map())
    players = [world.add_player(a_player(f"player{n}")) for n in range(3)]
    for n, player in enumerate(players[:2]):
        world.record(a_play(by=player, on=song, pp=100 - n))
    world.run(world.outbox.deliver())
    world.run(world.showcase.history.save_day())
    assert world.run(world.showcase.history.yesterday(players, 0)) == {}

    world.clock.advance(DAY_MS // 1000)
    found = world.run(world.showcase.history.yesterday(players, 0))

    assert {user_id: rank.rank for user_id, rank in found.items()} == {players[0]: 1, players[1]: 2}
    assert RANKS_ON_DAY.scans is None


def test_latest_play_is_kept_when_an_older_one_is_imported(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())

    world.record(a_play(by=alice, on=song, at_ms=NOW_MS))
    world.record(a_play(by=alice, on=song, at_ms=NOW_MS - 1_000_000))

    assert world.look(select(stats.c.last_play_ms)) == [(NOW_MS,)]
    assert world.problems() == []


# --- followers and names


def test_followers_are_the_visible_players_with_the_friend(world: World) -> None:
    alice, bob, carl = (world.add_player(a_player(name)) for name in ("alice", "bob", "carl"))
    for follower in (bob, carl):
        world.run(world.relationships.befriend(follower, alice))
    world.run(world.relationships.block(alice, bob))
    assert world.run(world.relationships.followers(alice)) == 2
    assert world.run(world.relationships.followers(bob)) == 0

    world.run(world.restrictions.restrict(OPERATOR, "bob", "because"))

    assert world.run(world.relationships.followers(alice)) == 1

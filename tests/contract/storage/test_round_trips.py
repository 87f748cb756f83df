"""The round trips to PostgreSQL that the transaction of a play takes, and those under the lock on its map."""

from pathlib import Path
from typing import Any, cast

import pytest
from tests.builders import Run, World, a_map, a_play, a_player

from kiai.scores.model import Play, RanksBefore
from kiai.storage.port import Database
from kiai.storage.postgres import PostgresDatabase

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

USUAL_MAX = 6
"""BEGIN with the lock on the player, the reads, the former bests with the stats, the score, the rest with the map,
COMMIT."""
UNDER_THE_LOCK_MAX = 2


@pytest.fixture
def world(database: Database, run: Run, tmp_path: Path) -> World:
    return World(database, run, tmp_path)


def statements_of(world: World, play: Play, ranks: RanksBefore | None = None) -> list[str]:
    """Record a play and return the texts that were sent, each in a round trip of its own."""
    pool = cast(PostgresDatabase, world.database)._pool
    sent: list[str] = []

    def note(logged: Any) -> None:
        sent.append(logged.query)

    async def scenario() -> None:
        connection = await pool.acquire()
        connection.add_query_logger(note)
        await pool.release(connection)
        await world.recorder.record(play, ranks=ranks or RanksBefore(), answered=True)
        connection = await pool.acquire()
        connection.remove_query_logger(note)
        await pool.release(connection)

    world.run(scenario())
    assert sent[0].startswith("BEGIN; SELECT"), sent
    assert sent[-1] == "COMMIT", sent
    return sent


def under_the_lock(sent: list[str]) -> int:
    """Return the number of statements from the one that locks the map to the commit."""
    return len(sent) - next(at for at, text in enumerate(sent) if "UPDATE maps" in text)


def ready(world: World) -> tuple[int, int, Any]:
    """Return two players who have played a map, and the map. The first one holds the place and the record."""
    alice, bob, song = world.add_player(a_player()), world.add_player(a_player("bob")), world.add_map(a_map())
    world.record(a_play(by=alice, on=song, score=5_000, pp=90))
    world.record(a_play(by=bob, on=song, score=1_000, pp=50))
    return alice, bob, song


def test_better_pass(world: World) -> None:
    _, bob, song = ready(world)

    sent = statements_of(world, a_play(by=bob, on=song, score=2_000, pp=60))

    assert (len(sent) <= USUAL_MAX, under_the_lock(sent)) == (True, UNDER_THE_LOCK_MAX), sent
    assert world.problems() == []


def test_pass_that_takes_the_first_place(world: World) -> None:
    _, bob, song = ready(world)

    sent = statements_of(world, a_play(by=bob, on=song, score=6_000, pp=80))

    assert (len(sent) <= USUAL_MAX, under_the_lock(sent)) == (True, UNDER_THE_LOCK_MAX), sent
    assert world.problems() == []


def test_pass_that_is_no_best(world: World) -> None:
    _, bob, song = ready(world)

    sent = statements_of(world, a_play(by=bob, on=song, score=500, pp=10), RanksBefore(pp_on_map=50))

    assert (len(sent) <= USUAL_MAX - 1, under_the_lock(sent)) == (True, UNDER_THE_LOCK_MAX), sent


def test_fail(world: World) -> None:
    _, bob, song = ready(world)

    sent = statements_of(world, a_play(by=bob, on=song, passed=False))

    assert (len(sent) <= USUAL_MAX - 1, under_the_lock(sent)) == (True, UNDER_THE_LOCK_MAX), sent


def test_first_pass_on_a_map_takes_its_place(world: World) -> None:
    _, bob, _ = ready(world)
    other = world.add_map(a_map(id=2))

    sent = statements_of(world, a_play(by=bob, on=other, pp=20))

    assert (len(sent) <= USUAL_MAX, under_the_lock(sent)) == (True, UNDER_THE_LOCK_MAX), sent
    assert world.problems() == []

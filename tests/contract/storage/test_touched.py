"""Values that are kept under a mark are never stale, although any process may commit at any moment."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Final

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import bindparam, select, update
from tests.builders import Run, World, a_map, a_play, a_player

from kiai.storage import touched
from kiai.storage.port import Command, Database, Query, Transaction, scalar
from kiai.storage.sqlite import SqliteDatabase
from kiai.storage.tables import maps, scores, stats, users

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # PostgreSQL has no marks

ACTS: Final = ("own", "own, not resolved yet", "own, rolled back", "of another process", "of another subject", "none")
VALUE: Final = Query(select(users.c.language).where(users.c.id == bindparam("player")), scalar)
SET: Final = Command(update(users).where(users.c.id == bindparam("player")).values(language=bindparam("new_value")))

Step = tuple[str, int, bool]


class Kept:
    """Keeps a value of each player for as long as the database says that it is untouched."""

    def __init__(self, database: SqliteDatabase, players: list[int]) -> None:
        self.database = database
        self.players = players
        self.other = sqlite3.connect(database.path, isolation_level=None)
        self.hits = 0
        self._values: dict[int, tuple[str | None, int]] = {}
        self._serial = 0

    async def take(self, step: Step) -> None:
        """Commit, and compare what is kept with the database. `begun`: the snapshot begins before the commit."""
        act, player, begun = step
        await asyncio.sleep(0)  # the end of the snapshot before
        writing = None
        if act == "own, not resolved yet":
            writing = asyncio.create_task(self._write(player))
            await asyncio.sleep(0)
        if begun:
            await self.database.one(VALUE, player=player)
        if act == "of another process":
            self._serial += 1
            self.other.execute("UPDATE users SET language = ? WHERE id = ?", (str(self._serial), player))
        elif act == "of another subject":
            await self._write(self.players[0])
        elif writing is not None:
            while self._committed(player) != str(self._serial):  # the event loop is busy meanwhile
                pass
        elif act != "none":
            await self._write(player, fails=act == "own, rolled back")
        await self._compare_and_keep()
        if writing is not None:
            await writing

    async def _write(self, player: int, *, fails: bool = False) -> None:
        self._serial += 1
        value = str(self._serial)

        async def body(tx: Transaction) -> None:
            await tx.run(SET, player=player, new_value=value)
            if fails:
                raise LookupError

        with contextlib.suppress(LookupError):
            await self.database.transaction(body)

    def _committed(self, player: int) -> object:
        return self.other.execute("SELECT language FROM users WHERE id = ?", (player,)).fetchone()[0]

    async def _compare_and_keep(self) -> None:
        for player in self.players:
            value, mark = self._values.get(player, (None, None))
            is_untouched = mark is not None and self.database.is_untouched((player,), mark)
            present = await self.database.one(VALUE, player=player)
            if is_untouched:
                self.hits += 1
                assert value == present, player
            elif (new := self.database.mark()) is not None:
                self._values[player] = present, new


@pytest.fixture
def sqlite(database: Database) -> SqliteDatabase:
    assert isinstance(database, SqliteDatabase)
    return database


@pytest.fixture
def world(sqlite: SqliteDatabase, run: Run, tmp_path: Path) -> World:
    return World(sqlite, run, tmp_path)


def test_nothing_that_is_kept_is_stale(sqlite: SqliteDatabase, world: World) -> None:
    players = [world.add_player(a_player(name)) for name in ("alice", "bob", "carla")]
    steps = st.tuples(st.sampled_from(ACTS), st.sampled_from(players), st.booleans())
    hits = 0

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(steps, min_size=5, max_size=30))
    def check(taken: list[Step]) -> None:
        nonlocal hits
        kept = Kept(sqlite, players)
        with contextlib.closing(kept.other):
            for step in taken:
                world.run(kept.take(step))
        hits += kept.hits

    check()
    assert hits > 200


async def settled(database: SqliteDatabase) -> None:
    database.mark()
    await asyncio.sleep(0)


async def mark_of(database: SqliteDatabase) -> int | None:
    return database.mark()


async def is_untouched(database: SqliteDatabase, subject: int | str, mark: int) -> bool:
    return database.is_untouched((subject,), mark)


def test_a_play_touches_its_player_and_its_map_only(sqlite: SqliteDatabase, world: World) -> None:
    alice, bob = (world.add_player(a_player(name)) for name in ("alice", "bob"))
    song, other = world.add_map(a_map(1)), world.add_map(a_map(2))
    world.run(settled(sqlite))
    mark = world.run(mark_of(sqlite))
    assert mark is not None

    world.record(a_play(by=alice, on=song))

    found = [world.run(is_untouched(sqlite, subject, mark)) for subject in (alice, song.md5, bob, other.md5)]
    assert found == [False, False, True, True]


@pytest.mark.parametrize(
    "change",
    [
        update(maps).values(status=4),
        update(maps).values(title="another"),
        update(users).values(name="another", safe_name="another").where(users.c.safe_name == "alice"),
        update(scores).values(user_id=1),
        update(stats).values(user_id=1).where(stats.c.mode == 0),
    ],
)
def test_a_change_that_may_concern_any_subject_touches_everything(
    sqlite: SqliteDatabase, world: World, change: object
) -> None:
    alice, bob = (world.add_player(a_player(name)) for name in ("alice", "bob"))
    world.record(a_play(by=alice, on=world.add_map(a_map(1))))
    world.run(settled(sqlite))
    mark = world.run(mark_of(sqlite))
    assert mark is not None

    world.change(change)

    assert not world.run(is_untouched(sqlite, bob, mark))


def test_subjects_have_a_bound(sqlite: SqliteDatabase, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob, carla = (world.add_player(a_player(name)) for name in ("alice", "bob", "carla"))
    monkeypatch.setattr(touched, "REMEMBERED_MAX", 1)
    world.run(settled(sqlite))
    mark = world.run(mark_of(sqlite))
    assert mark is not None

    for player in (alice, bob):
        world.change(SET.statement, player=player, new_value="de")
        world.run(settled(sqlite))

    assert not world.run(is_untouched(sqlite, carla, mark))
    assert len(sqlite._touched._numbers) == 1

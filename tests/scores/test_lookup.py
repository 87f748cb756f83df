"""Lists of scores and of players by filters: their content on both engines, and their cost."""

import random
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, combinations
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import Table, bindparam, insert, select, update
from sqlalchemy.dialects import sqlite as sqlite_dialect
from tests import engines
from tests.builders import World, a_map, a_play, a_player
from tests.conftest import Run

from kiai.accounts import listing as accounts_listing
from kiai.accounts.model import User
from kiai.beatmaps import Beatmap
from kiai.osu.modes import MODES
from kiai.osu.privileges import Privilege
from kiai.scores import lookup
from kiai.scores.lookup import ScoreLookup
from kiai.staff import OPERATOR
from kiai.storage.compiling import Compiler
from kiai.storage.port import Command, Query, Transaction, Value
from kiai.storage.sqlite import SqliteDatabase
from kiai.storage.tables import scores, users

SEEN: Final = int(Privilege.UNRESTRICTED | Privilege.VERIFIED)
MODS: Final = (0, 8, 72)


def subsets(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield every combination of names, including the empty one."""
    return chain.from_iterable(combinations(names, n) for n in range(len(names) + 1))


def rows(count: int, user_ids: list[int], map_keys: list[int], *, start: int = 0) -> list[dict[str, Any]]:
    """Return score rows of every kind: different players, maps, modes and mods; failed, passed, best and hidden."""
    chance = random.Random(count)
    made: list[dict[str, Any]] = []
    best: set[tuple[int, int, int]] = set()
    for n in range(start, start + count):
        one = chance.choice(map_keys), chance.choice(MODES), chance.choice(user_ids)
        passed = chance.random() < 0.7
        is_best = passed and one not in best and chance.random() < 0.5
        if is_best:
            best.add(one)
        made.append(
            dict.fromkeys(
                ("max_combo", "n300", "n100", "n50", "nmiss", "ngeki", "nkatu", "score", "pp", "acc", "time_elapsed"),
                1,
            )
            | {"map_key": one[0], "mode": one[1], "user_id": one[2], "mods": chance.choice(MODS), "mods_key": 0}
            | {"grade": "A", "passed": int(passed), "best_pp": int(is_best), "hidden": int(chance.random() < 0.1)}
            | {"play_time_ms": n, "checksum": n.to_bytes(16, "big")}
        )
    return made


def add_rows(world: World, table: Table, made: list[dict[str, Any]]) -> None:
    """Insert rows that all have the same columns."""
    command = Command(insert(table).values({name: bindparam(name) for name in made[0]}))

    async def body(tx: Transaction) -> None:
        await tx.run_many(command, made)

    world.run(world.database.transaction(body))


class Listed:
    """A world with scores of every kind, and their rows."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.maps = [world.add_map(a_map(n + 1)) for n in range(3)]
        self.players = [world.add_player(a_player(name)) for name in ("alice", "bob", "carol", "hidden")]
        world.change(update(users).where(users.c.id == self.players[3]).values(priv=0))
        add_rows(world, scores, rows(300, self.players, [one.key for one in self.maps]))
        names = ("id", "map_key", "mode", "user_id", "mods", "passed", "best_pp", "best_score", "hidden")
        self.rows = [
            dict(zip(names, row, strict=True)) for row in world.look(select(*[scores.c[name] for name in names]))
        ]

    def expected(self, filters: Mapping[str, Value]) -> list[int]:
        """Return the ids of the scores that match, newest first."""
        key = {one.md5: one.key for one in self.maps}

        def fits(row: dict[str, int]) -> bool:
            status = 2 if row["best_pp"] or row["best_score"] else row["passed"]
            have = {**row, "status": status}
            return (
                not row["hidden"]
                and row["user_id"] != self.players[3]
                and all(
                    key.get(str(value)) == row["map_key"] if name == "map_md5" else have[name] == value
                    for name, value in filters.items()
                )
            )

        return sorted((row["id"] for row in self.rows if fits(row)), reverse=True)


def test_every_combination_of_filters_lists_the_matching_scores_newest_first(world: World) -> None:
    made = Listed(world)
    lists = ScoreLookup(world.database)
    values: dict[str, Value] = {
        "map_md5": made.maps[1].md5,
        "mods": 72,
        "status": 2,
        "mode": 0,
        "user_id": made.players[1],
    }

    for names in subsets(lookup.FILTERS):
        filters = {name: values[name] for name in names}
        expected = made.expected(filters)
        found, total = world.run(lists.page(filters, limit=7))
        assert [one.score.id for one in found] == expected[:7], names
        assert total == len(expected), names
        later, _ = world.run(lists.page(filters, limit=5, offset=4))
        assert [one.score.id for one in later] == expected[4:9], names
        if len(expected) > 2:
            behind, _ = world.run(lists.page(filters, limit=5, before=expected[1]))
            assert [one.score.id for one in behind] == expected[2:7], names


def test_filters_without_a_match_list_nothing(world: World) -> None:
    Listed(world)
    lists = ScoreLookup(world.database)

    for filters in ({"map_md5": "0" * 32}, {"mods": 1}, {"user_id": 999}, {"mods": 1, "mode": 3, "status": 0}):
        assert world.run(lists.page(filters, limit=7)) == ([], 0)


def test_every_combination_of_filters_lists_the_matching_players(world: World) -> None:
    ids = [world.add_player(a_player(f"player{n}", country=("nl", "de")[n % 2])) for n in range(24)]
    for n, id_ in enumerate(ids):
        world.change(
            update(users)
            .where(users.c.id == id_)
            .values(
                priv=(SEEN, SEEN | int(Privilege.SUPPORTER), 0)[n % 3],
                clan_id=(0, 1)[n % 4 < 2],
                clan_priv=(0, 1, 0, 3)[n % 4],
                preferred_mode=n % 2,
                play_style=(0, 5)[n % 5 < 3],
            )
        )
    everybody = [User(*row) for row in world.look(select(*[users.c[name] for name in User.__struct_fields__]))]
    choices: dict[str, tuple[Value, Value]] = {
        "priv": (SEEN, SEEN | int(Privilege.SUPPORTER)),
        "country": ("nl", "de"),
        "clan_id": (0, 1),
        "clan_priv": (0, 3),
        "preferred_mode": (0, 1),
        "play_style": (0, 5),
    }
    hits = 0

    for names in subsets(accounts_listing.FILTERS):
        for at in (0, 1):
            filters = {name: choices[name][at] for name in names}
            expected = sorted(
                one.id
                for one in everybody
                if one.priv & SEEN == SEEN and all(getattr(one, name) == value for name, value in filters.items())
            )
            found, total = world.run(world.accounts.listed(filters, limit=3))
            behind, _ = world.run(world.accounts.listed(filters, limit=3, after=expected[0] if expected else 0))
            assert ([one.id for one in found], total) == (expected[:3], len(expected)), filters
            assert [one.id for one in behind] == expected[1:4], filters
            hits += len(expected)
    assert hits > 100


# --- cost


SQL: Final = Compiler(sqlite_dialect.dialect(paramstyle="named"))
Count = Callable[[Query[Any], dict[str, Value]], int]


@pytest.fixture
def grown(run: Run, tmp_path: Path) -> Iterator[tuple[World, Count]]:
    """A world on SQLite, and a function that counts the steps of SQLite's virtual machine for a statement."""
    with engines.fresh("sqlite", tmp_path) as url:
        database = run(engines.connect(url))
        assert isinstance(database, SqliteDatabase)
        plain = sqlite3.connect(database.path)
        try:
            yield World(database, run, tmp_path), lambda query, params: steps(plain, query, params)
        finally:
            plain.close()
            run(database.close())


def steps(plain: sqlite3.Connection, query: Query[Any], params: Mapping[str, Value]) -> int:
    """Return the number of steps of SQLite's virtual machine, in units of 10."""
    taken = 0

    def count() -> int:
        nonlocal taken
        taken += 1
        return 0

    plain.set_progress_handler(count, 10)
    try:
        plain.execute(SQL[query].text, params).fetchall()
    finally:
        plain.set_progress_handler(None, 0)
    return taken


def test_cost_of_a_score_list_does_not_depend_on_scores_of_others(grown: tuple[World, Count]) -> None:
    world, cost = grown
    beatmap: Beatmap = world.add_map(a_map(1))
    other: Beatmap = world.add_map(a_map(2))
    alice, bob = world.add_player(a_player("alice")), world.add_player(a_player("bob"))
    values: dict[str, Value] = {"map_md5": beatmap.md5, "mods": 64, "status": 1, "mode": 8, "user_id": alice}
    page: dict[str, Value] = {"before": 2**62, "limit": 51, "offset": 0, "reach": 51}
    before: dict[tuple[str, ...], tuple[int, int]] = {}

    for start, count in ((0, 500), (500, 4_000)):
        # None of these match: failed scores of another player on another map, without these mods.
        made = rows(count, [bob], [other.key], start=start)
        add_rows(world, scores, [{**one, "passed": 0, "best_pp": 0, "hidden": 0, "mode": 0} for one in made])
        for names in subsets(lookup.FILTERS):
            if not names:
                continue
            filters = {name: values[name] for name in names}
            now = (
                cost(lookup._PAGES[frozenset(names)], {**filters, **page}),
                cost(lookup._COUNTS[frozenset(names)], {**filters, "most": 10_000}),
            )
            was = before.setdefault(names, now)
            assert all(new <= 2 * old + 20 for new, old in zip(now, was, strict=True)), (names, was, now)


def test_cost_of_a_player_list_does_not_depend_on_players_who_do_not_match(grown: tuple[World, Count]) -> None:
    world, cost = grown
    values: dict[str, Value] = {
        "priv": SEEN | int(Privilege.SUPPORTER),
        "country": "jp",
        "clan_id": 1,
        "clan_priv": 2,
        "preferred_mode": 8,
        "play_style": 5,
    }
    page: dict[str, Value] = {"after": 0, "limit": 51, "offset": 0}
    before: dict[tuple[str, ...], tuple[int, int]] = {}

    for start, count in ((0, 300), (300, 3_000)):
        crowd = [
            {"name": f"p{n}", "safe_name": f"p{n}", "email": f"{n}@x", "priv": SEEN, "created_at_ms": 0}
            | {"active_at_ms": 0, "userpage_content": "long" * 100}
            for n in range(start, start + count)
        ]
        add_rows(world, users, crowd)
        for names in subsets(accounts_listing.FILTERS):
            if not names:
                continue
            filters = {name: values[name] for name in names}
            which = accounts_listing.choose(filters)
            now = (
                cost(accounts_listing.PAGES[which], {**filters, **page}),
                cost(accounts_listing.COUNTS[which], {**filters, "most": 10_000}),
            )
            was = before.setdefault(names, now)
            assert all(new <= 2 * old + 20 for new, old in zip(now, was, strict=True)), (names, was, now)


def test_hidden_scores_are_found_among_others(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    hidden, shown = [world.record(a_play(by=alice, on=song, score=score)).score_id for score in (2, 1)]
    world.run(world.wipes.hide_score(OPERATOR, hidden, "because"))

    found = world.run(ScoreLookup(world.database).hidden_among([hidden, shown, 99]))

    assert found == {hidden}

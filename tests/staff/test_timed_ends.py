"""Sanctions that ran out while no server ran: all of them end in one run, and one bad account stops no other."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest
from sqlalchemy import bindparam, func, insert, select, update
from tests.builders import DEVELOPER, NORMAL, World, a_map, a_play, a_player
from tests.pausing import Pause, PausingDatabase

from kiai.accounts import sanctions
from kiai.osu.privileges import DONATOR, UNRESTRICTED, Privilege
from kiai.staff import OPERATOR
from kiai.staff.audit import broken_links
from kiai.staff.timed_ends import TimedEnds
from kiai.storage.port import Command, Database, Transaction
from kiai.storage.tables import audit_log, outbox, tasks, users

HIDDEN = NORMAL & ~UNRESTRICTED


def add_many(world: World, count: int, **columns: Any) -> list[int]:
    """Insert accounts."""
    first = 1 + max(id_ for (id_,) in world.look(select(users.c.id)))
    rows = [
        {
            "id": number,
            "name": f"player {number}",
            "safe_name": f"player_{number}",
            "email": f"{number}@example.org",
            "country": "nl",
            "created_at_ms": 1,
            "active_at_ms": 1,
            **columns,
        }
        for number in range(first, first + count)
    ]
    command = Command(insert(users).values({name: bindparam(name) for name in rows[0]}))

    async def body(tx: Transaction) -> None:
        await tx.run_many(command, rows)

    world.run(world.database.transaction(body))
    return list(range(first, first + count))


def left(world: World, column: Any) -> int:
    [(count,)] = world.look(select(func.count()).select_from(users).where(column > 0))
    return int(count)


def rows_of(world: World) -> dict[str, int]:
    counted = select(audit_log.c.action, func.count()).where(audit_log.c.source == "job").group_by(audit_log.c.action)
    return dict(world.look(counted))


def test_everything_that_is_due_ends_in_one_run(world: World) -> None:
    now = world.clock.now_ms()
    count = 2 * sanctions.DUE_MAX + 1
    restricted = add_many(world, count, priv=HIDDEN, restricted_until_ms=now)
    frozen = add_many(world, 3, priv=NORMAL, freeze_until_ms=now - 1)
    donors = add_many(world, 3, priv=NORMAL | int(DONATOR), donor_until_ms=now - 2)
    later = add_many(world, 1, priv=HIDDEN, restricted_until_ms=now + 1)

    assert world.run(world.timed_ends.run()) == count + 6

    assert {world.user(id_).priv for id_ in (*restricted, *donors)} == {NORMAL}
    assert {world.user(id_).priv for id_ in (*frozen, *later)} == {HIDDEN}
    assert left(world, users.c.restricted_until_ms) == 1
    assert left(world, users.c.freeze_until_ms) == left(world, users.c.donor_until_ms) == 0
    assert rows_of(world) == {"unrestrict": count, "restrict": 3, "donor_end": 3}
    assert world.run(broken_links(world.database)) == []
    for kind, number in (("privileges", count + 6), ("ranks", count + 3), ("sanction", count + 6), ("bot_lines", 3)):
        [(found,)] = world.look(select(func.count()).select_from(outbox).where(outbox.c.kind == kind))
        assert found == number, kind
    assert world.look(select(func.count()).select_from(tasks)) == [(count + 3,)]
    assert world.run(world.timed_ends.run()) == 0


def test_the_scores_of_a_player_are_visible_again(world: World) -> None:
    alice = world.add_player(a_player())
    song = world.add_map(a_map())
    world.record(a_play(by=alice, on=song))
    world.run(world.restrictions.restrict(OPERATOR, alice, "because", seconds=60))
    world.reconcile()
    world.clock.advance(60)
    assert world.board(song) == []

    world.run(world.timed_ends.run())
    world.reconcile()
    world.run(world.outbox.deliver())

    assert len(world.board(song)) == 1
    assert world.problems() == []


class Faulty:
    """A database on which a batch fails as soon as it contains one of these accounts."""

    def __init__(self, database: Database, *user_ids: int) -> None:
        self._database = database
        self._user_ids = user_ids

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def transaction(self, body: Any, *, long: bool = False) -> Any:
        async def faulty(tx: Transaction) -> Any:
            return await body(_FaultyTransaction(tx, self._user_ids))

        return await self._database.transaction(faulty, long=long)


class _FaultyTransaction:
    def __init__(self, tx: Transaction, user_ids: tuple[int, ...]) -> None:
        self._tx = tx
        self._user_ids = user_ids

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    async def run_many(self, command: Command, rows: list[Mapping[str, Any]]) -> None:
        if any(row.get("of_user") in self._user_ids for row in rows):
            raise ValueError("a row that cannot be changed")
        await self._tx.run_many(command, rows)


@pytest.mark.parametrize("kind", ["restricted_until_ms", "freeze_until_ms", "donor_until_ms"])
def test_an_account_with_a_fault_does_not_keep_the_others(world: World, kind: str) -> None:
    now = world.clock.now_ms()
    ids = add_many(world, 5, priv=NORMAL | int(DONATOR), **{kind: now})
    database = cast(Database, Faulty(world.database, ids[0], ids[2]))
    ends = TimedEnds(database, world.accounts, world.standing, world.clock)

    assert world.run(ends.run()) == 3

    assert left(world, users.c[kind]) == 2
    assert sum(rows_of(world).values()) == 3
    assert world.run(ends.run()) == 0
    assert world.run(world.timed_ends.run()) == 2


def test_an_act_of_staff_at_the_same_time_wins(world: World) -> None:
    alice = world.add_player(a_player())
    world.run(world.restrictions.restrict(OPERATOR, alice, "because", seconds=60))
    world.clock.advance(60)
    pause = Pause(world.database, sanctions.SET_STANDING)
    paused = World(cast(Database, PausingDatabase(pause)), world.run, world.folder)

    async def interleaved() -> int:
        banning = asyncio.create_task(paused.restrictions.ban(OPERATOR, alice, "again"))
        await pause.reached(banning)
        ending = asyncio.create_task(world.timed_ends.run())
        await pause.until_stuck(ending)
        pause.go()
        await banning
        return await ending

    assert world.run(interleaved()) == 0
    assert (world.user(alice).priv, rows_of(world)) == (HIDDEN, {})


def test_of_several_developers_whose_freezes_run_out_one_keeps_the_role(world: World) -> None:
    ids = [world.add_player(a_player(name, priv=DEVELOPER)) for name in ("root", "boss")]
    world.change(update(users).where(users.c.id.in_(ids)).values(freeze_until_ms=1))

    assert world.run(world.timed_ends.run()) == 2

    active = int(Privilege.DEVELOPER | Privilege.UNRESTRICTED)
    assert len([id_ for id_ in ids if world.user(id_).priv & active == active]) == 1
    assert rows_of(world) == {"restrict": 1, "unfreeze": 1}

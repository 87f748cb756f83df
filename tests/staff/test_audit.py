"""The audit log is a chain of rows. The doctor finds each break in it."""

import asyncio

import pytest
from sqlalchemy import delete, func, insert, literal, select, text, true, update
from sqlalchemy.sql import Executable
from tests.builders import World

from kiai.staff import OPERATOR, audit
from kiai.storage.port import Command, Query, Transaction, scalar
from kiai.storage.tables import audit_head, audit_log

LOG = audit_log.c
OTHERS = [column for column in audit_log.columns if column.name not in ("id", "reason")]


def write(world: World, rows: int) -> None:
    async def body(tx: Transaction) -> None:
        for number in range(rows):
            await audit.write(tx, OPERATOR, "note", at_ms=number, target_kind="user", target_id=3, reason=f"n {number}")

    world.run(world.database.transaction(body))


def change(world: World, *statements: Executable, with_triggers: bool = True) -> None:
    """Run statements. Without triggers only as the owner of the database could."""
    off: list[Executable] = []
    if not with_triggers and is_sqlite(world):
        off = [text(f"DROP TRIGGER audit_log_no_{act}") for act in ("update", "delete")]

    async def body(tx: Transaction) -> None:
        if not with_triggers and not is_sqlite(world):
            await tx.one(Query(select(func.set_config("session_replication_role", "replica", true())), scalar))
        for statement in off:
            await tx.run(Command(statement))
        for statement in statements:
            await tx.run(Command(statement))

    world.run(world.database.transaction(body))


def ids(world: World) -> list[int]:
    return [row.id for row in world.run(world.database.all(audit.AFTER, after=0))]


def problems(world: World) -> list[str]:
    return world.run(audit.broken_links(world.database))


def test_each_row_carries_the_hash_of_the_row_before_it(world: World) -> None:
    write(world, 3)

    rows = world.run(world.database.all(audit.AFTER, after=0))

    assert [row.id for row in rows] == [1, 2, 3]
    previous = "0" * 64
    for row in rows:
        assert row.hash == audit.chained_hash(previous, row)
        previous = row.hash
    assert world.look(select(audit_head.c.last_id, audit_head.c.hash)) == [(3, previous)]
    assert problems(world) == []


def test_rows_of_writers_at_once_form_one_chain(world: World) -> None:
    async def body(tx: Transaction) -> None:
        await audit.write(tx, OPERATOR, "note", at_ms=1, target_kind="user", target_id=3)

    async def all_at_once() -> None:
        await asyncio.gather(*(world.database.transaction(body) for _ in range(20)))

    world.run(all_at_once())

    assert ids(world) == list(range(1, 21))
    assert problems(world) == []


def test_act_that_fails_leaves_no_gap(world: World) -> None:
    async def body(tx: Transaction) -> None:
        await audit.write(tx, OPERATOR, "note", at_ms=1, target_kind="user", target_id=3)
        raise RuntimeError

    write(world, 1)
    with pytest.raises(RuntimeError):
        world.run(world.database.transaction(body))
    write(world, 1)

    assert ids(world) == [1, 2]
    assert problems(world) == []


def test_text_with_nul_does_not_break_the_chain(world: World) -> None:
    async def body(tx: Transaction) -> None:
        await audit.write(tx, OPERATOR, "report", at_ms=1, target_kind="user", target_id=3, reason="a\0b")

    world.run(world.database.transaction(body))

    assert problems(world) == []


@pytest.mark.parametrize("statement", [update(audit_log).values(reason="x"), delete(audit_log)])
def test_rows_cannot_be_changed_or_deleted(world: World, statement: Executable) -> None:
    write(world, 2)

    with pytest.raises(Exception, match="append-only"):
        change(world, statement)

    assert ids(world) == [1, 2]


def is_sqlite(world: World) -> bool:
    return type(world.database).__name__.lower().startswith("sqlite")


TAMPERED = {
    "changed": ([update(audit_log).where(LOG.id == 3).values(reason="better")], 3),
    "newest changed": ([update(audit_log).where(LOG.id == 5).values(actor_id=7)], 5),
    "first removed": ([delete(audit_log).where(LOG.id == 1)], 2),
    "middle removed": ([delete(audit_log).where(LOG.id == 3)], 4),
    "tail cut": ([delete(audit_log).where(LOG.id >= 4)], 5),
    "emptied": ([delete(audit_log)], 5),
    "inserted": (
        [
            insert(audit_log).from_select(
                ["id", "reason", *(column.name for column in OTHERS)],
                select(literal(6), literal("forged"), *OTHERS).where(LOG.id == 5),
            )
        ],
        6,
    ),
    "swapped": ([update(audit_log).where(LOG.id == old).values(id=new) for old, new in ((2, 99), (3, 2), (99, 3))], 2),
    "head": ([update(audit_head).values(last_id=4)], 5),
}


@pytest.mark.parametrize(("statements", "row_id"), TAMPERED.values(), ids=TAMPERED)
def test_doctor_names_the_first_row_that_does_not_fit(world: World, statements: list[Executable], row_id: int) -> None:
    write(world, 5)

    change(world, *statements, with_triggers=False)

    [what] = [problem.what for problem in world.run(world.doctor.examine()).problems if problem.invariant == "I14"]
    assert what.startswith(f"audit row {row_id} ")

"""Small statements on real tables, for the tests of the storage contract."""

from typing import Any, Final

import msgspec
from sqlalchemy import bindparam, delete, func, insert, select, update

from kiai.storage.port import Command, Database, Query, Transaction, columns_for, scalar
from kiai.storage.tables import counters, old_names, users


class Counter(msgspec.Struct, frozen=True):
    """A row of `counters`."""

    name: str
    value: int


VALUE: Final = Query(select(counters.c.value).where(counters.c.name == bindparam("name")), scalar)
COUNTERS: Final = Query(select(*columns_for(Counter, counters)).order_by(counters.c.name.desc()), Counter)
PAGE: Final = Query(
    select(counters.c.name).order_by(counters.c.name).limit(bindparam("limit")).offset(bindparam("offset")), scalar
)
TOTAL: Final[Query[Any]] = Query(select(func.coalesce(func.sum(counters.c.value), 0)), int)
USER_IDS: Final = Query(select(users.c.id).order_by(users.c.id), scalar)

ADD: Final = Command(insert(counters))
COUNT: Final = Command(
    update(counters)
    .where(counters.c.name == bindparam("of"))
    .values(value=counters.c.value + bindparam("by", type_=counters.c.value.type))
)
COUNT_ALL: Final = Command(update(counters).values(value=counters.c.value + 1))
REMOVE_BELOW: Final = Command(delete(counters).where(counters.c.value < bindparam("below")))
ADD_USER: Final = Query(
    insert(users)
    .values(
        name=bindparam("name"), safe_name=bindparam("name"), email=bindparam("email"), created_at_ms=0, active_at_ms=0
    )
    .returning(users.c.id),
    scalar,
)
REMOVE_USER: Final = Command(delete(users).where(users.c.id == bindparam("user_id")))
ADD_OLD_NAME: Final = Command(
    insert(old_names).values(user_id=bindparam("user_id"), name="old", safe_name="old", released_at_ms=0)
)


async def add(database: Database, **values: int) -> None:
    """Commit counters with these names and values."""

    async def body(tx: Transaction) -> None:
        await tx.run_many(ADD, [{"name": name, "value": value} for name, value in values.items()])

    await database.transaction(body)


async def count(database: Database, name: str, by: int = 1) -> int:
    """Increment a counter in its own transaction. Return the number of changed rows."""

    async def body(tx: Transaction) -> int:
        return await tx.run(COUNT, of=name, by=by)

    return await database.transaction(body)


async def add_user(database: Database, name: str) -> int:
    """Commit an account. Return its id."""

    async def body(tx: Transaction) -> int | None:
        return await tx.one(ADD_USER, name=name, email=f"{name}@example.com")

    added = await database.transaction(body)
    assert added is not None
    return added

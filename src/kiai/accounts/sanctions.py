"""The stored state of sanctions and donor time on an account. `staff` checks who may change it, and records it."""

from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, Column, and_, bindparam, or_, select, update

from kiai.accounts.model import User
from kiai.storage.port import Command, Query, columns_for
from kiai.storage.tables import users

DUE_MAX: Final = 250
"""Accounts that one transaction changes."""

_one = users.c.id == bindparam("of_user")
SET_STANDING: Final = Command(
    update(users)
    .where(_one)
    .values(
        {name: bindparam(name) for name in ("priv", "banned_at_ms", "restricted_until_ms", "freeze_until_ms")},
    )
)
SET_DONOR: Final = Command(
    update(users).where(_one).values({name: bindparam(name) for name in ("priv", "donor_until_ms")})
)


class DueEnd(msgspec.Struct, frozen=True):
    """An account and the time at which a sanction or its donor time has run out, in unix ms."""

    end_ms: int
    user_id: int


class Timed:
    """One of the columns of `users` that are the end of something. `due` finds ends, `to_change` locks their accounts.

    Both go through the ends in the order of time and id, from `(after_ms, after_id)` on; `to_change` goes to
    `(last_ms, last_id)`.
    """

    def __init__(self, end: Column[Any]) -> None:
        def after(time: str, user_id: str) -> Any:
            at = bindparam(time, type_=BigInteger())
            return or_(end > at, and_(end == at, users.c.id > bindparam(user_id)))

        # `end > 0` is the condition of the partial index, literally: else the planner cannot use it.
        found = (
            end > 0,
            end <= bindparam("now_ms"),
            after("after_ms", "after_id"),
            users.c.deleted_at_ms.is_(None),
        )
        self.due = Query(select(end, users.c.id).where(*found).order_by(end, users.c.id).limit(DUE_MAX), DueEnd)
        self.to_change = Query(
            select(*columns_for(User, users))
            .where(*found, ~after("last_ms", "last_id"))
            .order_by(end, users.c.id)
            .limit(DUE_MAX)
            .with_for_update(key_share=True),
            User,
        )


RESTRICTIONS: Final = Timed(users.c.restricted_until_ms)
FREEZES: Final = Timed(users.c.freeze_until_ms)
DONOR_TIMES: Final = Timed(users.c.donor_until_ms)

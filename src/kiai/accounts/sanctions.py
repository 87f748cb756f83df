"""The stored state of sanctions and donor time on an account. `staff` checks who may change it, and records it."""

from typing import Any, Final

from sqlalchemy import Column, bindparam, select, update

from kiai.storage.port import Command, Query, scalar
from kiai.storage.tables import users

DUE_MAX: Final = 100

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


def _due(end: Column[Any]) -> Query[int]:
    # The condition of the partial index, literally: else the planner cannot use it.
    return Query(
        select(users.c.id).where(end > 0, end <= bindparam("now_ms")).order_by(end, users.c.id).limit(DUE_MAX), scalar
    )


RESTRICTIONS_DUE: Final = _due(users.c.restricted_until_ms)
FREEZES_DUE: Final = _due(users.c.freeze_until_ms)
DONORS_DUE: Final = _due(users.c.donor_until_ms)
"""Accounts whose timed restriction, freeze or donor time has run out, the longest due first; at most `DUE_MAX`."""

"""Statements that load and count ranks from `stats`."""

from typing import Final

from sqlalchemy import (
    ColumnElement,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
)

from kiai.accounts.visibility import visible
from kiai.storage.port import Lane, Query, scalar
from kiai.storage.tables import (
    stats,
    users,
)

RANK_ENTRIES = Query(
    select(stats.c.user_id, stats.c.mode, stats.c.country, stats.c.pp, stats.c.rscore)
    .select_from(stats.join(users, users.c.id == stats.c.user_id))
    .where(visible(), stats.c.user_id > bindparam("after"))
    .order_by(stats.c.user_id, stats.c.mode)
    .limit(bindparam("limit")),
    lambda *row: row,
    scans="every rank is loaded when the server starts, a page at a time",
)
RANK_ENTRIES_OF = Query(
    select(stats.c.user_id, stats.c.mode, stats.c.country, stats.c.pp, stats.c.rscore, users.c.priv)
    .select_from(stats.join(users, users.c.id == stats.c.user_id))
    .where(stats.c.user_id == bindparam("user_id")),
    lambda *row: row,
)
_other: Final = stats.alias("other")
_whose: Final = users.alias("whose")


def _better(*where: ColumnElement[bool]) -> ColumnElement[int]:
    """Return the number of visible players with a better rank. At equal pp the lower id is ahead, as in the ranking."""
    ahead = or_(_other.c.pp > stats.c.pp, and_(_other.c.pp == stats.c.pp, _other.c.user_id < stats.c.user_id))
    return (
        select(func.count())
        .select_from(_other.join(_whose, _whose.c.id == _other.c.user_id))
        .where(_other.c.mode == stats.c.mode, _other.c.pp > literal_column("0"), ahead, visible(_whose), *where)
        .scalar_subquery()
    )


# Used while shared state is unavailable. Each mode counts the entries of `ix_stats_pp` ahead of the player's, up to all
# players of the mode, so these run in the SLOW lane.
RANKS_COUNTED = Query(
    select(stats.c.mode, _better(), _better(_other.c.country == stats.c.country))
    .select_from(stats.join(users, users.c.id == stats.c.user_id))
    .where(stats.c.user_id == bindparam("user_id"), stats.c.pp > literal_column("0"), visible()),
    lambda mode, better, better_in_country: (mode, better + 1, better_in_country + 1),
    lane=Lane.SLOW,
)
_ranked: Final = (
    select(func.count())
    .select_from(stats.join(users, users.c.id == stats.c.user_id))
    .where(stats.c.mode == bindparam("mode"), stats.c.pp > literal_column("0"), visible())
)
RANKED_COUNTED = Query(_ranked, scalar, lane=Lane.SLOW)
RANKED_IN_COUNTRY_COUNTED = Query(_ranked.where(stats.c.country == bindparam("country")), scalar, lane=Lane.SLOW)

"""Expressions that several modules of statements use."""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    and_,
    bindparam,
    case,
    cast,
    func,
)

from kiai.storage.tables import (
    maps,
    scores,
    stats,
)

WEIGHTED_MAX: Final = 1_000  # later bests have a weight below 0.95^1000, and the official bonus stops growing there
scores_and_maps: Final = scores.join(maps, maps.c.key == scores.c.map_key)


def named(*names: str) -> dict[str, Any]:
    """Return a parameter for each column, with the name of the column."""
    return {name: bindparam(name) for name in names}


# UPDATE statements reserve the names of the columns that they set, so parameters of conditions have other names.
these_stats: Final = and_(stats.c.user_id == bindparam("player_id"), stats.c.mode == bindparam("in_mode"))

players_in_range: Final = scores.c.user_id.between(bindparam("first"), bindparam("last"))


def sum_where(value: Any, where: ColumnElement[bool]) -> ColumnElement[Any]:
    """Return the sum of `value` over the rows that fulfil `where`, 0 if there are no such rows."""
    # PostgreSQL gives the sum of 64-bit integers the type numeric, which arrives as Decimal.
    return cast(func.coalesce(func.sum(case((where, value), else_=0)), 0), BigInteger)


COUNTED_GRADES: Final = {"xh_count": "XH", "x_count": "X", "sh_count": "SH", "s_count": "S", "a_count": "A"}

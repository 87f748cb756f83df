"""Rankings: the players of a mode, worldwide or of one country, sorted by one of `SORTS`.

They can be limited to active players, who played the mode in the last 90 days, or to a player and the player's friends.
"""

import time
from typing import Any, Final

from sqlalchemy import ColumnElement, Integer, Select, String, bindparam, literal_column, or_, select

from kiai.accounts.visibility import visible, with_clan
from kiai.scores.listing_parts import LISTED_MAX, count_of, lane_of_page, paged
from kiai.scores.model import Ranked
from kiai.storage.families import Family
from kiai.storage.patterns import unindexed
from kiai.storage.port import Database, Lane, Query, RawRows, Value, rows_of
from kiai.storage.tables import clans, relationships, stats, users

COUNTS_MAX: Final = 1_024
"""Number of totals in the cache."""
COUNTED_EVERY_S: Final = 60.0
"""Age at which a total is counted again. PERF: counting takes up to 10 ms, and every play may change the total."""

FRIENDS_MAX: Final = 500

SORTS = ("pp", "tscore", "rscore", "acc", "plays", "playtime")
_ranked = select(
    users.c.id,
    users.c.name,
    users.c.country,
    *[stats.c[name] for name in Ranked.__struct_fields__[3:15]],
    clans.c.id,
    clans.c.name,
    clans.c.tag,
).select_from(with_clan(stats.join(users, users.c.id == stats.c.user_id)))


def _ranking(sort: str, *where: ColumnElement[bool]) -> Query[Ranked]:
    # `> 0` as a literal is the condition of the partial indexes `ix_stats_{sort}` and `ix_stats_country_{sort}`.
    return Query(
        paged(
            _ranked.where(
                stats.c.mode == bindparam("mode"), stats.c[sort] > literal_column("0"), visible(), *where
            ).order_by(stats.c[sort].desc(), stats.c.user_id)
        ),
        Ranked,
    )


_IN_COUNTRY: Final = stats.c.country == bindparam("country")
_ACTIVE: Final = stats.c.last_play_ms >= bindparam("since_ms")
# The friends lead: at most 500 of them, each with one row of `stats`.
_AMONG_FRIENDS: Final = stats.c.user_id.in_(
    select(relationships.c.target_id)
    .where(relationships.c.user_id == bindparam("user_id"), relationships.c.kind == literal_column("1"))
    .union_all(select(bindparam("user_id", type_=Integer())))
)


def _friends(sort: str) -> Query[Ranked]:
    column = stats.c[sort]
    return Query(
        _ranked.where(
            _AMONG_FRIENDS,
            stats.c.mode == bindparam("mode"),
            unindexed(column) > literal_column("0"),
            or_(bindparam("country", type_=String()).is_(None), unindexed(stats.c.country) == bindparam("country")),
            visible(),
        )
        .order_by(column.desc(), stats.c.user_id)
        .limit(FRIENDS_MAX + 1),
        Ranked,
        lane=Lane.BOUNDED,
    )


RANKING = Family(SORTS, _ranking)
COUNTRY_RANKING = Family(SORTS, lambda sort: _ranking(sort, _IN_COUNTRY))
# They walk the same indexes and skip the players who are not active; most of the best players are.
ACTIVE_RANKING = Family(SORTS, lambda sort: _ranking(sort, _ACTIVE))
ACTIVE_COUNTRY_RANKING = Family(SORTS, lambda sort: _ranking(sort, _ACTIVE, _IN_COUNTRY))
FRIENDS_RANKING = Family(SORTS, _friends)


def _ranking_count(sort: str, *where: ColumnElement[bool]) -> Query[int]:
    found: Select[Any] = (
        select(literal_column("1"))
        .select_from(stats.join(users, users.c.id == stats.c.user_id))
        .where(stats.c.mode == bindparam("mode"), stats.c[sort] > literal_column("0"), visible(), *where)
        .limit(bindparam("most"))
    )
    # An index of `stats` serves each order, and a site may show many rankings at once: the slow lane refuses the ninth.
    return count_of(found, lane=Lane.BOUNDED)


RANKING_COUNT = Family(SORTS, _ranking_count)
COUNTRY_RANKING_COUNT = Family(SORTS, lambda sort: _ranking_count(sort, _IN_COUNTRY))
ACTIVE_COUNT = Family(SORTS, lambda sort: _ranking_count(sort, _ACTIVE))
ACTIVE_COUNTRY_COUNT = Family(SORTS, lambda sort: _ranking_count(sort, _ACTIVE, _IN_COUNTRY))


def _ahead(sort: str, *where: ColumnElement[bool]) -> Query[int]:
    own = stats.alias("own")
    value = (
        select(own.c[sort])
        .where(own.c.user_id == bindparam("user_id"), own.c.mode == bindparam("mode"))
        .scalar_subquery()
    )
    column = stats.c[sort]
    ahead = or_(column > value, stats.c.user_id < bindparam("user_id"))
    return _ranking_count(sort, column >= value, ahead, *where)


AHEAD = Family(SORTS, _ahead)
AHEAD_IN_COUNTRY = Family(SORTS, lambda sort: _ahead(sort, _IN_COUNTRY))
ACTIVE_AHEAD = Family(SORTS, lambda sort: _ahead(sort, _ACTIVE))
ACTIVE_AHEAD_IN_COUNTRY = Family(SORTS, lambda sort: _ahead(sort, _ACTIVE, _IN_COUNTRY))


def _own_line(sort: str) -> Query[Ranked]:
    return Query(
        _ranked.where(
            stats.c.user_id == bindparam("user_id"),
            stats.c.mode == bindparam("mode"),
            unindexed(stats.c[sort]) > literal_column("0"),
            or_(bindparam("country", type_=String()).is_(None), unindexed(stats.c.country) == bindparam("country")),
            visible(),
        ),
        Ranked,
    )


OWN_LINE = Family(SORTS, _own_line)


class Rankings:
    """Reads rankings."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counts: dict[tuple[int, str, str | None, bool], tuple[float, int]] = {}

    async def page(
        self,
        mode: int,
        sort: str,
        *,
        country: str | None = None,
        active_since_ms: int | None = None,
        limit: int,
        offset: int = 0,
    ) -> RawRows[Ranked]:
        """Return visible players with values above 0, highest first, then by id. `sort` is one of `SORTS`.

        `active_since_ms` leaves out the players whose latest play in the mode is older.
        """
        if active_since_ms is not None:
            query = (ACTIVE_RANKING if country is None else ACTIVE_COUNTRY_RANKING)[sort]
            values: dict[str, Value] = {"mode": mode, "since_ms": active_since_ms, "limit": limit, "offset": offset}
            if country is not None:
                values["country"] = country
            return await rows_of(self._database, lane_of_page(query, offset), **values)
        if country is None:
            return await rows_of(
                self._database,
                lane_of_page(RANKING[sort], offset),
                mode=mode,
                limit=limit,
                offset=offset,
            )
        return await rows_of(
            self._database,
            lane_of_page(COUNTRY_RANKING[sort], offset),
            mode=mode,
            country=country,
            limit=limit,
            offset=offset,
        )

    async def among_friends(self, user_id: int, mode: int, sort: str, *, country: str | None = None) -> list[Ranked]:
        """Return a player and the player's friends, as `page` does; at most 501."""
        return await self._database.all(FRIENDS_RANKING[sort], user_id=user_id, mode=mode, country=country)

    async def line_of(self, user_id: int, mode: int, sort: str, *, country: str | None = None) -> Ranked | None:
        """Return the line of one player, or None if `page` does not list the player."""
        return await self._database.one(OWN_LINE[sort], user_id=user_id, mode=mode, country=country)

    async def place_of(
        self, user_id: int, mode: int, sort: str, *, country: str | None = None, active_since_ms: int | None = None
    ) -> int | None:
        """Return the place of a listed player in `page`, from 1. None if it is behind 10,000 others."""
        values: dict[str, Value] = {"user_id": user_id, "mode": mode, "most": LISTED_MAX}
        if active_since_ms is None:
            query = (AHEAD if country is None else AHEAD_IN_COUNTRY)[sort]
        else:
            query = (ACTIVE_AHEAD if country is None else ACTIVE_AHEAD_IN_COUNTRY)[sort]
            values["since_ms"] = active_since_ms
        if country is not None:
            values["country"] = country
        ahead = await self._database.one(query, **values) or 0
        return ahead + 1 if ahead < LISTED_MAX else None

    async def count(self, mode: int, sort: str, country: str | None = None, active_since_ms: int | None = None) -> int:
        """Return the number of players of `page`, counted up to 10,000. It may be a minute old."""
        key, now_s = (mode, sort, country, active_since_ms is not None), time.monotonic()
        # Removed and inserted again, the key moves to the end of the dict: the first is the least recently used.
        known = self._counts.pop(key, None)
        if known is None or now_s >= known[0] + COUNTED_EVERY_S:
            if active_since_ms is not None:
                query = (ACTIVE_COUNT if country is None else ACTIVE_COUNTRY_COUNT)[sort]
                values: dict[str, Value] = {"mode": mode, "since_ms": active_since_ms, "most": LISTED_MAX}
                if country is not None:
                    values["country"] = country
                count = await self._database.one(query, **values)
            elif country is None:
                count = await self._database.one(RANKING_COUNT[sort], mode=mode, most=LISTED_MAX)
            else:
                query = COUNTRY_RANKING_COUNT[sort]
                count = await self._database.one(query, mode=mode, country=country, most=LISTED_MAX)
            known = (now_s, count or 0)
        self._counts[key] = known
        if len(self._counts) > COUNTS_MAX:
            del self._counts[next(iter(self._counts))]
        return known[1]

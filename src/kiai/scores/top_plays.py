"""Top plays: the best plays of a mode by pp, of all players, with filters by mods and country.

Each list walks an index of its own. Plays on maps that give no pp and plays of hidden players are skipped.
"""

from itertools import product
from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, ColumnElement, and_, bindparam, exists, or_, select

from kiai.accounts.model import Player
from kiai.accounts.visibility import player_columns, visible, with_clan
from kiai.beatmaps.model import MapSummary
from kiai.scores.listing_parts import NOT_HIDDEN, SCORE_WIDTH, SCORES_AND_MAPS, score_columns
from kiai.scores.model import Score
from kiai.scores.rules import MAP_GIVES_PP
from kiai.storage.patterns import unindexed
from kiai.storage.port import Database, Lane, Query, columns_for
from kiai.storage.tables import maps, scores, users

MAP_WIDTH: Final = len(MapSummary.__struct_fields__)


class TopPlay(msgspec.Struct, frozen=True):
    """A play with its map and its player."""

    score: Score
    beatmap: MapSummary
    player: Player


def _top_play(*row: Any) -> TopPlay:
    at = SCORE_WIDTH + MAP_WIDTH
    return TopPlay(Score(*row[:SCORE_WIDTH]), MapSummary(*row[SCORE_WIDTH:at]), Player(*row[at:]))


_better = scores.alias("better")
_whose = users.alias("whose")
_last = scores.alias("last")
# A better play on the same map, by the index of the board by pp.
_beaten: Final = exists(
    select(_better.c.id)
    .select_from(_better.join(_whose, _whose.c.id == _better.c.user_id))
    .where(
        _better.c.map_key == scores.c.map_key,
        _better.c.mode == scores.c.mode,
        _better.c.best_pp == 1,
        _better.c.hidden == 0,
        _better.c.pp >= scores.c.pp,
        or_(_better.c.pp > scores.c.pp, _better.c.id < scores.c.id),
        visible(_whose),
    )
)
_last_pp: Final = select(_last.c.pp).where(_last.c.id == bindparam("cursor")).scalar_subquery()


def _query(mods: bool, country: bool, unique: bool, continued: bool) -> Query[TopPlay]:
    where: list[ColumnElement[bool]] = [
        scores.c.mode == bindparam("mode"),
        scores.c.best_pp == 1,
        NOT_HIDDEN,
        MAP_GIVES_PP,
        visible(),
    ]
    if mods:
        where.append(scores.c.mods_key == bindparam("mods_key"))
    if country:
        # With mods, the index of the mods leads, and the country is only checked.
        column = unindexed(scores.c.country) if mods else scores.c.country
        where.append(column == bindparam("country"))
    if unique:
        where.append(~_beaten)
    if continued:
        # The first condition uses the index, the second decides between equal values.
        after = or_(scores.c.pp < _last_pp, scores.c.id > bindparam("cursor", type_=BigInteger()))
        where.append(and_(scores.c.pp <= _last_pp, after))
    statement = (
        select(*score_columns(), *columns_for(MapSummary, maps), *player_columns())
        .select_from(with_clan(SCORES_AND_MAPS.join(users, users.c.id == scores.c.user_id)))
        .where(*where)
        .order_by(scores.c.pp.desc(), scores.c.id)
        .limit(bindparam("limit"))
    )
    # Filters that may match few of the rows that are read use the slow lane.
    return Query(statement, _top_play, lane=Lane.SLOW if unique or (mods and country) else Lane.BOUNDED)


QUERIES: Final = {flags: _query(*flags) for flags in product((False, True), repeat=4)}


class TopPlays:
    """Reads top plays."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self,
        mode: int,
        *,
        mods_key: int | None = None,
        country: str | None = None,
        unique: bool = False,
        limit: int,
        cursor: int = 0,
    ) -> list[TopPlay]:
        """Return the best plays of visible players by pp, behind the play `cursor`; 0 begins at the top.

        `mods_key` selects plays with exactly these mods, as boards group them. With `unique`, a map is listed once,
        with its best play.
        """
        values: dict[str, Any] = {"mode": mode, "limit": limit}
        if mods_key is not None:
            values["mods_key"] = mods_key
        if country is not None:
            values["country"] = country
        if cursor:
            values["cursor"] = cursor
        query = QUERIES[mods_key is not None, country is not None, unique, cursor != 0]
        return await self._database.all(query, **values)

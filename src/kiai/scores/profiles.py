"""The lists of a profile (best, recent, most played, first places) and its stats in each mode."""

from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, bindparam, func, literal_column, select, union_all

from kiai.beatmaps.model import MapSummary
from kiai.osu.modes import MODES
from kiai.scores.listing_parts import (
    ANY_MODS,
    LISTED_MAX,
    NOT_HIDDEN,
    SCORE_WIDTH,
    SCORES_AND_MAPS,
    ModsFilter,
    count_of,
    lane_of_page,
    mapped,
    paged,
    score_columns,
    with_mods,
)
from kiai.scores.model import MappedScore, PlayedMap, Stats
from kiai.scores.months import MONTHS_SHOWN, month_of
from kiai.scores.rules import MAP_GIVES_PP, MAP_GIVES_PP_OR_IS_LOVED
from kiai.storage.port import Database, Query, RawRows, Subject, columns_for, rows_of, scalar
from kiai.storage.tables import first_places, maps, month_plays, play_counts, scores, stats

_mapped_score = select(*score_columns(), *columns_for(MapSummary, maps)).select_from(SCORES_AND_MAPS)
_best_of = and_(
    scores.c.user_id == bindparam("user_id"),
    scores.c.mode == bindparam("mode"),
    scores.c.best_pp == 1,
    NOT_HIDDEN,
    MAP_GIVES_PP,
)
_best_with_loved = and_(
    scores.c.user_id == bindparam("user_id"),
    scores.c.mode == bindparam("mode"),
    scores.c.best_pp == 1,
    NOT_HIDDEN,
    MAP_GIVES_PP_OR_IS_LOVED,
)
# Served by `ix_scores_best_of`. Its rows have no status of the map, so the join skips maps that do not count.
_best_order = (scores.c.pp.desc(), scores.c.id.desc())
BEST_OF = Query(paged(_mapped_score.where(_best_of, with_mods()).order_by(*_best_order)), mapped)
BEST_OF_WITH_LOVED = Query(paged(_mapped_score.where(_best_with_loved, with_mods()).order_by(*_best_order)), mapped)

# Served by `ix_scores_recent_of`: ids are in the order of recording.
_recent_of = and_(
    scores.c.user_id == bindparam("user_id"),
    scores.c.mode == bindparam("mode"),
    NOT_HIDDEN,
    scores.c.passed >= bindparam("passed_from"),
)
RECENT_OF = Query(
    paged(_mapped_score.where(_recent_of, with_mods()).order_by(scores.c.id.desc())),
    mapped,
)

# The newest plays in any mode: `ix_scores_recent_of` has those of each mode in order. Staff reads them, so hidden ones
# are not left out.
LATEST_MAX = 10


def _newest_ids(mode: int) -> Select[Any]:
    newest = (
        select(scores.c.id)
        .where(scores.c.user_id == bindparam("user_id"), scores.c.mode == literal_column(str(mode)))
        .order_by(scores.c.id.desc())
        .limit(LATEST_MAX)
    )
    return select(newest.subquery().c.id)  # SQLite takes no LIMIT in a part of a UNION


LATEST_OF = Query(
    _mapped_score.where(scores.c.id.in_(union_all(*[_newest_ids(mode) for mode in MODES])))
    .order_by(scores.c.id.desc())
    .limit(LATEST_MAX),
    mapped,
)


def _count(source: Any, where: ColumnElement[bool]) -> Query[int]:
    found: Select[Any] = (
        select(literal_column("1")).select_from(source).where(where, with_mods()).limit(bindparam("most"))
    )
    return count_of(found)


BEST_COUNT = _count(SCORES_AND_MAPS, _best_of)
BEST_WITH_LOVED_COUNT = _count(SCORES_AND_MAPS, _best_with_loved)
RECENT_COUNT = _count(scores, _recent_of)

# `first_places` has rows of visible scores only, so these need no predicate of visibility.
FIRSTS_OF = Query(
    select(*score_columns(), *columns_for(MapSummary, maps))
    .select_from(
        first_places.join(scores, scores.c.id == first_places.c.score_id).join(maps, maps.c.key == scores.c.map_key)
    )
    .where(first_places.c.user_id == bindparam("user_id"), first_places.c.mode == bindparam("mode"))
    .order_by(first_places.c.score_id.desc())
    .limit(bindparam("limit"))
    .offset(bindparam("offset")),
    mapped,
)
FIRSTS_COUNT = Query(
    select(func.count())
    .select_from(first_places)
    .where(first_places.c.user_id == bindparam("user_id"), first_places.c.mode == bindparam("mode")),
    scalar,
)

MOST_PLAYED = Query(
    paged(
        select(
            maps.c.md5,
            maps.c.id,
            maps.c.set_id,
            maps.c.status,
            maps.c.artist,
            maps.c.title,
            maps.c.version,
            maps.c.creator,
            play_counts.c.plays,
        )
        .select_from(play_counts.join(maps, maps.c.key == play_counts.c.map_key))
        .where(play_counts.c.user_id == bindparam("user_id"), play_counts.c.mode == bindparam("mode"))
        .order_by(play_counts.c.plays.desc(), play_counts.c.last_play_ms.desc())
    ),
    PlayedMap,
)

_maps_played: Select[Any] = (
    select(literal_column("1"))
    .select_from(play_counts)
    .where(play_counts.c.user_id == bindparam("user_id"), play_counts.c.mode == bindparam("mode"))
    .limit(bindparam("most"))
)
# PERF: runs on the event loop. 10,000 rows of the primary key take 0.5 ms; under load, a thread takes longer to start.
MOST_PLAYED_COUNT = Query(select(func.count()).select_from(_maps_played.subquery()), scalar)

# The newest entries of the primary key.
MONTHS_OF = Query(
    select(month_plays.c.month, month_plays.c.plays)
    .where(
        month_plays.c.user_id == bindparam("user_id"),
        month_plays.c.mode == bindparam("mode"),
        month_plays.c.month >= bindparam("since"),
    )
    .order_by(month_plays.c.month)
    .limit(MONTHS_SHOWN),
    lambda month, plays: (month, plays),
)

STATS_OF = Query(select(*columns_for(Stats, stats)).where(stats.c.user_id == bindparam("user_id")), Stats)
STATS_IN = Query(
    select(*columns_for(Stats, stats)).where(
        stats.c.user_id == bindparam("user_id"), stats.c.mode == bindparam("mode")
    ),
    Stats,
)


_MAP: Final = SCORE_WIDTH + MapSummary.__struct_fields__.index("md5")


def subjects_of(player_id: int, rows: RawRows[MappedScore]) -> tuple[Subject, ...]:
    """Return the subjects of rows of `best_rows` and `recent_rows`, and of their number."""
    return player_id, *[str(row[_MAP]) for row in rows.raw]


class Profiles:
    """Reads the lists and stats of profiles. Callers check that the player is visible."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def best_of(
        self,
        user_id: int,
        mode: int,
        *,
        limit: int,
        offset: int = 0,
        mods: ModsFilter = ANY_MODS,
        include_loved: bool = False,
    ) -> list[MappedScore]:
        """Return a player's best scores by pp on ranked and approved maps, most pp first, then newest first.

        `include_loved` adds those on loved maps.
        """
        rows = await self.best_rows(user_id, mode, limit=limit, offset=offset, mods=mods, include_loved=include_loved)
        return rows.read()

    async def best_rows(
        self, user_id: int, mode: int, *, limit: int, offset: int, mods: ModsFilter, include_loved: bool
    ) -> RawRows[MappedScore]:
        """Return the rows of `best_of`, unread."""
        query = BEST_OF_WITH_LOVED if include_loved else BEST_OF
        return await rows_of(
            self._database,
            lane_of_page(query, offset, filtered=bool(mods)),
            user_id=user_id,
            mode=mode,
            all_mods=mods.all_of,
            any_mods=mods.any_of,
            limit=limit,
            offset=offset,
        )

    async def best_count(self, user_id: int, mode: int, *, mods: ModsFilter, include_loved: bool) -> int:
        """Return the number of scores of `best_of`. With a filter, they are counted up to 10,000."""
        # PERF: without a filter, the profile has the number as a counter.
        if not mods and not include_loved:
            found = await self.stats_in(user_id, mode)
            return found.bests if found else 0
        query = BEST_WITH_LOVED_COUNT if include_loved else BEST_COUNT
        return (
            await self._database.one(
                query, user_id=user_id, mode=mode, all_mods=mods.all_of, any_mods=mods.any_of, most=LISTED_MAX
            )
            or 0
        )

    async def recent_of(
        self,
        user_id: int,
        mode: int,
        *,
        limit: int,
        offset: int = 0,
        mods: ModsFilter = ANY_MODS,
        include_failed: bool = True,
    ) -> list[MappedScore]:
        """Return a player's scores on any map, newest first."""
        rows = await self.recent_rows(
            user_id, mode, limit=limit, offset=offset, mods=mods, include_failed=include_failed
        )
        return rows.read()

    async def recent_rows(
        self, user_id: int, mode: int, *, limit: int, offset: int, mods: ModsFilter, include_failed: bool
    ) -> RawRows[MappedScore]:
        """Return the rows of `recent_of`, unread."""
        return await rows_of(
            self._database,
            lane_of_page(RECENT_OF, offset, filtered=bool(mods) or not include_failed),
            user_id=user_id,
            mode=mode,
            all_mods=mods.all_of,
            any_mods=mods.any_of,
            passed_from=0 if include_failed else 1,
            limit=limit,
            offset=offset,
        )

    async def latest_of(self, user_id: int) -> list[MappedScore]:
        """Return a player's newest 10 plays in any mode, failed and hidden ones too, for staff."""
        return await self._database.all(LATEST_OF, user_id=user_id)

    async def recent_count(self, user_id: int, mode: int, *, mods: ModsFilter, include_failed: bool) -> int:
        """Return the number of scores of `recent_of`. With a filter, they are counted up to 10,000."""
        # PERF: without a filter, the profile has the number as a counter.
        if not mods and include_failed:
            found = await self.stats_in(user_id, mode)
            return found.plays if found else 0
        return (
            await self._database.one(
                RECENT_COUNT,
                user_id=user_id,
                mode=mode,
                all_mods=mods.all_of,
                any_mods=mods.any_of,
                passed_from=0 if include_failed else 1,
                most=LISTED_MAX,
            )
            or 0
        )

    async def firsts_of(self, user_id: int, mode: int, *, limit: int, offset: int = 0) -> tuple[list[MappedScore], int]:
        """Return a page of a player's first places, newest first, and their total number."""
        rows = await self._database.all(
            lane_of_page(FIRSTS_OF, offset), user_id=user_id, mode=mode, limit=limit, offset=offset
        )
        return rows, await self._database.one(FIRSTS_COUNT, user_id=user_id, mode=mode) or 0

    async def most_played(self, user_id: int, mode: int, *, limit: int, offset: int = 0) -> list[PlayedMap]:
        """Return the maps that a player played most, by number of plays, then by the latest play."""
        return (await self.most_played_rows(user_id, mode, limit=limit, offset=offset)).read()

    async def most_played_rows(self, user_id: int, mode: int, *, limit: int, offset: int) -> RawRows[PlayedMap]:
        """Return the rows of `most_played`, unread."""
        query = lane_of_page(MOST_PLAYED, offset)
        return await rows_of(self._database, query, user_id=user_id, mode=mode, limit=limit, offset=offset)

    async def most_played_count(self, user_id: int, mode: int) -> int:
        """Return the number of maps of `most_played`, counted up to 10,000."""
        return await self._database.one(MOST_PLAYED_COUNT, user_id=user_id, mode=mode, most=LISTED_MAX) or 0

    async def months_of(self, user_id: int, mode: int, now_ms: int) -> list[tuple[int, int]]:
        """Return the plays in each of the last 24 months (`months.month_of`), oldest first, also months without any.

        Empty for a player without plays in them.
        """
        present = month_of(now_ms)
        since = present - MONTHS_SHOWN + 1
        found = dict(await self._database.all(MONTHS_OF, user_id=user_id, mode=mode, since=since))
        return [(month, found.get(month, 0)) for month in range(since, present + 1)] if found else []

    async def stats_rows(self, user_id: int) -> RawRows[Stats]:
        """Return the rows of `stats_of`, unread."""
        return await rows_of(self._database, STATS_OF, user_id=user_id)

    async def stats_of(self, user_id: int) -> list[Stats]:
        """Return a player's stats in each mode that the player has played."""
        return await self._database.all(STATS_OF, user_id=user_id)

    async def stats_in(self, user_id: int, mode: int) -> Stats | None:
        """Return a player's stats in one mode, or None if the player has not played it."""
        return await self._database.one(STATS_IN, user_id=user_id, mode=mode)

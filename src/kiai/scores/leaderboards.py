"""Lists of scores and players: one statement each, whose cost does not grow with the data."""

import time
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec

from kiai.accounts import EVERYBODY, Viewer, can_see
from kiai.accounts.visibility import BOARDS_LOOK
from kiai.beatmaps import Beatmap
from kiai.errors import NotFound
from kiai.scores import queries
from kiai.scores.model import PP_MODES_FROM, BoardScore, MappedScore, PlayedMap, Ranked, Score, Stats
from kiai.storage.port import Database, Lane, Query

R = TypeVar("R")

DEEP: Final = 2_000  # a page behind so many rows is a slow read
LISTED_MAX: Final = 10_000  # a total is counted no further than this
COUNTS_MAX: Final = 1_024  # counts of boards, and of rankings, that are remembered
RANKING_COUNTED_S: Final = 60.0  # PERF: a count takes up to 10 ms, and every play changes what it counts


class ModsWanted(msgspec.Struct, frozen=True):
    """A filter by mods: every bit of `all_of`, and one bit of `any_of` unless that is 0."""

    all_of: int = 0
    any_of: int = 0

    def __bool__(self) -> bool:
        return bool(self.all_of or self.any_of)


ANY_MODS: Final = ModsWanted()


class FoundScore(msgspec.Struct, frozen=True):
    """One score with the md5 of its map and who played it."""

    score: Score
    map_md5: str
    player_name: str


class _Standing(msgspec.Struct, frozen=True):
    id: int
    priv: int


class Leaderboards:
    """What profiles, boards and rankings show. Nothing here changes a row."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # The same statements marked as slow, for pages that make the engine skip many rows.
        self._slow: dict[Query[Any], Query[Any]] = {}
        self._rankings: dict[tuple[int, str, str | None], tuple[float, int]] = {}
        self._counts: dict[tuple[Query[int], int, int, ModsWanted], tuple[tuple[int, int], int]] = {}

    def _at(self, query: Query[R], offset: int, *, filtered: bool = False) -> Query[R]:
        """The query in the lane for its page: one far behind, or with a filter that few rows may fit, is slow."""
        if offset < DEEP and not filtered:
            return query
        return self._slow.setdefault(query, query.at(Lane.SLOW))

    async def best_of(
        self,
        user_id: int,
        mode: int,
        *,
        limit: int,
        offset: int = 0,
        mods: ModsWanted = ANY_MODS,
        include_loved: bool = False,
    ) -> list[MappedScore]:
        """A player's best score by pp on each ranked or approved map, most pp first, then newest."""
        query = queries.BEST_OF_WITH_LOVED if include_loved else queries.BEST_OF
        return await self._database.all(
            self._at(query, offset, filtered=bool(mods)),
            user_id=user_id,
            mode=mode,
            all_mods=mods.all_of,
            any_mods=mods.any_of,
            limit=limit,
            offset=offset,
        )

    async def recent_of(
        self,
        user_id: int,
        mode: int,
        *,
        limit: int,
        offset: int = 0,
        mods: ModsWanted = ANY_MODS,
        include_failed: bool = True,
    ) -> list[MappedScore]:
        """A player's latest scores, newest first, on any map."""
        return await self._database.all(
            self._at(queries.RECENT_OF, offset, filtered=bool(mods) or not include_failed),
            user_id=user_id,
            mode=mode,
            all_mods=mods.all_of,
            any_mods=mods.any_of,
            passed_from=0 if include_failed else 1,
            limit=limit,
            offset=offset,
        )

    async def best_count(self, user_id: int, mode: int, *, mods: ModsWanted, include_loved: bool) -> int:
        """How many scores `best_of` pages through: a counter, or, with a filter, counted up to 10,000."""
        if not mods and not include_loved:
            found = await self.stats_in(user_id, mode)
            return found.bests if found else 0
        query = queries.BEST_WITH_LOVED_COUNT if include_loved else queries.BEST_COUNT
        return (
            await self._database.one(
                query, user_id=user_id, mode=mode, all_mods=mods.all_of, any_mods=mods.any_of, most=LISTED_MAX
            )
            or 0
        )

    async def recent_count(self, user_id: int, mode: int, *, mods: ModsWanted, include_failed: bool) -> int:
        """How many scores `recent_of` pages through: a counter, or, with a filter, counted up to 10,000."""
        if not mods and include_failed:
            found = await self.stats_in(user_id, mode)
            return found.plays if found else 0
        return (
            await self._database.one(
                queries.RECENT_COUNT,
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
        """A player's first places, newest first, and how many there are."""
        rows = await self._database.all(
            self._at(queries.FIRSTS_OF, offset), user_id=user_id, mode=mode, limit=limit, offset=offset
        )
        return rows, await self._database.one(queries.FIRSTS_COUNT, user_id=user_id, mode=mode) or 0

    async def most_played(self, user_id: int, mode: int, *, limit: int, offset: int = 0) -> list[PlayedMap]:
        """A player's maps by number of plays, then by the latest play."""
        return await self._database.all(
            self._at(queries.MOST_PLAYED, offset),
            user_id=user_id,
            mode=mode,
            limit=limit,
            offset=offset,
        )

    async def most_played_count(self, user_id: int, mode: int) -> int:
        """How many maps `most_played` pages through, counted up to 10,000."""
        return await self._database.one(queries.MOST_PLAYED_COUNT, user_id=user_id, mode=mode, most=LISTED_MAX) or 0

    async def board(
        self, map_key: int, mode: int, *, limit: int, offset: int = 0, mods: ModsWanted = ANY_MODS
    ) -> list[BoardScore]:
        """A map's best scores, one a visible player: by score in vanilla modes, by pp in relax and autopilot.

        With `mods`, each player's best among the scores with those mods.
        """
        by_pp = mode >= PP_MODES_FROM
        if mods:
            return await self._database.all(
                self._at(queries.MODS_PP_BOARD if by_pp else queries.MODS_BOARD, offset, filtered=True),
                map_key=map_key,
                mode=mode,
                all_mods=mods.all_of,
                any_mods=mods.any_of,
                limit=limit,
                offset=offset,
            )
        return await self._database.all(
            self._at(queries.PP_BOARD if by_pp else queries.BOARD, offset),
            map_key=map_key,
            mode=mode,
            limit=limit,
            offset=offset,
        )

    async def board_count(self, beatmap: Beatmap, mode: int, *, mods: ModsWanted = ANY_MODS) -> int:
        """How many lines `board` pages through, counted up to 10,000."""
        by_pp = mode >= PP_MODES_FROM
        if mods:
            return await self._counted(queries.MODS_BOARD_COUNT, beatmap, mode, mods)
        return await self._counted(queries.PP_BOARD_COUNT if by_pp else queries.BOARD_COUNT, beatmap, mode, mods)

    async def recent_count_on(self, beatmap: Beatmap, mode: int, *, mods: ModsWanted = ANY_MODS) -> int:
        """How many lines `recent_on` pages through, counted up to 10,000."""
        return await self._counted(queries.BOARD_COUNT, beatmap, mode, mods)

    async def _counted(self, query: Query[int], beatmap: Beatmap, mode: int, mods: ModsWanted) -> int:
        # PERF: a full board takes 10 ms to count, and changes far less often than it is read.
        key = (query, beatmap.key, mode, mods)
        stamp = (beatmap.board_version, await self._database.one(BOARDS_LOOK) or 0)
        known = self._counts.pop(key, None)
        if known is None or known[0] != stamp:
            count = await self._database.one(
                query,
                map_key=beatmap.key,
                mode=mode,
                all_mods=mods.all_of,
                any_mods=mods.any_of,
                most=LISTED_MAX,
            )
            known = (stamp, count or 0)
        self._counts[key] = known  # at the end: what was asked for least lately goes first
        if len(self._counts) > COUNTS_MAX:
            del self._counts[next(iter(self._counts))]
        return known[1]

    async def recent_on(
        self, map_key: int, mode: int, *, limit: int, offset: int = 0, mods: ModsWanted = ANY_MODS
    ) -> list[BoardScore]:
        """The same best scores, latest first."""
        return await self._database.all(
            self._at(queries.RECENT_ON, offset, filtered=bool(mods)),
            map_key=map_key,
            mode=mode,
            all_mods=mods.all_of,
            any_mods=mods.any_of,
            limit=limit,
            offset=offset,
        )

    async def score(self, score_id: int, viewer: Viewer = EVERYBODY) -> FoundScore:
        """One score, if `viewer` may know of its player. Raises NotFound("score")."""
        found = await self._database.one(queries.SCORE, id=score_id)
        if found is None:
            raise NotFound("score")
        score, map_md5, player_name, priv = found
        if not can_see(viewer, _Standing(score.user_id, priv)):
            raise NotFound("score")
        return FoundScore(score, map_md5, player_name)

    async def with_replays(self, score_ids: Sequence[int]) -> set[int]:
        """Those of the scores (at most 100) whose replay is stored."""
        ids = {f"id{n}": score_ids[n] if n < len(score_ids) else -1 for n in range(queries.AMONG_MAX)}
        return set(await self._database.all(queries.WITH_REPLAYS, **ids))

    async def grades_on(self, user_id: int, map_key: int) -> dict[int, str]:
        """The grades of a player's best scores on a map, by the game's own mode (0-3)."""
        return dict(await self._database.all(queries.GRADES_ON, user_id=user_id, map_key=map_key))

    async def stats_of(self, user_id: int) -> list[Stats]:
        """A player's profiles in the modes that were ever played."""
        return await self._database.all(queries.STATS_OF, user_id=user_id)

    async def stats_in(self, user_id: int, mode: int) -> Stats | None:
        """A player's profile in one mode, None when it was never played."""
        return await self._database.one(queries.STATS_IN, user_id=user_id, mode=mode)

    async def ranking(
        self, mode: int, sort: str, *, country: str | None = None, limit: int, offset: int = 0
    ) -> list[Ranked]:
        """Players by one of `queries.SORTS`, highest first, then by id; only values above 0."""
        if country is None:
            return await self._database.all(
                self._at(queries.RANKING[sort], offset),
                mode=mode,
                limit=limit,
                offset=offset,
            )
        return await self._database.all(
            self._at(queries.COUNTRY_RANKING[sort], offset),
            mode=mode,
            country=country,
            limit=limit,
            offset=offset,
        )

    async def ranking_count(self, mode: int, sort: str, country: str | None = None) -> int:
        """How many players `ranking` pages through, counted up to 10,000, at most a minute ago."""
        key, now_s = (mode, sort, country), time.monotonic()
        known = self._rankings.pop(key, None)
        if known is None or now_s >= known[0] + RANKING_COUNTED_S:
            if country is None:
                count = await self._database.one(queries.RANKING_COUNT[sort], mode=mode, most=LISTED_MAX)
            else:
                query = queries.COUNTRY_RANKING_COUNT[sort]
                count = await self._database.one(query, mode=mode, country=country, most=LISTED_MAX)
            known = (now_s, count or 0)
        self._rankings[key] = known
        if len(self._rankings) > COUNTS_MAX:
            del self._rankings[next(iter(self._rankings))]
        return known[1]

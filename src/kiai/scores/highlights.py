"""The other parts of the start page: changes of first places, records, the most played maps, and numbers."""

from typing import Final

import msgspec
from sqlalchemy import and_, bindparam, select

from kiai.accounts.visibility import BOARDS_LOOK, visible
from kiai.beatmaps.model import MapSummary
from kiai.clock import Clock
from kiai.scores.latest import SHOWN_COLUMNS, SHOWN_TABLES, ShownPlay, shown_play
from kiai.scores.listing_parts import NOT_HIDDEN
from kiai.scores.tally import week_of
from kiai.storage.port import Database, Query, columns_for
from kiai.storage.tables import counters, first_place_changes, maps, pp_records, scores, week_plays

SEARCHED: Final = 200  # newest changes in which the visible ones are searched


class FirstPlaceChange(msgspec.Struct, frozen=True):
    """A play that took a first place at `at_ms`. The previous ids are None if nobody was first.

    `previous_score_id` is also None while that score is hidden.
    """

    at_ms: int
    previous_score_id: int | None
    previous_user_id: int | None
    play: ShownPlay


class PlayedThisWeek(msgspec.Struct, frozen=True):
    """A map with its plays in the current week."""

    beatmap: MapSummary
    plays: int


class Figures(msgspec.Struct, frozen=True):
    """Numbers of the whole server, which a job updates: all plays ever, and the maps with a board."""

    plays: int
    boards: int


_changes: Final = (
    select(first_place_changes).order_by(first_place_changes.c.id.desc()).limit(SEARCHED).subquery("changes")
)
_previous: Final = scores.alias("previous")
CHANGES: Final = Query(
    select(_changes.c.at_ms, _previous.c.id, _changes.c.previous_user_id, *SHOWN_COLUMNS)
    .select_from(
        _changes.join(SHOWN_TABLES, scores.c.id == _changes.c.score_id).outerjoin(
            _previous, and_(_previous.c.id == _changes.c.previous_score_id, _previous.c.hidden == 0)
        )
    )
    .where(NOT_HIDDEN, visible())
    .order_by(_changes.c.id.desc())
    .limit(bindparam("limit")),
    lambda at_ms, score_id, user_id, *row: FirstPlaceChange(at_ms, score_id, user_id, shown_play(*row)),
    scans="it walks the newest changes, at most 200",
)
RECORDS: Final = Query(
    select(*SHOWN_COLUMNS)
    .select_from(pp_records.join(SHOWN_TABLES, scores.c.id == pp_records.c.score_id))
    .where(NOT_HIDDEN, visible())
    .order_by(pp_records.c.mode),
    shown_play,
)
MOST_PLAYED: Final = Query(
    select(week_plays.c.plays, *columns_for(MapSummary, maps))
    .select_from(week_plays.join(maps, maps.c.key == week_plays.c.map_key))
    .where(week_plays.c.week == bindparam("week"))
    .order_by(week_plays.c.plays.desc(), week_plays.c.map_key)
    .limit(bindparam("limit")),
    lambda plays, *row: PlayedThisWeek(MapSummary(*row), plays),
)
FIGURES: Final = Query(select(counters.c.name, counters.c.value), lambda name, value: (name, value))


class Highlights:
    """Reads the parts. Each costs as much as its rows."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def first_places(self, *, limit: int) -> list[FirstPlaceChange]:
        """Return the newest changes of first places by visible players, newest first."""
        return await self._database.all(CHANGES, limit=limit)

    async def records(self) -> list[ShownPlay]:
        """Return the record of each mode that has one, by mode."""
        return await self._database.all(RECORDS)

    async def most_played(self, *, limit: int) -> list[PlayedThisWeek]:
        """Return the maps with the most plays since Monday (UTC), most first."""
        return await self._database.all(MOST_PLAYED, week=week_of(self._clock.now_ms()), limit=limit)

    async def visibility_version(self) -> int:
        """Return a number that increments when the visibility, name, country or clan of any player changes."""
        return await self._database.one(BOARDS_LOOK) or 0

    async def figures(self) -> Figures:
        """Return the numbers of the server."""
        found = dict(await self._database.all(FIGURES))
        return Figures(found.get("plays", 0), found.get("boards", 0))

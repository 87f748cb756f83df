"""Past matches and the games of a match in pieces, for pages."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import bindparam, func, literal_column, select

from kiai.beatmaps.model import MapSummary
from kiai.multiplayer.history import Game, GameScore, MatchEvent, PastMatch
from kiai.multiplayer.results import SCRIM_EVENTS, GameResult, ScrimStanding, maps_won, result_of, scrim_standing
from kiai.storage.port import Database, Query, columns_for
from kiai.storage.tables import game_scores, games, maps, match_events, match_players, matches

LISTED_MAX: Final = 50
PIECE: Final = 50  # games
SEATS: Final = 16
STANDINGS_STORED: Final = 256
STANDING_GAMES_MAX: Final = 1_000
SCRIM_EVENTS_MAX: Final = 500


class ListedMatch(msgspec.Struct, frozen=True):
    """A past match with the numbers of its players and of its games."""

    match: PastMatch
    players: int
    games: int


class GamesPiece(msgspec.Struct, frozen=True):
    """Consecutive games of a match, oldest first. `first_number` is the number of the first one in the match, from 1.

    `earlier` is the cursor of the piece before, None at the start of the match.
    """

    results: list[GameResult]
    first_number: int
    earlier: int | None


class MatchStanding(msgspec.Struct, frozen=True):
    """Games won by each team (`BLUE`, `RED`), {} without teams, and the last scrim."""

    maps_won: dict[int, int]
    scrim: ScrimStanding | None


_counts: Final = (
    select(func.count())
    .select_from(match_players)
    .where(match_players.c.match_id == matches.c.id)
    .correlate(matches)
    .scalar_subquery(),
    select(func.count())
    .select_from(games)
    .where(games.c.match_id == matches.c.id)
    .correlate(matches)
    .scalar_subquery(),
)
_past: Final = (
    matches.c.id < bindparam("before"),
    matches.c.ended_at_ms.is_not(None),
    matches.c.private == 0,
)
_listed: Final = select(*columns_for(PastMatch, matches), *_counts)


def _listed_match(*row: object) -> ListedMatch:
    *values, players, game_count = row
    return ListedMatch(PastMatch(*values), players, game_count)  # type: ignore[arg-type]


# The conditions are those of the partial index ix_matches_past, so the query reads no private or open matches.
PAST: Final = Query(
    _listed.where(*_past).order_by(matches.c.id.desc()).limit(bindparam("limit")),
    _listed_match,
    scans="it walks the index of past matches to the end of the page",
)
# Walks ix_match_players_of: the matches of one player, newest first.
PAST_OF: Final = Query(
    _listed.select_from(match_players.join(matches, matches.c.id == match_players.c.match_id))
    .where(match_players.c.user_id == bindparam("user_id"), match_players.c.match_id < bindparam("before"), *_past[1:])
    .order_by(match_players.c.match_id.desc())
    .limit(bindparam("limit")),
    _listed_match,
)
GAMES: Final = Query(
    select(*columns_for(Game, games))
    .where(games.c.match_id == bindparam("match_id"), games.c.id < bindparam("before"))
    .order_by(games.c.id.desc())
    .limit(bindparam("limit")),
    Game,
)
# Bounded by the events of one match, EVENTS_MAX.
GAMES_BEFORE: Final = Query(
    select(func.count())
    .select_from(games)
    .where(games.c.match_id == bindparam("match_id"), games.c.id < bindparam("before")),
    lambda count: int(count),
)
SCORES: Final = Query(
    select(*columns_for(GameScore, game_scores))
    .where(
        game_scores.c.game_id.in_(
            select(games.c.id).where(
                games.c.match_id == bindparam("match_id"),
                games.c.id >= bindparam("first"),
                games.c.id <= bindparam("last"),
            )
        )
    )
    .order_by(game_scores.c.game_id, game_scores.c.slot)
    .limit(STANDING_GAMES_MAX * SEATS),
    GameScore,
)
BEATMAPS: Final = Query(
    select(*columns_for(MapSummary, maps))
    .where(
        maps.c.md5.in_(
            select(games.c.map_md5).where(
                games.c.match_id == bindparam("match_id"),
                games.c.id >= bindparam("first"),
                games.c.id <= bindparam("last"),
            )
        )
    )
    .limit(PIECE),
    MapSummary,
)
SCRIM: Final = Query(
    select(*columns_for(MatchEvent, match_events))
    .where(
        match_events.c.match_id == bindparam("match_id"),
        match_events.c.kind.in_([literal_column(f"'{kind}'") for kind in SCRIM_EVENTS]),
    )
    .order_by(match_events.c.id.desc())
    .limit(SCRIM_EVENTS_MAX),
    MatchEvent,
)


class MatchArchive:
    """Reads past matches. The caller checks with `MatchHistory.match` who may see a match."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._standings: OrderedDict[tuple[int, int], MatchStanding] = OrderedDict()

    async def past(self, *, limit: int, before: int = 2**62, user_id: int | None = None) -> list[ListedMatch]:
        """Return public matches that have ended, newest first: all, or those in which a player had a seat."""
        if user_id is None:
            return await self._database.all(PAST, limit=limit, before=before)
        return await self._database.all(PAST_OF, limit=limit, before=before, user_id=user_id)

    async def games(self, match_id: int, *, before: int = 2**62, limit: int = PIECE) -> GamesPiece:
        """Return the last games of a match before a cursor."""
        found = (await self._database.all(GAMES, match_id=match_id, before=before, limit=limit))[::-1]
        if not found:
            return GamesPiece([], 1, None)
        earlier = await self._database.one(GAMES_BEFORE, match_id=match_id, before=found[0].id) or 0
        results = await self._results(match_id, found)
        return GamesPiece(results, earlier + 1, found[0].id if earlier else None)

    async def beatmaps(self, match_id: int, piece: GamesPiece) -> dict[str, MapSummary]:
        """Return the stored maps of the games of a piece, by md5."""
        if not piece.results:
            return {}
        first, last = piece.results[0].game.id, piece.results[-1].game.id
        found = await self._database.all(BEATMAPS, match_id=match_id, first=first, last=last)
        return {beatmap.md5: beatmap for beatmap in found}

    async def _results(self, match_id: int, found: Sequence[Game]) -> list[GameResult]:
        by_game: dict[int, list[GameScore]] = {game.id: [] for game in found}
        for score in await self._database.all(SCORES, match_id=match_id, first=found[0].id, last=found[-1].id):
            by_game[score.game_id].append(score)
        return [result_of(game, by_game[game.id]) for game in found]

    async def standing(self, match: PastMatch, piece: GamesPiece) -> MatchStanding:
        """Return the standing of a match. `piece` holds its last games.

        The standings of ended matches do not change, so they are stored in memory.
        """
        key = (match.id, match.ended_at_ms or 0)
        if (stored := self._standings.get(key)) is not None:
            self._standings.move_to_end(key)
            return stored
        results = piece.results
        if piece.earlier is not None:
            found = await self._database.all(GAMES, match_id=match.id, before=piece.earlier, limit=STANDING_GAMES_MAX)
            results = await self._results(match.id, found[::-1]) + results
        events = await self._database.all(SCRIM, match_id=match.id)
        standing = MatchStanding(maps_won(results), scrim_standing(reversed(events)))
        if match.ended_at_ms is not None:
            self._standings[key] = standing
            if len(self._standings) > STANDINGS_STORED:
                self._standings.popitem(last=False)
        return standing

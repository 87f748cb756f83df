"""The latest plays that became a personal best on a map with a board, of all players.

A ring of ids for each variant is in memory. Events of the feed fill it, so all workers see the same plays. The rows are
read when they are shown: a player who was restricted, or a score whose map lost its board, is left out at once.
"""

from collections import deque
from collections.abc import Mapping
from enum import Enum
from typing import Final

import msgspec
from sqlalchemy import bindparam, literal_column, select, union_all

from kiai.accounts.model import Player
from kiai.accounts.visibility import player_columns, visible, with_clan
from kiai.beatmaps.model import BOARD_STATUSES, MapSummary
from kiai.osu.modes import MODES
from kiai.realtime.following import FeedFollower, FeedPart
from kiai.scores.listing_parts import NOT_HIDDEN, SCORE_WIDTH, SCORES_AND_MAPS, score_columns
from kiai.scores.model import Score
from kiai.scores.rules import MAP_HAS_BOARD
from kiai.storage.port import Database, Lane, Query, columns_for
from kiai.storage.tables import first_places, maps, scores, users

KEPT: Final = 50  # of each variant
STARTED_FROM: Final = 200  # newest bests of a mode that are searched for the first ring
PERSONAL_BEST: Final = 2
_MAP_END: Final = SCORE_WIDTH + len(MapSummary.__struct_fields__)


class Variant(Enum):
    """The three families of modes."""

    VANILLA = "vanilla"
    RELAX = "relax"
    AUTOPILOT = "autopilot"


_VARIANTS: Final[Mapping[int, Variant]] = {
    mode: Variant.AUTOPILOT if mode & 8 else Variant.RELAX if mode & 4 else Variant.VANILLA for mode in MODES
}


def variant_of(mode: int) -> Variant:
    """Return the family of one of `MODES`."""
    return _VARIANTS[mode]


class ShownPlay(msgspec.Struct, frozen=True):
    """A score with its map and its player. `is_first`: it holds the first place of its board."""

    score: Score
    beatmap: MapSummary
    player: Player
    is_first: bool


def shown_play(*row: object) -> ShownPlay:
    """Return the value of a row with `SHOWN_COLUMNS`."""
    *values, first_score_id = row
    score = Score(*values[:SCORE_WIDTH])  # type: ignore[arg-type]
    beatmap = MapSummary(*values[SCORE_WIDTH:_MAP_END])  # type: ignore[arg-type]
    return ShownPlay(score, beatmap, Player(*values[_MAP_END:]), first_score_id == score.id)  # type: ignore[arg-type]


SHOWN_COLUMNS: Final = (
    *score_columns(),
    *columns_for(MapSummary, maps),
    *player_columns(),
    first_places.c.score_id,
)
SHOWN_TABLES: Final = with_clan(SCORES_AND_MAPS.join(users, users.c.id == scores.c.user_id)).outerjoin(
    first_places, (first_places.c.map_key == scores.c.map_key) & (first_places.c.mode == scores.c.mode)
)

AMONG = Query(
    select(*SHOWN_COLUMNS)
    .select_from(SHOWN_TABLES)
    .where(
        scores.c.id.in_([bindparam(f"id{n}", type_=scores.c.id.type) for n in range(KEPT)]),
        NOT_HIDDEN,
        visible(),
        MAP_HAS_BOARD,
    )
    .order_by(scores.c.id.desc())
    .limit(bindparam("limit")),
    shown_play,
)
# The text of the expression in `ix_scores_newest`, which is used for that text only.
_STATUS: Final = (
    scores.c.best_pp.op("|")(scores.c.best_score) * (literal_column("2") - scores.c.passed) + scores.c.passed
)
_newest_of_mode: Final = [
    select(
        select(scores.c.id.label("id"), scores.c.mode.label("mode"), scores.c.map_key, scores.c.user_id)
        .where(scores.c.mode == literal_column(str(mode)), literal_column("2") == _STATUS, NOT_HIDDEN)
        .order_by(scores.c.id.desc())
        .limit(STARTED_FROM)
        .subquery()
    )
    for mode in MODES
]
_newest: Final = union_all(*_newest_of_mode).subquery("newest")
NEWEST = Query(
    select(_newest.c.id, _newest.c.mode)
    .select_from(_newest.join(maps, maps.c.key == _newest.c.map_key).join(users, users.c.id == _newest.c.user_id))
    .where(MAP_HAS_BOARD, visible())
    .order_by(_newest.c.id),
    lambda id_, mode: (id_, mode),
    lane=Lane.BOUNDED,
)


class LatestPlays:
    """The rings of this process. `version` increments with each change of a ring."""

    def __init__(self, database: Database, follower: FeedFollower) -> None:
        self._database = database
        self._rings: dict[Variant, deque[int]] = {variant: deque(maxlen=KEPT) for variant in Variant}
        self.version = 0
        follower.subscribe(self._on_events)

    async def newest(self, variant: Variant | None = None, *, limit: int) -> list[ShownPlay]:
        """Return the latest plays, newest first: of one variant, or of all. `limit` is at most `KEPT`."""
        rings = list(self._rings.values()) if variant is None else [self._rings[variant]]
        ids = sorted((id_ for ring in rings for id_ in ring), reverse=True)[:KEPT]
        if not ids:
            return []
        padded = {f"id{n}": ids[n] if n < len(ids) else -1 for n in range(KEPT)}
        return await self._database.all(AMONG, **padded, limit=limit)

    async def load(self) -> None:
        """Fill the rings from the newest bests that are stored."""
        found = await self._database.all(NEWEST)
        for ring in self._rings.values():
            ring.clear()
        for id_, mode in found:
            self._rings[variant_of(mode)].append(id_)
        self.version += 1

    async def _on_events(self, part: FeedPart) -> None:
        if part.gap:
            await self.load()
        for event in part.events:
            data = event.data
            if event.type != "score" or data.get("status") != PERSONAL_BEST:
                continue
            # An older process during an upgrade leaves the status of the map out. The rows are filtered again below.
            if data.get("map_status", BOARD_STATUSES[0]) not in BOARD_STATUSES:
                continue
            ring = self._rings[variant_of(data["mode"])]
            if data["id"] not in ring:  # the rings were loaded after this event
                ring.append(data["id"])
                self.version += 1

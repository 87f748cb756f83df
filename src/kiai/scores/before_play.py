"""The rows that the transaction of a play reads before it writes: of player, map, bests, profile and first place.

All of it comes from one call of `several`, one round trip on PostgreSQL. The caller has locked the player, so nothing
of the player changes until the commit. The map is not locked yet: `recording.py` checks at the end that neither its
status nor its boards have changed.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from kiai.beatmaps import Beatmap, Beatmaps
from kiai.errors import NotFound
from kiai.osu.mods import board_key
from kiai.scores import profiles, records, statements
from kiai.scores.boards import Boards
from kiai.scores.medals import DAY_MS, DayPlay
from kiai.scores.model import Best, Play, RanksBefore, Stats, WeightedBest
from kiai.scores.months import month_of
from kiai.scores.rules import gives_medals, gives_pp, has_board, sorts_by_pp
from kiai.scores.statements.first_places import BoardTop
from kiai.storage.port import Query, Read, Transaction, Value


class BeforePlay(msgspec.Struct, frozen=True):
    """The rows before a play. `None` in the last five means that they were not read.

    `plays_on_map` is the player's counter of plays of the map, None without one. `has_played_in_month`: there is a
    counter for the month.
    `stats` are by mode. With `has_read_board`, `holder` is the score and the player of the first place, and `top` the
    line that must have it.
    `record` is the most pp in the mode. `held` are the medals. `weighted` are the player's bests.
    `day` are the plays of the last 24 hours, without this one. `map_rank` is the player's place on the board of the
    map, 0 without a line on it.
    """

    priv: int
    country: str
    plays_on_map: int | None
    has_played_in_month: bool
    beatmap: Beatmap
    by_pp: Best | None
    by_score: Best | None
    with_mods: Best | None
    stats: Mapping[int, Stats]
    has_read_board: bool = False
    holder: tuple[int, int] | None = None
    top: BoardTop | None = None
    record: float | None = None
    held: frozenset[int] | None = None
    weighted: list[WeightedBest] | None = None
    day: list[DayPlay] | None = None
    map_rank: int | None = None


async def read(
    tx: Transaction, beatmaps: Beatmaps, play: Play, ranks: RanksBefore, now_ms: int, *, places: bool = False
) -> BeforePlay:
    """Return the rows before a play, with `places` also the place on the board of the map.

    Raises NotFound for a player or a map that does not exist.
    """
    # The status may have changed since the caller read it. It only selects what to read: what turns out to be missing
    # is read later.
    status = play.beatmap.status
    board = {"map_key": play.beatmap.key, "mode": play.mode}
    player = {"user_id": play.user_id}
    where = {**board, **player}
    reads: dict[str, Read] = {
        "player": (
            statements.plays.PLAYER,
            {**player, "in_mode": play.mode, "on_map": play.beatmap.key, "in_month": month_of(play.play_time_ms)},
        ),
        "map": beatmaps.read_of(play.beatmap.key),
        "bests": (statements.plays.BESTS, {**where, "mods_key": board_key(play.mods)}),
        "stats": (profiles.STATS_OF, player),
    }
    if play.passed and has_board(status):
        reads["holder"] = (statements.first_places.FIRST_PLACE, board)
        reads["top"] = (top_of(play.mode), board)
        if places:
            reads["standing"] = Boards.read_of_standing(play.beatmap, play.mode, play.user_id)
    if play.passed and gives_medals(status):
        reads["held"] = (statements.plays.MEDALS_OF, player)
    if play.passed and gives_pp(status):
        reads["record"] = (records.RECORD_OF, {"mode": play.mode})
    # PERF: on SQLite a read costs the same at any time, so these wait until it is certain that they are needed.
    if tx.reads_ahead and play.passed and gives_medals(status):
        reads["day"] = plays_of_day(play, now_ms, every_map=True)
    if tx.reads_ahead and play.passed and gives_pp(status) and play.pp >= ranks.pp_on_map:
        reads["weighted"] = weighted_of(play)
    found = dict(zip(reads, await tx.several(*reads.values()), strict=True))
    if not found["player"]:
        raise NotFound("player")
    if not found["map"]:
        raise NotFound("map")
    priv, country, plays_on_map, in_month = found["player"][0]
    bests = dict(found["bests"])
    return BeforePlay(
        priv=priv,
        country=country,
        plays_on_map=plays_on_map,
        has_played_in_month=bool(in_month),
        beatmap=found["map"][0],
        by_pp=bests.get(0),
        by_score=bests.get(1),
        with_mods=bests.get(2),
        stats={stats.mode: stats for stats in found["stats"]},
        has_read_board="top" in found,
        holder=_first(found.get("holder")),
        top=_first(found.get("top")),
        record=_first(found.get("record")),
        held=frozenset(found["held"]) if "held" in found else None,
        weighted=found.get("weighted"),
        day=found.get("day"),
        map_rank=_place(found["standing"]) if "standing" in found else None,
    )


def top_of(mode: int) -> Query[BoardTop]:
    """Return the query of the top line of a board in this mode."""
    places = statements.first_places
    return places.TOP_LINE_BY_PP if sorts_by_pp(mode) else places.TOP_LINE_BY_SCORE


def plays_of_day(play: Play, now_ms: int, *, every_map: bool) -> Read:
    """Return the read of the player's plays of the last 24 hours, of all maps or only of this one."""
    params: dict[str, Value] = {
        "user_id": play.user_id,
        "mode": play.mode,
        "since_ms": now_ms - DAY_MS,
        "on_map": play.beatmap.key,
        "every_map": int(every_map),
    }
    return statements.plays.PLAYS_SINCE, params


def passes_of_day(play: Play, now_ms: int) -> Read:
    """Return the read of the player's passes of the last 24 hours on this map."""
    where: dict[str, Value] = {"on_map": play.beatmap.key, "user_id": play.user_id, "mode": play.mode}
    return statements.plays.PASSES_ON_SINCE, {**where, "since_ms": now_ms - DAY_MS}


def weighted_of(play: Play) -> Read:
    """Return the read of the player's bests, most pp first."""
    return statements.plays.WEIGHTED_WITH_IDS, {"user_id": play.user_id, "mode": play.mode}


def with_new_best(
    bests: list[WeightedBest], replaced: Best | None, pp: float, acc: float, most: int
) -> list[tuple[float, float]]:
    """Return pp and accuracy of the first `most` bests after a play: without the one that it replaces, most pp first.

    Of bests with equal pp the latest comes first.
    """
    # By id: with equal pp, removing another best with the same figures would change the order of accuracies.
    after = [(best.pp, best.acc) for best in bests if replaced is None or best.id != replaced.id]
    at = next((at for at, (other, _) in enumerate(after) if other <= pp), len(after))
    after.insert(at, (pp, acc))
    return after[:most]


def with_this_play(day: list[DayPlay], play: Play, now_ms: int) -> list[DayPlay]:
    """Return the plays of the last 24 hours with this one."""
    if play.play_time_ms < now_ms - DAY_MS:  # an imported replay
        return day
    return [*day, DayPlay(play.beatmap.key, play.grade, int(play.passed))]


def _place(standing: list[tuple[float, int]]) -> int:
    return 1 + standing[0][1] if standing else 0


def _first(rows: list[Any] | None) -> Any:
    return rows[0] if rows else None

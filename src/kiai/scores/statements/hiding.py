"""Statements that hide and show scores, and update the rows that derive from them (`kiai.scores.hiding`).

`hidden` is a sum of marks: each reason for which a score is hidden has a bit of its own, so that ending one reason
leaves the others. A page is a range of ids among the scores of one player and mode, or of one map.
"""

from typing import Final

from sqlalchemy import (
    Alias,
    BigInteger,
    ColumnElement,
    Subquery,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from kiai.scores.model import BestCandidate, HidableScore
from kiai.scores.statements.expressions import named, these_stats
from kiai.storage.port import Command, Query, columns_for, scalar
from kiai.storage.tables import (
    map_wipes,
    maps,
    month_plays,
    play_counts,
    replays,
    scores,
    stale_totals,
    stats,
    tasks,
    user_wipes,
    users,
)

BY_STAFF: Final = 1
"""The mark of a single score that staff hid."""
BY_USER_WIPE: Final = 2
BY_MAP_WIPE: Final = 4

_NOTHING: Final[ColumnElement[int]] = literal_column("0")


def _marked(mark: int) -> ColumnElement[int]:
    return scores.c.hidden.op("&")(literal_column(str(mark)))


def _wrongly_marked(mark: int) -> ColumnElement[bool]:
    """Whether the mark of a score differs from what the wipe says: ids up to `wiped` have it, later ones do not."""
    return or_(
        and_(scores.c.id <= bindparam("wiped"), _marked(mark) == _NOTHING),
        and_(scores.c.id > bindparam("wiped"), _marked(mark) != _NOTHING),
    )


def _shown_without(mark: int) -> ColumnElement[bool]:
    """Whether no mark but this one hides a score."""
    return or_(scores.c.hidden == _NOTHING, scores.c.hidden == literal_column(str(mark)))


_of_user: Final = and_(scores.c.user_id == bindparam("user_id"), scores.c.mode == bindparam("mode"))
_of_map: Final = scores.c.map_key == bindparam("map_key")
_in_page: Final = scores.c.id.between(bindparam("first"), bindparam("last"))

# --- wipes

WIPES_OF_USER = Query(
    select(user_wipes.c.mode, user_wipes.c.last_score_id).where(user_wipes.c.user_id == bindparam("user_id")),
    lambda mode, last: (mode, last),
)
WIPE_OF_MAP = Query(select(map_wipes.c.last_score_id).where(map_wipes.c.map_key == bindparam("map_key")), scalar)
ADD_USER_WIPE = Command(insert(user_wipes).values(named("user_id", "mode", "last_score_id", "at_ms")))
DROP_USER_WIPE = Command(
    delete(user_wipes).where(user_wipes.c.user_id == bindparam("of_user"), user_wipes.c.mode == bindparam("in_mode"))
)
ADD_MAP_WIPE = Command(insert(map_wipes).values(named("map_key", "last_score_id", "at_ms")))
DROP_MAP_WIPE = Command(delete(map_wipes).where(map_wipes.c.map_key == bindparam("of_map")))
# The scores that a wipe would hide: those behind the last wipe that no other mark hides. `since` is its last id.
USER_SCORES = Query(
    select(
        func.coalesce(func.max(scores.c.id), _NOTHING),
        func.coalesce(
            func.sum(
                case(
                    (and_(scores.c.id > bindparam("since"), _shown_without(BY_USER_WIPE)), literal_column("1")), else_=0
                )
            ),
            _NOTHING,
        ),
    ).where(_of_user),
    lambda last, count: (int(last), int(count)),
)
# A play that took an id before a wipe's last one may commit after the steps of the wipe. It has no mark and is counted
# too, up to `late`: the last id of a wipe whose steps are done, 0 while they are not.
MAP_SCORES = Query(
    select(
        func.coalesce(func.max(scores.c.id), _NOTHING),
        func.coalesce(
            func.sum(
                case(
                    (and_(scores.c.id > bindparam("since"), _shown_without(BY_MAP_WIPE)), literal_column("1")),
                    (and_(scores.c.id <= bindparam("late"), scores.c.hidden == _NOTHING), literal_column("1")),
                    else_=0,
                )
            ),
            _NOTHING,
        ),
    ).where(_of_map),
    lambda last, count: (int(last), int(count)),
)
# The scores that the end of a wipe brings back. `upto` is its last id.
USER_SCORES_BACK = Query(
    select(func.count()).where(_of_user, scores.c.id <= bindparam("upto"), _shown_without(BY_USER_WIPE)), scalar
)
MAP_SCORES_BACK = Query(
    select(func.count()).where(_of_map, scores.c.id <= bindparam("upto"), _shown_without(BY_MAP_WIPE)), scalar
)

# --- pages

NEXT_MODE = Query(
    select(func.min(scores.c.mode)).where(
        scores.c.user_id == bindparam("user_id"), scores.c.mode >= bindparam("least")
    ),
    scalar,
)
TASK_OF = Query(
    select(tasks.c.round).where(tasks.c.kind == bindparam("kind"), tasks.c.subject == bindparam("subject")), scalar
)
SCORE = Query(select(*columns_for(HidableScore, scores)).where(scores.c.id == bindparam("id")), HidableScore)
USER_PAGE = Query(
    select(*columns_for(HidableScore, scores))
    .where(_of_user, scores.c.id > bindparam("after"), _wrongly_marked(BY_USER_WIPE))
    .order_by(scores.c.id)
    .limit(bindparam("most")),
    HidableScore,
)
MAP_PAGE = Query(
    select(*columns_for(HidableScore, scores))
    .where(_of_map, scores.c.id > bindparam("after"), scores.c.id <= bindparam("upto"), _wrongly_marked(BY_MAP_WIPE))
    .order_by(scores.c.id)
    .limit(bindparam("most")),
    HidableScore,
)
# FOR NO KEY UPDATE, as in all other locks on players and maps.
LOCK_PLAYERS_IN_PAGE = Query(
    select(users.c.id)
    .where(users.c.id.in_(select(scores.c.user_id).where(_of_map, _in_page)))
    .order_by(users.c.id)
    .with_for_update(key_share=True),
    scalar,
)
LOCK_MAPS_IN_PAGE = Query(
    select(maps.c.key)
    .where(maps.c.key.in_(select(scores.c.map_key).where(_of_user, _in_page)))
    .order_by(maps.c.key)
    .with_for_update(key_share=True),
    scalar,
)
# A view adds to the replay first and to the stats second. The lock makes it wait, so that no view is counted twice.
VIEWS_OF_USER_PAGE = Query(
    select(replays.c.score_id, replays.c.views)
    .select_from(scores.join(replays, replays.c.score_id == scores.c.id))
    .where(_of_user, _in_page)
    .with_for_update(key_share=True, of=replays),
    lambda score_id, views: (score_id, views),
)
VIEWS_OF_MAP_PAGE = Query(
    select(replays.c.score_id, replays.c.views)
    .select_from(scores.join(replays, replays.c.score_id == scores.c.id))
    .where(_of_map, _in_page)
    .with_for_update(key_share=True, of=replays),
    lambda score_id, views: (score_id, views),
)

# --- marks and flags

# A hidden score is no best. The flags of the scores that remain follow with `SET_FLAGS`.
MARK = Command(
    update(scores)
    .where(scores.c.id == bindparam("score_id"))
    .values(hidden=scores.c.hidden.op("|")(bindparam("mark")), best_pp=0, best_score=0, best_mods=0)
)
UNMARK = Command(
    update(scores)
    .where(scores.c.id == bindparam("score_id"))
    .values(hidden=scores.c.hidden - bindparam("mark", type_=scores.c.hidden.type))
)


def _candidates(touched: Subquery | Alias) -> Query[BestCandidate]:
    """Return the passes from which the bests follow, of all players, modes and maps in `touched`."""
    return Query(
        select(*columns_for(BestCandidate, scores))
        .select_from(
            touched.join(
                scores,
                and_(
                    scores.c.map_key == touched.c.map_key,
                    scores.c.user_id == touched.c.user_id,
                    scores.c.mode == touched.c.mode,
                ),
            )
        )
        .where(scores.c.passed == 1, scores.c.hidden == 0),
        BestCandidate,
    )


_inner: Final = scores.alias("in_page")
_touched: Final = select(_inner.c.user_id, _inner.c.mode, _inner.c.map_key).distinct()
_inner_in_page: Final = _inner.c.id.between(bindparam("first"), bindparam("last"))
# By `ix_scores_passes_on`.
CANDIDATES_OF_USER_PAGE = _candidates(
    _touched.where(
        _inner.c.user_id == bindparam("user_id"), _inner.c.mode == bindparam("mode"), _inner_in_page
    ).subquery("touched")
)
CANDIDATES_OF_MAP_PAGE = _candidates(
    _touched.where(_inner.c.map_key == bindparam("map_key"), _inner_in_page).subquery("touched")
)
SET_FLAGS = Command(
    update(scores)
    .where(scores.c.id == bindparam("score_id"))
    .values(best_pp=bindparam("by_pp"), best_score=bindparam("by_score"), best_mods=bindparam("with_mods"))
)

# --- derived rows

_CHANGED: Final = ("plays", "tscore", "playtime", "total_hits", "replay_views")
CHANGE_STATS = Command(
    update(stats)
    .where(these_stats)
    .values(
        {name: stats.c[name] + bindparam(f"by_{name}", type_=BigInteger()) for name in _CHANGED}
        | {
            "last_play_ms": case(
                (stats.c.last_play_ms < bindparam("shown_ms"), bindparam("shown_ms")), else_=stats.c.last_play_ms
            )
        }
    )
)
DROP_EMPTY_STATS = Command(delete(stats).where(these_stats, stats.c.plays <= _NOTHING))
# `hidden_ms`: the time of the latest play that was hidden. If it was the last play, an earlier one takes its place.
_latest: Final = (
    select(func.coalesce(func.max(play_counts.c.last_play_ms), _NOTHING))
    .where(play_counts.c.user_id == bindparam("player_id"), play_counts.c.mode == bindparam("in_mode"))
    .scalar_subquery()
)
LOWER_LAST_PLAY = Command(
    update(stats).where(these_stats, stats.c.last_play_ms <= bindparam("hidden_ms")).values(last_play_ms=_latest)
)
COUNTRY_OF = Query(select(users.c.country).where(users.c.id == bindparam("user_id")), scalar)

_this_count: Final = and_(
    play_counts.c.user_id == bindparam("player_id"),
    play_counts.c.mode == bindparam("in_mode"),
    play_counts.c.map_key == bindparam("on_map"),
)
CHANGE_PLAY_COUNT = Command(
    update(play_counts)
    .where(_this_count)
    .values(
        plays=play_counts.c.plays + bindparam("by", type_=play_counts.c.plays.type),
        last_play_ms=case(
            (play_counts.c.last_play_ms < bindparam("shown_ms"), bindparam("shown_ms")),
            else_=play_counts.c.last_play_ms,
        ),
    )
)
DROP_EMPTY_PLAY_COUNT = Command(delete(play_counts).where(_this_count, play_counts.c.plays <= _NOTHING))
SET_LAST_PLAY_ON = Command(update(play_counts).where(_this_count).values(last_play_ms=bindparam("at_ms")))
# After an import, the order of ids is not that of time: a score that remains may be older than the hidden ones.
_latest_of_user: Final = (
    select(scores.c.user_id, scores.c.mode, scores.c.map_key, func.max(scores.c.play_time_ms).label("at_ms"))
    .where(_of_user, scores.c.hidden == 0)
    .group_by(scores.c.user_id, scores.c.mode, scores.c.map_key)
    .subquery("latest")
)
_latest_on_map: Final = (
    select(scores.c.user_id, scores.c.mode, scores.c.map_key, func.max(scores.c.play_time_ms).label("at_ms"))
    .where(_of_map, scores.c.hidden == 0)
    .group_by(scores.c.user_id, scores.c.mode, scores.c.map_key)
    .subquery("latest")
)


def _wrong_last_plays(latest: Subquery) -> Query[tuple[int, int, int, int]]:
    return Query(
        select(latest.c.user_id, latest.c.mode, latest.c.map_key, latest.c.at_ms)
        .select_from(
            latest.join(
                play_counts,
                and_(
                    play_counts.c.user_id == latest.c.user_id,
                    play_counts.c.mode == latest.c.mode,
                    play_counts.c.map_key == latest.c.map_key,
                ),
            )
        )
        .where(play_counts.c.last_play_ms != latest.c.at_ms),
        lambda *row: row,
    )


WRONG_LAST_PLAYS_OF_USER = _wrong_last_plays(_latest_of_user)
WRONG_LAST_PLAYS_ON_MAP = _wrong_last_plays(_latest_on_map)

_this_month: Final = and_(
    month_plays.c.user_id == bindparam("player_id"),
    month_plays.c.mode == bindparam("in_mode"),
    month_plays.c.month == bindparam("in_month"),
)
CHANGE_MONTH = Command(
    update(month_plays)
    .where(_this_month)
    .values(plays=month_plays.c.plays + bindparam("by", type_=month_plays.c.plays.type))
)
DROP_EMPTY_MONTH = Command(delete(month_plays).where(_this_month, month_plays.c.plays <= _NOTHING))

IS_STALE = Query(
    select(stale_totals.c.since_ms).where(
        stale_totals.c.user_id == bindparam("user_id"), stale_totals.c.mode == bindparam("mode")
    ),
    scalar,
)
ADD_STALE = Command(insert(stale_totals).values(named("user_id", "mode", "since_ms")))
ADD_STALE_ON_MAP = Command(
    insert(stale_totals).from_select(
        ["user_id", "mode", "since_ms"],
        select(scores.c.user_id, scores.c.mode, bindparam("now_ms", type_=BigInteger()))
        .distinct()
        .where(
            _of_map,
            scores.c.passed == 1,
            ~select(stale_totals.c.user_id)
            .where(stale_totals.c.user_id == scores.c.user_id, stale_totals.c.mode == scores.c.mode)
            .exists(),
        ),
    )
)
COUNT_ON_MAP = Command(
    update(maps)
    .where(maps.c.key == bindparam("map_key"))
    .values(
        plays=maps.c.plays + bindparam("by_plays", type_=maps.c.plays.type),
        passes=maps.c.passes + bindparam("by_passes", type_=maps.c.passes.type),
        board_version=maps.c.board_version + 1,
    )
)
BOARDS_CHANGED = Command(
    update(maps).where(maps.c.key == bindparam("map_key")).values(board_version=maps.c.board_version + 1)
)
ANY_WRONG_ON_MAP = Query(
    select(literal_column("1")).where(exists().where(_of_map, _wrongly_marked(BY_MAP_WIPE))), scalar
)

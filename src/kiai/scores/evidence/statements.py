"""The SQL of the search for evidence."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import bindparam, delete, func, insert, literal, select, union_all, update

from kiai.osu.modes import MODES
from kiai.osu.replay_evidence import KnownReplay
from kiai.scores.evidence.rules import ExaminedPlay
from kiai.storage.port import Command, Lane, Query, scalar
from kiai.storage.tables import replay_signatures, replays, scores, unexamined_plays

SIGNATURES_MAX: Final = 100
"""Of a map and mode: those of the best replays."""
TAKEN_MAX: Final = 20
"""Plays that one run of the job examines."""
SCANNED_AT_ONCE: Final = 100

ADD_UNEXAMINED = Command(
    insert(unexamined_plays).values(score_id=bindparam("score_id"), due_at_ms=bindparam("due_at_ms"))
)
DUE = Query(
    select(unexamined_plays.c.score_id, unexamined_plays.c.tries)
    .where(unexamined_plays.c.due_at_ms <= bindparam("now_ms"))
    .order_by(unexamined_plays.c.due_at_ms, unexamined_plays.c.score_id)
    .limit(TAKEN_MAX),
    lambda *row: row,
)
EXAMINED = Command(delete(unexamined_plays).where(unexamined_plays.c.score_id == bindparam("examined_id")))
PUT_OFF = Command(
    update(unexamined_plays)
    .where(unexamined_plays.c.score_id == bindparam("examined_id"))
    .values(due_at_ms=bindparam("again_ms"))
)
LATER = Command(
    update(unexamined_plays)
    .where(unexamined_plays.c.score_id == bindparam("examined_id"))
    .values(tries=unexamined_plays.c.tries + 1, due_at_ms=bindparam("again_ms"))
)

_play = select(
    scores.c.id,
    scores.c.user_id,
    scores.c.map_key,
    scores.c.mode,
    scores.c.mods,
    scores.c.score,
    scores.c.max_combo,
    scores.c.passed,
    scores.c.n300,
    scores.c.n100,
    scores.c.n50,
    scores.c.ngeki,
    scores.c.nkatu,
    scores.c.nmiss,
    scores.c.play_time_ms,
    scores.c.time_elapsed,
    replays.c.md5,
).select_from(scores.outerjoin(replays, replays.c.score_id == scores.c.id))
PLAY = Query(_play.where(scores.c.id == bindparam("score_id")), ExaminedPlay)

# The player's last play before this one, in any mode: the index has an order by id only within a mode.
_before = union_all(
    *[
        select(
            select(scores.c.id, scores.c.play_time_ms)
            .where(
                scores.c.user_id == bindparam("player_id"),
                scores.c.mode == literal(mode),
                scores.c.id < bindparam("score_id"),
            )
            .order_by(scores.c.id.desc())
            .limit(1)
            .subquery(f"before_{mode}")
        )
        for mode in MODES
    ]
).subquery("before")
PREVIOUS_AT = Query(select(_before.c.play_time_ms).order_by(_before.c.id.desc()).limit(1), scalar)

_of_map = (
    replay_signatures.c.map_key == bindparam("map_key"),
    replay_signatures.c.mode == bindparam("vanilla_mode"),
)
KNOWN = Query(
    select(replay_signatures.c.score_id, replay_signatures.c.user_id, replay_signatures.c.data)
    .where(*_of_map, replay_signatures.c.user_id != bindparam("player_id"))
    .order_by(replay_signatures.c.score.desc(), replay_signatures.c.score_id)
    .limit(SIGNATURES_MAX),
    lambda score_id, user_id, data: (user_id, KnownReplay(score_id, data)),
    lane=Lane.BOUNDED,
)
FORGET = Command(delete(replay_signatures).where(replay_signatures.c.score_id == bindparam("of_score")))
REMEMBER = Command(
    insert(replay_signatures).values(
        {name: bindparam(name) for name in ("score_id", "map_key", "mode", "user_id", "score", "data")}
    )
)
_worst = (
    select(replay_signatures.c.score_id)
    .where(*_of_map)
    .order_by(replay_signatures.c.score.desc(), replay_signatures.c.score_id)
    .limit(SIGNATURES_MAX)
    .offset(SIGNATURES_MAX)
)
TRIM = Command(delete(replay_signatures).where(replay_signatures.c.score_id.in_(_worst)))
SIGNATURES_OF = Query(
    select(func.count()).select_from(select(literal(1)).select_from(replay_signatures).where(*_of_map).subquery()),
    scalar,
)

_after = scores.c.id > bindparam("after")
_PAGES: Final = {
    "all": _play.where(_after, scores.c.passed == 1),
    "map": _play.where(scores.c.map_key == bindparam("map_key"), _after, scores.c.passed == 1),
    "user": _play.where(
        scores.c.user_id == bindparam("player_id"), scores.c.mode == bindparam("mode"), _after, scores.c.passed == 1
    ),
}
SCANNED: Mapping[str, Query[ExaminedPlay]] = {
    name: Query(
        page.order_by(scores.c.id).limit(SCANNED_AT_ONCE),
        ExaminedPlay,
        lane=Lane.JOB,
        scans="the operator examines every play, a page at a time" if name == "all" else None,
    )
    for name, page in _PAGES.items()
}

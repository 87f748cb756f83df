"""Computes the rows that derive from the plays of one player. Pure.

`scores.rebuilding` computes the same rows from stored scores. That reads each player's scores from all over the file,
which takes longer than all other parts of a large world together.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from kiai.osu.accuracy import total_hits
from kiai.osu.modes import vanilla
from kiai.osu.mods import board_key
from kiai.scores.best import BestFlags, bests_among
from kiai.scores.model import BestCandidate, Play, Stats
from kiai.scores.months import month_of
from kiai.scores.recording import COUNTED_GRADES, TotalsOptions, row_of, totals
from kiai.scores.rules import gives_pp, has_board
from kiai.scores.statements.expressions import WEIGHTED_MAX

DAY_MS: Final = 86_400_000
_NO_FLAGS: Final = BestFlags(best_pp=False, best_score=False, best_mods=False)

Row = dict[str, Any]


class PlayerRows(msgspec.Struct, frozen=True):
    """The rows of a player in the tables of the same names. The scores are in the order of the plays."""

    scores: list[Row]
    stats: list[Row]
    play_counts: list[Row]
    month_plays: list[Row]


def player_rows(plays: Sequence[Play], country: str, rules: TotalsOptions) -> PlayerRows:
    """Return the rows that derive from all plays of a player, which are in order of time."""
    passes = [
        BestCandidate(
            number, play.user_id, play.mode, play.beatmap.key, board_key(play.mods), play.score, play.pp, 0, 0, 0, 0
        )
        for number, play in enumerate(plays)
        if play.passed
    ]
    flags_of = bests_among(passes)
    flags = [flags_of.get(number, _NO_FLAGS) for number in range(len(plays))]
    by_mode: defaultdict[int, list[tuple[Play, bool]]] = defaultdict(list)
    counts: Counter[tuple[int, int]] = Counter()
    last_ms: dict[tuple[int, int], int] = {}
    days: Counter[tuple[int, int]] = Counter()
    for play, best in zip(plays, flags, strict=True):
        by_mode[play.mode].append((play, best.best_pp))
        on = (play.mode, play.beatmap.key)
        counts[on] += 1
        last_ms[on] = play.play_time_ms
        days[play.mode, play.play_time_ms // DAY_MS] += 1
    months: Counter[tuple[int, int]] = Counter()
    for (mode, day), count in days.items():
        months[mode, month_of(day * DAY_MS)] += count
    user_id = plays[0].user_id if plays else 0
    return PlayerRows(
        scores=[row_of(play, best, country) for play, best in zip(plays, flags, strict=True)],
        stats=[
            msgspec.structs.asdict(_stats(mode, found, rules)) | {"country": country}
            for mode, found in sorted(by_mode.items())
        ],
        play_counts=[
            {"user_id": user_id, "mode": mode, "map_key": key, "plays": count, "last_play_ms": last_ms[mode, key]}
            for (mode, key), count in sorted(counts.items())
        ],
        month_plays=[
            {"user_id": user_id, "mode": mode, "month": month, "plays": count}
            for (mode, month), count in sorted(months.items())
        ],
    )


def _stats(mode: int, found: Sequence[tuple[Play, bool]], rules: TotalsOptions) -> Stats:
    """Return the stats in a mode. `found` are the plays in it, and whether each is the best by pp on its map."""
    plays = [play for play, _ in found]
    bests = [play for play, is_best in found if is_best]
    counted = [play for play in bests if rules.counts(play.beatmap.status)]
    grades = Counter(play.grade for play in counted)
    # Among equal pp the later play comes first, as in `statements.plays.WEIGHTED`.
    weighted = sorted(
        ((play.pp, number, play.acc) for number, play in enumerate(bests) if gives_pp(play.beatmap.status)),
        reverse=True,
    )
    pp, acc = totals([(pp, acc) for pp, _, acc in weighted[:WEIGHTED_MAX]], len(weighted), rules)
    return Stats(
        user_id=plays[0].user_id,
        mode=mode,
        tscore=sum(play.score for play in plays),
        rscore=sum(play.score for play in counted),
        pp=pp,
        plays=len(plays),
        bests=len(weighted),
        playtime=sum(play.time_elapsed // 1_000 for play in plays),
        acc=acc,
        max_combo=max((play.max_combo for play in plays if play.passed and has_board(play.beatmap.status)), default=0),
        total_hits=sum(total_hits(play.counts, vanilla(mode)) for play in plays),
        replay_views=0,
        **{column: grades[name] for name, column in COUNTED_GRADES.items()},
        last_play_ms=plays[-1].play_time_ms,
    )

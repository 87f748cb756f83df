"""The rules: which figures of a play are a sign of cheating. Each one is a function of figures and thresholds."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from kiai.beatmaps import Beatmap
from kiai.osu.accuracy import HitCounts
from kiai.osu.modes import vanilla
from kiai.osu.mods import clock_rate
from kiai.osu.replay_evidence import ReplayFigures
from kiai.osu.score_bounds import difficulty_multiplier, fewest_points, longest_combo, most_points
from kiai.server_settings import Settings

FRAMES_MIN: Final = 200
REGULAR_FRAMETIME_MS: Final = 16.0
HITS_MIN: Final = 80
"""Fewer hits are too few for statistics."""
PRESSES_MIN: Final = 80
HIT_SHARE_MIN: Final = 0.5
"""Of the objects. With fewer hits the replay does not fit the map, so its timing says nothing."""
EARLIER_MIN_MS: Final = 5_000
SPEED_AFTER_MAX_MS: Final = 86_400_000


class Thresholds(msgspec.Struct, frozen=True):
    """The operator's thresholds, see the settings `evidence_*`. 0 turns a rule off."""

    similarity: float = 0.75
    frametime_ms: float = 12.0
    unstable_rate: float = 25.0
    same_hold_share: float = 0.8
    exact_share: float = 0.5
    snaps: int = 8
    score_ratio: float = 1.1
    speed_share: float = 0.7


def thresholds(settings: Settings) -> Thresholds:
    """Return the thresholds of the settings, whose shares are in percent."""
    return Thresholds(
        similarity=settings.evidence_similarity / 100,
        frametime_ms=settings.evidence_frametime,
        unstable_rate=settings.evidence_unstable_rate,
        same_hold_share=settings.evidence_same_hold / 100,
        exact_share=settings.evidence_exact_hits / 100,
        snaps=settings.evidence_snaps,
        score_ratio=settings.evidence_score / 100,
        speed_share=settings.evidence_speed / 100,
    )


class ExaminedPlay(msgspec.Struct, frozen=True):
    """A stored play with what the rules need. Times in ms. `replay_md5` is None without a replay."""

    score_id: int
    user_id: int
    map_key: int
    mode: int
    mods: int
    score: int
    max_combo: int
    passed: int
    n300: int
    n100: int
    n50: int
    ngeki: int
    nkatu: int
    nmiss: int
    at_ms: int
    elapsed_ms: int
    replay_md5: bytes | None

    @property
    def counts(self) -> HitCounts:
        """The judgements."""
        return HitCounts(self.n300, self.n100, self.n50, self.ngeki, self.nkatu, self.nmiss)


class Sign(msgspec.Struct, frozen=True):
    """A sign of cheating: the kind of its flag, a sentence for staff, and the figures."""

    kind: str
    details: str
    figures: dict[str, Any]
    other_score_id: int = 0
    other_user_id: int = 0


def signs_of_play(
    play: ExaminedPlay, beatmap: Beatmap, previous_at_ms: int | None, limits: Thresholds
) -> Iterator[Sign]:
    """Yield the signs in the numbers of a play."""
    if not play.passed:
        return
    yield from _score_counts(play, beatmap, limits)
    yield from _combo_counts(play, beatmap)
    yield from _impossible_speed(play, beatmap, previous_at_ms, limits)


def sign_of_unmeasured(why: str) -> Sign:
    """Return the note for staff that a replay was not measured. The other rules have said nothing about it."""
    return Sign("replay", f"the replay cannot be measured: {why}", {})


def signs_of_replay(figures: ReplayFigures, limits: Thresholds) -> Iterator[Sign]:
    """Yield the signs in the figures of a replay, without comparisons."""
    yield from _timewarp(figures, limits)
    yield from _key_timing(figures, limits)
    yield from _relax_snap(figures, limits)


def signs_of_copies(figures: ReplayFigures, owners: dict[int, int], limits: Thresholds) -> Iterator[Sign]:
    """Yield a sign for each replay of another player that this one resembles. `owners` are players by score."""
    for one in figures.similar:
        if not limits.similarity or one.figures.similarity < limits.similarity or one.score_id not in owners:
            continue
        measured = {name: getattr(one.figures, name) for name in one.figures.__struct_fields__}
        yield Sign(
            "replay_similarity",
            f"{one.figures.similarity:.0%} similar to the replay of score {one.score_id}: "
            f"the median distance is {one.figures.distance}",
            {**measured, "threshold": limits.similarity},
            one.score_id,
            owners[one.score_id],
        )


def _score_counts(play: ExaminedPlay, beatmap: Beatmap, limits: Thresholds) -> Iterator[Sign]:
    mode = vanilla(play.mode)
    if not limits.score_ratio:
        return
    most = most_points(
        play.counts,
        mode,
        play.mods,
        multiplier=difficulty_multiplier(
            hp=beatmap.hp, cs=beatmap.cs, od=beatmap.od, objects=beatmap.objects, drain_s=beatmap.hit_length
        ),
        objects=beatmap.objects,
        map_combo=beatmap.max_combo if beatmap.mode == mode else 0,
        length_s=beatmap.total_length,
    )
    fewest = fewest_points(play.counts, mode)
    figures = {
        "score": play.score,
        "most_by_counts": round(most),
        "fewest_by_counts": fewest,
        "ratio": round(play.score / most, 3) if most else 0.0,
        "threshold": limits.score_ratio,
    }
    if most and play.score > most * limits.score_ratio:
        yield Sign("score_counts", f"{play.score} points; the counts allow about {most:.0f}", figures)
    elif play.score < fewest / limits.score_ratio:
        yield Sign("score_counts", f"{play.score} points; the hits alone are worth {fewest}", figures)


def _combo_counts(play: ExaminedPlay, beatmap: Beatmap) -> Iterator[Sign]:
    mode = vanilla(play.mode)
    longest = longest_combo(play.counts, mode, beatmap.max_combo) if beatmap.mode == mode else None
    if longest is not None and play.max_combo > longest:
        yield Sign(
            "combo_counts",
            f"a combo of {play.max_combo} with {play.nmiss} misses on a map of {beatmap.max_combo}",
            {
                "max_combo": play.max_combo,
                "misses": play.nmiss,
                "map_max_combo": beatmap.max_combo,
                "threshold": longest,
            },
        )


def _impossible_speed(
    play: ExaminedPlay, beatmap: Beatmap, previous_at_ms: int | None, limits: Thresholds
) -> Iterator[Sign]:
    if previous_at_ms is None or not limits.speed_share:
        return
    needed_ms = beatmap.hit_length * 1000 / clock_rate(play.mods)
    passed_ms = play.at_ms - previous_at_ms
    # A play of a replay import can be older than the one before it.
    if not 0 <= passed_ms < min(needed_ms * limits.speed_share, needed_ms - EARLIER_MIN_MS, SPEED_AFTER_MAX_MS):
        return
    yield Sign(
        "impossible_speed",
        f"ended {passed_ms / 1000:.0f} s after the play before; the map takes {needed_ms / 1000:.0f} s",
        {
            "since_last_play_ms": passed_ms,
            "map_length_ms": round(needed_ms),
            "share": round(passed_ms / needed_ms, 3),
            "threshold": limits.speed_share,
        },
    )


def _timewarp(figures: ReplayFigures, limits: Thresholds) -> Iterator[Sign]:
    # A slowed-down game shortens all steps. Recorders other than the game mix short and long ones.
    if figures.upper_frametime_ms >= REGULAR_FRAMETIME_MS:
        return
    if figures.frames >= FRAMES_MIN and 0 < figures.frametime_ms < limits.frametime_ms:
        yield Sign(
            "timewarp",
            f"{figures.frametime_ms} ms from frame to frame; the game records one each 16 ms",
            {
                "average_frametime_ms": figures.frametime_ms,
                "upper_frametime_ms": figures.upper_frametime_ms,
                "frames": figures.frames,
                "threshold": limits.frametime_ms,
            },
        )


def _fits(figures: ReplayFigures) -> bool:
    """Whether there are enough hits, and the replay is one of this map."""
    hits = figures.hits or 0
    return hits >= HITS_MIN and hits >= figures.objects * HIT_SHARE_MIN


def _key_timing(figures: ReplayFigures, limits: Thresholds) -> Iterator[Sign]:
    measured = {
        "unstable_rate": figures.unstable_rate,
        "hits": figures.hits,
        "presses": figures.presses,
        "mean_hold_ms": figures.mean_hold_ms,
        "same_hold_share": figures.same_hold_share,
        "threshold_unstable_rate": limits.unstable_rate,
        "threshold_same_hold_share": limits.same_hold_share,
    }
    if _fits(figures) and figures.unstable_rate is not None and figures.unstable_rate < limits.unstable_rate:
        details = f"an unstable rate of {figures.unstable_rate} over {figures.hits} hits"
        yield Sign("key_timing", details, {**measured, "threshold": limits.unstable_rate})
    elif (
        limits.same_hold_share and figures.presses >= PRESSES_MIN and figures.same_hold_share >= limits.same_hold_share
    ):
        details = f"{figures.same_hold_share:.0%} of {figures.presses} key presses are equally long"
        yield Sign("key_timing", details, {**measured, "threshold": limits.same_hold_share})


def _relax_snap(figures: ReplayFigures, limits: Thresholds) -> Iterator[Sign]:
    if not _fits(figures):
        return
    measured = {
        "exact_share": figures.exact_share,
        "snaps": figures.snaps,
        "hits": figures.hits,
        "threshold_exact_share": limits.exact_share,
        "threshold_snaps": limits.snaps,
    }
    if limits.exact_share and (figures.exact_share or 0) >= limits.exact_share:
        details = f"{figures.exact_share:.0%} of {figures.hits} hits are within 1 ms of their object"
        yield Sign("relax_snap", details, {**measured, "threshold": limits.exact_share})
    elif limits.snaps and (figures.snaps or 0) >= limits.snaps:
        details = f"the cursor jumped to an object for one frame and back {figures.snaps} times"
        yield Sign("relax_snap", details, {**measured, "threshold": limits.snaps})

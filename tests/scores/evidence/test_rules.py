"""Each rule is silent below its threshold, speaks above it, and can be turned off."""

from typing import Any

import msgspec
import pytest
from tests.builders import World, a_map, a_player

from kiai.beatmaps import Beatmap
from kiai.osu.mods import DT
from kiai.osu.replay_evidence import ReplayFigures, SimilarReplay
from kiai.osu.replay_signature import Similarity
from kiai.scores.evidence.rules import (
    ExaminedPlay,
    Thresholds,
    signs_of_copies,
    signs_of_play,
    signs_of_replay,
)

OFF = Thresholds(*[0] * len(Thresholds.__struct_fields__))
HONEST = ReplayFigures(
    frames=5_000,
    frametime_ms=16,
    upper_frametime_ms=17,
    presses=400,
    mean_hold_ms=70,
    same_hold_share=0.1,
    hits=390,
    objects=400,
    unstable_rate=90,
    exact_share=0.1,
    snaps=1,
    signature=b"",
    similar=[],
)


def kinds(limits: Thresholds, **changes: Any) -> list[str]:
    return [sign.kind for sign in signs_of_replay(msgspec.structs.replace(HONEST, **changes), limits)]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("timewarp", {"frametime_ms": 10.7, "upper_frametime_ms": 11.3}),
        ("key_timing", {"unstable_rate": 12}),
        ("key_timing", {"same_hold_share": 0.95}),
        ("relax_snap", {"exact_share": 0.8}),
        ("relax_snap", {"snaps": 30}),
    ],
)
def test_rules_of_a_replay(kind: str, changes: dict[str, Any]) -> None:
    assert kinds(Thresholds()) == []
    assert kinds(Thresholds(), **changes) == [kind]
    assert kinds(OFF, **changes) == []
    [sign] = signs_of_replay(msgspec.structs.replace(HONEST, **changes), Thresholds())
    assert "threshold" in sign.figures
    assert sign.details


@pytest.mark.parametrize(
    "changes",
    [
        {"frametime_ms": 10, "upper_frametime_ms": 80},  # another recorder
        {"frametime_ms": 10, "upper_frametime_ms": 11, "frames": 90},
        {"unstable_rate": 5, "hits": 20},
        {"unstable_rate": 5, "hits": 100},  # a quarter of the objects: the replay is not one of the map
        {"exact_share": 1.0, "hits": None, "unstable_rate": None},
        {"same_hold_share": 1.0, "presses": 10},
    ],
)
def test_too_few_figures_are_no_sign(changes: dict[str, Any]) -> None:
    assert kinds(Thresholds(), **changes) == []


def test_only_replays_of_other_players_above_the_threshold_are_copies() -> None:
    figures = Similarity(0.9, 0.95, 0.95, 1.5, 200, 10, 3, 0, 0.9)
    similar = [
        SimilarReplay(7, figures),
        SimilarReplay(8, msgspec.structs.replace(figures, similarity=0.5)),
        SimilarReplay(9, figures),
    ]
    found = msgspec.structs.replace(HONEST, similar=similar)

    [sign] = signs_of_copies(found, {7: 3, 8: 4}, Thresholds())

    assert (sign.kind, sign.other_score_id, sign.other_user_id) == ("replay_similarity", 7, 3)
    assert (sign.figures["similarity"], sign.figures["threshold"]) == (0.9, 0.75)
    assert list(signs_of_copies(found, {7: 3, 8: 4}, OFF)) == []


@pytest.fixture
def song(world: World) -> Beatmap:
    world.add_player(a_player("alice"))
    return world.add_map(a_map(objects=100))  # 50 s long


def play(**changes: Any) -> ExaminedPlay:
    fields = {
        "score_id": 2,
        "user_id": 3,
        "map_key": 1,
        "mode": 0,
        "mods": 0,
        "score": 300_000,
        "max_combo": 100,
        "passed": 1,
        "n300": 100,
        "n100": 0,
        "n50": 0,
        "ngeki": 0,
        "nkatu": 0,
        "nmiss": 0,
        "at_ms": 1_000_000,
        "elapsed_ms": 50_000,
        "replay_md5": None,
    }
    return ExaminedPlay(**{**fields, **changes})


@pytest.mark.parametrize(
    ("kind", "changes", "before_ms"),
    [
        ("score_counts", {"score": 50_000_000}, None),
        ("score_counts", {"score": 20_000}, None),
        ("combo_counts", {"n300": 90, "nmiss": 10, "max_combo": 95}, None),
        ("impossible_speed", {}, 10_000),
        ("impossible_speed", {"mods": DT}, 10_000),
    ],
)
def test_rules_of_numbers(song: Beatmap, kind: str, changes: dict[str, Any], before_ms: int | None) -> None:
    at = None if before_ms is None else 1_000_000 - before_ms

    [sign] = signs_of_play(play(**changes), song, at, Thresholds())

    assert sign.kind == kind
    assert "threshold" in sign.figures
    assert list(signs_of_play(play(passed=0, **changes), song, at, Thresholds())) == []


@pytest.mark.parametrize("before_ms", [None, 60_000, 45_000, -5_000, 10**9])
def test_honest_numbers_are_no_sign(song: Beatmap, before_ms: int | None) -> None:
    at = None if before_ms is None else 1_000_000 - before_ms

    assert list(signs_of_play(play(), song, at, Thresholds())) == []
    assert list(signs_of_play(play(n300=90, n100=6, nmiss=4, max_combo=60), song, at, Thresholds())) == []

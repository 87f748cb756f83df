"""A disguised copy of a replay is similar to it; two honest plays are not, also on slow maps."""

import time
from collections.abc import Callable, Sequence
from itertools import combinations
from random import Random
from typing import Final

import pytest
from tests.osu.humans import Frame, human_frames, jumps, mirrored, noisy, shifted, stream_of, thinned
from tests.osu.playing import a_chart, a_mania_stream, a_stream, circles
from tests.patience import patiently

from kiai.osu.beatmap_file import parse_objects
from kiai.osu.mods import AP, HR
from kiai.osu.replay_evidence import KnownReplay, comparable, measure
from kiai.osu.replay_signature import BYTES_MAX, Comparable, Similarity, read_signature
from kiai.osu.replay_track import read_track

THRESHOLD: Final = 0.75
HONEST_MAX: Final = 0.6
MAPS: Final = {
    "all objects at one place": a_chart(jumps(100, 1, far=0)),
    "slow": a_chart(jumps(100, 2, far=40, apart_ms=500)),
    "stream": a_chart(jumps(200, 3, far=30, apart_ms=90)),
    "jumps": a_chart(jumps(140, 4, far=200, apart_ms=250)),
}
DISGUISES: Final[dict[str, tuple[Callable[[Sequence[Frame]], Sequence[Frame]], int]]] = {
    "none": (list, 0),
    "later": (lambda frames: shifted(frames, ms=35), 0),
    "earlier": (lambda frames: shifted(frames, ms=-35), 0),
    "moved": (lambda frames: shifted(frames, x=8, y=-6), 0),
    "every second frame": (thinned, 0),
    "every third frame": (lambda frames: thinned(frames, 3), 0),
    "mirrored": (mirrored, HR),
    "noise": (lambda frames: noisy(frames, 1.5), 0),
    "everything": (lambda frames: shifted(noisy(thinned(mirrored(frames)), 1), ms=15, x=5, y=5), HR),
}


def of(osu: bytes, stream: bytes, *, mode: int = 0, mods: int = 0) -> Comparable:
    found = comparable(parse_objects(osu), read_track(stream, mode), mode=mode, mods=mods)
    assert found is not None
    return found


def similarity(osu: bytes, one: bytes, other: bytes, *, mode: int = 0, mods: int = 0, others: int = 0) -> float:
    stored = read_signature(of(osu, other, mode=mode, mods=others).signature())
    assert stored is not None
    found: Similarity | None = of(osu, one, mode=mode, mods=mods).similarity(stored)
    return 0.0 if found is None else found.similarity


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("name", MAPS)
def test_disguised_copy_is_similar(name: str, disguise: str) -> None:
    osu, (change, mods) = MAPS[name], DISGUISES[disguise]
    for seed in (1, 2):
        frames = human_frames(osu, seed)
        copy, original = stream_of(change(frames)), stream_of(frames)

        assert similarity(osu, copy, original, mods=mods) >= THRESHOLD
        assert similarity(osu, original, copy, others=mods) >= THRESHOLD


@pytest.mark.parametrize("aim_px", [3.0, 9.0, 16.0])
@pytest.mark.parametrize("name", MAPS)
def test_honest_plays_are_not_similar(name: str, aim_px: float) -> None:
    osu = MAPS[name]
    streams = [stream_of(human_frames(osu, seed, aim_px=aim_px, timing_ms=5, tremor_px=0.3)) for seed in range(5)]

    for one, other in combinations(streams, 2):
        assert similarity(osu, one, other) < HONEST_MAX


def test_cursors_that_stay_or_leave_are_not_similar() -> None:
    osu = MAPS["jumps"]
    resting = stream_of([Frame(at, 256, 192, 0) for at in range(0, 40_000, 16)])
    elsewhere = stream_of([Frame(at, 100, 80, 0) for at in range(0, 40_000, 16)])
    short = stream_of(human_frames(osu, 1)[:100])

    assert similarity(osu, resting, resting) == 0
    assert similarity(osu, resting, elsewhere) == 0
    assert similarity(osu, short, short) == 0  # too few objects to compare


def test_without_a_cursor_the_errors_of_hits_count() -> None:
    osu = a_chart(circles(150, apart_ms=300))
    times = [1000 + 300 * number for number in range(150)]

    def stream(seed: int, later: float = 0) -> bytes:
        rng = Random(seed)
        return a_stream([(at + rng.gauss(0, 12) + later, 256, 192, (5, 10)[at % 2]) for at in times])

    assert similarity(osu, stream(1, later=9), stream(1), mods=AP, others=AP) >= THRESHOLD
    assert similarity(osu, stream(2), stream(1), mods=AP, others=AP) < HONEST_MAX


def test_copy_in_mania_is_similar() -> None:
    lines = [f"{64 + 128 * (n % 4)},192,{1000 + 150 * n},1,0,0:0:0:0:" for n in range(200)]
    osu = a_chart(lines, mode=3, cs=4)

    def stream(seed: int, later: float = 0) -> bytes:
        rng = Random(seed)
        return a_mania_stream([(1000 + 150 * n + rng.gauss(0, 12) + later, 1 << n % 4) for n in range(200)])

    assert similarity(osu, stream(1, later=5), stream(1), mode=3) >= THRESHOLD
    assert similarity(osu, stream(2), stream(1), mode=3) < HONEST_MAX


def test_signature_is_small_and_damaged_ones_are_ignored() -> None:
    osu = MAPS["stream"]
    data = of(osu, stream_of(human_frames(osu, 1))).signature()

    assert len(data) <= BYTES_MAX
    assert read_signature(b"") is None
    assert read_signature(b"\x09" + data[1:]) is None
    assert read_signature(data[:100]) is None


def test_hundred_signatures_are_compared_in_fifty_milliseconds() -> None:
    osu = MAPS["stream"]
    frames = stream_of(human_frames(osu, 0))
    known = [
        KnownReplay(seed, of(osu, stream_of(human_frames(osu, seed % 10 + 1))).signature()) for seed in range(10)
    ] * 10
    began = time.process_time()
    alone = measure(osu, frames, mode=0, mods=0, known=[])
    alone_s = time.process_time() - began

    began = time.process_time()
    found = measure(osu, frames, mode=0, mods=0, known=known)

    assert found.signature == alone.signature
    assert time.process_time() - began - alone_s < patiently(0.05)

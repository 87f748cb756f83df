"""The figures of replays: frame times, key holds, exact hits, snaps."""

import lzma
import tracemalloc
from collections.abc import Sequence

import pytest
from tests.osu.humans import Frame, human_frames, jumps, stream_of
from tests.osu.playing import a_chart
from tests.osu.real_files import real_files

from kiai.osu import replay_track
from kiai.osu.mods import DT
from kiai.osu.replay_evidence import ReplayFigures, measure
from kiai.osu.replay_file import BadReplay, read_replay
from kiai.osu.replay_track import read_track

OSU = a_chart(jumps(120, 5, far=150))


def figures(frames: Sequence[Frame], *, mods: int = 0, osu: bytes = OSU) -> ReplayFigures:
    return measure(osu, stream_of(frames), mode=0, mods=mods, known=[])


def test_frames_of_a_play_are_16_ms_apart_at_every_speed() -> None:
    assert figures(human_frames(OSU, 1)).frametime_ms == 16
    assert figures(human_frames(OSU, 1, mods=DT), mods=DT).frametime_ms == 16


def test_frames_of_a_slowed_down_game_are_closer() -> None:
    found = figures(human_frames(OSU, 1, frame_ms=10.7))

    assert 10 <= found.frametime_ms <= 11
    assert found.upper_frametime_ms <= 11


def test_hits_and_holds_of_a_play() -> None:
    found = figures(human_frames(OSU, 1))

    assert found.objects == 120
    assert (found.hits or 0) > 100
    assert 60 <= (found.unstable_rate or 0) <= 130
    assert (found.exact_share or 0) < 0.25
    assert found.same_hold_share < 0.2
    assert 60 <= found.mean_hold_ms <= 80
    assert found.snaps == 0


def test_exact_hits() -> None:
    found = figures(human_frames(OSU, 1, timing_ms=0.2))

    assert (found.exact_share or 0) > 0.9
    assert (found.unstable_rate or 0) < 10


def snapping(frames: Sequence[Frame]) -> list[Frame]:
    """Return frames whose cursor is elsewhere, except in the frame of each press."""
    moved = []
    held = 0
    for number, one in enumerate(frames):
        pressed = one.keys & ~held
        held = one.keys
        close = 0 < number < len(frames) - 1 and frames[number + 1].at_ms - frames[number - 1].at_ms < 40
        moved.append(one if pressed and close else one._replace(x=one.x + 80))
    return moved


def test_cursor_that_jumps_to_each_object_for_a_frame() -> None:
    frames = human_frames(OSU, 1, aim_px=1)

    assert (figures(snapping(frames)).snaps or 0) > 60
    assert figures(frames).snaps == 0


def test_without_a_map_only_frames_and_keys_are_measured() -> None:
    found = figures(human_frames(OSU, 1), osu=b"")

    assert (found.frametime_ms, found.hits, found.signature, found.similar) == (16, None, b"", [])
    assert found.presses > 100


@pytest.mark.parametrize("text", ["0|1|1|0,16|99999999|0|1,16|-99999999|2|0,", "0|1|1|0,-50|1|1|5,16|2|2|0,", ","])
def test_odd_frames_have_figures(text: str) -> None:
    stream = lzma.compress(text.encode(), lzma.FORMAT_ALONE)

    assert measure(OSU, stream, mode=0, mods=0, known=[]).similar == []


def test_damaged_frames_are_refused() -> None:
    with pytest.raises(BadReplay):
        measure(OSU, b"no stream", mode=0, mods=0, known=[])


@pytest.mark.parametrize("path", real_files("replays", ".osr"), ids=lambda path: path.name)
def test_real_replays_have_no_signs_of_their_own(path: object) -> None:
    replay = read_replay(path.read_bytes())  # type: ignore[attr-defined]

    found = measure(b"", replay.frames, mode=replay.mode, mods=replay.mods, known=[])

    assert 15 <= found.frametime_ms <= 20
    assert found.same_hold_share < 0.2


def test_memory_of_a_track_is_32_bytes_per_frame() -> None:
    frames = 200_000
    stream = lzma.compress(b"1|0.5|0.5|0," * frames, format=lzma.FORMAT_ALONE, preset=0)
    tracemalloc.start()
    try:
        read_track(stream, 0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Growing an array needs an eighth more; a piece of 256 KiB of the text becomes a list of frames.
    assert peak < 40 * frames + 4 * 1024**2


def test_regular_steps_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_track, "STEPS_MAX", 100)
    assert figures(human_frames(OSU, 1)).frames == 100

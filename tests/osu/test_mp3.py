"""Cutting MP3 files at frame boundaries."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.patience import core_seconds

from kiai.osu.mp3 import cut_mp3

BITRATE, RATE, SAMPLES = 128_000, 44_100, 1_152
FRAME = SAMPLES // 8 * BITRATE // RATE
FRAME_MS = SAMPLES * 1_000 / RATE


def mp3_of(seconds: float, *, tag: bytes = b"") -> bytes:
    """Return frames of 128 kbit/s that contain noise without sync bytes."""
    rng = random.Random(4)
    count = int(seconds * 1_000 / FRAME_MS)
    return tag + b"".join(
        b"\xff\xfb\x90\x00" + bytes(rng.randrange(1, 250) for _ in range(FRAME - 4)) for _ in range(count)
    )


def test_piece_consists_of_whole_frames() -> None:
    music = mp3_of(20)

    piece = cut_mp3(music, 5_000, 10_000)

    assert piece is not None
    at = music.index(piece)
    assert at % FRAME == 0
    assert abs(at / FRAME * FRAME_MS - 5_000) <= FRAME_MS
    assert abs(len(piece) / FRAME * FRAME_MS - 10_000) <= 2 * FRAME_MS


def test_start_outside_the_song_selects_the_beginning() -> None:
    music = mp3_of(12)

    for start in (-1, 60_000):
        piece = cut_mp3(music, start, 1_000)
        assert piece is not None
        assert music.startswith(piece)


def test_id3_tag_is_skipped() -> None:
    tag = b"ID3\x04\x00\x00\x00\x00\x01\x00" + b"\xff\xfb\x90\x00" * 32
    music = mp3_of(5, tag=tag)

    piece = cut_mp3(music, 0, 1_000)

    assert piece is not None
    assert piece == music[len(tag) : len(tag) + len(piece)]


def test_data_other_than_mp3_returns_none() -> None:
    for data in (b"", b"OggS" * 1_000, b"\xff" * 1_000, mp3_of(0.05), b"RIFF" + bytes(5_000)):
        assert cut_mp3(data, 0, 1_000) is None


@given(st.binary(max_size=4_000), st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_arbitrary_bytes_raise_no_error(data: bytes, start_ms: float, length_ms: float) -> None:
    piece = cut_mp3(data, start_ms, length_ms)

    assert piece is None or len(piece) <= len(data)


@pytest.mark.parametrize("looks_like_music", [b"\xff", b"\xff\xfb\x90\x00", b"\xff\xe3\x10\xc0" + bytes(44)])
def test_false_frames_take_bounded_time(looks_like_music: bytes) -> None:
    data = looks_like_music * (40 * 1024 * 1024 // len(looks_like_music))

    took_s = core_seconds(lambda: cut_mp3(data, 0, 1_000), enough=1)

    assert took_s < 1, "takes a few hundredths of a second; without the bound several seconds"

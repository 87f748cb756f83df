"""Cutting MP3s at their frames."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiai.osu.mp3 import cut_mp3

BITRATE, RATE, SAMPLES = 128_000, 44_100, 1_152
FRAME = SAMPLES // 8 * BITRATE // RATE
FRAME_MS = SAMPLES * 1_000 / RATE


def an_mp3(seconds: float, *, tag: bytes = b"") -> bytes:
    """Frames of 128 kbit/s whose music is noise without sync bytes."""
    chance = random.Random(4)
    count = int(seconds * 1_000 / FRAME_MS)
    return tag + b"".join(
        b"\xff\xfb\x90\x00" + bytes(chance.randrange(1, 250) for _ in range(FRAME - 4)) for _ in range(count)
    )


def test_a_piece_is_whole_frames_from_where_it_begins() -> None:
    music = an_mp3(20)

    piece = cut_mp3(music, 5_000, 10_000)

    assert piece is not None
    at = music.index(piece)
    assert at % FRAME == 0
    assert abs(at / FRAME * FRAME_MS - 5_000) <= FRAME_MS
    assert abs(len(piece) / FRAME * FRAME_MS - 10_000) <= 2 * FRAME_MS


def test_a_start_outside_the_song_gives_its_beginning() -> None:
    music = an_mp3(12)

    for start in (-1, 60_000):
        piece = cut_mp3(music, start, 1_000)
        assert piece is not None
        assert music.startswith(piece)


def test_a_tag_before_the_music_is_passed_over() -> None:
    tag = b"ID3\x04\x00\x00\x00\x00\x01\x00" + b"\xff\xfb\x90\x00" * 32
    music = an_mp3(5, tag=tag)

    piece = cut_mp3(music, 0, 1_000)

    assert piece is not None
    assert piece == music[len(tag) : len(tag) + len(piece)]


def test_what_is_no_mp3_is_none() -> None:
    for data in (b"", b"OggS" * 1_000, b"\xff" * 1_000, an_mp3(0.05), b"RIFF" + bytes(5_000)):
        assert cut_mp3(data, 0, 1_000) is None


@given(st.binary(max_size=4_000), st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_no_bytes_break_it(data: bytes, start_ms: float, length_ms: float) -> None:
    piece = cut_mp3(data, start_ms, length_ms)

    assert piece is None or len(piece) <= len(data)


@pytest.mark.parametrize("looks_like_music", [b"\xff", b"\xff\xfb\x90\x00", b"\xff\xe3\x10\xc0" + bytes(44)])
def test_what_only_looks_like_music_does_not_keep_us_busy(looks_like_music: bytes) -> None:
    data = looks_like_music * (40 * 1024 * 1024 // len(looks_like_music))

    began = time.process_time()
    cut_mp3(data, 0, 1_000)

    assert time.process_time() - began < 2, "a few hundredths; a second and more for every byte"

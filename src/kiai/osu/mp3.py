"""Cuts a piece out of an MP3 without decoding it: each frame can be played separately (ISO 11172-3, 2.4.1)."""

from collections.abc import Iterator
from itertools import islice
from typing import Final

# kbit/s by the index in the header: layer III of MPEG 1, and of MPEG 2 and 2.5. Index 0 (free format) is not supported.
_BITRATES_1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_BITRATES_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_LAYER_III: Final = 1
_MPEG_1: Final = 3
_FRAMES_MIN: Final = 4  # other data can contain a few bytes that look like frames
_FRAMES_MAX: Final = 200_000  # more than an hour of music
_FALSE_MAX: Final = 100_000  # false starts of a frame; a hostile file could otherwise consist of them


def cut_mp3(data: bytes, start_ms: float, length_ms: float) -> bytes | None:
    """Return the frames of the `length_ms` from `start_ms` on, or None if the data is not an MP3.

    A start outside the music selects the beginning.
    """
    frames = list(islice(_frames(data), _FRAMES_MAX))
    if len(frames) < _FRAMES_MIN:
        return None
    total_ms = sum(duration_ms for _, _, duration_ms in frames)
    if not 0 <= start_ms < total_ms:  # many maps have a preview time of -1
        start_ms = 0.0
    at_ms = 0.0
    piece = bytearray()
    for offset, size, duration_ms in frames:
        if at_ms >= start_ms + length_ms:
            break
        if at_ms + duration_ms > start_ms:
            piece += data[offset : offset + size]
        at_ms += duration_ms
    return bytes(piece)


def _frames(data: bytes) -> Iterator[tuple[int, int, float]]:
    """Yield the offset, size in bytes and duration in ms of each frame."""
    at = _audio_offset(data)
    end = len(data)
    false_starts = 0
    while at + 4 <= end and false_starts < _FALSE_MAX:
        at = data.find(b"\xff", at)
        if at < 0 or at + 4 > end:
            return
        frame = _parse_header(data[at : at + 4])
        if frame is None or at + frame[0] > end:
            at += 1
            false_starts += 1
            continue
        size, duration_ms = frame
        # Audio data can look like a header. A real frame is followed by the next one, by a tag (TAG, APE, ID3) or by
        # the end of the file.
        following = data[at + size : at + size + 2]
        if following and not (following[0] == 0xFF or following[:2] in (b"TA", b"AP", b"ID")):
            at += 1
            false_starts += 1
            continue
        yield at, size, duration_ms
        at += size


def _parse_header(header: bytes) -> tuple[int, float] | None:
    """Return the size in bytes and duration in ms of the frame with this header, or None unless it is layer III."""
    if header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bitrate_index, rate_index, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if layer != _LAYER_III or version not in _RATES or rate_index == 3 or bitrate_index in (0, 15):
        return None
    bitrate = (_BITRATES_1 if version == _MPEG_1 else _BITRATES_2)[bitrate_index] * 1_000
    rate = _RATES[version][rate_index]
    samples = 1_152 if version == _MPEG_1 else 576
    return samples // 8 * bitrate // rate + padding, samples * 1_000 / rate


def _audio_offset(data: bytes) -> int:
    """Return the offset of the first byte after the ID3v2 tag, if there is one."""
    if len(data) < 10 or data[:3] != b"ID3":
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F  # ID3v2 stores sizes in 7 bits per byte, so that they never look like a frame
    return min(10 + size, len(data))

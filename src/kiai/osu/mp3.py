"""Cutting a piece out of an MP3 without decoding it: frames stand for themselves (ISO 11172-3, 2.4.1)."""

from collections.abc import Iterator
from itertools import islice
from typing import Final

# kbit/s by the header's index; layer III of MPEG 1, and of MPEG 2 and 2.5.
_BITRATES_1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_BITRATES_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_LAYER_III: Final = 1
_MPEG_1: Final = 3
_FRAMES_MIN: Final = 4  # fewer in a row may be chance
_FRAMES_MAX: Final = 200_000  # more than an hour
_FALSE_MAX: Final = 100_000  # bytes that look like a frame and begin none: what has more is made to keep us busy


def cut_mp3(data: bytes, start_ms: float, length_ms: float) -> bytes | None:
    """The frames of the piece from `start_ms` on; None for what is no MP3. A start outside gives the beginning."""
    frames = list(islice(_frames(data), _FRAMES_MAX))
    if len(frames) < _FRAMES_MIN:
        return None
    total_ms = sum(one[2] for one in frames)
    if not 0 <= start_ms < total_ms:
        start_ms = 0.0
    at_ms = 0.0
    piece = bytearray()
    for begin, size, lasts_ms in frames:
        if at_ms >= start_ms + length_ms:
            break
        if at_ms + lasts_ms > start_ms:
            piece += data[begin : begin + size]
        at_ms += lasts_ms
    return bytes(piece)


def _frames(data: bytes) -> Iterator[tuple[int, int, float]]:
    """Begin, size and time of each frame."""
    at = _behind_tag(data)
    end = len(data)
    false = 0
    while at + 4 <= end and false < _FALSE_MAX:
        at = data.find(b"\xff", at)
        if at < 0 or at + 4 > end:
            return
        found = _frame(data[at : at + 4])
        if found is None or at + found[0] > end:
            at += 1
            false += 1
            continue
        size, lasts_ms = found
        follows = data[at + size : at + size + 2]
        if follows and not (follows[0] == 0xFF or follows[:2] in (b"TA", b"AP", b"ID")):
            at += 1  # two bytes of music that look like a frame
            false += 1
            continue
        yield at, size, lasts_ms
        at += size


def _frame(header: bytes) -> tuple[int, float] | None:
    """Size in bytes and time in ms of the frame with this header; None for what is no header of layer III."""
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


def _behind_tag(data: bytes) -> int:
    """Where the music begins behind an ID3v2 tag."""
    if len(data) < 10 or data[:3] != b"ID3":
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return min(10 + size, len(data))

"""Replay files: reading and writing .osr, and checking the frames (docs/spec/replays.md).

Little-endian. A string is 00 (null), or 0B, its length as ULEB128 and UTF-8. The frames are an LZMA "alone" stream that
is kept as it came, because whoever downloads the replay must get those bytes: `read_replay` does not decompress it, and
`check_frames` decompresses it within fixed bounds. The same holds for the block that lazer appends
(`lazer_score.read_lazer_score`). What the checksum in the header says is in `replay_checksum`.
"""

import lzma
import math
import re
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from kiai.osu.accuracy import Counts
from kiai.osu.mods import ALL, TP

FILE_MAX_BYTES: Final = 32 * 1024 * 1024
NAME_MAX_BYTES: Final = 1024
LIFE_BAR_MAX_BYTES: Final = 1024 * 1024
"""An hour of play makes some 40 KB."""
FRAMES_MAX_BYTES: Final = 50 * 1024 * 1024
LZMA_MEMORY_MAX_BYTES: Final = 64 * 1024 * 1024
FRAMES_MIN: Final = 2

FIRST_LAZER_VERSION: Final = 30_000_000
"""Versions of stable are dates (20260711); those of lazer count up from here."""

_FIRST_VERSION_WITH_ID: Final = 20121008
_FIRST_VERSION_WITH_LONG_ID: Final = 20140721
_FIRST_VERSION_WITH_LAZER_BLOCK: Final = 30_000_001
_UNIX_EPOCH_TICKS: Final = 621_355_968_000_000_000
_TICKS_PER_MS: Final = 10_000
_TICKS_MAX: Final = 3_155_378_975_999_999_999
"""The last moment of the year 9999, where .NET's dates end."""
_U16_MAX: Final = 2**16 - 1
_I32_MAX: Final = 2**31 - 1
_I32_MIN: Final = -(2**31)

_HEAD: Final = struct.Struct("<Bi")
_RESULT: Final = struct.Struct("<6HiHBi")
_I32: Final = struct.Struct("<i")
_I64: Final = struct.Struct("<q")
_F64: Final = struct.Struct("<d")

_MD5: Final = re.compile(r"[0-9a-fA-F]{32}")


class BadReplay(ValueError):
    """The replay cannot be used; the message says why."""


class ReplayFile(msgspec.Struct, frozen=True):
    """A .osr file."""

    mode: int
    """0-3, for relax and autopilot too."""
    game_version: int
    beatmap_md5: str
    player_name: str
    replay_md5: str
    """As the file states it; `replay_checksum.checksum_form` says what it is worth."""
    counts: Counts
    score: int
    max_combo: int
    perfect: bool
    mods: int
    life_bar: str
    played_at_ms: int
    """Unix ms. The file counts ticks of 100 ns: reading drops what is finer than 1 ms, writing puts zeros there."""
    frames: bytes
    """An LZMA stream, as it came."""
    score_id: int
    target_accuracy: float | None
    """Only with Target Practice, and not in files of lazer."""
    lazer_block: bytes = b""
    """What lazer appends from version 30000001 on, an LZMA stream as it came; empty if there is none."""


def read_replay(data: bytes) -> ReplayFile:
    """Reads a whole file; raises BadReplay and nothing else, whatever the bytes.

    Bytes after the last field are ignored. A file of a version that had no id, or one of 32 bits, may hold one of 64
    bits: the osu! site writes old versions in today's layout, and the number of bytes that are left tells.
    """
    if len(data) > FILE_MAX_BYTES:
        raise BadReplay(f"the file is larger than {FILE_MAX_BYTES // 2**20} MiB")
    reader = _Reader(data)
    mode, game_version = reader.fields(_HEAD, "mode and version")
    if mode > 3:
        raise BadReplay(f"there is no mode {mode}")
    beatmap_md5 = reader.string("the map's md5")
    if not _MD5.fullmatch(beatmap_md5):
        raise BadReplay("the map's md5 is not 32 hex digits")
    player_name = reader.string("the player's name")
    replay_md5 = reader.string("the replay's md5")
    n300, n100, n50, ngeki, nkatu, nmiss, score, max_combo, perfect, mods = reader.fields(_RESULT, "the result")
    if score < 0:
        raise BadReplay("the score is negative")
    if mods < 0:
        raise BadReplay("the mods are negative")
    life_bar = reader.string("the life bar", LIFE_BAR_MAX_BYTES)
    (ticks,) = reader.fields(_I64, "the time")
    if not 0 <= ticks <= _TICKS_MAX:
        raise BadReplay("the time is out of all reason")
    frames = reader.block("the frames")
    score_id, target_accuracy, lazer_block = _read_tail(reader, game_version, mods)
    return ReplayFile(
        mode=mode,
        game_version=game_version,
        beatmap_md5=beatmap_md5,
        player_name=player_name,
        replay_md5=replay_md5,
        counts=Counts(n300, n100, n50, ngeki, nkatu, nmiss),
        score=score,
        max_combo=max_combo,
        perfect=perfect != 0,
        mods=mods,
        life_bar=life_bar,
        played_at_ms=(ticks - _UNIX_EPOCH_TICKS) // _TICKS_PER_MS,
        frames=frames,
        score_id=score_id,
        target_accuracy=target_accuracy,
        lazer_block=lazer_block,
    )


def _read_tail(reader: "_Reader", game_version: int, mods: int) -> tuple[int, float | None, bytes]:
    """What follows the frames: the score's id, the accuracy of Target Practice, lazer's block."""
    if game_version >= FIRST_LAZER_VERSION:
        return _read_lazer_tail(reader, game_version, mods)
    accuracy_bytes = _F64.size if mods & TP else 0
    score_id = 0
    if game_version >= _FIRST_VERSION_WITH_LONG_ID or reader.left() == _I64.size + accuracy_bytes:
        (score_id,) = reader.fields(_I64, "the score's id")
    elif game_version >= _FIRST_VERSION_WITH_ID:
        (score_id,) = reader.fields(_I32, "the score's id")
    return score_id, _read_accuracy(reader) if accuracy_bytes else None, b""


def _read_lazer_tail(reader: "_Reader", game_version: int, mods: int) -> tuple[int, float | None, bytes]:
    """Lazer writes no accuracy of Target Practice; other programs that write its versions may.

    A file without any byte after the id was written by a program that does not know the block.
    """
    (score_id,) = reader.fields(_I64, "the score's id")
    target_accuracy = None
    if mods & TP and reader.left() >= _F64.size and not reader.ends_with_block():
        target_accuracy = _read_accuracy(reader)
    if game_version < _FIRST_VERSION_WITH_LAZER_BLOCK or not reader.left():
        return score_id, target_accuracy, b""
    return score_id, target_accuracy, reader.block("lazer's block")


def _read_accuracy(reader: "_Reader") -> float:
    accuracy: float
    (accuracy,) = reader.fields(_F64, "the target accuracy")
    if not math.isfinite(accuracy):
        raise BadReplay("the target accuracy is not a number")
    return accuracy


def write_replay(replay: ReplayFile) -> bytes:
    """The file of a replay, in the layout that readers of its version expect.

    Counts, combo and score beyond what the file can hold become the most it can hold. An id that needs more than the
    32 bits of a version from 2012 to 2014 is written as 0, which means none. Empty strings are written as such, never
    as null, at which some readers fail.
    """
    counts = replay.counts
    parts = [
        _HEAD.pack(replay.mode, replay.game_version),
        _string(replay.beatmap_md5),
        _string(replay.player_name),
        _string(replay.replay_md5),
        _RESULT.pack(
            min(counts.n300, _U16_MAX),
            min(counts.n100, _U16_MAX),
            min(counts.n50, _U16_MAX),
            min(counts.ngeki, _U16_MAX),
            min(counts.nkatu, _U16_MAX),
            min(counts.nmiss, _U16_MAX),
            min(replay.score, _I32_MAX),
            min(replay.max_combo, _U16_MAX),
            replay.perfect,
            replay.mods & ALL,
        ),
        _string(replay.life_bar),
        _I64.pack(replay.played_at_ms * _TICKS_PER_MS + _UNIX_EPOCH_TICKS),
        _I32.pack(len(replay.frames)),
        replay.frames,
    ]
    if _FIRST_VERSION_WITH_ID <= replay.game_version < _FIRST_VERSION_WITH_LONG_ID:
        parts.append(_I32.pack(replay.score_id if _I32_MIN <= replay.score_id <= _I32_MAX else 0))
    else:
        # Before 2012 there was no id. Readers that know this ignore it, and others (osrparse) cannot do without.
        parts.append(_I64.pack(replay.score_id))
    if replay.mods & TP and (replay.game_version < FIRST_LAZER_VERSION or replay.target_accuracy is not None):
        parts.append(_F64.pack(replay.target_accuracy or 0.0))
    if replay.game_version >= _FIRST_VERSION_WITH_LAZER_BLOCK:
        parts += _I32.pack(len(replay.lazer_block)), replay.lazer_block
    return b"".join(parts)


def download_name(player: str, artist: str, title: str, version: str, played_at_ms: int) -> str:
    """The name under which a browser saves a replay, safe as a file name; the day is in UTC.

    See docs/spec/replays.md#name-for-download.
    """
    day = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=played_at_ms)).date()
    name = f"{player} - {artist} - {title} [{version}] ({day.isoformat()}).osr"
    return "".join(char for char in name if char.isprintable() and char not in '\\/:*?"<>|')


class FrameStats(msgspec.Struct):
    """What frames come to."""

    frames: int
    """Without the one at the end that carries mania's random seed."""
    length_ms: int
    """The sum of all times between frames, which may be negative."""


def check_frames(stream: bytes, *, max_bytes: int = FRAMES_MAX_BYTES) -> FrameStats:
    """Reads an LZMA stream of frames through, without ever holding it whole; CPU-bound: 1 us a frame.

    BadReplay if it is no such stream or is cut, unfolds to more than `max_bytes`, would need more than 64 MiB to read,
    holds a frame without four numbers, or fewer than 2 frames (docs/spec/replays.md#frames).
    """
    if not stream:
        raise BadReplay("there are none")
    frames = length_ms = unfolded = 0
    rest = b""
    for piece in _pieces(stream, "the frames"):
        unfolded += len(piece)
        if unfolded > max_bytes:
            raise BadReplay(f"the frames unfold to more than {max_bytes} bytes")
        whole, comma, rest = (rest + piece).rpartition(b",")
        if len(rest) > _FRAME_MAX_BYTES:
            raise BadReplay("a frame is too long")
        count, duration = _read_frames(whole + comma)
        frames += count
        length_ms += duration
    count, duration = _read_frames(rest + b",")
    frames += count
    if frames < FRAMES_MIN:
        raise BadReplay(f"there are fewer than {FRAMES_MIN} frames")
    return FrameStats(frames, length_ms + duration)


_PIECE_BYTES: Final = 256 * 1024
_FRAME_MAX_BYTES: Final = 256
_SEED: Final = b"-12345"
"""The time of the frame that carries the seed."""

# Possessive throughout: a stranger's frames must not make the search go back and try again.
_DECIMAL: Final = rb"-?[0-9]{1,10}+(?:\.[0-9]{0,20}+)?+"
_FLOAT: Final = _DECIMAL + rb"(?:[eE][-+]?[0-9]{1,3}+)?+"
_FRAMES: Final = re.compile(rb"(?:(?:%b\|%b\|%b\|%b)?+,)*+" % (_DECIMAL, _FLOAT, _FLOAT, _DECIMAL))
_TIMES: Final = re.compile(rb"([^|,]++)\|[^,]*+,")


def _read_frames(text: bytes) -> tuple[int, int]:
    """How many frames there are, and how long they last; every frame is followed by a comma, and some are empty."""
    # PERF: two searches over thousands of frames at once take 0.3 us a frame; splitting each takes 1.5.
    if not _FRAMES.fullmatch(text):
        raise BadReplay("a frame is not made of four numbers")
    times: list[bytes] = _TIMES.findall(text)
    seeds = times.count(_SEED)
    return len(times) - seeds, int(sum(map(float, times))) - seeds * int(_SEED)


def decompress_block(stream: bytes, what: str, *, max_bytes: int) -> bytes:
    """The content of a small LZMA stream. BadReplay, about `what`, if it is none or larger than `max_bytes`."""
    content = bytearray()
    for piece in _pieces(stream, what):
        content += piece
        if len(content) > max_bytes:
            raise BadReplay(f"{what} unfolds to more than {max_bytes} bytes")
    return bytes(content)


def _pieces(stream: bytes, what: str) -> Iterator[bytes]:
    decompressor = lzma.LZMADecompressor(format=lzma.FORMAT_ALONE, memlimit=LZMA_MEMORY_MAX_BYTES)
    try:
        yield decompressor.decompress(stream, _PIECE_BYTES)
        while not decompressor.eof:
            if decompressor.needs_input:
                raise BadReplay(f"{what}: the LZMA stream is cut")
            yield decompressor.decompress(b"", _PIECE_BYTES)
    except lzma.LZMAError as error:
        raise BadReplay(f"{what} cannot be decompressed: {error}") from None


def _string(text: str) -> bytes:
    data = text.encode()
    size = bytearray()
    length = len(data)
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    size.append(length)
    return b"\x0b" + bytes(size) + data


class _Reader:
    """A place in the file; every step checks that the file goes so far."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def fields(self, layout: struct.Struct, what: str) -> tuple[Any, ...]:
        return layout.unpack(self._take(layout.size, what))

    def string(self, what: str, longest: int = NAME_MAX_BYTES) -> str:
        marker = self._take(1, what)
        if marker == b"\0":
            return ""
        if marker != b"\x0b":
            raise BadReplay(f"{what} is no string")
        length = 0
        for shift in range(0, 35, 7):
            (byte,) = self._take(1, what)
            length |= (byte & 127) << shift
            if byte < 128:
                break
        else:
            raise BadReplay(f"{what} has a length out of all reason")
        if length > longest:
            raise BadReplay(f"{what} is longer than {longest} bytes")
        return self._take(length, what).decode(errors="replace")  # as the game does; the rest of the file counts

    def block(self, what: str) -> bytes:
        """An array of bytes; null (length -1) is an empty one."""
        (length,) = self.fields(_I32, what)
        if length < -1:
            raise BadReplay(f"{what}: the length is negative")
        return self._take(max(length, 0), what)

    def left(self) -> int:
        """How many bytes follow."""
        return len(self._data) - self._at

    def ends_with_block(self) -> bool:
        """Whether all bytes that follow are one array of bytes, or there are none."""
        if self.left() < _I32.size:
            return not self.left()
        (length,) = _I32.unpack_from(self._data, self._at)
        return bool(max(length, 0) == self.left() - _I32.size)

    def _take(self, size: int, what: str) -> bytes:
        start = self._at
        if size > len(self._data) - start:
            raise BadReplay(f"the file ends before the end of {what}")
        self._at = start + size
        return self._data[start : self._at]

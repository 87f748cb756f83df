"""Replay files: reading and writing .osr, and validating the frames (docs/spec/replays.md).

Numbers are little-endian. A string is 00 (null), or 0B, its length as ULEB128, and UTF-8. The frames are an LZMA
"alone" stream. The server stores that stream unchanged, because a download must return the same bytes: `read_replay`
does not decompress it, and `check_frames` decompresses it within fixed bounds. `lazer_score` reads the block that lazer
appends, and `replay_checksum` the checksum in the header.
"""

import lzma
import math
import re
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from kiai.osu.accuracy import HitCounts
from kiai.osu.mods import ALL, TP

FILE_MAX_BYTES: Final = 32 * 1024 * 1024
NAME_MAX_BYTES: Final = 1024
LIFE_BAR_MAX_BYTES: Final = 1024 * 1024
"""An hour of play takes about 40 KB."""
FRAMES_MAX_BYTES: Final = 50 * 1024 * 1024
LZMA_MEMORY_MAX_BYTES: Final = 64 * 1024 * 1024
FRAMES_MIN: Final = 2

FIRST_LAZER_VERSION: Final = 30_000_000
"""Versions of stable are dates (20260711); versions of lazer count up from here."""

_FIRST_VERSION_WITH_ID: Final = 20121008
_FIRST_VERSION_WITH_LONG_ID: Final = 20140721
_FIRST_VERSION_WITH_LAZER_BLOCK: Final = 30_000_001
_UNIX_EPOCH_TICKS: Final = 621_355_968_000_000_000
_TICKS_PER_MS: Final = 10_000  # a tick of .NET is 100 ns
_TICKS_MAX: Final = 3_155_378_975_999_999_999
"""The end of the year 9999, the last date that .NET can hold."""
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
    """Raised for an unusable replay; the message states the reason."""


class ReplayFile(msgspec.Struct, frozen=True):
    """The content of a .osr file."""

    mode: int
    """0-3, also for relax and autopilot."""
    game_version: int
    beatmap_md5: str
    player_name: str
    replay_md5: str
    """As stated by the file, not verified; see `replay_checksum.checksum_form`."""
    counts: HitCounts
    score: int
    max_combo: int
    perfect: bool
    mods: int
    life_bar: str
    played_at_ms: int
    """Unix ms. The file counts ticks of 100 ns; reading rounds down to 1 ms."""
    frames: bytes
    """An LZMA stream, unchanged."""
    score_id: int
    target_accuracy: float | None
    """Only with Target Practice, and not in lazer's files."""
    lazer_block: bytes = b""
    """The LZMA stream that lazer appends from version 30000001 on, unchanged; empty if the file has no block."""


def read_replay(data: bytes) -> ReplayFile:
    """Parse a file. Raises BadReplay, and no other error, for any input.

    Bytes after the last field are ignored. Old versions had no score id, or one of 32 bits. The osu! site writes such
    versions with an id of 64 bits; the number of remaining bytes decides which layout it is.
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
        raise BadReplay("the time is outside the years 1 to 9999")
    frames = reader.block("the frames")
    score_id, target_accuracy, lazer_block = _read_tail(reader, game_version, mods)
    return ReplayFile(
        mode=mode,
        game_version=game_version,
        beatmap_md5=beatmap_md5,
        player_name=player_name,
        replay_md5=replay_md5,
        counts=HitCounts(n300, n100, n50, ngeki, nkatu, nmiss),
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
    """Read the fields after the frames: score id, accuracy of Target Practice, lazer's block."""
    if game_version >= FIRST_LAZER_VERSION:
        return _read_lazer_tail(reader, game_version, mods)
    accuracy_bytes = _F64.size if mods & TP else 0
    score_id = 0
    if game_version >= _FIRST_VERSION_WITH_LONG_ID or reader.remaining() == _I64.size + accuracy_bytes:
        (score_id,) = reader.fields(_I64, "the score's id")
    elif game_version >= _FIRST_VERSION_WITH_ID:
        (score_id,) = reader.fields(_I32, "the score's id")
    return score_id, _read_accuracy(reader) if accuracy_bytes else None, b""


def _read_lazer_tail(reader: "_Reader", game_version: int, mods: int) -> tuple[int, float | None, bytes]:
    """Read the fields after the frames in a file of lazer."""
    # Lazer writes no accuracy of Target Practice, but other programs with its version numbers do. A file that ends
    # after the id comes from a program that does not write the block.
    (score_id,) = reader.fields(_I64, "the score's id")
    target_accuracy = None
    if mods & TP and reader.remaining() >= _F64.size and not reader.ends_with_block():
        target_accuracy = _read_accuracy(reader)
    if game_version < _FIRST_VERSION_WITH_LAZER_BLOCK or not reader.remaining():
        return score_id, target_accuracy, b""
    return score_id, target_accuracy, reader.block("lazer's block")


def _read_accuracy(reader: "_Reader") -> float:
    accuracy: float
    (accuracy,) = reader.fields(_F64, "the target accuracy")
    if not math.isfinite(accuracy):
        raise BadReplay("the target accuracy is not a number")
    return accuracy


def write_replay(replay: ReplayFile) -> bytes:
    """Encode a replay in the layout of its version.

    Counts, combo and score are clamped to the range of their fields. In a version from 2012 to 2014 an id that exceeds
    32 bits is written as 0 (no id).
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
        # Versions before 2012 have no id. The game ignores the extra bytes, but osrparse fails without them.
        parts.append(_I64.pack(replay.score_id))
    if replay.mods & TP and (replay.game_version < FIRST_LAZER_VERSION or replay.target_accuracy is not None):
        parts.append(_F64.pack(replay.target_accuracy or 0.0))
    if replay.game_version >= _FIRST_VERSION_WITH_LAZER_BLOCK:
        parts += _I32.pack(len(replay.lazer_block)), replay.lazer_block
    return b"".join(parts)


def download_name(player: str, artist: str, title: str, version: str, played_at_ms: int) -> str:
    """Return the file name of a downloaded replay, without characters that file systems forbid; the day is in UTC.

    See docs/spec/replays.md#name-for-download.
    """
    day = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=played_at_ms)).date()
    name = f"{player} - {artist} - {title} [{version}] ({day.isoformat()}).osr"
    return "".join(char for char in name if char.isprintable() and char not in '\\/:*?"<>|')


class FrameStats(msgspec.Struct):
    """The number and total duration of the frames of a replay."""

    frames: int
    """Number of frames, without the last one that carries the random seed."""
    length_ms: int
    """The sum of the times between frames; can be negative."""


def check_frames(stream: bytes, *, max_bytes: int = FRAMES_MAX_BYTES) -> FrameStats:
    """Validate an LZMA stream of frames, in pieces of 256 KiB. CPU-bound: about 1 us per frame.

    Raises BadReplay if the stream is invalid or truncated, decompresses to more than `max_bytes`, needs more than
    64 MiB of memory, or has a frame without four numbers or fewer than 2 frames (docs/spec/replays.md#frames).
    """
    frames = length_ms = 0
    for text in frame_texts(stream, max_bytes=max_bytes):
        count, duration = _read_frames(text)
        frames += count
        length_ms += duration
    if frames < FRAMES_MIN:
        raise BadReplay(f"there are fewer than {FRAMES_MIN} frames")
    return FrameStats(frames, length_ms)


def frame_texts(stream: bytes, *, max_bytes: int = FRAMES_MAX_BYTES) -> Iterator[bytes]:
    """Yield the text of the frames in pieces of 256 KiB, each of whole frames that end in commas; frames can be empty.

    Raises BadReplay if the stream is invalid or truncated, or exceeds the bounds of `check_frames`.
    """
    if not stream:
        raise BadReplay("there are no frames")
    decompressed = 0
    rest = b""
    for piece in _decompressed_pieces(stream, "the frames"):
        decompressed += len(piece)
        if decompressed > max_bytes:
            raise BadReplay(f"the frames decompress to more than {max_bytes} bytes")
        # A piece can end inside a frame; the part after its last comma is prepended to the next piece.
        whole, comma, rest = (rest + piece).rpartition(b",")
        if len(rest) > _FRAME_MAX_BYTES:
            raise BadReplay("a frame is too long")
        yield _validated(whole + comma)
    yield _validated(rest + b",")  # the last frame may lack its comma


_PIECE_BYTES: Final = 256 * 1024
_FRAME_MAX_BYTES: Final = 256
_SEED: Final = b"-12345"
"""The time of the frame that carries the random seed."""

# Possessive quantifiers throughout: hostile frames must not cause backtracking.
_DECIMAL: Final = rb"-?[0-9]{1,10}+(?:\.[0-9]{0,20}+)?+"
_FLOAT: Final = _DECIMAL + rb"(?:[eE][-+]?[0-9]{1,3}+)?+"
_FRAMES: Final = re.compile(rb"(?:(?:%b\|%b\|%b\|%b)?+,)*+" % (_DECIMAL, _FLOAT, _FLOAT, _DECIMAL))
_TIMES: Final = re.compile(rb"([^|,]++)\|[^,]*+,")


def _validated(text: bytes) -> bytes:
    if not _FRAMES.fullmatch(text):
        raise BadReplay("a frame is not made of four numbers")
    return text


def _read_frames(text: bytes) -> tuple[int, int]:
    """Return the number of frames and their duration in ms."""
    # PERF: two searches over thousands of frames take 0.3 us per frame; splitting each frame takes 1.5 us.
    times: list[bytes] = _TIMES.findall(text)
    # The seed's frame has the time -12345, which is a marker and not a duration.
    seeds = times.count(_SEED)
    return len(times) - seeds, int(sum(map(float, times))) - seeds * int(_SEED)


def decompress_block(stream: bytes, what: str, *, max_bytes: int) -> bytes:
    """Decompress a small LZMA stream. Raises BadReplay, naming `what`, if it is invalid or exceeds `max_bytes`."""
    content = bytearray()
    for piece in _decompressed_pieces(stream, what):
        content += piece
        if len(content) > max_bytes:
            raise BadReplay(f"{what} decompresses to more than {max_bytes} bytes")
    return bytes(content)


def _decompressed_pieces(stream: bytes, what: str) -> Iterator[bytes]:
    decompressor = lzma.LZMADecompressor(format=lzma.FORMAT_ALONE, memlimit=LZMA_MEMORY_MAX_BYTES)
    try:
        yield decompressor.decompress(stream, _PIECE_BYTES)
        while not decompressor.eof:
            if decompressor.needs_input:
                raise BadReplay(f"{what}: the LZMA stream is truncated")
            yield decompressor.decompress(b"", _PIECE_BYTES)
    except lzma.LZMAError as error:
        raise BadReplay(f"{what} cannot be decompressed: {error}") from None


def _string(text: str) -> bytes:
    data = text.encode()
    size = bytearray()
    length = len(data)
    # ULEB128: 7 bits per byte, lowest first. An empty string is written as 0B 00, because some readers fail at null.
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    size.append(length)
    return b"\x0b" + bytes(size) + data


class _Reader:
    """Sequential reads with a bounds check. Each method raises BadReplay at the end of the file."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def fields(self, layout: struct.Struct, what: str) -> tuple[Any, ...]:
        return layout.unpack(self._read(layout.size, what))

    def string(self, what: str, longest: int = NAME_MAX_BYTES) -> str:
        marker = self._read(1, what)
        if marker == b"\0":
            return ""
        if marker != b"\x0b":
            raise BadReplay(f"{what} is not a string")
        length = 0
        for shift in range(0, 35, 7):  # five bytes of 7 bits hold every length of 32 bits
            (byte,) = self._read(1, what)
            length |= (byte & 127) << shift
            if byte < 128:
                break
        else:
            raise BadReplay(f"{what} has a length of more than 32 bits")
        if length > longest:
            raise BadReplay(f"{what} is longer than {longest} bytes")
        return self._read(length, what).decode(errors="replace")  # as in the game: invalid UTF-8 is not an error

    def block(self, what: str) -> bytes:
        """Read an array of bytes. Null (length -1) counts as empty."""
        (length,) = self.fields(_I32, what)
        if length < -1:
            raise BadReplay(f"{what}: the length is negative")
        return self._read(max(length, 0), what)

    def remaining(self) -> int:
        """Return the number of unread bytes."""
        return len(self._data) - self._position

    def ends_with_block(self) -> bool:
        """Whether the unread bytes are exactly one array of bytes, or nothing."""
        if self.remaining() < _I32.size:
            return not self.remaining()
        (length,) = _I32.unpack_from(self._data, self._position)
        return bool(max(length, 0) == self.remaining() - _I32.size)

    def _read(self, size: int, what: str) -> bytes:
        start = self._position
        if size > len(self._data) - start:
            raise BadReplay(f"the file ends before the end of {what}")
        self._position = start + size
        return self._data[start : self._position]

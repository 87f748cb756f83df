"""Reads a .osu file: what a map is called, how long it is, what it holds (docs/spec/beatmaps.md#osu-files).

The file is read as the game reads it, line by line: a line that the game cannot read is skipped and the rest counts.
Files come from anybody, so sizes and counts have bounds; a file beyond one of them, or without any object, is refused.
Reading is linear in the file's size, apart from sorting timing points and breaks by time.

"The game" is osu!(lazer)'s decoder. rosu-pp, which computes stars and combo from the same bytes, follows it with few
exceptions, which `tests/osu/test_beatmap_lines.py` lists.
"""

import codecs
import hashlib
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec

FILE_MAX_BYTES: Final = 10 * 1024 * 1024
LINE_MAX_CHARS: Final = 1024 * 1024
LINES_MAX: Final = 500_000
OBJECTS_MAX: Final = 50_000
TIMING_POINTS_MAX: Final = 100_000
BREAKS_MAX: Final = 10_000
CONTROL_POINTS_MAX: Final = 2_000
SLIDES_MAX: Final = 9_000
COORDINATE_MAX: Final = 131_072
NUMBER_MAX: Final = 2**31 - 1
TEXT_MAX: Final = 1_024
"""Characters of a title, an artist, a file's name and the like; the rest is cut off."""
TAGS_MAX: Final = 16_384
LATEST_VERSION: Final = 14
"""The version of a file that names none."""

# What the game takes for a beat length in ms, a slider multiplier and a relative slider velocity; it clamps the rest.
_BEAT_RANGE: Final = (6.0, 60_000.0)
_MULTIPLIER_RANGE: Final = (0.4, 3.6)
_VELOCITY_RANGE: Final = (0.1, 10.0)
_DEFAULT_BEAT_MS: Final = 1_000.0
_EARLY_OFFSET_MS: Final = 24.0  # the game adds it to every time in a file before version 5

_CIRCLE: Final = 1
_SLIDER: Final = 2
_SPINNER: Final = 8
_HOLD: Final = 128

_HEADER: Final = "osu file format v"
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SECTIONS: Final = ("General", "Metadata", "Difficulty", "Events", "TimingPoints", "HitObjects")
_VIDEO_ENDINGS: Final = (".mp4", ".mov", ".avi", ".flv", ".mpg", ".wmv", ".m4v")
_BACKGROUND: Final = ("0", "Background")
_VIDEO: Final = ("1", "Video")
_BREAK: Final = ("2", "Break")
_SPRITE: Final = ("4", "Sprite")
_ANIMATION: Final = ("6", "Animation")
# PERF: nearly every slider's path; it needs no closer look when the file states the slider's length.
_PLAIN_PATH: Final = re.compile(r"[A-Za-z](?:\|-?[0-9]{1,5}:-?[0-9]{1,5})+", re.ASCII)
_FORBIDDEN: Final = '\\/:*?"<>|'
_FORBIDDEN_IN_FILE_NAMES: Final = str.maketrans("", "", _FORBIDDEN)
_UNDERSCORES_IN_FILE_NAMES: Final = str.maketrans(_FORBIDDEN, "_" * len(_FORBIDDEN))

T = TypeVar("T")
Point = tuple[float, float]


class BadBeatmap(ValueError):
    """The file cannot be used; the message says why."""


class BeatmapFile(msgspec.Struct, frozen=True):
    """What a .osu file says of its map. Ids are only its claim (0 or -1: none); `version` is the difficulty's name."""

    format_version: int
    md5: str
    mode: int
    title: str
    artist: str
    creator: str
    version: str
    source: str
    tags: str
    beatmap_id: int
    beatmap_set_id: int
    preview_time_ms: int
    audio_filename: str
    background: str | None
    has_video: bool
    has_storyboard: bool
    """Of the file's own: a set may have one in a .osb file besides."""
    cs: float
    od: float
    ar: float
    hp: float
    bpm: float
    """The tempo that covers most time, 3 decimals."""
    total_length_s: int
    """From the start of the song to the end of the last object."""
    hit_length_s: int
    """From the first object to the end of the last, without breaks."""
    circles: int
    sliders: int
    spinners: int
    holds: int
    objects: int


def parse_beatmap(data: bytes) -> BeatmapFile:
    """Reads a whole file; raises BadBeatmap and nothing else, whatever the bytes. CPU-bound: some 4 us an object."""
    lines = _lines(data)
    format_version = _format_version(lines)
    offset_ms = _EARLY_OFFSET_MS if format_version < 5 else 0.0
    sections = _sections(lines)
    general = _pairs(sections["General"])
    metadata = _pairs(sections["Metadata"])
    difficulty = _pairs(sections["Difficulty"])

    mode = _last(general, "Mode", _mode, 0)
    events = _events(sections["Events"], offset_ms)
    timing = _Timing(sections["TimingPoints"], offset_ms)
    multiplier = _clamp(_last(difficulty, "SliderMultiplier", _number, 1.4), _MULTIPLIER_RANGE)
    objects = _Objects(sections["HitObjects"], timing, multiplier, offset_ms)
    od = _setting(difficulty, "OverallDifficulty", 5.0)
    playing_ms = objects.end_ms - objects.start_ms - _covered(events.breaks, objects.start_ms, objects.end_ms)

    return BeatmapFile(
        format_version=format_version,
        md5=hashlib.md5(data, usedforsecurity=False).hexdigest(),
        mode=mode,
        title=_text(metadata, "Title"),
        artist=_text(metadata, "Artist"),
        creator=_text(metadata, "Creator"),
        version=_text(metadata, "Version"),
        source=_text(metadata, "Source"),
        tags=_text(metadata, "Tags", TAGS_MAX),
        beatmap_id=_last(metadata, "BeatmapID", _whole, 0),
        beatmap_set_id=_last(metadata, "BeatmapSetID", _whole, 0),
        preview_time_ms=_last(general, "PreviewTime", _whole, -1),
        audio_filename=_text(general, "AudioFilename"),
        background=events.background,
        has_video=events.has_video,
        has_storyboard=events.has_storyboard,
        cs=_setting(difficulty, "CircleSize", 5.0, (1.0, 18.0) if mode == 3 else (0.0, 10.0)),
        od=od,
        ar=_setting(difficulty, "ApproachRate", od),
        hp=_setting(difficulty, "HPDrainRate", 5.0),
        bpm=timing.main_bpm(objects.last_end_ms),
        total_length_s=max(int(objects.end_ms / 1000), 0),
        hit_length_s=max(int(playing_ms / 1000), 0),
        circles=objects.circles,
        sliders=objects.sliders,
        spinners=objects.spinners,
        holds=objects.holds,
        objects=objects.count,
    )


def file_name(artist: str, title: str, creator: str, version: str) -> str:
    """The name the game gives a map's file, without the characters that Windows forbids.

    See docs/spec/beatmaps.md#file-names.
    """
    return _written_name(artist, title, creator, version).translate(_FORBIDDEN_IN_FILE_NAMES)


def underscored_file_name(artist: str, title: str, creator: str, version: str) -> str:
    """The name that some maps' files have instead: `_` stands for each character that Windows forbids."""
    return _written_name(artist, title, creator, version).translate(_UNDERSCORES_IN_FILE_NAMES)


def _written_name(artist: str, title: str, creator: str, version: str) -> str:
    return f"{artist} - {title} ({creator}) [{version}].osu"


def _lines(data: bytes) -> list[str]:
    if not data:
        raise BadBeatmap("the file is empty")
    if len(data) > FILE_MAX_BYTES:
        raise BadBeatmap(f"the file is larger than {FILE_MAX_BYTES // 2**20} MiB")
    # PostgreSQL stores no NUL in a text.
    text = _decoded(data).replace("\0", "\N{REPLACEMENT CHARACTER}")
    # Not splitlines(): that also breaks at characters which may stand in a title.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n", LINES_MAX)
    if len(lines) > LINES_MAX:
        raise BadBeatmap(f"there are more than {LINES_MAX} lines")
    if max(map(len, lines)) > LINE_MAX_CHARS:
        raise BadBeatmap(f"a line is longer than {LINE_MAX_CHARS // 2**20} MiB")
    return lines


def _decoded(data: bytes) -> str:
    """The text. A byte order mark chooses the encoding; what is not in that encoding becomes replacement characters."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    return data.decode("utf-8", "replace")


def _format_version(lines: Iterable[str]) -> int:
    first = next((line.strip("\ufeff \t") for line in lines if line and not line.isspace()), "")
    if first.startswith(_HEADER):
        try:
            return _whole(first.rpartition("v")[2])
        except ValueError:
            pass
    return LATEST_VERSION


def _sections(lines: Iterable[str]) -> Mapping[str, list[str]]:
    """The lines that say something, by section, without comments.

    Text before the first section and unknown sections are dropped; a section may come twice.
    """
    sections: dict[str, list[str]] = {name: [] for name in _SECTIONS}
    metadata = sections["Metadata"]
    current: list[str] | None = None
    any_section = False
    for line in map(str.strip, lines):
        if "//" in line:
            comment = line.index("//")
            if comment == 0 or current is not metadata:  # a title or a source may hold one
                line = line[:comment].rstrip()
        if not line:
            continue
        if line[0] == "[" and line[-1] == "]":
            current = sections.get(line[1:-1].strip())
            any_section = True
        elif current is not None:
            current.append(line)
    if not any_section:
        raise BadBeatmap("this is no beatmap: it has no section like [HitObjects]")
    return sections


# --- keys and values


def _pairs(lines: Iterable[str]) -> Mapping[str, list[str]]:
    """The values of each key, in the order of the file."""
    pairs: dict[str, list[str]] = {}
    for line in lines:
        key, _, value = line.partition(":")
        pairs.setdefault(key.rstrip(), []).append(value.lstrip())
    return pairs


def _last(pairs: Mapping[str, list[str]], key: str, read: Callable[[str], T], default: T) -> T:
    """The last value of a key that can be read."""
    for text in reversed(pairs.get(key, ())):
        try:
            return read(text)
        except ValueError:
            continue
    return default


def _text(pairs: Mapping[str, list[str]], key: str, longest: int = TEXT_MAX) -> str:
    values = pairs.get(key)
    return values[-1][:longest] if values else ""


def _setting(
    pairs: Mapping[str, list[str]], key: str, default: float, bounds: tuple[float, float] = (0.0, 10.0)
) -> float:
    # The game reads it in single precision, where the largest number of 32 bits is 2^31.
    return _clamp(_last(pairs, key, lambda text: _number(text, 2.0**31), default), bounds)


def _mode(text: str) -> int:
    mode = _whole(text)
    if not 0 <= mode <= 3:
        raise ValueError("no such mode")
    return mode


def _number(text: str, largest: float = NUMBER_MAX) -> float:
    """A number as the game takes one; raises ValueError for NaN, too."""
    if "_" in text or not text.isascii():  # Python's own liberties
        raise ValueError("not a number")
    value = float(text)
    if not -largest <= value <= largest:
        raise ValueError("not a number in range")
    return value


def _whole(text: str) -> int:
    """A whole number of 32 bits."""
    if "_" in text or not text.isascii():
        raise ValueError("not a number")
    value = int(text)
    if not -NUMBER_MAX <= value <= NUMBER_MAX:
        raise ValueError("not a number in range")
    return value


def _clamp(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])


# --- events


class _Events(NamedTuple):
    background: str | None
    breaks: list[tuple[float, float]]
    has_video: bool
    has_storyboard: bool


def _events(lines: Iterable[str], offset_ms: float) -> _Events:
    """The background is the last one named; a video that is no video file counts as one; else the first sprite."""
    background = None
    breaks = []
    has_video = has_storyboard = False
    for line in lines:
        kind, _, rest = line.partition(",")
        kind = kind.rstrip()
        if kind in _BREAK:
            start, _, end = rest.partition(",")
            try:
                breaks.append((_number(start) + offset_ms, _number(end.partition(",")[0]) + offset_ms))
            except ValueError:
                continue
        elif kind in _BACKGROUND or kind in _VIDEO:
            name = _quoted(rest.partition(",")[2])
            if kind in _BACKGROUND or (name and not name.lower().endswith(_VIDEO_ENDINGS)):
                background = name or background
            else:
                has_video = has_video or name is not None
        elif kind in _SPRITE or kind in _ANIMATION:
            has_storyboard = True
            parts = rest.split(",", 2)  # layer, origin, and the file's name first in what follows
            if kind in _SPRITE and background is None and len(parts) == 3:
                background = _quoted(parts[2])
    if len(breaks) > BREAKS_MAX:
        raise BadBeatmap(f"there are more than {BREAKS_MAX} breaks")
    return _Events(background, breaks, has_video, has_storyboard)


def _quoted(text: str) -> str | None:
    """A file's name, which may hold commas where it stands in quotes."""
    text = text.lstrip()
    name = text[1:].partition('"')[0] if text.startswith('"') else text.partition(",")[0]
    return name[:TEXT_MAX].strip() or None


def _covered(intervals: list[tuple[float, float]], start: float, end: float) -> float:
    """How much of the time from start to end lies in one or more of the intervals."""
    covered = 0.0
    reached = start
    for left, right in sorted(intervals):
        left, right = max(left, reached), min(right, end)
        if right > left:
            covered += right - left
            reached = right
    return covered


# --- timing


class _Timing:
    """The tempo, and how fast sliders are, at any time."""

    def __init__(self, lines: Iterable[str], offset_ms: float) -> None:
        beats: dict[float, float] = {}
        slowness: dict[float, float] = {}
        tails: dict[str, bool] = {}
        run_ms = math.nan
        beat_of_run = own_velocity = False
        count = 0
        for line in lines:
            try:
                time_ms, beat, is_tempo = _timing_point(line, tails)
            except (ValueError, IndexError):
                continue
            count += 1
            if count > TIMING_POINTS_MAX:
                raise BadBeatmap(f"there are more than {TIMING_POINTS_MAX} timing points")
            time_ms += offset_ms
            slow = 1 / _clamp(-100 / beat, _VELOCITY_RANGE) if beat < 0 else 1.0
            # Of lines in a row that have one time, the first tempo counts and the last velocity of its own.
            if time_ms != run_ms:
                run_ms, beat_of_run, own_velocity = time_ms, False, False
                slowness[time_ms] = slow
            if not is_tempo:
                own_velocity = True
                slowness[time_ms] = slow
            elif not beat_of_run:
                beat_of_run = True
                beats[time_ms] = _clamp(beat, _BEAT_RANGE)
                if not own_velocity:
                    slowness[time_ms] = slow
        self._beats = sorted(beats.items())
        self._beat_times = [time_ms for time_ms, _ in self._beats]
        slownesses = sorted(slowness.items())
        self._slow_times = [time_ms for time_ms, _ in slownesses]
        self._slow = [1.0, *(slow for _, slow in slownesses)]

    def slider_beat_ms(self, time_ms: float) -> float:
        """The ms that a slider takes for 100 x SliderMultiplier pixels."""
        if not self._beats:
            beat = _DEFAULT_BEAT_MS
        else:  # the first tempo counts before it begins, too
            beat = self._beats[max(bisect_right(self._beat_times, time_ms) - 1, 0)][1]
        return beat * self._slow[bisect_right(self._slow_times, time_ms)]

    def main_bpm(self, last_ms: float) -> float:
        """The tempo that lasts longest until the last object ends, 3 decimals.

        The first one begins at 0; one that begins before the end lasts until the next, past the end, too.
        """
        if not self._beats:
            return 60_000 / _DEFAULT_BEAT_MS
        lasted: dict[int, float] = {}
        own: dict[int, float] = {}
        for index, (start_ms, beat) in enumerate(self._beats):
            group = round(beat * 1000)
            own.setdefault(group, beat)
            until_ms = self._beat_times[index + 1] if index + 1 < len(self._beats) else last_ms
            this = until_ms - (start_ms if index else 0.0) if start_ms <= last_ms else 0.0
            lasted[group] = lasted.get(group, 0.0) + this
        return round(60_000 / own[max(lasted, key=lasted.__getitem__)], 3)


def _timing_point(line: str, tails: dict[str, bool]) -> tuple[float, float, bool]:
    """Time in ms, beat length as written, and whether it sets a tempo; raises ValueError or IndexError.

    `tails` remembers the ends of lines that were read: few differ within a file.
    """
    fields = line.split(",", 2)
    time_ms = _number(fields[0])
    is_tempo = True
    if len(fields) > 2:
        tail = fields[2]
        if tail not in tails:
            tails[tail] = _sets_tempo(tail)
        is_tempo = tails[tail]
    if not is_tempo and fields[1].strip().lower() == "nan":  # no ticks, and the velocity of none
        return time_ms, 0.0, False
    return time_ms, _number(fields[1]), is_tempo


def _sets_tempo(tail: str) -> bool:
    """`meter,set,index,volume,uninherited,effects`: whether it says uninherited, as a line does that ends before it."""
    fields = tail.split(",", 6)
    if not fields[0].startswith("0") and _whole(fields[0]) < 1:
        raise ValueError("no such meter")
    for field in (*fields[1:4], *fields[5:6]):
        _whole(field)
    return len(fields) < 5 or fields[4][0] == "1"


# --- objects


class _Objects:
    """How many objects of each kind there are, and when the first begins and the last ends."""

    def __init__(self, lines: Iterable[str], timing: _Timing, multiplier: float, offset_ms: float) -> None:
        self._timing = timing
        self._multiplier = multiplier
        self._offset_ms = offset_ms
        self._banks: set[str] = set()
        self.circles = self.sliders = self.spinners = self.holds = self.count = 0
        self.start_ms = math.inf
        self.end_ms = -math.inf
        self.last_end_ms = 0.0
        """The end of the object that begins last."""
        last_start_ms = -math.inf
        for line in lines:
            try:
                start_ms, end_ms = self._object(line.split(",", 11))
            except BadBeatmap:
                raise
            except (ValueError, IndexError):
                continue
            self.count += 1
            if self.count > OBJECTS_MAX:
                raise BadBeatmap(f"there are more than {OBJECTS_MAX} objects")
            end_ms = min(end_ms, NUMBER_MAX)
            if start_ms >= last_start_ms:
                last_start_ms, self.last_end_ms = start_ms, end_ms
            self.start_ms = min(self.start_ms, start_ms)
            self.end_ms = max(self.end_ms, end_ms)
        if not self.count:
            raise BadBeatmap("there are no objects to hit")

    def _object(self, fields: Sequence[str]) -> tuple[float, float]:
        """Counts an object; its start and end in ms. Raises ValueError or IndexError for one that cannot be read."""
        _number(fields[0], COORDINATE_MAX)
        _number(fields[1], COORDINATE_MAX)
        start_ms = _number(fields[2]) + self._offset_ms
        kind = _whole(fields[3])
        _whole(fields[4])
        if kind & _CIRCLE:
            if len(fields) > 5:
                self._read_banks(fields[5])
            self.circles += 1
            return start_ms, start_ms
        if kind & _SLIDER:
            duration_ms = self._slider_ms(fields, start_ms)
            self.sliders += 1
            return start_ms, start_ms + duration_ms
        if kind & _SPINNER:
            end_ms = _number(fields[5]) + self._offset_ms
            if len(fields) > 6:
                self._read_banks(fields[6])
            self.spinners += 1
            return start_ms, max(start_ms, end_ms)
        if kind & _HOLD:
            end_ms = start_ms
            if len(fields) > 5 and fields[5]:
                end, _, banks = fields[5].partition(":")
                end_ms = _number(end) + self._offset_ms
                self._read_banks(banks)
            self.holds += 1
            return start_ms, max(start_ms, end_ms)
        raise ValueError("no such kind")

    def _slider_ms(self, fields: Sequence[str], start_ms: float) -> float:
        path = fields[5]
        slides = _whole(fields[6])
        if slides > SLIDES_MAX:
            raise ValueError("too many slides")
        length = _number(fields[7], COORDINATE_MAX) if len(fields) > 7 else 0.0
        if len(fields) > 10:
            self._read_banks(fields[10])
        if path.count("|") > CONTROL_POINTS_MAX:
            raise BadBeatmap(f"a slider has more than {CONTROL_POINTS_MAX} control points")
        if length <= 0 or _PLAIN_PATH.fullmatch(path) is None:
            segments = _segments(fields[0], fields[1], path)
            if length <= 0:  # no length is the path's own
                length = sum(_length(kind, points) for kind, points in segments)
        return length * max(slides, 1) * self._timing.slider_beat_ms(start_ms) / (100 * self._multiplier)

    def _read_banks(self, text: str) -> None:
        """Raises ValueError for sample banks that are no numbers; the fifth part is a file's name."""
        if text and text not in self._banks:
            for bank in text.split(":", 4)[:4]:
                _whole(bank)
            self._banks.add(text)


def _segments(x: str, y: str, path: str) -> list[tuple[str, list[Point]]]:
    """The parts of a slider's path: the letter of its curve, and its points; raises ValueError or IndexError.

    `B|1:2|3:4|L|5:6` is a curve from the slider's head over 1:2 and 3:4 to 5:6. Of a point the first two numbers count.
    """
    points = [_point(x, y)]
    segments = [(path[:1], points)]
    if _PLAIN_PATH.fullmatch(path) is not None:  # PERF: a file has room for two million points
        numbers_of_all = list(map(float, path[2:].replace("|", ":").split(":")))
        points += zip(numbers_of_all[::2], numbers_of_all[1::2], strict=True)
        return segments
    begins = False
    for piece in path.split("|")[1:]:
        if piece[0].isascii() and piece[0].isalpha():
            if begins:
                raise ValueError("a segment without a point")
            begins = True
            points = []
            segments.append((piece[0], points))
            continue
        numbers = piece.split(":", 2)
        point = _point(numbers[0], numbers[1])
        if begins:
            segments[-2][1].append(point)
            begins = False
        points.append(point)
    if begins:
        raise ValueError("a segment without a point")
    return segments


def _point(x: str, y: str) -> Point:
    return float(int(_number(x, COORDINATE_MAX))), float(int(_number(y, COORDINATE_MAX)))


def _length(kind: str, points: Sequence[Point]) -> float:
    """How long a part of a path is, in pixels: exact for lines and arcs, within a few percent for other curves."""
    if kind == "P" and len(points) == 3:
        return _arc_length(*points)
    if kind not in ("B", "P"):
        return _polygon_length(points)
    length = 0.0
    start = 0
    for index in range(1, len(points)):  # a point that is there twice ends one curve and begins the next
        if points[index] == points[index - 1]:
            length += _bezier_length(points[start:index])
            start = index
    return length + _bezier_length(points[start:])


def _polygon_length(points: Sequence[Point]) -> float:
    return sum(map(math.dist, points, points[1:]))


def _bezier_length(points: Sequence[Point]) -> float:
    """Between chord and control polygon, by Gravesen's estimate, which needs one look at each point."""
    degree = len(points) - 1
    return (2 * math.dist(points[0], points[-1]) + (degree - 1) * _polygon_length(points)) / (degree + 1)


def _arc_length(a: Point, b: Point, c: Point) -> float:
    """The arc of a circle from a over b to c; straight where the three lie on a line."""
    doubled_area = abs((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
    if doubled_area == 0:
        return math.dist(a, b) + math.dist(b, c)
    radius = math.dist(a, b) * math.dist(b, c) * math.dist(a, c) / (2 * doubled_area)
    at_b = math.atan2(doubled_area, (a[0] - b[0]) * (c[0] - b[0]) + (a[1] - b[1]) * (c[1] - b[1]))
    return radius * 2 * (math.pi - at_b)  # the angle at b is half of the rest of the circle

"""The parser of .osu files: metadata, settings, lengths, tempo and number of objects (docs/spec/beatmaps.md#osu-files).

The parser follows the game: it skips a line that the game cannot read and uses the rest. Files come from untrusted
sources, so sizes and counts have bounds. A file that exceeds a bound or has no object is rejected. The parser takes
linear time, except for sorting timing points and breaks by time.

The reference is the decoder of osu!(lazer). rosu-pp, which computes stars and combo from the same bytes, follows the
same decoder; `tests/osu/test_beatmap_lines.py` lists the exceptions.
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
"""Characters of a title, an artist or a file name; longer text is truncated."""
TAGS_MAX: Final = 16_384
LATEST_VERSION: Final = 14
"""The format version of a file that does not state one."""

# The game clamps beat lengths (ms), slider multipliers and relative slider velocities to these ranges.
_BEAT_RANGE: Final = (6.0, 60_000.0)
_MULTIPLIER_RANGE: Final = (0.4, 3.6)
_VELOCITY_RANGE: Final = (0.1, 10.0)
_TICK_RATE_RANGE: Final = (0.5, 4.0)
_DEFAULT_BEAT_MS: Final = 1_000.0
_EARLY_OFFSET_MS: Final = 24.0  # the game adds it to every time in a file before version 5

CIRCLE: Final = 1
SLIDER: Final = 2
SPINNER: Final = 8
HOLD: Final = 128

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
# PERF: nearly every slider has a path of this shape. If its length is stated too, the points need no parsing.
_PLAIN_PATH: Final = re.compile(r"[A-Za-z](?:\|-?[0-9]{1,5}:-?[0-9]{1,5})+", re.ASCII)
_FORBIDDEN: Final = '\\/:*?"<>|'  # in file names on Windows
_FORBIDDEN_IN_FILE_NAMES: Final = str.maketrans("", "", _FORBIDDEN)
_UNDERSCORES_IN_FILE_NAMES: Final = str.maketrans(_FORBIDDEN, "_" * len(_FORBIDDEN))

T = TypeVar("T")
Point = tuple[float, float]


class BadBeatmap(ValueError):
    """Raised for an unusable .osu file; the message states the reason."""


class BeatmapFile(msgspec.Struct, frozen=True):
    """The content of a .osu file.

    The ids are claims of the file, not verified (0 or -1: no id). `version` is the name of the difficulty.
    """

    format_version: int
    md5: str
    mode: int
    title: str
    artist: str
    title_unicode: str
    artist_unicode: str
    """Title and artist in their own script. Empty if they are the same as the romanised ones, or are not given."""
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
    """Whether this file has a storyboard. A set can have another one in a .osb file."""
    cs: float
    od: float
    ar: float
    hp: float
    bpm: float
    """Beats per minute of the tempo with the longest total duration, 3 decimals."""
    bpm_least: float
    bpm_most: float
    """The slowest and the fastest tempo of the song, 3 decimals."""
    total_length_s: int
    """Seconds from the start of the song to the end of the last object."""
    hit_length_s: int
    """Seconds from the first object to the end of the last one, without breaks."""
    circles: int
    sliders: int
    spinners: int
    holds: int
    objects: int


class PlacedObject(NamedTuple):
    """An object as the file states it. `fields` are the values of its line, for what only one kind of object has."""

    kind: int
    """One of `CIRCLE`, `SLIDER`, `SPINNER` and `HOLD`."""
    x: int
    y: int
    start_ms: float
    end_ms: float
    sound: int
    tick_ms: float
    """The time between two ticks, for sliders."""
    fields: Sequence[str]


class PlacedObjects(msgspec.Struct, frozen=True):
    """The objects of a file in the order of time, with the settings that hits depend on."""

    format_version: int
    mode: int
    cs: float
    od: float
    ar: float
    stack_leniency: float
    objects: list[PlacedObject]


def parse_objects(data: bytes) -> PlacedObjects:
    """Return the objects of a file. Raises BadBeatmap, and no other error, for any input. CPU-bound: 5 us per object.

    The bounds are those of `parse_beatmap`.
    """
    lines = _lines(data)
    format_version = _format_version(lines)
    offset_ms = _EARLY_OFFSET_MS if format_version < 5 else 0.0
    sections = _sections(lines)
    general = _pairs(sections["General"])
    difficulty = _pairs(sections["Difficulty"])
    mode = _last(general, "Mode", _mode, 0)
    multiplier = _clamp(_last(difficulty, "SliderMultiplier", _number, 1.4), _MULTIPLIER_RANGE)
    tick_rate = _clamp(_last(difficulty, "SliderTickRate", _number, 1.0), _TICK_RATE_RANGE)
    timing = _Timing(sections["TimingPoints"], offset_ms)
    found: list[tuple[Sequence[str], float, float]] = []
    _Objects(sections["HitObjects"], timing, multiplier, offset_ms, found)
    found.sort(key=lambda line: line[1])
    # Before version 8, the ticks of a slider are further apart in time when the slider is slower.
    beat_ms = timing.beat_ms if format_version >= 8 else timing.slider_beat_ms
    settings = _settings(difficulty, mode)
    return PlacedObjects(
        format_version=format_version,
        mode=mode,
        cs=settings.cs,
        od=settings.od,
        ar=settings.ar,
        stack_leniency=_last(general, "StackLeniency", _number, 0.7),
        objects=[
            _placed(fields, start_ms, end_ms, beat_ms(start_ms) / tick_rate) for fields, start_ms, end_ms in found
        ],
    )


def parse_beatmap(data: bytes) -> BeatmapFile:
    """Parse a file. Raises BadBeatmap, and no other error, for any input. CPU-bound: about 4 us per object."""
    lines = _lines(data)
    format_version = _format_version(lines)
    offset_ms = _EARLY_OFFSET_MS if format_version < 5 else 0.0
    # Objects need the timing points for the duration of sliders, so the sections are parsed by name, not in file order.
    sections = _sections(lines)
    general = _pairs(sections["General"])
    metadata = _pairs(sections["Metadata"])
    difficulty = _pairs(sections["Difficulty"])

    mode = _last(general, "Mode", _mode, 0)
    events = _events(sections["Events"], offset_ms)
    timing = _Timing(sections["TimingPoints"], offset_ms)
    multiplier = _clamp(_last(difficulty, "SliderMultiplier", _number, 1.4), _MULTIPLIER_RANGE)
    objects = _Objects(sections["HitObjects"], timing, multiplier, offset_ms)
    settings = _settings(difficulty, mode)
    bpm_least, bpm_most = timing.bpm_range(objects.last_end_ms)
    playing_ms = objects.end_ms - objects.start_ms - _covered(events.breaks, objects.start_ms, objects.end_ms)

    return BeatmapFile(
        format_version=format_version,
        md5=hashlib.md5(data, usedforsecurity=False).hexdigest(),
        mode=mode,
        title=_text(metadata, "Title"),
        artist=_text(metadata, "Artist"),
        title_unicode=_own_script(metadata, "Title"),
        artist_unicode=_own_script(metadata, "Artist"),
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
        cs=settings.cs,
        od=settings.od,
        ar=settings.ar,
        hp=_setting(difficulty, "HPDrainRate", 5.0),
        bpm=timing.main_bpm(objects.last_end_ms),
        bpm_least=bpm_least,
        bpm_most=bpm_most,
        total_length_s=max(int(objects.end_ms / 1000), 0),
        hit_length_s=max(int(playing_ms / 1000), 0),
        circles=objects.circles,
        sliders=objects.sliders,
        spinners=objects.spinners,
        holds=objects.holds,
        objects=objects.count,
    )


def file_name(artist: str, title: str, creator: str, version: str) -> str:
    """Return the file name that the game gives a map, without the characters that Windows forbids.

    See docs/spec/beatmaps.md#file-names.
    """
    return _unescaped_name(artist, title, creator, version).translate(_FORBIDDEN_IN_FILE_NAMES)


def underscored_file_name(artist: str, title: str, creator: str, version: str) -> str:
    """Return the alternative file name of some maps, with `_` for each character that Windows forbids."""
    return _unescaped_name(artist, title, creator, version).translate(_UNDERSCORES_IN_FILE_NAMES)


def _unescaped_name(artist: str, title: str, creator: str, version: str) -> str:
    return f"{artist} - {title} ({creator}) [{version}].osu"


def _lines(data: bytes) -> list[str]:
    if not data:
        raise BadBeatmap("the file is empty")
    if len(data) > FILE_MAX_BYTES:
        raise BadBeatmap(f"the file is larger than {FILE_MAX_BYTES // 2**20} MiB")
    # PostgreSQL rejects NUL in a text column.
    text = _decode(data).replace("\0", "\N{REPLACEMENT CHARACTER}")
    # Not splitlines(): it also splits at characters that a title may contain, such as U+2028.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n", LINES_MAX)
    if len(lines) > LINES_MAX:
        raise BadBeatmap(f"there are more than {LINES_MAX} lines")
    if max(map(len, lines)) > LINE_MAX_CHARS:
        raise BadBeatmap(f"a line is longer than {LINE_MAX_CHARS // 2**20} MiB")
    return lines


def _decode(data: bytes) -> str:
    """Decode the file. A byte order mark selects the encoding; invalid bytes become replacement characters."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    return data.decode("utf-8", "replace")


def _format_version(lines: Iterable[str]) -> int:
    # _decode removes a byte order mark at the start of the file only; the first line with text can follow blank ones.
    first = next((line.strip("\ufeff \t") for line in lines if line and not line.isspace()), "")
    if first.startswith(_HEADER):
        try:
            return _whole(first.rpartition("v")[2])
        except ValueError:
            pass
    return LATEST_VERSION


def _sections(lines: Iterable[str]) -> Mapping[str, list[str]]:
    """Return the non-empty lines of each known section, without comments.

    Text before the first section and unknown sections are ignored. Sections with the same name are joined.
    """
    sections: dict[str, list[str]] = {name: [] for name in _SECTIONS}
    metadata = sections["Metadata"]
    current: list[str] | None = None
    any_section = False
    for line in map(str.strip, lines):
        if "//" in line:
            comment = line.index("//")
            if comment == 0 or current is not metadata:  # a title or source may contain `//`, e.g. in a URL
                line = line[:comment].rstrip()
        if not line:
            continue
        if line[0] == "[" and line[-1] == "]":
            current = sections.get(line[1:-1].strip())
            any_section = True
        elif current is not None:
            current.append(line)
    if not any_section:
        raise BadBeatmap("not a beatmap: there is no section such as [HitObjects]")
    return sections


# --- keys and values


def _pairs(lines: Iterable[str]) -> Mapping[str, list[str]]:
    """Return the values of each key in file order."""
    pairs: dict[str, list[str]] = {}
    for line in lines:
        key, _, value = line.partition(":")
        pairs.setdefault(key.rstrip(), []).append(value.lstrip())
    return pairs


def _last(pairs: Mapping[str, list[str]], key: str, read: Callable[[str], T], default: T) -> T:
    """Return the last valid value of a key, or the default."""
    # A repeated key overrides the earlier ones, but an unreadable line is skipped, so the value before it stays.
    for text in reversed(pairs.get(key, ())):
        try:
            return read(text)
        except ValueError:
            continue
    return default


def _text(pairs: Mapping[str, list[str]], key: str, longest: int = TEXT_MAX) -> str:
    values = pairs.get(key)
    return values[-1][:longest] if values else ""


def _own_script(pairs: Mapping[str, list[str]], key: str) -> str:
    text = _text(pairs, f"{key}Unicode")
    return "" if text == _text(pairs, key) else text


def _setting(
    pairs: Mapping[str, list[str]], key: str, default: float, bounds: tuple[float, float] = (0.0, 10.0)
) -> float:
    # The game parses settings in single precision, which rounds its bound of 2^31 - 1 up to 2^31.
    return _clamp(_last(pairs, key, lambda text: _number(text, 2.0**31), default), bounds)


class _Settings(NamedTuple):
    cs: float
    od: float
    ar: float


def _settings(difficulty: Mapping[str, list[str]], mode: int) -> _Settings:
    od = _setting(difficulty, "OverallDifficulty", 5.0)
    return _Settings(
        # In mania CircleSize is the number of keys; 18 are two stages of 9 keys.
        cs=_setting(difficulty, "CircleSize", 5.0, (1.0, 18.0) if mode == 3 else (0.0, 10.0)),
        od=od,
        ar=_setting(difficulty, "ApproachRate", od),  # old files have no ApproachRate
    )


def _mode(text: str) -> int:
    mode = _whole(text)
    if not 0 <= mode <= 3:
        raise ValueError("no such mode")
    return mode


def _number(text: str, largest: float = NUMBER_MAX) -> float:
    """Parse a number by the game's rules. Raises ValueError, also for NaN."""
    if "_" in text or not text.isascii():  # float() accepts `1_0` and digits of other scripts, the game does not
        raise ValueError("not a number")
    value = float(text)
    # The negated chain is also true for NaN.
    if not -largest <= value <= largest:
        raise ValueError("not a number in range")
    return value


def _whole(text: str) -> int:
    """Parse a whole number within 32 bits. Raises ValueError."""
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
    """Parse the events.

    The last background in the file counts. A "video" without the ending of a video file counts as a background, too.
    Without any of them the first sprite is the background.
    """
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
            parts = rest.split(",", 2)  # layer, origin, then the file name and the position
            if kind in _SPRITE and background is None and len(parts) == 3:
                background = _quoted(parts[2])
    if len(breaks) > BREAKS_MAX:
        raise BadBeatmap(f"there are more than {BREAKS_MAX} breaks")
    return _Events(background, breaks, has_video, has_storyboard)


def _quoted(text: str) -> str | None:
    """Return the file name at the start of the text. A quoted name may contain commas."""
    text = text.lstrip()
    name = text[1:].partition('"')[0] if text.startswith('"') else text.partition(",")[0]
    return name[:TEXT_MAX].strip() or None


def _covered(intervals: list[tuple[float, float]], start: float, end: float) -> float:
    """Return the total time from start to end that the intervals cover. Overlapping intervals count once."""
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
    """The timing points: the tempo and the slider velocity at any time."""

    def __init__(self, lines: Iterable[str], offset_ms: float) -> None:
        beats: dict[float, float] = {}
        slowness: dict[float, float] = {}
        tails: dict[str, bool] = {}
        group_ms = math.nan  # unequal to every time, so the first line starts a group
        has_tempo = has_velocity = False
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
            # Consecutive lines with the same time form a group. Its first tempo counts. Its last inherited line sets
            # the velocity; without an inherited line, the tempo line does.
            if time_ms != group_ms:
                group_ms, has_tempo, has_velocity = time_ms, False, False
                slowness[time_ms] = slow
            if not is_tempo:
                has_velocity = True
                slowness[time_ms] = slow
            elif not has_tempo:
                has_tempo = True
                beats[time_ms] = _clamp(beat, _BEAT_RANGE)
                if not has_velocity:
                    slowness[time_ms] = slow
        self._beats = sorted(beats.items())
        self._beat_times = [time_ms for time_ms, _ in self._beats]
        slownesses = sorted(slowness.items())
        self._slow_times = [time_ms for time_ms, _ in slownesses]
        self._slow = [1.0, *(slow for _, slow in slownesses)]

    def slider_beat_ms(self, time_ms: float) -> float:
        """Return the ms in which a slider covers 100 x SliderMultiplier pixels at this time."""
        return self.beat_ms(time_ms) * self._slow[bisect_right(self._slow_times, time_ms)]

    def beat_ms(self, time_ms: float) -> float:
        """Return the length of a beat at this time."""
        if not self._beats:
            return _DEFAULT_BEAT_MS
        # The first tempo also applies before its time.
        return self._beats[max(bisect_right(self._beat_times, time_ms) - 1, 0)][1]

    def main_bpm(self, last_ms: float) -> float:
        """Return the tempo with the longest total duration until the last object ends, 3 decimals.

        The first tempo begins at 0. A tempo that begins before `last_ms` counts until the next one begins.
        """
        if not self._beats:
            return 60_000 / _DEFAULT_BEAT_MS
        durations: dict[int, float] = {}
        beat_of_group: dict[int, float] = {}
        for index, (start_ms, beat) in enumerate(self._beats):
            group = round(beat * 1000)  # the game adds up tempos that are equal to the microsecond
            beat_of_group.setdefault(group, beat)
            until_ms = self._beat_times[index + 1] if index + 1 < len(self._beats) else last_ms
            duration = until_ms - (start_ms if index else 0.0) if start_ms <= last_ms else 0.0
            durations[group] = durations.get(group, 0.0) + duration
        return round(60_000 / beat_of_group[max(durations, key=durations.__getitem__)], 3)

    def bpm_range(self, last_ms: float) -> tuple[float, float]:
        """Return the slowest and the fastest tempo that begins until the last object ends, 3 decimals."""
        beats = [beat for start_ms, beat in self._beats if start_ms <= last_ms] or [beat for _, beat in self._beats[:1]]
        if not beats:
            return 60_000 / _DEFAULT_BEAT_MS, 60_000 / _DEFAULT_BEAT_MS
        return round(60_000 / max(beats), 3), round(60_000 / min(beats), 3)


def _timing_point(line: str, tails: dict[str, bool]) -> tuple[float, float, bool]:
    """Return the time in ms, the beat length as written, and whether the line sets a tempo.

    Raises ValueError or IndexError.
    """
    # PERF: `tails` caches the rest of the line after the beat length; a file has few different ones.
    fields = line.split(",", 2)
    time_ms = _number(fields[0])
    is_tempo = True
    if len(fields) > 2:
        tail = fields[2]
        if tail not in tails:
            tails[tail] = _sets_tempo(tail)
        is_tempo = tails[tail]
    # The game accepts NaN in an inherited line: it turns slider ticks off and sets no velocity. 0 selects the default.
    if not is_tempo and fields[1].strip().lower() == "nan":
        return time_ms, 0.0, False
    return time_ms, _number(fields[1]), is_tempo


def _sets_tempo(tail: str) -> bool:
    """Whether `meter,set,index,volume,uninherited,effects` is uninherited. Lines without the field are uninherited."""
    fields = tail.split(",", 6)
    if not fields[0].startswith("0") and _whole(fields[0]) < 1:
        raise ValueError("no such meter")
    for field in (*fields[1:4], *fields[5:6]):
        _whole(field)
    return len(fields) < 5 or fields[4][0] == "1"


# --- objects


class _Objects:
    """The number of objects of each kind, the start of the first and the end of the last.

    With `lines_of`, the fields, start and end of each object are also appended to that list.
    """

    def __init__(
        self,
        lines: Iterable[str],
        timing: _Timing,
        multiplier: float,
        offset_ms: float,
        lines_of: list[tuple[Sequence[str], float, float]] | None = None,
    ) -> None:
        self._timing = timing
        self._multiplier = multiplier
        self._offset_ms = offset_ms
        self._banks: set[str] = set()
        self.circles = self.sliders = self.spinners = self.holds = self.count = 0
        self.start_ms = math.inf
        self.end_ms = -math.inf
        self.last_end_ms = 0.0
        """The end of the object with the latest start."""
        last_start_ms = -math.inf
        for line in lines:
            try:
                fields = line.split(",", 11)
                start_ms, end_ms = self._object(fields)
            except BadBeatmap:  # a ValueError, too: without this clause an exceeded bound would only skip the line
                raise
            except (ValueError, IndexError):
                continue
            self.count += 1
            if self.count > OBJECTS_MAX:
                raise BadBeatmap(f"there are more than {OBJECTS_MAX} objects")
            end_ms = min(end_ms, NUMBER_MAX)  # a slow slider with 9,000 slides would exceed the database's 32 bits
            if start_ms >= last_start_ms:
                last_start_ms, self.last_end_ms = start_ms, end_ms
            self.start_ms = min(self.start_ms, start_ms)
            self.end_ms = max(self.end_ms, end_ms)
            if lines_of is not None:
                lines_of.append((fields, start_ms, end_ms))
        if not self.count:
            raise BadBeatmap("there are no objects to hit")

    def _object(self, fields: Sequence[str]) -> tuple[float, float]:
        """Count an object and return its start and end in ms. Raises ValueError or IndexError for an invalid line."""
        _number(fields[0], COORDINATE_MAX)
        _number(fields[1], COORDINATE_MAX)
        start_ms = _number(fields[2]) + self._offset_ms
        kind = _whole(fields[3])
        _whole(fields[4])
        # `kind` is a set of bits. The order of the checks is the game's: a line with several kinds counts as the first.
        if kind & CIRCLE:
            if len(fields) > 5:
                self._read_banks(fields[5])
            self.circles += 1
            return start_ms, start_ms
        if kind & SLIDER:
            duration_ms = self._slider_ms(fields, start_ms)
            self.sliders += 1
            return start_ms, start_ms + duration_ms
        if kind & SPINNER:
            end_ms = _number(fields[5]) + self._offset_ms
            if len(fields) > 6:
                self._read_banks(fields[6])
            self.spinners += 1
            return start_ms, max(start_ms, end_ms)
        if kind & HOLD:
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
            if length <= 0:  # a slider without a stated length is as long as its path
                length = sum(_length(kind, points) for kind, points in segments)
        return length * max(slides, 1) * self._timing.slider_beat_ms(start_ms) / (100 * self._multiplier)

    def _read_banks(self, text: str) -> None:
        """Validate sample banks: four whole numbers, then a file name. Raises ValueError."""
        # PERF: most objects of a file share a few texts; each text is validated once.
        if text and text not in self._banks:
            for bank in text.split(":", 4)[:4]:
                _whole(bank)
            self._banks.add(text)


def _placed(fields: Sequence[str], start_ms: float, end_ms: float, tick_ms: float) -> PlacedObject:
    bits = _whole(fields[3])
    kind = next(kind for kind in (CIRCLE, SLIDER, SPINNER, HOLD) if bits & kind)
    x, y = (int(_number(text, COORDINATE_MAX)) for text in fields[:2])
    return PlacedObject(kind, x, y, start_ms, end_ms, _whole(fields[4]), tick_ms, fields)


def slider_path(slider: PlacedObject) -> tuple[list[tuple[str, list[Point]]], int, float]:
    """Return the segments of a slider's path (see `_segments`), the number of slides, and the stated length in pixels.

    A length of 0 means the whole path.
    """
    fields = slider.fields
    length = _number(fields[7], COORDINATE_MAX) if len(fields) > 7 else 0.0
    return _segments(fields[0], fields[1], fields[5]), max(_whole(fields[6]), 1), max(length, 0.0)


def _segments(x: str, y: str, path: str) -> list[tuple[str, list[Point]]]:
    """Return the segments of a slider's path: curve letter and points. Raises ValueError or IndexError.

    `B|1:2|3:4|L|5:6` is a curve from the slider's head over 1:2 and 3:4 to 5:6. Only the first two numbers of a point
    are read.
    """
    points = [_point(x, y)]
    segments = [(path[:1], points)]
    if _PLAIN_PATH.fullmatch(path) is not None:  # PERF: a file of 10 MiB can have two million points
        coordinates = list(map(float, path[2:].replace("|", ":").split(":")))
        points += zip(coordinates[::2], coordinates[1::2], strict=True)
        return segments
    starts_segment = False
    for piece in path.split("|")[1:]:
        if piece[0].isascii() and piece[0].isalpha():
            if starts_segment:
                raise ValueError("a segment without a point")
            starts_segment = True
            points = []
            segments.append((piece[0], points))
            continue
        numbers = piece.split(":", 2)
        point = _point(numbers[0], numbers[1])
        if starts_segment:  # the first point of a segment is also the last point of the previous one
            segments[-2][1].append(point)
            starts_segment = False
        points.append(point)
    if starts_segment:
        raise ValueError("a segment without a point")
    return segments


def _point(x: str, y: str) -> Point:
    return float(int(_number(x, COORDINATE_MAX))), float(int(_number(y, COORDINATE_MAX)))


def _length(kind: str, points: Sequence[Point]) -> float:
    """Return the length of a segment in pixels: exact for lines and arcs, within a few percent for other curves."""
    if kind == "P" and len(points) == 3:
        return _arc_length(*points)
    if kind not in ("B", "P"):
        return _polygon_length(points)
    length = 0.0
    start = 0
    for index in range(1, len(points)):  # two equal points in a row end one curve and start the next
        if points[index] == points[index - 1]:
            length += _bezier_length(points[start:index])
            start = index
    return length + _bezier_length(points[start:])


def _polygon_length(points: Sequence[Point]) -> float:
    return sum(map(math.dist, points, points[1:]))


def _bezier_length(points: Sequence[Point]) -> float:
    """Estimate the length of a Bezier curve from its chord and control polygon (Gravesen), in linear time."""
    degree = len(points) - 1
    return (2 * math.dist(points[0], points[-1]) + (degree - 1) * _polygon_length(points)) / (degree + 1)


def _arc_length(a: Point, b: Point, c: Point) -> float:
    """Return the length of the arc of a circle from a over b to c; of straight lines if the points are collinear."""
    doubled_area = abs((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
    if doubled_area == 0:
        return math.dist(a, b) + math.dist(b, c)
    radius = math.dist(a, b) * math.dist(b, c) * math.dist(a, c) / (2 * doubled_area)
    at_b = math.atan2(doubled_area, (a[0] - b[0]) * (c[0] - b[0]) + (a[1] - b[1]) * (c[1] - b[1]))
    return radius * 2 * (math.pi - at_b)  # inscribed angle: the angle at b is half of the remaining arc

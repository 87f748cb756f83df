"""Reads a .osu file: what a map is called, how long it is, what it holds (web-endpoints 10.1).

A file comes from anybody, so every number is checked and every size has a bound. The limits on numbers are the game's
own, with one difference: where the game skips a line it cannot read, the whole file is refused, because whatever else
reads it (the client, the pp calculator) need not skip the same lines. Reading is linear in the file's size, apart from
sorting timing points and breaks by time.
"""

import hashlib
import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

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
TAGS_MAX: Final = 16_384

# What the game takes for a beat length in ms, a slider multiplier and a relative slider velocity; it clamps the rest.
_BEAT_RANGE: Final = (6.0, 60_000.0)
_MULTIPLIER_RANGE: Final = (0.4, 3.6)
_VELOCITY_RANGE: Final = (0.1, 10.0)
_DEFAULT_BEAT_MS: Final = 1_000.0

_CIRCLE: Final = 1
_SLIDER: Final = 2
_SPINNER: Final = 8
_HOLD: Final = 128

_HEADER: Final = re.compile(r"osu file format v([0-9]{1,3})")
_VERSIONS: Final = frozenset({*range(3, 15), 128})
_FORBIDDEN_IN_FILE_NAMES: Final = str.maketrans("", "", '\\/:*?"<>|')


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
    """Reads a whole file; raises BadBeatmap and nothing else, whatever the bytes. CPU-bound: some 5 us an object."""
    lines = _lines(data)
    format_version = _format_version(lines)
    sections = _sections(lines)
    general = _pairs(sections["General"])
    metadata = _pairs(sections["Metadata"])
    difficulty = _pairs(sections["Difficulty"])

    mode = int(_number(general.get("Mode") or "0", "Mode"))
    if mode not in (0, 1, 2, 3):
        raise BadBeatmap(f"there is no mode {mode}")
    events = _events(sections["Events"])
    timing = _Timing(sections["TimingPoints"])
    multiplier = _clamp(_number(difficulty.get("SliderMultiplier", "1.4"), "SliderMultiplier"), _MULTIPLIER_RANGE)
    objects = _Objects(sections["HitObjects"], timing, multiplier)
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
        beatmap_id=int(_number(metadata.get("BeatmapID") or "0", "BeatmapID")),
        beatmap_set_id=int(_number(metadata.get("BeatmapSetID") or "0", "BeatmapSetID")),
        preview_time_ms=int(_number(general.get("PreviewTime") or "-1", "PreviewTime")),
        audio_filename=_text(general, "AudioFilename"),
        background=events.background,
        has_video=events.has_video,
        has_storyboard=events.has_storyboard,
        cs=_setting(difficulty, "CircleSize", 5.0, (1.0, 18.0) if mode == 3 else (0.0, 10.0)),
        od=od,
        ar=_setting(difficulty, "ApproachRate", od),
        hp=_setting(difficulty, "HPDrainRate", 5.0),
        bpm=timing.main_bpm(objects.end_ms),
        total_length_s=max(int(objects.end_ms / 1000), 0),
        hit_length_s=max(int(playing_ms / 1000), 0),
        circles=objects.circles,
        sliders=objects.sliders,
        spinners=objects.spinners,
        holds=objects.holds,
        objects=objects.circles + objects.sliders + objects.spinners + objects.holds,
    )


def file_name(artist: str, title: str, creator: str, version: str) -> str:
    """The name the game gives a map's file, without the characters that Windows forbids (web-endpoints 10.1)."""
    return f"{artist} - {title} ({creator}) [{version}].osu".translate(_FORBIDDEN_IN_FILE_NAMES)


def _lines(data: bytes) -> list[str]:
    if not data:
        raise BadBeatmap("the file is empty")
    if len(data) > FILE_MAX_BYTES:
        raise BadBeatmap(f"the file is larger than {FILE_MAX_BYTES // 2**20} MiB")
    if b"\0" in data:
        raise BadBeatmap("the file is binary, not text")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadBeatmap("the file is not UTF-8 text") from None
    # Not splitlines(): that also breaks at characters which may stand in a title.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n", LINES_MAX)
    if len(lines) > LINES_MAX:
        raise BadBeatmap(f"there are more than {LINES_MAX} lines")
    if max(map(len, lines)) > LINE_MAX_CHARS:
        raise BadBeatmap(f"a line is longer than {LINE_MAX_CHARS // 2**20} MiB")
    return lines


def _format_version(lines: Iterable[str]) -> int:
    first = next((line.strip() for line in lines if line and not line.isspace()), "")
    header = _HEADER.fullmatch(first)
    if header is None:
        raise BadBeatmap('the first line is not "osu file format v" and a number')
    version = int(header[1])
    if version not in _VERSIONS:
        raise BadBeatmap(f"format v{version} is unknown")
    return version


def _sections(lines: Iterable[str]) -> Mapping[str, list[str]]:
    """The lines that say something, by section; text before the first section and unknown sections are dropped."""
    sections: dict[str, list[str]] = {
        name: [] for name in ("General", "Metadata", "Difficulty", "Events", "TimingPoints", "HitObjects")
    }
    current: list[str] | None = None
    for line in map(str.strip, lines):
        if not line or line.startswith("//"):
            continue
        if line[0] == "[" and line[-1] == "]":
            current = sections.get(line[1:-1])
        elif current is not None:
            current.append(line)
    return sections


def _pairs(lines: Iterable[str]) -> dict[str, str]:
    return {key.rstrip(): value.lstrip() for key, _, value in (line.partition(":") for line in lines)}


def _text(pairs: Mapping[str, str], key: str, longest: int = TEXT_MAX) -> str:
    text = pairs.get(key, "")
    if len(text) > longest:
        raise BadBeatmap(f"{key} is longer than {longest} characters")
    return text


def _number(text: str, what: str, largest: float = NUMBER_MAX) -> float:
    try:
        value = float(text)
    except ValueError:
        raise BadBeatmap(f"{what} is not a number: {text[:40]!r}") from None
    if not -largest <= value <= largest:  # NaN too
        raise BadBeatmap(f"{what} is out of all reason: {text[:40]!r}")
    return value


def _clamp(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])


def _setting(pairs: Mapping[str, str], key: str, default: float, bounds: tuple[float, float] = (0.0, 10.0)) -> float:
    return _clamp(_number(pairs[key], key), bounds) if key in pairs else default


class _Events(NamedTuple):
    background: str | None
    breaks: list[tuple[float, float]]
    has_video: bool
    has_storyboard: bool


def _events(lines: Iterable[str]) -> _Events:
    background = None
    breaks = []
    has_video = has_storyboard = False
    for line in lines:
        kind, _, rest = line.partition(",")
        if kind in ("0", "Background") and background is None:
            background = _quoted(rest.partition(",")[2])
        elif kind in ("2", "Break"):
            start, _, end = rest.partition(",")
            breaks.append((_number(start, "a break"), _number(end.partition(",")[0], "a break")))
        elif kind in ("1", "Video"):
            has_video = True
        elif kind in ("Sprite", "Animation"):
            has_storyboard = True
    if len(breaks) > BREAKS_MAX:
        raise BadBeatmap(f"there are more than {BREAKS_MAX} breaks")
    return _Events(background, breaks, has_video, has_storyboard)


def _quoted(text: str) -> str | None:
    name = text[1:].partition('"')[0] if text.startswith('"') else text.partition(",")[0]
    if len(name) > TEXT_MAX:
        raise BadBeatmap(f"the background's name is longer than {TEXT_MAX} characters")
    return name.strip() or None


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


class _Timing:
    """The tempo, and how fast sliders are, at any time."""

    def __init__(self, lines: Sequence[str]) -> None:
        if len(lines) > TIMING_POINTS_MAX:
            raise BadBeatmap(f"there are more than {TIMING_POINTS_MAX} timing points")
        points = sorted(_timing_points(lines))
        self._tempo = [(time, beat) for time, inherited, beat in points if not inherited]
        self._times: list[float] = []
        self._slider_beats: list[float] = []
        """From each time on, the ms that a slider takes for 100 x SliderMultiplier pixels."""
        beat = self._tempo[0][1] if self._tempo else _DEFAULT_BEAT_MS
        self._first_beat = beat
        for time, inherited, value in points:
            if not inherited:
                beat = value
            self._times.append(time)
            self._slider_beats.append(beat * value if inherited else beat)

    def slider_beat_ms(self, time: float) -> float:
        index = bisect_right(self._times, time)
        return self._slider_beats[index - 1] if index else self._first_beat

    def main_bpm(self, end: float) -> float:
        """The game counts the first tempo from 0 on and the last to the end of the last object."""
        covered: dict[float, float] = {}
        for index, (time, beat) in enumerate(self._tempo):
            start = 0.0 if index == 0 else time
            until = self._tempo[index + 1][0] if index + 1 < len(self._tempo) else end
            beat = round(beat, 3)
            covered[beat] = covered.get(beat, 0.0) + max(min(until, end) - start, 0.0)
        main = max(covered, key=covered.__getitem__, default=_DEFAULT_BEAT_MS)
        return round(60_000 / main, 3)


def _timing_points(lines: Iterable[str]) -> Iterator[tuple[float, bool, float]]:
    """(time, inherited, beat length or slowness of sliders); sorted, inherited points follow others of their time."""
    for line in lines:
        time, _, rest = line.partition(",")
        fields = rest.split(",", 6)
        beat = _number(fields[0], "a beat length")
        if beat < 0 or (len(fields) > 5 and not fields[5].lstrip().startswith("1")):
            velocity = _clamp(-100 / beat if beat < 0 else 1.0, _VELOCITY_RANGE)
            yield _number(time, "a timing point"), True, 1 / velocity
        else:
            yield _number(time, "a timing point"), False, _clamp(beat, _BEAT_RANGE)


class _Objects:
    """How many objects of each kind there are, and when the first begins and the last ends."""

    def __init__(self, lines: Sequence[str], timing: _Timing, multiplier: float) -> None:
        if not lines:
            raise BadBeatmap("there are no objects to hit")
        if len(lines) > OBJECTS_MAX:
            raise BadBeatmap(f"there are more than {OBJECTS_MAX} objects")
        self.circles = self.sliders = self.spinners = self.holds = 0
        self.start_ms = math.inf
        self.end_ms = -math.inf
        for line in lines:
            fields = line.split(",", 8)
            if len(fields) < 4:
                raise BadBeatmap(f"an object has too few fields: {line[:40]!r}")
            _number(fields[0], "an object's place", COORDINATE_MAX)
            _number(fields[1], "an object's place", COORDINATE_MAX)
            start = end = _number(fields[2], "an object's time")
            kind = int(_number(fields[3], "an object's kind"))
            if kind & _CIRCLE:
                self.circles += 1
            elif kind & _SLIDER:
                self.sliders += 1
                end += _slider_ms(fields, timing.slider_beat_ms(start), multiplier)
            elif kind & _SPINNER:
                self.spinners += 1
                end = max(_end_ms(fields, line), start)
            elif kind & _HOLD:
                self.holds += 1
                if len(fields) > 5:
                    end = max(_end_ms(fields, line), start)
            else:
                raise BadBeatmap(f"an object is of unknown kind {kind}")
            self.start_ms = min(self.start_ms, start)
            self.end_ms = max(self.end_ms, end)
        if self.end_ms > NUMBER_MAX:
            raise BadBeatmap("an object never ends")


def _end_ms(fields: Sequence[str], line: str) -> float:
    if len(fields) < 6:
        raise BadBeatmap(f"an object has no end: {line[:40]!r}")
    return _number(fields[5].partition(":")[0], "an object's end")


def _slider_ms(fields: Sequence[str], beat_ms: float, multiplier: float) -> float:
    if len(fields) < 7:
        raise BadBeatmap("a slider has too few fields")
    slides = int(_number(fields[6], "a slider's number of slides"))
    if slides > SLIDES_MAX:
        raise BadBeatmap(f"a slider has more than {SLIDES_MAX} slides")
    path = _path(fields)
    if len(fields) > 7:
        length = max(_number(fields[7], "a slider's length", COORDINATE_MAX), 0.0)
    else:  # files older than lengths: close enough is the way along the control points
        points = list(zip(path[::2], path[1::2], strict=True))
        length = sum(map(math.dist, points, points[1:]))
    return length * max(slides, 1) * beat_ms / (100 * multiplier)


def _path(fields: Sequence[str]) -> list[float]:
    """x, y of the slider's head and of each control point; letters between them start another part of the curve."""
    if fields[5].count("|") > CONTROL_POINTS_MAX:
        raise BadBeatmap(f"a slider has more than {CONTROL_POINTS_MAX} control points")
    parts = fields[5].split("|")
    points = [f"{fields[0]}:{fields[1]}", *(part for part in parts if ":" in part or not part[:1].isalpha())]
    # PERF: whole lists at a time, because a file has room for two million points: 0.5 us each instead of 1.2.
    try:
        path = list(map(float, ":".join(points).split(":")))
    except ValueError:
        raise BadBeatmap(f"a slider's path holds more than numbers: {fields[5][:40]!r}") from None
    if len(path) != 2 * len(points):
        raise BadBeatmap(f"a slider's path is not made of pairs: {fields[5][:40]!r}")
    if not (min(path) >= -COORDINATE_MAX and max(path) <= COORDINATE_MAX) or math.isnan(sum(path)):
        raise BadBeatmap("a slider's path is out of all reason")
    return path

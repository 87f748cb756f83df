"""Generates beatmaps: .osu files (format v14) of all four modes that the game and the calculator accept.

A song has a tempo and a title. Each difficulty places its notes with a seeded generator, beat by beat. The rhythm
consists of phrases of four bars, repeated like the verses and choruses of a song. A seed always gives the same bytes.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from random import Random
from typing import Final

import msgspec

OSU: Final = 0
TAIKO: Final = 1
CATCH: Final = 2
MANIA: Final = 3

ID_FIRST: Final = 900_000
SET_ID_FIRST: Final = 300_000
DIFFICULTIES: Final = ("Easy", "Normal", "Hard", "Insane")
OBJECTS_MAX: Final = 700  # keeps the files small and the calculation of pp fast
# The first four sets cover every mode. Half of all sets are osu!, as on real servers.
_MODES_OF_SETS: Final = (OSU, MANIA, TAIKO, CATCH, OSU, OSU, MANIA, OSU, TAIKO, OSU)

_STEPS_A_BEAT: Final = 4
_STEPS_A_PHRASE: Final = 64
_SLIDER_MULTIPLIER: Final = 1.4
_WIDTH: Final = 512
_HEIGHT: Final = 384
_MARGIN: Final = 32
_SPINNER_STEPS: Final = 12  # quarter beats, as are the other steps
_LEAD_IN_MS: Final = 2_000


def words(text: str) -> tuple[str, ...]:
    """Split a text at spaces and line ends."""
    return tuple(text.split())


_ADJECTIVES: Final = words(
    """
Amber Azure Broken Candy Cloudless Crimson Crystal Distant Electric Endless Fading Frozen Gentle Golden Hidden Hollow
Indigo Ivory Lonely Lucid Midnight Neon Nameless Paper Quiet Radiant Restless Scarlet Silent Silver Sleepless Stray
Tender Twilight Velvet Violet Wandering Weightless Whispering Winter
"""
)
_NOUNS: Final = words(
    """
Aurora Avenue Carousel Cascade Comet Compass Constellation Daydream Echo Ember Eclipse Feather Fireworks Garden Harbor
Horizon Lantern Labyrinth Lullaby Machine Meadow Mirage Mirror Monsoon Nebula Ocean Orbit Parade Petal Promise Railway
Rhapsody Satellite Signal Skyline Snowfall Station Sunrise Tempest Theatre Vertigo Waltz
"""
)
_ARTIST_WORDS: Final = words(
    """
Asterline Blue-Moss Calyxo Dorvane Ennui-Works Fjordwave Glasswing Hazelnova Inkvale Jumeirel Kitsuwave Lumenote
Mirovox Nachtlicht Olivetta Pixelmoth Quillon Rivenna Soranoha Tessaloom Umbrafox Velouria Wistful-Unit Xenotune
Yorukaze Zephyrine
"""
)
_ARTIST_ENDINGS: Final = ("", " Trio", " Project", " feat. Mochiyu", " & Sorrel", " Orchestra", " Sound Team")
_CREATORS: Final = words(
    """
Bearing Cloudchaser Dotsmith Emberling Fennec Gridwalker Hushabye Inkling Juniper Kumonosu Latchkey Milkteapot
Nightjar Overtone Pinwheel Quaver Rimshot Sliderbreak Tatami Underscore Voxel Whistler Yuzuha Zigzag
"""
)


class ComposedMap(msgspec.Struct, frozen=True):
    """A generated map.

    `judged` is the number of judgements in a complete play. `tiny_droplets` is the number of tiny droplets among them,
    in catch only.
    """

    id: int
    set_id: int
    mode: int
    name: str
    osu: bytes
    objects: int
    judged: int
    tiny_droplets: int


class _Song(msgspec.Struct, frozen=True):
    artist: str
    title: str
    creator: str
    mode: int
    bpm: int
    beats: int


class _Level(msgspec.Struct, frozen=True):
    """The settings of a difficulty.

    `gaps` are the distances between notes in quarter beats; a value that is listed twice is twice as likely.
    """

    cs: float
    ar: float
    od: float
    hp: float
    gaps: tuple[int, ...]
    spacing: float
    """Pixels per beat."""
    chords: float
    """The probability of a second mania note at the same time, 0-1."""


_LEVELS: Final = (
    _Level(3.0, 4.0, 3.0, 3.0, (4, 4, 4, 4, 8), 90.0, 0.0),
    _Level(3.5, 6.0, 5.0, 4.0, (2, 4, 4, 4, 4), 130.0, 0.05),
    _Level(4.0, 8.0, 7.0, 5.0, (2, 2, 2, 4, 4), 190.0, 0.15),
    _Level(4.2, 9.2, 8.5, 6.0, (1, 1, 2, 2, 2, 2, 4, 4), 260.0, 0.25),
)


class _Note(msgspec.Struct, frozen=True):
    """A note of the rhythm: `step` quarter beats after the start, `gap` before the next note; `bar` starts a combo."""

    step: int
    gap: int
    bar: bool
    spinner: bool = False


class _Written(msgspec.Struct, frozen=True):
    """The lines of the objects and their number of judgements."""

    lines: list[str]
    judged: int
    tiny_droplets: int = 0


def compose_map(seed: int, index: int) -> ComposedMap:
    """Return map number `index` of a seed: difficulty `index % 4` of the set `index // 4`."""
    number, level_number = divmod(index, len(DIFFICULTIES))
    # Each song and map has its own generator, so that a map does not depend on how many others are generated.
    song = _song(Random(f"{seed} song {number}"), _MODES_OF_SETS[number % len(_MODES_OF_SETS)])
    level = _LEVELS[level_number]
    rng = Random(f"{seed} map {index}")
    keys = 7 if number % 3 == 2 else 4
    notes = _notes(rng, song, level)
    written = _WRITERS[song.mode](rng, notes, _Grid(song.bpm), level, keys)
    version = DIFFICULTIES[level_number] if song.mode != MANIA else f"[{keys}K] {DIFFICULTIES[level_number]}"
    sections = {
        "General": [
            "AudioFilename: audio.mp3",
            "AudioLeadIn: 0",
            f"PreviewTime: {_Grid(song.bpm).time(song.beats // 3 * _STEPS_A_BEAT)}",
            "Countdown: 0",
            "SampleSet: Normal",
            "StackLeniency: 0.7",
            f"Mode: {song.mode}",
            "LetterboxInBreaks: 0",
            "WidescreenStoryboard: 0",
        ],
        "Metadata": [
            f"Title:{song.title}",
            f"TitleUnicode:{song.title}",
            f"Artist:{song.artist}",
            f"ArtistUnicode:{song.artist}",
            f"Creator:{song.creator}",
            f"Version:{version}",
            "Source:",
            "Tags:demo composed instrumental",
            f"BeatmapID:{ID_FIRST + index}",
            f"BeatmapSetID:{SET_ID_FIRST + number}",
        ],
        "Difficulty": [
            f"HPDrainRate:{level.hp}",
            f"CircleSize:{keys if song.mode == MANIA else level.cs}",
            f"OverallDifficulty:{level.od}",
            f"ApproachRate:{level.ar}",
            f"SliderMultiplier:{_SLIDER_MULTIPLIER}",
            "SliderTickRate:1",
        ],
        "Events": ["//Background and Video events", '0,0,"background.jpg",0,0'],
        "TimingPoints": [f"{_LEAD_IN_MS},{60_000 / song.bpm:.12f},4,1,0,60,1,0"],
        "HitObjects": written.lines,
    }
    text = "osu file format v14\r\n" + "".join(
        f"\r\n[{name}]\r\n" + "".join(f"{line}\r\n" for line in lines) for name, lines in sections.items()
    )
    return ComposedMap(
        id=ID_FIRST + index,
        set_id=SET_ID_FIRST + number,
        mode=song.mode,
        name=f"{song.artist} - {song.title} ({song.creator}) [{version}].osu",
        osu=text.encode("ascii"),
        objects=len(written.lines),
        judged=written.judged,
        tiny_droplets=written.tiny_droplets,
    )


def _song(rng: Random, mode: int) -> _Song:
    bpm = rng.randrange(140, 171, 2)
    seconds = rng.randrange(75, 141)
    phrase_beats = _STEPS_A_PHRASE // _STEPS_A_BEAT
    return _Song(
        artist=rng.choice(_ARTIST_WORDS).replace("-", " ") + rng.choice(_ARTIST_ENDINGS),
        title=f"{rng.choice(_ADJECTIVES)} {rng.choice(_NOUNS)}",
        creator=rng.choice(_CREATORS),
        mode=mode,
        bpm=bpm,
        beats=seconds * bpm // 60 // phrase_beats * phrase_beats,
    )


def _notes(rng: Random, song: _Song, level: _Level) -> list[_Note]:
    """Return the rhythm of a song: verses and choruses, a bridge, and a spinner at the end."""
    verse, chorus, bridge = (_phrase(rng, level.gaps) for _ in range(3))
    form = (verse, verse, chorus, verse, chorus, bridge, chorus)
    notes: list[_Note] = []
    for number in range(song.beats * _STEPS_A_BEAT // _STEPS_A_PHRASE):
        start = number * _STEPS_A_PHRASE
        notes += [_Note(start + n.step, n.gap, n.bar) for n in form[number % len(form)]]
    notes = notes[: OBJECTS_MAX * 3 // 4 if song.mode == MANIA else OBJECTS_MAX - 1]  # chords add objects
    last = notes[-1]
    notes.append(_Note(last.step + max(last.gap, _STEPS_A_BEAT), _SPINNER_STEPS, True, spinner=True))
    return notes


def _phrase(rng: Random, gaps: Sequence[int]) -> list[_Note]:
    notes = []
    step = 0
    while step < _STEPS_A_PHRASE:
        gap = rng.choice(gaps)
        if step % 2:  # an odd quarter beat is inside a run of short notes, which continues
            gap = 1
        elif step % _STEPS_A_BEAT:
            gap = min(gap, 2)
        gap = min(gap, _STEPS_A_PHRASE - step)
        notes.append(_Note(step, gap, step % 16 == 0))
        step += gap
    return notes


class _Grid:
    """Converts quarter beats to times."""

    def __init__(self, bpm: int) -> None:
        self.step_ms = 60_000 / bpm / _STEPS_A_BEAT

    def time(self, step: int) -> int:
        """Return the time of a quarter beat, rounded to ms."""
        return _LEAD_IN_MS + round(step * self.step_ms)


class _Walk:
    """A random walk within the playfield."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.x = _WIDTH / 2
        self.y = _HEIGHT / 2
        self.angle = rng.uniform(0.0, math.tau)

    def step(self, distance: float) -> tuple[int, int]:
        """Move by this many pixels, turning at the borders, and return the new position."""
        self.angle += self._rng.uniform(-1.2, 1.2)
        for _ in range(8):  # eight directions; if all lead outside, the position is clamped below
            x = self.x + distance * math.cos(self.angle)
            y = self.y + distance * math.sin(self.angle)
            if _MARGIN <= x <= _WIDTH - _MARGIN and _MARGIN <= y <= _HEIGHT - _MARGIN:
                break
            self.angle += math.tau / 8
        self.x = min(max(x, _MARGIN), _WIDTH - _MARGIN)
        self.y = min(max(y, _MARGIN), _HEIGHT - _MARGIN)
        return round(self.x), round(self.y)


def _slides(rng: Random, gap: int) -> tuple[int, int]:
    """Return the quarter beats per slide and the number of slides. The slider takes at most half of the gap."""
    held_steps = gap // 2
    if held_steps >= 2 and rng.random() < 0.25:
        return held_steps // 2, 2
    return held_steps, 1


def _slider(rng: Random, walk: _Walk, start: str, length: float, slides: int) -> str:
    """Return a slider: a line, an arc through three points, or a Bezier curve."""
    x, y = round(walk.x), round(walk.y)
    end_x, end_y = walk.step(length)
    middle_x = (x + end_x) // 2 + rng.randrange(-20, 21)
    middle_y = (y + end_y) // 2 + rng.randrange(-20, 21)
    kind = rng.choice("LPB")
    points = f"L|{end_x}:{end_y}" if kind == "L" else f"{kind}|{middle_x}:{middle_y}|{end_x}:{end_y}"
    return f"{start},{points},{slides},{length:.6f}"


def _write_osu(rng: Random, notes: Sequence[_Note], grid: _Grid, level: _Level, keys: int) -> _Written:
    walk = _Walk(rng)
    lines = []
    for note in notes:
        time = grid.time(note.step)
        combo = 4 if note.bar else 0
        if note.spinner:
            lines.append(f"256,192,{time},12,0,{grid.time(note.step + note.gap)},0:0:0:0:")
            continue
        x, y = walk.step(level.spacing * note.gap / _STEPS_A_BEAT)
        if note.gap >= 2 and rng.random() < 0.35:
            held_steps, slides = _slides(rng, note.gap)
            length = 100 * _SLIDER_MULTIPLIER * held_steps / _STEPS_A_BEAT
            lines.append(_slider(rng, walk, f"{x},{y},{time},{2 + combo},0", length, slides))
        else:
            lines.append(f"{x},{y},{time},{1 + combo},{rng.choice((0, 0, 2, 8))},0:0:0:0:")
    return _Written(lines, len(lines))


def _write_taiko(rng: Random, notes: Sequence[_Note], grid: _Grid, level: _Level, keys: int) -> _Written:
    lines = []
    hits = 0
    for note in notes:
        time = grid.time(note.step)
        if note.spinner:
            lines.append(f"256,192,{time},12,0,{grid.time(note.step + note.gap)},0:0:0:0:")
        elif note.gap >= 4 and rng.random() < 0.08:
            length = 100 * _SLIDER_MULTIPLIER * (note.gap // 2) / _STEPS_A_BEAT
            lines.append(f"256,192,{time},2,0,L|{256 + round(length)}:192,1,{length:.6f}")
        else:
            sound = rng.choice((0, 8)) + (4 if note.bar and rng.random() < 0.5 else 0)
            lines.append(f"256,192,{time},1,{sound},0:0:0:0:")
            hits += 1
    return _Written(lines, hits)


def _write_catch(rng: Random, notes: Sequence[_Note], grid: _Grid, level: _Level, keys: int) -> _Written:
    walk = _Walk(rng)
    lines = []
    fruits = tiny_droplets = 0
    for note in notes:
        time = grid.time(note.step)
        combo = 4 if note.bar else 0
        if note.spinner:
            lines.append(f"256,192,{time},12,0,{grid.time(note.step + note.gap)},0:0:0:0:")
            continue
        x, y = walk.step(0.6 * level.spacing * note.gap / _STEPS_A_BEAT)
        if note.gap >= 2 and rng.random() < 0.3:
            held_steps, slides = _slides(rng, note.gap)
            length = 100 * _SLIDER_MULTIPLIER * held_steps / _STEPS_A_BEAT
            lines.append(_slider(rng, walk, f"{x},{y},{time},{2 + combo},0", length, slides))
            fruits += 1 + slides
            tiny_droplets += _tiny_droplets(time, held_steps * grid.step_ms, slides)
        else:
            lines.append(f"{x},{y},{time},{1 + combo},0,0:0:0:0:")
            fruits += 1
    return _Written(lines, fruits + tiny_droplets, tiny_droplets)


def _tiny_droplets(time: int, slide_ms: float, slides: int) -> int:
    """Return the number of tiny droplets in a juice stream without droplets."""
    # The game halves the time between two events of the slider until it is at most 100 ms. The last slide has one more
    # event: 36 ms before its end, or at its middle if that is later.
    start = float(time)
    events = [start + slide_ms * n for n in range(slides)]
    end = start + slide_ms * slides
    events.append(max(start + slide_ms * (slides - 0.5), end - 36))
    events.append(end)
    droplets = 0
    for before, after in itertools.pairwise(events):
        between = int(after) - int(before)
        if between > 100:
            droplets += 2 ** math.ceil(math.log2(between / 100)) - 1
    return droplets


def _write_mania(rng: Random, notes: Sequence[_Note], grid: _Grid, level: _Level, keys: int) -> _Written:
    lines = []
    free_at = [0] * keys
    last = -1
    for note in notes:
        notes_at_once = 2 if rng.random() < level.chords else 1
        # A column is busy until its hold ends. The last column is avoided, because repeated notes are hard to play.
        free = [column for column in range(keys) if free_at[column] <= note.step]
        rested = [column for column in free if column != last] or free
        for column in sorted(rng.sample(rested, min(notes_at_once, len(rested)))):
            x = (2 * column + 1) * _WIDTH // (2 * keys)
            time = grid.time(note.step)
            if note.spinner or (note.gap >= 4 and rng.random() < 0.3):
                held_steps = note.gap if note.spinner else note.gap // 2
                lines.append(f"{x},192,{time},128,0,{grid.time(note.step + held_steps)}:0:0:0:0:")
                free_at[column] = note.step + held_steps + 1
            else:
                lines.append(f"{x},192,{time},1,0,0:0:0:0:")
                free_at[column] = note.step + 1
            last = column
    return _Written(lines, len(lines))


_WRITERS: Final = (_write_osu, _write_taiko, _write_catch, _write_mania)


def maps_of(seed: int, count: int) -> Iterator[ComposedMap]:
    """Yield the first `count` maps of a seed."""
    return (compose_map(seed, index) for index in range(count))

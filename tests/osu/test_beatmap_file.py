import hashlib
import math
from collections.abc import Callable

import pytest
import rosu_pp_py
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.osu.real_files import real_files
from tests.patience import core_seconds

from kiai.osu.beatmap_file import (
    BREAKS_MAX,
    CONTROL_POINTS_MAX,
    FILE_MAX_BYTES,
    LINE_MAX_CHARS,
    LINES_MAX,
    OBJECTS_MAX,
    TIMING_POINTS_MAX,
    BadBeatmap,
    BeatmapFile,
    file_name,
    parse_beatmap,
    underscored_file_name,
)

COMPLETE_MAP = """osu file format v14

[General]
AudioFilename: song.mp3
PreviewTime: 4200
Mode: 0

[Metadata]
Title:A: Title
TitleUnicode:題
Artist:Artist
Creator:mapper
Version:Insane
Source:a game
Tags:one two
BeatmapID:12
BeatmapSetID:3

[Difficulty]
HPDrainRate:6
CircleSize:4.2
OverallDifficulty:8.5
ApproachRate:9.3
SliderMultiplier:1.6
SliderTickRate:1

[Events]
//Background and Video events
0,0,"bg, dark.jpg",0,0
Video,0,"video.mp4"
2,4000,6000
Sprite,Foreground,Centre,"sb/a.png",320,240
 F,0,0,1000,0,1

[TimingPoints]
0,500,4,2,1,60,1,0
8000,-50,4,2,1,60,0,0
10000,400,4,2,1,60,1,0

[HitObjects]
256,192,1000,1,0,0:0:0:0:
256,192,2000,2,0,L|356:192,2,160,2|0|0,0:0|0:0|0:0,0:0:0:0:
256,192,8500,6,0,B|300:200|300:200|356:192,1,160
256,192,9000,12,0,11000,0:0:0:0:
"""


def map_with(objects: str = "256,192,1000,1,0\n", *, mode: int = 0, head: str = "", timing: str = "0,500\n") -> bytes:
    general = f"osu file format v14\n[General]\nMode:{mode}\n"
    return f"{general}{head}\n[TimingPoints]\n{timing}\n[HitObjects]\n{objects}".encode()


def test_every_field_is_read() -> None:
    data = COMPLETE_MAP.encode()

    beatmap = parse_beatmap(data)

    assert beatmap == BeatmapFile(
        format_version=14,
        md5=hashlib.md5(data).hexdigest(),
        mode=0,
        title="A: Title",
        artist="Artist",
        title_unicode="題",
        artist_unicode="",
        creator="mapper",
        version="Insane",
        source="a game",
        tags="one two",
        beatmap_id=12,
        beatmap_set_id=3,
        preview_time_ms=4200,
        audio_filename="song.mp3",
        background="bg, dark.jpg",
        has_video=True,
        has_storyboard=True,
        cs=4.2,
        od=8.5,
        ar=9.3,
        hp=6.0,
        bpm=120.0,
        bpm_least=120.0,
        bpm_most=150.0,
        total_length_s=11,
        hit_length_s=8,
        circles=1,
        sliders=2,
        spinners=1,
        holds=0,
        objects=4,
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: "\ufeff" + text,
        lambda text: "\n \n" + text,
        lambda text: text.replace("Mode: 0", "Mode : 0").replace("HPDrainRate:6", "HPDrainRate : 6"),
        lambda text: text.replace("[Difficulty]", "// a note\n[Difficulty]"),
        lambda text: text.replace("\n256,192", "\n  256,192"),
    ],
)
def test_line_ends_marks_and_spaces_change_only_the_md5(change: Callable[[str], str]) -> None:
    plain = parse_beatmap(COMPLETE_MAP.encode())
    data = change(COMPLETE_MAP).encode()

    changed = parse_beatmap(data)

    assert changed.md5 == hashlib.md5(data).hexdigest()
    assert [getattr(changed, field) for field in FIELDS] == [getattr(plain, field) for field in FIELDS]


FIELDS = [field for field in BeatmapFile.__struct_fields__ if field != "md5"]


def test_missing_values_have_the_defaults_of_the_game() -> None:
    beatmap = parse_beatmap(b"osu file format v5\n[HitObjects]\n256,192,1000,1,0\n")

    assert (beatmap.mode, beatmap.preview_time_ms, beatmap.background, beatmap.title) == (0, -1, None, "")
    assert (beatmap.cs, beatmap.od, beatmap.ar, beatmap.hp) == (5.0, 5.0, 5.0, 5.0)
    assert (beatmap.bpm, beatmap.beatmap_id, beatmap.beatmap_set_id) == (60.0, 0, 0)


def test_missing_approach_rate_equals_overall_difficulty() -> None:
    assert parse_beatmap(map_with(head="[Difficulty]\nOverallDifficulty:7.5\n")).ar == 7.5
    assert parse_beatmap(map_with(head="[Difficulty]\nOverallDifficulty:7.5\nApproachRate:3\n")).ar == 3.0


@pytest.mark.parametrize(("mode", "written", "read"), [(0, "18", 10.0), (0, "-1", 0.0), (3, "18", 18.0), (3, "0", 1.0)])
def test_circle_size_is_clamped_by_mode(mode: int, written: str, read: float) -> None:
    assert parse_beatmap(map_with(mode=mode, head=f"[Difficulty]\nCircleSize:{written}\n")).cs == read


@pytest.mark.parametrize(
    ("timing", "bpm"),
    [
        ("0,500\n9000,250\n", 120.0),
        ("0,500\n900,250\n", 240.0),
        ("5000,333.333333\n6000,250\n", 180.0),
        ("0,500,4,1,1,60,1,0\n1,-10,4,1,1,60,0,0\n", 120.0),
        ("0,500\n2000,250\n3000,500\n4000,250\n5500,500", 120.0),
        ("0,500\n99999,1\n", 120.0),
        ("0,1\n", 10000.0),
        ("", 60.0),
    ],
)
def test_bpm_is_that_of_the_tempo_with_the_longest_duration(timing: str, bpm: float) -> None:
    assert parse_beatmap(map_with("256,192,10000,1,0\n", timing=timing)).bpm == pytest.approx(bpm, abs=2e-3)


@pytest.mark.parametrize(
    ("timing", "start", "end_s"),
    [
        ("0,1000\n", 0, 10),
        ("0,500\n", 0, 5),
        ("0,1000\n0,-50,4,1,1,60,0,0\n", 0, 5),
        ("0,-50,4,1,1,60,0,0\n0,1000\n", 0, 5),
        ("0,1000\n0,-1,4,1,1,60,0,0\n", 0, 1),
        ("0,1000\n0,-50,4,1,1,60,0,0\n10,1000\n", 10, 10),
        ("5000,1000\n", 0, 10),
        ("0,1000\n5000,100\n", 0, 10),
    ],
)
def test_duration_of_slider_follows_tempo_and_velocity(timing: str, start: int, end_s: int) -> None:
    slider = f"0,0,{start},2,0,L|500:0,2,500\n"

    beatmap = parse_beatmap(map_with(slider, timing=timing, head="[Difficulty]\nSliderMultiplier:1\n"))

    assert beatmap.total_length_s == end_s


def test_slider_without_length_is_as_long_as_its_path() -> None:
    beatmap = parse_beatmap(
        map_with("0,0,0,2,0,L|300:400,2\n", timing="0,1000", head="[Difficulty]\nSliderMultiplier:1\n")
    )

    assert beatmap.total_length_s == 10


def test_total_length_ends_with_spinner_or_hold() -> None:
    assert parse_beatmap(map_with("256,192,0,12,0,7000\n")).total_length_s == 7
    assert parse_beatmap(map_with("256,192,0,128,0,8000:0:0:0:0:\n", mode=3)).total_length_s == 8
    assert parse_beatmap(map_with("256,192,3000,128,0\n", mode=3)).total_length_s == 3
    assert parse_beatmap(map_with("256,192,3000,8,0,1000\n")).total_length_s == 3


def test_overlapping_and_outside_breaks_are_subtracted_once() -> None:
    events = "[Events]\n2,0,4000\n2,3000,5000\nBreak,4500,5000\n2,9000,99000\n2,7000,6000\n"

    beatmap = parse_beatmap(map_with("1,1,1000,1,0\n1,1,11000,1,0\n", head=events))

    assert (beatmap.total_length_s, beatmap.hit_length_s) == (11, 4)


def lines(line: str, count: int) -> str:
    return f"{line}\n" * count


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"osu file format v14\n" + b"/" * FILE_MAX_BYTES, "larger than 10 MiB"),
        (b"osu file format v14\n\0", "no section"),
        (b"hello", "no section"),
        (bytes(range(256)), "no section"),
        (b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ", "no section"),
        (b"osu file format v14\n[HitObjects]\n//" + b"x" * LINE_MAX_CHARS, "line is longer"),
        (b"osu file format v14" + b"\n" * LINES_MAX, "lines"),
        (b"osu file format v14\n[General]\nMode: 0", "no objects"),
        (map_with(""), "no objects"),
        (map_with("1,1,1,1\n1,1,x,1,0\n"), "no objects"),
        (map_with(lines("1,1,1,1,0", OBJECTS_MAX + 1)), "more than 50000 objects"),
        (map_with("1,1,1,2,0,B" + "|1:1" * (CONTROL_POINTS_MAX + 1) + ",1,100"), "2000 control points"),
        (map_with(timing=lines("0,1", TIMING_POINTS_MAX + 1)), "timing points"),
        (map_with(head="[Events]\n" + lines("2,0,1", BREAKS_MAX + 1)), "breaks"),
    ],
)
def test_unusable_file_is_rejected_with_reason(data: bytes, reason: str) -> None:
    with pytest.raises(BadBeatmap, match=reason):
        parse_beatmap(data)


def test_file_at_the_limits_is_read() -> None:
    slider = "1,1,1,2,0,B" + "|1:1" * CONTROL_POINTS_MAX + ",1,100\n"

    beatmap = parse_beatmap(map_with(slider + lines("1,1,1,1,0", OBJECTS_MAX - 1)))

    assert (beatmap.objects, beatmap.sliders) == (OBJECTS_MAX, 1)


HOSTILE_NUMBERS = st.sampled_from(
    ["0", "-1", "1", "2", "8", "12", "128", "nan", "inf", "1e308", "", "x", "-0", "9" * 400]
)
HOSTILE_LINES = st.one_of(
    st.lists(HOSTILE_NUMBERS, max_size=10).map(",".join),
    st.sampled_from(
        [
            "[Events]",
            "[TimingPoints]",
            "[HitObjects]",
            "[General]",
            "[Difficulty]",
            '0,0,"',
            "1,1,1,2,0,B|1:1|P|2:2,1,9",
        ]
    ),
    st.tuples(st.sampled_from(["Mode", "CircleSize", "PreviewTime", "BeatmapID", "Title"]), HOSTILE_NUMBERS).map(
        ":".join
    ),
    st.text(max_size=40),
)


def parse_or_none(data: bytes) -> BeatmapFile | None:
    try:
        return parse_beatmap(data)
    except BadBeatmap:
        return None


@settings(deadline=None, max_examples=300)
@given(st.lists(HOSTILE_LINES, max_size=30))
def test_hostile_text_is_read_or_raises_bad_beatmap(hostile: list[str]) -> None:
    text = "\n".join(["osu file format v14", *hostile, "[HitObjects]", "256,192,1000,1,0"])

    beatmap = parse_or_none(text.encode())

    if beatmap is not None:
        assert beatmap.objects >= 1
        assert 0 <= beatmap.hit_length_s <= 2**32
        assert all(map(math.isfinite, (beatmap.cs, beatmap.od, beatmap.ar, beatmap.hp, beatmap.bpm)))


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(COMPLETE_MAP)), st.integers(0, 40), st.binary(max_size=40))
def test_damaged_bytes_are_read_or_raise_bad_beatmap(start: int, cut: int, put: bytes) -> None:
    data = COMPLETE_MAP.encode()
    damaged = data[:start] + put + data[start + cut :]

    beatmap = parse_or_none(damaged)

    assert beatmap is None or beatmap.objects >= 1


@pytest.mark.parametrize(
    "data",
    [
        b"osu file format v14\n[Events]\n" + b"2,1\n" * (LINES_MAX - 10),
        b"osu file format v14\n" + (b"[General]\n" * (LINES_MAX - 10)),
        map_with(lines("1,1,1,2,0,B" + "|1:1" * 45 + ",1,1", OBJECTS_MAX)),
        map_with("1,1,1,2,0,B" + "|" * (LINE_MAX_CHARS - 20) + ",1,1"),
        map_with(lines("1,1,1,2,0,B" + "|1:1" * 45 + ",1", OBJECTS_MAX // 2)),
        map_with(lines("1,1,1,2,0,B" + "|P|1.5:1" * 20 + ",1,0", OBJECTS_MAX // 2)),
        map_with(lines("1,1,1,2,0,B" + "|1:1" * 45 + "|x,1,1", OBJECTS_MAX // 2)),
        map_with(lines("1,1,x,1,0", LINES_MAX - 10)),
        map_with(timing="".join(f"{TIMING_POINTS_MAX - n},500,4,1,1,{n},1,0\n" for n in range(TIMING_POINTS_MAX))),
        map_with(head="[Difficulty]\n" + lines("ApproachRate:x", LINES_MAX - 10)),
        map_with("," * LINE_MAX_CHARS, timing=lines("0,-1", TIMING_POINTS_MAX)),
        map_with("9" * (LINE_MAX_CHARS - 5) + ",1,1,1"),
    ],
)
def test_parsing_time_of_hostile_files_is_bounded(data: bytes) -> None:
    assert core_seconds(lambda: parse_or_none(data), enough=2.0) < 2.0


@pytest.mark.parametrize(
    ("artist", "title", "creator", "version", "name"),
    [
        ("a", "t", "c", "v", "a - t (c) [v].osu"),
        ("AC/DC", 'What? "no"', "<c>", "a|b:c*d\\e", "ACDC - What no (c) [abcde].osu"),
        ("題", "日本", "c", "v", "題 - 日本 (c) [v].osu"),
    ],
)
def test_file_name_has_no_forbidden_characters(artist: str, title: str, creator: str, version: str, name: str) -> None:
    assert file_name(artist, title, creator, version) == name


def test_underscored_file_name_replaces_forbidden_characters() -> None:
    assert underscored_file_name("AC/DC", "T_N_T?", "c", "a:b") == "AC_DC - T_N_T_ (c) [a_b].osu"


def test_real_maps_are_read_like_rosu_pp() -> None:
    for path in real_files("beatmaps", ".osu"):
        beatmap = parse_beatmap(path.read_bytes())
        other = rosu_pp_py.Beatmap(path=str(path))

        assert beatmap.title
        assert beatmap.circles == other.n_circles
        assert beatmap.sliders == other.n_sliders
        assert beatmap.spinners == other.n_spinners
        assert beatmap.holds == other.n_holds
        assert beatmap.bpm == pytest.approx(other.bpm, abs=1e-3)
        assert (beatmap.cs, beatmap.od, beatmap.ar, beatmap.hp) == pytest.approx(
            (other.cs, other.od, other.ar, other.hp)
        )
        assert 0 < beatmap.hit_length_s <= beatmap.total_length_s

"""Which lines of a .osu file the parser reads and which it skips, compared with rosu-pp and the game."""

import math
from collections.abc import Sequence

import pytest
import rosu_pp_py
from hypothesis import given, settings
from hypothesis import strategies as st

from kiai.osu.beatmap_file import TEXT_MAX, BadBeatmap, BeatmapFile, parse_beatmap

BASE = """osu file format v14

[General]
AudioFilename: song.mp3
PreviewTime: 4200
Mode: 0

[Metadata]
Title:A title
Artist:An artist
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
0,0,"bg.jpg",0,0
Video,0,"video.mp4"
2,4000,6000

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

FIELDS_WITHOUT_MD5 = [field for field in BeatmapFile.__struct_fields__ if field != "md5"]


def with_line(section: str, line: str, *, first: bool = False, text: str = BASE) -> bytes:
    """Return the text with one more line at the start or end of a section."""
    head, _, tail = text.partition(f"[{section}]\n")
    inside, gap, after = tail.partition("\n[")
    lines = [line + "\n", inside] if first else [inside.rstrip("\n") + "\n", line + "\n"]
    return f"{head}[{section}]\n{''.join(lines)}{gap}{after}".encode()


def values(beatmap: BeatmapFile) -> list[object]:
    return [getattr(beatmap, field) for field in FIELDS_WITHOUT_MD5]


def read(section: str, *more: str) -> BeatmapFile:
    text = BASE
    for line in more:
        text = with_line(section, line, text=text).decode()
    return parse_beatmap(text.encode())


# --- lines that are skipped

NO_NUMBERS = ["", "x", "1,5", "1 2", "0x5", "5_0", "٣", "1e", ".", "--1", "nan", "inf", "-Infinity", "3e9", "9" * 5000]
NO_WHOLE_NUMBERS = [*NO_NUMBERS, "1.5", "1.0", "1e1", "2147483648", "-2147483648", "99999999999"]

SKIPPED = [
    *[("General", f"PreviewTime: {value}") for value in NO_WHOLE_NUMBERS],
    *[("General", f"Mode: {value}") for value in [*NO_WHOLE_NUMBERS, "4", "7", "-1", "taiko"]],
    *[("General", line) for line in ["nonsense", ":", "mode: 1", "MODE:1", "// Mode: 1", "previewtime: 1", "Mode=1"]],
    *[("Metadata", f"BeatmapID:{value}") for value in NO_WHOLE_NUMBERS],
    *[("Metadata", f"BeatmapSetID:{value}") for value in [*NO_WHOLE_NUMBERS, "none"]],
    *[("Metadata", line) for line in ["//Title:Other", "title:Other", "TITLE:Other", "Name:Other", ""]],
    *[
        ("Difficulty", f"{key}:{value}")
        for key in ("HPDrainRate", "CircleSize", "OverallDifficulty", "ApproachRate", "SliderMultiplier")
        for value in NO_NUMBERS
    ],
    *[("Difficulty", line) for line in ["approachrate:1", "ApproachRate=1", "ApproachRate", "Approach Rate:1"]],
    *[
        ("Events", line)
        for line in [
            "2,5000",
            "2",
            "2,x,7000",
            "2,5000,x",
            "2,,",
            "Break,nan,9000",
            "Break,0,inf",
            "2,0,3000000000",
            "0",
            "0,0",
            '0,0,""',
            "Background",
            "1",
            "Video,0",
            '1,0,""',
            "7,0,1",
            "-1,0,1",
            "break,0,9000",
            'background,0,"other.jpg"',
            "3,100,163,162,255",
            "5,1000,0,sound.wav,100",
            "4",
            "noise",
            "//0,0,other.jpg",
        ]
        if not line.startswith("4")
    ],
    *[
        ("TimingPoints", line)
        for line in [
            "3000,x,4,2,0,60,1,0",
            "x,250,4,2,0,60,1,0",
            "3000",
            "3000,",
            ",250",
            "3000;250",
            "nan,250",
            "inf,250",
            "3000000000,250",
            "3000,inf",
            "3000,3e9",
            "3000,NaN,4,2,0,60,1,0",
            "3000,nan",
            "3000,2_50,4,2,0,60,1,0",
            "3000,250,x,2,0,60,1,0",
            "3000,250,,2,0,60,1,0",
            "3000,250,-4,2,0,60,1,0",
            "3000,250,4,x,0,60,1,0",
            "3000,250,4,2,1.5,60,1,0",
            "3000,250,4,2,0,loud,1,0",
            "3000,250,4,2,0,60,,0",
            "3000,250,4,2,0,60,1,x",
            "//3000,250",
        ]
    ],
    *[
        ("HitObjects", line)
        for line in [
            "abc,1,12000,1,0",
            "1,abc,12000,1,0",
            "1,1,abc,1,0",
            "1,1,12000,abc,0",
            "1,1,12000,1,abc",
            ",1,12000,1,0",
            "1,,12000,1,0",
            "1,1,,1,0",
            "1,1,12000,,0",
            "1,1,12000,1,",
            "64",
            "64,64",
            "64,64,12000",
            "64,64,12000,1",
            "64,64,12000,0,0",
            "64,64,12000,4,0",
            "64,64,12000,64,0",
            "64,64,12000,256,0",
            "64,64,12000,1.0,0",
            "64,64,12000,1,0.5",
            "200000,0,12000,1,0",
            "0,131073,12000,1,0",
            "-131073,0,12000,1,0",
            "nan,0,12000,1,0",
            "0,inf,12000,1,0",
            "0,0,nan,1,0",
            "0,0,2147483648,1,0",
            "0,0,-3000000000,1,0",
            "0,0,12_000,1,0",
            "٣,0,12000,1,0",
            "0,0,12000,1,0,x",
            "0,0,12000,1,0,0:x",
            "0,0,12000,1,0,0:0:0:loud:",
            "0;0;12000;1;0",
            "//0,0,12000,1,0",
            "0,0,12000//,1,0",
            "0,0,12000,2,0",
            "0,0,12000,2,0,L|1:1",
            "0,0,12000,2,0,B|1:2|3:four,1,300",
            "0,0,12000,2,0,B|1:2|3,1,300",
            "0,0,12000,2,0,B|1:2|,1,300",
            "0,0,12000,2,0,B||1:2,1,300",
            "0,0,12000,2,0,|,1,300",
            "0,0,12000,2,0,B|1:nan,1,300",
            "0,0,12000,2,0,B|1:-inf,1,300",
            "0,0,12000,2,0,B|131073:1,1,300",
            "0,0,12000,2,0,B|1:1_0,1,300",
            "0,0,12000,2,0,B|1:2|P,1,300",
            "0,0,12000,2,0,B|1:2|P|L|3:4,1,300",
            "0,0,12000,2,0,B|1:2,x,300",
            "0,0,12000,2,0,B|1:2,1.5,300",
            "0,0,12000,2,0,B|1:2,9001,300",
            "0,0,12000,2,0,B|1:2,1,x",
            "0,0,12000,2,0,B|1:2,1,",
            "0,0,12000,2,0,B|1:2,1,nan",
            "0,0,12000,2,0,B|1:2,1,131073",
            "0,0,12000,2,0,B|1:2,1,300,0|0,0:0|0:0,x:0",
            "0,0,12000,8,0",
            "0,0,12000,8,0,",
            "0,0,12000,8,0,x",
            "0,0,12000,8,0,13000:0",
            "0,0,12000,12,0,nan",
            "0,0,12000,12,0,13000,x",
            "0,0,12000,128,0,x:0:0:0:0:",
            "0,0,12000,128,0,13000:x",
        ]
    ],
]


@pytest.mark.parametrize("first", [False, True], ids=["after", "before"])
@pytest.mark.parametrize(("section", "line"), SKIPPED, ids=lambda value: str(value)[:40])
def test_invalid_line_is_skipped(section: str, line: str, first: bool) -> None:
    plain, more = parse_beatmap(BASE.encode()), parse_beatmap(with_line(section, line, first=first))

    assert values(more) == values(plain)


# --- values at both ends of each range


@pytest.mark.parametrize(
    ("key", "field", "written", "found"),
    [
        *[
            (key, field, *pair)
            for key, field in [("HPDrainRate", "hp"), ("CircleSize", "cs"), ("OverallDifficulty", "od")]
            for pair in [("0", 0.0), ("-1", 0.0), ("10", 10.0), ("10.1", 10.0), ("2147483648", 10.0), ("7.25", 7.25)]
        ],
        *[
            ("ApproachRate", "ar", *pair)
            for pair in [
                ("0", 0.0),
                ("-5", 0.0),
                ("10", 10.0),
                ("11", 10.0),
                ("+7", 7.0),
                (" 7 ", 7.0),
                ("7.", 7.0),
                (".5", 0.5),
                ("7e0", 7.0),
                ("0.7E1", 7.0),
                ("-0", 0.0),
                ("7 // faster", 7.0),
                ("7//", 7.0),
            ]
        ],
        ("ApproachRate ", "ar", "7", 7.0),
        ("\tApproachRate\t", "ar", "\t7", 7.0),
    ],
)
def test_difficulty_setting_is_clamped_to_its_range(key: str, field: str, written: str, found: float) -> None:
    data = with_line("Difficulty", f"{key}:{written}")

    assert getattr(parse_beatmap(data), field) == found
    assert getattr(rosu_pp_py.Beatmap(bytes=data), field) == found


@pytest.mark.parametrize(
    ("lines", "ar"),
    [
        ([], 6.0),
        (["ApproachRate:"], 6.0),
        (["ApproachRate:fast"], 6.0),
        (["ApproachRate:8"], 8.0),
        (["ApproachRate:8", "ApproachRate:fast"], 8.0),
        (["ApproachRate:8", "OverallDifficulty:7"], 8.0),
        (["OverallDifficulty:7"], 7.0),
        (["OverallDifficulty:hard"], 6.0),
        (["OverallDifficulty:12"], 10.0),
    ],
)
def test_missing_approach_rate_equals_last_overall_difficulty(lines: Sequence[str], ar: float) -> None:
    text = BASE.replace("OverallDifficulty:8.5", "OverallDifficulty:6").replace("ApproachRate:9.3\n", "")
    for line in lines:
        text = with_line("Difficulty", line, text=text).decode()

    assert parse_beatmap(text.encode()).ar == ar
    assert rosu_pp_py.Beatmap(bytes=text.encode()).ar == ar


@pytest.mark.parametrize(("written", "mode"), [("0", 0), ("1", 1), (" 2 ", 2), ("3", 3), ("01", 1), ("3 // mania", 3)])
def test_last_valid_mode_counts(written: str, mode: int) -> None:
    assert read("General", f"Mode:{written}", "Mode:7", "Mode:").mode == mode


@pytest.mark.parametrize(
    ("written", "found"),
    [("0", 0), ("-1", -1), ("+5", 5), (" 5 ", 5), ("2147483647", 2147483647), ("-2147483647", -2147483647)],
)
def test_whole_numbers_are_read_over_their_full_range(written: str, found: int) -> None:
    beatmap = parse_beatmap(
        BASE.replace("PreviewTime: 4200", f"PreviewTime:{written}")
        .replace("BeatmapID:12", f"BeatmapID:{written}")
        .replace("BeatmapSetID:3", f"BeatmapSetID:{written}")
        .encode()
    )

    assert (beatmap.preview_time_ms, beatmap.beatmap_id, beatmap.beatmap_set_id) == (found, found, found)


@pytest.mark.parametrize("written", ["1.5", "1.0", "1e0", "1_0", "١", "one", ""])
def test_id_that_is_not_a_whole_number_is_0(written: str) -> None:
    text = BASE.replace("BeatmapID:12", f"BeatmapID:{written}").replace("BeatmapSetID:3", f"BeatmapSetID:{written}")

    beatmap = parse_beatmap(text.encode())

    assert (beatmap.beatmap_id, beatmap.beatmap_set_id) == (0, 0)


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("Title:Other // not a comment", "Other // not a comment"),
        ("Title: https://example.org: a : b", "https://example.org: a : b"),
        ("  Title  :  Other  ", "Other"),
        ("Title:", ""),
        ("Title", ""),
        ("Title:a\0b", "a\N{REPLACEMENT CHARACTER}b"),
        ("Title:" + "x" * (TEXT_MAX + 1), "x" * TEXT_MAX),
    ],
)
def test_title_is_read_up_to_its_limit(line: str, title: str) -> None:
    assert read("Metadata", line).title == title


# --- headers, sections, encodings


@pytest.mark.parametrize(
    ("header", "version"),
    [
        ("osu file format v14", 14),
        ("osu file format v5", 5),
        ("osu file format v128", 128),
        ("osu file format v99", 99),
        ("osu file format v", 14),
        ("osu file format vX", 14),
        ("osu file format v14 // edited", 14),
        ("osu file format 9", 14),
        ("OSU FILE FORMAT v9", 14),
        ("\ufeffosu file format v9", 9),
        ("\n\n  \nosu file format v9", 9),
        ("  osu file format v9  ", 9),
        ("", 14),
        ("a line of something else", 14),
    ],
)
def test_missing_or_invalid_header_means_latest_version(header: str, version: int) -> None:
    data = BASE.replace("osu file format v14", header).encode()

    beatmap = parse_beatmap(data)

    assert beatmap.format_version == version
    assert (beatmap.objects, beatmap.ar, beatmap.bpm) == (4, 9.3, 120.0)
    assert rosu_pp_py.Beatmap(bytes=data).n_objects == 4


@pytest.mark.parametrize("version", [3, 4])
def test_times_before_version_5_are_24_ms_early(version: int) -> None:
    text = BASE.replace("11000,0:0", "10980,0:0")

    early = parse_beatmap(text.replace("v14", f"v{version}").encode())

    assert (parse_beatmap(text.encode()).total_length_s, early.total_length_s) == (10, 11)


@pytest.mark.parametrize(
    "data",
    [
        BASE.encode("utf-16"),
        b"\xfe\xff" + BASE.encode("utf-16-be"),
        BASE.encode("utf-8-sig"),
        BASE.encode("utf-16") + b"x",
        BASE.replace("\n", "\r\n").encode("utf-16"),
    ],
    ids=["utf-16-le", "utf-16-be", "utf-8 with a mark", "half a character", "carriage returns"],
)
def test_byte_order_mark_selects_the_encoding(data: bytes) -> None:
    assert values(parse_beatmap(data)) == values(parse_beatmap(BASE.encode()))
    assert rosu_pp_py.Beatmap(bytes=data).n_objects == 4


@pytest.mark.parametrize("tags", [b"caf\xe9", b"\x83e\x83X\x83g", b"\xff\xfe", b"a\0b", b"\xed\xa0\x80", b"\xf4\x90"])
def test_invalid_utf_8_becomes_replacement_characters(tags: bytes) -> None:
    data = BASE.encode().replace(b"one two", tags)

    beatmap = parse_beatmap(data)

    assert "\N{REPLACEMENT CHARACTER}" in beatmap.tags
    assert "\0" not in beatmap.tags
    assert (beatmap.objects, beatmap.title) == (4, "A title")
    assert rosu_pp_py.Beatmap(bytes=data).n_objects == 4


@pytest.mark.parametrize(
    "change",
    [
        ("[Difficulty]\n", "[Difficulty]   \n"),
        ("[Difficulty]\n", "[Foo]\nApproachRate:1\n[Colours]\nCombo1:1,2,3\n[Editor]\nx:y\n\n[Difficulty]\n"),
        ("[Difficulty]\n", "[Difficulty]\n[General]\n[Difficulty]\n"),
        ("[Difficulty]\nHPDrainRate:6\n", "[Difficulty]\nHPDrainRate:6\n[Editor]\n[Difficulty]\n"),
        ("osu file format v14\n", "osu file format v14\nApproachRate:1\n1,1,1,1,0\n"),
    ],
)
def test_repeated_sections_are_joined_and_unknown_ones_ignored(change: tuple[str, str]) -> None:
    assert values(parse_beatmap(BASE.replace(*change).encode())) == values(parse_beatmap(BASE.encode()))


def test_order_of_sections_does_not_matter() -> None:
    header, *sections = BASE.split("\n[")

    backwards = "\n[".join([header, *(section + "\n" for section in reversed(sections))])

    assert values(parse_beatmap(backwards.encode())) == values(parse_beatmap(BASE.encode()))


# --- tempo


def tempo(*lines: str, end: int = 10_000) -> float:
    timing = "".join(line + "\n" for line in lines)
    return parse_beatmap(f"[TimingPoints]\n{timing}\n[HitObjects]\n1,1,0,1,0\n1,1,{end},1,0\n".encode()).bpm


@pytest.mark.parametrize(
    ("lines", "bpm"),
    [
        (["0,250,4,2,0,60,1,0", "0,500,4,2,0,60,1,0"], 240.0),
        (["0,500,4,2,0,60,1,0", "0,250,4,2,0,60,1,0"], 120.0),
        (["0,500", "0,-50,4,2,0,60,0,0", "0,250"], 120.0),
        (["500,250", "0,400", "500,300"], 200.0),
        (["0,171.428571428571,4,2,0,60,1,0"], 350.0),
        (["0,171.428571428571", "9000,300"], 350.0),
        (["0,333.333333333333", "5000,333.33333"], 180.0),
        (["0,500", "6000,250", "9000,400", "60000,300"], 150.0),
        (["0,500", "9000,250", "99999,400"], 240.0),
        (["0,500", "10000,250", "30000,400"], 240.0),
        (["0,500", "10001,250", "90000,400"], 120.0),
        (["60000,300"], 200.0),
        (["5000,300", "9000,500"], 200.0),
        (["-9000,300", "-1,500"], 120.0),
        (["0,-100,4,2,0,60,1,0"], 10_000.0),
        (["0,0"], 10_000.0),
        (["0,6"], 10_000.0),
        (["0,5.9"], 10_000.0),
        (["0,60000"], 1.0),
        (["0,60001"], 1.0),
        (["0,2147483647"], 1.0),
        (["0,-100,4,2,0,60,0,0"], 60.0),
        (["0,500,4,2,0,60,0,0"], 60.0),
        (["0,500,4,2,0,60, 1,0"], 60.0),
        (["0,500,4,2,0,60,10,0"], 120.0),
        (["0,500,0abc,2,0,60,1,0"], 120.0),
        (["0,500,4,2,0,60,1,0,and,more"], 120.0),
        ([" 0 , 500 ,4,2,0,60,1,0"], 120.0),
        (["0,500,4"], 120.0),
        (["0,5e2"], 120.0),
        ([], 60.0),
    ],
)
def test_bpm_is_that_of_the_longest_tempo(lines: Sequence[str], bpm: float) -> None:
    assert tempo(*lines) == pytest.approx(bpm, abs=1e-9)


@given(
    st.lists(st.tuples(st.integers(-3000, 20_000), st.floats(100, 1000), st.booleans()), min_size=1, max_size=12),
    st.integers(0, 15_000),
)
@settings(deadline=None, max_examples=200)
def test_bpm_is_one_of_the_tempos_in_the_file(points: list[tuple[int, float, bool]], end: int) -> None:
    lines = [f"{time},{beat},4,1,1,50,{int(sets)},0" for time, beat, sets in points]
    beats = {round(60_000 / beat, 3) for _, beat, sets in points if sets} or {60.0}

    assert tempo(*lines, end=end) in beats


# --- lengths


def length(*objects: str, timing: str = "0,500", mode: int = 0) -> int:
    lines = "\n".join(objects)
    return parse_beatmap(
        f"[General]\nMode:{mode}\n[TimingPoints]\n{timing}\n[HitObjects]\n{lines}".encode()
    ).total_length_s


@pytest.mark.parametrize(
    ("path", "pixels"),
    [
        ("L|500:0", 500),
        ("L|250:0|500:0", 500),
        ("L|500:0|0:0", 1000),
        ("L|500.9:0", 500),
        ("L|500:0:7", 500),
        ("L|250:0|L|500:0", 500),
        ("L|250:0|B|500:0", 500),
        ("B|500:0", 500),
        ("B|250:0|250:0|500:0", 500),
        ("P|250:0|500:0", 500),
        ("P|100:100|200:0", 100 * math.pi),
        ("P|100:-100|200:0", 100 * math.pi),
        ("P|0:200|200:0", 100 * math.sqrt(2) * 1.5 * math.pi),
        ("C|500:0", 500),
        ("B", 0),
        ("", 0),
        ("500:0", 0),
    ],
)
@pytest.mark.parametrize("stated", ["", ",0", ",-5"], ids=["none", "0", "negative"])
def test_slider_without_length_is_as_long_as_its_path(path: str, pixels: float, stated: str) -> None:
    assert length(f"0,0,0,2,0,{path},10{stated}", timing="0,1400") == int(10 * pixels / 100 + 1e-9)


def test_length_of_bezier_is_between_chord_and_polygon() -> None:
    assert length("0,0,0,2,0,B|0:400|400:400|400:0,10", timing="0,1400") in range(70, 90)  # it is 800 px long


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("0,0,0,2,0,B|1:1,1,500", 5),
        ("0,0,0,2,0,B|1:1,0,500", 5),
        ("0,0,0,2,0,B|1:1,-3,500", 5),
        ("0,0,0,2,0,B|1:1,3,500", 15),
        ("0,0,0,2,0,B|1:1:5|2:2,1,500", 5),
        ("0,0,0,2,0,B|1:1|Pfoo|2:2,1,500", 5),
        ("0,0,0,2,0,B|nan:1|2:2,1,500", 5),
        ("0,0,0,2,0,B| 1 : 1 ,1, 500 ", 5),
        ("0,0,0,2,0,L|1:1,1,500,x,y,0:0", 5),
        ("0,0,0,2,0,L|131072:-131072,1,500", 5),
        ("0,0,0,10,0,L|1:1,1,500", 5),
        ("0,0,0,-2,0,L|1:1,1,500", 5),
        ("0,0,5000,8,0,9000", 9),
        ("0,0,5000,8,0,1000", 5),
        ("0,0,5000,128,0", 5),
        ("0,0,5000,128,0,", 5),
        ("0,0,5000,128,0,9000", 9),
        ("0,0,5000,128,0,9000:0:0:0:0:", 9),
        ("0,0,5000,128,0,1000:0:0:0:0:", 5),
        ("0,0,5000,257,0", 5),
        ("0,0,5000,-1,0", 5),
        ("131072,-131072,5000,1,0", 5),
        ("0.9,-0.5,5000.9,1,0", 5),
        (" 0 , 0 , 5000 , 1 , 0 ", 5),
        ("0,0,5000,1,0,", 5),
        ("0,0,5000,1,0,0:0:0:0:hit_音.wav", 5),
        ("0,0,5000,1,0,0:0 // note", 5),
        ("0,0,5e3,+1,-1", 5),
        ("0,0,2147483647,1,0", 2147483),
        ("0,0,2147483647,2,0,L|1:1,9000,100000", 2147483),
        ("0,0,-5000,1,0", 0),
    ],
)
def test_object_is_read_in_every_form_of_the_game(line: str, seconds: int) -> None:
    assert length(line, timing="0,1400") == seconds


@pytest.mark.parametrize(
    ("timing", "seconds"),
    [
        ("0,1400\n0,-50,4,2,0,60,0,0", 5),
        ("0,1400\n0,-200,4,2,0,60,0,0", 20),
        ("0,1400\n0,NaN,4,2,0,60,0,0", 10),
        ("0,1400\n0,-50,4,2,0,60,0,0\n0,NaN,4,2,0,60,0,0", 10),
        ("0,1400\n0,5,4,2,0,60,0,0", 10),
        ("0,1400\n0,0,4,2,0,60,0,0", 10),
        ("0,1400\n0,-1,4,2,0,60,0,0", 1),
        ("0,1400\n0,-1e-300,4,2,0,60,0,0", 1),
        ("0,1400\n0,-100000,4,2,0,60,0,0", 100),
        ("0,-50,4,2,0,60,0,0\n0,1400", 5),
        ("0,-50,4,2,0,60,0,0\n1,1400", 5),
        ("0,1400\n-5,-50,4,2,0,60,0,0\n-4,1400", 10),
        ("0,1400\n0,-50,4,2,0,60,0,0\n0,-25,4,2,0,60,0,0", 2),
        ("0,1400\n1,-50,4,2,0,60,0,0", 10),
    ],
)
def test_velocity_applies_until_the_next_tempo(timing: str, seconds: int) -> None:
    assert length("0,0,0,2,0,L|1:1,1,1000", timing=timing) == seconds


# --- events


@pytest.mark.parametrize(
    ("lines", "background", "has_video", "has_storyboard"),
    [
        (['0,0,"a.jpg",0,0'], "a.jpg", False, False),
        (["0,0,a.jpg"], "a.jpg", False, False),
        (['Background,0,"a, b.jpg"'], "a, b.jpg", False, False),
        (['0,0,"a.jpg"', '0,0,"b.jpg"'], "b.jpg", False, False),
        (['0,0,"a.jpg"', "0,0", '0,0,""'], "a.jpg", False, False),
        (['0 ,0, "a.jpg" '], "a.jpg", False, False),
        (['1,0,"a.png"'], "a.png", False, False),
        (['Video,0,"a.PNG"'], "a.PNG", False, False),
        (['0,0,"a.jpg"', '1,0,"b.png"'], "b.png", False, False),
        *[([f'1,0,"a.{ending}"'], None, True, False) for ending in ("mp4", "mov", "avi", "flv", "mpg", "wmv", "M4V")],
        (['0,0,"a.jpg"', 'Video,0,"a.mp4"'], "a.jpg", True, False),
        (['4,0,1,"a.png",320,240'], "a.png", False, True),
        (['Sprite,Background,Centre,"a.png",320,240', 'Sprite,Pass,Centre,"b.png",0,0'], "a.png", False, True),
        (['Sprite,Background,Centre,"a.png",320,240', '0,0,"bg.jpg"'], "bg.jpg", False, True),
        (['0,0,"bg.jpg"', '4,0,1,"a.png",320,240'], "bg.jpg", False, True),
        (["Sprite,Background,Centre"], None, False, True),
        (['6,0,1,"a.png",320,240,2,100,0'], None, False, True),
        (["Animation,Fail,Centre,a.png"], None, False, True),
        ([" F,0,0,100,1", "_M,0,0,1,1,1", " L,0,5", 'Sample,0,0,"x.wav",9'], None, False, False),
        (['0,0,"a.jpg" // the background'], "a.jpg", False, False),
        ([], None, False, False),
    ],
)
def test_background_is_the_same_as_in_the_game(
    lines: Sequence[str], background: str | None, has_video: bool, has_storyboard: bool
) -> None:
    events = "\n".join(lines)

    beatmap = parse_beatmap(f"[Events]\n{events}\n[HitObjects]\n1,1,1,1,0\n".encode())

    assert (beatmap.background, beatmap.has_video, beatmap.has_storyboard) == (background, has_video, has_storyboard)


# --- comparison with rosu-pp

HOSTILE = """x nan inf 1e3 -1 0 1 2 8 12 128 +5 1.5 1_0 ٣ 131073 2147483648 99999999999 -50 9001
    L|1:1 B|1:2|3:x P|5:5|9:9 B|1:1|L|2:2| 0:0:0:0:"""
FIELDS = st.sampled_from(["", *HOSTILE.split()])
KEYS = ["HPDrainRate", "CircleSize", "OverallDifficulty", "ApproachRate", "SliderMultiplier", "Mode"]
LINES = BASE.split("\n")


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """Return the map with some lines changed, moved, truncated, duplicated or removed."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(1, len(lines) - 1))
        match draw(st.sampled_from(["field", "field", "field", "cut", "double", "drop", "swap", "comment", "noise"])):
            case "field" if "," in lines[at]:
                fields = lines[at].split(",")
                fields[draw(st.integers(0, len(fields) - 1))] = draw(FIELDS)
                lines[at] = ",".join(fields)
            case "field" if ":" in lines[at]:
                value = draw(FIELDS.filter(lambda text: ":" not in text))
                lines[at] = f"{draw(st.sampled_from(KEYS))}:{value}"
            case "cut" if not lines[at].startswith("["):
                lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
            case "double" if not lines[at].startswith("["):
                lines.insert(at, lines[at])
            case "drop" if not lines[at].startswith("["):
                del lines[at]
            case "swap":
                other = draw(st.integers(1, len(lines) - 1))
                if not (lines[at].startswith("[") or lines[other].startswith("[")):
                    lines[at], lines[other] = lines[other], lines[at]
            case "comment" if not lines[at].startswith("["):
                lines[at] += " // a note"
            case "noise":
                lines.insert(
                    at, draw(st.text(st.characters(codec="utf-8", exclude_characters="[]:,\r\n "), max_size=20))
                )
            case _:
                pass
    return "\n".join(lines)


@settings(deadline=None, max_examples=600)
@given(damaged())
def test_damaged_map_is_read_like_rosu_pp(text: str) -> None:
    theirs = rosu_pp_py.Beatmap(bytes=text.encode())
    try:
        ours = parse_beatmap(text.encode())
    except BadBeatmap:
        assert theirs.n_objects == 0
        return

    assert ours.mode == (
        rosu_pp_py.GameMode.Osu,
        rosu_pp_py.GameMode.Taiko,
        rosu_pp_py.GameMode.Catch,
        rosu_pp_py.GameMode.Mania,
    ).index(theirs.mode)
    assert (ours.circles, ours.sliders, ours.spinners, ours.holds) == (
        theirs.n_circles,
        theirs.n_sliders,
        theirs.n_spinners,
        theirs.n_holds,
    )
    assert (ours.od, ours.ar, ours.hp) == pytest.approx((theirs.od, theirs.ar, theirs.hp), abs=1e-5)
    if ours.mode != 3:
        assert ours.cs == pytest.approx(theirs.cs, abs=1e-5)


# The forms that the game and rosu-pp read differently. kiai follows the game, because players play what it reads.
DIFFERENT = [
    ("spaces around a whole number", with_line("HitObjects", "1,1,12000, 1 ,0"), 5, 4),
    ("the end of a hold without sample banks", with_line("HitObjects", "1,1,12000,128,0,13000"), 5, 4),
    ("lines in an unknown section", BASE.encode() + b"[Foo]\n1,1,12000,1,0\n", 4, 5),
    ("spaces before a section", BASE.replace("[HitObjects]", "  [HitObjects]").encode(), 4, 0),
    ("spaces within a section's name", BASE.replace("[HitObjects]", "[ HitObjects ]").encode(), 4, 0),
    ("a comment after a section", BASE.replace("[HitObjects]", "[HitObjects] // x").encode(), 4, 0),
    ("lines that end with a carriage return only", BASE.replace("\n", "\r").encode(), 4, 0),
]


@pytest.mark.parametrize(
    ("data", "ours", "theirs"), [case[1:] for case in DIFFERENT], ids=[case[0] for case in DIFFERENT]
)
def test_parser_follows_the_game_where_rosu_pp_differs(data: bytes, ours: int, theirs: int) -> None:
    assert (parse_beatmap(data).objects, rosu_pp_py.Beatmap(bytes=data).n_objects) == (ours, theirs)


def test_value_with_a_colon_is_not_a_number() -> None:
    assert read("Difficulty", "ApproachRate:7:1").ar == 9.3  # rosu-pp reads the 7


def test_mode_with_leading_zero_is_read() -> None:
    assert read("General", "Mode:01").mode == 1  # rosu-pp accepts only 0, 1, 2 and 3

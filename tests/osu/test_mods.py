import pytest
import rosu_pp_py
from hypothesis import given
from hypothesis import strategies as st

from kiai.osu.mods import (
    ALL,
    KEYS,
    SILVER,
    Mods,
    board_key,
    clock_rate,
    difficulty_mods,
    mods_text,
    normalise,
    parse_mods,
    refused_mods,
    unranked_mods,
)

SETS = st.integers(0, ALL)
VANILLA = st.integers(0, 3)


@pytest.mark.parametrize(
    ("text", "mods"),
    [
        ("", 0),
        ("NM", 0),
        ("HDDT", 72),
        ("+hd,dt", 72),
        ("HD DT", 72),
        ("NC", 576),
        ("PF", 16416),
        ("TS", 4),
        ("4K", 32768),
        ("1k", 67108864),
        ("v2mr", 1610612736),
        ("72", 72),
        ("512", 576),
        ("2147483647", ALL),
    ],
)
def test_text_is_parsed_to_mods(text: str, mods: int) -> None:
    assert parse_mods(text) == mods


@pytest.mark.parametrize(
    ("text", "named"),
    [("HDXX", "'XX'"), ("HDD", "'D'"), ("-1", "'-1'"), ("2147483648", "2147483648"), ("ſd", "ſd"), ("HD" * 999, "256")],
)
def test_error_names_the_unknown_mod(text: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        parse_mods(text)


@pytest.mark.parametrize(
    ("mods", "text"),
    [(0, "NM"), (72, "HDDT"), (584, "HDNC"), (16416, "PF"), (1081344, "4KFI"), (335544320, "1K2K"), (1 << 31, "NM")],
)
def test_mods_are_printed_in_bit_order(mods: int, text: str) -> None:
    assert mods_text(mods) == text


@given(SETS)
def test_printed_mods_are_read_back_with_implied_bits(mods: int) -> None:
    complete = mods | (64 if mods & 512 else 0) | (32 if mods & 16384 else 0)

    assert parse_mods(mods_text(mods)) == complete


@pytest.mark.parametrize(
    ("typed", "vanilla_mode", "played"),
    [
        ("DTNC", 0, "NC"),
        ("DTHT", 0, "DT"),
        ("NCHT", 0, "NC"),
        ("EZHR", 0, "EZ"),
        ("NFSD", 0, "NF"),
        ("RXPF", 0, "RX"),
        ("APNF", 0, "AP"),
        ("SDPF", 0, "PF"),
        ("SOAPHD", 1, "HD"),
        ("MRFI4KHD", 0, "HD"),
        ("APSO", 0, "SO"),
        ("APRX", 0, "RX"),
        ("RXHD", 3, "HD"),
        ("HDFI", 3, "HD"),
        ("FI", 3, "FI"),
        ("7K4K", 3, "4K"),
        ("1K2K3K", 3, "1K"),
    ],
)
def test_typed_mods_are_normalised_to_a_playable_set(typed: str, vanilla_mode: int, played: str) -> None:
    assert mods_text(normalise(parse_mods(typed), vanilla_mode)) == played


@given(SETS, VANILLA)
def test_normalising_twice_changes_nothing(mods: int, vanilla_mode: int) -> None:
    once = normalise(mods, vanilla_mode)

    assert normalise(once, vanilla_mode) == once


@given(SETS, VANILLA)
def test_normalised_mods_without_autoplay_are_accepted(mods: int, vanilla_mode: int) -> None:
    automatic = int(Mods.AU | Mods.CN)

    assert refused_mods(normalise(mods & ~automatic, vanilla_mode), vanilla_mode) is None


@pytest.mark.parametrize(
    ("mods", "vanilla_mode"),
    [
        (Mods.AU, 0),
        (Mods.CN, 0),
        (Mods.EZ | Mods.HR, 0),
        (Mods.HT | Mods.DT, 0),
        (Mods.HT | Mods.DT | Mods.NC, 0),
        (Mods.NC, 0),
        (Mods.NF | Mods.SD, 0),
        (Mods.NF | Mods.PF | Mods.SD, 0),
        (Mods.RX | Mods.AP, 0),
        (Mods.SO | Mods.AP, 0),
        (Mods.K4 | Mods.K5, 3),
        (Mods.K4, 0),
        (Mods.MR, 2),
        (Mods.FI, 1),
        (Mods.RN, 0),
        (Mods.CO, 0),
        (Mods.SO, 1),
        (Mods.AP, 2),
        (Mods.TP, 3),
        (1 << 31, 0),
        (-1, 0),
    ],
)
def test_impossible_mods_are_rejected_with_reason(mods: int, vanilla_mode: int) -> None:
    assert refused_mods(int(mods), vanilla_mode)


@pytest.mark.parametrize(
    ("mods", "vanilla_mode"),
    [
        (0, 0),
        (Mods.DT | Mods.NC, 0),
        (Mods.SD | Mods.PF, 0),
        (Mods.RX | Mods.NF, 0),
        (Mods.HD | Mods.FI, 3),
        (Mods.K4 | Mods.FI | Mods.MR, 3),
        (Mods.SO, 0),
        (Mods.AP, 0),
        (Mods.TD | Mods.HD, 0),
        (Mods.K5 | Mods.CO, 3),
    ],
)
def test_possible_mods_are_accepted(mods: int, vanilla_mode: int) -> None:
    assert refused_mods(int(mods), vanilla_mode) is None


def test_boards_treat_nightcore_as_doubletime() -> None:
    assert board_key(parse_mods("HDNC")) == board_key(parse_mods("HDDT"))
    assert board_key(parse_mods("PF")) == board_key(parse_mods("SD"))
    assert board_key(parse_mods("TDHD")) == board_key(parse_mods("HD"))
    assert board_key(parse_mods("HT")) != board_key(parse_mods("DT"))


@pytest.mark.parametrize(("text", "rate"), [("NM", 1.0), ("HDHR", 1.0), ("DT", 1.5), ("NC", 1.5), ("HT", 0.75)])
def test_speed_mods_change_the_clock_rate(text: str, rate: float) -> None:
    assert clock_rate(parse_mods(text)) == rate


@pytest.mark.parametrize("mod", Mods)
def test_only_the_listed_mods_are_unranked(mod: Mods) -> None:
    listed = Mods.TP | Mods.V2 | Mods.RN | Mods.CO | Mods.K1 | Mods.K2 | Mods.K3

    assert unranked_mods(int(mod)) == (mod in listed)


def test_constants_have_their_values() -> None:
    assert SILVER == 1049608
    assert KEYS.bit_count() == 9
    assert int(Mods.K9) == 16777216


A_MAP = """osu file format v14

[General]
Mode: {mode}

[Difficulty]
HPDrainRate:5
CircleSize:4
OverallDifficulty:7
ApproachRate:9
SliderMultiplier:1.6
SliderTickRate:1

[TimingPoints]
0,300,4,2,1,60,1,0

[HitObjects]
""" + "\n".join(
    f"{40 + 61 * n % 430},{40 + 97 * n % 300},{500 + 150 * n},1,{8 * (n % 2)}"
    if n % 4
    else f"{40 + 61 * n % 430},100,{500 + 150 * n},2,0,L|300:200,1,80"
    for n in range(60)
)


@pytest.mark.parametrize("mode", range(4))
@pytest.mark.parametrize("mod", Mods)
def test_difficulty_mods_give_the_same_stars(mod: Mods, mode: int) -> None:
    osu_map = rosu_pp_py.Beatmap(content=A_MAP.format(mode=mode))
    mods = int(mod) | (64 if mod is Mods.NC else 0)

    reduced = rosu_pp_py.Difficulty(mods=difficulty_mods(mods), lazer=False).calculate(osu_map)
    full = rosu_pp_py.Difficulty(mods=mods, lazer=False).calculate(osu_map)

    assert full.stars > 0
    assert reduced.stars == full.stars

import contextlib
import lzma
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.osu.test_replay_file import compressed

from kiai.osu.accuracy import Counts
from kiai.osu.lazer_score import (
    LazerMod,
    LazerScore,
    classic_score,
    lazer_mods,
    lazer_mods_fault,
    objects_judged,
    read_lazer_score,
)
from kiai.osu.mods import DT, HD, HT, NC, V2
from kiai.osu.replay_file import BadReplay, read_replay

FILES = Path(__file__).parent / "files"


def block(content: Any) -> bytes:
    return compressed(content if isinstance(content, bytes) else msgspec.json.encode(content))


def playing(*mods: str | tuple[str, dict[str, Any]]) -> LazerScore:
    return LazerScore([LazerMod(one) if isinstance(one, str) else LazerMod(*one) for one in mods])


def test_the_block_of_a_file_of_lazer_is_read() -> None:
    replay = read_replay((FILES / "lazer.osr").read_bytes())

    assert read_lazer_score(replay.lazer_block) == LazerScore([LazerMod("CL")], {"great": 20})


def test_what_the_block_leaves_out_or_holds_beyond_is_no_fault() -> None:
    told: dict[str, Any] = {
        "mods": None,
        "maximum_statistics": None,
        "rank": None,
        "pauses": [1, 2],
        "user_id": 5,
        "of_tomorrow": {},
    }

    assert read_lazer_score(b"") == LazerScore()
    assert read_lazer_score(block({})) == LazerScore()
    assert read_lazer_score(block(told)) == LazerScore()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"[]",
        b'{"mods": "HD"}',
        b'{"mods": [{"settings": {}}]}',
        b'{"maximum_statistics": {"great": "many"}}',
        b'{"mods": [{"acronym": "\xff"}]}',
        b"[" * 100_000,
        b'{"pauses": ' + b"[" * 100_000,
        b'{"x": "' + b"x" * 1024 * 1024 + b'"}',
    ],
    ids=lambda content: str(content[:40]),
)
def test_a_block_that_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(BadReplay, match="lazer's block"):
        read_lazer_score(block(content))


def test_a_block_that_is_no_lzma_or_is_cut_is_refused() -> None:
    whole = block({"mods": []})

    for stream in (b"hello", whole[:-8], lzma.compress(b"{}"), whole[:1] + b"\0\0\0\x40" + whole[5:]):
        with pytest.raises(BadReplay, match="lazer's block"):
            read_lazer_score(stream)


@given(st.binary(max_size=200))
def test_random_bytes_are_no_block(stream: bytes) -> None:
    found = None
    with contextlib.suppress(BadReplay):
        found = read_lazer_score(stream)

    assert found is None or stream == b""


@pytest.mark.parametrize("rank", ["F", -1])
def test_a_failed_play_says_so(rank: str | int) -> None:
    assert read_lazer_score(block({"rank": rank})).failed
    assert not read_lazer_score(block({"rank": "D"})).failed
    assert not read_lazer_score(block({"rank": 0})).failed


@pytest.mark.parametrize(
    ("played", "mode"),
    [
        (playing(), 0),
        (playing("CL"), 0),
        (playing(("CL", {"classic_note_lock": False})), 0),
        (playing("HD", "NF", "EZ", "SO", "AP"), 0),
        (playing("hd"), 0),
        (playing("DC"), 1),
        (playing("SV2"), 2),
        (playing("4K", "DS", "MR", "FI"), 3),
        (playing(("DT", {"adjust_pitch": True})), 0),
        (playing(("DT", {"speed_change": 1.5}), ("SD", {"restart": True})), 0),
        (playing(("HT", {"speed_change": 0.75})), 0),
    ],
    ids=str,
)
def test_mods_that_stable_has_too_are_taken(played: LazerScore, mode: int) -> None:
    assert lazer_mods_fault(played, mode) is None


@pytest.mark.parametrize(
    ("played", "mode", "why"),
    [
        (playing("HD", "BL"), 0, "its mod BL exists in lazer only"),
        (playing("NM"), 0, "its mod NM exists in lazer only"),
        (playing("MR"), 0, "its mod MR exists in lazer only"),
        (playing("SO"), 1, "its mod SO exists in lazer only"),
        (playing("\x1b[31mX" * 9), 0, r"its mod \x1b"),
        (
            playing(("DT", {"speed_change": 1.2})),
            0,
            "its mod DT has a setting that exists in lazer only (speed_change)",
        ),
        (playing(("HT", {"speed_change": 1.5})), 0, "its mod HT has a setting"),
        (playing(("FL", {"follow_delay": 1})), 0, "its mod FL has a setting"),
        (playing(("HR", {"x" * 99: 1})), 0, "its mod HR has a setting"),
    ],
    ids=str,
)
def test_mods_that_only_lazer_has_are_named(played: LazerScore, mode: int, why: str) -> None:
    assert why in str(lazer_mods_fault(played, mode))


def test_the_mods_of_the_block_have_the_bits_of_the_header() -> None:
    assert lazer_mods(LazerScore()) == 0
    assert lazer_mods(playing("CL", "hd", "DT")) == HD | DT
    assert lazer_mods(playing("NC", "XX")) == NC
    assert lazer_mods(playing("DC", "SV2")) == HT | V2


@pytest.mark.parametrize(
    ("standardised", "mode", "objects", "classic"),
    [
        (1_000_000, 0, 20, 113_028),
        (500_000, 0, 20, 56_514),
        (1_000_000, 0, 1_000, 32_670_000),
        (1_000_000, 1, 500, 654_500),
        (1_000_000, 2, 300, 2_045_800),
        (500_000, 2, 300, 536_450),
        (987_654, 3, 2_000, 987_654),
        (0, 0, 20, 0),
    ],
)
def test_standardised_scores_become_classic_ones(standardised: int, mode: int, objects: int, classic: int) -> None:
    assert classic_score(standardised, mode, objects) == classic


@pytest.mark.parametrize(
    ("told", "mode", "counts", "objects"),
    [
        ({"great": 15, "ok": 3, "miss": 2, "large_tick_hit": 9, "slider_tail_hit": 5}, 0, Counts(1, 0, 0, 0, 0, 0), 20),
        (None, 0, Counts(15, 3, 0, 0, 0, 2), 20),
        (None, 1, Counts(15, 3, 0, 9, 9, 2), 20),
        (None, 3, Counts(5, 4, 3, 2, 1, 5), 20),
        (None, 2, Counts(20, 5, 9, 0, 3, 0), 20),
        (None, 2, Counts(19, 5, 9, 0, 3, 1), None),
        ({"great": 20}, 2, Counts(19, 5, 9, 0, 3, 1), 20),
        ({"great": 2**62}, 0, Counts(15, 3, 0, 0, 0, 2), 20),
        ({"great": -5}, 0, Counts(15, 3, 0, 0, 0, 2), 20),
        ({}, 0, Counts(15, 3, 0, 0, 0, 2), 20),
    ],
)
def test_objects_are_counted_where_the_file_says_how_many(
    told: dict[str, int] | None, mode: int, counts: Counts, objects: int | None
) -> None:
    assert objects_judged(LazerScore(None, told), mode, counts) == objects

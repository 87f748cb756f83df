import contextlib
import lzma
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.osu.test_replay_file import compressed

from kiai.osu.accuracy import HitCounts
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


def score_with(*mods: str | tuple[str, dict[str, Any]]) -> LazerScore:
    return LazerScore([LazerMod(one) if isinstance(one, str) else LazerMod(*one) for one in mods])


def test_block_of_lazer_file_is_read() -> None:
    replay = read_replay((FILES / "lazer.osr").read_bytes())

    assert read_lazer_score(replay.lazer_block) == LazerScore([LazerMod("CL")], {"great": 20})


def test_missing_and_unknown_fields_of_block_are_ignored() -> None:
    content: dict[str, Any] = {
        "mods": None,
        "maximum_statistics": None,
        "rank": None,
        "pauses": [1, 2],
        "user_id": 5,
        "unknown_field": {},
    }

    assert read_lazer_score(b"") == LazerScore()
    assert read_lazer_score(block({})) == LazerScore()
    assert read_lazer_score(block(content)) == LazerScore()


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
def test_invalid_json_in_block_is_rejected(content: bytes) -> None:
    with pytest.raises(BadReplay, match="lazer's block"):
        read_lazer_score(block(content))


def test_invalid_or_truncated_lzma_in_block_is_rejected() -> None:
    whole = block({"mods": []})

    for stream in (b"hello", whole[:-8], lzma.compress(b"{}"), whole[:1] + b"\0\0\0\x40" + whole[5:]):
        with pytest.raises(BadReplay, match="lazer's block"):
            read_lazer_score(stream)


@given(st.binary(max_size=200))
def test_random_bytes_are_rejected_as_block(stream: bytes) -> None:
    found = None
    with contextlib.suppress(BadReplay):
        found = read_lazer_score(stream)

    assert found is None or stream == b""


@pytest.mark.parametrize("rank", ["F", -1])
def test_rank_of_block_marks_failed_play(rank: str | int) -> None:
    assert read_lazer_score(block({"rank": rank})).failed
    assert not read_lazer_score(block({"rank": "D"})).failed
    assert not read_lazer_score(block({"rank": 0})).failed


@pytest.mark.parametrize(
    ("played", "mode"),
    [
        (score_with(), 0),
        (score_with("CL"), 0),
        (score_with(("CL", {"classic_note_lock": False})), 0),
        (score_with("HD", "NF", "EZ", "SO", "AP"), 0),
        (score_with("hd"), 0),
        (score_with("DC"), 1),
        (score_with("SV2"), 2),
        (score_with("4K", "DS", "MR", "FI"), 3),
        (score_with(("DT", {"adjust_pitch": True})), 0),
        (score_with(("DT", {"speed_change": 1.5}), ("SD", {"restart": True})), 0),
        (score_with(("HT", {"speed_change": 0.75})), 0),
    ],
    ids=str,
)
def test_mods_of_stable_are_accepted(played: LazerScore, mode: int) -> None:
    assert lazer_mods_fault(played, mode) is None


@pytest.mark.parametrize(
    ("played", "mode", "why"),
    [
        (score_with("HD", "BL"), 0, "its mod BL exists in lazer only"),
        (score_with("NM"), 0, "its mod NM exists in lazer only"),
        (score_with("MR"), 0, "its mod MR exists in lazer only"),
        (score_with("SO"), 1, "its mod SO exists in lazer only"),
        (score_with("\x1b[31mX" * 9), 0, r"its mod \x1b"),
        (
            score_with(("DT", {"speed_change": 1.2})),
            0,
            "its mod DT has a setting that exists in lazer only (speed_change)",
        ),
        (score_with(("HT", {"speed_change": 1.5})), 0, "its mod HT has a setting"),
        (score_with(("FL", {"follow_delay": 1})), 0, "its mod FL has a setting"),
        (score_with(("HR", {"x" * 99: 1})), 0, "its mod HR has a setting"),
    ],
    ids=str,
)
def test_mods_that_exist_in_lazer_only_are_named(played: LazerScore, mode: int, why: str) -> None:
    assert why in str(lazer_mods_fault(played, mode))


def test_mods_of_block_are_converted_to_bits() -> None:
    assert lazer_mods(LazerScore()) == 0
    assert lazer_mods(score_with("CL", "hd", "DT")) == HD | DT
    assert lazer_mods(score_with("NC", "XX")) == NC
    assert lazer_mods(score_with("DC", "SV2")) == HT | V2


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
def test_standardised_score_is_converted_to_classic(standardised: int, mode: int, objects: int, classic: int) -> None:
    assert classic_score(standardised, mode, objects) == classic


@pytest.mark.parametrize(
    ("content", "mode", "counts", "objects"),
    [
        (
            {"great": 15, "ok": 3, "miss": 2, "large_tick_hit": 9, "slider_tail_hit": 5},
            0,
            HitCounts(1, 0, 0, 0, 0, 0),
            20,
        ),
        (None, 0, HitCounts(15, 3, 0, 0, 0, 2), 20),
        (None, 1, HitCounts(15, 3, 0, 9, 9, 2), 20),
        (None, 3, HitCounts(5, 4, 3, 2, 1, 5), 20),
        (None, 2, HitCounts(20, 5, 9, 0, 3, 0), 20),
        (None, 2, HitCounts(19, 5, 9, 0, 3, 1), None),
        ({"great": 20}, 2, HitCounts(19, 5, 9, 0, 3, 1), 20),
        ({"great": 2**62}, 0, HitCounts(15, 3, 0, 0, 0, 2), 20),
        ({"great": -5}, 0, HitCounts(15, 3, 0, 0, 0, 2), 20),
        ({}, 0, HitCounts(15, 3, 0, 0, 0, 2), 20),
    ],
)
def test_objects_are_counted_from_block_or_header(
    content: dict[str, int] | None, mode: int, counts: HitCounts, objects: int | None
) -> None:
    assert objects_judged(LazerScore(None, content), mode, counts) == objects

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.osu.real_files import real_files

from kiai.osu.grades import GRADES
from kiai.osu.replay_checksum import ChecksumForm, checksum_form, replay_md5
from kiai.osu.replay_file import ReplayFile, read_replay

FILES = Path(__file__).parent / "files"
VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "replay_vectors.json").read_text())
A_REPLAY = read_replay(bytes.fromhex(VECTORS[0]["osr_hex"]))
SITE = read_replay((FILES / "site.osr").read_bytes())


def replay_with_md5_of(text: str, **changes: Any) -> ReplayFile:
    """Return the replay with the checksum of this text."""
    return msgspec.structs.replace(A_REPLAY, replay_md5=hashlib.md5(text.encode()).hexdigest(), **changes)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["name"]))
def test_checksum_of_known_file_is_reproduced(vector: dict[str, Any]) -> None:
    replay = read_replay(bytes.fromhex(vector["osr_hex"]))

    assert replay_md5(replay, vector["grade_used_in_hash"]) == vector["replay_md5"]
    assert checksum_form(replay) is ChecksumForm.SERVER


def test_download_from_the_site_has_form_site() -> None:
    assert checksum_form(SITE) is ChecksumForm.SITE


@pytest.mark.parametrize("letter", ["XH", "X", "SH", "S", "A", "B", "C", "D", "F", "N", "SS", "SSH"])
def test_form_site_is_found_for_every_grade(letter: str) -> None:
    replay = replay_with_md5_of(f"52osualice{A_REPLAY.beatmap_md5}26810{letter}")

    assert checksum_form(replay) is ChecksumForm.SITE
    assert checksum_form(msgspec.structs.replace(replay, replay_md5=replay.replay_md5.upper())) is ChecksumForm.SITE


@pytest.mark.parametrize("name", ["Jörg", "なまえ", "[ - ]", "a b_c"])
def test_form_site_is_found_for_names_of_any_script(name: str) -> None:
    replay = replay_with_md5_of(f"52osu{name}{A_REPLAY.beatmap_md5}26810S", player_name=name)

    assert checksum_form(replay) is ChecksumForm.SITE


@pytest.mark.parametrize("replay", [A_REPLAY, SITE], ids=["server", "site"])
@pytest.mark.parametrize("change", [{"score": 26_811}, {"player_name": "mallory"}, {"max_combo": 53}], ids=str)
def test_edited_result_has_unknown_form(replay: ReplayFile, change: dict[str, Any]) -> None:
    assert checksum_form(msgspec.structs.replace(replay, **change)) is ChecksumForm.UNKNOWN


def test_only_the_form_server_covers_the_mods() -> None:
    assert checksum_form(msgspec.structs.replace(A_REPLAY, mods=8)) is ChecksumForm.UNKNOWN
    assert checksum_form(msgspec.structs.replace(SITE, mods=8)) is ChecksumForm.SITE


@pytest.mark.parametrize("claimed", ["", "0", "0" * 32, "no checksum", "\0" * 32, "é" * 32])
def test_invalid_checksum_has_unknown_form(claimed: str) -> None:
    assert checksum_form(msgspec.structs.replace(A_REPLAY, replay_md5=claimed)) is ChecksumForm.UNKNOWN


@pytest.mark.parametrize("letter", [*GRADES, "0"])
@pytest.mark.parametrize("booleans", [("False", "True"), ("false", "true"), ("false", "True"), ("False", "true")])
def test_variants_of_other_servers_have_form_server(letter: str, booleans: tuple[str, str]) -> None:
    perfect, last = booleans
    replay = replay_with_md5_of(f"97p5o23o6t6a{A_REPLAY.beatmap_md5}r52e{perfect}yaliceo26810u{letter}0{last}")

    assert checksum_form(replay) is ChecksumForm.SERVER
    assert checksum_form(msgspec.structs.replace(replay, replay_md5=replay.replay_md5.upper())) is ChecksumForm.SERVER


@pytest.mark.parametrize(
    "date",
    [
        "01/01/2026 12:00:00 +00:00",
        "01/01/2026 14:00:00 +02:00",
        "01/01/2026 17:30:00 +05:30",
        "01/01/2026 17:45:00 +05:45",
        "01/01/2026 08:30:00 -03:30",
        "01/02/2026 02:00:00 +14:00",
        "01/01/2026 00:00:00 -12:00",
    ],
)
@pytest.mark.parametrize("version", [30000000, 30000016, 20260711])
def test_form_lazer_is_found_for_every_time_zone(date: str, version: int) -> None:
    assert datetime.fromtimestamp(A_REPLAY.played_at_ms / 1000, UTC).isoformat() == "2026-01-01T12:00:00+00:00"
    replay = replay_with_md5_of(f"lazer-alice-{date}", game_version=version)

    assert checksum_form(replay) is ChecksumForm.LAZER
    late = msgspec.structs.replace(replay, played_at_ms=replay.played_at_ms + 999)
    assert checksum_form(late) is ChecksumForm.LAZER
    assert checksum_form(msgspec.structs.replace(late, player_name="bob")) is ChecksumForm.UNKNOWN
    assert checksum_form(msgspec.structs.replace(late, played_at_ms=late.played_at_ms + 1)) is ChecksumForm.UNKNOWN


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_checksum_form_accepts_every_time_of_a_file(at_ms: int) -> None:
    replay = msgspec.structs.replace(A_REPLAY, played_at_ms=at_ms)

    assert checksum_form(replay) is ChecksumForm.SERVER
    assert checksum_form(msgspec.structs.replace(replay, replay_md5="")) is ChecksumForm.UNKNOWN


FORMS = {
    "ctb.osr": ChecksumForm.SITE,
    "taiko.osr": ChecksumForm.SITE,
    "replay_old_replayid.osr": ChecksumForm.SERVER,
    "lazer_standard_format.osr": ChecksumForm.LAZER,
}


def test_real_replays_have_their_expected_form() -> None:
    for path in real_files("replays", ".osr"):
        form = checksum_form(read_replay(path.read_bytes()))

        assert form is FORMS.get(path.name, ChecksumForm.UNKNOWN), path.name

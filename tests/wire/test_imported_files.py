"""Real-world beatmap files with the game's interpretation, through a real import and the public API.

The import and the server run in a time zone with an offset of half an hour, because no answer may depend on the zone.
"""

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import rosu_pp_py
from tests.wire.kit import Server

FILES: Final = Path(__file__).parents[1] / "beatmaps" / "files"
OSU: Final = "osu.localhost"

PLAIN: Final = {"ar": 8, "od": 6, "cs": 4, "hp": 4, "bpm": 120, "total_length": 10, "mode": 0}

EXPECTED: Final[dict[str, dict[str, Any]]] = {
    "object-no-number.osu": {},
    "object-few-fields.osu": {},
    "object-kind-0.osu": {},
    "object-too-far.osu": {},
    "slider-bad-path.osu": {},
    "timing-no-number.osu": {},
    "break-without-end.osu": {},
    "preview-no-number.osu": {},
    "set-id-no-number.osu": {},
    "mode-7.osu": {},
    "empty-approach-rate.osu": {"ar": 6},
    "second-rate-bad.osu": {},
    "decimal-comma.osu": {},
    "nan-velocity.osu": {},
    "no-header.osu": {},
    "comment-after-value.osu": {"od": 7},
    "utf-16-le.osu": {"title": "Dvořák"},
    "shift-jis-source.osu": {},
    "latin-1-tags.osu": {},
    "two-tempos-at-once.osu": {"bpm": 240},
    "350-bpm.osu": {"bpm": 350},
    "tempo-past-the-end.osu": {"bpm": 150},
    "slider-of-length-0.osu": {"total_length": 12},
    "id-1.5.osu": {},
    "digits-grouped.osu": {},
    "three-part-point.osu": {"total_length": 11},
    "replayed.osu": {"id": 880001, "set_id": 88001},
}


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, Any]]]:
    """A server that has imported all files, and the report of the import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "America/St_Johns")
        server = Server(tmp_path_factory.mktemp("files") / "data")
        server.cli("migrate")
        report = server.cli("beatmaps", "import", str(FILES))
        try:
            server.start()
            yield server, report
            server.stop()
        finally:
            server.kill()


def described(server: Server, osu: bytes) -> dict[str, Any]:
    """Return the values of a map in the public API. They equal those of rosu-pp for its file."""
    answer = server.get(f"/v1/get_map_info?md5={hashlib.md5(osu).hexdigest()}")
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json["map"]
    attributes = rosu_pp_py.Difficulty(lazer=False).calculate(rosu_pp_py.Beatmap(bytes=osu))
    assert found["diff"] == pytest.approx(attributes.stars, abs=1e-3)
    assert found["max_combo"] == attributes.max_combo
    return found


def entry(archive: str, name: str = "a.osu") -> bytes:
    with zipfile.ZipFile(FILES / archive) as files:
        return files.read(name)


@pytest.mark.parametrize("name", EXPECTED)
def test_real_file_is_read_as_in_the_game(imported: tuple[Server, dict[str, Any]], name: str) -> None:
    found = described(imported[0], (FILES / name).read_bytes())

    wanted = PLAIN | EXPECTED[name]
    assert {field: found[field] for field in wanted} == pytest.approx(wanted)


def test_every_file_has_a_case() -> None:
    assert set(EXPECTED) == {path.name for path in FILES.glob("*.osu")}


def test_map_with_an_invalid_id_gets_an_own_id(imported: tuple[Server, dict[str, Any]]) -> None:
    server, _ = imported

    found = described(server, (FILES / "id-1.5.osu").read_bytes())

    assert found["id"] >= 1_000_000_000
    assert server.get("/v1/get_map_info?id=1").status == 404


def test_no_file_is_skipped_and_every_map_is_counted(imported: tuple[Server, dict[str, Any]]) -> None:
    _, report = imported

    assert report["skipped"] == []
    assert report["maps"] == len(EXPECTED) + len(list(FILES.glob("*.o[sl]z"))) + 1  # one archive holds two


@pytest.mark.parametrize(
    ("archive", "set_id"),
    [("utf-8-flag-bad-name.osz", 8101), ("mac-shadow.osz", 8105), ("lazer.olz", 8109), ("one-id-twice.osz", 8103)],
)
def test_archive_can_be_downloaded_unchanged(
    imported: tuple[Server, dict[str, Any]], archive: str, set_id: int
) -> None:
    answer = imported[0].get(f"/d/{set_id}", host=OSU)

    assert (answer.status, answer.body) == (200, (FILES / archive).read_bytes())


def test_two_files_with_one_id_are_both_playable_and_reported(
    imported: tuple[Server, dict[str, Any]],
) -> None:
    server, report = imported

    first, second = (described(server, entry("one-id-twice.osz", name)) for name in ("a.osu", "b.osu"))

    assert (first["id"], first["set_id"], second["set_id"]) == (810301, 8103, 8103)
    assert (first["status"], second["status"]) == (2, 2)
    assert second["id"] >= 1_000_000_000
    [note] = report["notes"]
    assert note["path"].endswith("one-id-twice.osz:b.osu")
    assert "810301" in note["what"]


@pytest.mark.parametrize("archive", ["mac-shadow.osz", "lazer.olz", "sprite-as-background.osz"])
def test_archive_contains_its_map(imported: tuple[Server, dict[str, Any]], archive: str) -> None:
    found = described(imported[0], entry(archive))

    assert {field: found[field] for field in PLAIN} == PLAIN


@pytest.mark.parametrize("set_id", [8106, 8107], ids=["a sprite", "a video that is a picture"])
@pytest.mark.parametrize("name", ["{}.jpg", "{}l.jpg"])
def test_background_of_an_event_line_is_the_thumbnail(
    imported: tuple[Server, dict[str, Any]], set_id: int, name: str
) -> None:
    answer = imported[0].get(f"/thumb/{name.format(set_id)}", host="b.localhost")

    assert (answer.status, answer.headers["content-type"]) == (200, "image/jpeg")
    assert answer.body.startswith(b"\xff\xd8")


def test_time_of_an_entry_does_not_depend_on_the_time_zone(imported: tuple[Server, dict[str, Any]]) -> None:
    answer = imported[0].get("/v1/get_map_info?id=4300001")

    assert answer.json["map"]["last_update"] == "2024-03-10T02:30:00"

import hashlib
import io
from pathlib import Path

import msgspec
import osrparse
import pytest
from sqlalchemy import update
from tests import engines
from tests.builders import World, a_map, a_player, a_replay

from kiai.beatmaps import Beatmap
from kiai.errors import NotFound, Refused
from kiai.osu.accuracy import HitCounts
from kiai.osu.mods import DT, HD, NC, PF, SD
from kiai.osu.replay_checksum import ChecksumForm, checksum_form
from kiai.osu.replay_file import check_frames, read_replay, write_replay
from kiai.scores.model import replay_key
from kiai.staff import OPERATOR
from kiai.storage.tables import scores


@pytest.fixture
def song(world: World) -> Beatmap:
    return world.add_map(a_map(objects=50))


@pytest.fixture
def alice(world: World) -> int:
    return world.add_player(a_player())


def exported(world: World, score_id: int) -> bytes:
    return bytes(world.run(world.replays.osr(score_id)).data)


def test_an_export_equals_the_import_field_by_field(world: World, song: Beatmap, alice: int) -> None:
    replay = a_replay(of=song, counts=HitCounts(40, 6, 1, 8, 3, 3), mods=HD | DT, combo=33, score=456_789)
    score_id = world.run(world.replay_import.import_one(write_replay(replay)))

    out = read_replay(exported(world, score_id))

    assert out == msgspec.structs.replace(replay, score_id=score_id)
    assert checksum_form(out) is ChecksumForm.SERVER


def test_an_export_of_a_failed_play_is_readable_too(world: World, song: Beatmap, alice: int) -> None:
    replay = a_replay(of=song, counts=HitCounts(20, 0, 0, 0, 0, 3), combo=20)
    score_id = world.run(world.replay_import.import_one(write_replay(replay)))

    assert checksum_form(read_replay(exported(world, score_id))) is ChecksumForm.SERVER


def test_export_is_read_by_another_library_with_the_same_frames(world: World, song: Beatmap, alice: int) -> None:
    replay = a_replay(of=song, counts=HitCounts(47, 3, 0, 8, 3, 0), score=456_789)
    score_id = world.run(world.replay_import.import_one(write_replay(replay)))

    theirs = osrparse.Replay.from_string(exported(world, score_id))
    ours = osrparse.Replay.from_string(write_replay(replay))

    assert theirs.replay_data == ours.replay_data
    assert len(theirs.replay_data) == 40
    text = f"50p0o8o3t0a{song.md5}r50eFalseyaliceo456789uS0True"
    assert theirs.replay_hash == hashlib.md5(text.encode()).hexdigest()
    assert (theirs.username, theirs.score, theirs.max_combo, theirs.replay_id) == ("alice", 456_789, 50, score_id)


def test_replay_written_by_another_library_is_imported(world: World, song: Beatmap, alice: int) -> None:
    theirs = osrparse.Replay.from_string(write_replay(a_replay(of=song)))
    stream = io.BytesIO()
    theirs.write_file(stream)

    score_id = world.run(world.replay_import.import_one(stream.getvalue()))

    assert world.run(world.score_lookup.find(score_id)).player_name == "alice"


def test_download_has_a_file_name_that_is_valid_on_every_system(world: World, song: Beatmap, alice: int) -> None:
    score_id = world.run(world.replay_import.import_one(write_replay(a_replay(of=song))))

    assert world.run(world.replays.osr(score_id)).name == "alice - Artist - Song [Normal] (2023-11-13).osr"


def test_frames_are_returned_unchanged(world: World, song: Beatmap, alice: int) -> None:
    replay = a_replay(of=song)
    score_id = world.run(world.replay_import.import_one(write_replay(replay)))

    assert world.run(world.replays.frames(score_id)) == replay.frames


def test_missing_score_missing_replay_and_hidden_player_are_not_found(world: World, song: Beatmap, alice: int) -> None:
    replay = a_replay(of=song)
    score_id = world.run(world.replay_import.import_one(write_replay(replay)))

    with pytest.raises(NotFound, match="score not found"):
        world.run(world.replays.osr(999))
    world.run(world.restrictions.restrict(OPERATOR, "alice", "because"))
    with pytest.raises(NotFound, match="score not found"):
        world.run(world.replays.osr(score_id))
    world.run(world.restrictions.unrestrict(OPERATOR, "alice"))
    world.run(world.files.delete(replay_key(hashlib.md5(replay.frames).digest())))
    for verb in (world.replays.osr, world.replays.frames):
        with pytest.raises(NotFound, match="replay not found"):
            world.run(verb(score_id))


VERSIONS = [-5, 0, 20070101, 20121007, 20121008, 20140720, 20140721, 20260711, 29999999, 30000000, 30000016, 2**31 - 1]


@pytest.mark.parametrize("version", VERSIONS)
def test_export_has_the_layout_of_its_version(world: World, song: Beatmap, alice: int, version: int) -> None:
    score_id = world.run(world.replay_import.import_one(write_replay(a_replay(of=song))))
    world.change(update(scores).values(client_version=version))

    data = exported(world, score_id)

    out = read_replay(data)
    assert out.game_version == (version if 0 < version < 30_000_000 else 20231113)
    assert write_replay(out) == data
    assert out.score_id == score_id
    theirs = osrparse.Replay.from_string(data)
    assert (theirs.game_version, theirs.score, theirs.replay_id) == (out.game_version, 900_000, score_id)
    assert len(theirs.replay_data) == check_frames(out.frames).frames


@pytest.mark.parametrize(("mods", "written"), [(PF, PF | SD), (NC, NC | DT), (HD, HD)])
def test_mods_that_always_come_in_pairs_are_written_in_pairs(
    world: World, song: Beatmap, alice: int, mods: int, written: int
) -> None:
    score_id = world.run(world.replay_import.import_one(write_replay(a_replay(of=song))))
    world.change(update(scores).values(mods=mods))

    out = read_replay(exported(world, score_id))

    assert out.mods == written
    assert checksum_form(out) is ChecksumForm.SERVER


def test_missing_life_bar_is_empty_and_not_null(world: World, song: Beatmap, alice: int) -> None:
    replay = msgspec.structs.replace(a_replay(of=song), life_bar="")
    score_id = world.run(world.replay_import.import_one(write_replay(replay)))

    data = exported(world, score_id)

    at = data.index(replay.frames) - 14
    assert data[at : at + 2] == b"\x0b\0"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"life_bar": ""},
        {"mods": HD | DT | NC, "game_version": 20130319},
        {"mode": 1, "game_version": 20070101},
        {"mode": 2, "counts": HitCounts(300, 20, 40, 5, 9, 2), "max_combo": 310},
        {"mode": 3, "counts": HitCounts(100, 5, 2, 300, 9, 1), "max_combo": 400},
        {"counts": HitCounts(20, 0, 0, 0, 0, 3), "max_combo": 20},
        {"game_version": 30_000_016, "score": 500_000},
    ],
    ids=str,
)
@pytest.mark.parametrize("player", ["alice", "Jörg"])
def test_export_imported_on_another_server_is_exported_identically(
    world: World, song: Beatmap, alice: int, player: str, changes: dict[str, object], tmp_path: Path
) -> None:
    replay = msgspec.structs.replace(a_replay(of=song, player=player), **changes)
    first_id = world.run(world.replay_import.import_one(write_replay(replay), user=world.user(alice)))
    first = exported(world, first_id)

    with engines.fresh("sqlite", tmp_path) as url:
        database = world.run(engines.connect(url))
        elsewhere = World(database, world.run, tmp_path / "elsewhere")
        elsewhere.add_player(a_player())
        elsewhere.add_map(a_map(objects=50))
        second_id = world.run(elsewhere.replay_import.import_one(first, strict=True))
        second = exported(elsewhere, second_id)
        world.run(database.close())

    assert (first_id, second_id) == (1, 1)
    assert second == first
    assert exported(world, first_id) == first


def test_export_imported_on_the_same_server_is_a_duplicate(world: World, song: Beatmap, alice: int) -> None:
    score_id = world.run(world.replay_import.import_one(write_replay(a_replay(of=song)), user=world.user(alice)))

    with pytest.raises(Refused, match="stored already"):
        world.run(world.replay_import.import_one(exported(world, score_id)))

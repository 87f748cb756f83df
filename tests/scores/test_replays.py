import hashlib
import io

import msgspec
import osrparse
import pytest
from tests.builders import World, a_map, a_player, a_replay

from kiai.beatmaps import Beatmap
from kiai.errors import NotFound
from kiai.osu.accuracy import Counts
from kiai.osu.mods import DT, HD
from kiai.osu.replay_file import md5_matches, read_replay, write_replay
from kiai.scores.model import replay_key
from kiai.staff import OPERATOR


@pytest.fixture
def song(world: World) -> Beatmap:
    return world.add_map(a_map(objects=50))


@pytest.fixture
def alice(world: World) -> int:
    return world.add_player(a_player())


# --- handing out


def exported(world: World, score_id: int) -> bytes:
    return bytes(world.run(world.replays.osr(score_id)).data)


def test_an_export_equals_the_import_field_by_field(world: World, song: Beatmap, alice: int) -> None:
    replay = a_replay(of=song, counts=Counts(40, 6, 1, 8, 3, 3), mods=HD | DT, combo=33, score=456_789)
    score_id = world.run(world.replay_import.import_one(write_replay(replay)))

    out = read_replay(exported(world, score_id))

    assert out == msgspec.structs.replace(replay, score_id=score_id)
    assert md5_matches(out)


def test_an_export_of_a_failed_play_is_readable_too(world: World, song: Beatmap, alice: int) -> None:
    replay = a_replay(of=song, counts=Counts(20, 0, 0, 0, 0, 3), combo=20)
    score_id = world.run(world.replay_import.import_one(write_replay(replay)))

    assert md5_matches(read_replay(exported(world, score_id)))


def test_an_export_is_read_by_others_with_the_same_frames(world: World, song: Beatmap, alice: int) -> None:
    replay = a_replay(of=song, counts=Counts(47, 3, 0, 8, 3, 0), score=456_789)
    score_id = world.run(world.replay_import.import_one(write_replay(replay)))

    theirs = osrparse.Replay.from_string(exported(world, score_id))
    ours = osrparse.Replay.from_string(write_replay(replay))

    assert theirs.replay_data == ours.replay_data
    assert len(theirs.replay_data) == 40
    text = f"50p0o8o3t0a{song.md5}r50eFalseyaliceo456789uS0True"
    assert theirs.replay_hash == hashlib.md5(text.encode()).hexdigest()
    assert (theirs.username, theirs.score, theirs.max_combo, theirs.replay_id) == ("alice", 456_789, 50, score_id)


def test_a_replay_written_by_others_is_imported(world: World, song: Beatmap, alice: int) -> None:
    theirs = osrparse.Replay.from_string(write_replay(a_replay(of=song)))
    stream = io.BytesIO()
    theirs.write_file(stream)

    score_id = world.run(world.replay_import.import_one(stream.getvalue()))

    assert world.run(world.leaderboards.score(score_id)).player_name == "alice"


def test_a_downloaded_file_has_a_name_that_any_system_takes(world: World, song: Beatmap, alice: int) -> None:
    score_id = world.run(world.replay_import.import_one(write_replay(a_replay(of=song))))

    assert world.run(world.replays.osr(score_id)).name == "alice - Artist - Song [Normal] (2023-11-13).osr"


def test_the_frames_are_handed_out_as_they_came(world: World, song: Beatmap, alice: int) -> None:
    replay = a_replay(of=song)
    score_id = world.run(world.replay_import.import_one(write_replay(replay)))

    assert world.run(world.replays.frames(score_id)) == replay.frames


def test_no_score_no_replay_and_hidden_players_are_not_found(world: World, song: Beatmap, alice: int) -> None:
    replay = a_replay(of=song)
    score_id = world.run(world.replay_import.import_one(write_replay(replay)))

    with pytest.raises(NotFound, match="score not found"):
        world.run(world.replays.osr(999))
    world.run(world.staff.restrict(OPERATOR, "alice", "because"))
    with pytest.raises(NotFound, match="score not found"):
        world.run(world.replays.osr(score_id))
    world.run(world.staff.unrestrict(OPERATOR, "alice"))
    world.run(world.files.delete(replay_key(hashlib.md5(replay.frames).digest())))
    for verb in (world.replays.osr, world.replays.frames):
        with pytest.raises(NotFound, match="replay not found"):
            world.run(verb(score_id))

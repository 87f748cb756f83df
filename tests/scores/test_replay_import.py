from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select
from tests.builders import NOW_MS, World, a_map, a_player, a_replay, frames, pp_of

from kiai.accounts import User
from kiai.beatmaps import Beatmap
from kiai.osu.accuracy import Counts
from kiai.osu.mods import DT, EZ, HD, HR, NC, RX, SO, TP, V2
from kiai.osu.replay_file import ReplayFile, write_replay
from kiai.scores.replay_import import ReplayReport
from kiai.staff import OPERATOR
from kiai.storage.tables import outbox, replays, scores, stats


@pytest.fixture
def song(world: World) -> Beatmap:
    return world.add_map(a_map(objects=50))


@pytest.fixture
def alice(world: World) -> int:
    return world.add_player(a_player())


def import_(world: World, *paths: Path, user: User | None = None) -> ReplayReport:
    report = world.run(world.replay_import.import_paths(paths, user=user))
    assert isinstance(report, ReplayReport)
    return report


def check_refused(world: World, path: Path, why: str, user: User | None = None) -> None:
    """The file is skipped with this reason and leaves no trace."""
    before = [world.look(select(table)) for table in (scores, replays, stats, outbox)]
    report = import_(world, path, user=user)
    assert report.scores == 0
    [skipped] = report.skipped
    assert skipped.path == str(path)
    assert why in skipped.why
    assert [world.look(select(table)) for table in (scores, replays, stats, outbox)] == before


def signed(replay: ReplayFile, **changes: object) -> ReplayFile:
    """The replay with another result and the checksum that belongs to it."""
    changed = msgspec.structs.replace(replay, **changes)
    stub = a_replay(
        of=_Named(changed.beatmap_md5),  # type: ignore[arg-type]
        player=changed.player_name,
        mode=changed.mode,
        mods=changed.mods,
        counts=changed.counts,
        score=changed.score,
        combo=changed.max_combo,
        stream=changed.frames,
    )
    return msgspec.structs.replace(changed, replay_md5=stub.replay_md5)


class _Named(msgspec.Struct, frozen=True):
    """As much of a map as a replay's checksum needs."""

    md5: str


# --- importing


def test_a_replay_becomes_a_score_as_if_it_had_been_submitted(world: World, song: Beatmap, alice: int) -> None:
    counts = Counts(45, 5, 0, 9, 4, 0)
    replay = a_replay(of=song, counts=counts, mods=HD, score=765_432, combo=50)

    report = import_(world, world.put_osr(replay))

    assert (report.scores, report.skipped) == (1, [])
    [row] = world.run(world.leaderboards.board(song.key, 0, limit=10))
    score = row.score
    assert (row.player_name, score.score, score.max_combo, score.mods) == ("alice", 765_432, 50, HD)
    assert (score.n300, score.n100, score.n50, score.ngeki, score.nkatu, score.nmiss) == (45, 5, 0, 9, 4, 0)
    assert (score.acc, score.grade, score.pp, score.status) == (93.333, "A", pp_of(45, 5), 2)
    assert (score.play_time_ms, score.time_elapsed) == (replay.played_at_ms, 16 * 14 + 17 * 13 + 18 * 13)
    assert world.stats(alice).pp == round(pp_of(45, 5) + 416.6667 * 0.005)
    assert world.problems() == []


def test_a_replay_of_half_a_map_is_a_failed_play(world: World, song: Beatmap, alice: int) -> None:
    import_(world, world.put_osr(a_replay(of=song, counts=Counts(20, 0, 0, 0, 0, 3), combo=20)))

    [(grade, passed, pp)] = world.look(select(scores.c.grade, scores.c.passed, scores.c.pp))
    assert (grade, passed, pp) == ("F", 0, 0.0)
    assert world.board(song) == []
    assert world.stats(alice).plays == 1


@pytest.mark.parametrize(("mods", "mode"), [(RX, 4), (NC | DT, 0)])
def test_mods_choose_the_mode(world: World, song: Beatmap, alice: int, mods: int, mode: int) -> None:
    import_(world, world.put_osr(a_replay(of=song, mods=mods)))

    assert world.look(select(scores.c.mode, scores.c.mods)) == [(mode, mods)]


def test_an_osu_map_may_be_played_in_another_mode(world: World, song: Beatmap, alice: int) -> None:
    import_(world, world.put_osr(a_replay(of=song, mode=3, counts=Counts(100, 5, 2, 300, 9, 1), combo=400)))

    assert world.look(select(scores.c.mode)) == [(3,)]


def test_a_folder_is_searched_for_replays(world: World, song: Beatmap, alice: int) -> None:
    (world.folder / "more").mkdir()
    for n, name in enumerate(("a.osr", "more/b.OSR", "more/c.txt")):
        world.put_osr(a_replay(of=song, seed=n, score=1_000 + n), name)

    report = import_(world, world.folder)

    assert (report.scores, report.skipped) == (2, [])


def test_a_time_in_the_future_or_before_1970_is_cut(world: World, song: Beatmap, alice: int) -> None:
    for n, at_ms in enumerate((NOW_MS + 86_400_000, -86_400_000)):
        import_(world, world.put_osr(a_replay(of=song, seed=n, score=n + 1, at_ms=at_ms)))

    assert world.look(select(scores.c.play_time_ms).order_by(scores.c.id)) == [(NOW_MS,), (0,)]


def test_a_play_of_a_restricted_player_is_stored_and_shown_to_nobody(world: World, song: Beatmap, alice: int) -> None:
    world.run(world.staff.restrict(OPERATOR, "alice", "because"))

    report = import_(world, world.put_osr(a_replay(of=song)))

    assert (report.scores, world.board(song), len(world.score_rows())) == (1, [], 1)
    assert world.problems() == []


# --- whose play it is


def test_a_play_of_nobody_here_is_refused_or_goes_to_the_given_user(world: World, song: Beatmap, alice: int) -> None:
    path = world.put_osr(a_replay(of=song, player="stranger"))

    check_refused(world, path, "its player 'stranger' has no account here")
    report = import_(world, path, user=world.user(alice))

    assert report.scores == 1
    assert world.look(select(scores.c.user_id)) == [(alice,)]


def test_a_play_of_another_account_is_never_given_away(world: World, song: Beatmap, alice: int) -> None:
    bob = world.add_player(a_player("bob"))
    path = world.put_osr(a_replay(of=song, player="Alice"))

    check_refused(world, path, "it was played by 'alice', who has an account of their own", user=world.user(bob))


def test_names_are_compared_by_their_safe_form(world: World, song: Beatmap) -> None:
    player = world.add_player(a_player("Some Player"))

    import_(world, world.put_osr(a_replay(of=song, player="some_player")))

    assert world.look(select(scores.c.user_id)) == [(player,)]


# --- what is refused


def test_the_untouched_replay_of_the_refused_ones_is_taken(world: World, song: Beatmap, alice: int) -> None:
    assert import_(world, world.put_osr(signed(a_replay(of=song)))).scores == 1


@pytest.mark.parametrize(
    "change",
    [{"score": 900_001}, {"max_combo": 51}, {"mods": HD}, {"player_name": "bob"}, {"replay_md5": "0" * 32}],
    ids=str,
)
def test_a_header_that_was_changed_is_refused(
    world: World, song: Beatmap, alice: int, change: dict[str, object]
) -> None:
    world.add_player(a_player("bob"))
    forged = msgspec.structs.replace(a_replay(of=song), **change)

    check_refused(world, world.put_osr(forged), "the header was changed: its checksum does not fit")


def test_a_play_of_an_unknown_map_is_refused(world: World, song: Beatmap, alice: int) -> None:
    path = world.put_osr(signed(a_replay(of=song), beatmap_md5="f" * 32))

    check_refused(world, path, f"its map {'f' * 32} is not known here")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"mods": EZ | HR}, "Easy with HardRock"),
        ({"mods": NC}, "Nightcore without DoubleTime"),
        ({"mods": TP, "target_accuracy": 0.5}, "its mods are not ranked"),
        ({"mods": V2}, "its mods are not ranked"),
        ({"mode": 1, "mods": SO}, "SO outside osu!"),
        ({"counts": Counts(0, 0, 0, 0, 0, 0)}, "nothing was hit"),
        ({"score": 0}, "nothing was hit"),
        ({"counts": Counts(51, 0, 0, 0, 0, 0)}, "it has 51 judgements, the map has 50 objects"),
        ({"max_combo": 51}, "its combo of 51 is above the map's 50"),
        ({"max_combo": 0}, "its combo is impossible"),
    ],
    ids=str,
)
def test_a_play_that_cannot_have_happened_is_refused(
    world: World, song: Beatmap, alice: int, change: dict[str, object], why: str
) -> None:
    check_refused(world, world.put_osr(signed(a_replay(of=song), **change)), why)


def test_a_map_of_another_mode_is_refused(world: World, alice: int) -> None:
    drums = world.add_map(a_map(mode=1))

    check_refused(world, world.put_osr(a_replay(of=drums)), "a map of mode 1 cannot be played in mode 0")


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        (b"", "the frames"),
        (b"hello", "the frames"),
        (frames()[:-8], "the frames are cut"),
        (frames()[:20] + b"\xff" + frames()[21:], "the frames"),
        (frames(count=1), "fewer than 2 frames"),
    ],
)
def test_damaged_frames_are_refused(world: World, song: Beatmap, alice: int, stream: bytes, why: str) -> None:
    check_refused(world, world.put_osr(a_replay(of=song, stream=stream)), why)


def test_a_file_cut_at_any_byte_is_refused(world: World, song: Beatmap, alice: int) -> None:
    whole = write_replay(a_replay(of=song, stream=frames(count=3)))
    folder = world.folder / "cut"
    folder.mkdir()
    for size in range(len(whole)):
        (folder / f"{size:03}.osr").write_bytes(whole[:size])

    report = import_(world, folder)

    assert (report.scores, len(report.skipped), world.score_rows()) == (0, len(whole), [])


def test_a_replay_that_is_stored_already_is_refused(world: World, song: Beatmap, alice: int) -> None:
    path = world.put_osr(a_replay(of=song))
    import_(world, path)

    check_refused(world, path, "this replay is stored already")


def test_the_frames_of_another_players_replay_are_refused(world: World, song: Beatmap, alice: int) -> None:
    world.add_player(a_player("bob"))
    import_(world, world.put_osr(a_replay(of=song)))

    check_refused(world, world.put_osr(a_replay(of=song, player="bob")), "this replay is stored already")


def test_a_map_whose_pp_cannot_be_computed_is_refused(world: World, song: Beatmap, alice: int) -> None:
    world.performance.cannot.add(song.md5)

    check_refused(world, world.put_osr(a_replay(of=song)), "its pp cannot be computed: the fake was told so")


def test_a_path_that_is_nothing_and_a_folder_without_replays_are_skipped(world: World, song: Beatmap) -> None:
    (world.folder / "empty").mkdir()

    report = import_(world, world.folder / "gone.osr", world.folder / "empty")

    assert [one.why for one in report.skipped] == ["there is no such file or folder", "the folder holds no .osr file"]



import asyncio
import hashlib
import lzma
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select, update
from tests.builders import NOW_MS, FakeResult, World, a_map, a_player, a_replay, frames, pp_of
from tests.osu.real_files import real_files

from kiai.accounts import User
from kiai.beatmaps import Beatmap, MapStatus
from kiai.errors import Refused
from kiai.osu.accuracy import HitCounts, judged
from kiai.osu.grades import grade
from kiai.osu.mods import DT, EZ, HD, HR, HT, NC, NF, PF, RX, SD, SO, TP, V2, Mods
from kiai.osu.replay_checksum import replay_md5
from kiai.osu.replay_file import ReplayFile, read_replay, write_replay
from kiai.scores.calculator import CalculatorPlay
from kiai.scores.flags import Flags
from kiai.scores.replay_import import NotedReplay, ReplayReport
from kiai.staff import OPERATOR
from kiai.storage.tables import integrity_flags, maps, outbox, replays, scores, stats


@pytest.fixture
def song(world: World) -> Beatmap:
    return world.add_map(a_map(objects=50))


@pytest.fixture
def alice(world: World) -> int:
    return world.add_player(a_player())


def import_(world: World, *paths: Path, user: User | None = None, strict: bool = False) -> ReplayReport:
    return world.run(world.replay_import.import_paths(paths, user=user, strict=strict))


def long(replay: ReplayFile, **changes: object) -> ReplayFile:
    """Return the replay with enough frames that it is not flagged."""
    return msgspec.structs.replace(replay, frames=frames(count=120), **changes)


def check_refused(world: World, path: Path, why: str, user: User | None = None, *, strict: bool = False) -> None:
    """Check that the file is skipped with this reason and changes nothing."""
    before = [world.look(select(table)) for table in (scores, replays, stats, outbox)]
    report = import_(world, path, user=user, strict=strict)
    assert report.scores == 0
    [skipped] = report.skipped
    assert skipped.path == str(path)
    assert why in skipped.why
    assert [world.look(select(table)) for table in (scores, replays, stats, outbox)] == before


def signed(replay: ReplayFile, **changes: object) -> ReplayFile:
    """Return the replay with another result and the right checksum for it."""
    changed = msgspec.structs.replace(replay, **changes)
    letter = grade(changed.counts, changed.mode, changed.mods, passed=True)
    return msgspec.structs.replace(changed, replay_md5=replay_md5(changed, letter))


# --- importing


def test_imported_replay_equals_a_submitted_score(world: World, song: Beatmap, alice: int) -> None:
    counts = HitCounts(45, 5, 0, 9, 4, 0)
    replay = a_replay(of=song, counts=counts, mods=HD, score=765_432, combo=50)

    report = import_(world, world.put_osr(replay))

    assert (report.scores, report.skipped) == (1, [])
    [row] = world.run(world.boards.best_on(song.key, 0, limit=10))
    score = row.score
    assert (row.player_name, score.score, score.max_combo, score.mods) == ("alice", 765_432, 50, HD)
    assert (score.n300, score.n100, score.n50, score.ngeki, score.nkatu, score.nmiss) == (45, 5, 0, 9, 4, 0)
    assert (score.acc, score.grade, score.pp, score.status) == (93.333, "A", pp_of(45, 5), 2)
    assert (score.play_time_ms, score.time_elapsed) == (replay.played_at_ms, 16 * 14 + 17 * 13 + 18 * 13)
    assert world.stats(alice).pp == round(pp_of(45, 5) + 416.6667 * 0.005)
    assert world.problems() == []


def test_replay_of_half_a_map_is_a_failed_play(world: World, song: Beatmap, alice: int) -> None:
    import_(world, world.put_osr(a_replay(of=song, counts=HitCounts(20, 0, 0, 0, 0, 3), combo=20)))

    [(grade, passed, pp)] = world.look(select(scores.c.grade, scores.c.passed, scores.c.pp))
    assert (grade, passed, pp) == ("F", 0, 0.0)
    assert world.board(song) == []
    assert world.stats(alice).plays == 1


@pytest.mark.parametrize(("mods", "mode"), [(RX, 4), (NC | DT, 0), (int(Mods.AP), 8)])
def test_mods_select_the_mode(world: World, song: Beatmap, alice: int, mods: int, mode: int) -> None:
    import_(world, world.put_osr(a_replay(of=song, mods=mods)))

    assert world.look(select(scores.c.mode, scores.c.mods)) == [(mode, mods)]


@pytest.mark.parametrize(("mods", "stored"), [(NC, NC | DT), (PF, PF | SD), (NC | PF | HD, NC | DT | PF | SD | HD)])
def test_mods_that_always_come_in_pairs_are_stored_in_pairs(
    world: World, song: Beatmap, alice: int, mods: int, stored: int
) -> None:
    import_(world, world.put_osr(a_replay(of=song, mods=mods)), strict=True)

    assert world.look(select(scores.c.mods)) == [(stored,)]


def test_an_osu_map_may_be_played_in_another_mode(world: World, song: Beatmap, alice: int) -> None:
    import_(world, world.put_osr(a_replay(of=song, mode=3, counts=HitCounts(100, 5, 2, 300, 9, 1), combo=400)))

    assert world.look(select(scores.c.mode)) == [(3,)]


def test_a_folder_is_searched_for_replays(world: World, song: Beatmap, alice: int) -> None:
    (world.folder / "more").mkdir()
    for n, name in enumerate(("a.osr", "more/b.OSR", "more/c.txt")):
        world.put_osr(a_replay(of=song, seed=n, score=1_000 + n), name)

    report = import_(world, world.folder)

    assert (report.scores, report.skipped) == (2, [])


def test_time_in_the_future_or_before_1970_is_clamped(world: World, song: Beatmap, alice: int) -> None:
    for n, at_ms in enumerate((NOW_MS + 86_400_000, -86_400_000)):
        import_(world, world.put_osr(a_replay(of=song, seed=n, score=n + 1, at_ms=at_ms)))

    assert world.look(select(scores.c.play_time_ms).order_by(scores.c.id)) == [(NOW_MS,), (0,)]


def test_play_of_a_restricted_player_is_stored_and_not_public(world: World, song: Beatmap, alice: int) -> None:
    world.run(world.restrictions.restrict(OPERATOR, "alice", "because"))

    report = import_(world, world.put_osr(a_replay(of=song)))

    assert (report.scores, world.board(song), len(world.score_rows())) == (1, [], 1)
    assert world.problems() == []


# --- the player


def test_play_of_an_unknown_name_is_refused_or_goes_to_the_given_user(world: World, song: Beatmap, alice: int) -> None:
    path = world.put_osr(a_replay(of=song, player="stranger"))

    check_refused(world, path, "its player 'stranger' has no account here")
    report = import_(world, path, user=world.user(alice))

    assert report.scores == 1
    assert world.look(select(scores.c.user_id)) == [(alice,)]


def test_play_of_another_account_cannot_go_to_the_given_user(world: World, song: Beatmap, alice: int) -> None:
    bob = world.add_player(a_player("bob"))
    path = world.put_osr(a_replay(of=song, player="Alice"))

    check_refused(world, path, "it was played by 'alice', who has an account of their own", user=world.user(bob))


def test_names_are_compared_by_their_safe_form(world: World, song: Beatmap) -> None:
    player = world.add_player(a_player("Some Player"))

    import_(world, world.put_osr(a_replay(of=song, player="some_player")))

    assert world.look(select(scores.c.user_id)) == [(player,)]


def test_replay_of_the_bot_is_refused(world: World, song: Beatmap, alice: int) -> None:
    bot = world.user(1)

    check_refused(world, world.put_osr(a_replay(of=song, player=bot.name)), "is the bot, which cannot have scores")
    check_refused(world, world.put_osr(a_replay(of=song, player="?")), "is the bot, which cannot have scores", user=bot)


@pytest.mark.parametrize("name", ["", "al\0ice", "\x1b[31m", "Jörg", "なまえ", "%", "_____", "a" * 1024], ids=ascii)
def test_any_unknown_name_is_refused_with_a_reason(world: World, song: Beatmap, alice: int, name: str) -> None:
    path = world.put_osr(a_replay(of=song, player=name))

    check_refused(world, path, f"its player {name!r} has no account here")
    assert import_(world, path, user=world.user(alice)).scores == 1


# --- refused and flagged replays


def test_unchanged_replay_is_imported(world: World, song: Beatmap, alice: int) -> None:
    assert import_(world, world.put_osr(signed(a_replay(of=song)))).scores == 1


def test_unknown_form_of_checksum_is_flagged(world: World, song: Beatmap, alice: int) -> None:
    path = world.put_osr(long(a_replay(of=song), replay_md5="5f9eb392cae42fb79965eefa3532f250"))

    report = import_(world, path)

    why = "replay checksum: unknown form"
    assert (report.scores, report.skipped, report.doubts) == (1, [], [NotedReplay(str(path), why)])
    assert report.checksums == {"unknown": 1}
    [(checksum,)] = world.look(select(scores.c.checksum))
    [flag] = world.run(Flags(world.database, world.clock).page(user_id=alice, limit=10))
    assert (flag.kind, flag.details, flag.checksum) == ("replay checksum", "unknown form", checksum)
    assert len(world.board(song)) == 1
    assert world.problems() == []


@pytest.mark.parametrize(
    "change",
    [{"score": 900_001}, {"max_combo": 51}, {"mods": HD}, {"player_name": "bob"}, {"replay_md5": "0" * 32}],
    ids=str,
)
def test_changed_header_is_flagged_and_refused_with_strict(
    world: World, song: Beatmap, alice: int, change: dict[str, object]
) -> None:
    world.add_player(a_player("bob"))
    path = world.put_osr(long(a_replay(of=song), **change))

    check_refused(world, path, "its checksum has an unknown form", strict=True)
    report = import_(world, path)

    assert report.scores == 1
    assert "replay checksum" in report.doubts[0].why


@pytest.mark.parametrize("form", ["server", "site", "lazer"])
def test_known_form_of_checksum_is_not_flagged(world: World, song: Beatmap, alice: int, form: str) -> None:
    replay = long(a_replay(of=song))
    text = {"site": f"50osualice{song.md5}900000A", "lazer": "lazer-alice-11/13/2023 23:13:20 +01:00"}.get(form)
    if text is not None:
        replay = msgspec.structs.replace(replay, replay_md5=hashlib.md5(text.encode()).hexdigest())

    report = import_(world, world.put_osr(replay), strict=True)

    assert (report.scores, report.skipped, report.doubts, report.checksums) == (1, [], [], {form: 1})
    assert world.look(select(integrity_flags)) == []


@pytest.mark.parametrize("claimed", ["", "0", "no checksum", "d41d8cd98f00b204e9800998ecf8427e"])
def test_files_that_share_an_uncertain_checksum_are_different_plays(
    world: World, song: Beatmap, alice: int, claimed: str
) -> None:
    for seed in (1, 2):
        replay = a_replay(of=song, seed=seed, score=1_000 + seed)
        world.put_osr(msgspec.structs.replace(replay, replay_md5=claimed), f"{seed}.osr")

    assert import_(world, world.folder).scores == 2


def test_a_play_of_an_unknown_map_is_refused(world: World, song: Beatmap, alice: int) -> None:
    path = world.put_osr(signed(a_replay(of=song), beatmap_md5="f" * 32))

    check_refused(world, path, f"its map {'f' * 32} is not known here")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"mods": EZ | HR}, "Easy with HardRock"),
        ({"mods": int(Mods.AU)}, "its mods are impossible: Autoplay"),
        ({"mods": int(Mods.CN)}, "its mods are impossible: Cinema"),
        ({"mods": HT | NC}, "HalfTime with DoubleTime"),
        ({"mods": int(Mods.MR)}, "MR outside mania"),
        ({"mods": TP, "target_accuracy": 0.5}, "its mods are not ranked: TP"),
        ({"mods": V2 | HD}, "its mods are not ranked: HDV2"),
        ({"mode": 1, "mods": SO}, "SO outside osu!"),
        ({"counts": HitCounts(0, 0, 0, 0, 0, 0)}, "nothing was hit"),
        ({"score": 0}, "nothing was hit"),
        ({"counts": HitCounts(51, 0, 0, 0, 0, 0)}, "it has 51 judgements, the map has 50 objects"),
        ({"max_combo": 0}, "its combo is impossible"),
    ],
    ids=str,
)
def test_impossible_play_is_refused(
    world: World, song: Beatmap, alice: int, change: dict[str, object], why: str
) -> None:
    check_refused(world, world.put_osr(signed(a_replay(of=song), **change)), why)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"max_combo": 51}, "combo: 51 on a map of 50"),
        ({"perfect": True, "counts": HitCounts(49, 0, 0, 0, 0, 1)}, "combo: perfect with 1 misses"),
        ({"mods": RX | NF}, "mods: No Fail with Relax or Autopilot"),
        ({"frames": frames(count=99)}, "replay: only 99 frames"),
    ],
    ids=str,
)
def test_suspicious_play_is_imported_with_a_flag(
    world: World, song: Beatmap, alice: int, change: dict[str, object], why: str
) -> None:
    report = import_(world, world.put_osr(signed(long(a_replay(of=song)), **change)), strict=True)

    assert (report.scores, [doubt.why for doubt in report.doubts]) == (1, [why])
    kind, _, details = why.partition(": ")
    assert world.look(select(integrity_flags.c.kind, integrity_flags.c.details)) == [(kind, details)]


def test_report_has_all_flags_of_a_file(world: World, song: Beatmap, alice: int) -> None:
    replay = a_replay(of=song, mods=RX | NF)

    report = import_(world, world.put_osr(msgspec.structs.replace(replay, replay_md5="")))

    assert [doubt.why for doubt in report.doubts] == [
        "replay checksum: unknown form; mods: No Fail with Relax or Autopilot; replay: only 40 frames"
    ]


def test_a_map_of_another_mode_is_refused(world: World, alice: int) -> None:
    drums = world.add_map(a_map(mode=1))

    check_refused(world, world.put_osr(a_replay(of=drums)), "a map of mode 1 cannot be played in mode 0")


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        (b"", "it has no frames"),
        (b"hello", "the frames"),
        (frames()[:-8], "the LZMA stream is truncated"),
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


def test_missing_path_and_folder_without_replays_are_skipped(world: World, song: Beatmap) -> None:
    (world.folder / "empty").mkdir()

    report = import_(world, world.folder / "gone.osr", world.folder / "empty")

    assert [one.why for one in report.skipped] == ["there is no such file or folder", "the folder has no .osr file"]


# --- one play, one score


def test_two_concurrent_imports_of_a_file_make_one_score(world: World, song: Beatmap, alice: int) -> None:
    data = write_replay(long(a_replay(of=song)))

    async def at_once() -> list[int | BaseException]:
        return await asyncio.gather(*(world.replay_import.import_one(data) for _ in range(4)), return_exceptions=True)

    answers = world.run(at_once())

    stored = [answer for answer in answers if isinstance(answer, int)]
    assert [(row[0],) for row in world.score_rows()] == [(one,) for one in stored]
    assert len(stored) == 1
    refused = [answer for answer in answers if isinstance(answer, Refused)]
    assert [str(one) for one in refused] == ["this replay is stored already"] * 3
    assert world.stats(alice).plays == 1
    assert world.problems() == []


def test_file_with_several_names_is_stored_once(world: World, song: Beatmap, alice: int) -> None:
    for n in range(20):
        world.put_osr(a_replay(of=song), f"{n}.osr")

    report = import_(world, world.folder)

    assert (report.scores, len(report.skipped), len(world.score_rows())) == (1, 19, 1)
    assert {skipped.why for skipped in report.skipped} == {"this replay is stored already"}


@pytest.mark.parametrize("claimed", [None, "", "5f9eb392cae42fb79965eefa3532f250"])
def test_recompressed_replay_is_the_same_play(world: World, song: Beatmap, alice: int, claimed: str | None) -> None:
    replay = a_replay(of=song)
    if claimed is not None:
        replay = msgspec.structs.replace(replay, replay_md5=claimed)
    content = lzma.decompress(replay.frames)
    anew = msgspec.structs.replace(replay, frames=lzma.compress(content, lzma.FORMAT_ALONE, preset=0))
    import_(world, world.put_osr(replay))

    assert anew.frames != replay.frames
    check_refused(world, world.put_osr(anew), "this replay is stored already")


def test_files_are_recorded_in_the_order_of_their_names(world: World, song: Beatmap, alice: int) -> None:
    for n in range(30):
        world.put_osr(a_replay(of=song, seed=n, score=1_000 + n), f"{n:02}.osr")
    seen: list[tuple[int, int]] = []

    world.run(world.replay_import.import_paths([world.folder], progress=lambda done, total: seen.append((done, total))))

    assert world.look(select(scores.c.score).order_by(scores.c.id)) == [(1_000 + n,) for n in range(30)]
    assert seen == [(n, 30) for n in range(31)]


# --- files of other programs


def test_md5s_may_be_in_upper_case(world: World, song: Beatmap, alice: int) -> None:
    replay = long(a_replay(of=song), replay_md5=a_replay(of=song).replay_md5.upper())
    other = a_replay(of=song, seed=2, score=5)

    report = import_(
        world, world.put_osr(replay, "1.osr"), world.put_osr(signed(other, beatmap_md5=song.md5.upper()), "2.osr")
    )

    assert (report.scores, report.checksums) == (2, {"server": 2})


@pytest.mark.parametrize(
    ("bar", "stored"),
    [
        ("", ""),
        ("0|1,2100|0.95,4200|1,", "0|1,2100|0.95,4200|1,"),
        ("-5|1,7|1E-05", "-5|1,7|1E-05"),
        ("0|1\0", ""),
        ("<b>", ""),
    ],
)
def test_life_bar_is_stored_if_it_is_valid(world: World, song: Beatmap, alice: int, bar: str, stored: str) -> None:
    report = import_(world, world.put_osr(msgspec.structs.replace(a_replay(of=song), life_bar=bar)))

    assert (report.scores, world.look(select(replays.c.life_bar))) == (1, [(stored,)])


@pytest.mark.parametrize("version", [-5, 0, 1, 20070101, 20121007, 20121008, 20140720, 20140721, 20260711, 2**31 - 1])
def test_any_version_of_stable_is_imported(world: World, song: Beatmap, alice: int, version: int) -> None:
    replay = long(a_replay(of=song), game_version=min(version, 29_999_999))

    report = import_(world, world.put_osr(replay))

    assert (report.scores, report.doubts) == (1, [])


FILES = Path(__file__).parents[1] / "osu" / "files"


@pytest.fixture
def clerk(world: World) -> User:
    """A user for the plays. The map of the plays is imported, too."""
    report = world.run(world.importer.import_paths([FILES / "replayed.osu"], status=MapStatus.RANKED))
    assert report.skipped == []
    return world.user(world.add_player(a_player("clerk")))


def test_a_download_from_the_osu_site_is_imported(world: World, clerk: User) -> None:
    report = import_(world, FILES / "site.osr", user=clerk, strict=True)

    assert (report.scores, report.skipped, report.doubts, report.checksums) == (1, [], [], {"site": 1})
    assert world.look(select(scores.c.score, scores.c.passed)) == [(50_001, 1)]


def test_an_export_of_lazer_is_imported(world: World, clerk: User) -> None:
    report = import_(world, FILES / "lazer.osr", user=clerk)

    assert (report.scores, report.skipped) == (1, [])
    assert [doubt.why for doubt in report.doubts] == ["replay checksum: unknown form"]
    stored = world.look(select(scores.c.score, scores.c.n300, scores.c.n100, scores.c.client_version))
    assert stored == [(5_652, 18, 2, 30_000_016)]


# --- plays of lazer


def lazer_replay(song: Beatmap, block: object = None, **changes: object) -> ReplayFile:
    """Return a replay as lazer exports it, with this block."""
    stamp = hashlib.md5(b"lazer-alice-11/13/2023 22:13:20 +00:00").hexdigest()
    replay = long(a_replay(of=song, score=500_000), game_version=30_000_016, replay_md5=stamp)
    block = {"mods": [{"acronym": "CL"}], "maximum_statistics": {"great": song.objects}} if block is None else block
    block = block if isinstance(block, bytes) else lzma.compress(msgspec.json.encode(block), lzma.FORMAT_ALONE)
    return msgspec.structs.replace(replay, lazer_block=block, **changes)


def test_lazer_score_is_stored_in_classic_points(world: World, song: Beatmap, alice: int) -> None:
    report = import_(world, world.put_osr(lazer_replay(song)), strict=True)

    assert (report.scores, report.doubts, report.checksums) == (1, [], {"lazer": 1})
    assert world.look(select(scores.c.score, scores.c.client_version)) == [(90_712, 30_000_016)]
    assert world.problems() == []


@pytest.mark.parametrize("by_lazer", [False, True])
def test_pp_of_a_lazer_play_does_not_depend_on_its_total_score(
    world: World, song: Beatmap, alice: int, by_lazer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    legacy_scores: list[int | None] = []
    plays = world.performance.plays

    def recording_plays(md5: str, mode: int, requested: list[CalculatorPlay]) -> Coroutine[Any, Any, list[FakeResult]]:
        legacy_scores.extend(play.legacy_score for play in requested)
        return plays(md5, mode, requested)

    monkeypatch.setattr(world.performance, "plays", recording_plays)

    import_(world, world.put_osr(lazer_replay(song) if by_lazer else a_replay(of=song, score=7_000)))

    assert legacy_scores == [None if by_lazer else 7_000]


@pytest.mark.parametrize("mods", [[{"acronym": "HD"}], [{"acronym": "DC"}], [], [{"acronym": "SD"}]])
def test_different_mods_in_lazer_block_and_header_are_flagged(
    world: World, song: Beatmap, alice: int, mods: list[dict[str, str]]
) -> None:
    report = import_(world, world.put_osr(lazer_replay(song, {"mods": mods}, mods=HR)))

    assert report.scores == 1
    assert "HR in the header" in report.doubts[0].why


@pytest.mark.parametrize(
    ("mods", "bits"),
    [(["HD", "DT"], HD | DT), (["NC"], NC | DT), (["NC"], NC), (["PF"], PF | SD), (["DC"], HT), (["CL"], 0)],
)
def test_equal_mods_in_lazer_block_and_header_are_not_flagged(
    world: World, song: Beatmap, alice: int, mods: list[str], bits: int
) -> None:
    block = {"mods": [{"acronym": one} for one in mods]}

    report = import_(world, world.put_osr(lazer_replay(song, block, mods=bits)))

    assert (report.scores, report.doubts) == (1, [])


def test_lazer_file_without_its_block_is_flagged(world: World, song: Beatmap, alice: int) -> None:
    report = import_(world, world.put_osr(lazer_replay(song, b"")))

    assert (report.scores, [doubt.why for doubt in report.doubts]) == (
        1,
        ["lazer: the block that names lazer's mods is missing"],
    )


def test_first_lazer_version_has_no_block_and_is_not_flagged(world: World, song: Beatmap, alice: int) -> None:
    report = import_(world, world.put_osr(lazer_replay(song, b"", game_version=30_000_000)))

    assert (report.scores, report.doubts) == (1, [])


def test_play_that_failed_in_lazer_is_a_failed_play(world: World, song: Beatmap, alice: int) -> None:
    import_(world, world.put_osr(lazer_replay(song, {"rank": "F"})))

    assert world.look(select(scores.c.passed, scores.c.grade, scores.c.pp)) == [(0, "F", 0.0)]


@pytest.mark.parametrize(
    ("block", "change", "why"),
    [
        ({"mods": [{"acronym": "BL"}]}, {}, "it was played in lazer: its mod BL exists in lazer only"),
        ({"mods": [{"acronym": "DT", "settings": {"speed_change": 1.3}}]}, {"mods": DT}, "played in lazer: its mod DT"),
        ({"mods": [{"acronym": "MR"}]}, {}, "played in lazer: its mod MR exists in lazer only"),
        ({}, {"score": 4_000_001}, "played in lazer, and its score cannot be turned into a classic one"),
        ({}, {"mode": 2, "counts": HitCounts(40, 5, 9, 0, 3, 1)}, "played in lazer, and its score cannot be turned"),
        (b"hello", {}, "not a replay: lazer's block cannot be decompressed"),
        ({"mods": 5}, {}, "not a replay: lazer's block cannot be read"),
    ],
    ids=str,
)
def test_lazer_play_that_stable_cannot_represent_is_refused(
    world: World, song: Beatmap, alice: int, block: object, change: dict[str, object], why: str
) -> None:
    check_refused(world, world.put_osr(lazer_replay(song, block, **change)), why)


def test_real_replays_of_known_maps_and_players_are_imported(world: World, alice: int) -> None:
    for n, path in enumerate(real_files("replays", ".osr"), 1):
        replay = read_replay(path.read_bytes())
        stand_in = world.add_map(a_map(n, objects=judged(replay.counts, 0), mode=replay.mode))
        if (replay.beatmap_md5,) not in world.look(select(maps.c.md5)):
            world.change(update(maps).where(maps.c.key == stand_in.key).values(md5=replay.beatmap_md5))

        report = import_(world, path, user=world.user(alice))

        # Two of the files are the same play: the download from the site, and a copy with an id of 32 bits.
        assert report.scores == 1 or "stored already" in report.skipped[0].why
        assert all("replay checksum" in doubt.why or "combo" in doubt.why for doubt in report.doubts)

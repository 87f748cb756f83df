"""The sample world: plays are valid for their maps, rows are consistent, and equal seeds give equal rows."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from random import Random
from typing import Final

import msgspec
import pytest
from tests import engines
from tests.builders import a_play

from kiai.app import Services, open_services
from kiai.beatmaps.model import Beatmap
from kiai.demo import DemoReport, build, loading
from kiai.demo.blocks import rows_in
from kiai.demo.composing import compose_map
from kiai.demo.player_rows import Row
from kiai.demo.plays import EPOCH_MS, SPAN_MS, PlayableMap, PlaysComposer, compose_player, compose_plays
from kiai.demo.replaying import compose_frames
from kiai.errors import Refused
from kiai.osu.accuracy import HitCounts, accuracy, judged
from kiai.osu.beatmap_file import parse_beatmap
from kiai.osu.grades import grade
from kiai.osu.modes import mode_of
from kiai.osu.mods import DT, EZ, HR, clock_rate, refused_mods, unranked_mods
from kiai.osu.replay_analysis import analyse
from kiai.osu.replay_evidence import measure
from kiai.osu.replay_file import check_frames
from kiai.scores import statements
from kiai.scores.evidence import Thresholds
from kiai.scores.evidence.rules import signs_of_replay
from kiai.scores.model import Play
from kiai.settings import load_settings
from kiai.storage.dumping import SQLITE_FILE

PLAYERS = 10
MAPS = 5
SCORES = 400


def playable(index: int) -> PlayableMap:
    composed = compose_map(1, index)
    file = parse_beatmap(composed.osu)
    beatmap = Beatmap(
        key=index + 1,
        id=composed.id,
        set_id=composed.set_id,
        md5=file.md5,
        current=1,
        status=2,
        frozen=0,
        mode=file.mode,
        artist=file.artist,
        title=file.title,
        version=file.version,
        creator=file.creator,
        filename=composed.name,
        last_update_ms=0,
        total_length=file.total_length_s,
        hit_length=file.hit_length_s,
        max_combo=composed.judged - composed.tiny_droplets,
        objects=file.objects,
        bpm=file.bpm,
        cs=file.cs,
        od=file.od,
        ar=file.ar,
        hp=file.hp,
        diff=1.5 + index % 4,
        plays=0,
        passes=0,
    )
    return PlayableMap(beatmap, composed.judged, composed.tiny_droplets)


def plays_in_order(seed: int, count: int) -> list[Play]:
    """Return the plays of 30 players, with ids from 3, in order of time."""
    rng = Random(seed)
    players = [(user_id, compose_player(rng)) for user_id in range(3, 33)]
    return list(compose_plays(seed, players, [playable(index) for index in range(20)], count))


def plays_by_player(seed: int, count: int) -> list[Play]:
    """Return the plays of 30 players, with ids from 3, one player after another."""
    rng = Random(seed)
    composer = PlaysComposer(seed, 30, [playable(index) for index in range(20)], count)
    return [play for index in range(30) for play in composer.plays_of(index, 3 + index, compose_player(rng))]


Composing = Callable[[int, int], list[Play]]


@pytest.fixture(scope="module", params=[plays_in_order, plays_by_player])
def plays_of(request: pytest.FixtureRequest) -> Composing:
    """The two ways to compose plays, from a seed and their number."""
    way: Composing = request.param
    return way


@pytest.fixture(scope="module")
def plays(plays_of: Composing) -> list[Play]:
    return plays_of(1, 5_000)


def test_equal_seeds_give_equal_plays(plays: list[Play], plays_of: Composing) -> None:
    assert plays_of(1, 5_000) == plays
    assert plays_of(2, 10) != plays[:10]


def test_pass_has_all_judgements_of_the_map_and_fail_has_fewer(plays: list[Play]) -> None:
    whole = {one.beatmap.key: one.judged for one in map(playable, range(20))}

    for play in plays:
        total = judged(play.counts, play.beatmap.mode)
        if play.passed:
            assert total == whole[play.beatmap.key], play
        else:
            assert 0 < total < whole[play.beatmap.key], play
            assert play.counts.nmiss > 0, play


def test_combo_is_possible_for_map_and_misses(plays: list[Play]) -> None:
    for play in plays:
        assert 0 < play.max_combo <= play.beatmap.max_combo - play.counts.nmiss, play
        assert play.perfect == (play.passed and play.max_combo == play.beatmap.max_combo), play


def test_mods_mode_accuracy_and_grade_are_valid(plays: list[Play]) -> None:
    for play in plays:
        vanilla_mode = play.beatmap.mode
        assert refused_mods(play.mods, vanilla_mode) is None
        assert not unranked_mods(play.mods)
        assert play.mode == mode_of(vanilla_mode, play.mods)
        assert play.acc == accuracy(play.counts, vanilla_mode, play.mods)
        assert play.grade == grade(play.counts, vanilla_mode, play.mods, passed=play.passed)


def test_every_mode_has_plays_and_about_80_percent_pass(plays: list[Play]) -> None:
    assert {play.mode for play in plays} == {0, 1, 2, 3, 4, 5, 6, 8}
    assert 0.7 < sum(play.passed for play in plays) / len(plays) < 0.9


def test_plays_of_each_player_are_in_order_of_time_within_the_period(plays: list[Play]) -> None:
    assert len(plays) == 5_000
    for user_id in range(3, 33):
        own = [play for play in plays if play.user_id == user_id]
        times = [play.play_time_ms for play in own]

        assert own, user_id
        assert times == sorted(times)
        assert EPOCH_MS - SPAN_MS <= times[0] <= times[-1] < EPOCH_MS


def test_play_is_not_longer_than_its_map(plays: list[Play]) -> None:
    for play in plays:
        assert 0 < play.time_elapsed <= 1_000 * play.beatmap.total_length / clock_rate(play.mods), play


def test_scores_fit_32_bits_and_checksums_are_unique(plays: list[Play]) -> None:
    assert all(0 < play.score < 2**31 for play in plays)
    assert len({play.checksum for play in plays}) == len(plays)


def a_play_on(index: int, misses: int) -> tuple[Play, bytes]:
    on = playable(index)
    counts = HitCounts(on.beatmap.objects - 2 - misses, 2, 0, 0, 0, misses)
    return a_play(by=3, on=on.beatmap, counts=counts, checksum=b"%016d" % index), compose_map(1, index).osu


@pytest.mark.parametrize("mode", [0, 1, 3])
def test_replays_show_the_misses_of_their_plays(mode: int) -> None:
    indices = [index for index in range(60) if compose_map(1, index).mode == mode][:6]
    misses = hits = 0
    for index in indices:
        play, osu = a_play_on(index, misses=2)

        found = analyse(osu, compose_frames(play, osu), mode=mode, mods=0, life_bar="")

        assert found.errors is not None
        assert found.map_end_ms is not None
        assert found.end_ms > found.map_end_ms
        misses += found.errors.misses
        hits += found.errors.hits
    assert 2 * len(indices) <= misses <= 3 * len(indices), (misses, hits)
    assert hits > 20 * misses


def test_frames_of_catch_are_valid() -> None:
    play, osu = a_play_on(next(index for index in range(60) if compose_map(1, index).mode == 2), misses=0)

    assert check_frames(compose_frames(play, osu)).frames >= 100


@pytest.mark.parametrize("mods", [0, DT, DT | HR, EZ])
def test_honest_plays_of_the_world_have_no_signs_of_cheating(mods: int) -> None:
    """Also with Double Time, at which a frame of 16 ms covers 24 ms of the map."""
    kinds = []
    for index in [index for index in range(40) if compose_map(1, index).mode == 0][:6]:
        play, osu = a_play_on(index, misses=2)
        play = msgspec.structs.replace(play, mods=mods)

        figures = measure(osu, compose_frames(play, osu), mode=0, mods=mods, known=[])

        assert figures.frames == 0 or figures.frametime_ms >= 15
        kinds += [sign.kind for sign in signs_of_replay(figures, Thresholds())]
    assert kinds == []


# --- the world on a database


def build_world(
    folder: Path, work: Callable[[Services], Awaitable[None]] | None = None, *, seed: int = 1
) -> DemoReport:
    """Build a small world in `folder` and call `work` with its services."""

    async def main() -> DemoReport:
        async with open_services(load_settings(data=folder)) as services:
            report = await build(services, players=PLAYERS, maps=MAPS, scores=SCORES, seed=seed)
            if work is not None:
                await work(services)
            return report

    return asyncio.run(main())


def rows(folder: Path, table: str, columns: str) -> list[tuple[object, ...]]:
    return read(folder, f"SELECT {columns} FROM {table} ORDER BY 1, 2")


def read(folder: Path, sql: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(folder / SQLITE_FILE)) as connection:
        return connection.execute(sql).fetchall()


ROWS: Final = {
    "users": "id, name, email, priv, country, created_at_ms, clan_id, clan_priv",
    "clans": "id, name, tag, owner_id",
    "relationships": "user_id, target_id, kind",
    "maps": "key, id, md5, status, plays, passes, diff, last_update_ms",
    "catalogue": "set_id, ranked_at_ms, updated_ms",
    "scores": "*",
    "replays": "score_id, md5, size",
    "stats": "*",
    "play_counts": "*",
    "month_plays": "*",
    "first_places": "*",
}
"""Columns of the tables that a world fills, without the times of its creation."""


def world_of(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return the rows of all tables of `ROWS`."""
    return {table: rows(folder, table, columns) for table, columns in ROWS.items()}


def test_world_has_the_requested_size_and_passes_the_doctor(tmp_path: Path) -> None:
    async def work(services: Services) -> None:
        found = await services.community.doctor.examine()
        stored = await services.database.all(statements.rebuilding.STATS_BETWEEN, first=0, last=2**31 - 1)
        recounted = await services.rebuilder.recount(services.database, 0, 2**31 - 1)

        assert found.problems == []
        assert stored == recounted
        assert sum(one.plays for one in stored) == SCORES
        assert any(one.pp > 0 for one in stored)
        assert await services.accounts.total() == PLAYERS

    report = build_world(tmp_path, work)

    assert (report.players, report.maps, report.scores) == (PLAYERS, MAPS, SCORES)
    assert report.replays == len(rows(tmp_path, "replays", "score_id, md5")) > 0


def test_equal_seeds_give_equal_rows(tmp_path: Path) -> None:
    build_world(tmp_path / "one")
    build_world(tmp_path / "two")

    assert world_of(tmp_path / "one") == world_of(tmp_path / "two")


def test_sets_were_ranked_at_different_times_before_the_first_play(tmp_path: Path) -> None:
    build_world(tmp_path)

    dates = [int(str(at)) for _, at in read(tmp_path, "SELECT set_id, ranked_at_ms FROM catalogue") if at]
    assert len(set(dates)) == len(dates) > 1
    assert 0 < min(dates) < max(dates) < EPOCH_MS - SPAN_MS


@pytest.fixture(params=[True, False], ids=["in order", "by player"])
def composing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A world is composed in order of time, as small ones are, or player by player."""
    if not request.param:
        monkeypatch.setattr(loading, "IN_ORDER_MAX", 0)


@pytest.mark.usefixtures("composing")
def test_rebuild_of_all_rows_changes_none(tmp_path: Path) -> None:
    found = {}

    async def work(services: Services) -> None:
        found["before"] = world_of(tmp_path)
        await services.rebuilder.everything()

    build_world(tmp_path, work)

    assert world_of(tmp_path) == found["before"]
    assert len(found["before"]["play_counts"]) > PLAYERS
    assert any(found["before"]["first_places"])


@pytest.mark.usefixtures("composing")
def test_processes_compose_the_same_world_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_world(tmp_path / "one")
    monkeypatch.setattr(loading, "PLAYS_OF_BLOCK", SCORES // 5)
    monkeypatch.setattr(loading, "ROWS_OF_PART", SCORES // 7)

    build_world(tmp_path / "two")

    assert world_of(tmp_path / "one") == world_of(tmp_path / "two")


def test_world_on_postgresql_passes_the_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "IN_ORDER_MAX", 0)
    monkeypatch.setattr(loading, "ROWS_OF_PART", SCORES // 3)

    async def main(url: str) -> None:
        async with open_services(load_settings(data=tmp_path, database=url)) as services:
            report = await build(services, players=PLAYERS, maps=MAPS, scores=SCORES, seed=1)
            found = await services.community.doctor.examine()

            assert found.problems == []
            assert (report.scores, report.replays > 0) == (SCORES, True)

    with engines.fresh("postgresql", tmp_path) as url:
        asyncio.run(main(url))


@pytest.mark.usefixtures("composing")
def test_ids_are_in_order_of_time(tmp_path: Path) -> None:
    build_world(tmp_path)

    by_id = read(tmp_path, "SELECT id FROM scores ORDER BY id")

    assert read(tmp_path, "SELECT id FROM scores ORDER BY play_time_ms, id") == by_id


INDEXES: Final = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'scores' ORDER BY name"


def test_indexes_are_as_before_also_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(folder: Path) -> None:
        async with open_services(load_settings(data=folder)) as services:
            before = read(folder, INDEXES)
            await build(services, players=2, maps=1, scores=20, seed=1)
            assert read(folder, INDEXES) == before

    asyncio.run(main(tmp_path / "complete"))
    indexes = read(tmp_path / "complete", INDEXES)
    assert len(indexes) > 20

    def fail(part: Path) -> Iterator[Row]:
        yield next(rows_in(part))
        raise OSError("no space left on device")

    monkeypatch.setattr(loading, "rows_in", fail)
    with pytest.raises(OSError, match="no space left"):
        asyncio.run(main(tmp_path / "failed"))

    assert read(tmp_path / "failed", INDEXES) == indexes
    assert read(tmp_path / "failed", "SELECT count(*) FROM scores") == [(0,)]


def test_world_is_refused_if_there_are_accounts(tmp_path: Path) -> None:
    async def work(services: Services) -> None:
        with pytest.raises(Refused, match="contains 10 accounts; `kiai demo` needs an empty data folder"):
            await build(services, players=1, maps=1, scores=1, seed=1)

    build_world(tmp_path, work)


def test_progress_increases_up_to_the_total(tmp_path: Path) -> None:
    reported: list[tuple[int, int]] = []

    async def main() -> None:
        async with open_services(load_settings(data=tmp_path)) as services:
            await build(
                services,
                players=2,
                maps=1,
                scores=20,
                seed=3,
                progress=lambda done, total: reported.append((done, total)),
            )

    asyncio.run(main())

    assert reported == sorted(reported)
    assert reported[-1] == (63, 63)


def test_larger_world_has_restricted_players_clans_and_pools(tmp_path: Path) -> None:
    async def main() -> DemoReport:
        async with open_services(load_settings(data=tmp_path)) as services:
            return await build(services, players=50, maps=20, scores=100, seed=1)

    report = asyncio.run(main())

    privileges = [priv for (priv, _) in rows(tmp_path, "users", "priv, id") if priv != 1]
    assert privileges.count(2) == 1
    assert set(privileges) <= {2, 3, 3 | 16}
    assert report.clans == 2 == len(rows(tmp_path, "clans", "id, name"))
    assert len(rows(tmp_path, "pools", "id, name")) == 1
    assert len(rows(tmp_path, "pool_picks", "mods, slot")) >= 8

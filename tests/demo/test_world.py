"""The made-up world: plays fit their maps, the rows agree with each other, the same seed gives the same rows."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import pytest

from kiai.app import Services, open_services
from kiai.beatmaps.model import Beatmap
from kiai.demo import DemoReport, build
from kiai.demo.composing import compose_map
from kiai.demo.plays import EPOCH_MS, SPAN_MS, PlayableMap, compose_player, compose_plays
from kiai.demo.world import compose_frames
from kiai.errors import Refused
from kiai.osu.accuracy import accuracy, judged
from kiai.osu.beatmap_file import parse_beatmap
from kiai.osu.grades import grade
from kiai.osu.modes import mode_of
from kiai.osu.mods import clock_rate, refused_mods, unranked_mods
from kiai.osu.replay_file import check_frames
from kiai.scores import statements
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


def plays_of(seed: int, count: int) -> list[Play]:
    rng = Random(seed)
    players = [(user_id, compose_player(rng)) for user_id in range(3, 33)]
    return list(compose_plays(seed, players, [playable(index) for index in range(20)], count))


@pytest.fixture(scope="module")
def plays() -> list[Play]:
    return plays_of(1, 5_000)


def test_the_same_seed_invents_the_same_plays(plays: list[Play]) -> None:
    assert plays_of(1, 5_000) == plays
    assert plays_of(2, 10) != plays[:10]


def test_counts_of_a_pass_add_up_to_the_map_and_those_of_a_fail_to_less(plays: list[Play]) -> None:
    whole = {one.beatmap.key: one.judged for one in map(playable, range(20))}

    for play in plays:
        total = judged(play.counts, play.beatmap.mode)
        if play.passed:
            assert total == whole[play.beatmap.key], play
        else:
            assert 0 < total < whole[play.beatmap.key], play
            assert play.counts.nmiss > 0, play


def test_combos_fit_the_map_and_the_misses(plays: list[Play]) -> None:
    for play in plays:
        assert 0 < play.max_combo <= play.beatmap.max_combo - play.counts.nmiss, play
        assert play.perfect == (play.passed and play.max_combo == play.beatmap.max_combo), play


def test_mods_modes_accuracy_and_grades_follow_the_rules(plays: list[Play]) -> None:
    for play in plays:
        vanilla_mode = play.beatmap.mode
        assert refused_mods(play.mods, vanilla_mode) is None
        assert not unranked_mods(play.mods)
        assert play.mode == mode_of(vanilla_mode, play.mods)
        assert play.acc == accuracy(play.counts, vanilla_mode, play.mods)
        assert play.grade == grade(play.counts, vanilla_mode, play.mods, passed=play.passed)


def test_every_mode_is_played_and_about_four_in_five_plays_pass(plays: list[Play]) -> None:
    assert {play.mode for play in plays} == {0, 1, 2, 3, 4, 5, 6, 8}
    assert 0.7 < sum(play.passed for play in plays) / len(plays) < 0.9


def test_times_rise_through_the_last_two_years_of_the_world(plays: list[Play]) -> None:
    times = [play.play_time_ms for play in plays]

    assert times == sorted(times)
    assert EPOCH_MS - SPAN_MS <= times[0] < times[-1] < EPOCH_MS


def test_no_play_lasts_longer_than_its_map(plays: list[Play]) -> None:
    for play in plays:
        assert 0 < play.time_elapsed <= 1_000 * play.beatmap.total_length / clock_rate(play.mods), play


def test_scores_fit_the_clients_numbers_and_checksums_are_all_different(plays: list[Play]) -> None:
    assert all(0 < play.score < 2**31 for play in plays)
    assert len({play.checksum for play in plays}) == len(plays)


def test_made_up_frames_are_readable_as_a_clients(plays: list[Play]) -> None:
    play = next(play for play in plays if play.passed)

    found = check_frames(compose_frames(play))

    assert found.frames >= 100
    assert 0.9 * play.time_elapsed < found.length_ms <= play.time_elapsed


# --- the world on a database


def in_world(folder: Path, work: Callable[[Services], Awaitable[None]] | None = None, *, seed: int = 1) -> DemoReport:
    """Builds a small world in `folder` and does some work in it."""

    async def main() -> DemoReport:
        async with open_services(load_settings(data=folder)) as services:
            report = await build(services, players=PLAYERS, maps=MAPS, scores=SCORES, seed=seed)
            if work is not None:
                await work(services)
            return report

    return asyncio.run(main())


def rows(folder: Path, table: str, columns: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(folder / SQLITE_FILE)
    try:
        return connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2").fetchall()
    finally:
        connection.close()


def test_a_small_world_is_what_was_asked_for_and_the_doctor_finds_nothing(tmp_path: Path) -> None:
    async def work(services: Services) -> None:
        found = await services.doctor.examine()
        stored = await services.database.all(statements.STATS_BETWEEN, first=0, last=2**31 - 1)
        recounted = await services.rebuilder.recount(services.database, 0, 2**31 - 1)

        assert found.problems == []
        assert stored == recounted
        assert sum(one.plays for one in stored) == SCORES
        assert any(one.pp > 0 for one in stored)
        assert await services.accounts.total() == PLAYERS

    report = in_world(tmp_path, work)

    assert (report.players, report.maps, report.scores) == (PLAYERS, MAPS, SCORES)
    assert report.replays == len(rows(tmp_path, "replays", "score_id, md5")) > 0


def test_the_same_seed_makes_the_same_rows(tmp_path: Path) -> None:
    tables = {
        "users": "id, name, email, priv, country, created_at_ms, clan_id, clan_priv",
        "clans": "id, name, tag, owner_id",
        "relationships": "user_id, target_id, kind",
        "maps": "key, id, md5, status, plays, passes, diff",
        "scores": "id, user_id, map_key, mode, mods, score, pp, acc, max_combo, grade, best_pp, play_time_ms, checksum",
        "replays": "score_id, md5, size",
        "stats": "user_id, mode, pp, acc, plays, tscore, rscore",
    }

    in_world(tmp_path / "one")
    in_world(tmp_path / "two")

    for table, columns in tables.items():
        assert rows(tmp_path / "one", table, columns) == rows(tmp_path / "two", table, columns), table


def test_a_world_is_refused_where_accounts_are_already(tmp_path: Path) -> None:
    async def work(services: Services) -> None:
        with pytest.raises(Refused, match="holds 10 accounts already; kiai demo fills empty ones"):
            await build(services, players=1, maps=1, scores=1, seed=1)

    in_world(tmp_path, work)


def test_progress_rises_to_its_end(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    async def main() -> None:
        async with open_services(load_settings(data=tmp_path)) as services:
            await build(
                services, players=2, maps=1, scores=20, seed=3, progress=lambda done, total: told.append((done, total))
            )

    asyncio.run(main())

    assert told == sorted(told)
    assert told[-1] == (63, 63)


def test_hidden_players_clans_and_pools_come_with_a_larger_world(tmp_path: Path) -> None:
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

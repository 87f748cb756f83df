"""Analyses are computed once for each score, and cached."""

import asyncio
import hashlib
import time

import pytest
from tests.builders import World, a_map, a_play, a_player, frames
from tests.decoders import PAGES
from tests.osu.playing import played

from kiai.beatmaps import Beatmap, osu_key
from kiai.errors import NotFound
from kiai.osu.replay_analysis import ReplayAnalysis
from kiai.scores.details import ScoreDetails, ScoreReader
from kiai.scores.replay_analyses import DAYS, CannotAnalyse, ReplayAnalyses


@pytest.fixture
def song(world: World) -> Beatmap:
    return world.add_map(SONG)


SONG = a_map(objects=20)


@pytest.fixture
def analyses(world: World) -> ReplayAnalyses:
    return ReplayAnalyses(world.files, PAGES, world.clock)


def a_score(world: World, song: Beatmap, stream: bytes | None) -> ScoreDetails:
    alice = world.add_player(a_player())
    replay = None if stream is None else world.put_replay(stream)
    score_id = world.record(a_play(by=alice, on=song, replay=replay)).score_id
    return world.run(ScoreReader(world.database, world.boards).find(score_id))


def test_analysis_is_of_the_stored_replay_on_its_map(world: World, song: Beatmap, analyses: ReplayAnalyses) -> None:
    found = a_score(world, song, played(SONG.data, [5.0] * 20))
    assert world.run(analyses.known(found)) is None

    analysis = world.run(analyses.of(found, caller="test"))

    assert isinstance(analysis, ReplayAnalysis)
    assert analysis.errors is not None
    assert (analysis.errors.hits, analysis.errors.mean, analysis.errors.unstable_rate) == (20, 5.0, 0.0)
    assert world.run(analyses.known(found)) == analysis


def test_analysis_is_computed_once(
    world: World, song: Beatmap, analyses: ReplayAnalyses, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = a_score(world, song, played(SONG.data, [5.0] * 20))
    computed = []
    original = PAGES.analysis

    async def counted(*args: object, **more: object) -> ReplayAnalysis:
        computed.append(1)
        await asyncio.sleep(0)
        return await original(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(PAGES, "analysis", counted)

    async def several() -> None:
        await asyncio.gather(*(analyses.of(found, caller="test") for _ in range(5)))
        await analyses.of(found, caller="test")

    world.run(several())

    assert len(computed) == 1


def test_score_without_a_replay_has_none(world: World, song: Beatmap, analyses: ReplayAnalyses) -> None:
    found = a_score(world, song, None)

    for asked in (analyses.known(found), analyses.of(found, caller="test")):
        with pytest.raises(NotFound, match="replay"):
            world.run(asked)


def test_unreadable_frames_are_remembered_with_the_reason(
    world: World, song: Beatmap, analyses: ReplayAnalyses
) -> None:
    found = a_score(world, song, b"no lzma")

    first = world.run(analyses.of(found, caller="test"))

    assert isinstance(first, CannotAnalyse)
    assert "truncated" in first.why
    assert world.run(analyses.known(found)) == first


def test_without_the_file_of_the_map_keys_are_counted_and_nothing_is_cached(
    world: World, song: Beatmap, analyses: ReplayAnalyses
) -> None:
    found = a_score(world, song, frames())
    world.run(world.files.delete(osu_key(song.md5)))

    analysis = world.run(analyses.of(found, caller="test"))

    assert isinstance(analysis, ReplayAnalysis)
    assert analysis.undetected == "unreadable map"
    assert world.run(analyses.known(found)) is None


def test_damaged_cached_file_is_replaced(world: World, song: Beatmap, analyses: ReplayAnalyses) -> None:
    found = a_score(world, song, frames())
    world.run(analyses.of(found, caller="test"))
    name = f"{found.score.id}-1.json"
    folder = hashlib.blake2b(name.encode(), digest_size=1).hexdigest()
    world.run(world.files.put(f"analyses/{folder}/{name}", b"{"))

    assert isinstance(world.run(analyses.of(found, caller="test")), ReplayAnalysis)
    assert world.run(analyses.known(found)) is not None


def test_old_analyses_are_deleted(world: World, song: Beatmap, analyses: ReplayAnalyses) -> None:
    found = a_score(world, song, frames())
    world.clock.set_now_ms(time.time_ns() // 1_000_000)  # files have the times of the real clock
    world.run(analyses.of(found, caller="test"))

    async def sweep_all() -> int:
        return sum([await analyses.sweep() for _ in range(256)])

    assert world.run(sweep_all()) == 0
    world.clock.advance((DAYS + 1) * 86_400)
    assert world.run(sweep_all()) == 1
    assert world.run(analyses.known(found)) is None

"""pp and stars equal those of rosu-pp, and faulty maps and workers do not stop the server."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Final, cast

import msgspec
import pytest
import rosu_pp_py as rosu
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update
from tests.builders import World, a_map
from tests.osu.real_files import real_files
from tests.patience import patiently

from kiai import pool_process
from kiai.beatmaps import osu_key
from kiai.demo.composing import CATCH, MANIA, OSU, TAIKO, maps_of
from kiai.errors import Unavailable
from kiai.files.port import Files
from kiai.osu.mods import ALL, DT, HD, HR, NC, NF, difficulty_mods
from kiai.scores import calculator, performance
from kiai.scores.calculator import (
    DIFFICULTY_MODS,
    PP_MAX,
    STARS_MAX,
    Calculator,
    CalculatorPlay,
    CalculatorReply,
    CalculatorRequest,
    CalculatorResult,
)
from kiai.scores.performance import (
    CHUNK,
    WAITING_MAX,
    CannotCalculate,
    Difficulties,
    Difficulty,
    Performance,
    stored_pp,
)
from kiai.storage.tables import difficulties

HIT: Final = CalculatorPlay(mods=0)
MISSED: Final = CalculatorPlay(mods=0, nmiss=299)
PATIENCE_S: Final = 20.0
MODES: Final = (rosu.GameMode.Osu, rosu.GameMode.Taiko, rosu.GameMode.Catch, rosu.GameMode.Mania)
MAPS: Final = {one.mode: one.osu for one in maps_of(1, 20)}
FILES: Final = [*MAPS.values(), *(path.read_bytes() for path in real_files("beatmaps", ".osu"))]
OWN_MODES: Final = {osu: MODES.index(rosu.Beatmap(bytes=osu).mode) for osu in FILES}
SONG: Final = MAPS[OSU]
SMALL: Final = a_map(objects=30).data
# Half an hour with a note each 100 ms. rosu-pp does not take it for suspicious, but its rhythm as taiko takes seconds.
SLOW: Final = a_map(objects=0).data + b"".join(b"\r\n256,192,%d,1,0,0:0:0:0:" % (100 * n) for n in range(20_000))
MANY_AT_ONCE: Final = a_map(objects=0).data + b"\r\n256,192,1000,1,0,0:0:0:0:" * 20_000
# Across the playfield and back, 50 times a second; and the same with notes like needles.
FAST: Final = a_map(objects=0).data + b"".join(
    b"\r\n%d,192,%d,1,0,0:0:0:0:" % (n % 2 * 512, 20 * n) for n in range(300)
)
INHUMAN: Final = FAST.replace(b"CircleSize:4", b"CircleSize:10")
DIFFICULTY_ROWS: Final = select(
    difficulties.c.map_key,
    difficulties.c.mode,
    difficulties.c.mods,
    difficulties.c.calculator,
    difficulties.c.stars,
    difficulties.c.max_combo,
)


# --- results


@pytest.mark.parametrize(
    ("osu", "mode"),
    [(osu, mode) for osu, own in OWN_MODES.items() for mode in (OSU, TAIKO, CATCH, MANIA) if own in (OSU, mode)],
    ids=lambda value: str(value) if isinstance(value, int) else md5_of(value)[:8],
)
def test_results_equal_those_of_the_library(osu: bytes, mode: int) -> None:
    plays = some_plays(Random(mode), 30)

    answer = Calculator().answer(CalculatorRequest(1, "a", mode, plays, osu))

    assert answer.results == [directly(osu, mode, play) for play in plays]


@settings(deadline=None)
@given(mods=st.integers(0, ALL), mode=st.sampled_from([OSU, TAIKO, CATCH, MANIA]))
def test_cached_attributes_give_the_same_pp_as_the_map(mods: int, mode: int) -> None:
    play = CalculatorPlay(mods=mods | DT if mods & NC else mods, accuracy=97.5, nmiss=1)
    shared = Calculator()

    shared.answer(CalculatorRequest(1, "a", mode, [CalculatorPlay(mods=difficulty_mods(mods))], SMALL))
    answer = shared.answer(CalculatorRequest(2, "a", mode, [play]))

    assert answer.results == [directly(SMALL, mode, play)]


def test_difficulty_mods_of_both_modules_agree() -> None:
    assert difficulty_mods(ALL) == DIFFICULTY_MODS


def test_nightcore_without_double_time_counts_as_double_time() -> None:
    [alone, both] = calculate(SONG, OSU, CalculatorPlay(mods=NC), CalculatorPlay(mods=NC | DT))

    assert alone == both


def test_each_mode_has_its_own_values() -> None:
    parts = {}
    for mode in (OSU, TAIKO, CATCH, MANIA):
        [result] = calculate(MAPS[mode], mode, HIT)
        held = {name for name, value in msgspec.structs.asdict(result).items() if value is not None}
        parts[mode] = held - {"pp", "stars", "max_combo", "n300", "n100", "n50", "ngeki", "nkatu", "nmiss", "flagged"}

    assert parts == {
        OSU: {
            *("pp_acc", "pp_aim", "pp_speed", "pp_flashlight", "effective_miss_count"),
            *("aim", "speed", "flashlight", "slider_factor", "speed_note_count"),
        },
        TAIKO: {"pp_acc", "pp_difficulty", "stamina", "color", "rhythm", "peak"},
        CATCH: set(),
        MANIA: {"pp_difficulty"},
    }


def test_result_includes_the_counts_derived_from_an_accuracy() -> None:
    objects = rosu.Beatmap(bytes=SONG).n_objects

    [result] = calculate(SONG, OSU, CalculatorPlay(mods=0, accuracy=100.0, nmiss=2))

    assert (result.n300, result.n100, result.n50, result.nmiss) == (objects - 2, 0, 0, 2)


def test_pp_out_of_range_is_flagged_and_counts_zero() -> None:
    too_much = directly(FAST, OSU, HIT)
    too_hard = directly(INHUMAN, OSU, MISSED)
    assert too_much.pp > PP_MAX
    assert too_much.stars < STARS_MAX
    assert too_hard.pp < PP_MAX
    assert too_hard.stars > STARS_MAX

    found = [*calculate(FAST, OSU, HIT), *calculate(INHUMAN, OSU, MISSED), *calculate(SONG, OSU, HIT)]

    assert [(one.flagged, one.pp == 0.0) for one in found] == [(True, True), (True, True), (False, False)]
    assert [one.stars for one in found[:2]] == [too_much.stars, STARS_MAX]


def test_total_score_beyond_32_bits_is_accepted() -> None:
    [most, more] = calculate(
        SONG, OSU, CalculatorPlay(mods=0, legacy_score=2**32 - 1), CalculatorPlay(mods=0, legacy_score=2**40)
    )

    assert more == most


def test_pp_is_stored_with_three_decimals() -> None:
    assert stored_pp(123.45678) == 123.457


# --- cache and errors of a calculator


def test_calculator_requests_a_map_once() -> None:
    calculator_ = Calculator()
    without = CalculatorRequest(1, "a", OSU, [HIT])

    first = calculator_.answer(without)
    with_file = calculator_.answer(msgspec.structs.replace(without, osu=SONG))
    again = calculator_.answer(without)
    other_mods = calculator_.answer(msgspec.structs.replace(without, plays=[CalculatorPlay(mods=HR)]))

    assert first == CalculatorReply(1, need_file=True)
    assert with_file.results == again.results == [directly(SONG, OSU, HIT)]
    assert other_mods.results == [directly(SONG, OSU, CalculatorPlay(mods=HR))]


def test_calculator_caches_each_mode_of_a_map_separately() -> None:
    calculator_ = Calculator()

    found = [calculator_.answer(CalculatorRequest(1, "a", mode, [HIT], SMALL)).results for mode in (OSU, TAIKO, OSU)]

    assert found == [[directly(SMALL, mode, HIT)] for mode in (OSU, TAIKO, OSU)]


def test_calculator_evicts_the_least_recently_used_map() -> None:
    two_maps = Calculator(maps_bytes_max=2 * calculator.MAP_BYTES_MIN)
    for md5, mods in (("a", 0), ("b", 0), ("a", DT), ("c", 0)):
        two_maps.answer(CalculatorRequest(1, md5, OSU, [CalculatorPlay(mods=mods)], SONG))

    forgotten = {
        md5: two_maps.answer(CalculatorRequest(2, md5, OSU, [CalculatorPlay(mods=HR)])).need_file for md5 in "abc"
    }

    assert forgotten == {"a": False, "b": True, "c": False}


def test_attributes_stay_cached_after_their_map_was_evicted() -> None:
    one_map = Calculator(maps_bytes_max=calculator.MAP_BYTES_MIN, attributes_max=2)
    for md5 in "abc":
        one_map.answer(CalculatorRequest(1, md5, OSU, [HIT], SONG))

    forgotten = {md5: one_map.answer(CalculatorRequest(2, md5, OSU, [HIT])).need_file for md5 in "abc"}

    assert forgotten == {"a": True, "b": False, "c": False}


@pytest.mark.parametrize(
    ("osu", "mode", "error"),
    [
        (b"", OSU, "unreadable"),
        (Random(1).randbytes(10_000), OSU, "unreadable"),
        (b"<html><title>404</title></html>", OSU, "unreadable"),
        (a_map(objects=0).data, OSU, "unreadable"),
        (MANY_AT_ONCE, OSU, "suspicious"),
        (MANY_AT_ONCE, TAIKO, "suspicious"),
        (MAPS[TAIKO], OSU, "cannot convert"),
        (MAPS[CATCH], MANIA, "cannot convert"),
    ],
)
def test_map_without_pp_is_refused_with_the_reason(osu: bytes, mode: int, error: str) -> None:
    assert Calculator().answer(CalculatorRequest(1, "a", mode, [HIT], osu)) == CalculatorReply(1, error=error)


@pytest.mark.parametrize(
    "play",
    [
        CalculatorPlay(mods=0, n300=-1),
        CalculatorPlay(mods=0, combo=2**32),
        CalculatorPlay(mods=2**40),
        CalculatorPlay(mods=-1),
    ],
)
def test_play_with_numbers_outside_32_bits_is_refused(play: CalculatorPlay) -> None:
    assert Calculator().answer(CalculatorRequest(1, "a", OSU, [play], SONG)) == CalculatorReply(
        1, error="impossible play"
    )


@settings(deadline=None)
@given(osu=st.binary(max_size=2_000) | st.builds(lambda end: SONG[:300] + end, st.binary(max_size=500)))
def test_any_bytes_as_a_map_get_a_reply(osu: bytes) -> None:
    answer = Calculator().answer(CalculatorRequest(1, "a", OSU, [HIT], osu))

    assert answer.results is not None or answer.error == "unreadable"


# --- the processes


@pytest.mark.parametrize("mode", [OSU, TAIKO, CATCH, MANIA])
def test_worker_returns_the_results_of_the_library(mode: int) -> None:
    plays = some_plays(Random(5), 20)

    async def scenario() -> list[CalculatorResult]:
        async with workers(MAPS[mode]) as pp:
            return await pp.plays(md5_of(MAPS[mode]), mode, plays)

    assert asyncio.run(scenario()) == [directly(MAPS[mode], mode, play) for play in plays]


def test_lines_that_end_with_a_carriage_return_only_are_read() -> None:
    plain, old = (
        Calculator().answer(CalculatorRequest(1, "a", OSU, [HIT], osu)) for osu in (SMALL, _with_old_ends(SMALL))
    )

    assert plain == old


def _with_old_ends(osu: bytes) -> bytes:
    return osu.replace(b"\r\n", b"\r")


def test_a_map_is_rated_without_mods() -> None:
    async def scenario() -> tuple[float, int]:
        async with workers(SONG) as pp:
            return await pp.rate(md5_of(SONG), OSU)

    assert asyncio.run(scenario()) == (directly(SONG, OSU, HIT).stars, directly(SONG, OSU, HIT).max_combo)


def test_calculator_name_and_id_come_from_its_version() -> None:
    pp = performing()

    assert (pp.calculator, pp.calculator_id) == ("rosu-pp-py 4.0.2", 40_002)


def test_map_without_a_stored_file_is_unavailable() -> None:
    async def scenario() -> None:
        async with workers() as pp:
            with pytest.raises(Unavailable, match="beatmap file"):
                await pp.plays(md5_of(SONG), OSU, [HIT])

    asyncio.run(scenario())


def test_hostile_map_does_not_end_the_worker(tmp_path: Path) -> None:
    noise = Random(2).randbytes(5_000)

    async def scenario() -> list[str]:
        reasons = []
        async with workers(noise, MANY_AT_ONCE, SONG, count=1, command=counted(tmp_path)) as pp:
            for osu in (noise, MANY_AT_ONCE):
                with pytest.raises(CannotCalculate) as refused:
                    await pp.plays(md5_of(osu), OSU, [HIT])
                reasons.append(refused.value.reason)
            await pp.plays(md5_of(SONG), OSU, [HIT])
        return reasons

    assert asyncio.run(scenario()) == ["unreadable", "suspicious"]
    assert len(started(tmp_path)) == 1


def test_slow_map_times_out_without_blocking_the_loop_or_the_next_job(tmp_path: Path) -> None:
    async def scenario() -> tuple[int, list[CalculatorResult]]:
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0.001)
                turns += 1

        async with workers(SLOW, SONG, count=1, cpu_s=0.5, command=counted(tmp_path)) as pp:
            await pp.plays(md5_of(SONG), OSU, [HIT])
            turning = asyncio.create_task(turn())
            with pytest.raises(CannotCalculate, match="too slow"):
                await pp.plays(md5_of(SLOW), TAIKO, [HIT])
            turning.cancel()
            return turns, await pp.plays(md5_of(SONG), OSU, [HIT])

    turns, results = asyncio.run(scenario())

    assert turns > 10
    assert results == [directly(SONG, OSU, HIT)]
    assert len(started(tmp_path)) == 2


def test_crashed_worker_is_replaced_and_its_job_is_repeated(tmp_path: Path) -> None:
    async def scenario() -> list[CalculatorResult]:
        async with workers(SONG, count=1, command=counted(tmp_path)) as pp:
            await pp.plays(md5_of(SONG), OSU, [HIT])
            os.kill(started(tmp_path)[0], signal.SIGKILL)
            return await pp.plays(md5_of(SONG), OSU, [HIT])

    assert asyncio.run(scenario()) == [directly(SONG, OSU, HIT)]
    assert len(started(tmp_path)) == 2


def test_workers_ignore_ctrl_c(tmp_path: Path) -> None:
    async def scenario() -> list[CalculatorResult]:
        async with workers(SONG, command=counted(tmp_path)) as pp:
            await pp.plays(md5_of(SONG), OSU, [HIT])
            os.kill(started(tmp_path)[0], signal.SIGINT)
            return await pp.plays(md5_of(SONG), OSU, [HIT])

    assert asyncio.run(scenario()) == [directly(SONG, OSU, HIT)]
    assert len(started(tmp_path)) == 1


@pytest.mark.parametrize(
    "does",
    [
        "sys.exit(1)",
        "os.kill(os.getpid(), signal.SIGKILL)",
        "say(b'noise')",
        "say(b'\\1\\0\\0\\0\\xc1')",
        "say(frame(CalculatorReply(request.id + 1, error='unreadable')))",
        "say(frame(CalculatorReply(request.id, results=[])))",
        "say(frame(CalculatorReply(request.id)))",
    ],
)
def test_job_that_breaks_two_workers_fails(does: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with workers(SONG, count=1, command=fake(does, tmp_path)) as pp:
            with pytest.raises(CannotCalculate, match="crashed"):
                await pp.plays(md5_of(SONG), OSU, [HIT])

    asyncio.run(scenario())

    assert len(started(tmp_path)) == 2


@pytest.mark.parametrize(
    "command",
    [
        ("/nowhere/at/all",),
        (sys.executable, "-c", "pass"),
        (sys.executable, "-c", "print('hello')"),
        (sys.executable, "-c", "from kiai.pool_process import *; sys.stdout.buffer.write(answer_frame(b'7'))"),
    ],
)
def test_pp_is_unavailable_without_a_working_calculator(command: tuple[str, ...]) -> None:
    async def scenario() -> None:
        async with workers(SONG, command=command) as pp:
            with pytest.raises(Unavailable, match="performance"):
                await pp.plays(md5_of(SONG), OSU, [HIT])

    asyncio.run(scenario())


def test_two_maps_are_computed_at_the_same_time(tmp_path: Path) -> None:
    # Each worker answers only after both have begun.
    together = "(here / request.md5).touch(); until(lambda: (here / A).exists() and (here / B).exists()); answer(0)"
    a, b = "0" * 32, "0000000" + "1" * 25

    async def scenario() -> None:
        async with workers(count=2, command=fake(f"A, B = {a!r}, {b!r}; {together}", tmp_path)) as pp:
            await asyncio.gather(pp.plays(a, OSU, [HIT]), pp.plays(b, OSU, [HIT]))

    asyncio.run(scenario())

    assert len(started(tmp_path)) == 2


def test_jobs_of_a_map_run_on_one_worker(tmp_path: Path) -> None:
    maps = [f"{number:08x}" + "0" * 24 for number in range(6)]

    async def scenario() -> list[set[float]]:
        async with workers(count=3, command=fake("answer(os.getpid())", tmp_path)) as pp:
            return [{(await pp.plays(md5, OSU, [HIT]))[0].pp for _ in range(3)} for md5 in maps]

    pids = asyncio.run(scenario())

    assert all(len(of_one_map) == 1 for of_one_map in pids)
    assert len(set.union(*pids)) == 3


def test_batch_is_split_into_jobs_of_two_thousand_plays(tmp_path: Path) -> None:
    plays = [CalculatorPlay(mods=0, combo=number) for number in range(2 * CHUNK + 1)]
    tell = "print(len(request.plays), cpu_s, file=open(here / 'trips', 'a')); answer(0)"

    async def scenario() -> int:
        async with workers(cpu_s=5.0, command=fake(tell, tmp_path)) as pp:
            return len(await pp.plays("0" * 32, OSU, plays))

    assert asyncio.run(scenario()) == len(plays)
    assert (tmp_path / "trips").read_text().split() == ["2000", "15.0", "2000", "15.0", "1", "5.005"]


def test_results_are_in_the_order_of_the_plays() -> None:
    plays = some_plays(Random(8), 100) * 41

    async def scenario() -> list[CalculatorResult]:
        async with workers(SONG) as pp:
            return await pp.plays(md5_of(SONG), OSU, plays)

    assert asyncio.run(scenario()) == [directly(SONG, OSU, play) for play in plays[:100]] * 41


def test_empty_batch_starts_no_worker(tmp_path: Path) -> None:
    async def scenario() -> list[CalculatorResult]:
        async with workers(command=counted(tmp_path)) as pp:
            return await pp.plays("0" * 32, OSU, [])

    assert asyncio.run(scenario()) == []
    assert started(tmp_path) == []


def test_job_is_refused_when_too_many_wait(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with workers(count=1, command=fake("until(lambda: (here / 'go').exists()); answer(0)", tmp_path)) as pp:
            waiting = [asyncio.create_task(pp.plays("0" * 32, OSU, [HIT])) for _ in range(WAITING_MAX + 1)]
            await asyncio.sleep(0)
            with pytest.raises(Unavailable, match="performance"):
                await pp.plays("0" * 32, OSU, [HIT])
            (tmp_path / "go").touch()
            await asyncio.gather(*waiting)
            await pp.plays("0" * 32, OSU, [HIT])

    asyncio.run(scenario())

    assert WAITING_MAX == 256
    assert len(started(tmp_path)) == 1


def test_cancelled_call_does_not_end_the_worker(tmp_path: Path) -> None:
    slowly = "(here / 'begun').touch(); until(lambda: (here / 'go').exists()); answer(request.plays[0].mods)"

    async def scenario() -> float:
        async with workers(count=1, command=fake(slowly, tmp_path)) as pp:
            left = asyncio.create_task(pp.plays("0" * 32, OSU, [CalculatorPlay(mods=1)]))
            await until((tmp_path / "begun").exists)
            left.cancel()
            with pytest.raises(asyncio.CancelledError):
                await left
            (tmp_path / "go").touch()
            return (await pp.plays("0" * 32, OSU, [CalculatorPlay(mods=2)]))[0].pp

    assert asyncio.run(scenario()) == 2.0
    assert len(started(tmp_path)) == 1


def test_close_ends_all_processes_and_jobs(tmp_path: Path) -> None:
    async def scenario() -> list[object]:
        async with workers(count=2, command=fake("until(lambda: False)", tmp_path)) as pp:
            jobs = [asyncio.create_task(pp.plays(f"{n:08x}{n:024x}", OSU, [HIT])) for n in range(4)]
            await until(lambda: len(started(tmp_path)) == 2)
            await pp.close()
            return await asyncio.gather(*jobs, pp.plays("0" * 32, OSU, [HIT]), return_exceptions=True)

    ends = asyncio.run(scenario())

    assert [type(end) for end in ends] == [Unavailable] * 5
    assert [alive(pid) for pid in started(tmp_path)] == [False, False]


def test_close_at_any_time_ends_all_processes_without_waiting_for_jobs(tmp_path: Path) -> None:
    async def scenario(turns: int) -> None:
        pp = performing(command=fake("until(lambda: False)", tmp_path))
        job = asyncio.create_task(pp.plays("0" * 32, OSU, [HIT]))
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(patiently(PATIENCE_S)):
            await pp.close()
        with pytest.raises(Unavailable):
            await job

    for turns in range(8):
        asyncio.run(scenario(turns))

    assert not any(alive(pid) for pid in started(tmp_path))


def test_workers_end_when_their_server_is_killed(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "from kiai.scores.performance import Performance\n"
        "from kiai.scores.calculator import CalculatorPlay\n"
        "class Files:\n"
        "    async def get(self, key): return open(sys.argv[1], 'rb').read()\n"
        "async def scenario():\n"
        "    pp = Performance(Files(), workers=1)\n"
        "    await pp.plays('0' * 32, 0, [CalculatorPlay(mods=0)])\n"
        "    print('computed', flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(scenario())\n"
    )
    (tmp_path / "song.osu").write_bytes(SONG)
    with subprocess.Popen(
        (sys.executable, "-c", script, tmp_path / "song.osu"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"computed\n"

        server.kill()

        # The worker shares the server's stderr, which ends after both processes have ended.
        assert server.communicate(timeout=patiently(PATIENCE_S)) == (b"", b"")


def test_worker_ends_itself_after_its_cpu_limit() -> None:
    request = pool_process.request_frame(
        msgspec.msgpack.encode(CalculatorRequest(1, "a", TAIKO, [HIT], SLOW)), cpu_s=0.1
    )

    done = subprocess.run(
        performance.COMMAND, input=request, capture_output=True, timeout=patiently(PATIENCE_S), check=False
    )

    assert done.returncode == -signal.SIGPROF


def test_wait_between_jobs_does_not_count_as_cpu_time() -> None:
    request = pool_process.request_frame(msgspec.msgpack.encode(CalculatorRequest(1, "a", OSU, [HIT])), cpu_s=0.2)
    with subprocess.Popen(performance.COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        pool_process.read_answer(worker.stdout)
        worker.stdin.write(request)
        worker.stdin.flush()

        assert pool_process.read_answer(worker.stdout)

        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(timeout=0.4)
        worker.stdin.close()
        assert worker.wait(timeout=patiently(PATIENCE_S)) == 0


def test_worker_has_low_priority_and_limited_memory() -> None:
    code = (
        "import os, resource\n"
        "from kiai.scores import calculator\n"
        "calculator.main()\n"
        "print(os.nice(0), resource.getrlimit(resource.RLIMIT_AS)[0])\n"
    )

    done = subprocess.run(
        (sys.executable, "-c", code), input=b"", capture_output=True, timeout=patiently(PATIENCE_S), check=True
    )

    nice, memory = done.stdout.removeprefix(pool_process.answer_frame(pool_process.READY)).split()
    assert int(nice) == min(os.nice(0) + pool_process.NICENESS, 19)
    assert int(memory) == pool_process.MEMORY_MAX


def test_worker_imports_only_its_own_modules() -> None:
    code = "import sys, kiai.scores.calculator; print(*(name for name in sys.modules if name.startswith('kiai')))"

    done = subprocess.run(
        (sys.executable, "-c", code), capture_output=True, timeout=patiently(PATIENCE_S), check=True, text=True
    )

    assert set(done.stdout.split()) == {"kiai", "kiai.scores", "kiai.scores.calculator", "kiai.pool_process"}


# --- difficulties in the database


def test_difficulty_is_computed_once(world: World, tmp_path: Path) -> None:
    beatmap = world.add_map(a_map(objects=50))
    pp = Performance(world.files, workers=1, command=counted(tmp_path))
    rows = Difficulties(world.database, pp)

    first = world.run(rows.of(beatmap.key, beatmap.md5, OSU, HD | HR))
    world.run(pp.close())
    again = world.run(rows.of(beatmap.key, beatmap.md5, OSU, HD | HR | NF))

    direct = directly(a_map(objects=50).data, OSU, CalculatorPlay(mods=HD | HR))
    assert first == again == msgspec.convert(direct, Difficulty, from_attributes=True)
    assert world.look(DIFFICULTY_ROWS) == [
        (beatmap.key, OSU, HD | HR, "rosu-pp-py 4.0.2", first.stars, first.max_combo),
    ]
    assert len(started(tmp_path)) == 1


def test_a_difficulty_of_another_calculator_is_computed_again(world: World) -> None:
    beatmap = world.add_map(a_map(objects=50))
    pp = Performance(world.files, workers=1)
    rows = Difficulties(world.database, pp)
    right = world.run(rows.of(beatmap.key, beatmap.md5, TAIKO, 0))
    wrong = msgspec.json.encode(msgspec.structs.replace(right, stars=99.0)).decode()
    world.change(update(difficulties).values(calculator="rosu-pp-py 3.0.0", stars=99.0, attributes=wrong))

    again = world.run(rows.of(beatmap.key, beatmap.md5, TAIKO, 0))

    world.run(pp.close())
    assert again == right
    assert world.look(DIFFICULTY_ROWS) == [
        (beatmap.key, TAIKO, 0, "rosu-pp-py 4.0.2", right.stars, right.max_combo),
    ]


def test_concurrent_requests_for_a_difficulty_get_the_same_values(world: World) -> None:
    beatmap = world.add_map(a_map(objects=50))
    pp = Performance(world.files, workers=1)
    rows = Difficulties(world.database, pp)

    async def scenario() -> list[Difficulty]:
        return await asyncio.gather(*(rows.of(beatmap.key, beatmap.md5, OSU, DT) for _ in range(8)))

    found = world.run(scenario())

    world.run(pp.close())
    assert len(set(found)) == 1
    assert len(world.look(DIFFICULTY_ROWS)) == 1


# --- helpers


def md5_of(osu: bytes) -> str:
    return hashlib.md5(osu, usedforsecurity=False).hexdigest()


def some_plays(rng: Random, count: int) -> list[CalculatorPlay]:
    """Return plays with any mods, NC only with DT as in the game. Half have counts and half an accuracy."""
    plays = []
    for number in range(count):
        mods = sum(1 << bit for bit in rng.sample(range(31), rng.randint(0, 5)))
        mods |= DT if mods & NC else 0
        if number % 2:
            plays.append(
                CalculatorPlay(
                    mods=mods, accuracy=rng.uniform(60, 100), nmiss=rng.randint(0, 9), combo=rng.randint(0, 500)
                )
            )
        else:
            counts = [rng.randint(0, most) for most in (400, 50, 20, 60, 20, 9, 500, 20_000_000)]
            plays.append(CalculatorPlay(mods, *counts))
    return plays


def directly(osu: bytes, mode: int, play: CalculatorPlay) -> CalculatorResult:
    """Return the result of the library itself."""
    beatmap = rosu.Beatmap(bytes=osu)
    if beatmap.mode != MODES[mode]:
        beatmap.convert(MODES[mode], play.mods)
    names = {"ngeki": "n_geki", "nkatu": "n_katu", "nmiss": "misses", "legacy_score": "legacy_total_score"}
    given = {names.get(name, name): value for name, value in msgspec.structs.asdict(play).items() if value is not None}
    found = rosu.Performance(lazer=False, **given).calculate(beatmap)
    difficulty, state = found.difficulty, found.state
    assert state is not None
    return CalculatorResult(
        pp=found.pp,
        pp_acc=found.pp_accuracy,
        pp_aim=found.pp_aim,
        pp_speed=found.pp_speed,
        pp_flashlight=found.pp_flashlight,
        pp_difficulty=found.pp_difficulty,
        effective_miss_count=found.effective_miss_count,
        stars=difficulty.stars,
        max_combo=difficulty.max_combo,
        aim=difficulty.aim,
        speed=difficulty.speed,
        flashlight=difficulty.flashlight,
        slider_factor=difficulty.slider_factor,
        speed_note_count=difficulty.speed_note_count,
        stamina=difficulty.stamina,
        color=difficulty.color,
        rhythm=difficulty.rhythm,
        peak=difficulty.mechanical_difficulty,
        n300=state.n300,
        n100=state.n100,
        n50=state.n50,
        ngeki=state.n_geki,
        nkatu=state.n_katu,
        nmiss=state.misses,
    )


def calculate(osu: bytes, mode: int, *plays: CalculatorPlay) -> list[CalculatorResult]:
    """Return the results of a calculator in this process."""
    results = Calculator().answer(CalculatorRequest(1, "a", mode, list(plays), osu)).results
    assert results is not None
    return results


class Stored:
    """A files store with these maps."""

    def __init__(self, *maps: bytes) -> None:
        self._files = {osu_key(md5_of(osu)): osu for osu in maps}

    async def get(self, key: str) -> bytes | None:
        return self._files.get(key)


def performing(
    *maps: bytes, count: int = 1, cpu_s: float = 2 * PATIENCE_S, command: Sequence[str] = performance.COMMAND
) -> Performance:
    """Return a `Performance` whose files store has these maps."""
    return Performance(cast(Files, Stored(*maps)), workers=count, cpu_s=cpu_s, command=command)


@asynccontextmanager
async def workers(
    *maps: bytes, count: int = 1, cpu_s: float = 2 * PATIENCE_S, command: Sequence[str] = performance.COMMAND
) -> AsyncIterator[Performance]:
    """Yield a `Performance` and close it. A scenario that takes longer than `PATIENCE_S` fails."""
    pp = performing(*maps, count=count, cpu_s=cpu_s, command=command)
    try:
        async with asyncio.timeout(patiently(PATIENCE_S)):
            yield pp
    finally:
        await pp.close()


def counted(folder: Path) -> tuple[str, ...]:
    """Return the command of the real calculator, whose processes `started` lists."""
    code = (
        "import os, sys\n"
        "with open(sys.argv[1], 'a') as started: print(os.getpid(), file=started)\n"
        "from kiai.scores import calculator\n"
        "calculator.main()\n"
    )
    return (sys.executable, "-c", code, str(folder / "started"))


def fake(does: str, folder: Path) -> tuple[str, ...]:
    """Return the command of a fake calculator that runs `does` for each `request`; `started` lists its processes."""
    code = (
        "import os, signal, sys, time, msgspec\n"
        "from pathlib import Path\n"
        "from kiai.scores.calculator import CalculatorReply, CalculatorRequest, CalculatorResult\n"
        "from kiai.pool_process import READY, REQUEST, answer_frame\n"
        "here = Path(sys.argv[1])\n"
        "with open(here / 'started', 'a') as started: print(os.getpid(), file=started)\n"
        "def frame(answer): return answer_frame(msgspec.msgpack.encode(answer))\n"
        "def say(data):\n"
        "    sys.stdout.buffer.write(data)\n"
        "    sys.stdout.buffer.flush()\n"
        "def until(condition):\n"
        "    end = time.monotonic() + 60\n"
        "    while not condition() and time.monotonic() < end: time.sleep(0.002)\n"
        "def answer(pp):\n"
        "    result = CalculatorResult(pp, *[None] * 6, 1.0, 1, *[None] * 9, *[0] * 6)\n"
        "    say(frame(CalculatorReply(request.id, [result] * len(request.plays))))\n"
        "say(answer_frame(READY))\n"
        "while fields := sys.stdin.buffer.read(REQUEST.size):\n"
        "    size, _, cpu_s = REQUEST.unpack(fields)\n"
        "    request = msgspec.msgpack.decode(sys.stdin.buffer.read(size), type=CalculatorRequest)\n"
        f"    {does}\n"
    )
    return (sys.executable, "-c", code, str(folder))


def started(folder: Path) -> list[int]:
    """Return the process ids of the calculators, in the order of their start."""
    path = folder / "started"
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []


def alive(pid: int) -> bool:
    """Return whether the process exists, also as a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition. `workers` limits the time."""
    while not condition():  # noqa: ASYNC110 - another process sets it
        await asyncio.sleep(0.002)

"""Small files that take minutes to decode: each is rejected in time, and other players do not wait for it."""

import asyncio
import io
import lzma
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
from PIL import Image
from tests.builders import a_map
from tests.patience import patiently

from kiai import pool_process, process_pool
from kiai.decoding import decoder as decoding
from kiai.decoding import pictures, process
from kiai.decoding.archives import OSU_MAX, BadArchive, unpack_maps
from kiai.decoding.decoder import UNPACKED_MAX, Decoder, long_replay_workers, picture_workers, replay_workers
from kiai.decoding.pictures import JPEG_SCANS_MAX
from kiai.errors import Invalid, Unavailable
from kiai.measuring import PoolUsage
from kiai.osu.replay_file import BadReplay
from kiai.process_pool import JobTimedOut, Load

STORY_S: Final = 60.0


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise the wall-clock deadline: these tests are about CPU time, not about the load of the machine."""
    monkeypatch.setattr(process_pool, "WALL_FACTOR", patiently(process_pool.WALL_FACTOR))


def honest_frames() -> bytes:
    return _compressed(b"0|256|-500|0,-1|256|-500|0," + b"16|200.5|100.25|1," * 200)


def heavy_frames() -> bytes:
    """Return 7 KB that decompress to 48 MiB of frames, which take seconds to check."""
    return _compressed(b"9|1|1|1," * (6 * 1024 * 1024))


def _compressed(text: bytes) -> bytes:
    return lzma.compress(text, format=lzma.FORMAT_ALONE, preset=0)


def a_picture(kind: str, side: int = 512, **how: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), (250, 90, 150)).save(out, kind, **how)
    return out.getvalue()


def many_scans(side: int, scans: int) -> bytes:
    """Return a progressive JPEG that repeats its last scan: a few bytes that cost a pass over all pixels each time."""
    picture = a_picture("JPEG", side, progressive=True)
    begin, end = picture.rindex(b"\xff\xda"), picture.rindex(b"\xff\xd9")
    return picture[:end] + picture[begin:end] * (scans - picture.count(b"\xff\xda")) + picture[end:]


def a_set(background: bytes) -> bytes:
    song = a_map(1, set_id=7).data.replace(b"[TimingPoints]", b'[Events]\r\n0,0,"b.jpg",0,0\r\n[TimingPoints]')
    out = io.BytesIO()
    with ZipFile(out, "w", ZIP_DEFLATED) as archive:
        archive.writestr("a.osu", song)
        archive.writestr("b.jpg", background)
    return out.getvalue()


@asynccontextmanager
async def decoders() -> AsyncIterator[Decoder]:
    # Without a lower priority: on a busy machine, jobs of low priority do not reach their limit of CPU time.
    command = (*decoding.COMMAND, "0")
    decoder = Decoder(picture_workers(command), replay_workers(command), long_replay_workers(command))
    try:
        async with asyncio.timeout(patiently(STORY_S)):
            yield decoder
    finally:
        await decoder.close()


def play(scenario: Callable[[Decoder], Awaitable[None]]) -> None:
    async def main() -> None:
        async with decoders() as decoder:
            await scenario(decoder)

    asyncio.run(main())


def loading(data: bytes) -> Callable[[], Awaitable[bytes]]:
    async def load() -> bytes:
        return data

    return load


# --- what is read as ever


def test_processes_give_the_same_results_as_direct_calls() -> None:
    async def scenario(decoder: Decoder) -> None:
        png, jpeg = a_picture("PNG"), a_picture("JPEG", progressive=True)

        assert await decoder.avatar(png, "PNG", caller="a") == pictures.avatar(png, "PNG")
        assert await decoder.screenshot(jpeg, "jpeg", caller="a") == pictures.screenshot(jpeg, "jpeg")
        small = await decoder.background(loading(a_set(jpeg)), 7, (80, 60), caller="a")
        assert small == pictures.thumbnail(jpeg, (80, 60))
        assert await decoder.preview(loading(a_set(jpeg)), 7, caller="a") == b""
        assert (await decoder.frames(honest_frames(), player="a", caller="a")).frames == 202

    play(scenario)


def test_archive_is_unpacked_in_a_process_within_its_bound() -> None:
    bomb = io.BytesIO()
    with ZipFile(bomb, "w", ZIP_DEFLATED) as archive:
        for number in range(8):
            archive.writestr(f"{number}.osu", b"\0" * OSU_MAX)

    async def scenario(decoder: Decoder) -> None:
        found = await decoder.unpack(a_set(b"x"), caller="a")
        assert [file.name for file in found.files] == ["a.osu"]
        assert found == unpack_maps(a_set(b"x"))

        bounded = await decoder.unpack(bomb.getvalue(), caller="a")
        assert len(bounded.files) == UNPACKED_MAX // OSU_MAX
        assert {why for _, why in bounded.skipped} == {"the .osu files have more than 64 MiB together"}
        with pytest.raises(BadArchive, match="not a ZIP archive"):
            await decoder.unpack(b"no archive", caller="a")

    play(scenario)


def test_damaged_files_are_rejected_with_the_reason() -> None:
    async def scenario(decoder: Decoder) -> None:
        with pytest.raises(Invalid, match="avatar must be a whole picture, got 'a damaged one'"):
            await decoder.avatar(a_picture("PNG")[:-30], "PNG", caller="a")
        with pytest.raises(Invalid, match="at most 4096 x 4096 pixels, got '4097 x 4097'"):
            await decoder.avatar(a_picture("PNG", 4097), "PNG", caller="a")
        with pytest.raises(BadReplay, match="truncated"):
            await decoder.frames(honest_frames()[:-20], player="a", caller="a")

    play(scenario)


def test_picture_beyond_the_limit_of_the_library_is_rejected_for_its_size() -> None:
    file = io.BytesIO()
    Image.new("1", (20_000, 10_000)).save(file, "PNG")
    huge = file.getvalue()

    with pytest.raises(Invalid, match="avatar must be at most 4096 x 4096 pixels"):
        pictures.avatar(huge, "PNG")
    with pytest.raises(Invalid, match="cover must be at most 4096 x 4096 pixels"):
        pictures.cover(huge, "PNG")
    with pytest.raises(Invalid, match="screenshot must be at most 7680 x 4320 pixels"):
        pictures.screenshot(huge, "png")
    with pytest.raises(Invalid, match="background must be at most 34000000 pixels"):
        pictures.thumbnail(huge, (80, 60))


def test_decoding_process_has_a_lower_priority_than_the_server_and_than_pp() -> None:
    with subprocess.Popen(decoding.COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        assert pool_process.read_answer(worker.stdout) == pool_process.READY
        priority = os.getpriority(os.PRIO_PROCESS, worker.pid)
        worker.stdin.close()

    assert priority == min(os.nice(0) + process.NICENESS, 19)
    assert process.NICENESS > pool_process.NICENESS


# --- pictures


def test_jpeg_with_too_many_scans_is_rejected_before_decoding() -> None:
    hostile = many_scans(4096, 20_000)
    assert len(hostile) < 1024**2

    error = f"a JPEG of at most {JPEG_SCANS_MAX} scans, got 20000"
    with pytest.raises(Invalid, match=error):
        pictures.avatar(hostile, "JPEG")
    with pytest.raises(Invalid, match=error):
        pictures.screenshot(hostile, "jpeg")
    with pytest.raises(Invalid, match=error):
        pictures.thumbnail(hostile, (80, 60))


def test_progressive_jpeg_of_any_encoder_is_accepted() -> None:
    assert pictures.avatar(many_scans(256, JPEG_SCANS_MAX), "JPEG")


def test_large_progressive_jpeg_is_rejected_before_decoding() -> None:
    large = a_picture("JPEG", 4100, progressive=True)
    refusal = "a JPEG of at most 16777216 pixels, or a baseline one"
    with pytest.raises(Invalid, match=refusal):
        pictures.screenshot(large, "jpeg")
    with pytest.raises(Invalid, match=refusal):
        pictures.thumbnail(large, (80, 60))
    assert pictures.screenshot(a_picture("JPEG", 4100), "jpeg")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the peak")
@pytest.mark.parametrize(
    ("call", "picture"),
    [
        pytest.param(
            "avatar(data, 'JPEG')", lambda: a_picture("JPEG", 4096, progressive=True), id="avatar, progressive JPEG"
        ),
        pytest.param("avatar(data, 'PNG')", lambda: a_picture("PNG", 4096), id="avatar, PNG"),
        pytest.param("screenshot(data, 'jpeg')", lambda: many_scans(4096, 60), id="screenshot, JPEG of 60 scans"),
        pytest.param("screenshot(data, 'png')", lambda: a_picture("PNG", 4096), id="screenshot, PNG"),
        pytest.param("thumbnail(data, (160, 120))", lambda: a_picture("PNG", 4096), id="background, PNG"),
        pytest.param("thumbnail(data, (160, 120))", lambda: a_picture("BMP", 4096), id="background, BMP"),
    ],
)
def test_decoding_16_million_pixels_takes_at_most_130_mb(call: str, picture: Callable[[], bytes]) -> None:
    program = (
        "import re, sys; from kiai.decoding import pictures; data = sys.stdin.buffer.read();"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1]);"
        f"before = peak(); pictures.{call}; print(peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=picture(), capture_output=True, check=True, timeout=patiently(120)
    )
    assert int(done.stdout) <= 130 * 1024


def test_picture_that_exceeds_its_cpu_time_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "PICTURE_CPU_S", 0.1)
    slow = a_picture("PNG", 4096)

    async def scenario(decoder: Decoder) -> None:
        for _ in range(2):
            with pytest.raises(Invalid, match="avatar must be a picture that can be decoded quickly"):
                await decoder.avatar(slow, "PNG", caller="a")
        assert await decoder.background(loading(a_set(slow)), 7, (80, 60), caller="a") == b""
        assert await decoder.screenshot(a_picture("PNG", 16), "png", caller="a")

    play(scenario)


# --- replays


def test_frames_that_exceed_their_cpu_time_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "FRAMES_CPU_S", 0.3)
    hostile = heavy_frames()
    assert len(hostile) < 16 * 1024

    async def scenario(decoder: Decoder) -> None:
        with pytest.raises(BadReplay, match="CPU time"):
            await decoder.frames(hostile, player="a", caller="a")
        assert (await decoder.frames(honest_frames(), player="a", caller="a")).frames == 202

    play(scenario)


def test_honest_replay_is_read_before_the_second_of_a_hundred_hostile_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "FRAMES_CPU_S", 0.5)
    hostile = heavy_frames()
    done: list[str] = []

    async def scenario(decoder: Decoder) -> None:
        async def read(stream: bytes, player: str, address: str) -> None:
            try:
                await decoder.frames(stream, player=player, caller=address)
            except Unavailable:  # the address has as many replays waiting as it may have
                return
            except BadReplay:
                pass
            done.append(player)

        # One address with four accounts, against the two processes for replays.
        attack = [asyncio.create_task(read(hostile, f"attacker {n % 4}", "203.0.113.1")) for n in range(100)]
        await asyncio.sleep(0)
        await read(honest_frames(), "honest", "198.51.100.1")
        await asyncio.gather(*attack)

    play(scenario)

    assert done.index("honest") <= 1, done
    assert len(done) > 2, "some of the attack waits"


class Recorded:
    """A pool that records its jobs. The jobs of `slow` callers exceed their CPU time."""

    def __init__(self, *slow: str) -> None:
        self.slow = slow
        self.callers: list[str] = []

    async def run_job(
        self, caller: str, head: bytes, read: Callable[[bytes], Any], *, cpu_s: float, load: Load | None = None
    ) -> Any:
        await asyncio.sleep(0)  # the queue
        assert load is not None
        stream = await load()
        self.callers.append(caller)
        if caller in self.slow:
            raise JobTimedOut("it needs more CPU time")
        return read(process.answer(head, stream))

    def pool(self) -> PoolUsage:
        return PoolUsage(0, 1)

    async def close(self) -> None:
        pass


def test_player_with_a_long_replay_uses_the_pool_for_long_replays_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    short, long = Recorded("user:3"), Recorded()

    async def scenario() -> None:
        decoder = Decoder(Recorded(), short, long)
        stream = honest_frames()

        # Both are in the queue of short replays when the first one turns out to be long.
        await asyncio.gather(*(decoder.frames(stream, player="user:3", caller="user:3") for _ in range(2)))
        assert (short.callers, long.callers) == (["user:3"], ["user:3", "user:3"])

        await decoder.frames(stream, player="user:3", caller="user:3")
        await decoder.frames(stream, player="user:4", caller="user:4")
        assert (short.callers, len(long.callers)) == (["user:3", "user:4"], 3)

        monkeypatch.setattr(decoding, "LONG_S", 0.0)
        short.slow = ("user:5",)
        await decoder.frames(stream, player="user:5", caller="user:5")
        await decoder.frames(stream, player="user:5", caller="user:5")
        assert short.callers[2:] == ["user:5", "user:5"], "the time is over"

    asyncio.run(scenario())


def test_number_of_remembered_players_with_long_replays_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "LONG_PLAYERS_MAX", 2)
    short = Recorded("a", "b", "c")

    async def scenario() -> None:
        decoder = Decoder(Recorded(), short, Recorded())
        for caller in ("a", "b", "c", "b", "a"):
            await decoder.frames(honest_frames(), player=caller, caller=caller)

    asyncio.run(scenario())

    assert short.callers == ["a", "b", "c", "a"], "the oldest is forgotten"


def test_pictures_and_replays_do_not_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "FRAMES_CPU_S", 2.0)
    hostile = heavy_frames()

    async def scenario(decoder: Decoder) -> None:
        # The start of a process of low priority can take longer than the attack on a busy machine.
        await decoder.avatar(a_picture("PNG", 16), "PNG", caller="user:3")
        attack = [asyncio.create_task(decoder.frames(hostile, player="user:3", caller="user:3")) for _ in range(4)]
        await asyncio.sleep(0)

        await decoder.avatar(a_picture("PNG", 16), "PNG", caller="user:3")

        assert not any(task.done() for task in attack[2:])
        await asyncio.gather(*attack, return_exceptions=True)

    play(scenario)

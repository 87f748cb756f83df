"""Files that are small and cost minutes to read: each is given up in good time, and nobody else waits for it."""

import asyncio
import contextlib
import io
import lzma
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
from PIL import Image
from tests.builders import a_map
from tests.patience import patiently

from kiai import workers
from kiai.decoding import decoder as decoding
from kiai.decoding import pictures
from kiai.decoding.decoder import Decoder, picture_workers, replay_workers
from kiai.decoding.pictures import JPEG_SCANS_MAX
from kiai.errors import Invalid
from kiai.osu.replay_file import BadReplay

STORY_S: Final = 60.0


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of processor time are under test, not how much of it this machine gives at once."""
    monkeypatch.setattr(workers, "WALL_FACTOR", patiently(workers.WALL_FACTOR))


def honest_frames() -> bytes:
    return _compressed(b"0|256|-500|0,-1|256|-500|0," + b"16|200.5|100.25|1," * 200)


def heavy_frames() -> bytes:
    """7 KB that unfold to 48 MiB of frames, which take seconds to read."""
    return _compressed(b"9|1|1|1," * (6 * 1024 * 1024))


def _compressed(text: bytes) -> bytes:
    return lzma.compress(text, format=lzma.FORMAT_ALONE, preset=0)


def a_picture(kind: str, side: int = 512, **how: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), (250, 90, 150)).save(out, kind, **how)
    return out.getvalue()


def many_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG that repeats its last scan, of a few bytes, which goes over all pixels each time."""
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
    decoder = Decoder(picture_workers(), replay_workers())
    try:
        async with asyncio.timeout(patiently(STORY_S)):
            yield decoder
    finally:
        await decoder.close()


def play(story: Callable[[Decoder], Awaitable[None]]) -> None:
    async def main() -> None:
        async with decoders() as decoder:
            await story(decoder)

    asyncio.run(main())


def loading(data: bytes) -> Callable[[], Awaitable[bytes]]:
    async def load() -> bytes:
        return data

    return load


# --- what is read as ever


def test_honest_files_are_read_as_without_processes() -> None:
    async def story(decoder: Decoder) -> None:
        png, jpeg = a_picture("PNG"), a_picture("JPEG", progressive=True)

        assert await decoder.avatar(png, "PNG", caller="a") == pictures.avatar(png, "PNG")
        assert await decoder.screenshot(jpeg, "jpeg", caller="a") == pictures.screenshot(jpeg, "jpeg")
        small = await decoder.background(loading(a_set(jpeg)), 7, (80, 60), caller="a")
        assert small == pictures.thumbnail(jpeg, (80, 60))
        assert await decoder.preview(loading(a_set(jpeg)), 7, caller="a") == b""
        assert (await decoder.frames(honest_frames(), caller="a")).frames == 202

    play(story)


def test_damaged_files_are_refused_with_the_reason() -> None:
    async def story(decoder: Decoder) -> None:
        with pytest.raises(Invalid, match="avatar must be a whole picture, got 'a damaged one'"):
            await decoder.avatar(a_picture("PNG")[:-30], "PNG", caller="a")
        with pytest.raises(Invalid, match="at most 4096 x 4096 pixels, got '4097 x 4097'"):
            await decoder.avatar(a_picture("PNG", 4097), "PNG", caller="a")
        with pytest.raises(BadReplay, match="cut"):
            await decoder.frames(honest_frames()[:-20], caller="a")

    play(story)


# --- pictures


def test_a_jpeg_of_too_many_scans_is_refused_before_it_is_decoded() -> None:
    hostile = many_scans(4096, 20_000)
    assert len(hostile) < 1024**2

    told = f"a JPEG of at most {JPEG_SCANS_MAX} scans, got 20000"
    with pytest.raises(Invalid, match=told):
        pictures.avatar(hostile, "JPEG")
    with pytest.raises(Invalid, match=told):
        pictures.screenshot(hostile, "jpeg")
    with pytest.raises(Invalid, match=told):
        pictures.thumbnail(hostile, (80, 60))


def test_a_progressive_jpeg_of_any_encoder_is_taken() -> None:
    assert pictures.avatar(many_scans(256, JPEG_SCANS_MAX), "JPEG")


def test_a_picture_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "PICTURE_CPU_S", 0.1)
    slow = a_picture("PNG", 4096)

    async def story(decoder: Decoder) -> None:
        for _ in range(2):
            with pytest.raises(Invalid, match="avatar must be a picture that is quickly decoded"):
                await decoder.avatar(slow, "PNG", caller="a")
        assert await decoder.background(loading(a_set(slow)), 7, (80, 60), caller="a") == b""
        assert await decoder.screenshot(a_picture("PNG", 16), "png", caller="a")

    play(story)


# --- replays


def test_frames_that_take_too_long_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "FRAMES_CPU_S", 0.3)
    hostile = heavy_frames()
    assert len(hostile) < 16 * 1024

    async def story(decoder: Decoder) -> None:
        with pytest.raises(BadReplay, match="processor time"):
            await decoder.frames(hostile, caller="a")
        assert (await decoder.frames(honest_frames(), caller="a")).frames == 202

    play(story)


def test_an_honest_replay_waits_for_no_more_than_one_job_of_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "FRAMES_CPU_S", 0.5)
    hostile = heavy_frames()
    done: list[str] = []

    async def story(decoder: Decoder) -> None:
        async def read(stream: bytes, caller: str) -> None:
            with contextlib.suppress(BadReplay):
                await decoder.frames(stream, caller=caller)
            done.append(caller)

        attack = [asyncio.create_task(read(hostile, "user:3")) for _ in range(8)]
        await asyncio.sleep(0)
        await read(honest_frames(), "user:4")
        await asyncio.gather(*attack)

    play(story)

    assert done.index("user:4") <= decoding.REPLAY_PROCESSES + 1, done


def test_pictures_and_replays_do_not_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "FRAMES_CPU_S", 2.0)
    hostile = heavy_frames()

    async def story(decoder: Decoder) -> None:
        attack = [asyncio.create_task(decoder.frames(hostile, caller="user:3")) for _ in range(4)]
        await asyncio.sleep(0)

        await decoder.avatar(a_picture("PNG", 16), "PNG", caller="user:3")

        assert not any(task.done() for task in attack[2:])
        await asyncio.gather(*attack, return_exceptions=True)

    play(story)

"""Analyses in real worker processes: hostile replays and maps cost a bounded time, and the next job is served."""

import asyncio
import lzma
from collections.abc import Awaitable, Callable

import pytest
from tests.osu.playing import a_chart, circles, played
from tests.patience import patiently

from kiai.decoding.decoder import COMMAND
from kiai.decoding.page_decoder import PageDecoder, page_workers
from kiai.osu.replay_analysis import ReplayAnalysis, analyse
from kiai.osu.replay_file import BadReplay

SONG = a_chart(circles(20))
FRAMES = played(SONG, [3.0] * 20)
# The end of each slider is on a curve of 1,900 points, and the circle behind it needs that end.
_CURVE = "".join(f"|{200 + k % 2}:{k % 300}" for k in range(1_900))
CURVES = [
    line
    for n in range(60)
    for line in (f"{n},100,{1000 + 200 * n},2,0,B{_CURVE},1,90", f"{n + 50},100,{1100 + 200 * n},1,0")
]


def run(scenario: Callable[[PageDecoder], Awaitable[None]]) -> None:
    async def main() -> None:
        # Without a lower priority: on a busy machine, jobs of low priority do not reach their limit of CPU time.
        decoder = PageDecoder(page_workers((*COMMAND, "0")))
        try:
            async with asyncio.timeout(patiently(90)):
                await scenario(decoder)
        finally:
            await decoder.close()

    asyncio.run(main())


async def analysed(decoder: PageDecoder, osu: bytes, frames: bytes) -> ReplayAnalysis:
    return await decoder.analysis(osu, frames, mode=0, mods=0, life_bar="", caller="test")


def test_process_gives_the_same_analysis_as_a_direct_call() -> None:
    async def scenario(decoder: PageDecoder) -> None:
        direct = analyse(SONG, FRAMES, mode=0, mods=0, life_bar="")
        assert await analysed(decoder, SONG, FRAMES) == direct

    run(scenario)


def test_curves_with_thousands_of_points_are_analysed_within_the_limit() -> None:
    async def scenario(decoder: PageDecoder) -> None:
        assert (await analysed(decoder, a_chart(CURVES), FRAMES)).undetected is None

    run(scenario)


@pytest.mark.parametrize(
    ("osu", "frames"),
    [
        pytest.param(SONG, lzma.compress(b"1|0|0|0," * 6_000_000, lzma.FORMAT_ALONE), id="frames"),
        pytest.param(SONG, b"no lzma", id="damaged"),
    ],
)
def test_hostile_input_is_refused_and_the_next_replay_is_analysed(osu: bytes, frames: bytes) -> None:
    async def scenario(decoder: PageDecoder) -> None:
        with pytest.raises(BadReplay):
            await analysed(decoder, osu, frames)
        assert (await analysed(decoder, SONG, FRAMES)).errors is not None

    run(scenario)

"""Live parts without a server: when a part is rendered, for whom, and what a slow page gets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

from kiai.clock import ManualClock
from kiai.faces.forms import Form
from kiai.faces.site import live
from kiai.faces.site.gateway import TooManyPages
from kiai.faces.site.live import Fragment, LivePart, LiveParts, for_everybody
from kiai.faces.site.locale import Locale, locale_of
from kiai.faces.site.page import BadParameter, QueryString, SiteRequest, Stream, Visitor
from kiai.realtime.feed import FeedEvent, feed_entry
from kiai.realtime.following import FeedFollower, LiveEvent
from kiai.realtime.memory import MemoryRealtime


class World:
    """Two parts that count how often they are rendered, over a feed in memory, with a clock that the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(live, "monotonic", lambda: self.now)
        self.realtime = MemoryRealtime(ManualClock())
        self.follower = FeedFollower(self.realtime)
        self.rendered: list[tuple[str, str, int]] = []
        self.failing = False
        self.text = "first"
        self.parts = LiveParts(
            self.follower,
            [
                LivePart("busy", self._keys, self._render, for_everybody, busy_s=2.0),
                LivePart("again", self._keys, self._render, for_everybody, again_s=0.75),
            ],
        )
        self._page = self.parts.pages()[0]

    def _keys(self, event: LiveEvent) -> Sequence[str]:
        return ("",) if event.type == "score" else ()

    async def _render(self, key: str, locale: Locale, changes: int) -> Fragment:
        self.rendered.append((locale.language, self.text, changes))
        if self.failing:
            raise RuntimeError("broken")
        return Fragment(self.text, f"{changes} new")

    async def open(
        self, parts: str = "busy", *, language: str = "en", address: str = "192.0.2.1"
    ) -> AsyncIterator[bytes]:
        request = SiteRequest(
            method="GET",
            url="/live",
            path={},
            query=QueryString({"parts": parts}),
            form=Form(),
            headers={},
            cookies={},
            address=address,
            now_ms=0,
            visitor=Visitor(),
            locale=locale_of(language),
        )
        answer = await self._page.handler(request)
        assert isinstance(answer, Stream)
        self.end = answer.end
        assert await anext(answer.chunks) == b"retry: 3000\n\n"
        return answer.chunks

    async def happen(self, count: int = 1, kind: Any = "score") -> None:
        await self.realtime.append([feed_entry(FeedEvent(kind, 0)) for _ in range(count)])
        await self.follower.follow()

    async def push(self, after_s: float = 0.0) -> None:
        self.now += after_s
        await self.parts.push()


async def arrived(chunks: AsyncIterator[bytes]) -> list[tuple[str, str]]:
    """Return (html, summary) of the parts in the next chunk."""
    chunk = await anext(chunks)
    found = [msgspec.json.decode(line[6:]) for line in chunk.split(b"\n") if line.startswith(b"data: ")]
    return [(one["html"], one["summary"]) for one in found]


def run(monkeypatch: pytest.MonkeyPatch, scenario: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        world = World(monkeypatch)
        await world.follower.follow()
        await scenario(world)

    asyncio.run(main())


def test_new_stream_gets_the_part_at_once_and_then_each_change(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        chunks = await world.open()
        await world.push()
        assert await arrived(chunks) == [("first", "0 new")]

        world.text = "second"
        await world.happen()
        await world.push(0.5)

        assert await arrived(chunks) == [("second", "1 new")]

    run(monkeypatch, scenario)


def test_part_is_rendered_once_per_language_for_all_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        for number in range(5):
            await world.open(language="de" if number == 4 else "en", address=f"192.0.2.{number}")
        await world.push()

        assert [language for language, _, _ in world.rendered] == ["en", "de"]

    run(monkeypatch, scenario)


def test_part_that_changes_often_is_rendered_once_in_two_seconds_with_the_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(world: World) -> None:
        await world.open()
        await world.push()
        for _ in range(12):
            await world.happen()
            await world.push(0.1)
        assert [changes for _, _, changes in world.rendered] == [0, 5], "the first ones, before it was known to be busy"
        await world.push(0.9)
        assert len(world.rendered) == 2
        await world.push(0.5)

        assert [changes for _, _, changes in world.rendered] == [0, 5, 7]

    run(monkeypatch, scenario)


def test_slow_page_gets_the_newest_version_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        chunks = await world.open()
        for number in range(100):
            world.text = f"version {number}"
            await world.happen()
            await world.push(3.0)

        assert await arrived(chunks) == [("version 99", "1 new")]

    run(monkeypatch, scenario)


def test_version_that_equals_the_last_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        chunks = await world.open()
        await world.push()
        await arrived(chunks)
        await world.happen()
        await world.push(1.0)
        world.text = "second"
        await world.happen()
        await world.push(1.0)

        assert await arrived(chunks) == [("second", "1 new")]

    run(monkeypatch, scenario)


def test_part_is_rendered_once_more_after_a_change_where_rows_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        await world.open("again")
        await world.push()
        await world.happen()
        await world.push(0.5)
        await world.push(0.8)
        await world.push(5.0)

        assert [changes for _, _, changes in world.rendered] == [0, 1, 0]

    run(monkeypatch, scenario)


def test_failing_part_is_tried_again_and_loses_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        chunks = await world.open()
        world.failing = True
        await world.happen()
        await world.push()
        world.failing = False
        await world.push(0.5)
        assert len(world.rendered) == 1
        await world.push(2.0)

        assert await arrived(chunks) == [("first", "1 new")]

    run(monkeypatch, scenario)


def test_events_of_other_kinds_change_nothing_and_a_gap_changes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        await world.open()
        await world.push()
        await world.happen(kind="presence")
        await world.push(5.0)
        assert len(world.rendered) == 1

        world.follower._next = 10_000  # the shared state was lost
        await world.happen()
        await world.push(5.0)

        assert len(world.rendered) == 2

    run(monkeypatch, scenario)


def test_address_has_a_bounded_number_of_streams_which_ended_ones_free(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        for _ in range(10):
            await world.open()
        with pytest.raises(TooManyPages):
            await world.open()
        await world.open(address="192.0.2.2")
        assert world.parts.streams == 11

        world.end()
        world.end()

        assert world.parts.streams == 10
        await world.open(address="192.0.2.2")

    run(monkeypatch, scenario)


def test_part_without_streams_is_not_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        await world.open()
        world.end()
        await world.happen()
        await world.push(5.0)

        assert world.rendered == []
        assert world.parts.streams == 0

    run(monkeypatch, scenario)


@pytest.mark.parametrize("parts", ["", "unknown", "busy.key", "busy,busy,busy,busy,busy", "busy.<b>"])
def test_wrong_parts_are_refused(monkeypatch: pytest.MonkeyPatch, parts: str) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(BadParameter):
            await world.open(parts)

    run(monkeypatch, scenario)


def test_streams_end_when_the_server_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        chunks = await world.open()
        world.parts.close()

        with pytest.raises(StopAsyncIteration):
            await anext(chunks)

    run(monkeypatch, scenario)

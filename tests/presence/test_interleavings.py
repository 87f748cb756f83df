"""Sessions that end and begin at the same moment, on both adapters: others are told of what is true at the end."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import pytest
from tests.contract.realtime.adapters import PLAIN, Adapter
from tests.contract.realtime.builders import a_session

from kiai.accounts import Accounts
from kiai.clock import ManualClock
from kiai.presence import Presence
from kiai.presence.model import Arrived, Left
from kiai.realtime.port import ONLINE, Entry, Realtime, Session, ShownStats, spectate_topic
from kiai.spectating import Spectating

ANNA, BORIS = 3, 4
Story = Callable[[Realtime], Awaitable[None]]


class Stopping:
    """A state whose verb `name` stops once, before it is done, for what happens meanwhile."""

    def __init__(self, inner: Realtime, name: str, meanwhile: Callable[[], Awaitable[object]]) -> None:
        self._inner = inner
        self._name = name
        self._meanwhile: Callable[[], Awaitable[object]] | None = meanwhile

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._inner, name)
        if name != self._name or self._meanwhile is None:
            return verb

        async def stopped(*args: Any, **named: Any) -> Any:
            meanwhile, self._meanwhile = self._meanwhile, None
            if meanwhile is not None:
                await meanwhile()
            return await verb(*args, **named)

        return stopped


def announce(fact: object) -> Sequence[Entry]:
    """What others are told, in words."""
    match fact:
        case Arrived():
            return [Entry(ONLINE, b"arrived", author=fact.session.user_id)]
        case Left():
            return [Entry(ONLINE, b"left", author=fact.user_id)]
        case _:
            return []


async def no_stats(user_id: int, mode: int) -> ShownStats:
    return ShownStats()


def presence_on(realtime: Realtime) -> Presence:
    return Presence(realtime, cast(Accounts, None), ManualClock(), announce, no_stats)


@pytest.fixture(params=list(PLAIN.values()), ids=list(PLAIN))
def run(request: pytest.FixtureRequest) -> Callable[[Story], None]:
    """Plays a story on each adapter."""
    adapter: Adapter = request.param

    def play(story: Story) -> None:
        async def on_empty_state() -> None:
            async with adapter(ManualClock()) as realtime:
                await story(realtime)

        asyncio.run(on_empty_state())

    return play


async def told(realtime: Realtime) -> list[bytes]:
    _, entries = await realtime.poll("reader")
    return [entry.body for entry in entries if entry.author == ANNA]


def test_a_player_who_comes_back_while_the_old_session_ends_is_seen(run: Callable[[Story], None]) -> None:
    async def story(realtime: Realtime) -> None:
        await realtime.open_session(a_session("reader", BORIS, ONLINE))
        await presence_on(realtime).arrive(a_session("old", ANNA))
        comes_back = lambda: presence_on(realtime).arrive(a_session("new", ANNA))  # noqa: E731
        ending = presence_on(cast(Realtime, Stopping(realtime, "append", comes_back)))

        await ending.end("old")

        assert await realtime.online_among([ANNA]) == {ANNA}
        assert (await told(realtime))[-1] == b"arrived"

    run(story)


def test_a_player_whose_old_session_ends_while_the_new_one_opens_is_seen(run: Callable[[Story], None]) -> None:
    async def story(realtime: Realtime) -> None:
        await realtime.open_session(a_session("reader", BORIS, ONLINE))
        await presence_on(realtime).arrive(a_session("old", ANNA))
        ends = lambda: presence_on(realtime).end("old")  # noqa: E731
        arriving = presence_on(cast(Realtime, Stopping(realtime, "open_session", ends)))

        await arriving.arrive(a_session("new", ANNA))

        assert await realtime.online_among([ANNA]) == {ANNA}
        assert await told(realtime) == [b"arrived", b"left", b"arrived"]

    run(story)


def test_the_channel_of_a_host_stays_for_who_comes_as_the_last_one_leaves(run: Callable[[Story], None]) -> None:
    async def story(realtime: Realtime) -> None:
        plain = Spectating(realtime, lambda fact: [])
        await realtime.open_session(a_session("host", ANNA))
        for token, user_id in (("first", BORIS), ("second", 5)):
            await realtime.open_session(a_session(token, user_id))
        await plain.start(await realtime.session("first"), ANNA)

        async def second_comes() -> Session:
            return (await plain.start(await realtime.session("second"), ANNA)).session

        leaving = Spectating(cast(Realtime, Stopping(realtime, "sessions_of", second_comes)), lambda fact: [])

        await leaving.stop(await realtime.session("first"))

        host = await realtime.session("host")
        assert await realtime.is_followed(spectate_topic(ANNA))
        assert f"chat:#spec_{ANNA}" in host.follows

    run(story)

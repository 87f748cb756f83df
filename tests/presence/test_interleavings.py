"""Sessions that end and begin at the same moment, on both adapters: other players see the final state."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import pytest
from tests.contract.realtime.adapters import PLAIN, Adapter
from tests.contract.realtime.builders import a_session

from kiai.accounts import Accounts
from kiai.clock import ManualClock
from kiai.presence import Presence
from kiai.presence.events import CameOnline, WentOffline
from kiai.realtime.port import ONLINE, Entry, Realtime, Session, SessionStats, spectate_topic
from kiai.spectating import Spectating

ANNA, BORIS = 3, 4
Scenario = Callable[[Realtime], Awaitable[None]]


class Interrupted:
    """A state that runs `meanwhile` once before its method `name`."""

    def __init__(self, inner: Realtime, name: str, meanwhile: Callable[[], Awaitable[object]]) -> None:
        self._inner = inner
        self._name = name
        self._meanwhile: Callable[[], Awaitable[object]] | None = meanwhile

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name != self._name or self._meanwhile is None:
            return method

        async def interrupted(*args: Any, **named: Any) -> Any:
            meanwhile, self._meanwhile = self._meanwhile, None
            if meanwhile is not None:
                await meanwhile()
            return await method(*args, **named)

        return interrupted


def announce(event: object) -> Sequence[Entry]:
    """Encode logins and log-outs as words."""
    match event:
        case CameOnline():
            return [Entry(ONLINE, b"arrived", author=event.session.user_id)]
        case WentOffline():
            return [Entry(ONLINE, b"left", author=event.user_id)]
        case _:
            return []


async def no_stats(user_id: int, mode: int) -> SessionStats:
    return SessionStats()


def presence_on(realtime: Realtime) -> Presence:
    return Presence(realtime, cast(Accounts, None), ManualClock(), announce, no_stats)


@pytest.fixture(params=list(PLAIN.values()), ids=list(PLAIN))
def run(request: pytest.FixtureRequest) -> Callable[[Scenario], None]:
    """Return a function that runs a scenario on each adapter."""
    adapter: Adapter = request.param

    def play(scenario: Scenario) -> None:
        async def on_empty_state() -> None:
            async with adapter(ManualClock()) as realtime:
                await scenario(realtime)

        asyncio.run(on_empty_state())

    return play


async def announced(realtime: Realtime) -> list[bytes]:
    _, entries = await realtime.poll("reader")
    return [entry.body for entry in entries if entry.author == ANNA]


def test_player_who_logs_in_while_the_old_session_ends_is_visible(run: Callable[[Scenario], None]) -> None:
    async def scenario(realtime: Realtime) -> None:
        await realtime.open_session(a_session("reader", BORIS, ONLINE))
        await presence_on(realtime).open_session(a_session("old", ANNA))
        comes_back = lambda: presence_on(realtime).open_session(a_session("new", ANNA))  # noqa: E731
        ending = presence_on(cast(Realtime, Interrupted(realtime, "append", comes_back)))

        await ending.end("old")

        assert await realtime.online_among([ANNA]) == {ANNA}
        assert (await announced(realtime))[-1] == b"arrived"

    run(scenario)


def test_player_whose_old_session_ends_during_the_login_is_visible(run: Callable[[Scenario], None]) -> None:
    async def scenario(realtime: Realtime) -> None:
        await realtime.open_session(a_session("reader", BORIS, ONLINE))
        await presence_on(realtime).open_session(a_session("old", ANNA))
        ends = lambda: presence_on(realtime).end("old")  # noqa: E731
        arriving = presence_on(cast(Realtime, Interrupted(realtime, "open_session", ends)))

        await arriving.open_session(a_session("new", ANNA))

        assert await realtime.online_among([ANNA]) == {ANNA}
        assert await announced(realtime) == [b"arrived", b"left", b"arrived"]

    run(scenario)


def test_spectator_channel_stays_when_one_joins_while_the_last_one_leaves(run: Callable[[Scenario], None]) -> None:
    async def scenario(realtime: Realtime) -> None:
        plain = Spectating(realtime, lambda event: [])
        await realtime.open_session(a_session("host", ANNA))
        for token, user_id in (("first", BORIS), ("second", 5)):
            await realtime.open_session(a_session(token, user_id))
        await plain.start(await realtime.session("first"), ANNA)

        async def second_comes() -> Session:
            return (await plain.start(await realtime.session("second"), ANNA)).session

        leaving = Spectating(cast(Realtime, Interrupted(realtime, "sessions_of", second_comes)), lambda event: [])

        await leaving.stop(await realtime.session("first"))

        host = await realtime.session("host")
        assert await realtime.is_followed(spectate_topic(ANNA))
        assert f"chat:#spec_{ANNA}" in host.follows

    run(scenario)

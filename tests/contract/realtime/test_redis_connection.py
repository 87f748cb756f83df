"""A connection to a real Redis without the streams of the library: answers, their order, and every way it can end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hiredis import pack_command
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, ResponseError
from tests.patience import patiently
from tests.redises import RedisServer, a_redis

from kiai.clock import ManualClock
from kiai.realtime import pipeline
from kiai.realtime.connecting import connect
from kiai.realtime.port import StateUnavailable
from kiai.realtime.redis import RedisRealtime
from kiai.realtime.redis_connection import RedisConnection

ENDS_S = 10.0
Answers = list[Any] | Exception


@pytest.fixture
def redis() -> RedisServer:
    server = a_redis()
    with Redis(port=server.port) as client:
        client.flushall()
    return server


@contextlib.asynccontextmanager
async def opened(redis: RedisServer) -> AsyncIterator[RedisConnection]:
    client: Any = connect(redis.url)
    connection = RedisConnection(await client.connection_pool.get_connection())
    try:
        yield connection
    finally:
        connection.close(RedisConnectionError("the test ends"))
        connection.opened.mark_for_reconnect()
        await client.connection_pool.release(connection.opened)
        await client.aclose()


async def answers_of(connection: RedisConnection, *commands: tuple[Any, ...]) -> Answers:
    found: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()
    connection.send(b"".join(map(pack_command, commands)), len(commands), found.set_result)
    async with asyncio.timeout(patiently(ENDS_S)):
        return await found


def run(redis: RedisServer, scenario: Callable[[RedisConnection], Awaitable[Any]]) -> Any:
    async def use() -> Any:
        async with opened(redis) as connection:
            return await scenario(connection)

    return asyncio.run(use())


def test_answers_arrive_in_order_and_an_error_is_one_of_them(redis: RedisServer) -> None:
    large = b"x" * 1_000_000

    async def scenario(connection: RedisConnection) -> list[Answers]:
        first = await answers_of(
            connection, ("SET", "kiai:a", large), ("HGET", "kiai:a", "x"), ("GET", "kiai:a"), ("EVALSHA", "0" * 40, 0)
        )
        return [first, await answers_of(connection, ("STRLEN", "kiai:a"))]

    [stored, wrong, found, missing], [length] = run(redis, scenario)

    assert (stored, found, length) == (b"OK", large, 1_000_000)
    assert isinstance(wrong, ResponseError)
    assert type(missing).__name__ == "NoScriptError"


def test_answers_that_arrive_byte_by_byte_are_passed_on_together_and_once(redis: RedisServer) -> None:
    async def scenario(connection: RedisConnection) -> tuple[list[Answers], list[Answers]]:
        passed_on: list[Answers] = []
        connection.send(b"", 2, passed_on.append)
        data = b"$3\r\nabc\r\n:17\r\n"
        for at in range(len(data) - 1):
            connection.data_received(data[at : at + 1])
        early = list(passed_on)
        connection.data_received(data[-1:])
        return early, passed_on

    assert run(redis, scenario) == ([], [[b"abc", 17]])


def test_messages_that_redis_sends_by_itself_are_not_answers(redis: RedisServer) -> None:
    async def scenario(connection: RedisConnection) -> tuple[list[Answers], bool]:
        passed_on: list[Answers] = []
        connection.data_received(b">2\r\n+invalidate\r\n*1\r\n$1\r\nx\r\n")
        connection.send(b"", 1, passed_on.append)
        connection.data_received(b">2\r\n+invalidate\r\n*1\r\n$1\r\nx\r\n+OK\r\n")
        return passed_on, connection.is_open

    assert run(redis, scenario) == ([[b"OK"]], True)


@pytest.mark.parametrize(
    ("waits", "data", "kind"),
    [
        (True, b"!broken\r\n", InvalidResponse),
        (True, b"+OK\r\n+OK\r\n", RedisConnectionError),
        (False, b"+OK\r\n", None),
    ],
    ids=["broken", "too many", "not asked for"],
)
def test_data_that_belongs_to_no_command_closes_the_connection(
    redis: RedisServer, waits: bool, data: bytes, kind: type[Exception] | None
) -> None:
    async def scenario(connection: RedisConnection) -> tuple[list[Answers], bool]:
        passed_on: list[Answers] = []
        if waits:
            connection.send(b"", 1, passed_on.append)
        connection.data_received(data)
        await asyncio.sleep(0.05)  # `connection_lost` comes later, and must not end the sending again
        return passed_on, connection.is_open

    passed_on, is_open = run(redis, scenario)

    assert [type(one) for one in passed_on] == ([] if kind is None else [kind])
    assert not is_open


def test_sending_ends_at_once_when_redis_closes_the_connection(redis: RedisServer) -> None:
    async def scenario(connection: RedisConnection) -> Answers:
        waiting = asyncio.ensure_future(answers_of(connection, ("BLPOP", "kiai:nothing", 60)))
        await asyncio.sleep(0.05)
        with Redis(port=redis.port) as client:
            client.client_kill_filter(_type="normal", skipme=True)
        return await waiting

    found = run(redis, scenario)

    assert isinstance(found, RedisConnectionError)


def test_sending_over_a_connection_that_the_loop_has_closed_ends(redis: RedisServer) -> None:
    async def scenario(connection: RedisConnection) -> Answers:
        connection.close(RedisConnectionError("it is closed"))
        await asyncio.sleep(0.05)
        return await answers_of(connection, ("PING",))

    assert isinstance(run(redis, scenario), Exception)


def test_late_answer_goes_to_nobody(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "UNAVAILABLE_S", 0.01)

    async def scenario() -> tuple[str, list[object]]:
        realtime = RedisRealtime.connect(redis.url, ManualClock())
        sending = realtime._keys.sessions.pipeline
        try:
            await realtime.online_count()  # from now on there is a connection for sendings at once
            with monkeypatch.context() as short:
                short.setattr(pipeline, "TIMEOUT_S", 0.1)
                with pytest.raises(StateUnavailable) as failed:
                    await sending.call(("BLPOP", "kiai:nothing", 0.5))
            await asyncio.sleep(0.05)
            later: list[object] = [await realtime.online_count()]
            await asyncio.sleep(0.7)
            return failed.value.reason, [*later, await realtime.online_count(), sending.sending]
        finally:
            await realtime.close()

    assert asyncio.run(scenario()) == ("no answer", [0, 0, 0])


def test_cancelled_caller_leaves_the_connection_to_the_others(redis: RedisServer) -> None:
    async def scenario() -> tuple[bytes, int]:
        realtime = RedisRealtime.connect(redis.url, ManualClock())
        sending = realtime._keys.sessions.pipeline
        try:
            await sending.call(("SET", "kiai:a", "1"))
            slow = asyncio.create_task(sending.call(("BLPOP", "kiai:nothing", 0.05)))
            await asyncio.sleep(0.01)
            slow.cancel()
            await asyncio.wait([slow])
            await asyncio.sleep(0.3)
            with Redis(port=redis.port) as client:
                connected = len(client.client_list(_type="normal")) - 1
            return await sending.call(("GET", "kiai:a")), connected
        finally:
            await realtime.close()

    assert asyncio.run(scenario()) == (b"1", 1)

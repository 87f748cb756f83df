"""That what Redis holds ends where it should: by topic, by session, and when everybody has gone."""

import asyncio
from typing import Any

from redis.asyncio import Redis
from tests.contract.realtime import adapters
from tests.contract.realtime.builders import a_session, an_entry
from tests.redises import a_redis

from kiai.clock import ManualClock
from kiai.realtime.port import LOBBY, ONLINE, STATUS, bound_of, chat_topic, user_topic

SESSIONS = 1_000
SESSION_BYTES_MAX = 12 * 1024
FRIENDS = 50
OVERHEAD = 1.5  # of what Redis needs beside the bodies


async def used_bytes(redis: Redis) -> int:
    return int((await redis.info("memory"))["used_memory"])


def test_a_topic_takes_no_more_than_its_bound_however_much_is_said() -> None:
    async def scenario() -> None:
        redis: Redis = Redis.from_url(a_redis().url)
        async with adapters.redis(ManualClock()) as realtime:
            topic = chat_topic("#osu")
            await realtime.open_session(a_session("reader", 3, topic))
            bound, body = bound_of(topic), b"x" * 4_000
            for _ in range(2 * bound.bytes // len(body) // 50):
                await realtime.append([an_entry(topic, body)] * 50)

            kept = await redis.memory_usage(f"kiai:t:{{{topic}}}:l", samples=0)
            assert kept is not None
            assert bound.bytes / OVERHEAD < kept < bound.bytes * OVERHEAD
        await redis.aclose()

    asyncio.run(scenario())


def test_a_session_takes_few_kilobytes_and_leaves_nothing_behind() -> None:
    async def scenario() -> tuple[float, list[Any]]:
        redis: Redis = Redis.from_url(a_redis().url)
        async with adapters.redis(ManualClock()) as realtime:
            before = await used_bytes(redis)
            for number in range(SESSIONS):
                user_id = 3 + number
                follows = (ONLINE, STATUS, LOBBY, user_topic(user_id), chat_topic("#osu"), chat_topic("#announce"))
                friends = frozenset(range(3, 3 + FRIENDS))
                await realtime.open_session(a_session(f"{number:036}", user_id, *follows, friends=friends))
                await realtime.append([an_entry(STATUS, b"y" * 100, author=user_id)])
            each = (await used_bytes(redis) - before) / SESSIONS
            for number in range(SESSIONS):
                await realtime.close_session(f"{number:036}")
            left = sorted(await redis.keys("kiai:*"))
        await redis.aclose()
        return each, left

    each, left = asyncio.run(scenario())

    assert each < SESSION_BYTES_MAX, each
    assert left == [b"kiai:b:n"], "the number of the last status goes on"

"""Bounds of the data in Redis: per topic, per session, and after the last session has ended."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis
from tests.contract.realtime import adapters
from tests.contract.realtime.builders import a_session, an_entry, in_pages
from tests.redises import a_redis

from kiai.clock import ManualClock
from kiai.realtime.port import (
    LOBBY,
    ONLINE,
    STATUS,
    Rank,
    RankEntry,
    StateUnavailable,
    bound_of,
    chat_topic,
    user_topic,
)
from kiai.realtime.redis import RedisRealtime

SESSIONS = 1_000
SESSION_BYTES_MAX = 12 * 1024
FRIENDS = 50
OVERHEAD = 1.5  # Redis needs memory in addition to the bodies


async def used_bytes(redis: Redis) -> int:
    return int((await redis.info("memory"))["used_memory"])


def test_memory_of_a_topic_stays_within_its_bound() -> None:
    async def scenario() -> None:
        redis: Redis = Redis.from_url(a_redis().url)
        async with adapters.redis(ManualClock()) as realtime:
            topic = chat_topic("#osu")
            await realtime.open_session(a_session("reader", 3, topic))
            bound, body = bound_of(topic), b"x" * 4_000
            for _ in range(2 * bound.bytes // len(body) // 50):
                await realtime.append([an_entry(topic, body)] * 50)

            stored = await redis.memory_usage(f"kiai:t:{{{topic}}}:l", samples=0)
            assert stored is not None
            assert bound.bytes / OVERHEAD < stored < bound.bytes * OVERHEAD
        await redis.aclose()

    asyncio.run(scenario())


def test_session_uses_few_kilobytes_and_frees_them() -> None:
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
    assert left == [b"kiai:b:n", b"kiai:n", b"kiai:n:n"], "the number of the last status and the log of changes stay"


def test_partly_loaded_ranks_expire_and_ranks_in_use_do_not() -> None:
    async def scenario() -> tuple[set[Any], set[int], set[int], int]:
        redis: Redis = Redis.from_url(a_redis().url, decode_responses=True)
        async with adapters.redis(ManualClock()) as realtime:
            await realtime.replace_ranks(in_pages([RankEntry(3, 0, "nl", 100)]))
            in_use = set(await redis.keys("kiai:z:*"))
            assert isinstance(realtime, RedisRealtime)
            await realtime._run("ranks", "load", 99, 4, 0, "de", 50, 5, 4, "jp", 40)
            left = set(await redis.keys("kiai:z:*")) - in_use
            cut_off = {await redis.ttl(key) for key in left}
            stored = {await redis.ttl(key) for key in in_use}
            await realtime.replace_ranks(in_pages([RankEntry(4, 0, "de", 50), RankEntry(5, 4, "jp", 40)]))
            now = set(await redis.keys("kiai:z:*")) - left
            stored |= {await redis.ttl(key) for key in now}
            gone = len(in_use & now - {"kiai:z:g", "kiai:z:n"})
        await redis.aclose()
        return left, cut_off, stored, gone

    left, cut_off, stored, gone = asyncio.run(scenario())

    assert left
    assert all(0 < ttl <= 600 for ttl in cut_off)
    assert stored == {-1}
    assert gone == 0


def test_ranks_that_expired_during_loading_never_replace_ranks_in_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> Rank:
        redis: Redis = Redis.from_url(a_redis().url, decode_responses=True)
        async with adapters.redis(ManualClock()) as realtime:
            await realtime.replace_ranks(in_pages([RankEntry(3, 0, "nl", 100)]))
            assert isinstance(realtime, RedisRealtime)
            run = realtime._run

            async def late(script: str, *arguments: Any) -> Any:
                if arguments[0] == "switch":
                    expired = await redis.keys(f"kiai:z:{arguments[1]}:*")
                    await redis.delete(*expired)
                return await run(script, *arguments)

            monkeypatch.setattr(realtime, "_run", late)
            with pytest.raises(StateUnavailable):
                await realtime.replace_ranks(in_pages([RankEntry(4, 0, "de", 50)]))
            found = await realtime.rank_of(3, 0)
        await redis.aclose()
        return found

    assert asyncio.run(scenario()) == Rank(1, 1)

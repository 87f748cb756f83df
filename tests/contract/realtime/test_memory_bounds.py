"""Bounds of the memory adapter's tables, and its snapshot."""

import asyncio
import gc
from collections import Counter
from typing import Any

import msgspec
import pytest
from tests.contract.realtime.builders import a_session, an_entry, becomes, entries, read

from kiai.clock import ManualClock
from kiai.realtime.memory import MemoryRealtime
from kiai.realtime.port import (
    BOUNDS,
    BUCKETS_MAX,
    FEED,
    LOCK_WAITERS_MAX,
    ONCE_KEYS_MAX,
    ONLINE,
    PERMANENT_TOPICS,
    SESSIONS_MAX,
    STATUS,
    TooMany,
    bound_of,
    chat_topic,
    user_topic,
)


def decoded_snapshot(realtime: MemoryRealtime) -> dict[str, Any]:
    """Decode the adapter's snapshot, which has all sessions, topics and matches."""
    decoded: dict[str, Any] = msgspec.msgpack.decode(realtime.snapshot())
    return decoded


def alive() -> Counter[str]:
    """Count the objects of the memory adapter by type."""
    gc.collect()
    ours = (found for found in gc.get_objects() if type(found).__module__ == MemoryRealtime.__module__)
    return Counter(type(found).__name__ for found in ours)


def test_bucket_unused_longest_is_dropped_first_beyond_the_bound() -> None:
    async def scenario() -> None:
        realtime = MemoryRealtime(ManualClock())
        for bucket in ("in use", "unused"):
            await realtime.consume(bucket, limit=1, period_s=60)
        for number in range(BUCKETS_MAX - 2):
            await realtime.consume(str(number), limit=1, period_s=60)

        in_use_at_the_bound = await realtime.consume("in use", limit=1, period_s=60)
        await realtime.consume("one too small", limit=1, period_s=60)
        in_use_past_the_bound = await realtime.consume("in use", limit=1, period_s=60)
        unused_past_the_bound = await realtime.consume("unused", limit=1, period_s=60)

        assert [in_use_at_the_bound.granted, in_use_past_the_bound.granted] == [False, False]
        assert unused_past_the_bound.granted

    asyncio.run(scenario())


def test_once_key_nearest_its_end_is_dropped_first_beyond_the_bound() -> None:
    async def scenario() -> None:
        realtime = MemoryRealtime(ManualClock())
        await realtime.once("ends soon", 10)
        for number in range(ONCE_KEYS_MAX - 1):
            await realtime.once(str(number), 60)

        at_the_bound = await realtime.once("ends soon", 10)
        await realtime.once("one too small", 60)

        assert not at_the_bound
        assert await realtime.once("ends soon", 10)
        assert not await realtime.once("one too small", 60)

    asyncio.run(scenario())


def test_once_keys_of_a_day_do_not_drop_those_of_seconds() -> None:
    async def scenario() -> None:
        realtime = MemoryRealtime(ManualClock())
        await realtime.once("line", 10)
        for number in range(ONCE_KEYS_MAX + 10):
            await realtime.once(str(number), 86_400)

        assert not await realtime.once("line", 10)

    asyncio.run(scenario())


def test_sessions_beyond_the_bound_are_refused_but_an_open_session_can_be_replaced() -> None:
    async def scenario() -> None:
        realtime = MemoryRealtime(ManualClock())
        sessions = [a_session(str(n), 3 + n) for n in range(SESSIONS_MAX + 1)]
        for session in sessions[:-1]:
            await realtime.open_session(session)

        with pytest.raises(TooMany):
            await realtime.open_session(sessions[-1], [an_entry(FEED, "came")])
        assert await realtime.feed_end(FEED) == 0
        await realtime.open_session(sessions[0])

        assert await realtime.online_count() == SESSIONS_MAX

    asyncio.run(scenario())


def test_ended_sessions_free_all_their_state() -> None:
    async def scenario() -> None:
        realtime = MemoryRealtime(ManualClock())
        before = alive()
        for number in range(1_000):
            token, user_id = str(number), 3 + number // 2
            topics = (ONLINE, STATUS, user_topic(user_id), chat_topic("#osu"), chat_topic(f"#spec_{number}"))
            await realtime.open_session(a_session(token, user_id, *topics), [an_entry(STATUS, "here", user_id)])
            await realtime.change_session(token, becomes(an_entry(ONLINE, "hi"), follows=frozenset(topics[:4])))
            async with realtime.session_lock(token):
                await realtime.append([an_entry(user_topic(user_id), "to you"), an_entry(topics[4], "to nobody")])

        for number in range(1_000):
            if number % 3:
                await realtime.poll(str(number))
            assert await realtime.close_session(str(number)) is not None

        found = decoded_snapshot(realtime)
        assert (found["sessions"], found["statuses"], found["matches"]) == ([], [], {})
        assert [log[0] for log in found["logs"]] == [*PERMANENT_TOPICS]
        assert await realtime.online_count() == 0
        assert alive() == before

    asyncio.run(scenario())


def test_cancelled_requests_leave_no_session_lock() -> None:
    async def scenario() -> None:
        realtime = MemoryRealtime(ManualClock())
        before = alive()

        async def stay(token: str) -> None:
            async with realtime.session_lock(token):
                await asyncio.Event().wait()

        async def wait_in_vain(token: str) -> None:
            tasks = [asyncio.create_task(stay(token)) for _ in range(LOCK_WAITERS_MAX + 1)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        for number in range(50):
            await realtime.open_session(a_session(str(number)))
            await wait_in_vain(str(number))
            await realtime.close_session(str(number))
        await asyncio.sleep(0)  # the event loop still references the task that it ran last

        assert alive() == before

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", BOUNDS)
def test_topic_without_polls_stays_within_its_bound(kind: str) -> None:
    async def scenario() -> None:
        realtime = MemoryRealtime(ManualClock())
        topic = kind if kind in (FEED, ONLINE, "lobby") else f"{kind}:1"
        bound = bound_of(topic)
        await realtime.open_session(a_session("token-a", 3, topic))

        await realtime.append(entries(topic, range(3 * bound.entries)))
        [small] = [log for log in decoded_snapshot(realtime)["logs"] if log[0] == topic]
        await realtime.append(entries(topic, [bytes(bound.bytes // 8)] * 20))
        [large] = [log for log in decoded_snapshot(realtime)["logs"] if log[0] == topic]

        assert bound.entries <= len(small[2]) <= bound.entries * 9 // 8
        assert sum(len(entry["body"]) for entry in large[2]) <= bound.bytes

    asyncio.run(scenario())


def test_snapshot_restores_sessions_cursors_statuses_topics_and_matches() -> None:
    class Match(msgspec.Struct, frozen=True):
        name: str

    async def scenario() -> None:
        before = MemoryRealtime(ManualClock())
        osu = chat_topic("#osu")
        first = a_session("token-a", 3, osu, STATUS, friends=frozenset({4}))
        await before.open_session(first)
        await before.open_session(a_session("token-b", 4, osu))
        await before.append([*entries(osu, [1, 2]), an_entry(STATUS, "old", 4), an_entry(FEED, "event")])
        await before.poll("token-a")
        await before.append([an_entry(osu, 3), an_entry(STATUS, "new", 4)])
        match_id = await before.open_match(Match("a match"))

        after = MemoryRealtime(ManualClock())
        restored = after.restore(before.snapshot(), Match)

        assert restored == 2
        assert await after.session("token-a") == first
        assert await read(after, "token-a") == [b"3", b"new"]
        assert await read(after, "token-b") == [b"1", b"2", b"3"]
        assert await after.match(match_id, Match) == Match("a match")
        assert await after.feed_after(FEED, 0) == (0, [b"event"])
        assert (await after.followers([osu]), await after.online_count()) == ([2], 2)
        assert decoded_snapshot(after) == decoded_snapshot(before) | {"sessions": decoded_snapshot(after)["sessions"]}
        for token in ("token-a", "token-b"):
            await after.close_session(token)
        assert [log[0] for log in decoded_snapshot(after)["logs"]] == [*PERMANENT_TOPICS]

    asyncio.run(scenario())

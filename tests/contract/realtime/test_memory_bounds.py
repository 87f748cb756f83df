"""That the tables of the memory adapter end where they say."""

import asyncio

import pytest

from kiai.clock import ManualClock
from kiai.realtime.memory import MemoryRealtime
from kiai.realtime.port import BUCKETS_MAX, ONCE_KEYS_MAX, SESSIONS_MAX, Session, Status, TooMany


def test_past_the_bound_the_bucket_longest_unused_is_forgotten_first() -> None:
    async def scenario() -> None:
        realtime = MemoryRealtime(ManualClock())
        for bucket in ("in use", "unused"):
            await realtime.take(bucket, limit=1, period_s=60)
        for number in range(BUCKETS_MAX - 2):
            await realtime.take(str(number), limit=1, period_s=60)

        in_use_at_the_bound = await realtime.take("in use", limit=1, period_s=60)
        await realtime.take("one too many", limit=1, period_s=60)
        in_use_past_the_bound = await realtime.take("in use", limit=1, period_s=60)
        unused_past_the_bound = await realtime.take("unused", limit=1, period_s=60)

        assert [in_use_at_the_bound.granted, in_use_past_the_bound.granted] == [False, False]
        assert unused_past_the_bound.granted

    asyncio.run(scenario())


def test_past_the_bound_the_key_nearest_its_end_is_forgotten_first() -> None:
    async def scenario() -> None:
        realtime = MemoryRealtime(ManualClock())
        await realtime.once("ends soon", 10)
        for number in range(ONCE_KEYS_MAX - 1):
            await realtime.once(str(number), 60)

        at_the_bound = await realtime.once("ends soon", 10)
        await realtime.once("one too many", 60)

        assert not at_the_bound
        assert await realtime.once("ends soon", 10)
        assert not await realtime.once("one too many", 60)

    asyncio.run(scenario())


def test_past_the_bound_no_session_is_opened_but_an_open_one_may_be_replaced() -> None:
    async def scenario() -> None:
        realtime = MemoryRealtime(ManualClock())
        sessions = [
            Session(token=str(n), user_id=3 + n, login_time_ms=0, last_seen_ms=0, status=Status(), hidden=False)
            for n in range(SESSIONS_MAX + 1)
        ]
        for session in sessions[:-1]:
            await realtime.open_session(session)

        with pytest.raises(TooMany):
            await realtime.open_session(sessions[-1])
        await realtime.open_session(sessions[0])

        assert await realtime.online_count() == SESSIONS_MAX

    asyncio.run(scenario())

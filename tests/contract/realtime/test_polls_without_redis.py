"""Polls that a worker answers without Redis: two workers on a real Redis, each with its own adapter."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import pytest
from redis.asyncio import Redis
from tests.contract.realtime.builders import a_session, an_entry, becomes
from tests.redises import RedisServer, a_redis

from kiai.clock import ManualClock
from kiai.realtime.changes import CHANGES_READ_MAX, FRESH_S, LOG_MAX, NAMES_MAX, REFRESH_S, ChangesOfState, KnownSession
from kiai.realtime.port import (
    CROWDED_ABOVE,
    ONLINE,
    STATUS,
    Entry,
    FellBehind,
    Session,
    SessionGone,
    StateUnavailable,
    chat_topic,
    user_topic,
)
from kiai.realtime.redis import RedisRealtime

OSU: Final = chat_topic("#osu")
SEEN_EVERY_S: Final = 4.0


class Workers(msgspec.Struct):
    """Two workers, a connection of the test, and the clock of all."""

    mine: RedisRealtime
    other: RedisRealtime
    redis: Any
    clock: ManualClock


@asynccontextmanager
async def two_workers(url: str | None = None) -> AsyncIterator[Workers]:
    clock = ManualClock()
    clients = [Redis.from_url(url or a_redis().url) for _ in range(3)]
    await clients[0].flushall()
    mine, other = (
        RedisRealtime(client, clock, now=clock.monotonic, seen_every_s=SEEN_EVERY_S) for client in clients[:2]
    )
    try:
        yield Workers(mine, other, clients[2], clock)
    finally:
        for client in clients:
            await client.aclose()


def run(scenario: Callable[[Workers], Awaitable[None]]) -> None:
    async def on_workers() -> None:
        async with two_workers() as workers:
            await scenario(workers)

    asyncio.run(on_workers())


async def at_once(worker: RedisRealtime, token: str = "token-a") -> list[bytes] | None:
    """Poll without Redis. None: the session is not ready."""
    return None if worker.ready_session(token) is None else [entry.body for entry in worker.poll_at_once(token)]


async def poll(worker: RedisRealtime, token: str = "token-a") -> list[bytes]:
    """Poll as the server does."""
    found = await at_once(worker, token)
    return [entry.body for entry in (await worker.poll(token))[1]] if found is None else found


async def ready(worker: RedisRealtime, session: Session) -> None:
    """Open a session, and make it ready in this worker."""
    await worker.open_session(session)
    await worker.read_changes()
    await worker.poll(session.token)
    await worker.read_changes()
    assert worker.ready_session(session.token) == session


def test_idle_polls_make_no_call_of_redis() -> None:
    async def scenario(workers: Workers) -> None:
        await ready(workers.mine, a_session("token-a", 3, ONLINE, STATUS, OSU, user_topic(3)))
        await workers.redis.config_resetstat()

        answers = [await at_once(workers.mine) for _ in range(100)]

        assert answers == [[]] * 100
        assert workers.mine.polls == {"state": 1, "worker": 100}
        assert (await workers.redis.info("stats"))["total_commands_processed"] <= 2

    run(scenario)


@pytest.mark.parametrize("topic", [OSU, ONLINE, user_topic(3)])
def test_entry_of_another_worker_is_in_the_first_poll_after_the_changes_are_read(topic: str) -> None:
    async def scenario(workers: Workers) -> None:
        await ready(workers.mine, a_session("token-a", 3, ONLINE, STATUS, OSU, user_topic(3)))

        await workers.other.append([an_entry(topic, "new")])
        await workers.mine.read_changes()

        assert await at_once(workers.mine) is None
        assert await poll(workers.mine) == [b"new"]
        await workers.mine.read_changes()
        assert await at_once(workers.mine) == []

    run(scenario)


def test_entry_of_another_worker_is_in_a_poll_after_the_promised_time_at_the_latest() -> None:
    """Even if this worker reads no changes, for whatever reason."""

    async def scenario(workers: Workers) -> None:
        await ready(workers.mine, a_session("token-a", 3, OSU))
        await workers.other.append([an_entry(OSU, "new")])

        workers.clock.advance(FRESH_S + 0.001)

        assert await poll(workers.mine) == [b"new"]

    run(scenario)


def test_entry_of_this_worker_is_in_the_next_poll() -> None:
    async def scenario(workers: Workers) -> None:
        await ready(workers.mine, a_session("token-a", 3, OSU, STATUS))

        await workers.mine.append([an_entry(OSU, "appended")])
        assert await poll(workers.mine) == [b"appended"]
        await workers.mine.once("key", 10, [an_entry(OSU, "once")])
        assert await poll(workers.mine) == [b"once"]
        await workers.mine.open_session(a_session("token-b", 4, OSU), [an_entry(OSU, "opened")])
        assert await poll(workers.mine) == [b"opened"]
        await workers.mine.change_session("token-b", becomes(an_entry(OSU, "changed")))
        assert await poll(workers.mine) == [b"changed"]
        match_id = await workers.mine.open_match(Match())
        await workers.mine.change_match(match_id, Match, lambda match: (match, [an_entry(OSU, "of a match")]))
        assert await poll(workers.mine) == [b"of a match"]

    run(scenario)


class Match(msgspec.Struct, frozen=True):
    """Any match."""

    name: str = ""


def test_change_of_the_session_by_another_worker_is_in_the_next_poll() -> None:
    async def scenario(workers: Workers) -> None:
        await ready(workers.mine, a_session("token-a", 3, OSU))
        await workers.other.change_session("token-a", becomes(away="gone"))
        await workers.mine.read_changes()

        session, _ = await workers.mine.poll("token-a")
        assert session.away == "gone"
        await workers.mine.read_changes()
        assert workers.mine.ready_session("token-a") == session
        await workers.other.close_session("token-a")
        await workers.mine.read_changes()

        with pytest.raises(SessionGone):
            await poll(workers.mine)

    run(scenario)


def test_topic_that_the_session_joined_in_another_worker_is_watched() -> None:
    async def scenario(workers: Workers) -> None:
        await ready(workers.mine, a_session("token-a", 3))
        await workers.other.change_session("token-a", becomes(follows=frozenset({OSU})))
        await workers.mine.read_changes()
        assert await poll(workers.mine) == []

        await workers.other.append([an_entry(OSU, "new")])
        await workers.mine.read_changes()

        assert await poll(workers.mine) == [b"new"]

    run(scenario)


def test_session_that_has_more_to_read_is_not_ready() -> None:
    async def scenario(workers: Workers) -> None:
        await ready(workers.mine, a_session("token-a", 3, OSU))
        await workers.mine.append([an_entry(OSU, b"x" * 200_000), an_entry(OSU, b"y" * 200_000)])

        first = await poll(workers.mine)
        await workers.mine.read_changes()
        second = await poll(workers.mine)

        assert [body[:1] for body in first + second] == [b"x", b"y"]

    run(scenario)


# --- statuses


def test_status_of_another_player_reaches_everybody_who_receives_all() -> None:
    async def scenario(workers: Workers) -> None:
        await ready(workers.mine, a_session("token-a", 3, STATUS))
        await workers.other.append([an_entry(STATUS, "own", author=3)])
        await workers.mine.read_changes()
        assert await at_once(workers.mine) == []

        await workers.other.append([an_entry(STATUS, "of 4", author=4), an_entry(STATUS, "own", author=3)])
        await workers.mine.read_changes()

        assert await poll(workers.mine) == [b"of 4"]

    run(scenario)


def test_crowded_server_asks_redis_only_for_statuses_that_the_session_receives() -> None:
    async def scenario(workers: Workers) -> None:
        for number in range(CROWDED_ABOVE + 1):
            await workers.other.open_session(a_session(f"token-{number}", 100 + number))
        await ready(workers.mine, a_session("token-a", 3, STATUS, friends=frozenset({5})))
        await workers.other.append([an_entry(STATUS, number, author=100 + number) for number in range(50)])
        await workers.mine.read_changes()
        assert await at_once(workers.mine) == []

        await workers.other.append([an_entry(STATUS, "of a friend", author=5)])
        await workers.mine.read_changes()

        assert await poll(workers.mine) == [b"of a friend"]

    run(scenario)


def test_statuses_of_all_arrive_when_the_server_is_no_longer_crowded() -> None:
    async def scenario(workers: Workers) -> None:
        for number in range(CROWDED_ABOVE):
            await workers.other.open_session(a_session(f"token-{number}", 100 + number))
        await ready(workers.mine, a_session("token-a", 3, STATUS))
        await workers.other.append([an_entry(STATUS, "of 100", author=100)])
        await workers.mine.read_changes()
        assert await at_once(workers.mine) == []

        await workers.other.close_session("token-1")
        await workers.mine.read_changes()

        assert await poll(workers.mine) == [b"of 100"]

    run(scenario)


# --- what may lose changes


def test_more_changes_than_are_read_at_once_lose_nothing() -> None:
    async def scenario(workers: Workers) -> None:
        await ready(workers.mine, a_session("token-a", 3, OSU))
        await workers.other.append([an_entry(OSU, "new")])
        await workers.other.append([an_entry(STATUS, "x", author=9)] * (CHANGES_READ_MAX + 1))
        await workers.mine.read_changes()

        assert await poll(workers.mine) == [b"new"]
        await workers.mine.read_changes()
        assert await at_once(workers.mine) == []

    run(scenario)


def test_log_of_changes_has_a_bound_and_a_worker_behind_it_asks_redis() -> None:
    async def scenario(workers: Workers) -> None:
        await ready(workers.mine, a_session("token-a", 3, OSU))
        await workers.other.append([an_entry(OSU, "new")])
        for _ in range(20):
            await workers.other.append([an_entry(STATUS, "x", author=9)] * 500)

        assert LOG_MAX <= await workers.redis.llen("kiai:n") < LOG_MAX + 256
        await workers.mine.read_changes()
        assert await poll(workers.mine) == [b"new"]

    run(scenario)


def test_names_in_a_worker_have_a_bound_and_dropped_ones_count_as_changed() -> None:
    changes = ChangesOfState()
    changes.read(0.0, 0, [], 0)
    old = KnownSession(b"1", a_session("token-a", 3, OSU))
    old.at, old.epoch, old.polled_s = 5, changes.epoch, 0.0
    names = [b"user:%d" % number for number in range(NAMES_MAX + 10)]

    changes.read(0.0, len(names), names, 0)

    assert not changes.is_unchanged(old, 0.0, 0)
    assert len(changes._numbers) == NAMES_MAX


def test_redis_that_lost_its_data_makes_no_session_ready() -> None:
    async def scenario(workers: Workers) -> None:
        await ready(workers.mine, a_session("token-a", 3, OSU))
        await workers.redis.flushall()
        await workers.mine.read_changes()

        with pytest.raises(SessionGone):
            await poll(workers.mine)

    run(scenario)


def test_restart_without_the_last_changes_makes_every_session_ask_again() -> None:
    """Redis was restarted from a truncated file, behind a proxy that keeps connections. Lost numbers are used again."""

    async def scenario(workers: Workers) -> None:
        await ready(workers.mine, a_session("token-a", 3, OSU))
        position = workers.mine._changes.position
        await workers.other.append([an_entry(OSU, "new")])
        await workers.redis.script_flush()
        await workers.redis.set("kiai:n:n", position)
        await workers.other.append([an_entry(STATUS, "x", author=9)])
        await workers.mine.read_changes()

        assert workers.mine._changes.position == position + 1
        assert await poll(workers.mine) == [b"new"]

    run(scenario)


def test_failed_call_makes_every_session_ask_again() -> None:
    """Another server may have taken over, and may lack the last changes."""

    async def on_a_redis_of_its_own() -> None:
        server = RedisServer()
        try:
            async with two_workers(server.url) as workers:
                await ready(workers.mine, a_session("token-a", 3, OSU))
                server.stop()
                with pytest.raises(StateUnavailable):
                    await workers.mine.online_count()
                with pytest.raises(StateUnavailable):
                    await workers.mine.read_changes()

                assert await at_once(workers.mine) is None
                with pytest.raises(StateUnavailable):
                    await poll(workers.mine)
        finally:
            server.close()

    asyncio.run(on_a_redis_of_its_own())


def test_session_polls_through_redis_now_and_then_whatever_the_log_says() -> None:
    """During an upgrade, workers of an older version run together with newer ones, and log no changes."""

    async def scenario(workers: Workers) -> None:
        await ready(workers.mine, a_session("token-a", 3, OSU))
        await workers.other.append([an_entry(OSU, "unlogged")])
        await workers.redis.delete("kiai:n")
        await workers.redis.decr("kiai:n:n")
        await workers.mine.read_changes()
        assert await at_once(workers.mine) == []

        workers.clock.advance(REFRESH_S + 0.1)
        await workers.mine.read_changes()

        assert await poll(workers.mine) == [b"unlogged"]

    run(scenario)


# --- when a session was seen


def test_session_that_polls_without_redis_stays_open_and_expires_in_time() -> None:
    async def scenario(workers: Workers) -> None:
        await ready(workers.mine, a_session("token-a", 3, OSU))
        for _ in range(500):
            workers.clock.advance(1.0)
            await workers.mine.read_changes()
            assert await poll(workers.mine) == []
        assert await at_once(workers.mine) == []
        await workers.mine.read_changes()
        assert await workers.other.idle_sessions(300) == []
        assert await workers.other.idle_s("token-a") == 0

        workers.clock.advance(299.0)
        await workers.mine.read_changes()
        assert await workers.other.idle_sessions(300) == []
        workers.clock.advance(1.0 + SEEN_EVERY_S)
        assert await workers.other.idle_sessions(300) == ["token-a"]
        assert await workers.other.idle_sessions(0) == ["token-a"]

    run(scenario)


def test_polls_are_recorded_once_in_some_seconds() -> None:
    async def scenario(workers: Workers) -> None:
        await ready(workers.mine, a_session("token-a", 3, OSU))
        recorded = []
        for _ in range(40):
            workers.clock.advance(0.2)
            await workers.mine.read_changes()
            assert await at_once(workers.mine) == []
            await workers.mine.read_changes()
            recorded.append(await workers.redis.zscore("kiai:seen", "token-a"))

        assert len(set(recorded)) <= 1 + 40 * 0.2 / SEEN_EVERY_S

    run(scenario)


def test_record_of_a_poll_does_not_open_an_ended_session() -> None:
    async def scenario(workers: Workers) -> None:
        await ready(workers.mine, a_session("token-a", 3, OSU))
        workers.clock.advance(0.1)
        await workers.mine.poll("token-a")
        workers.mine._unrecorded["token-a"] = None
        await workers.other.close_session("token-a")
        await workers.mine.read_changes()

        assert await workers.redis.zscore("kiai:seen", "token-a") is None

    run(scenario)


# --- interleavings


@pytest.mark.parametrize("seed", range(6))
def test_each_entry_arrives_once_and_in_order_whichever_worker_answers(seed: int) -> None:
    """Random acts of both workers; changes are read at random times, and each worker may be behind."""

    async def scenario(workers: Workers) -> None:
        chance = random.Random(seed)
        both = (workers.mine, workers.other)
        sessions = {f"token-{n}": a_session(f"token-{n}", 3 + n, OSU, user_topic(3 + n)) for n in range(3)}
        for session in sessions.values():
            await workers.mine.open_session(session)
        expected: dict[str, list[bytes]] = {token: [] for token in sessions}
        received: dict[str, list[bytes]] = {token: [] for token in sessions}
        at_once_count = 0
        for number in range(300):
            worker, token = chance.choice(both), chance.choice(list(sessions))
            act = chance.randrange(10)
            if act == 0:
                topic = chance.choice([OSU, user_topic(3), user_topic(4)])
                await worker.append([Entry(topic, b"%s %d" % (topic.encode(), number), author=99)])
                for reader, session in sessions.items():
                    if topic in session.follows:
                        expected[reader].append(b"%s %d" % (topic.encode(), number))
            elif act == 1:
                await worker.change_session(token, becomes(away=str(number)))
            elif act < 6:
                await worker.read_changes()
            else:
                found = await at_once(worker, token)
                at_once_count += found is not None
                received[token] += await poll(worker, token) if found is None else found
        for worker in both:
            await worker.read_changes()
        for token in sessions:
            for worker in both:
                received[token] += await poll(worker, token)

        for token, session in sessions.items():
            for topic in session.follows:
                assert _of(received[token], topic) == _of(expected[token], topic)
        assert at_once_count > 5

    run(scenario)


def _of(bodies: list[bytes], topic: str) -> list[bytes]:
    return [body for body in bodies if body.startswith(topic.encode() + b" ")]


def test_change_during_a_poll_is_not_lost() -> None:
    """The answer of the poll arrives after the change that it does not have."""

    async def scenario(workers: Workers) -> None:
        await ready(workers.mine, a_session("token-a", 3, OSU))
        run_script = workers.mine._run

        async def slow(script: str, *arguments: Any) -> Any:
            answer = await run_script(script, *arguments)
            if script == "poll":
                await workers.other.append([an_entry(OSU, "meanwhile")])
                await workers.mine.read_changes()
            return answer

        workers.mine._run = slow  # type: ignore[method-assign]
        assert await workers.mine.poll("token-a") == (a_session("token-a", 3, OSU), [])
        workers.mine._run = run_script  # type: ignore[method-assign]

        assert await poll(workers.mine) == [b"meanwhile"]

    run(scenario)


def test_session_behind_the_bound_of_a_topic_learns_it() -> None:
    async def scenario(workers: Workers) -> None:
        await ready(workers.mine, a_session("token-a", 3, OSU))
        for _ in range(6):
            await workers.other.append([an_entry(OSU, "x")] * 500)
        await workers.mine.read_changes()

        with pytest.raises(FellBehind):
            await poll(workers.mine)

    run(scenario)


def test_one_worker_limits_the_polls_that_it_answers_itself() -> None:
    async def scenario(workers: Workers) -> None:
        granted = [
            workers.mine.consume_at_once("poll:token-a", limit=50, period_s=1.0, burst=250, cost=1) for _ in range(300)
        ]

        assert granted == [True] * 250 + [False] * 50

    run(scenario)

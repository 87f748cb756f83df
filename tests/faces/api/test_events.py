"""The event streams of one process, with a feed in memory."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import pytest
from tests.patience import patiently

from kiai.accounts import EVERYBODY
from kiai.clock import ManualClock
from kiai.errors import Invalid, Unavailable
from kiai.faces.api.operation import Caller, StreamReply
from kiai.faces.api.v2 import events
from kiai.faces.api.v2.events import BEHIND_MAX, CLIENTS_MAX, CLIENTS_OF_ONE_MAX, Events, EventsQuery, TooManyStreams
from kiai.networks import network_of
from kiai.realtime.feed import FeedEvent, feed_entry, feed_event
from kiai.realtime.memory import MemoryRealtime
from kiai.realtime.port import FEED, Entry, StateUnavailable, bound_of

PLAYER, OTHER, HIDDEN = 3, 4, 5
ALL = EventsQuery()


class FakeAccounts:
    """Stands for the accounts: names of visible players, and a record of the lookups."""

    def __init__(self) -> None:
        self.hidden = {HIDDEN}
        self.looked_up: list[int] = []
        self.unavailable = False

    async def names_of(self, user_ids: Sequence[int]) -> dict[int, str]:
        if self.unavailable:
            raise Unavailable("database")
        assert len(user_ids) <= 33
        self.looked_up += user_ids
        return {user_id: f"player {user_id}" for user_id in user_ids if user_id not in self.hidden}


class FakeKeys:
    """Stands for the API keys: those that were revoked."""

    def __init__(self) -> None:
        self.revoked = set[int]()

    async def valid_among(self, key_ids: Iterable[int]) -> set[int]:
        return set(key_ids) - self.revoked


class FakeLookup:
    """Stands for the scores: the ids of those that are hidden."""

    def __init__(self) -> None:
        self.hidden = set[int]()

    async def hidden_among(self, score_ids: Sequence[int]) -> set[int]:
        assert len(score_ids) <= 100
        return self.hidden & set(score_ids)


class CountingRealtime(MemoryRealtime):
    """Counts the reads of the feed, and can be unavailable."""

    reads = 0
    unavailable = False

    async def feed_after(self, topic: str, cursor: int, most: int = 256) -> tuple[int, list[bytes]]:
        self.reads += 1
        if self.unavailable:
            raise StateUnavailable
        return await super().feed_after(topic, cursor, most)


class World:
    """The streams of a process, and the feed from which they come."""

    def __init__(self, *, heartbeat_s: float = 30.0) -> None:
        self.realtime = CountingRealtime(ManualClock())
        self.accounts = FakeAccounts()
        self.keys = FakeKeys()
        self.lookup = FakeLookup()
        self.events = Events(
            self.realtime,
            self.accounts,  # type: ignore[arg-type]
            self.keys,  # type: ignore[arg-type]
            self.lookup,  # type: ignore[arg-type]
            heartbeat_s=heartbeat_s,
        )

    async def listen(
        self,
        query: EventsQuery = ALL,
        last_event_id: str | None = None,
        *,
        address: str = "192.0.2.1",
        key_of: int | None = None,
        key_id: int = 0,
    ) -> "Client":
        bucket = network_of(address) if key_of is None else f"user:{key_of}"
        caller = Caller(EVERYBODY, bucket, {"kiai.address": address}, key_id)
        return Client(await self.events.events(caller, query, last_event_id))

    async def publish(self, *events: FeedEvent | Entry) -> None:
        await self.realtime.append([feed_entry(event) if isinstance(event, FeedEvent) else event for event in events])


class Client:
    """A client of a stream."""

    def __init__(self, stream: StreamReply) -> None:
        self.stream = stream
        self._chunks = aiter(stream.chunks)

    async def chunk(self) -> bytes:
        async with asyncio.timeout(patiently(5)):
            return await anext(self._chunks)

    async def lines(self, until: bytes) -> list[bytes]:
        """Read up to the chunk with a line that starts with `until`. Return all lines."""
        read = b""
        while not read.startswith(until) and b"\n" + until not in read:
            read += await self.chunk()
        return read.splitlines()

    async def blocks(self, count: int) -> list[dict[str, str]]:
        """Return the next `count` events, each as its fields."""
        found: list[dict[str, str]] = []
        while len(found) < count:
            for block in (await self.chunk()).decode().split("\n\n"):
                fields = [line.split(": ", 1) for line in block.splitlines() if line[0] != ":"]
                if any(name == "data" for name, _ in fields):
                    found.append(dict(fields))
        return found

    async def rest(self) -> bytes:
        """Read to the end of the stream."""
        read = b""
        async with asyncio.timeout(patiently(5)):
            async for chunk in self._chunks:
                read += chunk
        return read

    def disconnect(self) -> None:
        self.stream.end()


def a_score(user_id: int = PLAYER, map_id: int = 75, at_ms: int = 1_000, **data: Any) -> FeedEvent:
    return FeedEvent("score", at_ms, user_id, map_id, data)


def play(scenario: Callable[[World], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        world = World(**options)
        await scenario(world)
        world.events.close()
        await run_pending_tasks()

    asyncio.run(main())


async def run_pending_tasks() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the reader run at every turn of the event loop."""
    monkeypatch.setattr(events, "READ_EVERY_S", 0.0)
    monkeypatch.setattr(events, "AFTER_FAILURE_S", 0.0)


def ids_in(stream: bytes) -> list[int]:
    """Return the ids of the events of a stream."""
    return [int(line[4:]) for line in stream.splitlines() if line.startswith(b"id: ")]


# --- the format


def test_event_has_its_cursor_as_id_its_type_and_one_line_of_json() -> None:
    async def scenario(world: World) -> None:
        client = await world.listen()
        opening = await client.chunk()

        await world.publish(a_score(pp=12.5, grade="S"))
        chunk = await client.chunk()

        assert opening == b": live events\nretry: 3000\n"
        assert chunk == (
            b"id: 1\nevent: score\n"
            b'data: {"type":"score","at":1000,"user_id":3,"map_id":75,"data":{"pp":12.5,"grade":"S"}}\n\n'
        )

    play(scenario)


def test_feed_entry_decodes_to_the_same_event() -> None:
    event = FeedEvent("match", 5, None, None, {"name": "a\nroom \u2028", "kind": "created"})

    entry = feed_entry(event)

    assert (entry.topic, entry.author, feed_event(entry.body)) == (FEED, 0, event)
    assert b"\n" not in entry.body


def test_events_arrive_in_order() -> None:
    async def scenario(world: World) -> None:
        client = await world.listen()
        await client.chunk()

        for start in range(0, 600, 100):
            await world.publish(*(a_score(at_ms=at) for at in range(start, start + 100)))
            await client.blocks(100)
        found = await (await world.listen(last_event_id="0")).blocks(600)

        assert [int(one["id"]) for one in found] == list(range(1, 601))

    play(scenario)


def test_quiet_stream_gets_heartbeats() -> None:
    async def scenario(world: World) -> None:
        client = await world.listen()

        lines = [await client.chunk() for _ in range(3)]

        assert lines[1:] == [b": heartbeat\n"] * 2

    play(scenario, heartbeat_s=0.01)


# --- filters


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        (ALL, [1, 2, 3, 4, 5]),
        (EventsQuery(types="score"), [1, 2]),
        (EventsQuery(types="match,presence"), [4, 5]),
        (EventsQuery(user_id=OTHER), [2, 5]),
        (EventsQuery(map_id=75), [1, 3]),
        (EventsQuery(types="score,first_place", user_id=PLAYER, map_id=75), [1, 3]),
        (EventsQuery(user_id=99), []),
    ],
)
@pytest.mark.parametrize("last_event_id", [None, "0"])
def test_only_events_that_match_the_filter_are_sent(
    query: EventsQuery, ids: list[int], last_event_id: str | None
) -> None:
    async def scenario(world: World) -> None:
        published = [
            a_score(PLAYER, 75),
            a_score(OTHER, 76),
            FeedEvent("first_place", 1, PLAYER, 75),
            FeedEvent("match", 1),
            FeedEvent("presence", 1, OTHER),
        ]
        if last_event_id is not None:
            await world.publish(*published)
        reading = asyncio.create_task((await world.listen(query, last_event_id)).rest())
        await run_pending_tasks()
        if last_event_id is None:
            await world.publish(*published)
            await run_pending_tasks()

        world.events.close()

        assert ids_in(await reading) == ids

    play(scenario)


def test_events_of_hidden_scores_are_not_sent_again() -> None:
    async def scenario(world: World) -> None:
        count = 150  # more than one lookup takes
        await world.publish(*(a_score(id=number) for number in range(1, count + 1)))
        await world.publish(
            FeedEvent("first_place", 1, PLAYER, 75, {"score_id": 120, "mode": 0, "previous_user_id": None}),
            FeedEvent("match", 1, PLAYER, None, {"match_id": 120}),
            a_score(),
        )
        world.lookup.hidden = {1, 120}

        reading = asyncio.create_task((await world.listen(last_event_id="0")).rest())
        await run_pending_tasks()
        world.events.close()

        left_out = {1, 120, count + 1}
        assert ids_in(await reading) == [number for number in range(1, count + 4) if number not in left_out]

    play(scenario)


def test_events_of_hidden_players_are_not_sent_even_if_older_than_the_restriction() -> None:
    async def scenario(world: World) -> None:
        client = await world.listen()
        await client.chunk()
        await world.publish(a_score(HIDDEN), a_score(OTHER), a_score(PLAYER))
        live = await client.blocks(2)

        world.accounts.hidden.add(OTHER)
        resumed = await (await world.listen(last_event_id="0")).blocks(1)

        assert [one["id"] for one in live] == ["2", "3"]
        assert [one["id"] for one in resumed] == ["3"]

    play(scenario)


def test_players_are_looked_up_once_for_all_clients() -> None:
    async def scenario(world: World) -> None:
        clients = [await world.listen(address=f"192.0.2.{n}") for n in range(20)]
        for client in clients:
            await client.chunk()
        reading = [asyncio.create_task(client.chunk()) for client in clients]
        await run_pending_tasks()

        await world.publish(*(a_score(PLAYER + n % 50) for n in range(100)))
        chunks = await asyncio.gather(*reading)

        assert len(set(chunks)) == 1
        assert sorted(world.accounts.looked_up) == list(range(PLAYER, PLAYER + 50))

    play(scenario)


# --- resuming


def test_resuming_client_gets_missed_and_then_live_events_once() -> None:
    async def scenario(world: World) -> None:
        first = await world.listen()
        await first.chunk()
        await world.publish(*(a_score(at_ms=at) for at in range(3)))
        seen = await first.blocks(3)
        first.disconnect()
        await world.publish(*(a_score(at_ms=at) for at in range(700)))

        again = await world.listen(last_event_id=seen[-1]["id"])
        missed = await again.blocks(700)
        await world.publish(a_score(at_ms=700))
        live = await again.blocks(1)

        assert [int(one["id"]) for one in missed + live] == list(range(4, 705))

    play(scenario)


def test_client_that_resumes_during_a_burst_gets_every_event_once() -> None:
    async def scenario(world: World) -> None:
        other = await world.listen(address="192.0.2.9")
        await other.chunk()
        reading = asyncio.create_task(other.blocks(1_000))

        async def publish_all() -> None:
            for number in range(1_000):
                await world.publish(a_score(at_ms=number))
                if number % 7 == 0:
                    await asyncio.sleep(0)

        publishing = asyncio.create_task(publish_all())
        await run_pending_tasks()
        late = await world.listen(last_event_id="0")
        found = await late.blocks(1_000)
        await publishing

        assert [int(one["id"]) for one in found] == list(range(1, 1_001))
        assert [int(one["id"]) for one in await reading] == list(range(1, 1_001))

    play(scenario)


def test_client_that_missed_expired_events_gets_a_comment_and_the_rest() -> None:
    async def scenario(world: World) -> None:
        await world.publish(*(a_score(at_ms=at) for at in range(2 * bound_of(FEED).entries)))
        first, bodies = await world.realtime.feed_after(FEED, 0)

        client = await world.listen(last_event_id="1")
        lines = await client.lines(b"id: ")

        assert f": events before {first} are no longer available".encode() in lines
        assert f"id: {first + 1}".encode() in lines
        assert len(bodies) == 256

    play(scenario)


def test_id_beyond_the_feed_continues_at_its_end_with_a_comment() -> None:
    async def scenario(world: World) -> None:
        await world.publish(a_score(), a_score())

        client = await world.listen(last_event_id="1000")
        opening = [await client.chunk(), await client.chunk()]
        reading = asyncio.create_task(client.blocks(1))
        await run_pending_tasks()
        await world.publish(a_score())

        assert opening[1] == b": events before 2 are no longer available\n"
        assert (await reading)[0]["id"] == "3"

    play(scenario)


@pytest.mark.parametrize("last_event_id", ["-1", "1.5", "abc", "1" * 19, "\u0663", " 1", "0x1"])
def test_invalid_id_is_rejected_by_name(last_event_id: str) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(Invalid, match="Last-Event-ID"):
            await world.listen(last_event_id=last_event_id)

        assert world.events.clients == 0

    play(scenario)


def test_stream_without_an_id_starts_at_the_request() -> None:
    async def scenario(world: World) -> None:
        await world.publish(a_score())
        client = await world.listen(last_event_id="")
        await world.publish(a_score())

        found = await client.blocks(1)

        assert found[0]["id"] == "2"

    play(scenario)


# --- bounds


def test_streams_of_one_address_are_limited() -> None:
    async def scenario(world: World) -> None:
        clients = [await world.listen() for _ in range(CLIENTS_OF_ONE_MAX)]

        with pytest.raises(TooManyStreams):
            await world.listen()
        with pytest.raises(TooManyStreams):
            await world.listen(key_of=3)
        await world.listen(address="192.0.2.2")
        clients[0].disconnect()
        clients[0].disconnect()
        await world.listen()
        with pytest.raises(TooManyStreams):
            await world.listen()

        assert world.events.clients == CLIENTS_OF_ONE_MAX + 1

    play(scenario)


def test_ipv6_addresses_of_one_network_share_the_limit() -> None:
    async def scenario(world: World) -> None:
        for number in range(CLIENTS_OF_ONE_MAX):
            await world.listen(address=f"2001:db8::{number:x}")

        with pytest.raises(TooManyStreams):
            await world.listen(address="2001:db8::ffff:1")
        await world.listen(address="2001:db8:0:1::1")

    play(scenario)


def test_streams_of_one_account_are_limited_across_addresses() -> None:
    async def scenario(world: World) -> None:
        for number in range(CLIENTS_OF_ONE_MAX):
            await world.listen(address=f"192.0.2.{number}", key_of=3)

        with pytest.raises(TooManyStreams):
            await world.listen(address="198.51.100.1", key_of=3)
        await world.listen(address="198.51.100.1", key_of=4)

    play(scenario)


def test_streams_of_all_clients_are_limited() -> None:
    async def scenario(world: World) -> None:
        for number in range(CLIENTS_MAX):
            await world.listen(address=f"10.0.{number >> 8}.{number & 255}")

        with pytest.raises(Unavailable, match="1000 streams are open"):
            await world.listen(address="192.0.2.1")

    play(scenario)


def test_slow_client_gets_a_lagged_event_and_can_resume() -> None:
    async def scenario(world: World) -> None:
        slow = await world.listen()
        await slow.chunk()
        first_chunk = asyncio.create_task(slow.chunk())
        await run_pending_tasks()
        await world.publish(a_score(at_ms=0))
        [first] = [line for line in (await first_chunk).splitlines() if line.startswith(b"id: ")]
        fast = await world.listen(address="192.0.2.9")
        await fast.chunk()

        for start in range(0, 2 * BEHIND_MAX, 64):
            reading = asyncio.create_task(fast.blocks(64))
            await run_pending_tasks()
            await world.publish(*(a_score(at_ms=start + at) for at in range(64)))
            await reading
        ending = await slow.rest()
        again = await world.listen(last_event_id=first[4:].decode(), address="192.0.2.8")

        assert ending == b'event: lagged\ndata: {"behind":256}\n\n'
        assert [int(one["id"]) for one in await again.blocks(2 * BEHIND_MAX)] == list(range(2, 2 * BEHIND_MAX + 2))

    play(scenario)


def test_burst_does_not_disconnect_a_client_that_reads() -> None:
    async def scenario(world: World) -> None:
        client = await world.listen()
        await client.chunk()
        reading = asyncio.create_task(client.blocks(10 * BEHIND_MAX))
        await run_pending_tasks()

        await world.publish(*(a_score(at_ms=at) for at in range(10 * BEHIND_MAX)))

        assert [int(one["id"]) for one in await reading] == list(range(1, 10 * BEHIND_MAX + 1))

    play(scenario)


def test_feed_is_read_only_while_clients_listen_and_once_for_all() -> None:
    async def scenario(world: World) -> None:
        await run_pending_tasks()
        reads_before = world.realtime.reads
        clients = [await world.listen(address=f"192.0.2.{n}") for n in range(5)]
        readings = [asyncio.create_task(client.rest()) for client in clients]
        await run_pending_tasks()
        reads_during = world.realtime.reads
        for client in clients:
            client.disconnect()
        await asyncio.gather(*readings)
        await run_pending_tasks()
        reads_after = world.realtime.reads
        await run_pending_tasks()

        assert reads_before == 0
        assert len(clients) < reads_during <= len(clients) + 50
        assert world.realtime.reads == reads_after

    play(scenario)


def test_client_after_all_others_have_left_gets_events() -> None:
    async def scenario(world: World) -> None:
        for number in range(3):
            client = await world.listen()
            await client.chunk()
            reading = asyncio.create_task(client.blocks(1))
            await run_pending_tasks()
            await world.publish(a_score())
            found = await reading
            client.disconnect()
            if number == 1:
                await run_pending_tasks()

            assert found[0]["id"] == str(number + 1)

    play(scenario)


# --- failures


def test_server_stop_ends_streams_and_rejects_new_ones() -> None:
    async def scenario(world: World) -> None:
        clients = [await world.listen(address=f"192.0.2.{n}") for n in range(5)]
        for client in clients[:4]:
            await client.chunk()
        readings = [asyncio.create_task(client.rest()) for client in clients]
        await run_pending_tasks()

        world.events.close()
        endings = await asyncio.gather(*readings)

        assert endings == [b": the server is stopping\n"] * 4 + [
            b": live events\nretry: 3000\n: the server is stopping\n"
        ]
        with pytest.raises(Unavailable):
            await world.listen()

    play(scenario)


def test_no_event_is_lost_while_the_database_is_unavailable() -> None:
    async def scenario(world: World) -> None:
        client = await world.listen()
        await client.chunk()
        reading = asyncio.create_task(client.blocks(3))
        await run_pending_tasks()
        world.accounts.unavailable = world.realtime.unavailable = True
        await world.publish(a_score(), a_score())
        await run_pending_tasks()
        world.realtime.unavailable = False
        await run_pending_tasks()
        world.accounts.unavailable = False
        await world.publish(a_score())

        assert [one["id"] for one in await reading] == ["1", "2", "3"]

    play(scenario)


def test_stream_ends_if_the_feed_is_unavailable_at_resumption() -> None:
    async def scenario(world: World) -> None:
        client = await world.listen(last_event_id="0")
        world.realtime.unavailable = True

        ending = await client.rest()

        assert ending.endswith(b": a part of the server is unavailable\n")

    play(scenario)


def test_stream_continues_after_the_feed_was_reset() -> None:
    async def scenario(world: World) -> None:
        client = await world.listen()
        await client.chunk()
        await world.publish(*(a_score() for _ in range(100)))
        await client.blocks(100)
        reading = asyncio.create_task(client.blocks(1))
        await run_pending_tasks()

        reset = CountingRealtime(ManualClock())
        vars(world.events)["_realtime"] = world.realtime = reset
        await run_pending_tasks()
        await world.publish(a_score())

        assert (await reading)[0]["id"] == "1"

    play(scenario)


def test_event_of_an_unknown_type_is_passed_on() -> None:
    async def scenario(world: World) -> None:
        client = await world.listen()
        await client.chunk()
        reading = asyncio.create_task(client.blocks(2))
        await run_pending_tasks()

        await world.publish(Entry(FEED, b'{"type":"medal","at":1,"user_id":3,"map_id":null,"data":{}}'), a_score())

        assert [one["event"] for one in await reading] == ["medal", "score"]

    play(scenario)


def test_disconnected_clients_leave_no_state() -> None:
    async def scenario(world: World) -> None:
        for number in range(200):
            client = await world.listen(address=f"10.0.{number >> 8}.{number & 255}")
            await client.chunk()
            reading = asyncio.create_task(client.rest())
            await asyncio.sleep(0)
            client.disconnect()
            await reading

        state = vars(world.events)
        of_one = vars(state["_places"])["_of_one"]
        assert (world.events.clients, of_one, state["_joined"]) == (0, {}, set())

    play(scenario)


def test_streams_of_a_revoked_key_end() -> None:
    async def scenario(world: World) -> None:
        public, kept, ended = [await world.listen(key_id=key_id) for key_id in (0, 7, 8)]
        for client in (public, kept, ended):
            await client.chunk()

        await world.events.end_revoked()
        world.keys.revoked.add(8)
        await world.events.end_revoked()
        await world.publish(a_score())

        assert await ended.rest() == b": the API key was revoked\n"
        assert (await public.blocks(1))[0]["event"] == (await kept.blocks(1))[0]["event"] == "score"

    play(scenario)

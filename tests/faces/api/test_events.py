"""Streams of events: what a client is sent, from the feed alone."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from tests.patience import patiently

from kiai.accounts import EVERYBODY
from kiai.clock import ManualClock
from kiai.errors import Invalid, Unavailable
from kiai.faces.api.operation import Caller, Stream
from kiai.faces.api.v2 import events
from kiai.faces.api.v2.events import BEHIND_MAX, CLIENTS_MAX, CLIENTS_OF_ONE_MAX, Events, EventsQuery, TooManyStreams
from kiai.networks import network_of
from kiai.realtime.feed import FeedEvent, feed_entry, feed_event
from kiai.realtime.memory import MemoryRealtime
from kiai.realtime.port import FEED, Entry, StateUnavailable, bound_of

PLAYER, OTHER, HIDDEN = 3, 4, 5
ALL = EventsQuery()


class Rows:
    """The accounts' rows, as far as streams look at them."""

    def __init__(self) -> None:
        self.hidden = {HIDDEN}
        self.asked: list[int] = []
        self.away = False

    async def names_of(self, user_ids: Sequence[int]) -> dict[int, str]:
        if self.away:
            raise Unavailable("database")
        assert len(user_ids) <= 33
        self.asked += user_ids
        return {user_id: f"player {user_id}" for user_id in user_ids if user_id not in self.hidden}


class Counting(MemoryRealtime):
    """Counts how often the feed is read."""

    reads = 0
    away = False

    async def feed_after(self, topic: str, cursor: int, most: int = 256) -> tuple[int, list[bytes]]:
        self.reads += 1
        if self.away:
            raise StateUnavailable
        return await super().feed_after(topic, cursor, most)


class World:
    """The streams of a process whose heartbeats come fast."""

    def __init__(self, *, heartbeat_s: float = 30.0) -> None:
        self.realtime = Counting(ManualClock())
        self.rows = Rows()
        self.events = Events(
            self.realtime,
            self.rows,  # type: ignore[arg-type]
            heartbeat_s=heartbeat_s,
        )

    async def listen(
        self,
        query: EventsQuery = ALL,
        last_event_id: str | None = None,
        *,
        address: str = "192.0.2.1",
        key_of: int | None = None,
    ) -> "Client":
        bucket = network_of(address) if key_of is None else f"user:{key_of}"
        caller = Caller(EVERYBODY, bucket, {"kiai.address": address})
        return Client(await self.events.events(caller, query, last_event_id))

    async def tell(self, *said: FeedEvent | Entry) -> None:
        await self.realtime.append([feed_entry(one) if isinstance(one, FeedEvent) else one for one in said])


class Client:
    """One who reads a stream."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._chunks = aiter(stream.chunks)

    async def chunk(self) -> bytes:
        async with asyncio.timeout(patiently(5)):
            return await anext(self._chunks)

    async def lines(self, until: bytes) -> list[bytes]:
        """Everything up to the line that begins like this, and the rest of what came with it."""
        read = b""
        while not read.startswith(until) and b"\n" + until not in read:
            read += await self.chunk()
        return read.splitlines()

    async def blocks(self, count: int) -> list[dict[str, str]]:
        """The next events."""
        found: list[dict[str, str]] = []
        while len(found) < count:
            for block in (await self.chunk()).decode().split("\n\n"):
                fields = [line.split(": ", 1) for line in block.splitlines() if line[0] != ":"]
                if any(name == "data" for name, _ in fields):
                    found.append(dict(fields))
        return found

    async def rest(self) -> bytes:
        """Everything to the end of the stream."""
        read = b""
        async with asyncio.timeout(patiently(5)):
            async for chunk in self._chunks:
                read += chunk
        return read

    def leave(self) -> None:
        self.stream.end()


def a_score(user_id: int = PLAYER, map_id: int = 75, at_ms: int = 1_000, **data: Any) -> FeedEvent:
    return FeedEvent("score", at_ms, user_id, map_id, data)


def play(scenario: Callable[[World], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        world = World(**options)
        await scenario(world)
        world.events.close()
        await settle()

    asyncio.run(main())


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader reads whenever the event loop comes round."""
    monkeypatch.setattr(events, "READ_EVERY_S", 0.0)
    monkeypatch.setattr(events, "AFTER_FAILURE_S", 0.0)


def ids_in(stream: bytes) -> list[int]:
    """The ids of the events of a stream."""
    return [int(line[4:]) for line in stream.splitlines() if line.startswith(b"id: ")]


# --- the form


def test_an_event_is_one_line_of_json_with_its_type_and_the_cursor_behind_it() -> None:
    async def scenario(world: World) -> None:
        client = await world.listen()
        opening = await client.chunk()

        await world.tell(a_score(pp=12.5, grade="S"))
        chunk = await client.chunk()

        assert opening == b": events as they happen\nretry: 3000\n"
        assert chunk == (
            b"id: 1\nevent: score\n"
            b'data: {"type":"score","at":1000,"user_id":3,"map_id":75,"data":{"pp":12.5,"grade":"S"}}\n\n'
        )

    play(scenario)


def test_an_event_is_what_was_fed() -> None:
    event = FeedEvent("match", 5, None, None, {"name": "a\nroom \u2028", "kind": "created"})

    entry = feed_entry(event)

    assert (entry.topic, entry.author, feed_event(entry.body)) == (FEED, 0, event)
    assert b"\n" not in entry.body


def test_events_arrive_in_the_order_in_which_they_were_fed() -> None:
    async def scenario(world: World) -> None:
        client = await world.listen()
        await client.chunk()

        for start in range(0, 600, 100):
            await world.tell(*(a_score(at_ms=at) for at in range(start, start + 100)))
            await client.blocks(100)
        found = await (await world.listen(last_event_id="0")).blocks(600)

        assert [int(one["id"]) for one in found] == list(range(1, 601))

    play(scenario)


def test_while_nothing_happens_a_comment_comes() -> None:
    async def scenario(world: World) -> None:
        client = await world.listen()

        lines = [await client.chunk() for _ in range(3)]

        assert lines[1:] == [b": still here\n"] * 2

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
def test_a_filter_lets_through_what_fits_it(query: EventsQuery, ids: list[int], last_event_id: str | None) -> None:
    async def scenario(world: World) -> None:
        happening = [
            a_score(PLAYER, 75),
            a_score(OTHER, 76),
            FeedEvent("first_place", 1, PLAYER, 75),
            FeedEvent("match", 1),
            FeedEvent("presence", 1, OTHER),
        ]
        if last_event_id is not None:
            await world.tell(*happening)
        reading = asyncio.create_task((await world.listen(query, last_event_id)).rest())
        await settle()
        if last_event_id is None:
            await world.tell(*happening)
            await settle()

        world.events.close()

        assert ids_in(await reading) == ids

    play(scenario)


def test_whom_nobody_may_see_is_in_no_event_also_when_hidden_since() -> None:
    async def scenario(world: World) -> None:
        client = await world.listen()
        await client.chunk()
        await world.tell(a_score(HIDDEN), a_score(OTHER), a_score(PLAYER))
        live = await client.blocks(2)

        world.rows.hidden.add(OTHER)
        resumed = await (await world.listen(last_event_id="0")).blocks(1)

        assert [one["id"] for one in live] == ["2", "3"]
        assert [one["id"] for one in resumed] == ["3"]

    play(scenario)


def test_players_are_looked_up_once_for_all_who_listen() -> None:
    async def scenario(world: World) -> None:
        clients = [await world.listen(address=f"192.0.2.{n}") for n in range(20)]
        for client in clients:
            await client.chunk()
        asking = [asyncio.create_task(client.chunk()) for client in clients]
        await settle()

        await world.tell(*(a_score(PLAYER + n % 50) for n in range(100)))
        chunks = await asyncio.gather(*asking)

        assert len(set(chunks)) == 1
        assert sorted(world.rows.asked) == list(range(PLAYER, PLAYER + 50))

    play(scenario)


# --- resuming


def test_who_resumes_is_sent_what_it_missed_and_then_what_happens_each_once() -> None:
    async def scenario(world: World) -> None:
        first = await world.listen()
        await first.chunk()
        await world.tell(*(a_score(at_ms=at) for at in range(3)))
        seen = await first.blocks(3)
        first.leave()
        await world.tell(*(a_score(at_ms=at) for at in range(700)))

        again = await world.listen(last_event_id=seen[-1]["id"])
        missed = await again.blocks(700)
        await world.tell(a_score(at_ms=700))
        live = await again.blocks(1)

        assert [int(one["id"]) for one in missed + live] == list(range(4, 705))

    play(scenario)


def test_who_resumes_while_others_listen_misses_nothing_and_reads_nothing_twice() -> None:
    async def scenario(world: World) -> None:
        other = await world.listen(address="192.0.2.9")
        await other.chunk()
        reading = asyncio.create_task(other.blocks(1_000))

        async def tell_on() -> None:
            for number in range(1_000):
                await world.tell(a_score(at_ms=number))
                if number % 7 == 0:
                    await asyncio.sleep(0)

        telling = asyncio.create_task(tell_on())
        await settle()
        late = await world.listen(last_event_id="0")
        found = await late.blocks(1_000)
        await telling

        assert [int(one["id"]) for one in found] == list(range(1, 1_001))
        assert [int(one["id"]) for one in await reading] == list(range(1, 1_001))

    play(scenario)


def test_who_was_away_too_long_is_told_and_goes_on_with_what_is_kept() -> None:
    async def scenario(world: World) -> None:
        await world.tell(*(a_score(at_ms=at) for at in range(2 * bound_of(FEED).entries)))
        first, bodies = await world.realtime.feed_after(FEED, 0)

        client = await world.listen(last_event_id="1")
        lines = await client.lines(b"id: ")

        assert f": what was before {first} is no longer kept".encode() in lines
        assert f"id: {first + 1}".encode() in lines
        assert len(bodies) == 256

    play(scenario)


def test_an_id_of_another_life_goes_on_at_the_end_and_says_so() -> None:
    async def scenario(world: World) -> None:
        await world.tell(a_score(), a_score())

        client = await world.listen(last_event_id="1000")
        opening = [await client.chunk(), await client.chunk()]
        asking = asyncio.create_task(client.blocks(1))
        await settle()
        await world.tell(a_score())

        assert opening[1] == b": what was before 2 is no longer kept\n"
        assert (await asking)[0]["id"] == "3"

    play(scenario)


@pytest.mark.parametrize("last_event_id", ["-1", "1.5", "abc", "1" * 19, "\u0663", " 1", "0x1"])
def test_what_is_no_id_is_refused_by_name(last_event_id: str) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(Invalid, match="Last-Event-ID"):
            await world.listen(last_event_id=last_event_id)

        assert world.events.clients == 0

    play(scenario)


def test_without_an_id_one_hears_what_happens_from_the_request_on() -> None:
    async def scenario(world: World) -> None:
        await world.tell(a_score())
        client = await world.listen(last_event_id="")
        await world.tell(a_score())

        found = await client.blocks(1)

        assert found[0]["id"] == "2"

    play(scenario)


# --- bounds


def test_one_address_may_listen_so_many_times_at_once() -> None:
    async def scenario(world: World) -> None:
        clients = [await world.listen() for _ in range(CLIENTS_OF_ONE_MAX)]

        with pytest.raises(TooManyStreams):
            await world.listen()
        with pytest.raises(TooManyStreams):
            await world.listen(key_of=3)
        await world.listen(address="192.0.2.2")
        clients[0].leave()
        clients[0].leave()
        await world.listen()
        with pytest.raises(TooManyStreams):
            await world.listen()

        assert world.events.clients == CLIENTS_OF_ONE_MAX + 1

    play(scenario)


def test_addresses_of_one_ipv6_network_count_as_one() -> None:
    async def scenario(world: World) -> None:
        for number in range(CLIENTS_OF_ONE_MAX):
            await world.listen(address=f"2001:db8::{number:x}")

        with pytest.raises(TooManyStreams):
            await world.listen(address="2001:db8::ffff:1")
        await world.listen(address="2001:db8:0:1::1")

    play(scenario)


def test_one_account_may_listen_so_many_times_from_wherever_it_is() -> None:
    async def scenario(world: World) -> None:
        for number in range(CLIENTS_OF_ONE_MAX):
            await world.listen(address=f"192.0.2.{number}", key_of=3)

        with pytest.raises(TooManyStreams):
            await world.listen(address="198.51.100.1", key_of=3)
        await world.listen(address="198.51.100.1", key_of=4)

    play(scenario)


def test_past_the_bound_of_all_clients_one_is_to_come_later() -> None:
    async def scenario(world: World) -> None:
        for number in range(CLIENTS_MAX):
            await world.listen(address=f"10.0.{number >> 8}.{number & 255}")

        with pytest.raises(Unavailable, match="1000 clients listen"):
            await world.listen(address="192.0.2.1")

    play(scenario)


def test_who_does_not_read_is_told_that_it_lagged_and_may_resume() -> None:
    async def scenario(world: World) -> None:
        slow = await world.listen()
        await slow.chunk()
        asking = asyncio.create_task(slow.chunk())
        await settle()
        await world.tell(a_score(at_ms=0))
        [first] = [line for line in (await asking).splitlines() if line.startswith(b"id: ")]
        fast = await world.listen(address="192.0.2.9")
        await fast.chunk()

        for start in range(0, 2 * BEHIND_MAX, 64):
            reading = asyncio.create_task(fast.blocks(64))
            await settle()
            await world.tell(*(a_score(at_ms=start + at) for at in range(64)))
            await reading
        told = await slow.rest()
        again = await world.listen(last_event_id=first[4:].decode(), address="192.0.2.8")

        assert told == b'event: lagged\ndata: {"behind":256}\n\n'
        assert [int(one["id"]) for one in await again.blocks(2 * BEHIND_MAX)] == list(range(2, 2 * BEHIND_MAX + 2))

    play(scenario)


def test_a_burst_makes_nobody_lag_who_reads() -> None:
    async def scenario(world: World) -> None:
        client = await world.listen()
        await client.chunk()
        reading = asyncio.create_task(client.blocks(10 * BEHIND_MAX))
        await settle()

        await world.tell(*(a_score(at_ms=at) for at in range(10 * BEHIND_MAX)))

        assert [int(one["id"]) for one in await reading] == list(range(1, 10 * BEHIND_MAX + 1))

    play(scenario)


def test_the_feed_is_read_only_while_somebody_listens_and_once_for_all() -> None:
    async def scenario(world: World) -> None:
        await settle()
        unheard = world.realtime.reads
        clients = [await world.listen(address=f"192.0.2.{n}") for n in range(5)]
        readings = [asyncio.create_task(client.rest()) for client in clients]
        await settle()
        heard = world.realtime.reads
        for client in clients:
            client.leave()
        await asyncio.gather(*readings)
        await settle()
        left = world.realtime.reads
        await settle()

        assert unheard == 0
        assert len(clients) < heard <= len(clients) + 50
        assert world.realtime.reads == left

    play(scenario)


def test_who_comes_after_everybody_left_hears_again() -> None:
    async def scenario(world: World) -> None:
        for number in range(3):
            client = await world.listen()
            await client.chunk()
            asking = asyncio.create_task(client.blocks(1))
            await settle()
            await world.tell(a_score())
            found = await asking
            client.leave()
            if number == 1:
                await settle()

            assert found[0]["id"] == str(number + 1)

    play(scenario)


# --- trouble


def test_when_the_server_stops_streams_end_and_new_ones_are_refused() -> None:
    async def scenario(world: World) -> None:
        clients = [await world.listen(address=f"192.0.2.{n}") for n in range(5)]
        for client in clients[:4]:
            await client.chunk()
        readings = [asyncio.create_task(client.rest()) for client in clients]
        await settle()

        world.events.close()
        said = await asyncio.gather(*readings)

        assert said == [b": the server stops\n"] * 4 + [b": events as they happen\nretry: 3000\n: the server stops\n"]
        with pytest.raises(Unavailable):
            await world.listen()

    play(scenario)


def test_a_database_that_is_away_for_a_while_costs_no_event() -> None:
    async def scenario(world: World) -> None:
        client = await world.listen()
        await client.chunk()
        asking = asyncio.create_task(client.blocks(3))
        await settle()
        world.rows.away = world.realtime.away = True
        await world.tell(a_score(), a_score())
        await settle()
        world.realtime.away = False
        await settle()
        world.rows.away = False
        await world.tell(a_score())

        assert [one["id"] for one in await asking] == ["1", "2", "3"]

    play(scenario)


def test_who_resumes_while_the_state_is_away_is_to_come_again() -> None:
    async def scenario(world: World) -> None:
        client = await world.listen(last_event_id="0")
        world.realtime.away = True

        said = await client.rest()

        assert said.endswith(b": a part of the server cannot answer now\n")

    play(scenario)


def test_a_feed_that_begins_anew_is_read_on() -> None:
    async def scenario(world: World) -> None:
        client = await world.listen()
        await client.chunk()
        await world.tell(*(a_score() for _ in range(100)))
        await client.blocks(100)
        asking = asyncio.create_task(client.blocks(1))
        await settle()

        emptied = Counting(ManualClock())
        vars(world.events)["_realtime"] = world.realtime = emptied
        await settle()
        await world.tell(a_score())

        assert (await asking)[0]["id"] == "1"

    play(scenario)


def test_an_event_of_a_type_that_is_not_known_here_yet_stops_nobody() -> None:
    async def scenario(world: World) -> None:
        client = await world.listen()
        await client.chunk()
        asking = asyncio.create_task(client.blocks(2))
        await settle()

        await world.tell(Entry(FEED, b'{"type":"medal","at":1,"user_id":3,"map_id":null,"data":{}}'), a_score())

        assert [one["event"] for one in await asking] == ["medal", "score"]

    play(scenario)


def test_clients_that_left_leave_nothing_behind() -> None:
    async def scenario(world: World) -> None:
        for number in range(200):
            client = await world.listen(address=f"10.0.{number >> 8}.{number & 255}")
            await client.chunk()
            reading = asyncio.create_task(client.rest())
            await asyncio.sleep(0)
            client.leave()
            await reading

        hub = vars(world.events)
        assert (world.events.clients, hub["_of_one"], hub["_joined"]) == (0, {}, set())

    play(scenario)

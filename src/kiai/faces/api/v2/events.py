"""Version 2: what happens on this server, as it happens: server-sent events.

    FEED --one reader a process, while somebody listens--> Listener (a bounded queue a client) --> text/event-stream

An event's id is the cursor behind it in the feed, so `Last-Event-ID` says where to go on. Who resumes reads what it
missed from the feed itself, at its own pace, and joins the others where the reader is. Comments are single lines, not
blocks: some clients make an empty event of every block.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from kiai.accounts import Accounts
from kiai.accounts.model import FIRST_PLAYER_ID, ID_MAX
from kiai.accounts.queries import NAMES_MAX
from kiai.errors import Invalid, Unavailable
from kiai.faces.api.errors import TooMany
from kiai.faces.api.operation import Caller, Operation, Stream
from kiai.faces.api.v2.pages import get
from kiai.logs import Outage
from kiai.realtime.feed import EVENT_TYPES, EventHead, event_head
from kiai.realtime.port import FEED, Realtime

READ_EVERY_S: Final = 0.1
MISSED_AT_ONCE: Final = 256
AFTER_FAILURE_S: Final = 1.0
HEARTBEAT_S: Final = 15.0
CLIENTS_MAX: Final = 1_000
CLIENTS_OF_ONE_MAX: Final = 10
BEHIND_MAX: Final = 256
HANDED_AT_ONCE: Final = BEHIND_MAX // 2  # then the listeners may send it on: a burst alone makes nobody lag
CLIENTS_AT_ONCE: Final = 200  # PERF: to wake a client costs 15 us; then everybody else may run
RETRY_MS: Final = 3_000

_OPENING: Final = b": events as they happen\nretry: %d\n" % RETRY_MS
_HEARTBEAT: Final = b": still here\n"
_STOPPING: Final = b": the server stops\n"
_LAGGED: Final = b'event: lagged\ndata: {"behind":%d}\n\n' % BEHIND_MAX
_GAP: Final = b": what was before %d is no longer kept\n"
_UNAVAILABLE: Final = b": a part of the server cannot answer now\n"
_TYPE: Final = f"({'|'.join(EVENT_TYPES)})"


class EventsQuery(msgspec.Struct, frozen=True):
    """/events."""

    types: (
        Annotated[
            str,
            Meta(
                pattern=f"^{_TYPE}(,{_TYPE})*$",
                description="Only these types, with commas between them.",
                extra={"allowed": f"types out of {', '.join(EVENT_TYPES)}, with commas between them"},
            ),
        ]
        | None
    ) = None
    user_id: Annotated[int, Meta(ge=FIRST_PLAYER_ID, le=ID_MAX, description="Only this player's.")] | None = None
    map_id: Annotated[int, Meta(ge=1, le=ID_MAX, description="Only those on this map.")] | None = None


class TooManyStreams(TooMany):
    """One network or one holder of a key listens as often as it may."""

    def __init__(self) -> None:
        super(TooMany, self).__init__(f"Too many streams: {CLIENTS_OF_ONE_MAX} at once are allowed.")
        self.after_s = HEARTBEAT_S


class _Wanted(msgspec.Struct, frozen=True):
    """A listener's filters; None wants everything."""

    types: frozenset[str] | None
    user_id: int | None
    map_id: int | None

    def takes(self, head: EventHead) -> bool:
        return (
            (self.types is None or head.type in self.types)
            and (self.user_id is None or head.user_id == self.user_id)
            and (self.map_id is None or head.map_id == self.map_id)
        )


class _Event(msgspec.Struct, frozen=True):
    """An event of the feed that may be shown, and its frame in the stream."""

    index: int
    head: EventHead
    frame: bytes


class _Listener:
    """One client: what it wants, and what waits for it. `next` is the first index it was not offered yet."""

    __slots__ = ("chunks", "counted_as", "last_words", "next", "open", "waiting", "wanted", "woken")

    def __init__(self, counted_as: frozenset[str], wanted: _Wanted, cursor: int) -> None:
        self.counted_as = counted_as  # its network and, if it has a key, its account
        self.wanted = wanted
        self.next = cursor
        self.chunks: deque[bytes] = deque()
        self.waiting = 0  # events in the chunks
        self.woken = asyncio.Event()
        self.last_words: bytes | None = None  # what is still said before the stream ends
        self.open = True

    def give(self, count: int, chunk: bytes) -> None:
        if not count or self.last_words is not None:
            return
        self.waiting += count
        if self.waiting > BEHIND_MAX:
            self.finish(_LAGGED)
            return
        self.chunks.append(chunk)
        self.woken.set()

    def take(self) -> bytes:
        self.waiting = 0
        chunk = b"".join(self.chunks)
        self.chunks.clear()
        return chunk

    def finish(self, last_words: bytes) -> None:
        if self.last_words is None:
            self.last_words = last_words
            self.chunks.clear()
            self.woken.set()


class Events:
    """The streams of one process, and their handler.

    The number of streams is a bound on memory, not on haste: it holds with rate limits switched off as well.
    """

    def __init__(self, realtime: Realtime, accounts: Accounts, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._realtime = realtime
        self._accounts = accounts
        self._heartbeat_s = heartbeat_s
        self._clients: set[_Listener] = set()
        self._of_one: Counter[str] = Counter()
        self._joined: set[_Listener] = set()  # those of the clients to whom the reader hands
        self._next = 0  # the first index the reader did not hand out yet
        self._reader: asyncio.Task[None] | None = None
        self._closed = False
        self._outage = Outage("events", "the feed was not read", "the feed is read again")

    async def events(self, caller: Caller, query: EventsQuery, last_event_id: str | None) -> Stream:
        """Server-sent events: scores, first places, matches and presence as they happen."""
        resumed = _cursor(last_event_id)
        cursor = await self._realtime.feed_end(FEED) if resumed is None else resumed
        wanted = _Wanted(frozenset(query.types.split(",")) if query.types else None, query.user_id, query.map_id)
        listener = _Listener(frozenset((caller.network, caller.bucket)), wanted, cursor)
        self._admit(listener)
        return Stream(self._chunks(listener), "text/event-stream", lambda: self._leave(listener))

    @property
    def clients(self) -> int:
        """How many listen."""
        return len(self._clients)

    def close(self) -> None:
        """Ends every stream and refuses new ones: the server stops."""
        self._closed = True
        for listener in self._clients:
            listener.finish(_STOPPING)

    def operations(self) -> list[Operation]:
        """What this page serves."""
        return [get("/events", self.events, Stream, tag="events", query=EventsQuery)]

    # --- who listens

    def _admit(self, listener: _Listener) -> None:
        if self._closed:
            raise Unavailable("stream of events", "the server stops")
        if len(self._clients) >= CLIENTS_MAX:
            raise Unavailable(f"stream of events ({CLIENTS_MAX} clients listen already)")
        if any(self._of_one[name] >= CLIENTS_OF_ONE_MAX for name in listener.counted_as):
            raise TooManyStreams
        self._clients.add(listener)
        self._of_one.update(listener.counted_as)

    def _leave(self, listener: _Listener) -> None:
        if not listener.open:
            return
        listener.open = False
        listener.finish(b"")
        self._clients.discard(listener)
        self._joined.discard(listener)
        for name in listener.counted_as:
            self._of_one[name] -= 1
            if not self._of_one[name]:
                del self._of_one[name]

    # --- what one is sent

    async def _chunks(self, listener: _Listener) -> AsyncIterator[bytes]:
        yield _OPENING
        async for chunk in self._missed(listener):
            yield chunk
        while listener.last_words is None:
            if not listener.chunks:
                listener.woken.clear()
                try:
                    async with asyncio.timeout(self._heartbeat_s):
                        await listener.woken.wait()
                except TimeoutError:
                    yield _HEARTBEAT
                continue
            yield listener.take()
        if listener.last_words:
            yield listener.last_words

    async def _missed(self, listener: _Listener) -> AsyncIterator[bytes]:
        """What the feed holds from the listener's cursor on; at its end the listener joins."""
        while listener.last_words is None:
            try:
                first, bodies = await self._realtime.feed_after(FEED, listener.next, MISSED_AT_ONCE)
                shown = await self._shown(first, bodies)
            except Unavailable:
                listener.finish(_UNAVAILABLE)
                return
            if first != listener.next:
                yield _GAP % first
            listener.next = first + len(bodies)
            _, chunk = _chosen(shown, listener.wanted)
            if chunk:
                yield chunk
            # Nothing is awaited from here to the end: the reader hands out nothing in between.
            if len(bodies) < MISSED_AT_ONCE and (self._reader is None or listener.next >= self._next):
                self._join(listener)
                return
            if not bodies:  # the reader is ahead of the feed's end, or of what was read here: it will say where it is
                await asyncio.sleep(READ_EVERY_S)

    def _join(self, listener: _Listener) -> None:
        if listener.last_words is not None:
            return
        self._joined.add(listener)
        if self._reader is None:
            self._next = listener.next
            self._reader = asyncio.create_task(self._read(), name="events")

    # --- the reader

    async def _read(self) -> None:
        while self._joined:
            pause_s = READ_EVERY_S
            try:
                await self._hand_out()
                self._outage.worked()
            except Exception as error:
                # Whatever it is, the listeners are still there, and nobody else would read for them.
                self._outage.failed(error, trace=not isinstance(error, Unavailable))
                pause_s = AFTER_FAILURE_S
            await asyncio.sleep(pause_s)
        self._reader = None

    async def _hand_out(self) -> None:
        """Offers everything new to everybody."""
        more = True
        while more:
            first, bodies = await self._realtime.feed_after(FEED, self._next, HANDED_AT_ONCE)
            more = len(bodies) == HANDED_AT_ONCE
            if first < self._next:  # the store was emptied: the feed has begun anew
                for listener in self._joined:
                    listener.next = min(listener.next, first)
                self._next = first
            shown = await self._shown(first, bodies)
            # Who joins from here on has read at least up to the end of these, so those who are there now get them.
            self._next = first + len(bodies)
            chosen: dict[_Wanted, tuple[int, bytes]] = {}  # PERF: most listeners want the same, and share its bytes
            for number, listener in enumerate(tuple(self._joined), 1):
                if listener.next > first:
                    listener.give(*_chosen([one for one in shown if one.index >= listener.next], listener.wanted))
                else:
                    if listener.wanted not in chosen:
                        chosen[listener.wanted] = _chosen(shown, listener.wanted)
                    listener.give(*chosen[listener.wanted])
                listener.next = max(listener.next, self._next)
                if number % CLIENTS_AT_ONCE == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def _shown(self, first: int, bodies: Sequence[bytes]) -> list[_Event]:
        """Those of the events whose player everybody may see, now and not when it happened."""
        heads = [event_head(body) for body in bodies]
        users = sorted({head.user_id for head in heads if head.user_id is not None})
        seen: set[int | None] = {None}
        for start in range(0, len(users), NAMES_MAX):
            seen.update(await self._accounts.names_of(users[start : start + NAMES_MAX]))
        return [
            _Event(index, head, b"id: %d\nevent: %b\ndata: %b\n\n" % (index + 1, head.type.encode(), body))
            for index, (head, body) in enumerate(zip(heads, bodies, strict=True), first)
            if head.user_id in seen
        ]


def _chosen(events: Sequence[_Event], wanted: _Wanted) -> tuple[int, bytes]:
    """How many of the events are wanted, and their frames."""
    frames = [event.frame for event in events if wanted.takes(event.head)]
    return len(frames), b"".join(frames)


def _cursor(last_event_id: str | None) -> int | None:
    """Where to go on; None: at what happens next. Raises Invalid."""
    if not last_event_id:
        return None
    if not last_event_id.isascii() or not last_event_id.isdigit() or len(last_event_id) > 18:
        raise Invalid("Last-Event-ID", "the id of an event", last_event_id)
    return int(last_event_id)

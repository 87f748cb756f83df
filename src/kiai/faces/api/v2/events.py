"""Version 2: the public feed as a live stream of server-sent events.

    FEED --one reader per process, while clients listen--> Listener (a bounded queue per client) --> text/event-stream

The id of an event is the cursor after it in the feed, so a client continues with `Last-Event-ID`. A client that resumes
reads the missed events from the feed itself. It joins the other listeners when it has reached the reader's position.
Comments are single lines, not blocks, because some clients turn each block into an empty event.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from kiai.accounts import Accounts, ApiKeys, Viewer
from kiai.accounts.model import FIRST_PLAYER_ID, ID_MAX
from kiai.accounts.queries import NAMES_MAX
from kiai.errors import Invalid, NotAllowed, NotAuthenticated, NotFound, Unavailable
from kiai.faces.api.errors import TooManyRequests
from kiai.faces.api.operation import Caller, Operation, StreamReply
from kiai.faces.api.v2.paging import get
from kiai.faces.streams import STREAMS_MAX, STREAMS_OF_ONE_MAX, StreamPlaces
from kiai.logs import Outage
from kiai.osu.privileges import STAFF, may
from kiai.realtime.feed import (
    EVENT_TYPES,
    SCORE_EVENT_TYPES,
    STAFF_EVENT_TYPES,
    EventHead,
    event_head,
    event_score,
)
from kiai.realtime.port import FEED, Realtime
from kiai.scores.lookup import AMONG_MAX, ScoreLookup

READ_EVERY_S: Final = 0.1
MISSED_AT_ONCE: Final = 256
AFTER_FAILURE_S: Final = 1.0
HEARTBEAT_S: Final = 15.0  # shorter than the idle timeouts of common proxies, from 30 s on
CLIENTS_MAX: Final = STREAMS_MAX
CLIENTS_OF_ONE_MAX: Final = STREAMS_OF_ONE_MAX
BEHIND_MAX: Final = 256
"""Number of events that may wait for a client. A client that falls further behind is disconnected."""
# Half of the queue: listeners can send between two reads, so a burst of events disconnects only slow clients.
DISTRIBUTED_AT_ONCE: Final = BEHIND_MAX // 2
# PERF: waking a client takes 15 us. After 3 ms of that, other tasks get their turn.
CLIENTS_AT_ONCE: Final = 200
KEYS_EVERY_S: Final = 2.0
"""The interval of `end_revoked`."""
RETRY_MS: Final = 3_000

_OPENING: Final = b": live events\nretry: %d\n" % RETRY_MS
_HEARTBEAT: Final = b": heartbeat\n"
_STOPPING: Final = b": the server is stopping\n"
_REVOKED: Final = b": the API key was revoked\n"
_LAGGED: Final = b'event: lagged\ndata: {"behind":%d}\n\n' % BEHIND_MAX
_GAP: Final = b": events before %d are no longer available\n"
_UNAVAILABLE: Final = b": a part of the server is unavailable\n"
_STAFF_PERMISSION: Final = "reports.handle"
_AS_STAFF: Final = Viewer(priv=STAFF)
_TYPE: Final = f"({'|'.join(EVENT_TYPES)})"


class EventsQuery(msgspec.Struct, frozen=True):
    """The parameters of /events."""

    types: (
        Annotated[
            str,
            Meta(
                pattern=f"^{_TYPE}(,{_TYPE})*$",
                description="Only these types, separated by commas. `sanction`, `flag` and `report` are for staff.",
                extra={"allowed": f"types out of {', '.join(EVENT_TYPES)}, with commas between them"},
            ),
        ]
        | None
    ) = None
    user_id: Annotated[int, Meta(ge=FIRST_PLAYER_ID, le=ID_MAX, description="Only events of this player.")] | None = (
        None
    )
    map_id: Annotated[int, Meta(ge=1, le=ID_MAX, description="Only events on this map.")] | None = None


class TooManyStreams(TooManyRequests):
    """A network or an account has `CLIENTS_OF_ONE_MAX` open streams."""

    def __init__(self) -> None:
        # Skips the parent's constructor, whose text names a period.
        super(TooManyRequests, self).__init__(f"Too many streams: the limit is {CLIENTS_OF_ONE_MAX} at once.")
        self.after_s = HEARTBEAT_S


class _Filter(msgspec.Struct, frozen=True):
    """The filters of a listener. None matches every event. `staff`: it may read the events of staff."""

    types: frozenset[str] | None
    user_id: int | None
    map_id: int | None
    staff: bool = False

    def matches(self, head: EventHead) -> bool:
        return (
            (self.types is None or head.type in self.types)
            and (self.staff or head.type not in STAFF_EVENT_TYPES)
            and (self.user_id is None or head.user_id == self.user_id)
            and (self.map_id is None or head.map_id == self.map_id)
        )


class _Event(msgspec.Struct, frozen=True):
    """A visible event of the feed. `frame` is its encoding in the stream."""

    index: int
    head: EventHead
    frame: bytes


class _Listener:
    """One client with its filter and its queue. `next` is the first index of the feed that it has not been offered."""

    __slots__ = (
        "chunks",
        "counted_as",
        "filter",
        "key_id",
        "last_chunk",
        "next",
        "open",
        "user_id",
        "waiting",
        "wakeup",
    )

    def __init__(self, counted_as: frozenset[str], caller: Caller, filter_: _Filter, cursor: int) -> None:
        self.counted_as = counted_as  # its network and, if it has a key, its account
        self.user_id = caller.viewer.user_id
        self.key_id = caller.key_id  # 0 without a key
        self.filter = filter_
        self.next = cursor
        self.chunks: deque[bytes] = deque()
        self.waiting = 0  # number of events in `chunks`
        self.wakeup = asyncio.Event()
        self.last_chunk: bytes | None = None  # set once the stream is to end; sent as its end
        self.open = True

    def push(self, count: int, chunk: bytes) -> None:
        if not count or self.last_chunk is not None:
            return
        self.waiting += count
        if self.waiting > BEHIND_MAX:
            self.finish(_LAGGED)
            return
        self.chunks.append(chunk)
        self.wakeup.set()

    def pop(self) -> bytes:
        self.waiting = 0
        chunk = b"".join(self.chunks)
        self.chunks.clear()
        return chunk

    def finish(self, last_chunk: bytes) -> None:
        if self.last_chunk is None:
            self.last_chunk = last_chunk
            self.chunks.clear()
            self.wakeup.set()


class Events:
    """The event streams of one process.

    The limits on streams bound the memory, so they apply also if rate limits are off.
    """

    def __init__(
        self,
        realtime: Realtime,
        accounts: Accounts,
        api_keys: ApiKeys,
        lookup: ScoreLookup,
        *,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._realtime = realtime
        self._accounts = accounts
        self._api_keys = api_keys
        self._lookup = lookup
        self._heartbeat_s = heartbeat_s
        self._clients: set[_Listener] = set()
        self._places = StreamPlaces()
        self._joined: set[_Listener] = set()  # clients that have caught up; the reader serves them
        self._next = 0  # the first index that the reader has not distributed
        self._reader: asyncio.Task[None] | None = None
        self._closed = False
        self._outage = Outage("events", "the feed was not read", "the feed is read again")

    async def events(self, caller: Caller, query: EventsQuery, last_event_id: str | None) -> StreamReply:
        """Live server-sent events: scores, first places, matches and presence."""
        types = frozenset(query.types.split(",")) if query.types else None
        staff = may(caller.viewer.priv, _STAFF_PERMISSION)
        if types is not None and types & STAFF_EVENT_TYPES and not staff:
            # The viewer's privileges are the effective ones: none without a key, and for restricted staff.
            raise NotAllowed(_STAFF_PERMISSION) if caller.viewer.user_id else NotAuthenticated
        resumed = _cursor(last_event_id)
        cursor = await self._realtime.feed_end(FEED) if resumed is None else resumed
        filter_ = _Filter(types, query.user_id, query.map_id, staff)
        listener = _Listener(frozenset((caller.network, caller.bucket)), caller, filter_, cursor)
        self._admit(listener)
        return StreamReply(self._chunks(listener), "text/event-stream", lambda: self._leave(listener))

    @property
    def clients(self) -> int:
        """Number of open streams."""
        return len(self._clients)

    def close(self) -> None:
        """End all streams and reject new ones, because the server stops."""
        self._closed = True
        for listener in self._clients:
            listener.finish(_STOPPING)

    async def end_revoked(self) -> None:
        """End the streams whose API keys do not work any more. A job calls this on every worker."""
        listeners = [listener for listener in self._clients if listener.key_id]
        if not listeners:
            return
        valid = await self._api_keys.valid_among(listener.key_id for listener in listeners)
        for listener in listeners:
            if listener.key_id not in valid:
                listener.finish(_REVOKED)

    def operations(self) -> list[Operation]:
        """Return the operations of this class."""
        return [get("/events", self.events, StreamReply, tag="events", query=EventsQuery)]

    # --- opening and closing streams

    def _admit(self, listener: _Listener) -> None:
        if self._closed:
            raise Unavailable("stream of events", "the server is stopping")
        if self._places.is_full:
            raise Unavailable(f"stream of events ({CLIENTS_MAX} streams are open)")
        if not self._places.has_place(listener.counted_as):
            raise TooManyStreams
        self._clients.add(listener)
        self._places.enter(listener.counted_as)  # the last statement: what was rejected above must not count

    def _leave(self, listener: _Listener) -> None:
        if not listener.open:  # a second call must not free the place of another stream
            return
        listener.open = False
        listener.finish(b"")
        self._clients.discard(listener)
        self._joined.discard(listener)
        self._places.leave(listener.counted_as)

    # --- sending

    async def _chunks(self, listener: _Listener) -> AsyncIterator[bytes]:
        yield _OPENING
        async for chunk in self._replay_missed(listener):
            yield chunk
        while listener.last_chunk is None:
            if not listener.chunks:
                listener.wakeup.clear()
                try:
                    async with asyncio.timeout(self._heartbeat_s):
                        await listener.wakeup.wait()
                except TimeoutError:
                    yield _HEARTBEAT
                continue
            yield listener.pop()
        if listener.last_chunk:
            yield listener.last_chunk

    async def _replay_missed(self, listener: _Listener) -> AsyncIterator[bytes]:
        """Yield the events of the feed from the listener's cursor on. At the end of the feed the listener joins."""
        while listener.last_chunk is None:
            try:
                first, bodies = await self._realtime.feed_after(FEED, listener.next, MISSED_AT_ONCE)
                visible = await self._visible_events(first, bodies)
                if any(event.head.type in STAFF_EVENT_TYPES for event in visible):
                    await self._check_staff((listener,))
            except Unavailable:
                listener.finish(_UNAVAILABLE)  # the client reconnects after RETRY_MS with its Last-Event-ID
                return
            if first != listener.next:
                yield _GAP % first
            listener.next = first + len(bodies)
            _, chunk = _matching(visible, listener.filter)
            if chunk:
                yield chunk
            # There is no await between this check and the join, so the reader distributes nothing in between and the
            # listener neither misses an event nor gets one twice.
            if len(bodies) < MISSED_AT_ONCE and (self._reader is None or listener.next >= self._next):
                self._join(listener)
                return
            # The reader is ahead: it has read newer events meanwhile, or the feed was reset and it has yet to notice.
            if not bodies:
                await asyncio.sleep(READ_EVERY_S)

    def _join(self, listener: _Listener) -> None:
        if listener.last_chunk is not None:
            return
        self._joined.add(listener)
        if self._reader is None:
            self._next = listener.next
            self._reader = asyncio.create_task(self._read(), name="events")

    # --- the reader of the feed

    async def _read(self) -> None:
        while self._joined:
            pause_s = READ_EVERY_S
            try:
                await self._distribute()
                self._outage.worked()
            except Exception as error:
                # After any error the listeners are still connected, and no other task reads for them.
                self._outage.failed(error, trace=not isinstance(error, Unavailable))
                pause_s = AFTER_FAILURE_S
            await asyncio.sleep(pause_s)
        self._reader = None

    async def _distribute(self) -> None:
        """Offer all new events to all joined listeners."""
        more = True
        while more:
            first, bodies = await self._realtime.feed_after(FEED, self._next, DISTRIBUTED_AT_ONCE)
            more = len(bodies) == DISTRIBUTED_AT_ONCE
            if first < self._next:  # the store was emptied, e.g. Redis restarted: the feed starts again
                for listener in self._joined:
                    listener.next = min(listener.next, first)
                self._next = first
            visible = await self._visible_events(first, bodies)
            if any(event.head.type in STAFF_EVENT_TYPES for event in visible):
                await self._check_staff(tuple(self._joined))
            # Set before the first push: a listener that joins during the pauses below has read these events itself.
            self._next = first + len(bodies)
            # PERF: most listeners have the same filter, so they share one encoded chunk.
            matching: dict[_Filter, tuple[int, bytes]] = {}
            for number, listener in enumerate(tuple(self._joined), 1):
                if listener.next > first:
                    unread = [event for event in visible if event.index >= listener.next]
                    listener.push(*_matching(unread, listener.filter))
                else:
                    if listener.filter not in matching:
                        matching[listener.filter] = _matching(visible, listener.filter)
                    listener.push(*matching[listener.filter])
                listener.next = max(listener.next, self._next)
                if number % CLIENTS_AT_ONCE == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(0)  # lets the listeners send before the next batch fills their queues

    async def _check_staff(self, listeners: Sequence[_Listener]) -> None:
        """Withdraw the right to the events of staff from listeners whose accounts have lost it since they connected."""
        for user_id in {listener.user_id for listener in listeners if listener.filter.staff}:
            try:
                priv = (await self._accounts.user(_AS_STAFF, id=user_id)).priv
            except NotFound:
                priv = 0
            if may(priv, _STAFF_PERMISSION):
                continue
            for listener in listeners:
                if listener.user_id == user_id:
                    listener.filter = msgspec.structs.replace(listener.filter, staff=False)

    async def _visible_events(self, first: int, bodies: Sequence[bytes]) -> list[_Event]:
        """Return the events without those of players and scores that are hidden now, also if they were visible then.

        The events for staff are all in the result.
        """
        heads = [event_head(body) for body in bodies]
        # Staff sees hidden players, so the events for staff need no lookup.
        users = sorted(
            {head.user_id for head in heads if head.user_id is not None and head.type not in STAFF_EVENT_TYPES}
        )
        visible: set[int | None] = {None}
        for start in range(0, len(users), NAMES_MAX):
            visible.update(await self._accounts.names_of(users[start : start + NAMES_MAX]))
        of_score = {
            index: event_score(body)
            for index, (head, body) in enumerate(zip(heads, bodies, strict=True), first)
            if head.type in SCORE_EVENT_TYPES
        }
        score_ids = sorted(set(of_score.values()))
        hidden: set[int] = set()
        for start in range(0, len(score_ids), AMONG_MAX):
            hidden |= await self._lookup.hidden_among(score_ids[start : start + AMONG_MAX])
        return [
            _Event(index, head, b"id: %d\nevent: %b\ndata: %b\n\n" % (index + 1, head.type.encode(), body))
            for index, (head, body) in enumerate(zip(heads, bodies, strict=True), first)
            if (head.user_id in visible and of_score.get(index) not in hidden) or head.type in STAFF_EVENT_TYPES
        ]


def _matching(events: Sequence[_Event], filter_: _Filter) -> tuple[int, bytes]:
    """Return the number of events that match, and their joined frames."""
    frames = [event.frame for event in events if filter_.matches(event.head)]
    return len(frames), b"".join(frames)


def _cursor(last_event_id: str | None) -> int | None:
    """Return the cursor from which the client continues, or None for the end of the feed. Raises Invalid."""
    if not last_event_id:
        return None
    if not last_event_id.isascii() or not last_event_id.isdigit() or len(last_event_id) > 18:
        raise Invalid("Last-Event-ID", "the id of an event", last_event_id)
    return int(last_event_id)

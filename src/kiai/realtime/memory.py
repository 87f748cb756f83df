"""Shared state in the process, for an embedded server.

Each method runs to its end without an await, which makes it atomic on one event loop. `replace_ranks` builds its lists
in a thread first and then replaces the old ones in one assignment.

Ranks: see `rank_lists.py`.

Topics: a log is a list of entries, the index of the first one, and the running total of bytes after each entry. The
size of the unread part is therefore a subtraction. A session has a cursor for each log, and a log knows its readers. A
log without readers is dropped. Old entries are removed in batches of an eighth of the bound, because each removal
moves the whole list; so a log may be that much longer than its bound.

Statuses: an ordered dict from author to the number of the newest entry and the entry, sorted by number. A poll for all
statuses walks it backwards to the cursor; a poll for some looks up their authors.

Buckets: see `buckets.py`.
"""

import asyncio
import heapq
import itertools
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

import msgspec

from kiai.clock import Clock
from kiai.realtime.buckets import TokenBuckets
from kiai.realtime.port import (
    AROUND_MAX,
    BOT_ID,
    CROWDED_ABOVE,
    FIELDS_MAX,
    LOCK_WAITERS_MAX,
    MATCHES_MAX,
    ONCE_KEYS_MAX,
    ONCE_SHORT_S,
    PERMANENT_TOPICS,
    POLL_BYTES_MAX,
    SESSIONS_MAX,
    STASHED_KEYS_MAX,
    STATUS,
    Entry,
    FellBehind,
    M,
    MatchGone,
    Rank,
    RankEntry,
    RateLimitResult,
    Session,
    SessionGone,
    SessionRule,
    TooMany,
    bound_of,
    order_of_sessions,
    status_interest,
)
from kiai.realtime.rank_lists import RankLists, user_of

# Two removals for each addition let a table shrink, and the cost per call stays constant.
SWEPT_AT_ONCE: Final = 2
STASH_SAVED_S: Final = 300.0  # codes to confirm and the like are not worth a place in the snapshot


class MemoryRealtime:
    """The port's adapter for one process."""

    answers_at_once = True

    def __init__(self, clock: Clock) -> None:
        self._monotonic = clock.monotonic
        self._now_ms = clock.now_ms
        self._ranks = RankLists()
        self._ranks_version = 0
        self._logs: dict[str, _Log] = {topic: _Log(topic) for topic in PERMANENT_TOPICS}
        self._statuses: OrderedDict[int, tuple[int, Entry]] = OrderedDict()
        self._status_count = 0
        self._sessions: dict[str, _LiveSession] = {}
        self._sessions_of: dict[int, list[_LiveSession]] = {}
        self._visible: dict[int, int] = {}  # user id -> number of sessions that others see; never 0, never the bot
        self._matches: dict[int, msgspec.Struct] = {}
        self._stash: OrderedDict[str, tuple[float, dict[str, bytes]]] = OrderedDict()  # end, fields; by last write
        self._once_short = _OnceKeys()
        self._once_long = _OnceKeys()
        self._leases: dict[str, tuple[str, float]] = {}
        self._buckets = TokenBuckets(clock.monotonic)

    # --- ranks -------------------------------------------------------------------------------------------------------

    async def set_ranks(self, entries: Sequence[RankEntry]) -> list[Rank]:
        for entry in entries:
            self._ranks.place(entry)
        self._ranks_version += 1
        return [self._ranks.rank_of(entry.user_id, entry.mode) for entry in entries]

    async def forget_ranks(self, user_id: int) -> None:
        self._ranks.remove(user_id)
        self._ranks_version += 1

    async def replace_ranks(self, pages: AsyncIterable[Sequence[RankEntry]]) -> None:
        lists = RankLists()
        async for page in pages:
            await asyncio.to_thread(lists.add, tuple(page))  # a copy, because the caller may change its list meanwhile
        await asyncio.to_thread(lists.sort)
        self._ranks = lists
        self._ranks_version += 1

    async def ranks_version(self) -> int:
        return self._ranks_version

    async def ranks_of(self, user_id: int) -> dict[int, Rank]:
        return self._ranks.ranks_of(user_id)

    async def rank_of(self, user_id: int, mode: int) -> Rank:
        return self._ranks.rank_of(user_id, mode)

    async def ranked_ids(self, mode: int, *, country: str | None = None, offset: int = 0, limit: int = 50) -> list[int]:
        assert offset >= 0
        assert 1 <= limit <= AROUND_MAX
        ranking = self._ranks.ranking(mode, country)
        return [] if ranking is None else [user_of(key) for key in ranking.islice(offset, offset + limit)]

    async def ranked_count(self, mode: int, country: str | None = None) -> int:
        ranking = self._ranks.ranking(mode, country)
        return 0 if ranking is None else len(ranking)

    # --- topics ------------------------------------------------------------------------------------------------------

    async def append(self, entries: Sequence[Entry], *, unless_online: int = 0) -> None:
        if not unless_online or unless_online not in self._visible:
            self._append(entries)

    def _append(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            log = self._logs.get(entry.topic)
            if log is not None:
                log.append(entry)
            elif entry.topic == STATUS:
                self._status_count += 1
                self._statuses[entry.author] = self._status_count, entry
                self._statuses.move_to_end(entry.author)
            # else nobody follows the topic

    async def followers(self, topics: Sequence[str]) -> list[int]:
        return [0 if (log := self._logs.get(topic)) is None else log.visible_readers for topic in topics]

    async def is_followed(self, topic: str) -> bool:
        log = self._logs.get(topic)
        return log is not None and bool(log.readers)

    async def following(self, topic: str) -> list[Session]:
        log = self._logs.get(topic)
        return [] if log is None else _in_order(log.readers)

    async def feed_end(self, topic: str) -> int:
        return self._logs[topic].end

    async def feed_after(self, topic: str, cursor: int, most: int = 256) -> tuple[int, list[bytes]]:
        log = self._logs[topic]
        first = log.end if cursor > log.end else max(cursor, log.first)
        return first, [entry.body for entry in log.slice(first, min(first + most, log.end))]

    # --- sessions ----------------------------------------------------------------------------------------------------

    async def open_session(
        self, session: Session, entries: Sequence[Entry] = (), *, arrival: Sequence[Entry] = ()
    ) -> None:
        if session.token not in self._sessions and len(self._sessions) >= SESSIONS_MAX:
            raise TooMany("sessions", SESSIONS_MAX)
        self._close(session.token)
        arrives = session.user_id not in self._visible
        self._open(session)  # before the entries, so that the session reads them
        if arrives:
            self._append(arrival)
        self._append(entries)

    def _open(self, session: Session) -> "_LiveSession":
        live = self._sessions[session.token] = _LiveSession(session, self._monotonic())
        self._sessions_of.setdefault(session.user_id, []).append(live)
        if live.visible:
            self._visible[session.user_id] = self._visible.get(session.user_id, 0) + 1
        # Sorted, so that each poll returns topics in the same order on every run.
        self._follow(live, sorted(session.follows))
        return live

    def _follow(self, live: "_LiveSession", topics: Iterable[str]) -> None:
        for topic in topics:
            if topic == STATUS:
                live.status_cursor = self._status_count
                continue
            log = self._logs.get(topic)
            if log is None:
                log = self._logs[topic] = _Log(topic)
            log.readers.add(live)
            log.visible_readers += live.visible
            live.cursors[log] = log.end

    def _unfollow(self, live: "_LiveSession", topics: Iterable[str]) -> None:
        for topic in topics:
            if topic == STATUS:
                live.status_cursor = None
                continue
            log = self._logs[topic]
            del live.cursors[log]
            log.readers.remove(live)
            log.visible_readers -= live.visible
            if not log.readers and topic not in PERMANENT_TOPICS:
                del self._logs[topic]

    async def session(self, token: str) -> Session:
        return self._live_session(token).session

    def _live_session(self, token: str) -> "_LiveSession":
        live = self._sessions.get(token)
        if live is None:
            raise SessionGone
        return live

    async def change_session(self, token: str, rule: SessionRule, *, unless_followed: str = "") -> Session:
        live = self._live_session(token)
        before = live.session
        if unless_followed and await self.is_followed(unless_followed):
            return before
        after, entries = rule(before)
        assert (after.token, after.user_id, after.hidden) == (before.token, before.user_id, before.hidden)
        live.session = after
        if after.follows is not before.follows:  # PERF: most changes leave the frozenset as it is
            self._unfollow(live, before.follows - after.follows)
            self._follow(live, sorted(after.follows - before.follows))
        self._append(entries)
        return after

    async def close_session(self, token: str) -> Session | None:
        return self._close(token)

    def _close(self, token: str) -> Session | None:
        live = self._sessions.pop(token, None)
        if live is None:
            return None
        session = live.session
        self._unfollow(live, session.follows)
        others = self._sessions_of[session.user_id]
        others.remove(live)
        if not others:
            del self._sessions_of[session.user_id]
            self._statuses.pop(session.user_id, None)
        if live.visible:
            self._visible[session.user_id] -= 1
            if not self._visible[session.user_id]:
                del self._visible[session.user_id]
        return session

    async def poll(self, token: str, most_bytes: int = POLL_BYTES_MAX) -> tuple[Session, list[Entry]]:
        live = self._live_session(token)
        return live.session, self._poll(live, most_bytes)

    def ready_session(self, token: str) -> Session | None:
        live = self._sessions.get(token)
        if live is None or live.waiting or (live.lock is not None and live.lock.locked()):
            return None
        return live.session

    def poll_at_once(self, token: str) -> list[Entry]:
        return self._poll(self._live_session(token), POLL_BYTES_MAX)

    def _poll(self, live: "_LiveSession", most_bytes: int) -> list[Entry]:
        # PERF: runs on every poll. A session follows about six topics, and usually all are without new entries.
        live.seen = self._monotonic()
        unread: list[Entry] = []
        for log, cursor in live.cursors.items():
            if cursor != log.end and most_bytes > 0:
                if cursor < log.first:
                    if not log.skips:
                        raise FellBehind(log.topic)
                    cursor = log.first
                stop = log.end
                if log.bytes_between(cursor, stop) > most_bytes:
                    stop = log.within(cursor, most_bytes)
                    if not unread:  # an entry larger than the bound would block the session forever
                        stop = max(stop, cursor + 1)
                if stop == cursor:  # no entry of this topic fits, but a smaller one of the next topic may
                    continue
                most_bytes -= log.bytes_between(cursor, stop)
                live.cursors[log] = stop
                unread += log.slice(cursor, stop)
        if live.status_cursor is not None and live.status_cursor != self._status_count:
            unread += self._new_statuses(live, live.status_cursor)
            live.status_cursor = self._status_count
        return unread

    def _new_statuses(self, live: "_LiveSession", cursor: int) -> list[Entry]:
        session, statuses = live.session, self._statuses
        crowded = len(self._visible) > CROWDED_ABOVE
        # PERF: only `watched` has a time limit; other sessions need no clock.
        interest = status_interest(session, crowded=crowded, now_ms=self._now_ms() if session.watched else 0)
        if interest is None:
            new = list(itertools.takewhile(lambda numbered: numbered[0] > cursor, reversed(statuses.values())))
            new.reverse()
        elif not interest:
            return []
        else:
            new = sorted(numbered for author in interest if (numbered := statuses.get(author)) and numbered[0] > cursor)
        return [entry for _, entry in new if entry.author != session.user_id]

    async def sessions_of(self, user_id: int) -> list[Session]:
        return _in_order(self._sessions_of.get(user_id, ()))

    async def sessions_among(self, user_ids: Sequence[int]) -> dict[int, Session]:
        among: dict[int, Session] = {}
        for user_id in user_ids:
            if user_id in self._visible:
                sessions = [live.session for live in self._sessions_of[user_id] if live.visible]
                if len(sessions) > 1:  # False sorts before True: the game's session comes first
                    sessions.sort(key=order_of_sessions)
                among[user_id] = sessions[0]
        return among

    async def idle_s(self, token: str) -> float:
        return self._monotonic() - self._live_session(token).seen

    async def idle_sessions(self, idle_s: float, most: int = 1_000) -> list[str]:
        # PERF: a scan, because only a job asks; an order by last poll would cost each poll.
        since = self._monotonic() - idle_s
        idle = [live for live in self._sessions.values() if live.seen <= since]
        idle.sort(key=lambda live: (live.seen, live.session.token))
        return [live.session.token for live in idle[:most]]

    def session_lock(self, token: str) -> AbstractAsyncContextManager[None]:
        return _SessionLock(self._live_session, token)

    async def online_count(self) -> int:
        return len(self._visible)

    async def online_ids(self) -> list[int]:
        return list(self._visible)

    async def online_among(self, user_ids: Sequence[int]) -> set[int]:
        return self._visible.keys() & user_ids

    # --- matches -----------------------------------------------------------------------------------------------------

    async def open_match(self, match: msgspec.Struct) -> int:
        for match_id in range(1, MATCHES_MAX + 1):  # at most 1,000 lookups, a few dozen microseconds
            if match_id not in self._matches:
                self._matches[match_id] = match
                return match_id
        raise TooMany("matches", MATCHES_MAX)

    async def match(self, match_id: int, kind: type[M]) -> M | None:
        stored = self._matches.get(match_id)
        return None if stored is None else _of_kind(kind, stored)

    async def change_match(
        self, match_id: int, kind: type[M], rule: Callable[[M], tuple[M | None, Sequence[Entry]]]
    ) -> M | None:
        stored = self._matches.get(match_id)
        if stored is None:
            raise MatchGone(match_id)
        changed, entries = rule(_of_kind(kind, stored))
        if changed is None:
            del self._matches[match_id]
        else:
            self._matches[match_id] = changed
        self._append(entries)
        return changed

    async def matches(self, kind: type[M]) -> list[tuple[int, M]]:
        return [(match_id, _of_kind(kind, self._matches[match_id])) for match_id in sorted(self._matches)]

    async def close_match(self, match_id: int) -> None:
        self._matches.pop(match_id, None)

    # --- the stash ---------------------------------------------------------------------------------------------------

    async def stash(self, key: str, field: str, value: bytes, for_s: float) -> None:
        now = self._monotonic()
        ends, fields = self._stash.pop(key, (now, {}))
        if ends <= now:
            fields = {}
        if len(fields) < FIELDS_MAX or field in fields:
            fields[field] = value
        for _ in range(SWEPT_AT_ONCE):
            if self._stash:
                oldest = next(iter(self._stash))
                if self._stash[oldest][0] <= now or len(self._stash) >= STASHED_KEYS_MAX:
                    del self._stash[oldest]
        self._stash[key] = now + for_s, fields

    async def stashed(self, key: str) -> dict[str, bytes]:
        ends, fields = self._stash.get(key, (0.0, {}))
        return dict(fields) if self._monotonic() < ends else {}

    # --- once-keys, leases, rate limits ------------------------------------------------------------------------------

    async def once(self, key: str, for_s: float, entries: Sequence[Entry] = ()) -> bool:
        assert for_s > 0
        keys = self._once_short if for_s <= ONCE_SHORT_S else self._once_long
        if not keys.add(key, self._monotonic(), for_s):
            return False
        self._append(entries)
        return True

    async def lease(self, key: str, holder: str, for_s: float) -> bool:
        now = self._monotonic()
        present, ends = self._leases.get(key, (holder, now))
        if present != holder and now < ends:
            return False
        self._leases[key] = holder, now + for_s
        return True

    async def consume(
        self, bucket: str, *, limit: int, period_s: float, burst: int | None = None, cost: int = 1
    ) -> RateLimitResult:
        return self._buckets.consume(bucket, limit=limit, period_s=period_s, burst=burst, cost=cost)

    def consume_at_once(self, bucket: str, *, limit: int, period_s: float, burst: int | None = None, cost: int) -> bool:
        return self._buckets.consume(bucket, limit=limit, period_s=period_s, burst=burst, cost=cost).granted

    async def refund(self, bucket: str, *, limit: int, period_s: float, cost: int = 1) -> None:
        self._buckets.refund(bucket, limit=limit, period_s=period_s, cost=cost)

    # --- snapshots over a restart ------------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """Encode sessions, topics, matches and the longer stash for `restore`.

        Ranks, once-keys and buckets are not included, and no keys of the stash with `STASH_SAVED_S` or less to live.
        """
        now = self._monotonic()
        stash = [(key, ends - now, fields) for key, (ends, fields) in self._stash.items() if ends - now > STASH_SAVED_S]
        logs = [_LogSnapshot(log.topic, log.first, log.entries) for log in self._logs.values()]
        sessions = [
            _SessionSnapshot(
                live.session, {log.topic: cursor for log, cursor in live.cursors.items()}, live.status_cursor
            )
            for live in self._sessions.values()
        ]
        # Matches are encoded separately: their type belongs to another package and is known only to `restore`'s caller.
        matches = {match_id: msgspec.msgpack.encode(match) for match_id, match in self._matches.items()}
        return msgspec.msgpack.encode(
            _Snapshot(logs, list(self._statuses.values()), self._status_count, sessions, matches, stash)
        )

    def restore(self, encoded: bytes, kind: type[msgspec.Struct]) -> int:
        """Restore a snapshot whose matches are of type `kind`, and return the number of sessions.

        Every session is marked as seen now. Raises msgspec.ValidationError or DecodeError for bytes that are not a
        snapshot of this version; nothing is changed then.
        """
        snapshot = msgspec.msgpack.decode(encoded, type=_Snapshot)
        matches = {match_id: msgspec.msgpack.decode(match, type=kind) for match_id, match in snapshot.matches.items()}
        # Everything is decoded before the first change: a damaged snapshot leaves an empty state, not half of one.
        self._matches = matches
        # Logs before sessions: a session's cursors refer to them.
        for log in snapshot.logs:
            self._logs[log.topic] = _Log(log.topic, log.first, log.entries)
        self._statuses = OrderedDict((entry.author, (number, entry)) for number, entry in snapshot.statuses)
        self._status_count = snapshot.status_count
        now = self._monotonic()
        for key, for_s, fields in snapshot.stash:
            self._stash[key] = now + for_s, fields
        for saved in snapshot.sessions:
            live = self._open(saved.session)
            live.status_cursor = saved.status_cursor
            live.cursors.update({self._logs[topic]: cursor for topic, cursor in saved.cursors.items()})
        return len(snapshot.sessions)


class _Log:
    """The entries of one topic, with its readers."""

    __slots__ = (
        "_bytes",
        "_bytes_max",
        "_dropped_bytes",
        "_entries_max",
        "_marks",
        "end",
        "entries",
        "first",
        "readers",
        "skips",
        "topic",
        "visible_readers",
    )

    def __init__(self, topic: str, first: int = 0, entries: Sequence[Entry] = ()) -> None:
        bound = bound_of(topic)
        self.topic = topic
        self.skips = bound.skips
        self.entries: list[Entry] = []
        self.first = self.end = first
        self.readers: set[_LiveSession] = set()
        self.visible_readers = 0
        self._entries_max = bound.entries
        self._bytes_max = bound.bytes
        self._bytes = 0  # of all entries ever appended
        self._dropped_bytes = 0  # of the entries that were dropped
        self._marks: list[int] = []  # the value of `_bytes` after each stored entry
        for entry in entries:
            self.append(entry)

    def append(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._bytes += len(entry.body)
        self._marks.append(self._bytes)
        self.end += 1
        length = len(self.entries)
        # PERF: deleting the head of a list moves the rest, so it is done once for an eighth of the bound.
        if length > self._entries_max + (self._entries_max >> 3):
            self._drop(length - self._entries_max)
        if self._bytes - self._dropped_bytes > self._bytes_max:
            self._drop(bisect_left(self._marks, self._bytes - self._bytes_max) + 1)

    def _drop(self, count: int) -> None:
        count = min(count, len(self.entries) - 1)  # the newest entry stays, even if it exceeds the bound of bytes
        if count > 0:
            self._dropped_bytes = self._marks[count - 1]
            del self.entries[:count]
            del self._marks[:count]
            self.first += count

    def slice(self, start: int, stop: int) -> list[Entry]:
        return self.entries[start - self.first : stop - self.first]

    def bytes_between(self, start: int, stop: int) -> int:
        before = start - self.first
        return self._marks[stop - self.first - 1] - (self._marks[before - 1] if before else self._dropped_bytes)

    def within(self, start: int, most: int) -> int:
        """Return the index at which a reader at `start` stops in order to read at most `most` bytes."""
        before = start - self.first
        read = self._marks[before - 1] if before else self._dropped_bytes
        return self.first + bisect_right(self._marks, read + most, lo=before)


class _OnceKeys:
    """Keys with the time at which each ends. Beyond ONCE_KEYS_MAX the key nearest its end is dropped."""

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []  # has old ends of keys that were added again

    def add(self, key: str, now: float, for_s: float) -> bool:
        """Add a key for `for_s` seconds. Return False if it is there already."""
        if now < self._ends.get(key, now):
            return False
        for _ in range(SWEPT_AT_ONCE):
            if self._heap and (self._heap[0][0] <= now or len(self._heap) >= ONCE_KEYS_MAX):
                end, expired = heapq.heappop(self._heap)
                if self._ends.get(expired) == end:  # else the key was added again and ends later
                    del self._ends[expired]
        self._ends[key] = now + for_s
        heapq.heappush(self._heap, (now + for_s, key))
        return True


class _LiveSession:
    """A session with its cursors, last poll and lock."""

    __slots__ = ("cursors", "lock", "seen", "session", "status_cursor", "visible", "waiting")

    def __init__(self, session: Session, seen: float) -> None:
        self.session = session
        self.seen = seen
        self.visible = not session.hidden and session.user_id != BOT_ID
        self.cursors: dict[_Log, int] = {}
        self.status_cursor: int | None = None  # None: the session does not follow STATUS
        self.lock: asyncio.Lock | None = None
        self.waiting = 0


class _SessionLock:
    """The context manager of a session's lock. Creates the lock on first use."""

    __slots__ = ("_find", "_live", "_token")

    def __init__(self, find: Callable[[str], _LiveSession], token: str) -> None:
        self._find = find
        self._token = token
        self._live: _LiveSession | None = None

    async def __aenter__(self) -> None:
        live = self._live = self._find(self._token)
        if live.lock is None:
            live.lock = asyncio.Lock()
        # Both conditions: between a release and the wake-up of the next waiter the lock is free, and a request that
        # took it then would overtake the waiter.
        if not live.lock.locked() and not live.waiting:
            await live.lock.acquire()
            return
        if live.waiting >= LOCK_WAITERS_MAX:
            raise TooMany("requests of this session", LOCK_WAITERS_MAX)
        live.waiting += 1
        try:
            await live.lock.acquire()
        finally:
            live.waiting -= 1

    async def __aexit__(self, *_: object) -> None:
        assert self._live is not None
        assert self._live.lock is not None
        self._live.lock.release()


class _LogSnapshot(msgspec.Struct, frozen=True, array_like=True):
    topic: str
    first: int
    entries: list[Entry]


class _SessionSnapshot(msgspec.Struct, frozen=True, array_like=True):
    session: Session
    cursors: dict[str, int]
    status_cursor: int | None


class _Snapshot(msgspec.Struct, frozen=True):
    logs: list[_LogSnapshot]
    statuses: list[tuple[int, Entry]]
    status_count: int
    sessions: list[_SessionSnapshot]
    matches: dict[int, bytes]
    stash: list[tuple[str, float, dict[str, bytes]]] = []


def _in_order(sessions: Iterable[_LiveSession]) -> list[Session]:
    return sorted((live.session for live in sessions), key=lambda session: (session.login_time_ms, session.token))


def _of_kind(kind: type[M], stored: msgspec.Struct) -> M:
    assert isinstance(stored, kind), f"opened as {type(stored).__name__}, read as {kind.__name__}"
    return stored

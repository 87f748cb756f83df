"""Realtime state in the process: what an embedded server has instead of Redis.

Every verb runs from start to end without awaiting anything, which is what makes it atomic on one event loop; only
`replace_ranks` builds its lists in a thread first, and then swaps them in at one stroke.

Ranks: each mode has a sorted list for the world and one for each country, of the same ints, and a dict from user to its
int and country. An int orders as (pp descending, user id ascending); a rank is a bisection, never a count.

Topics: a list of entries, the index of its first one, and the running total of their bytes, so that how much a reader
has before it is a subtraction. A session holds the logs it follows with its cursors, and a log its readers; a log that
nobody reads is dropped. Old entries go in batches of an eighth of the bound, so a log may hold that much more.

Statuses: a dict from author to its newest entry and that entry's number, in the order of numbers. A reader who wants
everybody walks it from the end back to where it was; one who wants some looks them up.

Buckets: see `buckets.py`.
"""

import asyncio
import heapq
import itertools
import sys
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

import msgspec
from sortedcontainers import SortedList

from kiai.clock import Clock
from kiai.realtime.buckets import TokenBuckets
from kiai.realtime.port import (
    AROUND_MAX,
    BOT_ID,
    FIELDS_MAX,
    KEPT,
    KEPT_KEYS_MAX,
    MANY_ONLINE,
    MATCHES_MAX,
    ONCE_KEYS_MAX,
    POLL_BYTES_MAX,
    SESSIONS_MAX,
    STATUS,
    TURNS_WAITING_MAX,
    USER_ID_MAX,
    Allowance,
    Entry,
    FellBehind,
    M,
    MatchGone,
    Rank,
    RankEntry,
    Session,
    SessionGone,
    SessionRule,
    TooMany,
    bound_of,
    status_interest,
)

UNRANKED: Final = Rank()
SWEPT_AT_ONCE: Final = 2  # more than one leaves for each that comes, so tables shrink, and no caller pays for many
SORTED_AT_ONCE: Final = 10_000


class MemoryRealtime:
    """The port's adapter for one process."""

    def __init__(self, clock: Clock) -> None:
        self._monotonic = clock.monotonic
        self._now_ms = clock.now_ms
        self._ranks: dict[int, _ModeRanks] = {}
        self._logs: dict[str, _Log] = {topic: _Log(topic) for topic in KEPT}
        self._statuses: OrderedDict[int, tuple[int, Entry]] = OrderedDict()
        self._status_count = 0
        self._live: dict[str, _Live] = {}
        self._live_of: dict[int, list[_Live]] = {}
        self._shown: dict[int, int] = {}  # user id -> how many sessions others may see; never 0, never the bot
        self._matches: dict[int, msgspec.Struct] = {}
        self._kept: OrderedDict[str, tuple[float, dict[str, bytes]]] = OrderedDict()  # until when, by last set
        self._once: dict[str, float] = {}
        self._once_ends: list[tuple[float, str]] = []
        self._held: dict[str, tuple[str, float]] = {}
        self._buckets = TokenBuckets(clock.monotonic)

    # --- ranks -------------------------------------------------------------------------------------------------------

    async def set_ranks(self, entries: Sequence[RankEntry]) -> None:
        for entry in entries:
            lists = self._ranks.get(entry.mode)
            if lists is None:
                lists = self._ranks[entry.mode] = _ModeRanks()
            lists.place(entry)

    async def forget_ranks(self, user_id: int) -> None:
        for lists in self._ranks.values():
            lists.remove(user_id)

    async def replace_ranks(self, entries: Sequence[RankEntry]) -> None:
        self._ranks = await asyncio.to_thread(_built, tuple(entries))

    async def ranks_of(self, user_id: int) -> dict[int, Rank]:
        return {mode: lists.rank_of(user_id) for mode, lists in self._ranks.items() if user_id in lists.placed}

    async def rank_of(self, user_id: int, mode: int) -> Rank:
        lists = self._ranks.get(mode)
        return lists.rank_of(user_id) if lists is not None and user_id in lists.placed else UNRANKED

    async def around(self, mode: int, *, country: str | None = None, offset: int = 0, limit: int = 50) -> list[int]:
        assert offset >= 0
        assert 1 <= limit <= AROUND_MAX
        found = self._list(mode, country)
        return [] if found is None else [key & USER_ID_MAX for key in found.islice(offset, offset + limit)]

    async def ranked_count(self, mode: int, country: str | None = None) -> int:
        found = self._list(mode, country)
        return 0 if found is None else len(found)

    def _list(self, mode: int, country: str | None) -> "SortedList[int] | None":
        lists = self._ranks.get(mode)
        if lists is None:
            return None
        return lists.world if country is None else lists.countries.get(country)

    # --- topics ------------------------------------------------------------------------------------------------------

    async def append(self, entries: Sequence[Entry], *, unless_online: int = 0) -> None:
        if not unless_online or unless_online not in self._shown:
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

    async def followers(self, topics: Sequence[str]) -> list[int]:
        return [0 if (log := self._logs.get(topic)) is None else log.shown for topic in topics]

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
        if session.token not in self._live and len(self._live) >= SESSIONS_MAX:
            raise TooMany("sessions", SESSIONS_MAX)
        self._close(session.token)
        comes = session.user_id not in self._shown
        self._open(session)
        if comes:
            self._append(arrival)
        self._append(entries)

    def _open(self, session: Session) -> "_Live":
        live = self._live[session.token] = _Live(session, self._monotonic())
        self._live_of.setdefault(session.user_id, []).append(live)
        if live.shown:
            self._shown[session.user_id] = self._shown.get(session.user_id, 0) + 1
        self._follow(live, sorted(session.follows))
        return live

    def _follow(self, live: "_Live", topics: Iterable[str]) -> None:
        for topic in topics:
            if topic == STATUS:
                live.status_cursor = self._status_count
                continue
            log = self._logs.get(topic)
            if log is None:
                log = self._logs[topic] = _Log(topic)
            log.readers.add(live)
            log.shown += live.shown
            live.cursors[log] = log.end

    def _unfollow(self, live: "_Live", topics: Iterable[str]) -> None:
        for topic in topics:
            if topic == STATUS:
                live.status_cursor = None
                continue
            log = self._logs[topic]
            del live.cursors[log]
            log.readers.remove(live)
            log.shown -= live.shown
            if not log.readers and topic not in KEPT:
                del self._logs[topic]

    async def session(self, token: str) -> Session:
        return self._found(token).session

    def _found(self, token: str) -> "_Live":
        found = self._live.get(token)
        if found is None:
            raise SessionGone
        return found

    async def change_session(self, token: str, rule: SessionRule, *, unless_followed: str = "") -> Session:
        live = self._found(token)
        before = live.session
        if unless_followed and await self.is_followed(unless_followed):
            return before
        after, entries = rule(before)
        assert (after.token, after.user_id, after.hidden) == (before.token, before.user_id, before.hidden)
        live.session = after
        if after.follows is not before.follows:
            self._unfollow(live, before.follows - after.follows)
            self._follow(live, sorted(after.follows - before.follows))
        self._append(entries)
        return after

    async def close_session(self, token: str) -> Session | None:
        return self._close(token)

    def _close(self, token: str) -> Session | None:
        live = self._live.pop(token, None)
        if live is None:
            return None
        session = live.session
        self._unfollow(live, session.follows)
        theirs = self._live_of[session.user_id]
        theirs.remove(live)
        if not theirs:
            del self._live_of[session.user_id]
            self._statuses.pop(session.user_id, None)
        if live.shown:
            self._shown[session.user_id] -= 1
            if not self._shown[session.user_id]:
                del self._shown[session.user_id]
        return session

    async def poll(self, token: str, most_bytes: int = POLL_BYTES_MAX) -> tuple[Session, list[Entry]]:
        # PERF: runs on every poll; a session follows about six topics, and mostly none has anything new.
        live = self._live.get(token)
        if live is None:
            raise SessionGone
        live.seen = self._monotonic()
        found: list[Entry] = []
        for log, cursor in live.cursors.items():
            if cursor != log.end and most_bytes > 0:
                if cursor < log.first:
                    if not log.skips:
                        raise FellBehind(log.topic)
                    cursor = log.first
                upto = log.end
                if log.bytes_between(cursor, upto) > most_bytes:
                    upto = log.within(cursor, most_bytes) if found else max(log.within(cursor, most_bytes), cursor + 1)
                if upto == cursor:  # PERF: nothing of this topic fits; another's may
                    continue
                most_bytes -= log.bytes_between(cursor, upto)
                live.cursors[log] = upto
                found += log.slice(cursor, upto)
        if live.status_cursor is not None and live.status_cursor != self._status_count:
            found += self._new_statuses(live, live.status_cursor)
            live.status_cursor = self._status_count
        return live.session, found

    def _new_statuses(self, live: "_Live", cursor: int) -> list[Entry]:
        session, statuses = live.session, self._statuses
        many = len(self._shown) > MANY_ONLINE
        wanted = status_interest(session, many=many, now_ms=self._now_ms() if session.watched else 0)
        if wanted is None:
            new = list(itertools.takewhile(lambda one: one[0] > cursor, reversed(statuses.values())))
            new.reverse()
        elif not wanted:
            return []
        else:
            new = sorted(found for author in wanted if (found := statuses.get(author)) and found[0] > cursor)
        return [entry for _, entry in new if entry.author != session.user_id]

    async def sessions_of(self, user_id: int) -> list[Session]:
        return _in_order(self._live_of.get(user_id, ()))

    async def sessions_among(self, user_ids: Sequence[int]) -> dict[int, Session]:
        among: dict[int, Session] = {}
        for user_id in user_ids:
            if user_id in self._shown:
                sessions = [live.session for live in self._live_of[user_id] if live.shown]
                if len(sessions) > 1:
                    sessions.sort(key=lambda one: (one.tournament, one.login_time_ms, one.token))
                among[user_id] = sessions[0]
        return among

    async def idle_s(self, token: str) -> float:
        return self._monotonic() - self._found(token).seen

    async def idle_sessions(self, idle_s: float, most: int = 1_000) -> list[str]:
        since = self._monotonic() - idle_s
        idle = [live for live in self._live.values() if live.seen <= since]
        idle.sort(key=lambda live: (live.seen, live.session.token))
        return [live.session.token for live in idle[:most]]

    def turn(self, token: str) -> AbstractAsyncContextManager[None]:
        return _Turn(self._found, token)

    async def online_count(self) -> int:
        return len(self._shown)

    async def online_ids(self) -> list[int]:
        return list(self._shown)

    async def online_among(self, user_ids: Sequence[int]) -> set[int]:
        return self._shown.keys() & user_ids

    # --- matches -----------------------------------------------------------------------------------------------------

    async def open_match(self, match: msgspec.Struct) -> int:
        for match_id in range(1, MATCHES_MAX + 1):
            if match_id not in self._matches:
                self._matches[match_id] = match
                return match_id
        raise TooMany("matches", MATCHES_MAX)

    async def match(self, match_id: int, kind: type[M]) -> M | None:
        found = self._matches.get(match_id)
        return None if found is None else _as(kind, found)

    async def change_match(
        self, match_id: int, kind: type[M], rule: Callable[[M], tuple[M | None, Sequence[Entry]]]
    ) -> M | None:
        found = self._matches.get(match_id)
        if found is None:
            raise MatchGone(match_id)
        changed, entries = rule(_as(kind, found))
        if changed is None:
            del self._matches[match_id]
        else:
            self._matches[match_id] = changed
        self._append(entries)
        return changed

    async def matches(self, kind: type[M]) -> list[tuple[int, M]]:
        return [(match_id, _as(kind, self._matches[match_id])) for match_id in sorted(self._matches)]

    async def close_match(self, match_id: int) -> None:
        self._matches.pop(match_id, None)

    # --- kept for a while --------------------------------------------------------------------------------------------

    async def keep(self, key: str, field: str, value: bytes, for_s: float) -> None:
        now = self._monotonic()
        until, fields = self._kept.pop(key, (now, {}))
        if until <= now:
            fields = {}
        if len(fields) < FIELDS_MAX or field in fields:
            fields[field] = value
        for _ in range(SWEPT_AT_ONCE):
            if self._kept:
                oldest = next(iter(self._kept))
                if self._kept[oldest][0] <= now or len(self._kept) >= KEPT_KEYS_MAX:
                    del self._kept[oldest]
        self._kept[key] = now + for_s, fields

    async def kept(self, key: str) -> dict[str, bytes]:
        until, fields = self._kept.get(key, (0.0, {}))
        return dict(fields) if self._monotonic() < until else {}

    # --- once, and how often -----------------------------------------------------------------------------------------

    async def once(self, key: str, for_s: float, entries: Sequence[Entry] = ()) -> bool:
        assert for_s > 0
        now = self._monotonic()
        if now < self._once.get(key, now):
            return False
        for _ in range(SWEPT_AT_ONCE):
            if self._once_ends and (self._once_ends[0][0] <= now or len(self._once_ends) >= ONCE_KEYS_MAX):
                ended, gone = heapq.heappop(self._once_ends)
                if self._once.get(gone) == ended:  # else it was asked for again since, and ends later
                    del self._once[gone]
        self._once[key] = now + for_s
        heapq.heappush(self._once_ends, (now + for_s, key))
        self._append(entries)
        return True

    async def hold(self, key: str, holder: str, for_s: float) -> bool:
        now = self._monotonic()
        was, ends = self._held.get(key, (holder, now))
        if was != holder and now < ends:
            return False
        self._held[key] = holder, now + for_s
        return True

    async def take(
        self, bucket: str, *, limit: int, period_s: float, burst: int | None = None, cost: int = 1
    ) -> Allowance:
        return self._buckets.take(bucket, limit=limit, period_s=period_s, burst=burst, cost=cost)

    async def refund(self, bucket: str, *, limit: int, period_s: float, cost: int = 1) -> None:
        self._buckets.refund(bucket, limit=limit, period_s=period_s, cost=cost)

    # --- over a restart ----------------------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """Sessions, topics and matches as they are, for `restore`. Ranks, once-locks and buckets are made anew."""
        logs = [_KeptLog(log.topic, log.first, log.entries) for log in self._logs.values()]
        sessions = [
            _KeptSession(live.session, {log.topic: cursor for log, cursor in live.cursors.items()}, live.status_cursor)
            for live in self._live.values()
        ]
        matches = {match_id: msgspec.msgpack.encode(match) for match_id, match in self._matches.items()}
        return msgspec.msgpack.encode(_Kept(logs, list(self._statuses.values()), self._status_count, sessions, matches))

    def restore(self, kept: bytes, kind: type[msgspec.Struct]) -> int:
        """Continues from a snapshot whose matches are of this kind; every session counts as seen now. How many.

        Raises msgspec.ValidationError or DecodeError for what is no snapshot of this version; nothing is changed then.
        """
        was = msgspec.msgpack.decode(kept, type=_Kept)
        matches = {match_id: msgspec.msgpack.decode(match, type=kind) for match_id, match in was.matches.items()}
        self._matches = matches
        for log in was.logs:
            self._logs[log.topic] = _Log(log.topic, log.first, log.entries)
        self._statuses = OrderedDict((entry.author, (number, entry)) for number, entry in was.statuses)
        self._status_count = was.status_count
        for one in was.sessions:
            live = self._open(one.session)
            live.status_cursor = one.status_cursor
            live.cursors.update({self._logs[topic]: cursor for topic, cursor in one.cursors.items()})
        return len(was.sessions)


class _Log:
    """A topic."""

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
        "shown",
        "skips",
        "topic",
    )

    def __init__(self, topic: str, first: int = 0, entries: Sequence[Entry] = ()) -> None:
        bound = bound_of(topic)
        self.topic = topic
        self.skips = bound.skips
        self.entries: list[Entry] = []
        self.first = self.end = first
        self.readers: set[_Live] = set()
        self.shown = 0
        self._entries_max = bound.entries
        self._bytes_max = bound.bytes
        self._bytes = 0  # of every entry there ever was
        self._dropped_bytes = 0  # of those that are gone
        self._marks: list[int] = []  # `_bytes` after each entry
        for entry in entries:
            self.append(entry)

    def append(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._bytes += len(entry.body)
        self._marks.append(self._bytes)
        self.end += 1
        kept = len(self.entries)
        if kept > self._entries_max + (self._entries_max >> 3):
            self._drop(kept - self._entries_max)
        if self._bytes - self._dropped_bytes > self._bytes_max:
            self._drop(bisect_left(self._marks, self._bytes - self._bytes_max) + 1)

    def _drop(self, count: int) -> None:
        count = min(count, len(self.entries) - 1)  # the newest is always kept
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
        """Where a reader at `start` has to stop so as to read at most that many bytes."""
        before = start - self.first
        read = self._marks[before - 1] if before else self._dropped_bytes
        return self.first + bisect_right(self._marks, read + most, lo=before)


class _Live:
    """A session, with its cursors."""

    __slots__ = ("cursors", "lock", "seen", "session", "shown", "status_cursor", "waiting")

    def __init__(self, session: Session, seen: float) -> None:
        self.session = session
        self.seen = seen
        self.shown = not session.hidden and session.user_id != BOT_ID
        self.cursors: dict[_Log, int] = {}
        self.status_cursor: int | None = None
        self.lock: asyncio.Lock | None = None
        self.waiting = 0


class _Turn:
    """Holds a session's lock; made only when it is wanted, since most sessions never need one."""

    __slots__ = ("_find", "_live", "_token")

    def __init__(self, find: Callable[[str], _Live], token: str) -> None:
        self._find = find
        self._token = token
        self._live: _Live | None = None

    async def __aenter__(self) -> None:
        live = self._live = self._find(self._token)
        if live.lock is None:
            live.lock = asyncio.Lock()
        if not live.lock.locked() and not live.waiting:  # while one is woken up, nobody holds the lock
            await live.lock.acquire()
            return
        if live.waiting >= TURNS_WAITING_MAX:
            raise TooMany("requests of this session", TURNS_WAITING_MAX)
        live.waiting += 1
        try:
            await live.lock.acquire()
        finally:
            live.waiting -= 1

    async def __aexit__(self, *_: object) -> None:
        assert self._live is not None
        assert self._live.lock is not None
        self._live.lock.release()


class _KeptLog(msgspec.Struct, frozen=True, array_like=True):
    topic: str
    first: int
    entries: list[Entry]


class _KeptSession(msgspec.Struct, frozen=True, array_like=True):
    session: Session
    cursors: dict[str, int]
    status_cursor: int | None


class _Kept(msgspec.Struct, frozen=True):
    logs: list[_KeptLog]
    statuses: list[tuple[int, Entry]]
    status_count: int
    sessions: list[_KeptSession]
    matches: dict[int, bytes]


def _in_order(those: Iterable[_Live]) -> list[Session]:
    return sorted((live.session for live in those), key=lambda one: (one.login_time_ms, one.token))


class _ModeRanks:
    """The lists of one mode."""

    __slots__ = ("countries", "placed", "world")

    def __init__(self) -> None:
        self.world: SortedList[int] = SortedList()
        self.countries: dict[str, SortedList[int]] = {}
        self.placed: dict[int, tuple[int, str]] = {}

    @classmethod
    def of(cls, entries: Iterable[RankEntry]) -> "_ModeRanks":
        """The lists of entries of different users; entries without pp are nowhere."""
        lists = cls()
        keys: dict[str, list[int]] = {}
        for entry in entries:
            if entry.pp > 0:
                key, country = lists.placed[entry.user_id] = _key(entry), sys.intern(entry.country)
                keys.setdefault(country, []).append(key)
        lists.world = _sorted([key for key, _ in lists.placed.values()])
        lists.countries = {country: _sorted(theirs) for country, theirs in keys.items()}
        return lists

    def place(self, entry: RankEntry) -> None:
        """Moves the user to where the entry says, or out."""
        if entry.pp <= 0:
            self.remove(entry.user_id)
            return
        place = _key(entry), sys.intern(entry.country)
        if self.placed.get(entry.user_id) == place:
            return
        self.remove(entry.user_id)
        key, country = self.placed[entry.user_id] = place
        self.world.add(key)
        if country not in self.countries:
            self.countries[country] = SortedList()
        self.countries[country].add(key)

    def remove(self, user_id: int) -> None:
        """Takes the user out, if it is there."""
        if (place := self.placed.pop(user_id, None)) is not None:
            key, country = place
            self.world.remove(key)
            self.countries[country].remove(key)

    def rank_of(self, user_id: int) -> Rank:
        """The ranks of a user who is placed."""
        key, country = self.placed[user_id]
        return Rank(self.world.bisect_left(key) + 1, self.countries[country].bisect_left(key) + 1)


def _key(entry: RankEntry) -> int:
    # PERF: one int orders like the tuple (-pp, user_id).
    assert 0 < entry.user_id <= USER_ID_MAX
    return (-entry.pp << 31) | entry.user_id


def _sorted(keys: list[int]) -> "SortedList[int]":
    # PERF: in pieces, because one sort of 100,000 keys would hold the interpreter, and so the event loop, for 40 ms.
    pieces = [sorted(keys[start : start + SORTED_AT_ONCE]) for start in range(0, len(keys), SORTED_AT_ONCE)]
    return SortedList(heapq.merge(*pieces))


def _built(entries: Sequence[RankEntry]) -> dict[int, _ModeRanks]:
    by_mode: dict[int, dict[int, RankEntry]] = {}
    for entry in entries:
        by_mode.setdefault(entry.mode, {})[entry.user_id] = entry
    return {mode: _ModeRanks.of(by_user.values()) for mode, by_user in by_mode.items()}


def _as(kind: type[M], found: msgspec.Struct) -> M:
    assert isinstance(found, kind), f"opened as {type(found).__name__}, asked for as {kind.__name__}"
    return found

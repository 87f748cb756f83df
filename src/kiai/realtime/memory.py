"""Realtime state in the process: what an embedded server has instead of Redis.

Every verb runs from start to end without awaiting anything, which is what makes it atomic on one event loop; only
`replace_ranks` builds its lists in a thread first, and then swaps them in at one stroke.

Ranks: each mode has a sorted list for the world and one for each country, of the same ints, and a dict from user to its
int and country. An int orders as (pp descending, user id ascending); a rank is a bisection, never a count.

Buckets: one float each, the moment at which the bucket will be full again if nobody takes more; how much is in it now
follows from that. A full bucket is the same as none, so full ones are dropped as new ones come.
"""

import asyncio
import heapq
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec
from sortedcontainers import SortedList

from kiai.clock import Clock
from kiai.realtime.port import (
    AROUND_MAX,
    BOT_ID,
    BUCKETS_MAX,
    MATCHES_MAX,
    ONCE_KEYS_MAX,
    SESSIONS_MAX,
    USER_ID_MAX,
    Allowance,
    M,
    MatchGone,
    Rank,
    RankEntry,
    Session,
    SessionGone,
    Status,
    TooMany,
)

UNRANKED: Final = Rank()
SWEPT_AT_ONCE: Final = 2  # more than one leaves for each that comes, so tables shrink, and no caller pays for many
SORTED_AT_ONCE: Final = 10_000
GRAIN: Final = 0.001  # what a bucket may lack for a unit because seconds are binary fractions; a debt, never a gift


class MemoryRealtime:
    """The port's adapter for one process."""

    def __init__(self, clock: Clock) -> None:
        self._monotonic = clock.monotonic
        self._ranks: dict[int, _ModeRanks] = {}
        self._sessions: dict[str, Session] = {}
        self._tokens: dict[int, set[str]] = {}
        self._shown: dict[int, int] = {}  # user id -> how many sessions others may see; never 0, never the bot
        self._matches: dict[int, msgspec.Struct] = {}
        self._once: dict[str, float] = {}
        self._once_ends: list[tuple[float, str]] = []
        self._full_at: OrderedDict[str, float] = OrderedDict()

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

    # --- sessions ----------------------------------------------------------------------------------------------------

    async def open_session(self, session: Session) -> None:
        if session.token not in self._sessions and len(self._sessions) >= SESSIONS_MAX:
            raise TooMany("sessions", SESSIONS_MAX)
        self._drop_session(session.token)
        self._sessions[session.token] = session
        self._tokens.setdefault(session.user_id, set()).add(session.token)
        if _is_shown(session):
            self._shown[session.user_id] = self._shown.get(session.user_id, 0) + 1

    async def session(self, token: str) -> Session:
        found = self._sessions.get(token)
        if found is None:
            raise SessionGone
        return found

    async def change_status(self, token: str, status: Status) -> None:
        found = self._sessions.get(token)
        if found is None:
            raise SessionGone
        self._sessions[token] = msgspec.structs.replace(found, status=status)

    async def close_session(self, token: str) -> None:
        self._drop_session(token)

    async def sessions_of(self, user_id: int) -> list[Session]:
        found = [self._sessions[token] for token in self._tokens.get(user_id, ())]
        return sorted(found, key=lambda one: (one.login_time_ms, one.token))

    async def online_count(self) -> int:
        return len(self._shown)

    async def online_among(self, user_ids: Sequence[int]) -> set[int]:
        return self._shown.keys() & user_ids

    def _drop_session(self, token: str) -> None:
        session = self._sessions.pop(token, None)
        if session is None:
            return
        tokens = self._tokens[session.user_id]
        tokens.remove(token)
        if not tokens:
            del self._tokens[session.user_id]
        if _is_shown(session):
            self._shown[session.user_id] -= 1
            if not self._shown[session.user_id]:
                del self._shown[session.user_id]

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

    async def change_match(self, match_id: int, kind: type[M], rule: Callable[[M], M]) -> M:
        found = self._matches.get(match_id)
        if found is None:
            raise MatchGone(match_id)
        changed = rule(_as(kind, found))
        self._matches[match_id] = changed
        return changed

    async def matches(self, kind: type[M]) -> list[tuple[int, M]]:
        return [(match_id, _as(kind, self._matches[match_id])) for match_id in sorted(self._matches)]

    async def close_match(self, match_id: int) -> None:
        self._matches.pop(match_id, None)

    # --- once, and how often -----------------------------------------------------------------------------------------

    async def once(self, key: str, for_s: float) -> bool:
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
        return True

    async def take(
        self, bucket: str, *, limit: int, period_s: float, burst: int | None = None, cost: int = 1
    ) -> Allowance:
        # PERF: runs on every request of the API.
        capacity = limit if burst is None else burst
        assert 0 < cost <= capacity
        table = self._full_at
        now = self._monotonic()
        full_at = table.get(bucket)
        if full_at is None:
            self._drop_buckets(now)
            full_at = now
        elif full_at < now:
            full_at = now
        unit_s = period_s / limit
        left = capacity - (full_at - now) / unit_s - cost
        granted = left > -GRAIN
        if granted:
            full_at += cost * unit_s
        table[bucket] = full_at
        table.move_to_end(bucket)
        if granted:
            return Allowance(True, limit, int(left + GRAIN), full_at - now)
        return Allowance(False, limit, int(left + cost + GRAIN), -left * unit_s)

    def _drop_buckets(self, now: float) -> None:
        table = self._full_at
        for _ in range(SWEPT_AT_ONCE):
            if table:
                oldest = next(iter(table))
                if table[oldest] <= now or len(table) >= BUCKETS_MAX:
                    del table[oldest]


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


def _is_shown(session: Session) -> bool:
    return not session.hidden and session.user_id != BOT_ID


def _as(kind: type[M], found: msgspec.Struct) -> M:
    assert isinstance(found, kind), f"opened as {type(found).__name__}, asked for as {kind.__name__}"
    return found

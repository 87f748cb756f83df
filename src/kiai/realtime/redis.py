"""Shared state in Redis, for several workers.

Each method that writes is one Lua script (`scripts/`) or one command; only `replace_ranks` takes several steps. Redis
runs a script to its end before the next command, which makes it atomic.

A change of a session or match is optimistic: Python reads the value, applies the rule, and a script stores the result
only if the value is still the same (`change.lua`, `match.lua`). Otherwise the rule runs again on the new value.

Commands from one turn of the event loop are sent together (pipeline.py): a busy worker pays for one round trip.

Keys, below `kiai:`, and in a Redis Cluster below `kiai:{GROUP}:` (key_groups.py)
  s:TOKEN               hash, a session: d Struct, v version, u user, h 1 if others see it, sc cursor of statuses;
                        f, fr, w, wu, sp: the fields that decide whose statuses it receives (`store` in common.lua)
  c:TOKEN               hash, the session's cursors by topic
  seen                  sorted set, tokens by their last poll in seconds
  u:USER                set, the user's tokens
  shown                 hash, the number of visible sessions by user; a user is online if it has a field here
  t:{TOPIC}:l           list, entries of a topic: size of the body (4 bytes, big endian), then msgpack
  t:{TOPIC}:m           hash, indexes `first` and `end`, `bytes` of stored bodies, `shown` visible readers
  t:{TOPIC}:r           set, tokens of readers
  b  b:e  b:n           statuses: sorted set of authors by number, hash of newest entries, the last number
  mt                    hash, matches by id
  z:GENERATION:MODE:CC  sorted set, ranks of a country (empty: the world); `z:g` names the generation that is read
  kp:KEY                hash, a stash: fields with a leading dot, and its end in seconds under the empty field
  once                  sorted set, once-keys by their end in seconds
  bk  bk:u  bk:n        buckets: hash of the times at which they are full, sorted set by last use, the last number
  h:KEY                 hash, a lease: holder and end in seconds
  n  n:n  n:r           the last names of changes for workers (changes.py), the number of the last one, and a random
                        name of this run of Redis

Times are Redis's own, which all workers share. Only stashes, leases and unfinished rebuilds of ranks have a TTL; a
session has none, because its end has consequences that a job must carry out. All data that Redis can lose is derived
or short-lived: after Redis has lost its data, clients log in again and ranks are rebuilt (`is_empty`).
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import msgspec
from redis.asyncio import Redis, RedisCluster

from kiai.clock import Clock
from kiai.measuring import PoolUsage, Timings
from kiai.realtime.buckets import TokenBuckets
from kiai.realtime.changes import CHANGES_READ_MAX, FOLLOW_S, NEVER, SEEN_EVERY_S, ChangesOfState, KnownSession
from kiai.realtime.connecting import CONNECTIONS_MAX, connect
from kiai.realtime.key_groups import KeyGroups
from kiai.realtime.pipeline import UNAVAILABLE_S
from kiai.realtime.port import (
    AROUND_MAX,
    BOT_ID,
    BUCKETS_MAX,
    CROWDED_ABOVE,
    FIELDS_MAX,
    LOCK_WAITERS_MAX,
    MATCHES_MAX,
    ONCE_KEYS_MAX,
    POLL_BYTES_MAX,
    SESSIONS_MAX,
    Contended,
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
    StateUnavailable,
    TooMany,
    bound_of,
    order_of_sessions,
)

# 16 players of a match may change it at once. In each round one of them succeeds, so 32 attempts leave a wide margin.
CHANGE_ATTEMPTS: Final = 32
RANKS_PER_CALL: Final = 1_000  # Redis serves nobody else while a script runs
CACHED_SESSIONS_MAX: Final = 20_000
SEEN_AT_ONCE: Final = 1_000  # sessions that one call marks as seen
ROUNDING_SLACK: Final = 0.001  # see buckets.py
STATUS_BOUND: Final = (1, 1)  # a placeholder: `append` in common.lua ignores the bounds of statuses

_encode: Final = msgspec.msgpack.Encoder().encode
_session: Final = msgspec.msgpack.Decoder(Session).decode
_entry: Final = msgspec.msgpack.Decoder(tuple[bytes, int, int, bytes]).decode


class RedisRealtime:
    """The port's adapter for several workers.

    `now` returns seconds and replaces Redis's clock in tests. `seen_every_s`: how often Redis learns of the polls of a
    session that are answered without it. No session is listed as idle too early for it.
    """

    answers_at_once = False

    def __init__(
        self,
        redis: Redis | RedisCluster,
        clock: Clock,
        *,
        now: Callable[[], float] | None = None,
        seen_every_s: float = 0.0,
    ) -> None:
        self._redis = redis
        self._now_ms = clock.now_ms
        self._monotonic = clock.monotonic
        self._seen_every_s = seen_every_s
        self._changes = ChangesOfState()
        self._failures = 0  # of the pipeline, at the last look at the changes
        self._unrecorded: dict[str, None] = {}  # tokens of sessions whose poll Redis does not know yet
        self._local_buckets = TokenBuckets(clock.monotonic, CACHED_SESSIONS_MAX)
        self._now = now
        self.timings = Timings()
        """The round-trip times of commands that were sent together, under `call`."""
        self._keys = KeyGroups(redis, self.timings)
        self.polls = {"state": 0, "worker": 0}
        """The number of polls that Redis has answered, and of those that this worker has answered without it."""
        # PERF: decoded sessions with their versions. A poll names the version it has and usually receives no Struct.
        self._cached_sessions: OrderedDict[str, KnownSession] = OrderedDict()
        self._locks: dict[str, _LocalLock] = {}

    @classmethod
    def connect(cls, url: str, clock: Clock) -> "RedisRealtime":
        """Create the adapter for a URL (redis_url.py). The first call connects. Raises Refused."""
        return cls(connect(url), clock, seen_every_s=SEEN_EVERY_S)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    def trace(self) -> None:
        """Add the calls to the traces of requests from now on."""
        for pipeline in self._keys.pipelines:
            pipeline.is_traced = True

    def pool(self) -> PoolUsage:
        """Return the number of busy connections and their maximum."""
        pipelines = self._keys.pipelines
        return PoolUsage(sum(pipeline.sending for pipeline in pipelines), CONNECTIONS_MAX * len(pipelines))

    async def is_empty(self) -> bool:
        """Return whether ranks were never loaded into this Redis, or it has lost them."""
        return await self._keys.rankings.call("GET", "z:g") is None

    def _time(self) -> str:
        return "" if self._now is None else repr(self._now())

    async def _call(self, command: str, key: str, *arguments: Any) -> Any:
        return await self._keys.sessions.call(command, key, *arguments)

    async def _run(self, script: str, *arguments: Any) -> Any:
        return await self._keys.run(script, *arguments)

    # --- ranks -------------------------------------------------------------------------------------------------------

    async def set_ranks(self, entries: Sequence[RankEntry]) -> list[Rank]:
        if not entries:
            return []
        return [Rank(*ranks) for ranks in await self._run("ranks", "set", *_rank_arguments(entries))]

    async def forget_ranks(self, user_id: int) -> None:
        await self._run("ranks", "forget", user_id)

    async def replace_ranks(self, pages: AsyncIterable[Sequence[RankEntry]]) -> None:
        # A new generation of keys is filled in steps while readers use the old one; `switch` then exchanges them in one
        # script. Two workers that rebuild at once get different generations.
        generation = int(await self._keys.rankings.call("INCR", "z:n"))
        await self._run("ranks", "load", generation)  # even without entries: `switch` checks for it
        async for page in pages:
            newest = list({(entry.user_id, entry.mode): entry for entry in page}.values())
            for start in range(0, len(newest), RANKS_PER_CALL):
                await self._run("ranks", "load", generation, *_rank_arguments(newest[start : start + RANKS_PER_CALL]))
        if not await self._run("ranks", "switch", generation):
            raise StateUnavailable("the loaded ranks have expired: loading took too long")

    async def ranks_version(self) -> None:
        """Return None: another worker may have changed the lists."""

    async def ranks_of(self, user_id: int) -> dict[int, Rank]:
        ranks = await self._run("ranks", "of", user_id)
        return {mode: Rank(rank, country_rank) for mode, rank, country_rank in ranks}

    async def rank_of(self, user_id: int, mode: int) -> Rank:
        rank = await self._run("ranks", "one", user_id, mode)
        return Rank(rank[1], rank[2]) if rank else Rank()

    async def ranked_ids(self, mode: int, *, country: str | None = None, offset: int = 0, limit: int = 50) -> list[int]:
        assert offset >= 0
        assert 1 <= limit <= AROUND_MAX
        return [int(user_id) for user_id in await self._run("ranks", "around", mode, country or "", offset, limit)]

    async def ranked_count(self, mode: int, country: str | None = None) -> int:
        return int(await self._run("ranks", "count", mode, country or ""))

    # --- topics ------------------------------------------------------------------------------------------------------

    async def append(self, entries: Sequence[Entry], *, unless_online: int = 0) -> None:
        if entries:
            self._changes.note(entries, await self._run("append", unless_online or "", *_entry_arguments(entries)))

    async def followers(self, topics: Sequence[str]) -> list[int]:
        # The pipeline sends these in one round trip.
        counts = await asyncio.gather(*(self._call("HGET", f"t:{{{topic}}}:m", "shown") for topic in topics))
        return [int(count or 0) for count in counts]

    async def is_followed(self, topic: str) -> bool:
        return bool(await self._call("EXISTS", f"t:{{{topic}}}:r"))  # Redis deletes a set with its last member

    async def following(self, topic: str) -> list[Session]:
        return _in_order(await self._run("sessions", "following", topic))

    async def feed_end(self, topic: str) -> int:
        return int((await self._run("feed", topic, 0, 0))[1])

    async def feed_after(self, topic: str, cursor: int, most: int = 256) -> tuple[int, list[bytes]]:
        first, _, blobs = await self._run("feed", topic, cursor, most)
        return int(first), [_entry(blob)[0] for blob in blobs]

    # --- sessions ----------------------------------------------------------------------------------------------------

    async def open_session(
        self, session: Session, entries: Sequence[Entry] = (), *, arrival: Sequence[Entry] = ()
    ) -> None:
        visible = int(not session.hidden and session.user_id != BOT_ID)
        follows = sorted(session.follows)
        opened = await self._run(
            "open",
            self._time(),
            SESSIONS_MAX,
            session.token,
            session.user_id,
            visible,
            *_session_arguments(session),
            len(follows),
            *follows,
            *_entry_arguments(arrival),
            *_entry_arguments(entries),
        )
        # A session that replaces one with the same token starts at version 1 again, which the cache could mistake for
        # the old one.
        self._cached_sessions.pop(session.token, None)
        if not opened:
            raise TooMany("sessions", SESSIONS_MAX)
        self._changes.note((*arrival, *entries), opened)

    async def session(self, token: str) -> Session:
        return (await self._read(token))[1]

    async def _read(self, token: str) -> tuple[bytes, Session]:
        version, data = await self._call("HMGET", f"s:{token}", "v", "d")
        if version is None:
            raise SessionGone
        return version, _session(data)

    async def change_session(self, token: str, rule: SessionRule, *, unless_followed: str = "") -> Session:
        for _ in range(CHANGE_ATTEMPTS):
            version, before = await self._read(token)
            after, entries = rule(before)
            assert (after.token, after.user_id, after.hidden) == (before.token, before.user_id, before.hidden)
            left, joined = sorted(before.follows - after.follows), sorted(after.follows - before.follows)
            number, changed = await self._run(
                "change",
                token,
                version,
                unless_followed,
                *_session_arguments(after),
                len(left),
                *left,
                len(joined),
                *joined,
                *_entry_arguments(entries),
            )
            if changed == 1:
                self._changes.note(entries, number, token)
                return after
            if changed == 2:  # a session follows `unless_followed`
                return before
            if changed < 0:
                raise SessionGone
            # 0: the version has changed since the read
        raise Contended("the session")

    async def close_session(self, token: str) -> Session | None:
        data = await self._run("close", token)
        self._cached_sessions.pop(token, None)
        return None if data is None else _session(data)

    async def poll(self, token: str, most_bytes: int = POLL_BYTES_MAX) -> tuple[Session, list[Entry]]:
        self.polls["state"] += 1
        known = self._cached_sessions.get(token)
        epoch, now_s = self._changes.epoch, self._monotonic()
        answer = await self._run(
            "poll", self._time(), token, most_bytes, known.version if known else "", CROWDED_ABOVE, self._now_ms()
        )
        if answer[0] == -1:
            self._cached_sessions.pop(token, None)
            raise SessionGone
        if answer[0] == -2:
            raise FellBehind(answer[1].decode())
        version, data, entries, changes, complete = answer
        if data is not None:
            known = self._cached_sessions[token] = KnownSession(b"%d" % version, _session(data))
            while len(self._cached_sessions) > CACHED_SESSIONS_MAX:
                self._cached_sessions.popitem(last=False)
        assert known is not None  # the script omits the Struct only for the version in `known`
        known.at, known.epoch, known.revision = changes if complete else NEVER, epoch, NEVER
        known.polled_s = known.seen_s = now_s
        return known.session, [_decoded_entry(entries[n], entries[n + 1]) for n in range(0, len(entries), 2)]

    # --- polls without Redis (changes.py)

    def ready_session(self, token: str) -> Session | None:
        known = self._cached_sessions.get(token)
        if known is None or token in self._locks:
            return None
        if not self._changes.is_unchanged(known, self._monotonic(), self._now_ms()):
            return None
        return known.session

    def poll_at_once(self, token: str) -> list[Entry]:
        self.polls["worker"] += 1
        known = self._cached_sessions[token]
        now_s = self._monotonic()
        if now_s - known.seen_s >= self._seen_every_s:
            known.seen_s = now_s
            self._unrecorded[token] = None
        return []

    async def follow(self) -> None:
        """Read the changes until cancelled. Without it every poll goes to Redis."""
        while True:
            pause_s = FOLLOW_S
            try:
                await self.read_changes()
            except StateUnavailable:
                pause_s = UNAVAILABLE_S / 4
            await asyncio.sleep(pause_s)

    async def read_changes(self) -> None:
        """Read the changes since the last call, and record the polls that Redis does not know of."""
        # A failed call may mean another server, which may lack the last changes of the one before.
        failures = self._keys.sessions.pipeline.failures
        if self._failures != failures:
            self._failures = failures
            self._changes.forget()
        asked_s = self._monotonic()
        tokens = list(self._unrecorded)[:SEEN_AT_ONCE]
        for token in tokens:
            del self._unrecorded[token]
        try:
            number, online, names, run = await self._run(
                "news", self._time(), self._changes.position, CHANGES_READ_MAX, *tokens
            )
        except StateUnavailable:
            self._unrecorded = dict.fromkeys(tokens) | self._unrecorded
            raise
        self._changes.read(asked_s, number, names, online, run)

    async def sessions_of(self, user_id: int) -> list[Session]:
        return _in_order(await self._run("sessions", "of", user_id))

    async def sessions_among(self, user_ids: Sequence[int]) -> dict[int, Session]:
        if not user_ids:
            return {}
        flat = await self._run("sessions", "among", *user_ids)
        sessions_of: dict[int, list[Session]] = {}
        for n in range(0, len(flat), 2):
            sessions_of.setdefault(int(flat[n]), []).append(_session(flat[n + 1]))
        return {user_id: min(sessions, key=order_of_sessions) for user_id, sessions in sessions_of.items()}

    async def idle_s(self, token: str) -> float:
        idle = await self._run("idle", self._time(), "of", token)
        if idle is None:
            raise SessionGone
        return max(0.0, float(idle) - self._seen_every_s)  # polls since then may have no record

    async def idle_sessions(self, idle_s: float, most: int = 1_000) -> list[str]:
        tokens = await self._run("idle", self._time(), "since", repr(idle_s and idle_s + self._seen_every_s), most)
        return [token.decode() for token in tokens]

    def session_lock(self, token: str) -> AbstractAsyncContextManager[None]:
        return _SessionLock(self._locks, self._exists, token)

    async def _exists(self, token: str) -> bool:
        # PERF: saves a round trip per poll. A cached session may have ended; the poll that follows then raises.
        return token in self._cached_sessions or bool(await self._call("EXISTS", f"s:{token}"))

    async def online_count(self) -> int:
        return int(await self._call("HLEN", "shown"))

    async def online_ids(self) -> list[int]:
        return [int(user_id) for user_id in await self._call("HKEYS", "shown")]

    async def online_among(self, user_ids: Sequence[int]) -> set[int]:
        if not user_ids:
            return set()
        counts = await self._call("HMGET", "shown", *user_ids)
        return {user_id for user_id, count in zip(user_ids, counts, strict=True) if count is not None}

    # --- matches -----------------------------------------------------------------------------------------------------

    async def open_match(self, match: msgspec.Struct) -> int:
        match_id = int(await self._run("match", "open", MATCHES_MAX, _encode(match)))
        if not match_id:
            raise TooMany("matches", MATCHES_MAX)
        return match_id

    async def match(self, match_id: int, kind: type[M]) -> M | None:
        blob = await self._call("HGET", "mt", match_id)
        return None if blob is None else msgspec.msgpack.decode(blob, type=kind)

    async def change_match(
        self, match_id: int, kind: type[M], rule: Callable[[M], tuple[M | None, Sequence[Entry]]]
    ) -> M | None:
        for _ in range(CHANGE_ATTEMPTS):
            before = await self._call("HGET", "mt", match_id)
            if before is None:
                raise MatchGone(match_id)
            changed, entries = rule(msgspec.msgpack.decode(before, type=kind))
            after = b"" if changed is None else _encode(changed)
            # Compares bytes: a match has no version of its own, and equal bytes are the same match.
            number, stored = await self._run("match", "change", match_id, before, after, *_entry_arguments(entries))
            if stored == 1:
                self._changes.note(entries, number)
                return changed
            if stored < 0:
                raise MatchGone(match_id)
            # 0: another change was stored since the read
        raise Contended("the match")

    async def matches(self, kind: type[M]) -> list[tuple[int, M]]:
        blobs = await self._call("HGETALL", "mt")
        # A dict or a flat list, depending on how the library parses the reply.
        pairs = blobs.items() if isinstance(blobs, dict) else zip(blobs[::2], blobs[1::2], strict=True)
        return sorted(
            ((int(match_id), msgspec.msgpack.decode(blob, type=kind)) for match_id, blob in pairs),
            key=lambda pair: pair[0],
        )

    async def close_match(self, match_id: int) -> None:
        await self._call("HDEL", "mt", match_id)

    # --- the stash ---------------------------------------------------------------------------------------------------

    async def stash(self, key: str, field: str, value: bytes, for_s: float) -> None:
        # The dot keeps an empty field name apart from the empty field, which has the end.
        await self._run("stash", self._time(), key, repr(for_s), FIELDS_MAX, f".{field}", value)

    async def stashed(self, key: str) -> dict[str, bytes]:
        flat = await self._run("stash", self._time(), key)
        return {flat[n].decode()[1:]: flat[n + 1] for n in range(0, len(flat), 2)}

    # --- once-keys, leases, rate limits ------------------------------------------------------------------------------

    async def once(self, key: str, for_s: float, entries: Sequence[Entry] = ()) -> bool:
        assert for_s > 0
        number, first = await self._run(
            "once", self._time(), key, repr(for_s), ONCE_KEYS_MAX, *_entry_arguments(entries)
        )
        if first:
            self._changes.note(entries, number)
        return bool(first)

    async def lease(self, key: str, holder: str, for_s: float) -> bool:
        return bool(await self._run("lease", self._time(), key, holder, repr(for_s)))

    async def consume(
        self, bucket: str, *, limit: int, period_s: float, burst: int | None = None, cost: int = 1
    ) -> RateLimitResult:
        capacity = limit if burst is None else burst
        assert 0 <= cost <= capacity
        granted, left, seconds = await self._run(
            "consume", self._time(), bucket, limit, repr(period_s), capacity, cost, BUCKETS_MAX
        )
        return RateLimitResult(bool(granted), limit, int(float(left) + ROUNDING_SLACK), float(seconds))

    def consume_at_once(self, bucket: str, *, limit: int, period_s: float, burst: int | None = None, cost: int) -> bool:
        # In this worker: such a poll asks nothing of the others.
        return self._local_buckets.consume(bucket, limit=limit, period_s=period_s, burst=burst, cost=cost).granted

    async def refund(self, bucket: str, *, limit: int, period_s: float, cost: int = 1) -> None:
        await self._run("refund", self._time(), bucket, limit, repr(period_s), cost)


class _LocalLock:
    """The lock of a session in this worker, with the number of its users."""

    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0  # the request that has the lock, and the requests that wait for it


class _SessionLock:
    """The context manager of a session's lock in this worker.

    An order among workers is not needed: a client sends a request only after the answer to the last one, and changes
    of a session compare versions in Redis.
    """

    def __init__(self, locks: dict[str, _LocalLock], exists: Callable[[str], Awaitable[bool]], token: str) -> None:
        self._locks = locks
        self._exists = exists
        self._token = token
        self._local: _LocalLock | None = None

    async def __aenter__(self) -> None:
        local = self._locks.get(self._token)
        if local is None:
            local = self._locks[self._token] = _LocalLock()
        if local.users > LOCK_WAITERS_MAX:  # one has the lock, the others wait
            raise TooMany("requests of this session", LOCK_WAITERS_MAX)
        local.users += 1
        # BaseException: a cancelled request must also leave, or the entry in `locks` would stay.
        try:
            await local.lock.acquire()
        except BaseException:
            self._leave(local)
            raise
        self._local = local
        # Checked with the lock: the request before may have ended the session.
        try:
            if not await self._exists(self._token):
                raise SessionGone
        except BaseException:
            await self.__aexit__()
            raise

    async def __aexit__(self, *_: object) -> None:
        assert self._local is not None
        self._local.lock.release()
        self._leave(self._local)

    def _leave(self, local: _LocalLock) -> None:
        local.users -= 1
        if not local.users:
            self._locks.pop(self._token, None)


def _entry_arguments(entries: Sequence[Entry]) -> list[Any]:
    """Return the number of entries and six values for each, as `append` in common.lua reads them."""
    flat: list[Any] = [len(entries)]
    for entry in entries:
        bound = bound_of(entry.topic) if entry.topic != "status" else None
        most, most_bytes = (bound.entries, bound.bytes) if bound else STATUS_BOUND
        blob = _encode((entry.body, entry.author, entry.needs, entry.older))
        flat += (entry.topic, entry.author, len(entry.body), most, most_bytes, blob)
    return flat


def _decoded_entry(topic: bytes, blob: bytes) -> Entry:
    body, author, needs, older = _entry(blob)
    return Entry(topic.decode(), body, author, needs, older)


def _session_arguments(session: Session) -> tuple[Any, ...]:
    """Return the six values of a session, as `store` in common.lua reads them."""
    return (  # scripts cannot read fields of the Struct, so poll.lua gets a copy of those it needs
        _encode(session),
        session.presence_filter,
        _encode(sorted(session.friends)),
        _encode(sorted(session.watched)),
        session.watched_until_ms,
        session.spectating,
    )


def _rank_arguments(entries: Sequence[RankEntry]) -> list[Any]:
    return [value for entry in entries for value in (entry.user_id, entry.mode, entry.country, entry.pp)]


def _in_order(blobs: Sequence[bytes]) -> list[Session]:
    return sorted(map(_session, blobs), key=lambda session: (session.login_time_ms, session.token))

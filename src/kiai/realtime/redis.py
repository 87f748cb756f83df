"""Realtime state in Redis: what several workers share. Each verb is one script, and a script is one act.

Commands of one turn of the event loop are sent together (`_Line`), so that a busy worker pays for a round trip once.
A change of a session or match is a rule of Python: it is run on what was read, and stored only if that is still there
(`change.lua`, `match.lua`), else run again.

Keys, below `kiai:`
  s:TOKEN  c:TOKEN      a session: its Struct, its version, whose statuses it wants; its cursors by topic
  seen                  tokens by their last poll
  u:USER  shown         a user's tokens; how many of a user's sessions others may see
  t:{TOPIC}:l :m :r     a topic: entries; first, end, bytes; readers
  b  b:e  b:n           statuses: authors by number, newest entries, the last number
  mt                    matches
  z:GENERATION:MODE:CC  ranks; `z:g` names the generation that counts, a rebuild fills the next one
  kp:KEY                what is kept for a while: its fields, and until when under the empty one
  once  bk  h:KEY       what was done once, buckets, who holds what

Time is Redis's own, which all workers share. What Redis loses is derived or short-lived: after an empty restart clients
log in again, and ranks are rebuilt (`is_empty`).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from importlib import resources
from time import perf_counter
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from kiai.clock import Clock
from kiai.measuring import Pool, Timings
from kiai.realtime.port import (
    AROUND_MAX,
    BOT_ID,
    BUCKETS_MAX,
    FIELDS_MAX,
    MANY_ONLINE,
    MATCHES_MAX,
    ONCE_KEYS_MAX,
    POLL_BYTES_MAX,
    SESSIONS_MAX,
    TURNS_WAITING_MAX,
    Allowance,
    Contended,
    Entry,
    FellBehind,
    M,
    MatchGone,
    Rank,
    RankEntry,
    Session,
    SessionGone,
    SessionRule,
    StateUnavailable,
    TooMany,
    bound_of,
)

P: Final = "kiai:"
SCRIPTS: Final = (
    "append",
    "open",
    "change",
    "close",
    "poll",
    "sessions",
    "feed",
    "match",
    "ranks",
    "keep",
    "once",
    "hold",
    "take",
    "refund",
)
TRIES: Final = 32
ANSWER_S: Final = 5.0
AWAY_S: Final = 1.0  # so long nobody waits for a Redis that has just kept somebody waiting in vain
CONNECT_S: Final = 2.0
CONNECTIONS_MAX: Final = 64
SENT_AT_ONCE: Final = 256
WAITING_MAX: Final = 10_000
LOADED_AT_ONCE: Final = 1_000
KNOWN_MAX: Final = 20_000
GRAIN: Final = 0.001
STATUS_BOUND: Final = (1, 1)

_encode: Final = msgspec.msgpack.Encoder().encode
_session: Final = msgspec.msgpack.Decoder(Session).decode
_entry: Final = msgspec.msgpack.Decoder(tuple[bytes, int, int, bytes]).decode


class RedisRealtime:
    """The port's adapter for several workers. `now` replaces Redis's clock in tests."""

    def __init__(self, redis: Redis, clock: Clock, *, now: Callable[[], float] | None = None) -> None:
        self._redis = redis
        self._now_ms = clock.now_ms
        self._now = now
        self._line = _Line(redis)
        self._known: OrderedDict[str, tuple[bytes, Session]] = OrderedDict()  # as of which version
        self._turns: dict[str, _Waiting] = {}

    @classmethod
    def connect(cls, url: str, clock: Clock) -> "RedisRealtime":
        """The state at `redis://...`; nothing is asked yet."""
        redis: Redis = Redis.from_url(
            url, socket_connect_timeout=CONNECT_S, socket_timeout=ANSWER_S, max_connections=CONNECTIONS_MAX
        )
        return cls(redis, clock)

    async def close(self) -> None:
        """Lets go of the connections."""
        await self._redis.aclose()

    @property
    def timings(self) -> Timings:
        """How long Redis took for what was sent together, as `call`."""
        return self._line.timings

    def pool(self) -> Pool:
        """The connections."""
        return Pool(self._line.sending, CONNECTIONS_MAX)

    async def is_empty(self) -> bool:
        """Whether ranks were never loaded into this Redis, or it has lost them."""
        return await self._call("GET", f"{P}z:g") is None

    def _time(self) -> str:
        return "" if self._now is None else repr(self._now())

    async def _call(self, *command: Any) -> Any:
        return await self._line.call(command)

    async def _run(self, script: str, *arguments: Any) -> Any:
        return await self._line.run(script, arguments)

    # --- ranks -------------------------------------------------------------------------------------------------------

    async def set_ranks(self, entries: Sequence[RankEntry]) -> None:
        if entries:
            await self._run("ranks", "set", *_flat_ranks(entries))

    async def forget_ranks(self, user_id: int) -> None:
        await self._run("ranks", "forget", user_id)

    async def replace_ranks(self, entries: Sequence[RankEntry]) -> None:
        generation = int(await self._call("INCR", f"{P}z:n"))
        last = list({(one.user_id, one.mode): one for one in entries}.values())
        for start in range(0, max(1, len(last)), LOADED_AT_ONCE):
            await self._run("ranks", "load", generation, *_flat_ranks(last[start : start + LOADED_AT_ONCE]))
        if not await self._run("ranks", "switch", generation):
            raise StateUnavailable("what was loaded of the ranks has expired: loading took too long")

    async def ranks_of(self, user_id: int) -> dict[int, Rank]:
        found = await self._run("ranks", "of", user_id)
        return {mode: Rank(rank, country_rank) for mode, rank, country_rank in found}

    async def rank_of(self, user_id: int, mode: int) -> Rank:
        found = await self._run("ranks", "one", user_id, mode)
        return Rank(found[1], found[2]) if found else Rank()

    async def around(self, mode: int, *, country: str | None = None, offset: int = 0, limit: int = 50) -> list[int]:
        assert offset >= 0
        assert 1 <= limit <= AROUND_MAX
        return [int(one) for one in await self._run("ranks", "around", mode, country or "", offset, limit)]

    async def ranked_count(self, mode: int, country: str | None = None) -> int:
        return int(await self._run("ranks", "count", mode, country or ""))

    # --- topics ------------------------------------------------------------------------------------------------------

    async def append(self, entries: Sequence[Entry], *, unless_online: int = 0) -> None:
        if entries:
            await self._run("append", unless_online or "", *_flat(entries))

    async def followers(self, topics: Sequence[str]) -> list[int]:
        counts = await asyncio.gather(*(self._call("HGET", f"{P}t:{{{topic}}}:m", "shown") for topic in topics))
        return [int(count or 0) for count in counts]

    async def is_followed(self, topic: str) -> bool:
        return bool(await self._call("EXISTS", f"{P}t:{{{topic}}}:r"))

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
        shown = int(not session.hidden and session.user_id != BOT_ID)
        follows = sorted(session.follows)
        opened = await self._run(
            "open",
            self._time(),
            SESSIONS_MAX,
            session.token,
            session.user_id,
            shown,
            *_stored(session),
            len(follows),
            *follows,
            *_flat(arrival),
            *_flat(entries),
        )
        self._known.pop(session.token, None)
        if not opened:
            raise TooMany("sessions", SESSIONS_MAX)

    async def session(self, token: str) -> Session:
        return (await self._read(token))[1]

    async def _read(self, token: str) -> tuple[bytes, Session]:
        version, data = await self._call("HMGET", f"{P}s:{token}", "v", "d")
        if version is None:
            raise SessionGone
        return version, _session(data)

    async def change_session(self, token: str, rule: SessionRule, *, unless_followed: str = "") -> Session:
        for _ in range(TRIES):
            version, before = await self._read(token)
            after, entries = rule(before)
            assert (after.token, after.user_id, after.hidden) == (before.token, before.user_id, before.hidden)
            left, joined = sorted(before.follows - after.follows), sorted(after.follows - before.follows)
            changed = await self._run(
                "change",
                token,
                version,
                unless_followed,
                *_stored(after),
                len(left),
                *left,
                len(joined),
                *joined,
                *_flat(entries),
            )
            if changed == 1:
                return after
            if changed == 2:
                return before
            if changed < 0:
                raise SessionGone
        raise Contended("the session")

    async def close_session(self, token: str) -> Session | None:
        data = await self._run("close", token)
        self._known.pop(token, None)
        return None if data is None else _session(data)

    async def poll(self, token: str, most_bytes: int = POLL_BYTES_MAX) -> tuple[Session, list[Entry]]:
        known = self._known.get(token)
        answer = await self._run(
            "poll", self._time(), token, most_bytes, known[0] if known else "", MANY_ONLINE, self._now_ms()
        )
        if answer[0] == -1:
            self._known.pop(token, None)
            raise SessionGone
        if answer[0] == -2:
            raise FellBehind(answer[1].decode())
        version, data, found = answer
        if data is not None:
            known = self._known[token] = (b"%d" % version, _session(data))
            while len(self._known) > KNOWN_MAX:
                self._known.popitem(last=False)
        assert known is not None
        return known[1], [_made(found[n], found[n + 1]) for n in range(0, len(found), 2)]

    async def sessions_of(self, user_id: int) -> list[Session]:
        return _in_order(await self._run("sessions", "of", user_id))

    async def sessions_among(self, user_ids: Sequence[int]) -> dict[int, Session]:
        if not user_ids:
            return {}
        found = await self._run("sessions", "among", *user_ids)
        theirs: dict[int, list[Session]] = {}
        for n in range(0, len(found), 2):
            theirs.setdefault(int(found[n]), []).append(_session(found[n + 1]))
        return {
            user_id: min(sessions, key=lambda one: (one.tournament, one.login_time_ms, one.token))
            for user_id, sessions in theirs.items()
        }

    async def idle_s(self, token: str) -> float:
        seen, now = await asyncio.gather(self._call("ZSCORE", f"{P}seen", token), self._moment())
        if seen is None:
            raise SessionGone
        return max(0.0, now - float(seen))

    async def idle_sessions(self, idle_s: float, most: int = 1_000) -> list[str]:
        since = await self._moment() - idle_s
        found = await self._call("ZRANGEBYSCORE", f"{P}seen", "-inf", repr(since), "LIMIT", 0, most)
        return [token.decode() for token in found]

    async def _moment(self) -> float:
        if self._now is not None:
            return self._now()
        seconds, micros = await self._call("TIME")
        return int(seconds) + int(micros) / 1e6

    def turn(self, token: str) -> AbstractAsyncContextManager[None]:
        return _Turn(self._turns, self._exists, token)

    async def _exists(self, token: str) -> bool:
        # PERF: who was polled here lately is there, or the poll that comes says otherwise: no trip for it.
        return token in self._known or bool(await self._call("EXISTS", f"{P}s:{token}"))

    async def online_count(self) -> int:
        return int(await self._call("HLEN", f"{P}shown"))

    async def online_ids(self) -> list[int]:
        return [int(one) for one in await self._call("HKEYS", f"{P}shown")]

    async def online_among(self, user_ids: Sequence[int]) -> set[int]:
        if not user_ids:
            return set()
        found = await self._call("HMGET", f"{P}shown", *user_ids)
        return {user_id for user_id, count in zip(user_ids, found, strict=True) if count is not None}

    # --- matches -----------------------------------------------------------------------------------------------------

    async def open_match(self, match: msgspec.Struct) -> int:
        match_id = int(await self._run("match", "open", MATCHES_MAX, _encode(match)))
        if not match_id:
            raise TooMany("matches", MATCHES_MAX)
        return match_id

    async def match(self, match_id: int, kind: type[M]) -> M | None:
        found = await self._call("HGET", f"{P}mt", match_id)
        return None if found is None else msgspec.msgpack.decode(found, type=kind)

    async def change_match(
        self, match_id: int, kind: type[M], rule: Callable[[M], tuple[M | None, Sequence[Entry]]]
    ) -> M | None:
        for _ in range(TRIES):
            was = await self._call("HGET", f"{P}mt", match_id)
            if was is None:
                raise MatchGone(match_id)
            changed, entries = rule(msgspec.msgpack.decode(was, type=kind))
            becomes = b"" if changed is None else _encode(changed)
            stored = await self._run("match", "change", match_id, was, becomes, *_flat(entries))
            if stored == 1:
                return changed
            if stored < 0:
                raise MatchGone(match_id)
        raise Contended("the match")

    async def matches(self, kind: type[M]) -> list[tuple[int, M]]:
        found = await self._call("HGETALL", f"{P}mt")
        pairs = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
        return sorted(
            ((int(match_id), msgspec.msgpack.decode(blob, type=kind)) for match_id, blob in pairs),
            key=lambda one: one[0],
        )

    async def close_match(self, match_id: int) -> None:
        await self._call("HDEL", f"{P}mt", match_id)

    # --- kept for a while --------------------------------------------------------------------------------------------

    async def keep(self, key: str, field: str, value: bytes, for_s: float) -> None:
        await self._run("keep", self._time(), key, repr(for_s), FIELDS_MAX, f".{field}", value)

    async def kept(self, key: str) -> dict[str, bytes]:
        found = await self._run("keep", self._time(), key)
        return {found[n].decode()[1:]: found[n + 1] for n in range(0, len(found), 2)}

    # --- once, and how often -----------------------------------------------------------------------------------------

    async def once(self, key: str, for_s: float, entries: Sequence[Entry] = ()) -> bool:
        assert for_s > 0
        return bool(await self._run("once", self._time(), key, repr(for_s), ONCE_KEYS_MAX, *_flat(entries)))

    async def hold(self, key: str, holder: str, for_s: float) -> bool:
        return bool(await self._run("hold", self._time(), key, holder, repr(for_s)))

    async def take(
        self, bucket: str, *, limit: int, period_s: float, burst: int | None = None, cost: int = 1
    ) -> Allowance:
        capacity = limit if burst is None else burst
        assert 0 <= cost <= capacity
        granted, left, seconds = await self._run(
            "take", self._time(), bucket, limit, repr(period_s), capacity, cost, BUCKETS_MAX
        )
        return Allowance(bool(granted), limit, int(float(left) + GRAIN), float(seconds))

    async def refund(self, bucket: str, *, limit: int, period_s: float, cost: int = 1) -> None:
        await self._run("refund", self._time(), bucket, limit, repr(period_s), cost)


class _Line:
    """Commands on their way to Redis: what is asked within a turn of the event loop goes out together."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._waiting: list[tuple[tuple[Any, ...], asyncio.Future[Any]]] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._scheduled = False
        self._away_until = 0.0
        self.timings = Timings()
        folder = resources.files("kiai.realtime").joinpath("scripts")
        common = folder.joinpath("common.lua").read_text("utf-8")
        self._texts = {name: common + folder.joinpath(f"{name}.lua").read_text("utf-8") for name in SCRIPTS}
        self._hashes: dict[str, bytes] = {}

    @property
    def sending(self) -> int:
        """How many connections wait for an answer."""
        return len(self._sending)

    async def run(self, script: str, arguments: tuple[Any, ...]) -> Any:
        """What a script answers. Loads the scripts into a Redis that does not have them."""
        for _ in range(2):
            if script not in self._hashes:
                await self._load()
            try:
                return await self.call(("EVALSHA", self._hashes[script], 0, *arguments))
            except _NoScript:
                self._hashes.clear()
        raise StateUnavailable("its scripts do not stay")

    async def _load(self) -> None:
        hashes = {name: await self.call(("SCRIPT LOAD", text)) for name, text in self._texts.items()}
        self._hashes = {name: one if isinstance(one, bytes) else str(one).encode() for name, one in hashes.items()}

    async def call(self, command: tuple[Any, ...]) -> Any:
        """What Redis answers. Raises StateUnavailable."""
        if len(self._waiting) >= WAITING_MAX:
            raise StateUnavailable(f"{WAITING_MAX} commands are waiting")
        loop = asyncio.get_running_loop()
        if loop.time() < self._away_until:
            raise StateUnavailable("it did not answer lately")
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((command, answer))
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._send)
        return await answer

    def _send(self) -> None:
        self._scheduled = False
        while self._waiting:
            batch, self._waiting = self._waiting[:SENT_AT_ONCE], self._waiting[SENT_AT_ONCE:]
            task = asyncio.get_running_loop().create_task(self._exchange(batch))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _exchange(self, batch: list[tuple[tuple[Any, ...], asyncio.Future[Any]]]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for command, _ in batch:
            pipeline.execute_command(*command)
        began = perf_counter()
        try:
            async with asyncio.timeout(ANSWER_S):
                answers = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError, TimeoutError) as error:
            if isinstance(error, TimeoutError | RedisTimeoutError):
                self._away_until = asyncio.get_running_loop().time() + AWAY_S
            answers = [StateUnavailable(str(error) or "no answer")] * len(batch)
        except asyncio.CancelledError:
            answers = [StateUnavailable("it is closed")] * len(batch)
        finally:
            self.timings.since(began, "call")
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():  # whoever asked is gone
                continue
            if isinstance(answer, NoScriptError):
                future.set_exception(_NoScript())
            elif isinstance(answer, ResponseError | RedisError):
                future.set_exception(StateUnavailable(str(answer)))
            elif isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)


class _NoScript(Exception):
    """Redis was restarted, and does not know the script any more."""


class _Waiting:
    """A session's turn in this worker."""

    __slots__ = ("held", "lock")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.held = 0  # by how many: who has the turn, and who waits for it


class _Turn:
    """Holds a session's turn. A client waits for its answer before it asks again, so that one worker's order is all
    that is needed; changes are compared and stored in Redis besides."""

    def __init__(self, turns: dict[str, _Waiting], exists: Callable[[str], Awaitable[bool]], token: str) -> None:
        self._turns = turns
        self._exists = exists
        self._token = token
        self._mine: _Waiting | None = None

    async def __aenter__(self) -> None:
        mine = self._turns.get(self._token)
        if mine is None:
            mine = self._turns[self._token] = _Waiting()
        if mine.held > TURNS_WAITING_MAX:  # one has it, the others wait
            raise TooMany("requests of this session", TURNS_WAITING_MAX)
        mine.held += 1
        try:
            await mine.lock.acquire()
        except BaseException:
            self._leave(mine)
            raise
        self._mine = mine
        try:
            if not await self._exists(self._token):
                raise SessionGone
        except BaseException:
            await self.__aexit__()
            raise

    async def __aexit__(self, *_: object) -> None:
        assert self._mine is not None
        self._mine.lock.release()
        self._leave(self._mine)

    def _leave(self, mine: _Waiting) -> None:
        mine.held -= 1
        if not mine.held:
            self._turns.pop(self._token, None)


def _flat(entries: Sequence[Entry]) -> list[Any]:
    """Entries as scripts read them."""
    flat: list[Any] = [len(entries)]
    for one in entries:
        bound = bound_of(one.topic) if one.topic != "status" else None
        most, most_bytes = (bound.entries, bound.bytes) if bound else STATUS_BOUND
        blob = _encode((one.body, one.author, one.needs, one.older))
        flat += (one.topic, one.author, len(one.body), most, most_bytes, blob)
    return flat


def _made(topic: bytes, blob: bytes) -> Entry:
    body, author, needs, older = _entry(blob)
    return Entry(topic.decode(), body, author, needs, older)


def _stored(session: Session) -> tuple[Any, ...]:
    """A session as scripts store it."""
    return (
        _encode(session),
        session.presence_filter,
        _encode(sorted(session.friends)),
        _encode(sorted(session.watched)),
        session.watched_until_ms,
        session.spectating,
    )


def _flat_ranks(entries: Sequence[RankEntry]) -> list[Any]:
    return [value for one in entries for value in (one.user_id, one.mode, one.country, one.pp)]


def _in_order(blobs: Sequence[bytes]) -> list[Session]:
    return sorted(map(_session, blobs), key=lambda one: (one.login_time_ms, one.token))

"""The port of shared state: sessions, topics, matches, ranks, rate limits.

Every adapter makes these promises (tests/contract/realtime tests them):
- Arguments and results are frozen Structs, ints and strings, never live objects. Callers receive immutable values.
- Each method is atomic. Callers never do a separate read and write: they pass a pure rule that computes the change.
- A method sees the effects of all methods that finished before it was called.
- Time is monotonic. Setting the wall clock ends no session and refills no bucket.
- An adapter raises only the errors below. Any other exception was raised by the caller's rule.

Nothing here must survive a restart: ranks are derived from committed rows, and the rest is short-lived.

A topic (docs/engineer/realtime.md#topics) is a bounded log of encoded packets. A session follows the topics in its
`follows`. It has a cursor in each; the cursor starts at the topic's end and never moves back. Entries of one topic are
totally ordered, entries of different topics are not. A session reads in its next poll what it has appended. An entry is
dropped if nobody follows its topic, except in feeds, which have readers without a session.

The topic STATUS is a board: it stores only the newest entry of each author, until the author's last session ends. A
poll returns the entries that changed since the last poll and whose authors interest the session (`status_interest`).
The cost of a status change is therefore independent of the number of players, and no session falls behind.

RealtimeError
|- SessionGone()           the session has ended or never existed
|- FellBehind()            the session missed entries that it may not skip; it has to log in again
|- MatchGone(match_id)     the match is closed or never existed
|- Contended(what)         other changes won every attempt; nothing changed, the caller may retry (also an Unavailable)
|- TooMany(what, bound)    the bound is reached
`- StateUnavailable(why)   the store does not answer (also an Unavailable)
"""

from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol, TypeVar

import msgspec

from kiai.errors import KiaiError, Unavailable

M = TypeVar("M", bound=msgspec.Struct)

BOT_ID: Final = 1  # clients show it as online, but it has no session and no count includes it
SESSIONS_MAX: Final = 100_000
MATCHES_MAX: Final = 1_000
FIELDS_MAX: Final = 64
STASHED_KEYS_MAX: Final = 100_000
AROUND_MAX: Final = 1_000
USER_ID_MAX: Final = 2**31 - 1  # packets carry a signed 32-bit id
# With more players online than this, statuses are pushed by interest: a client that shows everybody would receive
# a status change of 10,000 players with every poll.
CROWDED_ABOVE: Final = 250
BUCKETS_MAX: Final = 200_000
# Keys of up to this many seconds have a separate table, so that keys of a day cannot drop those that limit floods.
ONCE_SHORT_S: Final = 60.0
ONCE_KEYS_MAX: Final = 100_000  # in each of the two tables; Redis has no bound but the expiry of the keys
# A poll that returned all 4 MiB of a topic would block the worker for other players; the rest is sent in the next poll.
POLL_BYTES_MAX: Final = 256 * 1024
# A client sends one request at a time. More waiting requests are retries after a timeout, or an attack.
LOCK_WAITERS_MAX: Final = 8


class RealtimeError(KiaiError):
    """The base class of the port's errors."""


class SessionGone(RealtimeError):
    """The session has ended or never existed. The message omits the token, which is a secret."""

    def __init__(self) -> None:
        super().__init__("the session has ended")


class FellBehind(RealtimeError):
    """A topic dropped entries that the session had not read and may not skip."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"the session is behind the bound of {topic}")
        self.topic = topic


class MatchGone(RealtimeError):
    """The match is closed or never existed."""

    def __init__(self, match_id: int) -> None:
        super().__init__(f"match {match_id} is closed")
        self.match_id = match_id


class Contended(RealtimeError, Unavailable):
    """A change lost the race against others in every attempt; nothing was changed."""

    def __init__(self, what: str) -> None:
        Unavailable.__init__(self, what, "others are changing it")


class TooMany(RealtimeError):
    """The number of sessions, matches or waiting requests has reached its bound."""

    def __init__(self, what: str, bound: int) -> None:
        super().__init__(f"there are {bound} {what} already")
        self.what = what
        self.bound = bound


class StateUnavailable(RealtimeError, Unavailable):
    """The store behind the port does not answer."""

    def __init__(self, reason: str = "") -> None:
        Unavailable.__init__(self, "realtime state", reason)


class RankEntry(msgspec.Struct, frozen=True, gc=False):
    """A user's pp in one mode. `country` is the account's, two letters in the case that the caller uses."""

    user_id: int
    mode: int
    country: str
    pp: int


class Rank(msgspec.Struct, frozen=True, gc=False):
    """The number of players above, plus 1, in the world and in the user's country; 0 if the user has no rank."""

    rank: int = 0
    country_rank: int = 0


class Bound(msgspec.Struct, frozen=True):
    """The size of a topic. A reader whose entries were dropped continues after them (`skips`) or gets FellBehind."""

    entries: int
    bytes: int
    skips: bool = False


# --- topics: names and bounds (docs/spec/security.md#bounded) --------------------------------------------------------

ONLINE: Final = "online"  # logins, log-outs and presences
STATUS: Final = "status"  # statuses: a board (see above)
LOBBY: Final = "lobby"
FEED: Final = "feed"  # JSON events for API streams; exists without followers
HISTORY: Final = "history"  # events of matches until a job writes them to the database; exists without followers
IRC: Final = "irc"  # events for IRC connections, if IRC is on; each worker reads it
PERMANENT_TOPICS: Final = (FEED, HISTORY, IRC)
MEBIBYTE: Final = 1 << 20

# Frames skip: a spectator who missed some sees the play jump, which is better than a new login.
BOUNDS: Final[Mapping[str, Bound]] = {
    ONLINE: Bound(4_096, 4 * MEBIBYTE),
    LOBBY: Bound(4_096, 4 * MEBIBYTE),
    FEED: Bound(4_096, 4 * MEBIBYTE, skips=True),
    HISTORY: Bound(32_768, 32 * MEBIBYTE, skips=True),
    IRC: Bound(8_192, 8 * MEBIBYTE, skips=True),
    "user": Bound(2_048, 2 * MEBIBYTE),
    "chat": Bound(2_048, 2 * MEBIBYTE),
    "match": Bound(4_096, 2 * MEBIBYTE),
    "frames": Bound(256, 2 * MEBIBYTE, skips=True),
    "spectate": Bound(1_024, MEBIBYTE),
}
"""Bounds by the part of a topic's name before the colon."""


def user_topic(user_id: int) -> str:
    """Return the topic of packets for one player. The session of the player's game follows it."""
    return f"user:{user_id}"


def chat_topic(channel: str) -> str:
    """Return the topic of a channel's lines. `channel` is the server's name (`#osu`, `#multi_7`, `#spec_3`)."""
    return f"chat:{channel}"


def match_topic(match_id: int) -> str:
    """Return the topic of a match, for players, referees and tournament clients."""
    return f"match:{match_id}"


def spectate_topic(host_id: int) -> str:
    """Return the topic in which the spectators of a host are notified of each other."""
    return f"spectate:{host_id}"


def frames_topic(host_id: int) -> str:
    """Return the topic of a host's frame bundles."""
    return f"frames:{host_id}"


def bound_of(topic: str) -> Bound:
    """Return the bound of a topic. Raises KeyError for STATUS, which is a board."""
    return BOUNDS[topic.partition(":")[0]]


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One element of a topic, encoded once when it is appended.

    `author`: a user id, or 0 for the server. Readers skip their own entries and those of blocked authors.
    `needs`: a mask of privileges. A reader needs one of them; 0 needs none.
    `older`: the body for clients before build 20250306, where it differs.
    """

    topic: str
    body: bytes
    author: int = 0
    needs: int = 0
    older: bytes = b""


Announce = Callable[[object], Sequence[Entry]]
"""Encodes an event of a subject as entries: topic, author, bytes. Pure. A face implements it; services receive it."""


class Status(msgspec.Struct, frozen=True):
    """A player's status as the client reports it.

    `map_id` 0 and `map_md5` "" mean no map. `mode` None is a mode that kiai does not know.
    """

    action: int = 0
    info_text: str = ""
    map_md5: str = ""
    map_id: int = 0
    mods: int = 0
    mode: int | None = 0


class SessionStats(msgspec.Struct, frozen=True):
    """A player's totals in the mode of its status, as packets show them. `acc` is in percent.

    `rank` is by pp, `score_rank` by ranked score; 0 means no rank.
    """

    rscore: int = 0
    acc: float = 0.0
    plays: int = 0
    tscore: int = 0
    rank: int = 0
    pp: int = 0
    score_rank: int = 0


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One logged-in client.

    `irc`: an IRC connection, which has no seats in matches.
    `hidden`: the user is restricted. Only the user sees the session, and no count includes it.
    `build` is yyyymmdd. `utc_offset` is in hours. `country` is the account's. `longitude` and `latitude` are 0 for a
    player who hides the location.
    `hides_online`: the website and the API show the player as offline.
    `presence_filter`: whose statuses the client shows: 0 nobody, 1 everybody, 2 friends.
    `ranks_by_score`: the client shows the ranks of players by ranked score instead of pp.
    `watched`: the players whose stats the client requested last, valid until `watched_until_ms`.
    `match_id`: the match in which the player has a slot. `room_id`: the match that the client calls `#multiplayer`; it
    equals `match_id`, or is the match that a tournament client watches. `spectating`: the host. 0 means none.
    """

    token: str
    user_id: int
    login_time_ms: int
    status: Status = Status()
    hidden: bool = False
    tournament: bool = False
    irc: bool = False
    name: str = ""
    priv: int = 0
    country: str = "xx"
    build: int = 0
    client: str = ""  # the version as the client wrote it
    client_hashes: str = ""  # as the client wrote them: submissions repeat them
    utc_offset: int = 0
    longitude: float = 0.0
    latitude: float = 0.0
    stats: SessionStats = SessionStats()
    presence_filter: int = 1
    ranks_by_score: bool = False
    friends_only_dms: bool = False
    hides_online: bool = False
    friends: frozenset[int] = frozenset()
    blocked: frozenset[int] = frozenset()
    silenced_until_ms: int = 0
    away: str = ""
    aways: int = 0
    in_lobby: bool = False
    match_id: int = 0
    room_id: int = 0
    spectating: int = 0
    watched: frozenset[int] = frozenset()
    watched_until_ms: int = 0
    follows: frozenset[str] = frozenset()

    @property
    def is_game(self) -> bool:
        """Whether this is the game that the player plays: neither a tournament client nor an IRC connection."""
        return not self.tournament and not self.irc


def order_of_sessions(session: Session) -> tuple[bool, bool, int, str]:
    """Return a key by which the session that shows what a player does comes first: the game's, and IRC last."""
    return session.irc, session.tournament, session.login_time_ms, session.token


def status_interest(session: Session, *, crowded: bool, now_ms: int) -> frozenset[int] | None:
    """Return the users whose statuses are pushed to the session, None for all (docs/spec/sessions.md#filter).

    `crowded`: more than CROWDED_ABOVE players are online. Then the filter "everybody" means the friends, the host that
    the session watches, and the players whose stats it requested within the last minute.
    """
    # scripts/poll.lua computes the same for Redis: change both.
    if session.presence_filter == 1 and not crowded:
        return None
    interest = session.friends if session.presence_filter else frozenset[int]()
    if session.presence_filter == 1 and session.watched and now_ms < session.watched_until_ms:
        interest |= session.watched
    # A spectator needs the host's status with any filter: it says which map to load.
    return interest | {session.spectating} if session.spectating else interest


SessionRule = Callable[[Session], tuple[Session, Sequence[Entry]]]
"""Returns the changed session and the entries to append. Pure: an adapter runs it again after it lost a race."""


class RateLimitResult(msgspec.Struct, frozen=True):
    """The result of one request to a bucket, with the whole units that remain.

    `reset_s`: after a grant, the seconds until the bucket is full; after a refusal, until the same cost is granted.
    """

    granted: bool
    limit: int
    remaining: int
    reset_s: float


class Realtime(Protocol):
    """The port. An embedded server uses `memory.MemoryRealtime`, several workers share `redis.RedisRealtime`.

    `answers_at_once`: calls end without waiting, so nothing is gained by making several of them at the same time.
    """

    answers_at_once: bool

    # --- ranks: per mode one list of the world and one of each country; pp descending, then user id ascending --------

    async def set_ranks(self, entries: Sequence[RankEntry]) -> list[Rank]:
        """Set the pp of each entry's user in its mode, replacing an older entry. Return the ranks of each entry then.

        pp 0 removes the user from the mode's lists. Another country moves the user between the country lists. Readers
        see all entries or none. Of two entries for the same user and mode, the later counts.
        """
        ...

    async def forget_ranks(self, user_id: int) -> None:
        """Remove the user from the lists of all modes. Does nothing for a user without a rank."""
        ...

    async def replace_ranks(self, pages: AsyncIterable[Sequence[RankEntry]]) -> None:
        """Replace all lists with these entries. No reader sees a partly filled list.

        Entries have the same meaning as for `set_ranks`, and one page has all entries of a user. The effects of
        `set_ranks` and `forget_ranks` before and during this call are lost. The caller applies afterwards the changes
        since it read its rows.
        """
        ...

    async def ranks_version(self) -> int | None:
        """Return a number that differs after every change of a list, or None if the adapter cannot tell at once."""
        ...

    async def ranks_of(self, user_id: int) -> dict[int, Rank]:
        """Return the user's rank in each mode in which it has one, all from the same moment."""
        ...

    async def rank_of(self, user_id: int, mode: int) -> Rank:
        """Return the user's rank in one mode, zeros without one. Costs O(log n), like each single change."""
        ...

    async def ranked_ids(self, mode: int, *, country: str | None = None, offset: int = 0, limit: int = 50) -> list[int]:
        """Return user ids in rank order, of the world or one country, from rank `offset` + 1 on.

        `limit` is 1 to AROUND_MAX. An offset past the end gives an empty list.
        """
        ...

    async def ranked_count(self, mode: int, country: str | None = None) -> int:
        """Return the length of the list of the world or of one country. O(1)."""
        ...

    # --- topics ------------------------------------------------------------------------------------------------------

    async def append(self, entries: Sequence[Entry], *, unless_online: int = 0) -> None:
        """Append each entry to its topic, in this order. The cost is independent of the number of followers.

        Appends nothing if the user `unless_online` is online; the check and the append are one atomic step.
        """
        ...

    async def followers(self, topics: Sequence[str]) -> list[int]:
        """Return the number of sessions that follow each topic, without hidden ones. O(1) per topic."""
        ...

    async def is_followed(self, topic: str) -> bool:
        """Return whether any session follows the topic, hidden ones included. O(1)."""
        ...

    async def following(self, topic: str) -> list[Session]:
        """Return the sessions that follow a topic, hidden ones included, by login time and then token."""
        ...

    async def feed_end(self, topic: str) -> int:
        """Return the index of a feed's next entry: a cursor for `feed_after`."""
        ...

    async def feed_after(self, topic: str, cursor: int, most: int = 256) -> tuple[int, list[bytes]]:
        """Return the index of the first body found, and up to `most` bodies at and after a feed's cursor.

        Starts at the oldest stored entry if the cursor is before it. A cursor past the end, for example from before a
        restart of the server, reads from the end on.
        """
        ...

    # --- sessions ----------------------------------------------------------------------------------------------------

    async def open_session(
        self, session: Session, entries: Sequence[Entry] = (), *, arrival: Sequence[Entry] = ()
    ) -> None:
        """Store the session, follow its topics, then append the entries.

        Appends `arrival` before them if the account was not online. All of it is one atomic step. Replaces a session
        with the same token. Raises TooMany beyond SESSIONS_MAX.
        """
        ...

    async def session(self, token: str) -> Session:
        """Return the session. Raises SessionGone."""
        ...

    async def change_session(self, token: str, rule: SessionRule, *, unless_followed: str = "") -> Session:
        """Replace the session by the result of `rule`, append the rule's entries, and return the new session.

        The cursor of a newly followed topic starts at the topic's end before these entries, so the session reads them.
        Cursors of topics that it no longer follows are dropped. An exception of `rule` passes through, and nothing
        changes. Nothing changes either if any session follows the topic `unless_followed`; the check is part of the
        same atomic step. Raises SessionGone, Contended.
        """
        ...

    async def close_session(self, token: str) -> Session | None:
        """End the session. Return it to exactly one caller, and None to all others."""
        ...

    async def poll(self, token: str, most_bytes: int = POLL_BYTES_MAX) -> tuple[Session, list[Entry]]:
        """Return the session and the unread entries of its topics, move its cursors, and mark it as seen now.

        Returns at most `most_bytes` of bodies from logs, but at least one entry; the next poll returns the rest. The
        caller filters the entries that the session may not read. Raises SessionGone, FellBehind.
        """
        ...

    def ready_session(self, token: str) -> Session | None:
        """Return the session if `poll_at_once` can answer now. None: call `poll`, which may have to wait.

        None also for an ended session, and while another request of the session has the lock.
        """
        ...

    def poll_at_once(self, token: str) -> list[Entry]:
        """Do what `poll` does, without waiting, and return the entries. Raises FellBehind.

        Call it only for a `ready_session`, with no await in between.
        """
        ...

    async def sessions_of(self, user_id: int) -> list[Session]:
        """Return the user's sessions, hidden ones included, by login time and then token."""
        ...

    async def sessions_among(self, user_ids: Sequence[int]) -> dict[int, Session]:
        """Return one session for each of the users who is visibly online.

        It is the game's session, else the earliest tournament client, else the IRC connection.
        """
        ...

    async def idle_s(self, token: str) -> float:
        """Return the seconds since the session's last poll, or since it was opened. Raises SessionGone."""
        ...

    async def idle_sessions(self, idle_s: float, most: int = 1_000) -> list[str]:
        """Return the tokens of up to `most` sessions without a poll for `idle_s` seconds, the longest idle first."""
        ...

    def session_lock(self, token: str) -> AbstractAsyncContextManager[None]:
        """Return a lock that serves a session's requests one after another, in order of arrival.

        Entering raises TooMany if LOCK_WAITERS_MAX requests wait already, and SessionGone.
        """
        ...

    async def online_count(self) -> int:
        """Return the number of users with a session that is not hidden, without the bot. O(1)."""
        ...

    async def online_ids(self) -> list[int]:
        """Return the ids of the users in `online_count`, in any order."""
        ...

    async def online_among(self, user_ids: Sequence[int]) -> set[int]:
        """Return those of the users who are in `online_count`."""
        ...

    # --- matches: any frozen Struct, always read as the type it was opened with --------------------------------------

    async def open_match(self, match: msgspec.Struct) -> int:
        """Store the match under the lowest free id from 1 on and return the id. Raises TooMany beyond MATCHES_MAX."""
        ...

    async def match(self, match_id: int, kind: type[M]) -> M | None:
        """Return the match, or None if it is closed."""
        ...

    async def change_match(
        self, match_id: int, kind: type[M], rule: Callable[[M], tuple[M | None, Sequence[Entry]]]
    ) -> M | None:
        """Replace the match by the result of `rule` (None closes it), append the rule's entries, and return the match.

        The change and the entries are one atomic step, so the order of entries is the order of changes. `rule` is pure:
        an adapter runs it again after it lost a race. An exception of `rule` passes through, and the match stays
        unchanged. Raises MatchGone, and Contended after a bounded number of lost races.
        """
        ...

    async def matches(self, kind: type[M]) -> list[tuple[int, M]]:
        """Return all open matches with their ids, ids ascending, all from the same moment."""
        ...

    async def close_match(self, match_id: int) -> None:
        """Close the match and free its id. Does nothing if it is closed."""
        ...

    # --- the stash ---------------------------------------------------------------------------------------------------

    async def stash(self, key: str, field: str, value: bytes, for_s: float) -> None:
        """Store the value in a field of the key. The key with all fields expires `for_s` seconds after the last write.

        A key has at most FIELDS_MAX fields; further fields are dropped. A subject has one key per player or match.
        Beyond STASHED_KEYS_MAX keys, the one written longest ago may expire early.
        """
        ...

    async def stashed(self, key: str) -> dict[str, bytes]:
        """Return the stored values of the key by field."""
        ...

    # --- once-keys, leases, rate limits ------------------------------------------------------------------------------

    async def once(self, key: str, for_s: float, entries: Sequence[Entry] = ()) -> bool:
        """Return True to the first caller and False to all others for `for_s` seconds.

        The entries of the first caller are appended in the same atomic step. Beyond ONCE_KEYS_MAX keys, the one nearest
        its end may expire early.
        """
        ...

    async def lease(self, key: str, holder: str, for_s: float) -> bool:
        """Acquire or renew the lease for `for_s` seconds from now. Return False if another holder has it.

        Keys are names of jobs, so their number is small and needs no bound.
        """
        ...

    async def consume(
        self, bucket: str, *, limit: int, period_s: float, burst: int | None = None, cost: int = 1
    ) -> RateLimitResult:
        """Consume `cost` units of the bucket if it has that many, else none.

        A bucket starts full with `burst` (or `limit`) units and refills continuously by `limit` per `period_s` seconds.
        At most burst + limit * t / period_s units are granted in a time t. `cost` is 0 (a pure read) to the capacity.
        All calls for one bucket use the same limit, period and burst. Beyond BUCKETS_MAX buckets, the one unused for
        the longest time is dropped, which makes it full.
        """
        ...

    def consume_at_once(self, bucket: str, *, limit: int, period_s: float, burst: int | None = None, cost: int) -> bool:
        """Consume `cost` units without waiting, for a request that is answered without shared state.

        Return False if the bucket lacks them; nothing is consumed then. An adapter for several workers may count such
        requests in each worker.
        """
        ...

    async def refund(self, bucket: str, *, limit: int, period_s: float, cost: int = 1) -> None:
        """Return `cost` units to the bucket, up to its capacity.

        Use it where units are consumed before it is known whether the request costs any, for example for a password
        that may be right. `limit` and `period_s` are those of `consume`.
        """
        ...

"""Realtime state as the subjects see it: values in, values out, one verb one atomic act.

Promises, the same on every adapter (tests/contract/realtime holds them):
- what goes in and comes out are frozen Structs, ints and texts, never a live object: what one holds does not change;
- each verb is one atomic act, and no caller composes a read and a write: a change is a pure rule given to the port;
- a verb sees everything that verbs finished before it was called have done;
- time is the given clock's monotonic time, so setting the wall clock ends no session and refills no bucket;
- an adapter raises the errors below and no library's: whatever else comes out was raised by the caller's own rule.

Nothing here must survive: ranks are derived from committed rows, the rest is short-lived.

Topics (docs/engineer/realtime.md#topics): bounded logs of encoded packets. A session *follows* the topics that its
`follows` names; for each it has a cursor, which starts at the topic's end and never goes back. Total order in a topic,
none between topics; what one appends is in one's own next poll. An entry of a topic that nobody follows is dropped,
except in feeds, which are kept for readers without a session.

One topic is no log but a board, STATUS: of each author only the newest entry is kept, until its last session ends, and
a session is given those that changed since its last poll and whose authors it wants to know of (`status_interest`). So
a status change costs the same whether ten players are online or ten thousand, and nobody falls behind.

RealtimeError
|- SessionGone()           the session has ended, or never was
|- FellBehind()            the session missed entries that it must not miss; it has to log in afresh
|- MatchGone(match_id)     the match is closed, or never was
|- Contended(what)         others kept changing it; nothing was changed, ask again (also an Unavailable)
|- TooMany(what, bound)    no room for one more
`- StateUnavailable(why)   the store does not answer (also an Unavailable)
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol, TypeVar

import msgspec

from kiai.errors import KiaiError, Unavailable

M = TypeVar("M", bound=msgspec.Struct)

BOT_ID: Final = 1  # is shown to clients as online, but is nobody's session and counts nowhere
SESSIONS_MAX: Final = 100_000
MATCHES_MAX: Final = 1_000
FIELDS_MAX: Final = 64
KEPT_KEYS_MAX: Final = 100_000
AROUND_MAX: Final = 1_000
USER_ID_MAX: Final = 2**31 - 1
MANY_ONLINE: Final = 250
BUCKETS_MAX: Final = 200_000
ONCE_KEYS_MAX: Final = 100_000
POLL_BYTES_MAX: Final = 256 * 1024
TURNS_WAITING_MAX: Final = 8


class RealtimeError(KiaiError):
    """The root of what the port raises."""


class SessionGone(RealtimeError):
    """There is no such session (any more). The token is a secret and is not repeated."""

    def __init__(self) -> None:
        super().__init__("the session has ended")


class FellBehind(RealtimeError):
    """A topic's bound has overtaken the session's cursor, and what it missed cannot be skipped."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"the session is behind the bound of {topic}")
        self.topic = topic


class MatchGone(RealtimeError):
    """There is no such match (any more)."""

    def __init__(self, match_id: int) -> None:
        super().__init__(f"match {match_id} is closed")
        self.match_id = match_id


class Contended(RealtimeError, Unavailable):
    """A change lost the race against others a bounded number of times; nothing was changed."""

    def __init__(self, what: str) -> None:
        Unavailable.__init__(self, what, "it is being changed by others")


class TooMany(RealtimeError):
    """As many as there may be are there already."""

    def __init__(self, what: str, bound: int) -> None:
        super().__init__(f"there are {bound} {what} already")
        self.what = what
        self.bound = bound


class StateUnavailable(RealtimeError, Unavailable):
    """The store behind the port cannot answer now."""

    def __init__(self, reason: str = "") -> None:
        Unavailable.__init__(self, "realtime state", reason)


class RankEntry(msgspec.Struct, frozen=True):
    """A user's place in one mode's lists. `country` is the account's, two letters as the caller writes them."""

    user_id: int
    mode: int
    country: str
    pp: int


class Rank(msgspec.Struct, frozen=True):
    """1 + how many are above, in the world and in the own country; 0 for who is not listed."""

    rank: int = 0
    country_rank: int = 0


class Bound(msgspec.Struct, frozen=True):
    """How much a topic keeps. A reader behind it skips what it missed (`skips`), or raises FellBehind."""

    entries: int
    bytes: int
    skips: bool = False


# --- topics: their names, and what each keeps (docs/spec/security.md#bounded) ----------------------------------------

ONLINE: Final = "online"  # who comes, who goes, who they are
STATUS: Final = "status"  # what they do: a board (see above)
LOBBY: Final = "lobby"
FEED: Final = "feed"  # JSON events for API streams; kept without followers
HISTORY: Final = "history"  # what happened in rooms, until it is written; kept without followers
KEPT: Final = (FEED, HISTORY)
MEBIBYTE: Final = 1 << 20

BOUNDS: Final[Mapping[str, Bound]] = {
    ONLINE: Bound(4_096, 4 * MEBIBYTE),
    LOBBY: Bound(4_096, 4 * MEBIBYTE),
    FEED: Bound(4_096, 4 * MEBIBYTE, skips=True),
    HISTORY: Bound(32_768, 32 * MEBIBYTE, skips=True),
    "user": Bound(2_048, 2 * MEBIBYTE),
    "chat": Bound(2_048, 2 * MEBIBYTE),
    "match": Bound(4_096, 2 * MEBIBYTE),
    "frames": Bound(256, 2 * MEBIBYTE, skips=True),
    "spectate": Bound(1_024, MEBIBYTE),
}
"""By what stands before the colon of a topic's name."""


def user_topic(user_id: int) -> str:
    """What is meant for one player: all of its sessions but tournament clients follow it."""
    return f"user:{user_id}"


def chat_topic(channel: str) -> str:
    """A channel's lines, by the channel's own name (`#osu`, `#multi_7`, `#spec_3`)."""
    return f"chat:{channel}"


def match_topic(match_id: int) -> str:
    """What everybody in a room is told: players, referees and tournament viewers."""
    return f"match:{match_id}"


def spectate_topic(host_id: int) -> str:
    """What the spectators of a player are told of each other."""
    return f"spectate:{host_id}"


def frames_topic(host_id: int) -> str:
    """A player's frame bundles."""
    return f"frames:{host_id}"


def bound_of(topic: str) -> Bound:
    """What the topic keeps."""
    return BOUNDS[topic.partition(":")[0]]


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One element of a topic: encoded once, when appended.

    `author` 0 is nobody; readers skip their own and blocked authors'. `needs` is a mask of privileges of which a reader
    must have one, 0 for none. `older` is what clients from before build 20250306 get instead, if that differs.
    """

    topic: str
    body: bytes
    author: int = 0
    needs: int = 0
    older: bytes = b""


Announce = Callable[[object], Sequence[Entry]]
"""Turns a subject's fact into entries: which topic, whose, which bytes. Pure; given to services, filled by a face."""


class Status(msgspec.Struct, frozen=True):
    """What a client says it does. `map_id` 0 and `map_md5` "" are no map; `mode` None is one we do not know."""

    action: int = 0
    info_text: str = ""
    map_md5: str = ""
    map_id: int = 0
    mods: int = 0
    mode: int | None = 0


class ShownStats(msgspec.Struct, frozen=True):
    """A player's figures in the mode of its status, as packets show them. `acc` is percent; ranks 0: not listed."""

    rscore: int = 0
    acc: float = 0.0
    plays: int = 0
    tscore: int = 0
    rank: int = 0
    pp: int = 0


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One logged-in client. `hidden` is a restricted user's: it is there for itself and counts for nobody else.

    `build` is yyyymmdd; `utc_offset` hours; `country` the account's, `longitude` and `latitude` 0 when not shown.
    `presence_filter`: 0 nobody, 1 everybody, 2 friends. `watched`: whose stats it asked for last, until
    `watched_until_ms`. `match_id`: the room it sits in; `room_id`: the room that it knows as `#multiplayer` (the same,
    or one that a tournament client watches). `spectating`: the host it watches. 0 is none of them.
    """

    token: str
    user_id: int
    login_time_ms: int
    status: Status = Status()
    hidden: bool = False
    tournament: bool = False
    name: str = ""
    priv: int = 0
    country: str = "xx"
    build: int = 0
    client: str = ""  # the version as the client wrote it
    client_hashes: str = ""  # as the client wrote them: submissions repeat them
    utc_offset: int = 0
    longitude: float = 0.0
    latitude: float = 0.0
    stats: ShownStats = ShownStats()
    presence_filter: int = 1
    friends_only_dms: bool = False
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


def status_interest(session: Session, *, many: bool, now_ms: int) -> frozenset[int] | None:
    """Whose statuses are pushed to the session, None for everybody's (docs/spec/sessions.md#filter).

    `many`: more than MANY_ONLINE players are online; then a filter for everybody means friends, the host it watches
    and the players it asked for within the last minute.
    """
    if session.presence_filter == 1 and not many:
        return None
    wanted = session.friends if session.presence_filter else frozenset[int]()
    if session.presence_filter == 1 and session.watched and now_ms < session.watched_until_ms:
        wanted |= session.watched
    return wanted | {session.spectating} if session.spectating else wanted


SessionRule = Callable[[Session], tuple[Session, Sequence[Entry]]]
"""What a session becomes, and what is said about it. Pure: it may be run again when a race was lost."""


class Allowance(msgspec.Struct, frozen=True):
    """What a bucket answered. `remaining` whole units are left.

    `reset_s`: when granted, until the bucket is full again; when refused, until the same cost would be granted.
    """

    granted: bool
    limit: int
    remaining: int
    reset_s: float


class Realtime(Protocol):
    """The port; the adapter of an embedded server is `memory.MemoryRealtime`."""

    # --- ranks: a list of the world and one of each country, per mode; pp descending, then user id ascending ---------

    async def set_ranks(self, entries: Sequence[RankEntry]) -> None:
        """Puts every entry where its pp says, in place of that user's older entry in the mode.

        pp 0 takes the user out of the mode's lists; another country moves the entry between the country lists. All
        entries are seen at once or not yet; of two for the same user and mode the later counts.
        """
        ...

    async def forget_ranks(self, user_id: int) -> None:
        """Takes the user out of every list of every mode; whoever was below moves up. Harmless when repeated."""
        ...

    async def replace_ranks(self, entries: Sequence[RankEntry]) -> None:
        """The lists are these entries and nothing else: nobody sees a half-filled or empty list in between.

        Entries mean what they mean to `set_ranks`. What `set_ranks` and `forget_ranks` did before this, or while it
        runs, is gone: whoever rebuilds applies later what changed since it read its rows.
        """
        ...

    async def ranks_of(self, user_id: int) -> dict[int, Rank]:
        """The user's rank in each mode in which it is listed, all of the same moment."""
        ...

    async def rank_of(self, user_id: int, mode: int) -> Rank:
        """The user's rank in one mode; zeros when it is not listed. Costs O(log n), as does every single change."""
        ...

    async def around(self, mode: int, *, country: str | None = None, offset: int = 0, limit: int = 50) -> list[int]:
        """User ids in rank order, of the world or one country, from rank `offset` + 1 on.

        `limit` is 1 to AROUND_MAX; past the end there is nobody.
        """
        ...

    async def ranked_count(self, mode: int, country: str | None = None) -> int:
        """How many users the list of the world or of one country has. O(1)."""
        ...

    # --- topics ------------------------------------------------------------------------------------------------------

    async def append(self, entries: Sequence[Entry], *, unless_online: int = 0) -> None:
        """Puts every entry at the end of its topic, in this order. Costs the same whatever the number of followers.

        Nothing is appended while the user `unless_online` is online, which is judged in the same act.
        """
        ...

    async def followers(self, topics: Sequence[str]) -> list[int]:
        """How many sessions that are not hidden follow each topic. O(1) for each."""
        ...

    async def is_followed(self, topic: str) -> bool:
        """Whether any session follows the topic, hidden ones included. Costs the same whatever their number."""
        ...

    async def following(self, topic: str) -> list[Session]:
        """The sessions that follow a topic, hidden ones too: the earliest login first, of one moment by token."""
        ...

    async def feed_end(self, topic: str) -> int:
        """Where the next entry of a feed will be: a cursor for `feed_after`."""
        ...

    async def feed_after(self, topic: str, cursor: int, most: int = 256) -> tuple[int, list[bytes]]:
        """The bodies at and after a feed's cursor that are still kept, at most `most`, and the index of the first.

        A cursor past the end (of an earlier life of the feed) reads from the end on.
        """
        ...

    # --- sessions ----------------------------------------------------------------------------------------------------

    async def open_session(
        self, session: Session, entries: Sequence[Entry] = (), *, arrival: Sequence[Entry] = ()
    ) -> None:
        """The session is there for every later verb and follows its topics; then the entries are appended.

        `arrival` is appended before them unless the account was online already, which is judged in the same act. A
        session with the same token is replaced. Raises TooMany past SESSIONS_MAX.
        """
        ...

    async def session(self, token: str) -> Session:
        """The session as it is now. Raises SessionGone."""
        ...

    async def change_session(self, token: str, rule: SessionRule, *, unless_followed: str = "") -> Session:
        """The session becomes what `rule` makes of it, and the entries are appended, in one act; what it became.

        Topics it newly follows are read from their end on, before the entries are appended; topics it no longer
        follows are forgotten. What `rule` raises comes out and nothing changes. While any session follows the topic
        `unless_followed` nothing changes either, which is judged in the same act. Raises SessionGone, Contended.
        """
        ...

    async def close_session(self, token: str) -> Session | None:
        """The session is gone for every later verb. What it was, for exactly one of all callers; None for the rest."""
        ...

    async def poll(self, token: str, most_bytes: int = POLL_BYTES_MAX) -> tuple[Session, list[Entry]]:
        """The session, and what its topics have behind its cursors, which move on; it counts as seen now.

        At most `most_bytes` of logs' bodies at once (one entry at least), the rest is for the next poll. Logs are not
        filtered here: which of their entries the session may read is for whoever asks. Raises SessionGone, FellBehind.
        """
        ...

    async def sessions_of(self, user_id: int) -> list[Session]:
        """The user's sessions, hidden ones too: the earliest login first, of one moment by token."""
        ...

    async def sessions_among(self, user_ids: Sequence[int]) -> dict[int, Session]:
        """Of each of the users who has a session that is not hidden, the one that shows: the game's own, else the
        earliest tournament client."""
        ...

    async def idle_s(self, token: str) -> float:
        """Seconds since the session's last poll or opening. Raises SessionGone."""
        ...

    async def idle_sessions(self, idle_s: float, most: int = 1_000) -> list[str]:
        """Tokens of sessions that nobody polled for this long, the longest first."""
        ...

    def turn(self, token: str) -> AbstractAsyncContextManager[None]:
        """One at a time for each session, in order of asking. Raises TooMany when TURNS_WAITING_MAX wait already."""
        ...

    async def online_count(self) -> int:
        """How many users have a session that is not hidden; the bot does not count. O(1)."""
        ...

    async def online_ids(self) -> list[int]:
        """The users whom `online_count` counts, in no order."""
        ...

    async def online_among(self, user_ids: Sequence[int]) -> set[int]:
        """Those of the users whom `online_count` counts."""
        ...

    # --- matches: any frozen Struct, always asked for by the kind it was opened with ---------------------------------

    async def open_match(self, match: msgspec.Struct) -> int:
        """Keeps the match under the lowest free id from 1 on and returns that id. Raises TooMany past MATCHES_MAX."""
        ...

    async def match(self, match_id: int, kind: type[M]) -> M | None:
        """The match as it is now, or None."""
        ...

    async def change_match(
        self, match_id: int, kind: type[M], rule: Callable[[M], tuple[M | None, Sequence[Entry]]]
    ) -> M | None:
        """The match becomes what `rule` makes of it (None: it is closed) and the entries are appended, in one act.

        No other change comes in between, so the order of what is said is the order of what happened. Returns what it
        became. `rule` is pure: it may be run again when a race was lost. What it raises comes out, and the match stays
        as it was. Raises MatchGone, and Contended after a bounded number of lost races.
        """
        ...

    async def matches(self, kind: type[M]) -> list[tuple[int, M]]:
        """Every open match with its id, ids ascending, all of the same moment."""
        ...

    async def close_match(self, match_id: int) -> None:
        """The match is gone and its id free. Harmless when repeated."""
        ...

    # --- kept for a while --------------------------------------------------------------------------------------------

    async def keep(self, key: str, field: str, value: bytes, for_s: float) -> None:
        """Remembers the value under the key's field; all fields of a key are forgotten `for_s` after the last was set.

        A key has up to FIELDS_MAX fields, others are not kept; keys are those of players and rooms, each named by its
        subject. Past KEPT_KEYS_MAX of them the one that was set longest ago may be forgotten early.
        """
        ...

    async def kept(self, key: str) -> dict[str, bytes]:
        """What is remembered under the key, by field."""
        ...

    # --- once, and how often -----------------------------------------------------------------------------------------

    async def once(self, key: str, for_s: float, entries: Sequence[Entry] = ()) -> bool:
        """True for exactly one caller, whose entries are appended in the same act; False for all others until `for_s`
        after that.

        Up to ONCE_KEYS_MAX keys are remembered; past that, the one nearest its end may be forgotten early.
        """
        ...

    async def hold(self, key: str, holder: str, for_s: float) -> bool:
        """Whether `holder` has what the key names for `for_s` from now: it was nobody's, or its own already.

        Keys are names of work that we have, so there are no more of them than that.
        """
        ...

    async def take(
        self, bucket: str, *, limit: int, period_s: float, burst: int | None = None, cost: int = 1
    ) -> Allowance:
        """Takes `cost` from the bucket if that much is in it, else nothing.

        A bucket starts full with `burst` (or `limit`) units and refills continuously by `limit` per `period_s`, so in
        any time t at most burst + limit * t / period_s are granted. `cost` is 0 (which only looks) to the capacity; one
        bucket is always asked with the same figures. Up to BUCKETS_MAX buckets are kept; past that, the one longest
        unused is forgotten and is thereby full.
        """
        ...

    async def refund(self, bucket: str, *, limit: int, period_s: float, cost: int = 1) -> None:
        """Puts `cost` units back into the bucket, up to what it can hold.

        For work that is priced before it is known whether it costs anything, such as a guess at a password. `limit` and
        `period_s` are those of `take`.
        """
        ...

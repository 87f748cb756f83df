"""Realtime state as the subjects see it: values in, values out, one verb one atomic act.

Promises, the same on every adapter (tests/contract/realtime holds them):
- what goes in and comes out are frozen Structs, ints and texts, never a live object: what one holds does not change;
- each verb is one atomic act, and no caller composes a read and a write: a change is a pure rule given to the port;
- a verb sees everything that verbs finished before it was called have done;
- time is the given clock's monotonic time, so setting the wall clock ends no session and refills no bucket;
- an adapter raises the errors below and no library's: whatever else comes out was raised by the caller's own rule.

Nothing here must survive: ranks are derived from committed rows, the rest is short-lived.

RealtimeError
|- SessionGone()           the session has ended, or never was
|- MatchGone(match_id)     the match is closed, or never was
|- Contended(what)         others kept changing it; nothing was changed, ask again (also an Unavailable)
|- TooMany(what, bound)    no room for one more
`- StateUnavailable(why)   the store does not answer (also an Unavailable)
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

import msgspec

from kiai.errors import KiaiError, Unavailable

M = TypeVar("M", bound=msgspec.Struct)

BOT_ID: Final = 1  # is shown to clients as online, but is nobody's session and counts nowhere
SESSIONS_MAX: Final = 100_000
MATCHES_MAX: Final = 1_000
AROUND_MAX: Final = 1_000
USER_ID_MAX: Final = 2**31 - 1
BUCKETS_MAX: Final = 200_000
ONCE_KEYS_MAX: Final = 100_000


class RealtimeError(KiaiError):
    """The root of what the port raises."""


class SessionGone(RealtimeError):
    """There is no such session (any more). The token is a secret and is not repeated."""

    def __init__(self) -> None:
        super().__init__("the session has ended")


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


class Status(msgspec.Struct, frozen=True):
    """What a client says it does. `map_id` 0 and `map_md5` "" are no map; `mode` None is one we do not know."""

    action: int = 0
    info_text: str = ""
    map_md5: str = ""
    map_id: int = 0
    mods: int = 0
    mode: int | None = 0


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One logged-in client. `hidden` is a restricted user's: it is there for itself and counts for nobody else."""

    token: str
    user_id: int
    login_time_ms: int
    last_seen_ms: int
    status: Status
    hidden: bool
    tournament: bool = False


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

    # --- sessions ----------------------------------------------------------------------------------------------------

    async def open_session(self, session: Session) -> None:
        """The session is there for every later verb; one with the same token is replaced.

        Raises TooMany past SESSIONS_MAX.
        """
        ...

    async def session(self, token: str) -> Session:
        """The session as it is now. Raises SessionGone."""
        ...

    async def change_status(self, token: str, status: Status) -> None:
        """Replaces the status and nothing else. Raises SessionGone."""
        ...

    async def close_session(self, token: str) -> None:
        """The session is gone for every later verb. Harmless when repeated."""
        ...

    async def sessions_of(self, user_id: int) -> list[Session]:
        """The user's sessions, hidden ones too: the earliest login first, of one moment by token."""
        ...

    async def online_count(self) -> int:
        """How many users have a session that is not hidden; the bot does not count. O(1)."""
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

    async def change_match(self, match_id: int, kind: type[M], rule: Callable[[M], M]) -> M:
        """The match becomes what `rule` makes of it, and no other change comes in between; returns what it became.

        `rule` is pure: it may be run again when a race was lost. What it raises comes out, and the match stays as it
        was. Raises MatchGone, and Contended after a bounded number of lost races.
        """
        ...

    async def matches(self, kind: type[M]) -> list[tuple[int, M]]:
        """Every open match with its id, ids ascending, all of the same moment."""
        ...

    async def close_match(self, match_id: int) -> None:
        """The match is gone and its id free. Harmless when repeated."""
        ...

    # --- once, and how often -----------------------------------------------------------------------------------------

    async def once(self, key: str, for_s: float) -> bool:
        """True for exactly one caller; False for all others until `for_s` after that.

        Up to ONCE_KEYS_MAX keys are remembered; past that, the one nearest its end may be forgotten early.
        """
        ...

    async def take(
        self, bucket: str, *, limit: int, period_s: float, burst: int | None = None, cost: int = 1
    ) -> Allowance:
        """Takes `cost` from the bucket if that much is in it, else nothing.

        A bucket starts full with `burst` (or `limit`) units and refills continuously by `limit` per `period_s`, so in
        any time t at most burst + limit * t / period_s are granted. `cost` is 1 to the capacity; one bucket is always
        asked with the same figures. Up to BUCKETS_MAX buckets are kept; past that, the one longest unused is forgotten
        and is thereby full.
        """
        ...

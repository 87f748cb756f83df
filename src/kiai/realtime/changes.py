"""The changes of shared state, as one worker knows them. Polls that need nothing else are answered without Redis.

Scripts that change what a poll may return append a *name* to a log in Redis and count it (`changed` in common.lua): a
topic that got an entry, `~` and the token of a session that changed or ended, `@` and the author of a new status. A
worker reads the log every `FOLLOW_S` and keeps the number of the last change of each name. A poll through Redis returns
how many changes there were at that moment. If no name that concerns the session has a higher number, nothing can be
unread, and the next poll has an empty answer. Everything else goes to Redis, so only Redis delivers entries and moves
cursors: which worker answers a poll, and which dies, makes no difference.

The promise: a poll reads what another worker has finished appending `FRESH_S` before, and usually `FOLLOW_S` before.
Its own appends count at once (`note`). While the log was not read for `FRESH_S`, every poll goes to Redis.

Once in `REFRESH_S` a session polls through Redis in any case: during an upgrade, workers of an older version run
together with newer ones, and log no changes.

`forget` starts again after anything that may have lost changes: a failed call, a log that lacks some changes, a Redis
that has lost its data or was restarted. After a restart from a truncated file, new changes have the numbers of lost
ones; the name of the run of Redis tells them apart. Sessions are ready again after their next poll through Redis.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from kiai.realtime.port import CROWDED_ABOVE, PERMANENT_TOPICS, STATUS, Entry, Session, status_interest

K = TypeVar("K")

FOLLOW_S: Final = 0.025
FRESH_S: Final = 0.25
NAMES_MAX: Final = 16_384
"""Names with a number, and as many authors of statuses. Beyond that the oldest is dropped."""
LOG_MAX: Final = 4_096
"""Names that Redis lists, in common.lua."""
CHANGES_READ_MAX: Final = 2_048
"""Changes that are read at once. Beyond that the worker forgets."""
SEEN_EVERY_S: Final = 4.0
"""The time in seconds for which the polls of a session may have no record in Redis."""
REFRESH_S: Final = 30.0
"""The time in seconds after which a session polls through Redis, whatever the log says."""
NEVER: Final = -1


class KnownSession:
    """A session that this worker has polled, with its version, and when its poll through Redis was.

    `at` is the number of changes at that time (`polled_s`), or NEVER if the poll left entries unread. `seen_s` is the
    time of the last poll that Redis knows of or will know of.
    """

    __slots__ = ("at", "epoch", "names", "polled_s", "revision", "seen_s", "session", "version")

    def __init__(self, version: bytes, session: Session) -> None:
        self.version = version
        self.session = session
        self.names = (f"~{session.token}", *sorted(session.follows - {STATUS}))
        self.at = NEVER
        self.epoch = NEVER
        self.revision = NEVER
        self.polled_s = self.seen_s = -math.inf


class ChangesOfState:
    """The numbers of the last changes. `epoch` grows with each `forget`. Times are monotonic, in seconds."""

    def __init__(self) -> None:
        self.epoch = 0
        self.position = 0
        """The number of the last change that was read."""
        self.crowded = True
        self._lost = True
        self._run = b""
        self._confirmed_s = -math.inf
        self._floor = 0  # a session that was polled before this change is not ready
        self._revision = 0
        self._numbers: OrderedDict[str, int] = OrderedDict()
        self._statuses: OrderedDict[int, int] = OrderedDict()
        # The last two changes of statuses by different authors: for sessions that receive those of everybody else.
        self._last_author = 0
        self._last = 0
        self._last_of_others = 0

    def forget(self) -> None:
        """Forget everything, because changes may be missing."""
        self._lost = True
        self.epoch += 1
        self._confirmed_s = -math.inf
        self._numbers.clear()
        self._statuses.clear()
        self._last_author = self._last = self._last_of_others = 0

    def read(self, asked_s: float, position: int, names: Sequence[bytes], online: int, run: bytes = b"") -> None:
        """Add what was read from the log: the names of the changes up to number `position`. `asked_s`: the time before.

        `online` is the number of players online, `run` the name of the run of Redis.
        """
        missing = position - self.position
        if self._lost or missing < 0 or len(names) < missing or run != self._run:
            self.forget()
            self._lost = False
            self._floor = 0
        else:
            for number, name in enumerate(names, self.position + 1):
                self._set(name.decode(), number)
        self.position = position
        self._run = run
        if self.crowded != (online > CROWDED_ABOVE):
            self.crowded = not self.crowded
            self._revision += 1
        self._confirmed_s = asked_s

    def note(self, entries: Iterable[Entry], number: int, *tokens: str) -> None:
        """Add changes of this worker, of which `number` is the last one, before they are read from the log.

        `tokens` are those of changed sessions.
        """
        for entry in entries:
            if entry.topic == STATUS:
                self._set(f"@{entry.author}", number)
            elif entry.topic not in PERMANENT_TOPICS:
                self._set(entry.topic, number)
        for token in tokens:
            self._set(f"~{token}", number)

    def _set(self, name: str, number: int) -> None:
        self._revision += 1
        if name.startswith("@"):
            author = int(name[1:])
            self._floor = max(self._floor, _put(self._statuses, author, number))
            if author != self._last_author:
                self._last_author, self._last_of_others = author, self._last
            self._last = max(self._last, number)
        else:
            self._floor = max(self._floor, _put(self._numbers, name, number))

    def is_unchanged(self, known: KnownSession, now_s: float, now_ms: int) -> bool:
        """Return whether the session has certainly nothing to read. `now_ms` is the Unix time in ms."""
        if now_s - self._confirmed_s > FRESH_S or now_s - known.polled_s > REFRESH_S or known.epoch != self.epoch:
            return False
        # PERF: 0.3 us. Without a change since the last check, the answer is the same.
        if known.revision == self._revision:
            return True
        at = known.at
        if at < self._floor:
            return False
        numbers = self._numbers
        for name in known.names:
            if numbers.get(name, 0) > at:
                return False
        if self._last > at and STATUS in known.session.follows and self._has_new_status(known, now_ms):
            return False
        known.revision = self._revision
        return True

    def _has_new_status(self, known: KnownSession, now_ms: int) -> bool:
        session, at = known.session, known.at
        interest = status_interest(session, crowded=self.crowded, now_ms=now_ms)
        if interest is None:
            of_others = self._last_of_others if session.user_id == self._last_author else self._last
            return of_others > at
        return any(self._statuses.get(author, 0) > at for author in interest if author != session.user_id)


def _put(table: OrderedDict[K, int], key: K, number: int) -> int:
    """Set a number, unless it has a higher one. Return the number that was dropped for it, or 0."""
    table[key] = max(number, table.pop(key, 0))
    return table.popitem(last=False)[1] if len(table) > NAMES_MAX else 0

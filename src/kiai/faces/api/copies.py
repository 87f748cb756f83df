"""Encoded answers that are kept for as long as they are right (docs/decisions/015).

A copy belongs to an operation and a query. It has the *version* of everything that it was made from: the rows as the
database returned them, or the stamp of a board (docs/decisions/007). A handler reads the version for each request and
returns `Versioned`; the copy is sent only if its version is the same. So nothing sends or receives an invalidation, and
a change shows at once in every process that shares the database.

On SQLite a copy also has the *stamp* of the database, which differs after every commit of any process. While it is the
same, an operation that depends on rows (`Operation.from_rows`) is answered without its handler. A copy that knows
the subjects of its rows is also sent after commits that have not touched them (`storage/touched.py`).

A copy is found by its query, and by the text of the query with which it was made.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Literal

import msgspec

from kiai.storage.port import Subject

BYTES_MAX: Final = 30 * 1024 * 1024
"""The size of all copies together. Beyond it, those that were not asked for the longest are dropped."""
COPY_MAX: Final = 256 * 1024
"""The size of the largest answer that is kept."""
TEXT_MAX: Final = 100
"""The characters of the longest query by whose text a copy is found."""
_OVERHEAD: Final = 1_650  # of the objects of a copy, its key, its text and its stamp, by `sys.getsizeof`
_SUBJECT: Final = 92

Key = tuple[str, msgspec.Struct]
Besides = int | Literal["offline"] | None
"""A value on which a reply depends, and which is in no row. It is small: it counts as overhead of a copy."""
Stamp = tuple[int, Besides]
"""The stamp of the database, and the value of `Operation.besides`."""


class Versioned(msgspec.Struct, frozen=True, gc=False):
    """A reply that `make` computes if no copy has this version.

    The version and the query determine the reply. `make` may read more only if the version covers it. `subjects` are
    those of all rows that determine it; without them, any commit counts.
    """

    version: bytes
    make: Callable[[], Awaitable[Any]]
    subjects: Callable[[], tuple[Subject, ...]] | None = None


class Copy:
    """An encoded answer. `following` has the changed parameters of the next page of a list, see `Operation`."""

    __slots__ = ("body", "etag", "following", "mark", "stamp", "subjects", "text", "version", "zipped")

    def __init__(self, version: bytes, body: bytes, following: dict[str, int | None] | None, text: str = "") -> None:
        self.version = version
        self.body = body
        self.following = following
        self.text = text if len(text) <= TEXT_MAX else ""
        self.etag = etag_of(body)
        self.stamp: Stamp | None = None
        self.subjects: tuple[Subject, ...] = ()
        self.mark: int | None = None
        self.zipped = b""

    @property
    def size(self) -> int:
        """The memory that it takes, in bytes."""
        subjects = _SUBJECT * len(self.subjects)
        return len(self.version) + len(self.body) + len(self.zipped) + subjects + _OVERHEAD


class Copies:
    """The copies of this process. `stamp`, `mark` and `is_untouched` are those of the database."""

    def __init__(
        self,
        stamp: Callable[[], int | None],
        bytes_max: int = BYTES_MAX,
        *,
        mark: Callable[[], int | None] = lambda: None,
        is_untouched: Callable[[Iterable[Subject], int], bool] = lambda subjects, mark: False,
    ) -> None:
        self.stamp = stamp
        self._mark = mark
        self._is_untouched = is_untouched
        self._bytes_max = bytes_max
        self._by_key: OrderedDict[Key, Copy] = OrderedDict()
        self._by_text: dict[tuple[str, str], Key] = {}
        self.outcomes = {"unchanged": 0, "untouched": 0, "same": 0, "made": 0, "dropped": 0}
        """Requests answered from a copy: without a commit since, after commits that have not touched it, and after a
        read of its version; copies made, and dropped for space."""
        self.bytes = 0

    def key_of(self, path: str, text: str) -> Key | None:
        """Return the key of a copy that was made for an operation and the text of a query, else None."""
        # PERF: in 2.3 us less than reading the query.
        return self._by_text.get((path, text))

    def unchanged(self, key: Key, stamp: Stamp) -> Copy | None:
        """Return the copy if nothing that concerns it has been committed since it was right, else None."""
        copy = self._by_key.get(key)
        if copy is None:
            return None
        if copy.stamp == stamp:
            self.outcomes["unchanged"] += 1
            if copy.mark is None and copy.subjects:
                copy.mark = self._mark()
        elif self._concerns_nothing(copy, stamp):
            self.outcomes["untouched"] += 1
            copy.stamp = stamp
        else:
            return None
        self._by_key.move_to_end(key)
        return copy

    def _concerns_nothing(self, copy: Copy, stamp: Stamp) -> bool:
        """Return whether the commits since the stamp of a copy have touched none of its subjects."""
        if copy.mark is None or copy.stamp is None or copy.stamp[1] != stamp[1]:
            return False
        return self._is_untouched(copy.subjects, copy.mark)

    def confirm(self, key: Key, copy: Copy, stamp: Stamp, subjects: Callable[[], tuple[Subject, ...]] | None) -> None:
        """Note that a copy is right at this stamp, which is the present one."""
        copy.stamp = stamp
        if subjects is not None and self._by_key.get(key) is copy:  # else it is too large to be kept
            if not copy.subjects:
                copy.subjects = subjects()
                self.bytes += _SUBJECT * len(copy.subjects)
                self._drop()
            copy.mark = self._mark()

    def same(self, key: Key, version: bytes) -> Copy | None:
        """Return the copy if it has this version, else None."""
        copy = self._by_key.get(key)
        if copy is None or copy.version != version:
            return None
        self._by_key.move_to_end(key)
        self.outcomes["same"] += 1
        return copy

    def store(self, key: Key, copy: Copy) -> None:
        """Store a copy that has just been made, in place of an older one."""
        self.outcomes["made"] += 1
        before = self._by_key.pop(key, None)
        if before is not None:
            self._forget(key, before)
        if copy.size > COPY_MAX:
            return
        self._by_key[key] = copy
        if copy.text:
            self._by_text[key[0], copy.text] = key
        self.bytes += copy.size
        self._drop()

    def zip(self, key: Key, copy: Copy, zipped: bytes) -> None:
        """Keep the compressed body of a copy."""
        if self._by_key.get(key) is copy and not copy.zipped:
            copy.zipped = zipped
            self.bytes += len(zipped)
            self._drop()

    def _drop(self) -> None:
        while self.bytes > self._bytes_max:
            self._forget(*self._by_key.popitem(last=False))
            self.outcomes["dropped"] += 1

    def _forget(self, key: Key, copy: Copy) -> None:
        self.bytes -= copy.size
        self._by_text.pop((key[0], copy.text), None)


def etag_of(body: bytes) -> bytes:
    """Return the ETag of a body. It is weak, because the compressed and the plain body have the same one."""
    return b'W/"%b"' % hashlib.blake2b(body, digest_size=9).hexdigest().encode()

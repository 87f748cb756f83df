"""The rule by which old backups are removed. Pure: it reads no folder."""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

PARTIAL: Final = ".partial"
"""End of the name of a backup that is being written."""
PARTIAL_KEPT_MS: Final = 86_400_000
"""Age up to which an incomplete backup stays: a server may still be writing it."""

_STAMP: Final = "%Y%m%dT%H%M%SZ"
_NAME: Final = re.compile(r"kiai-(\d{8}T\d{6}Z)(?:\.partial)?", re.ASCII)


class Retention(msgspec.Struct, frozen=True):
    """The numbers of backups that stay: the `last` ones, and the newest one of each of `daily` days, and so on, in UTC.

    Only days, weeks and months with a backup count. Weeks begin on Monday.
    """

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0


class StoredBackup(msgspec.Struct, frozen=True):
    """A backup in its place. `at_ms` is its start in unix ms.

    `ok` says that it is complete. The other fields have their defaults unless it is: `bytes` is its size with the
    database, `files` the number of files, `new_bytes` what it has written; the rest is as in its manifest.
    """

    name: str
    at_ms: int
    ok: bool
    bytes: int = 0
    files: int = 0
    new_bytes: int = 0
    sequence: int = 0
    sources: frozenset[str] = frozenset()
    passed_over: tuple[str, ...] = ()

    @property
    def is_partial(self) -> bool:
        """Whether it is being written, or was interrupted."""
        return self.name.endswith(PARTIAL)


def backup_name(at_ms: int) -> str:
    """Return the name of the folder of a backup that starts at this time."""
    return f"kiai-{datetime.fromtimestamp(at_ms // 1000, UTC):{_STAMP}}"


def time_of_name(name: str) -> int | None:
    """Return the unix ms in the name of a backup, complete or not. None for the name of something else."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    try:
        return int(datetime.strptime(found[1], _STAMP).replace(tzinfo=UTC).timestamp()) * 1000
    except ValueError:  # month 13
        return None


class NextBackup(msgspec.Struct, frozen=True):
    """The place of a new backup among the others. `base` is the backup whose files are not copied again, or None.

    The sequences of backups increase by time, whatever the clock says. `passed_over` are damaged backups that may have
    a higher sequence than `base` had.
    """

    base: str | None = None
    sequence: int = 1
    passed_over: tuple[str, ...] = ()


def chain(backups: Sequence[StoredBackup], *, shares: bool) -> NextBackup:
    """Return where the next backup continues: at the good one with the highest sequence.

    `shares` is whether backups share files, so that they must be a chain: then only one may have the highest sequence.
    """
    good = [one for one in backups if one.ok]
    highest = max((one.sequence for one in good), default=0)
    heads = [one for one in good if one.sequence == highest]
    damaged = {one.name for one in backups if not one.ok and not one.is_partial}
    if not heads or (shares and len(heads) > 1):
        return NextBackup(None, highest + 1)
    head = max(heads, key=lambda one: (one.at_ms, one.name))
    names = {one.name for one in backups}
    return NextBackup(head.name, highest + 1, tuple(sorted(damaged | (names & set(head.passed_over)))))


def is_linear(backups: Iterable[StoredBackup]) -> bool:
    """Return whether each of these good backups has the one before it as its base, or one that was removed between."""
    good = [one for one in backups if one.ok]
    passed_over = {name for one in good for name in one.passed_over}
    return len({one.sequence for one in good}) == len(good) and not passed_over & {one.name for one in good}


def newest_good(backups: Iterable[StoredBackup], now_ms: int) -> StoredBackup | None:
    """Return the newest complete backup up to now, None without one. A wrong clock may have dated others later."""
    past = (one for one in backups if one.ok and one.at_ms <= now_ms)
    return max(past, key=lambda one: (one.at_ms, one.name), default=None)


def removable(backups: Sequence[StoredBackup], keep: Retention, now_ms: int) -> list[str]:
    """Return the names of the backups to remove, the oldest first.

    - Complete ones that no part of `keep` holds, but never the newest one, nor the newest one up to now.
    - Incomplete ones that are named `.partial` and older than a day.

    A damaged one stays until the operator has looked at it.
    """
    good = sorted((one for one in backups if one.ok), key=lambda one: (one.at_ms, one.name), reverse=True)
    held = {one.name for one in good[: max(1, keep.last)]}
    newest = newest_good(good, now_ms)  # a wrong clock may have dated others later
    if newest is not None:
        held.add(newest.name)
    for count, period in ((keep.daily, _day), (keep.weekly, _week), (keep.monthly, _month)):
        held |= _newest_of_each(good, period, count)
    return [
        one.name
        for one in sorted(backups, key=lambda one: (one.at_ms, one.name))
        if (one.ok and one.name not in held) or (not one.ok and one.is_partial and now_ms - one.at_ms > PARTIAL_KEPT_MS)
    ]


def _newest_of_each(good: Sequence[StoredBackup], period: Callable[[int], tuple[int, ...]], count: int) -> set[str]:
    """Return the newest backup of each of the `count` newest periods. `good` has the newest one first."""
    held: dict[tuple[int, ...], str] = {}
    for one in good:
        held.setdefault(period(one.at_ms), one.name)
    return set(list(held.values())[:count])


def _day(at_ms: int) -> tuple[int, ...]:
    return (at_ms // 86_400_000,)


def _week(at_ms: int) -> tuple[int, ...]:
    return datetime.fromtimestamp(at_ms // 1000, UTC).isocalendar()[:2]


def _month(at_ms: int) -> tuple[int, ...]:
    at = datetime.fromtimestamp(at_ms // 1000, UTC)
    return (at.year, at.month)

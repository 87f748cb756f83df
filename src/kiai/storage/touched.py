"""Which rows the commits of this process have changed, and whether another process has committed (SQLite only).

`Database.stamp` differs after every commit, so it says nothing about single rows. Here triggers of the writer
connection note the subjects of the changed rows: the id of a player, the md5 of a map, or everything. They belong to
the connection (CREATE TEMP TRIGGER), so other processes do not run them. A commit of another process shows in `PRAGMA
data_version` of the writer connection, which only such commits change. It counts as a change of everything.

A *mark* is a number for the state of the database in a snapshot. Each look at the commits since the last one gets the
next number, and the subjects that they have touched are stored under it. A value that was read at a mark is unchanged
if none of its subjects has a larger number.

A look may find commits that its snapshot does not contain, because they came after its beginning. So only a later
snapshot with the same stamp has a mark: nothing was committed between the two.
"""

import sqlite3
import threading
from collections.abc import Iterable
from typing import Final

from sqlalchemy import Table

from kiai.storage.port import Subject
from kiai.storage.tables import clans, maps, old_names, scores, stats, users

EVERYTHING: Final = 0
"""Touched by changes that are rare, or that may concern any subject: maps, names, clans."""
REMEMBERED_MAX: Final = 50_000
"""Subjects with a number. Beyond it all are forgotten, as if everything had been touched."""
TOUCHED_MAX: Final = 5_000
"""Subjects of one look. More count as everything."""

_COUNTERS: Final = ("plays", "passes")
_UNSEEN: Final = {maps: {"board_version", "rating_sum", "rating_count"}, users: {"active_at_ms"}}
"""Columns that no reader of marks shows."""
_NAMES: Final = ("name", "safe_name")


def _all_but(table: Table, *names: str) -> list[str]:
    return [column.name for column in table.columns if column.name not in {*names, *_UNSEEN.get(table, ())}]


def _trigger(name: str, table: Table, event: str, subject: str, columns: Iterable[str] = ()) -> str:
    of = ", ".join(f'"{column}"' for column in columns)
    return (
        f"CREATE TEMP TRIGGER touched_{table.name}_{name} AFTER {event} {f'OF {of}' if of else ''} "
        f"ON main.{table.name} BEGIN SELECT touched({subject}); END"
    )


def _triggers() -> list[str]:
    found = []
    for table in (scores, stats):
        found += [
            _trigger("insert", table, "INSERT", "NEW.user_id"),
            _trigger("update", table, "UPDATE", "NEW.user_id"),
            _trigger("moved", table, "UPDATE", str(EVERYTHING), ["user_id"]),
            _trigger("delete", table, "DELETE", "OLD.user_id"),
        ]
    for table in (users, maps, clans, old_names):
        found += [_trigger(event.lower(), table, event, str(EVERYTHING)) for event in ("INSERT", "DELETE")]
    for table in (clans, old_names):
        found.append(_trigger("update", table, "UPDATE", str(EVERYTHING)))
    return [
        *found,
        _trigger("update", users, "UPDATE", "NEW.id", _all_but(users, *_NAMES)),
        _trigger("names", users, "UPDATE", str(EVERYTHING), ["id", *_NAMES]),
        _trigger("counters", maps, "UPDATE", "NEW.md5", _COUNTERS),
        _trigger("update", maps, "UPDATE", str(EVERYTHING), _all_but(maps, *_COUNTERS)),
    ]


class TouchedRows:
    """The subjects that commits have touched. `writes` is the only connection through which this process writes.

    A thread that uses the connection must hold `writing`. The other methods belong to the event loop.
    """

    def __init__(self, writes: sqlite3.Connection) -> None:
        self._writes = writes
        self.writing = threading.Lock()
        self._noted: set[Subject] = set()
        self._numbers: dict[Subject, int] = {}
        self._floor = 0  # the number of the last change of everything
        self._last = 0
        self._others = -1
        self._seen: int | None = None
        self._looked_in = 0
        self.is_on = self._install()

    def _install(self) -> bool:
        """Create the triggers. Return False for a database without the tables, which has no rows to read either."""
        self._writes.create_function("touched", 1, self._note)
        try:
            for text in _triggers():
                self._writes.execute(text)
        except sqlite3.OperationalError:
            return False
        return True

    def _note(self, subject: Subject) -> None:
        # In the writer thread. Also before a rollback: the subject was then touched in vain.
        if len(self._noted) < TOUCHED_MAX:
            self._noted.add(subject)
        else:
            self._noted.add(EVERYTHING)

    def look(self, stamp: int, snapshot: int) -> bool:
        """Take over what was touched since the last look. Return False while the writer works.

        `stamp` and `snapshot` are the stamp and the number of the present snapshot of the reads.
        """
        if stamp == self._seen:
            return True
        if not self.is_on or not self.writing.acquire(blocking=False):
            return False
        try:
            others = int(self._writes.execute("PRAGMA data_version").fetchone()[0])
            touched, self._noted = self._noted, set()
        except sqlite3.DatabaseError:
            return False
        finally:
            self.writing.release()
        self._seen, self._looked_in = stamp, snapshot
        self._last += 1
        if others != self._others or EVERYTHING in touched:
            self._others, self._floor = others, self._last
            self._numbers.clear()
            return True
        if len(self._numbers) + len(touched) > REMEMBERED_MAX:
            self._floor = self._last
            self._numbers.clear()
        self._numbers.update(dict.fromkeys(touched, self._last))
        return True

    def mark(self, stamp: int, snapshot: int) -> int | None:
        """Return the mark of the snapshot, or None if it has none."""
        return self._last if stamp == self._seen and snapshot != self._looked_in else None

    def is_untouched(self, subjects: Iterable[Subject], mark: int) -> bool:
        """Return whether no commit that was looked at has touched one of the subjects after the mark."""
        numbers = self._numbers
        return mark >= self._floor and all(numbers.get(subject, 0) <= mark for subject in subjects)

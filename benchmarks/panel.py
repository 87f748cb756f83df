"""`scripts/bench panel`: processor time of pages of the admin panel, with 1,000,000 users and 10,000,000 audit rows.

One owner requests each page in turn, one request at a time, over one connection. The time is processor time of the
server, without the time that its jobs take meanwhile. The median of the rounds counts. The budget is 5 ms for a page.
The growth is against a world with 1,000 users and 10,000 rows. Short lists of the small world cost less.
"""

import argparse
import contextlib
import http.client
import random
import secrets
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.__main__ import cpu_s, kiai
from kiai.accounts import web_sessions
from kiai.accounts.name_index import NameKind, parts_of
from kiai.osu.privileges import ROLES

CPU_BUDGET_MS: Final = 5.0
IDLE_S: Final = 3.0
SMALL: Final = (1_000, 10_000)
FIRST_ID: Final = 1_000
STAFF: Final = 40
"""Accounts of staff, which have done all acts."""
OWNER_ID: Final = FIRST_ID
DAY_MS: Final = 86_400_000
YEARS_MS: Final = 3 * 365 * DAY_MS
SYLLABLES: Final = (
    "ka",
    "ri",
    "mo",
    "ten",
    "shi",
    "va",
    "lo",
    "zu",
    "pen",
    "dra",
    "nix",
    "yo",
    "qua",
    "be",
    "cor",
    "mi",
)
ACTIONS: Final = ("silence", "note", "restrict", "unrestrict", "rename", "map_status", "flag_close", "kick")
COLUMNS: Final = "id, name, safe_name, email, priv, country, created_at_ms, active_at_ms"
ROWS_AT_ONCE: Final = 50_000


def name_of(number: int) -> str:
    """Return the name of the user with a number: letters first, so that names begin in many ways."""
    return "".join(SYLLABLES[number >> shift & 15] for shift in (0, 4, 8)) + f"{number:06}"


def pages(users: int) -> dict[str, list[str]]:
    """Return the targets of each page in a world with this number of users."""
    some = random.Random(1).sample(range(STAFF, users), 50)
    accounts = [FIRST_ID + number for number in some]
    staff = [name_of(number) for number in range(1, STAFF)]
    return {
        "start": ["/admin"],
        "users, newest": ["/admin/users"],
        "users, a deep page": [f"/admin/users?before={account}" for account in accounts],
        "users, a name": [f"/admin/users?q={name_of(number)}" for number in some],
        "users, a part of many names": [f"/admin/users?q={one}{two}" for one in SYLLABLES for two in SYLLABLES[:3]],
        "users, an id": [f"/admin/users?q=%23{account}" for account in accounts],
        "an account": [f"/admin/users/{account}" for account in accounts],
        "audit, newest": ["/admin/audit"],
        "audit, of an actor": [f"/admin/audit?actor={name}" for name in staff],
        "audit, about an account": [f"/admin/audit?target={name_of(number)}" for number in some],
        "audit, an action": [f"/admin/audit?action={action}" for action in ACTIONS],
        "audit, a rare action": ["/admin/audit?action=backup"],
        "audit, a day a year ago": ["/admin/audit?since=2025-05-03&until=2025-05-03"],
        "live": ["/admin/live"],
        "reports": ["/admin/reports"],
        "flags": ["/admin/flags"],
        "health": ["/admin/health"],
    }


def world(folder: Path, users: int, rows: int) -> Path:
    """Return a data folder with these numbers of users and rows of the audit log; create it if it does not exist."""
    data = folder / f"panel-{users}-{rows}"
    if not (data / "complete").exists():
        began = time.perf_counter()
        command = [sys.executable, "-m", "kiai", "demo", "--players", "16", "--maps", "6", "--scores", "60"]
        subprocess.run([*command, "--data", str(data)], check=True, stdout=subprocess.DEVNULL)
        with contextlib.closing(sqlite3.connect(data / "kiai.db")) as connection:
            fill(connection, users, rows)
        (data / "complete").touch()  # an interrupted run leaves a folder without this file
        Console().print(f"created {users:,} users and {rows:,} rows in {time.perf_counter() - began:.0f} s")
    return data


def fill(connection: sqlite3.Connection, users: int, rows: int) -> None:
    """Add users, the index of their names, and rows of the audit log."""
    now_ms = time.time_ns() // 1_000_000
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -500000")
    # A place in the middle of a large table costs a read each. Sorted rows go to its end.
    connection.execute("CREATE TEMP TABLE parts (kind, part, subject)")
    for batch in batches(users):
        connection.executemany(
            f"INSERT INTO users ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    FIRST_ID + number,
                    name_of(number),
                    name_of(number),
                    f"{number}@example.org",
                    ROLES["owner"] if number == 0 else 3 | (ROLES["moderator"] if number < STAFF else 0),
                    ("de", "us", "jp", "pl")[number % 4],
                    now_ms - YEARS_MS + number,
                    now_ms - YEARS_MS + number,
                )
                for number in batch
            ),
        )
        connection.executemany(
            "INSERT INTO parts VALUES (?, ?, ?)",
            ((*part, FIRST_ID + number) for number in batch for part in parts_of(NameKind.NAME, name_of(number))),
        )
    connection.execute("INSERT OR IGNORE INTO name_parts SELECT kind, part, subject FROM parts ORDER BY 1, 2, 3")
    connection.execute("DROP TABLE parts")
    chance = random.Random(2)
    for batch in batches(rows):
        connection.executemany(
            "INSERT INTO audit_log (at_ms, actor_id, source, action, target_kind, target_id, reason, details, hash)"
            " VALUES (?, ?, 'web', ?, 'user', ?, 'a reason', '{\"before\": 1, \"after\": 2}', 'x')",
            (
                (
                    now_ms - YEARS_MS + YEARS_MS // rows * number,
                    FIRST_ID + number % STAFF,
                    "backup" if number == 5 else ACTIONS[chance.randrange(8)],
                    FIRST_ID + chance.randrange(users),
                )
                for number in batch
            ),
        )
    connection.execute("UPDATE audit_head SET last_id = (SELECT max(id) FROM audit_log), hash = 'x'")
    connection.commit()
    connection.execute("ANALYZE")
    connection.commit()


def batches(count: int) -> Iterator[range]:
    """Yield the numbers below `count` in ranges."""
    for start in range(0, count, ROWS_AT_ONCE):
        yield range(start, min(count, start + ROWS_AT_ONCE))


class Panel:
    """A running server, and the session of its owner."""

    def __init__(self, data: Path, pid: int, port: int) -> None:
        self._pid = pid
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        token = secrets.token_urlsafe(web_sessions.TOKEN_BYTES)
        now_ms = time.time_ns() // 1_000_000
        with contextlib.closing(sqlite3.connect(data / "kiai.db", timeout=30)) as connection:
            connection.execute(
                "INSERT INTO web_sessions VALUES (?, ?, ?, ?, ?, ?, '127.0.0.1', 'kiai benchmarks')",
                (
                    web_sessions.token_hash(token),
                    OWNER_ID,
                    now_ms,
                    now_ms,
                    now_ms + web_sessions.SESSION_MS,
                    now_ms,
                ),
            )
            connection.commit()
        self._headers = {"Host": "localhost", "Cookie": f"kiai={token}"}
        before = cpu_s(pid)
        time.sleep(IDLE_S)
        self._idle_share = (cpu_s(pid) - before) / IDLE_S

    def get(self, target: str) -> None:
        """Request a page. Exits with an error if it is not shown."""
        self._connection.request("GET", target, headers=self._headers)
        answer = self._connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"{target}: {answer.status}")

    def cpu_ms(self, targets: list[str], count: int) -> float:
        """Return the processor time of a request, over `count` requests."""
        began, before = time.monotonic(), cpu_s(self._pid)
        for at in range(count):
            self.get(targets[at % len(targets)])
        took, spent = time.monotonic() - began, cpu_s(self._pid) - before
        return max(0.0, spent - self._idle_share * took) / count * 1_000


def main() -> int:
    """Measure all pages. Return 1 if a budget is missed, otherwise 0."""
    parser = argparse.ArgumentParser(prog="scripts/bench panel", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="page", help="only pages whose name begins so; default all")
    parser.add_argument("--users", type=int, default=1_000_000, help="users of the large world, default %(default)s")
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of its audit log, default %(default)s")
    parser.add_argument("--requests", type=int, default=100, help="requests of each measurement, default %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds, default %(default)s")
    parser.add_argument("--worlds", type=Path, default=Path(".bench"), help="folder of the worlds, default %(default)s")
    options = parser.parse_args()
    sizes = (SMALL, (options.users, options.rows))
    names = [name for name in pages(SMALL[0]) if not options.names or name.startswith(tuple(options.names))]
    found: dict[str, list[float]] = {name: [] for name in names}
    with contextlib.ExitStack() as running:
        panels = []
        for users, rows in sizes:
            data = world(options.worlds, users, rows)
            server, port = running.enter_context(kiai(data))
            panels.append((Panel(data, server.pid, port), pages(users)))
        for name in names:
            for panel, targets in panels:
                for target in targets[name]:
                    panel.get(target)
            by_world: list[list[float]] = [[], []]
            for _ in range(options.rounds):
                for at, (panel, targets) in enumerate(panels):
                    by_world[at].append(panel.cpu_ms(targets[name], options.requests))
            found[name] = [statistics.median(figures) for figures in by_world]
    return report(found, sizes)


def report(found: Mapping[str, list[float]], sizes: tuple[tuple[int, int], ...]) -> int:
    """Print the figures. Return 1 if a budget is missed, otherwise 0."""
    table = Table(title="Pages of the admin panel, CPU ms a request")
    for column in ("page", *[f"{users:,} users, {rows:,} rows" for users, rows in sizes], "growth", "budget"):
        table.add_column(column, justify="left" if column == "page" else "right")
    missed = False
    for name, (small, large) in found.items():
        ok = large <= CPU_BUDGET_MS
        missed = missed or not ok
        table.add_row(name, f"{small:.2f}", f"{large:.2f}", f"{large / small:.2f}", "kept" if ok else "missed")
    Console().print(table)
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())

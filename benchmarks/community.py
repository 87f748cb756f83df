"""`scripts/bench community`: the memory of idle IRC connections, and what evidence and webhooks add to a play.

The server and its clients run on this machine. Each client logs in with an account of its own, joins #osu and then only
answers the pings of the server. The CPU time of the statements is measured in this process, on SQLite: many in one
transaction, so that the commit does not count.
"""

import argparse
import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table
from tests import engines
from tests.builders import NOW_MS, World, a_map, a_play, a_player

from benchmarks.__main__ import free_port, process, rss_mb
from kiai.app import open_services
from kiai.ids import SystemIds
from kiai.scores.evidence.statements import ADD_UNEXAMINED
from kiai.secret_box import SecretBox
from kiai.settings import load_settings
from kiai.staff import OPERATOR
from kiai.staff.webhooks import WebhookEditor
from kiai.storage.port import Transaction
from kiai.storage.sqlite import SqliteDatabase
from kiai.webhooks import Webhooks, enqueue
from kiai.webhooks.model import EVENTS, WEBHOOKS_MAX
from kiai.webhooks.sending import Sender

CONNECTION_KB: Final = 20.0
"""Budget of one idle connection with its session."""
ROW_SHARE: Final = 0.05
"""Budget of the row for the search for evidence, as a share of the transaction of a play."""
ENQUEUE_SHARE: Final = 0.1
"""Budget of `enqueue` with one webhook, as a share of the same transaction."""
LOGINS_AT_ONCE: Final = 20
SETTLE_S: Final = 3.0
LOGGED_IN_S: Final = 120.0
PLAYS: Final = 400
STATEMENTS: Final = 2_000
ROUNDS: Final = 5

console = Console()


async def add_accounts(data: Path, count: int) -> list[tuple[str, str]]:
    """Create accounts with IRC passwords. Return names and passwords."""
    async with open_services(load_settings(data=data)) as services:
        stored = await services.passwords.hash("0" * 32)

        async def one_hash(*_: object) -> str:  # a hash for each account would take minutes
            return stored

        services.passwords.hash = one_hash  # type: ignore[method-assign, assignment]
        found = []
        for number in range(count):
            name = f"player{number}x"
            user_id = await services.accounts.register(
                name=name, email=f"{name}@example.org", password="not used 123", priv=3, country="nl"
            )
            found.append((name, await services.site.irc_passwords.create(user_id)))
        return found


async def keep_connected(port: int, accounts: list[tuple[str, str]], work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` while each account has a connection."""
    turns = asyncio.Semaphore(LOGINS_AT_ONCE)
    writers: list[asyncio.StreamWriter] = []
    answering: list[asyncio.Task[None]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                if line.startswith(b"PING"):
                    writer.write(b"PONG" + line[4:])

    async def connect(name: str, password: str) -> None:
        async with turns:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"PASS {password}\r\nNICK {name}\r\nUSER {name} 0 * :x\r\nJOIN #osu\r\n".encode())
            async with asyncio.timeout(LOGGED_IN_S):
                while b" 366 " not in (line := await reader.readline()):
                    assert line, f"{name} was not let in"
            writers.append(writer)
            answering.append(asyncio.create_task(answer(reader, writer)))

    await asyncio.gather(*(connect(*account) for account in accounts))
    await work()
    for task in answering:
        task.cancel()
    for writer in writers:
        writer.close()


def connection_kb(folder: Path, connections: int) -> float:
    """Return the memory of an idle connection in KB: what the second half of the connections adds to the server."""
    data = folder / "irc"
    accounts = asyncio.run(add_accounts(data, connections))
    port, irc_port = free_port(), free_port()
    command = [sys.executable, "-m", "kiai", "serve", "--port", str(port), "--data", str(data)]
    settings = {"KIAI_RATE_LIMITS": "off", "KIAI_IRC": f"127.0.0.1:{irc_port}"}
    sizes: list[float] = []

    async def note() -> None:
        await asyncio.sleep(SETTLE_S)
        sizes.append(rss_mb(child.pid))

    async def halves() -> None:
        half = len(accounts) // 2

        async def second() -> None:
            await note()
            await keep_connected(irc_port, accounts[half:], note)

        await keep_connected(irc_port, accounts[:half], second)

    with process(command, port, settings) as (child, _):
        asyncio.run(halves())
    first, both = sizes
    return (both - first) * 1024 / (len(accounts) - len(accounts) // 2)


@contextlib.contextmanager
def a_world(folder: Path) -> Iterator[World]:
    """Open the services of tests on an SQLite file, with a real disk under it."""
    folder.mkdir()
    shutil.copyfile(engines.sqlite_template(), folder / "kiai.db")
    with asyncio.Runner() as runner:
        database = SqliteDatabase(folder / "kiai.db")
        yield World(database, runner.run, folder)
        runner.run(database.close())


def statement_us(world: World, run: Callable[[Transaction, int], Awaitable[object]]) -> float:
    """Return the best mean CPU time of a statement, in microseconds, over some rounds."""

    async def body(tx: Transaction) -> float:
        began = time.process_time()
        for number in range(STATEMENTS):
            await run(tx, number)
        return time.process_time() - began

    return min(world.run(world.database.transaction(body)) for _ in range(ROUNDS)) / STATEMENTS * 1e6


def statements(folder: Path) -> dict[str, float]:
    """Return the CPU times of the transaction of a play and of the statements, in microseconds."""
    found: dict[str, float] = {}
    with a_world(folder / "plays") as world:
        players = [world.add_player(a_player(f"player{number}")) for number in range(4)]
        songs = [world.add_map(a_map(100 + number)) for number in range(4)]
        plays = [
            a_play(by=players[number % 4], on=songs[number // 4 % 4], score=1_000 + number, pp=float(number % 300))
            for number in range(PLAYS)
        ]
        began = time.process_time()
        for play in plays:
            world.record(play)
        found["transaction of a play"] = (time.process_time() - began) / PLAYS * 1e6

        numbers = iter(range(1_000_000, 100_000_000))
        found["row for the search for evidence"] = statement_us(
            world, lambda tx, _: tx.run(ADD_UNEXAMINED, score_id=next(numbers), due_at_ms=NOW_MS)
        )

        async def an_event(tx: Transaction, number: int) -> None:
            await enqueue(tx, "first_place", {"player": 3, "map_id": number, "previous": None}, NOW_MS)

        found["enqueue, no webhook"] = statement_us(world, an_event)
        add_webhooks(world, 1)
        found["enqueue, 1 webhook"] = statement_us(world, an_event)
        add_webhooks(world, WEBHOOKS_MAX - 1)
        found[f"enqueue, {WEBHOOKS_MAX} webhooks"] = statement_us(world, an_event)
    return found


def add_webhooks(world: World, count: int) -> None:
    """Add webhooks that want all events."""
    sender = Sender(allow_private=True)
    box = SecretBox(world.folder, world.clock)
    webhooks = Webhooks(world.database, world.clock, SystemIds(), box, sender, server="x", link=lambda path: path)
    editor = WebhookEditor(world.authority, webhooks, world.clock)
    for _ in range(count):
        world.run(editor.add(OPERATOR, "http://127.0.0.1:9/", list(EVENTS)))


class Row(msgspec.Struct, frozen=True):
    """One line of the result. `budget` is None without one."""

    what: str
    figure: float
    unit: str
    budget: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the figure is within its budget."""
        return self.budget is None or self.figure <= self.budget


def main() -> int:
    """Run the benchmark. Return 1 if a budget is missed, otherwise 0."""
    parser = argparse.ArgumentParser(prog="scripts/bench community", description=__doc__)
    parser.add_argument("--connections", type=int, default=2_000, help="IRC connections, default %(default)s")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        times = statements(Path(folder))
        kb = connection_kb(Path(folder), options.connections)
    play = times["transaction of a play"]
    rows = [Row(f"idle IRC connection, of {options.connections:,}", kb, "KB", CONNECTION_KB)]
    rows += [Row(what, figure, "us") for what, figure in times.items()]
    rows.append(Row("evidence row / transaction", times["row for the search for evidence"] / play, "", ROW_SHARE))
    rows.append(Row("enqueue, 1 webhook / transaction", times["enqueue, 1 webhook"] / play, "", ENQUEUE_SHARE))
    table = Table(title="community")
    for column in ("what", "figure", "unit", "verdict"):
        table.add_column(column, justify="right" if column == "figure" else "left")
    for row in rows:
        verdict = "" if row.budget is None else f"{'ok' if row.holds else 'MISSED'} <= {row.budget:g}"
        table.add_row(row.what, f"{row.figure:.3g}", row.unit, verdict)
    console.print(table)
    if options.json:
        figures: dict[str, Any] = {row.what: {"figure": row.figure, "unit": row.unit} for row in rows}
        Path(options.json).write_text(json.dumps(figures, indent=2))
    missed = [row.what for row in rows if not row.holds]
    console.print("all budgets hold" if not missed else f"missed: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

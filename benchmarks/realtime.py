"""`scripts/bench realtime`: polls and log-ins of game clients, as ratios against a bare ASGI application.

The floor answers an empty body, which is what an idle poll gets, on the same uvicorn. Server and load run on separate
cores where there are two. Accounts share one password hash, so that it is computed once and then remembered, as it is
for an hour on a living server.
"""

import argparse
import contextlib
import hashlib
import json
import sqlite3
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.__main__ import free_port, kiai, pinned, process, rss_mb

PASSWORD: Final = "benchmark passw0rd"
HOST: Final = "c.localhost"
ACCOUNTS: Final = 12_000
SESSIONS: Final = 1_000
MANY: Final = 5_000
LOGINS: Final = 300  # a round: they come on top of the thousand
BUDGETS: Final = {
    "empty poll, 1 session": 0.6,
    "empty poll, 1,000 sessions": 0.6,
    "every 20th a status change": 0.5,
    "log-in at 1,000 online (to an empty poll)": 0.1,
}
SESSION_KB: Final = 12.0

console = Console()


def request(body: bytes, token: str = "") -> bytes:
    """A whole request of a game client."""
    head = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: osu!\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + (f"osu-token: {token}\r\n".encode() if token else b"") + b"\r\n" + body


def login(number: int) -> bytes:
    """The log-in of one of the accounts."""
    md5 = hashlib.md5(PASSWORD.encode(), usedforsecurity=False).hexdigest()
    device = hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()
    return request(
        f"player{number}x\n{md5}\nb20250415.2|0|0|{device}:{number:012X}.:{device}:{device}:{device}:|0\n".encode()
    )


def status(number: int) -> bytes:
    """CHANGE_ACTION: playing something."""
    text = f"Some Artist - Some Title [Version {number}]".encode()
    payload = struct.pack("<B", 2) + b"\x0b" + bytes((len(text),)) + text + b"\x00" + struct.pack("<IBi", 0, 0, 75)
    return struct.pack("<HBI", 0, 0, len(payload)) + payload


def accounts(data: Path) -> None:
    """A data folder with many accounts of one password."""
    subprocess.run(
        [sys.executable, "-m", "kiai", "migrate", "--data", str(data)], check=True, stdout=subprocess.DEVNULL
    )
    command = [sys.executable, "-m", "kiai", "users", "add", "player0x", "--email", "player0@example.org"]
    subprocess.run([*command, "--password", PASSWORD, "--data", str(data)], check=True, stdout=subprocess.DEVNULL)
    with contextlib.closing(sqlite3.connect(data / "kiai.db")) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(users)")]
        copied = [one for one in columns if one not in ("id", "name", "safe_name", "email")]
        database.executemany(
            f"INSERT INTO users (name, safe_name, email, {', '.join(copied)}) "
            f"SELECT ?, ?, ?, {', '.join(copied)} FROM users WHERE safe_name = 'player0x'",
            [(f"player{n}x", f"player{n}x", f"player{n}@example.org") for n in range(1, ACCOUNTS)],
        )
        database.commit()


class Server:
    """kiai with sessions."""

    def __init__(self, child: subprocess.Popen[bytes], port: int) -> None:
        self.pid = child.pid
        self.port = port
        self.tokens: list[str] = []

    def log_in(self, count: int) -> None:
        """So many more sessions."""
        for number in range(len(self.tokens), len(self.tokens) + count):
            raw = login(number)
            asked = urllib.request.Request(
                f"http://127.0.0.1:{self.port}/",
                raw.partition(b"\r\n\r\n")[2],
                {"Host": HOST, "User-Agent": "osu!"},
            )
            with urllib.request.urlopen(asked) as answer:
                token = answer.headers["cho-token"]
                assert len(token) == 36, token
                self.tokens.append(token)

    def polls(self, sessions: int) -> list[bytes]:
        """An empty poll of each of so many sessions."""
        return [request(b"", token) for token in self.tokens[:sessions]]

    def mixed(self, sessions: int) -> list[bytes]:
        """The same, but every twentieth changes its status."""
        return [
            request(b"" if number % 20 else status(number), token)
            for number, token in enumerate(self.tokens[:sessions])
        ]


@contextlib.contextmanager
def bare() -> Iterator[int]:
    """The floor."""
    port = free_port()
    with process([sys.executable, "-m", "benchmarks.realtime", "--floor", str(port)], port, {}):
        yield port


def load(port: int, requests: list[bytes], connections: int, seconds: float) -> dict[str, Any]:
    """What came of asking these for so long (0: each once)."""
    command = [sys.executable, "-m", "benchmarks.load", str(port), "-", str(connections), str(seconds)]
    done = subprocess.run(
        command,
        input="\n".join(one.hex() for one in requests),
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=pinned(1),
    )
    found: dict[str, Any] = json.loads(done.stdout)
    assert not found["faults"], found
    return found


def main() -> int:
    """Measures; exit code 1 when a budget is missed."""
    parser = argparse.ArgumentParser(prog="scripts/bench realtime", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement, default %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default %(default)s")
    parser.add_argument("--connections", type=int, default=100, help="default %(default)s")
    parser.add_argument("--json", metavar="FILE", help="writes the figures there too")
    parser.add_argument("--floor", type=int, metavar="PORT", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.floor:
        return serve_floor(asked.floor)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        data = Path(folder) / "data"
        accounts(data)
        floor = running.enter_context(bare())
        server = Server(*running.enter_context(kiai(data)))
        figures = measure(server, floor, asked)
    if asked.json:
        Path(asked.json).write_text(json.dumps(figures, indent=2))
    return report(figures)


def measure(server: Server, floor: int, asked: argparse.Namespace) -> dict[str, Any]:
    """Every figure, each the median of the rounds; floor and server in turn."""

    def rate(requests: list[bytes], *, to: int = server.port) -> float:
        return float(load(to, requests, asked.connections, asked.seconds)["per_s"])

    def against_floor(requests: list[bytes]) -> dict[str, float]:
        pairs = [(rate(requests, to=floor), rate(requests)) for _ in range(asked.rounds)]
        return {
            "floor": statistics.median(bare for bare, _ in pairs),
            "per_s": statistics.median(ours for _, ours in pairs),
            "ratio": statistics.median(ours / bare for bare, ours in pairs),
        }

    server.log_in(10)
    at_10 = statistics.median(rate(server.mixed(10)) for _ in range(asked.rounds))
    figures: dict[str, Any] = {"empty poll, 1 session": against_floor(server.polls(1))}
    before_mb = rss_mb(server.pid)
    server.log_in(SESSIONS - 10)
    figures["empty poll, 1,000 sessions"] = against_floor(server.polls(SESSIONS))
    figures["every 20th a status change"] = against_floor(server.mixed(SESSIONS))
    poll = figures["empty poll, 1,000 sessions"]["per_s"]
    logins = []
    for turn in range(asked.rounds):
        first = MANY + turn * LOGINS
        wanted = [login(number) for number in range(first, first + LOGINS)]
        logins.append(float(load(server.port, wanted, 32, 0)["per_s"]))
    made = statistics.median(logins)
    figures["log-in at 1,000 online (to an empty poll)"] = {"floor": poll, "per_s": made, "ratio": made / poll}
    sessions = SESSIONS + LOGINS * asked.rounds
    server.log_in(MANY - SESSIONS)
    time.sleep(1.0)
    figures["session_kb"] = (rss_mb(server.pid) - before_mb) * 1024 / (sessions + MANY - SESSIONS - 10)
    at_many = statistics.median(rate(server.mixed(10)) for _ in range(asked.rounds))
    figures["status_change"] = {"at_10": at_10, "at_many": at_many, "ratio": at_many / at_10}
    figures["rss_mb"] = rss_mb(server.pid)
    return figures


def report(figures: dict[str, Any]) -> int:
    """The table, and whether budgets hold."""
    table = Table("what", "floor/s", "kiai/s", "ratio", "budget", "")
    missed = 0
    for name, budget in BUDGETS.items():
        found = figures[name]
        holds = found["ratio"] >= budget
        missed += not holds
        table.add_row(
            name,
            f"{found['floor']:,.0f}",
            f"{found['per_s']:,.0f}",
            f"{found['ratio']:.2f}",
            f">= {budget}",
            "holds" if holds else "missed",
        )
    console.print(table)
    per_session = figures["session_kb"]
    missed += per_session > SESSION_KB
    console.print(
        f"memory per idle session: {per_session:.1f} KB (budget {SESSION_KB:.0f}); RSS {figures['rss_mb']:.0f} MB"
    )
    change = figures["status_change"]
    console.print(
        f"requests/s of ten sessions, every 20th a status change: {change['at_10']:,.0f} with 10 online, "
        f"{change['at_many']:,.0f} with more than {MANY:,} ({change['ratio']:.2f})"
    )
    return 1 if missed else 0


def serve_floor(port: int) -> int:
    """A bare ASGI application that answers an empty poll."""
    import uvicorn

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"content-type", b"application/octet-stream"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    config = uvicorn.Config(
        app,
        port=port,
        lifespan="off",
        access_log=False,
        log_level="warning",
        http="httptools",
        loop="uvloop",
        ws="none",
    )
    uvicorn.Server(config).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())

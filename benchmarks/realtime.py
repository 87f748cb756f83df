"""`scripts/bench realtime`: polls and logins of game clients, as ratios to a bare ASGI application.

The floor runs on the same uvicorn and returns an empty body, like an idle poll. Server and load run on separate cores.
All accounts have the same password hash, which the server computes once and caches, as it does for an hour in use.
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
MANY_SESSIONS: Final = 5_000
LOGINS: Final = 300  # per round, in addition to the 1,000 sessions
BUDGETS: Final = {
    "empty poll, 1 session": 0.9,
    "empty poll, 1,000 sessions": 0.75,
    "every 20th a status change": 0.75,
    "login at 1,000 online (to an empty poll)": 0.032,
}
SESSION_KB: Final = 12.0

console = Console()


def request(body: bytes, token: str = "") -> bytes:
    """Return a complete request of a game client."""
    head = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: osu!\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + (f"osu-token: {token}\r\n".encode() if token else b"") + b"\r\n" + body


def login(number: int) -> bytes:
    """Return the login request of an account."""
    md5 = hashlib.md5(PASSWORD.encode(), usedforsecurity=False).hexdigest()
    device = hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()
    return request(
        f"player{number}x\n{md5}\nb20250415.2|0|0|{device}:{number:012X}.:{device}:{device}:{device}:|0\n".encode()
    )


def status(number: int) -> bytes:
    """Return a CHANGE_ACTION packet: the player plays a map."""
    text = f"Some Artist - Some Title [Version {number}]".encode()
    payload = struct.pack("<B", 2) + b"\x0b" + bytes((len(text),)) + text + b"\x00" + struct.pack("<IBi", 0, 0, 75)
    return struct.pack("<HBI", 0, 0, len(payload)) + payload


def accounts(data: Path) -> None:
    """Create a data folder with accounts that have the same password."""
    subprocess.run(
        [sys.executable, "-m", "kiai", "migrate", "--data", str(data)], check=True, stdout=subprocess.DEVNULL
    )
    command = [sys.executable, "-m", "kiai", "users", "add", "player0x", "--email", "player0@example.org"]
    subprocess.run([*command, "--password", PASSWORD, "--data", str(data)], check=True, stdout=subprocess.DEVNULL)
    with contextlib.closing(sqlite3.connect(data / "kiai.db")) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(users)")]
        copied = [column for column in columns if column not in ("id", "name", "safe_name", "email")]
        database.executemany(
            f"INSERT INTO users (name, safe_name, email, {', '.join(copied)}) "
            f"SELECT ?, ?, ?, {', '.join(copied)} FROM users WHERE safe_name = 'player0x'",
            [(f"player{n}x", f"player{n}x", f"player{n}@example.org") for n in range(1, ACCOUNTS)],
        )
        database.commit()


class Server:
    """A running server with the tokens of its sessions."""

    def __init__(self, child: subprocess.Popen[bytes], port: int) -> None:
        self.pid = child.pid
        self.port = port
        self.tokens: list[str] = []

    def log_in(self, count: int) -> None:
        """Open `count` more sessions."""
        for number in range(len(self.tokens), len(self.tokens) + count):
            raw = login(number)
            http_request = urllib.request.Request(
                f"http://127.0.0.1:{self.port}/",
                raw.partition(b"\r\n\r\n")[2],
                {"Host": HOST, "User-Agent": "osu!"},
            )
            with urllib.request.urlopen(http_request) as answer:
                token = answer.headers["cho-token"]
                assert len(token) == 36, token
                self.tokens.append(token)

    def polls(self, sessions: int) -> list[bytes]:
        """Return an empty poll for each of the first sessions."""
        return [request(b"", token) for token in self.tokens[:sessions]]

    def mixed(self, sessions: int) -> list[bytes]:
        """Return a poll for each of the first sessions; every twentieth changes the status."""
        return [
            request(b"" if number % 20 else status(number), token)
            for number, token in enumerate(self.tokens[:sessions])
        ]


@contextlib.contextmanager
def bare() -> Iterator[int]:
    """Run the floor and yield its port."""
    port = free_port()
    with process([sys.executable, "-m", "benchmarks.realtime", "--floor", str(port)], port, {}):
        yield port


def load(port: int, requests: list[bytes], connections: int, seconds: float) -> dict[str, Any]:
    """Send these requests for `seconds` (0: each one once) and return the figures."""
    command = [sys.executable, "-m", "benchmarks.load", str(port), "-", str(connections), str(seconds)]
    done = subprocess.run(
        command,
        input="\n".join(raw.hex() for raw in requests),
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=pinned(1),
    )
    found: dict[str, Any] = json.loads(done.stdout)
    assert not found["faults"], found
    return found


def main() -> int:
    """Run the benchmark. Return 1 if a budget is missed, otherwise 0."""
    parser = argparse.ArgumentParser(prog="scripts/bench realtime", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="duration of each measurement, default %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds, default %(default)s")
    parser.add_argument("--connections", type=int, default=100, help="number of connections, default %(default)s")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--floor", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.floor:
        return serve_floor(options.floor)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        data = Path(folder) / "data"
        accounts(data)
        floor = running.enter_context(bare())
        server = Server(*running.enter_context(kiai(data)))
        figures = measure(server, floor, options)
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2))
    return report(figures)


def measure(server: Server, floor: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return all figures, each as the median of the rounds. Floor and server are measured in turn."""

    def rate(requests: list[bytes], *, to: int = server.port) -> float:
        return float(load(to, requests, options.connections, options.seconds)["per_s"])

    def against_floor(requests: list[bytes]) -> dict[str, float]:
        pairs = [(rate(requests, to=floor), rate(requests)) for _ in range(options.rounds)]
        return {
            "floor": statistics.median(bare for bare, _ in pairs),
            "per_s": statistics.median(kiai_rate for _, kiai_rate in pairs),
            "ratio": statistics.median(kiai_rate / bare for bare, kiai_rate in pairs),
        }

    server.log_in(10)
    at_10 = statistics.median(rate(server.mixed(10)) for _ in range(options.rounds))
    figures: dict[str, Any] = {"empty poll, 1 session": against_floor(server.polls(1))}
    before_mb = rss_mb(server.pid)
    server.log_in(SESSIONS - 10)
    figures["empty poll, 1,000 sessions"] = against_floor(server.polls(SESSIONS))
    figures["every 20th a status change"] = against_floor(server.mixed(SESSIONS))
    poll = figures["empty poll, 1,000 sessions"]["per_s"]
    logins = []
    for number_of_round in range(options.rounds):
        # Accounts beyond those that `log_in` uses: a second login of an account would end its first session.
        first = MANY_SESSIONS + number_of_round * LOGINS
        batch = [login(number) for number in range(first, first + LOGINS)]
        logins.append(float(load(server.port, batch, 32, 0)["per_s"]))
    per_s = statistics.median(logins)
    figures["login at 1,000 online (to an empty poll)"] = {"floor": poll, "per_s": per_s, "ratio": per_s / poll}
    sessions = SESSIONS + LOGINS * options.rounds
    server.log_in(MANY_SESSIONS - SESSIONS)
    time.sleep(1.0)  # lets periodic jobs run, which release memory of the logins
    figures["session_kb"] = (rss_mb(server.pid) - before_mb) * 1024 / (sessions + MANY_SESSIONS - SESSIONS - 10)
    at_many = statistics.median(rate(server.mixed(10)) for _ in range(options.rounds))
    figures["status_change"] = {"at_10": at_10, "at_many": at_many, "ratio": at_many / at_10}
    figures["rss_mb"] = rss_mb(server.pid)
    return figures


def report(figures: dict[str, Any]) -> int:
    """Print the table. Return 1 if a budget is missed, otherwise 0."""
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
            "ok" if holds else "MISSED",
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
        f"{change['at_many']:,.0f} with more than {MANY_SESSIONS:,} ({change['ratio']:.2f})"
    )
    return 1 if missed else 0


def serve_floor(port: int) -> int:
    """Serve a bare ASGI application that answers like an empty poll."""
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

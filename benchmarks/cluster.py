"""`scripts/bench --cluster`: polls, boards and plays with one, two and four workers over PostgreSQL and Redis.

Everything runs on this machine, the load and both stores too: what counts is how figures grow with workers where there
are processors for them, and what a request costs in each part.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from rich.console import Console
from rich.table import Table
from tests import engines
from tests.builders import a_map
from tests.redises import RedisServer
from tests.wire.submitting import BUILD, CLIENT_HASH, OSU, SUBMIT, Played, multipart, password_md5

from benchmarks.__main__ import free_port, process
from kiai.app import open_services
from kiai.settings import load_settings
from kiai.storage.tables import users

PASSWORD: Final = "correct horse 7"
SESSIONS: Final = 100
PLAYS: Final = 800
WARMING: Final = 400
WORKERS: Final = (1, 2, 4)
SONGS: Final = [a_map(100 + n, objects=100, title=f"Song {n}") for n in range(8)]

console = Console()


def main() -> int:
    """Measures each number of workers on a cluster of its own."""
    parser = argparse.ArgumentParser(prog="scripts/bench --cluster", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement, default %(default)s")
    parser.add_argument("--json", metavar="FILE", help="writes the figures there too")
    asked = parser.parse_args()
    table = Table(title=f"workers, on {os.cpu_count()} processors with load, PostgreSQL and Redis")
    for column in ("workers", "what", "a second", "p99 ms", "worker us", "PostgreSQL us", "Redis us"):
        table.add_column(column, justify="right")
    figures = {}
    for workers in WORKERS:
        found = figures[str(workers)] = measured(workers, asked.seconds)
        for name, one in found.items():
            costs = [f"{one[f'{part}_us']:,.0f}" for part in ("worker", "postgresql", "redis")]
            table.add_row(str(workers), name, f"{one['per_s']:,.0f}", f"{one['p99_ms']:.1f}", *costs)
    console.print(table)
    if asked.json:
        Path(asked.json).write_text(json.dumps(figures, indent=2))
    return 0


def measured(workers: int, seconds: float) -> dict[str, Any]:
    """The figures of so many workers."""
    redis = RedisServer()
    try:
        with tempfile.TemporaryDirectory() as folder, engines.postgres_database() as url:
            data = Path(folder) / "data"
            asyncio.run(prepared(data, url))
            engines.execute(url, *more_accounts())
            port = free_port()
            command = [sys.executable, "-m", "kiai", "serve", "--port", str(port), "--data", str(data)]
            command += ["--database", url, "--state", redis.url, "--workers", str(workers)]
            with process(command, port, {"KIAI_RATE_LIMITS": "off"}) as (server, _):
                tokens = [logged_in(port, number) for number in range(SESSIONS)]
                assert redis.process is not None
                polls = [
                    f"POST / HTTP/1.1\r\nHost: c.localhost\r\nUser-Agent: osu!\r\nosu-token: {token}\r\n"
                    "Content-Length: 0\r\n\r\n".encode()
                    for token in tokens
                ]
                load(port, polls, 0.5)
                parts = {"worker": server.pid, "postgresql": engines.postgres_pid(), "redis": redis.process.pid}
                polled = costed(parts, port, polls, seconds)
                # Each worker checks a password once; what that costs is not what a board or a play costs.
                load(port, [board(song.md5) for song in SONGS], 1.0 * workers, connections=16)
                load(port, [play(PLAYS + n) for n in range(WARMING)], 0, connections=16)
                return {
                    "polls": polled,
                    "boards": costed(parts, port, [board(song.md5) for song in SONGS], seconds),
                    "plays": costed(parts, port, [play(n) for n in range(PLAYS)], 0, connections=16),
                }
    finally:
        redis.close()


async def prepared(data: Path, url: str) -> None:
    """An account and maps."""
    async with open_services(load_settings(data=data, database=url)) as services:
        await services.accounts.register(name="bench 0", email="bench0@example.org", password=PASSWORD, priv=3)
        for song in SONGS:
            await services.importer.import_file(song.data, name="map", status=None)


def more_accounts() -> list[str]:
    """The others are copies of the first: one password hash, which a worker computes once and then remembers."""
    same = [column.name for column in users.c if column.name not in ("id", "name", "safe_name", "email")]
    copied = ", ".join(same)
    return [
        f"INSERT INTO users (name, safe_name, email, {copied}) "
        f"SELECT 'bench {number}', 'bench_{number}', 'bench{number}@example.org', {copied} "
        "FROM users WHERE safe_name = 'bench_0'"
        for number in range(1, SESSIONS)
    ]


def logged_in(port: int, number: int) -> str:
    """A session's token."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = f"bench {number}\n{password_md5(PASSWORD)}\nb{BUILD}|0|0|{CLIENT_HASH}|0\n".encode()
    connection.request("POST", "/", body, {"Host": "c.localhost", "User-Agent": "osu!"})
    token = connection.getresponse().headers["cho-token"] or ""
    connection.close()
    assert len(token) == 36, token
    return token


def board(md5: str, number: int = 0) -> bytes:
    """A request of song select."""
    query = {
        "us": f"bench {number}",
        "ha": password_md5(PASSWORD),
        "s": 0,
        "vv": 4,
        "v": 1,
        "m": 0,
        "mods": 0,
        "c": md5,
    }
    target = "/web/osu-osz2-getscores.php?" + urlencode(query, quote_via=quote)
    return f"GET {target} HTTP/1.1\r\nHost: {OSU}\r\nUser-Agent: osu!\r\n\r\n".encode()


def play(number: int) -> bytes:
    """A request that submits a play."""
    played = Played(
        SONGS[number % len(SONGS)].md5, f"bench {number % SESSIONS}", score=1_000 + number, password=PASSWORD
    )
    body, kind = multipart(played.parts())
    head = (
        f"POST {SUBMIT} HTTP/1.1\r\nHost: {OSU}\r\nUser-Agent: osu!\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def costed(
    parts: dict[str, int], port: int, requests: list[bytes], seconds: float, connections: int = 64
) -> dict[str, Any]:
    """As `load`, with the processor time that a request takes in each part, us."""
    before = {part: family_cpu_s(pid) for part, pid in parts.items()}
    found = load(port, requests, seconds, connections)
    return found | {
        f"{part}_us": (family_cpu_s(pid) - before[part]) / found["requests"] * 1e6 for part, pid in parts.items()
    }


def family_cpu_s(pid: int) -> float:
    """Processor time of a process and of all that descend from it, those that ended included."""
    total = 0
    for one in family(pid):
        with contextlib.suppress(FileNotFoundError):  # it has just ended
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(field) for field in fields[11:15])
    return total / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """A process and all that descend from it: workers, and what computes pp for them."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    children: dict[int, list[int]] = {}
    for line in listed.splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def load(port: int, requests: list[bytes], seconds: float, connections: int = 64) -> dict[str, Any]:
    """What came of asking these for so long (0: each once)."""
    command = [sys.executable, "-m", "benchmarks.load", str(port), "-", str(connections), str(seconds)]
    done = subprocess.run(
        command, input="\n".join(one.hex() for one in requests), capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    assert not found["faults"], found
    return found


if __name__ == "__main__":
    raise SystemExit(main())

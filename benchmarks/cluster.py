"""`scripts/bench --cluster`: polls, boards and plays with one, two and four workers on PostgreSQL and Redis.

Workers, load and both stores run on this machine. The figures show how the capacity grows with the number of workers,
as far as there are processors, and the processor time of a request in each part. Time that the parts use without
requests is measured before, in `idle ms/s`, and not counted.

The scores of the plays are random: about a quarter of them are bests of their players, and one in twenty takes the
first place of its map.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import time
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
WARM_UP_PLAYS: Final = 400
WORKERS: Final = (1, 2, 4)
SONGS: Final = [a_map(100 + n, objects=100, title=f"Song {n}") for n in range(40)]
"""With fewer maps, most plays would wait for others on the same map, as they never do on a server."""
IDLE_S: Final = 3.0
DELIVERED_S: Final = 2.0
SETTLED_S: Final = 20.0  # after the start a worker compiles templates

console = Console()


def main() -> int:
    """Measure each number of workers on a separate cluster."""
    parser = argparse.ArgumentParser(prog="scripts/bench --cluster", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="duration of each measurement, default %(default)s")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    options = parser.parse_args()
    table = Table(title=f"workers, on {os.cpu_count()} processors with load, PostgreSQL and Redis")
    for column in ("workers", "what", "a second", "p99 ms", "worker us", "PostgreSQL us", "Redis us", "idle ms/s"):
        table.add_column(column, justify="right")
    figures = {}
    for workers in WORKERS:
        found = figures[str(workers)] = measure(workers, options.seconds)
        for name, figure in found.items():
            costs = [f"{figure[f'{part}_us']:,.0f}" for part in ("worker", "postgresql", "redis")]
            rate = (f"{figure['per_s']:,.0f}", f"{figure['p99_ms']:.1f}")
            table.add_row(str(workers), name, *rate, *costs, f"{figure['worker_idle'] * 1000:.0f}")
    console.print(table)
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2))
    return 0


def measure(workers: int, seconds: float) -> dict[str, Any]:
    """Return the figures of a cluster with this number of workers."""
    redis = RedisServer()
    try:
        with tempfile.TemporaryDirectory() as folder, engines.postgres_database() as url:
            data = Path(folder) / "data"
            asyncio.run(prepare(data, url))
            engines.execute(url, *copy_accounts())
            port = free_port()
            command = [sys.executable, "-m", "kiai", "serve", "--port", str(port), "--data", str(data)]
            command += ["--database", url, "--state", redis.url, "--workers", str(workers)]
            # On all cores: a worker takes one, and PostgreSQL, Redis and the load take what is left.
            with process(command, port, {"KIAI_RATE_LIMITS": "off"}, core=None) as (server, _):
                tokens = [log_in(port, number) for number in range(SESSIONS)]
                assert redis.process is not None
                polls = [
                    f"POST / HTTP/1.1\r\nHost: c.localhost\r\nUser-Agent: osu!\r\nosu-token: {token}\r\n"
                    "Content-Length: 0\r\n\r\n".encode()
                    for token in tokens
                ]
                load(port, polls, 0.5)
                parts = {
                    "worker": server.pid,
                    "postgresql": engines.postgres_processes()[0],
                    "redis": redis.process.pid,
                }
                time.sleep(SETTLED_S)
                polled = measure_cost(parts, port, polls, seconds)
                # Warm-up: each worker hashes a password once, which must not count as the cost of a board or play.
                load(port, [board(song.md5) for song in SONGS], 1.0 * workers, connections=16)
                load(port, [play(PLAYS + n) for n in range(WARM_UP_PLAYS)], 0, connections=16)
                plays = [play(n) for n in range(PLAYS)]
                return {
                    "polls": polled,
                    "boards": measure_cost(parts, port, [board(song.md5) for song in SONGS], seconds),
                    "plays": measure_cost(parts, port, plays, 0, connections=16),
                }
    finally:
        redis.close()


async def prepare(data: Path, url: str) -> None:
    """Create an account and maps."""
    async with open_services(load_settings(data=data, database=url)) as services:
        await services.accounts.register(name="bench 0", email="bench0@example.org", password=PASSWORD, priv=3)
        for song in SONGS:
            await services.importer.import_file(song.data, name="map", status=None)


def copy_accounts() -> list[str]:
    """Return statements that copy the first account. All accounts have one password hash, which workers cache."""
    same = [column.name for column in users.c if column.name not in ("id", "name", "safe_name", "email")]
    copied = ", ".join(same)
    return [
        f"INSERT INTO users (name, safe_name, email, {copied}) "
        f"SELECT 'bench {number}', 'bench_{number}', 'bench{number}@example.org', {copied} "
        "FROM users WHERE safe_name = 'bench_0'"
        for number in range(1, SESSIONS)
    ]


def log_in(port: int, number: int) -> str:
    """Log in and return the token of the session."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = f"bench {number}\n{password_md5(PASSWORD)}\nb{BUILD}|0|0|{CLIENT_HASH}|0\n".encode()
    connection.request("POST", "/", body, {"Host": "c.localhost", "User-Agent": "osu!"})
    token = connection.getresponse().headers["cho-token"] or ""
    connection.close()
    assert len(token) == 36, token
    return token


def board(md5: str, number: int = 0) -> bytes:
    """Return a request of song select."""
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
    """Return a request that submits a play."""
    score = random.Random(number).randrange(1_000, 1_000_000)
    played = Played(SONGS[number % len(SONGS)].md5, f"bench {number % SESSIONS}", score=score, password=PASSWORD)
    body, kind = multipart(played.parts())
    head = (
        f"POST {SUBMIT} HTTP/1.1\r\nHost: {OSU}\r\nUser-Agent: osu!\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def measure_cost(
    parts: dict[str, int], port: int, requests: list[bytes], seconds: float, connections: int = 64
) -> dict[str, Any]:
    """Like `load`, with the processor time of a request in each part in us.

    `PART_idle` is the processor time in s that a part takes in a second without requests. It is not counted.
    """
    began, cpu = time.perf_counter(), cpu_of(parts)
    time.sleep(IDLE_S)
    idle = {part: taken / (time.perf_counter() - began) for part, taken in cpu_since(cpu, parts).items()}
    began, cpu = time.perf_counter(), cpu_of(parts)
    found = load(port, requests, seconds, connections)
    if not seconds:  # plays: the outbox delivers them four times a second
        time.sleep(DELIVERED_S)
    took = time.perf_counter() - began
    taken = {part: used - idle[part] * took for part, used in cpu_since(cpu, parts).items()}
    return (
        found
        | {f"{part}_us": used / found["requests"] * 1e6 for part, used in taken.items()}
        | {f"{part}_idle": share for part, share in idle.items()}
    )


def cpu_of(parts: dict[str, int]) -> dict[str, float]:
    """Return the processor time of each part so far, in seconds."""
    return {part: family_cpu_s(pid) for part, pid in parts.items()}


def cpu_since(before: dict[str, float], parts: dict[str, int]) -> dict[str, float]:
    """Return the processor time of each part since `cpu_of`, in seconds."""
    return {part: now - before[part] for part, now in cpu_of(parts).items()}


def family_cpu_s(pid: int) -> float:
    """Return the processor time of a process and its descendants, including ended ones, in seconds."""
    total = 0
    for member in family(pid):
        with contextlib.suppress(FileNotFoundError):  # it has just ended
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(field) for field in fields[11:15])  # utime, stime and those of ended children
    return total / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """Return a process and its descendants: workers and their performance workers."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    children: dict[int, list[int]] = {}
    for line in listed.splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    found = [pid]
    for member in found:  # the list grows while it is traversed
        found += children.get(member, [])
    return found


def load(port: int, requests: list[bytes], seconds: float, connections: int = 64) -> dict[str, Any]:
    """Send these requests for `seconds` (0: each one once) and return the figures."""
    command = [sys.executable, "-m", "benchmarks.load", str(port), "-", str(connections), str(seconds)]
    done = subprocess.run(
        command, input="\n".join(request.hex() for request in requests), capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    assert not found["faults"], found
    return found


if __name__ == "__main__":
    raise SystemExit(main())

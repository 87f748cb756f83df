"""`scripts/bench`: the endpoints of the API, as ratios to floors that are measured in the same run.

Each round requests each endpoint from the floor and from kiai in turn, with the server and the load on separate cores.
The median ratio counts. Before any timing the two answers are compared byte for byte, so a ratio never compares
different work. `kiai demo` creates the worlds once, in `.bench/`.
"""

import argparse
import contextlib
import json
import os
import re
import socket
import sqlite3
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

WORLDS = {100_000: (1_000, 2_000), 1_000_000: (5_000, 2_000), 10_000_000: (100_000, 2_000)}
BUDGETS = {
    "get_player_count": 1.0,
    "get_map_info": 1.8,
    "get_player_status": 1.1,
    "get_score_info": 1.9,
    "get_player_info": 2.0,
    "get_player_scores": 8.5,
    "get_player_most_played": 2.0,
    "get_map_scores": 7.9,
    "get_leaderboard": 4.5,
}
"""The smallest ratios to the floor: the least of an idle and a busy run on 2026-12-01, less 20 %."""
GROWTH_BUDGET = 0.8
MEMORY_MB = 80
MEMORY_LOADED_MB = 120
"""The most memory of its own at the start, and after the load, in worlds of up to `BUDGETED_SCORES`."""
BUDGETED_SCORES = 1_000_000  # ranks take 87 MB with the 100,000 players of the largest world
START_S = 300  # on a busy machine; with 10,000,000 scores alone 13 s of processor time
TARGETS = 1_000
HOST = "api.localhost"

console = Console()


def main() -> int:
    """Run the given benchmarks. Return 1 if a budget is missed, otherwise 0."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"some of: {', '.join(ENDPOINTS)}; default all")
    parser.add_argument("--scores", default="100000,1000000", help="sizes of the worlds, default %(default)s")
    parser.add_argument("--seconds", type=float, default=2.0, help="duration of each measurement, default %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds, default %(default)s")
    parser.add_argument("--connections", type=int, default=32, help="number of connections, default %(default)s")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--worlds", type=Path, default=Path(".bench"), help="folder of the worlds, default %(default)s")
    options = parser.parse_args()
    names = options.names or list(ENDPOINTS)
    if unknown := [name for name in names if name not in ENDPOINTS]:
        parser.error(f"unknown: {', '.join(unknown)}")
    worlds = {size: world(options.worlds, int(size)) for size in options.scores.split(",")}
    figures: dict[str, dict[str, Any]] = {size: {} for size in worlds}
    with contextlib.ExitStack() as running:
        # All servers run at the same time: idle ones cost nothing, and figures that are compared are measured within
        # seconds of each other.
        servers = {
            size: Pair(*running.enter_context(kiai(data)), *running.enter_context(floor(data)))
            for size, data in worlds.items()
        }
        for size, pair in servers.items():
            fetch(pair.port, "/get_player_count")  # the port accepts connections before the server has started
            figures[size] |= {"rss_mb": rss_mb(pair.server.pid), "mapped_mb": mapped_mb(pair.server.pid)}
        for name in names:
            targets = {size: for_each(ENDPOINTS[name](data), options.connections) for size, data in worlds.items()}
            for size, pair in servers.items():
                compare(pair.port, pair.floor_port, targets[size])
            for size, found in measure(servers, targets, options).items():
                figures[size][name] = found
        for size, pair in servers.items():
            pid = pair.server.pid
            figures[size] |= {"rss_after_mb": rss_mb(pid), "mapped_after_mb": mapped_mb(pid)}
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2))
    return report(figures, names)


# --- worlds and servers


class Pair(NamedTuple):
    """kiai and its floor on the same world."""

    server: subprocess.Popen[bytes]
    port: int
    bare: subprocess.Popen[bytes]
    floor_port: int


def world(folder: Path, scores: int) -> Path:
    """Return a data folder with this number of scores; create it if it does not exist."""
    data = folder / str(scores)
    if not (data / "complete").exists():
        players, maps = WORLDS.get(scores, (max(50, scores // 100), max(20, scores // 50)))
        console.print(f"creating a world of {scores:,} scores, {players:,} players, {maps:,} maps ...")
        started = time.perf_counter()
        command = [sys.executable, "-m", "kiai", "demo", "--players", str(players), "--maps", str(maps)]
        subprocess.run([*command, "--scores", str(scores), "--data", str(data)], check=True)
        console.print(f"created in {time.perf_counter() - started:.0f} s")
        (data / "complete").touch()  # an interrupted run leaves a folder without this file, which is created again
    return data


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pinned(core: int) -> Any:
    """Return a `preexec_fn` that pins a child process to one core, if there are several."""

    def pin() -> None:
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) > 1:
            os.sched_setaffinity(0, {cores[core]})

    return pin if hasattr(os, "sched_setaffinity") else None


@contextlib.contextmanager
def process(
    command: list[str], port: int, environment: dict[str, str], *, core: int | None = 0
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a server in the block, which starts when the port accepts connections. `core` None means all cores."""
    child = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=None if core is None else pinned(core),
    )
    try:
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if child.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{' '.join(command)} did not start")
            time.sleep(0.05)
        yield child, port
    finally:
        child.terminate()
        child.wait(20)


def kiai(data: Path) -> Any:
    """Run the server under test."""
    port = free_port()
    command = [sys.executable, "-m", "kiai", "serve", "--port", str(port), "--data", str(data)]
    return process(command, port, {"KIAI_RATE_LIMITS": "off"})


def floor(data: Path) -> Any:
    """Run the floor on the same database file."""
    port = free_port()
    return process([sys.executable, "-m", "benchmarks.floor", str(data / "kiai.db"), str(port)], port, {})


# --- requests


def ids(data: Path, sql: str) -> list[Any]:
    """Return up to TARGETS rows of a query on the world."""
    with contextlib.closing(sqlite3.connect(data / "kiai.db")) as connection:
        return connection.execute(sql, {"n": TARGETS}).fetchall()


# Only full lists, so that the answers of every world have the same number of rows: 25 bests, 25 maps, boards of 50.
PLAYERS = (
    "SELECT s.user_id, s.mode FROM stats s JOIN users u ON u.id = s.user_id WHERE u.priv & 3 = 3 AND s.bests >= 25 "
    "AND s.mode = 0 ORDER BY s.plays DESC LIMIT :n"
)
MAPS = (
    "SELECT m.id, m.mode FROM maps m WHERE m.current = 1 AND m.mode = 0 AND m.status = 2 AND (SELECT count(*) "
    "FROM scores s WHERE s.map_key = m.key AND s.mode = 0 AND s.best_score = 1) >= 60 ORDER BY m.plays DESC LIMIT :n"
)
SCORES = "SELECT s.id FROM scores s JOIN users u ON u.id = s.user_id WHERE u.priv & 3 = 3 AND s.id % 97 = 0 LIMIT :n"

ENDPOINTS = {
    "get_player_count": lambda data: ["/get_player_count"],
    "get_map_info": lambda data: [f"/get_map_info?id={i}" for i, _ in ids(data, MAPS)],
    "get_player_status": lambda data: [f"/get_player_status?id={i}" for i, _ in ids(data, PLAYERS)],
    "get_score_info": lambda data: [f"/get_score_info?id={i}" for (i,) in ids(data, SCORES)],
    "get_player_info": lambda data: [f"/get_player_info?id={i}&scope=all" for i, _ in ids(data, PLAYERS)],
    "get_player_scores": lambda data: [f"/get_player_scores?id={i}&scope=best&mode={m}" for i, m in ids(data, PLAYERS)],
    "get_player_most_played": lambda data: [f"/get_player_most_played?id={i}&mode={m}" for i, m in ids(data, PLAYERS)],
    "get_map_scores": lambda data: [f"/get_map_scores?id={i}&scope=best&mode={m}" for i, m in ids(data, MAPS)],
    "get_leaderboard": lambda data: [f"/get_leaderboard?mode={m}" for m in (0, 1, 2, 3)],
}


# --- measuring


def for_each(targets: list[str], connections: int) -> list[str]:
    """Repeat targets until there are as many as connections: `load.py` opens at most one for each target.

    A server with one connection waits for the client after each request, and the figure is that of waking up.
    """
    return targets * -(-connections // len(targets))


def fetch(port: int, target: str) -> bytes:
    """Return the body of an answer."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{target}", headers={"Host": HOST})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return bytes(answer.read())


def compare(port: int, floor_port: int, targets: list[str]) -> None:
    """Exit with an error if kiai and the floor give different answers."""
    for target in dict.fromkeys(targets):
        actual, bare = fetch(port, target), fetch(floor_port, target)
        if actual != bare:
            raise SystemExit(f"{target}\n kiai  {actual[:2000]!r}\n floor {bare[:2000]!r}")


def cpu_s(pid: int) -> float:
    """Return the processor time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def mapped_mb(pid: int) -> float:
    """Return the part of the resident memory that is pages of files (code, the database), in MB."""
    found = re.search(r"^RssFile:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return 0.0 if found is None else int(found[1]) / 1024


def load(
    server: subprocess.Popen[bytes], port: int, targets: list[str], options: Any, host: str = HOST
) -> dict[str, Any]:
    """Return one measurement. With the host `-` the targets are complete requests (see `load.py`)."""
    before = cpu_s(server.pid)
    command = [sys.executable, "-m", "benchmarks.load", str(port), host, str(options.connections), str(options.seconds)]
    ran = subprocess.run(
        command, input="\n".join(targets), capture_output=True, text=True, check=True, preexec_fn=pinned(1)
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    if found["faults"]:
        raise SystemExit(f"{targets[0][:200]}: {found['faults']} answers were not 200 but {found['first_fault']}")
    found["cpu_us"] = (cpu_s(server.pid) - before) / found["requests"] * 1e6
    return found


def measure(servers: dict[str, Pair], targets: dict[str, list[str]], options: Any) -> dict[str, dict[str, Any]]:
    """Measure floor and kiai of each world in turn, in several rounds.

    Returns the medians, the ratio to the floor, and the growth: each world against the first one.
    """
    rounds: list[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = []
    for _ in range(options.rounds):
        rounds.append({})
        for size, pair in servers.items():
            bare = load(pair.bare, pair.floor_port, targets[size], options)
            rounds[-1][size] = (bare, load(pair.server, pair.port, targets[size], options))
    first = next(iter(servers))
    found = {}
    for size in servers:
        floors, servers_under_test = zip(*(figures[size] for figures in rounds), strict=True)
        # The ratio is the median of the rounds' ratios: a slow phase of the machine then affects both sides alike.
        found[size] = {
            "kiai": median_by_speed(servers_under_test),
            "floor": median_by_speed(floors),
            "ratio": statistics.median(
                kiai["per_s"] / bare["per_s"] for bare, kiai in zip(floors, servers_under_test, strict=True)
            ),
            "growth": statistics.median(figures[size][1]["per_s"] / figures[first][1]["per_s"] for figures in rounds),
        }
    return found


def median_by_speed(measurements: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the measurement with the median number of requests per second."""
    return sorted(measurements, key=lambda figures: figures["per_s"])[len(measurements) // 2]


def report(figures: dict[str, dict[str, Any]], names: list[str]) -> int:
    """Print the table. Return 1 if a budget is missed, otherwise 0."""
    table = Table(title="kiai against bare+sql")
    for column in (
        "scores",
        "endpoint",
        "req/s",
        "p50 ms",
        "p99 ms",
        "CPU us",
        "floor req/s",
        "floor CPU us",
        "ratio",
        "budget",
    ):
        table.add_column(column, justify="left" if column == "endpoint" else "right")
    missed = []
    smallest = next(iter(figures))
    for size, found in figures.items():
        for name in names:
            figure = found[name]
            budget = BUDGETS[name]
            ok = figure["ratio"] >= budget
            verdict = f"{'ok' if ok else 'MISSED'} >= {budget}"
            growth = figure["growth"]
            if size != smallest:
                ok = ok and growth >= GROWTH_BUDGET
                verdict += f", growth {growth:.2f} {'ok' if growth >= GROWTH_BUDGET else 'MISSED'} >= {GROWTH_BUDGET}"
            if not ok:
                missed.append(f"{name} at {int(size):,}")
            served = figure["kiai"]
            bare = figure["floor"]
            cells = (
                *(served["per_s"], served["p50_ms"], served["p99_ms"], served["cpu_us"]),
                *(bare["per_s"], bare["cpu_us"]),
            )
            formats = ("{:,.0f}", "{:.2f}", "{:.2f}", "{:.0f}", "{:,.0f}", "{:.0f}")
            table.add_row(
                f"{int(size):,}",
                name,
                *[form.format(cell) for form, cell in zip(formats, cells, strict=True)],
                f"{figure['ratio']:.2f}",
                verdict,
            )
    console.print(table)
    for size, found in figures.items():
        for when, suffix, budget_mb in (("start", "", MEMORY_MB), ("load", "_after", MEMORY_LOADED_MB)):
            mapped = found[f"mapped{suffix}_mb"]
            own_mb = found[f"rss{suffix}_mb"] - mapped
            holds = own_mb <= budget_mb
            verdict = "no budget" if int(size) > BUDGETED_SCORES else f"{'ok' if holds else 'MISSED'} <= {budget_mb}"
            console.print(
                f"{int(size):,} scores, after the {when}: {own_mb:.0f} MB of its own memory ({verdict}) and "
                f"{mapped:.0f} MB of mapped files"
            )
            if not holds and int(size) <= BUDGETED_SCORES:
                missed.append(f"memory after the {when} at {int(size):,}")
    console.print("all budgets hold" if not missed else f"missed: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())

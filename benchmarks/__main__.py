"""`scripts/bench`: the budgets of the architecture, as ratios against floors measured in the same run.

Each endpoint is asked of kiai and of its floor in turn, several rounds, server and load on separate cores where there
are two; the median ratio counts. Before any timing the two answers are compared byte for byte, so a ratio never
compares different work. Worlds are made once by `kiai demo` and kept in `.bench/`.
"""

import argparse
import contextlib
import json
import os
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

WORLDS = {100_000: (1_000, 2_000), 1_000_000: (5_000, 2_000)}
BUDGET = 0.6
GROWTH_BUDGET = 0.8
MEMORY_MB = 80
TARGETS = 1_000
HOST = "api.localhost"

console = Console()


def main() -> int:
    """Runs what is asked for; exit code 1 when a budget is missed."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"some of: {', '.join(ENDPOINTS)}; default all")
    parser.add_argument("--scores", default="100000,1000000", help="sizes of the worlds, default %(default)s")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement, default %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default %(default)s")
    parser.add_argument("--connections", type=int, default=32, help="default %(default)s")
    parser.add_argument("--json", metavar="FILE", help="writes the figures there too")
    parser.add_argument(
        "--worlds", type=Path, default=Path(".bench"), help="where worlds are kept, default %(default)s"
    )
    asked = parser.parse_args()
    names = asked.names or list(ENDPOINTS)
    if unknown := [name for name in names if name not in ENDPOINTS]:
        parser.error(f"unknown: {', '.join(unknown)}")
    worlds = {size: world(asked.worlds, int(size)) for size in asked.scores.split(",")}
    figures: dict[str, dict[str, Any]] = {size: {} for size in worlds}
    with contextlib.ExitStack() as running:
        # All at once: idle servers cost nothing, and what is compared is measured within seconds of each other.
        servers = {
            size: Pair(*running.enter_context(kiai(data)), *running.enter_context(floor(data)))
            for size, data in worlds.items()
        }
        for size, pair in servers.items():
            figures[size]["rss_mb"] = rss_mb(pair.server.pid)
        for name in names:
            targets = {size: ENDPOINTS[name](data) for size, data in worlds.items()}
            for size, pair in servers.items():
                compare(pair.port, pair.floor_port, targets[size][:25])
            for size, found in measure(servers, targets, asked).items():
                figures[size][name] = found
        for size, pair in servers.items():
            figures[size]["rss_after_mb"] = rss_mb(pair.server.pid)
    if asked.json:
        Path(asked.json).write_text(json.dumps(figures, indent=2))
    return report(figures, names)


# --- worlds and servers


class Pair(NamedTuple):
    """kiai and its floor over the same world."""

    server: subprocess.Popen[bytes]
    port: int
    bare: subprocess.Popen[bytes]
    floor_port: int


def world(folder: Path, scores: int) -> Path:
    """A data folder with this many scores, made when it is not there."""
    data = folder / str(scores)
    if not (data / "complete").exists():
        players, maps = WORLDS.get(scores, (max(50, scores // 100), max(20, scores // 50)))
        console.print(f"making a world of {scores:,} scores, {players:,} players, {maps:,} maps ...")
        started = time.perf_counter()
        command = [sys.executable, "-m", "kiai", "demo", "--players", str(players), "--maps", str(maps)]
        subprocess.run([*command, "--scores", str(scores), "--data", str(data)], check=True)
        console.print(f"made in {time.perf_counter() - started:.0f} s")
        (data / "complete").touch()
    return data


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pinned(core: int) -> Any:
    """Puts a child on one core, where there are two."""

    def pin() -> None:
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) > 1:
            os.sched_setaffinity(0, {cores[core]})

    return pin if hasattr(os, "sched_setaffinity") else None


@contextlib.contextmanager
def process(
    command: list[str], port: int, environment: dict[str, str], *, core: int | None = 0
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A server, from when it answers until the end of the block; on one core, or on any with None."""
    child = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=None if core is None else pinned(core),
    )
    try:
        deadline = time.monotonic() + 60
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
    """The server under test."""
    port = free_port()
    command = [sys.executable, "-m", "kiai", "serve", "--port", str(port), "--data", str(data)]
    return process(command, port, {"KIAI_RATE_LIMITS": "off"})


def floor(data: Path) -> Any:
    """The floor over the same file."""
    port = free_port()
    return process([sys.executable, "-m", "benchmarks.floor", str(data / "kiai.db"), str(port)], port, {})


# --- what is asked


def ids(data: Path, sql: str) -> list[Any]:
    """Up to TARGETS rows of a query on the world."""
    with contextlib.closing(sqlite3.connect(data / "kiai.db")) as connection:
        return connection.execute(sql, {"n": TARGETS}).fetchall()


# Full lists only, so that every world answers with as many rows: 25 bests and 25 maps played, boards of 50.
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


def fetch(port: int, target: str) -> bytes:
    """One answer."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{target}", headers={"Host": HOST})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return bytes(answer.read())


def compare(port: int, floor_port: int, targets: list[str]) -> None:
    """Both answer the same bytes, or nothing is worth measuring."""
    for target in targets:
        mine, bare = fetch(port, target), fetch(floor_port, target)
        if mine != bare:
            raise SystemExit(f"{target}\n kiai  {mine[:2000]!r}\n floor {bare[:2000]!r}")


def cpu_s(pid: int) -> float:
    """Processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def load(
    server: subprocess.Popen[bytes], port: int, targets: list[str], asked: Any, host: str = HOST
) -> dict[str, Any]:
    """One measurement; with `-` for a host the targets are whole requests (see `load.py`)."""
    before = cpu_s(server.pid)
    command = [sys.executable, "-m", "benchmarks.load", str(port), host, str(asked.connections), str(asked.seconds)]
    ran = subprocess.run(
        command, input="\n".join(targets), capture_output=True, text=True, check=True, preexec_fn=pinned(1)
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    if found["faults"]:
        raise SystemExit(f"{targets[0][:200]}: {found['faults']} answers were not 200 but {found['first_fault']}")
    found["cpu_us"] = (cpu_s(server.pid) - before) / found["requests"] * 1e6
    return found


def measure(servers: dict[str, Pair], targets: dict[str, list[str]], asked: Any) -> dict[str, dict[str, Any]]:
    """Several rounds of every world's floor and kiai in turn; the medians, and each world against the first."""
    rounds: list[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = []
    for _ in range(asked.rounds):
        rounds.append({})
        for size, pair in servers.items():
            bare = load(pair.bare, pair.floor_port, targets[size], asked)
            rounds[-1][size] = (bare, load(pair.server, pair.port, targets[size], asked))
    first = next(iter(servers))
    found = {}
    for size in servers:
        bares, mine = zip(*(one[size] for one in rounds), strict=True)
        found[size] = {
            "kiai": middle(mine),
            "floor": middle(bares),
            "ratio": statistics.median(m["per_s"] / b["per_s"] for b, m in zip(bares, mine, strict=True)),
            "growth": statistics.median(one[size][1]["per_s"] / one[first][1]["per_s"] for one in rounds),
        }
    return found


def middle(measured: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The measurement of median speed."""
    return sorted(measured, key=lambda one: one["per_s"])[len(measured) // 2]


def report(figures: dict[str, dict[str, Any]], names: list[str]) -> int:
    """The table; 1 when a budget is missed."""
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
            one = found[name]
            ok = one["ratio"] >= BUDGET
            verdict = f"{'ok' if ok else 'MISSED'} >= {BUDGET}"
            growth = one["growth"]
            if size != smallest:
                ok = ok and growth >= GROWTH_BUDGET
                verdict += f", growth {growth:.2f} {'ok' if growth >= GROWTH_BUDGET else 'MISSED'} >= {GROWTH_BUDGET}"
            if not ok:
                missed.append(f"{name} at {int(size):,}")
            mine = one["kiai"]
            bare = one["floor"]
            cells = (mine["per_s"], mine["p50_ms"], mine["p99_ms"], mine["cpu_us"], bare["per_s"], bare["cpu_us"])
            formats = ("{:,.0f}", "{:.2f}", "{:.2f}", "{:.0f}", "{:,.0f}", "{:.0f}")
            table.add_row(
                f"{int(size):,}",
                name,
                *[form.format(cell) for form, cell in zip(formats, cells, strict=True)],
                f"{one['ratio']:.2f}",
                verdict,
            )
    console.print(table)
    for size, found in figures.items():
        console.print(
            f"{int(size):,} scores: {found['rss_mb']:.0f} MB resident at start (budget {MEMORY_MB}), "
            f"{found['rss_after_mb']:.0f} MB after the load"
        )
        if found["rss_mb"] > MEMORY_MB:
            missed.append(f"memory at {int(size):,}")
    console.print("all budgets hold" if not missed else f"missed: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())

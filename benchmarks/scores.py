"""`scripts/bench scores`: submissions of plays, and the boards of song select.

getscores is measured in a world and in one with ten times the scores, as a ratio. Submissions are real forms that were
encrypted beforehand. Each one is sent once, to a server on a copy of the smaller world. The last measurement compares
the latency of getscores with and without a burst of submissions on maps whose difficulty is not computed yet.
"""

import argparse
import contextlib
import http.client
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from rich.console import Console
from rich.table import Table
from tests.wire.submitting import BUILD, CLIENT_HASH, OSU, SUBMIT, Played, multipart, password_md5

from benchmarks.__main__ import ENDPOINTS, GROWTH_BUDGET, ids, kiai, load, median_by_speed, world

PASSWORD: Final = "correct horse 7"
PLAYERS: Final = 8
SUBMISSIONS: Final = 1_500
COLD: Final = 60  # maps without computed difficulty
QUIET_FACTOR: Final = 5.0
P99_MAX_MS: Final = 250.0
MAPS_MAX: Final = 5.0
"""The most CPU time of a board, in requests for the JSON of a map on the same server."""
BOARDS: Final = (
    "SELECT m.md5, m.filename, m.set_id FROM maps m WHERE m.current = 1 AND m.mode = 0 AND m.status = 2 AND (SELECT "
    "count(*) FROM scores s WHERE s.map_key = m.key AND s.mode = 0 AND s.best_score = 1) >= 60 ORDER BY m.plays DESC "
    "LIMIT :n"
)
PLAYED: Final = "SELECT m.md5, m.objects FROM maps m WHERE m.current = 1 AND m.mode = 0 AND m.status = 2 LIMIT :n"

console = Console()


def main() -> int:
    """Run the benchmark. Return 1 if a budget is missed, otherwise 0."""
    parser = argparse.ArgumentParser(prog="scripts/bench scores", description=__doc__)
    parser.add_argument("--scores", default="100000,1000000", help="sizes of the worlds, default %(default)s")
    parser.add_argument("--seconds", type=float, default=2.0, help="duration of each measurement, default %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds, default %(default)s")
    parser.add_argument("--connections", type=int, default=32, help="number of connections, default %(default)s")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--worlds", type=Path, default=Path(".bench"), help="folder of the worlds, default %(default)s")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    missed: list[str] = []
    worlds = {size: world(options.worlds, int(size)) for size in options.scores.split(",")}
    for data in worlds.values():
        players(data)
    table = Table(title="scores")
    for column in ("what", "per s", "p50 ms", "p99 ms", "CPU us", "verdict"):
        table.add_column(column, justify="left" if column in ("what", "verdict") else "right")

    def row(what: str, found: dict[str, Any], verdict: str = "") -> None:
        figures[what] = found
        cells = (found["per_s"], found["p50_ms"], found["p99_ms"], found.get("cpu_us", 0.0))
        formats = ("{:,.0f}", "{:.2f}", "{:.2f}", "{:.0f}")
        table.add_row(what, *(form.format(cell) for form, cell in zip(formats, cells, strict=True)), verdict)

    boards(worlds, options, row, missed)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(next(iter(worlds.values())), Path(folder) / "data"))
        with kiai(copy) as (child, port):
            submissions(copy, child, port, row)
            burst(copy, child, port, options, row, missed)
    console.print(table)
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2))
    console.print("all budgets hold" if not missed else f"missed: {', '.join(missed)}")
    return 1 if missed else 0


def players(data: Path) -> None:
    """Create the accounts of the load; ignore existing ones."""
    for number in range(PLAYERS):
        command = [sys.executable, "-m", "kiai", "users", "add", f"bench {number}", "--password", PASSWORD]
        subprocess.run(
            [*command, "--email", f"bench{number}@example.org", "--data", str(data)], capture_output=True, check=False
        )


def getscores_targets(data: Path, **query: object) -> list[str]:
    """Return the targets of getscores for the full boards of a world."""
    fixed = {"us": "bench 0", "ha": password_md5(PASSWORD), "s": 0, "vv": 4, "v": 1, "m": 0, "mods": 0} | query
    return [
        "/web/osu-osz2-getscores.php?" + urlencode(fixed | {"c": md5, "f": name, "i": set_id}, quote_via=quote)
        for md5, name, set_id in ids(data, BOARDS)
    ]


def boards(worlds: dict[str, Path], options: Any, row: Any, missed: list[str]) -> None:
    """Measure getscores in each world in turn.

    Compare each world with the first, and the CPU time of a board with that of a request for a map.
    """
    kinds: dict[str, dict[str, object]] = {"global": {}, "country": {"v": 4}, "mods HD": {"v": 2, "mods": 8}}
    with contextlib.ExitStack() as running:
        servers = {size: running.enter_context(kiai(data)) for size, data in worlds.items()}
        for kind, query in kinds.items():
            targets = {size: getscores_targets(data, **query) for size, data in worlds.items()}
            maps = {size: ENDPOINTS["get_map_info"](data) for size, data in worlds.items()}
            for size, (child, port) in servers.items():  # warm-up: read the pages from the disk
                once = argparse.Namespace(seconds=0, connections=options.connections)
                load_web(child, port, targets[size], once)
                load(child, port, maps[size], once)
            rounds: list[dict[str, dict[str, Any]]] = []
            for _ in range(options.rounds):
                rounds.append({})
                for size, (child, port) in servers.items():
                    found = load_web(child, port, targets[size], options)
                    found["maps"] = found["cpu_us"] / load(child, port, maps[size], options)["cpu_us"]
                    rounds[-1][size] = found
            first = next(iter(worlds))
            for size in worlds:
                found = median_by_speed([results[size] for results in rounds])
                found["maps"] = statistics.median(results[size]["maps"] for results in rounds)
                growth = statistics.median(results[size]["per_s"] / results[first]["per_s"] for results in rounds)
                verdict = f"{found['maps']:.1f} maps {ok(found['maps'] <= MAPS_MAX)} <= {MAPS_MAX:g}"
                if size != first:
                    verdict += f", growth {growth:.2f} {ok(growth >= GROWTH_BUDGET)} >= {GROWTH_BUDGET}"
                if "MISSED" in verdict:
                    missed.append(f"getscores {kind}")
                row(f"getscores, {kind}, {int(size):,} scores", found | {"growth": growth}, verdict)


def ok(holds: bool) -> str:
    """Return the verdict on a budget."""
    return "ok" if holds else "MISSED"


def load_web(child: Any, port: int, targets: list[str], options: Any) -> dict[str, Any]:
    """Return one measurement at the host of the game's web endpoints."""
    raw = [f"GET {target} HTTP/1.1\r\nHost: {OSU}\r\nUser-Agent: osu!\r\n\r\n".encode().hex() for target in targets]
    return load(child, port, raw, options, host="-")


def log_in(port: int) -> None:
    """Log each player in."""
    for number in range(PLAYERS):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        body = f"bench {number}\n{password_md5(PASSWORD)}\nb{BUILD}|0|0|{CLIENT_HASH}|0\n".encode()
        connection.request("POST", "/", body, {"Host": "c.localhost", "User-Agent": "osu!"})
        assert len(connection.getresponse().headers["cho-token"] or "") == 36
        connection.close()


def form(md5: str, objects: int, number: int, **fields: Any) -> str:
    """Return a complete request that submits a play, in hexadecimal digits."""
    played = Played(
        md5, f"bench {number % PLAYERS}", n300=objects, score=1_000 + number, combo=objects, password=PASSWORD, **fields
    )
    body, kind = multipart(played.parts())
    head = (
        f"POST {SUBMIT} HTTP/1.1\r\nHost: {OSU}\r\nUser-Agent: osu!\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return (head.encode() + body).hex()


def submissions(data: Path, child: Any, port: int, row: Any) -> None:
    """Measure submissions of passes on maps with computed difficulty, with one connection per player."""
    log_in(port)
    maps = ids(data, PLAYED)[:40]
    warm = [form(md5, objects, n) for n, (md5, objects) in enumerate(maps)]
    once(child, port, warm)

    def forms(numbers: range) -> list[str]:
        return [form(maps[n % len(maps)][0], maps[n % len(maps)][1], n) for n in numbers]

    found = once(child, port, forms(range(100, 100 + SUBMISSIONS)))
    row(f"submissions, {PLAYERS} players at once", found)
    found = once(child, port, forms(range(5_000, 5_200)), connections=1)
    row("submissions, one after another", found)


def once(child: Any, port: int, requests: list[str], connections: int = PLAYERS) -> dict[str, Any]:
    """Send each request once."""
    return load(child, port, requests, argparse.Namespace(seconds=0, connections=connections), host="-")


def burst(data: Path, child: Any, port: int, options: Any, row: Any, missed: list[str]) -> None:
    """Measure getscores without and during a burst of submissions on maps without computed difficulty."""
    targets = getscores_targets(data)
    quiet = load_web(child, port, targets, options)
    row("getscores in quiet", quiet)
    cold = [
        form(md5, objects, 9_000 + n, mods=64) for n, (md5, objects) in enumerate(ids(data, PLAYED)[40 : 40 + COLD])
    ]
    busy: dict[str, Any] = {}
    thread = threading.Thread(target=lambda: busy.update(once(child, port, cold)))
    thread.start()
    time.sleep(0.05)  # the load generator of the burst takes about that long to start
    during = load_web(child, port, targets, options)
    thread.join()
    row(f"{len(cold)} submissions on cold maps", busy)
    factor = during["p99_ms"] / quiet["p99_ms"]
    holds = factor <= QUIET_FACTOR and during["p99_ms"] <= P99_MAX_MS
    if not holds:
        missed.append("getscores during a burst")
    row("getscores during it", during, f"p99 x{factor:.1f} {ok(holds)} <= {QUIET_FACTOR:g} and <= {P99_MAX_MS:g} ms")


if __name__ == "__main__":
    raise SystemExit(main())

"""`scripts/bench site`: processor time and size of pages of the website, on worlds of 100,000 and 1,000,000 scores.

Each round requests each page of each world in turn, one request at a time, over one connection. The time is processor
time of the server, without the time that its jobs take meanwhile, so a busy machine does not change it much. The median
of the rounds counts. Budgets: 3 ms and 60 KB for a page, and 1.3 times the time with ten times the scores.
"""

import argparse
import contextlib
import http.client
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.__main__ import cpu_s, ids, kiai, world

CPU_BUDGET_MS: Final = 3.0
BYTES_BUDGET: Final = 60 * 1024
GROWTH_BUDGET: Final = 1.3
IDLE_S: Final = 3.0
TARGETS: Final = 200
HOST: Final = "localhost"

# Full profiles and boards, so that the pages of every world have the same number of rows.
PLAYERS: Final = (
    "SELECT s.user_id FROM stats s JOIN users u ON u.id = s.user_id WHERE u.priv & 3 = 3 AND s.bests >= 25"
    " AND s.mode = 0 AND (SELECT count(*) FROM first_places f WHERE f.user_id = s.user_id AND f.mode = 0) > 0"
    " ORDER BY s.plays DESC LIMIT :n"
)
SETS: Final = (
    "SELECT m.set_id, m.id FROM maps m WHERE m.current = 1 AND m.mode = 0 AND m.status = 2 AND (SELECT count(*)"
    " FROM scores s WHERE s.map_key = m.key AND s.mode = 0 AND s.best_score = 1) >= 60 LIMIT :n"
)
SCORES: Final = (
    "SELECT s.id FROM scores s JOIN users u ON u.id = s.user_id WHERE u.priv & 3 = 3 AND s.passed = 1 AND s.id % 97 = 0"
    " LIMIT :n"
)

PAGES: Final[Mapping[str, Callable[[Path], list[str]]]] = {
    "home": lambda data: ["/"],
    "profile": lambda data: [f"/users/{id_}?mode=0" for (id_,) in ids(data, PLAYERS)[:TARGETS]],
    "leaderboard": lambda data: [f"/leaderboard?mode={mode}" for mode in (0, 1, 2, 3, 4, 5, 6, 8)],
    "top plays": lambda data: [f"/leaderboard/plays?mode={mode}" for mode in (0, 1, 2, 3, 4, 5, 6, 8)],
    "countries": lambda data: ["/leaderboard/countries"],
    "set": lambda data: [f"/beatmapsets/{set_id}?map={map_id}" for set_id, map_id in ids(data, SETS)[:TARGETS]],
    "score": lambda data: [f"/scores/{id_}" for (id_,) in ids(data, SCORES)[:TARGETS]],
}


class Figures(NamedTuple):
    """The cost of a page: milliseconds of processor time, and the largest body, plain and compressed, in bytes."""

    cpu_ms: float
    plain: int
    compressed: int


class Visitor:
    """One connection to a server, as a browser without a session has it."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def get(self, target: str, encoding: str) -> tuple[int, bytes]:
        """Return status and body of a page."""
        self._connection.request("GET", target, headers={"Host": HOST, "Accept-Encoding": encoding})
        answer = self._connection.getresponse()
        return answer.status, answer.read()


class Site:
    """A running server with its targets by page."""

    def __init__(self, pid: int, port: int, targets: Mapping[str, list[str]]) -> None:
        self._pid = pid
        self._visitor = Visitor(port)
        self.targets = targets
        before = cpu_s(pid)
        time.sleep(IDLE_S)
        self._idle_share = (cpu_s(pid) - before) / IDLE_S
        """Processor time of the jobs, as a share of the time."""

    def exists(self, name: str) -> bool:
        """Return whether the site has this page in this world."""
        targets = self.targets[name]
        return bool(targets) and self._visitor.get(targets[0], "identity")[0] == 200

    def sizes(self, name: str) -> tuple[int, int]:
        """Return the largest body of a page, plain and compressed. The requests also warm the caches."""
        found = []
        for target in self.targets[name][:25]:
            status, plain = self._visitor.get(target, "identity")
            if status != 200:
                raise SystemExit(f"{target}: {status}")
            found.append((len(plain), len(self._visitor.get(target, "br, gzip")[1])))
        return max(plain for plain, _ in found), max(compressed for _, compressed in found)

    def cpu_ms(self, name: str, count: int, encoding: str) -> float:
        """Return the processor time of a request for a page, over `count` requests."""
        targets = self.targets[name]
        began, before = time.monotonic(), cpu_s(self._pid)
        for at in range(count):
            self._visitor.get(targets[at % len(targets)], encoding)
        took, spent = time.monotonic() - began, cpu_s(self._pid) - before
        return max(0.0, spent - self._idle_share * took) / count * 1_000


def main() -> int:
    """Measure the given pages. Return 1 if a budget is missed, otherwise 0."""
    parser = argparse.ArgumentParser(prog="scripts/bench site", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="page", help=f"some of: {', '.join(PAGES)}; default all")
    parser.add_argument("--scores", default="100000,1000000", help="sizes of the worlds, default %(default)s")
    parser.add_argument("--requests", type=int, default=400, help="requests of each measurement, default %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds, default %(default)s")
    parser.add_argument("--encoding", default="identity", help="Accept-Encoding of the requests, default %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--worlds", type=Path, default=Path(".bench"), help="folder of the worlds, default %(default)s")
    options = parser.parse_args()
    names = options.names or list(PAGES)
    if unknown := [name for name in names if name not in PAGES]:
        parser.error(f"unknown: {', '.join(unknown)}")
    sizes = [int(size) for size in options.scores.split(",")]
    worlds = {size: world(options.worlds, size) for size in sizes}
    with contextlib.ExitStack() as running:
        sites = {}
        for size, data in worlds.items():
            server, port = running.enter_context(kiai(data))
            sites[size] = Site(server.pid, port, {name: PAGES[name](data) for name in names})
        figures = measure(sites, names, options)
    if options.json:
        options.json.write_text(
            json.dumps({name: {n: f._asdict() for n, f in by.items()} for name, by in figures.items()})
        )
    return report(figures, sizes)


def measure(sites: Mapping[int, Site], names: Sequence[str], options: Any) -> dict[str, dict[int, Figures]]:
    """Return the figures by page and size of the world. A page that the site does not have has none."""
    found: dict[str, dict[int, Figures]] = {}
    for name in names:
        if not all(site.exists(name) for site in sites.values()):
            found[name] = {}
            continue
        bodies = {size: site.sizes(name) for size, site in sites.items()}
        rounds: dict[int, list[float]] = {size: [] for size in sites}
        for _ in range(options.rounds):
            for size, site in sites.items():
                rounds[size].append(site.cpu_ms(name, options.requests, options.encoding))
        found[name] = {size: Figures(statistics.median(rounds[size]), *bodies[size]) for size in sites}
    return found


def report(figures: Mapping[str, Mapping[int, Figures]], sizes: Sequence[int]) -> int:
    """Print the figures. Return 1 if a budget is missed, otherwise 0."""
    table = Table(title="Pages of the website")
    for column in ("page", *[f"CPU ms at {size:,}" for size in sizes], "growth", "KB", "KB compressed", "budget"):
        table.add_column(column, justify="left" if column == "page" else "right")
    missed = False
    for name, by_size in figures.items():
        if not by_size:
            table.add_row(name, *["-"] * len(sizes), "-", "-", "-", "no such page")
            continue
        growth = by_size[sizes[-1]].cpu_ms / by_size[sizes[0]].cpu_ms
        plain = max(found.plain for found in by_size.values())
        compressed = max(found.compressed for found in by_size.values())
        ok = (
            all(found.cpu_ms <= CPU_BUDGET_MS for found in by_size.values())
            and plain <= BYTES_BUDGET
            and growth <= GROWTH_BUDGET
        )
        missed = missed or not ok
        table.add_row(
            name,
            *[f"{by_size[size].cpu_ms:.2f}" for size in sizes],
            f"{growth:.2f}",
            f"{plain / 1024:.1f}",
            f"{compressed / 1024:.1f}",
            "kept" if ok else "missed",
        )
    Console().print(table)
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())

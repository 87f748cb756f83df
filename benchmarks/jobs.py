"""`scripts/bench jobs`: work on all scores, in a world and in one with ten times the scores.

`kiai recalc` and `kiai doctor --repair` run on a copy of each world. The benchmark compares the CPU time of the process
and its workers, because other work on the machine affects it less than the wall-clock time.
"""

import argparse
import json
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.__main__ import world

GROWTH_MAX: Final = 12.0
"""The maximum CPU time at ten times the scores, as a multiple."""
JOBS: Final = {"recalc": ("recalc",), "doctor --repair": ("doctor", "--repair")}

console = Console()


def main() -> int:
    """Run each job in each world. Return 1 if a budget is missed, otherwise 0."""
    parser = argparse.ArgumentParser(prog="scripts/bench jobs", description=__doc__)
    parser.add_argument("--scores", default="100000,1000000", help="sizes of the worlds, default %(default)s")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--worlds", type=Path, default=Path(".bench"), help="folder of the worlds, default %(default)s")
    options = parser.parse_args()
    sizes = [int(size) for size in options.scores.split(",")]
    worlds = {size: world(options.worlds, size) for size in sizes}
    table = Table(title="jobs")
    for column in ("job", "scores", "CPU s", "s", "of the first", "verdict"):
        table.add_column(column, justify="left" if column in ("job", "verdict") else "right")
    figures: dict[str, Any] = {}
    missed: list[str] = []
    for name, arguments in JOBS.items():
        first = 0.0
        for size, data in worlds.items():
            cpu_s, wall_s = measure(data, arguments)
            first = first or cpu_s
            most = GROWTH_MAX * size / sizes[0] / 10
            holds = cpu_s <= first * most or size == sizes[0]
            verdict = "" if size == sizes[0] else f"{'ok' if holds else 'MISSED'} <= {most:.1f}"
            table.add_row(name, f"{size:,}", f"{cpu_s:.1f}", f"{wall_s:.1f}", f"{cpu_s / first:.1f}", verdict)
            figures[f"{name} {size}"] = {"cpu_s": cpu_s, "s": wall_s, "of_first": cpu_s / first}
            if not holds:
                missed.append(f"{name} at {size:,}")
    console.print(table)
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2))
    console.print("all budgets hold" if not missed else f"missed: {', '.join(missed)}")
    return 1 if missed else 0


def measure(data: Path, arguments: tuple[str, ...]) -> tuple[float, float]:
    """Return the CPU seconds and the duration of a command on a copy of a world with one wrong value."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(data, Path(folder) / "data"))
        with closing(sqlite3.connect(copy / "kiai.db", isolation_level=None)) as connection:
            connection.execute("UPDATE stats SET plays = plays + 1 WHERE user_id = (SELECT min(user_id) FROM stats)")
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, "-m", "kiai", *arguments, "--data", str(copy)]
        # check=False: the doctor exits with 1 if a problem cannot be repaired, e.g. a map without a file.
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime), took


if __name__ == "__main__":
    sys.exit(main())

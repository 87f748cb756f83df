"""`scripts/bench pythons`: the main requests on each Python of this machine, in turn, by the CPU time of the server.

Each Python gets an environment with the locked packages of the server, in `.bench/pythons`, and a copy of the same
world. Each round measures every Python once, so a slow phase of the machine affects all of them alike.
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
import time
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from scripts.lib.package import pythons
from tests.wire.submitting import BUILD, CLIENT_HASH, password_md5

from benchmarks.__main__ import ENDPOINTS, free_port, ids, load, process, rss_mb, world
from benchmarks.realtime import request
from benchmarks.scores import PASSWORD, PLAYED, PLAYERS, form, once, players

ROOT: Final = Path(__file__).parents[1]
SUBMISSIONS: Final = 200  # in each round
MAPS: Final = 40
READS: Final = ("get_map_info", "get_map_scores")
RESTING_S: Final = 3.0

console = Console()


def main() -> int:
    """Run the benchmark. Return 0."""
    parser = argparse.ArgumentParser(prog="scripts/bench pythons", description=__doc__)
    parser.add_argument("pythons", nargs="*", metavar="PYTHON", help="programs; default: all from 3.11 on")
    parser.add_argument("--scores", type=int, default=20_000, help="size of the world, default %(default)s")
    parser.add_argument("--seconds", type=float, default=1.0, help="duration of each measurement, default %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds, default %(default)s")
    parser.add_argument("--connections", type=int, default=32, help="number of connections, default %(default)s")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--worlds", type=Path, default=Path(".bench"), help="folder of the worlds, default %(default)s")
    options = parser.parse_args()
    data = world(options.worlds, options.scores)
    players(data)
    environments = dict(environment(python, options.worlds / "pythons") for python in options.pythons or pythons())
    figures: dict[str, dict[str, Any]] = {version: {} for version in environments}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        servers = {}
        for version, python in environments.items():
            copy = Path(shutil.copytree(data, Path(folder) / version))
            port = free_port()
            command = [str(python), "-m", "kiai", "serve", "--port", str(port), "--data", str(copy)]
            servers[version] = running.enter_context(
                process(command, port, {"KIAI_RATE_LIMITS": "off", "PYTHONPATH": str(ROOT / "src")})
            )
        time.sleep(RESTING_S)
        for version, (child, _) in servers.items():
            figures[version]["memory at the start, MB"] = [rss_mb(child.pid)]
        measure(data, servers, figures, options)
    show(figures)
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2))
    return 0


def environment(python: str, folder: Path) -> tuple[str, Path]:
    """Return the version of a Python, and the Python of an environment with the locked packages of the server."""
    program = "import platform, sys; print(platform.python_version(), sys.executable)"
    version, interpreter = subprocess.check_output([python, "-c", program], text=True).split()
    made = folder / version
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--allow-existing", "--python", interpreter, str(made)], check=True)
    installed = (made / "bin" / "python").absolute()
    lock = str(ROOT / "requirements" / "serve.lock")
    install = [uv, "pip", "install", "--quiet", "--require-hashes", "--python", str(installed), "-r", lock]
    subprocess.run(install, check=True)
    return version, installed


def measure(data: Path, servers: dict[str, Any], figures: dict[str, dict[str, Any]], options: Any) -> None:
    """Add the CPU time of each kind of request in microseconds, one figure for each round."""
    maps = ids(data, PLAYED)[:MAPS]
    polls = {version: tokens(port) for version, (_, port) in servers.items()}
    warm = [form(md5, objects, number) for number, (md5, objects) in enumerate(maps)]
    for child, port in servers.values():
        once(child, port, warm)
        for name in READS:
            load(child, port, ENDPOINTS[name](data), argparse.Namespace(seconds=0, connections=PLAYERS))

    def add(what: str, version: str, found: dict[str, Any]) -> None:
        figures[version].setdefault(what, []).append(found["cpu_us"])

    for round_ in range(options.rounds):
        first = 1_000 + round_ * SUBMISSIONS
        forms = []
        for number in range(first, first + SUBMISSIONS):
            md5, objects = maps[number % MAPS]
            forms.append(form(md5, objects, number))
        for version, (child, port) in servers.items():
            add("poll", version, load(child, port, polls[version], options, host="-"))
        for name in READS:
            for version, (child, port) in servers.items():
                add(name, version, load(child, port, ENDPOINTS[name](data), options))
        for version, (child, port) in servers.items():
            add("submission", version, once(child, port, forms))


def tokens(port: int) -> list[str]:
    """Log in the players of the benchmark; return a poll of each, in hexadecimal digits."""
    polls = []
    for number in range(PLAYERS):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        body = f"bench {number}\n{password_md5(PASSWORD)}\nb{BUILD}|0|0|{CLIENT_HASH}|0\n".encode()
        connection.request("POST", "/", body, {"Host": "c.localhost", "User-Agent": "osu!"})
        polls.append(request(b"", connection.getresponse().headers["cho-token"] or "").hex())
        connection.close()
    return polls


def show(figures: dict[str, dict[str, Any]]) -> None:
    """Print the median and the lowest figure of the rounds. The lowest one is the least disturbed by the machine."""
    table = Table("CPU us of the server", *figures, title="Pythons: median (lowest)")
    for what in next(iter(figures.values())):
        rows = [found[what] for found in figures.values()]
        table.add_row(what, *(f"{statistics.median(row):,.0f} ({min(row):,.0f})" for row in rows))
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(main())

"""`scripts/bench --crowd N`: N players online at a real pace, with limits on, on one process with SQLite.

Each player has a connection and an address of its own, polls at a fixed rate whether or not the last poll was answered
late, and changes its status now and then. Meanwhile the players open leaderboards and submit plays at the rates of
docs/scaling.md. The server and this generator use one core each, if there are two. All traffic stays on loopback.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import math
import random
import sqlite3
import ssl
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, cast
from urllib.parse import quote, urlencode

import uvloop
from rich.console import Console
from rich.table import Table
from tests.builders import a_map
from tests.faces.bancho.client_bytes import whole
from tests.wire.submitting import BUILD, OSU, SUBMIT, Played, multipart, password_md5

from benchmarks.__main__ import cpu_s, free_port, mapped_mb, pinned, process, rss_mb
from benchmarks.http_client import request
from benchmarks.nginx import nginx_before
from kiai.app import open_services
from kiai.beatmaps.model import MapStatus
from kiai.faces.bancho.packets import ChangeAction, ClientPacket
from kiai.settings import load_settings
from kiai.storage.tables import users

PASSWORD: Final = "correct horse 7"
BANCHO: Final = "c.localhost"
API: Final = "api.localhost"
PLAYERS: Final = 10_000
POLL_EVERY_S: Final = 2.0
STATUS_EVERY: Final = 20  # polls
SECONDS_OF_A_PLAY: Final = 150.0
PLAYING: Final = 0.6
BOARDS_OF_A_PLAY: Final = 3
LOGINS_AT_ONCE: Final = 32
HELPERS: Final = 24
"""Connections for leaderboards and plays, which take longer than a poll."""
SONGS: Final = [a_map(700_000 + n, set_id=700_000 + n, objects=100, title=f"Song {n}") for n in range(50)]
SETTLE_S: Final = 10.0
P99_MAX_MS: Final = 50.0
_STATUS: Final = whole(ClientPacket.CHANGE_ACTION, ChangeAction(2, "Artist - Song [Normal]", "0" * 32, 0, 0, 0))

console = Console()


def main() -> int:
    """Measure. Return 1 if a request fails, a session ends or the p99 of polls is above the budget."""
    parser = argparse.ArgumentParser(prog="scripts/bench --crowd", description=__doc__)
    parser.add_argument("players", nargs="?", type=int, default=PLAYERS, help="players online, default %(default)s")
    parser.add_argument("--seconds", type=float, default=30.0, help="duration of the measurement, default %(default)s")
    parser.add_argument("--tls", action="store_true", help="connect with TLS to a server with `--tls self`")
    parser.add_argument("--nginx", action="store_true", help="connect with TLS to nginx, which asks the server")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    options = parser.parse_args()
    random.seed(1)
    found = run(options.players, options.seconds, tls=options.tls, through_nginx=options.nginx)
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2))
    return report(found)


def run(players: int, seconds: float, *, tls: bool, through_nginx: bool) -> dict[str, Any]:
    """Return the figures of a crowd against a server of its own."""
    if tls and through_nginx:
        raise SystemExit("--tls and --nginx are two ways to have TLS; choose one")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        asyncio.run(prepare(data))
        with contextlib.closing(sqlite3.connect(data / "kiai.db")) as connection, connection:
            connection.execute(copy_accounts(players))
        port = free_port()
        command = [sys.executable, "-m", "kiai", "serve", "--port", str(port), "--data", str(data)]
        command += ["--tls", "self", "--http-port", "off"] if tls else []
        settings = {
            "KIAI_TRUSTED_PROXY": "127.0.0.1/32",
            "KIAI_CONNECTIONS_MAX": str(players + 1_000),
            "KIAI_FIRST_USER_IS_OWNER": "off",
        }
        with process(command, port, settings) as (server, _):
            if (pin := pinned(1)) is not None:
                pin()
            with contextlib.ExitStack() as stack, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                nginx = None
                if through_nginx:
                    port, nginx = stack.enter_context(nginx_before(port, Path(folder)))
                crowd = Crowd(port, players, tls=tls or through_nginx)
                return runner.run(measure(crowd, server.pid, seconds, nginx))


async def measure(crowd: "Crowd", pid: int, seconds: float, nginx: int | None) -> dict[str, Any]:
    """Log everybody in, measure, and ask the server how many are online. `nginx` is its process in front."""
    warm_up, measured = Load.of(crowd.players, SETTLE_S), Load.of(crowd.players, seconds, first=crowd.players)
    before_mb, began, before_s = rss_mb(pid) - mapped_mb(pid), time.perf_counter(), cpu_s(pid)
    await crowd.log_in()
    took_s, login_us = time.perf_counter() - began, (cpu_s(pid) - before_s) / crowd.players * 1e6
    await crowd.live(SETTLE_S, warm_up)  # the news of the logins are delivered, and the processes for plays start
    crowd.times.clear()
    online_mb, before_s, began = rss_mb(pid) - mapped_mb(pid), cpu_s(pid), time.perf_counter()
    nginx_s = 0.0 if nginx is None else cpu_s(nginx)
    await crowd.live(seconds, measured)
    took_measured_s = time.perf_counter() - began
    busy = (cpu_s(pid) - before_s) / took_measured_s
    of_nginx = {} if nginx is None else {"busy": (cpu_s(nginx) - nginx_s) / took_measured_s, "mb": rss_mb(nginx)}
    online = await crowd.online()
    await crowd.stop()
    return {
        "players": crowd.players,
        "logins_per_s": crowd.players / took_s,
        "login_cpu_us": login_us,
        "start_mb": before_mb,
        "online_mb": online_mb,
        "after_mb": rss_mb(pid) - mapped_mb(pid),
        "busy": busy,
        "nginx": of_nginx,
        "online": online,
        "faults": dict(crowd.faults),
        "kinds": {kind: figures(times, seconds) for kind, times in crowd.times.items()},
    }


def figures(times: Sequence[float], seconds: float) -> dict[str, float]:
    """Return the rate and the latency in ms."""
    ordered = sorted(times)
    p99 = ordered[math.ceil(0.99 * len(ordered)) - 1]
    return {"per_s": len(ordered) / seconds, "p50_ms": ordered[len(ordered) // 2] * 1e3, "p99_ms": p99 * 1e3}


# --- the world


async def prepare(data: Path) -> None:
    """Create an account and maps."""
    async with open_services(load_settings(data=data)) as services:
        await services.accounts.register(name="crowd 0", email="crowd0@example.org", password=PASSWORD, priv=3)
        for song in SONGS:
            await services.importer.import_file(song.data, name="map", status=MapStatus.RANKED)


def copy_accounts(players: int) -> str:
    """Return a statement that copies the first account. All have one password hash, which the server caches."""
    same = ", ".join(column.name for column in users.c if column.name not in ("id", "name", "safe_name", "email"))
    return (
        f"WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {players - 1}) "
        f"INSERT INTO users (name, safe_name, email, {same}) "
        f"SELECT 'crowd ' || n, 'crowd_' || n, 'crowd' || n || '@example.org', {same} "
        "FROM users, numbers WHERE safe_name = 'crowd_0'"
    )


def address_of(number: int) -> str:
    """Return the address of a player; the range is reserved for benchmarks."""
    return f"198.{18 + number // 65_536}.{number // 256 % 256}.{number % 256}"


def device_of(number: int) -> str:
    """Return the client hashes of a player, who has a device of their own."""
    parts = (hashlib.md5(f"{number} {part}".encode()).hexdigest() for part in ("path", "adapters", "uninstall", "disk"))
    path, adapters, uninstall, disk = parts
    return f"{path}:.{adapters[:12]}.:{adapters}:{uninstall}:{disk}:"


# --- requests


def board(number: int) -> bytes:
    """Return a request of song select."""
    query = {"us": f"crowd {number}", "ha": password_md5(PASSWORD), "c": random.choice(SONGS).md5}
    query |= {"s": "0", "vv": "4", "v": "1", "m": "0", "mods": "0"}
    return request("GET", OSU, "/web/osu-osz2-getscores.php?" + urlencode(query, quote_via=quote), address_of(number))


class Load(NamedTuple):
    """The leaderboards and plays of a period, encoded and encrypted in advance."""

    boards: list[bytes]
    plays: list[bytes]

    @classmethod
    def of(cls, players: int, seconds: float, first: int = 0) -> "Load":
        """Return the load of this many players. `first` is added to scores, so that plays beat earlier ones."""
        plays = []
        for number in range(round(seconds * players * PLAYING / SECONDS_OF_A_PLAY)):
            player, song = number % players, SONGS[number % len(SONGS)]
            played = Played(
                song.md5,
                f"crowd {player}",
                score=1_000 + first + number,
                password=PASSWORD,
                client_hash=device_of(player),
            )
            body, kind = multipart(played.parts())
            headers = {"Content-Type": kind, "Token": "x"}
            plays.append(request("POST", OSU, SUBMIT, address_of(player), headers, body))
        return cls([board(random.randrange(players)) for _ in range(BOARDS_OF_A_PLAY * len(plays))], plays)


class Connection(asyncio.Protocol):
    """A kept connection that sends one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[bytes, bytes]] | None = None
        self._received = b""

    @property
    def waits(self) -> bool:
        """Whether an answer is outstanding."""
        return self._answer is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one without being derived from it

    def ask(self, raw: bytes) -> "asyncio.Future[tuple[bytes, bytes]]":
        """Send a request. Return its answer: head and body. Raises ConnectionError."""
        self._answer = asyncio.get_running_loop().create_future()
        if self._transport is None or self._transport.is_closing():
            self.connection_lost(None)
        else:
            self._transport.write(raw)
        return self._answer if self._answer is not None else _lost()

    def data_received(self, data: bytes) -> None:
        """Complete the answer when its last byte has come."""
        data = self._received + data
        end = data.find(b"\r\n\r\n")
        start = data.lower().find(b"content-length: ") + 16  # nginx writes it with capitals
        if end < 0 or len(data) < end + 4 + int(data[start : data.find(b"\r", start)]):
            self._received = data
            return
        self._received = b""
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result((data[:end], data[end + 4 :]))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the outstanding answer."""
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(ConnectionError("the server has closed the connection"))

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


def _lost() -> "asyncio.Future[tuple[bytes, bytes]]":
    lost: asyncio.Future[tuple[bytes, bytes]] = asyncio.get_running_loop().create_future()
    lost.set_exception(ConnectionError("the server has closed the connection"))
    return lost


class Crowd:
    """The players. `times` has the durations of requests in seconds by kind, `faults` the number of wrong answers."""

    def __init__(self, port: int, players: int, *, tls: bool) -> None:
        self.players = players
        self.times: dict[str, list[float]] = defaultdict(list)
        self.faults: dict[str, int] = defaultdict(int)
        self._port = port
        self._tls = _trusting() if tls else None
        self._polling: list[asyncio.Task[None]] = []

    async def log_in(self) -> None:
        """Log everybody in, `LOGINS_AT_ONCE` at a time; each player then polls. Raises SystemExit for a refusal."""
        numbers = iter(range(self.players))

        async def some() -> None:
            for number in numbers:
                connection = await self._connect()
                body = f"crowd {number}\n{password_md5(PASSWORD)}\nb{BUILD}|0|0|{device_of(number)}|0\n".encode()
                head, _ = await connection.ask(request("POST", BANCHO, "/", address_of(number), None, body))
                token = head.partition(b"cho-token: ")[2][:36].decode()
                if len(token) != 36:
                    raise SystemExit(f"crowd {number} cannot log in: {head[:200]!r}")
                self._polling.append(asyncio.create_task(self._poll(number, connection, token)))

        await asyncio.gather(*(some() for _ in range(LOGINS_AT_ONCE)))

    async def live(self, seconds: float, load: Load) -> None:
        """Send a load, evenly over the time, while everybody polls."""
        helpers: asyncio.Queue[Connection] = asyncio.Queue()
        for _ in range(HELPERS):
            helpers.put_nowait(await self._connect())
        await asyncio.gather(
            asyncio.sleep(seconds),
            self._send_evenly("leaderboards", load.boards, seconds, helpers),
            self._send_evenly("plays", load.plays, seconds, helpers),
        )
        while not helpers.empty():
            helpers.get_nowait().close()

    async def online(self) -> int:
        """Return the number of players online, as the API counts them."""
        connection = await self._connect()
        _, body = await connection.ask(request("GET", API, "/get_player_count", "198.51.100.1"))
        connection.close()
        return int(json.loads(body)["counts"]["online"])

    async def stop(self) -> None:
        """End all polls."""
        for polling in self._polling:
            polling.cancel()
        await asyncio.gather(*self._polling, return_exceptions=True)

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        host = None if self._tls is None else BANCHO
        _, connection = await loop.create_connection(
            Connection, "127.0.0.1", self._port, ssl=self._tls, server_hostname=host
        )
        return connection

    async def _poll(self, number: int, connection: Connection, token: str) -> None:
        headers = {"osu-token": token}
        idle = request("POST", BANCHO, "/", address_of(number), headers)
        status = request("POST", BANCHO, "/", address_of(number), headers, _STATUS)
        due, count = time.perf_counter() + random.random() * POLL_EVERY_S, random.randrange(STATUS_EVERY)
        while True:
            await asyncio.sleep(due - time.perf_counter())
            count += 1
            await self._timed("polls", connection, idle if count % STATUS_EVERY else status, due)
            due += POLL_EVERY_S

    async def _send_evenly(
        self, kind: str, requests: Sequence[bytes], seconds: float, helpers: asyncio.Queue[Connection]
    ) -> None:
        began = time.perf_counter()
        sent = []

        async def send(raw: bytes, due: float) -> None:
            connection = await helpers.get()
            await self._timed(kind, connection, raw, due)
            helpers.put_nowait(connection)

        for number, raw in enumerate(requests):
            due = began + seconds * number / len(requests)
            await asyncio.sleep(due - time.perf_counter())
            sent.append(asyncio.create_task(send(raw, due)))
        await asyncio.gather(*sent)

    async def _timed(self, kind: str, connection: Connection, raw: bytes, due: float) -> None:
        """Send a request. Its time counts from when it was due, so that a late generator is visible too."""
        try:
            head, _ = await connection.ask(raw)
        except ConnectionError:
            self.faults[f"{kind}: connection closed"] += 1
            return
        self.times[kind].append(time.perf_counter() - due)
        if head[9:12] != b"200":
            self.faults[f"{kind}: {head[9:12].decode()}"] += 1


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the authority of the server is new
    return context


def report(found: dict[str, Any]) -> int:
    """Print the figures. Return 1 if a request failed, a session ended or the p99 of polls is above the budget."""
    table = Table(title=f"{found['players']:,} players online, one process")
    for column in ("what", "a second", "p50 ms", "p99 ms"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for kind, row in found["kinds"].items():
        table.add_row(kind, f"{row['per_s']:,.0f}", f"{row['p50_ms']:.1f}", f"{row['p99_ms']:.1f}")
    console.print(table)
    each_kb = (found["online_mb"] - found["start_mb"]) * 1024 / found["players"]
    console.print(
        f"logins: {found['logins_per_s']:,.0f} a second, {found['login_cpu_us']:,.0f} us of the server each\n"
        f"server: {100 * found['busy']:.0f} % of a core\n"
        f"memory without mapped files: {found['start_mb']:.0f} MB at start, {found['online_mb']:.0f} MB with everybody "
        f"online ({each_kb:.1f} KB each), {found['after_mb']:.0f} MB at the end"
    )
    if found["nginx"]:
        console.print(f"nginx: {100 * found['nginx']['busy']:.0f} % of a core, {found['nginx']['mb']:.0f} MB")
    missed = [f"{count} x {fault}" for fault, count in found["faults"].items()]
    if found["online"] != found["players"]:
        missed.append(f"{found['online']} of {found['players']} players online at the end")
    if found["kinds"]["polls"]["p99_ms"] > P99_MAX_MS:
        missed.append(f"p99 of polls above {P99_MAX_MS:g} ms")
    console.print("all budgets hold" if not missed else f"missed: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        raise SystemExit(main())

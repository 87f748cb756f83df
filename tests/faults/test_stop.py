"""A stop takes less than 10 s, whatever the server is doing, and ends with exit code 0."""

import contextlib
import http.client
import itertools
import lzma
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from benchmarks.attacks import slow_picture
from tests.builders import a_map
from tests.patience import join, patiently
from tests.wire.kit import BEHIND_PROXY, Server, cli, eventually
from tests.wire.submitting import OSU, SUBMIT, Played, log_in, multipart, prepare

STOP_S = 10.0
SONG = a_map(701, objects=100)
HASHES = 50
HANGING_NAMES = """
import socket, time

really = socket.getaddrinfo


def hanging(host, *arguments, **more):
    if host in ("hangs.example", b"hangs.example"):
        time.sleep(3_600)
    return really(host, *arguments, **more)


socket.getaddrinfo = hanging
"""
"""`sitecustomize` of a machine whose name server does not answer for one name."""


@pytest.fixture
def hanging_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HANGING_NAMES)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def stopped(server: Server) -> float:
    """Send SIGTERM, expect exit code 0, and return the seconds that it took."""
    process = server._process
    assert process is not None
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code = process.wait(patiently(2 * STOP_S))
    took_s = time.monotonic() - began
    assert code == 0, server.stderr
    return took_s


@contextlib.contextmanager
def silent_irc_client(port: int) -> Iterator[None]:
    """A client of IRC that sends until the server waits for it, and reads nothing."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.settimeout(patiently(1))
        client.connect(("127.0.0.1", port))
        too_long = b"x" * 2_100 + b"\n"
        with contextlib.suppress(TimeoutError, ConnectionError):
            for _ in range(20_000):  # each is answered
                client.sendall(too_long)
        yield


@contextlib.contextmanager
def slow_upload(port: int) -> Iterator[None]:
    """An upload that arrives slowly, but fast enough not to be refused."""
    ended = threading.Event()

    def send() -> None:
        with socket.create_connection(("127.0.0.1", port)) as client, contextlib.suppress(OSError):
            head = "POST /web/osu-screenshot.php HTTP/1.1\r\nHost: osu.localhost\r\nContent-Length: 1000000\r\n"
            client.sendall((head + "Content-Type: multipart/form-data; boundary=x\r\n\r\n").encode())
            while not ended.wait(0.05):
                client.sendall(b"x" * 1_024)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        join(thread)


def queue_hashes(server: Server, pool: ThreadPoolExecutor) -> None:
    """Begin as many checks of passwords as may wait, from many addresses."""

    def guess(number: int) -> None:
        path = f"/web/osu-getfriends.php?u=nobody{number}&h={'0' * 32}"
        with contextlib.suppress(OSError):
            server.ask("GET", path, host="osu.localhost", address=f"203.0.{number}.7")

    for number in range(HASHES):
        pool.submit(guess, number)


@contextlib.contextmanager
def uploads(server: Server, key: str) -> Iterator[None]:
    """Pictures and replays that take seconds to read, one after the other on each connection."""
    ended = threading.Event()
    picture, picture_kind = multipart([("avatar", "avatar.jpg", slow_picture())])
    replay = lzma.compress(b"11|1|1|1," * (5 * 1024 * 1024), format=lzma.FORMAT_ALONE, preset=0)

    def send_pictures(address: str) -> None:
        headers = {"Content-Type": picture_kind}
        with contextlib.suppress(OSError, http.client.HTTPException):  # the server has stopped
            while not ended.is_set():
                server.ask("POST", "/set_avatar", headers=headers, body=picture, key=key, address=address)

    def send_replays(address: str) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            for number in itertools.count(1):
                if ended.is_set():
                    return
                body, kind = multipart(Played(SONG.md5, score=1_000 + number, replay=replay).parts())
                headers = {"User-Agent": "osu!", "Content-Type": kind, "Token": "x"}
                server.ask("POST", SUBMIT, host=OSU, headers=headers, body=body, address=address)

    threads = [
        threading.Thread(target=send, args=(f"198.51.{number}.7",))
        for number, send in enumerate((send_pictures, send_pictures, send_replays, send_replays))
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            join(thread)


def in_use(server: Server, *pools: str) -> bool:
    """Return whether all of these pools have work at this moment."""
    metrics = server.ask("GET", "/metrics", host="localhost", address="127.0.0.1").body.decode()
    return all(re.search(rf'kiai_pool_in_use{{pool="{pool}"}} [1-9]', metrics) for pool in pools)


def test_stop_ends_in_time_with_everything_under_way(tmp_path: Path, hanging_names: None) -> None:
    data = tmp_path / "data"
    prepare(data, ["alice"], vector_maps=False)
    maps = tmp_path / "maps"
    maps.mkdir()
    (maps / "701.osu").write_bytes(SONG.data)
    settings = {**BEHIND_PROXY, "IRC": "127.0.0.1:0", "ALLOW_PRIVATE_WEBHOOKS": "on"}
    server = Server(data, **settings)
    cli(data, "webhooks", "add", "http://hangs.example/", "--events", "server_start,server_stop", **settings)
    try:
        server.start(cold=True)
        server.cli("beatmaps", "import", str(maps))
        key = server.cli("users", "apikey", "alice")["key"]
        log_in(server, "alice")
        with (
            ThreadPoolExecutor(HASHES) as pool,
            slow_upload(server.port),
            silent_irc_client(server.irc_ports["irc"]),
            uploads(server, key),
        ):
            eventually(lambda: in_use(server, "pictures", "long_replays"), within_s=30)
            queue_hashes(server, pool)
            took_s = stopped(server)
    finally:
        server.kill()

    assert took_s < max(STOP_S, patiently(2))
    assert '"part of the stop' not in server.stderr
    assert '"stop takes too long' not in server.stderr


def test_idle_server_stops_at_once_also_with_a_look_up_that_hangs(tmp_path: Path, hanging_names: None) -> None:
    data = tmp_path / "data"
    settings = {"ALLOW_PRIVATE_WEBHOOKS": "on"}
    cli(data, "webhooks", "add", "http://hangs.example/", "--events", "server_start", **settings)
    server = Server(data, **settings)
    try:
        server.start(cold=True)
        # The delivery has been tried and has failed; its lookup still runs.
        eventually(lambda: "webhook not delivered" in server.stderr, within_s=20)
        took_s = stopped(server)
    finally:
        server.kill()

    assert took_s < patiently(4)

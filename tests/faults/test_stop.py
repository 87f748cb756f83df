"""A stop takes less than 10 s, whatever the server is doing, and ends with exit code 0."""

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.patience import patiently
from tests.wire.kit import BEHIND_PROXY, Server, cli, eventually

STOP_S = 10.0
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
        thread.join()


def queue_hashes(server: Server, pool: ThreadPoolExecutor) -> None:
    """Begin as many checks of passwords as may wait, from many addresses."""

    def guess(number: int) -> None:
        path = f"/web/osu-getfriends.php?u=nobody{number}&h={'0' * 32}"
        with contextlib.suppress(OSError):
            server.ask("GET", path, host="osu.localhost", address=f"203.0.{number}.7")

    for number in range(HASHES):
        pool.submit(guess, number)


def test_stop_ends_in_time_with_everything_under_way(tmp_path: Path, hanging_names: None) -> None:
    data = tmp_path / "data"
    settings = {**BEHIND_PROXY, "IRC": "127.0.0.1:0", "ALLOW_PRIVATE_WEBHOOKS": "on"}
    server = Server(data, **settings)
    cli(data, "webhooks", "add", "http://hangs.example/", "--events", "server_start,server_stop", **settings)
    try:
        server.start(cold=True)
        with (
            ThreadPoolExecutor(HASHES) as pool,
            slow_upload(server.port),
            silent_irc_client(server.irc_ports["irc"]),
        ):
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

"""Uploads that are half sent and never finished take a bounded amount of memory, and nobody else waits for them."""

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.builders import a_map
from tests.patience import Deadline, patiently
from tests.wire.kit import Server
from tests.wire.submitting import OSU, SUBMIT, Played, log_in, multipart, prepare, submit

pytestmark = pytest.mark.any_store

MIB: Final = 1024 * 1024
UPLOADS: Final = 40
HALF: Final = 8 * MIB
GROWTH_MAX: Final = 150 * MIB
SENDING_S: Final = 4.0
SONG: Final = a_map(701, objects=100)
PART: Final = b'--x\r\nContent-Disposition: form-data; name="score"; filename="replay"\r\n\r\n'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    data = tmp_path / "data"
    prepare(data, ["alice"], vector_maps=False)
    folder = tmp_path / "maps"
    folder.mkdir()
    (folder / "701.osu").write_bytes(SONG.data)
    server = Server(data).start(cold=True)  # its memory is measured
    server.cli("beatmaps", "import", str(folder))
    try:
        log_in(server, "alice")
        yield server
    finally:
        server.kill()


def resident_bytes(server: Server) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{server.process_id}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def send_while_accepted(connections: list[socket.socket], body: bytes) -> None:
    """Send to all connections in turn while the server reads, for at most `SENDING_S` seconds."""
    left = {one: memoryview(body) for one in connections}
    deadline = Deadline(SENDING_S)
    while left and not deadline.passed():
        for one, rest in tuple(left.items()):
            with contextlib.suppress(BlockingIOError):
                try:
                    left[one] = rest[one.send(rest[: 256 * 1024]) :]
                except OSError as error:
                    if isinstance(error, BlockingIOError):
                        raise
                    left[one] = rest[:0]  # refused meanwhile
            if not left[one]:
                del left[one]
        time.sleep(0.001)


def test_half_sent_uploads_use_bounded_memory_and_a_valid_play_is_accepted(server: Server) -> None:
    assert submit(server, Played(SONG.md5, score=1_000)).body.startswith(b"beatmapId")
    head = (
        f"POST {SUBMIT} HTTP/1.1\r\nHost: {OSU}\r\nContent-Length: {20 * MIB}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    ).encode()
    before = resident_bytes(server)
    with contextlib.ExitStack() as opened:
        connections = [
            opened.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(UPLOADS)
        ]
        for one in connections:
            one.setblocking(False)
        send_while_accepted(connections, head + PART + bytes(HALF))
        growth = resident_bytes(server) - before

        answer = submit(server, Played(SONG.md5, score=2_000, replay=None))

        assert answer.body.startswith(b"beatmapId"), answer
        assert growth < GROWTH_MAX, f"{growth // MIB} MiB"


def test_replay_is_not_read_after_a_wrong_password(server: Server) -> None:
    played = Played(SONG.md5, password="wrong password").sealed()
    body, kind = multipart([*played.parts()[:-1], ("score", "replay", bytes(9 * MIB))])
    head = f"POST {SUBMIT} HTTP/1.1\r\nHost: {OSU}\r\nContent-Length: {len(body)}\r\nContent-Type: {kind}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=patiently(60.0)) as connection:
        connection.sendall(head.encode() + body[:MIB])

        answer = connection.recv(65_536)

    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"error: pass")

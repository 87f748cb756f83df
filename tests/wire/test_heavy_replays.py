"""Replays of a few KB that take seconds to read, sent to a real server concurrently by one player."""

import lzma
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import pytest
from tests.builders import a_map
from tests.patience import patiently
from tests.wire.kit import Reply, Server, eventually
from tests.wire.submitting import Played, log_in, prepare, submit

pytestmark = pytest.mark.any_store

SONG: Final = a_map(701, objects=100)
AT_ONCE: Final = 4
STOPS_WITHIN_S: Final = 10.0


def heavy_frames(number: int) -> bytes:
    """Return about 7 KB that decompress to 48 MiB of frames."""
    text = b"%d|1|1|1," % (10 + number) * (5 * 1024 * 1024)
    return lzma.compress(text, format=lzma.FORMAT_ALONE, preset=0)


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("heavy") / "data"
    prepare(data, ["alice", "bob"], vector_maps=False)
    folder = data.parent / "maps"
    folder.mkdir()
    (folder / "701.osu").write_bytes(SONG.data)
    server = Server(data).start()
    server.cli("beatmaps", "import", str(folder))
    try:
        for name in ("alice", "bob"):
            log_in(server, name)
        yield server
    finally:
        server.kill()


@pytest.fixture
def senders() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        yield threads


def attack(server: Server, senders: ThreadPoolExecutor) -> list[Future[Reply]]:
    plays = [Played(SONG.md5, name="alice", score=1_000 + n, replay=heavy_frames(n)) for n in range(AT_ONCE)]
    return [senders.submit(submit, server, play) for play in plays]


def decodes_long_replay(server: Server) -> bool:
    return 'kiai_pool_in_use{pool="long_replays"} 1' in server.get("/metrics", host="localhost").body.decode()


def test_valid_play_is_accepted_during_heavy_replays(server: Server, senders: ThreadPoolExecutor) -> None:
    submit(server, Played(SONG.md5, name="bob"))  # starts the worker processes
    sent = attack(server, senders)
    eventually(lambda: decodes_long_replay(server))

    answer = submit(server, Played(SONG.md5, name="bob", score=200_000))

    assert not all(one.done() for one in sent)
    assert answer.body.decode().startswith("beatmapId:701")
    server.kill()  # the rest of the attack takes long on a busy machine
    for one in sent:
        one.exception()


def test_shutdown_is_in_time_during_heavy_replays(server: Server, senders: ThreadPoolExecutor) -> None:
    sent = attack(server, senders)
    eventually(lambda: decodes_long_replay(server))
    began = time.monotonic()

    server.stop()

    assert time.monotonic() - began < patiently(STOPS_WITHIN_S)
    for one in sent:
        one.exception()
    assert '"unhandled"' not in server.stderr

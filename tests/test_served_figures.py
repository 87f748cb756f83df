"""The socket of `kiai top`: rates between two readings, and a socket that is stale, silent or on a long path."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.patience import join

from kiai.errors import Refused, Unavailable
from kiai.measuring import Reading
from kiai.served_figures import (
    FILE,
    FiguresSender,
    ServerFigures,
    SlowStatement,
    StoreFigures,
    opened_figures_socket,
    rates_between,
    read_figures,
)

BEFORE = ServerFigures(
    at_s=100.0,
    reading=Reading(requests=1_000, errors=0, submissions=0, durations=(900.0, 90.0, 10.0), lag_ms=1.0, online=4),
    bounds_ms=(10.0, 100.0),
    rss_bytes=100,
    workers=2,
    stores={"database": StoreFigures("ok", (50.0, 0.0, 0.0)), "files": StoreFigures("ok")},
    call_bounds_s=(0.001, 0.01),
)
NOW = ServerFigures(
    at_s=102.0,
    reading=Reading(requests=1_100, errors=0, submissions=0, durations=(900.0, 190.0, 10.0), lag_ms=7.5, online=5),
    bounds_ms=(10.0, 100.0),
    rss_bytes=200,
    workers=3,
    stores={"database": StoreFigures("no answer in 1 s", (50.0, 10.0, 0.0)), "files": StoreFigures("ok")},
    call_bounds_s=(0.001, 0.01),
    slow=[SlowStatement("kiai.scores.boards.OWN", 812.5, 3)],
)


async def answering() -> ServerFigures:
    return NOW


@pytest.fixture(params=["short", "long"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A data folder, also one whose path is too long for a socket."""
    folder = tmp_path / ("d" if request.param == "short" else "d" * 120)
    folder.mkdir()
    return folder


def served_once(data: Path) -> ServerFigures:
    """Read the figures of a server that is started for it."""

    async def serve() -> ServerFigures:
        with opened_figures_socket(data) as listening:
            assert listening is not None
            sender = FiguresSender(listening, answering)
            sender.start()
            found = await asyncio.to_thread(read_figures, data)
            sender.stop()
        return found

    return asyncio.run(serve())


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[Path]:
    """A data folder whose server closes each connection without an answer."""
    with opened_figures_socket(tmp_path) as listening:
        assert listening is not None
        listening.setblocking(True)
        thread = threading.Thread(target=lambda: listening.accept()[0].close())
        thread.start()
        yield tmp_path
        join(thread)


def test_rates_are_of_the_time_between_two_readings() -> None:
    rates = rates_between(BEFORE, NOW)

    assert (rates.online, rates.loop_lag_ms, rates.rss_bytes, rates.workers) == (5, 7.5, 200, 3)
    assert rates.requests_per_s == 50.0
    assert rates.p99_ms == pytest.approx(99.1)
    assert rates.stores["database"].status == "no answer in 1 s"
    assert rates.stores["database"].calls_per_s == 5.0
    assert rates.stores["database"].p99_ms == pytest.approx(9.91)
    assert msgspec.structs.astuple(rates.stores["files"]) == ("ok", 0.0, None)
    assert rates.slow == NOW.slow


def test_a_server_that_was_started_again_has_no_negative_rates() -> None:
    rates = rates_between(NOW, msgspec.structs.replace(BEFORE, at_s=103.0))

    assert (rates.requests_per_s, rates.p99_ms, rates.stores["database"].calls_per_s) == (0.0, None, 0.0)


def test_socket_sends_the_figures_and_is_private_and_removed_at_the_end(data: Path) -> None:
    with opened_figures_socket(data):
        assert (data / FILE).stat().st_mode & 0o777 == 0o600
    assert not (data / FILE).exists()

    assert served_once(data) == NOW


def test_socket_of_a_killed_server_is_replaced(data: Path) -> None:
    with opened_figures_socket(data) as killed:
        assert killed is not None
        (data / FILE).rename(data / "kept")
    (data / "kept").rename(data / FILE)

    with pytest.raises(Refused, match="no server runs on"):
        read_figures(data)
    assert served_once(data) == NOW


def test_end_of_an_earlier_server_leaves_the_socket_of_a_later_one(tmp_path: Path) -> None:
    with opened_figures_socket(tmp_path):
        later = opened_figures_socket(tmp_path)
        later.__enter__()

    assert (tmp_path / FILE).exists()
    later.__exit__(None, None, None)
    assert not (tmp_path / FILE).exists()


def test_folder_that_cannot_have_a_socket_does_not_prevent_the_start(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()

    with opened_figures_socket(tmp_path) as listening:
        assert listening is None
    assert (tmp_path / FILE).is_dir()


def test_server_without_an_answer_is_told_from_one_that_does_not_run(silent: Path) -> None:
    with pytest.raises(Unavailable, match="SIGUSR1"):
        read_figures(silent)


def test_client_that_does_not_read_does_not_keep_others_waiting(tmp_path: Path) -> None:
    async def serve() -> ServerFigures:
        with opened_figures_socket(tmp_path) as listening:
            assert listening is not None
            sender = FiguresSender(listening, answering)
            sender.start()
            with socket.socket(socket.AF_UNIX) as idle:
                idle.connect(str(tmp_path / FILE))
                found = await asyncio.to_thread(read_figures, tmp_path)
            sender.stop()
        return found

    assert asyncio.run(serve()) == NOW

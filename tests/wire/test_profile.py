"""`kiai profile` on a running server, and without one."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import stores
from tests.patience import patiently
from tests.wire.kit import KIAI, Server, environment, run_kiai

pytestmark = pytest.mark.any_store


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("profile") / "data").start()
    try:
        yield server
        server.stop()
        assert not list(server.data.glob("profile-*"))
    finally:
        server.kill()


def profiled(server: Server, *arguments: str) -> str:
    """Return what `kiai profile` prints while the server answers requests. An idle one may have no sample."""
    command = subprocess.Popen(
        [*KIAI, "profile", *arguments, "--data", str(server.data)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(stores.variables(server.data)),
    )
    while command.poll() is None:
        assert server.get("/metrics", host="localhost").status == 200
    shown = command.communicate(timeout=patiently(60))[0]
    assert command.returncode == 0
    return shown


def test_functions_that_answer_requests_are_found(server: Server, tmp_path: Path) -> None:
    flame = tmp_path / "flame.json"
    shown = profiled(server, "2s", "--flame", str(flame))

    assert shown.startswith("Process ")
    assert "thread MainThread" in shown
    assert "Front.__call__" in shown
    written = json.loads(flame.read_text("utf-8"))
    assert written["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    assert any("Front.__call__" in frame["name"] for frame in written["shared"]["frames"])
    assert all(len(one["samples"]) == len(one["weights"]) for one in written["profiles"])


def test_json_has_each_process_of_the_server(server: Server) -> None:
    [found] = json.loads(profiled(server, "1s", "--json"))["profiles"]

    assert found["seconds"] == pytest.approx(1, abs=0.5)
    assert set(found["stacks"][0]) == {"thread", "frames", "ms"}
    assert server.cli("profile", "1s", "--pid", str(found["pid"]))["profiles"][0]["pid"] == found["pid"]


@pytest.mark.parametrize("duration", ["0s", "61s", "10", "fast"])
def test_duration_out_of_bounds_is_refused(server: Server, duration: str) -> None:
    done = run_kiai(server.data, "profile", duration)

    assert done.returncode == 1
    assert "1s to 60s" in done.stderr
    assert duration in done.stderr


def test_without_a_server_the_command_fails(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert run_kiai(data, "migrate").returncode == 0

    done = run_kiai(data, "profile", "1s", "--json")

    assert done.returncode == 1
    assert f"no server runs on {data}" in json.loads(done.stdout)["error"]

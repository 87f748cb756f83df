"""A server or command that dies by SIGKILL while a change is settled: the next server goes on, and all is right."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests import stores
from tests.patience import patiently
from tests.wire.kit import COMMAND_S, KIAI, Server, cli, environment, eventually

from kiai.demo.composing import SET_ID_FIRST

SET = str(SET_ID_FIRST)  # of the demo world


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("settling") / "prepared"
    cli(data, "demo", "--players", "30", "--maps", "10", "--scores", "600")
    return data


def waiting(data: Path) -> int:
    """How much is left to do, by the doctor; what it will correct counts as problems until then."""
    command = [*KIAI, "doctor", "--data", str(data), "--json"]
    env = environment(stores.variables(data))
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=patiently(COMMAND_S))
    return int(json.loads(done.stdout)["waiting"])


@pytest.mark.parametrize("failpoint", ["settle.map_status", "settle.totals", "settle.committed"])
def test_a_command_that_is_killed_at_any_step_is_finished_by_the_next_server(
    prepared: Path, tmp_path: Path, failpoint: str
) -> None:
    data = stores.copied(prepared, tmp_path / "data")
    command = [*KIAI, "beatmaps", "status", "pending", "--set", SET, "--data", str(data), "--json"]
    failing = {"TESTING": "1", "FAILPOINTS": f"{failpoint}=once:kill"}
    env = environment({**stores.variables(data), **failing})

    died = subprocess.run(command, capture_output=True, text=True, env=env, timeout=patiently(COMMAND_S))
    left = waiting(data)
    server = Server(data).start()
    try:
        eventually(lambda: waiting(data) == 0, within_s=60)
    finally:
        server.stop()
    examined: Any = cli(data, "doctor")

    assert died.returncode == -signal.SIGKILL, died.stderr
    assert left > 0
    assert examined == {"ok": True, "problems": [], "repaired": False, "waiting": 0}


def test_a_command_that_does_not_wait_leaves_the_work_to_the_server(prepared: Path, tmp_path: Path) -> None:
    data = stores.copied(prepared, tmp_path / "data")
    answer = cli(data, "beatmaps", "status", "pending", "--set", SET, "--no-wait")
    server = Server(data).start()
    try:
        eventually(lambda: waiting(data) == 0, within_s=60)
        waited = server.cli("beatmaps", "status", "ranked", "--set", SET)
    finally:
        server.stop()

    assert answer["waiting"] > 0
    assert waited["waiting"] == 0
    assert cli(data, "doctor")["problems"] == []

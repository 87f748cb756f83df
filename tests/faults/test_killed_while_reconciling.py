"""SIGKILL of a server or command during reconciliation: the next server finishes it correctly."""

import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests import stores
from tests.builders import a_map
from tests.wire.kit import Server, cli, eventually, run_kiai
from tests.wire.rows import Rows
from tests.wire.submitting import Played, log_in, prepare, submit

from kiai.demo.composing import SET_ID_FIRST
from kiai.storage.tables import stats

SET = str(SET_ID_FIRST)  # of the demo world
SONG = a_map(701, objects=100)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("settling") / "prepared"
    cli(data, "demo", "--players", "30", "--maps", "10", "--scores", "600")
    return data


def waiting(data: Path) -> int:
    """Return the number of waiting tasks that the doctor reports. Until they are done, it also reports problems."""
    return int(json.loads(run_kiai(data, "doctor", "--json").stdout)["waiting"])


@pytest.mark.parametrize("failpoint", ["reconcile.map_status", "reconcile.totals", "reconcile.committed"])
def test_command_killed_at_any_step_is_finished_by_the_next_server(
    prepared: Path, tmp_path: Path, failpoint: str
) -> None:
    data = stores.copied(prepared, tmp_path / "data")
    failing = {"TESTING": "1", "FAILPOINTS": f"{failpoint}=once:kill"}

    died = run_kiai(data, "beatmaps", "status", "pending", "--set", SET, "--json", settings=failing)
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


def test_command_that_does_not_wait_leaves_its_task_to_the_server(prepared: Path, tmp_path: Path) -> None:
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


def plays(data: Path) -> Counter[int]:
    """Return the number of plays of each player, as their stats give them."""
    rows = Rows(data)
    try:
        counted: Counter[int] = Counter()
        for row in rows.look(stats):
            counted[row.user_id] += row.plays
        return counted
    finally:
        rows.close()


@pytest.mark.parametrize("failpoint", ["reconcile.user_wipe", "reconcile.totals", "reconcile.committed"])
def test_wipe_killed_at_any_step_is_finished_by_the_next_server_and_can_be_lifted(
    prepared: Path, tmp_path: Path, failpoint: str
) -> None:
    data = stores.copied(prepared, tmp_path / "data")
    before = plays(data)
    [(user_id, count)] = before.most_common(1)
    name = next(user["name"] for user in cli(data, "users", "list")["users"] if user["id"] == user_id)
    failing = {"TESTING": "1", "FAILPOINTS": f"{failpoint}=once:kill"}

    died = run_kiai(data, "users", "wipe", name, "--reason", "rx", "--yes", "--json", settings=failing)
    left = waiting(data)
    server = Server(data).start()
    try:
        eventually(lambda: waiting(data) == 0, within_s=60)
        wiped = plays(data)
        restored = server.cli("users", "restore", name, "--reason", "aa")
        eventually(lambda: waiting(data) == 0, within_s=60)
    finally:
        server.stop()

    assert died.returncode == -signal.SIGKILL, died.stderr
    assert left > 0
    assert wiped == Counter({player: plays for player, plays in before.items() if player != user_id})
    assert restored == {"scores": count}
    assert plays(data) == before
    assert cli(data, "doctor") == {"ok": True, "problems": [], "repaired": False, "waiting": 0}


def test_plays_during_a_change_of_a_status_are_answered_and_counted(prepared: Path, tmp_path: Path) -> None:
    """The change is answered at once, and its task, which cannot finish here, holds up no play."""
    data = stores.copied(prepared, tmp_path / "data")
    prepare(data, ["alice"], vector_maps=False)
    folder = tmp_path / "maps"
    folder.mkdir()
    (folder / "701.osu").write_bytes(SONG.data)
    cli(data, "beatmaps", "import", str(folder))
    server = Server(data, TESTING="1", FAILPOINTS="reconcile.totals=raise").start()
    try:
        log_in(server, "alice")
        first = submit(server, Played(SONG.md5, score=1_000))
        for map_set, status in ((SET, "pending"), ("701", "ranked"), (SET, "ranked")):
            assert server.cli("beatmaps", "status", status, "--set", map_set, "--no-wait")["waiting"] > 0
        second = submit(server, Played(SONG.md5, score=2_000))
        eventually(lambda: "failpoint reconcile.totals" in server.stderr)
        third = submit(server, Played(SONG.md5, score=3_000))
        left = waiting(data)
    finally:
        server.kill()
    server = Server(data).start()
    try:
        eventually(lambda: waiting(data) == 0, within_s=60)
    finally:
        server.stop()

    assert left > 0
    assert [b"onlineScoreId:" in answer.body for answer in (first, second, third)] == [True] * 3
    assert cli(data, "doctor") == {"ok": True, "problems": [], "repaired": False, "waiting": 0}

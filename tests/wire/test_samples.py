"""The figures and the health of a running server, by the API: after a restart, and who may read them."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import stores
from tests.wire.kit import Server, cli, eventually

from kiai.app import open_services
from kiai.osu.privileges import Privilege
from kiai.samples import SPAN_MIN_S

NORMAL = 3
PRIVILEGES = {
    "player": NORMAL,
    "moderator": NORMAL | int(Privilege.MODERATOR),
    "administrator": NORMAL | int(Privilege.ADMINISTRATOR),
    "developer": NORMAL | int(Privilege.DEVELOPER),
}
ASKED = 25


class Sampled:
    """A server that has answered requests and was then restarted, and the keys of its players."""

    def __init__(self, server: Server, keys: dict[str, str]) -> None:
        self.server = server
        self.keys = keys

    def get(self, path: str, name: str | None = "moderator") -> tuple[int, Any]:
        reply = self.server.get(path, key=None if name is None else f"Bearer {self.keys[name]}")
        return reply.status, reply.json


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sampled]:
    data = tmp_path_factory.mktemp("samples") / "data"
    cli(data, "migrate")
    keys = asyncio.run(_seeded(data))
    server = Server(data, SLOW_STATEMENT_MS="1").start()
    try:
        began = time.monotonic()
        for _ in range(ASKED):
            assert server.get("/get_player_count").status == 200
        eventually(lambda: time.monotonic() - began > SPAN_MIN_S + 2, within_s=30)
        server.stop()
        yield Sampled(server.start(), keys)
        assert '"unhandled"' not in server.stderr
        server.stop()
    finally:
        server.kill()


async def _seeded(data: Path) -> dict[str, str]:
    async with open_services(stores.settings(data)) as services:
        ids = {
            name: await services.accounts.register(
                name=name, email=f"{name}@example.com", password="a long password", country="nl", priv=priv
            )
            for name, priv in PRIVILEGES.items()
        }
        return {name: await services.api_keys.issue(user_id) for name, user_id in ids.items()}


def test_figures_of_the_time_before_a_restart_are_there(sampled: Sampled) -> None:
    status, reply = sampled.get("/v2/server/samples?hours=1&step=30")

    assert status == 200
    found = [sample for sample in reply["data"]["samples"] if sample["seconds"]]
    assert sum(sample["requests"] for sample in found) >= ASKED
    assert sum(sample["errors"] for sample in found) == 0
    assert all(0 < sample["p99_ms"] <= 5_000 for sample in found if sample["requests"])
    assert all(sample["online"] == 0 for sample in found)
    assert all(0 <= sample["loop_lag_ms"] < 60_000 for sample in found)


def test_day_has_240_samples_with_the_gaps(sampled: Sampled) -> None:
    status, reply = sampled.get("/v2/server/samples")

    assert status == 200
    assert (reply["data"]["step"], len(reply["data"]["samples"])) == (6, 240)
    first = reply["data"]["samples"][0]
    assert (first["seconds"], first["requests"], first["p99_ms"], first["errors"]) == (0, None, None, None)


@pytest.mark.parametrize(("name", "status"), [(None, 401), ("player", 403), ("moderator", 200)])
def test_only_staff_reads_the_figures(sampled: Sampled, name: str | None, status: int) -> None:
    assert sampled.get("/v2/server/samples", name)[0] == status


@pytest.mark.parametrize(
    "query", ["hours=0", "hours=2161", "hours=48&step=6", "hours=24&step=7", "step=0", "hours=2160&step=15", "step=x"]
)
def test_other_steps_are_refused(sampled: Sampled, query: str) -> None:
    status, reply = sampled.get(f"/v2/server/samples?{query}")

    assert (status, reply["code"]) == (422, "invalid_parameter")


@pytest.mark.parametrize("query", ["hours=2160", "hours=48&step=15", "hours=24&step=1", "hours=1&step=1440"])
def test_any_time_is_bounded(sampled: Sampled, query: str) -> None:
    status, reply = sampled.get(f"/v2/server/samples?{query}")

    assert status == 200
    assert 1 <= len(reply["data"]["samples"]) <= 1_440


@pytest.mark.parametrize(
    ("name", "status"), [(None, 401), ("player", 403), ("moderator", 403), ("administrator", 403), ("developer", 200)]
)
def test_only_developers_read_the_health(sampled: Sampled, name: str | None, status: int) -> None:
    assert sampled.get("/v2/server/health", name)[0] == status


def test_health_has_parts_versions_disks_pools_and_queues(sampled: Sampled) -> None:
    eventually(lambda: health(sampled)["queues"]["webhooks_parked"] == 0)

    found = health(sampled)

    assert {part["state"] for part in found["parts"]} == {"ok"}
    assert {"kiai", "python", "schema"} <= {one["version"] and one["name"] for one in found["versions"]}
    assert [0 < disk["free_bytes"] < disk["total_bytes"] for disk in found["disks"]] == [True]
    assert found["database_bytes"] > 0
    assert {"database", "passwords", "pp"} <= {pool["name"] for pool in found["pools"]}
    assert all(pool["capacity"] > 0 for pool in found["pools"])
    assert found["queues"]["outbox_parked"] == []
    assert (found["certificates"], found["backup"]) == ([], None)


def test_health_names_slow_statements(sampled: Sampled) -> None:
    eventually(lambda: bool(health(sampled)["slow_statements"]), within_s=20)

    found = health(sampled)["slow_statements"]

    assert all(one["statement"].startswith("kiai.") and one["ms"] >= 1 and one["times"] >= 1 for one in found)
    assert [one["ms"] for one in found] == sorted((one["ms"] for one in found), reverse=True)


def test_health_shows_the_last_run_of_the_doctor(sampled: Sampled) -> None:
    cli(sampled.server.data, "doctor")

    check = health(sampled)["check"]

    assert check == {"at": check["at"], "total": 0, "problems": []}
    assert abs(check["at"] - time.time()) < 600


def health(sampled: Sampled) -> Any:
    return sampled.get("/v2/server/health", "developer")[1]["data"]

"""Workers and their supervisor stop in time, also while a store does not answer."""

import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests import engines
from tests.builders import a_map
from tests.cluster.kit import Cluster, running
from tests.cluster.test_stores_away import paused, redis_processes
from tests.patience import patiently
from tests.wire.kit import eventually

STOP_S = 10.0


def stopped(cluster: Cluster) -> float:
    """Send SIGTERM, expect exit code 0, and return the seconds that it took."""
    process = cluster._process
    assert process is not None
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code = process.wait(patiently(2 * STOP_S))
    took_s = time.monotonic() - began
    assert code == 0, cluster.stderr
    return took_s


@pytest.mark.parametrize("stores", [["redis"], ["postgres"], ["redis", "postgres"]], ids=" and ".join)
def test_cluster_stops_in_time_while_a_store_hangs(tmp_path: Path, stores: Sequence[str]) -> None:
    with running(tmp_path, ["alice"], [a_map(100)]) as cluster:
        workers = cluster.workers()
        assert len(workers) == 2
        pids = redis_processes(cluster) if "redis" in stores else []
        with paused([*pids, *(engines.postgres_processes() if "postgres" in stores else [])]):
            time.sleep(1)  # the jobs wait for the store
            took_s = stopped(cluster)

    assert took_s < max(STOP_S, patiently(2))
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_stop_during_the_replacement_of_a_worker_is_no_error(tmp_path: Path) -> None:
    with running(tmp_path, ["alice"], [a_map(100)]) as cluster:
        before = set(cluster.workers())
        cluster.signal(signal.SIGHUP)
        eventually(lambda: bool(set(cluster.workers()) - before), within_s=60)

        stopped(cluster)

    failures = [line for line in cluster.log_lines if line["level"] in ("error", "critical")]
    assert failures == []

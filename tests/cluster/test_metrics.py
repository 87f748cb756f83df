"""`/metrics` of either worker is the sum of both, also after one was killed or both were replaced."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import engines, warm
from tests.builders import a_map
from tests.cluster.kit import Cluster, running
from tests.cluster.test_rolling_restart import are_replaced
from tests.cluster.test_stores_away import paused, redis_processes
from tests.patience import patiently
from tests.wire.kit import eventually
from tests.wire.test_metrics import figures, missing

PATH = 'kiai_http_requests_total{face="api",route="/get_player_count",status="200"}'
TIMES = 'kiai_http_seconds_count{face="api",route="/get_player_count"}'
ASKED = 60
PAUSE_S = 12.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("metrics"), ["alice"], [a_map(100)]) as cluster:
        yield cluster
        cluster.stop()


def send_requests(cluster: Cluster, count: int = ASKED) -> None:
    """Send `count` requests, each on its own connection, so that both workers get some."""
    for _ in range(count):
        assert cluster.get("/get_player_count").status == 200


def failures(cluster: Cluster) -> Counter[str]:
    """Return the number of failures of each job."""
    found = figures(cluster)
    return Counter({name: int(value) for name, value in found.items() if name.startswith("kiai_job_failures_total")})


def count_own_jobs(lines: list[dict[str, object]]) -> int:
    """Return the number of lines about jobs that each worker runs."""
    return sum(line["job"] in ("figures", "buffers") for line in lines)


def log_lines(cluster: Cluster, event: str) -> list[dict[str, object]]:
    """Return the lines of the log with this event."""
    text = cluster.data.with_suffix(".stderr").read_text("utf-8")
    return [line for line in map(json.loads, text.splitlines()) if line["event"] == event]


def test_metrics_of_any_worker_count_the_answers_of_all(cluster: Cluster) -> None:
    before = figures(cluster).get(PATH, 0)

    send_requests(cluster)

    for _ in range(8):
        found = figures(cluster)
        assert found[PATH] - before == ASKED
        assert found[TIMES] == found[PATH]
        assert found["kiai_workers"] == 2


def test_several_workers_declare_every_promised_metric_and_add_memory_and_files(cluster: Cluster) -> None:
    assert missing(cluster) == set()

    found = figures(cluster)

    workers = [Path(f"/proc/{worker}") for worker in cluster.workers()]
    pages = sum(int((worker / "statm").read_text("ascii").split()[1]) for worker in workers)
    assert found["process_resident_memory_bytes"] == pytest.approx(pages * os.sysconf("SC_PAGE_SIZE"), rel=0.2)
    assert found["kiai_rss_bytes"] == pytest.approx(found["process_resident_memory_bytes"], rel=0.2)
    files = [len(list((worker / "fd").iterdir())) for worker in workers]
    assert max(files) < found["process_open_fds"] <= sum(files) + 40


def test_counts_of_a_killed_worker_are_not_lost(cluster: Cluster) -> None:
    send_requests(cluster)
    before = figures(cluster)
    workers = set(cluster.workers())

    cluster.kill_worker()

    eventually(lambda: len(cluster.workers()) == 2 and set(cluster.workers()) != workers, within_s=60)
    eventually(lambda: figures(cluster)["kiai_workers"] == 2, within_s=20)
    after = figures(cluster)
    assert after[PATH] == before[PATH]
    assert after["process_cpu_seconds_total"] >= before["process_cpu_seconds_total"]


def files_of(cluster: Cluster) -> set[str]:
    """Return the names in the data folder, without the sockets of workers."""
    return {path.name for path in cluster.data.iterdir()} - sockets_of(cluster)


def sockets_of(cluster: Cluster) -> set[str]:
    """Return the names of the sockets that each worker has of its own."""
    return {path.name for path in cluster.data.glob("profile-*.sock")}


def test_replaced_workers_continue_the_counts_and_leave_no_files(cluster: Cluster) -> None:
    send_requests(cluster)
    counted, series = figures(cluster)[PATH], len(figures(cluster))
    files = files_of(cluster)

    for _ in range(2):
        workers = set(cluster.workers())
        cluster.signal(signal.SIGHUP)
        eventually(lambda workers=workers: are_replaced(cluster, workers), within_s=120)  # type: ignore[misc]

    assert figures(cluster)[PATH] == counted
    assert len(figures(cluster)) <= series + 30
    assert files_of(cluster) == files
    eventually(lambda: sockets_of(cluster) == {f"profile-{pid}.sock" for pid in cluster.workers()})
    send_requests(cluster, 10)
    assert figures(cluster)[PATH] == counted + 10


def test_gauges_cover_living_workers_and_the_server(cluster: Cluster) -> None:
    eventually(lambda: "kiai_outbox_rows" in figures(cluster), within_s=20)

    found = figures(cluster)

    assert found['kiai_pool_size{pool="database"}'] == 40
    assert found['kiai_pool_size{pool="state"}'] == 128
    assert found['kiai_store_seconds_count{op="call",store="state"}'] > 0
    assert found["kiai_players_online"] == 0


@pytest.mark.parametrize("store", ["database", "state"])
def test_metrics_need_no_store_and_each_worker_logs_an_outage_once(cluster: Cluster, store: str) -> None:
    stand = engines.postgres_processes() if store == "database" else redis_processes(cluster)
    failed, lines_before = failures(cluster), len(log_lines(cluster, "job failed"))
    slowest_s, ends = 0.0, time.monotonic() + PAUSE_S

    with paused(stand):
        while time.monotonic() < ends:
            asked = time.monotonic()
            figures(cluster)
            slowest_s = max(slowest_s, time.monotonic() - asked)

    assert slowest_s < patiently(1.0)
    eventually(lambda: {"kiai_outbox_rows", "kiai_rooms"} <= figures(cluster).keys(), within_s=60)
    # Any worker may run a shared job next. The jobs that each worker runs must work again in both.
    eventually(
        lambda: (
            count_own_jobs(log_lines(cluster, "job works again")) == count_own_jobs(log_lines(cluster, "job failed"))
        ),
        within_s=120,
    )
    lines = Counter(str(line["job"]) for line in log_lines(cluster, "job failed")[lines_before:])
    assert sum((failures(cluster) - failed).values()) > sum(lines.values()) > 0
    # One line per worker and outage; on a busy machine a store may miss its deadlines once more in each worker.
    assert max(lines.values()) <= patiently(4), lines


def test_sigusr1_to_the_first_process_writes_the_stacks_of_every_worker(cluster: Cluster) -> None:
    workers = set(cluster.workers())

    cluster.signal(signal.SIGUSR1)

    for event in ("stacks", "thread"):
        eventually(lambda: {line["pid"] for line in log_lines(cluster, event)} == workers | {cluster.process_id})  # noqa: B023
    assert set(cluster.workers()) == workers


def test_top_shows_the_sum_of_all_workers(cluster: Cluster) -> None:
    eventually(lambda: "kiai_players_online" in figures(cluster), within_s=20)

    for _ in range(3):  # any worker answers
        found = cluster.cli("top", "--once")
        assert (found["workers"], found["online"]) == (2, 0)
        assert found["rss_bytes"] == pytest.approx(figures(cluster)["kiai_rss_bytes"], rel=0.2)
        assert found["stores"]["state"]["calls_per_s"] > 0


def test_profile_is_of_all_workers(cluster: Cluster) -> None:
    found = cluster.cli("profile", "1s")["profiles"]

    assert {one["pid"] for one in found} == set(cluster.workers())


@pytest.mark.skipif(warm.COLD, reason="COLD=1 starts every process as a shell does")
def test_workers_are_forks_of_a_process_that_has_imported_kiai_and_children_of_their_supervisor(
    cluster: Cluster,
) -> None:
    """To import kiai and to compile the templates took three seconds of each worker."""
    killed, _ = workers = cluster.workers()
    began = len(log_lines(cluster, "worker ended"))

    shown = [Path(f"/proc/{worker}/cmdline").read_bytes().split(b"\0") for worker in workers]
    os.kill(killed, signal.SIGKILL)

    assert [arguments[1:3] for arguments in shown] == [[b"-m", warm.PROGRAM.encode()]] * 2
    eventually(lambda: [one["code"] for one in log_lines(cluster, "worker ended")[began:]] == [-signal.SIGKILL])

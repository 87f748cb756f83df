"""Two workers with PostgreSQL and Redis show the same live pages."""

import contextlib
from collections.abc import Iterator

import pytest
from tests.builders import a_map
from tests.cluster.kit import Cluster, running
from tests.site.kit import a_browser
from tests.site.live_kit import LiveStream
from tests.wire.kit import eventually
from tests.wire.submitting import Played, log_in, submit

SONG = a_map(100, objects=100)
STREAMS = 8  # one worker accepts all of them once in 128 runs


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    # Limits off: all requests come from one address.
    with running(tmp_path_factory.mktemp("live"), ["alice", "bob"], [SONG], RATE_LIMITS="off") as cluster:
        yield cluster
        cluster.stop()


def listed(cluster: Cluster) -> list[str]:
    page = a_browser(cluster).get("/")
    return [node.attributes["data-score-id"] or "" for node in page.css('[data-live^="plays"] [data-score-id]')]


def play(cluster: Cluster, name: str, score: int) -> int:
    body = submit(cluster, Played(SONG.md5, name, score=score).sealed()).body
    return int(body.split(b"onlineScoreId:")[1].split(b"|")[0])


def test_play_submitted_to_one_worker_arrives_on_the_pages_of_all(cluster: Cluster) -> None:
    log_in(cluster, "alice")
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(LiveStream(cluster, "plays.all")) for _ in range(STREAMS)]
        for stream in streams:
            stream.part()

        score_id = play(cluster, "alice", 100_000)

        for stream in streams:
            while score_id not in stream.part().ids("data-score-id"):
                pass
    for _ in range(STREAMS):
        eventually(lambda: listed(cluster)[:1] == [str(score_id)])


def test_restricted_player_is_gone_from_the_pages_of_all_workers_at_once(cluster: Cluster) -> None:
    log_in(cluster, "bob")
    score_id = play(cluster, "bob", 200_000)
    for _ in range(STREAMS):
        eventually(lambda: str(score_id) in listed(cluster))

    cluster.cli("users", "restrict", "bob", "--reason", "a test")

    for _ in range(2 * STREAMS):
        assert "bob" not in a_browser(cluster).get("/").text

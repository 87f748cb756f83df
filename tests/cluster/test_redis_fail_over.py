"""Players chat and submit while the primary Redis is killed and frozen: its replica takes over, all play on.

Sentinels or the nodes of a Redis Cluster promote the replica.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from redis.exceptions import MovedError, ReadOnlyError
from tests.cluster.kit import running_on
from tests.cluster.storm import Storm
from tests.cluster.test_storm import SONGS, a_pass, as_text, check_scores, copy_account
from tests.patience import Deadline
from tests.redis_clusters import NodeTls, RedisClusterServers
from tests.redises import program_with_tls
from tests.sentinels import WatchedRedis

from kiai.realtime.key_groups import SESSIONS

SESSIONS_KEY: Final = f"kiai:{{{SESSIONS}}}:"
PLAYERS: Final = 60
SUBMITTERS: Final = 20
SUBMIT_EVERY_S: Final = 1.0
BEFORE_S: Final = 3.0
BACK_WITHIN_S: Final = 60.0
"""A Sentinel that was paused with the machine waits 30 seconds before it acts again."""


SERVERS: Final[dict[str, Callable[[], WatchedRedis | RedisClusterServers]]] = {
    "sentinel": WatchedRedis,
    "cluster": lambda: RedisClusterServers(replicated=SESSIONS_KEY),
    "cluster with TLS": lambda: RedisClusterServers(
        replicated=SESSIONS_KEY, program=program_with_tls(), tls=NodeTls("127.0.0.1")
    ),
}


@pytest.fixture(params=SERVERS)
def redis(request: pytest.FixtureRequest) -> Iterator[WatchedRedis | RedisClusterServers]:
    with contextlib.closing(SERVERS[request.param]()) as watched:
        yield watched


def test_everybody_plays_on_after_a_fail_over_of_redis(
    tmp_path: Path, redis: WatchedRedis | RedisClusterServers, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(seed := random.randrange(1 << 32))
    names = [f"player{number}x" for number in range(PLAYERS)]
    # Limits off: the few players ask and play as fast as they can.
    with running_on(redis, tmp_path, names[:1], SONGS, CONNECTIONS_PER_ADDRESS="10000", RATE_LIMITS="off") as cluster:
        storm = Storm(cluster.port, copy_account(cluster, names), matches=0, relogging=2, poll_s=0.5, seed=seed)
        for player in storm.players[:SUBMITTERS]:
            player.plays = [a_pass(chance, player.name) for _ in range(100)]
        away_s: list[float] = []

        def fail_over_twice() -> None:
            for trouble in (redis.kill_primary, redis.freeze_primary):
                trouble()
                began, deadline = time.monotonic(), Deadline(BACK_WITHIN_S)
                while cluster.get("/get_player_count").status != 200:
                    assert not deadline.passed(), "no worker finds the new primary"
                    time.sleep(0.1)
                away_s.append(time.monotonic() - began)
                redis.bring_back()

        counts = asyncio.run(storm.run(BEFORE_S, fail_over_twice, BEFORE_S, SUBMIT_EVERY_S))
        check_scores(cluster, storm, counts)
        with redis.replica.client() as client, pytest.raises((ReadOnlyError, MovedError)):
            client.set(f"{SESSIONS_KEY}written", 1)

        seconds = ", ".join(f"{seconds:.1f} s" for seconds in away_s)
        record_property("counts", f"fail-overs after {seconds}: {as_text(counts)}")
        assert counts.faults == {}, f"seed {seed}: {as_text(counts)} {storm.lost[:20]}"
        assert counts.refused > 0, "the fail-overs were felt"
        assert counts.plays >= SUBMITTERS
        cluster.stop()
        assert '"unhandled"' not in cluster.stderr
        assert cluster.cli("doctor")["problems"] == []

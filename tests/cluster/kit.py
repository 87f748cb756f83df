"""A server with several workers, PostgreSQL and Redis."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests import engines, warm_workers
from tests.builders import NewMap
from tests.patience import patiently
from tests.redis_clusters import RedisClusterServers
from tests.redises import RedisServer
from tests.sentinels import WatchedRedis
from tests.wire.kit import Server, cli
from tests.wire.submitting import prepare

AnyRedis = RedisServer | WatchedRedis | RedisClusterServers


class Cluster(Server):
    """`kiai serve --workers 2`."""

    def __init__(self, data: Path, database: str, redis: AnyRedis, workers: int = 2, **settings: str) -> None:
        super().__init__(data, DATABASE=database, STATE=redis.url, WORKERS=str(workers), **settings)
        self.database = database
        self._redis = redis
        self._places = {"DATABASE": database} | {name: value for name, value in settings.items() if name == "FILES"}

    @property
    def redis(self) -> RedisServer:
        """The Redis of this cluster; with Sentinels or a Redis Cluster, the primary."""
        return self._redis if isinstance(self._redis, RedisServer) else self._redis.primary

    def cli(self, *arguments: str) -> Any:
        """Run a kiai command with the stores of this cluster. Return its JSON object."""
        return cli(self.data, *arguments, **self._places)

    @property
    def supervisor(self) -> int:
        """The process id of the supervisor."""
        assert self._process is not None
        return self._process.pid

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        found = subprocess.run(
            ["ps", "-ww", "-o", "pid=,comm=,args=", "--ppid", str(self.supervisor)],
            capture_output=True,
            text=True,
            check=False,
            timeout=patiently(120),
        )
        return [
            int(line.split()[0])
            for line in found.stdout.splitlines()
            if line.split()[1] == warm_workers.NAME or ("kiai.server_process" in line and "--listen-on-fd" in line)
        ]

    def kill_worker(self, number: int = 0) -> None:
        """Kill one of the workers with SIGKILL."""
        with contextlib.suppress(ProcessLookupError, IndexError):
            os.kill(self.workers()[number], signal.SIGKILL)

    def signal(self, number: int) -> None:
        """Send a signal to the supervisor."""
        assert self._process is not None
        self._process.send_signal(number)


@contextlib.contextmanager
def running(
    folder: Path, names: list[str], songs: list[NewMap], workers: int = 2, **settings: str
) -> Iterator[Cluster]:
    """Run a cluster with these players and maps. `settings` are environment variables without the prefix."""
    with (
        contextlib.closing(RedisServer()) as redis,
        running_on(redis, folder, names, songs, workers, replica=None, **settings) as it,
    ):
        yield it


@contextlib.contextmanager
def running_on(
    redis: AnyRedis,
    folder: Path,
    names: list[str],
    songs: list[NewMap],
    workers: int = 2,
    *,
    replica: engines.PostgresReplica | None = None,
    **settings: str,
) -> Iterator[Cluster]:
    """Run a cluster like `running`, with this Redis and replica of PostgreSQL, which the caller closes."""
    data = folder / "data"
    with engines.postgres_database() as url:
        prepare(data, names, vector_maps=False, database=url)
        if replica is not None:
            engines.commit_to_disk(url)
            settings |= {"DATABASE_REPLICA": replica.copy_of(url)}
        cluster = Cluster(data, url, redis, workers, **settings)
        maps = folder / "maps"
        maps.mkdir()
        for song in songs:
            (maps / f"{song.id}.osu").write_bytes(song.data)
        cluster.cli("beatmaps", "import", str(maps))
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.kill()

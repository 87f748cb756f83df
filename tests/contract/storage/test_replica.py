"""Reads of a real streaming replica: they see everything committed before, and the primary answers without it."""

import time
from collections.abc import Iterator
from typing import Any, Final

import pytest
from sqlalchemy import func, select
from structlog.testing import capture_logs
from tests import engines
from tests.conftest import Run
from tests.contract.storage.statements import add_user
from tests.patience import patiently

from kiai.storage import replica
from kiai.storage.port import Lane, Query, scalar
from kiai.storage.postgres import PostgresDatabase
from kiai.storage.replica import Replica
from kiai.storage.tables import users

READ: Final = Query(select(func.count()).select_from(users), scalar, lane=Lane.BOUNDED)
READS: Final = 50


@pytest.fixture(scope="module")
def server() -> Iterator[engines.PostgresReplica]:
    with engines.postgres_replica() as running:
        yield running


@pytest.fixture
def database(server: engines.PostgresReplica, run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresDatabase]:
    monkeypatch.setattr(replica, "CATCH_UP_S", patiently(1.0))  # the machine of the tests is busy
    with engines.postgres_database() as url:
        engines.commit_to_disk(url)
        opened = run(PostgresDatabase.connect(url, replica=server.copy_of(url)))
        yield opened
        run(opened.close())


def from_replica(database: PostgresDatabase) -> int:
    """Return how many reads the replica has answered."""
    return int(sum(database.timings.by_op.get("replica", [0, 0])[:-1]))


async def read_after_each_write(database: PostgresDatabase) -> list[Any]:
    seen = []
    for number in range(READS):
        await add_user(database, f"user{number}")
        seen.append(await database.one(READ))
    return seen


def test_read_of_the_replica_sees_everything_committed_before(database: PostgresDatabase, run: Run) -> None:
    seen = run(read_after_each_write(database))

    assert seen == list(range(seen[0], seen[0] + READS))
    assert from_replica(database) > READS / 2
    assert database.replica is not None
    assert database.replica.lag_s < patiently(1.0)


def test_several_reads_are_one_round_trip_to_the_primary(
    database: PostgresDatabase, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    end_of_log = Replica._end_of_log

    async def counted(self: Replica) -> int:
        asked.append(self)
        return await end_of_log(self)

    monkeypatch.setattr(Replica, "_end_of_log", counted)

    async def scenario() -> list[list[Any]]:
        before = await database.several((READ, {}))
        await add_user(database, "seen")
        return [before[0], *await database.several((READ, {}), (READ, {}))]

    (before,), (first,), (second,) = run(scenario())

    assert first == second == before + 1
    assert asked == []
    assert from_replica(database) == 0


def test_primary_answers_while_the_replica_hangs_and_the_log_says_so_once(
    server: engines.PostgresReplica, database: PostgresDatabase, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "AWAY_S", 0.0)
    engines.execute(server.url("postgres"), "SELECT pg_wal_replay_pause()")
    try:
        monkeypatch.setattr(replica, "CATCH_UP_S", 0.05)
        with capture_logs() as lines:
            seen = run(read_after_each_write(database))
    finally:
        engines.execute(server.url("postgres"), "SELECT pg_wal_replay_resume()")
    monkeypatch.setattr(replica, "CATCH_UP_S", patiently(5.0))
    with capture_logs() as later:
        run(database.one(READ))

    assert seen == list(range(seen[0], seen[0] + READS))
    assert from_replica(database) == 1
    assert [line["event"] for line in lines] == ["the primary answers all reads"]
    assert lines[0]["why"] == "replica: it is behind"
    assert [line["event"] for line in later] == ["the replica answers reads again"]


def test_primary_answers_in_time_when_the_replica_is_gone(run: Run) -> None:
    with engines.postgres_database() as url:
        with engines.postgres_replica() as gone:
            database = run(PostgresDatabase.connect(url, replica=gone.copy_of(url)))
            run(database.one(READ))
        began = time.monotonic()

        seen = run(read_after_each_write(database))

        assert seen == list(range(seen[0], seen[0] + READS))
        assert time.monotonic() - began < patiently(10.0)
        run(database.close())


def test_replica_that_became_a_primary_is_not_read(run: Run) -> None:
    with engines.postgres_database() as url, engines.postgres_replica() as promoted:
        engines.execute(promoted.url("postgres"), "SELECT pg_promote()")
        database = run(PostgresDatabase.connect(url, replica=promoted.copy_of(url)))

        with capture_logs() as lines:
            run(database.one(READ))

        assert from_replica(database) == 0
        assert [line["why"] for line in lines] == ["replica: it is not a replica"]
        run(database.close())

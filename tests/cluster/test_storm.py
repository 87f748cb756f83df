"""Players chat, play matches and submit while workers are killed: no line, seat or score is lost.

`STORM=2000x120` runs 2,000 players for 120 seconds, with a kill every ten seconds.
"""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import NullPool, create_engine, make_url, text
from tests.builders import a_map
from tests.cluster.kit import Cluster, running
from tests.cluster.storm import SEATS, Counts, Storm
from tests.faults.submitting import a_play
from tests.patience import Deadline
from tests.wire.kit import eventually
from tests.wire.submitting import Played

SHORT: Final = "160x15"
PLAYERS, SECONDS = (int(part) for part in os.environ.get("STORM", SHORT).split("x"))
LONG: Final = PLAYERS >= 1_000
POLL_S: Final = 3.0 if LONG else 1.0
KILL_EVERY_S: Final = 10.0 if LONG else 4.0
SUBMIT_EVERY_S: Final = 15.0 if LONG else 3.0
SUBMITTERS: Final = PLAYERS // 10
MATCHES: Final = PLAYERS // 40
SONGS: Final = [a_map(100 + n, objects=100, title=f"Song {n}") for n in range(3)]


def test_storm_of_events_loses_no_message_and_no_score(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    names = [f"player{number}x" for number in range(PLAYERS)]
    # Limits off: the few players ask and play as fast as they can.
    with running(tmp_path, names[:1], SONGS, CONNECTIONS_PER_ADDRESS="10000", RATE_LIMITS="off") as cluster:
        ids = copy_account(cluster, names)
        storm = Storm(cluster.port, ids, matches=MATCHES, relogging=PLAYERS // 20, poll_s=POLL_S, seed=seed)
        each = int(SECONDS / SUBMIT_EVERY_S) + 1
        for player in storm.players[PLAYERS // 2 :][:SUBMITTERS]:
            player.plays = [a_pass(chance, player.name) for _ in range(each)]
        kills = 0

        def kill() -> None:
            nonlocal kills
            eventually(lambda: len(cluster.workers()) == 2, within_s=15)
            cluster.kill_worker(chance.randrange(2))
            kills += 1

        counts = asyncio.run(storm.run(SECONDS, kill, KILL_EVERY_S, SUBMIT_EVERY_S))
        check_scores(cluster, storm, counts)
        check_seats(cluster, storm, counts)

        record_property("counts", f"storm of {PLAYERS} players, {SECONDS} s, {kills} kills: {as_text(counts)}")
        assert counts.faults == {}, f"seed {seed}: {as_text(counts)} {storm.lost[:20]}"
        assert kills >= SECONDS // KILL_EVERY_S - 1
        assert counts.failed > 0, "the kills were felt"
        assert counts.cut_off < counts.received / 10
        assert counts.seated == MATCHES * SEATS
        assert counts.rounds > 0
        assert counts.plays >= SUBMITTERS
        cluster.stop()
        assert '"unhandled"' not in cluster.stderr
        assert cluster.cli("doctor")["problems"] == []


def as_text(counts: Counts) -> str:
    """Return the counts as text."""
    return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in msgspec.structs.asdict(counts).items())


def copy_account(cluster: Cluster, names: list[str]) -> list[tuple[str, int]]:
    """Copy the first account, with its password, under the other names. Return the names and ids of all."""
    columns = [
        name
        for (name,) in rows(cluster, "SELECT column_name FROM information_schema.columns WHERE table_name = 'users'")
    ]
    same = ", ".join(one for one in columns if one not in ("id", "name", "safe_name", "email"))
    sql = (
        f"INSERT INTO users (name, safe_name, email, {same}) SELECT n, n, n || '@example.org', {same} FROM users, "
        "unnest(CAST(:names AS text[])) AS n WHERE users.safe_name = :first RETURNING 1"
    )
    rows(cluster, sql, names=names[1:], first=names[0])
    rows(cluster, "UPDATE counters SET value = :total WHERE name = 'users' RETURNING 1", total=len(names))
    return [
        (str(name), int(user_id))
        for name, user_id in rows(cluster, "SELECT name, id FROM users WHERE id > 2 ORDER BY id")
    ]


def a_pass(chance: random.Random, name: str) -> Played:
    """Return a play that is a pass."""
    while not (played := a_play(chance, chance.choice(SONGS).md5, name)).passed:
        pass
    return played


def rows(cluster: Cluster, sql: str, **params: object) -> list[Any]:
    """Run a statement. Return its rows."""
    engine = create_engine(make_url(cluster.database).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.begin() as connection:
        return [tuple(row) for row in connection.execute(text(sql), params)]


def check_scores(cluster: Cluster, storm: Storm, counts: Counts) -> None:
    """Count acknowledged plays that are not stored under their id, and plays that are stored twice."""
    stored = rows(cluster, "SELECT checksum, id FROM scores")
    counts.scores_doubled = len(stored) - len(Counter(checksum for checksum, _ in stored))
    numbers = dict(stored)
    counts.scores_lost = sum(
        numbers.get(bytes.fromhex(played.checksum)) != number
        for player in storm.players
        for played, number in player.acknowledged
    )


def check_seats(cluster: Cluster, storm: Storm, counts: Counts) -> None:
    """Compare the seats on the server with those that the players believe to have.

    The server closes a match within a minute when its creator never received the answer.
    """
    expected = sorted((player.plan.name, player.user_id) for player in storm.players if player.plan is not None)
    deadline = Deadline(60)
    while (found := taken_seats(cluster)) != expected and not deadline.passed():
        time.sleep(1.0)
    counts.seats_lost += len(set(expected) - set(found))
    counts.seats_doubled += len(found) - len(set(found)) + len(set(found) - set(expected))


def taken_seats(cluster: Cluster) -> list[tuple[str, int]]:
    """Return the match name and player id of each taken seat."""
    found, path = [], "/v2/matches?page_size=100"
    while True:
        page = cluster.get(path).json
        for one in page["data"]:
            found += [(one["name"], slot["player"]["id"]) for slot in one["match"]["active_slots"].values()]
        if page["meta"]["cursor"] is None:
            return sorted(found)
        path = f"/v2/matches?page_size=100&cursor={page['meta']['cursor']}"

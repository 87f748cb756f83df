"""The storm: players chat, play matches and submit while workers die, and lose nothing.

`STORM=2000x120` is the long form: so many players for so many seconds, with a kill every ten.
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
ROOMS: Final = PLAYERS // 40
SONGS: Final = [a_map(100 + n, objects=100, title=f"Song {n}") for n in range(3)]


def test_a_storm_costs_nobody_anything(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    names = [f"player{number}x" for number in range(PLAYERS)]
    # Limits off: the few players ask and play as fast as they can.
    with running(tmp_path, names[:1], SONGS, CONNECTIONS_PER_ADDRESS="10000", RATE_LIMITS="off") as cluster:
        ids = copied(cluster, names)
        storm = Storm(cluster.port, ids, rooms=ROOMS, relogging=PLAYERS // 20, poll_s=POLL_S, seed=seed)
        each = int(SECONDS / SUBMIT_EVERY_S) + 1
        for player in storm.players[PLAYERS // 2 :][:SUBMITTERS]:
            player.plays = [passed(chance, player.name) for _ in range(each)]
        kills = 0

        def kill() -> None:
            nonlocal kills
            eventually(lambda: len(cluster.workers()) == 2, within_s=15)
            cluster.kill_worker(chance.randrange(2))
            kills += 1

        counts = asyncio.run(storm.run(SECONDS, kill, KILL_EVERY_S, SUBMIT_EVERY_S))
        check_scores(cluster, storm, counts)
        check_seats(cluster, storm, counts)

        record_property("counts", f"storm of {PLAYERS} players, {SECONDS} s, {kills} kills: {shown(counts)}")
        assert counts.faults == {}, f"seed {seed}: {shown(counts)} {storm.lost[:20]}"
        assert kills >= SECONDS // KILL_EVERY_S - 1
        assert counts.failed > 0, "the kills were felt"
        assert counts.cut_off < counts.heard / 10
        assert counts.seated == ROOMS * SEATS
        assert counts.rounds > 0
        assert counts.plays >= SUBMITTERS
        cluster.stop()
        assert '"unhandled"' not in cluster.stderr
        assert cluster.cli("doctor")["problems"] == []


def shown(counts: Counts) -> str:
    """The counts in words."""
    return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in msgspec.structs.asdict(counts).items())


def copied(cluster: Cluster, names: list[str]) -> list[tuple[str, int]]:
    """Accounts like the first, with its password; names and ids of all."""
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


def passed(chance: random.Random, name: str) -> Played:
    """A pass."""
    while not (played := a_play(chance, chance.choice(SONGS).md5, name)).passed:
        pass
    return played


def rows(cluster: Cluster, sql: str, **params: object) -> list[Any]:
    """What the database answers."""
    engine = create_engine(make_url(cluster.database).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.begin() as connection:
        return [tuple(row) for row in connection.execute(text(sql), params)]


def check_scores(cluster: Cluster, storm: Storm, counts: Counts) -> None:
    """Every play that was acknowledged is there under the number it was told, and none is there twice."""
    stored = rows(cluster, "SELECT checksum, id FROM scores")
    counts.scores_doubled = len(stored) - len(Counter(checksum for checksum, _ in stored))
    numbers = dict(stored)
    counts.scores_lost = sum(
        numbers.get(bytes.fromhex(played.checksum)) != number
        for player in storm.players
        for played, number in player.told
    )


def check_seats(cluster: Cluster, storm: Storm, counts: Counts) -> None:
    """The rooms of the server are those of the players: each in one seat of the room it believes to be in.

    A room that its host made and never heard of is given up within a minute.
    """
    expected = sorted((player.room.name, player.user_id) for player in storm.players if player.room is not None)
    deadline = Deadline(60)
    while (found := seated(cluster)) != expected and not deadline.passed():
        time.sleep(1.0)
    counts.seats_lost += len(set(expected) - set(found))
    counts.seats_doubled += len(found) - len(set(found)) + len(set(found) - set(expected))


def seated(cluster: Cluster) -> list[tuple[str, int]]:
    """Room and player of every seat that is taken."""
    found, path = [], "/v2/matches?page_size=100"
    while True:
        page = cluster.get(path).json
        for one in page["data"]:
            found += [(one["name"], slot["player"]["id"]) for slot in one["match"]["active_slots"].values()]
        if page["meta"]["cursor"] is None:
            return sorted(found)
        path = f"/v2/matches?page_size=100&cursor={page['meta']['cursor']}"

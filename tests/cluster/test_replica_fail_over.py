"""Players poll, submit and read their plays while the replica of PostgreSQL is killed, comes back stale and hangs.

No answer lacks a play that was acknowledged before the request. The primary answers while the replica cannot.
"""

import asyncio
import contextlib
import random
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import msgspec
from tests import engines
from tests.cluster.kit import Cluster, running_on
from tests.cluster.storm import AGAIN_S, BROKEN, Connection, Counts, Player, Storm, request
from tests.cluster.test_stores_away import TIMEOUT_S, paused
from tests.cluster.test_storm import SONGS, a_pass, as_text, check_scores, copy_account
from tests.patience import patiently, wait_until
from tests.redises import RedisServer
from tests.wire.kit import API, BEHIND_PROXY
from tests.wire.submitting import OSU, Played, password_md5
from tests.wire.test_metrics import figures

PLAYERS: Final = 40
READERS: Final = 16
SUBMIT_EVERY_S: Final = 1.0
BEFORE_S: Final = 2.0
AWAY_S: Final = 3.0
BACK_WITHIN_S: Final = 30.0
NOTICED_S: Final = 1.5
"""The lag that tells an outage from a wait for the replica, which is shorter than a second."""
READS: Final = 'kiai_store_seconds_count{op="replica",store="database"}'
LAG: Final = "kiai_replica_lag_seconds"
AWAY: Final = "the primary answers all reads"
BACK: Final = "the replica answers reads again"
FILTERED: Final = (8, 16, 64)  # HD, HR, DT: pages with a filter by mods are read from the replica


class Reader:
    """Reads the pages that show a play, after each play, until they are answered."""

    def __init__(self, port: int) -> None:
        self.pages = 0
        self.refused = 0
        self.longest_s = 0.0
        self.stale: list[str] = []
        self._port = port
        self._connections: dict[int, Connection] = {}
        self._best: defaultdict[tuple[int, str, int | None], int] = defaultdict(int)

    async def after_play(self, player: Player, played: Played, number: int) -> None:
        """Compare the pages with the scores acknowledged to the player, who does not play meanwhile."""
        boards = [(player.user_id, played.md5, mods) for mods in (None, played.mods)]
        best, best_with_mods = [self._noted(board, played.score) for board in boards]
        game = {"us": player.name, "ha": password_md5(), "c": played.md5, "m": 0, "v": 1, "s": 0}
        own = (await self._page(player, f"/web/osu-osz2-getscores.php?{urlencode(game)}", OSU)).split(b"\n")[4]
        self._compare("the board of the game", player, own.split(b"|")[2:3], [b"%d" % best])
        found = await self._page(player, f"/v1/get_map_scores?scope=best&md5={played.md5}&mods={played.mods}")
        lines = {one["userid"]: one["score"] for one in msgspec.json.decode(found)["scores"]}
        self._compare("the board with mods", player, lines.get(player.user_id), best_with_mods)
        found = await self._page(player, f"/v2/players/{player.user_id}/plays?mods={played.mods}&page_size=1")
        self._compare("the newest play", player, [one["id"] for one in msgspec.json.decode(found)["data"]], [number])

    def _noted(self, board: tuple[int, str, int | None], score: int) -> int:
        self._best[board] = max(score, self._best[board])
        return self._best[board]

    def _compare(self, what: str, player: Player, found: object, expected: object) -> None:
        if found != expected:
            self.stale.append(f"{what} of {player.name}: {found!r}, not {expected!r}")

    async def _page(self, player: Player, target: str, host: str = API) -> bytes:
        connection = self._connections.setdefault(player.user_id, Connection(self._port))
        address = f"X-Forwarded-For: 198.18.{player.user_id % 250}.1\r\n"  # addresses take turns in the slow lane
        while True:
            began = time.monotonic()
            with contextlib.suppress(*BROKEN):
                status, _, body = await connection.ask(request("GET", target, host, b"", address))
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                if status == 200:
                    self.pages += 1
                    return body
                assert status == 503, (target, status, body)
            self.refused += 1
            await asyncio.sleep(AGAIN_S)

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections.values():
            connection.close()


class Outages:
    """Takes the replica away in three ways, and checks who answers the reads."""

    def __init__(self, cluster: Cluster, replica: engines.PostgresReplica, reader: Reader) -> None:
        self._cluster = cluster
        self._replica = replica
        self._reader = reader
        self.back_s: list[float] = []

    def run(self) -> None:
        """Kill it, let it come back stale, and let it hang. It answers reads before and after each."""
        self._is_used()
        self._replica.kill()
        self._primary_answers("killed")
        self._replica.start_stale()
        self._primary_answers("stale")
        self._replica.follow()
        self._is_used()
        with paused(self._replica.processes()):
            self._primary_answers("hanging")
        self._is_used()

    def _is_used(self) -> None:
        """Wait until the replica answers reads of both workers."""
        began, before = time.monotonic(), figures(self._cluster)[READS]

        def holds() -> bool:
            found = figures(self._cluster)
            return found[LAG] < NOTICED_S and found[READS] >= before + READERS

        wait_until(holds, within_s=BACK_WITHIN_S, what="the replica answers no reads")
        self.back_s.append(time.monotonic() - began)

    def _primary_answers(self, state: str) -> None:
        wait_until(
            lambda: figures(self._cluster)[LAG] > NOTICED_S,
            within_s=BACK_WITHIN_S,
            what=f"the metric does not say that the replica is {state}",
        )
        read, pages = figures(self._cluster)[READS], self._reader.pages
        time.sleep(AWAY_S)
        assert figures(self._cluster)[READS] == read, f"a replica that is {state} answers no read"
        assert self._reader.pages > pages, f"the primary answers while the replica is {state}"


def test_no_play_is_lost_and_no_read_is_stale_while_the_replica_fails(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(seed := random.randrange(1 << 32))
    names = [f"player{number}x" for number in range(PLAYERS)]
    # Limits off: the few players ask and play as fast as they can.
    settings = {"CONNECTIONS_PER_ADDRESS": "10000", "RATE_LIMITS": "off", **BEHIND_PROXY}
    with (
        engines.postgres_replica() as replica,
        contextlib.closing(RedisServer()) as redis,
        running_on(redis, tmp_path, names[:1], SONGS, 2, replica=replica, **settings) as cluster,
    ):
        storm = Storm(cluster.port, copy_account(cluster, names), matches=0, relogging=0, poll_s=0.5, seed=seed)
        for player in storm.players[:READERS]:
            player.plays = [a_filtered_pass(chance, player.name) for _ in range(100)]
        reader = Reader(cluster.port)
        storm.after_play = reader.after_play
        outages = Outages(cluster, replica, reader)

        async def run() -> Counts:
            try:
                return await storm.run(BEFORE_S, outages.run, BEFORE_S, SUBMIT_EVERY_S)
            finally:
                reader.close()

        counts = asyncio.run(run())
        check_scores(cluster, storm, counts)

        back = ", ".join(f"{seconds:.1f} s" for seconds in outages.back_s)
        told = f"{reader.pages} pages, {reader.refused} refused, the longest in {reader.longest_s:.2f} s"
        record_property("counts", f"used after {back}; {told}; {as_text(counts)}")
        assert reader.stale == [], f"seed {seed}: {told}"
        assert counts.faults == {}, f"seed {seed}: {as_text(counts)} {storm.lost[:20]}"
        assert counts.submitted_again == counts.refused == reader.refused == 0
        assert reader.pages == 3 * counts.plays >= 3 * READERS
        assert reader.longest_s < patiently(TIMEOUT_S)
        events = [line["event"] for line in cluster.log_lines]
        assert events.count(AWAY) >= events.count(BACK) >= 2 * len(outages.back_s[1:]), "each worker says it"
        cluster.stop()
        assert '"unhandled"' not in cluster.stderr
        assert cluster.cli("doctor")["problems"] == []


def a_filtered_pass(chance: random.Random, name: str) -> Played:
    """Return a play that is a pass with one of the mods of `FILTERED`."""
    while (played := a_pass(chance, name)).mods not in FILTERED:
        pass
    return played

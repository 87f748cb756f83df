"""Two workers with PostgreSQL, Redis and a bucket act as one server, also when one of them is killed."""

import functools
import http.client
import random
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis
from tests.buckets import an_s3
from tests.builders import a_map
from tests.cluster.kit import Cluster, running
from tests.faces.bancho.client_bytes import whole
from tests.faults.submitting import AcknowledgedPlay, Bot
from tests.patience import Deadline, patiently
from tests.wire.answers import Client
from tests.wire.kit import eventually
from tests.wire.submitting import Played, log_in, password_md5, poll, submit, try_to_log_in, web

from kiai.faces.bancho import packets
from kiai.faces.bancho.packets import ClientMessage, ClientPacket
from kiai.realtime.changes import FRESH_S

NAMES = ["alice", "bob", "carla", "dora", "eve", "fred"]
SONGS = [a_map(100 + n, objects=100, title=f"Song {n}") for n in range(3)]
RESTART = packets.restart(0)
STORM_S = 12.0
KILL_EVERY_S = 3.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    bucket, access = an_s3().bucket()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in access.items():
            patch.setenv(name, value)
        # The other tests of clusters start forked workers (`warm_workers.py`).
        patch.setattr(Cluster, "start", functools.partialmethod(Cluster.start, cold=True))
        # Limits off: the few players ask and play as fast as they can.
        with running(tmp_path_factory.mktemp("cluster"), NAMES, SONGS, FILES=bucket, RATE_LIMITS="off") as cluster:
            yield cluster
            cluster.stop()
            assert '"unhandled"' not in cluster.stderr
            assert cluster.cli("doctor")["problems"] == []


def line(text: str) -> bytes:
    """Return the packet of a line in #osu."""
    return whole(ClientPacket.SEND_PUBLIC_MESSAGE, ClientMessage("", text, "#osu", 0))


def received(body: bytes, prefix: str) -> list[int]:
    """Return the numbers of the lines with this prefix in the answer of a poll."""
    found, at = [], 0
    while at < len(body):
        packet_id, _, size = struct.unpack_from("<HBI", body, at)
        payload = body[at + 7 : at + 7 + size]
        at += 7 + size
        if packet_id == 7 and (place := payload.find(prefix.encode())) >= 0:
            number = payload[place + len(prefix) :].split(b".")[0]
            found.append(int(number))
    return found


def test_two_workers_share_the_requests(cluster: Cluster) -> None:
    assert len(cluster.workers()) == 2
    token = log_in(cluster, "alice")

    for _ in range(20):
        assert RESTART not in poll(cluster, token)
    assert cluster.get("/get_player_count").json["counts"]["online"] == 1
    assert cluster.get("/get_player_status?name=alice").json["player_status"]["online"] is True


def test_supervisor_takes_less_than_40_mb(cluster: Cluster) -> None:
    """It lives as long as the server. With the services of the start in its memory it took 84 MB."""
    status = Path(f"/proc/{cluster.supervisor}/status").read_text()

    resident_kb = int(status.split("VmRSS:")[1].split()[0])
    assert resident_kb <= 40 * 1024


def test_line_sent_to_one_worker_is_in_a_poll_of_the_other_after_the_promised_time(cluster: Cluster) -> None:
    """Each request has a connection of its own, so the kernel chooses the worker."""
    listener, speaker = log_in_again(cluster, "alice"), log_in_again(cluster, "bob")
    for number in range(20):
        poll(cluster, listener)
        poll(cluster, speaker, line(f"promise#{number}."))
        time.sleep(FRESH_S)

        assert received(poll(cluster, listener), "promise#") == [number]


def test_idle_polls_ask_redis_for_nothing(cluster: Cluster) -> None:
    token = log_in_again(cluster, "alice")
    client = Redis.from_url(cluster.redis.url)
    with Client(cluster.port) as connection:

        def idle_poll() -> None:
            answer = connection.ask("POST", "/", host="c.localhost", headers={"User-Agent": "osu!", "osu-token": token})
            assert answer.status == 200

        eventually(lambda: _scripts_during(client, idle_poll, polls=300) < 100, within_s=20)
    client.close()


def _scripts_during(client: "Redis", idle_poll: Callable[[], None], polls: int) -> int:
    """Return how many scripts Redis ran during these polls. Jobs and the log of changes run some, too."""
    client.config_resetstat()
    for _ in range(polls):
        idle_poll()
    found = client.info("commandstats")
    return int(found.get("cmdstat_evalsha", {"calls": 0})["calls"])


def test_score_submitted_to_one_worker_is_visible_in_the_other(cluster: Cluster) -> None:
    log_in_again(cluster, "bob")

    body = submit(cluster, Played(SONGS[0].md5, "bob", score=123_456).sealed()).body

    assert body.startswith(b"beatmapId:100|")
    for _ in range(10):
        board = web(cluster, "/web/osu-osz2-getscores.php", us="bob", ha=password_md5(), c=SONGS[0].md5, m=0, v=1, s=0)
        assert b"|bob|123456|" in board.body
        assert cluster.get("/get_player_info?name=bob&scope=stats").json["player"]["stats"]["0"]["rank"] == 1


def test_file_stored_by_one_worker_is_in_the_bucket_and_served_by_all(cluster: Cluster) -> None:
    log_in_again(cluster, "alice")
    played = Played(SONGS[2].md5, "alice", score=456_789).sealed()

    body = submit(cluster, played).body

    score_id = int(body.split(b"onlineScoreId:")[1].split(b"|")[0])
    for _ in range(6):
        watched = web(cluster, "/web/osu-getreplay.php", u="alice", h=password_md5(), c=score_id, m=0)
        assert watched.body == played.replay
    osu = cluster.ask("GET", f"/osu/{SONGS[2].id}", host="osu.localhost", headers={"User-Agent": "osu!"})
    assert osu.body == SONGS[2].data
    assert [one for one in (cluster.data / "files").rglob("*") if one.is_file()] == []


def log_in_again(cluster: Cluster, name: str) -> str:
    deadline = Deadline(20)
    while (token := try_to_log_in(cluster, name)) is None:
        assert not deadline.passed()
        time.sleep(0.3)
    return token


class Talker(threading.Thread):
    """A player that sends numbered lines and records those of the others. A failed request is not repeated."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.cluster = cluster
        self.token = log_in_again(cluster, name)
        self.said: list[int] = []
        self.received: dict[str, list[int]] = {}
        self.lost_polls = 0
        self.restarted = False
        self.stopping = threading.Event()
        self.failure: BaseException | None = None

    def run(self) -> None:
        number = 0
        try:
            while not self.stopping.is_set():
                number += 1
                if self.ask(line(f"{self.name}#{number}.")):
                    self.said.append(number)
                time.sleep(0.05)
            for _ in range(5):
                time.sleep(FRESH_S)  # lines that went through the other worker arrive by then
                self.ask(b"")
        except BaseException as error:
            self.failure = error

    def ask(self, body: bytes) -> bool:
        """Poll. Return whether it was answered."""
        try:
            answer = poll(self.cluster, self.token, body)
        except (OSError, http.client.HTTPException):
            self.lost_polls += 1
            return False
        self.restarted = self.restarted or RESTART in answer
        for name in NAMES:
            self.received.setdefault(name, []).extend(received(answer, f"{name}#"))
        return True


def test_no_session_is_lost_and_no_line_repeated_while_workers_die(cluster: Cluster) -> None:
    talkers = [Talker(cluster, name) for name in ("carla", "dora")]
    bots = [Bot(cluster, name, [song.md5 for song in SONGS], seed) for seed, name in enumerate(("eve", "fred"))]
    chance = random.Random()
    kills = 0
    everybody: list[Talker | Bot] = [*talkers, *bots]
    for one in everybody:
        one.start()
    ends = time.monotonic() + STORM_S
    while time.monotonic() < ends:
        time.sleep(KILL_EVERY_S)
        eventually(lambda: len(cluster.workers()) == 2, within_s=15)
        cluster.kill_worker(chance.randrange(2))
        kills += 1
    for one in everybody:
        one.stopping.set()
    for one in everybody:
        one.join(patiently(60))
    acknowledged: list[AcknowledgedPlay] = [play for bot in bots for play in bot.acknowledged]
    print(f"{kills} kills, {sum(len(t.said) for t in talkers)} lines, {len(acknowledged)} plays acknowledged")
    assert [one.failure for one in everybody] == [None] * 4
    assert kills >= 3
    for talker in talkers:
        assert not talker.restarted, "the session is still there"
        (other,) = [one for one in talkers if one is not talker]
        lines = talker.received[other.name]
        assert lines == sorted(set(lines)), "in order, and none twice"
        # Delivery is at most once: the contents of a lost answer are lost; everything else must have arrived.
        missing = set(other.said) - set(lines)
        assert len(missing) <= 3 * talker.lost_polls, missing
    assert len(acknowledged) > 10
    passes = [play for play in acknowledged if play.score_id is not None]
    for play in passes:
        stored = cluster.get(f"/get_score_info?id={play.score_id}").json["score"]
        assert stored["score"] == play.played.score
    assert len({play.score_id for play in passes}) == len(passes)


def test_workers_are_replaced_one_after_another(cluster: Cluster) -> None:
    eventually(lambda: len(cluster.workers()) == 2, within_s=15)
    before = set(cluster.workers())
    token = log_in_again(cluster, "alice")

    cluster.signal(signal.SIGHUP)

    eventually(lambda: not before & set(cluster.workers()) and len(cluster.workers()) == 2, within_s=30)
    assert RESTART not in poll(cluster, token)


def test_empty_redis_costs_players_only_a_new_login(cluster: Cluster) -> None:
    log_in_again(cluster, "alice")
    submit(cluster, Played(SONGS[0].md5, "alice", score=88_888).sealed())
    eventually(lambda: rank_of(cluster, "alice") > 0)  # delivered: what comes back is loaded from the rows
    token = log_in_again(cluster, "bob")
    rank = rank_of(cluster, "bob")
    assert rank > 0

    cluster.redis.stop()
    played = Played(SONGS[1].md5, "bob", score=77_777).sealed()
    assert poll_status(cluster, token) == 503
    assert submit(cluster, played).body.startswith(b"beatmapId:"), "plays are taken without Redis"
    info = cluster.get("/get_player_info?name=bob&scope=stats").json["player"]["stats"]["0"]
    assert 0 < info["rank"] <= rank, "counted in the rows, the new play among them"
    rank = info["rank"]
    assert cluster.get(f"/v2/players/{info['id']}/stats/0").json["data"]["rank"] == rank
    others = rank_of(cluster, "alice")
    assert others > 0
    cluster.redis.start()

    eventually(lambda: RESTART in poll_or_nothing(cluster, token), within_s=10)
    eventually(lambda: (rank_of(cluster, "bob"), rank_of(cluster, "alice")) == (rank, others), within_s=10)
    assert RESTART not in poll(cluster, log_in_again(cluster, "bob"))


def test_stop_during_the_start_does_not_wait_for_the_workers(cluster: Cluster) -> None:
    cluster.stop()
    starting = cluster.launch()
    eventually(lambda: len(cluster.workers()) == 2, within_s=20)

    starting.terminate()
    said, _ = starting.communicate(timeout=patiently(15))

    assert (starting.returncode, said) == (0, "")
    cluster.start()


def rank_of(cluster: Cluster, name: str) -> int:
    return int(cluster.get(f"/get_player_info?name={name}&scope=stats").json["player"]["stats"]["0"]["rank"])


def poll_status(cluster: Cluster, token: str) -> int:
    headers = {"User-Agent": "osu!", "osu-token": token}
    return cluster.ask("POST", "/", host="c.localhost", headers=headers, body=b"").status


def poll_or_nothing(cluster: Cluster, token: str) -> bytes:
    try:
        return poll(cluster, token)
    except OSError:
        return b""

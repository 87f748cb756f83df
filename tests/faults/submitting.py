"""Players that submit while the server is killed. Each one records the acknowledged plays in a ledger."""

import hashlib
import http.client
import itertools
import random
import threading
import time
from typing import Final

import msgspec
from tests.patience import Deadline
from tests.wire.kit import Server
from tests.wire.submitting import Played, frames, password_md5, read_rows, submit, try_to_log_in, web

RETRY_S: Final = 0.1  # the game waits 7.5 s
GIVES_UP_S: Final = 60.0

_score = itertools.count(1_000_000)


class AcknowledgedPlay(msgspec.Struct, frozen=True):
    """A play that the server has acknowledged, with its answer and the id of the score (None for a fail)."""

    name: str
    played: Played
    answer: bytes
    score_id: int | None


def a_play(chance: random.Random, md5: str, name: str) -> Played:
    """Return a new play: a pass of random quality or a fail."""
    passed = chance.random() < 0.8
    misses = chance.randint(0, 20)
    made = Played(
        md5,
        name,
        n300=100 - misses if passed else 30,
        nmiss=misses if passed else 5,
        score=next(_score) + chance.randint(0, 500) * 10_000,
        combo=100 - misses if passed else 20,
        grade="S" if passed else "F",
        mods=chance.choice((0, 8, 16, 64, 128)),
        passed=passed,
        replay=frames(120) if passed else b"",
    )
    return made.sealed()


def insist(server: Server, name: str, played: Played) -> AcknowledgedPlay:
    """Send a play as the game does: the same bytes repeatedly, with a new login if needed, until it is answered."""
    parts = played.parts()
    deadline = Deadline(GIVES_UP_S)
    while not deadline.passed():
        try:
            reply = submit(server, parts)
            if reply.status == 200:
                found = reply.body.split(b"onlineScoreId:")
                score_id = int(found[1].split(b"|")[0]) if len(found) > 1 else None
                assert (score_id is not None) == played.passed, reply.body
                return AcknowledgedPlay(name, played, reply.body, score_id)
            assert reply.status == 503, reply
            try_to_log_in(server, name)
        except (OSError, http.client.HTTPException):
            pass  # the server is gone, or was while it answered
        time.sleep(RETRY_S)
    raise AssertionError(f"{name}'s play was not taken in {deadline.waited_s:.0f} s\n{server.stderr}")


class Bot(threading.Thread):
    """A player who submits plays until it is stopped. `failure` is the first exception, if any."""

    def __init__(self, server: Server, name: str, md5s: list[str], seed: int) -> None:
        super().__init__(name=name, daemon=True)
        self.server = server
        self.acknowledged: list[AcknowledgedPlay] = []
        self.failure: BaseException | None = None
        self.stopping = threading.Event()
        self._md5s = md5s
        self._chance = random.Random(seed)

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                played = a_play(self._chance, self._chance.choice(self._md5s), self.name)
                self.acknowledged.append(insist(self.server, self.name, played))
                if self._chance.random() < 0.1:  # the game did not get the answer, and asks again
                    again = insist(self.server, self.name, played)
                    assert again.score_id == self.acknowledged[-1].score_id
        except BaseException as error:
            self.failure = error


def check_ledger(server: Server, acknowledged: list[AcknowledgedPlay]) -> None:
    """Check that each acknowledged play is stored once with its replay, and that boards and profiles agree with it."""
    stored = {
        checksum: (score_id, passed)
        for checksum, score_id, passed in read_rows(server, "SELECT checksum, id, passed FROM scores")
    }
    assert len(stored) == read_rows(server, "SELECT count(*) FROM scores")[0][0]
    for one in acknowledged:
        score_id, passed = stored[bytes.fromhex(one.played.checksum)]
        assert bool(passed) == one.played.passed
        assert one.score_id in (None, score_id)
    assert len({bytes.fromhex(one.played.checksum) for one in acknowledged}) == len(acknowledged)
    for one in [one for one in acknowledged if one.score_id is not None][-100:]:
        reply = web(server, "/web/osu-getreplay.php", u=one.name, h=password_md5(), c=one.score_id, m=0)
        assert (reply.status, hashlib.sha256(reply.body).digest()) == (
            200,
            hashlib.sha256(one.played.replay or b"").digest(),
        )
    assert server.cli("doctor")["problems"] == []

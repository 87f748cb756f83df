"""Players that submit while the server dies: each keeps a ledger of what it was told."""

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


class Told(msgspec.Struct, frozen=True):
    """A play that the server has acknowledged: its answer, and the score's id (None for a fail)."""

    name: str
    played: Played
    answer: bytes
    score_id: int | None


def a_play(chance: random.Random, md5: str, name: str) -> Played:
    """A pass of any quality or a fail, never sent before."""
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


def insist(server: Server, name: str, played: Played) -> Told:
    """Sends a play as the game does: the same bytes again, with a new log-in where needed, until it is answered."""
    parts = played.parts()
    deadline = Deadline(GIVES_UP_S)
    while not deadline.passed():
        try:
            reply = submit(server, parts)
            if reply.status == 200:
                found = reply.body.split(b"onlineScoreId:")
                score_id = int(found[1].split(b"|")[0]) if len(found) > 1 else None
                assert (score_id is not None) == played.passed, reply.body
                return Told(name, played, reply.body, score_id)
            assert reply.status == 503, reply
            try_to_log_in(server, name)
        except (OSError, http.client.HTTPException):
            pass  # the server is gone, or was while it answered
        time.sleep(RETRY_S)
    raise AssertionError(f"{name}'s play was not taken in {deadline.waited_s:.0f} s\n{server.stderr}")


class Bot(threading.Thread):
    """A player who submits until told to stop. `failure` is what went wrong, if anything did."""

    def __init__(self, server: Server, name: str, md5s: list[str], seed: int) -> None:
        super().__init__(name=name, daemon=True)
        self.server = server
        self.told: list[Told] = []
        self.failure: BaseException | None = None
        self.stopping = threading.Event()
        self._md5s = md5s
        self._chance = random.Random(seed)

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                played = a_play(self._chance, self._chance.choice(self._md5s), self.name)
                self.told.append(insist(self.server, self.name, played))
                if self._chance.random() < 0.1:  # the game did not get the answer, and asks again
                    again = insist(self.server, self.name, played)
                    assert again.score_id == self.told[-1].score_id
        except BaseException as error:
            self.failure = error


def check_ledger(server: Server, told: list[Told]) -> None:
    """Everything that was acknowledged is there, once, with its replay; boards and profiles agree with the rows."""
    stored = {
        checksum: (score_id, passed)
        for checksum, score_id, passed in read_rows(server, "SELECT checksum, id, passed FROM scores")
    }
    assert len(stored) == read_rows(server, "SELECT count(*) FROM scores")[0][0]
    for one in told:
        score_id, passed = stored[bytes.fromhex(one.played.checksum)]
        assert bool(passed) == one.played.passed
        assert one.score_id in (None, score_id)
    assert len({bytes.fromhex(one.played.checksum) for one in told}) == len(told)
    for one in [one for one in told if one.score_id is not None][-100:]:
        reply = web(server, "/web/osu-getreplay.php", u=one.name, h=password_md5(), c=one.score_id, m=0)
        assert (reply.status, hashlib.sha256(reply.body).digest()) == (
            200,
            hashlib.sha256(one.played.replay or b"").digest(),
        )
    assert server.cli("doctor")["problems"] == []

"""SIGKILL of the server at each step of a submission and at random times: no acknowledged play is lost."""

import os
import random
import re
import time
from pathlib import Path
from typing import Final

import pytest
from tests import stores
from tests.builders import a_map
from tests.faults.submitting import AcknowledgedPlay, Bot, a_play, check_ledger, insist
from tests.patience import Deadline, patiently
from tests.wire.kit import Server
from tests.wire.submitting import Played, frames, prepare, read_rows, submit, try_to_log_in

NAMES: Final = ["alice", "bob", "carla", "dora"]
SONGS: Final = [a_map(100 + n, objects=100, title=f"Song {n}") for n in range(4)]
EVERY_KIND: Final = ("first", "improvement", "fail", "duplicate")
# The state that a step can leave behind differs by kind only around the commit.
KINDS: Final = {
    "submit.decoded": ("first", "fail"),
    "submit.replay_written": ("first", "improvement"),
    "submit.in_tx": EVERY_KIND,
    "submit.committed": EVERY_KIND,
    "submit.rank_set": ("first", "improvement"),
    "submit.before_reply": ("first", "improvement"),
    "submit.outbox_taken": ("first",),
}
KILLS: Final = int(os.environ.get("KILLS", "20"))  # 200 and more by night


LIMITS_OFF: Final = {"RATE_LIMITS": "off"}
"""Players in these tests send as many plays in a minute as a real one in an hour."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("kills") / "prepared"
    prepare(data, NAMES, vector_maps=False)
    folder = data.parent / "maps"
    folder.mkdir()
    for song in SONGS:
        (folder / f"{song.id}.osu").write_bytes(song.data)
    Server(data).cli("beatmaps", "import", str(folder))
    return data


@pytest.fixture(scope="module")
def plays() -> dict[str, Played]:
    """Return the plays of each run: a first pass, a better one, a fail, and the better one again."""
    at = time.strftime("%y%m%d%H%M%S", time.gmtime())
    first = Played(SONGS[0].md5, at=at, score=10_000, replay=frames(120, seed=1), iv=bytes(32))
    better = Played(SONGS[0].md5, at=at, score=20_000, replay=frames(120, seed=2), iv=bytes(32), mods=8, grade="XH")
    fail = Played(SONGS[0].md5, at=at, score=300, n300=10, combo=10, passed=False, grade="F", iv=bytes(32))
    return {"first": first, "improvement": better, "fail": fail.sealed(), "duplicate": better}


@pytest.fixture(scope="module")
def calm_answers(
    prepared: Path, plays: dict[str, Played], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The answers of a server that is not killed."""
    server = Server(stores.copied(prepared, tmp_path_factory.mktemp("calm") / "data")).start()
    try:
        try_to_log_in(server, "alice")
        return {kind: unnumbered(submit(server, played.parts()).body) for kind, played in plays.items()}
    finally:
        server.kill()


@pytest.mark.parametrize(("failpoint", "kinds"), KINDS.items())
def test_retry_after_a_crash_at_any_step_gets_the_normal_answer(
    prepared: Path,
    plays: dict[str, Played],
    calm_answers: dict[str, bytes],
    tmp_path: Path,
    failpoint: str,
    kinds: tuple[str, ...],
) -> None:
    data = stores.copied(prepared, tmp_path / "stormy")
    stormy = Server(data)
    acknowledged: list[AcknowledgedPlay] = []
    try:
        for kind in kinds:
            played, expected = plays[kind], calm_answers[kind]
            doomed = Server(data, TESTING="1", FAILPOINTS=f"{failpoint}=once:kill").start()
            try:
                try_to_log_in(doomed, "alice")
                answer = attempt(doomed, played)
                if failpoint != "submit.outbox_taken" and kind != "duplicate":
                    assert answer is None, f"{kind}: the server did not die at {failpoint}"
            finally:
                doomed.kill()
            stormy.start()
            acknowledged.append(insist(stormy, "alice", played))
            assert answer is None or unnumbered(answer) == expected, kind
            assert unnumbered(acknowledged[-1].answer) == expected, kind
            stormy.kill()
        stormy.start()
        stored = {one.played.checksum: one for one in acknowledged}
        check_ledger(stormy, list(stored.values()))
        assert read_rows(stormy, "SELECT count(*) FROM scores") == [(len(stored),)]
    finally:
        stormy.kill()


def unnumbered(answer: bytes) -> bytes:
    """Return the answer without the id of the score: a submission that was rolled back may have used one up."""
    return re.sub(rb"onlineScoreId:\d+", b"onlineScoreId:", answer)


def attempt(server: Server, played: Played) -> bytes | None:
    """Return the answer, or None when the server died first."""
    try:
        return submit(server, played.parts()).body
    except OSError:
        return None


def test_no_play_is_lost_while_the_server_is_killed_repeatedly(prepared: Path, tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    server = Server(stores.copied(prepared, tmp_path / "data"), **LIMITS_OFF).start()
    bots = [Bot(server, name, [song.md5 for song in SONGS], seed + n) for n, name in enumerate(NAMES)]
    try:
        for bot in bots:
            bot.start()
        for kill in range(KILLS):
            # Every other time, a player has got an answer since the start, however slow the machine is.
            before = sum(len(bot.acknowledged) for bot in bots)
            deadline = Deadline(30)
            while kill % 2 and sum(len(bot.acknowledged) for bot in bots) == before and not deadline.passed():
                time.sleep(0.02)
            time.sleep(chance.uniform(0.2, 1.2))
            server.kill()
            server.start()
        for bot in bots:
            bot.stopping.set()
        for bot in bots:
            bot.join(patiently(60))
        acknowledged = [one for bot in bots for one in bot.acknowledged]
        print(f"seed {seed}: {KILLS} kills, {len(acknowledged)} plays acknowledged")
        assert [bot.failure for bot in bots] == [None] * len(bots), f"seed {seed}"
        assert len(acknowledged) >= KILLS // 2, "the players got something done between the kills"
        check_ledger(server, acknowledged)
    finally:
        for bot in bots:
            bot.stopping.set()
        server.kill()


def test_play_is_stored_when_the_disk_has_space_again(prepared: Path, tmp_path: Path) -> None:
    """The file store is missing, then the disk is full: the game retries, and no play is lost."""
    server = Server(stores.copied(prepared, tmp_path / "data"), **LIMITS_OFF).start()
    chance = random.Random(7)
    try:
        try_to_log_in(server, "alice")
        files, aside = server.data / "files", server.data / "aside"
        files.rename(aside)
        files.write_bytes(b"in the way")
        played = a_play(chance, SONGS[1].md5, "alice")
        while not played.passed:
            played = a_play(chance, SONGS[1].md5, "alice")

        assert submit(server, played).status == 503
        assert read_rows(server, "SELECT count(*) FROM scores") == [(0,)]
        assert server.get("/get_player_count").status == 200, "what only reads goes on"

        files.unlink()
        aside.rename(files)
        check_ledger(server, [insist(server, "alice", played)])
    finally:
        server.kill()


def test_full_disk_rejects_plays_and_does_not_damage_the_database(prepared: Path, tmp_path: Path) -> None:
    server = Server(stores.copied(prepared, tmp_path / "data"), **LIMITS_OFF).start()
    chance = random.Random(9)
    acknowledged: list[AcknowledgedPlay] = []
    try:
        try_to_log_in(server, "alice")
        acknowledged.append(insist(server, "alice", a_play(chance, SONGS[2].md5, "alice")))
        with server.files_bounded_to(1_024):
            played = a_play(chance, SONGS[2].md5, "alice")
            reply = submit(server, played)
            assert (reply.status, reply.body) == (503, b"")
            assert server.get("/get_player_count").status == 200
        acknowledged.append(insist(server, "alice", played))
        check_ledger(server, acknowledged)
    finally:
        server.kill()

"""New and old plays are examined: what is raised, where it lands, what is remembered."""

import hashlib
from collections.abc import Sequence
from typing import cast

import msgspec
import pytest
from sqlalchemy import func, select
from tests.builders import World, a_play, a_player
from tests.osu.humans import human_frames, jumps, mirrored, shifted, stream_of
from tests.osu.playing import a_chart

from kiai.beatmaps import Beatmap
from kiai.decoding.evidence_decoder import EvidenceDecoder
from kiai.errors import NotFound, Unavailable
from kiai.osu.mods import HR
from kiai.osu.replay_evidence import KnownReplay, ReplayFigures, measure
from kiai.osu.replay_file import BadReplay
from kiai.process_pool import WorkerCrashed
from kiai.scores.evidence import Examiner, ScanReport, Thresholds, statements
from kiai.scores.evidence import examining as examining_module
from kiai.scores.evidence.examining import TRIES_MAX
from kiai.scores.flags import Flags
from kiai.scores.model import StoredReplay, replay_key
from kiai.storage.port import Transaction
from kiai.storage.tables import integrity_flags, outbox, replay_signatures, unexamined_plays

OSU = a_chart(jumps(100, 6, far=150))


class Here:
    """Measures in this process. `fails` raises an error instead; `crashes_on` is a replay that ends the process."""

    fails: Exception | None = None
    crashes_on = b""

    async def measure(
        self, osu: bytes, frames: bytes, *, mode: int, mods: int, known: Sequence[KnownReplay], caller: str
    ) -> ReplayFigures:
        if self.fails is not None:
            raise self.fails
        if frames == self.crashes_on:
            raise CRASHED
        return measure(osu, frames, mode=mode, mods=mods, known=known)


class Examining:
    """A world with a map of 100 circles, and plays with replays on it."""

    def __init__(self, world: World) -> None:
        from tests.builders import NewMap

        self.world = world
        lines = OSU.decode().replace("[Difficulty]", "[Metadata]\nBeatmapID:50\nBeatmapSetID:50\n[Difficulty]")
        self.song: Beatmap = world.add_map(NewMap(50, lines.encode()))
        self.flags = Flags(world.database, world.clock)
        self.decoder = Here()
        self.examiner = Examiner(
            world.database,
            world.files,
            world.beatmaps,
            cast(EvidenceDecoder, self.decoder),
            self.flags,
            world.clock,
            Thresholds(speed_share=0),
        )

    def play(self, by: int, stream: bytes, *, mods: int = 0, score: int = 300_000) -> int:
        """Record a pass with this replay and return its id."""
        md5 = hashlib.md5(stream).digest()
        self.world.run(self.world.files.put(replay_key(md5), stream))
        replay = StoredReplay(md5=md5, sha256=hashlib.sha256(stream).digest(), size=len(stream))
        play = a_play(by=by, on=self.song)
        play = msgspec.structs.replace(
            play, replay=replay, mods=mods, score=score, checksum=md5, max_combo=100, passed=True
        )
        return self.world.run(self.world.recorder.record(play)).score_id

    def work(self) -> None:
        self.world.run(self.examiner.work())

    def found(self) -> list[tuple[int, str, int]]:
        of = integrity_flags.c
        return [tuple(row) for row in self.world.look(select(of.score_id, of.kind, of.other_score_id).order_by(of.id))]

    def waiting(self) -> int:
        return len(self.world.look(select(unexamined_plays)))


@pytest.fixture
def examining(world: World) -> Examining:
    return Examining(world)


@pytest.fixture
def alice(world: World) -> int:
    return world.add_player(a_player("alice"))


@pytest.fixture
def boris(world: World) -> int:
    return world.add_player(a_player("boris"))


def test_copy_is_flagged_on_the_later_play_with_an_outbox_row(examining: Examining, alice: int, boris: int) -> None:
    frames = human_frames(OSU, 1)
    original = examining.play(alice, stream_of(frames))
    copy = examining.play(boris, stream_of(mirrored(shifted(frames, ms=10))), mods=HR)

    examining.work()

    assert examining.found() == [(copy, "replay_similarity", original)]
    assert examining.waiting() == 0
    [flag] = examining.world.run(examining.flags.page(user_id=boris, limit=5))
    rows = examining.world.look(select(outbox.c.payload).where(outbox.c.kind == "flag"))
    assert [row[0] for row in rows] == [str(flag.id)]


def test_flag_is_on_the_later_play_also_if_the_earlier_one_is_examined_last(
    examining: Examining, alice: int, boris: int
) -> None:
    frames = human_frames(OSU, 1)
    original = examining.play(alice, stream_of(frames))
    copy = examining.play(boris, stream_of(shifted(frames, x=4)))

    examining.world.run(examining.examiner.examine(copy))
    assert examining.found() == []
    examining.world.run(examining.examiner.examine(original))

    assert examining.found() == [(copy, "replay_similarity", original)]
    [flag] = examining.world.run(examining.flags.page(limit=5))
    assert flag.user_id == boris


def test_own_replays_and_honest_plays_are_not_flagged(examining: Examining, alice: int, boris: int) -> None:
    frames = human_frames(OSU, 1)
    for by, stream in (
        (alice, stream_of(frames)),
        (alice, stream_of(shifted(frames, ms=3))),
        (boris, stream_of(human_frames(OSU, 2))),
    ):
        examining.play(by, stream)

    examining.work()

    assert examining.found() == []


def test_scan_raises_nothing_twice(examining: Examining, alice: int, boris: int) -> None:
    frames = human_frames(OSU, 1)
    examining.play(alice, stream_of(frames))
    examining.play(boris, stream_of(shifted(frames, ms=10)))
    world, examiner = examining.world, examining.examiner

    assert world.run(examiner.scan()) == ScanReport(2, 1)
    assert world.run(examiner.scan()) == ScanReport(2, 0)
    assert world.run(examiner.scan(map_id=50)) == ScanReport(2, 0)
    assert world.run(examiner.scan(user_id=alice)) == ScanReport(1, 0)
    assert world.run(examiner.scan(user_id=alice, map_id=50)) == ScanReport(1, 0)
    assert examining.waiting() == 0
    with pytest.raises(NotFound):
        world.run(examiner.scan(map_id=51))


def test_signatures_of_the_best_replays_stay(examining: Examining, alice: int, monkeypatch: pytest.MonkeyPatch) -> None:
    world = examining.world
    of = replay_signatures.c
    filler = {"map_key": examining.song.key, "mode": 0, "user_id": alice, "data": b"x"}

    async def fill(tx: object) -> None:
        for number in range(statements.SIGNATURES_MAX):
            await tx.run(statements.REMEMBER, score_id=10_000 + number, score=1_000_000 + number, **filler)  # type: ignore[attr-defined]

    world.run(world.database.transaction(fill))
    worst = examining.play(alice, stream_of(human_frames(OSU, 1)), score=900_000)
    best = examining.play(alice, stream_of(human_frames(OSU, 2)), score=2_000_000)

    examining.work()

    assert world.look(select(func.count()).select_from(replay_signatures)) == [(statements.SIGNATURES_MAX,)]
    kept = {row[0] for row in world.look(select(of.score_id))}
    assert best in kept
    assert worst not in kept


def test_play_is_examined_later_while_the_process_is_unavailable(examining: Examining, alice: int) -> None:
    examining.play(alice, stream_of(human_frames(OSU, 1, timing_ms=0.2)))
    examining.decoder.fails = Unavailable("evidence")

    with pytest.raises(Unavailable):
        examining.work()
    examining.decoder.fails = None
    examining.work()
    assert examining.waiting() == 1  # not due yet
    examining.world.clock.advance(5)
    examining.work()

    assert examining.waiting() == 0
    assert {kind for _, kind, _ in examining.found()} == {"key_timing", "relax_snap"}


CRASHED = WorkerCrashed("the process of evidence ended, twice")


@pytest.mark.parametrize("error", [CRASHED, RuntimeError("a bug")])
def test_play_is_tried_again_after_crashes_and_then_noted(examining: Examining, alice: int, error: Exception) -> None:
    """The other rules hold also for a play whose replay breaks the process each time."""
    score = examining.play(alice, stream_of(human_frames(OSU, 1)), score=300_000_000)
    examining.decoder.fails = error

    waits = []
    for number in range(TRIES_MAX - 1):
        examining.work()
        assert (examining.waiting(), examining.found()) == (1, []), number
        waits.append(2**number)
        examining.world.clock.advance(waits[-1] - 0.5)
        examining.work()  # not due yet: no try
        examining.world.clock.advance(0.5)
    examining.work()

    assert sum(waits) > 1_800
    assert examining.waiting() == 0
    assert examining.found() == [(score, "score_counts", 0), (score, "replay", 0)]
    note = examining.world.run(examining.flags.page(kind="replay", limit=5))[0]
    assert note.details == (
        f"the replay cannot be measured: {TRIES_MAX} tries failed, the last with {type(error).__name__}"
    )


def test_process_that_works_again_finds_what_it_would_have_found(examining: Examining, alice: int) -> None:
    examining.play(alice, stream_of(human_frames(OSU, 1, timing_ms=0.2)))
    examining.decoder.fails = CRASHED
    for number in range(8):
        examining.work()
        examining.world.clock.advance(2**number)
    examining.decoder.fails = None

    examining.work()

    assert {kind for _, kind, _ in examining.found()} == {"key_timing", "relax_snap"}
    assert examining.waiting() == 0


def test_replay_that_cannot_be_read_is_noted_at_once(examining: Examining, alice: int) -> None:
    score = examining.play(alice, stream_of(human_frames(OSU, 1)))
    examining.decoder.fails = BadReplay("it needs more than 5 s of CPU time")

    examining.work()

    assert (examining.found(), examining.waiting()) == ([(score, "replay", 0)], 0)
    [note] = examining.world.run(examining.flags.page(limit=5))
    assert note.details == "the replay cannot be measured: it needs more than 5 s of CPU time"
    assert examining.world.run(examining.examiner.scan()) == ScanReport(1, 0)


def test_scan_goes_on_after_a_replay_that_crashes_the_process(examining: Examining, alice: int, boris: int) -> None:
    crashing = stream_of(human_frames(OSU, 1))
    first = examining.play(alice, crashing)
    copied = stream_of(human_frames(OSU, 2))
    original = examining.play(alice, copied)
    copy = examining.play(boris, stream_of(shifted(human_frames(OSU, 2), ms=10)))
    examining.decoder.crashes_on = crashing

    assert examining.world.run(examining.examiner.scan()) == ScanReport(3, 2)

    assert examining.found() == [(first, "replay", 0), (copy, "replay_similarity", original)]


def test_play_is_noted_also_if_the_rules_fail(
    examining: Examining, alice: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = examining.play(alice, stream_of(human_frames(OSU, 1)))

    def fails(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(examining_module, "signs_of_play", fails)
    for number in range(TRIES_MAX):
        examining.work()
        examining.world.clock.advance(2**number)

    assert (examining.found(), examining.waiting()) == ([(score, "replay", 0)], 0)


def test_play_that_is_gone_does_not_wait(examining: Examining, alice: int) -> None:
    async def leave_row(tx: Transaction) -> None:
        await tx.run(statements.ADD_UNEXAMINED, score_id=12_345, due_at_ms=0)

    examining.world.run(examining.world.database.transaction(leave_row))
    examining.work()

    assert (examining.waiting(), examining.found()) == (0, [])

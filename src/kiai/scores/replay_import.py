"""Import of replays: turns .osr files into scores.

    read -> form of the checksum -> player and map -> plausibility -> stored already? -> frames -> pp
    -> store the frames -> one transaction (recording.py), in the order of the files

A replay passes the same checks as a submission: impossible plays are refused, and suspicious ones are stored with a
flag for staff. A checksum of an unknown form is a flag and not an error, because it does not prove that the file was
edited (docs/spec/replays.md#checksum). The bytes of the frames are stored unchanged.
"""

import asyncio
import contextlib
import hashlib
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from kiai.accounts import BOT_ID, Accounts, User, Viewer
from kiai.beatmaps import Beatmap, Beatmaps
from kiai.clock import Clock
from kiai.errors import KiaiError, NotFound, Refused, Unavailable
from kiai.files.port import Files
from kiai.osu.accuracy import accuracy, judged
from kiai.osu.grades import grade
from kiai.osu.lazer_score import (
    STANDARDISED_MAX,
    classic_score,
    lazer_mods,
    lazer_mods_fault,
    objects_judged,
    read_lazer_score,
)
from kiai.osu.modes import mode_of
from kiai.osu.mods import AP, NF, RX, completed, mods_text, refused_mods, unranked_mods
from kiai.osu.replay_checksum import COVERS_THE_RESULT, ChecksumForm, checksum_form
from kiai.osu.replay_file import FIRST_LAZER_VERSION, BadReplay, ReplayFile, check_frames, read_replay
from kiai.scores.flags import Suspicion, suspicious_length
from kiai.scores.model import Play, StoredReplay, replay_key, stable_score
from kiai.scores.performance import CannotCalculate, Performance, calculator_play, stored_pp
from kiai.scores.recording import AlreadyRecorded, Recorder

FILE_MAX: Final = 11 * 1024 * 1024  # 10 MiB of frames, the limit of a submission, and the header
OSU_MODE: Final = 0
AHEAD: Final = 8
"""Number of files that are read and computed while the files before them are recorded."""
STAFF: Final = Viewer(priv=-1)  # all privileges: an operator may import replays of hidden players

# The life bar is written into files for the game, so anything that it could not parse is dropped.
_LIFE_BAR: Final = re.compile(r"[-+0-9.,|eE]*")
_STORED_ALREADY: Final = "this replay is stored already"


class NotedReplay(msgspec.Struct, frozen=True):
    """A file with the reason why it was skipped or flagged."""

    path: str
    why: str


class ReplayReport(msgspec.Struct):
    """The result of an import. `checksums` counts the new scores by the form of their checksum.

    `doubts` lists the imported files that were flagged.
    """

    scores: int = 0
    skipped: list[NotedReplay] = msgspec.field(default_factory=list)
    doubts: list[NotedReplay] = msgspec.field(default_factory=list)
    checksums: Counter[ChecksumForm] = msgspec.field(default_factory=Counter)


class _CheckedReplay(msgspec.Struct, frozen=True):
    """A replay that has passed the checks and can be recorded."""

    play: Play
    frames: bytes
    checksum: ChecksumForm
    doubts: list[Suspicion]


class ReplayImport:
    """Imports .osr files."""

    def __init__(
        self,
        files: Files,
        accounts: Accounts,
        beatmaps: Beatmaps,
        performance: Performance,
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        self._files = files
        self._accounts = accounts
        self._beatmaps = beatmaps
        self._performance = performance
        self._recorder = recorder
        self._clock = clock

    async def import_paths(
        self,
        paths: Iterable[Path],
        *,
        user: User | None = None,
        strict: bool = False,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> ReplayReport:
        """Import .osr files and folders of them.

        `user` gets the plays of names without an account. With `strict`, files with a checksum of an unknown form are
        skipped instead of flagged. `progress` gets (done, total) files.
        """
        report = ReplayReport()
        found = list(_osr_files(paths, report))
        # PERF: up to AHEAD files are checked and computed in parallel, which keeps several workers busy. They are
        # recorded one after the other, in the order of the files, so that equal plays give the same scores each time.
        waiting: deque[tuple[Path, asyncio.Task[_CheckedReplay]]] = deque()
        done = 0
        progress(0, len(found))
        try:
            for path in found:
                waiting.append((path, asyncio.create_task(self._check_file(path, user, strict))))
                if len(waiting) < AHEAD:
                    continue
                await self._record_next(waiting, report)
                done += 1
                progress(done, len(found))
            while waiting:
                await self._record_next(waiting, report)
                done += 1
                progress(done, len(found))
        finally:
            for _, task in waiting:
                task.cancel()
            await asyncio.gather(*(task for _, task in waiting), return_exceptions=True)
        return report

    async def import_one(self, data: bytes, *, user: User | None = None, strict: bool = False) -> int:
        """Import a single .osr file and return the id of the new score. Raises Refused or another KiaiError."""
        return await self._record(await self._checked(data, user, strict))

    async def _record_next(
        self, waiting: deque[tuple[Path, asyncio.Task[_CheckedReplay]]], report: ReplayReport
    ) -> None:
        path, task = waiting.popleft()
        try:
            found = await task
            await self._record(found)
        except KiaiError as error:
            report.skipped.append(NotedReplay(str(path), str(error)))
            return
        finally:
            task.cancel()
        report.scores += 1
        report.checksums[found.checksum] += 1
        if found.doubts:
            why = "; ".join(f"{doubt.kind}: {doubt.details}" for doubt in found.doubts)
            report.doubts.append(NotedReplay(str(path), why))

    async def _record(self, found: _CheckedReplay) -> int:
        assert found.play.replay is not None
        # The file comes before the row: a crash in between leaves a file, which `Replays.sweep` deletes, and never a
        # score whose replay is missing.
        await self._files.put(replay_key(found.play.replay.md5), found.frames)
        try:
            return (await self._recorder.record(found.play, suspicions=found.doubts)).score_id
        except AlreadyRecorded as error:
            raise Refused(_STORED_ALREADY) from error

    async def _check_file(self, path: Path, user: User | None, strict: bool) -> _CheckedReplay:
        return await self._checked(await asyncio.to_thread(_read, path), user, strict)

    async def _checked(self, data: bytes, user: User | None, strict: bool) -> _CheckedReplay:
        """Return the play of a file. Raises Refused or another KiaiError with the reason."""
        try:
            replay = read_replay(data)
        except BadReplay as error:
            raise Refused(f"not a replay: {error}") from error
        form = checksum_form(replay)
        doubts = []
        if form is ChecksumForm.UNKNOWN:
            if strict:
                raise Refused("its checksum has an unknown form")
            doubts.append(Suspicion("replay checksum", "unknown form"))
        player = await self._player(replay, user)
        beatmap = await self._map(replay)
        failed = False
        if replay.game_version >= FIRST_LAZER_VERSION:
            replay, failed = _from_lazer(replay, beatmap, doubts)
        replay = msgspec.structs.replace(replay, mods=completed(replay.mods))
        if (fault := play_fault(replay, beatmap)) is not None:
            raise Refused(fault)
        doubts += suspicions_about(replay, beatmap)
        if not replay.frames:
            raise Refused("it has no frames")
        play = self._play(replay, form, player, beatmap, failed=failed)
        # PERF: before the frames and pp. Operators import the same folder again, and most of its files are stored.
        if await self._recorder.known(play) is not None:
            raise Refused(_STORED_ALREADY)
        try:
            frames = await asyncio.to_thread(check_frames, replay.frames)
        except BadReplay as error:
            raise Refused(f"the frames are damaged: {error}") from error
        doubts += suspicious_length(frames.frames)
        pp = await self._pp(replay, beatmap) if play.passed else 0.0
        play = msgspec.structs.replace(play, pp=pp, time_elapsed=frames.length_ms)
        return _CheckedReplay(play, replay.frames, form, doubts)

    async def _player(self, replay: ReplayFile, user: User | None) -> User:
        named = None
        with contextlib.suppress(NotFound):
            named = await self._accounts.user(STAFF, name=replay.player_name)
        if user is None:
            if named is None:
                raise Refused(f"its player {replay.player_name!r} has no account here")
            user = named
        elif named is not None and named.id != user.id:
            raise Refused(f"it was played by {named.name!r}, who has an account of their own")
        if user.id == BOT_ID:
            raise Refused(f"{user.name!r} is the bot, which cannot have scores")
        return user

    async def _map(self, replay: ReplayFile) -> Beatmap:
        md5 = replay.beatmap_md5.lower()
        try:
            return await self._beatmaps.find_or_ask(md5=md5)
        except NotFound:
            raise Refused(f"its map {md5} is not known here") from None
        except Unavailable as error:
            raise Refused(f"its map {md5} is not known here, and upstream is unavailable") from error

    async def _pp(self, replay: ReplayFile, beatmap: Beatmap) -> float:
        performed = calculator_play(
            replay.counts,
            mods=replay.mods,
            max_combo=replay.max_combo,
            legacy_score=stable_score(replay.score, replay.game_version),
        )
        try:
            [result] = await self._performance.plays(beatmap.md5, replay.mode, [performed])
        except CannotCalculate as error:
            raise Refused(f"its pp cannot be computed: {error}") from error
        return stored_pp(result.pp)

    def _play(self, replay: ReplayFile, form: ChecksumForm, player: User, beatmap: Beatmap, *, failed: bool) -> Play:
        """Return the play without pp and duration, which are expensive to compute."""
        passed = not failed and is_pass(replay, beatmap)
        return Play(
            user_id=player.id,
            beatmap=beatmap,
            mode=mode_of(replay.mode, replay.mods),
            mods=replay.mods,
            counts=replay.counts,
            score=replay.score,
            max_combo=replay.max_combo,
            acc=accuracy(replay.counts, replay.mode, replay.mods),
            pp=0.0,
            grade=grade(replay.counts, replay.mode, replay.mods, passed=passed),
            passed=passed,
            perfect=replay.perfect,
            play_time_ms=min(max(replay.played_at_ms, 0), self._clock.now_ms()),  # the file may contain any time
            time_elapsed=0,
            checksum=play_checksum(replay, form),
            calculator=self._performance.calculator_id,
            client_version=replay.game_version,
            replay=StoredReplay(
                md5=hashlib.md5(replay.frames, usedforsecurity=False).digest(),
                sha256=hashlib.sha256(replay.frames).digest(),
                size=len(replay.frames),
                life_bar=replay.life_bar if _LIFE_BAR.fullmatch(replay.life_bar) else "",
                target_accuracy=replay.target_accuracy,
            ),
        )


def _from_lazer(replay: ReplayFile, beatmap: Beatmap, doubts: list[Suspicion]) -> tuple[ReplayFile, bool]:
    """Return the replay of a lazer play in the form of stable, and whether the play failed. Adds to `doubts`.

    Raises Refused for plays that stable cannot represent.
    """
    try:
        lazer = read_lazer_score(replay.lazer_block)
    except BadReplay as error:
        raise Refused(f"not a replay: {error}") from error
    if (fault := lazer_mods_fault(lazer, replay.mode)) is not None:
        raise Refused(f"it was played in lazer: {fault}")
    if replay.game_version > FIRST_LAZER_VERSION and not replay.lazer_block:
        doubts.append(Suspicion("lazer", "the block that names lazer's mods is missing"))
    elif lazer.mods is not None and (mods := completed(lazer_mods(lazer))) != completed(replay.mods):
        doubts.append(Suspicion("mods", f"{mods_text(replay.mods)} in the header, {mods_text(mods)} in lazer's block"))
    # lazer's standardised points (1,000,000 without multipliers) become a classic score, which boards can compare.
    objects = beatmap.objects if replay.mode == OSU_MODE else objects_judged(lazer, replay.mode, replay.counts)
    if objects is None or replay.score > STANDARDISED_MAX:
        raise Refused("it was played in lazer, and its score cannot be turned into a classic one")
    score = classic_score(replay.score, replay.mode, objects)
    return msgspec.structs.replace(replay, score=score), lazer.failed


def play_checksum(replay: ReplayFile, form: ChecksumForm) -> bytes:
    """Return the 16 bytes that identify this play, so that it is stored once.

    It is the checksum of the header if that form covers the result. Any other form may be equal for several plays, so
    the result itself is hashed.
    """
    if form in COVERS_THE_RESULT:
        return bytes.fromhex(replay.replay_md5)
    facts = (
        replay.mode,
        replay.beatmap_md5.lower(),
        replay.player_name,
        replay.played_at_ms,
        replay.score,
        replay.max_combo,
        replay.mods,
        *msgspec.structs.astuple(replay.counts),
    )
    return hashlib.md5(msgspec.json.encode(facts), usedforsecurity=False).digest()


def is_pass(replay: ReplayFile, beatmap: Beatmap) -> bool:
    """Return whether the player reached the end of the map.

    Only in osu! does the number of judgements equal the number of objects. In other modes every play counts as a pass.
    """
    return replay.mode != OSU_MODE or judged(replay.counts, replay.mode) == beatmap.objects


def play_fault(replay: ReplayFile, beatmap: Beatmap) -> str | None:
    """Return the reason why this play is impossible on this map or is never stored, or None.

    See docs/spec/submission.md#mods-and-modes and docs/spec/submission.md#plausibility.
    """
    if beatmap.mode not in (OSU_MODE, replay.mode):
        return f"a map of mode {beatmap.mode} cannot be played in mode {replay.mode}"
    if (why := refused_mods(replay.mods, replay.mode)) is not None:
        return f"its mods are impossible: {why}"
    if unranked_mods(replay.mods):
        return f"its mods are not ranked: {mods_text(replay.mods)}"
    if judged(replay.counts, replay.mode) == 0 or replay.score <= 0:
        return "nothing was hit"
    if replay.max_combo <= 0 and replay.counts.nmiss == 0:
        return "its combo is impossible"
    if replay.mode == OSU_MODE and judged(replay.counts, OSU_MODE) > beatmap.objects:
        return f"it has {judged(replay.counts, OSU_MODE)} judgements, the map has {beatmap.objects} objects"
    return None


def suspicions_about(replay: ReplayFile, beatmap: Beatmap) -> list[Suspicion]:
    """Return the suspicious properties of this play, by the rules for submissions.

    See docs/spec/submission.md#plausibility.
    """
    doubts = []
    if replay.mode == beatmap.mode == OSU_MODE and replay.max_combo > beatmap.max_combo:
        doubts.append(Suspicion("combo", f"{replay.max_combo} on a map of {beatmap.max_combo}"))
    if OSU_MODE != replay.mode == beatmap.mode and replay.perfect and replay.max_combo < beatmap.max_combo:
        doubts.append(Suspicion("combo", f"perfect with {replay.max_combo} of {beatmap.max_combo}"))
    if replay.perfect and replay.counts.nmiss:
        doubts.append(Suspicion("combo", f"perfect with {replay.counts.nmiss} misses"))
    if replay.mods & (RX | AP) and replay.mods & NF:
        doubts.append(Suspicion("mods", "No Fail with Relax or Autopilot"))
    return doubts


def _osr_files(paths: Iterable[Path], report: ReplayReport) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() == ".osr" and p.is_file())
            if not inside:
                report.skipped.append(NotedReplay(str(path), "the folder has no .osr file"))
            yield from inside
        elif path.is_file():
            yield path
        else:
            report.skipped.append(NotedReplay(str(path), "there is no such file or folder"))


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > FILE_MAX:  # before reading: the path may be a disk image
            raise Refused(f"larger than {FILE_MAX // 1024**2} MiB")
        return path.read_bytes()
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror}") from error

"""Replays: .osr files into scores, and scores back into .osr files.

An imported replay is judged like a submission: its header must be whole and carry its own checksum, its map and player
must be known, its mods and counts possible, its frames readable. The frames are stored as they came.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from kiai.accounts import EVERYBODY, Accounts, User, Viewer
from kiai.beatmaps import Beatmap, Beatmaps
from kiai.clock import Clock
from kiai.errors import KiaiError, NotFound, Refused
from kiai.files.port import Files
from kiai.osu.accuracy import Counts, accuracy, judged
from kiai.osu.grades import grade
from kiai.osu.modes import mode_of
from kiai.osu.mods import refused_mods, unranked_mods
from kiai.osu.replay_file import (
    BadReplay,
    ReplayFile,
    check_frames,
    download_name,
    md5_matches,
    read_replay,
    replay_md5,
    write_replay,
)
from kiai.realtime.port import Realtime
from kiai.scores import calculator, queries, statements
from kiai.scores.leaderboards import Leaderboards
from kiai.scores.model import Play, StoredReplay, replay_key
from kiai.scores.performance import CannotCalculate, Performance, stored_pp
from kiai.scores.recording import AlreadyRecorded, Recorder
from kiai.storage.port import Database, Transaction

FILE_MAX: Final = 11 * 1024 * 1024
OSU_MODE: Final = 0
VIEW_COUNTS_EVERY_S: Final = 60.0
ORPHAN_MS: Final = 86_400_000
STAFF: Final = Viewer(priv=-1)  # sees every account: the operator's own hand


class SkippedReplay(msgspec.Struct, frozen=True):
    """A file that did not become a score, and why."""

    path: str
    why: str


class ReplayReport(msgspec.Struct):
    """What an import did."""

    scores: int = 0
    skipped: list[SkippedReplay] = msgspec.field(default_factory=list)


class ReplayFileOut(msgspec.Struct, frozen=True):
    """A replay to hand out: its bytes and the name it is saved under."""

    data: bytes
    name: str


class ReplayImport:
    """Turns .osr files into recorded plays."""

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
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> ReplayReport:
        """Imports .osr files and folders of them; `user` owns the plays of names that have no account here."""
        report = ReplayReport()
        found = list(_osr_files(paths, report))
        for done, path in enumerate(found):
            progress(done, len(found))
            try:
                await self.import_one(await asyncio.to_thread(_read, path), user=user)
                report.scores += 1
            except KiaiError as error:
                report.skipped.append(SkippedReplay(str(path), str(error)))
        progress(len(found), len(found))
        return report

    async def import_one(self, data: bytes, *, user: User | None = None) -> int:
        """Imports one .osr; the id of the new score. Raises Refused or another KiaiError with the reason."""
        try:
            replay = read_replay(data)
        except BadReplay as error:
            raise Refused(f"not a replay: {error}") from error
        if not md5_matches(replay):
            raise Refused("the header was changed: its checksum does not fit")
        player = await self._player(replay, user)
        beatmap = await self._map(replay)
        fault = play_fault(replay, beatmap)
        if fault is not None:
            raise Refused(fault)
        try:
            frames = await asyncio.to_thread(check_frames, replay.frames)
        except BadReplay as error:
            raise Refused(f"the frames are damaged: {error}") from error
        play = await self._play(replay, player, beatmap, frames.length_ms)
        if await self._recorder.known(play) is not None:
            raise Refused("this replay is stored already")
        assert play.replay is not None
        await self._files.put(replay_key(play.replay.md5), replay.frames)
        try:
            recorded = await self._recorder.record(play)
        except AlreadyRecorded as error:
            raise Refused("this replay is stored already") from error
        return recorded.score_id

    async def _player(self, replay: ReplayFile, user: User | None) -> User:
        try:
            named = await self._accounts.user(STAFF, name=replay.player_name)
        except NotFound:
            named = None
        if user is None:
            if named is None:
                raise Refused(f"its player {replay.player_name!r} has no account here")
            return named
        if named is not None and named.id != user.id:
            raise Refused(f"it was played by {named.name!r}, who has an account of their own")
        return user

    async def _map(self, replay: ReplayFile) -> Beatmap:
        try:
            return await self._beatmaps.find_or_fetch(md5=replay.beatmap_md5)
        except NotFound:
            raise Refused(f"its map {replay.beatmap_md5} is not known here") from None

    async def _play(self, replay: ReplayFile, player: User, beatmap: Beatmap, length_ms: int) -> Play:
        passed = is_pass(replay, beatmap)
        performed = calculator.Play(
            mods=replay.mods,
            n300=replay.counts.n300,
            n100=replay.counts.n100,
            n50=replay.counts.n50,
            ngeki=replay.counts.ngeki,
            nkatu=replay.counts.nkatu,
            nmiss=replay.counts.nmiss,
            combo=replay.max_combo,
            legacy_score=replay.score,
        )
        try:
            [result] = await self._performance.plays(beatmap.md5, replay.mode, [performed])
        except CannotCalculate as error:
            raise Refused(f"its pp cannot be computed: {error}") from error
        return Play(
            user_id=player.id,
            beatmap=beatmap,
            mode=mode_of(replay.mode, replay.mods),
            mods=replay.mods,
            counts=replay.counts,
            score=replay.score,
            max_combo=replay.max_combo,
            acc=accuracy(replay.counts, replay.mode, replay.mods),
            pp=stored_pp(result.pp) if passed else 0.0,
            grade=grade(replay.counts, replay.mode, replay.mods, passed=passed),
            passed=passed,
            perfect=replay.perfect,
            play_time_ms=min(max(replay.played_at_ms, 0), self._clock.now_ms()),
            time_elapsed=length_ms,
            checksum=bytes.fromhex(replay.replay_md5),
            calculator=self._performance.calculator_id,
            client_version=replay.game_version,
            replay=StoredReplay(
                md5=hashlib.md5(replay.frames, usedforsecurity=False).digest(),
                sha256=hashlib.sha256(replay.frames).digest(),
                size=len(replay.frames),
                life_bar=replay.life_bar,
                target_accuracy=replay.target_accuracy,
            ),
        )


def is_pass(replay: ReplayFile, beatmap: Beatmap) -> bool:
    """Whether the whole map was played. Only osu! judgements can be counted against a map's objects."""
    return replay.mode != OSU_MODE or judged(replay.counts, replay.mode) == beatmap.objects


def play_fault(replay: ReplayFile, beatmap: Beatmap) -> str | None:
    """Why this play cannot have happened on this map (web-endpoints 3.6, 3.7), or None."""
    if beatmap.mode not in (OSU_MODE, replay.mode):
        return f"a map of mode {beatmap.mode} cannot be played in mode {replay.mode}"
    if (why := refused_mods(replay.mods, replay.mode)) is not None:
        return why
    if unranked_mods(replay.mods):
        return "its mods are not ranked"
    if judged(replay.counts, replay.mode) == 0 or replay.score <= 0:
        return "nothing was hit"
    if replay.max_combo <= 0 and replay.counts.nmiss == 0:
        return "its combo is impossible"
    if replay.mode == OSU_MODE and judged(replay.counts, OSU_MODE) > beatmap.objects:
        return f"it has {judged(replay.counts, OSU_MODE)} judgements, the map has {beatmap.objects} objects"
    if replay.mode == beatmap.mode == OSU_MODE and replay.max_combo > beatmap.max_combo:
        return f"its combo of {replay.max_combo} is above the map's {beatmap.max_combo}"
    return None


class Replays:
    """Hands out stored replays, and removes files that no score came of."""

    def __init__(
        self, database: Database, files: Files, leaderboards: Leaderboards, realtime: Realtime, clock: Clock
    ) -> None:
        self._database = database
        self._files = files
        self._leaderboards = leaderboards
        self._realtime = realtime
        self._clock = clock
        self._swept = 255

    async def sweep(self) -> int:
        """Looks at the files of one more prefix; removes those that are a day old and belong to no score. How many.

        A play whose transaction failed leaves its replay behind, and the game may still send it again. Every prefix has
        its turn once in 256 calls. A job's work.
        """
        self._swept = (self._swept + 1) % 256
        oldest = self._clock.now_ms() - ORPHAN_MS
        removed = 0
        async for stored in self._files.keys(f"replays/{self._swept:02x}/"):
            if stored.modified_ms >= oldest:
                continue
            md5 = bytes.fromhex(stored.key.rpartition("/")[2])
            if await self._database.one(statements.REPLAY_KNOWN, md5=md5) is None:
                await self._files.delete(stored.key)
                removed += 1
        return removed

    async def frames(self, score_id: int, viewer: Viewer = EVERYBODY) -> bytes:
        """The stored LZMA stream. Raises NotFound("score") or NotFound("replay")."""
        await self._leaderboards.score(score_id, viewer)
        found = await self._database.one(queries.REPLAY, id=score_id)
        data = None if found is None else await self._files.get(replay_key(found[0]))
        if data is None:
            raise NotFound("replay")
        return data

    async def watched(self, score_id: int, viewer: Viewer) -> bytes:
        """As `frames`, counted as a view of the score and of its player: once a minute and viewer, never one's own."""
        found = await self._leaderboards.score(score_id, viewer)
        data = await self.frames(score_id, viewer)
        score = found.score
        if viewer.user_id == score.user_id:
            return data
        if await self._realtime.once(f"view:{viewer.user_id}:{score_id}", VIEW_COUNTS_EVERY_S):

            async def body(tx: Transaction) -> None:
                await tx.run(statements.COUNT_VIEW, of_score=score_id)
                await tx.run(statements.COUNT_VIEW_OF_PLAYER, player_id=score.user_id, in_mode=score.mode)

            await self._database.transaction(body)
        return data

    async def osr(self, score_id: int, viewer: Viewer = EVERYBODY) -> ReplayFileOut:
        """A complete .osr with the checksum the game client wants (web-endpoints 9). Raises NotFound."""
        found = await self._leaderboards.score(score_id, viewer)
        row = await self._database.one(queries.REPLAY, id=score_id)
        if row is None:
            raise NotFound("replay")
        md5, _, life_bar, target_accuracy, version, artist, title, difficulty = row
        frames = await self._files.get(replay_key(md5))
        if frames is None:
            raise NotFound("replay")
        score = found.score
        counts = Counts(score.n300, score.n100, score.n50, score.ngeki, score.nkatu, score.nmiss)
        mode = score.mode % 4
        replay = ReplayFile(
            mode=mode,
            # Clients read no score id from a file of version 0: the day of the play is a version of its time.
            game_version=version or int(utc_day(score.play_time_ms)),
            beatmap_md5=found.map_md5,
            player_name=found.player_name,
            replay_md5="",
            counts=counts,
            score=score.score,
            max_combo=score.max_combo,
            perfect=bool(score.perfect),
            mods=score.mods,
            life_bar=life_bar,
            played_at_ms=score.play_time_ms,
            frames=frames,
            score_id=score.id,
            target_accuracy=target_accuracy,
        )
        passed_grade = grade(counts, mode, score.mods, passed=True)  # the client recomputes it as of a pass
        signed = msgspec.structs.replace(replay, replay_md5=replay_md5(replay, passed_grade))
        name = download_name(found.player_name, artist, title, difficulty, score.play_time_ms)
        return ReplayFileOut(write_replay(signed), name)


def utc_day(ms: int) -> str:
    """A time's day as clients number their versions: YYYYMMDD."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y%m%d")


def _osr_files(paths: Iterable[Path], report: ReplayReport) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix.lower() == ".osr")
            if not inside:
                report.skipped.append(SkippedReplay(str(path), "the folder holds no .osr file"))
            yield from inside
        elif path.is_file():
            yield path
        else:
            report.skipped.append(SkippedReplay(str(path), "there is no such file or folder"))


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > FILE_MAX:
            raise Refused(f"larger than {FILE_MAX // 1024**2} MiB")
        return path.read_bytes()
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror}") from error

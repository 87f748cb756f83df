"""Examines plays: measures them, compares them with the rules, and raises flags.

New plays come from `unexamined_plays`, whose rows are inserted with the plays, so that none is lost. `kiai flags scan`
examines old plays. An examination can be repeated: a flag exists once for a score, kind and other score.

A replay that cannot be measured gets a flag `replay` that says why: no play passes unseen because it breaks the search.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec

from kiai.beatmaps import Beatmap, Beatmaps, osu_key
from kiai.clock import Clock
from kiai.decoding.evidence_decoder import EvidenceDecoder
from kiai.errors import Unavailable
from kiai.files.port import Files
from kiai.logs import get_logger
from kiai.osu.modes import MODES, vanilla
from kiai.osu.replay_evidence import KnownReplay, ReplayFigures
from kiai.osu.replay_file import BadReplay
from kiai.process_pool import WorkerCrashed
from kiai.scores.evidence import statements
from kiai.scores.evidence.rules import (
    ExaminedPlay,
    Sign,
    Thresholds,
    sign_of_unmeasured,
    signs_of_copies,
    signs_of_play,
    signs_of_replay,
)
from kiai.scores.flags import Finding, Flags
from kiai.scores.model import replay_key
from kiai.storage.port import Database, Transaction, UniqueViolation

TRIES_MAX: Final = 12
AGAIN_MS: Final = 1_000  # after the first failure; doubles after each further one, so 12 tries take half an hour
OUTAGE_MS: Final = 4_000  # until a play is tried again after a part of the server was unavailable
CALLER: Final = "evidence"
SCAN_CALLER: Final = "evidence scan"


class ScanReport(msgspec.Struct, frozen=True):
    """The number of plays that a scan examined, and of new flags."""

    scanned: int
    raised: int


class _Measured(msgspec.Struct, frozen=True):
    signs: list[Sign]
    signature: bytes = b""


class Examiner:
    """Examines new plays as a job, and old ones on request."""

    def __init__(
        self,
        database: Database,
        files: Files,
        beatmaps: Beatmaps,
        decoder: EvidenceDecoder,
        flags: Flags,
        clock: Clock,
        thresholds: Thresholds,
    ) -> None:
        self._database = database
        self._files = files
        self._beatmaps = beatmaps
        self._decoder = decoder
        self._flags = flags
        self._clock = clock
        self._thresholds = thresholds

    async def work(self) -> None:
        """Examine the plays that are due, up to 20. A job calls this on one worker at a time. Raises Unavailable."""
        for score_id, tries in await self._database.all(statements.DUE, now_ms=self._clock.now_ms()):
            try:
                await self.examine(score_id)
            except Unavailable:
                # Not a failed try: an outage of any length loses no play.
                await self._put_off(score_id, OUTAGE_MS)
                raise
            except Exception as error:  # one play must not stop those after it
                get_logger("evidence").error("play cannot be examined", score_id=score_id, exc_info=error)
                if tries + 1 < TRIES_MAX:
                    await self._try_later(score_id, tries)
                else:
                    await self._give_up(score_id, error)

    async def _put_off(self, score_id: int, for_ms: int) -> None:
        again_ms = self._clock.now_ms() + for_ms

        async def body(tx: Transaction) -> None:
            await tx.run(statements.PUT_OFF, examined_id=score_id, again_ms=again_ms)

        await self._database.transaction(body)

    async def _try_later(self, score_id: int, tries: int) -> None:
        again_ms = self._clock.now_ms() + AGAIN_MS * 2**tries

        async def body(tx: Transaction) -> None:
            await tx.run(statements.LATER, examined_id=score_id, again_ms=again_ms)

        await self._database.transaction(body)

    async def _give_up(self, score_id: int, error: Exception) -> None:
        """Examine a play without its replay, which has failed `TRIES_MAX` times, and leave a note for staff."""
        get_logger("evidence").error("replay given up", score_id=score_id)
        why = f"{TRIES_MAX} tries failed, the last with {type(error).__name__}"
        play = await self._database.one(statements.PLAY, score_id=score_id)
        if play is None:
            return
        try:
            await self._examine(play, CALLER, unmeasured=why)
        except Unavailable:
            raise
        except Exception as fault:  # the rules themselves fail
            get_logger("evidence").error("play given up", score_id=score_id, exc_info=fault)
            await self._store(play, _Measured([sign_of_unmeasured(why)]))

    async def examine(self, score_id: int) -> int:
        """Examine a play and return the number of new flags. Raises Unavailable, and WorkerCrashed as the decoder."""
        play = await self._database.one(statements.PLAY, score_id=score_id)
        if play is None:

            async def forget(tx: Transaction) -> None:
                await tx.run(statements.EXAMINED, examined_id=score_id)

            await self._database.transaction(forget)
            return 0
        return await self._examine(play, CALLER)

    async def scan(
        self,
        *,
        map_id: int | None = None,
        user_id: int | None = None,
        progress: Callable[[ScanReport], None] | None = None,
    ) -> ScanReport:
        """Examine stored passes, oldest first: all, or those on the current revision of a map, or of a player, or both.

        A scan that was stopped can be repeated: nothing is raised twice. Raises NotFound("map") and Unavailable.
        """
        map_key = None if map_id is None else (await self._beatmaps.find(id=map_id)).key
        report = ScanReport(0, 0)
        async for play in self._plays(map_key, user_id):
            try:
                raised = await self._examine(play, SCAN_CALLER)
            except WorkerCrashed as error:  # one replay must not end the scan
                raised = await self._examine(play, SCAN_CALLER, unmeasured=str(error))
            report = ScanReport(report.scanned + 1, report.raised + raised)
            if progress is not None:
                progress(report)
        return report

    async def _plays(self, map_key: int | None, user_id: int | None) -> AsyncIterator[ExaminedPlay]:
        if user_id is not None:
            for mode in MODES:
                async for play in self._pages("user", player_id=user_id, mode=mode):
                    if map_key in (None, play.map_key):
                        yield play
            return
        pages = self._pages("all") if map_key is None else self._pages("map", map_key=map_key)
        async for play in pages:
            yield play

    async def _pages(self, name: str, **where: int) -> AsyncIterator[ExaminedPlay]:
        after = -1
        while page := await self._database.all(statements.SCANNED[name], after=after, **where):
            for play in page:
                yield play
            after = page[-1].score_id

    async def _examine(self, play: ExaminedPlay, caller: str, *, unmeasured: str = "") -> int:
        """Examine a play and return the number of new flags. `unmeasured` says why its replay is left out."""
        beatmap = await self._beatmaps.revision(play.map_key)
        return await self._store(play, await self._measure(play, beatmap, caller, unmeasured))

    async def _store(self, play: ExaminedPlay, measured: _Measured) -> int:
        async def body(tx: Transaction) -> int:
            raised = await self._flags.raise_within(tx, [_finding(play, sign) for sign in measured.signs])
            if measured.signature:
                mode = vanilla(play.mode)
                await tx.run(statements.FORGET, of_score=play.score_id)
                await tx.run(
                    statements.REMEMBER,
                    score_id=play.score_id,
                    map_key=play.map_key,
                    mode=mode,
                    user_id=play.user_id,
                    score=play.score,
                    data=measured.signature,
                )
                await tx.run(statements.TRIM, map_key=play.map_key, vanilla_mode=mode)
            await tx.run(statements.EXAMINED, examined_id=play.score_id)
            return raised

        try:
            return await self._database.transaction(body)
        except UniqueViolation:
            # Another process examined the same play at the same moment; its rows are there now.
            return await self._database.transaction(body)

    async def _measure(self, play: ExaminedPlay, beatmap: Beatmap, caller: str, unmeasured: str) -> _Measured:
        limits = self._thresholds
        previous_at = await self._database.one(statements.PREVIOUS_AT, player_id=play.user_id, score_id=play.score_id)
        signs = list(signs_of_play(play, beatmap, previous_at, limits))
        if unmeasured:
            return _Measured([*signs, sign_of_unmeasured(unmeasured)])
        known = await self._database.all(
            statements.KNOWN, map_key=play.map_key, vanilla_mode=vanilla(play.mode), player_id=play.user_id
        )
        try:
            figures = await self._figures(play, beatmap, [one for _, one in known], caller)
        except BadReplay as error:
            get_logger("evidence").info("replay cannot be measured", score_id=play.score_id, why=str(error))
            return _Measured([*signs, sign_of_unmeasured(str(error))])
        if figures is None:
            return _Measured(signs)
        signs += signs_of_replay(figures, limits)
        signs += signs_of_copies(figures, {one.score_id: owner for owner, one in known}, limits)
        return _Measured(signs, figures.signature)

    async def _figures(
        self, play: ExaminedPlay, beatmap: Beatmap, known: list[KnownReplay], caller: str
    ) -> ReplayFigures | None:
        """Return the figures of the replay, or None without one. Raises BadReplay."""
        if play.replay_md5 is None:
            return None
        frames, osu = await asyncio.gather(
            self._files.get(replay_key(play.replay_md5)), self._files.get(osu_key(beatmap.md5))
        )
        if frames is None:
            return None
        return await self._decoder.measure(
            osu or b"", frames, mode=vanilla(play.mode), mods=play.mods, known=known, caller=caller
        )


def _finding(play: ExaminedPlay, sign: Sign) -> Finding:
    """Return a sign as a finding. A copy is the later one of two plays."""
    user_id, score_id, other_id = play.user_id, play.score_id, sign.other_score_id
    if other_id > score_id:
        user_id, score_id, other_id = sign.other_user_id, other_id, score_id
    return Finding(user_id, score_id, sign.kind, sign.details, sign.figures, other_id)

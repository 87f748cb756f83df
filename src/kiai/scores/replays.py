"""Stored replays: their frames for the game, and complete .osr files for downloads."""

from datetime import UTC, datetime
from typing import Final

import msgspec
from sqlalchemy import bindparam, select

from kiai.accounts import EVERYBODY, Viewer
from kiai.clock import Clock
from kiai.errors import NotFound
from kiai.files.port import Files
from kiai.osu.accuracy import HitCounts
from kiai.osu.grades import grade
from kiai.osu.mods import completed
from kiai.osu.replay_checksum import replay_md5
from kiai.osu.replay_file import FIRST_LAZER_VERSION, ReplayFile, download_name, write_replay
from kiai.realtime.port import Realtime
from kiai.realtime.while_unavailable import first_time
from kiai.scores import statements
from kiai.scores.lookup import ScoreLookup
from kiai.scores.model import Score, replay_key
from kiai.storage.port import Database, Query, Transaction
from kiai.storage.tables import maps, replays, scores

VIEW_COUNTS_EVERY_S: Final = 60.0
ORPHAN_MS: Final = 86_400_000  # age of a file without a score; the client repeats a submission for up to two hours

_REPLAY: Final = Query(
    select(
        replays.c.md5,
        replays.c.size,
        replays.c.life_bar,
        replays.c.target_accuracy,
        scores.c.client_version,
        maps.c.artist,
        maps.c.title,
        maps.c.version,
    )
    .select_from(replays.join(scores, scores.c.id == replays.c.score_id).join(maps, maps.c.key == scores.c.map_key))
    .where(replays.c.score_id == bindparam("id")),
    lambda *row: row,
)


class ReplayFileOut(msgspec.Struct, frozen=True):
    """An .osr file for a download: its bytes and its file name."""

    data: bytes
    name: str


class Replays:
    """Reads stored replays, counts their views, and deletes files that belong to no score."""

    def __init__(self, database: Database, files: Files, lookup: ScoreLookup, realtime: Realtime, clock: Clock) -> None:
        self._database = database
        self._files = files
        self._lookup = lookup
        self._realtime = realtime
        self._clock = clock
        self._swept = 255

    async def sweep(self) -> int:
        """Delete old files without a score, and return their number.

        A play whose transaction fails leaves its replay in the files store. The game may repeat the submission, so only
        files that are a day old are deleted. A job calls this; each call checks one of 256 prefixes.
        """
        self._swept = (self._swept + 1) % 256
        oldest = self._clock.now_ms() - ORPHAN_MS
        removed = 0
        async for stored in self._files.keys(f"replays/{self._swept:02x}/"):
            if stored.modified_ms >= oldest:
                continue
            md5 = bytes.fromhex(stored.key.rpartition("/")[2])
            if await self._database.one(statements.plays.REPLAY_KNOWN, md5=md5) is None:
                await self._files.delete(stored.key)
                removed += 1
        return removed

    async def frames(self, score_id: int, viewer: Viewer = EVERYBODY) -> bytes:
        """Return the frames as the stored LZMA stream. Raises NotFound("score") or NotFound("replay")."""
        await self._lookup.find(score_id, viewer)
        found = await self._database.one(_REPLAY, id=score_id)
        data = None if found is None else await self._files.get(replay_key(found[0]))
        if data is None:
            raise NotFound("replay")
        return data

    async def record_view(self, score_id: int, viewer: Viewer) -> bytes:
        """Return the frames, and count a view of the score and of its player.

        A viewer counts at most once a minute for each score. Players do not count on their own scores. Raises the
        errors of `frames`.
        """
        found = await self._lookup.find(score_id, viewer)
        data = await self.frames(score_id, viewer)
        await self._count_view(found.score, viewer, str(viewer.user_id))
        return data

    async def download(self, score_id: int, viewer: Viewer, *, network: str) -> ReplayFileOut:
        """Return a complete .osr file, and count a view as `record_view` does.

        A viewer without an account counts once a minute for each score and `network`. Raises the errors of `osr`.
        """
        out = await self.osr(score_id, viewer)
        found = await self._lookup.find(score_id, viewer)
        await self._count_view(found.score, viewer, str(viewer.user_id) if viewer.user_id else network)
        return out

    async def _count_view(self, score: Score, viewer: Viewer, viewed_by: str) -> None:
        if viewer.user_id == score.user_id:
            return
        # While shared state is unavailable, views are not counted: counting each one could be abused.
        viewing = f"view:{viewed_by}:{score.id}"
        if not await first_time(self._realtime, viewing, VIEW_COUNTS_EVERY_S, otherwise=False):
            return

        async def body(tx: Transaction) -> None:
            await tx.run(statements.plays.COUNT_VIEW, of_score=score.id)
            await tx.run(statements.plays.COUNT_VIEW_OF_PLAYER, player_id=score.user_id, in_mode=score.mode)

        await self._database.transaction(body)

    async def osr(self, score_id: int, viewer: Viewer = EVERYBODY) -> ReplayFileOut:
        """Return a complete .osr file with the checksum that the game verifies (docs/spec/replays.md).

        Raises NotFound("score") or NotFound("replay").
        """
        found = await self._lookup.find(score_id, viewer)
        row = await self._database.one(_REPLAY, id=score_id)
        if row is None:
            raise NotFound("replay")
        md5, _, life_bar, target_accuracy, version, artist, title, difficulty = row
        frames = await self._files.get(replay_key(md5))
        if frames is None:
            raise NotFound("replay")
        score = found.score
        counts = HitCounts(score.n300, score.n100, score.n50, score.ngeki, score.nkatu, score.nmiss)
        mode = score.mode % 4
        replay = ReplayFile(
            mode=mode,
            game_version=stable_version(version, score.play_time_ms),
            beatmap_md5=found.map_md5,
            player_name=found.player_name,
            replay_md5="",
            counts=counts,
            score=score.score,
            max_combo=score.max_combo,
            perfect=bool(score.perfect),
            mods=completed(score.mods),
            life_bar=life_bar,
            played_at_ms=score.play_time_ms,
            frames=frames,
            score_id=score.id,
            target_accuracy=target_accuracy,
        )
        # The file does not contain the grade. The client computes it for the checksum, and assumes a pass.
        passed_grade = grade(counts, mode, replay.mods, passed=True)
        signed = msgspec.structs.replace(replay, replay_md5=replay_md5(replay, passed_grade))
        name = download_name(found.player_name, artist, title, difficulty, score.play_time_ms)
        return ReplayFileOut(write_replay(signed), name)


def stable_version(version: int, played_at_ms: int) -> int:
    """Return the game version for the header of a replay: that of the client if it was stable.

    With a lazer version, the game would expect lazer's block and standardised points, which are not stored. With
    version 0 (unknown), it would expect an old layout. In both cases the day of the play is used, because stable
    versions are dates.
    """
    return version if 0 < version < FIRST_LAZER_VERSION else int(utc_day(played_at_ms))


def utc_day(ms: int) -> str:
    """Return the UTC day of a unix time in ms as YYYYMMDD, the format of stable versions."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y%m%d")

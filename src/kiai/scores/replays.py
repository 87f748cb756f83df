"""Replays: scores back into .osr files, and frames for the game to play."""

from datetime import UTC, datetime
from typing import Final

import msgspec

from kiai.accounts import EVERYBODY, Viewer
from kiai.clock import Clock
from kiai.errors import NotFound
from kiai.files.port import Files
from kiai.osu.accuracy import Counts
from kiai.osu.grades import grade
from kiai.osu.mods import completed
from kiai.osu.replay_checksum import replay_md5
from kiai.osu.replay_file import FIRST_LAZER_VERSION, ReplayFile, download_name, write_replay
from kiai.realtime.port import Realtime
from kiai.realtime.reading import first_time
from kiai.scores import queries, statements
from kiai.scores.leaderboards import Leaderboards
from kiai.scores.model import replay_key
from kiai.storage.port import Database, Transaction

VIEW_COUNTS_EVERY_S: Final = 60.0
ORPHAN_MS: Final = 86_400_000


class ReplayFileOut(msgspec.Struct, frozen=True):
    """A replay to hand out: its bytes and the name it is saved under."""

    data: bytes
    name: str


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
        viewing = f"view:{viewer.user_id}:{score_id}"
        if await first_time(self._realtime, viewing, VIEW_COUNTS_EVERY_S, otherwise=False):

            async def body(tx: Transaction) -> None:
                await tx.run(statements.COUNT_VIEW, of_score=score_id)
                await tx.run(statements.COUNT_VIEW_OF_PLAYER, player_id=score.user_id, in_mode=score.mode)

            await self._database.transaction(body)
        return data

    async def osr(self, score_id: int, viewer: Viewer = EVERYBODY) -> ReplayFileOut:
        """A complete .osr with the checksum the game client wants (docs/spec/replays.md). Raises NotFound."""
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
        passed_grade = grade(counts, mode, replay.mods, passed=True)  # the client recomputes it as of a pass
        signed = msgspec.structs.replace(replay, replay_md5=replay_md5(replay, passed_grade))
        name = download_name(found.player_name, artist, title, difficulty, score.play_time_ms)
        return ReplayFileOut(write_replay(signed), name)


def stable_version(version: int, played_at_ms: int) -> int:
    """The version for the header of a play's file: that of the client, if it was stable.

    A version of lazer promises lazer's block and standardised points, which are not kept; version 0 (not known)
    promises an old layout. Both become the day of the play, which is a version of its time.
    """
    return version if 0 < version < FIRST_LAZER_VERSION else int(utc_day(played_at_ms))


def utc_day(ms: int) -> str:
    """A time's day as clients number their versions: YYYYMMDD."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y%m%d")

"""Missing medals: awards what the stored plays of a player have earned, e.g. medals that are newer than the plays.

    scores of a player, oldest first -> medals that each pass earns -> one transaction: rows and counters of holders

A medal is never taken away. Medals for ranks are left out: the next pass awards them. Totals, e.g. a number of plays,
are compared with those of today. A status counts as it is today, too.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec
from sqlalchemy import bindparam, select

from kiai.accounts.visibility import is_public, visible
from kiai.beatmaps import Beatmap, Beatmaps
from kiai.errors import Unavailable
from kiai.osu.modes import MODES, vanilla
from kiai.scores import medals, profiles, statements
from kiai.scores.medals import DAY_MS, RANK_MEDALS, DayPlay, MedalPlay
from kiai.scores.model import Stats
from kiai.scores.performance import CannotCalculate, Difficulties
from kiai.scores.rules import gives_medals
from kiai.scores.statements.expressions import WEIGHTED_MAX
from kiai.storage.port import Database, Lane, Query, Transaction, scalar
from kiai.storage.tables import scores, users

SCORES_AT_ONCE: Final = 500
PLAYERS_AT_ONCE: Final = 100
MAPS_KEPT: Final = 1_000
"""Maps of one player that stay in memory."""


class _Row(msgspec.Struct, frozen=True):
    id: int
    map_key: int
    mods: int
    score: int
    max_combo: int
    acc: float
    grade: str
    passed: int
    perfect: int
    play_time_ms: int


class EarnedMedal(msgspec.Struct, frozen=True):
    """A medal with the score that earned it and the time of that play."""

    medal_id: int
    score_id: int
    at_ms: int


class BackfillReport(msgspec.Struct):
    """The number of players who were examined, of medals awarded, and of maps whose stars cannot be computed."""

    players: int = 0
    medals: int = 0
    failed: int = 0


# Backwards through `ix_scores_recent_of`.
_SCORES_OF = Query(
    select(*[scores.c[name] for name in _Row.__struct_fields__])
    .where(
        scores.c.user_id == bindparam("user_id"),
        scores.c.mode == bindparam("mode"),
        scores.c.hidden == 0,
        scores.c.id > bindparam("after"),
    )
    .order_by(scores.c.id)
    .limit(SCORES_AT_ONCE),
    _Row,
    lane=Lane.JOB,
)
_PLAYERS = Query(
    select(users.c.id).where(visible(), users.c.id > bindparam("after")).order_by(users.c.id).limit(PLAYERS_AT_ONCE),
    scalar,
    lane=Lane.JOB,
    scans="it reads all players in steps of 100, in the order of the key",
)


class MedalBackfill:
    """Awards missing medals to visible players."""

    def __init__(self, database: Database, beatmaps: Beatmaps, difficulties: Difficulties) -> None:
        self._database = database
        self._beatmaps = beatmaps
        self._difficulties = difficulties

    async def all_after(self, after: int, report: BackfillReport, passed: Callable[[int], None]) -> None:
        """Award missing medals to all players with ids above `after`, and add to the report.

        `passed` gets the id of each player whose medals are stored.
        """
        while found := await self._database.all(_PLAYERS, after=after):
            for user_id in found:
                await self.player(user_id, report)
                passed(user_id)
            after = found[-1]

    async def player(self, user_id: int, report: BackfillReport) -> list[int]:
        """Award missing medals to one player, add to the report, and return their ids. A hidden player gets none."""
        found = await self._earned(user_id, report)

        async def body(tx: Transaction) -> list[int]:
            account = await tx.one(statements.plays.LOCK_USER, user_id=user_id)
            if account is None or not is_public(account[0]):
                return []
            held = frozenset(await tx.all(statements.plays.MEDALS_OF, user_id=user_id))
            new = sorted(found.keys() - held)
            for medal_id in new:  # in order: two transactions that lock the same counters must not deadlock
                await tx.run(statements.plays.COUNT_HOLDER, of_medal=medal_id)
                await tx.run(
                    statements.plays.INSERT_MEDAL,
                    user_id=user_id,
                    medal_id=medal_id,
                    unlocked_at_ms=found[medal_id].at_ms,
                    score_id=found[medal_id].score_id,
                )
            return new

        awarded = await self._database.transaction(body) if found else []
        report.players += 1
        report.medals += len(awarded)
        return awarded

    async def _earned(self, user_id: int, report: BackfillReport) -> dict[int, EarnedMedal]:
        """Return the medals that the stored plays earn and the player does not have, by id."""
        held = frozenset(await self._database.all(statements.plays.MEDALS_OF, user_id=user_id)) | RANK_MEDALS
        found: dict[int, EarnedMedal] = {}
        latest: list[tuple[MedalPlay, _Row]] = []
        maps: dict[int, Beatmap] = {}
        for mode in MODES:
            day: deque[tuple[int, DayPlay]] = deque(maxlen=WEIGHTED_MAX)
            last: tuple[MedalPlay, _Row] | None = None
            after = 0
            while rows := await self._database.all(_SCORES_OF, user_id=user_id, mode=mode, after=after):
                after = rows[-1].id
                for row in rows:
                    day.append((row.play_time_ms, DayPlay(row.map_key, row.grade, row.passed)))
                    if not row.passed:
                        continue
                    beatmap = await self._map(row.map_key, maps)
                    if not gives_medals(beatmap.status):
                        continue
                    play = await self._medal_play(row, mode, beatmap, report)
                    missing = held | found.keys()
                    ids = medals.earned_by(play, missing, with_day=False)
                    if medals.needs_day_plays(play, missing):
                        since = row.play_time_ms - DAY_MS
                        # An imported replay may be older than the play before it.
                        of_day = [one for at_ms, one in day if since <= at_ms <= row.play_time_ms]
                        ids += medals.earned_by(msgspec.structs.replace(play, day=of_day), missing, with_day=True)
                    found |= {medal_id: EarnedMedal(medal_id, row.id, row.play_time_ms) for medal_id in ids}
                    last = play, row
            if last is not None:
                latest.append(last)
        if latest:
            self._add_totals(await self._database.all(profiles.STATS_OF, user_id=user_id), latest, held, found)
        return found

    def _add_totals(
        self,
        stats: list[Stats],
        latest: list[tuple[MedalPlay, _Row]],
        held: frozenset[int],
        found: dict[int, EarnedMedal],
    ) -> None:
        """Add the medals for totals to `found`. The latest pass of a mode stands for the play that reached them."""
        by_mode = {one.mode: one for one in stats}
        of_modes = [by_mode.get(mode) for mode in range(4)]
        plays, hits = [one.plays if one else 0 for one in of_modes], [one.total_hits if one else 0 for one in of_modes]
        for play, row in latest:
            after = msgspec.structs.replace(play, plays=plays, hits=hits)
            for medal_id in medals.earned_by(after, held | found.keys(), with_day=False):
                found[medal_id] = EarnedMedal(medal_id, row.id, row.play_time_ms)

    async def _map(self, map_key: int, maps: dict[int, Beatmap]) -> Beatmap:
        beatmap = maps.get(map_key)
        if beatmap is None:
            if len(maps) >= MAPS_KEPT:
                maps.clear()
            beatmap = maps[map_key] = await self._beatmaps.revision(map_key)
        return beatmap

    async def _medal_play(self, row: _Row, mode: int, beatmap: Beatmap, report: BackfillReport) -> MedalPlay:
        try:
            found = await self._difficulties.of(row.map_key, beatmap.md5, vanilla(mode), row.mods)
            stars = found.stars
        except (CannotCalculate, Unavailable):
            stars = 0.0  # below the stars of every medal
            report.failed += 1
        return MedalPlay(
            map_key=row.map_key,
            mode=vanilla(mode),
            mods=row.mods,
            stars=stars,
            score=row.score,
            max_combo=row.max_combo,
            acc=row.acc,
            grade=row.grade,
            perfect=bool(row.perfect),
            status=beatmap.status,
            length_s=beatmap.total_length,
            artist=beatmap.artist,
            title=beatmap.title,
            creator=beatmap.creator,
        )

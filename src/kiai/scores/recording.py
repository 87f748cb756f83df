"""A play becomes a score: one transaction that settles everything that follows from it.

    user locked -> bests read -> best.settle -> old bests demoted -> score and replay inserted
    -> stats, totals, play counters -> outbox, medals, what to answer -> map counters, first place -> doubts

Whatever a board, profile or rank shows is derivable from these rows again (`rebuilding.py` does it and must agree).
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from kiai.accounts.visibility import is_public
from kiai.beatmaps import Beatmaps
from kiai.beatmaps.model import MapStatus, gives_pp, has_board
from kiai.clock import Clock
from kiai.errors import Conflict, NotFound, Unavailable
from kiai.failpoints import Reach, nothing_fails
from kiai.osu.accuracy import total_hits
from kiai.osu.modes import vanilla
from kiai.osu.mods import board_key
from kiai.osu.weights import weighted_accuracy, weighted_pp
from kiai.scores import medals, queries, statements
from kiai.scores.best import Verdict, settle
from kiai.scores.flags import Doubt, Flags
from kiai.scores.medals import Deed
from kiai.scores.model import (
    NOWHERE,
    PP_MODES_FROM,
    Best,
    Chart,
    MapFigures,
    Play,
    ProfileFigures,
    RanksBefore,
    Recorded,
    Stats,
)
from kiai.storage.outbox import tell
from kiai.storage.port import Database, Taken, Transaction

REJUDGED_MAX: Final = 3
COUNTED_GRADES: Final = {"XH": "xh_count", "X": "x_count", "SH": "sh_count", "S": "s_count", "A": "a_count"}


class Rules(msgspec.Struct, frozen=True):
    """What an operator may choose about totals."""

    bonus_pp: str = "official"
    loved_counts: bool = False
    rank_medals: bool = False

    def counts(self, status: int) -> bool:
        """Whether a best on a map of this status adds to ranked score and grades."""
        return gives_pp(status) or (self.loved_counts and status == MapStatus.LOVED)


class AlreadyRecorded(Conflict):
    """This very play is stored already, under `score_id`."""

    def __init__(self, score_id: int) -> None:
        super().__init__("this play")
        self.score_id = score_id


class _Rejudged(Exception):
    """The map's status has changed since it was read, so that what was settled by it does not hold."""


class Recorder:
    """Stores plays. Replay frames must lie in the files store before a play that refers to them is recorded."""

    def __init__(
        self,
        database: Database,
        beatmaps: Beatmaps,
        clock: Clock,
        rules: Rules,
        flags: Flags,
        reach: Reach = nothing_fails,
    ) -> None:
        self._database = database
        self._beatmaps = beatmaps
        self._clock = clock
        self._rules = rules
        self._flags = flags
        self._reach = reach

    async def known(self, play: Play) -> int | None:
        """The id of the score that stores this play already, by checksum or by its replay's frames."""
        found = await self._database.one(statements.CHECKSUM_KNOWN, checksum=play.checksum)
        if found is None and play.replay is not None:
            found = await self._database.one(statements.REPLAY_KNOWN, md5=play.replay.md5)
        return found

    async def record(
        self, play: Play, *, ranks: RanksBefore = NOWHERE, doubts: Sequence[Doubt] = (), answered: bool = False
    ) -> Recorded:
        """Stores a play with all its consequences, or nothing. Raises AlreadyRecorded.

        `doubts` are noted with it. With `answered` the chart of a pass is kept for a client that asks again.
        """
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> Recorded:
            recorded = await self._record(tx, play, ranks, now)
            if doubts:
                await self._flags.note(tx, play.user_id, list(doubts), play.checksum)
            if answered and recorded.chart is not None:
                chart = msgspec.json.encode(recorded.chart).decode()
                await tx.run(statements.KEEP_CHART, score_id=recorded.score_id, chart=chart, at_ms=now)
            self._reach("submit.in_tx")
            return recorded

        try:
            for _ in range(REJUDGED_MAX):
                with contextlib.suppress(_Rejudged):
                    return await self._database.transaction(body)
            raise Unavailable("the map", "its status is being changed")
        except Taken as taken:
            score_id = await self.known(play)
            if score_id is None:
                raise
            raise AlreadyRecorded(score_id) from taken

    async def _record(self, tx: Transaction, play: Play, ranks: RanksBefore, now_ms: int) -> Recorded:
        found = await tx.one(statements.LOCK_USER, user_id=play.user_id)
        if found is None:
            raise NotFound("player")
        priv, country = found
        # Its status may have changed since the caller looked: what counts is what it is in this transaction.
        play = msgspec.structs.replace(play, beatmap=await self._beatmaps.revision(play.beatmap.key, tx))
        public = is_public(priv)
        where = {"map_key": play.beatmap.key, "mode": play.mode, "user_id": play.user_id}
        mods_key = board_key(play.mods)
        by_pp = await tx.one(statements.BEST_BY_PP, **where)
        by_score = await tx.one(statements.BEST_BY_SCORE, **where)
        with_mods = await tx.one(statements.BEST_WITH_MODS, mods_key=mods_key, **where)
        verdict = settle(
            Best(0, play.score, play.pp, play.grade),
            mode=play.mode,
            passed=play.passed,
            by_pp=by_pp,
            by_score=by_score,
            with_mods=with_mods,
        )
        for gained, standing, demote in (
            (verdict.best_pp, by_pp, statements.DEMOTE_PP),
            (verdict.best_score, by_score, statements.DEMOTE_SCORE),
            (verdict.best_mods, with_mods, statements.DEMOTE_MODS),
        ):
            if gained and standing is not None:
                await tx.run(demote, score_id=standing.id)
        score_id = await tx.one(statements.INSERT_SCORE, **row_of(play, verdict, country))
        assert score_id is not None
        if play.replay is not None:
            await tx.run(
                statements.INSERT_REPLAY,
                score_id=score_id,
                md5=play.replay.md5,
                sha256=play.replay.sha256,
                size=play.replay.size,
                life_bar=play.replay.life_bar,
                target_accuracy=play.replay.target_accuracy,
            )
        before = await tx.one(queries.STATS_IN, user_id=play.user_id, mode=play.mode)
        await self._add_to_stats(tx, play, by_pp if verdict.best_pp else None, verdict, country)
        await _count_play(tx, play)
        await tell(tx, "ranks", play.user_id, now_ms)
        if public:
            await tell(tx, "score", score_id, now_ms)
        chart = None
        if play.passed:
            after = {one.mode: one for one in await tx.all(queries.STATS_OF, user_id=play.user_id)}
            earned = await self._award(tx, play, after, ranks.overall, score_id, now_ms) if public else []
            standing = by_pp if play.mode >= PP_MODES_FROM else by_score
            chart = Chart(
                map_id=play.beatmap.id,
                set_id=play.beatmap.set_id,
                plays=play.beatmap.plays + public,
                passes=play.beatmap.passes + public,
                updated_ms=play.beatmap.last_update_ms,
                has_board=has_board(play.beatmap.status),
                user_id=play.user_id,
                mode=play.mode,
                visible=public,
                score_id=score_id,
                standing=None
                if standing is None
                else MapFigures(standing.score, standing.max_combo, standing.acc, standing.pp),
                this=MapFigures(play.score, play.max_combo, play.acc, play.pp),
                before=_figures(before),
                after=_figures(after[play.mode]),
                medals=earned,
                map_rank_before=ranks.on_map,
                rank_before=ranks.overall,
            )
        # Also the lock on this map's board, taken last: whoever else plays the map waits for it. A play of somebody
        # hidden counts for nobody, but its totals follow the map's status, too.
        plays, passes = int(public), int(public and play.passed)
        if await self._beatmaps.count_plays(tx, play.beatmap.key, plays=plays, passes=passes) != play.beatmap.status:
            raise _Rejudged
        first = False
        if public:
            first = verdict.best_score and await self._takes_first_place(tx, play, score_id, now_ms)
        return Recorded(score_id, verdict.best_pp, verdict.best_score, first, chart)

    async def _award(
        self, tx: Transaction, play: Play, after: Mapping[int, Stats], rank: int, score_id: int, now_ms: int
    ) -> list[int]:
        """Gives the medals that this pass earns; their ids (docs/spec/game-rules.md#medals)."""
        if not has_board(play.beatmap.status) or play.beatmap.status == MapStatus.QUALIFIED:
            return []
        held = frozenset(await tx.all(statements.MEDALS_OF, user_id=play.user_id))
        if not self._rules.rank_medals:
            held |= medals.RANK_MEDALS
        profiles = [after.get(mode) for mode in range(4)]
        deed = Deed(
            map_key=play.beatmap.key,
            mode=vanilla(play.mode),
            mods=play.mods,
            stars=play.stars,
            score=play.score,
            max_combo=play.max_combo,
            acc=play.acc,
            grade=play.grade,
            perfect=play.perfect,
            status=play.beatmap.status,
            length_s=play.beatmap.total_length,
            artist=play.beatmap.artist,
            title=play.beatmap.title,
            creator=play.beatmap.creator,
            plays=[one.plays if one else 0 for one in profiles],
            hits=[one.total_hits if one else 0 for one in profiles],
            rank=rank,
        )
        earned = medals.earned_by(deed, held, looking_back=False)
        if medals.wants_the_day(deed, held):
            day = await tx.all(
                statements.PLAYS_SINCE, user_id=play.user_id, mode=play.mode, since_ms=now_ms - medals.DAY_MS
            )
            deed = msgspec.structs.replace(deed, day=day)
            earned += medals.earned_by(deed, held, looking_back=True)
        for medal_id in earned:
            await tx.run(
                statements.GIVE_MEDAL,
                user_id=play.user_id,
                medal_id=medal_id,
                unlocked_at_ms=now_ms,
                score_id=score_id,
            )
        return earned

    async def _takes_first_place(self, tx: Transaction, play: Play, score_id: int, now_ms: int) -> bool:
        where = {"map_key": play.beatmap.key, "mode": play.mode}
        held = await tx.one(statements.FIRST_PLACE, **where)
        if await settle_first_place(tx, **where, since_ms=play.play_time_ms) != score_id:
            return False
        await tell(tx, "first_place", f"{score_id} {held[1] if held else 0}", now_ms)
        return True

    async def _add_to_stats(
        self, tx: Transaction, play: Play, beaten: Best | None, verdict: Verdict, country: str
    ) -> None:
        added = dict.fromkeys(statements.ADDED, 0)
        added["plays"] = 1
        added["tscore"] = play.score
        added["playtime"] = play.time_elapsed // 1000
        added["total_hits"] = total_hits(play.counts, vanilla(play.mode))
        if verdict.best_pp and self._rules.counts(play.beatmap.status):
            added["rscore"] = play.score - (beaten.score if beaten else 0)
            if beaten and (column := COUNTED_GRADES.get(beaten.grade)):
                added[column] -= 1
            if column := COUNTED_GRADES.get(play.grade):
                added[column] += 1
        if verdict.best_pp and gives_pp(play.beatmap.status) and beaten is None:
            added["bests"] = 1
        change = {f"by_{name}": by for name, by in added.items()}
        combo = play.max_combo if play.passed and has_board(play.beatmap.status) else 0
        where = {"player_id": play.user_id, "in_mode": play.mode}
        if not await tx.run(statements.ADD_TO_STATS, combo=combo, **where, **change):
            await tx.run(statements.INSERT_STATS, user_id=play.user_id, mode=play.mode, country=country)
            await tx.run(statements.ADD_TO_STATS, combo=combo, **where, **change)
        if verdict.best_pp and gives_pp(play.beatmap.status):
            await set_totals(tx, play.user_id, play.mode, self._rules)


def _figures(stats: Stats | None) -> ProfileFigures:
    if stats is None:
        return ProfileFigures(0, 0, 0, 0.0, 0)
    return ProfileFigures(stats.rscore, stats.tscore, stats.max_combo, stats.acc, stats.pp)


def row_of(play: Play, verdict: Verdict, country: str) -> dict[str, int | float | str | bytes]:
    """The row of `scores` that stores a play of somebody from this country."""
    return {
        "user_id": play.user_id,
        "map_key": play.beatmap.key,
        "mode": play.mode,
        "mods": play.mods,
        "mods_key": board_key(play.mods),
        "score": play.score,
        "pp": play.pp,
        "acc": play.acc,
        "max_combo": play.max_combo,
        "n300": play.counts.n300,
        "n100": play.counts.n100,
        "n50": play.counts.n50,
        "nmiss": play.counts.nmiss,
        "ngeki": play.counts.ngeki,
        "nkatu": play.counts.nkatu,
        "grade": play.grade,
        "passed": int(play.passed),
        "perfect": int(play.perfect),
        "best_pp": int(verdict.best_pp),
        "best_score": int(verdict.best_score),
        "best_mods": int(verdict.best_mods),
        "play_time_ms": play.play_time_ms,
        "time_elapsed": play.time_elapsed,
        "client_version": play.client_version,
        "client_flags": play.client_flags,
        "checksum": play.checksum,
        "calculator": play.calculator,
        "country": country,
    }


async def _count_play(tx: Transaction, play: Play) -> None:
    counted = await tx.run(
        statements.COUNT_PLAY,
        player_id=play.user_id,
        in_mode=play.mode,
        on_map=play.beatmap.key,
        at_ms=play.play_time_ms,
    )
    if not counted:
        await tx.run(
            statements.FIRST_PLAY,
            user_id=play.user_id,
            mode=play.mode,
            map_key=play.beatmap.key,
            plays=1,
            last_play_ms=play.play_time_ms,
        )


async def set_totals(tx: Transaction, user_id: int, mode: int, rules: Rules) -> None:
    """Writes pp and accuracy of a profile from its best scores (docs/spec/game-rules.md#weighted-pp-and-accuracy)."""
    rows = await tx.all(statements.WEIGHTED, user_id=user_id, mode=mode)
    bests = await tx.one(statements.BESTS_IN, user_id=user_id, mode=mode) or 0
    pp, acc = totals(rows, bests, rules)
    await tx.run(statements.SET_TOTALS, player_id=user_id, in_mode=mode, pp=pp, acc=acc)


def totals(bests: list[tuple[float, float]], count: int, rules: Rules) -> tuple[int, float]:
    """Profile pp and accuracy of (pp, accuracy) rows, most pp first, of `count` best scores in all."""
    if not bests:
        return 0, 0.0
    return (
        weighted_pp([pp for pp, _ in bests], count=count, bonus=rules.bonus_pp),
        weighted_accuracy([acc for _, acc in bests]),
    )


async def settle_first_place(tx: Transaction, map_key: int, mode: int, *, since_ms: int) -> int | None:
    """Makes `first_places` agree with the top of the board; the score that holds it, None without one."""
    top = await tx.one(
        statements.TOP_BY_PP if mode >= PP_MODES_FROM else statements.TOP_BY_SCORE, map_key=map_key, mode=mode
    )
    held = await tx.one(statements.FIRST_PLACE, map_key=map_key, mode=mode)
    if held == top:
        return top[0] if top else None
    if held is not None:
        await tx.run(statements.DROP_FIRST_PLACE, map_key=map_key, mode=mode)
    if top is None:
        return None
    await tx.run(
        statements.SET_FIRST_PLACE, map_key=map_key, mode=mode, score_id=top[0], user_id=top[1], since_ms=since_ms
    )
    return int(top[0])

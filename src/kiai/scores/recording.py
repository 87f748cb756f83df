"""Recording: stores a play as a score, with all rows that derive from it, in one transaction.

    lock the user -> read bests, stats, first place -> best.decide_bests -> stats with totals, play counts
    -> demote old bests -> insert score -> replay, outbox, medals, chart -> integrity flags -> map counters, first place

The row of the map is locked by the last statement, because all players of a popular map wait for it until the commit.
The first place is therefore decided before. If the boards of the map have changed meanwhile, it is decided again under
the lock.

On PostgreSQL a usual pass takes five or six round trips: the statements of a line above that begin with `later` go with
the one that follows (tests/contract/storage/test_round_trips.py).

All rows that boards, profiles and ranks show can be computed again from the scores. `rebuilding.py` does so and must
give the same result.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from kiai import webhooks
from kiai.accounts.visibility import is_public
from kiai.beatmaps import Beatmaps
from kiai.beatmaps.model import MapStatus
from kiai.clock import Clock
from kiai.errors import Conflict, Unavailable
from kiai.failpoints import Reach, nothing_fails
from kiai.osu.accuracy import total_hits
from kiai.osu.modes import vanilla
from kiai.osu.mods import board_key
from kiai.osu.weights import weighted_accuracy, weighted_pp
from kiai.scores import activity, before_play, medals, records, statements
from kiai.scores.before_play import (
    BeforePlay,
    passes_of_day,
    plays_of_day,
    top_of,
    weighted_of,
    with_new_best,
    with_this_play,
)
from kiai.scores.best import BestFlags, decide_bests
from kiai.scores.boards import BoardKind, BoardRequest, Boards
from kiai.scores.evidence.statements import ADD_UNEXAMINED
from kiai.scores.flags import Flags, Suspicion
from kiai.scores.medals import MedalPlay
from kiai.scores.model import (
    NO_RANKS,
    Best,
    Chart,
    MapFigures,
    Play,
    ProfileFigures,
    RanksBefore,
    Recorded,
    Stats,
    StoredReplay,
)
from kiai.scores.months import month_of
from kiai.scores.rules import gives_medals, gives_pp, has_board, sorts_by_pp
from kiai.scores.statements.expressions import WEIGHTED_MAX
from kiai.storage.outbox import enqueue_later
from kiai.storage.port import Database, Transaction, UniqueViolation, Value

TRIES_MAX: Final = 3  # of a play, while the status or the boards of its map change
COUNTED_GRADES: Final = {"XH": "xh_count", "X": "x_count", "SH": "sh_count", "S": "s_count", "A": "a_count"}


class TotalsOptions(msgspec.Struct, frozen=True):
    """The operator's choices about totals.

    `bonus_pp` is a formula of `kiai.osu.weights`. `loved_counts`: bests on loved maps add to ranked score and grades.
    `rank_medals`: medals for ranks are awarded.
    """

    bonus_pp: str = "official"
    loved_counts: bool = False
    rank_medals: bool = False

    def counts(self, status: int) -> bool:
        """Return whether a best on a map of this status adds to ranked score and grades."""
        return gives_pp(status) or (self.loved_counts and status == MapStatus.LOVED)


class AlreadyRecorded(Conflict):
    """The play is stored already, as the score `score_id`."""

    def __init__(self, score_id: int) -> None:
        super().__init__("this play")
        self.score_id = score_id


class _MapChanged(Exception):
    """The status or the boards of the map changed after the transaction read it: decisions based on it are wrong."""


class Recorder:
    """Stores plays. The frames of a replay must be in the files store before its play is recorded."""

    def __init__(
        self,
        database: Database,
        beatmaps: Beatmaps,
        clock: Clock,
        rules: TotalsOptions,
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
        """Return the id of the score with the checksum or the replay frames of this play, or None."""
        found = await self._database.one(statements.plays.CHECKSUM_KNOWN, checksum=play.checksum)
        if found is None and play.replay is not None:
            found = await self._database.one(statements.plays.REPLAY_KNOWN, md5=play.replay.md5)
        return found

    async def record(
        self,
        play: Play,
        *,
        ranks: RanksBefore = NO_RANKS,
        suspicions: Sequence[Suspicion] = (),
        answered: bool = False,
        places: bool = False,
    ) -> Recorded:
        """Store a play with all rows that derive from it, or nothing.

        `suspicions` are stored as flags in the same transaction. With `answered`, the chart of a pass is stored for a
        client that repeats the request. With `places`, the transaction reads the places of a pass on the board of its
        map before and after the play, and `ranks.on_map` is not used. Raises AlreadyRecorded, NotFound("player") and
        Unavailable.
        """
        now = self._clock.now_ms()

        careful = False

        async def body(tx: Transaction) -> Recorded:
            recorded = await self._record(
                tx, play, ranks, suspicions, now, answered=answered, places=places, careful=careful
            )
            self._reach("submit.in_tx")
            return recorded

        # The transaction is rolled back and run again if the map has changed meanwhile.
        for _ in range(TRIES_MAX):
            try:
                return await self._database.transaction(body)
            except _MapChanged:
                pass
            except UniqueViolation as violation:
                # The unique indexes on checksum and frames decide between two identical plays at the same moment.
                score_id = await self.known(play)
                if score_id is not None:
                    raise AlreadyRecorded(score_id) from violation
                if careful:
                    raise
                # Another player took the first place, which had no holder, at the same moment.
            careful = True
        raise Unavailable("the map", "its status is being changed")

    async def _record(
        self,
        tx: Transaction,
        play: Play,
        ranks: RanksBefore,
        suspicions: Sequence[Suspicion],
        now_ms: int,
        *,
        answered: bool,
        places: bool,
        careful: bool,
    ) -> Recorded:
        # The lock on the player comes first. It serialises plays of one player, so the bests and stats that are read
        # below cannot change before the commit.
        await tx.lock(statements.plays.LOCK_USER, user_id=play.user_id)
        before = await before_play.read(tx, self._beatmaps, play, ranks, now_ms, places=places)
        if before.map_rank is not None:
            ranks = msgspec.structs.replace(ranks, on_map=before.map_rank)
        # The transaction uses the status that it reads itself, and checks at the end that it is still the same.
        play = msgspec.structs.replace(play, beatmap=before.beatmap)
        public = is_public(before.priv)
        best_flags = decide_bests(
            Best(0, play.score, play.pp, play.grade),
            mode=play.mode,
            passed=play.passed,
            by_pp=before.by_pp,
            by_score=before.by_score,
            with_mods=before.with_mods,
        )
        after = await self._add_to_stats(tx, play, before, best_flags)
        await _count_play(tx, play, before)
        # Demote before the insert: the unique indexes `uq_scores_best_*` allow one best for a player, map and mode.
        await _demote(tx, before, best_flags)
        score_id = await tx.one(statements.plays.INSERT_SCORE, **row_of(play, best_flags, before.country))
        assert score_id is not None
        if play.replay is not None:
            await tx.later(statements.plays.INSERT_REPLAY, **replay_row_of(score_id, play.replay))
        # Restricted players can play, but nothing that they do is public: no feed event, counter, medal or first place.
        await enqueue_later(tx, "ranks", play.user_id, now_ms)
        if public:
            await enqueue_later(tx, "score", score_id, now_ms)
        chart = None
        if play.passed:
            stats = {**before.stats, play.mode: after}
            earned = await self._award(tx, play, before, stats, ranks.overall, score_id, now_ms) if public else []
            chart = _chart_of(play, before, after, ranks, earned, score_id, public=public)
            await tx.later(ADD_UNEXAMINED, score_id=score_id, due_at_ms=now_ms)
            if answered:
                stored = msgspec.json.encode(chart).decode()
                await tx.later(statements.plays.INSERT_CHART, score_id=score_id, chart=stored, at_ms=now_ms)
        if suspicions:
            await self._flags.add_within(tx, play.user_id, list(suspicions), play.checksum, score_id)
        first = await self._count_on_map(tx, play, before, best_flags, score_id, now_ms, public=public, careful=careful)
        map_rank = await _place_of(tx, play, score_id, public=public) if places and chart is not None else None
        return Recorded(score_id, best_flags.best_pp, best_flags.best_score, first, chart, map_rank)

    async def _count_on_map(
        self,
        tx: Transaction,
        play: Play,
        before: BeforePlay,
        best_flags: BestFlags,
        score_id: int,
        now_ms: int,
        *,
        public: bool,
        careful: bool,
    ) -> bool:
        """Add the play to the counters of its map, and give it the first place if it has won it. Return whether it has.

        This UPDATE also locks the row of the map, which serialises changes of its first place. Plays of hidden players
        add 0, but they take the lock as well: their totals depend on the status of the map. Raises _MapChanged.
        """
        plays, passes = int(public), int(public and play.passed)
        key, status = play.beatmap.key, play.beatmap.status
        on_board = public and best_flags.best_score
        # PERF: a play rarely raises the record, so the result of the statement is not waited for if it will not.
        may_raise = public and best_flags.best_pp and gives_pp(status)
        raises = may_raise and (before.record is None or play.pp > before.record)
        if may_raise and not raises and tx.reads_ahead:  # the record may have been lowered since it was read
            await records.raise_later(tx, play.mode, score_id, play.pp)
        takes = _takes_first_place(play, before) if on_board and not careful else None
        if on_board and takes is not None:
            # PERF: decided without the lock. Four more round trips under it would be the limit of a popular map.
            if takes:
                await _pass_on(tx, play, before.holder, score_id, now_ms)
                holder = {"score_id": score_id, "user_id": play.user_id, "since_ms": play.play_time_ms}
                if before.holder is None:
                    await tx.later(statements.first_places.SET_FIRST_PLACE, map_key=key, mode=play.mode, **holder)
                else:
                    await tx.later(statements.first_places.PASS_ON, on_map=key, in_mode=play.mode, **holder)
            found = await self._beatmaps.count_plays(
                tx, key, plays=plays, passes=passes, unless_changed=play.beatmap.board_version
            )
            if found is None and not takes:
                takes = None
            elif found != status:  # None if the boards have changed: the rows of the first place are written already
                raise _MapChanged
        if takes is None:
            if await self._beatmaps.count_plays(tx, key, plays=plays, passes=passes) != status:
                raise _MapChanged
            takes = on_board and await self._follow_first_place(tx, play, score_id, now_ms)
        if raises:
            await self._raise_record(tx, play, score_id, now_ms)
        return takes

    async def _award(
        self,
        tx: Transaction,
        play: Play,
        before: BeforePlay,
        after: Mapping[int, Stats],
        rank: int,
        score_id: int,
        now_ms: int,
    ) -> list[int]:
        """Store the medals that this pass earns and return their ids (docs/spec/game-rules.md#medals)."""
        if not gives_medals(play.beatmap.status):
            return []
        held = before.held
        if held is None:
            held = frozenset(await tx.all(statements.plays.MEDALS_OF, user_id=play.user_id))
        if not self._rules.rank_medals:
            held |= medals.RANK_MEDALS
        stats_by_mode = [after.get(mode) for mode in range(4)]
        medal_play = MedalPlay(
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
            plays=[stats.plays if stats else 0 for stats in stats_by_mode],
            hits=[stats.total_hits if stats else 0 for stats in stats_by_mode],
            rank=rank,
        )
        earned = medals.earned_by(medal_play, held, with_day=False)
        # PERF: the plays of the day are read only if a medal that depends on them is still missing.
        if medals.needs_day_plays(medal_play, held):
            if before.day is None:
                # PERF: the largest read of a transaction, unless only the passes on this map count.
                every_map = medals.needs_other_maps(held)
                if every_map or medals.needs_fails(held, 1 + (before.plays_on_map or 0)):
                    query, params = plays_of_day(play, now_ms, every_map=every_map)
                else:
                    query, params = passes_of_day(play, now_ms)
                day = await tx.all(query, **params)
            else:
                day = with_this_play(before.day, play, now_ms)
            medal_play = msgspec.structs.replace(medal_play, day=day)
            earned += medals.earned_by(medal_play, held, with_day=True)
        for medal_id in sorted(earned):  # in order: two plays that lock the same counters must not deadlock
            await tx.run(statements.plays.COUNT_HOLDER, of_medal=medal_id)
            await tx.run(
                statements.plays.INSERT_MEDAL,
                user_id=play.user_id,
                medal_id=medal_id,
                unlocked_at_ms=now_ms,
                score_id=score_id,
            )
            await activity.add_medal(tx, play.user_id, medal_id, mode=play.mode, score_id=score_id, at_ms=now_ms)
        return earned

    async def _follow_first_place(self, tx: Transaction, play: Play, score_id: int, now_ms: int) -> bool:
        """Decide the first place under the lock on the map. Return whether the play has taken it."""
        where = {"map_key": play.beatmap.key, "mode": play.mode}
        previous = await tx.one(statements.first_places.FIRST_PLACE, **where)
        if await _follow_top(tx, **where, present=previous, since_ms=play.play_time_ms) != score_id:
            return False
        await _pass_on(tx, play, previous, score_id, now_ms)
        return True

    async def _raise_record(self, tx: Transaction, play: Play, score_id: int, now_ms: int) -> None:
        if await records.raise_to(tx, play.mode, score_id, play.pp):
            event = {
                "player": play.user_id,
                "map_id": play.beatmap.id,
                "score_id": score_id,
                "mode": play.mode,
                "pp": round(play.pp, 2),
            }
            await webhooks.enqueue(tx, "top_play", event, now_ms)

    async def _add_to_stats(self, tx: Transaction, play: Play, found: BeforePlay, best_flags: BestFlags) -> Stats:
        """Add a play to the player's stats, set the totals, and return the stats after it."""
        before, replaced = found.stats.get(play.mode), found.by_pp if best_flags.best_pp else None
        plays = statements.plays
        added = dict.fromkeys((*plays.ADDED_BY_PLAY, *plays.ADDED_BY_BEST), 0)
        added["plays"] = 1
        added["tscore"] = play.score
        added["playtime"] = play.time_elapsed // 1000  # s
        added["total_hits"] = total_hits(play.counts, vanilla(play.mode))
        # Ranked score and grades count the best by pp of each map, so the play replaces the previous best in them.
        if best_flags.best_pp and self._rules.counts(play.beatmap.status):
            added["rscore"] = play.score - (replaced.score if replaced else 0)
            if replaced and (column := COUNTED_GRADES.get(replaced.grade)):
                added[column] -= 1
            if column := COUNTED_GRADES.get(play.grade):
                added[column] += 1
        if best_flags.best_pp and gives_pp(play.beatmap.status) and replaced is None:
            added["bests"] = 1
        combo = play.max_combo if play.passed and has_board(play.beatmap.status) else 0
        totals_after: dict[str, Value] = {}
        if best_flags.best_pp and gives_pp(play.beatmap.status):
            weighted = found.weighted
            if weighted is None:
                query, params = weighted_of(play)
                weighted = await tx.all(query, **params)
            rows = with_new_best(weighted, replaced, play.pp, play.acc, WEIGHTED_MAX)
            bests = (before.bests if before else 0) + added["bests"]
            totals_after["pp"], totals_after["acc"] = totals(rows, bests, self._rules)
        # The lock on the player excludes a second INSERT.
        if before is None:
            await tx.run(plays.INSERT_STATS, user_id=play.user_id, mode=play.mode, country=found.country)
            before = Stats(play.user_id, play.mode, *[0] * (len(Stats.__struct_fields__) - 2))
        by_best = plays.ADDED_BY_BEST if any(added[name] for name in plays.ADDED_BY_BEST) else ()
        changed = tuple(name for name in totals_after if totals_after[name] != getattr(before, name))
        await tx.later(
            plays.ADD_TO_STATS[(*by_best, *changed)],
            player_id=play.user_id,
            in_mode=play.mode,
            combo=combo,
            at_ms=play.play_time_ms,
            **{f"by_{name}": added[name] for name in (*plays.ADDED_BY_PLAY, *by_best)},
            **{name: totals_after[name] for name in changed},
        )
        return msgspec.structs.replace(
            before,
            max_combo=max(before.max_combo, combo),
            last_play_ms=max(before.last_play_ms, play.play_time_ms),
            **{name: getattr(before, name) + by for name, by in added.items()},
            **totals_after,
        )


def _takes_first_place(play: Play, before: BeforePlay) -> bool | None:
    """Return whether a new line of the board takes the first place, from the rows that were read without a lock.

    None if they do not suffice to decide.
    """
    top, holder = before.top, before.holder
    if not has_board(play.beatmap.status):
        return False
    if not before.has_read_board or holder != (None if top is None else top.holder):
        return None  # it was not read, or is being changed
    if top is None:
        return True
    measure = play.pp if sorts_by_pp(play.mode) else play.score
    if measure > top.measure:
        return True
    return None if top.user_id == play.user_id else False  # the line that the play replaces


async def _demote(tx: Transaction, before: BeforePlay, best_flags: BestFlags) -> None:
    """Take the flags that the play gets from the scores that have them now."""
    lost: dict[int, list[str]] = {}
    held = (before.by_pp, before.by_score, before.with_mods)
    taken = (best_flags.best_pp, best_flags.best_score, best_flags.best_mods)
    for flag, previous, is_taken in zip(statements.plays.BEST_FLAGS, held, taken, strict=True):
        if is_taken and previous is not None:
            lost.setdefault(previous.id, []).append(flag)
    for number, (score_id, flags) in enumerate(lost.items(), start=1):
        # The last one is not put off: the score that is inserted next needs the places in the unique indexes.
        change = tx.run if number == len(lost) else tx.later
        await change(statements.plays.DEMOTE[tuple(flags)], of_score=score_id)


async def _pass_on(tx: Transaction, play: Play, previous: tuple[int, int] | None, score_id: int, now_ms: int) -> None:
    """Announce a new first place and add it to the history. `previous` is the score and the player before."""
    # The payload has the previous holder, 0 without one: after the commit nobody can look it up.
    holder = previous[1] if previous else 0
    await enqueue_later(tx, "first_place", f"{score_id} {holder}", now_ms)
    if holder != play.user_id:  # the place stays with a player who improves the score
        was_score, was_user = previous or (None, None)
        await tx.later(
            statements.first_places.ADD_CHANGE,
            at_ms=now_ms,
            score_id=score_id,
            previous_score_id=was_score,
            previous_user_id=was_user,
        )
        await activity.add_first_place(tx, play.user_id, holder, mode=play.mode, score_id=score_id, at_ms=now_ms)


async def _place_of(tx: Transaction, play: Play, score_id: int, *, public: bool) -> int:
    """Return the place of a pass on the board of its map, 0 if that has no board."""
    if not has_board(play.beatmap.status):
        return 0
    query, params = Boards.read_of_place(
        play.beatmap,
        BoardRequest(BoardKind.GLOBAL, play.mode, user_id=play.user_id, hidden=not public),
        measure=play.pp if sorts_by_pp(play.mode) else play.score,
        score_id=score_id,
    )
    return 1 + (await tx.one(query, **params) or 0)


def _chart_of(
    play: Play,
    before: BeforePlay,
    after: Stats,
    ranks: RanksBefore,
    earned: list[int],
    score_id: int,
    *,
    public: bool,
) -> Chart:
    previous = before.by_pp if sorts_by_pp(play.mode) else before.by_score
    return Chart(
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
        if previous is None
        else MapFigures(previous.score, previous.max_combo, previous.acc, previous.pp),
        this=MapFigures(play.score, play.max_combo, play.acc, play.pp),
        before=_figures(before.stats.get(play.mode)),
        after=_figures(after),
        medals=earned,
        map_rank_before=ranks.on_map,
        rank_before=ranks.overall,
    )


def _figures(stats: Stats | None) -> ProfileFigures:
    if stats is None:
        return ProfileFigures(0, 0, 0, 0.0, 0)
    return ProfileFigures(stats.rscore, stats.tscore, stats.max_combo, stats.acc, stats.pp)


def row_of(play: Play, best_flags: BestFlags, country: str) -> dict[str, int | float | str | bytes]:
    """Return the row of `scores` for a play. `country` is that of the player."""
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
        "best_pp": int(best_flags.best_pp),
        "best_score": int(best_flags.best_score),
        "best_mods": int(best_flags.best_mods),
        "play_time_ms": play.play_time_ms,
        "time_elapsed": play.time_elapsed,
        "client_version": play.client_version,
        "client_flags": play.client_flags,
        "checksum": play.checksum,
        "calculator": play.calculator,
        "country": country,
    }


def replay_row_of(score_id: int, replay: StoredReplay) -> dict[str, int | float | str | bytes | None]:
    """Return the row of `replays` for the replay of a score."""
    return {
        "score_id": score_id,
        "md5": replay.md5,
        "sha256": replay.sha256,
        "size": replay.size,
        "life_bar": replay.life_bar,
        "target_accuracy": replay.target_accuracy,
    }


async def _count_play(tx: Transaction, play: Play, before: BeforePlay) -> None:
    where: dict[str, Value] = {"player_id": play.user_id, "in_mode": play.mode}
    row: dict[str, Value] = {"user_id": play.user_id, "mode": play.mode, "plays": 1}
    key, at_ms, month = play.beatmap.key, play.play_time_ms, month_of(play.play_time_ms)
    if before.plays_on_map is not None:
        await tx.later(statements.plays.COUNT_PLAY, on_map=key, at_ms=at_ms, **where)
    else:
        await tx.later(statements.plays.FIRST_PLAY, map_key=key, last_play_ms=at_ms, **row)
    if before.has_played_in_month:
        await tx.later(statements.plays.COUNT_IN_MONTH, in_month=month, **where)
    else:
        await tx.later(statements.plays.INSERT_MONTH, month=month, **row)


def totals(bests: list[tuple[float, float]], count: int, rules: TotalsOptions) -> tuple[int, float]:
    """Return pp and accuracy of a profile.

    `bests` are (pp, accuracy) of its best scores, most pp first, at most `WEIGHTED_MAX`; `count` is the number of all
    its best scores, from which the bonus is computed.
    """
    if not bests:
        return 0, 0.0
    return (
        weighted_pp([pp for pp, _ in bests], count=count, bonus=rules.bonus_pp),
        weighted_accuracy([acc for _, acc in bests]),
    )


async def refresh_first_place(tx: Transaction, map_key: int, mode: int, *, since_ms: int) -> int | None:
    """Set the first place of a map and mode to the top of its board. Return the score that holds it, or None.

    The caller holds the lock on the map, so that two transactions cannot insert the row at the same time.
    """
    present = await tx.one(statements.first_places.FIRST_PLACE, map_key=map_key, mode=mode)
    return await _follow_top(tx, map_key, mode, present=present, since_ms=since_ms)


async def _follow_top(
    tx: Transaction, map_key: int, mode: int, *, present: tuple[int, int] | None, since_ms: int
) -> int | None:
    """Implement `refresh_first_place`. `present` has the score and the player that hold the place."""
    line = await tx.one(top_of(mode), map_key=map_key, mode=mode)
    top = None if line is None else line.holder
    if present == top:  # `since_ms` stays: the player has held the place all the time
        return top[0] if top else None
    if present is not None:
        await tx.run(statements.first_places.DROP_FIRST_PLACE, map_key=map_key, mode=mode)
    if top is None:
        return None
    await tx.run(
        statements.first_places.SET_FIRST_PLACE,
        map_key=map_key,
        mode=mode,
        score_id=top[0],
        user_id=top[1],
        since_ms=since_ms,
    )
    return int(top[0])

"""Hiding: removes scores from everything that players see, and brings them back.

    wipe of a player   all scores of a mode up to the last one at the time of the wipe
    wipe of a map      all scores on it up to the last one at the time of the wipe
    one score          staff hides it alone

A hidden score keeps its row and its replay. It has no best flag and counts in no stats, counters and boards. Each of
the three reasons has a mark of its own in `scores.hidden`, so the end of a wipe shows only the scores that no other
reason hides.

A wipe commits a row that says up to which id scores are hidden, and a task. The job of `reconciling.py` brings the
marks in line with that row, in steps. A step computes from the present rows under the locks of the recording of a play
(the player, then the map), and its stats change in the same transaction as its marks. So plays may come in meanwhile, a
step that was killed has changed nothing, and another wipe or its end only changes where the steps lead.
"""

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from kiai.accounts.visibility import is_public
from kiai.beatmaps.catalogue import COUNT_PLAYS_OF_SET
from kiai.clock import Clock
from kiai.errors import NotFound, WrongState
from kiai.osu.accuracy import HitCounts, total_hits
from kiai.osu.modes import MODES, vanilla
from kiai.scores import records, statements
from kiai.scores.best import BestFlags, bests_among
from kiai.scores.model import BestCandidate, HidableScore
from kiai.scores.months import month_of
from kiai.scores.recording import refresh_first_place
from kiai.scores.statements.hiding import BY_MAP_WIPE, BY_STAFF, BY_USER_WIPE
from kiai.scores.visibility_changes import VISIBILITY
from kiai.storage import tasks
from kiai.storage.outbox import enqueue
from kiai.storage.port import Database, Query, Transaction
from kiai.storage.tasks import StaleTask, Task, Tasks

USER_WIPE: Final = "user_wipe"
"""The kind of the task that follows a wipe of a player or its end. The subject is the player."""
MAP_WIPE: Final = "map_wipe"
"""The same for a map. The subject is the key of the revision."""
AT_ONCE_MAX: Final = 500
"""The number of scores that one transaction hides in a second at most, and those of a step of `finish_user`."""

PAGE_LEAST = 16
"""The least number of scores in a step: a step of one score costs half as much as one of 16."""

_CLOSING: Final = -1
"""Stands for the last step of a mode or map in the place of a task, where an id is in the others."""
ID_MAX: Final = 2**63 - 1


class _Change(msgspec.Struct):
    """The values that the stats of a player in a mode lose (negative) or gain. Times are unix ms, 0 for none."""

    plays: int = 0
    tscore: int = 0
    playtime: int = 0
    total_hits: int = 0
    replay_views: int = 0
    shown_ms: int = 0
    hidden_ms: int = 0


class Hiding:
    """Hides and shows scores.

    `wipe_user`, `restore_user`, `wipe_map`, `restore_map` and `set_hidden` take part in the transaction of their
    caller, which writes the audit row.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._tasks = Tasks(database)

    # --- what is hidden

    async def wipe_user(self, tx: Transaction, user_id: int, mode: int | None = None) -> int:
        """Hide the scores of a player in a mode, or in all. Return how many the wipe hides.

        Raises NotFound("player").
        """
        now = self._clock.now_ms()
        # A play of this player is recorded either before, and then wiped, or after the wipe, and then not wiped.
        await self._lock_user(tx, user_id)
        wiped = dict(await tx.all(statements.hiding.WIPES_OF_USER, user_id=user_id))
        hidden = 0
        for one in _modes(mode):
            last, count = await tx.one(
                statements.hiding.USER_SCORES, user_id=user_id, mode=one, since=wiped.get(one, 0)
            ) or (0, 0)
            if last <= wiped.get(one, 0):
                continue
            hidden += count
            await tx.run(statements.hiding.DROP_USER_WIPE, of_user=user_id, in_mode=one)
            await tx.run(statements.hiding.ADD_USER_WIPE, user_id=user_id, mode=one, last_score_id=last, at_ms=now)
        await tasks.begin(tx, USER_WIPE, user_id, now)
        return hidden

    async def wipe_user_at_once(self, tx: Transaction, user_id: int) -> int:
        """Wipe all modes of a player in this transaction, not in steps. Return how many scores it hides.

        For at most about `AT_ONCE_MAX` scores: others wait for this transaction.
        """
        count = await self.wipe_user(tx, user_id)
        for mode, wiped in await tx.all(statements.hiding.WIPES_OF_USER, user_id=user_id):
            after = 0
            while rows := await self._user_page(tx, user_id, mode, after, wiped, AT_ONCE_MAX):
                after = rows[-1].id
        return count

    async def visible_scores(self, user_id: int) -> int:
        """Return the number of scores that a wipe of a player would hide."""
        counted = 0
        wiped = dict(await self._database.all(statements.hiding.WIPES_OF_USER, user_id=user_id))
        for mode in MODES:
            found = await self._database.one(
                statements.hiding.USER_SCORES, user_id=user_id, mode=mode, since=wiped.get(mode, 0)
            )
            counted += found[1] if found else 0
        return counted

    async def restore_user(self, tx: Transaction, user_id: int, mode: int | None = None) -> int | None:
        """End the wipes of a player in a mode, or in all. Return how many scores come back, None without a wipe.

        Raises NotFound("player").
        """
        await self._lock_user(tx, user_id)
        wiped = dict(await tx.all(statements.hiding.WIPES_OF_USER, user_id=user_id))
        ended = [one for one in _modes(mode) if one in wiped]
        back = 0
        for one in ended:
            back += await tx.one(statements.hiding.USER_SCORES_BACK, user_id=user_id, mode=one, upto=wiped[one]) or 0
            await tx.run(statements.hiding.DROP_USER_WIPE, of_user=user_id, in_mode=one)
        if not ended:
            return None
        await tasks.begin(tx, USER_WIPE, user_id, self._clock.now_ms())
        return back

    async def wipe_map(self, tx: Transaction, map_key: int) -> int:
        """Hide all scores on a revision of a map. Return how many the wipe hides."""
        now = self._clock.now_ms()
        await tx.one(statements.reconciling.LOCK_MAP, map_key=map_key)
        since = await tx.one(statements.hiding.WIPE_OF_MAP, map_key=map_key) or 0
        waiting = await tx.one(statements.hiding.TASK_OF, kind=MAP_WIPE, subject=map_key) is not None
        late = 0 if waiting else since
        last, count = await tx.one(statements.hiding.MAP_SCORES, map_key=map_key, since=since, late=late) or (0, 0)
        if last > since:
            await tx.run(statements.hiding.DROP_MAP_WIPE, of_map=map_key)
            await tx.run(statements.hiding.ADD_MAP_WIPE, map_key=map_key, last_score_id=last, at_ms=now)
        await tasks.begin(tx, MAP_WIPE, map_key, now)
        return count

    async def restore_map(self, tx: Transaction, map_key: int) -> int | None:
        """End the wipe of a revision of a map. Return how many scores come back, None without a wipe."""
        await tx.one(statements.reconciling.LOCK_MAP, map_key=map_key)
        upto = await tx.one(statements.hiding.WIPE_OF_MAP, map_key=map_key)
        if upto is None:
            return None
        back = await tx.one(statements.hiding.MAP_SCORES_BACK, map_key=map_key, upto=upto) or 0
        await tx.run(statements.hiding.DROP_MAP_WIPE, of_map=map_key)
        await tasks.begin(tx, MAP_WIPE, map_key, self._clock.now_ms())
        return int(back)

    async def score(self, score_id: int) -> HidableScore:
        """Return a score, also a hidden one. Raises NotFound("score")."""
        found = await self._database.one(statements.hiding.SCORE, id=score_id)
        if found is None:
            raise NotFound("score")
        return found

    async def set_hidden(self, tx: Transaction, score_id: int, *, hidden: bool) -> HidableScore:
        """Hide one score, or show it again, with everything that derives from it. Return it as it was before.

        Raises NotFound("score"), and WrongState for one that is hidden or shown already. A score that a wipe hides
        stays hidden until the wipe ends.
        """
        found = await tx.one(statements.hiding.SCORE, id=score_id)
        if found is None:
            raise NotFound("score")
        await self._lock_user(tx, found.user_id)
        page = {"user_id": found.user_id, "mode": found.mode, "first": score_id, "last": score_id}
        await tx.all(statements.hiding.LOCK_MAPS_IN_PAGE, **page)
        before = await tx.one(statements.hiding.SCORE, id=score_id)
        assert before is not None, "scores are not deleted"
        if bool(before.hidden & BY_STAFF) == hidden:
            if not hidden and before.hidden:
                raise WrongState(f"score {score_id} was hidden by a wipe; only the end of the wipe shows it")
            raise WrongState(f"score {score_id} is already hidden" if hidden else f"score {score_id} is not hidden")
        views = dict(await tx.all(statements.hiding.VIEWS_OF_USER_PAGE, **page))
        await self._mark(tx, [before], BY_STAFF, statements.hiding.CANDIDATES_OF_USER_PAGE, page)
        await self._count(tx, [before], BY_STAFF, views)
        await self._mark_stale(tx, before.user_id, before.mode, self._clock.now_ms())
        await self._correct_last_plays(
            tx, await tx.all(statements.hiding.WRONG_LAST_PLAYS_OF_USER, user_id=found.user_id, mode=found.mode)
        )
        await self._count_user_on_maps(tx, before.user_id, [before], BY_STAFF)
        await records.recompute(tx, [before.mode])
        return before

    # --- steps, called by the reconciler

    async def user_step(self, tx: Transaction, task: Task, most: int) -> int:
        """Bring up to `most` marks of a player in line with the wipes. Return the number of scores."""
        now = self._clock.now_ms()
        user_id = task.subject
        most = max(most, PAGE_LEAST)
        mode, after = map(int, (task.place or "0 0").split())
        await self._lock_user(tx, user_id)
        if after == _CLOSING:
            await self._close_mode(tx, user_id, mode, now)
            await self._advance(tx, task, f"{mode + 1} 0", 0, now)
            return 1
        if not after:
            found = await tx.one(statements.hiding.NEXT_MODE, user_id=user_id, least=mode)
            if found is None:
                await tasks.finish(tx, task)
                return 0
            mode = found
        wiped = dict(await tx.all(statements.hiding.WIPES_OF_USER, user_id=user_id))
        rows = await self._user_page(tx, user_id, mode, after, wiped.get(mode, 0), most)
        # The last step is done for each mode with scores, also if nothing is left: the task may have begun again after
        # its pages and before that step.
        place = rows[-1].id if len(rows) == most else _CLOSING
        await self._advance(tx, task, f"{mode} {place}", len(rows), now)
        return len(rows)

    async def _close_mode(self, tx: Transaction, user_id: int, mode: int, now: int) -> None:
        await self._correct_last_plays(
            tx, await tx.all(statements.hiding.WRONG_LAST_PLAYS_OF_USER, user_id=user_id, mode=mode)
        )
        # Once, not after each page: it reads all bests of the player.
        await self._mark_stale(tx, user_id, mode, now)
        await records.recompute(tx, [mode])

    async def _user_page(
        self, tx: Transaction, user_id: int, mode: int, after: int, wiped: int, most: int
    ) -> list[HidableScore]:
        """Change up to `most` wrong marks behind `after`, with all that follows. Return the scores as they were.

        The caller has locked the player. `wiped` is the last id of the wipe of this mode, 0 without one.
        """
        rows = await tx.all(
            statements.hiding.USER_PAGE, user_id=user_id, mode=mode, after=after, wiped=wiped, most=most
        )
        if rows:
            page = {"user_id": user_id, "mode": mode, "first": rows[0].id, "last": rows[-1].id}
            await tx.all(statements.hiding.LOCK_MAPS_IN_PAGE, **page)
            views = dict(await tx.all(statements.hiding.VIEWS_OF_USER_PAGE, **page))
            await self._mark(tx, rows, BY_USER_WIPE, statements.hiding.CANDIDATES_OF_USER_PAGE, page)
            await self._count(tx, rows, BY_USER_WIPE, views)
            await self._count_user_on_maps(tx, user_id, rows, BY_USER_WIPE)
            await records.recompute(tx, [mode])
        return rows

    async def map_step(self, tx: Transaction, task: Task, most: int) -> int:
        """Bring up to `most` marks on a map in line with its wipe. Return the number of scores."""
        now = self._clock.now_ms()
        most = max(most, PAGE_LEAST)
        map_key = task.subject
        after = int(task.place or 0)
        if after == _CLOSING:
            await self._close_map(tx, task, now)
            return 1
        # Read before the players are locked: a lock on the players of all scores would stop their plays.
        wiped = await tx.one(statements.hiding.WIPE_OF_MAP, map_key=map_key) or 0
        where = {"map_key": map_key, "after": after, "wiped": wiped, "most": most}
        found = await tx.all(statements.hiding.MAP_PAGE, upto=ID_MAX, **where)
        rows: Sequence[HidableScore] = []
        if found:
            page = {"map_key": map_key, "first": found[0].id, "last": found[-1].id}
            await tx.all(statements.hiding.LOCK_PLAYERS_IN_PAGE, **page)
            await tx.one(statements.reconciling.LOCK_MAP, map_key=map_key)
            # Read again under the locks: another wipe may have changed marks in between. If the wipe of this map has
            # changed, its task has begun again, and this step is not committed.
            rows = await tx.all(statements.hiding.MAP_PAGE, upto=found[-1].id, **where)
            views = dict(await tx.all(statements.hiding.VIEWS_OF_MAP_PAGE, **page))
            await self._mark(tx, rows, BY_MAP_WIPE, statements.hiding.CANDIDATES_OF_MAP_PAGE, page)
            await self._count(tx, rows, BY_MAP_WIPE, views)
            # The boards of this step. The counters need all scores of the map, so the last step computes them.
            await tx.run(statements.hiding.BOARDS_CHANGED, map_key=map_key)
            await records.recompute(tx, {row.mode for row in rows})
        await self._advance(tx, task, str(found[-1].id if len(found) == most else _CLOSING), len(rows), now)
        return len(rows)

    async def _close_map(self, tx: Transaction, task: Task, now: int) -> None:
        map_key = task.subject
        wrong = await tx.all(statements.hiding.WRONG_LAST_PLAYS_ON_MAP, map_key=map_key)
        players = sorted({row[0] for row in wrong})
        for user_id in players:
            await self._lock_user(tx, user_id)
        await tx.one(statements.reconciling.LOCK_MAP, map_key=map_key)
        wiped = await tx.one(statements.hiding.WIPE_OF_MAP, map_key=map_key) or 0
        # A play that took a lower id than the wipe's last one, and committed after its page.
        if await tx.one(statements.hiding.ANY_WRONG_ON_MAP, map_key=map_key, wiped=wiped) is not None:
            await self._advance(tx, task, "0", 0, now)
            return
        wrong = await tx.all(statements.hiding.WRONG_LAST_PLAYS_ON_MAP, map_key=map_key)
        await self._correct_last_plays(tx, [row for row in wrong if row[0] in players])
        # Once, not after each page: it makes the job read all bests of these players.
        await tx.run(statements.hiding.ADD_STALE_ON_MAP, map_key=map_key, now_ms=now)
        await self._count_on_maps(tx, [map_key])
        await records.recompute(tx)
        await tasks.finish(tx, task)

    async def finish_user(self, user_id: int) -> None:
        """Do all steps of the task of a player now, without the job."""
        while True:
            waiting = await self._tasks.waiting()
            task = next((one for one in waiting if one.kind == USER_WIPE and one.subject == user_id), None)
            if task is None:
                return
            await self._step_now(task)

    async def _step_now(self, task: Task) -> None:
        async def body(tx: Transaction) -> None:
            await self.user_step(tx, task, AT_ONCE_MAX)

        with contextlib.suppress(StaleTask):  # the job has done this step
            await self._database.transaction(body)

    # --- parts of all steps

    async def _lock_user(self, tx: Transaction, user_id: int) -> None:
        if await tx.one(statements.plays.LOCK_USER, user_id=user_id) is None:
            raise NotFound("player")

    async def _advance(self, tx: Transaction, task: Task, place: str, count: int, now: int) -> None:
        done = task.done + count
        await tasks.advance(tx, task, place, done=done, total=max(task.total, done), now_ms=now)

    async def _mark(
        self,
        tx: Transaction,
        rows: Sequence[HidableScore],
        mark: int,
        candidates: Query[BestCandidate],
        page: Mapping[str, int],
    ) -> None:
        """Change a mark of scores, and the best flags and first places that follow. The caller holds all locks."""
        hide = [row for row in rows if not row.hidden & mark]
        show = [row for row in rows if row.hidden & mark]
        await tx.run_many(statements.hiding.MARK, [{"score_id": row.id, "mark": mark} for row in hide])
        await tx.run_many(statements.hiding.UNMARK, [{"score_id": row.id, "mark": mark} for row in show])
        await set_best_flags(tx, await tx.all(candidates, **page))
        now = self._clock.now_ms()
        for map_key, mode in sorted({(row.map_key, row.mode) for row in rows if row.passed}):
            await refresh_first_place(tx, map_key, mode, since_ms=now)

    async def _count(self, tx: Transaction, rows: Sequence[HidableScore], mark: int, views: Mapping[int, int]) -> None:
        """Update the rows of the players from scores whose mark has changed. `rows` are as they were before."""
        changes: dict[tuple[int, int], _Change] = {}
        maps: dict[tuple[int, int, int], _Change] = {}
        months: Counter[tuple[int, int, int]] = Counter()
        for row in rows:
            by = _shown(row, mark)
            if not by:  # another mark hides it as well
                continue
            counts = HitCounts(row.n300, row.n100, row.n50, row.ngeki, row.nkatu, row.nmiss)
            change = changes.setdefault((row.user_id, row.mode), _Change())
            change.tscore += by * row.score
            change.playtime += by * (row.time_elapsed // 1000)  # s
            change.total_hits += by * total_hits(counts, vanilla(row.mode))
            change.replay_views += by * views.get(row.id, 0)
            for one in (change, maps.setdefault((row.user_id, row.mode, row.map_key), _Change())):
                one.plays += by
                if by > 0:
                    one.shown_ms = max(one.shown_ms, row.play_time_ms)
                else:
                    one.hidden_ms = max(one.hidden_ms, row.play_time_ms)
            months[row.user_id, row.mode, month_of(row.play_time_ms)] += by
        for (user_id, mode, map_key), change in sorted(maps.items()):
            await _count_plays(tx, user_id, mode, map_key, change)
        for (user_id, mode, month), by in sorted(months.items()):
            await _count_month(tx, user_id, mode, month, by)
        now = self._clock.now_ms()
        for (user_id, mode), change in sorted(changes.items()):
            if await _count_stats(tx, user_id, mode, change):
                await enqueue(tx, "ranks", user_id, now)  # a player without stats has no rank

    async def _mark_stale(self, tx: Transaction, user_id: int, mode: int, now: int) -> None:
        """Make the job compute pp and the other totals of the bests again, and the ranks."""
        if await tx.one(statements.hiding.IS_STALE, user_id=user_id, mode=mode) is None:
            await tx.run(statements.hiding.ADD_STALE, user_id=user_id, mode=mode, since_ms=now)

    async def _count_user_on_maps(self, tx: Transaction, user_id: int, rows: Sequence[HidableScore], mark: int) -> None:
        """Update the counters of maps from scores of one player whose mark has changed."""
        if await tx.one(statements.hiding.TASK_OF, kind=VISIBILITY, subject=user_id) is not None:
            # The counters of some of the maps do not yet follow the visibility of the player.
            await self._count_on_maps(tx, sorted({row.map_key for row in rows}))
            return
        found = await tx.one(statements.plays.LOCK_USER, user_id=user_id)
        if found is None or not is_public(found[0]):
            return
        counted: dict[int, list[int]] = {}
        for row in rows:
            by = _shown(row, mark)
            plays = counted.setdefault(row.map_key, [0, 0])
            plays[0] += by
            plays[1] += by * row.passed
        for key, (plays_by, passes_by) in sorted(counted.items()):
            await tx.run(statements.hiding.COUNT_ON_MAP, map_key=key, by_plays=plays_by, by_passes=passes_by)
        # PERF: a recount would read all scores of each map.
        await tx.run_many(COUNT_PLAYS_OF_SET, [{"map_key": key} for key in sorted(counted)])

    async def _count_on_maps(self, tx: Transaction, map_keys: Sequence[int]) -> None:
        """Compute the counters of maps again, which also makes cached pages of their boards invalid."""
        for key in map_keys:
            # A map without visible plays has no row.
            counted = await tx.one(statements.rebuilding.MAP_COUNTERS, first=key, last=key) or (key, 0, 0)
            await tx.run(
                statements.rebuilding.SET_MAP_COUNTERS, map_key=key, new_plays=counted[1], new_passes=counted[2]
            )
        await tx.run_many(COUNT_PLAYS_OF_SET, [{"map_key": key} for key in map_keys])

    async def _correct_last_plays(self, tx: Transaction, wrong: Sequence[tuple[int, int, int, int]]) -> None:
        """Write the times of last plays (player, mode, map, unix ms), and those of the profiles that follow."""
        for user_id, mode, map_key, at_ms in wrong:
            await tx.run(
                statements.hiding.SET_LAST_PLAY_ON, player_id=user_id, in_mode=mode, on_map=map_key, at_ms=at_ms
            )
        for user_id, mode in sorted({row[:2] for row in wrong}):
            await tx.run(statements.hiding.LOWER_LAST_PLAY, player_id=user_id, in_mode=mode, hidden_ms=ID_MAX)


async def set_best_flags(tx: Transaction, passes: Sequence[BestCandidate]) -> None:
    """Write the best flags that differ. `passes` are all visible passes of some players on some maps and modes."""
    expected = bests_among(passes)
    lost, gained = [], []
    for one in passes:
        present, wanted = _flags_of(one), _numbers(expected[one.id])
        between = tuple(int(a and b) for a, b in zip(present, wanted, strict=True))
        if between != present:
            lost.append(_flags_row(one.id, between))
        if wanted != between:
            gained.append(_flags_row(one.id, wanted))
    # Flags are lost before others are gained: two bests would violate `uq_scores_best_*` for a moment.
    await tx.run_many(statements.hiding.SET_FLAGS, lost)
    await tx.run_many(statements.hiding.SET_FLAGS, gained)


async def _count_stats(tx: Transaction, user_id: int, mode: int, change: _Change) -> bool:
    """Change the stats of a player in a mode. Return whether the player has none any more."""
    where = {"player_id": user_id, "in_mode": mode}
    values = {
        "by_plays": change.plays,
        "by_tscore": change.tscore,
        "by_playtime": change.playtime,
        "by_total_hits": change.total_hits,
        "by_replay_views": change.replay_views,
        "shown_ms": change.shown_ms,
    }
    if not await tx.run(statements.hiding.CHANGE_STATS, **where, **values) and change.plays > 0:
        country = await tx.one(statements.hiding.COUNTRY_OF, user_id=user_id)
        await tx.run(statements.plays.INSERT_STATS, user_id=user_id, mode=mode, country=country)
        await tx.run(statements.hiding.CHANGE_STATS, **where, **values)
    # A mode without scores has no row, as if the player had never played it.
    if change.plays < 0:
        if await tx.run(statements.hiding.DROP_EMPTY_STATS, **where):
            return True
        await tx.run(statements.hiding.LOWER_LAST_PLAY, **where, hidden_ms=change.hidden_ms)
    return False


async def _count_plays(tx: Transaction, user_id: int, mode: int, map_key: int, change: _Change) -> None:
    where = {"player_id": user_id, "in_mode": mode, "on_map": map_key}
    values = {"by": change.plays, "shown_ms": change.shown_ms}
    if not await tx.run(statements.hiding.CHANGE_PLAY_COUNT, **where, **values) and change.plays > 0:
        await tx.run(
            statements.plays.FIRST_PLAY,
            user_id=user_id,
            mode=mode,
            map_key=map_key,
            plays=change.plays,
            last_play_ms=change.shown_ms,
        )
    if change.plays < 0:
        await tx.run(statements.hiding.DROP_EMPTY_PLAY_COUNT, **where)


async def _count_month(tx: Transaction, user_id: int, mode: int, month: int, by: int) -> None:
    where = {"player_id": user_id, "in_mode": mode, "in_month": month}
    if not await tx.run(statements.hiding.CHANGE_MONTH, **where, by=by) and by > 0:
        await tx.run(statements.plays.INSERT_MONTH, user_id=user_id, mode=mode, month=month, plays=by)
    if by < 0:
        await tx.run(statements.hiding.DROP_EMPTY_MONTH, **where)


def _shown(row: HidableScore, mark: int) -> int:
    """Return 1 if a change of the mark shows the score, -1 if it hides it, and 0 if other marks hide it as well."""
    return int(not row.hidden ^ mark) - int(not row.hidden)


def _modes(mode: int | None) -> Sequence[int]:
    return MODES if mode is None else (mode,)


def _flags_of(one: BestCandidate) -> tuple[int, ...]:
    return (one.best_pp, one.best_score, one.best_mods)


def _numbers(flags: BestFlags) -> tuple[int, ...]:
    return tuple(map(int, msgspec.structs.astuple(flags)))


def _flags_row(score_id: int, flags: Sequence[int]) -> dict[str, int]:
    by_pp, by_score, with_mods = flags
    return {"score_id": score_id, "by_pp": by_pp, "by_score": by_score, "with_mods": with_mods}

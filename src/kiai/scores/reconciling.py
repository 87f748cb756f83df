"""Reconciling: brings derived rows in line with a changed map or player, in steps, while players play.

    change                 rows that are computed again
    status of a map        its first places; each profile with a best on it becomes a row of `stale_totals`
    stale totals           pp, accuracy, ranked score, grades, best combo and ranks of a profile, from its bests
    visibility of a player counters and first places of each map that the player has played
    country of a player    the country on each of the player's scores
    wipe                   marks of the scores, and everything that derives from them (`hiding.py`)

A step is one short transaction. It computes from the present rows under the same locks as the recording of a play: on
the player for totals, on the map for counters and first places. The result is therefore the same whether a play is
recorded before or after the step, and a repeated step changes nothing. The size of a step is adjusted so that it takes
about `STEP_S`. After each step the job rests for as long as the step took, so that other writes have their turn.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Final, TypeVar

import msgspec

from kiai.accounts.visibility import BOARDS_LOOK_CHANGED
from kiai.beatmaps import MAP_STATUS
from kiai.beatmaps.catalogue import COUNT_PLAYS_OF_SET
from kiai.clock import Clock
from kiai.failpoints import Reach, nothing_fails
from kiai.osu.modes import MODES
from kiai.scores import records, statements
from kiai.scores.recording import TotalsOptions, refresh_first_place, totals
from kiai.scores.visibility_changes import COUNTRY, VISIBILITY
from kiai.storage import tasks
from kiai.storage.outbox import enqueue
from kiai.storage.port import Database, Transaction, UniqueViolation
from kiai.storage.tasks import StaleTask, Task, Tasks

T = TypeVar("T")

STEP_S: Final = 0.01  # SQLite has one writer: plays and logins wait for a step
STEP_ROWS_MIN: Final = 1
STEP_ROWS_MAX: Final = 500
TASKS_READ: Final = 50  # the oldest tasks, among which a step looks for one that has not failed
RUN_S: Final = 5.0  # one run of the job; the next one continues
COUNTED_MAX: Final = 10_000


class PendingWork(msgspec.Struct, frozen=True):
    """The remaining work. `totals` is counted up to `COUNTED_MAX`. `since_ms` is when the oldest part was added."""

    tasks: Sequence[Task]
    totals: int
    since_ms: int | None

    @property
    def left(self) -> int:
        """The number of totals, maps and scores that remain."""
        # A task whose size is not known yet counts as 1, so that `finish` does not stop before it.
        return self.totals + sum(max(1, task.total - task.done) for task in self.tasks)


class Reconciler:
    """The job that follows changes of statuses, visibility and countries. Several workers may run it at once."""

    def __init__(self, database: Database, rules: TotalsOptions, clock: Clock, reach: Reach = nothing_fails) -> None:
        self._database = database
        self._rules = rules
        self._clock = clock
        self._reach = reach
        self._tasks = Tasks(database)
        self._steps: dict[str, Callable[[Transaction, Task, int], Awaitable[int]]] = {
            MAP_STATUS: self._apply_status,
            VISIBILITY: self._apply_visibility,
            COUNTRY: self._apply_country,
        }
        self._sizes: dict[str, int] = {}  # rows in the next step, by kind

    def include(self, kind: str, step: Callable[[Transaction, Task, int], Awaitable[int]]) -> None:
        """Add a kind of task of another module. `step` does up to a number of rows and returns their number.

        Its transaction also moves or finishes the task.
        """
        self._steps[kind] = step

    async def pending(self) -> PendingWork:
        """Return the remaining work."""
        found = await self._tasks.waiting()
        counted = await self._database.one(statements.reconciling.STALE_TOTALS_COUNTED, most=COUNTED_MAX)
        assert counted is not None
        count, since_ms = counted
        begun = [task.begun_at_ms for task in found] + ([since_ms] if since_ms is not None else [])
        return PendingWork(found, count, min(begun, default=None))

    async def players_on(self, map_keys: Sequence[int]) -> int:
        """Return the number of players with a best on any of these maps, whose totals depend on the maps' status."""
        players: set[int] = set()
        for key in map_keys:
            players.update(await self._database.all(statements.reconciling.PLAYERS_ON, map_key=key))
        return len(players)

    async def run(self, *, rest: bool = True) -> None:
        """Do remaining work for at most `RUN_S` seconds. With `rest`, pause after each step for as long as it took.

        A job calls this. A task that fails does not stop the other tasks; the first error is raised at the end.
        """
        until = perf_counter() + RUN_S
        failed: dict[tuple[str, int], Exception] = {}
        while perf_counter() < until:
            began = perf_counter()
            if not await self.step(failed):
                break
            await asyncio.sleep(perf_counter() - began if rest else 0)
        for error in failed.values():
            raise error

    async def finish(self) -> None:
        """Do all remaining work, without rests."""
        while (await self.pending()).left:
            await self.run(rest=False)

    async def step(self, failed: dict[tuple[str, int], Exception]) -> bool:
        """Do one step of the oldest task and one of the stale totals. Return whether there was anything to do.

        Tasks in `failed` are skipped. A task that fails in this step is added to it, with the error.
        """
        waiting = await self._tasks.waiting(TASKS_READ)
        # Another version may have left tasks of a kind that this one does not know: they wait.
        possible = (task for task in waiting if task.kind in self._steps and (task.kind, task.subject) not in failed)
        task = next(possible, None)
        if task is not None:
            step = self._steps[task.kind]
            try:
                await self._sized(task.kind, lambda tx, most: step(tx, task, most))
            except (StaleTask, UniqueViolation):
                pass  # another worker has done this step
            except Exception as error:
                failed[task.kind, task.subject] = error
        # Totals have their turn also while a long task runs.
        return await self._sized("totals", self._refresh_totals) > 0 or task is not None

    async def _sized(self, kind: str, body: Callable[[Transaction, int], Awaitable[int]]) -> int:
        """Run a step over the number of rows that is likely to take `STEP_S`. Return the number of rows done.

        The number is halved after a step that took longer, and doubled after a full step that took less than half.
        """
        most = self._sizes.get(kind, 8)

        async def step(tx: Transaction) -> int:
            count = await body(tx, most)
            self._reach(f"reconcile.{kind}")
            return count

        began = perf_counter()
        count = await self._database.transaction(step)
        self._reach("reconcile.committed")
        took = perf_counter() - began
        if took > STEP_S:
            self._sizes[kind] = max(STEP_ROWS_MIN, most // 2)
        elif count >= most and took < STEP_S / 2:
            self._sizes[kind] = min(STEP_ROWS_MAX, most * 2)
        return count

    # --- a map with another status

    async def _apply_status(self, tx: Transaction, task: Task, most: int) -> int:
        now = self._clock.now_ms()
        map_key = task.subject
        if not task.place:
            # The first step: the first places of all modes, under the lock that a play takes on the map. From then on
            # plays see the new status, so only profiles with an older best become stale.
            await tx.one(statements.reconciling.LOCK_MAP, map_key=map_key)
            for mode in MODES:
                await refresh_first_place(tx, map_key, mode, since_ms=now)
            await records.recompute(tx)
            await tasks.advance(tx, task, f"{MODES[0]} 0", done=0, total=0, now_ms=now)
            return len(MODES)
        mode, after = map(int, task.place.split())
        # Locked before their totals are marked: a play that is being recorded either commits first, or waits and adds
        # to totals that are already marked.
        players = await tx.all(
            statements.reconciling.LOCK_PLAYERS_ON, map_key=map_key, mode=mode, after=after, most=most
        )
        if players:
            where = {"map_key": map_key, "mode": mode, "first": min(players), "last": max(players)}
            await tx.run(statements.reconciling.ADD_STALE_TOTALS, now_ms=now, **where)
        await self._advance(tx, task, mode, max(players) if len(players) == most else None, len(players), now)
        return len(players)

    async def _advance(
        self, tx: Transaction, task: Task, mode: int, last: int | None, count: int, now: int, total: int = 0
    ) -> None:
        """Move a task that handles one mode after another behind `last`, or to the next mode if `last` is None."""
        if last is not None:
            place = f"{mode} {last}"
        elif mode != MODES[-1]:
            place = f"{MODES[MODES.index(mode) + 1]} 0"
        else:
            # A play that was not committed yet when the change was made has been compared with the former record.
            await records.recompute(tx)
            await tasks.finish(tx, task)
            return
        await tasks.advance(tx, task, place, done=task.done + count, total=max(total, task.total), now_ms=now)

    async def _refresh_totals(self, tx: Transaction, most: int) -> int:
        """Compute the totals of up to `most` stale profiles. Return their number."""
        # The statement locks the players, so no play adds to the totals until the commit.
        profiles = await tx.all(statements.reconciling.STALE_TOTALS, most=most)
        if not profiles:
            return 0
        now = self._clock.now_ms()
        found = dict(
            await tx.all(
                statements.reconciling.NEW_TOTALS,
                first=min(profiles)[0],
                last=max(profiles)[0],
                loved_counts=int(self._rules.loved_counts),
            )
        )
        rows = []
        # On PostgreSQL this transaction may have waited for another worker that did the same profiles. `NEW_TOTALS` was
        # read after the wait, so it has no row for them.
        profiles = [profile for profile in profiles if profile in found]
        for user_id, mode in profiles:
            values = dict(zip(statements.reconciling.NEW_TOTALS_FIELDS, found[user_id, mode], strict=True))
            bests = await tx.all(statements.plays.WEIGHTED, user_id=user_id, mode=mode)
            pp, acc = totals(bests, values["bests"], self._rules)
            rows.append({"player_id": user_id, "in_mode": mode, "pp": pp, "acc": acc, **values})
        await tx.run_many(statements.reconciling.SET_NEW_TOTALS, rows)
        await tx.run_many(
            statements.reconciling.DROP_STALE_TOTALS,
            [{"player_id": user_id, "in_mode": mode} for user_id, mode in profiles],
        )
        for user_id in dict.fromkeys(user_id for user_id, _ in profiles):  # one row for all modes of a player
            await enqueue(tx, "ranks", user_id, now)
        return len(profiles)

    # --- a player with another visibility or country

    async def _apply_visibility(self, tx: Transaction, task: Task, most: int) -> int:
        now = self._clock.now_ms()
        user_id = task.subject
        mode, after = map(int, (task.place or f"{MODES[0]} 0").split())
        total = task.total or await tx.one(statements.reconciling.MAPS_PLAYED, user_id=user_id) or 0
        # In the order of keys, as all steps and rebuilding lock maps, so that two of them cannot deadlock.
        keys = await tx.all(statements.reconciling.LOCK_MAPS_OF, user_id=user_id, mode=mode, after=after, most=most)
        if keys:
            where = {"user_id": user_id, "mode": mode, "first": keys[0], "last": keys[-1]}
            counted = dict(await tx.all(statements.reconciling.COUNTERS_OF_MAPS, **where))
            await tx.run_many(
                statements.rebuilding.SET_MAP_COUNTERS,
                [
                    {"map_key": key, "new_plays": plays, "new_passes": passes}
                    # A map without visible plays has no row in `counted`.
                    for key, (plays, passes) in ((key, counted.get(key, (0, 0))) for key in keys)
                ],
            )
            for key in keys:
                await refresh_first_place(tx, key, mode, since_ms=now)
            await tx.run_many(COUNT_PLAYS_OF_SET, [{"map_key": key} for key in keys])
        await self._advance(tx, task, mode, keys[-1] if len(keys) == most else None, len(keys), now, total)
        return len(keys)

    async def _apply_country(self, tx: Transaction, task: Task, most: int) -> int:
        now = self._clock.now_ms()
        user_id = task.subject
        mode, after = map(int, (task.place or f"{MODES[0]} 0").split())
        total = task.total or await tx.one(statements.reconciling.PLAYS_IN_ALL, user_id=user_id) or 0
        ids = await tx.all(statements.reconciling.SCORES_OF, user_id=user_id, mode=mode, after=after, most=most)
        if ids:
            await tx.run(
                statements.reconciling.MOVE_SCORES, player_id=user_id, in_mode=mode, first=ids[0], last=ids[-1]
            )
            # Boards of countries have changed, so cached pages are invalid.
            await tx.run(BOARDS_LOOK_CHANGED)
        await self._advance(tx, task, mode, ids[-1] if len(ids) == most else None, len(ids), now, total)
        return len(ids)

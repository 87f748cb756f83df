"""Does in steps what a change of a map or a player leaves to be computed again, beside live play.

    status of a map        its first places; every profile with a best there becomes a row of `stale_totals`
    stale totals           pp, accuracy, ranked score, grades and best combo, from the profile's bests; its ranks follow
    visibility of a player counters and first places of each map that the player has played
    country of a player    the country on each of the player's scores

A step is one short transaction that computes from the rows as they are, under the same locks as a play: on the player
for totals, on the map for counters and first places. So the result does not depend on whether a play comes before or
after the step. A step that is repeated, or a change that comes twice, changes nothing more. Steps are sized so that
each takes about `STEP_S`, and the job rests as long as it worked, so that others' writes have their turn.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Final, TypeVar

import msgspec

from kiai.accounts.visibility import BOARDS_LOOK_CHANGED
from kiai.beatmaps import MAP_STATUS
from kiai.clock import Clock
from kiai.failpoints import Reach, nothing_fails
from kiai.osu.modes import MODES
from kiai.scores import statements
from kiai.scores.recording import Rules, settle_first_place, totals
from kiai.scores.standing import COUNTRY, VISIBILITY
from kiai.storage import tasks
from kiai.storage.outbox import tell
from kiai.storage.port import Database, Taken, Transaction
from kiai.storage.tasks import Overtaken, Task, Tasks

T = TypeVar("T")

STEP_S: Final = 0.01
LEAST: Final = 1
MOST: Final = 500
LOOKED_AT: Final = 50  # tasks, for one that can be done
TURN_S: Final = 5.0
COUNTED_MAX: Final = 10_000


class Waiting(msgspec.Struct, frozen=True):
    """What is still to be done: `totals` is counted up to `COUNTED_MAX`. `since_ms`: since when the first waits."""

    tasks: Sequence[Task]
    totals: int
    since_ms: int | None

    @property
    def left(self) -> int:
        """Totals, maps and scores that wait, as far as they are known."""
        return self.totals + sum(max(1, one.total - one.done) for one in self.tasks)


class Settling:
    """The job behind changes of statuses, restrictions and countries. Several may run at once."""

    def __init__(self, database: Database, rules: Rules, clock: Clock, reach: Reach = nothing_fails) -> None:
        self._database = database
        self._rules = rules
        self._clock = clock
        self._reach = reach
        self._tasks = Tasks(database)
        self._steps: dict[str, Callable[[Transaction, Task, int], Awaitable[int]]] = {
            MAP_STATUS: self._rejudge,
            VISIBILITY: self._show,
            COUNTRY: self._move,
        }
        self._sizes: dict[str, int] = {}

    async def waiting(self) -> Waiting:
        """What is still to be done."""
        found = await self._tasks.waiting()
        counted = await self._database.one(statements.STALE_TOTALS_COUNTED, most=COUNTED_MAX)
        assert counted is not None
        count, since_ms = counted
        begun = [one.begun_at_ms for one in found] + ([since_ms] if since_ms is not None else [])
        return Waiting(found, count, min(begun, default=None))

    async def players_on(self, map_keys: Sequence[int]) -> int:
        """How many players have a best on any of these maps: whose totals follow a status."""
        players: set[int] = set()
        for key in map_keys:
            players.update(await self._database.all(statements.PLAYERS_ON, map_key=key))
        return len(players)

    async def work(self, *, rest: bool = True) -> None:
        """Does what waits, for a few seconds at most, and rests as long as it works. A job's work.

        A task that fails leaves the others their turn; its error is raised at the end.
        """
        until = perf_counter() + TURN_S
        failed: dict[tuple[str, int], Exception] = {}
        while perf_counter() < until:
            began = perf_counter()
            if not await self.step(failed):
                break
            await asyncio.sleep(perf_counter() - began if rest else 0)
        for error in failed.values():
            raise error

    async def finish(self) -> None:
        """Does all that waits, without rests."""
        while (await self.waiting()).left:
            await self.work(rest=False)

    async def step(self, failed: dict[tuple[str, int], Exception]) -> bool:
        """One step of the oldest task, and one of the totals; whether there was anything to do.

        Tasks in `failed` are left alone; one that fails now is added.
        """
        waiting = await self._tasks.waiting(LOOKED_AT)
        task = next((one for one in waiting if one.kind in self._steps and (one.kind, one.subject) not in failed), None)
        if task is not None:
            step = self._steps[task.kind]
            try:
                await self._sized(task.kind, lambda tx, most: step(tx, task, most))
            except (Overtaken, Taken):
                pass  # another worker was faster
            except Exception as error:
                failed[task.kind, task.subject] = error
        return await self._sized("totals", self._retotal) > 0 or task is not None

    async def _sized(self, kind: str, body: Callable[[Transaction, int], Awaitable[int]]) -> int:
        """Runs a step over as many rows as are likely to take `STEP_S`; how many it did."""
        most = self._sizes.get(kind, 8)

        async def step(tx: Transaction) -> int:
            count = await body(tx, most)
            self._reach(f"settle.{kind}")
            return count

        began = perf_counter()
        count = await self._database.transaction(step)
        self._reach("settle.committed")
        took = perf_counter() - began
        if took > STEP_S:
            self._sizes[kind] = max(LEAST, most // 2)
        elif count >= most and took < STEP_S / 2:
            self._sizes[kind] = min(MOST, most * 2)
        return count

    # --- a map with another status

    async def _rejudge(self, tx: Transaction, task: Task, most: int) -> int:
        now = self._clock.now_ms()
        map_key = task.subject
        if not task.place:
            await tx.one(statements.LOCK_MAP, map_key=map_key)
            for mode in MODES:
                await settle_first_place(tx, map_key, mode, since_ms=now)
            await tasks.advance(tx, task, f"{MODES[0]} 0", done=0, total=0, now_ms=now)
            return len(MODES)
        mode, after = map(int, task.place.split())
        players = await tx.all(statements.LOCK_PLAYERS_ON, map_key=map_key, mode=mode, after=after, most=most)
        if players:
            where = {"map_key": map_key, "mode": mode, "first": min(players), "last": max(players)}
            await tx.run(statements.NOTE_STALE_TOTALS, now_ms=now, **where)
        await self._next(tx, task, mode, max(players) if len(players) == most else None, len(players), now)
        return len(players)

    async def _next(
        self, tx: Transaction, task: Task, mode: int, last: int | None, count: int, now: int, total: int = 0
    ) -> None:
        """Moves a task that goes mode by mode: behind `last`, or to the next mode when this one is done (None)."""
        if last is not None:
            place = f"{mode} {last}"
        elif mode != MODES[-1]:
            place = f"{MODES[MODES.index(mode) + 1]} 0"
        else:
            await tasks.finish(tx, task)
            return
        await tasks.advance(tx, task, place, done=task.done + count, total=max(total, task.total), now_ms=now)

    async def _retotal(self, tx: Transaction, most: int) -> int:
        """Computes the totals of some profiles; how many."""
        profiles = await tx.all(statements.STALE_TOTALS, most=most)
        if not profiles:
            return 0
        now = self._clock.now_ms()
        found = dict(
            await tx.all(
                statements.RETOTALLED,
                first=min(profiles)[0],
                last=max(profiles)[0],
                loved_counts=int(self._rules.loved_counts),
            )
        )
        rows = []
        profiles = [one for one in profiles if one in found]  # another worker may have been faster
        for user_id, mode in profiles:
            values = dict(zip(statements.RETOTALLED_FIELDS, found[user_id, mode], strict=True))
            bests = await tx.all(statements.WEIGHTED, user_id=user_id, mode=mode)
            pp, acc = totals(bests, values["bests"], self._rules)
            rows.append({"player_id": user_id, "in_mode": mode, "pp": pp, "acc": acc, **values})
        await tx.many(statements.SET_RETOTALLED, rows)
        await tx.many(
            statements.DROP_STALE_TOTALS, [{"player_id": user_id, "in_mode": mode} for user_id, mode in profiles]
        )
        for user_id in dict.fromkeys(user_id for user_id, _ in profiles):
            await tell(tx, "ranks", user_id, now)
        return len(profiles)

    # --- a player who is hidden or shown, or lives elsewhere

    async def _show(self, tx: Transaction, task: Task, most: int) -> int:
        now = self._clock.now_ms()
        user_id = task.subject
        mode, after = map(int, (task.place or f"{MODES[0]} 0").split())
        total = task.total or await tx.one(statements.MAPS_PLAYED, user_id=user_id) or 0
        keys = await tx.all(statements.LOCK_MAPS_OF, user_id=user_id, mode=mode, after=after, most=most)
        if keys:
            where = {"user_id": user_id, "mode": mode, "first": keys[0], "last": keys[-1]}
            counted = dict(await tx.all(statements.COUNTERS_OF_MAPS, **where))
            await tx.many(
                statements.SET_MAP_COUNTERS,
                [
                    {"map_key": key, "new_plays": plays, "new_passes": passes}
                    for key, (plays, passes) in ((key, counted.get(key, (0, 0))) for key in keys)
                ],
            )
            for key in keys:
                await settle_first_place(tx, key, mode, since_ms=now)
        await self._next(tx, task, mode, keys[-1] if len(keys) == most else None, len(keys), now, total)
        return len(keys)

    async def _move(self, tx: Transaction, task: Task, most: int) -> int:
        now = self._clock.now_ms()
        user_id = task.subject
        mode, after = map(int, (task.place or f"{MODES[0]} 0").split())
        total = task.total or await tx.one(statements.PLAYS_IN_ALL, user_id=user_id) or 0
        ids = await tx.all(statements.SCORES_OF, user_id=user_id, mode=mode, after=after, most=most)
        if ids:
            await tx.run(statements.MOVE_SCORES, player_id=user_id, in_mode=mode, first=ids[0], last=ids[-1])
            await tx.run(BOARDS_LOOK_CHANGED)
        await self._next(tx, task, mode, ids[-1] if len(ids) == most else None, len(ids), now, total)
        return len(ids)

"""The jobs of clans: what ends by itself, the clans of owners who are restricted for a month, and wrong totals."""

import time
from collections.abc import Callable
from typing import Final

from kiai.clans import statements as sql
from kiai.clans.acts import ClanActs
from kiai.clans.model import DAY_MS, ENDED_HISTORY_DAYS, INHERIT_AFTER_DAYS
from kiai.clans.service import Clans
from kiai.clock import Clock
from kiai.errors import NotFound
from kiai.storage.port import Command, Database, Query, Transaction, Value

EVERY_S: Final = 60.0
TOTALS_EVERY_S: Final = 5.0
ROUND_EVERY_S: Final = 3_600.0


class TotalsCheck:
    """Compares the totals of all clans with the profiles of their members, a few clans in each run.

    The outbox keeps the totals right, at a cost that depends on what has changed. The check finds what it has missed,
    e.g. after another formula was set. A round over all clans begins at the start of the server, and `ROUND_EVERY_S`
    seconds after the end of the one before.
    """

    def __init__(self, clans: Clans, now: Callable[[], float] = time.monotonic) -> None:
        self._clans = clans
        self._now = now
        self._after = 0
        self._due = now()

    async def run(self) -> None:
        """Check the next clans. A job calls this."""
        if self._now() < self._due:
            return
        last = await self._clans.refresh_next(self._after)
        if last is None:
            self._due = self._now() + ROUND_EVERY_S
        self._after = last or 0


class ClanUpkeep:
    """Deletes expired rows in batches, and lets members inherit."""

    def __init__(self, database: Database, acts: ClanActs, clock: Clock) -> None:
        self._database = database
        self._acts = acts
        self._clock = clock

    async def run(self) -> None:
        """Do what is due. A job calls this."""
        now = self._clock.now_ms()
        await self._delete(sql.EXPIRED, sql.UNINVITE, now_ms=now)
        await self._delete(sql.UNRESERVED, sql.RELEASE, now_ms=now)
        await self._delete(sql.ENDED, sql.FORGET, before_ms=now - ENDED_HISTORY_DAYS * DAY_MS)
        await self._watch_owners(now)

    async def _delete(self, due: Query[dict[str, Value]], command: Command, **params: Value) -> None:
        while rows := await self._database.all(due, **params):
            found = rows

            async def body(tx: Transaction, rows: list[dict[str, Value]] = found) -> None:
                await tx.run_many(command, rows)

            await self._database.transaction(body)

    async def _watch_owners(self, now: int) -> None:
        """Note since when an owner is restricted. After 30 days the clan goes to another member."""
        changed = await self._database.all(sql.AWAY)
        if changed:

            async def note(tx: Transaction) -> None:
                await tx.run_many(
                    sql.SET_AWAY,
                    [{"of_clan": clan_id, "since": now if away else None} for clan_id, away in changed],
                )

            await self._database.transaction(note)
        before = now - INHERIT_AFTER_DAYS * DAY_MS
        for clan_id in await self._database.all(sql.LONG_AWAY, before_ms=before):
            try:
                await self._acts.inherit(clan_id, before)
            except NotFound:  # disbanded in the meantime
                continue

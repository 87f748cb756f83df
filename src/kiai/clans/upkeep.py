"""The job of clans: what ends by itself, and the clans of owners who are restricted for a month."""

from typing import Final

from kiai.clans import statements as sql
from kiai.clans.acts import ClanActs
from kiai.clans.model import DAY_MS, ENDED_HISTORY_DAYS, INHERIT_AFTER_DAYS
from kiai.clock import Clock
from kiai.errors import NotFound
from kiai.storage.port import Command, Database, Query, Transaction, Value

EVERY_S: Final = 60.0


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

"""The history of a clan: who founded, joined and left it, and what changed."""

import msgspec
from sqlalchemy import bindparam, func, select

from kiai.accounts import Accounts
from kiai.accounts.queries import NAMES_MAX
from kiai.clans.model import HISTORY_MAX
from kiai.clans.statements import HISTORY
from kiai.storage.port import Database, Lane, Query, scalar
from kiai.storage.tables import clan_history

_rows = select(clan_history.c.id).where(clan_history.c.clan_id == bindparam("clan_id")).limit(HISTORY_MAX).subquery()
_COUNT = Query(select(func.count()).select_from(_rows), scalar, lane=Lane.BOUNDED)
ID_END = 2**63 - 1


class ClanHistoryEntry(msgspec.Struct, frozen=True):
    """An act in a clan at `at_ms` (unix ms). `player` and `actor` are (id, name), or None without a player.

    `before` and `after` are the values of a rename, a new tag or a new form of joining, otherwise "".
    """

    id: int
    at_ms: int
    kind: str
    player: tuple[int, str] | None
    actor: tuple[int, str] | None
    before: str
    after: str


class ClanHistory:
    """Reads the histories of clans, also of those that were disbanded in the last 90 days."""

    def __init__(self, database: Database, accounts: Accounts) -> None:
        self._database = database
        self._accounts = accounts

    async def page(self, clan_id: int, *, before: int = ID_END, limit: int) -> tuple[list[ClanHistoryEntry], int, int]:
        """Return up to `limit` entries with ids below `before`, the newest first.

        Also return the id to continue at, 0 at the end, and the number of all entries. Entries about hidden players are
        left out.
        """
        rows = await self._database.all(HISTORY, clan_id=clan_id, until=before, limit=limit)
        ids = sorted({id_ for row in rows for id_ in (row.player_id, row.actor_id) if id_})
        names: dict[int, str] = {}
        for start in range(0, len(ids), NAMES_MAX):
            names |= await self._accounts.names_of(ids[start : start + NAMES_MAX])
        found = [
            ClanHistoryEntry(
                row.id,
                row.at_ms,
                row.kind,
                (row.player_id, names[row.player_id]) if row.player_id else None,
                (row.actor_id, names[row.actor_id]) if row.actor_id in names else None,
                row.before,
                row.after,
            )
            for row in rows
            if not row.player_id or row.player_id in names
        ]
        following = rows[-1].id if len(rows) == limit else 0
        return found, following, await self._database.one(_COUNT, clan_id=clan_id) or 0

"""Search of clans for staff that manages them."""

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import bindparam, select

from kiai.accounts.name_index import NameKind, range_of, subjects
from kiai.clans import Clan
from kiai.osu.numbers import whole_number
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority
from kiai.staff.clans import PERMISSION
from kiai.storage.port import Database, Lane, Query, columns_for
from kiai.storage.tables import clans, users

PAGE: Final = 50


class OwnedClan(msgspec.Struct, frozen=True):
    """A clan with the name of its owner, who may be hidden."""

    clan: Clan
    owner: str


class FoundClans(msgspec.Struct, frozen=True):
    """A page of clans. `before` is the cursor of the next page, None at the end."""

    clans: Sequence[OwnedClan]
    before: int | None = None


def _owned(*row: object) -> OwnedClan:
    return OwnedClan(Clan(*row[:-1]), str(row[-1]))  # type: ignore[arg-type]


_columns = select(*columns_for(Clan, clans), users.c.name).select_from(
    clans.join(users, users.c.id == clans.c.owner_id)
)
_NEWEST: Final = Query(
    _columns.where(clans.c.id < bindparam("before")).order_by(clans.c.id.desc()).limit(PAGE + 1),
    _owned,
    scans="it reads the ids up to the end of the page",
)
_BY_ID: Final = Query(_columns.where(clans.c.id == bindparam("id")), _owned)
_NAMED: Final = Query(_columns.where(clans.c.id.in_(subjects(NameKind.CLAN))).limit(PAGE), _owned, lane=Lane.BOUNDED)


class ClanSearch:
    """Finds clans. Every method raises NotAllowed."""

    def __init__(self, database: Database, authority: Authority) -> None:
        self._database = database
        self._authority = authority

    async def newest(self, actor: Actor, *, before: int | None = None) -> FoundClans:
        """Return the newest clans with an id below `before`."""
        await self._authority.require(actor, PERMISSION)
        found = await self._database.all(_NEWEST, before=2**31 - 1 if before is None else before)
        return FoundClans(found[:PAGE], found[PAGE - 1].clan.id if len(found) > PAGE else None)

    async def named(self, actor: Actor, text: str) -> FoundClans:
        """Return the clan with an id, and those whose name or tag contains the text, by name; at most 51."""
        await self._authority.require(actor, PERMISSION)
        found: dict[int, OwnedClan] = {}
        number = whole_number(text.removeprefix("#"))
        if number is not None and number < 2**31:
            found |= {one.clan.id: one for one in await self._database.all(_BY_ID, id=number)}
        wanted = range_of(text)
        group = [] if wanted is None else await self._database.all(_NAMED, **wanted)
        for one in sorted(group, key=lambda one: (one.clan.name.lower(), one.clan.id)):
            found.setdefault(one.clan.id, one)
        return FoundClans(list(found.values()))

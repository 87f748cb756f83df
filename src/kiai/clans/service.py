"""Clans and their members, as lists and profiles show them."""

from typing import Final

import msgspec
from sqlalchemy import bindparam, func, literal_column, select

from kiai.accounts.visibility import visible
from kiai.errors import NotFound
from kiai.storage.port import Database, Lane, Query, columns_for, only
from kiai.storage.tables import clans, stats, users

MEMBERS_MAX: Final = 500
LISTED_MAX: Final = 10_000  # a total is counted no further than this
ROLES: Final = {1: "Member", 2: "Officer", 3: "Owner"}


class Clan(msgspec.Struct, frozen=True):
    """A clan; `created_at_ms` in unix ms."""

    id: int
    name: str
    tag: str
    owner_id: int
    created_at_ms: int


class Member(msgspec.Struct, frozen=True):
    """A visible member; `clan_priv` 1 member, 2 officer, 3 owner."""

    id: int
    name: str
    country: str
    clan_priv: int


class ClanLine(msgspec.Struct, frozen=True):
    """A clan in a ranking: the sums over its visible members with pp, accuracy as their average."""

    id: int
    name: str
    tag: str
    members: int
    pp: int
    rscore: int
    tscore: int
    plays: int
    acc: float


_clan = select(*columns_for(Clan, clans))
_BY_ID = Query(_clan.where(clans.c.id == bindparam("id")), Clan)
_LISTED = Query(
    _clan.where(clans.c.id > bindparam("after"))
    .order_by(clans.c.id)
    .limit(bindparam("limit"))
    .offset(bindparam("offset")),
    Clan,
    lane=Lane.SLOW,
    scans="it walks the ids to the end of the page",
)
_first_clans = select(clans.c.id).limit(literal_column(str(LISTED_MAX))).subquery()
_COUNT = Query(
    select(func.count()).select_from(_first_clans), only, lane=Lane.SLOW, scans="it counts the first 10,000 clans"
)
_MEMBERS = Query(
    select(*columns_for(Member, users))
    .where(users.c.clan_id == bindparam("clan_id"), users.c.clan_id > literal_column("0"), visible())
    .order_by(users.c.clan_priv.desc(), users.c.id)
    .limit(MEMBERS_MAX),
    Member,
)
_STANDING = Query(
    select(
        func.count(),
        func.coalesce(func.sum(stats.c.pp), 0),
        func.coalesce(func.sum(stats.c.rscore), 0),
        func.coalesce(func.sum(stats.c.tscore), 0),
        func.coalesce(func.sum(stats.c.plays), 0),
        func.coalesce(func.avg(stats.c.acc), 0.0),
    )
    .select_from(users.join(stats, stats.c.user_id == users.c.id))
    .where(
        users.c.clan_id == bindparam("clan_id"),
        users.c.clan_id > literal_column("0"),
        stats.c.mode == bindparam("mode"),
        stats.c.pp > literal_column("0"),
        visible(),
    ),
    lambda *row: row,
)


class Clans:
    """Reads clans."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def clan(self, clan_id: int) -> Clan:
        """Raises NotFound("clan")."""
        found = await self._database.one(_BY_ID, id=clan_id)
        if found is None:
            raise NotFound("clan")
        return found

    async def members(self, clan_id: int) -> list[Member]:
        """Visible members, highest role first."""
        return await self._database.all(_MEMBERS, clan_id=clan_id)

    async def listed(self, *, limit: int, offset: int = 0, after: int = 0) -> tuple[list[Clan], int]:
        """Clans by id, and how many there are, counted up to 10,000."""
        rows = await self._database.all(_LISTED, limit=limit, offset=offset, after=after)
        return rows, await self._database.one(_COUNT) or 0

    async def standing(self, clan: Clan, mode: int) -> ClanLine:
        """A clan's sums in one mode: pp is the members' sum divided by their number plus one.

        See docs/spec/game-rules.md#clans.
        """
        found = await self._database.one(_STANDING, clan_id=clan.id, mode=mode)
        assert found is not None
        members, pp, rscore, tscore, plays, acc = found
        shared = round(int(pp) / (members + 1)) if members else 0
        return ClanLine(
            clan.id, clan.name, clan.tag, members, shared, int(rscore), int(tscore), int(plays), round(float(acc), 3)
        )

"""Clans, their members and their totals, for lists, profiles and the board of clans."""

from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, bindparam, cast, delete, func, insert, literal_column, select

from kiai.accounts.visibility import visible
from kiai.errors import NotFound
from kiai.storage.port import Command, Database, Lane, Query, Transaction, columns_for, scalar
from kiai.storage.tables import clan_totals, clans, stats, users

MEMBERS_MAX: Final = 500
LISTED_MAX: Final = 10_000  # totals are counted up to this number
JOINING: Final = {0: "closed", 1: "open", 2: "invite", 3: "request"}
ROLES: Final = {1: "Member", 2: "Officer", 3: "Owner"}


class Clan(msgspec.Struct, frozen=True):
    """A clan. `created_at_ms` is in unix ms, `joining` a key of `JOINING`."""

    id: int
    name: str
    tag: str
    owner_id: int
    created_at_ms: int
    joining: int
    description: str


class Member(msgspec.Struct, frozen=True):
    """A visible member of a clan. `clan_priv` is a key of `ROLES`."""

    id: int
    name: str
    country: str
    clan_priv: int


class ClanLine(msgspec.Struct, frozen=True):
    """The totals of a clan in a mode: sums over its visible members with pp. `acc` is their average, in percent."""

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
    scans="it reads the ids up to the end of the page",
)
_first_clans = select(clans.c.id).limit(literal_column(str(LISTED_MAX))).subquery()
_COUNT = Query(
    select(func.count()).select_from(_first_clans), scalar, lane=Lane.SLOW, scans="it counts the first 10,000 clans"
)
# `clan_id > 0` as a literal is the condition of the partial index on `users.clan_id`.
_MEMBERS = Query(
    select(*columns_for(Member, users))
    .where(users.c.clan_id == bindparam("clan_id"), users.c.clan_id > literal_column("0"), visible())
    .order_by(users.c.clan_priv.desc(), users.c.id)
    .limit(MEMBERS_MAX),
    Member,
)
_some_members = (
    select(users.c.id)
    .where(users.c.clan_id == bindparam("clan_id"), users.c.clan_id > literal_column("0"), visible())
    .limit(literal_column(str(MEMBERS_MAX)))
    .subquery()
)
_SIZE = Query(select(func.count()).select_from(_some_members), scalar)
# The members by `ix_users_clan`, then the primary key of `stats` for each: at most 500 rows or so; the totals are
# computed for each request and never stored.
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


def _sum(column: Any) -> Any:
    return cast(func.sum(column), BigInteger)


_SUMS = Query(
    select(
        stats.c.mode,
        users.c.clan_id,
        func.count(),
        _sum(stats.c.pp),
        _sum(stats.c.rscore),
        _sum(stats.c.tscore),
        _sum(stats.c.plays),
        func.avg(stats.c.acc),
    )
    .select_from(users.join(clans, clans.c.id == users.c.clan_id).join(stats, stats.c.user_id == users.c.id))
    .where(users.c.clan_id > literal_column("0"), stats.c.pp > literal_column("0"), visible())
    .group_by(stats.c.mode, users.c.clan_id)
    .order_by(stats.c.mode, users.c.clan_id),
    lambda *row: row,
    lane=Lane.JOB,
    scans="a job sums the profiles of all members",
)
_TOTALS: Final = ("mode", "clan_id", "members", "pp", "rscore", "tscore", "plays", "acc")
_STORED_TOTALS = Query(
    select(*[clan_totals.c[name] for name in _TOTALS]).order_by(clan_totals.c.mode, clan_totals.c.clan_id),
    lambda *row: dict(zip(_TOTALS, row, strict=True)),
    lane=Lane.JOB,
    scans="a job compares all totals",
)
_CLEAR_TOTALS = Command(delete(clan_totals), scans="the job that writes all rows again")
_WRITE_TOTALS = Command(insert(clan_totals).values({name: bindparam(name) for name in _TOTALS}))
# Keeps clans from being removed until the totals are committed. A clan that is being removed is waited for, and is not
# among the rows then.
KEPT_CLANS: Final = Query(
    select(clans.c.id).order_by(clans.c.id).with_for_update(read=True, key_share=True),
    scalar,
    lane=Lane.JOB,
    scans="a job writes the totals of all clans",
)
# By `ix_clan_totals_pp`.
_BOARD = Query(
    select(
        clans.c.id,
        clans.c.name,
        clans.c.tag,
        *[clan_totals.c[name] for name in ("members", "pp", "rscore", "tscore", "plays", "acc")],
    )
    .select_from(clan_totals.join(clans, clans.c.id == clan_totals.c.clan_id))
    .where(clan_totals.c.mode == bindparam("mode"))
    .order_by(clan_totals.c.pp.desc(), clan_totals.c.clan_id)
    .limit(bindparam("limit"))
    .offset(bindparam("offset")),
    ClanLine,
    lane=Lane.BOUNDED,
)
_on_board = (
    select(clan_totals.c.clan_id)
    .where(clan_totals.c.mode == bindparam("mode"))
    .limit(literal_column(str(LISTED_MAX)))
    .subquery()
)
_BOARD_COUNT = Query(select(func.count()).select_from(_on_board), scalar, lane=Lane.BOUNDED)


class Clans:
    """Reads clans, and keeps the totals by which their board is sorted."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def board(self, mode: int, *, limit: int, offset: int = 0) -> tuple[list[ClanLine], int]:
        """Return clans with ranked members by pp (docs/spec/game-rules.md#clans), and their number up to 10,000.

        The totals are those of the last `refresh_totals`, a few seconds old.
        """
        rows = await self._database.all(_BOARD, mode=mode, limit=limit, offset=offset)
        return rows, await self._database.one(_BOARD_COUNT, mode=mode) or 0

    async def refresh_totals(self) -> None:
        """Compute the totals of all clans, and write them if they have changed."""
        totals = [
            {
                "mode": mode,
                "clan_id": clan_id,
                "members": members,
                "pp": _shared_pp(pp, members),
                "rscore": rscore,
                "tscore": tscore,
                "plays": plays,
                "acc": round(float(acc), 3),
            }
            for mode, clan_id, members, pp, rscore, tscore, plays, acc in await self._database.all(_SUMS)
        ]
        if totals == await self._database.all(_STORED_TOTALS):
            return

        async def body(tx: Transaction) -> None:
            # One may be disbanded between the sums and this write.
            kept = set(await tx.all(KEPT_CLANS))
            await tx.run(_CLEAR_TOTALS)
            await tx.run_many(_WRITE_TOTALS, [row for row in totals if row["clan_id"] in kept])

        await self._database.transaction(body)

    async def clan(self, clan_id: int) -> Clan:
        """Return a clan by its id. Raises NotFound("clan")."""
        found = await self._database.one(_BY_ID, id=clan_id)
        if found is None:
            raise NotFound("clan")
        return found

    async def size(self, clan_id: int) -> int:
        """Return the number of visible members of a clan, at most 500."""
        return await self._database.one(_SIZE, clan_id=clan_id) or 0

    async def members(self, clan_id: int) -> list[Member]:
        """Return the visible members of a clan, highest role first, then by id; at most 500."""
        return await self._database.all(_MEMBERS, clan_id=clan_id)

    async def listed(self, *, limit: int, offset: int = 0, after: int = 0) -> tuple[list[Clan], int]:
        """Return clans with ids above `after`, by id, and the number of all clans, counted up to 10,000."""
        rows = await self._database.all(_LISTED, limit=limit, offset=offset, after=after)
        return rows, await self._database.one(_COUNT) or 0

    async def standing(self, clan: Clan, mode: int) -> ClanLine:
        """Return the totals of a clan in a mode (docs/spec/game-rules.md#clans).

        pp is the sum over the members, divided by their number plus one.
        """
        found = await self._database.one(_STANDING, clan_id=clan.id, mode=mode)
        assert found is not None
        members, pp, rscore, tscore, plays, acc = found
        # PostgreSQL returns sums as Decimal.
        shared = _shared_pp(int(pp), members)
        return ClanLine(
            clan.id, clan.name, clan.tag, members, shared, int(rscore), int(tscore), int(plays), round(float(acc), 3)
        )


def _shared_pp(pp: int, members: int) -> int:
    """Return the pp of a clan: the sum over its members, divided by their number plus one."""
    return round(pp / (members + 1)) if members else 0

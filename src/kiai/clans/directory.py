"""The page of a clan: its members with their figures in a mode, and the newest first places that they hold.

Reads the profiles of at most `MEMBERS_MAX` members through the index of the clan.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, Select, and_, bindparam, func, literal_column, or_, select, union_all

from kiai.accounts.model import Player
from kiai.accounts.name_index import NameKind, range_of, subjects
from kiai.accounts.visibility import player_columns, visible, with_clan
from kiai.beatmaps.model import MapSummary
from kiai.clans import statements as sql
from kiai.clans.service import LISTED_MAX, Clan, ClanLine
from kiai.errors import NotFound
from kiai.scores.listing_parts import mapped, score_columns
from kiai.scores.model import MappedScore
from kiai.storage.port import Database, Lane, Query, columns_for, scalar
from kiai.storage.tables import clan_totals, clans, first_places, maps, scores, stats, users

MEMBERS_MAX: Final = 50
"""Members that a page shows. A clan has at most 25."""
FIRSTS_MAX: Final = 10
FOUND_MAX: Final = 50

_PLAYER_WIDTH: Final = len(Player.__struct_fields__)


class MemberFigures(msgspec.Struct, frozen=True):
    """A visible member of a clan and the figures in a mode, all 0 without plays. `role` is a key of `ROLES`."""

    player: Player
    role: int
    joined_at_ms: int | None
    pp: int
    acc: float
    plays: int


class ClanFirst(msgspec.Struct, frozen=True):
    """A first place that a member holds."""

    player: Player
    played: MappedScore


class Approach(msgspec.Struct, frozen=True):
    """The invitation and the request of a player without a clan. `seats` are taken, also by hidden members.

    `invited_until_ms` is the end of an invitation, which may have passed. Both times are None without one.
    """

    seats: int
    invited_until_ms: int | None
    requested_at_ms: int | None


class Desk(msgspec.Struct, frozen=True):
    """The code of a clan, None before the first one, and the requests, the oldest first. For officers."""

    code: str | None
    requests: list[sql.Asking]


_clan = select(*columns_for(Clan, clans))
_BY_TAG: Final = Query(_clan.where(clans.c.tag == bindparam("tag")), Clan)
_FOUND: Final = Query(_clan.where(clans.c.id.in_(subjects(NameKind.CLAN))).limit(FOUND_MAX), Clan, lane=Lane.BOUNDED)
# `clan_id > 0` as a literal is the condition of the partial index on `users.clan_id`.
_MEMBERS: Final = Query(
    select(
        *player_columns(),
        users.c.clan_priv,
        users.c.clan_joined_at_ms,
        func.coalesce(stats.c.pp, 0),
        func.coalesce(stats.c.acc, 0.0),
        func.coalesce(stats.c.plays, 0),
    )
    .select_from(
        with_clan(users).outerjoin(
            stats, (stats.c.user_id == users.c.id) & (stats.c.mode == bindparam("mode", type_=stats.c.mode.type))
        )
    )
    .where(users.c.clan_id == bindparam("clan_id"), users.c.clan_id > literal_column("0"), visible())
    .order_by(users.c.clan_priv.desc(), users.c.clan_joined_at_ms, users.c.id)
    .limit(MEMBERS_MAX),
    lambda *row: MemberFigures(Player(*row[:_PLAYER_WIDTH]), *row[_PLAYER_WIDTH:]),
    lane=Lane.BOUNDED,
)

_TOTALS: Final = ("members", "pp", "rscore", "tscore", "plays", "acc")
_totals = [func.coalesce(clan_totals.c[name], 0) for name in _TOTALS]
_LINES: Final = Query(
    select(clans.c.id, clans.c.name, clans.c.tag, *_totals, clans.c.icon, clans.c.joining)
    .select_from(
        clans.outerjoin(
            clan_totals,
            (clan_totals.c.clan_id == clans.c.id)
            & (clan_totals.c.mode == bindparam("mode", type_=clan_totals.c.mode.type)),
        )
    )
    .where(clans.c.id.in_([bindparam(f"id{n}", type_=clans.c.id.type) for n in range(FOUND_MAX)]))
    .limit(FOUND_MAX),
    lambda *row: (ClanLine(*row[:-1]), row[-1]),
    lane=Lane.BOUNDED,
)
_OWN_PP: Final = Query(
    select(clan_totals.c.pp).where(
        clan_totals.c.mode == bindparam("mode"), clan_totals.c.clan_id == bindparam("clan_id")
    ),
    scalar,
)
# By `ix_clan_totals_pp`.
_better = (
    select(literal_column("1"))
    .select_from(clan_totals)
    .where(
        clan_totals.c.mode == bindparam("mode"),
        or_(
            clan_totals.c.pp > bindparam("pp"),
            and_(clan_totals.c.pp == bindparam("pp"), clan_totals.c.clan_id < bindparam("clan_id")),
        ),
    )
    .limit(literal_column(str(LISTED_MAX)))
    .subquery()
)
_BETTER: Final = Query(select(func.count()).select_from(_better), scalar, lane=Lane.BOUNDED)


def _newest_of(number: int) -> Select[Any]:
    """Return the newest first places of one member, by `ix_first_places_of`."""
    newest = (
        select(first_places.c.score_id)
        .where(
            first_places.c.user_id == bindparam(f"id{number}", type_=BigInteger()),
            first_places.c.mode == bindparam("mode"),
        )
        .order_by(first_places.c.score_id.desc())
        .limit(FIRSTS_MAX)
    )
    return select(newest.subquery())


# A branch for each member: each reads a few rows of the index, however many first places the member holds.
_newest = union_all(*[_newest_of(number) for number in range(MEMBERS_MAX)]).subquery("newest")
_ids = select(_newest.c.score_id).order_by(_newest.c.score_id.desc()).limit(FIRSTS_MAX).subquery("ids")
_CODE: Final = Query(select(clans.c.code).where(clans.c.id == bindparam("id")), scalar)
_FIRSTS: Final = Query(
    select(*score_columns(), *columns_for(MapSummary, maps))
    .select_from(_ids.join(scores, scores.c.id == _ids.c.score_id).join(maps, maps.c.key == scores.c.map_key))
    .order_by(_ids.c.score_id.desc()),
    mapped,
    lane=Lane.BOUNDED,
)


class ClanDirectory:
    """Reads clans for their pages."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def with_tag(self, tag: str) -> Clan:
        """Return a clan by its tag, in any case. Raises NotFound("clan")."""
        found = await self._database.one(_BY_TAG, tag=tag.upper())
        if found is None:
            raise NotFound("clan")
        return found

    async def search(self, text: str) -> list[Clan]:
        """Return clans whose name or tag contains the text, by name; at most 50."""
        wanted = range_of(text)
        found = [] if wanted is None else await self._database.all(_FOUND, **wanted)
        return sorted(found, key=lambda clan: (clan.name.lower(), clan.id))

    async def lines(self, clan_ids: Sequence[int], mode: int) -> list[tuple[ClanLine, int]]:
        """Return the totals of at most 50 clans in a mode, in the order of the ids, each with its `joining`."""
        ids = [*clan_ids[:FOUND_MAX], *[0] * (FOUND_MAX - len(clan_ids))]
        found = await self._database.all(_LINES, mode=mode, **{f"id{n}": ids[n] for n in range(FOUND_MAX)})
        by_id = {line.id: (line, joining) for line, joining in found}
        return [by_id[clan_id] for clan_id in clan_ids if clan_id in by_id]

    async def place(self, clan_id: int, mode: int) -> int | None:
        """Return the place of a clan on the board of a mode, at most 10,001; None without ranked members."""
        pp = await self._database.one(_OWN_PP, mode=mode, clan_id=clan_id)
        if pp is None:
            return None
        return 1 + (await self._database.one(_BETTER, mode=mode, clan_id=clan_id, pp=pp) or 0)

    async def members(self, clan_id: int, mode: int) -> list[MemberFigures]:
        """Return the visible members of a clan: the highest role first, then the longest membership; at most 50."""
        return await self._database.all(_MEMBERS, clan_id=clan_id, mode=mode)

    async def first_places(self, members: list[MemberFigures], mode: int) -> list[ClanFirst]:
        """Return the 10 newest first places that these members hold in a mode, the newest first."""
        players = {member.player.id: member.player for member in members}
        ids = [*players, *[0] * (MEMBERS_MAX - len(players))]
        found = await self._database.all(_FIRSTS, mode=mode, **{f"id{n}": ids[n] for n in range(MEMBERS_MAX)})
        return [ClanFirst(players[one.score.user_id], one) for one in found if one.score.user_id in players]

    async def approach(self, clan_id: int, user_id: int) -> Approach:
        """Return the invitation and the request of a player, and the number of seats that are taken."""
        return Approach(
            await self._database.one(sql.SEATS, clan_id=clan_id) or 0,
            await self._database.one(sql.INVITED_UNTIL, clan_id=clan_id, user_id=user_id),
            await self._database.one(sql.REQUESTED_AT, clan_id=clan_id, user_id=user_id),
        )

    async def desk(self, clan_id: int) -> Desk:
        """Return the code and the requests of a clan. The caller checks that an officer asks."""
        code = await self._database.one(_CODE, id=clan_id)
        return Desk(code, await self._database.all(sql.ASKING, clan_id=clan_id))

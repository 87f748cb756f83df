"""Version 2: endpoints about clans."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from kiai.clans import Clan, ClanDirectory, Clans
from kiai.clans.directory import MemberFigures
from kiai.clans.service import JOINING
from kiai.faces.api.operation import Caller, Operation
from kiai.faces.api.params import NoParameters
from kiai.faces.api.replies import utc
from kiai.faces.api.v2.paging import (
    ID_IN_PATH,
    NoMeta,
    PageMeta,
    PageQuery,
    Success,
    get,
    mode_in_path,
    number_in_path,
)
from kiai.scores.ranks import Ranks


class ClanData(msgspec.Struct, frozen=True):
    """A clan. `owner` is the id of a player, `created_at` is in UTC.

    `join` and `joining` are the same: how players become members. `icon_url` is the address of the icon, a square PNG
    of at most 256 pixels, null without one. It changes with the icon.
    """

    id: int
    name: str
    tag: str
    owner: int
    created_at: str
    joining: Literal["closed", "open", "invite", "request"]
    description: str
    join: Literal["closed", "open", "invite", "request"]
    icon_url: str | None


class ClansQuery(PageQuery, frozen=True):
    """The parameters of /clans."""

    q: Annotated[str, Meta(min_length=1, max_length=32, description="A part of the name or tag.")] | None = None


class ClansPage(msgspec.Struct, frozen=True):
    """The response of /clans, sorted by id; with `q` by name, at most 50."""

    status: Success
    data: list[ClanData]
    meta: PageMeta


class ClanPage(msgspec.Struct, frozen=True):
    """The response of /clans/{id}."""

    status: Success
    data: ClanData
    meta: NoMeta


class MembersQuery(msgspec.Struct, frozen=True):
    """The parameters of /clans/{id}/members."""

    mode: Annotated[int, Meta(ge=0, le=8, description="The mode of the figures: 0 to 6 or 8.")] = 0


class MemberData(msgspec.Struct, frozen=True):
    """A member of a clan. `clan_priv` is 1 for members, 2 for officers, 3 for the owner.

    `joined_at` is in UTC, null where it is not known. The other figures are those of the mode; `rank` is null without a
    rank, `acc` in percent.
    """

    id: int
    name: str
    country: str
    clan_priv: int
    joined_at: str | None
    rank: int | None
    pp: int
    acc: float
    plays: int


class MembersPage(msgspec.Struct, frozen=True):
    """The response of /clans/{id}/members. The list is complete, because the size of a clan is bounded."""

    status: Success
    data: list[MemberData]
    meta: PageMeta


class ClanStandingQuery(msgspec.Struct, frozen=True):
    """The parameters of /clans/{id}/leaderboard."""

    mode: Annotated[int, Meta(ge=0, le=8, description="0 to 6 or 8.")] = 0


class ClanStanding(msgspec.Struct, frozen=True):
    """The totals of a clan in one mode.

    `pp` is the sum of the members' pp divided by the number of members plus one. `acc` is the average in percent.
    """

    id: int
    name: str
    tag: str
    members: int
    pp: int
    rscore: int
    tscore: int
    plays: int
    acc: float


class ClanStandingPage(msgspec.Struct, frozen=True):
    """The response of /clans/{id}/leaderboard."""

    status: Success
    data: ClanStanding
    meta: NoMeta


class ClansV2:
    """The endpoints about clans. The first line of a handler's docstring is the summary in the OpenAPI document."""

    def __init__(self, clans: Clans, directory: ClanDirectory, ranks: Ranks, site_url: str) -> None:
        self._clans = clans
        self._directory = directory
        self._ranks = ranks
        self._site_url = site_url

    async def clans(self, caller: Caller, query: ClansQuery) -> ClansPage:
        """Clans by id, or those whose name or tag contains a text."""
        first = (query.page - 1) * query.page_size
        if query.q is not None:
            named = await self._directory.search(query.q)
            found, total = named[first : first + query.page_size], len(named)
        else:
            found, total = await self._clans.listed(limit=query.page_size, offset=first)
        return ClansPage("success", [self._data(clan) for clan in found], PageMeta(total, query.page, query.page_size))

    async def clan(self, caller: Caller, query: NoParameters, id: str) -> ClanPage:  # noqa: A002
        """One clan."""
        return ClanPage("success", self._data(await self._clans.clan(number_in_path("id", id))), NoMeta())

    async def members(self, caller: Caller, query: MembersQuery, id: str) -> MembersPage:  # noqa: A002
        """A clan's members, highest role first."""
        mode = mode_in_path(str(query.mode))  # reads 7 as 8
        clan = await self._clans.clan(number_in_path("id", id))
        found = await self._directory.members(clan.id, mode)
        ranks = await self._ranks.of_many([member.player.id for member in found], mode)
        data = [_member(member, rank.rank) for member, rank in zip(found, ranks, strict=True)]
        # One page contains all members; a page size of 0 would be invalid.
        return MembersPage("success", data, PageMeta(len(data), 1, max(1, len(data))))

    async def standing(self, caller: Caller, query: ClanStandingQuery, id: str) -> ClanStandingPage:  # noqa: A002
        """A clan's totals in one mode."""
        mode = mode_in_path(str(query.mode))  # reads 7 as 8
        clan = await self._clans.clan(number_in_path("id", id))
        found = await self._clans.standing(clan, mode)
        return ClanStandingPage("success", msgspec.convert(found, ClanStanding, from_attributes=True), NoMeta())

    def _data(self, clan: Clan) -> ClanData:
        joining: Any = JOINING[clan.joining]
        return ClanData(
            clan.id,
            clan.name,
            clan.tag,
            clan.owner_id,
            utc(clan.created_at_ms),
            joining,
            clan.description,
            joining,
            f"{self._site_url}{clan.icon_path}" if clan.icon_path else None,
        )

    def operations(self) -> list[Operation]:
        """Return the operations of this class."""
        return [
            get("/clans", self.clans, ClansPage, tag="clans", query=ClansQuery),
            get("/clans/{id}", self.clan, ClanPage, tag="clans", in_path={"id": ID_IN_PATH}),
            get(
                "/clans/{id}/members",
                self.members,
                MembersPage,
                tag="clans",
                query=MembersQuery,
                in_path={"id": ID_IN_PATH},
            ),
            get(
                "/clans/{id}/leaderboard",
                self.standing,
                ClanStandingPage,
                tag="clans",
                query=ClanStandingQuery,
                in_path={"id": ID_IN_PATH},
            ),
        ]


def _member(member: MemberFigures, rank: int) -> MemberData:
    player = member.player
    joined = None if member.joined_at_ms is None else utc(member.joined_at_ms)
    return MemberData(
        player.id, player.name, player.country, member.role, joined, rank or None, member.pp, member.acc, member.plays
    )

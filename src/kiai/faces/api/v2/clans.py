"""Version 2: clans."""

from typing import Annotated

import msgspec
from msgspec import Meta

from kiai.clans import Clan, Clans
from kiai.faces.api.operation import Caller, Operation
from kiai.faces.api.replies import utc
from kiai.faces.api.v2.pages import (
    ID_IN_PATH,
    NoMeta,
    Nothing,
    PageMeta,
    PageQuery,
    Success,
    get,
    mode_in_path,
    number_in_path,
)


class ClanData(msgspec.Struct, frozen=True):
    """A clan; `created_at` UTC."""

    id: int
    name: str
    tag: str
    owner: int
    created_at: str


class ClansPage(msgspec.Struct, frozen=True):
    """/clans."""

    status: Success
    data: list[ClanData]
    meta: PageMeta


class ClanPage(msgspec.Struct, frozen=True):
    """/clans/{id}."""

    status: Success
    data: ClanData
    meta: NoMeta


class MemberData(msgspec.Struct, frozen=True):
    """A member; `clan_priv` 1 member, 2 officer, 3 owner."""

    id: int
    name: str
    country: str
    clan_priv: int


class MembersPage(msgspec.Struct, frozen=True):
    """/clans/{id}/members."""

    status: Success
    data: list[MemberData]
    meta: PageMeta


class ClanStandingQuery(msgspec.Struct, frozen=True):
    """/clans/{id}/leaderboard."""

    mode: Annotated[int, Meta(ge=0, le=8, description="0 to 6 or 8.")] = 0


class ClanStanding(msgspec.Struct, frozen=True):
    """The clan in one mode: pp is the members' sum divided by their number plus one, accuracy their average."""

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
    """/clans/{id}/leaderboard."""

    status: Success
    data: ClanStanding
    meta: NoMeta


class ClansV2:
    """The handlers of this page."""

    def __init__(self, clans: Clans) -> None:
        self._clans = clans

    async def clans(self, caller: Caller, query: PageQuery) -> ClansPage:
        """Clans by id."""
        found, total = await self._clans.listed(limit=query.page_size, offset=(query.page - 1) * query.page_size)
        return ClansPage("success", [_clan(one) for one in found], PageMeta(total, query.page, query.page_size))

    async def clan(self, caller: Caller, query: Nothing, id: str) -> ClanPage:  # noqa: A002
        """One clan."""
        return ClanPage("success", _clan(await self._clans.clan(number_in_path("id", id))), NoMeta())

    async def members(self, caller: Caller, query: Nothing, id: str) -> MembersPage:  # noqa: A002
        """A clan's members, highest role first."""
        clan = await self._clans.clan(number_in_path("id", id))
        found = await self._clans.members(clan.id)
        data = [MemberData(one.id, one.name, one.country, one.clan_priv) for one in found]
        return MembersPage("success", data, PageMeta(len(data), 1, max(1, len(data))))

    async def standing(self, caller: Caller, query: ClanStandingQuery, id: str) -> ClanStandingPage:  # noqa: A002
        """What a clan's members reached together in one mode."""
        mode = mode_in_path(str(query.mode))
        clan = await self._clans.clan(number_in_path("id", id))
        found = await self._clans.standing(clan, mode)
        return ClanStandingPage("success", msgspec.convert(found, ClanStanding, from_attributes=True), NoMeta())

    def operations(self) -> list[Operation]:
        """What this page serves."""
        return [
            get("/clans", self.clans, ClansPage, tag="clans", query=PageQuery),
            get("/clans/{id}", self.clan, ClanPage, tag="clans", in_path={"id": ID_IN_PATH}),
            get("/clans/{id}/members", self.members, MembersPage, tag="clans", in_path={"id": ID_IN_PATH}),
            get(
                "/clans/{id}/leaderboard",
                self.standing,
                ClanStandingPage,
                tag="clans",
                query=ClanStandingQuery,
                in_path={"id": ID_IN_PATH},
            ),
        ]


def _clan(clan: Clan) -> ClanData:
    return ClanData(clan.id, clan.name, clan.tag, clan.owner_id, utc(clan.created_at_ms))

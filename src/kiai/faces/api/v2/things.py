"""Version 2: clans, maps, scores."""

from typing import Annotated

import msgspec
from msgspec import Meta

from kiai.accounts.model import ID_MAX
from kiai.beatmaps import Beatmap, Beatmaps
from kiai.clans import Clan, Clans
from kiai.faces.api.operation import Caller, Operation
from kiai.faces.api.replies import Number, ScoreInfoReply, score_info_reply, shortest, utc
from kiai.faces.api.v2.pages import (
    ID_IN_PATH,
    SCORE_IN_PATH,
    Cursor,
    LongCursor,
    NoMeta,
    Nothing,
    PageMeta,
    PageNumber,
    PageQuery,
    PageSize,
    Success,
    get,
    mode_in_path,
    number_in_path,
)
from kiai.scores.leaderboards import Leaderboards

_Text = Annotated[str, Meta(min_length=1, max_length=255)]


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


class MapsQuery(msgspec.Struct, frozen=True):
    """/maps."""

    set_id: Annotated[int, Meta(ge=1, le=ID_MAX)] | None = None
    status: Annotated[int, Meta(ge=0, le=5)] | None = None
    artist: _Text | None = None
    creator: _Text | None = None
    filename: _Text | None = None
    mode: Annotated[int, Meta(ge=0, le=3)] | None = None
    frozen: bool | None = None
    page: PageNumber = 1
    page_size: PageSize = 50
    cursor: Cursor | None = None


class MapData(msgspec.Struct, frozen=True):
    """A map with its file name and whether its status is set by hand."""

    id: int
    set_id: int
    status: int
    md5: str
    artist: str
    title: str
    version: str
    creator: str
    filename: str
    last_update: str
    total_length: int
    max_combo: int
    frozen: bool
    plays: int
    passes: int
    mode: int
    bpm: Number
    cs: Number
    od: Number
    ar: Number
    hp: Number
    diff: Number


class MapsPage(msgspec.Struct, frozen=True):
    """/maps."""

    status: Success
    data: list[MapData]
    meta: PageMeta


class MapPage(msgspec.Struct, frozen=True):
    """/maps/{id}."""

    status: Success
    data: MapData
    meta: NoMeta


class ScoresQuery(msgspec.Struct, frozen=True):
    """/scores."""

    map_md5: (
        Annotated[str, Meta(pattern="^[0-9a-fA-F]{32}$", extra={"allowed": "an md5 of 32 hexadecimal digits"})] | None
    ) = None
    mods: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    status: Annotated[int, Meta(ge=0, le=2)] | None = None
    mode: Annotated[int, Meta(ge=0, le=8)] | None = None
    user_id: Annotated[int, Meta(ge=1, le=ID_MAX)] | None = None
    page: PageNumber = 1
    page_size: PageSize = 50
    cursor: LongCursor | None = None


class ScoresPage(msgspec.Struct, frozen=True):
    """/scores: newest first."""

    status: Success
    data: list[ScoreInfoReply]
    meta: PageMeta


class ScorePage(msgspec.Struct, frozen=True):
    """/scores/{id}."""

    status: Success
    data: ScoreInfoReply
    meta: NoMeta


class ThingsV2:
    """The handlers of this page."""

    def __init__(self, beatmaps: Beatmaps, leaderboards: Leaderboards, clans: Clans) -> None:
        self._beatmaps = beatmaps
        self._leaderboards = leaderboards
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

    async def maps(self, caller: Caller, query: MapsQuery) -> MapsPage:
        """Maps by id."""
        names = ("set_id", "status", "artist", "creator", "filename", "mode")
        filters = {name: getattr(query, name) for name in names}
        filters["frozen"] = None if query.frozen is None else int(query.frozen)
        paged = {"after": query.cursor} if query.cursor is not None else {"offset": (query.page - 1) * query.page_size}
        found, total = await self._beatmaps.listed(filters, limit=query.page_size, **paged)
        cursor = found[-1].id if len(found) == query.page_size else None
        return MapsPage("success", [_map(one) for one in found], PageMeta(total, query.page, query.page_size, cursor))

    async def map(self, caller: Caller, query: Nothing, id: str) -> MapPage:  # noqa: A002
        """One map."""
        return MapPage("success", _map(await self._beatmaps.find(id=number_in_path("id", id))), NoMeta())

    async def scores(self, caller: Caller, query: ScoresQuery) -> ScoresPage:
        """Scores, newest first."""
        filters = {name: getattr(query, name) for name in ("mods", "status", "mode", "user_id")}
        filters["map_md5"] = query.map_md5.lower() if query.map_md5 else None
        paged = {"before": query.cursor} if query.cursor is not None else {"offset": (query.page - 1) * query.page_size}
        found, total = await self._leaderboards.listed(filters, limit=query.page_size, **paged)
        cursor = found[-1][0].id if len(found) == query.page_size else None
        data = [score_info_reply(score, md5) for score, md5 in found]
        return ScoresPage("success", data, PageMeta(total, query.page, query.page_size, cursor))

    async def score(self, caller: Caller, query: Nothing, id: str) -> ScorePage:  # noqa: A002
        """One score."""
        found = await self._leaderboards.score(number_in_path("id", id, least=0, most=2**63 - 1), caller.viewer)
        return ScorePage("success", score_info_reply(found.score, found.map_md5), NoMeta())

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
            get("/maps", self.maps, MapsPage, tag="maps", query=MapsQuery),
            get("/maps/{id}", self.map, MapPage, tag="maps", in_path={"id": ID_IN_PATH}),
            get("/scores", self.scores, ScoresPage, tag="scores", query=ScoresQuery),
            get("/scores/{id}", self.score, ScorePage, tag="scores", in_path={"id": SCORE_IN_PATH}),
        ]


def _clan(clan: Clan) -> ClanData:
    return ClanData(clan.id, clan.name, clan.tag, clan.owner_id, utc(clan.created_at_ms))


def _map(m: Beatmap) -> MapData:
    return MapData(
        id=m.id,
        set_id=m.set_id,
        status=m.status,
        md5=m.md5,
        artist=m.artist,
        title=m.title,
        version=m.version,
        creator=m.creator,
        filename=m.filename,
        last_update=utc(m.last_update_ms),
        total_length=m.total_length,
        max_combo=m.max_combo,
        frozen=bool(m.frozen),
        plays=m.plays,
        passes=m.passes,
        mode=m.mode,
        bpm=shortest(m.bpm),
        cs=shortest(m.cs),
        od=shortest(m.od),
        ar=shortest(m.ar),
        hp=shortest(m.hp),
        diff=shortest(m.diff),
    )

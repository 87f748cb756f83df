"""Version 2: endpoints about maps, their boards and their ratings."""

from typing import Annotated

import msgspec
from msgspec import Meta

from kiai.accounts import Accounts
from kiai.accounts.model import ID_MAX
from kiai.beatmaps import Beatmaps
from kiai.beatmaps.listing import BY_ID, Listing, Sort
from kiai.errors import Invalid
from kiai.faces.api.operation import Caller, Operation
from kiai.faces.api.params import NoParameters
from kiai.faces.api.v1.common import ModsText, mode_and_mods, total_of
from kiai.faces.api.v2.paging import (
    ID_IN_PATH,
    Cursor,
    Ids,
    Include,
    ModeNumber,
    NoMeta,
    PageMeta,
    PageNumber,
    PageSize,
    PageSlice,
    SizedQuery,
    Success,
    get,
    ids_in,
    mode_in_path,
    number_in_path,
    offset_of,
    wants,
)
from kiai.faces.api.v2.schemas import MapData, MapPresenter, ScoreData
from kiai.scores.boards import Boards
from kiai.scores.lookup import ScoreLookup

_Text = Annotated[str, Meta(min_length=1, max_length=255)]


class MapsQuery(msgspec.Struct, frozen=True):
    """The parameters of /maps."""

    set_id: Annotated[int, Meta(ge=1, le=ID_MAX, description="Only maps of this set.")] | None = None
    status: (
        Annotated[
            int,
            Meta(ge=0, le=5, description="0 pending, 1 update available, 2 ranked, 3 approved, 4 qualified, 5 loved."),
        ]
        | None
    ) = None
    artist: Annotated[_Text, Meta(description="Only maps of exactly this artist.")] | None = None
    creator: Annotated[_Text, Meta(description="Only maps by exactly this mapper.")] | None = None
    filename: Annotated[_Text, Meta(description="Only the map whose .osu file has this name.")] | None = None
    mode: Annotated[int, Meta(ge=0, le=3, description="0 osu!, 1 taiko, 2 catch, 3 mania.")] | None = None
    frozen: (
        Annotated[bool, Meta(description="Whether staff has set the status, so that it does not follow the upstream.")]
        | None
    ) = None
    ids: Ids | None = None
    q: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=64,
                description="Up to 8 words. Each must begin a word of the artist, title, difficulty or creator.",
            ),
        ]
        | None
    ) = None
    sort: Annotated[Sort, Meta(description="The order. With - in front, highest first.")] = "id"
    page: PageNumber = 1
    page_size: PageSize = 50
    cursor: (
        Annotated[Cursor, Meta(description="Return the maps after the one with this id. Only with `sort` by id.")]
        | None
    ) = None


class MapsPage(msgspec.Struct, frozen=True):
    """The response of /maps."""

    status: Success
    data: list[MapData]
    meta: PageMeta


class MapPage(msgspec.Struct, frozen=True):
    """The response of /maps/{id}."""

    status: Success
    data: MapData
    meta: NoMeta


class BoardQuery(SizedQuery, frozen=True):
    """The parameters of /maps/{id}/scores."""

    mode: ModeNumber = 0
    mods: ModsText | None = None
    include: Include | None = None


class BoardPage(msgspec.Struct, frozen=True):
    """The response of /maps/{id}/scores. Each score contains its `player`."""

    status: Success
    data: list[ScoreData]
    meta: PageMeta


class RatingData(msgspec.Struct, frozen=True):
    """The ratings of a map, from 1 to 10. `average` is 0 without ratings."""

    average: float
    count: int


class RatingPage(msgspec.Struct, frozen=True):
    """The response of /maps/{id}/rating."""

    status: Success
    data: RatingData
    meta: NoMeta


class MapsV2:
    """The endpoints about maps. The first line of a handler's docstring is the summary in the OpenAPI document."""

    def __init__(self, accounts: Accounts, beatmaps: Beatmaps, boards: Boards, lookup: ScoreLookup) -> None:
        self._accounts = accounts
        self._beatmaps = beatmaps
        self._boards = boards
        self._lookup = lookup

    async def maps(self, caller: Caller, query: MapsQuery) -> MapsPage:
        """Maps by filters, ids or search words."""
        names = ("set_id", "status", "artist", "creator", "filename", "mode")
        filters = {name: getattr(query, name) for name in names}
        filters["frozen"] = None if query.frozen is None else int(query.frozen)
        by_id = query.sort in BY_ID
        # A cursor is the id of the last map, which says nothing about the position in any other order.
        if query.cursor is not None and not by_id:
            raise Invalid("cursor", f"left out with sort={query.sort} (only lists by id have cursors)", query.cursor)
        if query.ids is not None and query.q is not None:
            raise Invalid("ids", "left out with q", query.ids)
        listing = Listing(
            filters=filters,
            text=query.q or "",
            ids=None if query.ids is None else ids_in(query.ids),
            sort=query.sort,
            limit=query.page_size + 1,  # one more shows whether a further page exists
            offset=0 if query.cursor is not None else offset_of(query) if by_id else (query.page - 1) * query.page_size,
            after=query.cursor,
        )
        found, total = await self._beatmaps.listed(listing)
        page, maps = PageSlice(found, query.page_size), MapPresenter(caller.scope)
        cursor = page.rows[-1].id if page.has_more and by_id else None
        data = [maps.full(beatmap) for beatmap in page.rows]
        return MapsPage("success", data, PageMeta(total, query.page, query.page_size, cursor))

    async def map(self, caller: Caller, query: NoParameters, id: str) -> MapPage:  # noqa: A002
        """One map."""
        found = await self._beatmaps.find(id=number_in_path("id", id))
        return MapPage("success", MapPresenter(caller.scope).full(found), NoMeta())

    async def scores(self, caller: Caller, query: BoardQuery, id: str) -> BoardPage:  # noqa: A002
        """The leaderboard of a map: by score, in relax and autopilot by pp."""
        mode, mods = mode_and_mods(str(mode_in_path(str(query.mode))), query.mods)
        beatmap = await self._beatmaps.find(id=number_in_path("id", id))
        boards, size, offset = self._boards, query.size, query.offset
        found = await boards.best_on(beatmap.key, mode, mods=mods, limit=size, offset=offset)
        total = await total_of(len(found), size, offset, lambda: boards.best_count_on(beatmap, mode, mods=mods))
        # PERF: replays and players of the whole page in one statement each, instead of one per score.
        with_replays = await self._lookup.with_replays([line.score.id for line in found])
        players = await self._accounts.players_among(line.score.user_id for line in found)
        maps, with_map = MapPresenter(caller.scope), wants(query.include, "beatmap")
        data = [
            maps.score(
                line.score,
                beatmap,
                has_replay=line.score.id in with_replays,
                with_map=with_map,
                player=players.get(line.score.user_id),
            )
            for line in found
        ]
        return BoardPage("success", data, PageMeta(total, query.page, size))

    async def rating(self, caller: Caller, query: NoParameters, id: str) -> RatingPage:  # noqa: A002
        """The players' ratings of a map."""
        found = await self._beatmaps.find(id=number_in_path("id", id))
        return RatingPage("success", RatingData(round(found.rating, 3), found.rating_count), NoMeta())

    def operations(self) -> list[Operation]:
        """Return the operations of this class."""
        a_map = {"id": ID_IN_PATH}
        return [
            get("/maps", self.maps, MapsPage, tag="maps", query=MapsQuery),
            get("/maps/{id}", self.map, MapPage, tag="maps", in_path=a_map),
            get("/maps/{id}/scores", self.scores, BoardPage, tag="maps", query=BoardQuery, in_path=a_map),
            get("/maps/{id}/rating", self.rating, RatingPage, tag="maps", in_path=a_map),
        ]

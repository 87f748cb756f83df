"""Version 2: the search of sets, sets with their maps, comments, favourites, analyses and the history of statuses."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from kiai.beatmaps import Beatmaps
from kiai.beatmaps.favourites import Favourites
from kiai.beatmaps.set_comments import SetComments
from kiai.beatmaps.set_query import TEXT_MAX, SetQuery, parse
from kiai.beatmaps.set_search import (
    CURSOR_MAX,
    PAGE,
    PAGE_MAX,
    SetSearch,
    SetSearches,
    Sort,
    read_cursor,
    write_cursor,
)
from kiai.errors import Invalid, NotFound
from kiai.faces.api.errors import BadRequest
from kiai.faces.api.operation import OWN, Caller, Operation
from kiai.faces.api.params import NoParameters
from kiai.faces.api.replies import utc
from kiai.faces.api.v1.common import ModsText
from kiai.faces.api.v2.paging import ID_IN_PATH, LongCursor, NoMeta, Success, get, number_in_path
from kiai.faces.api.v2.schemas import MapPresenter, PlayerCard, SetData, player_card
from kiai.faces.rate_limit import RateLimit
from kiai.osu.mods import parse_mods
from kiai.scores.analyses import Analyses
from kiai.scores.performance import CannotCalculate
from kiai.scores.what_if import mode_on
from kiai.staff.status_history import StatusHistory

Status = Literal["board", "ranked", "loved", "qualified", "pending", "any"]


class SetSearchQuery(msgspec.Struct, frozen=True):
    """The parameters of /maps/search."""

    q: Annotated[
        str,
        Meta(
            max_length=TEXT_MAX,
            description="Words, and conditions such as `stars>5 ar=9 bpm<180 length<90 key=4 status=ranked "
            'creator=name artist="two words" mode=mania`. One map of a set must match all conditions.',
        ),
    ] = ""
    mode: Annotated[int, Meta(ge=0, le=3, description="0 osu!, 1 taiko, 2 catch, 3 mania.")] | None = None
    status: Annotated[Status, Meta(description="`board` means every status with a leaderboard.")] = "board"
    sort: Annotated[Sort, Meta(description="The order. `relevance` without words is `ranked`.")] = "relevance"
    reverse: Annotated[bool, Meta(description="Turns the order around.")] = False
    page_size: Annotated[int, Meta(ge=1, le=PAGE_MAX, description="Number of sets per page.")] = PAGE
    cursor: (
        Annotated[
            str,
            Meta(
                max_length=CURSOR_MAX, description="`meta.cursor` of the previous response, with the same parameters."
            ),
        ]
        | None
    ) = None


class SetSearchMeta(msgspec.Struct, frozen=True):
    """`total` is null above 1,000. `cursor` is null at the end of the list."""

    total: int | None
    page_size: int
    cursor: str | None


class SetSearchPage(msgspec.Struct, frozen=True):
    """The response of /maps/search."""

    status: Success
    data: list[SetData]
    meta: SetSearchMeta


class SetPage(msgspec.Struct, frozen=True):
    """The response of /sets/{id}."""

    status: Success
    data: SetData
    meta: NoMeta


class CommentsQuery(msgspec.Struct, frozen=True):
    """The parameters of /sets/{id}/comments."""

    page_size: Annotated[int, Meta(ge=1, le=100, description="Number of comments per page.")] = 20
    cursor: LongCursor | None = None


class CommentData(msgspec.Struct, frozen=True):
    """A comment on a set: plain text. `created_at` is in UTC."""

    id: int
    text: str
    created_at: str
    player: PlayerCard


class CommentsMeta(msgspec.Struct, frozen=True):
    """`cursor` is null at the end of the list."""

    page_size: int
    cursor: int | None


class CommentsPage(msgspec.Struct, frozen=True):
    """The response of /sets/{id}/comments, newest first."""

    status: Success
    data: list[CommentData]
    meta: CommentsMeta


class StatusChangeData(msgspec.Struct, frozen=True):
    """A change of a map's status. `by` is null for the server, the operator and staff that is hidden."""

    at: str
    before: int | None
    after: int
    by: str | None


class StatusChangesPage(msgspec.Struct, frozen=True):
    """The response of /maps/{id}/statuses, newest first, at most 20."""

    status: Success
    data: list[StatusChangeData]
    meta: NoMeta


class MapAnalysisQuery(msgspec.Struct, frozen=True):
    """The parameters of /maps/{id}/analysis."""

    mode: Annotated[int, Meta(ge=0, le=3, description="The mode of a convert. Default: the map's mode.")] | None = None
    mods: ModsText | None = None


class MapAnalysisData(msgspec.Struct, frozen=True):
    """Objects by kind, tempo range in bpm, and peaks of the strain in equal parts of the map, at most 120."""

    circles: int
    sliders: int
    spinners: int
    holds: int
    bpm_least: float
    bpm_most: float
    strains: list[float]


class MapAnalysisPage(msgspec.Struct, frozen=True):
    """The response of /maps/{id}/analysis."""

    status: Success
    data: MapAnalysisData
    meta: NoMeta


class FavouritesPage(msgspec.Struct, frozen=True):
    """The response of /me/favourites: ids of sets, newest first."""

    status: Success
    data: list[int]
    meta: NoMeta


class SetsV2:
    """The endpoints about sets. The first line of a handler's docstring is the summary in the OpenAPI document."""

    def __init__(
        self,
        beatmaps: Beatmaps,
        searches: SetSearches,
        comments: SetComments,
        favourites: Favourites,
        history: StatusHistory,
        analyses: Analyses,
        limit: RateLimit,
    ) -> None:
        """`limit` is that of computations, which an analysis is."""
        self._beatmaps = beatmaps
        self._searches = searches
        self._comments = comments
        self._favourites = favourites
        self._history = history
        self._analyses = analyses
        self._limit = limit

    async def search(self, caller: Caller, query: SetSearchQuery) -> SetSearchPage:
        """Sets by words, conditions and status."""
        words, wrong = parse(query.q)
        if wrong:
            raise BadRequest(f"q: {wrong[0].word}: {wrong[0].why}.")
        words = with_controls(words, query.mode, query.status)
        found = await self._searches.find(
            SetSearch(
                words,
                query.sort,
                query.reverse,
                None if query.cursor is None else read_cursor(query.cursor),
                limit=query.page_size,
            )
        )
        maps = MapPresenter(caller.scope)
        cursor = None if found.after is None else write_cursor(found.after)
        return SetSearchPage(
            "success",
            [maps.of_set(one) for one in found.sets],
            SetSearchMeta(found.total, query.page_size, cursor),
        )

    async def set(self, caller: Caller, query: NoParameters, id: str) -> SetPage:  # noqa: A002
        """One set with its maps."""
        found = await self._searches.one(number_in_path("id", id))
        if found is None:
            raise NotFound("set")
        return SetPage("success", MapPresenter(caller.scope).of_set(found), NoMeta())

    async def comments(self, caller: Caller, query: CommentsQuery, id: str) -> CommentsPage:  # noqa: A002
        """Comments on a set."""
        set_id, size = number_in_path("id", id), query.page_size
        found = await self._comments.on(set_id, caller.viewer, before=query.cursor, limit=size + 1)
        data = [
            CommentData(comment.id, comment.text, utc(comment.at_ms), player_card(comment.player))
            for comment in found[:size]
        ]
        return CommentsPage("success", data, CommentsMeta(size, data[-1].id if len(found) > size else None))

    async def statuses(self, caller: Caller, query: NoParameters, id: str) -> StatusChangesPage:  # noqa: A002
        """The changes of a map's status."""
        beatmap = await self._beatmaps.find(id=number_in_path("id", id))
        changes = await self._history.of(beatmap.id)
        data = [StatusChangeData(utc(one.at_ms), one.before, one.after, one.by) for one in changes]
        return StatusChangesPage("success", data, NoMeta())

    async def analysis(self, caller: Caller, query: MapAnalysisQuery, id: str) -> MapAnalysisPage:  # noqa: A002
        """Objects, tempo range and strain of a map."""
        beatmap = await self._beatmaps.find(id=number_in_path("id", id))
        try:
            mods = parse_mods(query.mods or "")
        except ValueError as error:
            raise Invalid("mods", "a number, or mods in letters such as HDDT", query.mods) from error
        mode = mode_on(beatmap, beatmap.mode if query.mode is None else query.mode)
        try:
            found = await self._analyses.of(beatmap, mode, mods)
        except CannotCalculate as error:
            raise BadRequest(f"This map cannot be analysed: {error}.") from error
        return MapAnalysisPage("success", MapAnalysisData(*msgspec.structs.astuple(found)), NoMeta())

    async def my_favourites(self, caller: Caller, query: NoParameters) -> FavouritesPage:
        """The favourite sets of the key's holder."""
        return FavouritesPage("success", await self._favourites.of(caller.viewer.user_id), NoMeta())

    def operations(self) -> list[Operation]:
        """Return the operations of this class."""
        by_id = {"id": ID_IN_PATH}
        return [
            get("/maps/search", self.search, SetSearchPage, tag="sets", query=SetSearchQuery),
            get("/sets/{id}", self.set, SetPage, tag="sets", in_path=by_id),
            get("/sets/{id}/comments", self.comments, CommentsPage, tag="sets", query=CommentsQuery, in_path=by_id),
            get("/maps/{id}/statuses", self.statuses, StatusChangesPage, tag="sets", in_path=by_id),
            get(
                "/maps/{id}/analysis",
                self.analysis,
                MapAnalysisPage,
                tag="sets",
                query=MapAnalysisQuery,
                in_path=by_id,
                limit=self._limit,
            ),
            get("/me/favourites", self.my_favourites, FavouritesPage, tag="sets", permission=OWN),
        ]


def with_controls(words: SetQuery, mode: int | None, status: str | None) -> SetQuery:
    """Return the query with the mode and status of parameters. The words of the text come first."""
    return msgspec.structs.replace(
        words,
        mode=words.mode if words.mode is not None else mode,
        status=words.status if words.status is not None else status,
    )

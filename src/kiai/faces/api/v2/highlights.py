"""Version 2: the parts of the start page as JSON."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from kiai.accounts import Accounts
from kiai.faces.api.operation import Caller, Operation
from kiai.faces.api.replies import utc
from kiai.faces.api.v2.paging import NoMeta, Success, get
from kiai.faces.api.v2.schemas import MapCard, MapPresenter, PlayerCard, ScoreData, player_card
from kiai.live import Live
from kiai.scores.latest import ShownPlay, Variant
from kiai.scores.lookup import ScoreLookup

SHORT: Final = 10


class HighlightsQuery(msgspec.Struct, frozen=True):
    """The parameters of /highlights."""

    variant: (
        Annotated[
            Literal["vanilla", "relax", "autopilot"],
            Meta(description="Only latest plays of this family of modes. Default: all."),
        ]
        | None
    ) = None
    limit: Annotated[
        int, Meta(ge=1, le=50, description="Maximum number of latest plays, first places and most played maps.")
    ] = SHORT


class LatestPlay(msgspec.Struct, frozen=True):
    """A play that became a personal best on a map with a leaderboard. `first_place`: it is first there now."""

    first_place: bool
    score: ScoreData


class FirstPlaceData(msgspec.Struct, frozen=True):
    """A play that took a first place. The previous fields are null if nobody was first, or if the holder is hidden.

    `previous_score_id` is also null if that score is hidden.
    """

    at: str
    score: ScoreData
    previous_score_id: int | None
    previous_player: PlayerCard | None


class MostPlayedMap(msgspec.Struct, frozen=True):
    """A map with its plays since Monday (UTC)."""

    plays: int
    beatmap: MapCard


class HighlightsData(msgspec.Struct, frozen=True):
    """The highlights, newest first. `records` has the score with the most pp in each mode that has one, by mode."""

    latest_plays: list[LatestPlay]
    first_places: list[FirstPlaceData]
    records: list[ScoreData]
    most_played: list[MostPlayedMap]


class HighlightsPage(msgspec.Struct, frozen=True):
    """The response of /highlights."""

    status: Success
    data: HighlightsData
    meta: NoMeta


class HighlightsV2:
    """The endpoint of the start page's parts."""

    def __init__(self, live: Live, accounts: Accounts, lookup: ScoreLookup) -> None:
        self._live = live
        self._accounts = accounts
        self._lookup = lookup

    async def highlights(self, caller: Caller, query: HighlightsQuery) -> HighlightsPage:
        """Latest plays, first places, records and most played maps of the server."""
        highlights = self._live.highlights
        variant = None if query.variant is None else Variant(query.variant)
        plays = await self._live.plays.newest(variant, limit=query.limit)
        changes = await highlights.first_places(limit=query.limit)
        records = await highlights.records()
        most_played = await highlights.most_played(limit=query.limit)
        shown = [*plays, *(change.play for change in changes), *records]
        with_replays: set[int] = set()
        ids = sorted({play.score.id for play in shown})
        for start in range(0, len(ids), 100):
            with_replays |= await self._lookup.with_replays(ids[start : start + 100])
        former = {change.previous_user_id for change in changes if change.previous_user_id is not None}
        players = await self._accounts.players_among(former) if former else {}
        maps = MapPresenter(caller.scope)

        def score(play: ShownPlay) -> ScoreData:
            has_replay = play.score.id in with_replays
            return maps.score(play.score, play.beatmap, has_replay=has_replay, with_map=True, player=play.player)

        def first_place(change: Any) -> FirstPlaceData:
            previous = players.get(change.previous_user_id)
            return FirstPlaceData(
                utc(change.at_ms),
                score(change.play),
                None if previous is None else change.previous_score_id,
                None if previous is None else player_card(previous),
            )

        data = HighlightsData(
            [LatestPlay(play.is_first, score(play)) for play in plays],
            [first_place(change) for change in changes],
            [score(play) for play in records],
            [MostPlayedMap(one.plays, maps.card(one.beatmap)) for one in most_played],
        )
        return HighlightsPage("success", data, NoMeta())

    def operations(self) -> list[Operation]:
        """Return the operations of this class."""
        return [get("/highlights", self.highlights, HighlightsPage, tag="server", query=HighlightsQuery)]

"""Version 2: what a profile shows besides statistics and lists of scores."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from kiai.accounts import Accounts, Relationships, User
from kiai.clock import Clock
from kiai.faces.api.operation import Caller, Operation
from kiai.faces.api.replies import utc
from kiai.faces.api.v2.paging import (
    MODE_IN_PATH,
    LongCursor,
    ModeNumber,
    NoMeta,
    PageMeta,
    PageSize,
    PageSlice,
    Success,
    get,
    mode_in_path,
)
from kiai.faces.api.v2.players import PLAYER_IN_PATH, Key, KeyQuery, id_or_name
from kiai.faces.api.v2.schemas import MapPresenter, ScoreData
from kiai.multiplayer.history import MatchHistory
from kiai.osu.mods import board_key
from kiai.scores.activity import ActivityEntry
from kiai.scores.lookup import ScoreLookup
from kiai.scores.months import month_text
from kiai.scores.player_scores import FIRST_YEAR, LAST_YEAR, TEXT_MAX, ScoreFilters
from kiai.scores.profiles import Profiles
from kiai.scores.showcase import Showcase


class CursorMeta(msgspec.Struct, frozen=True):
    """The position in a list that is read with cursors. `cursor` is null at the end."""

    page_size: int
    cursor: int | None


class ActivityQuery(KeyQuery, frozen=True):
    """The parameters of /players/{id}/activity."""

    page_size: PageSize = 50
    cursor: LongCursor | None = None


class ActivityData(msgspec.Struct, frozen=True):
    """Something that a player achieved or lost. `at` is in unix seconds.

    `medal` is the id of a medal, `rank` the rank that the player reached. `other` is the id of the player from or by
    whom a first place was taken. Values that a kind lacks are null.
    """

    id: int
    at: int
    kind: Literal["first_place", "first_place_lost", "medal", "rank"]
    mode: int
    medal: int | None
    rank: int | None
    score_id: int | None
    map_id: int | None
    other: int | None


class ActivityPage(msgspec.Struct, frozen=True):
    """The response of /players/{id}/activity: the last 30 days, newest first."""

    status: Success
    data: list[ActivityData]
    meta: CursorMeta


class NameData(msgspec.Struct, frozen=True):
    """A name that the player had until a time in unix seconds."""

    name: str
    until: int


class NamesPage(msgspec.Struct, frozen=True):
    """The response of /players/{id}/names: former names, the last one first."""

    status: Success
    data: list[NameData]
    meta: PageMeta


class MonthData(msgspec.Struct, frozen=True):
    """The number of plays in a month, YYYY-MM (UTC)."""

    month: str
    plays: int


class MonthsPage(msgspec.Struct, frozen=True):
    """The response of /players/{id}/months/{mode}: the last 24 months, oldest first."""

    status: Success
    data: list[MonthData]
    meta: PageMeta


class FollowersData(msgspec.Struct, frozen=True):
    """The number of players who have the player as a friend, counted up to 10,000."""

    followers: int


class FollowersPage(msgspec.Struct, frozen=True):
    """The response of /players/{id}/followers."""

    status: Success
    data: FollowersData
    meta: NoMeta


class PlaysQuery(KeyQuery, frozen=True):
    """The parameters of /players/{id}/plays."""

    mode: ModeNumber = 0
    sort: Annotated[
        Literal["date", "pp", "score", "acc"], Meta(description="The value to sort by, newest or highest first.")
    ] = "date"
    grade: (
        Annotated[
            Literal["XH", "X", "SH", "S", "A", "B", "C", "D", "F"], Meta(description="Only scores with this grade.")
        ]
        | None
    ) = None
    mods: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=2**31 - 1,
                description="Only scores with exactly these mods, as bits. NC counts as DT, PF as SD.",
            ),
        ]
        | None
    ) = None
    status: Annotated[int, Meta(ge=0, le=2, description="0 failed, 1 passed, 2 the best of its player.")] | None = None
    year: Annotated[int, Meta(ge=FIRST_YEAR, le=LAST_YEAR, description="Only scores of this year (UTC).")] | None = None
    q: (
        Annotated[
            str, Meta(min_length=1, max_length=TEXT_MAX, description="Part of the artist, the title or the difficulty.")
        ]
        | None
    ) = None
    page_size: PageSize = 50
    cursor: LongCursor | None = None


class PlaysPage(msgspec.Struct, frozen=True):
    """The response of /players/{id}/plays. Each score contains its `beatmap`."""

    status: Success
    data: list[ScoreData]
    meta: CursorMeta


class PlayerMatchesQuery(KeyQuery, frozen=True):
    """The parameters of /players/{id}/matches."""

    page_size: PageSize = 50
    cursor: LongCursor | None = None


class PlayerMatch(msgspec.Struct, frozen=True):
    """A past match of a player, with the number of maps played and of players. Times are in UTC."""

    id: int
    name: str
    created_at: str
    ended_at: str | None
    games: int
    players: int


class PlayerMatchesPage(msgspec.Struct, frozen=True):
    """The response of /players/{id}/matches: past public matches, newest first."""

    status: Success
    data: list[PlayerMatch]
    meta: CursorMeta


class ProfilesV2:
    """The endpoints about profiles. The first line of a handler's docstring is the summary in the OpenAPI document."""

    def __init__(
        self,
        accounts: Accounts,
        relationships: Relationships,
        profiles: Profiles,
        showcase: Showcase,
        lookup: ScoreLookup,
        matches: MatchHistory,
        clock: Clock,
    ) -> None:
        self._accounts = accounts
        self._relationships = relationships
        self._profiles = profiles
        self._showcase = showcase
        self._lookup = lookup
        self._matches = matches
        self._clock = clock

    async def _user(self, caller: Caller, id_: str, key: Key | None) -> User:
        number, name = id_or_name(id_, key)
        return await self._accounts.user(caller.viewer, id=number, name=name)

    async def activity(self, caller: Caller, query: ActivityQuery, id: str) -> ActivityPage:  # noqa: A002
        """A player's first places won and lost, medals and ranks reached in the last 30 days."""
        user = await self._user(caller, id, query.key)
        before = 2**63 - 1 if query.cursor is None else query.cursor
        found = await self._showcase.activity.of(user.id, limit=query.page_size + 1, before=before)
        page = PageSlice(found, query.page_size)
        cursor = page.rows[-1].id if page.has_more else None
        return ActivityPage("success", [_activity(row) for row in page.rows], CursorMeta(query.page_size, cursor))

    async def names(self, caller: Caller, query: KeyQuery, id: str) -> NamesPage:  # noqa: A002
        """A player's former names."""
        user = await self._user(caller, id, query.key)
        data = [NameData(old.name, old.released_at_ms // 1000) for old in await self._accounts.old_names(user.id)]
        return NamesPage("success", data, PageMeta(len(data), 1, max(1, len(data))))

    async def months(self, caller: Caller, query: KeyQuery, id: str, mode: str) -> MonthsPage:  # noqa: A002
        """A player's plays by month."""
        number = mode_in_path(mode)
        user = await self._user(caller, id, query.key)
        found = await self._profiles.months_of(user.id, number, self._clock.now_ms())
        data = [MonthData(month_text(month), plays) for month, plays in found]
        return MonthsPage("success", data, PageMeta(len(data), 1, max(1, len(data))))

    async def followers(self, caller: Caller, query: KeyQuery, id: str) -> FollowersPage:  # noqa: A002
        """The number of players who have a player as a friend."""
        user = await self._user(caller, id, query.key)
        return FollowersPage("success", FollowersData(await self._relationships.followers(user.id)), NoMeta())

    async def plays(self, caller: Caller, query: PlaysQuery, id: str) -> PlaysPage:  # noqa: A002
        """All scores of a player in a mode, with filters."""
        mode = mode_in_path(str(query.mode))
        user = await self._user(caller, id, query.key)
        mods_key = None if query.mods is None else board_key(query.mods)
        found = await self._showcase.player_scores.page(
            user.id,
            mode,
            sort=query.sort,
            filters=ScoreFilters(query.grade, mods_key, query.status, query.year, query.q),
            limit=query.page_size + 1,
            cursor=query.cursor or 0,
        )
        page = PageSlice(found, query.page_size)
        with_replays = await self._lookup.with_replays([row.score.id for row in page.rows])
        maps = MapPresenter(caller.scope)
        data = [
            maps.score(row.score, row.beatmap, has_replay=row.score.id in with_replays, with_map=True)
            for row in page.rows
        ]
        cursor = page.rows[-1].score.id if page.has_more else None
        return PlaysPage("success", data, CursorMeta(query.page_size, cursor))

    async def matches(self, caller: Caller, query: PlayerMatchesQuery, id: str) -> PlayerMatchesPage:  # noqa: A002
        """A player's past public matches."""
        user = await self._user(caller, id, query.key)
        before = 2**63 - 1 if query.cursor is None else query.cursor
        page = PageSlice(
            await self._matches.of_player(user.id, limit=query.page_size + 1, before=before), query.page_size
        )
        data = [
            PlayerMatch(
                row.match.id,
                row.match.name,
                utc(row.match.created_at_ms),
                None if row.match.ended_at_ms is None else utc(row.match.ended_at_ms),
                row.games,
                row.players,
            )
            for row in page.rows
        ]
        cursor = page.rows[-1].match.id if page.has_more else None
        return PlayerMatchesPage("success", data, CursorMeta(query.page_size, cursor))

    def operations(self) -> list[Operation]:
        """Return the operations of this class."""
        player, mode = {"id": PLAYER_IN_PATH}, {"id": PLAYER_IN_PATH, "mode": MODE_IN_PATH}
        base, tag = "/players/{id}", "players"
        return [
            get(f"{base}/activity", self.activity, ActivityPage, tag=tag, query=ActivityQuery, in_path=player),
            get(f"{base}/names", self.names, NamesPage, tag=tag, query=KeyQuery, in_path=player),
            get(f"{base}/months/{{mode}}", self.months, MonthsPage, tag=tag, query=KeyQuery, in_path=mode),
            get(f"{base}/followers", self.followers, FollowersPage, tag=tag, query=KeyQuery, in_path=player),
            get(f"{base}/plays", self.plays, PlaysPage, tag=tag, query=PlaysQuery, in_path=player),
            get(f"{base}/matches", self.matches, PlayerMatchesPage, tag=tag, query=PlayerMatchesQuery, in_path=player),
        ]


def _activity(row: ActivityEntry) -> ActivityData:
    return ActivityData(
        row.id,
        row.at_ms // 1000,
        row.kind,  # type: ignore[arg-type]
        row.mode,
        row.number if row.kind == "medal" else None,
        row.number if row.kind == "rank" else None,
        row.score_id,
        row.map_id,
        row.other_id,
    )

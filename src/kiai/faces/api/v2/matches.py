"""Version 2: endpoints about open and past multiplayer matches.

The id of a match is its id in the history, which is never reused. The number that `get_match` accepts is reused after a
match has ended. Responses contain no names of hidden players, neither in slots nor in scores nor in events.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from kiai.accounts import Accounts
from kiai.accounts.model import FIRST_PLAYER_ID, ID_MAX
from kiai.accounts.queries import NAMES_MAX
from kiai.accounts.visibility import Viewer
from kiai.errors import Invalid
from kiai.faces.api.operation import Caller, Operation
from kiai.faces.api.replies import utc
from kiai.faces.api.v1.matches import MatchesV1, MatchMap, MatchReply, Person
from kiai.faces.api.v2.paging import (
    ID_IN_PATH,
    LongCursor,
    PageNumber,
    PageSize,
    PageSlice,
    Success,
    get,
    number_in_path,
    offset_of,
)
from kiai.multiplayer.archive import MatchArchive
from kiai.multiplayer.history import Game, GameScore, MatchEvent, MatchHistory, PastMatch
from kiai.multiplayer.model import everybody_in
from kiai.multiplayer.rooms import Room, Rooms

NAMED_AFTER_THEIR_USER: Final = frozenset({"joined", "left", "host_passed", "referee_added", "referee_removed"})
"""The kinds of events whose `name` is that of the user. In other kinds it is that of the match, a mappool or a side."""
# Details with a list of (side, number). A side is 1 or 2 for a team, or the id of a player: player ids start above 2.
PAIRS: Final = ("points", "values")


class MatchesQuery(msgspec.Struct, frozen=True):
    """The parameters of /matches."""

    state: Annotated[Literal["live", "past"], Meta(description="live: open matches. past: closed matches.")] = "live"
    live: Annotated[bool, Meta(description="true means state=live, false means state=past.")] | None = None
    user_id: (
        Annotated[int, Meta(ge=FIRST_PLAYER_ID, le=ID_MAX, description="Only matches in which this player had a seat.")]
        | None
    ) = None
    page: PageNumber = 1
    page_size: PageSize = 50
    cursor: LongCursor | None = None


class MatchQuery(msgspec.Struct, frozen=True):
    """The parameters of /matches/{id}, which select a page of its events."""

    page_size: Annotated[int, Meta(ge=1, le=1_000, description="Maximum number of events.")] = 100
    cursor: LongCursor | None = None


class MatchData(msgspec.Struct, frozen=True):
    """A match. Times are in UTC. `match` is its current state and `room` its number; both are null after its end."""

    id: int
    room: int | None
    name: str
    private: bool
    by_command: bool
    created_by: Person | None
    created_at: str
    ended_at: str | None
    match: MatchReply | None


class MatchesMeta(msgspec.Struct, frozen=True):
    """The position in the list. `total` is null for past matches: they are not counted. `cursor` is null at the end."""

    total: int | None
    page: int
    page_size: int
    cursor: int | None


class MatchesPage(msgspec.Struct, frozen=True):
    """The response of /matches, newest first."""

    status: Success
    data: list[MatchData]
    meta: MatchesMeta


class EventData(msgspec.Struct, frozen=True):
    """An event of a match. `user` did it or was affected by it. The keys of `details` depend on `kind`."""

    id: int
    at: str
    kind: str
    user: Person | None
    details: dict[str, Any]


class GameScoreData(msgspec.Struct, frozen=True):
    """The result of a player, as its client reported it at the end of the game."""

    player: Person | None
    slot: Annotated[int, Meta(ge=0, le=15)]
    team: Annotated[int, Meta(ge=0, le=2)]
    mods: int
    score: int
    max_combo: int
    n300: int
    n100: int
    n50: int
    ngeki: int
    nkatu: int
    nmiss: int
    passed: bool
    perfect: bool


class GameData(msgspec.Struct, frozen=True):
    """One game on one map. `ended_at` is null until the game ends. Aborted games have no scores."""

    id: int
    map: MatchMap
    mode: int
    mods: int
    win_condition: int
    team_type: int
    free_mods: bool
    started_at: str
    ended_at: str | None
    aborted: bool
    scores: list[GameScoreData]


class MatchHistoryData(MatchData, frozen=True):
    """A match with its events and games, oldest first."""

    events: list[EventData]
    games: list[GameData]


class EventsMeta(msgspec.Struct, frozen=True):
    """The position in the events. `cursor` is the id of the last one, or null if there are no further events yet."""

    cursor: int | None


class MatchPage(msgspec.Struct, frozen=True):
    """The response of /matches/{id}."""

    status: Success
    data: MatchHistoryData
    meta: EventsMeta


class MatchesV2:
    """The endpoints about matches. `matches_v1` encodes open matches, which look the same in both versions.

    The first line of a handler's docstring is the summary in the OpenAPI document.
    """

    def __init__(
        self, rooms: Rooms, archive: MatchArchive, history: MatchHistory, accounts: Accounts, matches_v1: MatchesV1
    ) -> None:
        self._rooms = rooms
        self._archive = archive
        self._history = history
        self._accounts = accounts
        self._matches_v1 = matches_v1

    async def matches(self, caller: Caller, query: MatchesQuery) -> MatchesPage:
        """Multiplayer matches, newest first. Private ones are visible only to their players and to staff."""
        if query.state == "live" if query.live is None else query.live:
            return await self._live(caller.viewer, query)
        # Newest first: the entries after a cursor are those with smaller ids.
        before = {} if query.cursor is None else {"before": query.cursor}
        if query.user_id is not None:
            await self._accounts.player(caller.viewer, id=query.user_id)  # a hidden player is not found
            if query.page != 1:
                raise Invalid("page", "1 with user_id (use `cursor`)", query.page)
            listed = await self._archive.past(limit=query.page_size + 1, user_id=query.user_id, **before)
            found = [one.match for one in listed]
        else:
            offset = 0 if query.cursor is not None else offset_of(query)
            found = await self._history.ended_matches(limit=query.page_size + 1, offset=offset, **before)
        page = PageSlice(found, query.page_size)
        names = await self._names({match.created_by for match in page.rows})
        cursor = page.rows[-1].id if page.has_more else None
        data = [MatchData(**_row(match, names), room=None, match=None) for match in page.rows]
        return MatchesPage("success", data, MatchesMeta(None, query.page, query.page_size, cursor))

    async def _live(self, viewer: Viewer, query: MatchesQuery) -> MatchesPage:
        # Shared state has at most MATCHES_MAX matches and no order, so they are sorted and cut here.
        visible = [
            (room.match.history_id, room)
            for room in await self._rooms.visible_to(viewer)
            if query.user_id is None or query.user_id in everybody_in(room.match)
        ]
        start = 0 if query.cursor is not None else (query.page - 1) * query.page_size
        following = [row for row in visible if query.cursor is None or row[0] < query.cursor]
        paged = PageSlice(following[start : start + query.page_size + 1], query.page_size)
        page = paged.rows
        names = await self._names({room.match.created_by for _, room in page})
        data = [
            MatchData(
                id=match_id,
                room=room.number,
                name=room.match.name,
                private=room.match.private,
                by_command=room.match.by_command,
                created_by=_person(room.match.created_by, names),
                created_at=utc(room.match.created_at_ms),
                ended_at=None,
                match=await self._matches_v1.match_reply(room),
            )
            for match_id, room in page
        ]
        cursor = page[-1][0] if paged.has_more else None
        return MatchesPage("success", data, MatchesMeta(len(visible), query.page, query.page_size, cursor))

    async def match(self, caller: Caller, query: MatchQuery, id: str) -> MatchPage:  # noqa: A002
        """A match with its events, games and scores. A private one is visible only to its players and to staff."""
        found = await self._history.match(number_in_path("id", id), caller.viewer)
        paged = PageSlice(
            await self._history.events_of(found.id, after=query.cursor or 0, limit=query.page_size + 1), query.page_size
        )
        events = paged.rows
        games = await self._history.games_of(found.id)
        details = [_details(event) for event in events]
        # PERF: all names of the response in one lookup.
        users = {found.created_by, *(event.user_id for event in events)}
        users.update(user_id for of_event in details for user_id in _users_in(of_event))
        users.update(score.user_id for _, scores in games for score in scores)
        names = await self._names(users)
        live = await self._live_state(found)
        data = MatchHistoryData(
            **_row(found, names),
            room=None if live is None else found.room,
            match=None if live is None else await self._matches_v1.match_reply(live),
            events=[_event(event, of_event, names) for event, of_event in zip(events, details, strict=True)],
            games=[_game(game, scores, names) for game, scores in games],
        )
        cursor = events[-1].id if paged.has_more else None
        return MatchPage("success", data, EventsMeta(cursor))

    async def _live_state(self, found: PastMatch) -> Room | None:
        """Return the current state of a match, or None after its end."""
        return None if found.ended_at_ms is not None else await self._rooms.of_history(found.room, found.id)

    async def _names(self, user_ids: Iterable[int]) -> dict[int, str]:
        """Return the names of the players who are visible."""
        players = sorted(user_id for user_id in user_ids if FIRST_PLAYER_ID <= user_id <= ID_MAX)
        names: dict[int, str] = {}
        for start in range(0, len(players), NAMES_MAX):
            names |= await self._accounts.names_of(players[start : start + NAMES_MAX])
        return names

    def operations(self) -> list[Operation]:
        """Return the operations of this class."""
        return [
            get("/matches", self.matches, MatchesPage, tag="matches", query=MatchesQuery),
            get("/matches/{id}", self.match, MatchPage, tag="matches", query=MatchQuery, in_path={"id": ID_IN_PATH}),
        ]


def _person(user_id: int, names: dict[int, str]) -> Person | None:
    return Person(user_id, names[user_id]) if user_id in names else None


def _row(found: PastMatch, names: dict[int, str]) -> dict[str, Any]:
    # Flags in rows are 0 or 1, because SQLite has no booleans.
    return {
        "id": found.id,
        "name": found.name,
        "private": bool(found.private),
        "by_command": bool(found.by_command),
        "created_by": _person(found.created_by, names),
        "created_at": utc(found.created_at_ms),
        "ended_at": None if found.ended_at_ms is None else utc(found.ended_at_ms),
    }


def _game(game: Game, scores: Sequence[GameScore], names: dict[int, str]) -> GameData:
    return GameData(
        id=game.id,
        map=MatchMap(game.map_id, game.map_md5, game.map_name),
        mode=game.mode,
        mods=game.mods,
        win_condition=game.win_condition,
        team_type=game.team_type,
        free_mods=bool(game.free_mods),
        started_at=utc(game.started_at_ms),
        ended_at=None if game.ended_at_ms is None else utc(game.ended_at_ms),
        aborted=bool(game.aborted),
        scores=[
            GameScoreData(
                _person(score.user_id, names),
                score.slot,
                score.team,
                score.mods,
                score.score,
                score.max_combo,
                score.n300,
                score.n100,
                score.n50,
                score.ngeki,
                score.nkatu,
                score.nmiss,
                bool(score.passed),
                bool(score.perfect),
            )
            for score in scores
        ],
    )


def _details(event: MatchEvent) -> dict[str, Any]:
    # Stored as JSON text, because the keys depend on the kind of event.
    return msgspec.json.decode(event.details, type=dict[str, Any])


def _users_in(details: dict[str, Any]) -> set[int]:
    """Return the ids of the users in the details of an event. They may contain numbers of teams."""
    users = {player["user_id"] for player in details.get("players", ())}
    users.update(side for key in PAIRS for side, _ in _pairs(details, key))
    return users | {details["side"]} if "side" in details else users


def _pairs(details: dict[str, Any], key: str) -> list[list[Any]]:
    """Return the (side, number) pairs of a scrim. In some events `points` is the number of one side instead."""
    value = details.get(key)
    return value if isinstance(value, list) else []


def _event(event: MatchEvent, details: dict[str, Any], names: dict[int, str]) -> EventData:
    """Return the JSON object of an event, without the ids and names of hidden players."""
    user = _person(event.user_id, names)
    public = dict(details)
    if user is None and event.kind in NAMED_AFTER_THEIR_USER:
        public["name"] = None
    if "players" in public:
        # Hidden players stay in the list without id and name, so that the number of players is right.
        public["players"] = [
            player if player["user_id"] in names else player | {"user_id": None, "name": None}
            for player in public["players"]
        ]
    for key in PAIRS:
        if isinstance(public.get(key), list):
            public[key] = [pair for pair in public[key] if _is_visible_side(pair[0], names)]
    if "side" in public and not _is_visible_side(public["side"], names):
        public |= {"side": None, "name": None}
    return EventData(event.id, utc(event.at_ms), event.kind, user, public)


def _is_visible_side(side: int, names: dict[int, str]) -> bool:
    return side < FIRST_PLAYER_ID or side in names

"""Version 2: multiplayer matches, those that run and those that are over.

A match is named by its id in the history, which stays its own; rooms' numbers, as `get_match` knows them, are given out
again. What everybody may read of a match names nobody who is hidden: neither in seats nor in scores nor in events.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from kiai.accounts import Accounts
from kiai.accounts.model import FIRST_PLAYER_ID, ID_MAX
from kiai.accounts.queries import NAMES_MAX
from kiai.accounts.visibility import Viewer
from kiai.faces.api.operation import Caller, Operation
from kiai.faces.api.replies import utc
from kiai.faces.api.v1.matches import Matches, MatchMap, MatchReply, Person
from kiai.faces.api.v2.pages import (
    ID_IN_PATH,
    LongCursor,
    Paged,
    PageNumber,
    PageSize,
    Success,
    get,
    number_in_path,
    offset_of,
)
from kiai.multiplayer.history import Game, GameScore, MatchEvent, MatchHistory, PastMatch
from kiai.multiplayer.model import Match, everybody_in
from kiai.realtime.port import Realtime

NAMED_AFTER_THEIR_USER: Final = frozenset({"joined", "left", "host_passed", "referee_added", "referee_removed"})
"""The kinds of events whose `name` is the user's; that of others is the room's, a pool's or a side's."""
PAIRS: Final = ("points", "values")  # (side, how many): a side is 1 or 2 for a team, else a user


class MatchesQuery(msgspec.Struct, frozen=True):
    """/matches."""

    state: Annotated[Literal["live", "past"], Meta(description="Those that run now, or those that are over.")] = "live"
    page: PageNumber = 1
    page_size: PageSize = 50
    cursor: LongCursor | None = None


class MatchQuery(msgspec.Struct, frozen=True):
    """/matches/{id}: which of its events."""

    page_size: Annotated[int, Meta(ge=1, le=1_000, description="How many events at most.")] = 100
    cursor: LongCursor | None = None


class MatchData(msgspec.Struct, frozen=True):
    """A match; times UTC. `match` is the room as it is now and `room` its number, null once it is over."""

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
    """Where one is in the list. Past matches are not counted: `total` is null; `cursor` is null at the end."""

    total: int | None
    page: int
    page_size: int
    cursor: int | None


class MatchesPage(msgspec.Struct, frozen=True):
    """/matches: newest first."""

    status: Success
    data: list[MatchData]
    meta: MatchesMeta


class EventData(msgspec.Struct, frozen=True):
    """Something that happened. `user`: who did it or to whom it was done; `details` depend on the kind."""

    id: int
    at: str
    kind: str
    user: Person | None
    details: dict[str, Any]


class GameScoreData(msgspec.Struct, frozen=True):
    """What a player reached, as its client said at the end."""

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
    """One play of one map; `ended_at` is null while it is played. Aborted games have no scores."""

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
    """A match with what happened in it, oldest first."""

    events: list[EventData]
    games: list[GameData]


class EventsMeta(msgspec.Struct, frozen=True):
    """`cursor`: behind which event to go on; null when there are no more yet."""

    cursor: int | None


class MatchPage(msgspec.Struct, frozen=True):
    """/matches/{id}."""

    status: Success
    data: MatchHistoryData
    meta: EventsMeta


class MatchesV2:
    """The handlers of this page. `shown` knows how a running match is shown."""

    def __init__(self, realtime: Realtime, history: MatchHistory, accounts: Accounts, shown: Matches) -> None:
        self._realtime = realtime
        self._history = history
        self._accounts = accounts
        self._shown = shown

    async def matches(self, caller: Caller, query: MatchesQuery) -> MatchesPage:
        """Multiplayer matches, newest first; private ones only to those who are in them and to staff."""
        if query.state == "live":
            return await self._live(caller.viewer, query)
        offset = 0 if query.cursor is not None else offset_of(query)
        before = {} if query.cursor is None else {"before": query.cursor}
        page = Paged(await self._history.past(limit=query.page_size + 1, offset=offset, **before), query.page_size)
        names = await self._names({one.created_by for one in page.rows})
        cursor = page.rows[-1].id if page.has_more else None
        data = [MatchData(**_row(one, names), room=None, match=None) for one in page.rows]
        return MatchesPage("success", data, MatchesMeta(None, query.page, query.page_size, cursor))

    async def _live(self, viewer: Viewer, query: MatchesQuery) -> MatchesPage:
        running = sorted(
            ((match.history_id, room, match) for room, match in await self._realtime.matches(Match)), reverse=True
        )
        running = [one for one in running if not one[2].private or viewer.is_staff or _is_in(one[2], viewer)]
        start = 0 if query.cursor is not None else (query.page - 1) * query.page_size
        left = [one for one in running if query.cursor is None or one[0] < query.cursor]
        paged = Paged(left[start : start + query.page_size + 1], query.page_size)
        page = paged.rows
        names = await self._names({match.created_by for _, _, match in page})
        data = [
            MatchData(
                id=match_id,
                room=room,
                name=match.name,
                private=match.private,
                by_command=match.by_command,
                created_by=_person(match.created_by, names),
                created_at=utc(match.created_at_ms),
                ended_at=None,
                match=await self._shown.match_reply(match),
            )
            for match_id, room, match in page
        ]
        cursor = page[-1][0] if paged.has_more else None
        return MatchesPage("success", data, MatchesMeta(len(running), query.page, query.page_size, cursor))

    async def match(self, caller: Caller, query: MatchQuery, id: str) -> MatchPage:  # noqa: A002
        """One match with its events, games and scores; a private one only to those who were in it and to staff."""
        found = await self._history.match(number_in_path("id", id), caller.viewer)
        paged = Paged(
            await self._history.events(found.id, after=query.cursor or 0, limit=query.page_size + 1), query.page_size
        )
        events = paged.rows
        games = await self._history.games(found.id)
        details = [_details(event) for event in events]
        named = {found.created_by, *(event.user_id for event in events)}
        named.update(user_id for one in details for user_id in _users_in(one))
        named.update(score.user_id for _, scores in games for score in scores)
        names = await self._names(named)
        running = await self._running(found)
        data = MatchHistoryData(
            **_row(found, names),
            room=None if running is None else found.room,
            match=None if running is None else await self._shown.match_reply(running),
            events=[_event(event, one, names) for event, one in zip(events, details, strict=True)],
            games=[_game(game, scores, names) for game, scores in games],
        )
        cursor = events[-1].id if paged.has_more else None
        return MatchPage("success", data, EventsMeta(cursor))

    async def _running(self, found: PastMatch) -> Match | None:
        """The room as it is now: its number may be another match's by now."""
        if found.ended_at_ms is not None:
            return None
        match = await self._realtime.match(found.room, Match)
        return match if match is not None and match.history_id == found.id else None

    async def _names(self, user_ids: Iterable[int]) -> dict[int, str]:
        """The names of those whom everybody may see."""
        wanted = sorted(user_id for user_id in user_ids if FIRST_PLAYER_ID <= user_id <= ID_MAX)
        found: dict[int, str] = {}
        for start in range(0, len(wanted), NAMES_MAX):
            found |= await self._accounts.names_of(wanted[start : start + NAMES_MAX])
        return found

    def operations(self) -> list[Operation]:
        """What this page serves."""
        return [
            get("/matches", self.matches, MatchesPage, tag="matches", query=MatchesQuery),
            get("/matches/{id}", self.match, MatchPage, tag="matches", query=MatchQuery, in_path={"id": ID_IN_PATH}),
        ]


def _is_in(match: Match, viewer: Viewer) -> bool:
    return viewer.user_id in everybody_in(match)


def _person(user_id: int, names: dict[int, str]) -> Person | None:
    return Person(user_id, names[user_id]) if user_id in names else None


def _row(found: PastMatch, names: dict[int, str]) -> dict[str, Any]:
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
                _person(one.user_id, names),
                one.slot,
                one.team,
                one.mods,
                one.score,
                one.max_combo,
                one.n300,
                one.n100,
                one.n50,
                one.ngeki,
                one.nkatu,
                one.nmiss,
                bool(one.passed),
                bool(one.perfect),
            )
            for one in scores
        ],
    )


def _details(event: MatchEvent) -> dict[str, Any]:
    return msgspec.json.decode(event.details, type=dict[str, Any])


def _users_in(details: dict[str, Any]) -> set[int]:
    """The users whom an event's details name, beside the event's own."""
    found = {player["user_id"] for player in details.get("players", ())}
    found.update(side for key in PAIRS for side, _ in _pairs(details, key))
    return found | {details["side"]} if "side" in details else found


def _pairs(details: dict[str, Any], key: str) -> list[list[Any]]:
    """The (side, how many) of a scrim; in some events `points` is one side's alone."""
    value = details.get(key)
    return value if isinstance(value, list) else []


def _event(event: MatchEvent, details: dict[str, Any], names: dict[int, str]) -> EventData:
    user = _person(event.user_id, names)
    shown = dict(details)
    if user is None and event.kind in NAMED_AFTER_THEIR_USER:
        shown["name"] = None
    if "players" in shown:
        shown["players"] = [
            player if player["user_id"] in names else player | {"user_id": None, "name": None}
            for player in shown["players"]
        ]
    for key in PAIRS:
        if isinstance(shown.get(key), list):
            shown[key] = [pair for pair in shown[key] if _is_shown(pair[0], names)]
    if "side" in shown and not _is_shown(shown["side"], names):
        shown |= {"side": None, "name": None}
    return EventData(event.id, utc(event.at_ms), event.kind, user, shown)


def _is_shown(side: int, names: dict[int, str]) -> bool:
    return side < FIRST_PLAYER_ID or side in names

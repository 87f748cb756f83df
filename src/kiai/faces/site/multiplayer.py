"""Multiplayer: the open rooms, past matches, and the page of a match."""

from typing import Any, Final

from kiai.accounts import Accounts
from kiai.accounts.model import FIRST_PLAYER_ID, Player
from kiai.accounts.visibility import EVERYBODY
from kiai.errors import NotFound, Unavailable
from kiai.faces.site import match_events
from kiai.faces.site.live import Fragment, LivePart
from kiai.faces.site.locale import Locale
from kiai.faces.site.page import Head, Page, Redirect, Response, SiteRequest, View, Visitor
from kiai.faces.site.templating import Templates, url
from kiai.live import Live
from kiai.multiplayer.history import MatchHistory, PastMatch
from kiai.realtime.following import LiveEvent

PAST_SHOWN: Final = 20
ROOMS_SHOWN: Final = 100
EVENTS_SHOWN: Final = 100
JOURNAL_WRITTEN_S: Final = 0.75  # results are written after the event that says that they exist
ID_MAX: Final = 2**53


class MultiplayerPages:
    """The pages of rooms and matches."""

    def __init__(self, live: Live, history: MatchHistory, accounts: Accounts, templates: Templates) -> None:
        self._live = live
        self._history = history
        self._accounts = accounts
        self._templates = templates

    def pages(self) -> list[Page]:
        """Return the pages, and their old addresses."""
        return [
            Page("GET", "/multiplayer", self._rooms),
            Page("GET", "/community/matches/{match}", self._match),
            *[Page("GET", path, self._moved_rooms) for path in ("/multiplayer/rooms", "/matches")],
            *[
                Page("GET", f"{path}/{{match}}", self._moved_match)
                for path in ("/mp", "/matches", "/multiplayer/rooms")
            ],
        ]

    def live_parts(self) -> list[LivePart]:
        """Return the part of a match's page that changes while the page is open."""
        return [LivePart("match", _match_of, self._match_fragment, self._match_allowed, again_s=JOURNAL_WRITTEN_S)]

    async def _moved_rooms(self, request: SiteRequest) -> Response:
        return Redirect("/multiplayer", 301)

    async def _moved_match(self, request: SiteRequest) -> Response:
        if request.id("match") is None:
            raise NotFound("match")
        return Redirect(f"/community/matches/{request.path['match']}", 301)

    # --- lists

    async def _rooms(self, request: SiteRequest) -> Response:
        player = request.query.text("player", 15)
        before = request.query.whole("before", ID_MAX, at_least=1, at_most=ID_MAX)
        try:
            rooms = (await self._live.rooms.visible_to(request.visitor.viewer))[:ROOMS_SHOWN]
            hosts = await self._live.host_names(rooms)
        except Unavailable:  # the past matches need only the database
            rooms, hosts = None, {}
        found = []
        try:
            user_id = (await self._accounts.player(request.visitor.viewer, name=player)).id if player else None
            found = await self._live.archive.past(limit=PAST_SHOWN + 1, before=before, user_id=user_id)
        except NotFound:
            pass  # nobody of this name has played
        last = found[PAST_SHOWN - 1].match.id if len(found) > PAST_SHOWN else None
        values: dict[str, Any] = {
            "rooms": rooms,
            "hosts": hosts,
            "player": player,
            "matches": found[:PAST_SHOWN],
            "older": None if last is None else _older(player, last),
        }
        text = request.locale.text
        head = Head(
            text("Multiplayer"), text("Open rooms with their maps and seats, and past matches."), "/multiplayer"
        )
        return View("multiplayer.html", values, head)

    # --- a match

    async def _match(self, request: SiteRequest) -> Response:
        match_id = request.id("match")
        if match_id is None:
            raise NotFound("match")
        match = await self._history.match(match_id, request.visitor.viewer)
        before = request.query.whole("before", 0, at_most=ID_MAX)
        after = request.query.whole("events", 0, at_most=ID_MAX)
        values = await self._values(match, request.locale, before=before or ID_MAX, after=after)
        # Private matches have no events on the feed, and an earlier piece does not change.
        values["live"] = values["room"] is not None and not match.private and not before and not after
        head = Head(
            match.name,
            request.locale.text("Multiplayer match with %(count)s maps", count=values["game_count"]),
            None if match.private else f"/community/matches/{match.id}",
        )
        return View("match.html", values, head)

    async def _values(self, match: PastMatch, locale: Locale, *, before: int, after: int) -> dict[str, Any]:
        archive = self._live.archive
        room = None
        if match.ended_at_ms is None:
            try:
                room = await self._live.rooms.of_history(match.room, match.id)
            except Unavailable:  # the games need only the database
                room = None
        piece = await archive.games(match.id, before=before)
        newest = piece if before == ID_MAX else await archive.games(match.id)
        standing = await archive.standing(match, newest)
        beatmaps = await archive.beatmaps(match.id, piece)
        events = await self._history.events_of(match.id, after=after, limit=EVENTS_SHOWN + 1)
        users = {match.created_by}.union(*(match_events.users_of(event) for event in events))
        users.update(row.score.user_id for result in piece.results for row in result.rows)
        users.update(standing.scrim.points if standing.scrim else ())
        if room is not None:
            users.update(slot.player_id for slot in room.match.slots if slot.occupied)
        players = await self._players(users)
        names = {player.id: player.name for player in players.values()}
        return {
            "match": match,
            "room": room,
            "piece": piece,
            "game_count": newest.first_number - 1 + len(newest.results),
            "standing": standing,
            "beatmaps": beatmaps,
            "events": [match_events.shown(event, names, locale) for event in events[:EVENTS_SHOWN]],
            "events_open": after > 0,
            "more_events": events[EVENTS_SHOWN - 1].id if len(events) > EVENTS_SHOWN else None,
            "players": players,
        }

    async def _players(self, user_ids: set[int]) -> dict[int, Player]:
        wanted = sorted(user_id for user_id in user_ids if user_id >= FIRST_PLAYER_ID)
        found: dict[int, Player] = {}
        for start in range(0, len(wanted), 100):
            found |= await self._accounts.players_among(wanted[start : start + 100])
        return found

    # --- live

    async def _match_allowed(self, request: SiteRequest, key: str) -> str:
        if not key.isdigit() or len(key) > 10 or (await self._history.match(int(key), EVERYBODY)).private:
            raise NotFound("match")
        return key

    async def _match_fragment(self, key: str, locale: Locale, changes: int) -> Fragment:
        match = await self._history.match(int(key), EVERYBODY)
        values = await self._values(match, locale, before=ID_MAX, after=0)
        given = {"visitor": Visitor(), "now_ms": self._live.clock.now_ms(), **values}
        summary = locale.text("The match has changed.") if changes else ""
        return Fragment(self._templates.render("live/match.html", locale, given), summary)


def _match_of(event: LiveEvent) -> tuple[str, ...]:
    return (str(event.data["match_id"]),) if event.type in ("match", "room") else ()


def _older(player: str, last: int) -> str:
    return url("/multiplayer", player=player, before=last)

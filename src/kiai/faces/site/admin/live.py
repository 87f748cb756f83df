"""`/admin/live`: sessions of the game and open matches, with the acts to end them."""

import contextlib
from typing import Final

import msgspec

from kiai.accounts import User
from kiai.errors import NotFound, Unavailable
from kiai.faces.site.admin.acts import Act, ActForms, ShownForms, Values
from kiai.faces.site.admin.frame import admin_view, staff_actor, staff_page
from kiai.faces.site.page import Page, Response, SiteRequest, View
from kiai.multiplayer.model import occupied_seats
from kiai.multiplayer.rooms import MatchChannels, Room, Rooms
from kiai.staff import Actor
from kiai.staff.audit_reading import AuditReading
from kiai.staff.authority import Authority
from kiai.staff.live_desk import PERMISSION, LiveDesk, LiveMatches, LiveSessions
from kiai.staff.match_acts import CLOSES, MatchActs
from kiai.staff.sanctions import Sanctions

PATH: Final = "/admin/live"
ACTIONS: Final = (
    "idle",
    "away",
    "playing",
    "editing",
    "modding",
    "in a match",
    "watching",
    "unknown",
    "testing",
    "submitting",
    "paused",
    "in the lobby",
    "playing in a match",
    "in osu!direct",
)
"""The words of the actions that clients report."""


class ClosableMatch(msgspec.Struct, frozen=True):
    """An open match as the target of an act. `id` is the one of its page."""

    room: Room

    @property
    def id(self) -> int:
        """The id in the audit log."""
        return self.room.match.history_id

    @property
    def name(self) -> str:
        """The name that the host gave it."""
        return self.room.match.name or f"match {self.id}"


class LivePages:
    """The pages of sessions and matches."""

    def __init__(
        self,
        authority: Authority,
        audit: AuditReading,
        desk: LiveDesk,
        channels: MatchChannels,
        rooms: Rooms,
        sanctions: Sanctions,
        match_acts: MatchActs,
    ) -> None:
        self._authority = authority
        self._desk = desk
        self._channels = channels
        self._rooms = rooms
        self._sanctions = sanctions
        self._match_acts = match_acts
        kick = Act[User](
            "kick",
            "Kick",
            "users.kick",
            "{name} is kicked.",
            "All sessions of the player in the game end. The player can log in again.",
            self._kick,
        )
        close = Act[ClosableMatch](
            "close",
            "Close match",
            CLOSES,
            "",
            "All players leave the match, and it ends. A play that runs is lost.",
            self._close,
            danger=True,
            home=f"{PATH}?closed=1",
        )
        self._kicks = ActForms(
            f"{PATH}/sessions/{{user}}",
            [kick],
            audit,
            kind="user",
            load=self._load_user,
            show=self._view_user,
            path_of=lambda user: f"{PATH}/sessions/{user.id}",
        )
        self._closes = ActForms(
            f"{PATH}/matches/{{match}}",
            [close],
            audit,
            kind="match",
            load=self._load_match,
            show=self._view_match,
            path_of=lambda match: f"{PATH}/matches/{match.id}",
        )

    def pages(self) -> list[Page]:
        """Return the pages and the forms of the acts."""
        return [
            staff_page(PATH, self._list, PERMISSION),
            staff_page(f"{PATH}/sessions/{{user}}", self._kicks.page, PERMISSION),
            staff_page(f"{PATH}/matches/{{match}}", self._closes.page, PERMISSION),
            *self._kicks.pages(),
            *self._closes.pages(),
        ]

    async def _list(self, request: SiteRequest) -> Response:
        actor, text = staff_actor(request), request.query.text("q")
        sessions: LiveSessions | None = None
        matches: LiveMatches | None = None
        with contextlib.suppress(Unavailable):  # the page says so
            sessions, matches = await self._desk.sessions(actor, text), await self._desk.matches(actor)
        values = {
            "found": sessions,
            "matches": matches,
            "seats": {} if matches is None else {room.match.history_id: _seats(room) for room in matches.rooms},
            "text": text,
            "actions": ACTIONS,
            "closed": request.query.flag("closed"),
        }
        return admin_view(request, "live.html", "Live", values)

    async def _load_user(self, request: SiteRequest) -> User:
        user_id = request.id("user")
        if user_id is None:
            raise NotFound("page")
        await self._authority.require(staff_actor(request), PERMISSION)
        return await self._authority.target(user_id)

    async def _view_user(self, request: SiteRequest, user: User, forms: ShownForms) -> View:
        found = await self._desk.of_account(staff_actor(request), user)
        values = {"user": user, "found": found, "forms": forms, "actions": ACTIONS}
        return admin_view(request, "live_user.html", user.name, values, crumbs=((PATH, "Live"),))

    async def _load_match(self, request: SiteRequest) -> ClosableMatch:
        match_id = request.id("match")
        number = None if match_id is None else await self._channels.number_of(match_id)
        room = None if match_id is None or number is None else await self._rooms.of_history(number, match_id)
        if room is None:
            raise NotFound("match")
        return ClosableMatch(room)

    async def _view_match(self, request: SiteRequest, match: ClosableMatch, forms: ShownForms) -> View:
        values = {"room": match.room, "seats": _seats(match.room), "forms": forms}
        return admin_view(request, "live_match.html", match.name, values, crumbs=((PATH, "Live"),))

    async def _kick(self, actor: Actor, user: User, values: Values) -> None:
        await self._sanctions.apply(actor, "kick", user.id, values["reason"])

    async def _close(self, actor: Actor, match: ClosableMatch, values: Values) -> None:
        await self._match_acts.close(actor, match.room.number, match.id, values["reason"])


def _seats(room: Room) -> list[tuple[int, str, int]]:
    """Return the taken seats of a match as (slot from 1 on, name, id)."""
    return [(seat + 1, slot.player_name, slot.player_id) for seat, slot in occupied_seats(room.match)]

"""The page of a set for nominators: nominations, statuses and open requests."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from kiai.beatmaps import Beatmap, Beatmaps, MapStatus
from kiai.errors import Invalid, NotFound, Refused
from kiai.faces.site.confirming import ActConfirmation, confirmation_page, is_confirmed
from kiai.faces.site.locale import Locale
from kiai.faces.site.page import Access, FormState, Head, Page, Redirect, Response, SiteRequest, View
from kiai.faces.site.settings import common
from kiai.faces.site.templating import url
from kiai.osu.numbers import whole_number
from kiai.osu.privileges import ADMINISTRATOR, effective
from kiai.staff import Actor
from kiai.staff.map_requests import NAMED_MAX, NOMINATED_STATUSES, SETS_STATUS, MapRequests
from kiai.staff.nominations import NominationMode
from kiai.staff.reasons import REASON_MAX, checked_reason

SCOPES: Final = ("set", "map")
STATUSES: Final = (MapStatus.PENDING, MapStatus.RANKED, MapStatus.APPROVED, MapStatus.QUALIFIED, MapStatus.LOVED)
DECISIONS: Final = ("nominate", "denominate", "status", "close")
"""The acts, each with a form. Only the first one has an optional reason."""


class _SetMaps(msgspec.Struct, frozen=True):
    """The current maps of a set. `beatmap` is the one that the visitor has chosen; it stands for the set."""

    id: int
    beatmap: Beatmap
    maps: list[Beatmap]

    @property
    def name(self) -> str:
        """The names of the song, which are those of the set."""
        return f"{self.beatmap.artist} - {self.beatmap.title}"

    @property
    def path(self) -> str:
        """The path of the page."""
        return f"/beatmapsets/{self.id}/ranking"

    def address(self, done: str | None = None) -> str:
        """Return the address of the page with the chosen map."""
        return url(self.path, map=self.beatmap.id, done=done)


class RankingPages:
    """The page of a set for nominators, and its forms."""

    def __init__(self, beatmaps: Beatmaps, requests: MapRequests, nominations: NominationMode) -> None:
        self._beatmaps = beatmaps
        self._requests = requests
        self._nominations = nominations

    def pages(self) -> list[Page]:
        """Return the page and its forms."""
        path = "/beatmapsets/{set}/ranking"
        return [
            Page("GET", path, self._show, Access.STAFF, permission=SETS_STATUS),
            *[
                Page("POST", f"{path}/{act}", self._handler(act), Access.STAFF, permission=SETS_STATUS)
                for act in DECISIONS
            ],
        ]

    async def _show(self, request: SiteRequest) -> Response:
        map_id = request.query.whole("map", 0, at_least=1, at_most=2**31 - 1)
        return await self._page(request, await self._find(request, map_id))

    async def _find(self, request: SiteRequest, map_id: int | None) -> _SetMaps:
        """Return the set of the address. `map_id` 0 chooses its first map. Raises NotFound for a map of another set."""
        set_id = request.id("set")
        found = [] if set_id is None else await self._beatmaps.of_set(set_id)
        beatmap = next((one for one in found if map_id in (0, one.id)), None)
        if set_id is None or beatmap is None:
            raise NotFound("set" if not found else "map")
        return _SetMaps(set_id, beatmap, list(found))

    async def _page(
        self, request: SiteRequest, of_set: _SetMaps, act: str = "", form: FormState | None = None
    ) -> Response:
        actor = _actor(request)
        requesters = await self._requests.requesters(actor, of_set.id)
        done = {
            "nominate": request.locale.text("The set is nominated."),
            "denominate": request.locale.text("The nominations are reset."),
            "status": request.locale.text("The status is set."),
            "close": request.locale.text("The requests are closed. The players get the reason."),
        }
        values = {
            "of_set": of_set,
            "nominations": await self._nominations.of_set(of_set.id),
            "nomination_mode": self._nominations.rules.on,
            "requesters": requesters[:NAMED_MAX],
            "more": len(requesters) > NAMED_MAX,
            "forms_of": {name: form if name == act else None for name in DECISIONS},
            "statuses": [
                (int(status), words) for status, words in _statuses(request.locale) if self._may_set(request, status)
            ],
            "scopes": [
                (
                    "set",
                    request.locale.plural("%(num)s map of the set", "All %(num)s maps of the set", len(of_set.maps)),
                ),
                ("map", request.locale.text("Only [%(version)s]", version=of_set.beatmap.version)),
            ],
            "reason_max": REASON_MAX,
            "saved": done.get(request.query.values.get("done", ""), ""),
        }
        title = request.locale.text("Ranking of %(set)s", set=of_set.name)
        return View("set_ranking.html", {**values, "title": title}, Head(title=title), 200 if form is None else 422)

    def _may_set(self, request: SiteRequest, status: MapStatus) -> bool:
        is_administrator = bool(effective(request.visitor.player.priv) & ADMINISTRATOR)
        return not self._nominations.rules.on or is_administrator or status not in NOMINATED_STATUSES

    # --- the forms

    def _handler(self, act: str) -> Callable[[SiteRequest], Awaitable[Response]]:
        async def handle(request: SiteRequest) -> Response:
            of_set = await self._find(request, whole_number(request.form.text("map") or "", least=1))
            typed = common.typed(request, *(("scope", "status") if act == "status" else ()), "reason")
            wrong = _faults(request, act, typed)
            if wrong:
                message = request.locale.text("Nothing was changed. Check the marked field.")
                return await self._page(request, of_set, act, FormState(typed, wrong, message))
            if not is_confirmed(request):
                return confirmation_page(_question(request, of_set, act, typed))
            try:
                await self._do(_actor(request), of_set, act, typed)
            except (Refused, NotFound) as error:
                reason = (
                    error.reason if isinstance(error, Refused) else request.locale.text("There are no open requests.")
                )
                return await self._page(request, of_set, act, common.refused(request.locale, typed, reason))
            return Redirect(of_set.address(act))

        return handle

    async def _do(self, actor: Actor, of_set: _SetMaps, act: str, typed: Mapping[str, str]) -> None:
        reason = typed["reason"]
        match act:
            case "nominate":
                await self._nominations.nominate(actor, of_set.beatmap, reason)
            case "denominate":
                await self._nominations.reset(actor, of_set.beatmap, reason)
            case "close":
                await self._requests.close(actor, of_set.beatmap, reason)
            case _:
                maps = of_set.maps if typed["scope"] == "set" else [of_set.beatmap]
                await self._requests.set_status(actor, maps, MapStatus(int(typed["status"])), reason=reason)


def _actor(request: SiteRequest) -> Actor:
    return Actor(request.visitor.player.id, "web")


def _statuses(locale: Locale) -> list[tuple[MapStatus, str]]:
    text = locale.text
    words = (text("Pending"), text("Ranked"), text("Approved"), text("Qualified"), text("Loved"))
    return list(zip(STATUSES, words, strict=True))


def _faults(request: SiteRequest, act: str, typed: Mapping[str, str]) -> dict[str, str]:
    """Return the faults of the fields, by their names."""
    text, wrong = request.locale.text, {}
    if act == "status":
        if typed["status"] not in [str(int(status)) for status in STATUSES]:
            wrong["status"] = text("Choose a status.")
        if typed["scope"] not in SCOPES:
            wrong["scope"] = text("Choose the maps.")
    try:
        checked_reason(typed["reason"], optional=act == "nominate")
    except Invalid as error:
        wrong["reason"] = text("Must be %(allowed)s.", allowed=request.locale.phrase(error.allowed))
    return wrong


def _question(request: SiteRequest, of_set: _SetMaps, act: str, typed: Mapping[str, str]) -> ActConfirmation:
    text, name = request.locale.text, of_set.name
    facts = [(text("Reason"), typed["reason"])] if typed["reason"].strip() else []
    match act:
        case "nominate":
            heading = text("Nominate %(set)s?", set=name)
            sentence = text("The set gets your nomination. Enough nominations qualify it, and it is ranked later.")
        case "denominate":
            heading = text("Reset the nominations of %(set)s?", set=name)
            sentence = text(
                "The set loses all nominations, and a qualified set is pending again. Nominators get the reason."
            )
        case "close":
            heading = text("Close the requests for %(set)s?", set=name)
            sentence = text("The status stays, and the players get the reason.")
        case _:
            whole = typed["scope"] == "set"
            shown = name if whole else f"{name} [{of_set.beatmap.version}]"
            heading = text("Set the status of %(set)s?", set=shown)
            sentence = text("The leaderboards, the totals of players and the requests for the set follow the status.")
            words = {str(int(status)): word for status, word in _statuses(request.locale)}
            count = len(of_set.maps) if whole else 1
            facts = [
                (text("Status"), words[typed["status"]]),
                (text("Maps"), request.locale.number(count)),
                *facts,
            ]
    fields = {"map": str(of_set.beatmap.id), **typed}
    return ActConfirmation(heading, sentence, f"{of_set.path}/{act}", of_set.address(), fields, facts)

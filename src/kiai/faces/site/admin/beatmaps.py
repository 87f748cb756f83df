"""`/admin/beatmaps`: the search of sets with the requests to rank them, a set, and the acts of staff on its maps.

Nominators act here. Administrators without that role see sets and histories, and neither requests nor acts.

The page of a set has two addresses, `/admin/beatmaps/{set}` and `/admin/beatmaps?set={set}`.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from kiai.beatmaps import Beatmap, Beatmaps, MapStatus
from kiai.beatmaps.set_query import SetQuery
from kiai.beatmaps.set_search import CURSOR_MAX, CatalogueSet, SetSearch, SetSearches, read_cursor, write_cursor
from kiai.errors import Invalid, NotFound
from kiai.faces.site.admin.acts import OPTIONAL_REASON, REASON, Act, ActForms, Field, ShownForms, Values
from kiai.faces.site.admin.frame import admin_view, staff_actor, staff_page
from kiai.faces.site.page import BadParameter, Page, Response, SiteRequest, View
from kiai.faces.site.templating import url
from kiai.osu.numbers import is_id, whole_number
from kiai.staff import Actor
from kiai.staff.audit_reading import AuditReading
from kiai.staff.authority import Authority
from kiai.staff.map_imports import MapImports
from kiai.staff.map_requests import (
    INSPECTS,
    NAMED_MAX,
    PAGE,
    SEES_REQUESTS,
    SETS_STATUS,
    MapRequests,
    RequestedSet,
    Requester,
)
from kiai.staff.nominations import NominationMode
from kiai.staff.status_history import StatusHistory

PATH: Final = "/admin/beatmaps"
PAGES_MAX: Final = 1_000
WHOLE_SET: Final = "all"
STATUS_WORDS: Final[Mapping[int, str]] = {
    MapStatus.NOT_SUBMITTED: "Not submitted",
    MapStatus.PENDING: "Pending",
    MapStatus.UPDATE_AVAILABLE: "Update available",
    MapStatus.RANKED: "Ranked",
    MapStatus.APPROVED: "Approved",
    MapStatus.QUALIFIED: "Qualified",
    MapStatus.LOVED: "Loved",
}
SET_BY_STAFF: Final = (
    MapStatus.PENDING,
    MapStatus.RANKED,
    MapStatus.APPROVED,
    MapStatus.QUALIFIED,
    MapStatus.LOVED,
)
MAP: Final = Field("map", "Map", value=WHOLE_SET)
"""The field for the maps of an act. Its choices depend on the set, so the template and `_chosen` have them."""
STATUS: Final = Field(
    "status", "Status", "choice", options=tuple((str(int(status)), STATUS_WORDS[status]) for status in SET_BY_STAFF)
)
CLOSING_REASON: Final = msgspec.structs.replace(REASON, help="The players get it, and the audit log shows it.")


class SetOfMaps(msgspec.Struct, frozen=True):
    """A set with its current maps, and the visible players who want it ranked."""

    set_id: int
    maps: tuple[Beatmap, ...]
    requesters: Sequence[Requester]

    @property
    def id(self) -> int:
        """The id of the first map: the audit log is about maps."""
        return self.maps[0].id

    @property
    def name(self) -> str:
        """Artist and title."""
        return f"{self.maps[0].artist} - {self.maps[0].title}"


class QueuedRequest(msgspec.Struct, frozen=True):
    """A set in the queue, with the first players who want it ranked. `more` says that others exist."""

    requested: RequestedSet
    requesters: Sequence[Requester]
    more: bool


class BeatmapPages:
    """The pages of sets in the panel."""

    def __init__(
        self,
        authority: Authority,
        audit: AuditReading,
        beatmaps: Beatmaps,
        searches: SetSearches,
        requests: MapRequests,
        nominations: NominationMode,
        imports: MapImports,
        history: StatusHistory,
    ) -> None:
        self._authority = authority
        self._beatmaps = beatmaps
        self._searches = searches
        self._requests = requests
        self._nominations = nominations
        self._imports = imports
        self._history = history
        self._forms = ActForms(
            f"{PATH}/{{set}}",
            self._acts(),
            audit,
            kind="beatmap",
            load=self._load,
            show=self._view,
            path_of=lambda found: f"{PATH}/{found.set_id}",
            possible=self._possible,
        )

    def pages(self) -> list[Page]:
        """Return the pages and the forms of the acts."""
        return [
            staff_page(PATH, self._start, INSPECTS),
            staff_page(f"{PATH}/{{set}}", self._forms.page, INSPECTS),
            *self._forms.pages(),
        ]

    # --- the list

    async def _start(self, request: SiteRequest) -> Response:
        await self._authority.require(staff_actor(request), INSPECTS)
        set_id = request.query.whole("set", 0, at_most=2**31 - 1)
        if set_id:
            return await self._forms.page_of(request, await self._set(request, set_id))
        text = request.query.text("q")
        sets, after, fault = await self._search(request, text)
        values = {
            "text": text,
            "sets": sets,
            "next": None if after is None else url(PATH, q=text, cursor=after),
            "fault": fault,
            "words": STATUS_WORDS,
            "sees_requests": not text and request.visitor.may(SEES_REQUESTS),
            **({} if text or not request.visitor.may(SEES_REQUESTS) else await self._queue(request)),
        }
        return admin_view(request, "beatmaps.html", "Beatmaps", values)

    async def _search(self, request: SiteRequest, text: str) -> tuple[list[CatalogueSet], str | None, str]:
        """Return a page of sets, the cursor of the next page, and why the text cannot be searched."""
        number = whole_number(text)
        if number is not None:
            return await self._numbered(number), None, ""
        cursor = request.query.text("cursor", CURSOR_MAX)
        try:
            found = await self._searches.find(
                SetSearch(
                    SetQuery(words=tuple(text.split()), status="any"),
                    "relevance" if text else "updated",
                    cursor=read_cursor(cursor) if cursor else None,
                )
            )
        except Invalid as error:
            if error.field == "cursor":
                raise BadParameter("cursor", error.allowed, cursor) from error
            return [], None, f"The search must be {error.allowed}."
        return found.sets, None if found.after is None else write_cursor(found.after), ""

    async def _numbered(self, number: int) -> list[CatalogueSet]:
        """Return the set with this id, and the set of the map with this id."""
        ids = [number] if is_id(number) else []
        with contextlib.suppress(NotFound):
            ids.append((await self._beatmaps.find(id=number)).set_id)
        found = [await self._searches.one(set_id) for set_id in dict.fromkeys(ids)]
        return [one for one in found if one is not None]

    async def _queue(self, request: SiteRequest) -> dict[str, object]:
        """Return the values of the queue of requests."""
        actor, page = staff_actor(request), request.query.whole("page", 1, at_least=1, at_most=PAGES_MAX)
        found, total = await self._requests.queue(actor, page)
        rows = []
        for requested in found:
            named = await self._requests.requesters(actor, requested.set_id)
            rows.append(QueuedRequest(requested, named[:NAMED_MAX], len(named) > NAMED_MAX))
        return {"rows": rows, "page": page, "last": max(1, -(-total // PAGE))}

    # --- a set

    async def _load(self, request: SiteRequest) -> SetOfMaps:
        await self._authority.require(staff_actor(request), INSPECTS)
        return await self._set(request, request.id("set") or 0)

    async def _set(self, request: SiteRequest, set_id: int) -> SetOfMaps:
        found = await self._searches.one(set_id) if is_id(set_id) else None
        if found is None:
            raise NotFound("page")
        requesters: Sequence[Requester] = ()
        if request.visitor.may(SEES_REQUESTS):
            requesters = await self._requests.requesters(staff_actor(request), set_id)
        return SetOfMaps(set_id, found.maps, requesters)

    async def _view(self, request: SiteRequest, found: SetOfMaps, forms: ShownForms) -> View:
        map_id = request.query.whole("map", 0, at_most=2**31 - 1)
        beatmap = next((one for one in found.maps if one.id == map_id), found.maps[0])
        values = {
            "found": found,
            "choices": [(WHOLE_SET, "All maps of the set"), *((str(one.id), _titled(one)) for one in found.maps)],
            "beatmap": beatmap,
            "history": await self._history.of(beatmap.id),
            "words": STATUS_WORDS,
            "requesters": found.requesters[:NAMED_MAX],
            "more": len(found.requesters) > NAMED_MAX,
            "nominations": await self._nominations.of_set(found.set_id) if self._nominations.rules.on else None,
            "forms": forms,
        }
        return admin_view(request, "beatmap.html", found.name, values, crumbs=((PATH, "Beatmaps"),))

    # --- acts

    def _acts(self) -> list[Act[SetOfMaps]]:
        return [
            Act("status", "Map status", SETS_STATUS, "The status is set.",
                "The maps get the status, and upstream no longer changes it. Requests for the set are answered.",
                self._set_status, (MAP, STATUS, REASON), button="Set status"),
            Act("nominate", "Nominate", SETS_STATUS, "The set is nominated.",
                "The set gets your nomination. Enough nominations of different nominators qualify it, and it is ranked "
                "later.", self._nominate, (OPTIONAL_REASON,)),
            Act("denominate", "Reset nominations", SETS_STATUS, "The nominations are reset.",
                "The set loses all nominations, and a qualified set is pending again. Nominators get the reason.",
                self._denominate, (CLOSING_REASON,)),
            Act("freeze", "Freeze status", SETS_STATUS, "The status is frozen.",
                "Upstream no longer changes the status of the maps.", self._freeze, (MAP, OPTIONAL_REASON), "unfreeze"),
            Act("unfreeze", "Unfreeze status", SETS_STATUS, "Upstream decides about the status again.",
                "The maps get the status that upstream has, with the next check.", self._unfreeze,
                (MAP, OPTIONAL_REASON), "freeze"),
            Act("close", "Close requests", SEES_REQUESTS, "The requests for {name} are closed.",
                "The requests are closed without a change of the status.", self._close, (CLOSING_REASON,)),
            Act("refresh", "Refresh from upstream", SETS_STATUS, "{name} is up to date with upstream.",
                "Statuses and changed files are taken over. A map whose status is frozen and whose file has changed "
                "becomes pending.", self._refresh, ()),
        ]  # fmt: skip

    def _possible(self, found: SetOfMaps, now_ms: int) -> frozenset[str]:
        names = {"status"}
        names |= {"unfreeze" if beatmap.frozen else "freeze" for beatmap in found.maps}
        if self._nominations.rules.on:
            names |= {"nominate", "denominate"}
        if found.requesters:
            names.add("close")
        if self._imports.has_upstream:
            names.add("refresh")
        return frozenset(names)

    async def _set_status(self, actor: Actor, found: SetOfMaps, values: Values) -> None:
        status = MapStatus(int(values["status"]))
        await self._requests.set_status(actor, _chosen(found, values), status, reason=values["reason"])

    async def _nominate(self, actor: Actor, found: SetOfMaps, values: Values) -> None:
        await self._nominations.nominate(actor, found.maps[0], values["reason"])

    async def _denominate(self, actor: Actor, found: SetOfMaps, values: Values) -> None:
        await self._nominations.reset(actor, found.maps[0], values["reason"])

    async def _freeze(self, actor: Actor, found: SetOfMaps, values: Values) -> None:
        await self._requests.set_frozen(actor, _chosen(found, values), True, reason=values["reason"])

    async def _unfreeze(self, actor: Actor, found: SetOfMaps, values: Values) -> None:
        await self._requests.set_frozen(actor, _chosen(found, values), False, reason=values["reason"])

    async def _close(self, actor: Actor, found: SetOfMaps, values: Values) -> None:
        await self._requests.close(actor, found.maps[0], values["reason"])

    async def _refresh(self, actor: Actor, found: SetOfMaps, values: Values) -> None:
        await self._imports.refresh(actor, found.maps[0])


def _chosen(found: SetOfMaps, values: Values) -> list[Beatmap]:
    """Return the maps that the field `map` names. Raises Invalid."""
    wanted = values["map"]
    maps = [one for one in found.maps if wanted in (WHOLE_SET, str(one.id))]
    if not maps:
        raise Invalid("map", "a map of this set", wanted)
    return maps


def _titled(beatmap: Beatmap) -> str:
    return f"{beatmap.version} ({beatmap.id}, {STATUS_WORDS.get(beatmap.status, 'unknown').lower()})"

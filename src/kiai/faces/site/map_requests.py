"""`/requests`: the sets that players want ranked, for nominators."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from kiai.beatmaps import Beatmap, Beatmaps
from kiai.errors import NotAllowed, NotFound, Refused, Unavailable
from kiai.faces.site.page import Access, Head, Page, Response, SiteRequest, View
from kiai.networks import network_of
from kiai.osu.modes import vanilla
from kiai.scores.what_if import WhatIf, WhatIfs
from kiai.staff import Actor
from kiai.staff.map_requests import NAMED_MAX, PAGE, MapRequests, RequestedSet, Requester
from kiai.staff.nominations import NominationMode, Nominations

PATH: Final = "/requests"
PAGES_MAX: Final = 1_000
PP_S: Final = 1.5
"""Time that the page waits for the pp of its maps."""


class RequestRow(msgspec.Struct, frozen=True):
    """A set with its requests. `requesters` are the first ones; `more` says that others exist.

    `pp` is that of a perfect play on the requested map without mods, None if it cannot be computed now.
    """

    requested: RequestedSet
    beatmap: Beatmap
    requesters: Sequence[Requester]
    more: bool
    nominations: Nominations
    pp: float | None


class RequestPages:
    """The page of requests."""

    def __init__(
        self, requests: MapRequests, nominations: NominationMode, beatmaps: Beatmaps, what_ifs: WhatIfs
    ) -> None:
        self._requests = requests
        self._nominations = nominations
        self._beatmaps = beatmaps
        self._what_ifs = what_ifs

    def pages(self) -> list[Page]:
        """Return the page."""
        return [Page("GET", PATH, self._show, Access.PLAYER)]

    async def _show(self, request: SiteRequest) -> Response:
        page = request.query.whole("page", 1, at_least=1, at_most=PAGES_MAX)
        actor = Actor(request.visitor.player.id, "web")
        try:
            found, total = await self._requests.queue(actor, page)
        except NotAllowed as error:  # for other players, the page does not exist
            raise NotFound("page") from error
        rows = await asyncio.gather(*(self._row(request, actor, requested) for requested in found))
        values = {
            "rows": [row for row in rows if row is not None],
            "total": total,
            "page": page,
            "last": max(1, -(-total // PAGE)),
            "nomination_mode": self._nominations.rules.on,
        }
        return View("requests.html", values, Head(title=request.locale.text("Requests")))

    async def _row(self, request: SiteRequest, actor: Actor, requested: RequestedSet) -> RequestRow | None:
        try:
            beatmap = await self._beatmaps.find(id=requested.map_id)
        except NotFound:
            return None
        requesters = await self._requests.requesters(actor, requested.set_id)
        return RequestRow(
            requested,
            beatmap,
            requesters[:NAMED_MAX],
            len(requesters) > NAMED_MAX,
            await self._nominations.of_set(requested.set_id),
            await self._pp(beatmap, network_of(request.address)),
        )

    async def _pp(self, beatmap: Beatmap, caller: str) -> float | None:
        try:
            async with asyncio.timeout(PP_S):
                [result] = await self._what_ifs.calculate(
                    beatmap, WhatIf(vanilla(beatmap.mode), accuracies=(100.0,)), caller=caller
                )
        except (Refused, Unavailable, TimeoutError):
            return None
        return result.pp

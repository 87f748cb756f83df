"""`/admin/medals`: the medals with the number of their holders, and the award of missing ones."""

import asyncio
from typing import Final

import msgspec

from kiai.accounts import Accounts
from kiai.errors import NotFound
from kiai.faces.site.admin.acts import REASON, TEXT_MAX, Act, ActForms, Field, ShownForms, Values
from kiai.faces.site.admin.frame import admin_view, staff_actor, staff_page
from kiai.faces.site.admin.named_accounts import account_id
from kiai.faces.site.page import Page, Response, SiteRequest, View
from kiai.scores.history import History
from kiai.scores.medals import MEDALS
from kiai.staff import Actor
from kiai.staff.audit_reading import AuditReading
from kiai.staff.authority import Authority
from kiai.staff.medal_awards import PERMISSION, MedalAwards

PATH: Final = "/admin/medals"
ALL_PLAYERS: Final = "all players"
PLAYER: Final = Field("player", "Player", required=False, help="A name, or # and an id. Without one, all players.")


class ListedMedal(msgspec.Struct, frozen=True):
    """A medal of the list. `percent` is of all registered accounts."""

    id: int
    file: str
    name: str
    description: str
    players: int
    percent: float


class Receivers(msgspec.Struct, frozen=True):
    """The players whose missing medals an act awards. `id` is 0 for all of them, and -1 for an unknown name."""

    id: int
    name: str


class AdminMedalPages:
    """The page of medals in the panel."""

    def __init__(
        self, authority: Authority, audit: AuditReading, history: History, accounts: Accounts, awards: MedalAwards
    ) -> None:
        self._authority = authority
        self._history = history
        self._accounts = accounts
        self._awards = awards
        self._forms = ActForms(
            PATH,
            [
                Act("award", "Award missing medals", PERMISSION, "The award is queued.",
                    "The stored plays are examined in the background, and medals that they have earned are awarded. "
                    "No medal is taken away. The bot writes to you when it is done.", self._award, (PLAYER, REASON)),
            ],
            audit,
            kind="server",
            load=self._receivers,
            show=self._view,
            path_of=lambda receivers: PATH,
        )  # fmt: skip

    def pages(self) -> list[Page]:
        """Return the page and its form."""
        return [staff_page(PATH, self._list, PERMISSION), *self._forms.pages()]

    async def _list(self, request: SiteRequest) -> Response:
        receivers = await self._receivers(request)
        return await self._view(request, receivers, await self._forms.shown(request, receivers))

    async def _receivers(self, request: SiteRequest) -> Receivers:
        text = (request.form.text("player") or "").strip()[:TEXT_MAX]
        if not text:
            return Receivers(0, ALL_PLAYERS)
        try:
            user_id = await account_id(self._authority, text)
            return Receivers(user_id or -1, (await self._authority.target(user_id or -1)).name)
        except NotFound:
            return Receivers(-1, text)

    async def _view(self, request: SiteRequest, receivers: Receivers, forms: ShownForms) -> View:
        holders, total, waiting = await asyncio.gather(
            self._history.medal_holders(), self._accounts.total(), self._awards.active(staff_actor(request))
        )
        listed = []
        for medal in MEDALS:
            players = holders.get(medal.id, 0)
            percent = int(10_000 * players / max(1, total)) / 100
            listed.append(ListedMedal(medal.id, medal.file, medal.name, medal.description, players, percent))
        values = {"medals": listed, "waiting": waiting, "forms": forms}
        return admin_view(request, "medals.html", "Medals", values)

    async def _award(self, actor: Actor, receivers: Receivers, values: Values) -> None:
        await self._awards.queue(actor, user_id=receivers.id or None, reason=values["reason"])

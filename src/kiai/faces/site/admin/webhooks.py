"""`/admin/webhooks`: the webhooks with their state, the test that lets a parked one continue, and the removal."""

from typing import Final

from kiai.errors import NotFound, Unavailable
from kiai.faces.site.admin.acts import Act, ActForms, ShownForms, Values
from kiai.faces.site.admin.frame import admin_view, staff_actor, staff_page
from kiai.faces.site.page import Page, Response, SiteRequest, View
from kiai.staff import Actor
from kiai.staff.audit_reading import AuditReading
from kiai.staff.webhooks import RIGHT, WebhookEditor, WebhookState

PATH: Final = "/admin/webhooks"


class WebhookPages:
    """The pages of webhooks."""

    def __init__(self, audit: AuditReading, editor: WebhookEditor) -> None:
        self._editor = editor
        self._forms = ActForms(
            f"{PATH}/{{webhook}}",
            [
                Act("test", "Send a test", RIGHT, "The receiver has accepted the test.",
                    "The receiver gets a test now. If it accepts it, a parked webhook continues with what waits.",
                    self._test),
                Act("remove", "Remove webhook", RIGHT, "",
                    "The receiver gets nothing any more, and its waiting messages are deleted.", self._remove,
                    danger=True, home=PATH),
            ],
            audit,
            kind="webhook",
            load=self._load,
            show=self._view,
            path_of=lambda found: f"{PATH}/{found.id}",
        )  # fmt: skip

    def pages(self) -> list[Page]:
        """Return the pages and the forms of the acts."""
        return [
            staff_page(PATH, self._list, RIGHT),
            staff_page(f"{PATH}/{{webhook}}", self._forms.page, RIGHT),
            *self._forms.pages(),
        ]

    async def _list(self, request: SiteRequest) -> Response:
        found = await self._editor.states(staff_actor(request))
        return admin_view(request, "webhooks.html", "Webhooks", {"webhooks": found})

    async def _load(self, request: SiteRequest) -> WebhookState:
        webhook_id = request.id("webhook")
        if webhook_id is None:
            raise NotFound("page")
        return await self._editor.state(staff_actor(request), webhook_id)

    async def _view(self, request: SiteRequest, found: WebhookState, forms: ShownForms) -> View:
        crumbs = ((PATH, "Webhooks"),)
        return admin_view(request, "webhook.html", found.name, {"found": found, "forms": forms}, crumbs=crumbs)

    # --- acts

    async def _test(self, actor: Actor, found: WebhookState, values: Values) -> None:
        answer = await self._editor.test(actor, found.id, values["reason"])
        if not answer.delivered:
            raise Unavailable("receiver", answer.error)

    async def _remove(self, actor: Actor, found: WebhookState, values: Values) -> None:
        await self._editor.remove(actor, found.id, values["reason"])

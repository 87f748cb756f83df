"""`/admin/second-factor`: staff proves itself again before the admin panel opens, every 12 hours."""

from typing import Final

from kiai.accounts.web_sessions import WebSessions
from kiai.entry import EntryServices
from kiai.entry.model import TooManyCodes, WrongCode
from kiai.entry.passkeys import BadPasskey
from kiai.errors import NotFound
from kiai.faces.site.gateway import SECOND_FACTOR_PATH
from kiai.faces.site.login import LOGINS, json_answer, origin_of, passkey_answer, too_many
from kiai.faces.site.page import Access, FormState, Handler, Head, Page, Redirect, Response, SiteRequest, View
from kiai.faces.site.preferences import own_path

START: Final = "/admin"


class StaffSecondFactorPages:
    """The page and its forms."""

    def __init__(self, entry: EntryServices, sessions: WebSessions) -> None:
        self._factors = entry.factors
        self._passkeys = entry.passkeys
        self._sessions = sessions

    def pages(self) -> list[Page]:
        """Return the pages."""

        def form(path: str, handler: Handler) -> Page:
            return Page("POST", path, handler, Access.PLAYER, rate_limit=LOGINS, under_maintenance=True)

        return [
            Page("GET", SECOND_FACTOR_PATH, self._show, Access.PLAYER, under_maintenance=True),
            form(SECOND_FACTOR_PATH, self._code),
            form(f"{SECOND_FACTOR_PATH}/passkey", self._passkey),
            form(f"{SECOND_FACTOR_PATH}/passkey/options", self._passkey_options),
        ]

    async def _show(self, request: SiteRequest) -> Response:
        return await self._page(request, FormState(), request.query.values.get("next", ""))

    async def _page(self, request: SiteRequest, form: FormState, target: str, status: int = 200) -> View:
        _check_staff(request)
        factors = await self._factors.of(request.visitor.player.id)
        values = {"form": form, "next": own_path(target), "factors": factors}
        return View("admin/second_factor.html", values, Head(title="Second factor"), status, public=False)

    async def _code(self, request: SiteRequest) -> Response:
        _check_staff(request)
        target = request.form.text("next") or ""
        try:
            code = request.form.text("code") or ""
            await self._factors.check(request.visitor.player.id, code, origin_of(request))
        except WrongCode:
            form = FormState(errors={"code": "This code is wrong, or it was used before."}, message="Wrong code.")
            return await self._page(request, form, target, 401)
        except TooManyCodes as error:
            return await self._page(request, FormState(message=too_many(request, error.retry_s)), target, 429)
        return await self._enter(request, target)

    async def _passkey_options(self, request: SiteRequest) -> Response:
        _check_staff(request)
        return json_answer(await self._passkeys.begin_login(request.visitor.player.id))

    async def _passkey(self, request: SiteRequest) -> Response:
        _check_staff(request)
        target = request.form.text("next") or ""
        try:
            state, response = passkey_answer(request)
            await self._passkeys.log_in(state, response, user_id=request.visitor.player.id)
        except BadPasskey:
            form = FormState(message="The passkey was not accepted. Try again, or enter a code.")
            return await self._page(request, form, target, 401)
        return await self._enter(request, target)

    async def _enter(self, request: SiteRequest, target: str) -> Response:
        assert request.visitor.session is not None
        await self._sessions.mark_second_factor(request.visitor.session)
        return Redirect(own_path(target) if target else START)


def _check_staff(request: SiteRequest) -> None:
    """Raise NotFound for a visitor who has no page in the panel."""
    if not request.visitor.start_of_admin:
        raise NotFound("page")

"""`/settings/data`: the export of all data, and the deletion of the account, which asks once more."""

from typing import Final

from kiai.accounts import TooManyGuesses
from kiai.entry import EntryServices
from kiai.entry.security import WrongPassword
from kiai.errors import Invalid, Refused
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site.gateway import no_session_cookie
from kiai.faces.site.login import origin_of
from kiai.faces.site.page import Access, Content, FormState, Head, Page, Redirect, Response, SiteRequest, View
from kiai.faces.site.settings import common
from kiai.own_account import Deletion, Exports
from kiai.own_account.exports import ExportState

PATH: Final = "/settings/data"
EXPORTS: Final = RateLimit("exports", 10, 86_400.0)
DOWNLOADS: Final = RateLimit("export-downloads", 30, 3600.0)
REQUESTED_PATH: Final = "/account-deletion"
DAY_MS: Final = 86_400_000
DAY_MAX: Final = 47_482  # days since 1970: the year 2100
NAME_TEXT_MAX: Final = 64


class DataPages:
    """The page of the player's data and its forms."""

    def __init__(self, exports: Exports, deletion: Deletion, entry: EntryServices) -> None:
        self._exports = exports
        self._deletion = deletion
        self._entry = entry

    def pages(self) -> list[Page]:
        """Return the page, its forms and the download."""
        return [
            common.show(PATH, self._show),
            common.form(f"{PATH}/export", self._export, EXPORTS),
            Page("GET", f"{PATH}/export.zip", self._download, Access.PLAYER, rate_limit=DOWNLOADS),
            common.form(f"{PATH}/delete", self._ask),
            common.form(f"{PATH}/delete/confirm", self._delete),
            Page("GET", REQUESTED_PATH, self._requested),
        ]

    async def _show(self, request: SiteRequest) -> Response:
        return await self._page(request)

    async def _page(
        self,
        request: SiteRequest,
        *,
        export_form: FormState | None = None,
        form: FormState | None = None,
        status: int = 200,
    ) -> View:
        text = request.locale.text
        values = {
            "form": form,
            "export_form": export_form,
            "user": request.visitor.player,
            "export": await self._exports.of(request.visitor.player.id),
            "states": ExportState,
            "grace_days": self._deletion.grace_days,
            "saved": common.message_of(
                request, {"export": text("Your data is being collected. Reload this page in a moment.")}
            ),
        }
        return View("settings/data.html", values, Head(title=text("Your data")), status)

    async def _export(self, request: SiteRequest) -> Response:
        with_replays = bool(common.typed(request, "replays")["replays"])
        try:
            await self._exports.request(request.visitor.player.id, with_replays=with_replays)
        except Refused as error:
            return await self._page(request, export_form=common.refused(request.locale, {}, error.reason), status=422)
        return common.saved(PATH, "export")

    async def _download(self, request: SiteRequest) -> Response:
        file = await self._exports.open(request.visitor.player.id)
        headers = (("Content-Disposition", f'attachment; filename="{file.name}"'),)
        return Content(b"", "application/zip", headers=headers, chunks=file.chunks, size=file.size)

    # --- deletion

    async def _ask(self, request: SiteRequest) -> Response:
        locale, user = request.locale, request.visitor.player
        given = common.typed(request, "username", "current_password")
        shown = {"username": given["username"][:NAME_TEXT_MAX]}
        try:
            await self._entry.security.check_password(user, given["current_password"], origin_of(request))
            proof = await self._deletion.prepare(user.id, given["username"])
        except WrongPassword:
            return await self._page(request, form=common.wrong_password(locale, shown), status=422)
        except TooManyGuesses as error:
            state = common.refused(request.locale, shown, common.wait_message(locale, error.retry_s))
            return await self._page(request, form=state, status=429)
        except Invalid:
            state = common.wrong(locale, shown, "username", locale.text("Type the name of your account."))
            return await self._page(request, form=state, status=422)
        except Refused as error:
            return await self._page(request, form=common.refused(request.locale, shown, error.reason), status=422)
        values = {"user": user, "proof": proof, "grace_days": self._deletion.grace_days}
        return View("settings/delete.html", values, Head(title=locale.text("Delete account")))

    async def _delete(self, request: SiteRequest) -> Response:
        user = request.visitor.player
        try:
            due_ms = await self._deletion.confirm(user.id, common.typed(request, "proof")["proof"])
        except Refused as error:
            return await self._page(request, form=common.refused(request.locale, {}, error.reason), status=422)
        # All sessions have ended, also this one.
        return Redirect(f"{REQUESTED_PATH}?day={due_ms // DAY_MS}", cookies=(no_session_cookie(),))

    async def _requested(self, request: SiteRequest) -> Response:
        """Show when the account will be deleted, to the player who has no session any longer."""
        day = request.query.whole("day", request.now_ms // DAY_MS, at_most=DAY_MAX)
        title = Head(title=request.locale.text("Account deletion"))
        return View("settings/requested.html", {"due_ms": day * DAY_MS}, title)

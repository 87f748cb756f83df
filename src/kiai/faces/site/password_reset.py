"""Reset links and confirmations: `/reset`, `/reset/{token}` and `/verify/{token}`.

See docs/spec/security.md#links-in-mails.
"""

from typing import Final

from kiai.entry import EntryServices
from kiai.errors import Conflict, Invalid, NotFound
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site.login import origin_of
from kiai.faces.site.page import FormState, Head, Page, Redirect, Response, SiteRequest, View
from kiai.osu.names import EMAIL_MAX, email_fault

REQUESTS: Final = RateLimit("site-resets", 5, 60.0)
LINKS: Final = RateLimit("site-links", 30, 60.0)


class PasswordResetPages:
    """The pages that links in mails lead to, and the request for such a link."""

    def __init__(self, entry: EntryServices) -> None:
        self._security = entry.security

    def pages(self) -> list[Page]:
        """Return the pages."""
        return [
            Page("GET", "/reset", self._show),
            Page("POST", "/reset", self._request, restricted=True, rate_limit=REQUESTS),
            Page("GET", "/reset/{token}", self._show_new, rate_limit=LINKS),
            Page("POST", "/reset/{token}", self._set_new, restricted=True, rate_limit=LINKS),
            Page("GET", "/verify/{token}", self._verify, rate_limit=LINKS),
        ]

    async def _show(self, request: SiteRequest) -> Response:
        return self._page(request, FormState(), sent=request.query.flag("sent"))

    def _page(self, request: SiteRequest, form: FormState, *, sent: bool = False, status: int = 200) -> View:
        return View(
            "reset.html",
            {"form": form, "sent": sent, "sends_mail": self._security.sends_mail},
            Head(title=request.locale.text("Reset password")),
            status,
            public=False,
        )

    async def _request(self, request: SiteRequest) -> Response:
        email = (request.form.text("email") or "").strip()
        if not self._security.sends_mail:
            return self._page(request, FormState(), status=422)
        if email_fault(email) is not None:
            text = request.locale.text
            errors = {"email": text("Must be an address like name@example.com.")}
            form = FormState({"email": email[:EMAIL_MAX]}, errors, text("Check the address."))
            return self._page(request, form, status=422)
        self._security.request_reset(email)
        return Redirect("/reset?sent=1")

    async def _show_new(self, request: SiteRequest) -> Response:
        if not await self._security.can_reset(request.path["token"]):
            return self._dead(request)
        return self._new_page(request, FormState())

    def _new_page(self, request: SiteRequest, form: FormState, *, status: int = 200) -> View:
        return View(
            "new_password.html",
            {"form": form, "token": request.path["token"]},
            Head(title=request.locale.text("New password")),
            status,
            public=False,
        )

    async def _set_new(self, request: SiteRequest) -> Response:
        password = request.form.text("password") or ""
        try:
            await self._security.reset(request.path["token"], password, origin_of(request))
        except NotFound:
            return self._dead(request)
        except Invalid as error:
            text = request.locale.text
            errors = {"password": text("Must be %(allowed)s.", allowed=request.locale.phrase(error.allowed))}
            return self._new_page(request, FormState({}, errors, text("The password was not changed.")), status=422)
        return Redirect("/login?reset=1")

    async def _verify(self, request: SiteRequest) -> Response:
        text = request.locale.text
        try:
            await self._security.confirm_email(request.path["token"], origin_of(request))
        except (NotFound, Conflict):
            return self._dead(request)
        values = {"sentence": text("Your e-mail address is confirmed.")}
        return View("confirmed.html", values, Head(title=text("E-mail address")), public=False)

    def _dead(self, request: SiteRequest) -> View:
        text = request.locale.text
        sentence = text("This link has expired or was used before. Ask for a new one.")
        return View(
            "error.html",
            {"title": text("Dead link"), "sentence": sentence},
            Head(title=text("Dead link")),
            404,
            public=False,
        )

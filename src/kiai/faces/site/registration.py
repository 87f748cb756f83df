"""Registration on the website: `/register`, and the checks of its fields while the visitor types."""

from typing import Final

from kiai.entry import EntryServices
from kiai.entry.registration import RegistrationClosed, RegistrationFaults, TooManyRegistrations
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site.gateway import session_cookie
from kiai.faces.site.locale import Locale
from kiai.faces.site.login import json_answer, origin_of, too_many
from kiai.faces.site.page import BadParameter, FormState, Head, Page, Redirect, Response, SiteRequest, View

CHECKS: Final = RateLimit("register-checks", 60, 60.0)
ATTEMPTS: Final = RateLimit("register-attempts", 30, 60.0)
FIELDS: Final = {"name": "username", "email": "email", "password": "password", "invite": "invite"}
"""The fields of the form by the names of the domain."""
DECOY: Final = "website"
"""A field that visitors do not see. Simple bots fill it in."""
CODE_MAX: Final = 64
VALUE_MAX: Final = 300


class RegistrationPages:
    """The pages of registration."""

    def __init__(self, entry: EntryServices) -> None:
        self._registration = entry.registration
        self._login = entry.web_login

    def pages(self) -> list[Page]:
        """Return the pages."""
        return [
            Page("GET", "/register", self._show),
            Page("POST", "/register", self._register, rate_limit=ATTEMPTS),
            Page("GET", "/register/check", self._check, rate_limit=CHECKS),
        ]

    async def _show(self, request: SiteRequest) -> Response:
        if request.visitor.user is not None:
            return Redirect("/connect")
        invite = request.query.values.get("invite", "")[:CODE_MAX]
        return self._page(request, FormState({"invite": invite}))

    def _page(self, request: SiteRequest, form: FormState, *, status: int = 200) -> View:
        return View(
            "register.html",
            {"form": form, "state": self._registration.state},
            Head(
                title=request.locale.text("Register"),
                description=request.locale.text("Create an account to play on this server."),
                path="/register",
            ),
            status,
            public=False,
        )

    async def _register(self, request: SiteRequest) -> Response:
        given = {field: request.form.text(field) or "" for field in FIELDS.values()}
        shown = {field: value[:VALUE_MAX] for field, value in given.items() if field != "password"}
        text = request.locale.text
        if request.form.text(DECOY):
            message = text("Leave the field “Website” empty.")
            return self._page(request, FormState(shown, message=message), status=422)
        origin = origin_of(request)
        try:
            user_id = await self._registration.register(
                name=given["username"],
                email=given["email"],
                password=given["password"],
                invite=given["invite"],
                origin=origin,
            )
        except RegistrationFaults as faults:
            errors = {
                FIELDS[name]: " ".join(_sentence(request.locale, one) for one in texts)
                for name, texts in faults.by_field.items()
            }
            message = text("The account was not created. Check the marked fields.")
            return self._page(request, FormState(shown, errors, message), status=422)
        except RegistrationClosed:
            return self._page(request, FormState(), status=403)
        except TooManyRegistrations as error:
            return self._page(request, FormState(shown, message=too_many(request, error.retry_s)), status=429)
        token = await self._login.open_session(user_id, origin, second_factor=False)
        return Redirect("/connect", cookies=(session_cookie(token),))

    async def _check(self, request: SiteRequest) -> Response:
        field = request.query.choice("field", tuple(FIELDS.values()), "")
        if not field:
            raise BadParameter("field", f"one of {', '.join(FIELDS.values())}", "")
        values = {name: request.query.values.get(own, "")[:VALUE_MAX] for name, own in FIELDS.items()}
        wanted = next(name for name, own in FIELDS.items() if own == field)
        values[wanted] = request.query.values.get("value", "")[:VALUE_MAX]
        try:
            faults = await self._registration.faults_of(
                name=values["name"], email=values["email"], password=values["password"], invite=values["invite"]
            )
        except RegistrationClosed:
            return json_answer({"ok": False, "message": request.locale.text("Registration is closed.")})
        messages = [_sentence(request.locale, message) for message in faults.get(wanted, [])]
        return json_answer({"ok": not messages, "message": " ".join(messages)})


def _sentence(locale: Locale, fault: str) -> str:
    """Return a message of the domain about a field in the visitor's language."""
    allowed = fault.removeprefix("Must be ").removesuffix(".")
    if f"Must be {allowed}." == fault:
        return locale.text("Must be %(allowed)s.", allowed=locale.phrase(allowed))
    return locale.phrase(fault)

"""Logging in and out on the website: `/login`, its second step, `/logout` (docs/spec/security.md#second-factors).

The second step knows its account by a token in a cookie, so the password is sent once.
"""

import math
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import quote

import msgspec

from kiai.accounts import TooManyGuesses
from kiai.accounts.web_sessions import WebSessions
from kiai.entry import AccountBanned, EntryServices, Origin
from kiai.entry.model import TooManyCodes, WrongCode
from kiai.entry.passkeys import BadPasskey
from kiai.entry.web_login import LoggedIn, SecondStep, StepAccount
from kiai.errors import NotAuthenticated, NotFound
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site.gateway import no_session_cookie, session_cookie
from kiai.faces.site.page import Content, Cookie, FormState, Handler, Head, Page, Redirect, Response, SiteRequest, View
from kiai.faces.site.preferences import own_path

LOGINS: Final = RateLimit("site-logins", 30, 60.0)
"""Of an address, right or wrong; `accounts/credentials.py` limits wrong passwords."""
STEP_COOKIE: Final = "kiai-step"
STEP_PATH: Final = "/login/second-factor"
JSON: Final = "application/json"


class LoginPages:
    """The pages of logging in and out."""

    def __init__(self, entry: EntryServices, sessions: WebSessions) -> None:
        self._login = entry.web_login
        self._passkeys = entry.passkeys
        self._sends_mail = entry.mailing.is_on
        self._sessions = sessions

    def pages(self) -> list[Page]:
        """Return the pages."""

        def form(path: str, handler: Handler) -> Page:
            return Page("POST", path, handler, restricted=True, rate_limit=LOGINS, under_maintenance=True)

        return [
            Page("GET", "/login", self._show, under_maintenance=True),
            form("/login", self._log_in),
            form("/login/passkey", self._log_in_with_passkey),
            form("/login/passkey/options", self._passkey_options),
            Page("GET", STEP_PATH, self._show_step, under_maintenance=True),
            form(STEP_PATH, self._finish_with_code),
            form(f"{STEP_PATH}/passkey", self._finish_with_passkey),
            form(f"{STEP_PATH}/passkey/options", self._step_passkey_options),
            Page("POST", "/logout", self._log_out, restricted=True, under_maintenance=True),
        ]

    # --- the first step

    async def _show(self, request: SiteRequest) -> Response:
        target = own_path(request.query.values.get("next", ""))
        if request.visitor.user is not None:
            return Redirect(target)
        saved = request.locale.text("Your new password is set. Log in with it.") if request.query.flag("reset") else ""
        return self._page(request, FormState(), target, saved=saved)

    def _page(self, request: SiteRequest, form: FormState, target: str, *, status: int = 200, saved: str = "") -> View:
        title = request.locale.text("Log in")
        return View(
            "login.html",
            {"form": form, "next": target, "saved": saved},
            Head(title=title),
            status,
            _retry_after(status),
            public=False,
        )

    async def _log_in(self, request: SiteRequest) -> Response:
        name, password = request.form.text("username") or "", request.form.text("password") or ""
        target = own_path(request.form.text("next") or "")
        form = FormState({"username": name[:100]})
        text = request.locale.text
        try:
            outcome = await self._login.log_in(name, password, origin_of(request))
        except NotAuthenticated:
            message = text("Wrong username or password.")
            return self._page(request, msgspec.structs.replace(form, message=message), target, status=401)
        except AccountBanned as banned:
            message = _banned(request, banned)
            return self._page(request, msgspec.structs.replace(form, message=message), target, status=403)
        except TooManyGuesses as error:
            message = too_many(request, error.retry_s)
            return self._page(request, msgspec.structs.replace(form, message=message), target, status=429)
        if isinstance(outcome, SecondStep):
            step = Cookie(STEP_COOKIE, outcome.token, secret=True)
            return Redirect(_with_next(STEP_PATH, target), cookies=(step,))
        return await self._enter(request, outcome, target)

    async def _enter(self, request: SiteRequest, outcome: LoggedIn, target: str) -> Response:
        # A session from before the login must not continue next to the new one.
        if request.visitor.session is not None:
            await self._sessions.end(request.visitor.session.user_id, request.visitor.session.public_id)
        cookies = [session_cookie(outcome.token)]
        if step_token(request):
            cookies.append(Cookie(STEP_COOKIE, "", max_age_s=0, secret=True))
        return Redirect(target, cookies=tuple(cookies))

    # --- with a passkey

    async def _passkey_options(self, request: SiteRequest) -> Response:
        return json_answer(await self._passkeys.begin_login())

    async def _log_in_with_passkey(self, request: SiteRequest) -> Response:
        target = own_path(request.form.text("next") or "")
        try:
            state, response = passkey_answer(request)
            outcome = await self._login.log_in_with_passkey(state, response, origin_of(request))
        except BadPasskey:
            message = request.locale.text(
                "The passkey was not accepted. Try again, or log in with your username and password."
            )
            return self._page(request, FormState(message=message), target, status=401)
        except AccountBanned as banned:
            return self._page(request, FormState(message=_banned(request, banned)), target, status=403)
        return await self._enter(request, outcome, target)

    # --- the second step

    async def _show_step(self, request: SiteRequest) -> Response:
        target = own_path(request.query.values.get("next", ""))
        try:
            step = await self._login.step(step_token(request))
        except NotFound:
            return Redirect(_with_next("/login", target))
        return self._step_page(request, step, FormState(), target)

    def _step_page(
        self, request: SiteRequest, step: StepAccount, form: FormState, target: str, *, status: int = 200
    ) -> View:
        return View(
            "second_factor.html",
            {"form": form, "next": target, "factors": step.factors},
            Head(title=request.locale.text("Second factor")),
            status,
            _retry_after(status),
            public=False,
        )

    async def _finish_with_code(self, request: SiteRequest) -> Response:
        code = request.form.text("code") or ""
        return await self._finish(
            request, lambda: self._login.finish_with_code(step_token(request), code, origin_of(request))
        )

    async def _finish_with_passkey(self, request: SiteRequest) -> Response:
        async def finish() -> LoggedIn:
            state, response = passkey_answer(request)
            return await self._login.finish_with_passkey(step_token(request), state, response, origin_of(request))

        return await self._finish(request, finish)

    async def _finish(self, request: SiteRequest, finish: Callable[[], Awaitable[LoggedIn]]) -> Response:
        target = own_path(request.form.text("next") or "")
        text = request.locale.text
        try:
            outcome = await finish()
        except NotFound:  # too late: the login starts again
            message = text("The login took too long. Enter your username and password again.")
            return self._page(request, FormState(message=message), target, status=401)
        except AccountBanned as banned:
            return self._page(request, FormState(message=_banned(request, banned)), target, status=403)
        except WrongCode:
            form, status = FormState(errors={"code": text("This code is wrong, or it was used before.")}), 401
        except BadPasskey:
            form, status = FormState(message=text("The passkey was not accepted. Try again, or enter a code.")), 401
        except TooManyCodes as error:
            form, status = FormState(message=too_many(request, error.retry_s)), 429
        else:
            return await self._enter(request, outcome, target)
        if form.errors:
            form = msgspec.structs.replace(form, message=text("Wrong code."))
        return self._step_page(request, await self._login.step(step_token(request)), form, target, status=status)

    async def _step_passkey_options(self, request: SiteRequest) -> Response:
        return json_answer(await self._login.begin_passkey_step(step_token(request)))

    # --- the end

    async def _log_out(self, request: SiteRequest) -> Response:
        session = request.visitor.session
        if session is not None:
            await self._sessions.end(session.user_id, session.public_id)
        return Redirect("/", cookies=(no_session_cookie(),))


def origin_of(request: SiteRequest) -> Origin:
    """Return where a request comes from, for the history of the account."""
    return Origin("web", request.address, request.headers.get("user-agent", ""), request.locale.language)


def step_token(request: SiteRequest) -> str:
    """Return the token of a login that waits for its second factor, or an empty text."""
    return request.secret_cookie(STEP_COOKIE)


def passkey_answer(request: SiteRequest) -> tuple[str, dict[str, Any]]:
    """Return the state and the answer of a passkey that the script has put into a form. Raises BadPasskey."""
    state, text = request.form.text("state") or "", request.form.text("response") or ""
    try:
        response = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadPasskey("the answer is not JSON") from error
    return state, response


def json_answer(value: Any) -> Content:
    """Return a value as JSON that nobody stores."""
    return Content(msgspec.json.encode(value), JSON, headers=(("Cache-Control", "private, no-store"),))


def too_many(request: SiteRequest, retry_s: float) -> str:
    """Return the message for too many attempts."""
    minutes = max(1, math.ceil(retry_s / 60))
    return request.locale.plural(
        "Too many attempts. Try again in %(num)s minute.", "Too many attempts. Try again in %(num)s minutes.", minutes
    )


def _retry_after(status: int) -> tuple[tuple[str, str], ...]:
    return (("Retry-After", "60"),) if status == 429 else ()


def _with_next(path: str, target: str) -> str:
    return path if target == "/" else f"{path}?next={quote(target, safe='')}"


def _banned(request: SiteRequest, banned: AccountBanned) -> str:
    text = request.locale.text
    if banned.reason:
        return text("This account is banned: %(reason)s", reason=banned.reason)
    return text("This account is banned. Contact the staff to appeal.")

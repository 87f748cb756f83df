"""The settings of security: password, e-mail, second factors, sessions, last logins (`/settings/security`).

Each form has its own path. A refused form is answered with the whole page and its errors, an accepted one with a
redirect back to the page. Recovery codes are shown once, in the answer to the form that created them.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from kiai.accounts import Logins, TooManyGuesses
from kiai.accounts.geography import UNKNOWN, countries_of
from kiai.accounts.web_sessions import WebSession, WebSessions
from kiai.entry import EntryServices
from kiai.entry.model import TooManyCodes, WrongCode
from kiai.entry.passkeys import BadPasskey
from kiai.entry.security import TooManyMails
from kiai.errors import Conflict, Invalid, Refused
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site.gateway import session_cookie
from kiai.faces.site.login import json_answer, origin_of, passkey_answer, too_many
from kiai.faces.site.page import Access, FormState, Handler, Head, Page, Redirect, Response, SiteRequest, View
from kiai.faces.site.qr_code import qr_code
from kiai.faces.site.security_lists import LoginRow, SessionRow, browser_of, kind_text
from kiai.osu.numbers import whole_number

PATH: Final = "/settings/security"
CHANGES: Final = RateLimit("security-changes", 30, 60.0)
"""Addresses of one page whose country is looked up: 50 sessions and some logins."""


class AccountSecurityPages:
    """The page of security and its forms."""

    def __init__(self, entry: EntryServices, sessions: WebSessions, logins: Logins) -> None:
        self._entry = entry
        self._sessions = sessions
        self._logins = logins

    def pages(self) -> list[Page]:
        """Return the page and its forms."""

        def form(path: str, handler: Handler) -> Page:
            return Page("POST", f"{PATH}/{path}", handler, Access.PLAYER, restricted=True, rate_limit=CHANGES)

        return [
            Page("GET", PATH, self._show, Access.PLAYER),
            form("password", self._change_password),
            form("email", self._change_email),
            form("verification", self._send_verification),
            form("authenticator", self._set_up_authenticator),
            form("authenticator/on", self._turn_on_authenticator),
            form("authenticator/off", self._turn_off_authenticator),
            form("recovery-codes", self._new_recovery_codes),
            form("passkeys", self._add_passkey),
            form("passkeys/options", self._passkey_options),
            form("passkeys/remove", self._remove_passkey),
            form("sessions/end", self._end_session),
            form("sessions/end-others", self._end_other_sessions),
        ]

    # --- the page

    async def _show(self, request: SiteRequest) -> Response:
        return await self._page(request, {})

    async def _page(
        self,
        request: SiteRequest,
        forms: Mapping[str, FormState],
        *,
        status: int = 200,
        codes: Sequence[str] = (),
        saved: str = "",
    ) -> View:
        user = request.visitor.player
        entry = self._entry
        account, factors, setup, passkeys = await asyncio.gather(
            entry.security.account(user),
            entry.factors.of(user.id),
            entry.factors.pending(user),
            entry.passkeys.of(user.id),
        )
        sessions, events, logins = await asyncio.gather(
            self._sessions.of(user.id), entry.history.recent(user.id), self._logins.recent(user.id)
        )
        countries = countries_of(
            [
                *(session.address for session in sessions),
                *(event.address for event in events),
                *(login.address for login in logins),
            ]
        )
        values = {
            "forms_of": {name: forms.get(name) for name in ("password", "email", "authenticator", "passkeys")},
            "saved": saved or _saved(request),
            "email": account.email,
            "email_verified": account.email_verified_at_ms is not None,
            "must_verify": entry.security.must_verify(user),
            "sends_mail": entry.security.sends_mail,
            "factors": factors,
            "setup": setup,
            "qr": None if setup is None else qr_code(setup.uri),
            "codes": codes,
            "mark_of_codes": await entry.factors.mark_of_codes(user.id) if factors.required else "",
            "passkeys": passkeys,
            "sessions": self._session_rows(request, sessions, countries),
            "logins": LoginRow.merged(events, logins, countries, lambda kind: kind_text(request.locale, kind)),
        }
        return View("account_security.html", values, Head(title=request.locale.text("Security")), status)

    def _session_rows(
        self, request: SiteRequest, sessions: Sequence[WebSession], countries: Mapping[str, str]
    ) -> list[SessionRow]:
        current = request.visitor.session
        return [
            SessionRow(
                id=session.public_id,
                browser=browser_of(session.agent),
                address=session.address,
                country=countries.get(session.address, UNKNOWN),
                created_at_ms=session.created_at_ms,
                seen_at_ms=session.seen_at_ms,
                current=current is not None and session.hash == current.hash,
            )
            for session in sessions
        ]

    async def _refused(self, request: SiteRequest, form: str, error: Refused | Invalid | TooManyGuesses) -> Response:
        """Return the page with the error of one form."""
        text = request.locale.text
        status, errors = 422, {}
        if isinstance(error, TooManyGuesses | TooManyCodes | TooManyMails):
            status, message = 429, too_many(request, error.retry_s)
        elif isinstance(error, Invalid):
            message = text("Nothing was changed. Check the marked field.")
            errors[error.field] = (
                text("This is not your current password.")
                if error.field == "current_password"
                else text("Must be %(allowed)s.", allowed=request.locale.phrase(error.allowed))
            )
        elif isinstance(error, WrongCode):
            message = text("Wrong code.")
            errors["code"] = text("This code is wrong, or it was used before.")
        else:
            reason = request.locale.phrase(error.reason)
            message = f"{reason[:1].upper()}{reason[1:]}."
        return await self._page(request, {form: FormState({}, errors, message)}, status=status)

    # --- password and e-mail

    async def _change_password(self, request: SiteRequest) -> Response:
        user, origin = request.visitor.player, origin_of(request)
        current, new = request.form.text("current_password") or "", request.form.text("password") or ""
        try:
            await self._entry.security.change_password(user, current, new, origin)
        except (Invalid, TooManyGuesses) as error:
            return await self._refused(request, "password", error)
        # The change has ended all sessions, also this one.
        token = await self._entry.web_login.open_session(user.id, origin, second_factor=_has_second_factor(request))
        return Redirect(f"{PATH}?saved=password", cookies=(session_cookie(token),))

    async def _change_email(self, request: SiteRequest) -> Response:
        user, origin = request.visitor.player, origin_of(request)
        current, email = request.form.text("current_password") or "", (request.form.text("email") or "").strip()
        try:
            pending = await self._entry.security.change_email(user, current, email, origin)
        except (Invalid, TooManyGuesses) as error:
            refused = await self._refused(request, "email", error)
            return _with_typed(refused, "email", {"email": email[:254]})
        return Redirect(f"{PATH}?saved={'email-sent' if pending else 'email'}")

    async def _send_verification(self, request: SiteRequest) -> Response:
        try:
            await self._entry.security.resend_verification(request.visitor.player)
        except TooManyMails as error:
            return await self._refused(request, "email", error)
        return Redirect(f"{PATH}?saved=verification")

    # --- the authenticator

    async def _set_up_authenticator(self, request: SiteRequest) -> Response:
        with contextlib.suppress(Conflict):  # it was turned on in another window
            await self._entry.factors.set_up(request.visitor.player)
        return Redirect(f"{PATH}#authenticator")

    async def _turn_on_authenticator(self, request: SiteRequest) -> Response:
        user = request.visitor.player
        try:
            codes = await self._entry.factors.turn_on(user, request.form.text("code") or "", origin_of(request))
        except (WrongCode, TooManyCodes) as error:
            return await self._refused(request, "authenticator", error)
        except Conflict:
            return Redirect(f"{PATH}#authenticator")
        if request.visitor.session is not None:
            await self._sessions.mark_second_factor(request.visitor.session)
        saved = request.locale.text("The authenticator is on. Save your recovery codes now: they are shown only once.")
        return await self._page(request, {}, codes=codes, saved=saved)

    async def _turn_off_authenticator(self, request: SiteRequest) -> Response:
        user, origin = request.visitor.player, origin_of(request)
        try:
            await self._entry.security.check_password(user, request.form.text("current_password") or "", origin)
        except (Invalid, TooManyGuesses) as error:
            return await self._refused(request, "authenticator", error)
        await self._entry.factors.turn_off(user, origin)
        return Redirect(f"{PATH}?saved=authenticator-off")

    async def _new_recovery_codes(self, request: SiteRequest) -> Response:
        user, origin = request.visitor.player, origin_of(request)
        try:
            await self._entry.security.check_password(user, request.form.text("current_password") or "", origin)
            seen = request.form.text("seen") or ""
            codes = await self._entry.factors.new_recovery_codes(user, origin, seen=seen)
        except (Invalid, TooManyGuesses, Refused) as error:
            return await self._refused(request, "authenticator", error)
        saved = request.locale.text("Save your new recovery codes now: they are shown only once.")
        return await self._page(request, {}, codes=codes, saved=saved)

    # --- passkeys

    async def _passkey_options(self, request: SiteRequest) -> Response:
        return json_answer(await self._entry.passkeys.begin_adding(request.visitor.player))

    async def _add_passkey(self, request: SiteRequest) -> Response:
        user, name = request.visitor.player, request.form.text("passkey_name") or ""
        try:
            state, response = passkey_answer(request)
            codes = await self._entry.passkeys.add(user, state, response, name, origin_of(request))
        except BadPasskey:
            message = request.locale.text("The passkey was not added. The browser must support passkeys.")
            form = FormState({"passkey_name": name[:64]}, {}, message)
            return await self._page(request, {"passkeys": form}, status=422)
        except Conflict:
            form = FormState({}, {}, request.locale.text("This passkey was added before."))
            return await self._page(request, {"passkeys": form}, status=422)
        except (Invalid, Refused) as error:
            return await self._refused(request, "passkeys", error)
        if not codes:
            return Redirect(f"{PATH}?saved=passkey")
        saved = request.locale.text("The passkey was added. Save your recovery codes now: they are shown only once.")
        return await self._page(request, {}, codes=codes, saved=saved)

    async def _remove_passkey(self, request: SiteRequest) -> Response:
        passkey_id = whole_number(request.form.text("passkey") or "") or 0
        await self._entry.passkeys.remove(request.visitor.player, passkey_id, origin_of(request))
        return Redirect(f"{PATH}?saved=passkey-removed")

    # --- sessions

    async def _end_session(self, request: SiteRequest) -> Response:
        await self._entry.security.end_session(
            request.visitor.player, request.form.text("session") or "", origin_of(request)
        )
        return Redirect(f"{PATH}?saved=session")

    async def _end_other_sessions(self, request: SiteRequest) -> Response:
        await self._entry.security.end_sessions(
            request.visitor.player, current=request.visitor.session, origin=origin_of(request)
        )
        return Redirect(f"{PATH}?saved=sessions")


def _saved(request: SiteRequest) -> str:
    """Return the message of the form that redirected to the page."""
    text = request.locale.text
    sentences = {
        "password": text("Your password was changed. All other sessions have ended."),
        "email": text("Your e-mail address was changed."),
        "email-sent": text("Open the link that was sent to the new address to confirm the change."),
        "verification": text("A mail with a link is on its way."),
        "authenticator-off": text("The authenticator is off."),
        "passkey": text("The passkey was added."),
        "passkey-removed": text("The passkey was removed."),
        "session": text("The session has ended."),
        "sessions": text("All other sessions have ended."),
    }
    return sentences.get(request.query.values.get("saved", ""), "")


def _has_second_factor(request: SiteRequest) -> bool:
    session = request.visitor.session
    return session is not None and session.second_factor_at_ms is not None


def _with_typed(response: Response, form: str, typed: Mapping[str, str]) -> Response:
    """Return the page with what the visitor typed into one of its forms."""
    assert isinstance(response, View)
    forms = dict(response.values["forms_of"])
    forms[form] = msgspec.structs.replace(forms[form], values=typed)
    return msgspec.structs.replace(response, values={**response.values, "forms_of": forms})

"""The gateway of the website: finds out who visits, checks forms, limits requests and turns errors into pages.

    request -> limit by address -> cookie -> visitor -> access -> form, CSRF token -> limit by account
            -> the page's handler -> View, Redirect or Content -> headers, ETag, compression

A form is accepted only with the token of the visitor's session, or of the form cookie for visitors without one, and
only from this site (docs/spec/security.md#forms-of-the-website).
"""

import hashlib
import hmac
import math
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Final, Literal
from urllib.parse import quote, urlsplit

import falcon
import falcon.asgi
import msgspec

from kiai import errors
from kiai.accounts import TooManyGuesses
from kiai.accounts.avatars import NotAPicture
from kiai.accounts.web_sessions import SESSION_MS, WebSessions
from kiai.clock import Clock
from kiai.errors import KiaiError, NotAllowed, NotAuthenticated, NotFound, Unavailable, UnderMaintenance
from kiai.faces.asgi import GET_ONLY, FalconApp, falcon_app, no_options, status_of
from kiai.faces.compression import Compression
from kiai.faces.forms import Form, FormReader
from kiai.faces.rate_limit import RateLimit
from kiai.faces.request_body import BodyTooLarge
from kiai.faces.site.locale import choose_language, locale_of
from kiai.faces.site.page import (
    HTML,
    Access,
    BadParameter,
    Content,
    Cookie,
    Head,
    Page,
    QueryString,
    Redirect,
    Response,
    SiteRequest,
    Stream,
    View,
    Visitor,
    cookie_name,
)
from kiai.faces.site.templating import Templates
from kiai.faces.streams import StreamSender
from kiai.ids import Ids
from kiai.logs import Outage
from kiai.networks import network_of
from kiai.osu.privileges import STAFF, effective
from kiai.realtime.rate_limiter import RateLimiter

SESSION_COOKIE: Final = "kiai"
FORM_COOKIE: Final = "kiai-form"
FORM_TOKEN_BYTES: Final = 24
COOKIES_MAX: Final = 4_096  # characters of the header
TOKEN_TEXT_MAX: Final = 64
PARTS_MAX: Final = 60
RETRY_AFTER_S: Final = 5
MAINTENANCE_RETRY_S: Final = 300
SECOND_FACTOR_PATH: Final = "/admin/second-factor"
SECOND_FACTOR_MS: Final = 12 * 3600 * 1000
"""Time for which a second factor is recent enough for the pages of staff."""
PATH_SAFE: Final = "/:@!$&'()*+,;=-._~"
"""Characters that a path may contain as they are (RFC 3986, section 3.3)."""
THEMES: Final = ("dark", "light")

_SECURITY: Final = (
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
        "media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
_HSTS: Final = ("Strict-Transport-Security", "max-age=31536000")


class TooManyPages(KiaiError):
    """The visitor has exceeded a rate limit. The next request is allowed in `retry_s` seconds."""

    def __init__(self, retry_s: float) -> None:
        super().__init__(f"too many requests; the next is allowed in {retry_s:.0f} s")
        self.retry_s = retry_s


class NeedsSecondFactor(KiaiError):
    """The page is for staff who has used a second factor in the last 12 hours."""


class ForgedForm(KiaiError):
    """A form without the visitor's token, or from another site."""


class MethodNotAllowed(KiaiError):
    """The page exists, but not for this method."""

    def __init__(self, allowed: str) -> None:
        super().__init__(f"the page allows {allowed}")
        self.allowed = allowed


class SiteGateway:
    """Serves pages. `hosts_tls` says whether visitors reach the site by https when a proxy does not tell.

    `sends_hsts` says whether pages over https tell browsers to use nothing else.
    """

    def __init__(
        self,
        templates: Templates,
        sessions: WebSessions,
        limiter: RateLimiter,
        clock: Clock,
        ids: Ids,
        under_maintenance: Callable[[], bool],
        streams: StreamSender,
        *,
        limited: bool,
        hosts_tls: bool,
        sends_hsts: bool = True,
        staff_second_factor: bool,
    ) -> None:
        self._templates = templates
        self._sessions = sessions
        self._limiter = limiter
        self._clock = clock
        self._ids = ids
        self._under_maintenance = under_maintenance
        self._limited = limited
        self._hosts_tls = hosts_tls
        self._sends_hsts = sends_hsts
        self._staff_second_factor = staff_second_factor
        self._compression = Compression()
        self._streams = streams
        self._outage = Outage("site", "unavailable", "available again")

    def app(self, pages: list[Page]) -> FalconApp:
        """Return the application that serves these pages. A page may be `*`, which gets all other paths."""
        by_path: dict[str, dict[str, Page]] = {}
        for page in pages:
            by_path.setdefault(page.path, {})[page.method] = page
        app = falcon_app()
        for path, methods in by_path.items():
            if path != "*":
                app.add_route(path, _Resource(self, methods))
        others = _Resource(self, by_path.get("*", {}))

        async def other(req: falcon.asgi.Request, resp: falcon.asgi.Response | None, **_: str) -> None:
            assert resp is not None  # None is for web sockets
            await others.serve(req, resp, {"path": req.path})

        async def on_http_error(
            req: falcon.asgi.Request, resp: falcon.asgi.Response, error: falcon.HTTPError, params: dict[str, str]
        ) -> None:
            template = req.uri_template or "other"
            req.scope.setdefault("kiai.route", template)
            if status_of(req, error) == falcon.HTTP_405:
                await self.refuse(req, resp, MethodNotAllowed(_allowed(by_path.get(template, {}))))
            else:
                await self.refuse(req, resp, BadParameter("", "", ""))

        app.add_error_handler(falcon.HTTPError, on_http_error)
        app.add_sink(other)
        return app

    async def serve(
        self, page: Page, req: falcon.asgi.Request, resp: falcon.asgi.Response, path: Mapping[str, str]
    ) -> None:
        """Answer one request. Raises only errors that are bugs of the server."""
        visit = _Visit(req, self._is_secure(req))
        try:
            request = await self._request(page, req, visit, path)
            shorter = without_slash(request)
            answer: Response = await page.handler(request) if shorter is None else Redirect(shorter, 301)
            self._outage.worked()
        except KiaiError as error:
            request, answer = self._on_error(error, visit)
        await self._send(req, resp, visit, request, answer)

    async def refuse(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, error: KiaiError) -> None:
        """Answer a request that belongs to no page."""
        visit = _Visit(req, self._is_secure(req))
        request, answer = self._on_error(error, visit)
        await self._send(req, resp, visit, request, answer)

    def _on_error(self, error: KiaiError, visit: "_Visit") -> tuple[SiteRequest, Response]:
        request = visit.request or self._anonymous(visit)
        if isinstance(error, Unavailable):
            self._outage.failed(error)
        return request, error_response(error, request)

    # --- the request

    def _anonymous(self, visit: "_Visit") -> SiteRequest:
        return visit.build("GET", {}, Form(), Visitor(), self._clock.now_ms())

    async def _request(
        self, page: Page, req: falcon.asgi.Request, visit: "_Visit", path: Mapping[str, str]
    ) -> SiteRequest:
        network = network_of(visit.address)
        if page.method == "GET":
            await self._check_rate_limit(page.limit, network)
        visitor = await self._visitor(visit)
        # Kept before the checks, so that the page of an error knows the visitor, too.
        visit.request = visit.build(page.method, path, Form(), visitor, self._clock.now_ms())
        if self._under_maintenance() and not page.under_maintenance and not _is_staff(visitor):
            raise UnderMaintenance
        if page.access is not Access.PUBLIC and visitor.user is None:
            raise NotAuthenticated
        if page.access is Access.STAFF:
            self._check_staff(page, visitor)
        if page.method == "GET":
            return visit.request
        await self._check_rate_limit(page.limit, network if visitor.user is None else f"user:{visitor.user.id}")
        if visitor.restricted and not page.restricted:
            raise NotAllowed("unrestricted")
        reader = FormReader(req, page.body_max, page.part_max, parts_max=PARTS_MAX)
        await reader.read_small()
        form = await reader.read_all()
        if page.csrf:
            self._check_csrf(req, visitor, form)
        visit.request = msgspec.structs.replace(visit.request, form=form)
        return visit.request

    async def _visitor(self, visit: "_Visit") -> Visitor:
        token = visit.secret_cookie(SESSION_COOKIE)
        found = await self._sessions.find(token, visit.address) if token else None
        if found is not None:
            return Visitor(found[1], found[0], _csrf_token(token))
        form_token = visit.secret_cookie(FORM_COOKIE)
        if not form_token or len(form_token) > TOKEN_TEXT_MAX:
            form_token = self._ids.token(FORM_TOKEN_BYTES)
            visit.form_token = form_token
        return Visitor(csrf_token=_csrf_token(form_token))

    def _check_staff(self, page: Page, visitor: Visitor) -> None:
        if not visitor.may(page.permission):  # the domain checks again; here it hides that the page exists
            raise NotFound("page")
        if self._staff_second_factor and not has_recent_second_factor(visitor, self._clock.now_ms()):
            raise NeedsSecondFactor

    def _check_csrf(self, req: falcon.asgi.Request, visitor: Visitor, form: Form) -> None:
        origin = req.get_header("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != (req.get_header("Host") or "").lower():
            raise ForgedForm
        given = form.text("csrf_token") or req.get_header("X-CSRF-Token") or ""
        if not hmac.compare_digest(given.encode(errors="replace"), visitor.csrf_token.encode()):
            raise ForgedForm

    async def _check_rate_limit(self, limit: RateLimit, bucket: str) -> None:
        if not self._limited:
            return
        result = await self._limiter.consume(
            f"{limit.name}:{bucket}", limit=limit.count, period_s=limit.period_s, burst=limit.burst
        )
        if not result.granted:
            raise TooManyPages(result.reset_s)

    def _is_secure(self, req: falcon.asgi.Request) -> bool:
        if req.scope.get("kiai.proxied"):
            forwarded = req.get_header("X-Forwarded-Proto")
            return self._hosts_tls if forwarded is None else forwarded.rpartition(",")[2].strip() == "https"
        return bool(req.scope.get("scheme") == "https")

    # --- the answer

    async def _send(
        self,
        req: falcon.asgi.Request,
        resp: falcon.asgi.Response,
        visit: "_Visit",
        request: SiteRequest,
        answer: Response,
    ) -> None:
        resp.set_headers(_SECURITY)
        if visit.secure and self._sends_hsts:
            resp.set_header(*_HSTS)
        cookies = list(answer.cookies)
        if isinstance(answer, Redirect):
            resp.status = answer.status
            resp.set_header("Location", answer.to)
            if request.visitor.user is not None or cookies:
                resp.set_header("Cache-Control", "private, no-store")
        elif isinstance(answer, Stream):
            self._streams.send(req, resp, answer, lasts=_is_staff(request.visitor))
        elif isinstance(answer, Content):
            resp.status = answer.status
            resp.content_type = answer.content_type
            if answer.chunks is None:
                resp.data = answer.body
            else:
                resp.stream = answer.chunks
                resp.content_length = answer.size
            if request.visitor.user is not None:
                resp.set_header("Cache-Control", "private, no-store")
            resp.set_headers(answer.headers)
        else:
            if not answer.public and visit.form_token:
                cookies.append(Cookie(FORM_COOKIE, visit.form_token, secret=True))
            await self._send_view(req, resp, request, answer)
        for cookie in cookies:
            resp.append_header("Set-Cookie", visit.cookie_header(cookie))

    async def _send_view(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, request: SiteRequest, view: View
    ) -> None:
        text = self._templates.render(
            view.template,
            request.locale,
            {
                "form": None,
                **view.values,
                "head": view.head,
                "visitor": request.visitor,
                "theme": request.theme,
                "here": request.url,
                "now_ms": request.now_ms,
                "status": view.status,
            },
        )
        resp.status = view.status
        resp.content_type = HTML
        resp.data = text.encode()
        resp.set_headers(view.headers)
        resp.set_header("Vary", "Accept-Encoding, Accept-Language, Cookie")
        if request.visitor.user is not None or not view.public:
            resp.set_header("Cache-Control", "private, no-store")
        else:
            resp.set_header("Cache-Control", "no-cache")
            if view.status == 200:
                etag = f'W/"{hashlib.blake2b(resp.data, digest_size=12).hexdigest()}"'
                resp.set_header("ETag", etag)
                if etag in [given.strip() for given in (req.get_header("If-None-Match") or "").split(",")[:8]]:
                    resp.status = 304
                    resp.data = None
                    return
        await self._compression.apply(req, resp)


class _Visit:
    """The values of the headers of one request."""

    def __init__(self, req: falcon.asgi.Request, secure: bool) -> None:
        self.secure = secure
        self.headers: Mapping[str, str] = req.headers_lower
        self.address: str = req.scope["kiai.address"]
        self.cookies = _cookies(self.headers.get("cookie", ""))
        # Falcon has decoded the path. A redirect to `/<tab>/host` leads to another host, because browsers drop the tab.
        self.url: str = quote(req.path, safe=PATH_SAFE) + (f"?{req.query_string}" if req.query_string else "")
        self.query = {name: value if isinstance(value, str) else value[-1] for name, value in req.params.items()}
        self.form_token = ""
        """The value of a new form cookie; sent with a page that depends on it."""
        self.request: SiteRequest | None = None

    def secret_cookie(self, name: str) -> str:
        return self.cookies.get(cookie_name(name, self.secure), "")

    def cookie_header(self, cookie: Cookie) -> str:
        name = cookie_name(cookie.name, self.secure) if cookie.secret else cookie.name
        parts = [f"{name}={quote(cookie.value, safe='')}", "Path=/", "SameSite=Lax"]
        if cookie.max_age_s is not None:
            parts.append(f"Max-Age={cookie.max_age_s}")
        if cookie.secret:
            parts.append("HttpOnly")
        if self.secure:
            parts.append("Secure")
        return "; ".join(parts)

    def build(self, method: str, path: Mapping[str, str], form: Form, visitor: Visitor, now_ms: int) -> SiteRequest:
        language = choose_language(
            parameter=self.query.get("lang", ""),
            cookie=self.cookies.get("lang", ""),
            header=self.headers.get("accept-language", ""),
        )
        theme = self.cookies.get("theme", "")
        chosen: Literal["", "dark", "light"] = "dark" if theme == "dark" else "light" if theme == "light" else ""
        return SiteRequest(
            method=method,
            url=self.url,
            path=path,
            query=QueryString(self.query),
            form=form,
            headers=self.headers,
            cookies=self.cookies,
            address=self.address,
            now_ms=now_ms,
            visitor=visitor,
            locale=locale_of(language),
            theme=chosen,
            fragment=self.headers.get("x-fragment") == "1",
            secure=self.secure,
        )


class _Resource:
    """The Falcon resource of one path."""

    def __init__(self, gateway: SiteGateway, pages: Mapping[str, Page]) -> None:
        self._gateway = gateway
        self._pages = pages

    @property
    def methods(self) -> frozenset[str]:
        """The methods of the path, without HEAD."""
        return frozenset(self._pages)

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, **path: str) -> None:
        """Handle GET, and HEAD, which the front turns into GET."""
        await self.serve(req, resp, path)

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, **path: str) -> None:
        """Handle POST."""
        await self.serve(req, resp, path)

    on_options = staticmethod(no_options)

    async def serve(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, path: Mapping[str, str]) -> None:
        """Answer with the page of the method, or refuse the method."""
        req.scope["kiai.route"] = req.uri_template or "other"
        page = self._pages.get(req.method)
        if page is not None:
            await self._gateway.serve(page, req, resp, path)
        elif not self._pages or req.uri_template is None:
            await self._gateway.refuse(
                req, resp, NotFound("page") if req.method == "GET" else MethodNotAllowed(GET_ONLY)
            )
        else:
            await self._gateway.refuse(req, resp, MethodNotAllowed(_allowed(self._pages)))


def _allowed(pages: Mapping[str, Page]) -> str:
    """Return the Allow header of a path with these pages, by method."""
    return ", ".join(GET_ONLY if method == "GET" else method for method in sorted(pages)) or GET_ONLY


def without_slash(request: SiteRequest) -> str | None:
    """Return the address of a page whose path was given with a slash at its end, or None if it has none."""
    path, mark, query = request.url.partition("?")
    short = path.strip("/")
    if request.method != "GET" or not short or not path.endswith("/"):
        return None
    # One slash at the start: a browser would take `//name` for the name of another host.
    return f"/{short}{mark}{query}"


def session_cookie(token: str) -> Cookie:
    """Return the cookie of a new session."""
    return Cookie(SESSION_COOKIE, token, max_age_s=SESSION_MS // 1000, secret=True)


def no_session_cookie() -> Cookie:
    """Return the cookie that ends the session in the browser."""
    return Cookie(SESSION_COOKIE, "", max_age_s=0, secret=True)


def has_recent_second_factor(visitor: Visitor, now_ms: int) -> bool:
    """Return whether the session of a visitor has a second factor that is recent enough for acts of staff."""
    used_at_ms = None if visitor.session is None else visitor.session.second_factor_at_ms
    return used_at_ms is not None and now_ms - used_at_ms < SECOND_FACTOR_MS


def _is_staff(visitor: Visitor) -> bool:
    return visitor.user is not None and bool(effective(visitor.user.priv) & STAFF)


def _csrf_token(cookie: str) -> str:
    # The cookie is a secret of at least 192 bits, so nobody can compute the token without it.
    return hashlib.sha256(b"csrf:" + cookie.encode()).hexdigest()[:40]


def _cookies(header: str) -> dict[str, str]:
    if not header or len(header) > COOKIES_MAX:
        return {}
    jar = SimpleCookie()
    try:
        jar.load(header)
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in jar.items()}


def error_response(error: KiaiError, request: SiteRequest) -> Response:
    """Return the page of a domain error, or a redirect to the login page. Raises `error` again if it is a bug."""
    text = request.locale.text
    if isinstance(error, NotAuthenticated):
        target = request.url if request.method == "GET" else "/"
        return Redirect(f"/login?next={quote(target, safe='')}")
    if isinstance(error, NeedsSecondFactor):
        target = request.url if request.method == "GET" else "/admin"
        return Redirect(f"{SECOND_FACTOR_PATH}?next={quote(target, safe='')}")
    headers: tuple[tuple[str, str], ...] = ()
    match error:
        case NotFound(what="forum"):
            status, title, sentence = 404, text("Not found"), text("This server has no forum and no wiki.")
        case NotFound():
            status, title, sentence = 404, text("Not found"), text("This page does not exist.")
        case BadParameter(name=name, allowed=allowed):
            status, title = 400, text("Bad request")
            sentence = (
                text("The parameter %(name)s must be %(allowed)s.", name=name, allowed=request.locale.phrase(allowed))
                if name
                else text("The server does not understand this request.")
            )
        case ForgedForm():
            status, title = 403, text("Not allowed")
            sentence = text("This form has expired or comes from another site. Go back, reload the page and try again.")
        case NotAllowed():
            status, title, sentence = 403, text("Not allowed"), text("Your account may not do this.")
        case MethodNotAllowed(allowed=allowed):
            status, title, headers = 405, text("Method not allowed"), (("Allow", allowed),)
            sentence = text("This page does not accept this kind of request.")
        case BodyTooLarge():
            status, title, sentence = 413, text("Too large"), text("The file or text is larger than allowed.")
        case TooManyPages(retry_s=retry_s) | TooManyGuesses(retry_s=retry_s):
            seconds = max(1, math.ceil(retry_s))
            status, title, headers = 429, text("Too many requests"), (("Retry-After", str(seconds)),)
            sentence = request.locale.plural("Try again in %(num)s second.", "Try again in %(num)s seconds.", seconds)
        case UnderMaintenance():
            status, title, headers = 503, text("Maintenance"), (("Retry-After", str(MAINTENANCE_RETRY_S)),)
            sentence = text("The server is under maintenance. Only staff can log in. Come back later.")
        case Unavailable():
            status, title, headers = 503, text("Maintenance"), (("Retry-After", str(RETRY_AFTER_S)),)
            sentence = text("A part of the server cannot answer now. Try again in a moment.")
        case errors.Conflict():
            status, title, sentence = 409, text("Conflict"), text("Someone else has changed this meanwhile.")
        case errors.Refused() | errors.Invalid() | NotAPicture():
            status, title, sentence = 422, text("Refused"), request.locale.phrase(str(error))
        case _:
            raise error
    return View("error.html", {"title": title, "sentence": sentence}, Head(title=title), status, headers)

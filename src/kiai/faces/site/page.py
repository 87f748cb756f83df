"""The vocabulary of the website: what a page declares, what its handler gets and what it returns."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from enum import Enum
from typing import Any, Final, Literal

import msgspec

from kiai.accounts import User, Viewer
from kiai.accounts.web_sessions import WebSession
from kiai.errors import KiaiError, quoted
from kiai.faces.forms import Form
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site.admin.sections import SECTIONS
from kiai.faces.site.locale import Locale
from kiai.osu.modes import MODES
from kiai.osu.numbers import whole_number
from kiai.osu.privileges import effective, may

FORM_MAX: Final = 64 * 1024
BROWSING: Final = RateLimit("site", 20, 1.0, 60)
"""The shared limit of an address for all pages without a limit of their own."""
WRITING: Final = RateLimit("site-writes", 60, 60.0)
"""The shared limit of an account, or of an address without one, for all forms without a limit of their own."""
HTML: Final = "text/html; charset=utf-8"

_WHOLE: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_COUNTRY: Final = re.compile(r"[A-Za-z]{2}", re.ASCII)
_MODES_ALLOWED: Final = "one of 0, 1, 2, 3, 4, 5, 6 and 8"


class Access(Enum):
    """The visitors who may request a page.

    - `PUBLIC`: everybody.
    - `PLAYER`: a visitor with a session. Others are redirected to the login page.
    - `STAFF`: a visitor with the page's permission, and with a recent second factor where the server demands one. For
      other players the page does not exist.
    """

    PUBLIC = "public"
    PLAYER = "player"
    STAFF = "staff"


class BadParameter(KiaiError):
    """A parameter of the query has a form that the page does not know. The answer is the page of status 400."""

    def __init__(self, name: str, allowed: str, got: str) -> None:
        super().__init__(f"{name} must be {allowed}, got {quoted(got)}")
        self.name = name
        self.allowed = allowed


class QueryString:
    """The query string of a request. A repeated parameter has its last value."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = values

    def mode(self, otherwise: int) -> int:
        """Return the parameter `mode`. 7, the old number of autopilot, is 8."""
        text = self.values.get("mode", "")
        if not text:
            return otherwise
        mode = 8 if text == "7" else int(text) if _WHOLE.fullmatch(text) else -1
        if mode not in MODES:
            raise BadParameter("mode", _MODES_ALLOWED, text)
        return mode

    def whole(self, name: str, otherwise: int, *, at_least: int = 0, at_most: int = 10**9) -> int:
        """Return a whole number from a range."""
        text = self.values.get(name, "")
        if not text:
            return otherwise
        value = whole_number(text) if _WHOLE.fullmatch(text) else None
        if value is None or not at_least <= value <= at_most:
            raise BadParameter(name, f"a whole number from {at_least} to {at_most}", text)
        return value

    def choice(self, name: str, allowed: tuple[str, ...], otherwise: str) -> str:
        """Return one of the allowed texts."""
        text = self.values.get(name, "")
        if not text:
            return otherwise
        if text not in allowed:
            raise BadParameter(name, f"one of {', '.join(allowed)}", text)
        return text

    def flag(self, name: str) -> bool:
        """Return whether the parameter is 1. It may be 0, 1 or missing."""
        return self.choice(name, ("0", "1"), "0") == "1"

    def text(self, name: str, most: int = 100) -> str:
        """Return a text without surrounding space."""
        text = self.values.get(name, "").strip()
        if len(text) > most or "\0" in text:
            raise BadParameter(name, f"a text of at most {most} characters", text)
        return text

    def country(self) -> str | None:
        """Return the parameter `country` in lower case, as accounts have it."""
        text = self.values.get("country", "")
        if not text:
            return None
        if not _COUNTRY.fullmatch(text):
            raise BadParameter("country", "two letters of ISO 3166-1", text)
        return text.lower()


class Visitor(msgspec.Struct, frozen=True):
    """The person who requests a page. Without a session, `user` and `session` are None."""

    user: User | None = None
    session: WebSession | None = None
    csrf_token: str = ""  # of the session, or of the form cookie

    @property
    def player(self) -> User:
        """The account of the session. Only for pages with `Access.PLAYER`."""
        assert self.user is not None
        return self.user

    @property
    def viewer(self) -> Viewer:
        """The visitor as a viewer of other players, for the rules of visibility."""
        return Viewer() if self.user is None else Viewer(self.user.id, effective(self.user.priv))

    @property
    def restricted(self) -> bool:
        """Whether the account of the session is restricted."""
        return self.user is not None and not self.user.priv & 1

    def may(self, permission: str) -> bool:
        """Return whether the visitor has a permission, a key of `kiai.osu.privileges.PERMISSIONS`."""
        return self.user is not None and may(self.user.priv, permission)

    @property
    def start_of_admin(self) -> str:
        """The part of the admin panel that the visitor sees first, or an empty text without access to the panel."""
        return next((section.path for section in SECTIONS if self.may(section.permission)), "")

    @property
    def sees_requests(self) -> bool:
        """Whether the menu has the requests to rank sets. Their page checks the right itself."""
        return self.user is not None and may(self.user.priv, "beatmaps.requests")


class SiteRequest(msgspec.Struct, frozen=True):
    """A request that passed the gateway."""

    method: str
    url: str  # path and query, as the visitor sent them
    path: Mapping[str, str]
    query: QueryString
    form: Form
    headers: Mapping[str, str]  # names in lower case
    cookies: Mapping[str, str]
    address: str
    now_ms: int
    visitor: Visitor
    locale: Locale
    theme: Literal["", "dark", "light"] = ""  # empty: the theme of the system
    fragment: bool = False
    """The script of a page wants only a part of it."""
    secure: bool = False
    """The visitor uses TLS."""

    def secret_cookie(self, name: str) -> str:
        """Return a cookie that the site has set as `secret`, or an empty text."""
        # With TLS, only the name with the prefix: a page of a subdomain can set the other one.
        return self.cookies.get(cookie_name(name, self.secure), "")

    def id(self, name: str) -> int | None:
        """Return an id from the path, or None if it is not one; a page then answers 404."""
        text = self.path.get(name, "")
        return int(text) if _WHOLE.fullmatch(text) and 0 < int(text) < 2**31 else None


class Head(msgspec.Struct, frozen=True):
    """The metadata of a page. `path` is its canonical path, None for pages that are not indexed."""

    title: str = ""
    description: str = ""
    path: str | None = None
    image: str | None = None  # path of the picture for link previews
    image_size: tuple[int, int] | None = None
    kind: Literal["website", "profile", "article"] = "website"


class FormState(msgspec.Struct, frozen=True):
    """The values and errors of a form that is shown again. The names are those of its fields."""

    values: Mapping[str, str] = {}
    errors: Mapping[str, str] = {}
    message: str = ""  # of the form as a whole


class View(msgspec.Struct, frozen=True):
    """A page: a template and its values.

    `public` is False for a page whose content depends on the visitor's cookies also without a session, e.g. a form.
    """

    template: str
    values: Mapping[str, Any] = {}
    head: Head = Head()
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    cookies: tuple["Cookie", ...] = ()
    public: bool = True


class Cookie(msgspec.Struct, frozen=True):
    """A cookie to set. `max_age_s` is None for one that ends with the browser, 0 to delete it.

    `secret` cookies are not readable by script and have the prefix `__Host-` where the site uses TLS.
    """

    name: str
    value: str
    max_age_s: int | None = None
    secret: bool = False


def cookie_name(name: str, secure: bool) -> str:
    """Return the name that a browser has for a secret cookie."""
    return f"__Host-{name}" if secure else name


class Redirect(msgspec.Struct, frozen=True):
    """A redirect. 303 follows a form, 301 is a changed form of one address, 302 depends on data."""

    to: str
    status: Literal[301, 302, 303] = 303
    cookies: tuple[Cookie, ...] = ()


class Content(msgspec.Struct, frozen=True):
    """An answer that is not a page, e.g. JSON or a file.

    A large file is sent as `chunks` of `size` bytes in total, with an empty `body`.
    """

    body: bytes
    content_type: str
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    cookies: tuple[Cookie, ...] = ()
    chunks: AsyncIterator[bytes] | None = None
    size: int = 0


class Stream(msgspec.Struct, frozen=True):
    """An answer that lasts until the visitor leaves the page. `end` is called at that moment."""

    chunks: AsyncIterator[bytes]
    content_type: str
    end: Callable[[], None]
    cookies: tuple[Cookie, ...] = ()


Response = View | Redirect | Content | Stream
Handler = Callable[[SiteRequest], Awaitable[Response]]


class Page(msgspec.Struct, frozen=True):
    """A route and its handler.

    - `path`: a Falcon template, e.g. `/users/{user}`.
    - `permission`: what a page with `Access.STAFF` needs, a key of `kiai.osu.privileges.PERMISSIONS`.
    - `restricted`: restricted players may also use this form. They may always read pages.
    - `rate_limit`: of an account for forms, of an address for pages and for visitors without a session.
    - `body_max`, `part_max`: the maximum size of a form and of each part, in bytes.
    - `csrf`: whether a form needs the token. Only a request that changes nothing may do without.
    - `under_maintenance`: whether everybody may open it during maintenance, as staff has to log in.
    """

    method: Literal["GET", "POST"]
    path: str
    handler: Handler
    access: Access = Access.PUBLIC
    permission: str = ""
    restricted: bool = False
    rate_limit: RateLimit | None = None
    body_max: int = FORM_MAX
    part_max: int = FORM_MAX
    csrf: bool = True
    under_maintenance: bool = False

    @property
    def limit(self) -> RateLimit:
        """The rate limit in force."""
        return self.rate_limit or (BROWSING if self.method == "GET" else WRITING)

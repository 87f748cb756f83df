"""The site's pages. So far one: what this server is, how it is doing, and where to go from here."""

import re
from importlib import resources
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import falcon
import falcon.asgi
import jinja2

from kiai import __version__
from kiai.accounts import Accounts
from kiai.faces.asgi import GET_ONLY, FalconApp, falcon_app, no_options
from kiai.realtime.port import Realtime
from kiai.realtime.reading import online_count

if TYPE_CHECKING:
    from kiai.settings import Settings

HTML: Final = "text/html; charset=utf-8"
_STATIC: Final = re.compile(r"[a-z-]{1,32}\.css")
_HEADERS: Final = (
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)


# What the game opens in a browser (docs/spec/web.md#pages-that-the-game-opens) and the lines of the bot link to, and
# where that is on this site.
_MOVED: Final = (
    (re.compile(r"/u/([^/]{1,64})"), "/users/{}"),
    (re.compile(r"/b/([0-9]{1,10})", re.ASCII), "/beatmaps/{}"),
    (re.compile(r"/s/([0-9]{1,10})", re.ASCII), "/beatmapsets/{}"),
    (re.compile(r"/mp/([0-9]{1,10})", re.ASCII), "/community/matches/{}"),
    (re.compile(r"/p/(?:playerranking|countryranking)"), "/rankings"),
    (re.compile(r"/p/changelog"), "/changelog"),
    (re.compile(r"/p/verify"), "/"),
    (re.compile(r"/forum/t/([0-9]{1,10})", re.ASCII), "/community/forums/topics/{}"),
)


def moved_to(path: str) -> str | None:
    """Where on this site the page is that the game knows under this path; None for no such page.

    A path, never an address: it is right behind every proxy and on every port.
    """
    for pattern, target in _MOVED:
        if found := pattern.fullmatch(path):
            return target.format(*(quote(part, safe="") for part in found.groups()))
    return None


class Site:
    """The handlers of the bare host."""

    def __init__(self, settings: "Settings", accounts: Accounts, realtime: Realtime) -> None:
        self._settings = settings
        self._accounts = accounts
        self._realtime = realtime
        here = resources.files("kiai.faces.site")
        self._static = here.joinpath("static")
        folder = here.joinpath("templates")
        self._templates = jinja2.Environment(
            loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def app(self) -> FalconApp:
        """The ASGI application."""
        app = falcon_app()
        app.add_route("/", _Page(self._home))
        app.add_route("/static/{name}", _Page(self._file))
        app.add_sink(self._other)
        return app

    async def _home(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        req.scope["kiai.route"] = "/"
        self._show(
            resp,
            "home.html",
            online=await online_count(self._realtime),
            total=await self._accounts.total(),
        )

    async def _file(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, name: str) -> None:
        req.scope["kiai.route"] = "/static/{name}"
        file = self._static.joinpath(name) if _STATIC.fullmatch(name) else None
        if file is None or not file.is_file():
            await self._nowhere(req, resp)
            return
        resp.set_header("Cache-Control", "public, max-age=3600")
        resp.content_type = "text/css; charset=utf-8"
        resp.data = file.read_bytes()

    async def _other(self, req: falcon.asgi.Request, resp: falcon.asgi.Response | None, **_: str) -> None:
        """A page that the game opens under an old address moves to where it is; everything else is nowhere."""
        assert resp is not None  # None is for web sockets
        moved = moved_to(req.path) if req.method in ("GET", "HEAD") else None
        if moved is None:
            await self._nowhere(req, resp)
            return
        req.scope["kiai.route"] = "moved"
        resp.status = 302
        resp.set_header("Location", moved)

    async def _nowhere(self, req: falcon.asgi.Request, resp: falcon.asgi.Response | None, **_: str) -> None:
        assert resp is not None  # None is for web sockets
        if req.method not in ("GET", "HEAD"):
            resp.status = 405
            resp.set_header("Allow", GET_ONLY)
            return
        resp.status = 404
        self._show(resp, "nowhere.html")

    def _show(self, resp: falcon.asgi.Response, template: str, **values: object) -> None:
        resp.set_headers(_HEADERS)
        resp.set_header("Cache-Control", "no-cache")
        resp.content_type = HTML
        resp.text = self._templates.get_template(template).render(
            title=self._settings.title, domain=self._settings.domain, version=__version__, **values
        )


class _Page:
    def __init__(self, answer: object) -> None:
        self.on_get = answer
        self.on_options = no_options

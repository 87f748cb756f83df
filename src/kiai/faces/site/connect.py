"""How to connect the game to this server."""

from collections.abc import Sequence
from typing import Final

from kiai.errors import NotFound, Unavailable
from kiai.faces.site.live import Fragment, LivePart
from kiai.faces.site.locale import Locale
from kiai.faces.site.page import Content, Head, Page, Redirect, Response, SiteRequest, View, Visitor
from kiai.faces.site.templating import Templates
from kiai.live import Live
from kiai.realtime.following import LiveEvent
from kiai.realtime.port import Realtime, Session

SYSTEMS: Final = ("windows", "macos", "linux")
MOVED: Final = ("/doc/connection_guide", "/home/download", "/p/verify", "/wiki/Connection")
# Presence events leave out accounts that others do not see, so the page asks as well.
ASKED_EVERY_S: Final = 1.0
_SHORTCUT: Final = r"""@echo off
rem Starts the installed game of osu! on the server {domain}.
setlocal DisableDelayedExpansion
set "GAME=%~dp0osu!.exe"
if exist "%GAME%" goto start
set "GAME=%LOCALAPPDATA%\osu!\osu!.exe"
if exist "%GAME%" goto start
set "GAME=%ProgramFiles%\osu!\osu!.exe"
if exist "%GAME%" goto start
set "GAME=%ProgramFiles(x86)%\osu!\osu!.exe"
if exist "%GAME%" goto start
echo The game was not found in %LOCALAPPDATA%\osu!
echo Move this file into the folder that contains osu!.exe and start it again.
pause
exit /b 1
:start
start "" "%GAME%" -devserver {domain}
"""


class ConnectPages:
    """The page, the shortcut for Windows, and the line that tells a player that the game has logged in."""

    def __init__(self, domain: str, live: Live, realtime: Realtime, templates: Templates) -> None:
        self._domain = domain
        self._live = live
        self._realtime = realtime
        self._templates = templates

    def pages(self) -> list[Page]:
        """Return the pages, and their old addresses."""
        return [
            Page("GET", "/connect", self._connect),
            Page("GET", "/connect/kiai.cmd", self._shortcut),
            *[Page("GET", path, self._moved) for path in MOVED],
        ]

    def live_parts(self) -> list[LivePart]:
        """Return the line about the player's own client."""
        return [LivePart("client", _player_of, self._client_fragment, _own, every_s=ASKED_EVERY_S)]

    async def _moved(self, request: SiteRequest) -> Response:
        return Redirect("/connect", 301)

    async def _connect(self, request: SiteRequest) -> Response:
        user = request.visitor.user
        client = None
        if user is not None:
            try:
                client = await self._client(user.id)
            except Unavailable:  # the instructions need no shared state
                client = None
        values = {
            "os": request.query.choice("os", SYSTEMS, "windows"),
            "client": client,
            "shortcut": f"osu! on {self._domain}.cmd",
        }
        head = Head(
            request.locale.text("Connect your game"),
            request.locale.text("How to play on this server with Windows, macOS and Linux"),
            "/connect",
        )
        return View("connect.html", values, head)

    async def _shortcut(self, request: SiteRequest) -> Response:
        body = _SHORTCUT.format(domain=self._domain).replace("\n", "\r\n").encode()
        headers = (("Content-Disposition", f'attachment; filename="osu! on {self._domain}.cmd"'),)
        return Content(body, "application/octet-stream", headers=headers)

    async def _client(self, user_id: int) -> Session | None:
        """Return the session of the player's game, or None."""
        sessions = await self._realtime.sessions_of(user_id)
        return next((session for session in sessions if session.is_game), None)

    async def _client_fragment(self, key: str, locale: Locale, changes: int) -> Fragment:
        client = await self._client(int(key))
        given = {"visitor": Visitor(), "now_ms": self._live.clock.now_ms(), "client": client}
        return Fragment(self._templates.render("live/client.html", locale, given))


def _player_of(event: LiveEvent) -> Sequence[str]:
    return (str(event.user_id),) if event.type == "presence" and event.user_id is not None else ()


async def _own(request: SiteRequest, key: str) -> str:
    user = request.visitor.user
    if user is None or key != str(user.id):
        raise NotFound("part")
    return key

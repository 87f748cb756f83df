"""Redirects of old addresses, and the page of all paths that the site does not have."""

import re
from typing import Final
from urllib.parse import quote

from kiai.errors import NotFound
from kiai.faces.site.page import Page, Redirect, Response, SiteRequest

_MODES: Final = {"osu": 0, "std": 0, "taiko": 1, "catch": 2, "fruits": 2, "ctb": 2, "mania": 3}
_VARIANTS: Final = {"vn": 0, "rx": 4, "ap": 8}
_SORTS: Final = {
    "pp": "",
    "performance": "",
    "score": "rscore",
    "rscore": "rscore",
    "tscore": "tscore",
    "plays": "plays",
}

# Addresses that the game opens in a browser (docs/spec/web.md#pages-that-the-game-opens), that the bot links to, and
# that other websites of this game have (docs/spec/site.md#old-addresses), with their addresses on this site.
_MOVED: Final = tuple(
    (re.compile(pattern, re.ASCII), target)
    for pattern, target in (
        (r"/u/([^/]{1,64})", "/users/{}"),
        (r"/rx/u/([0-9]{1,10})", "/users/{}?mode=4"),
        (r"/scores/(?:osu|taiko|fruits|mania)/([0-9]{1,19})", "/scores/{}"),
        (r"/(?:c|clan)/([0-9]{1,10})", "/clans/{}"),
        (r"/(?:lb|rankings|p/playerranking)", "/leaderboard"),
        (r"/p/countryranking", "/leaderboard/countries"),
        (r"/(?:p/changelog|changelog)", "/news"),
        (r"/(?:signup|p/register)", "/register"),
        (r"/home/account/edit", "/settings/profile"),
        (r"/forum/t/([0-9]{1,10})", "/community/forums/topics/{}"),
    )
)
_RANKING: Final = re.compile(r"/rankings/(osu|taiko|fruits|mania)(?:/(performance|score|country))?", re.ASCII)
_BOARD: Final = re.compile(r"/leaderboard/(std|osu|taiko|catch|ctb|fruits|mania)/([a-z]{2,8})/(vn|rx|ap)", re.ASCII)
_TOPIC: Final = re.compile(r"/community/forums/topics/([0-9]{1,10})", re.ASCII)
_FORUM: Final = ("/forum", "/community/forums", "/wiki")


def moved_to(path: str) -> str | None:
    """Return the path of a page that is known under `path`, or None for an unknown page.

    The result has no host, so it is valid behind every proxy and on every port.
    """
    for pattern, target in _MOVED:
        if found := pattern.fullmatch(path):
            # Quoted again, because Falcon has decoded the path: a name can contain %2F or %3F.
            return target.format(*(quote(part, safe="") for part in found.groups()))
    if found := _RANKING.fullmatch(path):
        mode, kind = _MODES[found[1]], found[2]
        return f"/leaderboard/countries?mode={mode}" if kind == "country" else _leaderboard(mode, kind or "pp")
    if found := _BOARD.fullmatch(path):
        mode = _MODES[found[1]] + _VARIANTS[found[3]]
        return _leaderboard(mode, found[2]) if found[2] in _SORTS and mode in (0, 1, 2, 3, 4, 5, 6, 8) else None
    return None


def _leaderboard(mode: int, sort: str) -> str:
    return f"/leaderboard?mode={mode}" + (f"&sort={_SORTS[sort]}" if _SORTS[sort] else "")


class Redirects:
    """The answers to all paths without a page. `forum_url` is the forum of the server, if it has one."""

    def __init__(self, forum_url: str | None) -> None:
        self._forum_url = forum_url

    def pages(self) -> list[Page]:
        """Return the page of all other paths."""
        return [Page("GET", "*", self._other)]

    async def _other(self, request: SiteRequest) -> Response:
        path = request.path["path"]
        query = request.url.partition("?")[2]
        if _TOPIC.fullmatch(path) and self._forum_url is not None:
            return Redirect(self._forum_url, 302)
        moved = moved_to(path)
        if moved is None:
            raise NotFound("forum" if path.startswith(_FORUM) else "page")
        if query and "?" not in moved:
            moved = f"{moved}?{query}"
        # The page under the address of a name depends on data: the player may be renamed.
        return Redirect(moved, 302 if path.startswith("/u/") else 301)

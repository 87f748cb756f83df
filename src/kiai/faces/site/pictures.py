"""Avatars, covers and icons of clans, on the site itself, so that pages load nothing from another host.

Players and sets without a picture have a generated one (`generated_pictures.py`).
"""

import base64
import hashlib
import re
from typing import Final

from kiai.accounts.avatars import Avatars
from kiai.accounts.covers import ProfileCovers
from kiai.accounts.model import ID_MAX
from kiai.beatmaps import Beatmaps
from kiai.beatmaps.pictures import COVERS, MapPictures
from kiai.clans.icons import ClanIcons
from kiai.errors import NotFound
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site.generated_pictures import avatar, cover
from kiai.faces.site.page import Content, Page, Response, SiteRequest
from kiai.networks import network_of

PICTURES: Final = RateLimit("site-pictures", 100, 1.0, 300)
"""The limit of an address for pictures: a page of a leaderboard has 50 avatars."""
_BRIEFLY: Final = "public, max-age=300"
_PRIVATELY: Final = "private, max-age=300"  # staff and the player see the cover of a hidden player
_CACHED: Final = "public, max-age=86400"
_SVG: Final = "image/svg+xml"
_PLAYER: Final = re.compile(r"([0-9]{1,10})-([0-9A-Z])", re.ASCII)
_PLAYER_BPM: Final = 128.0
_PLAYER_RINGS: Final = 5
_STYLE: Final = re.compile("<style>(.*?)</style>", re.DOTALL)


class PicturePages:
    """Serves `/pictures/...`."""

    def __init__(
        self,
        avatars: Avatars,
        covers: ProfileCovers,
        clan_icons: ClanIcons,
        beatmaps: Beatmaps,
        map_pictures: MapPictures,
    ) -> None:
        self._avatars = avatars
        self._covers = covers
        self._clan_icons = clan_icons
        self._beatmaps = beatmaps
        self._map_pictures = map_pictures

    def pages(self) -> list[Page]:
        """Return the pages of pictures."""
        return [
            Page("GET", "/pictures/avatars/{player}", self._avatar, rate_limit=PICTURES),
            Page("GET", "/pictures/players/{player}", self._player_cover, rate_limit=PICTURES),
            Page("GET", "/pictures/clans/{clan}", self._clan_icon, rate_limit=PICTURES),
            Page("GET", "/pictures/sets/{set}/{kind}", self._set_cover, rate_limit=PICTURES),
        ]

    async def _avatar(self, request: SiteRequest) -> Response:
        """Return a player's avatar; or the initial in the path for a player without one."""
        user_id, initial = _player(request)
        picture = await self._avatars.find(user_id)
        if picture is None:
            return _picture(request, avatar(user_id, initial).encode(), _SVG, _BRIEFLY)
        return _picture(request, picture, "image/png", _BRIEFLY)

    async def _player_cover(self, request: SiteRequest) -> Response:
        """Return the picture behind the head of a profile."""
        user_id, _ = _player(request)
        picture = await self._covers.find(user_id, request.visitor.viewer)
        if picture is not None:
            return _picture(request, picture, "image/webp", _PRIVATELY if request.visitor.user else _BRIEFLY)
        drawn = cover(f"player:{user_id}", COVERS["slimcover"], bpm=_PLAYER_BPM, rings=_PLAYER_RINGS)
        return _picture(request, drawn.encode(), _SVG, _BRIEFLY)

    async def _clan_icon(self, request: SiteRequest) -> Response:
        clan_id = request.id("clan")
        picture = None if clan_id is None else await self._clan_icons.find(clan_id)
        if picture is None:
            raise NotFound("picture")
        return _picture(request, picture, "image/png", _BRIEFLY)

    async def _set_cover(self, request: SiteRequest) -> Response:
        set_id, kind = request.id("set"), request.path["kind"]
        if set_id is None or kind not in COVERS:
            raise NotFound("picture")
        picture = await self._map_pictures.cover(set_id, kind, caller=network_of(request.address))
        if picture is not None:
            return _picture(request, picture, "image/jpeg", _CACHED)
        maps = await self._beatmaps.of_set(set_id)
        if not maps:
            raise NotFound("set")
        drawn = cover(maps[0].md5, COVERS[kind], bpm=maps[0].bpm, rings=len(maps))
        return _picture(request, drawn.encode(), _SVG, _BRIEFLY)


def _player(request: SiteRequest) -> tuple[int, str]:
    found = _PLAYER.fullmatch(request.path["player"])
    if found is None or not 0 < int(found[1]) <= ID_MAX:
        raise NotFound("picture")
    return int(found[1]), found[2]


def _picture(request: SiteRequest, body: bytes, content_type: str, cached: str) -> Response:
    etag = f'"{hashlib.blake2b(body, digest_size=9).hexdigest()}"'
    # Players upload some of these bytes. The policy stops a browser from running scripts in a picture that it opens.
    headers = (("Cache-Control", cached), ("ETag", etag), ("Content-Security-Policy", f"sandbox; {_policy(body)}"))
    if etag in request.headers.get("if-none-match", ""):
        return Content(b"", content_type, 304, headers)
    return Content(body, content_type, headers=headers)


def _policy(body: bytes) -> str:
    """Return the policy that allows the style sheet of a generated picture and nothing else."""
    style = _STYLE.search(body[:2_000].decode("ascii", "replace")) if body.startswith(b"<svg") else None
    if style is None:
        return "default-src 'none'"
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'"

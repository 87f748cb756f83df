"""`b.DOMAIN`: thumbnails and audio previews of sets. `assets.DOMAIN`: covers for websites.

See docs/spec/web.md#thumbnails-and-previews.
"""

import re
from typing import Final

from kiai.beatmaps.model import OWN_ID_FIRST
from kiai.beatmaps.pictures import COVERS, MapPictures, plain_cover
from kiai.errors import NotFound
from kiai.faces.client.gateway import ClientRequest, ClientResponse, Endpoint
from kiai.faces.rate_limit import RateLimit
from kiai.networks import network_of

REQUESTS: Final = RateLimit("map-pictures", 20, 1.0, 200)  # a page of osu!direct loads 100 thumbnails at once
BRIEFLY_CACHED: Final = ("Cache-Control", "public, max-age=3600")  # for a placeholder: the set may get a background
CACHED: Final = ("Cache-Control", "public, max-age=86400")
SANDBOX: Final = ("Content-Security-Policy", "sandbox; default-src 'none'")

_THUMBNAIL: Final = re.compile(r"([0-9]{1,9}|[0-9]{10})(l?)\.jpg", re.ASCII)
_SET: Final = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
_PREVIEW: Final = re.compile(r"([0-9]{1,9}|[0-9]{10})\.mp3", re.ASCII)


class MapPictureEndpoints:
    """The handlers of thumbnails, previews and covers.

    Pictures of sets without an archive are redirected to `fallback_url`, the setting `map_pictures_url`, unless it is
    None.
    """

    def __init__(self, pictures: MapPictures, fallback_url: str | None) -> None:
        self._pictures = pictures
        self._fallback_url = fallback_url
        self._plain: dict[str, bytes] = {}  # by the names of `COVERS`

    async def thumbnail(self, request: ClientRequest) -> ClientResponse:
        """Return the thumbnail of a set, a JPEG of 80 x 60 pixels or 160 x 120 (`l`).

        Raises NotFound if there is neither an archive nor a fallback.
        """
        match = _THUMBNAIL.fullmatch(request.path["name"])
        if match is None:
            raise NotFound("picture")
        set_id = int(match[1])
        found = (
            await self._pictures.thumbnail(set_id, large=bool(match[2]), caller=network_of(request.address))
            if set_id < 2**31
            else None
        )
        return self._answer(found, set_id, f"thumb/{match[0]}", "image/jpeg")

    async def preview(self, request: ClientRequest) -> ClientResponse:
        """Return ten seconds of a set's audio as MP3. Raises NotFound if there is neither an archive nor a fallback."""
        match = _PREVIEW.fullmatch(request.path["name"])
        if match is None:
            raise NotFound("preview")
        set_id = int(match[1])
        found = await self._pictures.preview(set_id, caller=network_of(request.address)) if set_id < 2**31 else None
        return self._answer(found, set_id, f"preview/{match[0]}", "audio/mpeg")

    async def cover(self, request: ClientRequest) -> ClientResponse:
        """Return the cover of a set as a JPEG, or a plain placeholder if the set has no background.

        Websites embed covers without checking that they exist. Raises NotFound for an unknown set.
        """
        kind, dot, suffix = request.path["name"].partition(".")
        set_id = int(request.path["set_id"]) if _SET.fullmatch(request.path["set_id"]) else 0
        if kind not in COVERS or (dot + suffix) != ".jpg" or not 0 < set_id < 2**31:
            raise NotFound("picture")
        if not await self._pictures.knows(set_id):
            raise NotFound("set")
        found = await self._pictures.cover(set_id, kind, caller=network_of(request.address))
        # The fallback server does not know sets with ids that this server assigned.
        if found is None and (not self._fallback_url or set_id >= OWN_ID_FIRST):
            if kind not in self._plain:
                self._plain[kind] = plain_cover(kind)
            return ClientResponse(self._plain[kind], content_type="image/jpeg", headers=(BRIEFLY_CACHED, SANDBOX))
        return self._answer(found, set_id, f"thumb/{set_id}l.jpg", "image/jpeg")

    def _answer(self, found: bytes | None, set_id: int, path: str, kind: str) -> ClientResponse:
        if found is not None:
            return ClientResponse(found, content_type=kind, headers=(CACHED, SANDBOX))
        if self._fallback_url and 0 < set_id < OWN_ID_FIRST:
            return ClientResponse(status=302, headers=(("Location", f"{self._fallback_url.rstrip('/')}/{path}"),))
        raise NotFound("picture")

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this module."""
        thumbnails = ("/thumb/{name}", "/mt/{name}", "/images/map-thumb/{name}")
        previews = ("/preview/{name}", "/mp3/preview/{name}")
        return [
            *[Endpoint("GET", path, self.thumbnail, rate_limit=REQUESTS) for path in thumbnails],
            *[Endpoint("GET", path, self.preview, rate_limit=REQUESTS) for path in previews],
            Endpoint("GET", "/covers/{set_id}/{name}", self.cover, rate_limit=REQUESTS),
        ]

"""`b.DOMAIN`: thumbnails and previews of sets; `assets.DOMAIN`: their covers, for websites.

See docs/spec/web.md#thumbnails-and-previews.
"""

import re
from typing import Final

from kiai.beatmaps.model import OWN_ID_FIRST
from kiai.beatmaps.pictures import COVERS, MapPictures, plain_cover
from kiai.errors import NotFound
from kiai.faces.client.door import Answer, Ask, Haste, Page
from kiai.networks import network_of

ASKED: Final = Haste("map-pictures", 20, 1.0, 200)  # a page of osu!direct asks for a hundred
BRIEFLY_CACHED: Final = ("Cache-Control", "public, max-age=3600")  # the archive may come
CACHED: Final = ("Cache-Control", "public, max-age=86400")
SANDBOX: Final = ("Content-Security-Policy", "sandbox; default-src 'none'")

_THUMBNAIL: Final = re.compile(r"([0-9]{1,9}|[0-9]{10})(l?)\.jpg", re.ASCII)
_SET: Final = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
_PREVIEW: Final = re.compile(r"([0-9]{1,9}|[0-9]{10})\.mp3", re.ASCII)


class MapPicturePages:
    """The handlers. What is not here is looked for at `elsewhere`, an address, when there is one."""

    def __init__(self, pictures: MapPictures, elsewhere: str | None) -> None:
        self._pictures = pictures
        self._elsewhere = elsewhere
        self._plain: dict[str, bytes] = {}  # by the names of `COVERS`

    async def thumbnail(self, ask: Ask) -> Answer:
        """A JPEG."""
        named = _THUMBNAIL.fullmatch(ask.path["name"])
        if named is None:
            raise NotFound("picture")
        set_id = int(named[1])
        found = (
            await self._pictures.thumbnail(set_id, large=bool(named[2]), caller=network_of(ask.address))
            if set_id < 2**31
            else None
        )
        return self._answer(found, set_id, f"thumb/{named[0]}", "image/jpeg")

    async def preview(self, ask: Ask) -> Answer:
        """Ten seconds of MP3."""
        named = _PREVIEW.fullmatch(ask.path["name"])
        if named is None:
            raise NotFound("preview")
        set_id = int(named[1])
        found = await self._pictures.preview(set_id, caller=network_of(ask.address)) if set_id < 2**31 else None
        return self._answer(found, set_id, f"preview/{named[0]}", "audio/mpeg")

    async def cover(self, ask: Ask) -> Answer:
        """A JPEG, a plain one where the set has none: websites show it without asking whether it is there."""
        kind, dot, suffix = ask.path["name"].partition(".")
        set_id = int(ask.path["set_id"]) if _SET.fullmatch(ask.path["set_id"]) else 0
        if kind not in COVERS or (dot + suffix) != ".jpg" or not 0 < set_id < 2**31:
            raise NotFound("picture")
        if not await self._pictures.knows(set_id):
            raise NotFound("set")
        found = await self._pictures.cover(set_id, kind, caller=network_of(ask.address))
        if found is None and (not self._elsewhere or set_id >= OWN_ID_FIRST):
            if kind not in self._plain:
                self._plain[kind] = plain_cover(kind)
            return Answer(self._plain[kind], content_type="image/jpeg", headers=(BRIEFLY_CACHED, SANDBOX))
        return self._answer(found, set_id, f"thumb/{set_id}l.jpg", "image/jpeg")

    def _answer(self, found: bytes | None, set_id: int, path: str, kind: str) -> Answer:
        if found is not None:
            return Answer(found, content_type=kind, headers=(CACHED, SANDBOX))
        if self._elsewhere and 0 < set_id < OWN_ID_FIRST:
            return Answer(status=302, headers=(("Location", f"{self._elsewhere.rstrip('/')}/{path}"),))
        raise NotFound("picture")

    def pages(self) -> list[Page]:
        """What this module serves."""
        thumbnails = ("/thumb/{name}", "/mt/{name}", "/images/map-thumb/{name}")
        previews = ("/preview/{name}", "/mp3/preview/{name}")
        return [
            *[Page("GET", path, self.thumbnail, haste=ASKED) for path in thumbnails],
            *[Page("GET", path, self.preview, haste=ASKED) for path in previews],
            Page("GET", "/covers/{set_id}/{name}", self.cover, haste=ASKED),
        ]

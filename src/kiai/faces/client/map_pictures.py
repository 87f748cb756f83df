"""`b.DOMAIN`: thumbnails and previews of sets (web-endpoints 6.5)."""

import re
from typing import Final

from kiai.beatmaps.model import OWN_ID_FIRST
from kiai.beatmaps.pictures import MapPictures
from kiai.errors import NotFound
from kiai.faces.client.door import Answer, Ask, Haste, Page

ASKED: Final = Haste("map-pictures", 20, 1.0, 200)  # a page of osu!direct asks for a hundred
CACHED: Final = ("Cache-Control", "public, max-age=86400")
SANDBOX: Final = ("Content-Security-Policy", "sandbox; default-src 'none'")

_THUMBNAIL: Final = re.compile(r"([0-9]{1,9}|[0-9]{10})(l?)\.jpg", re.ASCII)
_PREVIEW: Final = re.compile(r"([0-9]{1,9}|[0-9]{10})\.mp3", re.ASCII)


class MapPicturePages:
    """The handlers. What is not here is looked for at `elsewhere`, an address, when there is one."""

    def __init__(self, pictures: MapPictures, elsewhere: str | None) -> None:
        self._pictures = pictures
        self._elsewhere = elsewhere

    async def thumbnail(self, ask: Ask) -> Answer:
        """A JPEG."""
        named = _THUMBNAIL.fullmatch(ask.path["name"])
        if named is None:
            raise NotFound("picture")
        set_id = int(named[1])
        found = await self._pictures.thumbnail(set_id, large=bool(named[2])) if set_id < 2**31 else None
        return self._answer(found, set_id, f"thumb/{named[0]}", "image/jpeg")

    async def preview(self, ask: Ask) -> Answer:
        """Ten seconds of MP3."""
        named = _PREVIEW.fullmatch(ask.path["name"])
        if named is None:
            raise NotFound("preview")
        set_id = int(named[1])
        found = await self._pictures.preview(set_id) if set_id < 2**31 else None
        return self._answer(found, set_id, f"preview/{named[0]}", "audio/mpeg")

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
        ]

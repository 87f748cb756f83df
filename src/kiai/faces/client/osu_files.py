"""The .osu files themselves, and what old builds ask about them.

See docs/spec/web.md#osu-files-on-request and docs/spec/web.md#fixed-answers.
"""

import re
from email.utils import formatdate
from typing import Final

from kiai.beatmaps import Beatmap, Beatmaps
from kiai.beatmaps.model import MapStatus
from kiai.errors import NotFound, Unavailable
from kiai.faces.client.door import BYTES, Answer, Ask, Haste, Page

NAME_MAX: Final = 255
STATUSES_MAX: Final = 60
FILES: Final = Haste("osu-files", 10, 1.0, 60)

_ID: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
_MD5: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


class OsuFiles:
    """The handlers. A name is looked up among the maps, and never becomes a path."""

    def __init__(self, beatmaps: Beatmaps) -> None:
        self._beatmaps = beatmaps

    async def file(self, ask: Ask) -> Answer:
        """The newest file of a map, by its file name, its id or an md5 of any of its revisions."""
        beatmap = await self._find(ask.path["name"])
        try:
            data = await self._beatmaps.osu_file(beatmap)
        except Unavailable as error:
            raise NotFound("file") from error
        changed = formatdate(beatmap.last_update_ms / 1000, usegmt=True)
        return Answer(data, content_type=BYTES, headers=(("Last-Modified", changed),))

    async def _find(self, name: str) -> Beatmap:
        if _ID.fullmatch(name) and 0 < int(name) < 2**31:
            return await self._beatmaps.find_or_fetch(id=int(name))
        if _MD5.fullmatch(name):
            found = await self._beatmaps.find(md5=name)
            return found if found.current else await self._beatmaps.find(id=found.id)
        named = await self._beatmaps.named(name) if 0 < len(name) <= NAME_MAX else None
        if named is None:
            raise NotFound("map")
        return named

    async def statuses(self, ask: Ask) -> Answer:
        """Lines of md5, whether ranked, map, set and topic, for up to 60 md5s; unknown ones have no line."""
        lines = []
        for md5 in ask.query.get("c", "").split(",")[:STATUSES_MAX]:
            if not _MD5.fullmatch(md5):
                continue
            try:
                found = await self._beatmaps.find(md5=md5)
            except NotFound:
                continue
            ranked = int(found.status in (MapStatus.RANKED, MapStatus.APPROVED))
            lines.append(f"{md5},{ranked},{found.id},{found.set_id},0")
        return Answer("\n".join(lines).encode())

    def pages(self) -> list[Page]:
        """What this module serves."""
        return [
            Page("GET", "/web/maps/{name}", self.file, haste=FILES),
            Page("GET", "/osu/{name}", self.file, haste=FILES),
            Page("GET", "/web/osu-getstatus.php", self.statuses, haste=FILES),
        ]

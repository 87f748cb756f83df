""".osu files on request, and the ranked status of maps for older builds.

See docs/spec/web.md#osu-files-on-request and docs/spec/web.md#fixed-answers.
"""

import re
from email.utils import formatdate
from typing import Final

from kiai.beatmaps import Beatmap, Beatmaps
from kiai.beatmaps.model import MapStatus
from kiai.errors import NotFound, Unavailable
from kiai.faces.client.gateway import BYTES, ClientRequest, ClientResponse, Endpoint
from kiai.faces.rate_limit import RateLimit

STATUSES_MAX: Final = 60
FILES: Final = RateLimit("osu-files", 10, 1.0, 60)

_ID: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
_MD5: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


class OsuFileEndpoints:
    """The handlers. File names are looked up in the database and never used as a path."""

    def __init__(self, beatmaps: Beatmaps) -> None:
        self._beatmaps = beatmaps

    async def file(self, request: ClientRequest) -> ClientResponse:
        """Return the current file of a map, by its file name, its id or the md5 of any revision.

        Raises NotFound for an unknown map, and when the file is neither stored nor available upstream.
        """
        beatmap = await self._find(request.path["name"])
        # The file is neither stored nor available upstream.
        try:
            data = await self._beatmaps.osu_file(beatmap)
        except Unavailable as error:
            raise NotFound("file") from error
        changed = formatdate(beatmap.last_update_ms / 1000, usegmt=True)
        return ClientResponse(data, content_type=BYTES, headers=(("Last-Modified", changed),))

    async def _find(self, name: str) -> Beatmap:
        if _ID.fullmatch(name) and 0 < int(name) < 2**31:
            return await self._beatmaps.find_or_fetch(id=int(name))
        # Older revisions have a row of their own with the same map id; `current` marks the newest.
        if _MD5.fullmatch(name):
            found = await self._beatmaps.find(md5=name)
            return found if found.current else await self._beatmaps.find(id=found.id)
        named = await self._beatmaps.named(name)
        if named is None:
            raise NotFound("map")
        return named

    async def statuses(self, request: ClientRequest) -> ClientResponse:
        """Return a line of md5, ranked (1 or 0), map id, set id and topic for each known map of up to 60 md5s."""
        lines = []
        for md5 in request.query.get("c", "").split(",")[:STATUSES_MAX]:
            if not _MD5.fullmatch(md5):
                continue
            try:
                found = await self._beatmaps.find(md5=md5)
            except NotFound:
                continue
            ranked = int(found.status in (MapStatus.RANKED, MapStatus.APPROVED))
            lines.append(f"{md5},{ranked},{found.id},{found.set_id},0")  # 0 as the topic: there is no forum
        return ClientResponse("\n".join(lines).encode())

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this module."""
        return [
            Endpoint("GET", "/web/maps/{name}", self.file, rate_limit=FILES),
            Endpoint("GET", "/osu/{name}", self.file, rate_limit=FILES),
            Endpoint("GET", "/web/osu-getstatus.php", self.statuses, rate_limit=FILES),
        ]

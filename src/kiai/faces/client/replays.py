"""`osu-getreplay.php`: the frames of a score (docs/spec/web.md#replays)."""

import re
from typing import Final

from kiai.errors import NotFound
from kiai.faces.client.gateway import BYTES, ClientRequest, ClientResponse, Endpoint
from kiai.faces.rate_limit import RateLimit
from kiai.scores.replays import Replays

DOWNLOADS: Final = RateLimit("getreplay", 60, 60.0)
_ID: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
_ID_MAX: Final = 2**63 - 1  # the largest integer of both databases; a larger one would be an error of the driver


class ReplayEndpoints:
    """The handler of replay downloads."""

    def __init__(self, replays: Replays) -> None:
        self._replays = replays

    async def frames(self, request: ClientRequest) -> ClientResponse:
        """Return the LZMA stream that the client submitted, and count a view.

        Raises NotFound for missing and for hidden scores, so that the answer does not show that a score is hidden.
        """
        text = request.query.get("c", "")
        if not _ID.fullmatch(text) or int(text) > _ID_MAX:
            raise NotFound("score")
        return ClientResponse(await self._replays.record_view(int(text), request.viewer), content_type=BYTES)

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this module."""
        return [
            Endpoint("GET", "/web/osu-getreplay.php", self.frames, credentials=("u", "h"), rate_limit=DOWNLOADS),
        ]

"""`osu-getreplay.php`: the frames of a score (docs/spec/web.md#replays)."""

import re
from typing import Final

from kiai.errors import NotFound
from kiai.faces.client.door import BYTES, Answer, Ask, Haste, Page
from kiai.scores.replays import Replays

DOWNLOADS: Final = Haste("getreplay", 60, 60.0)
_ID: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
_ID_MAX: Final = 2**63 - 1


class ReplayFrames:
    """The handler."""

    def __init__(self, replays: Replays) -> None:
        self._replays = replays

    async def frames(self, ask: Ask) -> Answer:
        """The LZMA stream as it was sent, which counts as a view; hidden and missing ones are 404 alike."""
        text = ask.query.get("c", "")
        if not _ID.fullmatch(text) or int(text) > _ID_MAX:
            raise NotFound("score")
        return Answer(await self._replays.watched(int(text), ask.viewer), content_type=BYTES)

    def pages(self) -> list[Page]:
        """What this module serves."""
        return [
            Page("GET", "/web/osu-getreplay.php", self.frames, credentials=("u", "h"), haste=DOWNLOADS),
        ]

"""Pictures of scores for links on other sites: 1200 x 630 pixels, drawn in a worker process and cached.

The key of a cached picture is a hash of everything that the picture shows, so a changed name or pp gives a new picture.
"""

import hashlib
import math
from datetime import UTC, datetime
from typing import Final

import msgspec

from kiai.beatmaps.pictures import MapPictures
from kiai.clock import Clock
from kiai.decoding.jobs import CardJob
from kiai.decoding.page_decoder import PageDecoder
from kiai.errors import Unavailable
from kiai.files.cache import FileCache
from kiai.files.port import Files
from kiai.in_flight import InFlight
from kiai.osu.mods import mods_text
from kiai.scores.details import ScoreDetails

VERSION: Final = 1
"""Of the drawing."""
DAYS: Final = 7
PER_FOLDER: Final = 40
"""256 folders of pictures of 50 to 400 KB: at most 4 GB."""
_COVER: Final = "cover"


class ScoreCards:
    """Draws and caches pictures of scores. `server` is the title of this server."""

    def __init__(self, files: Files, decoder: PageDecoder, pictures: MapPictures, clock: Clock, *, server: str) -> None:
        self._decoder = decoder
        self._pictures = pictures
        self._server = server
        self._cache = FileCache(files, clock, "cards", days=DAYS, per_folder=PER_FOLDER)
        self._in_flight: InFlight[str, bytes] = InFlight()

    async def picture(self, found: ScoreDetails, *, stars: float | None, caller: str) -> bytes:
        """Return the picture of a score as a PNG. `stars` are those with its mods. Raises Unavailable.

        `caller` shares the workers fairly.
        """
        try:
            cover = await self._pictures.cover(found.beatmap.set_id, _COVER, caller=caller) or b""
        except Unavailable:
            cover = b""  # a picture without the cover is better than none, and has another key
        job = _job(found, self._server, stars)
        name = f"{hashlib.blake2b(msgspec.msgpack.encode((VERSION, job)) + cover, digest_size=16).hexdigest()}.png"
        return await self._cache.get(name) or await self._in_flight.run(
            name, lambda: self._drawn(name, job, cover, caller)
        )

    async def sweep(self) -> int:
        """Delete cached pictures that are too old or too many. A job calls this."""
        return await self._cache.sweep()

    async def _drawn(self, name: str, job: CardJob, cover: bytes, caller: str) -> bytes:
        picture = await self._decoder.card(job, cover, caller=caller)
        await self._cache.put(name, picture)
        return picture


def _job(found: ScoreDetails, server: str, stars: float | None) -> CardJob:
    score, beatmap = found.score, found.beatmap
    letters = mods_text(score.mods)
    most = f"/{beatmap.max_combo}" if beatmap.max_combo else ""
    played = datetime.fromtimestamp(score.play_time_ms // 1000, UTC)
    return CardJob(
        server=server,
        title=beatmap.title,
        artist=beatmap.artist,
        difficulty=beatmap.version,
        player=found.player.name,
        grade=score.grade,
        stars="" if stars is None else f"{stars:.2f} stars",
        pp=f"{score.pp:,.2f} pp" if score.pp else "No pp",
        accuracy=f"{math.floor(round(score.acc * 1000) / 10) / 100:.2f}%",  # rounded down: 99.999 is not 100
        combo=f"{score.max_combo}{most}x",
        mods=[] if letters == "NM" else [letters[at : at + 2] for at in range(0, len(letters), 2)],
        date=f"{played.day} {played:%B %Y}",
        hue=beatmap.set_id * 47 % 360,
    )

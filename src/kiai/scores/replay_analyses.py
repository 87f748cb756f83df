"""Analyses of replays, computed once for each score and cached in the files store.

A worker process that can be killed analyses a replay (`decoding`), because maps and replays are hostile input. A replay
that cannot be analysed within the limits is remembered, too. A cached analysis is deleted after 30 days, or when more
recent ones need its place, and is then computed again.
"""

from typing import Final

import msgspec

from kiai.beatmaps import osu_key
from kiai.clock import Clock
from kiai.decoding.page_decoder import PageDecoder
from kiai.errors import NotFound
from kiai.files.cache import FileCache
from kiai.files.port import Files
from kiai.in_flight import InFlight
from kiai.osu.modes import vanilla
from kiai.osu.replay_analysis import ReplayAnalysis
from kiai.osu.replay_file import BadReplay
from kiai.scores.details import ReplayFacts, ScoreDetails
from kiai.scores.model import replay_key

VERSION: Final = 1
"""Of the analysis; a new version makes the cached ones useless."""
DAYS: Final = 30
PER_FOLDER: Final = 350
"""256 folders of files of 2 to 10 KB: at most 1 GB."""


class CannotAnalyse(msgspec.Struct, frozen=True):
    """The reason why a replay has no analysis, for the log and the page."""

    why: str


class _Cached(msgspec.Struct, frozen=True):
    """The content of a cached file: one of the two."""

    analysis: ReplayAnalysis | None = None
    why: str | None = None


_DECODE: Final = msgspec.json.Decoder(_Cached).decode

Analysed = ReplayAnalysis | CannotAnalyse


class ReplayAnalyses:
    """Computes and caches analyses of stored replays."""

    def __init__(self, files: Files, decoder: PageDecoder, clock: Clock) -> None:
        self._files = files
        self._decoder = decoder
        self._cache = FileCache(files, clock, "analyses", days=DAYS, per_folder=PER_FOLDER)
        self._in_flight: InFlight[int, Analysed] = InFlight()

    async def known(self, found: ScoreDetails) -> Analysed | None:
        """Return the analysis if it is cached. Raises NotFound("replay") for a score without one, and Unavailable."""
        if found.replay is None:
            raise NotFound("replay")
        return await self._read(found)

    async def of(self, found: ScoreDetails, *, caller: str) -> Analysed:
        """Return the analysis, computed if necessary.

        `caller` shares the workers fairly. Raises NotFound("replay"), and Unavailable, also if the map is not stored.
        """
        replay = found.replay
        if replay is None:
            raise NotFound("replay")
        known = await self._read(found)
        if known is not None:
            return known
        return await self._in_flight.run(found.score.id, lambda: self._computed(found, replay, caller))

    async def sweep(self) -> int:
        """Delete cached analyses that are too old or too many. A job calls this."""
        return await self._cache.sweep()

    async def _read(self, found: ScoreDetails) -> Analysed | None:
        data = await self._cache.get(_name(found))
        if data is None:
            return None
        try:
            cached = _DECODE(data)
        except msgspec.DecodeError:  # e.g. a damaged file: it is replaced
            return None
        return CannotAnalyse(cached.why) if cached.analysis is None and cached.why is not None else cached.analysis

    async def _computed(self, found: ScoreDetails, replay: ReplayFacts, caller: str) -> Analysed:
        frames = await self._files.get(replay_key(replay.md5))
        if frames is None:
            raise NotFound("replay")
        # Without the file of the map, only the keys can be counted.
        osu = await self._files.get(osu_key(found.beatmap.md5)) or b""
        try:
            analysis = await self._decoder.analysis(
                osu,
                frames,
                mode=vanilla(found.score.mode),
                mods=found.score.mods,
                life_bar=replay.life_bar,
                caller=caller,
            )
        except BadReplay as error:
            await self._cache.put(_name(found), msgspec.json.encode(_Cached(why=str(error))))
            return CannotAnalyse(str(error))
        if osu:  # else the map may still come
            await self._cache.put(_name(found), msgspec.json.encode(_Cached(analysis)))
        return analysis


def _name(found: ScoreDetails) -> str:
    return f"{found.score.id}-{VERSION}.json"

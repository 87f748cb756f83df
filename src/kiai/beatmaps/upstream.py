"""Maps that are not here, asked from an upstream that speaks the official API v1.

    GET {url}/api/get_beatmaps?k=&b=|h=   which set the map is of
    GET {url}/api/get_beatmaps?k=&s=      all of that set
    GET {url}/osu/{id}                    the file of each difficulty

A set is always taken whole. What upstream definitely does not have is remembered for half an hour; that it could not be
asked never is.

See docs/spec/beatmaps.md#maps-that-are-not-here.
"""

import asyncio
import hashlib
from typing import Final

import msgspec

from kiai.beatmaps import queries
from kiai.beatmaps.fetching import CONNECT_S, TOTAL_S, Fetcher
from kiai.beatmaps.importing import Importer, ImportReport
from kiai.beatmaps.model import MAP_STATUS, OSU_API, Beatmap, MapStatus
from kiai.clock import Clock
from kiai.decoding.archives import OSU_MAX
from kiai.errors import KiaiError, Refused, Unavailable
from kiai.logs import get_logger
from kiai.storage import tasks
from kiai.storage.port import Database, Transaction

JSON_MAX: Final = 10 * 1024 * 1024
SET_MAX: Final = 500
UNKNOWN_S: Final = 1_800.0
UNKNOWN_MAX: Final = 10_000
TRIES: Final = 2


class Row(msgspec.Struct, frozen=True):
    """A difficulty as upstream lists it; numbers come as text."""

    beatmap_id: str
    beatmapset_id: str
    approved: str
    file_md5: str | None

    @property
    def status(self) -> MapStatus:
        """Its status as ours; unknown numbers are pending."""
        try:
            return OSU_API.get(int(self.approved), MapStatus.PENDING)
        except ValueError:
            return MapStatus.PENDING


_rows: Final = msgspec.json.Decoder(list[Row]).decode


class Upstream:
    """Implements `service.Source`, and keeps the sets that are here up to date."""

    def __init__(
        self,
        url: str,
        key: str | None,
        importer: Importer,
        clock: Clock,
        database: Database,
        *,
        allow_private: bool = False,
        connect_s: float = CONNECT_S,
        total_s: float = TOTAL_S,
    ) -> None:
        self._fetcher = Fetcher(url, clock, allow_private=allow_private, connect_s=connect_s, total_s=total_s)
        self._key = key
        self._importer = importer
        self._clock = clock
        self._database = database
        self._unknown: dict[str, float] = {}
        self._asking: dict[str, asyncio.Task[bool]] = {}

    # --- a map that is not here

    async def fetch(self, *, map_id: int | None = None, md5: str | None = None) -> bool:
        """Imports the set of this map; False when upstream definitely has no such map. Raises Unavailable.

        Whoever asks for the same map meanwhile waits for the same answer.
        """
        name = f"b={map_id}" if map_id is not None else f"h={md5}"
        if self._unknown.get(name, 0.0) > self._clock.monotonic():
            return False
        asking = self._asking.get(name)
        if asking is None:
            asking = self._asking[name] = asyncio.create_task(self._fetch(name, map_id, md5))
            asking.add_done_callback(lambda done: self._answered(name, done))
        return await asyncio.shield(asking)

    def _answered(self, name: str, done: asyncio.Task[bool]) -> None:
        self._asking.pop(name, None)
        if not done.cancelled():
            done.exception()  # looked at, even when nobody waits for it any more

    async def why_not(self, map_id: int) -> str | None:
        """Imports a map for the operator, whatever is remembered of it; the reason when that fails."""
        try:
            return None if await self._import(map_id, None) else "upstream does not know it"
        except KiaiError as error:
            return str(error)

    async def _fetch(self, name: str, map_id: int | None, md5: str | None) -> bool:
        try:
            found = await self._import(map_id, md5)
        except Refused:
            found = False  # tomorrow the same file will be as useless
        if not found:
            while len(self._unknown) >= UNKNOWN_MAX:
                del self._unknown[next(iter(self._unknown))]
            self._unknown[name] = self._clock.monotonic() + UNKNOWN_S
        return found

    async def _import(self, map_id: int | None, md5: str | None) -> bool:
        found = await self._listed({"b": map_id} if map_id is not None else {"h": md5 or ""})
        if not found:
            return False
        wanted = found[0]
        rows = await self._listed({"s": _number(wanted.beatmapset_id)}) or [wanted]
        imported: set[str] = set()
        why_not: str | None = None
        for row in rows[:SET_MAX]:
            data = await self._file(row)
            if data is None:
                continue
            report = await self._take(row, data)
            if report.skipped and row.beatmap_id == wanted.beatmap_id:
                why_not = report.skipped[0].why
            imported.add(row.beatmap_id)
        if wanted.beatmap_id not in imported:
            raise Unavailable("upstream", f"the file of map {wanted.beatmap_id} is not the one it lists")
        if why_not is not None:
            raise Refused(f"its file cannot be used: {why_not}")
        return True

    # --- sets that are here

    async def refresh(self, beatmaps: list[Beatmap]) -> None:
        """Brings the status and files of one set's maps up to date. Raises Unavailable.

        A status set by the staff stays, but a changed file makes such a map pending until the staff has seen it. What
        upstream lists no more is kept as it is (docs/spec/beatmaps.md#keeping-sets-up-to-date).
        """
        set_id = beatmaps[0].set_id
        rows = {_number(row.beatmap_id): row for row in await self._listed({"s": set_id})}
        for row in rows.values():
            ours = next((one for one in beatmaps if one.id == _number(row.beatmap_id)), None)
            if ours is None or ours.md5 != row.file_md5:
                await self._renew(row, ours)
            elif not ours.frozen and ours.status != row.status:
                await self._set_status(ours, row.status)

        async def body(tx: Transaction) -> None:
            await tx.run(queries.SET_MISSING, of_set=set_id, missing=int(not rows))

        await self._database.transaction(body)

    async def _renew(self, row: Row, ours: Beatmap | None) -> None:
        data = await self._file(row)
        if data is None:
            return
        if ours is not None and ours.frozen:
            get_logger("upstream").warning("a map whose status the staff has set changed", map_id=ours.id)
        await self._take(row, data)

    async def _take(self, row: Row, data: bytes) -> ImportReport:
        ids = _number(row.beatmap_id), _number(row.beatmapset_id)
        name = f"upstream {row.beatmap_id}"
        report = await self._importer.import_file(data, name=name, status=None, upstream=row.status, ids=ids)
        for one in report.skipped:
            get_logger("upstream").warning("a file cannot be used", map_id=row.beatmap_id, why=one.why)
        return report

    async def _set_status(self, beatmap: Beatmap, status: MapStatus) -> None:
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            if await tx.run(queries.FOLLOW_STATUS, map_key=beatmap.key, status=int(status)):
                await tasks.begin(tx, MAP_STATUS, beatmap.key, now)

        await self._database.transaction(body)

    # --- the wire

    async def osu_file(self, map_id: int, md5: str) -> bytes | None:
        """The file of a map if upstream has this very revision. Raises Unavailable."""
        return await self._file(Row(str(map_id), "0", "0", md5))

    async def _listed(self, wanted: dict[str, str | int]) -> list[Row]:
        if self._key is not None:
            wanted["k"] = self._key
        body = await self._fetcher.get("/api/get_beatmaps", wanted, most=JSON_MAX)
        if body is None:
            return []
        try:
            return _rows(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Unavailable("upstream", "its list of maps is none") from error

    async def _file(self, row: Row) -> bytes | None:
        """The .osu file that the row is about; None when what comes is another file, twice."""
        for _ in range(TRIES):
            data = await self._fetcher.get(f"/osu/{_number(row.beatmap_id)}", most=OSU_MAX)
            if data is None:
                return None
            if hashlib.md5(data, usedforsecurity=False).hexdigest() == row.file_md5:
                return data
        get_logger("upstream").warning("another file than the one listed", map_id=row.beatmap_id)
        return None

    async def close(self) -> None:
        """Lets go of its connections."""
        for asking in list(self._asking.values()):
            asking.cancel()
        await self._fetcher.close()


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        raise Unavailable("upstream", "an id is no number")
    return int(text)

"""Import of missing maps from an upstream with the official API v1.

    GET {url}/api/get_beatmaps?k=&b=|h=   the set of a map
    GET {url}/api/get_beatmaps?k=&s=      all maps of that set
    GET {url}/osu/{id}                    the file of each map

Sets are always imported whole. Maps that upstream definitely does not have are remembered for half an hour. A failed
request is not remembered.

See docs/spec/beatmaps.md#unknown-maps.
"""

import asyncio
import hashlib
from typing import Final

import msgspec

from kiai.beatmaps import catalogue, queries, ranking
from kiai.beatmaps.fetching import CONNECT_S, TOTAL_S, Fetcher
from kiai.beatmaps.importing import Importer, ImportReport
from kiai.beatmaps.model import MAP_STATUS, OSU_API, Beatmap, MapStatus
from kiai.callers import CALLER, SERVER
from kiai.clock import Clock
from kiai.decoding.archives import OSU_MAX
from kiai.errors import KiaiError, Refused, Unavailable
from kiai.logs import get_logger
from kiai.networks import is_loopback
from kiai.realtime.buckets import TokenBuckets
from kiai.storage import tasks
from kiai.storage.port import Database, Transaction

JSON_MAX: Final = 10 * 1024 * 1024
SET_MAX: Final = 500  # maps of one set that are imported
UNKNOWN_S: Final = 1_800.0
UNKNOWN_MAX: Final = 10_000
TRIES: Final = 2  # of a file: it may change between the list and the download
ASKED_PER_MINUTE: Final = 60  # missing maps that one network may request
ASKING_MAX: Final = 10_000  # buckets


class Row(msgspec.Struct, frozen=True):
    """A map as upstream lists it. The official API sends numbers as text."""

    beatmap_id: str
    beatmapset_id: str
    approved: str
    file_md5: str | None

    @property
    def status(self) -> MapStatus:
        """The status as a number of this server. Unknown numbers are pending."""
        try:
            return OSU_API.get(int(self.approved), MapStatus.PENDING)
        except ValueError:
            return MapStatus.PENDING


_rows: Final = msgspec.json.Decoder(list[Row]).decode


class Upstream:
    """Imports missing sets (implements `service.Source`) and updates stored ones."""

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
        limited: bool = True,
    ) -> None:
        """`limited` is False when the operator switched rate limits off."""
        self._limited = limited
        self._requests = TokenBuckets(clock.monotonic, ASKING_MAX)
        self._fetcher = Fetcher(url, clock, allow_private=allow_private, connect_s=connect_s, total_s=total_s)
        self._key = key
        self._importer = importer
        self._clock = clock
        self._database = database
        self._unknown: dict[str, float] = {}
        self._imports: dict[str, asyncio.Task[bool]] = {}

    # --- missing maps

    async def fetch(self, *, map_id: int | None = None, md5: str | None = None) -> bool:
        """Import the set of a map. Return False if upstream definitely does not have it. Raises Unavailable.

        Requests for the same map at the same time share one import. A caller that requests more than `ASKED_PER_MINUTE`
        maps gets Unavailable, because requests need no account, and each imported map is stored permanently.
        """
        name = f"b={map_id}" if map_id is not None else f"h={md5}"
        if self._unknown.get(name, 0.0) > self._clock.monotonic():
            return False
        task = self._imports.get(name)
        if task is None:
            self._consume(CALLER.get())
            task = self._imports[name] = asyncio.create_task(self._fetch(name, map_id, md5))
            task.add_done_callback(lambda done: self._answered(name, done))
        # Shielded: a client that disconnects must not cancel the import for the others.
        return await asyncio.shield(task)

    def _consume(self, caller: str) -> None:
        if not self._limited or caller == SERVER or is_loopback(caller):
            return
        if not self._requests.consume(f"unknown-maps:{caller}", limit=ASKED_PER_MINUTE, period_s=60.0).granted:
            raise Unavailable("upstream", f"a caller may ask for {ASKED_PER_MINUTE} unknown maps a minute")

    def _answered(self, name: str, done: asyncio.Task[bool]) -> None:
        self._imports.pop(name, None)
        if not done.cancelled():
            done.exception()  # retrieved, so that asyncio does not warn if all callers have left

    async def try_import(self, map_id: int) -> str | None:
        """Import a map for the operator, even if it is remembered as unknown. Return the reason of a failure."""
        try:
            return None if await self._import(map_id, None) else "upstream does not know it"
        except KiaiError as error:
            return str(error)

    async def _fetch(self, name: str, map_id: int | None, md5: str | None) -> bool:
        try:
            found = await self._import(map_id, md5)
        except Refused:
            found = False  # the file itself is faulty, so another request would fail as well
        if not found:
            while len(self._unknown) >= UNKNOWN_MAX:  # the oldest first
                del self._unknown[next(iter(self._unknown))]
            self._unknown[name] = self._clock.monotonic() + UNKNOWN_S
        return found

    async def _import(self, map_id: int | None, md5: str | None) -> bool:
        found = await self._listed({"b": map_id} if map_id is not None else {"h": md5 or ""})
        if not found:
            return False
        requested = found[0]
        rows = await self._listed({"s": _number(requested.beatmapset_id)}) or [requested]
        imported: set[str] = set()
        fault: str | None = None
        # A fault of another map of the set does not fail the import of the requested one.
        for row in rows[:SET_MAX]:
            data = await self._file(row)
            if data is None:
                continue
            report = await self._import_map(row, data)
            if report.skipped and row.beatmap_id == requested.beatmap_id:
                fault = report.skipped[0].why
            imported.add(row.beatmap_id)
        if requested.beatmap_id not in imported:
            raise Unavailable("upstream", f"the file of map {requested.beatmap_id} is not the one it lists")
        if fault is not None:
            raise Refused(f"its file cannot be used: {fault}")
        return True

    # --- stored sets

    async def refresh(self, beatmaps: list[Beatmap]) -> None:
        """Update the status and files of the maps of one set. Raises Unavailable.

        A status set by staff stays. If the file of such a map has changed, the map becomes pending until staff has
        reviewed it. Maps that upstream no longer lists are not changed (docs/spec/beatmaps.md#keeping-sets-up-to-date).
        """
        set_id = beatmaps[0].set_id
        rows = {_number(row.beatmap_id): row for row in await self._listed({"s": set_id})}
        for row in rows.values():
            stored = next((beatmap for beatmap in beatmaps if beatmap.id == _number(row.beatmap_id)), None)
            if stored is None or stored.md5 != row.file_md5:
                await self._renew(row, stored)
            elif not stored.frozen and stored.status != row.status:
                await self._set_status(stored, row.status)

        async def body(tx: Transaction) -> None:
            await tx.run(queries.SET_MISSING, of_set=set_id, missing=int(not rows))

        await self._database.transaction(body)

    async def _renew(self, row: Row, stored: Beatmap | None) -> None:
        data = await self._file(row)
        if data is None:
            return
        if stored is not None and stored.frozen:
            get_logger("upstream").warning("file of a frozen map has changed", map_id=stored.id)
        await self._import_map(row, data)

    async def _import_map(self, row: Row, data: bytes) -> ImportReport:
        ids = _number(row.beatmap_id), _number(row.beatmapset_id)
        name = f"upstream {row.beatmap_id}"
        report = await self._importer.import_file(data, name=name, status=None, upstream=row.status, ids=ids)
        for skipped in report.skipped:
            get_logger("upstream").warning("file cannot be imported", map_id=row.beatmap_id, why=skipped.why)
        return report

    async def _set_status(self, beatmap: Beatmap, status: MapStatus) -> None:
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await ranking.lock(tx, beatmap.set_id)
            if await tx.run(queries.FOLLOW_STATUS, map_key=beatmap.key, status=int(status)):
                await tasks.begin(tx, MAP_STATUS, beatmap.key, now)
                await ranking.answer(tx, beatmap.set_id, status, now)
                await catalogue.refresh(tx, beatmap.set_id, now)

        await self._database.transaction(body)

    # --- the wire

    async def osu_file(self, map_id: int, md5: str) -> bytes | None:
        """Return the file of a map if upstream has this revision, else None. Raises Unavailable."""
        return await self._file(Row(str(map_id), "0", "0", md5))

    async def _listed(self, params: dict[str, str | int]) -> list[Row]:
        if self._key is not None:
            params["k"] = self._key
        body = await self._fetcher.get("/api/get_beatmaps", params, most=JSON_MAX)
        if body is None:
            return []
        try:
            return _rows(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Unavailable("upstream", "its list of maps is not valid") from error

    async def _file(self, row: Row) -> bytes | None:
        """Return the .osu file of a row, or None if upstream sends another file twice."""
        for _ in range(TRIES):
            data = await self._fetcher.get(f"/osu/{_number(row.beatmap_id)}", most=OSU_MAX)
            if data is None:
                return None
            if hashlib.md5(data, usedforsecurity=False).hexdigest() == row.file_md5:
                return data
        get_logger("upstream").warning("file differs from the listed md5", map_id=row.beatmap_id)
        return None

    async def close(self) -> None:
        """Cancel imports and close the connections."""
        for task in list(self._imports.values()):
            task.cancel()
        await self._fetcher.close()


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 10:  # it becomes a part of a URL
        raise Unavailable("upstream", "an id is not a number")
    return int(text)

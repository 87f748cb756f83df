"""Maps that are not here, asked from an upstream that speaks the official API v1 (web-endpoints 10.3).

Two requests a map: `GET {url}/api/get_beatmaps?k=&b=|h=` for its status, `GET {url}/osu/{id}` for the file. Whatever
goes wrong, the asker gets an answer within the deadline: a map that upstream does not know is remembered as unknown for
half an hour, an upstream that fails is left alone for a minute.
"""

import asyncio
from typing import Any, Final

import msgspec

from kiai.beatmaps.importing import OSU_MAX, Importer
from kiai.beatmaps.model import OSU_API, MapStatus
from kiai.clock import Clock
from kiai.errors import KiaiError, Unavailable

CONNECT_S: Final = 5.0
TOTAL_S: Final = 10.0
JSON_MAX: Final = 1024 * 1024
UNKNOWN_S: Final = 1_800.0
UNKNOWN_MAX: Final = 10_000
FAILURES_MAX: Final = 5
OPEN_S: Final = 60.0
AT_ONCE: Final = 8


class _Row(msgspec.Struct):
    beatmap_id: str
    approved: str
    file_md5: str


class Upstream:
    """Implements `service.Source`."""

    def __init__(self, url: str, key: str | None, importer: Importer, clock: Clock) -> None:
        import httpx  # only servers with an upstream pay for it

        self._http = httpx.AsyncClient(
            base_url=url, timeout=httpx.Timeout(TOTAL_S, connect=CONNECT_S), follow_redirects=False
        )
        self._failed_by = (httpx.HTTPError, httpx.InvalidURL)
        self._key = key
        self._importer = importer
        self._clock = clock
        self._unknown: dict[str, float] = {}
        self._asking: dict[str, asyncio.Task[bool]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._failures = 0
        self._closed_until = 0.0

    async def fetch(self, *, map_id: int | None = None, md5: str | None = None) -> bool:
        """Imports the map if upstream has it; whether it did. One request at a time for one map; never raises."""
        name = f"b={map_id}" if map_id is not None else f"h={md5}"
        now = self._clock.monotonic()
        if self._unknown.get(name, 0.0) > now or self._closed_until > now:
            return False
        asking = self._asking.get(name)
        if asking is None:
            asking = self._asking[name] = asyncio.create_task(self._fetch(name, map_id, md5))
            asking.add_done_callback(lambda _: self._asking.pop(name, None))
        return await asyncio.shield(asking)

    async def why_not(self, map_id: int) -> str | None:
        """Imports a map for the operator, whatever is remembered of it; the reason when that fails."""
        try:
            async with asyncio.timeout(TOTAL_S):
                return None if await self._import(map_id, None) else "upstream does not know it"
        except KiaiError as error:
            return str(error)
        except TimeoutError:
            return f"upstream gave no answer in {TOTAL_S:g} s"

    async def _fetch(self, name: str, map_id: int | None, md5: str | None) -> bool:
        try:
            async with self._places, asyncio.timeout(TOTAL_S):
                found = await self._import(map_id, md5)
        except (KiaiError, TimeoutError, *self._failed_by):
            self._failures += 1
            if self._failures >= FAILURES_MAX:
                self._closed_until = self._clock.monotonic() + OPEN_S
                self._failures = 0
            return False
        self._failures = 0
        if not found:
            if len(self._unknown) >= UNKNOWN_MAX:
                self._unknown.clear()
            self._unknown[name] = self._clock.monotonic() + UNKNOWN_S
        return found

    async def _import(self, map_id: int | None, md5: str | None) -> bool:
        wanted: dict[str, str | int] = {"b": map_id} if map_id is not None else {"h": md5 or ""}
        if self._key is not None:
            wanted["k"] = self._key
        rows = msgspec.json.decode(await self._get("/api/get_beatmaps", JSON_MAX, wanted), type=list[_Row])
        if not rows:
            return False
        file = await self._get(f"/osu/{int(rows[0].beatmap_id)}", OSU_MAX, {})
        status = OSU_API.get(int(rows[0].approved), MapStatus.PENDING)
        report = await self._importer.import_file(file, name=f"upstream {rows[0].beatmap_id}", status=status)
        return report.maps == 1

    async def _get(self, path: str, most: int, params: dict[str, Any]) -> bytes:
        try:
            async with self._http.stream("GET", path, params=params) as reply:
                if reply.status_code != 200:
                    raise Unavailable("upstream", f"{path} answered {reply.status_code}")
                data = bytearray()
                async for chunk in reply.aiter_bytes():
                    data += chunk
                    if len(data) > most:
                        raise Unavailable("upstream", f"{path} is larger than {most} bytes")
        except self._failed_by as error:
            raise Unavailable("upstream", str(error)) from error
        return bytes(data)

    async def close(self) -> None:
        """Lets go of its connections."""
        for asking in list(self._asking.values()):
            asking.cancel()
        await self._http.aclose()

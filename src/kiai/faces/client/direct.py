"""osu!direct: search and download of sets. The server's own sets come first, then those of the mirrors.

See docs/spec/web.md#osudirect and docs/spec/web.md#downloads.
"""

import re
from datetime import UTC, datetime
from typing import Final

from kiai.beatmaps import Beatmaps
from kiai.beatmaps.importing import archive_key
from kiai.beatmaps.mirrors import MirrorMap, Mirrors, MirrorSet
from kiai.beatmaps.model import OWN_ID_FIRST, MapStatus
from kiai.beatmaps.searching import FoundSet, MapSearch, Order, Search
from kiai.errors import NotFound, Unavailable
from kiai.faces.client.gateway import ClientRequest, ClientResponse, Endpoint
from kiai.faces.rate_limit import RateLimit
from kiai.files.port import Files
from kiai.osu.texts import attachment, field

QUERY_MAX: Final = 200
PAGE: Final = 100
MORE: Final = PAGE + 1  # as the number of sets, it makes the client request the next page
ARCHIVE: Final = "application/x-osu-beatmap-archive"
SEARCHES: Final = RateLimit("direct", 2, 1.0, 20)
DOWNLOADS: Final = RateLimit("downloads", 60, 60.0)
UNREACHABLE: Final = b"-1\nFailed to reach the beatmap mirror."

# By the number of the client's filter: the statuses of kiai, and the number of the official API for mirrors.
FILTERS: Final[dict[int, tuple[tuple[int, ...], int | None]]] = {
    0: ((MapStatus.RANKED, MapStatus.APPROVED), 1),
    2: ((MapStatus.PENDING,), 0),
    3: ((MapStatus.QUALIFIED,), 3),
    4: ((), None),
    5: ((MapStatus.PENDING,), -2),  # graveyard, which kiai does not have as a status
    7: ((MapStatus.RANKED, MapStatus.APPROVED), 1),
    8: ((MapStatus.LOVED,), 4),
}
ORDERS: Final = {"newest": Order.NEWEST, "top rated": Order.TOP_RATED, "most played": Order.MOST_PLAYED}
OFFICIAL: Final = {MapStatus.RANKED: 1, MapStatus.APPROVED: 2, MapStatus.QUALIFIED: 3, MapStatus.LOVED: 4}

_NAME: Final = re.compile(r"([0-9]{1,10})(n?)(?: [^/\r\n]{1,200})?(?:\.osz)?", re.ASCII)
_RANGE: Final = re.compile(r"bytes=([0-9]{1,12})-([0-9]{0,12})", re.ASCII)


class DirectEndpoints:
    """The handlers of search and download."""

    def __init__(self, beatmaps: Beatmaps, searching: MapSearch, mirrors: Mirrors, files: Files) -> None:
        self._beatmaps = beatmaps
        self._searching = searching
        self._mirrors = mirrors
        self._files = files

    async def search(self, request: ClientRequest) -> ClientResponse:
        """Return a page of the server's own sets, or of a mirror's sets if none of them match."""
        text = request.query.get("q", "")[:QUERY_MAX].strip()
        statuses, official = FILTERS.get(request.whole("r", 4), FILTERS[4])
        mode = request.whole("m", -1)
        page = request.whole("p")
        # The client's buttons are searches for these words, some builds with "+" for the space.
        order = ORDERS.get(text.lower().replace("+", " "))
        words = () if order is not None or len(text) < 2 else tuple(text.split())
        search = Search(
            words, statuses, mode if 0 <= mode <= 3 else None, order or Order.NEWEST, page if page >= 0 else 0
        )
        found, more = await self._searching.sets(search)
        if found or not self._mirrors or page < 0:
            lines = [_own_line(own_set) for own_set in found]
            return _page(lines, more)
        try:
            mirrored = await self._mirrors.search(
                "" if order is not None else text, mode=search.mode, status=official, page=search.page
            )
        except Unavailable:
            return ClientResponse(UNREACHABLE)
        return _page([_mirror_line(mirror_set) for mirror_set in mirrored[:PAGE]], len(mirrored) >= PAGE)

    async def set_line(self, request: ClientRequest) -> ClientResponse:
        """Return the line of one set, by its id, a map's id or a map's md5. The answer is empty for an unknown set."""
        set_id = await self._set_id(request)
        if not 0 < set_id < 2**31:
            return ClientResponse()
        found = await self._searching.one(set_id)
        if found is not None:
            return ClientResponse(_own_line(found).encode())
        # Ids from OWN_ID_FIRST on are assigned by this server, so no mirror knows them.
        if not self._mirrors or set_id >= OWN_ID_FIRST:
            return ClientResponse()
        try:
            mirrored = await self._mirrors.set(set_id)
        except Unavailable:
            return ClientResponse()
        return ClientResponse() if mirrored is None else ClientResponse(_mirror_line(mirrored).encode())

    async def _set_id(self, request: ClientRequest) -> int:
        if "s" in request.query:
            return request.whole("s")
        try:
            if 0 < (map_id := request.whole("b")) < 2**31:
                return (await self._beatmaps.find_or_fetch(id=map_id)).set_id
            if md5 := request.query.get("c"):
                return (await self._beatmaps.find(md5=md5)).set_id
        except NotFound:
            pass
        return 0

    async def download(self, request: ClientRequest) -> ClientResponse:
        """Return the server's own archive of a set, whole or a range, or a redirect to a mirror.

        Raises NotFound when there is neither.
        """
        match = _NAME.fullmatch(request.path["name"])
        set_id = int(match[1]) if match else 0
        if match is None or not 0 < set_id < 2**31:
            raise NotFound("set")
        size = await self._files.size(archive_key(set_id))
        found = await self._searching.one(set_id) if size else None
        if size and found is not None:
            return await self._own(found, size, request.header(b"range"))
        url = self._mirrors.download_url(set_id, video=not match[2]) if set_id < OWN_ID_FIRST else None
        if url is None:
            raise NotFound("set")
        # Never 301: clients cache that forever, and the mirror may change.
        return ClientResponse(status=302, headers=(("Location", url),))

    async def _own(self, found: FoundSet, size: int, range_header: str) -> ClientResponse:
        start, end, status = 0, size, 200
        headers = [
            ("Content-Disposition", attachment(f"{found.id} {found.artist} - {found.title}.osz")),
            ("Accept-Ranges", "bytes"),
            ("Content-Security-Policy", "sandbox; default-src 'none'"),
        ]
        # Other forms of a range (several ranges, the last n bytes) get the whole file, which HTTP allows.
        if byte_range := _RANGE.fullmatch(range_header):
            start = int(byte_range[1])
            end = min(int(byte_range[2]) + 1, size) if byte_range[2] else size  # the header's end is inclusive
            if start >= end:
                return ClientResponse(status=416, headers=(("Content-Range", f"bytes */{size}"),))
            status = 206
            headers.append(("Content-Range", f"bytes {start}-{end - 1}/{size}"))
        chunks = await self._files.stream(archive_key(found.id), start, end)
        if chunks is None:  # removed since `size` was read
            raise NotFound("set")
        return ClientResponse(
            status=status, content_type=ARCHIVE, headers=tuple(headers), chunks=chunks, length=end - start
        )

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this module."""
        return [
            Endpoint("GET", "/web/osu-search.php", self.search, credentials=("u", "h"), rate_limit=SEARCHES),
            Endpoint("GET", "/web/osu-search-set.php", self.set_line, credentials=("u", "h")),
            Endpoint("GET", "/d/{name}", self.download, rate_limit=DOWNLOADS),
        ]


def _page(lines: list[str], more: bool) -> ClientResponse:
    return ClientResponse("\n".join([str(MORE if more else len(lines)), *lines]).encode())


def _own_line(found: FoundSet) -> str:
    status = found.maps[0].status if found.maps else int(MapStatus.PENDING)
    votes = sum(beatmap.rating_count for beatmap in found.maps)
    rating = sum(beatmap.rating_sum for beatmap in found.maps) / votes if votes else 0.0
    difficulties = [
        _difficulty(beatmap.version, beatmap.mode, beatmap.diff, beatmap.cs, beatmap.od, beatmap.ar, beatmap.hp)
        for beatmap in sorted(found.maps, key=lambda beatmap: beatmap.diff)
    ]
    updated = datetime.fromtimestamp(found.last_update_ms / 1000, UTC)
    return "|".join(
        (
            f"{found.id}.osz",
            field(found.artist),
            field(found.title),
            field(found.creator),
            str(OFFICIAL.get(MapStatus(status), 0)),
            f"{rating:.2f}",
            f"{updated:%Y-%m-%d %H:%M:%S}",
            str(found.id),
            "0",
            str(found.has_video),
            str(found.has_storyboard),
            str(found.osz_size or 0),
            "",
            ",".join(difficulties),
        )
    )


def _mirror_line(found: MirrorSet) -> str:
    children: list[MirrorMap] = sorted(found.children_beatmaps or [], key=lambda child: child.difficulty_rating)
    difficulties = [
        _difficulty(child.diff_name, child.mode, child.difficulty_rating, child.CS, child.OD, child.AR, child.HP)
        for child in children
    ]
    updated = found.last_update.replace("T", " ")[:19]  # from 2014-05-18T15:41:48Z
    return "|".join(
        (
            f"{found.set_id}.osz",
            field(found.artist),
            field(found.title),
            field(found.creator),
            str(found.ranked_status if 1 <= found.ranked_status <= 4 else 0),
            "0.00",
            field(updated),
            str(found.set_id),
            "0",
            str(int(found.has_video)),
            "0",
            "0",
            "",
            ",".join(difficulties),
        )
    )


def _difficulty(name: str, mode: int, stars: float, cs: float, od: float, ar: float, hp: float) -> str:
    # The client splits difficulties at "," and takes the mode after the last "@".
    plain = field(name).replace(",", " ").replace("@", " ")
    return f"[{stars:.2f}⭐] {plain} {{cs: {cs:g} / od: {od:g} / ar: {ar:g} / hp: {hp:g}}}@{mode}"

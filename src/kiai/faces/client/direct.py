"""osu!direct: searching sets and downloading them. Own maps first, then the mirrors'.

See docs/spec/web.md#osudirect and docs/spec/web.md#downloads.
"""

import re
from datetime import UTC, datetime
from typing import Final

from kiai.beatmaps import Beatmaps
from kiai.beatmaps.importing import archive_key
from kiai.beatmaps.mirrors import MirrorMap, Mirrors, MirrorSet
from kiai.beatmaps.model import OWN_ID_FIRST, MapStatus
from kiai.beatmaps.searching import FoundSet, Order, Search, Searching
from kiai.errors import NotFound, Unavailable
from kiai.faces.client.door import Answer, Ask, Haste, Page
from kiai.files.port import Files
from kiai.osu.texts import attachment, field

QUERY_MAX: Final = 200
PAGE: Final = 100
MORE: Final = PAGE + 1
ARCHIVE: Final = "application/x-osu-beatmap-archive"
SEARCHES: Final = Haste("direct", 2, 1.0, 20)
DOWNLOADS: Final = Haste("downloads", 60, 60.0)
UNREACHABLE: Final = b"-1\nFailed to reach the beatmap mirror."

# The client's filter: our statuses, and the official API's number for mirrors.
FILTERS: Final[dict[int, tuple[tuple[int, ...], int | None]]] = {
    0: ((MapStatus.RANKED, MapStatus.APPROVED), 1),
    2: ((MapStatus.PENDING,), 0),
    3: ((MapStatus.QUALIFIED,), 3),
    4: ((), None),
    5: ((MapStatus.PENDING,), -2),
    7: ((MapStatus.RANKED, MapStatus.APPROVED), 1),
    8: ((MapStatus.LOVED,), 4),
}
ORDERS: Final = {"newest": Order.NEWEST, "top rated": Order.TOP_RATED, "most played": Order.MOST_PLAYED}
OFFICIAL: Final = {MapStatus.RANKED: 1, MapStatus.APPROVED: 2, MapStatus.QUALIFIED: 3, MapStatus.LOVED: 4}

_NAME: Final = re.compile(r"([0-9]{1,10})(n?)(?: [^/\r\n]{1,200})?(?:\.osz)?", re.ASCII)
_RANGE: Final = re.compile(r"bytes=([0-9]{1,12})-([0-9]{0,12})", re.ASCII)


class Direct:
    """The handlers."""

    def __init__(self, beatmaps: Beatmaps, searching: Searching, mirrors: Mirrors, files: Files) -> None:
        self._beatmaps = beatmaps
        self._searching = searching
        self._mirrors = mirrors
        self._files = files

    async def search(self, ask: Ask) -> Answer:
        """A page of sets: those that are here, or, where a mirror is set and nothing here fits, the mirror's."""
        text = ask.query.get("q", "")[:QUERY_MAX].strip()
        statuses, official = FILTERS.get(ask.whole("r", 4), FILTERS[4])
        mode = ask.whole("m", -1)
        page = ask.whole("p")
        order = ORDERS.get(text.lower().replace("+", " "))
        words = () if order is not None or len(text) < 2 else tuple(text.split())
        wanted = Search(
            words, statuses, mode if 0 <= mode <= 3 else None, order or Order.NEWEST, page if page >= 0 else 0
        )
        found, more = await self._searching.sets(wanted)
        if found or not self._mirrors or page < 0:
            lines = [_own_line(one) for one in found]
            return _listed(lines, more)
        try:
            theirs = await self._mirrors.search(
                "" if order is not None else text, mode=wanted.mode, status=official, page=wanted.page
            )
        except Unavailable:
            return Answer(UNREACHABLE)
        return _listed([_mirror_line(one) for one in theirs[:PAGE]], len(theirs) >= PAGE)

    async def one(self, ask: Ask) -> Answer:
        """The line of one set: by its id, by a map's id, or by a map's md5. Empty for none."""
        set_id = await self._set_id(ask)
        if not 0 < set_id < 2**31:
            return Answer()
        found = await self._searching.one(set_id)
        if found is not None:
            return Answer(_own_line(found).encode())
        if not self._mirrors or set_id >= OWN_ID_FIRST:
            return Answer()
        try:
            theirs = await self._mirrors.set(set_id)
        except Unavailable:
            return Answer()
        return Answer() if theirs is None else Answer(_mirror_line(theirs).encode())

    async def _set_id(self, ask: Ask) -> int:
        if "s" in ask.query:
            return ask.whole("s")
        try:
            if 0 < (map_id := ask.whole("b")) < 2**31:
                return (await self._beatmaps.find_or_fetch(id=map_id)).set_id
            if md5 := ask.query.get("c"):
                return (await self._beatmaps.find(md5=md5)).set_id
        except NotFound:
            pass
        return 0

    async def download(self, ask: Ask) -> Answer:
        """The archive of a set: ours, whole or a range of it, or where a mirror has it."""
        named = _NAME.fullmatch(ask.path["name"])
        set_id = int(named[1]) if named else 0
        if named is None or not 0 < set_id < 2**31:
            raise NotFound("set")
        size = await self._files.size(archive_key(set_id))
        found = await self._searching.one(set_id) if size else None
        if size and found is not None:
            return await self._own(found, size, ask.headers.get("range", ""))
        url = self._mirrors.download_url(set_id, video=not named[2]) if set_id < OWN_ID_FIRST else None
        if url is None:
            raise NotFound("set")
        return Answer(status=302, headers=(("Location", url),))

    async def _own(self, found: FoundSet, size: int, wanted: str) -> Answer:
        start, end, status = 0, size, 200
        headers = [
            ("Content-Disposition", attachment(f"{found.id} {found.artist} - {found.title}.osz")),
            ("Accept-Ranges", "bytes"),
            ("Content-Security-Policy", "sandbox; default-src 'none'"),
        ]
        if asked := _RANGE.fullmatch(wanted):
            start = int(asked[1])
            end = min(int(asked[2]) + 1, size) if asked[2] else size
            if start >= end:
                return Answer(status=416, headers=(("Content-Range", f"bytes */{size}"),))
            status = 206
            headers.append(("Content-Range", f"bytes {start}-{end - 1}/{size}"))
        chunks = await self._files.stream(archive_key(found.id), start, end)
        if chunks is None:
            raise NotFound("set")
        return Answer(status=status, content_type=ARCHIVE, headers=tuple(headers), chunks=chunks, length=end - start)

    def pages(self) -> list[Page]:
        """What this module serves."""
        return [
            Page("GET", "/web/osu-search.php", self.search, credentials=("u", "h"), haste=SEARCHES),
            Page("GET", "/web/osu-search-set.php", self.one, credentials=("u", "h")),
            Page("GET", "/d/{name}", self.download, haste=DOWNLOADS),
        ]


def _listed(lines: list[str], more: bool) -> Answer:
    return Answer("\n".join([str(MORE if more else len(lines)), *lines]).encode())


def _own_line(found: FoundSet) -> str:
    status = found.maps[0].status if found.maps else int(MapStatus.PENDING)
    votes = sum(one.rating_count for one in found.maps)
    rating = sum(one.rating_sum for one in found.maps) / votes if votes else 0.0
    difficulties = [
        _difficulty(one.version, one.mode, one.diff, one.cs, one.od, one.ar, one.hp)
        for one in sorted(found.maps, key=lambda one: one.diff)
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
    children: list[MirrorMap] = sorted(found.children_beatmaps or [], key=lambda one: one.difficulty_rating)
    difficulties = [
        _difficulty(one.diff_name, one.mode, one.difficulty_rating, one.CS, one.OD, one.AR, one.HP) for one in children
    ]
    updated = found.last_update.replace("T", " ")[:19]
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
    plain = field(name).replace(",", " ").replace("@", " ")
    return f"[{stars:.2f}⭐] {plain} {{cs: {cs:g} / od: {od:g} / ar: {ar:g} / hp: {hp:g}}}@{mode}"

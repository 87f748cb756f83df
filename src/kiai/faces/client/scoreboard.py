"""`osu-osz2-getscores.php`: a map's status and board in song select (docs/spec/web.md#boards-in-song-select).

PERF: players scroll, so this is asked more than anything but polls. The lines of a board are kept as bytes under the
board's stamp; what differs from player to player is the one line of the own best.
"""

import contextlib
import re
from collections import OrderedDict
from typing import Final

import msgspec

from kiai.accounts.visibility import is_public
from kiai.beatmaps import Beatmap, Beatmaps
from kiai.beatmaps.model import MapStatus, has_board
from kiai.errors import NotFound, Unavailable
from kiai.faces.client.door import Answer, Ask, Door, Haste, Page
from kiai.osu.modes import mode_of
from kiai.osu.mods import ALL, board_key
from kiai.osu.texts import field
from kiai.presence import Presence
from kiai.scores.boards import Boards, Kind, Line, Wanted, sorts_by_pp

KEPT_MAX: Final = 2_000
UNKNOWN_MAPS: Final = Haste("getscores-unknown", 20, 60.0)
FILE_NAME_MAX: Final = 255
HEADER_ONLY: Final = "1"

_MD5: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_NOT_SUBMITTED: Final = Answer(b"-1|false")
_UPDATE: Final = Answer(b"1|false")
_KINDS: Final = frozenset(Kind)


class _Kept(msgspec.Struct, frozen=True):
    """The part of a board that everybody is shown, as of a stamp."""

    stamp: tuple[int, int]
    count: int
    lines: bytes
    places: dict[int, bytes]  # user id -> its line in the page


class Scoreboard:
    """The handler. `presence` learns which mode a player looks at."""

    def __init__(self, door: Door, beatmaps: Beatmaps, boards: Boards, presence: Presence) -> None:
        self._door = door
        self._beatmaps = beatmaps
        self._boards = boards
        self._presence = presence
        self._kept: OrderedDict[tuple[int, int, int, int | str], _Kept] = OrderedDict()

    async def board(self, ask: Ask) -> Answer:
        """The header and the lines, or a word for what has none."""
        md5 = ask.query.get("c", "")
        if not _MD5.fullmatch(md5):
            return _NOT_SUBMITTED
        beatmap = await self._find(ask, md5)
        if beatmap is None:
            return await self._unknown(ask)
        if not beatmap.current or beatmap.status == MapStatus.UPDATE_AVAILABLE:
            return _UPDATE
        mods = ask.whole("mods")
        mods = mods if 0 <= mods <= ALL else 0
        mode = ask.whole("m")
        mode = mode_of(mode if 0 <= mode <= 3 else 0, mods)
        # The board does not need shared state: docs/spec/security.md#when-shared-state-is-away.
        with contextlib.suppress(Unavailable):
            await self._presence.look_at(ask.player.id, mode)
        if not has_board(beatmap.status):
            return Answer(b"0|false")
        if ask.query.get("s") == HEADER_ONLY:
            return Answer(_header(beatmap, 0))
        kind = ask.whole("v", 1)
        wanted = Wanted(
            Kind(kind) if kind in _KINDS and kind != Kind.LOCAL else Kind.GLOBAL,
            mode,
            mods=mods,
            country=ask.player.country,
            user_id=ask.player.id,
            hidden=not is_public(ask.player.priv),
        )
        page = await self._page(beatmap, wanted)
        own = page.places.get(ask.player.id)
        if own is None:
            own = await self._own(beatmap, wanted)
        return Answer(b"%b\n%b\n%b" % (_header(beatmap, page.count), own, page.lines))

    async def _find(self, ask: Ask, md5: str) -> Beatmap | None:
        try:
            return await self._beatmaps.find(md5=md5)
        except NotFound:
            pass
        await self._door.take(UNKNOWN_MAPS, f"user:{ask.player.id}")
        try:
            return await self._beatmaps.find_or_ask(md5=md5)
        except (NotFound, Unavailable):
            return None

    async def _unknown(self, ask: Ask) -> Answer:
        """Another file of a map that is known wants an update."""
        name = ask.query.get("f", "")
        if len(name) <= FILE_NAME_MAX and name and await self._beatmaps.named(name) is not None:
            return _UPDATE
        set_id = ask.whole("i")
        if 0 < set_id < 2**31 and await self._beatmaps.of_set(set_id):
            return _UPDATE
        return _NOT_SUBMITTED

    async def _page(self, beatmap: Beatmap, wanted: Wanted) -> _Kept:
        if wanted.kind is Kind.FRIENDS or wanted.hidden:
            return await self._read(beatmap, wanted, (0, 0))
        detail: int | str = 0
        if wanted.kind is Kind.MODS:
            detail = board_key(wanted.mods)
        elif wanted.kind is Kind.COUNTRY:
            detail = wanted.country
        key = (beatmap.key, wanted.mode, int(wanted.kind), detail)
        stamp = await self._boards.stamp(beatmap)
        kept = self._kept.get(key)
        if kept is None or kept.stamp != stamp:
            kept = await self._read(beatmap, wanted, stamp)
            self._kept[key] = kept
            while len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return kept

    async def _read(self, beatmap: Beatmap, wanted: Wanted, stamp: tuple[int, int]) -> _Kept:
        lines, count = await self._boards.page(beatmap, wanted)
        told = [_line(line, place, wanted.mode) for place, line in enumerate(lines, start=1)]
        places = {line.user_id: text for line, text in zip(lines, told, strict=True)}
        return _Kept(stamp, count, b"\n".join(told), places)

    async def _own(self, beatmap: Beatmap, wanted: Wanted) -> bytes:
        line = await self._boards.own(beatmap, wanted)
        if line is None:
            return b""
        measure = line.pp if sorts_by_pp(wanted.mode) else line.score
        place = await self._boards.place(beatmap, wanted, measure=measure, score_id=line.id)
        return _line(line, place, wanted.mode)

    def pages(self) -> list[Page]:
        """What this module serves."""
        return [Page("GET", "/web/osu-osz2-getscores.php", self.board, credentials=("us", "ha"))]


def _header(beatmap: Beatmap, count: int) -> bytes:
    artist, title = field(beatmap.artist), field(beatmap.title)
    rating = f"{beatmap.rating:.2f}" if beatmap.rating_count else "0.0"
    return (
        f"{beatmap.status}|false|{beatmap.id}|{beatmap.set_id}|{count}|0|\n"
        f"0\n[bold:0,size:20]{artist}|{title}\n{rating}"
    ).encode()


def _line(line: Line, place: int, mode: int) -> bytes:
    name = f"[{field(line.tag)}] {field(line.name)}" if line.tag else field(line.name)
    shown = round(line.pp) if sorts_by_pp(mode) else line.score
    return (
        f"{line.id}|{name}|{shown}|{line.max_combo}|{line.n50}|{line.n100}|{line.n300}|{line.nmiss}"
        f"|{line.nkatu}|{line.ngeki}|{line.perfect}|{line.mods}|{line.user_id}|{place}|{line.play_time_ms // 1000}"
        f"|{int(line.has_replay)}"
    ).encode()

"""`osu-osz2-getscores.php`: a map's status and board in song select (docs/spec/web.md#boards-in-song-select).

PERF: the client requests a board for each map that the player scrolls past, more often than anything except polls. The
encoded lines of a board are cached under the board's stamp, and so are the lines of players' own bests below them.
"""

import contextlib
import re
from collections import OrderedDict
from typing import Final

import msgspec

from kiai.accounts.visibility import is_public
from kiai.at_once import needs_task
from kiai.beatmaps import Beatmap, Beatmaps
from kiai.beatmaps.model import MapStatus
from kiai.errors import NotFound, Unavailable
from kiai.faces.client.gateway import ClientGateway, ClientRequest, ClientResponse, Endpoint
from kiai.faces.rate_limit import RateLimit
from kiai.osu.modes import mode_of
from kiai.osu.mods import ALL, board_key
from kiai.osu.texts import field
from kiai.presence import Presence
from kiai.scores.boards import BoardKind, BoardLine, BoardRequest, Boards
from kiai.scores.rules import has_board, sorts_by_pp

CACHED_BOARDS_MAX: Final = 2_000
OWN_LINES_MAX: Final = 16
"""Lines of players below the page that are cached with a board."""
UNKNOWN_MAPS: Final = RateLimit("getscores-unknown", 20, 60.0)
HEADER_ONLY: Final = "1"

_MD5: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_NOT_SUBMITTED: Final = ClientResponse(b"-1|false")
_UPDATE: Final = ClientResponse(b"1|false")
_KINDS: Final = frozenset(BoardKind)


class _CachedBoard(msgspec.Struct, frozen=True):
    """The encoded part of a board that is the same for all players, valid for one stamp.

    `places` are the lines on the page, and `own` the latest requested lines below it, by player.
    """

    stamp: tuple[int, int]
    count: int
    lines: bytes
    places: dict[int, bytes]
    own: dict[int, bytes]


class ScoreboardEndpoints:
    """The handler of boards. It also reports to `presence` which mode a player has selected."""

    def __init__(self, gateway: ClientGateway, beatmaps: Beatmaps, boards: Boards, presence: Presence) -> None:
        self._gateway = gateway
        self._beatmaps = beatmaps
        self._boards = boards
        self._presence = presence
        self._cached_boards: OrderedDict[tuple[int, int, int, int | str], _CachedBoard] = OrderedDict()

    async def board(self, request: ClientRequest) -> ClientResponse:
        """Return the header and lines of a board, or the status line of a map without one."""
        md5 = request.query.get("c", "")
        if not _MD5.fullmatch(md5):
            return _NOT_SUBMITTED
        beatmap = await self._find(request, md5)
        if beatmap is None:
            return await self._unknown(request)
        if not beatmap.current or beatmap.status == MapStatus.UPDATE_AVAILABLE:
            return _UPDATE
        mods = request.whole("mods")
        mods = mods if 0 <= mods <= ALL else 0
        mode = request.whole("m")
        mode = mode_of(mode if 0 <= mode <= 3 else 0, mods)
        # A failure of shared state does not stop the board, which comes from the database:
        # docs/spec/security.md#when-a-store-is-unavailable.
        with contextlib.suppress(Unavailable):
            await self._presence.switch_mode(request.player.id, mode)
        if not has_board(beatmap.status):
            return ClientResponse(b"0|false")
        if request.query.get("s") == HEADER_ONLY:
            return ClientResponse(_header(beatmap, 0))
        kind = request.whole("v", 1)
        # The client also sends requests for its local board, and gets the global one.
        board = BoardRequest(
            BoardKind(kind) if kind in _KINDS and kind != BoardKind.LOCAL else BoardKind.GLOBAL,
            mode,
            mods=mods,
            country=request.player.country,
            user_id=request.player.id,
            hidden=not is_public(request.player.priv),
        )
        page = await self._page(beatmap, board)
        # PERF: a player among the 50 lines needs no further statement. Below them, the line is read again only after a
        # change of the board, which saves 20 us.
        own = page.places.get(request.player.id)
        if own is None:
            own = page.own.get(request.player.id)
        if own is None:
            own = await self._own(beatmap, board)
            if len(page.own) >= OWN_LINES_MAX:
                del page.own[next(iter(page.own))]
            page.own[request.player.id] = own
        return ClientResponse(b"%b\n%b\n%b" % (_header(beatmap, page.count), own, page.lines))

    async def _find(self, request: ClientRequest, md5: str) -> Beatmap | None:
        try:
            return await self._beatmaps.find(md5=md5)
        except NotFound:
            pass
        await needs_task()
        # Each unknown md5 costs a request to upstream.
        await self._gateway.check_rate_limit(UNKNOWN_MAPS, f"user:{request.player.id}")
        try:
            return await self._beatmaps.find_or_ask(md5=md5)
        except (NotFound, Unavailable):
            return None

    async def _unknown(self, request: ClientRequest) -> ClientResponse:
        """Return the answer for an unknown md5: an update if the file name or the set is known."""
        name = request.query.get("f", "")
        if await self._beatmaps.named(name) is not None:
            return _UPDATE
        set_id = request.whole("i")
        if 0 < set_id < 2**31 and await self._beatmaps.of_set(set_id):
            return _UPDATE
        return _NOT_SUBMITTED

    async def _page(self, beatmap: Beatmap, board: BoardRequest) -> _CachedBoard:
        # These boards differ for each player: friends see theirs, and a hidden player sees their own scores.
        if board.kind is BoardKind.FRIENDS or board.hidden:
            return await self._read(beatmap, board, (0, 0))
        detail: int | str = 0
        if board.kind is BoardKind.MODS:
            detail = board_key(board.mods)
        elif board.kind is BoardKind.COUNTRY:
            detail = board.country
        key = (beatmap.key, board.mode, int(board.kind), detail)
        # Before the board: a score that is stored in between leaves an old stamp on a newer board, which is only read
        # once more. The other order would cache an old board under the new stamp.
        stamp = await self._boards.stamp(beatmap)
        cached = self._cached_boards.get(key)
        if cached is None or cached.stamp != stamp:
            cached = await self._read(beatmap, board, stamp)
            self._cached_boards[key] = cached
            while len(self._cached_boards) > CACHED_BOARDS_MAX:
                self._cached_boards.popitem(last=False)
        self._cached_boards.move_to_end(key)
        return cached

    async def _read(self, beatmap: Beatmap, board: BoardRequest, stamp: tuple[int, int]) -> _CachedBoard:
        lines, count = await self._boards.page(beatmap, board)
        encoded = [_line(line, place, board.mode) for place, line in enumerate(lines, start=1)]
        places = {line.user_id: text for line, text in zip(lines, encoded, strict=True)}
        return _CachedBoard(stamp, count, b"\n".join(encoded), places, {})

    async def _own(self, beatmap: Beatmap, board: BoardRequest) -> bytes:
        line = await self._boards.own(beatmap, board)
        if line is None:
            return b""
        measure = line.pp if sorts_by_pp(board.mode) else line.score
        place = await self._boards.place(beatmap, board, measure=measure, score_id=line.id)
        return _line(line, place, board.mode)

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this module."""
        return [Endpoint("GET", "/web/osu-osz2-getscores.php", self.board, credentials=("us", "ha"), reads=True)]


def _header(beatmap: Beatmap, count: int) -> bytes:
    artist, title = field(beatmap.artist), field(beatmap.title)
    rating = f"{beatmap.rating:.2f}" if beatmap.rating_count else "0.0"
    return (
        f"{beatmap.status}|false|{beatmap.id}|{beatmap.set_id}|{count}|0|\n"
        f"0\n[bold:0,size:20]{artist}|{title}\n{rating}"
    ).encode()


def _line(line: BoardLine, place: int, mode: int) -> bytes:
    name = f"[{field(line.tag)}] {field(line.name)}" if line.tag else field(line.name)
    # The client sorts by the score field, so a board by pp has the pp there.
    score = round(line.pp) if sorts_by_pp(mode) else line.score
    return (
        f"{line.id}|{name}|{score}|{line.max_combo}|{line.n50}|{line.n100}|{line.n300}|{line.nmiss}"
        f"|{line.nkatu}|{line.ngeki}|{line.perfect}|{line.mods}|{line.user_id}|{place}|{line.play_time_ms // 1000}"
        f"|{int(line.has_replay)}"
    ).encode()

"""The leaderboard on the page of a set: the best 50 scores, and the visitor's own."""

from collections import OrderedDict
from typing import Final, Literal

import msgspec

from kiai.accounts import User
from kiai.beatmaps import Beatmap
from kiai.beatmaps.model import BOARD_STATUSES
from kiai.osu.accuracy import HitCounts, accuracy
from kiai.osu.grades import grade
from kiai.osu.modes import vanilla
from kiai.osu.mods import AP, RX, board_key
from kiai.scores.boards import BoardKind, BoardLine, BoardRequest, Boards
from kiai.scores.rules import sorts_by_pp

_KINDS: Final = {
    "global": BoardKind.GLOBAL,
    "country": BoardKind.COUNTRY,
    "friends": BoardKind.FRIENDS,
    "mods": BoardKind.MODS,
}
CACHED_BOARDS_MAX: Final = 256
"""Boards in the cache, 25 KB each."""
_NEEDS_PLAYER: Final = ("country", "friends")


class BoardRow(msgspec.Struct, frozen=True):
    """A line with its place, accuracy in percent, and grade."""

    place: int
    line: BoardLine
    acc: float
    grade: str


class SetBoard(msgspec.Struct, frozen=True):
    """A leaderboard. `why_empty` is the reason of a board without rows. `own` is the visitor's row if it is below."""

    rows: list[BoardRow] = []
    own: BoardRow | None = None
    why_empty: Literal["", "no-board", "log-in", "no-scores"] = ""


class _CachedBoard(msgspec.Struct, frozen=True):
    """The rows of a board that are the same for all visitors, valid for one stamp."""

    stamp: tuple[int, int]
    rows: list[BoardRow]


class SetBoards:
    """Reads leaderboards for the website."""

    def __init__(self, boards: Boards) -> None:
        self._boards = boards
        self._cached: OrderedDict[tuple[int, int, int, int | str], _CachedBoard] = OrderedDict()

    async def of(self, beatmap: Beatmap, mode: int, scope: str, mods: int | None, user: User | None) -> SetBoard:
        """Return a leaderboard. `scope` is global, country, friends or mods, which means exactly `mods`."""
        if beatmap.status not in BOARD_STATUSES:
            return SetBoard(why_empty="no-board")
        if scope in _NEEDS_PLAYER and user is None:
            return SetBoard(why_empty="log-in")
        of_mode = RX if 4 <= mode < 8 else AP if mode == 8 else 0
        request = BoardRequest(
            kind=_KINDS[scope],
            mode=mode,
            mods=(mods or 0) | of_mode,
            country="" if user is None else user.country,
            user_id=0 if user is None else user.id,
            hidden=user is not None and not user.priv & 1,
        )
        rows = await self._rows(beatmap, request)
        if not rows:
            return SetBoard(why_empty="no-scores")
        own = None
        if user is not None and all(row.line.user_id != user.id for row in rows):
            own = await self._own(beatmap, request, mode)
        return SetBoard(rows, own)

    async def _rows(self, beatmap: Beatmap, request: BoardRequest) -> list[BoardRow]:
        # These boards differ for each player: friends see theirs, and a hidden player sees their own scores.
        if request.kind is BoardKind.FRIENDS or request.hidden:
            return await self._read(beatmap, request)
        detail: int | str = 0
        if request.kind is BoardKind.MODS:
            detail = board_key(request.mods)
        elif request.kind is BoardKind.COUNTRY:
            detail = request.country
        key = (beatmap.key, request.mode, int(request.kind), detail)
        # Before the board: a score that is stored in between leaves an old stamp on a newer board, which is only read
        # once more. The other order would cache an old board under the new stamp.
        stamp = await self._boards.stamp(beatmap)
        cached = self._cached.get(key)
        if cached is None or cached.stamp != stamp:
            cached = _CachedBoard(stamp, await self._read(beatmap, request))
            self._cached[key] = cached
            while len(self._cached) > CACHED_BOARDS_MAX:
                self._cached.popitem(last=False)
        self._cached.move_to_end(key)
        return cached.rows

    async def _read(self, beatmap: Beatmap, request: BoardRequest) -> list[BoardRow]:
        lines = await self._boards.lines(beatmap, request)
        return [_row(place, line, request.mode) for place, line in enumerate(lines, 1)]

    async def _own(self, beatmap: Beatmap, request: BoardRequest, mode: int) -> BoardRow | None:
        line = await self._boards.own(beatmap, request)
        if line is None:
            return None
        measure = line.pp if sorts_by_pp(mode) else line.score
        place = await self._boards.place(beatmap, request, measure=measure, score_id=line.id)
        return _row(place, line, mode)


def _row(place: int, line: BoardLine, mode: int) -> BoardRow:
    counts = HitCounts(line.n300, line.n100, line.n50, line.ngeki, line.nkatu, line.nmiss)
    game = vanilla(mode)
    return BoardRow(place, line, accuracy(counts, game, line.mods), grade(counts, game, line.mods, passed=True))

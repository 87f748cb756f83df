"""Composes the plays of ranges of players, with all rows that derive from them.

A large world is composed in several processes (`block_process.py`). They read the description of the world and the
.osu files from a folder.
"""

import struct
from collections import defaultdict
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import msgspec

from kiai.demo.player_rows import Row, player_rows
from kiai.demo.plays import EPOCH_MS, SPAN_MS, DemoPlayer, PlayableMap, PlaysComposer, compose_plays
from kiai.demo.replaying import compose_frames
from kiai.errors import Unavailable
from kiai.osu.modes import vanilla
from kiai.scores.calculator import Calculator, CalculatorRequest
from kiai.scores.model import Play, stable_score
from kiai.scores.performance import calculator_play, stored_pp
from kiai.scores.recording import TotalsOptions
from kiai.scores.statements.plays import SCORE_FIELDS

MAPS_BYTES_MAX: Final = 128 * 1024 * 1024
ATTRIBUTES_MAX: Final = 32_768
WORLD_FILE: Final = "world"

_PIECE: Final = struct.Struct("<I")  # the size of a piece in bytes
_BY_TIME: Final = itemgetter(SCORE_FIELDS.index("play_time_ms"), SCORE_FIELDS.index("checksum"))


class Registered(msgspec.Struct, frozen=True):
    """A player with an account."""

    user_id: int
    country: str
    player: DemoPlayer


class PlaysOfWorld(msgspec.Struct, frozen=True):
    """The arguments of all plays of a world.

    `in_order`: all plays come from `compose_plays`, and every `replay_every`th pass has a replay. Else they come from
    `PlaysComposer`, and a pass has a replay if its number is a multiple. `calculator` is stored with each score. The
    period of the plays has `parts` parts.
    """

    seed: int
    count: int
    players: list[Registered]
    maps: list[PlayableMap]
    rules: TotalsOptions
    calculator: int
    in_order: bool
    replay_every: int
    parts: int


class Block(msgspec.Struct, frozen=True):
    """The rows of some players.

    `scores` are encoded and sorted into the parts of the period (`rows_in`). `replays` are the checksum of a play and
    its frames.
    """

    scores: list[bytes]
    stats: list[Row]
    play_counts: list[Row]
    month_plays: list[Row]
    replays: list[tuple[bytes, bytes]]


class BlockRequest(msgspec.Struct, frozen=True, array_like=True):
    """The players with the indices from `first` up to, but without, `last`, of the world in `folder`."""

    folder: str
    first: int
    last: int


class BlockComposer:
    """Composes blocks of the world that `folder` describes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._world = msgspec.msgpack.decode((folder / WORLD_FILE).read_bytes(), type=PlaysOfWorld)
        world = self._world
        self._composer = PlaysComposer(world.seed, len(world.players), world.maps, world.count)
        self._calculator = Calculator(maps_bytes_max=MAPS_BYTES_MAX, attributes_max=ATTRIBUTES_MAX)
        self._in_order: defaultdict[int, list[tuple[Play, bool]]] = defaultdict(list)
        if world.in_order:
            passes = 0
            players = [(one.user_id, one.player) for one in world.players]
            for play in compose_plays(world.seed, players, world.maps, world.count):
                passes += play.passed
                has_replay = play.passed and passes % world.replay_every == 0
                self._in_order[play.user_id].append((play, has_replay))

    def compose(self, first: int, last: int) -> Block:
        """Return the block of the players from index `first` up to, but without, `last`."""
        world = self._world
        parts: list[list[tuple[Any, ...]]] = [[] for _ in range(world.parts)]
        block = Block([], [], [], [], [])
        for index in range(first, last):
            plays = []
            for play, has_replay in self._plays_of(index):
                plays.append(msgspec.structs.replace(play, pp=self._pp(play), calculator=world.calculator))
                if has_replay:
                    block.replays.append((play.checksum, compose_frames(play, self._osu(play))))
            rows = player_rows(plays, world.players[index].country, world.rules)
            block.stats.extend(rows.stats)
            block.play_counts.extend(rows.play_counts)
            block.month_plays.extend(rows.month_plays)
            for play, row in zip(plays, rows.scores, strict=True):
                part = (play.play_time_ms - EPOCH_MS + SPAN_MS) * world.parts // SPAN_MS
                parts[part].append(tuple(row.values()))
        block.scores.extend(map(msgspec.msgpack.encode, parts))
        return block

    def _plays_of(self, index: int) -> Iterator[tuple[Play, bool]]:
        """Yield the plays of a player in order of time, and whether each has a replay."""
        one = self._world.players[index]
        if self._world.in_order:
            yield from self._in_order[one.user_id]
            return
        plays = self._composer.plays_of(index, one.user_id, one.player)
        for number, play in enumerate(plays, start=self._composer.plays_before(index)):
            yield play, play.passed and number % self._world.replay_every == 0

    def _pp(self, play: Play) -> float:
        """Return the pp of a play, 0 for a fail. The maps are our own, so it needs no process that can be killed."""
        if not play.passed:
            return 0.0
        asked = calculator_play(
            play.counts,
            mods=play.mods,
            max_combo=play.max_combo,
            legacy_score=stable_score(play.score, play.client_version),
        )
        request = CalculatorRequest(0, play.beatmap.md5, vanilla(play.mode), [asked])
        answer = self._calculator.answer(request)
        if answer.need_file:
            answer = self._calculator.answer(msgspec.structs.replace(request, osu=self._osu(play)))
        if answer.results is None:
            raise Unavailable("pp", f"{answer.error}, for the map {play.beatmap.md5}")
        return stored_pp(answer.results[0].pp)

    def _osu(self, play: Play) -> bytes:
        return (self._folder / play.beatmap.md5).read_bytes()


def add_to(part: Path, encoded: bytes) -> None:
    """Append the rows of a block to the file of their part."""
    with open(part, "ab") as file:
        file.write(_PIECE.pack(len(encoded)) + encoded)


def rows_in(part: Path) -> Iterator[Row]:
    """Yield the rows of a part in the order of time."""
    decode = msgspec.msgpack.Decoder(list[tuple[Any, ...]]).decode
    rows: list[tuple[Any, ...]] = []
    with open(part, "rb") as file:
        while head := file.read(_PIECE.size):
            rows += decode(file.read(_PIECE.unpack(head)[0]))
    rows.sort(key=_BY_TIME)
    for row in rows:
        yield dict(zip(SCORE_FIELDS, row, strict=True))

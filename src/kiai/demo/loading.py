"""Loads the plays of the sample world: composes them player by player and inserts them in the order of time.

    blocks of players (`blocks.py`) -> stats and counters; replays; scores -> temporary files -> one transaction

All rows of a player are computed while the plays are in memory. The scores then wait in temporary files, one for each
part of the period, because their ids must be in the order of time. One transaction inserts all scores. It drops the
indexes of the table before and creates them after: an index that is built from sorted entries takes a tenth of the time
of one that each row changes somewhere else, and a process that is killed leaves no table without indexes.
"""

import asyncio
import hashlib
import math
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import msgspec
from sqlalchemy.schema import CreateIndex, DropIndex

from kiai.beatmaps.model import osu_key
from kiai.demo.blocks import WORLD_FILE, Block, BlockComposer, BlockRequest, PlaysOfWorld, Registered, add_to, rows_in
from kiai.demo.plays import PlayableMap, PlaysComposer
from kiai.process_pool import WorkerPool
from kiai.scores import statements
from kiai.scores.model import StoredReplay, replay_key
from kiai.scores.recording import replay_row_of
from kiai.storage.port import Command, Transaction
from kiai.storage.tables import scores

if TYPE_CHECKING:
    from kiai.app import Services

REPLAYS_MAX: Final = 2_000
REPLAY_EVERY: Final = 50  # passes
IN_ORDER_MAX: Final = 20_000
"""Plays of a small world, which stays as it was: tests, pages of the documentation and players know its rows."""
PLAYS_OF_BLOCK: Final = 20_000
ROWS_OF_PART: Final = 100_000  # sorted in memory
CPU_S: Final = 600.0  # for a block; it takes about a second
COMMAND: Final = (sys.executable, "-P", "-m", "kiai.demo.block_process")

# In the order of their names, so that equal worlds have equal files.
_INDEXES: Final = sorted(scores.indexes, key=lambda index: str(index.name))
_DROP_INDEXES: Final = [Command(DropIndex(index)) for index in _INDEXES]
_CREATE_INDEXES: Final = [Command(CreateIndex(index)) for index in _INDEXES]


class Loader:
    """Creates the plays of a world with all rows that derive from those of one player.

    `at` is called with the number of steps that are done: each play is composed and inserted.
    """

    def __init__(
        self,
        services: "Services",
        *,
        seed: int,
        count: int,
        players: Sequence[Registered],
        maps: Sequence[PlayableMap],
        at: Callable[[int], None],
    ) -> None:
        self.scores = 0
        self._services = services
        self._at = at
        self._world = PlaysOfWorld(
            seed=seed,
            count=count,
            players=list(players),
            maps=list(maps),
            rules=services.rules,
            calculator=services.performance.calculator_id,
            in_order=count <= IN_ORDER_MAX,
            # At most REPLAYS_MAX replays.
            replay_every=max(REPLAY_EVERY, math.ceil(count / REPLAYS_MAX)),
            parts=max(1, math.ceil(count / ROWS_OF_PART)),
        )
        self._replays: list[tuple[bytes, StoredReplay]] = []

    @property
    def replays(self) -> int:
        """The number of stored replays."""
        return len(self._replays)

    async def load(self) -> None:
        """Create all plays."""
        with TemporaryDirectory(prefix="kiai-demo-") as name:
            folder = Path(name)
            (folder / WORLD_FILE).write_bytes(msgspec.msgpack.encode(self._world))
            for one in self._world.maps:
                osu = await self._services.files.get(osu_key(one.beatmap.md5))
                assert osu is not None, "the importer has stored the map"
                (folder / one.beatmap.md5).write_bytes(osu)
            parts = [folder / f"scores-{part}" for part in range(self._world.parts)]
            for part in parts:
                part.touch()
            composed = 0
            async for block in self._blocks(folder):
                for part, encoded in zip(parts, block.scores, strict=True):
                    add_to(part, encoded)
                await self._store(block)
                composed += sum(row["plays"] for row in block.stats)
                self._at(composed)
            await self._services.database.transaction(lambda tx: self._insert(tx, parts), long=True)

    async def _blocks(self, folder: Path) -> AsyncIterator[Block]:
        """Yield the blocks of all players in order. Several processes compose those of a large world."""
        ranges = list(self._ranges())
        if len(ranges) <= 1:
            for first, last in ranges:
                yield await asyncio.to_thread(BlockComposer(folder).compose, first, last)
            return
        size = self._services.settings.workers_pp
        pool = WorkerPool("demo", COMMAND, size=size, waiting_max=size, per_caller_max=size, wait_s=CPU_S, idle_s=None)
        running: list[asyncio.Task[Block]] = []
        try:
            for first, last in ranges:
                request = msgspec.msgpack.encode(BlockRequest(str(folder), first, last))
                running.append(asyncio.create_task(pool.run_job("demo", request, _read, cpu_s=CPU_S)))
                if len(running) > size:  # the next one is ready when a process becomes free
                    yield await running.pop(0)
            while running:
                yield await running.pop(0)
        finally:
            await pool.close()
            await asyncio.gather(*running, return_exceptions=True)

    def _ranges(self) -> Iterator[tuple[int, int]]:
        """Yield ranges of players with about PLAYS_OF_BLOCK plays each."""
        if not self._world.maps:
            return
        composer = PlaysComposer(self._world.seed, len(self._world.players), self._world.maps, self._world.count)
        first = 0
        for last in range(1, len(self._world.players) + 1):
            plays = composer.plays_before(last) - composer.plays_before(first)
            if plays >= PLAYS_OF_BLOCK or last == len(self._world.players):
                yield first, last
                first = last

    async def _store(self, block: Block) -> None:
        """Store the replays, stats and counters of a block."""
        for checksum, frames in block.replays:
            md5 = hashlib.md5(frames, usedforsecurity=False).digest()
            await self._services.files.put(replay_key(md5), frames)
            stored = StoredReplay(md5=md5, sha256=hashlib.sha256(frames).digest(), size=len(frames))
            self._replays.append((checksum, stored))

        async def body(tx: Transaction) -> None:
            await tx.run_many(statements.rebuilding.WRITE_STATS, block.stats)
            await tx.run_many(statements.plays.FIRST_PLAY, block.play_counts)
            await tx.run_many(statements.plays.INSERT_MONTH, block.month_plays)

        await self._services.database.transaction(body, long=True)

    async def _insert(self, tx: Transaction, parts: Sequence[Path]) -> None:
        for drop in _DROP_INDEXES:
            await tx.run(drop)
        for number, part in enumerate(parts, start=1):
            await tx.run_many(statements.plays.INSERT_SCORES, rows_in(part))
            self._at(self._world.count + self._world.count * number // len(parts))
        self.scores = self._world.count
        for create in _CREATE_INDEXES:
            await tx.run(create)
        for checksum, replay in self._replays:
            score_id = await tx.one(statements.plays.CHECKSUM_KNOWN, checksum=checksum)
            assert score_id is not None
            await tx.run(statements.plays.INSERT_REPLAY, **replay_row_of(score_id, replay))


def _read(answer: bytes) -> Block:
    return msgspec.msgpack.decode(answer, type=Block)

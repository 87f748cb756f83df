"""Peak ranks: the best rank that a player ever had in a mode, and when.

A rank can improve with a play and, when others lose pp or are hidden, without one. So ranks are compared with the peak
after each change of a player's own ranks, and once a day for everybody.
"""

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import bindparam, insert, select, update

from kiai.clock import Clock
from kiai.realtime.port import Realtime
from kiai.scores import activity
from kiai.scores.ranks import is_mode
from kiai.scores.statements.expressions import named
from kiai.storage.outbox import Outbox
from kiai.storage.port import Command, Database, Query, Transaction, UniqueViolation
from kiai.storage.tables import peak_ranks
from kiai.together import in_pieces, together


class Peak(msgspec.Struct, frozen=True):
    """A player's best rank in a mode, and the time at which the player had it first, in unix ms."""

    rank: int
    at_ms: int


class RankNow(msgspec.Struct, frozen=True):
    """A rank that a player has at present."""

    user_id: int
    mode: int
    rank: int


PEAK_OF = Query(
    select(peak_ranks.c.rank, peak_ranks.c.at_ms).where(
        peak_ranks.c.user_id == bindparam("user_id"), peak_ranks.c.mode == bindparam("mode")
    ),
    Peak,
)
PEAKS_OF = Query(
    select(peak_ranks.c.mode, peak_ranks.c.rank, peak_ranks.c.at_ms).where(
        peak_ranks.c.user_id == bindparam("user_id")
    ),
    lambda mode, *row: (mode, Peak(*row)),
)
_PEAKS_BETWEEN = Query(
    select(peak_ranks.c.user_id, peak_ranks.c.mode, peak_ranks.c.rank).where(
        peak_ranks.c.user_id.between(bindparam("first"), bindparam("last"))
    ),
    lambda user_id, mode, rank: ((user_id, mode), rank),
)
_ADD = Command(insert(peak_ranks).values(named("user_id", "mode", "rank", "at_ms")))
_IMPROVE = Command(
    update(peak_ranks)
    .where(
        peak_ranks.c.user_id == bindparam("player_id"),
        peak_ranks.c.mode == bindparam("in_mode"),
        peak_ranks.c.rank > bindparam("new_rank"),
    )
    .values(rank=bindparam("new_rank"), at_ms=bindparam("now_ms"))
)


class Peaks:
    """Keeps the peak ranks."""

    def __init__(self, database: Database, realtime: Realtime, clock: Clock, outbox: Outbox) -> None:
        self._database = database
        self._realtime = realtime
        self._clock = clock
        outbox.subscribe("ranks", self._on_ranks)

    async def of(self, user_id: int, mode: int) -> Peak | None:
        """Return a player's peak in a mode, or None if the player never had a rank."""
        return await self._database.one(PEAK_OF, user_id=user_id, mode=mode)

    async def all_of(self, user_id: int) -> dict[int, Peak]:
        """Return a player's peaks by mode."""
        return dict(await self._database.all(PEAKS_OF, user_id=user_id))

    async def note(self, ranks: Sequence[RankNow]) -> None:
        """Compare ranks with the peaks of their players, and write those that are better. Repeating does no harm.

        The ranks must be sorted by player.
        """
        if not ranks:
            return
        await self._note(
            ranks, dict(await self._database.all(_PEAKS_BETWEEN, first=ranks[0].user_id, last=ranks[-1].user_id))
        )

    async def _note(self, ranks: Sequence[RankNow], known: Mapping[tuple[int, int], int]) -> None:
        better = [now for now in ranks if now.rank and now.rank < known.get((now.user_id, now.mode), now.rank + 1)]
        if not better:
            return
        milestones = [
            (now, milestone)
            for now in better
            if (milestone := await self._milestone(now, known.get((now.user_id, now.mode)))) is not None
        ]
        at_ms = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            for now in better:
                changed = await tx.run(
                    _IMPROVE, player_id=now.user_id, in_mode=now.mode, new_rank=now.rank, now_ms=at_ms
                )
                if not changed and (now.user_id, now.mode) not in known:
                    await tx.run(_ADD, user_id=now.user_id, mode=now.mode, rank=now.rank, at_ms=at_ms)
            for now, milestone in milestones:
                await activity.add_milestone(tx, now.user_id, milestone, mode=now.mode, at_ms=at_ms)

        try:
            await self._database.transaction(body)
        except UniqueViolation:  # another process has written a first peak since `known` was read
            for ids in in_pieces(list(dict.fromkeys(now.user_id for now in better))):
                await self._note([now for now in better if now.user_id in ids], await self._known(ids))

    async def _milestone(self, now: RankNow, before: int | None) -> int | None:
        """Return the best milestone that a rank has reached and the peak before had not.

        A mode with fewer players than the milestone does not count: everybody would be in its top 100.
        """
        reached: int | None = next((rank for rank in activity.MILESTONES if now.rank <= rank), None)
        if reached is None or (before is not None and before <= reached):
            return None
        return reached if await self._realtime.ranked_count(now.mode) > reached else None

    async def _on_ranks(self, user_ids: Sequence[str]) -> None:
        for ids in in_pieces(sorted({int(user_id) for user_id in user_ids})):
            ranks = await together(
                *[self._realtime.ranks_of(user_id) for user_id in ids], at_once=self._realtime.answers_at_once
            )
            await self._note(
                [
                    RankNow(user_id, mode, rank.rank)
                    for user_id, by_mode in zip(ids, ranks, strict=True)
                    for mode, rank in by_mode.items()
                    if is_mode(mode)
                ],
                await self._known(ids),
            )

    async def _known(self, user_ids: Sequence[int]) -> dict[tuple[int, int], int]:
        """Return the peaks of players by player and mode."""
        found = await self._database.several(*[(PEAKS_OF, {"user_id": user_id}) for user_id in user_ids])
        return {
            (user_id, mode): peak.rank for user_id, rows in zip(user_ids, found, strict=True) for mode, peak in rows
        }

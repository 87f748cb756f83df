"""The records of a new status of maps, in the transaction that sets it: audit rows, and what players read about it."""

from collections.abc import Sequence
from typing import Final

import msgspec

from kiai.beatmaps import Beatmap, MapStatus
from kiai.beatmaps.model import BOARD_STATUSES
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.storage.outbox import enqueue
from kiai.storage.port import Transaction

NEWS: Final = "map_news"
"""The kind of the outbox rows for lines in channels. The payload is a `News` as JSON."""


class News(msgspec.Struct, frozen=True, array_like=True):
    """Something that a channel should learn about maps of one set.

    `maps` have the status now. `actor_id` is 0 for the server and the operator. `changed`: upstream replaced the file
    of a map whose status staff had set.
    """

    at_ms: int
    map_id: int
    maps: int
    status: int
    actor_id: int
    changed: bool = False


async def record(
    tx: Transaction, actor: Actor, beatmaps: Sequence[Beatmap], status: MapStatus, now_ms: int, *, reason: str = ""
) -> None:
    """Write the audit rows of maps that get a status, and announce a status with a board.

    `beatmaps` are the maps as they were before. Call this after `Beatmaps.set_statuses`.
    """
    for beatmap in beatmaps:
        await audit.write(
            tx,
            actor,
            "beatmap_status",
            at_ms=now_ms,
            target_kind="beatmap",
            target_id=beatmap.id,
            reason=reason,
            details={"before": beatmap.status, "after": int(status)},
        )
    changed = [beatmap for beatmap in beatmaps if beatmap.status != status]
    if status not in BOARD_STATUSES:
        return
    for set_id in sorted({beatmap.set_id for beatmap in changed}):
        of_set = [beatmap for beatmap in changed if beatmap.set_id == set_id]
        await enqueue_news(tx, News(now_ms, of_set[0].id, len(of_set), int(status), actor.user_id))


async def enqueue_news(tx: Transaction, news: News) -> None:
    """Send a line to the channel of the news after the commit."""
    await enqueue(tx, NEWS, msgspec.json.encode(news).decode(), news.at_ms)

"""Records acts in clans: the history that members read, and the notices that the outbox delivers."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from kiai.clans import statements as sql
from kiai.clans.model import CLANS_CHANGED, ChangingClan, Notice
from kiai.storage.outbox import enqueue
from kiai.storage.port import Transaction

AsStaff = Callable[[Transaction, ChangingClan, Mapping[str, object]], Awaitable[None]]
"""Writes the audit row of an act of staff: the transaction, the clan before the act, the details."""

_encode: Final = msgspec.json.Encoder().encode


async def record(
    tx: Transaction,
    clan: ChangingClan,
    kind: str,
    now: int,
    *,
    player_id: int = 0,
    actor_id: int = 0,
    by_staff: bool = False,
    before: str = "",
    after: str = "",
    new_name: str | None = None,
    new_tag: str | None = None,
    members: tuple[int, ...] = (),
    icon: str = "",
) -> None:
    """Write a row of the history, forget the oldest, and enqueue the notice."""
    row_id = await tx.one(
        sql.WRITE_HISTORY,
        at_ms=now,
        clan_id=clan.id,
        kind=kind,
        player_id=player_id,
        actor_id=actor_id,
        before=before,
        after=after,
    )
    oldest = await tx.one(sql.OLDEST_KEPT, clan_id=clan.id)
    if oldest is not None:
        await tx.run(sql.FORGET, of_clan=clan.id, to_id=oldest)
    name, tag = new_name or clan.name, new_tag or clan.tag
    notice = Notice(f"h{row_id}", kind, now, clan.id, name, tag, player_id, actor_id, by_staff, members, icon)
    await enqueue(tx, CLANS_CHANGED, _encode(notice).decode(), now)


async def notify(tx: Transaction, clan: ChangingClan, kind: str, now: int, player_id: int, actor_id: int) -> None:
    """Enqueue a notice that only the players concerned get; the history has no row of it."""
    id_ = f"{kind}:{clan.id}:{player_id}:{now}"
    notice = Notice(id_, kind, now, clan.id, clan.name, clan.tag, player_id, actor_id)
    await enqueue(tx, CLANS_CHANGED, _encode(notice).decode(), now)

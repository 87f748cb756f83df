"""Open requests and nominations of sets, and what a new status of a map does to them.

`kiai.staff` has the verbs of players and nominators. This module has the rows, because every change of a status answers
requests, also one by an import or by upstream. Call `answer` in the transaction of each such change.

See docs/spec/beatmaps.md#requests.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import bindparam, delete, func, insert, select

from kiai.accounts import BOT_ID
from kiai.beatmaps import queries
from kiai.beatmaps.model import BOARD_STATUSES, Beatmap, MapStatus
from kiai.osu.texts import chat_text
from kiai.storage.outbox import enqueue
from kiai.storage.port import Command, Query, Transaction, scalar
from kiai.storage.tables import map_requests, maps, nominations, qualified_sets, sets

ANSWERS: Final = "request_answers"
"""The kind of the outbox rows for players whose requests were answered. The payload is an `RequestsAnswer` as JSON."""
PLAYERS_AT_ONCE: Final = 100
OF_SET_MAX: Final = 1_000
"""Open requests of players for one set. The server itself has one more when upstream replaced a file."""

_of_set: Final[Any] = bindparam("of_set")
ADD_REQUEST: Final = Command(
    insert(map_requests).values({name: bindparam(name) for name in ("user_id", "set_id", "map_id", "at_ms")})
)
HAS_REQUEST: Final = Query(
    select(map_requests.c.id).where(map_requests.c.user_id == bindparam("by_id"), map_requests.c.set_id == _of_set),
    scalar,
)
REQUESTS_OF_SET: Final = Query(
    select(func.count()).select_from(
        select(map_requests.c.id).where(map_requests.c.set_id == _of_set).limit(OF_SET_MAX).subquery()
    ),
    scalar,
)
_CLOSE = Query(
    delete(map_requests)
    .where(map_requests.c.set_id == _of_set, map_requests.c.user_id != BOT_ID)
    .returning(map_requests.c.user_id),
    scalar,
)
_review = (map_requests.c.set_id == _of_set, map_requests.c.user_id == BOT_ID)
_CLOSE_REVIEW = Command(delete(map_requests).where(*_review))
_pending = select(maps.c.id).where(
    maps.c.id == map_requests.c.map_id, maps.c.current == 1, maps.c.status == int(MapStatus.PENDING)
)
_END_REVIEW = Command(delete(map_requests).where(*_review, ~_pending.exists()))
_TITLE = Query(select(sets.c.artist, sets.c.title).where(sets.c.id == _of_set), lambda *names: " - ".join(names))
_LOCK = Query(select(sets.c.id).where(sets.c.id == _of_set).with_for_update(key_share=True), scalar)

NOMINATE: Final = Command(
    insert(nominations).values({name: bindparam(name) for name in ("set_id", "user_id", "at_ms")})
)
NOMINATORS: Final = Query(
    select(nominations.c.user_id).where(nominations.c.set_id == _of_set).order_by(nominations.c.user_id).limit(100),
    scalar,
)
FORGET_NOMINATIONS: Final = Command(delete(nominations).where(nominations.c.set_id == _of_set))
QUALIFY: Final = Command(
    insert(qualified_sets).values(set_id=bindparam("set_id"), ranks_at_ms=bindparam("ranks_at_ms"))
)
RANKS_AT: Final = Query(select(qualified_sets.c.ranks_at_ms).where(qualified_sets.c.set_id == _of_set), scalar)
END_QUALIFICATION: Final = Command(delete(qualified_sets).where(qualified_sets.c.set_id == _of_set))


class RequestsAnswer(msgspec.Struct, frozen=True, array_like=True):
    """A line of the bot to players about their requests for a set, of which at most `PLAYERS_AT_ONCE`."""

    at_ms: int
    set_id: int
    text: str
    user_ids: tuple[int, ...]


async def lock(tx: Transaction, set_id: int) -> list[Beatmap]:
    """Lock a set until the end of the transaction, and return its current maps.

    Each change of its statuses, requests and nominations starts with this, so two of them come one after the other.
    """
    await tx.one(_LOCK, of_set=set_id)
    return await tx.all(queries.OF_SET, set_id=set_id)


async def close_requests(tx: Transaction, set_id: int, outcome: str, now_ms: int) -> int:
    """Delete the requests for a set, and return their number. The players get `outcome`, a predicate, after the commit.

    Players who are offline get it as mail. The request of the server itself, to review a map, is deleted, too.
    """
    return await _close(tx, set_id, outcome, now_ms) + await tx.run(_CLOSE_REVIEW, of_set=set_id)


async def _close(tx: Transaction, set_id: int, outcome: str, now_ms: int) -> int:
    waiting: Sequence[int] = sorted(await tx.all(_CLOSE, of_set=set_id))
    if not waiting:
        return 0
    text = f"Your request for {chat_text(await tx.one(_TITLE, of_set=set_id) or '')} {outcome}"
    for start in range(0, len(waiting), PLAYERS_AT_ONCE):
        answer = RequestsAnswer(now_ms, set_id, text, tuple(waiting[start : start + PLAYERS_AT_ONCE]))
        await enqueue(tx, ANSWERS, msgspec.json.encode(answer).decode(), now_ms)
    return len(waiting)


async def answer(tx: Transaction, set_id: int, status: int, now_ms: int) -> None:
    """Do what follows from the new status of maps of a set: a status with a board answers the requests for the set.

    The request to review a map ends when that map is no longer pending, and nominations end when no map is left that
    they could qualify or rank. Call this after the statuses are written and before `catalogue.refresh`.
    """
    if status in BOARD_STATUSES:
        await _close(tx, set_id, f"was answered: it is {MapStatus(status).name.lower()} now.", now_ms)
        await tx.run(_END_REVIEW, of_set=set_id)
    await _end_pointless_nominations(tx, set_id)


async def has_nominations(tx: Transaction, set_id: int) -> bool:
    """Return whether a set has nominations or is qualified by them. Their authors may have deleted their accounts."""
    if await tx.one(RANKS_AT, of_set=set_id) is not None:
        return True
    return bool(await tx.all(NOMINATORS, of_set=set_id))


async def end_nominations(tx: Transaction, set_id: int) -> tuple[list[int], bool]:
    """Delete the nominations of a set. Return who nominated it, and whether it was qualified by them."""
    nominators = await tx.all(NOMINATORS, of_set=set_id)
    if nominators:
        await tx.run(FORGET_NOMINATIONS, of_set=set_id)
    return nominators, bool(await tx.run(END_QUALIFICATION, of_set=set_id))


async def _end_pointless_nominations(tx: Transaction, set_id: int) -> None:
    if not await has_nominations(tx, set_id):
        return
    qualified = await tx.one(RANKS_AT, of_set=set_id) is not None
    needed = MapStatus.QUALIFIED if qualified else MapStatus.PENDING
    if all(beatmap.status != needed for beatmap in await tx.all(queries.OF_SET, set_id=set_id)):
        await end_nominations(tx, set_id)

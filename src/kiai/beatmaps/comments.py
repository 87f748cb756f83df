"""Comments that scroll through a replay: on a map, its song (the whole set), or one replay.

See docs/spec/web.md#comments.
"""

import re
from typing import Any, Final

import msgspec
from sqlalchemy import Integer, Select, bindparam, insert, or_, select, union_all

from kiai.accounts.visibility import EVERYBODY, Viewer, visible
from kiai.beatmaps import queries
from kiai.clock import Clock
from kiai.errors import Invalid, NotFound
from kiai.storage.port import Command, Database, Lane, Query, Transaction
from kiai.storage.tables import comments, users

MAP: Final = "map"
SONG: Final = "song"
REPLAY: Final = "replay"
KINDS: Final = (MAP, SONG, REPLAY)
LISTED_MAX: Final = 1_000
TEXT_MAX: Final = 80
TIME_MAX_MS: Final = 86_400_000
"""No song is longer; the lead-in before one has negative times."""
ID_MAX: Final = 2_147_483_647

_UNSAFE: Final = dict.fromkeys((*range(32), *range(127, 160), ord("|")))
_COLOUR: Final = re.compile(r"[0-9A-F]{6}", re.ASCII)


class Comment(msgspec.Struct, frozen=True):
    """A comment and who wrote it. `time_ms` into the song; `colour` is RRGGBB or empty."""

    id: int
    time_ms: int
    target: str
    text: str
    colour: str
    user_id: int
    safe_name: str
    priv: int


def _on(target: str, param: str) -> Select[Any]:
    found = (
        select(
            comments.c.id,
            comments.c.time_ms,
            comments.c.target,
            comments.c.text,
            comments.c.colour,
            comments.c.user_id,
            users.c.safe_name,
            users.c.priv,
        )
        .select_from(comments.join(users, users.c.id == comments.c.user_id))
        .where(
            comments.c.target == target,
            comments.c.target_id == bindparam(param, type_=comments.c.target_id.type),
            or_(
                visible(),
                users.c.id == bindparam("viewer_id", type_=users.c.id.type),
                bindparam("sees_all", type_=Integer) == 1,
            ),
        )
        .order_by(comments.c.time_ms, comments.c.id)
        .limit(LISTED_MAX)
        .subquery()
    )
    return select(found)


# Each part reads its index in order and stops, however many comments there are.
_all = union_all(_on(MAP, "map_id"), _on(SONG, "set_id"), _on(REPLAY, "score_id")).subquery()
LISTED = Query(select(_all).order_by(_all.c.time_ms, _all.c.id).limit(LISTED_MAX), Comment, lane=Lane.ASIDE)
ADD = Command(
    insert(comments).values(
        {n: bindparam(n) for n in ("user_id", "target", "target_id", "time_ms", "text", "colour", "at_ms")}
    )
)


class Comments:
    """Writing comments and listing those of a replay."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def on(self, map_id: int, set_id: int, score_id: int, viewer: Viewer = EVERYBODY) -> list[Comment]:
        """The first 1000 comments, by time, on any of these (0: none) whose authors `viewer` may know of."""
        return await self._database.all(
            LISTED,
            map_id=map_id,
            set_id=set_id,
            score_id=score_id,
            viewer_id=viewer.user_id,
            sees_all=int(viewer.is_staff),
        )

    async def add(
        self, user_id: int, target: str, target_id: int, *, time_ms: int, text: str, colour: str = ""
    ) -> None:
        """Stores a comment on a map (id), song (set id) or replay (score id); control characters and `|` are removed.

        `text` has 1 to 80 characters; `colour` is RRGGBB or empty. Raises Invalid, and NotFound for a map or set that
        is not here. That a score exists, and who may write and choose colours, are the caller's rules.
        """
        if target not in KINDS:
            raise Invalid("target", f"one of {', '.join(KINDS)}", target)
        if not -TIME_MAX_MS <= time_ms <= TIME_MAX_MS:
            raise Invalid("starttime", f"at most {TIME_MAX_MS} ms", time_ms)
        if colour and not _COLOUR.fullmatch(colour):
            raise Invalid("colour", "six hexadecimal digits", colour)
        if target_id <= 0 or (target != REPLAY and target_id > ID_MAX):
            raise NotFound(target)
        kept = clean(text)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            if target == MAP and await tx.one(queries.BY_ID, id=target_id) is None:
                raise NotFound(target)
            if target == SONG and await tx.one(queries.SET_EXISTS, id=target_id) is None:
                raise NotFound(target)
            await tx.run(
                ADD,
                user_id=user_id,
                target=target,
                target_id=target_id,
                time_ms=time_ms,
                text=kept,
                colour=colour,
                at_ms=now,
            )

        await self._database.transaction(body)


def clean(text: str) -> str:
    """A comment's text as it is stored: without what would break the client's lines. Raises Invalid."""
    if len(text) > TEXT_MAX:
        raise Invalid("comment", f"at most {TEXT_MAX} characters long", text)
    kept = text.translate(_UNSAFE).strip()
    if not kept:
        raise Invalid("comment", "a text", text)
    return kept

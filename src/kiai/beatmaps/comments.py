"""Comments that scroll across a replay: on a map, on its song (the whole set), or on a single replay.

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
"""A day: longer than any song. The lead-in before a song has negative times."""
ID_MAX: Final = 2_147_483_647

# The client reads comments as lines with parts separated by `|`.
_UNSAFE: Final = dict.fromkeys((*range(32), *range(127, 160), ord("|")))
_COLOUR: Final = re.compile(r"[0-9A-F]{6}", re.ASCII)


class Comment(msgspec.Struct, frozen=True):
    """A comment with its author. `time_ms` is the position in the song; `colour` is RRGGBB or empty."""

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


# PERF: each part reads at most `LISTED_MAX` entries of its index, in order. A single statement with OR would sort all
# comments of the three.
_all = union_all(_on(MAP, "map_id"), _on(SONG, "set_id"), _on(REPLAY, "score_id")).subquery()
LISTED = Query(select(_all).order_by(_all.c.time_ms, _all.c.id).limit(LISTED_MAX), Comment, lane=Lane.BOUNDED)
ADD = Command(
    insert(comments).values(
        {n: bindparam(n) for n in ("user_id", "target", "target_id", "time_ms", "text", "colour", "at_ms")}
    )
)


class Comments:
    """Writes comments, and lists those that appear in a replay."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def on(self, map_id: int, set_id: int, score_id: int, viewer: Viewer = EVERYBODY) -> list[Comment]:
        """Return the first 1,000 comments on this map, set or score (0 for none) in the order of their times.

        Comments of players that `viewer` may not see are left out.
        """
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
        """Store a comment on a map (id), song (set id) or replay (score id), without control characters and `|`.

        `text` has 1 to 80 characters; `colour` is RRGGBB or empty. Raises Invalid, and NotFound for an unknown map or
        set. The caller checks that a score exists, and that the player may write and choose a colour.
        """
        if target not in KINDS:
            raise Invalid("target", f"one of {', '.join(KINDS)}", target)
        if not -TIME_MAX_MS <= time_ms <= TIME_MAX_MS:
            raise Invalid("starttime", f"at most {TIME_MAX_MS} ms", time_ms)
        if colour and not _COLOUR.fullmatch(colour):
            raise Invalid("colour", "six hexadecimal digits", colour)
        if target_id <= 0 or (target != REPLAY and target_id > ID_MAX):  # outside the range of the column
            raise NotFound(target)
        cleaned = clean(text)
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
                text=cleaned,
                colour=colour,
                at_ms=now,
            )

        await self._database.transaction(body)


def clean(text: str) -> str:
    """Return the text of a comment without characters that the client cannot parse. Raises Invalid."""
    if len(text) > TEXT_MAX:
        raise Invalid("comment", f"at most {TEXT_MAX} characters long", text)
    cleaned = text.translate(_UNSAFE).strip()
    if not cleaned:
        raise Invalid("comment", "a text", text)
    return cleaned

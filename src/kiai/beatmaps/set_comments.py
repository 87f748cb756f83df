"""Comments on the page of a set: plain text, newest first (docs/spec/site.md#comments-on-sets)."""

import re
from typing import Final

import msgspec
from sqlalchemy import Integer, bindparam, delete, func, insert, or_, select

from kiai.accounts.model import Player, User
from kiai.accounts.queries import PRIV_TO_CHANGE
from kiai.accounts.visibility import EVERYBODY, Viewer, is_public, player_columns, visible, with_clan
from kiai.beatmaps import queries
from kiai.clock import Clock
from kiai.errors import Invalid, NotAllowed, NotFound, Refused
from kiai.osu.numbers import is_id
from kiai.osu.privileges import may
from kiai.storage.port import Command, Database, Query, Transaction, scalar
from kiai.storage.tables import set_comments, users

TEXT_MAX: Final = 1_000
LISTED_MAX: Final = 20
AGAIN_MS: Final = 60_000
"""The time in which a comment with the text and the set of the author's newest one is the same comment again."""
OF_PLAYER_MAX: Final = 500
"""Comments of one player on all sets."""
ID_MAX: Final = 2**63 - 1

# Control characters, except for the line break, and characters that turn the direction of the text around them.
_UNSAFE: Final = dict.fromkeys(
    (*range(10), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF)
)
_EMPTY_LINES: Final = re.compile(r"\n\s*\n\s*")


class SetComment(msgspec.Struct, frozen=True):
    """A comment with its author. `at_ms` is in unix ms."""

    id: int
    set_id: int
    text: str
    at_ms: int
    player: Player


def _comment(id_: int, set_id: int, text: str, at_ms: int, *player: object) -> SetComment:
    return SetComment(id_, set_id, text, at_ms, Player(*player))  # type: ignore[arg-type]


_comments = select(
    set_comments.c.id, set_comments.c.set_id, set_comments.c.text, set_comments.c.at_ms, *player_columns()
).select_from(with_clan(set_comments.join(users, users.c.id == set_comments.c.user_id)))
_seen = or_(
    visible(),
    users.c.id == bindparam("viewer_id", type_=users.c.id.type),
    bindparam("sees_all", type_=Integer) == 1,
)
ON: Final = Query(
    _comments.where(set_comments.c.set_id == bindparam("set_id"), set_comments.c.id < bindparam("before"), _seen)
    .order_by(set_comments.c.id.desc())
    .limit(bindparam("limit")),
    _comment,
)
ONE: Final = Query(_comments.where(set_comments.c.id == bindparam("id"), _seen), _comment)
_of_player = (
    select(set_comments.c.id).where(set_comments.c.user_id == bindparam("user_id")).limit(OF_PLAYER_MAX).subquery()
)
COUNT_OF: Final = Query(select(func.count()).select_from(_of_player), scalar)
ADD: Final = Query(
    insert(set_comments)
    .values({name: bindparam(name) for name in ("set_id", "user_id", "text", "at_ms")})
    .returning(set_comments.c.id),
    scalar,
)
_NEWEST_OF: Final = Query(
    select(set_comments.c.id, set_comments.c.set_id, set_comments.c.text, set_comments.c.at_ms)
    .where(set_comments.c.user_id == bindparam("user_id"))
    .order_by(set_comments.c.id.desc())
    .limit(1),
    lambda *row: row,
)
REMOVE: Final = Command(delete(set_comments).where(set_comments.c.id == bindparam("comment_id")))


class SetComments:
    """Stores, lists and removes comments on sets."""

    def __init__(self, database: Database, clock: Clock, *, verifies_email: bool = False) -> None:
        self._database = database
        self._clock = clock
        self._verifies_email = verifies_email

    async def on(
        self, set_id: int, viewer: Viewer = EVERYBODY, *, before: int | None = None, limit: int = LISTED_MAX
    ) -> list[SetComment]:
        """Return comments on a set, newest first, those with ids below `before`.

        Comments of players that `viewer` may not see are left out.
        """
        return await self._database.all(
            ON,
            set_id=set_id,
            before=ID_MAX if before is None else before,
            limit=limit,
            viewer_id=viewer.user_id,
            sees_all=int(viewer.is_staff),
        )

    async def one(self, comment_id: int, viewer: Viewer) -> SetComment:
        """Return a comment that `viewer` may see. Raises NotFound."""
        found = None
        if 0 < comment_id <= ID_MAX:
            found = await self._database.one(
                ONE, id=comment_id, viewer_id=viewer.user_id, sees_all=int(viewer.is_staff)
            )
        if found is None:
            raise NotFound("comment")
        return found

    async def add(self, author: User, set_id: int, text: str) -> int:
        """Store a comment and return its id. The same text again within `AGAIN_MS` returns the id of the first.

        Raises Invalid for a text that is empty or too long, NotFound for an unknown set, NotAllowed for a restricted or
        unverified player, and Refused for a silenced player, at the limit of comments, and before the address is
        confirmed where the operator asks for it.
        """
        check_may_comment(author, self._clock.now_ms())
        if self._verifies_email and author.email_verified_at_ms is None:
            raise Refused("confirm your e-mail address first")
        cleaned = clean(text)
        if not is_id(set_id):
            raise NotFound("set")
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            if await tx.one(queries.SET_EXISTS, id=set_id) is None:
                raise NotFound("set")
            # Locked, so that a form that is sent twice at once stores one comment.
            await tx.one(PRIV_TO_CHANGE, user_id=author.id)
            newest = await tx.one(_NEWEST_OF, user_id=author.id)
            if newest is not None and newest[1:3] == (set_id, cleaned) and newest[3] > now - AGAIN_MS:
                return int(newest[0])
            if (await tx.one(COUNT_OF, user_id=author.id) or 0) >= OF_PLAYER_MAX:
                raise Refused(f"at most {OF_PLAYER_MAX} comments of one player are stored; delete old ones first")
            return await tx.one(ADD, set_id=set_id, user_id=author.id, text=cleaned, at_ms=now) or 0

        return await self._database.transaction(body)

    async def remove_own(self, author: User, comment_id: int) -> SetComment:
        """Remove a comment of the player and return it. Raises NotFound for every other comment."""
        found = await self.one(comment_id, Viewer(author.id))
        if found.player.id != author.id:
            raise NotFound("comment")

        async def body(tx: Transaction) -> None:
            if not await tx.run(REMOVE, comment_id=comment_id):
                raise NotFound("comment")

        await self._database.transaction(body)
        return found


def check_may_comment(author: User, now_ms: int) -> None:
    """Raise NotAllowed or Refused if the player may not write comments."""
    if not is_public(author.priv):
        raise NotAllowed("unrestricted")
    if not may(author.priv, "chat.write"):
        raise NotAllowed("chat.write")
    if author.silenced_until_ms > now_ms:
        raise Refused("you are silenced")


def clean(text: str) -> str:
    """Return the text of a comment without control characters, empty lines and spaces around it. Raises Invalid."""
    cleaned = _EMPTY_LINES.sub("\n", text.replace("\r\n", "\n").replace("\r", "\n").translate(_UNSAFE)).strip()
    if not cleaned or len(cleaned) > TEXT_MAX:
        raise Invalid("comment", f"a text of 1 to {TEXT_MAX} characters", text if not cleaned else f"{len(cleaned)}")
    return cleaned

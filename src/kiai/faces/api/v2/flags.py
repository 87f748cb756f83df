"""Version 2: endpoints about integrity flags, for staff."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from kiai.accounts.model import FIRST_PLAYER_ID, ID_MAX
from kiai.faces.api.operation import Caller, Operation
from kiai.faces.api.v2.paging import (
    LongCursor,
    NoMeta,
    PageMeta,
    PageNumber,
    PageSize,
    PageSlice,
    Success,
    get,
    number_in_path,
    offset_of,
    post,
)
from kiai.scores.flags import KINDS, FlagObject, State
from kiai.staff import Actor
from kiai.staff.flag_queue import HANDLE, TEXT_MAX, FlagQueue

FLAG_ID_MAX = 2**63 - 1
_FLAG_IN_PATH: dict[str, Any] = {
    "type": "integer",
    "minimum": 1,
    "maximum": FLAG_ID_MAX,
    "description": "The flag's id.",
}
Kind = Literal[KINDS]  # type: ignore[valid-type]  # the kinds are a constant tuple of texts


class FlagsQuery(msgspec.Struct, frozen=True):
    """The parameters of /flags."""

    state: Annotated[State, Meta(description="The state of the flags.")] = "open"
    player_id: Annotated[int, Meta(ge=FIRST_PLAYER_ID, le=ID_MAX, description="Only flags of this player.")] | None = (
        None
    )
    kind: Annotated[Kind, Meta(description="Only flags of this kind.")] | None = None
    page: PageNumber = 1
    page_size: PageSize = 50
    cursor: LongCursor | None = None


class FlagVerdict(msgspec.Struct, frozen=True):
    """The body of /flags/{id}/close."""

    verdict: Annotated[Literal["cheating", "clean", "unclear"], Meta(description="Result of the examination.")]
    text: Annotated[str, Meta(max_length=TEXT_MAX, description="The reason, for the audit log.")] = ""


class FlagsPage(msgspec.Struct, frozen=True):
    """The response of /flags, newest first."""

    status: Success
    data: list[FlagObject]
    meta: PageMeta


class FlagPage(msgspec.Struct, frozen=True):
    """The response of /flags/{id}/close: the closed flag."""

    status: Success
    data: FlagObject
    meta: NoMeta


class FlagsV2:
    """The endpoints about flags."""

    def __init__(self, queue: FlagQueue) -> None:
        self._queue = queue

    async def flags(self, caller: Caller, query: FlagsQuery) -> FlagsPage:
        """List signs of cheating, newest first. A flag sanctions nobody."""
        actor = _actor(caller)
        offset = 0 if query.cursor is not None else offset_of(query)
        read = await self._queue.page(
            actor,
            user_id=query.player_id,
            kind=query.kind,
            state=query.state,
            limit=query.page_size + 1,
            offset=offset,
            before=query.cursor,
        )
        total = await self._queue.count(actor, user_id=query.player_id, kind=query.kind, state=query.state)
        page: PageSlice[FlagObject] = PageSlice(read, query.page_size)
        cursor = page.rows[-1].id if page.has_more else None
        return FlagsPage("success", list(page.rows), PageMeta(total, query.page, query.page_size, cursor))

    async def close(self, caller: Caller, query: Any, body: FlagVerdict, *, id: str) -> FlagPage:  # noqa: A002
        """Close a flag with a verdict. It is not raised again for the same play, or pair of plays."""
        flag_id = number_in_path("id", id, most=FLAG_ID_MAX)
        return FlagPage("success", await self._queue.close(_actor(caller), flag_id, body.verdict, body.text), NoMeta())

    def operations(self) -> list[Operation]:
        """Return the operations of this class."""
        return [
            get("/flags", self.flags, FlagsPage, tag="staff", query=FlagsQuery, permission=HANDLE),
            post(
                "/flags/{id}/close",
                self.close,
                FlagPage,
                FlagVerdict,
                tag="staff",
                permission=HANDLE,
                in_path={"id": _FLAG_IN_PATH},
            ),
        ]


def _actor(caller: Caller) -> Actor:
    return Actor(user_id=caller.viewer.user_id, source="api")

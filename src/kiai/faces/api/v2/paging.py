"""The common parts of version 2: the envelope, page numbers and cursors, ids in paths."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Generic, Literal, Protocol, TypeVar

import msgspec
from msgspec import Meta

from kiai.accounts.model import ID_MAX
from kiai.errors import Invalid
from kiai.faces.api.json_body import json_body
from kiai.faces.api.operation import BinaryReply, Method, Operation
from kiai.faces.api.params import NoParameters
from kiai.faces.api.picture_body import picture_body, picture_content
from kiai.faces.rate_limit import RateLimit
from kiai.osu.modes import MODE_PATTERN, parse_mode

T = TypeVar("T")

Success = Literal["success"]
PAGE_MAX: Final = 10_000
PAGE_SIZE_MAX: Final = 100
SIZE: Final = 50
IDS_MAX: Final = 100  # as many as a page can have, so that one request can return all of them
PageNumber = Annotated[int, Meta(ge=1, le=PAGE_MAX, description="The page, from 1.")]
PageSize = Annotated[int, Meta(ge=1, le=PAGE_SIZE_MAX, description="Number of entries per page.")]
_CURSOR: Final = (
    "Continue after the entry with this id, instead of at a page. Use meta.cursor of the previous response. "
    "No entry is skipped or repeated if the list changes."
)
Cursor = Annotated[int, Meta(ge=0, le=ID_MAX, description=_CURSOR)]
LongCursor = Annotated[int, Meta(ge=0, le=2**63 - 1, description=_CURSOR)]
COUNTED_MAX: Final = 10_000
"""The largest `total` of a list that is counted row by row."""
Ids = Annotated[
    str,
    Meta(
        pattern=rf"^[0-9]{{1,10}}(,[0-9]{{1,10}}){{0,{IDS_MAX - 1}}}$",
        description=f"Only these ids: up to {IDS_MAX}, separated by commas.",
        extra={"allowed": f"1 to {IDS_MAX} ids with commas between them"},
    ),
]
Include = Annotated[
    str,
    Meta(
        pattern="^(player|beatmap)(,(player|beatmap))?$",
        description="Objects to add to each score: `player`, `beatmap`, or both, separated by a comma.",
        extra={"allowed": "player, beatmap, or both, separated by a comma"},
    ),
]
ModeNumber = Annotated[int, Meta(ge=0, le=8, description="0 to 6 or 8.")]

# Falcon passes parts of a path as text. These schemas are only for the document; the functions below validate.
ID_IN_PATH: Final[dict[str, Any]] = {
    "type": "integer",
    "minimum": 1,
    "maximum": ID_MAX,
    "description": "The id.",
}
SCORE_IN_PATH: Final[dict[str, Any]] = {
    "type": "integer",
    "minimum": 0,
    "maximum": 2**63 - 1,
    "description": "The score's id.",
}
MODE_IN_PATH: Final[dict[str, Any]] = {
    "type": "string",
    "pattern": MODE_PATTERN,
    "description": "0 osu!, 1 taiko, 2 catch, 3 mania, 4-6 relax, 8 autopilot.",
    "x-allowed": "a game mode: 0 to 6 or 8, or in words such as vn!std",
}


class PageMeta(msgspec.Struct, frozen=True):
    """The position in a list. `total` is counted up to 10,000. `cursor` is null at the end, or in lists without one."""

    total: int
    page: int
    page_size: int
    cursor: int | None = None


class NoMeta(msgspec.Struct, frozen=True):
    """The `meta` of a response without pages."""


class PageQuery(msgspec.Struct, frozen=True):
    """The parameters of a list without filters."""

    page: PageNumber = 1
    page_size: PageSize = 50


class SizedQuery(msgspec.Struct, frozen=True):
    """The parameters of a list whose page size has two names.

    Version 1 calls it `limit`. Clients that use both versions can use the same name in both.
    """

    page: PageNumber = 1
    page_size: Annotated[PageSize, Meta(description=f"Number of entries per page. Default: {SIZE}.")] | None = None
    limit: Annotated[PageSize, Meta(description="The same as page_size.")] | None = None

    @property
    def size(self) -> int:
        """Number of entries per page. Raises Invalid if both names are given."""
        if self.page_size is not None and self.limit is not None:
            raise Invalid("limit", "left out with page_size, which means the same", self.limit)
        return self.page_size or self.limit or SIZE

    @property
    def offset(self) -> int:
        """Number of entries before the page."""
        return (self.page - 1) * self.size


class PageSlice(Generic[T]):
    """A page of a list. The caller reads one entry more than the page shows, so that `has_more` needs no count."""

    def __init__(self, read: Sequence[T], size: int) -> None:
        self.rows = read[:size]
        self.has_more = len(read) > size


def next_page(query: Any, reply: Any) -> dict[str, int | None] | None:
    """Return the parameters of the next page: a cursor in lists that have one, otherwise the next page number."""
    meta = reply.meta
    if meta.cursor is not None:
        return {"cursor": meta.cursor, "page": None}
    # A list with cursors is at its end if it returns none. Orders other than by id have pages only.
    if not isinstance(meta, PageMeta) or (hasattr(query, "cursor") and getattr(query, "sort", "id") in ("id", "-id")):
        return None
    read = meta.page * meta.page_size
    is_last = len(reply.data) < meta.page_size or (read >= meta.total and meta.total < COUNTED_MAX)
    return None if is_last or meta.page >= PAGE_MAX else {"page": meta.page + 1}


class _HasPageAndCursor(Protocol):
    @property
    def page(self) -> int: ...
    @property
    def page_size(self) -> int: ...
    @property
    def cursor(self) -> int | None: ...


def offset_of(query: _HasPageAndCursor) -> int:
    """Return the number of entries before the page of a list that has cursors.

    Raises Invalid if it exceeds `COUNTED_MAX`, because the database reads all entries that it skips.
    """
    offset = (query.page - 1) * query.page_size
    if offset > COUNTED_MAX and query.cursor is None:
        most = COUNTED_MAX // query.page_size + 1
        raise Invalid(
            "page", f"at most {most} with page_size={query.page_size} (`cursor` has no such bound)", query.page
        )
    return offset


def ids_in(text: str) -> list[int]:
    """Return the ids in a text with commas between them, sorted and without duplicates. Raises Invalid."""
    ids = sorted({int(item) for item in text.split(",")})  # the parameter's pattern allows only digits and commas
    if not 1 <= ids[0] <= ids[-1] <= ID_MAX:
        raise Invalid("ids", f"whole numbers from 1 to {ID_MAX} with commas between them", text)
    return ids


def number_in_path(name: str, text: str, *, least: int = 1, most: int = ID_MAX) -> int:
    """Return an integer from the path. Raises Invalid."""
    # The length first: int() takes quadratic time for long texts.
    if not text.isascii() or not text.isdigit() or len(text) > 19 or not least <= int(text) <= most:
        raise Invalid(name, f"a whole number from {least} to {most}", text)
    return int(text)


def mode_in_path(text: str) -> int:
    """Return the number of a game mode from the path. Raises Invalid."""
    mode = parse_mode(text)
    if mode is None:
        raise Invalid("mode", "a game mode: 0 to 6 or 8", text)
    return mode


def wants(include: str | None, what: str) -> bool:
    """Return whether the parameter `include` requests `player` or `beatmap` in each score."""
    return include is not None and what in include


STAFF_ACTS: Final = RateLimit("api-staff-acts", 120, 60.0)
"""Acts of one member of staff. Most of them tell others: by a line of the bot, an event or a webhook."""


def get(
    path: str,
    handler: Any,
    reply: Any,
    *,
    tag: str,
    query: type[msgspec.Struct] = NoParameters,
    in_path: dict[str, Any] | None = None,
    permission: str | None = None,
    limit: RateLimit | None = None,
) -> Operation:
    """Declare a GET operation of version 2. Its summary is the first line of the handler's docstring.

    A list with pages or cursors gets the header `Link` with the next page.
    """
    return Operation(
        path=f"/v2{path}",
        method="GET",
        summary=(handler.__doc__ or "").strip().splitlines()[0],
        query=query,
        reply=reply,
        handler=handler,
        tag=f"v2 {tag}",
        path_params=in_path or {},
        version=2,
        permission=permission,
        limit=limit,
        cached=reply is BinaryReply,  # JSON of version 2 has no ETag; files are worth the hash
        following=next_page if {"page", "cursor"} & set(query.__struct_fields__) else None,
    )


def post(
    path: str,
    handler: Any,
    reply: Any,
    body: type[msgspec.Struct],
    *,
    tag: str,
    permission: str = "",
    in_path: dict[str, Any] | None = None,
    limit: RateLimit | None = None,
    creates: bool = False,
    method: Method = "POST",
    optional: bool = False,
) -> Operation:
    """Declare an operation of version 2 with a JSON body. The handler gets (caller, query, body).

    Its summary is the first line of the handler's docstring. "" as permission means any unrestricted holder of a key.
    An operation that `creates` an object answers 201. An `optional` body may be empty. An operation with a permission
    has the limit `STAFF_ACTS` unless it has another.
    """
    if permission and limit is None:
        limit = STAFF_ACTS
    return Operation(
        path=f"/v2{path}",
        method=method,
        summary=(handler.__doc__ or "").strip().splitlines()[0],
        query=NoParameters,
        reply=reply,
        handler=handler,
        tag=f"v2 {tag}",
        path_params=in_path or {},
        version=2,
        permission=permission,
        limit=limit,
        body=json_body(body, optional=optional),
        body_type=body,
        body_optional=optional,
        success=201 if creates else 200,
    )


def post_picture(
    path: str, handler: Any, reply: Any, field: str, *, tag: str, in_path: dict[str, Any], limit: RateLimit
) -> Operation:
    """Declare an operation of version 2 whose body is a picture. The handler gets (caller, query, bytes)."""
    return Operation(
        path=f"/v2{path}",
        method="POST",
        summary=(handler.__doc__ or "").strip().splitlines()[0],
        query=NoParameters,
        reply=reply,
        handler=handler,
        tag=f"v2 {tag}",
        path_params=in_path,
        version=2,
        permission="",
        limit=limit,
        body=picture_body(field),
        body_content=picture_content(field),
    )

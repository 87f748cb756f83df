"""What every page of version 2 shares: the envelope, page numbers and cursors, ids in paths."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Generic, Literal, Protocol, TypeVar

import msgspec
from msgspec import Meta

from kiai.accounts.model import ID_MAX
from kiai.errors import Invalid
from kiai.faces.api.operation import Limit, Operation, Raw
from kiai.osu.modes import MODE_PATTERN, parse_mode

T = TypeVar("T")

Success = Literal["success"]
PAGE_MAX: Final = 10_000
PAGE_SIZE_MAX: Final = 100
SIZE: Final = 50
IDS_MAX: Final = 100
PageNumber = Annotated[int, Meta(ge=1, le=PAGE_MAX, description="Which page, from 1.")]
PageSize = Annotated[int, Meta(ge=1, le=PAGE_SIZE_MAX, description="Entries a page.")]
_BEHIND: Final = (
    "Continue behind the entry with this id instead of at a page: meta.cursor of the answer before. "
    "Nothing is skipped or repeated while entries come and go."
)
Cursor = Annotated[int, Meta(ge=0, le=ID_MAX, description=_BEHIND)]
LongCursor = Annotated[int, Meta(ge=0, le=2**63 - 1, description=_BEHIND)]
COUNTED_MAX: Final = 10_000
Ids = Annotated[
    str,
    Meta(
        pattern=rf"^[0-9]{{1,10}}(,[0-9]{{1,10}}){{0,{IDS_MAX - 1}}}$",
        description=f"Only those with these ids: up to {IDS_MAX}, with commas between them.",
        extra={"allowed": f"1 to {IDS_MAX} ids with commas between them"},
    ),
]
Include = Annotated[
    str,
    Meta(
        pattern="^(player|beatmap)(,(player|beatmap))?$",
        description="What each score brings along: `player`, `beatmap`, or both with a comma.",
        extra={"allowed": "player, beatmap, or both, separated by a comma"},
    ),
]
ModeNumber = Annotated[int, Meta(ge=0, le=8, description="0 to 6 or 8.")]

ID_IN_PATH: Final[dict[str, Any]] = {
    "type": "integer",
    "minimum": 1,
    "maximum": ID_MAX,
    "description": "The id of the one that is wanted.",
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
    """Where one is in a list. `total` is counted up to 10,000; `cursor` is null at the end or where pages suffice."""

    total: int
    page: int
    page_size: int
    cursor: int | None = None


class NoMeta(msgspec.Struct, frozen=True):
    """A single thing has no pages."""


class PageQuery(msgspec.Struct, frozen=True):
    """A list without filters."""

    page: PageNumber = 1
    page_size: PageSize = 50


class SizedQuery(msgspec.Struct, frozen=True):
    """A list whose page size has two names: version 1 calls it `limit`, and so do clients of both."""

    page: PageNumber = 1
    page_size: Annotated[PageSize, Meta(description=f"Entries a page; {SIZE} when left out.")] | None = None
    limit: Annotated[PageSize, Meta(description="The same as page_size.")] | None = None

    @property
    def size(self) -> int:
        """Entries a page. Raises Invalid when both names are given."""
        if self.page_size is not None and self.limit is not None:
            raise Invalid("limit", "left out beside page_size, which means the same", self.limit)
        return self.page_size or self.limit or SIZE

    @property
    def offset(self) -> int:
        """How many entries are before the page."""
        return (self.page - 1) * self.size


class Nothing(msgspec.Struct, frozen=True):
    """No parameters beside those in the path."""


class Paged(Generic[T]):
    """A page of a list that was read one entry further than it shows, to know whether more follow."""

    def __init__(self, read: Sequence[T], size: int) -> None:
        self.rows = read[:size]
        self.has_more = len(read) > size


def next_page(query: Any, reply: Any) -> dict[str, int | None] | None:
    """What follows a page: the cursor where there is one, else the next number. The `following` of lists."""
    meta = reply.meta
    if meta.cursor is not None:
        return {"cursor": meta.cursor, "page": None}
    if not isinstance(meta, PageMeta) or (hasattr(query, "cursor") and getattr(query, "sort", "id") in ("id", "-id")):
        return None
    shown = meta.page * meta.page_size
    is_last = len(reply.data) < meta.page_size or (shown >= meta.total and meta.total < COUNTED_MAX)
    return None if is_last or meta.page >= PAGE_MAX else {"page": meta.page + 1}


class _HasPageAndCursor(Protocol):
    @property
    def page(self) -> int: ...
    @property
    def page_size(self) -> int: ...
    @property
    def cursor(self) -> int | None: ...


def offset_of(query: _HasPageAndCursor) -> int:
    """How many entries are before the page of a list that has cursors.

    Raises Invalid beyond the entries that `total` counts: to skip them costs as much as to read them.
    """
    offset = (query.page - 1) * query.page_size
    if offset > COUNTED_MAX and query.cursor is None:
        most = COUNTED_MAX // query.page_size + 1
        raise Invalid("page", f"at most {most} with page_size={query.page_size} (`cursor` leads further)", query.page)
    return offset


def ids_in(text: str) -> list[int]:
    """The ids of a list with commas, each once, in order. Raises Invalid for one that is none."""
    found = sorted({int(one) for one in text.split(",")})
    if not 1 <= found[0] <= found[-1] <= ID_MAX:
        raise Invalid("ids", f"whole numbers from 1 to {ID_MAX} with commas between them", text)
    return found


def number_in_path(name: str, text: str, *, least: int = 1, most: int = ID_MAX) -> int:
    """A whole number from the path. Raises Invalid."""
    if not text.isascii() or not text.isdigit() or len(text) > 19 or not least <= int(text) <= most:
        raise Invalid(name, f"a whole number from {least} to {most}", text)
    return int(text)


def mode_in_path(text: str) -> int:
    """A game mode from the path. Raises Invalid."""
    mode = parse_mode(text)
    if mode is None:
        raise Invalid("mode", "a game mode: 0 to 6 or 8", text)
    return mode


def wants(include: str | None, what: str) -> bool:
    """Whether scores are to bring along their `player` or `beatmap`."""
    return include is not None and what in include


def get(
    path: str,
    handler: Any,
    reply: Any,
    *,
    tag: str,
    query: type[msgspec.Struct] = Nothing,
    in_path: dict[str, Any] | None = None,
    permission: str | None = None,
    limit: Limit | None = None,
) -> Operation:
    """One GET operation of version 2. One that can be paged says where its next page is."""
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
        cached=reply is Raw,
        following=next_page if {"page", "cursor"} & set(query.__struct_fields__) else None,
    )

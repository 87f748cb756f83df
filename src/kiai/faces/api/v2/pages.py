"""What every page of version 2 shares: the envelope, page numbers and cursors, ids in paths."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from kiai.accounts.model import ID_MAX
from kiai.errors import Invalid
from kiai.faces.api.operation import Operation
from kiai.osu.modes import MODE_PATTERN, parse_mode

Success = Literal["success"]
PAGE_MAX: Final = 10_000
PAGE_SIZE_MAX: Final = 100
PageNumber = Annotated[int, Meta(ge=1, le=PAGE_MAX, description="Which page, from 1.")]
PageSize = Annotated[int, Meta(ge=1, le=PAGE_SIZE_MAX, description="Entries a page.")]
_BEHIND: Final = (
    "Continue behind the entry with this id instead of at a page: meta.cursor of the answer before. "
    "Nothing is skipped or repeated while entries come and go."
)
Cursor = Annotated[int, Meta(ge=0, le=ID_MAX, description=_BEHIND)]
LongCursor = Annotated[int, Meta(ge=0, le=2**63 - 1, description=_BEHIND)]
COUNTED_MAX: Final = 10_000

ID_IN_PATH: Final[dict[str, Any]] = {"type": "integer", "minimum": 1, "maximum": ID_MAX}
PLAYER_IN_PATH: Final[dict[str, Any]] = {"type": "integer", "minimum": 3, "maximum": ID_MAX}
SCORE_IN_PATH: Final[dict[str, Any]] = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
MODE_IN_PATH: Final[dict[str, Any]] = {
    "type": "string",
    "pattern": MODE_PATTERN,
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


class Nothing(msgspec.Struct, frozen=True):
    """No parameters beside those in the path."""


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


def get(
    path: str,
    handler: Any,
    reply: Any,
    *,
    tag: str,
    query: type[msgspec.Struct] = Nothing,
    in_path: dict[str, Any] | None = None,
) -> Operation:
    """One GET operation of version 2."""
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
    )

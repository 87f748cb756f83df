"""Parameters that several endpoints share: players, maps, modes, mods and pages."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from kiai.accounts.model import BOT_ID, FIRST_PLAYER_ID, ID_MAX
from kiai.errors import Invalid
from kiai.faces.api.errors import BadRequest
from kiai.osu.modes import MODE_PATTERN, parse_mode, variant_mode
from kiai.osu.mods import parse_mods
from kiai.osu.names import NAME_PATTERN
from kiai.scores.listing_parts import ANY_MODS, LISTED_MAX, ModsFilter

VARIANTS: Final = ("vn", "rx", "ap")

# The schema starts at the first player, but the type at 1: the bot has a valid id and answers 404. `one_player` rejects
# the ids in between.
PlayerId = Annotated[
    int,
    Meta(
        ge=1,
        le=ID_MAX,
        description="The player's id.",
        extra={
            "allowed": f"a whole number from {FIRST_PLAYER_ID} to {ID_MAX}",
            "schema": {"minimum": FIRST_PLAYER_ID},
        },
    ),
]
PlayerName = Annotated[
    str,
    Meta(
        pattern=NAME_PATTERN,
        description="The player's name, in upper or lower case, with spaces or underscores.",
        extra={"allowed": "a name of 2 to 15 characters out of A-Z a-z 0-9 _ [ ] - and space"},
    ),
]
MapId = Annotated[int, Meta(ge=1, le=ID_MAX, description="The map's id.")]
MapMd5 = Annotated[
    str,
    Meta(
        pattern="^[0-9a-fA-F]{32}$",
        description="The md5 of the map's .osu file.",
        extra={"allowed": "an md5 of 32 hexadecimal digits"},
    ),
]
ScoreId = Annotated[int, Meta(ge=0, le=2**63 - 1, description="The score's id.")]
# Text instead of an integer, because forms such as `vn!std` are documented.
ModeText = Annotated[
    str,
    Meta(
        max_length=16,
        description="0 osu!, 1 taiko, 2 catch, 3 mania, 4-6 relax, 8 autopilot (7 means 8); or `vn!std`, `rx!catch`...",
        extra={"allowed": "a game mode: 0 to 6 or 8", "schema": {"pattern": MODE_PATTERN}},
    ),
]
ModsText = Annotated[
    str,
    Meta(
        max_length=64,
        description="`vn`, `rx` or `ap` select the variant of modes 0-3. Otherwise a filter: a number or letters such "
        "as `HDDT`, all of which a score must have; with `~` in front, one of which it must have.",
        extra={"allowed": "vn, rx, ap, a number, or mods in letters such as HDDT"},
    ),
]
LIMIT_MAX: Final = 100
OFFSET_MAX: Final = 1_000_000  # the database reads all rows that it skips
Limit100 = Annotated[int, Meta(ge=1, le=LIMIT_MAX, description="Maximum number of entries.")]
Offset = Annotated[int, Meta(ge=0, le=OFFSET_MAX, description="Number of entries to skip.")]


class PlayerQuery(msgspec.Struct, frozen=True):
    """The parameters that select a player: either the id or the name."""

    id: PlayerId | None = None
    name: PlayerName | None = None


class MapQuery(msgspec.Struct, frozen=True):
    """The parameters that select a map: the id or the md5. The id wins if both are given."""

    id: MapId | None = None
    md5: MapMd5 | None = None


class OnePlayer(msgspec.Struct, frozen=True):
    """A validated selection of a player: exactly one of the two is not None."""

    id: int | None
    name: str | None


def one_player(id_: int | None, name: str | None) -> OnePlayer:
    """Validate that exactly one of id and name is given.

    Raises BadRequest otherwise, and Invalid for an id between the bot's and the first player's, which no account has.
    """
    if (id_ is None) == (name is None):
        raise BadRequest("Must provide either id OR name!")
    # The id of the bot passes, because it exists. It is not a player, so the lookup answers 404.
    if id_ is not None and BOT_ID < id_ < FIRST_PLAYER_ID:
        raise Invalid("id", f"a whole number from {FIRST_PLAYER_ID} to {ID_MAX}", id_)
    return OnePlayer(id_, name)


def one_map(id_: int | None, md5: str | None) -> tuple[int | None, str | None]:
    """Return either the id or the md5 in lower case. Raises BadRequest if neither is given."""
    if id_ is not None:
        return id_, None
    if md5 is not None:
        return None, md5.lower()
    raise BadRequest("Must provide either id or md5!")


def mode_and_mods(mode: str, mods: str | None) -> tuple[int, ModsFilter]:
    """Parse the parameters `mode` and `mods` to a mode and a filter by mods.

    `mods` has two documented meanings: `vn`, `rx` and `ap` change the mode; everything else is a filter. Raises
    BadRequest for a mode or a variant that does not exist, and Invalid for malformed mods.
    """
    number = parse_mode(mode)
    if number is None:
        raise BadRequest("Invalid gamemode.")
    if mods is None:
        return number, ANY_MODS
    if mods.lower() in VARIANTS:
        if number <= 3:  # modes from 4 on have their variant already, which wins
            number = variant_mode(number, mods.lower())
            if number is None:
                raise BadRequest("Invalid gamemode.")
        return number, ANY_MODS
    # `=HDDT` is another spelling of `HDDT`; `~HDDT` means any of the mods.
    try:
        bits = parse_mods(mods[1:] if mods.startswith(("=", "~")) else mods)
    except ValueError as error:
        raise Invalid("mods", "vn, rx, ap, a number, or mods in letters such as HDDT", mods) from error
    return number, ModsFilter(any_of=bits) if mods.startswith("~") else ModsFilter(all_of=bits)


async def total_of(found: int, limit: int, offset: int, count: Callable[[], Awaitable[int]]) -> int:
    """Return the length of a list from which a page with `found` entries was read.

    Calls `count` only if the page does not show the end of the list.
    """
    # PERF: a page that is not full ends the list, so most requests need no COUNT. An empty page behind the end proves
    # nothing.
    if found < limit and (found or not offset):
        return offset + found
    return await count()


def next_offset(rows: str) -> Callable[[Any, Any], dict[str, int | None] | None]:
    """Return the `following` of an operation with limit, offset and total. `rows` names the list in the reply."""

    def following(query: Any, reply: Any) -> dict[str, int | None] | None:
        after = query.offset + query.limit
        # A total at the bound is "at least", so only a page that is not full ends such a list.
        is_last = len(getattr(reply, rows)) < query.limit or (after >= reply.total and reply.total < LISTED_MAX)
        return None if is_last or after > OFFSET_MAX else {"offset": after}

    return following

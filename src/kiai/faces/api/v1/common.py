"""Parameters that several endpoints share, and what they mean."""

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
from kiai.scores.leaderboards import ANY_MODS, LISTED_MAX, ModsWanted

VARIANTS: Final = ("vn", "rx", "ap")

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
        description="The player's name; upper or lower case, spaces or underscores.",
        extra={"allowed": "a name of 2 to 15 characters out of A-Z a-z 0-9 _ [ ] - and space"},
    ),
]
MapId = Annotated[int, Meta(ge=1, le=ID_MAX, description="The beatmap's id.")]
MapMd5 = Annotated[
    str,
    Meta(
        pattern="^[0-9a-fA-F]{32}$",
        description="The md5 of the beatmap's .osu file.",
        extra={"allowed": "an md5 of 32 hexadecimal digits"},
    ),
]
ScoreId = Annotated[int, Meta(ge=0, le=2**63 - 1, description="The score's id.")]
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
OFFSET_MAX: Final = 1_000_000
Limit100 = Annotated[int, Meta(ge=1, le=LIMIT_MAX, description="How many entries at most.")]
Offset = Annotated[int, Meta(ge=0, le=OFFSET_MAX, description="How many entries to skip.")]


class PlayerQuery(msgspec.Struct, frozen=True):
    """A player by id or by name."""

    id: PlayerId | None = None
    name: PlayerName | None = None


class MapQuery(msgspec.Struct, frozen=True):
    """A map by id or by md5; the id wins."""

    id: MapId | None = None
    md5: MapMd5 | None = None


class OnePlayer(msgspec.Struct, frozen=True):
    """What selects a player, checked: exactly one of the two."""

    id: int | None
    name: str | None


def one_player(id_: int | None, name: str | None) -> OnePlayer:
    """Exactly one of id and name. Raises BadRequest, or Invalid for an id that is nobody's by rule."""
    if (id_ is None) == (name is None):
        raise BadRequest("Must provide either id OR name!")
    if id_ is not None and BOT_ID < id_ < FIRST_PLAYER_ID:  # the bot is a known id that is no player: not found
        raise Invalid("id", f"a whole number from {FIRST_PLAYER_ID} to {ID_MAX}", id_)
    return OnePlayer(id_, name)


def one_map(id_: int | None, md5: str | None) -> tuple[int | None, str | None]:
    """The id, or else the md5 in lower case. Raises BadRequest without both."""
    if id_ is not None:
        return id_, None
    if md5 is not None:
        return None, md5.lower()
    raise BadRequest("Must provide either id or md5!")


def mode_and_mods(mode: str, mods: str | None) -> tuple[int, ModsWanted]:
    """The game mode, and the filter by mods. Raises BadRequest or Invalid."""
    number = parse_mode(mode)
    if number is None:
        raise BadRequest("Invalid gamemode.")
    if mods is None:
        return number, ANY_MODS
    if mods.lower() in VARIANTS:
        if number <= 3:
            number = variant_mode(number, mods.lower())
            if number is None:
                raise BadRequest("Invalid gamemode.")
        return number, ANY_MODS
    try:
        bits = parse_mods(mods[1:] if mods.startswith(("=", "~")) else mods)
    except ValueError as error:
        raise Invalid("mods", "vn, rx, ap, a number, or mods in letters such as HDDT", mods) from error
    return number, ModsWanted(any_of=bits) if mods.startswith("~") else ModsWanted(all_of=bits)


async def total_of(found: int, limit: int, offset: int, count: Callable[[], Awaitable[int]]) -> int:
    """How long a list is of which `found` entries were read. Counts only where the page does not show its end."""
    if found < limit and (found or not offset):
        return offset + found
    return await count()


def next_offset(rows: str) -> Callable[[Any, Any], dict[str, int | None] | None]:
    """What follows a page of the reply's list `rows`: the `following` of an operation with limit, offset and total."""

    def following(query: Any, reply: Any) -> dict[str, int | None] | None:
        after = query.offset + query.limit
        is_last = len(getattr(reply, rows)) < query.limit or (after >= reply.total and reply.total < LISTED_MAX)
        return None if is_last or after > OFFSET_MAX else {"offset": after}

    return following

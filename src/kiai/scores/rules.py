"""The rules about boards and pp, in Python and as SQL: which maps have boards and give pp, and how boards are sorted.

See docs/spec/game-rules.md#boards and docs/spec/beatmaps.md#status-numbers.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, bindparam, case, literal_column

from kiai.beatmaps.model import BOARD_STATUSES, PP_STATUSES, MapStatus
from kiai.storage.tables import maps, scores

RELAX_OR_AUTOPILOT: Final = 12
"""A bit mask: modes 4 to 8 have one of these bits, modes 0 to 3 have none."""


def gives_pp(status: int) -> bool:
    """Return whether best scores on a map of this status count for pp and accuracy of a profile."""
    return status in PP_STATUSES


def has_board(status: int) -> bool:
    """Return whether a map of this status has boards."""
    return status in BOARD_STATUSES


def gives_medals(status: int) -> bool:
    """Return whether passes on a map of this status earn medals."""
    return has_board(status) and status != MapStatus.QUALIFIED


def sorts_by_pp(mode: int) -> bool:
    """Return whether boards of this mode sort by pp (relax and autopilot) instead of by score."""
    return mode & RELAX_OR_AUTOPILOT != 0


def map_status_in(*statuses: int) -> ColumnElement[bool]:
    """Return the condition over `maps` that the status is one of these."""
    # Literals, not parameters: with a parameter, the planner does not know how many maps match.
    return maps.c.status.in_([literal_column(str(int(status))) for status in statuses])


MAP_GIVES_PP: Final = map_status_in(*PP_STATUSES)
MAP_GIVES_PP_OR_IS_LOVED: Final = map_status_in(*PP_STATUSES, MapStatus.LOVED)
MAP_HAS_BOARD: Final = map_status_in(*BOARD_STATUSES)
MAP_COUNTS: Final = (
    case((maps.c.status == int(MapStatus.LOVED), bindparam("loved_counts")), (MAP_GIVES_PP, 1), else_=0) == 1
)
"""Whether a best on the map adds to ranked score and grades; the parameter `loved_counts` is 1 or 0."""

# Written exactly as in the conditions of the partial indexes of boards. A comparison such as `mode < 4` would make the
# engine read a range of modes from the index and then sort.
_family: Final[ColumnElement[Any]] = scores.c.mode.op("&")(RELAX_OR_AUTOPILOT)
MODE_SORTS_BY_PP: Final = _family != 0
MODE_SORTS_BY_SCORE: Final = _family == 0

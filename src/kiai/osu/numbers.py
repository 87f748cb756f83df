"""Whole numbers in text that came from outside.

`int`, `str.isdigit` and the `\\d` of regular expressions accept the digits of every script. `int` also accepts signs
and underscores, and `str.isdigit` accepts characters such as `²` that `int` refuses. Foreign text is read here.
"""

import re
from typing import Final

ID_MAX: Final = 2**31 - 1
"""The largest id of a user, map, set or room: the databases hold these in 32 bits."""

_DIGITS_MAX: Final = 19
_DIGITS: Final = re.compile(rf"[0-9]{{1,{_DIGITS_MAX}}}")


def whole_number(text: str, most: int = ID_MAX, least: int = 0) -> int | None:
    """The number that `text` writes in ASCII digits and nothing else; None if it is none or outside `least`-`most`."""
    if not _DIGITS.fullmatch(text):
        return None
    number = int(text)
    return number if least <= number <= most else None


def is_id(number: int) -> bool:
    """Whether a row can have this id. No other number may reach a database: PostgreSQL refuses it as an error."""
    return 0 < number <= ID_MAX

"""Parses whole numbers in untrusted text.

`int`, `str.isdigit` and the `\\d` of regular expressions accept digits of every script. `int` also accepts signs and
underscores, and `str.isdigit` accepts characters such as `²` that `int` rejects.
"""

import re
from typing import Final

ID_MAX: Final = 2**31 - 1
"""The largest id of a user, map, set or match; the database columns have 32 bits."""

_DIGITS_MAX: Final = 19  # those of 2^63 - 1
_DIGITS: Final = re.compile(rf"[0-9]{{1,{_DIGITS_MAX}}}")


def whole_number(text: str, most: int = ID_MAX, least: int = 0) -> int | None:
    """Return the number in `text`, or None unless `text` is only ASCII digits and the number in `least`-`most`."""
    if not _DIGITS.fullmatch(text):
        return None
    number = int(text)
    return number if least <= number <= most else None


def is_id(number: int) -> bool:
    """Whether a row can have this id. Check numbers from requests: PostgreSQL raises an error beyond 32 bits."""
    return 0 < number <= ID_MAX

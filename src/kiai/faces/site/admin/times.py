"""Times in the filters of the admin panel."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from kiai.faces.site.page import BadParameter, SiteRequest
from kiai.osu.numbers import whole_number

TIME_FORMS: Final = "a day like 2026-05-03, in UTC, or unix seconds"
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_UNIX_MAX: Final = 2**40


def time_of(request: SiteRequest, name: str, *, end: bool = False) -> int | None:
    """Return a time of the query in unix ms, with `end` the last moment of a day or second. Raises BadParameter."""
    text = request.query.text(name)
    if not text:
        return None
    if _DAY.fullmatch(text):
        try:
            day = datetime.fromisoformat(text).replace(tzinfo=UTC)
        except ValueError as error:
            raise BadParameter(name, TIME_FORMS, text) from error
        first = int(day.timestamp() * 1000)
        return first + timedelta(days=1) // timedelta(milliseconds=1) - 1 if end else first
    seconds = whole_number(text, _UNIX_MAX)
    if seconds is None:
        raise BadParameter(name, TIME_FORMS, text)
    return seconds * 1000 + (999 if end else 0)

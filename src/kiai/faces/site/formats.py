"""Numbers, lengths and times as text, by language.

PERF: Babel takes 20 us to format a number, and a page has hundreds of them. `Formats` reads the separators of a
language from Babel once and formats by itself.
"""

import functools
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

MINUTE_S: Final = 60
HOUR_S: Final = 3_600
DAY_S: Final = 86_400
MONTH_S: Final = 30 * DAY_S
YEAR_S: Final = 365 * DAY_S
MOMENTS_MAX: Final = 16_384
"""Times in the cache of a language, about 100 bytes each."""


def plural_message(one: str, many: str) -> tuple[str, str]:
    """Mark a message with a plural for the catalogues (`scripts/texts`)."""
    return one, many


def message(text: str) -> str:
    """Mark a message for the catalogues."""
    return text


_JUST_NOW: Final = message("just now")
# Below a distance in seconds: the unit, and the messages for the past and the future.
_DISTANCES: Final = (
    (
        HOUR_S,
        MINUTE_S,
        plural_message("%(num)s minute ago", "%(num)s minutes ago"),
        plural_message("in %(num)s minute", "in %(num)s minutes"),
    ),
    (
        DAY_S,
        HOUR_S,
        plural_message("%(num)s hour ago", "%(num)s hours ago"),
        plural_message("in %(num)s hour", "in %(num)s hours"),
    ),
    (
        MONTH_S,
        DAY_S,
        plural_message("%(num)s day ago", "%(num)s days ago"),
        plural_message("in %(num)s day", "in %(num)s days"),
    ),
    (
        YEAR_S,
        MONTH_S,
        plural_message("%(num)s month ago", "%(num)s months ago"),
        plural_message("in %(num)s month", "in %(num)s months"),
    ),
    (
        math.inf,
        YEAR_S,
        plural_message("%(num)s year ago", "%(num)s years ago"),
        plural_message("in %(num)s year", "in %(num)s years"),
    ),
)


class Formats:
    """The formats of one language. `text` and `plural` translate words."""

    def __init__(self, language: str, text: Callable[[str], str], plural: Callable[[str, str, int], str]) -> None:
        # PERF: imported for the first page, because Babel takes 1 MB without and 6 MB with the data of a language.
        from babel import Locale as BabelLocale
        from babel.dates import format_date, format_datetime
        from babel.numbers import get_decimal_symbol, get_group_symbol

        self.babel = BabelLocale.parse(language)
        self._date = functools.partial(format_date, format="long", locale=self.babel)
        self._datetime = functools.partial(format_datetime, format="medium", locale=self.babel)
        self._text = text
        self._plural = plural
        group, decimal = get_group_symbol(self.babel), get_decimal_symbol(self.babel)
        self._moments: dict[int, str] = {}
        self._symbols = str.maketrans({",": group, ".": decimal})

    def number(self, value: float, decimals: int = 0) -> str:
        """Return a number with group separators, e.g. `1,234,567`."""
        return f"{value:,.{decimals}f}".translate(self._symbols)

    def pp(self, value: float) -> str:
        """Return performance points as whole number, e.g. `1,205`."""
        return self.number(round(value))

    def accuracy(self, value: float) -> str:
        """Return an accuracy from 0 to 100 with two decimals, rounded down, so that only a perfect play shows 100 %."""
        return f"{self.number(math.floor(value * 100 + 1e-6) / 100, 2)}%"

    def stars(self, value: float) -> str:
        """Return a star rating with two decimals."""
        return self.number(value, 2)

    def compact(self, value: int) -> str:
        """Return a number above a billion as e.g. `1.23 B`, others in full."""
        return f"{self.number(value / 1e9, 2)} B" if value >= 1_000_000_000 else self.number(value)

    def length(self, seconds: float) -> str:
        """Return a length as `m:ss`, from an hour on as `h:mm:ss`."""
        whole = round(seconds)
        hours, rest = divmod(whole, HOUR_S)
        minutes, second = divmod(rest, MINUTE_S)
        return f"{hours}:{minutes:02}:{second:02}" if hours else f"{minutes}:{second:02}"

    def play_time(self, seconds: int) -> str:
        """Return a time of play as `12 d 4 h 20 m`. The units are those of SI in every language."""
        days, rest = divmod(seconds, DAY_S)
        hours, rest = divmod(rest, HOUR_S)
        parts = [(days, "d"), (hours, "h"), (rest // MINUTE_S, "m")]
        shown = [f"{self.number(count)} {unit}" for count, unit in parts if count]
        return " ".join(shown) or "0 m"

    def relative(self, at_ms: int, now_ms: int) -> str:
        """Return the distance between two times in words, e.g. `3 hours ago` or `in 2 days`."""
        seconds = abs(now_ms - at_ms) // 1000
        if seconds < MINUTE_S:
            return self._text(_JUST_NOW)
        unit_s, ago, ahead = next(row[1:] for row in _DISTANCES if seconds < row[0])
        count = seconds // unit_s
        one, many = ago if at_ms <= now_ms else ahead
        return self._plural(one, many, count) % {"num": self.number(count)}

    def day(self, at_ms: int) -> str:
        """Return a date, e.g. `3 May 2026`, in UTC."""
        return self._date(utc(at_ms))

    def moment(self, at_ms: int) -> str:
        """Return date and time in UTC."""
        # PERF: Babel takes 50 us, and lists show the same times again and again.
        known = self._moments.get(at_ms)
        if known is None:
            if len(self._moments) >= MOMENTS_MAX:
                self._moments.clear()
            known = f"{self._datetime(utc(at_ms))} UTC"
            self._moments[at_ms] = known
        return known


def utc(at_ms: int) -> datetime:
    """Return unix milliseconds as a time in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def iso(at_ms: int) -> str:
    """Return unix milliseconds in the form of ISO 8601, in UTC."""
    return utc(at_ms).strftime("%Y-%m-%dT%H:%M:%SZ")

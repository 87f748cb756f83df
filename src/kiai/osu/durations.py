"""Parses durations as players type them (`1h30m`) and formats them for the bot (`1 hour and 30 minutes`)."""

import re
from typing import Final

YEAR_S: Final = 365 * 86_400

_UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_WORDS: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
_TEXT: Final = re.compile(r"(?:[0-9]{1,9}[smhdw]){1,5}")  # five parts: each unit once
_PART: Final = re.compile(r"([0-9]{1,9})([smhdw])")


def parse_duration(text: str) -> int | None:
    """Return the seconds of a duration, 1 to YEAR_S: numbers with `s`, `m`, `h`, `d` or `w`, in any case and order.

    None for other texts, including a number without a unit (docs/spec/game-rules.md#silence).
    """
    if not _TEXT.fullmatch(lower := text.lower()):
        return None
    seconds = sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(lower))
    return seconds if 1 <= seconds <= YEAR_S else None


def duration_text(seconds: int) -> str:
    """Format a duration: `2 minutes`, `1 minute and 30 seconds`, `1 day, 2 hours and 5 seconds`, `0 seconds`."""
    parts: list[str] = []
    for word, length in _WORDS:
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count} {word}{'' if count == 1 else 's'}")
    *before, last = parts or ["0 seconds"]
    return f"{', '.join(before)} and {last}" if before else last

"""Lengths of time as players write them (`10m`, `1h30m`) and as the bot says them (`1 hour and 30 minutes`)."""

import re
from typing import Final

YEAR_S: Final = 365 * 86_400

_UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_WORDS: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
_TEXT: Final = re.compile(r"(?:[0-9]{1,9}[smhdw]){1,5}")
_PART: Final = re.compile(r"([0-9]{1,9})([smhdw])")


def parse_duration(text: str) -> int | None:
    """The seconds that `text` means, 1 to YEAR_S: numbers with `s`, `m`, `h`, `d` or `w`, in any case and order.

    None for anything else, a bare number included (docs/spec/game-rules.md#silence).
    """
    if not _TEXT.fullmatch(lower := text.lower()):
        return None
    seconds = sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(lower))
    return seconds if 1 <= seconds <= YEAR_S else None


def duration_text(seconds: int) -> str:
    """`2 minutes`, `1 minute and 30 seconds`, `1 day, 2 hours and 5 seconds`; `0 seconds` for nothing."""
    parts: list[str] = []
    for word, length in _WORDS:
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count} {word}{'' if count == 1 else 's'}")
    *before, last = parts or ["0 seconds"]
    return f"{', '.join(before)} and {last}" if before else last

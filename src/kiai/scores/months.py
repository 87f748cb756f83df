"""Months: the unit in which plays are counted for the graph of a profile."""

from datetime import UTC, datetime
from typing import Final

MONTHS_SHOWN: Final = 24


def month_of(unix_ms: int) -> int:
    """Return the month (UTC) of a time: year * 12 + month - 1."""
    at = datetime.fromtimestamp(unix_ms // 1000, UTC)
    return at.year * 12 + at.month - 1


def month_text(month: int) -> str:
    """Return a month of `month_of` as YYYY-MM."""
    return f"{month // 12:04}-{month % 12 + 1:02}"

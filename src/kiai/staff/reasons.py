"""Reasons of acts: their length, and the short codes that staff may type (docs/spec/game-rules.md#audit-log)."""

from collections.abc import Mapping
from typing import Final

from kiai.errors import Invalid

REASON_MAX: Final = 500

CODES: Final[Mapping[str, str]] = {
    "aa": "Appeal accepted",
    "cc": "Modified client",
    "3p": "Third-party program",
    "rx": "Relax cheat",
    "tw": "Timewarp",
    "au": "Autoplay",
}
"""A reason that is only a code is stored as its text."""


def checked_reason(reason: str, *, field: str = "reason", optional: bool = False) -> str:
    """Return the reason without blanks around it, and a code as its text. Raises Invalid.

    A reason has 1 to 500 characters; an `optional` one may be empty.
    """
    text = reason.strip()
    if (not text and not optional) or len(text) > REASON_MAX or "\x00" in text:
        raise Invalid(field, f"a text of 1 to {REASON_MAX} characters", reason)
    return CODES.get(text.lower(), text)

"""The names that a certificate needs."""

from collections.abc import Iterable
from typing import Final

LABELS: Final = ("c", "ce", "c4", "c5", "c6", "osu", "api", "a", "b", "s", "assets")
"""The first labels of the names that game clients, browsers and users of the API connect to."""


def server_names(domain: str) -> tuple[str, ...]:
    """Return the domain and the names below it that clients connect to."""
    return (domain, *(f"{label}.{domain}" for label in LABELS))


def missing_names(wanted: Iterable[str], certified: Iterable[str]) -> list[str]:
    """Return the wanted names that a certificate for `certified` does not cover. A wildcard covers one label."""
    covered = {name.lower() for name in certified}
    return [name for name in wanted if name not in covered and f"*.{name.partition('.')[2]}" not in covered]

"""Encoders of events as entries of topics. Only these tables decide which topic, and so which sessions, receive what.

An event in several tables is encoded by each of them, for example as packets here and as JSON in the API's feed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kiai.realtime.port import Announce, Entry

Table = Mapping[type, Callable[[Any], Sequence[Entry]]]


def announcer(*tables: Table) -> Announce:
    """Combine tables into one `Announce`. An event that is in no table has no entries."""
    encoders: dict[type, list[Callable[[Any], Sequence[Entry]]]] = {}
    for table in tables:
        for kind, encode in table.items():
            encoders.setdefault(kind, []).append(encode)

    def announce(event: object) -> Sequence[Entry]:
        # PERF: nearly all events have one encoder, whose result needs no copy.
        own = encoders.get(type(event), ())
        return own[0](event) if len(own) == 1 else [entry for encode in own for entry in encode(event)]

    return announce

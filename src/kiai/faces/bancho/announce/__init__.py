"""What happened, as entries of topics: one table from fact to encoder, the only place that decides who is told what.

A fact that stands in several tables is told by each of them (the wire here, the JSON feed of the API elsewhere).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kiai.realtime.port import Announce, Entry

Table = Mapping[type, Callable[[Any], Sequence[Entry]]]


def announcer(*tables: Table) -> Announce:
    """One `Announce` of several tables. A fact that none of them knows is nobody's business and says nothing."""
    encoders: dict[type, list[Callable[[Any], Sequence[Entry]]]] = {}
    for table in tables:
        for kind, encode in table.items():
            encoders.setdefault(kind, []).append(encode)

    def announce(fact: object) -> Sequence[Entry]:
        found = encoders.get(type(fact), ())
        return found[0](fact) if len(found) == 1 else [entry for encode in found for entry in encode(fact)]

    return announce

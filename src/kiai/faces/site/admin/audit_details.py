"""The details of an audit row in words: what an act changed, and what else it recorded."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

SHOWN_MAX: Final = 20
"""Changes, and other details, of a row."""
VALUE_MAX: Final = 200
"""Characters of a value, which can come from outside."""
NOTHING: Final = "nothing"


class ChangedValue(msgspec.Struct, frozen=True):
    """A value before and after an act."""

    name: str
    before: str
    after: str


class Details(msgspec.Struct, frozen=True):
    """The details of a row. `more` says that a part is left out."""

    changes: tuple[ChangedValue, ...]
    facts: tuple[tuple[str, str], ...]
    more: bool = False


def details_of(text: str) -> Details:
    """Return the details of a row from its JSON. Values that are the same before and after are left out."""
    try:
        details = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        details = {"details": text}
    before, after = details.pop("before", None), details.pop("after", None)
    changes = list(_changes(before, after))
    facts = [(_short(name), value_words(value)) for name, value in details.items()]
    more = len(changes) > SHOWN_MAX or len(facts) > SHOWN_MAX
    return Details(tuple(changes[:SHOWN_MAX]), tuple(facts[:SHOWN_MAX]), more)


def _changes(before: Any, after: Any) -> list[ChangedValue]:
    if before is None and after is None:
        return []
    if isinstance(before, Mapping | None) and isinstance(after, Mapping | None):
        old, new = before or {}, after or {}
        names = [*old, *(name for name in new if name not in old)]
        return [
            ChangedValue(_short(name), value_words(old.get(name)), value_words(new.get(name)))
            for name in names
            if old.get(name) != new.get(name)
        ]
    return [ChangedValue("value", value_words(before), value_words(after))]


def value_words(value: Any) -> str:
    """Return a value of the details in words, with at most `VALUE_MAX` characters."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(one, str | int) for one in value):
        return _short(", ".join(map(str, value)) or NOTHING)
    return _short(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def _short(text: str) -> str:
    return text if len(text) <= VALUE_MAX else f"{text[: VALUE_MAX - 1]}…"

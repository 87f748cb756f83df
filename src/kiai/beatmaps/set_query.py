"""The words of a search for sets: `harumachi stars>5 length<3:00 artist="two words" mode=mania`.

`parse` reads a text and explains the words that it cannot use. `write` is the opposite: controls of a page make a
`SetQuery`, and `write` turns it into words. See docs/spec/site.md#the-words-of-a-search.
"""

import math
import re
from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

TEXT_MAX: Final = 200
TERMS_MAX: Final = 8
"""The words to look up, in all fields together."""

NUMBERS: Final = ("stars", "bpm", "length", "key", "ar", "od", "cs", "hp", "year")
TEXTS: Final = ("artist", "title", "creator", "source", "tag", "difficulty")
MODES: Final = {
    "osu": 0,
    "osu!": 0,
    "std": 0,
    "standard": 0,
    "taiko": 1,
    "catch": 2,
    "fruits": 2,
    "ctb": 2,
    "mania": 3,
    **{str(mode): mode for mode in range(4)},
}
MODE_WORDS: Final = ("osu", "taiko", "catch", "mania")
STATUSES: Final = ("board", "ranked", "loved", "qualified", "pending", "any")
_STATUS_BY_WORD: Final = {word: word for word in STATUSES} | {"approved": "ranked", "graveyard": "pending"}
_ALIASES: Final = {
    "star": "stars",
    "sr": "stars",
    "keys": "key",
    "mapper": "creator",
    "author": "creator",
    "diff": "difficulty",
    "version": "difficulty",
    "tags": "tag",
    "dr": "hp",
    "song": "title",
    "name": "title",
}
_FIELDS: Final = (*NUMBERS, *TEXTS, "status", "mode")
_WHOLE: Final = ("key", "year")
_NUMBER_MAX: Final = 1_000_000.0

T = TypeVar("T")

_TOKEN: Final = re.compile(
    r'(?P<field>[A-Za-z]+)(?P<operator><=|>=|==|!=|[<>=:])(?:"(?P<quoted_value>[^"]*)"?|(?P<value>\S*))'
    r'|"(?P<quoted>[^"]*)"?|(?P<word>\S+)'
)
_DECIMAL: Final = re.compile(r"[0-9]{1,7}(?:\.[0-9]{1,4})?", re.ASCII)
_CLOCK: Final = re.compile(r"(?:([0-9]{1,2}):)?([0-9]{1,4}):([0-5]?[0-9])", re.ASCII)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600}


class Range(msgspec.Struct, frozen=True):
    """The numbers from `low` to `high`, without the ends that are open. Infinite ends do not bound."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    @property
    def least(self) -> float:
        """The smallest number of the range."""
        return math.nextafter(self.low, math.inf) if self.low_open else self.low

    @property
    def most(self) -> float:
        """The largest number of the range."""
        return math.nextafter(self.high, -math.inf) if self.high_open else self.high

    @property
    def is_empty(self) -> bool:
        """Whether no number is in the range."""
        return self.least > self.most

    def within(self, other: "Range") -> "Range":
        """Return the numbers that are in both ranges."""
        low, low_open = max((self.low, self.low_open), (other.low, other.low_open))
        high, high_closed = min((self.high, not self.high_open), (other.high, not other.high_open))
        return Range(low, high, low_open, not high_closed)


class SetQuery(msgspec.Struct, frozen=True):
    """A search as it was typed. `words` may occur in any text of a set, those of `texts` in one of `TEXTS`.

    `ranges` has names of `NUMBERS`; lengths are in seconds. `status` is one of `STATUSES`, `mode` 0 to 3.
    """

    words: tuple[str, ...] = ()
    texts: tuple[tuple[str, str], ...] = ()
    ranges: Mapping[str, Range] = {}
    status: str | None = None
    mode: int | None = None


class WrongWord(msgspec.Struct, frozen=True):
    """A word that the search cannot use, and the reason: an English phrase."""

    word: str
    why: str


def parse(text: str) -> tuple[SetQuery, list[WrongWord]]:
    """Read the words of a search. Wrong words are left out of the query and explained, in the order of the text."""
    reader = _Reader()
    for token in _TOKEN.finditer(text[:TEXT_MAX]):
        reader.read(token)
    if len(text) > TEXT_MAX:
        reader.wrong.append(WrongWord(text[TEXT_MAX : TEXT_MAX + 20], f"only {TEXT_MAX} characters are read"))
    return SetQuery(tuple(reader.words), tuple(reader.texts), reader.ranges, reader.status, reader.mode), reader.wrong


def write(query: SetQuery) -> str:
    """Return the words that `parse` reads as this query."""
    parts = [_quoted_if_needed(word) for word in query.words]
    parts += [_text_condition(field, value) for field, value in query.texts]
    for name in NUMBERS:
        if (found := query.ranges.get(name)) is not None:
            parts += _range_words(name, found)
    if query.status is not None:
        parts.append(f"status={query.status}")
    if query.mode is not None:
        parts.append(f"mode={MODE_WORDS[query.mode]}")
    return " ".join(parts)


class _Reader:
    """Collects the parts of a query."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.ranges: dict[str, Range] = {}
        self.status: str | None = None
        self.mode: int | None = None
        self.wrong: list[WrongWord] = []

    def read(self, token: re.Match[str]) -> None:
        """Add one word or condition."""
        if token["field"] is None:
            word = token["quoted"] if token["quoted"] is not None else token["word"]
            if word.strip():
                self.words.append(word.strip())
            return
        try:
            value = token["quoted_value"] if token["quoted_value"] is not None else token["value"]
            self._condition(token["field"].lower(), token["operator"], value.strip())
        except ValueError as error:
            self.wrong.append(WrongWord(token[0], str(error)))

    def _condition(self, field: str, operator: str, value: str) -> None:
        field = _ALIASES.get(field, field)
        if field not in _FIELDS:
            raise ValueError(f"there is no field {field[:20]}; the fields are {', '.join(_FIELDS)}")
        operator = "=" if operator in ("==", ":") else operator
        if not value:
            raise ValueError(f"a value is missing behind {operator}")
        if operator == "!=":
            raise ValueError("!= is not supported; use =, <, <=, > or >=")
        if field in NUMBERS:
            self._number(field, operator, value)
            return
        if operator != "=":
            raise ValueError(f"{field} is compared with = only")
        if field == "status":
            self.status = _one_of("status", _STATUS_BY_WORD, value.lower(), self.status)
        elif field == "mode":
            self.mode = _one_of("mode", MODES, value.lower(), self.mode)
        else:
            self.texts.append((field, value))

    def _number(self, field: str, operator: str, value: str) -> None:
        number, step = _seconds(value) if field == "length" else _decimal(field, value)
        if number > _NUMBER_MAX:
            raise ValueError(f"at most {_NUMBER_MAX:,.0f}")
        match operator:
            case "<":
                wanted = Range(high=number, high_open=True)
            case "<=":
                wanted = Range(high=number)
            case ">":
                wanted = Range(low=number, low_open=True)
            case ">=":
                wanted = Range(low=number)
            case _:
                wanted = _equal(field, number, step)
        both = wanted.within(self.ranges.get(field, Range()))
        if both.is_empty:
            raise ValueError(f"no {field} fits this and the condition before")
        self.ranges[field] = both


def _equal(field: str, number: float, step: float) -> Range:
    """Return the range that `=` means.

    Stars are shown with decimals and meant by their first ones: `stars=5` is 5.00 to 5.99. A tempo is rounded. Settings
    of a map are exact.
    """
    if field == "stars":
        return Range(number, min(round(number + step, 4), _NUMBER_MAX), high_open=True)
    if field == "bpm":
        half = max(step / 2, 0.0005)
        return Range(max(round(number - half, 4), 0.0), min(round(number + half, 4), _NUMBER_MAX), high_open=True)
    return Range(number, number)


def _decimal(field: str, text: str) -> tuple[float, float]:
    """Return a number and the value of its last digit."""
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{field} needs a number such as {'7' if field in _WHOLE else '5.2'}")
    decimals = len(text.partition(".")[2])
    if field in _WHOLE and decimals:
        raise ValueError(f"{field} needs a whole number")
    return float(text), 10.0**-decimals


def _seconds(text: str) -> tuple[float, float]:
    """Return a length in seconds: `90`, `90s`, `1.5m`, `1:30` or `1:02:03`."""
    if clock := _CLOCK.fullmatch(text):
        hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return hours * 3600.0 + minutes * 60.0 + seconds, 1.0
    unit = _UNITS.get(text[-1:].lower())
    number = text[:-1] if unit else text
    if not _DECIMAL.fullmatch(number):
        raise ValueError("length needs seconds such as 90, or 1:30")
    return round(float(number) * (unit or 1), 4), 1.0


def _one_of(field: str, allowed: Mapping[str, T], value: str, known: T | None) -> T:
    if value not in allowed:
        raise ValueError(f"{field} is one of {', '.join(MODE_WORDS if field == 'mode' else STATUSES)}")
    if known is not None and known != allowed[value]:
        raise ValueError(f"{field} is given twice")
    return allowed[value]


def _range_words(name: str, found: Range) -> list[str]:
    if found.low == found.high and name not in ("stars", "bpm"):
        return [f"{name}={_plain(found.low)}"]
    words = []
    if found.low > -math.inf:
        words.append(f"{name}{'>' if found.low_open else '>='}{_plain(found.low)}")
    if found.high < math.inf:
        words.append(f"{name}{'<' if found.high_open else '<='}{_plain(found.high)}")
    return words


def _plain(number: float) -> str:
    return f"{number:.4f}".rstrip("0").rstrip(".")


def _text_condition(field: str, value: str) -> str:
    # After a single =, the first = of a value would be read as a part of the operator.
    operator = "==" if value.startswith("=") else "="
    is_plain = bool(value) and not value.startswith('"') and not any(character.isspace() for character in value)
    return f"{field}{operator}{value}" if is_plain else f'{field}{operator}"{value}"'


def _quoted_if_needed(text: str) -> str:
    token = _TOKEN.fullmatch(text)
    return text if token is not None and token["word"] is not None else f'"{text}"'

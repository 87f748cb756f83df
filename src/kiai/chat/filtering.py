"""The word filter: words and phrases that players must not write (docs/spec/chat.md#word-filter).

A pattern consists of words with wildcards and is no regular expression, so the time for a line has a bound: a search
for one piece of each pattern, and a comparison with each word that contains the piece.
"""

import functools
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from kiai.chat import queries
from kiai.chat.model import FilterRule, split_action
from kiai.errors import Invalid
from kiai.storage.port import Database

PATTERN_MAX: Final = 64
PATTERN_WORDS_MAX: Final = 5
PIECE_MIN: Final = 2
"""Letters between two wildcards, of the longest piece of a pattern."""
REPLACEMENT_MAX: Final = 64
RELOAD_EVERY_S: Final = 2.0
"""The interval of `WordFilter.reload`."""

_WORD: Final = re.compile(r"[^\W_]+")
_SEPARATORS: Final = re.compile(r"(?:[^\w*]|_)+")
# The form of a /np (docs/spec/bot.md#now-playing). Only mode and mods may follow the title, and the only free text of
# the link is its host. Otherwise a player could avoid the filter with it.
_NOW_PLAYING: Final = re.compile(
    r"(?:is )?(?:playing|editing|watching|listening to) "
    r"\[https?://(?P<host>[^\s/]{1,100})/"
    r"(?:b|s|beatmaps|beatmapsets)/-?[0-9]{1,10}(?:#/?(?:[a-z]{1,6}/)?-?[0-9]{1,10})? "
    r"(?P<title>.*)\](?: (?:<[A-Za-z!]{1,16}>|[-+~|][A-Za-z0-9]{1,16}[~|]?))*"
)
MASK: Final = "***"
"""The text in place of a word of a title that a pattern without a replacement matches."""
_INVISIBLE: Final = ("Cf", "Mn", "Me")  # format characters and combining marks


class Verdict(msgspec.Struct, frozen=True):
    """The result for a line: the text with its replacements, or a blocked line.

    `pattern` is the one that blocks the line, or else the one with the longest silence. `now_playing`: the line is a
    `/np`, whose title the player did not choose.
    """

    text: str
    blocked: bool = False
    silence_s: int = 0
    pattern: str = ""
    now_playing: bool = False


def checked_pattern(text: str) -> str:
    """Return a pattern in its stored form: small letters, and one blank between two words. Raises Invalid."""
    folded, _ = _fold(text) if len(text) <= PATTERN_MAX else ("", None)
    words = _SEPARATORS.sub(" ", re.sub(r"\*+", "*", folded)).split()
    pieces = [piece for word in words for piece in word.split("*")]
    if (
        not 0 < len(words) <= PATTERN_WORDS_MAX
        or max(map(len, pieces)) < PIECE_MIN
        or any(not word.strip("*") for word in words)
        or len(" ".join(words)) > PATTERN_MAX
    ):
        allowed = (
            f"1 to {PATTERN_WORDS_MAX} words of letters and digits, where * stands for any of them, with at least "
            f"{PIECE_MIN} of them next to each other, in at most {PATTERN_MAX} characters"
        )
        raise Invalid("pattern", allowed, text)
    return " ".join(words)


def _fold(text: str) -> tuple[str, list[int] | None]:
    """Return a text in the form that is compared, and for each of its characters the place in the given text.

    None stands for equal places. Letters of other widths and styles become plain ones, and invisible characters that
    could split a word are left out.
    """
    if text.isascii():
        return text.lower(), None
    parts = [_folded(char) for char in text]
    return "".join(parts), [place for place, part in enumerate(parts) for _ in part]


@functools.lru_cache(8_192)
def _folded(char: str) -> str:
    if unicodedata.category(char) in _INVISIBLE:
        return ""
    return unicodedata.normalize("NFKC", char).casefold()


class _Rule:
    """A rule in the form that is compared. `piece` is the longest piece, and `anchor` the number of its word."""

    __slots__ = ("anchor", "piece", "rule", "words")

    def __init__(self, rule: FilterRule) -> None:
        self.rule = rule
        self.words = [tuple(word.split("*")) for word in rule.pattern.split(" ")]
        self.anchor, self.piece = max(
            ((number, piece) for number, word in enumerate(self.words) for piece in word), key=lambda each: len(each[1])
        )

    def fits(self, words: Sequence[str], first: int) -> bool:
        """Return whether the words of a line from number `first` on are those of the pattern."""
        if first < 0 or first + len(self.words) > len(words):
            return False
        # PERF: the loop is twice as fast as all() over a generator.
        for number, pieces in enumerate(self.words, first):  # noqa: SIM110
            if not _fits(pieces, words[number]):
                return False
        return True


def _fits(pieces: tuple[str, ...], word: str) -> bool:
    """Return whether the pieces of a pattern's word, between its wildcards, make up the word."""
    if len(pieces) == 1:
        return word == pieces[0]
    first, *middle, last = pieces
    at, end = len(first), len(word) - len(last)
    if at > end or not word.startswith(first) or not word.endswith(last):
        return False
    for piece in middle:
        found = word.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


class Patterns:
    """Rules, compiled for `applied_to`."""

    def __init__(self, rules: Iterable[FilterRule]) -> None:
        self.rules = tuple(rules)
        self._compiled = [_Rule(rule) for rule in self.rules]

    def applied_to(self, text: str) -> Verdict:
        """Return the verdict on a cleaned line. Of overlapping matches, the first and longest one is replaced."""
        if not self._compiled:
            return Verdict(text)
        head, inner, tail = split_action(text)
        if head and (found := _NOW_PLAYING.fullmatch(inner)) and not self._blocks(found["host"]):
            begin, end = found.span("title")
            places, hits = self._hits_in(found["title"], every=True)
            title = _replaced(found["title"], places, hits)
            return Verdict(f"{head}{inner[:begin]}{title}{inner[end:]}{tail}", now_playing=True)
        places, hits = self._hits_in(inner)
        if not hits:
            return Verdict(text)
        rules = [rule for _, _, rule in hits]
        blocking = [rule for rule in rules if rule.replacement is None]
        worst = max(blocking or rules, key=lambda rule: rule.silence_s)
        silence_s = max(rule.silence_s for rule in rules)
        if blocking:
            return Verdict(text, blocked=True, silence_s=silence_s, pattern=worst.pattern)
        return Verdict(head + _replaced(inner, places, hits) + tail, silence_s=silence_s, pattern=worst.pattern)

    def _blocks(self, text: str) -> bool:
        return any(rule.replacement is None for _, _, rule in self._hits_in(text)[1])

    def _hits_in(self, text: str, *, every: bool = False) -> tuple[list[int] | None, list[tuple[int, int, FilterRule]]]:
        """Return the places of the folded characters, and the matches; see `_hits`."""
        folded, places = _fold(text)
        candidates = [rule for rule in self._compiled if rule.piece in folded]
        if not candidates:
            return places, []
        spans = [found.span() for found in _WORD.finditer(folded)]
        words = [folded[start:end] for start, end in spans]
        # PERF: patterns with the same piece share the search for it.
        with_piece = {piece: _words_with(piece, folded, spans) for piece in {rule.piece for rule in candidates}}
        hits = [hit for rule in candidates for hit in _hits(rule, spans, words, with_piece[rule.piece], every=every)]
        return places, hits


def _words_with(piece: str, folded: str, spans: Sequence[tuple[int, int]]) -> list[int]:
    """Return the numbers of the words that contain a piece, which lies within one word."""
    found: list[int] = []
    at = folded.find(piece)
    while at >= 0:
        word = bisect_right(spans, at, key=_start) - 1
        found.append(word)
        at = folded.find(piece, spans[word][1])
    return found


def _start(span: tuple[int, int]) -> int:
    return span[0]


def _hits(
    compiled: _Rule, spans: Sequence[tuple[int, int]], words: Sequence[str], with_piece: Sequence[int], *, every: bool
) -> Iterable[tuple[int, int, FilterRule]]:
    """Yield where the pattern is in a line. Of one that blocks, the first place is enough unless `every`."""
    more = len(compiled.words) - 1
    for word in with_piece:
        first = word - compiled.anchor
        if compiled.fits(words, first):
            yield spans[first][0], spans[first + more][1], compiled.rule
            if compiled.rule.replacement is None and not every:
                return


def _replaced(text: str, places: list[int] | None, hits: Iterable[tuple[int, int, FilterRule]]) -> str:
    parts: list[str] = []
    done = 0
    for start, end, rule in sorted(hits, key=lambda hit: (hit[0], -hit[1])):
        begins = start if places is None else places[start]
        if begins < done:
            continue
        parts += (text[done:begins], rule.replacement or MASK)
        done = end if places is None else places[end - 1] + 1
    return "".join((*parts, text[done:]))


class WordFilter:
    """The rules of this process, empty before the first call of `reload`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._patterns = Patterns(())

    async def reload(self) -> int:
        """Read the rules and return their number. A job calls this on every worker."""
        rules = tuple(await self._database.all(queries.FILTER_RULES))
        if rules != self._patterns.rules:
            self._patterns = Patterns(rules)
        return len(rules)

    def applied_to(self, text: str) -> Verdict:
        """Return the verdict on a cleaned line."""
        return self._patterns.applied_to(text)

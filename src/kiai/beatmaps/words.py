"""The indexes of words for searches: of maps (`map_words`) and of sets (`set_words`).

Each revision has a row in `map_words` for each word of its artist, title, difficulty and creator. Each set has a row in
`set_words` for each word of its texts, with the bits of the texts that contain it. A search reads a few ranges of these
primary keys. Both databases find the same maps for the same words, in any script, because the words are made here and
not by the database.

Chinese, Japanese and Thai have no spaces between words. A run of such letters is indexed from each of its letters, so
that a search finds any part of it.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from enum import IntFlag
from typing import Final

from sqlalchemy import bindparam, delete, insert

from kiai.storage.port import Command, Transaction
from kiai.storage.tables import WORD_MAX, map_words, set_words

WORDS_OF_MAP_MAX: Final = 64
WORDS_OF_SET_MAX: Final = 400
LAST: Final = "\U0010ffff"
"""The last code point. A prefix and this character sort behind all words with the prefix, as no word contains it."""

_WORD: Final = re.compile(r"[^\W_]+")
_UNSPACED: Final = re.compile("[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
"""Letters of scripts without spaces: Thai, Lao, Burmese, kana, Han."""
_FORGET: Final = Command(delete(map_words).where(map_words.c.map_key == bindparam("of_map")))
_ADD: Final = Command(insert(map_words).values({n: bindparam(n) for n in ("word", "map_key")}))
_FORGET_SET: Final = Command(delete(set_words).where(set_words.c.set_id == bindparam("of_set")))
_ADD_SET: Final = Command(insert(set_words).values({n: bindparam(n) for n in ("word", "set_id", "fields")}))


class TextOfSet(IntFlag):
    """The texts of a set that a search reads, as bits of `set_words.fields`."""

    ARTIST = 1
    TITLE = 2
    CREATOR = 4
    SOURCE = 8
    TAGS = 16
    VERSION = 32


def words_of(*texts: str) -> list[str]:
    """Return the words of these texts, each once, in order: runs of letters and digits, casefolded, cut at 32."""
    found = dict.fromkeys(
        word[:WORD_MAX] for text in texts for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    )
    return list(found)


def indexed_words_of(text: str) -> Iterator[str]:
    """Yield the words of a text as the index of sets stores them, also the parts of words without spaces."""
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        yield word[:WORD_MAX]
        for found in _UNSPACED.finditer(word):
            if found.start():
                yield word[found.start() : found.start() + WORD_MAX]


async def index_words(tx: Transaction, map_key: int, *texts: str) -> None:
    """Replace the words of a revision. `texts` are its artist, title, difficulty and creator."""
    await tx.run(_FORGET, of_map=map_key)
    await tx.run_many(_ADD, [{"word": word, "map_key": map_key} for word in words_of(*texts)[:WORDS_OF_MAP_MAX]])


async def index_set_words(tx: Transaction, set_id: int, texts: Iterable[tuple[TextOfSet, str]]) -> None:
    """Replace the words of a set. The texts come in the order of their importance: the last ones may be cut."""
    await tx.run(_FORGET_SET, of_set=set_id)
    await tx.run_many(
        _ADD_SET,
        [{"word": word, "set_id": set_id, "fields": fields} for word, fields in fields_by_word(texts).items()],
    )


def fields_by_word(texts: Iterable[tuple[TextOfSet, str]]) -> Mapping[str, int]:
    """Return the first words of these texts, at most `WORDS_OF_SET_MAX`, each with the bits of its texts."""
    fields: dict[str, int] = {}
    for field, text in texts:
        for word in indexed_words_of(text):
            if word in fields or len(fields) < WORDS_OF_SET_MAX:
                fields[word] = fields.get(word, 0) | int(field)
    return fields

"""The words by which maps are found: those of artist, title, difficulty and creator.

Each current or replaced revision has one row a word in `map_words`. A search is a few ranges of that table's primary
key, whatever the maps are: both databases find the same maps for the same words, in any script.
"""

import re
import unicodedata
from typing import Final

from sqlalchemy import bindparam, delete, insert

from kiai.storage.port import Command, Transaction
from kiai.storage.tables import WORD_MAX, map_words

WORDS_OF_MAP_MAX: Final = 64
LAST: Final = "\U0010ffff"
"""Sorts behind everything that begins with the same characters: no word holds it."""

_WORD: Final = re.compile(r"[^\W_]+")
_FORGET: Final = Command(delete(map_words).where(map_words.c.map_key == bindparam("of_map")))
_ADD: Final = Command(insert(map_words).values({n: bindparam(n) for n in ("word", "map_key")}))


def words_of(*texts: str) -> list[str]:
    """The words of these texts, each once, in order: runs of letters and digits, without case, cut at 32 characters."""
    found = dict.fromkeys(
        word[:WORD_MAX] for text in texts for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    )
    return list(found)


async def index_words(tx: Transaction, map_key: int, *texts: str) -> None:
    """Writes the words of a revision anew. `texts` are its artist, title, difficulty and creator."""
    await tx.run(_FORGET, of_map=map_key)
    await tx.many(_ADD, [{"word": word, "map_key": map_key} for word in words_of(*texts)[:WORDS_OF_MAP_MAX]])

"""The catalogues of the website: the sentences of each language are its own."""

import re
from importlib import resources
from itertools import combinations

import pytest
from babel.messages.pofile import read_po

LANGUAGES = ("de", "es", "pl", "ja")
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]")
LETTERS_MIN = 12
NAMES = {"Unstable rate", "Tag team versus"}
"""Terms of the game that stay English in several languages."""


def sentences(language: str) -> set[tuple[str, str, str]]:
    """Return the context, the message and each translation that is long enough not to be a word of both languages."""
    found = set()
    folder = resources.files("kiai.faces.site").joinpath("translations", language, "LC_MESSAGES")
    with folder.joinpath("site.po").open("rb") as stream:
        for message in read_po(stream, locale=language):
            english = message.id if isinstance(message.id, str) else message.id[0]
            if not english or english in NAMES:
                continue
            for form in [message.string] if isinstance(message.string, str) else message.string or ():
                words = PLACEHOLDER.sub("", form).strip()
                if " " in words and sum(letter.isalpha() for letter in words) >= LETTERS_MIN:
                    found.add((message.context or "", english, form))
    return found


@pytest.mark.parametrize(("one", "other"), list(combinations(LANGUAGES, 2)))
def test_no_sentence_is_the_same_in_two_languages(one: str, other: str) -> None:
    assert sentences(one)
    assert sentences(one) & sentences(other) == set()

"""The languages of the website: which one a visitor reads, and the texts and formats of each.

The texts of the templates and modules are English. `translations/{language}/LC_MESSAGES/site.mo` has the others;
`scripts/texts` extracts, updates and compiles the catalogues. Names of modes, mods and grades are not translated.
"""

import functools
import gettext
import re
from importlib import resources
from typing import Final

from kiai.faces.site.formats import Formats
from kiai.faces.site.phrases import translated

LANGUAGES: Final = {"en": "English", "de": "Deutsch", "es": "Español", "pl": "Polski", "ja": "日本語"}
"""The languages by code, each with its own name."""
DEFAULT: Final = "en"
HEADER_MAX: Final = 512
PHRASES_MAX: Final = 512
"""Phrases of the domain in the cache of a language."""

_RANGE: Final = re.compile(
    r"\s*([A-Za-z]{1,8})(?:-[A-Za-z0-9-]{1,32})?\s*(?:;\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?"
)


class Locale:
    """The texts and formats of one language."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.catalogue = _catalogue(language)
        self.formats = Formats(language, self.catalogue.gettext, self.catalogue.ngettext)
        self._phrase = functools.lru_cache(PHRASES_MAX)(functools.partial(translated, self.catalogue.gettext))

    def text(self, message: str, **values: object) -> str:
        """Return a message in this language. `%(name)s` in it is replaced by the value of that name."""
        found = self.catalogue.gettext(message)
        return found % values if values else found

    def text_in(self, context: str, message: str) -> str:
        """Return a message that has several meanings. `context` says which one is meant."""
        return self.catalogue.pgettext(context, message)

    def phrase(self, text: str) -> str:
        """Return an English phrase of the domain in this language (see `phrases`)."""
        return text if self.language == DEFAULT else self._phrase(text)

    def plural(self, one: str, many: str, count: int, **values: object) -> str:
        """Return a message with the plural for `count`. `%(num)s` in it is the formatted number."""
        found = self.catalogue.ngettext(one, many, count)
        return found % {"num": self.formats.number(count), **values}

    def number(self, value: float, decimals: int = 0) -> str:
        """Return a number as text, e.g. `1,234,567`."""
        return self.formats.number(value, decimals)


@functools.cache
def locale_of(language: str) -> Locale:
    """Return the locale of one of `LANGUAGES`. Each is built once."""
    return Locale(language)


def choose_language(*, parameter: str, cookie: str, header: str) -> str:
    """Return the language of a visitor: the parameter `lang`, else the cookie, else the best of Accept-Language."""
    for choice in (parameter, cookie):
        if choice in LANGUAGES:
            return choice
    best, weight = DEFAULT, 0.0
    for part in header[:HEADER_MAX].split(","):
        match = _RANGE.fullmatch(part)
        if match is None or match[1].lower() not in LANGUAGES:
            continue
        quality = float(match[2] or 1)
        if quality > weight:
            best, weight = match[1].lower(), quality
    return best


def _catalogue(language: str) -> gettext.NullTranslations:
    file = resources.files("kiai.faces.site").joinpath("translations", language, "LC_MESSAGES", "site.mo")
    if language == DEFAULT or not file.is_file():
        return gettext.NullTranslations()
    with file.open("rb") as stream:
        return gettext.GNUTranslations(stream)

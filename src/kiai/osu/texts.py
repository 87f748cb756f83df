"""Escaping of untrusted text for each kind of output.

Map metadata, names of players, matches, pools and clans, reasons, reports and file names are untrusted. Each output
gives some characters a special meaning. The function for that output removes the special meaning and leaves ordinary
text unchanged, because referee tools compare names and titles.

| output | function |
|---|---|
| a line of chat, a notification | `chat_text`; `chat_name` for the name of a player |
| a link in a line of chat | `chat_link` |
| a field between `|` in a response to the game | `field` |
| a file name in a header | `attachment` |
| a terminal, the log | `visible` |
| a file for spreadsheets | `csv_text` |

The templates escape HTML and the encoder escapes JSON.
"""

import csv
import io
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

# C0 and C1 controls, bidirectional marks, line separators, the byte order mark, and lone surrogates, which UTF-8 cannot
# encode.
_UNSEEN: Final = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
UNSEEN: Final = re.compile(f"[{_UNSEEN}]")
"""One character that ends a line, controls a terminal, changes the writing direction, or cannot be encoded."""

_RUN_UNSEEN: Final = re.compile(f"[{_UNSEEN}]+")
# Clients make links of `[url words]`, `[words](url)`, `(words)[url]`, a bare url, and `[[page]]` (the wiki).
_LINK: Final = re.compile(r"://|\]\(")
_LINK_OR_WIKI: Final = re.compile(r"://|\]\(|\[\[[^\[\]]+\]\]")
_ROUND: Final = str.maketrans("[]", "()")
_UNFIT_FOR_URL: Final = re.compile(r"[\s\[\]]")
_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")
_UNFIT_FOR_FILE: Final = re.compile(r'[^ -~]|[\\/:*?"<>|%]')


def one_line(text: str) -> str:
    """Replace each run of control characters, line ends and bidirectional marks with one space."""
    return _RUN_UNSEEN.sub(" ", text)


def chat_text(text: str) -> str:
    """Return the text as one line of chat without links. Ordinary brackets stay."""
    return _without_links(text, _LINK_OR_WIKI)


def chat_name(name: str) -> str:
    """Like `chat_text`, for the name of a player."""
    # `[[name]]` is a valid name. It stays, because the client only links it to a page of the wiki.
    return _without_links(name, _LINK)


def chat_link(url: str, words: str) -> str:
    """Return a chat link. The server builds `url`, which can contain a match password; `words` are untrusted."""
    label = chat_text(words)
    if not _balanced(label):  # an unpaired bracket would end the link too early or too late
        label = label.translate(_ROUND)
    return f"[{_UNFIT_FOR_URL.sub('_', one_line(url))} {label}]"


def field(text: str) -> str:
    """Return the text as a field of a response to the game, without line ends and `|`."""
    # The format has no escape for `|`; `I` looks similar.
    return one_line(text).replace("|", "I")


def attachment(name: str) -> str:
    """Return the Content-Disposition header for a file name (RFC 6266): an ASCII fallback, then UTF-8."""
    name = one_line(name)
    plain = _UNFIT_FOR_FILE.sub("_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def visible(text: str) -> str:
    """Escape characters that end a line or control a terminal, for a terminal or a log."""
    return UNSEEN.sub(lambda unseen: unseen[0].encode("unicode_escape").decode(), text)


def visible_json(document: str) -> str:
    """Like `visible`, for one line of JSON, with JSON's escapes."""
    # Encoders escape ASCII controls only, not U+2028 or bidirectional marks.
    return UNSEEN.sub(lambda unseen: f"\\u{ord(unseen[0]):04x}", document)


def _without_links(text: str, links: re.Pattern[str]) -> str:
    line = one_line(text)
    # Text without a link stays unchanged. In text with one, a space inside `://` and round brackets break every form.
    return line.translate(_ROUND).replace("://", ": //") if links.search(line) else line


def _balanced(text: str) -> bool:
    depth = 0
    for character in text:
        depth += (character == "[") - (character == "]")
        if depth < 0:
            return False
    return not depth


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Return rows as CSV (RFC 4180), whose lines end with CR LF. None is an empty cell.

    A text that a spreadsheet would execute as a formula gets an apostrophe.
    """
    text = io.StringIO(newline="")
    csv.writer(text).writerows(map(_cell, row) for row in rows)
    return text.getvalue()


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULAS) else text

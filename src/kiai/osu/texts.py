"""Text that others wrote, made safe for the place where we show it.

Map metadata, names of players, rooms, pools and clans, reasons, reports, file names: none of it is ours. Each kind of
place gives some characters a meaning. The function for that place takes the meaning away and leaves ordinary text
exactly as it is, because tools of referees compare names and titles.

| place | function |
|---|---|
| a line of chat, a notification | `chat_text`; `chat_name` for the name of a player |
| a link in a line of chat | `chat_link` |
| a field between `|` in an answer to the game | `field` |
| the name of a file in a header | `attachment` |
| a terminal, the log | `visible` |

HTML is escaped by the templates and JSON by its encoder.
"""

import re
from typing import Final
from urllib.parse import quote

# C0 and C1 controls, directions of writing, line separators, lone surrogates (which UTF-8 cannot hold), and the byte
# order mark.
_UNSEEN: Final = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
UNSEEN: Final = re.compile(f"[{_UNSEEN}]")
"""One character that ends a line, steers a terminal, turns the writing around, or has no place in UTF-8."""

_RUN_UNSEEN: Final = re.compile(f"[{_UNSEEN}]+")
# The clients make links of `[url words]`, `[words](url)`, `(words)[url]`, of a bare url, and of `[[page]]` (the wiki).
_LINK: Final = re.compile(r"://|\]\(")
_LINK_OR_WIKI: Final = re.compile(r"://|\]\(|\[\[[^\[\]]+\]\]")
_ROUND: Final = str.maketrans("[]", "()")
_UNFIT_FOR_URL: Final = re.compile(r"[\s\[\]]")
_UNFIT_FOR_FILE: Final = re.compile(r'[^ -~]|[\\/:*?"<>|%]')


def one_line(text: str) -> str:
    """The text with a space for each run of control characters, line ends and marks that turn the writing around."""
    return _RUN_UNSEEN.sub(" ", text)


def chat_text(text: str) -> str:
    """The text as part of a line of chat: one line that holds no link. Ordinary brackets stay."""
    return _without_links(text, _LINK_OR_WIKI)


def chat_name(name: str) -> str:
    """As `chat_text`, for the name of a player: `[[name]]` stays, which links to nothing worse than the wiki."""
    return _without_links(name, _LINK)


def chat_link(url: str, words: str) -> str:
    """A link in a line of chat. `url` is our own, though a password may be part of it; `words` are anybody's."""
    shown = chat_text(words)
    if not _balanced(shown):  # its bracket would end the link early, or keep it open
        shown = shown.translate(_ROUND)
    return f"[{_UNFIT_FOR_URL.sub('_', one_line(url))} {shown}]"


def field(text: str) -> str:
    """The text as a field of an answer to the game: it ends neither its line nor its field."""
    return one_line(text).replace("|", "I")


def attachment(name: str) -> str:
    """The Content-Disposition header for a file of this name (RFC 6266): an ASCII fallback, then UTF-8."""
    name = one_line(name)
    plain = _UNFIT_FOR_FILE.sub("_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def visible(text: str) -> str:
    """The text for a terminal or a log: characters that end a line or steer the terminal are written as escapes."""
    return UNSEEN.sub(lambda unseen: unseen[0].encode("unicode_escape").decode(), text)


def visible_json(document: str) -> str:
    """The same for a line of JSON, in whose escapes; encoders leave characters above ASCII as they are."""
    return UNSEEN.sub(lambda unseen: f"\\u{ord(unseen[0]):04x}", document)


def _without_links(text: str, links: re.Pattern[str]) -> str:
    line = one_line(text)
    return line.translate(_ROUND).replace("://", ": //") if links.search(line) else line


def _balanced(text: str) -> bool:
    depth = 0
    for one in text:
        depth += (one == "[") - (one == "]")
        if depth < 0:
            return False
    return not depth

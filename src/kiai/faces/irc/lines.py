"""Lines of IRC: read from bytes, and built so that they fit into 512 bytes. Pure."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

READ_MAX: Final = 2_048
"""Bytes of a client's line that are read; a longer line is dropped."""
UNENDED_MAX: Final = 64 * 1024
"""Bytes without a line end after which the connection is closed."""
LINE_MAX: Final = 512
"""Bytes of a line that the server sends, with CR LF."""
PARAMS_MAX: Final = 15

_ENDS: Final = re.compile(rb"[\r\n]")
_UNSAFE: Final = str.maketrans({"\r": " ", "\n": " ", "\0": " "})
_ACTION: Final = "\x01ACTION "


class NoLineEnd(Exception):
    """The client has sent more than UNENDED_MAX bytes without a line end."""


class ClientLine(msgspec.Struct, frozen=True):
    """A line of a client: the command in upper case, and its parameters."""

    command: str
    params: tuple[str, ...]


class LineBuffer:
    """Splits what a client sends into lines. CR, LF and CR LF end a line."""

    __slots__ = ("_dropped", "_held")

    def __init__(self) -> None:
        self._held = b""
        self._dropped = 0  # bytes of a line that is too long and has not ended

    def feed(self, data: bytes) -> list[bytes | None]:
        """Return the lines that end in `data`, without empty ones; None stands for a line that was too long.

        Raises NoLineEnd.
        """
        *ended, rest = _ENDS.split(self._held + data)
        lines: list[bytes | None] = []
        for line in ended:
            if self._dropped or len(line) > READ_MAX:
                lines.append(None)
                self._dropped = 0
            elif line:
                lines.append(line)
        if self._dropped or len(rest) > READ_MAX:
            self._dropped += len(rest)
            rest = b""
            if self._dropped > UNENDED_MAX:
                raise NoLineEnd
        self._held = rest
        return lines


def parse_line(line: bytes) -> ClientLine | None:
    """Parse one line without its end. Return None if it has no command.

    Tags and a prefix are skipped. Wrong UTF-8 is replaced, NUL becomes a blank.
    """
    text = line.decode("utf-8", "replace").translate(_UNSAFE).lstrip(" ")
    for mark in ("@", ":"):  # tags, then the prefix
        if text.startswith(mark):
            text = text.partition(" ")[2].lstrip(" ")
    head, colon, trailing = text.partition(" :")
    words = head.split()
    if not words:
        return None
    params = words[1:PARAMS_MAX]
    if colon:
        params.append(trailing)
    return ClientLine(words[0].upper(), tuple(params))


def safe_text(text: str) -> str:
    """Return the text without characters that would end a line: they become blanks."""
    return text.translate(_UNSAFE)


def encoded(line: str) -> bytes:
    """Return a line with its end, at most LINE_MAX bytes. The end of a longer line is cut, at a whole character."""
    data = safe_text(line).encode("utf-8", "replace")
    if len(data) > LINE_MAX - 2:
        data = data[: LINE_MAX - 2].decode("utf-8", "ignore").encode()
    return data + b"\r\n"


def split_text(text: str, most: int) -> list[str]:
    """Split a text into parts of at most `most` bytes: at blanks where there are some, never within a character.

    A blank at which the text is split is left out. The result has at least one part.
    """
    parts: list[str] = []
    text = text.encode("utf-8", "replace").decode()
    while len(data := text.encode()) > most:
        fits = data[:most].decode("utf-8", "ignore")
        blank = len(fits) if text[len(fits)] == " " else fits.rfind(" ")
        if blank > 0:
            part, text = text[:blank], text[blank + 1 :]
        else:
            part, text = fits, text[len(fits) :]
        parts.append(part)
    if text or not parts:
        parts.append(text)
    return parts


def packed(words: Iterable[str], most: int) -> Iterator[str]:
    """Yield the words in texts of at most `most` bytes, with blanks between them. At least one text, maybe empty."""
    line: list[str] = []
    size = -1  # the first word has no blank before it
    for word in words:
        added = 1 + len(word.encode("utf-8", "replace"))
        if line and size + added > most:
            yield " ".join(line)
            line, size = [], -1
        line.append(word)
        size += added
    yield " ".join(line)


def message_lines(head: str, text: str) -> list[str]:
    """Return the lines that carry a text, e.g. with the head `:anna!cho@ppy.sh PRIVMSG #osu`. An action stays one."""
    text = safe_text(text)
    room = LINE_MAX - 2 - len(f"{head} :".encode())
    if not text.startswith(_ACTION):
        return [f"{head} :{part}" for part in split_text(text, room)]
    inner = text.removeprefix(_ACTION).removesuffix("\x01")
    return [f"{head} :{_ACTION}{part}\x01" for part in split_text(inner, room - len(_ACTION) - 1)]

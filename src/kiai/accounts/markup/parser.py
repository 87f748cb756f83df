"""Parses the markup into a tree.

Three steps, each linear. The source is cut into tokens. Then each closing tag is matched with the innermost opening tag
of its name; tags inside that are still open become text. Then the tree is built from the matched tags, and a tag in a
place where it is not allowed becomes text as well. Nothing is guessed: what is not markup appears as it was typed.
"""

import re
from collections.abc import Iterator, Sequence
from enum import Enum, auto
from typing import Final, NamedTuple

import msgspec

from kiai.accounts.model import ID_MAX

SOURCE_MAX: Final = 10_000
TAGS_MAX: Final = 2_000
DEPTH_MAX: Final = 20
MENTIONS_MAX: Final = 33

# Neither part of a tag contains a bracket, so that no tag is scanned twice.
_TOKEN: Final = re.compile(r"\[(?P<close>/?)(?P<name>[A-Za-z]{1,10}|\*)(?:=(?P<argument>[^\[\]\n]*))?\]")
_SIZE: Final = re.compile(r"[0-9]{1,4}", re.ASCII)
_ID: Final = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)


class Inside(Enum):
    """The content that a tag may have."""

    ALL = auto()
    INLINE = auto()
    TEXT = auto()
    """Nothing is interpreted up to the closing tag."""


class Rule(NamedTuple):
    """The rule of one tag."""

    inside: Inside
    is_block: bool
    argument: str = "none"
    """`none`, `needed` or `optional`."""


RULES: Final[dict[str, Rule]] = {
    "b": Rule(Inside.INLINE, False),
    "i": Rule(Inside.INLINE, False),
    "u": Rule(Inside.INLINE, False),
    "s": Rule(Inside.INLINE, False),
    "color": Rule(Inside.INLINE, False, "needed"),
    "size": Rule(Inside.INLINE, False, "needed"),
    "heading": Rule(Inside.INLINE, True),
    "centre": Rule(Inside.ALL, True),
    "left": Rule(Inside.ALL, True),
    "right": Rule(Inside.ALL, True),
    "quote": Rule(Inside.ALL, True, "optional"),
    "box": Rule(Inside.ALL, True, "optional"),
    "spoilerbox": Rule(Inside.ALL, True),
    "spoiler": Rule(Inside.INLINE, False),
    "notice": Rule(Inside.ALL, True),
    "code": Rule(Inside.TEXT, True),
    "c": Rule(Inside.TEXT, False),
    "list": Rule(Inside.ALL, True, "optional"),
    "url": Rule(Inside.INLINE, False, "optional"),
    "email": Rule(Inside.TEXT, False),
    "img": Rule(Inside.TEXT, False),
    "profile": Rule(Inside.TEXT, False, "optional"),
    "youtube": Rule(Inside.TEXT, False),
    "audio": Rule(Inside.TEXT, False),
    "imagemap": Rule(Inside.TEXT, True),
}
_SAME: Final = {"strike": "s", "center": "centre"}
ITEM: Final = "*"


class Text(msgspec.Struct):
    """Text as the player typed it."""

    text: str


class Tag(msgspec.Struct):
    """A tag with its content. `source` is the opening tag and `end` the closing tag as the player typed them."""

    name: str
    argument: str | None
    source: str
    end: str
    children: list["Node"]


Node = Text | Tag


class _Token(msgspec.Struct):
    """A piece of the source: text (`name` is empty), an opening or a closing tag. `partner` is the matching token."""

    source: str
    name: str = ""
    closes: bool = False
    argument: str | None = None
    partner: int = -1


class _Open(NamedTuple):
    """A tag that is being built, and the place of its closing tag. An item ends where its list ends."""

    tag: Tag
    end: int


def parse(source: str) -> list[Node]:
    """Return the tree of a text. Tags beyond 10,000 characters, 2,000 tags or 20 levels are text."""
    tokens = _tokens(source.replace("\r\n", "\n").replace("\r", "\n"))
    _match(tokens)
    return _Builder(tokens).build()


class Mentions(NamedTuple):
    """The players that a text mentions, by name and by id, without duplicates."""

    names: list[str]
    ids: list[int]


def mentions(nodes: Sequence[Node]) -> Mentions:
    """Return the first `MENTIONS_MAX` names and ids in `[profile]` tags."""
    names: dict[str, None] = {}
    ids: dict[int, None] = {}
    for node in _all(nodes):
        if node.name != "profile":
            continue
        if (by_id := player_id(node.argument)) is not None:
            ids.setdefault(by_id)
        elif name := text_of(node).strip():
            names.setdefault(name)
    return Mentions(list(names)[:MENTIONS_MAX], list(ids)[:MENTIONS_MAX])


def player_id(argument: str | None) -> int | None:
    """Return the id in `[profile=id]`, or None if the argument is not an id."""
    if argument is None or not _ID.fullmatch(argument) or int(argument) > ID_MAX:
        return None
    return int(argument)


def text_of(tag: Tag) -> str:
    """Return the text directly in a tag."""
    return "".join(child.text for child in tag.children if isinstance(child, Text))


def _all(nodes: Sequence[Node]) -> Iterator[Tag]:
    waiting = list(reversed(nodes))
    while waiting:
        node = waiting.pop()
        if isinstance(node, Tag):
            yield node
            waiting.extend(reversed(node.children))


# --- tokens


def _tokens(source: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = opened = 0
    for found in _TOKEN.finditer(source, 0, SOURCE_MAX):
        closes = found["close"] == "/"
        name = found["name"].lower()
        name = _SAME.get(name, name)
        if (name not in RULES and (name != ITEM or closes)) or (closes and found["argument"] is not None):
            continue
        if not closes:
            opened += 1
            if opened > TAGS_MAX:
                break
        if found.start() > at:
            tokens.append(_Token(source[at : found.start()]))
        tokens.append(_Token(found[0], name, closes, found["argument"]))
        at = found.end()
    if at < len(source):
        tokens.append(_Token(source[at:]))
    return tokens


def _match(tokens: list[_Token]) -> None:
    """Set `partner` of the tags that belong together. Pairs are nested: none overlaps another."""
    next_close: dict[str, list[int]] = {}  # the places of closing tags by name, the last one first
    for place in range(len(tokens) - 1, -1, -1):
        if tokens[place].closes:
            next_close.setdefault(tokens[place].name, []).append(place)
    stack: list[int] = []
    open_by_name: dict[str, list[int]] = {}  # the heights in `stack` of open tags
    place = 0
    while place < len(tokens):
        token = tokens[place]
        if token.closes:
            heights = open_by_name.get(token.name)
            if heights:
                height = heights[-1]
                partner = stack[height]
                for dropped in stack[height:]:
                    open_by_name[tokens[dropped].name].pop()
                del stack[height:]
                token.partner, tokens[partner].partner = partner, place
        elif token.name and token.name != ITEM:
            if _is_raw(token):
                closings = next_close.get(token.name, [])
                while closings and closings[-1] < place:
                    closings.pop()
                if closings:
                    end = closings[-1]
                    token.partner, tokens[end].partner = end, place
                    place = end
            else:
                open_by_name.setdefault(token.name, []).append(len(stack))
                stack.append(place)
        place += 1


def _is_raw(token: _Token) -> bool:
    """Whether nothing inside this tag is interpreted. `[url]` contains its address, `[url=...]` a text."""
    return RULES[token.name].inside is Inside.TEXT or (token.name == "url" and token.argument is None)


# --- the tree


class _Builder:
    """Builds the tree from matched tokens."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._root: list[Node] = []
        self._open: list[_Open] = []

    def build(self) -> list[Node]:
        """Return the tree."""
        place = 0
        while place < len(self._tokens):
            token = self._tokens[place]
            if self._open and self._closes_tag(place):
                self._close()
            elif token.name == ITEM and self._is_in_list():
                if self._open[-1].tag.name == ITEM:
                    self._open.pop()
                self._push(Tag(ITEM, None, "", "", []), self._open[-1].end)
            elif token.partner > place and _fits(token) and self._allows(token):
                end = self._tokens[token.partner].source
                tag = Tag(token.name, token.argument, token.source, end, [])
                if _is_raw(token):
                    inner = "".join(part.source for part in self._tokens[place + 1 : token.partner])
                    tag.children.append(Text(inner))
                    self._add(tag)
                    place = token.partner
                else:
                    self._push(tag, token.partner)
            else:
                self._add(Text(token.source))
            place += 1
        return self._root

    def _closes_tag(self, place: int) -> bool:
        return self._tokens[place].closes and self._open[-1].end == place

    def _close(self) -> None:
        if self._open.pop().tag.name == ITEM:
            self._open.pop()  # the list itself ends with its last item

    def _is_in_list(self) -> bool:
        return bool(self._open) and self._open[-1].tag.name in ("list", ITEM)

    def _push(self, tag: Tag, end: int) -> None:
        self._add(tag)
        self._open.append(_Open(tag, end))

    def _add(self, node: Node) -> None:
        (self._open[-1].tag.children if self._open else self._root).append(node)

    def _allows(self, token: _Token) -> bool:
        """Whether the open tags allow this one inside."""
        names = [entry.tag.name for entry in self._open]
        if len(names) >= DEPTH_MAX:
            return False
        if RULES[token.name].is_block and any(_is_inline(name) for name in names):
            return False
        return not (token.name in ("url", "email", "profile", "youtube", "audio") and "url" in names)


def _is_inline(name: str) -> bool:
    return name != ITEM and RULES[name].inside is Inside.INLINE


def _fits(token: _Token) -> bool:
    """Whether the tag has the argument that its rule asks for."""
    needs, argument = RULES[token.name].argument, token.argument
    if needs == "none":
        return argument is None
    if needs == "needed" and argument is None:
        return False
    if token.name == "size":
        return argument is not None and _SIZE.fullmatch(argument.strip()) is not None
    if token.name == "list":
        return argument in (None, "1")
    return True

"""Renders the tree of the markup as HTML: a fixed set of elements with fixed classes and attributes, no styles."""

import re
from collections.abc import Callable, Container, Mapping, Sequence
from html import escape
from typing import Final

import msgspec

from kiai.accounts.markup.colours import colour_class
from kiai.accounts.markup.links import BARE, host_of, is_page_path, is_web_url, without_punctuation
from kiai.accounts.markup.parser import ITEM, RULES, Node, Tag, Text, player_id, text_of
from kiai.osu.names import safe_name

OUTSIDE: Final = 'rel="nofollow ugc noopener noreferrer"'
SIZES: Final = ((60, 1), (85, 2), (120, 3), (160, 4))  # below this size: the class; else 5
SIZE_MIN: Final = 30
SIZE_MAX: Final = 200
TITLE_MAX: Final = 100
MAP_LINKS_MAX: Final = 50

_INLINE: Final = {"b": "strong", "i": "em", "u": "u", "s": "s"}
_ALIGN: Final = {"centre": "bb-centre", "left": "bb-left", "right": "bb-right"}
_PARAGRAPH: Final = re.compile(r"\n[ \t]*\n\s*")
_EMAIL: Final = re.compile(r"[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}", re.ASCII)
_YOUTUBE: Final = re.compile(r"[A-Za-z0-9_-]{11}", re.ASCII)
_OWN_PICTURE: Final = re.compile(r"/ss/[A-Za-z0-9_-]{1,32}(?:\.(?:png|jpe?g))?", re.ASCII)


class Words(msgspec.Struct, frozen=True):
    """The words that the renderer adds, in the language of the visitor. `{name}` and `{host}` are filled in."""

    spoiler: str = "Spoiler"
    quote: str = "{name} wrote:"
    picture: str = "Picture on {host}"
    video: str = "Video on YouTube"
    audio: str = "Audio on {host}"


class Renderer:
    """Renders texts.

    `players` has the ids of the players that the text mentions, by safe name, and `ids` those it mentions by id: other
    mentions stay text. `picture_url` returns the address on this
    server under which a picture of another server is shown; without it, pictures of other servers become links. Without
    `pictures` every picture becomes a link.
    """

    def __init__(
        self,
        players: Mapping[str, int],
        ids: Container[int] = (),
        *,
        words: Words | None = None,
        pictures: bool = True,
        picture_url: Callable[[str], str] | None = None,
    ) -> None:
        self._players = players
        self._ids = ids
        self._words = words or Words()
        self._pictures = pictures
        self._picture_url = picture_url

    def html(self, nodes: Sequence[Node]) -> str:
        """Return the HTML of a tree."""
        return self._blocks(nodes)

    # --- blocks

    def _blocks(self, nodes: Sequence[Node]) -> str:
        """Render content that may have paragraphs: runs of inline content between blocks become paragraphs."""
        out: list[str] = []
        run: list[Node] = []
        for node in nodes:
            if isinstance(node, Tag) and node.name in RULES and RULES[node.name].is_block:
                out.append(self._paragraphs(run))
                run = []
                out.append(self._block(node))
            else:
                run.append(node)
        out.append(self._paragraphs(run))
        return "".join(out)

    def _paragraphs(self, run: Sequence[Node]) -> str:
        paragraphs: list[list[str]] = [[]]
        for node in run:
            if isinstance(node, Text):
                first, *others = _PARAGRAPH.split(node.text)
                paragraphs[-1].append(self._text(first, links=True))
                paragraphs.extend([self._text(other, links=True)] for other in others)
            else:
                paragraphs[-1].append(self._inline(node, in_link=False))
        joined = ("".join(paragraph) for paragraph in paragraphs)
        return "".join(f"<p>{_trimmed(text)}</p>" for text in joined if _trimmed(text))

    def _block(self, tag: Tag) -> str:
        name = tag.name
        if name == "heading":
            return f"<h3>{self._inlines(tag.children)}</h3>"
        if name in _ALIGN:
            return f'<div class="{_ALIGN[name]}">{self._blocks(tag.children)}</div>'
        if name == "notice":
            return f'<div class="bb-notice">{self._blocks(tag.children)}</div>'
        if name == "quote":
            author = (tag.argument or "").strip().strip('"').strip()[:TITLE_MAX]
            said = f'<p class="bb-author">{escape(self._words.quote.format(name=author))}</p>' if author else ""
            return f"<blockquote>{said}{self._blocks(tag.children)}</blockquote>"
        if name in ("box", "spoilerbox"):
            title = (tag.argument or "").strip()[:TITLE_MAX] or self._words.spoiler
            return (
                f'<details class="bb-box"><summary>{escape(title)}</summary><div>{self._blocks(tag.children)}</div>'
                "</details>"
            )
        if name == "code":
            return f"<pre><code>{escape(text_of(tag).strip(chr(10)))}</code></pre>"
        if name == "list":
            return self._list(tag)
        return self._imagemap(tag)

    def _list(self, tag: Tag) -> str:
        before = [child for child in tag.children if not (isinstance(child, Tag) and child.name == ITEM)]
        items = [child for child in tag.children if isinstance(child, Tag) and child.name == ITEM]
        element = "ol" if tag.argument == "1" else "ul"
        inside = "".join(f"<li>{self._blocks(item.children)}</li>" for item in items)
        return self._blocks(before) + (f"<{element}>{inside}</{element}>" if items else "")

    def _imagemap(self, tag: Tag) -> str:
        lines = [line.strip() for line in text_of(tag).strip().splitlines()]
        if not lines or not is_web_url(lines[0]):
            return f"<p>{self._source(tag)}</p>"
        links = []
        for line in lines[1 : MAP_LINKS_MAX + 1]:  # x, y, width, height, URL, title
            fields = line.split(maxsplit=5)
            if len(fields) >= 5 and _is_link(fields[4]):
                links.append(f"<li>{_link(fields[4], escape(fields[5] if len(fields) > 5 else fields[4]))}</li>")
        return f"<p>{self._picture(lines[0], in_link=False)}</p>" + (f"<ul>{''.join(links)}</ul>" if links else "")

    # --- inline

    def _inlines(self, nodes: Sequence[Node], *, in_link: bool = False) -> str:
        return "".join(
            self._text(node.text, links=not in_link) if isinstance(node, Text) else self._inline(node, in_link=in_link)
            for node in nodes
        )

    def _inline(self, tag: Tag, *, in_link: bool) -> str:
        name = tag.name
        if name in _INLINE:
            return f"<{_INLINE[name]}>{self._inlines(tag.children, in_link=in_link)}</{_INLINE[name]}>"
        if name in ("color", "size", "spoiler"):
            return self._span(tag, in_link=in_link)
        if name == "url":
            return self._url(tag)
        content = text_of(tag).strip()
        if name == "c":
            return f"<code>{escape(text_of(tag))}</code>"
        if name == "img" and (is_web_url(content) or _OWN_PICTURE.fullmatch(content)):
            return self._picture(content, in_link=in_link)
        if name == "email" and _EMAIL.fullmatch(content):
            return f'<a href="mailto:{escape(content)}">{escape(content)}</a>'
        if name == "profile":
            return self._profile(tag, content)
        if name == "youtube" and _YOUTUBE.fullmatch(content):
            address = f"https://www.youtube.com/watch?v={content}"
            return f'<a class="bb-video" href="{address}" {OUTSIDE}>{escape(self._words.video)}</a>'
        if name == "audio" and is_web_url(content):
            return _link(content, escape(self._words.audio.format(host=host_of(content))))
        return self._source(tag)

    def _span(self, tag: Tag, *, in_link: bool) -> str:
        inside = self._inlines(tag.children, in_link=in_link)
        if tag.name == "spoiler":
            return f'<span class="bb-spoiler" tabindex="0">{inside}</span>'
        if tag.name == "size":
            size = min(max(int((tag.argument or "100").strip()), SIZE_MIN), SIZE_MAX)
            step = next((step for below, step in SIZES if size < below), 5)
            return f'<span class="bb-size-{step}">{inside}</span>'
        colour = colour_class(tag.argument or "")
        if colour is None:
            return escape(tag.source) + inside + escape(tag.end)
        return f'<span class="bb-{colour}">{inside}</span>'

    def _url(self, tag: Tag) -> str:
        if tag.argument is None:
            address = text_of(tag).strip()
            return _link(address, escape(address)) if _is_link(address) else self._source(tag)
        address = tag.argument.strip().strip('"')
        if not _is_link(address):
            return escape(tag.source) + self._inlines(tag.children) + escape(tag.end)
        return _link(address, self._inlines(tag.children, in_link=True) or escape(address))

    def _profile(self, tag: Tag, name: str) -> str:
        if (by_id := player_id(tag.argument)) is not None:
            found = by_id if by_id in self._ids else None
        else:
            found = self._players.get(safe_name(name))
        return escape(name) if found is None else f'<a href="/users/{found}">{escape(name)}</a>'

    def _picture(self, address: str, *, in_link: bool) -> str:
        own = is_page_path(address)
        if not self._pictures or not (own or self._picture_url):
            label = escape(address if own else self._words.picture.format(host=host_of(address)))
            return label if in_link else _link(address, label)
        source = address if own or self._picture_url is None else self._picture_url(address)
        picture = f'<img src="{escape(source)}" loading="lazy" alt="">'
        return picture if in_link else _link(address, picture)

    def _source(self, tag: Tag) -> str:
        """Return a tag that cannot be rendered as the text it is."""
        return escape(tag.source) + self._text(text_of(tag), links=False) + escape(tag.end)

    def _text(self, text: str, *, links: bool) -> str:
        if not links:
            return _lines(text)
        out: list[str] = []
        at = 0
        for found in BARE.finditer(text):
            address = without_punctuation(found[0])
            if is_web_url(address):
                out += (_lines(text[at : found.start()]), _link(address, escape(address)))
                at = found.start() + len(address)
        out.append(_lines(text[at:]))
        return "".join(out)


def _is_link(address: str) -> bool:
    return is_web_url(address) or is_page_path(address)


def _link(address: str, inside: str) -> str:
    outside = "" if is_page_path(address) else f" {OUTSIDE}"
    return f'<a href="{escape(address)}"{outside}>{inside}</a>'


def _lines(text: str) -> str:
    # Control characters are not allowed in HTML, and have no meaning in a text.
    clean = "".join(c for c in text if c == "\n" or c == "\t" or (c >= " " and not "\x7f" <= c <= "\x9f"))
    return escape(clean).replace("\n", "<br>\n")


_LEADING: Final = re.compile(r"(?:\s|<br>)*")


def _trimmed(html: str) -> str:
    """Return the HTML of a paragraph without white space and line breaks at both ends."""
    leading = _LEADING.match(html)
    start = leading.end() if leading else 0
    end = len(html)
    while end > start:
        if html[end - 1].isspace():
            end -= 1
        elif html.endswith("<br>", start, end):
            end -= len("<br>")
        else:
            break
    return html[start:end]

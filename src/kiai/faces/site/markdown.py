"""Renders the operator's Markdown: CommonMark with tables and strikethrough, without HTML.

A heading of level 1 becomes one of level 2, because the title of the page is its `h1`. Only pictures of this site are
shown. Others become links, so that no page loads anything from another host.
"""

import functools
from collections.abc import MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

CACHED: Final = 128
"""Rendered texts in the cache. A text has at most 64 KiB."""


@functools.lru_cache(maxsize=CACHED)
def render_markdown(text: str) -> Markup:
    """Return a text as HTML. Everything that is not Markdown is escaped."""
    return Markup(_parser().render(text))  # noqa: S704 (the parser escapes)


@functools.cache
def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt  # PERF: here, because most servers never show a text

    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 20}).enable(["table", "strikethrough"])
    parser.core.ruler.push("kiai", _adapt)
    return parser


def _adapt(state: Any) -> None:
    """Make headings of level 1 those of level 2, and replace pictures of other hosts by links."""
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = "h2" if token.tag == "h1" else token.tag
        elif token.children:
            token.children = [new for child in token.children for new in _inline(child)]
        # The policy of the pages forbids inline styles.
        if token.type in ("th_open", "td_open") and "right" in str(token.attrs.pop("style", "")):
            token.attrs["class"] = "num"


def _inline(token: "Token") -> Sequence["Token"]:
    from markdown_it.token import Token

    if token.type == "link_open":
        _mark_outside(token.attrs)
    if token.type != "image":
        return [token]
    source = str(token.attrs.get("src", ""))
    if source.startswith("/") and not source.startswith("//"):
        token.attrs["loading"] = "lazy"
        return [token]
    opening = Token("link_open", "a", 1, attrs={"href": source})
    _mark_outside(opening.attrs)
    return [opening, Token("text", "", 0, content=token.content or source), Token("link_close", "a", -1)]


def _mark_outside(attributes: MutableMapping[str, Any]) -> None:
    target = str(attributes.get("href", ""))
    if not target.startswith(("/", "#")) or target.startswith("//"):
        attributes["rel"] = "noopener noreferrer"

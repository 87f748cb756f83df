"""The markup of userpages and clan descriptions: the subset of BBCode in docs/spec/site.md#markup.

`parse` turns the source into a tree, `mentions` lists the players in it, and `Renderer` turns the tree
into HTML. The time of both is linear in the length of the source.
"""

from kiai.accounts.markup.links import is_page_path, is_web_url
from kiai.accounts.markup.parser import SOURCE_MAX, mentions, parse
from kiai.accounts.markup.renderer import Renderer, Words

__all__ = ["SOURCE_MAX", "Renderer", "Words", "is_page_path", "is_web_url", "mentions", "parse"]

"""Userpages as HTML: renders the markup with links to the players that it mentions."""

from collections.abc import Callable

from kiai.accounts.markup import Renderer, Words, mentions, parse
from kiai.accounts.service import Accounts
from kiai.osu.names import safe_name


class Userpages:
    """Renders texts with markup. `picture_url` as in `markup.Renderer`."""

    def __init__(self, accounts: Accounts, picture_url: Callable[[str], str] | None = None) -> None:
        self._accounts = accounts
        self._picture_url = picture_url

    async def html(self, source: str, words: Words | None = None, *, pictures: bool = True) -> str:
        """Return safe HTML. Runs at most two statements, and none for a text that mentions no player."""
        nodes = parse(source)
        names, ids = mentions(nodes)
        by_name = await self._accounts.ids_of_names([safe_name(name) for name in names]) if names else {}
        known = await self._accounts.players_among(ids) if ids else {}
        renderer = Renderer(by_name, known, words=words, pictures=pictures, picture_url=self._picture_url)
        return renderer.html(nodes)

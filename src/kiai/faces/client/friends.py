"""`osu-getfriends.php` and `osu-markasread.php` (docs/spec/web.md#friends-and-mail)."""

from kiai.accounts import Accounts, Relationships
from kiai.accounts.model import BOT_ID
from kiai.chat.mail import Mail
from kiai.errors import NotFound
from kiai.faces.client.door import Answer, Ask, Page


class Friends:
    """Who the player's friends are, and which mail the player has read."""

    def __init__(self, accounts: Accounts, relationships: Relationships, mail: Mail) -> None:
        self._accounts = accounts
        self._relationships = relationships
        self._mail = mail

    async def friends(self, ask: Ask) -> Answer:
        """The ids of the player's friends, one a line; the same list as the realtime packet."""
        friends, _ = await self._relationships.relations_of(ask.player.id)
        return Answer("\n".join(map(str, [*sorted(friends), BOT_ID])).encode())

    async def mark_as_read(self, ask: Ask) -> Answer:
        """All mail from the player `channel`; rooms and strangers are nobody's mail."""
        name = ask.query.get("channel", "")
        if name and not name.startswith("#"):
            try:
                sender = await self._accounts.player(ask.viewer, name=name)
            except NotFound:
                return Answer()
            await self._mail.mark_read(ask.player.id, sender.id)
        return Answer()

    def pages(self) -> list[Page]:
        """What this module serves."""
        return [
            Page("GET", "/web/osu-getfriends.php", self.friends, credentials=("u", "h")),
            Page("GET", "/web/osu-markasread.php", self.mark_as_read, credentials=("u", "h")),
        ]

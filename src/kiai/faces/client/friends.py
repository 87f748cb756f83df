"""`osu-getfriends.php` and `osu-markasread.php` (docs/spec/web.md#friends-and-mail)."""

from kiai.accounts import Accounts, Relationships
from kiai.accounts.model import BOT_ID
from kiai.chat.mail import Mail
from kiai.errors import NotFound
from kiai.faces.client.gateway import ClientRequest, ClientResponse, Endpoint


class FriendEndpoints:
    """The handlers of the friend list and of marking mail as read."""

    def __init__(self, accounts: Accounts, relationships: Relationships, mail: Mail) -> None:
        self._accounts = accounts
        self._relationships = relationships
        self._mail = mail

    async def friends(self, request: ClientRequest) -> ClientResponse:
        """Return the ids of the player's friends and of the bot, one per line, as in the packet FRIENDS_LIST."""
        # Every list of friends contains the bot, without a row in the database.
        friends, _ = await self._relationships.relations_of(request.player.id)
        return ClientResponse("\n".join(map(str, [*sorted(friends), BOT_ID])).encode())

    async def mark_as_read(self, request: ClientRequest) -> ClientResponse:
        """Mark all mail from the player named by `channel` as read. Channels and unknown players are ignored."""
        name = request.query.get("channel", "")
        if name and not name.startswith("#"):
            try:
                sender = await self._accounts.player(request.viewer, name=name)
            except NotFound:
                return ClientResponse()
            await self._mail.mark_read(request.player.id, sender.id)
        return ClientResponse()

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this module."""
        return [
            Endpoint("GET", "/web/osu-getfriends.php", self.friends, credentials=("u", "h")),
            Endpoint("GET", "/web/osu-markasread.php", self.mark_as_read, credentials=("u", "h")),
        ]

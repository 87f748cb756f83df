"""The stored private messages of a player, by conversation, as the website shows them (docs/spec/chat.md#mail)."""

from typing import Final

import msgspec

from kiai.accounts.model import Player, User
from kiai.accounts.visibility import is_public
from kiai.chat import queries
from kiai.chat.model import FILTERED_NOTICE, LINE_MAX, SendStatus, StoredLetter
from kiai.chat.service import Chat
from kiai.clock import Clock
from kiai.errors import Invalid, NotAllowed, NotATarget, Refused
from kiai.osu.privileges import may
from kiai.realtime.port import BOT_ID
from kiai.storage.port import Database, Transaction

SHOWN_MAX: Final = 50
"""Messages of one conversation on a page."""
ID_MAX: Final = 2**63 - 1
_REFUSALS: Final = {
    SendStatus.SILENCED: "you are silenced",
    SendStatus.BLOCKED: "this player does not accept your messages",
    SendStatus.TARGET_SILENCED: "this player is silenced and could not answer",
    SendStatus.NOT_STORED: "this player has too many unread messages",
    SendStatus.FILTERED: FILTERED_NOTICE,
    SendStatus.DROPPED: "the message was not sent",
}


class Conversation(msgspec.Struct, frozen=True):
    """A conversation: the other player, its newest message, and how many of its messages are not delivered yet."""

    player: Player
    newest: StoredLetter
    unread: int


class LettersPage(msgspec.Struct, frozen=True):
    """Messages of one conversation, newest first. `older` is the cursor of the next page, None at the end."""

    letters: list[StoredLetter]
    older: int | None


class Conversations:
    """Lists the conversations of a player, reads one of them, and continues it.

    With `verifies_email`, only players whose address is confirmed write.
    """

    def __init__(self, database: Database, chat: Chat, clock: Clock, *, verifies_email: bool = False) -> None:
        self._database = database
        self._chat = chat
        self._clock = clock
        self._verifies_email = verifies_email

    async def all(self, user_id: int) -> list[Conversation]:
        """Return the conversations of the newest `queries.LETTERS_MAX` messages in each direction, newest first.

        Conversations with hidden players are left out.
        """
        received = await self._database.all(queries.RECEIVED, user_id=user_id)
        sent = await self._database.all(queries.SENT, user_id=user_id)
        unread: dict[int, int] = {}
        newest: dict[int, tuple[Player, StoredLetter]] = {}
        for letter, player in sorted((*received, *sent), key=lambda row: row[0].id, reverse=True):
            newest.setdefault(player.id, (player, letter))
            if letter.from_id != user_id and letter.delivered_at_ms is None:
                unread[player.id] = unread.get(player.id, 0) + 1
        return [Conversation(player, letter, unread.get(player.id, 0)) for player, letter in newest.values()]

    async def read(self, user_id: int, other_id: int, *, before: int = ID_MAX) -> LettersPage:
        """Return messages between two players with ids below `before`, and mark those to the first one as read.

        They are delivered, too: the next login to the game does not show them again. The caller has checked that the
        player may see the other one.
        """
        found: list[StoredLetter] = []
        for from_id, to_id in ((user_id, other_id), (other_id, user_id)):
            found += await self._database.all(queries.LETTERS_BETWEEN, from_id=from_id, to_id=to_id, before=before)
        found.sort(key=lambda letter: letter.id, reverse=True)
        letters = found[:SHOWN_MAX]
        older = letters[-1].id if len(found) > SHOWN_MAX else None
        if any(letter.from_id != user_id and letter.read_at_ms is None for letter in letters):
            await self._mark_read(user_id, other_id, letters[-1].id, letters[0].id)
        return LettersPage(letters, older)

    async def _mark_read(self, user_id: int, other_id: int, first: int, last: int) -> None:
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await tx.run(queries.READ_ON_SITE, reader_id=user_id, sender_id=other_id, first=first, last=last, at_ms=now)

        await self._database.transaction(body)

    async def write(self, writer: User, other: User, text: str) -> bool:
        """Send a message. Return True if the other player is in the game, False if it waits for the next login.

        The caller has checked that the writer may see the other player. Raises NotAllowed for a restricted or
        unverified player, NotATarget for the bot and oneself, Invalid for an empty or too long text, and Refused by the
        rules of docs/spec/chat.md#private-messages and before the address is confirmed.
        """
        if not is_public(writer.priv):
            raise NotAllowed("unrestricted")
        if not may(writer.priv, "chat.write"):
            raise NotAllowed("chat.write")
        if other.id == BOT_ID:
            raise NotATarget("you can't do that to the bot")
        if other.id == writer.id:
            raise NotATarget("you can't do that to yourself")
        if self._verifies_email and writer.email_verified_at_ms is None:
            raise Refused("confirm your e-mail address first")
        line = " ".join(text.split())
        if not 0 < len(line) <= LINE_MAX:
            raise Invalid("message", f"a text of 1 to {LINE_MAX} characters", f"{len(line)} characters")
        result = await self._chat.write_from_site(writer, other, line)
        if refusal := _REFUSALS.get(result.status):
            raise Refused(refusal)
        return result.status is SendStatus.SAID

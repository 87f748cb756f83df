"""Commands of the community: `!faq`, and for moderators `!clearchat` and `!spectators`."""

from collections.abc import Sequence
from typing import Final

from kiai.accounts import User
from kiai.chat.bot import Argument, ArgumentKind, BotCommand, CommandContext
from kiai.chat.model import split_lines
from kiai.chat.service import Chat
from kiai.clock import Clock
from kiai.errors import Refused
from kiai.osu.texts import chat_name
from kiai.realtime.port import Realtime, spectate_topic
from kiai.staff import Actor, audit
from kiai.staff.authority import Authority, check_not_bot
from kiai.staff.faq import Faq
from kiai.storage.port import Database, Transaction

LISTED: Final = "list"
NAMED_MAX: Final = 30
USER: Final = Argument("user", ArgumentKind.USER)


class CommunityCommands:
    """Handlers of `!faq`, `!clearchat` and `!spectators`."""

    def __init__(
        self, database: Database, authority: Authority, faq: Faq, chat: Chat, realtime: Realtime, clock: Clock
    ) -> None:
        self._database = database
        self._authority = authority
        self._faq = faq
        self._chat = chat
        self._realtime = realtime
        self._clock = clock

    async def faq(self, context: CommandContext, key: str) -> Sequence[str]:
        """`!faq`."""
        key = key.lower()
        text = await self._faq.text(key)
        if text is not None:
            return split_lines(text)
        if key != LISTED:
            return ("No FAQ entry with this key. Type !faq list for all keys.",)
        keys = [entry.key for entry in await self._faq.all()]
        return (f"FAQ: {', '.join(keys)}" if keys else "There are no FAQ entries yet.",)

    async def clear_chat(self, context: CommandContext, user: User) -> Sequence[str]:
        """`!clearchat`."""
        actor = Actor(context.session.user_id, context.source)
        await self._authority.require(actor, "chat.moderate")
        check_not_bot(user.id)
        if not context.channel:
            raise Refused("write this command in the channel whose lines you want to remove")
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await audit.write(
                tx,
                actor,
                "clear_messages",
                at_ms=now,
                target_kind="user",
                target_id=user.id,
                details={"channel": context.channel},
            )

        await self._database.transaction(body)
        await self._chat.erase_lines(context.channel, user.id)
        return (f"Removed the lines of {chat_name(user.name)}.",)

    async def spectators(self, context: CommandContext, user: User) -> Sequence[str]:
        """`!spectators`."""
        actor = Actor(context.session.user_id, context.source)
        await self._authority.require(actor, "users.spectators")
        watching = await self._realtime.following(spectate_topic(user.id))
        names = sorted(chat_name(session.name) for session in watching if session.user_id != user.id)
        if not names:
            return (f"Nobody watches {chat_name(user.name)}.",)
        more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
        return (f"{len(names)} watch {chat_name(user.name)}: {', '.join(names[:NAMED_MAX])}{more}",)

    def commands(self) -> list[BotCommand]:
        """Return the declarations of these commands."""
        return [
            BotCommand(
                name="faq",
                handler=self.faq,
                help="Shows a text of the server's FAQ. `list` shows all keys.",
                arguments=(Argument("key"),),
            ),
            BotCommand(
                name="clearchat",
                handler=self.clear_chat,
                help="Removes a player's lines from the windows of everybody in this channel.",
                arguments=(USER,),
                permission="chat.moderate",
                audit="clear_messages",
            ),
            BotCommand(
                name="spectators",
                handler=self.spectators,
                help="Lists who watches a player.",
                arguments=(USER,),
                permission="users.spectators",
                hidden=True,
            ),
        ]

"""Commands of the community: `!faq`, and for staff `!clearchat`, `!spectators` and `!reloadfilter`."""

from collections.abc import Sequence
from typing import Final

from kiai.accounts import User
from kiai.chat.bot import Argument, ArgumentKind, BotCommand, CommandContext
from kiai.chat.model import split_lines
from kiai.faces.bot.acting import actor_of
from kiai.osu.texts import chat_name
from kiai.realtime.port import Realtime, spectate_topic
from kiai.staff.authority import Authority
from kiai.staff.chat_desk import ChatDesk
from kiai.staff.faq import Faq
from kiai.staff.filter_desk import FilterDesk

LISTED: Final = "list"
NAMED_MAX: Final = 30
USER: Final = Argument("user", ArgumentKind.USER)


class CommunityCommands:
    """Handlers of `!faq`, `!clearchat`, `!spectators` and `!reloadfilter`."""

    def __init__(
        self, authority: Authority, faq: Faq, chat_desk: ChatDesk, filter_desk: FilterDesk, realtime: Realtime
    ) -> None:
        self._authority = authority
        self._faq = faq
        self._chat_desk = chat_desk
        self._filter_desk = filter_desk
        self._realtime = realtime

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
        await self._chat_desk.clear(actor_of(context), context.channel, user)
        return (f"Removed the lines of {chat_name(user.name)}.",)

    async def spectators(self, context: CommandContext, user: User) -> Sequence[str]:
        """`!spectators`."""
        await self._authority.require(actor_of(context), "users.spectators")
        watching = await self._realtime.following(spectate_topic(user.id))
        names = sorted(chat_name(session.name) for session in watching if session.user_id != user.id)
        if not names:
            return (f"Nobody watches {chat_name(user.name)}.",)
        more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
        count = "1 player watches" if len(names) == 1 else f"{len(names)} players watch"
        return (f"{count} {chat_name(user.name)}: {', '.join(names[:NAMED_MAX])}{more}",)

    async def reload_filter(self, context: CommandContext) -> Sequence[str]:
        """`!reloadfilter`."""
        count = await self._filter_desk.reload(actor_of(context))
        return (f"The word filter has {count} pattern{'' if count == 1 else 's'}.",)

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
            BotCommand(
                name="reloadfilter",
                handler=self.reload_filter,
                help="Reads the patterns of the word filter again.",
                permission="filter.write",
                audit="reload",
                hidden=True,
            ),
        ]

"""`!help`: the commands that a player may use."""

from collections.abc import Sequence
from typing import Final

from kiai.chat.bot import PREFIX, UNKNOWN, Argument, ArgumentKind, Bot, BotCommand, CommandContext, CommandScope
from kiai.faces.bot.reference import role_of
from kiai.osu.numbers import whole_number

# The page has a last line of its own, and an answer has at most 10 lines.
PAGE: Final = 8
WHERE: Final = {
    CommandScope.ANYWHERE: "",
    CommandScope.DM: "Only in a message to the bot.",
    CommandScope.MATCH: "Only in the channel of a match.",
}


class HelpCommands:
    """The handler of `!help`. Commands that the player may not use stay unknown."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot

    async def help(self, context: CommandContext, about: str | None) -> Sequence[str]:
        """`!help`."""
        usable = [command for command in self._bot.commands if self._bot.may_use(context.session, command)]
        groups = list(dict.fromkeys(command.group for command in usable if command.group))
        plain = [command for command in usable if not command.group]
        page = None if about is None else whole_number(about)
        if about is not None and page is None:
            words = about.lower().removeprefix(PREFIX).split()
            if words[:1] and words[0] in groups and len(words) == 1:
                return (_names(words[0], usable),)
            group, name = (words[0], words[1]) if len(words) == 2 else ("", words[0] if len(words) == 1 else "")
            for command in usable:
                if command.group == group and name in (command.name, *command.aliases):
                    return _about(command)
            return (UNKNOWN,)
        lines = [*(f"{command.usage}: {command.help}" for command in plain), *(_names(name, usable) for name in groups)]
        pages = -(-len(lines) // PAGE)
        page = min(max(1, page or 1), pages)
        return [
            *lines[(page - 1) * PAGE : page * PAGE],
            f"Page {page} of {pages}. Type !help <page or command> for more.",
        ]

    def commands(self) -> list[BotCommand]:
        """Return the declaration of `!help`."""
        return [
            BotCommand(
                name="help",
                aliases=("h",),
                handler=self.help,
                help="Lists the commands that you may use, or explains one.",
                arguments=(Argument("about", ArgumentKind.TEXT, optional=True),),
                hidden=True,
            )
        ]


def _names(group: str, usable: Sequence[BotCommand]) -> str:
    """Return the names of the commands of a group on one line."""
    return f"{PREFIX}{group} {' | '.join(command.name for command in usable if command.group == group)}"


def _about(command: BotCommand) -> Sequence[str]:
    """Return what the help shows of one command: usage, effect, place, other names and the right that it needs."""
    parts = [command.help, WHERE[command.scope]]
    if command.aliases:
        parts.append(f"Also: {', '.join(command.aliases)}.")
    parts.append(f"For: {role_of(command) or 'everybody'}.")
    return (command.usage, " ".join(part for part in parts if part))

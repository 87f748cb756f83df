"""`!flags`: the queue of integrity flags for staff."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from kiai.chat.bot import Argument, ArgumentKind, BadArgument, Bot, BotCommand, CommandContext, UnknownPlayer
from kiai.faces.bot.acting import actor_of
from kiai.osu.numbers import whole_number
from kiai.osu.texts import chat_name, chat_text
from kiai.scores.flags import VERDICTS, FlagObject, State
from kiai.staff.flag_queue import FlagQueue

PAGE: Final = 5
PAGES_MAX: Final = 1_000
ID_MAX: Final = 2**63 - 1
SHOWN_MAX: Final = 300
"""Characters of a line in the chat."""
CLOSE: Final = f"close <id> <{'|'.join(VERDICTS)}> [text]"


class FlagCommands:
    """The handler of `!flags`."""

    def __init__(self, bot: Bot, queue: FlagQueue) -> None:
        self._bot = bot
        self._queue = queue

    async def flags(self, context: CommandContext, user: str | None, page: str | None) -> Sequence[str]:
        """`!flags`."""
        if (user or "").lower() == "close":
            return await self._close(context, page or "")
        number, user_id, name = 1, None, ""
        if user is not None:
            try:
                found = await self._bot.player(context, user)
                user_id, name = found.id, found.name
            except UnknownPlayer:
                # `!flags 2` is the second page, unless a player has this name.
                if page is not None or not (user.isascii() and user.isdigit()):
                    raise
                page = user
        if page is not None:
            read = whole_number(page, PAGES_MAX, 1)
            if read is None:
                raise BadArgument(f"page must be a whole number from 1 to {PAGES_MAX}.")
            number = read
        # Of one player, the closed flags are of interest, too.
        state: State = "open" if user_id is None else "all"
        actor = actor_of(context)
        total = await self._queue.count(actor, user_id=user_id, state=state)
        flags = await self._queue.page(actor, user_id=user_id, state=state, limit=PAGE, offset=(number - 1) * PAGE)
        if not flags:
            if total:
                return ("This page does not exist.",)
            return (f"{chat_name(name)} has no flags." if name else "There are no open flags.",)
        counted = f"{total} {'open' if user_id is None else 'in total'}"
        return [*(_line(flag)[:SHOWN_MAX] for flag in flags), f"Page {number} of {-(-total // PAGE)}, {counted}."]

    async def _close(self, context: CommandContext, words: str) -> Sequence[str]:
        number, _, rest = words.strip().partition(" ")
        verdict, _, text = rest.strip().partition(" ")
        flag_id = whole_number(number, ID_MAX, 1)
        if flag_id is None or verdict.lower() not in VERDICTS:
            raise BadArgument(f"To close a flag: !flags {CLOSE}.")
        closed = await self._queue.close(actor_of(context), flag_id, verdict.lower(), text)
        return (f"Flag {flag_id} of {chat_name(closed.player.name)} is closed: {verdict.lower()}.",)

    def commands(self) -> list[BotCommand]:
        """Return the declaration of `!flags`."""
        return [
            BotCommand(
                name="flags",
                handler=self.flags,
                help=f"Lists open flags, or all flags of a player, newest first. `{CLOSE}` closes one.",
                # The page is the rest of the line: after `close`, it is the id, the verdict and the text.
                arguments=(Argument("user", optional=True), Argument("page", ArgumentKind.TEXT, optional=True)),
                permission="flags.handle",
                audit="flag_close",
                hidden=True,
            )
        ]


def _line(flag: FlagObject) -> str:
    state = f" ({chat_text(flag.verdict or '')})" if flag.state == "closed" else ""
    at = datetime.fromtimestamp(flag.at, UTC)
    score = "" if flag.score_id is None else f" score {flag.score_id}"
    return (
        f"{flag.id}: {at:%Y-%m-%d %H:%M} {chat_name(flag.player.name)}{score} {flag.kind}{state}: "
        f"{chat_text(flag.details)}"
    )

"""The command `!recalc` of developers."""

from collections.abc import Sequence
from typing import Final

from kiai.chat.bot import Argument, ArgumentKind, BadArgument, Bot, BotCommand, CommandContext
from kiai.faces.bot.acting import actor_of
from kiai.faces.bot.now_playing import NowPlaying
from kiai.osu.modes import parse_mode
from kiai.staff.recalculations import Recalculations

SCOPES: Final = ("map", "user", "mode", "all")


class RecalculationCommands:
    """Handler of the command."""

    def __init__(self, bot: Bot, now_playing: NowPlaying, recalculations: Recalculations) -> None:
        self._bot = bot
        self._now_playing = now_playing
        self._recalculations = recalculations

    async def recalculate(self, context: CommandContext, scope: str, value: str | None) -> Sequence[str]:
        """`!recalc`."""
        if (value is None) == (scope in ("user", "mode")):
            raise BadArgument(f"The scope {scope} needs {'a value' if value is None else 'no value'}.")
        map_id = user_id = mode = None
        if scope == "map":
            map_id = (await self._now_playing.last_map(context.session.user_id)).beatmap.id
        elif scope == "user":
            user_id = (await self._bot.player(context, (value or "").strip('"'))).id
        elif scope == "mode" and (mode := parse_mode(value or "")) is None:
            raise BadArgument(f"The mode must be {ArgumentKind.MODE.value}.")
        job = await self._recalculations.queue(actor_of(context), map_id=map_id, user_id=user_id, mode=mode)
        return (f"Recalculation {job} is queued. I will tell you when it is done.",)

    def commands(self) -> list[BotCommand]:
        """Return the declaration of the command."""
        return [
            BotCommand(
                name="recalc",
                handler=self.recalculate,
                permission="recalc.run",
                arguments=(
                    Argument("scope", ArgumentKind.CHOICE, choices=SCOPES),
                    Argument("value", ArgumentKind.TEXT, optional=True),
                ),
                audit="recalc",
                help="Recalculates the pp of the last /np, of `user <name>`, of `mode <mode>`, or of all scores.",
                hidden=True,
            )
        ]

"""`!overwrite`: makes the last score of a donor the best one on its map."""

from collections.abc import Callable, Sequence

from kiai.beatmaps.model import full_title
from kiai.chat.bot import CONFIRM_WITHIN_S, BotCommand, CommandContext, CommandScope
from kiai.faces.bot.acting import actor_of
from kiai.osu.modes import mode_text
from kiai.osu.mods import mods_text
from kiai.osu.texts import chat_link
from kiai.own_account.overwriting import PERMISSION, Overwriting
from kiai.realtime.port import Realtime
from kiai.scores.model import MappedScore


class OverwriteCommands:
    """The handler of `!overwrite`. `link` makes a link to a page of the website."""

    def __init__(self, overwriting: Overwriting, realtime: Realtime, link: Callable[[str], str]) -> None:
        self._overwriting = overwriting
        self._realtime = realtime
        self._link = link

    async def explain(self, context: CommandContext) -> str:
        """Return what `!overwrite` will do."""
        last = await self._overwriting.last(actor_of(context))
        await self._realtime.stash(_asked(context), "", str(last.score.id).encode(), CONFIRM_WITHIN_S)
        return (
            f"This makes your last score the best one on its beatmap, although an earlier one is better, and you can't "
            f"undo it: {self._shown(last)}. The earlier scores stay in your lists and give no pp."
        )

    async def overwrite(self, context: CommandContext) -> Sequence[str]:
        """`!overwrite`, confirmed."""
        # The code was given for the last score of that time, and the author may have played since.
        asked = (await self._realtime.stashed(_asked(context))).get("")
        best = await self._overwriting.overwrite(actor_of(context), int(asked or 0))
        return (f"Your best score on this beatmap is now {self._shown(best)}.",)

    def _shown(self, mapped: MappedScore) -> str:
        score, beatmap = mapped.score, mapped.beatmap
        mods = f" +{mods_text(score.mods)}" if score.mods else ""
        title = chat_link(self._link(f"b/{beatmap.id}"), full_title(beatmap))
        return f"{title}{mods} in {mode_text(score.mode)}, {score.score:,} points, {score.pp:.2f}pp"

    def commands(self) -> list[BotCommand]:
        """Return the declaration of `!overwrite`."""
        return [
            BotCommand(
                name="overwrite",
                handler=self.overwrite,
                confirm=self.explain,
                permission=PERMISSION,
                audit="score_overwrite",
                help="Makes your last score the best one on its beatmap, although an earlier one is better.",
                scope=CommandScope.DM,
                hidden=True,
            )
        ]


def _asked(context: CommandContext) -> str:
    """Return the key under which the score of an unconfirmed `!overwrite` is stored."""
    return f"overwrite:{context.session.user_id}"

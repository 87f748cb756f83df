"""Commands of staff on scores: wipes of players and maps and their ends, and hiding one score."""

from collections.abc import Callable, Sequence

from kiai.accounts import User
from kiai.beatmaps import Beatmap
from kiai.chat.bot import CONFIRM_WITHIN_S, Argument, ArgumentKind, BotCommand, CommandContext
from kiai.errors import Refused
from kiai.faces.bot.acting import actor_of
from kiai.faces.bot.now_playing import NowPlaying
from kiai.faces.bot.sanctions import REASON, USER, scores_text
from kiai.osu.modes import mode_text
from kiai.osu.texts import chat_link, chat_name
from kiai.realtime.port import Realtime
from kiai.staff.wipes import HIDES_SCORES, WIPES_MAPS, WIPES_USERS, Wipes


class WipeCommands:
    """Handlers of the commands."""

    def __init__(
        self,
        wipes: Wipes,
        now_playing: NowPlaying,
        realtime: Realtime,
        link: Callable[[str], str],
    ) -> None:
        self._wipes = wipes
        self._now_playing = now_playing
        self._realtime = realtime
        self._link = link

    async def wipe_user(self, context: CommandContext, user: User, mode: int | None, reason: str) -> Sequence[str]:
        """`!wipeuser`, confirmed."""
        done = await self._wipes.wipe_user(actor_of(context), user.id, reason, mode=mode)
        return (f"{chat_name(user.name)} is wiped: {scores_text(done.scores)}{_in_mode(mode)} hidden.",)

    async def before_wipe_user(self, context: CommandContext, user: User, mode: int | None, reason: str) -> str:
        """Check `!wipeuser` and return what it will do."""
        target = await self._wipes.check_user(actor_of(context), user.id, reason)
        return f"This hides all scores of {chat_name(target.name)}{_in_mode(mode)}."

    async def restore_scores(self, context: CommandContext, user: User, mode: int | None, reason: str) -> Sequence[str]:
        """`!restorescores`."""
        done = await self._wipes.restore_user(actor_of(context), user.id, reason, mode=mode)
        return (f"{chat_name(user.name)} is restored: {scores_text(done.scores)}{_in_mode(mode)} visible again.",)

    async def wipe_map(self, context: CommandContext, reason: str) -> Sequence[str]:
        """`!wipemap`, confirmed."""
        beatmap = await self._now_playing.stored_map(context.session.user_id)
        # The code was given for the map of that time, and the author may have sent another /np since.
        asked = (await self._realtime.stashed(_asked(context))).get("")
        if asked != beatmap.md5.encode():
            raise Refused("the map of your last /np is another one now; send the command again")
        count = await self._wipes.wipe_map(actor_of(context), beatmap, reason)
        return (f"{self._title(beatmap)} is wiped: {scores_text(count)} hidden.",)

    async def before_wipe_map(self, context: CommandContext, reason: str) -> str:
        """Check `!wipemap` and return what it will do."""
        await self._wipes.check_map(actor_of(context), reason)
        beatmap = await self._now_playing.stored_map(context.session.user_id)
        await self._realtime.stash(_asked(context), "", beatmap.md5.encode(), CONFIRM_WITHIN_S)
        return f"This hides all scores on {self._title(beatmap)}."

    async def restore_map(self, context: CommandContext, reason: str) -> Sequence[str]:
        """`!restoremap`."""
        beatmap = await self._now_playing.stored_map(context.session.user_id)
        count = await self._wipes.restore_map(actor_of(context), beatmap, reason)
        return (f"{self._title(beatmap)} is restored: {scores_text(count)} visible again.",)

    async def hide_score(self, context: CommandContext, score_id: int, reason: str) -> Sequence[str]:
        """`!hidescore`."""
        done = await self._wipes.hide_score(actor_of(context), score_id, reason)
        return (f"Score {score_id} of {chat_name(done.player.name)} is hidden.",)

    async def unhide_score(self, context: CommandContext, score_id: int, reason: str) -> Sequence[str]:
        """`!unhidescore`."""
        done = await self._wipes.unhide_score(actor_of(context), score_id, reason)
        return (f"Score {score_id} of {chat_name(done.player.name)} is visible again.",)

    def _title(self, beatmap: Beatmap) -> str:
        return chat_link(self._link(f"b/{beatmap.id}"), f"{beatmap.artist} - {beatmap.title} [{beatmap.version}]")

    def commands(self) -> list[BotCommand]:
        """Return the declarations of the commands."""
        mode = Argument("mode", ArgumentKind.MODE, optional=True)
        score = Argument("score id", ArgumentKind.NUMBER, least=1, most=2**63 - 1)
        return [
            BotCommand(
                name="wipeuser",
                handler=self.wipe_user,
                confirm=self.before_wipe_user,
                permission=WIPES_USERS,
                arguments=(USER, mode, REASON),
                audit="user_wipe",
                hidden=True,
                help="Hides all scores of a player, in all modes or in one.",
            ),
            BotCommand(
                name="restorescores",
                handler=self.restore_scores,
                permission=WIPES_USERS,
                arguments=(USER, mode, REASON),
                audit="user_restore",
                hidden=True,
                help="Shows the scores again that wipes of a player hide, in all modes or in one.",
            ),
            BotCommand(
                name="wipemap",
                handler=self.wipe_map,
                confirm=self.before_wipe_map,
                permission=WIPES_MAPS,
                arguments=(REASON,),
                audit="map_wipe",
                hidden=True,
                help="Hides all scores on the map of your last /np.",
            ),
            BotCommand(
                name="restoremap",
                handler=self.restore_map,
                permission=WIPES_MAPS,
                arguments=(REASON,),
                audit="map_restore",
                hidden=True,
                help="Shows the scores again that a wipe of the map of your last /np hides.",
            ),
            BotCommand(
                name="hidescore",
                handler=self.hide_score,
                permission=HIDES_SCORES,
                arguments=(score, REASON),
                audit="score_hide",
                hidden=True,
                help="Hides one score. The player's next best takes its place.",
            ),
            BotCommand(
                name="unhidescore",
                handler=self.unhide_score,
                permission=HIDES_SCORES,
                arguments=(score, REASON),
                audit="score_unhide",
                hidden=True,
                help="Shows a single score again that staff hid.",
            ),
        ]


def _in_mode(mode: int | None) -> str:
    return "" if mode is None else f" in {mode_text(mode)}"


def _asked(context: CommandContext) -> str:
    """Return the key under which the map of an unconfirmed `!wipemap` is stored."""
    return f"wipemap:{context.session.user_id}"

"""How the `!mp` commands run a command of the match rules, and answer with a line about the match after it."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from kiai.beatmaps import Beatmap
from kiai.beatmaps.model import full_title
from kiai.chat.bot import Argument, CommandContext, Handler
from kiai.chat.model import match_of
from kiai.errors import NotFound
from kiai.faces.bot import mp_lines
from kiai.multiplayer import commands
from kiai.multiplayer.match import Match, NotSeated
from kiai.multiplayer.service import CommandOutcome, Matches
from kiai.realtime.port import Realtime
from kiai.staff.match_acts import MatchActs

GROUP: Final = "mp"

CommandRow = tuple[str, tuple[str, ...], Handler, tuple[Argument, ...], str]
"""Name, aliases, handler, arguments and help of a command that everyone in the channel sees."""


class MatchRuns:
    """Runs commands of leaders on the match in whose channel they are written."""

    def __init__(self, matches: Matches, acts: MatchActs, realtime: Realtime) -> None:
        self._matches = matches
        self._acts = acts
        self._realtime = realtime

    async def leads(self, context: CommandContext) -> bool:
        """Return whether the author is a leader of the match."""
        return await self._matches.leads(context.session, room_of(context))

    async def match(self, context: CommandContext) -> Match:
        """Return the match. Raises NotFound("match")."""
        match = await self._realtime.match(room_of(context), Match)
        if match is None:
            raise NotFound("match")
        return match

    async def run(
        self, context: CommandContext, command: type[commands.MatchCommand], **fields: Any
    ) -> CommandOutcome | None:
        """Run a command. Return None if the author lacks the right. Raises the errors of `MatchActs.run`."""
        return await self._acts.run(context.session, room_of(context), command, **fields)

    async def run_and_answer(
        self, context: CommandContext, line: Callable[[Match], str], command: type[commands.MatchCommand], **fields: Any
    ) -> Sequence[str]:
        """Run the command. Return the line about the match after it, or no line if the player lacks the right."""
        outcome = await self.run(context, command, **fields)
        return () if outcome is None else (line(outcome.match),)

    async def run_on_seated(
        self, context: CommandContext, line: str, command: type[commands.MatchCommand], **fields: Any
    ) -> Sequence[str]:
        """Run a command on a player, who must be seated, and return the line."""
        try:
            return await self.run_and_answer(context, lambda _: line, command, **fields)
        except NotSeated:
            return (mp_lines.NOT_SEATED,)


def room_of(context: CommandContext) -> int:
    """Return the id of the match in whose channel the command was written. Raises NotFound("match")."""
    match_id = match_of(context.channel)
    if match_id is None:
        raise NotFound("match")
    return match_id


def choice_of(beatmap: Beatmap, mode: int | None) -> dict[str, Any]:
    """Return the fields of a command that selects a map, in this mode or in that of the map."""
    return {
        "map_id": beatmap.id,
        "map_md5": beatmap.md5,
        "map_name": full_title(beatmap),
        "mode": beatmap.mode or mode or 0,  # only maps of osu! can be played in another mode
    }

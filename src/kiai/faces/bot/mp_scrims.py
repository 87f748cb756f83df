"""The `!mp` commands of scrims and mappools (docs/spec/multiplayer.md#scrims, docs/spec/multiplayer.md#mappools)."""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from kiai.accounts import User
from kiai.beatmaps import Beatmaps
from kiai.chat.bot import Argument, ArgumentKind, BadArgument, CommandContext
from kiai.faces.bot import mp_lines
from kiai.faces.bot.mp_runs import CommandRow, MatchRuns, choice_of
from kiai.multiplayer import commands
from kiai.multiplayer.events import PointsSet
from kiai.multiplayer.model import BLUE, RED, has_teams
from kiai.multiplayer.pools import FREE_MOD_PICKS, Mappools
from kiai.osu.mods import parse_mods
from kiai.osu.numbers import whole_number
from kiai.osu.texts import chat_name, chat_text
from kiai.realtime.port import Realtime

POINTS_MAX: Final = 15
ROLL_MAX: Final = 100
# A captain has one roll in an hour, and another one when a scrim begins.
ROLL_S: Final = 3_600.0
PICK: Final = Argument("pick")


class ScrimCommands:
    """Handlers of the commands. `player` returns the user that a word names."""

    def __init__(
        self,
        runs: MatchRuns,
        realtime: Realtime,
        beatmaps: Beatmaps,
        pools: Mappools,
        player: Callable[[CommandContext, str], Awaitable[User]],
    ) -> None:
        self._runs = runs
        self._realtime = realtime
        self._beatmaps = beatmaps
        self._pools = pools
        self._player = player

    async def is_pick(self, context: CommandContext, text: str) -> bool:
        """Return whether the loaded mappool has a pick of this name."""
        pool_id = (await self._runs.match(context)).pool_id
        picks = await self._pools.picks(pool_id) if pool_id else []
        return text.upper() in {f"{pick.mods}{pick.slot}" for pick in picks}

    async def scrim(self, context: CommandContext, best_of: str) -> Sequence[str]:
        """`!mp scrim`."""
        number = whole_number(best_of.lower().removeprefix("bo"), most=99)
        if number is None:
            raise BadArgument("best_of must be odd, from bo1 to bo15. 0 ends the scrim.")
        if number == 0:
            await self._runs.run(context, commands.EndScrim)
        else:
            await self._runs.run(context, commands.BeginScrim, best_of=number)
        return ()  # the events of the match have lines of their own

    async def end_scrim(self, context: CommandContext) -> Sequence[str]:
        """`!mp endscrim`."""
        await self._runs.run(context, commands.EndScrim)
        return ()

    async def rematch(self, context: CommandContext) -> Sequence[str]:
        """`!mp rematch`."""
        await self._runs.run(context, commands.Rematch)
        return ()

    async def points(self, context: CommandContext, red: str, blue: int) -> Sequence[str]:
        """`!mp points <red> <blue>`, and `!mp points <user> <points>` in a match without teams."""
        points: tuple[tuple[int, int], ...]
        if has_teams(await self._runs.match(context)):
            red_points = whole_number(red, POINTS_MAX)
            if red_points is None:
                raise BadArgument(f"red must be a whole number from 0 to {POINTS_MAX}.")
            points = (RED, red_points), (BLUE, blue)
        else:
            points = (((await self._player(context, red)).id, blue),)
        outcome = await self._runs.run(context, commands.SetPoints, points=points)
        if outcome is None:
            return ()
        # From the events: if the points end the scrim, the match has no points afterwards.
        return (
            ", ".join(
                f"{chat_text(event.name)} {event.points}" for event in outcome.events if isinstance(event, PointsSet)
            )
            + ".",
        )

    async def load_pool(self, context: CommandContext, pool: str) -> Sequence[str]:
        """`!mp loadpool`."""
        found = await self._pools.named(pool)
        line = f"The mappool {chat_text(found.name)} is loaded."
        return await self._runs.run_and_answer(
            context, lambda _: line, commands.LoadPool, pool_id=found.id, name=found.name
        )

    async def unload_pool(self, context: CommandContext) -> Sequence[str]:
        """`!mp unloadpool`."""
        return await self._runs.run_and_answer(context, lambda _: "The mappool is unloaded.", commands.UnloadPool)

    async def pick(self, context: CommandContext, pick: str, force: str | None) -> Sequence[str]:
        """`!mp pick`."""
        match = await self._runs.match(context)
        if not match.pool_id:
            raise BadArgument("No mappool is loaded.")
        pick_name = pick.upper()
        for pool_pick in await self._pools.picks(match.pool_id):
            if f"{pool_pick.mods}{pool_pick.slot}" == pick_name:
                found = await self._beatmaps.find_or_fetch(id=pool_pick.map_id)
                free = pool_pick.mods in FREE_MOD_PICKS  # free mod and tiebreaker: players choose their mods
                bits = 0 if free or pool_pick.mods == "NM" else parse_mods(pool_pick.mods)
                return await self._runs.run_and_answer(
                    context,
                    lambda match: f"Picked {pick_name}: {chat_text(match.map_name)}. {mp_lines.mods(match)}",
                    commands.PickMap,
                    pick=pick_name,
                    mods=bits,
                    free_mods=free,
                    force=bool(force),
                    **choice_of(found, None),
                )
        raise BadArgument(f"{pick_name[:16]} is not in the mappool.")

    async def ban_pick(self, context: CommandContext, pick: str) -> Sequence[str]:
        """`!mp banpick`."""
        return await self._runs.run_and_answer(
            context, lambda _: f"{chat_text(pick.upper())} is banned.", commands.BanPick, pick=pick.upper()
        )

    async def unban_pick(self, context: CommandContext, pick: str) -> Sequence[str]:
        """`!mp unbanpick`."""
        line = f"{chat_text(pick.upper())} is no longer banned."
        return await self._runs.run_and_answer(context, lambda _: line, commands.UnbanPick, pick=pick.upper())

    async def picks(self, context: CommandContext) -> Sequence[str]:
        """`!mp picks`."""
        match = await self._runs.match(context)
        found = await self._pools.picks(match.pool_id) if match.pool_id else []
        names = [f"{pick.mods}{pick.slot}" for pick in found]
        remaining = [name for name in names if name not in match.banned_picks and name not in match.used_picks]
        return (f"Remaining: {' '.join(remaining) or 'none'}. Banned: {' '.join(match.banned_picks) or 'none'}.",)

    async def roll(self, context: CommandContext) -> Sequence[str]:
        """`!mp roll`. Each player has one roll: a captain must not roll again after a low number."""
        match = await self._runs.match(context)
        player = str(context.session.user_id)
        key = f"roll:{match.history_id}:{match.scrim.began_at_ms if match.scrim else 0}"
        former = (await self._realtime.stashed(key)).get(player)
        if former:
            return (f"{chat_name(context.session.name)} has already rolled {int(former)} point(s)",)
        rolled = secrets.randbelow(ROLL_MAX) + 1
        await self._realtime.stash(key, player, str(rolled).encode(), ROLL_S)
        return (f"{chat_name(context.session.name)} rolls {rolled} point(s)",)

    def rows(self) -> tuple[CommandRow, ...]:
        """Return the declarations of the commands."""
        best_of = Argument("best_of")
        points = Argument("red"), Argument("blue", ArgumentKind.NUMBER, most=POINTS_MAX)
        return (
            ("scrim", ("autoref",), self.scrim, (best_of,), "Starts a scrim: bo1 to bo15, odd numbers. 0 ends it."),
            ("endscrim", ("end",), self.end_scrim, (), "Ends the scrim."),
            ("rematch", ("rm",), self.rematch, (), "Restarts a finished scrim, or removes the last point."),
            ("points", (), self.points, points, "Sets the points of both teams, or of a player."),
            ("loadpool", ("lp",), self.load_pool, (Argument("pool"),), "Selects the mappool for picks."),
            ("unloadpool", ("ulp",), self.unload_pool, (), "Removes the mappool."),
            ("pick", (), self.pick, (PICK, Argument("force", ArgumentKind.CHOICE, optional=True, choices=("force",))),
             "Selects a map of the pool with its mods."),
            ("banpick", (), self.ban_pick, (PICK,), "Bans a map of the pool from picks."),
            ("unbanpick", (), self.unban_pick, (PICK,), "Removes the ban of a map."),
            ("picks", (), self.picks, (), "Lists the remaining maps."),
            ("roll", (), self.roll, (), "Rolls a number from 1 to 100, once for each player."),
        )  # fmt: skip

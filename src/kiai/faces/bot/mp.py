"""`!mp`, the commands of hosts and referees (docs/spec/multiplayer.md#commands-of-referees).

Tournament tools parse many of the answers, so their wording is fixed (docs/operate/bot.md, Leading a match). The rules
of the match check the rights (`commands.Right`). A player without the right gets no answer, as on the official server.
"""

import contextlib
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from kiai.accounts import User
from kiai.beatmaps import Beatmaps
from kiai.chat.bot import (
    USERS_MAX,
    Argument,
    ArgumentKind,
    BadArgument,
    BotCommand,
    CommandContext,
    CommandScope,
    NamedPlayer,
)
from kiai.errors import NotFound, Refused
from kiai.faces.bot import mp_lines
from kiai.faces.bot.mp_runs import GROUP, CommandRow, MatchRuns, choice_of, room_of
from kiai.faces.bot.mp_scrims import ScrimCommands
from kiai.multiplayer import commands
from kiai.multiplayer.lines import countdown_line
from kiai.multiplayer.match import Match, NotReferee, NotSeated, PlayInProgress, seat_of
from kiai.multiplayer.model import BLUE, COUNTDOWN, PP, RED, SLOTS, START
from kiai.multiplayer.pools import Mappools
from kiai.multiplayer.service import AlreadySeated, Matches, TooManyRooms
from kiai.osu.durations import duration_text
from kiai.osu.links import parse_map_link
from kiai.osu.mods import parse_mods
from kiai.osu.numbers import whole_number
from kiai.osu.privileges import STAFF, effective, may
from kiai.osu.texts import chat_name, chat_text
from kiai.realtime.port import Realtime, Session
from kiai.staff.match_acts import MatchActs

TEAM_TYPES: Final = {
    "ffa": 0,
    "head-to-head": 0,
    "tag": 1,
    "tag-coop": 1,
    "teams": 2,
    "team-vs": 2,
    "tag-teams": 3,
    "tag-team-vs": 3,
}
# pp is a win condition of scrims only.
CONDITIONS: Final = {"score": 0, "acc": 1, "accuracy": 1, "combo": 2, "v2": 3, "scorev2": 3, "pp": PP}
# ScoreV1 and ScoreV2 by number.
SCORE_VERSIONS: Final = {"1": 0, "2": 3}
TEAMS: Final = {"red": RED, "blue": BLUE}
FREE_MODS: Final = frozenset(("freemod", "freemods", "fm"))
# Seconds. The rules of the match have the same bounds; checked here for an answer that names the range.
START_S_MAX: Final = 300
TIMER_S_MAX: Final = 900
TIMER_S: Final = 30  # the default of `!mp timer` on the official server
# A creator who adds and removes the same referee again and again must not flood them with messages.
REFEREE_NOTICE_EVERY_S: Final = 3_600.0
SETTINGS_LINES_MAX: Final = 5 + SLOTS  # tools need all lines, so the bot's limit of 10 does not apply
FOR_ALL: Final = frozenset(("help", "link", "settings", "listrefs", "picks", "roll"))
"""Commands that every player in the match may use (docs/spec/multiplayer.md#commands-of-referees)."""
AUDITED: Final = {"close": "mp_close", "kick": "mp_kick", "ban": "mp_ban"}
"""Commands with an audit row when staff uses them in a match of another player, and their actions."""
# Fixed answers to missing or wrong arguments.
MISUSED: Final = {
    "name": "No name provided",
    "size": "Invalid or no size provided",
    "set": "Invalid or no settings provided",
    "map": "Invalid map ID provided",
    "team": "Require a <username> <colour> combo",
    "ban": "No user specified",
    "unban": "No user specified",
}

USER: Final = Argument("user", ArgumentKind.USER)
USERS: Final = Argument("users", ArgumentKind.USERS)
TEXT: Final = Argument("text", ArgumentKind.TEXT)
ON_OFF: Final = Argument("on", ArgumentKind.CHOICE, choices=("on", "off"))


_NUMBER_AND_UNIT: Final = re.compile(r"[0-9]+[smh]?", re.IGNORECASE)


class MatchCommands:
    """Handlers of the `!mp` commands.

    `player` returns the user that a word names. `post` sends a line of the bot to a channel. `notify` sends one to a
    player, given by id and name.
    """

    def __init__(
        self,
        matches: Matches,
        acts: MatchActs,
        realtime: Realtime,
        beatmaps: Beatmaps,
        pools: Mappools,
        link: Callable[[str], str],
        *,
        player: Callable[[CommandContext, str], Awaitable[User]],
        post: Callable[[str, str], Awaitable[None]],
        notify: Callable[[int, str, str], Awaitable[None]],
    ) -> None:
        self._runs = runs = MatchRuns(matches, acts, realtime)
        self._scrims = ScrimCommands(runs, realtime, beatmaps, pools, player)
        self._matches = matches
        self._acts = acts
        self._player = player
        self._realtime = realtime
        self._beatmaps = beatmaps
        self._link = link
        self._post = post
        self._notify = notify

    # --- creating and closing

    async def make(self, context: CommandContext, name: str | None) -> Sequence[str]:
        """`!mp make`."""
        return await self._make(context.session, name, private=False)

    async def make_private(self, context: CommandContext, name: str | None) -> Sequence[str]:
        """`!mp makeprivate`."""
        return await self._make(context.session, name, private=True)

    async def _make(self, session: Session, name: str | None, *, private: bool) -> Sequence[str]:
        if name is None:
            return ("No name provided",)
        try:
            # A random password keeps players out until the referee invites them or sets another one.
            _, match_id = await self._acts.make(session, name, secrets.token_hex(4), private=private)
        except TooManyRooms:
            return (mp_lines.TOO_MANY_ROOMS,)
        match = await self._realtime.match(match_id, Match)
        if match is None:
            raise NotFound("match")
        return (f"Created the tournament match {self._link(f'mp/{match.history_id}')} {chat_text(match.name)}",)

    async def close(self, context: CommandContext) -> Sequence[str]:
        """`!mp close`."""
        await self._runs.run(context, commands.Close)
        return ()  # the service posts the line before the channel closes

    # --- settings

    async def name(self, context: CommandContext, text: str) -> Sequence[str]:
        """`!mp name`."""
        return await self._runs.run_and_answer(
            context, lambda match: f'Room name updated to "{chat_text(match.name)}"', commands.SetName, name=text
        )

    async def password(self, context: CommandContext, text: str | None) -> Sequence[str]:
        """`!mp password`. The channel gets a line that the password changed, without the password."""
        outcome = await self._runs.run(context, commands.SetPassword, password=text or "")
        if outcome is not None:
            line = "Changed the match password" if outcome.match.password else "Removed the match password"
            await self._post(context.channel, line)
        return ()

    async def random_password(self, context: CommandContext) -> Sequence[str]:
        """`!mp randpw`. The referees get the password in private messages."""
        outcome = await self._runs.run(context, commands.SetPassword, password=secrets.token_hex(4))
        if outcome is None:
            return ()
        await self._post(context.channel, "Changed the match password")
        line = f"The password of {chat_text(outcome.match.name)} is {outcome.match.password}"
        for user_id, name in outcome.match.referees:
            if user_id != context.session.user_id:  # the player who used the command gets the answer
                await self._notify(user_id, name, line)
        return (line,)

    async def lock(self, context: CommandContext, what: str | None) -> Sequence[str]:
        """`!mp lock`."""
        if what:
            return await self._runs.run_and_answer(
                context, lambda _: "Locked the unused slots", commands.SetSlotsLocked, on=True
            )
        return await self._runs.run_and_answer(context, lambda _: "Locked the match", commands.SetSeatsLocked, on=True)

    async def unlock(self, context: CommandContext, what: str | None) -> Sequence[str]:
        """`!mp unlock`."""
        if what:
            return await self._runs.run_and_answer(
                context, lambda _: "Unlocked the unused slots", commands.SetSlotsLocked, on=False
            )
        return await self._runs.run_and_answer(
            context, lambda _: "Unlocked the match", commands.SetSeatsLocked, on=False
        )

    async def size(self, context: CommandContext, size: int) -> Sequence[str]:
        """`!mp size`."""
        try:
            return await self._runs.run_and_answer(
                context, lambda _: f"Changed match to size {size}", commands.SetSize, size=size
            )
        except Refused as refused:
            return _misused("size", refused)

    async def set(
        self, context: CommandContext, team_mode: int, score_mode: int | None, size: int | None
    ) -> Sequence[str]:
        """`!mp set`."""

        def line(match: Match) -> str:
            parts = [] if size is None else [f"{size} slots"]
            # The line names only the settings that were given. The team mode is a required argument.
            parts.append(mp_lines.TEAM_MODES[match.team_type])
            if score_mode is not None:
                parts.append(mp_lines.condition(match))
            return f"Changed match settings to {', '.join(parts)}"

        try:
            return await self._runs.run_and_answer(
                context, line, commands.SetRoom, team_type=team_mode, win_condition=score_mode, size=size
            )
        except Refused as refused:
            return _misused("set", refused)

    async def teams(self, context: CommandContext, kind: str) -> Sequence[str]:
        """`!mp teams`."""
        return await self._runs.run_and_answer(
            context,
            lambda match: f"Changed match settings to {mp_lines.TEAM_MODES[match.team_type]}",
            commands.SetTeamType,
            team_type=TEAM_TYPES[kind],
        )

    async def condition(self, context: CommandContext, kind: str) -> Sequence[str]:
        """`!mp condition`."""
        return await self._runs.run_and_answer(
            context,
            lambda match: f"Changed win condition to {mp_lines.condition(match)}",
            commands.SetWinCondition,
            win_condition=CONDITIONS[kind],
        )

    async def score_version(self, context: CommandContext, version: str) -> Sequence[str]:
        """`!mp scorev`."""
        return await self._runs.run_and_answer(
            context,
            lambda match: f"Changed win condition to {mp_lines.condition(match)}",
            commands.SetWinCondition,
            win_condition=SCORE_VERSIONS[version],
        )

    async def settings(self, context: CommandContext, single: str | None) -> Sequence[str]:
        """`!mp settings`. With `single`, all in one line."""
        lines = mp_lines.settings(await self._runs.match(context), self._link)
        return (" | ".join(lines),) if single is not None and single.lower() == "single" else lines

    async def match_link(self, context: CommandContext) -> Sequence[str]:
        """`!mp link`."""
        match = await self._runs.match(context)
        return (self._link(f"community/matches/{match.history_id}"),)

    # --- players and referees

    async def invite(self, context: CommandContext, user: User) -> Sequence[str]:
        """`!mp invite`."""
        try:
            await self._matches.invite(context.session, room_of(context), user.id)
        except AlreadySeated:
            return ("User is already in the room",)
        return (f"Invited {chat_name(user.name)} to the room",)

    async def force(self, context: CommandContext, user: User) -> Sequence[str]:
        """`!mp force`."""
        try:
            await self._acts.force(context.session, room_of(context), user)
        except AlreadySeated:
            return ("User is already in the room",)
        return (f"Seated {chat_name(user.name)} in the match",)

    async def move(self, context: CommandContext, user: User, slot: int) -> Sequence[str]:
        """`!mp move`."""
        try:
            return await self._runs.run_and_answer(
                # Slots count from 1 in commands and from 0 in the rules.
                context,
                lambda _: f"Moved {chat_name(user.name)} into slot {slot}",
                commands.Move,
                user_id=user.id,
                slot=slot - 1,
            )
        except NotSeated:
            return (mp_lines.NOT_IN_ROOM,)
        except Refused:
            return (f"Failed to move player to slot {slot}",)

    async def host(self, context: CommandContext, user: User) -> Sequence[str]:
        """`!mp host`."""
        return await self._runs.run_on_seated(
            context, f"Changed match host to {chat_name(user.name)}", commands.SetHost, user_id=user.id
        )

    async def clear_host(self, context: CommandContext) -> Sequence[str]:
        """`!mp clearhost`."""
        return await self._runs.run_and_answer(context, lambda _: "Cleared match host", commands.ClearHost)

    async def team(self, context: CommandContext, user: User, team: str) -> Sequence[str]:
        """`!mp team`."""
        side = TEAMS[team]
        line = f"Moved {chat_name(user.name)} to team {mp_lines.colour(side)}"
        return await self._runs.run_on_seated(context, line, commands.SetTeam, user_id=user.id, team=side)

    async def kick(self, context: CommandContext, user: User) -> Sequence[str]:
        """`!mp kick`."""
        line = f"Kicked {chat_name(user.name)} from the match"
        staff = _is_staff(user)
        return await self._runs.run_on_seated(context, line, commands.Kick, user_id=user.id, target_staff=staff)

    async def ban(self, context: CommandContext, user: str) -> Sequence[str]:
        """`!mp ban`, for a player, or for a pick if the loaded mappool has one of that name."""
        if await self._scrims.is_pick(context, user):
            return await self._scrims.ban_pick(context, user)
        return await self._ban_player(context, await self._player(context, user))

    async def _ban_player(self, context: CommandContext, user: User) -> Sequence[str]:
        line = f"Banned {chat_name(user.name)} from the match"
        staff = _is_staff(user)
        return await self._runs.run_on_seated(context, line, commands.BanPlayer, user_id=user.id, target_staff=staff)

    async def unban(self, context: CommandContext, user: str) -> Sequence[str]:
        """`!mp unban`, as `ban`."""
        if await self._scrims.is_pick(context, user):
            return await self._scrims.unban_pick(context, user)
        player = await self._player(context, user)
        line = f"Unbanned {chat_name(player.name)} from the match"
        return await self._runs.run_and_answer(context, lambda _: line, commands.UnbanPlayer, user_id=player.id)

    async def add_referees(self, context: CommandContext, users: Sequence[NamedPlayer]) -> Sequence[str]:
        """`!mp addref`."""
        lines: list[str] = []
        for named in users:
            user = named.user
            if user is None:
                lines.append(f"User not found: {chat_name(named.text)}")
                continue
            try:
                outcome = await self._runs.run(context, commands.AddReferee, user_id=user.id, name=user.name)
            except Refused as refused:
                lines.append(f"{chat_name(user.name)}: {chat_text(refused.reason)}")
                continue
            if outcome is None:
                return ()
            lines.append(f"Added {chat_name(user.name)} to the match referees")
            await self._notify_referee(context, user, outcome.match)
        return lines

    async def _notify_referee(self, context: CommandContext, user: User, match: Match) -> None:
        """Send a new referee without a seat the command that joins the match's channel."""
        key = f"referee:{match.history_id}:{user.id}"
        if seat_of(match, user.id) is None and await self._realtime.once(key, REFEREE_NOTICE_EVERY_S):
            made_referee = f"{chat_name(context.session.name)} made you a referee of {chat_text(match.name)}"
            await self._notify(user.id, user.name, f"{made_referee}: /join {context.channel}")

    async def remove_referees(self, context: CommandContext, users: Sequence[NamedPlayer]) -> Sequence[str]:
        """`!mp removeref`."""
        lines: list[str] = []
        for named in users:
            user = named.user
            if user is None:
                lines.append(f"User not found: {chat_name(named.text)}")
                continue
            try:
                outcome = await self._runs.run(context, commands.RemoveReferee, user_id=user.id)
            except NotReferee:
                lines.append(f"{chat_name(user.name)} is not a match referee")
                continue
            except Refused as refused:
                lines.append(f"{chat_name(user.name)}: {chat_text(refused.reason)}")
                continue
            if outcome is None:
                return ()
            lines.append(f"Removed {chat_name(user.name)} from the match referees")
        return lines

    async def list_referees(self, context: CommandContext) -> Sequence[str]:
        """`!mp listrefs`."""
        return ["Match referees:", *(chat_name(name) for _, name in (await self._runs.match(context)).referees)]

    # --- map and mods

    async def map(self, context: CommandContext, beatmap: str, mode: int | None) -> Sequence[str]:
        """`!mp map`."""
        link = parse_map_link(beatmap)
        if link is None or link.map_id is None:
            raise BadArgument("map must be the id or the link of a beatmap.")
        try:
            found = await self._beatmaps.find_or_fetch(id=link.map_id)
        except NotFound:
            return ("Invalid map ID provided",)
        mode = link.mode if mode is None else mode
        outcome = await self._runs.run(context, commands.SetMap, **choice_of(found, mode))
        if outcome is None:
            return ()
        # Without the difficulty: tools compare the whole line with that of the official server.
        title = chat_text(f"{found.artist} - {found.title}")
        lines = [f"Changed beatmap to {self._link(f'b/{found.id}')} {title}"]
        if mode is not None:
            lines.append(f"Changed match mode to {mp_lines.MODES[outcome.match.mode]}")
        return lines

    async def mods(self, context: CommandContext, mods: str | None) -> Sequence[str]:
        """`!mp mods`. Unknown words are ignored, because tools append random ones."""
        bits, free = 0, False
        for word in (mods or "").lower().replace(",", " ").split():
            if word in FREE_MODS:
                free = True
                continue
            with contextlib.suppress(ValueError):
                bits |= parse_mods("" if word == "none" else word)
        return await self._runs.run_and_answer(context, mp_lines.mods, commands.SetMods, mods=bits, free_mods=free)

    async def free_mods(self, context: CommandContext, on: str) -> Sequence[str]:
        """`!mp freemods`."""
        return await self._runs.run_and_answer(context, mp_lines.mods, commands.SetFreeMods, on=on == "on")

    # --- start and timers

    async def start(self, context: CommandContext, when: str | None) -> Sequence[str]:
        """`!mp start`."""
        if _is_cancel(when):
            return await self._cancel(context, START)
        seconds = _seconds(when, START_S_MAX)
        try:
            if seconds is not None:
                line = f"Queued the match to start in {duration_text(seconds)}"
                return await self._runs.run_and_answer(context, lambda _: line, commands.StartAfter, seconds=seconds)
            return await self._runs.run_and_answer(
                context, lambda _: "Started the match", commands.Start, force=(when or "").lower() == "force"
            )
        except PlayInProgress:
            return ("The match has already been started",)

    async def abort(self, context: CommandContext) -> Sequence[str]:
        """`!mp abort`."""
        try:
            return await self._runs.run_and_answer(context, lambda _: "Aborted the match", commands.Abort)
        except Refused:
            return ("The match is not in progress",)

    async def timer(self, context: CommandContext, when: str | None) -> Sequence[str]:
        """`!mp timer`."""
        if _is_cancel(when):
            return await self._cancel(context, COUNTDOWN)
        seconds = _seconds(when, TIMER_S_MAX) or TIMER_S
        line = countdown_line(COUNTDOWN, seconds)
        return await self._runs.run_and_answer(context, lambda _: line, commands.StartTimer, seconds=seconds)

    async def stop_timers(self, context: CommandContext) -> Sequence[str]:
        """`!mp aborttimer`."""
        return await self._cancel(context, START, COUNTDOWN)

    async def _cancel(self, context: CommandContext, *kinds: str) -> Sequence[str]:
        outcome = await self._runs.run(context, commands.CancelTimers, kinds=kinds)
        return () if outcome is None else mp_lines.timers_stopped(outcome.events)

    async def help(self, context: CommandContext) -> Sequence[str]:
        """`!mp help`."""

        session = context.session
        usable = [cmd for cmd in self.commands() if not cmd.permission or may(session.priv, cmd.permission)]
        names = [command.name for command in usable]
        return (f"!mp {' | '.join(names)}",)

    def commands(self) -> list[BotCommand]:
        """Return the declarations of the `!mp` commands."""
        slot = Argument("slot", ArgumentKind.NUMBER, least=1, most=16)
        user_or_pick = Argument("user")  # a word: the handler looks for a pick first
        mode = Argument("mode", ArgumentKind.NUMBER, optional=True, most=3)
        when = Argument("when", optional=True)
        slots = Argument("what", ArgumentKind.CHOICE, optional=True, choices=("slots",))
        set_arguments = (
            Argument("team_mode", ArgumentKind.NUMBER, most=3),
            Argument("score_mode", ArgumentKind.NUMBER, optional=True, most=3),
            Argument("size", ArgumentKind.NUMBER, optional=True, least=1, most=16),
        )
        rows: tuple[CommandRow, ...] = (
            ("help", ("h",), self.help, (), "Lists the `!mp` commands."),
            ("close", ("terminate", "disband"), self.close, (), "Closes the match."),
            ("name", ("setname",), self.name, (TEXT,), "Renames the match."),
            ("lock", (), self.lock, (slots,), "Locks slots and teams, or the unused slots."),
            ("unlock", (), self.unlock, (slots,), "Unlocks slots and teams, or the unused slots."),
            ("size", (), self.size, (Argument("size", ArgumentKind.NUMBER, least=1, most=16),),
             "Sets the number of slots."),
            ("set", (), self.set, set_arguments, "Sets the team mode, win condition and size, as numbers."),
            ("teams", (), self.teams, (Argument("kind", ArgumentKind.CHOICE, choices=tuple(TEAM_TYPES)),),
             "Sets the team mode."),
            ("condition", ("cond",), self.condition,
             (Argument("kind", ArgumentKind.CHOICE, choices=tuple(CONDITIONS)),), "Sets the win condition."),
            ("scorev", (), self.score_version,
             (Argument("version", ArgumentKind.CHOICE, choices=tuple(SCORE_VERSIONS)),),
             "Sets the win condition: 1 score, 2 ScoreV2."),
            ("invite", ("inv", "i"), self.invite, (USER,), "Invites a player."),
            ("move", (), self.move, (USER, slot), "Moves a player to another slot."),
            ("host", ("sethost",), self.host, (USER,), "Makes a player the host."),
            ("clearhost", ("removehost", "ch"), self.clear_host, (), "Removes the host."),
            ("settings", (), self.settings, (Argument("single", optional=True),),
             "Shows the settings and players. With `single`, in one line."),
            ("start", ("st",), self.start, (when,),
             "Starts the match now or in 1 to 300 seconds. Also: force, cancel."),
            ("abort", ("a",), self.abort, (), "Aborts the match."),
            ("timer", ("countdown", "wait"), self.timer, (when,),
             "Starts a countdown of 1 to 900 seconds. Also: cancel."),
            ("aborttimer", ("stoptimer", "canceltimer", "at"), self.stop_timers, (),
             "Cancels the countdown and the delayed start."),
            ("map", ("setmap", "beatmap"), self.map, (Argument("beatmap"), mode), "Selects a map by id or link."),
            ("mods", ("setmods",), self.mods, (Argument("mods", ArgumentKind.TEXT, optional=True),),
             "Sets the mods, for example HDHR, freemod or none."),
            ("freemods", ("freemod", "fm", "fmods"), self.free_mods, (ON_OFF,), "Turns free mod on or off."),
            ("team", ("setteam",), self.team,
             (USER, Argument("team", ArgumentKind.CHOICE, choices=("red", "blue"))), "Puts a player on a team."),
            ("kick", ("remove",), self.kick, (USER,), "Kicks a player."),
            ("ban", (), self.ban, (user_or_pick,),
             "Kicks a player and keeps them from joining again. Also bans a pick of the mappool."),
            ("unban", (), self.unban, (user_or_pick,), "Lets a banned player join again. Also for picks."),
            ("addref", ("addreferee",), self.add_referees, (USERS,), "Adds referees. Referees need no slot."),
            ("removeref", ("rmref", "remref"), self.remove_referees, (USERS,), "Removes referees."),
            ("listrefs", ("listref",), self.list_referees, (), "Lists the referees."),
            ("link", ("url",), self.match_link, (), "Links the page of the match."),
            *self._scrims.rows(),
        )  # fmt: skip
        visible = [
            BotCommand(
                name=name,
                aliases=aliases,
                handler=handler,
                arguments=arguments,
                help=about,
                scope=CommandScope.MATCH,
                group=GROUP,
                ignores_extra=True,
                misuse_reply=MISUSED.get(name, ""),
                allowed=None if name in FOR_ALL else self._runs.leads,
                audit=AUDITED.get(name, ""),
                lines_max=SETTINGS_LINES_MAX if name == "settings" else USERS_MAX,
            )
            for name, aliases, handler, arguments, about in rows
        ]
        return [*visible, *self._more_commands()]

    def _more_commands(self) -> list[BotCommand]:
        """Return the declarations of the command of staff and of the hidden commands."""
        password = Argument("text", ArgumentKind.TEXT, optional=True)
        match_name = Argument("name", ArgumentKind.TEXT, optional=True)
        # Hidden: the first two would show a password to the channel.
        return [
            BotCommand(
                name="force",
                aliases=("forceinvite",),
                handler=self.force,
                arguments=(USER,),
                help="Seats a player without invitation and password.",
                permission="matches.force",
                audit="mp_force",
                scope=CommandScope.MATCH,
                group=GROUP,
                ignores_extra=True,
            ),
            self._hidden("password", ("setpassword", "pass", "p"), self.password, (password,),
                         "Sets or removes the password.", CommandScope.MATCH),
            self._hidden("randpw", ("randompassword",), self.random_password, (),
                         "Sets a random password and sends it to the referees.", CommandScope.MATCH),
            self._hidden("make", ("create",), self.make, (match_name,),
                         "Creates a match that stays open while it is empty.", CommandScope.DM),
            self._hidden("makeprivate", ("createprivate",), self.make_private, (match_name,),
                         "Creates a match whose history only its players can see.", CommandScope.DM),
        ]  # fmt: skip

    def _hidden(
        self,
        name: str,
        aliases: tuple[str, ...],
        handler: Any,
        arguments: tuple[Argument, ...],
        about: str,
        where: CommandScope,
    ) -> BotCommand:
        """Return the declaration of a command whose line and answer only its author sees."""
        return BotCommand(
            name=name,
            aliases=aliases,
            handler=handler,
            arguments=arguments,
            help=about,
            scope=where,
            hidden=True,
            group=GROUP,
            ignores_extra=True,
            allowed=self._runs.leads if where is CommandScope.MATCH else None,  # a DM concerns no match
            audit="mp_make" if where is CommandScope.DM else "",
        )


def _seconds(when: str | None, most: int) -> int | None:
    """Return the requested seconds, None without a number. Raises BadArgument.

    A word with letters counts as missing, because tools append random words such as `x7` and `8k3f9`. A number with a
    unit is an error: the match must not start at once for a player who means ten seconds.
    """
    if when is None or (when.isascii() and when.isalnum() and not _NUMBER_AND_UNIT.fullmatch(when)):
        return None
    seconds = whole_number(when, most, 1)
    if seconds is None:
        raise BadArgument(f"seconds must be a whole number from 1 to {most}.")
    return seconds


def _is_cancel(when: str | None) -> bool:
    return when is not None and when.lower() == "cancel"


def _misused(name: str, error: Refused) -> Sequence[str]:
    """Return the fixed answer to wrong arguments of a command, and the reason."""
    reason = chat_text(error.reason)
    return MISUSED[name], f"{reason[:1].upper()}{reason[1:]}."


def _is_staff(user: User) -> bool:
    return effective(user.priv) & STAFF != 0

"""`!mp`: leading a room (docs/spec/multiplayer.md#commands-of-referees). Answers say what became of the match, and stay
as they are: tournament tools read them.

Who may do what is the match's own rule (`commands.Right`); whoever has no right gets no answer at all.
"""

import contextlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from kiai.accounts import User
from kiai.beatmaps import Beatmap, Beatmaps
from kiai.beatmaps.model import full_title
from kiai.chat.bot import USERS_MAX, Argument, Asker, BadArgument, Command, Kind, Named, Where
from kiai.chat.model import match_of
from kiai.errors import NotFound, Refused
from kiai.faces.bot import mp_lines
from kiai.multiplayer import commands
from kiai.multiplayer.facts import PointsSet
from kiai.multiplayer.lines import counting_down
from kiai.multiplayer.match import BeingPlayed, Match, NoReferee, NotSeated, seat_of
from kiai.multiplayer.model import BLUE, COUNTDOWN, PP, RED, SLOTS, START
from kiai.multiplayer.pools import Pools
from kiai.multiplayer.service import AlreadySeated, Led, Matches, RoomsFull
from kiai.osu.durations import duration_text
from kiai.osu.links import parse_map_link
from kiai.osu.mods import parse_mods
from kiai.osu.numbers import whole_number
from kiai.osu.privileges import STAFF, effective
from kiai.osu.texts import chat_name, chat_text
from kiai.realtime.port import Realtime, Session

GROUP: Final = "mp"
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
CONDITIONS: Final = {"score": 0, "acc": 1, "accuracy": 1, "combo": 2, "v2": 3, "scorev2": 3, "pp": PP}
TEAMS: Final = {"red": RED, "blue": BLUE}
FREE_MODS: Final = frozenset(("freemod", "freemods", "fm"))
START_S_MAX: Final = 300
TIMER_S_MAX: Final = 900
TIMER_S: Final = 30
REFEREE_TOLD_EVERY_S: Final = 3_600.0
SETTINGS_LINES_MAX: Final = 5 + SLOTS
FOR_ALL: Final = frozenset(("help", "link", "settings", "listrefs", "picks"))
"""What everybody in the room may ask; who does not lead it gets no answer to anything else.

See docs/spec/multiplayer.md#commands-of-referees.
"""
MISUSED: Final = {
    "name": "No name provided",
    "size": "Invalid or no size provided",
    "set": "Invalid or no settings provided",
    "map": "Invalid map ID provided",
    "team": "Require a <username> <colour> combo",
}

USER: Final = Argument("user", Kind.USER)
USERS: Final = Argument("users", Kind.USERS)
TEXT: Final = Argument("text", Kind.TEXT)
PICK: Final = Argument("pick")
ON_OFF: Final = Argument("on", Kind.CHOICE, choices=("on", "off"))


class MatchCommands:
    """What hosts and referees say in their room.

    `post` says a line in a channel, `tell` one to a player by id and name; both in the bot's name.
    """

    def __init__(
        self,
        rooms: Matches,
        realtime: Realtime,
        beatmaps: Beatmaps,
        pools: Pools,
        link: Callable[[str], str],
        *,
        post: Callable[[str, str], Awaitable[None]],
        tell: Callable[[int, str, str], Awaitable[None]],
    ) -> None:
        self._rooms = rooms
        self._realtime = realtime
        self._beatmaps = beatmaps
        self._pools = pools
        self._link = link
        self._post = post
        self._tell = tell

    async def _lead(self, asker: Asker, command: type[commands.Command], **fields: Any) -> Led | None:
        return await self._rooms.lead(asker.session, _room(asker), command, **fields)

    async def _told(
        self, asker: Asker, line: Callable[[Match], str], command: type[commands.Command], **fields: Any
    ) -> Sequence[str]:
        """Gives the command; the line about the match afterwards, and nothing to who has no right to it."""
        led = await self._lead(asker, command, **fields)
        return () if led is None else (line(led.match),)

    async def _match(self, asker: Asker) -> Match:
        match = await self._realtime.match(_room(asker), Match)
        if match is None:
            raise NotFound("match")
        return match

    # --- making and closing

    async def make(self, asker: Asker, name: str | None) -> Sequence[str]:
        """`!mp make`."""
        return await self._make(asker.session, name, private=False)

    async def make_private(self, asker: Asker, name: str | None) -> Sequence[str]:
        """`!mp makeprivate`."""
        return await self._make(asker.session, name, private=True)

    async def _make(self, session: Session, name: str | None, *, private: bool) -> Sequence[str]:
        if name is None:
            return ("No name provided",)
        try:
            _, match_id = await self._rooms.make(session, name, secrets.token_hex(4), private=private)
        except RoomsFull:
            return (mp_lines.TOO_MANY_ROOMS,)
        match = await self._realtime.match(match_id, Match)
        if match is None:
            raise NotFound("match")
        return (f"Created the tournament match {self._link(f'mp/{match.history_id}')} {chat_text(match.name)}",)

    async def close(self, asker: Asker) -> Sequence[str]:
        """`!mp close`."""
        await self._lead(asker, commands.Close)
        return ()

    # --- the room

    async def name(self, asker: Asker, text: str) -> Sequence[str]:
        """`!mp name`."""
        return await self._told(
            asker, lambda match: f'Room name updated to "{chat_text(match.name)}"', commands.SetName, name=text
        )

    async def password(self, asker: Asker, text: str | None) -> Sequence[str]:
        """`!mp password`. The room hears that it changed; the line that says it to what is nobody's business."""
        led = await self._lead(asker, commands.SetPassword, password=text or "")
        if led is not None:
            line = "Changed the match password" if led.match.password else "Removed the match password"
            await self._post(asker.where, line)
        return ()

    async def random_password(self, asker: Asker) -> Sequence[str]:
        """`!mp randpw`. The referees are told the password, in private."""
        led = await self._lead(asker, commands.SetPassword, password=secrets.token_hex(4))
        if led is None:
            return ()
        await self._post(asker.where, "Changed the match password")
        line = f"The password of {chat_text(led.match.name)} is {led.match.password}"
        for user_id, name in led.match.referees:
            if user_id != asker.session.user_id:
                await self._tell(user_id, name, line)
        return (line,)

    async def lock(self, asker: Asker, what: str | None) -> Sequence[str]:
        """`!mp lock`."""
        if what:
            return await self._told(asker, lambda _: "Locked the unused slots", commands.SetSlotsLocked, on=True)
        return await self._told(asker, lambda _: "Locked the match", commands.SetSeatsLocked, on=True)

    async def unlock(self, asker: Asker, what: str | None) -> Sequence[str]:
        """`!mp unlock`."""
        if what:
            return await self._told(asker, lambda _: "Unlocked the unused slots", commands.SetSlotsLocked, on=False)
        return await self._told(asker, lambda _: "Unlocked the match", commands.SetSeatsLocked, on=False)

    async def size(self, asker: Asker, size: int) -> Sequence[str]:
        """`!mp size`."""
        return await self._told(asker, lambda _: f"Changed match to size {size}", commands.SetSize, size=size)

    async def set(self, asker: Asker, team_mode: int, score_mode: int | None, size: int | None) -> Sequence[str]:
        """`!mp set`."""

        def line(match: Match) -> str:
            parts = [] if size is None else [f"{size} slots"]
            parts.append(mp_lines.TEAM_MODES[match.team_type])
            if score_mode is not None:
                parts.append(mp_lines.condition(match))
            return f"Changed match settings to {', '.join(parts)}"

        return await self._told(asker, line, commands.SetRoom, team_type=team_mode, win_condition=score_mode, size=size)

    async def teams(self, asker: Asker, kind: str) -> Sequence[str]:
        """`!mp teams`."""
        return await self._told(
            asker,
            lambda match: f"Changed match settings to {mp_lines.TEAM_MODES[match.team_type]}",
            commands.SetTeamType,
            team_type=TEAM_TYPES[kind],
        )

    async def condition(self, asker: Asker, kind: str) -> Sequence[str]:
        """`!mp condition`."""
        return await self._told(
            asker,
            lambda match: f"Changed win condition to {mp_lines.condition(match)}",
            commands.SetWinCondition,
            win_condition=CONDITIONS[kind],
        )

    async def settings(self, asker: Asker, single: str | None) -> Sequence[str]:
        """`!mp settings`."""
        return mp_lines.settings(await self._match(asker), self._link)

    async def match_link(self, asker: Asker) -> Sequence[str]:
        """`!mp link`."""
        match = await self._match(asker)
        return (self._link(f"community/matches/{match.history_id}"),)

    # --- who is there

    async def invite(self, asker: Asker, user: User) -> Sequence[str]:
        """`!mp invite`."""
        try:
            await self._rooms.invite(asker.session, _room(asker), user.id)
        except AlreadySeated:
            return ("User is already in the room",)
        return (f"Invited {chat_name(user.name)} to the room",)

    async def move(self, asker: Asker, user: User, slot: int) -> Sequence[str]:
        """`!mp move`."""
        try:
            return await self._told(
                asker,
                lambda _: f"Moved {chat_name(user.name)} into slot {slot}",
                commands.Move,
                user_id=user.id,
                slot=slot - 1,
            )
        except NotSeated:
            return (mp_lines.NOT_IN_ROOM,)
        except Refused:
            return (f"Failed to move player to slot {slot}",)

    async def host(self, asker: Asker, user: User) -> Sequence[str]:
        """`!mp host`."""
        return await self._about_seated(
            asker, f"Changed match host to {chat_name(user.name)}", commands.SetHost, user_id=user.id
        )

    async def _about_seated(
        self, asker: Asker, line: str, command: type[commands.Command], **fields: Any
    ) -> Sequence[str]:
        try:
            return await self._told(asker, lambda _: line, command, **fields)
        except NotSeated:
            return (mp_lines.NOT_SEATED,)

    async def clear_host(self, asker: Asker) -> Sequence[str]:
        """`!mp clearhost`."""
        return await self._told(asker, lambda _: "Cleared match host", commands.ClearHost)

    async def team(self, asker: Asker, user: User, team: str) -> Sequence[str]:
        """`!mp team`."""
        side = TEAMS[team]
        line = f"Moved {chat_name(user.name)} to team {mp_lines.colour(side)}"
        return await self._about_seated(asker, line, commands.SetTeam, user_id=user.id, team=side)

    async def kick(self, asker: Asker, user: User) -> Sequence[str]:
        """`!mp kick`."""
        line = f"Kicked {chat_name(user.name)} from the match"
        staff = _is_staff(user)
        return await self._about_seated(asker, line, commands.Kick, user_id=user.id, target_staff=staff)

    async def ban(self, asker: Asker, user: User) -> Sequence[str]:
        """`!mp ban`."""
        line = f"Banned {chat_name(user.name)} from the match"
        staff = _is_staff(user)
        return await self._about_seated(asker, line, commands.BanPlayer, user_id=user.id, target_staff=staff)

    async def unban(self, asker: Asker, user: User) -> Sequence[str]:
        """`!mp unban`."""
        line = f"Unbanned {chat_name(user.name)} from the match"
        return await self._told(asker, lambda _: line, commands.UnbanPlayer, user_id=user.id)

    async def add_referees(self, asker: Asker, users: Sequence[Named]) -> Sequence[str]:
        """`!mp addref`."""
        lines: list[str] = []
        for named in users:
            user = named.user
            if user is None:
                lines.append(f"User not found: {chat_name(named.text)}")
                continue
            try:
                led = await self._lead(asker, commands.AddReferee, user_id=user.id, name=user.name)
            except Refused as refused:
                lines.append(f"{chat_name(user.name)}: {chat_text(refused.reason)}")
                continue
            if led is None:
                return ()
            lines.append(f"Added {chat_name(user.name)} to the match referees")
            await self._tell_referee(asker, user, led.match)
        return lines

    async def _tell_referee(self, asker: Asker, user: User, match: Match) -> None:
        """Tells a new referee without a seat how to get into the room's channel."""
        told = f"referee:{match.history_id}:{user.id}"
        if seat_of(match, user.id) is None and await self._realtime.once(told, REFEREE_TOLD_EVERY_S):
            line = f"{chat_name(asker.session.name)} made you a referee of {chat_text(match.name)}: /join {asker.where}"
            await self._tell(user.id, user.name, line)

    async def remove_referees(self, asker: Asker, users: Sequence[Named]) -> Sequence[str]:
        """`!mp removeref`."""
        lines: list[str] = []
        for named in users:
            user = named.user
            if user is None:
                lines.append(f"User not found: {chat_name(named.text)}")
                continue
            try:
                led = await self._lead(asker, commands.RemoveReferee, user_id=user.id)
            except NoReferee:
                lines.append(f"{chat_name(user.name)} is not a match referee")
                continue
            except Refused as refused:
                lines.append(f"{chat_name(user.name)}: {chat_text(refused.reason)}")
                continue
            if led is None:
                return ()
            lines.append(f"Removed {chat_name(user.name)} from the match referees")
        return lines

    async def list_referees(self, asker: Asker) -> Sequence[str]:
        """`!mp listrefs`."""
        return ["Match referees:", *(chat_name(name) for _, name in (await self._match(asker)).referees)]

    # --- what is played

    async def map(self, asker: Asker, beatmap: str, mode: int | None) -> Sequence[str]:
        """`!mp map`."""
        link = parse_map_link(beatmap)
        if link is None or link.map_id is None:
            raise BadArgument("map is an id or a link.")
        try:
            found = await self._beatmaps.find_or_fetch(id=link.map_id)
        except NotFound:
            return ("Invalid map ID provided",)
        mode = link.mode if mode is None else mode
        led = await self._lead(asker, commands.SetMap, **_choice(found, mode))
        if led is None:
            return ()
        title = chat_text(f"{found.artist} - {found.title}")
        lines = [f"Changed beatmap to {self._link(f'b/{found.id}')} {title}"]
        if mode is not None:
            lines.append(f"Changed match mode to {mp_lines.MODES[led.match.mode]}")
        return lines

    async def mods(self, asker: Asker, mods: str | None) -> Sequence[str]:
        """`!mp mods`. Words that are no mods are ignored: tools append random ones."""
        bits, free = 0, False
        for word in (mods or "").lower().replace(",", " ").split():
            if word in FREE_MODS:
                free = True
                continue
            with contextlib.suppress(ValueError):
                bits |= parse_mods("" if word == "none" else word)
        return await self._told(asker, mp_lines.mods, commands.SetMods, mods=bits, free_mods=free)

    async def free_mods(self, asker: Asker, on: str) -> Sequence[str]:
        """`!mp freemods`."""
        return await self._told(asker, mp_lines.mods, commands.SetFreeMods, on=on == "on")

    # --- when

    async def start(self, asker: Asker, when: str | None) -> Sequence[str]:
        """`!mp start`."""
        if when == "cancel":
            return await self._cancel(asker, START)
        seconds = _seconds(when, START_S_MAX)
        try:
            if seconds is not None:
                line = f"Queued the match to start in {duration_text(seconds)}"
                return await self._told(asker, lambda _: line, commands.StartAfter, seconds=seconds)
            return await self._told(
                asker, lambda _: "Started the match", commands.Start, force=(when or "").lower() == "force"
            )
        except BeingPlayed:
            return ("The match has already been started",)

    async def abort(self, asker: Asker) -> Sequence[str]:
        """`!mp abort`."""
        try:
            return await self._told(asker, lambda _: "Aborted the match", commands.Abort)
        except Refused:
            return ("The match is not in progress",)

    async def timer(self, asker: Asker, when: str | None) -> Sequence[str]:
        """`!mp timer`."""
        if when == "cancel":
            return await self._cancel(asker, COUNTDOWN)
        seconds = _seconds(when, TIMER_S_MAX) or TIMER_S
        line = counting_down(COUNTDOWN, seconds)
        return await self._told(asker, lambda _: line, commands.StartTimer, seconds=seconds)

    async def stop_timers(self, asker: Asker) -> Sequence[str]:
        """`!mp aborttimer`."""
        return await self._cancel(asker, START, COUNTDOWN)

    async def _cancel(self, asker: Asker, *kinds: str) -> Sequence[str]:
        led = await self._lead(asker, commands.CancelTimers, kinds=kinds)
        return () if led is None else mp_lines.timers_stopped(led.facts)

    # --- scrims and pools

    async def scrim(self, asker: Asker, best_of: str) -> Sequence[str]:
        """`!mp scrim`."""
        number = whole_number(best_of.lower().removeprefix("bo"), most=99)
        if number is None:
            raise BadArgument("A scrim is bo1 to bo15, odd; 0 ends it.")
        if number == 0:
            await self._lead(asker, commands.EndScrim)
        else:
            await self._lead(asker, commands.BeginScrim, best_of=number)
        return ()  # the room hears that it began or ended

    async def end_scrim(self, asker: Asker) -> Sequence[str]:
        """`!mp endscrim`."""
        await self._lead(asker, commands.EndScrim)
        return ()

    async def rematch(self, asker: Asker) -> Sequence[str]:
        """`!mp rematch`."""
        await self._lead(asker, commands.Rematch)
        return ()

    async def points(self, asker: Asker, red: int, blue: int) -> Sequence[str]:
        """`!mp points`."""
        led = await self._lead(asker, commands.SetPoints, points=((RED, red), (BLUE, blue)))
        if led is None:
            return ()
        return (
            ", ".join(f"{chat_text(fact.name)} {fact.points}" for fact in led.facts if isinstance(fact, PointsSet))
            + ".",
        )

    async def load_pool(self, asker: Asker, pool: str) -> Sequence[str]:
        """`!mp loadpool`."""
        found = await self._pools.named(pool)
        line = f"The mappool {chat_text(found.name)} is loaded."
        return await self._told(asker, lambda _: line, commands.LoadPool, pool_id=found.id, name=found.name)

    async def unload_pool(self, asker: Asker) -> Sequence[str]:
        """`!mp unloadpool`."""
        return await self._told(asker, lambda _: "The mappool is unloaded.", commands.UnloadPool)

    async def pick(self, asker: Asker, pick: str, force: str | None) -> Sequence[str]:
        """`!mp pick`."""
        match = await self._match(asker)
        if not match.pool_id:
            raise BadArgument("No mappool is loaded.")
        wanted = pick.upper()
        for one in await self._pools.picks(match.pool_id):
            if f"{one.mods}{one.slot}" == wanted:
                found = await self._beatmaps.find_or_fetch(id=one.map_id)
                free = one.mods in ("FM", "TB")
                bits = 0 if free or one.mods == "NM" else parse_mods(one.mods)
                return await self._told(
                    asker,
                    lambda match: f"Picked {wanted}: {chat_text(match.map_name)}. {mp_lines.mods(match)}",
                    commands.Pick,
                    pick=wanted,
                    mods=bits,
                    free_mods=free,
                    force=bool(force),
                    **_choice(found, None),
                )
        raise BadArgument(f"{wanted[:16]} is not in the pool.")

    async def ban_pick(self, asker: Asker, pick: str) -> Sequence[str]:
        """`!mp banpick`."""
        return await self._told(
            asker, lambda _: f"{chat_text(pick.upper())} is banned.", commands.BanPick, pick=pick.upper()
        )

    async def unban_pick(self, asker: Asker, pick: str) -> Sequence[str]:
        """`!mp unbanpick`."""
        line = f"{chat_text(pick.upper())} may be picked."
        return await self._told(asker, lambda _: line, commands.UnbanPick, pick=pick.upper())

    async def picks(self, asker: Asker) -> Sequence[str]:
        """`!mp picks`."""
        match = await self._match(asker)
        all_picks = [f"{one.mods}{one.slot}" for one in await self._pools.picks(match.pool_id)] if match.pool_id else []
        left = [one for one in all_picks if one not in match.banned_picks and one not in match.used_picks]
        return (f"Left: {' '.join(left) or 'none'}. Banned: {' '.join(match.banned_picks) or 'none'}.",)

    async def help(self, asker: Asker) -> Sequence[str]:
        """`!mp help`."""
        names = [one.name for one in self.commands()]
        return (f"!mp {' | '.join(names)}",)

    def commands(self) -> list[Command]:
        """What this page declares."""
        best_of = Argument("best_of")
        slot = Argument("slot", Kind.NUMBER, least=1, most=16)
        points = Argument("red", Kind.NUMBER, most=15), Argument("blue", Kind.NUMBER, most=15)
        mode = Argument("mode", Kind.NUMBER, optional=True, most=3)
        when = Argument("when", optional=True)
        slots = Argument("what", Kind.CHOICE, optional=True, choices=("slots",))
        room = (
            Argument("team_mode", Kind.NUMBER, most=3),
            Argument("score_mode", Kind.NUMBER, optional=True, most=3),
            Argument("size", Kind.NUMBER, optional=True, least=1, most=16),
        )
        rows: tuple[tuple[str, tuple[str, ...], Any, tuple[Argument, ...], str], ...] = (
            ("help", ("h",), self.help, (), "These commands."),
            ("close", ("terminate", "disband"), self.close, (), "Closes the room."),
            ("name", ("setname",), self.name, (TEXT,), "Names the room."),
            ("lock", (), self.lock, (slots,), "Nobody changes slot or team; or: unused slots are locked."),
            ("unlock", (), self.unlock, (slots,), "The opposite."),
            ("size", (), self.size, (Argument("size", Kind.NUMBER, least=1, most=16),), "How many slots there are."),
            ("set", (), self.set, room, "Team mode, win condition and size, as numbers."),
            ("teams", (), self.teams, (Argument("kind", Kind.CHOICE, choices=tuple(TEAM_TYPES)),), "The team mode."),
            ("condition", ("cond", "scorev"), self.condition,
             (Argument("kind", Kind.CHOICE, choices=tuple(CONDITIONS)),), "What wins."),
            ("invite", ("inv", "i"), self.invite, (USER,), "Asks a player to join."),
            ("move", (), self.move, (USER, slot), "Seats a player elsewhere."),
            ("host", ("sethost",), self.host, (USER,), "Makes a player the host."),
            ("clearhost", ("removehost", "ch"), self.clear_host, (), "There is no host."),
            ("settings", (), self.settings, (Argument("single", optional=True),), "Everything about the room."),
            ("start", ("st",), self.start, (when,), "Starts at once, in 1 to 300 seconds, or: force, cancel."),
            ("abort", ("a",), self.abort, (), "Calls the play off."),
            ("timer", ("countdown", "wait"), self.timer, (when,), "Counts down 1 to 900 seconds, or: cancel."),
            ("aborttimer", ("stoptimer", "canceltimer", "at"), self.stop_timers, (), "Stops both."),
            ("map", ("setmap", "beatmap"), self.map, (Argument("beatmap"), mode), "Sets the map, by id or link."),
            ("mods", ("setmods",), self.mods, (Argument("mods", Kind.TEXT, optional=True),),
             "Sets the mods: HDHR, freemod, none."),
            ("freemods", ("freemod", "fm", "fmods"), self.free_mods, (ON_OFF,), "Everybody chooses, or not."),
            ("team", ("setteam",), self.team,
             (USER, Argument("team", Kind.CHOICE, choices=("red", "blue"))), "Puts a player on a team."),
            ("kick", ("remove",), self.kick, (USER,), "Puts a player out."),
            ("ban", (), self.ban, (USER,), "Puts a player out for good."),
            ("unban", (), self.unban, (USER,), "Lets a player back."),
            ("addref", ("addreferee",), self.add_referees, (USERS,), "More referees, who need no seat."),
            ("removeref", ("rmref", "remref"), self.remove_referees, (USERS,), "They are no referees any more."),
            ("listrefs", ("listref",), self.list_referees, (), "The referees."),
            ("link", ("url",), self.match_link, (), "The match's page."),
            ("scrim", ("autoref",), self.scrim, (best_of,), "A best-of begins: bo1 to bo15, odd; 0 ends it."),
            ("endscrim", ("end",), self.end_scrim, (), "Ends the scrim."),
            ("rematch", ("rm",), self.rematch, (), "Starts the scrim again, or takes back the last point."),
            ("points", (), self.points, points, "Corrects the points."),
            ("loadpool", ("lp",), self.load_pool, (Argument("pool"),), "Picks come from this mappool."),
            ("unloadpool", ("ulp",), self.unload_pool, (), "Picks come from none."),
            ("pick", (), self.pick, (PICK, Argument("force", Kind.CHOICE, optional=True, choices=("force",))),
             "Sets a map of the pool with its mods."),
            ("banpick", (), self.ban_pick, (PICK,), "A map of the pool may not be picked."),
            ("unbanpick", (), self.unban_pick, (PICK,), "It may be picked again."),
            ("picks", (), self.picks, (), "Which maps are left."),
        )  # fmt: skip
        told = [
            Command(
                name=name,
                aliases=aliases,
                handler=handler,
                arguments=arguments,
                help=about,
                where=Where.MATCH,
                group=GROUP,
                surplus=True,
                misused=MISUSED.get(name, ""),
                allowed=None if name in FOR_ALL else self._leads,
                lines_max=SETTINGS_LINES_MAX if name == "settings" else USERS_MAX,
            )
            for name, aliases, handler, arguments, about in rows
        ]
        secret = Argument("text", Kind.TEXT, optional=True)
        named = Argument("name", Kind.TEXT, optional=True)
        return [
            *told,
            self._hidden("password", ("setpassword", "pass", "p"), self.password, (secret,),
                         "Sets the password, or none.", Where.MATCH),
            self._hidden("randpw", ("randompassword",), self.random_password, (),
                         "Makes up a password and tells the referees.", Where.MATCH),
            self._hidden("make", ("create",), self.make, (named,),
                         "Makes a room that stays when it is empty.", Where.DM),
            self._hidden("makeprivate", ("createprivate",), self.make_private, (named,),
                         "The same; its history is for those who were in it.", Where.DM),
        ]  # fmt: skip

    async def _leads(self, asker: Asker) -> bool:
        return await self._rooms.leads(asker.session, _room(asker))

    def _hidden(
        self,
        name: str,
        aliases: tuple[str, ...],
        handler: Any,
        arguments: tuple[Argument, ...],
        about: str,
        where: Where,
    ) -> Command:
        """One whose line is nobody else's business."""
        return Command(
            name=name,
            aliases=aliases,
            handler=handler,
            arguments=arguments,
            help=about,
            where=where,
            hidden=True,
            group=GROUP,
            surplus=True,
            allowed=self._leads if where is Where.MATCH else None,
        )


def _seconds(when: str | None, most: int) -> int | None:
    """The seconds that were asked for; None for none. A word that begins with a letter is a tool's random one."""
    if when is None or (when.isascii() and when[0].isalpha()):
        return None
    seconds = whole_number(when, most, 1)
    if seconds is None:
        raise BadArgument(f"seconds are a whole number from 1 to {most}.")
    return seconds


def _room(asker: Asker) -> int:
    match_id = match_of(asker.where)
    if match_id is None:
        raise NotFound("match")
    return match_id


def _is_staff(user: User) -> bool:
    return effective(user.priv) & STAFF != 0


def _choice(beatmap: Beatmap, mode: int | None) -> dict[str, Any]:
    return {
        "map_id": beatmap.id,
        "map_md5": beatmap.md5,
        "map_name": full_title(beatmap),
        "mode": beatmap.mode or mode or 0,
    }

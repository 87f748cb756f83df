"""`!mp`: leading a room (game-rules 16). Answers are one line each and stay as they are: tournament tools read them.

Who may do what is the match's own rule (`commands.Right`); whoever has no right gets no answer at all.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final

from kiai.accounts import User
from kiai.beatmaps import Beatmap, Beatmaps
from kiai.chat.bot import Argument, Asker, BadArgument, Command, Kind, Where
from kiai.errors import NotFound
from kiai.multiplayer import commands
from kiai.multiplayer.match import Match, is_referee, seat_of, side_name
from kiai.multiplayer.model import BLUE, COUNTDOWN, PP, RED, START, occupied_seats
from kiai.multiplayer.pools import Pools
from kiai.multiplayer.service import Matches, actor_of
from kiai.osu.mods import mods_text, parse_mods
from kiai.osu.privileges import STAFF, effective
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
TEAM_WORDS: Final = ("head-to-head", "tag co-op", "team vs", "tag team vs")
CONDITION_WORDS: Final = ("score", "accuracy", "combo", "ScoreV2")
STATUS_WORDS: Final = {4: "not ready", 8: "ready", 16: "no map", 32: "playing", 64: "complete"}

USER: Final = Argument("user", Kind.USER)
TEXT: Final = Argument("text", Kind.TEXT)
PICK: Final = Argument("pick")
ON_OFF: Final = Argument("on", Kind.CHOICE, choices=("on", "off"))


class MatchCommands:
    """What hosts and referees say in their room."""

    def __init__(
        self,
        rooms: Matches,
        realtime: Realtime,
        beatmaps: Beatmaps,
        pools: Pools,
        link: Callable[[str], str],
    ) -> None:
        self._rooms = rooms
        self._realtime = realtime
        self._beatmaps = beatmaps
        self._pools = pools
        self._link = link

    async def _lead(self, asker: Asker, line: str, command: type[commands.Command], **fields: Any) -> Sequence[str]:
        led = await self._rooms.lead(asker.session, _room(asker), command, **fields)
        return (line,) if led and line else ()

    async def _match(self, asker: Asker) -> Match:
        match = await self._realtime.match(_room(asker), Match)
        if match is None:
            raise NotFound("match")
        return match

    # --- making and closing

    async def make(self, asker: Asker, text: str) -> Sequence[str]:
        """`!mp make`."""
        return await self._make(asker.session, text, private=False)

    async def make_private(self, asker: Asker, text: str) -> Sequence[str]:
        """`!mp makeprivate`."""
        return await self._make(asker.session, text, private=True)

    async def _make(self, session: Session, name: str, *, private: bool) -> Sequence[str]:
        _, match_id = await self._rooms.make(session, name, secrets.token_hex(4), private=private)
        match = await self._realtime.match(match_id, Match)
        password = "" if match is None else match.password
        return (f"Created the match {name}: osump://{match_id}/{password} #multi_{match_id}",)

    async def close(self, asker: Asker) -> Sequence[str]:
        """`!mp close`."""
        return await self._lead(asker, "", commands.Close)

    # --- the room

    async def name(self, asker: Asker, text: str) -> Sequence[str]:
        """`!mp name`."""
        return await self._lead(asker, f"The match is called {text} now.", commands.SetName, name=text)

    async def password(self, asker: Asker, text: str | None) -> Sequence[str]:
        """`!mp password`."""
        line = "The password was changed." if text else "The password was removed."
        return await self._lead(asker, line, commands.SetPassword, password=text or "")

    async def random_password(self, asker: Asker) -> Sequence[str]:
        """`!mp randpw`."""
        password = secrets.token_hex(4)
        return await self._lead(asker, f"The password is {password} now.", commands.SetPassword, password=password)

    async def lock(self, asker: Asker, what: str | None) -> Sequence[str]:
        """`!mp lock`."""
        return await self._lock(asker, what, on=True)

    async def unlock(self, asker: Asker, what: str | None) -> Sequence[str]:
        """`!mp unlock`."""
        return await self._lock(asker, what, on=False)

    async def _lock(self, asker: Asker, what: str | None, *, on: bool) -> Sequence[str]:
        if what:
            return await self._lead(
                asker, f"Unused slots are {'locked' if on else 'open'}.", commands.SetSlotsLocked, on=on
            )
        line = "Players cannot change slot or team." if on else "Players can change slot and team."
        return await self._lead(asker, line, commands.SetSeatsLocked, on=on)

    async def size(self, asker: Asker, size: int) -> Sequence[str]:
        """`!mp size`."""
        return await self._lead(asker, f"The match has {size} slots.", commands.SetSize, size=size)

    async def set(self, asker: Asker, team_mode: int, score_mode: int | None, size: int | None) -> Sequence[str]:
        """`!mp set`."""
        line = f"Changed to {TEAM_WORDS[team_mode]}" + (
            "." if score_mode is None else f", {CONDITION_WORDS[score_mode]}."
        )
        return await self._lead(asker, line, commands.SetRoom, team_type=team_mode, win_condition=score_mode, size=size)

    async def teams(self, asker: Asker, kind: str) -> Sequence[str]:
        """`!mp teams`."""
        team_type = TEAM_TYPES[kind]
        return await self._lead(
            asker, f"Changed to {TEAM_WORDS[team_type]}.", commands.SetTeamType, team_type=team_type
        )

    async def condition(self, asker: Asker, kind: str) -> Sequence[str]:
        """`!mp condition`."""
        return await self._lead(
            asker, f"{kind.capitalize()} wins.", commands.SetWinCondition, win_condition=CONDITIONS[kind]
        )

    async def settings(self, asker: Asker, single: str | None) -> Sequence[str]:
        """`!mp settings`."""
        match = await self._match(asker)
        if seat_of(match, asker.session.user_id) is None and not is_referee(match, actor_of(asker.session)):
            return ()
        mods = mods_text(match.mods) or "no mods"
        seats = [
            f"{seat + 1}. {slot.player_name} {STATUS_WORDS.get(slot.status, '')}"
            + (f" {mods_text(slot.mods)}" if slot.mods else "")
            + (" [host]" if slot.player_id == match.host_id else "")
            for seat, slot in occupied_seats(match)
        ]
        chosen = f"[{self._link(f'b/{match.map_id}')} {match.map_name}]" if match.map_id > 0 else "no map"
        head = (
            f"{match.name}: {chosen}, {mods}{' + free mods' if match.free_mods else ''}, "
            f"{TEAM_WORDS[match.team_type]}, {CONDITION_WORDS[match.win_condition]}, {len(seats)} players"
        )
        return [head, " | ".join(seats)] if seats else [head]

    async def match_link(self, asker: Asker) -> Sequence[str]:
        """`!mp link`."""
        match = await self._match(asker)
        return (self._link(f"community/matches/{match.history_id}"),)

    # --- who is there

    async def invite(self, asker: Asker, user: User) -> Sequence[str]:
        """`!mp invite`."""
        await self._rooms.invite(asker.session, user.id)
        return (f"{user.name} was invited.",)

    async def move(self, asker: Asker, user: User, slot: int) -> Sequence[str]:
        """`!mp move`."""
        return await self._lead(
            asker, f"{user.name} sits in slot {slot}.", commands.Move, user_id=user.id, slot=slot - 1
        )

    async def host(self, asker: Asker, user: User) -> Sequence[str]:
        """`!mp host`."""
        return await self._lead(asker, f"{user.name} is the host.", commands.SetHost, user_id=user.id)

    async def clear_host(self, asker: Asker) -> Sequence[str]:
        """`!mp clearhost`."""
        return await self._lead(asker, "There is no host.", commands.ClearHost)

    async def team(self, asker: Asker, user: User, team: str) -> Sequence[str]:
        """`!mp team`."""
        colour = RED if team == "red" else BLUE
        return await self._lead(
            asker, f"{user.name} is on team {team}.", commands.SetTeam, user_id=user.id, team=colour
        )

    async def kick(self, asker: Asker, user: User) -> Sequence[str]:
        """`!mp kick`."""
        return await self._lead(
            asker, f"{user.name} was kicked.", commands.Kick, user_id=user.id, target_staff=_is_staff(user)
        )

    async def ban(self, asker: Asker, user: User) -> Sequence[str]:
        """`!mp ban`."""
        return await self._lead(
            asker, f"{user.name} is banned.", commands.BanPlayer, user_id=user.id, target_staff=_is_staff(user)
        )

    async def unban(self, asker: Asker, user: User) -> Sequence[str]:
        """`!mp unban`."""
        return await self._lead(asker, f"{user.name} may come back.", commands.UnbanPlayer, user_id=user.id)

    async def add_referee(self, asker: Asker, user: User) -> Sequence[str]:
        """`!mp addref`."""
        line = f"{user.name} is a referee."
        return await self._lead(asker, line, commands.AddReferee, user_id=user.id, name=user.name)

    async def remove_referee(self, asker: Asker, user: User) -> Sequence[str]:
        """`!mp removeref`."""
        return await self._lead(asker, f"{user.name} is no referee.", commands.RemoveReferee, user_id=user.id)

    async def list_referees(self, asker: Asker) -> Sequence[str]:
        """`!mp listrefs`."""
        return ("Referees: " + ", ".join(name for _, name in (await self._match(asker)).referees),)

    # --- what is played

    async def map(self, asker: Asker, beatmap: str, mode: int | None) -> Sequence[str]:
        """`!mp map`."""
        digits = beatmap.rstrip("/").rpartition("/")[2].rpartition("#")[2]
        if not digits.isdigit() or len(digits) > 10:
            raise BadArgument("map is an id or a link.")
        found = await self._beatmaps.find_or_fetch(id=int(digits))
        return await self._lead(asker, "", commands.SetMap, **_choice(found, mode))

    async def mods(self, asker: Asker, mods: str) -> Sequence[str]:
        """`!mp mods`."""
        words = mods.lower().replace(",", " ").split()
        free = any(word in ("freemod", "freemods", "fm") for word in words)
        try:
            bits = parse_mods(
                "".join(word for word in words if word not in ("freemod", "freemods", "fm", "none", "nm"))
            )
        except ValueError as error:
            raise BadArgument("mods are written like HDHR, freemod or none.") from error
        line = f"Mods: {mods_text(bits) or 'none'}{' + free mods' if free else ''}."
        return await self._lead(asker, line, commands.SetMods, mods=bits, free_mods=free)

    async def free_mods(self, asker: Asker, on: str) -> Sequence[str]:
        """`!mp freemods`."""
        return await self._lead(asker, f"Free mods are {on}.", commands.SetFreeMods, on=on == "on")

    # --- when

    async def start(self, asker: Asker, when: str | None) -> Sequence[str]:
        """`!mp start`."""
        if when == "cancel":
            return await self._lead(asker, "The start was called off.", commands.CancelTimers, kinds=(START,))
        if when is not None and when != "force":
            if not when.isdigit() or not 1 <= int(when) <= 300:
                raise BadArgument("seconds are a whole number from 1 to 300.")
            return await self._lead(
                asker, f"The match starts in {int(when)} seconds.", commands.StartAfter, seconds=int(when)
            )
        return await self._lead(asker, "Good luck, have fun!", commands.Start, force=when == "force")

    async def abort(self, asker: Asker) -> Sequence[str]:
        """`!mp abort`."""
        return await self._lead(asker, "", commands.Abort)

    async def timer(self, asker: Asker, when: str | None) -> Sequence[str]:
        """`!mp timer`."""
        if when == "cancel":
            return await self._lead(asker, "The countdown was called off.", commands.CancelTimers, kinds=(COUNTDOWN,))
        text = when or "30"
        if not text.isdigit() or not 1 <= int(text) <= 900:
            raise BadArgument("seconds are a whole number from 1 to 900.")
        return await self._lead(asker, f"Countdown of {int(text)} seconds.", commands.StartTimer, seconds=int(text))

    async def stop_timer(self, asker: Asker) -> Sequence[str]:
        """`!mp aborttimer`."""
        return await self._lead(asker, "Timers were called off.", commands.CancelTimers)

    # --- scrims and pools

    async def scrim(self, asker: Asker, best_of: str) -> Sequence[str]:
        """`!mp scrim`."""
        digits = best_of.lower().removeprefix("bo")
        if not digits.isdigit() or len(digits) > 2:
            raise BadArgument("A scrim is bo1 to bo15, odd; 0 ends it.")
        if int(digits) == 0:
            return await self._lead(asker, "", commands.EndScrim)
        return await self._lead(asker, "", commands.BeginScrim, best_of=int(digits))

    async def end_scrim(self, asker: Asker) -> Sequence[str]:
        """`!mp endscrim`."""
        return await self._lead(asker, "", commands.EndScrim)

    async def rematch(self, asker: Asker) -> Sequence[str]:
        """`!mp rematch`."""
        return await self._lead(asker, "", commands.Rematch)

    async def points(self, asker: Asker, red: int, blue: int) -> Sequence[str]:
        """`!mp points`."""
        match = await self._match(asker)
        line = f"{side_name(match, RED)} {red}, {side_name(match, BLUE)} {blue}."
        return await self._lead(asker, line, commands.SetPoints, points=((RED, red), (BLUE, blue)))

    async def load_pool(self, asker: Asker, pool: str) -> Sequence[str]:
        """`!mp loadpool`."""
        found = await self._pools.named(pool)
        return await self._lead(
            asker, f"The mappool {found.name} is loaded.", commands.LoadPool, pool_id=found.id, name=found.name
        )

    async def unload_pool(self, asker: Asker) -> Sequence[str]:
        """`!mp unloadpool`."""
        return await self._lead(asker, "The mappool is unloaded.", commands.UnloadPool)

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
                return await self._lead(
                    asker,
                    f"Picked {wanted}.",
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
        return await self._lead(asker, f"{pick.upper()} is banned.", commands.BanPick, pick=pick.upper())

    async def unban_pick(self, asker: Asker, pick: str) -> Sequence[str]:
        """`!mp unbanpick`."""
        return await self._lead(asker, f"{pick.upper()} may be picked.", commands.UnbanPick, pick=pick.upper())

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
            ("aborttimer", ("stoptimer", "canceltimer", "at"), self.stop_timer, (), "Stops both."),
            ("map", ("setmap", "beatmap"), self.map, (Argument("beatmap"), mode), "Sets the map, by id or link."),
            ("mods", ("setmods",), self.mods, (Argument("mods", Kind.TEXT),), "Sets the mods: HDHR, freemod, none."),
            ("freemods", ("freemod", "fm", "fmods"), self.free_mods, (ON_OFF,), "Everybody chooses, or not."),
            ("team", ("setteam",), self.team,
             (USER, Argument("team", Kind.CHOICE, choices=("red", "blue"))), "Puts a player on a team."),
            ("kick", ("remove",), self.kick, (USER,), "Puts a player out."),
            ("ban", (), self.ban, (USER,), "Puts a player out for good."),
            ("unban", (), self.unban, (USER,), "Lets a player back."),
            ("addref", ("addreferee",), self.add_referee, (USER,), "One more referee."),
            ("removeref", ("rmref", "remref"), self.remove_referee, (USER,), "One referee less."),
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
            )
            for name, aliases, handler, arguments, about in rows
        ]
        secret = Argument("text", Kind.TEXT, optional=True)
        return [
            *told,
            _mp("password", ("setpassword", "pass", "p"), self.password, (secret,),
                "Sets the password, or none.", Where.MATCH),
            _mp("randpw", ("randompassword",), self.random_password, (), "Makes up a password.", Where.MATCH),
            _mp("make", ("create",), self.make, (TEXT,), "Makes a room that stays when it is empty.", Where.DM),
            _mp("makeprivate", ("createprivate",), self.make_private, (TEXT,),
                "The same; its history is for those who were in it.", Where.DM),
        ]  # fmt: skip


def _mp(
    name: str, aliases: tuple[str, ...], handler: Any, arguments: tuple[Argument, ...], about: str, where: Where
) -> Command:
    """One whose answer is the asker's alone."""
    return Command(
        name=name,
        aliases=aliases,
        handler=handler,
        arguments=arguments,
        help=about,
        where=where,
        hidden=True,
        group=GROUP,
    )


def _room(asker: Asker) -> int:
    return int(asker.where.removeprefix("#multi_"))


def _is_staff(user: User) -> bool:
    return effective(user.priv) & STAFF != 0


def _choice(beatmap: Beatmap, mode: int | None) -> dict[str, Any]:
    return {
        "map_id": beatmap.id,
        "map_md5": beatmap.md5,
        "map_name": f"{beatmap.artist} - {beatmap.title} [{beatmap.version}]",
        "mode": beatmap.mode or mode or 0,
    }

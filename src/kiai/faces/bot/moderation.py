"""Commands of the staff. The verbs are those of the admin pages and the command line; the target rule is checked here
before any of them runs (docs/spec/game-rules.md#who-may-act-on-whom), because the operator at the command line may do
everything."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from kiai.accounts import BOT_ID, User
from kiai.beatmaps import Beatmaps, MapStatus
from kiai.beatmaps.model import WORDS
from kiai.chat.bot import Argument, Asker, Command, Kind
from kiai.chat.channels import Channels
from kiai.chat.service import Chat
from kiai.clock import Clock
from kiai.errors import Refused
from kiai.faces.bot.now_playing import NowPlaying
from kiai.osu.durations import duration_text
from kiai.osu.privileges import staff_rank
from kiai.osu.texts import chat_name, chat_text
from kiai.presence import Presence
from kiai.scores.flags import LISTED_MAX, Flags
from kiai.staff import Actor, Staff, audit
from kiai.staff.silences import Silences
from kiai.storage.port import Database, Transaction

DEVELOPER_RANK: Final = 3
FLAGS_SHOWN: Final = 5
REASON: Final = Argument("reason", Kind.TEXT)
USER: Final = Argument("user", Kind.USER)
ROLE: Final = Argument("role")


class ModerationCommands:
    """What staff may do from the chat."""

    def __init__(
        self,
        database: Database,
        staff: Staff,
        silences: Silences,
        presence: Presence,
        channels: Channels,
        beatmaps: Beatmaps,
        now_playing: NowPlaying,
        chat: Chat,
        flags: Flags,
        clock: Clock,
    ) -> None:
        self._database = database
        self._staff = staff
        self._silences = silences
        self._presence = presence
        self._channels = channels
        self._beatmaps = beatmaps
        self._now_playing = now_playing
        self._chat = chat
        self._flags = flags
        self._clock = clock

    async def silence(self, asker: Asker, user: User, duration: int, reason: str) -> Sequence[str]:
        """`!silence`."""
        lasts_s = (await self._silences.silence(_actor(asker), user.id, duration, reason)).lasts_s
        longer = " already, which is longer" if lasts_s > duration else ""
        lasts = f"{duration_text(lasts_s)} ({lasts_s} s){longer}"
        return (f"{chat_name(user.name)} is silenced for {lasts}: {chat_text(reason)}",)

    async def unsilence(self, asker: Asker, user: User, reason: str) -> Sequence[str]:
        """`!unsilence`."""
        await self._silences.unsilence(_actor(asker), user.id, reason)
        return (f"{chat_name(user.name)} may speak again.",)

    async def kick(self, asker: Asker, user: User, reason: str) -> Sequence[str]:
        """`!kick`."""
        await self._may_act_on(asker, user, "kick")
        ended = await self._presence.end_sessions_of(user.id)
        await self._write(asker, "kick", "user", user.id, reason)
        return (f"{chat_name(user.name)} was logged off." if ended else f"{chat_name(user.name)} was not online.",)

    async def restrict(self, asker: Asker, user: User, reason: str) -> Sequence[str]:
        """`!restrict`."""
        await self._may_act_on(asker, user, "restrict")
        await self._staff.restrict(_actor(asker), user.name, reason)
        return (f"{chat_name(user.name)} is restricted: {chat_text(reason)}",)

    async def unrestrict(self, asker: Asker, user: User, reason: str) -> Sequence[str]:
        """`!unrestrict`."""
        await self._may_act_on(asker, user, "unrestrict")
        await self._staff.unrestrict(_actor(asker), user.name, reason)
        return (f"{chat_name(user.name)} is no longer restricted.",)

    async def flags(self, asker: Asker, user: User) -> Sequence[str]:
        """`!flags`."""
        found = await self._flags.of(user.id)
        if not found:
            return (f"Nothing was odd about {chat_name(user.name)}.",)
        lines = [
            f"{datetime.fromtimestamp(one.at_ms // 1000, UTC):%Y-%m-%d %H:%M} {one.kind}: {chat_text(one.details)}"
            for one in found[:FLAGS_SHOWN]
        ]
        more = f" The last {FLAGS_SHOWN}:" if len(found) > FLAGS_SHOWN else ""
        many = f"{len(found)}{' or more' if len(found) >= LISTED_MAX else ''}"
        return (f"{chat_name(user.name)} has {many} flags.{more}", *lines)

    async def add_privilege(self, asker: Asker, user: User, role: str) -> Sequence[str]:
        """`!addpriv`."""
        account = await self._staff.grant(_actor(asker), user.name, [role])
        return (f"{chat_name(account.name)} has {chat_text(role)} now.",)

    async def remove_privilege(self, asker: Asker, user: User, role: str) -> Sequence[str]:
        """`!rmpriv`."""
        account = await self._staff.revoke(_actor(asker), user.name, [role])
        return (f"{chat_name(account.name)} no longer has {chat_text(role)}.",)

    async def alert(self, asker: Asker, text: str) -> Sequence[str]:
        """`!alert`."""
        await self._presence.alert(text)
        await self._write(asker, "alert_all", "server", 0, text)
        return ("Everybody was told.",)

    async def alert_user(self, asker: Asker, user: User, text: str) -> Sequence[str]:
        """`!alertuser`."""
        await self._presence.alert(text, user.id)
        await self._write(asker, "alert_user", "user", user.id, text)
        return (f"{chat_name(user.name)} was told.",)

    async def announce(self, asker: Asker, text: str) -> Sequence[str]:
        """`!announce`."""
        await self._chat.post("#announce", text)
        await self._write(asker, "announce", "server", 0, text)
        return ("Announced.",)

    async def moderated(self, asker: Asker, on: str | None) -> Sequence[str]:
        """`!moderated`."""
        channel = self._channels.find(asker.where)
        if channel is None:
            raise Refused("only ordinary channels can be moderated")
        wanted = not channel.moderated if on is None else on == "on"
        at_ms = self._clock.now_ms()

        async def written(tx: Transaction) -> None:
            await audit.write(
                tx,
                _actor(asker),
                "channel_moderated",
                at_ms=at_ms,
                target_kind="channel",
                target_id=0,
                details={"channel": channel.name, "on": wanted},
            )

        await self._channels.set_moderated(channel.name, wanted, also=written)
        return ("Only staff may write here now." if wanted else "Everybody may write here again.",)

    async def set_status(self, asker: Asker, status: str, scope: str | None) -> Sequence[str]:
        """`!map`."""
        beatmap = (await self._now_playing.last(asker.session.user_id)).beatmap
        maps = await self._beatmaps.of_set(beatmap.set_id) if scope == "set" else [beatmap]
        new: MapStatus = WORDS[status]
        if all(one.status == new for one in maps):
            raise Refused(f"it is {new.name.lower()} already")
        await self._staff.set_map_status(_actor(asker), maps, new)
        title = chat_text(f"{beatmap.artist} - {beatmap.title}")
        return (f"{title}: {len(maps)} map(s) are {new.name.lower()} now.",)

    async def _may_act_on(self, asker: Asker, user: User, action: str) -> None:
        if user.id == BOT_ID:
            raise Refused("the bot is never a target")
        if user.id == asker.session.user_id:
            raise Refused("nobody does that to themselves")
        rank = staff_rank(asker.session.priv)
        if rank != DEVELOPER_RANK and rank <= staff_rank(user.priv):
            await self._write(asker, "denied", "user", user.id, action)
            raise Refused("only a higher role can act on this user")

    async def _write(self, asker: Asker, action: str, kind: str, target_id: int, reason: str) -> None:
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await audit.write(
                tx, _actor(asker), action, at_ms=now, target_kind=kind, target_id=target_id, reason=reason[:500]
            )

        await self._database.transaction(body)

    def commands(self) -> list[Command]:
        """What this page declares."""
        text = Argument("text", Kind.TEXT)
        duration = Argument("duration", Kind.DURATION)
        on_off = Argument("on", Kind.CHOICE, optional=True, choices=("on", "off"))
        status = Argument("status", Kind.CHOICE, choices=tuple(WORDS))
        scope = Argument("scope", Kind.CHOICE, optional=True, choices=("map", "set"))
        rows = (
            ("silence", ("mute",), self.silence, "users.silence", (USER, duration, REASON), "silence",
             "Lets a player say nothing for a while."),
            ("unsilence", ("unmute",), self.unsilence, "users.silence", (USER, REASON), "unsilence",
             "Lets a player speak again."),
            ("kick", ("disconnect",), self.kick, "users.kick", (USER, REASON), "kick", "Logs a player off."),
            ("restrict", (), self.restrict, "users.restrict", (USER, REASON), "restrict", "Hides a player."),
            ("flags", (), self.flags, "users.restrict", (USER,), "",
             "What was odd about a player's plays and clients lately."),
            ("unrestrict", (), self.unrestrict, "users.restrict", (USER, REASON), "unrestrict",
             "Lifts a restriction."),
            ("addpriv", ("ap",), self.add_privilege, "users.privileges", (USER, ROLE), "privileges",
             "Gives a role."),
            ("rmpriv", ("rp",), self.remove_privilege, "users.privileges", (USER, ROLE), "privileges",
             "Takes a role."),
            ("alert", ("alertall", "broadcast"), self.alert, "alerts.send", (text,), "alert_all",
             "Shows a text to everybody online."),
            ("alertuser", ("alertu",), self.alert_user, "alerts.send", (USER, text), "alert_user",
             "Shows a text to a player."),
            ("announce", (), self.announce, "announce.post", (text,), "announce", "A line in #announce."),
            ("map", (), self.set_status, "beatmaps.set_status", (status, scope), "beatmap_status",
             "Sets the status of the map of your last /np, or of its set."),
        )  # fmt: skip
        commands = [
            Command(
                name=name,
                aliases=aliases,
                handler=handler,
                permission=permission,
                arguments=arguments,
                audit=action,
                help=about,
                hidden=True,
            )
            for name, aliases, handler, permission, arguments, action, about in rows
        ]
        moderated = Command(
            name="moderated",
            handler=self.moderated,
            permission="chat.moderate",
            arguments=(on_off,),
            audit="channel_moderated",
            help="Lets only staff write in this channel, or everybody again.",
        )
        return [*commands, moderated]


def _actor(asker: Asker) -> Actor:
    return Actor(user_id=asker.session.user_id, source="game")

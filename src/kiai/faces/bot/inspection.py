"""Commands of administrators about one account: `!user`, `!delavatar` and `!deluserpage`."""

from collections.abc import Sequence
from typing import Final

from kiai.accounts import User
from kiai.beatmaps.model import full_title
from kiai.chat.bot import Argument, ArgumentKind, BadArgument, BotCommand, CommandContext
from kiai.clock import Clock
from kiai.faces.bot.acting import actor_of
from kiai.faces.bot.now_playing import NowPlaying
from kiai.multiplayer.match import Match
from kiai.osu.modes import mode_text
from kiai.osu.privileges import privilege_names
from kiai.osu.texts import chat_name, chat_text
from kiai.realtime.port import Realtime
from kiai.scores.profiles import Profiles
from kiai.staff.audit import utc_text
from kiai.staff.content_removal import ContentRemoval
from kiai.staff.inspection import Inspection, Inspections, SessionState

SESSIONS_SHOWN: Final = 2
CHAT: Final = "chat:"


class InspectionCommands:
    """Handlers of the commands."""

    def __init__(
        self,
        inspections: Inspections,
        removal: ContentRemoval,
        profiles: Profiles,
        now_playing: NowPlaying,
        realtime: Realtime,
        clock: Clock,
    ) -> None:
        self._inspections = inspections
        self._removal = removal
        self._profiles = profiles
        self._now_playing = now_playing
        self._realtime = realtime
        self._clock = clock

    async def user(self, context: CommandContext, user: User | None) -> Sequence[str]:
        """`!user`."""
        found = await self._inspections.inspect(actor_of(context), context.session.user_id if user is None else user.id)
        lines = [_account_line(found), self._sanctions_line(found.user)]
        lines += [_session_line(state) for state in found.sessions[:SESSIONS_SHOWN]] or [
            f"Offline since {utc_text(found.user.active_at_ms)}."
        ]
        lines.append(await self._place_line(found))
        lines.append(f"Last /np: {await self._last_map(found.user.id)}. Latest score: {await self._latest(found.user)}")
        lines.append(f"Open reports: {found.open_reports}.")
        if found.addresses is not None:
            lines.append(f"Addresses, newest first: {', '.join(found.addresses) or 'none'}")
        return lines

    def _sanctions_line(self, user: User) -> str:
        now = self._clock.now_ms()
        states = [
            f"{word} until {utc_text(until)}" if until else word
            for word, holds, until in (
                ("banned", user.banned_at_ms is not None, 0),
                ("restricted", not user.priv & 1 and user.banned_at_ms is None, user.restricted_until_ms),
                ("silenced", user.silenced_until_ms > now, user.silenced_until_ms),
                ("frozen", bool(user.freeze_until_ms), user.freeze_until_ms),
                ("donor", user.donor_until_ms > now, user.donor_until_ms),
            )
            if holds
        ]
        return f"State: {', '.join(states) or 'no sanction, no donor time'}."

    async def _place_line(self, found: Inspection) -> str:
        parts: list[str] = []
        match_id = next((state.session.match_id for state in found.sessions if state.session.match_id), 0)
        match = await self._realtime.match(match_id, Match) if match_id else None
        parts.append("no match" if match is None else f"in match {match_id} ({chat_text(match.name)})")
        parts.append(f"watches {chat_name(found.host)}" if found.host else "watches nobody")
        spectators = ", ".join(map(chat_name, found.spectators))
        parts.append(f"watched by {spectators}" if spectators else "watched by nobody")
        return f"Now: {', '.join(parts)}."

    async def _last_map(self, user_id: int) -> str:
        try:
            return chat_text(full_title((await self._now_playing.last_map(user_id)).beatmap))
        except BadArgument:
            return "none"

    async def _latest(self, user: User) -> str:
        scores = await self._profiles.recent_of(user.id, user.preferred_mode, limit=1)
        if not scores:
            return f"none in {mode_text(user.preferred_mode)}."
        [found] = scores
        result = f"{found.score.pp:.2f}pp" if found.score.status else "failed"
        return f"{chat_text(full_title(found.beatmap))} {found.score.acc:.2f}% {found.score.grade}, {result}."

    async def remove_avatar(self, context: CommandContext, user: User, reason: str) -> Sequence[str]:
        """`!delavatar`."""
        await self._removal.remove_avatar(actor_of(context), user.id, reason)
        return (f"Removed the avatar of {chat_name(user.name)}.",)

    async def remove_userpage(self, context: CommandContext, user: User, reason: str) -> Sequence[str]:
        """`!deluserpage`."""
        await self._removal.remove_userpage(actor_of(context), user.id, reason)
        return (f"Removed the userpage of {chat_name(user.name)}.",)

    def commands(self) -> list[BotCommand]:
        """Return the declarations of the commands."""
        user, reason = Argument("user", ArgumentKind.USER), Argument("reason", ArgumentKind.REASON)
        removals = (
            ("delavatar", self.remove_avatar, "Removes a player's avatar."),
            ("deluserpage", self.remove_userpage, "Removes the text of a player's profile."),
        )
        return [
            BotCommand(
                name="user",
                aliases=("u",),
                handler=self.user,
                permission="users.inspect",
                arguments=(Argument("user", ArgumentKind.USER, optional=True),),
                audit="user_inspect",
                help="Shows the state, the sessions and the open reports of a player; developers also see addresses.",
                hidden=True,
            ),
            *(
                BotCommand(
                    name=name,
                    handler=handler,
                    permission="avatars.delete",
                    arguments=(user, reason),
                    audit="content_remove",
                    help=about,
                    hidden=True,
                )
                for name, handler, about in removals
            ),
        ]


def _account_line(found: Inspection) -> str:
    user, player = found.user, found.player
    clan = f", clan [{player.clan_tag}] {chat_text(player.clan_name or '')}" if player.clan_tag else ""
    names = ", ".join(privilege_names(user.priv)) or "no privileges"
    return (
        f"{chat_name(user.name)} (#{user.id}), {user.own_country}, since {utc_text(user.created_at_ms)}{clan}: {names}."
    )


def _session_line(state: SessionState) -> str:
    session = state.session
    kind = "IRC" if session.irc else "Tournament client" if session.tournament else "Game"
    channels = sorted(topic.removeprefix(CHAT) for topic in session.follows if topic.startswith(CHAT))
    return (
        f"{kind} {chat_text(session.client)}, login {utc_text(session.login_time_ms)}, "
        f"last packet {round(state.idle_s)} s ago, channels: {', '.join(channels) or 'none'}."
    )

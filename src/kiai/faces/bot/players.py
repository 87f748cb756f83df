"""Commands about players: their figures and scores, friends and blocks, the own account."""

import secrets
from collections.abc import Callable, Sequence
from typing import Final

from kiai.accounts import Accounts, ApiKeys, Relationships, User
from kiai.beatmaps.model import full_title
from kiai.chat.bot import Argument, Asker, BadArgument, Bot, Command, Kind, Where
from kiai.chat.mail import Mail
from kiai.osu.countries import COUNTRIES
from kiai.osu.modes import mode_text
from kiai.osu.mods import mods_text
from kiai.osu.numbers import whole_number
from kiai.osu.texts import chat_link, chat_name, chat_text
from kiai.presence import Presence
from kiai.realtime.port import Realtime
from kiai.scores.leaderboards import Leaderboards
from kiai.scores.model import MappedScore

ROLL_MAX: Final = 1_000_000
HELP_PAGE: Final = 8
TOP: Final = 10

USER: Final = Argument("user", Kind.USER)
OWN_OR_USER: Final = Argument("user", Kind.USER, optional=True)
MODE: Final = Argument("mode", Kind.MODE, optional=True)


class PlayerCommands:
    """What everybody may ask."""

    def __init__(
        self,
        bot: Bot,
        accounts: Accounts,
        api_keys: ApiKeys,
        relationships: Relationships,
        leaderboards: Leaderboards,
        mail: Mail,
        presence: Presence,
        realtime: Realtime,
        link: Callable[[str], str],
    ) -> None:
        self._bot = bot
        self._accounts = accounts
        self._api_keys = api_keys
        self._relationships = relationships
        self._leaderboards = leaderboards
        self._mail = mail
        self._presence = presence
        self._realtime = realtime
        self._link = link

    async def help(self, asker: Asker, about: str | None) -> Sequence[str]:
        """`!help`."""
        usable = [one for one in self._bot.commands if not one.group and self._bot.may_use(asker.session, one)]
        page = None if about is None else whole_number(about)
        if about is not None and page is None:
            for one in usable:
                if about.lower().removeprefix("!") in (one.name, *one.aliases):
                    others = f" Also: {', '.join(one.aliases)}." if one.aliases else ""
                    return (one.usage, f"{one.help}{others}")
            raise BadArgument("There is no such command.")
        pages = -(-len(usable) // HELP_PAGE)
        page = min(max(1, page or 1), pages)
        shown = usable[(page - 1) * HELP_PAGE : page * HELP_PAGE]
        return [*(f"{one.usage}: {one.help}" for one in shown), f"Page {page} of {pages}; !help <page or command>"]

    async def roll(self, asker: Asker, most: int | None) -> Sequence[str]:
        """`!roll`."""
        rolled = secrets.randbelow(most or 100) + 1
        return (f"{chat_name(asker.session.name)} rolls {rolled} point(s)",)

    async def where(self, asker: Asker, user: User) -> Sequence[str]:
        """`!where`."""
        online = (await self._realtime.sessions_among([user.id])).get(user.id)
        if online is None or asker.session.user_id in online.blocked:
            return ("The user is currently not online.",)
        if user.country not in COUNTRIES or user.country == "xx":
            return ("The user's location could not be determined.",)
        return (f"{chat_name(user.name)} is in {COUNTRIES[user.country][1]}",)

    async def stats(self, asker: Asker, user: User | None, mode: int | None) -> Sequence[str]:
        """`!stats`."""
        user, mode = await self._whose(asker, user, mode)
        stats = await self._leaderboards.stats_in(user.id, mode)
        if stats is None:
            return (f"{chat_name(user.name)} has not played {mode_text(mode)} yet.",)
        rank = await self._realtime.rank_of(user.id, mode)
        online = (await self._realtime.sessions_among([user.id])).get(user.id)
        doing = f" Now: {chat_text(online.status.info_text)}" if online is not None and online.status.info_text else ""
        return (
            f"{chat_name(user.name)} in {mode_text(mode)}: #{rank.rank} "
            f"(#{rank.country_rank} in {user.country.upper()}), {stats.pp}pp, "
            f"{stats.acc:.2f}%, {stats.plays} plays.{doing}",
        )

    async def recent(self, asker: Asker, user: User | None, mode: int | None) -> Sequence[str]:
        """`!recent`."""
        user, mode = await self._whose(asker, user, mode)
        found = await self._leaderboards.recent_of(user.id, mode, limit=1)
        return [self._shown(one) for one in found] or (f"{chat_name(user.name)} has no scores in {mode_text(mode)}.",)

    async def top(self, asker: Asker, user: User | None, mode: int | None) -> Sequence[str]:
        """`!top`."""
        user, mode = await self._whose(asker, user, mode)
        found = await self._leaderboards.best_of(user.id, mode, limit=TOP)
        return [f"{place}. {self._shown(one)}" for place, one in enumerate(found, 1)] or (
            f"{chat_name(user.name)} has no scores in {mode_text(mode)}.",
        )

    async def _whose(self, asker: Asker, user: User | None, mode: int | None) -> tuple[User, int]:
        if user is None:
            user = await self._accounts.user(asker.viewer, id=asker.session.user_id)
        return user, asker.session.status.mode or 0 if mode is None else mode

    def _shown(self, one: MappedScore) -> str:
        score, beatmap = one.score, one.beatmap
        mods = f" +{mods_text(score.mods)}" if score.mods else ""
        result = f"{score.pp:.2f}pp" if score.status else "failed"
        return (
            f"{chat_link(self._link(f'b/{beatmap.id}'), full_title(beatmap))}{mods} {score.acc:.2f}% {score.grade} "
            f"{score.max_combo}x {score.nmiss} misses: {result}"
        )

    async def block(self, asker: Asker, user: User) -> Sequence[str]:
        """`!block`."""
        session = asker.session
        if user.id in session.blocked:
            return (f"{chat_name(user.name)} is blocked already.",)
        await self._relationships.block(session.user_id, user.id)
        await self._presence.change(session, blocked=session.blocked | {user.id}, friends=session.friends - {user.id})
        return (f"{chat_name(user.name)} is blocked.",)

    async def unblock(self, asker: Asker, user: User) -> Sequence[str]:
        """`!unblock`."""
        session = asker.session
        if user.id not in session.blocked:
            return (f"{chat_name(user.name)} is not blocked.",)
        await self._relationships.forget(session.user_id, user.id)
        await self._presence.change(session, blocked=session.blocked - {user.id})
        return (f"{chat_name(user.name)} is no longer blocked.",)

    async def reconnect(self, asker: Asker) -> Sequence[str]:
        """`!reconnect`."""
        await self._presence.end_sessions_of(asker.session.user_id)
        return ()

    async def rename(self, asker: Asker, name: str) -> Sequence[str]:
        """`!changename`."""
        renamed = await self._accounts.set_profile(asker.viewer, {"name": name})
        return (f"You are {chat_name(renamed.name)} now; the game will log in again.",)

    async def api_key(self, asker: Asker, revoke: str | None) -> Sequence[str]:
        """`!apikey`."""
        await self._api_keys.revoke_all(asker.session.user_id)
        if revoke:
            return ("Your API keys are revoked.",)
        key = await self._api_keys.issue(asker.session.user_id, "bot")
        return ("Your API key, shown once; click to copy it. Older ones are revoked.", f"[http://{key} key]")

    async def mail(self, asker: Asker) -> Sequence[str]:
        """`!mail`."""
        letters = await self._mail.unread(asker.session.user_id)
        counts: dict[str, int] = {}
        for letter in letters:
            counts[letter.from_name] = counts.get(letter.from_name, 0) + 1
        return [f"{chat_name(name)}: {count} unread" for name, count in counts.items()] or ("No unread mail.",)

    async def client(self, asker: Asker) -> Sequence[str]:
        """`!client`."""
        return (f"You play with {chat_text(asker.session.client)}.",)

    def commands(self) -> list[Command]:
        """What this page declares."""
        both = (OWN_OR_USER, MODE)
        return [
            Command(
                name="help",
                aliases=("h",),
                handler=self.help,
                help="The commands there are, or what one of them does.",
                arguments=(Argument("about", optional=True),),
                hidden=True,
            ),
            Command(
                name="roll",
                handler=self.roll,
                help="A random number from 1 to 100, or to the one you give.",
                arguments=(Argument("most", Kind.NUMBER, optional=True, least=1, most=ROLL_MAX),),
                surplus=True,
            ),
            Command(name="where", handler=self.where, help="A player's country.", arguments=(USER,), hidden=True),
            Command(name="stats", handler=self.stats, help="A player's rank and figures.", arguments=both),
            Command(
                name="recent",
                aliases=("last", "r", "rs"),
                handler=self.recent,
                help="A player's latest score.",
                arguments=both,
            ),
            Command(
                name="top",
                handler=self.top,
                help="A player's ten best scores by pp.",
                arguments=both,
                hidden=True,
                heavy=True,
            ),
            Command(
                name="block", handler=self.block, help="Hides a player's messages.", arguments=(USER,), hidden=True
            ),
            Command(name="unblock", handler=self.unblock, help="Shows them again.", arguments=(USER,), hidden=True),
            Command(
                name="reconnect", aliases=("rc",), handler=self.reconnect, help="Logs your client in anew.", hidden=True
            ),
            Command(
                name="changename",
                handler=self.rename,
                help="Gives you another name, once a week.",
                arguments=(Argument("name", Kind.TEXT),),
                permission="users.rename_self",
                where=Where.DM,
            ),
            Command(
                name="apikey",
                handler=self.api_key,
                help="Makes a new key for the API; older ones are revoked.",
                arguments=(Argument("revoke", Kind.CHOICE, optional=True, choices=("revoke",)),),
                where=Where.DM,
                hidden=True,
            ),
            Command(name="mail", handler=self.mail, help="Who left you messages.", where=Where.DM, hidden=True),
            Command(
                name="client",
                aliases=("version",),
                handler=self.client,
                help="The version of your client.",
                hidden=True,
            ),
        ]

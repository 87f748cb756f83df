"""Commands about players: statistics and scores, blocks, and the account of the player who asks."""

import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from kiai.accounts import Accounts, Relationships, User
from kiai.beatmaps.model import full_title
from kiai.chat.bot import Argument, ArgumentKind, Bot, BotCommand, CommandContext, CommandScope
from kiai.chat.mail import Mail
from kiai.entry import Origin
from kiai.osu.countries import COUNTRIES
from kiai.osu.modes import mode_text
from kiai.osu.mods import mods_text
from kiai.osu.texts import chat_link, chat_name, chat_text
from kiai.osu.weights import level
from kiai.own_account.acts import own_change
from kiai.own_account.keys import OwnKeys
from kiai.presence import Presence
from kiai.realtime.port import Realtime
from kiai.scores.model import MappedScore, Stats
from kiai.scores.profiles import Profiles

ROLL_MAX: Final = 1_000_000
MAIL_PAGE: Final = 9  # the page has a last line of its own, and an answer has at most 10 lines
PAGES_MAX: Final = 1_000
TOP: Final = 10
# The names of a client's actions in the lines for referee tools (docs/spec/protocol.md#actions). 7 is unknown, 10 the
# pause of a play, 13 the search of maps in the game.
DOING: Final = (
    "Idle",
    "Afk",
    "Playing",
    "Editing",
    "Modding",
    "Multiplayer",
    "Watching",
    "Idle",
    "Testing",
    "Submitting",
    "Playing",
    "Lobby",
    "Multiplaying",
    "Idle",
)

USER: Final = Argument("user", ArgumentKind.USER)
OWN_OR_USER: Final = Argument("user", ArgumentKind.USER, optional=True)
MODE: Final = Argument("mode", ArgumentKind.MODE, optional=True)


class PlayerCommands:
    """Handlers of the commands that every player may use."""

    def __init__(
        self,
        bot: Bot,
        accounts: Accounts,
        keys: OwnKeys,
        relationships: Relationships,
        profiles: Profiles,
        mail: Mail,
        presence: Presence,
        realtime: Realtime,
        link: Callable[[str], str],
    ) -> None:
        self._bot = bot
        self._accounts = accounts
        self._keys = keys
        self._relationships = relationships
        self._profiles = profiles
        self._mail = mail
        self._presence = presence
        self._realtime = realtime
        self._link = link

    async def roll(self, context: CommandContext, most: int | None) -> Sequence[str]:
        """`!roll`."""
        rolled = secrets.randbelow(most or 100) + 1
        # Fixed wording, also for 1: tools parse `point(s)`.
        return (f"{chat_name(context.session.name)} rolls {rolled} point(s)",)

    async def where(self, context: CommandContext, user: str) -> Sequence[str]:
        """`!where`. IRC gets the name as it was written, because tools compare it with their nick."""
        name, found = user, await self._bot.player(context, user)
        online = (await self._realtime.sessions_among([found.id])).get(found.id)
        # A blocked player gets the answer about a player who is offline, and so does not learn of the block.
        if online is None or context.session.user_id in online.blocked:
            return ("The user is currently not online.",)
        if found.country not in COUNTRIES or found.country == "xx":
            return ("The user's location could not be determined.",)
        return (f"{chat_name(name if context.session.irc else found.name)} is in {COUNTRIES[found.country][1]}",)

    async def stats(self, context: CommandContext, user: User | None, mode: int | None) -> Sequence[str]:
        """`!stats`. A message to the bot gets the four lines that referee tools read."""
        user, mode = await self._user_or_own(context, user, mode)
        stats = await self._profiles.stats_in(user.id, mode)
        if not context.channel:
            return await self._stats_of_tools(context, user, mode, stats)
        if stats is None:
            return (f"{chat_name(user.name)} has not played {mode_text(mode)} yet.",)
        rank = await self._realtime.rank_of(user.id, mode)
        online = (await self._realtime.sessions_among([user.id])).get(user.id)
        doing = f" Now: {chat_text(online.status.info_text)}" if online is not None and online.status.info_text else ""
        return (
            f"{chat_name(user.name)} in {mode_text(mode)}: #{rank.rank} "
            f"(#{rank.country_rank} in {user.country.upper()}), {stats.pp}pp, "
            f"{stats.acc:.2f}%, {stats.plays} plays, level {level(stats.tscore)[0]}.{doing}",
        )

    async def _stats_of_tools(
        self, context: CommandContext, user: User, mode: int, stats: Stats | None
    ) -> Sequence[str]:
        online = (await self._realtime.sessions_among([user.id])).get(user.id)
        # As in `where`: a blocked player does not learn of the block.
        seen = online is not None and not online.irc and context.session.user_id not in online.blocked
        doing = f" is {DOING[online.status.action]}" if online is not None and seen else ""
        rank = (await self._realtime.rank_of(user.id, mode)).rank
        score, total, plays, acc = (stats.rscore, stats.tscore, stats.plays, stats.acc) if stats else (0, 0, 0, 0.0)
        return (
            f"Stats for ({chat_name(user.name)})[{self._link(f'u/{user.id}')}]{doing}:",
            f"Score:    {score:,} (#{rank})",
            f"Plays:    {plays} (lv{level(total)[0]})",
            f"Accuracy: {acc:.2f}%",
        )

    async def recent(self, context: CommandContext, user: User | None, mode: int | None) -> Sequence[str]:
        """`!recent`."""
        user, mode = await self._user_or_own(context, user, mode)
        found = await self._profiles.recent_of(user.id, mode, limit=1)
        return [self._score_line(score) for score in found] or (
            f"{chat_name(user.name)} has no scores in {mode_text(mode)}.",
        )

    async def top(self, context: CommandContext, user: User | None, mode: int | None) -> Sequence[str]:
        """`!top`."""
        user, mode = await self._user_or_own(context, user, mode)
        found = await self._profiles.best_of(user.id, mode, limit=TOP)
        return [f"{place}. {self._score_line(score)}" for place, score in enumerate(found, 1)] or (
            f"{chat_name(user.name)} has no scores in {mode_text(mode)}.",
        )

    async def _user_or_own(self, context: CommandContext, user: User | None, mode: int | None) -> tuple[User, int]:
        """Return the named player and mode. The defaults are the player who asks and the mode of their client."""
        if user is None:
            user = await self._accounts.user(context.viewer, id=context.session.user_id)
        return user, context.session.status.mode or 0 if mode is None else mode

    def _score_line(self, mapped: MappedScore) -> str:
        score, beatmap = mapped.score, mapped.beatmap
        mods = f" +{mods_text(score.mods)}" if score.mods else ""
        result = f"{score.pp:.2f}pp" if score.status else "failed"
        return (
            f"{chat_link(self._link(f'b/{beatmap.id}'), full_title(beatmap))}{mods} {score.acc:.2f}% {score.grade} "
            f"{score.max_combo}x {score.nmiss} misses: {result}"
        )

    async def block(self, context: CommandContext, user: User) -> Sequence[str]:
        """`!block`."""
        session = context.session
        if user.id in session.blocked:
            return (f"{chat_name(user.name)} is already blocked.",)
        # A block ends the friendship. The session has copies of both lists, which are changed with the database.
        await self._relationships.block(session.user_id, user.id)
        await self._presence.change(session, blocked=session.blocked | {user.id}, friends=session.friends - {user.id})
        return (f"{chat_name(user.name)} is blocked.",)

    async def unblock(self, context: CommandContext, user: User) -> Sequence[str]:
        """`!unblock`."""
        session = context.session
        if user.id not in session.blocked:
            return (f"{chat_name(user.name)} is not blocked.",)
        await self._relationships.forget(session.user_id, user.id)
        await self._presence.change(session, blocked=session.blocked - {user.id})
        return (f"{chat_name(user.name)} is no longer blocked.",)

    async def rename(self, context: CommandContext, name: str) -> Sequence[str]:
        """`!changename`."""
        renamed = await self._accounts.set_profile(
            context.viewer, {"name": name}, own_change(context.viewer.user_id, "rename", context.source)
        )
        return (f"Your name is now {chat_name(renamed.name)}. The game will log in again.",)

    async def api_key(self, context: CommandContext, revoke: str | None) -> Sequence[str]:
        """`!apikey`."""
        user_id, origin = context.session.user_id, Origin(context.source)
        if revoke:
            await self._keys.revoke_api_keys(user_id, origin)
            return ("Your API keys were revoked.",)
        key = await self._keys.replace_api_keys(user_id, "bot", origin)
        # As a link: players cannot select text in the game's chat, but they can copy the address of a link.
        return (
            "Click the link to copy your API key. It is shown only once. Your older keys were revoked.",
            f"[http://{key} key]",
        )

    async def mail(self, context: CommandContext, page: int | None) -> Sequence[str]:
        """`!mail`."""
        counts = Counter(letter.from_name for letter in await self._mail.unread(context.session.user_id))
        if not counts:
            return ("No unread mail.",)
        pages = -(-len(counts) // MAIL_PAGE)
        page = min(page or 1, pages)
        on_page = list(counts.items())[(page - 1) * MAIL_PAGE : page * MAIL_PAGE]
        lines = [f"{chat_name(name)}: {count} unread" for name, count in on_page]
        return lines if pages == 1 else [*lines, f"Page {page} of {pages}. Type !mail <page> for more."]

    def commands(self) -> list[BotCommand]:
        """Return the declarations of the commands of every player."""
        user_and_mode = (OWN_OR_USER, MODE)
        return [
            BotCommand(
                name="roll",
                handler=self.roll,
                help="Rolls a number from 1 to 100, or to the number you give.",
                arguments=(Argument("most", ArgumentKind.NUMBER, optional=True, least=1, most=ROLL_MAX),),
                ignores_extra=True,  # tools append random words
            ),
            BotCommand(
                name="where",
                handler=self.where,
                help="Shows a player's country.",
                arguments=(Argument("user"),),  # a word: the answer repeats it
                hidden=True,
            ),
            BotCommand(
                name="stats", handler=self.stats, help="Shows a player's rank and statistics.", arguments=user_and_mode
            ),
            BotCommand(
                name="recent",
                aliases=("last", "r", "rs"),
                handler=self.recent,
                help="Shows a player's latest score.",
                arguments=user_and_mode,
            ),
            BotCommand(
                name="top",
                handler=self.top,
                help="Lists a player's ten best scores by pp.",
                arguments=user_and_mode,
                hidden=True,  # ten lines would fill the channel
                heavy=True,
            ),
            BotCommand(
                name="block",
                handler=self.block,
                help="Blocks a player: you no longer see their messages.",
                arguments=(USER,),
                hidden=True,
            ),
            BotCommand(name="unblock", handler=self.unblock, help="Unblocks a player.", arguments=(USER,), hidden=True),
            BotCommand(
                name="changename",
                handler=self.rename,
                help="Changes your name. You can do this once a week.",
                arguments=(Argument("name", ArgumentKind.TEXT),),
                permission="users.rename_self",
                audit="rename",
                scope=CommandScope.DM,
            ),
            BotCommand(
                name="apikey",
                handler=self.api_key,
                help="Creates an API key and revokes your older keys.",
                audit="apikey_reset",
                arguments=(Argument("revoke", ArgumentKind.CHOICE, optional=True, choices=("revoke",)),),
                scope=CommandScope.DM,
                hidden=True,
            ),
            BotCommand(
                name="mail",
                handler=self.mail,
                help="Counts the messages that players sent you while you were offline.",
                arguments=(Argument("page", ArgumentKind.NUMBER, optional=True, least=1, most=PAGES_MAX),),
                scope=CommandScope.DM,
                hidden=True,
            ),
        ]

"""The bot: what is a command, whose, and with which arguments (docs/spec/bot.md). The commands themselves are a face.

A command is declared once: name, aliases, permission, place, arguments with types, one sentence of help. Its usage
line, its rights, its limits and the reference in the documentation follow from that.

    text -> is it a command? -> may the asker? -> arguments to values -> handler -> lines
"""

import enum
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from kiai.accounts import Accounts, User, Viewer
from kiai.chat.model import Answer
from kiai.clock import Clock
from kiai.errors import Invalid, KiaiError, NotFound
from kiai.ids import Ids
from kiai.logs import get_logger
from kiai.osu.durations import parse_duration
from kiai.osu.modes import parse_mode
from kiai.osu.numbers import whole_number
from kiai.osu.privileges import STAFF, effective, may
from kiai.osu.texts import chat_text
from kiai.realtime.port import Realtime, Session

PREFIX: Final = "!"
LINES_MAX: Final = 10
WORDS_MAX: Final = 64
PER_SECOND: Final = 1
BURST: Final = 5
HEAVY_PER_MINUTE: Final = 20
USERS_MAX: Final = 16
"""Players that one command may name."""
NAME_MAX: Final = 64

_TOKEN: Final = re.compile(r'"([^"]*)"|(\S+)')


class Kind(enum.Enum):
    """What a word must be."""

    WORD = "a word"
    TEXT = "text"  # all that is left
    NUMBER = "a whole number"
    USER = "a player: a name, a name in quotes, or #id"
    USERS = "players, separated by spaces or commas"  # all that is left
    MODE = "a mode: 0-6, 8, or for example vn!std"
    DURATION = "a duration such as 1h30m or 7d"
    CHOICE = "one of"


class Where(enum.Enum):
    """In which places a command is one."""

    ANYWHERE = "anywhere"
    DM = "in a message to the bot"
    MATCH = "in the channel of a match"


class Argument(msgspec.Struct, frozen=True):
    """One argument. `least` and `most` bound numbers; optional ones come last."""

    name: str
    kind: Kind = Kind.WORD
    optional: bool = False
    choices: tuple[str, ...] = ()
    least: int = 0
    most: int = 2**31 - 1

    @property
    def shown(self) -> str:
        """As a usage line shows it."""
        inner = "|".join(self.choices) if self.kind is Kind.CHOICE else self.name
        if self.kind is Kind.USERS:
            inner += "..."
        return f"[{inner}]" if self.optional else f"<{inner}>"


class Asker(msgspec.Struct, frozen=True):
    """Who asks, and where: a channel's own name, or "" to the bot alone."""

    session: Session
    where: str

    @property
    def viewer(self) -> Viewer:
        """With whose eyes the asker sees."""
        return Viewer(self.session.user_id, effective(self.session.priv))


class Named(msgspec.Struct, frozen=True):
    """A player as the asker named it, and who that is; None for nobody whom the asker may know of."""

    text: str
    user: User | None


Handler = Callable[..., Awaitable[Sequence[str]]]


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A command. `hidden`: line and answer are the asker's alone; `heavy`: it costs more than a look-up.

    `allowed` is a right that depends on where the asker is, such as leading a match: who lacks it gets no answer, and
    who has it is not slowed down, since tools of referees set a room with many lines at once. `surplus`: words that the
    command has no use for are ignored, since such tools append random ones. `misused` is what wrong arguments are
    answered with, above the usage line, in place of what is wrong with them.
    """

    name: str
    handler: Handler
    help: str
    aliases: tuple[str, ...] = ()
    arguments: tuple[Argument, ...] = ()
    permission: str = ""
    where: Where = Where.ANYWHERE
    hidden: bool = False
    heavy: bool = False
    audit: str = ""
    group: str = ""
    allowed: Callable[[Asker], Awaitable[bool]] | None = None
    surplus: bool = False
    misused: str = ""
    lines_max: int = LINES_MAX

    @property
    def usage(self) -> str:
        """How it is written."""
        words = [PREFIX + self.group, self.name] if self.group else [PREFIX + self.name]
        return " ".join([*words, *(argument.shown for argument in self.arguments)])


NowPlaying = Callable[[Session, str, str], Awaitable[Sequence[str] | None]]


class BadArgument(KiaiError):
    """A word is not what it must be."""


class MissingArgument(BadArgument):
    """An argument that must be given was not."""

    def __init__(self, argument: Argument) -> None:
        super().__init__(f"{argument.name} is missing.")
        self.argument = argument


class UnknownPlayer(NotFound):
    """Nobody has the name or id, or nobody whom the asker may know of."""

    def __init__(self) -> None:
        super().__init__("player")


class Bot:
    """Hears lines and answers those that are for it."""

    def __init__(self, accounts: Accounts, realtime: Realtime, clock: Clock, ids: Ids, *, limited: bool) -> None:
        self._accounts = accounts
        self._realtime = realtime
        self._clock = clock
        self._ids = ids
        self._limited = limited
        self._by_name: dict[tuple[str, str], Command] = {}
        self._now_playing: NowPlaying | None = None
        self.commands: list[Command] = []

    def learn(self, commands: Sequence[Command]) -> None:
        """From now on these are commands. A name that is taken already is a mistake of ours."""
        for command in commands:
            self.commands.append(command)
            for name in (command.name, *command.aliases):
                assert (command.group, name) not in self._by_name, name
                self._by_name[command.group, name] = command

    def watch(self, now_playing: NowPlaying) -> None:
        """Who is given action lines, which may say what somebody plays."""
        self._now_playing = now_playing

    async def hear(self, session: Session, where: str, text: str) -> Answer | None:
        """The answer to a line; None when it is not for the bot."""
        if text.startswith("\x01ACTION ") and self._now_playing is not None:
            lines = await self._now_playing(session, where, text)
            return None if lines is None else Answer(tuple(lines[:LINES_MAX]))
        command, words = self._found(text, where)
        if command is None or not self._may(session, command, where):
            if where or (command is None and not text):
                return None
            return Answer(("I do not know this command; !help lists those that there are.",))
        asker = Asker(session, where)
        if command.allowed is not None:
            if not await command.allowed(asker):
                return Answer(hidden=command.hidden)
        elif not await self._granted(session, command):
            return Answer(("Not so fast, please.",), hidden=command.hidden)
        lines = await self._answered(asker, command, words)
        return Answer(tuple(lines)[: command.lines_max], command.hidden)

    def is_private(self, session: Session, where: str, text: str) -> bool:
        """Whether a line is a command whose line and answer are nobody else's business."""
        command, _ = self._found(text, where)
        return command is not None and command.hidden and self._may(session, command, where)

    def _found(self, text: str, where: str) -> tuple[Command | None, str]:
        if not text.startswith(PREFIX):
            if where:
                return None, ""
            text = PREFIX + text  # to the bot alone the prefix may be left out
        name, _, rest = text.removeprefix(PREFIX).partition(" ")
        name = name.lower()
        if any(group == name for group, _ in self._by_name):
            inner, _, after = rest.strip().partition(" ")
            return self._by_name.get((name, inner.lower() or "help")), after
        return self._by_name.get(("", name or "help")), rest

    def may_use(self, session: Session, command: Command) -> bool:
        """Whether the command exists for this player."""
        return not command.permission or may(session.priv, command.permission)

    def _may(self, session: Session, command: Command, where: str) -> bool:
        if command.where is Where.DM and where:
            return False
        if command.where is Where.MATCH and not where.startswith("#multi_"):
            return False
        return self.may_use(session, command)

    async def _granted(self, session: Session, command: Command) -> bool:
        if not self._limited:
            return True
        if not effective(session.priv) & STAFF:
            allowed = await self._realtime.take(f"bot:{session.user_id}", limit=PER_SECOND, period_s=1.0, burst=BURST)
            if not allowed.granted:
                return False
        if not command.heavy:
            return True
        heavy = await self._realtime.take(f"bot-heavy:{session.user_id}", limit=HEAVY_PER_MINUTE, period_s=60.0)
        return heavy.granted

    async def _answered(self, asker: Asker, command: Command, rest: str) -> Sequence[str]:
        try:
            return await command.handler(asker, **await self._values(asker, command, rest))
        except BadArgument as error:
            return _misused(command, error)
        except UnknownPlayer:
            return ("User not found",)
        except Invalid as error:
            return (chat_text(f"{error}."),)
        except KiaiError as error:
            text = chat_text(str(error))
            return (f"{text[:1].upper()}{text[1:]}.",)
        except Exception as error:
            error_id = self._ids.request_id()
            get_logger("bot").error("command failed", command=command.name, error_id=error_id, exc_info=error)
            return (f"Internal error, id {error_id}.",)

    async def _values(self, asker: Asker, command: Command, rest: str) -> dict[str, Any]:
        values: dict[str, Any] = {}
        position = 0
        modes = any(argument.kind is Kind.MODE for argument in command.arguments)
        for argument in command.arguments:
            values[argument.name] = None
            if argument.kind in (Kind.TEXT, Kind.USERS):
                found, after = rest[position:].strip(), len(rest)
            else:
                token = _TOKEN.search(rest, position)
                found = "" if token is None else (token[1] if token[1] is not None else token[2])
                after = len(rest) if token is None else token.end()
            if not found:
                if not argument.optional:
                    raise MissingArgument(argument)
                position = after
                continue
            if argument.optional and modes and argument.kind is Kind.USER and parse_mode(found) is not None:
                continue  # nobody is called like a mode
            if command.surplus and _is_surplus(argument, found):
                continue
            values[argument.name] = await self._value(asker, argument, found)
            position = after
        if rest[position:].strip() and not command.surplus:
            raise BadArgument("There is too much.")
        return values

    async def _value(self, asker: Asker, argument: Argument, text: str) -> Any:
        match argument.kind:
            case Kind.WORD | Kind.TEXT:
                return text
            case Kind.NUMBER:
                if (number := whole_number(text, argument.most, argument.least)) is None:
                    raise BadArgument(f"{argument.name} is a whole number from {argument.least} to {argument.most}.")
                return number
            case Kind.USER:
                return await self.player(asker, text)
            case Kind.USERS:
                return await self._users(asker, argument, text)
            case Kind.MODE:
                if (mode := parse_mode(text)) is None:
                    raise BadArgument(f"{argument.name} is {Kind.MODE.value}.")
                return mode
            case Kind.DURATION:
                if (seconds := parse_duration(text)) is None:
                    raise BadArgument(
                        f"A duration is written like 30s, 10m, 1h30m, 7d or 2w, from 1 second to 1 year, "
                        f"not {text[:32]}."
                    )
                return seconds
            case Kind.CHOICE:
                if text.lower() not in argument.choices:
                    raise BadArgument(f"{argument.name} is one of {', '.join(argument.choices)}.")
                return text.lower()

    async def _users(self, asker: Asker, argument: Argument, text: str) -> list[Named]:
        words = [found[1] if found[1] is not None else found[2].strip(",") for found in _TOKEN.finditer(text)]
        names = list(dict.fromkeys(part for word in words for part in word.split(",") if part.strip()))
        if len(names) > USERS_MAX:
            raise BadArgument(f"At most {USERS_MAX} players at once.")
        if not names:
            raise MissingArgument(argument)
        found_all: list[Named] = []
        for name in names:
            try:
                found_all.append(Named(name, await self.player(asker, name)))
            except UnknownPlayer:
                found_all.append(Named(name, None))
        return found_all

    async def player(self, asker: Asker, text: str) -> User:
        """The player whom the asker means by a name or `#id`. Raises UnknownPlayer."""
        try:
            if text.startswith("#"):
                user_id = whole_number(text[1:])
                return await self._accounts.user(asker.viewer, id=0 if user_id is None else user_id)
            if len(text) > NAME_MAX or not text.isprintable():
                raise UnknownPlayer
            return await self._accounts.user(asker.viewer, name=text)
        except NotFound as error:
            raise UnknownPlayer from error


def _is_surplus(argument: Argument, text: str) -> bool:
    """Whether a word is a random one that stands where an optional argument could."""
    if not argument.optional:
        return False
    if argument.kind is Kind.CHOICE:
        return text.lower() not in argument.choices
    # Digits of any script and signs: who wrote them meant a number, and is told that it is none that fits.
    return argument.kind is Kind.NUMBER and not text.lstrip("+-").isdigit()


def _misused(command: Command, error: BadArgument) -> Sequence[str]:
    usage = f"Usage: {command.usage}"
    if isinstance(error, MissingArgument) and command.group == "mp" and error.argument.kind in (Kind.USER, Kind.USERS):
        return ("No user specified", usage)
    return (command.misused, usage) if command.misused else (f"{chat_text(str(error))} {usage}",)

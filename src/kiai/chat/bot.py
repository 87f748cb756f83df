"""The bot: what is a command, whose, and with which arguments (game-rules 14). The commands themselves are a face.

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
from kiai.osu.modes import parse_mode
from kiai.osu.privileges import STAFF, effective, may
from kiai.realtime.port import Realtime, Session

PREFIX: Final = "!"
LINES_MAX: Final = 10
WORDS_MAX: Final = 64
PER_SECOND: Final = 1
BURST: Final = 5
HEAVY_PER_MINUTE: Final = 20
YEAR_S: Final = 365 * 86_400

_TOKEN: Final = re.compile(r'"([^"]*)"|(\S+)')
_DURATION: Final = re.compile(r"(?:\d{1,9}[smhdw])+")
_PART: Final = re.compile(r"(\d+)([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


class Kind(enum.Enum):
    """What a word must be."""

    WORD = "a word"
    TEXT = "text"  # all that is left
    NUMBER = "a whole number"
    USER = "a player: a name, a name in quotes, or #id"
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
        return f"[{inner}]" if self.optional else f"<{inner}>"


class Asker(msgspec.Struct, frozen=True):
    """Who asks, and where: a channel's own name, or "" to the bot alone."""

    session: Session
    where: str

    @property
    def viewer(self) -> Viewer:
        """With whose eyes the asker sees."""
        return Viewer(self.session.user_id, effective(self.session.priv))


Handler = Callable[..., Awaitable[Sequence[str]]]


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A command. `hidden`: line and answer are the asker's alone; `heavy`: it costs more than a look-up."""

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

    @property
    def usage(self) -> str:
        """How it is written."""
        words = [PREFIX + self.group, self.name] if self.group else [PREFIX + self.name]
        return " ".join([*words, *(argument.shown for argument in self.arguments)])


NowPlaying = Callable[[Session, str, str], Awaitable[Sequence[str] | None]]


class BadArgument(KiaiError):
    """A word is not what it must be."""


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
        if not await self._granted(session, command):
            return Answer(("Not so fast, please.",), hidden=command.hidden)
        return Answer(tuple(await self._answered(Asker(session, where), command, words))[:LINES_MAX], command.hidden)

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
            values = await self._values(asker, command, rest)
        except BadArgument as error:
            return (f"{error} Usage: {command.usage}",)
        except NotFound:
            return ("There is no such player.",)
        try:
            return await command.handler(asker, **values)
        except BadArgument as error:
            return (f"{error} Usage: {command.usage}",)
        except Invalid as error:
            return (f"{error}.",)
        except KiaiError as error:
            text = str(error)
            return (f"{text[:1].upper()}{text[1:]}.",)
        except Exception as error:
            error_id = self._ids.request_id()
            get_logger("bot").error("command failed", command=command.name, error_id=error_id, exc_info=error)
            return (f"Internal error, id {error_id}.",)

    async def _values(self, asker: Asker, command: Command, rest: str) -> dict[str, Any]:
        values: dict[str, Any] = {}
        position = 0
        kinds = [argument.kind for argument in command.arguments]
        for argument in command.arguments:
            before = position
            if argument.kind is Kind.TEXT:
                text, position = rest[position:].strip(), len(rest)
                found = text or None
            else:
                token = _TOKEN.search(rest, position)
                found = None if token is None else (token[1] if token[1] is not None else token[2])
                position = len(rest) if token is None else token.end()
            if not found:
                if not argument.optional:
                    raise BadArgument(f"{argument.name} is missing.")
                values[argument.name] = None
                continue
            if (
                argument.kind is Kind.USER
                and argument.optional
                and Kind.MODE in kinds
                and parse_mode(found) is not None
            ):
                values[argument.name], position = None, before  # nobody is called like a mode
                continue
            values[argument.name] = await self._value(asker, argument, found)
        if rest[position:].strip():
            raise BadArgument("There is too much.")
        return values

    async def _value(self, asker: Asker, argument: Argument, text: str) -> Any:
        match argument.kind:
            case Kind.WORD | Kind.TEXT:
                return text
            case Kind.NUMBER:
                if not re.fullmatch(r"[0-9]{1,10}", text) or not argument.least <= int(text) <= argument.most:
                    raise BadArgument(f"{argument.name} is a whole number from {argument.least} to {argument.most}.")
                return int(text)
            case Kind.USER:
                return await self._user(asker, text)
            case Kind.MODE:
                if (mode := parse_mode(text)) is None:
                    raise BadArgument(f"{argument.name} is {Kind.MODE.value}.")
                return mode
            case Kind.DURATION:
                return _duration(text)
            case Kind.CHOICE:
                if text.lower() not in argument.choices:
                    raise BadArgument(f"{argument.name} is one of {', '.join(argument.choices)}.")
                return text.lower()

    async def _user(self, asker: Asker, text: str) -> User:
        if re.fullmatch(r"#[0-9]{1,10}", text):
            return await self._accounts.user(asker.viewer, id=int(text[1:]))
        if len(text) > 64 or not text.isprintable():
            raise NotFound("player")
        return await self._accounts.user(asker.viewer, name=text)


def _duration(text: str) -> int:
    if not _DURATION.fullmatch(text.lower()):
        raise BadArgument(f"A duration is written like 30s, 10m, 1h30m, 7d or 2w, not {text[:32]}.")
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(text.lower()))
    if not 1 <= seconds <= YEAR_S:
        raise BadArgument("A duration is from 1 second to 1 year.")
    return seconds

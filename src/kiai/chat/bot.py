"""The bot's parser and table of commands (docs/spec/bot.md). The commands themselves are in faces/bot.

A command is declared once: name, aliases, permission, scope, typed arguments and one sentence of help. The usage line,
the check of rights, the rate limits and the reference in docs/operate/bot.md are derived from the declaration.

    text -> command -> permission -> rate limit -> typed arguments -> handler -> lines
"""

import enum
import re
import secrets
import string
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from kiai.accounts import BOT_ID, Accounts, User, Viewer
from kiai.chat.model import BotReply
from kiai.clock import Clock
from kiai.errors import Invalid, KiaiError, LacksRole, NotAllowed, NotFound
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
"""Players that one command may name: as many as a match has slots."""
CODE_CHARACTERS: Final = string.digits + string.ascii_lowercase
CODE_LENGTH: Final = 6
CONFIRM_WITHIN_S: Final = 60.0
NAME_MAX: Final = 64  # longer than any name, but bounds the work of a lookup

REASON_MAX: Final = 500
PERMANENT: Final = 0
"""The value of a LENGTH for the word `perma`, where it is a choice."""
UNKNOWN: Final = "Unknown command. Type !help for a list."

# Without nested repetition, which would take exponential time for a long number.
_LIKE_DURATION: Final = re.compile(r"[0-9]+(?:[smhdw][0-9]+)*[smhdw]?", re.IGNORECASE)
_LIKE_MODE: Final = re.compile(r"(?:vn|rx|ap)!.*|osu!?|std|taiko|catch|mania", re.IGNORECASE)
_STAFF: Final = Viewer(priv=STAFF)
_TOKEN: Final = re.compile(r'"([^"]*)"|(\S+)')


class ArgumentKind(enum.Enum):
    """The type of an argument. The value describes it in documentation."""

    WORD = "a word"
    TEXT = "text"  # the rest of the line
    REASON = "a reason of 1 to 500 characters"  # the rest of the line
    NUMBER = "a whole number"
    USER = "a player: a name, a name in quotes, or #id"
    USERS = "players, separated by spaces or commas"  # the rest of the line
    MODE = "a mode: 0-6, 8, or for example vn!std"
    DURATION = "a duration such as 1h30m or 7d"
    LENGTH = "a duration such as 1h30m or 7d; other words belong to the next argument"
    CHOICE = "one of"


_REST_OF_LINE: Final = (ArgumentKind.TEXT, ArgumentKind.REASON, ArgumentKind.USERS)


class CommandScope(enum.Enum):
    """The places in which the bot accepts a command."""

    ANYWHERE = "anywhere"
    DM = "in a message to the bot"
    MATCH = "in the channel of a match"


class Argument(msgspec.Struct, frozen=True):
    """One argument. `least` and `most` bound a number.

    Optional arguments come last, except a LENGTH, and a MODE or CHOICE in front of the rest of the line. A word that
    does not fit such an argument belongs to the next one. A word that fits never does, even if the next one is then
    missing: in `!wipeuser bob vn!taiko` the word is the mode. `choices` of a WORD only appear in the usage line; the
    handler checks them. `check` raises Invalid for a text that the argument cannot have.
    """

    name: str
    kind: ArgumentKind = ArgumentKind.WORD
    optional: bool = False
    choices: tuple[str, ...] = ()
    least: int = 0
    most: int = 2**31 - 1
    check: Callable[[str], None] | None = None

    @property
    def key(self) -> str:
        """Return the name of the handler's parameter."""
        return self.name.replace(" ", "_")

    @property
    def usage(self) -> str:
        """Return the argument as a usage line shows it, e.g. `<name>` or `[on|off]`."""
        is_choice = self.kind is ArgumentKind.CHOICE or (self.kind is ArgumentKind.WORD and self.choices)
        inner = "|".join(self.choices) if is_choice else self.name
        if self.kind is ArgumentKind.LENGTH:
            inner = "|".join((self.name, *self.choices))
        if self.kind is ArgumentKind.USERS:
            inner += "..."
        return f"[{inner}]" if self.optional else f"<{inner}>"


class CommandContext(msgspec.Struct, frozen=True):
    """The author of a command, and the channel by the server's name, or "" for a private line to the bot."""

    session: Session
    channel: str

    @property
    def source(self) -> str:
        """The interface of the author, as the audit log names it."""
        return "irc" if self.session.irc else "game"

    @property
    def viewer(self) -> Viewer:
        """The author as a viewer, which decides which players the command can name."""
        return Viewer(self.session.user_id, effective(self.session.priv))


class NamedPlayer(msgspec.Struct, frozen=True):
    """A name in a command, and its user, or None if no user visible to the author has the name."""

    text: str
    user: User | None


Handler = Callable[..., Awaitable[Sequence[str]]]


class BotCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A command of the bot.

    `permission`: the permission that the author needs; without it the command does not exist for the author.
    `hidden`: only the author receives the line and the answer.
    `heavy`: the command costs more than a lookup and has a second rate limit.
    `allowed`: a right that depends on the channel, such as being referee of the match. An author without it gets no
    answer. An author with it has no rate limit, because referees' tools set up a match with many lines at once.
    `ignores_extra`: superfluous words are ignored, because referees' tools append random ones to avoid repeated lines.
    `misuse_reply`: the answer to wrong arguments, above the usage line, instead of the error.
    `confirm`: takes the arguments of the handler, checks them, and returns a sentence about what will happen. The
    command runs only when the author sends the code in the answer.
    """

    name: str
    handler: Handler
    help: str
    aliases: tuple[str, ...] = ()
    arguments: tuple[Argument, ...] = ()
    permission: str = ""
    scope: CommandScope = CommandScope.ANYWHERE
    hidden: bool = False
    heavy: bool = False
    audit: str = ""
    group: str = ""
    allowed: Callable[[CommandContext], Awaitable[bool]] | None = None
    ignores_extra: bool = False
    misuse_reply: str = ""
    lines_max: int = LINES_MAX
    confirm: Callable[..., Awaitable[str]] | None = None

    @property
    def usage(self) -> str:
        """Return the usage line, e.g. `!roll [most]`."""
        words = [PREFIX + self.group, self.name] if self.group else [PREFIX + self.name]
        return " ".join([*words, *(argument.usage for argument in self.arguments)])


NowPlaying = Callable[[Session, str, str], Awaitable[Sequence[str] | None]]


class BadArgument(KiaiError):
    """A word does not fit its argument."""


class MissingArgument(BadArgument):
    """A required argument is missing."""

    def __init__(self, argument: Argument) -> None:
        super().__init__(f"{argument.name} is missing.")
        self.argument = argument


class _Unconfirmed(msgspec.Struct, frozen=True):
    """A line that waits for `!confirm`."""

    channel: str
    text: str
    until_ms: int


class UnknownPlayer(NotFound):
    """No user visible to the author has the name or id."""

    def __init__(self) -> None:
        super().__init__("player")


class Bot:
    """Parses lines and answers those that are commands."""

    def __init__(self, accounts: Accounts, realtime: Realtime, clock: Clock, ids: Ids, *, limited: bool) -> None:
        self._accounts = accounts
        self._realtime = realtime
        self._clock = clock
        self._ids = ids
        self._limited = limited
        self._by_name: dict[tuple[str, str], BotCommand] = {}
        self._now_playing: NowPlaying | None = None
        self.commands: list[BotCommand] = []
        self.register(
            [
                BotCommand(
                    name="confirm",
                    handler=self._confirm,
                    arguments=(Argument("code"),),
                    hidden=True,
                    help="Carries out the command for which the bot gave you the code.",
                )
            ]
        )

    def register(self, commands: Sequence[BotCommand]) -> None:
        """Add commands. Two commands of a group must not share a name or alias (asserted)."""
        for command in commands:
            self.commands.append(command)
            for name in (command.name, *command.aliases):
                assert (command.group, name) not in self._by_name, name
                self._by_name[command.group, name] = command

    def set_action_handler(self, now_playing: NowPlaying) -> None:
        """Set the handler of action lines (`/me`, `/np`), which may name a map."""
        self._now_playing = now_playing

    async def on_message(self, session: Session, channel: str, text: str) -> BotReply | None:
        """Return the answer to a line, or None if the line is not for the bot.

        `channel` is the server's name of the channel, or "" for a private line to the bot.
        """
        if text.startswith("\x01ACTION ") and self._now_playing is not None:
            lines = await self._now_playing(session, channel, text)
            return None if lines is None else BotReply(tuple(lines[:LINES_MAX]))
        command, words = self._parse(text, channel)
        # A command without permission and an unknown one get the same answer, so that nobody learns staff's commands.
        if command is None or not self._may(session, command, channel):
            # In a channel the line may be ordinary chat ("!!!"), so only a private line gets an answer.
            if channel or (command is None and not text):
                return None
            return BotReply((UNKNOWN,))
        context = CommandContext(session, channel)
        if command.allowed is not None:
            if not await command.allowed(context):
                return BotReply(hidden=command.hidden)
        elif not await self._within_limits(session, command):
            return BotReply(("You're sending commands too quickly.",), hidden=command.hidden)
        lines = await self._run(context, command, words, text=text)
        return BotReply(tuple(lines)[: command.lines_max], command.hidden)

    async def _confirm(self, context: CommandContext, code: str) -> Sequence[str]:
        """`!confirm`. The line is parsed again, so that the author's rights and the target are checked again."""
        user_id = context.session.user_id
        stored = (await self._realtime.stashed(_confirmations(user_id))).get(code.lower())
        line = None if stored is None else msgspec.json.decode(stored, type=_Unconfirmed)
        if line is None or line.until_ms <= self._clock.now_ms():
            return ("Nothing to confirm.",)
        command, words = self._parse(line.text, line.channel)
        if command is None or not self._may(context.session, command, line.channel):
            return ("Nothing to confirm.",)
        if not await self._realtime.once(f"confirmed:{user_id}:{code.lower()}", 2 * CONFIRM_WITHIN_S):
            return ("Nothing to confirm.",)
        return await self._run(CommandContext(context.session, line.channel), command, words, text=None)

    async def _ask_to_confirm(
        self, context: CommandContext, command: BotCommand, values: dict[str, Any], text: str
    ) -> Sequence[str]:
        assert command.confirm is not None
        sentence = await command.confirm(context, **values)
        code = "".join(secrets.choice(CODE_CHARACTERS) for _ in range(CODE_LENGTH))
        until_ms = self._clock.now_ms() + int(CONFIRM_WITHIN_S * 1_000)
        line = msgspec.json.encode(_Unconfirmed(context.channel, text, until_ms))
        await self._realtime.stash(_confirmations(context.session.user_id), code, line, CONFIRM_WITHIN_S)
        return (f"{sentence} Type {PREFIX}confirm {code} within {CONFIRM_WITHIN_S:.0f} seconds to do it.",)

    def is_private(self, session: Session, channel: str, text: str) -> bool:
        """Return whether a line is a hidden command, which only its author may read."""
        command, _ = self._parse(text, channel)
        return command is not None and command.hidden and self._may(session, command, channel)

    def _parse(self, text: str, channel: str) -> tuple[BotCommand | None, str]:
        if not text.startswith(PREFIX):
            if channel:
                return None, ""
            text = PREFIX + text  # the prefix is optional in a private line to the bot
        name, _, rest = text.removeprefix(PREFIX).partition(" ")
        name = name.lower()
        # A group such as !mp: its next word is the command. The group without a word shows its help.
        if any(group == name for group, _ in self._by_name):
            inner, _, after = rest.strip().partition(" ")
            return self._by_name.get((name, inner.lower() or "help")), after
        return self._by_name.get(("", name or "help")), rest

    def may_use(self, session: Session, command: BotCommand) -> bool:
        """Return whether the player has the command's permission."""
        return not command.permission or may(session.priv, command.permission)

    def _may(self, session: Session, command: BotCommand, channel: str) -> bool:
        if command.scope is CommandScope.DM and channel:
            return False
        if command.scope is CommandScope.MATCH and not channel.startswith("#multi_"):
            return False
        return self.may_use(session, command)

    async def _within_limits(self, session: Session, command: BotCommand) -> bool:
        if not self._limited:
            return True
        if not effective(session.priv) & STAFF:
            allowed = await self._realtime.consume(
                f"bot:{session.user_id}", limit=PER_SECOND, period_s=1.0, burst=BURST
            )
            if not allowed.granted:
                return False
        if not command.heavy:
            return True
        heavy = await self._realtime.consume(f"bot-heavy:{session.user_id}", limit=HEAVY_PER_MINUTE, period_s=60.0)
        return heavy.granted

    async def _run(self, context: CommandContext, command: BotCommand, rest: str, *, text: str | None) -> Sequence[str]:
        """Run a command, or ask to confirm it. `text` is its whole line, or None if it is confirmed."""
        try:
            values = await self._values(context, command, rest)
            if command.confirm is not None and text is not None:
                return await self._ask_to_confirm(context, command, values, text)
            return await command.handler(context, **values)
        except BadArgument as error:
            return _misuse_lines(command, error)
        except UnknownPlayer:
            return ("User not found",)
        except NotAllowed as error:
            if not isinstance(error, LacksRole):  # the author has lost the right since the login
                return (UNKNOWN,)
            return _sentence(error)
        except Invalid as error:  # a value that only the handler can check
            return _misuse_lines(command, BadArgument(f"{error}."))
        except KiaiError as error:
            return _sentence(error)
        except Exception as error:  # a fault of the server: the line was sent, so the poll of its author must not fail
            error_id = self._ids.request_id()
            get_logger("bot").error("command failed", command=command.name, error_id=error_id, exc_info=error)
            return (f"Internal error, id {error_id}.",)

    async def _values(self, context: CommandContext, command: BotCommand, rest: str) -> dict[str, Any]:
        values: dict[str, Any] = {}
        named: list[tuple[Argument, str]] = []
        position = 0
        takes_mode = any(argument.kind is ArgumentKind.MODE for argument in command.arguments)
        for argument in command.arguments:
            values[argument.key] = None
            if argument.kind in _REST_OF_LINE:
                word, after = rest[position:].strip(), len(rest)
            else:
                token = _TOKEN.search(rest, position)
                word = "" if token is None else (token[1] if token[1] is not None else token[2])
                after = len(rest) if token is None else token.end()
            if not word:
                if not argument.optional:
                    raise MissingArgument(argument)
                position = after
                continue
            # In `!stats taiko` the word is the mode, not the optional player. No player may have the name of a mode.
            is_user = argument.kind is ArgumentKind.USER
            if argument.optional and takes_mode and is_user and parse_mode(word) is not None:
                continue
            if argument.kind is ArgumentKind.LENGTH and not _is_length(argument, word):
                continue
            if _leads(command, argument) and not _fits(argument, word):
                continue
            if command.ignores_extra and _is_extra(argument, word):
                continue  # the word stays for the next argument
            if argument.kind in (ArgumentKind.USER, ArgumentKind.USERS):
                named.append((argument, word))
            else:
                values[argument.key] = _value(argument, word)
                if argument.check is not None:
                    argument.check(word)
            position = after
        if rest[position:].strip() and not command.ignores_extra:
            raise BadArgument("Too many arguments.")
        # Names last: a line with wrong arguments gets the usage line, whether or not the player exists.
        for argument, text in named:
            if argument.kind is ArgumentKind.USER:
                values[argument.key] = await self.player(context, text)
            else:
                values[argument.key] = await self._users(context, argument, text)
        return values

    async def _users(self, context: CommandContext, argument: Argument, text: str) -> list[NamedPlayer]:
        words = [token[1] if token[1] is not None else token[2].strip(",") for token in _TOKEN.finditer(text)]
        names = list(dict.fromkeys(part for word in words for part in word.split(",") if part.strip()))
        if len(names) > USERS_MAX:
            raise BadArgument(f"At most {USERS_MAX} players at once.")
        if not names:
            raise MissingArgument(argument)
        players: list[NamedPlayer] = []
        for name in names:
            try:
                players.append(NamedPlayer(name, await self.player(context, name)))
            except UnknownPlayer:  # the command reports it for this name and continues with the others
                players.append(NamedPlayer(name, None))
        return players

    async def player(self, context: CommandContext, text: str) -> User:
        """Return the user with the name or `#id`, if the author may see it. Raises UnknownPlayer."""
        try:
            if text.startswith("#"):
                user_id = whole_number(text[1:])
                # No user has the id 0: an invalid number ends in the same error as an unknown one.
                user = await self._accounts.user(context.viewer, id=0 if user_id is None else user_id)
            elif len(text) > NAME_MAX or not text.isprintable():
                raise UnknownPlayer
            else:
                user = await self._accounts.user(context.viewer, name=text)
        except NotFound as error:
            # Everybody knows the bot, which is not a visible player. The commands refuse it as a target.
            if text.lower() in (f"#{BOT_ID}", await self._bot_name()):
                return await self._accounts.user(_STAFF, id=BOT_ID)
            raise UnknownPlayer from error
        if user.deleted_at_ms is not None:  # staff sees deleted accounts, but nothing can be done to them
            raise UnknownPlayer
        return user

    async def _bot_name(self) -> str:
        return (await self._accounts.user(_STAFF, id=BOT_ID)).name.lower()


def _value(argument: Argument, text: str) -> Any:
    """Return the value of an argument that is not a player. Raises BadArgument."""
    match argument.kind:
        case ArgumentKind.REASON:
            if len(text) > REASON_MAX:
                raise BadArgument(f"{argument.name} must have at most {REASON_MAX} characters.")
            return text
        case ArgumentKind.NUMBER:
            if (number := whole_number(text, argument.most, argument.least)) is None:
                raise BadArgument(f"{argument.name} must be a whole number from {argument.least} to {argument.most}.")
            return number
        case ArgumentKind.MODE:
            if (mode := parse_mode(text)) is None:
                raise BadArgument(f"{argument.name} must be {ArgumentKind.MODE.value}.")
            return mode
        case ArgumentKind.DURATION | ArgumentKind.LENGTH:
            if text.lower() in argument.choices:
                return PERMANENT
            if (seconds := parse_duration(text)) is None:
                raise BadArgument(
                    f"{argument.name} must be a duration like 30s, 10m, 1h30m, 7d or 2w, from 1 second to 1 year, "
                    f"not {text[:32]}."
                )
            return seconds
        case ArgumentKind.CHOICE:
            if text.lower() not in argument.choices:
                raise BadArgument(f"{argument.name} must be one of {', '.join(argument.choices)}.")
            return text.lower()
        case _:
            return text


def _sentence(error: KiaiError) -> Sequence[str]:
    text = chat_text(str(error))
    return (f"{text[:1].upper()}{text[1:]}.",)


def _confirmations(user_id: int) -> str:
    """Return the key of the lines of a player that wait for `!confirm`."""
    return f"confirm:{user_id}"


def _is_length(argument: Argument, text: str) -> bool:
    """Return whether a word is meant as this optional length. A bare number is, and is then refused."""
    return text.lower() in argument.choices or _LIKE_DURATION.fullmatch(text) is not None


def _leads(command: BotCommand, argument: Argument) -> bool:
    """Return whether an optional mode or choice is followed by a text that is required, such as a reason."""
    if not argument.optional or argument.kind not in (ArgumentKind.MODE, ArgumentKind.CHOICE):
        return False
    following = command.arguments[command.arguments.index(argument) + 1 :]
    return bool(following) and following[0].kind in _REST_OF_LINE and not following[0].optional


def _fits(argument: Argument, text: str) -> bool:
    """Return whether a word is meant as this MODE or CHOICE. `taiko` alone is meant as a mode, and is then refused."""
    if argument.kind is ArgumentKind.CHOICE:
        return text.lower() in argument.choices
    # A reason by mistake would make an act that is meant for one mode apply to all modes.
    return parse_mode(text) is not None or _LIKE_MODE.fullmatch(text) is not None


def _is_extra(argument: Argument, text: str) -> bool:
    """Return whether a word is superfluous and not meant as this optional argument."""
    if not argument.optional:
        return False
    if argument.kind is ArgumentKind.CHOICE:
        return text.lower() not in argument.choices
    # `isdigit` accepts digits of any script: a word like "²" or "+5" is meant as a number and gets an error.
    return argument.kind is ArgumentKind.NUMBER and not text.lstrip("+-").isdigit()


def _misuse_lines(command: BotCommand, error: BadArgument) -> Sequence[str]:
    usage = f"Usage: {command.usage}"
    if command.misuse_reply:
        return (command.misuse_reply, usage)
    # Referees' tools read this exact line.
    if (
        isinstance(error, MissingArgument)
        and command.group == "mp"
        and error.argument.kind in (ArgumentKind.USER, ArgumentKind.USERS)
    ):
        return ("No user specified", usage)
    return (f"{chat_text(str(error))} {usage}",)

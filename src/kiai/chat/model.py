"""What is said and what comes of it, as values; the pure rules of texts and channel names."""

import enum
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from kiai.osu.numbers import whole_number
from kiai.osu.texts import one_line
from kiai.realtime.port import Session, chat_topic

LINE_MAX: Final = 2_000
"""Characters of one line; more is cut (docs/spec/chat.md#lines-in-a-channel)."""
CUT: Final = "... (truncated)"
READ_MAX: Final = 2 * LINE_MAX
"""Characters that are looked at: a line may be as long as a whole request."""
CHANNEL_NAME_MAX: Final = 32

MATCH: Final = "#multiplayer"
SPECTATOR: Final = "#spectator"
CLIENT_ONLY: Final = frozenset({"#highlight", "#userlog"})
"""Tabs that a client keeps to itself."""

_MATCH: Final = "#multi_"
_SPECTATOR: Final = "#spec_"
_ACTION: Final = "\x01ACTION "
_CONTROLS: Final = dict.fromkeys((*range(32), *range(127, 160)))


# --- channels of matches and spectators: no rows, they are there while somebody is in them


def match_channel(match_id: int) -> str:
    """The channel of a match's room."""
    return f"{_MATCH}{match_id}"


def spectator_channel(host_id: int) -> str:
    """The channel of a host and its spectators."""
    return f"{_SPECTATOR}{host_id}"


def is_match_channel(channel: str) -> bool:
    """Whether this is the channel of a match."""
    return channel.startswith(_MATCH)


def match_of(channel: str) -> int | None:
    """The id of the match whose channel this is; None for another channel, or for what no match can have."""
    return whole_number(channel.removeprefix(_MATCH), least=1) if is_match_channel(channel) else None


def is_instance(channel: str) -> bool:
    """Whether this is the channel of a match or of spectators."""
    return channel.startswith((_MATCH, _SPECTATOR))


def aside_topic(channel: str) -> str:
    """The lines of a match's channel for referees without a seat in the match.

    Their clients know the channel by its own name, since a referee may be in several rooms, and players know theirs as
    `#multiplayer`. Whoever follows either topic is in the channel.
    """
    return chat_topic(f"{channel}/aside")


def shown_name(channel: str) -> str:
    """A channel as clients know it."""
    if channel.startswith(_MATCH):
        return MATCH
    return SPECTATOR if channel.startswith(_SPECTATOR) else channel


# --- texts


def cleaned(text: str) -> str:
    """A line without control characters and without space around it; "" when nothing is left.

    `/me text` becomes an action, `\\x01ACTION text\\x01`, and an action stays one.
    """
    text = text.strip()
    for start in (_ACTION, "/me "):
        if text.startswith(start):
            inner = text[len(start) : READ_MAX].translate(_CONTROLS).strip()
            return f"{_ACTION}{inner}\x01" if inner else ""
    return text[:READ_MAX].translate(_CONTROLS).strip()


def cut(text: str) -> tuple[str, bool]:
    """A cleaned line of at most LINE_MAX characters, with a remark in place of the rest; whether it was cut."""
    if len(text) <= LINE_MAX:
        return text, False
    if text.startswith(_ACTION):
        return f"{text[:LINE_MAX]}{CUT}\x01", True
    return text[:LINE_MAX] + CUT, True


def pieces(text: str) -> list[str]:
    """What the bot says, as lines that clients survive: one for each line of the text, LINE_MAX characters at most."""
    return [
        line[start : start + LINE_MAX]
        for line in map(one_line, text.split("\n"))
        if line.strip()
        for start in range(0, len(line), LINE_MAX)
    ]


def silence_left_s(silenced_until_ms: int, now_ms: int) -> int:
    """Whole seconds for which a silence goes on, rounded up; 0 when there is none."""
    return max(0, -(-(silenced_until_ms - now_ms) // 1000))


# --- facts


class LineSaid(msgspec.Struct, frozen=True):
    """A line in a channel. `needs` is the channel's read mask: who lost the right since it joined reads no more."""

    channel: str
    shown: str
    user_id: int
    name: str
    text: str
    needs: int = 0


class Whispered(msgspec.Struct, frozen=True):
    """A line for one player."""

    to_id: int
    to_name: str
    from_id: int
    from_name: str
    text: str


class ChannelCounted(msgspec.Struct, frozen=True):
    """How many are in a channel now. Of a channel without row (`instance`) only its members are told."""

    channel: str
    shown: str
    topic: str
    users: int
    read_priv: int = 0
    instance: bool = False


class MemberKicked(msgspec.Struct, frozen=True):
    """A player was put out of a channel."""

    user_id: int
    shown: str


class Silenced(msgspec.Struct, frozen=True):
    """A player may say nothing for so many seconds; its lines vanish. `hidden`: nobody else knows of the player."""

    user_id: int
    seconds: int
    hidden: bool = False


class Unsilenced(msgspec.Struct, frozen=True):
    """A player may speak again."""

    user_id: int


# --- what comes of a verb


class Result(enum.Enum):
    """What became of a line."""

    SAID = enum.auto()
    DROPPED = enum.auto()  # nobody is told, the speaker neither
    SILENCED = enum.auto()  # the speaker may say nothing for `silence_s`
    UNKNOWN = enum.auto()  # nobody has this name
    BLOCKED = enum.auto()  # `target` does not want it, or is not to be written to
    TARGET_SILENCED = enum.auto()  # `target` could not answer
    STORED = enum.auto()  # `target` is offline and will read it
    NOT_STORED = enum.auto()  # `target` is offline and has too much to read already


class Spoken(msgspec.Struct, frozen=True):
    """What became of a line, and what the speaker alone is told.

    `target_id` and `target` are who was written to; `noted`: that they are offline has been said already; `cut`: the
    line was too long; `away`: what the target said before it went; `lines`: the bot's answer to the speaker alone.
    """

    session: Session
    result: Result
    silence_s: int = 0
    target_id: int = 0
    target: str = ""
    noted: bool = False
    cut: bool = False
    away: str = ""
    lines: tuple[str, ...] = ()


class Joined(msgspec.Struct, frozen=True):
    """The session is in the channel, now or since before."""

    session: Session
    shown: str
    topic: str
    users: int


class Answer(msgspec.Struct, frozen=True):
    """What the bot answers to a line. `hidden`: line and answer are the asker's business alone."""

    lines: tuple[str, ...] = ()
    hidden: bool = False


Hear = Callable[[Session, str, str], Awaitable[Answer | None]]
"""Gives the bot a line: who, in which channel ("" to the bot alone), what. None: it means nothing to the bot."""

IsPrivate = Callable[[Session, str, str], bool]
"""Whether a line in a channel is a command to the bot that nobody else is to read."""

MayRefer = Callable[[Session, int], Awaitable[bool]]
"""Whether a session may be in the channel of a match, by the match's id, without a seat there."""

Silence = Callable[[int, int, str], Awaitable[None]]
"""Silences a user for so many seconds, for a reason."""


# --- mail


class Letter(msgspec.Struct, frozen=True):
    """A private message that its receiver has not been shown."""

    id: int
    from_id: int
    from_name: str
    text: str
    sent_at_ms: int


def by_sender(letters: Sequence[Letter]) -> list[Letter]:
    """The same letters, each sender's together and oldest first; who wrote first comes first. They come by id."""
    first: dict[int, int] = {}
    for letter in letters:
        first.setdefault(letter.from_id, letter.id)
    return sorted(letters, key=lambda letter: (first[letter.from_id], letter.id))

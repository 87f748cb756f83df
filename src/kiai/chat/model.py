"""Values of chat, and the pure rules of texts and channel names."""

import enum
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from kiai.osu.numbers import whole_number
from kiai.osu.texts import one_line
from kiai.realtime.port import Session, chat_topic

LINE_MAX: Final = 2_000
"""Characters of one line; the rest is cut (docs/spec/chat.md#lines-in-a-channel)."""
TRUNCATED: Final = "... (truncated)"
READ_MAX: Final = 2 * LINE_MAX
"""Characters of a line that are read, since a line may be as long as a whole request."""
FILTERED_NOTICE: Final = "Your message was not sent, because it contains a word that is not allowed here."
CHANNEL_NAME_MAX: Final = 32
CHANNELS_CHANGED: Final = "channels"
"""The kind of the outbox rows for added, changed and removed channels. The payload is the name."""

MATCH: Final = "#multiplayer"
SPECTATOR: Final = "#spectator"
CLAN: Final = "#clan"
INSTANCE_TOPICS: Final = {
    MATCH: "Players in this match.",
    SPECTATOR: "The player and the spectators.",
    CLAN: "The members of your clan.",
}
"""The topics of the channels of matches, spectators and clans, by the name that clients use."""
CLIENT_ONLY: Final = frozenset({"#highlight", "#userlog"})
"""Tabs of the client for which the server has no channel."""

_MATCH: Final = "#multi_"
_SPECTATOR: Final = "#spec_"
_CLAN: Final = "#clan_"
_REFEREES: Final = "/referees"  # part of a topic that sessions store: a new name would need a migration of sessions
_ACTION: Final = "\x01ACTION "
_REPORT: Final = "!report"
_CONTROLS: Final = dict.fromkeys((*range(32), *range(127, 160)))


# --- channels of matches, spectators and clans: they have no row, and exist while they have members


def match_channel(match_id: int) -> str:
    """Return the channel of a match."""
    return f"{_MATCH}{match_id}"


def spectator_channel(host_id: int) -> str:
    """Return the channel of a host and its spectators."""
    return f"{_SPECTATOR}{host_id}"


def clan_channel(clan_id: int) -> str:
    """Return the channel of a clan."""
    return f"{_CLAN}{clan_id}"


def is_clan_channel(channel: str) -> bool:
    """Return whether this is the channel of a clan."""
    return channel.startswith(_CLAN)


def is_match_channel(channel: str) -> bool:
    """Return whether this is the channel of a match."""
    return channel.startswith(_MATCH)


def match_of(channel: str) -> int | None:
    """Return the id of the match whose channel this is, or None for another channel or an invalid id."""
    return whole_number(channel.removeprefix(_MATCH), least=1) if is_match_channel(channel) else None


def is_instance(channel: str) -> bool:
    """Return whether this is the channel of a match, of spectators or of a clan."""
    return channel.startswith((_MATCH, _SPECTATOR, _CLAN))


def referee_topic(channel: str) -> str:
    """Return the topic with a match's chat lines for referees without a seat in the match.

    A line is encoded with the name of its channel. Clients of seated players call it `#multiplayer`. A referee may be
    in several matches, so its client uses the server's name. A follower of either topic is a member of the channel.
    """
    return chat_topic(channel + _REFEREES)


def name_for_clients(channel: str) -> str:
    """Return the name that clients use for a channel."""
    if channel.startswith(_MATCH):
        return MATCH
    if channel.startswith(_CLAN):
        return CLAN
    return SPECTATOR if channel.startswith(_SPECTATOR) else channel


# --- texts


def clean_line(text: str) -> str:
    """Remove control characters and surrounding space; the result may be empty.

    `/me text` becomes an action, `\\x01ACTION text\\x01`. An action remains an action.
    """
    text = text.strip()
    for start in (_ACTION, "/me "):
        if text.startswith(start):
            # The closing \x01 is a control character: it is removed with the others and added again.
            inner = text[len(start) : READ_MAX].translate(_CONTROLS).strip()
            return f"{_ACTION}{inner}\x01" if inner else ""
    return text[:READ_MAX].translate(_CONTROLS).strip()


def is_report(text: str) -> bool:
    """Return whether a cleaned line is `!report`, which nobody but the bot may read, wherever it is written."""
    return text[: len(_REPORT) + 1].lower().rstrip(" ") == _REPORT


def truncate_line(text: str) -> tuple[str, bool]:
    """Cut a cleaned line to LINE_MAX characters plus TRUNCATED. Return the line, and whether it was cut."""
    if len(text) <= LINE_MAX:
        return text, False
    if text.startswith(_ACTION):
        return f"{text[:LINE_MAX]}{TRUNCATED}\x01", True
    return text[:LINE_MAX] + TRUNCATED, True


def split_lines(text: str) -> list[str]:
    """Split a text of the bot into lines of at most LINE_MAX characters, which clients can display."""
    return [
        line[start : start + LINE_MAX]
        for line in map(one_line, text.split("\n"))
        if line.strip()
        for start in range(0, len(line), LINE_MAX)
    ]


def time_of_line(at_ms: int) -> str:
    """Return the time in front of a line that is shown later, in UTC: `Mon Jan 02 @ 15:04`."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%a %b %d @ %H:%M")


def silence_left_s(silenced_until_ms: int, now_ms: int) -> int:
    """Return the remaining whole seconds of a silence, rounded up; 0 without a silence."""
    return max(0, -(-(silenced_until_ms - now_ms) // 1000))


def split_action(text: str) -> tuple[str, str, str]:
    """Return the beginning of an action, the text, and the end of the action. Of other lines, both marks are empty."""
    if text.startswith(_ACTION) and text.endswith("\x01"):
        return _ACTION, text[len(_ACTION) : -1], "\x01"
    return "", text, ""


# --- the word filter


class FilterRule(msgspec.Struct, frozen=True):
    """A pattern, and what happens to a line that contains it.

    `replacement`: the text in its place, or None to block the line. `silence_s`: seconds for which its author is
    silenced; 0 does not silence.
    """

    pattern: str
    replacement: str | None
    silence_s: int


# --- results


class SendStatus(enum.Enum):
    """The outcome of a line."""

    SAID = enum.auto()
    FILTERED = enum.auto()  # the word filter blocks it
    DROPPED = enum.auto()  # without notice to anybody
    SILENCED = enum.auto()  # the author is silenced for `silence_s` more seconds
    UNKNOWN = enum.auto()  # no visible player has this name
    BLOCKED = enum.auto()  # a block or "friends only" prevents it
    TARGET_SILENCED = enum.auto()  # `target` is silenced and could not answer
    STORED = enum.auto()  # `target` is offline and receives it as mail
    NOT_STORED = enum.auto()  # `target` is offline and its mail is full


class SendResult(msgspec.Struct, frozen=True):
    """The result of sending a line, for its author.

    `session`: the author's session, which the line may have changed.
    `target_id`, `target`: the recipient of a private line.
    `already_notified`: the author already knows that the recipient is offline.
    `cut`: the line was longer than LINE_MAX.
    `away`: the away message of the recipient.
    `lines`: the bot's answer, if only the author receives it.
    """

    session: Session
    status: SendStatus
    silence_s: int = 0
    target_id: int = 0
    target: str = ""
    already_notified: bool = False
    cut: bool = False
    away: str = ""
    lines: tuple[str, ...] = ()


class JoinedChannel(msgspec.Struct, frozen=True):
    """The session is a member of the channel, newly or already before."""

    session: Session
    client_name: str
    topic: str
    users: int


class BotReply(msgspec.Struct, frozen=True):
    """The bot's answer to a line. `hidden`: only the author receives line and answer."""

    lines: tuple[str, ...] = ()
    hidden: bool = False


OnMessage = Callable[[Session, str, str], Awaitable[BotReply | None]]
"""Passes a line to the bot: session, channel ("" for a private line), text. Returns None if it is not a command."""

IsPrivate = Callable[[Session, str, str], bool]
"""Returns whether a line in a channel (session, channel, text) is a hidden command, which nobody else may read."""

MayRefer = Callable[[Session, int], Awaitable[bool]]
"""Returns whether a session may join the channel of a match (by id) without a seat in it."""

Silence = Callable[[int, int, str], Awaitable[None]]
"""Silences a user: user id, seconds, reason."""


class PastLine(msgspec.Struct, frozen=True):
    """A stored line of a channel. `at_ms` is in unix ms."""

    user_id: int
    name: str
    at_ms: int
    text: str


# --- mail


class Letter(msgspec.Struct, frozen=True):
    """A private message that was not delivered to its recipient yet."""

    id: int
    from_id: int
    from_name: str
    text: str
    sent_at_ms: int


class StoredLetter(msgspec.Struct, frozen=True):
    """A private message in the database. The times are unix ms, None if it was not delivered or read yet."""

    id: int
    from_id: int
    text: str
    sent_at_ms: int
    delivered_at_ms: int | None
    read_at_ms: int | None


def by_sender(letters: Sequence[Letter]) -> list[Letter]:
    """Group letters by sender, the sender of the oldest letter first. `letters` are sorted by id."""
    first: dict[int, int] = {}
    for letter in letters:
        first.setdefault(letter.from_id, letter.id)
    return sorted(letters, key=lambda letter: (first[letter.from_id], letter.id))

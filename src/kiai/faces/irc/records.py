"""Events of the topic IRC: what IRC connections show, as each worker reads it.

The topic exists only where IRC is on (`wiring.announcer_of_faces`). It carries private lines, so nothing else reads it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from kiai.chat.events import (
    ChannelMessageSent,
    MemberJoined,
    MemberKicked,
    MemberLeft,
    PrivateMessageSent,
    Silenced,
    Unsilenced,
)
from kiai.chat.model import MATCH
from kiai.multiplayer.events import RefereeChannelOpened, RoomChannelClosed
from kiai.osu.durations import duration_text
from kiai.presence.events import AlertSent, IrcSessionEnded
from kiai.realtime.port import IRC, Entry


class _Record(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The base of the records, which are encoded as arrays with the name of their class."""


class ChannelLine(_Record, frozen=True):
    """A line in a channel, by the server's name of the channel. `needs`: the channel's read mask."""

    channel: str
    user_id: int
    name: str
    text: str
    needs: int


class PrivateLine(_Record, frozen=True):
    """A private line. `to_name` is a channel for the bot's last line in a match, which goes to each referee."""

    to_id: int
    to_name: str
    from_id: int
    from_name: str
    text: str


class NoticeLine(_Record, frozen=True):
    """A text of the server for one player, or for everybody (0)."""

    user_id: int
    text: str


class Entered(_Record, frozen=True):
    """A player joined channels."""

    user_id: int
    name: str
    channels: tuple[str, ...]


class Departed(_Record, frozen=True):
    """A player left channels, or quit."""

    user_id: int
    name: str
    channels: tuple[str, ...]
    quits: bool


class Removed(_Record, frozen=True):
    """A player no longer follows a channel."""

    user_id: int
    channel: str


class RoomOpened(_Record, frozen=True):
    """A session of the player follows the channel of a match as its referee."""

    user_id: int


class SessionEnded(_Record, frozen=True):
    """A session of an IRC connection ended."""

    token: str


Record = ChannelLine | PrivateLine | NoticeLine | Entered | Departed | Removed | RoomOpened | SessionEnded

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Record).decode


def record_of(body: bytes) -> Record | None:
    """Decode an entry of the topic. None for one of another version, e.g. during an upgrade."""
    try:
        return _decode(body)  # type: ignore[no-any-return]
    except msgspec.DecodeError:
        return None


def _entries(*records: Record) -> Sequence[Entry]:
    return [Entry(IRC, _encode(record)) for record in records]


def _channel_line(event: ChannelMessageSent) -> Sequence[Entry]:
    return _entries(ChannelLine(event.channel, event.user_id, event.name, event.text, event.needs))


def _private_line(event: PrivateMessageSent) -> Sequence[Entry]:
    return _entries(PrivateLine(event.to_id, event.to_name, event.from_id, event.from_name, event.text))


def _kicked(event: MemberKicked | RoomChannelClosed) -> Sequence[Entry]:
    channel = event.client_name if isinstance(event, MemberKicked) else event.channel
    # A seated player has the channel of the match only in the game.
    return () if channel == MATCH else _entries(Removed(event.user_id, channel))


def _silenced(event: Silenced) -> Sequence[Entry]:
    return _entries(NoticeLine(event.user_id, f"You are silenced for {duration_text(event.seconds)}."))


TABLE: Final[Mapping[type, Callable[[Any], Sequence[Entry]]]] = {
    ChannelMessageSent: _channel_line,
    PrivateMessageSent: _private_line,
    AlertSent: lambda event: _entries(NoticeLine(event.user_id, event.text)),
    MemberJoined: lambda event: _entries(Entered(event.user_id, event.name, event.channels)),
    MemberLeft: lambda event: _entries(Departed(event.user_id, event.name, event.channels, event.quits)),
    MemberKicked: _kicked,
    RoomChannelClosed: _kicked,
    RefereeChannelOpened: lambda event: _entries(RoomOpened(event.user_id)),
    IrcSessionEnded: lambda event: _entries(SessionEnded(event.token)),
    Silenced: _silenced,
    Unsilenced: lambda event: _entries(NoticeLine(event.user_id, "You are no longer silenced.")),
}

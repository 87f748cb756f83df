"""Events of chat. Faces encode them as packets and lines of the feed."""

import msgspec


class ChannelMessageSent(msgspec.Struct, frozen=True):
    """A line in a channel.

    `needs`: the channel's read mask. A reader who has lost the right since joining does not get the line.
    """

    channel: str
    client_name: str
    user_id: int
    name: str
    text: str
    needs: int = 0


class PrivateMessageSent(msgspec.Struct, frozen=True):
    """A private line to one player."""

    to_id: int
    to_name: str
    from_id: int
    from_name: str
    text: str


class ChannelCountChanged(msgspec.Struct, frozen=True):
    """The number of members of a channel changed. For a channel without row (`instance`) only members receive it."""

    channel: str
    client_name: str
    topic: str
    users: int
    read_priv: int = 0
    instance: bool = False


class ChannelOpened(msgspec.Struct, frozen=True):
    """The server has added a player to a channel, and its client must open the tab."""

    user_id: int
    client_name: str
    topic: str
    users: int


class ChannelRemoved(msgspec.Struct, frozen=True):
    """A channel exists no longer. Clients that may have read it close its tab and no longer list it."""

    client_name: str
    read_priv: int


class LinesErased(msgspec.Struct, frozen=True):
    """The clients in a channel remove the lines of a player."""

    channel: str
    user_id: int


class MemberKicked(msgspec.Struct, frozen=True):
    """A player was removed from a channel, and its client must close the tab."""

    user_id: int
    client_name: str


class MemberJoined(msgspec.Struct, frozen=True):
    """A player is now in these channels, and was in none of them before."""

    user_id: int
    name: str
    channels: tuple[str, ...]


class MemberLeft(msgspec.Struct, frozen=True):
    """A player is no longer in these channels. `quits`: because the player's session ended."""

    user_id: int
    name: str
    channels: tuple[str, ...]
    quits: bool = False


class Silenced(msgspec.Struct, frozen=True):
    """A player was silenced for `seconds`. Clients remove its lines. `hidden`: only the player is notified."""

    user_id: int
    seconds: int
    hidden: bool = False


class Unsilenced(msgspec.Struct, frozen=True):
    """The silence of a player was lifted before its end."""

    user_id: int

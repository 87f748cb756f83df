"""Events between hosts and their spectators. Faces encode them as packets."""

import msgspec


class SpectatorJoined(msgspec.Struct, frozen=True):
    """A player watches the host, or got the map that it lacked before."""

    host_id: int
    user_id: int


class SpectatorLeft(msgspec.Struct, frozen=True):
    """A player stopped watching the host."""

    host_id: int
    user_id: int


class SpectatorLacksMap(msgspec.Struct, frozen=True):
    """A spectator does not have the map that the host plays."""

    host_id: int
    user_id: int


class FramesReceived(msgspec.Struct, frozen=True):
    """A bundle of frames, unchanged from the host's client."""

    host_id: int
    bundle: bytes


class SpectatorChannelOpened(msgspec.Struct, frozen=True):
    """The host joined the channel of its spectators, which now has `users` members."""

    host_id: int
    users: int


class SpectatorChannelClosed(msgspec.Struct, frozen=True):
    """A player was removed from a channel of spectators: its own, or that of the host it watched."""

    user_id: int

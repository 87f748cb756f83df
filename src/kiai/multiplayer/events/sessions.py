"""Events of the service. They concern sessions and do not change a match."""

import msgspec

from kiai.multiplayer.events.base import Event
from kiai.multiplayer.model import Match


class MatchChanged(msgspec.Struct, frozen=True):
    """The events of one command, and the match after it."""

    match_id: int
    match: Match
    events: tuple[Event, ...]
    at_ms: int


class MatchOpened(msgspec.Struct, frozen=True):
    """A match was created."""

    match_id: int
    match: Match


class ScoreFrame(msgspec.Struct, frozen=True):
    """A score frame of a player. `payload` is the body of the client's packet."""

    match_id: int
    slot: int
    payload: bytes


class PlayerInvited(msgspec.Struct, frozen=True):
    """A player was invited to join."""

    match_id: int
    match: Match
    by_id: int
    by_name: str
    user_id: int
    name: str


class RoomChannelClosed(msgspec.Struct, frozen=True):
    """A user without a seat no longer follows a match's channel. `channel` is the name that their client uses."""

    user_id: int
    channel: str


class RefereeChannelOpened(msgspec.Struct, frozen=True):
    """A referee without a seat follows a match's channel. `users` is the number of users in the channel."""

    user_id: int
    match_id: int
    users: int


class SeatAssigned(msgspec.Struct, frozen=True):
    """A player got a seat without having sent JOIN_MATCH or CREATE_MATCH. The client must open the match.

    `users` is the number of users in the match's channel.
    """

    user_id: int
    match_id: int
    match: Match
    users: int
    was_in_lobby: bool

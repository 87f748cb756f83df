"""The base class of the events of a match, and what all of them share."""

from typing import ClassVar, Literal

import msgspec
from msgspec.structs import replace

from kiai.multiplayer.model import Match, Slot

LeftWhy = Literal["left", "kicked", "banned", "closed"]
CloseWhy = Literal["empty", "referee", "idle"]


class Seat(msgspec.Struct, frozen=True):
    """A player of a play. `mods` are the mods of the match together with the player's own.

    `completed`: the client reported the end of the map. `failed`: the player failed during the play.
    """

    slot: int
    user_id: int
    name: str
    team: int
    mods: int
    completed: bool = False
    failed: bool = False


class Event(msgspec.Struct, frozen=True, tag=True):
    """The base class of the events of a match."""

    in_room: ClassVar[bool] = False
    in_lobby: ClassVar[bool] = False

    def apply_to(self, match: Match) -> Match:
        """Return the match after this event."""
        # Some events change nothing that later commands depend on; they exist for history and lines.
        return match


def apply_events(match: Match, *events: Event) -> Match:
    """Return the match after several events, in order."""
    for event in events:
        match = event.apply_to(match)
    return match


def reaches_room(event: Event) -> bool:
    """Whether the players of the match get MATCH_UPDATE after the event."""
    return event.in_room


def reaches_lobby(event: Event) -> bool:
    """Whether the lobby gets MATCH_UPDATE after the event."""
    return event.in_lobby


def with_slot(match: Match, seat: int, slot: Slot) -> Match:
    """Return the match with another slot at this seat, from 0."""
    return replace(match, slots=(*match.slots[:seat], slot, *match.slots[seat + 1 :]))

"""Events about seats, the host, bans and referees."""

from typing import ClassVar

from msgspec.structs import replace

from kiai.multiplayer.events.base import Event, LeftWhy, with_slot
from kiai.multiplayer.model import LOCKED, NOT_READY, OPEN, Match, Slot


class Joined(Event, frozen=True):
    """A player took a seat."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    user_id: int
    name: str
    slot: int
    team: int

    def apply_to(self, match: Match) -> Match:
        return with_slot(match, self.slot, Slot(NOT_READY, self.team, 0, self.user_id, self.name))


class Left(Event, frozen=True):
    """A player left or was removed. `locked`: the host kicked the player by locking the slot.

    `was_playing`: the player took part in the running play.
    """

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    user_id: int
    name: str
    slot: int
    why: LeftWhy
    locked: bool = False
    was_playing: bool = False

    def apply_to(self, match: Match) -> Match:
        return with_slot(match, self.slot, Slot(LOCKED if self.locked else OPEN))


class SlotMoved(Event, frozen=True):
    """A player moved to another slot."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    user_id: int
    from_slot: int
    to_slot: int

    def apply_to(self, match: Match) -> Match:
        return with_slot(with_slot(match, self.to_slot, match.slots[self.from_slot]), self.from_slot, Slot())


class SlotLocked(Event, frozen=True):
    """An empty slot was locked or opened."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    slot: int
    locked: bool

    def apply_to(self, match: Match) -> Match:
        return with_slot(match, self.slot, Slot(LOCKED if self.locked else OPEN))


class StatusChanged(Event, frozen=True):
    """The status of a player changed to `NOT_READY`, `READY` or `NO_MAP`."""

    # The lobby does not show the status, and in a full match it changes often.
    in_room: ClassVar[bool] = True

    user_id: int
    slot: int
    status: int

    def apply_to(self, match: Match) -> Match:
        return with_slot(match, self.slot, replace(match.slots[self.slot], status=self.status))


class Unreadied(Event, frozen=True):
    """The players in these slots are no longer ready, because map, mods, win condition or team type changed."""

    in_room: ClassVar[bool] = True

    slots: tuple[int, ...]

    def apply_to(self, match: Match) -> Match:
        for seat in self.slots:
            match = with_slot(match, seat, replace(match.slots[seat], status=NOT_READY))
        return match


class TeamChanged(Event, frozen=True):
    """A player changed to another team: 1 blue, 2 red."""

    in_room: ClassVar[bool] = True

    user_id: int
    slot: int
    team: int

    def apply_to(self, match: Match) -> Match:
        return with_slot(match, self.slot, replace(match.slots[self.slot], team=self.team))


class HostPassed(Event, frozen=True):
    """Another player became host, or the match has no host (`user_id` 0)."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    user_id: int
    name: str

    def apply_to(self, match: Match) -> Match:
        return replace(match, host_id=self.user_id, host_name=self.name)


class SeatsLocked(Event, frozen=True):
    """A referee locked or unlocked the seats."""

    locked: bool

    def apply_to(self, match: Match) -> Match:
        return replace(match, seats_locked=self.locked)


class PlayerBanned(Event, frozen=True):
    """A user was banned from the match."""

    user_id: int

    def apply_to(self, match: Match) -> Match:
        return replace(match, banned=(*match.banned, self.user_id))


class PlayerUnbanned(Event, frozen=True):
    """The ban of a user was lifted."""

    user_id: int

    def apply_to(self, match: Match) -> Match:
        return replace(match, banned=tuple(user_id for user_id in match.banned if user_id != self.user_id))


class RefereeAdded(Event, frozen=True):
    """A referee was added."""

    user_id: int
    name: str

    def apply_to(self, match: Match) -> Match:
        return replace(match, referees=(*match.referees, (self.user_id, self.name)))


class RefereeRemoved(Event, frozen=True):
    """A user is no longer a referee: removed, or left a match that was not made by command."""

    user_id: int
    name: str

    def apply_to(self, match: Match) -> Match:
        referees = tuple(referee for referee in match.referees if referee[0] != self.user_id)
        return replace(match, referees=referees)

"""Events about the settings of a match: name, password, map, mods, teams, win condition."""

from typing import ClassVar

from msgspec.structs import replace

from kiai.multiplayer.events.base import Event, with_slot
from kiai.multiplayer.model import MapChoice, Match


class NameChanged(Event, frozen=True):
    """The match was renamed."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    name: str

    def apply_to(self, match: Match) -> Match:
        return replace(match, name=self.name)


class PasswordChanged(Event, frozen=True):
    """The password was set, changed or removed (empty)."""

    # The lobby shows whether a match has a password.
    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    password: str

    def apply_to(self, match: Match) -> Match:
        return replace(match, password=self.password)


class MapChoosing(Event, frozen=True):
    """The host is choosing a map. The match has no map meanwhile."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    def apply_to(self, match: Match) -> Match:
        # If the host leaves before choosing, the former map returns.
        previous = MapChoice(match.map_id, match.map_md5, match.map_name)
        return replace(match, map_id=-1, map_md5="", map_name="", previous=previous)


class MapChanged(Event, frozen=True):
    """A map was selected. `another`: it differs from the former map. `restored`: it returned because the host left."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    map_id: int
    map_md5: str
    map_name: str
    another: bool = True
    restored: bool = False

    def apply_to(self, match: Match) -> Match:
        return replace(match, map_id=self.map_id, map_md5=self.map_md5, map_name=self.map_name, previous=None)


class ModeChanged(Event, frozen=True):
    """The mode changed, 0-3."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    mode: int

    def apply_to(self, match: Match) -> Match:
        return replace(match, mode=self.mode)


class ModsChanged(Event, frozen=True):
    """The mods of the match changed."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    mods: int

    def apply_to(self, match: Match) -> Match:
        return replace(match, mods=self.mods)


class SlotModsChanged(Event, frozen=True):
    """A player's own mods changed."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    user_id: int
    slot: int
    mods: int

    def apply_to(self, match: Match) -> Match:
        return with_slot(match, self.slot, replace(match.slots[self.slot], mods=self.mods))


class FreeModsChanged(Event, frozen=True):
    """Free mods were turned on or off. The match gets `mods`, and each seated player gets `slot_mods`."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    on: bool
    mods: int
    slot_mods: int

    def apply_to(self, match: Match) -> Match:
        slots = tuple(replace(slot, mods=self.slot_mods) if slot.occupied else slot for slot in match.slots)
        return replace(match, free_mods=self.on, mods=self.mods, slots=slots)


class TeamTypeChanged(Event, frozen=True):
    """The team type changed. `teams` has the team of each of the 16 slots."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    team_type: int
    teams: tuple[int, ...]

    def apply_to(self, match: Match) -> Match:
        slots = tuple(replace(slot, team=team) for slot, team in zip(match.slots, self.teams, strict=True))
        return replace(match, team_type=self.team_type, slots=slots)


class TeamTypeRejected(Event, frozen=True):
    """The host requested another team type during a scrim. Only `!mp teams` can change it, which resets the points."""

    # The match is unchanged, but the client of the host already shows the other team type.
    in_room: ClassVar[bool] = True

    team_type: int


class WinConditionChanged(Event, frozen=True):
    """The win condition changed, 0-3."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    win_condition: int

    def apply_to(self, match: Match) -> Match:
        return replace(match, win_condition=self.win_condition)


class SeedChanged(Event, frozen=True):
    """The seed of the mod Random changed."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    seed: int

    def apply_to(self, match: Match) -> Match:
        return replace(match, seed=self.seed)

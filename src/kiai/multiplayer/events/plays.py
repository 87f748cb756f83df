"""Events about a play, from its start to its end."""

from typing import ClassVar

from msgspec.structs import replace

from kiai.multiplayer.events.base import Event, Seat, with_slot
from kiai.multiplayer.model import COMPLETE, IN_PLAY, NOT_READY, PLAYING, Match


class Started(Event, frozen=True):
    """A play started. `players` excludes those who lack the map."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    players: tuple[Seat, ...]
    at_ms: int

    def apply_to(self, match: Match) -> Match:
        seats = {seat.slot for seat in self.players}
        slots = tuple(
            replace(slot, status=PLAYING, loaded=False, skipped=False, failed=False) if seat in seats else slot
            for seat, slot in enumerate(match.slots)
        )
        return replace(
            match,
            slots=slots,
            in_progress=True,
            all_loaded=False,
            all_skipped=False,
            started_at_ms=self.at_ms,
            game_id=0,  # the row of the new play is written later
        )


class CouldNotStart(Event, frozen=True):
    """The start timer rang, but no play could start. `reason` is an English sentence fragment."""

    reason: str


class PlayerLoaded(Event, frozen=True):
    """A player has loaded the map."""

    user_id: int
    slot: int

    def apply_to(self, match: Match) -> Match:
        return with_slot(match, self.slot, replace(match.slots[self.slot], loaded=True))


class AllLoaded(Event, frozen=True):
    """These players begin the play. A player who loads later gets an event of their own."""

    user_ids: tuple[int, ...]

    def apply_to(self, match: Match) -> Match:
        return replace(match, all_loaded=True)


class PlayerSkipped(Event, frozen=True):
    """A player requested to skip the intro."""

    user_id: int
    slot: int

    def apply_to(self, match: Match) -> Match:
        return with_slot(match, self.slot, replace(match.slots[self.slot], skipped=True))


class AllSkipped(Event, frozen=True):
    """All players requested to skip, so the intro is skipped."""

    def apply_to(self, match: Match) -> Match:
        return replace(match, all_skipped=True)


class PlayerFailed(Event, frozen=True):
    """A player failed. The player continues to play."""

    user_id: int
    slot: int

    def apply_to(self, match: Match) -> Match:
        return with_slot(match, self.slot, replace(match.slots[self.slot], failed=True))


class PlayerCompleted(Event, frozen=True):
    """A player reached the end of the map. Clients get a packet only when the play ends."""

    user_id: int
    slot: int
    failed: bool = False

    def apply_to(self, match: Match) -> Match:
        return with_slot(match, self.slot, replace(match.slots[self.slot], status=COMPLETE))


def _after_play(match: Match) -> Match:
    slots = tuple(
        replace(slot, status=NOT_READY, loaded=False, skipped=False, failed=False) if slot.status & IN_PLAY else slot
        for slot in match.slots
    )
    return replace(match, slots=slots, in_progress=False, all_loaded=False, all_skipped=False)


class Finished(Event, frozen=True):
    """The play ended. `players` are those who are still seated. `forced`: not all of them had completed."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    players: tuple[Seat, ...]
    started_at_ms: int
    forced: bool = False

    def apply_to(self, match: Match) -> Match:
        return _after_play(match)


class Aborted(Event, frozen=True):
    """The play was aborted and has no result. `players` are those who took part and are still seated."""

    in_room: ClassVar[bool] = True
    in_lobby: ClassVar[bool] = True

    players: tuple[Seat, ...]
    started_at_ms: int

    def apply_to(self, match: Match) -> Match:
        return _after_play(match)

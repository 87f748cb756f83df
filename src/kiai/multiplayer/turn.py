"""A command being carried out: the match as it is by now, what was said so far, and who may ask for what."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from kiai.errors import Invalid, Refused
from kiai.multiplayer.commands import Actor, Command, Right
from kiai.multiplayer.facts import Fact, TimerCleared, TimerSet, Unreadied
from kiai.multiplayer.model import IN_PLAY, NO_MAP, READY, SLOTS, Match, Slot, seat_of, timer_of

FACTS_MAX: Final = 64
"""No command makes more facts than this."""


class NotSeated(Refused):
    """Somebody does not sit in the match."""

    def __init__(self) -> None:
        super().__init__("that player does not sit here")


class NoReferee(Refused):
    """Somebody is no referee of the match."""

    def __init__(self) -> None:
        super().__init__("no referee")


class BeingPlayed(Refused):
    """A map is being played, and what was asked for can only be done between plays."""

    def __init__(self) -> None:
        super().__init__("a map is being played")


class Turn:
    """One command on one match. `tell` is the only way to change anything."""

    def __init__(self, match: Match) -> None:
        self.match = match
        self.facts: list[Fact] = []

    def tell(self, fact: Fact) -> None:
        """This happened."""
        self.match = fact.into(self.match)
        self.facts.append(fact)


Rules = Mapping[type[Command], Callable[[Turn, Any], None]]
"""What carries out which command."""


def is_creator(match: Match, actor: Actor) -> bool:
    """Whether the actor made the match, or may lead any."""
    return actor.referee_any or actor.user_id == match.created_by


def is_referee(match: Match, actor: Actor) -> bool:
    """Whether the actor leads the match without being its host."""
    return is_creator(match, actor) or any(user_id == actor.user_id for user_id, _ in match.referees)


def is_leader(match: Match, actor: Actor) -> bool:
    """Whether the actor leads the match, as its host or a referee."""
    return is_host(match, actor) or is_referee(match, actor)


def is_host(match: Match, actor: Actor) -> bool:
    """Whether the actor is the host."""
    return actor.user_id != 0 and actor.user_id == match.host_id


def may(match: Match, actor: Actor, command: type[Command]) -> bool:
    """Whether the actor has the right to such a command; a rule may still refuse it."""
    match command.right:
        case Right.ANYBODY:
            return True
        case Right.SEATED:
            return seat_of(match, actor.user_id) is not None
        case Right.HOST:
            return is_host(match, actor)
        case Right.LEADER:
            return is_leader(match, actor)
        case Right.REFEREE:
            return is_referee(match, actor)
        case Right.CREATOR:
            return is_creator(match, actor)
        case Right.SERVER:
            return actor.user_id == 0


def own_seat(turn: Turn, command: Command) -> tuple[int, Slot]:
    """Where the asker sits."""
    return seat_with(turn, command.by.user_id)


def seat_with(turn: Turn, user_id: int) -> tuple[int, Slot]:
    """Where a user sits. Raises Refused."""
    seat = seat_of(turn.match, user_id)
    if seat is None:
        raise NotSeated
    return seat, turn.match.slots[seat]


def slot_at(turn: Turn, seat: int) -> Slot:
    """The slot of that number. Raises Invalid."""
    within("slot", seat, SLOTS - 1)
    return turn.match.slots[seat]


def within(field: str, value: int, most: int, least: int = 0) -> None:
    """Raises Invalid for a number outside its range."""
    if not least <= value <= most:
        raise Invalid(field, f"{least}-{most}", value)


def between_plays(turn: Turn) -> None:
    """Raises Refused while a map is played."""
    if turn.match.in_progress:
        raise BeingPlayed


def not_playing(slot: Slot) -> None:
    """Raises Refused for somebody who plays."""
    if slot.status & IN_PLAY:
        raise Refused("not while playing")


def unready(turn: Turn, *, new_map: bool = False) -> None:
    """Nobody is ready; after a new map nobody lacks it, as far as is known."""
    statuses = READY | NO_MAP if new_map else READY
    seats = tuple(seat for seat, slot in enumerate(turn.match.slots) if slot.status & statuses)
    if seats:
        turn.tell(Unreadied(seats))


def set_timer(turn: Turn, kind: str, rings_at_ms: int, seconds: int = 0) -> None:
    """The one timer of that kind rings then; `seconds` from now, if somebody asked for it."""
    clear_timer(turn, kind)
    turn.tell(TimerSet(turn.match.next_timer_id, kind, rings_at_ms, seconds))


def clear_timer(turn: Turn, kind: str) -> bool:
    """The timer of that kind does not ring; False: none was set."""
    timer = timer_of(turn.match, kind)
    if timer is None:
        return False
    turn.tell(TimerCleared(timer.id, kind))
    return True

"""The state of one command while its rule runs, the rights of issuers, and checks that several rules share."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from kiai.errors import Invalid, Refused
from kiai.multiplayer.commands import Issuer, MatchCommand, Right
from kiai.multiplayer.events import Event, TimerCleared, TimerSet, Unreadied
from kiai.multiplayer.model import IN_PLAY, NO_MAP, READY, SLOTS, Match, Slot, seat_of, timer_of

# 16 slots can each cause a few events: `close` emits an abort, 16 `Left`, 5 cleared timers, the end of a scrim and
# `Closed`; `resize` emits up to two events for each slot. A test with random commands holds this bound.
EVENTS_PER_COMMAND_MAX: Final = 64
"""The largest number of events of one command."""


class NotSeated(Refused):
    """The player has no seat in the match."""

    def __init__(self) -> None:
        super().__init__("that player is not in the match")


class NotReferee(Refused):
    """The user is not a referee of the match."""

    def __init__(self) -> None:
        super().__init__("that player is not a referee")


class PlayInProgress(Refused):
    """The command is allowed only between plays."""

    def __init__(self) -> None:
        super().__init__("the match is in progress")


class CommandRun:
    """One command on one match: the match after the events so far. Only `emit` changes the match.

    `at_ms` is the time of the command.
    """

    def __init__(self, match: Match, at_ms: int) -> None:
        self.match = match
        self.at_ms = at_ms
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        """Apply an event to the match and record it."""
        # Applied at once: the rest of the rule, and checks such as `_finish_if_done`, read the new match.
        self.match = event.apply_to(self.match)
        self.events.append(event)


Rules = Mapping[type[MatchCommand], Callable[[CommandRun, Any], None]]
"""The function that runs each type of command."""


def is_creator(match: Match, issuer: Issuer) -> bool:
    """Whether the issuer created the match, or may referee every match."""
    return issuer.referee_any or issuer.user_id == match.created_by


def is_referee(match: Match, issuer: Issuer) -> bool:
    """Whether the issuer is a referee of the match. The creator is always one."""
    return is_creator(match, issuer) or any(user_id == issuer.user_id for user_id, _ in match.referees)


def is_leader(match: Match, issuer: Issuer) -> bool:
    """Whether the issuer is the host or a referee of the match."""
    return is_host(match, issuer) or is_referee(match, issuer)


def is_host(match: Match, issuer: Issuer) -> bool:
    """Whether the issuer is the host."""
    # `host_id` 0 means no host, and the server has user id 0: the server must not count as the host.
    return issuer.user_id != 0 and issuer.user_id == match.host_id


def may(match: Match, issuer: Issuer, command: type[MatchCommand]) -> bool:
    """Whether the issuer has the right to send such a command. Its rule may still refuse it."""
    match command.right:
        case Right.ANYBODY:
            return True
        case Right.SEATED:
            return seat_of(match, issuer.user_id) is not None
        case Right.HOST:
            return is_host(match, issuer)
        case Right.LEADER:
            return is_leader(match, issuer)
        case Right.REFEREE:
            return is_referee(match, issuer)
        case Right.CREATOR:
            return is_creator(match, issuer)
        case Right.SERVER:
            return issuer.user_id == 0


def own_seat(run: CommandRun, command: MatchCommand) -> tuple[int, Slot]:
    """Return the slot number and slot of the issuer. Raises NotSeated."""
    return seat_of_user(run, command.by.user_id)


def seat_of_user(run: CommandRun, user_id: int) -> tuple[int, Slot]:
    """Return the slot number and slot of a user. Raises NotSeated."""
    seat = seat_of(run.match, user_id)
    if seat is None:
        raise NotSeated
    return seat, run.match.slots[seat]


def slot_at(run: CommandRun, seat: int) -> Slot:
    """Return the slot with a number. Raises Invalid unless it is 0-15."""
    check_range("slot", seat, SLOTS - 1)
    return run.match.slots[seat]


def check_range(field: str, value: int, most: int, least: int = 0) -> None:
    """Raise Invalid if a number is out of range; both bounds are allowed."""
    if not least <= value <= most:
        raise Invalid(field, f"{least}-{most}", value)


def check_no_play(run: CommandRun) -> None:
    """Raise PlayInProgress during a play."""
    if run.match.in_progress:
        raise PlayInProgress


def check_not_playing(slot: Slot) -> None:
    """Raise Refused if the player of a slot takes part in the running play.

    Players without the map, and those who joined during the play, may still change slot or team.
    """
    if slot.status & IN_PLAY:
        raise Refused("that player is playing")


def unready(run: CommandRun, *, new_map: bool = False) -> None:
    """Set ready players to not ready. With `new_map`, do the same for players who lacked the former map."""
    # Clients report NO_MAP again for the new map, so the former report is dropped.
    statuses = READY | NO_MAP if new_map else READY
    seats = tuple(seat for seat, slot in enumerate(run.match.slots) if slot.status & statuses)
    if seats:
        run.emit(Unreadied(seats))


def set_timer(run: CommandRun, kind: str, rings_at_ms: int, seconds: int = 0) -> None:
    """Set the timer of a kind, replacing a running one. `seconds` is the duration that a player requested."""
    clear_timer(run, kind)
    run.emit(TimerSet(run.match.next_timer_id, kind, rings_at_ms, seconds))


def clear_timer(run: CommandRun, kind: str) -> bool:
    """Clear the timer of a kind. Return False if no such timer runs."""
    timer = timer_of(run.match, kind)
    if timer is None:
        return False
    run.emit(TimerCleared(timer.id, kind))
    return True

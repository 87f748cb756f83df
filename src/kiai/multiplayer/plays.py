"""One play: start, load, skip, fail, complete, abort; and that nobody waits for a player who left. Every "all have ..."
is asked again when somebody leaves.

See docs/spec/multiplayer.md#play and docs/spec/multiplayer.md#leave.
"""

from typing import Final

from kiai.errors import Refused
from kiai.multiplayer.commands import (
    Abort,
    CancelTimers,
    Complete,
    Fail,
    LoadComplete,
    Skip,
    Start,
    StartAfter,
    StartTimer,
)
from kiai.multiplayer.facts import (
    Aborted,
    AllLoaded,
    AllSkipped,
    Finished,
    PlayerCompleted,
    PlayerFailed,
    PlayerLoaded,
    PlayerSkipped,
    Seat,
    Started,
)
from kiai.multiplayer.model import (
    COMPLETE,
    COUNTDOWN,
    FINISH,
    IN_PLAY,
    LOAD,
    NOT_READY,
    PLAYING,
    READY,
    START,
    Match,
    Slot,
    players,
    playing,
    timer_of,
)
from kiai.multiplayer.turn import Rules, Turn, between_plays, clear_timer, is_referee, own_seat, set_timer, within

LOAD_MS: Final = 60_000
"""How long players wait for each other's loading."""
FINISH_MS: Final = 30_000
"""How long the first who completed waits for the others."""
START_S_MAX: Final = 300
COUNTDOWN_S_MAX: Final = 900


def start(turn: Turn, at_ms: int, *, empty: bool = True) -> None:
    """Everybody who has the map plays, ready or not. Raises Refused.

    With `empty` a play may begin in a room without players, as referees' tools try it. It ends like any other: by
    `abort`, or after the time for loading.
    """
    seats = _starting(turn, empty=empty)
    clear_timer(turn, START)
    turn.tell(Started(seats, at_ms))
    set_timer(turn, LOAD, at_ms + LOAD_MS)


def finish(turn: Turn, *, forced: bool = False) -> None:
    """The play is over."""
    _stop_waiting(turn)
    turn.tell(Finished(_seats(turn.match, IN_PLAY), turn.match.started_at_ms, forced))


def abort(turn: Turn) -> None:
    """The play is called off."""
    _stop_waiting(turn)
    turn.tell(Aborted(_seats(turn.match, IN_PLAY), turn.match.started_at_ms))


def ask_again(turn: Turn) -> None:
    """Somebody left: are the others all loaded, all skipping, all done?"""
    if not turn.match.in_progress or _finished(turn):
        return
    if not any(slot.status == COMPLETE for slot in turn.match.slots):
        clear_timer(turn, FINISH)
    _ask_loaded(turn)
    _ask_skipped(turn)


def _starting(turn: Turn, *, empty: bool) -> tuple[Seat, ...]:
    """Who would play now. Raises Refused when nothing can be started."""
    between_plays(turn)
    if turn.match.map_id <= 0:
        raise Refused("no map is chosen")
    seats = _seats(turn.match, NOT_READY | READY)
    if not seats and not (empty and not players(turn.match)):
        raise Refused("nobody here has the map")
    return seats


def loading_took_too_long(turn: Turn) -> None:
    """Whoever has loaded begins; if that is nobody, then with the first who has (see `_load_complete`)."""
    if not playing(turn.match):
        finish(turn, forced=True)
    elif any(slot.status == PLAYING and slot.loaded for slot in turn.match.slots):
        turn.tell(AllLoaded(playing(turn.match)))


def _start(turn: Turn, command: Start) -> None:
    careful = not command.force and not is_referee(turn.match, command.by)
    if careful and any(slot.status == NOT_READY for slot in turn.match.slots):
        raise Refused("not everybody is ready")
    start(turn, command.at_ms, empty=is_referee(turn.match, command.by))


def _load_complete(turn: Turn, command: LoadComplete) -> None:
    seat, slot = _player(turn, command)
    if slot.loaded:
        raise Refused("loaded already")
    late = turn.match.all_loaded
    turn.tell(PlayerLoaded(slot.player_id, seat))
    if late:
        turn.tell(AllLoaded((slot.player_id,)))
    elif timer_of(turn.match, LOAD) is None:
        turn.tell(AllLoaded(playing(turn.match)))
    else:
        _ask_loaded(turn)


def _skip(turn: Turn, command: Skip) -> None:
    seat, slot = _player(turn, command)
    if slot.skipped:
        raise Refused("skipped already")
    turn.tell(PlayerSkipped(slot.player_id, seat))
    _ask_skipped(turn)


def _fail(turn: Turn, command: Fail) -> None:
    seat, slot = _player(turn, command)
    if slot.failed:
        raise Refused("failed already")
    turn.tell(PlayerFailed(slot.player_id, seat))


def _complete(turn: Turn, command: Complete) -> None:
    seat, slot = _player(turn, command)
    turn.tell(PlayerCompleted(slot.player_id, seat, slot.failed))
    if _finished(turn):
        return
    _ask_loaded(turn)
    if timer_of(turn.match, FINISH) is None:
        set_timer(turn, FINISH, command.at_ms + FINISH_MS)


def _abort(turn: Turn, command: Abort) -> None:
    if not turn.match.in_progress:
        raise Refused("nothing is being played")
    abort(turn)


def _start_after(turn: Turn, command: StartAfter) -> None:
    within("seconds", command.seconds, START_S_MAX, 1)
    _starting(turn, empty=is_referee(turn.match, command.by))
    set_timer(turn, START, command.at_ms + command.seconds * 1000, command.seconds)


def _start_timer(turn: Turn, command: StartTimer) -> None:
    within("seconds", command.seconds, COUNTDOWN_S_MAX, 1)
    set_timer(turn, COUNTDOWN, command.at_ms + command.seconds * 1000, command.seconds)


def _cancel_timers(turn: Turn, command: CancelTimers) -> None:
    wanted = [kind for kind in (START, COUNTDOWN) if kind in command.kinds]
    if not [kind for kind in wanted if clear_timer(turn, kind)]:
        raise Refused("no timer runs")


def _player(turn: Turn, command: LoadComplete | Skip | Fail | Complete) -> tuple[int, Slot]:
    """The asker's seat, if the play waits for it."""
    seat, slot = own_seat(turn, command)
    if not turn.match.in_progress or slot.status != PLAYING:
        raise Refused("not playing")
    return seat, slot


def _finished(turn: Turn) -> bool:
    if playing(turn.match):
        return False
    finish(turn)
    return True


def _ask_loaded(turn: Turn) -> None:
    if not turn.match.all_loaded and all(slot.loaded for slot in turn.match.slots if slot.status == PLAYING):
        clear_timer(turn, LOAD)
        turn.tell(AllLoaded(playing(turn.match)))


def _ask_skipped(turn: Turn) -> None:
    if not turn.match.all_skipped and all(slot.skipped for slot in turn.match.slots if slot.status == PLAYING):
        turn.tell(AllSkipped())


def _stop_waiting(turn: Turn) -> None:
    for kind in (LOAD, FINISH):
        clear_timer(turn, kind)


def _seats(match: Match, statuses: int) -> tuple[Seat, ...]:
    return tuple(
        Seat(
            slot=seat,
            user_id=slot.player_id,
            name=slot.player_name,
            team=slot.team,
            mods=match.mods | slot.mods,
            completed=slot.status == COMPLETE,
            failed=slot.failed,
        )
        for seat, slot in enumerate(match.slots)
        if slot.status & statuses
    )


RULES: Final[Rules] = {
    Start: _start,
    LoadComplete: _load_complete,
    Skip: _skip,
    Fail: _fail,
    Complete: _complete,
    Abort: _abort,
    StartAfter: _start_after,
    StartTimer: _start_timer,
    CancelTimers: _cancel_timers,
}

"""One play: start, load, skip, fail, complete, abort (docs/spec/multiplayer.md#play).

Clients wait for each other three times: all loaded, all skipped, all completed. `recheck` tests these conditions again
when a player leaves, because the remaining players would otherwise wait for that player forever
(docs/spec/multiplayer.md#leave).
"""

from typing import Final

from kiai.errors import Refused
from kiai.multiplayer.command_run import (
    CommandRun,
    Rules,
    check_no_play,
    check_range,
    clear_timer,
    is_referee,
    own_seat,
    set_timer,
)
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
from kiai.multiplayer.events import (
    Aborted,
    AllLoaded,
    AllSkipped,
    Finished,
    PlayerCompleted,
    PlayerFailed,
    PlayerLoaded,
    PlayerSkipped,
    RoundPlayed,
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
    PP,
    READY,
    START,
    Match,
    RoundPlayer,
    Slot,
    UnscoredRound,
    players,
    playing,
    timer_of,
)

# A client that hangs while loading never sends LOAD_COMPLETE, and one that crashes after the map never sends COMPLETE.
# Without these limits the other players would be stuck until it times out.
LOAD_MS: Final = 60_000
"""Time in ms after which a play begins without the players who are still loading."""
FINISH_MS: Final = 30_000
"""Time in ms after the first completion at which a play ends without the players who have not completed."""
RESULTS_MS: Final = 10_000
"""Time in ms after the end of a play of a scrim during which missing results are awaited."""
START_S_MAX: Final = 300
COUNTDOWN_S_MAX: Final = 900


def start(run: CommandRun, at_ms: int, *, empty: bool = True) -> None:
    """Start a play for every player who has the map, ready or not. Raises Refused.

    With `empty`, a match without players can start, because referee tools test a match that way. Such a play ends by
    `abort` or after the loading time.
    """
    seats = _starting(run, empty=empty)
    # A queued start would otherwise ring during the play and be reported as failed.
    clear_timer(run, START)
    run.emit(Started(seats, at_ms))
    set_timer(run, LOAD, at_ms + LOAD_MS)


def finish(run: CommandRun, *, forced: bool = False) -> None:
    """End the play. `forced`: not every player has completed."""
    # A FINISH timer that is left running would end the next play.
    _stop_waiting(run)
    match = run.match
    seats = _seats(match, IN_PLAY)
    run.emit(Finished(seats, match.started_at_ms, forced))
    scrim = match.scrim
    # A play that began before the scrim, or before its points were reset, does not count.
    if scrim is not None and seats and match.started_at_ms >= scrim.began_at_ms:
        run.emit(
            RoundPlayed(
                UnscoredRound(
                    started_at_ms=match.started_at_ms,
                    until_ms=run.at_ms + RESULTS_MS,
                    map_md5=match.map_md5,
                    mode=match.mode,
                    win_condition=PP if scrim.by_pp else match.win_condition,
                    players=tuple(
                        RoundPlayer(seat.user_id, seat.name, seat.team, seat.mods, seat.completed and not seat.failed)
                        for seat in seats
                    ),
                )
            )
        )


def abort(run: CommandRun) -> None:
    """End the play without a result."""
    _stop_waiting(run)
    run.emit(Aborted(_seats(run.match, IN_PLAY), run.match.started_at_ms))


def recheck(run: CommandRun) -> None:
    """Test whether the remaining players have all loaded, skipped or completed. Call this after a player has left."""
    if not run.match.in_progress or _finish_if_done(run):
        return
    # The only player who had completed may be the one who left. Nobody is waiting for the others then.
    if not any(slot.status == COMPLETE for slot in run.match.slots):
        clear_timer(run, FINISH)
    _check_loaded(run)
    _check_skipped(run)


def _starting(run: CommandRun, *, empty: bool) -> tuple[Seat, ...]:
    """Return the players of a play that starts now. Raises Refused if no play can start."""
    check_no_play(run)
    if empty and not players(run.match):
        return ()  # also without a map
    if run.match.map_id <= 0:
        raise Refused("no map is selected")
    seats = _seats(run.match, NOT_READY | READY)
    if not seats:  # players who all lack the map would see a play start without them
        raise Refused("no player has the map")
    return seats


def stop_waiting_for_load(run: CommandRun) -> None:
    """Begin the play for the players who have loaded. If no player has, the first one to load begins it."""
    if not playing(run.match):
        # The play was started in an empty match.
        finish(run, forced=True)
    elif any(slot.status == PLAYING and slot.loaded for slot in run.match.slots):
        # To all players: a client that is still loading starts at once when it is ready.
        run.emit(AllLoaded(playing(run.match)))


def _start(run: CommandRun, command: Start) -> None:
    needs_ready = not command.force and not is_referee(run.match, command.by)
    if needs_ready and any(slot.status == NOT_READY for slot in run.match.slots):
        raise Refused("not all players are ready")
    start(run, command.at_ms, empty=is_referee(run.match, command.by))


def _load_complete(run: CommandRun, command: LoadComplete) -> None:
    seat, slot = _player(run, command)
    if slot.loaded:
        raise Refused("the player has already loaded")
    late = run.match.all_loaded
    run.emit(PlayerLoaded(slot.player_id, seat))
    if late:
        # The others are playing already and must not get the packet twice.
        run.emit(AllLoaded((slot.player_id,)))
    elif timer_of(run.match, LOAD) is None:
        # The LOAD timer rang while no player had loaded. This is the first one.
        run.emit(AllLoaded(playing(run.match)))
    else:
        _check_loaded(run)


def _skip(run: CommandRun, command: Skip) -> None:
    seat, slot = _player(run, command)
    if slot.skipped:
        raise Refused("the player has already skipped")
    run.emit(PlayerSkipped(slot.player_id, seat))
    _check_skipped(run)


def _fail(run: CommandRun, command: Fail) -> None:
    seat, slot = _player(run, command)
    if slot.failed:
        raise Refused("the player has already failed")
    run.emit(PlayerFailed(slot.player_id, seat))


def _complete(run: CommandRun, command: Complete) -> None:
    seat, slot = _player(run, command)
    run.emit(PlayerCompleted(slot.player_id, seat, slot.failed))
    if _finish_if_done(run):
        return
    # A player who completed before all had loaded no longer counts among those who must load.
    _check_loaded(run)
    if timer_of(run.match, FINISH) is None:
        set_timer(run, FINISH, command.at_ms + FINISH_MS)


def _abort(run: CommandRun, command: Abort) -> None:
    if not run.match.in_progress:
        raise Refused("the match is not in progress")
    abort(run)


def _start_after(run: CommandRun, command: StartAfter) -> None:
    check_range("seconds", command.seconds, START_S_MAX, 1)
    # Refuse now what would fail when the timer rings. The match may still change until then: see `match._timer_rang`.
    _starting(run, empty=is_referee(run.match, command.by))
    set_timer(run, START, command.at_ms + command.seconds * 1000, command.seconds)


def _start_timer(run: CommandRun, command: StartTimer) -> None:
    check_range("seconds", command.seconds, COUNTDOWN_S_MAX, 1)
    set_timer(run, COUNTDOWN, command.at_ms + command.seconds * 1000, command.seconds)


def _cancel_timers(run: CommandRun, command: CancelTimers) -> None:
    # The timers of the server (LOAD, FINISH, IDLE) cannot be cancelled by command.
    kinds = [kind for kind in (START, COUNTDOWN) if kind in command.kinds]
    # A list, not any(): each of the timers is cleared, not only the first.
    if not [kind for kind in kinds if clear_timer(run, kind)]:
        raise Refused("no timer is running")


def _player(run: CommandRun, command: LoadComplete | Skip | Fail | Complete) -> tuple[int, Slot]:
    """Return the slot number and slot of the issuer. Raises Refused unless the player is playing."""
    seat, slot = own_seat(run, command)
    # Packets about a play may arrive after its end, e.g. from a client that was still loading at an abort.
    if not run.match.in_progress or slot.status != PLAYING:
        raise Refused("the player is not playing")
    return seat, slot


def _finish_if_done(run: CommandRun) -> bool:
    if playing(run.match):
        return False
    finish(run)
    return True


def _check_loaded(run: CommandRun) -> None:
    if not run.match.all_loaded and all(slot.loaded for slot in run.match.slots if slot.status == PLAYING):
        clear_timer(run, LOAD)
        run.emit(AllLoaded(playing(run.match)))


def _check_skipped(run: CommandRun) -> None:
    if not run.match.all_skipped and all(slot.skipped for slot in run.match.slots if slot.status == PLAYING):
        run.emit(AllSkipped())


def _stop_waiting(run: CommandRun) -> None:
    for kind in (LOAD, FINISH):
        clear_timer(run, kind)


def _seats(match: Match, statuses: int) -> tuple[Seat, ...]:
    return tuple(
        Seat(
            slot=seat,
            user_id=slot.player_id,
            name=slot.player_name,
            team=slot.team,
            mods=match.mods | slot.mods,  # slots have no mods without free mods
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

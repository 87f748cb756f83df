"""The state machine of a match, as a pure function.

    apply(match, command) -> (match, events)        or raises Refused

It reads no clock, session or database. The realtime port may therefore run a change again after a conflict, and
property tests can drive the machine with random commands.

The modules, each of which imports only those before it: `model` holds the values; `commands` the inputs and who may
send them; `events` the changes; `command_run` the state of one command; and the rules are in `plays` (one play),
`seats` (slots, host, referees), `room_settings` (map, mods, win condition) and `scrims` (best-of series and pools).
`RULES` maps each command to one function. A function that raises leaves the match unchanged.

A timer is an event and later a command: the service that receives `TimerSet` sends `TimerRang` at that time.
`TimerRang` is refused if the timer was cleared in the meantime, so the service never has to cancel anything.
"""

from collections.abc import Collection
from typing import Final

from kiai.errors import Invalid, Refused
from kiai.multiplayer import plays, room_settings, scrims, seats
from kiai.multiplayer.command_run import (
    EVENTS_PER_COMMAND_MAX,
    CommandRun,
    NotReferee,
    NotSeated,
    PlayInProgress,
    Rules,
    is_creator,
    is_host,
    is_leader,
    is_referee,
    may,
    set_timer,
)
from kiai.multiplayer.commands import Issuer, MatchCommand, SetHistoryIds, TimerRang
from kiai.multiplayer.events import CouldNotStart, Event, HistoryIdsSet, TimerCleared
from kiai.multiplayer.model import (
    BLUE,
    COMPLETE,
    COUNTDOWN,
    FINISH,
    HAS_PLAYER,
    IDLE,
    IDLE_MS,
    IN_PLAY,
    LOAD,
    LOCKED,
    NEUTRAL,
    NO_MAP,
    NOT_READY,
    OPEN,
    PLAYING,
    PP,
    QUIT,
    READY,
    RED,
    SLOTS,
    START,
    TAG_TYPES,
    MapChoice,
    Match,
    Scrim,
    Slot,
    Timer,
    everybody_in,
    has_teams,
    players,
    playing,
    seat_of,
    timer_of,
)
from kiai.multiplayer.scrims import pick_name, side_name, team_names

__all__ = [
    "BLUE",
    "COMPLETE",
    "COUNTDOWN",
    "EVENTS_PER_COMMAND_MAX",
    "FINISH",
    "HAS_PLAYER",
    "IDLE",
    "IN_PLAY",
    "LOAD",
    "LOCKED",
    "NEUTRAL",
    "NOT_READY",
    "NO_MAP",
    "OPEN",
    "PLAYING",
    "PP",
    "QUIT",
    "READY",
    "RED",
    "SLOTS",
    "START",
    "MapChoice",
    "Match",
    "NotReferee",
    "NotSeated",
    "PlayInProgress",
    "Scrim",
    "Slot",
    "Timer",
    "apply",
    "everybody_in",
    "has_teams",
    "is_creator",
    "is_host",
    "is_leader",
    "is_referee",
    "may",
    "new_match",
    "pick_name",
    "players",
    "playing",
    "seat_of",
    "side_name",
    "team_names",
    "timer_of",
]


def new_match(
    *,
    by: Issuer,
    at_ms: int,
    name: str,
    password: str = "",
    map_id: int = -1,
    map_md5: str = "",
    map_name: str = "",
    mode: int = 0,
    mods: int = 0,
    win_condition: int = 0,
    team_type: int = 0,
    free_mods: bool = False,
    seed: int = 0,
    locked: Collection[int] = (),
    by_command: bool = False,
    private: bool = False,
    seated: bool = True,
    idle_ms: int = IDLE_MS,
) -> Match:
    """Return a new match (docs/spec/multiplayer.md#create).

    The creator is the host and sits in slot 0, which is never locked. A match made by command has no host; without
    `seated` it is also empty, and its `IDLE` timer runs from `at_ms`. `locked` lists the slots to lock; numbers outside
    1-15 are ignored. A name or password that is too long is cut. The suffix `//private` of the password is removed and
    sets `private`. Raises Refused for an empty name and Invalid for a number out of range.
    """
    name = room_settings.clean_name(name)
    room_settings.check_settings(mode=mode, win_condition=win_condition, team_type=team_type, seed=seed)
    # A client can send both. The players of a tag team share one play, so they cannot have different mods.
    free_mods = free_mods and team_type not in TAG_TYPES
    room_mods, own_mods = room_settings.room_mods(mods, free_mods=free_mods), room_settings.own_mods(mods)
    choice = room_settings.map_choice(map_id, map_md5, map_name) or MapChoice(-1, "", "")
    password, asked_private = room_settings.parse_password(password)

    # Only a match made by command may start empty: any other match closes when its last player leaves.
    sits = seated or not by_command
    host = by if sits and not by_command else Issuer(0, "")
    first = Slot(
        status=NOT_READY,
        team=seats.default_team(team_type, 0),
        mods=own_mods if free_mods else 0,
        player_id=by.user_id,
        player_name=by.name,
    )
    others = (Slot(LOCKED if seat in locked else OPEN) for seat in range(1, SLOTS))
    return Match(
        name=name,
        password=password,
        mode=mode,
        mods=room_mods,
        seed=seed,
        host_id=host.user_id,
        host_name=host.name,
        referees=((by.user_id, by.name),),
        map_id=choice.map_id,
        map_md5=choice.map_md5,
        map_name=choice.map_name,
        team_type=team_type,
        win_condition=win_condition,
        free_mods=free_mods,
        slots=(first if sits else Slot(), *others),
        created_by=by.user_id,
        created_at_ms=at_ms,
        by_command=by_command,
        private=private or asked_private,
        idle_ms=idle_ms,
        timers=() if sits else (Timer(1, IDLE, at_ms + idle_ms),),
        next_timer_id=1 if sits else 2,  # the IDLE timer above has id 1
    )


def apply(match: Match, command: MatchCommand) -> tuple[Match, tuple[Event, ...]]:
    """Return the match after a command, and the events in order: 0 to EVENTS_PER_COMMAND_MAX.

    The caller deletes the match after a `Closed` event. Raises Refused if the issuer lacks the right or a rule forbids
    the command.
    """
    if match.closed:
        # `Matches.join` tries two commands in a row, and the first one may close the match.
        raise Refused("the match is closed")
    if not may(match, command.by, type(command)):
        raise Refused(f"only {command.right.value} can do that")
    run = CommandRun(match, command.at_ms)
    try:
        RULES[type(command)](run, command)
    except Invalid as error:
        # Callers ignore or report a refusal. A client that sends a number out of range is treated the same way.
        raise Refused(str(error)) from error
    # A referee who sends commands to an empty match is still using it, so its idle time starts again. The check is on
    # `run.match`: a command that seats a player or closes the match has cleared the timer. The server has user id 0.
    if run.events and command.by.user_id and timer_of(match, IDLE) in run.match.timers:
        set_timer(run, IDLE, command.at_ms + match.idle_ms)
    return run.match, tuple(run.events)


def _timer_rang(run: CommandRun, command: TimerRang) -> None:
    timer = next((timer for timer in run.match.timers if timer.id == command.timer_id), None)
    if timer is None:
        # Another worker rang it first, or a command cleared it after the service read the match.
        raise Refused("the timer was cleared")
    if command.at_ms < timer.rings_at_ms:
        # The clocks of two workers may differ by some milliseconds.
        raise Refused("it is too early")
    # First: the functions below may set a timer of the same kind again.
    run.emit(TimerCleared(timer.id, timer.kind, rang=True))
    if timer.kind == START:
        try:
            plays.start(run, command.at_ms)
        except Refused as error:
            # Raising here would undo TimerCleared, and the timer would ring again at the next tick.
            run.emit(CouldNotStart(error.reason))
    elif timer.kind == LOAD:
        plays.stop_waiting_for_load(run)
    elif timer.kind == FINISH:
        plays.finish(run, forced=True)
    elif timer.kind == IDLE:
        seats.close(run, "idle")


def _set_history_ids(run: CommandRun, command: SetHistoryIds) -> None:
    match = run.match
    history_id = match.history_id if command.history_id is None else command.history_id
    game_id = match.game_id if command.game_id is None else command.game_id
    run.emit(HistoryIdsSet(history_id, game_id))


RULES: Final[Rules] = {
    **plays.RULES,
    **seats.RULES,
    **room_settings.RULES,
    **scrims.RULES,
    TimerRang: _timer_rang,
    SetHistoryIds: _set_history_ids,
}

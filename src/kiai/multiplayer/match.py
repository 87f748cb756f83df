"""The match, pure: what it becomes is a function of the match and what is asked of it, nothing else.

    apply(match, command) -> (match, facts)        or raises Refused

No clock, no session, no look-up. So it can be kept behind the realtime port, where a change is a rule that may be run
again, and be held to its promises by random commands.

What it is made of, each using only those before it: `model` the values; `commands` what can be asked, and by whom;
`facts` what happened, and the only way a match ever changes; `turn` a command being carried out; and the rules: `plays`
one play, `seats` who sits where, `choices` what is played, `scrims` best-of series and pools. A command is carried out
by the one function that the tables of rules name, and what it raises leaves the match as it was.

Timers are facts out and commands in: whoever hears `TimerSet` sends `TimerRang` when the time has come, which is
refused if that timer was cleared meanwhile. So nothing has to be cancelled.
"""

from collections.abc import Collection
from typing import Final

from kiai.errors import Invalid, Refused
from kiai.multiplayer import choices, plays, scrims, seats
from kiai.multiplayer.commands import Actor, Command, Recorded, TimerRang
from kiai.multiplayer.facts import CouldNotStart, Fact, HistoryKnown, TimerCleared
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
from kiai.multiplayer.turn import (
    FACTS_MAX,
    BeingPlayed,
    NoReferee,
    NotSeated,
    Rules,
    Turn,
    is_creator,
    is_host,
    is_leader,
    is_referee,
    may,
    set_timer,
)

__all__ = [
    "BLUE",
    "COMPLETE",
    "COUNTDOWN",
    "FACTS_MAX",
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
    "BeingPlayed",
    "MapChoice",
    "Match",
    "NoReferee",
    "NotSeated",
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
    "opened",
    "pick_name",
    "players",
    "playing",
    "seat_of",
    "side_name",
    "team_names",
    "timer_of",
]


def opened(
    *,
    by: Actor,
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
    """A new match, as its creator asked for it (docs/spec/multiplayer.md#create).

    The creator sits in slot 0, which is never locked, and is the host; in a room made by command there is no host, and
    without `seated` nobody sits there yet. `locked` are the slots to lock; other numbers in it are ignored. A name or a
    password that is too long is cut, and `//private` at the end of a password means `private`. Such an empty room has
    its `IDLE` timer set already. Raises Refused for an empty name and Invalid for numbers outside their range.
    """
    name = choices.named(name)
    choices.checked(mode=mode, win_condition=win_condition, team_type=team_type, seed=seed)
    free_mods = free_mods and team_type not in TAG_TYPES
    room_mods, own_mods = choices.room_mods(mods, free_mods=free_mods), choices.own_mods(mods)
    choice = choices.chosen(map_id, map_md5, map_name) or MapChoice(-1, "", "")
    password, asked_private = choices.password_of(password)

    sits = seated or not by_command
    host = by if sits and not by_command else Actor(0, "")
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
        next_timer_id=1 if sits else 2,
    )


def apply(match: Match, command: Command) -> tuple[Match, tuple[Fact, ...]]:
    """The match after the command, and what happened, in order; at most FACTS_MAX facts, and maybe none.

    After `Closed` the match is to be dropped. Raises Refused, and then nothing has changed.
    """
    if match.closed:
        raise Refused("the match is closed")
    if not may(match, command.by, type(command)):
        raise Refused(f"only {command.right.value} may do that")
    turn = Turn(match)
    try:
        RULES[type(command)](turn, command)
    except Invalid as error:
        raise Refused(str(error)) from error
    # Whoever leads an empty room keeps it open.
    if turn.facts and command.by.user_id and timer_of(match, IDLE) in turn.match.timers:
        set_timer(turn, IDLE, command.at_ms + match.idle_ms)
    return turn.match, tuple(turn.facts)


def _timer_rang(turn: Turn, command: TimerRang) -> None:
    timer = next((timer for timer in turn.match.timers if timer.id == command.timer_id), None)
    if timer is None:
        raise Refused("that timer was cleared")
    if command.at_ms < timer.rings_at_ms:
        raise Refused("it is too early")
    turn.tell(TimerCleared(timer.id, timer.kind, rang=True))
    if timer.kind == START:
        try:
            plays.start(turn, command.at_ms)
        except Refused as error:
            turn.tell(CouldNotStart(error.reason))
    elif timer.kind == LOAD:
        plays.loading_took_too_long(turn)
    elif timer.kind == FINISH:
        plays.finish(turn, forced=True)
    elif timer.kind == IDLE:
        seats.close(turn, "idle")


def _recorded(turn: Turn, command: Recorded) -> None:
    match = turn.match
    history_id = match.history_id if command.history_id is None else command.history_id
    game_id = match.game_id if command.game_id is None else command.game_id
    turn.tell(HistoryKnown(history_id, game_id))


RULES: Final[Rules] = {
    **plays.RULES,
    **seats.RULES,
    **choices.RULES,
    **scrims.RULES,
    TimerRang: _timer_rang,
    Recorded: _recorded,
}

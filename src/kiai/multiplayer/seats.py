"""Slots, teams, host, referees and bans; joining, leaving and closing (docs/spec/multiplayer.md#slots-and-teams)."""

from typing import Final

from kiai.errors import Refused
from kiai.multiplayer.command_run import (
    CommandRun,
    NotReferee,
    Rules,
    check_no_play,
    check_not_playing,
    check_range,
    clear_timer,
    is_referee,
    own_seat,
    seat_of_user,
    set_timer,
    slot_at,
)
from kiai.multiplayer.commands import (
    AddReferee,
    BanPlayer,
    ChangeSlot,
    ChangeTeam,
    ClearHost,
    Close,
    HasMap,
    Join,
    Kick,
    Leave,
    LockSlot,
    Move,
    NoMap,
    NotReady,
    Ready,
    RemoveReferee,
    SetHost,
    SetSeatsLocked,
    SetSize,
    SetSlotsLocked,
    SetTeam,
    TransferHost,
    UnbanPlayer,
)
from kiai.multiplayer.events import (
    Closed,
    CloseWhy,
    HostPassed,
    Joined,
    Left,
    LeftWhy,
    MapChanged,
    PlayerBanned,
    PlayerUnbanned,
    RefereeAdded,
    RefereeRemoved,
    ScrimEnded,
    SeatsLocked,
    SlotLocked,
    SlotMoved,
    StatusChanged,
    TeamChanged,
)
from kiai.multiplayer.model import (
    BLUE,
    COUNTDOWN,
    IDLE,
    IN_PLAY,
    LOCKED,
    NEUTRAL,
    NO_MAP,
    NOT_READY,
    OPEN,
    READY,
    RED,
    SLOTS,
    START,
    TEAM_TYPES_WITH_TEAMS,
    Match,
    Slot,
    has_teams,
    occupied_seats,
    players,
    seat_of,
)
from kiai.multiplayer.plays import abort, recheck

# Both lists are part of the match, which is stored and sent between workers with each change. Tournament matches have
# two or three referees.
REFEREES_MAX: Final = 8
"""Largest number of referees in addition to the creator."""
BANNED_MAX: Final = 128


def default_team(team_type: int, seat: int) -> int:
    """Return the team of a player who takes a seat: red in even slots, blue in odd ones, neutral without teams."""
    if team_type not in TEAM_TYPES_WITH_TEAMS:
        return NEUTRAL
    return BLUE if seat % 2 else RED


def resize(run: CommandRun, size: int) -> None:
    """Set the number of slots, counted from the first. Raises Invalid, and Refused if more players are seated."""
    check_range("size", size, SLOTS, 1)
    check_no_play(run)
    if len(players(run.match)) > size:
        raise Refused("the match has more players than that")
    # Open slots below first: players from the slots above move there.
    for seat in range(size):
        if run.match.slots[seat].status == LOCKED:
            run.emit(SlotLocked(seat, False))
    for seat in range(size, SLOTS):
        slot = run.match.slots[seat]
        if slot.occupied:
            run.emit(SlotMoved(slot.player_id, seat, _lowest_open(run.match)))
        if slot.status != LOCKED:
            run.emit(SlotLocked(seat, True))


def close(run: CommandRun, why: CloseWhy) -> None:
    """Remove all players and end the match."""
    # In this order, so that the history shows the end of the play and of the scrim before the match closes.
    if run.match.in_progress:
        abort(run)
    for seat, slot in occupied_seats(run.match):
        run.emit(Left(slot.player_id, slot.player_name, seat, "closed"))
    scrim = run.match.scrim
    if scrim is not None:
        run.emit(ScrimEnded(scrim.best_of, scrim.points))
    for timer in run.match.timers:
        clear_timer(run, timer.kind)
    run.emit(Closed(why))


def _join(run: CommandRun, command: Join) -> None:
    match, issuer = run.match, command.by
    _check_user_id(issuer.user_id)
    if seat_of(match, issuer.user_id) is not None:
        raise Refused("you are already in this match")
    # The ban comes first: a banned player learns nothing about the password.
    if issuer.user_id in match.banned:
        raise Refused("you are banned from this match")
    if not command.force:
        # `osump://` links cannot contain spaces; the server writes underscores instead.
        matches = not match.password or command.password in (match.password, match.password.replace(" ", "_"))
        if not (matches or issuer.staff or is_referee(match, issuer)):
            raise Refused("the password is wrong")
    seat = _lowest_open(match)
    clear_timer(run, IDLE)
    run.emit(Joined(issuer.user_id, issuer.name, seat, default_team(match.team_type, seat)))


def _leave(run: CommandRun, command: Leave) -> None:
    seat = seat_of(run.match, command.by.user_id)
    if seat is not None:
        _vacate(run, seat, "left", command.at_ms)


def _vacate(run: CommandRun, seat: int, why: LeftWhy, at_ms: int, *, locked: bool = False) -> None:
    """Empty a seat at any time, and do everything that depends on the player who leaves."""
    slot = run.match.slots[seat]
    # First: all that follows looks at the players who remain.
    run.emit(Left(slot.player_id, slot.player_name, seat, why, locked, slot.status & IN_PLAY != 0))
    match = run.match
    # In a match made by command a referee needs no seat, so leaving it does not end the role.
    if not match.by_command and slot.player_id != match.created_by:
        _drop_referee(run, slot.player_id)
    recheck(run)
    if match.host_id == slot.player_id:
        # In a match made by command, only referees choose the host.
        heir = None if match.by_command else _next_occupied(match, seat)
        _pass_host(run, heir)
    if players(match):
        _ensure_leader(run)
        return
    # Nobody is left to see the countdown or to play.
    for kind in (START, COUNTDOWN):
        clear_timer(run, kind)
    if match.by_command:
        set_timer(run, IDLE, at_ms + match.idle_ms)
    else:
        close(run, "empty")


def _change_slot(run: CommandRun, command: ChangeSlot) -> None:
    seat, slot = own_seat(run, command)
    _check_seats_unlocked(run)
    _move(run, seat, slot, command.slot)


def _lock_slot(run: CommandRun, command: LockSlot) -> None:
    slot = slot_at(run, command.slot)
    if slot.player_id == command.by.user_id:
        # LOCK on an occupied slot kicks its player.
        raise Refused("you can't lock your own slot")
    if slot.occupied:
        _vacate(run, command.slot, "kicked", command.at_ms, locked=True)
    else:
        run.emit(SlotLocked(command.slot, slot.status != LOCKED))


def _ready(run: CommandRun, command: Ready) -> None:
    _set_status(run, command, READY)


def _not_ready(run: CommandRun, command: NotReady) -> None:
    _set_status(run, command, NOT_READY)


def _no_map(run: CommandRun, command: NoMap) -> None:
    _set_status(run, command, NO_MAP)


def _has_map(run: CommandRun, command: HasMap) -> None:
    _set_status(run, command, NOT_READY)


def _set_status(run: CommandRun, command: Ready | NotReady | NoMap | HasMap, status: int) -> None:
    seat, slot = own_seat(run, command)
    check_not_playing(slot)
    if slot.status != status:
        run.emit(StatusChanged(slot.player_id, seat, status))


def _transfer_host(run: CommandRun, command: TransferHost) -> None:
    slot = slot_at(run, command.slot)
    if not slot.occupied or slot.player_id == command.by.user_id:
        raise Refused("no other player is in that slot")
    _pass_host(run, slot)


def _set_host(run: CommandRun, command: SetHost) -> None:
    _, slot = seat_of_user(run, command.user_id)
    if run.match.host_id != command.user_id:  # not an error: tools set the host again to be sure
        _pass_host(run, slot)


def _clear_host(run: CommandRun, command: ClearHost) -> None:
    match = run.match
    if not match.host_id:
        return  # not an error: tools send `clearhost` for each match that they make
    if not match.by_command and not _referee_seated(match):
        raise Refused("nobody in the match could lead it without a host")
    _pass_host(run, None)


def _change_team(run: CommandRun, command: ChangeTeam) -> None:
    seat, slot = own_seat(run, command)
    _check_seats_unlocked(run)
    _set_side(run, seat, slot, RED if slot.team == BLUE else BLUE)


def _set_team(run: CommandRun, command: SetTeam) -> None:
    check_range("team", command.team, RED, BLUE)
    seat, slot = seat_of_user(run, command.user_id)
    _set_side(run, seat, slot, command.team)


def _set_side(run: CommandRun, seat: int, slot: Slot, team: int) -> None:
    if not has_teams(run.match):
        raise Refused("this match has no teams")
    check_not_playing(slot)
    if slot.team != team:
        run.emit(TeamChanged(slot.player_id, seat, team))


def _move_player(run: CommandRun, command: Move) -> None:
    seat, slot = seat_of_user(run, command.user_id)
    _move(run, seat, slot, command.slot)


def _move(run: CommandRun, seat: int, slot: Slot, to: int) -> None:
    check_not_playing(slot)
    # Also refuses the player's own slot, which is occupied.
    if slot_at(run, to).status != OPEN:
        raise Refused("that slot is not open")
    run.emit(SlotMoved(slot.player_id, seat, to))


def _set_size(run: CommandRun, command: SetSize) -> None:
    resize(run, command.size)


def _set_seats_locked(run: CommandRun, command: SetSeatsLocked) -> None:
    if run.match.seats_locked != command.on:
        run.emit(SeatsLocked(command.on))


def _set_slots_locked(run: CommandRun, command: SetSlotsLocked) -> None:
    old = OPEN if command.on else LOCKED
    for seat, slot in enumerate(run.match.slots):
        if slot.status == old:
            run.emit(SlotLocked(seat, command.on))


def _kick(run: CommandRun, command: Kick) -> None:
    seat, _ = seat_of_user(run, command.user_id)
    _check_may_remove(run, command)
    _vacate(run, seat, "kicked", command.at_ms)


def _ban(run: CommandRun, command: BanPlayer) -> None:
    seat, _ = seat_of_user(run, command.user_id)
    _check_may_remove(run, command)
    if len(run.match.banned) >= BANNED_MAX:
        raise Refused(f"a match has at most {BANNED_MAX} bans")
    run.emit(PlayerBanned(command.user_id))
    _vacate(run, seat, "banned", command.at_ms)


def _unban(run: CommandRun, command: UnbanPlayer) -> None:
    if command.user_id not in run.match.banned:
        raise Refused("that player is not banned")
    run.emit(PlayerUnbanned(command.user_id))


def _check_may_remove(run: CommandRun, command: Kick | BanPlayer) -> None:
    if not command.by.user_id:
        return  # the server kicks silenced players, also referees and staff
    if command.user_id == command.by.user_id:
        raise Refused("you can't do that to yourself")
    # Otherwise a host could kick the referee of the match.
    if command.target_staff or command.user_id in _leader_ids(run.match):
        raise Refused("you can't remove referees or staff")


def _add_referee(run: CommandRun, command: AddReferee) -> None:
    _check_user_id(command.user_id)
    if command.user_id in _leader_ids(run.match):
        raise Refused("already a referee")
    if len(run.match.referees) - 1 >= REFEREES_MAX:  # the creator is in the list and does not count
        raise Refused(f"a match has at most {REFEREES_MAX} referees")
    run.emit(RefereeAdded(command.user_id, command.name))


def _remove_referee(run: CommandRun, command: RemoveReferee) -> None:
    if command.user_id == run.match.created_by:
        raise Refused("the creator is always a referee")
    if not _drop_referee(run, command.user_id):
        raise NotReferee
    _ensure_leader(run)


def _drop_referee(run: CommandRun, user_id: int) -> bool:
    name = dict(run.match.referees).get(user_id)
    if name is not None:
        run.emit(RefereeRemoved(user_id, name))
    return name is not None


def _close(run: CommandRun, command: Close) -> None:
    close(run, "referee")


def _leader_ids(match: Match) -> set[int]:
    return {match.created_by, *(user_id for user_id, _ in match.referees)}


def _referee_seated(match: Match) -> bool:
    return not _leader_ids(match).isdisjoint(players(match))


def _pass_host(run: CommandRun, heir: Slot | None) -> None:
    """Set or remove the host. If the former host was choosing a map, select the map before that again."""
    run.emit(HostPassed(heir.player_id, heir.player_name) if heir else HostPassed(0, ""))
    previous = run.match.previous
    if previous is not None:
        # The new host has not opened the map picker, so no packet would end the state "choosing a map".
        run.emit(MapChanged(previous.map_id, previous.map_md5, previous.map_name, another=False, restored=True))


def _ensure_leader(run: CommandRun) -> None:
    """Give a match without host and referee a host, because nobody else could start a play.

    Matches made by command are exempt: referees lead them without a seat.
    """
    match = run.match
    if not match.by_command and not match.host_id and not _referee_seated(match):
        _pass_host(run, _next_occupied(match, SLOTS - 1))


def _next_occupied(match: Match, after: int) -> Slot | None:
    """Return the next slot with a player, counting upwards from `after` and around."""
    order = (*match.slots[after + 1 :], *match.slots[: after + 1])
    return next((slot for slot in order if slot.occupied), None)


def _check_user_id(user_id: int) -> None:
    # 0 is the server and an empty slot.
    if user_id <= 0:
        raise Refused("there is no such player")


def _check_seats_unlocked(run: CommandRun) -> None:
    if run.match.seats_locked:
        raise Refused("only referees can change slots and teams in this match")


def _lowest_open(match: Match) -> int:
    for seat, slot in enumerate(match.slots):
        if slot.status == OPEN:
            return seat
    raise Refused("the match is full")


RULES: Final[Rules] = {
    Join: _join,
    Leave: _leave,
    ChangeSlot: _change_slot,
    LockSlot: _lock_slot,
    Ready: _ready,
    NotReady: _not_ready,
    NoMap: _no_map,
    HasMap: _has_map,
    TransferHost: _transfer_host,
    SetHost: _set_host,
    ClearHost: _clear_host,
    ChangeTeam: _change_team,
    SetTeam: _set_team,
    Move: _move_player,
    SetSize: _set_size,
    SetSeatsLocked: _set_seats_locked,
    SetSlotsLocked: _set_slots_locked,
    Kick: _kick,
    BanPlayer: _ban,
    UnbanPlayer: _unban,
    AddReferee: _add_referee,
    RemoveReferee: _remove_referee,
    Close: _close,
}

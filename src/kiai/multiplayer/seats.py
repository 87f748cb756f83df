"""Who sits where, who leads, and how somebody goes (docs/spec/multiplayer.md#slots-and-teams)."""

from typing import Final

from kiai.errors import Refused
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
from kiai.multiplayer.facts import (
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
from kiai.multiplayer.plays import abort, ask_again
from kiai.multiplayer.turn import (
    NoReferee,
    Rules,
    Turn,
    between_plays,
    clear_timer,
    is_referee,
    not_playing,
    own_seat,
    seat_with,
    set_timer,
    slot_at,
    within,
)

REFEREES_MAX: Final = 8
"""Beside the creator."""
BANNED_MAX: Final = 128


def default_team(team_type: int, seat: int) -> int:
    """The team of who comes to sit there: with teams red on even slots and blue on odd ones, else none."""
    if team_type not in TEAM_TYPES_WITH_TEAMS:
        return NEUTRAL
    return BLUE if seat % 2 else RED


def resize(turn: Turn, size: int) -> None:
    """So many slots, from the first. Raises Invalid, and Refused if more than that are here."""
    within("size", size, SLOTS, 1)
    between_plays(turn)
    if len(players(turn.match)) > size:
        raise Refused("more players are here")
    for seat in range(size):
        if turn.match.slots[seat].status == LOCKED:
            turn.tell(SlotLocked(seat, False))
    for seat in range(size, SLOTS):
        slot = turn.match.slots[seat]
        if slot.occupied:
            turn.tell(SlotMoved(slot.player_id, seat, _lowest_open(turn.match)))
        if slot.status != LOCKED:
            turn.tell(SlotLocked(seat, True))


def close(turn: Turn, why: CloseWhy) -> None:
    """Everybody out, and the match is gone."""
    if turn.match.in_progress:
        abort(turn)
    for seat, slot in occupied_seats(turn.match):
        turn.tell(Left(slot.player_id, slot.player_name, seat, "closed"))
    scrim = turn.match.scrim
    if scrim is not None:
        turn.tell(ScrimEnded(scrim.best_of, scrim.points))
    for timer in turn.match.timers:
        clear_timer(turn, timer.kind)
    turn.tell(Closed(why))


def _join(turn: Turn, command: Join) -> None:
    match, who = turn.match, command.by
    _somebody(who.user_id)
    if seat_of(match, who.user_id) is not None:
        raise Refused("already here")
    if not command.force:
        if who.user_id in match.banned:
            raise Refused("banned from this match")
        # Links cannot hold spaces.
        right = not match.password or command.password in (match.password, match.password.replace(" ", "_"))
        if not (right or who.staff or is_referee(match, who)):
            raise Refused("wrong password")
    seat = _lowest_open(match)
    clear_timer(turn, IDLE)
    turn.tell(Joined(who.user_id, who.name, seat, default_team(match.team_type, seat)))


def _leave(turn: Turn, command: Leave) -> None:
    seat = seat_of(turn.match, command.by.user_id)
    if seat is not None:
        _out(turn, seat, "left", command.at_ms)


def _out(turn: Turn, seat: int, why: LeftWhy, at_ms: int, *, locked: bool = False) -> None:
    """Somebody goes, whatever is going on, and nobody is left waiting."""
    slot = turn.match.slots[seat]
    turn.tell(Left(slot.player_id, slot.player_name, seat, why, locked, slot.status & IN_PLAY != 0))
    match = turn.match
    if not match.by_command and slot.player_id != match.created_by:
        _no_referee(turn, slot.player_id)
    ask_again(turn)
    if match.host_id == slot.player_id:
        heir = None if match.by_command else _next_occupied(match, seat)
        _pass_host(turn, heir)
    if players(match):
        _need_a_lead(turn)
        return
    for kind in (START, COUNTDOWN):
        clear_timer(turn, kind)
    if match.by_command:
        set_timer(turn, IDLE, at_ms + match.idle_ms)
    else:
        close(turn, "empty")


def _change_slot(turn: Turn, command: ChangeSlot) -> None:
    seat, slot = own_seat(turn, command)
    _seats_free(turn)
    _move(turn, seat, slot, command.slot)


def _lock_slot(turn: Turn, command: LockSlot) -> None:
    slot = slot_at(turn, command.slot)
    if slot.player_id == command.by.user_id:
        raise Refused("nobody locks their own slot")
    if slot.occupied:
        _out(turn, command.slot, "kicked", command.at_ms, locked=True)
    else:
        turn.tell(SlotLocked(command.slot, slot.status != LOCKED))


def _ready(turn: Turn, command: Ready) -> None:
    _become(turn, command, READY)


def _not_ready(turn: Turn, command: NotReady) -> None:
    _become(turn, command, NOT_READY)


def _no_map(turn: Turn, command: NoMap) -> None:
    _become(turn, command, NO_MAP)


def _has_map(turn: Turn, command: HasMap) -> None:
    _become(turn, command, NOT_READY)


def _become(turn: Turn, command: Ready | NotReady | NoMap | HasMap, status: int) -> None:
    seat, slot = own_seat(turn, command)
    not_playing(slot)
    if slot.status != status:
        turn.tell(StatusChanged(slot.player_id, seat, status))


def _transfer_host(turn: Turn, command: TransferHost) -> None:
    slot = slot_at(turn, command.slot)
    if not slot.occupied or slot.player_id == command.by.user_id:
        raise Refused("nobody else sits there")
    _pass_host(turn, slot)


def _set_host(turn: Turn, command: SetHost) -> None:
    _, slot = seat_with(turn, command.user_id)
    if turn.match.host_id == command.user_id:
        raise Refused("already the host")
    _pass_host(turn, slot)


def _clear_host(turn: Turn, command: ClearHost) -> None:
    match = turn.match
    if not match.host_id:
        return  # tools clear the host of every room they make
    if not match.by_command and not _referee_seated(match):
        raise Refused("then nobody here could lead the match")
    _pass_host(turn, None)


def _change_team(turn: Turn, command: ChangeTeam) -> None:
    seat, slot = own_seat(turn, command)
    _seats_free(turn)
    _set_side(turn, seat, slot, RED if slot.team == BLUE else BLUE)


def _set_team(turn: Turn, command: SetTeam) -> None:
    within("team", command.team, RED, BLUE)
    seat, slot = seat_with(turn, command.user_id)
    _set_side(turn, seat, slot, command.team)


def _set_side(turn: Turn, seat: int, slot: Slot, team: int) -> None:
    if not has_teams(turn.match):
        raise Refused("there are no teams")
    not_playing(slot)
    if slot.team != team:
        turn.tell(TeamChanged(slot.player_id, seat, team))


def _move_player(turn: Turn, command: Move) -> None:
    seat, slot = seat_with(turn, command.user_id)
    _move(turn, seat, slot, command.slot)


def _move(turn: Turn, seat: int, slot: Slot, to: int) -> None:
    not_playing(slot)
    if slot_at(turn, to).status != OPEN:
        raise Refused("that slot is not open")
    turn.tell(SlotMoved(slot.player_id, seat, to))


def _set_size(turn: Turn, command: SetSize) -> None:
    resize(turn, command.size)


def _set_seats_locked(turn: Turn, command: SetSeatsLocked) -> None:
    if turn.match.seats_locked != command.on:
        turn.tell(SeatsLocked(command.on))


def _set_slots_locked(turn: Turn, command: SetSlotsLocked) -> None:
    old = OPEN if command.on else LOCKED
    for seat, slot in enumerate(turn.match.slots):
        if slot.status == old:
            turn.tell(SlotLocked(seat, command.on))


def _kick(turn: Turn, command: Kick) -> None:
    seat, _ = seat_with(turn, command.user_id)
    _protected(turn, command)
    _out(turn, seat, "kicked", command.at_ms)


def _ban(turn: Turn, command: BanPlayer) -> None:
    _protected(turn, command)
    _somebody(command.user_id)
    if command.user_id in turn.match.banned:
        raise Refused("banned already")
    if len(turn.match.banned) >= BANNED_MAX:
        raise Refused("too many are banned")
    turn.tell(PlayerBanned(command.user_id))
    seat = seat_of(turn.match, command.user_id)
    if seat is not None:
        _out(turn, seat, "banned", command.at_ms)


def _unban(turn: Turn, command: UnbanPlayer) -> None:
    if command.user_id not in turn.match.banned:
        raise Refused("not banned")
    turn.tell(PlayerUnbanned(command.user_id))


def _protected(turn: Turn, command: Kick | BanPlayer) -> None:
    if not command.by.user_id:
        return  # the server puts out whoever was silenced, the creator too
    if command.user_id == command.by.user_id:
        raise Refused("nobody can do that to themselves")
    if command.target_staff or command.user_id in _leading(turn.match):
        raise Refused("referees and staff stay")


def _add_referee(turn: Turn, command: AddReferee) -> None:
    _somebody(command.user_id)
    if command.user_id in _leading(turn.match):
        raise Refused("already a referee")
    if len(turn.match.referees) - 1 >= REFEREES_MAX:
        raise Refused("there are enough referees")
    turn.tell(RefereeAdded(command.user_id, command.name))


def _remove_referee(turn: Turn, command: RemoveReferee) -> None:
    if command.user_id == turn.match.created_by:
        raise Refused("the creator stays a referee")
    if not _no_referee(turn, command.user_id):
        raise NoReferee
    _need_a_lead(turn)


def _no_referee(turn: Turn, user_id: int) -> bool:
    name = dict(turn.match.referees).get(user_id)
    if name is not None:
        turn.tell(RefereeRemoved(user_id, name))
    return name is not None


def _close(turn: Turn, command: Close) -> None:
    close(turn, "referee")


def _leading(match: Match) -> set[int]:
    return {match.created_by, *(user_id for user_id, _ in match.referees)}


def _referee_seated(match: Match) -> bool:
    return not _leading(match).isdisjoint(players(match))


def _pass_host(turn: Turn, heir: Slot | None) -> None:
    """Another host or none; a map that the one before was choosing is forgotten for the one before that."""
    turn.tell(HostPassed(heir.player_id, heir.player_name) if heir else HostPassed(0, ""))
    previous = turn.match.previous
    if previous is not None:
        turn.tell(MapChanged(previous.map_id, previous.map_md5, previous.map_name, another=False, restored=True))


def _need_a_lead(turn: Turn) -> None:
    """An ordinary room without host and referee gets a host: nobody else could start anything there."""
    match = turn.match
    if not match.by_command and not match.host_id and not _referee_seated(match):
        _pass_host(turn, _next_occupied(match, SLOTS - 1))


def _next_occupied(match: Match, after: int) -> Slot | None:
    order = (*match.slots[after + 1 :], *match.slots[: after + 1])
    return next((slot for slot in order if slot.occupied), None)


def _somebody(user_id: int) -> None:
    if user_id <= 0:
        raise Refused("there is no such player")


def _seats_free(turn: Turn) -> None:
    if turn.match.seats_locked:
        raise Refused("only referees change slots and teams here")


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

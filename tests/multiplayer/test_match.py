"""The rules of a match, by example (docs/spec/multiplayer.md)."""

from typing import Any

import pytest

from kiai.errors import Invalid, Refused
from kiai.multiplayer import commands
from kiai.multiplayer import events as event
from kiai.multiplayer.commands import SERVER, Issuer, MatchCommand, RoundResult
from kiai.multiplayer.events import Event, Seat
from kiai.multiplayer.match import (
    BLUE,
    COMPLETE,
    COUNTDOWN,
    FINISH,
    IDLE,
    LOAD,
    LOCKED,
    NEUTRAL,
    NO_MAP,
    NOT_READY,
    OPEN,
    PLAYING,
    PP,
    READY,
    RED,
    RULES,
    SLOTS,
    START,
    MapChoice,
    Match,
    apply,
    everybody_in,
    is_creator,
    is_host,
    is_referee,
    may,
    new_match,
    players,
    playing,
    seat_of,
    side_name,
    team_names,
    timer_of,
)
from kiai.osu.mods import AP, DT, EZ, HD, HR, NC, RX, TP, V2, Mods

NOW = 1_700_000_000_000
HOST, GUEST, THIRD, OUTSIDER = Issuer(3, "Hana"), Issuer(4, "Gus"), Issuer(5, "Tom"), Issuer(6, "Oz")
MANAGER = Issuer(7, "Mia", referee_any=True)
MD5, OTHER_MD5 = "a" * 32, "b" * 32


def a_match(*guests: Issuer, **changed: Any) -> Match:
    """Return a match with a map, in which HOST and the guests are seated."""
    settings: dict[str, Any] = {"name": "a match", "map_id": 75, "map_md5": MD5, "map_name": "A - T [V]"} | changed
    match = new_match(by=HOST, at_ms=NOW, **settings)
    for guest in guests:
        match = do(match, commands.Join, guest, password=match.password)
    return match


def a_play(*guests: Issuer, **changed: Any) -> Match:
    """Return such a match during a play of all players."""
    return do(a_match(*guests, **changed), commands.Start)


def a_match_by_command(*guests: Issuer, **changed: Any) -> Match:
    """Return a match made by command. HOST is its referee and has no seat."""
    return a_match(*guests, by_command=True, seated=False, **changed)


def run(
    match: Match, kind: type[MatchCommand], by: Issuer = HOST, *, at_ms: int = NOW, **fields: Any
) -> tuple[Event, ...]:
    """Return the events of a command."""
    return apply(match, kind(by=by, at_ms=at_ms, **fields))[1]


def do(match: Match, kind: type[MatchCommand], by: Issuer = HOST, *, at_ms: int = NOW, **fields: Any) -> Match:
    """Return the match after a command."""
    return apply(match, kind(by=by, at_ms=at_ms, **fields))[0]


def do_for_each(match: Match, kind: type[MatchCommand], *issuers: Issuer) -> Match:
    """Return the match after the same command of several issuers."""
    for issuer in issuers:
        match = do(match, kind, issuer)
    return match


def refusal(match: Match, kind: type[MatchCommand], by: Issuer = HOST, **fields: Any) -> str:
    """Return the reason for which a command is refused."""
    with pytest.raises(Refused) as raised:
        run(match, kind, by, **fields)
    return raised.value.reason


def settings(match: Match, **changed: Any) -> dict[str, Any]:
    """Return the fields of a settings packet in which only `changed` differs from the match."""
    fields = set(commands.ChangeSettings.__struct_fields__) - {"by", "at_ms"}
    return {name: getattr(match, name) for name in fields} | changed


def statuses(match: Match, count: int) -> list[int]:
    return [slot.status for slot in match.slots[:count]]


def events_of_type(events: tuple[Event, ...], kind: type[Event]) -> list[Event]:
    return [an_event for an_event in events if isinstance(an_event, kind)]


# --- creation ---------------------------------------------------------------------------------------------------------


def test_creator_gets_first_slot_and_is_host_and_referee() -> None:
    match = a_match()

    assert (match.host_id, match.host_name, seat_of(match, 3)) == (3, "Hana", 0)
    assert match.slots[0].status == NOT_READY
    assert match.referees == ((3, "Hana"),)
    assert (match.created_by, match.created_at_ms) == (3, NOW)


def test_slots_locked_at_creation_are_locked() -> None:
    match = a_match(locked=range(8, 16))

    assert [slot.status for slot in match.slots] == [NOT_READY, *[OPEN] * 7, *[LOCKED] * 8]


def test_creator_gets_a_seat_when_all_slots_are_locked() -> None:
    match = a_match(locked=range(16))

    assert seat_of(match, 3) == 0
    assert refusal(match, commands.Join, GUEST) == "the match is full"


def test_name_is_cut_and_loses_control_characters() -> None:
    match = a_match(name="  a\x00\nb\u202ec" + "x" * 10_000)

    assert match.name == "abc" + "x" * 47


@pytest.mark.parametrize("name", ["", "  ", "\x00\u200b", "\n"])
def test_match_without_name_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="needs a name"):
        a_match(name=name)


@pytest.mark.parametrize(
    "changed",
    [
        {"mode": 200},
        {"mode": -1},
        {"mods": -1},
        {"mods": 2**31},
        {"win_condition": 4},
        {"team_type": 4},
        {"seed": 2**31},
        {"map_id": 2**31},
        {"map_md5": "not one"},
    ],
    ids=str,
)
def test_creation_with_number_out_of_range_is_invalid(changed: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        a_match(**changed)


@pytest.mark.parametrize(
    ("sent", "password", "private"),
    [
        ("pw//private", "pw", True),
        ("//private", "", True),
        ("private", "private", False),
        ("vatevirp", "vatevirp", False),
        ("a b", "a b", False),
        ("x" * 80, "x" * 50, False),
    ],
)
def test_private_suffix_of_password_makes_history_private(sent: str, password: str, private: bool) -> None:
    match = a_match(password=sent)

    assert (match.password, match.private) == (password, private)


def test_match_created_without_map_cannot_start() -> None:
    match = a_match(map_id=0, map_md5="whatever")

    assert (match.map_id, match.map_md5, match.map_name) == (-1, "", "")
    assert refusal(match, commands.Start) == "no map is selected"


def test_match_created_with_free_mods_splits_mods() -> None:
    match = a_match(free_mods=True, mods=HD | DT)

    assert (match.mods, match.slots[0].mods) == (DT, HD)


def test_tag_match_is_created_without_free_mods() -> None:
    match = a_match(free_mods=True, team_type=1, mods=HD | DT)

    assert (match.free_mods, match.mods, match.slots[0].mods) == (False, HD | DT, 0)


def test_match_made_by_command_is_empty_and_has_no_host() -> None:
    match = a_match_by_command()

    assert (match.host_id, players(match), match.by_command) == (0, (), True)
    assert timer_of(match, IDLE) is not None
    assert everybody_in(match) == {3}


def test_creator_of_match_made_by_command_gets_a_seat() -> None:
    match = a_match(by_command=True)

    assert (match.host_id, seat_of(match, 3), match.timers) == (0, 0, ())


# --- joining ---------------------------------------------------------------------------------------------------------


def test_joining_player_gets_lowest_open_slot() -> None:
    match = a_match(locked=(1,))

    events = run(match, commands.Join, GUEST)

    assert events == (event.Joined(4, "Gus", 2, NEUTRAL),)


@pytest.mark.parametrize("password", ["a b", "a_b"])
def test_password_is_accepted_with_spaces_or_underscores(password: str) -> None:
    match = a_match(password="a b")

    match = do(match, commands.Join, GUEST, password=password)

    assert seat_of(match, 4) == 1


def test_wrong_password_is_refused() -> None:
    assert refusal(a_match(password="a b"), commands.Join, GUEST, password="a") == "the password is wrong"


def test_match_without_password_accepts_any_password() -> None:
    assert seat_of(do(a_match(), commands.Join, GUEST, password="old"), 4) == 1


@pytest.mark.parametrize("issuer", [Issuer(9, "Staff", staff=True), MANAGER], ids=lambda issuer: issuer.name)
def test_staff_and_tournament_managers_join_without_password(issuer: Issuer) -> None:
    assert seat_of(do(a_match(password="a"), commands.Join, issuer), issuer.user_id) == 1


def test_seated_player_cannot_join_again() -> None:
    assert refusal(a_match(GUEST), commands.Join, GUEST) == "you are already in this match"


def test_forced_join_ignores_password_but_no_ban() -> None:
    match = a_match(password="a")
    banned = do(do(match, commands.Join, GUEST, force=True), commands.BanPlayer, user_id=4)

    assert seat_of(do(match, commands.Join, GUEST, force=True), 4) == 1
    for force in (False, True):
        refused = refusal(banned, commands.Join, GUEST, password="a", force=force)
        assert refused == "you are banned from this match"


def test_player_who_joins_during_play_does_not_take_part() -> None:
    match = do(a_play(GUEST), commands.Join, THIRD)

    assert statuses(match, 3) == [PLAYING, PLAYING, NOT_READY]
    assert playing(match) == (3, 4)


def test_joining_players_alternate_between_red_and_blue() -> None:
    match = a_match(GUEST, THIRD, team_type=2)

    assert [slot.team for slot in match.slots[:4]] == [RED, BLUE, RED, NEUTRAL]


# --- slots, host, teams -----------------------------------------------------------------------------------------------


def test_moving_player_keeps_status_and_team() -> None:
    match = do(a_match(GUEST, team_type=2), commands.Ready, GUEST)

    events = run(match, commands.ChangeSlot, GUEST, slot=8)
    match = do(match, commands.ChangeSlot, GUEST, slot=8)

    assert events == (event.SlotMoved(4, 1, 8),)
    assert (match.slots[8].status, match.slots[8].team, match.slots[1].status) == (READY, BLUE, OPEN)


@pytest.mark.parametrize("slot", [0, 1, 2, -1, 16, 255, 2**31 - 1])
def test_move_to_slot_that_is_not_open_is_refused(slot: int) -> None:
    match = a_match(GUEST, locked=(2,))

    assert refusal(match, commands.ChangeSlot, GUEST, slot=slot)


@pytest.mark.parametrize(
    "kind", [commands.Ready, commands.NotReady, commands.NoMap, commands.HasMap], ids=lambda kind: kind.__name__
)
def test_playing_player_cannot_change_ready_status(kind: type[MatchCommand]) -> None:
    match = do(a_play(GUEST, team_type=2), commands.Complete, GUEST)

    assert refusal(match, kind, HOST) == "that player is playing"
    assert refusal(match, kind, GUEST) == "that player is playing"


def test_playing_player_cannot_change_slot_or_team() -> None:
    match = a_play(GUEST, team_type=2)

    assert refusal(match, commands.ChangeSlot, GUEST, slot=5) == "that player is playing"
    assert refusal(match, commands.ChangeTeam, GUEST) == "that player is playing"
    assert refusal(match, commands.SetTeam, user_id=4, team=RED) == "that player is playing"
    assert refusal(match, commands.Move, user_id=4, slot=5) == "that player is playing"


@pytest.mark.parametrize(
    ("kind", "status"),
    [(commands.Ready, READY), (commands.NoMap, NO_MAP), (commands.NotReady, NOT_READY), (commands.HasMap, NOT_READY)],
)
def test_player_changes_ready_status(kind: type[MatchCommand], status: int) -> None:
    for before in (commands.Ready, commands.NoMap, commands.HasMap):
        match = do(do(a_match(GUEST), before, GUEST), kind, GUEST)

        assert match.slots[1].status == status


def test_unchanged_status_emits_no_event() -> None:
    match = do(a_match(), commands.Ready)

    assert run(match, commands.Ready) == ()


def test_host_locks_and_opens_slots() -> None:
    match = do(a_match(), commands.LockSlot, slot=4)

    assert match.slots[4].status == LOCKED
    assert do(match, commands.LockSlot, slot=4).slots[4].status == OPEN


def test_locking_occupied_slot_kicks_player_and_locks_slot() -> None:
    match = a_match(GUEST)

    events = run(match, commands.LockSlot, slot=1)
    match = do(match, commands.LockSlot, slot=1)

    assert events == (event.Left(4, "Gus", 1, "kicked", locked=True),)
    assert match.slots[1].status == LOCKED
    assert run(match, commands.Leave, GUEST) == ()


def test_host_cannot_lock_own_slot() -> None:
    assert refusal(a_match(), commands.LockSlot, slot=0) == "you can't lock your own slot"


@pytest.mark.parametrize("slot", [-1, 16, 255, 2**31 - 1])
@pytest.mark.parametrize("kind", [commands.LockSlot, commands.TransferHost], ids=lambda kind: kind.__name__)
def test_slot_out_of_range_is_refused(kind: type[MatchCommand], slot: int) -> None:
    assert refusal(a_match(GUEST), kind, slot=slot)


def test_host_transfers_host_to_another_player() -> None:
    match = a_match(GUEST)

    events = run(match, commands.TransferHost, slot=1)

    assert events == (event.HostPassed(4, "Gus"),)
    assert refusal(match, commands.TransferHost, slot=0) == "no other player is in that slot"
    assert refusal(match, commands.TransferHost, slot=5) == "no other player is in that slot"


def test_guest_cannot_use_commands_of_host() -> None:
    match = a_match(GUEST)
    host_commands: list[tuple[type[MatchCommand], dict[str, Any]]] = [
        (commands.LockSlot, {"slot": 5}),
        (commands.ChangeSettings, settings(match, name="mine")),
        (commands.Start, {}),
        (commands.ChangeMods, {"mods": HD}),
        (commands.TransferHost, {"slot": 1}),
        (commands.ChangePassword, {"password": "x"}),
    ]

    for kind, fields in host_commands:
        assert refusal(match, kind, GUEST, **fields)
        do(do(match, commands.SetHost, user_id=4), kind, GUEST, **fields | ({"slot": 0} if "slot" in fields else {}))


def test_players_change_team_in_team_modes_only() -> None:
    match = a_match(GUEST, team_type=2)

    match = do(match, commands.ChangeTeam, GUEST)

    assert match.slots[1].team == RED
    assert do(match, commands.ChangeTeam, GUEST).slots[1].team == BLUE
    assert refusal(a_match(GUEST), commands.ChangeTeam, GUEST) == "this match has no teams"


def test_locked_seats_allow_only_referees_to_move_players() -> None:
    match = do(a_match(GUEST, team_type=2), commands.SetSeatsLocked, on=True)

    assert (
        refusal(match, commands.ChangeSlot, GUEST, slot=5) == "only referees can change slots and teams in this match"
    )
    assert refusal(match, commands.ChangeTeam, GUEST) == "only referees can change slots and teams in this match"
    assert seat_of(do(match, commands.Move, user_id=4, slot=5), 4) == 5
    assert seat_of(do(do(match, commands.SetSeatsLocked, on=False), commands.ChangeSlot, GUEST, slot=5), 4) == 5


# --- settings and password -------------------------------------------------------------------------------------------


def test_settings_packet_changes_settings() -> None:
    match = a_match()

    changed = {"name": "b", "mode": 3, "win_condition": 2, "seed": -5, "team_type": 2, "mods": HD}
    match = do(match, commands.ChangeSettings, **settings(match, **changed))

    assert {name: getattr(match, name) for name in changed} == changed


def test_unchanged_settings_emit_no_event() -> None:
    match = do(a_match(GUEST), commands.Ready, GUEST)

    assert run(match, commands.ChangeSettings, **settings(match)) == ()


def test_settings_cannot_change_during_play() -> None:
    match = a_play()

    assert refusal(match, commands.ChangeSettings, **settings(match, name="b")) == "the match is in progress"


@pytest.mark.parametrize(
    "changed",
    [
        {"mods": HD},
        {"map_md5": OTHER_MD5, "map_id": 76},
        {"map_id": -1},
        {"win_condition": 1},
        {"team_type": 2},
        {"free_mods": True},
    ],
    ids=str,
)
def test_change_of_map_or_rules_makes_players_not_ready(changed: dict[str, Any]) -> None:
    match = do_for_each(a_match(GUEST), commands.Ready, HOST, GUEST)

    match = do(match, commands.ChangeSettings, **settings(match, **changed))

    assert statuses(match, 2) == [NOT_READY, NOT_READY]


@pytest.mark.parametrize("changed", [{"name": "b"}, {"seed": 4}], ids=str)
def test_change_of_name_or_seed_keeps_players_ready(changed: dict[str, Any]) -> None:
    match = do_for_each(a_match(GUEST), commands.Ready, HOST, GUEST)

    match = do(match, commands.ChangeSettings, **settings(match, **changed))

    assert statuses(match, 2) == [READY, READY]


def test_turning_free_mods_on_gives_each_player_mods_without_speed() -> None:
    match = a_match(GUEST, mods=HD | NC | DT)

    match = do(match, commands.ChangeSettings, **settings(match, free_mods=True))

    assert match.mods == NC | DT
    assert [slot.mods for slot in match.slots[:3]] == [HD, HD, 0]


def test_turning_free_mods_off_gives_match_mods_of_host() -> None:
    match = a_match(GUEST, free_mods=True, mods=DT)
    match = do(do(match, commands.ChangeMods, mods=DT | HR), commands.ChangeMods, GUEST, mods=EZ)

    match = do(match, commands.ChangeSettings, **settings(match, free_mods=False))

    assert match.mods == DT | HR
    assert {slot.mods for slot in match.slots} == {0}


def test_tag_team_modes_have_no_free_mods() -> None:
    match = a_match(GUEST, free_mods=True, mods=HD)

    in_tag_mode = do(match, commands.ChangeSettings, **settings(match, team_type=1))

    assert (in_tag_mode.free_mods, in_tag_mode.mods) == (False, HD)
    assert not do(in_tag_mode, commands.ChangeSettings, **settings(in_tag_mode, free_mods=True)).free_mods
    assert refusal(in_tag_mode, commands.SetFreeMods, on=True) == "the tag team modes have no free mods"


def test_change_of_team_type_assigns_teams() -> None:
    match = a_match(GUEST, THIRD)

    teams = do(match, commands.ChangeSettings, **settings(match, team_type=2))
    none = do(teams, commands.ChangeSettings, **settings(teams, team_type=0))

    assert [slot.team for slot in teams.slots] == [RED, BLUE, RED, *[NEUTRAL] * 13]
    assert {slot.team for slot in none.slots} == {NEUTRAL}


def test_match_has_no_map_while_host_is_choosing() -> None:
    match = a_match()

    choosing = do(match, commands.ChangeSettings, **settings(match, map_id=-1))

    assert (choosing.map_id, choosing.map_md5, choosing.map_name) == (-1, "", "")
    assert choosing.previous == MapChoice(75, MD5, "A - T [V]")
    assert run(choosing, commands.ChangeSettings, **settings(choosing, map_id=0)) == ()


@pytest.mark.parametrize(("md5", "another"), [(OTHER_MD5, True), (MD5, False)])
def test_selected_map_counts_as_another_if_md5_differs(md5: str, another: bool) -> None:
    match = a_match()
    match = do(match, commands.ChangeSettings, **settings(match, map_id=-1))

    events = run(match, commands.ChangeSettings, **settings(match, map_id=76, map_md5=md5, map_name="B"))

    assert events_of_type(events, event.MapChanged) == [event.MapChanged(76, md5, "B", another=another)]


def test_new_map_clears_no_map_status() -> None:
    match = do(a_match(GUEST), commands.NoMap, GUEST)

    match = do(match, commands.ChangeSettings, **settings(match, map_id=76, map_md5=OTHER_MD5))

    assert match.slots[1].status == NOT_READY


def test_former_map_returns_when_choosing_host_leaves() -> None:
    match = a_match(GUEST)
    match = do(match, commands.ChangeSettings, **settings(match, map_id=-1))

    events = run(match, commands.Leave)

    assert events_of_type(events, event.MapChanged) == [
        event.MapChanged(75, MD5, "A - T [V]", another=False, restored=True)
    ]


@pytest.mark.parametrize("changed", [{"name": " "}, {"mode": 9}, {"mods": -1}, {"map_md5": "x"}], ids=str)
def test_settings_out_of_range_are_refused(changed: dict[str, Any]) -> None:
    match = a_match()

    assert refusal(match, commands.ChangeSettings, **settings(match, win_condition=1, **changed))


def test_password_change_drops_private_suffix() -> None:
    events = run(a_match(password="a"), commands.ChangePassword, password="b//private")

    assert events == (event.PasswordChanged("b"),)


# --- mods ------------------------------------------------------------------------------------------------------------


def test_host_sets_mods_of_match() -> None:
    match = do_for_each(a_match(GUEST), commands.Ready, GUEST)

    match = do(match, commands.ChangeMods, mods=HD | DT | NC)

    assert (match.mods, match.slots[0].mods) == (HD | DT | NC, 0)
    assert match.slots[1].status == NOT_READY


def test_with_free_mods_players_set_own_mods_and_host_sets_speed() -> None:
    match = do_for_each(a_match(GUEST, free_mods=True), commands.Ready, GUEST)

    match = do(match, commands.ChangeMods, GUEST, mods=HR | DT)
    guests = match
    match = do(match, commands.ChangeMods, HOST, mods=HD | DT)

    assert (guests.mods, guests.slots[1].mods, guests.slots[1].status) == (0, HR, READY)
    assert (match.mods, match.slots[0].mods, match.slots[1].status) == (DT, HD, NOT_READY)


@pytest.mark.parametrize("free_mods", [False, True])
def test_disallowed_mods_are_dropped(free_mods: bool) -> None:
    match = do(a_match(free_mods=free_mods), commands.ChangeMods, mods=HD | TP | V2 | int(Mods.AU | Mods.CN))

    assert (match.mods | match.slots[0].mods) == HD


def test_playing_player_cannot_change_mods() -> None:
    match = a_play(GUEST, free_mods=True)
    late = do(match, commands.Join, THIRD)

    assert refusal(match, commands.ChangeMods, GUEST, mods=HD) == "that player is playing"
    assert refusal(a_play(), commands.ChangeMods, mods=HD) == "the match is in progress"
    assert do(late, commands.ChangeMods, THIRD, mods=HD).slots[2].mods == HD


# --- plays ------------------------------------------------------------------------------------------------------------


def test_players_with_map_take_part_and_others_sit_out() -> None:
    match = do(do(a_match(GUEST, THIRD), commands.Ready, GUEST), commands.NoMap, THIRD)

    events = run(match, commands.Start)
    match = do(match, commands.Start)

    assert events[0] == event.Started((Seat(0, 3, "Hana", 0, 0), Seat(1, 4, "Gus", 0, 0)), NOW)
    assert statuses(match, 3) == [PLAYING, PLAYING, NO_MAP]
    assert (match.in_progress, match.started_at_ms) == (True, NOW)


def test_start_is_refused_if_no_player_has_map() -> None:
    match = do(a_match(), commands.NoMap)

    assert refusal(match, commands.Start) == "no player has the map"


def test_start_is_refused_during_play() -> None:
    assert refusal(a_play(), commands.Start) == "the match is in progress"


def test_started_event_has_mods_of_each_player() -> None:
    match = do(a_match(GUEST, free_mods=True, mods=DT), commands.ChangeMods, GUEST, mods=HR)

    [started] = events_of_type(run(match, commands.Start), event.Started)

    assert isinstance(started, event.Started)
    assert [seat.mods for seat in started.players] == [DT, DT | HR]


def test_play_begins_when_all_have_loaded() -> None:
    match = a_play(GUEST)

    first = run(match, commands.LoadComplete, HOST)
    second = run(do(match, commands.LoadComplete, HOST), commands.LoadComplete, GUEST)

    assert first == (event.PlayerLoaded(3, 0),)
    assert events_of_type(second, event.AllLoaded) == [event.AllLoaded((3, 4))]


def test_play_begins_after_a_minute_without_slow_loaders() -> None:
    match = do(a_play(GUEST), commands.LoadComplete, HOST)
    timer = timer_of(match, LOAD)
    assert timer is not None

    events = run(match, commands.TimerRang, SERVER, timer_id=timer.id, at_ms=NOW + 60_000)
    match = do(match, commands.TimerRang, SERVER, timer_id=timer.id, at_ms=NOW + 60_000)

    assert events == (event.TimerCleared(timer.id, LOAD, rang=True), event.AllLoaded((3, 4)))
    assert run(match, commands.LoadComplete, GUEST)[1:] == (event.AllLoaded((4,)),)


def test_first_loader_begins_play_if_none_loaded_in_a_minute() -> None:
    match = a_play(GUEST)
    timer = timer_of(match, LOAD)
    assert timer is not None

    match = do(match, commands.TimerRang, SERVER, timer_id=timer.id, at_ms=NOW + 60_000)

    assert not match.all_loaded
    assert run(match, commands.LoadComplete, GUEST)[1:] == (event.AllLoaded((3, 4)),)


def test_completed_player_does_not_delay_loading() -> None:
    match = do(a_play(GUEST), commands.LoadComplete, HOST)

    events = run(match, commands.Complete, GUEST)

    assert events_of_type(events, event.AllLoaded) == [event.AllLoaded((3,))]


def test_intro_is_skipped_when_all_playing_players_skip() -> None:
    match = do(do(a_match(GUEST, THIRD), commands.NoMap, THIRD), commands.Start)

    first = run(match, commands.Skip, HOST)
    second = run(do(match, commands.Skip, HOST), commands.Skip, GUEST)

    assert first == (event.PlayerSkipped(3, 0),)
    assert second == (event.PlayerSkipped(4, 1), event.AllSkipped())


def test_failed_player_continues_to_play() -> None:
    match = a_play(GUEST)

    events = run(match, commands.Fail, GUEST)
    match = do(match, commands.Fail, GUEST)

    assert events == (event.PlayerFailed(4, 1),)
    assert (match.slots[1].status, match.slots[1].failed) == (PLAYING, True)


def test_play_ends_when_last_player_completes() -> None:
    match = do_for_each(a_play(GUEST, team_type=2), commands.LoadComplete, HOST, GUEST)
    match = do(do(match, commands.Fail, GUEST), commands.Complete, GUEST)

    events = run(match, commands.Complete, HOST)
    after = do(match, commands.Complete, HOST)

    assert statuses(match, 2) == [PLAYING, COMPLETE]
    assert events_of_type(events, event.Finished) == [
        event.Finished(
            (
                Seat(0, 3, "Hana", RED, 0, completed=True),
                Seat(1, 4, "Gus", BLUE, 0, completed=True, failed=True),
            ),
            started_at_ms=NOW,
        )
    ]
    assert statuses(after, 2) == [NOT_READY, NOT_READY]
    assert not any(slot.loaded or slot.skipped or slot.failed for slot in after.slots)
    assert (after.in_progress, after.timers) == (False, ())


def test_play_ends_half_a_minute_after_first_completion() -> None:
    match = do(a_play(GUEST), commands.Complete, GUEST)
    timer = timer_of(match, FINISH)
    assert timer is not None

    events = run(match, commands.TimerRang, SERVER, timer_id=timer.id, at_ms=NOW + 30_000)

    [finished] = events_of_type(events, event.Finished)
    assert isinstance(finished, event.Finished)
    assert finished.forced
    assert [(seat.user_id, seat.completed) for seat in finished.players] == [(3, False), (4, True)]


def test_early_or_cleared_timer_is_refused() -> None:
    match = do(a_play(GUEST), commands.Complete, GUEST)
    timer = timer_of(match, FINISH)
    assert timer is not None

    assert refusal(match, commands.TimerRang, SERVER, timer_id=timer.id, at_ms=NOW + 29_999) == "it is too early"
    over = do(match, commands.Complete, HOST)
    assert refusal(over, commands.TimerRang, SERVER, timer_id=timer.id, at_ms=NOW + 30_000) == "the timer was cleared"


@pytest.mark.parametrize(
    "kind", [commands.LoadComplete, commands.Skip, commands.Fail, commands.Complete], ids=lambda kind: kind.__name__
)
def test_play_commands_are_refused_for_players_who_do_not_play(kind: type[MatchCommand]) -> None:
    match = do(a_play(GUEST), commands.Join, THIRD)

    assert refusal(a_match(), kind) == "the player is not playing"
    assert refusal(match, kind, THIRD) == "the player is not playing"
    assert run(match, kind, GUEST)


@pytest.mark.parametrize(
    "kind", [commands.LoadComplete, commands.Skip, commands.Fail, commands.Complete], ids=lambda kind: kind.__name__
)
def test_repeated_play_command_is_refused(kind: type[MatchCommand]) -> None:
    match = do(a_play(GUEST), kind, GUEST)

    assert refusal(match, kind, GUEST)


def test_abort_makes_players_not_ready_and_clears_timers() -> None:
    match = do(do(a_play(GUEST), commands.LoadComplete, GUEST), commands.Complete, GUEST)

    events = run(match, commands.Abort)
    match = do(match, commands.Abort)

    [aborted] = events_of_type(events, event.Aborted)
    assert isinstance(aborted, event.Aborted)
    assert [seat.user_id for seat in aborted.players] == [3, 4]
    assert (statuses(match, 2), match.in_progress, match.timers) == ([NOT_READY, NOT_READY], False, ())
    assert refusal(match, commands.Abort) == "the match is not in progress"


# --- leaving ---------------------------------------------------------------------------------------------------------


def test_match_closes_when_last_player_leaves() -> None:
    match = do(a_match(), commands.StartAfter, seconds=10)

    events = run(match, commands.Leave)

    assert [type(an_event).__name__ for an_event in events] == ["Left", "HostPassed", "TimerCleared", "Closed"]
    assert events[-1] == event.Closed("empty")


def test_closed_match_refuses_commands() -> None:
    match = do(a_match(), commands.Leave)

    assert refusal(match, commands.Join, GUEST) == "the match is closed"


def test_next_player_becomes_host_when_host_leaves() -> None:
    match = do(a_match(GUEST, THIRD), commands.TransferHost, slot=1)

    events = run(match, commands.Leave, GUEST)

    assert events == (event.Left(4, "Gus", 1, "left"), event.HostPassed(5, "Tom"))


def test_leaving_empties_slot() -> None:
    match = do(a_match(GUEST, team_type=2, free_mods=True, mods=HD), commands.Leave, GUEST)

    slot = match.slots[1]
    assert (slot.status, slot.team, slot.mods, slot.player_id, slot.player_name) == (OPEN, NEUTRAL, 0, 0, "")


def test_play_begins_when_only_missing_loader_leaves() -> None:
    match = do_for_each(a_play(GUEST, THIRD), commands.LoadComplete, HOST, THIRD)

    events = run(match, commands.Leave, GUEST)

    assert events_of_type(events, event.AllLoaded) == [event.AllLoaded((3, 5))]


def test_intro_is_skipped_when_only_missing_skipper_leaves() -> None:
    match = do_for_each(a_play(GUEST, THIRD), commands.Skip, HOST, THIRD)

    events = run(match, commands.Leave, GUEST)

    assert events_of_type(events, event.AllSkipped) == [event.AllSkipped()]


def test_play_ends_when_only_unfinished_player_leaves_or_is_kicked() -> None:
    match = do_for_each(a_play(GUEST, THIRD), commands.Complete, HOST, THIRD)

    events = run(match, commands.Leave, GUEST)
    kicked = run(match, commands.LockSlot, slot=1)

    for emitted in (events, kicked):
        [finished] = events_of_type(emitted, event.Finished)
        assert isinstance(finished, event.Finished)
        assert [seat.user_id for seat in finished.players] == [3, 5]


def test_leaving_after_completion_clears_finish_timer() -> None:
    match = do(a_play(GUEST, THIRD), commands.Complete, GUEST)

    match = do(match, commands.Leave, GUEST)

    assert (match.in_progress, timer_of(match, FINISH)) == (True, None)


def test_play_ends_when_all_its_players_leave() -> None:
    match = do(do(a_match(GUEST), commands.NoMap, GUEST), commands.Start)

    events = run(match, commands.Leave, HOST)

    assert events_of_type(events, event.Finished) == [event.Finished((), NOW)]


def test_start_timer_survives_departure_of_its_issuer() -> None:
    match = do(do(a_match(GUEST), commands.StartAfter, seconds=10), commands.Leave)

    assert timer_of(match, START) is not None


def test_referee_who_leaves_loses_role() -> None:
    match = do(a_match(GUEST), commands.AddReferee, user_id=4, name="Gus")

    events = run(match, commands.Leave, GUEST)

    assert events[1:] == (event.RefereeRemoved(4, "Gus"),)


def test_creator_who_leaves_remains_referee() -> None:
    match = do(a_match(GUEST), commands.Leave)

    assert is_referee(match, HOST)
    assert do(match, commands.SetName, HOST, name="still mine").name == "still mine"


# --- matches made by command ------------------------------------------------------------------------------------------


def test_empty_match_made_by_command_closes_after_idle_time() -> None:
    match = do(a_match_by_command(GUEST, idle_ms=1000), commands.Leave, GUEST)
    timer = timer_of(match, IDLE)
    assert timer is not None
    assert timer.rings_at_ms == NOW + 1000

    events = run(match, commands.TimerRang, SERVER, timer_id=timer.id, at_ms=NOW + 1000)

    assert events[-1] == event.Closed("idle")


def test_leaving_match_empty_clears_start_and_countdown() -> None:
    match = do(do(a_match_by_command(GUEST), commands.StartAfter, seconds=10), commands.StartTimer, seconds=10)

    match = do(match, commands.Leave, GUEST)

    assert [timer.kind for timer in match.timers] == [IDLE]


def test_command_or_join_resets_idle_timer() -> None:
    match = a_match_by_command(idle_ms=1000)

    led = timer_of(do(match, commands.SetName, name="b", at_ms=NOW + 500), IDLE)

    assert led is not None
    assert led.rings_at_ms == NOW + 1500
    assert timer_of(do(match, commands.Join, GUEST), IDLE) is None


def test_match_made_by_command_has_no_host_after_host_leaves() -> None:
    match = do(a_match_by_command(GUEST, THIRD), commands.SetHost, user_id=4)

    events = run(match, commands.Leave, GUEST)

    assert match.host_id == 4
    assert events_of_type(events, event.HostPassed) == [event.HostPassed(0, "")]


def test_referee_of_match_made_by_command_keeps_role_without_seat() -> None:
    match = do(a_match_by_command(GUEST), commands.AddReferee, user_id=4, name="Gus")

    match = do(match, commands.Leave, GUEST)

    assert is_referee(match, GUEST)
    assert everybody_in(match) == {3, 4}


# --- referees --------------------------------------------------------------------------------------------------------


def test_rights_of_creator_referee_host_guest_and_manager() -> None:
    match = do(a_match(GUEST, THIRD), commands.AddReferee, user_id=4, name="Gus")
    match = do(match, commands.SetHost, user_id=5)

    rights = {
        issuer.name: (is_creator(match, issuer), is_referee(match, issuer), is_host(match, issuer))
        for issuer in (HOST, GUEST, THIRD, OUTSIDER, MANAGER)
    }

    assert rights == {
        "Hana": (True, True, False),
        "Gus": (False, True, False),
        "Tom": (False, False, True),
        "Oz": (False, False, False),
        "Mia": (True, True, False),
    }


@pytest.mark.parametrize(
    ("issuer", "kinds"),
    [
        (OUTSIDER, {"anybody"}),
        (GUEST, {"anybody", "seated"}),
        (HOST, {"anybody", "seated", "leader", "referee", "creator"}),
        (THIRD, {"anybody", "seated", "leader", "host"}),
        (MANAGER, {"anybody", "leader", "referee", "creator"}),
        (SERVER, {"anybody", "leader", "referee", "creator", "server"}),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_each_issuer_may_send_commands_of_its_rights(issuer: Issuer, kinds: set[str]) -> None:
    match = do(a_match(GUEST, THIRD), commands.SetHost, user_id=5)

    allowed = {kind for kind in RULES if may(match, issuer, kind)}

    assert allowed == {kind for kind in RULES if kind.right.name.lower() in kinds}


def test_each_command_has_a_rule() -> None:
    assert set(RULES) == set(MatchCommand.__subclasses__())


def test_commands_of_leaders() -> None:
    leader_commands = {kind.__name__ for kind in RULES if kind.right is commands.Right.LEADER}

    assert leader_commands == {
        "Abort",
        "CancelTimers",
        "Kick",
        "SetFreeMods",
        "SetHost",
        "SetMap",
        "SetMods",
        "SetTeamType",
        "SetWinCondition",
        "Start",
        "StartAfter",
        "StartTimer",
    }


def test_match_has_at_most_eight_added_referees() -> None:
    match = a_match()
    for user_id in range(10, 18):
        match = do(match, commands.AddReferee, user_id=user_id, name=str(user_id))

    assert refusal(match, commands.AddReferee, user_id=18, name="18") == "a match has at most 8 referees"
    assert refusal(match, commands.AddReferee, user_id=10, name="10") == "already a referee"
    assert refusal(match, commands.RemoveReferee, user_id=3) == "the creator is always a referee"
    assert refusal(match, commands.RemoveReferee, user_id=18) == "that player is not a referee"
    assert run(match, commands.RemoveReferee, user_id=10) == (event.RefereeRemoved(10, "10"),)


def test_match_always_has_host_or_seated_referee() -> None:
    match = do(do(a_match(GUEST, THIRD), commands.AddReferee, user_id=4, name="Gus"), commands.Leave)
    assert (
        refusal(do(match, commands.Leave, GUEST), commands.ClearHost)
        == "nobody in the match could lead it without a host"
    )

    led = do(match, commands.ClearHost)

    assert (match.host_id, led.host_id) == (4, 0)
    assert do(led, commands.Leave, GUEST).host_id == 5
    assert do(led, commands.RemoveReferee, user_id=4).host_id == 4


def test_referee_sets_name_and_password() -> None:
    match = a_match()

    assert run(match, commands.SetName, name=" b\n") == (event.NameChanged("b"),)
    assert run(match, commands.SetPassword, password="") == (event.PasswordChanged(""),)
    assert refusal(match, commands.SetName, name=" ") == "a match needs a name"


def test_smaller_size_moves_players_down_and_locks_slots_above() -> None:
    match = do(a_match(GUEST), commands.Move, user_id=4, slot=12)

    match = do(match, commands.SetSize, size=2)

    assert [slot.status for slot in match.slots] == [NOT_READY, NOT_READY, *[LOCKED] * 14]
    assert seat_of(match, 4) == 1
    assert refusal(match, commands.SetSize, size=1) == "the match has more players than that"
    assert statuses(do(match, commands.SetSize, size=4), 5) == [NOT_READY, NOT_READY, OPEN, OPEN, LOCKED]


@pytest.mark.parametrize("size", [0, 17, -1])
def test_size_out_of_range_is_refused(size: int) -> None:
    assert refusal(a_match(), commands.SetSize, size=size).startswith("size must be 1-16")


def test_set_command_is_applied_completely_or_not_at_all() -> None:
    match = a_match(GUEST)

    done = do(match, commands.SetRoom, team_type=2, win_condition=3, size=8)

    assert (done.team_type, done.win_condition, done.slots[8].status) == (2, 3, LOCKED)
    assert (
        refusal(match, commands.SetRoom, team_type=2, win_condition=3, size=1) == "the match has more players than that"
    )


def test_unused_slots_are_locked_and_opened_together() -> None:
    match = do(a_match(GUEST), commands.SetSlotsLocked, on=True)

    assert [slot.status for slot in match.slots[2:]] == [LOCKED] * 14
    assert [slot.status for slot in do(match, commands.SetSlotsLocked, on=False).slots[2:]] == [OPEN] * 14


def test_referees_and_staff_cannot_be_kicked() -> None:
    match = do(do(a_match(GUEST, THIRD), commands.AddReferee, user_id=4, name="Gus"), commands.SetHost, user_id=5)

    assert refusal(match, commands.Kick, THIRD, user_id=4) == "you can't remove referees or staff"
    assert refusal(match, commands.Kick, THIRD, user_id=3) == "you can't remove referees or staff"
    assert refusal(match, commands.Kick, user_id=5, target_staff=True) == "you can't remove referees or staff"
    assert run(match, commands.Kick, user_id=5)[0] == event.Left(5, "Tom", 2, "kicked")


def test_banned_player_is_removed_and_cannot_join() -> None:
    match = a_match(GUEST)

    events = run(match, commands.BanPlayer, user_id=4)
    banned = do(match, commands.BanPlayer, user_id=4)

    assert events == (event.PlayerBanned(4), event.Left(4, "Gus", 1, "banned"))
    assert refusal(banned, commands.Join, GUEST) == "you are banned from this match"
    assert seat_of(do(do(banned, commands.UnbanPlayer, user_id=4), commands.Join, GUEST), 4) == 1


def test_mods_set_by_command_are_normalised() -> None:
    match = do(a_match(GUEST), commands.SetMods, mods=EZ | HR | HD | V2 | RX | AP)

    assert match.mods == EZ | HD | RX


def test_mods_command_with_freemod_splits_speed_and_own_mods() -> None:
    match = do(a_match(GUEST), commands.SetMods, mods=HD | DT, free_mods=True)

    assert (match.free_mods, match.mods, [slot.mods for slot in match.slots[:3]]) == (True, DT, [HD, HD, 0])
    assert do(match, commands.SetMods, mods=HR).free_mods is False


def test_map_command_makes_players_not_ready() -> None:
    match = do(do(a_match(GUEST), commands.Ready), commands.NoMap, GUEST)

    match = do(match, commands.SetMap, map_id=76, map_md5=OTHER_MD5, map_name="B", mode=1)

    assert (match.map_id, match.mode, statuses(match, 2)) == (76, 1, [NOT_READY, NOT_READY])


def test_host_needs_ready_players_to_start_and_referee_does_not() -> None:
    match = do(do(a_match(GUEST, THIRD), commands.SetHost, user_id=4), commands.NoMap, THIRD)
    ready = do_for_each(match, commands.Ready, HOST, GUEST)

    assert refusal(match, commands.Start, GUEST, force=False) == "not all players are ready"
    assert do(match, commands.Start, GUEST, force=True).in_progress
    assert do(match, commands.Start, HOST, force=False).in_progress
    assert do(ready, commands.Start, GUEST, force=False).in_progress


def test_start_timer_starts_play() -> None:
    match = do(do(a_match(), commands.StartAfter, seconds=5), commands.StartAfter, seconds=10)
    [timer] = match.timers

    match = do(match, commands.TimerRang, SERVER, timer_id=timer.id, at_ms=NOW + 10_000)

    assert timer.rings_at_ms == NOW + 10_000
    assert (match.in_progress, timer_of(match, START)) == (True, None)


def test_start_timer_reports_why_play_could_not_start() -> None:
    match = do(do(a_match(), commands.StartAfter, seconds=5), commands.NoMap)
    [timer] = match.timers

    events = run(match, commands.TimerRang, SERVER, timer_id=timer.id, at_ms=NOW + 5000)

    assert events[1:] == (event.CouldNotStart("no player has the map"),)


def test_timers_are_bounded_and_cancelled() -> None:
    match = do(do(a_match(), commands.StartAfter, seconds=300), commands.StartTimer, seconds=900)

    assert [timer.kind for timer in match.timers] == [START, COUNTDOWN]
    assert do(match, commands.CancelTimers).timers == ()
    assert [timer.kind for timer in do(match, commands.CancelTimers, kinds=(START,)).timers] == [COUNTDOWN]
    assert refusal(a_match(), commands.CancelTimers) == "no timer is running"
    assert refusal(match, commands.StartAfter, seconds=301)
    assert refusal(match, commands.StartTimer, seconds=901)


def test_close_removes_all_players() -> None:
    match = do(do(a_play(GUEST), commands.BeginScrim, best_of=3), commands.StartTimer, seconds=30)

    events = run(match, commands.Close)

    assert [type(an_event).__name__ for an_event in events] == [
        "TimerCleared",
        "Aborted",
        "Left",
        "Left",
        "ScrimEnded",
        "TimerCleared",
        "Closed",
    ]
    assert events[-1] == event.Closed("referee")


# --- scrims and pools ------------------------------------------------------------------------------------------------


def scored(match: Match, *values: tuple[Issuer, int, float], at_ms: int = NOW) -> dict[str, Any]:
    results = tuple(RoundResult(issuer.user_id, issuer.name, team, value) for issuer, team, value in values)
    return {"started_at_ms": at_ms, "results": results}


def test_team_with_higher_sum_gets_point() -> None:
    match = do(a_match(GUEST, THIRD, team_type=2), commands.BeginScrim, best_of=3)

    events = run(
        match, commands.RoundScored, SERVER, **scored(match, (HOST, RED, 5), (GUEST, BLUE, 8), (THIRD, RED, 4))
    )

    assert events == (event.PointWon(RED, "Red", 1, ((RED, 9), (BLUE, 8)), NOW),)


def test_player_with_higher_value_gets_point_without_teams() -> None:
    match = do(a_match(GUEST), commands.BeginScrim, best_of=3)

    events = run(match, commands.RoundScored, SERVER, **scored(match, (HOST, 0, 5), (GUEST, 0, 8)))

    assert events == (event.PointWon(4, "Gus", 1, ((4, 8), (3, 5)), NOW),)


@pytest.mark.parametrize("value", [8, 0])
def test_tie_gives_no_point(value: int) -> None:
    match = do(a_match(GUEST), commands.BeginScrim, best_of=3)

    events = run(match, commands.RoundScored, SERVER, **scored(match, (HOST, 0, value), (GUEST, 0, value)))

    assert events == (event.RoundTied(((3, value), (4, value)), NOW),)


def test_scrim_ends_with_winning_point() -> None:
    match = do(do(a_match(GUEST), commands.LoadPool, pool_id=1, name="finals"), commands.BeginScrim, best_of=3)
    match = do(match, commands.BanPick, pick="HD2")
    match = do(match, commands.RoundScored, SERVER, **scored(match, (GUEST, 0, 8)))

    events = run(match, commands.RoundScored, SERVER, **scored(match, (GUEST, 0, 8), at_ms=NOW + 1))
    after = do(match, commands.RoundScored, SERVER, **scored(match, (GUEST, 0, 8), at_ms=NOW + 1))

    assert events[1:] == (event.ScrimWon(4, "Gus", ((4, 2),)), event.ScrimEnded(3, ((4, 2),)))
    assert (after.scrimming, after.scrim, after.banned_picks, after.pool_id) == (False, None, (), 1)


def test_play_counts_once_and_only_during_scrim() -> None:
    match = do(a_match(GUEST), commands.BeginScrim, best_of=5)
    after = do(match, commands.RoundScored, SERVER, **scored(match, (GUEST, 0, 8)))

    assert refusal(after, commands.RoundScored, SERVER, **scored(match, (GUEST, 0, 8))) == "that play does not count"
    assert refusal(match, commands.RoundScored, SERVER, **scored(match, (GUEST, 0, 8), at_ms=NOW - 1))
    assert refusal(a_match(), commands.RoundScored, SERVER, **scored(match)) == "no scrim is running"


@pytest.mark.parametrize("best_of", [0, 2, 17, -1])
def test_scrim_with_invalid_length_is_refused(best_of: int) -> None:
    assert refusal(a_match(), commands.BeginScrim, best_of=best_of)


def test_rematch_takes_back_point_or_restarts_scrim() -> None:
    match = do(a_match(GUEST), commands.BeginScrim, best_of=5)
    match = do(match, commands.RoundScored, SERVER, **scored(match, (GUEST, 0, 8)))

    after_rematch = do(match, commands.Rematch)
    again = do(do(match, commands.EndScrim), commands.Rematch)

    assert run(match, commands.Rematch) == (event.PointTaken(4, "Gus", 0),)
    assert after_rematch.scrim is not None
    assert after_rematch.scrim.points == ()
    assert refusal(after_rematch, commands.Rematch) == "there is no point to take back"
    assert again.scrim is not None
    assert (again.scrim.best_of, again.scrim.points) == (5, ())
    assert refusal(a_match(), commands.Rematch) == "this match has had no scrim"


def test_referee_sets_points_up_to_a_win() -> None:
    match = do(a_match(GUEST, team_type=2), commands.BeginScrim, best_of=3)

    set_once = do(match, commands.SetPoints, points=((RED, 1), (BLUE, 1)))

    assert set_once.scrim is not None
    assert set_once.scrim.points == ((BLUE, 1), (RED, 1))
    assert not do(set_once, commands.SetPoints, points=((RED, 2),)).scrimming
    assert refusal(match, commands.SetPoints, points=((RED, 2), (BLUE, 2))) == "only one side can win"
    assert refusal(match, commands.SetPoints, points=((RED, 3),))
    assert refusal(match, commands.SetPoints, points=((4, 1),)) == "that side does not take part in the scrim"


@pytest.mark.parametrize(
    ("name", "teams"),
    [
        ("OWC: (Japan) vs (Korea)", ("Japan", "Korea")),
        ("OWC 5: (Team A) VS. (Team-B!)", ("Team A", "Team-B!")),
        ("a match", ("Blue", "Red")),
    ],
)
def test_team_names_come_from_match_name(name: str, teams: tuple[str, str]) -> None:
    match = a_match(name=name, team_type=2)

    assert team_names(match) == teams
    assert (side_name(match, BLUE), side_name(match, RED)) == teams


def test_team_type_changes_during_scrim_only_by_command() -> None:
    match = do(a_match(GUEST, team_type=2), commands.BeginScrim, best_of=3)
    match = do(match, commands.SetPoints, points=((RED, 1),))

    rejected = run(match, commands.ChangeSettings, **settings(match, team_type=0, name="b"))
    reset = do(match, commands.SetTeamType, team_type=0, at_ms=NOW + 5)

    assert rejected == (event.TeamTypeRejected(0), event.NameChanged("b"))
    assert reset.scrim is not None
    assert (reset.team_type, reset.scrim.points, reset.scrim.began_at_ms) == (0, (), NOW + 5)


def test_pp_decides_only_in_scrim_and_until_another_win_condition() -> None:
    match = do(a_match(), commands.BeginScrim, best_of=3)

    by_pp = do(match, commands.SetWinCondition, win_condition=PP)
    again = do(by_pp, commands.SetWinCondition, win_condition=0)
    changed_by_host = do(by_pp, commands.ChangeSettings, **settings(by_pp, win_condition=3))

    assert refusal(a_match(), commands.SetWinCondition, win_condition=PP) == "pp can decide only a scrim"
    assert [match.scrim.by_pp for match in (by_pp, again, changed_by_host) if match.scrim] == [True, False, False]


def a_pick(name: str, **changed: Any) -> dict[str, Any]:
    return {"pick": name, "map_id": 9, "map_md5": OTHER_MD5, "map_name": "P", "mode": 0, "mods": HD} | changed


def test_pick_sets_map_and_mods() -> None:
    match = do(a_match(GUEST), commands.LoadPool, pool_id=1, name="finals")

    picked = do(match, commands.PickMap, **a_pick("hd2"))
    free = do(match, commands.PickMap, **a_pick("FM1", mods=0, free_mods=True))

    assert (picked.map_id, picked.mods, picked.free_mods, picked.used_picks) == (9, HD, False, ("HD2",))
    assert free.free_mods


def test_banned_or_used_pick_is_refused() -> None:
    match = do(a_match(), commands.LoadPool, pool_id=1, name="finals")
    banned, used = do(match, commands.BanPick, pick="HD2"), do(match, commands.PickMap, **a_pick("HD2"))

    assert refusal(banned, commands.PickMap, **a_pick("HD2", force=True)) == "that pick is banned"
    assert do(do(banned, commands.UnbanPick, pick="HD2"), commands.PickMap, **a_pick("HD2")).map_id == 9
    assert refusal(used, commands.PickMap, **a_pick("HD2")) == "that map was already picked"
    assert do(used, commands.PickMap, **a_pick("HD2", force=True)).map_id == 9


@pytest.mark.parametrize("pick", ["", "HD", "H1", "2", "HDD1", "HD1234", "HD2 ", "\u00df\u00df1"])
def test_malformed_pick_is_refused(pick: str) -> None:
    match = do(a_match(), commands.LoadPool, pool_id=1, name="finals")

    assert refusal(match, commands.BanPick, pick=pick).startswith("pick must be")


def test_pick_without_pool_is_refused() -> None:
    match = do(do(a_match(), commands.LoadPool, pool_id=1, name="finals"), commands.UnloadPool)

    assert match.pool_id == 0
    assert refusal(match, commands.PickMap, **a_pick("HD2")) == "no mappool is loaded"


# --- packets and history ----------------------------------------------------------------------------------------------


def test_events_that_the_lobby_does_not_get() -> None:
    kinds = Event.__subclasses__()

    not_for_lobby = {kind.__name__ for kind in kinds if kind.in_room and not kind.in_lobby}

    assert not_for_lobby == {"StatusChanged", "TeamChanged", "TeamTypeRejected", "Unreadied"}
    assert {kind for kind in kinds if kind.in_lobby} <= {kind for kind in kinds if kind.in_room}
    assert event.reaches_lobby(event.NameChanged("b"))
    assert not event.reaches_room(event.PlayerLoaded(3, 0))


def test_database_ids_are_set_separately() -> None:
    match = do(a_play(), commands.SetHistoryIds, SERVER, history_id=5)

    match = do(match, commands.SetHistoryIds, SERVER, game_id=6)

    assert (match.history_id, match.game_id) == (5, 6)
    assert len(match.slots) == SLOTS

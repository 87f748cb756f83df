"""The rules of a match, one example each (docs/spec/multiplayer.md)."""

from typing import Any

import pytest

from kiai.errors import Invalid, Refused
from kiai.multiplayer import commands as ask
from kiai.multiplayer import facts as fact
from kiai.multiplayer.commands import SERVER, Actor, Command, Result
from kiai.multiplayer.facts import Fact, Seat
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
    opened,
    players,
    playing,
    seat_of,
    side_name,
    team_names,
    timer_of,
)
from kiai.osu.mods import AP, DT, EZ, HD, HR, NC, RX, TP, V2, Mods

NOW = 1_700_000_000_000
HOST, GUEST, THIRD, OUTSIDER = Actor(3, "Hana"), Actor(4, "Gus"), Actor(5, "Tom"), Actor(6, "Oz")
MANAGER = Actor(7, "Mia", referee_any=True)
MD5, OTHER_MD5 = "a" * 32, "b" * 32


def a_room(*guests: Actor, **asked: Any) -> Match:
    """A room of the host and guests, with a map."""
    wanted: dict[str, Any] = {"name": "a room", "map_id": 75, "map_md5": MD5, "map_name": "A - T [V]"} | asked
    match = opened(by=HOST, at_ms=NOW, **wanted)
    for guest in guests:
        match = do(match, ask.Join, guest, password=match.password)
    return match


def a_play(*guests: Actor, **asked: Any) -> Match:
    """The same, and everybody plays."""
    return do(a_room(*guests, **asked), ask.Start)


def a_tournament(*guests: Actor, **asked: Any) -> Match:
    """A room made by command, led by HOST who does not sit in it."""
    return a_room(*guests, by_command=True, seated=False, **asked)


def run(match: Match, kind: type[Command], by: Actor = HOST, *, at_ms: int = NOW, **fields: Any) -> tuple[Fact, ...]:
    """What happens then."""
    return apply(match, kind(by=by, at_ms=at_ms, **fields))[1]


def do(match: Match, kind: type[Command], by: Actor = HOST, *, at_ms: int = NOW, **fields: Any) -> Match:
    """The match after that."""
    return apply(match, kind(by=by, at_ms=at_ms, **fields))[0]


def each(match: Match, kind: type[Command], *people: Actor) -> Match:
    """The match after everybody said that."""
    for one in people:
        match = do(match, kind, one)
    return match


def refusal(match: Match, kind: type[Command], by: Actor = HOST, **fields: Any) -> str:
    """Why it is refused."""
    with pytest.raises(Refused) as raised:
        run(match, kind, by, **fields)
    return raised.value.reason


def settings(match: Match, **changed: Any) -> dict[str, Any]:
    """What the host's client sends when only this is changed."""
    sent = set(ask.ChangeSettings.__struct_fields__) - {"by", "at_ms"}
    return {name: getattr(match, name) for name in sent} | changed


def statuses(match: Match, count: int) -> list[int]:
    return [slot.status for slot in match.slots[:count]]


def told(facts: tuple[Fact, ...], kind: type[Fact]) -> list[Fact]:
    return [one for one in facts if isinstance(one, kind)]


# --- opening ---------------------------------------------------------------------------------------------------------


def test_the_creator_sits_first_and_is_host_and_referee() -> None:
    match = a_room()

    assert (match.host_id, match.host_name, seat_of(match, 3)) == (3, "Hana", 0)
    assert match.slots[0].status == NOT_READY
    assert match.referees == ((3, "Hana"),)
    assert (match.created_by, match.created_at_ms) == (3, NOW)


def test_the_slots_that_the_creator_locked_are_locked() -> None:
    match = a_room(locked=range(8, 16))

    assert [slot.status for slot in match.slots] == [NOT_READY, *[OPEN] * 7, *[LOCKED] * 8]


def test_a_room_without_open_slots_still_seats_its_creator() -> None:
    match = a_room(locked=range(16))

    assert seat_of(match, 3) == 0
    assert refusal(match, ask.Join, GUEST) == "the match is full"


def test_a_name_loses_control_characters_and_what_is_too_long() -> None:
    match = a_room(name="  a\x00\nb\u202ec" + "x" * 10_000)

    assert match.name == "abc" + "x" * 47


@pytest.mark.parametrize("name", ["", "  ", "\x00\u200b", "\n"])
def test_a_room_needs_a_name(name: str) -> None:
    with pytest.raises(Refused, match="needs a name"):
        a_room(name=name)


@pytest.mark.parametrize(
    "asked",
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
def test_a_room_cannot_be_opened_with_numbers_outside_their_range(asked: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        a_room(**asked)


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
def test_a_password_may_ask_for_a_private_history(sent: str, password: str, private: bool) -> None:
    match = a_room(password=sent)

    assert (match.password, match.private) == (password, private)


def test_a_room_may_open_with_the_host_choosing() -> None:
    match = a_room(map_id=0, map_md5="whatever")

    assert (match.map_id, match.map_md5, match.map_name) == (-1, "", "")
    assert refusal(match, ask.Start) == "no map is chosen"


def test_a_room_opens_with_free_mods_already_parted() -> None:
    match = a_room(free_mods=True, mods=HD | DT)

    assert (match.mods, match.slots[0].mods) == (DT, HD)


def test_a_tag_room_opens_without_free_mods() -> None:
    match = a_room(free_mods=True, team_type=1, mods=HD | DT)

    assert (match.free_mods, match.mods, match.slots[0].mods) == (False, HD | DT, 0)


def test_a_room_made_by_command_has_no_host_and_waits_empty() -> None:
    match = a_tournament()

    assert (match.host_id, players(match), match.by_command) == (0, (), True)
    assert timer_of(match, IDLE) is not None
    assert everybody_in(match) == {3}


def test_the_creator_of_a_room_made_by_command_may_sit_in_it() -> None:
    match = a_room(by_command=True)

    assert (match.host_id, seat_of(match, 3), match.timers) == (0, 0, ())


# --- joining ---------------------------------------------------------------------------------------------------------


def test_a_newcomer_takes_the_lowest_open_slot() -> None:
    match = a_room(locked=(1,))

    facts = run(match, ask.Join, GUEST)

    assert facts == (fact.Joined(4, "Gus", 2, NEUTRAL),)


@pytest.mark.parametrize("password", ["a b", "a_b"])
def test_a_password_opens_the_room_as_typed_and_as_in_a_link(password: str) -> None:
    match = a_room(password="a b")

    match = do(match, ask.Join, GUEST, password=password)

    assert seat_of(match, 4) == 1


def test_a_wrong_password_is_refused() -> None:
    assert refusal(a_room(password="a b"), ask.Join, GUEST, password="a") == "wrong password"


def test_a_room_without_password_takes_any() -> None:
    assert seat_of(do(a_room(), ask.Join, GUEST, password="old"), 4) == 1


@pytest.mark.parametrize("who", [Actor(9, "Staff", staff=True), MANAGER], ids=lambda who: who.name)
def test_staff_and_managers_need_no_password(who: Actor) -> None:
    assert seat_of(do(a_room(password="a"), ask.Join, who), who.user_id) == 1


def test_nobody_sits_in_two_slots() -> None:
    assert refusal(a_room(GUEST), ask.Join, GUEST) == "already here"


def test_somebody_who_is_forced_in_needs_no_password() -> None:
    match = do(a_room(password="a"), ask.BanPlayer, user_id=4)

    assert refusal(match, ask.Join, GUEST, password="a") == "banned from this match"
    assert seat_of(do(match, ask.Join, GUEST, force=True), 4) == 1


def test_who_joins_during_a_play_is_not_ready_and_does_not_play() -> None:
    match = do(a_play(GUEST), ask.Join, THIRD)

    assert statuses(match, 3) == [PLAYING, PLAYING, NOT_READY]
    assert playing(match) == (3, 4)


def test_in_team_modes_newcomers_are_red_and_blue_in_turn() -> None:
    match = a_room(GUEST, THIRD, team_type=2)

    assert [slot.team for slot in match.slots[:4]] == [RED, BLUE, RED, NEUTRAL]


# --- slots, lock, host, team -----------------------------------------------------------------------------------------


def test_a_player_moves_to_an_open_slot_with_all_it_has() -> None:
    match = do(a_room(GUEST, team_type=2), ask.Ready, GUEST)

    facts = run(match, ask.ChangeSlot, GUEST, slot=8)
    match = do(match, ask.ChangeSlot, GUEST, slot=8)

    assert facts == (fact.SlotMoved(4, 1, 8),)
    assert (match.slots[8].status, match.slots[8].team, match.slots[1].status) == (READY, BLUE, OPEN)


@pytest.mark.parametrize("slot", [0, 1, 2, -1, 16, 255, 2**31 - 1])
def test_a_player_moves_only_to_open_slots(slot: int) -> None:
    match = a_room(GUEST, locked=(2,))

    assert refusal(match, ask.ChangeSlot, GUEST, slot=slot)


@pytest.mark.parametrize("kind", [ask.Ready, ask.NotReady, ask.NoMap, ask.HasMap], ids=lambda kind: kind.__name__)
def test_who_plays_is_neither_ready_nor_not(kind: type[Command]) -> None:
    match = do(a_play(GUEST, team_type=2), ask.Complete, GUEST)

    assert refusal(match, kind, HOST) == "not while playing"
    assert refusal(match, kind, GUEST) == "not while playing"


def test_who_plays_keeps_slot_and_team() -> None:
    match = a_play(GUEST, team_type=2)

    assert refusal(match, ask.ChangeSlot, GUEST, slot=5) == "not while playing"
    assert refusal(match, ask.ChangeTeam, GUEST) == "not while playing"
    assert refusal(match, ask.SetTeam, user_id=4, team=RED) == "not while playing"
    assert refusal(match, ask.Move, user_id=4, slot=5) == "not while playing"


@pytest.mark.parametrize(
    ("kind", "status"), [(ask.Ready, READY), (ask.NoMap, NO_MAP), (ask.NotReady, NOT_READY), (ask.HasMap, NOT_READY)]
)
def test_a_player_says_whether_it_is_ready(kind: type[Command], status: int) -> None:
    for before in (ask.Ready, ask.NoMap, ask.HasMap):
        match = do(do(a_room(GUEST), before, GUEST), kind, GUEST)

        assert match.slots[1].status == status


def test_saying_the_same_again_is_no_news() -> None:
    match = do(a_room(), ask.Ready)

    assert run(match, ask.Ready) == ()


def test_the_host_locks_and_opens_slots() -> None:
    match = do(a_room(), ask.LockSlot, slot=4)

    assert match.slots[4].status == LOCKED
    assert do(match, ask.LockSlot, slot=4).slots[4].status == OPEN


def test_locking_somebodys_slot_kicks_them_and_it_stays_locked() -> None:
    match = a_room(GUEST)

    facts = run(match, ask.LockSlot, slot=1)
    match = do(match, ask.LockSlot, slot=1)

    assert facts == (fact.Left(4, "Gus", 1, "kicked", locked=True),)
    assert match.slots[1].status == LOCKED
    assert run(match, ask.Leave, GUEST) == ()


def test_nobody_locks_their_own_slot() -> None:
    assert refusal(a_room(), ask.LockSlot, slot=0) == "nobody locks their own slot"


@pytest.mark.parametrize("slot", [-1, 16, 255, 2**31 - 1])
@pytest.mark.parametrize("kind", [ask.LockSlot, ask.TransferHost], ids=lambda kind: kind.__name__)
def test_slots_that_do_not_exist_are_refused(kind: type[Command], slot: int) -> None:
    assert refusal(a_room(GUEST), kind, slot=slot)


def test_the_host_passes_on_being_host() -> None:
    match = a_room(GUEST)

    facts = run(match, ask.TransferHost, slot=1)

    assert facts == (fact.HostPassed(4, "Gus"),)
    assert refusal(match, ask.TransferHost, slot=0) == "nobody else sits there"
    assert refusal(match, ask.TransferHost, slot=5) == "nobody else sits there"


def test_a_guest_may_do_nothing_of_the_host() -> None:
    match = a_room(GUEST)
    of_the_host: list[tuple[type[Command], dict[str, Any]]] = [
        (ask.LockSlot, {"slot": 5}),
        (ask.ChangeSettings, settings(match, name="mine")),
        (ask.Start, {}),
        (ask.ChangeMods, {"mods": HD}),
        (ask.TransferHost, {"slot": 1}),
        (ask.ChangePassword, {"password": "x"}),
    ]

    for kind, fields in of_the_host:
        assert refusal(match, kind, GUEST, **fields)
        do(do(match, ask.SetHost, user_id=4), kind, GUEST, **fields | ({"slot": 0} if "slot" in fields else {}))


def test_players_change_sides_in_team_modes_only() -> None:
    match = a_room(GUEST, team_type=2)

    match = do(match, ask.ChangeTeam, GUEST)

    assert match.slots[1].team == RED
    assert do(match, ask.ChangeTeam, GUEST).slots[1].team == BLUE
    assert refusal(a_room(GUEST), ask.ChangeTeam, GUEST) == "there are no teams"


def test_locked_seats_keep_players_where_they_are_until_a_referee_moves_them() -> None:
    match = do(a_room(GUEST, team_type=2), ask.SetSeatsLocked, on=True)

    assert refusal(match, ask.ChangeSlot, GUEST, slot=5) == "only referees change slots and teams here"
    assert refusal(match, ask.ChangeTeam, GUEST) == "only referees change slots and teams here"
    assert seat_of(do(match, ask.Move, user_id=4, slot=5), 4) == 5
    assert seat_of(do(do(match, ask.SetSeatsLocked, on=False), ask.ChangeSlot, GUEST, slot=5), 4) == 5


# --- settings and password -------------------------------------------------------------------------------------------


def test_settings_are_copied() -> None:
    match = a_room()

    changed = {"name": "b", "mode": 3, "win_condition": 2, "seed": -5, "team_type": 2, "mods": HD}
    match = do(match, ask.ChangeSettings, **settings(match, **changed))

    assert {name: getattr(match, name) for name in changed} == changed


def test_the_same_settings_are_no_news() -> None:
    match = do(a_room(GUEST), ask.Ready, GUEST)

    assert run(match, ask.ChangeSettings, **settings(match)) == ()


def test_settings_wait_for_the_end_of_a_play() -> None:
    match = a_play()

    assert refusal(match, ask.ChangeSettings, **settings(match, name="b")) == "a map is being played"


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
def test_who_was_ready_is_not_when_something_else_is_played(changed: dict[str, Any]) -> None:
    match = each(a_room(GUEST), ask.Ready, HOST, GUEST)

    match = do(match, ask.ChangeSettings, **settings(match, **changed))

    assert statuses(match, 2) == [NOT_READY, NOT_READY]


@pytest.mark.parametrize("changed", [{"name": "b"}, {"seed": 4}], ids=str)
def test_who_was_ready_stays_so_when_the_same_is_played(changed: dict[str, Any]) -> None:
    match = each(a_room(GUEST), ask.Ready, HOST, GUEST)

    match = do(match, ask.ChangeSettings, **settings(match, **changed))

    assert statuses(match, 2) == [READY, READY]


def test_free_mods_give_everybody_the_rooms_mods_but_for_speed() -> None:
    match = a_room(GUEST, mods=HD | NC | DT)

    match = do(match, ask.ChangeSettings, **settings(match, free_mods=True))

    assert match.mods == NC | DT
    assert [slot.mods for slot in match.slots[:3]] == [HD, HD, 0]


def test_without_free_mods_the_room_has_the_hosts() -> None:
    match = a_room(GUEST, free_mods=True, mods=DT)
    match = do(do(match, ask.ChangeMods, mods=DT | HR), ask.ChangeMods, GUEST, mods=EZ)

    match = do(match, ask.ChangeSettings, **settings(match, free_mods=False))

    assert match.mods == DT | HR
    assert {slot.mods for slot in match.slots} == {0}


def test_tag_modes_have_no_free_mods() -> None:
    match = a_room(GUEST, free_mods=True, mods=HD)

    tagged = do(match, ask.ChangeSettings, **settings(match, team_type=1))

    assert (tagged.free_mods, tagged.mods) == (False, HD)
    assert not do(tagged, ask.ChangeSettings, **settings(tagged, free_mods=True)).free_mods
    assert refusal(tagged, ask.SetFreeMods, on=True) == "in tag modes everybody plays the same mods"


def test_another_team_type_deals_the_teams_again() -> None:
    match = a_room(GUEST, THIRD)

    teams = do(match, ask.ChangeSettings, **settings(match, team_type=2))
    none = do(teams, ask.ChangeSettings, **settings(teams, team_type=0))

    assert [slot.team for slot in teams.slots] == [RED, BLUE, RED, *[NEUTRAL] * 13]
    assert {slot.team for slot in none.slots} == {NEUTRAL}


def test_a_host_who_chooses_leaves_the_room_without_a_map() -> None:
    match = a_room()

    choosing = do(match, ask.ChangeSettings, **settings(match, map_id=-1))

    assert (choosing.map_id, choosing.map_md5, choosing.map_name) == (-1, "", "")
    assert choosing.previous == MapChoice(75, MD5, "A - T [V]")
    assert run(choosing, ask.ChangeSettings, **settings(choosing, map_id=0)) == ()


@pytest.mark.parametrize(("md5", "another"), [(OTHER_MD5, True), (MD5, False)])
def test_a_chosen_map_is_worth_a_line_if_it_is_another(md5: str, another: bool) -> None:
    match = a_room()
    match = do(match, ask.ChangeSettings, **settings(match, map_id=-1))

    facts = run(match, ask.ChangeSettings, **settings(match, map_id=76, map_md5=md5, map_name="B"))

    assert told(facts, fact.MapChanged) == [fact.MapChanged(76, md5, "B", another=another)]


def test_a_new_map_may_be_one_that_players_have() -> None:
    match = do(a_room(GUEST), ask.NoMap, GUEST)

    match = do(match, ask.ChangeSettings, **settings(match, map_id=76, map_md5=OTHER_MD5))

    assert match.slots[1].status == NOT_READY


def test_the_map_comes_back_when_the_host_leaves_while_choosing() -> None:
    match = a_room(GUEST)
    match = do(match, ask.ChangeSettings, **settings(match, map_id=-1))

    facts = run(match, ask.Leave)

    assert told(facts, fact.MapChanged) == [fact.MapChanged(75, MD5, "A - T [V]", another=False, restored=True)]


@pytest.mark.parametrize("changed", [{"name": " "}, {"mode": 9}, {"mods": -1}, {"map_md5": "x"}], ids=str)
def test_settings_outside_their_range_change_nothing(changed: dict[str, Any]) -> None:
    match = a_room()

    assert refusal(match, ask.ChangeSettings, **settings(match, win_condition=1, **changed))


def test_a_room_may_change_its_password() -> None:
    facts = run(a_room(password="a"), ask.ChangePassword, password="b//private")

    assert facts == (fact.PasswordChanged("b"),)


# --- mods ------------------------------------------------------------------------------------------------------------


def test_the_host_chooses_the_mods_of_all() -> None:
    match = each(a_room(GUEST), ask.Ready, GUEST)

    match = do(match, ask.ChangeMods, mods=HD | DT | NC)

    assert (match.mods, match.slots[0].mods) == (HD | DT | NC, 0)
    assert match.slots[1].status == NOT_READY


def test_with_free_mods_everybody_chooses_but_only_the_host_the_speed() -> None:
    match = each(a_room(GUEST, free_mods=True), ask.Ready, GUEST)

    match = do(match, ask.ChangeMods, GUEST, mods=HR | DT)
    guests = match
    match = do(match, ask.ChangeMods, HOST, mods=HD | DT)

    assert (guests.mods, guests.slots[1].mods, guests.slots[1].status) == (0, HR, READY)
    assert (match.mods, match.slots[0].mods, match.slots[1].status) == (DT, HD, NOT_READY)


@pytest.mark.parametrize("free_mods", [False, True])
def test_mods_that_nobody_plays_are_dropped(free_mods: bool) -> None:
    match = do(a_room(free_mods=free_mods), ask.ChangeMods, mods=HD | TP | V2 | int(Mods.AU | Mods.CN))

    assert (match.mods | match.slots[0].mods) == HD


def test_mods_of_who_plays_stay() -> None:
    match = a_play(GUEST, free_mods=True)
    late = do(match, ask.Join, THIRD)

    assert refusal(match, ask.ChangeMods, GUEST, mods=HD) == "not while playing"
    assert refusal(a_play(), ask.ChangeMods, mods=HD) == "a map is being played"
    assert do(late, ask.ChangeMods, THIRD, mods=HD).slots[2].mods == HD


# --- a play ----------------------------------------------------------------------------------------------------------


def test_ready_and_not_ready_play_and_who_lacks_the_map_sits_out() -> None:
    match = do(do(a_room(GUEST, THIRD), ask.Ready, GUEST), ask.NoMap, THIRD)

    facts = run(match, ask.Start)
    match = do(match, ask.Start)

    assert facts[0] == fact.Started((Seat(0, 3, "Hana", 0, 0), Seat(1, 4, "Gus", 0, 0)), NOW)
    assert statuses(match, 3) == [PLAYING, PLAYING, NO_MAP]
    assert (match.in_progress, match.started_at_ms) == (True, NOW)


def test_nothing_starts_without_somebody_who_has_the_map() -> None:
    match = do(a_room(), ask.NoMap)

    assert refusal(match, ask.Start) == "nobody here has the map"


def test_nothing_starts_twice() -> None:
    assert refusal(a_play(), ask.Start) == "a map is being played"


def test_a_play_knows_everybodys_mods() -> None:
    match = do(a_room(GUEST, free_mods=True, mods=DT), ask.ChangeMods, GUEST, mods=HR)

    [started] = told(run(match, ask.Start), fact.Started)

    assert isinstance(started, fact.Started)
    assert [seat.mods for seat in started.players] == [DT, DT | HR]


def test_everybody_begins_when_all_have_loaded() -> None:
    match = a_play(GUEST)

    first = run(match, ask.LoadComplete, HOST)
    second = run(do(match, ask.LoadComplete, HOST), ask.LoadComplete, GUEST)

    assert first == (fact.PlayerLoaded(3, 0),)
    assert told(second, fact.AllLoaded) == [fact.AllLoaded((3, 4))]


def test_who_has_loaded_begins_after_a_minute() -> None:
    match = do(a_play(GUEST), ask.LoadComplete, HOST)
    timer = timer_of(match, LOAD)
    assert timer is not None

    facts = run(match, ask.TimerRang, SERVER, timer_id=timer.id, at_ms=NOW + 60_000)
    match = do(match, ask.TimerRang, SERVER, timer_id=timer.id, at_ms=NOW + 60_000)

    assert facts == (fact.TimerCleared(timer.id, LOAD, rang=True), fact.AllLoaded((3, 4)))
    assert run(match, ask.LoadComplete, GUEST)[1:] == (fact.AllLoaded((4,)),)


def test_if_nobody_had_loaded_after_a_minute_all_begin_with_the_first() -> None:
    match = a_play(GUEST)
    timer = timer_of(match, LOAD)
    assert timer is not None

    match = do(match, ask.TimerRang, SERVER, timer_id=timer.id, at_ms=NOW + 60_000)

    assert not match.all_loaded
    assert run(match, ask.LoadComplete, GUEST)[1:] == (fact.AllLoaded((3, 4)),)


def test_nobody_waits_for_the_loading_of_who_completed() -> None:
    match = do(a_play(GUEST), ask.LoadComplete, HOST)

    facts = run(match, ask.Complete, GUEST)

    assert told(facts, fact.AllLoaded) == [fact.AllLoaded((3,))]


def test_all_skip_when_everybody_who_plays_wants_to() -> None:
    match = do(do(a_room(GUEST, THIRD), ask.NoMap, THIRD), ask.Start)

    first = run(match, ask.Skip, HOST)
    second = run(do(match, ask.Skip, HOST), ask.Skip, GUEST)

    assert first == (fact.PlayerSkipped(3, 0),)
    assert second == (fact.PlayerSkipped(4, 1), fact.AllSkipped())


def test_who_fails_plays_on() -> None:
    match = a_play(GUEST)

    facts = run(match, ask.Fail, GUEST)
    match = do(match, ask.Fail, GUEST)

    assert facts == (fact.PlayerFailed(4, 1),)
    assert (match.slots[1].status, match.slots[1].failed) == (PLAYING, True)


def test_a_play_ends_when_the_last_completes() -> None:
    match = each(a_play(GUEST, team_type=2), ask.LoadComplete, HOST, GUEST)
    match = do(do(match, ask.Fail, GUEST), ask.Complete, GUEST)

    facts = run(match, ask.Complete, HOST)
    after = do(match, ask.Complete, HOST)

    assert statuses(match, 2) == [PLAYING, COMPLETE]
    assert told(facts, fact.Finished) == [
        fact.Finished(
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


def test_a_play_ends_half_a_minute_after_the_first_completes() -> None:
    match = do(a_play(GUEST), ask.Complete, GUEST)
    timer = timer_of(match, FINISH)
    assert timer is not None

    facts = run(match, ask.TimerRang, SERVER, timer_id=timer.id, at_ms=NOW + 30_000)

    [finished] = told(facts, fact.Finished)
    assert isinstance(finished, fact.Finished)
    assert finished.forced
    assert [(seat.user_id, seat.completed) for seat in finished.players] == [(3, False), (4, True)]


def test_a_timer_that_rings_too_early_or_after_it_was_cleared_is_refused() -> None:
    match = do(a_play(GUEST), ask.Complete, GUEST)
    timer = timer_of(match, FINISH)
    assert timer is not None

    assert refusal(match, ask.TimerRang, SERVER, timer_id=timer.id, at_ms=NOW + 29_999) == "it is too early"
    over = do(match, ask.Complete, HOST)
    assert refusal(over, ask.TimerRang, SERVER, timer_id=timer.id, at_ms=NOW + 30_000) == "that timer was cleared"


@pytest.mark.parametrize("kind", [ask.LoadComplete, ask.Skip, ask.Fail, ask.Complete], ids=lambda kind: kind.__name__)
def test_what_only_players_say_is_refused_from_others(kind: type[Command]) -> None:
    match = do(a_play(GUEST), ask.Join, THIRD)

    assert refusal(a_room(), kind) == "not playing"
    assert refusal(match, kind, THIRD) == "not playing"
    assert run(match, kind, GUEST)


@pytest.mark.parametrize("kind", [ask.LoadComplete, ask.Skip, ask.Fail, ask.Complete], ids=lambda kind: kind.__name__)
def test_what_players_say_counts_once(kind: type[Command]) -> None:
    match = do(a_play(GUEST), kind, GUEST)

    assert refusal(match, kind, GUEST)


def test_an_aborted_play_frees_everybody() -> None:
    match = do(do(a_play(GUEST), ask.LoadComplete, GUEST), ask.Complete, GUEST)

    facts = run(match, ask.Abort)
    match = do(match, ask.Abort)

    [aborted] = told(facts, fact.Aborted)
    assert isinstance(aborted, fact.Aborted)
    assert [seat.user_id for seat in aborted.players] == [3, 4]
    assert (statuses(match, 2), match.in_progress, match.timers) == ([NOT_READY, NOT_READY], False, ())
    assert refusal(match, ask.Abort) == "nothing is being played"


# --- leaving ---------------------------------------------------------------------------------------------------------


def test_the_last_who_leaves_closes_the_room() -> None:
    match = do(a_room(), ask.StartAfter, seconds=10)

    facts = run(match, ask.Leave)

    assert [type(one).__name__ for one in facts] == ["Left", "HostPassed", "TimerCleared", "Closed"]
    assert facts[-1] == fact.Closed("empty")


def test_nothing_happens_in_a_closed_match() -> None:
    match = do(a_room(), ask.Leave)

    assert refusal(match, ask.Join, GUEST) == "the match is closed"


def test_the_next_player_is_host_when_the_host_leaves() -> None:
    match = do(a_room(GUEST, THIRD), ask.TransferHost, slot=1)

    facts = run(match, ask.Leave, GUEST)

    assert facts == (fact.Left(4, "Gus", 1, "left"), fact.HostPassed(5, "Tom"))


def test_leaving_empties_the_slot() -> None:
    match = do(a_room(GUEST, team_type=2, free_mods=True, mods=HD), ask.Leave, GUEST)

    slot = match.slots[1]
    assert (slot.status, slot.team, slot.mods, slot.player_id, slot.player_name) == (OPEN, NEUTRAL, 0, 0, "")


def test_nobody_waits_for_the_loading_of_who_left() -> None:
    match = each(a_play(GUEST, THIRD), ask.LoadComplete, HOST, THIRD)

    facts = run(match, ask.Leave, GUEST)

    assert told(facts, fact.AllLoaded) == [fact.AllLoaded((3, 5))]


def test_nobody_waits_for_the_skip_of_who_left() -> None:
    match = each(a_play(GUEST, THIRD), ask.Skip, HOST, THIRD)

    facts = run(match, ask.Leave, GUEST)

    assert told(facts, fact.AllSkipped) == [fact.AllSkipped()]


def test_nobody_waits_for_the_end_of_who_left() -> None:
    match = each(a_play(GUEST, THIRD), ask.Complete, HOST, THIRD)

    facts = run(match, ask.Leave, GUEST)
    kicked = run(match, ask.LockSlot, slot=1)

    for one in (facts, kicked):
        [finished] = told(one, fact.Finished)
        assert isinstance(finished, fact.Finished)
        assert [seat.user_id for seat in finished.players] == [3, 5]


def test_who_completed_at_once_and_left_does_not_end_the_play_of_others() -> None:
    match = do(a_play(GUEST, THIRD), ask.Complete, GUEST)

    match = do(match, ask.Leave, GUEST)

    assert (match.in_progress, timer_of(match, FINISH)) == (True, None)


def test_a_play_is_over_when_all_who_played_left() -> None:
    match = do(do(a_room(GUEST), ask.NoMap, GUEST), ask.Start)

    facts = run(match, ask.Leave, HOST)

    assert told(facts, fact.Finished) == [fact.Finished((), NOW)]


def test_a_start_timer_goes_on_when_its_setter_leaves() -> None:
    match = do(do(a_room(GUEST), ask.StartAfter, seconds=10), ask.Leave)

    assert timer_of(match, START) is not None


def test_a_referee_who_leaves_an_ordinary_room_is_none_any_more() -> None:
    match = do(a_room(GUEST), ask.AddReferee, user_id=4, name="Gus")

    facts = run(match, ask.Leave, GUEST)

    assert facts[1:] == (fact.RefereeRemoved(4, "Gus"),)


def test_the_creator_stays_a_referee_after_leaving() -> None:
    match = do(a_room(GUEST), ask.Leave)

    assert is_referee(match, HOST)
    assert do(match, ask.SetName, HOST, name="still mine").name == "still mine"


# --- rooms made by command -------------------------------------------------------------------------------------------


def test_a_room_made_by_command_stays_when_empty_until_it_was_idle_long_enough() -> None:
    match = do(a_tournament(GUEST, idle_ms=1000), ask.Leave, GUEST)
    timer = timer_of(match, IDLE)
    assert timer is not None
    assert timer.rings_at_ms == NOW + 1000

    facts = run(match, ask.TimerRang, SERVER, timer_id=timer.id, at_ms=NOW + 1000)

    assert facts[-1] == fact.Closed("idle")


def test_nothing_starts_in_a_room_that_is_empty() -> None:
    match = do(do(a_tournament(GUEST), ask.StartAfter, seconds=10), ask.StartTimer, seconds=10)

    match = do(match, ask.Leave, GUEST)

    assert [timer.kind for timer in match.timers] == [IDLE]


def test_a_player_or_a_referee_keeps_a_room_from_being_idle() -> None:
    match = a_tournament(idle_ms=1000)

    led = timer_of(do(match, ask.SetName, name="b", at_ms=NOW + 500), IDLE)

    assert led is not None
    assert led.rings_at_ms == NOW + 1500
    assert timer_of(do(match, ask.Join, GUEST), IDLE) is None


def test_a_room_made_by_command_has_the_host_it_is_given_and_none_after() -> None:
    match = do(a_tournament(GUEST, THIRD), ask.SetHost, user_id=4)

    facts = run(match, ask.Leave, GUEST)

    assert match.host_id == 4
    assert told(facts, fact.HostPassed) == [fact.HostPassed(0, "")]


def test_referees_of_a_room_made_by_command_need_not_sit_in_it() -> None:
    match = do(a_tournament(GUEST), ask.AddReferee, user_id=4, name="Gus")

    match = do(match, ask.Leave, GUEST)

    assert is_referee(match, GUEST)
    assert everybody_in(match) == {3, 4}


# --- referees --------------------------------------------------------------------------------------------------------


def test_who_leads_a_match() -> None:
    match = do(a_room(GUEST, THIRD), ask.AddReferee, user_id=4, name="Gus")
    match = do(match, ask.SetHost, user_id=5)

    rights = {
        who.name: (is_creator(match, who), is_referee(match, who), is_host(match, who))
        for who in (HOST, GUEST, THIRD, OUTSIDER, MANAGER)
    }

    assert rights == {
        "Hana": (True, True, False),
        "Gus": (False, True, False),
        "Tom": (False, False, True),
        "Oz": (False, False, False),
        "Mia": (True, True, False),
    }


@pytest.mark.parametrize(
    ("who", "kinds"),
    [
        (OUTSIDER, {"anybody"}),
        (GUEST, {"anybody", "seated"}),
        (HOST, {"anybody", "seated", "leader", "referee", "creator"}),
        (THIRD, {"anybody", "seated", "leader", "host"}),
        (MANAGER, {"anybody", "leader", "referee", "creator"}),
        (SERVER, {"anybody", "leader", "referee", "creator", "server"}),
    ],
    ids=lambda one: getattr(one, "name", None),
)
def test_every_command_says_who_may_give_it(who: Actor, kinds: set[str]) -> None:
    match = do(a_room(GUEST, THIRD), ask.SetHost, user_id=5)

    allowed = {kind for kind in RULES if may(match, who, kind)}

    assert allowed == {kind for kind in RULES if kind.right.name.lower() in kinds}


def test_every_command_has_its_rule() -> None:
    assert set(RULES) == set(Command.__subclasses__())


def test_the_rows_that_a_host_may_use_are_those_of_the_table() -> None:
    hosts = {kind.__name__ for kind in RULES if kind.right is ask.Right.LEADER}

    assert hosts == {
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


def test_a_match_has_at_most_eight_referees_beside_its_creator() -> None:
    match = a_room()
    for user_id in range(10, 18):
        match = do(match, ask.AddReferee, user_id=user_id, name=str(user_id))

    assert refusal(match, ask.AddReferee, user_id=18, name="18") == "there are enough referees"
    assert refusal(match, ask.AddReferee, user_id=10, name="10") == "already a referee"
    assert refusal(match, ask.RemoveReferee, user_id=3) == "the creator stays a referee"
    assert refusal(match, ask.RemoveReferee, user_id=18) == "no referee"
    assert run(match, ask.RemoveReferee, user_id=10) == (fact.RefereeRemoved(10, "10"),)


def test_an_ordinary_room_is_never_left_without_a_lead() -> None:
    match = do(do(a_room(GUEST, THIRD), ask.AddReferee, user_id=4, name="Gus"), ask.Leave)
    assert refusal(do(match, ask.Leave, GUEST), ask.ClearHost) == "then nobody here could lead the match"

    led = do(match, ask.ClearHost)

    assert (match.host_id, led.host_id) == (4, 0)
    assert do(led, ask.Leave, GUEST).host_id == 5
    assert do(led, ask.RemoveReferee, user_id=4).host_id == 4


def test_a_referee_names_the_room_and_sets_its_password() -> None:
    match = a_room()

    assert run(match, ask.SetName, name=" b\n") == (fact.NameChanged("b"),)
    assert run(match, ask.SetPassword, password="") == (fact.PasswordChanged(""),)
    assert refusal(match, ask.SetName, name=" ") == "a match needs a name"


def test_a_smaller_room_moves_players_down_and_locks_what_is_above() -> None:
    match = do(a_room(GUEST), ask.Move, user_id=4, slot=12)

    match = do(match, ask.SetSize, size=2)

    assert [slot.status for slot in match.slots] == [NOT_READY, NOT_READY, *[LOCKED] * 14]
    assert seat_of(match, 4) == 1
    assert refusal(match, ask.SetSize, size=1) == "more players are here"
    assert statuses(do(match, ask.SetSize, size=4), 5) == [NOT_READY, NOT_READY, OPEN, OPEN, LOCKED]


@pytest.mark.parametrize("size", [0, 17, -1])
def test_a_room_has_one_to_sixteen_slots(size: int) -> None:
    assert refusal(a_room(), ask.SetSize, size=size).startswith("size must be 1-16")


def test_a_room_is_set_in_one_go_or_not_at_all() -> None:
    match = a_room(GUEST)

    done = do(match, ask.SetRoom, team_type=2, win_condition=3, size=8)

    assert (done.team_type, done.win_condition, done.slots[8].status) == (2, 3, LOCKED)
    assert refusal(match, ask.SetRoom, team_type=2, win_condition=3, size=1) == "more players are here"


def test_unused_slots_are_locked_and_opened_together() -> None:
    match = do(a_room(GUEST), ask.SetSlotsLocked, on=True)

    assert [slot.status for slot in match.slots[2:]] == [LOCKED] * 14
    assert [slot.status for slot in do(match, ask.SetSlotsLocked, on=False).slots[2:]] == [OPEN] * 14


def test_referees_and_staff_cannot_be_kicked() -> None:
    match = do(do(a_room(GUEST, THIRD), ask.AddReferee, user_id=4, name="Gus"), ask.SetHost, user_id=5)

    assert refusal(match, ask.Kick, THIRD, user_id=4) == "referees and staff stay"
    assert refusal(match, ask.Kick, THIRD, user_id=3) == "referees and staff stay"
    assert refusal(match, ask.Kick, user_id=5, target_staff=True) == "referees and staff stay"
    assert run(match, ask.Kick, user_id=5)[0] == fact.Left(5, "Tom", 2, "kicked")


def test_who_is_banned_goes_and_does_not_come_back() -> None:
    match = a_room(GUEST)

    facts = run(match, ask.BanPlayer, user_id=4)
    banned = do(match, ask.BanPlayer, user_id=4)

    assert facts == (fact.PlayerBanned(4), fact.Left(4, "Gus", 1, "banned"))
    assert refusal(banned, ask.Join, GUEST) == "banned from this match"
    assert seat_of(do(do(banned, ask.UnbanPlayer, user_id=4), ask.Join, GUEST), 4) == 1


def test_mods_set_by_command_are_ones_that_can_be_played() -> None:
    match = do(a_room(GUEST), ask.SetMods, mods=EZ | HR | HD | V2 | RX | AP)

    assert match.mods == EZ | HD | RX


def test_mods_set_with_freemod_leave_the_speed_with_the_room() -> None:
    match = do(a_room(GUEST), ask.SetMods, mods=HD | DT, free_mods=True)

    assert (match.free_mods, match.mods, [slot.mods for slot in match.slots[:3]]) == (True, DT, [HD, HD, 0])
    assert do(match, ask.SetMods, mods=HR).free_mods is False


def test_a_map_set_by_command_unreadies_everybody() -> None:
    match = do(do(a_room(GUEST), ask.Ready), ask.NoMap, GUEST)

    match = do(match, ask.SetMap, map_id=76, map_md5=OTHER_MD5, map_name="B", mode=1)

    assert (match.map_id, match.mode, statuses(match, 2)) == (76, 1, [NOT_READY, NOT_READY])


def test_a_referee_starts_at_once_and_a_host_when_all_are_ready() -> None:
    match = do(do(a_room(GUEST, THIRD), ask.SetHost, user_id=4), ask.NoMap, THIRD)
    ready = each(match, ask.Ready, HOST, GUEST)

    assert refusal(match, ask.Start, GUEST, force=False) == "not everybody is ready"
    assert do(match, ask.Start, GUEST, force=True).in_progress
    assert do(match, ask.Start, HOST, force=False).in_progress
    assert do(ready, ask.Start, GUEST, force=False).in_progress


def test_a_start_timer_starts_the_play() -> None:
    match = do(do(a_room(), ask.StartAfter, seconds=5), ask.StartAfter, seconds=10)
    [timer] = match.timers

    match = do(match, ask.TimerRang, SERVER, timer_id=timer.id, at_ms=NOW + 10_000)

    assert timer.rings_at_ms == NOW + 10_000
    assert (match.in_progress, timer_of(match, START)) == (True, None)


def test_a_start_timer_that_finds_nobody_ready_to_play_says_so() -> None:
    match = do(do(a_room(), ask.StartAfter, seconds=5), ask.NoMap)
    [timer] = match.timers

    facts = run(match, ask.TimerRang, SERVER, timer_id=timer.id, at_ms=NOW + 5000)

    assert facts[1:] == (fact.CouldNotStart("nobody here has the map"),)


def test_timers_are_bounded_and_cancelled() -> None:
    match = do(do(a_room(), ask.StartAfter, seconds=300), ask.StartTimer, seconds=900)

    assert [timer.kind for timer in match.timers] == [START, COUNTDOWN]
    assert do(match, ask.CancelTimers).timers == ()
    assert [timer.kind for timer in do(match, ask.CancelTimers, kinds=(START,)).timers] == [COUNTDOWN]
    assert refusal(a_room(), ask.CancelTimers) == "no timer runs"
    assert refusal(match, ask.StartAfter, seconds=301)
    assert refusal(match, ask.StartTimer, seconds=901)


def test_a_closed_room_puts_everybody_out() -> None:
    match = do(do(a_play(GUEST), ask.BeginScrim, best_of=3), ask.StartTimer, seconds=30)

    facts = run(match, ask.Close)

    assert [type(one).__name__ for one in facts] == [
        "TimerCleared",
        "Aborted",
        "Left",
        "Left",
        "ScrimEnded",
        "TimerCleared",
        "Closed",
    ]
    assert facts[-1] == fact.Closed("referee")


# --- scrims and pools ------------------------------------------------------------------------------------------------


def scored(match: Match, *values: tuple[Actor, int, float], at_ms: int = NOW) -> dict[str, Any]:
    results = tuple(Result(who.user_id, who.name, team, value) for who, team, value in values)
    return {"started_at_ms": at_ms, "results": results}


def test_the_better_team_gets_the_point() -> None:
    match = do(a_room(GUEST, THIRD, team_type=2), ask.BeginScrim, best_of=3)

    facts = run(match, ask.RoundScored, SERVER, **scored(match, (HOST, RED, 5), (GUEST, BLUE, 8), (THIRD, RED, 4)))

    assert facts == (fact.PointWon(RED, "Red", 1, ((RED, 9), (BLUE, 8)), NOW),)


def test_the_better_player_gets_the_point_without_teams() -> None:
    match = do(a_room(GUEST), ask.BeginScrim, best_of=3)

    facts = run(match, ask.RoundScored, SERVER, **scored(match, (HOST, 0, 5), (GUEST, 0, 8)))

    assert facts == (fact.PointWon(4, "Gus", 1, ((4, 8), (3, 5)), NOW),)


@pytest.mark.parametrize("value", [8, 0])
def test_a_tie_gives_no_point(value: int) -> None:
    match = do(a_room(GUEST), ask.BeginScrim, best_of=3)

    facts = run(match, ask.RoundScored, SERVER, **scored(match, (HOST, 0, value), (GUEST, 0, value)))

    assert facts == (fact.RoundTied(((3, value), (4, value)), NOW),)


def test_a_scrim_ends_with_the_winning_point() -> None:
    match = do(do(a_room(GUEST), ask.LoadPool, pool_id=1, name="finals"), ask.BeginScrim, best_of=3)
    match = do(match, ask.BanPick, pick="HD2")
    match = do(match, ask.RoundScored, SERVER, **scored(match, (GUEST, 0, 8)))

    facts = run(match, ask.RoundScored, SERVER, **scored(match, (GUEST, 0, 8), at_ms=NOW + 1))
    after = do(match, ask.RoundScored, SERVER, **scored(match, (GUEST, 0, 8), at_ms=NOW + 1))

    assert facts[1:] == (fact.ScrimWon(4, "Gus", ((4, 2),)), fact.ScrimEnded(3, ((4, 2),)))
    assert (after.scrimming, after.scrim, after.banned_picks, after.pool_id) == (False, None, (), 1)


def test_a_play_counts_once_and_only_if_the_scrim_ran() -> None:
    match = do(a_room(GUEST), ask.BeginScrim, best_of=5)
    after = do(match, ask.RoundScored, SERVER, **scored(match, (GUEST, 0, 8)))

    assert refusal(after, ask.RoundScored, SERVER, **scored(match, (GUEST, 0, 8))) == "that play does not count"
    assert refusal(match, ask.RoundScored, SERVER, **scored(match, (GUEST, 0, 8), at_ms=NOW - 1))
    assert refusal(a_room(), ask.RoundScored, SERVER, **scored(match)) == "no scrim runs"


@pytest.mark.parametrize("best_of", [0, 2, 17, -1])
def test_a_scrim_is_the_best_of_an_odd_number(best_of: int) -> None:
    assert refusal(a_room(), ask.BeginScrim, best_of=best_of)


def test_a_rematch_takes_back_a_point_or_starts_again() -> None:
    match = do(a_room(GUEST), ask.BeginScrim, best_of=5)
    match = do(match, ask.RoundScored, SERVER, **scored(match, (GUEST, 0, 8)))

    taken = do(match, ask.Rematch)
    again = do(do(match, ask.EndScrim), ask.Rematch)

    assert run(match, ask.Rematch) == (fact.PointTaken(4, "Gus", 0),)
    assert taken.scrim is not None
    assert taken.scrim.points == ()
    assert refusal(taken, ask.Rematch) == "there is no point to take back"
    assert again.scrim is not None
    assert (again.scrim.best_of, again.scrim.points) == (5, ())
    assert refusal(a_room(), ask.Rematch) == "there was no scrim"


def test_a_referee_corrects_points_up_to_a_win() -> None:
    match = do(a_room(GUEST, team_type=2), ask.BeginScrim, best_of=3)

    set_once = do(match, ask.SetPoints, points=((RED, 1), (BLUE, 1)))

    assert set_once.scrim is not None
    assert set_once.scrim.points == ((BLUE, 1), (RED, 1))
    assert not do(set_once, ask.SetPoints, points=((RED, 2),)).scrimming
    assert refusal(match, ask.SetPoints, points=((RED, 2), (BLUE, 2))) == "only one side can win"
    assert refusal(match, ask.SetPoints, points=((RED, 3),))
    assert refusal(match, ask.SetPoints, points=((4, 1),)) == "no such side plays"


@pytest.mark.parametrize(
    ("name", "teams"),
    [
        ("OWC: (Japan) vs (Korea)", ("Japan", "Korea")),
        ("OWC 5: (Team A) VS. (Team-B!)", ("Team A", "Team-B!")),
        ("a room", ("Blue", "Red")),
    ],
)
def test_teams_are_called_as_the_rooms_name_says(name: str, teams: tuple[str, str]) -> None:
    match = a_room(name=name, team_type=2)

    assert team_names(match) == teams
    assert (side_name(match, BLUE), side_name(match, RED)) == teams


def test_teams_change_during_a_scrim_only_by_command_and_reset_it() -> None:
    match = do(a_room(GUEST, team_type=2), ask.BeginScrim, best_of=3)
    match = do(match, ask.SetPoints, points=((RED, 1),))

    kept = run(match, ask.ChangeSettings, **settings(match, team_type=0, name="b"))
    reset = do(match, ask.SetTeamType, team_type=0, at_ms=NOW + 5)

    assert kept == (fact.TeamTypeKept(0), fact.NameChanged("b"))
    assert reset.scrim is not None
    assert (reset.team_type, reset.scrim.points, reset.scrim.began_at_ms) == (0, (), NOW + 5)


def test_pp_counts_only_in_a_scrim_and_until_another_win_condition() -> None:
    match = do(a_room(), ask.BeginScrim, best_of=3)

    by_pp = do(match, ask.SetWinCondition, win_condition=PP)
    again = do(by_pp, ask.SetWinCondition, win_condition=0)
    settled = do(by_pp, ask.ChangeSettings, **settings(by_pp, win_condition=3))

    assert refusal(a_room(), ask.SetWinCondition, win_condition=PP) == "pp counts only during a scrim"
    assert [one.scrim.by_pp for one in (by_pp, again, settled) if one.scrim] == [True, False, False]


def a_pick(name: str, **changed: Any) -> dict[str, Any]:
    return {"pick": name, "map_id": 9, "map_md5": OTHER_MD5, "map_name": "P", "mode": 0, "mods": HD} | changed


def test_a_pick_sets_map_and_mods() -> None:
    match = do(a_room(GUEST), ask.LoadPool, pool_id=1, name="finals")

    picked = do(match, ask.Pick, **a_pick("hd2"))
    free = do(match, ask.Pick, **a_pick("FM1", mods=0, free_mods=True))

    assert (picked.map_id, picked.mods, picked.free_mods, picked.used_picks) == (9, HD, False, ("HD2",))
    assert free.free_mods


def test_what_is_banned_or_was_picked_is_not_picked() -> None:
    match = do(a_room(), ask.LoadPool, pool_id=1, name="finals")
    banned, used = do(match, ask.BanPick, pick="HD2"), do(match, ask.Pick, **a_pick("HD2"))

    assert refusal(banned, ask.Pick, **a_pick("HD2", force=True)) == "that pick is banned"
    assert do(do(banned, ask.UnbanPick, pick="HD2"), ask.Pick, **a_pick("HD2")).map_id == 9
    assert refusal(used, ask.Pick, **a_pick("HD2")) == "that was picked already"
    assert do(used, ask.Pick, **a_pick("HD2", force=True)).map_id == 9


@pytest.mark.parametrize("pick", ["", "HD", "H1", "2", "HDD1", "HD1234", "HD2 ", "\u00df\u00df1"])
def test_a_pick_is_mods_and_a_number(pick: str) -> None:
    match = do(a_room(), ask.LoadPool, pool_id=1, name="finals")

    assert refusal(match, ask.BanPick, pick=pick).startswith("pick must be")


def test_nothing_is_picked_without_a_pool() -> None:
    match = do(do(a_room(), ask.LoadPool, pool_id=1, name="finals"), ask.UnloadPool)

    assert match.pool_id == 0
    assert refusal(match, ask.Pick, **a_pick("HD2")) == "no pool is loaded"


# --- what the lobby hears --------------------------------------------------------------------------------------------


def test_the_lobby_is_shown_what_the_table_says() -> None:
    kinds = Fact.__subclasses__()

    room_only = {kind.__name__ for kind in kinds if kind.in_room and not kind.in_lobby}

    assert room_only == {"StatusChanged", "TeamChanged", "Unreadied"}
    assert {kind for kind in kinds if kind.in_lobby} <= {kind for kind in kinds if kind.in_room}
    assert fact.reaches_lobby(fact.NameChanged("b"))
    assert not fact.reaches_room(fact.PlayerLoaded(3, 0))


def test_the_database_ids_become_known() -> None:
    match = do(a_play(), ask.Recorded, SERVER, history_id=5)

    match = do(match, ask.Recorded, SERVER, game_id=6)

    assert (match.history_id, match.game_id) == (5, 6)
    assert len(match.slots) == SLOTS

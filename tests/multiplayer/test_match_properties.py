"""What holds for a match whatever anybody asks of it, in any order.

Hypothesis chooses what happens next and cuts a failure down to the few steps that matter. It stays near what it has
tried, so long evenings with fair dice go where it seldom does.
"""

from collections.abc import Callable
from random import Random
from typing import TypeVar

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kiai.errors import Refused
from kiai.multiplayer import choices, plays, scrims, seats
from kiai.multiplayer import commands as ask
from kiai.multiplayer.commands import SERVER, Actor, Command, Result, Right
from kiai.multiplayer.facts import Closed, Fact, Started, folded
from kiai.multiplayer.match import (
    BLUE,
    COMPLETE,
    COUNTDOWN,
    FACTS_MAX,
    FINISH,
    HAS_PLAYER,
    IDLE,
    LOAD,
    NEUTRAL,
    PLAYING,
    PP,
    RED,
    RULES,
    SLOTS,
    START,
    Match,
    apply,
    has_teams,
    is_host,
    is_referee,
    opened,
    players,
    playing,
    seat_of,
    timer_of,
)
from kiai.osu.mods import SPEED

T = TypeVar("T")
Dice = st.randoms(use_true_random=True)
Fields = dict[str, Callable[[Random], object]]

EVENINGS, EVENING_STEPS = 6, 6000
MATCH_BYTES_MAX = 16 * 1024
PEOPLE = [Actor(user_id, f"player {user_id}") for user_id in range(1, 20)]
STAFF = [Actor(30, "manager", referee_any=True), Actor(31, "moderator", staff=True)]
CREATOR = PEOPLE[0]
MD5S = ("a" * 32, "b" * 32)


def one_of(*values: T) -> Callable[[Random], T]:
    return lambda dice: dice.choice(values)


def number(least: int, most: int) -> Callable[[Random], int]:
    return lambda dice: dice.randint(least, most)


def results(dice: Random) -> tuple[Result, ...]:
    values = (0.0, 1.0, 2.5, -1.0, float("nan"), float("inf"), 1e300)
    return tuple(
        Result(dice.randint(0, 20), "r", dice.randint(0, 2), dice.choice(values)) for _ in range(dice.randint(0, 17))
    )


# What anybody may send. Fields of the same name mean the same in every command, so a new command is asked here too.
WILD: Fields = {
    "best_of": one_of(0, 1, 2, 3, 5, 15, 17),
    "force": one_of(True, False),
    "free_mods": one_of(True, False),
    "game_id": one_of(None, 0, 9),
    "history_id": one_of(None, 0, 9),
    "kinds": one_of((START, COUNTDOWN), (START,), (LOAD, "x"), ()),
    "map_id": one_of(-1, 0, 75, 76, 2**31),
    "map_md5": one_of(*MD5S, "c", ""),
    "map_name": one_of("", "A - T [V]", "x" * 300),
    "mode": number(-1, 5),
    "mods": one_of(0, 8, 64, 72, 576, 16, 128, 2**29, 2**31 - 1, 2**31, -1),
    "name": one_of("", "a room", "OWC: (A) vs (B)", "x" * 70, "x\x00\n", "\u202e"),
    "on": one_of(True, False),
    "password": one_of("", "a", "a b//private", "a_b"),
    "pick": one_of("HD1", "hd1", "NM2", "TB", ""),
    "points": lambda dice: tuple((dice.randint(0, 20), dice.randint(-1, 9)) for _ in range(dice.randint(0, 3))),
    "pool_id": number(0, 3),
    "results": results,
    "seconds": number(-1, 1000),
    "seed": one_of(-(2**31), 0, 5, 2**31),
    "size": number(-1, SLOTS + 1),
    "slot": one_of(*range(SLOTS), -1, SLOTS, 255, 2**31 - 1),
    "started_at_ms": number(0, 10**6),
    "target_staff": one_of(True, False),
    "team": number(-1, 3),
    "team_type": number(-1, 4),
    "timer_id": number(0, 20),
    "user_id": number(-1, 20),
    "win_condition": number(-1, 5),
}

# What somebody means who knows what is going on.
SANE: Fields = {
    "best_of": one_of(3, 5),
    "kinds": one_of((START, COUNTDOWN)),
    "map_id": one_of(75, 76, 75, -1),
    "map_md5": one_of(*MD5S),
    "mode": number(0, 3),
    "mods": one_of(0, 8, 64, 72, 576, 16, 128),
    "name": one_of("a room", "OWC: (A) vs (B)"),
    "password": one_of("", "", "a b"),
    "pick": one_of("HD1", "NM2"),
    "pool_id": one_of(1),
    "seconds": number(1, 60),
    "seed": number(0, 3),
    "size": number(6, SLOTS),
    "slot": number(0, 7),
    "target_staff": one_of(False),
    "team": number(BLUE, RED),
    "team_type": number(0, 3),
    "win_condition": number(0, 3),
}


def fields_of(kind: type[Command]) -> list[str]:
    return [name for name in kind.__struct_fields__ if name not in ("by", "at_ms")]


class Room:
    """A room, a crowd, and what has to hold after every command of anybody."""

    def __init__(self, dice: Random, *, by_command: bool, guests: int) -> None:
        self.now = 0
        self.match = self.first = opened(
            by=CREATOR,
            at_ms=0,
            name="a room",
            map_id=75,
            map_md5=MD5S[0],
            map_name="A - T [V]",
            mods=dice.choice((0, 72)),
            by_command=by_command,
            seated=dice.random() < 0.5,
            free_mods=dice.random() < 0.5,
            team_type=dice.randint(0, 3),
            locked=dice.sample(range(-1, SLOTS + 1), 3),
        )
        self.facts: list[Fact] = []
        for guest in PEOPLE[1 : guests + 1]:
            self.say(ask.Join(by=guest, at_ms=0))

    def anybody_asks_for_anything(self, dice: Random) -> None:
        kind, by = dice.choice(list(RULES)), dice.choice([*PEOPLE, *STAFF, SERVER])
        self.say(kind(by=by, at_ms=self.now, **{name: WILD[name](dice) for name in fields_of(kind)}))

    def what_is_played_changes(self, dice: Random) -> None:
        self.say_sanely(dice, dice.choice(list(choices.RULES)))

    def who_sits_and_leads_changes(self, dice: Random) -> None:
        self.say_sanely(dice, dice.choice([kind for kind in seats.RULES if kind not in (ask.Leave, ask.Close)]))

    def a_play_goes_on(self, dice: Random) -> None:
        self.say_sanely(dice, dice.choice(list(plays.RULES)))

    def a_scrim_goes_on(self, dice: Random) -> None:
        kinds: list[type[Command]] = [*scrims.RULES, ask.SetWinCondition, ask.ChangeSettings]
        self.say_sanely(dice, dice.choice(kinds))

    def somebody_comes(self, dice: Random) -> None:
        self.say(ask.Join(by=dice.choice(PEOPLE), at_ms=self.now, force=True))

    def somebody_goes(self, dice: Random) -> None:
        if len(players(self.match)) > 1 or dice.random() < 0.1:
            self.say(ask.Leave(by=self.a_player(dice), at_ms=self.now))

    def a_play_starts(self, dice: Random) -> None:
        if self.match.map_id < 0:
            self.say(ask.SetMap(by=CREATOR, at_ms=self.now, map_id=75, map_md5=MD5S[0], map_name="A", mode=0))
        self.say(ask.Start(by=CREATOR, at_ms=self.now))

    def everybody_has_loaded(self, dice: Random) -> None:
        for user_id in playing(self.match):
            self.say(ask.LoadComplete(by=Actor(user_id, "loaded"), at_ms=self.now))

    def everybody_completes(self, dice: Random) -> None:
        for user_id in playing(self.match):
            self.say(ask.Complete(by=Actor(user_id, "done"), at_ms=self.now))

    def the_host_changes_settings(self, dice: Random) -> None:
        self.everybody_completes(dice)
        self.say_sanely(dice, ask.ChangeSettings)

    def somebody_is_ready_or_not(self, dice: Random) -> None:
        self.say_sanely(dice, dice.choice([ask.Ready, ask.NotReady, ask.NoMap, ask.HasMap, ask.ChangeTeam]))

    def a_round_is_scored(self, dice: Random) -> None:
        self.now += 1
        self.a_play_starts(dice)
        self.say_sanely(dice, ask.RoundScored)

    def time_passes(self, dice: Random) -> None:
        self.now += dice.randint(0, 40_000)
        for timer in self.match.timers:
            if timer.rings_at_ms <= self.now and timer.kind != IDLE:
                self.say(ask.TimerRang(by=SERVER, at_ms=self.now, timer_id=timer.id))

    def say_sanely(self, dice: Random, kind: type[Command]) -> None:
        """Something that makes sense, from somebody with the right to it."""
        match = self.match
        here = players(match) or (CREATOR.user_id,)
        sides = (BLUE, RED) if has_teams(match) else here
        fields = WILD | SANE
        fields["user_id"] = one_of(*here, *match.banned, *(user_id for user_id, _ in match.referees), 20)
        fields["points"] = lambda dice: tuple((side, dice.randint(0, 2)) for side in dice.sample(sides, 1))
        fields["results"] = lambda dice: tuple(
            Result(user_id, "r", dice.randint(BLUE, RED), dice.choice((0.0, 1.0, 2.0))) for user_id in here
        )
        fields["started_at_ms"] = one_of(match.started_at_ms)
        if kind is ask.ChangeSettings:
            for name in dice.sample(fields_of(kind), len(fields_of(kind)) - dice.randint(0, 2)):
                fields[name] = one_of(getattr(match, name))
        if kind is ask.SetWinCondition and match.scrimming:
            fields["win_condition"] = one_of(PP, 0)
        values = {name: fields[name](dice) for name in fields_of(kind)}
        self.say(kind(by=self.with_right(dice, kind.right), at_ms=self.now, **values))

    def with_right(self, dice: Random, right: Right) -> Actor:
        match right:
            case Right.ANYBODY:
                return dice.choice(PEOPLE)
            case Right.SEATED:
                return self.a_player(dice)
            case Right.HOST:
                return Actor(self.match.host_id, self.match.host_name)
            case Right.LEADER | Right.REFEREE | Right.CREATOR:
                return CREATOR
            case Right.SERVER:
                return SERVER

    def a_player(self, dice: Random) -> Actor:
        user_id = dice.choice(players(self.match) or (CREATOR.user_id,))
        return Actor(user_id, str(user_id))

    def say(self, command: Command) -> None:
        """The command, and what holds for the step that it makes."""
        before = self.match
        kept = msgspec.msgpack.encode(before)
        try:
            after, facts = apply(before, command)
        except Refused as refused:
            reason = refused.reason
            with pytest.raises(Refused) as again:
                apply(before, command)
            assert str(again.value) == reason
            assert msgspec.msgpack.encode(before) == kept
            return
        assert msgspec.msgpack.encode(before) == kept
        assert apply(before, command) == (after, facts)
        assert folded(before, *facts) == after
        assert len(facts) <= FACTS_MAX
        assert after == before or facts
        self.check_step(before, after, command, facts)
        self.match = after
        self.facts.extend(facts)
        if after.closed:
            assert type(facts[-1]) is Closed
            self.check_history()
            self.first = self.match = opened(by=CREATOR, at_ms=self.now, name="another")
            self.facts = []

    def check_step(self, before: Match, after: Match, command: Command, facts: tuple[Fact, ...]) -> None:
        if not (is_host(before, command.by) or is_referee(before, command.by)) and type(command) is not ask.Leave:
            assert _settings(after) == _settings(before)
        if before.in_progress and after.in_progress:
            assert _settings(after)[1:] == _settings(before)[1:]
            assert not any(type(one) is Started for one in facts)
        if type(command) is ask.Leave:
            assert seat_of(after, command.by.user_id) is None
        if after.closed:
            assert not players(after)
            assert after.timers == ()

    def check_history(self) -> None:
        assert folded(self.first, *self.facts) == self.match

    def everybody_goes(self) -> None:
        """After everybody has gone the room is closed, at the latest when it was idle long enough."""
        self.check_history()
        match = self.match
        for user_id in players(match):
            match, _ = apply(match, ask.Leave(by=Actor(user_id, "gone"), at_ms=self.now))
        if match.by_command:
            timer = timer_of(match, IDLE)
            assert timer is not None
            match, _ = apply(match, ask.TimerRang(by=SERVER, at_ms=timer.rings_at_ms, timer_id=timer.id))
        assert match.closed


def a_player_sits_in_one_slot_and_an_empty_slot_holds_nobody(match: Match) -> None:
    seated = players(match)
    assert len(seated) == len(set(seated))
    assert len(match.slots) == SLOTS
    for slot in match.slots:
        assert slot.status.bit_count() == 1
        assert bool(slot.player_id) == bool(slot.player_name) == bool(slot.status & HAS_PLAYER)


def somebody_leads(match: Match) -> None:
    assert match.created_by in dict(match.referees)
    if match.host_id:
        assert match.host_id in players(match)
    else:
        assert match.by_command or not dict(match.referees).keys().isdisjoint(players(match))
    assert match.by_command or players(match)


def a_play_runs_as_long_as_somebody_plays(match: Match) -> None:
    # A referee may start an empty room: that play ends when the time for loading is over.
    waits = bool(playing(match)) or timer_of(match, LOAD) is not None
    assert match.in_progress == waits
    if not match.in_progress:
        assert not any(slot.loaded or slot.skipped or slot.failed for slot in match.slots)
        assert not match.all_loaded
        assert not match.all_skipped
        assert timer_of(match, LOAD) is None
        assert timer_of(match, FINISH) is None


def nobody_waits_for_a_player_who_left(match: Match) -> None:
    if playing(match) and not match.all_loaded:
        waiting = [slot for slot in match.slots if slot.status == PLAYING and not slot.loaded]
        assert waiting
        # Either they are given up on at some time, or nobody is waiting for them.
        assert timer_of(match, LOAD) or not any(slot.loaded for slot in match.slots if slot.status == PLAYING)
    if match.in_progress and any(slot.status == COMPLETE for slot in match.slots):
        assert timer_of(match, FINISH)


def teams_are_set_exactly_in_team_modes(match: Match) -> None:
    for slot in match.slots:
        assert (slot.team != NEUTRAL) == (has_teams(match) and slot.occupied)


def own_mods_need_free_mods_and_never_change_speed(match: Match) -> None:
    for slot in match.slots:
        assert not slot.mods or (match.free_mods and slot.occupied)
        assert not slot.mods & SPEED
    assert not match.free_mods or not match.mods & ~SPEED
    assert not (match.free_mods and match.team_type in (1, 3))


def the_map_is_whole_or_being_chosen(match: Match) -> None:
    assert match.map_id > 0 or not match.map_md5
    assert match.map_id > 0 or (match.map_id, match.map_name) == (-1, "")
    assert not (match.map_id > 0 and match.previous)


def a_scrim_is_not_won_while_it_runs(match: Match) -> None:
    scrim = match.scrim
    assert (scrim is not None) == match.scrimming
    assert scrim is None or all(0 < points < scrim.needed for _, points in scrim.points)


def one_timer_of_a_kind_runs_and_an_empty_room_has_its_end_set(match: Match) -> None:
    kinds = [timer.kind for timer in match.timers]
    assert len(kinds) == len(set(kinds))
    assert all(0 < timer.id < match.next_timer_id for timer in match.timers)
    assert (IDLE in kinds) == (not players(match))


def it_is_small_and_comes_back_as_it_was_kept(match: Match) -> None:
    kept = msgspec.msgpack.encode(match)
    assert len(kept) <= MATCH_BYTES_MAX
    assert msgspec.msgpack.decode(kept, type=Match) == match


def _settings(match: Match) -> tuple[object, ...]:
    """What only a host or a referee changes; first what may change during a play."""
    return (
        (match.name, match.password),
        match.mods,
        match.mode,
        match.map_id,
        match.map_md5,
        match.team_type,
        match.win_condition,
        match.free_mods,
        match.seed,
    )


HAPPENINGS = (
    Room.anybody_asks_for_anything,
    Room.what_is_played_changes,
    Room.who_sits_and_leads_changes,
    Room.a_play_goes_on,
    Room.a_scrim_goes_on,
    Room.somebody_comes,
    Room.somebody_goes,
    Room.a_play_starts,
    Room.everybody_has_loaded,
    Room.everybody_completes,
    Room.the_host_changes_settings,
    Room.somebody_is_ready_or_not,
    Room.a_round_is_scored,
    Room.time_passes,
)
LAWS = (
    a_player_sits_in_one_slot_and_an_empty_slot_holds_nobody,
    somebody_leads,
    a_play_runs_as_long_as_somebody_plays,
    nobody_waits_for_a_player_who_left,
    teams_are_set_exactly_in_team_modes,
    own_mods_need_free_mods_and_never_change_speed,
    the_map_is_whole_or_being_chosen,
    a_scrim_is_not_won_while_it_runs,
    one_timer_of_a_kind_runs_and_an_empty_room_has_its_end_set,
    it_is_small_and_comes_back_as_it_was_kept,
)


class Evening(RuleBasedStateMachine):
    """An evening as Hypothesis likes it."""

    room: Room | None = None

    @initialize(dice=Dice, by_command=st.booleans(), guests=st.integers(0, 5))
    def opens(self, dice: Random, by_command: bool, guests: int) -> None:
        self.room = Room(dice, by_command=by_command, guests=guests)

    @rule(happens=st.sampled_from(HAPPENINGS), dice=Dice)
    def happens(self, happens: Callable[[Room, Random], None], dice: Random) -> None:
        assert self.room is not None
        happens(self.room, dice)

    @invariant()
    def holds(self) -> None:
        if self.room is not None:
            for law in LAWS:
                law(self.room.match)
            self.room.check_history()

    def teardown(self) -> None:
        if self.room is not None:
            self.room.everybody_goes()


Evening.TestCase.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
TestEvening = Evening.TestCase


@pytest.mark.parametrize("seed", range(EVENINGS))
def test_what_holds_holds_all_evening(seed: int) -> None:
    dice = Random(seed)
    room = Room(dice, by_command=seed % 3 == 0, guests=4)

    for _ in range(EVENING_STEPS):
        dice.choice(HAPPENINGS)(room, dice)
        for law in LAWS:
            law(room.match)
    room.everybody_goes()

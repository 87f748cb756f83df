"""Invariants of a match under random commands.

Hypothesis chooses the steps and reduces a failure to the few steps that cause it. It stays near sequences that it has
tried, so the last test runs long sequences with plain random numbers, which reach other states.
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
from kiai.multiplayer import commands, plays, room_settings, scrims, seats
from kiai.multiplayer.commands import SERVER, Issuer, MatchCommand, Right, RoundResult
from kiai.multiplayer.events import Closed, Event, Started, apply_events
from kiai.multiplayer.match import (
    BLUE,
    COMPLETE,
    COUNTDOWN,
    EVENTS_PER_COMMAND_MAX,
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
    new_match,
    players,
    playing,
    seat_of,
    timer_of,
)
from kiai.osu.mods import SPEED

T = TypeVar("T")
Randoms = st.randoms(use_true_random=True)
Fields = dict[str, Callable[[Random], object]]

LONG_RUNS, LONG_RUN_STEPS = 6, 6000
MATCH_BYTES_MAX = 16 * 1024
PLAYERS = [Issuer(user_id, f"player {user_id}") for user_id in range(1, 20)]
STAFF = [Issuer(30, "manager", referee_any=True), Issuer(31, "moderator", staff=True)]
CREATOR = PLAYERS[0]
MD5S = ("a" * 32, "b" * 32)


def choice_of(*values: T) -> Callable[[Random], T]:
    return lambda random: random.choice(values)


def number(least: int, most: int) -> Callable[[Random], int]:
    return lambda random: random.randint(least, most)


def results(random: Random) -> tuple[RoundResult, ...]:
    values = (0.0, 1.0, 2.5, -1.0, float("nan"), float("inf"), 1e300)
    return tuple(
        RoundResult(random.randint(0, 20), "r", random.randint(0, 2), random.choice(values))
        for _ in range(random.randint(0, 17))
    )


# Valid and invalid values of the fields. Fields of the same name have the same meaning in every command, so a new
# command needs no entry of its own.
WILD: Fields = {
    "best_of": choice_of(0, 1, 2, 3, 5, 15, 17),
    "force": choice_of(True, False),
    "free_mods": choice_of(True, False),
    "game_id": choice_of(None, 0, 9),
    "history_id": choice_of(None, 0, 9),
    "kinds": choice_of((START, COUNTDOWN), (START,), (LOAD, "x"), ()),
    "map_id": choice_of(-1, 0, 75, 76, 2**31),
    "map_md5": choice_of(*MD5S, "c", ""),
    "map_name": choice_of("", "A - T [V]", "x" * 300),
    "missing": choice_of((), ("r",)),
    "mode": number(-1, 5),
    "mods": choice_of(0, 8, 64, 72, 576, 16, 128, 2**29, 2**31 - 1, 2**31, -1),
    "name": choice_of("", "a match", "OWC: (A) vs (B)", "x" * 70, "x\x00\n", "\u202e"),
    "on": choice_of(True, False),
    "password": choice_of("", "a", "a b//private", "a_b"),
    "pick": choice_of("HD1", "hd1", "NM2", "TB", ""),
    "points": lambda random: tuple((random.randint(0, 20), random.randint(-1, 9)) for _ in range(random.randint(0, 3))),
    "pool_id": number(0, 3),
    "results": results,
    "seconds": number(-1, 1000),
    "seed": choice_of(-(2**31), 0, 5, 2**31),
    "size": number(-1, SLOTS + 1),
    "slot": choice_of(*range(SLOTS), -1, SLOTS, 255, 2**31 - 1),
    "started_at_ms": number(0, 10**6),
    "target_staff": choice_of(True, False),
    "team": number(-1, 3),
    "team_type": number(-1, 4),
    "timer_id": number(0, 20),
    "user_id": number(-1, 20),
    "win_condition": number(-1, 5),
}

# Values that make sense most of the time. With WILD values most commands are refused.
SENSIBLE: Fields = {
    "best_of": choice_of(3, 5),
    "kinds": choice_of((START, COUNTDOWN)),
    "map_id": choice_of(75, 76, 75, -1),
    "map_md5": choice_of(*MD5S),
    "mode": number(0, 3),
    "mods": choice_of(0, 8, 64, 72, 576, 16, 128),
    "name": choice_of("a match", "OWC: (A) vs (B)"),
    "password": choice_of("", "", "a b"),
    "pick": choice_of("HD1", "NM2"),
    "pool_id": choice_of(1),
    "seconds": number(1, 60),
    "seed": number(0, 3),
    "size": number(6, SLOTS),
    "slot": number(0, 7),
    "target_staff": choice_of(False),
    "team": number(BLUE, RED),
    "team_type": number(0, 3),
    "win_condition": number(0, 3),
}


def fields_of(kind: type[MatchCommand]) -> list[str]:
    return [name for name in kind.__struct_fields__ if name not in ("by", "at_ms")]


class RandomMatch:
    """A match, random commands for it, and checks of each step."""

    def __init__(self, random: Random, *, by_command: bool, guests: int) -> None:
        self.now = 0
        self.match = self.first = new_match(
            by=CREATOR,
            at_ms=0,
            name="a match",
            map_id=75,
            map_md5=MD5S[0],
            map_name="A - T [V]",
            mods=random.choice((0, 72)),
            by_command=by_command,
            seated=random.random() < 0.5,
            free_mods=random.random() < 0.5,
            team_type=random.randint(0, 3),
            locked=random.sample(range(-1, SLOTS + 1), 3),
        )
        self.events: list[Event] = []
        for guest in PLAYERS[1 : guests + 1]:
            self.send(commands.Join(by=guest, at_ms=0))

    def send_any_command(self, random: Random) -> None:
        kind, by = random.choice(list(RULES)), random.choice([*PLAYERS, *STAFF, SERVER])
        self.send(kind(by=by, at_ms=self.now, **{name: WILD[name](random) for name in fields_of(kind)}))

    def change_settings(self, random: Random) -> None:
        self.send_sensible(random, random.choice(list(room_settings.RULES)))

    def change_seats(self, random: Random) -> None:
        self.send_sensible(
            random, random.choice([kind for kind in seats.RULES if kind not in (commands.Leave, commands.Close)])
        )

    def send_play_command(self, random: Random) -> None:
        self.send_sensible(random, random.choice(list(plays.RULES)))

    def send_scrim_command(self, random: Random) -> None:
        kinds: list[type[MatchCommand]] = [*scrims.RULES, commands.SetWinCondition, commands.ChangeSettings]
        self.send_sensible(random, random.choice(kinds))

    def join(self, random: Random) -> None:
        self.send(commands.Join(by=random.choice(PLAYERS), at_ms=self.now, force=True))

    def leave(self, random: Random) -> None:
        if len(players(self.match)) > 1 or random.random() < 0.1:
            self.send(commands.Leave(by=self.a_player(random), at_ms=self.now))

    def start_play(self, random: Random) -> None:
        if self.match.map_id < 0:
            self.send(commands.SetMap(by=CREATOR, at_ms=self.now, map_id=75, map_md5=MD5S[0], map_name="A", mode=0))
        self.send(commands.Start(by=CREATOR, at_ms=self.now))

    def load_all(self, random: Random) -> None:
        for user_id in playing(self.match):
            self.send(commands.LoadComplete(by=Issuer(user_id, "loaded"), at_ms=self.now))

    def complete_all(self, random: Random) -> None:
        for user_id in playing(self.match):
            self.send(commands.Complete(by=Issuer(user_id, "done"), at_ms=self.now))

    def change_settings_after_play(self, random: Random) -> None:
        self.complete_all(random)
        self.send_sensible(random, commands.ChangeSettings)

    def change_status(self, random: Random) -> None:
        self.send_sensible(
            random,
            random.choice([commands.Ready, commands.NotReady, commands.NoMap, commands.HasMap, commands.ChangeTeam]),
        )

    def score_round(self, random: Random) -> None:
        self.now += 1
        self.start_play(random)
        self.send_sensible(random, commands.RoundScored)

    def advance_time(self, random: Random) -> None:
        self.now += random.randint(0, 40_000)
        for timer in self.match.timers:
            if timer.rings_at_ms <= self.now and timer.kind != IDLE:
                self.send(commands.TimerRang(by=SERVER, at_ms=self.now, timer_id=timer.id))

    def send_sensible(self, random: Random, kind: type[MatchCommand]) -> None:
        """Send a command with sensible values, from an issuer who has the right."""
        match = self.match
        seated = players(match) or (CREATOR.user_id,)
        sides = (BLUE, RED) if has_teams(match) else seated
        fields = WILD | SENSIBLE
        fields["user_id"] = choice_of(*seated, *match.banned, *(user_id for user_id, _ in match.referees), 20)
        fields["points"] = lambda random: tuple((side, random.randint(0, 2)) for side in random.sample(sides, 1))
        fields["results"] = lambda random: tuple(
            RoundResult(user_id, "r", random.randint(BLUE, RED), random.choice((0.0, 1.0, 2.0))) for user_id in seated
        )
        fields["started_at_ms"] = choice_of(match.started_at_ms)
        if kind is commands.ChangeSettings:
            for name in random.sample(fields_of(kind), len(fields_of(kind)) - random.randint(0, 2)):
                fields[name] = choice_of(getattr(match, name))
        if kind is commands.SetWinCondition and match.scrimming:
            fields["win_condition"] = choice_of(PP, 0)
        values = {name: fields[name](random) for name in fields_of(kind)}
        self.send(kind(by=self.issuer_with(random, kind.right), at_ms=self.now, **values))

    def issuer_with(self, random: Random, right: Right) -> Issuer:
        match right:
            case Right.ANYBODY:
                return random.choice(PLAYERS)
            case Right.SEATED:
                return self.a_player(random)
            case Right.HOST:
                return Issuer(self.match.host_id, self.match.host_name)
            case Right.LEADER | Right.REFEREE | Right.CREATOR:
                return CREATOR
            case Right.SERVER:
                return SERVER

    def a_player(self, random: Random) -> Issuer:
        user_id = random.choice(players(self.match) or (CREATOR.user_id,))
        return Issuer(user_id, str(user_id))

    def send(self, command: MatchCommand) -> None:
        """Send a command, and check that it is refused without effect or makes a valid step."""
        before = self.match
        encoded = msgspec.msgpack.encode(before)
        try:
            after, events = apply(before, command)
        except Refused as refused:
            reason = refused.reason
            with pytest.raises(Refused) as again:
                apply(before, command)
            assert str(again.value) == reason
            assert msgspec.msgpack.encode(before) == encoded
            return
        assert msgspec.msgpack.encode(before) == encoded
        assert apply(before, command) == (after, events)
        assert apply_events(before, *events) == after
        assert len(events) <= EVENTS_PER_COMMAND_MAX
        assert after == before or events
        self.check_step(before, after, command, events)
        self.match = after
        self.events.extend(events)
        if after.closed:
            assert type(events[-1]) is Closed
            self.check_history()
            self.first = self.match = new_match(by=CREATOR, at_ms=self.now, name="another")
            self.events = []

    def check_step(self, before: Match, after: Match, command: MatchCommand, events: tuple[Event, ...]) -> None:
        if not (is_host(before, command.by) or is_referee(before, command.by)) and type(command) is not commands.Leave:
            assert _settings(after) == _settings(before)
        if before.in_progress and after.in_progress:
            assert _settings(after)[1:] == _settings(before)[1:]
            assert not any(type(one) is Started for one in events)
        if type(command) is commands.Leave:
            assert seat_of(after, command.by.user_id) is None
        if after.closed:
            assert not players(after)
            assert after.timers == ()

    def check_history(self) -> None:
        assert apply_events(self.first, *self.events) == self.match

    def check_match_closes(self) -> None:
        """Let all players leave, and check that the match closes, at the latest after its idle time."""
        self.check_history()
        match = self.match
        for user_id in players(match):
            match, _ = apply(match, commands.Leave(by=Issuer(user_id, "gone"), at_ms=self.now))
        if match.by_command:
            timer = timer_of(match, IDLE)
            assert timer is not None
            match, _ = apply(match, commands.TimerRang(by=SERVER, at_ms=timer.rings_at_ms, timer_id=timer.id))
        assert match.closed


def each_player_has_one_slot_and_empty_slots_have_none(match: Match) -> None:
    seated = players(match)
    assert len(seated) == len(set(seated))
    assert len(match.slots) == SLOTS
    for slot in match.slots:
        assert slot.status.bit_count() == 1
        assert bool(slot.player_id) == bool(slot.player_name) == bool(slot.status & HAS_PLAYER)


def match_has_host_or_seated_referee(match: Match) -> None:
    assert match.created_by in dict(match.referees)
    if match.host_id:
        assert match.host_id in players(match)
    else:
        assert match.by_command or not dict(match.referees).keys().isdisjoint(players(match))
    assert match.by_command or players(match)


def play_is_in_progress_while_a_player_plays(match: Match) -> None:
    # A referee may start an empty match. That play ends after the loading time.
    waits = bool(playing(match)) or timer_of(match, LOAD) is not None
    assert match.in_progress == waits
    if not match.in_progress:
        assert not any(slot.loaded or slot.skipped or slot.failed for slot in match.slots)
        assert not match.all_loaded
        assert not match.all_skipped
        assert timer_of(match, LOAD) is None
        assert timer_of(match, FINISH) is None


def waiting_players_have_a_timer(match: Match) -> None:
    if playing(match) and not match.all_loaded:
        waiting = [slot for slot in match.slots if slot.status == PLAYING and not slot.loaded]
        assert waiting
        # A timer ends the wait for them, or no player has loaded and waits.
        assert timer_of(match, LOAD) or not any(slot.loaded for slot in match.slots if slot.status == PLAYING)
    if match.in_progress and any(slot.status == COMPLETE for slot in match.slots):
        assert timer_of(match, FINISH)


def players_have_teams_in_team_modes_only(match: Match) -> None:
    for slot in match.slots:
        assert (slot.team != NEUTRAL) == (has_teams(match) and slot.occupied)


def own_mods_need_free_mods_and_exclude_speed(match: Match) -> None:
    for slot in match.slots:
        assert not slot.mods or (match.free_mods and slot.occupied)
        assert not slot.mods & SPEED
    assert not match.free_mods or not match.mods & ~SPEED
    assert not (match.free_mods and match.team_type in (1, 3))


def map_is_complete_or_being_chosen(match: Match) -> None:
    assert match.map_id > 0 or not match.map_md5
    assert match.map_id > 0 or (match.map_id, match.map_name) == (-1, "")
    assert not (match.map_id > 0 and match.previous)


def running_scrim_is_not_won(match: Match) -> None:
    scrim = match.scrim
    assert (scrim is not None) == match.scrimming
    assert scrim is None or all(0 < points < scrim.needed for _, points in scrim.points)


def timers_are_unique_and_empty_match_has_idle_timer(match: Match) -> None:
    kinds = [timer.kind for timer in match.timers]
    assert len(kinds) == len(set(kinds))
    assert all(0 < timer.id < match.next_timer_id for timer in match.timers)
    assert (IDLE in kinds) == (not players(match))


def encoded_match_is_small_and_decodes_to_itself(match: Match) -> None:
    encoded = msgspec.msgpack.encode(match)
    assert len(encoded) <= MATCH_BYTES_MAX
    assert msgspec.msgpack.decode(encoded, type=Match) == match


def _settings(match: Match) -> tuple[object, ...]:
    """Return the settings that only hosts and referees change. The first element may change during a play."""
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


STEPS = (
    RandomMatch.send_any_command,
    RandomMatch.change_settings,
    RandomMatch.change_seats,
    RandomMatch.send_play_command,
    RandomMatch.send_scrim_command,
    RandomMatch.join,
    RandomMatch.leave,
    RandomMatch.start_play,
    RandomMatch.load_all,
    RandomMatch.complete_all,
    RandomMatch.change_settings_after_play,
    RandomMatch.change_status,
    RandomMatch.score_round,
    RandomMatch.advance_time,
)
INVARIANTS = (
    each_player_has_one_slot_and_empty_slots_have_none,
    match_has_host_or_seated_referee,
    play_is_in_progress_while_a_player_plays,
    waiting_players_have_a_timer,
    players_have_teams_in_team_modes_only,
    own_mods_need_free_mods_and_exclude_speed,
    map_is_complete_or_being_chosen,
    running_scrim_is_not_won,
    timers_are_unique_and_empty_match_has_idle_timer,
    encoded_match_is_small_and_decodes_to_itself,
)


class MatchMachine(RuleBasedStateMachine):
    """Steps chosen by Hypothesis."""

    random_match: RandomMatch | None = None

    @initialize(random=Randoms, by_command=st.booleans(), guests=st.integers(0, 5))
    def create(self, random: Random, by_command: bool, guests: int) -> None:
        self.random_match = RandomMatch(random, by_command=by_command, guests=guests)

    @rule(step=st.sampled_from(STEPS), random=Randoms)
    def run_step(self, step: Callable[[RandomMatch, Random], None], random: Random) -> None:
        assert self.random_match is not None
        step(self.random_match, random)

    @invariant()
    def invariants_hold(self) -> None:
        if self.random_match is not None:
            for check_invariant in INVARIANTS:
                check_invariant(self.random_match.match)
            self.random_match.check_history()

    def teardown(self) -> None:
        if self.random_match is not None:
            self.random_match.check_match_closes()


MatchMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
TestMatchMachine = MatchMachine.TestCase


@pytest.mark.parametrize("seed", range(LONG_RUNS))
def test_invariants_hold_over_long_random_runs(seed: int) -> None:
    random = Random(seed)
    random_match = RandomMatch(random, by_command=seed % 3 == 0, guests=4)

    for _ in range(LONG_RUN_STEPS):
        random.choice(STEPS)(random_match, random)
        for check_invariant in INVARIANTS:
            check_invariant(random_match.match)
    random_match.check_match_closes()

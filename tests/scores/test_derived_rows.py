"""Derived rows match the scores after random plays, restrictions and changes of status."""

import asyncio
import contextlib
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import select
from tests import engines
from tests.builders import World, a_map, a_play, a_player

from kiai.accounts.visibility import is_public
from kiai.beatmaps import Beatmap, MapStatus
from kiai.errors import WrongState
from kiai.osu.mods import AP, DT, HD, NC, RX
from kiai.realtime.port import Rank
from kiai.scores.recording import TotalsOptions
from kiai.scores.rules import has_board
from kiai.staff import OPERATOR
from kiai.storage.tables import first_places, maps, month_plays, play_counts, scores, stats

STATUSES: Final = [s for s in MapStatus if s not in (MapStatus.NOT_SUBMITTED, MapStatus.UPDATE_AVAILABLE)]
MODES: Final = (0, 4, 8)
COUNTRIES: Final = ("nl", "de", "nl")
PLAYER: Final = st.integers(0, 2)
SONG: Final = st.integers(0, 1)
EXAMPLES: Final = 20
STEPS: Final = 10


class Row(msgspec.Struct, frozen=True):
    """The columns of a score that a board depends on."""

    id: int
    user_id: int
    map_key: int
    mode: int
    score: int
    pp: float
    passed: int
    hidden: int


def naive_board(rows: list[Row], visible: set[int], beatmap: Beatmap, mode: int) -> list[int]:
    """Return a board by its definition: the best passed score of each visible player, best first, then earliest."""

    def place(row: Row) -> tuple[float, int, int]:
        return (-row.pp if mode >= 4 else 0.0, -row.score, row.id)

    best: dict[int, Row] = {}
    for row in sorted(rows, key=place):
        if row.passed and not row.hidden and row.map_key == beatmap.key and row.mode == mode and row.user_id in visible:
            best.setdefault(row.user_id, row)
    measure = (lambda r: (-r.pp, r.id)) if mode >= 4 else (lambda r: (-r.score, r.id))
    return [row.id for row in sorted(best.values(), key=measure)]


class DerivedRows(RuleBasedStateMachine):
    """Three players, two maps, every status, and the modes whose boards differ."""

    options: ClassVar[TotalsOptions] = TotalsOptions(loved_counts=True)

    def __init__(self) -> None:
        super().__init__()
        self._open = ExitStack()
        folder = Path(self._open.enter_context(tempfile.TemporaryDirectory()))
        url = engines.sqlite_url(folder)
        runner = self._open.enter_context(asyncio.Runner())
        database = runner.run(engines.connect(url))
        self._open.callback(lambda: runner.run(database.close()))
        self.world = World(database, runner.run, folder, self.options)
        self.players = [self.world.add_player(a_player(f"player{n}", country=c)) for n, c in enumerate(COUNTRIES)]
        self.songs = [self.world.add_map(a_map(id=n, objects=10)).md5 for n in (1, 2)]
        for n, player in enumerate(self.players):
            self.world.record(a_play(by=player, on=self.world.map(self.songs[n % 2]), score=200, pp=10.0 * n))

    @rule(
        player=PLAYER,
        song=SONG,
        mods=st.sampled_from([0, HD, DT, DT | NC, RX, RX | HD, AP]),
        score=st.sampled_from([100, 200, 200_000]),
        pp=st.sampled_from([0.0, 10.0, 20.5, 300.125]),
        n100=st.integers(0, 5),
        passed=st.sampled_from([True, True, True, False]),
        combo=st.integers(1, 10),
    )
    def play(
        self, player: int, song: int, mods: int, score: int, pp: float, n100: int, passed: bool, combo: int
    ) -> None:
        beatmap = self.world.map(self.songs[song])
        self.world.record(
            a_play(
                by=self.players[player],
                on=beatmap,
                mods=mods,
                score=score,
                pp=pp,
                n100=n100,
                passed=passed,
                combo=combo,
                seconds=1.999,
            )
        )

    @rule(player=PLAYER)
    def restrict_or_lift(self, player: int) -> None:
        user = self.world.user(self.players[player])
        if is_public(user.priv):
            self.world.run(self.world.restrictions.restrict(OPERATOR, user.name, "because"))
        else:
            self.world.run(self.world.restrictions.unrestrict(OPERATOR, user.name))

    @rule(player=PLAYER, mode=st.sampled_from([None, 0, 4]))
    def wipe_or_restore(self, player: int, mode: int | None) -> None:
        """Lift the wipe of a player if there is one, else wipe the player if there are scores."""
        name = self.world.user(self.players[player]).name
        verbs = (self.world.wipes.restore_user, self.world.wipes.wipe_user)
        for verb in verbs:
            with contextlib.suppress(WrongState):
                self.world.run(verb(OPERATOR, name, "because", mode=mode))
                return

    @rule(song=SONG)
    def wipe_or_restore_map(self, song: int) -> None:
        beatmap = self.world.map(self.songs[song])
        for verb in (self.world.wipes.restore_map, self.world.wipes.wipe_map):
            with contextlib.suppress(WrongState):
                self.world.run(verb(OPERATOR, beatmap, "because"))
                return

    @rule(at=st.integers(0, 9))
    def hide_or_unhide_a_score(self, at: int) -> None:
        ids = self.world.look(select(scores.c.id).order_by(scores.c.id))
        score_id = ids[at % len(ids)][0]
        for verb in (self.world.wipes.unhide_score, self.world.wipes.hide_score):
            with contextlib.suppress(WrongState):
                self.world.run(verb(OPERATOR, score_id, "because"))
                return

    @rule(song=SONG, status=st.sampled_from(STATUSES))
    def set_status(self, song: int, status: MapStatus) -> None:
        self.world.run(self.world.staff.set_map_status(OPERATOR, [self.world.map(self.songs[song])], status))

    @rule()
    def reconcile_one_step(self) -> None:
        """Run a single step of reconciling, so that other rules run before and after it."""
        self.world.run(self.world.reconciler.step({}))

    @rule()
    def reconcile(self) -> None:
        self.world.reconcile()

    @rule()
    def rebuild(self) -> None:
        reconciled, before = self.reconciled, self.rows()
        self.world.run(self.world.rebuilder.everything())
        self.world.run(self.world.ranks.rebuild())  # as all callers of a rebuild do
        assert not reconciled or self.rows() == before, "a rebuild does not change correct rows"

    @property
    def reconciled(self) -> bool:
        """Whether no reconciling remains."""
        return self.world.run(self.world.reconciler.pending()).left == 0

    def teardown(self) -> None:
        try:
            self.reconcile()
            self.doctor_finds_no_problem()
            self.stats_match_the_scores()
            self.boards_and_first_places_match_the_scores()
            self.ranks_follow_pp_among_visible_players()
        finally:
            self._open.close()

    def rows(self) -> list[list[tuple[Any, ...]]]:
        """Return all derived rows."""
        columns = [c for c in maps.c if c.name != "board_version"]  # it changes by any amount
        tables = (
            select(scores),
            select(stats),
            select(*columns),
            select(first_places),
            select(play_counts),
            select(month_plays),
        )
        return [sorted(self.world.look(one)) for one in tables]

    @invariant()
    def doctor_finds_no_problem(self) -> None:
        assert not self.reconciled or self.world.problems() == []

    @invariant()
    def stats_match_the_scores(self) -> None:
        counted = self.world.run(self.world.rebuilder.recount(self.world.database, 0, 2**31 - 1))
        stored = [one for user_id in self.players for one in self.world.run(self.world.profiles.stats_of(user_id))]
        assert not self.reconciled or sorted(stored, key=lambda s: (s.user_id, s.mode)) == counted

    @invariant()
    def boards_and_first_places_match_the_scores(self) -> None:
        rows = [Row(*row) for row in self.world.look(select(*[scores.c[name] for name in Row.__struct_fields__]))]
        visible = {user_id for user_id in self.players if is_public(self.world.user(user_id).priv)}
        held = {
            (key, mode): score_id
            for key, mode, score_id in self.world.look(
                select(first_places.c.map_key, first_places.c.mode, first_places.c.score_id)
            )
        }
        for md5 in self.songs:
            beatmap = self.world.map(md5)
            for mode in MODES:
                # A board with hidden scores is exact after each step, because each step moves the best flags, too.
                board = naive_board(rows, visible, beatmap, mode)
                assert self.world.board(beatmap, mode) == board
                first = board[0] if board and has_board(beatmap.status) else None
                assert not self.reconciled or held.get((beatmap.key, mode)) == first

    @invariant()
    def ranks_follow_pp_among_visible_players(self) -> None:
        self.world.run(self.world.outbox.deliver())
        for mode in MODES:
            listed = []
            for user_id, country in zip(self.players, COUNTRIES, strict=True):
                found = self.world.run(self.world.profiles.stats_in(user_id, mode))
                if found is not None and found.pp > 0 and is_public(self.world.user(user_id).priv):
                    listed.append((-found.pp, user_id, country))
            listed.sort()
            assert self.world.run(self.world.realtime.ranked_ids(mode)) == [user_id for _, user_id, _ in listed]
            for user_id in self.players:
                rank = self.world.run(self.world.realtime.rank_of(user_id, mode))
                assert rank == naive_rank(listed, user_id)

    @invariant()
    def ranks_by_ranked_score_follow_the_stats(self) -> None:
        self.world.run(self.world.outbox.deliver())
        for mode in MODES:
            listed = []
            for user_id, country in zip(self.players, COUNTRIES, strict=True):
                found = self.world.run(self.world.profiles.stats_in(user_id, mode))
                if found is not None and found.rscore > 0 and is_public(self.world.user(user_id).priv):
                    listed.append((-found.rscore, user_id, country))
            listed.sort()
            for user_id in self.players:
                rank = self.world.run(self.world.ranks.by_ranked_score(user_id, mode))
                assert rank == naive_rank(listed, user_id)


def naive_rank(listed: list[tuple[int, int, str]], user_id: int) -> Rank:
    """Return the ranks of a player in a sorted list of (-pp, id, country)."""
    for place, (_, other, country) in enumerate(listed, start=1):
        if other == user_id:
            return Rank(place, sum(1 for one in listed[:place] if one[2] == country))
    return Rank()


@pytest.mark.parametrize("loved_counts", [False, True])
def test_derived_rows_match_the_scores_after_random_changes(loved_counts: bool) -> None:
    class Machine(DerivedRows):
        options = TotalsOptions(loved_counts=loved_counts)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],  # ten steps are easy to read, and shrinking takes minutes
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )

"""`!overwrite`: the last pass of a donor becomes the best one on its map, and what derives from it follows."""

import pytest
from tests.builders import SUPPORTER, World, a_map, a_play, a_player

from kiai.errors import NotAllowed, Refused, WrongState
from kiai.osu.mods import HD, RX
from kiai.own_account import Overwriting
from kiai.own_account.overwriting import EVERY_S
from kiai.scores.hiding import Hiding
from kiai.staff import Actor
from kiai.staff.audit import OPERATOR
from kiai.storage.port import Transaction
from kiai.storage.tables import scores

from tests.own_account.conftest import OwnAccounts  # isort: skip


class Player:
    """A donor with plays on one map."""

    def __init__(self, world: World, name: str = "anna") -> None:
        self.world = world
        self.id = world.add_player(a_player(name, priv=SUPPORTER))
        self.actor = Actor(self.id, "game")
        self.song = world.add_map(a_map())
        self.overwriting = Overwriting(world.profiles, world.authority, world.realtime, world.clock)

    def play(self, score: int, pp: float, *, mods: int = 0, passed: bool = True) -> int:
        return self.world.record(
            a_play(by=self.id, on=self.song, score=score, pp=pp, mods=mods, passed=passed)
        ).score_id

    def overwrite(self) -> int:
        self.world.clock.advance(EVERY_S)
        last = self.world.run(self.overwriting.last(self.actor)).score.id
        kept = self.world.run(self.overwriting.overwrite(self.actor, last)).score.id
        self.world.reconcile()
        return kept

    def flags(self) -> dict[int, tuple[int, int, int]]:
        """Return the flags (best by pp, by score, by mods) of each score."""
        rows = self.world.look(
            scores.select()
            .with_only_columns(scores.c.id, scores.c.best_pp, scores.c.best_score, scores.c.best_mods)
            .where(scores.c.user_id == self.id)
        )
        return {row[0]: tuple(row[1:]) for row in rows}


@pytest.fixture
def anna(own: OwnAccounts) -> Player:
    return Player(own.world)


ALL, NONE = (1, 1, 1), (0, 0, 0)


def test_last_pass_becomes_the_best_and_totals_follow(anna: Player) -> None:
    best, last = anna.play(900_000, 90.0), anna.play(800_000, 80.0)

    assert anna.overwrite() == last

    assert anna.flags() == {best: NONE, last: ALL}
    stats = anna.world.stats(anna.id)
    assert (stats.rscore, stats.plays, stats.pp < 90) == (800_000, 2, True)
    assert anna.world.board(anna.song) == [last]
    assert anna.world.problems() == []
    [row] = anna.world.audit(last, kind="score")
    assert (row.action, row.actor_id, row.source) == ("score_overwrite", anna.id, "game")
    assert row.details == f'{{"map":1,"before":{{"best":{best}}},"after":{{"best":{last}}}}}'


def test_later_pass_is_compared_with_the_chosen_one(anna: Player) -> None:
    anna.play(900_000, 90.0)
    kept = anna.play(800_000, 80.0)
    anna.overwrite()

    worse = anna.play(700_000, 70.0)
    assert anna.flags()[kept] == ALL
    better = anna.play(850_000, 85.0)

    assert (anna.flags()[worse], anna.flags()[kept], anna.flags()[better]) == (NONE, NONE, ALL)
    anna.world.run(anna.world.rebuilder.everything())
    assert anna.flags()[better] == ALL
    assert anna.world.problems() == []


def test_overwritten_pass_stays_the_best_with_its_mods_until_a_later_one(anna: Player) -> None:
    hidden = anna.play(950_000, 95.0, mods=HD)
    kept = anna.play(800_000, 80.0)
    anna.overwrite()
    assert anna.flags() == {hidden: (0, 0, 1), kept: ALL}

    worse = anna.play(700_000, 70.0, mods=HD)

    assert anna.flags() == {hidden: NONE, kept: ALL, worse: (0, 0, 1)}
    assert anna.world.problems() == []


def test_first_place_follows(anna: Player) -> None:
    best = anna.play(900_000, 90.0)
    boris = anna.world.add_player(a_player("boris"))
    other = anna.world.record(a_play(by=boris, on=anna.song, score=850_000, pp=85.0)).score_id
    kept = anna.play(800_000, 80.0)
    assert anna.world.board(anna.song) == [best, other]

    anna.overwrite()

    assert anna.world.board(anna.song) == [other, kept]
    assert anna.world.problems() == []


def test_earlier_pass_is_the_best_again_if_staff_hides_the_chosen_one(anna: Player) -> None:
    best, kept = anna.play(900_000, 90.0), anna.play(800_000, 80.0)
    anna.overwrite()
    hiding = Hiding(anna.world.database, anna.world.clock)

    async def hide(tx: Transaction) -> None:
        await hiding.set_hidden(tx, kept, hidden=True)

    anna.world.run(anna.world.database.transaction(hide))
    anna.world.reconcile()

    assert anna.flags() == {best: ALL, kept: NONE}
    assert anna.world.problems() == []
    later = anna.play(100_000, 10.0)
    assert anna.flags()[later] == ALL, "any later pass is better than an overwritten one"
    assert anna.world.problems() == []


def test_earlier_pass_that_was_hidden_is_overwritten_as_well(anna: Player) -> None:
    best = anna.play(900_000, 90.0)
    hiding = Hiding(anna.world.database, anna.world.clock)

    def set_hidden(hidden: bool) -> None:
        async def body(tx: Transaction) -> None:
            await hiding.set_hidden(tx, best, hidden=hidden)

        anna.world.run(anna.world.database.transaction(body))
        anna.world.reconcile()

    set_hidden(True)
    middle, kept = anna.play(850_000, 85.0), anna.play(800_000, 80.0)
    anna.overwrite()

    set_hidden(False)

    assert anna.flags() == {best: NONE, middle: NONE, kept: ALL}
    assert anna.world.problems() == []


def test_relax_is_overwritten_by_pp(anna: Player) -> None:
    best, kept = anna.play(900_000, 90.0, mods=RX), anna.play(950_000, 80.0, mods=RX)

    anna.overwrite()

    assert anna.flags() == {best: NONE, kept: ALL}
    assert anna.world.problems() == []


def test_refusals(anna: Player) -> None:
    with pytest.raises(Refused, match="no scores yet"):
        anna.overwrite()
    anna.play(900_000, 90.0)
    with pytest.raises(WrongState, match="already the best one"):
        anna.overwrite()
    last = anna.play(800_000, 80.0)
    anna.overwrite()
    with pytest.raises(Refused, match="once in 10 seconds"):
        anna.world.run(anna.overwriting.overwrite(anna.actor, last))
    anna.play(100_000, 0.0, passed=False)
    with pytest.raises(Refused, match="your last play is a fail"):
        anna.overwrite()
    boris = anna.world.add_player(a_player("boris"))
    with pytest.raises(NotAllowed):
        anna.world.run(anna.overwriting.overwrite(Actor(boris, "game"), last))


def test_score_played_after_the_question_is_not_the_one_that_was_shown(anna: Player) -> None:
    best, shown = anna.play(900_000, 90.0), anna.play(800_000, 80.0)
    later = anna.play(100_000, 10.0)

    with pytest.raises(Refused, match="another one now"):
        anna.world.run(anna.overwriting.overwrite(anna.actor, shown))

    assert anna.flags() == {best: ALL, shown: NONE, later: NONE}
    assert anna.world.audit(shown, kind="score") == anna.world.audit(later, kind="score") == []


def test_right_is_checked_again_in_the_transaction(anna: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    best, last = anna.play(900_000, 90.0), anna.play(800_000, 80.0)
    once = anna.world.realtime.once

    async def donor_time_ends(key: str, for_s: float) -> bool:
        await anna.world.staff.revoke(OPERATOR, "anna", ["supporter"])
        return await once(key, for_s)

    monkeypatch.setattr(anna.world.realtime, "once", donor_time_ends)
    with pytest.raises(NotAllowed):
        anna.overwrite()

    assert anna.flags() == {best: ALL, last: NONE}
    assert anna.world.audit(last, kind="score") == []

"""The totals of clans: their formulas, and the outbox that keeps them equal to the profiles of the members."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from tests.builders import Run, World, a_map, a_play, a_player

from kiai.clans import ClanActs, ClanRules, Clans
from kiai.clans.model import JoinForm
from kiai.clans.service import PpFormula
from kiai.clans.upkeep import ROUND_EVERY_S, TotalsCheck
from kiai.staff import OPERATOR
from kiai.storage.port import Database
from kiai.storage.tables import clan_totals, clans, outbox, stats


class Board:
    """A clan of alice that everybody can join, and bob; the outbox delivers to `clans`."""

    def __init__(self, world: World, formula: PpFormula = "akatsuki") -> None:
        self.world = world
        self.run = world.run
        self.acts = ClanActs(world.database, None, world.clock, ClanRules())
        self.clans = Clans(world.database, world.outbox, formula=formula)
        self.alice, self.bob = (world.add_player(a_player(name)) for name in ("alice", "bob"))
        self.song = world.add_map(a_map())
        self.id = self.run(self.acts.found(self.alice, "owl", "Night Owls"))
        self.run(self.acts.edit(self.alice, self.id, form=JoinForm.OPEN))

    def play(self, user_id: int, pp: float) -> None:
        self.world.record(a_play(by=user_id, on=self.song, pp=pp))

    def deliver(self) -> list[tuple[Any, ...]]:
        """Deliver the outbox, and return members, pp and plays of the clan in mode 0."""
        self.run(self.world.outbox.deliver())
        of = clan_totals.c
        return self.world.look(select(of.members, of.pp, of.plays).where(of.mode == 0, of.clan_id == self.id))


@pytest.fixture
def world(database: Database, run: Run, tmp_path: Path) -> World:
    return World(database, run, tmp_path)


def pp_of(world: World, *user_ids: int) -> list[int]:
    found = dict(world.look(select(stats.c.user_id, stats.c.pp).where(stats.c.mode == 0)))
    return [found[user_id] for user_id in user_ids]


def test_the_outbox_follows_plays_members_and_visibility(world: World) -> None:
    board = Board(world)
    assert board.deliver() == []

    board.play(board.alice, 300)
    [alice] = pp_of(world, board.alice)
    assert board.deliver() == [(1, round(alice / 2), 1)]

    board.play(board.bob, 100)
    board.run(board.acts.join(board.bob, board.id))
    both = round(sum(pp_of(world, board.alice, board.bob)) / 3)
    assert board.deliver() == [(2, both, 2)]

    world.run(world.restrictions.restrict(OPERATOR, board.bob, "because"))
    assert board.deliver() == [(1, round(alice / 2), 1)]
    world.run(world.restrictions.unrestrict(OPERATOR, board.bob))
    assert board.deliver() == [(2, both, 2)]

    board.run(board.acts.kick(board.alice, board.id, board.bob))
    assert board.deliver() == [(1, round(alice / 2), 1)]

    board.run(board.acts.disband(board.alice, board.id))
    assert board.deliver() == []
    assert world.look(select(clan_totals.c.clan_id)) == []


def test_the_weighted_formula_counts_the_best_member_in_full(world: World) -> None:
    board = Board(world, "weighted")
    board.play(board.alice, 100)
    board.play(board.bob, 300)
    board.run(board.acts.join(board.bob, board.id))

    alice, bob = pp_of(world, board.alice, board.bob)

    assert bob > alice
    assert board.deliver() == [(2, round(bob + 0.8 * alice), 2)]
    clan = board.run(board.clans.clan(board.id))
    assert board.run(board.clans.standing(clan, 0)).pp == round(bob + 0.8 * alice)
    assert board.run(board.clans.standing(clan, 3)).members == 0


def test_the_job_finds_what_the_outbox_has_missed(world: World) -> None:
    board = Board(world)
    board.play(board.alice, 300)
    world.change(outbox.delete())
    world.change(update(stats).values(pp=80))

    board.run(board.clans.refresh_totals())

    assert board.deliver() == [(1, 40, 1)]
    rows, total = board.run(board.clans.board(0, limit=10))
    assert ([line.pp for line in rows], total) == ([40], 1)


def test_the_check_reads_a_few_clans_in_each_run_and_then_pauses(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    board, seconds = Board(world), [0.0]
    board.run(board.acts.found(board.bob, "cat", "Cats"))
    monkeypatch.setattr("kiai.clans.service.CHECKED_AT_ONCE", 1)
    check = TotalsCheck(board.clans, lambda: seconds[0])

    def wrong_after_run() -> set[int]:
        """Run the check once. Return the members whose clan has no totals, though it should."""
        board.run(check.run())
        have = {clan_id for (clan_id,) in world.look(select(clan_totals.c.clan_id))}
        return {board.alice, board.bob} - {owners[clan_id] for clan_id in have}

    owners = dict(world.look(select(clans.c.id, clans.c.owner_id)))
    for player in owners.values():
        board.play(player, 300)
    world.change(outbox.delete())

    assert wrong_after_run() == {board.bob}
    assert wrong_after_run() == set()
    wrong_after_run()  # the end of the round
    world.change(clan_totals.delete())
    seconds[0] = ROUND_EVERY_S - 1
    assert wrong_after_run() == {board.alice, board.bob}
    seconds[0] = ROUND_EVERY_S
    assert wrong_after_run() == {board.bob}


@pytest.mark.parametrize("formula", ["akatsuki", "weighted"])
def test_both_ways_to_compute_totals_agree(world: World, formula: PpFormula) -> None:
    board = Board(world, formula)
    board.play(board.alice, 300)
    board.play(board.bob, 100)
    board.run(board.acts.join(board.bob, board.id))
    totals = board.deliver()
    assert totals[0][0] == 2

    world.change(clan_totals.delete())
    board.run(board.clans.refresh_totals())

    assert board.deliver() == totals


def test_clans_without_ranked_members_follow_those_of_the_board(world: World) -> None:
    board = Board(world)
    others = [
        board.run(board.acts.found(world.add_player(a_player(name)), name, f"Clan {name}"))
        for name in ("carl", "dora", "emil")
    ]
    assert board.run(board.clans.by_pp(0, limit=10)) == ([*reversed(others), board.id], 0, 4)

    board.play(board.alice, 300)
    board.deliver()
    assert board.run(board.clans.by_pp(0, limit=10)) == ([board.id, *reversed(others)], 1, 4)
    pages = [board.run(board.clans.by_pp(0, limit=2, offset=offset))[0] for offset in (0, 2, 4)]
    assert pages == [[board.id, others[2]], [others[1], others[0]], []]
    assert board.run(board.clans.by_pp(3, limit=10))[1:] == (0, 4), "nobody is ranked in this mode"

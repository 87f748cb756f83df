"""The nomination mode: nominations, resets, and the job that ranks qualified sets, on both databases."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import insert
from tests.builders import World, a_map
from tests.staff.ranking_kit import ADMINISTRATOR, Ranking

from kiai.beatmaps import Beatmap, MapStatus
from kiai.errors import Invalid, NotAllowed, Refused, Unavailable, WrongState
from kiai.staff import OPERATOR, map_statuses, nominations
from kiai.staff.audit import Actor
from kiai.staff.map_requests import CHANGES_A_DAY, NOMINATED_STATUSES, NominationRules
from kiai.staff.naming import Naming
from kiai.storage.port import Transaction
from kiai.storage.tables import nominations as table
from kiai.storage.tables import sets

HOURS_72_S = 72 * 3_600


@pytest.fixture
def ranking(world: World) -> Ranking:
    return Ranking(world)


def test_second_nominator_qualifies_the_pending_maps_of_the_set(ranking: Ranking) -> None:
    world = ranking.world
    anna, boris = ranking.nominator("anna"), ranking.nominator("boris")
    first, _ = ranking.pending(a_map(1, set_id=1), a_map(2, set_id=1, version="Hard", objects=60))
    world.add_map(a_map(3, set_id=1, version="Loved", objects=70), MapStatus.LOVED)

    one = world.run(ranking.mode.nominate(anna, first, "good"))
    assert (one.count, one.needed, one.ranks_at_ms) == (1, 2, None)
    assert ranking.statuses() == {1: 0, 2: 0, 3: 5}

    two = world.run(ranking.mode.nominate(boris, first))

    ranks_at = world.clock.now_ms() + HOURS_72_S * 1000
    assert (two.count, two.ranks_at_ms) == (2, ranks_at)
    assert ranking.statuses() == {1: 4, 2: 4, 3: 5}
    assert ranking.qualified() == [(1, ranks_at)]
    assert world.map(first.md5).frozen == 1
    assert ranking.acts(1) == [
        ("nominate", anna.user_id, "game", "good"),
        ("nominate", boris.user_id, "game", ""),
        ("beatmap_status", boris.user_id, "game", ""),
    ]
    assert ranking.acts(2) == [("beatmap_status", boris.user_id, "game", "")]
    world.reconcile()
    world.run(world.outbox.deliver())
    assert world.problems() == []


def test_one_nominator_counts_once(ranking: Ranking) -> None:
    anna = ranking.nominator("anna")
    [song] = ranking.pending(a_map(1))
    ranking.world.run(ranking.mode.nominate(anna, song))

    with pytest.raises(WrongState, match="already nominated"):
        ranking.world.run(ranking.mode.nominate(anna, song))

    assert ranking.statuses() == {1: 0}
    assert len(ranking.acts()) == 1


def test_players_without_the_right_can_do_nothing(ranking: Ranking) -> None:
    player = Actor(ranking.player("anna"), "game")
    [song] = ranking.pending(a_map(1))

    with pytest.raises(NotAllowed):
        ranking.world.run(ranking.mode.nominate(player, song))
    with pytest.raises(NotAllowed):
        ranking.world.run(ranking.mode.reset(player, song, "x"))


def test_simple_mode_refuses_and_names_itself(world: World) -> None:
    ranking = Ranking(world, NominationRules(on=False))
    anna = ranking.nominator("anna")
    [song] = ranking.pending(a_map(1))

    with pytest.raises(Refused, match="simple mode"):
        world.run(ranking.mode.nominate(anna, song))
    with pytest.raises(Refused, match="simple mode"):
        world.run(ranking.mode.reset(anna, song, "x"))

    world.run(ranking.requests.set_status(anna, [song], MapStatus.RANKED))
    assert ranking.statuses() == {1: 2}


def test_mapper_of_an_own_upload_cannot_nominate_it_also_under_a_new_name(ranking: Ranking) -> None:
    world = ranking.world
    mapper, other = ranking.nominator("Mapper"), ranking.nominator("other")
    own = world.add_map(a_map(0), MapStatus.PENDING)

    with pytest.raises(Refused, match="your own"):
        world.run(ranking.mode.nominate(mapper, own))
    naming = Naming(world.accounts, world.authority, world.standing, world.clock)
    world.run(naming.rename(OPERATOR, "Mapper", "Nobody"))
    with pytest.raises(Refused, match="your own"):
        world.run(ranking.mode.nominate(mapper, own))
    world.run(ranking.mode.nominate(other, own))

    assert ranking.nominated() == [(own.set_id, other.user_id)]


def test_mapper_of_an_official_set_is_only_a_name(ranking: Ranking) -> None:
    namesake = ranking.nominator("Mapper")
    [song] = ranking.pending(a_map(1))

    ranking.world.run(ranking.mode.nominate(namesake, song))

    assert ranking.nominated() == [(1, namesake.user_id)]


@pytest.mark.parametrize("status", [MapStatus.RANKED, MapStatus.LOVED, MapStatus.QUALIFIED])
def test_set_without_a_pending_map_cannot_be_nominated(ranking: Ranking, status: MapStatus) -> None:
    anna = ranking.nominator("anna")
    song = ranking.world.add_map(a_map(1), status)

    with pytest.raises(WrongState, match="pending"):
        ranking.world.run(ranking.mode.nominate(anna, song))


def qualify(ranking: Ranking, *names: str) -> list[Actor]:
    """Let nominators qualify the set of map 1."""
    found = [ranking.nominator(name) for name in names or ("anna", "boris")]
    [song] = ranking.pending(a_map(1))
    for nominator in found:
        ranking.world.run(ranking.mode.nominate(nominator, song))
    return found


def test_reset_makes_a_qualified_set_pending_and_the_nominators_get_the_reason(ranking: Ranking) -> None:
    world = ranking.world
    anna, boris = qualify(ranking)
    song = world.run(world.beatmaps.find(id=1))

    assert world.run(ranking.mode.reset(boris, song, "unsnapped [https://evil.example x]")) == 2

    assert ranking.statuses() == {1: 0}
    assert (ranking.nominated(), ranking.qualified()) == ([], [])
    assert [act[:2] for act in ranking.acts()][3:] == [
        ("nominate_reset", boris.user_id),
        ("beatmap_status", boris.user_id),
    ]
    world.outbox.subscribe("bot_lines", ranking.lines.deliver)
    world.run(world.outbox.deliver())
    [(to, text)] = ranking.letters()
    assert (to, text.startswith("Your nomination of Artist - Song was reset: unsnapped")) == (anna.user_id, True)
    assert "[https" not in text
    world.clock.advance(HOURS_72_S)
    assert world.run(ranking.mode.rank_due()) == 0
    with pytest.raises(WrongState, match="no nominations"):
        world.run(ranking.mode.reset(boris, song, "again"))


def test_reset_needs_a_reason(ranking: Ranking) -> None:
    [anna, _] = qualify(ranking)
    song = ranking.world.run(ranking.world.beatmaps.find(id=1))

    for reason in ("", " ", "x" * 501):
        with pytest.raises(Invalid):
            ranking.world.run(ranking.mode.reset(anna, song, reason))

    assert ranking.statuses() == {1: 4}


def test_qualified_set_is_ranked_once_when_its_time_ends(ranking: Ranking) -> None:
    world = ranking.world
    qualify(ranking)
    ranking.add_webhook()
    world.clock.advance(HOURS_72_S - 0.001)
    assert world.run(ranking.mode.rank_due()) == 0
    assert ranking.statuses() == {1: 4}

    world.clock.advance(0.001)

    async def several_workers() -> list[int]:
        return await asyncio.gather(*(ranking.mode.rank_due() for _ in range(4)))

    assert sum(world.run(several_workers())) == 1
    assert ranking.statuses() == {1: 2}
    assert (ranking.nominated(), ranking.qualified()) == ([], [])
    assert ranking.acts()[3:] == [("beatmap_status", 0, "job", "")]
    assert ranking.deliveries() == [{"map_id": 1, "status": 2, "previous": 4, "actor": 0, "reason": ""}]
    assert world.run(ranking.mode.rank_due()) == 0
    world.reconcile()
    world.run(world.outbox.deliver())
    assert world.problems() == []


def test_set_is_ranked_after_a_downtime_and_in_the_simple_mode(ranking: Ranking) -> None:
    world = ranking.world
    qualify(ranking)
    world.clock.advance(90 * 86_400)

    simple = Ranking(world, NominationRules(on=False))

    assert world.run(simple.mode.rank_due()) == 1
    assert ranking.statuses() == {1: 2}


def test_clock_that_was_set_back_delays_and_ranks_once(ranking: Ranking) -> None:
    world = ranking.world
    qualify(ranking)
    begun = world.clock.now_ms()
    world.clock.set_now_ms(begun - 86_400_000)
    assert world.run(ranking.mode.rank_due()) == 0

    world.clock.set_now_ms(begun + HOURS_72_S * 1000)
    assert world.run(ranking.mode.rank_due()) == 1
    world.clock.set_now_ms(begun)
    assert world.run(ranking.mode.rank_due()) == 0
    assert ranking.statuses() == {1: 2}


def test_of_nominators_at_once_exactly_one_qualifies_the_set(ranking: Ranking) -> None:
    world = ranking.world
    nominators = [ranking.nominator(f"nominator {n}") for n in range(6)]
    [song] = ranking.pending(a_map(1))

    async def at_once() -> Sequence[object]:
        return await asyncio.gather(*(ranking.mode.nominate(one, song) for one in nominators), return_exceptions=True)

    answers = world.run(at_once())

    assert sorted(one.count for one in answers if isinstance(one, nominations.Nominations)) == [1, 2]
    assert len([one for one in answers if isinstance(one, WrongState)]) == 4
    assert [act[0] for act in ranking.acts()] == ["nominate", "nominate", "beatmap_status"]
    assert ranking.statuses() == {1: 4}


def test_reset_and_the_end_of_the_time_at_once_have_one_outcome(ranking: Ranking) -> None:
    world = ranking.world
    anna, _ = qualify(ranking)
    song = world.run(world.beatmaps.find(id=1))
    world.clock.advance(HOURS_72_S)

    async def at_once() -> Sequence[object]:
        return await asyncio.gather(
            ranking.mode.rank_due(), ranking.mode.reset(anna, song, "late"), return_exceptions=True
        )

    ranked, reset = world.run(at_once())

    assert (ranked, ranking.statuses()) in [(1, {1: 2}), (0, {1: 0})]
    assert isinstance(reset, WrongState) == (ranked == 1)
    assert (ranking.nominated(), ranking.qualified()) == ([], [])


def test_set_that_cannot_be_ranked_stays_qualified_and_the_others_are_ranked(
    ranking: Ranking, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ranking.world
    both = [ranking.nominator(name) for name in ("anna", "boris")]
    for song in ranking.pending(a_map(1), a_map(2), a_map(3)):
        for one in both:
            world.run(ranking.mode.nominate(one, song))
    world.clock.advance(HOURS_72_S)
    record = map_statuses.record

    async def fails(tx: Transaction, actor: Actor, beatmaps: Sequence[Beatmap], *more: object) -> None:
        if beatmaps[0].set_id == 1:
            raise ValueError("a fault of this set")
        await record(tx, actor, beatmaps, *more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(map_statuses, "record", fails)
        assert world.run(ranking.mode.rank_due()) == 2
    assert [ranking.statuses(number) for number in (1, 2, 3)] == [{1: 4}, {2: 2}, {3: 2}]
    assert len(ranking.nominated()) == 2

    assert world.run(ranking.mode.rank_due()) == 1
    assert ranking.statuses() == {1: 2}


def test_database_that_is_unavailable_ends_the_run(ranking: Ranking, monkeypatch: pytest.MonkeyPatch) -> None:
    qualify(ranking)
    ranking.world.clock.advance(HOURS_72_S)

    async def fails(tx: Transaction, *values: object, **more: object) -> None:
        raise Unavailable("database", "away")

    monkeypatch.setattr(map_statuses, "record", fails)
    with pytest.raises(Unavailable):
        ranking.world.run(ranking.mode.rank_due())
    assert ranking.statuses() == {1: 4}


def test_new_file_resets_the_nominations_of_the_whole_set(ranking: Ranking) -> None:
    world = ranking.world
    anna, boris = ranking.nominator("anna"), ranking.nominator("boris")
    song, _ = ranking.pending(a_map(1, set_id=1), a_map(2, set_id=1, version="Hard", objects=60))
    for one in (anna, boris):
        world.run(ranking.mode.nominate(one, song))
    assert ranking.statuses() == {1: 4, 2: 4}

    changed = a_map(2, set_id=1, version="Hard", objects=61)
    world.run(ranking.importer.import_file(changed.data, name="x", status=None, upstream=MapStatus.PENDING, ids=(2, 1)))

    assert ranking.statuses() == {1: 0, 2: 0}
    assert (ranking.nominated(), ranking.qualified()) == ([], [])
    assert ("nominate_reset", 0, "job", "map changed") in ranking.acts(2)
    assert ranking.acts(1)[-1] == ("beatmap_status", 0, "job", "map changed")
    world.outbox.subscribe("bot_lines", ranking.lines.deliver)
    world.run(world.outbox.deliver())
    assert [to for to, _ in ranking.letters()] == [anna.user_id, boris.user_id]


def test_new_file_resets_a_set_whose_nominators_have_deleted_their_accounts(ranking: Ranking) -> None:
    world = ranking.world
    qualify(ranking)
    world.change(table.delete())

    data = a_map(1, objects=60).data
    world.run(ranking.importer.import_file(data, name="x", status=None, upstream=MapStatus.PENDING, ids=(1, 1)))

    assert (ranking.statuses(), ranking.qualified()) == ({1: 0}, [])


def test_new_map_of_a_set_resets_its_nominations(ranking: Ranking) -> None:
    world, anna = ranking.world, ranking.nominator("anna")
    [song] = ranking.pending(a_map(1, set_id=1))
    world.run(ranking.mode.nominate(anna, song))

    world.add_map(a_map(2, set_id=1, version="Hard", objects=60), MapStatus.PENDING)

    assert ranking.nominated() == []
    assert ranking.acts(2) == [("nominate_reset", 0, "job", "map changed")]


def test_same_file_again_resets_nothing(ranking: Ranking) -> None:
    qualify(ranking)

    ranking.world.run(
        ranking.importer.import_file(a_map(1).data, name="x", status=None, upstream=MapStatus.PENDING, ids=(1, 1))
    )

    assert ranking.statuses() == {1: 4}
    assert len(ranking.nominated()) == 2


@pytest.mark.parametrize("status", NOMINATED_STATUSES)
def test_in_the_nomination_mode_only_administrators_give_its_statuses_directly(
    ranking: Ranking, status: MapStatus
) -> None:
    world = ranking.world
    nominator, boss = ranking.nominator("anna"), ranking.nominator("boss", ADMINISTRATOR)
    [song] = ranking.pending(a_map(1))

    with pytest.raises(Refused, match="!nominate"):
        world.run(ranking.requests.set_status(nominator, [song], status))
    world.run(ranking.requests.set_status(boss, [song], status))

    assert ranking.statuses() == {1: status}


def test_nominators_may_still_love_a_map_which_ends_its_nominations(ranking: Ranking) -> None:
    world = ranking.world
    anna = ranking.nominator("anna")
    [song] = ranking.pending(a_map(1))
    world.run(ranking.mode.nominate(anna, song))

    world.run(ranking.requests.set_status(anna, [song], MapStatus.LOVED))

    assert (ranking.statuses(), ranking.nominated()) == ({1: 5}, [])


def test_set_that_was_unranked_by_the_operator_is_not_ranked_later(ranking: Ranking) -> None:
    world = ranking.world
    qualify(ranking)

    world.run(world.staff.set_map_status(OPERATOR, [world.run(world.beatmaps.find(id=1))], MapStatus.PENDING))
    world.clock.advance(HOURS_72_S)

    assert world.run(ranking.mode.rank_due()) == 0
    assert (ranking.statuses(), ranking.nominated(), ranking.qualified()) == ({1: 0}, [], [])


def test_only_maps_that_are_still_qualified_are_ranked(ranking: Ranking) -> None:
    world = ranking.world
    anna, boris = ranking.nominator("anna"), ranking.nominator("boris")
    song, hard = ranking.pending(a_map(1, set_id=1), a_map(2, set_id=1, version="Hard", objects=60))
    for one in (anna, boris):
        world.run(ranking.mode.nominate(one, song))
    world.run(world.staff.set_map_status(OPERATOR, [hard], MapStatus.LOVED))
    world.clock.advance(HOURS_72_S)

    assert world.run(ranking.mode.rank_due()) == 1

    assert ranking.statuses() == {1: 2, 2: 5}


def test_nominator_is_bounded_in_open_nominations(ranking: Ranking) -> None:
    world = ranking.world
    anna = ranking.nominator("anna")
    [song] = ranking.pending(a_map(1))
    texts = dict.fromkeys(("artist", "title", "creator", "source", "tags"), "")
    for number in range(nominations.OPEN_MAX):
        world.change(insert(sets).values(id=1_000 + number, added_at_ms=1, last_update_ms=1, **texts))
        world.change(insert(table).values(set_id=1_000 + number, user_id=anna.user_id, at_ms=1))

    with pytest.raises(Refused, match="not ranked yet"):
        world.run(ranking.mode.nominate(anna, song))


def test_nominator_has_a_daily_limit_and_administrators_have_none(ranking: Ranking) -> None:
    world = ranking.world
    anna, boss = ranking.nominator("anna"), ranking.nominator("boss", ADMINISTRATOR)
    [song] = ranking.pending(a_map(1))
    for n in range(CHANGES_A_DAY):
        for one in (anna, boss):
            world.run(world.staff.set_map_status(one, [song], MapStatus.LOVED if n % 2 else MapStatus.PENDING))
    world.run(world.staff.set_map_status(OPERATOR, [song], MapStatus.PENDING))

    with pytest.raises(Refused, match="ask an administrator"):
        world.run(ranking.mode.nominate(anna, song))
    with pytest.raises(Refused, match="ask an administrator"):
        world.run(ranking.requests.set_status(anna, [song], MapStatus.LOVED))
    world.run(ranking.mode.nominate(boss, song))
    world.run(ranking.requests.set_status(boss, [song], MapStatus.LOVED))

    world.clock.advance(86_400)
    world.run(ranking.requests.set_status(anna, [song], MapStatus.PENDING))


def test_all_maps_of_one_act_count_towards_the_daily_limit(ranking: Ranking) -> None:
    world = ranking.world
    anna, boris, carla = (ranking.nominator(name) for name in ("anna", "boris", "carla"))
    [song] = ranking.pending(a_map(1))
    easy, hard = ranking.pending(a_map(2, set_id=2), a_map(3, set_id=2, version="Hard", objects=60))
    for n in range(CHANGES_A_DAY - 1):
        for one in (anna, boris):
            world.run(world.staff.set_map_status(one, [song], MapStatus.LOVED if n % 2 else MapStatus.PENDING))

    with pytest.raises(Refused, match="ask an administrator"):
        world.run(ranking.requests.set_status(anna, [easy, hard], MapStatus.LOVED))
    with pytest.raises(Refused, match="ask an administrator"):
        world.run(ranking.requests.set_frozen(anna, [easy, hard], False))
    world.run(ranking.mode.nominate(carla, easy))
    with pytest.raises(Refused, match="ask an administrator"):
        world.run(ranking.mode.nominate(boris, easy))
    assert (ranking.statuses(2), ranking.nominated()) == ({2: 0, 3: 0}, [(2, carla.user_id)])

    world.run(ranking.requests.set_frozen(anna, [easy], False))
    with pytest.raises(Refused, match="ask an administrator"):
        world.run(ranking.requests.set_status(anna, [easy], MapStatus.LOVED))


def test_changes_at_once_do_not_pass_the_daily_limit_together(ranking: Ranking) -> None:
    world = ranking.world
    anna = ranking.nominator("anna")
    songs = ranking.pending(*(a_map(number) for number in range(1, 5)))
    for n in range(CHANGES_A_DAY - 1):
        world.run(world.staff.set_map_status(anna, [songs[0]], MapStatus.LOVED if n % 2 else MapStatus.PENDING))

    async def at_once() -> list[object]:
        acts = [ranking.requests.set_status(anna, [song], MapStatus.LOVED) for song in songs[1:]]
        return await asyncio.gather(*acts, return_exceptions=True)

    answers = world.run(at_once())

    assert [type(one) for one in answers if one is not None] == [Refused, Refused]


def test_operator_sets_statuses_and_does_not_nominate(ranking: Ranking) -> None:
    [song] = ranking.pending(a_map(1))

    with pytest.raises(Refused, match="only players"):
        ranking.world.run(ranking.mode.nominate(OPERATOR, song))


def test_nominations_of_hidden_players_are_not_shown(ranking: Ranking) -> None:
    world = ranking.world
    anna, boris = qualify(ranking)
    world.run(world.restrictions.restrict(OPERATOR, boris.user_id, "x"))

    found = world.run(ranking.mode.of_set(1))

    assert (found.count, [one.name for one in found.nominators]) == (1, ["anna"])
    history = world.run(ranking.mode.history(1))
    assert [(act.action, act.by_id, act.by) for act in history] == [
        ("nominate", None, None),
        ("nominate", anna.user_id, "anna"),
    ]


def test_nominations_of_hidden_players_count_again_when_they_are_visible(ranking: Ranking) -> None:
    world = ranking.world
    anna, boris, carla = (ranking.nominator(name) for name in ("anna", "boris", "carla"))
    [song] = ranking.pending(a_map(1))
    world.run(ranking.mode.nominate(anna, song))
    world.run(world.restrictions.restrict(OPERATOR, anna.user_id, "x"))

    with pytest.raises(WrongState, match="no nominations"):
        world.run(ranking.mode.reset(boris, song, "x"))
    assert world.run(ranking.mode.nominate(boris, song)).count == 1
    assert (ranking.statuses(), len(ranking.nominated())) == ({1: 0}, 2)

    world.run(world.restrictions.unrestrict(OPERATOR, anna.user_id, "x"))
    assert world.run(ranking.mode.of_set(1)).count == 2
    assert world.run(ranking.mode.nominate(carla, song)).count == 3
    assert ranking.statuses() == {1: 4}


def test_reset_deletes_the_nominations_of_hidden_players_without_counting_them(ranking: Ranking) -> None:
    world = ranking.world
    anna, boris = qualify(ranking)
    world.run(world.restrictions.restrict(OPERATOR, boris.user_id, "x"))

    assert world.run(ranking.mode.reset(anna, world.run(world.beatmaps.find(id=1)), "x")) == 1

    assert (ranking.nominated(), ranking.statuses()) == ([], {1: 0})


def test_nominator_who_was_restricted_or_demoted_cannot_act(ranking: Ranking) -> None:
    world = ranking.world
    anna, boris = ranking.nominator("anna"), ranking.nominator("boris")
    [song] = ranking.pending(a_map(1))
    world.run(world.restrictions.restrict(OPERATOR, anna.user_id, "x"))
    world.run(world.staff.revoke(OPERATOR, "boris", ["nominator"]))

    for one in (anna, boris):
        with pytest.raises(NotAllowed):
            world.run(ranking.mode.nominate(one, song))

    assert ranking.nominated() == []

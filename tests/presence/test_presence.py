"""Coming, going and being seen, as the others' polls show it."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import msgspec
import pytest

from kiai.clock import ManualClock
from kiai.errors import NotFound
from kiai.faces.bancho import packets
from kiai.faces.bancho.announce import announcer, presence
from kiai.presence import Presence, readable
from kiai.presence.model import status_of
from kiai.presence.service import AlreadyOnline
from kiai.realtime.memory import MemoryRealtime
from kiai.realtime.port import MANY_ONLINE, Session, SessionGone, ShownStats, Status

Run = Callable[[Coroutine[Any, Any, Any]], Any]

ANNA, BORIS, CARLA = 3, 4, 5


class Rows:
    """The accounts' rows, as far as presence looks at them."""

    def __init__(self) -> None:
        self.priv: dict[int, int] = {}
        self.banned: set[int] = set()
        self.active: dict[int, int] = {}

    async def touch(self, active: Mapping[int, int]) -> None:
        self.active.update(active)

    async def user(self, viewer: object, *, id: int) -> Any:  # noqa: A002
        if id not in self.priv:
            raise NotFound("player")

        class Row:
            priv = self.priv[id]
            banned_at_ms = 1 if id in self.banned else None

        return Row


class World:
    """A server with nothing but presence."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.clock = ManualClock()
        self.realtime = MemoryRealtime(self.clock)
        self.rows = Rows()
        self.stats: dict[tuple[int, int], ShownStats] = {}

        async def stats_of(user_id: int, mode: int) -> ShownStats:
            return self.stats.get((user_id, mode), ShownStats())

        self.presence = Presence(
            self.realtime,
            self.rows,  # type: ignore[arg-type]
            self.clock,
            announcer(presence.TABLE),
            stats_of,
        )

    def log_in(self, user_id: int, token: str = "", **fields: Any) -> Session:
        self.rows.priv.setdefault(user_id, 3)
        session = Session(
            token=token or str(user_id),
            user_id=user_id,
            name=f"player {user_id}",
            priv=3,
            build=20250415,
            login_time_ms=self.clock.now_ms(),
            **fields,
        )
        opened: Session = self.run(self.presence.arrive(session))
        return opened

    def reads(self, token: int | str) -> list[bytes]:
        session, entries = self.run(self.realtime.poll(str(token)))
        return readable(session, entries)

    def set_status(self, user_id: int, **fields: Any) -> Session:
        given: dict[str, Any] = {"action": 2, "info_text": "a map", "map_md5": "", "map_id": 0, "mods": 0, "mode": 0}
        session = self.run(self.realtime.session(str(user_id)))
        changed: Session = self.run(self.presence.set_status(session, status_of(**(given | fields))))
        return changed


@pytest.fixture
def world(run: Run) -> World:
    return World(run)


def test_who_arrives_is_shown_to_the_others_and_not_to_itself(world: World) -> None:
    world.log_in(BORIS)

    anna = world.log_in(ANNA)

    assert world.reads(BORIS) == [presence.presence(anna) + presence.stats(anna)]
    assert world.reads(ANNA) == []


def test_a_hidden_player_arrives_changes_and_leaves_unseen(world: World) -> None:
    world.log_in(BORIS)

    world.log_in(ANNA, hidden=True)
    world.set_status(ANNA)
    world.run(world.presence.end(str(ANNA)))

    assert world.reads(BORIS) == []


def test_a_hidden_player_sees_the_others(world: World) -> None:
    world.log_in(ANNA, hidden=True)

    boris = world.log_in(BORIS)

    assert world.reads(ANNA) == [presence.presence(boris) + presence.stats(boris)]


def test_with_many_online_an_arrival_is_its_id_alone(world: World) -> None:
    world.log_in(BORIS)
    for user_id in range(100, 100 + MANY_ONLINE):
        world.log_in(user_id)
    world.reads(BORIS)

    world.log_in(ANNA)

    assert world.reads(BORIS) == [packets.user_presence_single(ANNA)]


def test_a_status_is_read_once_by_everybody_else(world: World) -> None:
    world.log_in(ANNA)
    world.log_in(BORIS)

    world.set_status(ANNA, action=1)
    anna = world.set_status(ANNA, action=2)

    assert world.reads(BORIS) == [presence.stats(anna)]
    assert world.reads(BORIS) == []


def test_another_mode_brings_its_own_figures(world: World) -> None:
    world.stats[ANNA, 4] = ShownStats(pp=700, rank=2, acc=98.5, plays=7)
    world.log_in(ANNA)

    anna = world.set_status(ANNA, mode=0, mods=128)

    assert anna.status.mode == 4
    assert anna.stats == ShownStats(pp=700, rank=2, acc=98.5, plays=7)


@pytest.mark.parametrize(
    ("mode", "mods", "server_mode", "kept"),
    [(0, 128, 4, 128), (1, 128, 5, 128), (3, 128, 3, 0), (0, 8192, 8, 8192), (1, 8192, 1, 0), (2, 72, 2, 72)],
)
def test_relax_and_autopilot_make_the_mode_and_vanish_where_they_mean_nothing(
    mode: int, mods: int, server_mode: int, kept: int
) -> None:
    status = status_of(action=2, info_text="", map_md5="", map_id=0, mods=mods, mode=mode)

    assert (status.mode, status.mods) == (server_mode, kept)


def test_an_unknown_action_is_unknown_and_texts_are_bounded() -> None:
    status = status_of(action=99, info_text="x" * 999, map_md5="no md5", map_id=-1, mods=0, mode=0)

    assert status == Status(action=7, info_text="x" * 255)


def test_figures_that_changed_are_told_and_equal_ones_are_not(world: World) -> None:
    world.log_in(ANNA)
    world.log_in(BORIS)
    world.stats[ANNA, 0] = ShownStats(pp=100, rank=1)

    world.run(world.presence.refresh_players([str(ANNA), "99"]))
    world.run(world.presence.refresh_players([str(ANNA)]))

    assert world.reads(BORIS) == [presence.stats(world.run(world.realtime.session(str(ANNA))))]


def test_big_pp_stands_in_place_of_the_ranked_score_for_clients_that_cannot_read_it(world: World) -> None:
    world.stats[ANNA, 0] = ShownStats(pp=40_000, rscore=5)
    old = world.log_in(BORIS)
    world.run(world.presence.change(old, build=20250101))

    anna = world.log_in(ANNA)

    assert world.reads(BORIS) == [presence.presence(anna) + presence.stats(anna, 32_767)]
    assert presence.stats(anna, 32_767) != presence.stats(anna)


def test_leaving_is_told_once_when_the_last_session_ends(world: World) -> None:
    world.log_in(BORIS)
    world.log_in(ANNA)
    world.log_in(ANNA, token="viewer", tournament=True)
    world.reads(BORIS)

    world.run(world.presence.end("viewer"))
    assert world.reads(BORIS) == []

    world.run(world.presence.end(str(ANNA)))
    world.run(world.presence.end(str(ANNA)))
    assert world.reads(BORIS) == [packets.user_logout(ANNA)]


def test_whoever_is_told_of_departures_gets_each_session_once_and_a_fault_stops_nobody(world: World) -> None:
    told: list[int] = []

    async def faulty(session: Session) -> None:
        raise ValueError

    async def note(session: Session) -> None:
        told.append(session.user_id)

    world.presence.when_somebody_left(faulty, note)
    world.log_in(ANNA)

    world.run(world.presence.end_sessions_of(ANNA))
    world.run(world.presence.end_sessions_of(ANNA))

    assert told == [ANNA]


def test_a_session_nobody_polls_ends_after_five_minutes(world: World) -> None:
    world.log_in(ANNA)
    world.clock.advance(200)
    world.log_in(BORIS)
    world.clock.advance(101)

    world.run(world.presence.expire())

    with pytest.raises(SessionGone):
        world.reads(ANNA)
    assert world.reads(BORIS) == [packets.user_logout(ANNA)]


def test_setting_the_wall_clock_ends_no_session(world: World) -> None:
    world.log_in(ANNA)
    world.clock.set_now_ms(world.clock.now_ms() + 86_400_000)

    world.run(world.presence.expire())

    assert world.reads(ANNA) == []


def test_a_session_heard_of_just_now_is_no_ghost(world: World) -> None:
    world.log_in(ANNA)
    world.clock.advance(9.9)

    with pytest.raises(AlreadyOnline):
        world.run(world.presence.make_room(ANNA, tournament=False))

    world.clock.advance(0.2)
    world.run(world.presence.make_room(ANNA, tournament=False))
    with pytest.raises(SessionGone):
        world.reads(ANNA)


def test_of_two_that_log_in_at_once_one_stays(world: World) -> None:
    world.log_in(BORIS)

    world.log_in(ANNA, token="b")
    world.log_in(ANNA, token="a")

    assert [one.token for one in world.run(world.realtime.sessions_of(ANNA))] == ["b"]
    assert packets.user_logout(ANNA) not in world.reads(BORIS)


def test_the_oldest_of_eighteen_tournament_clients_makes_room(world: World) -> None:
    for number in range(18):
        world.log_in(ANNA, token=f"viewer {number}", tournament=True)
        world.clock.advance(1)

    world.run(world.presence.make_room(ANNA, tournament=True))

    left = [one.token for one in world.run(world.realtime.sessions_of(ANNA))]
    assert left == [f"viewer {number}" for number in range(1, 18)]


def test_new_privileges_reach_the_session_and_everybody_who_sees_the_player(world: World) -> None:
    world.log_in(ANNA)
    world.log_in(BORIS)
    world.reads(ANNA)
    world.rows.priv[ANNA] = 3 | 4096

    world.run(world.presence.follow_privileges([str(ANNA)]))

    anna = world.run(world.realtime.session(str(ANNA)))
    assert anna.priv == 3 | 4096
    assert world.reads(ANNA) == [presence.privileges(anna) + presence.presence(anna)]
    assert world.reads(BORIS) == [presence.presence(anna)]


@pytest.mark.parametrize("priv", [2, 0])
def test_who_is_restricted_while_online_is_logged_off(world: World, priv: int) -> None:
    world.log_in(ANNA)
    world.log_in(BORIS)
    world.rows.priv[ANNA] = priv

    world.run(world.presence.follow_privileges([str(ANNA)]))

    with pytest.raises(SessionGone):
        world.reads(ANNA)
    assert world.reads(BORIS) == [packets.user_logout(ANNA)]


def test_asking_for_players_brings_their_statuses_for_a_minute(world: World) -> None:
    anna = world.log_in(ANNA)
    for user_id in range(100, 101 + MANY_ONLINE):
        world.log_in(user_id)
    world.run(world.presence.watch(anna, (100, 101)))
    world.reads(ANNA)

    watched, other = world.set_status(100), world.set_status(102)

    assert world.reads(ANNA) == [presence.stats(watched)]
    assert presence.stats(other) != presence.stats(watched)
    world.clock.advance(61)
    world.set_status(100, action=5)
    assert world.reads(ANNA) == []


def test_who_was_active_is_written_once(world: World) -> None:
    world.log_in(ANNA)

    world.run(world.presence.write_active())

    assert world.rows.active == {ANNA: world.clock.now_ms()}
    world.rows.active.clear()
    world.run(world.presence.write_active())
    assert world.rows.active == {}


def test_a_status_keeps_figures_that_were_read_anew_meanwhile(world: World) -> None:
    before = world.log_in(ANNA)
    world.stats[ANNA, 0] = ShownStats(plays=2, pp=12)
    world.run(world.presence.refresh_players([str(ANNA)]))

    # A request that had read the session before the figures changed.
    after = world.run(world.presence.set_status(before, msgspec.structs.replace(before.status, action=5)))

    assert (after.status.action, after.stats) == (5, ShownStats(plays=2, pp=12))


def test_figures_of_a_mode_that_was_left_meanwhile_are_not_shown(world: World) -> None:
    before = world.log_in(ANNA)
    world.stats[ANNA, 0] = ShownStats(plays=2, pp=12)
    world.stats[ANNA, 1] = ShownStats(plays=7, pp=99)
    world.set_status(ANNA, mode=1)

    after = world.run(world.presence.refresh(before))

    assert (after.status.mode, after.stats) == (1, ShownStats(plays=7, pp=99))

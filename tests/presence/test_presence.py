"""Logins, statuses and log-outs, as the polls of other players show them."""

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
from kiai.realtime.port import CROWDED_ABOVE, Session, SessionGone, SessionStats, Status

Run = Callable[[Coroutine[Any, Any, Any]], Any]

ANNA, BORIS, CARLA = 3, 4, 5


class Rows:
    """A stand-in for the accounts, with the columns that presence reads."""

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
    """A server that has only presence."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.clock = ManualClock()
        self.realtime = MemoryRealtime(self.clock)
        self.rows = Rows()
        self.stats: dict[tuple[int, int], SessionStats] = {}

        async def stats_of(user_id: int, mode: int) -> SessionStats:
            return self.stats.get((user_id, mode), SessionStats())

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
        opened: Session = self.run(self.presence.open_session(session))
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


def test_login_is_announced_to_others_only(world: World) -> None:
    world.log_in(BORIS)

    anna = world.log_in(ANNA)

    assert world.reads(BORIS) == [presence.presence(anna) + presence.stats(anna)]
    assert world.reads(ANNA) == []


def test_hidden_player_is_never_announced(world: World) -> None:
    world.log_in(BORIS)

    world.log_in(ANNA, hidden=True)
    world.set_status(ANNA)
    world.run(world.presence.end(str(ANNA)))

    assert world.reads(BORIS) == []


def test_hidden_player_reads_announcements_of_others(world: World) -> None:
    world.log_in(ANNA, hidden=True)

    boris = world.log_in(BORIS)

    assert world.reads(ANNA) == [presence.presence(boris) + presence.stats(boris)]


def test_login_on_a_crowded_server_announces_only_the_id(world: World) -> None:
    world.log_in(BORIS)
    for user_id in range(100, 100 + CROWDED_ABOVE):
        world.log_in(user_id)
    world.reads(BORIS)

    world.log_in(ANNA)

    assert world.reads(BORIS) == [packets.user_presence_single(ANNA)]


def test_status_is_pushed_once_to_everybody_else(world: World) -> None:
    world.log_in(ANNA)
    world.log_in(BORIS)

    world.set_status(ANNA, action=1)
    anna = world.set_status(ANNA, action=2)

    assert world.reads(BORIS) == [presence.stats(anna)]
    assert world.reads(BORIS) == []


def test_new_mode_sets_the_stats_of_that_mode(world: World) -> None:
    world.stats[ANNA, 4] = SessionStats(pp=700, rank=2, acc=98.5, plays=7)
    world.log_in(ANNA)

    anna = world.set_status(ANNA, mode=0, mods=128)

    assert anna.status.mode == 4
    assert anna.stats == SessionStats(pp=700, rank=2, acc=98.5, plays=7)


@pytest.mark.parametrize(
    ("mode", "mods", "server_mode", "remaining_mods"),
    [(0, 128, 4, 128), (1, 128, 5, 128), (3, 128, 3, 0), (0, 8192, 8, 8192), (1, 8192, 1, 0), (2, 72, 2, 72)],
)
def test_relax_and_autopilot_set_the_mode_or_are_removed(
    mode: int, mods: int, server_mode: int, remaining_mods: int
) -> None:
    status = status_of(action=2, info_text="", map_md5="", map_id=0, mods=mods, mode=mode)

    assert (status.mode, status.mods) == (server_mode, remaining_mods)


def test_unknown_action_becomes_unknown_and_texts_are_bounded() -> None:
    status = status_of(action=99, info_text="x" * 999, map_md5="no md5", map_id=-1, mods=0, mode=0)

    assert status == Status(action=7, info_text="x" * 255)


def test_refresh_publishes_only_changed_stats(world: World) -> None:
    world.log_in(ANNA)
    world.log_in(BORIS)
    world.stats[ANNA, 0] = SessionStats(pp=100, rank=1)

    world.run(world.presence.refresh_players([str(ANNA), "99"]))
    world.run(world.presence.refresh_players([str(ANNA)]))

    assert world.reads(BORIS) == [presence.stats(world.run(world.realtime.session(str(ANNA))))]


def test_large_pp_replaces_the_ranked_score_for_old_clients(world: World) -> None:
    world.stats[ANNA, 0] = SessionStats(pp=40_000, rscore=5)
    old = world.log_in(BORIS)
    world.run(world.presence.change(old, build=20250101))

    anna = world.log_in(ANNA)

    assert world.reads(BORIS) == [presence.presence(anna) + presence.stats(anna, 32_767)]
    assert presence.stats(anna, 32_767) != presence.stats(anna)


def test_logout_is_announced_once_after_the_last_session(world: World) -> None:
    world.log_in(BORIS)
    world.log_in(ANNA)
    world.log_in(ANNA, token="viewer", tournament=True)
    world.reads(BORIS)

    world.run(world.presence.end("viewer"))
    assert world.reads(BORIS) == []

    world.run(world.presence.end(str(ANNA)))
    world.run(world.presence.end(str(ANNA)))
    assert world.reads(BORIS) == [packets.user_logout(ANNA)]


def test_each_listener_receives_an_ended_session_once_despite_faults_of_others(world: World) -> None:
    received: list[int] = []

    async def faulty(session: Session) -> None:
        raise ValueError

    async def note(session: Session) -> None:
        received.append(session.user_id)

    world.presence.subscribe_to_session_end(faulty, note)
    world.log_in(ANNA)

    world.run(world.presence.end_sessions_of(ANNA))
    world.run(world.presence.end_sessions_of(ANNA))

    assert received == [ANNA]


def test_session_without_polls_ends_after_five_minutes(world: World) -> None:
    world.log_in(ANNA)
    world.clock.advance(200)
    world.log_in(BORIS)
    world.clock.advance(101)

    world.run(world.presence.expire())

    with pytest.raises(SessionGone):
        world.reads(ANNA)
    assert world.reads(BORIS) == [packets.user_logout(ANNA)]


def test_change_of_the_wall_clock_ends_no_session(world: World) -> None:
    world.log_in(ANNA)
    world.clock.set_now_ms(world.clock.now_ms() + 86_400_000)

    world.run(world.presence.expire())

    assert world.reads(ANNA) == []


def test_session_that_polled_recently_is_not_replaced(world: World) -> None:
    world.log_in(ANNA)
    world.clock.advance(9.9)

    with pytest.raises(AlreadyOnline):
        world.run(world.presence.end_replaced_sessions(ANNA, tournament=False))

    world.clock.advance(0.2)
    world.run(world.presence.end_replaced_sessions(ANNA, tournament=False))
    with pytest.raises(SessionGone):
        world.reads(ANNA)


def test_one_of_two_concurrent_logins_stays(world: World) -> None:
    world.log_in(BORIS)

    world.log_in(ANNA, token="b")
    world.log_in(ANNA, token="a")

    assert [one.token for one in world.run(world.realtime.sessions_of(ANNA))] == ["b"]
    assert packets.user_logout(ANNA) not in world.reads(BORIS)


def test_nineteenth_tournament_client_ends_the_oldest(world: World) -> None:
    for number in range(18):
        world.log_in(ANNA, token=f"viewer {number}", tournament=True)
        world.clock.advance(1)

    world.run(world.presence.end_replaced_sessions(ANNA, tournament=True))

    left = [one.token for one in world.run(world.realtime.sessions_of(ANNA))]
    assert left == [f"viewer {number}" for number in range(1, 18)]


def test_new_privileges_reach_the_session_and_all_players(world: World) -> None:
    world.log_in(ANNA)
    world.log_in(BORIS)
    world.reads(ANNA)
    world.rows.priv[ANNA] = 3 | 4096

    world.run(world.presence.on_privileges_change([str(ANNA)]))

    anna = world.run(world.realtime.session(str(ANNA)))
    assert anna.priv == 3 | 4096
    assert world.reads(ANNA) == [presence.privileges(anna) + presence.presence(anna)]
    assert world.reads(BORIS) == [presence.presence(anna)]


@pytest.mark.parametrize("priv", [2, 0])
def test_restriction_ends_the_sessions_of_the_player(world: World, priv: int) -> None:
    world.log_in(ANNA)
    world.log_in(BORIS)
    world.rows.priv[ANNA] = priv

    world.run(world.presence.on_privileges_change([str(ANNA)]))

    with pytest.raises(SessionGone):
        world.reads(ANNA)
    assert world.reads(BORIS) == [packets.user_logout(ANNA)]


def test_stats_request_pushes_statuses_for_a_minute(world: World) -> None:
    anna = world.log_in(ANNA)
    for user_id in range(100, 101 + CROWDED_ABOVE):
        world.log_in(user_id)
    world.run(world.presence.request_stats(anna, (100, 101)))
    world.reads(ANNA)

    watched, other = world.set_status(100), world.set_status(102)

    assert world.reads(ANNA) == [presence.stats(watched)]
    assert presence.stats(other) != presence.stats(watched)
    world.clock.advance(61)
    world.set_status(100, action=5)
    assert world.reads(ANNA) == []


def test_last_seen_is_written_once_per_active_player(world: World) -> None:
    world.log_in(ANNA)

    world.run(world.presence.last_seen.flush())

    assert world.rows.active == {ANNA: world.clock.now_ms()}
    world.rows.active.clear()
    world.run(world.presence.last_seen.flush())
    assert world.rows.active == {}


def test_status_keeps_newer_stats_of_its_mode(world: World) -> None:
    before = world.log_in(ANNA)
    world.stats[ANNA, 0] = SessionStats(plays=2, pp=12)
    world.run(world.presence.refresh_players([str(ANNA)]))

    # A request that had read the session before the figures changed.
    after = world.run(world.presence.set_status(before, msgspec.structs.replace(before.status, action=5)))

    assert (after.status.action, after.stats) == (5, SessionStats(plays=2, pp=12))


def test_refresh_ignores_stats_of_a_mode_left_meanwhile(world: World) -> None:
    before = world.log_in(ANNA)
    world.stats[ANNA, 0] = SessionStats(plays=2, pp=12)
    world.stats[ANNA, 1] = SessionStats(plays=7, pp=99)
    world.set_status(ANNA, mode=1)

    after = world.run(world.presence.refresh(before))

    assert (after.status.mode, after.stats) == (1, SessionStats(plays=7, pp=99))

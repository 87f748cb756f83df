"""Promises of the realtime port about sessions and online players."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest
from tests.contract.realtime.builders import a_session, an_entry, becomes, read
from tests.contract.realtime.conftest import Run

from kiai.clock import ManualClock
from kiai.realtime.port import (
    BOT_ID,
    LOBBY,
    ONLINE,
    Entry,
    Realtime,
    Session,
    SessionGone,
    SessionRule,
    SessionStats,
    Status,
    spectate_topic,
)


class Full(Exception):
    """The exception that rules of these tests raise."""


def test_open_session_is_found_by_its_token(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        opened = a_session("token-a", 3)

        await realtime.open_session(opened)

        assert await realtime.session("token-a") == opened

    run(scenario)


def test_unknown_token_raises_session_gone(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a"))

        with pytest.raises(SessionGone) as gone:
            await realtime.session("token-b")
        for verb in (
            realtime.change_session("token-b", becomes(away="tea")),
            realtime.poll("token-b"),
            realtime.idle_s("token-b"),
        ):
            with pytest.raises(SessionGone):
                await verb

        assert "token-b" not in str(gone.value)

    run(scenario)


def test_closed_session_is_gone_and_can_be_closed_again(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3))

        await realtime.close_session("token-a")
        await realtime.close_session("token-a")

        for verb in (
            realtime.session("token-a"),
            realtime.change_session("token-a", becomes(away="tea")),
            realtime.poll("token-a"),
            realtime.idle_s("token-a"),
        ):
            with pytest.raises(SessionGone):
                await verb
        assert await realtime.sessions_of(3) == []
        assert await realtime.sessions_among([3]) == {}
        assert await realtime.online_count() == 0

    run(scenario)


def test_one_of_many_concurrent_callers_closes_the_session(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3))
        became = await realtime.change_session("token-a", becomes(away="tea"))

        answers = await asyncio.gather(*(realtime.close_session("token-a") for _ in range(10)))

        assert [one for one in answers if one is not None] == [became]
        assert await realtime.close_session("token-b") is None

    run(scenario)


def test_session_stores_all_its_fields(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        opened = Session(
            token="token-a",
            user_id=3,
            login_time_ms=1_000,
            status=Status(action=2, info_text="Kiai", map_md5="a" * 32, map_id=75, mods=72, mode=None),
            tournament=True,
            name="Some Player",
            priv=2**30,
            country="nl",
            build=20250306,
            client="b20250306.1cuttingedge",
            client_hashes="a:b:c:d:e:",
            utc_offset=-8,
            longitude=-4.5,
            latitude=52.25,
            stats=SessionStats(2**40, 98.76, 12, 2**50, 3, 12_345),
            presence_filter=2,
            friends_only_dms=True,
            friends=frozenset({4, 5}),
            blocked=frozenset({6}),
            silenced_until_ms=2_000,
            away="be right back",
            in_lobby=True,
            match_id=7,
            room_id=8,
            spectating=9,
            watched=frozenset({10}),
            watched_until_ms=3_000,
            follows=frozenset({ONLINE, LOBBY}),
        )

        await realtime.open_session(opened)

        assert await realtime.session("token-a") == opened
        assert await realtime.sessions_of(3) == [opened]

    run(scenario)


def test_change_session_stores_the_result_of_the_rule(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        opened = a_session("token-a", 3)
        playing = Status(action=2, info_text="Kiai", map_md5="a" * 32, map_id=75, mods=72, mode=None)
        await realtime.open_session(opened)

        became = await realtime.change_session("token-a", becomes(status=playing))

        assert became == msgspec.structs.replace(opened, status=playing)
        assert await realtime.session("token-a") == became
        assert await realtime.sessions_of(3) == [became]
        assert await realtime.sessions_among([3]) == {3: became}

    run(scenario)


def test_session_is_unchanged_after_its_rule_raised(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        def refuse(session: Session) -> tuple[Session, Sequence[Entry]]:
            raise Full

        opened = a_session("token-a", 3, ONLINE)
        await realtime.open_session(opened)
        await realtime.append([an_entry(ONLINE, "not polled yet")])

        with pytest.raises(Full):
            await realtime.change_session("token-a", refuse)

        assert await realtime.session("token-a") == opened
        assert await realtime.followers([ONLINE]) == [1]
        assert await read(realtime, "token-a") == [b"not polled yet"]

    run(scenario)


def test_concurrent_changes_of_a_session_are_all_applied(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a"))

        def befriend(user_id: int) -> SessionRule:
            return lambda session: (msgspec.structs.replace(session, friends=session.friends | {user_id}), ())

        await asyncio.gather(*(realtime.change_session("token-a", befriend(n)) for n in range(30)))

        assert (await realtime.session("token-a")).friends == set(range(30))

    run(scenario)


def test_session_value_does_not_change_after_it_was_read(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a"))
        read_once = await realtime.session("token-a")

        await realtime.change_session("token-a", becomes(status=Status(action=9)))

        assert read_once.status == Status()

    run(scenario)


def test_session_with_the_same_token_is_replaced(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3))

        await realtime.open_session(a_session("token-a", 4))

        assert (await realtime.session("token-a")).user_id == 4
        assert await realtime.sessions_of(3) == []
        assert await realtime.online_among([3, 4]) == {4}
        assert await realtime.online_count() == 1

    run(scenario)


def test_sessions_of_a_user_are_sorted_by_login_time_then_token(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-c", 3, login_time_ms=1_000))
        await realtime.open_session(a_session("token-b", 3, login_time_ms=2_000))
        await realtime.open_session(a_session("token-a", 3, login_time_ms=1_000))
        await realtime.open_session(a_session("token-d", 4, login_time_ms=1_500))
        await realtime.open_session(a_session("token-0", 3, login_time_ms=900, hidden=True))

        tokens = [one.token for one in await realtime.sessions_of(3)]

        assert tokens == ["token-0", "token-a", "token-c", "token-b"]

    run(scenario)


def test_user_with_two_clients_counts_once_until_the_last_one_ends(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3))
        await realtime.open_session(a_session("token-b", 3))
        await realtime.open_session(a_session("token-c", 4))

        with_two = await realtime.online_count()
        await realtime.close_session("token-a")
        with_one = await realtime.online_count()
        await realtime.close_session("token-b")
        with_none = await realtime.online_count()

        assert (with_two, with_one, with_none) == (2, 2, 1)

    run(scenario)


@pytest.mark.parametrize(("hidden", "online"), [(False, {3}), (True, set())])
def test_hidden_session_is_in_no_online_count(run: Run, hidden: bool, online: set[int]) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, hidden=hidden))

        found = await realtime.online_among([3])

        assert found == online
        assert await realtime.online_count() == len(online)
        assert [one.token for one in await realtime.sessions_of(3)] == ["token-a"]

    run(scenario)


def test_bot_is_in_no_online_count(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", BOT_ID))
        await realtime.open_session(a_session("token-b", 3))

        with_both = await realtime.online_count(), await realtime.online_among([BOT_ID, 3])
        await realtime.close_session("token-a")

        assert with_both == (1, {3})
        assert await realtime.online_count() == 1

    run(scenario)


def test_online_among_returns_only_the_given_users(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        for user_id in (3, 4, 5):
            await realtime.open_session(a_session(f"token-{user_id}", user_id))

        found = await realtime.online_among([5, 4, 4, 99])

        assert found == {4, 5}
        assert await realtime.online_among([]) == set()

    run(scenario)


def test_change_of_the_wall_clock_ends_no_session(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3))

        clock.set_now_ms(clock.now_ms() + 24 * 3_600_000)

        assert (await realtime.session("token-a")).user_id == 3
        assert await realtime.online_count() == 1

    run(scenario)


def test_online_count_is_right_after_concurrent_logins_and_logouts(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        async def come_and_perhaps_go(number: int) -> None:
            await realtime.open_session(a_session(f"token-{number}", 3 + number // 2))
            if number % 4 < 2:
                await realtime.close_session(f"token-{number}")

        await asyncio.gather(*(come_and_perhaps_go(number) for number in range(40)))

        assert await realtime.online_count() == 10
        assert await realtime.online_among(range(3, 23)) == set(range(4, 23, 2))

    run(scenario)


def test_online_ids_contain_each_visible_user_once(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3))
        await realtime.open_session(a_session("token-b", 3, tournament=True))
        await realtime.open_session(a_session("token-c", 4))
        await realtime.open_session(a_session("token-d", 5, hidden=True))
        await realtime.open_session(a_session("token-e", BOT_ID))

        listed = await realtime.online_ids()
        await realtime.close_session("token-c")

        assert sorted(listed) == [3, 4]
        assert await realtime.online_ids() == [3]

    run(scenario)


def test_sessions_among_prefers_the_game_then_the_earliest_tournament_client(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("late", 3, tournament=True, login_time_ms=3_000))
        await realtime.open_session(a_session("early", 3, tournament=True, login_time_ms=1_000))
        await realtime.open_session(a_session("other", 4, tournament=True, login_time_ms=5))
        clients_alone = await realtime.sessions_among([3, 4])
        await realtime.open_session(a_session("game", 3, login_time_ms=9_000))

        with_the_game = await realtime.sessions_among([3, 4, 4])

        assert {user_id: one.token for user_id, one in clients_alone.items()} == {3: "early", 4: "other"}
        assert {user_id: one.token for user_id, one in with_the_game.items()} == {3: "game", 4: "other"}

    run(scenario)


def test_hidden_session_is_found_only_by_its_own_user(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, hidden=True))
        await realtime.open_session(a_session("token-b", 4))

        assert list(await realtime.sessions_among([3, 4, 99])) == [4]
        assert await realtime.sessions_among([]) == {}
        assert [one.token for one in await realtime.sessions_of(3)] == ["token-a"]

    run(scenario)


def test_idle_time_counts_from_the_opening_and_from_each_poll(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a"))
        clock.advance(20)
        opened = await realtime.idle_s("token-a")
        await realtime.change_session("token-a", becomes(away="tea"))
        await realtime.session("token-a")
        changed = await realtime.idle_s("token-a")
        await realtime.poll("token-a")
        polled = await realtime.idle_s("token-a")
        clock.advance(2.5)

        assert (opened, changed, polled) == pytest.approx((20, 20, 0))
        assert await realtime.idle_s("token-a") == pytest.approx(2.5)

    run(scenario)


def test_idle_sessions_are_listed_longest_idle_first(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        for token in ("token-c", "token-b", "token-a"):
            await realtime.open_session(a_session(token))
            clock.advance(10)
        await realtime.poll("token-b")
        clock.advance(10)

        assert await realtime.idle_sessions(20) == ["token-c", "token-a"]
        assert await realtime.idle_sessions(20.5) == ["token-c"]
        assert await realtime.idle_sessions(0) == ["token-c", "token-a", "token-b"]
        assert await realtime.idle_sessions(0, 2) == ["token-c", "token-a"]
        assert await realtime.idle_sessions(41) == []

    run(scenario)


def test_closed_session_is_not_listed_as_idle(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a"))
        clock.advance(300)

        await realtime.close_session("token-a")

        assert await realtime.idle_sessions(1) == []

    run(scenario)


def test_change_of_the_wall_clock_makes_no_session_idle(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a"))

        idle: list[tuple[float, list[str]]] = []
        for now_ms in (clock.now_ms() + 24 * 3_600_000, 0):
            clock.set_now_ms(now_ms)
            idle.append((await realtime.idle_s("token-a"), await realtime.idle_sessions(1)))

        assert idle == [(0, []), (0, [])]

    run(scenario)


def test_append_unless_online_appends_nothing_while_the_user_is_online(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("reader", 9, ONLINE))
        await realtime.open_session(a_session("token-a", 3))
        await realtime.append([an_entry(ONLINE, "left too early")], unless_online=3)
        await realtime.close_session("token-a")
        await realtime.append([an_entry(ONLINE, "left")], unless_online=3)
        await realtime.open_session(a_session("hidden", 3, hidden=True))
        await realtime.append([an_entry(ONLINE, "seen by nobody")], unless_online=3)
        _, entries = await realtime.poll("reader")
        assert [entry.body for entry in entries] == [b"left", b"seen by nobody"]

    run(scenario)


def test_arrival_is_appended_only_for_a_user_who_was_offline(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("reader", 9, ONLINE))
        for number in range(3):
            arrival = [an_entry(ONLINE, f"arrives {number}")]
            await realtime.open_session(
                a_session(f"token-{number}", 3), [an_entry(ONLINE, f"opens {number}")], arrival=arrival
            )
            if number == 1:
                await realtime.close_session("token-0")
                await realtime.close_session("token-1")
        _, entries = await realtime.poll("reader")
        bodies = [entry.body for entry in entries]
        assert bodies == [b"arrives 0", b"opens 0", b"opens 1", b"arrives 2", b"opens 2"]

    run(scenario)


def test_change_unless_followed_changes_nothing_while_the_topic_has_a_follower(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        topic = spectate_topic(3)
        await realtime.open_session(a_session("host", 3))
        await realtime.open_session(a_session("viewer", 4, topic, hidden=True))

        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            return msgspec.structs.replace(now, match_id=now.match_id + 1), ()

        first = await realtime.change_session("host", rule, unless_followed=topic)
        await realtime.close_session("viewer")
        second = await realtime.change_session("host", rule, unless_followed=topic)
        assert (first.match_id, second.match_id, (await realtime.session("host")).match_id) == (0, 1, 1)

    run(scenario)

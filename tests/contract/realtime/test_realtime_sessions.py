"""What the realtime port promises about sessions and who is online."""

import asyncio

import msgspec
import pytest
from tests.contract.realtime.conftest import Run

from kiai.clock import ManualClock
from kiai.realtime.port import BOT_ID, Realtime, Session, SessionGone, Status


def a_session(token: str = "token-a", user_id: int = 3, *, login_time_ms: int = 1_000, hidden: bool = False) -> Session:
    return Session(
        token=token,
        user_id=user_id,
        login_time_ms=login_time_ms,
        last_seen_ms=login_time_ms,
        status=Status(),
        hidden=hidden,
    )


def test_an_open_session_is_found_by_its_token(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        opened = a_session("token-a", 3)

        await realtime.open_session(opened)

        assert await realtime.session("token-a") == opened

    run(scenario)


def test_an_unknown_token_is_a_session_that_is_gone(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a"))

        with pytest.raises(SessionGone) as gone:
            await realtime.session("token-b")
        with pytest.raises(SessionGone):
            await realtime.change_status("token-b", Status(action=1))

        assert "token-b" not in str(gone.value)

    run(scenario)


def test_a_closed_session_is_gone_and_may_be_closed_again(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3))

        await realtime.close_session("token-a")
        await realtime.close_session("token-a")

        with pytest.raises(SessionGone):
            await realtime.session("token-a")
        assert await realtime.sessions_of(3) == []
        assert await realtime.online_count() == 0

    run(scenario)


def test_a_change_of_status_changes_the_status_alone(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        opened = a_session("token-a")
        playing = Status(action=2, info_text="Kiai", map_md5="a" * 32, map_id=75, mods=72, mode=None)
        await realtime.open_session(opened)

        await realtime.change_status("token-a", playing)

        assert await realtime.session("token-a") == msgspec.structs.replace(opened, status=playing)
        assert await realtime.sessions_of(3) == [msgspec.structs.replace(opened, status=playing)]

    run(scenario)


def test_a_session_once_read_does_not_change(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a"))
        read = await realtime.session("token-a")

        await realtime.change_status("token-a", Status(action=9))

        assert read.status == Status()

    run(scenario)


def test_a_session_with_the_same_token_is_replaced(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3))

        await realtime.open_session(a_session("token-a", 4))

        assert (await realtime.session("token-a")).user_id == 4
        assert await realtime.sessions_of(3) == []
        assert await realtime.online_among([3, 4]) == {4}
        assert await realtime.online_count() == 1

    run(scenario)


def test_the_sessions_of_a_user_come_oldest_first_and_of_one_moment_by_token(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-c", 3, login_time_ms=1_000))
        await realtime.open_session(a_session("token-b", 3, login_time_ms=2_000))
        await realtime.open_session(a_session("token-a", 3, login_time_ms=1_000))
        await realtime.open_session(a_session("token-d", 4, login_time_ms=1_500))
        await realtime.open_session(a_session("token-0", 3, login_time_ms=900, hidden=True))

        tokens = [one.token for one in await realtime.sessions_of(3)]

        assert tokens == ["token-0", "token-a", "token-c", "token-b"]

    run(scenario)


def test_a_user_with_two_clients_is_online_once_and_until_the_last_one_leaves(run: Run) -> None:
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
def test_a_hidden_session_is_online_for_nobody(run: Run, hidden: bool, online: set[int]) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, hidden=hidden))

        found = await realtime.online_among([3])

        assert found == online
        assert await realtime.online_count() == len(online)
        assert [one.token for one in await realtime.sessions_of(3)] == ["token-a"]

    run(scenario)


def test_the_bot_is_never_counted(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", BOT_ID))
        await realtime.open_session(a_session("token-b", 3))

        with_both = await realtime.online_count(), await realtime.online_among([BOT_ID, 3])
        await realtime.close_session("token-a")

        assert with_both == (1, {3})
        assert await realtime.online_count() == 1

    run(scenario)


def test_online_among_answers_only_for_those_asked_about(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        for user_id in (3, 4, 5):
            await realtime.open_session(a_session(f"token-{user_id}", user_id))

        found = await realtime.online_among([5, 4, 4, 99])

        assert found == {4, 5}
        assert await realtime.online_among([]) == set()

    run(scenario)


def test_setting_the_wall_clock_ends_no_session(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3))

        clock.set_now_ms(clock.now_ms() + 24 * 3_600_000)

        assert (await realtime.session("token-a")).user_id == 3
        assert await realtime.online_count() == 1

    run(scenario)


def test_many_who_come_and_go_at_once_leave_the_count_right(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        async def come_and_perhaps_go(number: int) -> None:
            await realtime.open_session(a_session(f"token-{number}", 3 + number // 2))
            if number % 4 < 2:
                await realtime.close_session(f"token-{number}")

        await asyncio.gather(*(come_and_perhaps_go(number) for number in range(40)))

        assert await realtime.online_count() == 10
        assert await realtime.online_among(range(3, 23)) == set(range(4, 23, 2))

    run(scenario)

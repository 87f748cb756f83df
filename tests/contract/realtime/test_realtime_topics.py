"""What the realtime port promises about topics, cursors, polls, feeds and the board of statuses."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
import pytest
from tests.contract.realtime.builders import a_session, an_entry, becomes, entries, read
from tests.contract.realtime.conftest import Run

from kiai.clock import ManualClock
from kiai.realtime.port import (
    BOT_ID,
    FEED,
    LOBBY,
    MANY_ONLINE,
    ONLINE,
    STATUS,
    Entry,
    FellBehind,
    Realtime,
    Session,
    SessionGone,
    bound_of,
    chat_topic,
    frames_topic,
    match_topic,
    spectate_topic,
    user_topic,
)

OSU: Final = chat_topic("#osu")
MISSED_BY_NOBODY: Final = (ONLINE, LOBBY, user_topic(3), OSU, match_topic(1), spectate_topic(3))
FRAMES: Final = frames_topic(7)


def status_of(author: int, body: str = "") -> Entry:
    return an_entry(STATUS, body or f"status of {author}", author)


# --- order and cursors


def test_a_topic_has_one_order_for_everybody(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, OSU))
        await realtime.open_session(a_session("token-b", 4, OSU))

        await asyncio.gather(*(realtime.append(entries(OSU, [f"{n}.1", f"{n}.2"])) for n in range(20)))
        seen = [await read(realtime, token) for token in ("token-a", "token-b")]

        assert seen[0] == seen[1]
        assert sorted(seen[0]) == sorted(f"{n}.{m}".encode() for n in range(20) for m in (1, 2))
        for n in range(20):
            assert seen[0].index(f"{n}.2".encode()) == seen[0].index(f"{n}.1".encode()) + 1

    run(scenario)


def test_an_entry_comes_out_as_it_went_in(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        said = Entry(OSU, b"\x07\x00 new \xff", author=4, needs=8, older=b"\x07 old")
        await realtime.open_session(a_session("token-a", 3, OSU))

        await realtime.append([said])

        _, found = await realtime.poll("token-a")
        assert found == [said]

    run(scenario)


def test_the_entries_of_one_append_go_each_to_its_topic_in_their_order(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, OSU))
        await realtime.open_session(a_session("token-b", 4, LOBBY))

        await realtime.append([an_entry(OSU, 1), an_entry(LOBBY, 2), an_entry(OSU, 3), an_entry(LOBBY, 4)])

        assert await read(realtime, "token-a") == [b"1", b"3"]
        assert await read(realtime, "token-b") == [b"2", b"4"]

    run(scenario)


def test_what_was_said_before_one_follows_is_not_seen(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, OSU))
        await realtime.append([an_entry(OSU, "before")])

        await realtime.open_session(a_session("token-b", 4, OSU))
        await realtime.append([an_entry(OSU, "after")])

        assert await read(realtime, "token-b") == [b"after"]
        assert await read(realtime, "token-a") == [b"before", b"after"]

    run(scenario)


def test_what_one_says_is_in_ones_own_next_poll(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, OSU))

        for number in range(3):
            await realtime.append([an_entry(OSU, number, author=3)])

            assert await read(realtime, "token-a") == [str(number).encode()]

    run(scenario)


def test_a_cursor_never_goes_back_and_is_each_sessions_own(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, OSU))
        await realtime.open_session(a_session("token-b", 3, OSU))

        await realtime.append(entries(OSU, [1, 2]))
        first_of_a = await read(realtime, "token-a")
        await realtime.append(entries(OSU, [3]))
        then_of_a = [await read(realtime, "token-a") for _ in range(2)]
        of_b = await read(realtime, "token-b")

        assert (first_of_a, then_of_a, of_b) == ([b"1", b"2"], [[b"3"], []], [b"1", b"2", b"3"])

    run(scenario)


def test_polls_at_once_give_each_entry_once(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, OSU))
        await realtime.append(entries(OSU, range(50)))

        polled = await asyncio.gather(*(read(realtime, "token-a") for _ in range(5)))

        assert sorted(body for one in polled for body in one) == sorted(str(n).encode() for n in range(50))

    run(scenario)


def test_a_poll_answers_with_the_session_as_it_is(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, OSU))
        became = await realtime.change_session("token-a", becomes(away="be right back"))

        session, found = await realtime.poll("token-a")

        assert (session, found) == (became, [])

    run(scenario)


# --- following


def test_what_is_said_where_nobody_follows_is_dropped(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.append(entries(OSU, ["to nobody"]))
        await realtime.open_session(a_session("token-a", 3, OSU))
        await realtime.close_session("token-a")
        await realtime.append(entries(OSU, ["to nobody any more"]))

        await realtime.open_session(a_session("token-b", 4, OSU))

        assert await read(realtime, "token-b") == []

    run(scenario)


def test_a_topic_newly_followed_is_read_from_its_end_before_what_the_change_says(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3))
        await realtime.open_session(a_session("token-b", 4, OSU))
        await realtime.append([an_entry(OSU, "before")])

        joined = becomes(an_entry(OSU, "a joined"), an_entry(LOBBY, "a came"), follows=frozenset({OSU, LOBBY}))
        await realtime.change_session("token-a", joined)
        await realtime.append([an_entry(OSU, "after")])

        assert sorted(await read(realtime, "token-a")) == [b"a came", b"a joined", b"after"]
        assert await read(realtime, "token-b") == [b"before", b"a joined", b"after"]

    run(scenario)


def test_a_topic_no_longer_followed_is_forgotten_with_what_was_not_polled(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, OSU, LOBBY))
        await realtime.open_session(a_session("token-b", 4, OSU))
        await realtime.append([an_entry(OSU, "not polled"), an_entry(LOBBY, "stays")])

        left = becomes(an_entry(OSU, "a left"), follows=frozenset({LOBBY}))
        await realtime.change_session("token-a", left)

        assert await read(realtime, "token-a") == [b"stays"]
        assert await read(realtime, "token-b") == [b"not polled", b"a left"]

    run(scenario)


def test_who_follows_again_starts_at_the_end(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, OSU))
        await realtime.open_session(a_session("token-b", 4, OSU))
        await realtime.append([an_entry(OSU, 1)])

        await realtime.change_session("token-a", becomes(follows=frozenset()))
        await realtime.append([an_entry(OSU, 2)])
        await realtime.change_session("token-a", becomes(follows=frozenset({OSU})))
        await realtime.append([an_entry(OSU, 3)])

        assert await read(realtime, "token-a") == [b"3"]

    run(scenario)


def test_a_change_that_keeps_a_topic_keeps_its_cursor(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, OSU, ONLINE))
        await realtime.append([an_entry(OSU, 1)])

        await realtime.change_session("token-a", becomes(follows=frozenset({OSU, LOBBY})))

        assert await read(realtime, "token-a") == [b"1"]

    run(scenario)


def test_a_session_that_opens_hears_what_its_opening_says_and_so_do_the_others(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, ONLINE))

        await realtime.open_session(a_session("token-b", 4, ONLINE), [an_entry(ONLINE, "b came")])

        assert await read(realtime, "token-a") == [b"b came"]
        assert await read(realtime, "token-b") == [b"b came"]

    run(scenario)


def test_a_session_that_is_replaced_reads_from_the_end(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, OSU))
        await realtime.open_session(a_session("token-b", 4, OSU))
        await realtime.append([an_entry(OSU, "to the one before")])

        await realtime.open_session(a_session("token-a", 3, OSU))

        assert await read(realtime, "token-a") == []

    run(scenario)


def test_followers_are_counted_for_each_topic_and_hidden_ones_are_not(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, OSU, LOBBY))
        await realtime.open_session(a_session("token-b", 3, OSU, tournament=True))
        await realtime.open_session(a_session("token-c", 4, OSU, hidden=True))

        opened = await realtime.followers([OSU, LOBBY, ONLINE, OSU])
        await realtime.change_session("token-a", becomes(follows=frozenset({ONLINE})))
        changed = await realtime.followers([OSU, LOBBY, ONLINE])
        await realtime.close_session("token-b")
        closed = await realtime.followers([OSU, LOBBY, ONLINE])

        assert (opened, changed, closed) == ([2, 1, 0, 2], [1, 0, 1], [0, 0, 1])
        assert await realtime.followers([]) == []

    run(scenario)


def test_a_topic_is_followed_by_hidden_sessions_too(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        before = await realtime.is_followed(OSU)
        await realtime.open_session(a_session("token-a", 3, OSU, hidden=True))
        while_open = await realtime.is_followed(OSU)
        await realtime.close_session("token-a")
        after = await realtime.is_followed(OSU)

        assert (before, while_open, after) == (False, True, False)

    run(scenario)


def test_those_who_follow_a_topic_are_listed_as_they_are_the_earliest_login_first(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-c", 3, OSU, login_time_ms=2_000))
        await realtime.open_session(a_session("token-b", 4, OSU, login_time_ms=1_000))
        await realtime.open_session(a_session("token-a", 5, OSU, login_time_ms=1_000, hidden=True))
        await realtime.open_session(a_session("token-d", 6, LOBBY, login_time_ms=1))
        became = await realtime.change_session("token-c", becomes(away="tea"))

        listed = await realtime.following(OSU)

        assert [one.token for one in listed] == ["token-a", "token-b", "token-c"]
        assert listed[2] == became
        assert await realtime.following(ONLINE) == []

    run(scenario)


# --- bounds


@pytest.mark.parametrize("topic", MISSED_BY_NOBODY)
def test_as_many_entries_as_a_topic_keeps_wait_for_its_readers(run: Run, topic: str) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        kept = bound_of(topic).entries
        await realtime.open_session(a_session("token-a", 3, topic))

        await realtime.append(entries(topic, range(kept)))

        assert await read(realtime, "token-a") == [str(n).encode() for n in range(kept)]

    run(scenario)


@pytest.mark.parametrize("topic", MISSED_BY_NOBODY)
def test_who_is_behind_more_entries_than_a_topic_keeps_fell_behind(run: Run, topic: str) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, topic))
        await realtime.append([an_entry(topic, 0)])
        await realtime.open_session(a_session("token-b", 4, topic))

        await realtime.append(entries(topic, range(2 * bound_of(topic).entries)))

        for token in ("token-a", "token-b"):
            with pytest.raises(FellBehind) as behind:
                await realtime.poll(token)
            assert behind.value.topic == topic

    run(scenario)


def test_who_keeps_up_falls_behind_never(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        topic = user_topic(3)
        step = bound_of(topic).entries // 2
        await realtime.open_session(a_session("token-a", 3, topic))
        read_so_far: list[bytes] = []

        for start in range(0, 6 * step, step):
            await realtime.append(entries(topic, range(start, start + step)))
            read_so_far += await read(realtime, "token-a")

        assert read_so_far == [str(n).encode() for n in range(6 * step)]

    run(scenario)


def test_as_many_bytes_as_a_topic_keeps_wait_for_its_readers(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        piece = bytes(64 * 1024)
        pieces = bound_of(OSU).bytes // len(piece)
        await realtime.open_session(a_session("token-a", 3, OSU))

        await realtime.append(entries(OSU, [piece] * pieces))

        _, found = await realtime.poll("token-a", bound_of(OSU).bytes)
        assert len(found) == pieces

    run(scenario)


def test_who_is_behind_more_bytes_than_a_topic_keeps_fell_behind(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        piece = bytes(64 * 1024)
        await realtime.open_session(a_session("token-a", 3, OSU))

        await realtime.append(entries(OSU, [piece] * (2 * bound_of(OSU).bytes // len(piece))))

        with pytest.raises(FellBehind):
            await realtime.poll("token-a")

    run(scenario)


def test_one_topic_that_overtakes_a_session_does_not_hold_up_the_others(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, OSU))
        await realtime.open_session(a_session("token-b", 4, OSU))
        await realtime.open_session(a_session("token-c", 5, LOBBY))
        half = bound_of(OSU).entries // 2
        for _ in range(4):
            await realtime.append(entries(OSU, range(half)))
            await realtime.poll("token-b")
        await realtime.append([an_entry(LOBBY, "fine")])

        with pytest.raises(FellBehind):
            await realtime.poll("token-a")

        assert await read(realtime, "token-b") == []
        assert await read(realtime, "token-c") == [b"fine"]

    run(scenario)


def test_who_fell_behind_is_still_a_session_and_may_be_closed(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, OSU))
        await realtime.append(entries(OSU, range(2 * bound_of(OSU).entries)))
        for _ in range(2):
            with pytest.raises(FellBehind):
                await realtime.poll("token-a")

        closed = await realtime.close_session("token-a")

        assert closed is not None
        with pytest.raises(SessionGone):
            await realtime.poll("token-a")

    run(scenario)


def test_frames_that_one_was_too_slow_for_are_skipped(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        kept = bound_of(FRAMES).entries
        await realtime.open_session(a_session("token-a", 3, FRAMES))

        await realtime.append(entries(FRAMES, range(10 * kept)))
        found = [int(body) for body in await read(realtime, "token-a")]

        assert len(found) >= kept
        assert found == list(range(10 * kept))[-len(found) :]
        assert found[0] > 0
        assert await read(realtime, "token-a") == []

    run(scenario)


def test_the_newest_frame_is_kept_however_large(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, FRAMES))

        await realtime.append(entries(FRAMES, [b"small", bytes(bound_of(FRAMES).bytes + 1)]))
        _, found = await realtime.poll("token-a")

        assert [len(entry.body) for entry in found] == [bound_of(FRAMES).bytes + 1]

    run(scenario)


def test_a_poll_leaves_what_is_over_its_bytes_for_the_next_one(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, OSU))
        await realtime.append(entries(OSU, [b"aaaa", b"bbb", b"cc", b"d" * 20, b"e"]))

        polled = [[one.body for one in (await realtime.poll("token-a", 9))[1]] for _ in range(5)]

        assert polled == [[b"aaaa", b"bbb", b"cc"], [b"d" * 20], [b"e"], [], []]

    run(scenario)


def test_the_bytes_of_a_poll_are_those_of_all_its_topics(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        topics = (OSU, LOBBY, ONLINE)
        await realtime.open_session(a_session("token-a", 3, *topics))
        for topic in topics:
            await realtime.append(entries(topic, [b"12345", b"67890"]))

        polled = [(await realtime.poll("token-a", 12))[1] for _ in range(4)]

        assert [len(found) for found in polled] == [2, 2, 2, 0]
        for topic in topics:
            assert [one.body for found in polled for one in found if one.topic == topic] == [b"12345", b"67890"]

    run(scenario)


# --- feeds


def test_a_feed_is_kept_without_a_follower(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.append(entries(FEED, ["before"]))
        end = await realtime.feed_end(FEED)
        await realtime.append(entries(FEED, [1, 2, 3]))

        found = await realtime.feed_after(FEED, end)

        assert found == (end, [b"1", b"2", b"3"])
        assert await realtime.feed_end(FEED) == end + 3
        assert await realtime.feed_after(FEED, end + 2) == (end + 2, [b"3"])
        assert await realtime.feed_after(FEED, end + 3) == (end + 3, [])

    run(scenario)


def test_a_feed_is_read_in_pieces(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        cursor = await realtime.feed_end(FEED)
        await realtime.append(entries(FEED, range(600)))
        found: list[bytes] = []
        pieces: list[int] = []

        while True:
            first, bodies = await realtime.feed_after(FEED, cursor, 100 if not found else 256)
            if not bodies:
                break
            assert first == cursor
            found += bodies
            pieces.append(len(bodies))
            cursor = first + len(bodies)

        assert found == [str(n).encode() for n in range(600)]
        assert pieces == [100, 256, 244]

    run(scenario)


def test_a_cursor_from_long_ago_reads_a_feed_from_what_is_kept(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        kept = bound_of(FEED).entries
        start = await realtime.feed_end(FEED)
        await realtime.append(entries(FEED, range(3 * kept)))

        first, bodies = await realtime.feed_after(FEED, start, 3 * kept)

        assert first > start
        assert len(bodies) >= kept
        assert first + len(bodies) == await realtime.feed_end(FEED)
        assert bodies == [str(n).encode() for n in range(first - start, 3 * kept)]

    run(scenario)


def test_a_cursor_of_another_life_reads_a_feed_from_its_end(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.append(entries(FEED, range(3)))
        end = await realtime.feed_end(FEED)

        assert await realtime.feed_after(FEED, end + 1_000) == (end, [])
        assert await realtime.feed_after(FEED, 10**18 - 1) == (end, [])

    run(scenario)


# --- the board of statuses


def test_of_each_author_only_the_newest_status_is_given(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        for user_id in (3, 4, 5):
            await realtime.open_session(a_session(f"token-{user_id}", user_id, STATUS))

        await realtime.append([status_of(4, "4 old"), status_of(5, "5 old"), status_of(4, "4 new")])
        first = await read(realtime, "token-3")
        await realtime.append([status_of(5, "5 new")])
        second = await read(realtime, "token-3")
        third = await read(realtime, "token-3")

        assert (first, second, third) == ([b"5 old", b"4 new"], [b"5 new"], [])

    run(scenario)


def test_statuses_from_before_one_follows_the_board_are_not_given(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3))
        await realtime.open_session(a_session("token-b", 4), [status_of(4, "before")])

        await realtime.change_session("token-a", becomes(follows=frozenset({STATUS})))
        none_yet = await read(realtime, "token-a")
        await realtime.append([status_of(4, "after")])

        assert (none_yet, await read(realtime, "token-a")) == ([], [b"after"])

    run(scenario)


def test_nobody_falls_behind_the_board(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, STATUS))
        await realtime.open_session(a_session("token-b", 4))

        for number in range(10_000):
            await realtime.append([status_of(4, str(number))])

        assert await read(realtime, "token-a") == [b"9999"]

    run(scenario)


def test_the_status_of_who_has_left_is_not_given(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, STATUS))
        await realtime.open_session(a_session("token-b", 4))
        await realtime.open_session(a_session("token-c", 4, tournament=True))
        await realtime.append([status_of(4, "one of two clients left")])
        await realtime.close_session("token-b")
        with_one_client = await read(realtime, "token-a")
        await realtime.append([status_of(4, "both left")])
        await realtime.close_session("token-c")

        with_none = await read(realtime, "token-a")

        assert (with_one_client, with_none) == ([b"one of two clients left"], [])

    run(scenario)


@pytest.mark.parametrize(("presence_filter", "wanted"), [(0, {7}), (1, {4, 5, 7}), (2, {4, 7})])
def test_statuses_are_given_of_those_whom_the_session_wants_to_know_of(
    run: Run, presence_filter: int, wanted: set[int]
) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        reader = a_session("token-a", 3, STATUS, presence_filter=presence_filter, friends=frozenset({4}), spectating=7)
        await realtime.open_session(reader)
        for user_id in (4, 5, 7):
            await realtime.open_session(a_session(f"token-{user_id}", user_id), [status_of(user_id)])

        found = await read(realtime, "token-a")

        assert found == [f"status of {user_id}".encode() for user_id in sorted(wanted)]

    run(scenario)


def test_with_many_online_everybody_means_friends_and_those_asked_for_within_a_minute(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        watched = {"watched": frozenset({5}), "watched_until_ms": clock.now_ms() + 60_000}
        await realtime.open_session(a_session("token-a", 3, STATUS, friends=frozenset({4}), **watched))
        others = range(4, 4 + MANY_ONLINE)
        for user_id in others:
            await realtime.open_session(a_session(f"token-{user_id}", user_id))

        await realtime.append([status_of(user_id) for user_id in others])
        with_many = await read(realtime, "token-a")
        clock.advance(60)
        await realtime.append([status_of(user_id) for user_id in others])
        a_minute_later = await read(realtime, "token-a")
        await realtime.close_session("token-10")
        await realtime.append([status_of(6)])
        with_fewer = await read(realtime, "token-a")

        assert (with_many, a_minute_later) == ([b"status of 4", b"status of 5"], [b"status of 4"])
        assert with_fewer == [b"status of 6"]

    run(scenario)


def test_the_bot_may_follow_too(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-bot", BOT_ID, OSU))

        await realtime.append([an_entry(OSU, "hi")])

        assert await read(realtime, "token-bot") == [b"hi"]

    run(scenario)


def test_what_a_change_of_a_session_says_is_of_the_session_that_it_became(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, match_id=0))
        await realtime.open_session(a_session("token-b", 4, OSU))

        def one_more(session: Session) -> tuple[Session, Sequence[Entry]]:
            after = msgspec.structs.replace(session, match_id=session.match_id + 1)
            return after, [an_entry(OSU, after.match_id)]

        await asyncio.gather(*(realtime.change_session("token-a", one_more) for _ in range(20)))

        assert await read(realtime, "token-b") == [str(n).encode() for n in range(1, 21)]
        assert (await realtime.session("token-a")).match_id == 20

    run(scenario)

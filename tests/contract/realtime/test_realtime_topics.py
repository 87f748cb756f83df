"""Promises of the realtime port about topics, cursors, polls, feeds and the board of statuses."""

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
    CROWDED_ABOVE,
    FEED,
    LOBBY,
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
WITHOUT_SKIPS: Final = (ONLINE, LOBBY, user_topic(3), OSU, match_topic(1), spectate_topic(3))
FRAMES: Final = frames_topic(7)


def status_of(author: int, body: str = "") -> Entry:
    return an_entry(STATUS, body or f"status of {author}", author)


# --- order and cursors


def test_all_readers_of_a_topic_see_the_same_order(run: Run) -> None:
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


def test_polled_entry_equals_the_appended_one(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        appended = Entry(OSU, b"\x07\x00 new \xff", author=4, needs=8, older=b"\x07 old")
        await realtime.open_session(a_session("token-a", 3, OSU))

        await realtime.append([appended])

        _, found = await realtime.poll("token-a")
        assert found == [appended]

    run(scenario)


def test_append_distributes_entries_to_their_topics_in_order(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, OSU))
        await realtime.open_session(a_session("token-b", 4, LOBBY))

        await realtime.append([an_entry(OSU, 1), an_entry(LOBBY, 2), an_entry(OSU, 3), an_entry(LOBBY, 4)])

        assert await read(realtime, "token-a") == [b"1", b"3"]
        assert await read(realtime, "token-b") == [b"2", b"4"]

    run(scenario)


def test_session_does_not_read_entries_from_before_it_followed(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, OSU))
        await realtime.append([an_entry(OSU, "before")])

        await realtime.open_session(a_session("token-b", 4, OSU))
        await realtime.append([an_entry(OSU, "after")])

        assert await read(realtime, "token-b") == [b"after"]
        assert await read(realtime, "token-a") == [b"before", b"after"]

    run(scenario)


def test_session_reads_its_own_entry_in_its_next_poll(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, OSU))

        for number in range(3):
            await realtime.append([an_entry(OSU, number, author=3)])

            assert await read(realtime, "token-a") == [str(number).encode()]

    run(scenario)


def test_each_session_has_its_own_cursor_that_never_moves_back(run: Run) -> None:
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


def test_concurrent_polls_return_each_entry_once(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, OSU))
        await realtime.append(entries(OSU, range(50)))

        polled = await asyncio.gather(*(read(realtime, "token-a") for _ in range(5)))

        assert sorted(body for bodies in polled for body in bodies) == sorted(str(n).encode() for n in range(50))

    run(scenario)


def test_poll_returns_the_present_session(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, OSU))
        became = await realtime.change_session("token-a", becomes(away="be right back"))

        session, found = await realtime.poll("token-a")

        assert (session, found) == (became, [])

    run(scenario)


# --- following


def test_entry_of_a_topic_without_followers_is_dropped(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.append(entries(OSU, ["to nobody"]))
        await realtime.open_session(a_session("token-a", 3, OSU))
        await realtime.close_session("token-a")
        await realtime.append(entries(OSU, ["to nobody any more"]))

        await realtime.open_session(a_session("token-b", 4, OSU))

        assert await read(realtime, "token-b") == []

    run(scenario)


def test_cursor_of_a_new_topic_starts_before_the_entries_of_the_same_change(run: Run) -> None:
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


def test_unread_entries_are_lost_when_a_session_unfollows(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, OSU, LOBBY))
        await realtime.open_session(a_session("token-b", 4, OSU))
        await realtime.append([an_entry(OSU, "not polled"), an_entry(LOBBY, "stays")])

        left = becomes(an_entry(OSU, "a left"), follows=frozenset({LOBBY}))
        await realtime.change_session("token-a", left)

        assert await read(realtime, "token-a") == [b"stays"]
        assert await read(realtime, "token-b") == [b"not polled", b"a left"]

    run(scenario)


def test_session_that_follows_again_starts_at_the_end(run: Run) -> None:
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


def test_change_keeps_the_cursors_of_topics_still_followed(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, OSU, ONLINE))
        await realtime.append([an_entry(OSU, 1)])

        await realtime.change_session("token-a", becomes(follows=frozenset({OSU, LOBBY})))

        assert await read(realtime, "token-a") == [b"1"]

    run(scenario)


def test_new_session_and_others_read_the_entries_of_its_opening(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, ONLINE))

        await realtime.open_session(a_session("token-b", 4, ONLINE), [an_entry(ONLINE, "b came")])

        assert await read(realtime, "token-a") == [b"b came"]
        assert await read(realtime, "token-b") == [b"b came"]

    run(scenario)


def test_replaced_session_reads_from_the_end(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, OSU))
        await realtime.open_session(a_session("token-b", 4, OSU))
        await realtime.append([an_entry(OSU, "to the one before")])

        await realtime.open_session(a_session("token-a", 3, OSU))

        assert await read(realtime, "token-a") == []

    run(scenario)


def test_followers_counts_visible_sessions_per_topic(run: Run) -> None:
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


def test_is_followed_includes_hidden_sessions(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        before = await realtime.is_followed(OSU)
        await realtime.open_session(a_session("token-a", 3, OSU, hidden=True))
        while_open = await realtime.is_followed(OSU)
        await realtime.close_session("token-a")
        after = await realtime.is_followed(OSU)

        assert (before, while_open, after) == (False, True, False)

    run(scenario)


def test_following_returns_present_sessions_earliest_login_first(run: Run) -> None:
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


@pytest.mark.parametrize("topic", WITHOUT_SKIPS)
def test_topic_stores_as_many_entries_as_its_bound(run: Run, topic: str) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        stored = bound_of(topic).entries
        await realtime.open_session(a_session("token-a", 3, topic))

        await realtime.append(entries(topic, range(stored)))

        assert await read(realtime, "token-a") == [str(n).encode() for n in range(stored)]

    run(scenario)


@pytest.mark.parametrize("topic", WITHOUT_SKIPS)
def test_reader_falls_behind_beyond_the_bound_of_entries(run: Run, topic: str) -> None:
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


def test_reader_that_polls_in_time_never_falls_behind(run: Run) -> None:
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


def test_topic_stores_as_many_bytes_as_its_bound(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        piece = bytes(64 * 1024)
        pieces = bound_of(OSU).bytes // len(piece)
        await realtime.open_session(a_session("token-a", 3, OSU))

        await realtime.append(entries(OSU, [piece] * pieces))

        _, found = await realtime.poll("token-a", bound_of(OSU).bytes)
        assert len(found) == pieces

    run(scenario)


def test_reader_falls_behind_beyond_the_bound_of_bytes(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        piece = bytes(64 * 1024)
        await realtime.open_session(a_session("token-a", 3, OSU))

        await realtime.append(entries(OSU, [piece] * (2 * bound_of(OSU).bytes // len(piece))))

        with pytest.raises(FellBehind):
            await realtime.poll("token-a")

    run(scenario)


def test_session_that_falls_behind_does_not_affect_others(run: Run) -> None:
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


def test_session_that_fell_behind_can_be_closed(run: Run) -> None:
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


def test_slow_reader_skips_frames(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        stored = bound_of(FRAMES).entries
        await realtime.open_session(a_session("token-a", 3, FRAMES))

        await realtime.append(entries(FRAMES, range(10 * stored)))
        found = [int(body) for body in await read(realtime, "token-a")]

        assert len(found) >= stored
        assert found == list(range(10 * stored))[-len(found) :]
        assert found[0] > 0
        assert await read(realtime, "token-a") == []

    run(scenario)


def test_newest_frame_is_stored_whatever_its_size(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, FRAMES))

        await realtime.append(entries(FRAMES, [b"small", bytes(bound_of(FRAMES).bytes + 1)]))
        _, found = await realtime.poll("token-a")

        assert [len(entry.body) for entry in found] == [bound_of(FRAMES).bytes + 1]

    run(scenario)


def test_poll_leaves_entries_beyond_its_bytes_for_the_next_poll(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, OSU))
        await realtime.append(entries(OSU, [b"aaaa", b"bbb", b"cc", b"d" * 20, b"e"]))

        polled = [[one.body for one in (await realtime.poll("token-a", 9))[1]] for _ in range(5)]

        assert polled == [[b"aaaa", b"bbb", b"cc"], [b"d" * 20], [b"e"], [], []]

    run(scenario)


def test_bytes_of_a_poll_include_all_topics(run: Run) -> None:
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


def test_feed_is_stored_without_a_follower(run: Run) -> None:
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


def test_feed_can_be_read_in_pieces(run: Run) -> None:
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


def test_old_cursor_reads_a_feed_from_its_oldest_stored_entry(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        stored = bound_of(FEED).entries
        start = await realtime.feed_end(FEED)
        await realtime.append(entries(FEED, range(3 * stored)))

        first, bodies = await realtime.feed_after(FEED, start, 3 * stored)

        assert first > start
        assert len(bodies) >= stored
        assert first + len(bodies) == await realtime.feed_end(FEED)
        assert bodies == [str(n).encode() for n in range(first - start, 3 * stored)]

    run(scenario)


def test_cursor_past_the_end_reads_a_feed_from_its_end(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.append(entries(FEED, range(3)))
        end = await realtime.feed_end(FEED)

        assert await realtime.feed_after(FEED, end + 1_000) == (end, [])
        assert await realtime.feed_after(FEED, 10**18 - 1) == (end, [])

    run(scenario)


# --- the board of statuses


def test_poll_returns_only_the_newest_status_of_each_author(run: Run) -> None:
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


def test_poll_omits_statuses_from_before_the_session_followed(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3))
        await realtime.open_session(a_session("token-b", 4), [status_of(4, "before")])

        await realtime.change_session("token-a", becomes(follows=frozenset({STATUS})))
        none_yet = await read(realtime, "token-a")
        await realtime.append([status_of(4, "after")])

        assert (none_yet, await read(realtime, "token-a")) == ([], [b"after"])

    run(scenario)


def test_no_session_falls_behind_statuses(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-a", 3, STATUS))
        await realtime.open_session(a_session("token-b", 4))

        for number in range(10_000):
            await realtime.append([status_of(4, str(number))])

        assert await read(realtime, "token-a") == [b"9999"]

    run(scenario)


def test_poll_omits_the_status_of_a_player_who_has_left(run: Run) -> None:
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
def test_poll_returns_statuses_by_the_filter_of_the_session(run: Run, presence_filter: int, wanted: set[int]) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        reader = a_session("token-a", 3, STATUS, presence_filter=presence_filter, friends=frozenset({4}), spectating=7)
        await realtime.open_session(reader)
        for user_id in (4, 5, 7):
            await realtime.open_session(a_session(f"token-{user_id}", user_id), [status_of(user_id)])

        found = await read(realtime, "token-a")

        assert found == [f"status of {user_id}".encode() for user_id in sorted(wanted)]

    run(scenario)


def test_crowded_server_pushes_statuses_of_friends_and_recently_requested_players(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        watched = {"watched": frozenset({5}), "watched_until_ms": clock.now_ms() + 60_000}
        await realtime.open_session(a_session("token-a", 3, STATUS, friends=frozenset({4}), **watched))
        others = range(4, 4 + CROWDED_ABOVE)
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


def test_bot_session_can_follow_topics(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.open_session(a_session("token-bot", BOT_ID, OSU))

        await realtime.append([an_entry(OSU, "hi")])

        assert await read(realtime, "token-bot") == [b"hi"]

    run(scenario)


def test_entries_of_a_session_change_match_the_stored_session(run: Run) -> None:
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

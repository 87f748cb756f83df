"""The realtime port against a model so simple that it is right: any sequence of verbs, with everything it says kept.

The model never drops an entry and keeps one index a session and topic. What the port may do beside it: let a session
fall behind, or skip, when more waits than the topic keeps; and leave for later what is over the bytes of a poll.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import Any, Final

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from tests.contract.realtime.adapters import ADAPTERS, Adapter
from tests.contract.realtime.builders import a_session, an_entry, becomes

from kiai.clock import ManualClock
from kiai.realtime.port import (
    BOT_ID,
    FEED,
    ONLINE,
    STATUS,
    Entry,
    FellBehind,
    MatchGone,
    Session,
    SessionGone,
    bound_of,
    chat_topic,
    frames_topic,
)

OSU: Final = chat_topic("#osu")
FRAMES: Final = frames_topic(3)
LOGS: Final = (OSU, ONLINE, FRAMES)
TOKENS: Final = st.sampled_from(["token-a", "token-b", "token-c"])
USERS: Final = st.sampled_from([BOT_ID, 3, 4, 5])
TOPICS: Final = st.frozensets(st.sampled_from([*LOGS, STATUS]))
SAID: Final = st.lists(
    st.tuples(st.sampled_from([*LOGS, STATUS, FEED]), st.integers(0, 12), st.sampled_from([3, 4, 5])), max_size=4
)


class Room(msgspec.Struct, frozen=True):
    """A match of these tests."""

    changes: int = 0


class Reader:
    """A session of the model: where it is in each log, and in the statuses."""

    def __init__(self, session: Session, seen: float) -> None:
        self.session = session
        self.seen = seen
        self.cursors: dict[str, int] = {}


class Beside(RuleBasedStateMachine):
    """The adapter and the model, side by side."""

    adapter: Adapter

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.stack = AsyncExitStack()
        self.realtime = self.do(self.stack.enter_async_context(self.adapter(self.clock)))
        self.logs: dict[str, list[Entry]] = {topic: [] for topic in (*LOGS, FEED)}
        self.statuses: dict[int, tuple[int, Entry]] = {}
        self.changes_of_status = 0
        self.readers: dict[str, Reader] = {}
        self.rooms: dict[int, Room] = {}
        self.said = 0

    def do(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    def teardown(self) -> None:
        try:
            for token in list(self.readers):
                self.poll_all(token)
        finally:
            self.do(self.stack.aclose())
            self.runner.close()

    # --- the model's own acts

    def entries(self, said: list[tuple[str, int, int]]) -> list[Entry]:
        """Entries that differ all from each other; of statuses only those of authors who are there."""
        there = {reader.session.user_id for reader in self.readers.values()}
        made = []
        for topic, size, author in said:
            if topic != STATUS or author in there:
                self.said += 1
                made.append(an_entry(topic, f"{self.said}" + "." * size, author))
        return made

    def note(self, entries: list[Entry]) -> None:
        for entry in entries:
            if entry.topic == STATUS:
                self.changes_of_status += 1
                self.statuses[entry.author] = self.changes_of_status, entry
            else:
                self.logs[entry.topic].append(entry)

    def follow(self, reader: Reader, topics: frozenset[str]) -> None:
        for topic in topics - reader.cursors.keys():
            reader.cursors[topic] = self.changes_of_status if topic == STATUS else len(self.logs[topic])
        for topic in reader.cursors.keys() - topics:
            del reader.cursors[topic]

    def forget(self, token: str) -> None:
        user_id = self.readers.pop(token).session.user_id
        if all(reader.session.user_id != user_id for reader in self.readers.values()):
            self.statuses.pop(user_id, None)

    def shown(self) -> list[Session]:
        sessions = [reader.session for reader in self.readers.values()]
        return [one for one in sessions if not one.hidden and one.user_id != BOT_ID]

    # --- what may be asked of both

    @rule(token=TOKENS, user_id=USERS, hidden=st.booleans(), tournament=st.booleans(), topics=TOPICS, said=SAID)
    def open(
        self, token: str, user_id: int, hidden: bool, tournament: bool, topics: frozenset[str], said: list[Any]
    ) -> None:
        session = a_session(token, user_id, *topics, hidden=hidden, tournament=tournament, login_time_ms=self.said)
        if token in self.readers:
            self.forget(token)
        self.readers[token] = reader = Reader(session, self.clock.monotonic())
        self.follow(reader, topics)
        entries = self.entries(said)
        self.do(self.realtime.open_session(session, entries))
        self.note(entries)

    @rule(token=TOKENS, topics=TOPICS, away=st.text(max_size=3), said=SAID)
    def change(self, token: str, topics: frozenset[str], away: str, said: list[Any]) -> None:
        entries = self.entries(said)
        change = self.realtime.change_session(token, becomes(*entries, follows=topics, away=away))
        if token not in self.readers:
            with pytest.raises(SessionGone):
                self.do(change)
            return
        reader = self.readers[token]
        reader.session = msgspec.structs.replace(reader.session, follows=topics, away=away)
        self.follow(reader, topics)
        self.note(entries)
        assert self.do(change) == reader.session

    @rule(token=TOKENS)
    def close(self, token: str) -> None:
        expected = self.readers[token].session if token in self.readers else None
        if expected is not None:
            self.forget(token)
        assert self.do(self.realtime.close_session(token)) == expected

    @rule(said=SAID)
    def append(self, said: list[Any]) -> None:
        entries = self.entries(said)
        self.do(self.realtime.append(entries))
        self.note(entries)

    @rule(topic=st.sampled_from([FRAMES, OSU, FEED]), count=st.sampled_from([100, 400, 1_500]))
    def append_many(self, topic: str, count: int) -> None:
        entries = self.entries([(topic, 0, 9)] * count)
        self.do(self.realtime.append(entries))
        self.note(entries)

    @rule(token=TOKENS, most_bytes=st.sampled_from([1, 20, 2_000, 256 * 1024]))
    def poll(self, token: str, most_bytes: int) -> None:
        poll = self.realtime.poll(token, most_bytes)
        if token not in self.readers:
            with pytest.raises(SessionGone):
                self.do(poll)
            return
        reader = self.readers[token]
        reader.seen = self.clock.monotonic()
        waiting = {t: self.logs[t][reader.cursors[t] :] for t in LOGS if t in reader.cursors}
        try:
            session, found = self.do(poll)
        except FellBehind as error:
            behind = error.topic
        else:
            assert session == reader.session
            self.judge_logs(reader, waiting, [one for one in found if one.topic != STATUS], most_bytes)
            self.judge_statuses(reader, [one for one in found if one.topic == STATUS])
            return
        assert not bound_of(behind).skips
        assert len(waiting[behind]) > bound_of(behind).entries
        self.close(token)

    @rule(token=TOKENS)
    def poll_all(self, token: str) -> None:
        for _ in range(3):  # what waited for this session is less than two polls hold
            self.poll(token, 256 * 1024)

    def judge_logs(self, reader: Reader, waiting: dict[str, list[Entry]], found: list[Entry], most_bytes: int) -> None:
        assert len(found) == 1 or sum(len(entry.body) for entry in found) <= most_bytes
        assert found or not any(waiting.values())
        for topic, expected in waiting.items():
            given = [entry for entry in found if entry.topic == topic]
            skipped = expected.index(given[0]) if given else 0
            assert given == expected[skipped : skipped + len(given)]
            if skipped:
                assert bound_of(topic).skips
                assert len(expected) - skipped >= bound_of(topic).entries
            reader.cursors[topic] += skipped + len(given)

    def judge_statuses(self, reader: Reader, found: list[Entry]) -> None:
        since = reader.cursors.get(STATUS, self.changes_of_status)
        changed = sorted(one for one in self.statuses.values() if one[0] > since)
        others = [entry for _, entry in changed if entry.author != reader.session.user_id]
        assert [entry for entry in found if entry.author != reader.session.user_id] == others
        if STATUS in reader.cursors:
            reader.cursors[STATUS] = self.changes_of_status

    @rule(seconds=st.sampled_from([0.5, 10, 301]))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def open_room(self) -> None:
        free = next(number for number in range(1, 100) if number not in self.rooms)
        self.rooms[free] = Room()
        assert self.do(self.realtime.open_match(Room())) == free

    @precondition(lambda self: self.rooms)
    @rule(data=st.data(), closes=st.booleans(), said=SAID)
    def change_room(self, data: st.DataObject, closes: bool, said: list[Any]) -> None:
        room = data.draw(st.sampled_from(sorted(self.rooms)))
        entries = self.entries(said)
        after = None if closes else Room(self.rooms[room].changes + 1)
        became = self.do(self.realtime.change_match(room, Room, lambda now: (after, entries)))
        self.note(entries)
        assert became == after
        if after is None:
            del self.rooms[room]
            with pytest.raises(MatchGone):
                self.do(self.realtime.change_match(room, Room, lambda now: (now, ())))
        else:
            self.rooms[room] = after

    # --- what is always so

    @invariant()
    def the_same_sessions_are_there(self) -> None:
        shown = self.shown()
        online = {one.user_id for one in shown}
        assert set(self.do(self.realtime.online_ids())) == online
        assert self.do(self.realtime.online_count()) == len(online)
        assert self.do(self.realtime.online_among([BOT_ID, 3, 4, 5])) == online
        ordered = sorted(shown, key=lambda one: (one.tournament, one.login_time_ms, one.token))
        showing = {one.user_id: one for one in reversed(ordered)}
        assert self.do(self.realtime.sessions_among([BOT_ID, 3, 4, 5])) == showing

    @invariant()
    def the_same_sessions_follow(self) -> None:
        for topic in LOGS:
            following = [one.session for one in self.readers.values() if topic in one.session.follows]
            following.sort(key=lambda one: (one.login_time_ms, one.token))
            assert self.do(self.realtime.following(topic)) == following
            counted = [one for one in following if not one.hidden and one.user_id != BOT_ID]
            assert self.do(self.realtime.followers([topic])) == [len(counted)]

    @invariant()
    def the_same_sessions_idle(self) -> None:
        since = self.clock.monotonic() - 300
        idle = sorted((one.seen, token) for token, one in self.readers.items() if one.seen <= since)
        assert self.do(self.realtime.idle_sessions(300)) == [token for _, token in idle]

    @invariant()
    def the_same_rooms_are_open(self) -> None:
        assert self.do(self.realtime.matches(Room)) == sorted(self.rooms.items())

    @invariant()
    def the_feed_ends_where_it_was_written_to(self) -> None:
        feed = self.logs[FEED]
        assert self.do(self.realtime.feed_end(FEED)) == len(feed)
        last = max(0, len(feed) - 3)
        assert self.do(self.realtime.feed_after(FEED, last)) == (last, [entry.body for entry in feed[last:]])


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS.keys())
def test_the_port_does_what_the_model_does(adapter: Adapter) -> None:
    machine = type("Machine", (Beside,), {"adapter": staticmethod(adapter)})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )

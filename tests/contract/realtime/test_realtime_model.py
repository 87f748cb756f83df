"""Random sequences of calls on each adapter, compared with a simple model.

The model never drops an entry and has one index for each session and topic. The port may differ in two ways: a session
falls behind, or skips, if more entries wait than the topic stores. A poll leaves entries beyond its bytes for later.
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
from tests.loops import run_on

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
ENTRY_SPECS: Final = st.lists(
    st.tuples(st.sampled_from([*LOGS, STATUS, FEED]), st.integers(0, 12), st.sampled_from([3, 4, 5])), max_size=4
)


class CountedMatch(msgspec.Struct, frozen=True):
    """A match with a counter of its changes."""

    changes: int = 0


class Reader:
    """A session of the model with its cursors in each log and in the statuses."""

    def __init__(self, session: Session, seen: float) -> None:
        self.session = session
        self.seen = seen
        self.cursors: dict[str, int] = {}


class AdapterAndModel(RuleBasedStateMachine):
    """Runs each call on the adapter and on the model."""

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
        self.matches: dict[int, CountedMatch] = {}
        self.entry_count = 0

    def do(self, coroutine: Any) -> Any:
        return run_on(self.runner, coroutine)

    def teardown(self) -> None:
        try:
            for token in list(self.readers):
                self.poll_all(token)
        finally:
            self.do(self.stack.aclose())
            self.runner.close()

    # --- the model

    def entries(self, specs: list[tuple[str, int, int]]) -> list[Entry]:
        """Build entries with different bodies, and statuses only of authors who are online."""
        there = {reader.session.user_id for reader in self.readers.values()}
        made = []
        for topic, size, author in specs:
            if topic != STATUS or author in there:
                self.entry_count += 1
                made.append(an_entry(topic, f"{self.entry_count}" + "." * size, author))
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

    def visible(self) -> list[Session]:
        sessions = [reader.session for reader in self.readers.values()]
        return [one for one in sessions if not one.hidden and one.user_id != BOT_ID]

    # --- calls

    @rule(token=TOKENS, user_id=USERS, hidden=st.booleans(), tournament=st.booleans(), topics=TOPICS, specs=ENTRY_SPECS)
    def open(
        self, token: str, user_id: int, hidden: bool, tournament: bool, topics: frozenset[str], specs: list[Any]
    ) -> None:
        session = a_session(
            token, user_id, *topics, hidden=hidden, tournament=tournament, login_time_ms=self.entry_count
        )
        if token in self.readers:
            self.forget(token)
        self.readers[token] = reader = Reader(session, self.clock.monotonic())
        self.follow(reader, topics)
        entries = self.entries(specs)
        self.do(self.realtime.open_session(session, entries))
        self.note(entries)

    @rule(token=TOKENS, topics=TOPICS, away=st.text(max_size=3), specs=ENTRY_SPECS)
    def change(self, token: str, topics: frozenset[str], away: str, specs: list[Any]) -> None:
        entries = self.entries(specs)
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

    @rule(specs=ENTRY_SPECS)
    def append(self, specs: list[Any]) -> None:
        entries = self.entries(specs)
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
            self.check_logs(reader, waiting, [one for one in found if one.topic != STATUS], most_bytes)
            self.check_statuses(reader, [one for one in found if one.topic == STATUS])
            return
        assert not bound_of(behind).skips
        assert len(waiting[behind]) > bound_of(behind).entries
        self.close(token)

    @rule(token=TOKENS)
    def poll_all(self, token: str) -> None:
        for _ in range(3):  # the unread entries of a session fit into two polls
            self.poll(token, 256 * 1024)

    def check_logs(self, reader: Reader, waiting: dict[str, list[Entry]], found: list[Entry], most_bytes: int) -> None:
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

    def check_statuses(self, reader: Reader, found: list[Entry]) -> None:
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
    def open_match(self) -> None:
        free = next(number for number in range(1, 100) if number not in self.matches)
        self.matches[free] = CountedMatch()
        assert self.do(self.realtime.open_match(CountedMatch())) == free

    @precondition(lambda self: self.matches)
    @rule(data=st.data(), closes=st.booleans(), specs=ENTRY_SPECS)
    def change_match(self, data: st.DataObject, closes: bool, specs: list[Any]) -> None:
        match_id = data.draw(st.sampled_from(sorted(self.matches)))
        entries = self.entries(specs)
        after = None if closes else CountedMatch(self.matches[match_id].changes + 1)
        became = self.do(self.realtime.change_match(match_id, CountedMatch, lambda now: (after, entries)))
        self.note(entries)
        assert became == after
        if after is None:
            del self.matches[match_id]
            with pytest.raises(MatchGone):
                self.do(self.realtime.change_match(match_id, CountedMatch, lambda now: (now, ())))
        else:
            self.matches[match_id] = after

    # --- invariants

    @invariant()
    def the_same_sessions_are_there(self) -> None:
        visible = self.visible()
        online = {one.user_id for one in visible}
        assert set(self.do(self.realtime.online_ids())) == online
        assert self.do(self.realtime.online_count()) == len(online)
        assert self.do(self.realtime.online_among([BOT_ID, 3, 4, 5])) == online
        ordered = sorted(visible, key=lambda one: (one.tournament, one.login_time_ms, one.token))
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
        assert self.do(self.realtime.matches(CountedMatch)) == sorted(self.matches.items())

    @invariant()
    def the_feed_ends_where_it_was_written_to(self) -> None:
        feed = self.logs[FEED]
        assert self.do(self.realtime.feed_end(FEED)) == len(feed)
        last = max(0, len(feed) - 3)
        assert self.do(self.realtime.feed_after(FEED, last)) == (last, [entry.body for entry in feed[last:]])


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS.keys())
def test_port_behaves_like_the_model(adapter: Adapter) -> None:
    machine = type("Machine", (AdapterAndModel,), {"adapter": staticmethod(adapter)})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )

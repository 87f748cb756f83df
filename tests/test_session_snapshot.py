"""Sessions over a restart of an embedded server."""

import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from kiai import session_snapshot
from kiai.clock import ManualClock
from kiai.multiplayer.commands import Issuer
from kiai.multiplayer.match import Match, new_match
from kiai.presence import drained
from kiai.realtime.memory import MemoryRealtime
from kiai.realtime.port import (
    ONLINE,
    STATUS,
    Entry,
    Session,
    SessionGone,
    SessionStats,
    Status,
    chat_topic,
    match_topic,
    user_topic,
)

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def a_server() -> MemoryRealtime:
    return MemoryRealtime(ManualClock())


def a_session(user_id: int = 3, **fields: Any) -> Session:
    given: dict[str, Any] = {
        "token": f"token of {user_id}",
        "user_id": user_id,
        "name": "anna",
        "login_time_ms": 1,
        "follows": frozenset({ONLINE, STATUS, user_topic(user_id), chat_topic("#osu")}),
        "friends": frozenset({7, 8}),
        "status": Status(action=2, info_text="a map", mode=4, mods=128),
        "stats": SessionStats(pp=700, acc=98.5),
    }
    return Session(**(given | fields))


def test_sessions_and_their_unread_packets_are_restored(run: Run, tmp_path: Path) -> None:
    before = a_server()
    run(before.open_session(a_session()))
    run(before.append([Entry(user_topic(3), b"read")]))
    run(before.poll("token of 3"))
    run(before.append([Entry(user_topic(3), b"unread"), Entry(STATUS, b"status", author=9)]))
    session_snapshot.save(before, tmp_path)
    after = a_server()

    assert session_snapshot.restore(after, tmp_path) == 1

    session, entries = run(after.poll("token of 3"))
    assert session == a_session()
    assert [entry.body for entry in entries] == [b"unread", b"status"]
    assert run(after.poll("token of 3"))[1] == []
    assert run(after.online_ids()) == [3]
    assert run(after.followers([chat_topic("#osu")])) == [1]


def test_matches_are_restored_completely(run: Run, tmp_path: Path) -> None:
    before = a_server()
    match = new_match(by=Issuer(3, "anna"), at_ms=5, name="a room", password="secret", locked=(14, 15))
    match_id = run(before.open_match(match))
    run(before.open_session(a_session(match_id=match_id, follows=frozenset({match_topic(match_id)}))))
    session_snapshot.save(before, tmp_path)
    after = a_server()
    session_snapshot.restore(after, tmp_path)

    assert run(after.match(match_id, Match)) == match
    assert run(after.session("token of 3")).match_id == match_id


def test_sessions_that_maintenance_has_ended_are_restored(run: Run, tmp_path: Path) -> None:
    clock = ManualClock()
    before = MemoryRealtime(clock)
    run(drained.store(before, a_session()))
    run(before.stash("confirm:3", "abc123", b"line", 60.0))
    clock.advance(600)
    run(before.stash("confirm:4", "def456", b"line", 60.0))
    session_snapshot.save(before, tmp_path)
    after_clock = ManualClock()
    after = MemoryRealtime(after_clock)

    session_snapshot.restore(after, tmp_path)

    assert run(drained.stored(after, 3)) == [a_session()]
    assert run(after.stashed("confirm:4")) == {}, "a code is good once, also over a restart"
    after_clock.advance(drained.STORED_S - 599)
    assert run(drained.stored(after, 3)) == []


def test_snapshot_is_readable_only_by_its_owner_and_used_once(run: Run, tmp_path: Path) -> None:
    before = a_server()
    run(before.open_session(a_session()))
    session_snapshot.save(before, tmp_path)

    assert (tmp_path / session_snapshot.FILE).stat().st_mode & 0o077 == 0
    assert session_snapshot.restore(a_server(), tmp_path) == 1
    assert list(tmp_path.iterdir()) == []
    assert session_snapshot.restore(a_server(), tmp_path) == 0


@pytest.mark.parametrize("cut", [0, 1, 20, -1])
def test_incomplete_snapshot_is_discarded(run: Run, tmp_path: Path, cut: int) -> None:
    before = a_server()
    run(before.open_session(a_session()))
    session_snapshot.save(before, tmp_path)
    path = tmp_path / session_snapshot.FILE
    path.write_bytes(path.read_bytes()[:cut])
    after = a_server()

    assert session_snapshot.restore(after, tmp_path) == 0

    with pytest.raises(SessionGone):
        run(after.session("token of 3"))
    run(after.open_session(a_session()))


def test_old_snapshot_is_discarded(run: Run, tmp_path: Path) -> None:
    before = a_server()
    run(before.open_session(a_session()))
    session_snapshot.save(before, tmp_path)
    yesterday = time.time() - 86_400
    os.utime(tmp_path / session_snapshot.FILE, (yesterday, yesterday))

    assert session_snapshot.restore(a_server(), tmp_path) == 0


def test_unwritable_folder_does_not_stop_the_shutdown(tmp_path: Path) -> None:
    session_snapshot.save(a_server(), tmp_path / "absent")

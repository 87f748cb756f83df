"""Sessions over a restart of an embedded server."""

import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from kiai import keeping
from kiai.clock import ManualClock
from kiai.multiplayer.commands import Actor
from kiai.multiplayer.match import Match, opened
from kiai.realtime.memory import MemoryRealtime
from kiai.realtime.port import (
    ONLINE,
    STATUS,
    Entry,
    Session,
    SessionGone,
    ShownStats,
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
        "stats": ShownStats(pp=700, acc=98.5),
    }
    return Session(**(given | fields))


def test_sessions_and_what_they_have_not_read_come_back(run: Run, tmp_path: Path) -> None:
    before = a_server()
    run(before.open_session(a_session()))
    run(before.append([Entry(user_topic(3), b"read")]))
    run(before.poll("token of 3"))
    run(before.append([Entry(user_topic(3), b"unread"), Entry(STATUS, b"status", author=9)]))
    keeping.keep(before, tmp_path)
    after = a_server()

    assert keeping.restore(after, tmp_path) == 1

    session, entries = run(after.poll("token of 3"))
    assert session == a_session()
    assert [entry.body for entry in entries] == [b"unread", b"status"]
    assert run(after.poll("token of 3"))[1] == []
    assert run(after.online_ids()) == [3]
    assert run(after.followers([chat_topic("#osu")])) == [1]


def test_rooms_come_back_with_everything(run: Run, tmp_path: Path) -> None:
    before = a_server()
    match = opened(by=Actor(3, "anna"), at_ms=5, name="a room", password="secret", locked=(14, 15))
    match_id = run(before.open_match(match))
    run(before.open_session(a_session(match_id=match_id, follows=frozenset({match_topic(match_id)}))))
    keeping.keep(before, tmp_path)
    after = a_server()
    keeping.restore(after, tmp_path)

    assert run(after.match(match_id, Match)) == match
    assert run(after.session("token of 3")).match_id == match_id


def test_the_file_is_for_the_server_alone_and_used_once(run: Run, tmp_path: Path) -> None:
    before = a_server()
    run(before.open_session(a_session()))
    keeping.keep(before, tmp_path)

    assert (tmp_path / keeping.FILE).stat().st_mode & 0o077 == 0
    assert keeping.restore(a_server(), tmp_path) == 1
    assert list(tmp_path.iterdir()) == []
    assert keeping.restore(a_server(), tmp_path) == 0


@pytest.mark.parametrize("cut", [0, 1, 20, -1])
def test_a_file_that_is_cut_is_no_loss(run: Run, tmp_path: Path, cut: int) -> None:
    before = a_server()
    run(before.open_session(a_session()))
    keeping.keep(before, tmp_path)
    path = tmp_path / keeping.FILE
    path.write_bytes(path.read_bytes()[:cut])
    after = a_server()

    assert keeping.restore(after, tmp_path) == 0

    with pytest.raises(SessionGone):
        run(after.session("token of 3"))
    run(after.open_session(a_session()))


def test_a_file_of_yesterday_brings_nobody_back(run: Run, tmp_path: Path) -> None:
    before = a_server()
    run(before.open_session(a_session()))
    keeping.keep(before, tmp_path)
    yesterday = time.time() - 86_400
    os.utime(tmp_path / keeping.FILE, (yesterday, yesterday))

    assert keeping.restore(a_server(), tmp_path) == 0


def test_a_folder_that_cannot_be_written_does_not_stop_the_stop(tmp_path: Path) -> None:
    keeping.keep(a_server(), tmp_path / "absent")

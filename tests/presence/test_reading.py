"""The entries that a session may read from its topics."""

from typing import Any

from kiai.osu.privileges import MODERATOR, UNRESTRICTED, VERIFIED
from kiai.presence import readable
from kiai.realtime.port import ONLINE, Entry, Session, chat_topic, status_interest, user_topic

NOW = 1_700_000_000_000
ME, FRIEND, STRANGER, ENEMY = 3, 4, 5, 6


def a_reader(**fields: Any) -> Session:
    given = {"build": 20250415, "priv": 3, "friends": frozenset({FRIEND}), "blocked": frozenset({ENEMY})}
    return Session(token="me", user_id=ME, login_time_ms=0, **(given | fields))  # type: ignore[arg-type]


def interest(reader: Session, *, crowded: bool = False) -> frozenset[int] | None:
    return status_interest(reader, crowded=crowded, now_ms=NOW)


def test_all_statuses_are_pushed_while_few_are_online() -> None:
    assert interest(a_reader()) is None


def test_crowded_server_pushes_friends_host_and_requested_players() -> None:
    reader = a_reader(spectating=ENEMY, watched=frozenset({STRANGER}), watched_until_ms=NOW + 1)

    assert interest(a_reader(), crowded=True) == frozenset({FRIEND})
    assert interest(reader, crowded=True) == frozenset({FRIEND, STRANGER, ENEMY})


def test_requested_players_are_not_pushed_after_a_minute() -> None:
    assert interest(a_reader(watched=frozenset({STRANGER}), watched_until_ms=NOW), crowded=True) == frozenset({FRIEND})


def test_filters_friends_and_nobody_push_friends_or_only_the_host() -> None:
    assert interest(a_reader(presence_filter=2)) == frozenset({FRIEND})
    assert interest(a_reader(presence_filter=0)) == frozenset()
    assert interest(a_reader(presence_filter=0, spectating=STRANGER)) == frozenset({STRANGER})


def test_session_does_not_read_entries_of_its_own_user() -> None:
    assert readable(a_reader(), [Entry(chat_topic("#osu"), b"mine", author=ME)]) == []


def test_logins_and_logouts_are_read_with_any_filter() -> None:
    entries = [Entry(ONLINE, b"came", author=STRANGER), Entry(ONLINE, b"went", author=ENEMY)]

    assert readable(a_reader(presence_filter=0), entries) == [b"came", b"went"]


def test_lines_of_a_blocked_player_are_omitted_except_in_a_match() -> None:
    line = Entry(chat_topic("#osu"), b"line", author=ENEMY)
    in_match = Entry(chat_topic("#multi_7"), b"in the match", author=ENEMY)

    assert readable(a_reader(), [line, in_match]) == [b"in the match"]


def test_entry_with_a_mask_is_read_with_any_of_its_privileges() -> None:
    entry = Entry(ONLINE, b"#staff", needs=MODERATOR | 16384)

    assert readable(a_reader(), [entry]) == []
    assert readable(a_reader(priv=3 | MODERATOR), [entry]) == [b"#staff"]
    assert readable(a_reader(priv=VERIFIED | MODERATOR), [entry]) == []  # restricted staff
    assert readable(a_reader(priv=UNRESTRICTED | 8192), [entry]) == [b"#staff"]


def test_old_client_gets_the_old_layout() -> None:
    entry = Entry(user_topic(ME), b"new", older=b"old")

    assert readable(a_reader(build=20250306), [entry]) == [b"new"]
    assert readable(a_reader(build=20250305), [entry]) == [b"old"]

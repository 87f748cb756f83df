"""What of its topics a session may read."""

from typing import Any

from kiai.osu.privileges import MODERATOR, UNRESTRICTED, VERIFIED
from kiai.presence import readable
from kiai.realtime.port import ONLINE, Entry, Session, chat_topic, status_interest, user_topic

NOW = 1_700_000_000_000
ME, FRIEND, STRANGER, ENEMY = 3, 4, 5, 6


def a_reader(**fields: Any) -> Session:
    given = {"build": 20250415, "priv": 3, "friends": frozenset({FRIEND}), "blocked": frozenset({ENEMY})}
    return Session(token="me", user_id=ME, login_time_ms=0, **(given | fields))  # type: ignore[arg-type]


def interest(reader: Session, *, many: bool = False) -> frozenset[int] | None:
    return status_interest(reader, many=many, now_ms=NOW)


def test_everybodys_status_is_pushed_while_few_are_online() -> None:
    assert interest(a_reader()) is None


def test_with_many_online_statuses_of_friends_the_host_and_those_asked_for_are_pushed() -> None:
    reader = a_reader(spectating=ENEMY, watched=frozenset({STRANGER}), watched_until_ms=NOW + 1)

    assert interest(a_reader(), many=True) == frozenset({FRIEND})
    assert interest(reader, many=True) == frozenset({FRIEND, STRANGER, ENEMY})


def test_what_was_asked_for_a_minute_ago_is_no_longer_pushed() -> None:
    assert interest(a_reader(watched=frozenset({STRANGER}), watched_until_ms=NOW), many=True) == frozenset({FRIEND})


def test_the_filter_for_friends_pushes_friends_and_for_nobody_only_the_host() -> None:
    assert interest(a_reader(presence_filter=2)) == frozenset({FRIEND})
    assert interest(a_reader(presence_filter=0)) == frozenset()
    assert interest(a_reader(presence_filter=0, spectating=STRANGER)) == frozenset({STRANGER})


def test_what_oneself_wrote_is_not_read_back() -> None:
    assert readable(a_reader(), [Entry(chat_topic("#osu"), b"mine", author=ME)]) == []


def test_who_comes_and_goes_is_read_whatever_the_filter() -> None:
    entries = [Entry(ONLINE, b"came", author=STRANGER), Entry(ONLINE, b"went", author=ENEMY)]

    assert readable(a_reader(presence_filter=0), entries) == [b"came", b"went"]


def test_lines_of_a_blocked_player_are_left_out_but_not_in_a_match() -> None:
    line = Entry(chat_topic("#osu"), b"line", author=ENEMY)
    in_match = Entry(chat_topic("#multi_7"), b"in the match", author=ENEMY)

    assert readable(a_reader(), [line, in_match]) == [b"in the match"]


def test_what_needs_a_privilege_is_for_those_who_have_one_of_them() -> None:
    entry = Entry(ONLINE, b"#staff", needs=MODERATOR | 16384)

    assert readable(a_reader(), [entry]) == []
    assert readable(a_reader(priv=3 | MODERATOR), [entry]) == [b"#staff"]
    assert readable(a_reader(priv=VERIFIED | MODERATOR), [entry]) == []  # restricted staff
    assert readable(a_reader(priv=UNRESTRICTED | 8192), [entry]) == [b"#staff"]


def test_an_older_client_gets_the_older_layout() -> None:
    entry = Entry(user_topic(ME), b"new", older=b"old")

    assert readable(a_reader(build=20250306), [entry]) == [b"new"]
    assert readable(a_reader(build=20250305), [entry]) == [b"old"]

"""`assert` states what our own code guarantees. Input is refused with an error, which `python -O` does not remove."""

import ast
from pathlib import Path

import kiai

SOURCES = Path(kiai.__file__).parent
SAME_SESSION = "(after.token, after.user_id, after.hidden) == (before.token, before.user_id, before.hidden)"
GUARANTEED = {
    ("beatmaps/info.py", "len(names) + len(ids) <= ASKED_MAX"): "the endpoint refuses more",
    ("chat/bot.py", "(command.group, name) not in self._by_name"): "two commands of ours have one name",
    ("clock.py", "seconds >= 0"): "the clock of tests",
    ("faces/bancho/packets.py", "len(slots) == SLOTS"): "a match is made with its slots",
    ("faces/bancho/packets.py", "all(seated)"): "a match is made with its slots",
    ("faces/metrics.py", "family.name not in self._families"): "two metrics of ours have one name",
    ("presence/model.py", "0 <= mode <= 3"): "the packet's fields are judged as they are read",
    ("realtime/buckets.py", "0 <= cost <= capacity"): "costs are ours",
    ("realtime/memory.py", "offset >= 0"): "the endpoint refuses less",
    ("realtime/memory.py", "1 <= limit <= AROUND_MAX"): "the endpoint refuses more",
    ("realtime/memory.py", SAME_SESSION): "changes of a session are ours",
    ("realtime/memory.py", "for_s > 0"): "periods are ours",
    ("realtime/rank_lists.py", "0 < entry.user_id <= USER_ID_MAX"): "ids are the database's",
    ("realtime/redis.py", "offset >= 0"): "the endpoint refuses less",
    ("realtime/redis.py", "1 <= limit <= AROUND_MAX"): "the endpoint refuses more",
    ("realtime/redis.py", SAME_SESSION): "changes of a session are ours",
    ("realtime/redis.py", "for_s > 0"): "periods are ours",
    ("realtime/redis.py", "0 <= cost <= capacity"): "costs are ours",
    ("realtime/redis_connection.py", "self._done is None"): "a route takes a connection from its list for each sending",
    ("scores/grades.py", "len(map_keys) <= MAPS_MAX"): "the endpoint refuses more",
    ("server_settings.py", "kind is Path"): "the other types of the settings have a form in JSON",
}
"""Assertions about values, each with the code that checked the value before. Others serve the type checker."""


def about_types(test: ast.expr) -> bool:
    if isinstance(test, ast.Call):
        return getattr(test.func, "id", "") == "isinstance"
    return isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.IsNot)


def test_every_assertion_about_a_value_is_about_what_was_checked_before() -> None:
    found = {
        (path.relative_to(SOURCES).as_posix(), ast.unparse(node.test))
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert) and not about_types(node.test)
    }

    assert found == set(GUARANTEED)

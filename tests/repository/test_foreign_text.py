"""Chat lines and answers to the game escape every text that users wrote (osu/texts.py)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import kiai

SOURCES = Path(kiai.__file__).parent
PLACES = (
    "faces/bot/*.py",
    "faces/bancho/announce/*.py",
    "faces/bancho/handlers/*.py",
    "faces/client/*.py",
    "chat/bot.py",
    "chat/service.py",
    "multiplayer/lines.py",
    "scores/announcing.py",
)
FOREIGN = frozenset(
    {"name", "player_name", "from_name", "by_name", "host_name", "pool_name", "map_name", "filename"}
    | {"title", "artist", "version", "creator", "tag", "reason", "verdict", "details", "info_text", "away"}
    | {"description", "target", "error", "refused", "text", "pool", "pick"}
)
"""Attributes and variables with text that users wrote."""
SAFE = frozenset(("chat_text", "chat_name", "chat_link", "field", "attachment", "one_line", "visible", "quote"))
OURS = frozenset(
    {
        ("chat/bot.py", "argument.name"),
        ("chat/service.py", "text"),  # the action of a player; the callers of `act` escape it
        ("faces/bot/reference.py", "title"),
        ("faces/client/comments.py", "comment.target"),
        ("faces/client/favourites.py", "error.reason"),
        ("faces/client/screenshots.py", "error"),
        ("faces/client/scoreboard.py", "name"),  # made of two fields
        ("faces/client/submit.py", "name"),
    }
)
"""Parts with such a name whose text is ours."""
UNSHOWN = (
    "Argument",
    "Command",
    "BadArgument",
    "Refused",
    "Invalid",
    "consume",
    "once",
    "stash",
    "stashed",
    "error",
    "raise_",
)
"""Calls that do not show their text directly: keys of shared state, and errors, which `chat/bot.py` escapes."""


def _is_safe(node: ast.AST) -> bool:
    if isinstance(node, ast.Tuple):
        return all(map(_is_safe, node.elts))
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") in SAFE


def unsafe_parts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and source of each part of an f-string that shows foreign text without escaping it."""
    unshown: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise):
            unshown |= set(ast.walk(node))
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in UNSHOWN or called in SAFE:
                unshown |= {inner for given in node.args for inner in ast.walk(given)}
    safe = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and _is_safe(node.value)
        for given in node.targets
        for target in ast.walk(given)
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FormattedValue) and node not in unshown:
            shown = node.value
            last = shown.attr if isinstance(shown, ast.Attribute) else getattr(shown, "id", "")
            if last in FOREIGN and not (isinstance(shown, ast.Name) and last in safe):
                yield shown.lineno, ast.unparse(shown)


def test_text_from_outside_goes_through_the_function_of_its_place() -> None:
    found = []
    for pattern in PLACES:
        for path in sorted(SOURCES.glob(pattern)):
            where = path.relative_to(SOURCES).as_posix()
            found += [
                f"{where}:{line}: {{{part}}}"
                for line, part in unsafe_parts(ast.parse(path.read_text()))
                if (where, part) not in OURS
            ]
    assert found == []


def test_the_check_sees_what_is_bare_and_what_is_not() -> None:
    bare = ast.parse('f"{user.name} {chat_name(user.name)} {title} {count}"')
    assert [part for _, part in unsafe_parts(bare)] == ["user.name", "title"]
    assert list(unsafe_parts(ast.parse('raise Refused(f"{user.name} is not here")'))) == []

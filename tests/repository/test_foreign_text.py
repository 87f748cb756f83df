"""Chat lines and answers to the game escape every text that users wrote (osu/texts.py)."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import kiai

SOURCES = Path(kiai.__file__).parent
PLACES = (
    "faces/bot/*.py",
    "faces/bancho/announce/*.py",
    "faces/bancho/handlers/*.py",
    "faces/bancho/*.py",
    "faces/client/*.py",
    "chat/bot.py",
    "chat/service.py",
    "multiplayer/lines.py",
    "scores/announcing.py",
    "clans/notices.py",
    "staff/announcements.py",
    "staff/map_news.py",
    "staff/map_requests.py",
    "staff/naming.py",
    "staff/donors.py",
    "staff/job_runs.py",
    "staff/nominations.py",
    "staff/player_lines.py",
    "staff/restrictions.py",
    "staff/silences.py",
    "staff/wipes.py",
)
FOREIGN = frozenset(
    {"name", "player_name", "from_name", "by_name", "host_name", "pool_name", "map_name", "filename"}
    | {"title", "artist", "version", "creator", "tag", "reason", "verdict", "details", "info_text", "away"}
    | {"description", "target", "error", "refused", "text", "pool", "pick"}
    | {"names", "titles", "tags", "reasons", "texts", "picks"}
)
"""Attributes and variables with text that users wrote."""
SAFE = frozenset(("chat_text", "chat_name", "chat_link", "field", "attachment", "one_line", "visible", "quote"))
OURS = frozenset(
    {
        ("chat/bot.py", "argument.name"),
        ("chat/bot.py", "self.name"),
        ("chat/service.py", "text"),  # the action of a player; the callers of `act` escape it
        ("faces/bancho/app.py", "name"),  # the key of a limit
        ("faces/bancho/app.py", "title"),
        ("faces/bancho/login.py", "letter.text"),  # a line that its author wrote
        ("faces/bancho/login.py", "self._texts().title"),  # the operator's
        ("faces/bancho/login.py", "texts.title"),
        ("faces/bot/clans.py", "command.name"),
        ("faces/bot/clans.py", "tag"),  # the rest of a command, which is parsed
        ("faces/bot/flags.py", "verdict"),  # one of `VERDICTS`
        ("faces/bot/help.py", "command.name"),
        ("faces/bot/inspection.py", "names"),  # of privileges
        ("faces/bot/maps.py", "new.name"),  # a status
        ("faces/bot/mp.py", "names"),  # of commands
        ("faces/bot/pools.py", "picks"),  # their number, or mods and ids
        ("faces/bot/reference.py", "title"),
        ("faces/client/client_signals.py", "names"),  # of bits
        ("faces/client/comments.py", "comment.target"),
        ("faces/client/favourites.py", "error.reason"),
        ("faces/client/gateway.py", "rate_limit.name"),  # of a key
        ("faces/client/registration.py", "texts"),
        ("faces/client/resource.py", "name"),  # a method
        ("faces/client/screenshots.py", "error"),
        ("faces/client/scoreboard.py", "name"),  # made of two fields
        ("faces/client/submit.py", "name"),
        ("scores/announcing.py", "text"),  # a line so far
        ("staff/job_runs.py", "error"),  # escaped in the line to the author of the run
        ("staff/map_news.py", "beatmap.artist"),  # the words of a link
        ("staff/map_news.py", "beatmap.title"),
        ("staff/map_news.py", "text"),
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


TEXT_METHODS: Final = frozenset(("strip", "lstrip", "rstrip", "upper", "lower", "title", "capitalize", "casefold"))
"""Methods whose result contains the text of their object."""


def _is_safe(node: ast.AST) -> bool:
    """Return whether an expression has only text that a function of `SAFE` returned."""
    match node:
        case ast.Tuple() | ast.List():
            return bool(node.elts) and all(map(_is_safe, node.elts))
        case ast.ListComp() | ast.GeneratorExp():
            return _is_safe(node.elt)
        case ast.Call(func=ast.Name(id="map"), args=[ast.Name(id=function), *_]):
            return function in SAFE
        case ast.Call(func=ast.Name(id="sorted" | "list" | "tuple"), args=[given]):
            return _is_safe(given)
        case ast.Call(func=ast.Attribute(attr="join"), args=[given]):
            return _is_safe(given)
        case ast.Call(func=ast.Name(id=function)):
            return function in SAFE
    return False


def _is_text(node: ast.AST) -> bool:
    """Return whether an expression is certainly text: a literal, or a sum that contains one."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        return _is_text(node.left) or (isinstance(node.op, ast.Add) and _is_text(node.right))
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _formatted(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the expressions whose text one expression puts into a longer text."""
    match node:
        case ast.FormattedValue():
            yield node.value
        case ast.BinOp(op=ast.Add()) if _is_text(node):
            yield from (node.left, node.right)
        case ast.AugAssign(op=ast.Add()) if _is_text(node.value):
            yield node.target
        case ast.BinOp(op=ast.Mod()) if _is_text(node.left):
            yield node.right
        case ast.Call(func=ast.Attribute(attr="format")):
            yield from (*node.args, *(one.value for one in node.keywords))
        case ast.Call(func=ast.Attribute(attr="join", value=separator)) if _is_text(separator):
            yield from node.args
        case ast.Call(func=ast.Attribute(attr="replace"), args=[_, new]):
            yield new


def _named(shown: ast.AST) -> Iterator[ast.Attribute | ast.Name]:
    """Yield the attributes and variables whose text an expression shows."""
    match shown:
        case ast.Attribute() | ast.Name():
            yield shown
        case ast.Call(func=ast.Attribute(attr=attr, value=value)) if attr in TEXT_METHODS:
            yield from _named(value)
        case ast.Call(func=ast.Name(id="map"), args=[ast.Name(id=function), *given]) if function not in SAFE:
            yield from (one for each in given for one in _named(each))
        case ast.Call(func=ast.Name(id="str" | "sorted" | "list" | "tuple")):
            yield from (one for each in shown.args for one in _named(each))
        case ast.Dict():
            yield from (one for each in shown.values for one in _named(each))
        case ast.List() | ast.Tuple() | ast.Set():
            yield from (one for each in shown.elts for one in _named(each))
        case ast.ListComp() | ast.GeneratorExp() | ast.SetComp():
            yield from _named(shown.elt)
        case ast.IfExp():
            yield from (*_named(shown.body), *_named(shown.orelse))
        case ast.BoolOp():
            yield from (one for each in shown.values for one in _named(each))
        case ast.Subscript() | ast.Starred() | ast.NamedExpr() | ast.Await():
            yield from _named(shown.value)


def unsafe_parts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and source of each foreign text that becomes part of a longer text without escaping."""
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
    found = {
        (one.lineno, ast.unparse(one))
        for node in ast.walk(tree)
        if node not in unshown
        for shown in _formatted(node)
        for one in _named(shown)
        if (last := one.attr if isinstance(one, ast.Attribute) else one.id) in FOREIGN
        and not (isinstance(one, ast.Name) and last in safe)
    }
    yield from sorted(found)


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


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ('f"{user.name} {chat_name(user.name)} {title} {count}"', ["title", "user.name"]),
        ('f"{title.upper()} {names[0]}"', ["names", "title"]),
        ('"{} {}".format(user.name, count)', ["user.name"]),
        ("TEMPLATE.format(by=chat_name(user.name), title=title or artist)", ["artist", "title"]),
        ('TEMPLATE.replace("{title}", title)', ["title"]),
        ('"%s: %s" % (user.name, chat_text(title))', ["user.name"]),
        ('"%(name)s" % {"name": user.name}', ["user.name"]),
        ('"by " + user.name + "."', ["user.name"]),
        ('line = "by "; line += f", {x}" + reason', ["reason"]),
        ('", ".join(one.name for one in found)', ["one.name"]),
        ('", ".join([chat_name(name), *names])', ["names"]),
        ('", ".join(map(chat_name, names))', []),
        ('", ".join(map(str, names))', ["names"]),
        ("first.name + count", []),
        ('raise Refused(f"{user.name} is not here")', []),
    ],
)
def test_the_check_sees_what_is_bare_and_what_is_not(source: str, parts: list[str]) -> None:
    assert [part for _, part in unsafe_parts(ast.parse(source))] == parts


def test_every_exception_is_still_needed() -> None:
    parts = {
        (where, part)
        for pattern in PLACES
        for path in SOURCES.glob(pattern)
        for _, part in unsafe_parts(ast.parse(path.read_text()))
        if (where := path.relative_to(SOURCES).as_posix())
    }
    assert OURS - parts == set()

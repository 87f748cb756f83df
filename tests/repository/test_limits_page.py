"""docs/operate/limits.md has the numbers of the code, and a row for every rate limit."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.repository.limits import NUMBERS, ROWS_OF_BUCKETS

ROOT: Final = Path(__file__).parents[2]
SOURCE: Final = ROOT / "src" / "kiai"
PAGE: Final = (ROOT / "docs" / "operate" / "limits.md").read_text("utf-8").partition("\n## Rows\n")[0]

_WORDS: Final = {"one": 1.0, "two": 2.0, "three": 3.0, "ten": 10.0}
_NOT_COUNTED: Final = re.compile(
    r"\b(?:400|401|408|409|413|414|415|422|429|431|503)\b|/64|IPv6|UTF-8|\bv[12]\b|`[^`]*`"
)
_NUMBER: Final = re.compile(r"\d[\d,]*(?:\.\d+)?")
TAKERS: Final = ("consume", "_consume")
NAMERS: Final = ("RateLimit",)
PASSING_ON: Final = {
    "accounts/credentials.py",
    "entry/second_factors.py",
    "faces/api/gateway.py",
    "faces/bot/ownership.py",
    "faces/client/gateway.py",
    "faces/site/gateway.py",
    "realtime/buckets.py",
    "realtime/memory.py",
    "realtime/rate_limiter.py",
    "realtime/redis.py",
    "scores/submission.py",
}
"""Files that consume from a bucket whose name another file builds."""


def rows() -> Iterator[tuple[str, str]]:
    """Yield the key and the other cells of each row of the page's tables."""
    name, continued = "", 0
    for line in PAGE.splitlines():
        if not line.startswith("|") or line.startswith("|-"):
            continue
        first, *rest = (cell.strip() for cell in line.strip("|").split("|"))
        if first == "limit on":
            continue
        continued = continued + 1 if not first else 1
        name = first or name
        yield (name if continued == 1 else f"{name}, {continued}"), " | ".join(rest)


ROWS: Final = dict(rows())


def numbers(text: str) -> list[float]:
    """Return the numbers of a row in order."""
    return [float(found.replace(",", "").rstrip(".")) for found in _NUMBER.findall(_NOT_COUNTED.sub("", text))]


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield each call that may name a bucket or consume from one, with its file."""
    for file in sorted(SOURCE.rglob("*.py")):
        code = file.read_text("utf-8")
        if not any(f"{name}(" in code for name in (*TAKERS, *NAMERS)):
            continue  # without parsing it: each test process does this before its first test
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Call) and node.args and name_of(node.func) in (*TAKERS, *NAMERS):
                yield file.relative_to(SOURCE).as_posix(), node


def buckets() -> Iterator[tuple[str, str]]:
    """Yield the name of each bucket that the code names with a constant, with the file."""
    for file, call in calls():
        named = text_of(call.args[0])
        if named is not None:
            yield named.partition(":")[0], file


def name_of(function: ast.expr) -> str:
    """Return the last part of the name of a called function."""
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def text_of(argument: ast.expr) -> str | None:
    """Return the constant beginning of a string, or None."""
    if isinstance(argument, ast.JoinedStr):
        argument = argument.values[0]
    return argument.value if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else None


def test_every_row_has_its_numbers_in_the_code_and_no_row_is_missing() -> None:
    assert sorted(ROWS) == sorted(NUMBERS)


@pytest.mark.parametrize("row", ROWS)
def test_a_row_says_the_numbers_of_the_code(row: str) -> None:
    assert numbers(ROWS[row]) == list(NUMBERS[row])


@pytest.mark.parametrize(("bucket", "file"), sorted(set(buckets())))
def test_a_rate_limit_of_the_code_has_a_row(bucket: str, file: str) -> None:
    assert ROWS_OF_BUCKETS[bucket] in ROWS


def test_no_other_file_takes_from_a_bucket_whose_name_is_not_seen() -> None:
    found = {
        file
        for file, call in calls()
        if any(keyword.arg == "limit" for keyword in call.keywords) and text_of(call.args[0]) is None
    }

    assert found == PASSING_ON


def test_a_bucket_with_a_row_is_in_the_code() -> None:
    code = "".join(file.read_text("utf-8") for file in SOURCE.rglob("*.py"))

    gone = [name for name in ROWS_OF_BUCKETS if not re.search(rf'"{name}[:"]', code)]

    assert gone == []

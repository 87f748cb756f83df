"""Every citation has a target: a page of the repository, and a heading of that page."""

import functools
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.repository.headings import anchors

ROOT: Final = Path(__file__).parents[2]
FOLDERS: Final = ("src", "tests", "benchmarks", "scripts", "deploy", "docs", ".ci")
SUFFIXES: Final = frozenset((".py", ".lua", ".sql", ".md", ".sh", ".html", ".toml", ".conf", ""))
NOT_OURS: Final = frozenset(("node_modules", "__pycache__"))
SPEC: Final = ROOT / "docs" / "spec"

LINK: Final = re.compile(r"\bdocs/[\w/.-]+?\.md(?:#[\w-]*)?")

# Pages that are not in the repository.
PAGES: Final = re.compile(
    r"\b(?:bancho-protocol|web-endpoints|security-and-faults|referee-and-irc|cli-contract|contract-(?:operate|community)"
    r"|(?:game-rules|public-api|architecture)(?:\.md)?,? (?:section )?\d|architecture\.md|field guide)",
    re.IGNORECASE,
)
# Bare numbers of sections and table rows, in comments and docstrings.
NUMBERS: Final = re.compile(
    r"\(\d{1,2}\.\d{1,2}(?:, \d{1,2}\.\d{1,2})*\)|^# --- \d{1,2}\.\d|\b(?:GR|WE|BP) ?\d"
    r"|\b(?:RT|SU|CE|AP|WB|CL|CF)\d{1,2}\b|\b[PF]\d{1,2}[,:)]",
    re.MULTILINE,
)


def files() -> list[Path]:
    """Return every text file that people write."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("*.toml")]
    for folder in FOLDERS:
        found += (
            path
            for path in sorted((ROOT / folder).rglob("*"))
            if path.suffix in SUFFIXES and path.is_file() and NOT_OURS.isdisjoint(path.parts)
        )
    return [path for path in found if path != Path(__file__)]


@functools.cache
def prose(path: Path) -> tuple[str, ...]:
    """Return the comments and docstrings of a Python file, or the whole text of another file."""
    text = path.read_text("utf-8")
    if path.suffix != ".py":
        return (text,)
    found = list[str]()
    starts, depth = True, 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and starts):
            found.append(token.string)
        depth += (token.string in "([{") - (token.string in ")]}") if token.type == tokenize.OP else 0
        if token.type not in (tokenize.COMMENT, tokenize.NL):
            starts = not depth and token.type in (tokenize.INDENT, tokenize.NEWLINE, tokenize.DEDENT)
    return tuple(found)


def broken(link: str) -> bool:
    name, _, anchor = link.partition("#")
    page = ROOT / name
    return not page.is_file() or ("#" in link and anchor not in anchors(page))


def untargeted(path: Path) -> Iterator[str]:
    """Yield the citations in a file that lead to nothing in the repository."""
    text = path.read_text("utf-8")
    yield from (found[0] for found in PAGES.finditer(text))
    yield from (found[0] for part in prose(path) for found in NUMBERS.finditer(part))


def test_every_link_to_a_page_leads_to_a_heading_that_exists() -> None:
    dead = {
        str(path.relative_to(ROOT)): links
        for path in files()
        if (links := sorted({link for part in prose(path) for link in LINK.findall(part) if broken(link)}))
    }

    assert dead == {}


def test_no_citation_is_without_target() -> None:
    found = {str(path.relative_to(ROOT)): citations for path in files() if (citations := sorted(set(untargeted(path))))}

    assert found == {}


def test_every_page_of_facts_is_cited_by_code() -> None:
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))

    assert [
        page.name for page in SPEC.glob("*.md") if page.name != "README.md" and f"spec/{page.name}" not in code
    ] == []


@pytest.mark.parametrize(
    "comment",
    [
        '"""Rooms (bancho-protocol 14)."""',
        '"""Totals (game-rules 21.3, web-endpoints 11)."""',
        '"""The lane of the promise (architecture 5)."""',
        "x = 1  # dropped (11.4)",
        "x = 1  # RT18",
        "# --- 6.4, the silence",
        "# GR 19 says so",
        '"""What happens then (14.2, 14.5)."""',
    ],
)
def test_a_citation_without_target_is_found(comment: str, tmp_path: Path) -> None:
    file = tmp_path / "cites.py"
    file.write_text(f"{comment}\n", "utf-8")

    assert list(untargeted(file)) != []


@pytest.mark.parametrize(
    "text",
    [
        '"""Rooms (docs/spec/multiplayer.md#join)."""',
        '"""Frames (ISO 11172-3, 2.4.1); RFC 9110, 12.5.3."""',
        "def test_rt21_a_room_is_its_hosts() -> None:  # 0.5 s\n    sleep(0.01)",
    ],
)
def test_a_citation_with_target_and_plain_numbers_are_fine(text: str, tmp_path: Path) -> None:
    file = tmp_path / "cites.py"
    file.write_text(f"{text}\n", "utf-8")

    assert list(untargeted(file)) == []


def test_a_link_without_page_or_heading_is_found() -> None:
    assert not broken("docs/spec/submission.md#checksum")
    assert not broken("docs/spec/submission.md")
    assert broken("docs/spec/submission.md#no-such-heading")
    assert broken("docs/spec/submission.md#")
    assert broken("docs/spec/no-such-page.md")

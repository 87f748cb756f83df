"""Bounds of the code: sizes of files and functions, class names, the share of comments; file names in documents."""

import ast
import functools
import io
import re
import subprocess
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from tests.patience import patiently

ROOT: Final = Path(__file__).parents[2]
SRC: Final = ROOT / "src/kiai"
MODULES: Final = sorted(SRC.rglob("*.py"))
VERSIONS: Final = SRC / "storage/migrations/versions"  # never edited again
DOCUMENTS: Final = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]

FILE_LINES: Final = 825
FUNCTION_LINES: Final = 100
APP_LINES: Final = 300
COMMENT_SHARE: Final = (0.03, 0.06)

# Words that had several meanings as names. The glossary has the words to use.
METAPHORS: Final = frozenset(
    re.findall(
        r"\w+",
        "aside door haste hasty hear hold house keep keeping kept pretend settle settled settling story tell told",
    )
)

FILES_AT_ROOT: Final = frozenset(
    {
        ".dockerignore",
        ".gitattributes",
        ".gitignore",
        "CHANGELOG.md",
        "CODE_OF_CONDUCT.md",
        "CONTRIBUTING.md",
        "Containerfile",
        "LICENSE",
        "README.md",
        "SECURITY.md",
        "mkdocs.yml",
        "pyproject.toml",
    }
)
KEY_OF_BACKUPS: Final = re.compile(rb"AGE-SECRET-KEY-1[0-9A-Z]{58}")
FILE_NAME: Final = re.compile(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|lua|md|sh|html))`")


def tracked() -> list[Path]:
    """Return the files of the repository that exist, relative to its root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=patiently(120)
    ).stdout
    return [Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()]


@functools.cache
def parsed(text: str) -> ast.Module:
    return ast.parse(text)


def long_functions(text: str) -> Iterator[str]:
    """The names of functions that are longer than the bound."""
    for node in ast.walk(parsed(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield from (node.name,) if lines > FUNCTION_LINES else ()


def public_classes(text: str) -> Iterator[str]:
    """The names of a module's public classes."""
    for node in parsed(text).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name


def named_after_metaphors(name: str, text: str) -> Iterator[str]:
    """The names of a module, its functions and classes that have a word of METAPHORS."""
    nodes = (
        node
        for node in ast.walk(parsed(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    )
    for one in (name, *(node.name for node in nodes)):
        if METAPHORS & {word.lower() for word in re.findall(r"[a-z]+|[A-Z][a-z]*", one)}:
            yield one


def repeated(names: Iterable[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def comment_share(texts: Iterable[str]) -> float:
    """The share of lines that have a comment."""
    comments = lines = 0
    for text in texts:
        lines += text.count("\n")
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        comments += sum(token.type == tokenize.COMMENT for token in tokens)
    return comments / max(1, lines)


def unknown_files(page: Path, text: str, known: set[str]) -> Iterator[str]:
    """The file names in a page's code spans that lead nowhere.

    A path is relative to the repository, to src, to src/kiai or to the page; a bare name may be in any folder.
    """
    for name in FILE_NAME.findall(text):
        exists = any((top / name).exists() for top in (ROOT, SRC, SRC.parent, page.parent))
        if not exists and ("/" in name or name not in known):
            yield name


def test_no_file_is_longer_than_the_bound() -> None:
    long = {path.relative_to(SRC).as_posix() for path in MODULES if path.read_text("utf-8").count("\n") > FILE_LINES}

    assert long == set()


def test_no_function_is_longer_than_the_bound() -> None:
    long = {
        f"{path.relative_to(SRC).as_posix()}:{name}"
        for path in MODULES
        if VERSIONS not in path.parents
        for name in long_functions(path.read_text("utf-8"))
    }

    assert long == set()


def test_the_composition_root_stays_short() -> None:
    assert (SRC / "app.py").read_text("utf-8").count("\n") <= APP_LINES


def test_no_two_public_classes_have_the_same_name() -> None:
    names = [name for path in MODULES for name in public_classes(path.read_text("utf-8"))]

    assert repeated(names) == set()


def test_no_name_is_a_metaphor() -> None:
    found = {name for path in MODULES for name in named_after_metaphors(path.stem, path.read_text("utf-8"))}

    assert found == set()


def test_the_share_of_comments_is_within_its_bounds() -> None:
    share = comment_share(path.read_text("utf-8") for path in MODULES)

    assert COMMENT_SHARE[0] <= share <= COMMENT_SHARE[1]


def test_every_file_that_a_document_names_exists() -> None:
    known = {path.name for top in ("src", "tests", "benchmarks", "scripts") for path in (ROOT / top).rglob("*.*")}
    unknown = {
        path.relative_to(ROOT).as_posix(): names
        for path in DOCUMENTS
        if path.name != "CHANGELOG.md" and (names := sorted(set(unknown_files(path, path.read_text("utf-8"), known))))
    }

    assert unknown == {}


def test_the_root_has_only_files_that_belong_there() -> None:
    """A command of a test that runs in the root can leave a file there, such as the key of a backup."""
    at_root = {path.name for path in tracked() if len(path.parts) == 1}

    assert at_root == FILES_AT_ROOT


def test_no_file_holds_a_key_of_backups() -> None:
    found = [str(path) for path in tracked() if KEY_OF_BACKUPS.search((ROOT / path).read_bytes())]

    assert found == []


def test_each_bound_is_measured() -> None:
    body = "\n".join("    pass" for _ in range(FUNCTION_LINES))

    assert list(long_functions(f"def short():\n    pass\nasync def long():\n{body}\n")) == ["long"]
    assert list(long_functions(f"def fits():\n{body[9:]}\n")) == []
    assert repeated(public_classes("class Match: ...\nclass _Hidden: ...\nclass Match: ...\nclass _Hidden: ...")) == {
        "Match"
    }
    metaphors = named_after_metaphors("door", "class KeptRoom: ...\ndef tell_all(): ...\ndef foretell(): ...")
    assert list(metaphors) == ["door", "KeptRoom", "tell_all"]
    assert comment_share(["# why\nx = 1\ny = 2  # why\nz = '# text'\n"]) == 0.5
    page = "`scores/best.py`, `best.py`, `scores/no_such.py`, `no_such.py`, `README.md`, `../README.md`, no_such.py"
    unknown = list(unknown_files(ROOT / "docs/README.md", page, {"best.py"}))
    assert unknown == ["scores/no_such.py", "no_such.py"]

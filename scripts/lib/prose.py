"""Check the language of docs, help texts, strings, docstrings and comments: `scripts/prose [PATH ...]`.

Reports phrases to avoid with what to write instead and, for documents, long sentences and the share of passive ones.
The phrases are the table "Words to avoid" of docs/engineer/glossary.md and `SHAPES` below.
"""

import argparse
import ast
import io
import itertools
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
GLOSSARY: Final = ROOT / "docs/engineer/glossary.md"
AVOID_HEADING: Final = "## Words to avoid"

LONG_WORDS: Final = 40
LONG_SHARE: Final = 0.01
PASSIVE_SHARE: Final = 0.25

# Found in code spans, too: they concern what a reader types.
USAGE: Final = (
    (r"python3? -m kiai\b", "kiai"),
    (r"<bool>", "the allowed values, e.g. on|off"),
)
# Phrases that a list of words cannot describe; the others are in the glossary.
SHAPES: Final = (
    (r"\b(?:is|are|was|were) (?-i:none)\b", "say what happens: is not counted, does not exist"),
    (r"\bso (?:many|much)\b(?! that\b)", "the number, e.g. `n` rows"),
    (r"\b(?:or (?:is |are )?no longer|now, or)\b", "name the change, e.g. whose visibility changed"),
    (r"\b(?:those )?that there (?:is|are)\b", "the available ..., or leave it out"),
    (r"\bputs? (?:a |the )?(?:players?|users?|them) out\b", "kick"),
    (r"\b(?:stands?|stood) (?:in|on|at|there|here|beside|behind|between|again|above|below)\b", "is, is listed"),
    (r"\bas (?:it|they) (?:came|come)\b", "unchanged"),
    (r"\b(?:lie|lies|lay) (?:in|on|under|beside|behind)\b", "is in, is stored in"),
    (r"\b(?:database|files?|redis|server|stores?|state|upstream)(?: that)? (?:is|are|was) away\b", "unavailable"),
    (r"\b(?:as|by|for|from|of|than|with) what (?:is|are|was|were|has|have|does|did)\b", "name the thing"),
    (r"\b(?:that|which|what|who|it) (?:is|are|was) no (?!longer|more|\w+er\b)", "is not a ..."),
    (r"[;,] (?:and )?how (?:many|long|often)(?: that were| there are)?\.", "Return the number of ..."),
    (r"(?<!\bleft)(?<!\blet) alone(?=[.,;:)])", "only, in front: for staff only"),
    (r"\b(?:for|of|to|by|from|than|with) who (?:is|are|has|have|was|were|does|did)\b", "for a player who ..."),
    (r"\b(?:the|in|of|with|by|an) own\b", "their own, its own"),
    (r"\bno more(?=[.,;:)]|$)", "no longer"),
    (r"^(?:an?|the) \w+, (?:never|not) an? \w+\.", "a sentence with a verb"),
)
# Sentences whose subject is a clause: `What is odd is flagged.`
INVERTED: Final = re.compile(r"(?:What|Whatever|Who(?:m|se|ever)?|How (?:far|long|many|much|often|old))\b[^?]*\.\s*")
INVERTED_INSTEAD: Final = "start with the subject or a verb: Return ..., Unknown settings are ..."
# Words of the referee's lines, which other programs parse.
EXACT: Final = re.compile(r"\bRoom name\b|\bto the room\b|\bthe match room\b|\balready in the room\b")

IRREGULAR: Final = (
    "bound|bought|broken|brought|built|caught|chosen|cut|done|drawn|driven|fed|forgotten|found|frozen|given|gone|got|"
    "heard|held|hidden|hit|kept|known|laid|led|left|let|lost|made|meant|met|overridden|overwritten|paid|put|read|"
    "rebuilt|rewritten|run|said|seen|sent|set|shown|shut|sold|spent|split|spread|stolen|swept|taken|taught|thought|"
    "thrown|told|torn|understood|withdrawn|won|worn|woven|written"
)
PASSIVE: Final = re.compile(
    r"\b(?:is|are|was|were|be|been|being|gets?|got)(?: (?:not|never|only|also|still|always|then|already|\w+ly))* "
    rf"(?:\w+ed|{IRREGULAR})\b",
    re.IGNORECASE,
)
SENTENCE_END: Final = re.compile(r"(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\betc\.)(?<=[.!?])[\"')*_]*\s+(?=[\"'(*_\[]*[A-Z0-9])")


TAGS: Final = re.compile(r"(?s)<(script|style)\b.*?</\1>|<[^>]*>|\{[{%#].*?[}%#]\}")
BLOCK_ENDS: Final = re.compile(r"</(?:div|h\d|li|p|t[dh]|title)>")
COMMENT_MARKS: Final = {".lua": "--", ".sh": "#", ".conf": "#", ".service": "#", ".toml": "#", ".yml": "#"}
READ: Final = (".md", ".py", ".html", *COMMENT_MARKS)


@dataclass(frozen=True)
class Block:
    """A run of prose: a paragraph, a cell, a docstring, a comment or a string. `line` is its first line, from 1."""

    path: str
    line: int
    text: str
    in_document: bool = False

    def sentences(self) -> list[str]:
        """The sentences of three or more words, without code. A fragment, as in a table, is one only if it is long."""
        found = SENTENCE_END.split(without_code(self.text).strip())
        return [
            one
            for one in found
            if (words := len(one.split())) > LONG_WORDS or (words >= 3 and one.rstrip("\"')*_").endswith((*".!?:",)))
        ]


@dataclass(frozen=True)
class Finding:
    """A place that does not pass."""

    path: str
    line: int
    found: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {' '.join(self.found.split())!r} -> {self.instead}"


def without_code(text: str) -> str:
    """The text with `x` in place of code spans, link targets and URLs; line breaks stay."""
    text = re.sub(r"``[^`]+``|`[^`]*`", lambda span: "x" + "\n" * span[0].count("\n"), text)
    text = re.sub(r"\]\([^)\s]*\)", "]", text)
    return re.sub(r"\b(?:https?:|docs/)\S+|[\w./-]+\.(?:py|md|sh|toml)\b(?:#[\w-]*)?", "x", text)


def avoided_words(glossary: str) -> Iterator[tuple[str, str]]:
    """The rows of the glossary's table "Words to avoid", as pattern and advice."""
    table = glossary.partition(f"\n{AVOID_HEADING}\n")[2].partition("\n## ")[0]
    for words, instead in re.findall(r"(?m)^\| (?!-|instead of)(.+?) \| (.+?) \|", table):
        for word in words.split(", "):
            yield r"\b" + r"\s+".join(map(re.escape, word.split())) + r"\b", instead


def compiled(rules: Iterable[tuple[str, str]]) -> list[tuple[re.Pattern[str], str]]:
    """Rules that match any case, and line breaks for spaces."""
    return [(re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE), instead) for pattern, instead in rules]


USAGE_RULES: Final = compiled(USAGE)


def phrases(block: Block, rules: list[tuple[re.Pattern[str], str]]) -> Iterator[Finding]:
    """The phrases to avoid in a block."""

    def at(text: str, start: int, found: str, instead: str) -> Finding:
        return Finding(block.path, block.line + text.count("\n", 0, start), found, instead)

    for pattern, instead in USAGE_RULES:
        yield from (at(block.text, one.start(), one[0], instead) for one in pattern.finditer(block.text))
    plain = EXACT.sub("x", without_code(block.text))
    for pattern, instead in rules:
        yield from (at(plain, one.start(), one[0], instead) for one in pattern.finditer(plain))
    start = 0
    for sentence in SENTENCE_END.split(plain):
        start = plain.index(sentence, start)
        if INVERTED.fullmatch(sentence):
            yield at(plain, start, " ".join(sentence.split()[:4]) + " ...", INVERTED_INSTEAD)


def document(path: str, text: str) -> Iterator[Block]:
    """The headings, paragraphs, list items and table cells of a Markdown page, without code and the words to avoid."""
    unread = rf"(?ms)^( *)```.*?^\1```$|^<!--.*?-->$|^{AVOID_HEADING}$.*?(?=^## |\Z)"
    text = re.sub(unread, lambda part: "\n" * part[0].count("\n"), text)
    start, lines = 0, list[str]()
    for number, line in enumerate([*text.splitlines(), ""], 1):
        ends = not line.strip() or re.match(r"\s*(?:[-*] |\d+\. |#|\|)", line)
        if ends and lines:
            yield Block(path, start, "\n".join(lines), in_document=True)
            lines = []
        if line.lstrip().startswith("|"):
            cells = re.split(r"(?<!\\)\|", line)
            yield from (Block(path, number, cell.strip(), in_document=True) for cell in cells if cell.strip(" -:"))
        elif line.startswith("#"):
            yield Block(path, number, line.lstrip("# "))
        elif line.strip():
            start = start if lines else number
            lines.append(re.sub(r"^\s*(?:[-*]|\d+\.) |^> ?", "", line))


def python(path: str, text: str, *, strings: bool) -> Iterator[Block]:
    """The docstrings and comments of a module, and its other strings with `strings`."""
    nodes = list(ast.walk(ast.parse(text)))
    inside = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            if id(node) in docstrings or (strings and " " in node.value):
                yield Block(path, node.lineno, node.value)
        elif strings and isinstance(node, ast.JoinedStr):
            parts = (str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
            yield Block(path, node.lineno, "".join(parts))
    found = (one for one in tokenize.generate_tokens(io.StringIO(text).readline) if one.type == tokenize.COMMENT)
    yield from comments(path, ((one.start[0], one.line[: one.start[1]], one.string) for one in found))


def comments(path: str, lines: Iterable[tuple[int, str, str]]) -> Iterator[Block]:
    """Comments, given by line number, code before it and text. Those on successive lines of their own are one block."""
    for _, run in itertools.groupby(
        enumerate(lines), lambda one: one[1][0] if one[1][1].strip() else one[0] - one[1][0]
    ):
        numbered = [line for _, line in run]
        yield Block(path, numbered[0][0], "\n".join(text.lstrip("#- ") for _, _, text in numbered))


def named(path: Path) -> str:
    """The path as findings show it: below the repository's root."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def blocks(path: Path) -> Iterator[Block]:
    """The prose of a file. Strings of tests and benchmarks are data, so only src/ is read with its strings."""
    name, text = named(path), path.read_text("utf-8")
    if path.suffix == ".md":
        yield from document(name, text)
    elif path.suffix == ".py":
        yield from python(name, text, strings=not name.startswith(("tests/", "benchmarks/", "scripts/")))
    elif path.suffix == ".html":
        line = 1
        for part in BLOCK_ENDS.split(text):
            yield Block(name, line, TAGS.sub(lambda tag: " " + "\n" * tag[0].count("\n"), part))
            line += part.count("\n")
    elif mark := COMMENT_MARKS.get(path.suffix):
        found = (re.search(rf"(?:^|\s){mark}(?=\s)", line) for line in text.splitlines())
        numbered = ((number, one) for number, one in enumerate(found, 1) if one)
        yield from comments(
            name, ((line, one.string[: one.start()], one.string[one.end() :]) for line, one in numbered)
        )


def help_texts() -> Iterator[Block]:
    """The `--help` of each command, as a user sees it."""
    from typer.testing import CliRunner

    from kiai.cli.main import app, command_tree

    def walk(command: object, words: tuple[str, ...]) -> Iterator[Block]:
        shown = CliRunner().invoke(app, [*words, "--help"], prog_name="kiai").output
        yield Block(" ".join(("kiai", *words, "--help")), 1, shown)
        for word, below in getattr(command, "commands", {}).items():
            yield from walk(below, (*words, word))

    yield from walk(command_tree(), ())


def style(found: list[Block]) -> Iterator[Finding]:
    """Long and passive sentences of documents, where there are more than the shares allow."""
    sentences = [(block, one) for block in found if block.in_document for one in block.sentences()]
    long = [(block, one) for block, one in sentences if len(one.split()) > LONG_WORDS]
    passive = [(block, one) for block, one in sentences if PASSIVE.search(" ".join(one.split()))]
    if len(long) > LONG_SHARE * len(sentences):
        for block, one in long:
            yield Finding(block.path, block.line, one[:60] + "...", f"{len(one.split())} words; at most {LONG_WORDS}")
    if len(passive) > PASSIVE_SHARE * len(sentences):
        for block, one in passive:
            yield Finding(block.path, block.line, one[:60] + "...", "active voice")


def files(paths: list[Path]) -> Iterator[Path]:
    """The files at the paths that have prose."""
    for path in paths:
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (one for one in found if one.suffix in READ and not {"node_modules", "vendor"} & set(one.parts))


def main(arguments: list[str] | None = None) -> int:
    """Print what does not pass; return 1 if there is anything."""
    parser = argparse.ArgumentParser("scripts/prose", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("paths", nargs="*", type=Path, help="Files and folders. Default: the repository.")
    parser.add_argument("--counts", action="store_true", help="Print the number of findings in each folder.")
    given = parser.parse_args(arguments)
    if missing := [str(path) for path in given.paths if not path.exists()]:
        parser.error(f"no such file or folder: {', '.join(missing)}")
    paths = [path.resolve() for path in given.paths] or [
        *(path for path in sorted(ROOT.glob("*")) if path.suffix in READ),
        *(ROOT / folder for folder in (".github", "benchmarks", "deploy", "docs", "scripts", "src", "tests")),
    ]
    read = [block for path in files(paths) for block in blocks(path)]
    if any(path.is_relative_to(ROOT / "src/kiai/cli") or path == ROOT / "src" for path in paths):
        read += help_texts()
    rules = compiled([*SHAPES, *avoided_words(GLOSSARY.read_text("utf-8"))])
    findings = [finding for block in read for finding in phrases(block, rules)]
    findings += style(read)
    if given.counts:
        counts = Counter(Path(one.path).parent.as_posix() for one in findings)
        print("\n".join(f"{count:6} {folder}" for folder, count in sorted(counts.items())))
    else:
        print(*(f"{one}\n" for one in sorted(findings, key=lambda one: (one.path, one.line))), sep="", end="")
    print(f"prose: {len(findings)} findings" if findings else "prose: ok")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())

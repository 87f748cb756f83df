"""The prose check: each rule reports its phrase, and plain English passes."""

import re
from pathlib import Path

import pytest
from scripts.lib import prose
from scripts.lib.prose import Block, Finding

RULES = prose.compiled([*prose.SHAPES, *prose.avoided_words(prose.GLOSSARY.read_text("utf-8"))])


def found(text: str) -> list[str]:
    return [one.found for one in prose.phrases(Block("page.md", 1, text), RULES)]


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("A player that is none.", "is none"),
        ("Copies the files, as of one moment.", "as of"),
        ("Waits for so many rows.", "so many"),
        ("Who is hidden now, or no longer, is logged off.", "now, or"),
        ("A player that is listed or is no longer.", "or is no longer"),
        ("Adds a player where there is room.", "there is room"),
        ("A key that is nobody's business.", "nobody's business"),
        ("Ignored, for it says nothing.", "for it says nothing"),
        ("Type !help for a list of those that there are.", "those that there are"),
        ("Puts a player out.", "Puts a player out"),
        ("Not so fast, please.", "Not so fast"),
        ("You cannot: nobody does that to themselves.", "nobody does that"),
        ("It costs its worker the life.", "costs its worker the life"),
        ("The row stands beside the score.", "stands beside"),
        ("The text is sent as it came.", "as it came"),
        ("The rank of who is listed.", "of who is"),
        ("The rank lies in the database.", "lies in"),
        ("A store that is away stops the job.", "store that is away"),
        ("The order of what is said.", "of what is"),
        ("A text that is no play.", "that is no "),
        ("Ends every key; how many that were.", "; how many that were."),
        ("Deletes old rows. A job's work.", "A job's work"),
        ("A page for the staff alone.", " alone"),
        ("The place in the own country.", "the own"),
        ("The timer runs no more.", "no more"),
        ("A debt, never a gift.", "A debt, never a gift."),
        ("Tests of the house.", "house"),
        ("The\nstory of a play.", "story"),
        ("Usage: python -m kiai serve", "python -m kiai"),
        ("Start it with `python3 -m kiai serve`.", "python3 -m kiai"),
        ("--demo  <bool>  Creates sample data.", "<bool>"),
        ("What is misspelt is refused by name.", "What is misspelt is ..."),
        ("Opens the file. Whoever asks for it waits.", "Whoever asks for it ..."),
        ("How long an empty match stays.", "How long an empty ..."),
    ],
)
def test_a_phrase_to_avoid_is_reported(text: str, phrase: str) -> None:
    assert phrase in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "Unknown settings are rejected by name.",
        "Return the score, or None if the player has none on this map.",
        "The default is None.",
        "The name is so long that the client cuts it.",
        "The players are away, and the decisions stay as they are.",
        "There is no score, the lock is no longer held, and it is no older than a second.",
        "What does the client send? It sends the md5.",
        "The API answers 503 as soon as the queue is full.",
        "Returns True to the first caller. The lock is no more than a row.",
        "The storyboard and the warehouse are not affected.",
        "The command `door --story` runs in `house/room.py`.",
        "Room name updated to x",
    ],
)
def test_plain_english_passes(text: str) -> None:
    assert found(text) == []


def test_a_finding_names_its_line_and_the_phrase_to_write_instead() -> None:
    [finding] = prose.phrases(Block("docs/page.md", 7, "Copies\nthe files, as\nof one moment."), RULES)

    assert finding == Finding("docs/page.md", 8, "as\nof", "since, from ... on")
    assert str(finding) == "docs/page.md:8: 'as of' -> since, from ... on"


def test_documents_are_read_without_code_and_without_the_words_to_avoid() -> None:
    page = "\n".join(
        [
            "# A title",
            "One paragraph",
            "of two lines.",
            "- an item",
            "```sh",
            "the story",
            "```",
            "| a cell | another |",
            "|---|---|",
            prose.AVOID_HEADING,
            "| story | workflow |",
            "## Next",
            "The end.",
        ]
    )

    assert [(one.line, one.text) for one in prose.document("page.md", page)] == [
        (1, "A title"),
        (2, "One paragraph\nof two lines."),
        (4, "an item"),
        (8, "a cell"),
        (8, "another"),
        (12, "Next"),
        (13, "The end."),
    ]


def test_modules_are_read_with_docstrings_comments_and_strings() -> None:
    module = "\n".join(
        ['"""The module."""', "X = 1", '"""The attribute."""', "# why it is", "# this way", 'Y = f"hello {X}"  # why']
    )

    read = {(one.line, one.text) for one in prose.python("x.py", module, strings=True)}
    without_strings = {one.text for one in prose.python("x.py", module, strings=False)}

    assert read == {(1, "The module."), (3, "The attribute."), (4, "why it is\nthis way"), (6, "hello x"), (6, "why")}
    assert without_strings == {"The module.", "The attribute.", "why it is\nthis way", "why"}


@pytest.mark.parametrize(("name", "mark"), [("poll.lua", "--"), ("kiai.conf", "#"), ("settings.toml", "#")])
def test_comments_of_other_languages_are_read(name: str, mark: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(f"{mark} One.\n{mark} Two.\nlocal x = '{mark}no' {mark} three\n", "utf-8")

    assert [(one.line, one.text) for one in prose.blocks(file)] == [(1, "One.\nTwo."), (3, "three")]


def test_the_text_of_pages_is_read(tmp_path: Path) -> None:
    page = tmp_path / "home.html"
    page.write_text("<style>p { }</style>\n<p>{% if x %}Register <b>now</b>.{% endif %}</p>\n<p>Play</p>", "utf-8")

    assert [(one.line, one.text.split()) for one in prose.blocks(page)] == [
        (1, ["Register", "now", "."]),
        (2, ["Play"]),
        (3, []),
    ]


def test_long_sentences_are_reported_past_their_share() -> None:
    long = Block("page.md", 1, "The server " + "very " * 40 + "slowly starts.", in_document=True)
    short = Block("page.md", 3, "The server starts.", in_document=True)

    assert [one.instead for one in prose.style([long, *[short] * 98])] == ["44 words; at most 40"]
    assert list(prose.style([long, *[short] * 99])) == []


def test_passive_sentences_are_reported_past_their_share() -> None:
    passive = [Block("page.md", 1, f"The row {verb} here.", in_document=True) for verb in ("is written", "was deleted")]
    active = Block("page.md", 2, "The server writes the row.", in_document=True)

    assert [one.instead for one in prose.style([*passive, *[active] * 5])] == ["active voice"] * 2
    assert list(prose.style([*passive, *[active] * 6])) == []


def test_abbreviations_end_no_sentence() -> None:
    assert Block("page.md", 1, "Use a name, e.g. Some Player. It has a space.").sentences() == [
        "Use a name, e.g. Some Player.",
        "It has a space.",
    ]


def test_the_command_reports_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"

    page.write_text("The server starts.\n", "utf-8")
    assert prose.main([str(page)]) == 0
    assert capsys.readouterr().out == "prose: ok\n"

    page.write_text("# Title\n\nThe server starts anew.\n", "utf-8")
    assert prose.main([str(page)]) == 1
    assert capsys.readouterr().out == f"{page}:3: 'anew' -> again\nprose: 1 findings\n"


def test_the_help_of_every_command_is_read() -> None:
    texts = {one.path: one.text for one in prose.help_texts()}

    assert {"kiai --help", "kiai serve --help", "kiai users add --help"} <= set(texts)
    assert all("Usage: kiai" in text for text in texts.values())


def test_the_glossary_has_each_word_once_in_order() -> None:
    tables = prose.GLOSSARY.read_text("utf-8").split("\n## ")[1:]
    words = [re.findall(r"(?m)^\| (?!-|word |instead )(.+?) \|", table) for table in tables]

    assert [sorted(one, key=str.lower) for one in words] == words
    terms = [*words[0], *words[1]]
    assert len(set(terms)) == len(terms)


def test_the_glossary_avoids_no_word_that_it_defines() -> None:
    *tables, avoided = prose.GLOSSARY.read_text("utf-8").split("\n## ")[1:]
    terms = {word for table in tables for word in re.findall(r"(?m)^\| (?!-|word )(.+?) \|", table)}
    phrases = {word for row in re.findall(r"(?m)^\| (?!-|instead )(.+?) \|", avoided) for word in row.split(", ")}

    assert terms & phrases == set()

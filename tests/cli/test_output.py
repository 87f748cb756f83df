"""What a command prints of text from outside."""

import json

import pytest

from kiai.cli.common import Out

NASTY = "\x1b[2Jx\nkiai: done\x9b31m\u202e\u2028\x00"


def test_text_from_outside_neither_steers_the_terminal_nor_adds_lines(capsys: pytest.CaptureFixture[str]) -> None:
    Out(as_json=False).result({}, f"Doubt {NASTY}", "Skipped nothing")

    assert capsys.readouterr().out == ("Doubt \\x1b[2Jx\\nkiai: done\\x9b31m\\u202e\\u2028\\x00\nSkipped nothing\n")


def test_json_is_one_line_of_visible_characters_with_the_same_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    Out(as_json=True).result({"why": NASTY})

    printed = capsys.readouterr().out
    assert printed.removesuffix("\n").isprintable()
    assert json.loads(printed) == {"why": NASTY}


def test_an_error_shows_what_came_without_obeying_it(capsys: pytest.CaptureFixture[str]) -> None:
    Out(as_json=False).failed(f"there is no user {NASTY!s}")

    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    assert "\x9b" not in shown

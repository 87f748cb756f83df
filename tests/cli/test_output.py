"""The output of commands for text that contains control characters."""

import json

import pytest

from kiai.cli.common import Output

CONTROLS = "\x1b[2Jx\nkiai: done\x9b31m\u202e\u2028\x00"


def test_control_characters_in_text_output_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).result({}, f"Flagged {CONTROLS}", "Skipped nothing")

    assert capsys.readouterr().out == ("Flagged \\x1b[2Jx\\nkiai: done\\x9b31m\\u202e\\u2028\\x00\nSkipped nothing\n")


def test_json_output_is_one_printable_line_and_decodes_to_the_same_text(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).result({"why": CONTROLS})

    printed = capsys.readouterr().out
    assert printed.removesuffix("\n").isprintable()
    assert json.loads(printed) == {"why": CONTROLS}


def test_control_characters_in_errors_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).failed(f"there is no user {CONTROLS!s}")

    printed = capsys.readouterr().err
    assert "\x1b" not in printed
    assert "\x9b" not in printed

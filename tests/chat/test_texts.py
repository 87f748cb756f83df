import pytest

from kiai.chat.model import LINE_MAX, clean_line, silence_left_s, split_lines, truncate_line


@pytest.mark.parametrize(
    ("sent", "cleaned"),
    [
        ("  hello  ", "hello"),
        (" \t\n\r ", ""),
        ("", ""),
        ("\x00a\x07b\x7fc\x9f", "abc"),
        ("one\ntwo", "onetwo"),
        ("\x01bell\x01", "bell"),
        ("/me waves", "\x01ACTION waves\x01"),
        ("/me   ", "/me"),
        ("/meow", "/meow"),
        ("\x01ACTION is playing\x01", "\x01ACTION is playing\x01"),
        ("\x01ACTION no end", "\x01ACTION no end\x01"),
        ("\x01ACTION a\x01b\x02c\x01", "\x01ACTION abc\x01"),
        ("\x01ACTION \x01", ""),
        ("\u30ad\u30a2\u30a4 \U0001f3b6", "\u30ad\u30a2\u30a4 \U0001f3b6"),
    ],
)
def test_clean_line_removes_control_characters_except_action_marks(sent: str, cleaned: str) -> None:
    assert clean_line(sent) == cleaned
    assert clean_line(cleaned) == cleaned


def test_line_longer_than_2000_characters_is_cut_with_a_suffix() -> None:
    assert truncate_line("x" * LINE_MAX) == ("x" * LINE_MAX, False)
    assert truncate_line("x" * (LINE_MAX + 1)) == ("x" * LINE_MAX + "... (truncated)", True)


def test_cut_action_stays_an_action() -> None:
    text, was_cut = truncate_line(clean_line("/me " + "x" * 5_000))

    assert was_cut
    assert text.startswith("\x01ACTION xxx")
    assert text.endswith("x... (truncated)\x01")


def test_line_as_long_as_a_request_is_cut() -> None:
    text, was_cut = truncate_line(clean_line("x" * 1_000_000))

    assert (len(text), was_cut) == (LINE_MAX + len("... (truncated)"), True)


def test_split_lines_bounds_lines_and_omits_empty_ones() -> None:
    assert split_lines("one\n\n  \ntwo") == ["one", "two"]
    assert [len(piece) for piece in split_lines("x" * 4_001)] == [2_000, 2_000, 1]
    assert split_lines("") == []


@pytest.mark.parametrize(("until_ms", "left_s"), [(0, 0), (10_000, 0), (10_001, 1), (11_000, 1), (11_001, 2)])
def test_remaining_silence_is_rounded_up(until_ms: int, left_s: int) -> None:
    assert silence_left_s(until_ms, now_ms=10_000) == left_s

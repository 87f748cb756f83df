import pytest

from kiai.chat.model import LINE_MAX, cleaned, cut, pieces, silence_left_s


@pytest.mark.parametrize(
    ("sent", "kept"),
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
def test_a_line_is_kept_without_control_characters_but_for_the_mark_of_an_action(sent: str, kept: str) -> None:
    assert cleaned(sent) == kept
    assert cleaned(kept) == kept


def test_a_line_of_2000_characters_is_whole_and_a_longer_one_says_that_it_was_cut() -> None:
    assert cut("x" * LINE_MAX) == ("x" * LINE_MAX, False)
    assert cut("x" * (LINE_MAX + 1)) == ("x" * LINE_MAX + "... (truncated)", True)


def test_an_action_that_is_cut_stays_an_action() -> None:
    text, was_cut = cut(cleaned("/me " + "x" * 5_000))

    assert was_cut
    assert text.startswith("\x01ACTION xxx")
    assert text.endswith("x... (truncated)\x01")


def test_a_line_as_long_as_a_request_is_still_found_too_long() -> None:
    text, was_cut = cut(cleaned("x" * 1_000_000))

    assert (len(text), was_cut) == (LINE_MAX + len("... (truncated)"), True)


def test_what_the_bot_says_is_told_in_lines_that_clients_survive() -> None:
    assert pieces("one\n\n  \ntwo") == ["one", "two"]
    assert [len(piece) for piece in pieces("x" * 4_001)] == [2_000, 2_000, 1]
    assert pieces("") == []


@pytest.mark.parametrize(("until_ms", "left_s"), [(0, 0), (10_000, 0), (10_001, 1), (11_000, 1), (11_001, 2)])
def test_what_is_left_of_a_silence_is_rounded_up(until_ms: int, left_s: int) -> None:
    assert silence_left_s(until_ms, now_ms=10_000) == left_s

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiai.osu.durations import YEAR_S, duration_text, parse_duration
from kiai.osu.numbers import ID_MAX, is_id, whole_number


@given(st.integers(0, 2**63))
def test_ascii_digits_are_parsed(number: int) -> None:
    assert whole_number(str(number), most=2**63) == number


@pytest.mark.parametrize(
    "text", ["", "²", "５", "٣", "1²", "+1", "-1", "1_0", " 1", "1 ", "1\n", "1.0", "1e3", "0x1", "9" * 20, "9" * 5_000]
)
def test_other_texts_are_not_numbers(text: str) -> None:
    assert whole_number(text, most=2**63) is None


@given(st.text())
def test_any_text_is_parsed_without_error(text: str) -> None:
    number = whole_number(text)

    assert number is None or (text.isascii() and 0 <= number <= ID_MAX)


def test_numbers_outside_the_range_are_rejected() -> None:
    assert [whole_number(text, most=300, least=1) for text in ("0", "1", "300", "301")] == [None, 1, 300, None]
    assert [is_id(number) for number in (-1, 0, 1, ID_MAX, ID_MAX + 1, 2**63)] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("10m", 600),
        ("1h30m", 5_400),
        ("2W", 1_209_600),
        ("365d", YEAR_S),
        ("366d", None),
        ("0s", None),
        ("10", None),
        ("m", None),
        ("²m", None),
        ("５m", None),
        ("-5m", None),
        ("1.5h", None),
        ("1 h", None),
        ("999999999w", None),
    ],
)
def test_duration_consists_of_numbers_with_units(text: str, seconds: int | None) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (45, "45 seconds"),
        (60, "1 minute"),
        (90, "1 minute and 30 seconds"),
        (121, "2 minutes and 1 second"),
        (600, "10 minutes"),
        (5_400, "1 hour and 30 minutes"),
        (93_605, "1 day, 2 hours and 5 seconds"),
    ],
)
def test_duration_is_formatted_in_words(seconds: int, text: str) -> None:
    assert duration_text(seconds) == text


@given(st.integers(1, YEAR_S))
def test_formatted_duration_adds_up_to_the_seconds(seconds: int) -> None:
    units = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}
    words = duration_text(seconds).replace(" and ", ", ").split(", ")

    assert sum(int(word.split()[0]) * units[word.split()[1].rstrip("s")] for word in words) == seconds

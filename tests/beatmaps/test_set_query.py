"""The words of a search for sets: what they mean, and which explanations wrong ones get."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiai.beatmaps.set_query import Range, SetQuery, parse, write


def test_words_conditions_and_quoted_texts_are_read_together() -> None:
    query, wrong = parse('harumachi stars>5 ar=9 bpm<180 length<90 key=4 artist="two words" creator=name mode=mania')

    assert wrong == []
    assert query.words == ("harumachi",)
    assert query.texts == (("artist", "two words"), ("creator", "name"))
    assert query.mode == 3
    assert query.ranges["stars"] == Range(low=5, low_open=True)
    assert query.ranges["ar"] == Range(9, 9)
    assert query.ranges["bpm"] == Range(high=180, high_open=True)
    assert query.ranges["length"] == Range(high=90, high_open=True)
    assert query.ranges["key"] == Range(4, 4)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("1:30", 90), ("1:01:30", 3690), ("1h", 3600)]
)
def test_lengths_have_several_forms(text: str, seconds: int) -> None:
    query, wrong = parse(f"length={text}")

    assert wrong == []
    assert query.ranges["length"] == Range(seconds, seconds)


def test_equal_stars_mean_their_first_digits() -> None:
    assert parse("stars=5")[0].ranges["stars"] == Range(5, 6, high_open=True)
    assert parse("stars=5.2")[0].ranges["stars"] == Range(5.2, 5.3, high_open=True)


def test_equal_tempo_is_rounded() -> None:
    assert parse("bpm=180")[0].ranges["bpm"] == Range(179.5, 180.5, high_open=True)


def test_two_conditions_on_a_field_are_a_range() -> None:
    assert parse("stars>=5 stars<6")[0].ranges["stars"] == Range(5, 6, high_open=True)


@pytest.mark.parametrize("text", ["star>5", "sr>5", "STARS>5"])
def test_fields_have_other_names(text: str) -> None:
    assert parse(text)[0].ranges == {"stars": Range(low=5, low_open=True)}


def test_quoted_words_are_not_conditions() -> None:
    assert parse('"stars>5"') == (SetQuery(words=("stars>5",)), [])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("colour=red", "there is no field colour"),
        ("stars=hard", "stars needs a number such as 5.2"),
        ("key=4.5", "key needs a whole number"),
        ("length=soon", "length needs seconds such as 90, or 1:30"),
        ("stars>", "a value is missing behind >"),
        ("mode=5", "mode is one of osu, taiko, catch, mania"),
        ("status=best", "status is one of board, ranked, loved, qualified, pending, any"),
        ("status>ranked", "status is compared with = only"),
        ("artist<b", "artist is compared with = only"),
        ("ar!=9", "!= is not supported"),
        ("mode=osu mode=taiko", "mode is given twice"),
        ("stars>6 stars<5", "no stars fits this and the condition before"),
        ("bpm=99999999", "bpm needs a number"),
        ("bpm=9999999", "at most 1,000,000"),
    ],
)
def test_wrong_words_are_explained_and_left_out(text: str, why: str) -> None:
    query, wrong = parse(f"song {text}")

    assert query.words == ("song",)
    assert len(wrong) == 1
    assert wrong[0].word in text
    assert why in wrong[0].why


def test_text_beyond_the_bound_is_explained() -> None:
    query, wrong = parse("a" * 250)

    assert query.words == ("a" * 200,)
    assert "200 characters" in wrong[0].why


numbers = st.floats(0, 9_999).map(lambda number: f"{number:.2f}")
conditions = st.builds(
    "{}{}{}".format,
    st.sampled_from(("stars", "bpm", "length", "ar", "od", "cs", "hp")),
    st.sampled_from(("<", "<=", "=", ">", ">=")),
    numbers,
)
texts = st.lists(
    st.one_of(
        conditions,
        st.text(max_size=20),
        st.builds('{}="{}"'.format, st.sampled_from(("artist", "tag")), st.text("abc é=<", max_size=9)),
        st.sampled_from(("mode=mania", "status=loved", "key>=4", "year<2020", '"', "stars=", "=", '"a b')),
    ),
    max_size=8,
).map(" ".join)


@given(texts)
def test_written_query_is_read_as_the_same_query(text: str) -> None:
    query, _ = parse(text)
    written = write(query)

    if len(written) <= 200:
        assert parse(written) == (query, [])


@given(st.text(max_size=300))
def test_any_text_is_read_without_an_error(text: str) -> None:
    query, wrong = parse(text)

    assert all(one.why for one in wrong)
    assert all(not found.is_empty for found in query.ranges.values())


@given(st.sampled_from(("<", "<=", ">", ">=")), st.floats(0, 1000).map(lambda number: round(number, 2)))
def test_range_contains_the_numbers_that_the_operator_allows(operator: str, number: float) -> None:
    found = parse(f"bpm{operator}{number:.2f}")[0].ranges.get("bpm")

    assert found is not None
    for probe in (number - 1, math.nextafter(number, -math.inf), number, math.nextafter(number, math.inf), number + 1):
        expected = {"<": probe < number, "<=": probe <= number, ">": probe > number, ">=": probe >= number}[operator]
        assert (found.least <= probe <= found.most) == expected

"""Text from outside in each kind of place."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiai.osu.texts import UNSEEN, attachment, chat_link, chat_name, chat_text, field, one_line, visible

NASTY = (
    "[https://evil.example x]",
    "x] [https://evil.example y",
    "x](https://evil.example)",
    "](",
    "(x)[https://evil.example]",
    "[[Evil]]",
    "https://evil.example",
    "osump://1/x",
    "one\ntwo",
    "one\r\ntwo",
    "a|b",
    "\x00",
    "\x7f\x80\x9f",
    "\u2028\u2029",
    "\u202eevil\u2066",
    "\x01ACTION waves\x01",
    "\ud800",
)


@pytest.mark.parametrize("text", NASTY)
def test_a_part_of_a_line_of_chat_is_one_line_without_links(text: str) -> None:
    for shown in (chat_text(text), chat_name(text)):
        assert not UNSEEN.search(shown)
        assert "://" not in shown
        assert "](" not in shown
    assert not re.search(r"\[\[[^\]]+\]\]", chat_text(text))


@pytest.mark.parametrize(
    "text",
    [
        "Artist - Title [Hard]",
        "Artist - re[in] [[4K] Insane]",
        "Title] [Hard",
        "a|b",
        "(TV Size) [Extra]",
        "日本語 - 題 [難しい]",
        "\u0645\u0631\u062d\u0628\u0627",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert chat_text(text) == text


@pytest.mark.parametrize("name", ["anna", "[Toy]", "[[x]]", "-_-", "a b", "]["])
def test_names_that_players_may_have_stay_as_they_are(name: str) -> None:
    assert chat_name(name) == name


@pytest.mark.parametrize("text", NASTY)
def test_the_words_of_a_link_neither_end_it_nor_begin_another(text: str) -> None:
    shown = chat_link("https://osu.example/b/1", text)

    found = re.fullmatch(r"\[https://osu\.example/b/1 (.*)\]", shown)
    assert found is not None
    assert "://" not in found[1]
    assert not UNSEEN.search(shown)
    depth = 0
    for one in found[1]:
        depth += (one == "[") - (one == "]")
        assert depth >= 0
    assert depth == 0


def test_a_link_shows_ordinary_brackets() -> None:
    assert chat_link("https://osu.example/b/1", "A - B [C]") == "[https://osu.example/b/1 A - B [C]]"
    assert chat_link("osump://1/my] pass", "room") == "[osump://1/my__pass room]"


@given(st.text())
def test_a_field_ends_neither_its_line_nor_itself(text: str) -> None:
    assert not set(field(text)) & set("|\r\n\t\0")
    assert len(field(text).splitlines()) <= 1


@pytest.mark.parametrize("text", [*NASTY, 'a"; filename="evil.exe', "../../etc/passwd", "100%41"])
def test_a_file_name_is_one_parameter_of_its_header(text: str) -> None:
    header = attachment(f"{text}.osz")

    assert re.fullmatch(r"attachment; filename=\"[^\"\\/%]+\"; filename\*=UTF-8''[A-Za-z0-9%._~-]+", header)
    assert header.isascii()
    assert header.isprintable()


@given(st.text())
def test_what_a_terminal_is_shown_does_not_steer_it(text: str) -> None:
    assert not UNSEEN.search(visible(text))
    visible(text).encode()


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Cf", "Zl", "Zp"])))
def test_text_that_is_seen_stays(text: str) -> None:
    assert one_line(text) == visible(text) == text

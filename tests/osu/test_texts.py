"""Escaping of untrusted text for each kind of output."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiai.osu.texts import UNSEEN, attachment, chat_link, chat_name, chat_text, field, one_line, visible

HOSTILE = (
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


@pytest.mark.parametrize("text", HOSTILE)
def test_chat_text_is_one_line_without_links(text: str) -> None:
    for escaped in (chat_text(text), chat_name(text)):
        assert not UNSEEN.search(escaped)
        assert "://" not in escaped
        assert "](" not in escaped
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
def test_ordinary_text_stays_unchanged(text: str) -> None:
    assert chat_text(text) == text


@pytest.mark.parametrize("name", ["anna", "[Toy]", "[[x]]", "-_-", "a b", "]["])
def test_valid_names_stay_unchanged(name: str) -> None:
    assert chat_name(name) == name


@pytest.mark.parametrize("text", HOSTILE)
def test_label_of_link_neither_ends_it_nor_starts_another(text: str) -> None:
    link = chat_link("https://osu.example/b/1", text)

    found = re.fullmatch(r"\[https://osu\.example/b/1 (.*)\]", link)
    assert found is not None
    assert "://" not in found[1]
    assert not UNSEEN.search(link)
    depth = 0
    for character in found[1]:
        depth += (character == "[") - (character == "]")
        assert depth >= 0
    assert depth == 0


def test_ordinary_brackets_in_label_of_link_stay() -> None:
    assert chat_link("https://osu.example/b/1", "A - B [C]") == "[https://osu.example/b/1 A - B [C]]"
    assert chat_link("osump://1/my] pass", "match") == "[osump://1/my__pass match]"


@given(st.text())
def test_field_has_no_line_end_and_separator(text: str) -> None:
    assert not set(field(text)) & set("|\r\n\t\0")
    assert len(field(text).splitlines()) <= 1


@pytest.mark.parametrize("text", [*HOSTILE, 'a"; filename="evil.exe', "../../etc/passwd", "100%41"])
def test_file_name_in_header_is_escaped(text: str) -> None:
    header = attachment(f"{text}.osz")

    assert re.fullmatch(r"attachment; filename=\"[^\"\\/%]+\"; filename\*=UTF-8''[A-Za-z0-9%._~-]+", header)
    assert header.isascii()
    assert header.isprintable()


@given(st.text())
def test_text_for_terminal_has_no_control_characters(text: str) -> None:
    assert not UNSEEN.search(visible(text))
    visible(text).encode()


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Cf", "Zl", "Zp"])))
def test_printable_text_stays_unchanged(text: str) -> None:
    assert one_line(text) == visible(text) == text

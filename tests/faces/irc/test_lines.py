import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiai.faces.irc.lines import (
    LINE_MAX,
    READ_MAX,
    UNENDED_MAX,
    ClientLine,
    LineBuffer,
    NoLineEnd,
    encoded,
    message_lines,
    packed,
    parse_line,
    split_text,
)


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        (b"PING x", ("PING", ("x",))),
        (b"privmsg #osu :a b  c", ("PRIVMSG", ("#osu", "a b  c"))),
        (b"PRIVMSG anna ::)", ("PRIVMSG", ("anna", ":)"))),
        (b":anna!x@y JOIN #a,#b", ("JOIN", ("#a,#b",))),
        (b"@time=1;x=y :z  USER a 0 * :Real Name", ("USER", ("a", "0", "*", "Real Name"))),
        (b"NICK  :anna", ("NICK", ("anna",))),
        (b"PRIVMSG anna :", ("PRIVMSG", ("anna", ""))),
        (b"PRIVMSG anna :\xff\x00\xc3\xa9", ("PRIVMSG", ("anna", "\ufffd \u00e9"))),
        (b"   ", None),
        (b":prefix", None),
        (b"@tags", None),
        (b":", None),
    ],
)
def test_line_is_parsed(line: bytes, parsed: tuple[str, tuple[str, ...]] | None) -> None:
    assert parse_line(line) == (None if parsed is None else ClientLine(*parsed))


@given(st.binary(max_size=600))
def test_any_bytes_are_parsed(line: bytes) -> None:
    parsed = parse_line(line.replace(b"\r", b"").replace(b"\n", b""))

    if parsed is not None:
        assert parsed.command
        assert len(parsed.params) <= 15
        assert not any(set("\r\n\0") & set(text) for text in (parsed.command, *parsed.params))


@given(st.lists(st.binary(max_size=50), max_size=20), st.lists(st.sampled_from([b"\r\n", b"\n", b"\r"]), min_size=20))
def test_pieces_of_input_do_not_change_its_lines(parts: list[bytes], ends: list[bytes]) -> None:
    clean = [part.translate(None, b"\r\n") for part in parts]
    data = b"".join(part + end for part, end in zip(clean, ends, strict=False))
    whole, bytewise = LineBuffer(), LineBuffer()

    lines = whole.feed(data)

    assert lines == [part for part in clean if part]
    assert [line for at in range(len(data)) for line in bytewise.feed(data[at : at + 1])] == lines


@pytest.mark.parametrize("piece", [100, 4_096, 10_000])
def test_long_line_is_dropped_whole(piece: int) -> None:
    buffer = LineBuffer()
    data = b"a" * READ_MAX + b"\n" + b"b" * 9_000 + b"\r\nPING x\n"

    lines = [line for at in range(0, len(data), piece) for line in buffer.feed(data[at : at + piece])]

    assert lines == [b"a" * READ_MAX, None, b"PING x"]


def test_input_without_a_line_end_is_bounded() -> None:
    buffer = LineBuffer()
    for _ in range(UNENDED_MAX // 4_096):
        buffer.feed(b"x" * 4_096)

    with pytest.raises(NoLineEnd):
        buffer.feed(b"x")


@given(st.text(max_size=500), st.integers(4, 60))
def test_split_text_loses_nothing_but_the_blanks_at_its_ends(text: str, most: int) -> None:
    text = text.encode("utf-8", "replace").decode()

    parts = split_text(text, most)

    assert all(len(part.encode()) <= most for part in parts)
    assert "".join(parts).replace(" ", "") == text.replace(" ", "")


def test_text_is_split_at_blanks() -> None:
    assert split_text("one two three four", 9) == ["one two", "three", "four"]
    assert split_text("one two", 3) == ["one", "two"]
    assert split_text("ééééé", 5) == ["éé", "éé", "é"]
    assert split_text("", 5) == [""]


@given(st.text(max_size=2_000), st.booleans())
def test_message_fits_into_lines(text: str, action: bool) -> None:
    head = ":Some_Player!cho@ppy.sh PRIVMSG #osu"

    lines = message_lines(head, f"\x01ACTION {text}\x01" if action else text)

    for line in lines:
        data = encoded(line)
        assert len(data) <= LINE_MAX
        assert data.endswith(b"\r\n")
        assert not set(data[:-2]) & set(b"\r\n\0")
        assert data.startswith(head.encode() + b" :")
        assert data[:-2].decode() == line.encode("utf-8", "replace").decode()
        if action:
            assert line.endswith("\x01")


@given(st.text(max_size=700))
def test_no_text_makes_a_line_of_its_own(text: str) -> None:
    data = encoded(text)

    assert len(data) <= LINE_MAX
    assert data.count(b"\n") == data.count(b"\r") == 1
    data.decode()


@given(st.lists(st.text(alphabet="abé", min_size=1, max_size=12), max_size=60), st.integers(24, 80))
def test_words_are_packed_into_short_texts(words: list[str], most: int) -> None:
    texts = list(packed(words, most))

    assert " ".join(texts).split() == words
    assert all(len(text.encode()) <= most for text in texts)
    assert texts

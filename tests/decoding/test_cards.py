"""Pictures of scores: their size, their texts and what hostile texts and covers do to them."""

import io
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image, ImageChops

from kiai.decoding import cards
from kiai.decoding.jobs import CardJob

CARD = CardJob(
    server="Kiai Club",
    title="Song",
    artist="Artist",
    difficulty="Insane",
    player="Ada",
    grade="SH",
    stars="6.12 stars",
    pp="312.44 pp",
    accuracy="98.71%",
    combo="905/905x",
    mods=["HD", "HR"],
    date="28 November 2026",
    hue=210,
)


def drawn(cover: bytes = b"", **changes: Any) -> Image.Image:
    picture = Image.open(io.BytesIO(cards.draw(msgspec.structs.replace(CARD, **changes), cover)), formats=("PNG",))
    picture.load()
    return picture


def a_cover(colour: tuple[int, int, int] = (250, 40, 40)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (900, 250), colour).save(out, "JPEG")
    return out.getvalue()


def test_picture_has_the_size_that_link_previews_show() -> None:
    assert drawn().size == (1200, 630)
    assert drawn().mode == "RGB"


@pytest.mark.parametrize(
    "change",
    [
        {"title": "Other"},
        {"player": "Bob"},
        {"grade": "A"},
        {"pp": "1.00 pp"},
        {"accuracy": "97.00%"},
        {"combo": "1x"},
        {"mods": []},
        {"server": "Other"},
        {"date": "1 May 2026"},
        {"stars": ""},
        {"hue": 30},
    ],
    ids=lambda change: next(iter(change)),
)
def test_picture_shows_each_value(change: dict[str, Any]) -> None:
    assert ImageChops.difference(drawn(), drawn(**change)).getbbox() is not None


def test_silver_grade_differs_in_more_than_its_colour() -> None:
    gold, silver = (drawn(grade=grade).convert("L").point(lambda v: 255 * (v > 100)) for grade in ("S", "SH"))

    assert ImageChops.difference(gold, silver).getbbox() is not None


def test_cover_is_the_background_and_stays_dark_enough_for_text() -> None:
    red, _, _ = drawn(a_cover((255, 255, 255))).getpixel((1100, 40))  # type: ignore[misc]

    assert drawn(a_cover()).getpixel((1100, 40)) != drawn().getpixel((1100, 40))
    assert red <= 0.2 * 255 + 0.8 * 30


@pytest.mark.parametrize("cover", [b"no picture", a_cover()[:200], b"\xff\xd8\xff"])
def test_damaged_cover_counts_as_none(cover: bytes) -> None:
    assert ImageChops.difference(drawn(cover), drawn()).getbbox() is None


@pytest.mark.parametrize(
    "text",
    ["x" * 5_000, "W" * 300, "\u5996\u8276\u9b54\u5973" * 60, "a\nb\0c\u202ed", "", "\U0001f600" * 50, "\ud800"],
)
def test_any_text_fits_into_the_picture(text: str) -> None:
    picture = drawn(title=text, artist=text, difficulty=text, player=text, server=text, pp="9" * 30, combo="9" * 30)

    edge = picture.crop((1168, 0, 1200, 500))
    assert ImageChops.difference(edge, drawn().crop((1168, 0, 1200, 500))).getbbox() is None


@pytest.mark.parametrize("path", [cards._TITLE, cards._PLAIN], ids=lambda path: path.stem)
@pytest.mark.parametrize(
    "text",
    [
        "\u6771\u65b9\u306e\u30df\u30b9\u30c6\u30a3\u30fc\u3000\u301c",
        "\u4e1c\u65b9\u7684\u6b4c",
        "\u6771\u65b9\u7684\u6b4c\u8a5e\u9f8d",
        "\ud55c\uad6d\uc5b4 \ub178\ub798",
    ],
    ids=["japanese", "simplified-chinese", "traditional-chinese", "korean"],
)
def test_package_has_the_fonts_of_east_asia(text: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "_OF_SYSTEM", ())
    cards._other_fonts.cache_clear()

    parts = cards._parts(text, path, 40)
    cards._other_fonts.cache_clear()

    assert "".join(part for part, _ in parts) == text
    assert {Path(str(font.path)).parent for _, font in parts} == {cards._FONTS}


def test_character_that_no_font_has_is_a_question_mark() -> None:
    assert ImageChops.difference(drawn(title="a\U00013080b"), drawn(title="a?b")).getbbox() is None


def test_difficulty_with_other_characters_is_another_picture() -> None:
    assert ImageChops.difference(drawn(difficulty="\u6975"), drawn(difficulty="?")).getbbox() is not None
    assert ImageChops.difference(drawn(difficulty="\u6975"), drawn(difficulty="\u6a02")).getbbox() is not None


def test_fonts_of_the_package_stay_small() -> None:
    assert sum(file.stat().st_size for file in cards._FONTS.glob("*.ttf")) <= 3.2 * 1024 * 1024


def test_more_mods_than_fit_are_left_out() -> None:
    edge = drawn(mods=["HD"] * 30).crop((1168, 0, 1200, 500))

    assert ImageChops.difference(edge, drawn().crop((1168, 0, 1200, 500))).getbbox() is None

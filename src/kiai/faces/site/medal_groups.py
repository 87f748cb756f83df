"""The groups in which pages show medals."""

from typing import Final

from kiai.faces.site.locale import Locale
from kiai.scores.medals import MEDALS, Medal

_RANGES: Final = ((1, 24), (25, 40), (41, 56), (57, 72), (73, 83), (84, 99), (100, 103), (104, 115))


def medal_groups(locale: Locale) -> list[tuple[str, list[Medal]]]:
    """Return all medals in groups: the title of each group, and its medals by id (docs/spec/game-rules.md#medals)."""
    text = locale.text
    titles = (
        "osu!",
        "taiko",
        "catch",
        "mania",
        text("Mods"),
        text("Dedication"),
        text("Ranks"),
        text("Hush-hush"),
    )
    return [
        (title, [medal for medal in MEDALS if first <= medal.id <= last])
        for title, (first, last) in zip(titles, _RANGES, strict=True)
    ]

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiai.osu.links import MapLink, parse_map_link, with_link_base


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("75", MapLink(75)),
        ("https://osu.ppy.sh/b/75", MapLink(75)),
        ("http://osu.kiai.example/b/75/", MapLink(75)),
        ("osu.ppy.sh/b/75", MapLink(75)),
        ("https://osu.ppy.sh/b/2785319?m=1", MapLink(2785319, mode=1)),
        ("https://osu.ppy.sh/b/2785319&m=0", MapLink(2785319, mode=0)),
        ("https://osu.ppy.sh/b/75?m=9", MapLink(75)),
        ("https://osu.ppy.sh/beatmaps/75?mode=fruits", MapLink(75, mode=2)),
        ("https://osu.ppy.sh/beatmaps/75", MapLink(75)),
        ("https://osu.ppy.sh/p/beatmap?b=75&m=3", MapLink(75, mode=3)),
        ("https://osu.ppy.sh/beatmapsets/1344871#taiko/2785319", MapLink(2785319, mode=1)),
        ("https://osu.ppy.sh/beatmapsets/1#osu/75", MapLink(75, mode=0)),
        ("https://osu.ppy.sh/beatmapsets/1#fruits/75", MapLink(75, mode=2)),
        ("https://osu.ppy.sh/beatmapsets/1#/75", MapLink(75)),
        ("https://osu.ppy.sh/beatmapsets/1/#/75", MapLink(75)),
        ("https://osu.ppy.sh/beatmapsets/1/#mania/75", MapLink(75, mode=3)),
        ("https://osu.ppy.sh/s/1", MapLink(set_id=1)),
        ("https://osu.ppy.sh/beatmapsets/1", MapLink(set_id=1)),
        ("https://osu.ppy.sh/beatmapsets/1#osu", MapLink(set_id=1)),
        ("2147483647", MapLink(2**31 - 1)),
    ],
)
def test_each_form_of_link_is_parsed(text: str, link: MapLink) -> None:
    assert parse_map_link(text) == link


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "-75",
        "²",
        "５",
        "75x",
        "2147483648",
        "9" * 30,
        "https://osu.ppy.sh/b/",
        "https://osu.ppy.sh/b/２",
        "https://osu.ppy.sh/b/9999999999",
        "https://osu.ppy.sh/b/75/76",
        "https://osu.ppy.sh/u/75",
        "https://osu.ppy.sh/beatmapsets/1#/99999999999",
        "https://osu.ppy.sh/s/4294967297",
        "https://osu.ppy.sh/" + "b/" * 100 + "75",
    ],
)
def test_other_texts_are_not_links(text: str) -> None:
    assert parse_map_link(text) is None


@given(st.text(max_size=60) | st.from_regex(r"https://osu\.x/(b|s|beatmapsets)/.{0,20}"))
def test_parsed_ids_fit_their_column(text: str) -> None:
    link = parse_map_link(text)

    assert link is None or 0 < (link.map_id or link.set_id or 0) < 2**31


@pytest.mark.parametrize(
    ("line", "moved"),
    [
        ("Created the tournament match L/mp/12 Final", "Created the tournament match O/mp/12 Final"),
        ("Beatmap changed to: A - B [C] (L/b/75)", "Beatmap changed to: A - B [C] (O/b/75)"),
        ("Slot 1  Ready     L/u/3 anna            [Host]", "Slot 1  Ready     O/u/3 anna            [Host]"),
        ("Room name: L/mp/1, History: L/mp/1", "Room name: O/mp/1, History: O/mp/1"),
        ("L/community/matches/12", "O/community/matches/12"),
        ("L/d/75", "L/d/75"),
        ("read L/b/ at L/home", "read L/b/ at L/home"),
        ("https://osuxkiai.example/b/75", "https://osuxkiai.example/b/75"),
    ],
)
def test_links_of_lines_move_to_another_base(line: str, moved: str) -> None:
    own, other = "https://osu.kiai.example/", "https://osu.ppy.sh/"

    line, moved = line.replace("L/", own), moved.replace("L/", own).replace("O/", other)

    assert with_link_base(line, own, other) == moved

"""The macros of the components: what they show for the values of the domain."""

from typing import Any

import jinja2
import pytest
from selectolax.lexbor import LexborHTMLParser, LexborNode

from kiai.accounts.model import Friend, Player
from kiai.beatmaps.model import MapStatus, MapSummary
from kiai.faces.site.assets import Assets
from kiai.faces.site.locale import locale_of
from kiai.faces.site.page import FormState, Visitor
from kiai.faces.site.templating import Templates
from kiai.osu.mods import parse_mods
from kiai.scores.model import Score

IMPORTS = "".join(
    f'{{% import "components/{name}.html" as {name} with context %}}'
    for name in ("charts", "figures", "forms", "lists", "maps", "modes", "people", "scores")
)
TEMPLATES = Templates(Assets(), {"title": "test"})
NOW_MS = 1_800_000_000_000
ADA = Player(3, "Ada <3", 3, "fi", 7, "The Clan", "TAG")


def rendered(source: str, **values: Any) -> LexborHTMLParser:
    """Return what a template of these macro calls shows."""
    package = TEMPLATES._loader
    assert isinstance(package, jinja2.FunctionLoader)
    loader = jinja2.FunctionLoader(lambda name: IMPORTS + source if name == "test.html" else package.load_func(name))
    templates = Templates(Assets(), {"title": "test"})
    templates._loader = loader
    return LexborHTMLParser(
        templates.render("test.html", locale_of("en"), {"visitor": Visitor(), "now_ms": NOW_MS, "form": None, **values})
    )


def words(node: LexborNode | None) -> str:
    assert node is not None
    return " ".join(node.text().split())


def a_score(**values: Any) -> Score:
    plain: dict[str, Any] = dict.fromkeys(Score.__struct_fields__, 0)
    return Score(**{**plain, "id": 501, "grade": "S", "acc": 98.715, "pp": 312.44, "max_combo": 900, **values})


def a_map(**values: Any) -> MapSummary:
    plain: dict[str, Any] = dict.fromkeys(MapSummary.__struct_fields__, 0)
    texts = {"md5": "a" * 32, "artist": "Artist", "title": "<b>Title", "version": "Hard", "creator": "Mapper"}
    return MapSummary(
        **{**plain, **texts, "id": 75, "set_id": 1, "status": MapStatus.RANKED, "max_combo": 905, **values}
    )


def test_a_row_of_a_score_names_the_play_and_its_map() -> None:
    html = rendered("{{ scores.row(score, map, weight=95) }}", score=a_score(mods=parse_mods("HDDT")), map=a_map())

    row = html.css_first("li")
    assert row is not None
    assert (row.attributes["data-score-id"], row.attributes["data-map-id"]) == ("501", "75")
    assert words(row.css_first(".title a")) == "Artist - <b>Title [Hard]"
    assert [node.attributes["title"] for node in row.css(".mods i")] == ["Hidden", "DoubleTime"]
    assert [node.attributes["href"] for node in row.css("a")] == ["/beatmapsets/1?map=75", "/scores/501"]
    assert "900x/905" in words(row)
    assert words(row.css_first(".acc")) == "98.71%"
    assert words(row.css_first(".pp")) == "312 pp95% · 297pp"


@pytest.mark.parametrize(
    ("status", "title"),
    [(MapStatus.LOVED, "Loved maps give no pp"), (MapStatus.QUALIFIED, "This map gives no pp")],
)
def test_a_map_without_pp_shows_a_dash_and_the_reason(status: MapStatus, title: str) -> None:
    html = rendered("{{ scores.row(score, map) }}", score=a_score(), map=a_map(status=status))

    shown = html.css_first(".pp span")
    assert shown is not None
    assert (words(shown), shown.attributes["title"]) == ("-", title)


def test_a_failed_play_says_so_in_words() -> None:
    html = rendered("{{ scores.row(score, map) }}", score=a_score(grade="F", nmiss=3), map=a_map())

    assert "Failed" in words(html.css_first(".sub"))
    assert "3 misses" in words(html.css_first(".sub"))
    assert [node.attributes["title"] for node in html.css("i")] == ["Failed"]


def test_a_chip_has_flag_clan_and_name_of_a_player() -> None:
    html = rendered("{{ people.chip(player) }}", player=ADA)

    assert [node.attributes["href"] for node in html.css("a")] == ["/clans/7", "/users/3"]
    assert words(html.css_first(".name")) == "Ada <3"
    assert [node.attributes["alt"] for node in html.css("img")] == ["", "Finland"]


def test_a_chip_shows_what_a_value_has() -> None:
    html = rendered("{{ people.chip(player) }}", player=Friend(4, "bob", "xx", mutual=True))

    assert [node.attributes["href"] for node in html.css("a")] == ["/users/4"]
    assert len(html.css("img")) == 1  # no flag of an unknown country


def test_a_deleted_player_has_no_link() -> None:
    html = rendered("{{ people.chip(None) }}")

    assert words(html.body) == "Deleted player"
    assert html.css("a") == []


def test_supporters_and_staff_are_marked_by_words() -> None:
    html = rendered("{{ people.chip(player) }}", player=Player(3, "ada", 3 | 16 | 4096, "fi", None, None, None))

    assert [node.attributes["aria-label"] for node in html.css("svg[role=img]")] == ["Staff", "Supporter"]


def test_a_wrong_field_names_its_message_and_keeps_what_was_typed() -> None:
    form = FormState({"username": "a<b"}, {"username": "Too short."}, "Check the fields.")

    html = rendered(
        '{{ forms.messages(form) }}{{ forms.field(form, "username", "Username", help="2 to 15") }}'
        '{{ forms.field(form, "password", "Password", "password", value="secret") }}',
        form=form,
    )

    username, password = html.css("input")
    ids = (username.attributes["aria-describedby"] or "").split()
    assert username.attributes["value"] == "a<b"
    assert username.attributes["aria-invalid"] == "true"
    assert [words(html.css_first(f'[id="{id_}"]')) for id_ in ids] == ["Too short.", "2 to 15"]
    assert "value" not in password.attributes
    assert "aria-invalid" not in password.attributes
    assert words(html.css_first("[role=alert]")) == "Check the fields."


def test_fields_of_one_name_have_ids_of_their_own() -> None:
    html = rendered(
        '{{ forms.field(None, "password", "One", "password") }}{{ forms.field(None, "password", "Two", "password") }}'
        '{{ forms.select(None, "mode", "Mode", [(0, "osu!"), (1, "taiko")], value=1) }}'
    )

    controls = html.css("input, select")
    assert [node.attributes["for"] for node in html.css("label")] == [node.attributes["id"] for node in controls]
    assert len({node.attributes["id"] for node in controls}) == 3
    assert [node.attributes["value"] for node in html.css("option[selected]")] == ["1"]


@pytest.mark.parametrize(
    ("page", "links"),
    [
        (1, ["/x?a=1&page=2", "/x?a=1&page=4"]),
        (2, ["/x?a=1", "/x?a=1", "/x?a=1&page=3", "/x?a=1&page=4"]),
        (4, ["/x?a=1", "/x?a=1&page=3"]),
    ],
)
def test_pages_have_no_link_beyond_the_ends(page: int, links: list[str]) -> None:
    html = rendered('{{ lists.pages(page, 4, "/x?a=1") }}', page=page)

    assert [node.attributes["href"] for node in html.css("a")] == links
    assert f"Page {page} of 4" in words(html.css_first("nav"))


def test_one_page_has_no_navigation() -> None:
    assert rendered('{{ lists.pages(1, 1, "/x") }}{{ lists.cursor() }}{{ lists.more(None, "x") }}').css("nav, a") == []


def test_modes_are_links_and_impossible_pairs_say_why() -> None:
    html = rendered('{{ modes.tabs(5, "/users/3", {"sort": "pp"}) }}')

    mode, variant = html.css("nav")
    assert (mode.attributes["aria-label"], variant.attributes["aria-label"]) == ("Mode", "Variant")
    assert [words(node) for node in mode.css("a")] == ["osu!", "taiko", "catch", "mania"]
    assert [words(node) for node in html.css("[aria-current]")] == ["taiko", "Relax"]
    assert [node.attributes["href"] for node in variant.css("a")] == [
        "/users/3?sort=pp&mode=1",
        "/users/3?sort=pp&mode=5",
    ]
    disabled = variant.css_first("[aria-disabled]")
    assert disabled is not None
    assert words(disabled) == "Autopilot"
    assert disabled.attributes["title"]


def test_a_figure_has_its_raw_value() -> None:
    html = rendered('{{ figures.tile("Rank", "rank", 12, "#12") }}{{ figures.tile("Peak", "peak", None) }}')

    assert [(node.attributes["data-stat"], node.attributes["value"]) for node in html.css("data")] == [
        ("rank", "12"),
        ("peak", ""),
    ]
    assert [words(node) for node in html.css("dd")] == ["#12", "-"]


@pytest.mark.parametrize("values", [[5.0], [5.0, 5.0], [1.0, None, 3.0], [0.0, 0.0]])
def test_a_chart_has_a_table_with_its_values(values: list[float | None]) -> None:
    points = [(f"day {at}", value, str(value)) for at, value in enumerate(values)]

    html = rendered('{{ charts.line("Ranks", "Rank", points, invert=True) }}', points=points)

    assert [node.attributes["value"] for node in html.css("tbody data")] == [
        "" if value is None else str(value) for value in values
    ]
    drawn = html.css_first("polyline")
    assert drawn is not None
    assert len((drawn.attributes["points"] or "").split()) == len([value for value in values if value is not None])
    assert html.css_first("svg[aria-label=Ranks]") is not None


def test_a_chart_without_values_is_nothing() -> None:
    assert rendered('{{ charts.line("Ranks", "Rank", points) }}', points=[("May", None, "-")]).css("figure") == []
    assert rendered('{{ charts.line("Ranks", "Rank", []) }}').css("figure") == []


def test_bars_without_a_play_are_flat() -> None:
    html = rendered('{{ charts.bars("Plays", "Plays", rows) }}', rows=[("May", 0, "0"), ("June", 0, "0")])

    assert [node.attributes["height"] for node in html.css("rect")] == ["0.00", "0.00"]

"""The markup of userpages: each tag, hostile input, and properties of every output."""

import re
from html.parser import HTMLParser
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.patience import core_seconds

from kiai.accounts.markup import Renderer, mentions, parse
from kiai.accounts.markup.colours import colour_class

OUTSIDE: Final = ' rel="nofollow ugc noopener noreferrer"'


def html(source: str, **players: int) -> str:
    return Renderer(players, set(players.values())).html(parse(source))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("[b]x[/b]", "<p><strong>x</strong></p>"),
        ("[I]x[/i] [u]y[/U]", "<p><em>x</em> <u>y</u></p>"),
        ("[s]a[/s][strike]b[/strike]", "<p><s>a</s><s>b</s></p>"),
        ("[color=#f00]x[/color]", '<p><span class="bb-red">x</span></p>'),
        ("[color=BLUE]x[/color]", '<p><span class="bb-blue">x</span></p>'),
        ("[color=url(x)]x[/color]", "<p>[color=url(x)]x[/color]</p>"),
        ("[size=10]x[/size]", '<p><span class="bb-size-1">x</span></p>'),
        ("[size=9999]x[/size]", '<p><span class="bb-size-5">x</span></p>'),
        ("[size=big]x[/size]", "<p>[size=big]x[/size]</p>"),
        ("[heading]x[/heading]", "<h3>x</h3>"),
        ("[center]x[/center]", '<div class="bb-centre"><p>x</p></div>'),
        ("[right][b]x[/b][/right]", '<div class="bb-right"><p><strong>x</strong></p></div>'),
        ("[quote]x[/quote]", "<blockquote><p>x</p></blockquote>"),
        ('[quote="a<b"]x[/quote]', '<blockquote><p class="bb-author">a&lt;b wrote:</p><p>x</p></blockquote>'),
        (
            "[spoilerbox]x[/spoilerbox]",
            '<details class="bb-box"><summary>Spoiler</summary><div><p>x</p></div></details>',
        ),
        ("[box=My box]x[/box]", '<details class="bb-box"><summary>My box</summary><div><p>x</p></div></details>'),
        ("[spoiler]x[/spoiler]", '<p><span class="bb-spoiler" tabindex="0">x</span></p>'),
        ("[notice]x[/notice]", '<div class="bb-notice"><p>x</p></div>'),
        ("[code]\n[b]x[/b]\n  y[/code]", "<pre><code>[b]x[/b]\n  y</code></pre>"),
        ("a [c][i]x[/i][/c]", "<p>a <code>[i]x[/i]</code></p>"),
        ("[list][*]a[*]b[/list]", "<ul><li><p>a</p></li><li><p>b</p></li></ul>"),
        ("[list=1]\n[*]a\n[/list]", "<ol><li><p>a</p></li></ol>"),
        (
            "[list][*]a[list][*]b[/list][*]c[/list]",
            "<ul><li><p>a</p><ul><li><p>b</p></li></ul></li><li><p>c</p></li></ul>",
        ),
        ("[list]before[*]a[/list]", "<p>before</p><ul><li><p>a</p></li></ul>"),
        (
            "[url]https://a.example/x?y=1&z[/url]",
            f'<p><a href="https://a.example/x?y=1&amp;z"{OUTSIDE}>https://a.example/x?y=1&amp;z</a></p>',
        ),
        ("[url=http://a.example][b]x[/b][/url]", f'<p><a href="http://a.example"{OUTSIDE}><strong>x</strong></a></p>'),
        ("[url=/users/3]me[/url]", '<p><a href="/users/3">me</a></p>'),
        ("[email]a.b@c.example[/email]", '<p><a href="mailto:a.b@c.example">a.b@c.example</a></p>'),
        ("[email]a b@c[/email]", "<p>[email]a b@c[/email]</p>"),
        (
            "[img]https://i.example/x.png[/img]",
            f'<p><a href="https://i.example/x.png"{OUTSIDE}>Picture on i.example</a></p>',
        ),
        ("[img]/ss/abcd1234[/img]", '<p><a href="/ss/abcd1234"><img src="/ss/abcd1234" loading="lazy" alt=""></a></p>'),
        ("[img]/settings/data[/img]", "<p>[img]/settings/data[/img]</p>"),
        (
            "[youtube]dQw4w9WgXcQ[/youtube]",
            '<p><a class="bb-video" href="https://www.youtube.com/watch?v=dQw4w9WgXcQ"'
            f"{OUTSIDE}>Video on YouTube</a></p>",
        ),
        ("[youtube]dQw4w9WgXcQ?x[/youtube]", "<p>[youtube]dQw4w9WgXcQ?x[/youtube]</p>"),
        (
            "[audio]https://a.example/x.mp3[/audio]",
            f'<p><a href="https://a.example/x.mp3"{OUTSIDE}>Audio on a.example</a></p>',
        ),
        (
            "[imagemap]\nhttps://i.example/m.png\n0 0 50 50 https://a.example Home page\n1 2 3\n[/imagemap]",
            f'<p><a href="https://i.example/m.png"{OUTSIDE}>Picture on i.example</a></p>'
            f'<ul><li><a href="https://a.example"{OUTSIDE}>Home page</a></li></ul>',
        ),
        ("one\ntwo\n\nthree", "<p>one<br>\ntwo</p><p>three</p>"),
        ("\n\n[quote]x[/quote]\n\ny\n", "<blockquote><p>x</p></blockquote><p>y</p>"),
        (
            "see https://a.example/x. ok",
            f'<p>see <a href="https://a.example/x"{OUTSIDE}>https://a.example/x</a>. ok</p>',
        ),
        (
            "(https://a.example/x_(y))",
            f'<p>(<a href="https://a.example/x_(y)"{OUTSIDE}>https://a.example/x_(y)</a>)</p>',
        ),
    ],
)
def test_tag_becomes_its_element(source: str, expected: str) -> None:
    assert html(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("[b]x", "<p>[b]x</p>"),
        ("x[/b]", "<p>x[/b]</p>"),
        ("[b][i]x[/b]", "<p><strong>[i]x</strong></p>"),
        ("[b][i]x[/b][/i]", "<p><strong>[i]x</strong>[/i]</p>"),
        ("[b]one[quote]x[/quote]", "<p>[b]one</p><blockquote><p>x</p></blockquote>"),
        ("[b][quote]x[/quote][/b]", "<p><strong>[quote]x[/quote]</strong></p>"),
        ("[b=1]x[/b]", "<p>[b=1]x[/b]</p>"),
        ("[color]x[/color]", "<p>[color]x[/color]</p>"),
        ("[list=2][*]x[/list]", "<p>[list=2][*]x[/list]</p>"),
        ("[*]x", "<p>[*]x</p>"),
        ("[unknown]x[/unknown]", "<p>[unknown]x[/unknown]</p>"),
        ("[code]x", "<p>[code]x</p>"),
        (
            "[url=https://a.example][url=https://b.example]x[/url][/url]",
            f'<p><a href="https://a.example"{OUTSIDE}>[url=https://b.example]x[/url]</a></p>',
        ),
    ],
)
def test_unclosed_wrongly_nested_and_misplaced_tags_are_text(source: str, expected: str) -> None:
    assert html(source) == expected


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "JAVASCRIPT:alert(1)",
        "java\tscript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "//evil.example/x",
        "\\\\evil.example",
        "/\\evil.example",
        "https://user@evil.example/",
        "https://user:pw@evil.example/",
        "https://",
        "https:///x",
        "https://a.example/'onclick",
        'https://a.example/" onmouseover="x',
        "https://a.example:port/",
        "ftp://a.example/x",
        "https://" + "a" * 2_000 + ".example",
    ],
)
@pytest.mark.parametrize("form", ["[url]{}[/url]", "[url={}]x[/url]", "[img]{}[/img]", "[audio]{}[/audio]"])
def test_unsafe_address_is_shown_as_text(form: str, address: str) -> None:
    shown = html(form.format(address))

    assert "<img" not in shown
    assert f'href="{address[:12]}' not in shown
    assert "javascript:" not in "".join(re.findall(r'href="([^"]*)"', shown)).lower()
    if " " not in address and len(address) < 100:
        assert "evil.example" not in "".join(re.findall(r'href="([^"]*)"', shown))


def test_markup_inside_quotes_and_html_is_text() -> None:
    assert html('[quote="<img src=x onerror=alert(1)>"]x[/quote]') == (
        '<blockquote><p class="bb-author">&lt;img src=x onerror=alert(1)&gt; wrote:</p><p>x</p></blockquote>'
    )
    assert html("<script>alert(1)</script>{{7*7}}") == "<p>&lt;script&gt;alert(1)&lt;/script&gt;{{7*7}}</p>"


def test_profile_links_to_players_who_exist_and_leaves_others_as_text() -> None:
    assert html("[profile]A b[/profile] [profile]Nobody[/profile]", a_b=7) == '<p><a href="/users/7">A b</a> Nobody</p>'
    assert html("[profile=7]me[/profile] [profile=8]you[/profile]", a_b=7) == '<p><a href="/users/7">me</a> you</p>'
    assert mentions(parse("[profile]A b[/profile][profile=9]x[/profile][profile]A b[/profile]")) == (["A b"], [9])


def test_picture_of_another_server_is_shown_through_the_proxy_when_there_is_one() -> None:
    renderer = Renderer({}, picture_url=lambda address: f"/pictures/{len(address)}")

    shown = renderer.html(parse("[img]https://i.example/x.png[/img]"))

    assert '<img src="/pictures/23" loading="lazy" alt="">' in shown


def test_clan_description_has_no_pictures() -> None:
    assert "<img" not in Renderer({}, pictures=False).html(parse("[img]/ss/abcd1234[/img]"))


def test_tags_beyond_the_limits_are_text() -> None:
    deep = html("[centre]" * 25 + "x" + "[/centre]" * 25)
    many = html("[b]x[/b]" * 1_000 + "[i]" + "y[/i]")
    too_many = html("[*]" * 2_001 + "[b]x[/b]")
    late = html("x" * 10_000 + "[b]y[/b]")

    assert deep.count("<div") == 20
    assert deep.count("[centre]") == 5
    assert many.count("<strong>") == 1_000
    assert "<em>" in many
    assert "<strong>" not in too_many
    assert "[b]y[/b]" in late


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ("#f00", "red"),
        ("#00ff00", "green"),
        ("navy", "blue"),
        ("white", "grey"),
        ("#123", "blue"),
        ("hotpink", None),
        ("#12345", None),
        ("red;x", None),
    ],
)
def test_colour_becomes_the_nearest_class(colour: str, expected: str | None) -> None:
    assert colour_class(colour) == expected


# --- properties

ELEMENTS: Final = {
    "p": (),
    "strong": (),
    "em": (),
    "u": (),
    "s": (),
    "br": (),
    "h3": (),
    "blockquote": (),
    "ul": (),
    "ol": (),
    "li": (),
    "pre": (),
    "code": (),
    "summary": (),
    "details": ("class",),
    "div": ("class",),
    "span": ("class", "tabindex"),
    "a": ("href", "rel", "class"),
    "img": ("src", "loading", "alt"),
}
BLOCKS: Final = {"div", "h3", "blockquote", "ul", "ol", "pre", "details", "p"}


class Checker(HTMLParser):
    """Raises AssertionError for HTML that is not well formed or has anything outside the allow list."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ELEMENTS, tag
        for name, value in attrs:
            allowed = (*ELEMENTS[tag], "class") if tag == "p" else ELEMENTS[tag]
            assert name in allowed, (tag, name)
            if name in ("href", "src"):
                assert value is not None
                assert re.match(r"https?://[^/@]+(/|\?|#|$)|/(?!/)|mailto:", value), value
            if name == "class":
                assert value is not None
                assert re.fullmatch(r"bb-[a-z0-9-]+", value), value
        if tag == "a":
            assert "a" not in self.open
        if tag in BLOCKS:
            assert not {"p", "strong", "em", "span", "a", "h3"} & set(self.open), self.open
        if tag == "li":
            assert self.open[-1] in ("ul", "ol")
        if tag not in ("br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)


TAGS: Final = [
    "b",
    "i",
    "u",
    "s",
    "strike",
    "color",
    "size",
    "heading",
    "centre",
    "left",
    "right",
    "quote",
    "box",
    "spoilerbox",
    "spoiler",
    "notice",
    "code",
    "c",
    "list",
    "url",
    "email",
    "img",
    "profile",
    "youtube",
    "audio",
    "imagemap",
    "B",
    "URL",
    "*",
]
PIECES: Final = st.one_of(
    st.sampled_from(TAGS).map("[{}]".format),
    st.sampled_from(TAGS).map("[/{}]".format),
    st.tuples(
        st.sampled_from(TAGS),
        st.sampled_from(
            [
                "red",
                "#fff",
                "100",
                "1",
                '"x"',
                "https://a.example/",
                "/users/3",
                "javascript:x",
                "7",
                '" onclick=x',
                "<i>",
            ]
        ),
    ).map(lambda pair: "[{}={}]".format(*pair)),
    st.sampled_from(
        [
            "https://a.example/x",
            "/ss/abc",
            "dQw4w9WgXcQ",
            "a@b.example",
            "\n",
            "\n\n",
            " ",
            "<b>",
            "&lt;",
            "]",
            "[",
            "\x00",
        ]
    ),
    st.text(max_size=5),
)


@given(st.lists(PIECES, max_size=60).map("".join))
def test_output_is_well_formed_and_inside_the_allow_list(source: str) -> None:
    checker = Checker()

    checker.feed(html(source, x=7))
    checker.close()

    assert checker.open == []


@pytest.mark.parametrize(
    "piece",
    [
        "[b]",
        "[/b]",
        "[code]",
        "[url]",
        "[url=",
        '[quote="',
        "[list][*]",
        "[b][i]",
        "[b]x[/b]",
        "[*]",
        "[",
        "]",
        "https://",
        "http://a.b/",
        "(",
        "\n",
        "\n\n",
        " \n",
        "<",
        "&",
        "[img]",
        "[profile]a[/profile]",
        "[box=x]",
        "[url=https://a.b]c[/url]",
        "[code]x[/code]",
        "a.",
        "[b=[",
        "[imagemap]",
        ".,",
        "\x00",
    ],
)
def test_time_is_linear_in_the_length_of_the_source(piece: str) -> None:
    # The bound of a hostile page is 50 ms. The best of several runs, because other processes disturb single ones.
    source = (piece * (10_000 // len(piece) + 1))[:10_000]

    took = [core_seconds(lambda: html(source)) for _ in range(5)]

    assert min(took) < 0.15, f"{min(took) * 1000:.0f} ms"

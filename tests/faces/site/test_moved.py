"""Pages that the game opens under old addresses."""

import pytest

from kiai.faces.site.app import moved_to


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/u/3", "/users/3"),
        ("/u/some player", "/users/some%20player"),
        ("/u/a\r\nX: y", "/users/a%0D%0AX%3A%20y"),
        ("/b/129891", "/beatmaps/129891"),
        ("/s/39804", "/beatmapsets/39804"),
        ("/mp/12", "/community/matches/12"),
        ("/p/playerranking", "/rankings"),
        ("/p/changelog", "/changelog"),
        ("/forum/t/12", "/community/forums/topics/12"),
    ],
)
def test_a_page_is_found_where_it_is_now(path: str, target: str) -> None:
    assert moved_to(path) == target


@pytest.mark.parametrize(
    "path", ["/", "/u/", "/u/a/b", "/b/x", "/mp/x", "/mp/١", "/b/١", "/s/12345678901", "//evil.example/u/3", "/users/3"]
)
def test_everything_else_stays(path: str) -> None:
    assert moved_to(path) is None

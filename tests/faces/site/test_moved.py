"""Redirects from addresses that the game opens."""

import pytest

from kiai.faces.site.redirects import moved_to


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/u/3", "/users/3"),
        ("/u/some player", "/users/some%20player"),
        ("/u/a\r\nX: y", "/users/a%0D%0AX%3A%20y"),
        ("/p/playerranking", "/leaderboard"),
        ("/p/changelog", "/news"),
        ("/forum/t/12", "/community/forums/topics/12"),
        ("/rx/u/3", "/users/3?mode=4"),
        ("/scores/fruits/9007199254740993", "/scores/9007199254740993"),
        ("/c/5", "/clans/5"),
        ("/clan/5", "/clans/5"),
        ("/lb", "/leaderboard"),
        ("/p/countryranking", "/leaderboard/countries"),
        ("/rankings/fruits", "/leaderboard?mode=2"),
        ("/rankings/mania/performance", "/leaderboard?mode=3"),
        ("/rankings/osu/score", "/leaderboard?mode=0&sort=rscore"),
        ("/rankings/taiko/country", "/leaderboard/countries?mode=1"),
        ("/leaderboard/std/tscore/rx", "/leaderboard?mode=4&sort=tscore"),
        ("/leaderboard/std/pp/ap", "/leaderboard?mode=8"),
        ("/signup", "/register"),
        ("/home/account/edit", "/settings/profile"),
    ],
)
def test_address_of_the_game_redirects_to_the_current_page(path: str, target: str) -> None:
    assert moved_to(path) == target


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/u/",
        "/u/a/b",
        "/mp/x",
        "/mp/١",
        "/rx/u/١",
        "/c/12345678901",
        "//evil.example/u/3",
        "/users/3",
        "/Home",
        "/c/x",
        "/leaderboard/mania/pp/rx",
        "/leaderboard/std/name/vn",
        "/rankings/osu/x",
        "/ap",
        "/p/admin",
    ],
)
def test_other_paths_are_not_redirected(path: str) -> None:
    assert moved_to(path) is None

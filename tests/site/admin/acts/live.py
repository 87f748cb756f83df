"""The acts on sessions and matches."""

from tests.site.admin.kit import DEVELOPER, MODERATOR, Case, World
from tests.site.admin.live_kit import id_of, in_game, open_match, open_match_named
from tests.site.kit import Browser, FormOnPage

KICKED, HOST, MATCH = "kicked one", "host of a match", "a match to close"


def log_in_kicked(world: World) -> None:
    in_game(world, KICKED)


def open_one(world: World) -> None:
    open_match(world, in_game(world, HOST), HOST, MATCH)


def kick(world: World, browser: Browser) -> FormOnPage:
    return browser.get(f"/admin/live/sessions/{id_of(world, KICKED)}").form("Kick").fill(Reason="stuck")


def close(world: World, browser: Browser) -> FormOnPage:
    return browser.get(f"/admin/live/matches/{open_match_named(world, MATCH)}").form("Close match").fill(Reason="abuse")


CASES = {
    "/admin/live/sessions/{user}/kick": Case("kick", MODERATOR, kick, log_in_kicked, lambda _: KICKED, changes=False),
    "/admin/live/matches/{match}/close": Case("mp_close", DEVELOPER, close, open_one, lambda _: MATCH),
}

"""The acts on a flag."""

from sqlalchemy import delete, insert, update
from tests.site.admin.kit import ADMINISTRATOR, MODERATOR, PLAYER, Case, World
from tests.site.kit import Browser, FormOnPage

from kiai.storage.tables import integrity_flags, users

ID = 77_001


def one_flag(world: World) -> None:
    """Store an open flag of the player."""
    world.write(delete(integrity_flags).where(integrity_flags.c.user_id == PLAYER))
    values = {"id": ID, "user_id": PLAYER, "at_ms": 1_000, "kind": "timewarp", "details": "slow"}
    world.write(insert(integrity_flags).values(values))


def close(world: World, browser: Browser) -> FormOnPage:
    """Fill in the form of the verdict."""
    return browser.get(f"/admin/flags/{ID}").form("Verdict").fill(Verdict="clean", Text="a slow computer")


def restrict(world: World, browser: Browser) -> FormOnPage:
    """Fill in the form that restricts the player, with the reason of the flag."""
    return browser.get(f"/admin/flags/{ID}").form("Restrict the player")


def normal_with_a_flag(world: World) -> None:
    """Give the player a normal account and an open flag."""
    world.write(update(users).where(users.c.id == PLAYER).values(priv=3, banned_at_ms=None))
    one_flag(world)


CASES = {
    "/admin/flags/{flag}/close": Case("flag_close", MODERATOR, close, one_flag),
    "/admin/flags/{flag}/restrict": Case("restrict", ADMINISTRATOR, restrict, normal_with_a_flag, also=("flag_close",)),
}

"""The acts on a flag."""

from sqlalchemy import delete, insert
from tests.site.admin.kit import MODERATOR, PLAYER, Case, World
from tests.site.kit import Browser, FormOnPage

from kiai.storage.tables import integrity_flags

ID = 77_001


def one_flag(world: World) -> None:
    """Store an open flag of the player."""
    world.write(delete(integrity_flags).where(integrity_flags.c.user_id == PLAYER))
    values = {"id": ID, "user_id": PLAYER, "at_ms": 1_000, "kind": "timewarp", "details": "slow"}
    world.write(insert(integrity_flags).values(values))


def close(world: World, browser: Browser) -> FormOnPage:
    """Fill in the form of the verdict."""
    return browser.get(f"/admin/flags/{ID}").form("Verdict").fill(Verdict="clean", Text="a slow computer")


CASES = {"/admin/flags/{flag}/close": Case("flag_close", MODERATOR, close, one_flag)}

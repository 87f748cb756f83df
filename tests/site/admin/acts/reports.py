"""The acts on a report."""

from sqlalchemy import delete, insert
from tests.site.admin.kit import MODERATOR, OTHER, PLAYER, Case, World
from tests.site.kit import Browser, FormOnPage

from kiai.storage.tables import reports

ID = 77_001


def one_report(world: World) -> None:
    """Store an open report about the player."""
    world.write(delete(reports).where(reports.c.target_id == PLAYER))
    values = {"id": ID, "at_ms": 1_000, "by_id": OTHER, "target_id": PLAYER, "kind": "Spam", "text": "x", "lines": "[]"}
    world.write(insert(reports).values(values))


def close(world: World, browser: Browser) -> FormOnPage:
    """Fill in the form that closes the report."""
    return browser.get(f"/admin/reports/{ID}").form("Close report").fill(Outcome="was warned")


CASES = {"/admin/reports/{report}/close": Case("report_close", MODERATOR, close, one_report)}

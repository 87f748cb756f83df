"""The acts on medals."""

from sqlalchemy import delete
from tests.site.admin.kit import ADMINISTRATOR, PLAYER, Case, World
from tests.site.kit import Browser, FormOnPage

from kiai.storage.tables import job_runs

PATH = "/admin/medals"


def for_player(world: World, browser: Browser) -> FormOnPage:
    """Fill in the form for one player."""
    form = browser.get(PATH).form("Award missing medals")
    return form.fill(Player=world.name(PLAYER), Reason="a play of last year")


def nothing_queued(world: World) -> None:
    """Remove the queue."""
    world.write(delete(job_runs).where(job_runs.c.kind == "medals"))


CASES = {f"{PATH}/award": Case("medals_award", ADMINISTRATOR, for_player, nothing_queued)}

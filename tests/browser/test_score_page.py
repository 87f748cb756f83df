"""The page of a score in Chromium: the analysis of the replay loads itself, and the whole page is accessible."""

from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import select
from tests import stores
from tests.browser.kit import faults_of, visit
from tests.patience import patiently
from tests.wire.kit import Server

from kiai.osu.privileges import Privilege
from kiai.storage.tables import replays, scores, users

SEEN = int(Privilege.UNRESTRICTED | Privilege.VERIFIED)


def a_score(server: Server, mode: int, number: int) -> int:
    """The id of a public score with a replay."""
    with stores.engine(server.data).connect() as connection:
        found = connection.execute(
            select(scores.c.id)
            .select_from(
                scores.join(replays, replays.c.score_id == scores.c.id).join(users, users.c.id == scores.c.user_id)
            )
            .where(scores.c.mode == mode, users.c.priv.op("&")(SEEN) == SEEN, scores.c.nmiss > 0)
            .order_by(scores.c.id)
        ).scalars()
        return int(list(found)[number])


def test_analysis_loads_itself(chromium: Browser, demo: Server) -> None:
    score_id = a_score(demo, 0, 0)
    context, page = visit(chromium, f"http://localhost:{demo.port}/scores/{score_id}")

    expect(page.get_by_role("heading", name="Hit errors")).to_be_visible(timeout=patiently(20) * 1_000)

    assert page.locator("#analysis figure.chart svg").count() == 2
    assert page.url.endswith(f"/scores/{score_id}")
    context.close()


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("mode", [0, 3])
def test_page_is_accessible_and_fits(chromium: Browser, demo: Server, axe: str, mode: int, theme: Any) -> None:
    path = f"/scores/{a_score(demo, mode, 0)}"
    context, page = visit(chromium, f"http://localhost:{demo.port}{path}", color_scheme=theme)
    expect(page.get_by_role("heading", name="Key presses")).to_be_visible(timeout=patiently(20) * 1_000)

    found = faults_of(page, axe)
    context.close()

    assert found == {}

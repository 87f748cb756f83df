"""`/admin/health`: the health of the server, with the charts of the last day."""

import asyncio
from typing import Final

from kiai.faces.site.admin.frame import admin_view, staff_actor, staff_page
from kiai.faces.site.admin.sample_charts import read_charts
from kiai.faces.site.page import Page, Response, SiteRequest
from kiai.faces.site.status import percent
from kiai.staff.server_charts import ServerCharts
from kiai.staff.server_health import PERMISSION, ServerHealth
from kiai.uptime import OK

PATH: Final = "/admin/health"
PROBLEMS_SHOWN: Final = 50


class HealthPages:
    """The page of the health."""

    def __init__(self, health: ServerHealth, charts: ServerCharts) -> None:
        self._health = health
        self._charts = charts

    def pages(self) -> list[Page]:
        """Return the page."""
        return [staff_page(PATH, self._show, PERMISSION)]

    async def _show(self, request: SiteRequest) -> Response:
        actor = staff_actor(request)
        found, samples = await asyncio.gather(self._health.read(actor), read_charts(self._charts, actor))
        values = {
            "found": found,
            "works": all(part.state == OK for part in found.parts),
            "uptime": None if found.uptime is None else percent(found.uptime),
            "samples": samples,
            "shown_problems": PROBLEMS_SHOWN,
        }
        return admin_view(request, "health.html", "Health", values)

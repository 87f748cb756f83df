"""The first page of the panel: what waits for the visitor, what happened today, and what is wrong."""

import asyncio
from collections.abc import Iterator
from typing import Final

import msgspec

from kiai.errors import KiaiError
from kiai.faces.site.admin.frame import admin_view, staff_actor, staff_page
from kiai.faces.site.admin.sample_charts import SampleCharts, read_charts
from kiai.faces.site.admin.sections import SECTIONS
from kiai.faces.site.page import Page, Response, SiteRequest
from kiai.staff import Actor
from kiai.staff.registration_switch import WORDS
from kiai.staff.server_charts import ServerCharts
from kiai.staff.server_health import HealthReport
from kiai.staff.start_page import DAY_MS, PART_S, PERMISSION, StaffStart, StartOfStaff
from kiai.uptime import OK

PATH: Final = "/admin"
WAITING: Final = {
    "flags": ("Open flags", "/admin/flags"),
    "reports": ("Open reports", "/admin/reports"),
    "map requests": ("Map requests", "/requests"),
    "deletions": ("Accounts that will be deleted", "/admin/users"),
    "webhooks": ("Parked webhooks", "/admin/webhooks"),
}
"""Kind of work -> its words and the page to do it."""
FREE_MIN: Final = 0.1
BACK_UP_DAYS: Final = 2
CERTIFICATE_DAYS: Final = 14
LATE_S: Final = 300
SERVED: Final = frozenset({"/requests", "/status"})
"""Pages outside the panel."""


class Oddity(msgspec.Struct, frozen=True):
    """Something that is wrong, and the page about it or an empty text."""

    text: str
    path: str = ""


class AdminStart:
    """The page `/admin`."""

    def __init__(self, start: StartOfStaff, charts: ServerCharts) -> None:
        self._start = start
        self._charts = charts

    def pages(self) -> list[Page]:
        """Return the page."""
        return [staff_page(PATH, self._show, PERMISSION)]

    async def _show(self, request: SiteRequest) -> Response:
        actor = staff_actor(request)
        start, samples = await asyncio.gather(self._start.read(actor), self._read_charts(actor))
        reached = SERVED | {section.path for section in SECTIONS if request.visitor.may(section.permission)}
        values = {
            "start": start,
            "samples": samples,
            "words": {kind: words for kind, (words, _) in WAITING.items()},
            "paths": {kind: path for kind, (_, path) in WAITING.items() if path in reached},
            "reached": reached,
            "oddities": list(oddities(start, request.now_ms)),
        }
        return admin_view(request, "start.html", "Admin", values)

    async def _read_charts(self, actor: Actor) -> SampleCharts | None:
        try:
            async with asyncio.timeout(PART_S):
                return await read_charts(self._charts, actor)
        except (KiaiError, TimeoutError):  # the page says so
            return None


def oddities(start: StaffStart, now_ms: int) -> Iterator[Oddity]:
    """Yield what is wrong, the worst first."""
    if start.parts is None:
        yield Oddity("The parts of the server cannot be checked.", "/status")
    for name, state in (start.parts or {}).items():
        if state != OK:
            # The reason may name hosts and folders, which only developers see.
            yield Oddity(f"{name} does not work{f': {state}' if start.sees_health else '.'}", "/status")
    if start.under_maintenance:
        yield Oddity("The server is under maintenance.", "/admin/settings")
    if start.switched_registration is not None:
        words = WORDS[start.switched_registration]
        yield Oddity(f"Registration is {words}, by a decision of staff against the setting.", "/admin/settings")
    if start.day.totals is not None and start.day.totals.errors:
        yield Oddity(f"{start.day.totals.errors} requests of today ended with an error of the server.", "/admin/health")
    if start.health is not None:
        yield from _of_health(start.health, now_ms)


def _of_health(health: HealthReport, now_ms: int) -> Iterator[Oddity]:
    for disk in health.disks:
        if disk.free_bytes < disk.total_bytes * FREE_MIN:
            yield Oddity(f"The disk of the folder {disk.place} has {disk.free_bytes >> 20} MiB left.", "/admin/health")
    for parked in health.queues.outbox_parked:
        yield Oddity(f"{parked.rows} deliveries of the kind {parked.kind} have failed permanently.", "/admin/settings")
    for what, age_s in (
        ("delivery", health.queues.outbox_oldest_s),
        ("computation of totals", health.queues.settling_oldest_s),
    ):
        if (age_s or 0) > LATE_S:
            yield Oddity(f"The oldest {what} has waited for {(age_s or 0) // 60} minutes.", "/admin/health")
    if health.backup is None:
        yield Oddity("There is no backup.", "/admin/jobs")
    elif now_ms - health.backup.at_ms > BACK_UP_DAYS * DAY_MS:
        days = (now_ms - health.backup.at_ms) // DAY_MS
        yield Oddity(f"The last backup is {days} days old.", "/admin/jobs")
    if health.check is not None and health.check.total:
        yield Oddity(f"The last run of kiai doctor found {health.check.total} problems.", "/admin/health")
    for certificate in health.certificates:
        if certificate.days is None:
            yield Oddity(f"The certificate of {certificate.name} cannot be read.", "/admin/health")
        elif certificate.days < CERTIFICATE_DAYS:
            yield Oddity(f"The certificate of {certificate.name} ends in {certificate.days} days.", "/admin/health")

"""The frame of the admin panel: its sections, and how a page of it is declared and shown."""

from collections.abc import Mapping
from typing import Any, Final

from kiai.faces.rate_limit import RateLimit
from kiai.faces.site.admin.sections import SECTIONS
from kiai.faces.site.page import FORM_MAX, Access, Handler, Head, Page, SiteRequest, View
from kiai.staff import Actor

ACTS: Final = RateLimit("admin-acts", 120, 60.0)
"""The limit of an account for all forms of the admin panel without a limit of their own."""


def staff_page(path: str, handler: Handler, permission: str) -> Page:
    """Return a page of the panel. For visitors without the permission it does not exist."""
    return Page("GET", path, handler, Access.STAFF, permission=permission)


def staff_form(path: str, handler: Handler, permission: str, most: int = FORM_MAX) -> Page:
    """Return a form of the panel. `most` is its largest size in bytes."""
    return Page(
        "POST",
        path,
        handler,
        Access.STAFF,
        permission=permission,
        rate_limit=ACTS,
        body_max=most,
        part_max=most,
    )


def admin_view(
    request: SiteRequest,
    template: str,
    title: str,
    values: Mapping[str, Any],
    *,
    status: int = 200,
    crumbs: tuple[tuple[str, str], ...] = (),
) -> View:
    """Return a page in the frame of the panel. `crumbs` are the paths and titles of the pages above it."""
    sections = [section for section in SECTIONS if request.visitor.may(section.permission)]
    path = request.url.partition("?")[0]
    inside = [section.path for section in sections if path == section.path or path.startswith(f"{section.path}/")]
    frame = {"sections": sections, "section": max(inside, key=len, default=""), "crumbs": crumbs, "title": title}
    return View(f"admin/{template}", {**frame, **values}, Head(title=title), status, public=False)


def staff_actor(request: SiteRequest) -> Actor:
    """Return the visitor as the author of an act."""
    return Actor(request.visitor.player.id, "web")

"""The website: all groups of pages as one application."""

from collections.abc import Sequence
from typing import Protocol

from kiai.faces.asgi import FalconApp
from kiai.faces.site.failure import FailurePages
from kiai.faces.site.gateway import SiteGateway
from kiai.faces.site.live import LiveParts
from kiai.faces.site.page import Page
from kiai.faces.site.templating import Templates


class PageGroup(Protocol):
    """The pages of one subject."""

    def pages(self) -> list[Page]:
        """Return the pages."""
        ...


class Site:
    """The website. `pages` is the table of all its pages, `live` the streams of their live parts.

    `compile_templates` is work for the background after the start.
    """

    def __init__(
        self,
        gateway: SiteGateway,
        groups: Sequence[PageGroup],
        live: LiveParts,
        failures: FailurePages,
        templates: Templates,
    ) -> None:
        self._gateway = gateway
        self.live = live
        self.failures = failures
        self.compile_templates = templates.compile_all
        self.pages = [page for group in (*groups, live) for page in group.pages()]

    def app(self) -> FalconApp:
        """Build the ASGI application."""
        return self._gateway.app(self.pages)

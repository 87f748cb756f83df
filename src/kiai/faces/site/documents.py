"""The operator's texts: rules, privacy and about."""

import asyncio

from kiai.documents import PAGES, Documents
from kiai.faces.site.markdown import render_markdown
from kiai.faces.site.page import Head, Page, Response, SiteRequest, View


class DocumentPages:
    """The pages `/rules`, `/privacy` and `/about`."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def pages(self) -> list[Page]:
        """Return a page for each text."""
        return [Page("GET", f"/{slug}", self._document) for slug in PAGES]

    async def _document(self, request: SiteRequest) -> Response:
        slug = request.url.partition("?")[0].removeprefix("/")
        document = await self._documents.page(slug)
        text = await asyncio.to_thread(render_markdown, document.text)
        head = Head(document.title, document.summary, f"/{slug}")
        return View("document.html", {"document": document, "text": text}, head)
